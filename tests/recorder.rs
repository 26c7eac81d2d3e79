//! The recorder: files by name, split without loss, ended cleanly, the same under a manual clock.
#![cfg(feature = "std")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kinora::frame::{PictureInfo, PixelFormat};
use kinora::recorder::{Codec, Format, RecorderBuilder};
use kinora::recording::Reader;
use kinora::results::ResultKind;
use kinora::slot::{Slot, SlotSizes};
use kinora::source::SourceInfo;
use kinora::timeline::Timeline;
use kinora::{Added, Cause, Clock, ClockPair, Loss, ManualClock, Recorder, Span, Timestamp, WallTime};

const FRAME_TIME: Span = Span::from_ms(33);

/// Frame `n` of a grey 64 × 48 scene with `n % 3` boxes.
fn frame(slot: &mut Slot, n: u64, start: ClockPair) {
    slot.reset();
    slot.meta.sequence = n;
    slot.meta.captured_at = start.monotonic + Span::from_ns(FRAME_TIME.as_ns() * n as i64);
    slot.meta.captured_wall = start.wall_of(slot.meta.captured_at);
    slot.pixels_mut(PictureInfo::packed(PixelFormat::Grey, 64, 48)).unwrap().fill(n as u8);
    slot.results.begin(ResultKind::Detections);
    for i in 0..n % 3 {
        slot.results.push_detection([0.1, 0.2, 0.3, 0.4], 0.5 + i as f32 / 10.0, i as i32, None).unwrap();
    }
}

fn slot() -> Box<Slot> {
    Slot::new(&SlotSizes { pixels: 64 * 48, jpeg: 16 << 10, side: 0, sensor: 0, scratch: 0 })
}

fn start() -> ClockPair {
    ClockPair { monotonic: Timestamp::from_ns(5_000_000_000), wall: WallTime::from_utc_ns(1_800_000_000_000_000_000) }
}

fn raw() -> RecorderBuilder {
    Recorder::builder().format(Format::Raw).min_free(0)
}

fn source() -> SourceInfo {
    let mut source = SourceInfo::new("test:seed=1");
    source.picture = Some(PictureInfo::packed(PixelFormat::Grey, 64, 48));
    source
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = directory.read_dir().unwrap().map(|item| item.unwrap().path()).collect();
    files.sort();
    files
}

fn record(mut recorder: Recorder, frames: std::ops::Range<u64>) -> kinora::Summary {
    let mut slot = slot();
    for n in frames {
        frame(&mut slot, n, start());
        assert_eq!(recorder.add(&slot.frame(None)).unwrap(), Added::Kept);
    }
    recorder.finish().unwrap()
}

#[test]
fn a_manual_clock_gives_the_same_file_byte_for_byte() {
    let top = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(start()));
        let path = top.path().join(name);
        record(raw().file(&path).clock(clock).source(&source()).create().unwrap(), 0..100);
        std::fs::read(path).unwrap()
    };
    let (first, second) = (run("a.kinora"), run("b.kinora"));
    assert!(first.len() > 100 * 64 * 48);
    assert!(first == second, "files differ");
}

#[test]
fn a_dated_name_is_made_in_a_new_directory_and_never_twice() {
    let top = tempfile::tempdir().unwrap();
    let directory = top.path().join("a/recordings");
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(start()));
    let make = || raw().directory(&directory).clock(clock.clone()).source(&source()).create().unwrap();
    let summaries: Vec<_> = (0..3).map(|_| record(make(), 0..3)).collect();
    let names: Vec<_> =
        summaries.iter().map(|s| s.paths[0].file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let stem = names[0].strip_suffix(".kinora").unwrap();
    assert!(stem.starts_with("recording_2027-01-") && stem.len() == "recording_2027-01-15_08-00-00".len(), "{stem}");
    assert_eq!(names[1..], [format!("{stem}_2.kinora"), format!("{stem}_3.kinora")]);
    assert_eq!(summaries[0].to_string().split(": ").nth(1).unwrap().split(", ").next(), Some("3 frames"));
}

