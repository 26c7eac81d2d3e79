//! When one file ends and the next begins: its size, its time, or a failure that leaves its end in doubt.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::output::{Kept, Refusal};
use super::relay::Relay;
use super::series::{Closed, Part, Series};
use crate::error::{Error, Result};
use crate::event::{Event, EventKind};
use crate::frame::Frame;
use crate::ledger::Ledger;
use crate::recording::CreateError;
use crate::recording::retention::Removed;
use crate::recording::store::StoreError;
use crate::sink::Ended;
use crate::source::bounded;
use crate::time::{ClockPair, Span, Timestamp};

/// Who makes and closes files.
enum Maker {
    /// The caller, when it happens.
    Here(Box<Series>),
    /// A thread.
    Ahead(Relay),
}

/// How files after the first are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// By a thread, shortly before they are needed.
    Ahead,
    /// By the caller, when they are needed.
    Here,
    /// Not at all: where one would be needed, the recording ends.
    Never,
}

/// The open file and the way to the next.
pub struct Files {
    /// `None` once the recording ended.
    current: Option<Box<Part>>,
    maker: Maker,
    bytes_max: Option<u64>,
    span_max: Option<Span>,
    first_at: Option<Timestamp>,
    /// The next file was asked for.
    asked: bool,
    /// There is no file after this one.
    is_last: bool,
    removed: Arc<Removed>,
}

/// The next file is made when this share of the size is left ...
const AHEAD_SHARE: u64 = 8;
/// ... or so much of the time, or a quarter of it if that is less.
const AHEAD_SPAN: Span = Span::from_s(5);
/// Files that one frame may go through before the recording is given up.
const FILES_TRIED_MAX: usize = 3;

