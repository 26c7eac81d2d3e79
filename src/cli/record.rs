//! `kinora record`: a source into a recording, until it ends, a limit is reached, or somebody stops us.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use kinora::notify::Notifier;
use kinora::recorder::{Codec, Format, Recorder};
use kinora::recording::{Directory, SyncPolicy};
use kinora::sink::Summary;
use kinora::source::SourceInfo;
use kinora::{
    Capture, Cause, Clock, ClockPair, FrameSink, ManualClock, Session, SessionReport, SessionStatus, Settings, Span,
    SystemClock, Timestamp, WallTime,
};
use serde::Serialize;

use super::command::{Place, Record, SyncChoice, Target};
use super::end::{End, Failure};
use super::import::recorder_failure;
use super::output::{Manner, Progress, Results};
use super::sinks::{Lines, Named, Path as SharedPath};
use super::source::{self, Told};
use super::stop::Stop;
use super::units::{show_bytes, show_span};

/// How often the progress line is computed.
const LOOK: Span = Span::from_ms(100);

/// The instant at which a manual clock begins: nothing depends on the hour of the run.
const MANUAL_START: ClockPair = ClockPair {
    monotonic: Timestamp::from_ns(0),
    // 2026-01-01T00:00:00Z
    wall: WallTime::from_utc_ns(1_767_225_600_000_000_000),
};

/// Records.
pub fn run(record: Record, manner: Manner) -> Result<End, Failure> {
    let stop = Stop::on_signals()?;
    let mut notifier = Notifier::of_this_process().map_err(Failure::io("cannot speak to the service manager"))?;
    let clock: Arc<dyn Clock> = match record.manual_clock {
        true => Arc::new(ManualClock::new(MANUAL_START)),
        false => Arc::new(SystemClock),
    };
    let (capture, mut told) = source::open_telling(&record.source)?;
    let capture = capture.clock(Arc::clone(&clock)).settings(settings(&record));
    let path = SharedPath::default();
    let session = session(capture, &record, clock, &path)?;
    tracing::info!("{:?}", session.info());
    for note in session.notes() {
        manner.warn(note);
    }
    if record.source.camera.raw_metadata.is_some() && session.info().sensor_bytes_max == 0 {
        manner.warn(format_args!(
            "--raw-metadata: {} has no metadata of an IMX500; nothing is kept",
            session.info().name
        ));
    }
    greet(session.info(), &record, &path, manner);
    let report = watch(session, &record, &stop, &path, &mut told, &mut notifier, manner)?;
    let end = finish(report, &record, manner)?;
    Ok(if told.count() > 0 { End::Lost } else { end })
}

/// The engine's settings.
fn settings(record: &Record) -> Settings {
    let mut settings = source::engine(&record.engine);
    settings.frames_max = record.frames;
    settings.duration_max = record.duration;
    settings
}

fn session(capture: Capture, record: &Record, clock: Arc<dyn Clock>, path: &SharedPath) -> Result<Session, Failure> {
    let builder = Session::builder().source(capture);
    match &record.out {
        Target::Modlib(Place::Standard) => Ok(builder.recorder(Lines::on_stdout()).start()?),
        Target::Directory(out) | Target::Recording(out) | Target::Modlib(Place::File(out)) => {
            let recorder = recorder(record, out, clock).map_err(|error| recorder_failure(error, out))?;
            let named: Box<dyn FrameSink> = Box::new(Named::new(recorder, path));
            builder.recorder(named).start().map_err(|error| recorder_failure(error, out))
        }
    }
}

