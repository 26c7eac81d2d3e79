//! One file that frames go into, whatever its form, and what it means when it takes no more.

use std::path::Path;

use super::builder::Codec;
#[cfg(feature = "modlib")]
use super::json_file::JsonFile;
#[cfg(not(feature = "modlib"))]
use crate::error::Error;
use crate::error::Result;
use crate::event::Event;
use crate::frame::Frame;
use crate::ledger::{Cause, Loss};
use crate::limits::LEDGER_ENTRIES_MAX;
use crate::recording::room::Room;
use crate::recording::store::{PageStore, Pages, StoreError};
use crate::recording::{
    AppendError, CreateError, FinishError, SessionHeader, WriteSummary, Writer, WriterSettings, geometry, record_bytes,
};
use crate::sink::Ended;
use crate::time::ClockPair;

/// Sums of one file or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Frames.
    pub frames: u64,
    /// Rows of results.
    pub detections: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl Kept {
    /// Adds another file's sums.
    pub fn add(&mut self, other: &Self) {
        self.frames += other.frames;
        self.detections += other.detections;
        self.bytes += other.bytes;
    }

    /// The sums without the frames and detections of `other`; its bytes stay.
    pub fn without(&self, other: &Self) -> Self {
        let frames = self.frames.saturating_sub(other.frames);
        Self { frames, detections: self.detections.saturating_sub(other.detections), bytes: self.bytes }
    }
}

/// Why a file did not take something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This frame only.
    Frame(Cause),
    /// It takes no more, but another file may.
    NextFile(Ended),
    /// There is no room for any file.
    End(Ended),
}

/// An open file.
pub enum Output {
    /// Our own format.
    Kinora(Box<Writer>),
    /// Our own format, over pages that a test brought.
    Paged(Box<Writer<Box<dyn PageStore + Send>>>),
    /// modlib's lines.
    #[cfg(feature = "modlib")]
    Json(Box<JsonFile>),
    /// Answers that a test gives, the next one last; frames and losses go nowhere.
    #[cfg(test)]
    Scripted(Vec<Result<(), Refusal>>),
}

impl Output {
    /// Creates the file.
    ///
    /// # Errors
    /// It exists, or the disk refuses.
    pub fn create(
        codec: Codec,
        path: &Path,
        header: &SessionHeader,
        settings: &WriterSettings,
        room: Box<dyn Room>,
    ) -> Result<Self> {
        match codec {
            Codec::Kinora => Ok(Self::Kinora(Box::new(Writer::create_within(path, header, settings, room)?))),
            #[cfg(feature = "modlib")]
            Codec::ModlibJson => Ok(Self::Json(Box::new(JsonFile::create(path, settings.sync, room)?))),
            #[cfg(not(feature = "modlib"))]
            Codec::ModlibJson => Err(Error::Setting("this build writes no modlib JSON".into())),
        }
    }

    /// Creates a file of our own format over pages of the caller's.
    ///
    /// # Errors
    /// The pages refuse.
    pub fn create_paged(
        pages: &dyn Pages,
        path: &Path,
        header: &SessionHeader,
        settings: &WriterSettings,
    ) -> Result<Self> {
        let geometry = geometry(header, settings)?;
        let refused = |reason| CreateError::Store { path: path.to_path_buf(), reason };
        let store = pages.create(path, &geometry).map_err(refused)?;
        Ok(Self::Paged(Box::new(Writer::with_store(store, geometry, header, settings.sync).map_err(refused)?)))
    }

    /// Appends a frame.
    pub fn append(&mut self, frame: &Frame<'_>, now: ClockPair) -> Result<(), Refusal> {
        match self {
            Self::Kinora(writer) => writer.append(frame, now).map(|_| ()).map_err(refusal),
            Self::Paged(writer) => writer.append(frame, now).map(|_| ()).map_err(refusal),
            #[cfg(feature = "modlib")]
            Self::Json(file) => file.append(frame),
            #[cfg(test)]
            Self::Scripted(answers) => answers.pop().unwrap_or(Ok(())),
        }
    }

    /// Appends an entry of the ledger, where there is a place for it.
    pub fn loss(&mut self, loss: &Loss) -> Result<(), Refusal> {
        match self {
            Self::Kinora(writer) => writer.loss(loss).map(|_| ()).map_err(refusal),
            Self::Paged(writer) => writer.loss(loss).map(|_| ()).map_err(refusal),
            #[cfg(feature = "modlib")]
            Self::Json(_) => Ok(()),
            #[cfg(test)]
            Self::Scripted(_) => Ok(()),
        }
    }

