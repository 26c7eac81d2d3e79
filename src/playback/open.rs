//! Playback of a file in the caller's loop: the same loop as with a camera.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::clock::SystemClock;
use crate::error::{Error, Result};
use crate::event::{Event, EventKind};
use crate::frame::Frame;
use crate::playback::file::{self, Opened};
use crate::playback::pacing::{PacingSettings, Rate};
use crate::playback::place::{Lookup, Place};
use crate::playback::player::Player;
use crate::playback::report::PlayReport;
use crate::playback::source::PlaybackSource;
use crate::playback::transport::{LatePolicy, TransportSettings};
use crate::source::SourceInfo;
use crate::sys::thread::{Refusals, ThreadSettings};
use crate::time::{Clock, Span};
use crate::timeline::Timeline;

/// Frames of any kind of file.
pub type BoxedTimeline = Box<dyn Timeline + Send>;

/// A recording that is ready to be played, and how.
///
/// ```no_run
/// use kinora::prelude::*;
///
/// # fn main() -> kinora::Result<()> {
/// let mut recording = Playback::open("a.kinora")?.rate("1/2".parse().unwrap());
/// let mut stream = recording.start()?;
/// while let Some(frame) = stream.next()? {
///     println!("{frame}");
/// }
/// println!("{}", stream.report());
/// # Ok(())
/// # }
/// ```
pub struct Playback {
    timeline: BoxedTimeline,
    info: SourceInfo,
    events: Vec<Event>,
    notes: Vec<String>,
    transport: TransportSettings,
    spin: Span,
    thread: ThreadSettings,
    clock: Arc<dyn Clock>,
}

