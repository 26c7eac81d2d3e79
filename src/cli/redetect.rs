//! `kinora redetect`: results of a recording made again from its raw metadata.

use std::path::{Path, PathBuf};

use kinora::Recorder;
use kinora::source::CameraOptions;
use serde::Serialize;

use super::end::{End, Failure};
use super::open;
use super::output::{Manner, Progress, Results};
use super::stop::Stop;
use super::units::show_bytes;

/// The command.
#[derive(Debug)]
pub struct Redetect {
    pub file: PathBuf,
    pub out: PathBuf,
    pub camera: CameraOptions,
}

/// The schema of `redetect --json`; see docs/json.md.
#[derive(Serialize)]
struct RedetectJson<'a> {
    file: String,
    out: String,
    network: &'a str,
    post: &'a str,
    frames: u64,
    detections: u64,
    results: u64,
    repeated: u64,
    without_raw: u64,
    broken: u64,
    damaged: u64,
    bytes: u64,
}

/// Runs the post-processing again.
pub fn run(redetect: &Redetect, manner: Manner) -> Result<End, Failure> {
    let (file, out): (&Path, &Path) = (&redetect.file, &redetect.out);
    open::no_directory(file)?;
    if out.symlink_metadata().is_ok() {
        return Err(Failure::exists(out));
    }
    let stop = Stop::on_signals()?;
    let mut progress = Progress::new(manner);
    let done = Recorder::redetect(file, out, &redetect.camera, |done, all| {
        progress.show(|| format!("{done} of {all} frames"));
        stop.as_control_flow()
    });
    progress.finish();
    let done = done.map_err(|error| if stop.is_asked() { Failure::stopped(out) } else { error.into() })?;
    let json = RedetectJson {
        file: file.display().to_string(),
        out: out.display().to_string(),
        network: &done.network,
        post: &done.post,
        frames: done.summary.frames,
        detections: done.summary.detections,
        results: done.results,
        repeated: done.repeated,
        without_raw: done.without_raw,
        broken: done.broken,
        damaged: done.damaged,
        bytes: done.summary.bytes,
    };
    let mut results = Results::new();
    if manner.json {
        results.json(&json)?;
    } else {
        results.line(format_args!(
            "{}: {} frames, {} new results, {} detections by {}, {}",
            json.out,
            json.frames,
            json.results,
            json.detections,
            json.post,
            show_bytes(json.bytes)
        ))?;
    }
    results.flush()?;
    if json.broken > 0 {
        manner
            .warn(format_args!("raw metadata of {} frames cannot be read with network {}", json.broken, json.network));
    }
    if json.damaged > 0 {
        manner.warn(format_args!("{} frames of {} are damaged and left out", json.damaged, json.file));
    }
    if let Some(ended) = &done.summary.ended {
        manner.warn(ended);
    }
    let is_whole = json.broken + json.damaged == 0 && done.summary.ended.is_none();
    Ok(if is_whole { End::Done } else { End::Lost })
}
