//! Segmentation with the argmax on the sensor: every element is the class of a pixel.

use super::{DecodeError, PostProcess, Target, tensor};
use crate::imx500::NetworkDescription;
use crate::imx500::tensor::OutputView;
use crate::results::ResultKind;

/// Decodes one tensor `[height, width]` of class numbers, whose first dimension (the row) varies fastest: the mask arrives
/// column by column and is turned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment;

impl Segment {
    /// True for one tensor of two dimensions.
    pub fn fits(network: &NetworkDescription) -> bool {
        matches!(network.outputs.as_slice(), [tensor] if tensor.dimensions.len() == 2)
    }
}

/// Class number of the background in results, as modlib has it; the network says 0.
const BACKGROUND: u8 = 255;

impl PostProcess for Segment {
    fn side_bytes(&self, network: &NetworkDescription) -> usize {
        network.outputs.first().map_or(0, |tensor| tensor.elements())
    }

    /// Classes that do not fit 1..=254 become background.
    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        target.results.begin(ResultKind::Segments);
        let classes = tensor(output, 0, None)?;
        let &[rows, columns] = classes.tensor.dimensions.as_slice() else {
            return Err(DecodeError::Shape { index: 0, elements: classes.len() });
        };
        let (height, width) = (usize::from(rows.size), usize::from(columns.size));
        let (needed, capacity) = (height * width, target.side.len());
        let mask = target.side.get_mut(..needed).ok_or(DecodeError::SideTooSmall { needed, capacity })?;
        for (i, raw) in classes.raws().enumerate() {
            let (x, y) = (i / height, i % height);
            mask[y * width + x] = match raw {
                1..=254 => raw as u8,
                _ => BACKGROUND,
            };
        }
        target.results.mask_shape = [rows.size, columns.size];
        Ok(())
    }
}
