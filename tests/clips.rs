//! Clips around events: pre-roll, post-roll, overlaps, rules, slow disks, and what stands in the files.

use std::path::{Path, PathBuf};

use kinora::clips::{ClipControl, ClipEvent, ClipSettings, ClipSink, Overlap, RuleSettings};
use kinora::event::Event;
use kinora::frame::{Frame, FrameMeta, JpegPicture, PictureInfo, PixelFormat};
use kinora::recording::Reader;
use kinora::results::{ResultKind, Results};
use kinora::sink::{Added, FrameSink, Summary};
use kinora::source::SourceInfo;
use kinora::time::{ClockPair, Span, Timestamp, WallTime};
use kinora::timeline::Timeline;
use kinora::{Loss, Result};

/// Smallest JPEG: 1 x 1, grey.
const JPEG: &[u8] = include_bytes!("data/grey_1x1.jpg");
const FRAME_TIME: Span = Span::from_ms(100);
/// 2025-06-14T10:32:07 UTC.
const START: WallTime = WallTime::from_utc_ns(1_749_897_127_000_000_000);

/// The recorder that takes everything besides; here it only counts.
#[derive(Default)]
struct Counter(u64);

impl FrameSink for Counter {
    fn begin(&mut self, _: &SourceInfo, _: ClockPair) -> Result<()> {
        Ok(())
    }
    fn add(&mut self, _: &Frame<'_>) -> Result<Added> {
        self.0 += 1;
        Ok(Added::Kept)
    }
    fn loss(&mut self, _: &Loss) -> Result<()> {
        Ok(())
    }
    fn event(&mut self, _: &Event) -> Result<()> {
        Ok(())
    }
    fn finish(&mut self) -> Result<Summary> {
        Ok(Summary { frames: self.0, ..Summary::default() })
    }
}

struct Rig {
    sink: ClipSink,
    control: ClipControl,
    next: u64,
}

impl Rig {
    fn new(settings: ClipSettings) -> Self {
        let (mut sink, control) = ClipSink::new(Box::new(Counter::default()), settings).unwrap();
        let mut info = SourceInfo::new("test");
        info.frame_rate = (10, 1);
        info.picture = Some(PictureInfo { format: PixelFormat::Jpeg, width: 1, height: 1, stride: 0 });
        info.jpeg_bytes_max = 4096;
        info.labels.push("person").unwrap();
        sink.begin(&info, ClockPair { monotonic: Timestamp::from_ns(0), wall: START }).unwrap();
        Self { sink, control, next: 0 }
    }

    fn frame(&mut self, persons: usize) {
        let since = Span::from_ns(FRAME_TIME.as_ns() * self.next as i64);
        let meta = FrameMeta {
            sequence: self.next,
            captured_at: Timestamp::from_ns(0) + since,
            captured_wall: START + since,
            ..FrameMeta::new()
        };
        let mut results = Results::new();
        results.begin(ResultKind::Detections);
        for i in 0..persons {
            results.push_detection([0.1, 0.1, 0.2, 0.2], 0.9, 0, Some(i as i64)).unwrap();
        }
        let frame = Frame {
            meta: &meta,
            results: &results,
            pixels: None,
            jpeg: Some(JpegPicture { width: 1, height: 1, bytes: JPEG }),
            side: &[],
            sensor: &[],
            labels: None,
            losses: &[],
        };
        assert_eq!(self.sink.add(&frame).unwrap(), Added::Kept);
        self.next += 1;
    }

