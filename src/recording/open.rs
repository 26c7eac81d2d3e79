//! Opens a recording, closed or not: finds its geometry, its newest index, and every frame. Changes nothing in the file.
//!
//! The algorithm is that of the specification, "Recovery".

use std::io;
use std::path::PathBuf;

use zerocopy::FromBytes;

use super::body::{self, Totals};
use super::columns;
use super::format::{
    END_MAGIC, EndMark, FRONT_MAGIC, Front, Geometry, HEAD_BYTES_MAX, HEADER_BYTES, Head, Header, IndexEntry,
    PAGE_SIZES, RecordError, RecordKind, STEP_BYTES_MAX, VERSION, section,
};
use super::load::{self, Found, Walk, Window};
use super::medium::Medium;
use super::session::{self, SessionHeader};
use crate::frame::FrameMeta;
use crate::time::{ClockPair, Timestamp};

/// Why a recording cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be opened or its length not be asked for.
    #[error("cannot open {}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
    /// The file holds no byte.
    #[error("the file is empty: nothing was recorded")]
    Empty,
    /// The first bytes are not ours, and no record of ours is anywhere in the file.
    #[error("this is not a .kinora recording (it begins with {found:02x?}, and no record is in it)")]
    NotARecording {
        /// The first bytes.
        found: [u8; 8],
    },
    /// The first bytes are ours, but the front behind them does not hold, and neither does any record.
    #[error("this begins as a .kinora recording, but in its {bytes} bytes neither the front nor any record is intact")]
    NothingLeft {
        /// Length of the file.
        bytes: u64,
    },
    /// The system could not read its first bytes, and no record was found that does without them.
    #[error("it cannot be read: {error}")]
    Unreadable {
        /// The system's answer.
        #[source]
        error: io::Error,
    },
    /// Written by a newer format.
    #[error("the recording has format version {version}, this program reads up to {supported}; use a newer kinora")]
    TooNew {
        /// Version of the file.
        version: u16,
        /// Newest version that this build reads.
        supported: u16,
    },
}

impl OpenError {
    /// What to say of a file whose front does not hold. `start`: its first bytes, zeros behind its end.
    pub(super) fn without_front(start: &[u8; 64], bytes: u64) -> Self {
        let found = *start.first_chunk().expect("64 bytes have 8");
        if found == FRONT_MAGIC { Self::NothingLeft { bytes } } else { Self::NotARecording { found } }
    }
}

/// Where index entries of a run of frames are.
#[derive(Debug)]
pub enum Entries {
    /// In an index record: where its first entry lies.
    Disk(u64),
    /// In memory: frames behind the newest index, or of a file whose index is damaged.
    Memory(Vec<IndexEntry>),
}

/// A run of frames without a gap.
#[derive(Debug)]
pub struct Block {
    /// Ordinal of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Largest capture time up to the last.
    pub time_max: i64,
    /// Where they are.
    pub entries: Entries,
}

/// What opening found out.
#[derive(Debug)]
pub struct Opened {
    /// Where things lie.
    pub geometry: Geometry,
    /// What was known before the first frame.
    pub header: SessionHeader,
    /// Runs of frames, in order.
    pub blocks: Vec<Block>,
    /// Sums over all records found.
    pub totals: Totals,
    /// The file was closed cleanly.
    pub finalized: bool,
    /// The first 64 bytes are not as they were written.
    pub front_damaged: bool,
    /// Where the last record ends.
    pub end: u64,
}

impl Opened {
    /// A recording of which nothing was read yet.
    pub fn empty(geometry: Geometry) -> Self {
        Self {
            geometry,
            header: SessionHeader::unknown(geometry.id),
            blocks: Vec::new(),
            totals: Totals::default(),
            finalized: false,
            front_damaged: false,
            end: geometry.page_bytes.into(),
        }
    }
}

/// Opens what lies on `medium`.
///
/// # Errors
/// It is not a recording that this build reads.
pub fn open<M: Medium>(medium: &M) -> Result<Opened, OpenError> {
    medium.expect_jumps(true);
    let opened = find(medium);
    medium.expect_jumps(false);
    opened
}

fn find<M: Medium>(medium: &M) -> Result<Opened, OpenError> {
    let mut window = Window::default();
    let (geometry, front_damaged) = find_geometry(medium, &mut window)?;
    let mut opening = Opening { medium, window, geometry, totals: Totals::default(), header: None };
    let footer = opening.footer();
    let finalized = footer.is_some();
    let (blocks, end) = match footer.map(|newest| opening.chain(newest)) {
        Some(Some(blocks)) => (blocks, medium.bytes()),
        _ => opening.recover(),
    };
    let header = match opening.header.take() {
        Some(header) => header,
        None => opening.first_session().unwrap_or_else(|| SessionHeader::unknown(geometry.id)),
    };
    Ok(Opened { geometry, header, blocks, totals: opening.totals, finalized, front_damaged, end })
}

