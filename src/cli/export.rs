//! `kinora export FILE --to json -o OUT`: a recording as modlib's lines.

use std::io::{BufWriter, Write};
use std::path::Path;

use kinora::modlib;
use kinora::recording::Reader;
use serde::Serialize;

use super::command::Place;
use super::compress::Compress;
use super::end::{End, Failure};
use super::open;
use super::output::{Manner, Progress, Results};
use super::stop::Stop;
use super::units::show_bytes;

/// modlib's own quality, for recordings that hold pixels; a JPEG is copied.
const QUALITY: u8 = 95;

/// The schema of `export --json`; see docs/json.md.
#[derive(Serialize)]
struct ExportJson {
    file: String,
    out: String,
    frames: u64,
    damaged: u64,
    bytes: u64,
}

/// Writes every frame that can be read. Losses and bookmarks have no place in modlib's format; the user is told. A file
/// that could not be finished is removed.
pub fn run(file: &Path, out: &Place, manner: Manner) -> Result<End, Failure> {
    let mut reader = open::reader(file)?;
    match out {
        // A signal ends the command at once: there is nothing to clean up, and a reader that is stuck must not hold it.
        Place::Standard => lines(&mut reader, file, Path::new("-"), std::io::stdout().lock(), &Stop::default(), manner),
        Place::File(path) => {
            let stop = Stop::on_signals()?;
            let target = open::create(path)?;
            let written = lines(&mut reader, file, path, target, &stop, manner);
            if written.is_err() {
                // Whatever is wrong, half an export would pass for a whole one.
                let _ = std::fs::remove_file(path);
            }
            written
        }
    }
}

fn lines(
    reader: &mut Reader,
    file: &Path,
    out: &Path,
    target: impl Write,
    stop: &Stop,
    manner: Manner,
) -> Result<End, Failure> {
    let mut target = BufWriter::with_capacity(1 << 20, target);
    let mut compress = Compress::new(QUALITY)?;
    let (mut writer, mut line) = (modlib::Writer::new(), Vec::new());
    let mut sums = ExportJson {
        file: file.display().to_string(),
        out: out.display().to_string(),
        frames: 0,
        damaged: 0,
        bytes: 0,
    };
    let mut progress = Progress::new(manner);
    let frames = reader.frame_count();
    for index in 0..frames {
        if stop.is_asked() {
            return Err(Failure::stopped(out));
        }
        progress.show(|| format!("{index} of {frames} frames"));
        let frame = match reader.read_frame(index) {
            Ok(frame) => frame,
            Err(error) => {
                sums.damaged += 1;
                manner.warn(error);
                continue;
            }
        };
        line.clear();
        let frame = compress.with_jpeg(frame)?;
        writer.write_line(&frame, &mut line).map_err(|error| Failure::Failed(error.to_string()))?;
        target.write_all(&line).map_err(|error| written(error, &sums.out))?;
        sums.frames += 1;
        sums.bytes += line.len() as u64;
    }
    progress.finish();
    target.flush().map_err(|error| written(error, &sums.out))?;
    drop(target);
    tell(&reader.info(), &sums, out == Path::new("-"), manner)?;
    Ok(if sums.damaged > 0 { End::Lost } else { End::Done })
}

fn written(error: std::io::Error, name: &str) -> Failure {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::ReaderGone,
        _ => Failure::Failed(format!("cannot write {name}: {error}")),
    }
}

/// With the lines on standard output, the summary goes to standard error.
fn tell(
    info: &kinora::recording::Info,
    sums: &ExportJson,
    lines_on_stdout: bool,
    manner: Manner,
) -> Result<(), Failure> {
    if info.losses > 0 || info.events > 0 {
        manner.remark(format_args!(
            "{} drops and {} events stay behind: modlib's format has no place for them",
            info.dropped, info.events
        ));
    }
    if manner.json && !lines_on_stdout {
        let mut results = Results::new();
        results.json(sums)?;
        results.flush()?;
    } else {
        manner.remark(format_args!("{}: {} frames, {}", sums.out, sums.frames, show_bytes(sums.bytes)));
    }
    Ok(())
}
