//! How a recording is written: settings, their ranges, and the geometry that follows from them.

use super::body::FRAME_BODY_BYTES_MAX;
use super::columns;
use super::file_store::CreateError;
use super::format::{ALIGN, Geometry, HEADER_BYTES, INDEX_FRAMES_MAX, IndexEntry, Section, round_up};
use super::session::{self, SessionHeader};
use crate::time::Span;

/// Growth steps of a file that are mapped at a time, at most: the one that is written, the next, and two that wait for their
/// sync. A disk that is further behind has the oldest unmapped before it is synced; the sync then is one of the whole file.
pub const STEPS_MAPPED_MAX: usize = 4;

/// When appended frames are put on the medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// So long after the last time; a power cut loses at most that much and what one running sync takes.
    Every(Span),
    /// Before `append` returns; a power cut loses nothing.
    EveryFrame,
    /// Only when the recording is closed; a power cut loses what the kernel did not write by itself (about 30 s).
    Never,
}

/// How a recording is written. `Default` is what `kinora record` uses.
#[derive(Clone, Debug, PartialEq)]
pub struct WriterSettings {
    /// When to sync. Default: every second.
    pub sync: SyncPolicy,
    /// Bytes that the file grows by, at least 64 KiB, at most 1 GiB; raised to four times the longest record and to whole
    /// pages. Default 64 MiB.
    pub growth_bytes: u64,
    /// Longest record, in bytes: what one frame with all its sections may take. Default 4 MiB;
    /// [`WriterSettings::for_frames`] computes it. At most 256 MiB.
    pub record_bytes_max: usize,
    /// A thread of its own grows the file, prefaults pages and syncs. `false`: all that happens inside `append`, which
    /// makes it slower and the same every time (the manual clock). Default true.
    pub helper: bool,
    /// Page size to lay the file out for: 4, 16 or 64 KiB; `None` asks the machine. Default `None`.
    pub page_size: Option<usize>,
    /// Bytes ahead of the newest record that are kept prefaulted; a few seconds' worth. Default 16 MiB.
    pub prefault_bytes: u64,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self {
            sync: SyncPolicy::Every(Span::from_s(1)),
            growth_bytes: 64 << 20,
            record_bytes_max: 4 << 20,
            helper: true,
            page_size: None,
            prefault_bytes: 16 << 20,
        }
    }
}

impl WriterSettings {
    /// The smallest file that the format allows: for tests.
    pub fn tiny() -> Self {
        Self {
            sync: SyncPolicy::Never,
            growth_bytes: 128 << 10,
            record_bytes_max: 32 << 10,
            helper: false,
            page_size: Some(4096),
            prefault_bytes: 0,
        }
    }

    /// Sets `record_bytes_max` for frames of at most these sizes (0: none), in bytes.
    #[must_use]
    pub fn for_frames(mut self, picture: usize, side: usize, sensor: usize) -> Self {
        self.record_bytes_max = record_bytes(picture, side, sensor);
        self
    }
}

/// Longest record of a frame with a picture, side plane and sensor bytes of at most these sizes.
pub const fn record_bytes(picture: usize, side: usize, sensor: usize) -> usize {
    const fn padded(bytes: usize) -> usize {
        bytes.next_multiple_of(ALIGN as usize)
    }
    let head = HEADER_BYTES + 5 * size_of::<Section>() + FRAME_BODY_BYTES_MAX + columns::COLUMNS_BYTES_MAX + 64;
    padded(head) + padded(picture) + padded(side) + padded(sensor)
}

/// The geometry of a recording with these settings.
///
/// # Errors
/// [`CreateError::Setting`].
pub fn geometry(header: &SessionHeader, settings: &WriterSettings) -> Result<Geometry, CreateError> {
    let page = settings.page_size.unwrap_or_else(rustix::param::page_size);
    let session =
        session::encode(header, &Geometry { id: header.id, step_bytes: 0, page_bytes: 0, record_bytes_max: 0 });
    let index = index_bytes_max(session.len()) as usize;
    let record = settings.record_bytes_max.max(index).max(record_bytes(0, 0, 0)).next_multiple_of(ALIGN as usize);
    // An index at a boundary, the record, and what closing needs fit one step: see `Builder::place`.
    let least = (4 * record as u64).max(8 * index as u64);
    let step = settings.growth_bytes.max(least).next_multiple_of(page.max(1) as u64);
    let geometry = Geometry {
        id: header.id,
        step_bytes: step,
        page_bytes: page.try_into().unwrap_or(0),
        record_bytes_max: record.try_into().unwrap_or(u32::MAX),
    };
    if geometry.is_valid() { Ok(geometry) } else { Err(CreateError::Setting { page_bytes: page, step_bytes: step }) }
}

/// Largest index record of a file whose session section has so many bytes.
pub fn index_bytes_max(session_bytes: usize) -> u64 {
    let table = HEADER_BYTES + 3 * size_of::<Section>();
    let entries = INDEX_FRAMES_MAX * size_of::<IndexEntry>();
    round_up((table + session_bytes + 256 + entries + 64) as u64, ALIGN)
}
