//! The account of lost frames: cause, sequences, time. Fixed memory; what does not fit is merged, never forgotten.

use core::fmt;

use heapless::Deque;

use crate::limits::LEDGER_ENTRIES_MAX;
use crate::time::Timestamp;

/// Why frames were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Cause {
    /// Missing sequence numbers: the source itself lost them before we could.
    SourceGap = 1,
    /// No free slot: everything behind the source was busy.
    RingFull = 2,
    /// The source delivered a broken buffer (V4L2 error flag, damaged JPEG).
    Corrupt = 3,
    /// The picture, its side plane or its sensor bytes were larger than the slot.
    TooBig = 4,
    /// The encoder refused the picture.
    EncodeFailed = 5,
    /// The recording could not take it: disk full, I/O error.
    WriteFailed = 6,
    /// The source stood still or was restarted; how many frames that cost is an estimate from its rate.
    SourceStalled = 7,
    /// The size or format changed in mid-stream.
    FormatChanged = 8,
    /// Half a frame: its picture is kept, its metadata did not come or could not be read. The frame itself is not lost.
    MetadataLost = 9,
    /// Half a frame: its results are kept, its picture did not come. The frame itself is not lost.
    PictureLost = 10,
    /// A frame that had come already and was not kept twice. Nothing is missing.
    Repeated = 11,
}

impl Cause {
    /// Every cause, in the order of their codes.
    pub const ALL: [Self; 11] = [
        Self::SourceGap,
        Self::RingFull,
        Self::Corrupt,
        Self::TooBig,
        Self::EncodeFailed,
        Self::WriteFailed,
        Self::SourceStalled,
        Self::FormatChanged,
        Self::MetadataLost,
        Self::PictureLost,
        Self::Repeated,
    ];

    /// The cause of the number that files store, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        if code >= 1 && code as usize <= Self::ALL.len() { Some(Self::ALL[code as usize - 1]) } else { None }
    }

    /// The number that files store.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name in messages and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SourceGap => "source_gap",
            Self::RingFull => "ring_full",
            Self::Corrupt => "corrupt",
            Self::TooBig => "too_big",
            Self::EncodeFailed => "encode_failed",
            Self::WriteFailed => "write_failed",
            Self::SourceStalled => "source_stalled",
            Self::FormatChanged => "format_changed",
            Self::MetadataLost => "metadata_lost",
            Self::PictureLost => "picture_lost",
            Self::Repeated => "repeated",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A run of frames lost for one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub cause: Cause,
    /// Sequence number of the first lost frame.
    pub first_sequence: u64,
    /// Sequence number of the last lost frame.
    pub last_sequence: u64,
    /// How many were lost between them, both included; fewer than the span when good frames lie between merged losses.
    pub count: u64,
    /// When the first was (or would have been) captured, or was noticed missing.
    pub first_at: Timestamp,
    /// When the last was.
    pub last_at: Timestamp,
}

impl Loss {
    /// One frame.
    pub const fn one(cause: Cause, sequence: u64, at: Timestamp) -> Self {
        Self { cause, first_sequence: sequence, last_sequence: sequence, count: 1, first_at: at, last_at: at }
    }

    /// `count` frames from `first_sequence` on, lost between two instants.
    pub const fn run(cause: Cause, first_sequence: u64, count: u64, first_at: Timestamp, last_at: Timestamp) -> Self {
        let last_sequence = first_sequence.saturating_add(count.saturating_sub(1));
        Self { cause, first_sequence, last_sequence, count, first_at, last_at }
    }

    fn absorb(&mut self, later: &Loss) {
        self.last_sequence = later.last_sequence;
        self.count = self.count.saturating_add(later.count);
        self.last_at = later.last_at;
    }
}

/// Losses by cause since the start, and those not yet written into the recording.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    totals: [u64; Cause::ALL.len()],
    pending: Deque<Loss, LEDGER_ENTRIES_MAX>,
}

impl Ledger {
    /// Nothing lost yet.
    pub const fn new() -> Self {
        Self { totals: [0; Cause::ALL.len()], pending: Deque::new() }
    }

    /// Takes a loss into the account. One that continues the newest entry (same cause, next sequence) extends it; when
    /// the ledger is full, it is merged into the newest entry of its cause, or else into the newest entry whatever
    /// its cause (the totals stay exact by cause in both cases).
    pub fn add(&mut self, loss: Loss) {
        let total = &mut self.totals[usize::from(loss.cause.code()) - 1];
        *total = total.saturating_add(loss.count);
        if let Some(newest) = self.pending.back_mut() {
            if newest.cause == loss.cause && newest.last_sequence.checked_add(1) == Some(loss.first_sequence) {
                newest.absorb(&loss);
                return;
            }
        }
        if self.pending.push_back(loss).is_err() {
            let same_cause = last_position(self.pending.iter(), |entry| entry.cause == loss.cause);
            let index = same_cause.unwrap_or(LEDGER_ENTRIES_MAX - 1);
            if let Some(entry) = self.pending.iter_mut().nth(index) {
                entry.absorb(&loss);
            }
        }
    }

    /// The oldest loss that was not taken yet, and stays.
    pub fn oldest(&self) -> Option<&Loss> {
        self.pending.front()
    }

    /// The oldest loss that was not taken yet, for the recording.
    pub fn take(&mut self) -> Option<Loss> {
        self.pending.pop_front()
    }

    /// Number of losses that were not taken yet.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Frames lost for `cause` since the start.
    pub const fn total(&self, cause: Cause) -> u64 {
        self.totals[cause as usize - 1]
    }

    /// Frames lost since the start, all causes.
    pub fn lost(&self) -> u64 {
        self.totals.iter().fold(0, |sum, &n| sum.saturating_add(n))
    }
}

/// Index of the last hit. (`rposition` wants an iterator that knows its length; heapless' does not.)
fn last_position<T>(items: impl Iterator<Item = T>, mut hit: impl FnMut(&T) -> bool) -> Option<usize> {
    items.enumerate().filter(|(_, item)| hit(item)).last().map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ns: i64) -> Timestamp {
        Timestamp::from_ns(ns)
    }

    #[test]
    fn losses_that_follow_each_other_are_one_entry() {
        let mut ledger = Ledger::new();
        ledger.add(Loss::one(Cause::RingFull, 7, at(70)));
        ledger.add(Loss::run(Cause::RingFull, 8, 2, at(80), at(90)));
        ledger.add(Loss::one(Cause::Corrupt, 10, at(100)));
        assert_eq!(ledger.take(), Some(Loss::run(Cause::RingFull, 7, 3, at(70), at(90))));
        assert_eq!(ledger.take(), Some(Loss::one(Cause::Corrupt, 10, at(100))));
        assert_eq!(ledger.take(), None);
        assert_eq!((ledger.total(Cause::RingFull), ledger.lost()), (3, 4));
    }

    #[test]
    fn a_full_ledger_merges_and_loses_no_count() {
        let mut ledger = Ledger::new();
        let frames = 10 * LEDGER_ENTRIES_MAX as u64;
        for i in 0..frames {
            let cause = if i % 2 == 0 { Cause::RingFull } else { Cause::Corrupt };
            ledger.add(Loss::one(cause, 2 * i, at(i as i64)));
        }
        let mut counted = [0; 2];
        while let Some(loss) = ledger.take() {
            counted[usize::from(loss.cause == Cause::Corrupt)] += loss.count;
        }
        assert_eq!(counted, [frames / 2, frames / 2]);
        assert_eq!(ledger.lost(), frames);
    }
}
