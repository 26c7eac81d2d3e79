//! What a writer tells those who follow it, in words of the recording's first page: in which order it stores them, and in which
//! a follower reads them. A store is one with release, a load one with acquire.
//!
//! Who sees a committed length sees the records before it, and counts that are no older; who sees that the recording is
//! closed sees its last length.

use super::format::HINTS_OFFSET;

/// Bytes up to the end of the newest committed record.
pub const COMMITTED: usize = HINTS_OFFSET;
/// Bytes that the file has grown to.
pub const GROWN: usize = HINTS_OFFSET + 8;
/// 1 once it is closed.
pub const CLOSED: usize = HINTS_OFFSET + 16;
/// Frames before [`COMMITTED`].
pub const FRAMES: usize = HINTS_OFFSET + 24;
/// Frames that a completed sync covers.
pub const DURABLE: usize = HINTS_OFFSET + 32;

/// Tells of a commit, when its bytes are written.
pub fn tell(store: impl Fn(usize, u64), committed: u64, frames: u64, durable: u64) {
    store(FRAMES, frames);
    store(DURABLE, durable);
    store(COMMITTED, committed);
}

/// Tells of the close, after the last commit.
pub fn tell_closed(store: impl Fn(usize, u64), end: u64) {
    store(GROWN, end);
    store(CLOSED, 1);
}

/// Whether the recording is closed, and how far it is committed.
pub fn hear(load: impl Fn(usize) -> u64) -> (bool, u64) {
    // Who closed did so after its last commit: look for that first.
    let closed = load(CLOSED) == 1;
    (closed, load(COMMITTED))
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU64, Ordering};
    use loom::thread;

    use super::*;

    /// The words of the first page, and one for the bytes of each record behind it.
    struct Page {
        words: [AtomicU64; 5],
        records: [AtomicU64; 2],
    }

    impl Page {
        fn new() -> Self {
            Self { words: [(); 5].map(|()| AtomicU64::new(0)), records: [(); 2].map(|()| AtomicU64::new(0)) }
        }

        fn store(&self, at: usize, value: u64) {
            self.words[(at - HINTS_OFFSET) / 8].store(value, Ordering::Release);
        }

        fn load(&self, at: usize) -> u64 {
            self.words[(at - HINTS_OFFSET) / 8].load(Ordering::Acquire)
        }
    }

    #[test]
    fn a_follower_sees_what_is_committed_and_the_end_of_what_is_closed() {
        loom::model(|| {
            let page = Arc::new(Page::new());
            let written = Arc::clone(&page);
            let writer = thread::spawn(move || {
                for n in 1..=2 {
                    written.records[n - 1].store(n as u64, Ordering::Relaxed);
                    tell(|at, value| written.store(at, value), n as u64, n as u64, n as u64 - 1);
                }
                tell_closed(|at, value| written.store(at, value), 2);
            });
            let mut before = 0;
            for _ in 0..2 {
                let (closed, committed) = hear(|at| page.load(at));
                assert!(committed >= before, "{committed} after {before}");
                for n in 1..=committed {
                    assert_eq!(page.records[n as usize - 1].load(Ordering::Relaxed), n, "a record that was committed");
                }
                assert!(page.load(FRAMES) >= committed && page.load(DURABLE) + 1 >= committed);
                assert!(!closed || committed == 2 && page.load(GROWN) == 2, "closed with {committed}");
                before = committed;
            }
            writer.join().unwrap();
        });
    }
}
