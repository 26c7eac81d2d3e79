//! A derived recording: the same pictures, times and numbers with other results; and the two compared.
#![cfg(feature = "std")]

use std::path::Path;

use kinora::diff::{DiffSettings, compare_timelines};
use kinora::event::EventKind;
use kinora::frame::{PictureInfo, PixelFormat};
use kinora::prelude::*;
use kinora::recorder::Format;
use kinora::recording::Reader;
use kinora::results::Results;
use kinora::slot::SlotSizes;
use kinora::timeline::Timeline;
use kinora::{ClockPair, Error, ManualClock, WallTime};

const FRAMES: u64 = 30;

fn original(path: &Path) {
    let start = ClockPair { monotonic: Timestamp::from_ns(7), wall: WallTime::from_utc_ns(1_800_000_000_000_000_000) };
    let mut source = SourceInfo::new("test");
    source.picture = Some(PictureInfo::packed(PixelFormat::Grey, 32, 24));
    source.recorded_clock = Some(start);
    source.labels.push("person").unwrap();
    source.labels.push("car").unwrap();
    let mut recorder = Recorder::builder().file(path).format(Format::Raw).min_free(0).source(&source).create().unwrap();
    let mut slot = Slot::new(&SlotSizes { pixels: 32 * 24, ..SlotSizes::default() });
    for n in 0..FRAMES {
        slot.reset();
        slot.meta.sequence = 2 * n;
        slot.meta.captured_at = start.monotonic + Span::from_ms(40 * n as i64);
        slot.meta.captured_wall = start.wall_of(slot.meta.captured_at);
        slot.pixels_mut(PictureInfo::packed(PixelFormat::Grey, 32, 24)).unwrap().fill(n as u8);
        slot.results.begin(ResultKind::Detections);
        slot.results.push_detection([0.1, 0.1, 0.5, 0.5], 0.5, 0, None).unwrap();
        slot.results.push_detection([0.6, 0.6, 0.9, 0.9], 0.25, 1, None).unwrap();
        recorder.add(&slot.frame(None)).unwrap();
        if n == 10 {
            recorder.bookmark("here").unwrap();
        }
    }
    recorder.finish().unwrap();
}

/// The original's results with the second box gone from every frame and the first one's confidence raised from frame 20 on.
fn newer(frame: &Frame<'_>) -> Results {
    let mut results = Results::new();
    results.begin(ResultKind::Detections);
    let confidence = if frame.meta.sequence >= 40 { 0.75 } else { 0.5 };
    results.push_detection([0.1, 0.1, 0.5, 0.5], confidence, 0, None).unwrap();
    results
}

fn derive(from: &Path, to: &Path) -> kinora::Summary {
    let clock = std::sync::Arc::new(ManualClock::new(ClockPair::default()));
    let mut playback = Playback::open(from).unwrap().clock(clock);
    let mut derived = Recorder::derive(&playback, to).unwrap();
    let mut stream = playback.start().unwrap();
    while let Some(frame) = stream.next().unwrap() {
        derived.add(&frame, &newer(&frame)).unwrap();
    }
    derived.finish().unwrap()
}

#[test]
fn a_derived_recording_keeps_pictures_times_numbers_labels_and_bookmarks() {
    let top = tempfile::tempdir().unwrap();
    let (a, b) = (top.path().join("a.kinora"), top.path().join("b.kinora"));
    original(&a);
    let summary = derive(&a, &b);
    assert_eq!((summary.frames, summary.detections, summary.dropped), (FRAMES, FRAMES, 0));
    let (mut old, mut new) = (Reader::open(&a).unwrap(), Reader::open(&b).unwrap());
    for i in 0..FRAMES {
        let (old, new) = (old.frame(i).unwrap(), new.frame(i).unwrap());
        assert_eq!((old.meta, old.pixels, old.jpeg), (new.meta, new.pixels, new.jpeg));
        assert_eq!(*new.results, newer(&old));
    }
    assert_eq!(old.header().labels, new.header().labels);
    assert_eq!(old.header().clock, new.header().clock);
    assert_ne!(old.header().id, new.header().id);
    let bookmark = new.events().unwrap().remove(0).1;
    assert_eq!((bookmark.kind, bookmark.text.as_str()), (EventKind::Bookmark, "here"));
    assert_eq!(new.info().clock_steps, 0);
}

#[test]
fn the_difference_of_two_versions_is_what_was_changed_and_nothing_else() {
    let top = tempfile::tempdir().unwrap();
    let (a, b) = (top.path().join("a.kinora"), top.path().join("b.kinora"));
    original(&a);
    derive(&a, &b);
    let compare = |x: &Path, y: &Path| {
        let (mut x, mut y) = (Reader::open(x).unwrap(), Reader::open(y).unwrap());
        compare_timelines(&mut x, &mut y, &DiffSettings::default(), |_| Ok(())).unwrap()
    };
    let report = compare(&a, &b);
    assert_eq!((report.frames_matched, report.frames_different), (FRAMES, FRAMES));
    assert_eq!((report.rows_lost, report.rows_added, report.rows_moved), (FRAMES, 0, 0));
    assert_eq!((report.rows_same, report.rows_confidence_changed), (20, 10));
    assert_eq!((report.confidence_delta_mean, report.pictures_different, report.times_different), (0.25, 0, 0));
    assert!(compare(&a, &a).is_equal() && compare(&b, &b).is_equal());
}

#[test]
fn results_that_point_outside_the_side_plane_are_refused() {
    let top = tempfile::tempdir().unwrap();
    let (a, b) = (top.path().join("a.kinora"), top.path().join("b.kinora"));
    original(&a);
    let clock = std::sync::Arc::new(ManualClock::new(ClockPair::default()));
    let mut playback = Playback::open(&a).unwrap().clock(clock);
    let mut derived = Recorder::derive(&playback, &b).unwrap();
    let mut stream = playback.start().unwrap();
    let frame = stream.next().unwrap().unwrap();
    let mut results = Results::new();
    results.begin(ResultKind::Segments);
    results.mask_shape = [4, 4];
    assert!(matches!(derived.add(&frame, &results), Err(Error::Setting(_))));
    derived.add_with_side(&frame, &results, &[255; 16]).unwrap();
    derived.finish().unwrap();
    let mut reader = Reader::open(&b).unwrap();
    assert_eq!(reader.frame(0).unwrap().segments().unwrap().mask, [255; 16]);
}
