//! Frames in the caller's own loop.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::capture_thread::{CaptureThread, loss_before, loss_ring};
use super::newest::{NewestOut, newest};
use super::pump::{Pump, Pumped};
use super::settings::Settings;
use super::shared::{LOOK_UP, Shared};
use super::threads;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::ledger::{Ledger, Loss};
use crate::limits::LEDGER_ENTRIES_MAX;
use crate::ring::{SinkEnd, Taken, circle};
use crate::slot::Slot;
use crate::source::{Source, SourceError, SourceInfo};
use crate::time::{Clock, Span};

/// Which frames a reader wants that is slower than the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Every one, in order. When the reader is so slow that no slot is free, a live source loses frames (counted as
    /// [`Cause::RingFull`](crate::Cause::RingFull)), any other waits.
    #[default]
    Every,
    /// The newest one. Frames that were replaced before they were read are counted as skipped, not as lost.
    Latest,
}

/// What passed a [`Stream`] so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Frames lent.
    pub frames: u64,
    /// Frames that the reader was too slow for, under [`Policy::Latest`].
    pub skipped: u64,
    /// Frames lost, all causes; [`Stream::ledger`] tells them apart.
    pub lost: u64,
}

impl fmt::Display for StreamStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} frames, {} skipped, {} lost", self.frames, self.skipped, self.lost)
    }
}

/// A source that runs, from [`Capture::start`](crate::Capture::start). Dropping it stops the source.
///
/// On a real clock the source has a thread of its own and fills slots ahead; on a manual clock each call of
/// [`next`](Self::next) runs the source in the caller's thread, so that two runs see the same.
pub struct Stream {
    feed: Feed,
    info: Arc<SourceInfo>,
    clock: Arc<dyn Clock>,
    account: Account,
    notes: Vec<String>,
}

enum Feed {
    Thread(Box<ThreadFeed>),
    Steps(Box<StepFeed>),
}

/// What was lost and lent.
#[derive(Default)]
struct Account {
    /// Losses wait here for the frame (or the end) that they come before, merged when they are many.
    ledger: Ledger,
    /// Those before the frame that is lent.
    recent: heapless::Vec<Loss, LEDGER_ENTRIES_MAX>,
    frames: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Advanced {
    Frame,
    Nothing,
    End,
}

impl Stream {
    pub(super) fn start(source: Box<dyn Source>, clock: Arc<dyn Clock>, settings: &Settings) -> Result<Self> {
        settings.check()?;
        let sizes = settings.slot_sizes(source.describe(), 0)?;
        let mut notes = Vec::new();
        let pump = |source| Pump::start(source, Arc::clone(&clock), settings);
        let (feed, info) = if clock.is_manual() {
            let slot = Slot::new(&sizes);
            let pump = pump(source)?;
            let info = pump.info().clone();
            (Feed::Steps(Box::new(StepFeed { pump, slot, ended: false })), info)
        } else {
            // Memory first: touching it takes longer than a camera's own buffers last.
            let slots: Vec<_> = (0..settings.slots(source.describe(), 0)).map(|_| Slot::new(&sizes)).collect();
            let places = [(); 3].map(|()| Slot::new(&sizes));
            if settings.lock_memory {
                threads::lock_slots(slots.iter().chain(&places), &mut notes);
            }
            let pump = pump(source)?;
            let info = pump.info().clone();
            (Feed::Thread(Box::new(ThreadFeed::start(pump, slots, places, settings, &mut notes)?)), info)
        };
        let info = Arc::new(info);
        Ok(Self { feed, info, clock, account: Account::default(), notes })
    }

    /// Lends the next frame, or `None` at the end of the source. Waits as long as it takes.
    ///
    /// The frame lies in a slot of the circle; it goes back with the next call. Cost: no copy, no allocation.
    ///
    /// # Errors
    /// The source cannot go on. What it delivered before was lent.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>> {
        loop {
            match self.advance(LOOK_UP)? {
                Advanced::Frame => return Ok(self.current()),
                Advanced::Nothing => {}
                Advanced::End => return Ok(None),
            }
        }
    }

