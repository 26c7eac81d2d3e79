//! The built-in post-processings under modlib's names, and which one a package asks for.

use core::fmt;
use core::str::FromStr;

use super::{
    BoxOrder, Classify, DecodeError, Detect, FindAnomaly, HigherHrnet, Nanodet, Posenet, PostProcess, Segment, Target,
};
use crate::imx500::intrinsics::{Intrinsics, Task};
use crate::imx500::network::{NetworkDescription, OutputTensor};
use crate::imx500::tensor::OutputView;
use crate::results::ResultState;

/// A post-processing by its name. The names are modlib's without `pp_`, and `nanodet` and `none` besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PostName {
    /// `cls`: one tensor of probabilities.
    Cls,
    /// `cls_softmax`: one tensor of logits.
    ClsSoftmax,
    /// `od_bscn`: boxes, scores, classes, number; boxes y0 x0 y1 x1 as fractions.
    OdBscn,
    /// `od_bcsn`: boxes, classes, scores, number; boxes y0 x0 y1 x1 as fractions.
    OdBcsn,
    /// `od_efficientdet_lite0`: as `od_bscn`, boxes in pixels of the input tensor.
    OdEfficientdetLite0,
    /// `od_yolo_ultralytics`: as `od_bscn`, boxes x0 y0 x1 y1 in pixels of the input tensor.
    OdYoloUltralytics,
    /// `nanodet`: the raw head of nanodet; not modlib's, but the packages' word.
    Nanodet,
    /// `posenet`: heat maps, short and mid offsets.
    Posenet,
    /// `higherhrnet`: the best candidates of each joint with their tags.
    HigherHrnet,
    /// `segment`: one tensor with the class of each pixel.
    Segment,
    /// `anomaly`: one tensor with a heat map and a score.
    Anomaly,
    /// `none`: nothing is made of the tensors; for networks whose picture alone is wanted.
    None,
}

impl PostName {
    /// All names.
    pub const ALL: [Self; 12] = [
        Self::Cls,
        Self::ClsSoftmax,
        Self::OdBscn,
        Self::OdBcsn,
        Self::OdEfficientdetLite0,
        Self::OdYoloUltralytics,
        Self::Nanodet,
        Self::Posenet,
        Self::HigherHrnet,
        Self::Segment,
        Self::Anomaly,
        Self::None,
    ];

    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::ClsSoftmax => "cls_softmax",
            Self::OdBscn => "od_bscn",
            Self::OdBcsn => "od_bcsn",
            Self::OdEfficientdetLite0 => "od_efficientdet_lite0",
            Self::OdYoloUltralytics => "od_yolo_ultralytics",
            Self::Nanodet => "nanodet",
            Self::Posenet => "posenet",
            Self::HigherHrnet => "higherhrnet",
            Self::Segment => "segment",
            Self::Anomaly => "anomaly",
            Self::None => "none",
        }
    }

    /// What tensors it takes, in words.
    pub const fn needs(self) -> &'static str {
        match self {
            Self::Cls | Self::ClsSoftmax => "one tensor [classes] of at most 65536",
            Self::OdBscn | Self::OdBcsn | Self::OdEfficientdetLite0 | Self::OdYoloUltralytics => {
                "four tensors [n, 4], [n], [n], [1]"
            }
            Self::Nanodet => "one tensor [anchors, classes + 32]",
            Self::Posenet => "three tensors [h, w, 17], [h, w, 34], [h, w, 64]",
            Self::HigherHrnet => "three tensors [n, 17] with n of at most 30",
            Self::Segment => "one tensor [height, width]",
            Self::Anomaly => "one tensor [height, width, 2]",
            Self::None => "anything",
        }
    }

    /// True when the network's tensors have the shapes that this post-processing takes.
    pub fn fits(self, network: &NetworkDescription) -> bool {
        match self {
            Self::Cls | Self::ClsSoftmax => Classify::fits(network),
            Self::OdBscn | Self::OdBcsn | Self::OdEfficientdetLite0 | Self::OdYoloUltralytics => Detect::fits(network),
            Self::Nanodet => Nanodet::fits(network),
            Self::Posenet => Posenet::fits(network),
            Self::HigherHrnet => HigherHrnet::fits(network),
            Self::Segment => Segment::fits(network),
            Self::Anomaly => FindAnomaly::fits(network),
            Self::None => true,
        }
    }

    /// The post-processing itself, for a network that it [`fits`](Self::fits).
    pub fn make(self, settings: PostSettings) -> BuiltIn {
        let classify = |softmax| BuiltIn::Classify(Classify { softmax, ..Classify::default() });
        let detect = |order, in_pixels, classes_first| {
            BuiltIn::Detect(Detect { order, in_pixels, classes_first, ..Detect::default() })
        };
        let mut post = match self {
            Self::Cls => classify(false),
            Self::ClsSoftmax => classify(true),
            Self::OdBscn => detect(BoxOrder::YX, false, false),
            Self::OdBcsn => detect(BoxOrder::YX, false, true),
            Self::OdEfficientdetLite0 => detect(BoxOrder::YX, true, false),
            Self::OdYoloUltralytics => detect(BoxOrder::XY, true, false),
            Self::Nanodet => BuiltIn::Nanodet(Nanodet::new()),
            Self::Posenet => BuiltIn::Posenet(Posenet::new()),
            Self::HigherHrnet => BuiltIn::HigherHrnet(HigherHrnet::new()),
            Self::Segment => BuiltIn::Segment(Segment),
            Self::Anomaly => BuiltIn::Anomaly(FindAnomaly),
            Self::None => BuiltIn::None,
        };
        post.set(settings);
        post
    }
}

