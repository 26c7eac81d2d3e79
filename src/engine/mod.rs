//! The assembly: the only place that starts threads that frames pass through. A [`Capture`] becomes a [`Stream`] (frames in the caller's loop) or a
//! [`Session`] (recorder in threads of its own, the loop only a tap).

mod capture;
mod capture_thread;
mod choice;
#[cfg(feature = "jpeg")]
mod encoder_thread;
mod newest;
mod pump;
mod rates;
mod replay_stream;
mod session;
mod settings;
mod shared;
mod sink_stage;
mod sink_thread;
mod status;
mod stream;
mod tap;
mod threads;
mod zone;

pub use capture::{Capture, open_source, open_source_with};
pub use choice::{SourceChoice, SourceOptions};
pub use replay_stream::{LiveFrames, ReplayStream};
pub use session::{Session, SessionBuilder, SessionReport};
pub use settings::{PictureFormat, Settings};
pub use status::SessionStatus;
pub use stream::{Policy, Stream, StreamStats};
pub use tap::Tap;