    fn run(&mut self, frames: u64) {
        for _ in 0..frames {
            self.frame(0);
            // Let the clip thread have its turn: this is no real-time loop.
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
    }

    /// The next event, when the clip thread has come so far.
    fn event(&mut self) -> ClipEvent {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            if let Some(event) = self.control.events().next() {
                return event;
            }
            assert!(std::time::Instant::now() < deadline, "no event came");
            // What waits is handed over with the next frames; they come no faster than the clip thread can follow.
            self.run(1);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn finish(mut self) -> Vec<ClipEvent> {
        let summary = self.sink.finish().unwrap();
        assert_eq!(summary.frames, self.next, "the recorder beside got every frame");
        self.control.events().collect()
    }
}

/// A reserve that no busy machine uses up: these tests are not about a slow disk.
fn settings(directory: &Path) -> ClipSettings {
    ClipSettings {
        history: Span::from_s(5),
        reserve: Span::from_s(120),
        min_free_bytes: 0,
        ..ClipSettings::new(directory)
    }
}

fn sequences(path: &Path) -> Vec<u64> {
    let mut reader = Reader::open(path).unwrap();
    (0..reader.len()).map(|i| reader.frame(i).unwrap().meta.sequence).collect()
}

fn saved(event: &ClipEvent) -> (PathBuf, u64) {
    match event {
        ClipEvent::Saved { path, frames, lost: 0, .. } => (path.clone(), *frames),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_clip_holds_pre_roll_trigger_and_post_roll_bit_by_bit() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(settings(directory.path()));
    rig.run(40);
    rig.control.trigger("two people", Span::from_s(2), Span::from_s(1)).unwrap();
    rig.run(30);
    let events = rig.finish();
    let (path, frames) = saved(&events[0]);
    // Carried out with frame 40: 20 before it, 10 after it.
    assert_eq!(sequences(&path), (20..=50).collect::<Vec<_>>());
    assert_eq!((events.len(), frames), (1, 31));
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("clip_2025-06-14_10-32-11_two-people"), "{name}");
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.frame(7).unwrap().jpeg.unwrap().bytes, JPEG);
    assert!(reader.info().finalized);
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [path.file_name().unwrap()], "no temporary file is left");
}

#[test]
fn saving_again_and_again_leaves_the_history_usable() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(settings(directory.path()));
    rig.run(20);
    for _ in 0..3 {
        rig.control.save("again").unwrap();
        rig.run(10);
    }
    rig.control.save_last("last", Span::from_ms(500)).unwrap();
    rig.run(5);
    let events = rig.finish();
    let mut lengths: Vec<u64> = events.iter().map(|event| saved(event).1).collect();
    // A short one may be done before a long one that began earlier.
    lengths.sort_unstable();
    assert_eq!(lengths, [6, 21, 31, 41]);
    let names: std::collections::BTreeSet<_> = events.iter().map(|event| saved(event).0).collect();
    assert_eq!(names.len(), 4, "none replaced another");
}

#[test]
fn overlapping_triggers_extend_a_clip_or_make_separate_ones() {
    for (overlap, expected) in [(Overlap::Extend, vec![(15, 45)]), (Overlap::Separate, vec![(15, 35), (20, 45)])] {
        let directory = tempfile::tempdir().unwrap();
        let mut rig = Rig::new(ClipSettings { overlap, ..settings(directory.path()) });
        rig.run(25);
        rig.control.trigger("a", Span::from_s(1), Span::from_s(1)).unwrap();
        rig.run(5);
        rig.control.trigger("b", Span::from_s(1), Span::from_ms(1500)).unwrap();
        rig.run(30);
        let ranges: Vec<(u64, u64)> = rig
            .finish()
            .iter()
            .map(|event| sequences(&saved(event).0))
            .map(|sequences| (sequences[0], sequences[sequences.len() - 1]))
            .collect();
        assert_eq!(ranges, expected, "{overlap:?}");
    }
}

#[test]
fn less_pre_roll_than_asked_still_makes_a_clip_and_more_than_the_history_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(settings(directory.path()));
    let refused = rig.control.trigger("x", Span::from_s(6), Span::ZERO).unwrap_err().to_string();
    assert!(refused.contains("6.000 s") && refused.contains("5.000 s"), "{refused}");
    rig.run(10);
    rig.control.trigger("early", Span::from_s(3), Span::ZERO).unwrap();
    rig.run(5);
    let events = rig.finish();
    assert!(
        matches!(&events[0], ClipEvent::Saved { pre_short, frames: 11, .. } if *pre_short == Span::from_s(2)),
        "{events:?}"
    );
}

