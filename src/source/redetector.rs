//! Results made again from the sensor's bytes in a recording: a recording with raw metadata is a camera.
//!
//! What is needed stands in the recording: the tensors' description in every header, the post-processing's name and the
//! labels in its session. A package or options say more, or otherwise.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::metadata::{MetadataReader, Part};
use super::{CameraOptions, Filled, Remarks, Source, SourceError, SourceInfo, bounded};
use crate::imx500::{Kept, Layout, Network, Parser};
use crate::ledger::{Cause, Loss};
use crate::recording::{OpenError, Reader};
use crate::slot::{Slot, TooBig};
use crate::time::{ClockPair, Span};

/// What became of one frame's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redetected {
    /// A new result.
    Result,
    /// The sensor had no new result; the newest is repeated.
    Repeated,
    /// The frame has no raw metadata; the newest result is repeated.
    WithoutRaw,
    /// Its raw metadata cannot be read; the newest result is repeated.
    Broken,
}

/// Makes results of raw metadata, frame after frame in the order of the recording.
pub struct Redetector {
    reader: MetadataReader,
}

impl Redetector {
    /// With this network.
    pub fn new(network: Network) -> Self {
        // Each frame's bytes say their layout themselves.
        let layout = Layout { width: 2028, strided: true };
        Self { reader: MetadataReader::new(layout, Some(network), None, false) }
    }

    /// With the network that recorded `path`, and what the options say otherwise.
    ///
    /// # Errors
    /// The recording cannot be read or has no raw metadata, or the network or its post-processing cannot be had; with the
    /// remedy.
    pub fn of_recording(path: &Path, options: &CameraOptions) -> Result<Self, SourceError> {
        Ok(Self::new(network_of(path, options)?))
    }

    /// The network.
    pub fn network(&self) -> Option<&Network> {
        self.reader.network()
    }

    /// Puts the results of `section` (a frame's raw metadata, or nothing) into `slot`, whose results and side plane are empty.
    ///
    /// # Errors
    /// The slot's side plane is too small.
    pub fn read(&mut self, section: &[u8], slot: &mut Slot) -> Result<Redetected, TooBig> {
        if section.is_empty() {
            self.reader.repeat_last(slot)?;
            return Ok(Redetected::WithoutRaw);
        }
        let Ok(kept) = Kept::parse(section) else {
            self.reader.repeat_last(slot)?;
            return Ok(Redetected::Broken);
        };
        Ok(match self.reader.read_kept(&kept, slot)?.network {
            Part::Result => Redetected::Result,
            Part::Broken(_) => Redetected::Broken,
            Part::None | Part::Blank | Part::NoResult => Redetected::Repeated,
        })
    }
}

/// A recording as a camera: its frames, with results made again from their raw metadata.
pub struct Redetecting<S> {
    source: S,
    info: SourceInfo,
    redetector: Redetector,
    section: Vec<u8>,
    /// Bytes of a frame could not be read; for whoever tells people.
    broken: Arc<AtomicBool>,
}

impl<S: Source> Redetecting<S> {
    /// The frames of `source`, with results by `redetector`.
    pub fn new(source: S, redetector: Redetector) -> Self {
        let mut info = source.describe().clone();
        if let Some(network) = redetector.network() {
            info.side_bytes_max = info.side_bytes_max.max(network.side_bytes());
            info.network = bounded(network.name());
            info.post = bounded(network.post_name().unwrap_or(""));
            info.labels = network.labels().clone();
        }
        let section = Vec::with_capacity(info.sensor_bytes_max);
        Self { source, info, redetector, section, broken: Arc::default() }
    }
}

impl<S: Source> Source for Redetecting<S> {
    fn describe(&self) -> &SourceInfo {
        &self.info
    }

    fn start(&mut self, now: ClockPair) -> Result<(), SourceError> {
        self.source.start(now)
    }

