//! A moving scene with matching results, made from a seed: the same bytes on every machine.
//!
//! Shapes travel over a background of gradient and noise; each is one object of the results. Everything about frame `n` is
//! computed from the seed and `n` alone, in integers (a coordinate is one division of two integers in the end), so no run
//! depends on an earlier frame, a clock or a processor.

mod canvas;
mod objects;
mod results;
mod sensor;
mod tensors;

pub use self::sensor::{BUILT_IN, SensorOptions, VirtualSensor, built_in_network, is_seen_by};

use self::canvas::Canvas;
use self::objects::{CLASSES, Object};
use crate::frame::{ImageType, PictureInfo, PixelFormat};
use crate::ledger::{Cause, Loss};
use crate::results::ResultKind;
use crate::slot::Slot;
use crate::source::{Filled, Source, SourceError, SourceInfo, bounded};
use crate::time::{ClockPair, Span, Timestamp};

/// What the scene is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualOptions {
    /// Everything follows from it. Default 1.
    pub seed: u64,
    /// Width and height in pixels, `16..=4096`; both even for YUYV, NV12 and YUV420, whose pixels share colours. Default
    /// 640 × 480, the IMX500's.
    pub size: (u32, u32),
    /// Frames a second as a ratio. Default 30.
    pub frame_rate: (u32, u32),
    /// BGR888 (default), RGB888, YUYV, NV12, YUV420 or GREY; `None` is a scene without pictures.
    pub format: Option<PixelFormat>,
    /// Which results there are; `None` is a camera without a network. Default: detections.
    pub kind: Option<ResultKind>,
    /// Shapes, `0..=64`. Default 5.
    pub objects: u32,
    /// New results come with every so many frames, `1..=1000`, and are repeated until then. Default 1.
    pub results_every: u32,
    /// The source ends after so many frames. Default: never.
    pub frames: Option<u64>,
    /// Frames come when they are due on the clock (default). False: as fast as they are taken, and none is lost.
    pub paced: bool,
}

impl Default for VirtualOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            size: (640, 480),
            frame_rate: (30, 1),
            format: Some(PixelFormat::Bgr888),
            kind: Some(ResultKind::Detections),
            objects: 5,
            results_every: 1,
            frames: None,
            paced: true,
        }
    }
}

/// Most shapes in a scene.
const OBJECTS_MAX: usize = 64;
const SIDE_RANGE: std::ops::RangeInclusive<u32> = 16..=4096;

impl VirtualOptions {
    fn check(&self) -> Result<(), SourceError> {
        let refuse = |text: String| Err(SourceError::Unavailable(format!("virtual: {text}")));
        let (width, height) = self.size;
        if !SIDE_RANGE.contains(&width) || !SIDE_RANGE.contains(&height) {
            return refuse(format!("size {width}x{height}: give sides in 16..=4096"));
        }
        let shares_colours = matches!(self.format, Some(PixelFormat::Yuyv | PixelFormat::Nv12 | PixelFormat::Yuv420));
        if shares_colours && width % 2 + height % 2 > 0 {
            return refuse(format!("size {width}x{height}: give even sides, or one of BGR888, RGB888, GREY, none"));
        }
        if matches!(self.format, Some(PixelFormat::Jpeg | PixelFormat::Raw10)) {
            return refuse("format: give one of BGR888, RGB888, YUYV, NV12, YUV420, GREY, none".into());
        }
        if !(1..=1_000_000).contains(&self.frame_rate.0) || !(1..=1_000_000).contains(&self.frame_rate.1) {
            return refuse(format!(
                "{}/{} frames a second: give 1..=1000000 of each",
                self.frame_rate.0, self.frame_rate.1
            ));
        }
        if self.objects as usize > OBJECTS_MAX {
            return refuse(format!("{} objects: give 0..={OBJECTS_MAX}", self.objects));
        }
        if !(1..=1000).contains(&self.results_every) {
            return refuse(format!("new results every {} frames: give 1..=1000", self.results_every));
        }
        Ok(())
    }
}

