//! A file of modlib's JSON lines. A line that could not be written whole is taken back, so that modlib's reader, which dies
//! of a torn line, never sees one.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::io::Errno;

use super::output::{Kept, Refusal};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::ledger::Cause;
use crate::modlib;
use crate::recording::SyncPolicy;
use crate::recording::hold::hold;
use crate::recording::room::Room;
use crate::recording::store::StoreError;
use crate::sink::Ended;

/// Bytes that are asked for at a time.
const STEP_BYTES: u64 = 8 << 20;

/// Writes modlib's lines into a file of its own.
pub struct JsonFile {
    file: File,
    writer: modlib::Writer,
    line: Vec<u8>,
    room: Box<dyn Room>,
    granted: u64,
    sync_each: bool,
    kept: Kept,
}

impl JsonFile {
    /// Creates the file, mode 0640.
    ///
    /// # Errors
    /// It exists, or the disk refuses.
    pub fn create(path: &Path, sync: SyncPolicy, room: Box<dyn Room>) -> Result<Self> {
        let doing = || format!("cannot create {}", path.display());
        let file = File::options().write(true).create_new(true).mode(0o640).open(path).map_err(Error::io(doing()))?;
        // A file system without locks is no reason not to record.
        let _ = hold(&file);
        Ok(Self {
            file,
            writer: modlib::Writer::new(),
            line: Vec::new(),
            room,
            granted: 0,
            sync_each: sync == SyncPolicy::EveryFrame,
            kept: Kept::default(),
        })
    }

    /// Appends one line.
    pub fn append(&mut self, frame: &Frame<'_>) -> Result<(), Refusal> {
        self.line.clear();
        self.writer.write_line(frame, &mut self.line).map_err(|_| Refusal::Frame(Cause::EncodeFailed))?;
        let end = self.kept.bytes + self.line.len() as u64;
        if end > self.granted {
            let needed = end - self.granted;
            let granted = self.room.grant(STEP_BYTES.max(needed), needed);
            self.granted += granted.map_err(|no| self.ended(StoreError::NoRoom(no)))?;
        }
        self.write_line().map_err(|error| self.ended(reason_of(&error)))?;
        self.kept.frames += 1;
        self.kept.detections += frame.results.len() as u64;
        self.kept.bytes = end;
        Ok(())
    }

    fn write_line(&self) -> io::Result<()> {
        let written = self.file.write_all_at(&self.line, self.kept.bytes);
        let written = if self.sync_each { written.and_then(|()| self.file.sync_data()) } else { written };
        if written.is_err() {
            self.file.set_len(self.kept.bytes)?;
        }
        written
    }

    fn ended(&self, reason: StoreError) -> Refusal {
        Refusal::End(Ended { frames: self.kept.frames, durable: None, reason })
    }

    /// What it holds.
    pub fn kept(&self) -> Kept {
        self.kept
    }

    /// Puts everything on the medium.
    ///
    /// # Errors
    /// The system's.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn reason_of(error: &io::Error) -> StoreError {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => StoreError::NoSpace,
        Some(Errno::DQUOT) => StoreError::Quota,
        errno => StoreError::Io { doing: "write a line", errno: errno.map_or(0, Errno::raw_os_error) },
    }
}
