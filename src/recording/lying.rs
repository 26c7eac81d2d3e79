//! A disk that lies, in memory: dirty pages reach the medium late, in any order, torn at 512 bytes, or never, between two syncs;
//! a sync may fail and lose what it should have written, and the one after it says that all is well. For tests: the writer runs on
//! top of it, and everything follows from a seed.

use zerocopy::IntoBytes;

use super::format::{Front, Geometry, HINTS_OFFSET};
use super::store::{PageStore, StoreCounts, StoreError};

/// What the medium writes whole.
const SECTOR_BYTES: usize = 512;
/// Syncs that are logged; later ones are not.
const SYNCS_LOGGED: usize = 256;

/// Numbers that follow from a seed: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Everything follows from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number under `limit`; 0 when that is 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.number() % limit }
    }

    /// True once in `n` times.
    pub const fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How the disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lies {
    /// The power goes at this call of the store, counted from 0.
    pub cut_at: u64,
    /// A page is written back by itself once in so many calls; 0: never.
    pub write_back: u64,
    /// A sync that was begun takes up to so many calls of the store.
    pub sync_calls_max: u64,
    /// The file cannot grow beyond so many bytes ...
    pub capacity: u64,
    /// ... for this reason.
    pub growth_error: StoreError,
    /// After so many good syncs one fails, and loses its pages; those after it say that all is well.
    pub syncs_good: u64,
    /// Syncs do nothing and say that they did: what a test must notice.
    pub ignores_syncs: bool,
}

impl Lies {
    /// A disk without a fault whose power never goes.
    pub const NONE: Self = Self {
        cut_at: u64::MAX,
        write_back: 0,
        sync_calls_max: 0,
        capacity: u64::MAX,
        growth_error: StoreError::NoSpace,
        syncs_good: u64::MAX,
        ignores_syncs: false,
    };
}

/// A sync of the log: when it was begun and when it was done, in calls of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncLog {
    /// The call that began it.
    pub begun: u64,
    /// The call at which it was done; `None` while it runs, or when it failed.
    pub done: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    end: u64,
    done_at: u64,
    log: usize,
}

/// Pages in memory over a medium that lies.
#[derive(Debug)]
pub struct LyingStore {
    lies: Lies,
    chance: Chance,
    page_bytes: usize,
    /// What the process sees.
    live: Vec<u8>,
    /// What is on the medium. After the cut, what a reader finds.
    medium: Vec<u8>,
    /// Pages whose newest bytes are not on the medium, each once, in no order.
    dirty: Vec<u32>,
    is_dirty: Vec<bool>,
    calls: u64,
    /// The call at which the power went.
    cut_call: Option<u64>,
    running: Option<Running>,
    synced: u64,
    syncs: u64,
    failed: Option<StoreError>,
    log: heapless::Vec<SyncLog, SYNCS_LOGGED>,
}

impl LyingStore {
    /// A store with its front, durable.
    pub fn new(geometry: &Geometry, lies: Lies, seed: u64) -> Self {
        let page_bytes = geometry.page_bytes as usize;
        let mut store = Self {
            lies,
            chance: Chance::new(seed),
            page_bytes,
            live: vec![0; page_bytes],
            medium: vec![0; page_bytes],
            dirty: Vec::new(),
            is_dirty: vec![false],
            calls: 0,
            cut_call: None,
            running: None,
            synced: 0,
            syncs: 0,
            failed: None,
            log: heapless::Vec::new(),
        };
        let front = Front::new(geometry);
        store.live[..64].copy_from_slice(front.as_bytes());
        store.medium[..64].copy_from_slice(front.as_bytes());
        store
    }

    /// What a process sees that opens the file now.
    pub fn live(&self) -> &[u8] {
        &self.live
    }

    /// What is on the medium; once the power is gone, what a reader finds.
    pub fn medium(&self) -> &[u8] {
        &self.medium
    }

    /// The call before which the power went.
    pub fn cut_call(&self) -> Option<u64> {
        self.cut_call
    }

    /// True once the power is gone.
    pub fn is_cut(&self) -> bool {
        self.cut_call.is_some()
    }

    /// Calls of the store so far: its clock.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// The syncs so far, up to the cut.
    pub fn syncs(&self) -> &[SyncLog] {
        &self.log
    }

    /// The power goes now, if it did not yet.
    pub fn cut(&mut self) {
        if self.is_cut() {
            return;
        }
        self.cut_call = Some(self.calls);
        // Some disks lose all of it, some nothing, most a part.
        let (kept, torn) = match self.chance.below(5) {
            0 => (0, 0),
            1 => (100, 0),
            2 => (0, 100),
            _ => (30, 40),
        };
        for at in 0..self.dirty.len() {
            let page = self.dirty[at];
            let fate = self.chance.below(100);
            if fate < kept {
                self.write_page(page);
            } else if fate < kept + torn {
                self.tear_page(page);
            }
        }
    }

    /// One call more: pages may reach the medium, a sync may be done, the power may go.
    fn pass(&mut self) {
        if self.calls == self.lies.cut_at {
            self.cut();
        }
        self.calls += 1;
        if !self.is_cut()
            && self.lies.write_back > 0
            && !self.dirty.is_empty()
            && self.chance.once_in(self.lies.write_back)
        {
            let page = self.dirty[self.chance.below(self.dirty.len() as u64) as usize];
            // Half of them only in part, and so still dirty: a write that is under way.
            if self.chance.once_in(2) {
                self.tear_page(page);
            } else {
                self.write_page(page);
                self.clean(|dirty| dirty == page);
            }
        }
        if self.running.is_some_and(|running| running.done_at <= self.calls) {
            self.complete();
        }
    }

