//! A camera under the engine: what happens to it stands in the ledger.

use std::time::{Duration, Instant};

use kinora::frame::PixelFormat;
use kinora::source::v4l2::{V4l2Options, V4l2Source};
use kinora::{Capture, Cause, Stream};

use crate::{CAMERA, PATIENCE, set};

fn stream() -> Stream {
    let options = V4l2Options { format: Some(PixelFormat::Yuyv), ..V4l2Options::default() };
    Capture::new(V4l2Source::open(CAMERA, &options).unwrap()).start().unwrap()
}

/// Numbers of the next `frames` frames, and how many frames were lost between the first and the last of them. Losses may
/// be lent with an earlier frame, when frames wait.
fn take(stream: &mut Stream, frames: usize, mut each: impl FnMut(usize)) -> (Vec<u64>, u64) {
    let (mut numbers, mut losses, begun) = (Vec::new(), Vec::new(), Instant::now());
    while numbers.len() < frames {
        assert!(begun.elapsed() < PATIENCE, "{} of {frames} frames came", numbers.len());
        let frame = stream.next().unwrap().unwrap();
        assert!(frame.pixels.is_some());
        losses.extend_from_slice(frame.losses);
        numbers.push(frame.meta.sequence);
        each(numbers.len());
    }
    let between = numbers[0]..numbers[numbers.len() - 1];
    let lost = losses.iter().filter(|loss| between.contains(&loss.first_sequence)).map(|loss| loss.count).sum();
    (numbers, lost)
}

fn assert_accounted(numbers: &[u64], lost: u64) {
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let passed = numbers[numbers.len() - 1] - numbers[0] + 1;
    assert_eq!(passed, numbers.len() as u64 + lost, "delivered and lost make all: {numbers:?}");
}

pub fn every_number_is_delivered_or_in_the_ledger_whatever_the_camera_does() {
    let mut stream = stream();
    set("Percentage of Dropped Buffers", 30);
    let (numbers, lost) = take(&mut stream, 100, |before| {
        if before % 10 == 0 {
            set("Inject V4L2_BUF_FLAG_ERROR", 1);
        }
    });
    set("Percentage of Dropped Buffers", 0);
    let ledger = stream.ledger();
    let (gaps, corrupt) = (ledger.total(Cause::SourceGap), ledger.total(Cause::Corrupt));
    println!("100 frames, {gaps} dropped and {corrupt} broken by the camera, all in the ledger");
    assert_accounted(&numbers, lost);
    assert!(gaps >= 10 && corrupt >= 5, "{gaps} and {corrupt}");
}

pub fn a_loop_that_is_too_slow_loses_frames_and_every_one_is_in_the_ledger() {
    let mut stream = stream();
    let (numbers, lost) = take(&mut stream, 40, |before| {
        if before == 5 {
            // Longer than all slots together hold.
            std::thread::sleep(Duration::from_secs(4));
        }
    });
    println!("{lost} frames lost to a loop that slept for 4 s: {:?}", stream.stats());
    assert_accounted(&numbers, lost);
    assert!(stream.ledger().total(Cause::RingFull) >= 10, "{:?}", stream.ledger());
}

pub fn frames_of_an_unplugged_camera_are_delivered_before_the_error() {
    let mut stream = stream();
    let (numbers, lost) = take(&mut stream, 20, |_| {});
    assert_accounted(&numbers, lost);
    set("Disconnect", 1);
    let told = loop {
        match stream.next() {
            Ok(frame) => assert!(frame.is_some(), "an unplugged camera is an error, not an end"),
            Err(error) => break error.to_string(),
        }
    };
    assert_eq!(told, "/dev/video0 went away");
}
