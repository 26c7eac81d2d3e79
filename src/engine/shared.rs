//! What the threads of one engine share beside the rings: the wish to stop, wakes, counters. Atomics only, no lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::status::LostCells;
use crate::limits::ENCODERS_MAX;
use crate::time::Span;
use crate::wake::Wake;

/// Longest sleep before a thread looks whether it is to stop. Stopping wakes those that sleep on a [`Wake`] at once; only a
/// thread inside [`Source::fill`](crate::source::Source::fill) needs the limit.
pub const LOOK_UP: Span = Span::from_ms(50);

/// Shared by the threads of one engine.
#[derive(Debug, Default)]
pub struct Shared {
    stop: AtomicBool,
    latest: AtomicBool,
    skipped: AtomicU64,
    captured: AtomicU64,
    slots_used: AtomicU64,
    /// Frames lost before the circle; the capture thread writes it.
    pub lost: LostCells,
    /// The capture thread sleeps here when it waits for a free slot.
    pub capture_wake: Wake,
    /// The encoder threads sleep here.
    pub encoder_wakes: [Wake; ENCODERS_MAX],
    /// The thread that takes frames off the circle sleeps here.
    pub sink_wake: Wake,
    /// The owner of a session sleeps here until it has ended.
    pub ended_wake: Wake,
}

impl Shared {
    /// Asks all threads to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake_all();
    }

    /// True once [`stop`](Self::stop) was called.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Wakes every thread.
    pub fn wake_all(&self) {
        self.capture_wake.notify();
        self.encoder_wakes.iter().for_each(Wake::notify);
        self.sink_wake.notify();
        self.ended_wake.notify();
    }

    /// Only the newest frame is wanted.
    pub fn set_latest(&self, latest: bool) {
        self.latest.store(latest, Ordering::Release);
    }

    /// True when only the newest frame is wanted.
    pub fn wants_latest(&self) -> bool {
        self.latest.load(Ordering::Acquire)
    }

    /// Counts frames that the reader did not want.
    pub fn add_skipped(&self, frames: u64) {
        self.skipped.fetch_add(frames, Ordering::Relaxed);
    }

    /// Frames that the reader did not want.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Counts a frame that the source delivered.
    pub fn add_captured(&self) {
        self.captured.fetch_add(1, Ordering::Relaxed);
    }

    /// Slots that are in use as the capture thread sees it.
    pub fn set_slots_used(&self, slots: usize) {
        self.slots_used.store(slots as u64, Ordering::Relaxed);
    }

    /// Slots in use, the one that the capture thread fills included.
    pub fn slots_used(&self) -> u64 {
        self.slots_used.load(Ordering::Relaxed)
    }

    /// Frames that the source delivered.
    pub fn captured(&self) -> u64 {
        self.captured.load(Ordering::Relaxed)
    }
}

/// Wakes everybody when it is dropped, so that they see that a thread ended, however it ended. Declare it before what is
/// to be gone by then: locals are dropped in reverse order.
pub struct WakeOnDrop(pub Arc<Shared>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake_all();
    }
}
