//! A source and a recorder in threads of their own.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use rtrb::{Consumer, Producer, RingBuffer};

use super::capture::Capture;
use super::capture_thread::{CaptureThread, loss_ring};
use super::pump::{Pump, Pumped};
use super::settings::Settings;
use super::shared::{LOOK_UP, Shared};
use super::sink_stage::{Nowhere, SinkEnding, SinkStage, Wishes};
use super::sink_thread::SinkThread;
use super::status::{SessionStatus, SinkCells};
use super::stream::Policy;
use super::tap::{Places, Tap, TapIn, TapPlan, tap};
use super::threads;
use crate::clips::{ClipControl, ClipSettings, ClipSink};
use crate::error::{Error, Result};
use crate::event::{Event, EventKind};
use crate::ledger::Ledger;
use crate::limits::{EVENT_TEXT_BYTES_MAX, TAPS_MAX};
use crate::ring::{Ends, circle};
use crate::sink::{FrameSink, Summary};
use crate::slot::{Slot, SlotSizes};
use crate::source::{SourceError, SourceInfo};
use crate::time::{Clock, Span};

/// Events that may wait for the sink's thread.
const EVENTS_MAX: usize = 16;

/// Frames that one [`Session::wait_within`] runs at most on a manual clock, so that its caller sees how it goes.
const STEPS_MAX: usize = 64;

/// A source and a recorder in the engine's own threads; the caller's loop, if it has one, is only a [`Tap`], and however
/// slow it is, no footage is lost.
///
/// ```
/// use kinora::prelude::*;
///
/// # fn main() -> kinora::Result<()> {
/// let source = kinora::open_source("virtual:seed=7,size=64x48,frames=20,format=none,paced=false")?;
/// // With `.recorder(...)` it would also be kept.
/// let session = Session::builder().source(source).start()?;
/// let mut tap = session.frames(Policy::Latest);
/// while let Some(frame) = tap.next()? {
///     println!("{frame}");
/// }
/// let report = session.stop()?;
/// assert_eq!(report.status.kept, 20);
/// # Ok(())
/// # }
/// ```
pub struct Session {
    run: Run,
    info: Arc<SourceInfo>,
    clock: Arc<dyn Clock>,
    sizes: SlotSizes,
    slots: usize,
    cells: Arc<SinkCells>,
    shared: Arc<Shared>,
    taps: RefCell<Producer<Box<TapIn>>>,
    closed_taps: RefCell<Consumer<Box<TapIn>>>,
    taps_out: Cell<usize>,
    events: Producer<Event>,
    notes: Vec<String>,
    clips: Option<ClipControl>,
}

/// How it runs.
enum Run {
    Threads(Threads),
    /// On a manual clock: all stages in the caller's thread.
    Steps(Box<Steps>),
    Over,
}

struct Threads {
    capture: JoinHandle<Result<(), SourceError>>,
    encoders: Vec<JoinHandle<()>>,
    sink: JoinHandle<SinkEnding>,
}

struct Steps {
    pump: Pump,
    slot: Box<Slot>,
    #[cfg(feature = "jpeg")]
    encoder: Option<crate::jpeg::Encoder>,
    ledger: Ledger,
    stage: SinkStage,
    source_error: Option<Error>,
    ended: bool,
}

/// What a session did, from [`Session::stop`].
#[derive(Debug)]
pub struct SessionReport {
    /// What the recorder kept.
    pub summary: Summary,
    /// The last status.
    pub status: SessionStatus,
    /// Why the source ended, if it failed.
    pub source_error: Option<Error>,
    /// Why the recorder took no more, if it did not; all before is kept.
    pub sink_error: Option<Error>,
}

/// Says what a session is made of.
#[derive(Default)]
pub struct SessionBuilder {
    source: Option<Capture>,
    sink: Option<Box<dyn FrameSink>>,
    settings: Option<Settings>,
    encoders: Option<usize>,
    clips: Option<ClipSettings>,
    window: Option<Span>,
}

impl SessionBuilder {
    /// Where frames come from. Its clock and its settings are the session's.
    #[must_use]
    pub fn source(mut self, source: Capture) -> Self {
        self.source = Some(source);
        self
    }

