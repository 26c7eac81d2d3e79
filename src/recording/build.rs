//! Lays records into the pages: places them, fills them in commit order, keeps the index.

use std::sync::atomic::{Ordering, fence};

use zerocopy::IntoBytes;

use super::body::{self, Totals};
use super::crc;
use super::format::{
    ALIGN, END_MAGIC, EndMark, Geometry, HEAD_BYTES_MAX, HEADER_BYTES, Header, INDEX_FRAMES_MAX, IndexEntry,
    RECORD_MAGIC, RecordKind, Section, round_up, section,
};
use super::settings::index_bytes_max;
use super::store::{PageStore, StoreError};
use crate::time::{ClockPair, Timestamp};

/// Sections that one record of ours has at most: body, results, picture, side, sensor.
const SECTIONS: usize = 5;
const TABLE_BYTES: usize = SECTIONS * size_of::<Section>();

/// One bulk section: type and bytes.
pub type Bulk<'a> = (u16, &'a [u8]);

/// Why a record was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// It is longer than the file's records may be.
    TooBig { needed: u64, limit: u64 },
    /// The pages failed.
    Store(StoreError),
}

impl WriteError {
    /// For records of our own, whose size is bounded by the geometry.
    pub fn store(self) -> StoreError {
        match self {
            Self::Store(error) => error,
            Self::TooBig { needed, limit } => unreachable!("an index of {needed} bytes, records of at most {limit}"),
        }
    }
}

impl From<StoreError> for WriteError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Head bodies of the next record, put together in memory that was made at the start.
#[derive(Debug)]
pub struct HeadBuilder {
    /// Section table of fixed room, then bodies; as they will lie at byte 64 of the record.
    bytes: Box<[u8]>,
    sections: heapless::Vec<Section, SECTIONS>,
    end: usize,
}

impl HeadBuilder {
    fn new() -> Self {
        let bytes = vec![0; HEAD_BYTES_MAX - HEADER_BYTES].into_boxed_slice();
        Self { bytes, sections: heapless::Vec::new(), end: TABLE_BYTES }
    }

    fn clear(&mut self) {
        self.sections.clear();
        self.end = TABLE_BYTES;
    }

    /// Adds a head section; `write` fills the room it gets and says how much of it counts. Nothing is no section.
    pub fn add(&mut self, kind: u16, write: impl FnOnce(&mut [u8]) -> usize) {
        let length = write(&mut self.bytes[self.end..]);
        if length > 0 {
            self.push(kind, 0, HEADER_BYTES + self.end, length);
            let end = self.end + length;
            self.end = round_up(end as u64, 8) as usize;
            self.bytes[end..self.end].fill(0);
        }
    }

    fn push(&mut self, kind: u16, flags: u16, offset: usize, length: usize) {
        let (offset, length) = ((offset as u32).into(), (length as u32).into());
        let section = Section { kind: kind.into(), flags: flags.into(), offset, length, reserved: 0.into() };
        self.sections.push(section).expect("records of ours have at most five sections");
    }

    /// Adds the bulk sections to the table and returns the bytes of the head and of the whole record.
    fn lay_out(&mut self, bulk: &[Bulk<'_>]) -> (usize, u64) {
        let end = HEADER_BYTES + self.end;
        let head_bytes = round_up(end as u64, ALIGN) as usize;
        self.bytes[self.end..head_bytes - HEADER_BYTES].fill(0);
        let mut total = head_bytes as u64;
        for (kind, bytes) in bulk.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            self.push(*kind, section::FLAG_BULK, total as usize, bytes.len());
            total = round_up(total + bytes.len() as u64, ALIGN);
        }
        let table = self.sections.as_bytes();
        self.bytes[..table.len()].copy_from_slice(table);
        self.bytes[table.len()..TABLE_BYTES].fill(0);
        (head_bytes, total)
    }
}

/// The file as far as it is written.
#[derive(Debug)]
pub struct Builder<S> {
    store: S,
    geometry: Geometry,
    position: u64,
    sequence: u64,
    frames: u64,
    time_max: i64,
    previous_index: u64,
    entries: heapless::Vec<IndexEntry, INDEX_FRAMES_MAX>,
    session: Box<[u8]>,
    /// Of the record that its caller puts together.
    head: HeadBuilder,
    /// Of index records and footers, which may go in between.
    own_head: HeadBuilder,
    /// Largest index record; also bounds the footer.
    index_bytes: u64,
    /// Bytes that closing may need behind the newest record.
    reserve: u64,
    /// End of the last padding before a sync: nothing was written since.
    fresh: u64,
}

