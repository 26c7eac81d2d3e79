//! Real recordings played: `.kinora` and modlib's files, in the caller's loop and as a source.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kinora::playback::{BoxedTimeline, Place};
use kinora::prelude::*;
use kinora::timeline::Timeline;
use kinora::{ClockPair, ManualClock, Recorder};

fn manual() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(ClockPair::default()))
}

/// Records `frames` frames of the simulated camera into a file and returns its path.
fn recorded(folder: &Path, frames: u64) -> PathBuf {
    let path = folder.join("scene.kinora");
    let source = format!("virtual:seed=7,size=160x120,frames={frames}");
    let mut source = kinora::open_source(&source).unwrap().clock(manual());
    let mut recorder = Recorder::builder().file(&path).clock(manual()).source(source.info()).create().unwrap();
    let mut stream = source.start().unwrap();
    while let Some(frame) = stream.next().unwrap() {
        recorder.add(&frame).unwrap();
    }
    recorder.finish().unwrap();
    path
}

/// What identifies a frame: its number, its time, its picture, its boxes.
type Seen = (u64, i64, Vec<u8>, Vec<[f32; 4]>);

fn seen(frame: &Frame<'_>) -> Seen {
    let jpeg = frame.jpeg.map_or(Vec::new(), |jpeg| jpeg.bytes.to_vec());
    (frame.meta.sequence, frame.meta.captured_at.as_ns(), jpeg, frame.detections().bbox().to_vec())
}

fn all(path: &Path) -> Vec<Seen> {
    let mut playback = Playback::open(path).unwrap().clock(manual());
    assert_eq!(playback.notes(), [] as [String; 0]);
    let mut stream = playback.start().unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = stream.next().unwrap() {
        frames.push(seen(&frame));
    }
    assert_eq!(stream.report().counts.delivered, frames.len() as u64);
    frames
}

#[test]
fn a_recording_plays_in_the_same_loop_as_a_camera_and_shows_every_frame() {
    let folder = tempfile::tempdir().unwrap();
    let path = recorded(folder.path(), 50);
    let frames = all(&path);
    assert_eq!(frames.len(), 50);
    assert!(frames.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0 && pair[0].1 < pair[1].1));
    assert!(frames.iter().all(|(_, _, jpeg, boxes)| !jpeg.is_empty() && !boxes.is_empty()));
}

#[test]
fn a_recording_as_a_source_makes_an_equal_recording() {
    let folder = tempfile::tempdir().unwrap();
    let path = recorded(folder.path(), 30);
    let copy = folder.path().join("copy.kinora");
    let mut source = kinora::open_source(path.to_str().unwrap()).unwrap().clock(manual());
    let mut recorder = Recorder::builder().file(&copy).clock(manual()).source(source.info()).create().unwrap();
    let mut stream = source.start().unwrap();
    while let Some(frame) = stream.next().unwrap() {
        recorder.add(&frame).unwrap();
    }
    assert_eq!(recorder.finish().unwrap().dropped, 0);
    assert_eq!(all(&copy), all(&path));
}

#[test]
fn a_recording_without_frames_plays_as_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = recorded(folder.path(), 0);
    assert!(all(&path).is_empty());
    let refused = Playback::open(&path).unwrap().from(&Place::Frame(0)).unwrap_err();
    assert!(refused.to_string().contains("no frames"), "{refused}");
}

#[test]
fn files_that_are_no_recordings_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Playback::open(folder.path().join("nothing.kinora")).unwrap_err();
    assert!(missing.to_string().contains("nothing.kinora"), "{missing}");
    let text = folder.path().join("text.kinora");
    std::fs::write(&text, "this is not a recording").unwrap();
    assert!(Playback::open(&text).is_err());
    assert!(Playback::open(folder.path()).is_err(), "a folder is not a recording");
    let source = kinora::open_source("nothing.kinora").unwrap_err();
    assert!(source.to_string().contains("virtual"), "the message says what there is: {source}");
}

#[test]
fn a_pipe_or_a_device_is_refused_and_not_waited_for() {
    use rustix::fs::{CWD, FileType, mknodat};
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.json");
    mknodat(CWD, &pipe, FileType::Fifo, 0o600.into(), 0).unwrap();
    for path in [pipe.as_path(), Path::new("/dev/zero")] {
        let error = Playback::open(path).unwrap_err().to_string();
        assert!(error.contains("a pipe or a device") && error.contains(path.to_str().unwrap()), "{error}");
    }
}

