//! Appends records to a recording: payload first, header last, then the commit that followers see.
//!
//! All memory is made by [`Writer::create`]; appending copies the payload once, into the pages of the store, and computes its
//! checksum on the way.

use std::path::Path;

use super::body::{self, Totals};
use super::build::{Builder, WriteError};
use super::columns;
use super::file_store::{CreateError, FileStore};
use super::format::{Geometry, RecordKind, section};
use super::room::{Room, Unlimited};
use super::session::{self, SessionHeader};
use super::settings::{SyncPolicy, WriterSettings, geometry};
use super::store::{PageStore, StoreCounts, StoreError};
use crate::event::Event;
use crate::frame::{Frame, PictureInfo, PixelFormat};
use crate::ledger::Loss;
use crate::time::{ClockPair, Span, Timestamp};

/// Wall minus monotonic may move by so much before it is written down.
const CLOCK_STEP: Span = Span::from_ms(10);

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Appended {
    /// Where its record begins.
    pub offset: u64,
    /// Its ordinal, from 0.
    pub frame: u64,
}

/// Why a record was not appended. The recording so far is readable in every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The frame is larger than `WriterSettings::record_bytes_max`; nothing was written, the next frame may fit.
    #[error("the record needs {needed} bytes, this recording was made for at most {limit}")]
    TooBig {
        /// Bytes of the record.
        needed: u64,
        /// Longest record of this file.
        limit: u64,
    },
    /// The file cannot grow; nothing was written. `finish` works; so does trying again once there is room.
    #[error("the recording ends after {frames} frames: {reason}")]
    Full {
        /// Frames that the recording holds.
        frames: u64,
        /// Why it cannot grow. [`StoreError::FileLimit`]: go on in a new file.
        reason: StoreError,
    },
    /// An earlier failure left the end of the file in doubt; nothing is written any more.
    #[error("the recording failed after {frames} frames, of which {durable} are safely on the disk: {reason}")]
    Poisoned {
        /// Frames that were appended.
        frames: u64,
        /// Frames that a completed sync covers.
        durable: u64,
        /// What failed.
        reason: StoreError,
    },
}

impl AppendError {
    /// True when the recording should be closed and another begun: the file cannot grow, but the disk may have room.
    pub const fn must_split(&self) -> bool {
        matches!(self, Self::Full { reason: StoreError::FileLimit { .. }, .. })
    }
}

/// What a closed recording holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteSummary {
    /// Frames.
    pub frames: u64,
    /// Rows of all results.
    pub detections: u64,
    /// Frames lost, by the drop ledger.
    pub lost: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Capture times of the first and the newest frame, monotonic.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Faults, waits, syncs.
    pub counts: StoreCounts,
}

/// The recording could not be closed cleanly. It opens without repair and shows every frame before the damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the recording of {frames} frames could not be closed ({durable} of them are safely on the disk): {reason}")]
pub struct FinishError {
    /// Frames that were appended.
    pub frames: u64,
    /// Frames that a completed sync covers.
    pub durable: u64,
    /// What failed.
    pub reason: StoreError,
}

/// Writes one recording. Dropping it without [`finish`](Writer::finish) leaves an unclosed recording, which opens with every frame.
#[derive(Debug)]
pub struct Writer<S: PageStore = FileStore> {
    build: Builder<S>,
    sync: SyncPolicy,
    totals: Totals,
    now: ClockPair,
    synced_at: Timestamp,
    /// End and frames of the sync that runs.
    syncing: Option<(u64, u64)>,
    durable: u64,
    failed: Option<StoreError>,
}

impl Writer<FileStore> {
    /// Creates the file and makes its front, session and clock durable. Only the disk limits its size;
    /// [`Writer::create_within`] takes other rules.
    ///
    /// # Errors
    /// The file exists (it is never overwritten), a setting is out of range, or the disk refuses.
    pub fn create(path: &Path, header: &SessionHeader, settings: &WriterSettings) -> Result<Self, CreateError> {
        Self::create_within(path, header, settings, Box::new(Unlimited))
    }

    /// As [`Writer::create`]; `room` is asked before every growth.
    ///
    /// # Errors
    /// As [`Writer::create`], and when `room` has none.
    pub fn create_within(
        path: &Path,
        header: &SessionHeader,
        settings: &WriterSettings,
        room: Box<dyn Room>,
    ) -> Result<Self, CreateError> {
        let geometry = geometry(header, settings)?;
        let store = FileStore::create(path, &geometry, settings, room)?;
        Self::with_store(store, geometry, header, settings.sync).map_err(|reason| {
            // Nothing is left behind; but what has the name of a file that is gone is somebody else's.
            if reason != StoreError::Deleted {
                let _ = std::fs::remove_file(path);
            }
            CreateError::store(path, reason)
        })
    }
}

