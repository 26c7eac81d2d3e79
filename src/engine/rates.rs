//! Frames and results a second as modlib shows them: the mean over the last 30 intervals.

use crate::time::Timestamp;

/// Intervals in the mean; modlib's number.
const INTERVALS: usize = 30;

/// The running mean of a rate.
#[derive(Clone, Debug)]
pub struct Rate {
    at: [Timestamp; INTERVALS + 1],
    count: usize,
    next: usize,
}

impl Rate {
    pub const fn new() -> Self {
        Self { at: [Timestamp::from_ns(0); INTERVALS + 1], count: 0, next: 0 }
    }

    /// Something happened at `at`.
    pub fn note(&mut self, at: Timestamp) {
        self.at[self.next] = at;
        self.next = (self.next + 1) % self.at.len();
        self.count = (self.count + 1).min(self.at.len());
    }

    /// Events a second; 0 until there were two, or when no time lies between the first and the last.
    pub fn per_second(&self) -> f64 {
        let len = self.at.len();
        let newest = self.at[(self.next + len - 1) % len];
        let oldest = self.at[(self.next + len - self.count) % len];
        let ns = (newest - oldest).as_ns();
        if self.count < 2 || ns <= 0 {
            return 0.0;
        }
        (self.count - 1) as f64 * 1e9 / ns as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(intervals_ms: &[i64]) -> f64 {
        let mut rate = Rate::new();
        let mut at = 0;
        rate.note(Timestamp::from_ns(at));
        for ms in intervals_ms {
            at += ms * 1_000_000;
            rate.note(Timestamp::from_ns(at));
        }
        rate.per_second()
    }

    #[test]
    fn the_rate_is_the_mean_of_the_last_thirty_intervals() {
        assert_eq!(noted(&[]), 0.0);
        assert_eq!(noted(&[40]), 25.0);
        assert_eq!(noted(&[40, 60]), 20.0);
        let long_ago = [vec![1_000; 50], vec![20; 30]].concat();
        assert_eq!(noted(&long_ago), 50.0);
        assert_eq!(noted(&[0, 0]), 0.0);
    }
}
