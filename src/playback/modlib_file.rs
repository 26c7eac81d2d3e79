//! A modlib recording as a timeline: one pass at the start finds where each frame lies and when it was taken; frames are
//! read from the file as they are asked for.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use jiff::tz::TimeZone;

use crate::error::{Error, Result};
use crate::frame::{Frame, PictureInfo, PixelFormat};
use crate::limits::{PICTURE_BYTES_MAX, SIDE_PLANE_BYTES_MAX};
use crate::modlib::{Format, Import, Imported, LINE_BYTES_MAX, PickleReader, Reader, Reason};
use crate::playback::file::Opened;
use crate::slot::{Slot, SlotSizes, TooBig};
use crate::source::{SourceError, SourceInfo};
use crate::time::{ClockPair, Timestamp, WallTime};
use crate::timeline::Timeline;

/// One frame's bytes in the file, and what only reading all frames before it tells.
#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: u64,
    len: usize,
    sequence: u64,
    captured_at: Timestamp,
    /// Largest capture time up to here.
    reached: Timestamp,
    wall: WallTime,
    utc_offset_s: i32,
}

/// Reads frames of one form.
#[derive(Debug)]
enum Parser {
    Json(Box<Reader>),
    Pickle(Box<PickleReader>),
}

/// Frames of a modlib `.json` or `.pkl`, in any order.
///
/// Memory: 56 bytes a frame, one line, and one slot that is as large as the largest frame.
#[derive(Debug)]
pub struct ModlibTimeline {
    file: File,
    name: String,
    entries: Vec<Entry>,
    parser: Parser,
    line: Vec<u8>,
    slot: Box<Slot>,
    newest: Option<u64>,
}

/// First sizes of the planes; a larger frame makes them grow.
const FIRST_SIZES: SlotSizes = SlotSizes { pixels: 0, jpeg: 256 << 10, side: 64 << 10, sensor: 0, scratch: 0 };

/// Broken lines that are told one by one; of more, only the number is told.
const BROKEN_TOLD_MAX: usize = 20;

/// Finds all frames of a modlib recording. Naive timestamps are local times of `zone`. Broken lines are left out and told
/// in [`Opened::notes`].
///
/// Cost: every line is read once, some 500 MB/s.
///
/// # Errors
/// The file cannot be read, or a frame is larger than any limit.
pub fn open(path: &Path, file: File, format: Format, zone: TimeZone) -> Result<Opened> {
    let name = path.display().to_string();
    let found = find(&file, &name, format, &zone)?;
    let mut info = SourceInfo::new(&name);
    info.live = false;
    info.frames = Some(found.entries.len() as u64);
    info.picture = found.largest;
    info.jpeg_bytes_max = found.used.jpeg;
    info.side_bytes_max = found.used.side;
    if let Some(zone) = zone.iana_name() {
        info.time_zone = crate::source::bounded(zone);
    }
    info.recorded_clock =
        found.entries.first().map(|first| ClockPair { monotonic: first.captured_at, wall: first.wall });
    let parser = match format {
        Format::Json => Parser::Json(Box::new(Reader::new(zone))),
        Format::Pickle => Parser::Pickle(Box::new(PickleReader::new(zone))),
    };
    let (entries, slot) = (found.entries, Slot::new(&found.used));
    let longest = entries.iter().copied().max_by_key(|entry| entry.len);
    let mut timeline = ModlibTimeline { file, name, entries, parser, line: Vec::new(), slot, newest: None };
    if let Some(longest) = longest {
        // The parser's memory grows with what it reads: now, and not when that line is played.
        let _ = timeline.read(&longest);
    }
    let frame_time = crate::playback::frame_time_of(&timeline).as_ns().clamp(1, 1_000_000_000);
    info.frame_rate = (1_000_000_000, frame_time as u32);
    Ok(Opened { timeline: Box::new(timeline), info, events: Vec::new(), notes: found.notes })
}

/// What one pass over the file brings.
struct Found {
    entries: Vec<Entry>,
    /// Largest planes in use.
    used: SlotSizes,
    largest: Option<PictureInfo>,
    notes: Vec<String>,
}

/// Goes over the file, again with larger planes when a frame did not fit. The planes at least double each time, up to the
/// limits, so that a dozen passes are the most.
fn find(file: &File, name: &str, format: Format, zone: &TimeZone) -> Result<Found> {
    let mut sizes = FIRST_SIZES;
    loop {
        let mut input = file;
        input.seek(SeekFrom::Start(0)).map_err(Error::io(format!("reading {name}")))?;
        let import = Import::new(input, format, zone.clone(), LINE_BYTES_MAX);
        match pass(import, sizes).map_err(Error::io(format!("reading {name}")))? {
            Pass::Done(found) => return Ok(found),
            Pass::Again(larger) => sizes = larger,
        }
    }
}

enum Pass {
    Done(Found),
    Again(SlotSizes),
}

