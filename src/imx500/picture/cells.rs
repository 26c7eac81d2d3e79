//! From two raw rows to one row of cells, and what is done with a row of cells: the loops that a picture's time goes into.
//!
//! A cell is 2×2 pixels and becomes one pixel. Its red and blue are its red and blue sample doubled, its green is the sum of both
//! green samples, so all three are `0..=2046` with black at twice the sensor's black level.
//!
//! These loops are plain Rust. A processor's own way through the same work ([`Kernels`]) is chosen by who may know the
//! processor; it gives the same bytes.

use super::curve::Tone;
use super::resize::{Resize, ResizedRow};

/// Most cells in a row: the full resolution's 4056 pixels.
pub const ROW_CELLS_MAX: usize = 2028;

/// Largest value of a cell's colour.
pub const CELL_MAX: u16 = 2046;

/// One row of cells, a plane for each colour.
#[derive(Debug)]
pub struct CellRow<'a> {
    /// Colour of the upper row that is not green.
    pub upper: &'a mut [u16],
    /// Green.
    pub green: &'a mut [u16],
    /// Colour of the lower row that is not green.
    pub lower: &'a mut [u16],
}

/// Red, green and blue, or the other way round: one row of each.
pub type Planes<'a> = [&'a [u16]; 3];

/// How each plane becomes levels.
pub type Tones<'a> = [&'a Tone; 3];

