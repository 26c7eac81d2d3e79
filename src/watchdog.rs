//! A camera that stops delivering: noticed, started again with growing pauses, given up after so many failures.
//!
//! ```text
//!            start            first frame             two frame times + 1 s without one
//!  Stopped ────────► Starting ───────────► Delivering ─────────────────────────────────► Pausing ─► (start again)
//!                       │  start timeout, or it cannot start                                ▲
//!                       └────────────────────────────────────────────────────────────────────┘ 1, 2, 4 … 60 s
//! ```
//!
//! It is armed by the first frame after each start: before that a network may be on its way to the sensor, which takes
//! minutes. Pure: time is passed in, what is to be done comes out.

use crate::time::{Span, Timestamp};

/// How patient to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchdogSettings {
    /// Longest time from a start to its first frame.
    pub start_timeout: Span,
    /// Starts that failed (no frame between them) after which the source counts as broken, at least 1.
    pub failures_max: u32,
}

impl WatchdogSettings {
    /// Five minutes to the first frame, as long as the slowest upload of a network is reported to take; 8 failures, after
    /// pauses of 183 s together.
    pub const DEFAULT: Self = Self { start_timeout: Span::from_s(300), failures_max: 8 };
}

impl Default for WatchdogSettings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const PAUSE_FIRST: Span = Span::from_s(1);
const PAUSE_MAX: Span = Span::from_s(60);
/// A source that delivered for so long is well again: the next pause is the shortest.
const WELL_AFTER: Span = Span::from_s(10);

/// What has to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Watch {
    /// Ask the source for frames.
    Ask,
    /// It went silent just now: stop it. It is to be started again when [`Watch::Start`] says so.
    Stop,
    /// Leave it alone until then.
    Pause {
        /// When [`Watch::Start`] is due.
        until: Timestamp,
    },
    /// Start it again, and tell [`Watchdog::started`] or [`Watchdog::failed`].
    Start,
    /// It is broken.
    GiveUp(Silence),
}

/// Why a source was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// When its last frame came; `None` when there was none at all.
    pub last_frame_at: Option<Timestamp>,
    /// Failures since then, the first silence included.
    pub failures: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting { since: Timestamp },
    Delivering { since: Timestamp, last: Timestamp },
    Pausing { until: Timestamp },
    GivenUp,
}

/// Watches one source.
#[derive(Clone, Copy, Debug)]
pub struct Watchdog {
    settings: WatchdogSettings,
    state: State,
    /// Since the last frame; so many make an end.
    failures: u32,
    /// Since the source was well; they make the pauses longer.
    setbacks: u32,
    last_frame_at: Option<Timestamp>,
}

impl Watchdog {
    /// For a source that was started just now, at `now`.
    pub fn new(settings: WatchdogSettings, now: Timestamp) -> Self {
        Self { settings, state: State::Starting { since: now }, failures: 0, setbacks: 0, last_frame_at: None }
    }

    /// A frame (or the account of a lost one: the source is alive) came at `now`.
    pub fn frame(&mut self, now: Timestamp) {
        let since = match self.state {
            State::Delivering { since, .. } => since,
            _ => now,
        };
        self.state = State::Delivering { since, last: now };
        self.last_frame_at = Some(now);
        self.failures = 0;
        if now - since >= WELL_AFTER {
            self.setbacks = 0;
        }
    }

    /// It was started again at `now`.
    pub fn started(&mut self, now: Timestamp) {
        self.state = State::Starting { since: now };
    }

    /// It could not be started, or broke off, at `now`: a failure like silence.
    pub fn failed(&mut self, now: Timestamp) {
        self.failures += 1;
        self.setbacks += 1;
        self.state = match self.failures >= self.settings.failures_max.max(1) {
            true => State::GivenUp,
            false => State::Pausing { until: now + pause(self.setbacks) },
        };
    }

    /// True from the first frame until it goes silent.
    pub fn is_delivering(&self) -> bool {
        matches!(self.state, State::Delivering { .. })
    }

    /// True when a frame came since the beginning.
    pub fn has_delivered(&self) -> bool {
        self.last_frame_at.is_some()
    }

    /// What has to be done at `now`. `frame_time`: time between frames as now in force.
    ///
    /// A source that never delivered is given up at its first timeout: whoever started it waits for it.
    pub fn look(&mut self, now: Timestamp, frame_time: Span) -> Watch {
        match self.state {
            State::Starting { since } if now - since < self.settings.start_timeout => Watch::Ask,
            State::Delivering { last, .. } if now - last <= silence_max(frame_time) => Watch::Ask,
            State::Starting { .. } | State::Delivering { .. } => {
                self.failed(now);
                if !self.has_delivered() {
                    self.state = State::GivenUp;
                }
                match self.state {
                    State::GivenUp => Watch::GiveUp(self.silence()),
                    _ => Watch::Stop,
                }
            }
            State::Pausing { until } if now < until => Watch::Pause { until },
            State::Pausing { .. } => Watch::Start,
            State::GivenUp => Watch::GiveUp(self.silence()),
        }
    }

