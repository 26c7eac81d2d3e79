//! Instants, spans, speeds, and the one clock interface.
//!
//! All times are whole nanoseconds in `i64` (292 years either way); a speed is a ratio of integers. Nothing here reads
//! a clock: code that needs the time is handed a [`Clock`] or, better, a [`Timestamp`].

use core::fmt;
use core::ops::{Add, AddAssign, Neg, Sub};
use core::sync::atomic::{AtomicI64, Ordering};

/// An instant of the monotonic clock, in nanoseconds. Comparable only within one boot (or one recording).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A distance between two instants, in nanoseconds; may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(i64);

/// An instant of the wall clock: nanoseconds since 1970-01-01T00:00:00 UTC, negative before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

/// The same instant on both clocks. Their difference translates capture times into wall-clock times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockPair {
    /// The monotonic clock.
    pub monotonic: Timestamp,
    /// The wall clock.
    pub wall: WallTime,
}

impl ClockPair {
    /// The wall-clock time of `at`, as long as the wall clock was not stepped since this pair was taken.
    pub const fn wall_of(self, at: Timestamp) -> WallTime {
        WallTime(self.wall.0.saturating_add(at.0.saturating_sub(self.monotonic.0)))
    }

    /// Wall minus monotonic: it changes only when somebody sets the wall clock (or slews it).
    pub const fn offset(self) -> Span {
        Span(self.wall.0.saturating_sub(self.monotonic.0))
    }
}

impl Timestamp {
    /// The instant `ns` nanoseconds after the clock's zero.
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the clock's zero.
    pub const fn as_ns(self) -> i64 {
        self.0
    }
}

impl WallTime {
    /// The instant `ns` nanoseconds after 1970-01-01T00:00:00 UTC.
    pub const fn from_utc_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since 1970-01-01T00:00:00 UTC.
    pub const fn as_utc_ns(self) -> i64 {
        self.0
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// The longest span, 292 years: "wait for ever".
    pub const MAX: Self = Self(i64::MAX);

    /// `ns` nanoseconds.
    pub const fn from_ns(ns: i64) -> Self {
        Self(ns)
    }

    /// `us` microseconds.
    pub const fn from_us(us: i64) -> Self {
        Self(us.saturating_mul(1_000))
    }

    /// `ms` milliseconds.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000_000))
    }

    /// `s` seconds.
    pub const fn from_s(s: i64) -> Self {
        Self(s.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds.
    pub const fn as_ns(self) -> i64 {
        self.0
    }

    /// Seconds, for display only.
    pub fn as_s_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The span without its sign.
    pub const fn abs(self) -> Self {
        Self(self.0.saturating_abs())
    }
}

macro_rules! arithmetic {
    ($instant:ident) => {
        impl Add<Span> for $instant {
            type Output = $instant;
            fn add(self, span: Span) -> $instant {
                $instant(self.0.saturating_add(span.0))
            }
        }

        impl Sub<Span> for $instant {
            type Output = $instant;
            fn sub(self, span: Span) -> $instant {
                $instant(self.0.saturating_sub(span.0))
            }
        }

        impl Sub for $instant {
            type Output = Span;
            fn sub(self, earlier: $instant) -> Span {
                Span(self.0.saturating_sub(earlier.0))
            }
        }

        impl AddAssign<Span> for $instant {
            fn add_assign(&mut self, span: Span) {
                *self = *self + span;
            }
        }
    };
}
arithmetic!(Timestamp);
arithmetic!(WallTime);

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Neg for Span {
    type Output = Span;
    fn neg(self) -> Span {
        Span(self.0.saturating_neg())
    }
}

impl fmt::Display for Span {
    /// Three digits after the point in the largest fitting unit: `1.250 s`, `80.100 µs`, `17 ns`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ns = self.0.unsigned_abs();
        let (unit, name) = match ns {
            0..1_000 => return write!(f, "{} ns", self.0),
            1_000..1_000_000 => (1_000, "µs"),
            1_000_000..1_000_000_000 => (1_000_000, "ms"),
            _ => (1_000_000_000, "s"),
        };
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:03} {name}", ns / unit, ns % unit * 1_000 / unit)
    }
}

/// How fast recorded time passes: `numerator / denominator`, in lowest terms. Negative plays backwards, zero freezes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Speed {
    numerator: i32,
    denominator: u32,
}

impl Speed {
    /// Recorded speed.
    pub const NORMAL: Self = Self { numerator: 1, denominator: 1 };
    /// The still picture.
    pub const FROZEN: Self = Self { numerator: 0, denominator: 1 };

    /// `numerator / denominator` in lowest terms, or `None` when the denominator is zero or either is above 1,000,000
    /// in size (which keeps a million hours of recorded time inside 128-bit products).
    pub const fn new(numerator: i32, denominator: u32) -> Option<Self> {
        const LARGEST: u32 = 1_000_000;
        if denominator == 0 || denominator > LARGEST || numerator.unsigned_abs() > LARGEST {
            return None;
        }
        let (mut a, mut b) = (numerator.unsigned_abs(), denominator);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        // `a` is at least 1, since the denominator is not zero.
        Some(Self { numerator: numerator / a as i32, denominator: denominator / a })
    }

    /// The number above the line; its sign is the direction.
    pub const fn numerator(self) -> i32 {
        self.numerator
    }

    /// The number below the line, at least 1.
    pub const fn denominator(self) -> u32 {
        self.denominator
    }

