//! Exchange with Sony's modlib: its JSON lines in and out, its pickles in.
//!
//! | | takes | gives |
//! |---|---|---|
//! | [`Reader`] | one line | a filled [`Slot`](crate::slot::Slot) |
//! | [`PickleReader`] | one pickle, which is not executed | a filled slot |
//! | [`Import`] | a whole file or pipe of either form | frames, and [`Broken`] lines with their place |
//! | [`Writer`] | a [`Frame`](crate::Frame) | one line |
//!
//! What modlib writes comes back equal: JPEG bytes and timestamps exactly, numbers to the float32 that the network gave,
//! masks unpacked (their gzip headers hold the time of writing). What modlib cannot tell apart (no network, nothing found:
//! both `null`) is read as [`ResultState::Unknown`](crate::ResultState::Unknown); its pickles do tell.
//!
//! **Refused, by name and with the byte.** Pictures other than JPEG: modlib's decoder would take a PNG, but it could not be
//! given back as it came, and modlib never writes one. Results, picture types and colour orders that modlib does not have.
//! Numbers that 64-bit integers, class numbers of 32 bits or float32 cannot hold. Masks whose unpacked size is not that of
//! their shape or box. In pickles every name but those of modlib's frame, its results and numpy's arrays.
//!
//! **Bounds.** A line or pickle has at most [`LINE_BYTES_MAX`] bytes (or what the caller says) and is the only thing held
//! in memory; a packed mask is unpacked no further than its shape says, and that is bounded by the slot; nesting ends at 200.
//! Rows above [`limits`](crate::limits) are counted in [`Results::truncated`](crate::Results::truncated). Nothing panics.

mod defect;
mod feed;
mod float;
mod import;
mod json_read;
mod json_results;
mod json_write;
mod masks;
mod pickle;
mod stamp;
mod times;
mod tokens;

pub use defect::{Defect, Reason};
pub use import::{Broken, Format, Import, Imported, LINE_BYTES_MAX};
pub use json_read::Reader;
pub use json_write::{WriteError, Writer};
pub use pickle::PickleReader;
