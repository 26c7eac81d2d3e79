//! Where output frames go: nowhere, a JPEG stream, or a recording.

use kinora::sink::Ended;
use kinora::source::SourceInfo;
use kinora::{Added, ClockPair, Frame, FrameSink, Recorder};

use super::feed::recorder;
use super::{Replay, ReplayOutput};
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
    pub fn open(replay: &Replay, stop: &Stop) -> Result<Option<Self>, Failure> {
        let quality = replay.engine.quality;
        Ok(match &replay.output {
            None => Some(Self::Nowhere),
            Some(ReplayOutput::Stream(place)) => {
                JpegStream::open(place, quality, stop)?.map(|stream| Self::Stream(Box::new(stream)))
            }
            Some(ReplayOutput::Recording(path)) => {
                let recorder = recorder(replay).file(path).create().map_err(|e| recorder_failure(e, path))?;
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

    /// Writes one output frame; tells, with every further one, that a recording takes no more.
    pub fn write(&mut self, frame: &Frame<'_>) -> Result<Option<Ended>, Failure> {
        match self {
            Self::Nowhere => Ok(None),
            Self::Stream(stream) => stream.write(frame).map(|()| None),
            Self::Recording(recorder) => match recorder.add(frame)? {
                Added::Ended(ended) => Ok(Some(ended)),
                Added::Kept | Added::Lost(_) => Ok(None),
            },
        }
    }

    /// Closes the place, and gives the number of frames that a recording lacks.
    pub fn finish(&mut self, manner: Manner) -> Result<u64, Failure> {
        let Self::Recording(recorder) = self else { return Ok(0) };
        let summary = recorder.finish()?;
        manner.remark(&summary);
        Ok(summary.dropped)
    }
}
