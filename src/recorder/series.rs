//! The files of one recording: the first, the next one when a part is full, and what they held once they are closed.

use std::path::PathBuf;
use std::sync::Arc;

use super::builder::{Codec, exists};
use super::output::{Kept, Output};
use crate::error::{Error, Result};
use crate::recording::names::{Names, TAKES_MAX};
use crate::recording::retention::{Keeper, Limits, Removed};
use crate::recording::store::Pages;
use crate::recording::{Directory, SessionHeader, WriterSettings, random_id};
use crate::time::ClockPair;

/// Where the files go and what may be removed for them.
pub struct Plan {
    /// Names that may be used.
    pub names: Names,
    /// True when the first file has exactly one name; else takes are tried.
    pub exact: bool,
    /// Form of the files.
    pub codec: Codec,
    /// Total size and floor.
    pub limits: Limits,
    /// The directory of the names.
    pub directory: Arc<Directory>,
    /// What makes the files' pages instead of the file system.
    pub pages: Option<Arc<dyn Pages>>,
}

impl Plan {
    /// True when a second file can be made while the first is open without emptying the directory for it.
    pub fn leaves_room_for_two(&self, settings: &WriterSettings) -> bool {
        let step = settings.growth_bytes.max(4 * settings.record_bytes_max as u64);
        self.limits.keep_size.is_none_or(|limit| limit / 8 >= step)
    }
}

/// One open file.
pub struct Part {
    /// Where it lies.
    pub path: PathBuf,
    /// What writes it.
    pub output: Output,
    /// Of what it holds, that whose append failed when it was in the file already: it counts where it goes next, in another
    /// file or in the ledger.
    pub in_doubt: Kept,
}

impl Part {
    fn new(path: PathBuf, output: Output) -> Box<Self> {
        Box::new(Self { path, output, in_doubt: Kept::default() })
    }

    /// What it holds, without what is in doubt.
    pub fn kept(&self) -> Kept {
        self.output.kept().without(&self.in_doubt)
    }
}

/// What closed files held.
#[derive(Default)]
pub struct Closed {
    /// The files, oldest first.
    pub paths: Vec<PathBuf>,
    /// Their sums.
    pub kept: Kept,
    /// The first that could not be closed cleanly, and why.
    pub failure: Option<String>,
}

/// Makes and closes the files of one recording. Lives in the recorder, or in its thread when files are split.
pub struct Series {
    plan: Plan,
    header: SessionHeader,
    settings: WriterSettings,
    removed: Arc<Removed>,
    /// Number in the name of the newest file.
    suffix: u32,
    /// Ids of further files follow from the first one's instead of chance.
    reproducible: bool,
    closed: Closed,
}

/// Numbers of parts that are tried when others have taken them.
const SUFFIXES_TRIED_MAX: u32 = 10_000;

impl Series {
    /// A series that begins with `header`; nothing is made yet.
    pub fn new(plan: Plan, header: SessionHeader, settings: WriterSettings, reproducible: bool) -> Self {
        let removed = Arc::new(Removed::default());
        Self { plan, header, settings, removed, suffix: 0, reproducible, closed: Closed::default() }
    }

    /// What was removed to make room.
    pub fn removed(&self) -> Arc<Removed> {
        Arc::clone(&self.removed)
    }

    /// Makes the first file: the plain name, or the next take of it.
    ///
    /// # Errors
    /// All names are taken, or the disk refuses.
    pub fn open_first(&mut self) -> Result<Box<Part>> {
        let takes = if self.plan.exact { 1 } else { TAKES_MAX };
        for take in 1..=takes {
            let path = self.plan.names.take(take);
            match self.open(path) {
                Err(error) if is_taken(&error) => {}
                other => {
                    self.plan.names = self.plan.names.of_take(take);
                    return other;
                }
            }
        }
        Err(exists(&self.plan.names.take(takes)))
    }

    /// Makes the file of the next part: same session, next number.
    ///
    /// # Errors
    /// As [`open_first`](Self::open_first).
    pub fn open_next(&mut self, clock: ClockPair) -> Result<Box<Part>> {
        let part = self.header.part.saturating_add(1);
        let id = if self.reproducible {
            derived_id(&[&self.header.series, &part.to_le_bytes()])
        } else {
            random_id().map_err(Error::io("cannot make an id for the next file"))?
        };
        self.header = self.header.next_part(clock, id);
        for _ in 0..SUFFIXES_TRIED_MAX {
            self.suffix += 1;
            match self.open(self.plan.names.part(self.suffix)) {
                Err(error) if is_taken(&error) => {}
                other => return other,
            }
        }
        Err(exists(&self.plan.names.part(self.suffix)))
    }

    fn open(&self, path: PathBuf) -> Result<Box<Part>> {
        let Plan { directory, limits, codec, pages, .. } = &self.plan;
        if let Some(pages) = pages {
            let output = Output::create_paged(&**pages, &path, &self.header, &self.settings)?;
            return Ok(Part::new(path, output));
        }
        let keeper = Keeper::new(Arc::clone(directory), *limits, Arc::clone(&self.removed));
        let output = Output::create(*codec, &path, &self.header, &self.settings, Box::new(keeper))?;
        Ok(Part::new(path, output))
    }

    /// Closes a file and adds up what it held.
    pub fn close(&mut self, part: Part) {
        let Part { path, output, in_doubt } = part;
        let (kept, failure) = output.finish(&path);
        self.closed.kept.add(&kept.without(&in_doubt));
        self.closed.paths.push(path);
        if self.closed.failure.is_none() {
            self.closed.failure = failure;
        }
    }

    /// Removes a file that was made ahead and never used.
    pub fn discard(part: Part) {
        let Part { path, output, .. } = part;
        // Removed while it is still held, so that nobody else takes it for an abandoned recording.
        let _ = std::fs::remove_file(&path);
        drop(output);
    }

    /// The account of all closed files.
    pub fn into_closed(self) -> Closed {
        self.closed
    }
}

fn is_taken(error: &Error) -> bool {
    error.io_kind() == Some(std::io::ErrorKind::AlreadyExists)
}

/// An id that follows from `words` alone: FNV-1a of 128 bits (Fowler, Noll, Vo; RFC 9923), the words told apart by their
/// lengths.
pub fn derived_id(words: &[&[u8]]) -> [u8; 16] {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash = OFFSET;
    for word in words {
        let len = (word.len() as u64).to_le_bytes();
        for &byte in len.iter().chain(*word) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    hash.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_follow_from_their_words_alone() {
        assert_eq!(derived_id(&[b"virtual:seed=7", b"0"]), derived_id(&[b"virtual:seed=7", b"0"]));
        assert_ne!(derived_id(&[b"virtual:seed=7", b"0"]), derived_id(&[b"virtual:seed=7", b"1"]));
        assert_ne!(derived_id(&[b"ab", b"c"]), derived_id(&[b"a", b"bc"]));
    }
}
