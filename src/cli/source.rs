//! The source and the engine that a command asks for.

use kinora::SourceOptions;
use kinora::jpeg_header::JpegOptions;
use kinora::thread::ThreadSettings;
use kinora::{Capture, PictureFormat, Settings};

use super::command::{EngineChoice, SourceChoice};
use super::end::Failure;

/// Opens the source, without starting it. A name that names nothing is a usage error.
pub fn open(choice: &SourceChoice) -> Result<Capture, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Usage(format!("--source: {error}"));
    let parsed: kinora::SourceChoice = choice.name.parse().map_err(|error| wrong(&error))?;
    let options = SourceOptions { size: Some(choice.size), frame_rate: Some(choice.fps), ..SourceOptions::default() };
    let opened = parsed.open(&options)?;
    Ok(Capture::new(opened))
}

/// The engine's settings.
pub fn engine(choice: &EngineChoice) -> Settings {
    let thread = ThreadSettings { cpus: choice.cpus.clone(), ..ThreadSettings::default() };
    let defaults = Settings::default();
    Settings {
        ring_depth: choice.ring,
        encoders: choice.encoders.unwrap_or(defaults.encoders),
        format: match choice.raw {
            true => PictureFormat::Raw,
            false => PictureFormat::Jpeg(JpegOptions { quality: choice.quality, ..JpegOptions::default() }),
        },
        capture_thread: ThreadSettings { rt_priority: choice.rt_priority, ..thread.clone() },
        encoder_threads: thread.clone(),
        sink_thread: thread,
        lock_memory: choice.lock_memory,
        ..defaults
    }
}
