//! The thread that talks to the sensor: it starts the streams (which takes minutes when a network has to be uploaded), then
//! writes exposure, gain and white balance. The driver's lock is held for all of an upload, and each control costs transfers
//! over a slow bus: nothing of that belongs on the capture thread.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use rtrb::{Producer, RingBuffer};

use super::ids;
use crate::sys::media::Subdevice;
use crate::sys::v4l2::Switch;
use crate::time::Span;
use crate::wake::Wake;

/// What may be written while frames flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Exposure in lines, and the code of the analogue gain.
    Exposure(u32, u32),
    /// White balance of the network's picture: B, Gb, Gr, R; 256 = 1.0.
    NotifyGains([u32; 4]),
}

/// Wishes that may wait. When it is full a wish is dropped: the next frame has a newer one.
const WISHES_MAX: usize = 8;
/// Longest sleep of the thread without a look at what it should do.
const LOOK_UP: Span = Span::from_ms(500);

/// A step of the start that failed.
#[derive(Debug)]
pub struct Refused {
    /// What was tried.
    pub doing: &'static str,
    /// The system's answer.
    pub error: io::Error,
}

#[derive(Default)]
struct Shared {
    /// The sensor's thread sleeps on it.
    wake: Wake,
    /// The capture thread sleeps on it, until the streams are on.
    started: Wake,
    result: OnceLock<Result<(), Refused>>,
    stop: AtomicBool,
}

/// The capture thread's end. Dropping it ends the thread, after the call that is under way: the driver uploads within one call and
/// cannot break it off. What has not begun then does not begin.
pub struct Control {
    shared: Arc<Shared>,
    wishes: Producer<Wish>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Starts the thread, which sets the network and then switches the streams on: metadata first, the picture's stream
    /// starts the sensor.
    pub fn start(sensor: Subdevice, network: Option<PathBuf>, streams: [Switch; 2]) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (wishes, taken) = RingBuffer::new(WISHES_MAX);
        let of_thread = Arc::clone(&shared);
        let body = move || {
            let started = switch_on(&sensor, network.as_deref(), &streams, &of_thread.stop);
            let is_on = started.is_ok();
            // Set once, here.
            let _ = of_thread.result.set(started);
            of_thread.started.notify();
            if is_on {
                serve(&of_thread, &sensor, taken);
            }
        };
        let thread = std::thread::Builder::new().name("kinora-imx500".into()).spawn(body)?;
        Ok(Self { shared, wishes, thread: Some(thread) })
    }

    /// Waits for at most `wait` until the start is over; `None` while it is not.
    pub fn started(&self, wait: Span) -> Option<&Result<(), Refused>> {
        self.shared.started.wait(wait, || self.shared.result.get().is_some());
        self.shared.result.get()
    }

    /// Hands a wish over; false when too many wait. Does not block.
    pub fn wish(&mut self, wish: Wish) -> bool {
        let handed = self.wishes.push(wish).is_ok();
        self.shared.wake.notify();
        handed
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake.notify();
        // A panic of the thread was told by the panic's own message.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Sets the network once more right before the start: one that was set long ago may be forgotten by now. The last step uploads;
/// none begins once it is to stop.
fn switch_on(
    sensor: &Subdevice,
    network: Option<&Path>,
    [metadata, image]: &[Switch; 2],
    stop: &AtomicBool,
) -> Result<(), Refused> {
    let step = |doing, call: &dyn Fn() -> io::Result<()>| {
        let done = if stop.load(Ordering::Acquire) { Err(io::ErrorKind::Interrupted.into()) } else { call() };
        done.map_err(|error| Refused { doing, error })
    };
    if let Some(path) = network {
        step("set the network of", &|| set_network(sensor, path))?;
    }
    step("start the metadata of", &|| metadata.on())?;
    step("start", &|| image.on())
}

/// Hands a package to the driver, which reads all of it before this returns.
pub fn set_network(sensor: &Subdevice, path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    sensor.set_value(ids::NETWORK_FD, file.as_raw_fd())
}

fn serve(shared: &Shared, sensor: &Subdevice, mut wishes: rtrb::Consumer<Wish>) {
    let is_stopping = || shared.stop.load(Ordering::Acquire);
    while !is_stopping() {
        while let Ok(wish) = wishes.pop() {
            // What the driver refuses now the next wish brings again; the picture shows whether it acts.
            let _ = match wish {
                Wish::Exposure(lines, code) => sensor
                    .set_value(ids::EXPOSURE, lines as i32)
                    .and_then(|()| sensor.set_value(ids::ANALOGUE_GAIN, code as i32)),
                Wish::NotifyGains(gains) => sensor.set_values(ids::NOTIFY_GAINS, gains),
            };
        }
        shared.wake.wait(LOOK_UP, || !wishes.is_empty() || is_stopping());
    }
}
