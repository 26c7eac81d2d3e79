//! The transfer curve of sRGB, as integers: from linear light to the level that a JPEG holds.
//!
//! Levels are found by their thresholds, which need no power function; a table of levels for all values of a sample is filled in
//! one walk over both.

/// Linear light, 65,535 = white, from which on the level is `index + 1`: the inverse of the sRGB curve at `(index + 0.5) / 255`.
/// Source: IEC 61966-2-1. The test computes it again.
const THRESHOLDS: [u16; 255] = [
    10, 30, 50, 70, 90, 109, 129, 149, 169, 189, 209, 230, 252, 276, 300, 326, 353, 382, 411, 442, 475, 508, 543, 580,
    618, 657, 697, 739, 783, 828, 874, 922, 971, 1022, 1075, 1129, 1184, 1241, 1300, 1360, 1422, 1485, 1550, 1617,
    1685, 1755, 1826, 1900, 1975, 2051, 2130, 2210, 2292, 2375, 2460, 2547, 2636, 2727, 2819, 2914, 3010, 3107, 3207,
    3309, 3412, 3517, 3624, 3733, 3844, 3957, 4071, 4188, 4306, 4427, 4549, 4673, 4800, 4928, 5058, 5190, 5325, 5461,
    5599, 5739, 5881, 6026, 6172, 6320, 6471, 6623, 6778, 6935, 7093, 7254, 7417, 7582, 7750, 7919, 8090, 8264, 8440,
    8618, 8798, 8980, 9165, 9351, 9540, 9731, 9925, 10120, 10318, 10518, 10720, 10924, 11131, 11340, 11551, 11765,
    11981, 12199, 12419, 12642, 12867, 13094, 13324, 13556, 13790, 14027, 14266, 14508, 14751, 14998, 15246, 15497,
    15750, 16006, 16264, 16525, 16788, 17053, 17321, 17591, 17864, 18139, 18416, 18696, 18979, 19264, 19551, 19841,
    20134, 20429, 20726, 21026, 21329, 21634, 21941, 22251, 22564, 22879, 23197, 23517, 23840, 24165, 24493, 24824,
    25157, 25493, 25831, 26172, 26516, 26862, 27211, 27562, 27916, 28273, 28632, 28994, 29359, 29726, 30096, 30469,
    30844, 31222, 31603, 31986, 32372, 32761, 33153, 33547, 33944, 34344, 34746, 35151, 35559, 35970, 36383, 36799,
    37218, 37640, 38064, 38492, 38922, 39354, 39790, 40228, 40670, 41114, 41560, 42010, 42463, 42918, 43376, 43837,
    44301, 44768, 45237, 45709, 46185, 46663, 47144, 47628, 48114, 48604, 49097, 49592, 50091, 50592, 51096, 51603,
    52113, 52626, 53142, 53661, 54183, 54707, 55235, 55766, 56299, 56836, 57375, 57918, 58463, 59012, 59563, 60118,
    60675, 61235, 61799, 62365, 62935, 63507, 64083, 64661, 65243,
];

/// Fills `levels` with the level of each value, where `light(value)` is the value's linear light and `white` what counts as
/// white; `light` never falls.
pub(super) fn fill(levels: &mut [u8], white: u64, light: impl Fn(u64) -> u64) {
    let mut level = 0;
    for (value, target) in (0..).zip(levels) {
        let light = light(value).min(white) * 65_535;
        while THRESHOLDS.get(level).is_some_and(|&threshold| light >= u64::from(threshold) * white) {
            level += 1;
        }
        *target = level as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "std")]
    #[test]
    fn the_thresholds_are_those_of_srgb() {
        for (level, &threshold) in THRESHOLDS.iter().enumerate() {
            let v = (level as f64 + 0.5) / 255.0;
            let light = if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) };
            assert_eq!(f64::from(threshold), (light * 65_535.0).round(), "level {level}");
        }
    }

    #[test]
    fn black_is_0_white_is_255_and_a_fifth_of_the_light_is_the_middle() {
        let mut levels = [0; 1001];
        fill(&mut levels, 1000, |value| value);
        assert_eq!([levels[0], levels[214], levels[1000]], [0, 127, 255]);
        assert!(levels.is_sorted());
        fill(&mut levels, 500, |value| value);
        assert_eq!([levels[107], levels[500], levels[1000]], [127, 255, 255]);
    }
}