/// The geometry, from the front or else from the first record that repeats it; true when the front is damaged.
fn find_geometry<M: Medium>(medium: &M, window: &mut Window) -> Result<(Geometry, bool), OpenError> {
    let mut bytes = [0; 64];
    let filled = medium.fill(0, &mut bytes);
    if medium.bytes() == 0 {
        return Err(OpenError::Empty);
    }
    let start = filled.as_ref().map_or(&[][..], |&filled| &bytes[..filled]);
    if let Ok(front) = Front::read_from_bytes(start) {
        let intact = front.is_intact();
        let version = front.version.get();
        if intact && version > VERSION {
            return Err(OpenError::TooNew { version, supported: VERSION });
        }
        if intact && front.geometry().is_valid() {
            return Ok((front.geometry(), false));
        }
    }
    let geometry = PAGE_SIZES.iter().find_map(|&page| geometry_at(medium, window, page.into()));
    match (geometry.or_else(|| search_geometry(medium, window)), filled) {
        (Some(geometry), _) => Ok((geometry, true)),
        (None, Err(error)) => Err(OpenError::Unreadable { error }),
        (None, Ok(_)) => Err(OpenError::without_front(&bytes, medium.bytes())),
    }
}

/// The geometry in the session section of the record at `offset`, if that record's checksum holds with it.
fn geometry_at<M: Medium>(medium: &M, window: &mut Window, offset: u64) -> Option<Geometry> {
    let mut bytes = vec![0; HEAD_BYTES_MAX];
    let filled = medium.fill(offset, &mut bytes[..HEADER_BYTES]).ok()?;
    if filled < HEADER_BYTES || !load::looks_like(&bytes, &SESSION_KINDS) {
        return None;
    }
    let filled = medium.fill(offset, &mut bytes).ok()?;
    let bytes = &bytes[..filled];
    // The session section is the first of its records: its place is read before the checksum can be known, and proved by it.
    let table = bytes.get(HEADER_BYTES..HEADER_BYTES + 16)?;
    let start = u32::from_le_bytes(*table[4..].first_chunk()?) as usize;
    let geometry = session::geometry(bytes.get(start..)?)?;
    load::head(medium, window, &geometry, offset, medium.bytes()).ok()?;
    Some(geometry)
}

const SESSION_KINDS: [RecordKind; 3] = [RecordKind::Session, RecordKind::Index, RecordKind::Footer];

fn search_geometry<M: Medium>(medium: &M, window: &mut Window) -> Option<Geometry> {
    let mut block = vec![0; 1 << 20];
    let mut at = 0;
    while at < medium.bytes() {
        let data = medium.next_data(at);
        at = data.start & !63;
        let want = data.end.saturating_sub(at).min(block.len() as u64) as usize;
        let filled = medium.fill(at, &mut block[..want]).unwrap_or(0);
        let places = block[..filled].chunks_exact(64).enumerate();
        for (i, _) in places.filter(|(_, bytes)| load::looks_like(bytes, &SESSION_KINDS)) {
            if let Some(geometry) = geometry_at(medium, window, at + i as u64 * 64) {
                return Some(geometry);
            }
        }
        // An unreadable block is skipped.
        at += if filled < 64 { block.len() } else { filled & !63 } as u64;
    }
    None
}

/// State of an opening.
struct Opening<'m, M> {
    medium: &'m M,
    window: Window,
    geometry: Geometry,
    totals: Totals,
    header: Option<SessionHeader>,
}

