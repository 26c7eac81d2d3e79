//! A wall clock before 1970, as on a machine without a battery whose clock was set by hand, and one that is set below zero and
//! above it again while it records: through the recorder, the reader, the command, modlib's lines, and the names of files.

use std::path::Path;
use std::sync::Arc;

use common::{assert_intact, json, messages, recordings, run};
use kinora::event::{Event, EventKind};
use kinora::prelude::*;
use kinora::recorder::Format;
use kinora::recording::{Directory, Reader};
use kinora::slot::SlotSizes;
use kinora::timeline::Timeline;
use kinora::{Added, ClockPair, ManualClock, WallTime};
use serde_json::Value;

#[path = "common/kinora.rs"]
mod common;

const FRAMES: u64 = 30;
const STEP: Span = Span::from_ms(40);
const HOUR_NS: i64 = 3_600_000_000_000;

/// What the wall clock shows at the first frame, and by how much it is set before frame 10 and before frame 20.
const CLOCKS: [(i64, [i64; 2]); 5] = [
    // 23:59:59.9 on the last day of 1969: the recording runs across zero, is set an hour back, and two forward.
    (-100_000_000, [-HOUR_NS, 2 * HOUR_NS]),
    // One nanosecond before, and set to exactly where it began.
    (-1, [5 * HOUR_NS, -5 * HOUR_NS]),
    // From today to 1960, and back.
    (1_800_000_000_000_000_000, [-2_115_000_000_000_000_000, 2_115_000_000_000_000_000]),
    // 1901, below what 32 bits of seconds hold.
    (-2_177_452_800_000_000_000, [-HOUR_NS, HOUR_NS]),
    // 1678: as far as 64 bits of nanoseconds reach, all but a day.
    (i64::MIN + 86_400_000_000_000, [HOUR_NS, -HOUR_NS]),
];

/// Records into dated names, three files of ten frames; the wall clock at each frame.
fn record(directory: &Path, start_ns: i64, steps: [i64; 2]) -> Vec<i64> {
    let wall = WallTime::from_utc_ns(start_ns);
    let clock = Arc::new(ManualClock::new(ClockPair { monotonic: Timestamp::from_ns(5_000), wall }));
    let recorder = Recorder::builder().directory(directory).format(Format::Raw).min_free(0).clock(clock.clone());
    let mut recorder = recorder.split_time(Span::from_ns(10 * STEP.as_ns())).create().unwrap();
    let mut slot = Slot::new(&SlotSizes::default());
    let mut walls = Vec::new();
    for n in 0..FRAMES {
        if n > 0 && n % 10 == 0 {
            // In the middle of a file, too: the split comes with the frame.
            clock.step_wall(Span::from_ns(steps[n as usize / 10 - 1]));
        }
        let now = clock.pair();
        (slot.meta.sequence, slot.meta.captured_at, slot.meta.captured_wall) = (n, now.monotonic, now.wall);
        assert!(matches!(recorder.add(&slot.frame(None)), Ok(Added::Kept)), "frame {n}");
        if n == 5 {
            let text = "a moment".try_into().unwrap();
            let event = Event { kind: EventKind::Bookmark, at: now.monotonic, wall: now.wall, text };
            recorder.event(&event).unwrap();
        }
        walls.push(now.wall.as_utc_ns());
        clock.advance(STEP);
    }
    let summary = recorder.finish().unwrap();
    assert_eq!((summary.frames, summary.paths.len()), (FRAMES, 3), "{summary}");
    walls
}

fn utc(ns: i64) -> String {
    format!("{:.9}", jiff::Timestamp::from_nanosecond(ns.into()).unwrap())
}

#[test]
fn a_clock_before_1970_is_recorded_read_told_exported_and_named() {
    for (start_ns, steps) in CLOCKS {
        let context = utc(start_ns);
        let directory = tempfile::tempdir().unwrap();
        let walls = record(directory.path(), start_ns, steps);
        let files = recordings(directory.path());
        check_names(&files, start_ns, &context);
        let newest = Directory::open(directory.path()).unwrap().newest().unwrap();
        assert_eq!(newest.as_ref(), files.last(), "{context}");
        for (part, file) in files.iter().enumerate() {
            let (walls, name) = (&walls[part * 10..][..10], file.to_str().unwrap());
            assert_eq!(assert_intact(file), (10, true), "{context}");
            check_reader(file, walls, &context);
            check_command(name, walls, &context);
            check_modlib(directory.path(), name, walls, &context);
        }
    }
}

