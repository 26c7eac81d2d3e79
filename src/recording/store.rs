//! The pages under a recording that is being written: an abstraction, so that tests can put a disk that lies in its place.

use std::fmt;
use std::io;
use std::path::Path;

use super::format::Geometry;
use super::room::NoRoom;

/// Why the pages cannot take more, or can no longer be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreError {
    /// No space on the disk.
    NoSpace,
    /// The user's quota is used up.
    Quota,
    /// The rules of the directory (floor of free space, total size) forbid it.
    NoRoom(NoRoom),
    /// The file cannot grow beyond that size (vfat: 4 GiB; a limit of the process). Go on in a new file.
    FileLimit {
        /// Largest size.
        bytes: u64,
    },
    /// A sync failed: the kernel may have dropped pages.
    Sync {
        /// The system's error number.
        errno: i32,
    },
    /// The file was cut short or the device failed under the map.
    MapLost,
    /// The file has no name any more: somebody deleted it, or put another in its place. Nothing of it will be found.
    Deleted,
    /// The operating system refused something else.
    Io {
        /// What was tried.
        doing: &'static str,
        /// The system's error number.
        errno: i32,
    },
}

impl StoreError {
    /// True when the file is intact and only cannot grow: closing it works, going on elsewhere too.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::NoSpace | Self::Quota | Self::NoRoom(_) | Self::FileLimit { .. })
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoSpace => write!(f, "no space left on the disk"),
            Self::Quota => write!(f, "the disk quota is used up"),
            Self::NoRoom(no_room) => write!(f, "{no_room}"),
            Self::FileLimit { bytes } => write!(f, "a file cannot be larger than {bytes} bytes here"),
            Self::Sync { errno } => write!(f, "sync to the disk failed: {}", io::Error::from_raw_os_error(errno)),
            Self::MapLost => write!(f, "the file was cut short, or its device failed, while it was written"),
            Self::Deleted => write!(f, "the file was deleted or replaced while it was written"),
            Self::Io { doing, errno } => write!(f, "cannot {doing}: {}", io::Error::from_raw_os_error(errno)),
        }
    }
}

impl std::error::Error for StoreError {}

/// What stores count; all from the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Pages that appends touched before they were prefaulted.
    pub faults: u64,
    /// Times that an append had to wait for the file to grow.
    pub growth_waits: u64,
    /// Completed syncs.
    pub syncs: u64,
}

/// Pages that a [`Writer`](super::Writer) fills. Everything lies in growth steps; no area crosses the end of one.
///
/// A store begins with its first step allocated, and the front in it, durable.
pub trait PageStore {
    /// Makes sure that the file is allocated up to `end`, which lies in the current step or the next.
    ///
    /// # Errors
    /// It cannot grow, or failed earlier.
    fn reach(&mut self, end: u64) -> Result<(), StoreError>;

    /// Bytes `offset..offset + len` of the file, to fill. They lie in one step, were reached, and steps are only ever
    /// entered in order.
    fn area(&mut self, offset: u64, len: usize) -> &mut [u8];

    /// Tells followers that everything before `committed` is whole records, with so many frames, so many of them durable.
    fn publish(&mut self, committed: u64, frames: u64, durable: u64);

    /// Begins to sync everything before `end` (a page boundary), or does it at once.
    fn sync_start(&mut self, end: u64);

    /// Syncs everything before `end` and returns when it is done.
    ///
    /// # Errors
    /// [`StoreError::Sync`].
    fn sync_wait(&mut self, end: u64) -> Result<(), StoreError>;

    /// Where the newest completed sync ends.
    ///
    /// # Errors
    /// The first failure of any kind but "full"; it stays.
    fn synced(&mut self) -> Result<u64, StoreError>;

    /// Cuts the file off at `end`, syncs it, and tells followers that it is closed.
    ///
    /// # Errors
    /// The file may then end in unused pages and be not durable from the last completed sync on.
    fn close(&mut self, end: u64) -> Result<(), StoreError>;

    /// What was counted so far.
    fn counts(&self) -> StoreCounts;
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        impl<S: PageStore + ?Sized> PageStore for $pointer {
            fn reach(&mut self, end: u64) -> Result<(), StoreError> {
                (**self).reach(end)
            }

            fn area(&mut self, offset: u64, len: usize) -> &mut [u8] {
                (**self).area(offset, len)
            }

            fn publish(&mut self, committed: u64, frames: u64, durable: u64) {
                (**self).publish(committed, frames, durable);
            }

            fn sync_start(&mut self, end: u64) {
                (**self).sync_start(end);
            }

            fn sync_wait(&mut self, end: u64) -> Result<(), StoreError> {
                (**self).sync_wait(end)
            }

            fn synced(&mut self) -> Result<u64, StoreError> {
                (**self).synced()
            }

            fn close(&mut self, end: u64) -> Result<(), StoreError> {
                (**self).close(end)
            }

            fn counts(&self) -> StoreCounts {
                (**self).counts()
            }
        }
    )+};
}
// Lent: whoever lends a store can look at it when the recording is closed. Boxed: `Pages` chooses its kind.
forward!(&mut S, Box<S>);

/// Makes the pages of a recorder's files in place of the file system, so that a test can have the real recorder write to a disk
/// that is slow, full, or fails.
pub trait Pages: Send + Sync {
    /// Pages for the file at `path`, their front written and durable.
    ///
    /// # Errors
    /// The file cannot be made.
    fn create(&self, path: &Path, geometry: &Geometry) -> Result<Box<dyn PageStore + Send>, StoreError>;
}
