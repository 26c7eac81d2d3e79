//! Clips around an event: the last seconds, which the history holds already, and the next ones, in a file of their own.
//!
//! ```text
//! frame ─► recorder (all of it, if wanted)
//!     └──► history (window in RAM) ─► plan: which frames of which clip ─► slots ─► clip thread ─► clip_….kinora
//! ```
//!
//! The frames' thread copies a few frames a tick into free slots and goes on; the disk is the clip thread's business. When it
//! falls behind by more than the reserve beside the history, the clip ends short and says so; no other frame is lost.

mod plan;
mod settings;
mod sink;
mod writer;

pub use plan::{CLIPS_MAX, Overlap, Reach};
pub use settings::{ClipSettings, RuleSettings};
pub use sink::ClipSink;

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;

use rtrb::{Consumer, Producer};

use crate::error::{Error, Result};
use crate::source::bounded;
use crate::time::{Span, Timestamp};

/// Label of a clip, for its name and the bookmark in it.
pub type Label = heapless::String<64>;

/// Requests that may wait for the next frame.
const REQUESTS_MAX: usize = 16;
/// Events that may wait to be taken.
const EVENTS_MAX: usize = 64;

/// Something asked of the clip saver; carried out with the next frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    label: Label,
    wish: Wish,
    lock: bool,
}

/// Which frames are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Around this moment.
    Around { pre: Reach, post: Reach },
    /// Captured from one instant to another, both included.
    Between(Timestamp, Timestamp),
}

/// What became of a clip.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClipEvent {
    /// It has its name and can be played.
    Saved {
        /// The file.
        path: PathBuf,
        /// Label of the trigger that began it.
        label: Label,
        /// Its frames.
        frames: u64,
        /// Pre-roll that was asked for and that the history did not reach back to.
        pre_short: Span,
        /// Above zero when frames left the history before they were written: the clip ends short, and so many frames that were
        /// captured for it until then are not in it; or the disk got full, and took so many frames no more; or so many had
        /// larger masks or sensor bytes than the source said that it has.
        lost: u64,
    },
    /// It was not saved, or could not be closed cleanly and lies there as far as it came.
    Failed {
        /// Label of the trigger that began it.
        label: Label,
        /// Why, with the remedy.
        reason: String,
    },
    /// Frames that are larger than the history promises to hold, and are therefore in no clip. Told with the first such frame,
    /// and at the end with all of them; the remedy is `frame_bytes`.
    TooBig {
        /// How many so far.
        frames: u64,
        /// Bytes of the largest.
        needed: usize,
        /// Bytes promised to each frame.
        promised: usize,
    },
    /// A trigger came while `CLIPS_MAX` clips were under way, or before the first frame; it began none.
    Refused {
        /// Its label.
        label: Label,
    },
}

/// Asks for clips and hears what became of them; `Send`, for one thread at a time.
pub struct ClipControl {
    requests: RefCell<Producer<Request>>,
    saved: RefCell<Consumer<ClipEvent>>,
    refused: RefCell<Consumer<ClipEvent>>,
    history: Span,
}

impl fmt::Debug for ClipControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClipControl").field("history", &self.history).finish_non_exhaustive()
    }
}

impl ClipControl {
    /// A clip of the last `pre` and the next `post`, from the next frame on.
    ///
    /// # Errors
    /// `pre` is longer than the history, with the setting that it needs; or 16 requests wait already.
    pub fn trigger(&self, label: &str, pre: Span, post: Span) -> Result<()> {
        check_pre(pre, self.history)?;
        self.request(label, Reach::Time(pre), Reach::Time(post), false)
    }

    /// As [`trigger`](Self::trigger); the clip is locked, also when this extends one that is under way.
    ///
    /// # Errors
    /// As [`trigger`](Self::trigger).
    pub fn trigger_locked(&self, label: &str, pre: Span, post: Span) -> Result<()> {
        check_pre(pre, self.history)?;
        self.request(label, Reach::Time(pre), Reach::Time(post), true)
    }

    /// A clip of so many frames before and after.
    ///
    /// # Errors
    /// 16 requests wait already.
    pub fn trigger_frames(&self, label: &str, pre: u32, post: u32) -> Result<()> {
        self.request(label, Reach::Frames(pre), Reach::Frames(post), false)
    }

    /// A clip of all that the history holds now.
    ///
    /// # Errors
    /// 16 requests wait already.
    pub fn save(&self, label: &str) -> Result<()> {
        self.request(label, Reach::All, Reach::All, false)
    }

    /// A clip of the last `span`.
    ///
    /// # Errors
    /// As [`trigger`](Self::trigger).
    pub fn save_last(&self, label: &str, span: Span) -> Result<()> {
        check_pre(span, self.history)?;
        self.request(label, Reach::Time(span), Reach::All, false)
    }

    /// A clip of what was captured between two instants, as far as the history still holds it.
    ///
    /// # Errors
    /// 16 requests wait already.
    pub fn save_between(&self, label: &str, from: Timestamp, to: Timestamp) -> Result<()> {
        self.send(label, Wish::Between(from, to), false)
    }

    /// What became of clips since the last call.
    pub fn events(&self) -> impl Iterator<Item = ClipEvent> + '_ {
        std::iter::from_fn(|| {
            let refused = self.refused.borrow_mut().pop();
            refused.or_else(|_| self.saved.borrow_mut().pop()).ok()
        })
    }

    fn request(&self, label: &str, pre: Reach, post: Reach, lock: bool) -> Result<()> {
        self.send(label, Wish::Around { pre, post }, lock)
    }

    fn send(&self, label: &str, wish: Wish, lock: bool) -> Result<()> {
        let request = Request { label: bounded(label), wish, lock };
        let pushed = self.requests.borrow_mut().push(request);
        pushed.map_err(|_| Error::Setting(format!("{REQUESTS_MAX} clip requests wait already; try again")))
    }
}

/// A pre-roll beyond the history can never be had: refused before anything starts.
fn check_pre(pre: Span, history: Span) -> Result<()> {
    if pre <= history {
        return Ok(());
    }
    Err(Error::Setting(format!(
        "a pre-roll of {pre} needs a history of {pre}; it is {history} (window_seconds, or --pre of `kinora replay`)"
    )))
}
