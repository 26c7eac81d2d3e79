//! A few words that one thread publishes together and any thread reads together, without a lock and without tearing.
//!
//! A sequence lock in safe code: the words are atomics, an odd sequence number means "being written", and a reader that saw
//! the number change reads again. The writer never waits; a reader repeats only while a publication overlaps its read.

#[cfg(not(loom))]
use core::sync::atomic::{AtomicU64, Ordering, fence};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// `N` words of 64 bits that belong together.
#[derive(Debug)]
pub struct Snapshot<const N: usize> {
    sequence: AtomicU64,
    words: [AtomicU64; N],
}

impl<const N: usize> Default for Snapshot<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Snapshot<N> {
    /// All words zero.
    pub fn new() -> Self {
        Self { sequence: AtomicU64::new(0), words: core::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Replaces all words. Wait-free. Only one thread may publish at a time; a second one would be seen by readers as torn
    /// words, never as undefined behaviour, so the owner keeps the only handle that calls this.
    pub fn publish(&self, words: &[u64; N]) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        // The odd number is visible before any new word is.
        fence(Ordering::Release);
        for (place, &word) in self.words.iter().zip(words) {
            place.store(word, Ordering::Relaxed);
        }
        // All new words are visible before the even number is.
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// The words of one publication, never of two; `None` when a publication was under way.
    pub fn try_read(&self) -> Option<[u64; N]> {
        let before = self.sequence.load(Ordering::Acquire);
        let words = core::array::from_fn(|i| self.words[i].load(Ordering::Relaxed));
        // The words were read before the number is read again.
        fence(Ordering::Acquire);
        let after = self.sequence.load(Ordering::Relaxed);
        (before == after && before % 2 == 0).then_some(words)
    }

    /// As [`try_read`](Self::try_read), again until it succeeds: not for real-time threads.
    pub fn read(&self) -> [u64; N] {
        loop {
            if let Some(words) = self.try_read() {
                return words;
            }
            core::hint::spin_loop();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    extern crate std;
    use super::*;

    #[test]
    fn a_reader_sees_words_of_one_publication() {
        let snapshot = Snapshot::<8>::new();
        assert_eq!(snapshot.read(), [0; 8]);
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=20_000).for_each(|n| snapshot.publish(&[n; 8])));
            let mut newest = 0;
            while newest < 20_000 {
                let words = snapshot.read();
                assert_eq!(words, [words[0]; 8]);
                assert!(words[0] >= newest, "publications go forward");
                newest = words[0];
            }
        });
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::Arc;

    #[test]
    fn no_interleaving_shows_words_of_two_publications() {
        loom::model(|| {
            let snapshot = Arc::new(Snapshot::<2>::new());
            let writer = {
                let snapshot = Arc::clone(&snapshot);
                loom::thread::spawn(move || {
                    snapshot.publish(&[1, 1]);
                    snapshot.publish(&[2, 2]);
                })
            };
            if let Some([a, b]) = snapshot.try_read() {
                assert_eq!(a, b);
            }
            writer.join().unwrap();
            assert_eq!(snapshot.try_read(), Some([2, 2]));
        });
    }
}
