//! From the sensor's raw Bayer picture to RGB, in one pass over its rows.
//!
//! ```text
//! two raw rows ─► a row of cells (one RGB pixel each) ─► sums for exposure and white balance
//!                        └─► box filter, for the smaller sizes ─► colour matrix, if wanted ─► tone curve ─► RGB
//! ```
//!
//! Black level, white balance and sRGB's curve are one step; with a colour matrix the first two come before it. A row of
//! cells stays in the processor's first cache from end to end. The exposure that the sums ask for is [`exposure`]'s work, the
//! gains are [`white`]'s; lens shading stays undone.
//!
//! Layout of the rows and black level: `bcm2835-unicam` and `rp1-cfe` of the Raspberry Pi's kernel, libcamera's tuning.

pub mod cells;
pub(crate) mod curve;
pub mod exposure;
pub(crate) mod resize;
mod statistics;
#[cfg(all(test, feature = "std"))]
mod tests;
pub mod white;

use core::fmt;

pub use cells::{CELL_MAX, CellRow, Kernels, ROW_CELLS_MAX};
pub use curve::Tone;
pub use exposure::{AutoExposure, Exposure};
pub use statistics::Statistics;
pub use white::{ColourMatrix, Gains, WhiteBalance};

use crate::frame::{PictureInfo, PixelFormat};
use resize::{Resize, ResizedRow};

/// The sensor's black level, of 1023. libcamera's tuning has 4096 of 65535.
pub const BLACK_LEVEL: u16 = 64;

/// Rows of the full resolution.
const ROWS_MAX: u32 = 3040;
/// White in front of and behind the matrix.
const LIGHT_MAX: i16 = 4095;

/// Colours of the upper left 2×2 pixels, row by row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BayerOrder {
    /// Red, green / green, blue: the IMX500's, not flipped.
    Rggb,
    /// Green, red / blue, green: flipped left to right.
    Grbg,
    /// Green, blue / red, green: flipped upside down.
    Gbrg,
    /// Blue, green / green, red: flipped both ways.
    Bggr,
}

impl BayerOrder {
    /// The IMX500's order with these flips.
    pub const fn of_flips(horizontal: bool, vertical: bool) -> Self {
        match (horizontal, vertical) {
            (false, false) => Self::Rggb,
            (true, false) => Self::Grbg,
            (false, true) => Self::Gbrg,
            (true, true) => Self::Bggr,
        }
    }

    const fn green_first(self) -> bool {
        matches!(self, Self::Grbg | Self::Gbrg)
    }

    /// True when the colour of the upper row is red.
    const fn red_above(self) -> bool {
        matches!(self, Self::Rggb | Self::Grbg)
    }
}

/// How a sample of 10 bits is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawPacking {
    /// CSI-2: four pixels in five bytes. V4L2 `pRAA`, `pgAA`, `pGAA`, `pBAA`.
    Packed,
    /// The low bits of 16, little-endian. V4L2 `RG10` and its flips (unicam).
    Low16,
    /// The high bits of 16, little-endian. V4L2 `RG16` and its flips (rp1-cfe).
    High16,
}

/// Shape of a raw picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawFormat {
    /// Pixels in a row, a multiple of 4 up to 4056.
    pub width: u32,
    /// Rows, even, up to 3040.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// How samples are stored.
    pub packing: RawPacking,
    /// Order of the colours.
    pub order: BayerOrder,
}

impl RawFormat {
    /// Bytes of the samples of one row, without padding.
    pub const fn row_bytes(&self) -> usize {
        match self.packing {
            RawPacking::Packed => self.width as usize / 4 * 5,
            RawPacking::Low16 | RawPacking::High16 => self.width as usize * 2,
        }
    }

    /// Bytes that a buffer must have: all rows, the last one without padding.
    pub const fn bytes(&self) -> usize {
        self.stride as usize * (self.height as usize).saturating_sub(1) + self.row_bytes()
    }
}

/// Sizes that the IMX500's picture can have, from either of its modes.
pub const SIZES: [(u32, u32); 3] = [(1014, 760), (507, 380), (640, 480)];

/// Why no picture can be, or was, made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DevelopError {
    /// Width no multiple of 4 up to 4056, height not even up to 3040, or a stride shorter than a row.
    Shape(RawFormat),
    /// A picture of this size cannot be made from this raw picture.
    Size {
        /// What was asked for.
        wanted: (u32, u32),
        /// Raw pixels.
        raw: (u32, u32),
    },
    /// Black level of 512 or more.
    Black(u16),
    /// A buffer has fewer bytes than its picture.
    TooSmall {
        /// Which one.
        what: &'static str,
        /// Bytes of the picture.
        needed: usize,
        /// Bytes of the buffer.
        found: usize,
    },
}

