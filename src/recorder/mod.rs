//! The recorder: frames in, files out. It encodes what comes as pixels, keeps the account of losses, begins a new file
//! when one is full, and ends cleanly when the disk is.
//!
//! ```no_run
//! use kinora::prelude::*;
//! # fn show(frame: &Frame<'_>) -> kinora::Result<()> {
//! let mut recorder = Recorder::create("recordings")?;
//! recorder.add(&frame)?;
//! println!("{}", recorder.finish()?);
//! # Ok(())
//! # }
//! ```
//!
//! **Memory and time.** With [`RecorderBuilder::source`] the file is made and everything is sized at the start; without it,
//! with the first frame. After that [`Recorder::add`] allocates nothing. A thread of its own makes the next file shortly
//! before it is needed and closes the last one, so that a split costs the caller a hand-over; only when that thread is
//! not ready (a split every few frames, a slow disk) does `add` wait for it. Under a manual clock there is no such thread.

mod builder;
mod derive;
#[cfg(feature = "modlib")]
mod json_file;
mod output;
mod picture;
mod redetect;
mod relay;
mod series;
mod split;

use std::path::PathBuf;

pub use builder::{Codec, Format, RecorderBuilder, SIZE_MIN};
pub use derive::Derived;
pub use redetect::Redetection;

use crate::error::{Error, Result};
use crate::event::{Event, EventKind};
use crate::frame::{Frame, PictureInfo, PixelFormat};
use crate::ledger::{Cause, Ledger, Loss};
use crate::recording::{SessionHeader, WriterSettings, random_id};
use crate::sink::{Added, Ended, FrameSink, Summary};
use crate::source::{SourceInfo, bounded};
use crate::time::{ClockPair, Span};
use output::{Kept, Refusal};
use picture::{Largest, PictureStage};
use series::{Plan, Series, derived_id};
use split::{Files, Next};

/// Writes recordings. Dropping it closes the file as [`finish`](Recorder::finish) does, but tells nobody what went wrong.
pub struct Recorder {
    settings: RecorderBuilder,
    picture: PictureStage,
    stage: Stage,
    time: TimeBase,
    /// The newest instant that a frame or event was written at.
    now: ClockPair,
    /// Everything lost, the recorder's own losses included; pending ones are written before the next frame.
    ledger: Ledger,
    early_events: heapless::Vec<Event, EARLY_EVENTS_MAX>,
    ended: Option<Ended>,
    /// What is in files that were handed over to be closed.
    handed_over: Kept,
}

/// Events before the first frame of a recorder that does not know its source yet.
const EARLY_EVENTS_MAX: usize = 16;

/// Where in its life the recorder is.
enum Stage {
    /// Nothing is made yet: the first frame decides.
    Planned(Box<Plan>),
    /// A file is open.
    Recording(Box<Files>),
    /// Closed.
    Finished(Box<Summary>),
}

/// Where "now" comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeBase {
    /// The recorder's clock: frames are captured while they are recorded.
    Clock,
    /// The frames' own times: they were captured some other time.
    Frames,
}

/// A frame captured so long before or after now was not captured for this recording.
const LIVE_WITHIN: Span = Span::from_s(60);

