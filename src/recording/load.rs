//! Loads records from a medium, checked, and walks over them: what opening, reading, verifying and following share.

use std::ops::Range;

use zerocopy::FromBytes;

use super::format::{ALIGN, Geometry, HEADER_BYTES, Head, Header, RECORD_MAGIC, RecordError, RecordKind, round_up};
use super::medium::Medium;

/// Bytes read when a record's length is not known yet: most heads, and headless records whole. More would be copied for
/// nothing (seek in a million headless frames: 2.4 µs with 4,096).
const PROBE_BYTES: usize = 1024;
/// Bytes read when the record begins where the bytes read before end: somebody goes through small records in order.
const FOLLOWING_BYTES: usize = 16 << 10;
/// What cannot be read is skipped up to the next multiple of this: disks and kernels fail by the page.
const UNREADABLE_BYTES: u64 = 4096;
/// Most bytes read at once on the guess that a record has them.
const AHEAD_BYTES_MAX: usize = 1 << 20;
/// Bytes read at a time when the next record is searched for.
const SEARCH_BYTES: usize = 64 << 10;

/// Bytes that were read last.
#[derive(Debug, Default)]
pub struct Window {
    bytes: Vec<u8>,
    offset: u64,
    filled: usize,
}

impl Window {
    /// Forgets what was read: the medium may have changed.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// Takes memory for records of so many bytes now.
    pub fn make_room(&mut self, bytes: usize) {
        if self.bytes.len() < bytes {
            self.bytes.resize(bytes, 0);
        }
    }

    /// `len` bytes from `offset` on, or fewer at the end of the medium.
    fn get<M: Medium + ?Sized>(
        &mut self,
        medium: &M,
        offset: u64,
        len: usize,
        ahead: usize,
    ) -> Result<&[u8], RecordError> {
        if !self.holds(offset, len) {
            let end = self.offset + self.filled as u64;
            let small = (1..=FOLLOWING_BYTES).contains(&self.filled);
            let follows = ahead == PROBE_BYTES && small && (self.offset..=end).contains(&offset);
            let want = len.max(if follows { FOLLOWING_BYTES } else { ahead });
            self.make_room(want);
            self.filled = 0;
            let unreadable = |e: std::io::Error| RecordError::Unreadable { errno: e.raw_os_error().unwrap_or(0) };
            self.filled = match medium.fill(offset, &mut self.bytes[..want]) {
                // What lies beyond the bytes that are needed may be what cannot be read.
                Err(_) if want > len => medium.fill(offset, &mut self.bytes[..len]),
                read => read,
            }
            .map_err(unreadable)?;
            self.offset = offset;
        }
        let start = (offset - self.offset) as usize;
        Ok(&self.bytes[start..self.filled.min(start + len)])
    }

    /// True when `len` bytes from `offset` on are here.
    fn holds(&self, offset: u64, len: usize) -> bool {
        offset >= self.offset && offset - self.offset + len as u64 <= self.filled as u64
    }

    /// All bytes that are here from `offset` on.
    fn from(&self, offset: u64) -> &[u8] {
        let start = offset.checked_sub(self.offset).map_or(self.filled, |start| start.min(self.filled as u64) as usize);
        &self.bytes[start..self.filled]
    }
}

/// Loads the head of the record at `offset`, checked. `end`: where records must end (the file's length, or what is committed).
///
/// # Errors
/// There is no intact head.
pub fn head<'w, M: Medium + ?Sized>(
    medium: &M,
    window: &'w mut Window,
    geometry: &Geometry,
    offset: u64,
    end: u64,
) -> Result<Head<'w>, RecordError> {
    let room = end.saturating_sub(offset);
    let most = room.min(HEADER_BYTES as u64) as usize;
    let header = Header::bounded(window.get(medium, offset, most, PROBE_BYTES)?, geometry, room)?;
    let bytes = window.get(medium, offset, header.head_bytes.get() as usize, PROBE_BYTES)?;
    Head::parse(bytes, offset, geometry, room)
}

/// Loads a whole record, head and bulk checked. `ahead`: how many bytes it is thought to have, to read it at once; only a
/// guess, 0 when there is none.
///
/// # Errors
/// There is no intact record.
pub fn record<'w, M: Medium + ?Sized>(
    medium: &M,
    window: &'w mut Window,
    geometry: &Geometry,
    offset: u64,
    end: u64,
    ahead: usize,
) -> Result<(Head<'w>, &'w [u8]), RecordError> {
    let room = end.saturating_sub(offset);
    let ahead = if ahead == 0 || ahead > AHEAD_BYTES_MAX { PROBE_BYTES } else { ahead };
    let most = room.min(HEADER_BYTES as u64) as usize;
    let header = Header::bounded(window.get(medium, offset, most, ahead)?, geometry, room)?;
    if !window.holds(offset, checked_bytes(&header)) {
        // The length is believed because the head's checksum holds; what is then read is checked again, as it lies in
        // memory now.
        let total = checked_bytes(&head(medium, window, geometry, offset, end)?.header);
        window.get(medium, offset, total, 0)?;
    }
    let bytes = window.from(offset);
    let head = Head::parse(bytes, offset, geometry, room)?;
    let (start, total) = (head.header.head_bytes.get() as usize, checked_bytes(&head.header));
    let bulk = bytes.get(start..total).ok_or(RecordError::Cut { missing: (total - bytes.len().min(total)) as u64 })?;
    head.check_bulk(bulk, geometry)?;
    Ok((head, bulk))
}

