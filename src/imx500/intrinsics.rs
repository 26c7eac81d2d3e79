//! `network_intrinsics` of a package: task, rate, labels, and what the tensors mean.
//!
//! Keys as picamera2's schema has them: `task`, `inference_rate`, `cpu` (`bbox_normalization`, `bbox_order`, `softmax`,
//! `post_processing`), `input_aspect_ratio` (`width`, `height`), `classes` (`labels`, `ignore_undefined`). Other keys are
//! skipped.

use core::fmt;

use super::decode::BoxOrder;
use super::json::Json;
use crate::labels::Labels;

/// Bytes of one label; the longest of ImageNet has 121.
const LABEL_BYTES_MAX: usize = 256;

/// Why the intrinsics cannot be read, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IntrinsicsError {
    /// Byte of the text where the trouble is.
    pub offset: usize,
    /// What it is.
    pub kind: BadIntrinsics,
}

/// What can be wrong with the intrinsics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadIntrinsics {
    /// This is no JSON.
    Json,
    /// A value has another type than its key asks for.
    Type,
    /// Values that nobody asks for are nested deeper than 32.
    TooDeep,
    /// `bbox_order` is neither `xy` nor `yx`.
    BoxOrder,
    /// One label is longer than 256 bytes, or all of them are more than the limits allow.
    Labels,
}

impl fmt::Display for IntrinsicsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "network_intrinsics, byte {}: ", self.offset)?;
        f.write_str(match self.kind {
            BadIntrinsics::Json => "this is no JSON",
            BadIntrinsics::Type => "a value has another type than its key asks for",
            BadIntrinsics::TooDeep => "values are nested too deep",
            BadIntrinsics::BoxOrder => "bbox_order is neither \"xy\" nor \"yx\"",
            BadIntrinsics::Labels => "more or longer labels than the limits allow",
        })
    }
}

impl core::error::Error for IntrinsicsError {}

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// `"classification"`.
    Classification,
    /// `"object detection"`.
    ObjectDetection,
    /// `"pose estimation"`.
    PoseEstimation,
    /// `"segmentation"`.
    Segmentation,
}

impl Task {
    /// All tasks.
    pub const ALL: [Self; 4] = [Self::Classification, Self::ObjectDetection, Self::PoseEstimation, Self::Segmentation];

    /// The packages' word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::ObjectDetection => "object detection",
            Self::PoseEstimation => "pose estimation",
            Self::Segmentation => "segmentation",
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a package says about the meaning of its tensors; what it leaves out is `None`. About 35 KB, for the labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intrinsics {
    /// What the network is for; `None` also for a word that nobody knows.
    pub task: Option<Task>,
    /// Results a second that the network can give, as a ratio.
    pub inference_rate: Option<(u32, u32)>,
    /// Boxes are pixels of the input tensor.
    pub bbox_normalization: Option<bool>,
    /// Order of a box's coordinates.
    pub bbox_order: Option<BoxOrder>,
    /// Scores are logits.
    pub softmax: Option<bool>,
    /// The post-processing by name, e.g. `nanodet`.
    pub post_processing: Option<heapless::String<64>>,
    /// Shape of the part of the picture that the network wants to see.
    pub input_aspect_ratio: Option<(u32, u32)>,
    /// Names by class, as the package has them.
    pub labels: Labels,
    /// Labels `-` are holes in the list that the network does not count.
    pub ignore_undefined: bool,
}

impl Intrinsics {
    /// Reads the JSON text of a package.
    ///
    /// # Errors
    /// See [`BadIntrinsics`]; nothing of it may be used then.
    pub fn parse(text: &str) -> Result<Self, IntrinsicsError> {
        let mut found = Self::default();
        let mut json = Json::new(text);
        json.object(|json, key| found.member(json, key))?;
        json.end()?;
        Ok(found)
    }

    fn member(&mut self, json: &mut Json<'_>, key: &str) -> Result<(), IntrinsicsError> {
        match key {
            "task" => {
                let word = json.string::<64>()?.unwrap_or_default();
                self.task = Task::ALL.into_iter().find(|task| task.name() == word.as_str());
            }
            "inference_rate" => {
                let value = json.thousandths()?;
                self.inference_rate = (value > 0).then(|| reduced(value, 1000));
            }
            "cpu" => json.object(|json, key| self.cpu(json, key))?,
            "input_aspect_ratio" => {
                let (mut width, mut height) = (0, 0);
                json.object(|json, key| {
                    match key {
                        "width" => width = json.thousandths()? / 1000,
                        "height" => height = json.thousandths()? / 1000,
                        _ => json.skip()?,
                    }
                    Ok(())
                })?;
                self.input_aspect_ratio = (width > 0 && height > 0).then_some((width, height));
            }
            "classes" => json.object(|json, key| self.classes(json, key))?,
            _ => json.skip()?,
        }
        Ok(())
    }

    fn cpu(&mut self, json: &mut Json<'_>, key: &str) -> Result<(), IntrinsicsError> {
        match key {
            "bbox_normalization" => self.bbox_normalization = Some(json.boolean()?),
            "softmax" => self.softmax = Some(json.boolean()?),
            "bbox_order" => {
                let wrong = json.error(BadIntrinsics::BoxOrder);
                self.bbox_order = Some(match json.string::<8>()?.as_deref() {
                    Some("xy") => BoxOrder::XY,
                    Some("yx") => BoxOrder::YX,
                    _ => return Err(wrong),
                });
            }
            "post_processing" => {
                let wrong = json.error(BadIntrinsics::Type);
                self.post_processing = Some(json.string()?.ok_or(wrong)?).filter(|name| !name.is_empty());
            }
            _ => json.skip()?,
        }
        Ok(())
    }

