//! Sony's IMX500 behind the Raspberry Pi's receivers, without libcamera: network in, pictures and results out.
//!
//! ```text
//! open:  media graph ─► sensor, nodes; package ─► all sizes (known before the first frame)
//! start: links, network, formats, controls, buffers ─► a thread uploads the network and switches the streams on
//! fill:  poll both queues ─► halves of a frame by number and time ─► metadata ─► results; raw picture ─► RGB
//!        └► every buffer back to its driver as soon as it was read; exposure and white balance to the sensor's thread
//! stop:  streams off, links as they were found
//! ```
//!
//! An upload takes seconds to minutes, during which [`fill`](Source::fill) says that nothing came and
//! [`progress`](Source::progress) says how far it is. The driver cannot break an upload off: stopping waits for its end.
//! A half whose other half was lost is a frame of its own, and the missing half is in the ledger.

mod control;
mod discover;
mod ids;

mod picture;
mod rig;
mod stream;
mod timing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use self::control::{Control, Refused};
pub use self::discover::{Facts, Found, Search, search};

use self::picture::{Fixed, Loops, PictureMaker};
use self::rig::{Rig, Wanted};
use self::stream::{BLANK_FRAMES_MAX, Frames, HELD_MAX, Stream, Told};
use self::timing::gain_code;
pub use self::timing::{BINNED, FULL, SensorMode};
use crate::clock::SystemClock;
use crate::frame::PictureInfo;
use crate::imx500::picture::{Exposure, Gains, RawFormat, RawPacking, SIZES, WhiteBalance};
use crate::imx500::{Form, InferenceWindow, Layout, Network, REGISTER_BYTES_MAX};
use crate::networks;
use crate::pairing::{Pairing, Side};
use crate::slot::Slot;
use crate::source::metadata::MetadataReader;
use crate::source::v4l2::{Counter, refused};
use crate::source::{
    CameraOptions, Filled, PictureSource, RawMetadata, Remarks, Source, SourceError, SourceInfo, StartProgress,
    advice_on, bounded,
};
use crate::sys::v4l2::wait_for;
use crate::time::{Clock, ClockPair, Span};

/// Boards with less memory show what the network saw: 3.9 MB raw pictures do not fit beside everything else.
const SMALL_BOARD_BYTES: u64 = 700 << 20;

/// How to use the camera.
#[derive(Clone, Debug, Default)]
pub struct Imx500Options {
    /// Width and height of the picture, one of 1014 × 760 (default), 507 × 380, 640 × 480.
    pub size: Option<(u32, u32)>,
    /// Frames a second as a ratio; the nearest that the sensor has is taken. Default: the network's rate, else 30.
    pub frame_rate: Option<(u32, u32)>,
    /// Network, exposure and everything else.
    pub camera: CameraOptions,
}

/// An IMX500.
pub struct Imx500Source {
    number: u32,
    options: Imx500Options,
    found: Found,
    info: SourceInfo,
    wanted: Wanted,
    reader: MetadataReader,
    raw: RawFormat,
    loops: Loops,
    shows: PictureSource,
    size: (u32, u32),
    told: Arc<Told>,
    stream: Option<Stream>,
}

const STARTING: u8 = 1;
const FLOWING: u8 = 2;

impl std::fmt::Debug for Imx500Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Imx500Source").field("found", &self.found).field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

fn unavailable(text: impl Into<String>) -> SourceError {
    SourceError::Unavailable(text.into())
}

impl Imx500Source {
    /// Opens camera number `number` (0 is the first, in the order of the sensors' names) with the network of the options.
    /// Nothing is set yet, but everything that can be missing is noticed: camera, rights, firmware, package.
    ///
    /// # Errors
    /// Something is missing or contradicts itself; with the remedy.
    pub fn open(number: u32, options: &Imx500Options) -> Result<Self, SourceError> {
        let found = find(number)?;
        let network = options.camera.network.as_deref().map(|name| named(name, &options.camera)).transpose()?;
        Self::with(number, found, network, options)
    }

