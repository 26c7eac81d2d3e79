//! Two queues, one frame: puts the picture and the metadata of one capture together, whichever comes first.
//!
//! The receiver stamps both with the same number and the same instant. A node that had no free buffer misses that frame
//! alone, so halves belong together by number and time, never by their order of arrival. A half waits for its other half
//! only as long as that can still come: until the other queue has gone past it, until more than a few wait (a buffer that
//! we hold is one that the driver cannot fill), or until a time is over.
//!
//! Pure: what is put in are the facts about a buffer and a token for it, what comes out are tokens to give back.

use heapless::Deque;

use crate::time::{Span, Timestamp};

/// Halves of one side that can wait at all.
pub const WAITING_MAX: usize = 8;

/// Which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Pictures.
    Image,
    /// Metadata.
    Metadata,
}

impl Side {
    const fn index(self) -> usize {
        self as usize
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::Image => Self::Metadata,
            Self::Metadata => Self::Image,
        }
    }
}

/// One buffer as its driver describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half<T> {
    /// The driver's frame counter; goes round after 2³².
    pub sequence: u32,
    /// The driver's time stamp.
    pub at: Timestamp,
    /// What the caller knows the buffer by.
    pub token: T,
}

/// What became of buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paired<T> {
    /// Both halves of a frame.
    Both {
        /// The picture.
        image: Half<T>,
        /// What belongs to it.
        metadata: Half<T>,
    },
    /// A half whose other half was lost.
    Alone(Side, Half<T>),
    /// The other half of one that was given up already: to be given back, and nothing else.
    Late(Side, Half<T>),
}

/// Halves that wait for each other.
#[derive(Clone, Debug)]
pub struct Pairing<T> {
    waiting: [Deque<Half<T>, WAITING_MAX>; 2],
    /// The newest half that was given up while its other half could still come.
    given_up: Option<(Side, u32, Timestamp)>,
    held_max: usize,
    patience: Span,
    tolerance: Span,
}

impl<T: Copy> Pairing<T> {
    /// `held_max`: halves of one side that may wait, `1..=WAITING_MAX - 1` (others are brought into this range): the newest
    /// `held_max` are kept. `frame_time`: nominal time between frames; stamps of one frame differ by less than half of it,
    /// and after two of them without the other half none is waited for.
    pub fn new(held_max: usize, frame_time: Span) -> Self {
        let ns = frame_time.as_ns().max(2);
        Self {
            waiting: [Deque::new(), Deque::new()],
            given_up: None,
            held_max: held_max.clamp(1, WAITING_MAX - 1),
            patience: Span::from_ns(ns.saturating_mul(2)),
            tolerance: Span::from_ns(ns / 2),
        }
    }

    /// Takes a buffer. Ask [`next`](Self::next) until it has nothing more before the next one is put in: then there is room.
    ///
    /// # Panics
    /// When [`WAITING_MAX`] of one side wait already: the caller did not ask.
    pub fn put(&mut self, side: Side, half: Half<T>) {
        assert!(self.waiting[side.index()].push_back(half).is_ok(), "next() was not asked between put()s");
    }

    /// How many of a side wait.
    pub fn held(&self, side: Side) -> usize {
        self.waiting[side.index()].len()
    }

    /// What can be said now, oldest first; `None` when all that wait still may find their other half.
    #[expect(clippy::should_implement_trait, reason = "no iterator: it goes on after None")]
    pub fn next(&mut self) -> Option<Paired<T>> {
        for side in [Side::Image, Side::Metadata] {
            if self.is_late(side) {
                return self.pop(side).map(|half| Paired::Late(side, half));
            }
        }
        let [images, metadata] = &self.waiting;
        match (images.front(), metadata.front()) {
            (None, None) => None,
            (Some(image), Some(meta)) => Some(match self.compare(image, meta) {
                Order::Same => {
                    let (image, metadata) = (*image, *meta);
                    self.drop_front(Side::Image);
                    self.drop_front(Side::Metadata);
                    Paired::Both { image, metadata }
                }
                Order::ImageFirst => self.alone(Side::Image)?,
                Order::MetadataFirst => self.alone(Side::Metadata)?,
            }),
            (Some(_), None) => self.too_many(Side::Image),
            (None, Some(_)) => self.too_many(Side::Metadata),
        }
    }

    /// Gives up the oldest half of `side` if it has waited for longer than two frame times at `now`. To be asked only after
    /// the other queue was found empty: a caller that is late itself finds both halves old.
    pub fn overdue(&mut self, side: Side, now: Timestamp) -> Option<Paired<T>> {
        if self.is_overdue(side, now) { self.give_up(side) } else { None }
    }

    /// Whether [`overdue`](Self::overdue) would give a half up.
    pub fn is_overdue(&self, side: Side, now: Timestamp) -> bool {
        let is_old = |half: &Half<T>| now - half.at > self.patience;
        self.waiting[side.other().index()].is_empty() && self.waiting[side.index()].front().is_some_and(is_old)
    }

