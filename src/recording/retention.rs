//! Keeps a directory under a total size and a disk above its floor of free space, by removing the oldest recordings.
//!
//! It is asked whenever a recording is about to grow (see [`Room`]), so the limits hold at every moment and not only when
//! a file ends; what is preallocated counts. Closed recordings of ours go first, oldest first; then those whose writer
//! died; those being written never. Locked ones (`….locked.kinora`) stay as long as they take no more than a share of the
//! total size together; what is beyond it goes before anything else, the oldest locked one first. Without a total size nothing is ever removed, and the floor alone decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::anatomy::Kinora;
use super::directory::{Anatomy, Directory, Removal, Scan};
use super::room::{NoRoom, Room};

/// Default of [`Limits::min_free`]: 100 MB, modlib's floor.
pub const MIN_FREE_DEFAULT: u64 = 100_000_000;

/// Default of [`Limits::locked_percent`].
pub const LOCKED_PERCENT_DEFAULT: u8 = 30;

/// What a directory may take and what must stay free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that all our recordings in the directory may take, those being written included; `None`: no limit, and
    /// nothing is removed.
    pub keep_size: Option<u64>,
    /// Bytes that stay free on the disk; 0 switches the floor off.
    pub min_free: u64,
    /// Share of `keep_size` that locked recordings may take together before they are removed too, in percent.
    pub locked_percent: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self { keep_size: None, min_free: MIN_FREE_DEFAULT, locked_percent: LOCKED_PERCENT_DEFAULT }
    }
}

impl Limits {
    /// Bytes of locked recordings that are never removed to make room.
    fn locked_max(&self) -> u64 {
        let share = |limit: u64| u128::from(limit) * u128::from(self.locked_percent.min(100)) / 100;
        self.keep_size.map_or(u64::MAX, |limit| share(limit) as u64)
    }
}

/// What was removed so far; read by the recorder while the keeper works on another thread.
#[derive(Debug, Default)]
pub struct Removed {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Removed {
    /// Recordings removed.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// Bytes that they took.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Applies [`Limits`] to one directory.
pub struct Keeper<A = Kinora> {
    directory: Arc<Directory<A>>,
    limits: Limits,
    removed: Arc<Removed>,
}

/// A recording may not ask for a larger share of the total at once: else one step of growth would empty the directory.
const SHARE_MAX: u64 = 8;

/// Scans for one request. Each but the last removes at least one file.
const SCANS_MAX: usize = 64;

impl<A: Anatomy> Keeper<A> {
    /// A keeper of `directory`; `removed` counts along.
    pub fn new(directory: Arc<Directory<A>>, limits: Limits, removed: Arc<Removed>) -> Self {
        Self { directory, limits, removed }
    }

    /// `None`: the file system does not tell what is free; it will tell by refusing to allocate.
    fn free(&self) -> Option<u64> {
        self.directory.free_bytes().ok().flatten()
    }

    fn grant_above_floor(&self, wanted: u64, least: u64) -> Result<u64, NoRoom> {
        let available = self.free().map_or(wanted, |free| free.saturating_sub(self.limits.min_free));
        if available < least && self.limits.min_free > 0 {
            return Err(self.floor_reached(least));
        }
        // Without a floor the disk itself says when it is full.
        Ok(wanted.min(available).max(least))
    }

    fn floor_reached(&self, needed: u64) -> NoRoom {
        NoRoom::Floor { free: self.free().unwrap_or(0), floor: self.limits.min_free, needed }
    }

    /// Removes the oldest until `wanted` fits, or nothing is left to remove; then grants what there is.
    fn grant_within(&mut self, limit: u64, wanted: u64, least: u64) -> Result<u64, NoRoom> {
        let mut available = (0, None);
        for _ in 0..SCANS_MAX {
            // A directory that cannot be read cannot be kept small; the floor still holds.
            let Ok(scan) = self.directory.scan() else { return self.grant_above_floor(wanted, least) };
            let removals = self.remove_until_fits(&scan, limit, wanted);
            available = removals.available;
            if removals.fits || removals.files == 0 || !scan.more {
                break;
            }
        }
        let (below_limit, above_floor) = available;
        if self.limits.min_free > 0 && above_floor.is_some_and(|bytes| bytes < least) {
            return Err(self.floor_reached(least));
        }
        if below_limit < least {
            return Err(NoRoom::Total { used: limit - below_limit, limit, needed: least });
        }
        Ok(wanted.min(below_limit).min(above_floor.unwrap_or(u64::MAX)).max(least))
    }

