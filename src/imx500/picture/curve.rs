//! The transfer curve of sRGB, as integers that a plain loop and a vector reckon alike: from linear light to the level that a
//! JPEG holds.
//!
//! The curve is 31 straight lines, 16 of them over the darkest twelfth, where it bends most: so a vector finds a line with two
//! look-ups of 16 bytes. A level is at most 1 off the rounded curve, and never falls as light rises.

use super::cells::LEVELS;

/// Bits of linear light: white is `LIGHT_WHITE`.
const LIGHT_BITS: u32 = 14;
const LIGHT_WHITE: u32 = (1 << LIGHT_BITS) - 1;

/// A straight piece of the curve: `level = start + light * slope / 2¹⁷`. The start is where the line would meet black.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) start: u8,
    pub(crate) slope: u16,
}

const fn lines<const N: usize>(pairs: [(u8, u16); N]) -> [Line; N] {
    let mut lines = [Line { start: 0, slope: 0 }; N];
    let mut i = 0;
    while i < N {
        lines[i] = Line { start: pairs[i].0, slope: pairs[i].1 };
        i += 1;
    }
    lines
}

// Found by a search over starts and slopes, line after line: the least error among those that nowhere fall. The low byte of a
// dark line's slope is that of the bright line beneath it, so that vectors look it up once.

/// Lines of light `light * 3 / 256` = 0..16.
pub(crate) const DARK: [Line; 16] = lines([
    (0, 25_344),
    (7, 14_592),
    (12, 11_008),
    (15, 9_472),
    (19, 7_936),
    (26, 5_888),
    (19, 7_680),
    (27, 5_888),
    (31, 5_120),
    (28, 5_632),
    (33, 4_864),
    (29, 5_376),
    (37, 4_368),
    (41, 3_856),
    (39, 4_112),
    (44, 3_600),
]);

/// Lines of light `light / 1024` = 0..16; the first is all dark, and the second begins where the dark lines end.
pub(crate) const BRIGHT: [Line; 16] = lines([
    (0, 0),
    (47, 3_344),
    (58, 2_651),
    (69, 2_180),
    (78, 1_889),
    (86, 1_682),
    (94, 1_511),
    (101, 1_384),
    (107, 1_289),
    (113, 1_205),
    (117, 1_154),
    (123, 1_084),
    (128, 1_031),
    (132, 992),
    (137, 946),
    (141, 912),
]);

/// Dark lines in the first bright one.
pub(crate) const DARK_IN_FIRST: usize = 12;

/// `a * b / 2¹⁵`, rounded: one instruction for eight or 16 values. Both are below 2¹⁵.
#[inline(always)]
const fn product(a: u16, b: u16) -> u16 {
    ((a as u32 * b as u32 + (1 << 14)) >> 15) as u16
}

/// Level of linear light, `0..=LIGHT_WHITE`.
#[inline(always)]
const fn level(light: u16) -> u8 {
    // A bright line is 1,024 values; four times less in both factors stays within 16 bits.
    let dark = ((light * (DARK_IN_FIRST as u16 / 4)) >> 8) as usize;
    let line = if dark < DARK.len() { DARK[dark] } else { BRIGHT[(light >> 10) as usize] };
    line.start + ((product(light, line.slope) + 2) >> 2) as u8
}

/// From the values of a plane to levels: black, gain and curve in one. 4 KB: what vectors reckon, plain loops look up.
#[derive(Clone, Debug)]
pub struct Tone {
    /// This and all below is black.
    pub(crate) black: u16,
    /// Values from black to white.
    pub(crate) span: u16,
    /// Brings `span` to 15 bits, and `factor` from there to light.
    pub(crate) scale: u16,
    pub(crate) factor: u16,
    pub(crate) levels: [u8; LEVELS],
}

impl Tone {
    /// `black < white`, both below [`LEVELS`]; `gain`: 256 = 1.0, `256..=1024`.
    ///
    /// # Panics
    /// When less than 16 values lie between black and white.
    pub fn new(black: u16, white: u16, gain: u16) -> Self {
        let wide = u32::from(white - black);
        let span = (wide * 256 + u32::from(gain) / 2) / u32::from(gain);
        assert!(
            wide >= 16 && usize::from(white) < LEVELS && (256..=1024).contains(&gain),
            "black {black}, white {white}"
        );
        let shift = (span as u16).leading_zeros() - 1;
        // White comes out as white: the rounded product of both is no more than that.
        let factor = ((LIGHT_WHITE + 1) * (1 << 15) - (1 << 14) - 1) / (span << shift);
        let mut tone =
            Self { black, span: span as u16, scale: 1 << shift, factor: factor as u16, levels: [u8::MAX; LEVELS] };
        for value in 0..=black + tone.span {
            tone.levels[usize::from(value)] = tone.level(value);
        }
        tone
    }

    /// The level of `value`.
    #[inline(always)]
    fn level(&self, value: u16) -> u8 {
        let above = value.saturating_sub(self.black).min(self.span);
        level(product(above * self.scale, self.factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "std")]
    #[test]
    fn every_level_is_at_most_1_off_srgb_and_nine_in_ten_are_exact() {
        let white = LIGHT_WHITE as u16;
        let exact = (0..=white).filter(|&light| {
            let v = f64::from(light) / f64::from(white);
            let true_level = 255.0 * if v <= 0.003_130_8 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
            let off = f64::from(level(light)) - true_level.round();
            assert!(off.abs() <= 1.0, "light {light}: {} for {true_level}", level(light));
            off == 0.0
        });
        assert!(exact.count() * 100 > 88 * (1 << LIGHT_BITS));
        assert!((0..=white).map(level).is_sorted());
        assert_eq!([level(0), level(white)], [0, 255]);
    }

    #[test]
    fn black_is_0_white_is_255_and_a_fifth_of_the_light_is_the_middle() {
        for (black, white) in [(0, 4095), (128, 2046), (1022, 2046), (10, 300)] {
            for gain in 256..=1024 {
                let tone = Tone::new(black, white, gain);
                assert_eq!([0, black, white].map(|value| tone.levels[usize::from(value)]), [0, 0, 255]);
                assert!(tone.levels.is_sorted(), "{black} {white} {gain}");
            }
        }
        assert!((126..=128).contains(&Tone::new(0, 1000, 256).levels[214]));
        assert!((126..=128).contains(&Tone::new(0, 1000, 512).levels[107]));
    }
}
