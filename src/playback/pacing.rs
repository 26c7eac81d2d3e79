//! When is a frame due? Arithmetic only: instants in, deadlines out; no clock, no I/O.
//!
//! Recorded times become *media time* (recorded time without leaps and steps back), and media time becomes output time
//! by one multiplication with the speed, counted from an *anchor*: the instant at which both were last seen together.
//!
//! ```text
//! due = anchor.output + (media − anchor.media) × denominator ÷ numerator        (one rounding, below 1 ns)
//! ```
//!
//! The distance is computed from the anchor each time, never from the frame before, so nothing accumulates: hour 10 is as
//! exact as second 1. Only a command (pause, speed, seek) sets a new anchor; a change of speed rounds the position once,
//! by less than a nanosecond.
//!
//! # Recorded times that go back, and leaps
//!
//! A monotonic capture clock does neither, but imported recordings carry a wall clock that somebody sets. Let *ahead* be
//! the recorded distance from the frame before, counted in the direction of play, in media time:
//!
//! | ahead | rule |
//! |---|---|
//! | `0 ..= leap_max` | kept exactly |
//! | `-back_max .. 0` | the frame is due together with the one before; media time keeps its running maximum (minimum in reverse), so later frames stay where they were recorded |
//! | above `leap_max` | a leap of the clock: shortened to one `frame_time`; counted |
//! | below `-back_max` | the clock was set back: one `frame_time`, and media time goes on from there; counted |
//!
//! A loop from the out point to the in point takes one `frame_time` too. The shortened distances are whole nanoseconds
//! that are added to an offset: exact, in either direction.

use core::fmt;
use core::str::FromStr;

use crate::time::{Span, Speed, Timestamp};

/// How fast and in which direction to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// At a multiple of the recorded speed; negative plays backwards, zero stands still.
    At(Speed),
    /// Forward, without any waiting.
    Max,
    /// Backward, without any waiting.
    MaxReverse,
}

impl Rate {
    /// The recorded speed.
    pub const NORMAL: Self = Self::At(Speed::NORMAL);

    /// True when frames come in falling order.
    pub const fn is_reverse(self) -> bool {
        match self {
            Self::At(speed) => speed.is_reverse(),
            Self::Max => false,
            Self::MaxReverse => true,
        }
    }

    /// True when nothing moves.
    pub const fn is_frozen(self) -> bool {
        matches!(self, Self::At(speed) if speed.is_frozen())
    }

    /// The same speed in the other direction.
    pub const fn reversed(self) -> Self {
        match self {
            Self::Max => Self::MaxReverse,
            Self::MaxReverse => Self::Max,
            Self::At(speed) => match Speed::new(-speed.numerator(), speed.denominator()) {
                Some(speed) => Self::At(speed),
                None => self,
            },
        }
    }

    /// The next faster rung of the ladder, in the same direction; the top is `max`.
    pub fn faster(self) -> Self {
        let Some(pace) = self.magnitude() else { return self };
        let rung = LADDER.iter().copied().find(|&rung| is_faster(rung, pace));
        let rung = rung.map_or(Self::Max, |(n, d)| Self::At(Speed::new(n, d).unwrap_or(Speed::NORMAL)));
        if self.is_reverse() { rung.reversed() } else { rung }
    }

    /// The next slower rung of the ladder, in the same direction; at 1/100 and below it stays.
    pub fn slower(self) -> Self {
        let rung = match self.magnitude() {
            None => LADDER.last(),
            Some(pace) => LADDER.iter().rev().find(|&&rung| is_faster(pace, rung)),
        };
        let Some(&(n, d)) = rung else { return self };
        let rung = Self::At(Speed::new(n, d).unwrap_or(Speed::NORMAL));
        if self.is_reverse() { rung.reversed() } else { rung }
    }

    /// Numerator without its sign, and denominator; `None` without pacing.
    fn magnitude(self) -> Option<(i32, u32)> {
        match self {
            Self::At(speed) => Some((speed.numerator().abs(), speed.denominator())),
            Self::Max | Self::MaxReverse => None,
        }
    }
}

/// Speeds that [`Rate::faster`] and [`Rate::slower`] go through, slowest first; above the last comes `max`.
pub const LADDER: [(i32, u32); 11] =
    [(1, 100), (1, 50), (1, 20), (1, 10), (1, 4), (1, 2), (1, 1), (2, 1), (4, 1), (8, 1), (16, 1)];

