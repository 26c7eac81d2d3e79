//! A modlib recording into `.kinora` and out again: the same lines.
//!
//! The recordings lie in `../shared/recordings` (or `$KINORA_SHARED/recordings`); tests that need them say so and pass without
//! them, except with `KINORA_REQUIRE_SHARED=1`.
#![cfg(feature = "modlib")]

mod common;
#[path = "common/modlib.rs"]
mod lines;

use std::fs::File;
use std::path::Path;

use jiff::tz::TimeZone;
use kinora::modlib::{Format, Import, Imported, LINE_BYTES_MAX, Writer};
use kinora::playback::Playback;
use kinora::recorder::Recorder;
use kinora::slot::Slot;
use kinora::{Added, Timestamp};
use lines::{SIZES, round_trip};

/// All frames of `from` into `to`, whatever its name says it is; returns how many.
fn import(from: &Path, to: &Path, zone: TimeZone) -> u64 {
    let format =
        if from.extension().is_some_and(|extension| extension == "pkl") { Format::Pickle } else { Format::Json };
    let mut import = Import::new(File::open(from).unwrap(), format, zone, LINE_BYTES_MAX);
    let mut recorder = Recorder::builder().file(to).min_free(0).create().unwrap();
    let mut slot = Slot::new(&SIZES);
    while import.next(&mut slot).unwrap() == Imported::Frame {
        assert_eq!(recorder.add(&slot.frame(None)).unwrap(), Added::Kept);
    }
    recorder.finish().unwrap().frames
}

fn export(recording: &Path) -> Vec<String> {
    let mut timeline = Playback::open(recording).unwrap().into_timeline();
    let mut writer = Writer::new();
    (0..timeline.len())
        .map(|index| {
            let mut line = Vec::new();
            writer.write_line(&timeline.frame(index).unwrap(), &mut line).unwrap();
            String::from_utf8(line).unwrap()
        })
        .collect()
}

#[test]
fn what_goes_into_a_recording_comes_out_as_the_same_lines() {
    let Some(recordings) = common::shared("recordings") else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in [
        "people.json",
        "cars.json",
        "astronaut.json",
        "classifications.json",
        "detections.json",
        "poses.json",
        "segments.json",
        "instance_segments.json",
        "anomaly.json",
        "obb.json",
        "edge_cases.json",
        "sony_tea_headless.json",
    ] {
        let to = folder.path().join(name).with_extension("kinora");
        let frames = import(&recordings.join(name), &to, TimeZone::get("America/New_York").unwrap());
        let text = std::fs::read(recordings.join(name)).unwrap();
        let straight: Vec<String> = round_trip(&text, TimeZone::UTC).into_iter().map(Result::unwrap).collect();
        assert_eq!(frames, straight.len() as u64, "{name}");
        let through: Vec<String> = export(&to);
        for (number, (straight, through)) in straight.iter().zip(&through).enumerate() {
            assert!(straight == through, "{name}: line {} differs", number + 1);
        }
        assert_eq!(straight.len(), through.len(), "{name}");
    }
}

#[test]
fn pickles_and_lines_of_the_same_frames_become_the_same_recording() {
    let Some(recordings) = common::shared("recordings") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.kinora"), folder.path().join("b.kinora"));
    import(&recordings.join("people.json"), &a, TimeZone::UTC);
    import(&recordings.join("people.pkl"), &b, TimeZone::UTC);
    assert!(export(&a) == export(&b));
}

#[test]
fn the_recorder_writes_modlibs_lines_into_a_file_that_is_called_so() {
    let Some(recordings) = common::shared("recordings") else { return };
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("again.json");
    import(&recordings.join("cars.json"), &to, TimeZone::UTC);
    assert!(std::fs::read(&to).unwrap() == std::fs::read(recordings.join("cars.json")).unwrap());
}

#[test]
fn a_modlib_file_plays_as_it_is_and_keeps_times_that_go_back() {
    let Some(recordings) = common::shared("recordings") else { return };
    let mut timeline = Playback::open(recordings.join("edge_cases.json")).unwrap().into_timeline();
    assert_eq!(timeline.len(), 14);
    assert_eq!(timeline.captured_at(13), Some(Timestamp::from_ns(-500_000)));
    assert_eq!(timeline.frame(10).unwrap().detections().bbox().len(), 300);
}
