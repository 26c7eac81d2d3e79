//! Kinora records frames and the AI detections that belong to them, keeps the last seconds in memory, and plays both back
//! with exact timing.
//!
//! ```text
//!            ┌────────────── free slots, by the ring back ◄─────────────┐
//!            ▼                                                          │
//!  source ─► slot ─► ring ─► encoders (JPEG) ─► ring ─► sink ───────────┘
//!  (camera, file,                                        │ copies once into
//!   virtual)                                             ├─► recording (file, memory-mapped)
//!                                                        └─► taps (the caller's loop, viewers)
//!                     recording ─► player (paced) ─► caller · terminal · JSON · modlib
//! ```
//!
//! ```no_run
//! use kinora::prelude::*;
//!
//! fn main() -> kinora::Result<()> {
//!     let mut source = kinora::open_source("auto")?;
//!     let mut recorder = Recorder::create("recordings")?; // makes the directory; a dated name
//!     let mut stream = source.start()?; // dropping it stops the source
//!     while let Some(frame) = stream.next()? {
//!         // Lends a slot, no copy.
//!         recorder.add(&frame)?; // an outcome, never a panic, never exit()
//!         let seen = frame.detections().above(0.4) & frame.detections().label("person");
//!         for d in seen.iter() {
//!             println!("{:?} {:.2}", d.bbox, d.confidence);
//!         }
//!     }
//!     println!("{}", recorder.finish()?); // path, frames, detections, dropped
//!     Ok(())
//! }
//! ```
//!
//! A *slot* is the preallocated memory of one frame; slots travel the circle by ownership, bytes do not move. A *source*
//! fills slots. The *sink* copies each frame once into the *recording* (a file) and gives the slot back. *Playback* is
//! paced output of a recording; a *drop* is a frame that a full ring refused; a *gap* is a missing sequence number;
//! *late* is a frame handed out after its deadline. Everything lost stands in the *ledger*.
//!
//! The modules below are in the order in which data passes them; each uses only modules above it, within the layers
//! vocabulary ← mechanisms ← edges ← assembly. `tests/tidy.rs` holds this true.

#![cfg_attr(not(feature = "std"), no_std)]

// -- vocabulary: core and heapless only
pub mod event;
pub mod frame;
mod labels;
pub mod ledger;
pub mod limits;
pub mod results;
pub mod time;
pub mod view;

// -- mechanisms: bytes or values in, values out; no I/O, no clock
#[cfg(feature = "std")]
pub mod draw;
pub mod imx500;
#[cfg(feature = "jpeg")]
pub mod jpeg;
pub mod jpeg_header;
#[cfg(feature = "v4l2")]
pub mod media;
pub mod mjpeg;
#[cfg(feature = "v4l2")]
pub mod pairing;
pub mod replay;
#[cfg(feature = "std")]
pub mod ring;
#[cfg(feature = "std")]
pub mod slot;
pub mod snapshot;
pub mod trigger;
pub mod watchdog;

// -- edges: clocks, devices, files
#[cfg(feature = "std")]
mod clock;
#[cfg(feature = "modlib")]
pub mod modlib;
#[cfg(feature = "std")]
pub mod networks;
#[cfg(feature = "std")]
pub mod notify;
#[cfg(feature = "std")]
pub mod recording;
#[cfg(feature = "std")]
pub mod source;
#[cfg(feature = "std")]
mod sys;
#[cfg(feature = "std")]
pub mod wake;

// -- assembly
#[cfg(feature = "std")]
pub mod budget;
#[cfg(feature = "std")]
pub mod clips;
#[cfg(feature = "std")]
pub mod diff;
#[cfg(feature = "std")]
mod engine;
#[cfg(feature = "std")]
mod error;
#[cfg(feature = "std")]
pub mod playback;
#[cfg(feature = "std")]
pub mod recorder;
#[cfg(feature = "std")]
pub mod sink;
#[cfg(feature = "std")]
pub mod timeline;

#[cfg(feature = "std")]
pub use clips::{ClipEvent, ClipSettings};
#[cfg(feature = "std")]
pub use clock::SystemClock;
#[cfg(feature = "std")]
pub use engine::{
    Capture, LiveFrames, PictureFormat, Policy, ReplayStream, Session, SessionBuilder, SessionReport, SessionStatus,
    Settings, SourceChoice, SourceOptions, Stream, StreamStats, Tap, open_source, open_source_with,
};
#[cfg(feature = "std")]
pub use error::{Error, Result};
pub use frame::Frame;
pub use labels::{Labels, LabelsFull};
pub use ledger::{Cause, Ledger, Loss};
#[cfg(feature = "std")]
pub use playback::{Playback, Player};
#[cfg(feature = "std")]
pub use recorder::Recorder;
#[cfg(feature = "std")]
pub use replay::control::ReplayControl;
#[cfg(feature = "std")]
pub use replay::operator::{Output, ReplayOperator};
pub use replay::settings::ReplaySettings;
pub use results::{ResultKind, ResultState, Results};
#[cfg(feature = "std")]
pub use sink::{Added, FrameSink, Summary};
#[cfg(feature = "std")]
pub use sys::{descriptor, simd, thread};
pub use time::{Clock, ClockPair, ManualClock, Span, Speed, Timestamp, WallTime};

/// `s` seconds, for calls like `session.trigger("goal", secs(5), secs(5))`.
#[must_use]
pub const fn secs(s: i64) -> Span {
    Span::from_s(s)
}

/// What a program that records or plays needs to name.
pub mod prelude {
    #[cfg(feature = "std")]
    pub use crate::engine::{Capture, Policy, Session, Settings, Stream, Tap, open_source};
    pub use crate::frame::{Frame, Roi};
    pub use crate::ledger::Cause;
    #[cfg(feature = "std")]
    pub use crate::playback::{Command, Playback, Player, Rate};
    #[cfg(feature = "std")]
    pub use crate::recorder::Recorder;
    pub use crate::results::{ResultKind, ResultState};
    pub use crate::secs;
    #[cfg(feature = "std")]
    pub use crate::slot::Slot;
    #[cfg(feature = "std")]
    pub use crate::source::{Filled, Source, SourceInfo};
    pub use crate::time::{Clock, Span, Speed, Timestamp};
    pub use crate::view::Rows;
}
