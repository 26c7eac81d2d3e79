//! Cameras by V4L2: any `/dev/videoN` that captures single-planar pictures by streaming.
//!
//! ```text
//! open:  node ─► what it offers ─► negotiate ─► S_FMT, S_PARM (what it got stands in `describe` and `mode`)
//! start: buffers mapped, queued, stream on
//! fill:  poll (at most `wait`) ─► DQBUF ─► one copy into the slot ─► QBUF, whatever the buffer held
//! stop:  stream off, unmapped, returned
//! ```
//!
//! The capture time is the driver's own stamp when it is of the monotonic clock (start of exposure or end of frame, as
//! the driver has it); else the moment at which the buffer was taken. Sequence numbers are the driver's, continued over
//! 32 bits and over a restart; a driver that does not count gets ours. A buffer that the driver marks as broken, a JPEG
//! that is cut, or a short picture is reported as lost.

mod negotiate;
mod nodes;

use std::fmt;
use std::path::{Path, PathBuf};

use v4l::fraction::Fraction;
use v4l::frameinterval::FrameIntervalEnum;
use v4l::framesize::FrameSizeEnum;
use v4l::v4l_sys;
use v4l::video::Capture;
use v4l::video::capture::Parameters;

pub(super) use self::negotiate::fourcc_text;
use self::negotiate::{NoFormat, Offer, Rate, Rates, Sizes, Wish, choose, nearest_size, pixel_format};
pub(super) use self::nodes::refused;
pub use self::nodes::{DeviceEntry, devices};
use crate::clock::SystemClock;
use crate::frame::{ColorFormat, ImageType, PictureInfo, PixelFormat};
use crate::ledger::{Cause, Loss};
use crate::mjpeg::{Mjpeg, TABLES_BYTES};
use crate::slot::Slot;
use crate::source::{Filled, Source, SourceError, SourceInfo, devices};
use crate::sys::v4l2::{self as sys, BUFFERS_MAX, Buffers, Kind, Node, PixFormat};
use crate::time::{Clock, ClockPair, Span, Timestamp};

/// Starts of a stream that failed, without a frame between them, after which the device counts as broken.
const RESTARTS_MAX: u32 = 3;

/// How to use a camera.
#[derive(Clone, Copy, Debug)]
pub struct V4l2Options {
    /// Width and height in pixels; the nearest that the camera has is taken. Default 640 × 480: enough to see people, and
    /// every camera has it.
    pub size: Option<(u32, u32)>,
    /// Frames a second as a ratio; the nearest that the camera has is taken. Default 30.
    pub fps: Option<(u32, u32)>,
    /// Only this format. Default: the first of YUYV, NV12, YUV420, BGR888, RGB888, JPEG, GREY that has the nearest size
    /// and rate; so JPEG is taken when size or rate need it.
    pub format: Option<PixelFormat>,
    /// Buffers that the driver fills while we are late, `2..=32`; the driver may give another number. Default 6: one in
    /// our hand, and 5 frame times (167 ms at 30 frames/s) to come back for the next.
    pub buffers: u32,
}

impl Default for V4l2Options {
    fn default() -> Self {
        Self { size: None, fps: None, format: None, buffers: 6 }
    }
}

impl V4l2Options {
    fn wish(&self) -> Wish {
        Wish { size: self.size.unwrap_or((640, 480)), rate: self.fps.unwrap_or((30, 1)), format: self.format }
    }
}

/// What the camera agreed to.
#[derive(Clone, Debug)]
pub struct Mode {
    /// The device's own name.
    pub card: String,
    /// V4L2's name of the format.
    pub fourcc: String,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second as a ratio.
    pub rate: (u32, u32),
    asked: (u32, u32),
    asked_rate: (u32, u32),
}

impl fmt::Display for Mode {
    /// `vivid: 640x480 YUYV at 30 frames/s`, and what was asked for where it differs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { card, fourcc, width, height, rate, asked, asked_rate } = self;
        write!(f, "{card}: {width}x{height} {fourcc} at {} frames/s", rate_text(*rate))?;
        if *asked != (*width, *height) || rate_text(*asked_rate) != rate_text(*rate) {
            write!(f, " (asked for {}x{} at {}; this is the nearest)", asked.0, asked.1, rate_text(*asked_rate))?;
        }
        Ok(())
    }
}

