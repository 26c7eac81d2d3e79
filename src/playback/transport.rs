//! The state of a player: where it is, what comes next, and when. A state machine; no clock, no I/O, no waiting.
//!
//! The player asks [`Transport::peek`] at some instant and gets one of four answers; when the frame is out, it says so
//! with [`Transport::shown`]. Commands come between two questions. The timeline is only asked for times, so the same
//! code plays a file, a window in RAM and an array in a test.

use crate::playback::pacing::{FRAME_TIME_DEFAULT, Pace, Pacing, PacingSettings, Rate, Step, StepKind};
use crate::time::{Span, Timestamp};
use crate::timeline::Timeline;

/// Bookmarks that can be added while it plays before memory is taken for more.
const BOOKMARKS_SPARE: usize = 1024;

/// What a user can tell a player. Frame numbers count from 0; everything stays between in and out point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Pauses or goes on; after the end, begins again.
    TogglePause,
    /// Pauses.
    Pause,
    /// Goes on.
    Resume,
    /// Pauses and shows the frame so many further on (negative: back), in recorded order whatever the direction of play.
    Step(i64),
    /// Shows that frame and goes on from there.
    SeekFrame(u64),
    /// Shows the first frame at or after this distance from the first recorded frame.
    SeekTime(Span),
    /// Shows the first frame at or after that recorded instant.
    SeekAt(Timestamp),
    /// Shows the frame at the next bookmark after this frame, if there is one.
    NextBookmark,
    /// Shows the frame at the last bookmark before this frame, if there is one.
    PreviousBookmark,
    /// Sets a bookmark at this frame. It lives in the player; the caller keeps it beyond that.
    AddBookmark,
    /// Plays at that rate.
    SetRate(Rate),
    /// One rung up the ladder of speeds.
    Faster,
    /// One rung down.
    Slower,
    /// The other direction.
    Reverse,
    /// This frame becomes the first to be played.
    MarkIn,
    /// This frame becomes the last to be played.
    MarkOut,
    /// All frames are played again.
    ClearMarks,
    /// At the end begins again, or no longer.
    ToggleLoop,
    /// Shows the first frame (the in point).
    Home,
    /// Shows the last frame (the out point).
    End,
    /// Ends for good.
    Quit,
}

/// What to do with frames that cannot be out in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LatePolicy {
    /// Every frame is delivered, as soon as possible.
    #[default]
    Keep,
    /// A frame is skipped when the one after it is due already. The last frame of the range is never skipped.
    Skip,
}

/// How a transport begins. All of it can be changed by commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransportSettings {
    /// Speed and direction.
    pub rate: Rate,
    /// First frame to play; beyond the end it is the last frame. Default: the first.
    pub first: Option<u64>,
    /// Last frame to play, itself included. Default: the last.
    pub last: Option<u64>,
    /// Begin again at the end.
    pub looped: bool,
    /// Show the first frame and pause there.
    pub paused: bool,
    /// What happens to late frames.
    pub late: LatePolicy,
    /// What counts as late and as a leap; `frame_time` is replaced by the recording's own, see
    /// [`frame_time_of`].
    pub pacing: PacingSettings,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Peek {
    /// A frame, and when; at once when there is no deadline. Waiting until then is up to the caller.
    Frame {
        /// Its number, from 0.
        index: u64,
        /// Its deadline; `None` at maximal speed and for the first frame after a command.
        due_at: Option<Timestamp>,
    },
    /// Nothing before the next command.
    Paused,
    /// Nothing more, unless a command goes back or the timeline grows.
    Ended,
}

/// A frame that went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its number, from 0.
    pub index: u64,
    /// Its deadline; `None` at maximal speed and for the first frame after a command.
    pub due_at: Option<Timestamp>,
    /// How long after the deadline; never negative.
    pub error: Span,
    /// True when that is above the tolerance.
    pub late: bool,
}

/// What happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Frames that went out.
    pub delivered: u64,
    /// Of these, after their deadline by more than the tolerance.
    pub late: u64,
    /// Left out because the next one was due already.
    pub skipped: u64,
    /// Leaps of the recorded clock that were shortened.
    pub leaps: u64,
    /// Places where the recorded clock was set back.
    pub set_back: u64,
    /// Times that the range ended and began again.
    pub loops: u64,
    /// Frames that could not be read; their time passed without them.
    pub damaged: u64,
}

/// The frame that is waited for.
#[derive(Clone, Copy, Debug)]
struct Pending {
    index: u64,
    captured: Timestamp,
    /// How it follows the newest frame; `None` when it is shown whatever was before.
    step: Option<Step>,
    due_at: Option<Timestamp>,
}

