//! A player: a timeline, the state machine that says what comes when, and the measurements.
//!
//! Two ways to use it. [`Player::next`] waits by itself: it reads the frame *before* it sleeps, so that nothing but the
//! bookkeeping stands between waking and handing out. [`Player::poll`] never waits: a caller that listens for keys as well
//! waits for both in its own way, and calls [`Player::prepare`] first to get the reading out of the way.

use crate::error::Result;
use crate::frame::Frame;
use crate::playback::pacing::Rate;
use crate::playback::report::{Meter, PlayReport};
use crate::playback::transport::{Command, Peek, Shown, Transport, TransportSettings};
use crate::time::{Clock, Span, Timestamp};
use crate::timeline::Timeline;

/// What the caller of [`Player::poll`] should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Action {
    /// Show that frame now; [`Player::frame`] lends it.
    Show(Shown),
    /// Ask again at that instant, or after a command.
    WaitUntil(Timestamp),
    /// Nothing happens before the next command.
    Paused,
    /// Nothing more comes, unless a command goes back.
    Ended,
}

/// Plays a timeline.
#[derive(Debug)]
pub struct Player<T> {
    timeline: T,
    transport: Transport,
    meter: Meter,
    spin: Span,
    /// The newest frame went out then, and the caller has not asked for another one yet.
    handed_out: Option<Timestamp>,
    newest: Option<Shown>,
}

impl<T: Timeline> Player<T> {
    /// Makes all memory that playing needs. No frame is read.
    pub fn new(timeline: T, settings: TransportSettings) -> Self {
        let transport = Transport::new(settings, &timeline);
        Self { timeline, transport, meter: Meter::new(), spin: Span::ZERO, handed_out: None, newest: None }
    }

    /// Spins for the last `span` before each deadline instead of sleeping: 50 to 100 µs take away most of the wake-up
    /// delay and cost that share of a core. Default none. Never done on a manual clock.
    #[must_use]
    pub fn spinning(mut self, span: Span) -> Self {
        self.spin = span.abs();
        self
    }

    /// Waits for the deadline of the next frame and lends the frame. `None` at the end, and while paused (nobody could
    /// go on in the meantime).
    ///
    /// # Errors
    /// The frame cannot be read; its deadline has passed then too, and the next call goes on with the next frame.
    pub fn next(&mut self, clock: &dyn Clock) -> Result<Option<Frame<'_>>> {
        let now = clock.now();
        self.caller_is_back(now);
        let Peek::Frame { index, due_at } = self.transport.peek(&self.timeline, now) else { return Ok(None) };
        // Read first, wait afterwards: reading takes longer than waking may.
        let frame = self.timeline.frame(index);
        if let Some(due_at) = due_at {
            wait(clock, due_at, self.spin);
        }
        let woke = clock.now();
        let shown = self.transport.shown(woke);
        let now = clock.now();
        match (shown, &frame) {
            (Some(shown), Ok(_)) => {
                if let Some(due_at) = shown.due_at {
                    self.meter.error(now - due_at);
                    self.meter.work(now - woke);
                }
            }
            (Some(shown), Err(_)) => self.transport.was_damaged(shown),
            (None, _) => {}
        }
        self.handed_out = Some(now);
        self.newest = shown;
        frame.map(Some)
    }

    /// What comes next, without showing it: for callers who listen for something else until shortly before the deadline
    /// and then call [`Player::next`].
    pub fn peek(&mut self, now: Timestamp) -> Peek {
        self.caller_is_back(now);
        self.transport.peek(&self.timeline, now)
    }

    /// What to do at `now`; the answer [`Action::Show`] means that the frame counts as shown at `now`.
    pub fn poll(&mut self, now: Timestamp) -> Action {
        self.caller_is_back(now);
        match self.transport.peek(&self.timeline, now) {
            Peek::Frame { due_at: Some(due_at), .. } if now < due_at => Action::WaitUntil(due_at),
            Peek::Frame { .. } => match self.transport.shown(now) {
                Some(shown) => {
                    if shown.due_at.is_some() {
                        self.meter.error(shown.error);
                    }
                    self.handed_out = Some(now);
                    self.newest = Some(shown);
                    Action::Show(shown)
                }
                None => Action::Ended,
            },
            Peek::Paused => Action::Paused,
            Peek::Ended => Action::Ended,
        }
    }

    /// Reads the frame that is waited for, so that it lies in memory (decoded, if the timeline decodes) when its
    /// deadline comes. A frame that cannot be read fails again when it is asked for.
    pub fn prepare(&mut self, now: Timestamp) {
        if let Peek::Frame { index, .. } = self.transport.peek(&self.timeline, now) {
            let _ = self.timeline.frame(index);
        }
    }

    /// Lends frame `index`, whatever is being played.
    ///
    /// # Errors
    /// The frame is damaged, or `index` is at or after the end.
    pub fn frame(&mut self, index: u64) -> Result<Frame<'_>> {
        self.timeline.frame(index)
    }

    /// Obeys `command` as given at `now`. Never waits.
    pub fn command(&mut self, command: Command, now: Timestamp) {
        self.transport.command(command, &self.timeline, now);
    }

    fn caller_is_back(&mut self, now: Timestamp) {
        if let Some(at) = self.handed_out.take() {
            self.meter.caller(now - at);
        }
    }

    /// What was played so far and how exactly. Costs a walk over the histograms, some ten microseconds.
    pub fn report(&self) -> PlayReport {
        self.meter.report(self.transport.counts())
    }

    /// The frame that went out last: its number, its deadline, and how late it was.
    pub const fn newest(&self) -> Option<Shown> {
        self.newest
    }

    /// Where it is and how it plays.
    pub const fn transport(&self) -> &Transport {
        &self.transport
    }

    /// Sets the bookmarks that commands jump to.
    pub fn set_bookmarks(&mut self, at: impl IntoIterator<Item = Timestamp>) {
        self.transport.set_bookmarks(at);
    }

    /// How fast and in which direction it plays.
    pub const fn rate(&self) -> Rate {
        self.transport.rate()
    }

    /// What it plays.
    pub const fn timeline(&self) -> &T {
        &self.timeline
    }

    /// What it plays, to read frames from on the side.
    pub const fn timeline_mut(&mut self) -> &mut T {
        &mut self.timeline
    }

    /// Gives the timeline back.
    pub fn into_timeline(self) -> T {
        self.timeline
    }
}

/// Returns at or after `due_at`: sleeps, and spins for the last `spin`.
pub fn wait(clock: &dyn Clock, due_at: Timestamp, spin: Span) {
    if clock.is_manual() || spin == Span::ZERO {
        return clock.sleep_until(due_at);
    }
    clock.sleep_until(due_at - spin);
    while clock.now() < due_at {
        core::hint::spin_loop();
    }
}
