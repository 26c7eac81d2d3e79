//! One step of a source: fill a slot, notice what is missing, hold it until it is due.
//!
//! The same code runs in the capture thread and, under a manual clock, in the caller's.

use std::sync::Arc;

use super::rates::Rate;
use super::settings::Settings;
use super::zone::Zone;
use crate::ledger::{Cause, Ledger, Loss};
use crate::slot::Slot;
use crate::source::{Filled, Source, SourceError, SourceInfo};
use crate::time::{Clock, ClockPair, Span, Timestamp};

/// What a step brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    /// The slot holds a frame, and it is time for it.
    Frame,
    /// Nothing yet; the slot may hold a frame that is not due, so it must be the same one next time.
    Nothing,
    /// There will be no more frames.
    End,
}

/// A started source and what is remembered of its frames.
pub struct Pump {
    source: Box<dyn Source>,
    clock: Arc<dyn Clock>,
    /// Frames bear the times of this clock, not recorded ones: rates and the zone are filled in.
    is_of_now: bool,
    zone: Zone,
    frame_rate: Rate,
    result_rate: Rate,
    /// The newest frame, lost ones included.
    newest: Option<(u64, Timestamp)>,
    /// Number of the first frame, lost ones included.
    first: Option<u64>,
    /// The newest frame that was delivered.
    delivered: Option<u64>,
    /// A frame of which half was lost: its number was told, and it still comes.
    half: Option<u64>,
    first_at: Option<Timestamp>,
    /// The slot holds a frame that is not due yet.
    holds: bool,
    frames: u64,
    frames_max: u64,
    duration_max: Span,
}

impl Pump {
    /// Starts the source.
    pub fn start(mut source: Box<dyn Source>, clock: Arc<dyn Clock>, settings: &Settings) -> Result<Self, SourceError> {
        let now = clock.pair();
        source.start(now).inspect_err(|_| source.stop())?;
        let is_of_now = source.describe().recorded_clock.is_none();
        // A run under a manual clock must not depend on where it happens.
        let zone = if clock.is_manual() { Zone::utc() } else { Zone::local(now.wall) };
        Ok(Self {
            source,
            clock,
            is_of_now,
            zone,
            frame_rate: Rate::new(),
            result_rate: Rate::new(),
            newest: None,
            first: None,
            delivered: None,
            half: None,
            first_at: None,
            holds: false,
            frames: 0,
            frames_max: settings.frames_max.unwrap_or(u64::MAX),
            duration_max: settings.duration_max.unwrap_or(Span::MAX),
        })
    }

    /// What the source delivers.
    pub fn info(&self) -> &SourceInfo {
        self.source.describe()
    }

    /// The engine's clock.
    pub fn clock_pair(&self) -> ClockPair {
        self.clock.pair()
    }

    /// Waits for at most `wait` for the next frame and puts it into `slot`. Losses go into `ledger`.
    pub fn fill(&mut self, slot: &mut Slot, wait: Span, ledger: &mut Ledger) -> Result<Pumped, SourceError> {
        if !self.holds {
            if self.frames >= self.frames_max {
                return Ok(Pumped::End);
            }
            slot.reset();
            match self.source.fill(slot, wait)? {
                Filled::Frame if self.is_stale(slot, ledger) => return Ok(Pumped::Nothing),
                Filled::Frame => self.account(slot, ledger),
                Filled::Nothing => return Ok(Pumped::Nothing),
                Filled::Lost(loss) => {
                    self.lost(&loss, ledger);
                    return Ok(Pumped::Nothing);
                }
                Filled::End => return Ok(Pumped::End),
            }
            let first_at = *self.first_at.get_or_insert(slot.meta.captured_at);
            if slot.meta.captured_at - first_at >= self.duration_max {
                return Ok(Pumped::End);
            }
        }
        self.holds = !self.is_due(slot, wait);
        if self.holds {
            return Ok(Pumped::Nothing);
        }
        self.frames += 1;
        Ok(Pumped::Frame)
    }

    /// Waits for at most `wait` until the frame is due, and says whether it is. A manual clock is set to that instant.
    fn is_due(&self, slot: &Slot, wait: Span) -> bool {
        let Some(due_at) = slot.due_at else { return true };
        if self.clock.is_manual() {
            self.clock.sleep_until(due_at);
            return true;
        }
        let now = self.clock.now();
        if due_at > now {
            self.clock.sleep_until(due_at.min(now + wait));
        }
        due_at - now <= wait
    }

