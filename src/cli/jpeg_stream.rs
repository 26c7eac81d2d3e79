//! `play --output`: the pictures as JPEG files one after another, for `ffplay -f mjpeg` and the like.
//!
//! A new file, a FIFO, or a descriptor that the caller opened. A reader that goes away is a clean end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use kinora::Frame;

use super::command::StreamPlace;
use super::compress::Compress;
use super::end::Failure;
use super::open;
use super::stop::Stop;

/// Where the pictures go.
pub struct JpegStream {
    file: File,
    name: String,
    compress: Compress,
}

impl JpegStream {
    /// Opens the place; of a FIFO, waits for its reader. `None` when told to stop meanwhile. `quality`: of pictures that come
    /// as pixels.
    pub fn open(place: &StreamPlace, quality: u8, stop: &Stop) -> Result<Option<Self>, Failure> {
        let (file, name) = match place {
            StreamPlace::Descriptor(number) => {
                let name = format!("fd:{number}");
                let doing = format!("--output {name} (it must be open for writing, as with {number}>FILE)");
                (kinora::descriptor::duplicate(*number).map(File::from).map_err(Failure::io(doing))?, name)
            }
            StreamPlace::Path(path) => match open_path(path, stop)? {
                Some(file) => (file, path.display().to_string()),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { file, name, compress: Compress::new(quality)? }))
    }

    /// Writes the frame's picture; a frame without one is left out.
    pub fn write(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        let Some(jpeg) = self.compress.with_jpeg(*frame)?.jpeg else { return Ok(()) };
        written(self.file.write_all(jpeg.bytes), &self.name)
    }
}

fn written(result: io::Result<()>, name: &str) -> Result<(), Failure> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ReaderGone,
        _ => Failure::Failed(format!("{name}: {error}")),
    })
}

fn open_path(path: &Path, stop: &Stop) -> Result<Option<File>, Failure> {
    match std::fs::metadata(path) {
        Ok(found) if found.file_type().is_fifo() => open_fifo(path, stop),
        Ok(found) if found.file_type().is_char_device() => {
            OpenOptions::new().write(true).open(path).map(Some).map_err(Failure::io(path.display().to_string()))
        }
        _ => open::create(path).map(Some),
    }
}

/// Opening a FIFO for writing waits for a reader, and nothing but one wakes it: so it is tried without waiting, again
/// and again.
fn open_fifo(path: &Path, stop: &Stop) -> Result<Option<File>, Failure> {
    let doing = || Failure::io(path.display().to_string());
    let waiting = rustix::fs::OFlags::NONBLOCK;
    while !stop.is_asked() {
        match OpenOptions::new().write(true).custom_flags(waiting.bits() as i32).open(path) {
            Ok(file) => {
                let flags = rustix::fs::fcntl_getfl(&file).map_err(|error| doing()(error.into()))?;
                rustix::fs::fcntl_setfl(&file, flags - waiting).map_err(|error| doing()(error.into()))?;
                return Ok(Some(file));
            }
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(doing()(error)),
        }
    }
    Ok(None)
}
