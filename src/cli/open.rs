//! Recordings that a command reads, and new files that it writes.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use kinora::event::Event;
use kinora::playback::{Lookup, Playback};
use kinora::recording::{Directory, OpenError, Reader};
use kinora::timeline::Timeline;

use super::command::Range;
use super::end::Failure;
use super::output::Manner;

/// A directory where a file is needed is told as such: reading one gives stranger words.
pub fn no_directory(file: &Path) -> Result<(), Failure> {
    match file.is_dir() {
        true => Err(Failure::Failed(format!("{} is a directory; name a recording in it", file.display()))),
        false => Ok(()),
    }
}

/// Opens a `.kinora` file.
pub fn reader(file: &Path) -> Result<Reader, Failure> {
    no_directory(file)?;
    Reader::open(file).map_err(|error| unreadable(file, &error))
}

/// Says which file it was; the system's own answers say so already.
pub fn unreadable(file: &Path, error: &OpenError) -> Failure {
    let name = file.display();
    Failure::Failed(match error {
        OpenError::Io { .. } => error.to_string(),
        OpenError::NotARecording { .. } => {
            format!("{name}: {error}; modlib's .json and .pkl become one with `kinora import`")
        }
        _ => format!("{name}: {error}"),
    })
}

/// The newest recording in `directory`.
pub fn newest(directory: &Path) -> Result<PathBuf, Failure> {
    let name = directory.display();
    let none = || Failure::Failed(format!("no recording in {name}; name a FILE, or make one with `kinora record`"));
    match Directory::open(directory).and_then(|directory| directory.newest()) {
        Ok(newest) => newest.ok_or_else(none),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(none()),
        Err(error) => Err(Failure::Failed(format!("{name}: {error}"))),
    }
}

/// A recording that is ready to be played, of any kind that can be. What is broken in it is told; a file with nothing
/// but that is none.
pub fn playback(file: &Path, manner: Manner) -> Result<Playback, Failure> {
    no_directory(file)?;
    let name = file.display();
    let playback = Playback::open(file).map_err(|error| match error {
        kinora::Error::Open(error) => unreadable(file, &error),
        error if error.to_string().contains(&*name.to_string()) => error.into(),
        error => Failure::Failed(format!("{name}: {error}")),
    })?;
    if let (true, Some(first)) = (playback.is_empty(), playback.notes().first()) {
        return Err(Failure::Failed(format!("{name}: no frame in it; {first}")));
    }
    for note in playback.notes() {
        manner.warn(format_args!("{name}: {note}"));
    }
    Ok(playback)
}

/// First and last frame of a range, and nothing when the recording is empty and all of it was asked for.
pub fn frames_of(
    range: &Range,
    timeline: &impl Timeline,
    events: &[Event],
    clock: kinora::ClockPair,
) -> Result<Option<(u64, u64)>, Failure> {
    let lookup = Lookup { timeline, events, clock: Some(clock) };
    let side = |flag: &'static str| move |error: kinora::Error| Failure::Failed(format!("{flag}: {error}"));
    let Some(end) = timeline.len().checked_sub(1) else {
        return match (&range.from, &range.to) {
            (None, None) => Ok(None),
            _ => Err(Failure::Failed("the recording has no frames, so there is no part of it".into())),
        };
    };
    let first = range.from.as_ref().map_or(Ok(0), |place| lookup.first_frame(place)).map_err(side("--from"))?;
    let last = range.to.as_ref().map_or(Ok(end), |place| lookup.last_frame(place)).map_err(side("--to"))?;
    if first > last {
        return Err(Failure::Failed(format!(
            "nothing lies between frame {first} and frame {last}; swap --from and --to"
        )));
    }
    Ok(Some((first, last)))
}

/// A new file, readable by owner and group; never one that exists.
pub fn create(path: &Path) -> Result<File, Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path);
    opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::exists(path),
        _ => Failure::Failed(format!("cannot write {}: {error}", path.display())),
    })
}