    /// As [`next`](Self::next), but waits for at most `within`: `None` also when nothing came. On a manual clock `within` is
    /// not waited for: there the source is asked once.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_within(&mut self, within: Span) -> Result<Option<Frame<'_>>> {
        match self.advance(within)? {
            Advanced::Frame => Ok(self.current()),
            Advanced::Nothing | Advanced::End => Ok(None),
        }
    }

    /// Sets which frames a slow loop gets. May change at any time.
    pub fn policy(&mut self, policy: Policy) -> &mut Self {
        if let Feed::Thread(feed) = &self.feed {
            feed.shared.set_latest(policy == Policy::Latest);
        }
        self
    }

    /// True when the source has ended and its last frame was lent.
    pub fn is_ended(&self) -> bool {
        match &self.feed {
            Feed::Thread(feed) => feed.ended,
            Feed::Steps(feed) => feed.ended,
        }
    }

    /// What the source delivers.
    pub fn info(&self) -> &SourceInfo {
        &self.info
    }

    /// What passed so far.
    pub fn stats(&self) -> StreamStats {
        let skipped = match &self.feed {
            Feed::Thread(feed) => feed.shared.skipped(),
            Feed::Steps(_) => 0,
        };
        StreamStats { frames: self.account.frames, skipped, lost: self.account.ledger.lost() }
    }

    /// Frames lost by cause.
    pub fn ledger(&self) -> &Ledger {
        &self.account.ledger
    }

    /// The losses before the frame that was lent last, or, at the end, those after it.
    pub fn losses(&self) -> &[Loss] {
        &self.account.recent
    }

    /// What the system refused of the settings, with the remedy; the stream runs without.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    fn advance(&mut self, within: Span) -> Result<Advanced> {
        self.account.recent.clear();
        let advanced = match &mut self.feed {
            Feed::Thread(feed) => feed.advance(within, &mut self.account.ledger),
            Feed::Steps(feed) => feed.advance(&mut self.account.ledger),
        }?;
        self.account.frames += u64::from(advanced == Advanced::Frame);
        if advanced != Advanced::Nothing {
            self.account.lend_losses();
        }
        Ok(advanced)
    }

    fn current(&self) -> Option<Frame<'_>> {
        let slot = match &self.feed {
            Feed::Thread(feed) => feed.current()?,
            Feed::Steps(feed) => &feed.slot,
        };
        Some(Frame { losses: &self.account.recent, ..slot.frame(labels(&self.info)) })
    }
}

impl super::replay_stream::Live for Stream {
    fn advance_within(&mut self, within: Span) -> Result<bool> {
        Ok(self.advance(within)? == Advanced::Frame)
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

/// The names of the classes, if the source knows any.
pub(super) fn labels(info: &SourceInfo) -> Option<&crate::labels::Labels> {
    Some(&info.labels).filter(|labels| !labels.is_empty())
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("source", &self.info.name).field("stats", &self.stats()).finish()
    }
}

impl Account {
    fn lend_losses(&mut self) {
        // The ledger holds no more than fit here.
        while let Some(loss) = self.ledger.take() {
            let _ = self.recent.push(loss);
        }
    }
}

/// The source in a thread of its own.
struct ThreadFeed {
    shared: Arc<Shared>,
    end: SinkEnd,
    held: Option<Box<Slot>>,
    newest: NewestOut,
    lends_newest: bool,
    losses: rtrb::Consumer<Loss>,
    thread: Option<JoinHandle<Result<(), SourceError>>>,
    ended: bool,
}

impl ThreadFeed {
    fn start(
        pump: Pump,
        slots: Vec<Box<Slot>>,
        places: [Box<Slot>; 3],
        settings: &Settings,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let ends = circle(slots, 0);
        let (newest_in, newest_out) = newest(places);
        let (losses_in, losses_out) = loss_ring();
        let capture = CaptureThread {
            shared: Arc::clone(&shared),
            pump,
            end: ends.capture,
            losses: losses_in,
            newest: Some(newest_in),
            encoders: 0,
        };
        let thread = threads::spawn("kinora-capture", &settings.capture_thread, notes, move || capture.run())?;
        Ok(Self {
            shared,
            end: ends.sink,
            held: None,
            newest: newest_out,
            lends_newest: false,
            losses: losses_out,
            thread: Some(thread),
            ended: false,
        })
    }

    fn current(&self) -> Option<&Slot> {
        if self.lends_newest { Some(self.newest.slot()) } else { self.held.as_deref() }
    }

    fn advance(&mut self, within: Span, ledger: &mut Ledger) -> Result<Advanced> {
        self.release();
        if self.ended {
            return Ok(Advanced::End);
        }
        let mut advanced = self.look();
        if advanced == Advanced::Nothing {
            let (end, newest) = (&self.end, &self.newest);
            self.shared.sink_wake.wait(within, || end.is_ready() || newest.is_new());
            advanced = self.look();
        }
        self.settle(advanced, ledger);
        if advanced == Advanced::End {
            self.ended = true;
            self.join()?;
        }
        Ok(advanced)
    }

