//! The recording: its format, its writer and reader, and the directory that it lies in.

pub mod directory;
pub mod hold;
pub mod names;
pub mod retention;
pub mod room;
