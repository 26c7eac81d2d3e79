//! The source and the engine that a command asks for.

use kinora::SourceOptions;
use kinora::jpeg_header::JpegOptions;
use kinora::source::{Remarks, Source as _, StartProgress};
use kinora::thread::ThreadSettings;
use kinora::watchdog::WatchdogSettings;
use kinora::{Capture, PictureFormat, Settings};

use super::command::{EngineChoice, SourceChoice};
use super::end::Failure;
use super::output::Manner;

/// Broken places that are told one by one.
const TOLD_MAX: usize = 20;

/// Opens the source, without starting it.
pub fn open(choice: &SourceChoice) -> Result<Capture, Failure> {
    open_telling(choice).map(|(capture, _)| capture)
}

/// Opens the source, and takes what it has to say about broken input.
pub fn open_telling(choice: &SourceChoice) -> Result<(Capture, Told), Failure> {
    let options = SourceOptions {
        size: choice.size,
        frame_rate: choice.fps,
        camera: choice.camera.clone(),
        faults: choice.faults,
        ..SourceOptions::default()
    };
    let mut opened = choice.named.open(&options)?;
    let (remarks, advice, progress) = (opened.remarks(), opened.advice(), opened.progress());
    let told = Told { remarks, count: 0, advice, progress };
    Ok((Capture::new(opened), told))
}

/// What a source has to say: broken places of its input, as they turn up, and what its start is at.
pub struct Told {
    remarks: Option<Remarks>,
    count: usize,
    advice: Option<String>,
    progress: Option<StartProgress>,
}

impl Told {
    /// Warns of what turned up since the last call.
    pub fn tell(&mut self, manner: Manner) {
        if let Some(advice) = self.advice.take() {
            manner.warn(advice);
        }
        for remark in self.remarks.iter_mut().flatten() {
            self.count += 1;
            if self.count <= TOLD_MAX {
                manner.warn(remark);
            }
        }
    }

    /// What the start is at, while it takes long.
    pub fn start(&mut self) -> Option<String> {
        self.progress.as_mut().and_then(|progress| progress())
    }

    /// Places that were broken.
    pub const fn count(&self) -> usize {
        self.count
    }
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
        watchdog: WatchdogSettings { start_timeout: choice.start_timeout, ..defaults.watchdog },
        ..defaults
    }
}
