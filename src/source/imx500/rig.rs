//! Everything that is set up between the sensor and us for one stream: links, formats, controls, buffers; and taken down
//! again, so that the next program finds what we found.

use std::io;
use std::path::{Path, PathBuf};

use v4l::FourCC;

use super::control::set_network;
use super::discover::{Found, graph_of};
use super::ids;
use super::timing::SensorMode;
use crate::imx500::InferenceWindow;
use crate::imx500::picture::{BayerOrder, RawFormat};
use crate::media::{Graph, LinkChange, restore};
use crate::source::SourceError;
use crate::source::v4l2::{fourcc_text, refused};
use crate::sys::media::{BusFormat, MediaDevice, Subdevice};
use crate::sys::v4l2::{Buffers, Kind, Node, PixFormat};

/// Buffers of each queue: two may wait for their other half, one is in our hand, three are the driver's.
const BUFFERS: u32 = 6;
const BUFFERS_MIN: usize = 3;

/// What is to be set.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The network's package and the bytes of a metadata buffer with it.
    pub network: Option<(PathBuf, usize)>,
    /// The sensor's mode.
    pub mode: SensorMode,
    /// Lines between pictures.
    pub vblank: u32,
    /// Mirrored.
    pub hflip: bool,
    /// Upside down.
    pub vflip: bool,
    /// What the network sees.
    pub window: InferenceWindow,
    /// Lines and gain code of the first frames.
    pub exposure: (u32, u32),
    /// White balance of the network's picture.
    pub notify_gains: [u32; 4],
}

impl Wanted {
    /// Order of the colours with these flips.
    pub const fn order(&self) -> BayerOrder {
        BayerOrder::of_flips(self.hflip, self.vflip)
    }
}

/// A stream that is ready to be switched on. Dropping it stops both queues, then puts the links back.
pub struct Rig {
    /// Pictures.
    pub image: Buffers,
    /// Metadata.
    pub metadata: Buffers,
    /// The sensor.
    pub sensor: Subdevice,
    /// Shape of the raw pictures.
    pub raw: RawFormat,
    /// What the network will see, as the driver has it.
    pub window: InferenceWindow,
    /// Lines between pictures, as the driver has it.
    pub vblank: u32,
    // Last: only after the streams are off.
    _links: Links,
}

/// The links as they were.
struct Links {
    media: MediaDevice,
    before: Graph,
}

impl Links {
    fn set(found: &Found) -> Result<Self, SourceError> {
        let path = &found.media;
        let media = MediaDevice::open(path).map_err(|error| refused("open", path, error))?;
        let before = graph_of(&media).map_err(|error| refused("ask the graph of", path, error))?;
        let changes = found.pipeline.changes(&before);
        let links = Self { media, before };
        for change in &changes {
            links.change(change).map_err(|error| refused("set a link of", path, error))?;
        }
        Ok(links)
    }

    fn change(&self, change: &LinkChange) -> io::Result<()> {
        self.media.set_link(change)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // Errors mean that the device is gone, or that somebody streams through a link already: then it is theirs.
        let Ok(now) = graph_of(&self.media) else { return };
        for change in restore(&self.before, &now) {
            let _ = self.change(&change);
        }
    }
}

