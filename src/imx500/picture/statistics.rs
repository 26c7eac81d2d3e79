//! What one picture says about its exposure and its light.

use super::{CELL_MAX, Gains};

/// Sums over the cells of one raw picture, before white balance and curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Cells of the picture.
    pub cells: u32,
    /// Cells none of whose colours is clipped.
    pub open_cells: u32,
    /// Sums of red, green, blue over those, black level included; a cell's colour is `0..=2046`.
    pub open_sums: [u64; 3],
    /// Black, on the same scale.
    pub black: u16,
    /// White, on the same scale.
    pub white: u16,
}

impl Statistics {
    pub(super) const fn new(black: u16) -> Self {
        Self { cells: 0, open_cells: 0, open_sums: [0; 3], black, white: CELL_MAX }
    }

    pub(super) fn add(&mut self, cells: usize, (sums, open): ([u64; 3], u32)) {
        self.cells += cells as u32;
        self.open_cells += open;
        for (total, sum) in self.open_sums.iter_mut().zip(sums) {
            *total += sum;
        }
    }

    /// A cell with a colour of this or more is clipped: 1.5 % below white, where noise reaches it.
    pub const fn clipped_from(&self) -> u16 {
        self.white - self.white / 64
    }

    /// Means above black of red, green, blue over the cells that are not clipped, or `None` where they say nothing: fewer
    /// than one cell in 16 is left, or green is within 1/256 of black.
    pub fn open_means(&self) -> Option<[u32; 3]> {
        if self.open_cells == 0 || self.open_cells < self.cells / 16 {
            return None;
        }
        let mean =
            |sum: u64| (sum / u64::from(self.open_cells)).saturating_sub(self.black.into()).min(CELL_MAX.into()) as u32;
        let means = self.open_sums.map(mean);
        (means[1] > u32::from(self.white - self.black) / 256).then_some(means)
    }

    /// Mean of the balanced picture, linear, in 1/65,536 of white; clipped cells count as white. `None` for no picture at
    /// all. Weights of the colours: ITU-R BT.601.
    pub fn luminance_per_65536(&self, gains: Gains) -> Option<u32> {
        let white = u128::from(self.white - self.black.min(self.white - 1));
        let above = |sum: u64| u128::from(sum.saturating_sub(u64::from(self.open_cells) * u64::from(self.black)));
        let [red, green, blue] = self.open_sums.map(above);
        // In 1/(1000 × 256) of a cell's colour.
        let open = red * u128::from(gains.red) * 299 + green * 256 * 587 + blue * u128::from(gains.blue) * 114;
        let clipped = u128::from(self.cells.saturating_sub(self.open_cells)) * white * 256_000;
        let whole = u128::from(self.cells) * white * 256_000;
        Some(((open + clipped) * 65_536).checked_div(whole)?.min(65_536) as u32)
    }
}