impl fmt::Display for DevelopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Shape(raw) => write!(
                f,
                "raw picture of {}x{}, stride {}: width must be a multiple of 4 up to 4056, height even up to 3040, and the \
                 stride at least {} bytes",
                raw.width,
                raw.height,
                raw.stride,
                raw.row_bytes()
            ),
            Self::Size { wanted: (width, height), raw: (raw_width, raw_height) } => {
                write!(f, "no picture of {width}x{height} from the {raw_width}x{raw_height} sensor; it gives ")?;
                match grid_of(raw_width, raw_height) {
                    Some(_) => SIZES.iter().enumerate().try_for_each(|(i, (w, h))| {
                        let between = ["", ", ", " or "][i.min(2)];
                        write!(f, "{between}{w}x{h}")
                    }),
                    None => write!(f, "{}x{}", raw_width / 2, raw_height / 2),
                }
            }
            Self::Black(level) => write!(f, "black level {level} is not below 512 of 1023"),
            Self::TooSmall { what, needed, found } => write!(f, "{what} needs {needed} bytes, has {found}"),
        }
    }
}

impl core::error::Error for DevelopError {}

/// Cells in one pixel of the 1014×760 grid, for the sensor's two modes: 1 or 2 each way.
const fn grid_of(raw_width: u32, raw_height: u32) -> Option<u32> {
    match (raw_width, raw_height) {
        (2028, 1520) => Some(1),
        (4056, 3040) => Some(2),
        _ => None,
    }
}

/// Makes RGB pictures from raw ones of one shape. About 45 KB, all made at the start: keep it in a box.
#[derive(Clone, Debug)]
pub struct Developer {
    raw: RawFormat,
    size: (u32, u32),
    black: u16,
    gains: Gains,
    matrix: Option<ColourMatrix>,
    kernels: Kernels,
    cells: [[u16; ROW_CELLS_MAX]; 3],
    resize: Resize,
    tones: [Tone; 3],
    /// Behind a colour matrix.
    light_tone: Tone,
}

impl Developer {
    /// `size`: width and height of the RGB picture. From the IMX500's modes (2028×1520 and 4056×3040) one of [`SIZES`];
    /// from other shapes one pixel for each 2×2.
    /// `black_level`: [`BLACK_LEVEL`] for this sensor, below 512.
    /// Begins with the gains of daylight and no matrix.
    ///
    /// # Errors
    /// The shape is impossible, or the size is not offered for it.
    pub fn new(raw: RawFormat, size: (u32, u32), black_level: u16, kernels: Kernels) -> Result<Self, DevelopError> {
        let RawFormat { width, height, stride, .. } = raw;
        let widths = (4..=2 * ROW_CELLS_MAX as u32).contains(&width) && width % 4 == 0;
        let heights = (2..=ROWS_MAX).contains(&height) && height % 2 == 0;
        if !widths || !heights || (stride as usize) < raw.row_bytes() || stride > 1 << 16 {
            return Err(DevelopError::Shape(raw));
        }
        if black_level >= 512 {
            return Err(DevelopError::Black(black_level));
        }
        let cells = (width / 2, height / 2);
        let resize = match grid_of(width, height) {
            Some(cells_each_way) if SIZES.contains(&size) => Resize::new(cells_each_way, size),
            None if size == cells => Resize::NONE,
            _ => return Err(DevelopError::Size { wanted: size, raw: (width, height) }),
        };
        let (black, gains) = (2 * black_level, Gains::DAYLIGHT);
        Ok(Self {
            raw,
            size,
            black,
            gains,
            matrix: None,
            kernels,
            cells: [[0; ROW_CELLS_MAX]; 3],
            resize,
            tones: [gains.red, 256, gains.blue].map(|gain| Tone::new(black, CELL_MAX, gain)),
            light_tone: Tone::new(0, LIGHT_MAX as u16, 256),
        })
    }

    /// Shape of the pictures that come out.
    pub const fn info(&self) -> PictureInfo {
        PictureInfo::packed(PixelFormat::Rgb888, self.size.0, self.size.1)
    }

    /// Gains of the next picture.
    pub const fn gains(&self) -> Gains {
        self.gains
    }

    /// White balance from the next picture on; clamped to [`Gains::RANGE`]. Some microseconds when they differ from those in
    /// force, nothing else.
    pub fn set_gains(&mut self, gains: Gains) {
        let gains = gains.clamped();
        for (colour, from, to) in [(0, self.gains.red, gains.red), (2, self.gains.blue, gains.blue)] {
            if from != to {
                self.tones[colour] = Tone::new(self.black, CELL_MAX, to);
            }
        }
        self.gains = gains;
    }

    /// Colour matrix from the next picture on. One whose rows' absolute values sum to 8 or more is taken for none.
    pub fn set_matrix(&mut self, matrix: Option<ColourMatrix>) {
        self.matrix = matrix.filter(ColourMatrix::is_tame);
    }

