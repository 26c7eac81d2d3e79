//! The assembly: the only place that starts threads. A [`Capture`] becomes a [`Stream`] (frames in the caller's loop) or a
//! `Session` (recorder in threads of its own, the loop only a tap).

mod capture;
mod capture_thread;
mod newest;
mod pump;
mod rates;
mod settings;
mod shared;
mod stream;
mod threads;
mod zone;

pub use capture::{Capture, open_source, open_source_with};
pub use settings::{PictureFormat, Settings};
pub use stream::{Policy, Stream, StreamStats};
