//! Copies recordings record by record: the whole of what is left of a damaged one, or a part of an intact one. Frames are
//! taken over bit for bit, with the ledger, events and clock records between them; what cannot be read is listed.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::file_store::CreateError;
use super::format::RecordKind;
use super::medium::Medium;
use super::open::OpenError;
use super::reader::{ReadError, Reader};
use super::records::{Entry, Record, Records};
use super::session::{SessionHeader, random_id};
use super::settings::{SyncPolicy, WriterSettings};
use super::writer::{AppendError, FinishError, WriteSummary, Writer};
use crate::frame::Frame;
use crate::ledger::{Cause, Loss};
use crate::time::{ClockPair, Timestamp};

/// Why a recording was not copied. No file of the new name is then left behind.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The original cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy cannot be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The copy cannot take a record.
    #[error("cannot write to {}: {error}", .path.display())]
    Append {
        /// The copy.
        path: PathBuf,
        /// Why.
        #[source]
        error: AppendError,
    },
    /// The copy cannot be closed.
    #[error("cannot close {}: {error}", .path.display())]
    Finish {
        /// The copy.
        path: PathBuf,
        /// Why.
        #[source]
        error: FinishError,
    },
    /// There are not so many frames, or none in the range.
    #[error("there is nothing to copy between frame {first} and frame {last}: the recording has {frames} frames")]
    NoFrames {
        /// First frame asked for, from 0.
        first: u64,
        /// Last frame asked for.
        last: u64,
        /// Frames of the recording.
        frames: u64,
    },
    /// The caller stopped it.
    #[error("stopped before it was complete")]
    Stopped,
    /// The operating system refused.
    #[error("cannot {doing} {}: {error}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        error: std::io::Error,
    },
}

/// A part of the original that is not in the copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Where it begins in the original, in bytes.
    pub offset: u64,
    /// How long it is; 0 for frames that the index knows and of which nothing is there.
    pub bytes: u64,
    /// Kind of the record, when that can be told.
    pub kind: Option<&'static str>,
    /// First and last frame that were in it, from 0, when that can be told.
    pub frames: Option<(u64, u64)>,
    /// What is wrong.
    pub reason: String,
}

/// What was copied and what was not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CopyReport {
    /// Frames of the copy.
    pub frames: u64,
    /// Rows of results in them.
    pub detections: u64,
    /// Entries of the drop ledger that were taken over.
    pub losses: u64,
    /// Events that were taken over.
    pub events: u64,
    /// Size of the copy in bytes.
    pub bytes: u64,
    /// Frames that the original had and the copy has not.
    pub frames_lost: u64,
    /// Where they were, and everything else that is not in the copy.
    pub lost: Vec<Lost>,
}