fn is_faster((a, b): (i32, u32), (c, d): (i32, u32)) -> bool {
    i64::from(a) * i64::from(d) > i64::from(c) * i64::from(b)
}

impl Default for Rate {
    fn default() -> Self {
        Self::NORMAL
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(speed) => write!(f, "{speed}"),
            Self::Max => write!(f, "max"),
            Self::MaxReverse => write!(f, "-max"),
        }
    }
}

/// A text is not a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotARate;

impl fmt::Display for NotARate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a speed is a whole number, a fraction like 1/2, a decimal like 0.25, or `max`; `-` plays backwards; up to 1000000"
        )
    }
}

impl core::error::Error for NotARate {}

impl FromStr for Rate {
    type Err = NotARate;

    /// `2`, `1/2`, `0.25` (exactly 1/4), `-1`, `0`, `max`, `-max`.
    fn from_str(text: &str) -> Result<Self, NotARate> {
        let (negative, size) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let rate = match size {
            "max" => Self::Max,
            _ => Self::At(parse_speed(size).ok_or(NotARate)?),
        };
        Ok(if negative { rate.reversed() } else { rate })
    }
}

/// An unsigned whole number, fraction or decimal.
fn parse_speed(text: &str) -> Option<Speed> {
    let digits = |text: &str| (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then_some(());
    if let Some((numerator, denominator)) = text.split_once('/') {
        digits(numerator)?;
        digits(denominator)?;
        return Speed::new(numerator.parse().ok()?, denominator.parse().ok()?);
    }
    let Some((whole, fraction)) = text.split_once('.') else {
        digits(text)?;
        return Speed::new(text.parse().ok()?, 1);
    };
    digits(whole)?;
    digits(fraction)?;
    let denominator = 10_u32.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = whole.parse::<u32>().ok()?.checked_mul(denominator)?.checked_add(fraction.parse().ok()?)?;
    Speed::new(i32::try_from(scaled).ok()?, denominator)
}

/// What counts as late, as a leap, and as a clock that was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacingSettings {
    /// A recorded distance above this is a leap of the clock and is shortened to one `frame_time`. At least zero. Default
    /// 1 h: real pauses are kept, a clock that came out of 1970 is not. [`Span::MAX`] keeps every leap.
    pub leap_max: Span,
    /// A recorded time that lies up to this far before an earlier one is due together with it; further back the clock
    /// was set. At least zero. Default 500 ms.
    pub back_max: Span,
    /// A frame handed out more than this after its deadline counts as late. At least zero. Default 1 ms: a sleeping thread
    /// wakes some 50 µs after its deadline, which nobody sees.
    pub late_after: Span,
    /// The distance that stands in for a leap, a step back, and the way from out point to in point. Above zero.
    /// Default 1/30 s; a player sets the recording's own.
    pub frame_time: Span,
}

impl Default for PacingSettings {
    fn default() -> Self {
        Self {
            leap_max: Span::from_s(3_600),
            back_max: Span::from_ms(500),
            late_after: Span::from_ms(1),
            frame_time: FRAME_TIME_DEFAULT,
        }
    }
}

/// Distance between frames when a recording does not tell: 1/30 s.
pub const FRAME_TIME_DEFAULT: Span = Span::from_ns(33_333_333);

/// What to do with a frame at this instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Pace {
    /// Now.
    Due,
    /// Not before that instant.
    Wait(Timestamp),
    /// It should have been out that much earlier (more than `late_after`).
    Late(Span),
}

/// How a frame follows the one before; see the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// As recorded, or together with the frame before.
    Recorded,
    /// A leap was shortened.
    Leap,
    /// The clock was set back.
    SetBack,
    /// From one end of the range to the other.
    Wrap,
}

/// The place of the next frame in media time, not yet taken. Pure value: made by [`Pacing::look`], taken by
/// [`Pacing::accept`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How it follows the frame before.
    pub kind: StepKind,
    media_ns: i64,
    shift_ns: i128,
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    output: Timestamp,
    media_ns: i64,
}

/// The mapping from recorded time to output time. Holds no frame and no clock.
#[derive(Clone, Debug)]
pub struct Pacing {
    settings: PacingSettings,
    rate: Rate,
    /// Where output and media time were last seen together; `None` while time stands still at `held_ns`.
    anchor: Option<Anchor>,
    held_ns: i64,
    /// Media time minus recorded time. 128 bits, so that no recorded time of 64 bits can overflow it.
    shift_ns: i128,
    /// Media time of the newest frame.
    mark_ns: i64,
}

