//! The Replay operator driven by the engine: one output frame for each live frame, and one a frame time while none comes.

use std::fmt;
use std::sync::Arc;

use super::shared::LOOK_UP;
use super::stream::{Stream, StreamStats};
use super::tap::Tap;
use crate::error::Result;
use crate::frame::Frame;
use crate::replay::cadence::Cadence;
use crate::replay::control::ReplayControl;
use crate::replay::machine::Shown;
use crate::replay::operator::{Output, ReplayOperator};
use crate::source::SourceInfo;
use crate::time::{Clock, Span};

/// Where a [`ReplayStream`] has its live frames from: a [`Stream`], or a [`Tap`] of a session.
pub trait LiveFrames: Live {}

impl LiveFrames for Stream {}
impl LiveFrames for Tap {}

/// What both can do. Not to be implemented elsewhere.
pub trait Live: Send {
    /// Waits for at most `within` for the next frame; true when [`current`](Self::current) lends it.
    fn advance_within(&mut self, within: Span) -> Result<bool>;
    /// The frame that came last.
    fn current(&self) -> Option<Frame<'_>>;
    /// True when the source has ended and its last frame was lent.
    fn is_ended(&self) -> bool;
    /// What the source delivers.
    fn info(&self) -> &SourceInfo;
    /// The clock that it runs on.
    fn clock(&self) -> &Arc<dyn Clock>;
    /// What passed so far.
    fn stats(&self) -> StreamStats;
}

/// Output frames of a [`ReplayOperator`]: one for each live frame, and when none comes for two frame times, one a frame time for
/// as long as a replay runs, so that it does not freeze with the camera.
///
/// ```
/// use kinora::prelude::*;
/// use kinora::{Output, ReplayOperator, ReplaySettings, ReplayStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let stream = kinora::open_source("virtual:seed=7,size=64x48,frames=20,format=none,paced=false")?.start()?;
/// let settings = ReplaySettings { autostart_recording: true, ..Default::default() };
/// let mut replay = ReplayStream::new(stream, ReplayOperator::new(settings)?);
/// let control = replay.control();
/// let (mut live, mut replayed) = (0, 0);
/// while let Some(out) = replay.next()? {
///     match out {
///         Output::Replayed { .. } => replayed += 1,
///         _ => live += 1,
///     }
///     if live == 10 && replayed == 0 {
///         control.start_playback()?;
///     }
/// }
/// assert_eq!((live, replayed), (10, 10));
/// # Ok(())
/// # }
/// ```
pub struct ReplayStream {
    live: Box<dyn LiveFrames>,
    operator: ReplayOperator,
    cadence: Cadence,
}

enum Step {
    Live(Shown),
    Without(u64),
    Nothing,
    End,
}

impl ReplayStream {
    /// Puts an operator behind live frames.
    pub fn new(live: impl LiveFrames + 'static, operator: ReplayOperator) -> Self {
        Self::of(Box::new(live), operator)
    }

    /// As [`new`](Self::new), for live frames of either kind.
    pub fn of(live: Box<dyn LiveFrames>, operator: ReplayOperator) -> Self {
        let cadence = Cadence::new(live.info().frame_time(), live.clock().now());
        Self { live, operator, cadence }
    }

    /// The next output frame, or `None` when the source has ended. Waits as long as it takes.
    ///
    /// Cost: as [`ReplayOperator::process`].
    ///
    /// # Errors
    /// The source cannot go on. What it delivered before was lent.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Output<'_>>> {
        loop {
            match self.step(LOOK_UP)? {
                Step::Live(shown) => return Ok(self.lend(shown)),
                Step::Without(ordinal) => return Ok(self.operator.replayed(ordinal)),
                Step::Nothing => {}
                Step::End => return Ok(None),
            }
        }
    }

    /// As [`next`](Self::next), but waits for at most `within`: `None` also when nothing was to be shown, possibly sooner.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn next_within(&mut self, within: Span) -> Result<Option<Output<'_>>> {
        match self.step(within)? {
            Step::Live(shown) => Ok(self.lend(shown)),
            Step::Without(ordinal) => Ok(self.operator.replayed(ordinal)),
            Step::Nothing | Step::End => Ok(None),
        }
    }

    /// A handle for another thread (or this one); see [`ReplayOperator::control`].
    ///
    /// # Panics
    /// When there are 8 already.
    pub fn control(&mut self) -> ReplayControl {
        self.operator.control()
    }

    /// The operator: its status, its window.
    pub const fn operator(&self) -> &ReplayOperator {
        &self.operator
    }

    /// True when the source has ended and its last frame was lent.
    pub fn is_ended(&self) -> bool {
        self.live.is_ended()
    }

    /// What the source delivers.
    pub fn info(&self) -> &SourceInfo {
        self.live.info()
    }

    /// The live frame that came last; the newest output may be another.
    pub fn live_frame(&self) -> Option<Frame<'_>> {
        self.live.current()
    }

    /// Live frames that passed so far.
    pub fn stats(&self) -> StreamStats {
        self.live.stats()
    }

    fn step(&mut self, within: Span) -> Result<Step> {
        let now = self.live.clock().now();
        let due = self.operator.next_due().map_or(self.cadence.due(), |due| due.min(self.cadence.due()));
        if self.live.advance_within((due - now).clamp(Span::ZERO, within.max(Span::ZERO)))? {
            return Ok(self.take_live());
        }
        if self.live.is_ended() {
            return Ok(Step::End);
        }
        let now = self.live.clock().now();
        let waits_for_interval = self.operator.next_due().is_some_and(|due| due <= now);
        if !self.cadence.is_due(now) && !waits_for_interval {
            return Ok(Step::Nothing);
        }
        Ok(self.operator.pass(now).map_or(Step::Nothing, Step::Without))
    }

    fn take_live(&mut self) -> Step {
        let Self { live, operator, cadence } = self;
        let Some(frame) = live.current() else { return Step::Nothing };
        let begun = live.clock().now();
        cadence.live(begun);
        let shown = operator.take_in(&frame, begun);
        operator.note_stage_time(live.clock().now() - begun);
        Step::Live(shown)
    }

    fn lend(&mut self, shown: Shown) -> Option<Output<'_>> {
        let frame = self.live.current()?;
        Some(self.operator.output(shown, frame))
    }
}

