//! Follows a recording while another process writes it: frames and events as they are committed, up to the close.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{Ordering, fence};

use zerocopy::FromBytes;

use super::format::{Front, RecordError, VERSION};
use super::hints;
use super::hold::hold;
use super::load::{Found, Walk};
use super::medium::{FileMedium, Medium};
use super::open::{OpenError, Opened};
use super::reader::Reader;
use super::records::{self, Entry, Record};
use super::session::SessionHeader;
use crate::sys::map::HintMap;
use crate::sys::signal::is_guarding;

/// What following gave.
#[allow(clippy::large_enum_variant, reason = "a box for each record would allocate")]
#[derive(Debug)]
pub enum Followed<'a> {
    /// The next record.
    Record(Record<'a>),
    /// Nothing new is committed; ask again later.
    Nothing,
    /// The recording was closed and everything in it was handed out.
    Closed,
    /// Its writer is gone without closing it, and everything that it committed was handed out.
    Abandoned,
}

/// A recording that is followed. It reads nothing beyond what the writer has committed, so it never sees half a record.
#[derive(Debug)]
pub struct Tail {
    reader: Reader<FileMedium>,
    hints: Hints,
    walk: Walk,
}

/// How the writer's hints are read.
#[derive(Debug)]
enum Hints {
    /// By atomic loads from a map; only where the loss of the page is an error and not a signal.
    Mapped(HintMap),
    /// By reads.
    Read,
}

impl Hints {
    fn load(&self, medium: &FileMedium, at: usize) -> u64 {
        match self {
            Self::Mapped(map) if !map.is_dead() => map.load(at),
            _ => read_hint(medium, at),
        }
    }
}

/// A hint by `pread`. The kernel does not promise to copy eight bytes at once: read until two reads agree.
fn read_hint(medium: &FileMedium, at: usize) -> u64 {
    let read = || {
        let mut bytes = [0; 8];
        let _ = medium.fill(at as u64, &mut bytes);
        u64::from_le_bytes(bytes)
    };
    let mut value = read();
    for _ in 0..HINT_READS_MAX {
        let again = read();
        if again == value {
            break;
        }
        value = again;
    }
    fence(Ordering::Acquire);
    value
}

/// Reads of one hint; a writer that commits between any two of them would have to commit every microsecond.
const HINT_READS_MAX: usize = 16;

/// No file is longer: what a damaged hint claims beyond that is not even counted with.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

impl Tail {
    /// Follows the recording from its first record on, also one of 0 frames, one that is closed, and one whose writer died.
    ///
    /// # Errors
    /// It is not a recording that this build reads, or its first page is damaged (then only [`Reader`] can help).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let io = |error| OpenError::Io { path: path.to_owned(), error };
        let file = File::open(path).map_err(io)?;
        let medium = FileMedium::new(file).map_err(io)?;
        let front = read_front(&medium)?;
        let geometry = front.geometry();
        let hints = match is_guarding() {
            true => Hints::Mapped(HintMap::new(medium.file(), geometry.page_bytes as usize).map_err(io)?),
            false => Hints::Read,
        };
        let start = geometry.page_bytes.into();
        let opened = Opened::empty(geometry);
        let walk = Walk { position: start, end: start };
        Ok(Self { reader: Reader::following(medium, opened), hints, walk })
    }

    /// What was known before the first frame, as far as the session record was handed out.
    pub fn header(&self) -> &SessionHeader {
        self.reader.header()
    }

    /// Frames that the writer has committed.
    pub fn committed_frames(&self) -> u64 {
        self.hint(hints::FRAMES)
    }

    /// Frames that a completed sync covers.
    pub fn durable_frames(&self) -> u64 {
        self.hint(hints::DURABLE)
    }

    /// Skips what is committed already, but for the session: only what comes from now on is handed out. Cost: a walk over the heads
    /// of what is skipped.
    pub fn skip_to_end(&mut self) {
        loop {
            match self.next() {
                Followed::Record(_) => {}
                _ => return,
            }
        }
    }

    /// The next record, if one is committed. Does not wait.
    #[allow(clippy::should_implement_trait, reason = "it lends; Iterator cannot")]
    pub fn next(&mut self) -> Followed<'_> {
        if self.walk.position >= self.walk.end {
            // Who died did so after its last commit: look for that first.
            let gone = self.is_abandoned();
            let (closed, committed) = hints::hear(|at| self.hint(at));
            let committed = committed.min(FILE_BYTES_MAX).max(self.walk.end);
            if committed == self.walk.end {
                return match (closed, gone) {
                    (true, _) => Followed::Closed,
                    (false, true) => Followed::Abandoned,
                    (false, false) => Followed::Nothing,
                };
            }
            self.walk.end = committed;
            self.reader.medium.set_bytes(committed);
            self.reader.window.clear();
        }
        self.step()
    }

    fn hint(&self, at: usize) -> u64 {
        self.hints.load(&self.reader.medium, at)
    }

    fn step(&mut self) -> Followed<'_> {
        let reader = &mut self.reader;
        let found = self.walk.next(&reader.medium, &mut reader.window, &reader.opened.geometry);
        let (offset, to, reason) = match found {
            Found::Record { offset, header } => {
                let bytes = self.walk.position - offset;
                let sequence = Some(header.sequence.get());
                let entry = match records::entry(reader, offset, self.walk.end) {
                    Ok(entry) => entry,
                    Err(reason) => Entry::Damaged { kind: header.record_kind(), reason },
                };
                let frames_before = Some(header.frames.get());
                return Followed::Record(Record { offset, bytes, sequence, frames_before, entry });
            }
            Found::Damage { from, to, reason } => (from, to, reason),
            Found::End { at, reason } => (at, self.walk.end, reason.unwrap_or(RecordError::Unwritten)),
        };
        let entry = Entry::Damaged { kind: None, reason };
        Followed::Record(Record { offset, bytes: to - offset, sequence: None, frames_before: None, entry })
    }

    /// True when nobody holds the file for writing.
    fn is_abandoned(&self) -> bool {
        use rustix::fs::{FlockOperation, flock};
        let file = self.reader.medium.file();
        let free = matches!(hold(file), Ok(true));
        if free {
            let _ = flock(file, FlockOperation::Unlock);
        }
        free
    }
}

fn read_front(medium: &FileMedium) -> Result<Front, OpenError> {
    let mut bytes = [0; 64];
    let filled = medium.fill(0, &mut bytes).map_err(|error| OpenError::Unreadable { error })?;
    if filled == 0 {
        return Err(OpenError::Empty);
    }
    let not_ours = OpenError::without_front(&bytes, medium.bytes());
    let Ok(front) = Front::read_from_bytes(&bytes[..filled]) else { return Err(not_ours) };
    if !front.is_intact() {
        return Err(not_ours);
    }
    let version = front.version.get();
    if version > VERSION {
        return Err(OpenError::TooNew { version, supported: VERSION });
    }
    // Records are read with `pread`, but the hints are mapped: the page must be there.
    let whole = front.geometry().is_valid() && medium.bytes() >= u64::from(front.page_bytes.get());
    if whole { Ok(front) } else { Err(not_ours) }
}
