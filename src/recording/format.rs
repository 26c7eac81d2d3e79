#![doc = include_str!("../../docs/format.md")]

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::crc;

/// Newest version that this build writes and reads.
pub const VERSION: u16 = 1;
/// First bytes of a recording.
pub const FRONT_MAGIC: [u8; 8] = [0x89, b'K', b'N', b'R', 0x0D, 0x0A, 0x1A, 0x0A];
/// First bytes of a record.
pub const RECORD_MAGIC: [u8; 4] = [0xF1, b'K', b'N', 0x8E];
/// First bytes of the last 64 bytes of a closed recording.
pub const END_MAGIC: [u8; 8] = [0xF1, b'K', b'N', 0x8E, b'E', b'N', b'D', 0x0A];
/// Records begin at multiples of this and are multiples of it long.
pub const ALIGN: u64 = 64;
/// Bytes of a record header.
pub const HEADER_BYTES: usize = 64;
/// Largest header, section table and head bodies together.
pub const HEAD_BYTES_MAX: usize = 128 * 1024;
/// Frames between two index records, at most.
pub const INDEX_FRAMES_MAX: usize = 1024;
/// Sections of one record that a reader looks at; further ones are skipped.
pub const SECTIONS_MAX: usize = 64;
/// Page sizes that a recording may have.
pub const PAGE_SIZES: [u32; 3] = [4 * 1024, 16 * 1024, 64 * 1024];
/// Largest growth step.
pub const STEP_BYTES_MAX: u64 = 1 << 30;
/// Where the hints for followers lie in the front.
pub const HINTS_OFFSET: usize = 512;

/// `n`, rounded up to the next multiple of `to` (a power of two).
pub const fn round_up(n: u64, to: u64) -> u64 {
    (n + (to - 1)) & !(to - 1)
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum RecordKind {
    /// What is known before the first frame.
    Session = 1,
    /// One frame with everything of it.
    Frame = 2,
    /// Lost frames.
    Loss = 3,
    /// Bookmark, trigger, note.
    Event = 4,
    /// Both clocks at one instant.
    Clock = 5,
    /// Where the newest frames are.
    Index = 6,
    /// Room that is not used.
    Padding = 7,
    /// The end of a closed recording.
    Footer = 8,
}

impl RecordKind {
    /// The kind of the number that files store, if this build knows it.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Session,
            2 => Self::Frame,
            3 => Self::Loss,
            4 => Self::Event,
            5 => Self::Clock,
            6 => Self::Index,
            7 => Self::Padding,
            8 => Self::Footer,
            _ => return None,
        })
    }

    /// The name in messages and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Frame => "frame",
            Self::Loss => "loss",
            Self::Event => "event",
            Self::Clock => "clock",
            Self::Index => "index",
            Self::Padding => "padding",
            Self::Footer => "footer",
        }
    }
}

/// Section types.
pub mod section {
    /// Postcard body.
    pub const BODY: u16 = 1;
    /// Columns of results.
    pub const RESULTS: u16 = 2;
    /// Pixels or JPEG.
    pub const PICTURE: u16 = 3;
    /// Masks and heat maps.
    pub const SIDE: u16 = 4;
    /// The sensor's own bytes.
    pub const SENSOR: u16 = 5;
    /// Id, geometry, and what is known before the first frame.
    pub const SESSION: u16 = 16;
    /// Sums over all records before this one.
    pub const TOTALS: u16 = 17;
    /// Index entries.
    pub const ENTRIES: u16 = 18;
    /// The end mark.
    pub const END: u16 = 19;
    /// Flag of a section whose body is bulk.
    pub const FLAG_BULK: u16 = 1;
}

/// The first 64 bytes of a recording.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Front {
    /// [`FRONT_MAGIC`].
    pub magic: [u8; 8],
    /// [`VERSION`].
    pub version: U16,
    /// Zero.
    pub reserved_a: U16,
    /// Page size and offset of the first record.
    pub page_bytes: U32,
    /// Unique to the file.
    pub id: [u8; 16],
    /// Growth step.
    pub step_bytes: U64,
    /// Longest record.
    pub record_bytes_max: U32,
    /// Zero.
    pub reserved_b: [u8; 16],
    /// CRC-32C of the bytes before.
    pub crc: U32,
}

