//! Ctrl-C and SIGTERM: the first asks for a clean end, the second ends at once.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::end::Failure;

/// Whether somebody asked us to end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens from now on, for the rest of the process.
    pub fn on_signals() -> Result<Self, Failure> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: at the first signal the flag is still down, so only the second shuts down.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop.0))
                .and_then(|_| flag::register(signal, Arc::clone(&stop.0)))
                .map_err(Failure::io(format!("cannot listen for signal {signal}")))?;
        }
        Ok(stop)
    }

    /// True once a signal came.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The same, for loops of the library.
    pub fn as_control_flow(&self) -> ControlFlow<()> {
        if self.is_asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// An input that also ends when somebody asks us to end, even while nothing comes on it.
    pub const fn ending<R: Read + AsFd>(&self, input: R) -> Ending<'_, R> {
        Ending { stop: self, input }
    }
}

/// See [`Stop::ending`].
pub struct Ending<'a, R> {
    stop: &'a Stop,
    input: R,
}

/// Longest wait without a look at the signals: a read that waits by itself is begun again after one.
const SLICE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

impl<R: Read + AsFd> Read for Ending<'_, R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while !self.stop.is_asked() {
            match poll(&mut [PollFd::new(&self.input, PollFlags::IN)], Some(&SLICE)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.input.read(bytes),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(0)
    }
}
