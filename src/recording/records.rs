//! A cursor over all records of a recording, of all kinds, damage included.

use super::body::{self, ClockNote, Totals};
use super::format::{IndexEntry, RecordError, RecordKind, section};
use super::load::{self, Found, Walk};
use super::medium::Medium;
use super::reader::{IndexRun, Reader, decode_frame};
use super::session;
use crate::event::Event;
use crate::frame::Frame;
use crate::ledger::Loss;

/// What lies at one place of a recording.
#[derive(Debug)]
#[non_exhaustive]
pub enum Entry<'a> {
    /// The session record; [`Reader::header`] has it.
    Session,
    /// A frame, checked wholly.
    Frame {
        /// Its ordinal, from 0.
        ordinal: u64,
        /// What it holds.
        frame: Frame<'a>,
    },
    /// An entry of the drop ledger.
    Loss(Loss),
    /// A bookmark, trigger or note.
    Event(Event),
    /// Both clocks.
    Clock(ClockNote),
    /// An index record.
    Index {
        /// Frames that it lists.
        frames: u64,
    },
    /// Unused room.
    Padding,
    /// The footer with its sums.
    Footer(Totals),
    /// A record of a kind that this build does not know, intact.
    Unknown {
        /// Its number.
        kind: u8,
    },
    /// A damaged record, or a part of the file without records.
    Damaged {
        /// Its kind, when its head is intact.
        kind: Option<RecordKind>,
        /// What is wrong.
        reason: RecordError,
    },
}

/// One place of a recording.
#[derive(Debug)]
pub struct Record<'a> {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// Records before it, when its head is intact.
    pub sequence: Option<u64>,
    /// Frames before it, when its head is intact: of a frame, its ordinal.
    pub frames_before: Option<u64>,
    /// What it is.
    pub entry: Entry<'a>,
}

/// Goes over all records: see [`Reader::records`].
#[derive(Debug)]
pub struct Records<'r, M: Medium> {
    reader: &'r mut Reader<M>,
    walk: Walk,
    ended: bool,
}

impl<'r, M: Medium> Records<'r, M> {
    pub(super) fn new(reader: &'r mut Reader<M>) -> Self {
        let first = reader.geometry().page_bytes.into();
        Self::from(reader, first)
    }

    /// Begins at the record that begins at `position`.
    pub(super) fn from(reader: &'r mut Reader<M>, position: u64) -> Self {
        let walk = Walk { position, end: reader.medium.bytes() };
        Self { reader, walk, ended: false }
    }

    /// Where the next record should begin.
    pub fn position(&self) -> u64 {
        self.walk.position
    }

    /// What the index says of frame `ordinal`.
    pub(super) fn indexed(&self, ordinal: u64, run: &mut IndexRun) -> Option<IndexEntry> {
        self.reader.entry_of_run(ordinal, run)
    }

    /// The next record or damage; `None` at the end. A torn record at the end of an unclosed recording is damage only when its head
    /// was committed.
    #[allow(clippy::should_implement_trait, reason = "it lends; Iterator cannot")]
    pub fn next(&mut self) -> Option<Record<'_>> {
        if self.ended {
            return None;
        }
        let reader = &mut *self.reader;
        let damage = |offset: u64, to: u64, reason| {
            let entry = Entry::Damaged { kind: None, reason };
            Some(Record { offset, bytes: to - offset, sequence: None, frames_before: None, entry })
        };
        match self.walk.next(&reader.medium, &mut reader.window, &reader.opened.geometry) {
            Found::End { at, reason } => {
                self.ended = true;
                reason.and_then(|reason| damage(at, self.walk.end, reason))
            }
            Found::Damage { from, to, reason } => damage(from, to, reason),
            Found::Record { offset, header } => {
                let bytes = self.walk.position - offset;
                let (kind, sequence) = (header.record_kind(), Some(header.sequence.get()));
                let entry = match entry(reader, offset, self.walk.end) {
                    Ok(entry) => entry,
                    Err(reason) => Entry::Damaged { kind, reason },
                };
                let frames_before = Some(header.frames.get());
                Some(Record { offset, bytes, sequence, frames_before, entry })
            }
        }
    }
}

/// Decodes the record at `offset`; a session header becomes the reader's.
pub(super) fn entry<M: Medium>(reader: &mut Reader<M>, offset: u64, end: u64) -> Result<Entry<'_>, RecordError> {
    let Reader { medium, window, opened, decoded, .. } = reader;
    let (head, bulk) = load::record(medium, window, &opened.geometry, offset, end, 0)?;
    let kind = head.header.kind;
    let Some(record_kind) = RecordKind::from_code(kind) else { return Ok(Entry::Unknown { kind }) };
    let body = |what| head.body(what).ok_or(RecordError::Section { section: what });
    Ok(match record_kind {
        RecordKind::Session => {
            opened.header = session::decode(body(section::SESSION)?)?;
            Entry::Session
        }
        RecordKind::Padding => Entry::Padding,
        RecordKind::Index => Entry::Index { frames: body(section::ENTRIES).map_or(0, |bytes| bytes.len() as u64 / 24) },
        RecordKind::Footer => Entry::Footer(body::read_totals(body(section::TOTALS)?)?),
        RecordKind::Loss => Entry::Loss(body::read_loss(body(section::BODY)?)?.0),
        RecordKind::Event => Entry::Event(body::read_event(body(section::BODY)?)?.0),
        RecordKind::Clock => Entry::Clock(body::read_clock(body(section::BODY)?)?.0),
        RecordKind::Frame => {
            let ordinal = head.header.frames.get();
            Entry::Frame { ordinal, frame: decode_frame(&head, Some(bulk), decoded, Some(&opened.header.labels))? }
        }
    })
}
