//! Reads a recording in any order: frame by number in one index entry and one record, by time in O(log n).
//!
//! Memory is made when it is opened: one frame, one record, and a small table of index records. The file is read by `pread`,
//! so a file that is cut short meanwhile gives errors, not signals.

use std::fs::File;
use std::path::Path;

use rustix::fs::{Advice, fadvise};
use zerocopy::{FromZeros, IntoBytes};

use super::body::{self, ClockNote, Totals};
use super::columns;
use super::format::{Geometry, Head, INDEX_FRAMES_MAX, IndexEntry, RecordError, RecordKind, VERSION, section};
use super::load::{self, Window};
use super::medium::{FileMedium, Medium};
use super::open::{Block, Entries, OpenError, Opened, open};
use super::records::Records;
use super::session::SessionHeader;
use crate::event::Event;
use crate::frame::{Frame, FrameMeta, JpegPicture, PictureInfo, PixelFormat, Pixels};
use crate::labels::Labels;
use crate::ledger::Loss;
use crate::results::Results;
use crate::time::{ClockPair, Span, Timestamp, WallTime};
use crate::timeline::Timeline;

/// Wall-clock times that disagree with the newest clock record by less are left as they are.
const CLOCK_STEP: Span = Span::from_ms(10);

/// Why a frame cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Its record is damaged; the others can still be read.
    #[error("frame {frame} (byte {offset} of the recording) is damaged: {reason}")]
    Damaged {
        /// Ordinal of the frame.
        frame: u64,
        /// Where its record begins.
        offset: u64,
        /// What is wrong with it.
        reason: RecordError,
    },
    /// Nothing is left of it; the others can still be read.
    #[error("frame {frame} is lost: the part of the recording that held it is damaged; kinora verify tells where")]
    Missing {
        /// Ordinal of the frame.
        frame: u64,
    },
    /// There are not so many.
    #[error("there is no frame {frame}: the recording has {frames}")]
    OutOfRange {
        /// Ordinal asked for, from 0.
        frame: u64,
        /// Frames of the recording.
        frames: u64,
    },
    /// A record that is not a frame is damaged.
    #[error("the {kind} record at byte {offset} of the recording is damaged: {reason}")]
    Record {
        /// What was expected there.
        kind: &'static str,
        /// Where.
        offset: u64,
        /// What is wrong with it.
        reason: RecordError,
    },
}

/// What a recording holds, in numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Info {
    /// Version of the format.
    pub format_version: u16,
    /// Frames that are there.
    pub frames: u64,
    /// Frames that were recorded and are lost to damage, as far as that is known without reading everything.
    pub missing: u64,
    /// Rows of all results.
    pub detections: u64,
    /// Frames lost while recording, by the drop ledger.
    pub dropped: u64,
    /// Entries of the drop ledger.
    pub losses: u64,
    /// Bookmarks, triggers, notes.
    pub events: u64,
    /// Times that the wall clock was stepped.
    pub clock_steps: u64,
    /// Capture times of the first frame, as the clocks were.
    pub first: Option<ClockPair>,
    /// Capture time of the first frame on the corrected wall clock.
    pub first_utc: Option<WallTime>,
    /// From the first to the latest capture.
    pub duration: Span,
    /// Frames a second over the duration; 0 with fewer than two frames.
    pub fps_mean: f64,
    /// Shape of the first frame's picture as stored (JPEG: stride 0); `None` when headless.
    pub picture: Option<PictureInfo>,
    /// Size of the file.
    pub bytes: u64,
    /// Bytes up to the end of the last record.
    pub used_bytes: u64,
    /// The file was closed cleanly.
    pub finalized: bool,
    /// The first bytes of the file are damaged (which costs nothing).
    pub front_damaged: bool,
}

/// How many records were looked at, so that a test can hold the cost of a seek.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Index records, of which one entry was read.
    pub index_records: u64,
    /// Frame records.
    pub frame_records: u64,
}