    /// Makes the picture of `raw` in `rgb` and returns what it says about exposure and white balance.
    ///
    /// `rgb`: `[height][width][red, green, blue]`, [`info`](Self::info)`.bytes()` of it are written.
    /// Cost: one pass over the rows; nothing is allocated.
    ///
    /// # Errors
    /// [`DevelopError::TooSmall`]; nothing was written then.
    pub fn develop(&mut self, raw: &[u8], rgb: &mut [u8]) -> Result<Statistics, DevelopError> {
        let (width, height) = (self.size.0 as usize, self.size.1 as usize);
        for (what, needed, found) in
            [("raw picture", self.raw.bytes(), raw.len()), ("RGB picture", width * height * 3, rgb.len())]
        {
            if found < needed {
                return Err(DevelopError::TooSmall { what, needed, found });
            }
        }
        let mut seen = Statistics::new(self.black);
        let mut targets = rgb.chunks_exact_mut(width * 3).take(height);
        self.resize.begin();
        for pair in 0..self.raw.height as usize / 2 {
            self.read_cells(raw, pair);
            let count = self.raw.width as usize / 2;
            let planes = self.cells.each_ref().map(|plane| &plane[..count]);
            seen.add(count, (self.kernels.sum_open)(planes, seen.clipped_from()));
            let finish = Finish {
                black: self.black,
                gains: self.gains,
                matrix: self.matrix,
                tones: &self.tones,
                light_tone: &self.light_tone,
                kernels: &self.kernels,
            };
            match (self.kernels.filter)(&mut self.resize, planes) {
                // No box filter: the cells are the pixels. What they hold is not needed again.
                ResizedRow::AsItIs => {
                    if let Some(target) = targets.next() {
                        finish.row(self.cells.each_mut().map(|plane| &mut plane[..count]), target);
                    }
                }
                ResizedRow::Ready => {
                    if let Some(target) = targets.next() {
                        finish.row(self.resize.row(), target);
                    }
                }
                ResizedRow::NotYet => {}
            }
        }
        Ok(seen)
    }

    /// Cells of rows `2 * pair` and `2 * pair + 1`, as red, green, blue.
    fn read_cells(&mut self, raw: &[u8], pair: usize) {
        let (stride, bytes) = (self.raw.stride as usize, self.raw.row_bytes());
        let row = |y: usize| &raw[y * stride..y * stride + bytes];
        let (upper_row, lower_row) = (row(2 * pair), row(2 * pair + 1));
        let count = self.raw.width as usize / 2;
        let [red, green, blue] = self.cells.each_mut().map(|plane| &mut plane[..count]);
        let (upper, lower) = if self.raw.order.red_above() { (red, blue) } else { (blue, red) };
        let cells = CellRow { upper, green, lower };
        let green_first = self.raw.order.green_first();
        match self.raw.packing {
            RawPacking::Packed => (self.kernels.packed_cells)(upper_row, lower_row, green_first, cells),
            RawPacking::Low16 => (self.kernels.unpacked_cells)(upper_row, lower_row, green_first, 0, cells),
            RawPacking::High16 => (self.kernels.unpacked_cells)(upper_row, lower_row, green_first, 6, cells),
        }
    }
}

/// What turns a row of linear pixels into levels.
struct Finish<'a> {
    black: u16,
    gains: Gains,
    matrix: Option<ColourMatrix>,
    tones: &'a [Tone; 3],
    light_tone: &'a Tone,
    kernels: &'a Kernels,
}

impl Finish<'_> {
    fn row(&self, planes: [&mut [u16]; 3], target: &mut [u8]) {
        match &self.matrix {
            None => (self.kernels.levels)(planes.map(|plane| &*plane), self.tones.each_ref(), target),
            Some(matrix) => {
                let [red, green, blue] = planes;
                for (plane, gain) in [(&mut *red, self.gains.red), (&mut *green, 256), (&mut *blue, self.gains.blue)] {
                    balance(plane, self.black, gain);
                }
                apply_matrix(matrix, red, green, blue);
                (self.kernels.levels)([red, green, blue], [self.light_tone; 3], target);
            }
        }
    }
}

/// Black level taken off and gain applied, in place: `0..=LIGHT_MAX`, all that is brighter than white cut off, so that clipped
/// highlights stay white.
fn balance(plane: &mut [u16], black: u16, gain: u16) {
    // value × 16 × factor / 65536 = value × gain / 256 × LIGHT_MAX / (CELL_MAX − black); below 65536 up to gain 4 and black
    // level 511.
    let factor = u32::from(gain) * LIGHT_MAX as u32 * 16 / u32::from(CELL_MAX - black);
    for value in plane {
        let product = u32::from(value.saturating_sub(black) << 4) * factor.min(65_535);
        *value = ((product >> 16) as u16).min(LIGHT_MAX as u16);
    }
}

/// Each pixel through the matrix, in place. Sums stay in 16 bits because the matrix is tame.
fn apply_matrix(ColourMatrix(matrix): &ColourMatrix, red: &mut [u16], green: &mut [u16], blue: &mut [u16]) {
    for ((r, g), b) in red.iter_mut().zip(green).zip(blue) {
        let light = [*r << 3, *g << 3, *b << 3].map(|value| value as i16);
        let times = |value: i16, factor: i16| ((i32::from(value) * i32::from(factor)) >> 16) as i16;
        let row = |m: [i16; 3]| times(light[0], m[0]) + times(light[1], m[1]) + times(light[2], m[2]);
        [*r, *g, *b] = matrix.map(|m| row(m).clamp(0, LIGHT_MAX) as u16);
    }
}