/// Where a player stands and what it does next: frames by number, in and out points, loop, marks.
#[derive(Debug)]
pub struct Transport {
    pacing: Pacing,
    first: Option<u64>,
    last: Option<u64>,
    looped: bool,
    paused: bool,
    quit: bool,
    late: LatePolicy,
    /// The newest frame that went out.
    current: Option<u64>,
    /// A frame to show whatever the time is: the first one, or the aim of a seek or step.
    jump_to: Option<u64>,
    pending: Option<Pending>,
    counts: Counts,
    /// Recorded instants, rising.
    bookmarks: Vec<Timestamp>,
}

impl Transport {
    /// Stands before the first frame (before the last in reverse). Reads the times of up to 64 pairs of frames to learn
    /// the usual distance between two.
    pub fn new<T: Timeline + ?Sized>(settings: TransportSettings, timeline: &T) -> Self {
        let pacing = PacingSettings { frame_time: frame_time_of(timeline), ..settings.pacing };
        Self {
            pacing: Pacing::new(pacing, settings.rate),
            first: settings.first,
            last: settings.last,
            looped: settings.looped,
            paused: settings.paused,
            quit: false,
            late: settings.late,
            current: None,
            jump_to: None,
            pending: None,
            counts: Counts::default(),
            bookmarks: Vec::with_capacity(BOOKMARKS_SPARE),
        }
    }

    /// Sets the bookmarks that the recording holds.
    pub fn set_bookmarks(&mut self, at: impl IntoIterator<Item = Timestamp>) {
        self.bookmarks.clear();
        self.bookmarks.extend(at);
        self.bookmarks.reserve(BOOKMARKS_SPARE);
        self.bookmarks.sort_unstable();
    }

    /// Bookmarks in rising order, those added by command included.
    pub fn bookmarks(&self) -> &[Timestamp] {
        &self.bookmarks
    }

    /// What comes next at `now`. Asking twice changes nothing, but for frames that [`LatePolicy::Skip`] leaves out.
    ///
    /// Cost: O(1), plus one look at the timeline for each frame skipped.
    pub fn peek<T: Timeline + ?Sized>(&mut self, timeline: &T, now: Timestamp) -> Peek {
        let Some((first, last)) = self.range(timeline) else { return Peek::Ended };
        if self.quit {
            return Peek::Ended;
        }
        if self.current.is_none() && self.jump_to.is_none() {
            self.jump_to = Some(if self.rate().is_reverse() { last } else { first });
        }
        if let Some(index) = self.jump_to {
            let index = index.clamp(first, last);
            let captured = timeline.captured_at(index).unwrap_or_default();
            self.pending = Some(Pending { index, captured, step: None, due_at: None });
            return Peek::Frame { index, due_at: None };
        }
        if self.paused || self.rate().is_frozen() {
            return Peek::Paused;
        }
        self.pacing.go(now);
        if self.pending.is_none() {
            self.pending = self.following(timeline, first, last);
        }
        if self.late == LatePolicy::Skip {
            self.skip_late(timeline, now, last - first);
        }
        match self.pending {
            Some(Pending { index, due_at, .. }) => Peek::Frame { index, due_at },
            None => {
                // Time stands still at the end, so that whatever comes (a command, a longer timeline) goes on from here.
                self.pacing.hold(now, None);
                Peek::Ended
            }
        }
    }

    /// The frame that [`Transport::peek`] announced is out at `now`; `None` when none was.
    pub fn shown(&mut self, now: Timestamp) -> Option<Shown> {
        let Pending { index, captured, step, due_at } = self.pending.take()?;
        match step {
            Some(step) => self.accept(&step),
            None => self.pacing.jump(captured, now),
        }
        let error = due_at.map_or(Span::ZERO, |due_at| now - due_at).max(Span::ZERO);
        let late = due_at.is_some_and(|due_at| matches!(self.pacing.judge(due_at, now), Pace::Late(_)));
        self.jump_to = None;
        self.current = Some(index);
        self.counts.delivered += 1;
        self.counts.late += u64::from(late);
        if !self.paused {
            self.pacing.go(now);
        }
        Some(Shown { index, due_at, error, late })
    }

    /// The frame that just went out turned out to be unreadable: it counts as damaged, not as delivered.
    pub(crate) fn was_damaged(&mut self, shown: Shown) {
        self.counts.delivered -= 1;
        self.counts.late -= u64::from(shown.late);
        self.counts.damaged += 1;
    }

