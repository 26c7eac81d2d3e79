//! The sink's thread: circle → recorder and taps → circle.

use std::sync::Arc;

use rtrb::Consumer;

use super::capture_thread::loss_before;
use super::shared::{LOOK_UP, Shared, WakeOnDrop};
use super::sink_stage::{SinkEnding, SinkStage};
use crate::ledger::Loss;
use crate::ring::{SinkEnd, Taken};

/// All that the thread owns.
pub struct SinkThread {
    pub shared: Arc<Shared>,
    pub end: SinkEnd,
    pub losses: Consumer<Loss>,
    pub stage: SinkStage,
}

impl SinkThread {
    /// Runs until the circle has ended, then closes the recording.
    pub fn run(mut self) -> SinkEnding {
        let wake = WakeOnDrop(Arc::clone(&self.shared));
        self.pass();
        // The capture thread handed over its last losses before it let go of the circle.
        self.take_losses(u64::MAX);
        let Self { shared, end, losses, stage } = self;
        drop((end, losses));
        let ending = stage.finish();
        shared.ended_wake.notify();
        drop(wake);
        ending
    }

    fn pass(&mut self) {
        loop {
            if self.stage.has_wishes() {
                self.stage.take_wishes();
            }
            match self.end.take() {
                Taken::Slot(slot) => {
                    self.take_losses(slot.meta.sequence);
                    self.stage.frame(&slot);
                    self.end.give_back(slot);
                    self.shared.capture_wake.notify();
                }
                Taken::Empty => {
                    // Looking for taps without a reader can wait for a quiet moment; there is one between two frames.
                    self.stage.take_wishes();
                    let Self { end, stage, .. } = self;
                    if !self.shared.sink_wake.wait(LOOK_UP, || end.is_ready() || stage.has_wishes()) {
                        // Nothing comes: what was lost need not wait for the frame behind it.
                        self.take_losses(u64::MAX);
                        self.stage.idle();
                    }
                }
                Taken::Ended => return,
            }
        }
    }

    /// Tells the sink what was lost before frame `sequence`.
    fn take_losses(&mut self, sequence: u64) {
        let mut any = false;
        while let Some(loss) = loss_before(&mut self.losses, sequence) {
            self.stage.loss(&loss);
            any = true;
        }
        if any {
            self.shared.capture_wake.notify();
        }
    }
}
