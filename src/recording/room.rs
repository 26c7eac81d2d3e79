//! Asking for disk space before a recording grows: the seam between the page store, which allocates, and the rules of
//! the directory (floor of free space, total size), which may first remove older recordings or refuse.

use std::fmt;

/// Decides whether a recording may grow. The page store asks before every growth, the first included, on the thread that
/// allocates (its helper, not the one that appends): an answer may take as long as removing some files takes.
pub trait Room: Send {
    /// Asks for `wanted` more bytes on the disk; `least` would do for now. The answer is `least..=wanted`.
    ///
    /// # Errors
    /// [`NoRoom`]: there is none, also after removing what may be removed. The recording ends.
    fn grant(&mut self, wanted: u64, least: u64) -> Result<u64, NoRoom>;
}

/// Grants everything; the disk itself is then the only limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlimited;

impl Room for Unlimited {
    fn grant(&mut self, wanted: u64, _least: u64) -> Result<u64, NoRoom> {
        Ok(wanted)
    }
}

/// Why a recording may not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoRoom {
    /// Growing by `needed` bytes would leave less than the floor of free space.
    Floor {
        /// Bytes free for us now.
        free: u64,
        /// Bytes that have to stay free.
        floor: u64,
        /// Bytes asked for.
        needed: u64,
    },
    /// The recordings of the directory would exceed the size that was set for them, and nothing is left to remove.
    Total {
        /// Bytes that our recordings take now.
        used: u64,
        /// Bytes that they may take.
        limit: u64,
        /// Bytes asked for.
        needed: u64,
    },
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Floor { free, floor, needed } => write!(
                f,
                "the disk has {free} bytes free; {needed} more would leave less than the floor of {floor} bytes \
                 (free some space, or set --keep-size or a smaller --min-free)"
            ),
            Self::Total { used, limit, needed } => write!(
                f,
                "the recordings here take {used} bytes; {needed} more would exceed the {limit} bytes set for them, and \
                 none is left that may be removed (set a larger --keep-size or a smaller --split-size)"
            ),
        }
    }
}

impl std::error::Error for NoRoom {}