    /// Where frames are kept. Without one, only taps see them.
    #[must_use]
    pub fn recorder(mut self, recorder: impl FrameSink + 'static) -> Self {
        self.sink = Some(Box::new(recorder));
        self
    }

    /// Other settings than the source's.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = Some(settings);
        self
    }

    /// Encoder threads, `1..=ENCODERS_MAX`.
    #[must_use]
    pub fn encoders(mut self, encoders: usize) -> Self {
        self.encoders = Some(encoders);
        self
    }

    /// Saves clips around events into `directory`; see [`Session::trigger`].
    ///
    /// ```no_run
    /// # use kinora::prelude::*;
    /// # fn main() -> kinora::Result<()> {
    /// # let camera = kinora::open_source("auto")?;
    /// let session = Session::builder().source(camera).window_seconds(30).clips("clips").start()?;
    /// let mut tap = session.frames(Policy::Latest); // slow loops cost no footage
    /// while let Some(f) = tap.next()? {
    ///     if (f.detections().label("person") & f.detections().above(0.6)).count() >= 2 {
    ///         session.trigger("two people", secs(5), secs(5))?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn clips(self, directory: impl Into<std::path::PathBuf>) -> Self {
        self.clip_settings(ClipSettings::new(directory))
    }

    /// Saves clips around events, with all settings.
    #[must_use]
    pub fn clip_settings(mut self, settings: ClipSettings) -> Self {
        self.clips = Some(settings);
        self
    }

    /// How many of the last seconds the history for clips holds. Default 30.
    #[must_use]
    pub fn window_seconds(mut self, seconds: u32) -> Self {
        self.window = Some(Span::from_s(i64::from(seconds)));
        self
    }

    /// Makes all memory, starts the source, then the threads. Afterwards nothing allocates.
    ///
    /// # Errors
    /// There is no source, a setting is out of its range, or source or recorder cannot be used.
    pub fn start(self) -> Result<Session> {
        Ok(self.begin(false)?.0)
    }

    /// As [`start`](Self::start), with a tap of every frame, from the first one on, made before the source starts. It has
    /// as many slots as the session, see [`Session::frames_ahead`].
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_frames(self) -> Result<(Session, Tap)> {
        let (session, tap) = self.begin(true)?;
        Ok((session, tap.expect("it was asked for")))
    }

    fn begin(self, with_frames: bool) -> Result<(Session, Option<Tap>)> {
        let mut capture = self
            .source
            .ok_or_else(|| Error::Setting("a session needs a source: `.source(open_source(..)?)`".into()))?;
        let (clock, settings) = capture.parts();
        let (clock, mut settings) = (Arc::clone(clock), self.settings.unwrap_or_else(|| settings.clone()));
        settings.encoders = self.encoders.unwrap_or(settings.encoders);
        settings.check()?;
        let sink = self.sink.unwrap_or_else(|| Box::new(Nowhere));
        let Some(mut clips) = self.clips else {
            return Session::start(&mut capture, clock, &settings, sink, None, with_frames);
        };
        clips.history = self.window.unwrap_or(clips.history);
        clips.frame_bytes = settings.clip_frame_bytes(&clips, capture.info());
        let (sink, control) = ClipSink::new(sink, clips)?;
        Session::start(&mut capture, clock, &settings, Box::new(sink), Some(control), with_frames)
    }
}

