//! The pages of a real file: growth steps mapped by the [`Pager`], handed over by rings, filled by the appender.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use heapless::Deque;
use zerocopy::IntoBytes;

use super::format::{Front, Geometry};
use super::hints;
use super::hold::hold;
use super::pager::{Answer, Command, Pager};
use super::room::Room;
use super::settings::WriterSettings;
use super::store::{PageStore, StoreCounts, StoreError};
use crate::sys::map::{Lease, StepMap};
use crate::sys::thread::make_background;

/// Commands or answers on their way: a step opened and retired, a sync, a close.
const RING: usize = 16;
/// Between two looks at a file that does not grow in time.
const WAIT: Duration = Duration::from_micros(200);
/// Between two looks of the pager at its commands and at what is ready. It looks by itself: waking a thread costs the one that
/// wakes some 50 µs in a virtual machine, more than an append, and may hand its core over.
const LOOK: Duration = Duration::from_millis(10);
/// Bytes appended between two wake-ups of a pager that fell behind, at most.
const WAKE_BYTES_MAX: u64 = 1 << 20;
/// Permissions of a recording: people are in it.
const MODE: u32 = 0o640;

/// Why a recording could not be begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The file is there; it is never overwritten.
    #[error("{} exists already; choose another name", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Another program took the new file first.
    #[error("{} is held by another recorder", .path.display())]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// Page size or growth step are out of range.
    #[error(
        "pages of {page_bytes} bytes and growth steps of {step_bytes} do not go together: pages are 4, 16 or 64 KiB, a step is \
         at most 1 GiB and at least four times the longest record"
    )]
    Setting {
        /// Page size, as asked or as the machine has it.
        page_bytes: usize,
        /// Growth step, as raised to fit the longest record.
        step_bytes: u64,
    },
    /// There is no room, or the pages failed; nothing is left behind.
    #[error("cannot record to {}: {reason}", .path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: StoreError,
    },
    /// The operating system refused.
    #[error("cannot {doing} {}: {error}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
}

impl CreateError {
    pub(super) fn store(path: &Path, reason: StoreError) -> Self {
        Self::Store { path: path.to_owned(), reason }
    }
}

/// A step that is being filled, or the one after it.
#[derive(Debug)]
struct Open {
    step: u64,
    usable: u64,
    lease: Lease,
}

/// What appender and pager both look at.
#[derive(Debug, Default)]
struct Shared {
    position: AtomicU64,
    prefaulted: AtomicU64,
    stop: AtomicBool,
}

#[allow(clippy::large_enum_variant, reason = "one for each recording, made once and not moved")]
enum Link {
    Inline { pager: Box<Pager>, answers: Deque<Answer, RING> },
    Thread { commands: rtrb::Producer<Command>, answers: rtrb::Consumer<Answer>, thread: Option<JoinHandle<()>> },
}

/// Pages of a file on a disk.
pub struct FileStore {
    hints: Lease,
    front: StepMap,
    step_bytes: u64,
    page_bytes: u64,
    /// Fewer prefaulted bytes ahead than this, and the pager is woken.
    urgent_bytes: u64,
    woken_at: u64,
    current: Open,
    next: Option<Open>,
    next_asked: bool,
    no_growth: Option<StoreError>,
    failed: Option<StoreError>,
    closed: bool,
    synced: u64,
    touched: u64,
    counts: StoreCounts,
    shared: Arc<Shared>,
    link: Link,
}

