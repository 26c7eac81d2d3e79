//! A place in the table of guarded maps: written by the threads that map files, looked at by a signal handler at any moment.
//!
//! The one idea: the whole range is one word. Of start and end in two words a handler could see the start of a map that is gone
//! with the end of the one that took its place, and put zeros over somebody else's memory between the two.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What addresses are counted in; every page is a multiple of it.
const UNIT_BYTES: usize = 4096;
/// Bits of the count of units: ranges of up to 4 GiB, four times the largest growth step.
const COUNT_BITS: u32 = 20;

/// A range of addresses, or none, and whether a page of it was lost.
#[derive(Debug)]
pub struct Place {
    /// First unit and count of units; 0: free.
    range: AtomicU64,
    dead: AtomicBool,
}

impl Place {
    /// A free one.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self { range: AtomicU64::new(0), dead: AtomicBool::new(false) }
    }

    /// A free one.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self { range: AtomicU64::new(0), dead: AtomicBool::new(false) }
    }

    /// Takes the place for a map of `start..end` that nobody uses yet. False when it is taken, or the range does not fit.
    pub fn take(&self, start: usize, end: usize) -> bool {
        let Some(word) = packed(start, end) else { return false };
        let is_taken = self.range.compare_exchange(0, word, Ordering::AcqRel, Ordering::Acquire).is_err();
        if is_taken {
            return false;
        }
        // Nobody touches the range before this returns, so nobody has marked it.
        self.dead.store(false, Ordering::Release);
        true
    }

    /// Frees the place, before the range is unmapped.
    pub fn give_up(&self) {
        self.range.store(0, Ordering::Release);
    }

    /// An access to `address` failed: when it is in the range and `cover` put something there, marks the range as dead and
    /// returns true. May be called in a signal handler if `cover` may.
    pub fn meet(&self, address: usize, cover: impl FnOnce(usize) -> bool) -> bool {
        let word = self.range.load(Ordering::Acquire);
        let (first, count) = (word >> COUNT_BITS, word & ((1 << COUNT_BITS) - 1));
        let is_inside = ((address / UNIT_BYTES) as u64).checked_sub(first).is_some_and(|place| place < count);
        if is_inside && cover(address) {
            self.dead.store(true, Ordering::Release);
            return true;
        }
        false
    }

    /// True once a page of the range was lost.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }
}

/// `None`: it begins inside a page, is empty, or too long.
fn packed(start: usize, end: usize) -> Option<u64> {
    let (first, count) = ((start / UNIT_BYTES) as u64, end.checked_sub(start)?.div_ceil(UNIT_BYTES) as u64);
    let fits = start % UNIT_BYTES == 0 && first >> (64 - COUNT_BITS) == 0 && (1..1 << COUNT_BITS).contains(&count);
    fits.then_some(first << COUNT_BITS | count)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const U: usize = UNIT_BYTES;

    #[test]
    fn a_place_covers_its_range_and_nothing_beside_it() {
        let place = Place::new();
        assert!(!place.meet(5 * U, |_| true), "it is free");
        assert!(place.take(5 * U, 7 * U) && !place.take(9 * U, 10 * U), "one range at a time");
        for (address, inside) in [(5 * U - 1, false), (5 * U, true), (7 * U - 1, true), (7 * U, false), (0, false)] {
            assert_eq!(place.meet(address, |met| met == address), inside, "{address}");
        }
        place.give_up();
        assert!(!place.meet(5 * U, |_| true));
    }

    #[test]
    fn what_could_not_be_covered_is_not_called_dead_and_the_next_owner_begins_anew() {
        let place = Place::new();
        assert!(place.take(U, 2 * U));
        assert!(!place.meet(U, |_| false) && !place.is_dead());
        assert!(place.meet(U, |_| true) && place.is_dead());
        place.give_up();
        assert!(place.take(U, 2 * U) && !place.is_dead());
    }

    #[test]
    fn ranges_that_do_not_fit_are_refused() {
        let highest = 1 << 56;
        for (start, end, fits) in [
            (highest - U, highest, true),
            (highest, highest + U, false),
            (U, U + (1 << COUNT_BITS) * U, false),
            (U, (1 << COUNT_BITS) * U, true),
            (U + 1, 3 * U, false),
            (U, U, false),
            (2 * U, U, false),
            (U, U + 1, true),
        ] {
            assert_eq!(Place::new().take(start, end), fits, "{start:#x}..{end:#x}");
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    const U: usize = UNIT_BYTES;

    #[test]
    fn no_handler_sees_the_start_of_one_map_with_the_end_of_the_next() {
        loom::model(|| {
            let place = Arc::new(Place::new());
            assert!(place.take(U, 3 * U));
            let owner = {
                let place = Arc::clone(&place);
                thread::spawn(move || {
                    place.give_up();
                    assert!(place.take(8 * U, 9 * U));
                    assert!(!place.is_dead());
                })
            };
            // Somebody else's memory, between the two maps.
            assert!(!place.meet(5 * U, |_| true));
            owner.join().unwrap();
        });
    }

    #[test]
    fn memory_that_was_given_to_somebody_else_is_not_covered() {
        loom::model(|| {
            let (place, is_elsewhere) = (Arc::new(Place::new()), Arc::new(AtomicBool::new(false)));
            assert!(place.take(U, 3 * U));
            let owner = {
                let (place, is_elsewhere) = (Arc::clone(&place), Arc::clone(&is_elsewhere));
                thread::spawn(move || {
                    place.give_up();
                    // Unmapped, and mapped again by somebody else.
                    is_elsewhere.store(true, Ordering::Release);
                })
            };
            if is_elsewhere.load(Ordering::Acquire) {
                assert!(!place.meet(2 * U, |_| true));
            }
            owner.join().unwrap();
        });
    }

    #[test]
    fn two_takers_get_two_places_and_a_loss_marks_only_its_own() {
        loom::model(|| {
            let places = Arc::new([Place::new(), Place::new()]);
            let take = |start: usize| {
                let places = Arc::clone(&places);
                move || places.iter().position(|place| place.take(start, start + U)).unwrap()
            };
            let (first, second) = (take(4 * U), take(6 * U));
            let first = thread::spawn(first);
            let second = second();
            let met = places.iter().position(|place| place.meet(6 * U, |_| true));
            let first = first.join().unwrap();
            assert!(first != second && met == Some(second));
            assert_eq!((places[first].is_dead(), places[second].is_dead()), (false, true));
        });
    }
}
