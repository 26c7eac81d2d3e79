//! Anomaly detection: a heat map and one score for the picture.

use super::{DecodeError, PostProcess, Target, shape, tensor};
use crate::imx500::NetworkDescription;
use crate::imx500::tensor::OutputView;
use crate::results::ResultKind;

/// Decodes one tensor `[height, width, 2]`: channel 0 is the heat map, channel 1 holds the score in its first element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FindAnomaly;

impl FindAnomaly {
    /// True for one tensor `[height, width, 2]`.
    pub fn fits(network: &NetworkDescription) -> bool {
        matches!(network.outputs.as_slice(), [tensor] if matches!(shape::<3>(tensor), Some([_, _, 2])))
    }
}

impl PostProcess for FindAnomaly {
    fn side_bytes(&self, network: &NetworkDescription) -> usize {
        network.outputs.first().map_or(0, |tensor| tensor.elements() / 2 * size_of::<f32>())
    }

    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        target.results.begin(ResultKind::Anomaly);
        let map = tensor(output, 0, None)?;
        let Some([height, width, 2]) = shape::<3>(map.tensor) else {
            return Err(DecodeError::Shape { index: 0, elements: map.len() });
        };
        let (needed, capacity) = (height * width * size_of::<f32>(), target.side.len());
        let side = target.side.get_mut(..needed).ok_or(DecodeError::SideTooSmall { needed, capacity })?;
        for (i, value) in map.values().take(height * width).enumerate() {
            let pixel = i % height * width + i / height;
            side[pixel * 4..pixel * 4 + 4].copy_from_slice(&value.to_le_bytes());
        }
        target.results.score = f64::from(map.value(height * width));
        let [rows, columns, _] = [0, 1, 2].map(|axis| map.tensor.dimensions[axis].size);
        target.results.mask_shape = [rows, columns];
        Ok(())
    }
}
