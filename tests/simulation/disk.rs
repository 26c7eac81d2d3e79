//! A disk that is slow, full, fails, or turns read-only. What lies on it can be looked at after every file is closed, and during
//! a step when the judge asked for that.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use kinora::recording::Geometry;
use kinora::recording::memory::MemoryStore;
use kinora::recording::store::{PageStore, Pages, StoreCounts, StoreError};
use kinora::{ManualClock, Span};

use super::chance::Chance;

const READ_ONLY: StoreError = StoreError::Io { doing: "write", errno: 30 };

/// A file as it was at one moment.
#[derive(Clone, Debug)]
pub struct Image {
    pub path: PathBuf,
    pub store: MemoryStore,
    /// What was told to followers then.
    pub frames: u64,
    pub durable: u64,
    pub failed: bool,
    pub closed: bool,
}

/// What the judge sees.
#[derive(Debug, Default)]
pub struct Shelf {
    /// Files in the order in which they were closed or given up.
    pub files: Vec<Image>,
    /// Take an image at the next publish.
    pub wanted: bool,
    pub image: Option<Image>,
    /// Files that could not be made.
    pub refused: u64,
    pub syncs_failed: u64,
    /// Most bytes that one file had.
    pub bytes_max: u64,
}

/// What is wrong with this disk.
#[derive(Clone, Copy, Debug)]
struct Faults {
    /// Once in so many, 0 never.
    slow: u64,
    full: u64,
    sync_fails: u64,
    read_only: u64,
    refuses: u64,
}

pub struct Disk {
    clock: Arc<ManualClock>,
    chance: Mutex<Chance>,
    faults: Faults,
    shelf: Arc<Mutex<Shelf>>,
    read_only: Arc<Mutex<bool>>,
}

impl Disk {
    pub fn new(clock: Arc<ManualClock>, mut chance: Chance, shelf: Arc<Mutex<Shelf>>) -> Self {
        let mut rate = |often: u64| if chance.once_in(3) { 1 + chance.below(often) } else { 0 };
        let faults =
            Faults { slow: rate(8), full: rate(4), sync_fails: rate(4), read_only: rate(400), refuses: rate(20) };
        Self { clock, chance: Mutex::new(chance), faults, shelf, read_only: Arc::default() }
    }
}

impl Pages for Disk {
    fn create(&self, path: &Path, geometry: &Geometry) -> Result<Box<dyn PageStore + Send>, StoreError> {
        let mut chance = self.chance.lock().unwrap();
        let strikes = |chance: &mut Chance, once_in: u64| once_in > 0 && chance.once_in(once_in);
        let refuse = |reason| {
            self.shelf.lock().unwrap().refused += 1;
            Err(reason)
        };
        if *self.read_only.lock().unwrap() {
            return refuse(READ_ONLY);
        }
        if strikes(&mut chance, self.faults.refuses) {
            return refuse(if chance.once_in(2) { StoreError::NoSpace } else { StoreError::Quota });
        }
        let mut store = MemoryStore::new(geometry);
        if strikes(&mut chance, self.faults.full) {
            store.capacity = geometry.step_bytes + chance.below(1 << 20);
        }
        if strikes(&mut chance, self.faults.sync_fails) {
            store.syncs_left = 1 + chance.below(12);
        }
        Ok(Box::new(Store {
            image: Image { path: path.to_path_buf(), store, frames: 0, durable: 0, failed: false, closed: false },
            clock: Arc::clone(&self.clock),
            chance: chance.fork(),
            faults: self.faults,
            shelf: Arc::clone(&self.shelf),
            read_only: Arc::clone(&self.read_only),
            syncing: None,
        }))
    }
}

struct Store {
    image: Image,
    clock: Arc<ManualClock>,
    chance: Chance,
    faults: Faults,
    shelf: Arc<Mutex<Shelf>>,
    read_only: Arc<Mutex<bool>>,
    /// End of the sync that runs, and how often it is asked for before it is done.
    syncing: Option<(u64, u64)>,
}

impl Store {
    fn slow(&mut self, most_ms: i64) {
        if self.faults.slow > 0 && self.chance.once_in(self.faults.slow) {
            self.clock.advance(Span::from_ms(self.chance.between(0, most_ms)));
        }
    }

    fn check(&mut self) -> Result<(), StoreError> {
        if *self.read_only.lock().unwrap() {
            self.image.failed = true;
            return Err(READ_ONLY);
        }
        Ok(())
    }

    fn note<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error) = &result {
            if !error.is_full() && !self.image.failed {
                self.image.failed = true;
                self.shelf.lock().unwrap().syncs_failed += 1;
            }
        }
        result
    }
}

impl PageStore for Store {
    fn reach(&mut self, end: u64) -> Result<(), StoreError> {
        self.check()?;
        self.slow(50);
        let reached = self.image.store.reach(end);
        let bytes = self.image.store.live().len() as u64;
        let mut shelf = self.shelf.lock().unwrap();
        shelf.bytes_max = shelf.bytes_max.max(bytes);
        reached
    }

    fn area(&mut self, offset: u64, len: usize) -> &mut [u8] {
        self.slow(300);
        self.image.store.area(offset, len)
    }

    fn publish(&mut self, committed: u64, frames: u64, durable: u64) {
        self.image.store.publish(committed, frames, durable);
        (self.image.frames, self.image.durable) = (frames, durable);
        if self.faults.read_only > 0 && self.chance.once_in(self.faults.read_only) {
            *self.read_only.lock().unwrap() = true;
        }
        let mut shelf = self.shelf.lock().unwrap();
        if shelf.wanted {
            shelf.image = Some(self.image.clone());
        }
    }

    fn sync_start(&mut self, end: u64) {
        let looks = if self.faults.slow > 0 { self.chance.below(30) } else { 0 };
        self.syncing = Some((end, looks));
    }

    fn sync_wait(&mut self, end: u64) -> Result<(), StoreError> {
        self.check()?;
        self.slow(2_000);
        self.syncing = None;
        let result = self.image.store.sync_wait(end);
        self.note(result)
    }

    fn synced(&mut self) -> Result<u64, StoreError> {
        match self.syncing {
            Some((end, 0)) => {
                self.syncing = None;
                self.check()?;
                self.image.store.sync_start(end);
            }
            Some((end, looks)) => self.syncing = Some((end, looks - 1)),
            None => {}
        }
        let result = self.image.store.synced();
        self.note(result)
    }

    fn close(&mut self, end: u64) -> Result<(), StoreError> {
        self.check()?;
        self.slow(2_000);
        let result = self.image.store.close(end);
        self.image.closed = result.is_ok();
        self.note(result)
    }

    fn counts(&self) -> StoreCounts {
        self.image.store.counts()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shelf.lock().unwrap().files.push(self.image.clone());
    }
}
