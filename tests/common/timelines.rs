//! A timeline of headless frames at given times, for tests of playback.

use kinora::slot::{Slot, SlotSizes};
use kinora::timeline::Timeline;
use kinora::{Error, Frame, Result, Timestamp};

/// Headless frames at the given times; sequence numbers are the frame numbers. One slot lends them all.
pub struct Times {
    at: Vec<Timestamp>,
    slot: Box<Slot>,
    /// Frames that cannot be read.
    pub damaged: Vec<u64>,
}

impl Times {
    /// Frames at these nanoseconds.
    pub fn ns(at: impl IntoIterator<Item = i64>) -> Self {
        let at = at.into_iter().map(Timestamp::from_ns).collect();
        Self { at, slot: Slot::new(&SlotSizes::default()), damaged: Vec::new() }
    }

    /// Frames at these milliseconds.
    pub fn ms(at: impl IntoIterator<Item = i64>) -> Self {
        Self::ns(at.into_iter().map(|ms| ms * 1_000_000))
    }

    /// `count` frames, one every `frame_ns` nanoseconds, from 5 s on.
    pub fn every(frame_ns: i64, count: i64) -> Self {
        Self::ns((0..count).map(move |k| 5_000_000_000 + k * frame_ns))
    }
}

impl Timeline for Times {
    fn len(&self) -> u64 {
        self.at.len() as u64
    }

    fn captured_at(&self, index: u64) -> Option<Timestamp> {
        self.at.get(usize::try_from(index).ok()?).copied()
    }

    fn seek_time(&self, at: Timestamp) -> u64 {
        self.at.iter().position(|&time| time >= at).unwrap_or(self.at.len()) as u64
    }

    fn frame(&mut self, index: u64) -> Result<Frame<'_>> {
        let at = self.captured_at(index).filter(|_| !self.damaged.contains(&index));
        let at = at.ok_or_else(|| Error::Setting(format!("frame {index} is damaged or not there")))?;
        self.slot.reset();
        self.slot.meta.sequence = index;
        self.slot.meta.captured_at = at;
        Ok(self.slot.frame(None))
    }
}