#[test]
fn an_existing_file_is_an_error_and_stays_as_it_is() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("a.kinora");
    std::fs::write(&path, b"precious").unwrap();
    let error = raw().file(&path).create().err().unwrap();
    assert!(error.to_string().contains("a.kinora exists"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_split_by_size_loses_no_frame_and_no_file_is_larger() {
    for clock in [Arc::new(kinora::SystemClock) as Arc<dyn Clock>, Arc::new(ManualClock::new(start()))] {
        let top = tempfile::tempdir().unwrap();
        let recorder = raw().file(top.path().join("a.kinora")).split_size(1 << 20).clock(clock);
        let mut info = source();
        info.recorded_clock = Some(start());
        let summary = record(recorder.source(&info).create().unwrap(), 0..1000);
        assert_eq!((summary.frames, summary.detections, summary.dropped), (1000, 999, 0));
        assert!(summary.paths.len() >= 3, "{summary}");
        assert_eq!(summary.paths[1], top.path().join("a_0001.kinora"));
        assert_eq!(files(top.path()), summary.paths, "nothing made ahead is left");
        for path in &summary.paths {
            let bytes = path.metadata().unwrap().len();
            assert!(bytes <= 1 << 20, "{}: {bytes}", path.display());
        }
        let bytes: u64 = summary.paths.iter().map(|path| path.metadata().unwrap().len()).sum();
        assert_eq!(bytes, summary.bytes);
        let mut next = 0;
        let series = Reader::open(&summary.paths[0]).unwrap().header().id;
        for (part, path) in summary.paths.iter().enumerate() {
            let mut reader = Reader::open(path).unwrap();
            assert!(reader.is_finalized());
            assert_eq!((reader.header().series, reader.header().part), (series, part as u32));
            assert_eq!(reader.header().source, "test:seed=1");
            for i in 0..reader.len() {
                assert_eq!(reader.frame(i).unwrap().meta.sequence, next);
                next += 1;
            }
        }
        assert_eq!(next, 1000);
    }
}

#[test]
fn a_split_by_time_begins_a_file_every_so_often() {
    let top = tempfile::tempdir().unwrap();
    let mut info = source();
    info.recorded_clock = Some(start());
    let recorder = raw().file(top.path().join("a.kinora")).split_time(Span::from_s(1)).source(&info);
    let summary = record(recorder.create().unwrap(), 0..100);
    // 31 frames of 33 ms lie within a second: 31 + 31 + 31 + 7.
    assert_eq!((summary.paths.len(), summary.frames), (4, 100));
}

/// The least that has the frame of a JPEG picture: SOI, SOF0 of 64 × 48 in grey, SOS, some data, EOI.
fn jpeg(data: u8) -> Vec<u8> {
    let mut bytes =
        vec![0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, 0, 48, 0, 64, 1, 1, 0x11, 0, 0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0];
    bytes.extend_from_slice(&[data; 100]);
    bytes.extend_from_slice(&[0xff, 0xd9]);
    bytes
}

#[test]
fn a_jpeg_is_stored_byte_for_byte_without_what_was_padded_behind_it() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("a.kinora");
    let mut recorder = Recorder::builder().file(&path).min_free(0).create().unwrap();
    let mut slot = slot();
    for (n, padding) in [(0, 0), (1, 37)] {
        frame(&mut slot, n, start());
        slot.clear_picture();
        let padded = [jpeg(n as u8), vec![0; padding]].concat();
        slot.put_jpeg(&padded, 64, 48).unwrap();
        assert_eq!(recorder.add(&slot.frame(None)).unwrap(), Added::Kept);
    }
    recorder.finish().unwrap();
    let mut reader = Reader::open(&path).unwrap();
    for n in 0..2 {
        let stored = reader.frame(n).unwrap();
        let picture = stored.jpeg.unwrap();
        assert_eq!((picture.bytes, picture.width, picture.height), (&jpeg(n as u8)[..], 64, 48));
        assert!(stored.pixels.is_none());
    }
}

#[test]
fn frames_of_another_time_keep_it_and_frames_of_now_follow_the_clock() {
    let top = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(start()));
    let path = top.path().join("live.kinora");
    let mut recorder = raw().file(&path).clock(clock.clone()).create().unwrap();
    let mut slot = slot();
    for n in 0..10 {
        frame(&mut slot, n, start());
        clock.sleep_until(slot.meta.captured_at);
        if n == 5 {
            clock.step_wall(Span::from_s(3600));
        }
        assert_eq!(recorder.add(&slot.frame(None)).unwrap(), Added::Kept);
    }
    recorder.bookmark("end").unwrap();
    recorder.finish().unwrap();
    let mut live = Reader::open(&path).unwrap();
    assert_eq!(live.info().clock_steps, 1);
    let bookmark = live.events().unwrap().remove(0).1;
    assert_eq!((bookmark.at, bookmark.text.as_str()), (clock.now(), "end"));

    let path = top.path().join("imported.kinora");
    let long_ago = ClockPair { monotonic: Timestamp::from_ns(-1_000_000_000_000), wall: WallTime::from_utc_ns(7) };
    let mut recorder = raw().file(&path).create().unwrap();
    for n in 0..10 {
        frame(&mut slot, n, long_ago);
        assert_eq!(recorder.add(&slot.frame(None)).unwrap(), Added::Kept);
    }
    recorder.finish().unwrap();
    let mut imported = Reader::open(&path).unwrap();
    assert_eq!((imported.info().clock_steps, imported.header().clock), (0, long_ago));
    assert_eq!(imported.info().first_utc, Some(WallTime::from_utc_ns(7)));
}