impl fmt::Display for PostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no built-in post-processing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPost;

impl fmt::Display for UnknownPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no built-in post-processing has this name; there are ")?;
        list(f, PostName::ALL.into_iter().map(PostName::name))
    }
}

impl core::error::Error for UnknownPost {}

impl FromStr for PostName {
    type Err = UnknownPost;

    /// Takes modlib's function names too: `pp_cls`.
    fn from_str(text: &str) -> Result<Self, UnknownPost> {
        let name = text.strip_prefix("pp_").unwrap_or(text);
        Self::ALL.into_iter().find(|post| post.name() == name).ok_or(UnknownPost)
    }
}

/// What a user may say about any post-processing; what is not said is the post-processing's own default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PostSettings {
    /// Rows below this score are left out, `0.0..=1.0`.
    pub threshold: Option<f32>,
    /// Most rows to keep, at least 1: classes, boxes or persons.
    pub top: Option<usize>,
}

/// One of the built-in post-processings, with its settings and all the memory that it works in: about 110 KB, whichever it is.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one of them, made before the first frame; a box needs an allocator"
)]
pub enum BuiltIn {
    /// `cls`, `cls_softmax`.
    Classify(Classify),
    /// `od_…`.
    Detect(Detect),
    /// `nanodet`.
    Nanodet(Nanodet),
    /// `posenet`.
    Posenet(Posenet),
    /// `higherhrnet`.
    HigherHrnet(HigherHrnet),
    /// `segment`.
    Segment(Segment),
    /// `anomaly`.
    Anomaly(FindAnomaly),
    /// `none`: results stay [`ResultState::Absent`].
    None,
}

impl BuiltIn {
    /// Sets what `settings` say and leaves the rest as it is.
    pub fn set(&mut self, settings: PostSettings) {
        let put = |threshold: &mut f32, top: &mut usize| {
            *threshold = settings.threshold.unwrap_or(*threshold);
            *top = settings.top.unwrap_or(*top);
        };
        match self {
            Self::Classify(classify) => put(&mut classify.threshold, &mut classify.top),
            Self::Detect(detect) => put(&mut detect.threshold, &mut detect.boxes_max),
            Self::Nanodet(nanodet) => put(&mut nanodet.threshold, &mut nanodet.boxes_max),
            Self::Posenet(posenet) => put(&mut posenet.threshold, &mut posenet.poses_max),
            Self::HigherHrnet(hrnet) => put(&mut hrnet.threshold, &mut hrnet.poses_max),
            Self::Segment(_) | Self::Anomaly(_) | Self::None => {}
        }
    }

    /// The name of [`PostName`] that stands for it, or `od` for boxes that a package describes in a way that no name stands for.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Classify(Classify { softmax: false, .. }) => "cls",
            Self::Classify(_) => "cls_softmax",
            Self::Detect(detect) => match (detect.order, detect.in_pixels, detect.classes_first) {
                (BoxOrder::YX, false, false) => "od_bscn",
                (BoxOrder::YX, false, true) => "od_bcsn",
                (BoxOrder::YX, true, false) => "od_efficientdet_lite0",
                (BoxOrder::XY, true, false) => "od_yolo_ultralytics",
                _ => "od",
            },
            Self::Nanodet(_) => "nanodet",
            Self::Posenet(_) => "posenet",
            Self::HigherHrnet(_) => "higherhrnet",
            Self::Segment(_) => "segment",
            Self::Anomaly(_) => "anomaly",
            Self::None => "none",
        }
    }
}

impl PostProcess for BuiltIn {
    fn side_bytes(&self, network: &NetworkDescription) -> usize {
        match self {
            Self::Segment(segment) => segment.side_bytes(network),
            Self::Anomaly(anomaly) => anomaly.side_bytes(network),
            _ => 0,
        }
    }

    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        match self {
            Self::Classify(classify) => classify.decode(output, target),
            Self::Detect(detect) => detect.decode(output, target),
            Self::Nanodet(nanodet) => nanodet.decode(output, target),
            Self::Posenet(posenet) => posenet.decode(output, target),
            Self::HigherHrnet(hrnet) => hrnet.decode(output, target),
            Self::Segment(segment) => segment.decode(output, target),
            Self::Anomaly(anomaly) => anomaly.decode(output, target),
            Self::None => {
                target.results.reset(ResultState::Absent);
                Ok(())
            }
        }
    }
}