impl Rig {
    /// Sets everything up. The network goes first: the size of a metadata buffer depends on it.
    ///
    /// # Errors
    /// A node cannot be used (in use, no rights, gone), or the driver does not take what it should; with the remedy.
    pub fn build(found: &Found, wanted: &Wanted) -> Result<Self, SourceError> {
        let links = Links::set(found)?;
        let path = &found.sensor;
        let sensor = Subdevice::open(path).map_err(|error| refused("open", path, error))?;
        let order = wanted.order();
        // They change the order of colours, so they come before the formats.
        for (id, on) in [(ids::HFLIP, wanted.hflip), (ids::VFLIP, wanted.vflip)] {
            sensor.set_value(id, i32::from(on)).map_err(|error| refused("set the flips of", path, error))?;
        }
        if let Some((package, _)) = &wanted.network {
            set_network(&sensor, package).map_err(|error| network_refused(path, package, error))?;
        }
        let frame = BusFormat { width: wanted.mode.width, height: wanted.mode.height, code: ids::bus_code(order) };
        let set = sensor.set_format(0, frame).map_err(|error| refused("set the format of", path, error))?;
        expect(path, "the sensor", frame, set)?;
        let lines = sensor.format(1).map_err(|error| refused("ask the metadata format of", path, error))?;
        let bytes = check_metadata(path, lines, wanted)?;
        if let Some(bridge) = &found.bridge {
            set_bridge(bridge, frame, lines)?;
        }
        let (image, raw) = open_image(found, wanted, order)?;
        let metadata = open_metadata(&found.metadata, bytes)?;
        let (window, vblank) = set_controls(&sensor, path, wanted)?;
        let image = buffers(&image, &found.image, Kind::Pictures)?;
        let metadata = buffers(&metadata, &found.metadata, Kind::Metadata)?;
        Ok(Self { image, metadata, sensor, raw, window, vblank, _links: links })
    }
}

fn network_refused(sensor: &Path, package: &Path, error: io::Error) -> SourceError {
    match error.raw_os_error() {
        Some(libc::EINVAL) => SourceError::Unavailable(format!(
            "{}: this kernel's driver takes no network; update Raspberry Pi OS (`sudo apt full-upgrade`), then reboot",
            sensor.display()
        )),
        Some(libc::ENOENT | libc::EACCES) => SourceError::Unavailable(format!("{}: {error}", package.display())),
        _ => refused("set the network of", sensor, error),
    }
}

fn expect(path: &Path, whose: &str, wanted: BusFormat, got: BusFormat) -> Result<(), SourceError> {
    if wanted == got {
        return Ok(());
    }
    let text = |f: BusFormat| format!("{}x{} {:#06x}", f.width, f.height, f.code);
    Err(SourceError::Unavailable(format!(
        "{}: {whose} was to be set to {} and says {}; update Raspberry Pi OS (`sudo apt full-upgrade`), then reboot",
        path.display(),
        text(wanted),
        text(got)
    )))
}

/// Bytes of a metadata buffer; with a network the package must say the same.
fn check_metadata(path: &Path, lines: BusFormat, wanted: &Wanted) -> Result<u32, SourceError> {
    let bytes = u64::from(lines.width) * u64::from(lines.height);
    let expected = wanted.network.as_ref().map(|(_, bytes)| *bytes as u64);
    if lines.code == ids::SENSOR_DATA && expected.is_none_or(|expected| expected == bytes) && bytes <= 1 << 24 {
        return Ok(bytes as u32);
    }
    let expected = expected.map(|bytes| format!(", the network's package says {bytes}")).unwrap_or_default();
    Err(SourceError::Unavailable(format!(
        "{}: the driver announces metadata of {bytes} bytes (code {:#06x}){expected}; is the package the one that the \
         camera got?",
        path.display(),
        lines.code
    )))
}

/// The receiver's own pads: 0 and 1 are set and go through to 4 and 5.
fn set_bridge(path: &Path, frame: BusFormat, lines: BusFormat) -> Result<(), SourceError> {
    let bridge = Subdevice::open(path).map_err(|error| refused("open", path, error))?;
    for (pad, through, wanted) in [(0, 4, frame), (1, 5, lines)] {
        let set = bridge.set_format(pad, wanted).map_err(|error| refused("set the format of", path, error))?;
        expect(path, "the receiver", wanted, set)?;
        let out = bridge.format(through).map_err(|error| refused("ask the format of", path, error))?;
        if out != wanted {
            let set = bridge.set_format(through, wanted);
            expect(path, "the receiver", wanted, set.map_err(|error| refused("set the format of", path, error))?)?;
        }
    }
    Ok(())
}