    fn fill(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError> {
        let filled = self.source.fill(slot, wait)?;
        if filled != Filled::Frame {
            return Ok(filled);
        }
        self.section.clear();
        self.section.extend_from_slice(slot.frame(None).sensor);
        // What the frame says of itself stays: the sensor's counter, whether its result is new, the region.
        let meta = slot.meta.clone();
        slot.clear_results();
        let read = self.redetector.read(&self.section, slot);
        slot.meta = meta;
        Ok(match read {
            Ok(redetected) => {
                if redetected == Redetected::Broken {
                    self.broken.store(true, Ordering::Relaxed);
                }
                Filled::Frame
            }
            Err(_) => Filled::Lost(Loss::one(Cause::TooBig, slot.meta.sequence, slot.meta.captured_at)),
        })
    }

    fn stop(&mut self) {
        self.source.stop();
    }

    fn remarks(&mut self) -> Option<Remarks> {
        let (broken, network) = (Arc::clone(&self.broken), self.info.network.clone());
        let mut is_told = false;
        let mut unread = std::iter::from_fn(move || {
            let is_news = !is_told && broken.load(Ordering::Relaxed);
            is_told |= is_news;
            is_news.then(|| {
                format!(
                    "raw metadata of some frames cannot be read with network {network}; they repeat the result before"
                )
            })
        });
        let mut others = self.source.remarks();
        Some(Box::new(std::iter::from_fn(move || others.as_mut().and_then(Iterator::next).or_else(|| unread.next()))))
    }
}

/// Frames that are looked at for raw metadata.
const LOOKED_AT: u64 = 256;

/// True when a recording has raw metadata in one of its first frames.
pub fn has_raw_metadata(path: &Path) -> bool {
    Reader::open(path).is_ok_and(|mut reader| params_of(&mut reader, LOOKED_AT).is_some())
}

fn network_of(path: &Path, options: &CameraOptions) -> Result<Network, SourceError> {
    let name = path.display();
    let unavailable = |text: String| SourceError::Unavailable(text);
    if let Some(network) = &options.network {
        let network = Network::open_named(network).map_err(|error| unavailable(error.to_string()))?;
        return with_post(options.equip(network)?);
    }
    let mut reader = Reader::open(path).map_err(|error| match error {
        // The system's own answers name the file already.
        OpenError::Io { .. } => unavailable(error.to_string()),
        _ => unavailable(format!("{name}: {error}")),
    })?;
    let params = params_of(&mut reader, u64::MAX).ok_or_else(|| {
        unavailable(format!("{name} has no raw metadata of an IMX500; record with --raw-metadata to have it"))
    })?;
    let header = reader.header();
    let network = Network::described(&header.network, &params);
    let network = network.map_err(|error| unavailable(format!("{name}: the recorded network: {error}")))?;
    let mut network = network.with_labels(header.labels.clone());
    if options.post.is_none() && !header.post.is_empty() {
        let unnamed = |why: String| {
            unavailable(format!("{name}: its post-processing `{}`: {why}; give --network or --post", header.post))
        };
        let post = header.post.parse().map_err(|_| unnamed("has no name of its own".into()))?;
        network = network.post(post).map_err(|error| unnamed(error.to_string()))?.with_labels(header.labels.clone());
    }
    let labels = header.labels.clone();
    let mut network = options.equip(network)?;
    if options.labels.is_none() && !labels.is_empty() {
        // Naming a post-processing names the classes anew, by a package that is not there.
        network = network.with_labels(labels);
    }
    with_post(network)
}

fn with_post(network: Network) -> Result<Network, SourceError> {
    match network.no_post() {
        Some(why) => Err(SourceError::Unavailable(format!("network {}: {why} with --post", network.name()))),
        None => Ok(network),
    }
}

/// apParams of the first frame whose headers can be read.
fn params_of(reader: &mut Reader, frames: u64) -> Option<Vec<u8>> {
    (0..reader.frame_count().min(frames)).find_map(|index| {
        let frame = reader.read_frame(index).ok()?;
        let kept = Kept::parse(frame.sensor).ok()?;
        let mut parser = Parser::new(kept.layout);
        let inference = parser.kept(&kept).ok()??;
        Some(inference.input_header.params.to_vec())
    })
}