impl Pacing {
    /// Stands still until [`Pacing::jump`] and [`Pacing::go`].
    pub const fn new(settings: PacingSettings, rate: Rate) -> Self {
        Self { settings, rate, anchor: None, held_ns: 0, shift_ns: 0, mark_ns: 0 }
    }

    /// How fast it plays (or will, once it goes on).
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// The settings that it was made with.
    pub const fn settings(&self) -> &PacingSettings {
        &self.settings
    }

    /// True while media time runs.
    pub const fn is_running(&self) -> bool {
        self.anchor.is_some()
    }

    /// A frame recorded at `captured` is shown at `now`, whatever was before: the start, a seek, a step.
    pub fn jump(&mut self, captured: Timestamp, now: Timestamp) {
        self.shift_ns = 0;
        self.mark_ns = captured.as_ns();
        self.held_ns = self.mark_ns;
        if let Some(anchor) = &mut self.anchor {
            *anchor = Anchor { output: now, media_ns: self.mark_ns };
        }
    }

    /// Lets media time run from where it stands. Nothing happens when it runs already.
    pub fn go(&mut self, now: Timestamp) {
        if self.anchor.is_none() {
            self.anchor = Some(Anchor { output: now, media_ns: self.held_ns });
        }
    }

    /// Stops media time. `next`: the frame that is waited for; see [`Pacing::set_rate`].
    pub fn hold(&mut self, now: Timestamp, next: Option<&Step>) {
        self.held_ns = self.position_ns(now, next);
        self.anchor = None;
    }

    /// Changes speed or direction at `now`, without moving the position.
    ///
    /// The position lies between the newest frame and `next`, the frame that is waited for: a player that is behind
    /// does not have to make up for it at the new speed.
    pub fn set_rate(&mut self, rate: Rate, now: Timestamp, next: Option<&Step>) {
        self.held_ns = self.position_ns(now, next);
        self.rate = rate;
        if let Some(anchor) = &mut self.anchor {
            *anchor = Anchor { output: now, media_ns: self.held_ns };
        }
    }

    /// Media time at `now`, between the newest frame and `next`.
    fn position_ns(&self, now: Timestamp, next: Option<&Step>) -> i64 {
        let Some(anchor) = self.anchor else { return self.held_ns };
        let Rate::At(speed) = self.rate else { return self.mark_ns };
        let passed = speed.recorded_span(now - anchor.output).as_ns();
        let position_ns = anchor.media_ns.saturating_add(passed);
        let end_ns = next.map_or(self.mark_ns, |step| step.media_ns);
        position_ns.clamp(self.mark_ns.min(end_ns), self.mark_ns.max(end_ns))
    }

    /// Where the frame recorded at `captured` lies when it follows the newest one in the direction of play.
    pub fn look(&self, captured: Timestamp) -> Step {
        let raw_ns = i128::from(captured.as_ns()) + self.shift_ns;
        let forward_ns = raw_ns - i128::from(self.mark_ns);
        let ahead_ns = if self.rate.is_reverse() { -forward_ns } else { forward_ns };
        if ahead_ns > i128::from(self.settings.leap_max.as_ns()) && self.settings.leap_max != Span::MAX {
            self.one_frame_on(captured, StepKind::Leap)
        } else if ahead_ns < -i128::from(self.settings.back_max.as_ns()) {
            self.one_frame_on(captured, StepKind::SetBack)
        } else {
            let media_ns = if ahead_ns < 0 { self.mark_ns } else { clamp(raw_ns) };
            Step { kind: StepKind::Recorded, media_ns, shift_ns: self.shift_ns }
        }
    }

    /// Where the frame recorded at `captured` lies when the range ended and begins again with it.
    pub fn look_wrapped(&self, captured: Timestamp) -> Step {
        self.one_frame_on(captured, StepKind::Wrap)
    }

    fn one_frame_on(&self, captured: Timestamp, kind: StepKind) -> Step {
        let frame_ns = self.settings.frame_time.as_ns();
        let signed_ns = if self.rate.is_reverse() { -frame_ns } else { frame_ns };
        let media_ns = self.mark_ns.saturating_add(signed_ns);
        Step { kind, media_ns, shift_ns: i128::from(media_ns) - i128::from(captured.as_ns()) }
    }