    fn write_page(&mut self, page: u32) {
        let start = page as usize * self.page_bytes;
        let end = (start + self.page_bytes).min(self.medium.len()).min(self.live.len());
        if start < end {
            self.medium[start..end].copy_from_slice(&self.live[start..end]);
        }
    }

    /// Writes some sectors of a page.
    fn tear_page(&mut self, page: u32) {
        let start = page as usize * self.page_bytes;
        let mut chosen = self.chance.number();
        for (sector, at) in (start..start + self.page_bytes).step_by(SECTOR_BYTES).enumerate() {
            if sector % 64 == 63 {
                chosen = self.chance.number();
            }
            let end = (at + SECTOR_BYTES).min(self.medium.len()).min(self.live.len());
            if chosen >> (sector % 64) & 1 == 1 && at < end {
                self.medium[at..end].copy_from_slice(&self.live[at..end]);
            }
        }
    }

    fn clean(&mut self, mut which: impl FnMut(u32) -> bool) {
        let is_dirty = &mut self.is_dirty;
        self.dirty.retain(|&page| {
            let clean = which(page);
            is_dirty[page as usize] &= !clean;
            !clean
        });
    }

    fn soil(&mut self, from: usize, to: usize) {
        for page in from / self.page_bytes..to.div_ceil(self.page_bytes) {
            if !std::mem::replace(&mut self.is_dirty[page], true) {
                self.dirty.push(page as u32);
            }
        }
    }

    /// Begins a sync that will be done at call `done_at`.
    fn begin(&mut self, end: u64, done_at: u64) {
        let _ = self.log.push(SyncLog { begun: self.calls, done: None });
        self.running = Some(Running { end, done_at, log: self.log.len() - 1 });
    }

    /// The sync that runs comes to its end.
    fn complete(&mut self) {
        let Some(Running { end, log, .. }) = self.running.take() else { return };
        let pages = end.div_ceil(self.page_bytes as u64) as u32;
        self.syncs += 1;
        if self.syncs == self.lies.syncs_good.saturating_add(1) {
            // The kernel marks the pages clean: nobody will ever write them again.
            self.clean(|page| page < pages);
            self.failed = Some(StoreError::Sync { errno: 5 });
            return;
        }
        if !self.is_cut() && !self.lies.ignores_syncs {
            for at in 0..self.dirty.len() {
                let page = self.dirty[at];
                if page < pages {
                    self.write_page(page);
                }
            }
            self.clean(|page| page < pages);
        }
        if !self.is_cut() {
            self.log[log].done = Some(self.calls);
        }
        self.synced = self.synced.max(end);
    }

    fn sync_now(&mut self, end: u64) -> Result<(), StoreError> {
        // The one that runs is waited for.
        self.complete();
        self.take_failure()?;
        self.begin(end, self.calls);
        self.pass();
        self.complete();
        self.take_failure()
    }

    /// The kernel tells of a failed sync once.
    fn take_failure(&mut self) -> Result<(), StoreError> {
        self.failed.take().map_or(Ok(()), Err)
    }
}

impl PageStore for LyingStore {
    fn reach(&mut self, end: u64) -> Result<(), StoreError> {
        self.pass();
        let wanted = (end as usize).next_multiple_of(self.page_bytes);
        if wanted <= self.live.len() {
            return Ok(());
        }
        if end > self.lies.capacity {
            return Err(self.lies.growth_error);
        }
        self.live.resize(wanted, 0);
        self.is_dirty.resize(wanted / self.page_bytes, false);
        // Growth is on the medium before anything points there.
        if !self.is_cut() {
            self.medium.resize(wanted, 0);
        }
        Ok(())
    }

    fn area(&mut self, offset: u64, len: usize) -> &mut [u8] {
        self.pass();
        let offset = offset as usize;
        self.soil(offset, offset + len);
        &mut self.live[offset..offset + len]
    }

    fn publish(&mut self, committed: u64, frames: u64, durable: u64) {
        self.pass();
        for (at, value) in [(24, frames), (32, durable), (0, committed)] {
            self.live[HINTS_OFFSET + at..][..8].copy_from_slice(&value.to_le_bytes());
        }
        self.soil(0, 1);
    }

    fn sync_start(&mut self, end: u64) {
        self.pass();
        let takes = self.chance.below(self.lies.sync_calls_max + 1);
        self.begin(end, self.calls + takes);
    }

    fn sync_wait(&mut self, end: u64) -> Result<(), StoreError> {
        self.pass();
        self.sync_now(end)
    }

    fn synced(&mut self) -> Result<u64, StoreError> {
        self.pass();
        self.take_failure()?;
        Ok(self.synced)
    }

    fn close(&mut self, end: u64) -> Result<(), StoreError> {
        self.pass();
        // The file is cut off first; the new size may reach the medium before the pages.
        self.live.truncate(end as usize);
        let page_bytes = self.page_bytes as u64;
        self.clean(|page| u64::from(page) * page_bytes >= end);
        if !self.is_cut() && self.chance.once_in(2) {
            self.medium.truncate(end as usize);
        }
        self.pass();
        self.sync_now(end)?;
        if !self.is_cut() {
            self.medium.truncate(end as usize);
        }
        self.pass();
        Ok(())
    }

    fn counts(&self) -> StoreCounts {
        StoreCounts { syncs: self.syncs, ..StoreCounts::default() }
    }
}
