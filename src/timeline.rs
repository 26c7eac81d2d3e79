//! Frames in order, by number and by time: what a player plays, be it a file or the window in RAM.

use crate::error::Result;
use crate::frame::Frame;
use crate::time::Timestamp;

/// A sequence of frames that can be read in any order.
pub trait Timeline {
    /// Number of frames now.
    fn len(&self) -> u64;

    /// True when there is no frame.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Capture time of frame `index` (from 0) as recorded; `None` at and after the end.
    fn captured_at(&self, index: u64) -> Option<Timestamp>;

    /// The first frame whose running maximum of capture times is at or after `at`; `len()` when there is none.
    fn seek_time(&self, at: Timestamp) -> u64;

    /// Lends frame `index` until the next call. The picture is as stored: JPEG stays JPEG.
    ///
    /// # Errors
    /// The frame is damaged (the others can still be read), or `index` is at or after the end.
    fn frame(&mut self, index: u64) -> Result<Frame<'_>>;

    /// From now on whoever asks needs no picture and no sensor bytes: a timeline that can leave them unread does. By default
    /// nothing changes.
    fn results_only(&mut self, _only: bool) {}
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        impl<T: Timeline + ?Sized> Timeline for $pointer {
            fn len(&self) -> u64 {
                (**self).len()
            }

            fn captured_at(&self, index: u64) -> Option<Timestamp> {
                (**self).captured_at(index)
            }

            fn seek_time(&self, at: Timestamp) -> u64 {
                (**self).seek_time(at)
            }

            fn frame(&mut self, index: u64) -> Result<Frame<'_>> {
                (**self).frame(index)
            }

            fn results_only(&mut self, only: bool) {
                (**self).results_only(only);
            }
        }
    )+};
}
forward!(&mut T, Box<T>);
