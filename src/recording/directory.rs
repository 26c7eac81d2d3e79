//! A directory of recordings: made with the right permissions, listed without trusting what lies in it, kept under a
//! size, its abandoned files trimmed.
//!
//! Anything may lie in there. So each name is looked at by `lstat` before it is opened (never a link, device or FIFO),
//! opened without following or waiting, and counts as ours only by its first bytes. Whether somebody writes it, the
//! lock of [`hold`](super::hold) tells. Memory does not depend on how many files there are.

#![allow(clippy::unnecessary_cast, reason = "the fields of `stat` have other types on 32-bit machines")]

use std::collections::BinaryHeap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::anatomy::Kinora;
use super::hold::hold;
use super::names::{is_locked_name, is_recording_name, natural_order};

/// What a file is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Not a recording of ours.
    Foreign,
    /// A recording with its closing record.
    Closed,
    /// A recording without it: somebody writes it, or did until the power went.
    Unclosed,
}

/// How the directory learns what is inside a file. The reader of the format implements it; tests have their own.
pub trait Anatomy: Send + Sync {
    /// What the file is; reads a few bytes at both ends.
    ///
    /// # Errors
    /// It cannot be read.
    fn standing(&self, file: &File, len: u64) -> io::Result<Standing>;

    /// Where the last record of an unclosed recording ends, given that all bytes from `data_end` on are zero: records may end
    /// in zeros. `len` when that cannot be told: nothing may then be cut off.
    ///
    /// # Errors
    /// It cannot be read.
    fn record_end(&self, file: &File, data_end: u64, len: u64) -> io::Result<u64>;
}

/// A directory that recordings lie in.
pub struct Directory<A = Kinora> {
    path: PathBuf,
    handle: OwnedFd,
    anatomy: A,
}

/// One recording of the directory, as found at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the directory.
    pub name: Box<CStr>,
    /// Last change of the file: seconds and nanoseconds since 1970.
    pub modified: (i64, i64),
    /// Bytes that it takes on the disk.
    pub bytes: u64,
    /// True when its writer closed it.
    pub closed: bool,
    inode: (u64, u64),
}

impl Entry {
    fn name_bytes(&self) -> &[u8] {
        self.name.to_bytes()
    }
}

impl Ord for Entry {
    /// By age: oldest change first; names decide between files of the same instant.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.modified
            .cmp(&other.modified)
            .then_with(|| natural_order(self.name_bytes(), other.name_bytes()))
            .then_with(|| self.inode.cmp(&other.inode))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Bytes that all recordings of ours take on the disk, those being written included.
    pub bytes: u64,
    /// The oldest recordings, those that may go first at the front: closed ones by age, then unclosed ones by age.
    pub oldest: Vec<Entry>,
    /// Bytes of the locked recordings among them.
    pub locked_bytes: u64,
    /// The oldest locked recordings, by age, closed or not; none of them is in `oldest`.
    pub locked: Vec<Entry>,
    /// True when there are more recordings than `oldest` and `locked` list.
    pub more: bool,
}

/// What trimming did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Recordings that were shortened.
    pub files: u64,
    /// Bytes given back to the disk.
    pub bytes: u64,
}

/// What became of a file that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// Somebody writes it, it changed since it was listed, or the system refused; it is still there.
    Kept,
}

/// Oldest recordings that one scan lists, of each sort; more need another scan.
const LISTED_MAX: usize = 256;

impl Directory {
    /// The directory of `.kinora` files at `path`, made if it is missing; see [`create_with`](Self::create_with).
    ///
    /// # Errors
    /// The system's.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::create_with(path, Kinora)
    }

    /// The directory of `.kinora` files at `path`.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_with(path, Kinora)
    }
}