#[test]
fn a_rule_saves_clips_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let rule = RuleSettings { rule: "2x person>0.6 for 200ms".into(), pre: Span::from_s(1), post: Span::from_ms(500) };
    let mut rig = Rig::new(ClipSettings { rules: vec![rule], ..settings(directory.path()) });
    rig.run(20);
    rig.frame(2);
    rig.run(5);
    (0..3).for_each(|_| rig.frame(2));
    rig.run(20);
    let events = rig.finish();
    assert_eq!(events.len(), 1);
    // Two persons from frame 26 on; 200 ms later is frame 28.
    assert_eq!(sequences(&saved(&events[0]).0), (18..=33).collect::<Vec<_>>());
}

#[test]
fn a_rule_may_lock_its_clips() {
    let directory = tempfile::tempdir().unwrap();
    let rule = |rule: &str| RuleSettings { rule: rule.into(), pre: Span::from_ms(300), post: Span::ZERO };
    let rules = vec![rule("2x person lock"), rule("3x person")];
    let mut rig = Rig::new(ClipSettings { rules, overlap: Overlap::Separate, ..settings(directory.path()) });
    rig.run(10);
    rig.frame(2);
    rig.run(10);
    rig.frame(3);
    rig.run(10);
    let mut locked: Vec<(String, bool)> = rig
        .finish()
        .iter()
        .map(|event| {
            let ClipEvent::Saved { path, label, .. } = event else { panic!("{event:?}") };
            (label.to_string(), path.to_str().unwrap().ends_with(".locked.kinora"))
        })
        .collect();
    locked.sort();
    // Three persons are two as well: each rule makes its own clip.
    let expected = [("2x person lock", true), ("2x person lock", true), ("3x person", false)];
    assert_eq!(locked, expected.map(|(label, locked)| (label.to_owned(), locked)));
}

#[test]
fn a_wrong_rule_or_an_unknown_label_is_refused_before_anything_starts() {
    let directory = tempfile::tempdir().unwrap();
    let with = |rule: &str, pre| {
        let rules = vec![RuleSettings { rule: rule.into(), pre, post: Span::ZERO }];
        ClipSettings { rules, ..settings(directory.path()) }
    };
    let wrong = ClipSink::new(Box::new(Counter::default()), with("person for", Span::ZERO)).unwrap_err().to_string();
    assert!(wrong.contains("column 11"), "{wrong}");
    let long = ClipSink::new(Box::new(Counter::default()), with("person", Span::from_s(9))).unwrap_err().to_string();
    assert!(long.contains("history of 9.000 s"), "{long}");
    let small = ClipSettings { keep_size: Some(1000), ..settings(directory.path()) };
    assert!(ClipSink::new(Box::new(Counter::default()), small).unwrap_err().to_string().contains("1048576"));
    let share = ClipSettings { locked_percent: 101, ..settings(directory.path()) };
    assert!(ClipSink::new(Box::new(Counter::default()), share).unwrap_err().to_string().contains("0 to 100"));
    let (mut sink, _control) = ClipSink::new(Box::new(Counter::default()), with("persn", Span::ZERO)).unwrap();
    let mut info = SourceInfo::new("test");
    info.labels.push("person").unwrap();
    let unknown = sink.begin(&info, ClockPair::default()).unwrap_err().to_string();
    assert!(unknown.contains("did you mean \"person\""), "{unknown}");
}