fn recorder(record: &Record, out: &Path, clock: Arc<dyn Clock>) -> kinora::Result<Recorder> {
    let mut builder = Recorder::builder().clock(clock).quality(record.engine.quality).min_free(record.min_free);
    builder = match &record.out {
        Target::Directory(_) => builder.directory(out),
        Target::Recording(_) => builder.file(out).codec(Codec::Kinora),
        Target::Modlib(_) => builder.file(out).codec(Codec::ModlibJson),
    };
    builder = builder.format(if record.engine.raw { Format::Raw } else { Format::Jpeg });
    builder = builder.sync(match record.sync {
        SyncChoice::Every(span) => SyncPolicy::Every(span),
        SyncChoice::EveryFrame => SyncPolicy::EveryFrame,
        SyncChoice::Never => SyncPolicy::Never,
    });
    if let Some(bytes) = record.split_size {
        builder = builder.split_size(bytes);
    }
    if let Some(span) = record.split_time {
        builder = builder.split_time(span);
    }
    if let Some(bytes) = record.keep_size {
        builder = builder.keep_size(bytes);
    }
    builder.create()
}

/// What is recorded, where to, and how to stop.
fn greet(info: &SourceInfo, record: &Record, path: &SharedPath, manner: Manner) {
    let picture = match info.picture {
        Some(picture) => format!("{}x{} {}", picture.width, picture.height, picture.format),
        None => "headless".to_owned(),
    };
    let (n, d) = info.frame_rate;
    let rate = f64::from(n) / f64::from(d.max(1));
    let format = if record.engine.raw { "raw".to_owned() } else { format!("JPEG quality {}", record.engine.quality) };
    manner.remark(format_args!("source   {}, {picture}, {rate:.4} frames/s", info.name));
    match path.get() {
        Some(path) => manner.remark(format_args!("writing  {} ({format})", path.display())),
        None => manner.remark("writing  modlib lines to standard output"),
    }
    manner.remark("stop     Ctrl-C");
}

fn watch(
    mut session: Session,
    record: &Record,
    stop: &Stop,
    path: &SharedPath,
    told: &mut Told,
    notifier: &mut Notifier,
    manner: Manner,
) -> Result<SessionReport, Failure> {
    let mut progress = Progress::new(manner);
    let mut speed = Throughput::default();
    while !session.wait_within(LOOK) {
        told.tell(manner);
        let status = session.status();
        notifier.frames(status.kept, SystemClock.now(), || {
            format!("{} frames, {} lost, {:.1} frames/s", status.kept, status.lost(), status.fps)
        });
        if stop.is_asked() || status.sink_failed {
            break;
        }
        speed.note(status.bytes);
        let directory = path.get().and_then(|path| path.parent().map(Path::to_path_buf));
        let start = told.start();
        if let Some(start) = &start {
            notifier.takes_long(SystemClock.now(), start);
        }
        progress
            .show(|| start.unwrap_or_else(|| line(&status, speed.per_second, directory.as_deref(), record.min_free)));
    }
    progress.finish();
    notifier.stopping();
    let meanwhile = |start: &str| notifier.takes_long(SystemClock.now(), start);
    let report = source::stop_telling(told, manner, meanwhile, || session.stop())?;
    told.tell(manner);
    Ok(report)
}

/// Bytes a second, smoothed over some seconds.
#[derive(Default)]
struct Throughput {
    last: Option<(Instant, u64)>,
    per_second: f64,
}

impl Throughput {
    fn note(&mut self, bytes: u64) {
        let now = Instant::now();
        let Some((then, before)) = self.last else {
            self.last = Some((now, bytes));
            return;
        };
        let seconds = (now - then).as_secs_f64();
        if seconds >= 1.0 {
            let newest = bytes.saturating_sub(before) as f64 / seconds;
            self.per_second = if self.per_second == 0.0 { newest } else { 0.7 * self.per_second + 0.3 * newest };
            self.last = Some((now, bytes));
        }
    }
}

/// `1200 frames  30.0 fps  10.0 dps  0 dropped  ring 2/14  0.93 MB/s  2 d 4 h left`.
fn line(status: &SessionStatus, per_second: f64, directory: Option<&Path>, min_free: u64) -> String {
    let mut text = format!(
        "{} frames  {:.1} fps  {:.1} dps  {} dropped  ring {}/{}  {:.2} MB/s",
        status.kept,
        status.fps,
        status.dps,
        status.lost(),
        status.slots_used,
        status.slots,
        per_second / 1e6
    );
    let free = directory.and_then(|directory| Directory::open(directory).ok()?.free_bytes().ok()?);
    if let Some(free) = free.filter(|_| per_second >= 1.0) {
        let usable = free.saturating_sub(min_free);
        let left = Span::from_s((usable as f64 / per_second).min(1e9) as i64);
        text.push_str(&format!("  {} left on the disk", show_span(left)));
    }
    text
}