    /// Appends an event, where there is a place for it.
    pub fn event(&mut self, event: &Event) -> Result<(), Refusal> {
        match self {
            Self::Kinora(writer) => writer.event(event).map(|_| ()).map_err(refusal),
            Self::Paged(writer) => writer.event(event).map(|_| ()).map_err(refusal),
            #[cfg(feature = "modlib")]
            Self::Json(_) => Ok(()),
            #[cfg(test)]
            Self::Scripted(_) => Ok(()),
        }
    }

    /// Lets time pass without a frame.
    pub fn tick(&mut self, now: ClockPair) -> Result<(), Refusal> {
        match self {
            Self::Kinora(writer) => writer.tick(now).map_err(refusal),
            Self::Paged(writer) => writer.tick(now).map_err(refusal),
            #[cfg(feature = "modlib")]
            Self::Json(_) => Ok(()),
            #[cfg(test)]
            Self::Scripted(_) => Ok(()),
        }
    }

    /// Size that the file would have at most if this frame were added and it were closed then.
    pub fn bytes_with(&self, frame: &Frame<'_>) -> u64 {
        let picture = frame.jpeg.map(|jpeg| jpeg.bytes).or(frame.pixels.map(|pixels| pixels.bytes));
        let picture_bytes = picture.map_or(0, <[u8]>::len);
        let record = record_bytes(picture_bytes, frame.side.len(), frame.sensor.len()) as u64;
        match self {
            Self::Kinora(writer) => writer.closed_bytes_with(record + SMALL_RECORDS_BYTES),
            Self::Paged(writer) => writer.closed_bytes_with(record + SMALL_RECORDS_BYTES),
            #[cfg(feature = "modlib")]
            Self::Json(file) => file.kept().bytes + modlib_line_bytes(frame, picture_bytes),
            #[cfg(test)]
            Self::Scripted(_) => picture_bytes as u64,
        }
    }

    /// What it holds.
    pub fn kept(&self) -> Kept {
        match self {
            Self::Kinora(writer) => kept_by(writer),
            Self::Paged(writer) => kept_by(writer),
            #[cfg(feature = "modlib")]
            Self::Json(file) => file.kept(),
            #[cfg(test)]
            Self::Scripted(_) => Kept::default(),
        }
    }

    /// Closes the file. What it held counts also when it could not be closed cleanly.
    pub fn finish(self, path: &Path) -> (Kept, Option<String>) {
        let kept = self.kept();
        let doing = |error: String| format!("{}: {error}", path.display());
        match self {
            Self::Kinora(writer) => closed(kept, writer.finish(), doing),
            Self::Paged(writer) => closed(kept, writer.finish(), doing),
            #[cfg(feature = "modlib")]
            Self::Json(file) => match file.finish() {
                Ok(()) => (kept, None),
                Err(error) => (kept, Some(doing(error.to_string()))),
            },
            #[cfg(test)]
            Self::Scripted(_) => (kept, None),
        }
    }
}

fn kept_by<S: PageStore>(writer: &Writer<S>) -> Kept {
    Kept { frames: writer.frames(), detections: writer.totals().detections, bytes: writer.bytes() }
}

fn closed(
    kept: Kept,
    finished: std::result::Result<WriteSummary, FinishError>,
    doing: impl FnOnce(String) -> String,
) -> (Kept, Option<String>) {
    match finished {
        Ok(summary) => (Kept { bytes: summary.bytes, ..kept }, None),
        Err(error) => (kept, Some(doing(error.to_string()))),
    }
}

/// Bytes that pending losses and events may add before a frame.
const SMALL_RECORDS_BYTES: u64 = (LEDGER_ENTRIES_MAX as u64 + 2) * 256;

/// No line of modlib is longer: base64 makes four characters of three bytes, a number of a row takes under 25.
#[cfg(feature = "modlib")]
fn modlib_line_bytes(frame: &Frame<'_>, picture_bytes: usize) -> u64 {
    let numbers = 8 * frame.results.len() + 3 * frame.results.keypoints.len();
    (picture_bytes.div_ceil(3) * 4 + frame.side.len() * 2 + numbers * 25 + 1024) as u64
}

fn refusal(error: AppendError) -> Refusal {
    match error {
        AppendError::TooBig { .. } => Refusal::Frame(Cause::TooBig),
        AppendError::Full { frames, reason } => {
            let ended = Ended { frames, durable: None, reason };
            if matches!(reason, StoreError::FileLimit { .. }) { Refusal::NextFile(ended) } else { Refusal::End(ended) }
        }
        AppendError::Poisoned { frames, durable, reason } => {
            Refusal::NextFile(Ended { frames, durable: Some(durable), reason })
        }
    }
}
