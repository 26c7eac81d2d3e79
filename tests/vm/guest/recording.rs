//! A camera recorded into a file: whatever it does, the file is closed, intact, and accounts for every frame.

use std::path::PathBuf;

use kinora::frame::PixelFormat;
use kinora::recording::Reader;
use kinora::source::v4l2::{V4l2Options, V4l2Source};
use kinora::{Capture, Cause, Recorder, Stream};

use crate::{CAMERA, scratch, set};

fn stream(format: PixelFormat) -> Stream {
    let options = V4l2Options { size: Some((640, 480)), format: Some(format), ..V4l2Options::default() };
    Capture::new(V4l2Source::open(CAMERA, &options).unwrap()).start().unwrap()
}

/// Records until `frames` are kept or the camera fails; the file, and what the camera said.
fn record(name: &str, format: PixelFormat, frames: u64, mut each: impl FnMut(u64)) -> (PathBuf, Option<String>) {
    let directory = scratch(name);
    let mut stream = stream(format);
    let mut recorder = Recorder::create(&directory).unwrap();
    let mut failure = None;
    while recorder.frames() < frames && failure.is_none() {
        match stream.next() {
            Ok(frame) => {
                recorder.add(&frame.expect("a camera has no end")).unwrap();
                each(recorder.frames());
            }
            Err(error) => failure = Some(error.to_string()),
        }
    }
    // Those before a frame came with it; these are the ones that no frame came after.
    if failure.is_some() {
        stream.losses().iter().for_each(|loss| recorder.loss(loss).unwrap());
    }
    let summary = recorder.finish().unwrap();
    println!("{summary}");
    assert_eq!(summary.paths.len(), 1);
    (summary.paths[0].clone(), failure)
}

/// Reads every frame and the whole ledger: closed, in order, colours right, nothing unaccounted for. Returns the losses
/// for one cause.
fn check(file: &PathBuf, frames: u64, cause: Cause) -> u64 {
    let mut reader = Reader::open(file).unwrap();
    assert!(reader.is_finalized());
    assert_eq!(reader.frame_count(), frames);
    let mut numbers = Vec::new();
    for index in 0..frames {
        let frame = reader.read_frame(index).unwrap();
        numbers.push(frame.meta.sequence);
        if index % 10 == 0 {
            assert_yellow(frame.jpeg.unwrap().bytes);
        }
    }
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let losses: Vec<_> = reader.losses().unwrap().into_iter().map(|(_, loss)| loss).collect();
    let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
    let between: u64 = losses.iter().filter(|l| (first..last).contains(&l.first_sequence)).map(|l| l.count).sum();
    assert_eq!(last - first + 1, frames + between, "{numbers:?} {losses:?}");
    losses.iter().filter(|loss| loss.cause == cause).map(|loss| loss.count).sum()
}

/// The second of vivid's eight bars, below its text.
fn assert_yellow(jpeg: &[u8]) {
    let image = turbojpeg::decompress(jpeg, turbojpeg::PixelFormat::RGB).unwrap();
    assert_eq!((image.width, image.height), (640, 480));
    let at = 400 * image.pitch + 3 * 120;
    let found = &image.pixels[at..at + 3];
    let near = |expected: [u8; 3]| found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 16);
    assert!(near([191, 191, 0]) || near([176; 3]), "{found:?} is neither yellow nor its grey");
}

pub fn frames_of_each_format_are_recorded_and_read_back() {
    use PixelFormat::{Bgr888, Grey, Nv12, Rgb888, Yuv420, Yuyv};
    let frames = crate::frames(100, 30).into();
    for format in [Yuyv, Nv12, Yuv420, Rgb888, Bgr888, Grey] {
        let (file, failure) = record(format.name(), format, frames, |_| {});
        assert_eq!(failure, None);
        check(&file, frames, Cause::SourceGap);
    }
}

pub fn a_recording_of_a_camera_that_drops_and_breaks_frames_accounts_for_each() {
    let (file, failure) = record("lossy", PixelFormat::Nv12, 100, |kept| {
        set("Percentage of Dropped Buffers", if kept < 100 { 30 } else { 0 });
        if kept % 10 == 0 {
            set("Inject V4L2_BUF_FLAG_ERROR", 1);
        }
    });
    assert_eq!(failure, None);
    assert!(check(&file, 100, Cause::SourceGap) >= 10);
    assert!(check(&file, 100, Cause::Corrupt) >= 5);
}

pub fn a_recording_of_an_unplugged_camera_ends_cleanly_with_all_it_gave() {
    let (mut before, kept_at_least) = (0, 30);
    let (file, failure) = record("unplugged", PixelFormat::Yuyv, 1_000_000, |kept| {
        before = kept;
        if kept == kept_at_least {
            set("Disconnect", 1);
        }
    });
    assert_eq!(failure.as_deref(), Some("/dev/video0 went away"));
    assert!(before >= kept_at_least);
    check(&file, before, Cause::SourceGap);
}