impl<A: Anatomy> Directory<A> {
    /// Makes the directory, with its parents, where it is missing; new ones get mode 0750 and survive a power cut.
    ///
    /// # Errors
    /// The system's, when it cannot be made or opened, or is not a directory.
    pub fn create_with(path: &Path, anatomy: A) -> io::Result<Self> {
        if path.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is a file; give another name"));
        }
        make_durably(path)?;
        Self::open_with(path, anatomy)
    }

    /// Opens a directory that is there.
    ///
    /// # Errors
    /// The system's.
    pub fn open_with(path: &Path, anatomy: A) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = openat(CWD, or_here(path), flags, Mode::empty())?;
        Ok(Self { path: path.to_path_buf(), handle, anatomy })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that programs without privileges may still write to the disk; `None` when the file system does not tell.
    ///
    /// # Errors
    /// The system's.
    pub fn free_bytes(&self) -> io::Result<Option<u64>> {
        let stat = rustix::fs::fstatvfs(&self.handle)?;
        Ok((stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    /// The recording that was changed last, closed or not; of several of the same instant, the last by name.
    ///
    /// # Errors
    /// The directory cannot be read. What cannot be read *in* it is passed over.
    pub fn newest(&self) -> io::Result<Option<PathBuf>> {
        let mut newest: Option<Entry> = None;
        self.each_recording(|entry, _| {
            if newest.as_ref().is_none_or(|best| entry > *best) {
                newest = Some(entry);
            }
        })?;
        Ok(newest.map(|entry| self.path.join(OsStr::from_bytes(entry.name_bytes()))))
    }

    /// Adds up our recordings and lists the oldest.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn scan(&self) -> io::Result<Scan> {
        let mut closed = Oldest::default();
        let mut unclosed = Oldest::default();
        let mut locked = Oldest::default();
        let (mut bytes, mut locked_bytes) = (0_u64, 0_u64);
        self.each_recording(|entry, _| {
            bytes = bytes.saturating_add(entry.bytes);
            if is_locked_name(OsStr::from_bytes(entry.name_bytes())) {
                locked_bytes = locked_bytes.saturating_add(entry.bytes);
                locked.add(entry);
            } else if entry.closed {
                closed.add(entry);
            } else {
                unclosed.add(entry);
            }
        })?;
        let more = closed.overflowed || unclosed.overflowed || locked.overflowed;
        // Unclosed ones may only follow once every closed one is listed.
        let abandoned = if closed.overflowed { Vec::new() } else { unclosed.into_sorted() };
        let mut oldest = closed.into_sorted();
        oldest.extend(abandoned);
        Ok(Scan { bytes, oldest, locked_bytes, locked: locked.into_sorted(), more })
    }

    /// Removes a recording that [`scan`](Self::scan) listed, unless somebody writes it or it is not the same any more.
    pub fn remove(&self, entry: &Entry) -> Removal {
        self.try_remove(entry).unwrap_or(Removal::Kept)
    }

    fn try_remove(&self, entry: &Entry) -> io::Result<Removal> {
        let Some((file, stat)) = self.open_regular(&entry.name, false)? else { return Ok(Removal::Kept) };
        if inode_of(&stat) != entry.inode || !hold(&file)? {
            return Ok(Removal::Kept);
        }
        // Held by us now, so nobody writes it. The name may still have been given to another file meanwhile.
        let named = statat(&self.handle, &*entry.name, AtFlags::SYMLINK_NOFOLLOW)?;
        if inode_of(&named) != entry.inode {
            return Ok(Removal::Kept);
        }
        unlinkat(&self.handle, &*entry.name, AtFlags::empty())?;
        Ok(Removal::Removed)
    }

    /// Cuts the unused, preallocated end off every unclosed recording that nobody writes. Only zeros behind the last
    /// intact record go; the time of the last change stays, so that the order by age does.
    ///
    /// # Errors
    /// The directory cannot be read. A file that cannot be read or changed is left as it is.
    pub fn trim_abandoned(&self) -> io::Result<Trimmed> {
        let mut trimmed = Trimmed::default();
        self.each_recording(|entry, _| {
            if !entry.closed {
                if let Ok(Some(bytes)) = self.trim(&entry) {
                    trimmed.files += 1;
                    trimmed.bytes += bytes;
                }
            }
        })?;
        Ok(trimmed)
    }

    /// Bytes cut off, if any were.
    fn trim(&self, entry: &Entry) -> io::Result<Option<u64>> {
        let Some((file, stat)) = self.open_regular(&entry.name, true)? else { return Ok(None) };
        if inode_of(&stat) != entry.inode || !hold(&file)? {
            return Ok(None);
        }
        let len = file.metadata()?.len();
        // Closed between the listing and the lock: then it has no unused end.
        if self.anatomy.standing(&file, len)? != Standing::Unclosed {
            return Ok(None);
        }
        let data_end = end_of_data(&file, len)?;
        let end = self.anatomy.record_end(&file, data_end, len)?.max(data_end);
        if end >= len {
            return Ok(None);
        }
        file.set_len(end)?;
        let times = std::fs::FileTimes::new().set_modified(modified_time(&stat));
        file.set_times(times)?;
        file.sync_all()?;
        Ok(Some(len - end))
    }

    /// Calls `visit` for each recording of ours, in the directory's order.
    fn each_recording(&self, mut visit: impl FnMut(Entry, &File)) -> io::Result<()> {
        for item in Dir::read_from(&self.handle)? {
            let item = item?;
            let name = item.file_name();
            if !is_recording_name(OsStr::from_bytes(name.to_bytes())) {
                continue;
            }
            if let Ok(Some((entry, file))) = self.look_at(name) {
                visit(entry, &file);
            }
        }
        Ok(())
    }

    fn look_at(&self, name: &CStr) -> io::Result<Option<(Entry, File)>> {
        let Some((file, stat)) = self.open_regular(name, false)? else { return Ok(None) };
        let closed = match self.anatomy.standing(&file, stat.st_size as u64)? {
            Standing::Foreign => return Ok(None),
            Standing::Closed => true,
            Standing::Unclosed => false,
        };
        let entry = Entry {
            name: name.into(),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            bytes: (stat.st_blocks as u64).saturating_mul(512),
            closed,
            inode: inode_of(&stat),
        };
        Ok(Some((entry, file)))
    }

    /// Opens a regular file, and nothing else: `lstat` first, since the mere opening of a device can do something.
    fn open_regular(&self, name: &CStr, writable: bool) -> io::Result<Option<(File, Stat)>> {
        let before = statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let access = if writable { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.handle, name, flags, Mode::empty())?;
        let stat = fstat(&file)?;
        let same = inode_of(&stat) == inode_of(&before);
        Ok(same.then(|| (File::from(file), stat)))
    }
}

/// The oldest few of many, in bounded memory.
#[derive(Default)]
struct Oldest {
    heap: BinaryHeap<Entry>,
    overflowed: bool,
}

impl Oldest {
    fn add(&mut self, entry: Entry) {
        self.heap.push(entry);
        if self.heap.len() > LISTED_MAX {
            self.heap.pop();
            self.overflowed = true;
        }
    }

    fn into_sorted(self) -> Vec<Entry> {
        self.heap.into_sorted_vec()
    }
}

/// Makes what an entry of `path` says durable: new files, removed files.
///
/// # Errors
/// The system's. File systems that cannot sync a directory (some network ones) count as done.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    match File::open(or_here(path))?.sync_all() {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        other => other,
    }
}

