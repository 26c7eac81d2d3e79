//! `Recorder::redetect`: a recording whose results are made again from its raw metadata.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::Recorder;
use super::derive::Derived;
use crate::error::Result;
use crate::playback::Playback;
use crate::recording::{CopyError, ReadError, Reader};
use crate::sink::Summary;
use crate::slot::{Slot, SlotSizes};
use crate::source::redetector::{Redetected, Redetector};
use crate::source::{CameraOptions, SourceError, bounded};

/// What became of the frames.
#[derive(Clone, Debug)]
pub struct Redetection {
    /// The new recording.
    pub summary: Summary,
    /// Frames with a new result.
    pub results: u64,
    /// Frames for which the sensor had none, which repeat the newest.
    pub repeated: u64,
    /// Frames without raw metadata, which repeat the newest result.
    pub without_raw: u64,
    /// Frames whose raw metadata cannot be read, which repeat the newest result.
    pub broken: u64,
    /// Frames of the original that cannot be read and are left out.
    pub damaged: u64,
    /// The network.
    pub network: String,
    /// Its post-processing.
    pub post: String,
}

impl Recorder {
    /// Makes the results of the recording `original` again from its raw metadata, into the file `target`: pictures, times,
    /// losses, events and sensor bytes stay as they are. `progress` hears of frames done, of all, and may stop it.
    ///
    /// # Errors
    /// The recording cannot be read or has no raw metadata, the network or its post-processing cannot be had, or the target
    /// exists or cannot be made; with the remedy. Or `progress` stopped it.
    pub fn redetect(
        original: impl AsRef<Path>,
        target: impl Into<PathBuf>,
        options: &CameraOptions,
        mut progress: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> Result<Redetection> {
        let (path, target) = (original.as_ref(), target.into());
        let mut redetector = Redetector::of_recording(path, options)?;
        let mut reader = Reader::open(path)?;
        let playback = Playback::open(path)?;
        let mut source = playback.info().clone();
        let (mut side, mut names) = (0, (String::new(), String::new()));
        if let Some(network) = redetector.network() {
            side = network.side_bytes();
            source.network = bounded(network.name());
            source.post = bounded(network.post_name().unwrap_or(""));
            source.labels = network.labels().clone();
            names = (source.network.to_string(), source.post.to_string());
        }
        let mut derived = Self::derive_as(source, playback.events(), &target)?;
        let copied = copy(&mut reader, &mut redetector, &mut derived, side, &mut progress);
        let done = copied.inspect_err(|_| {
            // Half of it would pass for the whole.
            let _ = std::fs::remove_file(&target);
        })?;
        let summary = derived.finish()?;
        Ok(Redetection { summary, network: names.0, post: names.1, ..done })
    }
}

fn copy(
    reader: &mut Reader,
    redetector: &mut Redetector,
    derived: &mut Derived,
    side: usize,
    progress: &mut impl FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<Redetection> {
    let mut slot = Slot::new(&SlotSizes { side, ..SlotSizes::default() });
    let mut done = Redetection {
        summary: Summary::default(),
        results: 0,
        repeated: 0,
        without_raw: 0,
        broken: 0,
        damaged: 0,
        network: String::new(),
        post: String::new(),
    };
    let mut losses = reader.losses()?.into_iter().map(|(_, loss)| loss).peekable();
    let frames = reader.frame_count();
    for index in 0..frames {
        if progress(index, frames).is_break() {
            return Err(CopyError::Stopped.into());
        }
        let frame = match reader.read_frame(index) {
            Ok(frame) => frame,
            Err(ReadError::Damaged { .. } | ReadError::Missing { .. }) => {
                done.damaged += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        slot.reset();
        let outcome = redetector.read(frame.sensor, &mut slot).map_err(|error| SourceError::Other(Box::new(error)))?;
        *match outcome {
            Redetected::Result => &mut done.results,
            Redetected::Repeated => &mut done.repeated,
            Redetected::WithoutRaw => &mut done.without_raw,
            Redetected::Broken => &mut done.broken,
        } += 1;
        while let Some(loss) = losses.next_if(|loss| loss.first_sequence < frame.meta.sequence) {
            derived.loss(&loss)?;
        }
        derived.add_with_side(&frame, &slot.results, slot.frame(None).side)?;
    }
    for loss in losses {
        derived.loss(&loss)?;
    }
    Ok(done)
}