    /// Takes what there is, without waiting.
    fn look(&mut self) -> Advanced {
        let mut ended = false;
        if self.shared.wants_latest() {
            ended = self.keep_last();
        }
        if self.newest.update() {
            // Frames of the circle are older than this one; they are left over from before the policy changed.
            self.skip_held();
            self.lends_newest = true;
            return Advanced::Frame;
        }
        if self.held.is_none() && !ended {
            match self.end.take() {
                Taken::Slot(slot) => self.held = Some(slot),
                Taken::Empty => {}
                Taken::Ended => ended = true,
            }
        }
        match self.held {
            Some(_) => Advanced::Frame,
            // The thread published before it left, so this look at the place is the last one needed.
            None if ended && self.newest.update() => {
                self.lends_newest = true;
                Advanced::Frame
            }
            None if ended => Advanced::End,
            None => Advanced::Nothing,
        }
    }

    /// Takes all frames off the circle and keeps the last. True when the circle has ended.
    fn keep_last(&mut self) -> bool {
        loop {
            match self.end.take() {
                Taken::Slot(slot) => {
                    self.skip_held();
                    self.held = Some(slot);
                }
                Taken::Empty => return false,
                Taken::Ended => return true,
            }
        }
    }

    fn skip_held(&mut self) {
        if self.held.is_some() {
            self.shared.add_skipped(1);
            self.release();
        }
    }

    fn release(&mut self) {
        self.lends_newest = false;
        if let Some(slot) = self.held.take() {
            self.end.give_back(slot);
            self.shared.capture_wake.notify();
        }
    }

    /// Takes over the losses that the capture thread handed out: those before this frame, or all at the end, or when there
    /// are so many that the thread waits for room.
    fn settle(&mut self, advanced: Advanced, ledger: &mut Ledger) {
        let before = match advanced {
            Advanced::Frame => self.current().map_or(0, |slot| slot.meta.sequence),
            Advanced::Nothing if self.losses.slots() < LEDGER_ENTRIES_MAX => return,
            Advanced::Nothing | Advanced::End => u64::MAX,
        };
        let mut any = false;
        while let Some(loss) = loss_before(&mut self.losses, before) {
            ledger.add(loss);
            any = true;
        }
        if any {
            self.shared.capture_wake.notify();
        }
    }

    fn join(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        threads::join(thread)?.map_err(Error::from)
    }
}

impl Drop for ThreadFeed {
    fn drop(&mut self) {
        // Nobody takes losses any more: the thread, which would wait for room for its last ones, sees it.
        self.losses = loss_ring().1;
        self.shared.stop();
        // The error of a source that nobody listens to any more.
        let _ = self.join();
    }
}

/// The source in the caller's thread, on a manual clock.
struct StepFeed {
    pump: Pump,
    slot: Box<Slot>,
    ended: bool,
}

impl StepFeed {
    fn advance(&mut self, ledger: &mut Ledger) -> Result<Advanced> {
        if self.ended {
            return Ok(Advanced::End);
        }
        let pumped = self.pump.fill(&mut self.slot, LOOK_UP, ledger);
        self.ended = !matches!(pumped, Ok(Pumped::Frame | Pumped::Nothing));
        Ok(match pumped? {
            Pumped::Frame => Advanced::Frame,
            Pumped::Nothing => Advanced::Nothing,
            Pumped::End => Advanced::End,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Cause;
    use crate::source::Filled;
    use crate::time::{ClockPair, ManualClock, Timestamp};

    /// Two lost frames, one good one, one lost.
    struct Lossy(SourceInfo, u64);

    impl Source for Lossy {
        fn describe(&self) -> &SourceInfo {
            &self.0
        }

        fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
            Ok(())
        }

        fn fill(&mut self, slot: &mut Slot, _: Span) -> Result<Filled, SourceError> {
            slot.meta.sequence = self.1;
            self.1 += 1;
            let at = Timestamp::from_ns(self.1 as i64);
            Ok(match self.1 {
                1 | 2 | 4 => Filled::Lost(Loss::one(Cause::Corrupt, self.1 - 1, at)),
                3 => Filled::Frame,
                _ => Filled::End,
            })
        }
    }

    #[test]
    fn a_loss_that_arrives_alone_waits_for_its_frame_or_the_end() {
        let clock = Arc::new(ManualClock::new(ClockPair::default()));
        let source = Box::new(Lossy(SourceInfo::new("lossy"), 0));
        let mut stream = Stream::start(source, clock, &Settings::default()).unwrap();
        let frame = stream.next().unwrap().unwrap();
        assert_eq!(frame.losses.iter().map(|loss| loss.count).sum::<u64>(), 2);
        assert!(stream.next().unwrap().is_none());
        assert_eq!(stream.losses().iter().map(|loss| loss.first_sequence).collect::<Vec<_>>(), [3]);
        assert_eq!(stream.stats(), StreamStats { frames: 1, skipped: 0, lost: 3 });
    }
}