fn make_durably(path: &Path) -> io::Result<()> {
    let path = or_here(path);
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o750)) {
        Ok(()) => sync_directory(path.parent().unwrap_or(Path::new("/"))),
        Err(Errno::EXIST) if path.is_dir() => Ok(()),
        Err(Errno::EXIST) => Err(Errno::NOTDIR.into()),
        Err(Errno::NOENT) => match path.parent() {
            Some(parent) if parent != path && !parent.as_os_str().is_empty() => {
                make_durably(parent)?;
                // Somebody else may make it at the same time: then it exists, which is what was wanted.
                match rustix::fs::mkdir(path, Mode::from_raw_mode(0o750)) {
                    Ok(()) => sync_directory(parent),
                    Err(Errno::EXIST) => Ok(()),
                    Err(error) => Err(error.into()),
                }
            }
            _ => Err(Errno::NOENT.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn or_here(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

fn inode_of(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

fn modified_time(stat: &Stat) -> std::time::SystemTime {
    use std::time::{Duration, UNIX_EPOCH};
    let (s, ns) = (stat.st_mtime as i64, Duration::from_nanos(stat.st_mtime_nsec as u64));
    let whole = Duration::from_secs(s.unsigned_abs());
    if s < 0 { UNIX_EPOCH - whole + ns } else { UNIX_EPOCH + whole + ns }
}

/// Where the last byte that is not zero ends. Goes backwards, over what was never written without reading it.
fn end_of_data(file: &File, len: u64) -> io::Result<u64> {
    use std::os::unix::fs::FileExt;
    const CHUNK_BYTES: u64 = 256 << 10;
    let mut chunk = vec![0; CHUNK_BYTES as usize];
    let mut high = len;
    while high > 0 {
        let low = (high - 1) / CHUNK_BYTES * CHUNK_BYTES;
        if next_data(file, low, len) < high {
            let bytes = &mut chunk[..(high - low) as usize];
            file.read_exact_at(bytes, low)?;
            if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
                return Ok(low + last as u64 + 1);
            }
        }
        high = low;
    }
    Ok(0)
}

/// The first place at or after `at` that may hold data; `len` when there is none.
fn next_data(file: &File, at: u64, len: u64) -> u64 {
    if at >= len {
        return len;
    }
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(next) => next.min(len),
        Err(Errno::NXIO) => len,
        // A file system that cannot tell: read everything.
        Err(_) => at,
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
pub(super) mod tests;
