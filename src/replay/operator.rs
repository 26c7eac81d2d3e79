//! The Replay operator: live frames in, output frames out; what lies between is the window and the machine's decisions.

use std::fmt;

use super::control::{Answer, Channel, Name, ReplayControl, ReplayEvent, Request, RequestError, channel};
use super::machine::{Advance, Following, Machine, Shown, State, StoreAction};
use super::recorded::{Due, RecordedPace};
use super::settings::{Bound, OutOfRange, ReplayPacing, ReplaySettings, Setting};
use super::status::{Status, StatusBoard};
use super::store::{StoreEncoder, Stored};
use super::window::{Window, WindowSettings};
use crate::frame::{Frame, FrameMeta, PictureInfo, PixelFormat, Pixels};
use crate::labels::Labels;
use crate::playback::pacing::FRAME_TIME_DEFAULT;
use crate::results::Results;
use crate::time::{Span, Timestamp, WallTime};

/// Controls of one operator.
const CONTROLS_MAX: usize = 8;
/// Requests that one tick carries out for one control.
const REQUESTS_PER_TICK: usize = 16;

/// What the operator is made for; all its memory follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Most frames that `MaxFramesInMemory` can ask for, at least 1. Default 300, where the page's range ends.
    pub capacity: u32,
    /// Largest picture, `(width, height)` in pixels; black frames are made from it. Default 640 × 480.
    pub picture: (u32, u32),
    /// Bytes promised to each stored frame; `None`: [`frame_bytes`] of the picture at the settings' quality.
    pub frame_bytes: Option<usize>,
    /// Frames beside those that may stay while they are saved. Default 60: two seconds at 30 frames a second.
    pub reserve: u32,
    /// How long the last frame of a replay at recorded intervals stands. Default 1/30 s.
    pub frame_time: Span,
    /// The window holds at most so much time, newest minus oldest; `None`, the default: no such bound.
    pub span_max: Option<Span>,
    /// The window holds at most so many bytes of frames, but always the newest frame; `None`, the default: no such bound.
    pub bytes_max: Option<u64>,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self {
            capacity: 300,
            picture: (640, 480),
            frame_bytes: None,
            reserve: 60,
            frame_time: FRAME_TIME_DEFAULT,
            span_max: None,
            bytes_max: None,
        }
    }
}

impl ReplayLimits {
    /// Bytes promised to each stored frame when frames of `quality` are to fit.
    pub fn promised_bytes(&self, quality: u8) -> usize {
        let (width, height) = self.picture;
        self.frame_bytes.unwrap_or(frame_bytes(width, height, quality))
    }

    /// Bytes of the window for these limits.
    pub fn memory_bytes(&self, quality: u8) -> usize {
        self.window(quality).total_bytes()
    }

    /// Bytes of the encoder's own memory and of the black picture.
    pub fn picture_bytes(&self, quality: u8) -> usize {
        let (width, height) = self.picture;
        StoreEncoder::bytes(quality, self.picture) + width as usize * height as usize
    }

    /// The window for these limits.
    pub fn window(&self, quality: u8) -> WindowSettings {
        WindowSettings { capacity: self.capacity, reserve: self.reserve, frame_bytes: self.promised_bytes(quality) }
    }
}

/// Bytes promised to a stored frame of this size and quality: what noisy outdoor pictures take at 4:2:0, and 16 KiB for the
/// results. Measured on a real street scene at 640 × 480, the largest frame takes about half of it.
pub const fn frame_bytes(width: u32, height: u32, quality: u8) -> usize {
    let pixels = width as usize * height as usize;
    let picture = match quality {
        0..=50 => pixels / 6,
        51..=80 => pixels / 4,
        81..=90 => pixels * 3 / 8,
        91..=95 => pixels * 5 / 8,
        _ => pixels * 3 / 2,
    };
    picture + (16 << 10)
}

/// One output frame.
#[derive(Clone, Copy, Debug)]
pub enum Output<'a> {
    /// The live frame, untouched.
    Live(Frame<'a>),
    /// Black, with the live frame's size, sequence and time; no results.
    Black(Frame<'a>),
    /// A stored frame with its own results.
    Replayed {
        /// The frame, metadata as recorded.
        frame: Frame<'a>,
        /// When it was recorded.
        captured_at: Timestamp,
        /// Its position in the buffer, 1 is the oldest.
        position: u64,
    },
}

impl<'a> Output<'a> {
    /// The frame to show.
    pub const fn frame(&self) -> &Frame<'a> {
        match self {
            Self::Live(frame) | Self::Black(frame) | Self::Replayed { frame, .. } => frame,
        }
    }
}

