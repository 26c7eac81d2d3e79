//! `kinora info FILE...`: what recordings hold.

use std::path::{Path, PathBuf};

use kinora::recording::{Info, Reader};
use serde::Serialize;

use super::end::{End, Failure};
use super::open;
use super::output::{Manner, Results};
use super::units::{show_bytes, show_span, show_utc};

/// The schema of `info --json`; see docs/json.md.
#[derive(Serialize)]
struct InfoJson<'a> {
    file: String,
    format_version: u16,
    finalized: bool,
    frames: u64,
    missing: u64,
    detections: u64,
    dropped: u64,
    losses: u64,
    events: u64,
    clock_steps: u64,
    duration_ns: i64,
    first_utc_ns: Option<i64>,
    first_utc: Option<String>,
    fps_mean: f64,
    frame_rate: [u32; 2],
    width: Option<u32>,
    height: Option<u32>,
    pixel_format: Option<&'static str>,
    bytes: u64,
    used_bytes: u64,
    source: &'a str,
    network: &'a str,
    post: &'a str,
    labels: Vec<&'a str>,
    time_zone: &'a str,
    writer: &'a str,
    id: String,
    series: String,
    part: u32,
}

/// Prints what each file holds; one that cannot be read does not keep the others from being shown.
pub fn run(files: &[PathBuf], manner: Manner) -> Result<End, Failure> {
    let mut results = Results::new();
    let (mut end, mut failed) = (End::Done, None);
    for file in files {
        match show(file, &mut results, manner) {
            Ok(End::Lost) => end = End::Lost,
            Ok(_) => {}
            Err(Failure::Failed(why)) => {
                if let Some(earlier) = failed.replace(why) {
                    manner.error(earlier);
                }
            }
            Err(other) => return Err(other),
        }
    }
    results.flush()?;
    failed.map_or(Ok(end), |why| Err(Failure::Failed(why)))
}

fn show(file: &Path, results: &mut Results, manner: Manner) -> Result<End, Failure> {
    let mut reader = open::reader(file)?;
    let info = reader.info();
    if manner.json {
        results.json(&InfoJson::new(file, &info, &reader))?;
    } else {
        print(file, &info, &reader, results)?;
    }
    if info.missing > 0 {
        manner.warn(format_args!(
            "{}: {} frames are lost to damage; `kinora verify` tells where",
            file.display(),
            info.missing
        ));
        return Ok(End::Lost);
    }
    Ok(End::Done)
}

impl<'a> InfoJson<'a> {
    fn new(file: &Path, info: &Info, reader: &'a Reader) -> Self {
        let header = reader.header();
        Self {
            file: file.display().to_string(),
            format_version: info.format_version,
            finalized: info.finalized,
            frames: info.frames,
            missing: info.missing,
            detections: info.detections,
            dropped: info.dropped,
            losses: info.losses,
            events: info.events,
            clock_steps: info.clock_steps,
            duration_ns: info.duration.as_ns(),
            first_utc_ns: info.first_utc.map(|wall| wall.as_utc_ns()),
            first_utc: info.first_utc.map(show_utc),
            fps_mean: info.fps_mean,
            frame_rate: [header.frame_rate.0, header.frame_rate.1],
            width: info.picture.map(|picture| picture.width),
            height: info.picture.map(|picture| picture.height),
            pixel_format: info.picture.map(|picture| picture.format.name()),
            bytes: info.bytes,
            used_bytes: info.used_bytes,
            source: &header.source,
            network: &header.network,
            post: &header.post,
            labels: header.labels.iter().collect(),
            time_zone: &header.time_zone,
            writer: &header.writer,
            id: hex(&header.id),
            series: hex(&header.series),
            part: header.part,
        }
    }
}

fn hex(id: &[u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn print(file: &Path, info: &Info, reader: &Reader, results: &mut Results) -> Result<(), Failure> {
    let header = reader.header();
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    results.line(file.display())?;
    let span = show_span(info.duration);
    results.line(format_args!("  frames      {} in {span}, {:.2} a second", info.frames, info.fps_mean))?;
    if let Some(first) = info.first_utc {
        results.line(format_args!("  first       {}", show_utc(first)))?;
    }
    match info.picture {
        Some(picture) => {
            results.line(format_args!("  pictures    {}x{} {}", picture.width, picture.height, picture.format))?;
        }
        None => results.line("  pictures    none (headless)")?,
    }
    results.line(format_args!("  detections  {}", info.detections))?;
    results.line(format_args!("  dropped     {}", info.dropped))?;
    results.line(format_args!("  events      {}", info.events))?;
    results.line(format_args!("  size        {}", show_bytes(info.bytes)))?;
    results.line(format_args!("  source      {}", or_none(&header.source)))?;
    results.line(format_args!("  network     {}, {} labels", or_none(&header.network), header.labels.len()))?;
    results.line(format_args!("  written by  {}, format {}", or_none(&header.writer), info.format_version))?;
    results.line(match info.finalized {
        true => "  closed      yes",
        false => "  closed      no: it is being written, or its writer died; it can be read as it is",
    })?;
    if info.clock_steps > 0 {
        results.line(format_args!("  clock       stepped {} times; earlier times are corrected", info.clock_steps))?;
    }
    Ok(())
}