impl Session {
    /// Begins to describe a session.
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }

    fn start(
        capture: &mut Capture,
        clock: Arc<dyn Clock>,
        settings: &Settings,
        mut sink: Box<dyn FrameSink>,
        clips: Option<ClipControl>,
        with_frames: bool,
    ) -> Result<(Self, Option<Tap>)> {
        let encoders = settings.encoders_for(capture.info());
        let sizes = settings.slot_sizes(capture.info(), encoders)?;
        let slots = settings.slots(capture.info(), encoders);
        // Memory first: touching it takes longer than a camera's own buffers last.
        let mut notes = Vec::new();
        let first_tap = with_frames.then(|| Places::new(TapPlan::Every { slots: slots.max(2) }, &sizes));
        let pool: Vec<_> = (0..if clock.is_manual() { 1 } else { slots }).map(|_| Slot::new(&sizes)).collect();
        if settings.lock_memory && !clock.is_manual() {
            threads::lock_slots(pool.iter(), &mut notes);
        }
        let pump = Pump::start(capture.take_source()?, Arc::clone(&clock), settings)?;
        let info = Arc::new(pump.info().clone());
        sink.begin(&info, pump.clock_pair())?;
        let (cells, shared) = (Arc::new(SinkCells::default()), Arc::new(Shared::default()));
        let (taps, new_taps) = RingBuffer::new(TAPS_MAX);
        let (closed_in, closed_taps) = RingBuffer::new(TAPS_MAX);
        let (events, new_events) = RingBuffer::new(EVENTS_MAX);
        let wishes = Wishes { taps: new_taps, events: new_events, closed_taps: closed_in };
        let stage = SinkStage::new(sink, Arc::clone(&info), Arc::clone(&cells), wishes);
        let mut waiting_taps = taps;
        let first_tap = first_tap.map(|places| {
            let (tap_in, tap) = tap(places, Arc::clone(&info), Arc::clone(&cells), Arc::clone(&clock));
            // The first of as many as there may be.
            let _ = waiting_taps.push(Box::new(tap_in));
            tap
        });
        let run = if clock.is_manual() {
            Run::Steps(Box::new(Steps::new(pump, pool, stage, settings, encoders)?))
        } else {
            Run::Threads(Threads::start(pump, circle(pool, encoders), stage, settings, &shared, &mut notes)?)
        };
        let taps = RefCell::new(waiting_taps);
        let (closed_taps, taps_out) = (RefCell::new(closed_taps), Cell::new(usize::from(first_tap.is_some())));
        let session =
            Self { run, info, clock, sizes, slots, cells, shared, taps, closed_taps, taps_out, events, notes, clips };
        Ok((session, first_tap))
    }

    /// What the source delivers.
    pub fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// What the system refused of the settings, with the remedy; the session runs without.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// How it does at this moment. Cost: some twenty atomic loads; no thread is stopped.
    pub fn status(&self) -> SessionStatus {
        let mut status = SessionStatus {
            captured: self.shared.captured(),
            slots_used: self.shared.slots_used(),
            slots: self.slots as u64,
            ..SessionStatus::default()
        };
        self.shared.lost.add_to(&mut status.lost_by_cause);
        self.cells.read(&mut status);
        status
    }

    /// Lends the session's frames to a loop of the caller's, from now on. Makes the tap's slots: six for every frame, three
    /// for the latest. Beyond `TAPS_MAX` taps at a time, the first [`Tap::next`] of the one too many says so.
    pub fn frames(&self, policy: Policy) -> Tap {
        self.tap(TapPlan::of(policy))
    }

    /// As [`frames`](Self::frames) with [`Policy::Every`], but with so many slots (at least 2): the loop may be so many frames
    /// late, less the one that it has, before it misses any. As many as [`SessionStatus::slots`] bear what the recording
    /// bears.
    pub fn frames_ahead(&self, slots: usize) -> Tap {
        self.tap(TapPlan::Every { slots: slots.max(2) })
    }

    fn tap(&self, plan: TapPlan) -> Tap {
        let make = |plan| {
            let places = Places::new(plan, &self.sizes);
            tap(places, Arc::clone(&self.info), Arc::clone(&self.cells), Arc::clone(&self.clock))
        };
        while self.closed_taps.borrow_mut().pop().is_ok() {
            self.taps_out.set(self.taps_out.get() - 1);
        }
        if self.taps_out.get() >= TAPS_MAX {
            let refusal = Error::Setting(format!("{TAPS_MAX} taps are in use; drop one of them first"));
            return make(TapPlan::Every { slots: 0 }).1.refused(refusal);
        }
        let (tap_in, tap) = make(plan);
        // In a session that has ended nobody takes it; the tap sees that by itself.
        let _ = self.taps.borrow_mut().push(Box::new(tap_in));
        self.taps_out.set(self.taps_out.get() + 1);
        self.shared.sink_wake.notify();
        tap
    }

    /// Marks this moment in the recording. Text beyond `EVENT_TEXT_BYTES_MAX` bytes is cut.
    ///
    /// # Errors
    /// So many came at once that there is no room for this one; again in a moment.
    pub fn bookmark(&mut self, text: &str) -> Result<()> {
        let now = self.clock.pair();
        let text = crate::source::bounded::<EVENT_TEXT_BYTES_MAX>(text);
        let event = Event { kind: EventKind::Bookmark, at: now.monotonic, wall: now.wall, text };
        let pushed = self.events.push(event);
        pushed.map_err(|_| Error::Setting(format!("{EVENTS_MAX} bookmarks wait already; try again")))?;
        self.shared.sink_wake.notify();
        Ok(())
    }

    /// Saves the last `pre` and the next `post` as a clip, from the next frame on; what became of it stands in
    /// [`ClipControl::events`].
    ///
    /// # Errors
    /// The session saves no clips (`.clips(directory)`), `pre` is longer than the history, or 16 requests wait already.
    pub fn trigger(&self, label: &str, pre: Span, post: Span) -> Result<()> {
        self.clip_control()?.trigger(label, pre, post)
    }

    /// Everything else about clips: save what is there, take events.
    ///
    /// # Errors
    /// The session saves no clips.
    pub fn clip_control(&self) -> Result<&ClipControl> {
        let missing = || Error::Setting("this session saves no clips: begin it with `.clips(directory)`".into());
        self.clips.as_ref().ok_or_else(missing)
    }

    /// Takes the handle on clips out, for what becomes of the last ones after [`stop`](Self::stop).
    pub fn take_clip_control(&mut self) -> Option<ClipControl> {
        self.clips.take()
    }

    /// Waits until the source has ended and everything has passed the sink, or for at most `within`; true when it has.
    ///
    /// On a manual clock this is what runs the session: frame by frame until `within` has passed on that clock, but at most
    /// 64 frames.
    pub fn wait_within(&mut self, within: Span) -> bool {
        if let Run::Steps(steps) = &mut self.run {
            let until = self.clock.now() + within;
            for _ in 0..STEPS_MAX {
                if steps.ended || self.clock.now() > until {
                    break;
                }
                steps.step(&self.shared);
            }
            return steps.ended;
        }
        let ended = || self.cells.ended.load(Ordering::Acquire);
        self.shared.ended_wake.wait(within, ended)
    }

    /// Stops the source, lets everything that it delivered pass the sink, and closes the recording.
    ///
    /// # Errors
    /// A thread of the engine panicked. Failures of source or recorder stand in the report.
    pub fn stop(mut self) -> Result<SessionReport> {
        self.shared.stop();
        let (ending, source_error) = match std::mem::replace(&mut self.run, Run::Over) {
            Run::Threads(threads) => threads.join()?,
            Run::Steps(steps) => {
                let mut steps = *steps;
                steps.pump.settle(&mut steps.ledger);
                steps.tell_losses(&self.shared);
                let Steps { pump, stage, source_error, .. } = steps;
                drop(pump);
                (stage.finish(), source_error)
            }
            Run::Over => (SinkEnding { summary: Summary::default(), failure: None }, None),
        };
        let SinkEnding { summary, failure } = ending;
        Ok(SessionReport { summary, status: self.status(), source_error, sink_error: failure })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.stop();
        match std::mem::replace(&mut self.run, Run::Over) {
            // What it would say was not asked for.
            Run::Threads(threads) => drop(threads.join()),
            Run::Steps(steps) => drop(steps.stage.finish()),
            Run::Over => {}
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("source", &self.info.name).field("status", &self.status()).finish()
    }
}

