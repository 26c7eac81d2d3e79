//! `kinora import IN -o OUT`: modlib's `.json` and `.pkl` as a recording.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;

use jiff::tz::TimeZone;
use kinora::modlib::{Broken, Format, Import, Imported, LINE_BYTES_MAX};
use kinora::playback::Playback;
use kinora::recorder::{self, Recorder};
use kinora::recording::format::FRONT_MAGIC;
use kinora::slot::{Slot, SlotSizes};
use kinora::source::SourceInfo;
use kinora::{Added, ClockPair, Summary};
use serde::Serialize;

use super::command::Place;
use super::end::{End, Failure};
use super::open;
use super::output::{Manner, Progress, Results};
use super::stop::Stop;

/// The schema of `import --json`; see docs/json.md.
#[derive(Serialize)]
struct ImportJson {
    file: String,
    out: String,
    frames: u64,
    detections: u64,
    bytes: u64,
    broken: Vec<BrokenJson>,
    broken_count: u64,
    ended: Option<String>,
}

#[derive(Serialize)]
struct BrokenJson {
    line: u64,
    byte: u64,
    reason: String,
}

/// Broken lines that are listed, and those that are told on the way; more are only counted.
const LISTED_MAX: usize = 10_000;
const TOLD_MAX: u64 = 20;

/// Takes over every frame that is whole and lists the others.
pub fn run(file: &Place, out: &Path, min_free: u64, manner: Manner) -> Result<End, Failure> {
    let stop = Stop::on_signals()?;
    let target = Target { out, min_free };
    match file {
        Place::File(path) => {
            open::no_directory(path)?;
            let name = path.display().to_string();
            let opened = || File::open(path).map_err(Failure::io(format!("cannot open {name}")));
            let start = first_bytes(opened()?).map_err(Failure::io(&name))?;
            if start == FRONT_MAGIC {
                return Err(Failure::Failed(format!(
                    "{name} is a .kinora recording already; to copy it use cp or cut"
                )));
            }
            let format = Format::of(&start);
            // One pass finds how large frames are, the next one takes them over.
            let sizes = Playback::open(path)?.info().clone();
            let import = Import::new(stop.ending(opened()?), format, TimeZone::system(), LINE_BYTES_MAX);
            frames(import, &name, &sizes, &target, &stop, manner)
        }
        Place::Standard => {
            // Not through Rust's own buffer, which a wait for the descriptor knows nothing of.
            let input = io::stdin().as_fd().try_clone_to_owned().map_err(Failure::io("cannot use standard input"))?;
            let import = Import::new(stop.ending(File::from(input)), Format::Json, TimeZone::system(), LINE_BYTES_MAX);
            frames(import, "-", &of_stream(), &target, &stop, manner)
        }
    }
}

/// The recording to be made.
struct Target<'a> {
    out: &'a Path,
    /// Bytes of the disk that stay free.
    min_free: u64,
}

fn first_bytes(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(8).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Nobody knows how large the frames of a stream will be: room for JPEG of 8 MiB and masks of 4 MiB. What is larger is listed.
fn of_stream() -> SourceInfo {
    let mut info = SourceInfo::new("-");
    (info.live, info.jpeg_bytes_max, info.side_bytes_max) = (false, 8 << 20, 4 << 20);
    info
}

fn frames<R: Read>(
    mut import: Import<R>,
    name: &str,
    info: &SourceInfo,
    target: &Target<'_>,
    stop: &Stop,
    manner: Manner,
) -> Result<End, Failure> {
    let sizes = SlotSizes { jpeg: info.jpeg_bytes_max, side: info.side_bytes_max, ..SlotSizes::default() };
    let mut slot = Slot::new(&sizes);
    let (mut recorder, mut ended) = (None, None);
    let (mut broken, mut broken_count) = (Vec::new(), 0);
    let mut progress = Progress::new(manner);
    loop {
        if stop.is_asked() {
            ended = Some("stopped; what came after was not taken over".to_owned());
            break;
        }
        slot.reset();
        match import.next(&mut slot).map_err(Failure::io(name))? {
            Imported::End if stop.is_asked() => {}
            Imported::End => break,
            // A line that was cut short by the stop, and is told as such.
            Imported::Broken(_) if stop.is_asked() => {}
            Imported::Broken(Broken { line, byte, defect }) => {
                broken_count += 1;
                let reason = defect.reason.to_string();
                if broken_count <= TOLD_MAX {
                    manner.warn(format_args!("{name}: line {line}, byte {byte}: {reason}"));
                }
                if broken.len() < LISTED_MAX {
                    broken.push(BrokenJson { line, byte, reason });
                }
            }
            Imported::Frame => {
                let frame = slot.frame(None);
                let clock = ClockPair { monotonic: frame.meta.captured_at, wall: frame.meta.captured_wall };
                let recorder = match &mut recorder {
                    Some(recorder) => recorder,
                    empty => empty.insert(begin(info, clock, target)?),
                };
                match recorder.add(&frame)? {
                    Added::Kept => {}
                    Added::Lost(cause) => {
                        return Err(Failure::Failed(format!("line {}: lost: {cause}", import.line())));
                    }
                    Added::Ended(why) => {
                        ended = Some(why.to_string());
                        break;
                    }
                }
                progress.show(|| format!("{} frames", recorder.frames()));
            }
        }
    }
    progress.finish();
    let Some(mut recorder) = recorder else {
        let why = if stop.is_asked() { "stopped before a frame came" } else { "no frame in it" };
        return Err(Failure::Failed(format!("{name}: {why}; {} was not made", target.out.display())));
    };
    let summary = recorder.finish()?;
    let sums = ImportJson {
        file: name.to_owned(),
        out: target.out.display().to_string(),
        frames: summary.frames,
        detections: summary.detections,
        bytes: summary.bytes,
        broken,
        broken_count,
        ended,
    };
    let mut results = Results::new();
    if manner.json {
        results.json(&sums)?;
    } else {
        // Why it ended is a message, below.
        results.line(&Summary { ended: None, ..summary })?;
    }
    results.flush()?;
    if broken_count > 0 {
        manner.warn(format_args!("{broken_count} broken lines were left out"));
    }
    if let Some(ended) = &sums.ended {
        manner.warn(format_args!("{name}: {ended}"));
    }
    Ok(if broken_count > 0 || sums.ended.is_some() { End::Lost } else { End::Done })
}

fn begin(info: &SourceInfo, clock: ClockPair, target: &Target<'_>) -> Result<Recorder, Failure> {
    let info = SourceInfo { recorded_clock: Some(clock), ..info.clone() };
    let builder = Recorder::builder().file(target.out).codec(recorder::Codec::Kinora).source(&info);
    builder.min_free(target.min_free).create().map_err(|error| recorder_failure(error, target.out))
}

/// A file that exists says so in our words.
pub fn recorder_failure(error: kinora::Error, out: &Path) -> Failure {
    match error.io_kind() {
        Some(io::ErrorKind::AlreadyExists) => Failure::exists(out),
        _ => error.into(),
    }
}
