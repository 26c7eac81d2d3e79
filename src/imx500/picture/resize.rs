//! The box filter: a row of smaller pixels from the rows of cells that it covers, in exact integers.
//!
//! All sizes start from a grid of 1014×760, which is the cells themselves in the binned mode and 2×2 of them in the full one.
//! 507×380 takes 2×2 of the grid. 640×480 takes 1.584 × 1.583: a pixel counts in 1/320 across and 1/12 down, so a row of 640
//! has weights that sum to 507 across and 19 down.

/// Pixels of the grid, and of the widest picture that is filtered.
const GRID_WIDTH: usize = 1014;
const WIDTH_MAX: usize = 640;
/// Parts of a grid pixel, and of a picture's pixel, in 640×480.
const PARTS_ACROSS: (usize, usize) = (320, 507);
const PARTS_DOWN: (u32, u32) = (12, 19);

/// What a row of cells led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResizedRow {
    /// There is no filter.
    AsItIs,
    /// More rows are needed.
    NotYet,
    /// A row is ready in [`Resize::row`].
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    None,
    /// So many cells each way are one pixel: 2 or 4.
    Whole(u32),
    /// 640×480, from a grid of so many cells each way: 1 or 2.
    Vga(u32),
}

/// The filter and what it has gathered.
#[derive(Clone, Debug)]
pub(super) struct Resize {
    filter: Filter,
    /// Rows of cells in the present pixel of the grid.
    cell_rows: u32,
    /// Sums of cells over the rows of one grid pixel, or of one whole pixel: at most 16 cells.
    grid: [[u16; GRID_WIDTH + 2]; 3],
    /// 640×480: weighted sums of the row that is gathered.
    sums: [[u32; WIDTH_MAX]; 3],
    /// Parts down that `sums` still lacks.
    lacking: u32,
    /// Of the last grid row: parts down that belong to the next row.
    left_over: u32,
    row: [[u16; GRID_WIDTH]; 3],
    width: usize,
}

impl Resize {
    pub(super) const NONE: Self = Self {
        filter: Filter::None,
        cell_rows: 0,
        grid: [[0; GRID_WIDTH + 2]; 3],
        sums: [[0; WIDTH_MAX]; 3],
        lacking: PARTS_DOWN.1,
        left_over: 0,
        row: [[0; GRID_WIDTH]; 3],
        width: 0,
    };

    /// For one of [`SIZES`](super::SIZES), from a grid whose pixels are `cells_each_way` squared.
    pub(super) fn new(cells_each_way: u32, (width, _): (u32, u32)) -> Self {
        let filter = match (width, cells_each_way) {
            (640, _) => Filter::Vga(cells_each_way),
            (507, _) => Filter::Whole(2 * cells_each_way),
            (_, 1) => Filter::None,
            (_, _) => Filter::Whole(cells_each_way),
        };
        Self { filter, width: width as usize, ..Self::NONE }
    }

    /// Forgets what was gathered: a new picture begins.
    pub(super) fn begin(&mut self) {
        (self.cell_rows, self.lacking, self.left_over) = (0, PARTS_DOWN.1, 0);
        self.sums = [[0; WIDTH_MAX]; 3];
    }

    /// Takes a row of cells.
    pub(super) fn add(&mut self, planes: [&[u16]; 3]) -> ResizedRow {
        match self.filter {
            Filter::None => ResizedRow::AsItIs,
            Filter::Whole(each_way) => {
                if !self.gather(planes, each_way) {
                    return ResizedRow::NotYet;
                }
                // 4 or 16 cells: at most 16 × 2046 + 8.
                let shift = 2 * each_way.trailing_zeros();
                for (row, grid) in self.row.iter_mut().zip(&self.grid) {
                    let pixels = row.iter_mut().zip(grid).take(self.width);
                    pixels.for_each(|(v, &sum)| *v = (sum + (1 << shift >> 1)) >> shift);
                }
                ResizedRow::Ready
            }
            Filter::Vga(each_way) => {
                if !self.gather(planes, each_way) {
                    return ResizedRow::NotYet;
                }
                let weight = PARTS_DOWN.0.min(self.lacking);
                self.weigh(weight);
                self.lacking -= weight;
                self.left_over = PARTS_DOWN.0 - weight;
                if self.lacking > 0 {
                    return ResizedRow::NotYet;
                }
                // Divided by a constant, after the cells of a grid pixel, which are 1 or 4.
                const PARTS: u32 = PARTS_ACROSS.1 as u32 * PARTS_DOWN.1;
                let shift = 2 * each_way.trailing_zeros();
                let half = (PARTS << shift) / 2;
                for (row, sums) in self.row.iter_mut().zip(&self.sums) {
                    row.iter_mut().zip(sums).for_each(|(v, &sum)| *v = (((sum + half) >> shift) / PARTS) as u16);
                }
                ResizedRow::Ready
            }
        }
    }

    /// The row that is ready.
    pub(super) fn row(&mut self) -> [&mut [u16]; 3] {
        let width = self.width;
        self.row.each_mut().map(|plane| &mut plane[..width])
    }

    /// Begins the row after the one that was ready.
    pub(super) fn next(&mut self) {
        if let Filter::Vga(_) = self.filter {
            self.sums = [[0; WIDTH_MAX]; 3];
            self.lacking = PARTS_DOWN.1;
            if self.left_over > 0 {
                self.weigh(self.left_over);
                self.lacking -= self.left_over;
            }
        }
    }

    /// Adds a row of cells to the grid's pixels; true when these are complete.
    fn gather(&mut self, planes: [&[u16]; 3], each_way: u32) -> bool {
        let first = self.cell_rows == 0;
        for (grid, cells) in self.grid.iter_mut().zip(planes) {
            for (sum, group) in grid.iter_mut().zip(cells.chunks_exact(each_way as usize)) {
                let before = if first { 0 } else { *sum };
                *sum = before + group.iter().sum::<u16>();
            }
        }
        self.cell_rows = (self.cell_rows + 1) % each_way;
        self.cell_rows == 0
    }

    /// Adds the grid's row, `weight` parts of it, to the sums of 640 pixels.
    fn weigh(&mut self, weight: u32) {
        let (parts, wide) = PARTS_ACROSS;
        for x in 0..WIDTH_MAX {
            let (first, begun) = (x * wide / parts, x * wide % parts);
            // At most three pixels of the grid: 320 < 507 < 2 × 320.
            let a = parts - begun;
            let b = (wide - a).min(parts);
            let weights = [a, b, wide - a - b].map(|part| part as u32 * weight);
            for (sums, grid) in self.sums.iter_mut().zip(&self.grid) {
                let [p, q, r] = [grid[first], grid[first + 1], grid[first + 2]].map(u32::from);
                sums[x] += p * weights[0] + q * weights[1] + r * weights[2];
            }
        }
    }
}