impl<S: PageStore> Builder<S> {
    pub fn new(store: S, geometry: Geometry, session: Box<[u8]>) -> Self {
        // Two index records (the last, and one at a step boundary), the footer (smaller than an index), padding.
        let index_bytes = index_bytes_max(session.len());
        let reserve = 3 * index_bytes + u64::from(geometry.page_bytes);
        Self {
            store,
            geometry,
            position: geometry.page_bytes.into(),
            sequence: 0,
            frames: 0,
            time_max: i64::MIN,
            previous_index: 0,
            entries: heapless::Vec::new(),
            session,
            head: HeadBuilder::new(),
            own_head: HeadBuilder::new(),
            index_bytes,
            reserve,
            fresh: 0,
        }
    }

    pub fn frames(&self) -> u64 {
        self.frames
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    /// Where the file would end if a record of so many bytes were appended and it were closed then; at most.
    pub fn closed_bytes_with(&self, record_bytes: u64) -> u64 {
        let step = self.geometry.step_bytes;
        let end = self.position + record_bytes + self.reserve;
        // A record that does not fit before the end of the step begins behind it, after an index.
        let crosses = end / step > self.position / step;
        end + if crosses { self.index_bytes + record_bytes.max(self.index_bytes) } else { 0 }
    }

    pub fn store(&self) -> &S {
        &self.store
    }

    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// True when an index record must go before the next frame.
    pub fn index_is_full(&self) -> bool {
        self.entries.is_full()
    }

    /// Head of the next record, empty.
    pub fn head(&mut self) -> &mut HeadBuilder {
        self.head.clear();
        &mut self.head
    }

    /// Lets followers see what is written.
    pub fn publish(&mut self, durable: u64) {
        self.store.publish(self.position, self.frames, durable);
    }

    /// Writes the session record.
    pub fn session(&mut self, now: ClockPair) -> Result<(), WriteError> {
        self.head.clear();
        self.head.add(section::SESSION, |out| put(out, &self.session));
        self.small(RecordKind::Session, &Totals::default(), now).map(|_| ())
    }

    /// Writes a record whose head was put together, without bulk.
    pub fn small(&mut self, kind: RecordKind, totals: &Totals, now: ClockPair) -> Result<u64, WriteError> {
        let laid_out = self.head.lay_out(&[]);
        self.place(laid_out.1, self.reserve, totals, now)?;
        Ok(self.fill(kind, laid_out, &[], now.monotonic.as_ns()))
    }

    /// Writes a frame whose head was put together, and notes it for the next index.
    pub fn frame(
        &mut self,
        bulk: &[Bulk<'_>],
        captured_at: Timestamp,
        totals: &Totals,
        now: ClockPair,
    ) -> Result<u64, WriteError> {
        let laid_out = self.head.lay_out(bulk);
        let limit = u64::from(self.geometry.record_bytes_max);
        if laid_out.1 > limit {
            return Err(WriteError::TooBig { needed: laid_out.1, limit });
        }
        self.place(laid_out.1, self.reserve, totals, now)?;
        let time = captured_at.as_ns();
        self.time_max = self.time_max.max(time);
        let offset = self.fill(RecordKind::Frame, laid_out, bulk, time);
        let (captured_at, time_max) = (time.into(), self.time_max.into());
        self.entries
            .push(IndexEntry { offset: offset.into(), captured_at, time_max })
            .expect("a full index was written");
        self.frames += 1;
        Ok(offset)
    }

    /// Writes an index of the frames since the last one.
    pub fn index(&mut self, totals: &Totals, now: ClockPair) -> Result<(), WriteError> {
        self.place(self.index_bytes, 0, totals, now)?;
        self.fill_index(totals, now);
        Ok(())
    }

    /// Writes the footer.
    pub fn footer(&mut self, totals: &Totals, now: ClockPair) -> Result<(), WriteError> {
        self.place(self.index_bytes, 0, totals, now)?;
        let footer_offset = self.position.into();
        let end = EndMark { magic: END_MAGIC, footer_offset, reserved: [0; 48] };
        let bulk = [(section::END, end.as_bytes())];
        let head = &mut self.own_head;
        head.clear();
        head.add(section::SESSION, |out| put(out, &self.session));
        head.add(section::TOTALS, |out| body::write_totals(totals, out));
        let laid_out = head.lay_out(&bulk);
        std::mem::swap(&mut self.head, &mut self.own_head);
        self.fill(RecordKind::Footer, laid_out, &bulk, now.monotonic.as_ns());
        Ok(())
    }

    /// Cuts the file off.
    pub fn close(&mut self) -> Result<(), StoreError> {
        self.store.close(self.position)
    }

    /// Fills the page that the newest record ends in, so that the next record begins on one that no sync has touched.
    /// Returns where; `None` when nothing was written since the last time.
    pub fn fresh_page(&mut self, now: ClockPair) -> Option<u64> {
        if self.position == self.fresh {
            return None;
        }
        let end = round_up(self.position, self.geometry.page_bytes.into());
        if end > self.position {
            self.pad_to(end, now);
        }
        self.fresh = self.position;
        Some(self.position)
    }

    /// Makes `bytes` at `position` writable, in one step, with `reserve` more behind them. Writes padding and the index of a step
    /// boundary when they are due; the head that waits in `self.head` stays as it is.
    fn place(&mut self, bytes: u64, reserve: u64, totals: &Totals, now: ClockPair) -> Result<(), WriteError> {
        let step = self.geometry.step_bytes;
        if self.position % step != 0 && self.position % step + bytes > step {
            let boundary = (self.position / step + 1) * step;
            // The next step first: padding up to a step that never comes would be for nothing.
            self.store.reach(boundary + self.index_bytes + bytes + reserve)?;
            self.pad_to(boundary, now);
        }
        if self.position % step == 0 {
            self.store.reach(self.position + self.index_bytes + bytes + reserve)?;
            self.fill_index(totals, now);
        }
        self.store.reach(self.position + bytes + reserve)?;
        Ok(())
    }

    /// Writes an index record at `position`, where there is room.
    fn fill_index(&mut self, totals: &Totals, now: ClockPair) {
        let head = &mut self.own_head;
        head.clear();
        head.add(section::SESSION, |out| put(out, &self.session));
        head.add(section::TOTALS, |out| body::write_totals(totals, out));
        head.add(section::ENTRIES, |out| put(out, self.entries.as_bytes()));
        let laid_out = head.lay_out(&[]);
        std::mem::swap(&mut self.head, &mut self.own_head);
        let offset = self.fill(RecordKind::Index, laid_out, &[], now.monotonic.as_ns());
        std::mem::swap(&mut self.head, &mut self.own_head);
        self.previous_index = offset;
        self.entries.clear();
    }

    /// Writes padding up to `end`, in the room that was reached behind the newest record.
    fn pad_to(&mut self, end: u64, now: ClockPair) {
        let offset = self.position;
        let seed = crc::seed(&self.geometry.id, offset);
        let mut header = self.header(RecordKind::Padding, HEADER_BYTES, end - offset, now.monotonic.as_ns());
        header.bulk_crc = seed.into();
        header.head_crc = header.head_checksum(seed, &[]).into();
        self.store.area(offset, HEADER_BYTES).copy_from_slice(header.as_bytes());
        self.advance(end - offset);
    }

    /// Writes the record whose head was put together, in commit order, and returns its offset.
    fn fill(&mut self, kind: RecordKind, (head_bytes, total): (usize, u64), bulk: &[Bulk<'_>], time: i64) -> u64 {
        let offset = self.position;
        let seed = crc::seed(&self.geometry.id, offset);
        let mut header = self.header(kind, head_bytes, total, time);
        header.section_count = (self.head.sections.len() as u16).into();
        let (head, bulk_area) = self.store.area(offset, total as usize).split_at_mut(head_bytes);
        header.bulk_crc = fill_bulk(seed, bulk, bulk_area).into();
        let rest = &self.head.bytes[..head_bytes - HEADER_BYTES];
        head[HEADER_BYTES..].copy_from_slice(rest);
        header.head_crc = header.head_checksum(seed, rest).into();
        // A process that dies here leaves a zero header: nothing was committed.
        fence(Ordering::Release);
        head[..HEADER_BYTES].copy_from_slice(header.as_bytes());
        self.advance(total);
        offset
    }

    fn header(&self, kind: RecordKind, head_bytes: usize, total: u64, time: i64) -> Header {
        Header {
            magic: RECORD_MAGIC,
            kind: kind as u8,
            flags: 0,
            section_count: 0.into(),
            total_bytes: (total as u32).into(),
            head_bytes: (head_bytes as u32).into(),
            sequence: self.sequence.into(),
            frames: self.frames.into(),
            time: time.into(),
            time_max: self.time_max.into(),
            previous_index: self.previous_index.into(),
            bulk_crc: 0.into(),
            head_crc: 0.into(),
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.position += bytes;
        self.sequence += 1;
    }
}

/// Copies the bulk sections, each padded to 64 bytes, and returns their checksum.
fn fill_bulk(seed: u32, bulk: &[Bulk<'_>], area: &mut [u8]) -> u32 {
    let (mut crc, mut rest) = (seed, area);
    for (_, bytes) in bulk.iter().filter(|(_, bytes)| !bytes.is_empty()) {
        let (body, after) = rest.split_at_mut(round_up(bytes.len() as u64, ALIGN) as usize);
        crc = crc::copy(crc, bytes, body);
        crc = crc::zero(crc, &mut body[bytes.len()..]);
        rest = after;
    }
    crc
}

fn put(out: &mut [u8], bytes: &[u8]) -> usize {
    out[..bytes.len()].copy_from_slice(bytes);
    bytes.len()
}
