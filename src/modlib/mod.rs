//! Exchange with Sony's modlib: its JSON lines in and out, its pickles in.
//!
//! [`Reader`] turns one line into a filled [`Slot`](crate::slot::Slot), [`Writer`] a [`Frame`](crate::Frame) into one line.
//! Both are mechanisms: bytes in, values out. Lines come from outside, so every
//! refusal is a [`Defect`] with its byte, and memory is bounded by the line's length and the slot.
//!
//! What modlib writes comes back equal: JPEG bytes and timestamps exactly, numbers to the float32 that the network gave,
//! masks unpacked. Only JPEG pictures are taken (modlib's decoder goes by content and would take a PNG too; modlib itself
//! never writes one): anything else is refused by name, because it could not be given back as it came.

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
