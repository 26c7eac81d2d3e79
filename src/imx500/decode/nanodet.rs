//! NanoDet's raw head: class logits and box distances of every anchor, without the suppression on the sensor.
//!
//! Anchors, distributions and suppression as picamera2 has them (from NanoDet itself): strides 8, 16, 32 and 64, an anchor
//! at each cell's upper left corner, each side the mean of a distribution over 0..=7 strides. Two boxes of one class are one
//! when their intersection over union, with sides counted one pixel longer, exceeds 0.65.

use core::fmt;

use heapless::Vec;

use super::math::{exp, logit, sigmoid};
use super::{DecodeError, PostProcess, Target, shape, tensor};
use crate::imx500::NetworkDescription;
use crate::imx500::network::InputTensor;
use crate::imx500::tensor::{OutputView, TensorView};
use crate::limits::BOXES_MAX;
use crate::results::ResultKind;

const STRIDES: [usize; 4] = [8, 16, 32, 64];
/// Values that a side's distribution is over.
const BINS: usize = 8;
const BOX_COLUMNS: usize = 4 * BINS;
/// 416 × 416 has 3,598.
const ANCHORS_MAX: usize = 4096;
const CLASSES_MAX: usize = 256;

/// Decodes one tensor `[anchors, classes + 32]`. Holds its memory: about 40 KB.
#[derive(Clone)]
pub struct Nanodet {
    /// Boxes must have more than this confidence, `0.0..=1.0`.
    pub threshold: f32,
    /// Boxes of one class that overlap by more than this are one, `0.0..=1.0`; picamera2 has 0.65.
    pub overlap_max: f32,
    /// Most boxes, the best; picamera2 has 300.
    pub boxes_max: usize,
    /// The greatest logit of each anchor, and its class.
    best: [f32; ANCHORS_MAX],
    class: [u8; ANCHORS_MAX],
    order: Vec<u16, ANCHORS_MAX>,
}

impl Nanodet {
    /// Threshold 0.3, overlap 0.65, 300 boxes.
    pub const fn new() -> Self {
        Self {
            threshold: 0.3,
            overlap_max: 0.65,
            boxes_max: 300,
            best: [0.0; ANCHORS_MAX],
            class: [0; ANCHORS_MAX],
            order: Vec::new(),
        }
    }

    /// True for one tensor with a row for each anchor of the input's size and 32 columns besides those of the classes.
    pub fn fits(network: &NetworkDescription) -> bool {
        let [tensor] = network.outputs.as_slice() else { return false };
        shape::<2>(tensor).is_some_and(|shape| is_head(shape, &network.input))
    }
}

/// True for a shape that an input of this size can have.
fn is_head([anchors, columns]: [usize; 2], input: &InputTensor) -> bool {
    let cells = |stride: usize| input.width.div_ceil(stride) * input.height.div_ceil(stride);
    anchors <= ANCHORS_MAX
        && anchors == STRIDES.into_iter().map(cells).sum::<usize>()
        && (BOX_COLUMNS + 1..=BOX_COLUMNS + CLASSES_MAX).contains(&columns)
}

/// Place and stride of an anchor, in pixels.
fn anchor(mut index: usize, input: &InputTensor) -> (f32, f32, f32) {
    for stride in STRIDES {
        let (columns, rows) = (input.width.div_ceil(stride), input.height.div_ceil(stride));
        if index < columns * rows {
            return ((index % columns * stride) as f32, (index / columns * stride) as f32, stride as f32);
        }
        index -= columns * rows;
    }
    // `is_head` checked that there is no anchor beyond these.
    (0.0, 0.0, 0.0)
}

impl Default for Nanodet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Nanodet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Nanodet");
        shown.field("threshold", &self.threshold).field("overlap_max", &self.overlap_max);
        shown.field("boxes_max", &self.boxes_max).finish_non_exhaustive()
    }
}

