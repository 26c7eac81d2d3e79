//! Which frames of the history belong to which clip, and what to do next: decisions only, no file, no thread, no clock.

use heapless::Vec;

use crate::replay::window::Window;
use crate::time::{Span, Timestamp};

/// Clips that may be under way at once.
pub const CLIPS_MAX: usize = 4;

/// How far a clip reaches before or after its trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// So much capture time.
    Time(Span),
    /// So many frames.
    Frames(u32),
    /// All that the history holds (before), or nothing more (after).
    All,
}

/// What becomes of a trigger while a clip is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// The clip goes on until the later end; the trigger becomes a bookmark in it.
    #[default]
    Extend,
    /// A clip of its own, with its own pre-roll.
    Separate,
}

/// What a trigger did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// A new clip begins with frame `first`.
    New {
        /// Its number.
        id: u32,
        /// Ordinal of its first frame in the history.
        first: u64,
        /// Pre-roll that the history does not reach back to (any more, or yet).
        pre_short: Span,
    },
    /// The clip of this number goes on for longer.
    Extended {
        /// Its number.
        id: u32,
    },
    /// `CLIPS_MAX` clips are under way.
    TooMany,
    /// There is no frame to begin with.
    Nothing,
}

/// What a clip needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This frame is to be handed over; then [`Plan::handed_over`].
    Frame(u64),
    /// A frame that was not captured yet.
    Wait,
    /// Nothing: it has all its frames.
    Complete,
    /// The history lost a frame before it was handed over: the clip ends short, and so many frames that were captured for it
    /// until now are not in it.
    Short(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    At(Timestamp),
    Ordinal(u64),
}

#[derive(Clone, Copy, Debug)]
struct Active {
    id: u32,
    next: u64,
    end: End,
    /// A part of the history that was asked for, not an event.
    is_save: bool,
}

/// All clips under way.
#[derive(Debug)]
pub struct Plan {
    active: Vec<Active, CLIPS_MAX>,
    overlap: Overlap,
    next_id: u32,
}

impl Plan {
    /// No clip.
    pub const fn new(overlap: Overlap) -> Self {
        Self { active: Vec::new(), overlap, next_id: 1 }
    }

    /// True when nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Numbers of the clips under way, the oldest first.
    pub fn ids(&self) -> Vec<u32, CLIPS_MAX> {
        self.active.iter().map(|clip| clip.id).collect()
    }

    /// A trigger at the newest frame of the history.
    pub fn trigger(&mut self, pre: Reach, post: Reach, history: &Window) -> Started {
        let extent = history.extent();
        let Some(newest) = extent.len.checked_sub(1).map(|i| extent.oldest + u64::from(i)) else {
            return Started::Nothing;
        };
        let at = captured_at(history, newest);
        let end = match post {
            Reach::Time(span) => End::At(at + span),
            Reach::Frames(frames) => End::Ordinal(newest + u64::from(frames)),
            Reach::All => End::Ordinal(newest),
        };
        // A save of what is there now is no event: it neither extends a clip nor waits for one.
        if self.overlap == Overlap::Extend && post != Reach::All {
            if let Some(clip) = self.active.iter_mut().rev().find(|clip| !clip.is_save) {
                clip.end = later(clip.end, end);
                return Started::Extended { id: clip.id };
            }
        }
        let (first, pre_short) = match pre {
            Reach::All => (extent.oldest, Span::ZERO),
            Reach::Frames(frames) => {
                let wanted = (newest + 1).saturating_sub(u64::from(frames).max(1));
                (wanted.max(extent.oldest), Span::ZERO)
            }
            Reach::Time(span) => reach_back(history, newest, at - span),
        };
        self.begin(first, end, pre_short, post == Reach::All)
    }

    /// A clip of the frames of the history that were captured from one instant to another.
    pub fn save_between(&mut self, from: Timestamp, to: Timestamp, history: &Window) -> Started {
        let extent = history.extent();
        let inside = |ordinal: &u64| (from..=to).contains(&captured_at(history, *ordinal));
        let mut ordinals = (extent.oldest..extent.oldest + u64::from(extent.len)).filter(inside);
        let Some(first) = ordinals.next() else { return Started::Nothing };
        let last = ordinals.next_back().unwrap_or(first);
        self.begin(first, End::Ordinal(last), Span::ZERO, true)
    }

    /// A frame came into the history: clips whose time it ends are to have no later one. To be called for each frame, so that
    /// what a clip lacks can be told when its last frames have left the history.
    pub fn note_newest(&mut self, history: &Window) {
        let extent = history.extent();
        let Some(newest) = extent.len.checked_sub(1).map(|i| extent.oldest + u64::from(i)) else { return };
        let at = captured_at(history, newest);
        for clip in &mut self.active {
            match clip.end {
                End::At(end) if at == end => clip.end = End::Ordinal(newest),
                End::At(end) if at > end => clip.end = End::Ordinal(newest.saturating_sub(1)),
                _ => {}
            }
        }
    }