impl Playback {
    /// Opens a recording: `.kinora`, or with feature `modlib` modlib's `.json` and `.pkl`. What it is, its first bytes
    /// tell. What is damaged or broken in it is passed over; [`notes`](Self::notes) tells.
    ///
    /// # Errors
    /// The file cannot be read, or it is none of these.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let Opened { timeline, info, events, notes } = file::open(path.as_ref())?;
        Ok(Self { notes, ..Self::of(timeline, info, events) })
    }

    /// Plays a timeline of the caller's own.
    pub fn of(timeline: impl Timeline + Send + 'static, info: SourceInfo, events: Vec<Event>) -> Self {
        Self {
            timeline: Box::new(timeline),
            info,
            events,
            notes: Vec::new(),
            transport: TransportSettings::default(),
            spin: Span::ZERO,
            thread: ThreadSettings::default(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Plays at that rate; default: as recorded.
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.transport.rate = rate;
        self
    }

    /// Begins with the first frame at or after that place.
    ///
    /// # Errors
    /// There is no such place.
    pub fn from(mut self, place: &Place) -> Result<Self> {
        self.transport.first = Some(self.lookup().first_frame(place)?);
        self.check_range()
    }

    /// Ends with the last frame at or before that place.
    ///
    /// # Errors
    /// There is no such place.
    pub fn to(mut self, place: &Place) -> Result<Self> {
        self.transport.last = Some(self.lookup().last_frame(place)?);
        self.check_range()
    }

    fn check_range(self) -> Result<Self> {
        match (self.transport.first, self.transport.last) {
            (Some(first), Some(last)) if first > last => {
                Err(Error::Setting(format!("nothing lies between frame {first} and frame {last}: swap from and to")))
            }
            _ => Ok(self),
        }
    }

    /// Begins again at the end, or not (default).
    #[must_use]
    pub fn looped(mut self, looped: bool) -> Self {
        self.transport.looped = looped;
        self
    }

    /// Shows the first frame and stands there until a command; for players only.
    #[must_use]
    pub fn paused(mut self, paused: bool) -> Self {
        self.transport.paused = paused;
        self
    }

    /// Delivers late frames (default) or skips them.
    #[must_use]
    pub fn late(mut self, late: LatePolicy) -> Self {
        self.transport.late = late;
        self
    }

    /// What counts as late and as a leap of the recorded clock.
    #[must_use]
    pub fn pacing(mut self, pacing: PacingSettings) -> Self {
        self.transport.pacing = pacing;
        self
    }

    /// Plays by another clock; default [`SystemClock`]. On a [`ManualClock`](crate::ManualClock) nothing waits.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Spins for the last moment before each deadline; see [`Player::spinning`].
    #[must_use]
    pub fn spinning(mut self, span: Span) -> Self {
        self.spin = span;
        self
    }

    /// What the thread that calls [`start`](Self::start) is given; default: a timer slack of 1 ns, which the thread keeps.
    #[must_use]
    pub fn thread(mut self, thread: ThreadSettings) -> Self {
        self.thread = thread;
        self
    }

    /// Lends compressed pictures decoded as well, as BGR888, RGB888 or GREY. Costs some 1.5 ms for 640 × 480, before the
    /// wait for the deadline.
    ///
    /// # Errors
    /// There is no memory for the decoder.
    #[cfg(feature = "jpeg")]
    pub fn pixels(mut self, format: crate::frame::PixelFormat) -> Result<Self> {
        self.timeline = Box::new(super::decode::Decoded::new(self.timeline, format, self.info.picture)?);
        Ok(self)
    }

    /// Plays the results alone: pictures of a `.kinora` stay unread and unchecked, see
    /// [`Reader::results_only`](crate::recording::Reader::results_only). Other files are read as ever.
    #[must_use]
    pub fn results_only(mut self) -> Self {
        self.timeline.results_only(true);
        self
    }

    /// What the recording holds.
    pub const fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// Bookmarks and other events of the recording, in its order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// What is wrong with the file and was passed over, in words; empty when all is well.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Number of frames.
    pub fn len(&self) -> u64 {
        self.timeline.len()
    }

    /// True when there is no frame.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks up places of this recording.
    pub fn lookup(&self) -> Lookup<'_, dyn Timeline + Send> {
        Lookup { timeline: &*self.timeline, events: &self.events, clock: self.info.recorded_clock }
    }

    /// Begins to play. No thread is started: the caller's waits for each frame. Can be called again, from the start.
    ///
    /// # Errors
    /// None at present; the same shape as a camera's.
    pub fn start(&mut self) -> Result<PlaybackStream<'_>> {
        let refusals = if self.clock.is_manual() { Refusals::default() } else { self.thread.apply() };
        let mut player = Player::new(&mut self.timeline, self.transport.clone()).spinning(self.spin);
        player.set_bookmarks(bookmarks(&self.events));
        Ok(PlaybackStream { player, info: &self.info, clock: &*self.clock, refusals })
    }

    /// A player with all its commands, for callers that listen for keys.
    pub fn into_player(self) -> Player<BoxedTimeline> {
        let mut player = Player::new(self.timeline, self.transport).spinning(self.spin);
        player.set_bookmarks(bookmarks(&self.events));
        player
    }

    /// The frames as a source: at the recorded pace, once or in a loop, through the whole path of a camera. Rate, range
    /// and policy do not apply.
    pub fn into_source(self) -> PlaybackSource {
        PlaybackSource::new(self.timeline, self.info, self.transport.looped).with_notes(self.notes)
    }

    /// The frames themselves, without any playing.
    pub fn into_timeline(self) -> BoxedTimeline {
        self.timeline
    }
}

fn bookmarks(events: &[Event]) -> impl Iterator<Item = crate::time::Timestamp> {
    events.iter().filter(|event| event.kind == EventKind::Bookmark).map(|event| event.at)
}

impl fmt::Debug for Playback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.info.name;
        f.debug_struct("Playback").field("name", name).field("frames", &self.len()).finish_non_exhaustive()
    }
}

/// A recording that plays, from [`Playback::start`].
pub struct PlaybackStream<'a> {
    player: Player<&'a mut BoxedTimeline>,
    info: &'a SourceInfo,
    clock: &'a dyn Clock,
    refusals: Refusals,
}

impl PlaybackStream<'_> {
    /// Waits until the next frame is due and lends it; `None` at the end.
    ///
    /// # Errors
    /// The frame cannot be read; the next call goes on with the next frame.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>> {
        self.player.next(self.clock)
    }

    /// What was played so far and how exactly.
    pub fn report(&self) -> PlayReport {
        self.player.report()
    }

    /// What the recording holds.
    pub const fn info(&self) -> &SourceInfo {
        self.info
    }

    /// What the system did not grant the thread.
    pub const fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Obeys a command now, between two frames.
    pub fn command(&mut self, command: crate::playback::Command) {
        self.player.command(command, self.clock.now());
    }
}