/// Where things lie in one file; the same in the front and in every session section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Unique to the file; seeds every checksum.
    pub id: [u8; 16],
    /// Growth step in bytes.
    pub step_bytes: u64,
    /// Page size; the first record lies there.
    pub page_bytes: u32,
    /// No record but padding is longer.
    pub record_bytes_max: u32,
}

impl Geometry {
    /// True when every number is in the range that the format allows.
    pub fn is_valid(&self) -> bool {
        let page = u64::from(self.page_bytes);
        PAGE_SIZES.contains(&self.page_bytes)
            && self.step_bytes > 0
            && self.step_bytes % page == 0
            && self.step_bytes <= STEP_BYTES_MAX
            && u64::from(self.record_bytes_max) * 4 <= self.step_bytes
            && self.record_bytes_max as usize >= HEADER_BYTES
    }
}

impl Front {
    /// The front of a file with that geometry.
    pub fn new(geometry: &Geometry) -> Self {
        let mut front = Self {
            magic: FRONT_MAGIC,
            version: VERSION.into(),
            reserved_a: 0.into(),
            page_bytes: geometry.page_bytes.into(),
            id: geometry.id,
            step_bytes: geometry.step_bytes.into(),
            record_bytes_max: geometry.record_bytes_max.into(),
            reserved_b: [0; 16],
            crc: 0.into(),
        };
        front.crc = front.checksum().into();
        front
    }

    /// What `crc` should be.
    pub fn checksum(&self) -> u32 {
        crc::update(0, &self.as_bytes()[..60])
    }

    /// True when magic and checksum are right.
    pub fn is_intact(&self) -> bool {
        self.magic == FRONT_MAGIC && self.checksum() == self.crc.get()
    }

    /// The numbers of this front, unchecked.
    pub fn geometry(&self) -> Geometry {
        Geometry {
            id: self.id,
            step_bytes: self.step_bytes.get(),
            page_bytes: self.page_bytes.get(),
            record_bytes_max: self.record_bytes_max.get(),
        }
    }
}

/// The header of every record.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Header {
    /// [`RECORD_MAGIC`].
    pub magic: [u8; 4],
    /// [`RecordKind`] as a number.
    pub kind: u8,
    /// Zero.
    pub flags: u8,
    /// Entries of the section table.
    pub section_count: U16,
    /// The whole record.
    pub total_bytes: U32,
    /// Header, section table, head bodies.
    pub head_bytes: U32,
    /// Records before this one.
    pub sequence: U64,
    /// Frames before this one.
    pub frames: U64,
    /// Capture time or time of writing.
    pub time: I64,
    /// Largest capture time so far.
    pub time_max: I64,
    /// Newest index record before this one.
    pub previous_index: U64,
    /// Checksum of the bulk.
    pub bulk_crc: U32,
    /// Checksum of the head.
    pub head_crc: U32,
}

/// One entry of a section table.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Section {
    /// One of [`section`].
    pub kind: U16,
    /// [`section::FLAG_BULK`] or zero.
    pub flags: U16,
    /// From the start of the record.
    pub offset: U32,
    /// Bytes of the body.
    pub length: U32,
    /// Zero.
    pub reserved: U32,
}

/// One entry of an index record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct IndexEntry {
    /// Where the frame record begins; 0 in memory only: the frame is missing.
    pub offset: U64,
    /// Its capture time.
    pub captured_at: I64,
    /// Largest capture time up to it.
    pub time_max: I64,
}

/// The bulk part of a footer: the last 64 bytes of a closed recording.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct EndMark {
    /// [`END_MAGIC`].
    pub magic: [u8; 8],
    /// Where the footer record begins.
    pub footer_offset: U64,
    /// Zero.
    pub reserved: [u8; 48],
}