/// The loops, in the form that suits the processor. [`Kernels::PORTABLE`] runs everywhere.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    /// Two packed rows (five bytes for four pixels) to cells. `green_first`: the upper row begins with green. Both rows have
    /// `cells / 2 * 5` bytes.
    pub packed_cells: fn(upper_row: &[u8], lower_row: &[u8], green_first: bool, cells: CellRow<'_>),
    /// Two rows of 16-bit samples, little-endian, shifted right by `shift`, to cells. Both have `cells * 4` bytes.
    pub unpacked_cells: fn(upper_row: &[u8], lower_row: &[u8], green_first: bool, shift: u32, cells: CellRow<'_>),
    /// Sums of the three planes over the cells whose colours are all below `clipped_from`, and how many those are.
    pub sum_open: fn(planes: Planes<'_>, clipped_from: u16) -> ([u64; 3], u32),
    /// Adds a row of cells to the box filter.
    pub(crate) filter: fn(resize: &mut Resize, planes: Planes<'_>) -> ResizedRow,
    /// Three planes to levels, woven into RGB. `rgb` has three bytes for each cell; values are below [`LEVELS`].
    pub levels: fn(planes: Planes<'_>, tones: Tones<'_>, rgb: &mut [u8]),
    /// `offset` added to (modulo 256) and three planes woven into RGB. `rgb` has three bytes for each sample.
    pub weave: fn(planes: [&[u8]; 3], offset: u8, rgb: &mut [u8]),
}

/// Values that a plane may hold when it becomes levels: those behind a colour matrix, and all that a cell's colour has.
pub const LEVELS: usize = 4096;

impl Kernels {
    /// Plain Rust.
    pub const PORTABLE: Self = Self { packed_cells, unpacked_cells, sum_open, filter: Resize::add, levels, weave };
}

impl Default for Kernels {
    fn default() -> Self {
        Self::PORTABLE
    }
}

/// Colours of two cells from the four pixels of each row.
#[inline(always)]
fn two_cells([u0, u1, u2, u3]: [u16; 4], [l0, l1, l2, l3]: [u16; 4], green_first: bool) -> [[u16; 2]; 3] {
    if green_first {
        [[u1 << 1, u3 << 1], [u0 + l1, u2 + l3], [l0 << 1, l2 << 1]]
    } else {
        [[u0 << 1, u2 << 1], [u1 + l0, u3 + l2], [l1 << 1, l3 << 1]]
    }
}

/// The four pixels in five bytes of RAW10.
#[inline(always)]
fn four_pixels(bytes: &[u8]) -> [u16; 4] {
    let low = u16::from(bytes[4]);
    [0, 1, 2, 3].map(|i| u16::from(bytes[i]) << 2 | low >> (2 * i) & 3)
}

/// See [`Kernels::packed_cells`].
#[inline(always)]
pub fn packed_cells(upper_row: &[u8], lower_row: &[u8], green_first: bool, cells: CellRow<'_>) {
    let rows = upper_row.chunks_exact(5).zip(lower_row.chunks_exact(5));
    let uppers = cells.upper.chunks_exact_mut(2);
    let planes = uppers.zip(cells.green.chunks_exact_mut(2)).zip(cells.lower.chunks_exact_mut(2));
    for ((u, l), ((upper, green), lower)) in rows.zip(planes) {
        let [a, g, b] = two_cells(four_pixels(u), four_pixels(l), green_first);
        upper.copy_from_slice(&a);
        green.copy_from_slice(&g);
        lower.copy_from_slice(&b);
    }
}

/// See [`Kernels::unpacked_cells`].
#[inline(always)]
pub fn unpacked_cells(upper_row: &[u8], lower_row: &[u8], green_first: bool, shift: u32, cells: CellRow<'_>) {
    let rows = upper_row.chunks_exact(4).zip(lower_row.chunks_exact(4));
    let planes = cells.upper.iter_mut().zip(cells.green).zip(cells.lower);
    let pair = |bytes: &[u8]| {
        let both = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) >> shift;
        [both & 0x3FF, both >> 16 & 0x3FF]
    };
    for ((u, l), ((upper, green), lower)) in rows.zip(planes) {
        let ([u0, u1], [l0, l1]) = (pair(u), pair(l));
        let [a, g, b] = if green_first { [u1 << 1, u0 + l1, l0 << 1] } else { [u0 << 1, u1 + l0, l1 << 1] };
        (*upper, *green, *lower) = (a as u16, g as u16, b as u16);
    }
}

/// Lanes that are summed side by side, and values that a 16-bit lane can hold the sum of.
const LANES: usize = 16;
const LANE_VALUES: usize = u16::MAX as usize / CELL_MAX as usize;

/// See [`Kernels::sum_open`].
#[inline(always)]
pub fn sum_open(planes: Planes<'_>, clipped_from: u16) -> ([u64; 3], u32) {
    let (mut sums, mut open) = ([0; 3], 0);
    let [first, second, third] = planes.map(|plane| plane.chunks(LANES * LANE_VALUES));
    for ((a, b), c) in first.zip(second).zip(third) {
        let mut lanes = [[0_u16; LANES]; 4];
        let vectors = a.chunks_exact(LANES).zip(b.chunks_exact(LANES)).zip(c.chunks_exact(LANES));
        for ((a, b), c) in vectors {
            for i in 0..LANES {
                let is_open = (a[i].max(b[i]).max(c[i]) as i16) < clipped_from as i16;
                let mask = 0_u16.wrapping_sub(u16::from(is_open));
                lanes[0][i] += a[i] & mask;
                lanes[1][i] += b[i] & mask;
                lanes[2][i] += c[i] & mask;
                lanes[3][i] += 1 & mask;
            }
        }
        let done = a.len() / LANES * LANES;
        for ((&a, &b), &c) in a[done..].iter().zip(&b[done..]).zip(&c[done..]) {
            if a.max(b).max(c) < clipped_from {
                sums = [sums[0] + u64::from(a), sums[1] + u64::from(b), sums[2] + u64::from(c)];
                open += 1;
            }
        }
        for (sum, lanes) in sums.iter_mut().zip(&lanes) {
            *sum += lanes.iter().map(|&v| u64::from(v)).sum::<u64>();
        }
        open += lanes[3].iter().map(|&v| u32::from(v)).sum::<u32>();
    }
    (sums, open)
}

/// See [`Kernels::levels`].
#[inline(always)]
pub fn levels(planes: Planes<'_>, tones: Tones<'_>, rgb: &mut [u8]) {
    let [red, green, blue] = planes;
    let level = |tone: &Tone, value: u16| tone.levels[usize::from(value) % LEVELS];
    for (((pixel, &r), &g), &b) in rgb.chunks_exact_mut(3).zip(red).zip(green).zip(blue) {
        pixel[0] = level(tones[0], r);
        pixel[1] = level(tones[1], g);
        pixel[2] = level(tones[2], b);
    }
}

/// Three low bytes of `word` to bytes 0, 3 and 6.
#[inline(always)]
const fn spread(word: u64) -> u64 {
    word & 0xFF | (word & 0xFF00) << 16 | (word & 0xFF_0000) << 32
}

/// See [`Kernels::weave`]. Eight samples at once in whole words, which plain x86-64 and any other processor does faster than
/// byte by byte.
#[inline(always)]
pub fn weave(planes: [&[u8]; 3], offset: u8, rgb: &mut [u8]) {
    const LOW_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    let offsets = u64::from(offset) * 0x0101_0101_0101_0101;
    let word = |bytes: &[u8]| {
        let mut eight = [0; 8];
        eight.copy_from_slice(bytes);
        let samples = u64::from_le_bytes(eight);
        // No carry from byte to byte: the top bits are added without one.
        ((samples & LOW_BITS) + (offsets & LOW_BITS)) ^ ((samples ^ offsets) & !LOW_BITS)
    };
    let count = planes[0].len().min(planes[1].len()).min(planes[2].len()).min(rgb.len() / 3);
    let [red, green, blue] = planes.map(|plane| &plane[..count]);
    let eights = red.chunks_exact(8).zip(green.chunks_exact(8)).zip(blue.chunks_exact(8));
    for (pixels, ((r, g), b)) in rgb.chunks_exact_mut(24).zip(eights) {
        let (r, g, b) = (word(r), word(g), word(b));
        let words = [
            spread(r) | spread(g) << 8 | spread(b & 0xFFFF) << 16,
            spread(b >> 16) | spread(r >> 24) << 8 | spread(g >> 24 & 0xFFFF) << 16,
            spread(g >> 40) | spread(b >> 40) << 8 | spread(r >> 48) << 16,
        ];
        for (target, word) in pixels.chunks_exact_mut(8).zip(words) {
            target.copy_from_slice(&word.to_le_bytes());
        }
    }
    let done = count / 8 * 8;
    for (i, pixel) in (done..count).zip(rgb[3 * done..].chunks_exact_mut(3)) {
        pixel.copy_from_slice(&[red[i], green[i], blue[i]].map(|sample| sample.wrapping_add(offset)));
    }
}
