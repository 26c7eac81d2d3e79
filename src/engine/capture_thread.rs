//! The capture thread: source → slot → circle. It waits for its next frame and for nothing else (a source that is not live
//! also waits for a free slot).

use std::sync::Arc;

use rtrb::Producer;

use super::newest::NewestIn;
use super::pump::{Pump, Pumped};
use super::shared::{LOOK_UP, Shared, WakeOnDrop};
use crate::ledger::{Cause, Ledger, Loss};
use crate::limits::LEDGER_ENTRIES_MAX;
use crate::ring::CaptureEnd;
use crate::source::SourceError;

/// Losses on their way to whoever keeps the account.
pub fn loss_ring() -> (Producer<Loss>, rtrb::Consumer<Loss>) {
    rtrb::RingBuffer::new(LEDGER_ENTRIES_MAX)
}

/// The next loss that lies before frame `sequence`. Capture runs ahead, so losses behind that frame may wait here already;
/// they go only when the ring is full (numbers that went back would keep them here).
pub fn loss_before(losses: &mut rtrb::Consumer<Loss>, sequence: u64) -> Option<Loss> {
    let first = losses.peek().ok()?.first_sequence;
    if first < sequence || losses.slots() == LEDGER_ENTRIES_MAX { losses.pop().ok() } else { None }
}

/// All that the thread owns.
pub struct CaptureThread {
    pub shared: Arc<Shared>,
    pub pump: Pump,
    pub end: CaptureEnd,
    pub losses: Producer<Loss>,
    /// Where the newest frame goes when only that is wanted; streams only.
    pub newest: Option<NewestIn>,
    /// Number of encoders behind the circle.
    pub encoders: usize,
}

impl CaptureThread {
    /// Runs until the source ends, fails, or is no longer wanted.
    pub fn run(mut self) -> Result<(), SourceError> {
        let _wake = WakeOnDrop(Arc::clone(&self.shared));
        let ended = self.capture();
        drop(self);
        ended
    }

    fn capture(&mut self) -> Result<(), SourceError> {
        let is_live = self.pump.info().live;
        let mut ledger = Ledger::new();
        let slots = self.end.capacity();
        let ended = loop {
            if self.shared.is_stopping() || self.end.is_abandoned() {
                break Ok(());
            }
            match self.pump.fill(self.end.slot_mut(), LOOK_UP, &mut ledger) {
                Ok(Pumped::Frame) => {
                    self.shared.add_captured();
                    // Before the frame: what was lost before it is then known to whoever takes it.
                    self.hand_over(&mut ledger);
                    self.deliver(is_live, &mut ledger);
                    self.shared.set_slots_used(slots - self.end.free_slots());
                }
                Ok(Pumped::Nothing) => self.hand_over(&mut ledger),
                Ok(Pumped::End) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.pump.settle(&mut ledger);
        self.settle(ledger);
        ended
    }

    fn deliver(&mut self, is_live: bool, ledger: &mut Ledger) {
        if self.shared.wants_latest() && self.newest.is_some() {
            return self.publish();
        }
        let turn = self.end.turn();
        while self.end.offer().is_err() {
            if is_live {
                let meta = &self.end.slot_mut().meta;
                ledger.add(Loss::one(Cause::RingFull, meta.sequence, meta.captured_at));
                return;
            }
            if self.shared.is_stopping() || self.end.is_abandoned() {
                return;
            }
            let end = &self.end;
            self.shared.capture_wake.wait(LOOK_UP, || end.has_free() || self.shared.is_stopping());
        }
        match self.encoders {
            0 => self.shared.sink_wake.notify(),
            _ => self.shared.encoder_wakes[turn].notify(),
        }
    }

    /// Puts the frame where only the newest one stays.
    fn publish(&mut self) {
        let Some(newest) = &mut self.newest else { return };
        newest.exchange(self.end.in_hand_mut());
        if newest.publish() {
            self.shared.add_skipped(1);
        }
        self.shared.sink_wake.notify();
    }

    /// Hands losses to whoever keeps the account, as far as there is room; the rest stays, merged, in `ledger`.
    fn hand_over(&mut self, ledger: &mut Ledger) {
        if ledger.pending() == 0 {
            return;
        }
        self.shared.lost.set(ledger);
        let mut any = false;
        while !self.losses.is_full() {
            let Some(loss) = ledger.take() else { break };
            any |= self.losses.push(loss).is_ok();
        }
        if any {
            self.shared.sink_wake.notify();
        }
    }

    /// The end of capturing: nothing is real-time any more, so the last losses may wait for room.
    fn settle(&mut self, mut ledger: Ledger) {
        loop {
            self.hand_over(&mut ledger);
            if ledger.pending() == 0 || self.losses.is_abandoned() {
                return;
            }
            let losses = &self.losses;
            self.shared.capture_wake.wait(LOOK_UP, || !losses.is_full() || losses.is_abandoned());
        }
    }
}