    /// Leaves out every frame whose successor is due at `now` too; at most `span` of them, so that a loop that is far
    /// too fast still shows a frame a round.
    fn skip_late<T: Timeline + ?Sized>(&mut self, timeline: &T, now: Timestamp, span: u64) {
        let Some((first, last)) = self.range(timeline) else { return };
        for _ in 0..span {
            let Some(pending) = self.pending else { return };
            let Some(step) = pending.step else { return };
            if pending.due_at.is_none_or(|due_at| now < due_at) {
                return;
            }
            let before = (self.current, self.pacing.clone());
            let counts = self.counts;
            self.accept(&step);
            self.current = Some(pending.index);
            match self.following(timeline, first, last) {
                Some(next) if next.due_at.is_some_and(|due_at| due_at <= now) => {
                    self.counts.skipped += 1;
                    self.pending = Some(next);
                }
                _ => {
                    (self.current, self.pacing) = before;
                    self.counts = counts;
                    return;
                }
            }
        }
    }

    fn accept(&mut self, step: &Step) {
        self.pacing.accept(step);
        match step.kind {
            StepKind::Recorded => {}
            StepKind::Leap => self.counts.leaps += 1,
            StepKind::SetBack => self.counts.set_back += 1,
            StepKind::Wrap => self.counts.loops += 1,
        }
    }

    /// The frame after the current one in the direction of play, at the other end of the range if need be.
    fn following<T: Timeline + ?Sized>(&self, timeline: &T, first: u64, last: u64) -> Option<Pending> {
        let current = self.current?;
        let (next, begin) = if self.rate().is_reverse() {
            (current.checked_sub(1).filter(|&index| index >= first), last)
        } else {
            (current.checked_add(1).filter(|&index| index <= last), first)
        };
        let (index, wrapped) = match next {
            // A mark was set beyond the current frame: come in from the nearer end.
            Some(index) => (index.clamp(first, last), false),
            None if self.looped => (begin, true),
            None => return None,
        };
        let captured = timeline.captured_at(index).unwrap_or_default();
        let step = if wrapped { self.pacing.look_wrapped(captured) } else { self.pacing.look(captured) };
        Some(Pending { index, captured, step: Some(step), due_at: self.pacing.due_at(&step) })
    }

    /// First and last frame to play; `None` when the timeline is empty.
    fn range<T: Timeline + ?Sized>(&self, timeline: &T) -> Option<(u64, u64)> {
        let end = timeline.len().checked_sub(1)?;
        let first = self.first.unwrap_or(0).min(end);
        let last = self.last.unwrap_or(end).min(end);
        Some((first, last.max(first)))
    }

    /// Obeys. Nothing waits and nothing is read but times.
    pub fn command<T: Timeline + ?Sized>(&mut self, command: Command, timeline: &T, now: Timestamp) {
        let Some((first, last)) = self.range(timeline) else {
            self.quit |= command == Command::Quit;
            return;
        };
        let current = self.jump_to.or(self.current).unwrap_or(if self.rate().is_reverse() { last } else { first });
        match command {
            Command::TogglePause if self.has_ended(timeline) => {
                self.jump_to = Some(if self.rate().is_reverse() { last } else { first });
                self.resume(now);
            }
            Command::TogglePause if self.paused => self.resume(now),
            Command::TogglePause | Command::Pause => self.pause(timeline, now),
            Command::Resume => self.resume(now),
            Command::Step(by) => {
                self.pause(timeline, now);
                self.seek(current.saturating_add_signed(by).clamp(first, last));
            }
            Command::SeekFrame(index) => self.seek(index.clamp(first, last)),
            Command::SeekTime(span) => {
                let start = timeline.captured_at(0).unwrap_or_default();
                self.seek(timeline.seek_time(start + span).clamp(first, last));
            }
            Command::SeekAt(at) => self.seek(timeline.seek_time(at).clamp(first, last)),
            Command::NextBookmark => {
                if let Some(index) = self.bookmark_after(timeline, current) {
                    self.seek(index.clamp(first, last));
                }
            }
            Command::PreviousBookmark => {
                if let Some(index) = self.bookmark_before(timeline, current) {
                    self.seek(index.clamp(first, last));
                }
            }
            Command::AddBookmark => self.add_bookmark(timeline.captured_at(current)),
            Command::SetRate(rate) => self.set_rate(rate, timeline, now),
            Command::Faster => self.set_rate(self.rate().faster(), timeline, now),
            Command::Slower => self.set_rate(self.rate().slower(), timeline, now),
            Command::Reverse => self.set_rate(self.rate().reversed(), timeline, now),
            Command::MarkIn => {
                self.first = Some(current);
                self.last = self.last.filter(|&last| last >= current);
                self.pending = None;
            }
            Command::MarkOut => {
                self.last = Some(current);
                self.first = self.first.filter(|&first| first <= current);
                self.pending = None;
            }
            Command::ClearMarks => {
                (self.first, self.last) = (None, None);
                self.pending = None;
            }
            Command::ToggleLoop => {
                self.looped = !self.looped;
                self.pending = None;
            }
            Command::Home => self.seek(first),
            Command::End => self.seek(last),
            Command::Quit => {
                self.quit = true;
                self.pending = None;
            }
        }
    }

