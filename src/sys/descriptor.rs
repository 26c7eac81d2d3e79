//! A file descriptor that somebody else opened for us and named by its number.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A duplicate of descriptor `number`, to be owned; the original stays open.
///
/// # Errors
/// `EBADF` when no such descriptor is open, or when it is above what a descriptor can be.
pub fn duplicate(number: u32) -> io::Result<OwnedFd> {
    let number = i32::try_from(number).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the number is not -1 (it was unsigned), and the borrow ends with this statement, in which the kernel only
    // duplicates the descriptor: if it is not open, the kernel says so.
    unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_is_not_open_is_refused() {
        assert_eq!(duplicate(999_999).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(duplicate(u32::MAX).unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert!(duplicate(2).is_ok());
    }
}