impl std::fmt::Debug for FileStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStore")
            .field("current", &self.current)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl FileStore {
    /// Creates the file with its front and first step, durable, and starts the pager.
    ///
    /// # Errors
    /// [`CreateError`]; a file that was begun is removed again.
    pub fn create(
        path: &Path,
        geometry: &Geometry,
        settings: &WriterSettings,
        room: Box<dyn Room>,
    ) -> Result<Self, CreateError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(MODE).open(path).map_err(|error| {
            let path = path.to_owned();
            match error.kind() {
                io::ErrorKind::AlreadyExists => CreateError::Exists { path },
                _ => CreateError::Io { doing: "create", path, error },
            }
        })?;
        Self::begin(path, file, geometry, settings, room).inspect_err(|_| _ = std::fs::remove_file(path))
    }

    fn begin(
        path: &Path,
        file: File,
        geometry: &Geometry,
        settings: &WriterSettings,
        room: Box<dyn Room>,
    ) -> Result<Self, CreateError> {
        let io = |doing| move |error| CreateError::Io { doing, path: path.to_owned(), error };
        // A file system without locks is no reason not to record.
        if let Ok(false) = hold(&file) {
            return Err(CreateError::Held { path: path.to_owned() });
        }
        let page_bytes = geometry.page_bytes as usize;
        let mut page = vec![0; page_bytes];
        page[..64].copy_from_slice(Front::new(geometry).as_bytes());
        file.write_all_at(&page, 0).map_err(io("write to"))?;
        let mut pager = Box::new(Pager::new(file, geometry, settings.prefault_bytes, room));
        let opened = pager.run(Command::Open { step: 0, least: geometry.step_bytes.min(1 << 20) });
        let current = match opened {
            Some(Answer::Opened { step, usable, lease }) => Open { step, usable, lease },
            Some(Answer::NoGrowth(reason) | Answer::Failed(reason)) => return Err(CreateError::store(path, reason)),
            other => unreachable!("opening a step was answered by {other:?}"),
        };
        pager.file().sync_all().map_err(io("sync"))?;
        sync_directory(path)?;
        let mut front = StepMap::new(pager.file(), 0, page_bytes).map_err(io("map"))?;
        let shared = Arc::new(Shared::default());
        while pager.prefault(geometry.page_bytes.into()) {}
        shared.prefaulted.store(pager.prefaulted(), Ordering::Relaxed);
        let link = if settings.helper {
            start(pager, shared.clone()).map_err(io("start a thread for"))?
        } else {
            inline(pager)
        };
        let mut store = Self {
            hints: front.lend(),
            front,
            step_bytes: geometry.step_bytes,
            page_bytes: geometry.page_bytes.into(),
            urgent_bytes: settings.prefault_bytes / 2,
            woken_at: 0,
            current,
            next: None,
            next_asked: false,
            no_growth: None,
            failed: None,
            closed: false,
            synced: 0,
            touched: 0,
            counts: StoreCounts::default(),
            shared,
            link,
        };
        store.hint_grown();
        store.ask_for_next();
        Ok(store)
    }

    /// Hands a command over; who waits for the answer wakes the pager. There is always room: at most one of each kind is on its
    /// way.
    fn send(&mut self, command: Command) {
        match &mut self.link {
            Link::Inline { pager, answers } => {
                if let Some(answer) = pager.run(command) {
                    let _ = answers.push_back(answer);
                }
            }
            Link::Thread { commands, .. } => {
                if commands.push(command).is_err() {
                    self.failed
                        .get_or_insert(StoreError::Io { doing: "reach the thread that grows the recording", errno: 0 });
                }
            }
        }
    }

    fn wake(&self) {
        if let Link::Thread { thread: Some(thread), .. } = &self.link {
            thread.thread().unpark();
        }
    }

    fn drain(&mut self) {
        loop {
            let answer = match &mut self.link {
                Link::Inline { answers, .. } => answers.pop_front(),
                Link::Thread { answers, .. } => answers.pop().ok(),
            };
            match answer {
                None => return,
                Some(Answer::Opened { step, usable, lease }) => {
                    self.next = Some(Open { step, usable, lease });
                    self.next_asked = false;
                    self.hint_grown();
                }
                Some(Answer::Extended { step, usable }) => {
                    for open in [Some(&mut self.current), self.next.as_mut()].into_iter().flatten() {
                        if open.step == step {
                            open.usable = usable;
                        }
                    }
                    self.hint_grown();
                }
                Some(Answer::NoGrowth(error)) => {
                    self.no_growth = Some(error);
                    self.next_asked = false;
                }
                Some(Answer::Synced { to }) => {
                    self.synced = to;
                    self.counts.syncs += 1;
                }
                Some(Answer::Failed(error)) => _ = self.failed.get_or_insert(error),
                Some(Answer::Closed) => self.closed = true,
            }
        }
    }

    /// Waits until `done` holds or the pager fails.
    fn wait(&mut self, done: impl Fn(&Self) -> bool) -> Result<(), StoreError> {
        self.drain();
        if !done(self) {
            self.wake();
        }
        while !done(self) {
            if let Some(error) = self.failed {
                return Err(error);
            }
            let gone = match &self.link {
                Link::Thread { thread, .. } => thread.as_ref().is_none_or(JoinHandle::is_finished),
                Link::Inline { .. } => true,
            };
            if gone {
                return Err(StoreError::Io { doing: "reach the thread that grows the recording", errno: 0 });
            }
            std::thread::sleep(WAIT);
            self.drain();
        }
        Ok(())
    }

    fn usable(&self, step: u64) -> u64 {
        let open = [Some(&self.current), self.next.as_ref()].into_iter().flatten().find(|open| open.step == step);
        open.map_or(0, |open| open.usable)
    }

    fn ask_for_next(&mut self) {
        let step = self.current.step + 1;
        let whole = self.current.usable == step * self.step_bytes;
        if whole && self.next.is_none() && !self.next_asked {
            self.next_asked = true;
            self.send(Command::Open { step, least: step * self.step_bytes + self.page_bytes });
        }
    }

    fn enter_next(&mut self) {
        let next = self.next.take().expect("a step is reached before it is entered");
        let full = std::mem::replace(&mut self.current, next);
        self.send(Command::Retire { step: full.step, lease: full.lease });
        self.ask_for_next();
    }

    fn hint(&self, at: usize, value: u64) {
        self.hints.store(at, value);
    }

    fn hint_grown(&self) {
        self.hint(hints::GROWN, self.next.as_ref().map_or(self.current.usable, |next| next.usable));
    }

    /// Pages that nobody prefaulted are faulted in by the append.
    fn count_faults(&mut self, from: u64, to: u64) {
        let ready = self.shared.prefaulted.load(Ordering::Relaxed).max(self.touched).max(from);
        if to > ready {
            self.counts.faults += to.div_ceil(self.page_bytes) - ready / self.page_bytes;
            self.touched = to.next_multiple_of(self.page_bytes);
        }
    }
}

