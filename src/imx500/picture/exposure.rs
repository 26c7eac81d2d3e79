//! Auto-exposure: from a picture's mean and the exposure that made it to the exposure that is wanted.
//!
//! The sensor has none of its own. What is written acts some frames later, so nothing here remembers what it asked for: each
//! answer is reckoned from the exposure in the embedded registers of the very picture that was measured. A delay then makes the
//! same answer come twice, never a larger one, and nothing can swing.

use super::{Gains, Statistics};

/// Highest analogue gain code that the driver takes: gain 22.26.
pub const GAIN_CODE_MAX: u16 = 978;
/// Shortest exposure that the driver takes, in lines.
pub const EXPOSURE_LINES_MIN: u32 = 8;
/// Lines of a frame that cannot be exposed.
pub const EXPOSURE_MARGIN_LINES: u32 = 22;

/// What the controls EXPOSURE and ANALOGUE_GAIN hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Lines, at least 8.
    pub lines: u32,
    /// Gain = 1024 / (1024 − code), `0..=978`.
    pub gain_code: u16,
}

impl Exposure {
    /// What the driver starts with.
    pub const DEFAULT: Self = Self { lines: 1600, gain_code: 0 };

    /// Lines times gain, in 1/1024 of a line.
    fn total(self) -> u64 {
        let divisor = 1024 - u64::from(self.gain_code.min(GAIN_CODE_MAX));
        (u64::from(self.lines.max(1)) << 20) / divisor
    }
}

/// What the loop aims at and what it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoExposure {
    /// Mean of the picture after white balance, linear, in 1/1000 of white; `10..=500`. Default 160, as libcamera's tuning for
    /// this sensor.
    pub target_per_mille: u32,
    /// Off by no more than this, in 1/1000 of the target, nothing changes; `10..=300`, default 60.
    pub tolerance_per_mille: u32,
    /// Longest exposure: frame length − 22 lines, or less against motion blur.
    pub lines_max: u32,
    /// Highest gain code, at most 978. Default 853, gain 6, as libcamera's tuning.
    pub gain_code_max: u16,
}

impl AutoExposure {
    /// The defaults for frames of `frame_length_lines` (height + VBLANK).
    pub const fn new(frame_length_lines: u32) -> Self {
        let lines_max = frame_length_lines.saturating_sub(EXPOSURE_MARGIN_LINES);
        Self { target_per_mille: 160, tolerance_per_mille: 60, lines_max, gain_code_max: 853 }
    }

    /// The exposure to write after a picture that was taken with `in_force` and shown with `gains`.
    ///
    /// `in_force`: from the embedded registers of that picture's frame, not what was last written. Long lines come before gain.
    /// The first step from far off (more than a factor of 2) goes all the way, at most a factor of 16; nearer, three quarters
    /// of the way. Where much of the picture is clipped the mean says too little, and the step down is made longer.
    pub fn next(&self, seen: &Statistics, gains: Gains, in_force: Exposure) -> Exposure {
        let Some(mean) = seen.luminance_per_65536(gains) else { return in_force };
        let mean = u64::from(mean.max(1));
        let target = u64::from(self.target_per_mille.clamp(10, 500)) * 65_536 / 1000;
        if mean.abs_diff(target) * 1000 <= target * u64::from(self.tolerance_per_mille.clamp(10, 300)) {
            let fits = (EXPOSURE_LINES_MIN..=self.lines_max).contains(&in_force.lines)
                && in_force.gain_code <= self.gain_code_max;
            return if fits { in_force } else { self.split(in_force.total()) };
        }
        let total = in_force.total();
        let full = total * target / mean;
        let next = if mean > 2 * target {
            // All clipped: a quarter of what the mean alone asks for. Half clipped: five eighths.
            let open = 1024 * u64::from(seen.open_cells) / u64::from(seen.cells.max(1));
            (full * (256 + open * 3 / 4) / 1024).max(total / 32)
        } else if 2 * mean < target {
            full.min(total * 16)
        } else {
            (total + 3 * full) / 4
        };
        self.split(next)
    }