impl Files {
    /// Makes the first file.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(mut series: Series, bytes_max: Option<u64>, span_max: Option<Span>, next: Next) -> Result<Self> {
        let current = Some(series.open_first()?);
        let removed = series.removed();
        // Also without splits: a file that fails is followed by another.
        let maker = match next {
            Next::Ahead => Maker::Ahead(Relay::start(series)?),
            Next::Here | Next::Never => Maker::Here(Box::new(series)),
        };
        let is_last = next == Next::Never;
        Ok(Self { current, maker, bytes_max, span_max, first_at: None, asked: false, is_last, removed })
    }

    /// The open file; empty once the recording ended.
    pub fn path(&self) -> &Path {
        self.current.as_ref().map_or(Path::new(""), |part| &part.path)
    }

    /// What the open file holds.
    pub fn kept(&self) -> Kept {
        self.current.as_ref().map_or(Kept::default(), |part| part.kept())
    }

    /// What was removed to make room.
    pub fn removed(&self) -> Arc<Removed> {
        Arc::clone(&self.removed)
    }

    /// Writes pending losses and the frame, into a new file where it is time for one. What a file handed over to be closed
    /// holds is added to `handed_over`.
    pub fn add(
        &mut self,
        frame: &Frame<'_>,
        now: ClockPair,
        ledger: &mut Ledger,
        handed_over: &mut Kept,
    ) -> Result<(), Refusal> {
        if self.is_full_for(frame, self.bytes_max, self.span_max) {
            if self.is_last {
                let reason = StoreError::FileLimit { bytes: self.bytes_max.unwrap_or(u64::MAX) };
                return Err(Refusal::End(Ended { frames: self.kept().frames, durable: None, reason }));
            }
            self.begin_next(now, handed_over)?;
        }
        self.try_files(now, handed_over, |part| {
            write_losses(part, ledger)?;
            part.output.append(frame, now)
        })?;
        self.first_at.get_or_insert(frame.meta.captured_at);
        self.ask_ahead(frame, now);
        Ok(())
    }

    /// Writes an event.
    pub fn event(
        &mut self,
        event: &Event,
        now: ClockPair,
        ledger: &mut Ledger,
        handed_over: &mut Kept,
    ) -> Result<(), Refusal> {
        self.try_files(now, handed_over, |part| {
            write_losses(part, ledger)?;
            part.output.event(event)
        })
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: ClockPair) -> Result<(), Refusal> {
        self.current.as_mut().map_or(Ok(()), |part| part.output.tick(now))
    }

    /// Does `write`, in a new file when the open one failed.
    fn try_files(
        &mut self,
        now: ClockPair,
        handed_over: &mut Kept,
        mut write: impl FnMut(&mut Part) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut tries = 0;
        loop {
            let Some(part) = &mut self.current else { return Err(Refusal::End(nothing_open())) };
            let before = part.kept();
            match write(part) {
                Err(Refusal::NextFile(ended)) => {
                    tries += 1;
                    // A frame whose own sync failed is in the file and not safe; it counts where it goes next.
                    let in_doubt = part.kept().without(&before);
                    part.in_doubt.add(&Kept { bytes: 0, ..in_doubt });
                    // A file that failed before anything in it was safe: the disk is gone, another file would be too.
                    if self.is_last
                        || tries == FILES_TRIED_MAX
                        || ended.durable == Some(0) && ended.frames > 0 && tries > 1
                    {
                        return Err(Refusal::End(ended));
                    }
                    let note = doubt_note(&part.path, ended, now);
                    self.begin_next(now, handed_over)?;
                    if let (Some(note), Some(part)) = (note, &mut self.current) {
                        part.output.event(&note)?;
                    }
                }
                other => return other,
            }
        }
    }

    /// True when the frame belongs into the next file.
    fn is_full_for(&self, frame: &Frame<'_>, bytes_max: Option<u64>, span_max: Option<Span>) -> bool {
        let Some(part) = &self.current else { return false };
        if part.kept().frames == 0 {
            return false;
        }
        let too_long = |max: Span| self.first_at.is_some_and(|first| (frame.meta.captured_at - first).abs() >= max);
        let too_large = |max: u64| part.output.bytes_with(frame) > max;
        span_max.is_some_and(too_long) || bytes_max.is_some_and(too_large)
    }

    /// Has the next file made shortly before it is needed.
    fn ask_ahead(&mut self, frame: &Frame<'_>, now: ClockPair) {
        let Maker::Ahead(relay) = &self.maker else { return };
        if self.asked {
            return;
        }
        let bytes = self.bytes_max.map(|max| max - max / AHEAD_SHARE);
        let span = self.span_max.map(|max| max - AHEAD_SPAN.min(Span::from_ns(max.as_ns() / 4)));
        if self.is_full_for(frame, bytes, span) {
            relay.open_next(now);
            self.asked = true;
        }
    }

    /// Closes the open file and goes on in the next.
    fn begin_next(&mut self, now: ClockPair, handed_over: &mut Kept) -> Result<(), Refusal> {
        let frames = self.kept().frames;
        let opened = match &mut self.maker {
            Maker::Ahead(relay) => {
                if !self.asked {
                    relay.open_next(now);
                }
                self.asked = false;
                relay.opened()
            }
            Maker::Here(series) => {
                // Closed first: what it had preallocated is then free for the next.
                if let Some(old) = self.current.take() {
                    handed_over.add(&old.kept());
                    series.close(*old);
                }
                series.open_next(now)
            }
        };
        let new = opened.map_err(|error| Refusal::End(Ended { frames, durable: None, reason: reason_of(&error) }))?;
        self.first_at = None;
        if let (Some(old), Maker::Ahead(relay)) = (self.current.replace(new), &self.maker) {
            handed_over.add(&old.kept());
            relay.close(old);
        }
        Ok(())
    }

    /// Closes the open file for good.
    pub fn close_current(&mut self, ledger: &mut Ledger, handed_over: &mut Kept) {
        let Some(mut part) = self.current.take() else { return };
        let _ = write_losses(&mut part, ledger);
        handed_over.add(&part.kept());
        match &mut self.maker {
            Maker::Here(series) => series.close(*part),
            Maker::Ahead(relay) => relay.close(part),
        }
    }

    /// Closes everything and tells what the files hold.
    ///
    /// # Errors
    /// The thread that closes files is gone.
    pub fn finish(mut self, ledger: &mut Ledger) -> Result<Closed> {
        self.close_current(ledger, &mut Kept::default());
        match self.maker {
            Maker::Here(series) => Ok(series.into_closed()),
            Maker::Ahead(relay) => {
                if self.asked {
                    // Made ahead and not needed.
                    if let Ok(part) = relay.opened() {
                        relay.discard(part);
                    }
                }
                Ok(relay.end()?.into_closed())
            }
        }
    }
}

fn write_losses(part: &mut Part, ledger: &mut Ledger) -> Result<(), Refusal> {
    while let Some(loss) = ledger.oldest() {
        part.output.loss(loss)?;
        // Taken only now: a file that fails here leaves it for the next.
        ledger.take();
    }
    Ok(())
}