#[test]
fn a_locked_clip_says_so_in_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(settings(directory.path()));
    rig.run(10);
    rig.control.trigger("plain", Span::from_ms(500), Span::ZERO).unwrap();
    rig.run(5);
    rig.control.trigger_locked("kept", Span::from_ms(500), Span::ZERO).unwrap();
    rig.run(5);
    rig.control.trigger("extended", Span::from_ms(500), Span::from_s(1)).unwrap();
    rig.run(5);
    rig.control.trigger_locked("by a locked one", Span::ZERO, Span::from_ms(100)).unwrap();
    rig.run(20);
    let ends = |rig: Rig| -> Vec<bool> {
        let events = rig.finish();
        events.iter().map(|event| saved(event).0.to_str().unwrap().ends_with(".locked.kinora")).collect()
    };
    assert_eq!(ends(rig), [false, true, true]);
    let mut rig = Rig::new(ClipSettings { lock: true, ..settings(directory.path()) });
    rig.run(10);
    rig.control.save("all").unwrap();
    rig.run(5);
    assert_eq!(ends(rig), [true]);
}

#[test]
fn a_directory_of_clips_is_kept_small_and_locked_ones_outlive_it() {
    const CLIPS: usize = 60;
    let directory = tempfile::tempdir().unwrap();
    let keep_size = Some(2 << 20);
    let mut rig = Rig::new(ClipSettings { keep_size, locked_percent: 90, ..settings(directory.path()) });
    rig.run(10);
    let mut paths = Vec::new();
    for clip in 0..CLIPS {
        match clip {
            0 => rig.control.trigger_locked("kept", Span::from_s(1), Span::ZERO).unwrap(),
            _ => rig.control.save("passing").unwrap(),
        }
        rig.run(20);
        paths.push(saved(&rig.event()).0);
    }
    assert_eq!(rig.finish(), []);
    assert!(paths[0].exists(), "the oldest is locked");
    let there = paths.iter().filter(|path| path.exists()).count();
    assert!((2..CLIPS).contains(&there), "{there} files are left of {CLIPS}");
    assert!(paths[CLIPS - 1].exists() && !paths[1].exists(), "of the others the oldest goes first");
}

#[test]
fn a_command_gets_the_path_of_each_clip() {
    let directory = tempfile::tempdir().unwrap();
    let heard = directory.path().join("heard");
    let on_clip = Some(format!("sleep 0.1; printf %s > '{}' ", heard.display()));
    let mut rig = Rig::new(ClipSettings { on_clip, ..settings(directory.path()) });
    rig.run(10);
    rig.control.save("x").unwrap();
    rig.run(5);
    let events = rig.finish();
    let path = saved(&events[0]).0;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::fs::read(&heard).unwrap_or_default().is_empty() && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(std::fs::read_to_string(&heard).unwrap(), path.display().to_string());
}

#[test]
fn frames_above_the_promise_are_counted_and_told_and_cost_the_recorder_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(ClipSettings { frame_bytes: Some(100), ..settings(directory.path()) });
    rig.run(4);
    rig.control.save("nothing").unwrap();
    rig.run(1);
    let events = rig.finish();
    let told: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            ClipEvent::TooBig { frames, needed, promised } => {
                assert!(*needed > JPEG.len() && *promised >= 100, "{event:?}");
                Some(*frames)
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [1, 5]);
    assert!(events.iter().any(|event| matches!(event, ClipEvent::Refused { .. })));
}

#[test]
fn a_session_that_ends_in_mid_post_roll_keeps_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(settings(directory.path()));
    rig.run(10);
    rig.control.trigger("cut", Span::from_ms(500), Span::from_s(100)).unwrap();
    rig.run(3);
    let events = rig.finish();
    assert_eq!(sequences(&saved(&events[0]).0), (5..=12).collect::<Vec<_>>());
}