    /// What clip `id` needs next.
    pub fn next(&self, id: u32, history: &Window) -> Next {
        let Some(clip) = self.active.iter().find(|clip| clip.id == id) else { return Next::Complete };
        let extent = history.extent();
        let end_of_history = extent.oldest + u64::from(extent.len);
        if clip.next >= end_of_history {
            // Frames come in order, so one at or after the end tells that no earlier one will follow.
            let done = match clip.end {
                End::At(end) => extent.len > 0 && captured_at(history, end_of_history - 1) >= end,
                End::Ordinal(last) => clip.next > last,
            };
            return if done { Next::Complete } else { Next::Wait };
        }
        let oldest = history.oldest_kept();
        if clip.next < oldest {
            return Next::Short(missing(clip, history));
        }
        let inside = match clip.end {
            End::At(end) => captured_at(history, clip.next) <= end,
            End::Ordinal(last) => clip.next <= last,
        };
        if inside { Next::Frame(clip.next) } else { Next::Complete }
    }

    /// The frame that [`next`](Self::next) named was handed over.
    pub fn handed_over(&mut self, id: u32) {
        if let Some(clip) = self.active.iter_mut().find(|clip| clip.id == id) {
            clip.next += 1;
        }
    }

    /// Clip `id` is over.
    pub fn end(&mut self, id: u32) {
        self.active.retain(|clip| clip.id != id);
    }

    /// The oldest frame that some clip still needs: it is to be pinned.
    pub fn oldest_needed(&self) -> Option<u64> {
        self.active.iter().map(|clip| clip.next).min()
    }

    fn begin(&mut self, first: u64, end: End, pre_short: Span, is_save: bool) -> Started {
        let id = self.next_id;
        if self.active.push(Active { id, next: first, end, is_save }).is_err() {
            return Started::TooMany;
        }
        self.next_id = id.wrapping_add(1);
        Started::New { id, first, pre_short }
    }
}

fn captured_at(history: &Window, ordinal: u64) -> Timestamp {
    history.meta(ordinal).map_or(Timestamp::default(), |meta| meta.captured_at)
}

/// Frames from the clip's next one to its end, or to the newest one.
fn missing(clip: &Active, history: &Window) -> u64 {
    let extent = history.extent();
    let behind = extent.oldest + u64::from(extent.len);
    match clip.end {
        End::Ordinal(last) => behind.min(last + 1).saturating_sub(clip.next),
        // Its end did not come yet.
        End::At(_) => behind - clip.next,
    }
}

fn later(a: End, b: End) -> End {
    match (a, b) {
        (End::At(a), End::At(b)) => End::At(a.max(b)),
        (End::Ordinal(a), End::Ordinal(b)) => End::Ordinal(a.max(b)),
        // A time and a number cannot be compared before they are reached: the newer trigger's end holds.
        (_, newer) => newer,
    }
}