    /// True for a frame that came already, or whose successor did: a recording holds each frame once and in order. One that is
    /// late stands in the ledger since its successor came; one that comes twice is told here. A camera that begins anew counts
    /// from zero, but its times go on.
    fn is_stale(&self, slot: &Slot, ledger: &mut Ledger) -> bool {
        let (sequence, at) = (slot.meta.sequence, slot.meta.captured_at);
        let Some((newest, newest_at)) = self.newest else { return false };
        if !self.is_of_now || sequence > newest || at > newest_at || self.half == Some(sequence) {
            return false;
        }
        if self.delivered == Some(sequence) {
            ledger.add(Loss::one(Cause::Repeated, sequence, at));
        } else if self.first.is_some_and(|first| sequence < first) {
            // Before the first one nothing was missing yet.
            ledger.add(Loss::one(Cause::SourceGap, sequence, at));
        }
        true
    }

    fn account(&mut self, slot: &mut Slot, ledger: &mut Ledger) {
        let meta = &mut slot.meta;
        let (sequence, at) = (meta.sequence, meta.captured_at);
        (self.delivered, self.half) = (Some(sequence), None);
        self.first.get_or_insert(sequence);
        self.gap_before(sequence, at, ledger);
        self.newest = Some((sequence, at));
        if self.is_of_now {
            self.fill_in(slot);
        }
    }

    /// Accounts for the numbers between the newest frame, lost or not, and `sequence`.
    fn gap_before(&self, sequence: u64, at: Timestamp, ledger: &mut Ledger) {
        let Some((newest, newest_at)) = self.newest else { return };
        // A number that goes back (a file that loops, a camera that was restarted) is a new beginning, not a gap.
        let missing = sequence.saturating_sub(newest).saturating_sub(1);
        if missing > 0 {
            ledger.add(Loss::run(Cause::SourceGap, newest + 1, missing, newest_at, at));
        }
    }

    fn fill_in(&mut self, slot: &mut Slot) {
        let meta = &mut slot.meta;
        self.frame_rate.note(meta.captured_at);
        if meta.new_detection && slot.results.state().kind().is_some() {
            self.result_rate.note(meta.captured_at);
        }
        if meta.fps == 0.0 {
            meta.fps = self.frame_rate.per_second();
        }
        if meta.dps == 0.0 {
            meta.dps = self.result_rate.per_second();
        }
        if meta.utc_offset_s == 0 {
            meta.utc_offset_s = self.zone.offset_s(meta.captured_wall);
        }
    }

    fn lost(&mut self, loss: &Loss, ledger: &mut Ledger) {
        self.gap_before(loss.first_sequence, loss.first_at, ledger);
        ledger.add(*loss);
        self.first.get_or_insert(loss.first_sequence);
        let is_half = matches!(loss.cause, Cause::MetadataLost | Cause::PictureLost);
        self.half = is_half.then_some(loss.first_sequence);
        if self.newest.is_none_or(|(newest, _)| newest < loss.last_sequence) {
            self.newest = Some((loss.last_sequence, loss.last_at));
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.source.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::SlotSizes;
    use crate::time::{ManualClock, WallTime};

    /// Numbers that arrive (`Ok`) or that the source reports as broken (`Err`).
    struct Script(SourceInfo, Vec<Result<u64, u64>>);

    impl Source for Script {
        fn describe(&self) -> &SourceInfo {
            &self.0
        }

        fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
            self.1.reverse();
            Ok(())
        }

        fn fill(&mut self, slot: &mut Slot, _: Span) -> Result<Filled, SourceError> {
            Ok(match self.1.pop() {
                Some(Ok(sequence)) => {
                    slot.meta.sequence = sequence;
                    Filled::Frame
                }
                Some(Err(sequence)) => Filled::Lost(Loss::one(Cause::Corrupt, sequence, Timestamp::from_ns(0))),
                None => Filled::End,
            })
        }
    }

    #[test]
    fn every_number_between_first_and_last_is_delivered_or_in_the_ledger_with_its_cause() {
        let script = vec![Ok(3), Ok(4), Err(7), Ok(8), Err(9), Err(12), Ok(20), Err(21)];
        let clock = ManualClock::new(ClockPair { monotonic: Timestamp::from_ns(0), wall: WallTime::from_utc_ns(0) });
        let source = Box::new(Script(SourceInfo::new("script"), script));
        let mut pump = Pump::start(source, Arc::new(clock), &Settings::default()).unwrap();
        let (mut slot, mut ledger, mut frames) = (Slot::new(&SlotSizes::default()), Ledger::new(), 0);
        loop {
            match pump.fill(&mut slot, Span::ZERO, &mut ledger).unwrap() {
                Pumped::Frame => frames += 1,
                Pumped::Nothing => {}
                Pumped::End => break,
            }
        }
        // 5 and 6, 10 and 11, 13 to 19 are missing.
        assert_eq!((ledger.total(Cause::SourceGap), ledger.total(Cause::Corrupt)), (11, 4));
        assert_eq!(frames + ledger.lost(), 21 - 3 + 1);
    }
}