/// Frames without a picture, 100 ms apart, with `sensor` bytes each; a clip of them is asked for with the tenth.
fn clip_of(set: ClipSettings, frames: u64, sensor: usize, mut between: impl FnMut(u64)) -> Vec<ClipEvent> {
    let (mut sink, control) = ClipSink::new(Box::new(Counter::default()), set).unwrap();
    let mut info = SourceInfo::new("test");
    (info.frame_rate, info.sensor_bytes_max) = ((10, 1), sensor);
    sink.begin(&info, ClockPair { monotonic: Timestamp::from_ns(0), wall: START }).unwrap();
    let (results, sensor) = (Results::new(), vec![1; sensor]);
    for sequence in 0..frames {
        let since = Span::from_ns(FRAME_TIME.as_ns() * sequence as i64);
        let (captured_at, captured_wall) = (Timestamp::from_ns(0) + since, START + since);
        let meta = FrameMeta { sequence, captured_at, captured_wall, ..FrameMeta::new() };
        let (pixels, jpeg, labels, losses) = (None, None, None, &[]);
        let frame = Frame { meta: &meta, results: &results, pixels, jpeg, side: &[], sensor: &sensor, labels, losses };
        assert_eq!(sink.add(&frame).unwrap(), Added::Kept);
        if sequence == 10 {
            control.trigger("long", Span::from_s(1), Span::from_s(1000)).unwrap();
        }
        between(sequence);
    }
    sink.finish().unwrap();
    control.events().collect()
}

#[test]
fn a_clip_that_takes_all_of_the_keep_size_ends_there_and_keeps_what_it_has() {
    const FRAMES: u64 = 600;
    let directory = tempfile::tempdir().unwrap();
    let keep_size = Some(2 << 20);
    let set = ClipSettings { keep_size, frame_bytes: Some(20_000), ..settings(directory.path()) };
    let events = clip_of(set, FRAMES, 10_000, |_| std::thread::sleep(std::time::Duration::from_micros(300)));
    let [ClipEvent::Saved { path, frames, lost, .. }] = &events[..] else { panic!("{events:?}") };
    assert!((100..200).contains(frames), "{frames} frames of 10 kB in 2 MiB");
    assert_eq!((sequences(path), frames + lost), ((1..=*frames).collect(), FRAMES - 1));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no other file is left");
}

#[test]
fn a_clip_that_cannot_be_closed_is_no_saved_one() {
    kinora::recording::guard_mapped_files().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let events = clip_of(settings(directory.path()), 60, 1000, |sequence| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        if sequence == 59 {
            // Everything is written by now; somebody cuts the file short.
            std::thread::sleep(std::time::Duration::from_millis(500));
            let file = std::fs::read_dir(directory.path()).unwrap().next().unwrap().unwrap().path();
            std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(20_000).unwrap();
        }
    });
    let [ClipEvent::Failed { reason, .. }] = &events[..] else { panic!("{events:?}") };
    assert!(reason.contains("cut short") && reason.contains("what is left of it"), "{reason}");
}

#[test]
fn a_frame_with_larger_masks_than_the_source_said_is_lost_to_its_clip_and_none_comes_in_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let (mut sink, control) = ClipSink::new(Box::new(Counter::default()), settings(directory.path())).unwrap();
    let mut info = SourceInfo::new("test");
    (info.frame_rate, info.side_bytes_max) = ((10, 1), 10);
    sink.begin(&info, ClockPair { monotonic: Timestamp::from_ns(0), wall: START }).unwrap();
    for sequence in 0..20 {
        let since = Span::from_ns(FRAME_TIME.as_ns() * sequence);
        let meta = FrameMeta {
            sequence: sequence as u64,
            captured_at: Timestamp::from_ns(0) + since,
            captured_wall: START + since,
            ..FrameMeta::new()
        };
        let (results, side): (_, &[u8]) = (Results::new(), if sequence % 2 == 0 { &[3; 10] } else { &[3; 20] });
        let (pixels, jpeg, sensor, labels, losses) = (None, None, &[], None, &[]);
        let frame = Frame { meta: &meta, results: &results, pixels, jpeg, side, sensor, labels, losses };
        assert_eq!(sink.add(&frame).unwrap(), Added::Kept);
        if sequence == 10 {
            control.trigger("x", Span::from_s(1), Span::from_ms(500)).unwrap();
        }
    }
    sink.finish().unwrap();
    let events: Vec<_> = control.events().collect();
    let [ClipEvent::Saved { path, frames: 8, lost: 8, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(sequences(path), [2, 4, 6, 8, 10, 12, 14, 16]);
}