/// Copies everything that can be read of `from` into the new file `to`, which then is intact and closed. Frames that are
/// lost stand in its drop ledger, as `write_failed`. `progress` is told how many bytes of the original are done, and may stop
/// the copy.
///
/// The new file appears under its name only when it is complete and on the disk.
///
/// # Errors
/// `from` is not a recording, `to` exists or cannot be written, or `progress` stopped it.
pub fn repair(
    from: &Path,
    to: &Path,
    mut progress: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<CopyReport, CopyError> {
    let mut reader = Reader::open(from)?;
    let clock = reader.header().clock;
    let mut copy = Copy::create(&reader, to, clock)?;
    let frames_known = reader.frame_count();
    let mut records = reader.records();
    while let Some(record) = records.next() {
        if progress(record.offset).is_break() {
            return Err(CopyError::Stopped);
        }
        copy.take(record)?;
    }
    copy.finish(frames_known)
}

/// Copies the frames `first..=last` (from 0) of `from` into the new file `to`, with what lies between them. The rest is as
/// for [`repair`].
///
/// # Errors
/// As [`repair`], and when there is no frame in the range.
pub fn cut(
    from: &Path,
    to: &Path,
    (first, last): (u64, u64),
    mut progress: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<CopyReport, CopyError> {
    let mut reader = Reader::open(from)?;
    let frames = reader.frame_count();
    let nothing = CopyError::NoFrames { first, last, frames };
    let last = last.min(frames.saturating_sub(1));
    let Some(start) = (first..=last).find_map(|index| reader.frame_offset(index)) else { return Err(nothing) };
    let clock = clock_at(&mut reader, start);
    let mut copy = Copy::create(&reader, to, clock)?;
    copy.next_frame = first;
    let mut records = Records::from(&mut reader, start);
    while let Some(record) = records.next() {
        if record.frames_before.is_some_and(|before| before > last) {
            break;
        }
        if progress(record.offset).is_break() {
            return Err(CopyError::Stopped);
        }
        copy.take(record)?;
    }
    copy.finish(last + 1)
}

/// Both clocks as they were last written down before `offset`.
fn clock_at<M: Medium>(reader: &mut Reader<M>, offset: u64) -> ClockPair {
    let clocks: Result<_, ReadError> = reader.clocks();
    // A damaged chain: the clock of the start is still right but for steps.
    let clocks = clocks.unwrap_or_default();
    let newest = clocks.iter().take_while(|(at, _)| *at < offset).last();
    newest.map_or(reader.header().clock, |(_, note)| note.pair)
}

/// A copy that is being made under another name.
struct Copy {
    writer: Option<Writer>,
    partial: PathBuf,
    path: PathBuf,
    clock: ClockPair,
    /// Ordinal of the frame that should come next.
    next_frame: u64,
    newest: Option<(u64, Timestamp)>,
    /// Frames missing before the next good one.
    gap: u64,
    report: CopyReport,
}

impl Copy {
    fn create<M: Medium>(reader: &Reader<M>, path: &Path, clock: ClockPair) -> Result<Self, CopyError> {
        if path.symlink_metadata().is_ok() {
            return Err(CreateError::Exists { path: path.to_owned() }.into());
        }
        let io = |doing, error| CopyError::Io { doing, path: path.to_owned(), error };
        let id = random_id().map_err(|error| io("make an id for", error))?;
        let header = SessionHeader { id, series: id, part: 0, clock, ..reader.header().clone() };
        let settings = WriterSettings {
            // Nobody sees the file before it is closed, and closing syncs it.
            sync: SyncPolicy::Never,
            record_bytes_max: reader.geometry().record_bytes_max as usize,
            ..WriterSettings::default()
        };
        let name = path.file_name().ok_or_else(|| io("write to", std::io::ErrorKind::InvalidInput.into()))?;
        let mut partial = std::ffi::OsString::from(".");
        partial.push(name);
        partial.push(format!(".{}.partial", std::process::id()));
        let partial = path.with_file_name(partial);
        let writer = Some(Writer::create(&partial, &header, &settings)?);
        let path = path.to_owned();
        let report = CopyReport::default();
        Ok(Self { writer, partial, path, clock, next_frame: 0, newest: None, gap: 0, report })
    }

    fn take(&mut self, record: Record<'_>) -> Result<(), CopyError> {
        let Record { offset, bytes, frames_before, .. } = record;
        if let Some(before) = frames_before {
            self.miss_until(before, offset);
        }
        let mut lose = |kind, frames, reason: String| {
            self.report.lost.push(Lost { offset, bytes, kind, frames, reason });
        };
        match record.entry {
            Entry::Frame { ordinal, frame } => self.frame(ordinal, &frame),
            Entry::Loss(loss) => {
                self.report.losses += 1;
                self.write(|writer| writer.loss(&loss).map(|_| ()))
            }
            Entry::Event(event) => {
                self.report.events += 1;
                self.write(|writer| writer.event(&event).map(|_| ()))
            }
            Entry::Clock(note) if note.step_ns == 0 => Ok(()),
            Entry::Clock(note) => {
                self.clock = note.pair;
                self.write(|writer| writer.tick(note.pair))
            }
            Entry::Unknown { kind } => {
                lose(None, None, format!("a record of kind {kind}, which this program does not know"));
                Ok(())
            }
            Entry::Damaged { kind, reason } => {
                let is_frame = kind == Some(RecordKind::Frame);
                let frames = frames_before.filter(|_| is_frame).map(|before| (before, before));
                lose(kind.map(RecordKind::name), frames, reason.to_string());
                if let Some((frame, _)) = frames {
                    self.next_frame = frame + 1;
                    self.gap += 1;
                }
                Ok(())
            }
            Entry::Session | Entry::Index { .. } | Entry::Padding | Entry::Footer(_) => Ok(()),
        }
    }

    fn frame(&mut self, ordinal: u64, frame: &Frame<'_>) -> Result<(), CopyError> {
        let (sequence, at) = (frame.meta.sequence, frame.meta.captured_at);
        self.write_gap(sequence.saturating_sub(1), at)?;
        let now = ClockPair { monotonic: at, wall: self.clock.wall_of(at) };
        self.write(|writer| writer.append(frame, now).map(|_| ()))?;
        self.report.frames += 1;
        self.report.detections += frame.results.len() as u64;
        self.next_frame = ordinal + 1;
        self.newest = Some((sequence, at));
        Ok(())
    }

    /// Frames from the one that should come next up to `before` are not there.
    fn miss_until(&mut self, before: u64, offset: u64) {
        if before <= self.next_frame {
            return;
        }
        let frames = Some((self.next_frame, before - 1));
        self.gap += before - self.next_frame;
        self.next_frame = before;
        // Usually they lay in the damage that was found just before.
        match self.report.lost.last_mut() {
            Some(lost) if lost.frames.is_none() && lost.offset + lost.bytes == offset => lost.frames = frames,
            _ => {
                let reason = "nothing is left of them".to_owned();
                self.report.lost.push(Lost { offset, bytes: 0, kind: Some(RecordKind::Frame.name()), frames, reason });
            }
        }
    }

    /// Puts missing frames into the copy's own ledger.
    fn write_gap(&mut self, last_sequence: u64, until: Timestamp) -> Result<(), CopyError> {
        let count = std::mem::take(&mut self.gap);
        if count == 0 {
            return Ok(());
        }
        self.report.frames_lost += count;
        let (sequence, first_at) = self.newest.unwrap_or((last_sequence.saturating_sub(count), until));
        let loss = Loss {
            last_sequence: last_sequence.max(sequence.saturating_add(1)),
            ..Loss::run(Cause::WriteFailed, sequence.saturating_add(1), count, first_at, until)
        };
        self.write(|writer| writer.loss(&loss).map(|_| ()))
    }

    fn write(&mut self, record: impl FnOnce(&mut Writer) -> Result<(), AppendError>) -> Result<(), CopyError> {
        let writer = self.writer.as_mut().expect("a copy has its writer until it is finished");
        record(writer).map_err(|error| CopyError::Append { path: self.path.clone(), error })
    }

    /// `frames`: how many there should have been up to here.
    fn finish(mut self, frames: u64) -> Result<CopyReport, CopyError> {
        let end = self.report.lost.last().map_or(0, |lost| lost.offset + lost.bytes);
        self.miss_until(frames, end);
        if let Some((sequence, at)) = self.newest {
            self.write_gap(sequence.saturating_add(self.gap), at)?;
        }
        self.report.frames_lost += std::mem::take(&mut self.gap);
        let writer = self.writer.take().expect("a copy is finished once");
        let closed = writer.finish().map_err(|error| CopyError::Finish { path: self.path.clone(), error });
        let WriteSummary { bytes, .. } = closed?;
        self.report.bytes = bytes;
        self.publish()?;
        Ok(std::mem::take(&mut self.report))
    }

    /// Gives the complete file its name, unless somebody else took the name meanwhile.
    fn publish(&self) -> Result<(), CopyError> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let renamed = match renameat_with(CWD, &self.partial, CWD, &self.path, RenameFlags::NOREPLACE) {
            // Not every file system has it; a hard link does not replace either.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => std::fs::hard_link(&self.partial, &self.path),
            other => other.map_err(Into::into),
        };
        let io = |error| CopyError::Io { doing: "give the finished copy its name", path: self.path.clone(), error };
        renamed.map_err(io)?;
        super::directory::sync_directory(self.path.parent().unwrap_or(Path::new(""))).map_err(io)
    }
}

impl Drop for Copy {
    /// Whatever happened, the other name does not stay; after a rename it is gone already.
    fn drop(&mut self) {
        drop(self.writer.take());
        let _ = std::fs::remove_file(&self.partial);
    }
}

impl std::fmt::Display for Lost {
    /// `byte 88310784, 4096 bytes, frames 12 to 14: checksum ...`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "byte {}, {} bytes", self.offset, self.bytes)?;
        match (self.frames, self.kind) {
            (Some((first, last)), _) if first == last => write!(f, ", frame {first}")?,
            (Some((first, last)), _) => write!(f, ", frames {first} to {last}")?,
            (None, Some(kind)) => write!(f, ", {kind}")?,
            (None, None) => {}
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::fmt::Display for CopyReport {
    /// One line of sums, then one for each part that was lost.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { frames, detections, losses, events, bytes, frames_lost, lost } = self;
        write!(f, "{frames} frames, {detections} detections, {losses} ledger entries, {events} events, {bytes} bytes")?;
        match (lost.is_empty(), frames_lost) {
            (true, _) => write!(f, "; nothing was lost"),
            (false, count) => {
                write!(f, "; {count} frames are known to be lost:")?;
                lost.iter().try_for_each(|lost| write!(f, "\n  {lost}"))
            }
        }
    }
}
