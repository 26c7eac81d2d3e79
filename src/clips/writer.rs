//! The thread that turns frames into clip files. It may be as slow as the disk: the frames' thread never waits for it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer};

use super::settings::ClipSettings;
use super::{ClipEvent, Label};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::recorder::Recorder;
use crate::recording::directory::sync_directory;
use crate::recording::names::LOCKED_ENDING;
use crate::sink::{Added, FrameSink as _, Summary};
use crate::slot::Slot;
use crate::source::SourceInfo;
use crate::time::{Span, WallTime};
use crate::wake::Wake;

/// From the frames' thread.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a box would be an allocation on the frames' thread")]
pub(super) enum Message {
    /// A clip begins.
    Begin { id: u32, label: Label, wall: WallTime, utc_offset_s: i32 },
    /// One of its frames.
    Frame { id: u32, slot: Box<Slot> },
    /// A trigger inside it, which may lock it.
    Event { id: u32, event: Event, lock: bool },
    /// It is over.
    End { id: u32, pre_short: Span, lost: u64 },
}

/// All that the thread owns.
pub(super) struct ClipThread {
    pub messages: Consumer<Message>,
    pub slots: Producer<Box<Slot>>,
    pub events: Producer<ClipEvent>,
    pub wake: Arc<Wake>,
    pub pace: Pace,
    pub settings: ClipSettings,
    pub info: SourceInfo,
}

/// Holds the clip thread to a rate of bytes.
pub(super) struct Pace {
    bytes_a_second: Option<u64>,
    free_at: Instant,
}

impl Pace {
    /// No faster than this, if there is a limit.
    pub fn new(bytes_a_second: Option<u64>) -> Self {
        Self { bytes_a_second, free_at: Instant::now() }
    }

    /// Waits for as long as these bytes take.
    fn wait_for(&mut self, bytes: u64) {
        let Some(rate) = self.bytes_a_second else { return };
        let ns = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        self.free_at = self.free_at.max(Instant::now()) + Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX));
        std::thread::sleep(self.free_at.saturating_duration_since(Instant::now()));
    }
}

/// One clip that is being written.
enum Open {
    Writing {
        recorder: Box<Recorder>,
        label: Label,
        wall: WallTime,
        utc_offset_s: i32,
        temporary: PathBuf,
        locked: bool,
        /// Frames that the disk took no more, or that did not fit a slot.
        lost: u64,
    },
    Failed {
        label: Label,
        reason: String,
    },
}

impl ClipThread {
    /// Runs until the frames' thread is gone and everything that it sent is written.
    pub fn run(mut self) {
        let mut clips = BTreeMap::new();
        let mut children: Vec<Child> = Vec::new();
        loop {
            let Self { messages, wake, .. } = &self;
            wake.wait(Span::from_ms(500), || !messages.is_empty() || messages.is_abandoned());
            while let Ok(message) = self.messages.pop() {
                if let Some(child) = self.take(message, &mut clips) {
                    children.push(child);
                }
            }
            // Reap what has ended; nothing here waits for a command.
            children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            if self.messages.is_abandoned() && self.messages.is_empty() {
                break;
            }
        }
        for open in std::mem::take(&mut clips).into_values() {
            // The session ended before the post-roll did: what is there is a clip all the same.
            self.close(open, Span::ZERO, 0);
        }
    }

    fn take(&mut self, message: Message, clips: &mut BTreeMap<u32, Open>) -> Option<Child> {
        match message {
            Message::Begin { id, label, wall, utc_offset_s } => {
                let open = self.open(label.clone(), wall, utc_offset_s);
                let failed = |error: Error| Open::Failed { label, reason: error.to_string() };
                clips.insert(id, open.unwrap_or_else(failed));
            }
            Message::Frame { id, slot } => {
                if let Some(open) = clips.get_mut(&id) {
                    let bytes = open.add(&slot, &self.info);
                    self.pace.wait_for(bytes);
                }
                // The ring has room for every slot that there is.
                let _ = self.slots.push(slot);
            }
            Message::Event { id, event, lock } => {
                if let Some(Open::Writing { recorder, locked, .. }) = clips.get_mut(&id) {
                    *locked |= lock;
                    // A bookmark that cannot be kept costs no frame; the disk's trouble shows with the next one.
                    let _ = recorder.event(&event);
                }
            }
            Message::End { id, pre_short, lost } => {
                return clips.remove(&id).and_then(|open| self.close(open, pre_short, lost));
            }
        }
        None
    }

    fn open(&self, label: Label, wall: WallTime, utc_offset_s: i32) -> Result<Open> {
        let directory = &self.settings.directory;
        let stem = stem(&label, wall, utc_offset_s);
        let temporary = unused(directory, &format!(".{stem}"), ".partial.kinora");
        // A clip is one file: another would have none to name it.
        let mut builder =
            Recorder::builder().file(&temporary).source(&self.info).min_free(self.settings.min_free_bytes).one_file();
        if let Some(bytes) = self.settings.keep_size {
            // It may take all of it.
            builder = builder.keep_size(bytes).split_size(bytes).locked_share(self.settings.locked_percent);
        }
        let recorder = Box::new(builder.create()?);
        Ok(Open::Writing { recorder, label, wall, utc_offset_s, temporary, locked: self.settings.lock, lost: 0 })
    }

