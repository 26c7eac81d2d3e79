//! The recording: its format, its writer and reader, and the directory that it lies in.

pub mod hold;
pub mod room;