    /// Gives everything back that waits, in no particular order: the streams are stopping.
    pub fn drain(&mut self) -> impl Iterator<Item = (Side, Half<T>)> + '_ {
        let [images, metadata] = &mut self.waiting;
        let image = std::iter::from_fn(move || images.pop_front().map(|half| (Side::Image, half)));
        image.chain(std::iter::from_fn(move || metadata.pop_front().map(|half| (Side::Metadata, half))))
    }

    /// More of a side wait than may while the other has nothing.
    fn too_many(&mut self, side: Side) -> Option<Paired<T>> {
        if self.held(side) > self.held_max { self.give_up(side) } else { None }
    }

    fn give_up(&mut self, side: Side) -> Option<Paired<T>> {
        let half = self.pop(side)?;
        self.given_up = Some((side, half.sequence, half.at));
        Some(Paired::Alone(side, half))
    }

    /// The front of `side` belongs to the half that was given up.
    fn is_late(&self, side: Side) -> bool {
        let Some((of, sequence, at)) = self.given_up else { return false };
        let front = self.waiting[side.index()].front();
        of != side && front.is_some_and(|half| self.is_same(half, &Half { sequence, at, token: half.token }))
    }

    fn compare(&self, image: &Half<T>, metadata: &Half<T>) -> Order {
        let apart = image.at - metadata.at;
        let number = image.sequence.wrapping_sub(metadata.sequence) as i32;
        if self.is_same(image, metadata) {
            return Order::Same;
        }
        let image_first = if number == 0 { apart < Span::ZERO } else { number < 0 };
        if image_first { Order::ImageFirst } else { Order::MetadataFirst }
    }

    /// The very same instant is the same frame start, even where each node counts for itself. Equal numbers far apart are of
    /// two starts of the stream.
    fn is_same(&self, a: &Half<T>, b: &Half<T>) -> bool {
        let apart = a.at - b.at;
        apart == Span::ZERO || (a.sequence == b.sequence && apart.abs() < self.tolerance)
    }

    fn alone(&mut self, side: Side) -> Option<Paired<T>> {
        self.pop(side).map(|half| Paired::Alone(side, half))
    }

    fn pop(&mut self, side: Side) -> Option<Half<T>> {
        self.waiting[side.index()].pop_front()
    }

    fn drop_front(&mut self, side: Side) {
        let _ = self.waiting[side.index()].pop_front();
    }
}

enum Order {
    Same,
    ImageFirst,
    MetadataFirst,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: Span = Span::from_ms(33);

    fn half(sequence: u32, ms: i64) -> Half<u32> {
        Half { sequence, at: Timestamp::from_ns(ms * 1_000_000), token: sequence }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ns(ms * 1_000_000)
    }

    fn pairing() -> Pairing<u32> {
        Pairing::new(2, FRAME)
    }

    #[test]
    fn whichever_comes_first_waits_for_the_other() {
        let mut pairing = pairing();
        pairing.put(Side::Image, half(7, 100));
        assert_eq!(pairing.next(), None);
        pairing.put(Side::Metadata, half(7, 100));
        assert_eq!(pairing.next(), Some(Paired::Both { image: half(7, 100), metadata: half(7, 100) }));
        assert_eq!(pairing.next(), None);
        pairing.put(Side::Metadata, half(8, 133));
        assert_eq!(pairing.next(), None);
        pairing.put(Side::Image, half(8, 133));
        assert!(matches!(pairing.next(), Some(Paired::Both { .. })));
    }

    #[test]
    fn a_half_is_alone_as_soon_as_the_other_queue_is_past_it() {
        let mut pairing = pairing();
        pairing.put(Side::Image, half(1, 33));
        pairing.put(Side::Metadata, half(2, 66));
        assert_eq!(pairing.next(), Some(Paired::Alone(Side::Image, half(1, 33))));
        assert_eq!(pairing.next(), None);
        pairing.put(Side::Image, half(3, 99));
        assert_eq!(pairing.next(), Some(Paired::Alone(Side::Metadata, half(2, 66))));
        assert_eq!(pairing.held(Side::Image), 1);
    }

    #[test]
    fn when_one_queue_is_dead_the_other_keeps_few_and_none_for_long() {
        let mut pairing = pairing();
        for n in 0..3 {
            pairing.put(Side::Image, half(n, i64::from(n) * 33));
            let early = pairing.next();
            assert_eq!(early.is_some(), n == 2, "the third is one too many");
        }
        // Two wait; after two frame times they are given up.
        assert_eq!((pairing.next(), pairing.overdue(Side::Image, at(99))), (None, None));
        assert_eq!(pairing.overdue(Side::Image, at(100)), Some(Paired::Alone(Side::Image, half(1, 33))));
        assert_eq!(pairing.overdue(Side::Metadata, at(999)), None);
        assert_eq!(pairing.overdue(Side::Image, at(133)), Some(Paired::Alone(Side::Image, half(2, 66))));
        assert_eq!(pairing.overdue(Side::Image, at(999)), None);
    }

