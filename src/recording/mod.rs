//! The recording: its format, its writer and reader, and the directory that it lies in.
//!
//! [`format`](mod@format) is the specification. A [`Writer`] appends frames to one file over a [`PageStore`](store::PageStore);
//! a [`Reader`] opens any file, closed or not, and lends its frames; [`verify`](verify::verify) checks every byte;
//! a [`Tail`] follows a file while it is written.

mod anatomy;
mod body;
mod build;
pub(crate) mod columns;
mod copy;
mod crc;
pub mod directory;
pub mod exercise;
mod file_store;
pub mod format;
mod hints;
pub mod hold;
mod load;
pub mod local;
pub mod lying;
mod medium;
pub mod memory;
pub mod names;
mod open;
mod pager;
mod reader;
mod records;
pub mod retention;
pub mod room;
mod session;
mod settings;
pub mod store;
mod tail;
pub mod verify;
mod writer;

use std::io;

pub use anatomy::Kinora;
pub use body::{ClockNote, Totals};
pub use copy::{CopyError, CopyReport, Lost, cut, repair};
pub use directory::Directory;
pub use file_store::{CreateError, FileStore};
pub use format::{Geometry, RecordError, RecordKind};
pub use medium::{FileMedium, Medium};
pub use open::OpenError;
pub use reader::{Info, ReadError, Reader, Touched};
pub use records::{Entry, Record, Records};
pub use session::{SessionHeader, random_id};
pub use settings::{STEPS_MAPPED_MAX, SyncPolicy, WriterSettings, geometry, record_bytes};
pub use tail::{Followed, Tail};
pub use verify::{VerifyReport, verify};
pub use writer::{AppendError, Appended, FinishError, WriteSummary, Writer};

/// Makes an error of what would end the process: a signal for a page of a mapped recording, because somebody cut the file short
/// or its device failed. The writer then answers [`AppendError::Poisoned`] with [`store::StoreError::MapLost`].
///
/// Installs a handler of SIGBUS for the whole process, which passes everything that is not ours to the handler before it; the
/// `kinora` command does this first thing. A library user decides: without it, a writer whose file is cut short by another
/// program, or whose disk is torn out, ends the process. Readers do not need it, they read with `pread`.
///
/// # Errors
/// The system refuses.
pub fn guard_mapped_files() -> io::Result<()> {
    crate::sys::signal::guard_mapped_files()
}