const _: () = assert!(size_of::<Front>() == 64);
const _: () = assert!(core::mem::offset_of!(Front, crc) == 60);
const _: () = assert!(size_of::<Header>() == HEADER_BYTES);
const _: () = assert!(core::mem::offset_of!(Header, sequence) == 16);
const _: () = assert!(core::mem::offset_of!(Header, previous_index) == 48);
const _: () = assert!(core::mem::offset_of!(Header, head_crc) == 60);
const _: () = assert!(size_of::<Section>() == 16);
const _: () = assert!(size_of::<IndexEntry>() == 24);
const _: () = assert!(size_of::<EndMark>() == 64);

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// All 64 bytes of the header are zero: nothing was ever committed here.
    #[error("no record was written here")]
    Unwritten,
    /// The first bytes are not a record's.
    #[error("no record begins here (found {found:#010x})")]
    NoMagic {
        /// The four bytes, little-endian.
        found: u32,
    },
    /// A length is outside of its limits.
    #[error("a length is out of range (head {head_bytes}, total {total_bytes} bytes)")]
    Length {
        /// Length of the head as found.
        head_bytes: u32,
        /// Length of the record as found.
        total_bytes: u32,
    },
    /// The file ends before the record does.
    #[error("the file ends {missing} bytes before the record does")]
    Cut {
        /// Bytes that are not there.
        missing: u64,
    },
    /// The head was changed.
    #[error("the checksum of the head is {found:#010x}, expected {expected:#010x}")]
    HeadChecksum {
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// The bulk bytes were changed.
    #[error("the checksum of picture and other bulk bytes is {found:#010x}, expected {expected:#010x}")]
    BulkChecksum {
        /// As stored.
        expected: u32,
        /// As computed.
        found: u32,
    },
    /// The system could not read it.
    #[error("it cannot be read (error {errno})")]
    Unreadable {
        /// The system's error number.
        errno: i32,
    },
    /// Checksums hold but a section lies outside its record.
    #[error("section {section} lies outside its record")]
    Section {
        /// Its number in the table.
        section: u16,
    },
    /// Checksums hold but a body does not say what its kind should.
    #[error("the {what} cannot be decoded")]
    Body {
        /// Which part.
        what: &'static str,
    },
    /// The record is intact but is not the one that was looked for.
    #[error("another record lies here")]
    Other,
}

impl Header {
    /// Reads a header and bounds its lengths; says nothing about its checksum.
    ///
    /// `room`: bytes from the start of the record to the end of the file.
    ///
    /// # Errors
    /// The bytes cannot be a record. [`RecordError::Cut`] only for a header that could be one.
    pub fn bounded(bytes: &[u8], geometry: &Geometry, room: u64) -> Result<Self, RecordError> {
        let Ok((header, _)) = Self::read_from_prefix(bytes) else {
            return Err(RecordError::Cut { missing: (HEADER_BYTES - bytes.len()) as u64 });
        };
        if header.magic != RECORD_MAGIC {
            let unwritten = header.as_bytes().iter().all(|&byte| byte == 0);
            let found = u32::from_le_bytes(header.magic);
            return Err(if unwritten { RecordError::Unwritten } else { RecordError::NoMagic { found } });
        }
        let (head, total) = (header.head_bytes.get(), header.total_bytes.get());
        let most = if header.is(RecordKind::Padding) { geometry.step_bytes } else { geometry.record_bytes_max.into() };
        let aligned = head % ALIGN as u32 == 0 && total % ALIGN as u32 == 0;
        let table = HEADER_BYTES + size_of::<Section>() * usize::from(header.section_count.get());
        let in_range = head as usize >= table && head <= total && head as usize <= HEAD_BYTES_MAX;
        if !aligned || !in_range || u64::from(total) > most {
            return Err(RecordError::Length { head_bytes: head, total_bytes: total });
        }
        if u64::from(head) > room {
            return Err(RecordError::Cut { missing: u64::from(total) - room });
        }
        Ok(header)
    }

    /// True when the record is of that kind.
    pub fn is(&self, kind: RecordKind) -> bool {
        self.kind == kind as u8
    }

    /// The kind, if this build knows it.
    pub fn record_kind(&self) -> Option<RecordKind> {
        RecordKind::from_code(self.kind)
    }

    /// Checksum of a head whose first bytes are this header. `rest`: the head from byte 64 on.
    pub fn head_checksum(&self, seed: u32, rest: &[u8]) -> u32 {
        crc::update(crc::update(seed, &self.as_bytes()[..60]), rest)
    }
}