/// A rate with at most two digits after the point.
fn rate_text((frames, seconds): Rate) -> String {
    let text = format!("{:.2}", f64::from(frames) / f64::from(seconds.max(1)));
    text.trim_end_matches('0').trim_end_matches('.').into()
}

/// A camera.
#[derive(Debug)]
pub struct V4l2Source {
    path: PathBuf,
    info: SourceInfo,
    mode: Mode,
    picture: PictureInfo,
    format: PixFormat,
    buffers_wanted: u32,
    node: Node,
    stream: Option<Stream>,
}

/// What there is between `start` and `stop`.
#[derive(Debug)]
struct Stream {
    buffers: Buffers,
    counter: Counter,
    last_at: Timestamp,
    /// Restarts since the last frame.
    restarts: u32,
}

impl V4l2Source {
    /// Opens a camera and agrees with it on format, size and rate.
    ///
    /// # Errors
    /// The node is no camera, is in use, may not be opened, or has no format that we take; each with the remedy.
    pub fn open(path: impl AsRef<Path>, options: &V4l2Options) -> Result<Self, SourceError> {
        let path = path.as_ref();
        if !(2..=BUFFERS_MAX as u32).contains(&options.buffers) {
            let text = format!("{} V4L2 buffers: give 2 to {BUFFERS_MAX}", options.buffers);
            return Err(SourceError::Unavailable(text));
        }
        let node = Node::open(path).map_err(|error| nodes::refused("open", path, error))?;
        let identity = node.identity().map_err(|error| nodes::refused("ask", path, error))?;
        if let Some(why) = nodes::no_capture(&identity) {
            return Err(unavailable(path, format!("{} cannot be recorded from: {why}", identity.card)));
        }
        let wish = options.wish();
        let (format, rate) = agree(&node, path, &wish)?;
        let picture = picture_of(&format).map_err(|why| unavailable(path, why))?;
        let mode = Mode {
            card: identity.card,
            fourcc: fourcc_text(format.fourcc),
            width: format.width,
            height: format.height,
            rate,
            asked: wish.size,
            asked_rate: wish.rate,
        };
        let info = describe(path, &picture, &format, rate);
        let buffers_wanted = options.buffers;
        Ok(Self { path: path.into(), info, mode, picture, format, buffers_wanted, node, stream: None })
    }

    /// Opens the first camera of this machine that can be used now: one that another program has is passed over.
    ///
    /// # Errors
    /// There is none: the message lists what was looked at, and why not.
    pub fn open_first(options: &V4l2Options) -> Result<Self, SourceError> {
        let mut entries = devices();
        for entry in entries.iter_mut().filter(|entry| entry.unusable.is_none()) {
            match Self::open(&entry.path, options) {
                Ok(source) => return Ok(source),
                Err(error) => entry.unusable = Some(nodes::without_path(&entry.path, &error)),
            }
        }
        Err(nodes::none_usable(&entries))
    }

    /// What the camera agreed to, for messages.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    fn io(&self, doing: &str) -> impl FnOnce(std::io::Error) -> SourceError {
        let (path, doing) = (self.path.clone(), doing.to_owned());
        move |error| nodes::refused(&doing, &path, error)
    }

    /// Looks what an event was about. A picture of another shape ends the stream: all memory was sized for the old one.
    fn source_changed(&self) -> Result<(), SourceError> {
        if !self.node.take_source_change().unwrap_or(false) {
            return Ok(());
        }
        let now = self.node.format().map_err(self.io("ask the format of"))?;
        if now == self.format {
            return Ok(());
        }
        Err(SourceError::Malformed(format!(
            "{}: the picture changed from {}x{} {} to {}x{} {} in mid-stream; what came before is kept, start again for the \
             new one",
            self.path.display(),
            self.format.width,
            self.format.height,
            fourcc_text(self.format.fourcc),
            now.width,
            now.height,
            fourcc_text(now.fourcc),
        )))
    }

    /// After a failed DQBUF: an unplugged device is gone; a stream that the driver broke off is started again, and what
    /// that cost is estimated from the rate.
    fn broken_off(&mut self, error: std::io::Error) -> Result<Filled, SourceError> {
        match error.raw_os_error() {
            Some(libc::ENODEV | libc::ENXIO) => return Err(SourceError::Gone(self.path.display().to_string())),
            Some(libc::EIO) => {}
            _ => return Err(self.io("take a buffer of")(error)),
        }
        let frame_ns = self.info.frame_time().as_ns().max(1);
        let Some(stream) = self.stream.as_mut().filter(|stream| stream.restarts < RESTARTS_MAX) else {
            return Err(self.io("take a buffer of")(error));
        };
        stream.restarts += 1;
        let restarted = stream.buffers.stop().and_then(|()| stream.buffers.start());
        let now = SystemClock.now();
        let missed = ((now - stream.last_at).as_ns() / frame_ns).max(1) as u64;
        let loss = Loss::run(Cause::SourceStalled, stream.counter.skip(missed), missed, stream.last_at, now);
        stream.last_at = now;
        restarted.map_err(self.io("start again"))?;
        Ok(Filled::Lost(loss))
    }
}