/// The first frame captured at or after `from`, and how much of the time before it the history does not have. Looks at each
/// frame of the pre-roll once.
fn reach_back(history: &Window, newest: u64, from: Timestamp) -> (u64, Span) {
    let oldest = history.extent().oldest;
    let mut first = newest;
    while first > oldest && captured_at(history, first - 1) >= from {
        first -= 1;
    }
    let reached = captured_at(history, first);
    let pre_short = if first == oldest && reached > from { reached - from } else { Span::ZERO };
    (first, pre_short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, FrameMeta};
    use crate::replay::window::WindowSettings;
    use crate::results::Results;

    /// A history of frames 100 ms apart, and the frames that each clip got.
    struct Bench {
        history: Window,
        plan: Plan,
        next: u64,
        got: std::collections::BTreeMap<u32, std::vec::Vec<u64>>,
        ended: std::vec::Vec<(u32, Next)>,
        per_tick: usize,
    }

    impl Bench {
        fn new(frames: u32, reserve: u32, overlap: Overlap) -> Self {
            let history = Window::new(WindowSettings { capacity: frames, reserve, frame_bytes: 64 });
            let (got, ended) = Default::default();
            Self { history, plan: Plan::new(overlap), next: 0, got, ended, per_tick: 8 }
        }

        fn frame(&mut self) {
            let captured_at = Timestamp::from_ns(self.next as i64 * 100_000_000);
            let meta = FrameMeta { sequence: self.next, captured_at, ..FrameMeta::new() };
            let results = Results::new();
            let frame = Frame {
                meta: &meta,
                results: &results,
                pixels: None,
                jpeg: None,
                side: &[],
                sensor: &[],
                labels: None,
                losses: &[],
            };
            self.history.push(&frame, u32::MAX).unwrap();
            self.next += 1;
            self.pump();
        }

        fn run(&mut self, frames: u64) {
            (0..frames).for_each(|_| self.frame());
        }

        fn pump(&mut self) {
            self.plan.note_newest(&self.history);
            for id in self.plan.ids() {
                for _ in 0..self.per_tick {
                    match self.plan.next(id, &self.history) {
                        Next::Frame(ordinal) => {
                            self.got.entry(id).or_default().push(ordinal);
                            self.plan.handed_over(id);
                        }
                        Next::Wait => break,
                        over => {
                            self.ended.push((id, over));
                            self.plan.end(id);
                            break;
                        }
                    }
                }
            }
            self.history.pin(self.plan.oldest_needed());
        }

        fn trigger(&mut self, pre_ms: i64, post_ms: i64) -> Started {
            let reach = |ms| Reach::Time(Span::from_ms(ms));
            let started = self.plan.trigger(reach(pre_ms), reach(post_ms), &self.history);
            self.history.pin(self.plan.oldest_needed());
            started
        }
    }

    fn range(from: u64, to: u64) -> std::vec::Vec<u64> {
        (from..=to).collect()
    }

    #[test]
    fn a_clip_is_the_pre_roll_the_trigger_and_the_post_roll() {
        let mut bench = Bench::new(50, 0, Overlap::Extend);
        bench.run(31);
        assert_eq!(bench.trigger(1000, 500), Started::New { id: 1, first: 20, pre_short: Span::ZERO });
        bench.run(20);
        assert_eq!(bench.got[&1], range(20, 35));
        assert_eq!(bench.ended, [(1, Next::Complete)]);
        assert!(bench.plan.is_idle());
    }

    #[test]
    fn less_pre_roll_than_asked_is_told() {
        let mut bench = Bench::new(50, 0, Overlap::Extend);
        assert_eq!(bench.trigger(1000, 0), Started::Nothing);
        bench.run(4);
        assert_eq!(bench.trigger(1000, 0), Started::New { id: 1, first: 0, pre_short: Span::from_ms(700) });
    }

    #[test]
    fn overlapping_triggers_extend_the_clip() {
        let mut bench = Bench::new(50, 0, Overlap::Extend);
        bench.run(20);
        bench.trigger(300, 500);
        bench.run(3);
        assert_eq!(bench.trigger(300, 500), Started::Extended { id: 1 });
        bench.run(20);
        assert_eq!(bench.got[&1], range(16, 27));
        assert_eq!(bench.got.len(), 1);
    }

    #[test]
    fn separate_clips_share_frames() {
        let mut bench = Bench::new(50, 0, Overlap::Separate);
        bench.run(20);
        bench.trigger(300, 500);
        bench.run(3);
        bench.trigger(300, 500);
        bench.run(20);
        assert_eq!((bench.got[&1].clone(), bench.got[&2].clone()), (range(16, 24), range(19, 27)));
        for _ in 0..CLIPS_MAX {
            bench.trigger(100, 5000);
        }
        assert_eq!(bench.trigger(100, 5000), Started::TooMany);
    }

    #[test]
    fn a_clip_that_is_written_too_slowly_ends_short_and_says_how_much() {
        let mut bench = Bench::new(10, 5, Overlap::Extend);
        bench.run(20);
        bench.per_tick = 0;
        bench.trigger(900, 100_000);
        bench.run(5);
        bench.per_tick = 1;
        bench.run(1);
        assert_eq!(bench.ended, [(1, Next::Short(16))], "15 frames stay, the sixteenth pushed the first out");
    }

    #[test]
    fn a_clip_that_falls_behind_after_its_end_lacks_only_frames_of_its_own() {
        let mut bench = Bench::new(10, 5, Overlap::Extend);
        bench.per_tick = 0;
        bench.run(10);
        assert!(matches!(bench.trigger(300, 250), Started::New { first: 6, .. }));
        bench.per_tick = 1;
        bench.run(2);
        bench.per_tick = 0;
        bench.run(40);
        bench.per_tick = 1;
        bench.run(1);
        // Frames 6 to 11 were asked for, two were handed over.
        assert_eq!((bench.got[&1].as_slice(), bench.ended.as_slice()), (&[6, 7][..], &[(1, Next::Short(4))][..]));
    }

    #[test]
    fn frames_count_as_well_as_time_does() {
        let mut bench = Bench::new(50, 0, Overlap::Extend);
        bench.run(20);
        bench.plan.trigger(Reach::Frames(5), Reach::Frames(2), &bench.history);
        bench.run(10);
        assert_eq!(bench.got[&1], range(15, 21));
        bench.plan.trigger(Reach::All, Reach::All, &bench.history);
        bench.run(10);
        assert_eq!(bench.got[&2], range(0, 29));
        let at = |frame: i64| Timestamp::from_ns(frame * 100_000_000);
        bench.plan.save_between(at(3), at(7), &bench.history);
        bench.run(2);
        assert_eq!(bench.got[&3], range(3, 7));
        assert_eq!(bench.plan.save_between(at(700), at(800), &bench.history), Started::Nothing);
    }
}