    fn with(number: u32, found: Found, network: Option<Network>, options: &Imx500Options) -> Result<Self, SourceError> {
        let camera = &options.camera;
        if network.is_some() {
            check_firmware()?;
        }
        let shows = shown(camera, network.as_ref())?;
        let size = options.size.unwrap_or(SIZES[0]);
        if !SIZES.contains(&size) {
            return Err(unavailable(format!(
                "the IMX500 gives pictures of 1014x760, 507x380 or 640x480, not of {}x{}",
                size.0, size.1
            )));
        }
        let network_rate = network.as_ref().and_then(|network| network.intrinsics().inference_rate);
        let vblank = BINNED.vblank(options.frame_rate.or(network_rate).unwrap_or((30, 1)));
        let white = white_balance(camera);
        let fixed = Fixed {
            lines: camera.exposure.map(|time| BINNED.exposure_lines(time, vblank)),
            code: camera.gain.map(gain_code),
        };
        let wanted = wanted(camera, network.as_ref(), vblank, fixed, white)?;
        let buffer_bytes = wanted.network.as_ref().map_or(REGISTER_BYTES_MAX, |(_, bytes)| *bytes);
        let layout = Layout { width: BINNED.width, strided: found.pipeline.receiver.is_strided() };
        let mut info = described(number, BINNED.rate(vblank), network.as_ref());
        let keep = camera.raw_metadata.map(|kept| match kept {
            RawMetadata::Results => Form::Results,
            RawMetadata::Full => Form::Full,
        });
        let reader = MetadataReader::new(layout, network, keep, shows == PictureSource::InputTensor);
        info.sensor_bytes_max = reader.sensor_bytes_max(buffer_bytes.next_multiple_of(16));
        let raw = RawFormat {
            width: BINNED.width,
            height: BINNED.height,
            stride: BINNED.width / 4 * 5,
            packing: RawPacking::Packed,
            order: wanted.order(),
        };
        let loops = Loops::new(BINNED.height + vblank, fixed, white);
        info.picture = match shows {
            PictureSource::Bayer => Some(developed(raw, size, &loops)?),
            PictureSource::InputTensor => reader.input_picture(),
            PictureSource::None => None,
        };
        let told = Arc::new(Told::default());
        let options = options.clone();
        Ok(Self { number, options, found, info, wanted, reader, raw, loops, shows, size, told, stream: None })
    }

    /// The camera's name and nodes.
    pub fn found(&self) -> &Found {
        &self.found
    }
}

/// What is known of the camera without its picture; a recording needs the network's part to make results again.
fn described(number: u32, frame_rate: (u32, u32), network: Option<&Network>) -> SourceInfo {
    let mut info = SourceInfo::new(&format!("imx500:{number}"));
    (info.live, info.watched, info.frame_rate) = (true, true, frame_rate);
    if let Some(network) = network {
        info.network = bounded(network.name());
        info.post = bounded(network.post_name().unwrap_or(""));
        info.labels = network.labels().clone();
        info.side_bytes_max = network.side_bytes();
    }
    info
}

fn developed(raw: RawFormat, size: (u32, u32), loops: &Loops) -> Result<PictureInfo, SourceError> {
    PictureMaker::new(raw, Some(size), loops.clone())
        .map(|maker| maker.info())
        .map_err(|error| unavailable(error.to_string()))
}

fn find(number: u32) -> Result<Found, SourceError> {
    let mut search = search();
    if (number as usize) < search.found.len() {
        return Ok(search.found.swap_remove(number as usize));
    }
    Err(unavailable(none_found(number, &search, &Facts::of_this_machine())))
}

/// Why there is no camera of this number.
fn none_found(number: u32, search: &Search, facts: &Facts) -> String {
    let mut text = match search.found.len() {
        0 => "no IMX500 found".to_owned(),
        1 => format!("no IMX500 of number {number}; there is one, imx500:0"),
        count => format!("no IMX500 of number {number}; there are imx500:0 to imx500:{}", count - 1),
    };
    for (path, why) in &search.problems {
        text.push_str(&format!("; {}: {why}", path.display()));
    }
    if search.found.is_empty() && search.problems.is_empty() {
        let advice: Vec<_> = facts.advice().iter().map(ToString::to_string).collect();
        text.push_str(&format!(": {}", advice.join("; ")));
    }
    text.push_str(". Without a camera, `--source virtual` records a moving scene");
    text
}