    /// True when recorded time runs backwards.
    pub const fn is_reverse(self) -> bool {
        self.numerator < 0
    }

    /// True when recorded time stands still.
    pub const fn is_frozen(self) -> bool {
        self.numerator == 0
    }

    /// How much output time the recorded span takes at this speed, rounded down to the nanosecond; computed from the
    /// whole span each time, so nothing accumulates. `None` when frozen.
    pub const fn output_span(self, recorded: Span) -> Option<Span> {
        if self.numerator == 0 {
            return None;
        }
        let product = recorded.0 as i128 * self.denominator as i128;
        let quotient = product.div_euclid(self.numerator.unsigned_abs() as i128);
        let signed = if self.numerator < 0 { -quotient } else { quotient };
        Some(Span(clamp_i128(signed)))
    }

    /// How much recorded time passes in `output` time at this speed, rounded down to the nanosecond.
    pub const fn recorded_span(self, output: Span) -> Span {
        let product = output.0 as i128 * self.numerator as i128;
        Span(clamp_i128(product.div_euclid(self.denominator as i128)))
    }
}

const fn clamp_i128(value: i128) -> i64 {
    if value > i64::MAX as i128 {
        i64::MAX
    } else if value < i64::MIN as i128 {
        i64::MIN
    } else {
        value as i64
    }
}

impl Default for Speed {
    fn default() -> Self {
        Self::NORMAL
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            d => write!(f, "{}/{d}", self.numerator),
        }
    }
}

/// The one source of time. Mechanisms never see it: they are handed instants and answer with deadlines.
pub trait Clock: Send + Sync {
    /// The monotonic clock.
    fn now(&self) -> Timestamp;

    /// Both clocks, read as closely together as the implementation can.
    fn pair(&self) -> ClockPair;

    /// Returns when `now()` is at or after `deadline`; at once if it already is.
    fn sleep_until(&self, deadline: Timestamp);

    /// True when time passes only because somebody advances it: then nothing waits and runs are reproducible.
    fn is_manual(&self) -> bool {
        false
    }
}

/// A clock that stands still until it is advanced; `sleep_until` *is* the advance. Two runs with the same calls see the
/// same times.
#[derive(Debug)]
pub struct ManualClock {
    now_ns: AtomicI64,
    wall_offset_ns: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub const fn new(start: ClockPair) -> Self {
        Self { now_ns: AtomicI64::new(start.monotonic.0), wall_offset_ns: AtomicI64::new(start.offset().0) }
    }

    /// Lets `span` pass.
    pub fn advance(&self, span: Span) {
        self.now_ns.fetch_add(span.0, Ordering::AcqRel);
    }

    /// Steps the wall clock by `span`, as NTP does after boot.
    pub fn step_wall(&self, span: Span) {
        self.wall_offset_ns.fetch_add(span.0, Ordering::AcqRel);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now_ns.load(Ordering::Acquire))
    }

    fn pair(&self) -> ClockPair {
        let monotonic = self.now();
        let wall = monotonic.0.saturating_add(self.wall_offset_ns.load(Ordering::Acquire));
        ClockPair { monotonic, wall: WallTime(wall) }
    }

    fn sleep_until(&self, deadline: Timestamp) {
        self.now_ns.fetch_max(deadline.0, Ordering::AcqRel);
    }

    fn is_manual(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_kept_in_lowest_terms_and_refuses_a_zero_denominator() {
        assert_eq!(Speed::new(50, 100), Speed::new(1, 2));
        assert_eq!(Speed::new(0, 7), Some(Speed::FROZEN));
        assert_eq!(Speed::new(-4, 2).map(Speed::numerator), Some(-2));
        assert_eq!(Speed::new(1, 0), None);
        assert_eq!(Speed::new(i32::MIN, 1), None);
    }

    #[test]
    fn a_third_of_the_speed_takes_exactly_three_times_as_long_after_ten_hours() {
        let third = Speed::new(1, 3).unwrap();
        let ten_hours = Span::from_s(36_000);
        assert_eq!(third.output_span(ten_hours), Some(Span::from_s(108_000)));
        assert_eq!(third.recorded_span(Span::from_s(108_000)), ten_hours);
    }

    #[test]
    fn reverse_turns_recorded_distances_into_positive_waits() {
        let reverse = Speed::new(-2, 1).unwrap();
        assert_eq!(reverse.output_span(Span::from_ms(-80)), Some(Span::from_ms(40)));
        assert_eq!(Speed::FROZEN.output_span(Span::from_ms(80)), None);
    }

    #[test]
    fn a_manual_clock_moves_only_forward_and_only_when_told() {
        let clock = ManualClock::new(ClockPair { monotonic: Timestamp(5), wall: WallTime(1_000) });
        clock.sleep_until(Timestamp(50));
        clock.sleep_until(Timestamp(20));
        assert_eq!(clock.now(), Timestamp(50));
        clock.step_wall(Span(-2_000));
        assert_eq!(clock.pair().wall, WallTime(-955));
    }

    #[test]
    fn spans_are_shown_in_the_unit_that_fits() {
        extern crate std;
        use std::string::ToString;
        assert_eq!(Span(999).to_string(), "999 ns");
        assert_eq!(Span(80_100).to_string(), "80.100 µs");
        assert_eq!(Span(-1_250_000_000).to_string(), "-1.250 s");
    }
}
