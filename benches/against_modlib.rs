//! Kinora's side of the comparison with Sony's modlib: record, play with pixels, play detections only, on the pictures of a
//! modlib JSON recording, JPEG quality 95, one thread; and the same compression by libjpeg-turbo alone.
//!
//! `scripts/compare-modlib` runs it beside modlib and compares. `--figures FILE` prints one JSON object; without it, the
//! committed sample is taken and the figures are printed as lines. Not typical: frames come as fast as they are taken.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{folder, say, size};
use kinora::frame::{PictureInfo, PixelFormat, Pixels};
use kinora::jpeg::JpegOptions;
use kinora::playback::Rate;
use kinora::slot::{Slot, SlotSizes};
use kinora::source::{Filled, Source, SourceError, SourceInfo};
use kinora::{Capture, ClockPair, Frame, Playback, Recorder, Session, Settings, Span};
use turbojpeg::{Compressor, Decompressor, Image, PixelFormat as TurboFormat, Subsamp};

const QUALITY: u8 = 95;

/// Times that the frames are recorded into one file, one after another; scripts/compare_modlib.py does the same.
const REPEATS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let named =
        arguments.iter().position(|argument| argument == "--figures").map(|at| PathBuf::from(&arguments[at + 1]));
    let path = named.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/astronaut.kinora"));
    let frames = decoded_frames(&path);
    let figures = measure(&frames, size(1, 2));
    if named.is_some() {
        let fields: Vec<String> = figures.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
        println!("{{{}}}", fields.join(", "));
    } else {
        println!("{} frames, {REPEATS} times", frames.len());
        figures.iter().for_each(|(name, value)| say(name, format!("{value:.0}")));
    }
}

type Figures = Vec<(&'static str, f64)>;

fn measure(frames: &Arc<Vec<Box<Slot>>>, passes: usize) -> Figures {
    let (mut figures, folder) = (Figures::new(), folder());
    let count = (frames.len() * REPEATS * passes) as f64;
    let fps = |work: &mut dyn FnMut(usize)| {
        let started = Instant::now();
        (0..passes).for_each(work);
        count / started.elapsed().as_secs_f64()
    };

    let path = |pass: usize| folder.path().join(format!("{pass}.kinora"));
    let recording: Duration = (0..passes).map(|pass| record(frames, &path(pass))).sum();
    figures.push(("kinora_record_fps", count / recording.as_secs_f64()));
    let bytes = std::fs::metadata(path(0)).expect("the recording").len();
    figures.push(("kinora_bytes", bytes as f64));
    figures.push(("kinora_play_pixels_fps", fps(&mut |pass| play(&path(pass), true, frames.len() * REPEATS))));
    // So much faster that one file is played many times.
    let repeats = 10;
    let detections = fps(&mut |pass| (0..repeats).for_each(|_| play(&path(pass), false, frames.len() * REPEATS)));
    figures.push(("kinora_play_detections_fps", detections * f64::from(repeats)));

    let jpegs = bare_encode(frames);
    figures.push(("bare_encode_fps", fps(&mut |_| (0..REPEATS).for_each(|_| drop(bare_encode(frames))))));
    figures.push(("bare_decode_fps", fps(&mut |_| (0..REPEATS).for_each(|_| bare_decode(frames, &jpegs)))));

    let encoders = std::thread::available_parallelism().map_or(1, usize::from).clamp(1, 4);
    figures.push(("encoders", encoders as f64));
    figures.push(("kinora_session_fps", fps(&mut |pass| session(frames, encoders, &path(passes + pass)))));
    figures
}

/// Every frame of the recording with its pixels.
fn decoded_frames(path: &Path) -> Arc<Vec<Box<Slot>>> {
    let mut playback =
        Playback::open(path).expect("a recording").pixels(PixelFormat::Bgr888).expect("a decoder").rate(Rate::Max);
    let mut stream = playback.start().expect("playback");
    let mut frames = Vec::new();
    while let Some(frame) = stream.next().expect("a frame") {
        let pixels = frame.pixels.expect("every frame has a picture");
        let info = pixels.info;
        let mut slot = Slot::new(&SlotSizes { pixels: info.bytes().expect("a size"), ..SlotSizes::default() });
        slot.copy_from(&Frame { jpeg: None, ..frame }).expect("the slot was made for it");
        frames.push(slot);
    }
    Arc::new(frames)
}

fn shape(frames: &[Box<Slot>]) -> PictureInfo {
    pixels(&frames[0]).info
}

fn pixels(slot: &Slot) -> Pixels<'_> {
    slot.frame(None).pixels.expect("every frame has pixels")
}