/// The operator. It belongs to the thread that has the frames; everybody else speaks to it through a
/// [`ReplayControl`].
pub struct ReplayOperator {
    machine: Machine,
    window: Window,
    encoder: StoreEncoder,
    /// The pace of the running replay, if it keeps the recorded intervals.
    recorded: RecordedPace,
    limits: ReplayLimits,
    name: Name,
    channels: heapless::Vec<Channel, CONTROLS_MAX>,
    board: StatusBoard,
    status: Status,
    was_full: bool,
    black: Box<[u8]>,
    black_meta: FrameMeta,
    nothing: Box<Results>,
    /// The names of the live frames' classes, for ticks that have no live frame.
    labels: Box<Labels>,
}

impl fmt::Debug for ReplayOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayOperator").field("state", &self.machine.state()).finish_non_exhaustive()
    }
}

impl ReplayOperator {
    /// An operator with the default limits, widened to `max_frames_in_memory` where that is above 300.
    ///
    /// # Errors
    /// A setting is out of its range.
    pub fn new(settings: ReplaySettings) -> Result<Self, OutOfRange> {
        let capacity = settings.max_frames_in_memory.max(300);
        Self::with_limits(settings, ReplayLimits { capacity, ..ReplayLimits::default() })
    }

    /// An operator that allocates all of its memory now.
    ///
    /// # Errors
    /// A setting is out of its range.
    pub fn with_limits(settings: ReplaySettings, limits: ReplayLimits) -> Result<Self, OutOfRange> {
        let (width, height) = limits.picture;
        let window_settings = limits.window(settings.jpeg_quality);
        let encoder = StoreEncoder::new(settings.jpeg_quality, limits.picture);
        let machine = Machine::new(settings, limits.capacity)?;
        let window = Window::new(window_settings);
        let mut operator = Self {
            machine,
            window,
            encoder,
            recorded: RecordedPace::new(limits.frame_time),
            limits,
            name: Name::default(),
            channels: heapless::Vec::new(),
            board: StatusBoard::default(),
            status: Status::default(),
            was_full: false,
            black: vec![0; width as usize * height as usize].into_boxed_slice(),
            black_meta: FrameMeta::new(),
            nothing: Box::default(),
            labels: Box::default(),
        };
        operator.refresh();
        operator.board.publish(&operator.status);
        Ok(operator)
    }

    /// The operator under a name (the page's `Name`), cut to 64 bytes; controls that are made from now on know it. The
    /// default is none.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name.clear();
        // Whole characters, as many as fit.
        let _ = name.chars().try_for_each(|c| self.name.push(c));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A handle for another thread (or this one). At most 8.
    ///
    /// # Panics
    /// When there are 8 already.
    pub fn control(&mut self) -> ReplayControl {
        let (ours, theirs) = channel(self.board.clone(), self.limits.capacity, self.name.clone());
        assert!(self.channels.push(ours).is_ok(), "an operator has at most {CONTROLS_MAX} controls");
        theirs
    }

    /// The status as of the newest tick.
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// The frames that are held.
    pub const fn window(&self) -> &Window {
        &self.window
    }

    /// Takes a live frame and gives the output frame of this tick. Requests that wait are carried out before.
    ///
    /// Cost: storing is one copy (and one JPEG encoding when the frame has pixels only); no allocation.
    pub fn process<'a>(&'a mut self, frame: Frame<'a>, now: Timestamp) -> Output<'a> {
        let shown = self.take_in(&frame, now);
        self.output(shown, frame)
    }

