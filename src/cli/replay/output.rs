//! Where output frames go: nowhere, a JPEG stream, or a recording.

use kinora::source::SourceInfo;
use kinora::{ClockPair, Frame, FrameSink, Recorder};

use super::ReplayOutput;
use crate::cli::end::Failure;
use crate::cli::import::recorder_failure;
use crate::cli::jpeg_stream::JpegStream;
use crate::cli::output::Manner;
use crate::cli::stop::Stop;

/// The place of output frames.
pub enum Out {
    Nowhere,
    Stream(Box<JpegStream>),
    Recording(Box<Recorder>),
}

impl Out {
    /// Opens the place; `None` when told to stop while a FIFO waited for its reader.
    pub fn open(output: Option<&ReplayOutput>, stop: &Stop) -> Result<Option<Self>, Failure> {
        Ok(match output {
            None => Some(Self::Nowhere),
            Some(ReplayOutput::Stream(place)) => JpegStream::open(place, stop)?.map(|s| Self::Stream(Box::new(s))),
            Some(ReplayOutput::Recording(path)) => {
                let recorder = Recorder::builder().file(path).create().map_err(|e| recorder_failure(e, path))?;
                Some(Self::Recording(Box::new(recorder)))
            }
        })
    }

    /// Tells a recording what it is of.
    pub fn begin(&mut self, source: &SourceInfo, now: ClockPair) -> Result<(), Failure> {
        match self {
            Self::Recording(recorder) => Ok(FrameSink::begin(&mut **recorder, source, now)?),
            _ => Ok(()),
        }
    }

    /// Marks this moment; false when nothing is recorded here.
    pub fn bookmark(&mut self, text: &str) -> Result<bool, Failure> {
        let Self::Recording(recorder) = self else { return Ok(false) };
        recorder.bookmark(text)?;
        Ok(true)
    }

    /// Writes one output frame.
    pub fn write(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        match self {
            Self::Nowhere => Ok(()),
            Self::Stream(stream) => stream.write(frame),
            Self::Recording(recorder) => {
                recorder.add(frame)?;
                Ok(())
            }
        }
    }

    /// Closes the place.
    pub fn finish(&mut self, manner: Manner) -> Result<(), Failure> {
        if let Self::Recording(recorder) = self {
            manner.remark(recorder.finish()?);
        }
        Ok(())
    }
}
