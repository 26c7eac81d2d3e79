//! Pages in memory instead of a file: for tests, which may let the power fail at any moment, and for the fuzzer.

use std::collections::BTreeSet;

use zerocopy::IntoBytes;

use super::format::{Front, Geometry, HINTS_OFFSET};
use super::store::{PageStore, StoreCounts, StoreError};

/// Pages in memory, and what of them a disk would hold.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    live: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<u64>,
    page_bytes: u64,
    synced: u64,
    counts: StoreCounts,
    /// The file cannot grow beyond so many bytes.
    pub capacity: u64,
    /// After so many more syncs, one fails; the store stays failed.
    pub syncs_left: u64,
    failed: Option<StoreError>,
    closed: bool,
}

impl MemoryStore {
    /// A store with its front, durable.
    pub fn new(geometry: &Geometry) -> Self {
        let page_bytes = u64::from(geometry.page_bytes);
        let mut live = vec![0; page_bytes as usize];
        live[..64].copy_from_slice(Front::new(geometry).as_bytes());
        Self {
            durable: live.clone(),
            live,
            dirty: BTreeSet::new(),
            page_bytes,
            synced: 0,
            counts: StoreCounts::default(),
            capacity: u64::MAX,
            syncs_left: u64::MAX,
            failed: None,
            closed: false,
        }
    }

    /// What a process sees that opens the file now.
    pub fn live(&self) -> &[u8] {
        &self.live
    }

    /// What a power cut leaves: everything synced, and of each page that is not, its new content where `reached` says that it
    /// reached the disk, else its old one (zeros, or what the last sync left).
    pub fn after_power_cut(&self, mut reached: impl FnMut(u64) -> bool) -> Vec<u8> {
        let mut image = self.durable.clone();
        if self.closed && !reached(u64::MAX) {
            return image;
        }
        image.resize(self.live.len().max(if self.closed { 0 } else { image.len() }), 0);
        for &page in self.dirty.iter().filter(|&&page| reached(page)) {
            let start = ((page * self.page_bytes) as usize).min(image.len());
            let end = (start + self.page_bytes as usize).min(image.len());
            image[start..end].copy_from_slice(&self.live[start..end]);
        }
        image
    }

    fn sync(&mut self, end: u64) -> Result<(), StoreError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.syncs_left == 0 {
            // The kernel forgets the pages of a failed write: what was dirty stays old on the disk.
            self.dirty.clear();
            return Err(*self.failed.insert(StoreError::Sync { errno: 5 }));
        }
        self.syncs_left -= 1;
        self.durable.resize(self.durable.len().max(self.live.len()), 0);
        let behind = self.dirty.split_off(&end.div_ceil(self.page_bytes));
        for page in std::mem::replace(&mut self.dirty, behind) {
            let start = (page * self.page_bytes) as usize;
            let end = (start + self.page_bytes as usize).min(self.live.len());
            self.durable[start..end].copy_from_slice(&self.live[start..end]);
        }
        self.synced = self.synced.max(end);
        self.counts.syncs += 1;
        Ok(())
    }
}

impl PageStore for MemoryStore {
    fn reach(&mut self, end: u64) -> Result<(), StoreError> {
        if end > self.capacity {
            return Err(StoreError::NoSpace);
        }
        // Growth is durable before anything points there.
        let end = (end as usize).next_multiple_of(self.page_bytes as usize);
        self.live.resize(self.live.len().max(end), 0);
        self.durable.resize(self.live.len(), 0);
        Ok(())
    }

    fn area(&mut self, offset: u64, len: usize) -> &mut [u8] {
        self.dirty.extend(offset / self.page_bytes..(offset + len as u64).div_ceil(self.page_bytes));
        &mut self.live[offset as usize..offset as usize + len]
    }

    fn publish(&mut self, committed: u64, frames: u64, durable: u64) {
        for (at, value) in [(24, frames), (32, durable), (0, committed)] {
            self.live[HINTS_OFFSET + at..][..8].copy_from_slice(&value.to_le_bytes());
        }
        self.dirty.insert(0);
    }

    fn sync_start(&mut self, end: u64) {
        let _ = self.sync(end);
    }

    fn sync_wait(&mut self, end: u64) -> Result<(), StoreError> {
        self.sync(end)
    }

    fn synced(&mut self) -> Result<u64, StoreError> {
        match self.failed {
            None => Ok(self.synced),
            Some(error) => Err(error),
        }
    }

    fn close(&mut self, end: u64) -> Result<(), StoreError> {
        self.sync(end)?;
        self.live.truncate(end as usize);
        self.durable.truncate(end as usize);
        self.closed = true;
        Ok(())
    }

    fn counts(&self) -> StoreCounts {
        self.counts
    }
}
