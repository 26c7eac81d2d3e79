//! White balance and colour matrix: from what a picture's sums say to gains, and from gains to a matrix.
//!
//! Grey world: the mean of a scene is taken for grey, within limits that daylight and lamps keep to. The colour temperature
//! follows from the gains, and the matrix from the temperature.
//!
//! Source of both tables: `ct_curve` and `ccms` of libcamera's tuning for this sensor
//! (`src/ipa/rpi/vc4/data/imx500.json`).

use super::Statistics;

/// Gains of red and blue over green, in 1/256; green's is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gains {
    /// 256 = 1.0, `256..=1024`.
    pub red: u16,
    /// 256 = 1.0, `256..=1024`.
    pub blue: u16,
}

impl Gains {
    /// Daylight of about 5600 K.
    pub const DAYLIGHT: Self = Self { red: 628, blue: 393 };
    /// Least and most that either gain may be: below 1, white would not be white; 4 is more than any light needs.
    pub const RANGE: (u16, u16) = (256, 1024);

    /// Gains within [`RANGE`](Self::RANGE).
    #[must_use]
    pub fn clamped(self) -> Self {
        let (low, high) = Self::RANGE;
        Self { red: self.red.clamp(low, high), blue: self.blue.clamp(low, high) }
    }

    /// The four values of the control NOTIFY_GAINS: blue, green beside blue, green beside red, red; 256 = 1.0.
    pub fn notify_values(self) -> [u32; 4] {
        [u32::from(self.blue), 256, 256, u32::from(self.red)]
    }

    /// Temperature of the light that these gains make white, in K, within the tuning's 2505..=7925.
    pub fn temperature_k(self) -> u32 {
        let (at, fraction) = self.place();
        between(LIGHTS[at].temperature_k as i32, LIGHTS[at + 1].temperature_k as i32, fraction) as u32
    }

    /// The two lights of the table between which these gains lie (by blue over red, which falls from lamp to sky), and
    /// how far from the first, in 1/256.
    fn place(self) -> (usize, i32) {
        let ratio = i64::from(self.blue) * 65_536 / i64::from(self.red.max(1));
        let last = LIGHTS.len() - 2;
        let at = LIGHTS.iter().skip(1).position(|light| ratio >= light.blue_over_red()).unwrap_or(last).min(last);
        let (from, to) = (LIGHTS[at].blue_over_red(), LIGHTS[at + 1].blue_over_red());
        (at, ((from - ratio) * 256 / (from - to)).clamp(0, 256) as i32)
    }
}

/// How the gains are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhiteBalance {
    /// Grey world, each gain within its limits (lowest, highest; 1/256).
    GreyWorld {
        /// Limits of the red gain.
        red: (u16, u16),
        /// Limits of the blue gain.
        blue: (u16, u16),
    },
    /// Always these.
    Fixed(Gains),
}

impl Default for WhiteBalance {
    /// Grey world between a lamp of 2505 K and a sky of 7925 K, the ends of the tuning's curve.
    fn default() -> Self {
        Self::GreyWorld { red: (316, 719), blue: (361, 884) }
    }
}

impl WhiteBalance {
    /// The gains for the next picture, from those of this one and its statistics: an eighth of the way, so that an object that
    /// passes does not tint the scene; all the way when there are none yet. A picture that is nearly black or nearly all
    /// clipped says nothing.
    pub fn next(&self, seen: &Statistics, current: Option<Gains>) -> Gains {
        let (red, blue) = match *self {
            Self::Fixed(gains) => return gains.clamped(),
            Self::GreyWorld { red, blue } => (red, blue),
        };
        let Some([r, g, b]) = seen.open_means() else { return current.unwrap_or(Gains::DAYLIGHT).clamped() };
        let wanted =
            |mean: u32, (low, high): (u16, u16)| (g * 256 / mean.max(1)).clamp(low.into(), high.max(low).into());
        let step = |from: Option<u16>, to: u32| {
            let to = to as i32;
            let next = from.map_or(to, |from| {
                let way = to - i32::from(from);
                // Away from zero, so that the last step arrives.
                i32::from(from) + way / 8 + way.signum() * i32::from(way % 8 != 0)
            });
            next as u16
        };
        Gains {
            red: step(current.map(|gains| gains.red), wanted(r, red)),
            blue: step(current.map(|gains| gains.blue), wanted(b, blue)),
        }
        .clamped()
    }
}

/// Sensor colour to sRGB, `[row of the result][red, green, blue]`, in 1/8192. Every row sums to about 1 (8192), so that grey
/// stays grey.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColourMatrix(pub [[i16; 3]; 3]);

impl ColourMatrix {
    /// The tuning's matrix for the light that `gains` make white, interpolated.
    pub fn for_gains(gains: Gains) -> Self {
        let (at, fraction) = gains.place();
        let (from, to) = (&LIGHTS[at].matrix, &LIGHTS[at + 1].matrix);
        let mut matrix = [[0; 3]; 3];
        for (row, values) in matrix.iter_mut().enumerate() {
            for (column, value) in values.iter_mut().enumerate() {
                *value = between(from[row][column].into(), to[row][column].into(), fraction) as i16;
            }
        }
        Self(matrix)
    }

    /// True when no sum of products can leave 16 bits: the absolute values of each row sum to less than 8.
    pub(super) fn is_tame(&self) -> bool {
        self.0.iter().all(|row| row.iter().map(|&v| u32::from(v.unsigned_abs())).sum::<u32>() < 65_536)
    }
}

fn between(from: i32, to: i32, fraction: i32) -> i32 {
    from + (to - from) * fraction / 256
}

/// One light of the tuning.
struct Light {
    temperature_k: u32,
    /// Red over green of a grey surface, in 1/10,000; and blue over green.
    red: u16,
    blue: u16,
    matrix: [[i16; 3]; 3],
}