    fn classes(&mut self, json: &mut Json<'_>, key: &str) -> Result<(), IntrinsicsError> {
        match key {
            "labels" => {
                let labels = &mut self.labels;
                labels.clear();
                json.list(|json| {
                    let full = json.error(BadIntrinsics::Labels);
                    let name = json.string::<LABEL_BYTES_MAX>()?.ok_or(full)?;
                    labels.push(&name).map_err(|_| full)
                })
            }
            "ignore_undefined" => {
                self.ignore_undefined = json.boolean()?;
                Ok(())
            }
            _ => json.skip(),
        }
    }

    /// Names by the class numbers of results: without the holes (`-`) when the network does not count them, and without
    /// the background in front when a classification has one class (`classes` of them) less than labels.
    ///
    /// `classes` is the number of elements of a classification's tensor, else `None`.
    pub fn class_labels(&self, classes: Option<usize>) -> Labels {
        let mut labels = Labels::new();
        let background = usize::from(classes.is_some_and(|classes| classes + 1 == self.labels.len()));
        for name in self.labels.iter().skip(background) {
            if !(self.ignore_undefined && name == "-") {
                // A part of what fitted once.
                let _ = labels.push(name);
            }
        }
        labels
    }
}

/// The same ratio in its lowest terms.
fn reduced(n: u32, d: u32) -> (u32, u32) {
    let (mut a, mut b) = (n, d);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (n / a.max(1), d / a.max(1))
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn a_packages_words_are_read_and_strange_ones_skipped() {
        let text = r#" {"inference_rate": 23.5, "task": "object detection", "new": {"a": [1, {"b": [], "c": -2e3}, null]},
            "cpu": {"bbox_order": "xy", "bbox_normalization": true, "softmax": false, "post_processing": "nanodet", "x": 1},
            "input_aspect_ratio": {"width": 4, "height": 3}, "many": [[["x"]], {}],
            "classes": {"ignore_undefined": true, "labels": ["per\u0073on", "-", "\ud83d\ude00\"", "caf\u00e9", "–"]}}
            "#;
        let found = Intrinsics::parse(text).unwrap();
        assert_eq!((found.task, found.inference_rate), (Some(Task::ObjectDetection), Some((47, 2))));
        assert_eq!((found.bbox_order, found.bbox_normalization), (Some(BoxOrder::XY), Some(true)));
        assert_eq!((found.softmax, found.post_processing.as_deref()), (Some(false), Some("nanodet")));
        assert_eq!(found.input_aspect_ratio, Some((4, 3)));
        assert!(found.labels.iter().eq(["person", "-", "😀\"", "café", "–"]));
        assert!(found.class_labels(None).iter().eq(["person", "😀\"", "café", "–"]));
        assert_eq!(Intrinsics::parse("{}\0\n").unwrap(), Intrinsics::default());
    }

    #[test]
    fn the_background_goes_when_the_tensor_has_one_class_less() {
        let text = r#"{"classes": {"labels": ["0:background", "1:tench", "2:goldfish"]}}"#;
        let found = Intrinsics::parse(text).unwrap();
        assert!(found.class_labels(Some(2)).iter().eq(["1:tench", "2:goldfish"]));
        assert_eq!(found.class_labels(Some(3)).len(), 3);
        assert_eq!(found.class_labels(None).len(), 3);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let long = std::format!("{{\"classes\": {{\"labels\": [\"{}\"]}}}}", "x".repeat(300));
        let deep = std::format!("{{\"x\": {}", "[".repeat(40));
        for (text, offset, kind) in [
            ("", 0, BadIntrinsics::Json),
            ("[]", 0, BadIntrinsics::Json),
            ("{\"task\": 3}", 9, BadIntrinsics::Json),
            ("{\"inference_rate\": -3}", 19, BadIntrinsics::Type),
            ("{\"inference_rate\": 5000000}", 19, BadIntrinsics::Type),
            ("{\"cpu\": {\"softmax\": \"no\"}}", 20, BadIntrinsics::Type),
            ("{\"cpu\": {\"bbox_order\": \"zx\"}}", 22, BadIntrinsics::BoxOrder),
            ("{\"a\": 1} x", 8, BadIntrinsics::Json),
            ("{\"a\": [1, }", 10, BadIntrinsics::Json),
            ("{\"a\": \"\\ud800\"}", 7, BadIntrinsics::Json),
            (&long, 24, BadIntrinsics::Labels),
            (&deep, 38, BadIntrinsics::TooDeep),
        ] {
            let error = Intrinsics::parse(text).unwrap_err();
            assert_eq!(error.kind, kind, "{text}: {error}");
            assert!(error.offset.abs_diff(offset) <= 1, "{text}: {error}");
        }
    }

    #[test]
    fn every_cut_of_a_good_text_is_an_error() {
        let text = r#"{"task": "segmentation", "classes": {"labels": ["a", "\u00e4"]}, "z": [true, {"k": null}]}"#;
        for cut in 0..text.len() {
            assert!(Intrinsics::parse(&text[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Intrinsics::parse(text).is_ok());
    }
}