impl PageStore for FileStore {
    fn reach(&mut self, end: u64) -> Result<(), StoreError> {
        let step = (end - 1) / self.step_bytes;
        if end <= self.usable(step) {
            return Ok(());
        }
        self.drain();
        if let Some(error) = self.failed {
            return Err(error);
        }
        if end <= self.usable(step) {
            return Ok(());
        }
        self.counts.growth_waits += 1;
        if step > self.current.step && self.usable(self.current.step) < step * self.step_bytes {
            // Steps are allocated in order: the rest of this one first.
            self.grow(
                Command::Extend { step: step - 1, least: step * self.step_bytes },
                step - 1,
                step * self.step_bytes,
            )?;
        }
        if self.usable(step) > 0 {
            return self.grow(Command::Extend { step, least: end }, step, end);
        }
        if self.next_asked {
            // It is on its way, perhaps to less than is needed now.
            self.wait(|store| !store.next_asked)?;
            return self.reach(end);
        }
        self.next_asked = true;
        self.grow(Command::Open { step, least: end }, step, end)
    }

    fn area(&mut self, offset: u64, len: usize) -> &mut [u8] {
        if offset / self.step_bytes > self.current.step {
            self.enter_next();
        }
        self.count_faults(offset, offset + len as u64);
        self.current.lease.bytes_mut((offset % self.step_bytes) as usize, len)
    }

