//! Things worth remembering that are not frames: bookmarks, triggers, notes.

use crate::limits::EVENT_TEXT_BYTES_MAX;
use crate::time::{Timestamp, WallTime};

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum EventKind {
    /// A place that somebody wants to find again.
    Bookmark = 1,
    /// Something made the recorder act.
    Trigger = 2,
    /// A remark of the recorder itself (restart, trouble with the disk).
    Note = 3,
}

impl EventKind {
    /// The kind of the number that files store, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Bookmark,
            2 => Self::Trigger,
            3 => Self::Note,
            _ => return None,
        })
    }

    /// The number that files store.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name in messages and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bookmark => "bookmark",
            Self::Trigger => "trigger",
            Self::Note => "note",
        }
    }
}

/// An event and the time that it speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What it is.
    pub kind: EventKind,
    /// The instant that it speaks of, on the monotonic clock of the recording.
    pub at: Timestamp,
    /// The same instant on the wall clock.
    pub wall: WallTime,
    /// Words of the user, at most `EVENT_TEXT_BYTES_MAX` bytes.
    pub text: heapless::String<EVENT_TEXT_BYTES_MAX>,
}