impl<S: PageStore> Writer<S> {
    /// As [`Writer::create`], over any store whose front is written and whose first step is allocated.
    ///
    /// # Errors
    /// The store has no room for a session, or fails.
    pub fn with_store(
        store: S,
        geometry: Geometry,
        header: &SessionHeader,
        sync: SyncPolicy,
    ) -> Result<Self, StoreError> {
        let mut writer = Self {
            build: Builder::new(store, geometry, session::encode(header, &geometry)),
            sync,
            totals: Totals { clock: header.clock, ..Totals::default() },
            now: header.clock,
            synced_at: header.clock.monotonic,
            syncing: None,
            durable: 0,
            failed: None,
        };
        let begun = writer.build.session(header.clock).and_then(|()| writer.write_clock(header.clock, Span::ZERO));
        begun.map_err(WriteError::store)?;
        writer.sync_now()?;
        Ok(writer)
    }

    /// Appends one frame: JPEG when it has one, else pixels, else headless.
    ///
    /// `now`: both clocks at this moment. When wall minus monotonic moved by more than 10 ms, a clock record goes first;
    /// the time also drives the sync policy.
    ///
    /// Cost: one copy of the payload; no allocation; no lock. It waits only for a file that did not grow in time
    /// (counted), and with [`SyncPolicy::EveryFrame`].
    ///
    /// # Errors
    /// [`AppendError`]; the frame was not written, or (`Poisoned` with `EveryFrame`) not made durable.
    pub fn append(&mut self, frame: &Frame<'_>, now: ClockPair) -> Result<Appended, AppendError> {
        self.begin(now)?;
        let (info, picture) = stored_picture(frame);
        if self.build.index_is_full() {
            self.build.index(&self.totals, now).map_err(|e| self.append_error(e))?;
        }
        let head = self.build.head();
        head.add(section::BODY, |out| body::write_frame(frame.meta, info, out));
        head.add(section::RESULTS, |out| columns::write(frame.results, out));
        let bulk = [(section::PICTURE, picture), (section::SIDE, frame.side), (section::SENSOR, frame.sensor)];
        let captured_at = frame.meta.captured_at;
        let offset = self.build.frame(&bulk, captured_at, &self.totals, now).map_err(|e| self.append_error(e))?;
        self.totals.detections = self.totals.detections.saturating_add(frame.results.len() as u64);
        self.totals.first.get_or_insert(ClockPair { monotonic: captured_at, wall: frame.meta.captured_wall });
        self.totals.last_captured_at = captured_at;
        self.build.publish(self.durable);
        self.settle_sync()?;
        self.check()?;
        Ok(Appended { offset, frame: self.build.frames() - 1 })
    }