    /// How it stands, for a message.
    pub const fn silence(&self) -> Silence {
        Silence { last_frame_at: self.last_frame_at, failures: self.failures }
    }
}

/// Longest time without a frame that is no fault: two frame times and a second.
pub fn silence_max(frame_time: Span) -> Span {
    Span::from_ns(frame_time.as_ns().max(0).saturating_mul(2).saturating_add(1_000_000_000))
}

/// The pause after setback number `setbacks`: 1, 2, 4 … 60 s.
fn pause(setbacks: u32) -> Span {
    let doubled = PAUSE_FIRST.as_ns().checked_shl(setbacks.saturating_sub(1).min(30)).unwrap_or(i64::MAX);
    Span::from_ns(doubled).min(PAUSE_MAX)
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    const FRAME: Span = Span::from_ms(100);

    fn s(seconds: f64) -> Timestamp {
        Timestamp::from_ns((seconds * 1e9) as i64)
    }

    #[test]
    fn it_is_armed_by_the_first_frame() {
        let mut dog = Watchdog::new(WatchdogSettings::DEFAULT, s(0.0));
        assert_eq!(dog.look(s(299.9), FRAME), Watch::Ask);
        dog.frame(s(299.9));
        assert_eq!(dog.look(s(301.1), FRAME), Watch::Ask);
        assert_eq!(dog.look(s(301.2), FRAME), Watch::Stop);
    }

    #[test]
    fn two_frame_times_as_now_in_force_and_a_second_are_no_fault() {
        let mut dog = Watchdog::new(WatchdogSettings::DEFAULT, s(0.0));
        dog.frame(s(0.0));
        assert_eq!(dog.look(s(20.9), Span::from_s(10)), Watch::Ask);
        assert_eq!(dog.look(s(21.1), Span::from_s(10)), Watch::Stop);
        assert_eq!(silence_max(Span::MAX), Span::MAX);
    }

    #[test]
    fn a_source_that_never_delivered_is_given_up_when_its_time_is_over() {
        let mut dog = Watchdog::new(WatchdogSettings { start_timeout: Span::from_s(2), failures_max: 8 }, s(0.0));
        assert_eq!(dog.look(s(1.9), FRAME), Watch::Ask);
        let silence = Silence { last_frame_at: None, failures: 1 };
        assert_eq!(dog.look(s(2.0), FRAME), Watch::GiveUp(silence));
        assert_eq!(dog.look(s(9.0), FRAME), Watch::GiveUp(silence));
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_the_end_is_clear() {
        let mut dog = Watchdog::new(WatchdogSettings { failures_max: 9, ..WatchdogSettings::DEFAULT }, s(0.0));
        dog.frame(s(1.0));
        let (mut now, mut pauses) = (s(3.0), Vec::new());
        assert_eq!(dog.look(now, FRAME), Watch::Stop);
        let given_up = loop {
            match dog.look(now, FRAME) {
                Watch::Pause { until } => {
                    pauses.push((until - now).as_ns() / 1_000_000_000);
                    now = until;
                }
                Watch::Start => dog.failed(now),
                Watch::GiveUp(silence) => break silence,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(given_up, Silence { last_frame_at: Some(s(1.0)), failures: 9 });
    }

    #[test]
    fn a_restart_without_a_frame_is_a_failure_and_ten_good_seconds_make_pauses_short_again() {
        let settings = WatchdogSettings { start_timeout: Span::from_s(10), failures_max: 3 };
        let mut dog = Watchdog::new(settings, s(0.0));
        dog.frame(s(0.0));
        assert_eq!(dog.look(s(2.0), FRAME), Watch::Stop);
        assert_eq!(dog.look(s(3.0), FRAME), Watch::Start);
        dog.started(s(3.0));
        assert_eq!(dog.look(s(12.9), FRAME), Watch::Ask);
        assert_eq!(dog.look(s(13.0), FRAME), Watch::Stop);
        assert_eq!(dog.look(s(13.0), FRAME), Watch::Pause { until: s(15.0) });
        assert_eq!(dog.look(s(15.0), FRAME), Watch::Start);
        dog.started(s(15.0));
        // One frame: no failure any more, but no health either.
        dog.frame(s(16.0));
        assert_eq!(dog.look(s(18.0), FRAME), Watch::Stop);
        assert_eq!(dog.silence().failures, 1);
        assert_eq!(dog.look(s(18.0), FRAME), Watch::Pause { until: s(22.0) });
        dog.started(s(22.0));
        (230..=335).for_each(|tenth| dog.frame(s(f64::from(tenth) / 10.0)));
        assert_eq!(dog.look(s(35.0), FRAME), Watch::Stop);
        assert_eq!(dog.look(s(35.0), FRAME), Watch::Pause { until: s(36.0) });
    }
}
