//! The sink's thread: circle → recorder and taps → circle.

use std::sync::Arc;

use rtrb::Consumer;

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
        self.take_losses();
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
            let taken = self.end.take();
            self.take_losses();
            match taken {
                Taken::Slot(slot) => {
                    self.stage.frame(&slot);
                    self.end.give_back(slot);
                    self.shared.capture_wake.notify();
                }
                Taken::Empty => {
                    // Looking for taps without a reader can wait for a quiet moment; there is one between two frames.
                    self.stage.take_wishes();
                    let Self { end, losses, stage, .. } = self;
                    let ready = || end.is_ready() || !losses.is_empty() || stage.has_wishes();
                    self.shared.sink_wake.wait(LOOK_UP, ready);
                }
                Taken::Ended => return,
            }
        }
    }

    /// Losses are told before the frame that was taken after they were noticed.
    fn take_losses(&mut self) {
        let mut any = false;
        while let Ok(loss) = self.losses.pop() {
            self.stage.loss(&loss);
            any = true;
        }
        if any {
            self.shared.capture_wake.notify();
        }
    }
}
