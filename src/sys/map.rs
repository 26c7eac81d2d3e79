//! Growth steps of a recording, mapped into memory for writing.
//!
//! The one idea: whoever made the map keeps it and lends the right to write it, once. The map goes away only when the loan is
//! back, so that a writer never holds a pointer into nothing, and nobody counts references.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::signal::{Guard, is_dead};

/// A mapped part of a file, kept by the thread that grows and syncs it.
#[derive(Debug)]
pub struct StepMap {
    map: ManuallyDrop<MmapRaw>,
    guard: ManuallyDrop<Guard>,
    lent: bool,
}

/// The right to write a [`StepMap`]; there is at most one for each.
#[derive(Debug)]
pub struct Lease {
    start: NonNull<u8>,
    len: usize,
    guard: Option<usize>,
}

// SAFETY: a lease is the only one of its map, and the map stays until the lease is given back (`StepMap::drop` leaks it
// otherwise): it may be used from whichever thread holds it.
unsafe impl Send for Lease {}

impl StepMap {
    /// Maps `len` bytes of `file` from `offset` on (a multiple of the page size), shared. They may lie beyond the end of the
    /// file as long as nobody touches those.
    ///
    /// # Errors
    /// The system refuses (address space, file system without maps).
    pub fn new(file: &File, offset: u64, len: usize) -> io::Result<Self> {
        let map = MmapOptions::new().offset(offset).len(len).map_raw(file)?;
        // Pages one by one, without read-ahead: a sync write-protects whole folios, and read-ahead makes some of up to 2 MiB.
        let _ = map.advise(Advice::Random);
        let start = map.as_ptr() as usize;
        let guard = ManuallyDrop::new(Guard::new((start, start + map.len())));
        Ok(Self { map: ManuallyDrop::new(map), guard, lent: false })
    }

    /// Lends the right to write.
    ///
    /// # Panics
    /// When it is lent already.
    pub fn lend(&mut self) -> Lease {
        assert!(!self.lent, "one writer for each map");
        self.lent = true;
        let start = NonNull::new(self.map.as_mut_ptr()).expect("a map is not at zero");
        Lease { start, len: self.map.len(), guard: self.guard.place() }
    }

    /// Takes the right to write back.
    ///
    /// # Panics
    /// When the lease is of another map.
    pub fn take_back(&mut self, lease: Lease) {
        assert!(self.lent && lease.start.as_ptr() == self.map.as_mut_ptr(), "the lease of this map");
        self.lent = false;
    }

    /// Writes bytes `from..to` of the map to the medium and waits for it: `msync`, which on Linux also makes the file's size and
    /// block map durable.
    ///
    /// # Errors
    /// What could not be written may be lost; do not try again.
    pub fn sync(&self, from: usize, to: usize) -> io::Result<()> {
        self.map.flush_range(from, to - from)
    }

    /// Makes pages `from..to` present and writable without changing them.
    ///
    /// # Errors
    /// The kernel is older than 5.14, or the pages cannot be had.
    pub fn populate(&self, from: usize, to: usize) -> io::Result<()> {
        self.map.advise_range(Advice::PopulateWrite, from, to - from)
    }

    /// Of pages `from..to`, which are in memory: bit 0 of each entry of `there`, one for each page.
    ///
    /// # Errors
    /// The system does not say.
    ///
    /// # Panics
    /// When the range lies outside or `there` is too short.
    pub fn residency(&self, from: usize, to: usize, there: &mut [u8]) -> io::Result<()> {
        let page_bytes = rustix::param::page_size();
        let pages = (to - from).div_ceil(page_bytes);
        assert!(
            from % page_bytes == 0 && to <= self.map.len() && pages <= there.len(),
            "pages {from}..{to} of the map"
        );
        // SAFETY: the range lies in the map, whose pages the call only asks about; it writes one byte for each of them.
        let done =
            unsafe { libc::mincore(self.map.as_mut_ptr().add(from).cast(), to - from, there.as_mut_ptr().cast()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// True once a page of the map was lost (only known with the handler of `sys::signal`).
    pub fn is_dead(&self) -> bool {
        self.guard.is_dead()
    }
}

impl Drop for StepMap {
    fn drop(&mut self) {
        // A lent map is left in place: better a leak at the end of a thread that panicked than a pointer into nothing.
        if !self.lent {
            // SAFETY: dropped once, here; no lease is out, so nobody holds a pointer into the map. The guard goes first: its
            // addresses may belong to somebody else as soon as the map is gone.
            unsafe {
                ManuallyDrop::drop(&mut self.guard);
                ManuallyDrop::drop(&mut self.map);
            }
        }
    }
}

impl Lease {
    /// A lease of nothing, to leave behind when one is given back.
    pub fn nothing() -> Self {
        Self { start: NonNull::dangling(), len: 0, guard: None }
    }

    /// Bytes `from..from + len` of the map.
    ///
    /// # Panics
    /// When they lie outside.
    pub fn bytes_mut(&mut self, from: usize, len: usize) -> &mut [u8] {
        assert!(from <= self.len && len <= self.len - from, "{len} bytes at {from} of a map of {}", self.len);
        // SAFETY: the range lies in the map, which exists as long as its lease. `&mut self` makes this the only slice of
        // this process; the kernel reads the pages, and nobody else is allowed to write a file that we hold locked.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(from), len) }
    }

    /// As [`StepMap::is_dead`].
    pub fn is_dead(&self) -> bool {
        is_dead(self.guard)
    }

    /// The eight bytes at `at` (a multiple of 8) as an atomic number that other processes see.
    ///
    /// # Panics
    /// When they lie outside or are not aligned.
    pub fn atomic(&self, at: usize) -> &AtomicU64 {
        assert!(at % 8 == 0 && at + 8 <= self.len, "eight aligned bytes at {at} of a map of {}", self.len);
        // SAFETY: inside the map, aligned (maps begin at pages), and only ever accessed atomically: slices of this lease are
        // made by the same owner for other bytes.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(at).cast()) }
    }

    /// Stores a little-endian number at `at`, so that whoever loads it with acquire order sees all that was written before.
    ///
    /// # Panics
    /// As [`Lease::atomic`].
    pub fn store(&self, at: usize, value: u64) {
        self.atomic(at).store(value.to_le(), Ordering::Release);
    }
}

/// The first page of a recording, mapped for reading what its writer tells followers.
#[derive(Debug)]
pub struct HintMap {
    // Dropped before the map: its addresses may belong to somebody else afterwards.
    guard: Guard,
    map: MmapRaw,
}

impl HintMap {
    /// Maps the first `len` bytes of `file`, which must be that long.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(file: &File, len: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(len).map_raw_read_only(file)?;
        let start = map.as_ptr() as usize;
        Ok(Self { guard: Guard::new((start, start + map.len())), map })
    }

    /// True once the page was lost.
    pub fn is_dead(&self) -> bool {
        self.guard.is_dead()
    }

    /// Loads the little-endian number at `at` with acquire order.
    ///
    /// # Panics
    /// When it lies outside or is not aligned.
    pub fn load(&self, at: usize) -> u64 {
        assert!(at % 8 == 0 && at + 8 <= self.map.len(), "eight aligned bytes at {at} of a map of {}", self.map.len());
        // SAFETY: inside the map, aligned; an atomic load of memory that another process stores to atomically. (A load of this
        // width works on read-only memory.)
        let number = unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(at).cast()) };
        u64::from_le(number.load(Ordering::Acquire))
    }
}
