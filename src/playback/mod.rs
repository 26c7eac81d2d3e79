//! Paced output of a recording: what is due when, a player with all its commands, and how exact it was.
//!
//! ```text
//!  recorded times ─► pacing ─► transport ─► player ─► frames, each not before its deadline
//!                    (arithmetic) (state)      │
//!                                              └─► report (error, own work, caller)
//! ```

pub mod pacing;
mod player;
mod report;
mod transport;

pub use pacing::{NotARate, PacingSettings, Rate};
pub use player::{Action, Player};
pub use report::{PlayReport, Quantiles};
pub use transport::{Command, Counts, LatePolicy, Peek, Shown, Transport, TransportSettings, frame_time_of};
