//! Checks every byte of a recording that means something.

use std::path::Path;

use super::format::{IndexEntry, RecordError, RecordKind};
use super::medium::{FileMedium, Medium};
use super::open::OpenError;
use super::reader::{IndexRun, Reader};
use super::records::Entry;

/// Damaged places that a report lists; further ones are counted.
pub const DAMAGED_MAX: usize = 10_000;

/// One damaged place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Where it begins.
    pub offset: u64,
    /// Bytes of it: a record, or a part of the file without records.
    pub bytes: u64,
    /// Kind of the record when its head is intact; `None`: it cannot be told.
    pub kind: Option<RecordKind>,
    /// What is wrong.
    pub reason: RecordError,
}

/// What checking a recording found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Intact frames.
    pub frames_ok: u64,
    /// Frames that were recorded and cannot be read.
    pub frames_lost: u64,
    /// Intact records of all kinds, frames among them.
    pub records_ok: u64,
    /// Damaged places in the order of the file, at most [`DAMAGED_MAX`].
    pub damaged: Vec<Damaged>,
    /// Damaged places in all.
    pub damaged_count: u64,
    /// The file was closed cleanly. An unclosed recording is not a damaged one.
    pub finalized: bool,
    /// Size of the file.
    pub bytes: u64,
}

impl VerifyReport {
    /// True when nothing is damaged.
    pub fn is_intact(&self) -> bool {
        self.damaged_count == 0 && self.frames_lost == 0
    }

    fn damage(&mut self, damaged: Damaged) {
        self.damaged_count += 1;
        if self.damaged.len() < DAMAGED_MAX {
            self.damaged.push(damaged);
        }
    }
}

/// Checks the recording at `path`. `progress` is called after every record with the bytes checked so far and in all.
///
/// # Errors
/// It is not a recording that this build reads.
pub fn verify(path: impl AsRef<Path>, progress: impl FnMut(u64, u64)) -> Result<VerifyReport, OpenError> {
    Ok(verify_reader(&mut Reader::<FileMedium>::open(path)?, progress))
}

/// As [`verify`], for a recording that is open.
pub fn verify_reader<M: Medium>(reader: &mut Reader<M>, mut progress: impl FnMut(u64, u64)) -> VerifyReport {
    let bytes = reader.medium.bytes();
    let mut report = VerifyReport { finalized: reader.is_finalized(), bytes, ..VerifyReport::default() };
    if reader.opened.front_damaged {
        let reason = RecordError::Body { what: "front" };
        report.damage(Damaged { offset: 0, bytes: 64, kind: None, reason });
    }
    check_records(reader, &mut report, |at| progress(at, bytes));
    report
}

/// Goes over all records, and holds the index against them: frames that it finds elsewhere than they are, or not at all, are
/// damage of the index. That is told only when nothing else is damaged: an index that does not know of damage is right.
fn check_records<M: Medium>(reader: &mut Reader<M>, report: &mut VerifyReport, mut progress: impl FnMut(u64)) {
    let frames = reader.frame_count();
    let mut index = VerifyReport::default();
    let mut run = IndexRun::default();
    let mut time_max = i64::MIN;
    let mut records = reader.records();
    let mut next_ordinal = 0;
    let mut next_sequence = 0;
    while let Some(record) = records.next() {
        let (offset, bytes, sequence) = (record.offset, record.bytes, record.sequence);
        match record.entry {
            Entry::Damaged { kind, reason } => report.damage(Damaged { offset, bytes, kind, reason }),
            Entry::Frame { ordinal, frame } => {
                let captured_at = frame.meta.captured_at.as_ns();
                time_max = time_max.max(captured_at);
                report.records_ok += 1;
                report.frames_ok += 1;
                report.frames_lost += ordinal.saturating_sub(next_ordinal);
                next_ordinal = ordinal + 1;
                let right =
                    IndexEntry { offset: offset.into(), captured_at: captured_at.into(), time_max: time_max.into() };
                if records.indexed(ordinal, &mut run) != Some(right) {
                    let reason = RecordError::Body { what: "place or time of this frame in the index" };
                    index.damage(Damaged { offset, bytes: 0, kind: Some(RecordKind::Index), reason });
                }
            }
            _ => report.records_ok += 1,
        }
        if let Some(sequence) = sequence {
            // Records that are missing without a trace (a part of the file was cut out) show in the numbers.
            let expected = next_sequence;
            next_sequence = sequence + 1;
            if sequence > expected && report.damaged_count == 0 {
                let reason = RecordError::Body { what: "sequence" };
                report.damage(Damaged { offset, bytes: 0, kind: None, reason });
            }
        }
        progress(offset + bytes);
    }
    report.frames_lost += frames.saturating_sub(next_ordinal);
    if report.damaged_count == 0 {
        (report.damaged, report.damaged_count) = (index.damaged, index.damaged_count);
    }
}
