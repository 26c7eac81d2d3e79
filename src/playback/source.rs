//! A recording as a source: its frames go the way of a camera's, at the recorded pace, once or round and round.

use crate::error::Error;
use crate::ledger::{Cause, Loss};
use crate::playback::open::BoxedTimeline;
use crate::playback::pacing::{Pacing, PacingSettings, Rate};
use crate::playback::transport::frame_time_of;
use crate::slot::Slot;
use crate::source::{Filled, Remarks, Source, SourceError, SourceInfo};
use crate::time::{ClockPair, Span, Timestamp};
use crate::timeline::Timeline;

/// Fills slots from a timeline. Not live: it waits for a free slot and loses nothing but what is damaged. A frame that is
/// larger than its slot makes the slot larger.
///
/// Frames keep their recorded times, sequence numbers, text of the timestamp and everything else. From the second round of
/// a loop on, times go on by one frame time after the latest, and sequence numbers by one after the highest. When each
/// frame is due follows the rule of [`pacing`](crate::playback::pacing), from the instant of [`Source::start`] on.
pub struct PlaybackSource {
    timeline: BoxedTimeline,
    info: SourceInfo,
    notes: Vec<String>,
    looped: bool,
    pacing: Pacing,
    start: Timestamp,
    next: u64,
    round: Round,
}

/// What a round adds to the recorded numbers, and how far it came.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    number: u64,
    frames: u64,
    /// Added to recorded times and to recorded sequence numbers.
    time: Span,
    sequence: u64,
    /// The latest time and the number above the highest sequence that went out, additions included.
    latest: Option<Timestamp>,
    next_sequence: u64,
}

impl PlaybackSource {
    /// A source of these frames. Of `info`, what depends on this source is set here: live, paced, number of frames.
    pub fn new(timeline: impl Timeline + Send + 'static, mut info: SourceInfo, looped: bool) -> Self {
        info.live = false;
        info.paced = true;
        info.frames = (!looped).then_some(timeline.len());
        let settings = PacingSettings { frame_time: frame_time_of(&timeline), ..PacingSettings::default() };
        let pacing = Pacing::new(settings, Rate::NORMAL);
        let timeline = Box::new(timeline);
        let (start, round) = (Timestamp::default(), Round::default());
        Self { timeline, info, notes: Vec::new(), looped, pacing, start, next: 0, round }
    }

    /// What is wrong with the file and was passed over, as [`Source::remarks`] tells it.
    #[must_use]
    pub fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
    }

    /// The next frame's recorded time and deadline, beginning a new round if need be; `None` at the end.
    fn advance(&mut self) -> Option<(u64, Timestamp, Option<Timestamp>)> {
        let wrapped = self.next >= self.timeline.len();
        if wrapped {
            // A round that brought nothing will not bring anything next time.
            if !self.looped || self.round.frames == 0 {
                return None;
            }
            self.begin_round();
        }
        let index = self.next;
        let captured = self.timeline.captured_at(index)?;
        self.next += 1;
        if index == 0 && self.round.number == 0 {
            self.pacing.jump(captured, self.start);
            self.pacing.go(self.start);
            return Some((index, captured, Some(self.start)));
        }
        let step = if wrapped { self.pacing.look_wrapped(captured) } else { self.pacing.look(captured) };
        self.pacing.accept(&step);
        Some((index, captured, self.pacing.due_at(&step)))
    }

    fn begin_round(&mut self) {
        let first = self.timeline.captured_at(0).unwrap_or_default();
        let first_sequence = self.timeline.frame(0).map_or(0, |frame| frame.meta.sequence);
        let frame_time = self.pacing.settings().frame_time;
        let round = self.round;
        self.next = 0;
        self.round = Round {
            number: round.number + 1,
            frames: 0,
            time: round.latest.map_or(round.time, |latest| latest + frame_time - first),
            sequence: round.next_sequence.saturating_sub(first_sequence),
            ..round
        };
    }
}

impl Round {
    /// Moves a frame of this round to where it belongs, and remembers it.
    fn settle(&mut self, slot: &mut Slot) {
        let meta = &mut slot.meta;
        if self.number > 0 {
            meta.captured_at += self.time;
            meta.captured_wall += self.time;
            meta.sequence = meta.sequence.saturating_add(self.sequence);
            meta.timestamp_text.clear();
        }
        self.frames += 1;
        self.latest = Some(self.latest.map_or(meta.captured_at, |latest| latest.max(meta.captured_at)));
        self.next_sequence = self.next_sequence.max(meta.sequence.saturating_add(1));
    }

    /// A frame of this round that cannot be delivered.
    fn lost(&mut self, cause: Cause, captured: Timestamp) -> Filled {
        let sequence = self.next_sequence;
        self.next_sequence = sequence.saturating_add(1);
        Filled::Lost(Loss::one(cause, sequence, captured + self.time))
    }
}

impl Source for PlaybackSource {
    fn describe(&self) -> &SourceInfo {
        &self.info
    }

    fn start(&mut self, now: ClockPair) -> Result<(), SourceError> {
        self.start = now.monotonic;
        self.next = 0;
        self.round = Round::default();
        self.pacing = Pacing::new(*self.pacing.settings(), Rate::NORMAL);
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, _wait: Span) -> Result<Filled, SourceError> {
        let Some((index, captured, due_at)) = self.advance() else { return Ok(Filled::End) };
        let copied = match self.timeline.frame(index) {
            Ok(frame) => slot.copy_growing(&frame),
            // The file itself is gone or cannot be read any more: going on would only turn every frame into a loss.
            Err(Error::Io { doing, error }) => return Err(SourceError::Io { doing, error }),
            Err(_) => return Ok(self.round.lost(Cause::Corrupt, captured)),
        };
        if copied.is_err() {
            return Ok(self.round.lost(Cause::TooBig, captured));
        }
        self.round.settle(slot);
        slot.due_at = due_at;
        Ok(Filled::Frame)
    }

    fn remarks(&mut self) -> Option<Remarks> {
        let name = self.info.name.clone();
        Some(Box::new(std::mem::take(&mut self.notes).into_iter().map(move |note| format!("{name}: {note}"))))
    }
}
