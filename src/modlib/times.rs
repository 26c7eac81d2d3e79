//! Sequence numbers and capture times of imported frames, which carry nothing but a naive local time.

use jiff::tz::TimeZone;

use super::defect::{Reason, clipped};
use super::stamp;
use crate::frame::FrameMeta;
use crate::time::{Timestamp, WallTime};

/// Gives frames their times, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Times {
    zone: TimeZone,
    first: Option<WallTime>,
    previous: Option<WallTime>,
    next_sequence: u64,
}

impl Times {
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, first: None, previous: None, next_sequence: 0 }
    }

    /// The number of the next frame, counting those that turn out broken.
    pub fn take_sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    /// The number that the next frame gets.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The next frame is the last one once more.
    pub fn give_back_sequence(&mut self) {
        self.next_sequence = self.next_sequence.saturating_sub(1);
    }

    /// Sets all times of `meta` from modlib's text: the wall clock by the zone, the monotonic time as the distance from
    /// the first frame's wall clock (it may go back), and the text itself only where it could not be made again.
    pub fn settle(&mut self, meta: &mut FrameMeta, text: &str) -> Result<(), Reason> {
        let bad = || Reason::Timestamp(clipped(text));
        let stamp = stamp::parse(text, &self.zone, self.previous).ok_or_else(bad)?;
        meta.timestamp_text.clear();
        if stamp::text(stamp) != text {
            meta.timestamp_text.push_str(text).map_err(|()| bad())?;
        }
        let first = *self.first.get_or_insert(stamp.wall);
        self.previous = Some(stamp.wall);
        meta.captured_wall = stamp.wall;
        meta.utc_offset_s = stamp.utc_offset_s;
        meta.captured_at = Timestamp::from_ns((stamp.wall - first).as_ns());
        Ok(())
    }
}