/// For the new file: which frames of the old one may be gone after a power cut. Nothing when the old one only was full.
fn doubt_note(path: &Path, ended: Ended, now: ClockPair) -> Option<Event> {
    let durable = ended.durable?;
    // Put together without an allocation, like everything on this thread.
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or("the file before");
    let mut text = heapless::String::new();
    let written = write!(text, "{}; frames from {durable} on of {name} are in doubt", ended.reason);
    if written.is_err() {
        text = bounded(name);
    }
    Some(Event { kind: EventKind::Note, at: now.monotonic, wall: now.wall, text })
}

fn nothing_open() -> Ended {
    Ended { frames: 0, durable: None, reason: StoreError::Io { doing: "reach a file that was closed", errno: 0 } }
}

fn reason_of(error: &Error) -> StoreError {
    match error {
        Error::Create(CreateError::Store { reason, .. }) => *reason,
        Error::Create(CreateError::Io { error, .. }) | Error::Io { error, .. } => match error.kind() {
            std::io::ErrorKind::StorageFull => StoreError::NoSpace,
            std::io::ErrorKind::QuotaExceeded => StoreError::Quota,
            _ => StoreError::Io { doing: "make the next file", errno: error.raw_os_error().unwrap_or(0) },
        },
        _ => StoreError::Io { doing: "make the next file", errno: 0 },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::builder::Codec;
    use super::super::output::Output;
    use super::super::series::Plan;
    use super::*;
    use crate::frame::FrameMeta;
    use crate::ledger::{Cause, Loss};
    use crate::recording::memory::MemoryStore;
    use crate::recording::names::Names;
    use crate::recording::retention::Limits;
    use crate::recording::store::PageStore;
    use crate::recording::{Directory, Reader, SessionHeader, SyncPolicy, Writer, WriterSettings, geometry};
    use crate::results::Results;
    use crate::source::SourceInfo;
    use crate::time::WallTime;
    use crate::timeline::Timeline;

    /// Files in `path` whose first one answers with what is `scripted`.
    fn files(path: &Path, scripted: Vec<Result<(), Refusal>>) -> Files {
        let plan = Plan {
            names: Names::new(path, "a", "kinora"),
            exact: true,
            codec: Codec::Kinora,
            limits: Limits { min_free: 0, ..Limits::default() },
            directory: Arc::new(Directory::open(path).unwrap()),
            pages: None,
        };
        let header = SessionHeader::from_source(&SourceInfo::new("test"), ClockPair::default(), [1; 16]);
        let series = Series::new(plan, header, WriterSettings::tiny(), true);
        let mut files = Files::open(series, None, None, Next::Here).unwrap();
        files.current.as_mut().unwrap().output = Output::Scripted(scripted.into_iter().rev().collect());
        files
    }

    fn sync_failed(frames: u64, durable: u64) -> Refusal {
        Refusal::NextFile(Ended { frames, durable: Some(durable), reason: StoreError::Sync { errno: 5 } })
    }

    fn headless<'a>(meta: &'a FrameMeta, results: &'a Results) -> Frame<'a> {
        Frame { meta, results, pixels: None, jpeg: None, side: &[], sensor: &[], labels: None, losses: &[] }
    }

    fn add(files: &mut Files, sequence: u64, ledger: &mut Ledger) -> Result<(), Refusal> {
        let meta = FrameMeta { sequence, ..FrameMeta::new() };
        let results = Results::new();
        let frame = headless(&meta, &results);
        files.add(&frame, ClockPair::default(), ledger, &mut Kept::default())
    }

    #[test]
    fn a_failed_sync_begins_a_new_file_that_says_what_is_in_doubt() {
        let top = tempfile::tempdir().unwrap();
        let mut files = files(top.path(), vec![Ok(()), Ok(()), Err(sync_failed(2, 1))]);
        let mut ledger = Ledger::new();
        for sequence in 0..4 {
            assert_eq!(add(&mut files, sequence, &mut ledger), Ok(()));
        }
        files.finish(&mut ledger).unwrap();
        let mut second = Reader::open(top.path().join("a_0001.kinora")).unwrap();
        assert_eq!(second.len(), 2, "the frame that met the failure is in the new file");
        assert_eq!(second.frame(0).unwrap().meta.sequence, 2);
        let note = second.events().unwrap().remove(0).1;
        assert!(note.text.ends_with("frames from 1 on of a.kinora are in doubt"), "{}", note.text);
    }

    #[test]
    fn a_recording_of_one_file_ends_where_another_would_begin() {
        let top = tempfile::tempdir().unwrap();
        let mut files = files(top.path(), vec![Ok(()), Err(sync_failed(1, 1))]);
        files.is_last = true;
        let mut ledger = Ledger::new();
        assert_eq!(add(&mut files, 0, &mut ledger), Ok(()));
        assert!(matches!(add(&mut files, 1, &mut ledger), Err(Refusal::End(Ended { durable: Some(1), .. }))));
        assert_eq!(files.finish(&mut ledger).unwrap().paths.len(), 1);
    }

    #[test]
    fn a_refusal_for_good_ends_the_recording_and_a_frame_that_is_too_big_does_not() {
        let top = tempfile::tempdir().unwrap();
        let ended = Ended { frames: 1, durable: None, reason: StoreError::NoSpace };
        let script = vec![Ok(()), Err(Refusal::Frame(Cause::TooBig)), Ok(()), Err(Refusal::End(ended))];
        let mut files = files(top.path(), script);
        let mut ledger = Ledger::new();
        assert_eq!(add(&mut files, 0, &mut ledger), Ok(()));
        assert_eq!(add(&mut files, 1, &mut ledger), Err(Refusal::Frame(Cause::TooBig)));
        assert_eq!(add(&mut files, 2, &mut ledger), Ok(()));
        assert_eq!(add(&mut files, 3, &mut ledger), Err(Refusal::End(ended)));
        files.close_current(&mut ledger, &mut Kept::default());
        assert!(matches!(add(&mut files, 4, &mut ledger), Err(Refusal::End(_))));
    }

    /// Files in `path` whose first one lies on a disk that confirms only the front: each further sync fails.
    fn files_on_a_failing_disk(path: &Path, sync: SyncPolicy) -> Files {
        let mut files = files(path, vec![]);
        let header = SessionHeader::from_source(&SourceInfo::new("test"), ClockPair::default(), [1; 16]);
        let geometry = geometry(&header, &WriterSettings::tiny()).unwrap();
        let mut store = MemoryStore::new(&geometry);
        store.syncs_left = 1;
        let store: Box<dyn PageStore + Send> = Box::new(store);
        let writer = Writer::with_store(store, geometry, &header, sync).unwrap();
        files.current.as_mut().unwrap().output = Output::Paged(Box::new(writer));
        files
    }

    #[test]
    fn a_frame_in_doubt_that_goes_into_the_next_file_counts_once() {
        let top = tempfile::tempdir().unwrap();
        let mut files = files_on_a_failing_disk(top.path(), SyncPolicy::EveryFrame);
        let (mut ledger, mut handed_over) = (Ledger::new(), Kept::default());
        let (meta, results) = (FrameMeta::new(), Results::new());
        assert_eq!(files.add(&headless(&meta, &results), ClockPair::default(), &mut ledger, &mut handed_over), Ok(()));
        handed_over.add(&files.kept());
        assert_eq!(handed_over.frames, 1);
        let closed = files.finish(&mut ledger).unwrap();
        assert_eq!((closed.kept.frames, closed.paths.len()), (1, 2));
    }

    #[test]
    fn a_loss_that_a_failed_file_did_not_take_is_in_the_next() {
        let top = tempfile::tempdir().unwrap();
        let mut files = files_on_a_failing_disk(top.path(), SyncPolicy::Every(Span::from_ms(1)));
        let mut ledger = Ledger::new();
        let later = ClockPair { monotonic: Timestamp::from_ns(5_000_000), wall: WallTime::from_utc_ns(5_000_000) };
        assert_eq!(add(&mut files, 0, &mut ledger), Ok(()));
        files.tick(later).unwrap();
        ledger.add(Loss::one(Cause::RingFull, 1, later.monotonic));
        assert_eq!(add(&mut files, 2, &mut ledger), Ok(()));
        assert_eq!(ledger.oldest(), None);
        files.finish(&mut ledger).unwrap();
        let losses = Reader::open(top.path().join("a_0001.kinora")).unwrap().losses().unwrap();
        assert_eq!(losses.iter().map(|(_, loss)| loss.first_sequence).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn losses_are_written_before_the_frame_that_follows_them() {
        let top = tempfile::tempdir().unwrap();
        let mut files = files(top.path(), vec![Err(sync_failed(0, 0))]);
        let mut ledger = Ledger::new();
        ledger.add(Loss::one(Cause::RingFull, 0, Timestamp::from_ns(0)));
        assert_eq!(add(&mut files, 1, &mut ledger), Ok(()));
        assert_eq!(ledger.take(), None);
        files.finish(&mut ledger).unwrap();
        assert_eq!(Reader::open(top.path().join("a_0001.kinora")).unwrap().len(), 1);
    }
}