/// A head whose checksum holds: header, section table and head bodies. Holding one proves nothing about the bulk.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The header, copied out.
    pub header: Header,
    /// Where the record begins in the file.
    pub offset: u64,
    bytes: &'a [u8],
}

impl<'a> Head<'a> {
    /// Checks the head at the start of `bytes`, which must hold at least `head_bytes` of it.
    ///
    /// # Errors
    /// As [`Header::bounded`], and [`RecordError::HeadChecksum`].
    pub fn parse(bytes: &'a [u8], offset: u64, geometry: &Geometry, room: u64) -> Result<Self, RecordError> {
        let header = Header::bounded(bytes, geometry, room)?;
        let head_bytes = header.head_bytes.get() as usize;
        let Some(head) = bytes.get(..head_bytes) else {
            return Err(RecordError::Cut { missing: (head_bytes - bytes.len()) as u64 });
        };
        let found = header.head_checksum(crc::seed(&geometry.id, offset), &head[HEADER_BYTES..]);
        let expected = header.head_crc.get();
        if found != expected {
            return Err(RecordError::HeadChecksum { expected, found });
        }
        let total = u64::from(header.total_bytes.get());
        if total > room && !header.is(RecordKind::Padding) {
            return Err(RecordError::Cut { missing: total - room });
        }
        // A record takes at least its header: numbers beyond that would let a small file claim any number of frames.
        if header.frames.get().max(header.sequence.get()) > offset / ALIGN {
            return Err(RecordError::Body { what: "sequence" });
        }
        Ok(Self { header, offset, bytes: head })
    }

    /// Where the next record begins.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.header.total_bytes.get())
    }

    /// Bytes of the bulk part; 0 for padding, whose bulk means nothing.
    pub fn bulk_bytes(&self) -> usize {
        if self.header.is(RecordKind::Padding) {
            0
        } else {
            (self.header.total_bytes.get() - self.header.head_bytes.get()) as usize
        }
    }

    /// Compares the checksum of the bulk part.
    ///
    /// # Errors
    /// [`RecordError::BulkChecksum`].
    pub fn check_bulk(&self, bulk: &[u8], geometry: &Geometry) -> Result<(), RecordError> {
        let expected = self.header.bulk_crc.get();
        let found = crc::update(crc::seed(&geometry.id, self.offset), bulk);
        if found == expected { Ok(()) } else { Err(RecordError::BulkChecksum { expected, found }) }
    }

    /// The section table. Its entries are what the writer wrote, but only as trustworthy as the writer.
    pub fn sections(&self) -> impl Iterator<Item = Section> + use<'a> {
        let count = usize::from(self.header.section_count.get());
        let table = self.bytes[HEADER_BYTES..].chunks_exact(size_of::<Section>());
        table.take(count.min(SECTIONS_MAX)).filter_map(|entry| Section::read_from_bytes(entry).ok())
    }

    /// The first section of type `kind`.
    pub fn section(&self, kind: u16) -> Option<Section> {
        self.sections().find(|section| section.kind.get() == kind)
    }

    /// The body of head section `kind`; `None` when there is none or it is not inside the head.
    pub fn body(&self, kind: u16) -> Option<&'a [u8]> {
        let section = self.section(kind)?;
        let start = section.offset.get() as usize;
        if section.is_bulk() || start < HEADER_BYTES {
            return None;
        }
        self.bytes.get(start..start.checked_add(section.length.get() as usize)?)
    }

    /// Where bulk section `kind` lies inside the bulk part; `None` when there is none.
    ///
    /// # Errors
    /// [`RecordError::Section`] when it lies outside.
    pub fn bulk_range(&self, kind: u16) -> Result<Option<core::ops::Range<usize>>, RecordError> {
        let Some(section) = self.section(kind) else { return Ok(None) };
        let outside = RecordError::Section { section: kind };
        let head_bytes = self.header.head_bytes.get();
        let start = section.offset.get().checked_sub(head_bytes).ok_or(outside)? as usize;
        let end = start + section.length.get() as usize;
        if !section.is_bulk() || end > self.bulk_bytes() {
            return Err(outside);
        }
        Ok(Some(start..end))
    }
}

impl Section {
    /// True when the body lies in the bulk part.
    pub fn is_bulk(&self) -> bool {
        self.flags.get() & section::FLAG_BULK != 0
    }
}
