//! Who may write or remove a recording: the advisory lock that says "somebody writes this file".
//!
//! The rule: whoever creates a recording takes [`hold`] on the new file *before* writing its first byte, and keeps that
//! file handle open until the recording is finished. The kernel lets go when the process ends, however it ends. So a
//! file that begins with our magic is either held (a writer lives) or nobody writes it any more, whatever it looks like
//! inside; trimming and retention touch only the latter, and a second writer on the same file is refused.

use std::os::fd::AsFd;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Takes the writer's lock on an open file, without waiting. It lasts as long as this handle (or a duplicate) is open.
///
/// `Ok(false)`: another handle holds it. File systems without locks say so in an error.
///
/// # Errors
/// The file system has no such locks, or the handle does not allow it (NFS wants a handle opened for writing).
pub fn hold(file: impl AsFd) -> std::io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_handle_is_refused_until_the_first_is_closed() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let first = path.reopen().unwrap();
        assert!(hold(&first).unwrap());
        assert!(!hold(path.as_file()).unwrap());
        drop(first);
        assert!(hold(path.as_file()).unwrap());
    }
}
