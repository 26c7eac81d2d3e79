//! Places in a recording as people name them, and the frames that they mean.

use std::fmt;

use crate::error::{Error, Result};
use crate::event::{Event, EventKind};
use crate::time::{ClockPair, Span, Timestamp, WallTime};
use crate::timeline::Timeline;

/// A place in a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// That frame, counted from 0.
    Frame(u64),
    /// So long after the first frame.
    Offset(Span),
    /// That recorded instant of the monotonic clock.
    At(Timestamp),
    /// That instant of the wall clock.
    Wall(WallTime),
    /// The first bookmark with that text.
    Bookmark(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(index) => write!(f, "frame {index}"),
            Self::Offset(span) => write!(f, "{span} after the first frame"),
            Self::At(at) => write!(f, "{} ns of the recorded clock", at.as_ns()),
            Self::Wall(wall) => match jiff::Timestamp::from_nanosecond(i128::from(wall.as_utc_ns())) {
                Ok(instant) => write!(f, "{instant}"),
                Err(_) => write!(f, "{} ns since 1970", wall.as_utc_ns()),
            },
            Self::Bookmark(text) => write!(f, "bookmark `{text}`"),
        }
    }
}

/// What a place is looked up in.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a, T: ?Sized> {
    /// The frames.
    pub timeline: &'a T,
    /// The recording's events; bookmarks are those of [`EventKind::Bookmark`].
    pub events: &'a [Event],
    /// Both clocks at one recorded instant, if the recording says.
    pub clock: Option<ClockPair>,
}

impl<T: Timeline + ?Sized> Lookup<'_, T> {
    /// The first frame at or after `place`.
    ///
    /// # Errors
    /// There is no such frame or bookmark; the message says what there is.
    pub fn first_frame(&self, place: &Place) -> Result<u64> {
        let len = self.timeline.len();
        let index = match place {
            Place::Frame(index) => *index,
            _ => self.timeline.seek_time(self.instant(place)?),
        };
        if index < len { Ok(index) } else { Err(beyond(place, len)) }
    }

    /// The last frame at or before `place`.
    ///
    /// # Errors
    /// There is no such frame or bookmark; the message says what there is.
    pub fn last_frame(&self, place: &Place) -> Result<u64> {
        let len = self.timeline.len();
        match place {
            Place::Frame(index) if *index < len => Ok(*index),
            Place::Frame(_) => Err(beyond(place, len)),
            _ => {
                let after = self.timeline.seek_time(self.instant(place)? + Span::from_ns(1));
                after.checked_sub(1).ok_or_else(|| Error::Setting(format!("{place} is before the first frame")))
            }
        }
    }

    /// The recorded instant of a place that is not a frame number.
    fn instant(&self, place: &Place) -> Result<Timestamp> {
        match place {
            Place::Frame(index) => Ok(self.timeline.captured_at(*index).unwrap_or_default()),
            Place::Offset(span) => Ok(self.timeline.captured_at(0).unwrap_or_default() + *span),
            Place::At(at) => Ok(*at),
            Place::Wall(wall) => {
                let clock = self.clock.ok_or_else(|| Error::Setting("the recording has no wall clock".into()))?;
                Ok(clock.monotonic + (*wall - clock.wall))
            }
            Place::Bookmark(text) => self.bookmark(text),
        }
    }

    fn bookmark(&self, text: &str) -> Result<Timestamp> {
        let mut bookmarks = self.events.iter().filter(|event| event.kind == EventKind::Bookmark);
        if let Some(event) = bookmarks.clone().find(|event| event.text == text) {
            return Ok(event.at);
        }
        let names: Vec<String> = bookmarks.by_ref().take(10).map(|event| format!("`{}`", event.text)).collect();
        let there_are =
            if names.is_empty() { "there are none".into() } else { format!("there are {}", names.join(", ")) };
        Err(Error::Setting(format!("no bookmark is called `{text}`; {there_are}")))
    }
}

fn beyond(place: &Place, len: u64) -> Error {
    match len.checked_sub(1) {
        Some(last) => Error::Setting(format!("{place} is beyond the recording's last frame, {last}")),
        None => Error::Setting(format!("{place} does not exist: the recording has no frames")),
    }
}