impl<M: Medium> Opening<'_, M> {
    fn head(&mut self, offset: u64) -> Result<Head<'_>, RecordError> {
        load::head(self.medium, &mut self.window, &self.geometry, offset, self.medium.bytes())
    }

    /// When the file was closed: the offset of its newest index. Takes session and totals from the footer.
    fn footer(&mut self) -> Option<u64> {
        let bytes = self.medium.bytes();
        let mut end = [0; 64];
        let filled = self.medium.fill(bytes.checked_sub(64)?, &mut end).ok()?;
        let mark = EndMark::read_from_bytes(&end[..filled]).ok()?;
        let offset = mark.footer_offset.get();
        if mark.magic != END_MAGIC || offset >= bytes {
            return None;
        }
        let (head, _) = load::record(self.medium, &mut self.window, &self.geometry, offset, bytes, 0).ok()?;
        if !head.header.is(RecordKind::Footer) || head.end() != bytes {
            return None;
        }
        self.totals = body::read_totals(head.body(section::TOTALS)?).ok()?;
        self.header = session::decode(head.body(section::SESSION)?).ok();
        Some(head.header.previous_index.get())
    }

    /// The runs of frames that index records list, from the newest back to the first; `None` when one is damaged.
    fn chain(&mut self, newest: u64) -> Option<Vec<Block>> {
        let mut blocks = Vec::new();
        let (mut offset, mut next_first) = (newest, None);
        while offset != 0 {
            let (block, previous) = self.index_at(offset)?;
            let joins = next_first.is_none_or(|next: u64| block.first + block.count == next);
            if !joins || previous >= offset {
                return None;
            }
            next_first = Some(block.first);
            if block.count > 0 {
                blocks.push(block);
            }
            offset = previous;
        }
        blocks.reverse();
        (next_first.is_none_or(|first| first == 0)).then_some(blocks)
    }

    /// The run of one index record, and the offset of the one before it.
    fn index_at(&mut self, offset: u64) -> Option<(Block, u64)> {
        let head = self.head(offset).ok()?;
        if !head.header.is(RecordKind::Index) {
            return None;
        }
        let place = head.section(section::ENTRIES);
        let bytes = head.body(section::ENTRIES).unwrap_or(&[]);
        let count = (bytes.len() / size_of::<IndexEntry>()) as u64;
        let first = head.header.frames.get().checked_sub(count)?;
        let entries = Entries::Disk(offset + place.map_or(0, |section| section.offset.get().into()));
        let block = Block { first, count, time_max: head.header.time_max.get(), entries };
        Some((block, head.header.previous_index.get()))
    }

    /// Every frame of a file that was not closed, or whose index is damaged; and where its last record ends.
    fn recover(&mut self) -> (Vec<Block>, u64) {
        // Those of a footer whose index is damaged are counted anew with what is found.
        self.totals = Totals::default();
        let boundary = self.newest_boundary();
        let mut found = self.walk(boundary.unwrap_or(self.geometry.page_bytes.into()));
        let chained = match found.newest_index {
            // Only the first record of the file begins a walk without an index before it.
            0 => boundary.is_none().then(Vec::new),
            newest => self.chain(newest),
        };
        let mut blocks = match chained {
            Some(blocks) => blocks,
            None => {
                found = self.walk_all();
                Vec::new()
            }
        };
        // Ordinals only rise, also from the index to what lies behind it.
        let covered = blocks.last().map_or(0, |block| block.first + block.count);
        found.entries.retain(|(ordinal, _)| *ordinal >= covered);
        self.check_bulk(&mut found);
        blocks.extend(found.blocks());
        (blocks, found.end)
    }

    /// The newest index record at a multiple of the growth step.
    fn newest_boundary(&mut self) -> Option<u64> {
        let step = self.geometry.step_bytes;
        let mut boundary = self.medium.bytes().saturating_sub(1) / step * step;
        while boundary > 0 {
            if self.head(boundary).is_ok_and(|head| head.header.is(RecordKind::Index)) {
                return Some(boundary);
            }
            boundary -= step;
        }
        None
    }

    /// Walks from an index record (or the first record) to the end. Frames that an index covers are left to it.
    fn walk(&mut self, from: u64) -> Walked {
        self.walk_from(from, true)
    }

    /// Walks over the whole file and keeps every frame: no index is needed.
    fn walk_all(&mut self) -> Walked {
        self.totals = Totals::default();
        self.walk_from(self.geometry.page_bytes.into(), false)
    }

    fn walk_from(&mut self, from: u64, trust_index: bool) -> Walked {
        let mut walked = Walked::default();
        let mut walk = Walk { position: from, end: self.medium.bytes() };
        loop {
            match walk.next(self.medium, &mut self.window, &self.geometry) {
                Found::End { at, .. } => {
                    walked.end = at;
                    return walked;
                }
                Found::Damage { .. } => {}
                Found::Record { offset, header } => self.take(offset, &header, trust_index, &mut walked),
            }
        }
    }

    fn take(&mut self, offset: u64, header: &Header, trust_index: bool, walked: &mut Walked) {
        match header.record_kind() {
            Some(RecordKind::Frame) => walked.push(offset, header),
            Some(RecordKind::Index) => {
                walked.newest_index = offset;
                walked.unchecked = walked.entries.len();
                if trust_index {
                    walked.clear();
                    self.take_totals(offset);
                }
            }
            Some(RecordKind::Session | RecordKind::Loss | RecordKind::Event | RecordKind::Clock) => {
                let _ = self.take_note(offset);
            }
            _ => {}
        }
    }

    fn take_totals(&mut self, offset: u64) {
        if let Ok(head) = load::head(self.medium, &mut self.window, &self.geometry, offset, self.medium.bytes()) {
            if let Some(Ok(totals)) = head.body(section::TOTALS).map(body::read_totals) {
                self.totals = totals;
            }
            if let Some(Ok(header)) = head.body(section::SESSION).map(session::decode) {
                self.header = Some(header);
            }
        }
    }

    /// Takes a small record into the account.
    fn take_note(&mut self, offset: u64) -> Option<()> {
        let head = load::head(self.medium, &mut self.window, &self.geometry, offset, self.medium.bytes()).ok()?;
        let totals = &mut self.totals;
        match head.header.record_kind()? {
            RecordKind::Session => {
                let header = session::decode(head.body(section::SESSION)?).ok()?;
                totals.clock = header.clock;
                self.header = Some(header);
            }
            RecordKind::Loss => {
                let (loss, _) = body::read_loss(head.body(section::BODY)?).ok()?;
                totals.lost = totals.lost.saturating_add(loss.count);
                totals.losses += 1;
                totals.newest_loss = offset;
            }
            RecordKind::Event => {
                totals.events += 1;
                totals.newest_event = offset;
            }
            RecordKind::Clock => {
                let (note, _) = body::read_clock(head.body(section::BODY)?).ok()?;
                totals.clock = note.pair;
                totals.clock_steps += u64::from(note.step_ns != 0);
                totals.newest_clock = offset;
            }
            _ => {}
        }
        Some(())
    }

    /// Drops frames behind the newest index whose bulk is damaged, and takes those that stay into the account.
    fn check_bulk(&mut self, walked: &mut Walked) {
        let mut meta = FrameMeta::new();
        let unchecked = walked.unchecked;
        let mut kept = 0;
        for i in 0..walked.entries.len() {
            let (ordinal, entry) = walked.entries[i];
            let offset = entry.offset.get();
            let end = self.medium.bytes();
            let head = if i < unchecked {
                load::head(self.medium, &mut self.window, &self.geometry, offset, end)
            } else {
                load::record(self.medium, &mut self.window, &self.geometry, offset, end, 0).map(|(head, _)| head)
            };
            let Ok(head) = head else { continue };
            let rows = head.body(section::RESULTS).map_or(0, columns::rows);
            let totals = &mut self.totals;
            totals.detections = totals.detections.saturating_add(rows);
            totals.last_captured_at = Timestamp::from_ns(head.header.time.get());
            if totals.first.is_none() {
                if let Some(Ok(_)) = head.body(section::BODY).map(|bytes| body::read_frame(bytes, &mut meta)) {
                    totals.first = Some(ClockPair { monotonic: meta.captured_at, wall: meta.captured_wall });
                }
            }
            walked.entries[kept] = (ordinal, entry);
            kept += 1;
        }
        walked.entries.truncate(kept);
    }

    /// The session record, when no index had it.
    fn first_session(&mut self) -> Option<SessionHeader> {
        let head = self.head(self.geometry.page_bytes.into()).ok()?;
        session::decode(head.body(section::SESSION)?).ok()
    }
}