impl Recorder {
    /// Records into `directory`, which is made, under a dated name, with default settings.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn create(directory: impl Into<PathBuf>) -> Result<Self> {
        Self::builder().directory(directory).create()
    }

    /// Records modlib's JSON lines into `directory`, which is made, under a dated name.
    ///
    /// # Errors
    /// The directory cannot be made; the build has no feature `modlib`.
    pub fn create_modlib_json(directory: impl Into<PathBuf>) -> Result<Self> {
        Self::builder().directory(directory).codec(Codec::ModlibJson).create()
    }

    /// All settings.
    pub fn builder() -> RecorderBuilder {
        RecorderBuilder::default()
    }

    fn begin_with(mut settings: RecorderBuilder, plan: Plan) -> Result<Self> {
        let source = settings.source.take();
        let mut recorder = Self {
            picture: PictureStage::new(settings.format, settings.quality)?,
            stage: Stage::Planned(Box::new(plan)),
            time: TimeBase::Clock,
            now: settings.clock.pair(),
            ledger: Ledger::new(),
            early_events: heapless::Vec::new(),
            ended: None,
            handed_over: Kept::default(),
            settings,
        };
        if let Some(source) = source {
            recorder.begin_source(&source)?;
        }
        Ok(recorder)
    }

    /// The file that is being written; before the first frame of a recorder that does not know its source, the one that
    /// is planned.
    pub fn path(&self) -> PathBuf {
        match &self.stage {
            Stage::Planned(plan) => plan.names.take(1),
            Stage::Recording(files) => files.path().to_path_buf(),
            Stage::Finished(summary) => summary.paths.last().cloned().unwrap_or_default(),
        }
    }

    /// Frames kept so far.
    pub fn frames(&self) -> u64 {
        self.kept().frames
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.kept().bytes
    }

    /// Frames lost so far, all causes, those that never reached the recorder included.
    pub fn dropped(&self) -> u64 {
        self.ledger.lost()
    }

    /// Why the recording took no more frames, once it did not.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    fn kept(&self) -> Kept {
        let mut kept = self.handed_over;
        match &self.stage {
            Stage::Planned(_) => {}
            Stage::Recording(files) => kept.add(&files.kept()),
            Stage::Finished(summary) => {
                kept = Kept { frames: summary.frames, detections: summary.detections, bytes: summary.bytes };
            }
        }
        kept
    }

    /// Takes one frame: its losses first, then the frame with its JPEG (checked, byte for byte), or its pixels compressed
    /// here, or its pixels, or no picture. No allocation but with the first frame.
    ///
    /// A frame that is lost alone is an outcome ([`Added::Lost`]), and so is the end of the recording ([`Added::Ended`]: disk
    /// full, quota, floor of free space, I/O error): all frames so far can be read, the file is closed, further frames are
    /// counted as lost.
    ///
    /// # Errors
    /// The first file cannot be made (exists, no permission, no space), or the recorder was finished.
    pub fn add(&mut self, frame: &Frame<'_>) -> Result<Added> {
        frame.losses.iter().for_each(|loss| self.ledger.add(*loss));
        if let Some(ended) = self.ended {
            self.lose(frame, Cause::WriteFailed);
            return Ok(Added::Ended(ended));
        }
        if let Stage::Planned(_) = self.stage {
            self.begin_frame(frame)?;
        }
        self.now = match self.time {
            TimeBase::Clock => self.settings.clock.pair(),
            TimeBase::Frames => ClockPair { monotonic: frame.meta.captured_at, wall: frame.meta.captured_wall },
        };
        let Stage::Recording(files) = &mut self.stage else { return Err(finished()) };
        let stored = match self.picture.store(frame) {
            Ok(stored) => stored,
            Err(cause) => {
                self.lose(frame, cause);
                return Ok(Added::Lost(cause));
            }
        };
        let added = files.add(&stored, self.now, &mut self.ledger, &mut self.handed_over);
        match added {
            Ok(()) => Ok(Added::Kept),
            Err(Refusal::Frame(cause)) => {
                self.lose(frame, cause);
                Ok(Added::Lost(cause))
            }
            Err(Refusal::NextFile(ended) | Refusal::End(ended)) => {
                self.lose(frame, Cause::WriteFailed);
                Ok(Added::Ended(self.end(ended)))
            }
        }
    }

    /// Takes losses after which no frame came; those before a frame come with it.
    ///
    /// # Errors
    /// None today; the recorder was finished.
    pub fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.ledger.add(*loss);
        Ok(())
    }

    /// Takes an event.
    ///
    /// # Errors
    /// The recorder was finished, or has 16 events and no frame yet.
    pub fn event(&mut self, event: &Event) -> Result<()> {
        match &mut self.stage {
            _ if self.ended.is_some() => Ok(()),
            Stage::Planned(_) => self
                .early_events
                .push(event.clone())
                .map_err(|_| Error::Setting(format!("more than {EARLY_EVENTS_MAX} events before the first frame"))),
            Stage::Recording(files) => match files.event(event, self.now, &mut self.ledger, &mut self.handed_over) {
                Ok(()) | Err(Refusal::Frame(_)) => Ok(()),
                Err(Refusal::NextFile(ended) | Refusal::End(ended)) => {
                    self.end(ended);
                    Ok(())
                }
            },
            Stage::Finished(_) => Err(finished()),
        }
    }

    /// Marks this instant, to be found again: `text` is cut at 256 bytes.
    ///
    /// # Errors
    /// As [`event`](Self::event).
    pub fn bookmark(&mut self, text: &str) -> Result<()> {
        let at = match self.time {
            TimeBase::Clock => self.settings.clock.pair(),
            TimeBase::Frames => self.now,
        };
        let event = Event { kind: EventKind::Bookmark, at: at.monotonic, wall: at.wall, text: bounded(text) };
        self.event(&event)
    }

    /// Lets time pass without a frame: syncs that are due begin, clock steps are written down. Call it a few times a second
    /// while nothing comes, if what came before shall be durable in time.
    pub fn tick(&mut self) {
        let Stage::Recording(files) = &mut self.stage else { return };
        if self.ended.is_some() || self.time == TimeBase::Frames {
            return;
        }
        self.now = self.settings.clock.pair();
        // What fails here fails again with the next frame, and is told there.
        let _ = files.tick(self.now);
    }

    /// Writes what is pending, closes the file and tells what was kept, and what went wrong with it ([`Summary::ended`],
    /// [`Summary::failure`]). Calling it again gives the same answer.
    ///
    /// # Errors
    /// There was no frame yet, and the first file cannot be made.
    pub fn finish(&mut self) -> Result<Summary> {
        if let Stage::Planned(_) = self.stage {
            // No frame came: an empty recording says so.
            self.begin_source(&SourceInfo::new("none"))?;
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Finished(Box::default()));
        let files = match stage {
            Stage::Recording(files) => files,
            Stage::Finished(summary) => {
                self.stage = Stage::Finished(summary.clone());
                return Ok(*summary);
            }
            Stage::Planned(_) => unreachable!("begun above"),
        };
        let removed = files.removed();
        let mut closed = files.finish(&mut self.ledger)?;
        if removed.files() > 0 {
            closed.paths.retain(|path| path.exists());
        }
        let summary = Summary {
            paths: closed.paths,
            frames: closed.kept.frames,
            detections: closed.kept.detections,
            dropped: self.ledger.lost(),
            bytes: closed.kept.bytes,
            removed: removed.files(),
            ended: self.ended,
            failure: closed.failure,
        };
        self.stage = Stage::Finished(Box::new(summary.clone()));
        Ok(summary)
    }

    fn lose(&mut self, frame: &Frame<'_>, cause: Cause) {
        self.ledger.add(Loss::one(cause, frame.meta.sequence, frame.meta.captured_at));
    }

    /// The recording ends here. The file is closed at once: the program may never come to call `finish`.
    fn end(&mut self, ended: Ended) -> Ended {
        let frames = self.kept().frames;
        let ended = Ended { frames, ..ended };
        self.ended = Some(ended);
        if let Stage::Recording(files) = &mut self.stage {
            files.close_current(&mut self.ledger, &mut self.handed_over);
        }
        ended
    }

    fn begin_frame(&mut self, frame: &Frame<'_>) -> Result<()> {
        let now = self.settings.clock.pair();
        let pair = ClockPair { monotonic: frame.meta.captured_at, wall: frame.meta.captured_wall };
        let mut source = SourceInfo::new("application");
        let jpeg = frame.jpeg.map(|jpeg| PictureInfo::packed(PixelFormat::Jpeg, jpeg.width, jpeg.height));
        source.picture = frame.pixels.map(|pixels| pixels.info).or(jpeg);
        source.labels = frame.labels.cloned().unwrap_or_default();
        if (pair.monotonic - now.monotonic).abs() > LIVE_WITHIN {
            source.recorded_clock = Some(pair);
        }
        self.begin(&source, Largest::of_frame(frame, self.settings.format))
    }

    fn begin_source(&mut self, source: &SourceInfo) -> Result<()> {
        self.begin(source, Largest::of_source(source, self.settings.format))
    }

    fn begin(&mut self, source: &SourceInfo, largest: Largest) -> Result<()> {
        let Stage::Planned(_) = &self.stage else { return Ok(()) };
        self.picture.size_for(source.picture)?;
        let clock = source.recorded_clock.unwrap_or_else(|| self.settings.clock.pair());
        self.time = if source.recorded_clock.is_some() { TimeBase::Frames } else { TimeBase::Clock };
        self.now = clock;
        let header = SessionHeader::from_source(source, clock, self.new_id(source, clock)?);
        let writer = self.writer_settings(largest);
        let Stage::Planned(plan) = std::mem::replace(&mut self.stage, Stage::Finished(Box::default())) else {
            return Err(finished());
        };
        let next = match self.settings.one_file {
            true => Next::Never,
            false if !self.settings.is_stepped() && plan.leaves_room_for_two(&writer) => Next::Ahead,
            false => Next::Here,
        };
        let series = Series::new(*plan, header, writer, self.settings.is_stepped());
        let mut files = Files::open(series, self.settings.file_bytes_max(), self.settings.split_time, next)?;
        for event in std::mem::take(&mut self.early_events) {
            let _ = files.event(&event, self.now, &mut self.ledger, &mut self.handed_over);
        }
        self.stage = Stage::Recording(Box::new(files));
        Ok(())
    }

    fn new_id(&self, source: &SourceInfo, clock: ClockPair) -> Result<[u8; 16]> {
        if let Some(id) = self.settings.id {
            return Ok(id);
        }
        if self.settings.is_stepped() {
            let (mono, wall) = (clock.monotonic.as_ns().to_le_bytes(), clock.wall.as_utc_ns().to_le_bytes());
            return Ok(derived_id(&[b"kinora", source.name.as_bytes(), &mono, &wall]));
        }
        random_id().map_err(Error::io("cannot make an id for the recording"))
    }

    fn writer_settings(&self, largest: Largest) -> WriterSettings {
        let defaults = WriterSettings::default();
        // A step larger than the file that it is for would be given back at once.
        let growth_bytes =
            self.settings.file_bytes_max().map_or(defaults.growth_bytes, |max| max.min(defaults.growth_bytes));
        WriterSettings {
            sync: self.settings.sync,
            growth_bytes,
            helper: !self.settings.is_stepped(),
            prefault_bytes: defaults.prefault_bytes.min(growth_bytes),
            ..defaults
        }
        .for_frames(largest.picture, largest.side, largest.sensor)
    }
}

/// How a recording of this source is written by default: what its memory is computed from.
pub(crate) fn planned_writer(source: &SourceInfo, format: Format) -> WriterSettings {
    let Largest { picture, side, sensor } = Largest::of_source(source, format);
    WriterSettings::default().for_frames(picture, side, sensor)
}

fn finished() -> Error {
    Error::Setting("this recorder was finished; make a new one".into())
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Stage::Recording(_) = self.stage {
            let _ = self.finish();
        }
    }
}

impl FrameSink for Recorder {
    fn begin(&mut self, source: &SourceInfo, now: ClockPair) -> Result<()> {
        self.now = now;
        self.begin_source(source)
    }

    fn add(&mut self, frame: &Frame<'_>) -> Result<Added> {
        match Self::add(self, frame)? {
            Added::Ended(ended) => Err(ended.into()),
            added => Ok(added),
        }
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        Self::loss(self, loss)
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        Self::event(self, event)
    }

    fn idle(&mut self) {
        self.tick();
    }

    fn finish(&mut self) -> Result<Summary> {
        Self::finish(self)
    }

    fn bytes_written(&self) -> u64 {
        self.bytes()
    }
}