/// Bytes of a record that its checksums cover: all of it, but for padding, whose bulk means nothing.
fn checked_bytes(header: &Header) -> usize {
    let bytes = if header.is(RecordKind::Padding) { header.head_bytes } else { header.total_bytes };
    bytes.get() as usize
}

/// What a walk found.
#[derive(Debug)]
pub enum Found {
    /// A record with an intact head.
    Record {
        /// Where it begins.
        offset: u64,
        /// Its header.
        header: Header,
    },
    /// No intact record from here to `to`, where one begins.
    Damage {
        /// Where it begins.
        from: u64,
        /// Where it ends.
        to: u64,
        /// What is wrong with the first record of it.
        reason: RecordError,
    },
    /// No record follows. `reason`: what lies here, unless nothing was ever written.
    End {
        /// Where the last record ends.
        at: u64,
        /// What is wrong with what lies there.
        reason: Option<RecordError>,
    },
}

/// Goes from record to record, over damage.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Where the next record should begin.
    pub position: u64,
    /// Where records must end.
    pub end: u64,
}

impl Walk {
    /// The next record, damage, or end.
    pub fn next<M: Medium + ?Sized>(&mut self, medium: &M, window: &mut Window, geometry: &Geometry) -> Found {
        let at = self.position;
        if at >= self.end {
            return Found::End { at: self.end, reason: None };
        }
        match head(medium, window, geometry, at, self.end) {
            Ok(head) => {
                // Padding may be cut off: its bytes mean nothing.
                self.position = head.end().min(self.end);
                Found::Record { offset: at, header: head.header }
            }
            Err(reason) => match search(medium, window, geometry, at + 1, self.end) {
                Some(to) => {
                    self.position = to;
                    Found::Damage { from: at, to, reason }
                }
                None => {
                    self.position = self.end;
                    let torn = (reason != RecordError::Unwritten).then_some(reason);
                    Found::End { at, reason: torn }
                }
            },
        }
    }
}

/// The first place at or after `from` where an intact head begins.
pub fn search<M: Medium + ?Sized>(
    medium: &M,
    window: &mut Window,
    geometry: &Geometry,
    from: u64,
    end: u64,
) -> Option<u64> {
    let mut block = vec![0; SEARCH_BYTES];
    let mut at = round_up(from, ALIGN);
    while at < end {
        let data = medium.next_data(at);
        if data.is_empty() {
            return None;
        }
        // Only what was written: reading a hole would make pages of it, which then count as written.
        let part = data.start & !(ALIGN - 1)..data.end.min(end);
        if let Some(found) = search_part(medium, window, geometry, part, end, &mut block) {
            return Some(found);
        }
        at = round_up(data.end, ALIGN);
    }
    None
}

/// As [`search`], in one part of the medium. `end`: where records must end.
fn search_part<M: Medium + ?Sized>(
    medium: &M,
    window: &mut Window,
    geometry: &Geometry,
    part: Range<u64>,
    end: u64,
    block: &mut [u8],
) -> Option<u64> {
    let mut at = part.start;
    while at < part.end {
        let want = (part.end - at).min(block.len() as u64) as usize;
        // An unreadable block is damage like any other; go on behind it, a page at a time.
        let page_end = (at / UNREADABLE_BYTES + 1) * UNREADABLE_BYTES;
        let little = want.min((page_end - at) as usize);
        let read = medium.fill(at, &mut block[..want]).or_else(|_| medium.fill(at, &mut block[..little]));
        let filled = match read {
            Ok(0) => return None,
            Ok(filled) => filled,
            Err(_) => {
                at = page_end;
                continue;
            }
        };
        // What was only allocated ahead is zero, and there may be a hundred megabytes of it.
        let bytes = if is_zero(&block[..filled]) { &[] } else { &block[..filled] };
        for (i, bytes) in bytes.chunks(ALIGN as usize).enumerate() {
            let offset = at + i as u64 * ALIGN;
            if bytes.starts_with(&RECORD_MAGIC) && head(medium, window, geometry, offset, end).is_ok() {
                return Some(offset);
            }
        }
        at += round_up(filled as u64, ALIGN);
    }
    None
}

/// True when every byte is zero; a pass without branches, as fast as memory.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(4096).all(|bytes| bytes.iter().fold(0, |all, &byte| all | byte) == 0)
}

/// True when a header of that kind may lie at the start of `bytes`: a cheap look before a checksum.
pub fn looks_like(bytes: &[u8], kinds: &[RecordKind]) -> bool {
    Header::read_from_prefix(bytes)
        .is_ok_and(|(header, _)| header.magic == RECORD_MAGIC && kinds.iter().any(|&kind| header.is(kind)))
}