fn unavailable(path: &Path, why: impl fmt::Display) -> SourceError {
    SourceError::Unavailable(format!("{}: {why}", path.display()))
}

/// Asks what there is, chooses, sets it, and returns what the driver made of it.
fn agree(node: &Node, path: &Path, wish: &Wish) -> Result<(PixFormat, Rate), SourceError> {
    let device = node.device();
    let offers: Vec<_> = node.pixel_formats().into_iter().map(|fourcc| offer(device, fourcc, wish)).collect();
    let chosen = choose(&offers, wish).map_err(|no: NoFormat| unavailable(path, no))?;
    let format = node
        .set_format(chosen.fourcc, chosen.width, chosen.height)
        .map_err(|error| nodes::refused("set the format of", path, error))?;
    Ok((format, set_rate(device, wish.rate)))
}

fn offer(device: &v4l::Device, fourcc: v4l::FourCC, wish: &Wish) -> Offer {
    let sizes: Vec<_> = device.enum_framesizes(fourcc).unwrap_or_default().iter().map(|s| sizes_of(&s.size)).collect();
    // A driver that lists no sizes takes any and answers with its nearest.
    let (width, height) = nearest_size(&sizes, wish.size).unwrap_or(wish.size);
    let rates = device.enum_frameintervals(fourcc, width, height).unwrap_or_default();
    Offer { fourcc, width, height, rates: rates.iter().map(|r| rates_of(&r.interval)).collect() }
}

/// What a node delivers, and its controls; nothing of what cannot be asked.
pub(super) fn abilities(path: &Path) -> (Vec<devices::Mode>, Vec<devices::Control>) {
    let Ok(node) = Node::open(path) else { return (Vec::new(), Vec::new()) };
    let modes = node.pixel_formats().into_iter().map(|fourcc| {
        let listed = node.device().enum_framesizes(fourcc).unwrap_or_default();
        let mut sizes = Vec::new();
        for size in &listed {
            match sizes_of(&size.size) {
                Sizes::One(width, height) => sizes.push((width, height)),
                Sizes::Range([low_width, high_width, _], [low_height, high_height, _]) => {
                    sizes.extend([(low_width, low_height), (high_width, high_height)]);
                }
            }
        }
        let intervals = |(width, height)| node.device().enum_frameintervals(fourcc, width, height).unwrap_or_default();
        let fastest =
            sizes.iter().flat_map(|&size| intervals(size)).map(|interval| match rates_of(&interval.interval) {
                Rates::One(rate) | Rates::Range(_, rate) => rate,
            });
        let per_second = |(frames, seconds): &Rate| u64::from(*frames) * 1_000_000 / u64::from((*seconds).max(1));
        devices::Mode {
            format: fourcc_text(fourcc),
            is_taken: pixel_format(fourcc).is_some(),
            rate_max: fastest.max_by_key(per_second),
            sizes,
        }
    });
    (modes.collect(), node.controls())
}

fn sizes_of(size: &FrameSizeEnum) -> Sizes {
    match size {
        FrameSizeEnum::Discrete(one) => Sizes::One(one.width, one.height),
        FrameSizeEnum::Stepwise(s) => {
            Sizes::Range([s.min_width, s.max_width, s.step_width], [s.min_height, s.max_height, s.step_height])
        }
    }
}

/// V4L2 tells the time of a frame: the longest one is the slowest rate.
fn rates_of(interval: &FrameIntervalEnum) -> Rates {
    let rate = |time: &Fraction| (time.denominator, time.numerator);
    match interval {
        FrameIntervalEnum::Discrete(time) => Rates::One(rate(time)),
        FrameIntervalEnum::Stepwise(times) => Rates::Range(rate(&times.max), rate(&times.min)),
    }
}