/// An open recording.
#[derive(Debug)]
pub struct Reader<M: Medium = FileMedium> {
    pub(super) medium: M,
    pub(super) opened: Opened,
    pub(super) window: Window,
    pub(super) decoded: Decoded,
    touched: Touched,
    results_only: bool,
}

/// Entries of one index record.
#[derive(Debug, Default)]
pub(super) struct IndexRun {
    /// Ordinal of the first.
    first: u64,
    entries: Vec<IndexEntry>,
}

/// Memory for one decoded frame.
#[derive(Debug)]
pub(super) struct Decoded {
    meta: FrameMeta,
    results: Box<Results>,
}

impl Decoded {
    pub(super) fn new() -> Self {
        Self { meta: FrameMeta::new(), results: Box::new(Results::new()) }
    }
}

impl Reader<FileMedium> {
    /// Opens a recording, closed or not, damaged or not; changes nothing in it.
    ///
    /// Cost: closed, one read for each index record (one for 1,024 frames); not closed, also one for each record since
    /// the newest growth step, and the bytes of at most the last 1,024 frames.
    ///
    /// # Errors
    /// It is not a recording that this build reads.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let io = |error| OpenError::Io { path: path.to_owned(), error };
        let file = File::open(path).map_err(io)?;
        // Read-ahead behind the last record would fill pages that are only allocated; from then on they count as written
        // and are searched. Refused advice costs time, nothing else.
        let _ = fadvise(&file, 0, None, Advice::Random);
        let reader = Self::over(FileMedium::new(file).map_err(io)?)?;
        let _ = fadvise(reader.medium.file(), 0, None, Advice::Normal);
        Ok(reader)
    }
}

impl<M: Medium> Reader<M> {
    /// A reader that only decodes records, for who follows a recording.
    pub(super) fn following(medium: M, opened: Opened) -> Self {
        let touched = Touched::default();
        Self { medium, opened, window: Window::default(), decoded: Decoded::new(), touched, results_only: false }
    }