#[test]
#[cfg(feature = "jpeg")]
fn pixels_come_decoded_beside_the_jpeg_and_a_frame_asked_for_twice_is_the_same() {
    use kinora::frame::PixelFormat;
    let folder = tempfile::tempdir().unwrap();
    let path = recorded(folder.path(), 5);
    for (format, bytes) in [(PixelFormat::Bgr888, 160 * 120 * 3), (PixelFormat::Grey, 160 * 120)] {
        let mut playback = Playback::open(&path).unwrap().clock(manual()).pixels(format).unwrap();
        let mut stream = playback.start().unwrap();
        let mut pictures = Vec::new();
        while let Some(frame) = stream.next().unwrap() {
            let pixels = frame.pixels.unwrap();
            assert_eq!((pixels.info.format, pixels.bytes.len()), (format, bytes));
            assert!(frame.jpeg.is_some());
            pictures.push(pixels.bytes.to_vec());
        }
        drop(stream);
        let mut timeline = playback.into_timeline();
        for index in [3, 3, 0, 4] {
            let pixels = timeline.frame(index).unwrap().pixels.unwrap().bytes.to_vec();
            assert_eq!(pixels, pictures[index as usize]);
        }
    }
}

#[cfg(feature = "modlib")]
mod modlib {
    use super::*;

    /// Reads every frame in that order.
    fn in_order(timeline: &mut BoxedTimeline, order: impl Iterator<Item = u64>) -> Vec<Seen> {
        order.map(|index| seen(&timeline.frame(index).unwrap())).collect()
    }

    #[test]
    fn a_modlib_recording_plays_at_its_own_pace_in_any_order() {
        let Some(folder) = common::shared("recordings") else { return };
        for name in ["people.json", "people.pkl"] {
            let frames = all(&folder.join(name));
            assert_eq!(frames.len(), 60, "{name}");
            assert!(frames.iter().all(|(_, _, jpeg, _)| jpeg.len() > 100_000));
            let mut timeline = Playback::open(folder.join(name)).unwrap().into_timeline();
            let mut backwards = in_order(&mut timeline, (0..60).rev());
            backwards.reverse();
            assert_eq!(backwards, frames, "{name}");
            for index in [0, 7, 59] {
                let at = timeline.captured_at(index).unwrap();
                assert_eq!(timeline.seek_time(at), index);
            }
        }
    }

    #[test]
    fn the_json_and_the_pickle_of_the_same_recording_play_alike() {
        let Some(folder) = common::shared("recordings") else { return };
        let (json, pickle) = (all(&folder.join("people.json")), all(&folder.join("people.pkl")));
        assert_eq!(json, pickle);
    }

    #[test]
    fn every_line_that_modlib_writes_at_its_edges_plays() {
        let Some(folder) = common::shared("recordings") else { return };
        let mut playback = Playback::open(folder.join("edge_cases.json")).unwrap().clock(manual());
        assert_eq!(playback.notes(), [] as [String; 0]);
        let frames = playback.len();
        let mut stream = playback.start().unwrap();
        let mut shown = 0;
        while stream.next().unwrap().is_some() {
            shown += 1;
        }
        assert_eq!(shown, frames);
        assert!(shown >= 14, "the file has at least 14 lines");
    }

    #[test]
    fn broken_lines_are_passed_over_and_told_with_line_and_byte() {
        let Some(shared) = common::shared("recordings") else { return };
        let whole = std::fs::read(shared.join("detections.json")).unwrap();
        let lines = whole.split_inclusive(|&byte| byte == b'\n').collect::<Vec<_>>();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.json");
        let torn = &lines[2][..lines[2].len() / 2];
        std::fs::write(&path, [lines[0], b"garbage\n", lines[1], torn].concat()).unwrap();
        let playback = Playback::open(&path).unwrap();
        assert_eq!(playback.len(), 2);
        let notes = playback.notes();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with(&format!("line 2, byte {}", lines[0].len())), "{notes:?}");
        assert!(notes[1].starts_with("line 4"), "{notes:?}");
    }

    #[test]
    fn a_modlib_recording_becomes_a_recording_of_ours_with_the_same_frames() {
        let Some(shared) = common::shared("recordings") else { return };
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("people.kinora");
        let path = shared.join("people.json");
        let mut source = kinora::open_source(path.to_str().unwrap()).unwrap().clock(manual());
        let mut recorder = Recorder::builder().file(&copy).clock(manual()).source(source.info()).create().unwrap();
        let mut stream = source.start().unwrap();
        while let Some(frame) = stream.next().unwrap() {
            recorder.add(&frame).unwrap();
        }
        assert_eq!(recorder.finish().unwrap().dropped, 0);
        assert_eq!(all(&copy), all(&path));
    }
}
