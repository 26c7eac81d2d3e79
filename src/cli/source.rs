//! The source and the engine that a command asks for.

use std::time::Duration;

use kinora::SourceOptions;
use kinora::jpeg_header::JpegOptions;
use kinora::source::{Remarks, Source as _, StartProgress};
use kinora::thread::ThreadSettings;
use kinora::watchdog::WatchdogSettings;
use kinora::{Capture, PictureFormat, Settings};

use super::command::{EngineChoice, SourceChoice};
use super::end::Failure;
use super::output::{Manner, Progress};

/// How often it is looked at what a start is at.
const LOOK: Duration = Duration::from_millis(100);
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
    let (remarks, progress) = (opened.remarks(), opened.progress());
    let unheeded = choice.named.unheeded(&options, opened.describe());
    let unheeded = (!unheeded.is_empty()).then(|| {
        let (name, unheeded) = (&opened.describe().name, unheeded.join(", "));
        format!("{name} does not heed {unheeded}: they are for a live IMX500, those of results also for recordings with raw metadata")
    });
    let advice = unheeded.into_iter().chain(opened.advice()).collect();
    let told = Told { remarks, count: 0, advice, progress };
    Ok((Capture::new(opened), told))
}

/// What a source has to say: broken places of its input, as they turn up, and what its start is at.
pub struct Told {
    remarks: Option<Remarks>,
    count: usize,
    advice: Vec<String>,
    progress: Option<StartProgress>,
}

impl Told {
    /// Warns of what turned up since the last call.
    pub fn tell(&mut self, manner: Manner) {
        self.say(|text| manner.warn(text));
    }

    /// Hands on what turned up since the last call.
    pub fn say(&mut self, mut say: impl FnMut(String)) {
        for advice in self.advice.drain(..) {
            say(advice);
        }
        for remark in self.remarks.iter_mut().flatten() {
            self.count += 1;
            if self.count <= TOLD_MAX {
                say(remark);
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

/// Runs `stop`, which waits for a start that cannot be broken off, as the upload of a network; what it waits for is told, and
/// `meanwhile` is called with it.
pub fn stop_telling<T: Send>(
    told: &mut Told,
    manner: Manner,
    mut meanwhile: impl FnMut(&str),
    stop: impl FnOnce() -> T + Send,
) -> T {
    let waiter = std::thread::current();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(move || {
            let stopped = stop();
            waiter.unpark();
            stopped
        });
        let mut progress = None;
        while !stopping.is_finished() {
            if let Some(line) = told.start() {
                let progress = progress.get_or_insert_with(|| {
                    manner.warn(format_args!(
                        "{line}: the driver cannot break that off; this ends after it, with the camera as it was found"
                    ));
                    Progress::new(manner)
                });
                meanwhile(&line);
                progress.show(|| line);
            }
            std::thread::park_timeout(LOOK);
        }
        if let Some(mut progress) = progress {
            progress.finish();
        }
        stopping.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_stop_that_waits_for_a_start_tells_what_that_is_at_until_it_is_over() {
        let asked = Arc::new(AtomicU32::new(0));
        let looks = Arc::clone(&asked);
        let progress: StartProgress = Box::new(move || {
            let look = looks.fetch_add(1, Ordering::SeqCst);
            (look < 3).then(|| format!("upload {look}"))
        });
        let mut told = Told { remarks: None, count: 0, advice: Vec::new(), progress: Some(progress) };
        let mut lines = Vec::new();
        let manner = Manner { json: false, quiet: true, colour: false };
        let ended = stop_telling(
            &mut told,
            manner,
            |line| lines.push(line.to_owned()),
            || {
                while asked.load(Ordering::SeqCst) < 5 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                "stopped"
            },
        );
        assert_eq!((ended, lines), ("stopped", ["upload 0", "upload 1", "upload 2"].map(String::from).into()));
    }
}
