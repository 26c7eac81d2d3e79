//! The capture thread asks for no memory once it runs, with either kind of camera: counted with a `malloc` of our own, preloaded.

use std::process::Command;

use kinora::frame::PixelFormat;
use kinora::source::v4l2::{V4l2Options, V4l2Source};
use kinora::source::{CameraOptions, RawMetadata};
use kinora::{Capture, SourceOptions, open_source_with};

use crate::{CAMERA, imx500, scratch};

/// Built by `scripts/vm-test` from `tests/malloc_count`.
const COUNTER: &str = "/lib/malloc_count.so";
/// In the environment of the counted process: how many frames it takes.
pub const FRAMES: &str = "KINORA_VM_FRAMES";

/// With pictures that are developed, results, and metadata that is kept.
pub fn the_capture_thread_of_an_imx500_allocates_nothing_however_long_it_runs() {
    if imx500::ready() {
        the_capture_thread_of_a_camera_allocates_nothing_however_long_it_runs();
    }
}

pub fn the_capture_thread_of_a_camera_allocates_nothing_however_long_it_runs() {
    let (few, many) = (calls_with(20), calls_with(120));
    println!("the capture thread calls malloc {few} times with 20 frames, {many} times with 120");
    assert_eq!(few, many);
}

/// Calls of the capture thread in a process that takes so many frames.
fn calls_with(frames: u32) -> u64 {
    let program = std::env::current_exe().unwrap();
    let report = scratch("malloc_report");
    let mut counted = Command::new(program);
    counted.env("LD_PRELOAD", COUNTER).env("KINORA_MALLOC_REPORT", &report).env(FRAMES, frames.to_string());
    assert!(counted.status().unwrap().success());
    let report = std::fs::read_to_string(report).unwrap();
    let of_capture = report.lines().find_map(|line| line.strip_suffix(" kinora-capture"));
    of_capture.unwrap_or_else(|| panic!("no capture thread in {report}")).parse().unwrap()
}

/// What the counted process does.
pub fn take(frames: u32, camera: &str) {
    let mut capture = match camera {
        "vivid" => {
            let options = V4l2Options { format: Some(PixelFormat::Yuyv), ..V4l2Options::default() };
            Capture::new(V4l2Source::open(CAMERA, &options).unwrap())
        }
        _ => {
            let camera = CameraOptions {
                network: Some("ssd".into()),
                raw_metadata: Some(RawMetadata::Results),
                ..CameraOptions::default()
            };
            open_source_with("imx500", &SourceOptions { camera, ..SourceOptions::default() }).unwrap()
        }
    };
    let mut stream = capture.start().unwrap();
    for _ in 0..frames {
        assert!(stream.next().unwrap().is_some());
    }
}