/// Sets the rate where the driver lets us, and returns the one that holds then: the driver's, else the wish.
fn set_rate(device: &v4l::Device, (frames, seconds): Rate) -> Rate {
    let set = device.set_params(&Parameters::new(Fraction::new(seconds, frames))).or_else(|_| device.params());
    match set.map(|parameters| parameters.interval) {
        Ok(Fraction { numerator, denominator }) if numerator > 0 && denominator > 0 => (denominator, numerator),
        _ => (frames, seconds),
    }
}

/// The shape of the pictures, or why we cannot take them.
fn picture_of(format: &PixFormat) -> Result<PictureInfo, String> {
    let name = fourcc_text(format.fourcc);
    let Some(pixels) = pixel_format(format.fourcc) else {
        return Err(format!("the driver answered with format {name}, which was not asked for"));
    };
    let (none, interlaced) = (v4l_sys::v4l2_field_V4L2_FIELD_NONE, v4l_sys::v4l2_field_V4L2_FIELD_INTERLACED);
    if ![v4l_sys::v4l2_field_V4L2_FIELD_ANY, none, interlaced].contains(&format.field) {
        return Err(format!("it delivers half pictures (field order {}); only whole ones are taken", format.field));
    }
    let (width, height) = (format.width, format.height);
    let packed = PictureInfo::packed(pixels, width.min(crate::limits::SIDE_PIXELS_MAX), height);
    let info = match pixels {
        PixelFormat::Jpeg => PictureInfo { width, ..packed },
        _ if format.stride == 0 => PictureInfo { width, ..packed },
        _ => PictureInfo { width, stride: format.stride, ..packed },
    };
    let grey = PictureInfo::packed(PixelFormat::Grey, info.width, info.height);
    let fits = if pixels == PixelFormat::Jpeg { grey.bytes() } else { info.bytes() };
    match fits {
        Some(bytes) if bytes <= crate::limits::PICTURE_BYTES_MAX => Ok(info),
        _ => Err(format!("{width}x{height} {name} with rows of {} bytes is out of range", format.stride)),
    }
}

fn describe(path: &Path, picture: &PictureInfo, format: &PixFormat, rate: Rate) -> SourceInfo {
    let mut info = SourceInfo::new(&format!("v4l2:{}", path.display()));
    info.watched = true;
    info.picture = Some(*picture);
    info.frame_rate = rate;
    if picture.format == PixelFormat::Jpeg {
        info.jpeg_bytes_max = (format.size as usize).min(crate::limits::PICTURE_BYTES_MAX) + TABLES_BYTES;
    }
    info
}

impl Source for V4l2Source {
    fn describe(&self) -> &SourceInfo {
        &self.info
    }

    fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
        // Refused by drivers whose picture cannot change by itself.
        let _ = self.node.watch_source_changes();
        let mut buffers =
            Buffers::new(&self.node, Kind::Pictures, self.buffers_wanted).map_err(self.io("map the buffers of"))?;
        if buffers.count() < 2 {
            let why = format!("the driver has memory for {} buffers, at least 2 are needed", buffers.count());
            return Err(unavailable(&self.path, why));
        }
        // Until there were buffers, another program could set another format.
        let now = self.node.format().map_err(self.io("ask the format of"))?;
        if now != self.format {
            return Err(unavailable(&self.path, "another program changed the format; start again"));
        }
        buffers.start().map_err(self.io("start"))?;
        self.stream = Some(Stream { buffers, counter: Counter::default(), last_at: SystemClock.now(), restarts: 0 });
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError> {
        let not_started = || unavailable(&self.path, "the stream was not started");
        let ready = self.stream.as_ref().ok_or_else(not_started)?.buffers.wait(wait);
        // The text is made only when it is needed: this is the capture thread.
        let ready = ready.map_err(|error| nodes::refused("poll", &self.path, error))?;
        if ready.event {
            self.source_changed()?;
        }
        let Some(stream) = self.stream.as_mut().filter(|_| ready.buffer) else { return Ok(Filled::Nothing) };
        let filled = match stream.buffers.dequeue() {
            Ok(Some(buffer)) => {
                let filled = stream.take(&buffer, &self.picture, slot);
                // A buffer that cannot be queued again means that the device is going: the next call tells.
                let _ = stream.buffers.requeue(buffer);
                filled
            }
            Ok(None) => Filled::Nothing,
            Err(error) => self.broken_off(error)?,
        };
        Ok(filled)
    }

