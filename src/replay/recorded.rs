//! Replay at recorded intervals: the same pacing as playback of a file, asked at every tick.

use super::machine::Following;
use super::window::Window;
use crate::playback::pacing::{Pacing, PacingSettings, Rate, Step};
use crate::time::{Span, Speed, Timestamp};

/// Where a replay stands in recorded time.
#[derive(Debug)]
pub(super) struct RecordedPace {
    pacing: Pacing,
    /// The frame that `pacing` saw last; `None` until a replay begins.
    shown: Option<u64>,
}

/// How far this tick advances a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// This frame is the newest that is due.
    Frame(u64),
    /// The last frame had its time.
    End,
}

impl RecordedPace {
    /// `frame_time`: how long the last frame stands, and what stands in for leaps of the clock.
    pub fn new(frame_time: Span) -> Self {
        let settings = PacingSettings { frame_time, ..PacingSettings::default() };
        Self { pacing: Pacing::new(settings, Rate::At(Speed::NORMAL)), shown: None }
    }

    /// The frame of `following` was leapt to and is shown at `now`: the recorded intervals count from it.
    pub fn begin(&mut self, following: &Following, window: &Window, now: Timestamp) {
        self.pacing = Pacing::new(*self.pacing.settings(), Rate::At(following.speed));
        if let Some(meta) = window.meta(following.current) {
            self.pacing.jump(meta.captured_at, now);
        }
        self.pacing.go(now);
        if following.paused {
            let next = self.step(following.current, following, window);
            self.pacing.hold(now, next.as_ref());
        }
        self.shown = Some(following.current);
    }

    /// The newest frame that is due at `now`. Bounded by the frames of the replay.
    pub fn advance(&mut self, following: &Following, window: &Window, now: Timestamp) -> Due {
        let mut current = following.current;
        let next = self.step(current, following, window);
        self.follow_commands(following, next.as_ref(), now);
        while let Some(step) = self.step(current, following, window) {
            match self.pacing.due_at(&step) {
                Some(due_at) if due_at <= now => {}
                _ => break,
            }
            self.pacing.accept(&step);
            match following.next(current) {
                Some(next) => current = next,
                None => return Due::End,
            }
        }
        self.shown = Some(current);
        Due::Frame(current)
    }

    /// When the next frame is due, for whoever sleeps until then.
    pub fn next_due(&self, following: &Following, window: &Window) -> Option<Timestamp> {
        self.pacing.due_at(&self.step(following.current, following, window)?)
    }

    /// Speed and pause may have changed since the last tick.
    fn follow_commands(&mut self, following: &Following, next: Option<&Step>, now: Timestamp) {
        let rate = Rate::At(following.speed);
        if self.pacing.rate() != rate {
            self.pacing.set_rate(rate, now, next);
        }
        match (following.paused, self.pacing.is_running()) {
            (true, true) => self.pacing.hold(now, next),
            (false, false) => self.pacing.go(now),
            _ => {}
        }
    }

    fn step(&self, current: u64, following: &Following, window: &Window) -> Option<Step> {
        match following.next(current) {
            Some(next) => Some(self.pacing.look(window.meta(next)?.captured_at)),
            None => Some(self.pacing.look_wrapped(window.meta(current)?.captured_at)),
        }
    }
}