/// What a walk found.
#[derive(Default)]
struct Walked {
    entries: Vec<(u64, IndexEntry)>,
    /// So many of the entries lie before the newest index.
    unchecked: usize,
    newest_index: u64,
    end: u64,
}

impl Walked {
    fn push(&mut self, offset: u64, header: &Header) {
        let ordinal = header.frames.get();
        // Ordinals only rise: a record that says otherwise was not written by a writer of ours.
        if self.entries.last().is_none_or(|(last, _)| *last < ordinal) {
            let entry = IndexEntry { offset: offset.into(), captured_at: header.time, time_max: header.time_max };
            self.entries.push((ordinal, entry));
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.unchecked = 0;
    }

    /// The entries as runs without gaps.
    fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        for &(ordinal, entry) in &self.entries {
            let time_max = entry.time_max.get();
            match blocks.last_mut() {
                Some(Block { first, count, entries: Entries::Memory(entries), time_max: block_max })
                    if *first + *count == ordinal =>
                {
                    entries.push(entry);
                    *count += 1;
                    *block_max = time_max;
                }
                _ => blocks.push(Block { first: ordinal, count: 1, time_max, entries: Entries::Memory(vec![entry]) }),
            }
        }
        blocks
    }
}

const _: () = assert!(STEP_BYTES_MAX <= u32::MAX as u64, "padding has a length of 32 bits");