impl Light {
    /// Blue gain over red gain, in 1/65,536.
    const fn blue_over_red(&self) -> i64 {
        self.red as i64 * 65_536 / self.blue as i64
    }
}

const fn q13(value: f64) -> i16 {
    (value * 8192.0 + if value < 0.0 { -0.5 } else { 0.5 }) as i16
}

const fn light(temperature_k: u32, red: u16, blue: u16, m: [f64; 9]) -> Light {
    let matrix =
        [[q13(m[0]), q13(m[1]), q13(m[2])], [q13(m[3]), q13(m[4]), q13(m[5])], [q13(m[6]), q13(m[7]), q13(m[8])]];
    Light { temperature_k, red, blue, matrix }
}

#[rustfmt::skip]
const LIGHTS: [Light; 10] = [
    light(2505, 8099, 2896, [1.39681, 0.17149, -0.56831, -0.54243, 1.85903, -0.31661, -0.05462, -1.36036, 2.41498]),
    light(2855, 7199, 3527, [1.42563, 0.03196, -0.45759, -0.49163, 1.81904, -0.32742, -0.02489, -1.15621, 2.18111]),
    light(2860, 6689, 3922, [1.60114, -0.28911, -0.31202, -0.52876, 1.89855, -0.36979, -0.00132, -0.90528, 1.90661]),
    light(2905, 6631, 3969, [1.61583, -0.31338, -0.30245, -0.53239, 1.89591, -0.36351, -0.00828, -0.86108, 1.86936]),
    light(2940, 6597, 3998, [1.61401, -0.30667, -0.30734, -0.52505, 1.87927, -0.35422, -0.00319, -0.87879, 1.88197]),
    light(3670, 5533, 4935, [1.69232, -0.45705, -0.23527, -0.44129, 1.76183, -0.32053, -0.04452, -0.66528, 1.70979]),
    light(3770, 5438, 5026, [1.69574, -0.47222, -0.22352, -0.43305, 1.75327, -0.32022, -0.05358, -0.62504, 1.67862]),
    light(4750, 4629, 5851, [1.59501, -0.33853, -0.25648, -0.40064, 1.93331, -0.53266, -0.05091, -0.62415, 1.67506]),
    light(5850, 3996, 6566, [1.76768, -0.58276, -0.18492, -0.33108, 1.74183, -0.41075, -0.07813, -0.48169, 1.55983]),
    light(7925, 3562, 7092, [1.56225, -0.23497, -0.32727, -0.30086, 2.10223, -0.80137, -0.07311, -0.76453, 1.83764]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(sums: [u64; 3]) -> Statistics {
        Statistics { cells: 1000, open_cells: 1000, open_sums: sums, black: 128, white: 1918 }
    }

    #[test]
    fn every_light_of_the_table_finds_its_own_temperature_and_matrix() {
        for light in &LIGHTS {
            let gains = Gains {
                red: (2_560_000 / u32::from(light.red)) as u16,
                blue: (2_560_000 / u32::from(light.blue)) as u16,
            };
            let off = gains.temperature_k().abs_diff(light.temperature_k);
            assert!(off < 60, "{} K found as {} K", light.temperature_k, gains.temperature_k());
            assert!(ColourMatrix(light.matrix).is_tame());
            for row in light.matrix {
                let sum: i32 = row.iter().map(|&v| i32::from(v)).sum();
                assert!((8184..=8200).contains(&sum), "a row of {} K sums to {sum}/8192", light.temperature_k);
            }
        }
        assert_eq!(Gains { red: 256, blue: 1024 }.temperature_k(), 2505);
        assert_eq!(Gains { red: 1024, blue: 256 }.temperature_k(), 7925);
        assert_eq!(ColourMatrix::for_gains(Gains { red: 1024, blue: 256 }), ColourMatrix(LIGHTS[9].matrix));
    }

    #[test]
    fn grey_world_arrives_at_the_gains_that_make_the_mean_grey_and_stays_there() {
        let balance = WhiteBalance::default();
        // Above black: red 400, green 800, blue 500.
        let scene = seen([528_000, 928_000, 628_000]);
        let wanted = Gains { red: 512, blue: 409 };
        assert_eq!(balance.next(&scene, None), wanted, "the first picture decides alone");
        let mut gains = Gains { red: 316, blue: 884 };
        let mut before = i32::MAX;
        for _ in 0..60 {
            gains = balance.next(&scene, Some(gains));
            let off = i32::from(gains.red).abs_diff(512) as i32;
            assert!(off <= before, "the red gain turned away");
            before = off;
        }
        assert_eq!(gains, wanted);
        assert_eq!(wanted.notify_values(), [409, 256, 256, 512]);
    }

    #[test]
    fn gains_keep_to_their_limits_and_dark_pictures_change_nothing() {
        let balance = WhiteBalance::default();
        assert_eq!(balance.next(&seen([128_100, 900_000, 128_100]), None), Gains { red: 719, blue: 884 });
        assert_eq!(balance.next(&seen([2_000_000, 400_000, 2_000_000]), None), Gains { red: 316, blue: 361 });
        let now = Gains { red: 300, blue: 300 };
        assert_eq!(balance.next(&seen([128_000; 3]), Some(now)), now);
        let clipped = Statistics { open_cells: 3, ..seen([1000; 3]) };
        assert_eq!(balance.next(&clipped, Some(now)), now);
        assert_eq!(balance.next(&clipped, None), Gains::DAYLIGHT);
        let fixed = Gains { red: 9000, blue: 0 };
        assert_eq!(WhiteBalance::Fixed(fixed).next(&clipped, Some(now)), Gains { red: 1024, blue: 256 });
    }
}