    /// A tick without a live frame, for when the source is late: a replay goes on, everything else has nothing to show.
    /// [`Cadence`](super::cadence::Cadence) tells when one is due.
    pub fn tick(&mut self, now: Timestamp) -> Option<Output<'_>> {
        let ordinal = self.pass(now)?;
        self.replayed(ordinal)
    }

    /// The first half of [`process`](Self::process): everything but lending the frame to show.
    pub(crate) fn take_in(&mut self, frame: &Frame<'_>, now: Timestamp) -> Shown {
        self.serve(now);
        let (shown, record) = self.advance(now);
        if record {
            self.store(frame, now);
        }
        if let Some(labels) = frame.labels.filter(|labels| **labels != *self.labels) {
            Labels::clone_from(&mut self.labels, labels);
        }
        self.finish_tick(now);
        shown
    }

    /// The second half of [`process`](Self::process).
    pub(crate) fn output<'a>(&'a mut self, shown: Shown, frame: Frame<'a>) -> Output<'a> {
        match shown {
            Shown::Live => Output::Live(frame),
            Shown::Black => self.black_like(&frame),
            Shown::Stored(ordinal) => self.replayed(ordinal).unwrap_or(Output::Live(frame)),
        }
    }

    /// The first half of [`tick`](Self::tick): the ordinal of the frame to show.
    pub(crate) fn pass(&mut self, now: Timestamp) -> Option<u64> {
        self.serve(now);
        if !self.machine.state().is_playing() {
            self.finish_tick(now);
            return None;
        }
        let (shown, _) = self.advance(now);
        self.finish_tick(now);
        match shown {
            Shown::Stored(ordinal) => Some(ordinal),
            Shown::Live | Shown::Black => None,
        }
    }

    /// When the replay at recorded intervals shows its next frame: whoever has no live frame by then calls
    /// [`tick`](Self::tick). `None` when nothing is waited for.
    pub fn next_due(&self) -> Option<Timestamp> {
        let following = self.following_intervals().filter(|following| !following.paused)?;
        self.recorded.next_due(&following, &self.window)
    }

    /// Tells how long the newest tick took; measured by whoever has the clock.
    pub fn note_stage_time(&mut self, spent: Span) {
        self.status.stage_time_last = spent;
        self.status.stage_time_max = self.status.stage_time_max.max(spent);
        self.board.publish(&self.status);
    }

    fn advance(&mut self, now: Timestamp) -> (Shown, bool) {
        let before = self.machine.state();
        let advance = match self.following_intervals().map(|f| self.recorded.advance(&f, &self.window, now)) {
            None => Advance::Evenly,
            Some(Due::Frame(ordinal)) => Advance::To(ordinal),
            Some(Due::End) => Advance::Over,
        };
        let tick = self.machine.tick(advance);
        if let Some(following) = self.following_intervals().filter(|_| tick.jumped) {
            self.recorded.begin(&following, &self.window, now);
        }
        self.apply(tick.store);
        if tick.ended {
            self.tell(ReplayEvent::PlaybackEnded { at: now });
        }
        self.tell_state(before, now);
        (tick.shown, tick.record)
    }

    /// The running replay, if it keeps the recorded intervals.
    fn following_intervals(&self) -> Option<Following> {
        self.machine.following().filter(|following| following.pacing == ReplayPacing::Recorded)
    }

    /// Carries out what the controls asked for, a bounded number each.
    fn serve(&mut self, now: Timestamp) {
        for i in 0..self.channels.len() {
            for _ in 0..REQUESTS_PER_TICK {
                let Some((ticket, request)) = self.channels[i].take() else { break };
                let before = self.machine.state();
                let outcome = self.carry_out(request).map(|()| self.machine.state());
                self.tell_state(before, now);
                self.channels[i].answer(Answer { ticket, outcome });
            }
        }
    }

    fn carry_out(&mut self, request: Request) -> Result<(), RequestError> {
        let extent = self.window.extent();
        let action = match request {
            Request::Command(command) => self.machine.command(command, extent)?,
            Request::Set(setting) => self.machine.set(setting, extent)?,
            Request::PlayBetween { from, to } => return self.play_between(from, to),
        };
        self.apply(action);
        if matches!(request, Request::Set(Setting::JpegQuality(_)) | Request::Command(_)) {
            self.encoder.set_quality(self.machine.settings().jpeg_quality);
        }
        Ok(())
    }

    fn play_between(&mut self, from: WallTime, to: WallTime) -> Result<(), RequestError> {
        if self.machine.state().is_playing() {
            return Err(RequestError::AlreadyPlaying);
        }
        let extent = self.window.extent();
        let inside =
            |ordinal: &u64| self.window.meta(*ordinal).is_some_and(|meta| (from..=to).contains(&meta.captured_wall));
        let mut ordinals = (extent.oldest..extent.oldest + u64::from(extent.len)).filter(inside);
        let first = ordinals.next().ok_or(RequestError::NothingBetween)?;
        let last = ordinals.next_back().unwrap_or(first);
        self.machine.play(Bound::Frame(first), Bound::Frame(last), extent)?;
        Ok(())
    }

    fn apply(&mut self, action: StoreAction) {
        match action {
            StoreAction::Keep => {}
            StoreAction::Clear => self.window.clear(),
            StoreAction::CutTo(frames) => self.window.cut_to(frames),
        }
    }

    fn store(&mut self, frame: &Frame<'_>, now: Timestamp) {
        let frames_max = self.machine.settings().max_frames_in_memory;
        self.status.jpeg_quality_unused = frame.jpeg.is_some() && frame.pixels.is_none();
        match self.encoder.store(frame, &mut self.window, frames_max) {
            Stored::AsIs => self.status.stored += 1,
            Stored::Requantised => {
                self.status.stored += 1;
                self.status.requantised += 1;
            }
            Stored::TooBig { bytes } => {
                self.status.too_big += 1;
                self.status.too_big_last = Some((frame.meta.captured_at, bytes as u64));
                let (sequence, bytes) = (frame.meta.sequence, bytes as u64);
                self.tell(ReplayEvent::Dropped { sequence, at: now, bytes });
            }
        }
        if let Some(span) = self.limits.span_max {
            self.window.cut_to_span(span);
        }
        if let Some(bytes) = self.limits.bytes_max {
            self.window.cut_to_bytes(bytes);
        }
    }

    fn finish_tick(&mut self, now: Timestamp) {
        self.status.ticks += 1;
        self.refresh();
        if self.status.frame_buffer_full && !self.was_full {
            self.tell(ReplayEvent::BufferFull { at: now });
        }
        self.was_full = self.status.frame_buffer_full;
        self.board.publish(&self.status);
    }

    /// Reads every read-out from the machine and the window.
    fn refresh(&mut self) {
        let (extent, next_evicts) = (self.window.extent(), self.next_frame_evicts());
        let (window, s) = (&self.window, &mut self.status);
        s.state = self.machine.state();
        s.settings.clone_from(self.machine.settings());
        s.playback_start_frame = self.machine.start_position(extent);
        s.playback_stop_frame = self.machine.stop_position(extent);
        let times = window.times();
        s.frame_store_start_time = times.map(|[(_, wall), _]| wall);
        s.frame_store_stop_time = times.map(|[_, (_, wall)]| wall);
        s.frame_store_duration = window.span();
        let first = extent.oldest + s.playback_start_frame.clamp(1, u64::from(extent.len.max(1))) - 1;
        s.playback_start_frame_time = window.meta(first).map(|meta| meta.captured_wall);
        match self.machine.last_shown() {
            None => {
                s.playback_current_frame = 0;
                s.playback_current_frame_time = None;
                s.playback_current_frame_time_from_buffer_start = None;
            }
            // A frame that was cut since keeps what was read of it.
            Some(ordinal) => {
                if let Some(meta) = window.meta(ordinal) {
                    s.playback_current_frame = extent.position(ordinal);
                    s.playback_current_frame_time = Some(meta.captured_wall);
                    s.playback_current_frame_time_from_buffer_start =
                        times.map(|[(oldest, _), _]| meta.captured_at - oldest);
                }
            }
        }
        s.number_of_frames_in_storage = extent.len;
        s.frames_memory_bytes = window.bytes();
        s.arena_bytes = window.settings().arena_bytes() as u64;
        s.capacity = self.limits.capacity;
        s.max_frames_pending = self.machine.has_pending_cut();
        s.frame_buffer_full = extent.len >= self.machine.settings().max_frames_in_memory || next_evicts;
    }

    /// True when a bound of time or bytes is reached. After a cut neither is exceeded, so "reached" means that one more frame
    /// of average length would exceed it.
    fn next_frame_evicts(&self) -> bool {
        let (frames, window) = (u64::from(self.window.extent().len), &self.window);
        let over_span = |max: Span| {
            let mean_ns = window.span().as_ns().checked_div(frames as i64 - 1).unwrap_or(0);
            frames > 1 && window.span() + Span::from_ns(mean_ns) > max
        };
        let over_bytes = |max: u64| frames > 0 && window.bytes() + window.bytes() / frames > max;
        self.limits.span_max.is_some_and(over_span) || self.limits.bytes_max.is_some_and(over_bytes)
    }

    fn tell_state(&mut self, from: State, at: Timestamp) {
        let to = self.machine.state();
        if from != to {
            self.tell(ReplayEvent::StateChanged { from, to, at });
        }
    }

    fn tell(&mut self, event: ReplayEvent) {
        for channel in &mut self.channels {
            self.status.events_lost += u64::from(!channel.tell(event));
        }
    }

    /// A stored frame as output, with the labels of the newest live frame that had any.
    pub(crate) fn replayed(&mut self, ordinal: u64) -> Option<Output<'_>> {
        let position = self.window.extent().position(ordinal);
        let labels = Some(&*self.labels).filter(|labels| !labels.is_empty());
        let frame = self.window.frame(ordinal, labels)?;
        Some(Output::Replayed { frame, captured_at: frame.meta.captured_at, position })
    }

    fn black_like<'a>(&'a mut self, live: &Frame<'a>) -> Output<'a> {
        self.black_meta.clone_from(live.meta);
        let info = live.size().map(|(width, height)| PictureInfo::packed(PixelFormat::Grey, width, height));
        let bytes = info.and_then(PictureInfo::bytes).and_then(|bytes| self.black.get(..bytes));
        Output::Black(Frame {
            meta: &self.black_meta,
            results: &self.nothing,
            pixels: info.zip(bytes).map(|(info, bytes)| Pixels { info, bytes }),
            jpeg: None,
            side: &[],
            sensor: &[],
            labels: live.labels,
            losses: live.losses,
        })
    }
}
