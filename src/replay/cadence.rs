//! When a tick is due although no live frame came: a replay does not freeze with the camera.

use crate::time::{Span, Timestamp};

/// A live frame is late after so many frame times; from then on the nominal rate drives the operator.
const LATE_FRAMES: i64 = 2;

/// Tells a loop over live frames when to call [`ReplayOperator::tick`](super::operator::ReplayOperator::tick) instead: two frame
/// times after the newest live frame, then every frame time, by absolute deadlines, until one comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cadence {
    frame_time: Span,
    due: Timestamp,
}

impl Cadence {
    /// From `now` on, for a source with this nominal time from frame to frame (above 0).
    pub fn new(frame_time: Span, now: Timestamp) -> Self {
        let mut cadence = Self { frame_time, due: now };
        cadence.live(now);
        cadence
    }

    /// A live frame came.
    pub fn live(&mut self, now: Timestamp) {
        self.due = now + Span::from_ns(self.frame_time.as_ns().saturating_mul(LATE_FRAMES));
    }

    /// When the next tick without a live frame is due.
    pub const fn due(&self) -> Timestamp {
        self.due
    }

    /// True when one is due; the next one is, then, one frame time after it. A loop that was held up for longer gets one tick,
    /// not all that it missed.
    pub fn is_due(&mut self, now: Timestamp) -> bool {
        if now < self.due {
            return false;
        }
        self.due = (self.due + self.frame_time).max(now);
        true
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    fn ms(ms: i64) -> Timestamp {
        Timestamp::from_ns(0) + Span::from_ms(ms)
    }

    /// When ticks come, looking every millisecond up to `until`.
    fn ticks(cadence: &mut Cadence, from: i64, until: i64) -> std::vec::Vec<i64> {
        (from..=until).filter(|&at| cadence.is_due(ms(at))).collect()
    }

    #[test]
    fn ticks_begin_two_frame_times_after_the_live_frame_and_keep_the_nominal_rate() {
        let mut cadence = Cadence::new(Span::from_ms(40), ms(0));
        assert_eq!(ticks(&mut cadence, 0, 200), [80, 120, 160, 200]);
        cadence.live(ms(210));
        assert_eq!(ticks(&mut cadence, 210, 340), [290, 330], "a live frame ends them");
        cadence.live(ms(350));
        cadence.live(ms(390));
        assert_eq!(ticks(&mut cadence, 390, 469), [0_i64; 0], "a frame that is a little late is waited for");
    }

    #[test]
    fn deadlines_are_absolute_and_a_loop_that_was_held_up_makes_up_for_one_tick() {
        let mut cadence = Cadence::new(Span::from_ms(10), ms(0));
        let late: std::vec::Vec<i64> = [23, 31, 44, 52].into_iter().filter(|&at| cadence.is_due(ms(at))).collect();
        assert_eq!((late.len(), cadence.due()), (4, ms(60)), "looking late does not shift what follows");
        assert!(cadence.is_due(ms(500)) && cadence.is_due(ms(500)) && !cadence.is_due(ms(505)));
        assert_eq!(cadence.due(), ms(510));
    }
}