impl fmt::Debug for ReplayStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayStream")
            .field("source", &self.live.info().name)
            .field("operator", &self.operator)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Capture;
    use crate::replay::settings::ReplaySettings;
    use crate::slot::Slot;
    use crate::source::{Filled, Source, SourceError};
    use crate::time::{ClockPair, ManualClock, Timestamp, WallTime};

    const FRAME: Span = Span::from_ms(20);

    /// Frames 20 ms apart on a manual clock; after the tenth nothing comes for a second. Each look costs 5 ms.
    struct Stalling {
        info: SourceInfo,
        clock: Arc<ManualClock>,
        next_at: Timestamp,
        sequence: u64,
    }

    impl Source for Stalling {
        fn describe(&self) -> &SourceInfo {
            &self.info
        }

        fn start(&mut self, _: ClockPair) -> std::result::Result<(), SourceError> {
            Ok(())
        }

        fn fill(&mut self, slot: &mut Slot, _: Span) -> std::result::Result<Filled, SourceError> {
            let now = self.clock.now();
            if now < self.next_at {
                self.clock.sleep_until(now + Span::from_ms(5));
                return Ok(Filled::Nothing);
            }
            if self.sequence == 20 {
                return Ok(Filled::End);
            }
            slot.meta.sequence = self.sequence;
            slot.meta.captured_at = now;
            self.sequence += 1;
            self.next_at = now + if self.sequence == 10 { Span::from_s(1) } else { FRAME };
            Ok(Filled::Frame)
        }
    }

    fn stalling() -> (Arc<ManualClock>, ReplayStream) {
        let start = ClockPair { monotonic: Timestamp::from_ns(0), wall: WallTime::from_utc_ns(0) };
        let clock = Arc::new(ManualClock::new(start));
        let mut info = SourceInfo::new("stalling");
        info.frame_rate = (50, 1);
        let source = Stalling { info, clock: Arc::clone(&clock), next_at: start.monotonic, sequence: 0 };
        let stream = Capture::new(source).clock(Arc::<ManualClock>::clone(&clock)).start().unwrap();
        let settings = ReplaySettings { autostart_recording: true, ..ReplaySettings::default() };
        (clock, ReplayStream::new(stream, ReplayOperator::new(settings).unwrap()))
    }

    /// `(time in ms, sequence)` of output frames, live or replayed.
    type Shown = Vec<(i64, u64)>;

    fn run(play_after: Option<u64>) -> (Shown, Shown) {
        let (clock, mut replay) = stalling();
        let control = replay.control();
        let (mut live, mut replayed) = (Vec::new(), Vec::new());
        while let Some(out) = replay.next().unwrap() {
            let shown = ((clock.now() - Timestamp::from_ns(0)).as_ns() / 1_000_000, out.frame().meta.sequence);
            match out {
                Output::Replayed { .. } => replayed.push(shown),
                _ => live.push(shown),
            }
            if play_after == Some(shown.1) && replayed.is_empty() {
                control.start_playback().unwrap();
            }
        }
        (live, replayed)
    }

    #[test]
    fn a_replay_goes_on_at_the_nominal_rate_while_the_camera_stalls_for_a_second() {
        let (live, replayed) = run(Some(9));
        // The tenth frame came at 180 ms: two frame times later the first tick, and then one a frame time.
        let expected: Shown = (0..10).map(|i| (220 + 20 * i as i64, i)).collect();
        assert_eq!(replayed, expected);
        assert_eq!(live.iter().map(|shown| shown.1).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_camera_that_stalls_while_nothing_replays_shows_nothing_meanwhile() {
        let (live, replayed) = run(None);
        assert_eq!((live.len(), replayed), (20, vec![]));
        assert_eq!(live[10], (1180, 10));
    }
}
