//! `kinora tail FILE`: the frames of a recording while it is written.

use std::path::Path;
use std::time::Duration;

use kinora::recording::{Entry, Followed, Tail};

use super::end::{End, Failure};
use super::json::{EventJson, FrameJson, LossJson};
use super::open;
use super::output::{Manner, Results};
use super::stop::Stop;
use super::units::show_utc;

/// How long to wait when nothing new is there.
const PAUSE: Duration = Duration::from_millis(10);

/// Prints each frame, loss and event as it is committed, until the recording is closed or somebody stops us.
pub fn run(file: &Path, from_start: bool, manner: Manner) -> Result<End, Failure> {
    open::no_directory(file)?;
    let stop = Stop::on_signals()?;
    let mut tail = Tail::open(file).map_err(|error| open::unreadable(file, &error))?;
    if !from_start {
        tail.skip_to_end();
    }
    let mut results = Results::new();
    let mut end = End::Done;
    while !stop.is_asked() {
        match tail.next() {
            Followed::Record(record) => {
                if !show(&record.entry, record.offset, &mut results, manner)? {
                    end = End::Lost;
                }
            }
            Followed::Nothing => {
                results.flush()?;
                std::thread::sleep(PAUSE);
            }
            Followed::Closed => break,
            Followed::Abandoned => {
                manner.warn(format_args!("{}: its writer is gone without closing it", file.display()));
                break;
            }
        }
    }
    results.flush()?;
    Ok(end)
}

/// False when the record is damaged.
fn show(entry: &Entry<'_>, offset: u64, results: &mut Results, manner: Manner) -> Result<bool, Failure> {
    match entry {
        Entry::Frame { frame, .. } if manner.json => results.json(&FrameJson::new(frame, Some(offset)))?,
        Entry::Frame { ordinal, frame } => {
            results.line(format_args!("{ordinal:>7}  {}  {frame}", show_utc(frame.meta.captured_wall)))?;
        }
        Entry::Loss(loss) if manner.json => results.json(&LossJson::new(loss, offset))?,
        Entry::Loss(loss) => results.line(format_args!("   loss  {} frames: {}", loss.count, loss.cause))?,
        Entry::Event(event) if manner.json => results.json(&EventJson::new(event, offset))?,
        Entry::Event(event) => results.line(format_args!("  event  {}: {}", event.kind.name(), event.text))?,
        Entry::Damaged { reason, .. } => {
            manner.warn(format_args!("byte {offset} is damaged: {reason}"));
            return Ok(false);
        }
        _ => {}
    }
    Ok(true)
}