    /// Opens a recording that lies anywhere.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn over(medium: M) -> Result<Self, OpenError> {
        let opened = open(&medium)?;
        Ok(Self::following(medium, opened))
    }

    /// What was known before the first frame.
    pub fn header(&self) -> &SessionHeader {
        &self.opened.header
    }

    /// Sums over the records found, and where the newest of each kind lies.
    pub fn totals(&self) -> &Totals {
        &self.opened.totals
    }

    /// Where things lie in the file.
    pub fn geometry(&self) -> &Geometry {
        &self.opened.geometry
    }

    /// True when the file was closed cleanly.
    pub fn is_finalized(&self) -> bool {
        self.opened.finalized
    }

    /// Where the last record ends.
    pub fn end(&self) -> u64 {
        self.opened.end
    }

    /// How many records were looked at so far.
    pub fn touched(&self) -> Touched {
        self.touched
    }

    /// What the recording holds, in numbers. Cost: reads the first frame.
    pub fn info(&mut self) -> Info {
        let picture = self.first_picture();
        let totals = &self.opened.totals;
        let frames = self.opened.blocks.iter().map(|block| block.count).sum();
        let latest = self.opened.blocks.last().map(|block| Timestamp::from_ns(block.time_max));
        let duration = totals.first.zip(latest).map_or(Span::ZERO, |(first, latest)| latest - first.monotonic);
        let fps_mean =
            if frames > 1 && duration > Span::ZERO { (frames - 1) as f64 / duration.as_s_f64() } else { 0.0 };
        Info {
            format_version: VERSION,
            frames,
            missing: self.frame_count() - frames,
            detections: totals.detections,
            dropped: totals.lost,
            losses: totals.losses,
            events: totals.events,
            clock_steps: totals.clock_steps,
            first: totals.first,
            first_utc: totals.first.map(|first| self.corrected_wall(first.monotonic, first.wall)),
            duration,
            fps_mean,
            picture,
            bytes: self.medium.bytes(),
            used_bytes: self.opened.end,
            finalized: self.opened.finalized,
            front_damaged: self.opened.front_damaged,
        }
    }

    fn first_picture(&mut self) -> Option<PictureInfo> {
        let first = self.opened.blocks.first()?.first;
        let frame = self.read_frame(first).ok()?;
        let jpeg = |jpeg: JpegPicture<'_>| PictureInfo::packed(PixelFormat::Jpeg, jpeg.width, jpeg.height);
        frame.pixels.map(|pixels| pixels.info).or(frame.jpeg.map(jpeg))
    }

    /// Ordinal of the last frame, plus one: frames that are there and frames that are lost to damage.
    pub fn frame_count(&self) -> u64 {
        self.opened.blocks.last().map_or(0, |block| block.first + block.count)
    }

    /// The wall-clock time of a capture, corrected for steps of the clock that were noticed later: when it disagrees with the
    /// newest clock record by more than 10 ms, that record's offset applies.
    pub fn corrected_wall(&self, captured_at: Timestamp, captured_wall: WallTime) -> WallTime {
        let clock = self.opened.totals.clock;
        let moved = ClockPair { monotonic: captured_at, wall: captured_wall }.offset() - clock.offset();
        if moved.abs() > CLOCK_STEP { clock.wall_of(captured_at) } else { captured_wall }
    }

    /// Where the record of frame `index` begins; `None` when there is none.
    pub fn frame_offset(&self, index: u64) -> Option<u64> {
        Some(self.entry(index)?.offset.get())
    }

    /// Takes memory for records of so many bytes now, so that lending a frame of that size for the first time allocates nothing.
    pub(crate) fn make_room(&mut self, record_bytes: usize) {
        self.window.make_room(record_bytes.min(self.opened.geometry.record_bytes_max as usize));
    }

    /// Lends frame `index` (from 0) until the next call.
    ///
    /// Cost: one index entry, one record, its checksums; no allocation unless the record is the longest so far.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_frame(&mut self, index: u64) -> Result<Frame<'_>, ReadError> {
        let frames = self.frame_count();
        if index >= frames {
            return Err(ReadError::OutOfRange { frame: index, frames });
        }
        let block = self.block(index).ok_or(ReadError::Missing { frame: index })?;
        let in_index = matches!(block.entries, Entries::Disk(_));
        let (entry, next) = self.entry_in(block, index - block.first).ok_or(ReadError::Missing { frame: index })?;
        let offset = entry.offset.get();
        // Where the next frame begins tells how long this one is at most: it is then read at once.
        let ahead = next.map_or(0, |next| next.offset.get().saturating_sub(offset));
        let ahead = usize::try_from(ahead).unwrap_or(0);
        self.touched.index_records += u64::from(in_index);
        self.touched.frame_records += 1;
        let damaged = |reason| ReadError::Damaged { frame: index, offset, reason };
        let end = self.medium.bytes();
        let geometry = &self.opened.geometry;
        let whole = !self.results_only || {
            let head = load::head(&self.medium, &mut self.window, geometry, offset, end).map_err(damaged)?;
            head.bulk_range(section::SIDE).map_err(damaged)?.is_some()
        };
        let (head, bulk) = if whole {
            let (head, bulk) =
                load::record(&self.medium, &mut self.window, geometry, offset, end, ahead).map_err(damaged)?;
            (head, Some(bulk))
        } else {
            (load::head(&self.medium, &mut self.window, geometry, offset, end).map_err(damaged)?, None)
        };
        if !head.header.is(RecordKind::Frame) || head.header.frames.get() != index {
            return Err(damaged(RecordError::Other));
        }
        let labels = Some(&self.opened.header.labels);
        let frame = decode_frame(&head, bulk, &mut self.decoded, labels).map_err(damaged)?;
        Ok(if self.results_only { Frame { pixels: None, jpeg: None, sensor: &[], ..frame } } else { frame })
    }

    /// From now on frames are lent without picture and sensor bytes: what stands beside the results is neither read nor
    /// checked, which is some 20 times as fast at 100 KB a picture. Results are checked as ever. A frame with masks or a heat
    /// map is still read whole, since one checksum covers them and the picture.
    pub fn results_only(&mut self, only: bool) {
        self.results_only = only;
    }

    /// A cursor over all records, of all kinds, in the order of the file.
    pub fn records(&mut self) -> Records<'_, M> {
        Records::new(self)
    }

    /// All bookmarks, triggers and notes, oldest first, with the offsets of their records.
    ///
    /// # Errors
    /// One of them is damaged; those before it are not reached.
    pub fn events(&mut self) -> Result<Vec<(u64, Event)>, ReadError> {
        let newest = self.opened.totals.newest_event;
        self.list(newest, RecordKind::Event, body::read_event)
    }

    /// The drop ledger, oldest entry first.
    ///
    /// # Errors
    /// As [`Reader::events`].
    pub fn losses(&mut self) -> Result<Vec<(u64, Loss)>, ReadError> {
        let newest = self.opened.totals.newest_loss;
        self.list(newest, RecordKind::Loss, body::read_loss)
    }

    /// Both clocks each time they were written down, oldest first.
    ///
    /// # Errors
    /// As [`Reader::events`].
    pub fn clocks(&mut self) -> Result<Vec<(u64, ClockNote)>, ReadError> {
        let newest = self.opened.totals.newest_clock;
        self.list(newest, RecordKind::Clock, body::read_clock)
    }

    /// Follows the chain of one kind of record from the newest back.
    fn list<T>(
        &mut self,
        newest: u64,
        kind: RecordKind,
        read: impl Fn(&[u8]) -> Result<(T, u64), RecordError>,
    ) -> Result<Vec<(u64, T)>, ReadError> {
        let mut list = Vec::new();
        let mut offset = newest;
        while offset != 0 {
            let damaged = |reason| ReadError::Record { kind: kind.name(), offset, reason };
            let end = self.medium.bytes();
            let head =
                load::head(&self.medium, &mut self.window, &self.opened.geometry, offset, end).map_err(damaged)?;
            let body = head.body(section::BODY).filter(|_| head.header.is(kind)).ok_or(damaged(RecordError::Other))?;
            let (value, previous) = read(body).map_err(damaged)?;
            if previous >= offset {
                return Err(damaged(RecordError::Body { what: "chain" }));
            }
            list.push((offset, value));
            offset = previous;
        }
        list.reverse();
        Ok(list)
    }

    fn block(&self, index: u64) -> Option<&Block> {
        let after = self.opened.blocks.partition_point(|block| block.first <= index);
        self.opened.blocks.get(after.checked_sub(1)?).filter(|block| index - block.first < block.count)
    }

    fn entry(&self, index: u64) -> Option<IndexEntry> {
        let block = self.block(index)?;
        Some(self.entry_in(block, index - block.first)?.0)
    }

    /// As [`Self::entry`], for who asks for one frame after the other: the entries of a whole run are read at once.
    pub(super) fn entry_of_run(&self, index: u64, run: &mut IndexRun) -> Option<IndexEntry> {
        let place = |run: &IndexRun| index.checked_sub(run.first).and_then(|i| run.entries.get(i as usize).copied());
        if let Some(entry) = place(run) {
            return Some(entry);
        }
        let block = self.block(index)?;
        let offset = match block.entries {
            Entries::Disk(offset) if block.count <= INDEX_FRAMES_MAX as u64 => offset,
            _ => return self.entry(index),
        };
        run.first = block.first;
        run.entries.resize(block.count as usize, IndexEntry::new_zeroed());
        let bytes = run.entries.as_mut_bytes();
        if self.medium.fill(offset, bytes).ok() != Some(bytes.len()) {
            run.entries.clear();
        }
        place(run)
    }

    /// Entry `i` of a block, and the one after it if the same block has one.
    fn entry_in(&self, block: &Block, i: u64) -> Option<(IndexEntry, Option<IndexEntry>)> {
        match &block.entries {
            Entries::Memory(entries) => Some((*entries.get(i as usize)?, entries.get(i as usize + 1).copied())),
            Entries::Disk(offset) => {
                let mut pair = [IndexEntry::new_zeroed(); 2];
                let count = if i + 1 < block.count { 2 } else { 1 };
                let bytes = pair[..count].as_mut_bytes();
                let filled = self.medium.fill(offset + i * size_of::<IndexEntry>() as u64, bytes).ok()?;
                (filled == bytes.len()).then_some((pair[0], (count == 2).then_some(pair[1])))
            }
        }
    }
}

