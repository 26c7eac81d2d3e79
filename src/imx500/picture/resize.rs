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
const PARTS_DOWN: (u16, u16) = (12, 19);

/// What a pixel of a 640 wide row takes from the grid: `weights` of three neighbours from `first` on. Three are enough: 320 <
/// 507 < 2 × 320.
#[derive(Clone, Copy, Debug)]
struct Taps {
    first: u16,
    weights: [u16; 3],
}

const TAPS: [Taps; WIDTH_MAX] = {
    let (parts, wide) = PARTS_ACROSS;
    let mut taps = [Taps { first: 0, weights: [0; 3] }; WIDTH_MAX];
    let mut x = 0;
    while x < WIDTH_MAX {
        let (first, begun) = (x * wide / parts, x * wide % parts);
        let a = parts - begun;
        let b = if wide - a < parts { wide - a } else { parts };
        taps[x] = Taps { first: first as u16, weights: [a as u16, b as u16, (wide - a - b) as u16] };
        x += 1;
    }
    taps
};

/// What a row of cells led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResizedRow {
    /// There is no filter.
    AsItIs,
    /// More rows are needed.
    NotYet,
    /// A row is ready in [`Resize::row`].
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    /// The cells are the pixels.
    None,
    /// 2×2 cells are one pixel.
    Halves,
    /// 4×4 cells are one pixel.
    Quarters,
    /// 640×480, from cells that are the grid.
    Vga,
    /// 640×480, from a grid of 2×2 cells.
    VgaOfHalves,
}

/// The filter and what it has gathered.
#[derive(Clone, Debug)]
pub(crate) struct Resize {
    filter: Filter,
    /// Rows of cells in the present pixel of the grid.
    cell_rows: usize,
    /// Sums of cells over the rows of one grid pixel, or of one whole pixel: at most 16 cells.
    grid: [[u16; GRID_WIDTH]; 3],
    /// 640×480: weighted sums of the grid's rows, at most 19 × 2046; two more for the last pixel's taps of weight 0.
    sums: [[u16; GRID_WIDTH + 2]; 3],
    /// Parts down that `sums` still lacks.
    lacking: u16,
    row: [[u16; GRID_WIDTH]; 3],
    width: usize,
}

impl Resize {
    pub(super) const NONE: Self = Self {
        filter: Filter::None,
        cell_rows: 0,
        grid: [[0; GRID_WIDTH]; 3],
        sums: [[0; GRID_WIDTH + 2]; 3],
        lacking: PARTS_DOWN.1,
        row: [[0; GRID_WIDTH]; 3],
        width: 0,
    };

    /// For one of [`SIZES`](super::SIZES), from a grid whose pixels are `cells_each_way` squared.
    pub(super) fn new(cells_each_way: u32, (width, _): (u32, u32)) -> Self {
        let filter = match (width, cells_each_way) {
            (640, 1) => Filter::Vga,
            (640, _) => Filter::VgaOfHalves,
            (507, 2) => Filter::Quarters,
            (507, _) | (_, 2) => Filter::Halves,
            (_, _) => Filter::None,
        };
        Self { filter, width: width as usize, ..Self::NONE }
    }

    /// Forgets what was gathered: a new picture begins.
    pub(super) fn begin(&mut self) {
        (self.cell_rows, self.lacking) = (0, PARTS_DOWN.1);
        self.sums = [[0; GRID_WIDTH + 2]; 3];
    }

    /// Takes a row of cells.
    #[inline(always)]
    pub(crate) fn add(&mut self, planes: [&[u16]; 3]) -> ResizedRow {
        match self.filter {
            Filter::None => ResizedRow::AsItIs,
            Filter::Halves => self.whole::<2>(planes),
            Filter::Quarters => self.whole::<4>(planes),
            Filter::Vga => self.weigh(planes),
            Filter::VgaOfHalves => match self.whole::<2>(planes) {
                ResizedRow::Ready => {
                    let grid = self.row;
                    self.weigh(grid.each_ref().map(|plane| &plane[..]))
                }
                not_yet => not_yet,
            },
        }
    }

    /// The row that is ready.
    pub(super) fn row(&mut self) -> [&mut [u16]; 3] {
        let width = self.width;
        self.row.each_mut().map(|plane| &mut plane[..width])
    }

    /// Adds a row of cells to pixels of N×N cells, whose means are the row when all are there: at most 16 × 2046 + 8 before
    /// they are divided.
    #[inline(always)]
    fn whole<const N: usize>(&mut self, planes: [&[u16]; 3]) -> ResizedRow {
        for (grid, cells) in self.grid.iter_mut().zip(planes) {
            let sums = cells.chunks_exact(N).map(|group| group.iter().sum::<u16>());
            if self.cell_rows == 0 {
                grid.iter_mut().zip(sums).for_each(|(total, sum)| *total = sum);
            } else {
                grid.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            }
        }
        self.cell_rows = (self.cell_rows + 1) % N;
        if self.cell_rows > 0 {
            return ResizedRow::NotYet;
        }
        let cells = (N * N) as u16;
        for (row, grid) in self.row.iter_mut().zip(&self.grid) {
            row.iter_mut().zip(grid).for_each(|(v, &sum)| *v = (sum + cells / 2) / cells);
        }
        ResizedRow::Ready
    }

    /// Adds a row of the grid to the row of 640 pixels that is gathered. What the row has beyond that pixel's lower edge
    /// begins the next one.
    #[inline(always)]
    fn weigh(&mut self, grid: [&[u16]; 3]) -> ResizedRow {
        let weight = PARTS_DOWN.0.min(self.lacking);
        for (sums, grid) in self.sums.iter_mut().zip(grid) {
            sums.iter_mut().zip(grid).for_each(|(sum, &v)| *sum += v * weight);
        }
        self.lacking -= weight;
        if self.lacking > 0 {
            return ResizedRow::NotYet;
        }
        const PARTS: u32 = PARTS_ACROSS.1 as u32 * PARTS_DOWN.1 as u32;
        for (row, sums) in self.row.iter_mut().zip(&self.sums) {
            for (v, taps) in row.iter_mut().zip(&TAPS) {
                let three = &sums[usize::from(taps.first)..][..3];
                let part = |i: usize| u32::from(three[i]) * u32::from(taps.weights[i]);
                *v = ((part(0) + part(1) + part(2) + PARTS / 2) / PARTS) as u16;
            }
        }
        let left_over = PARTS_DOWN.0 - weight;
        for (sums, grid) in self.sums.iter_mut().zip(grid) {
            sums.iter_mut().zip(grid).for_each(|(sum, &v)| *sum = v * left_over);
        }
        self.lacking = PARTS_DOWN.1 - left_over;
        ResizedRow::Ready
    }
}
