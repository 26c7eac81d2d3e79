//! A picture to draw on: lines, discs, text. Whatever lies outside is left out; no call fails.

use std::ops::Range;

use crate::frame::{PictureInfo, PixelFormat};

use super::font;

/// A colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color {
    /// Red.
    pub r: u8,
    /// Green.
    pub g: u8,
    /// Blue.
    pub b: u8,
}

impl Color {
    /// Black.
    pub const BLACK: Self = Self::rgb(0);
    /// White.
    pub const WHITE: Self = Self::rgb(0xff_ff_ff);
    /// Pure green: keypoints.
    pub const GREEN: Self = Self::rgb(0x00_ff_00);
    /// Red and green: skeletons.
    pub const YELLOW: Self = Self::rgb(0xff_ff_00);

    /// From `0xRRGGBB`.
    pub const fn rgb(code: u32) -> Self {
        Self { r: (code >> 16) as u8, g: (code >> 8) as u8, b: code as u8 }
    }

    /// Black or white, whichever can be read on this colour.
    pub const fn contrast(self) -> Self {
        let luminance = 299 * self.r as u32 + 587 * self.g as u32 + 114 * self.b as u32;
        if luminance < 128_000 { Self::WHITE } else { Self::BLACK }
    }
}

/// An uncompressed picture in BGR888 or RGB888, lent to be drawn on. Coordinates are pixels from the top left.
#[derive(Debug)]
pub struct Canvas<'a> {
    info: PictureInfo,
    bytes: &'a mut [u8],
}

impl<'a> Canvas<'a> {
    /// `None` when the format is another, the shape is out of its limits, or `bytes` are fewer than it needs.
    pub fn new(info: PictureInfo, bytes: &'a mut [u8]) -> Option<Self> {
        let drawable = matches!(info.format, PixelFormat::Bgr888 | PixelFormat::Rgb888);
        (drawable && info.bytes()? <= bytes.len()).then_some(Self { info, bytes })
    }

    /// Pixels in a row.
    pub const fn width(&self) -> i32 {
        self.info.width as i32
    }

    /// Rows.
    pub const fn height(&self) -> i32 {
        self.info.height as i32
    }

    /// The pixel that a point given in fractions of the picture falls on; far outside points stay near the edge.
    pub fn pixel_at(&self, [x, y]: [f32; 2]) -> (i32, i32) {
        // Bounded so that later sums stay in range; a NaN becomes 0.
        let near = |fraction: f32, side: i32| (fraction * side as f32).clamp(-1e6, 1e6) as i32;
        (near(x, self.width()), near(y, self.height()))
    }

    /// The corner between pixels that lies next to a point given in fractions of the picture.
    pub fn corner_at(&self, [x, y]: [f32; 2]) -> (i32, i32) {
        let near = |fraction: f32, side: i32| (fraction * side as f32).round().clamp(-1e6, 1e6) as i32;
        (near(x, self.width()), near(y, self.height()))
    }

    /// The colour of a pixel; `None` outside.
    pub fn get(&self, x: i32, y: i32) -> Option<Color> {
        let [first, g, last] = *self.bytes.get(self.place(x, y)?..)?.first_chunk()?;
        Some(match self.info.format {
            PixelFormat::Rgb888 => Color { r: first, g, b: last },
            _ => Color { r: last, g, b: first },
        })
    }

    /// Sets a pixel.
    pub fn set(&mut self, x: i32, y: i32, color: Color) {
        let Some(place) = self.place(x, y) else { return };
        let bytes = match self.info.format {
            PixelFormat::Rgb888 => [color.r, color.g, color.b],
            _ => [color.b, color.g, color.r],
        };
        self.bytes[place..place + 3].copy_from_slice(&bytes);
    }