    /// The frame of `step` is out (or was skipped): the next one follows it.
    pub fn accept(&mut self, step: &Step) {
        self.mark_ns = step.media_ns;
        self.shift_ns = step.shift_ns;
    }

    /// The deadline of `step`; `None` when there is no pacing, or time stands still.
    pub fn due_at(&self, step: &Step) -> Option<Timestamp> {
        let (Some(anchor), Rate::At(speed)) = (self.anchor, self.rate) else { return None };
        let distance = Span::from_ns(step.media_ns.saturating_sub(anchor.media_ns));
        Some(anchor.output + speed.output_span(distance)?)
    }

    /// What to do at `now` with a frame due at `due_at`.
    pub fn judge(&self, due_at: Timestamp, now: Timestamp) -> Pace {
        if now < due_at {
            return Pace::Wait(due_at);
        }
        let behind = now - due_at;
        if behind > self.settings.late_after { Pace::Late(behind) } else { Pace::Due }
    }
}

fn clamp(ns: i128) -> i64 {
    ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ns(ms * 1_000_000)
    }

    fn rate(text: &str) -> Rate {
        text.parse().unwrap()
    }

    fn running(rate_text: &str, first_ms: i64) -> Pacing {
        let settings = PacingSettings { frame_time: Span::from_ms(40), ..PacingSettings::default() };
        let mut pacing = Pacing::new(settings, rate(rate_text));
        pacing.jump(at(first_ms), at(0));
        pacing.go(at(0));
        pacing
    }

    /// Deadlines in milliseconds of frames played one after the other; the first is shown at 0.
    fn deadlines(rate_text: &str, recorded_ms: &[i64]) -> Vec<i64> {
        let mut pacing = running(rate_text, recorded_ms[0]);
        let mut due = |&ms| {
            let step = pacing.look(at(ms));
            pacing.accept(&step);
            pacing.due_at(&step).unwrap().as_ns() / 1_000_000
        };
        recorded_ms[1..].iter().map(&mut due).collect()
    }

    #[test]
    fn deadlines_are_recorded_distances_divided_by_the_speed() {
        assert_eq!(deadlines("1", &[100, 140, 190]), [40, 90]);
        assert_eq!(deadlines("2", &[100, 140, 190]), [20, 45]);
        assert_eq!(deadlines("1/100", &[100, 140]), [4_000]);
        assert_eq!(deadlines("-1/2", &[190, 140, 100]), [100, 180]);
    }

    #[test]
    fn a_time_that_goes_back_a_little_is_due_with_the_frame_before_and_moves_nothing_later() {
        assert_eq!(deadlines("1", &[0, 40, 35, 80]), [40, 40, 80]);
        assert_eq!(deadlines("-1", &[80, 35, 40, 0]), [45, 45, 80]);
    }

    #[test]
    fn a_clock_that_was_set_back_costs_one_frame_time() {
        assert_eq!(deadlines("1", &[10_000, 10_040, 5_000, 5_033]), [40, 80, 113]);
        assert_eq!(deadlines("-1", &[5_033, 5_000, 10_040, 10_000]), [33, 73, 113]);
    }

    #[test]
    fn a_leap_above_the_setting_costs_one_frame_time_and_a_pause_below_is_kept() {
        let hour_ms = 3_600_000;
        assert_eq!(deadlines("1", &[0, hour_ms]), [hour_ms]);
        assert_eq!(deadlines("1", &[0, hour_ms + 1, hour_ms + 31]), [40, 70]);
    }

    #[test]
    fn every_leap_is_kept_when_the_setting_says_so() {
        let settings = PacingSettings { leap_max: Span::MAX, ..PacingSettings::default() };
        let mut pacing = Pacing::new(settings, Rate::NORMAL);
        pacing.jump(at(0), at(0));
        pacing.go(at(0));
        let step = pacing.look(at(86_400_000_000));
        assert_eq!(pacing.due_at(&step), Some(at(86_400_000_000)));
    }

    #[test]
    fn a_third_of_the_speed_is_exact_after_ten_hours_of_frames() {
        let mut pacing = running("1/3", 0);
        let frame_ns = 33_333_333;
        let mut due = at(0);
        for k in 1..=1_080_000_i64 {
            let step = pacing.look(Timestamp::from_ns(k * frame_ns));
            pacing.accept(&step);
            due = pacing.due_at(&step).unwrap();
        }
        assert_eq!(due.as_ns(), 3 * 1_080_000 * frame_ns);
    }

    #[test]
    fn the_position_survives_pauses_and_changes_of_speed() {
        let mut pacing = running("1", 0);
        let step = pacing.look(at(100));
        pacing.hold(at(30), Some(&step));
        assert_eq!(pacing.due_at(&step), None);
        pacing.go(at(1_000));
        assert_eq!(pacing.due_at(&step), Some(at(1_070)));
        pacing.set_rate(rate("1/10"), at(1_020), Some(&step));
        assert_eq!(pacing.due_at(&step), Some(at(1_520)));
        pacing.set_rate(rate("-1"), at(1_020), Some(&step));
        assert_eq!(pacing.due_at(&pacing.look(at(-10))), Some(at(1_080)));
    }

    #[test]
    fn a_player_that_is_behind_does_not_carry_its_debt_into_a_new_speed() {
        let mut pacing = running("4", 0);
        let next = pacing.look(at(40));
        assert_eq!(pacing.judge(pacing.due_at(&next).unwrap(), at(5_000)), Pace::Late(Span::from_ms(4_990)));
        pacing.set_rate(Rate::NORMAL, at(5_000), Some(&next));
        assert_eq!(pacing.due_at(&next), Some(at(5_000)));
    }

    #[test]
    fn a_frame_is_never_due_early_and_late_only_above_the_tolerance() {
        let pacing = running("1", 0);
        assert_eq!(pacing.judge(at(40), Timestamp::from_ns(39_999_999)), Pace::Wait(at(40)));
        assert_eq!(pacing.judge(at(40), at(41)), Pace::Due);
        assert_eq!(pacing.judge(at(40), Timestamp::from_ns(41_000_001)), Pace::Late(Span::from_ns(1_000_001)));
    }

    #[test]
    fn the_largest_and_smallest_times_do_not_overflow() {
        let extremes = [i64::MIN, i64::MAX, 0, i64::MIN, i64::MAX];
        for rate in [rate("1/1000000"), rate("-1/1000000"), rate("1000000"), Rate::Max] {
            for leap_max in [Span::from_s(1), Span::MAX] {
                let mut pacing = Pacing::new(PacingSettings { leap_max, ..PacingSettings::default() }, rate);
                pacing.jump(Timestamp::from_ns(extremes[0]), Timestamp::from_ns(i64::MAX));
                pacing.go(Timestamp::from_ns(i64::MAX));
                for ns in extremes {
                    let step = pacing.look(Timestamp::from_ns(ns));
                    pacing.accept(&step);
                    pacing.hold(Timestamp::from_ns(i64::MIN), Some(&step));
                    pacing.go(Timestamp::from_ns(i64::MAX));
                    assert_eq!(pacing.due_at(&step).is_some(), rate != Rate::Max);
                }
            }
        }
    }

    #[test]
    fn rates_are_read_as_exact_ratios() {
        assert_eq!(rate("0.25"), rate("1/4"));
        assert_eq!(rate("-2"), Rate::At(Speed::new(-2, 1).unwrap()));
        assert_eq!(rate("-max"), Rate::MaxReverse);
        for text in ["1/100", "-1/2", "0", "16", "max", "-max"] {
            assert_eq!(rate(text).to_string(), text);
        }
        for text in ["", "-", "+1", "1/0", "1/-2", "1e3", ".5", "5.", "--1", "fast", "1000001", "1/ 2", "0.0000001"] {
            assert_eq!(text.parse::<Rate>(), Err(NotARate), "{text}");
        }
    }

    #[test]
    fn the_ladder_goes_from_a_hundredth_to_max_and_back_in_both_directions() {
        let mut rungs = Vec::from([rate("1/100")]);
        while rungs[rungs.len() - 1].faster() != rungs[rungs.len() - 1] {
            rungs.push(rungs[rungs.len() - 1].faster());
        }
        assert_eq!((rungs.len(), rungs[rungs.len() - 1]), (LADDER.len() + 1, Rate::Max));
        for pair in rungs.windows(2) {
            assert_eq!(pair[1].slower(), pair[0]);
            assert_eq!(pair[0].reversed().faster(), pair[1].reversed());
        }
        assert_eq!(rate("1/100").slower(), rate("1/100"));
        assert_eq!(rate("3").faster(), rate("4"));
        assert_eq!(rate("-3").slower(), rate("-2"));
        assert_eq!((rate("0").faster(), rate("0").slower()), (rate("1/100"), rate("0")));
    }
}
