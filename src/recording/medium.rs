//! Where a recording is read from: a file, or bytes in memory (tests, fuzzer). Nothing here knows the format.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::{Advice, SeekFrom, fadvise, seek};

/// Bytes that can be read at any place.
pub trait Medium {
    /// Bytes in all.
    fn bytes(&self) -> u64;

    /// Fills as much of `out` as there is from `offset` on, and returns how much that is.
    ///
    /// # Errors
    /// The system's answer.
    fn fill(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;

    /// Says whether reads will jump about. Then nothing is read ahead: what is read ahead of a place that was never written
    /// counts as written afterwards.
    fn expect_jumps(&self, _jumps: bool) {}

    /// The first part at or after `offset` that was ever written, as far as that is known; empty, at `bytes()`, when there is none.
    fn next_data(&self, offset: u64) -> Range<u64> {
        offset..self.bytes()
    }
}

/// A file, read by `pread`: no signal can come from a file that is cut short meanwhile.
#[derive(Debug)]
pub struct FileMedium {
    file: File,
    bytes: u64,
}

impl FileMedium {
    /// The file as long as it is now.
    ///
    /// # Errors
    /// Its length cannot be asked for.
    pub fn new(file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// From now on the file is so long.
    pub fn set_bytes(&mut self, bytes: u64) {
        self.bytes = bytes;
    }
}

impl Medium for FileMedium {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn fill(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < out.len() {
            match self.file.read_at(&mut out[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn expect_jumps(&self, jumps: bool) {
        let advice = if jumps { Advice::Random } else { Advice::Normal };
        let _ = fadvise(&self.file, 0, None, advice);
    }

    fn next_data(&self, offset: u64) -> Range<u64> {
        let start = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(data) => data.clamp(offset, self.bytes.max(offset)),
            Err(rustix::io::Errno::NXIO) => self.bytes,
            Err(_) => offset,
        };
        let hole = seek(&self.file, SeekFrom::Hole(start)).unwrap_or(self.bytes);
        start..hole.clamp(start, self.bytes.max(start))
    }
}

impl Medium for &[u8] {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn fill(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let len = out.len().min(self.len() - start);
        out[..len].copy_from_slice(&self[start..start + len]);
        Ok(len)
    }
}