    fn stop(&mut self) {
        self.stream = None;
    }
}

impl Stream {
    /// Copies a buffer into the slot.
    fn take(&mut self, buffer: &sys::Filled, picture: &PictureInfo, slot: &mut Slot) -> Filled {
        let pair = SystemClock.pair();
        let at = captured_at(buffer, pair.monotonic);
        let sequence = self.counter.number(buffer.sequence);
        (self.last_at, self.restarts) = (at, 0);
        let lost = |cause| Filled::Lost(Loss::one(cause, sequence, at));
        if buffer.flags & v4l_sys::V4L2_BUF_FLAG_ERROR != 0 {
            return lost(Cause::Corrupt);
        }
        if let Err(cause) = copy(self.buffers.bytes(buffer), picture, slot) {
            slot.clear_picture();
            return lost(cause);
        }
        let meta = &mut slot.meta;
        meta.sequence = sequence;
        meta.captured_at = at;
        // A fresh pair with every frame (no system call): a step of the wall clock shows in the next frame.
        meta.captured_wall = pair.wall_of(at);
        meta.image_type = Some(ImageType::Vga);
        meta.width = Some(picture.width);
        meta.height = Some(picture.height);
        meta.channels = Some(if picture.format == PixelFormat::Grey { 1 } else { 3 });
        meta.color_format = match picture.format {
            PixelFormat::Bgr888 => Some(ColorFormat::Bgr),
            PixelFormat::Rgb888 => Some(ColorFormat::Rgb),
            _ => None,
        };
        Filled::Frame
    }
}

/// The driver's stamp if it is of the monotonic clock and set, else `now`.
pub(super) fn captured_at(buffer: &sys::Filled, now: Timestamp) -> Timestamp {
    let clock = buffer.flags & v4l_sys::V4L2_BUF_FLAG_TIMESTAMP_MASK;
    let monotonic = clock == v4l_sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    if monotonic && buffer.stamp_ns > 0 { Timestamp::from_ns(buffer.stamp_ns) } else { now }
}

/// The one copy of the picture.
fn copy(bytes: &[u8], picture: &PictureInfo, slot: &mut Slot) -> Result<(), Cause> {
    if picture.format != PixelFormat::Jpeg {
        let needed = picture.bytes().ok_or(Cause::TooBig)?;
        let whole = bytes.get(..needed).ok_or(Cause::Corrupt)?;
        slot.pixels_mut(*picture).map_err(|_| Cause::TooBig)?.copy_from_slice(whole);
        return Ok(());
    }
    let found = Mjpeg::find(bytes).map_err(|_| Cause::Corrupt)?;
    let (width, height) = (found.header.width, found.header.height);
    if (width, height) != (picture.width, picture.height) {
        return Err(Cause::FormatChanged);
    }
    let length = found.write_to(slot.jpeg_mut()).ok_or(Cause::TooBig)?;
    slot.set_jpeg(length, width, height);
    Ok(())
}

/// Continues the driver's 32-bit frame counter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counter {
    /// The number of the next frame if none is lost.
    next: u64,
    /// The driver's number of the last frame; `None` after a start.
    device: Option<u32>,
}

impl Counter {
    /// The number of the frame to which the driver gave `device`. The first one keeps its number; the first after a
    /// restart (where drivers begin at 0 again) follows the last; one that does not go up follows, too.
    pub(super) fn number(&mut self, device: u32) -> u64 {
        let skipped = match self.device {
            Some(last) => match device.wrapping_sub(last) {
                0 | 0x8000_0000.. => 0,
                step => u64::from(step) - 1,
            },
            None if self.next == 0 => u64::from(device),
            None => 0,
        };
        let number = self.next + skipped;
        (self.next, self.device) = (number + 1, Some(device));
        number
    }

    /// Passes over `count` numbers because of a restart; the first of them.
    fn skip(&mut self, count: u64) -> u64 {
        let first = self.next;
        (self.next, self.device) = (first + count, None);
        first
    }
}

#[cfg(test)]
mod tests;
