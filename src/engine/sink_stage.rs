//! The last stage: each frame goes to the recorder once and to every tap that is free.
//!
//! The same code runs in the sink's thread and, on a manual clock, in the caller's.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rtrb::{Consumer, Producer};

use super::status::SinkCells;
use super::stream::labels;
use super::tap::TapIn;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::ledger::{Cause, Ledger, Loss};
use crate::limits::TAPS_MAX;
use crate::sink::{Added, FrameSink, Summary};
use crate::slot::Slot;
use crate::source::SourceInfo;

/// What the session's owner sends while it runs.
pub struct Wishes {
    pub taps: Consumer<Box<TapIn>>,
    pub events: Consumer<Event>,
    /// Taps whose reader is gone, back to the owner: this thread frees no memory.
    pub closed_taps: Producer<Box<TapIn>>,
}

/// The recorder, the taps, and the account of what was lost behind the source.
pub struct SinkStage {
    sink: Box<dyn FrameSink>,
    info: Arc<SourceInfo>,
    cells: Arc<SinkCells>,
    wishes: Wishes,
    taps: heapless::Vec<Box<TapIn>, TAPS_MAX>,
    /// Losses noticed here; those of the capture thread are counted there.
    own: Ledger,
    failure: Option<Error>,
}

/// How a session's sink ended.
pub struct SinkEnding {
    /// What the sink kept.
    pub summary: Summary,
    /// Why it took no more, if it did not.
    pub failure: Option<Error>,
}

impl SinkStage {
    pub fn new(sink: Box<dyn FrameSink>, info: Arc<SourceInfo>, cells: Arc<SinkCells>, wishes: Wishes) -> Self {
        Self { sink, info, cells, wishes, taps: heapless::Vec::new(), own: Ledger::new(), failure: None }
    }

    /// Takes one frame of the circle.
    pub fn frame(&mut self, slot: &Slot) {
        if let Some(cause) = slot.lost {
            return self.lose(slot, cause, true);
        }
        self.keep(slot);
        self.cells.set_rates(slot.meta.fps, slot.meta.dps);
        let frame = slot.frame(labels(&self.info));
        for tap in &mut self.taps {
            tap.offer(&frame);
        }
    }

    fn keep(&mut self, slot: &Slot) {
        if self.failure.is_some() {
            self.sink.after_end(&slot.frame(labels(&self.info)));
            return self.lose(slot, Cause::WriteFailed, false);
        }
        match self.sink.add(&slot.frame(labels(&self.info))) {
            Ok(Added::Kept) => {
                self.cells.kept.fetch_add(1, Ordering::Relaxed);
                self.cells.detections.fetch_add(slot.results.len() as u64, Ordering::Relaxed);
            }
            // It is in the sink's own account already.
            Ok(Added::Lost(cause)) => self.lose(slot, cause, false),
            Ok(Added::Ended(ended)) => {
                self.fail(ended.into());
                self.lose(slot, Cause::WriteFailed, false);
            }
            Err(error) => {
                self.fail(error);
                self.lose(slot, Cause::WriteFailed, false);
            }
        }
        self.cells.bytes.store(self.sink.bytes_written(), Ordering::Relaxed);
    }

    /// Takes a loss that was noticed before the circle.
    pub fn loss(&mut self, loss: &Loss) {
        if self.failure.is_none() {
            if let Err(error) = self.sink.loss(loss) {
                self.fail(error);
            }
        }
    }

    /// Nothing came for a moment.
    pub fn idle(&mut self) {
        if self.failure.is_none() {
            self.sink.idle();
        }
    }

    /// Takes new taps and events, and lets go of taps without a reader. No allocation, no waiting.
    pub fn take_wishes(&mut self) {
        while let Ok(event) = self.wishes.events.pop() {
            if self.failure.is_none() {
                if let Err(error) = self.sink.event(&event) {
                    self.fail(error);
                }
            }
        }
        let mut index = 0;
        while index < self.taps.len() {
            if self.taps[index].is_closed() {
                // The ring has room for every tap that there can be.
                let _ = self.wishes.closed_taps.push(self.taps.swap_remove(index));
            } else {
                index += 1;
            }
        }
        while !self.taps.is_full() {
            let Ok(tap) = self.wishes.taps.pop() else { break };
            let _ = self.taps.push(tap);
        }
    }

    /// True when [`take_wishes`](Self::take_wishes) has something to do.
    pub fn has_wishes(&self) -> bool {
        !self.wishes.taps.is_empty() || !self.wishes.events.is_empty()
    }

    /// Closes the recording.
    pub fn finish(mut self) -> SinkEnding {
        self.take_wishes();
        let ending = match self.sink.finish() {
            Ok(summary) => SinkEnding { summary, failure: self.failure.take() },
            Err(error) => {
                SinkEnding { summary: Summary::default(), failure: Some(self.failure.take().unwrap_or(error)) }
            }
        };
        self.cells.failed.store(ending.failure.is_some(), Ordering::Release);
        self.cells.bytes.store(ending.summary.bytes.max(self.sink.bytes_written()), Ordering::Relaxed);
        self.taps.clear();
        self.cells.ended.store(true, Ordering::Release);
        ending
    }

    fn lose(&mut self, slot: &Slot, cause: Cause, is_news: bool) {
        let loss = Loss::one(cause, slot.meta.sequence, slot.meta.captured_at);
        self.own.add(loss);
        // Only the totals are wanted here.
        while self.own.take().is_some() {}
        self.cells.lost.set(&self.own);
        if is_news {
            self.loss(&loss);
        }
    }

    fn fail(&mut self, error: Error) {
        self.failure = Some(error);
        self.cells.failed.store(true, Ordering::Release);
    }
}

/// Keeps nothing: for sessions that only have taps.
pub struct Nowhere;

impl FrameSink for Nowhere {
    fn begin(&mut self, _: &SourceInfo, _: crate::time::ClockPair) -> Result<()> {
        Ok(())
    }

    fn add(&mut self, _: &crate::frame::Frame<'_>) -> Result<Added> {
        Ok(Added::Kept)
    }

    fn loss(&mut self, _: &Loss) -> Result<()> {
        Ok(())
    }

    fn event(&mut self, _: &Event) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> Result<Summary> {
        Ok(Summary::default())
    }
}
