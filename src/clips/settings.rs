//! What a clip saver is made for.

use std::path::PathBuf;

use super::plan::Overlap;
use crate::recording::retention::LOCKED_PERCENT_DEFAULT;
use crate::time::Span;

/// Settings of clips around events.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipSettings {
    /// Where clips go; made if it is not there.
    pub directory: PathBuf,
    /// How much time the history holds, and so the longest pre-roll. Default 30 s.
    pub history: Span,
    /// How much more may wait for the disk while a clip is written. Default 2 s.
    pub reserve: Span,
    /// What becomes of triggers while a clip is under way. Default: they extend it.
    pub overlap: Overlap,
    /// Bytes promised to each frame of the history; `None`: by the picture's size at quality 80.
    pub frame_bytes: Option<usize>,
    /// Forget the history once it was saved. Default false.
    pub clear_on_save: bool,
    /// Every clip is locked: its name ends in `.locked.kinora`, and trimming passes it over. Default false; one clip is locked
    /// by [`ClipControl::trigger_locked`](super::ClipControl::trigger_locked).
    pub lock: bool,
    /// All recordings in the directory stay under so many bytes: the oldest ones that are not locked are removed when a clip
    /// needs room. 1 MiB or more; no clip becomes larger. Default `None`: nothing is removed.
    pub keep_size: Option<u64>,
    /// Share of `keep_size` that locked clips may take together before the oldest of them goes too, in percent, `0..=100`.
    /// Default 30.
    pub locked_percent: u8,
    /// Rules that trigger by themselves, with their pre- and post-roll.
    pub rules: Vec<RuleSettings>,
    /// A shell command that gets each finished clip's path as its argument, in a process of its own.
    pub on_clip: Option<String>,
    /// Clips are written no faster than so many bytes a second, 1 or more, so that a recording beside them keeps the disk for
    /// itself. A clip that falls behind by more than the reserve ends short. Default `None`: as fast as the disk takes them.
    pub write_rate: Option<u64>,
    /// Floor of free space in the directory's file system, in bytes. Default 100 MB.
    pub min_free_bytes: u64,
}

/// A rule and the clip that it asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSettings {
    /// Text of the rule; its grammar stands at [`trigger`](crate::trigger).
    pub rule: String,
    /// Time before the trigger.
    pub pre: Span,
    /// Time after it.
    pub post: Span,
}

impl ClipSettings {
    /// Clips in `directory`, everything else by default.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            history: Span::from_s(30),
            reserve: Span::from_s(2),
            overlap: Overlap::Extend,
            frame_bytes: None,
            clear_on_save: false,
            lock: false,
            keep_size: None,
            locked_percent: LOCKED_PERCENT_DEFAULT,
            rules: Vec::new(),
            on_clip: None,
            write_rate: None,
            min_free_bytes: 100_000_000,
        }
    }
}
