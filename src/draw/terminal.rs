//! A picture as characters: each is the upper half block, with the colour of the pixel above and the ground of the one below;
//! or, without colours, a character as dark or bright as the place.

use std::fmt::Write as _;

use super::canvas::{Canvas, Color};

/// Columns and lines that a picture takes in a terminal of that size, as large as fits with square pixels; at least 1 × 1.
pub fn size_in_terminal((width, height): (u32, u32), (columns, lines): (u16, u16)) -> (u16, u16) {
    let (width, height) = (u64::from(width.max(1)), u64::from(height.max(1)));
    let (columns, lines) = (u64::from(columns), u64::from(lines));
    // A line shows two rows of pixels.
    let fitting = columns.min(2 * lines * width / height).max(1);
    let needed = (fitting * height).div_ceil(2 * width).clamp(1, lines.max(1));
    (fitting as u16, needed as u16)
}

/// Writes the picture into `text`, scaled to `columns` × `lines` characters by taking the middle of each cell. Colours
/// are 24 bits; lines end with a reset and `\r\n`, so that it also works in a terminal's raw mode.
pub fn half_blocks(canvas: &Canvas<'_>, (columns, lines): (u16, u16), text: &mut String) {
    let pixel = |column: u16, row: u32| middle(canvas, (columns, lines), column, row);
    for line in 0..u32::from(lines) {
        let mut shown = None;
        for column in 0..columns {
            let colors = (pixel(column, 2 * line), pixel(column, 2 * line + 1));
            if shown != Some(colors) {
                let (Color { r, g, b }, below) = colors;
                // A string takes everything.
                let _ = write!(text, "\x1b[38;2;{r};{g};{b};48;2;{};{};{}m", below.r, below.g, below.b);
                shown = Some(colors);
            }
            text.push('▀');
        }
        text.push_str("\x1b[0m\r\n");
    }
}

/// Characters from dark to bright, on a dark ground.
const SHADES: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];

/// As [`half_blocks`], but without any colour (`NO_COLOR`): one ASCII character a cell, by the brightness of its two halves.
pub fn shades(canvas: &Canvas<'_>, (columns, lines): (u16, u16), text: &mut String) {
    for line in 0..u32::from(lines) {
        for column in 0..columns {
            let halves = [2 * line, 2 * line + 1].map(|row| luma(middle(canvas, (columns, lines), column, row)));
            let brightness = halves.iter().sum::<u32>() / 2;
            text.push(SHADES[(brightness * SHADES.len() as u32 / 256) as usize]);
        }
        text.push_str("\r\n");
    }
}

/// The pixel in the middle of half a cell; `row` counts halves.
fn middle(canvas: &Canvas<'_>, (columns, lines): (u16, u16), column: u16, row: u32) -> Color {
    let x = (2 * i64::from(column) + 1) * i64::from(canvas.width()) / (2 * i64::from(columns));
    let y = (2 * i64::from(row) + 1) * i64::from(canvas.height()) / (4 * i64::from(lines));
    canvas.get(x as i32, y as i32).unwrap_or(Color::BLACK)
}

/// Brightness, 0..=255: the weights of ITU-R BT.601, in 256ths.
fn luma(Color { r, g, b }: Color) -> u32 {
    (77 * u32::from(r) + 150 * u32::from(g) + 29 * u32::from(b)) >> 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{PictureInfo, PixelFormat};

    #[test]
    fn a_picture_keeps_its_proportions_and_fits() {
        assert_eq!(size_in_terminal((640, 480), (80, 24)), (64, 24));
        assert_eq!(size_in_terminal((640, 480), (40, 24)), (40, 15));
        assert_eq!(size_in_terminal((1, 16_384), (80, 24)), (1, 24));
        assert_eq!(size_in_terminal((640, 480), (0, 0)), (1, 1));
    }

    #[test]
    fn two_rows_of_pixels_are_one_line_of_text() {
        let mut bytes = [9, 8, 7, 9, 8, 7, 1, 2, 3, 1, 2, 3];
        let canvas = Canvas::new(PictureInfo::packed(PixelFormat::Rgb888, 2, 2), &mut bytes).unwrap();
        let mut text = String::new();
        half_blocks(&canvas, (2, 1), &mut text);
        assert_eq!(text, "\x1b[38;2;9;8;7;48;2;1;2;3m▀▀\x1b[0m\r\n");
    }

    #[test]
    fn without_colours_brightness_is_a_character() {
        let mut bytes = [0, 0, 0, 255, 255, 255, 0, 0, 0, 255, 255, 255];
        let canvas = Canvas::new(PictureInfo::packed(PixelFormat::Rgb888, 2, 2), &mut bytes).unwrap();
        let mut text = String::new();
        shades(&canvas, (2, 1), &mut text);
        assert_eq!(text, " @\r\n");
    }
}