/// Decodes a frame record into memory that was made before. Without `bulk` the frame has no picture and no sensor bytes.
pub(super) fn decode_frame<'a>(
    head: &Head<'_>,
    bulk: Option<&'a [u8]>,
    decoded: &'a mut Decoded,
    labels: Option<&'a Labels>,
) -> Result<Frame<'a>, RecordError> {
    let body = head.body(section::BODY).ok_or(RecordError::Section { section: section::BODY })?;
    let info = body::read_frame(body, &mut decoded.meta)?;
    let part = |kind| Ok(head.bulk_range(kind)?.zip(bulk).map_or(&[][..], |(range, bulk)| &bulk[range]));
    let (picture, side, sensor) = (part(section::PICTURE)?, part(section::SIDE)?, part(section::SENSOR)?);
    let results = head.body(section::RESULTS).unwrap_or(&[]);
    columns::read(results, side.len(), &mut decoded.results)?;
    let (mut pixels, mut jpeg) = (None, None);
    match info {
        _ if bulk.is_none() => {}
        Some(PictureInfo { format: PixelFormat::Jpeg, width, height, .. }) => {
            jpeg = Some(JpegPicture { width, height, bytes: picture });
        }
        Some(info) if info.bytes() == Some(picture.len()) => pixels = Some(Pixels { info, bytes: picture }),
        Some(_) => return Err(RecordError::Body { what: "picture" }),
        None => {}
    }
    Ok(Frame { meta: &decoded.meta, results: &decoded.results, pixels, jpeg, side, sensor, labels, losses: &[] })
}