impl Threads {
    fn start(
        pump: Pump,
        ends: Ends,
        stage: SinkStage,
        settings: &Settings,
        shared: &Arc<Shared>,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let (losses_in, losses) = loss_ring();
        let Ends { capture: end, encoders: encoder_ends, sink: sink_end } = ends;
        let capture = CaptureThread {
            shared: Arc::clone(shared),
            pump,
            end,
            losses: losses_in,
            newest: None,
            encoders: encoder_ends.len(),
        };
        let sink = SinkThread { shared: Arc::clone(shared), end: sink_end, losses, stage };
        // From the end of the circle to its beginning: whoever waits is there before what it waits for.
        let sink = threads::spawn("kinora-sink", &settings.sink_thread, notes, move || sink.run())?;
        let encoders = start_encoders(encoder_ends, settings, shared, notes)?;
        let capture = threads::spawn("kinora-capture", &settings.capture_thread, notes, move || capture.run())?;
        Ok(Self { capture, encoders, sink })
    }

    fn join(self) -> Result<(SinkEnding, Option<Error>)> {
        let captured = threads::join(self.capture);
        for encoder in self.encoders {
            threads::join(encoder)?;
        }
        let ending = threads::join(self.sink)?;
        Ok((ending, captured?.err().map(Error::from)))
    }
}

