//! Drawing: a background that was made once is copied row by row, shapes are runs of one colour.
//!
//! The unit is a pair of pixels, the smallest that every format can colour: 6 bytes of BGR, 4 of YUYV, 2 of Y, 1 of U. Of an odd row's
//! last pair only the first pixel is in the picture.

use super::hash;
use super::objects::{CLASSES, Object};
use crate::frame::{PictureInfo, PixelFormat};

/// Pairs of pixels by which the background is wider than the picture: it slides to and fro.
const SLIDE_PAIRS: usize = 64;

/// The background in the format of the picture.
#[derive(Debug)]
pub struct Canvas {
    planes: Vec<Plane>,
    width: usize,
    height: usize,
}

/// One plane of the format.
#[derive(Debug)]
struct Plane {
    channel: Channel,
    /// First byte in the picture.
    offset: usize,
    /// Bytes from row to row in the picture.
    stride: usize,
    background: Vec<u8>,
}

/// What a plane holds for a pair of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Channel {
    Bgr,
    Rgb,
    Yuyv,
    Y,
    Uv,
    U,
    V,
}

impl Channel {
    const fn pair_bytes(self) -> usize {
        match self {
            Self::Bgr | Self::Rgb => 6,
            Self::Yuyv => 4,
            Self::Y | Self::Uv => 2,
            Self::U | Self::V => 1,
        }
    }

    /// Rows of the picture for one of the plane.
    const fn row_divisor(self) -> usize {
        match self {
            Self::Uv | Self::U | Self::V => 2,
            _ => 1,
        }
    }

    /// Two pixels of one colour; as many bytes count as [`pair_bytes`](Self::pair_bytes) says.
    const fn pair(self, [r, g, b]: [u8; 3]) -> [u8; 6] {
        let [y, u, v] = yuv([r, g, b]);
        match self {
            Self::Bgr => [b, g, r, b, g, r],
            Self::Rgb => [r, g, b, r, g, b],
            Self::Yuyv => [y, u, y, v, 0, 0],
            Self::Y => [y, y, 0, 0, 0, 0],
            Self::Uv => [u, v, 0, 0, 0, 0],
            Self::U => [u, 0, 0, 0, 0, 0],
            Self::V => [v, 0, 0, 0, 0, 0],
        }
    }
}

/// BT.601 full range, as JFIF has it, in 256ths.
const fn yuv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (r, g, b) = (r as i32, g as i32, b as i32);
    let y = (77 * r + 150 * g + 29 * b) >> 8;
    let u = ((-43 * r - 85 * g + 128 * b) >> 8) + 128;
    let v = ((128 * r - 107 * g - 21 * b) >> 8) + 128;
    // The largest sums are 255 in 256ths of 256, so nothing leaves 0..=255.
    [y as u8, u as u8, v as u8]
}

impl Canvas {
    /// Makes the background; costs some memory and milliseconds once.
    pub fn new(picture: PictureInfo, seed: u64) -> Self {
        use Channel::{Bgr, Rgb, U, Uv, V, Y, Yuyv};
        let channels: &[Channel] = match picture.format {
            PixelFormat::Rgb888 => &[Rgb],
            PixelFormat::Yuyv => &[Yuyv],
            PixelFormat::Nv12 => &[Y, Uv],
            PixelFormat::Yuv420 => &[Y, U, V],
            PixelFormat::Grey => &[Y],
            _ => &[Bgr],
        };
        let (width, height) = (picture.width as usize, picture.height as usize);
        let mut offset = 0;
        let planes = channels.iter().map(|&channel| {
            let stride = width * channel.pair_bytes() / 2;
            let plane = Plane { channel, offset, stride, background: background(channel, width, height, seed) };
            offset += stride * (height / channel.row_divisor());
            plane
        });
        Self { planes: planes.collect(), width, height }
    }

    /// Draws frame `n` into `bytes`, all of them.
    pub fn draw(&self, n: u64, objects: &[Object], bytes: &mut [u8]) {
        let period = 2 * SLIDE_PAIRS as u64;
        let way = (n / 2 % period) as usize;
        let slide = way.min(2 * SLIDE_PAIRS - way);
        for plane in &self.planes {
            plane.copy_background(
                slide,
                &mut bytes[plane.offset..][..plane.stride * self.plane_rows(plane)],
                self.width,
            );
            for object in objects {
                plane.draw(n, object, &mut bytes[plane.offset..]);
            }
        }
    }

    const fn plane_rows(&self, plane: &Plane) -> usize {
        self.height / plane.channel.row_divisor()
    }
}

impl Plane {
    fn copy_background(&self, slide_pairs: usize, bytes: &mut [u8], width: usize) {
        let wide = (width.div_ceil(2) + SLIDE_PAIRS) * self.channel.pair_bytes();
        let from = slide_pairs * self.channel.pair_bytes();
        for (row, source) in bytes.chunks_exact_mut(self.stride).zip(self.background.chunks_exact(wide)) {
            row.copy_from_slice(&source[from..from + self.stride]);
        }
    }

    fn draw(&self, n: u64, object: &Object, bytes: &mut [u8]) {
        let place = object.place(n);
        let [r, g, b] = CLASSES[object.class].colour;
        let (pair_bytes, divisor) = (self.channel.pair_bytes(), self.channel.row_divisor());
        for row in (0..place.height).step_by(divisor) {
            // A little darker towards the ground, so that the picture is not made of flat areas alone.
            let shade = |colour: u8| colour - (u32::from(colour) * row / place.height / 3) as u8;
            let pattern = self.channel.pair([shade(r), shade(g), shade(b)]);
            let (from, to) = place.run(row, object.is_round());
            let line = (place.y + row) as usize / divisor * self.stride;
            let at = line + (place.x / 2 + from) as usize * pair_bytes;
            let run = &mut bytes[at..at + (to - from) as usize * pair_bytes];
            for pair in run.chunks_exact_mut(pair_bytes) {
                pair.copy_from_slice(&pattern[..pair_bytes]);
            }
        }
    }
}

fn background(channel: Channel, width: usize, height: usize, seed: u64) -> Vec<u8> {
    let pairs = width.div_ceil(2) + SLIDE_PAIRS;
    let mut bytes = Vec::with_capacity(pairs * channel.pair_bytes() * height / channel.row_divisor());
    for row in (0..height).step_by(channel.row_divisor()) {
        for pair in 0..pairs {
            let noise = (hash(seed, (row * pairs + pair) as u64) & 7) as u8;
            let across = (pair * 96 / pairs) as u8;
            let down = (row * 112 / height) as u8;
            let colour = [64 + across / 2 + noise, 72 + down / 2 + noise, 168 - down + noise];
            bytes.extend_from_slice(&channel.pair(colour)[..channel.pair_bytes()]);
        }
    }
    bytes
}