    /// Adds 0.6 of a colour to a pixel, as modlib tints masks.
    pub fn tint(&mut self, x: i32, y: i32, color: Color) {
        let Some(old) = self.get(x, y) else { return };
        let add = |old: u8, new: u8| old.saturating_add((u16::from(new) * 6 / 10) as u8);
        self.set(x, y, Color { r: add(old.r, color.r), g: add(old.g, color.g), b: add(old.b, color.b) });
    }

    /// Fills a rectangle, `x` and `y` to the left of and above its end.
    pub fn fill(&mut self, x: Range<i32>, y: Range<i32>, color: Color) {
        for y in y.start.max(0)..y.end.min(self.height()) {
            for x in x.start.max(0)..x.end.min(self.width()) {
                self.set(x, y, color);
            }
        }
    }

    /// A line from pixel to pixel, both included, `thickness` pixels wide (at least 1).
    pub fn line(&mut self, from: (i32, i32), to: (i32, i32), thickness: i32, color: Color) {
        let Some((from, to)) = self.clip(from, to, thickness) else { return };
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let steps = dx.abs().max(dy.abs()).max(1);
        let before = (thickness - 1) / 2;
        for step in 0..=steps {
            let x = from.0 + divide_rounded(dx * step, steps) - before;
            let y = from.1 + divide_rounded(dy * step, steps) - before;
            self.fill(x..x + thickness.max(1), y..y + thickness.max(1), color);
        }
    }

    /// The outline of a polygon.
    pub fn outline(&mut self, corners: &[(i32, i32)], thickness: i32, color: Color) {
        for (index, &corner) in corners.iter().enumerate() {
            self.line(corner, corners[(index + 1) % corners.len()], thickness, color);
        }
    }

    /// A filled circle.
    pub fn disc(&mut self, centre: (i32, i32), radius: i32, color: Color) {
        for dy in -radius..=radius {
            for dx in -radius..=radius {
                if dx * dx + dy * dy <= radius * radius + radius / 2 {
                    self.set(centre.0 + dx, centre.1 + dy, color);
                }
            }
        }
    }

    /// Text on a filled ground, `scale` pixels for each of the font's, its upper left corner at `at`; returns the x
    /// after its end.
    pub fn text(&mut self, at: (i32, i32), text: &str, scale: i32, color: Color, ground: Color) -> i32 {
        let (advance, padding) = ((font::WIDTH + 1) * scale, 2 * scale);
        let letters = text.chars().count().min(TEXT_LETTERS_MAX) as i32;
        let end = at.0 + letters * advance + 2 * padding - scale;
        self.fill(at.0..end, at.1..at.1 + font::HEIGHT * scale + 2 * padding, ground);
        let mut x = at.0 + padding;
        for letter in text.chars().take(TEXT_LETTERS_MAX) {
            self.letter((x, at.1 + padding), letter, scale, color);
            x += advance;
        }
        end
    }

    /// Height of a line of text with its ground, in pixels.
    pub const fn text_height(scale: i32) -> i32 {
        (font::HEIGHT + 4) * scale
    }

    fn letter(&mut self, (left, top): (i32, i32), letter: char, scale: i32, color: Color) {
        for (row, bits) in (0..).zip(font::rows(letter)) {
            for column in 0..font::WIDTH {
                if bits >> (font::WIDTH - 1 - column) & 1 == 1 {
                    let (x, y) = (left + column * scale, top + row * scale);
                    self.fill(x..x + scale, y..y + scale, color);
                }
            }
        }
    }

    fn place(&self, x: i32, y: i32) -> Option<usize> {
        let inside = (0..self.width()).contains(&x) && (0..self.height()).contains(&y);
        inside.then(|| y as usize * self.info.stride as usize + 3 * x as usize)
    }