type EncoderEnds = heapless::Vec<crate::ring::EncoderEnd, { crate::limits::ENCODERS_MAX }>;

#[cfg(feature = "jpeg")]
fn start_encoders(
    ends: EncoderEnds,
    settings: &Settings,
    shared: &Arc<Shared>,
    notes: &mut Vec<String>,
) -> Result<Vec<JoinHandle<()>>> {
    let options = match settings.format {
        super::settings::PictureFormat::Jpeg(options) => options,
        super::settings::PictureFormat::Raw => return Ok(Vec::new()),
    };
    let mut started = Vec::new();
    for (index, end) in ends.into_iter().enumerate() {
        let encoder = crate::jpeg::Encoder::new(&options)?;
        let thread = super::encoder_thread::EncoderThread { shared: Arc::clone(shared), index, end, encoder };
        let name = format!("kinora-jpeg-{index}");
        started.push(threads::spawn(&name, &settings.encoder_threads, notes, move || thread.run())?);
    }
    Ok(started)
}

/// Without the feature there are no encoders: [`Settings::slot_sizes`] refuses them.
#[cfg(not(feature = "jpeg"))]
fn start_encoders(
    ends: EncoderEnds,
    _: &Settings,
    _: &Arc<Shared>,
    _: &mut Vec<String>,
) -> Result<Vec<JoinHandle<()>>> {
    drop(ends);
    Ok(Vec::new())
}

impl Steps {
    #[cfg_attr(not(feature = "jpeg"), expect(unused_variables, reason = "encoders need the feature"))]
    fn new(
        pump: Pump,
        mut pool: Vec<Box<Slot>>,
        stage: SinkStage,
        settings: &Settings,
        encoders: usize,
    ) -> Result<Self> {
        #[cfg(feature = "jpeg")]
        let encoder = match settings.format {
            super::settings::PictureFormat::Jpeg(options) if encoders > 0 => Some(crate::jpeg::Encoder::new(&options)?),
            _ => None,
        };
        Ok(Self {
            pump,
            slot: pool.pop().expect("a slot for the steps"),
            #[cfg(feature = "jpeg")]
            encoder,
            ledger: Ledger::new(),
            stage,
            source_error: None,
            ended: false,
        })
    }

    fn tell_losses(&mut self, shared: &Shared) {
        shared.lost.set(&self.ledger);
        while let Some(loss) = self.ledger.take() {
            self.stage.loss(&loss);
        }
    }

    /// One frame through all stages.
    fn step(&mut self, shared: &Shared) {
        let pumped = self.pump.fill(&mut self.slot, LOOK_UP, &mut self.ledger);
        self.tell_losses(shared);
        self.stage.take_wishes();
        match pumped {
            Ok(Pumped::Frame) => {
                shared.add_captured();
                #[cfg(feature = "jpeg")]
                if let Some(encoder) = &mut self.encoder {
                    self.slot.lost = encoder.encode_slot(&mut self.slot).err().map(|error| error.cause());
                }
                self.stage.frame(&self.slot);
            }
            Ok(Pumped::Nothing) => self.stage.idle(),
            Ok(Pumped::End) => self.ended = true,
            Err(error) => {
                self.source_error = Some(error.into());
                self.ended = true;
            }
        }
    }
}