#[test]
fn a_recorder_that_is_dropped_closes_its_file() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("a.kinora");
    let mut recorder = raw().file(&path).split_size(1 << 20).create().unwrap();
    let mut slot = slot();
    frame(&mut slot, 0, start());
    assert_eq!(recorder.add(&slot.frame(None)).unwrap(), Added::Kept);
    drop(recorder);
    assert!(Reader::open(&path).unwrap().is_finalized());
}

#[test]
fn finishing_twice_gives_the_same_answer_and_nothing_is_added_after_it() {
    let top = tempfile::tempdir().unwrap();
    let mut recorder = raw().directory(top.path()).source(&source()).create().unwrap();
    let mut slot = slot();
    frame(&mut slot, 0, start());
    assert_eq!(recorder.add(&slot.frame(None)).unwrap(), Added::Kept);
    let summary = recorder.finish().unwrap();
    assert_eq!(recorder.finish().unwrap(), summary);
    assert!(recorder.add(&slot.frame(None)).is_err());
    assert!(recorder.bookmark("late").is_err());
}

#[test]
fn settings_out_of_range_are_refused_with_the_range() {
    let top = tempfile::tempdir().unwrap();
    let message = |builder: RecorderBuilder| builder.directory(top.path()).create().err().unwrap().to_string();
    assert_eq!(message(raw().quality(0)), "JPEG quality is 0; it has to be 1 to 100");
    assert!(message(raw().split_size(1000)).contains("at least 1048576"));
    assert!(message(raw().keep_size(1000)).contains("at least 1048576"));
    assert!(message(raw().split_time(Span::ZERO)).contains("longer"));
    assert!(message(raw().split_size(3 << 20).keep_size(2 << 20)).contains("larger than keep size"));
    assert!(message(raw().codec(Codec::ModlibJson)).contains("JSON"));
    assert!(files(top.path()).is_empty());
}

#[test]
fn losses_of_all_kinds_are_counted() {
    let top = tempfile::tempdir().unwrap();
    let mut recorder = raw().directory(top.path()).create().unwrap();
    let mut slot = slot();
    frame(&mut slot, 5, start());
    let losses = [Loss::run(Cause::RingFull, 1, 4, start().monotonic, start().monotonic)];
    let lent = kinora::Frame { losses: &losses, ..slot.frame(None) };
    assert_eq!(recorder.add(&lent).unwrap(), Added::Kept);
    slot.put_jpeg(b"no picture", 64, 48).unwrap();
    slot.clear_picture();
    slot.put_jpeg(b"no picture", 64, 48).unwrap();
    assert_eq!(recorder.add(&slot.frame(None)).unwrap(), Added::Lost(Cause::Corrupt));
    recorder.loss(&Loss::one(Cause::SourceStalled, 7, start().monotonic)).unwrap();
    let summary = recorder.finish().unwrap();
    assert_eq!((summary.frames, summary.dropped), (1, 6));
}

#[test]
fn a_recorder_without_a_frame_leaves_an_empty_recording() {
    let top = tempfile::tempdir().unwrap();
    let summary = raw().file(top.path().join("empty.kinora")).create().unwrap().finish().unwrap();
    assert_eq!((summary.frames, files(top.path()).len()), (0, 1));
}