/// In modlib's form, and in the order in which they were made, whatever the clock was set to.
fn check_names(files: &[std::path::PathBuf], start_ns: i64, context: &str) {
    let local = jiff::Timestamp::from_nanosecond(start_ns.into()).unwrap().to_zoned(jiff::tz::TimeZone::system());
    let stem = format!("recording_{}", local.strftime("%Y-%m-%d_%H-%M-%S"));
    let names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let expected = ["", "_0001", "_0002"].map(|part| format!("{stem}{part}.kinora"));
    assert_eq!(names, expected, "{context}");
    for (part, file) in files.iter().enumerate() {
        assert_eq!(Reader::open(file).unwrap().header().part, part as u32, "{context}");
    }
}

fn check_reader(file: &Path, walls: &[i64], context: &str) {
    let mut reader = Reader::open(file).unwrap();
    for (n, &wall) in walls.iter().enumerate() {
        let captured = reader.captured_at(n as u64).unwrap();
        assert_eq!(reader.seek_time(captured), n as u64, "{context}");
        let frame = reader.read_frame(n as u64).unwrap();
        assert_eq!(frame.meta.captured_wall.as_utc_ns(), wall, "{context}");
    }
    let info = reader.info();
    assert_eq!(info.first.unwrap().wall.as_utc_ns(), walls[0], "{context}");
    assert_eq!(info.duration, Span::from_ns(9 * STEP.as_ns()), "{context}");
    for (_, event) in reader.events().unwrap() {
        assert_eq!(event.wall.as_utc_ns(), walls[5], "{context}");
    }
}

fn check_command(name: &str, walls: &[i64], context: &str) {
    let (code, info) = json(&["info", "--json", name]);
    assert_eq!(code, Some(0), "{context}");
    let first_ns = info["first_utc_ns"].as_i64().unwrap_or_else(|| panic!("{context}: {info}"));
    assert_eq!(info["first_utc"], utc(first_ns), "{context}");
    assert_eq!(first_ns, walls[0], "{context}: {info}");
    let cat = run(&["cat", "--json", name]);
    assert_eq!(cat.status.code(), Some(0), "{context}: {}", messages(&cat));
    let text = String::from_utf8(cat.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().filter(|line| line["sequence"].is_u64()).map(|line| &line["utc_ns"]).collect();
    let expected: Vec<_> = walls.iter().map(i64::to_string).collect();
    assert_eq!(told, expected.iter().map(|wall| wall.as_str()).collect::<Vec<_>>(), "{context}");
    for arguments in [&["info", name][..], &["cat", name], &["play", "--speed", "max", "--print", "text", name]] {
        let shown = run(arguments);
        assert_eq!(shown.status.code(), Some(0), "{context}: {arguments:?}: {}", messages(&shown));
    }
}

/// Out as modlib's lines and in again: the same instants, to the microsecond that modlib has.
fn check_modlib(directory: &Path, name: &str, walls: &[i64], context: &str) {
    let (lines, back) = (directory.join("lines.json"), directory.join("back"));
    let (lines, back) = (lines.to_str().unwrap(), back.to_str().unwrap());
    let exported = run(&["export", name, "--to", "json", "--out", lines]);
    assert_eq!(exported.status.code(), Some(0), "{context}: {}", messages(&exported));
    let text = std::fs::read_to_string(lines).unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let year = jiff::Timestamp::from_nanosecond(walls[0].into()).unwrap().to_zoned(jiff::tz::TimeZone::UTC).year();
    let stamp = first["timestamp"].as_str().unwrap();
    assert!(stamp.len() == 26 && stamp[..4].parse::<i16>().unwrap().abs_diff(year) <= 1, "{context}: {stamp}");
    let imported = run(&["import", lines, "--out", &format!("{back}.kinora")]);
    assert_eq!(imported.status.code(), Some(0), "{context}: {}", messages(&imported));
    let mut reader = Reader::open(format!("{back}.kinora")).unwrap();
    for (n, &wall) in walls.iter().enumerate() {
        let read = reader.read_frame(n as u64).unwrap().meta.captured_wall.as_utc_ns();
        assert_eq!(read, wall.div_euclid(1000) * 1000, "{context}: frame {n}");
    }
    std::fs::remove_file(lines).unwrap();
    std::fs::remove_file(format!("{back}.kinora")).unwrap();
}
