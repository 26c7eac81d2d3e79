//! Frame rates and exposure times in the sensor's own units, lines.
//!
//! ```text
//! line time  = line length / 744 MHz
//! frame time = line time × (height + VBLANK)
//! ```
//!
//! Source: `imx500.c` of the Raspberry Pi's kernel.

use crate::imx500::PIXEL_CLOCK_HZ;
use crate::time::Span;

/// Longest frame that the register of its length shows; longer ones are this, doubled up to 7 times.
pub const PLAIN_FRAME_LINES_MAX: u32 = 0xFFDC;
const FRAME_LINES_MAX: u64 = 128 * PLAIN_FRAME_LINES_MAX as u64;
/// Lines at the end of a frame that cannot be exposed.
const EXPOSURE_MARGIN_LINES: u32 = 22;
const EXPOSURE_LINES_MIN: u32 = 8;
/// Highest code of ANALOGUE_GAIN.
const GAIN_CODE_MAX: u32 = 978;

/// A mode of the sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SensorMode {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Line length in pixel clocks.
    pub line_clocks: u32,
    /// Least lines between two pictures.
    pub vblank_min: u32,
}

/// 2×2 binned: all that a recorder needs, at up to 30 frames/s.
pub const BINNED: SensorMode = SensorMode { width: 2028, height: 1520, line_clocks: 9398, vblank_min: 1117 };
/// All pixels, up to 10 frames/s. Not used to record; listed for people.
pub const FULL: SensorMode = SensorMode { width: 4056, height: 3040, line_clocks: 17_900, vblank_min: 1117 };

impl SensorMode {
    /// VBLANK for `(frames, seconds)`, nearest, as far as the sensor can.
    pub fn vblank(&self, (frames, seconds): (u32, u32)) -> u32 {
        let per_frame = PIXEL_CLOCK_HZ * u64::from(seconds);
        let divisor = u64::from(self.line_clocks) * u64::from(frames.max(1));
        let lines = (per_frame + divisor / 2) / divisor;
        let (least, most) = (u64::from(self.height + self.vblank_min), FRAME_LINES_MAX);
        (lines.clamp(least, most) - u64::from(self.height)) as u32
    }

    /// The rate that a VBLANK gives, as `(frames, seconds)`.
    pub fn rate(&self, vblank: u32) -> (u32, u32) {
        let clocks = u64::from(self.line_clocks) * (u64::from(self.height) + u64::from(vblank));
        let common = gcd(PIXEL_CLOCK_HZ, clocks);
        let (mut frames, mut seconds) = (PIXEL_CLOCK_HZ / common, clocks / common);
        while seconds > u64::from(u32::MAX) {
            (frames, seconds) = (frames.div_ceil(2), seconds / 2);
        }
        (frames as u32, seconds as u32)
    }

    /// The fastest rate.
    pub fn rate_max(&self) -> (u32, u32) {
        self.rate(self.vblank_min)
    }

    /// Time of a frame with a VBLANK.
    pub fn frame_time(&self, vblank: u32) -> Span {
        frame_time(self.line_clocks, self.height + vblank)
    }

    /// Lines of an exposure time, nearest, as far as a frame with this VBLANK can be exposed.
    pub fn exposure_lines(&self, time: Span, vblank: u32) -> u32 {
        let clocks = (time.as_ns().max(0) as u64).saturating_mul(PIXEL_CLOCK_HZ / 1_000_000) / 1_000;
        let lines = (clocks + u64::from(self.line_clocks) / 2) / u64::from(self.line_clocks);
        let most = self.height + vblank - EXPOSURE_MARGIN_LINES;
        lines.clamp(EXPOSURE_LINES_MIN.into(), most.into()) as u32
    }
}

/// Time of a frame of so many lines.
pub fn frame_time(line_clocks: u32, lines: u32) -> Span {
    let clocks = u64::from(line_clocks) * u64::from(lines);
    Span::from_ns((clocks * 1_000 / (PIXEL_CLOCK_HZ / 1_000_000)) as i64)
}

/// ANALOGUE_GAIN's code of a gain: `1024 − 1024 / gain`, nearest, up to the driver's limit.
pub fn gain_code(gain: f32) -> u32 {
    let code = 1024.0 - 1024.0 / f64::from(gain.max(1.0));
    (code.round() as u32).min(GAIN_CODE_MAX)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_datasheets_arithmetic() {
        let per_second = |(frames, seconds): (u32, u32)| f64::from(frames) / f64::from(seconds);
        assert!((per_second(BINNED.rate_max()) - 30.02).abs() < 0.005);
        assert!((per_second(FULL.rate_max()) - 9.998).abs() < 0.001);
        assert_eq!(BINNED.vblank((30, 1)), 1119);
        assert_eq!(BINNED.vblank((1_000, 1)), BINNED.vblank_min);
        assert_eq!(BINNED.vblank((1, 1_000)), 128 * 0xFFDC - 1520);
        for fps in [5, 10, 15, 25, 30] {
            let rate = BINNED.rate(BINNED.vblank((fps, 1)));
            assert!((per_second(rate) - f64::from(fps)).abs() < 0.01, "{fps}: {rate:?}");
            let ns = BINNED.frame_time(BINNED.vblank((fps, 1))).as_ns();
            assert!((ns - 1_000_000_000 / i64::from(fps)).abs() < 20_000, "{fps}: {ns}");
        }
        let slowest = BINNED.rate(128 * 0xFFDC - 1520);
        assert!((per_second(slowest) - 744e6 / (9398.0 * 128.0 * 65_500.0)).abs() < 1e-6);
    }

    #[test]
    fn exposure_and_gain_stay_within_what_the_driver_takes() {
        let vblank = BINNED.vblank((30, 1));
        assert_eq!(BINNED.exposure_lines(Span::from_ms(10), vblank), 792);
        assert_eq!(BINNED.exposure_lines(Span::from_s(10), vblank), 1520 + 1119 - 22);
        assert_eq!(BINNED.exposure_lines(Span::from_ns(-1), vblank), 8);
        assert_eq!((gain_code(1.0), gain_code(2.0), gain_code(22.26), gain_code(1e9)), (0, 512, 978, 978));
        assert_eq!(gain_code(0.0), 0);
    }
}
