//! Makes the next file and closes the last one on a thread of its own, so that a split costs the recorder a hand-over.
//!
//! The lock here is taken a few times a file, never for a frame.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

use heapless::Deque;

use super::series::{Part, Series};
use crate::error::{Error, Result};
use crate::time::ClockPair;

enum Request {
    Open(ClockPair),
    Close(Box<Part>),
    Discard(Box<Part>),
    End,
}

/// Requests under way: a close, an open behind it, and the end with what was not used.
const REQUESTS_MAX: usize = 4;

#[derive(Default)]
struct Desk {
    requests: Deque<Request, REQUESTS_MAX>,
    opened: Option<Result<Box<Part>>>,
    /// The thread is gone: nothing will be answered.
    ended: bool,
}

#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    changed: Condvar,
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        // A panic elsewhere leaves the desk whole: nothing is changed in steps.
        self.desk.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn wait<'a>(&self, desk: MutexGuard<'a, Desk>) -> MutexGuard<'a, Desk> {
        self.changed.wait(desk).unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The recorder's end.
pub struct Relay {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Series>>,
}

impl Relay {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread; the series comes back.
    pub fn start(series: Series) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("kinora-files".into()).spawn(move || serve(series, &theirs));
        let thread = thread.map_err(Error::io("cannot start the thread that makes the next file"))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Asks for the next file; [`opened`](Self::opened) has the answer.
    pub fn open_next(&self, clock: ClockPair) {
        self.send(Request::Open(clock));
    }

    /// The file that was asked for; waits for it.
    pub fn opened(&self) -> Result<Box<Part>> {
        let mut desk = self.shared.desk();
        loop {
            if let Some(opened) = desk.opened.take() {
                return opened;
            }
            if desk.ended {
                return Err(Error::Setting("the thread that makes the next file ended".into()));
            }
            desk = self.shared.wait(desk);
        }
    }

    /// Has a file closed.
    pub fn close(&self, part: Box<Part>) {
        self.send(Request::Close(part));
    }

    /// Has a file removed that was made ahead.
    pub fn discard(&self, part: Box<Part>) {
        self.send(Request::Discard(part));
    }

    fn send(&self, mut request: Request) {
        let mut desk = self.shared.desk();
        while !desk.ended {
            match desk.requests.push_back(request) {
                Ok(()) => break,
                Err(back) => request = back,
            }
            desk = self.shared.wait(desk);
        }
        self.shared.changed.notify_all();
    }

    /// Ends the thread once it has done everything asked for.
    ///
    /// # Errors
    /// It panicked.
    pub fn end(mut self) -> Result<Series> {
        self.send(Request::End);
        let thread = self.thread.take().expect("taken only here");
        thread.join().map_err(|_| Error::Setting("the thread that closes files panicked".into()))
    }
}

fn serve(mut series: Series, shared: &Shared) -> Series {
    /// Tells the recorder that nothing will be answered any more, also when the thread panics.
    struct Gone<'a>(&'a Shared);
    impl Drop for Gone<'_> {
        fn drop(&mut self) {
            self.0.desk().ended = true;
            self.0.changed.notify_all();
        }
    }
    let _gone = Gone(shared);
    loop {
        let request = {
            let mut desk = shared.desk();
            loop {
                match desk.requests.pop_front() {
                    Some(request) => break request,
                    None => desk = shared.wait(desk),
                }
            }
        };
        shared.changed.notify_all();
        match request {
            Request::Open(clock) => {
                let opened = series.open_next(clock);
                shared.desk().opened = Some(opened);
                shared.changed.notify_all();
            }
            Request::Close(part) => series.close(*part),
            Request::Discard(part) => Series::discard(*part),
            Request::End => return series,
        }
    }
}
