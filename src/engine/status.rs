//! How a session does, told without stopping it: every number is an atomic that one thread writes and any thread reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::ledger::{Cause, Ledger};

const CAUSES: usize = Cause::ALL.len();

/// A session at one moment. The numbers are read one after another, so they may be a frame apart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SessionStatus {
    /// Frames that the source delivered.
    pub captured: u64,
    /// Frames that the sink kept.
    pub kept: u64,
    /// Rows of results (boxes, persons, classes) in the frames kept.
    pub detections: u64,
    /// Frames lost by cause, in the order of [`Cause::ALL`].
    pub lost_by_cause: [u64; CAUSES],
    /// Frames a second, as the newest frame says.
    pub fps: f64,
    /// Results a second, as the newest frame says.
    pub dps: f64,
    /// Slots in use: with a thread, or waiting for one.
    pub slots_used: u64,
    /// All slots. When all are used, a live source loses frames.
    pub slots: u64,
    /// Bytes that the sink wrote.
    pub bytes: u64,
    /// The source has ended (or failed) and everything it delivered has passed the sink.
    pub ended: bool,
    /// The sink takes no more (disk full); frames are lost as [`Cause::WriteFailed`] until the session is stopped.
    pub sink_failed: bool,
}

impl SessionStatus {
    /// Frames lost, all causes.
    pub fn lost(&self) -> u64 {
        self.lost_by_cause.iter().sum()
    }

    /// Frames lost for `cause`.
    pub fn lost_for(&self, cause: Cause) -> u64 {
        self.lost_by_cause[usize::from(cause.code()) - 1]
    }
}

/// Frames lost by cause, written by one thread.
#[derive(Debug, Default)]
pub struct LostCells([AtomicU64; CAUSES]);

impl LostCells {
    /// Takes over the totals of a ledger.
    pub fn set(&self, ledger: &Ledger) {
        for (cell, cause) in self.0.iter().zip(Cause::ALL) {
            cell.store(ledger.total(cause), Ordering::Relaxed);
        }
    }

    /// Adds the numbers to `sums`.
    pub fn add_to(&self, sums: &mut [u64; CAUSES]) {
        for (sum, cell) in sums.iter_mut().zip(&self.0) {
            *sum += cell.load(Ordering::Relaxed);
        }
    }
}

/// What the sink's thread tells.
#[derive(Debug, Default)]
pub struct SinkCells {
    pub kept: AtomicU64,
    pub detections: AtomicU64,
    pub lost: LostCells,
    pub bytes: AtomicU64,
    pub ended: AtomicBool,
    pub failed: AtomicBool,
    fps_bits: AtomicU64,
    dps_bits: AtomicU64,
}

impl SinkCells {
    pub fn set_rates(&self, fps: f64, dps: f64) {
        self.fps_bits.store(fps.to_bits(), Ordering::Relaxed);
        self.dps_bits.store(dps.to_bits(), Ordering::Relaxed);
    }

    /// Fills in what the sink's thread knows.
    pub fn read(&self, status: &mut SessionStatus) {
        status.kept = self.kept.load(Ordering::Relaxed);
        status.detections = self.detections.load(Ordering::Relaxed);
        self.lost.add_to(&mut status.lost_by_cause);
        status.bytes = self.bytes.load(Ordering::Relaxed);
        status.fps = f64::from_bits(self.fps_bits.load(Ordering::Relaxed));
        status.dps = f64::from_bits(self.dps_bits.load(Ordering::Relaxed));
        status.ended = self.ended.load(Ordering::Acquire);
        status.sink_failed = self.failed.load(Ordering::Acquire);
    }
}
