//! The player measures itself: how exact each frame was, what our own work took, and what the caller's loop took.
//!
//! All memory (three histograms, about 20 KiB each) is made at the start; recording a value is O(1) and allocates
//! nothing. Values keep two significant digits: a quantile is at most 1 % above the true one.

use core::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::playback::transport::Counts;
use crate::time::Span;

/// Quantiles of a measured time, in nanoseconds. All zero when nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Values measured.
    pub count: u64,
    /// Half of the values are at most this.
    pub p50_ns: u64,
    /// 99 of 100 values are at most this.
    pub p99_ns: u64,
    /// 999 of 1,000 values are at most this.
    pub p999_ns: u64,
    /// The largest value; one minute when it was above.
    pub max_ns: u64,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        // A bucket's upper edge may lie above the largest value in it.
        let max_ns = histogram.max();
        let quantile = |q| histogram.value_at_quantile(q).min(max_ns);
        Self { count: histogram.len(), p50_ns: quantile(0.5), p99_ns: quantile(0.99), p999_ns: quantile(0.999), max_ns }
    }
}

impl fmt::Display for Quantiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = |ns: u64| Span::from_ns(ns as i64);
        let Self { p50_ns, p99_ns, p999_ns, max_ns, .. } = *self;
        write!(f, "p50 {}, p99 {}, p99.9 {}, max {}", span(p50_ns), span(p99_ns), span(p999_ns), span(max_ns))
    }
}

/// What the player did and how exact it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PlayReport {
    /// Frames, leaps, loops.
    #[serde(flatten)]
    pub counts: Counts,
    /// Hand-out minus deadline. Frames without a deadline (the first one, after a seek, at maximal speed) are not in it.
    pub error: Quantiles,
    /// Our own work between wake-up and hand-out.
    pub work: Quantiles,
    /// From the hand-out of a frame until the caller asked for the next one.
    pub caller: Quantiles,
}

impl fmt::Display for PlayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { delivered, late, skipped, leaps, set_back, loops, damaged } = self.counts;
        write!(f, "{delivered} frames, {late} late, {skipped} skipped")?;
        for (count, what) in
            [(damaged, "unreadable"), (leaps, "leaps shortened"), (set_back, "times the clock was set back")]
        {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        if loops > 0 {
            write!(f, ", {loops} loops")?;
        }
        for (name, quantiles) in [("pacing error", self.error), ("own work", self.work), ("caller", self.caller)] {
            if quantiles.count > 0 {
                write!(f, "\n{name}: {quantiles}")?;
            }
        }
        Ok(())
    }
}

/// The histograms behind a [`PlayReport`].
#[derive(Debug)]
pub struct Meter {
    error: Histogram<u64>,
    work: Histogram<u64>,
    caller: Histogram<u64>,
}

/// Longest time that is told apart from longer ones: one minute.
const LONGEST_NS: u64 = 60_000_000_000;

impl Meter {
    /// Makes the histograms: the only allocation.
    pub fn new() -> Self {
        Self { error: histogram(), work: histogram(), caller: histogram() }
    }

    /// A frame went out that long after its deadline.
    pub fn error(&mut self, span: Span) {
        record(&mut self.error, span);
    }

    /// Our work between wake-up and hand-out took that long.
    pub fn work(&mut self, span: Span) {
        record(&mut self.work, span);
    }

    /// The caller kept a frame that long.
    pub fn caller(&mut self, span: Span) {
        record(&mut self.caller, span);
    }

    /// Quantiles of everything measured so far.
    pub fn report(&self, counts: Counts) -> PlayReport {
        PlayReport {
            counts,
            error: Quantiles::of(&self.error),
            work: Quantiles::of(&self.work),
            caller: Quantiles::of(&self.caller),
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

fn histogram() -> Histogram<u64> {
    // The bounds are constants inside the ranges that the constructor checks: 1 <= low, 2 * low <= high, digits <= 5.
    Histogram::new_with_bounds(1, LONGEST_NS, 2).expect("constant bounds are valid")
}

fn record(histogram: &mut Histogram<u64>, span: Span) {
    histogram.saturating_record(u64::try_from(span.as_ns()).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_values_to_one_percent() {
        let mut meter = Meter::new();
        for us in 1..=1_000 {
            meter.error(Span::from_us(us));
        }
        let error = meter.report(Counts::default()).error;
        assert_eq!((error.count, error.max_ns), (1_000, error.max_ns));
        for (found, exact) in [(error.p50_ns, 500_000), (error.p99_ns, 990_000), (error.max_ns, 1_000_000)] {
            assert!(found >= exact && found <= exact + exact / 100, "{found} for {exact}");
        }
    }

    #[test]
    fn a_value_above_a_minute_or_below_zero_is_counted_at_the_edge() {
        let mut meter = Meter::new();
        meter.caller(Span::from_s(3_600));
        meter.caller(Span::from_ns(-1));
        let caller = meter.report(Counts::default()).caller;
        assert_eq!(caller.count, 2);
        assert!(caller.max_ns >= LONGEST_NS && caller.max_ns < 2 * LONGEST_NS);
    }

    #[test]
    fn a_report_says_only_what_there_is_to_say() {
        let counts = Counts { delivered: 3, late: 1, leaps: 2, ..Counts::default() };
        let mut meter = Meter::new();
        meter.error(Span::from_us(50));
        let text = meter.report(counts).to_string();
        assert!(text.starts_with("3 frames, 1 late, 0 skipped, 2 leaps shortened\npacing error: p50 50."), "{text}");
        assert!(!text.contains("caller"));
    }
}
