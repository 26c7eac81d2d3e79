//! Classification: one tensor of scores, the best few in order.

use heapless::Vec;

use super::math::exp;
use super::{DecodeError, PostProcess, Target, tensor};
use crate::imx500::network::{NetworkDescription, OutputTensor};
use crate::imx500::tensor::OutputView;
use crate::limits::ROWS_MAX;
use crate::results::ResultKind;

/// Most classes of a network; ImageNet-21k has 21,843.
const CLASSES_MAX: usize = 1 << 16;

/// Decodes one tensor of scores, one for each class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Classify {
    /// The tensor holds logits: turn them into probabilities. False for networks that end in probabilities.
    pub softmax: bool,
    /// How many of the best classes to keep, `1..=ROWS_MAX`.
    pub top: usize,
    /// Classes below this confidence are left out, `0.0..=1.0`.
    pub threshold: f32,
}

impl Default for Classify {
    /// Probabilities, the five best, however small.
    fn default() -> Self {
        Self { softmax: false, top: 5, threshold: f32::NEG_INFINITY }
    }
}

impl Classify {
    /// True for one tensor of one dimension and at most 65,536 classes.
    pub fn fits(network: &NetworkDescription) -> bool {
        let vector = |tensor: &OutputTensor| tensor.dimensions.iter().filter(|d| d.size > 1).count() <= 1;
        matches!(network.outputs.as_slice(), [tensor] if vector(tensor) && tensor.elements() <= CLASSES_MAX)
    }
}

impl PostProcess for Classify {
    /// Equal scores stay in the order of their class numbers.
    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        target.results.begin(ResultKind::Classifications);
        let scores = tensor(output, 0, None)?;
        if scores.len() > CLASSES_MAX {
            return Err(DecodeError::Shape { index: 0, elements: scores.len() });
        }
        let top = self.top.clamp(1, ROWS_MAX);
        let mut best: Vec<(f32, i32), ROWS_MAX> = Vec::new();
        for (class_id, score) in scores.values().enumerate() {
            if best.len() == top && best.last().is_some_and(|&(lowest, _)| score <= lowest) {
                continue;
            }
            let place = best.partition_point(|&(other, _)| other >= score);
            best.truncate(top - 1);
            // `truncate` left room for one.
            let _ = best.insert(place, (score, class_id as i32));
        }
        let highest = best.first().map_or(0.0, |&(score, _)| f64::from(score));
        let sum: f64 = if self.softmax { scores.values().map(|s| exp(f64::from(s) - highest)).sum() } else { 1.0 };
        for &(score, class_id) in &best {
            let confidence = if self.softmax { (exp(f64::from(score) - highest) / sum) as f32 } else { score };
            if confidence >= self.threshold {
                let _ = target.results.push_classification(confidence, class_id);
            }
        }
        Ok(())
    }
}