    fn seek(&mut self, index: u64) {
        self.jump_to = Some(index);
        self.pending = None;
    }

    fn pause<T: Timeline + ?Sized>(&mut self, timeline: &T, now: Timestamp) {
        self.paused = true;
        self.pacing.hold(now, self.next_step(timeline).as_ref());
        self.pending = None;
    }

    /// The step to the frame that is waited for, also when a command made the transport forget it.
    fn next_step<T: Timeline + ?Sized>(&self, timeline: &T) -> Option<Step> {
        let (first, last) = self.range(timeline)?;
        self.pending.or_else(|| self.following(timeline, first, last)).and_then(|pending| pending.step)
    }

    fn resume(&mut self, now: Timestamp) {
        self.paused = false;
        self.pending = None;
        if self.current.is_some() {
            self.pacing.go(now);
        }
    }

    fn set_rate<T: Timeline + ?Sized>(&mut self, rate: Rate, timeline: &T, now: Timestamp) {
        let before_first = self.current.is_none();
        self.pacing.set_rate(rate, now, self.next_step(timeline).as_ref());
        self.pending = None;
        if before_first {
            // Nothing is out yet: the new direction decides at which end to begin.
            self.jump_to = None;
        }
    }

    fn add_bookmark(&mut self, at: Option<Timestamp>) {
        let Some(at) = at else { return };
        if let Err(place) = self.bookmarks.binary_search(&at) {
            self.bookmarks.insert(place, at);
        }
    }

    /// The frame of the first bookmark that lies after frame `current`.
    fn bookmark_after<T: Timeline + ?Sized>(&self, timeline: &T, current: u64) -> Option<u64> {
        let here = timeline.captured_at(current)?;
        let later = self.bookmarks.iter().filter(|&&at| at > here);
        later.map(|&at| timeline.seek_time(at)).find(|&index| index > current && index < timeline.len())
    }

    /// The frame of the last bookmark that lies before frame `current`.
    fn bookmark_before<T: Timeline + ?Sized>(&self, timeline: &T, current: u64) -> Option<u64> {
        self.bookmarks.iter().rev().map(|&at| timeline.seek_time(at)).find(|&index| index < current)
    }

    /// How fast and in which direction it plays.
    pub const fn rate(&self) -> Rate {
        self.pacing.rate()
    }

    /// True while it is paused (or the rate is zero).
    pub const fn is_paused(&self) -> bool {
        self.paused || self.rate().is_frozen()
    }

    /// True when it begins again at the end.
    pub const fn is_looped(&self) -> bool {
        self.looped
    }

    /// The newest frame that went out.
    pub const fn current(&self) -> Option<u64> {
        self.current
    }

    /// First and last frame to play, if marks are set.
    pub const fn marks(&self) -> (Option<u64>, Option<u64>) {
        (self.first, self.last)
    }

    /// What happened since the start.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// True when the newest frame is the last in the direction of play and there is no loop.
    pub fn has_ended<T: Timeline + ?Sized>(&self, timeline: &T) -> bool {
        let Some((first, last)) = self.range(timeline) else { return true };
        let at_end = match self.current {
            Some(current) if self.rate().is_reverse() => current <= first,
            Some(current) => current >= last,
            None => false,
        };
        self.quit || (at_end && !self.looped && self.jump_to.is_none())
    }
}

/// The usual distance between two frames: the median of up to 64 distances spread over the timeline, those that are not
/// positive left out; [`FRAME_TIME_DEFAULT`] when nothing is left.
pub fn frame_time_of<T: Timeline + ?Sized>(timeline: &T) -> Span {
    const SAMPLES: u64 = 64;
    let pairs = timeline.len().saturating_sub(1);
    let samples = pairs.min(SAMPLES);
    let mut distances = heapless::Vec::<Span, { SAMPLES as usize }>::new();
    for sample in 0..samples {
        let index = (u128::from(sample) * u128::from(pairs) / u128::from(samples)) as u64;
        let times = timeline.captured_at(index).zip(timeline.captured_at(index + 1));
        let distance = times.map_or(Span::ZERO, |(earlier, later)| later - earlier);
        if distance > Span::ZERO {
            // There is room for every sample.
            let _ = distances.push(distance);
        }
    }
    distances.sort_unstable();
    distances.get(distances.len() / 2).copied().unwrap_or(FRAME_TIME_DEFAULT)
}