    fn remove_until_fits(&self, scan: &Scan, limit: u64, wanted: u64) -> Removals {
        let free_before = self.free();
        let mut removals = Removals::default();
        let (mut used, mut locked_used, mut freed) = (scan.bytes, scan.locked_bytes, 0);
        let (mut oldest, mut locked) = (scan.oldest.iter(), scan.locked.iter());
        let locked_max = self.limits.locked_max();
        loop {
            // Some file systems give space back late: what was removed counts as free at once.
            let free = free_before.map(|before| before.saturating_add(freed).max(self.free().unwrap_or(0)));
            let above_floor = free.map(|bytes| bytes.saturating_sub(self.limits.min_free));
            removals.available = (limit.saturating_sub(used), above_floor);
            removals.fits = removals.available.0 >= wanted && above_floor.is_none_or(|bytes| bytes >= wanted);
            // A floor that all that may go could not restore is no reason to lose it.
            let removable = used.saturating_sub(locked_used.min(locked_max));
            let hopeless = free.is_some_and(|bytes| bytes.saturating_add(removable) < self.limits.min_free);
            if removals.fits || hopeless {
                return removals;
            }
            let beyond_share = if locked_used > locked_max { locked.next() } else { None };
            let Some(entry) = beyond_share.or_else(|| oldest.next()) else { return removals };
            if self.directory.remove(entry) == Removal::Removed {
                if beyond_share.is_some() {
                    locked_used = locked_used.saturating_sub(entry.bytes);
                }
                removals.files += 1;
                used = used.saturating_sub(entry.bytes);
                freed += entry.bytes;
                self.removed.files.fetch_add(1, Ordering::Relaxed);
                self.removed.bytes.fetch_add(entry.bytes, Ordering::Relaxed);
            }
        }
    }
}

/// How far one round of removals came.
#[derive(Default)]
struct Removals {
    files: u64,
    fits: bool,
    /// Bytes below the total size, and above the floor if that is known.
    available: (u64, Option<u64>),
}

impl<A: Anatomy> Room for Keeper<A> {
    fn grant(&mut self, wanted: u64, least: u64) -> Result<u64, NoRoom> {
        match self.limits.keep_size {
            None => self.grant_above_floor(wanted, least),
            Some(limit) => self.grant_within(limit, wanted.min(limit / SHARE_MAX).max(least), least),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::tests::{Toy, put};
    use super::*;
    use std::path::Path;

    const BLOCK: u64 = 4096;

    fn keeper(path: &Path, limits: Limits) -> Keeper<Toy> {
        let directory = Arc::new(Directory::open_with(path, Toy).unwrap());
        Keeper::new(directory, limits, Arc::new(Removed::default()))
    }

    /// A closed recording of ten blocks.
    fn recording(path: &Path, name: &str, age_s: u64) {
        put(path, name, &[b"R".as_slice(), &[1; 10 * BLOCK as usize - 2], b"C"].concat(), age_s);
    }

    fn left(path: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            path.read_dir().unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_go_until_the_wanted_bytes_fit_and_no_more() {
        let top = tempfile::tempdir().unwrap();
        for (name, age) in [("c.kinora", 1), ("b.kinora", 2), ("a.kinora", 3), ("mine.txt", 0)] {
            recording(top.path(), name, age);
        }
        let mut keeper = keeper(top.path(), Limits { keep_size: Some(33 * BLOCK), min_free: 0, ..Limits::default() });
        assert_eq!(keeper.grant(4 * BLOCK, BLOCK), Ok(4 * BLOCK));
        assert_eq!(left(top.path()), ["a.kinora", "b.kinora", "mine.txt"]);
        assert_eq!((keeper.removed.files(), keeper.removed.bytes()), (1, 10 * BLOCK));
        assert_eq!(keeper.grant(4 * BLOCK, BLOCK), Ok(4 * BLOCK), "fits without removing");
        assert_eq!(keeper.removed.files(), 1);
    }

    #[test]
    fn a_large_wish_does_not_empty_the_directory() {
        let top = tempfile::tempdir().unwrap();
        for age in 0..3 {
            recording(top.path(), &format!("{age}.kinora"), age);
        }
        let mut keeper = keeper(top.path(), Limits { keep_size: Some(32 * BLOCK), min_free: 0, ..Limits::default() });
        assert_eq!(keeper.grant(64 << 20, BLOCK), Ok(4 * BLOCK));
        assert_eq!(left(top.path()).len(), 2);
    }

    #[test]
    fn when_nothing_is_left_to_remove_the_answer_is_what_there_is_or_no() {
        let top = tempfile::tempdir().unwrap();
        recording(top.path(), "written.kinora", 0);
        let writer = std::fs::File::open(top.path().join("written.kinora")).unwrap();
        assert!(super::super::hold::hold(&writer).unwrap());
        let mut some = keeper(top.path(), Limits { keep_size: Some(12 * BLOCK), min_free: 0, ..Limits::default() });
        assert_eq!(some.grant(64 << 20, 2 * BLOCK), Ok(2 * BLOCK));
        let refused = some.grant(64 << 20, 3 * BLOCK);
        assert_eq!(refused, Err(NoRoom::Total { used: 10 * BLOCK, limit: 12 * BLOCK, needed: 3 * BLOCK }));
        assert_eq!(left(top.path()), ["written.kinora"]);
    }

    #[test]
    fn below_the_floor_nothing_is_granted_and_without_a_total_nothing_is_removed() {
        let top = tempfile::tempdir().unwrap();
        recording(top.path(), "a.kinora", 0);
        let mut keeper = keeper(top.path(), Limits { keep_size: None, min_free: u64::MAX / 2, ..Limits::default() });
        assert!(matches!(keeper.grant(BLOCK, 1), Err(NoRoom::Floor { needed: 1, .. })));
        assert_eq!(left(top.path()), ["a.kinora"]);
    }

    #[test]
    fn locked_recordings_stay_until_they_take_more_than_their_share() {
        let top = tempfile::tempdir().unwrap();
        for (name, age) in [("a.locked.kinora", 1), ("b.locked.kinora", 2), ("c.locked.kinora", 3)] {
            recording(top.path(), name, age);
        }
        for (name, age) in [("d.kinora", 4), ("e.kinora", 5), ("f.kinora", 6), ("g.kinora", 7)] {
            recording(top.path(), name, age);
        }
        // 70 blocks of 70; locked ones may take 30 % of that: 21.
        let limits = Limits { keep_size: Some(70 * BLOCK), min_free: 0, ..Limits::default() };
        let mut keeper = keeper(top.path(), limits);
        assert_eq!(keeper.grant(5 * BLOCK, BLOCK), Ok(5 * BLOCK));
        let rest = ["d.kinora", "e.kinora", "f.kinora", "g.kinora"];
        let locked = ["b.locked.kinora", "c.locked.kinora"];
        assert_eq!(left(top.path()), [&locked[..], &rest].concat(), "beyond their share");
        recording(top.path(), "h.kinora", 8);
        assert_eq!(keeper.grant(8 * BLOCK, 8 * BLOCK), Ok(8 * BLOCK));
        assert_eq!(
            left(top.path()),
            [&locked[..], &["e.kinora", "f.kinora", "g.kinora", "h.kinora"]].concat(),
            "within their share the oldest other one goes, though it is younger"
        );
    }

    #[test]
    fn locked_recordings_within_their_share_are_not_removed_even_when_nothing_else_is_left() {
        let top = tempfile::tempdir().unwrap();
        recording(top.path(), "a.locked.kinora", 1);
        let limits = Limits { keep_size: Some(12 * BLOCK), min_free: 0, locked_percent: 100 };
        assert_eq!(keeper(top.path(), limits).grant(BLOCK, 1), Ok(BLOCK));
        let refused = keeper(top.path(), limits).grant(4 * BLOCK, 4 * BLOCK);
        assert_eq!(refused, Err(NoRoom::Total { used: 10 * BLOCK, limit: 12 * BLOCK, needed: 4 * BLOCK }));
        assert_eq!(left(top.path()), ["a.locked.kinora"]);
        let none = Limits { locked_percent: 0, ..limits };
        assert_eq!(keeper(top.path(), none).grant(4 * BLOCK, 4 * BLOCK), Ok(4 * BLOCK));
        assert_eq!(left(top.path()), [""; 0]);
    }

    #[test]
    fn recordings_are_not_removed_for_a_floor_that_they_cannot_restore() {
        let top = tempfile::tempdir().unwrap();
        recording(top.path(), "a.kinora", 0);
        let mut hopeless =
            keeper(top.path(), Limits { keep_size: Some(u64::MAX), min_free: u64::MAX / 2, ..Limits::default() });
        assert!(matches!(hopeless.grant(BLOCK, 1), Err(NoRoom::Floor { .. })));
        assert_eq!(left(top.path()), ["a.kinora"]);
    }
}
