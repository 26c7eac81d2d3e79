//! Paced output of a recording: what is due when, a player with all its commands, and how exact it was.
//!
//! ```text
//!  recorded times ─► pacing ─► transport ─► player ─► frames, each not before its deadline
//!                    (arithmetic) (state)      │
//!                                              └─► report (error, own work, caller)
//! ```

#[cfg(feature = "jpeg")]
mod decode;
mod file;
#[cfg(feature = "modlib")]
mod modlib_file;
mod open;
pub mod pacing;
mod place;
mod player;
mod report;
mod source;
mod transport;

#[cfg(feature = "jpeg")]
pub use decode::Decoded;
#[cfg(feature = "modlib")]
pub use modlib_file::ModlibTimeline;
pub use open::{BoxedTimeline, Playback, PlaybackStream};
pub use pacing::{NotARate, PacingSettings, Rate};
pub use place::{Lookup, Place};
pub use player::{Action, Player};
pub use report::{PlayReport, Quantiles};
pub use source::PlaybackSource;
pub use transport::{Command, Counts, LatePolicy, Peek, Shown, Transport, TransportSettings, frame_time_of};
