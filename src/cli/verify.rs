//! `kinora verify FILE`: every checksum, and what is damaged.

use std::path::Path;

use kinora::recording::{VerifyReport, verify};
use serde::Serialize;

use super::end::{End, Failure};
use super::open;
use super::output::{Manner, Progress, Results};
use super::units::show_bytes;

/// The schema of `verify --json`; see docs/json.md.
#[derive(Serialize)]
struct VerifyJson {
    file: String,
    frames_ok: u64,
    frames_lost: u64,
    records_ok: u64,
    damaged: Vec<DamagedJson>,
    damaged_count: u64,
    finalized: bool,
    bytes: u64,
}

#[derive(Serialize)]
struct DamagedJson {
    offset: u64,
    bytes: u64,
    kind: Option<&'static str>,
    reason: String,
}

/// Checks the file: intact, partly readable ([`End::Lost`]), or not readable at all.
pub fn run(file: &Path, manner: Manner) -> Result<End, Failure> {
    open::no_directory(file)?;
    let mut progress = Progress::new(manner);
    let report = verify(file, |done, all| {
        progress.show(|| format!("{} of {} checked", show_bytes(done), show_bytes(all)));
    });
    progress.finish();
    let report = report.map_err(|error| open::unreadable(file, &error))?;
    let mut results = Results::new();
    if manner.json {
        results.json(&VerifyJson::new(file, &report))?;
    } else {
        print(file, &report, &mut results)?;
    }
    results.flush()?;
    match (report.is_intact(), report.frames_ok) {
        (true, _) => Ok(End::Done),
        (false, 0) => Err(Failure::Failed(format!("{}: not one frame can be read", file.display()))),
        (false, _) => {
            manner.remark(format_args!("what is intact can be copied: kinora repair {} -o NEW.kinora", file.display()));
            Ok(End::Lost)
        }
    }
}

impl VerifyJson {
    fn new(file: &Path, report: &VerifyReport) -> Self {
        let damaged = report.damaged.iter().map(|place| DamagedJson {
            offset: place.offset,
            bytes: place.bytes,
            kind: place.kind.map(|kind| kind.name()),
            reason: place.reason.to_string(),
        });
        Self {
            file: file.display().to_string(),
            frames_ok: report.frames_ok,
            frames_lost: report.frames_lost,
            records_ok: report.records_ok,
            damaged: damaged.collect(),
            damaged_count: report.damaged_count,
            finalized: report.finalized,
            bytes: report.bytes,
        }
    }
}

fn print(file: &Path, report: &VerifyReport, results: &mut Results) -> Result<(), Failure> {
    let name = file.display();
    let closed = if report.finalized { "closed cleanly" } else { "not closed" };
    if report.is_intact() {
        let (frames, bytes) = (report.frames_ok, show_bytes(report.bytes));
        results.line(format_args!("{name}: intact, {frames} frames, {bytes}, {closed}"))?;
        return Ok(());
    }
    let (ok, lost, places) = (report.frames_ok, report.frames_lost, report.damaged_count);
    results.line(format_args!("{name}: damaged in {places} places, {ok} frames intact, {lost} lost, {closed}"))?;
    for place in &report.damaged {
        let kind = place.kind.map_or("", |kind| kind.name());
        results.line(format_args!("  byte {}, {} bytes {kind}: {}", place.offset, place.bytes, place.reason))?;
    }
    let hidden = places - report.damaged.len() as u64;
    if hidden > 0 {
        results.line(format_args!("  and {hidden} more places"))?;
    }
    Ok(())
}