fn check_firmware() -> Result<(), SourceError> {
    let missing = discover::missing_firmware();
    if missing.is_empty() {
        return Ok(());
    }
    Err(unavailable(format!(
        "the IMX500's firmware is missing ({} in /lib/firmware); run `sudo apt install imx500-all`, then reboot",
        missing.join(", ")
    )))
}

/// The network of the options, with the post-processing, threshold and labels that they ask for.
fn named(name: &str, camera: &CameraOptions) -> Result<Network, SourceError> {
    let path = networks::find(name).map_err(|error| unavailable(error.to_string()))?;
    let network = Network::open(&path).map_err(|error| unavailable(error.to_string()))?;
    camera.equip(network)
}

/// What frames show.
fn shown(camera: &CameraOptions, network: Option<&Network>) -> Result<PictureSource, SourceError> {
    match (camera.picture, network) {
        (Some(PictureSource::InputTensor), None) => {
            Err(unavailable("--picture input-tensor needs a network: give --network NAME or FILE.rpk"))
        }
        (Some(picture), _) => Ok(picture),
        (None, Some(_)) if is_small_board() => Ok(PictureSource::InputTensor),
        (None, _) => Ok(PictureSource::Bayer),
    }
}

/// 512 MB, as a Zero 2 W has.
fn is_small_board() -> bool {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    let is_pi = Facts::of_this_machine().model.is_some_and(|model| model.contains("Raspberry Pi"));
    is_pi && total.is_some_and(|kilobytes: u64| kilobytes * 1024 < SMALL_BOARD_BYTES)
}

fn white_balance(camera: &CameraOptions) -> WhiteBalance {
    camera.white_balance.map_or_else(WhiteBalance::default, |fixed| {
        let gain = |value: f32| (value * 256.0).round().clamp(0.0, 65_535.0) as u16;
        WhiteBalance::Fixed(Gains { red: gain(fixed.red), blue: gain(fixed.blue) }.clamped())
    })
}

fn wanted(
    camera: &CameraOptions,
    network: Option<&Network>,
    vblank: u32,
    fixed: Fixed,
    white: WhiteBalance,
) -> Result<Wanted, SourceError> {
    let no_file =
        || unavailable("the network was made from bytes; the driver reads a file: open it with Network::open");
    let network_file = |network: &Network| {
        let path = network.path().ok_or_else(no_file)?;
        Ok::<(PathBuf, usize), SourceError>((path.to_owned(), network.buffer_bytes()))
    };
    let aspect = network.and_then(|network| network.intrinsics().input_aspect_ratio);
    let window = match (camera.inference_window, aspect) {
        (Some([left, top, width, height]), _) => InferenceWindow { left, top, width, height },
        (None, Some(shape)) => InferenceWindow::centred(shape),
        (None, None) => InferenceWindow::FULL,
    };
    let gains = match white {
        WhiteBalance::Fixed(gains) => gains,
        WhiteBalance::GreyWorld { .. } => Gains::DAYLIGHT,
    };
    let Exposure { lines, gain_code } = Exposure::DEFAULT;
    Ok(Wanted {
        network: network.map(network_file).transpose()?,
        mode: BINNED,
        vblank,
        hflip: camera.hflip,
        vflip: camera.vflip,
        window,
        exposure: (fixed.lines.unwrap_or(lines), fixed.code.unwrap_or(gain_code.into())),
        notify_gains: gains.notify_values(),
    })
}

impl Source for Imx500Source {
    fn describe(&self) -> &SourceInfo {
        &self.info
    }

    fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
        if self.wanted.network.is_some() {
            check_firmware()?;
        }
        let rig = Rig::build(&self.found, &self.wanted)?;
        self.raw = rig.raw;
        let size = (self.shows == PictureSource::Bayer).then_some(self.size);
        let pictures = PictureMaker::new(rig.raw, size, self.loops.clone());
        let pictures = pictures.map_err(|error| unavailable(error.to_string()))?;
        self.reader.restart(rig.window);
        let frame_time = self.wanted.mode.frame_time(rig.vblank);
        let path = &self.found.sensor;
        let sensor = rig.sensor.try_clone().map_err(|error| refused("open", path, error))?;
        let network = self.wanted.network.as_ref().map(|(path, _)| path.clone());
        let switches = [rig.metadata.switch(), rig.image.switch()];
        self.told.phase.store(STARTING, Ordering::Relaxed);
        let control = Control::start(sensor, network, switches);
        let control = control.map_err(SourceError::io("start the thread of the IMX500"))?;
        self.stream = Some(Stream {
            control,
            pairing: Pairing::new(HELD_MAX, frame_time),
            pictures,
            counter: Counter::default(),
            is_on: false,
            waiting: None,
            blank: self.wanted.network.as_ref().map(|_| 0),
            frame_time,
            rig,
        });
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError> {
        let not_started = || unavailable("imx500: the stream was not started");
        let stream = self.stream.as_mut().ok_or_else(not_started)?;
        if !stream.is_on {
            match stream.control.started(wait) {
                None => return Ok(Filled::Nothing),
                Some(Ok(())) => {}
                Some(Err(why)) => return Err(not_on(&self.found, why, &self.wanted)),
            }
            stream.is_on = true;
            self.told.phase.store(FLOWING, Ordering::Relaxed);
        }
        let mut frames = Frames { reader: &mut self.reader, shows: self.shows, told: &self.told };
        if let Some((side, half, number)) = stream.waiting.take() {
            return stream.half_frame(&mut frames, side, half, number, slot);
        }
        if let Some(filled) = stream.next_frame(&mut frames, slot)? {
            return Ok(filled);
        }
        // The text is made only when it is needed: this is the capture thread.
        let ready = wait_for([&stream.rig.image, &stream.rig.metadata], wait);
        let [image, metadata] = ready.map_err(|error| refused("poll", &self.found.image, error))?;
        for (side, ready) in [(Side::Metadata, metadata.buffer), (Side::Image, image.buffer)] {
            if ready {
                stream.take(side).map_err(|error| gone_or(&self.found, side, error))?;
            }
        }
        if let Some(filled) = stream.next_frame(&mut frames, slot)? {
            return Ok(filled);
        }
        for (side, other_is_ready) in [(Side::Image, metadata.buffer), (Side::Metadata, image.buffer)] {
            if other_is_ready {
                continue;
            }
            let now = SystemClock.now();
            if !stream.pairing.is_overdue(side, now) {
                continue;
            }
            // Since the look at the queues this thread may have stood still for longer than a half waits.
            let again = wait_for([stream.queue(side.other())], Span::ZERO);
            let [other] = again.map_err(|error| refused("poll", &self.found.image, error))?;
            if other.buffer {
                stream.take(side.other()).map_err(|error| gone_or(&self.found, side.other(), error))?;
                return Ok(stream.next_frame(&mut frames, slot)?.unwrap_or(Filled::Nothing));
            }
            if let Some(given_up) = stream.pairing.overdue(side, now) {
                return stream.frame_of(given_up, &mut frames, slot);
            }
        }
        Ok(Filled::Nothing)
    }

    fn stop(&mut self) {
        self.stream = None;
        self.told.phase.store(0, Ordering::Relaxed);
    }

    fn frame_time(&self) -> Span {
        self.stream.as_ref().map_or_else(|| self.info.frame_time(), |stream| stream.frame_time)
    }

    fn deploy(&mut self, network: Network) -> Result<(), SourceError> {
        let told = Arc::clone(&self.told);
        *self = Self::with(self.number, self.found.clone(), Some(network), &self.options)?;
        self.told = told;
        Ok(())
    }

    /// Frames that come much faster than results can, or without any.
    fn advice(&self) -> Option<String> {
        advice_on(&self.info, self.reader.network()?)
    }

