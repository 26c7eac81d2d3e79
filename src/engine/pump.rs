//! One step of a source: fill a slot, notice what is missing, hold it until it is due, start a silent camera again.
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
use crate::watchdog::{Silence, Watch, Watchdog};

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
    /// Looks after a source for which silence is a fault.
    watchdog: Option<Watchdog>,
    /// Why the last start or frame failed, if it did.
    failure: Option<SourceError>,
    /// It was stopped for its silence; its next number follows ours.
    resumes: bool,
    /// What is added to the source's numbers, which began anew.
    offset: u64,
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
        let watched = source.describe().watched;
        let watchdog = watched.then(|| Watchdog::new(settings.watchdog, clock.now()));
        // A run under a manual clock must not depend on where it happens.
        let zone = if clock.is_manual() { Zone::utc() } else { Zone::local(now.wall) };
        Ok(Self {
            source,
            clock,
            is_of_now,
            zone,
            frame_rate: Rate::new(),
            result_rate: Rate::new(),
            watchdog,
            failure: None,
            resumes: false,
            offset: 0,
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
            match self.ask(slot, wait, ledger)? {
                Filled::Frame => {
                    let (sequence, at) = (slot.meta.sequence, slot.meta.captured_at);
                    slot.meta.sequence = self.renumber(sequence, at, ledger);
                    if self.is_stale(slot, ledger) {
                        return Ok(Pumped::Nothing);
                    }
                    self.account(slot, ledger);
                }
                Filled::Nothing => return Ok(Pumped::Nothing),
                Filled::Lost(mut loss) => {
                    let first = self.renumber(loss.first_sequence, loss.first_at, ledger);
                    loss.last_sequence = first.saturating_add(loss.last_sequence - loss.first_sequence);
                    loss.first_sequence = first;
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

    /// Asks the source for a frame, unless it has to be left alone or started again.
    fn ask(&mut self, slot: &mut Slot, wait: Span, ledger: &mut Ledger) -> Result<Filled, SourceError> {
        let Some(watchdog) = &mut self.watchdog else { return self.source.fill(slot, wait) };
        let now = self.clock.now();
        match watchdog.look(now, self.source.frame_time()) {
            Watch::Ask => {}
            Watch::Stop => {
                self.pause(ledger);
                return Ok(Filled::Nothing);
            }
            Watch::Pause { until } => {
                self.clock.sleep_until(until.min(now + wait));
                return Ok(Filled::Nothing);
            }
            Watch::Start => {
                self.start_again(ledger)?;
                return Ok(Filled::Nothing);
            }
            Watch::GiveUp(silence) => return Err(self.given_up(silence)),
        }
        match self.source.fill(slot, wait) {
            Ok(filled @ (Filled::Frame | Filled::Lost(_))) => {
                watchdog.frame(self.clock.now());
                Ok(filled)
            }
            // It broke off after it delivered; what is gone or changed its shape stays so.
            Err(error @ (SourceError::Io { .. } | SourceError::Unavailable(_))) if watchdog.has_delivered() => {
                watchdog.failed(self.clock.now());
                self.failure = Some(error);
                self.pause(ledger);
                Ok(Filled::Nothing)
            }
            other => other,
        }
    }

    /// Stops a source that is silent; what it should have delivered until now is lost.
    fn pause(&mut self, ledger: &mut Ledger) {
        self.source.stop();
        self.resumes = true;
        self.stalled_until(self.clock.now(), ledger);
    }

    fn start_again(&mut self, ledger: &mut Ledger) -> Result<(), SourceError> {
        self.stalled_until(self.clock.now(), ledger);
        let started = self.source.start(self.clock.pair());
        let now = self.clock.now();
        let Some(watchdog) = &mut self.watchdog else { return started };
        match started {
            Ok(()) => watchdog.started(now),
            Err(error @ SourceError::Gone(_)) => return Err(error),
            Err(error) => {
                self.source.stop();
                watchdog.failed(now);
                self.failure = Some(error);
            }
        }
        Ok(())
    }

    fn given_up(&mut self, silence: Silence) -> SourceError {
        let name = &self.source.describe().name;
        let why = self.failure.take().map(|error| format!("; the last time: {error}")).unwrap_or_default();
        let Some(last) = silence.last_frame_at else {
            return SourceError::Unavailable(format!(
                "{name}: no first frame within the start timeout{why}; is another program using the camera? \
                 (--start-timeout waits longer)"
            ));
        };
        SourceError::Unavailable(format!(
            "{name}: no frame for {}, {} starts in vain{why}; check the camera's cable and power, then start again",
            self.clock.now() - last,
            silence.failures.saturating_sub(1)
        ))
    }

    /// The number of a frame in our count. After a restart the source's own numbers begin anew: the first frame follows the
    /// newest one and those that its silence cost.
    fn renumber(&mut self, sequence: u64, at: Timestamp, ledger: &mut Ledger) -> u64 {
        if std::mem::take(&mut self.resumes) {
            // Half a frame time before it, so that it is not counted as missing itself.
            let frame_ns = self.source.frame_time().as_ns().max(1);
            self.stalled_until(at - Span::from_ns(frame_ns / 2), ledger);
            let next = self.newest.map_or(sequence, |(newest, _)| newest + 1);
            self.offset = next.wrapping_sub(sequence);
        }
        sequence.wrapping_add(self.offset)
    }

    /// Accounts for the frames that a silent source should have delivered before `until`, as its rate has it.
    fn stalled_until(&mut self, until: Timestamp, ledger: &mut Ledger) {
        let Some((newest, newest_at)) = self.newest else { return };
        let frame_ns = self.source.frame_time().as_ns().max(1);
        let missed = (until - newest_at).as_ns() / frame_ns;
        if missed < 1 {
            return;
        }
        let (first_at, last_at) =
            (newest_at + Span::from_ns(frame_ns), newest_at + Span::from_ns(missed.saturating_mul(frame_ns)));
        let loss = Loss::run(Cause::SourceStalled, newest + 1, missed as u64, first_at, last_at);
        self.newest = Some((loss.last_sequence, last_at));
        ledger.add(loss);
    }

    /// At the end: what a source that is silent now should have delivered.
    pub fn settle(&mut self, ledger: &mut Ledger) {
        if self.resumes {
            self.stalled_until(self.clock.now(), ledger);
        }
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
        // A source that waits loses nothing: what it delivers again is meant.
        if !self.is_of_now
            || !self.source.describe().live
            || sequence > newest
            || at > newest_at
            || self.half == Some(sequence)
        {
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

    /// A camera of 10 frames/s that numbers from 0 at each start; `lives` are how many frames each start gives before
    /// silence, `None` that it cannot start.
    struct Fragile {
        info: SourceInfo,
        clock: Arc<ManualClock>,
        lives: Vec<Option<u64>>,
        left: u64,
        next: u64,
    }

    impl Source for Fragile {
        fn describe(&self) -> &SourceInfo {
            &self.info
        }

        fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
            self.next = 0;
            match (!self.lives.is_empty()).then(|| self.lives.remove(0)) {
                Some(Some(frames)) => self.left = frames,
                _ => return Err(SourceError::Unavailable("no answer from the chip".into())),
            }
            Ok(())
        }

        fn fill(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError> {
            if self.left == 0 {
                self.clock.advance(wait);
                return Ok(Filled::Nothing);
            }
            self.clock.advance(Span::from_ms(100));
            (slot.meta.sequence, slot.meta.captured_at) = (self.next, self.clock.now());
            (self.next, self.left) = (self.next + 1, self.left - 1);
            Ok(Filled::Frame)
        }
    }

    fn fragile(lives: &[Option<u64>], failures_max: u32) -> (Pump, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(ClockPair::default()));
        let mut info = SourceInfo::new("fragile");
        (info.watched, info.frame_rate) = (true, (10, 1));
        let source = Fragile { info, clock: Arc::clone(&clock), lives: lives.to_vec(), left: 0, next: 0 };
        let watchdog = crate::watchdog::WatchdogSettings { failures_max, ..Default::default() };
        let settings = Settings { watchdog, ..Settings::default() };
        let clock_of_pump: Arc<dyn Clock> = Arc::clone(&clock) as _;
        (Pump::start(Box::new(source), clock_of_pump, &settings).unwrap(), clock)
    }

    #[test]
    fn a_camera_that_goes_silent_is_started_again_and_every_number_is_delivered_or_accounted_for() {
        let (mut pump, clock) = fragile(&[Some(5), None, Some(0), Some(3)], 8);
        let (mut slot, mut ledger, mut seen) = (Slot::new(&SlotSizes::default()), Ledger::new(), Vec::new());
        let mut until = Timestamp::from_ns(i64::MAX);
        while clock.now() < until {
            if pump.fill(&mut slot, Span::from_ms(50), &mut ledger).unwrap() == Pumped::Frame {
                seen.push((slot.meta.sequence, slot.meta.captured_at));
                if seen.len() == 8 {
                    // Two seconds into the next silence, which is noticed after 1.2 s.
                    until = clock.now() + Span::from_s(2);
                }
            }
        }
        pump.settle(&mut ledger);
        assert_eq!(seen[4].0, 4);
        // Silence of 1.2 s, pauses of 1 and 2 s, five minutes without a first frame, a pause of 4 s.
        let silent = (seen[5].1 - seen[4].1).as_s_f64();
        assert!((307.0..=310.0).contains(&silent), "{silent}");
        let missed = seen[5].0 - seen[4].0 - 1;
        assert_eq!(missed, (silent * 10.0).round() as u64 - 1);
        assert_eq!(seen.iter().skip(5).map(|(n, _)| n - seen[5].0).collect::<Vec<_>>(), [0, 1, 2]);
        let tail = (clock.now() - seen[7].1).as_ns() / 100_000_000;
        assert_eq!(ledger.total(Cause::SourceStalled), missed + tail as u64);
        assert_eq!(ledger.lost(), ledger.total(Cause::SourceStalled));
        let loss = ledger.take().unwrap();
        assert_eq!((loss.first_sequence, loss.last_sequence), (5, seen[5].0 - 1));
    }

    #[test]
    fn a_camera_that_stays_silent_is_given_up_with_what_was_tried() {
        let (mut pump, clock) = fragile(&[Some(2)], 4);
        let (mut slot, mut ledger) = (Slot::new(&SlotSizes::default()), Ledger::new());
        let told = loop {
            if let Err(error) = pump.fill(&mut slot, Span::from_ms(50), &mut ledger) {
                break error.to_string();
            }
        };
        assert!(told.contains("3 starts in vain") && told.contains("no answer from the chip"), "{told}");
        // 0.2 s of frames, 1.2 s of silence, pauses of 1, 2 and 4 s.
        assert_eq!(clock.now().as_ns() / 1_000_000_000, 8);
        pump.settle(&mut ledger);
        assert_eq!(ledger.total(Cause::SourceStalled), (clock.now().as_ns() as u64 - 200_000_000) / 100_000_000);
    }

    #[test]
    fn a_camera_without_a_first_frame_is_given_up_after_the_start_timeout() {
        let (mut pump, clock) = fragile(&[Some(0)], 4);
        let (mut slot, mut ledger) = (Slot::new(&SlotSizes::default()), Ledger::new());
        let told = loop {
            if let Err(error) = pump.fill(&mut slot, Span::from_s(1), &mut ledger) {
                break error.to_string();
            }
        };
        assert!(told.contains("no first frame") && told.contains("--start-timeout"), "{told}");
        assert_eq!((clock.now(), ledger.lost()), (Timestamp::from_ns(300_000_000_000), 0));
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
