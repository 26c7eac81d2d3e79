//! One thread sleeps until another says that something changed: a futex, never a spin.
//!
//! A [`Wake`] belongs to the one thread that waits on it; any thread may [`notify`](Wake::notify). What changed is kept
//! elsewhere (in a ring); the wake only ends the sleep. Handing over and waking are apart on purpose: a hand-over through a
//! ring takes nanoseconds, a wake-up of a sleeping thread takes a system call here and a scheduling there, some
//! 5..50 µs (`benches/ring_handover.rs` measures both). While the waiting thread is awake, `notify` costs one fence and one
//! load and makes no system call.
//!
//! Why no wake-up is lost: the waiting thread announces its sleep, then looks once more; the other makes its change, then
//! looks for the announcement. With a sequentially consistent fence between the two steps on each side, one of them sees
//! the other's step. The kernel compares the announcement again when it puts the thread to sleep. `cargo test` with
//! `RUSTFLAGS="--cfg loom"` tries every order.

#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, Ordering, fence};

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering, fence};

use crate::time::Span;

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// Lets one thread sleep until it is notified.
#[derive(Debug)]
pub struct Wake {
    state: AtomicU32,
    #[cfg(loom)]
    futex: model::Futex,
}

impl Default for Wake {
    fn default() -> Self {
        Self::new()
    }
}

impl Wake {
    /// A wake that nobody waits on yet.
    pub fn new() -> Self {
        Self {
            state: AtomicU32::new(AWAKE),
            #[cfg(loom)]
            futex: model::Futex::default(),
        }
    }

    /// Ends the sleep of the thread that waits, if it sleeps. Call it *after* the change that it waits for.
    ///
    /// Cost: a fence and a load; one system call if the thread sleeps. Never blocks.
    pub fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.state.load(Ordering::Relaxed) == ASLEEP && self.state.swap(AWAKE, Ordering::AcqRel) == ASLEEP {
            self.futex_wake();
        }
    }

    /// Returns true as soon as `ready()` does, false when it did not within `within`.
    ///
    /// `ready` is asked before sleeping and after each notification. To be called by one thread only. May return false early
    /// (a signal, a notification meant for an earlier wait): callers loop anyway, over their own clock.
    pub fn wait(&self, within: Span, mut ready: impl FnMut() -> bool) -> bool {
        if ready() {
            return true;
        }
        // An exchange, not a store: a late exchange of an earlier `notify` is then ordered before it for every thread.
        self.state.swap(ASLEEP, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        if !ready() {
            self.futex_wait(within);
        }
        self.state.store(AWAKE, Ordering::Relaxed);
        ready()
    }

    #[cfg(not(loom))]
    fn futex_wait(&self, within: Span) {
        use rustix::thread::futex::{Flags, Timespec, wait};
        let ns = within.as_ns().max(0);
        let timeout = Timespec { tv_sec: ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 };
        // Every answer (woken, changed already, timed out, interrupted) means the same: look again.
        let _ = wait(&self.state, Flags::PRIVATE, ASLEEP, Some(&timeout));
    }

    #[cfg(not(loom))]
    fn futex_wake(&self) {
        let _ = rustix::thread::futex::wake(&self.state, rustix::thread::futex::Flags::PRIVATE, 1);
    }

    #[cfg(loom)]
    fn futex_wait(&self, _within: Span) {
        self.futex.wait(&self.state, ASLEEP);
    }

    #[cfg(loom)]
    fn futex_wake(&self) {
        self.futex.wake();
    }
}

/// The kernel's futex as loom sees it: comparing and going to sleep are one step against `wake`. It never times out, so a
/// lost wake-up is a deadlock, which loom reports.
#[cfg(loom)]
mod model {
    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};

    #[derive(Debug, Default)]
    pub struct Futex {
        sleepers: Mutex<()>,
        woken: Condvar,
    }

    impl Futex {
        pub fn wait(&self, state: &AtomicU32, expected: u32) {
            let guard = self.sleepers.lock().unwrap();
            if state.load(Ordering::Relaxed) == expected {
                drop(self.woken.wait(guard).unwrap());
            }
        }

        pub fn wake(&self) {
            let _guard = self.sleepers.lock().unwrap();
            self.woken.notify_one();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_condition_that_holds_is_not_waited_for() {
        assert!(Wake::new().wait(Span::MAX, || true));
    }

    #[test]
    fn a_wait_without_a_notification_ends_when_its_time_is_over() {
        assert!(!Wake::new().wait(Span::from_ms(1), || false));
        assert!(!Wake::new().wait(Span::from_ms(-5), || false));
    }

    #[test]
    fn a_thousand_notifications_end_a_thousand_waits() {
        let (here, there) = (Wake::new(), Wake::new());
        let (go, done) = (AtomicBool::new(false), AtomicBool::new(false));
        let wait = |wake: &Wake, flag: &AtomicBool| {
            while !wake.wait(Span::from_s(10), || flag.swap(false, Ordering::Acquire)) {}
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    wait(&there, &go);
                    done.store(true, Ordering::Release);
                    here.notify();
                }
            });
            for _ in 0..1_000 {
                go.store(true, Ordering::Release);
                there.notify();
                wait(&here, &done);
            }
        });
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;

    use super::*;

    /// `count` stands for what a ring holds: plain release and acquire, as in rtrb.
    fn wait_for(wake: &Wake, count: &AtomicUsize, wanted: usize) {
        while !wake.wait(Span::MAX, || count.load(Ordering::Acquire) >= wanted) {}
    }

    #[test]
    fn no_wake_up_is_lost_between_two_threads() {
        loom::model(|| {
            let shared = Arc::new((Wake::new(), AtomicUsize::new(0)));
            let other = Arc::clone(&shared);
            let thread = thread::spawn(move || {
                for _ in 0..2 {
                    other.1.fetch_add(1, Ordering::Release);
                    other.0.notify();
                }
            });
            wait_for(&shared.0, &shared.1, 1);
            wait_for(&shared.0, &shared.1, 2);
            thread.join().unwrap();
        });
    }

    #[test]
    fn no_wake_up_is_lost_when_two_threads_notify_one() {
        loom::model(|| {
            let shared = Arc::new((Wake::new(), AtomicUsize::new(0)));
            let threads = [(); 2].map(|()| {
                let other = Arc::clone(&shared);
                thread::spawn(move || {
                    other.1.fetch_add(1, Ordering::Release);
                    other.0.notify();
                })
            });
            wait_for(&shared.0, &shared.1, 2);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}