fn pass(mut import: Import<&File>, sizes: SlotSizes) -> std::io::Result<Pass> {
    let mut slot = Slot::new(&sizes);
    let mut found = Found { entries: Vec::new(), used: SlotSizes::default(), largest: None, notes: Vec::new() };
    let mut broken_count = 0;
    loop {
        match import.next(&mut slot)? {
            Imported::Frame => found.add(import.newest(), &slot),
            Imported::Broken(broken) => {
                if let Some(larger) = larger(sizes, &broken.defect.reason) {
                    return Ok(Pass::Again(larger));
                }
                broken_count += 1;
                if broken_count <= BROKEN_TOLD_MAX {
                    found.notes.push(broken.to_string());
                }
            }
            Imported::End => break,
        }
    }
    if broken_count > BROKEN_TOLD_MAX {
        found.notes.push(format!("and {} more broken lines", broken_count - BROKEN_TOLD_MAX));
    }
    Ok(Pass::Done(found))
}

/// Sizes with which a frame that was too big would have fitted; `None` when it was broken in another way or is above every
/// limit.
fn larger(sizes: SlotSizes, reason: &Reason) -> Option<SlotSizes> {
    let Reason::TooBig(TooBig { plane, needed, .. }) = *reason else { return None };
    let grown =
        |size: usize, limit: usize| (size < needed && needed <= limit).then(|| needed.next_power_of_two().min(limit));
    match plane {
        "JPEG" => grown(sizes.jpeg, PICTURE_BYTES_MAX).map(|jpeg| SlotSizes { jpeg, ..sizes }),
        "side plane" => grown(sizes.side, SIDE_PLANE_BYTES_MAX).map(|side| SlotSizes { side, ..sizes }),
        _ => None,
    }
}

impl Found {
    /// Remembers the frame in `slot`, whose bytes lie at `place`.
    fn add(&mut self, (offset, len): (u64, usize), slot: &Slot) {
        let frame = slot.frame(None);
        let meta = frame.meta;
        let reached = self.entries.last().map_or(meta.captured_at, |last| last.reached.max(meta.captured_at));
        self.entries.push(Entry {
            offset,
            len,
            sequence: meta.sequence,
            captured_at: meta.captured_at,
            reached,
            wall: meta.captured_wall,
            utc_offset_s: meta.utc_offset_s,
        });
        self.used.side = self.used.side.max(frame.side.len());
        if let Some(jpeg) = frame.jpeg {
            self.used.jpeg = self.used.jpeg.max(jpeg.bytes.len());
            let info = PictureInfo { format: PixelFormat::Jpeg, width: jpeg.width, height: jpeg.height, stride: 0 };
            let largest = self.largest.get_or_insert(info);
            largest.width = largest.width.max(info.width);
            largest.height = largest.height.max(info.height);
        }
    }
}

impl ModlibTimeline {
    /// Reads the bytes of `entry` and fills the slot from them.
    fn read(&mut self, entry: &Entry) -> Result<()> {
        self.line.resize(entry.len, 0);
        let doing = || format!("reading {}", self.name);
        self.file.read_exact_at(&mut self.line, entry.offset).map_err(|error| Error::Io { doing: doing(), error })?;
        let read = match &mut self.parser {
            Parser::Json(reader) => reader.read_line(&self.line, &mut self.slot),
            Parser::Pickle(reader) => reader.read(&self.line, &mut self.slot),
        };
        read.map_err(|defect| {
            let byte = entry.offset + defect.byte as u64;
            let what = format!("{}, byte {byte}: {} (the file changed while it was open)", self.name, defect.reason);
            SourceError::Malformed(what)
        })?;
        // The parser counted and timed this frame by those that it read before; the index has it in the file's order.
        let meta = &mut self.slot.meta;
        meta.sequence = entry.sequence;
        meta.captured_at = entry.captured_at;
        meta.captured_wall = entry.wall;
        meta.utc_offset_s = entry.utc_offset_s;
        Ok(())
    }
}

impl Timeline for ModlibTimeline {
    fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    fn captured_at(&self, index: u64) -> Option<Timestamp> {
        self.entries.get(usize::try_from(index).ok()?).map(|entry| entry.captured_at)
    }

    fn seek_time(&self, at: Timestamp) -> u64 {
        self.entries.partition_point(|entry| entry.reached < at) as u64
    }

    fn frame(&mut self, index: u64) -> Result<Frame<'_>> {
        if self.newest != Some(index) {
            let entry = usize::try_from(index).ok().and_then(|index| self.entries.get(index)).copied();
            let len = self.len();
            let entry = entry.ok_or_else(|| Error::Setting(format!("frame {index} of {len} does not exist")))?;
            self.newest = None;
            self.read(&entry)?;
            self.newest = Some(index);
        }
        Ok(self.slot.frame(None))
    }
}