impl PostProcess for Nanodet {
    /// Boxes are fractions of the input tensor and come best first; equal ones in the order of their anchors.
    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        target.results.begin(ResultKind::Detections);
        let head = tensor(output, 0, None)?;
        let input = &output.network.input;
        let Some([anchors, columns]) = shape::<2>(head.tensor).filter(|&shape| is_head(shape, input)) else {
            return Err(DecodeError::Shape { index: 0, elements: head.len() });
        };
        let (best, class) = (&mut self.best[..anchors], &mut self.class[..anchors]);
        best_classes(&head, columns - BOX_COLUMNS, best, class);
        // A logit near the threshold is judged by its sigmoid; far below it needs none.
        let least = logit(f64::from(self.threshold)) - 0.01;
        self.order.clear();
        for (index, &value) in best.iter().enumerate() {
            if value >= least && sigmoid(value) > self.threshold {
                // As many as anchors at most.
                let _ = self.order.push(index as u16);
            }
        }
        self.order.sort_unstable_by(|&a, &b| {
            let (x, y) = (best[usize::from(a)], best[usize::from(b)]);
            y.total_cmp(&x).then(a.cmp(&b))
        });
        let results = target.results;
        let size = [input.width as f32, input.height as f32];
        let mut kept: Vec<[f32; 4], BOXES_MAX> = Vec::new();
        for &index in &self.order {
            if kept.len() >= self.boxes_max.clamp(1, BOXES_MAX) {
                break;
            }
            let (value, class) = (best[usize::from(index)], class[usize::from(index)]);
            let pixels = box_of(&head, usize::from(index), anchors, columns, input);
            let mut others = kept.iter().zip(&results.class_id).filter(|(_, other)| **other == i32::from(class));
            if others.any(|(other, _)| overlap(pixels, *other) > self.overlap_max) {
                continue;
            }
            // `kept` and the results have the same limit.
            let _ = kept.push(pixels);
            let [x0, y0, x1, y1] = pixels;
            let bbox = [x0 / size[0], y0 / size[1], x1 / size[0], y1 / size[1]];
            let _ = results.push_detection(bbox, sigmoid(value), class.into(), None);
        }
        Ok(())
    }
}

/// The greatest logit of each anchor and the first class that has it. Column after column: they lie one after the other.
fn best_classes(head: &TensorView<'_>, classes: usize, best: &mut [f32], class: &mut [u8]) {
    best.fill(f32::NEG_INFINITY);
    class.fill(0);
    let anchors = best.len();
    let (shift, scale) = (i32::from(head.tensor.shift), head.tensor.scale);
    let mut values = head.values();
    for number in 0..classes {
        let number = number as u8;
        let keep = |((best, class), value): ((&mut f32, &mut u8), f32)| {
            let better = value > *best;
            *best = if better { value } else { *best };
            *class = if better { number } else { *class };
        };
        let pairs = best.iter_mut().zip(&mut *class);
        match head.bytes().filter(|_| head.tensor.bits == 8 && head.tensor.signed) {
            Some(bytes) => {
                let column = &bytes[usize::from(number) * anchors..][..anchors];
                let values = column.iter().map(|&raw| (i32::from(raw as i8) - shift) as f32 * scale);
                pairs.zip(values).for_each(keep);
            }
            None => pairs.zip(values.by_ref()).for_each(keep),
        }
    }
}

/// Left, top, right and bottom of an anchor's box, in pixels.
fn box_of(head: &TensorView<'_>, index: usize, anchors: usize, columns: usize, input: &InputTensor) -> [f32; 4] {
    let (x, y, stride) = anchor(index, input);
    let [left, top, right, bottom] = core::array::from_fn(|side| {
        let bins: [f64; BINS] = core::array::from_fn(|bin| {
            let column = columns - BOX_COLUMNS + side * BINS + bin;
            f64::from(head.value(column * anchors + index))
        });
        let highest = bins.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let weights = bins.map(|bin| exp(bin - highest));
        let sum: f64 = weights.iter().sum();
        let mean = weights.iter().zip(0_u8..).map(|(weight, bin)| weight * f64::from(bin)).sum::<f64>() / sum;
        mean as f32 * stride
    });
    [x - left, y - top, x + right, y + bottom]
}

/// Intersection over union, sides counted one pixel longer.
fn overlap(a: [f32; 4], b: [f32; 4]) -> f32 {
    let area = |r: [f32; 4]| (r[2] - r[0] + 1.0) * (r[3] - r[1] + 1.0);
    let width = (a[2].min(b[2]) - a[0].max(b[0]) + 1.0).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1]) + 1.0).max(0.0);
    let both = width * height;
    both / (area(a) + area(b) - both)
}