/// The schema of `record --json`; see docs/json.md.
#[derive(Serialize)]
struct RecordJson {
    paths: Vec<PathBuf>,
    frames: u64,
    detections: u64,
    dropped: u64,
    dropped_by_cause: std::collections::BTreeMap<&'static str, u64>,
    bytes: u64,
    removed: u64,
    ended: Option<String>,
    source_error: Option<String>,
}

/// Why the recording took no more frames, such as a full disk.
pub fn why_ended(report: &SessionReport) -> Option<String> {
    let SessionReport { summary, sink_error, .. } = report;
    let ended = summary.ended.map(|ended| ended.to_string()).or_else(|| summary.failure.clone());
    ended.or_else(|| sink_error.as_ref().map(ToString::to_string))
}

/// What was recorded, what was lost, and how to play it.
fn finish(report: SessionReport, record: &Record, manner: Manner) -> Result<End, Failure> {
    let ended = why_ended(&report);
    let SessionReport { summary, status, source_error, sink_error } = report;
    let lines = record.out == Target::Modlib(Place::Standard);
    let lost = status.lost().max(summary.dropped);
    let by_cause = Cause::ALL.into_iter().map(|cause| (cause.name(), status.lost_for(cause)));
    if manner.json && !lines {
        let mut results = Results::new();
        results.json(&RecordJson {
            paths: summary.paths.clone(),
            frames: summary.frames,
            detections: summary.detections,
            dropped: lost,
            dropped_by_cause: by_cause.filter(|&(_, count)| count > 0).collect(),
            bytes: summary.bytes,
            removed: summary.removed,
            ended: ended.clone(),
            source_error: source_error.as_ref().map(ToString::to_string),
        })?;
        results.flush()?;
    } else if lines {
        manner.remark(format_args!("{} frames, {}", summary.frames, show_bytes(summary.bytes)));
    } else {
        let mut results = Results::new();
        // Why it ended is a message, below.
        results.line(&Summary { dropped: lost, ended: None, failure: None, ..summary.clone() })?;
        results.flush()?;
        for (cause, count) in by_cause.filter(|&(_, count)| count > 0) {
            manner.warn(format_args!("{count} frames lost: {cause}"));
        }
        if let Some(first) = summary.paths.first().filter(|path| path.extension().is_some_and(|e| e == "kinora")) {
            manner.remark(format_args!("play it  kinora play {}", quoted(first)));
        }
    }
    let reader_gone = sink_error.as_ref().and_then(kinora::Error::io_kind) == Some(std::io::ErrorKind::BrokenPipe);
    match (source_error, ended) {
        (_, Some(_)) if reader_gone => Err(Failure::ReaderGone),
        (Some(error), _) => Err(Failure::Failed(format!("{error}; what was recorded before is whole"))),
        (None, Some(ended)) => {
            manner.warn(ended);
            Ok(End::Lost)
        }
        (None, None) if lost > 0 => Ok(End::Lost),
        (None, None) => Ok(End::Done),
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    // Else it would be taken for an option.
    let text = if text.starts_with('-') { format!("./{text}") } else { text };
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+:,@%".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_type_survives_a_shell() {
        assert_eq!(
            quoted(Path::new("recordings/recording_2026-03-01_12-00-00.kinora")),
            "recordings/recording_2026-03-01_12-00-00.kinora"
        );
        assert_eq!(quoted(Path::new("my file's.kinora")), r"'my file'\''s.kinora'");
        assert_eq!(quoted(Path::new("-x.kinora")), "./-x.kinora");
    }
}