    fn progress(&mut self) -> Option<StartProgress> {
        let told = Arc::clone(&self.told);
        let bus = self.found.pipeline.sensor_name.trim_start_matches("imx500").trim().to_owned();
        let path = PathBuf::from(format!("/sys/kernel/debug/imx500-fw:{bus}/fw_progress"));
        let has_network = self.wanted.network.is_some();
        Some(Box::new(move || {
            (told.phase.load(Ordering::Relaxed) == STARTING).then(|| {
                let text = std::fs::read_to_string(&path).ok().filter(|_| has_network);
                upload_line(text.as_deref(), has_network)
            })
        }))
    }

    fn remarks(&mut self) -> Option<Remarks> {
        let (told, name) = (Arc::clone(&self.told), self.info.name.clone());
        let mut seen = (0, 0);
        Some(Box::new(std::iter::from_fn(move || {
            let forgotten = told.forgotten.load(Ordering::Relaxed);
            if forgotten > seen.0 {
                seen.0 = forgotten;
                let then = if forgotten == 1 { "it is set once more" } else { "frames are recorded without results" };
                return Some(format!("{name}: no sign of the network in {BLANK_FRAMES_MAX} frames; {then}"));
            }
            let broken = told.broken.load(Ordering::Relaxed);
            let is_news = broken > seen.1;
            let new = broken - seen.1;
            seen.1 = broken;
            is_news.then(|| format!("{name}: {new} metadata buffers contradict themselves; their results are lost"))
        })))
    }
}

/// What the driver's progress file says, for people: `stage done total`, of which the total is the network's in every stage.
fn upload_line(text: Option<&str>, has_network: bool) -> String {
    let mut words = text.unwrap_or("").split_whitespace().map(|word| word.parse::<u64>().ok());
    let mut next = || words.next().flatten();
    match (next(), next(), next()) {
        (Some(0), ..) => "uploading the loader to the sensor".into(),
        (Some(1), ..) => "uploading the sensor's firmware".into(),
        (Some(2), Some(done), Some(total)) if total > 0 => {
            format!("uploading the network to the sensor: {} %", (done.min(total) * 100) / total)
        }
        _ if has_network => "uploading the network to the sensor; the first time takes minutes".into(),
        _ => "starting the sensor".into(),
    }
}

/// Why the streams could not be switched on. Errors of the package show only here.
fn not_on(found: &Found, why: &Refused, wanted: &Wanted) -> SourceError {
    let path = &found.sensor;
    let package = wanted.network.as_ref().map_or_else(|| "the network".into(), |(path, _)| path.display().to_string());
    let told = match why.error.raw_os_error() {
        Some(libc::ENOENT) => "the driver found no firmware; run `sudo apt install imx500-all`, then reboot".to_owned(),
        Some(libc::EINVAL) if wanted.network.is_some() => {
            format!("the driver refuses {package}; make it again with the packager, or take another one")
        }
        Some(libc::ENODEV | libc::ENXIO) => return SourceError::Gone(path.display().to_string()),
        Some(libc::EREMOTEIO | libc::EIO | libc::ETIMEDOUT | libc::EAGAIN) => {
            "the sensor does not answer; check the ribbon cable at both ends, and the power supply".to_owned()
        }
        Some(libc::EPIPE | libc::ENOLINK) => {
            "the receiver's formats do not fit the sensor's; another program changed them: start again".to_owned()
        }
        code => {
            let error =
                code.map_or_else(|| std::io::Error::other(why.error.to_string()), std::io::Error::from_raw_os_error);
            return refused(why.doing, path, error);
        }
    };
    let error = &why.error;
    unavailable(format!("{}: {}: {error}: {told}", path.display(), why.doing))
}

fn gone_or(found: &Found, side: Side, error: std::io::Error) -> SourceError {
    let path: &Path = match side {
        Side::Image => &found.image,
        Side::Metadata => &found.metadata,
    };
    match error.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => SourceError::Gone(path.display().to_string()),
        _ => refused("take a buffer of", path, error),
    }
}

#[cfg(test)]
mod tests;
