//! Object detection with the post-processing on the sensor (`*_pp` networks): boxes, scores, classes, count.

use super::{DecodeError, PostProcess, Target, tensor};
use crate::imx500::network::{NetworkDescription, OutputTensor};
use crate::imx500::tensor::OutputView;
use crate::results::ResultKind;

/// Order of the four coordinates of a box.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BoxOrder {
    /// y0, x0, y1, x1: ssd, efficientdet, nanodet; the packages' default.
    #[default]
    YX,
    /// x0, y0, x1, y1: yolo.
    XY,
}

/// Decodes four tensors: boxes `[n, 4]` (all first coordinates, then all second ones, …), scores `[n]`, classes `[n]` and the
/// number of boxes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detect {
    /// Order of a box's coordinates.
    pub order: BoxOrder,
    /// Boxes are in pixels of the input tensor and are to be divided by its size. False: they are fractions already.
    pub in_pixels: bool,
    /// Tensors 1 and 2 are classes and scores instead of scores and classes (modlib's `od_bcsn`).
    pub classes_first: bool,
    /// Boxes below this score are left out, `0.0..=1.0`; 0 keeps all that the sensor counted.
    pub threshold: f32,
    /// Most boxes to keep, the first ones in the sensor's order.
    pub boxes_max: usize,
}

impl Default for Detect {
    /// ssd's order, fractions, every box that the sensor counted.
    fn default() -> Self {
        Self { order: BoxOrder::YX, in_pixels: false, classes_first: false, threshold: 0.0, boxes_max: usize::MAX }
    }
}

impl Detect {
    /// True for four tensors `[n, 4]`, `[n]`, `[n]`, `[1]`; what is more is not looked at.
    pub fn fits(network: &NetworkDescription) -> bool {
        let mut elements = network.outputs.iter().map(OutputTensor::elements);
        let [boxes, scores, classes, count] = core::array::from_fn(|_| elements.next().unwrap_or(0));
        classes == scores && boxes == 4 * scores && count == 1
    }
}

impl PostProcess for Detect {
    /// Entries at and beyond the sensor's count are filler; a count out of range is clamped.
    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        target.results.begin(ResultKind::Detections);
        let (score_index, class_index) = if self.classes_first { (2, 1) } else { (1, 2) };
        let scores = tensor(output, score_index, None)?;
        let n = scores.len();
        let boxes = tensor(output, 0, Some(4 * n))?;
        let classes = tensor(output, class_index, Some(n))?;
        let count = tensor(output, 3, Some(1))?.raw(0).clamp(0, n as i64) as usize;
        let input = &output.network.input;
        let (width, height) = if self.in_pixels { (input.width as f32, input.height as f32) } else { (1.0, 1.0) };
        let mut kept = 0;
        for i in 0..count {
            let confidence = scores.value(i);
            if confidence < self.threshold || kept == self.boxes_max {
                continue;
            }
            let [a, b, c, d] = core::array::from_fn(|k| boxes.value(k * n + i));
            let [x0, y0, x1, y1] = match self.order {
                BoxOrder::YX => [b, a, d, c],
                BoxOrder::XY => [a, b, c, d],
            };
            let bbox = [x0 / width, y0 / height, x1 / width, y1 / height];
            // A box too many is counted in the results.
            let _ = target.results.push_detection(bbox, confidence, class(classes.raw(i)), None);
            kept += 1;
        }
        Ok(())
    }
}

fn class(raw: i64) -> i32 {
    raw.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}
