//! The same frames with other results: what a new version of an algorithm makes of an old recording.

use std::path::PathBuf;

use super::{Format, Recorder};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::frame::Frame;
use crate::ledger::Loss;
use crate::playback::Playback;
use crate::results::{ResultKind, ResultState, Results};
use crate::sink::{Added, Summary};
use crate::source::SourceInfo;

/// A recording made from another one: pictures, times, sequence numbers and sensor bytes are those of the original, results
/// are new. Made by [`Recorder::derive`].
pub struct Derived {
    recorder: Recorder,
    /// Events of the original that are still to come, newest first.
    events: Vec<Event>,
}

/// Largest side plane of new results that is prepared for, in bytes: 64 masks of 256 × 256.
const NEW_SIDE_BYTES_MAX: usize = 4 << 20;

impl Recorder {
    /// A recording of the frames of `original` with other results, into the file `path`: session, labels, clock and events are
    /// the original's; nothing is encoded again.
    ///
    /// ```no_run
    /// # use kinora::prelude::*;
    /// # use kinora::Results;
    /// # fn better(frame: &Frame<'_>) -> Results { frame.results.clone() }
    /// # fn main() -> kinora::Result<()> {
    /// let mut original = Playback::open("a.kinora")?;
    /// let mut derived = Recorder::derive(&original, "b.kinora")?;
    /// let mut stream = original.start()?;
    /// while let Some(frame) = stream.next()? {
    ///     derived.add(&frame, &better(&frame))?;
    /// }
    /// println!("{}", derived.finish()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The file exists or cannot be made.
    pub fn derive(original: &Playback, path: impl Into<PathBuf>) -> Result<Derived> {
        Self::derive_as(original.info().clone(), original.events(), path)
    }

    /// As [`derive`](Self::derive), with what the new recording says about its network.
    pub(super) fn derive_as(mut source: SourceInfo, events: &[Event], path: impl Into<PathBuf>) -> Result<Derived> {
        source.side_bytes_max = source.side_bytes_max.max(NEW_SIDE_BYTES_MAX);
        let recorder = Self::builder().file(path).format(Format::AsItComes).source(&source).create()?;
        let mut events = events.to_vec();
        events.sort_by_key(|event| std::cmp::Reverse(event.at));
        Ok(Derived { recorder, events })
    }
}

impl Derived {
    /// Takes a frame of the original with new results. The side plane of the original stays with it where the new results
    /// refer to it (masks, heat maps); [`add_with_side`](Self::add_with_side) brings another.
    ///
    /// # Errors
    /// As [`Recorder::add`], and when the results do not fit together or a mask lies outside the side plane.
    pub fn add(&mut self, frame: &Frame<'_>, results: &Results) -> Result<Added> {
        let side = if uses_side(results) { frame.side } else { &[] };
        self.add_with_side(frame, results, side)
    }

    /// As [`add`](Self::add), with a side plane of its own.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_with_side(&mut self, frame: &Frame<'_>, results: &Results, side: &[u8]) -> Result<Added> {
        if !results.is_consistent(side.len()) {
            let sequence = frame.meta.sequence;
            let text =
                format!("the new results of frame #{sequence} do not fit together, or a mask is not in the side plane");
            return Err(Error::Setting(text));
        }
        while self.events.last().is_some_and(|event| event.at <= frame.meta.captured_at) {
            self.next_event()?;
        }
        self.recorder.add(&Frame { results, side, ..*frame })
    }

    /// Keeps a loss of the original.
    ///
    /// # Errors
    /// As [`Recorder::loss`].
    pub fn loss(&mut self, loss: &Loss) -> Result<()> {
        self.recorder.loss(loss)
    }

    /// Keeps an event of the original, or adds one.
    ///
    /// # Errors
    /// As [`Recorder::event`].
    pub fn event(&mut self, event: &Event) -> Result<()> {
        self.recorder.event(event)
    }

    /// Closes the file.
    ///
    /// # Errors
    /// As [`Recorder::finish`].
    pub fn finish(&mut self) -> Result<Summary> {
        while !self.events.is_empty() {
            self.next_event()?;
        }
        self.recorder.finish()
    }

    fn next_event(&mut self) -> Result<()> {
        self.events.pop().map_or(Ok(()), |event| self.recorder.event(&event))
    }
}

fn uses_side(results: &Results) -> bool {
    matches!(
        results.state(),
        ResultState::Some(ResultKind::Segments | ResultKind::InstanceSegments | ResultKind::Anomaly)
    )
}