/// The simulated camera.
#[derive(Debug)]
pub struct VirtualScene {
    info: SourceInfo,
    options: VirtualOptions,
    objects: Vec<Object>,
    canvas: Option<Canvas>,
    started: ClockPair,
    next: u64,
}

impl VirtualScene {
    /// A scene called `name` (what the user typed).
    ///
    /// # Errors
    /// An option is out of its range, with the range.
    pub fn new(name: &str, options: VirtualOptions) -> Result<Self, SourceError> {
        options.check()?;
        let (width, height) = options.size;
        let mut info = SourceInfo::new(name);
        info.live = options.paced;
        info.paced = options.paced;
        info.picture = options.format.map(|format| PictureInfo::packed(format, width, height));
        info.side_bytes_max = results::side_bytes_max(&options);
        info.frame_rate = options.frame_rate;
        info.frames = options.frames;
        if options.kind.is_some() {
            info.network = bounded("virtual");
            for class in CLASSES {
                // Four short names always fit.
                let _ = info.labels.push(class.name);
            }
        }
        let objects = (0..options.objects).map(|index| Object::new(&options, index)).collect();
        Ok(Self { info, options, objects, canvas: None, started: ClockPair::default(), next: 0 })
    }

    /// Begins with frame 0.
    fn begin(&mut self, now: ClockPair) {
        self.started = now;
        self.next = 0;
    }

    /// Numbers, times and sizes of the next frame, its number and its instant; `None` when there are no more.
    fn stamp(&mut self, slot: &mut Slot) -> Option<(u64, Timestamp)> {
        let n = self.next;
        if self.options.frames.is_some_and(|frames| n >= frames) {
            return None;
        }
        self.next += 1;
        let at = self.captured_at(n);
        let meta = &mut slot.meta;
        meta.sequence = n;
        meta.captured_at = at;
        meta.captured_wall = self.started.wall_of(at);
        meta.image_type = self.info.picture.map(|_| ImageType::Vga);
        (meta.width, meta.height) = (Some(self.options.size.0), Some(self.options.size.1));
        meta.new_detection = n % u64::from(self.options.results_every) == 0;
        meta.frame_count = Some((n % 256) as i64);
        slot.due_at = self.options.paced.then_some(at);
        Some((n, at))
    }

    /// Capture time of frame `n`, exact: nothing accumulates.
    fn captured_at(&self, n: u64) -> Timestamp {
        let (frames, seconds) = self.options.frame_rate;
        let ns = u128::from(n) * 1_000_000_000 * u128::from(seconds) / u128::from(frames);
        self.started.monotonic + Span::from_ns(i64::try_from(ns).unwrap_or(i64::MAX))
    }
}

impl Source for VirtualScene {
    fn describe(&self) -> &SourceInfo {
        &self.info
    }

    fn start(&mut self, now: ClockPair) -> Result<(), SourceError> {
        self.begin(now);
        self.canvas = self.info.picture.map(|picture| Canvas::new(picture, self.options.seed));
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, _wait: Span) -> Result<Filled, SourceError> {
        let Some((n, at)) = self.stamp(slot) else { return Ok(Filled::End) };
        if let (Some(canvas), Some(info)) = (&self.canvas, self.info.picture) {
            let Ok(bytes) = slot.pixels_mut(info) else { return Ok(too_big(n, at)) };
            canvas.draw(n, &self.objects, bytes);
        }
        let results_of = n - n % u64::from(self.options.results_every);
        match results::write(&self.options, &self.objects, results_of, slot) {
            Ok(()) => Ok(Filled::Frame),
            Err(_) => Ok(too_big(n, at)),
        }
    }
}

fn too_big(sequence: u64, at: Timestamp) -> Filled {
    Filled::Lost(Loss::one(Cause::TooBig, sequence, at))
}

/// A number that looks random, the same for the same input everywhere.
///
/// Source: the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
const fn hash(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