    fn close(&mut self, open: Open, pre_short: Span, lost_before: u64) -> Option<Child> {
        let (event, child) = match open {
            Open::Failed { label, reason } => (ClipEvent::Failed { label, reason }, None),
            Open::Writing { recorder, label, wall, utc_offset_s, temporary, locked, lost } => {
                let lost = lost + lost_before;
                let stem = stem(&label, wall, utc_offset_s);
                let ending = if locked { LOCKED_ENDING } else { ".kinora" };
                match finish(*recorder, &temporary, &self.settings.directory, &stem, ending) {
                    Ok((path, frames)) => {
                        let child = self.settings.on_clip.as_deref().and_then(|command| start(command, &path));
                        (ClipEvent::Saved { path, label, frames, pre_short, lost }, child)
                    }
                    Err(error) => (ClipEvent::Failed { label, reason: error.to_string() }, None),
                }
            }
        };
        // Nobody who listens took 64 events in time: the file is there all the same.
        let _ = self.events.push(event);
        child
    }
}

impl Open {
    /// Writes one frame; the bytes that it took.
    fn add(&mut self, slot: &Slot, info: &SourceInfo) -> u64 {
        let Self::Writing { recorder, label, lost, .. } = self else { return 0 };
        if slot.lost.is_some() {
            *lost += 1;
            return 0;
        }
        let before = recorder.bytes_written();
        let labels = (!info.labels.is_empty()).then_some(&info.labels);
        match recorder.add(&slot.frame(labels)) {
            Ok(Added::Kept) => {}
            Ok(Added::Lost(_) | Added::Ended(_)) => *lost += 1,
            Err(error) => {
                *self = Self::Failed { label: label.clone(), reason: error.to_string() };
                return 0;
            }
        }
        recorder.bytes_written().saturating_sub(before)
    }
}

/// Closes the file and gives it its name.
fn finish(
    mut recorder: Recorder,
    temporary: &Path,
    directory: &Path,
    stem: &str,
    ending: &str,
) -> Result<(PathBuf, u64)> {
    let ended = recorder.ended();
    let Summary { frames, failure, .. } = recorder.finish()?;
    if frames == 0 {
        let _ = fs::remove_file(temporary);
        let why = ended.map_or_else(|| "it has no frame".to_owned(), |ended| ended.to_string());
        return Err(Error::Setting(format!("clip {stem} was not saved: {why}")));
    }
    // A hard link never replaces a file, unlike a rename; file systems without links get the rename.
    for _ in 0..1000 {
        let path = unused(directory, stem, ending);
        let linked = fs::hard_link(temporary, &path).and_then(|()| fs::remove_file(temporary));
        let named = match linked {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            Err(_) => fs::rename(temporary, &path),
            Ok(()) => Ok(()),
        };
        named.and_then(|()| sync_directory(directory)).map_err(Error::io(format!("naming {}", path.display())))?;
        return match failure {
            None => Ok((path, frames)),
            Some(failure) => Err(Error::Setting(format!("{failure}; what is left of it is {}", path.display()))),
        };
    }
    Err(Error::Setting(format!("no free name for clip {stem} in {}", directory.display())))
}

/// A path in `directory` that does not exist at this moment: the stem, or the stem with a number.
fn unused(directory: &Path, stem: &str, suffix: &str) -> PathBuf {
    let numbered = |n: u32| match n {
        1 => directory.join(format!("{stem}{suffix}")),
        n => directory.join(format!("{stem}-{n}{suffix}")),
    };
    let mut n = 1;
    while numbered(n).symlink_metadata().is_ok() && n < 1_000_000 {
        n += 1;
    }
    numbered(n)
}

/// `clip_YYYY-MM-DD_HH-MM-SS_label`, local time of the trigger; characters that trouble shells and file systems become `-`.
fn stem(label: &str, wall: WallTime, utc_offset_s: i32) -> String {
    let local_s = wall.as_utc_ns().div_euclid(1_000_000_000) + i64::from(utc_offset_s);
    let time = jiff::Timestamp::from_second(local_s).map(|t| t.strftime("%Y-%m-%d_%H-%M-%S").to_string());
    let mut stem = format!("clip_{}", time.unwrap_or_else(|_| "undated".to_owned()));
    let clean: String = label.chars().map(|c| if c.is_alphanumeric() || c == '_' { c } else { '-' }).take(40).collect();
    if !clean.is_empty() {
        stem.push('_');
        stem.push_str(&clean);
    }
    stem
}

/// Starts the user's command with the path as its last argument, in a process of its own.
fn start(command: &str, path: &Path) -> Option<Child> {
    let mut arguments: OsString = command.into();
    arguments.push(" \"$1\"");
    Command::new("sh")
        .arg("-c")
        .arg(arguments)
        .arg("sh")
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clip_is_named_by_local_time_and_a_label_that_every_file_system_takes() {
        let wall = WallTime::from_utc_ns(1_749_897_127_419_283_000);
        assert_eq!(stem("two people", wall, 7200), "clip_2025-06-14_12-32-07_two-people");
        assert_eq!(stem("../../etc/passwd", wall, 0), "clip_2025-06-14_10-32-07_------etc-passwd");
        assert_eq!(stem("", WallTime::from_utc_ns(-1), 0), "clip_1969-12-31_23-59-59");
    }
}
