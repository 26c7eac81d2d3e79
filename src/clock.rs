//! The real clock.

use rustix::thread::{ClockId as SleepClock, clock_nanosleep_absolute};
use rustix::time::{ClockId, clock_gettime};

use crate::time::{Clock, ClockPair, Timestamp, WallTime};

/// `CLOCK_MONOTONIC`, which V4L2 drivers stamp buffers with, and `CLOCK_REALTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

fn read_ns(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_ns(read_ns(ClockId::Monotonic))
    }

    fn pair(&self) -> ClockPair {
        // The monotonic clock before and after: their middle is at most half a read away from the wall clock's instant.
        let before = read_ns(ClockId::Monotonic);
        let wall = read_ns(ClockId::Realtime);
        let after = read_ns(ClockId::Monotonic);
        ClockPair { monotonic: Timestamp::from_ns(before + (after - before) / 2), wall: WallTime::from_utc_ns(wall) }
    }

    fn sleep_until(&self, deadline: Timestamp) {
        let ns = deadline.as_ns().max(0);
        let until = rustix::thread::Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
        // An interrupted sleep goes on: the deadline is absolute, so nothing is lost.
        while clock_nanosleep_absolute(SleepClock::Monotonic, &until) == Err(rustix::io::Errno::INTR) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Span;

    #[test]
    fn sleeping_ends_at_or_after_the_deadline() {
        let deadline = SystemClock.now() + Span::from_ms(2);
        SystemClock.sleep_until(deadline);
        assert!(SystemClock.now() >= deadline);
        SystemClock.sleep_until(Timestamp::from_ns(i64::MIN));
    }
}
