//! A tap: the frames of a session in a loop that may be as slow as it likes.
//!
//! A tap has slots of its own, into which the sink's thread copies each frame if one is free. What does not fit is skipped
//! and counted; the recording does not notice.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};

use super::newest::{NewestIn, NewestOut, newest};
use super::shared::LOOK_UP;
use super::status::SinkCells;
use super::stream::{Policy, StreamStats, labels};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::slot::{Slot, SlotSizes};
use crate::source::SourceInfo;
use crate::time::{Clock, Span};
use crate::wake::Wake;

/// What a tap is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TapPlan {
    /// Every frame: one slot with the reader, in the others frames wait.
    Every { slots: usize },
    /// The newest frame: three slots.
    Latest,
}

/// Slots of a tap that wants every frame, unless told otherwise: 5 frames ahead of the reader.
pub const EVERY_SLOTS: usize = 6;

impl TapPlan {
    /// By policy.
    pub const fn of(policy: Policy) -> Self {
        match policy {
            Policy::Every => Self::Every { slots: EVERY_SLOTS },
            Policy::Latest => Self::Latest,
        }
    }
}

/// Shared by both sides.
#[derive(Debug, Default)]
struct TapShared {
    wake: Wake,
    skipped: AtomicU64,
    /// The reader is gone.
    closed: AtomicBool,
    /// The writer is gone.
    ended: AtomicBool,
}

/// The side of the sink's thread.
pub struct TapIn {
    shared: Arc<TapShared>,
    places: PlacesIn,
}

enum PlacesIn {
    Every {
        free: Consumer<Box<Slot>>,
        filled: Producer<Box<Slot>>,
        /// A free slot that a frame did not fit.
        spare: Option<Box<Slot>>,
    },
    Latest(NewestIn),
}

enum PlacesOut {
    Every { filled: Consumer<Box<Slot>>, free: Producer<Box<Slot>>, held: Option<Box<Slot>> },
    Latest { newest: NewestOut, lends: bool },
}

/// The frames of a session, from [`Session::frames`](crate::Session::frames).
pub struct Tap {
    shared: Arc<TapShared>,
    places: PlacesOut,
    info: Arc<SourceInfo>,
    /// Tells that the session has ended, also to a tap that came too late for its sink.
    session: Arc<SinkCells>,
    clock: Arc<dyn Clock>,
    frames: u64,
    /// Why this tap is none; told once.
    refusal: Option<Error>,
}

/// A tap's slots, for both sides.
pub struct Places(PlacesIn, PlacesOut);

impl Places {
    /// Makes them, of these sizes.
    pub fn new(plan: TapPlan, sizes: &SlotSizes) -> Self {
        let sizes = SlotSizes { scratch: 0, ..*sizes };
        match plan {
            TapPlan::Latest => {
                let (input, output) = newest([(); 3].map(|()| Slot::new(&sizes)));
                Self(PlacesIn::Latest(input), PlacesOut::Latest { newest: output, lends: false })
            }
            TapPlan::Every { slots } => {
                let (mut free_in, free_out) = RingBuffer::new(slots);
                let (filled_in, filled_out) = RingBuffer::new(slots);
                for _ in 0..slots {
                    // The ring was made for as many.
                    let _ = free_in.push(Slot::new(&sizes));
                }
                Self(
                    PlacesIn::Every { free: free_out, filled: filled_in, spare: None },
                    PlacesOut::Every { filled: filled_out, free: free_in, held: None },
                )
            }
        }
    }
}

/// Makes a tap of these slots.
pub fn tap(places: Places, info: Arc<SourceInfo>, session: Arc<SinkCells>, clock: Arc<dyn Clock>) -> (TapIn, Tap) {
    let shared = Arc::new(TapShared::default());
    let Places(places_in, places_out) = places;
    let tap_in = TapIn { shared: Arc::clone(&shared), places: places_in };
    (tap_in, Tap { shared, places: places_out, info, session, clock, frames: 0, refusal: None })
}