    /// Appends an entry of the drop ledger and returns its offset.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn loss(&mut self, loss: &Loss) -> Result<u64, AppendError> {
        let previous = self.totals.newest_loss;
        let offset = self.small(RecordKind::Loss, |out| body::write_loss(loss, previous, out))?;
        self.totals.newest_loss = offset;
        self.totals.losses += 1;
        self.totals.lost = self.totals.lost.saturating_add(loss.count);
        Ok(offset)
    }

    /// Appends a bookmark, trigger or note and returns its offset.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn event(&mut self, event: &Event) -> Result<u64, AppendError> {
        let previous = self.totals.newest_event;
        let offset = self.small(RecordKind::Event, |out| body::write_event(event, previous, out))?;
        self.totals.newest_event = offset;
        self.totals.events += 1;
        Ok(offset)
    }

    /// Lets time pass without a frame: a clock step is written down and a sync that is due begins. Call it a few times a
    /// second while nothing comes.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn tick(&mut self, now: ClockPair) -> Result<(), AppendError> {
        self.begin(now)?;
        self.settle_sync()?;
        // A sync that ended meanwhile is told to followers now, not with the next frame.
        self.build.publish(self.durable);
        Ok(())
    }

    /// Syncs everything appended so far and returns when it is durable.
    ///
    /// # Errors
    /// [`AppendError::Poisoned`].
    pub fn sync(&mut self) -> Result<(), AppendError> {
        self.check()?;
        self.sync_now().map_err(|e| self.append_error(WriteError::Store(e)))
    }

    /// Writes the last index and the footer, cuts the file off behind them, and syncs.
    ///
    /// # Errors
    /// [`FinishError`]; the file opens all the same.
    pub fn finish(mut self) -> Result<WriteSummary, FinishError> {
        match self.close() {
            Ok(()) => Ok(self.summary()),
            Err(reason) => Err(FinishError { frames: self.frames(), durable: self.durable, reason }),
        }
    }

    /// Frames that a completed sync covers.
    pub fn durable_frames(&mut self) -> u64 {
        self.poll_sync();
        self.durable
    }

    /// Frames appended.
    pub fn frames(&self) -> u64 {
        self.build.frames()
    }

    /// Sums so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Bytes of the file that are in use.
    pub fn bytes(&self) -> u64 {
        self.build.position()
    }

    /// Bytes of the file if a record of `record_bytes` were appended and the recording closed then: an upper bound.
    pub fn closed_bytes_with(&self, record_bytes: u64) -> u64 {
        self.build.closed_bytes_with(record_bytes)
    }

    /// The store, for those who brought it.
    pub fn store(&self) -> &S {
        self.build.store()
    }

    /// What the recording holds so far.
    pub fn summary(&self) -> WriteSummary {
        WriteSummary {
            frames: self.frames(),
            detections: self.totals.detections,
            lost: self.totals.lost,
            bytes: self.bytes(),
            span: self.totals.first.map(|first| (first.monotonic, self.totals.last_captured_at)),
            counts: self.store().counts(),
        }
    }

    /// Notes the time; refuses when an earlier failure is known.
    fn begin(&mut self, now: ClockPair) -> Result<(), AppendError> {
        self.check()?;
        self.now = now;
        let moved = now.offset() - self.totals.clock.offset();
        if moved.abs() > CLOCK_STEP {
            self.write_clock(now, moved).map_err(|e| self.append_error(e))?;
        }
        Ok(())
    }

    fn small(&mut self, kind: RecordKind, body: impl FnOnce(&mut [u8]) -> usize) -> Result<u64, AppendError> {
        self.check()?;
        self.build.head().add(section::BODY, body);
        let offset = self.build.small(kind, &self.totals, self.now).map_err(|e| self.append_error(e))?;
        self.build.publish(self.durable);
        Ok(offset)
    }

    fn write_clock(&mut self, pair: ClockPair, step: Span) -> Result<(), WriteError> {
        let previous = self.totals.newest_clock;
        let note = body::ClockNote { pair, step_ns: step.as_ns() };
        self.build.head().add(section::BODY, |out| body::write_clock(&note, previous, out));
        let offset = self.build.small(RecordKind::Clock, &self.totals, pair)?;
        self.totals.newest_clock = offset;
        self.totals.clock_steps += u64::from(step != Span::ZERO);
        self.totals.clock = pair;
        self.build.publish(self.durable);
        Ok(())
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.poll_sync();
        if let Some(reason) = self.failed {
            return Err(reason);
        }
        self.build.index(&self.totals, self.now).map_err(WriteError::store)?;
        self.build.footer(&self.totals, self.now).map_err(WriteError::store)?;
        self.build.publish(self.durable);
        self.build.close()?;
        self.durable = self.frames();
        Ok(())
    }

    fn settle_sync(&mut self) -> Result<(), AppendError> {
        match self.sync {
            SyncPolicy::Never => {}
            SyncPolicy::EveryFrame => self.sync_now().map_err(|e| self.append_error(WriteError::Store(e)))?,
            SyncPolicy::Every(span) => self.sync_if_due(span),
        }
        Ok(())
    }

    /// A sync that is due begins when none runs. The padding before it lets the next record begin on a fresh page, so that
    /// a synced page is never written again.
    fn sync_if_due(&mut self, every: Span) {
        self.poll_sync();
        let waited = self.now.monotonic - self.synced_at;
        if self.syncing.is_some() || waited.abs() < every {
            return;
        }
        self.synced_at = self.now.monotonic;
        if let Some(end) = self.build.fresh_page(self.now) {
            self.build.publish(self.durable);
            self.syncing = Some((end, self.frames()));
            self.build.store_mut().sync_start(end);
            self.poll_sync();
        }
    }

    fn sync_now(&mut self) -> Result<(), StoreError> {
        let end = self.build.fresh_page(self.now).unwrap_or(self.build.position());
        self.build.publish(self.durable);
        let synced = self.build.store_mut().sync_wait(end);
        if let Err(error) = synced {
            self.failed.get_or_insert(error);
            return Err(error);
        }
        self.syncing = None;
        self.synced_at = self.now.monotonic;
        self.durable = self.frames();
        self.build.publish(self.durable);
        Ok(())
    }

    fn poll_sync(&mut self) {
        match self.build.store_mut().synced() {
            Err(error) => _ = self.failed.get_or_insert(error),
            Ok(end) => {
                if let Some((_, frames)) = self.syncing.take_if(|(until, _)| *until <= end) {
                    self.durable = frames;
                }
            }
        }
    }

    fn check(&mut self) -> Result<(), AppendError> {
        self.poll_sync();
        match self.failed {
            None => Ok(()),
            Some(reason) => Err(self.append_error(WriteError::Store(reason))),
        }
    }

    fn append_error(&mut self, error: WriteError) -> AppendError {
        let frames = self.frames();
        match error {
            WriteError::TooBig { needed, limit } => AppendError::TooBig { needed, limit },
            WriteError::Store(reason) if reason.is_full() => AppendError::Full { frames, reason },
            WriteError::Store(error) => {
                // What failed stays failed: half-written state never becomes committed state.
                let reason = *self.failed.get_or_insert(error);
                if reason == StoreError::Deleted {
                    self.durable = 0;
                }
                AppendError::Poisoned { frames, durable: self.durable, reason }
            }
        }
    }
}

/// The picture that goes into the file and its shape.
fn stored_picture<'a>(frame: &Frame<'a>) -> (Option<PictureInfo>, &'a [u8]) {
    match (frame.jpeg, frame.pixels) {
        (Some(jpeg), _) => (Some(PictureInfo::packed(PixelFormat::Jpeg, jpeg.width, jpeg.height)), jpeg.bytes),
        (None, Some(pixels)) => (Some(pixels.info), pixels.bytes),
        (None, None) => (None, &[]),
    }
}