    /// The part of a line that can touch the picture (Liang and Barsky's method), so that a line costs no more steps than
    /// the picture has pixels along it.
    fn clip(&self, from: (i32, i32), to: (i32, i32), margin: i32) -> Option<((i32, i32), (i32, i32))> {
        let (x, y) = (f64::from(from.0), f64::from(from.1));
        let (dx, dy) = (f64::from(to.0) - x, f64::from(to.1) - y);
        let (low, right, bottom) =
            (f64::from(-margin), f64::from(self.width() + margin), f64::from(self.height() + margin));
        let (mut begin, mut end) = (0.0_f64, 1.0_f64);
        for (direction, distance) in [(-dx, x - low), (dx, right - x), (-dy, y - low), (dy, bottom - y)] {
            if direction == 0.0 {
                if distance < 0.0 {
                    return None;
                }
            } else if direction < 0.0 {
                begin = begin.max(distance / direction);
            } else {
                end = end.min(distance / direction);
            }
        }
        let point = |t: f64| ((x + t * dx).round() as i32, (y + t * dy).round() as i32);
        (begin <= end).then(|| (point(begin), point(end)))
    }
}

/// Longest text that is drawn; more does not fit any picture.
const TEXT_LETTERS_MAX: usize = 1_024;

fn divide_rounded(a: i32, b: i32) -> i32 {
    (2 * a + b).div_euclid(2 * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: PictureInfo = PictureInfo::packed(PixelFormat::Bgr888, 8, 6);

    fn drawn(draw: impl FnOnce(&mut Canvas<'_>)) -> Vec<(i32, i32)> {
        let mut bytes = [0; 8 * 6 * 3];
        let mut canvas = Canvas::new(INFO, &mut bytes).unwrap();
        draw(&mut canvas);
        let all = (0..6).flat_map(|y| (0..8).map(move |x| (x, y)));
        all.filter(|&(x, y)| canvas.get(x, y) != Some(Color::BLACK)).collect()
    }

    #[test]
    fn colours_land_in_the_order_of_the_format() {
        let mut bytes = [0; 6];
        let orange = Color::rgb(0xff_80_01);
        Canvas::new(PictureInfo::packed(PixelFormat::Bgr888, 1, 1), &mut bytes[..3]).unwrap().set(0, 0, orange);
        Canvas::new(PictureInfo::packed(PixelFormat::Rgb888, 1, 1), &mut bytes[3..]).unwrap().set(0, 0, orange);
        assert_eq!(bytes, [0x01, 0x80, 0xff, 0xff, 0x80, 0x01]);
        assert!(Canvas::new(PictureInfo::packed(PixelFormat::Grey, 1, 1), &mut bytes).is_none());
        assert!(Canvas::new(INFO, &mut bytes).is_none(), "too few bytes");
    }

    #[test]
    fn a_line_touches_both_ends() {
        assert_eq!(drawn(|c| c.line((1, 1), (4, 1), 1, Color::WHITE)), [(1, 1), (2, 1), (3, 1), (4, 1)]);
        assert_eq!(drawn(|c| c.line((3, 3), (1, 1), 1, Color::WHITE)), [(1, 1), (2, 2), (3, 3)]);
        assert_eq!(drawn(|c| c.line((2, 2), (2, 2), 1, Color::WHITE)), [(2, 2)]);
    }

    #[test]
    fn what_lies_outside_is_left_out() {
        assert_eq!(drawn(|c| c.line((-1_000_000, 2), (1_000_000, 2), 1, Color::WHITE)).len(), 8);
        assert!(drawn(|c| c.line((-50, -1), (50, -40), 2, Color::WHITE)).is_empty());
        assert!(drawn(|c| c.disc((100, 100), 3, Color::WHITE)).is_empty());
        assert_eq!(drawn(|c| c.fill(-5..2, -5..1, Color::WHITE)), [(0, 0), (1, 0)]);
        drawn(|c| {
            c.text((-3, 4), "far longer than the picture", 3, Color::WHITE, Color::BLACK);
        });
    }

    #[test]
    fn a_point_that_is_no_number_is_the_corner() {
        drawn(|c| {
            assert_eq!(c.pixel_at([f32::NAN, 0.5]), (0, 3));
            assert_eq!(c.pixel_at([f32::INFINITY, -1.0]), (1_000_000, -6));
        });
    }
}
