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
        match classes.bytes() {
            Some(bytes) if classes.tensor.bits == 16 && classes.tensor.signed => {
                turn::<2>(bytes, mask, [height, width], |raw| class(i16::from_le_bytes([raw[0], raw[1]]).into()));
            }
            Some(bytes) if classes.tensor.bits == 8 && !classes.tensor.signed => {
                turn::<1>(bytes, mask, [height, width], |raw| class(raw[0].into()));
            }
            _ => {
                for (i, raw) in classes.raws().enumerate() {
                    mask[i % height * width + i / height] = class(raw);
                }
            }
        }
        target.results.mask_shape = [rows.size, columns.size];
        Ok(())
    }
}

const fn class(raw: i64) -> u8 {
    if raw >= 1 && raw <= 254 { raw as u8 } else { BACKGROUND }
}

/// Columns of `N`-byte elements to rows, in tiles that stay in the cache: each line of the mask is written while it is there.
fn turn<const N: usize>(columns: &[u8], mask: &mut [u8], [height, width]: [usize; 2], class: impl Fn(&[u8]) -> u8) {
    const TILE: usize = 16;
    for top in (0..height).step_by(TILE) {
        let rows = TILE.min(height - top);
        for left in (0..width).step_by(TILE) {
            let mut tile = [[BACKGROUND; TILE]; TILE];
            let wide = TILE.min(width - left);
            for (x, column) in (left..left + wide).enumerate() {
                let from = column * height + top;
                for (y, raw) in columns[from * N..(from + rows) * N].chunks_exact(N).enumerate() {
                    tile[y][x] = class(raw);
                }
            }
            for (y, row) in tile.iter().take(rows).enumerate() {
                let to = (top + y) * width + left;
                mask[to..to + wide].copy_from_slice(&row[..wide]);
            }
        }
    }
}