impl<M: Medium> Timeline for Reader<M> {
    fn len(&self) -> u64 {
        self.frame_count()
    }

    /// Capture time of frame `index` by the index; a frame that is lost to damage has the time of the one before it.
    fn captured_at(&self, index: u64) -> Option<Timestamp> {
        if index >= self.frame_count() {
            return None;
        }
        if let Some(entry) = self.entry(index) {
            return Some(Timestamp::from_ns(entry.captured_at.get()));
        }
        let after = self.opened.blocks.partition_point(|block| block.first <= index);
        let before = after.checked_sub(1).and_then(|i| self.opened.blocks.get(i)).or(self.opened.blocks.first())?;
        Some(Timestamp::from_ns(before.time_max))
    }

    fn seek_time(&self, at: Timestamp) -> u64 {
        let blocks = &self.opened.blocks;
        let Some(block) = blocks.get(blocks.partition_point(|block| block.time_max < at.as_ns())) else {
            return self.frame_count();
        };
        let (mut low, mut high) = (0, block.count - 1);
        while low < high {
            let middle = low + (high - low) / 2;
            let before = self.entry_in(block, middle).is_some_and(|(entry, _)| entry.time_max.get() < at.as_ns());
            if before { low = middle + 1 } else { high = middle }
        }
        block.first + low
    }

    fn frame(&mut self, index: u64) -> crate::Result<Frame<'_>> {
        Ok(self.read_frame(index)?)
    }

    fn results_only(&mut self, only: bool) {
        Self::results_only(self, only);
    }
}
