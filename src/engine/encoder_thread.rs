//! An encoder thread: slot → JPEG in the slot → on to the sink.

use std::sync::Arc;

use super::shared::{LOOK_UP, Shared, WakeOnDrop};
use crate::jpeg::Encoder;
use crate::ring::{EncoderEnd, Taken};

/// All that the thread owns.
pub struct EncoderThread {
    pub shared: Arc<Shared>,
    /// Which of the encoders it is.
    pub index: usize,
    pub end: EncoderEnd,
    pub encoder: Encoder,
}

impl EncoderThread {
    /// Runs until the capture thread is gone and its last frame was passed on.
    pub fn run(mut self) {
        // Dropped last, when the ring's end is gone: those who wait then see it.
        let wake = WakeOnDrop(Arc::clone(&self.shared));
        self.encode();
        drop(self);
        drop(wake);
    }

    fn encode(&mut self) {
        loop {
            match self.end.take() {
                Taken::Slot(mut slot) => {
                    // A frame that cannot be compressed goes on without a picture, so that the order holds; the sink
                    // accounts for it.
                    slot.lost = self.encoder.encode_slot(&mut slot).err().map(|error| error.cause());
                    self.end.pass(slot);
                    self.shared.sink_wake.notify();
                }
                Taken::Empty => {
                    let end = &self.end;
                    self.shared.encoder_wakes[self.index].wait(LOOK_UP, || end.is_ready());
                }
                Taken::Ended => return,
            }
        }
    }
}