/// Why there is no post-processing for a network.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoPost {
    /// The one that was asked for takes other tensors.
    Misfit(PostName),
    /// The package asks for one that is not built in.
    NotBuiltIn(heapless::String<64>),
    /// The package does not say what its tensors mean, or says it of shapes that no built-in one takes.
    Unclear(Option<Task>),
}

impl fmt::Display for NoPost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misfit(post) => return write!(f, "{post} takes {}; this network has other tensors", post.needs()),
            Self::NotBuiltIn(name) => write!(f, "the package asks for the post-processing {name:?}")?,
            Self::Unclear(Some(task)) => write!(f, "the package says {task}, in tensors of no known shape")?,
            Self::Unclear(None) => f.write_str("the package does not say what its tensors mean")?,
        }
        f.write_str("; name one of ")?;
        list(f, PostName::ALL.into_iter().map(PostName::name))
    }
}

impl core::error::Error for NoPost {}

fn list(f: &mut fmt::Formatter<'_>, names: impl Iterator<Item = &'static str>) -> fmt::Result {
    for (i, name) in names.enumerate() {
        write!(f, "{}{name}", if i == 0 { "" } else { ", " })?;
    }
    Ok(())
}

/// Chooses the post-processing for a network: the named one, else the one that its package asks for.
///
/// Without a name, the package's own `post_processing` decides, then its task and the shapes of its tensors. What packages
/// forget to say is seen from the tensors: scores that can exceed 1 are logits, a score tensor with whole numbers is the
/// classes, and boxes of a network called yolo are x0 y0 x1 y1 in pixels.
///
/// # Errors
/// There is none, or the named one takes other tensors. Raw metadata can be recorded all the same.
pub fn choose(
    network: &NetworkDescription,
    intrinsics: &Intrinsics,
    name: Option<PostName>,
    settings: PostSettings,
) -> Result<BuiltIn, NoPost> {
    let fitting = |post: PostName| if post.fits(network) { Ok(post.make(settings)) } else { Err(NoPost::Misfit(post)) };
    if let Some(name) = name {
        return fitting(name);
    }
    if let Some(asked) = &intrinsics.post_processing {
        return fitting(asked.parse().map_err(|UnknownPost| NoPost::NotBuiltIn(asked.clone()))?);
    }
    let task = intrinsics.task;
    let may_be = |wanted: Task| task.is_none_or(|task| task == wanted);
    if may_be(Task::ObjectDetection) && Detect::fits(network) {
        let mut post = BuiltIn::Detect(detect(network, intrinsics));
        post.set(settings);
        return Ok(post);
    }
    let shaped = [
        (Task::ObjectDetection, PostName::Nanodet),
        (Task::PoseEstimation, PostName::Posenet),
        (Task::PoseEstimation, PostName::HigherHrnet),
    ];
    if let Some((_, post)) = shaped.into_iter().find(|&(wanted, post)| may_be(wanted) && post.fits(network)) {
        return Ok(post.make(settings));
    }
    // From here on a shape alone is not enough.
    match task {
        Some(Task::Classification) if Classify::fits(network) => {
            let softmax = intrinsics.softmax == Some(true) || !is_probability(&network.outputs[0]);
            Ok(if softmax { PostName::ClsSoftmax } else { PostName::Cls }.make(settings))
        }
        Some(Task::Segmentation) if Segment::fits(network) => Ok(PostName::Segment.make(settings)),
        _ => Err(NoPost::Unclear(task)),
    }
}

/// Boxes as the package describes them.
fn detect(network: &NetworkDescription, intrinsics: &Intrinsics) -> Detect {
    let yolo = network.name.as_bytes().windows(4).any(|part| part.eq_ignore_ascii_case(b"yolo"));
    Detect {
        order: intrinsics.bbox_order.unwrap_or(if yolo { BoxOrder::XY } else { BoxOrder::YX }),
        in_pixels: intrinsics.bbox_normalization.unwrap_or(yolo),
        classes_first: is_whole(&network.outputs[1]) && !is_whole(&network.outputs[2]),
        ..Detect::default()
    }
}

/// True when no value of the tensor leaves 0..=1.
fn is_probability(tensor: &OutputTensor) -> bool {
    let highest = f64::from(u32::MAX >> (32 - u32::from(tensor.bits)));
    !tensor.signed && tensor.shift == 0 && highest * f64::from(tensor.scale) <= 1.0
}

/// True when the tensor holds whole numbers only.
fn is_whole(tensor: &OutputTensor) -> bool {
    tensor.scale == 1.0
}
