//! Where `record` sends its frames: a recorder that tells the name of its file, or modlib's lines on standard output.

use std::io::{self, BufWriter, Stdout, Write};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use kinora::event::Event;
use kinora::recorder::Recorder;
use kinora::source::SourceInfo;
use kinora::{Added, ClockPair, Error, Frame, FrameSink, Loss, Result, Summary, modlib};

/// The name of the first file, once it is made.
#[derive(Clone, Debug, Default)]
pub struct Path(Arc<OnceLock<PathBuf>>);

impl Path {
    /// The name, if there is a file.
    pub fn get(&self) -> Option<PathBuf> {
        self.0.get().cloned()
    }
}

/// A recorder that tells the name of its file when it has made it.
pub struct Named {
    recorder: Recorder,
    path: Path,
}

impl Named {
    /// Tells `path`.
    pub fn new(recorder: Recorder, path: &Path) -> Self {
        Self { recorder, path: path.clone() }
    }
}

impl FrameSink for Named {
    fn begin(&mut self, source: &SourceInfo, now: ClockPair) -> Result<()> {
        FrameSink::begin(&mut self.recorder, source, now)?;
        // Only the first file is told; it is set once.
        let _ = self.path.0.set(self.recorder.path());
        Ok(())
    }

    fn add(&mut self, frame: &Frame<'_>) -> Result<Added> {
        FrameSink::add(&mut self.recorder, frame)
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        FrameSink::loss(&mut self.recorder, loss)
    }

    fn event(&mut self, event: &Event) -> Result<()> {
        FrameSink::event(&mut self.recorder, event)
    }

    fn idle(&mut self) {
        FrameSink::idle(&mut self.recorder);
    }

    fn bytes_written(&self) -> u64 {
        FrameSink::bytes_written(&self.recorder)
    }

    fn finish(&mut self) -> Result<Summary> {
        FrameSink::finish(&mut self.recorder)
    }
}

/// modlib's lines on standard output, each as soon as it is there. Losses and events have no place in them; losses are counted.
pub struct Lines {
    out: BufWriter<Stdout>,
    writer: modlib::Writer,
    line: Vec<u8>,
    summary: Summary,
}

impl Lines {
    /// On standard output.
    pub fn on_stdout() -> Self {
        let out = BufWriter::with_capacity(1 << 20, io::stdout());
        Self { out, writer: modlib::Writer::new(), line: Vec::new(), summary: Summary::default() }
    }
}

impl FrameSink for Lines {
    fn begin(&mut self, _: &SourceInfo, _: ClockPair) -> Result<()> {
        Ok(())
    }

    fn add(&mut self, frame: &Frame<'_>) -> Result<Added> {
        self.line.clear();
        for loss in frame.losses {
            self.loss(loss)?;
        }
        self.writer.write_line(frame, &mut self.line).map_err(|error| Error::Setting(error.to_string()))?;
        let written = self.out.write_all(&self.line).and_then(|()| self.out.flush());
        written.map_err(Error::io("cannot write to standard output"))?;
        self.summary.frames += 1;
        self.summary.detections += frame.results.len() as u64;
        self.summary.bytes += self.line.len() as u64;
        Ok(Added::Kept)
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.summary.dropped += loss.count;
        Ok(())
    }

    fn event(&mut self, _: &Event) -> Result<()> {
        Ok(())
    }

    fn bytes_written(&self) -> u64 {
        self.summary.bytes
    }

    fn finish(&mut self) -> Result<Summary> {
        Ok(self.summary.clone())
    }
}