fn open_image(found: &Found, wanted: &Wanted, order: BayerOrder) -> Result<(Node, RawFormat), SourceError> {
    let path = &found.image;
    let node = Node::open(path).map_err(|error| refused("open", path, error))?;
    let SensorMode { width, height, .. } = wanted.mode;
    let mut answers = Vec::new();
    for (fourcc, packing) in ids::pixel_formats(found.pipeline.receiver, order) {
        let fourcc = FourCC { repr: fourcc };
        let set = node.set_format(fourcc, width, height).map_err(|error| refused("set the format of", path, error))?;
        let raw = RawFormat { width, height, stride: set.stride, packing, order };
        let fits = set.stride as usize >= raw.row_bytes() && set.size as usize >= raw.bytes();
        if (set.fourcc, set.width, set.height) == (fourcc, width, height) && fits {
            return Ok((node, raw));
        }
        let PixFormat { fourcc, width, height, stride, .. } = set;
        answers.push(format!("{width}x{height} {} in rows of {stride} bytes", fourcc_text(fourcc)));
    }
    Err(SourceError::Unavailable(format!(
        "{}: asked for {width}x{height} RAW10, the receiver offers {}",
        path.display(),
        answers.join(" and ")
    )))
}

fn open_metadata(path: &Path, bytes: u32) -> Result<Node, SourceError> {
    let node = Node::open(path).map_err(|error| refused("open", path, error))?;
    let fourcc = FourCC { repr: ids::METADATA_FORMAT };
    let set = node.set_metadata_format(fourcc, bytes).map_err(|error| refused("set the format of", path, error))?;
    match set {
        (format, size) if format == fourcc && size >= bytes => Ok(node),
        (format, size) => Err(SourceError::Unavailable(format!(
            "{}: asked for SENS buffers of {bytes} bytes, the receiver offers {} of {size}",
            path.display(),
            fourcc_text(format)
        ))),
    }
}

/// Frame rate before exposure, whose limit it moves. Returns the window and VBLANK that the driver made of it.
fn set_controls(sensor: &Subdevice, path: &Path, wanted: &Wanted) -> Result<(InferenceWindow, u32), SourceError> {
    let set =
        |id, value: u32, doing: &str| sensor.set_value(id, value as i32).map_err(|error| refused(doing, path, error));
    set(ids::VBLANK, wanted.vblank, "set the frame rate of")?;
    set(ids::EXPOSURE, wanted.exposure.0, "set the exposure of")?;
    set(ids::ANALOGUE_GAIN, wanted.exposure.1, "set the gain of")?;
    let vblank = sensor.value(ids::VBLANK).map_err(|error| refused("ask the frame rate of", path, error))?;
    // Older drivers lack it; then the network sees unbalanced colours.
    let _ = sensor.set_values(ids::NOTIFY_GAINS, wanted.notify_gains);
    let InferenceWindow { left, top, width, height } = wanted.window;
    let window = match sensor.set_values(ids::INFERENCE_WINDOW, [left, top, width, height]) {
        Ok(()) => sensor.values(ids::INFERENCE_WINDOW).map_err(|error| refused("ask the window of", path, error))?,
        // Without a network nobody looks.
        Err(_) if wanted.network.is_none() => [0; 4],
        Err(error) => return Err(refused("set the inference window of", path, error)),
    };
    let [left, top, width, height] = window;
    Ok((InferenceWindow { left, top, width, height }, vblank.max(0) as u32))
}

fn buffers(node: &Node, path: &Path, kind: Kind) -> Result<Buffers, SourceError> {
    let mut buffers = Buffers::new(node, kind, BUFFERS).map_err(|error| match error.raw_os_error() {
        Some(libc::ENOMEM) => SourceError::Unavailable(format!(
            "{}: no memory for {BUFFERS} buffers; raise the contiguous memory with `dtoverlay=cma,cma-128` in config.txt, \
             then reboot",
            path.display()
        )),
        _ => refused("map the buffers of", path, error),
    })?;
    if buffers.count() < BUFFERS_MIN {
        let count = buffers.count();
        let why = format!("the driver has memory for {count} buffers, at least {BUFFERS_MIN} are needed");
        return Err(SourceError::Unavailable(format!("{}: {why}", path.display())));
    }
    buffers.queue_all().map_err(|error| refused("queue the buffers of", path, error))?;
    Ok(buffers)
}