    /// Lines first, then gain for the rest; the gain also makes up for whole lines where those are few.
    fn split(&self, total: u64) -> Exposure {
        let lines_max = u64::from(self.lines_max.max(EXPOSURE_LINES_MIN));
        let lines = (total / 1024).clamp(EXPOSURE_LINES_MIN.into(), lines_max);
        // gain = total / (1024 lines); code = 1024 − 1024 / gain, nearest.
        let inverse = ((lines << 20) + total / 2).checked_div(total).unwrap_or(1024).clamp(1, 1024);
        let code = (1024 - inverse) as u16;
        Exposure { lines: lines as u32, gain_code: code.min(self.gain_code_max.min(GAIN_CODE_MAX)) }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    /// Frames from writing a control to the first picture that it acts on: 2 by libcamera's table, and one that is already
    /// being exposed when the picture before it has been read.
    const DELAY: usize = 3;
    const GAINS: Gains = Gains { red: 512, blue: 409 };

    /// A scene with a spread of brightness: `light` per line of exposure is its mean, in levels of 0..=1790 above black.
    fn picture(light: f64, exposure: Exposure) -> Statistics {
        let gain = 1024.0 / (1024.0 - f64::from(exposure.gain_code));
        let mut seen = Statistics { cells: 0, open_cells: 0, open_sums: [0; 3], black: 128, white: 2046 };
        for part in 1..=40_u32 {
            // 0.05 to 2 times the mean.
            let green = light * f64::from(exposure.lines) * gain * f64::from(part) / 20.5;
            let [r, g, b] = [green / 2.0, green, green / 1.6].map(|v| (v + 128.0).min(2046.0) as u64);
            seen.cells += 1;
            if g < u64::from(seen.clipped_from()) {
                seen.open_cells += 1;
                seen.open_sums = [seen.open_sums[0] + r, seen.open_sums[1] + g, seen.open_sums[2] + b];
            }
        }
        seen
    }

    /// Mean over target of each picture, from the step on; the loop begins settled.
    fn run(auto: &AutoExposure, before: f64, after: f64, frames: usize) -> Vec<f64> {
        let mut written = std::collections::VecDeque::from([Exposure::DEFAULT; DELAY]);
        let mut means = Vec::new();
        for frame in 0..100 + frames {
            let light = if frame < 100 { before } else { after };
            let in_force = written.pop_front().unwrap();
            let seen = picture(light, in_force);
            written.push_back(auto.next(&seen, GAINS, in_force));
            if frame >= 100 {
                means.push(f64::from(seen.luminance_per_65536(GAINS).unwrap()) / 65.536 / 160.0);
            }
        }
        means
    }

    /// Frames until all later means are within 10 % of the target, and how often the mean crossed the target by more.
    fn settled(means: &[f64]) -> (usize, usize) {
        let off = |mean: &f64| (mean - 1.0).abs() > 0.1;
        let frames = means.iter().rposition(off).map_or(0, |last| last + 1);
        let far: Vec<bool> = means.iter().filter(|mean| off(mean)).map(|&mean| mean > 1.0).collect();
        (frames, far.windows(2).filter(|pair| pair[0] != pair[1]).count())
    }

    #[test]
    fn six_stops_up_or_down_settle_within_15_frames_and_nothing_swings() {
        let auto = AutoExposure { gain_code_max: GAIN_CODE_MAX, ..AutoExposure::new(2637) };
        for (before, after) in [(0.05, 3.2), (3.2, 0.05), (0.1, 6.4), (6.4, 0.1), (0.02, 1.28)] {
            let means = run(&auto, before, after, 60);
            let (frames, crossings) = settled(&means);
            assert!(frames <= 15, "{before} to {after}: {frames} frames: {means:.2?}");
            // Out of a wholly clipped picture the true brightness is not known: the step may go below once.
            assert!(crossings <= 1, "{before} to {after}: {crossings} crossings: {means:.2?}");
        }
    }

    #[test]
    fn a_settled_loop_writes_the_same_exposure_for_ever() {
        let auto = AutoExposure::new(2637);
        for light in [0.3, 1.0, 7.0] {
            let mut now = Exposure::DEFAULT;
            let mut written = Vec::new();
            for _ in 0..60 {
                now = auto.next(&picture(light, now), GAINS, now);
                written.push(now);
            }
            assert!(written[30..].iter().all(|&exposure| exposure == now), "{light}: {written:?}");
        }
    }

    #[test]
    fn lines_come_before_gain_and_both_keep_to_their_limits() {
        let auto = AutoExposure::new(2637);
        assert_eq!(auto.split(1000 << 10), Exposure { lines: 1000, gain_code: 0 });
        assert_eq!(auto.split(2615 << 11), Exposure { lines: 2615, gain_code: 512 });
        assert_eq!(auto.split(u64::MAX >> 24), Exposure { lines: 2615, gain_code: 853 });
        assert_eq!(auto.split(0), Exposure { lines: 8, gain_code: 0 });
        assert_eq!(auto.split((17 << 10) / 2), Exposure { lines: 8, gain_code: 60 });
        let black = Statistics { cells: 9, open_cells: 9, open_sums: [0; 3], black: 128, white: 2046 };
        let next = auto.next(&black, GAINS, Exposure { lines: 100, gain_code: 0 });
        assert_eq!(next, Exposure { lines: 1600, gain_code: 0 }, "at most a factor of 16");
        let nothing = Statistics { cells: 0, open_cells: 0, ..black };
        assert_eq!(auto.next(&nothing, GAINS, Exposure::DEFAULT), Exposure::DEFAULT);
    }

    proptest::proptest! {
        #[test]
        fn every_step_of_up_to_six_stops_settles(before in -4.6_f64..2.6, stops in -6.0_f64..6.0) {
            let after = (before + stops).clamp(-5.6, 2.6);
            let auto = AutoExposure { gain_code_max: GAIN_CODE_MAX, ..AutoExposure::new(2637) };
            let means = run(&auto, before.exp2(), after.exp2(), 60);
            let (frames, crossings) = settled(&means);
            proptest::prop_assert!(frames <= 15 && crossings <= 1, "{frames} frames, {crossings} crossings: {means:.2?}");
        }

        #[test]
        fn no_statistics_and_no_registers_panic(
            cells in 0_u32..=1 << 22, open in 0_u32..=1 << 22, sums in proptest::array::uniform3(0_u64..=u64::from(u32::MAX) << 11),
            lines in 0_u32..=u32::MAX, gain_code in 0_u16..=u16::MAX, max in 0_u32..=u32::MAX,
        ) {
            let seen = Statistics { cells, open_cells: open.min(cells), open_sums: sums, black: 128, white: 2046 };
            let auto = AutoExposure { lines_max: max, ..AutoExposure::new(0) };
            let next = auto.next(&seen, GAINS, Exposure { lines, gain_code });
            proptest::prop_assert!(next.lines >= 8 && next.gain_code <= GAIN_CODE_MAX);
        }
    }
}