impl TapIn {
    /// Copies the frame if there is a place for it. No allocation, no waiting.
    pub fn offer(&mut self, frame: &Frame<'_>) {
        let copied = match &mut self.places {
            PlacesIn::Latest(newest) => newest.slot_mut().copy_from(frame).is_ok() && !newest.publish(),
            PlacesIn::Every { free, filled, spare } => match spare.take().or_else(|| free.pop().ok()) {
                None => false,
                Some(mut slot) => match slot.copy_from(frame) {
                    Ok(()) => filled.push(slot).is_ok(),
                    Err(_) => {
                        // A frame that does not fit is not lent; its slot is for the next one.
                        *spare = Some(slot);
                        false
                    }
                },
            },
        };
        if !copied {
            self.shared.skipped.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.wake.notify();
    }

    /// True when the reader is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }
}

impl Drop for TapIn {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
        self.shared.wake.notify();
    }
}

impl Tap {
    /// A tap that only says why it is none.
    pub(super) fn refused(mut self, refusal: Error) -> Self {
        self.refusal = Some(refusal);
        self
    }

    /// Lends the next frame of the session as the policy says, or `None` when the session has ended.
    ///
    /// # Errors
    /// At the first call only: more than `TAPS_MAX` taps are in use at a time.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>> {
        while !self.advance(LOOK_UP)? {
            if self.is_ended() {
                return Ok(None);
            }
        }
        Ok(self.current())
    }

    /// As [`next`](Self::next), but waits for at most `within`: `None` also when nothing came. In a session on a manual
    /// clock nothing comes while this waits; give [`Span::ZERO`] between its steps.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_within(&mut self, within: Span) -> Result<Option<Frame<'_>>> {
        Ok(if self.advance(within)? { self.current() } else { None })
    }

    /// True when the session has ended and its last frame was lent.
    pub fn is_ended(&self) -> bool {
        // Asked before looking: what was written before the end is visible after it.
        let ended = self.shared.ended.load(Ordering::Acquire) || self.session.ended.load(Ordering::Acquire);
        ended && !self.places.is_ready()
    }

    /// Frames lent, and frames that this reader was too slow for. Nothing is lost in a tap.
    pub fn stats(&self) -> StreamStats {
        StreamStats { frames: self.frames, skipped: self.shared.skipped.load(Ordering::Relaxed), lost: 0 }
    }

    fn advance(&mut self, within: Span) -> Result<bool> {
        if let Some(refusal) = self.refusal.take() {
            return Err(refusal);
        }
        self.places.release();
        let (places, shared) = (&self.places, &self.shared);
        shared.wake.wait(within, || places.is_ready() || shared.ended.load(Ordering::Acquire));
        let advanced = self.places.take();
        self.frames += u64::from(advanced);
        Ok(advanced)
    }

    fn current(&self) -> Option<Frame<'_>> {
        self.places.slot().map(|slot| slot.frame(labels(&self.info)))
    }
}

impl PlacesOut {
    fn is_ready(&self) -> bool {
        match self {
            Self::Every { filled, .. } => !filled.is_empty(),
            Self::Latest { newest, .. } => newest.is_new(),
        }
    }

    fn release(&mut self) {
        match self {
            Self::Every { free, held, .. } => {
                if let Some(slot) = held.take() {
                    let _ = free.push(slot);
                }
            }
            Self::Latest { lends, .. } => *lends = false,
        }
    }

    fn take(&mut self) -> bool {
        match self {
            Self::Every { filled, held, .. } => {
                *held = filled.pop().ok();
                held.is_some()
            }
            Self::Latest { newest, lends } => {
                *lends = newest.update();
                *lends
            }
        }
    }

    fn slot(&self) -> Option<&Slot> {
        match self {
            Self::Every { held, .. } => held.as_deref(),
            Self::Latest { newest, lends } => lends.then(|| newest.slot()),
        }
    }
}

impl super::replay_stream::Live for Tap {
    fn advance_within(&mut self, within: Span) -> Result<bool> {
        self.advance(within)
    }

    fn current(&self) -> Option<Frame<'_>> {
        Self::current(self)
    }

    fn is_ended(&self) -> bool {
        Self::is_ended(self)
    }

    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn stats(&self) -> StreamStats {
        Self::stats(self)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("stats", &self.stats()).finish()
    }
}