    #[test]
    fn halves_that_are_both_old_are_still_one_frame() {
        let mut pairing = pairing();
        pairing.put(Side::Image, half(1, 33));
        pairing.put(Side::Metadata, half(1, 33));
        assert_eq!(pairing.overdue(Side::Image, at(9_999)), None);
        assert!(matches!(pairing.next(), Some(Paired::Both { .. })));
    }

    #[test]
    fn the_other_half_of_one_that_was_given_up_is_late_and_no_frame() {
        let mut pairing = pairing();
        pairing.put(Side::Image, half(1, 33));
        assert!(matches!(pairing.overdue(Side::Image, at(133)), Some(Paired::Alone(..))));
        pairing.put(Side::Metadata, half(1, 33));
        assert_eq!(pairing.next(), Some(Paired::Late(Side::Metadata, half(1, 33))));
        pairing.put(Side::Metadata, half(2, 66));
        assert_eq!(pairing.next(), None);
    }

    #[test]
    fn one_number_twice_is_told_apart_by_time_and_one_instant_is_one_frame_whatever_the_numbers() {
        let mut pairing = pairing();
        // The metadata is of an earlier start of the stream.
        pairing.put(Side::Metadata, half(0, 10));
        pairing.put(Side::Image, half(0, 5_000));
        assert_eq!(pairing.next(), Some(Paired::Alone(Side::Metadata, half(0, 10))));
        pairing.put(Side::Metadata, half(40, 5_000));
        assert!(matches!(pairing.next(), Some(Paired::Both { .. })));
    }

    #[test]
    fn numbers_go_round() {
        let mut pairing = pairing();
        pairing.put(Side::Image, half(u32::MAX, 33));
        pairing.put(Side::Metadata, half(0, 66));
        assert_eq!(pairing.next(), Some(Paired::Alone(Side::Image, half(u32::MAX, 33))));
        pairing.put(Side::Image, half(0, 66));
        assert!(matches!(pairing.next(), Some(Paired::Both { .. })));
    }

    #[test]
    fn what_waits_at_the_end_comes_back() {
        let mut pairing = pairing();
        pairing.put(Side::Image, half(1, 33));
        pairing.put(Side::Image, half(2, 66));
        assert_eq!(pairing.drain().count(), 2);
        assert_eq!(pairing.overdue(Side::Image, at(9_999)), None);
    }

    proptest! {
        /// Each side loses what it likes and lags behind the other by up to a frame time: every buffer comes back exactly
        /// once, no pair is wrong, frames come in order, and every frame that has both halves is a pair.
        #[test]
        fn every_buffer_comes_back_once_and_whole_frames_are_pairs(
            kept in proptest::collection::vec((any::<bool>(), any::<bool>(), 0_i64..33, 0_i64..33), 1..120),
            first in prop_oneof![Just(0_u32), Just(u32::MAX - 50), any::<u32>()],
        ) {
            let mut arrivals = Vec::new();
            for (i, &(image, metadata, image_lag, metadata_lag)) in kept.iter().enumerate() {
                let (n, ms) = (first.wrapping_add(i as u32), 33 * i as i64);
                // In the order of the driver: lags are within one frame time, so a side never overtakes itself.
                if image { arrivals.push((ms + image_lag, Side::Image, half(n, ms))); }
                if metadata { arrivals.push((ms + metadata_lag, Side::Metadata, half(n, ms))); }
            }
            arrivals.sort_by_key(|&(when, side, half)| (when, half.at, side.index()));
            let (mut pairing, mut out) = (pairing(), Vec::new());
            for &(_, side, half) in &arrivals {
                pairing.put(side, half);
                while let Some(paired) = pairing.next() { out.push(paired); }
                prop_assert!(pairing.held(Side::Image) <= 2 && pairing.held(Side::Metadata) <= 2);
            }
            for side in [Side::Image, Side::Metadata] {
                while let Some(paired) = pairing.overdue(side, at(1_000_000)) { out.push(paired); }
            }
            prop_assert_eq!(pairing.held(Side::Image) + pairing.held(Side::Metadata), 0);

            let mut pairs = 0;
            let mut back = Vec::new();
            for paired in &out {
                match paired {
                    Paired::Both { image, metadata } => {
                        prop_assert_eq!(image.sequence, metadata.sequence);
                        pairs += 1;
                        back.push((image.at, Side::Image.index()));
                        back.push((metadata.at, Side::Metadata.index()));
                    }
                    Paired::Alone(side, half) => back.push((half.at, side.index())),
                    Paired::Late(..) => prop_assert!(false, "nothing is given up while lags are short"),
                }
            }
            prop_assert!(back.windows(2).all(|two| two[0].0 <= two[1].0), "frames come in order");
            let mut sent: Vec<_> = arrivals.iter().map(|(_, side, half)| (half.at, side.index())).collect();
            back.sort_unstable();
            sent.sort_unstable();
            prop_assert_eq!(back, sent);
            prop_assert_eq!(pairs, kept.iter().filter(|(image, metadata, ..)| *image && *metadata).count());
        }
    }
}
