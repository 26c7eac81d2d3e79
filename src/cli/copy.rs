//! `kinora repair` and `kinora cut`: a recording, or a part of it, copied record by record.

use std::ops::ControlFlow;
use std::path::Path;

use kinora::recording::{self, CopyError, CopyReport, Lost};
use serde::Serialize;

use super::cat::clock_of;
use super::command::Range;
use super::end::{End, Failure};
use super::open;
use super::output::{Manner, Progress, Results};
use super::stop::Stop;
use super::units::show_bytes;

/// The schema of `repair --json` and `cut --json`; see docs/json.md.
#[derive(Serialize)]
struct CopyJson<'a> {
    file: String,
    out: String,
    #[serde(flatten)]
    report: &'a CopyReport,
}

/// Copies all that can be read.
pub fn repair(file: &Path, out: &Path, manner: Manner) -> Result<End, Failure> {
    copied(file, out, manner, |progress| recording::repair(file, out, progress))
}

/// Copies the frames of the range.
pub fn cut(file: &Path, range: &Range, out: &Path, manner: Manner) -> Result<End, Failure> {
    let mut reader = open::reader(file)?;
    let events: Vec<_> = match reader.events() {
        Ok(events) => events.into_iter().map(|(_, event)| event).collect(),
        Err(error) => {
            manner.warn(error);
            Vec::new()
        }
    };
    let part = open::frames_of(range, &reader, &events, clock_of(&reader))?;
    let part = part.ok_or_else(|| Failure::Failed(format!("{} has no frames", file.display())))?;
    drop(reader);
    copied(file, out, manner, |progress| recording::cut(file, out, part, progress))
}

fn copied(
    file: &Path,
    out: &Path,
    manner: Manner,
    copy: impl FnOnce(&mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<CopyReport, CopyError>,
) -> Result<End, Failure> {
    open::no_directory(file)?;
    let stop = Stop::on_signals()?;
    let mut progress = Progress::new(manner);
    let report = copy(&mut |done| {
        progress.show(|| format!("{} copied", show_bytes(done)));
        stop.as_control_flow()
    });
    progress.finish();
    let report = report.map_err(|error| match error {
        CopyError::Open(error) => open::unreadable(file, &error),
        CopyError::Stopped => Failure::stopped(out),
        error => Failure::Failed(error.to_string()),
    })?;
    tell(file, out, &report, manner)?;
    Ok(if report.lost.is_empty() && report.frames_lost == 0 { End::Done } else { End::Lost })
}

fn tell(file: &Path, out: &Path, report: &CopyReport, manner: Manner) -> Result<(), Failure> {
    let mut results = Results::new();
    if manner.json {
        results.json(&CopyJson { file: file.display().to_string(), out: out.display().to_string(), report })?;
    } else {
        let (frames, bytes) = (report.frames, show_bytes(report.bytes));
        results.line(format_args!(
            "{}: {frames} frames, {bytes}, {} frames lost",
            out.display(),
            report.frames_lost
        ))?;
        for place in &report.lost {
            results.line(line(place))?;
        }
    }
    Ok(results.flush()?)
}

fn line(Lost { offset, bytes, kind, frames, reason }: &Lost) -> String {
    let what = kind.unwrap_or("something");
    let which = match frames {
        Some((first, last)) if first == last => format!(" (frame {first})"),
        Some((first, last)) => format!(" (frames {first} to {last})"),
        None => String::new(),
    };
    format!("  lost: {what}{which}, {bytes} bytes at {offset}: {reason}")
}
