//! Where frames end: the trait behind the session's last thread, implemented by the recorder, by tests and by users.

use std::fmt;
use std::path::PathBuf;

use crate::error::Result;
use crate::event::Event;
use crate::frame::Frame;
use crate::ledger::{Cause, Loss};
use crate::recording::store::StoreError;
use crate::source::SourceInfo;
use crate::time::ClockPair;

/// What became of a frame that was handed to a [`FrameSink`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is kept.
    Kept,
    /// This one is lost, the next may pass; the sink has it in its own account.
    Lost(Cause),
    /// The sink takes no more, this one included; all that it kept so far is good. Said again for every further frame.
    Ended(Ended),
}

/// Why a recording takes no more frames. Everything that it kept can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Frames kept until then.
    pub frames: u64,
    /// After an I/O error, how many frames of the last file are safely on the disk; `None` when all are.
    pub durable: Option<u64>,
    /// What happened.
    pub reason: StoreError,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, durable, reason } = self;
        write!(f, "the recording ended after {frames} frames: {reason}; ")?;
        match durable {
            None => write!(f, "all of them can be read"),
            Some(durable) => write!(f, "of its last file, {durable} are safely on the disk"),
        }
    }
}

impl std::error::Error for Ended {}

/// What a sink kept, for the last line of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The files that were written, oldest first, without those that had to go again to make room; empty for a sink without
    /// files.
    pub paths: Vec<PathBuf>,
    /// Frames kept.
    pub frames: u64,
    /// Rows of results in them (boxes, persons, classes, ...).
    pub detections: u64,
    /// Frames lost, all causes, those that never reached the sink included.
    pub dropped: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Older recordings that were removed to make room.
    pub removed: u64,
    /// Why it took no more frames before it was told to finish.
    pub ended: Option<Ended>,
    /// The first file that could not be closed cleanly, and why; it opens all the same and shows every frame before the
    /// damage.
    pub failure: Option<String>,
}

impl fmt::Display for Summary {
    /// `recordings/a.kinora: 300 frames, 412 detections, 0 dropped, 9.1 MB`, then whatever was out of the ordinary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { paths, frames, detections, dropped, bytes, removed, ended, failure } = self;
        if let Some(first) = paths.first() {
            write!(f, "{}", first.display())?;
            if paths.len() > 1 {
                write!(f, " and {} more", paths.len() - 1)?;
            }
            write!(f, ": ")?;
        }
        write!(f, "{frames} frames, {detections} detections, {dropped} dropped")?;
        match (paths.is_empty(), bytes) {
            (true, _) => {}
            (_, 0..10_000) => write!(f, ", {bytes} bytes")?,
            (_, 10_000..10_000_000) => write!(f, ", {:.1} kB", *bytes as f64 / 1e3)?,
            _ => write!(f, ", {:.1} MB", *bytes as f64 / 1e6)?,
        }
        if *removed > 0 {
            write!(f, "; {removed} older recordings were removed to make room")?;
        }
        if let Some(ended) = ended {
            write!(f, "; {ended}")?;
        }
        match failure {
            Some(failure) => write!(f, "; {failure}"),
            None => Ok(()),
        }
    }
}

/// Takes frames in order and copies out what it keeps.
///
/// Called from one thread: [`begin`](Self::begin) once, then [`add`](Self::add), [`loss`](Self::loss) and
/// [`event`](Self::event) in the order of what happened, then [`finish`](Self::finish) once, also after an error.
pub trait FrameSink: Send {
    /// The frames that follow come from this source; `now` is the engine's clock. Whatever `add` needs is made here.
    ///
    /// # Errors
    /// The sink cannot be used.
    fn begin(&mut self, source: &SourceInfo, now: ClockPair) -> Result<()>;

    /// Takes one frame. The losses in [`Frame::losses`] lie before it and are to be kept before it; each is handed over
    /// exactly once.
    ///
    /// # Errors
    /// The sink can take no more (disk full, I/O error); all that it kept so far stays good. It is not called again but for
    /// `after_end` and `finish`.
    fn add(&mut self, frame: &Frame<'_>) -> Result<Added>;

    /// Takes losses after which no frame came (the end of a session, a long stall).
    ///
    /// # Errors
    /// As [`add`](Self::add).
    fn loss(&mut self, loss: &Loss) -> Result<()>;

    /// Takes a bookmark or another event.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    fn event(&mut self, event: &Event) -> Result<()>;

    /// Nothing came for a moment: what is due by time alone (a sync) can begin. Called a few times a second then.
    fn idle(&mut self) {}

    /// A frame that came after this sink said that it takes no more: for whoever does something else with frames besides, as a
    /// clip saver does. By default nothing.
    fn after_end(&mut self, _frame: &Frame<'_>) {}

    /// Ends cleanly and tells what was kept.
    ///
    /// # Errors
    /// What was kept could not be closed cleanly.
    fn finish(&mut self) -> Result<Summary>;

    /// Bytes written so far, for a line of progress; asked after every frame.
    fn bytes_written(&self) -> u64 {
        0
    }
}

impl FrameSink for Box<dyn FrameSink> {
    fn begin(&mut self, source: &SourceInfo, now: ClockPair) -> Result<()> {
        (**self).begin(source, now)
    }

    fn add(&mut self, frame: &Frame<'_>) -> Result<Added> {
        (**self).add(frame)
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        (**self).loss(loss)
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        (**self).event(event)
    }

    fn idle(&mut self) {
        (**self).idle();
    }

    fn after_end(&mut self, frame: &Frame<'_>) {
        (**self).after_end(frame);
    }

    fn finish(&mut self) -> Result<Summary> {
        (**self).finish()
    }

    fn bytes_written(&self) -> u64 {
        (**self).bytes_written()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line_with_the_first_path_and_the_numbers() {
        let mut summary = Summary { frames: 3, detections: 5, dropped: 1, ..Summary::default() };
        assert_eq!(summary.to_string(), "3 frames, 5 detections, 1 dropped");
        summary.paths = vec!["a.kinora".into(), "a_0001.kinora".into()];
        assert_eq!(summary.to_string(), "a.kinora and 1 more: 3 frames, 5 detections, 1 dropped, 0 bytes");
    }
}