/// Records every frame; returns the time from the first frame to the closed file. Making the recorder, and with it the file, is
/// not in it, as modlib's constructor is not on the other side: both happen before a camera delivers.
fn record(frames: &[Box<Slot>], path: &Path) -> Duration {
    let mut info = SourceInfo::new("memory");
    info.picture = Some(shape(frames));
    let mut recorder = Recorder::builder().file(path).quality(QUALITY).source(&info).create().expect("a recorder");
    let started = Instant::now();
    for slot in (0..REPEATS).flat_map(|_| frames) {
        let _ = recorder.add(&slot.frame(None)).expect("added");
    }
    let summary = recorder.finish().expect("finished");
    let took = started.elapsed();
    assert_eq!((summary.frames, summary.dropped), ((frames.len() * REPEATS) as u64, 0));
    took
}

fn play(path: &Path, with_pixels: bool, frames: usize) {
    let playback = Playback::open(path).expect("a recording").rate(Rate::Max);
    let mut playback =
        if with_pixels { playback.pixels(PixelFormat::Bgr888).expect("a decoder") } else { playback.results_only() };
    let mut stream = playback.start().expect("playback");
    let (mut seen, mut boxes) = (0, 0);
    while let Some(frame) = stream.next().expect("a frame") {
        assert_eq!(frame.pixels.is_some(), with_pixels);
        boxes += frame.detections().bbox().len();
        seen += 1;
    }
    assert_eq!(seen, frames);
    assert!(boxes > 0, "nothing was detected");
}

/// The same pictures through libjpeg-turbo and nothing else.
fn bare_encode(frames: &[Box<Slot>]) -> Vec<Vec<u8>> {
    let mut compressor = Compressor::new().expect("a compressor");
    compressor.set_quality(QUALITY.into()).expect("in range");
    compressor.set_subsamp(Subsamp::Sub2x2).expect("known");
    let info = shape(frames);
    let mut buffer = vec![0; compressor.buf_len(info.width as usize, info.height as usize).expect("a bound")];
    let mut encode = |slot: &Slot| {
        let picture = pixels(slot);
        let image = Image {
            pixels: picture.bytes,
            width: picture.info.width as usize,
            pitch: picture.info.stride as usize,
            height: picture.info.height as usize,
            format: TurboFormat::BGR,
        };
        let bytes = compressor.compress_to_slice(image, &mut buffer).expect("compressed");
        buffer[..bytes].to_vec()
    };
    frames.iter().map(|slot| encode(slot)).collect()
}

fn bare_decode(frames: &[Box<Slot>], jpegs: &[Vec<u8>]) {
    let mut decompressor = Decompressor::new().expect("a decompressor");
    let info = shape(frames);
    let mut pixels = vec![0; info.bytes().expect("a size")];
    for jpeg in jpegs {
        let image = Image {
            pixels: &mut pixels[..],
            width: info.width as usize,
            pitch: info.stride as usize,
            height: info.height as usize,
            format: TurboFormat::BGR,
        };
        decompressor.decompress(jpeg, image).expect("decompressed");
        std::hint::black_box(&mut pixels);
    }
}

/// The frames as a source that waits for free slots.
struct Memory {
    info: SourceInfo,
    frames: Arc<Vec<Box<Slot>>>,
    next: usize,
}

impl Source for Memory {
    fn describe(&self) -> &SourceInfo {
        &self.info
    }

    fn start(&mut self, _now: ClockPair) -> Result<(), SourceError> {
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, _wait: Span) -> Result<Filled, SourceError> {
        if self.next == self.frames.len() * REPEATS {
            return Ok(Filled::End);
        }
        let frame = &self.frames[self.next % self.frames.len()];
        self.next += 1;
        slot.copy_from(&frame.frame(None)).expect("the slot was made for it");
        Ok(Filled::Frame)
    }
}

/// The same recording with the engine's own threads.
fn session(frames: &Arc<Vec<Box<Slot>>>, encoders: usize, path: &Path) {
    let mut info = SourceInfo::new("memory");
    info.live = false;
    info.picture = Some(shape(frames));
    let source = Memory { info, frames: Arc::clone(frames), next: 0 };
    let format = kinora::PictureFormat::Jpeg(JpegOptions { quality: QUALITY, ..JpegOptions::default() });
    let capture = Capture::new(source).settings(Settings { encoders, format, ..Settings::default() });
    let recorder = Recorder::builder().file(path).create().expect("a recorder");
    let mut session = Session::builder().source(capture).recorder(recorder).start().expect("a session");
    while !session.wait_within(Span::from_s(10)) {}
    let report = session.stop().expect("stopped");
    assert_eq!(report.summary.frames, (frames.len() * REPEATS) as u64);
}