    fn publish(&mut self, committed: u64, frames: u64, durable: u64) {
        hints::tell(|at, value| self.hint(at, value), committed, frames, durable);
        self.shared.position.store(committed, Ordering::Release);
        let behind = self.shared.prefaulted.load(Ordering::Relaxed) < committed + self.urgent_bytes;
        if behind && committed - self.woken_at >= self.urgent_bytes.clamp(1, WAKE_BYTES_MAX) {
            self.woken_at = committed;
            self.wake();
        }
    }

    fn sync_start(&mut self, end: u64) {
        self.send(Command::Sync { to: end });
    }

    fn sync_wait(&mut self, end: u64) -> Result<(), StoreError> {
        if self.synced < end {
            self.send(Command::Sync { to: end });
            self.wait(|store| store.synced >= end)?;
        }
        Ok(())
    }

    fn synced(&mut self) -> Result<u64, StoreError> {
        self.drain();
        if self.current.lease.is_dead() || self.hints.is_dead() {
            self.failed.get_or_insert(StoreError::MapLost);
        }
        match self.failed {
            None => Ok(self.synced),
            Some(error) => Err(error),
        }
    }

    fn close(&mut self, end: u64) -> Result<(), StoreError> {
        self.send(Command::Close { end });
        self.wait(|store| store.closed)?;
        hints::tell_closed(|at, value| self.hint(at, value), end);
        Ok(())
    }

    fn counts(&self) -> StoreCounts {
        self.counts
    }
}

impl FileStore {
    fn grow(&mut self, command: Command, step: u64, end: u64) -> Result<(), StoreError> {
        self.no_growth = None;
        self.send(command);
        self.wait(|store| store.no_growth.is_some() || store.usable(step) >= end)?;
        match self.no_growth.take() {
            Some(error) if self.usable(step) < end => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        // Every step goes back to the pager, which unmaps it.
        self.drain();
        if self.next_asked {
            let _ = self.wait(|store| !store.next_asked);
        }
        let next = self.next.take().map(|next| (next.step, next.lease));
        let current = (self.current.step, std::mem::replace(&mut self.current.lease, Lease::nothing()));
        for (step, lease) in next.into_iter().chain([current]) {
            self.send(Command::Retire { step, lease });
        }
        self.shared.stop.store(true, Ordering::Release);
        if let Link::Thread { thread, .. } = &mut self.link {
            if let Some(thread) = thread.take() {
                thread.thread().unpark();
                let _ = thread.join();
            }
        }
        // Last: answers that came in until now were still told to followers.
        self.front.take_back(std::mem::replace(&mut self.hints, Lease::nothing()));
    }
}

fn inline(pager: Box<Pager>) -> Link {
    Link::Inline { pager, answers: Deque::new() }
}

fn start(mut pager: Box<Pager>, shared: Arc<Shared>) -> io::Result<Link> {
    let (commands, mut asked) = rtrb::RingBuffer::new(RING);
    let (mut answer, answers) = rtrb::RingBuffer::new(RING);
    let thread = std::thread::Builder::new().name("kinora-pages".into()).spawn(move || {
        make_background();
        let mut failed = false;
        loop {
            // Asked first: commands that came before it are still done.
            let stop = shared.stop.load(Ordering::Acquire);
            while let Ok(command) = asked.pop() {
                if let Some(done) = pager.run(command) {
                    // The appender has at most one question of each kind open.
                    let _ = answer.push(done);
                }
            }
            if stop {
                return;
            }
            let more = pager.prefault(shared.position.load(Ordering::Acquire));
            shared.prefaulted.store(pager.prefaulted(), Ordering::Relaxed);
            if !more && asked.is_empty() {
                std::thread::park_timeout(LOOK);
                if failed {
                    continue;
                }
                if let Err(error) = pager.look_again(shared.position.load(Ordering::Acquire)) {
                    // Told once: the recording ends with it.
                    failed = true;
                    let _ = answer.push(Answer::Failed(error));
                }
            }
        }
    })?;
    Ok(Link::Thread { commands, answers, thread: Some(thread) })
}

/// A new name is only durable once its directory is.
fn sync_directory(path: &Path) -> Result<(), CreateError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| CreateError::Io { doing: "sync the directory", path: directory.to_owned(), error })
}
