//! A recording and the world around it: a killed writer, a follower, a full disk, a limit of the process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kinora::recording::format::HINTS_OFFSET;
use kinora::recording::{
    AppendError, CreateError, Entry, Followed, Reader, SessionHeader, SyncPolicy, Tail, Writer, WriterSettings,
};
use kinora::slot::{Slot, SlotSizes};
use kinora::source::SourceInfo;
use kinora::timeline::Timeline;
use kinora::{Clock, ClockPair, ResultKind, Span, SystemClock};

const JPEG_BYTES: usize = 9_000;

fn settings() -> WriterSettings {
    WriterSettings { sync: SyncPolicy::Every(Span::from_ms(20)), growth_bytes: 1 << 20, ..WriterSettings::default() }
        .for_frames(JPEG_BYTES, 0, 0)
}

fn create(path: &Path, settings: &WriterSettings) -> Result<Writer, CreateError> {
    let header = SessionHeader::from_source(&SourceInfo::new("test"), SystemClock.pair(), [8; 16]);
    Writer::create(path, &header, settings)
}

/// A frame whose every byte follows from its number.
fn fill(slot: &mut Slot, i: u64) {
    slot.reset();
    slot.meta.sequence = i;
    slot.jpeg_mut()[..JPEG_BYTES].fill(i as u8);
    slot.set_jpeg(JPEG_BYTES, 640, 480);
    slot.results.begin(ResultKind::Classifications);
    slot.results.push_classification(0.5, i as i32).unwrap();
}

fn slot() -> Box<Slot> {
    Slot::new(&SlotSizes { jpeg: JPEG_BYTES, ..SlotSizes::default() })
}

fn assert_frames(reader: &mut Reader, at_least: u64) {
    assert!(reader.len() >= at_least, "{} of {at_least} frames", reader.len());
    for i in 0..reader.len() {
        let frame = reader.read_frame(i).unwrap();
        assert_eq!((frame.meta.sequence, frame.classifications().class_id()), (i, &[i as i32][..]));
        assert!(frame.jpeg.unwrap().bytes.iter().all(|&byte| byte == i as u8));
    }
}

/// Runs a function of this file in a process of its own; run otherwise, it finds no path and returns.
fn child(test: &str, path: &Path, before: &str) -> Child {
    let program = std::env::current_exe().unwrap();
    let line = format!("{before} exec '{}' --exact {test} --nocapture --quiet", program.display());
    Command::new("sh").arg("-c").arg(line).env("KINORA_TEST_PATH", path).stdout(Stdio::piped()).spawn().unwrap()
}

fn child_path() -> Option<PathBuf> {
    std::env::var_os("KINORA_TEST_PATH").map(PathBuf::from)
}

/// Not a test by itself: what the other process of a test below does.
#[test]
fn child_records_until_it_is_killed() {
    let Some(path) = child_path() else { return };
    let mut writer = create(&path, &settings()).unwrap();
    let mut slot = slot();
    for i in 0_u64.. {
        fill(&mut slot, i);
        let _ = writer.append(&slot.frame(None), SystemClock.pair()).unwrap();
        println!("appended {}", i + 1);
    }
}

#[test]
fn a_writer_that_is_killed_loses_no_frame_that_was_appended() {
    let directory = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let path = directory.path().join("a.kinora");
        let mut child = child("child_records_until_it_is_killed", &path, "");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut appended = 0;
        let mut read = |line: Option<std::io::Result<String>>| {
            let line = line.and_then(Result::ok)?;
            if let Some(number) = line.strip_prefix("appended ").and_then(|number| number.parse().ok()) {
                appended = number;
            }
            Some(appended)
        };
        // Killed after another number of frames each time.
        while read(lines.next()).is_some_and(|appended: u64| appended < 1 + round * 13) {}
        child.kill().unwrap();
        while read(lines.next()).is_some() {}
        child.wait().unwrap();
        assert!(appended > round * 13, "the writer was killed at work");
        let mut reader = Reader::open(&path).unwrap();
        assert!(!reader.is_finalized());
        assert_frames(&mut reader, appended);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_follower_sees_every_frame_once_growth_and_the_close() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kinora");
    let mut writer = create(&path, &settings()).unwrap();
    let mut tail = Tail::open(&path).unwrap();
    let follower = std::thread::spawn(move || {
        let (mut frames, mut waits) = (0, 0_u64);
        loop {
            match tail.next() {
                Followed::Record(record) => match record.entry {
                    Entry::Frame { ordinal, frame } => {
                        assert_eq!((ordinal, frame.meta.sequence), (frames, frames));
                        assert!(frame.jpeg.unwrap().bytes.iter().all(|&byte| byte == frames as u8));
                        frames += 1;
                    }
                    Entry::Damaged { reason, .. } => panic!("byte {} is {reason}", record.offset),
                    _ => {}
                },
                Followed::Nothing => {
                    waits += 1;
                    std::thread::sleep(Duration::from_micros(100));
                }
                Followed::Closed => return (frames, waits, tail.header().source.clone()),
                Followed::Abandoned => panic!("the writer lives"),
            }
        }
    });
    let mut slot = slot();
    for i in 0..1500 {
        fill(&mut slot, i);
        let _ = writer.append(&slot.frame(None), SystemClock.pair()).unwrap();
        if i % 100 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    writer.finish().unwrap();
    let (frames, waits, source) = follower.join().unwrap();
    assert_eq!((frames, source.as_str()), (1500, "test"));
    assert!(waits > 0, "it followed while the file grew");
}

#[test]
fn a_follower_of_a_recording_without_frames_waits_and_notices_that_its_writer_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kinora");
    let writer = create(&path, &settings()).unwrap();
    let mut tail = Tail::open(&path).unwrap();
    while matches!(tail.next(), Followed::Record(_)) {}
    assert!(matches!(tail.next(), Followed::Nothing));
    assert_eq!((tail.committed_frames(), tail.durable_frames()), (0, 0));
    drop(writer);
    // A process that another test is just starting holds a copy of the lock until it has become that process.
    let gone = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(1));
        matches!(tail.next(), Followed::Abandoned)
    });
    assert!(gone);
}

#[test]
fn a_follower_does_not_believe_a_hint_that_claims_more_than_any_file_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kinora");
    let mut writer = create(&path, &settings()).unwrap();
    let mut slot = slot();
    for i in 0..3 {
        fill(&mut slot, i);
        let _ = writer.append(&slot.frame(None), SystemClock.pair()).unwrap();
    }
    writer.finish().unwrap();
    for claimed in [u64::MAX, u64::MAX - 63, i64::MAX as u64, std::fs::metadata(&path).unwrap().len() + 1] {
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[HINTS_OFFSET..HINTS_OFFSET + 8].copy_from_slice(&claimed.to_le_bytes());
        let claims = folder.path().join("claims.kinora");
        std::fs::write(&claims, &bytes).unwrap();
        let mut tail = Tail::open(&claims).unwrap();
        let (mut frames, mut damaged, mut steps) = (0, 0, 0);
        while let Followed::Record(record) = tail.next() {
            frames += u64::from(matches!(record.entry, Entry::Frame { .. }));
            damaged += u64::from(matches!(record.entry, Entry::Damaged { .. }));
            steps += 1;
            assert!(steps < 100, "{claimed}: no end");
        }
        assert_eq!((frames, damaged), (3, 1), "{claimed}");
    }
}

#[test]
fn a_writer_that_is_dropped_at_any_moment_leaves_a_recording_and_no_panic() {
    let directory = tempfile::tempdir().unwrap();
    let mut slot = slot();
    for frames in 0..40 {
        let path = directory.path().join(format!("{frames}.kinora"));
        let mut writer = create(&path, &WriterSettings { growth_bytes: 256 << 10, ..settings() }).unwrap();
        for i in 0..frames {
            fill(&mut slot, i);
            let _ = writer.append(&slot.frame(None), SystemClock.pair()).unwrap();
        }
        drop(writer);
        assert_frames(&mut Reader::open(&path).unwrap(), frames);
    }
}

/// A small file system of its own; `None` where we may not mount.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(directory: &Path, options: &str) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(directory).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(directory.to_owned()));
        }
        eprintln!("skipped: mounting a tmpfs needs root");
        None
    }
}

impl SmallDisk {
    /// ext2, where nothing can be allocated ahead (as on vfat and exFAT).
    fn without_fallocate(directory: &Path, image: &Path) -> Option<Self> {
        std::fs::File::create(image).unwrap().set_len(24 << 20).unwrap();
        let made = Command::new("mkfs.ext2").arg("-q").arg(image).status().is_ok_and(|status| status.success());
        let mount = || Command::new("mount").args(["-o", "loop"]).arg(image).arg(directory).status();
        if made && mount().is_ok_and(|status| status.success()) {
            return Some(Self(directory.to_owned()));
        }
        eprintln!("skipped: mounting an ext2 image needs root, mkfs.ext2 and loop devices");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_the_recording_cleanly_with_every_frame_readable() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::new(directory.path(), "size=5m") else { return };
    for (name, helper) in [("a.kinora", true), ("b.kinora", false)] {
        let path = disk.0.join(name);
        let mut writer = create(&path, &WriterSettings { helper, ..settings() }).unwrap();
        let mut slot = slot();
        let mut frames = 0;
        let full = loop {
            fill(&mut slot, frames);
            match writer.append(&slot.frame(None), SystemClock.pair()) {
                Ok(_) => frames += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, AppendError::Full { .. }), "{full:?}");
        assert!(full.to_string().contains("no space left"), "{full}");
        assert!(frames * JPEG_BYTES as u64 > 3_500_000, "{frames} frames on 5 MiB");
        assert_eq!(writer.finish().unwrap().frames, frames);
        let mut reader = Reader::open(&path).unwrap();
        assert!(reader.is_finalized());
        assert_frames(&mut reader, frames);
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn where_nothing_can_be_allocated_ahead_zeros_are_written_ahead() {
    let (directory, images) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let image = images.path().join("ext2");
    let Some(disk) = SmallDisk::without_fallocate(directory.path(), &image) else { return };
    let path = disk.0.join("a.kinora");
    let mut writer = create(&path, &settings()).unwrap();
    let mut slot = slot();
    let mut frames = 0;
    let full = loop {
        fill(&mut slot, frames);
        match writer.append(&slot.frame(None), SystemClock.pair()) {
            Ok(_) => frames += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, AppendError::Full { .. }), "{full:?}");
    assert!(frames * JPEG_BYTES as u64 > 15_000_000, "{frames} frames on 24 MiB");
    assert_eq!(writer.finish().unwrap().frames, frames);
    assert_frames(&mut Reader::open(&path).unwrap(), frames);
}

#[test]
fn a_disk_that_gets_room_again_lets_the_same_recording_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::new(directory.path(), "size=6m") else { return };
    let ballast = disk.0.join("ballast");
    std::fs::write(&ballast, vec![1; 2 << 20]).unwrap();
    let path = disk.0.join("a.kinora");
    let mut writer = create(&path, &settings()).unwrap();
    let mut slot = slot();
    let mut frames = 0;
    let mut removed = false;
    loop {
        fill(&mut slot, frames);
        match writer.append(&slot.frame(None), SystemClock.pair()) {
            Ok(_) => frames += 1,
            Err(AppendError::Full { .. }) if !removed => {
                std::fs::remove_file(&ballast).unwrap();
                removed = true;
            }
            Err(_) => break,
        }
    }
    assert!(removed && frames * JPEG_BYTES as u64 > 4_500_000, "{frames} frames on 6 MiB");
    writer.finish().unwrap();
    assert_frames(&mut Reader::open(&path).unwrap(), frames);
}

/// Not a test by itself: what the other process of a test below does.
#[test]
fn child_records_until_the_file_may_not_grow() {
    let Some(path) = child_path() else { return };
    let mut writer = create(&path, &settings()).unwrap();
    let mut slot = slot();
    for i in 0_u64.. {
        fill(&mut slot, i);
        if let Err(error) = writer.append(&slot.frame(None), SystemClock.pair()) {
            assert!(error.must_split(), "{error}");
            break;
        }
    }
    println!("closed {}", writer.finish().unwrap().frames);
}

#[test]
fn a_file_size_limit_asks_for_the_next_file_and_kills_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kinora");
    // 512-byte blocks in a POSIX shell, 1,024 in some others: 3 to 6 MB.
    let child = child("child_records_until_the_file_may_not_grow", &path, "ulimit -f 6000;");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let frames: u64 = text.lines().find_map(|line| line.strip_prefix("closed ")?.parse().ok()).expect("a line");
    let mut reader = Reader::open(&path).unwrap();
    assert!(reader.is_finalized());
    assert_frames(&mut reader, frames);
}

#[test]
fn the_clock_pair_of_a_frame_is_that_of_the_moment() {
    // A recording that begins in 1970, then learns the time: see the specification, "Wall-clock times".
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kinora");
    let mut writer = create(&path, &WriterSettings::tiny()).unwrap();
    let mut slot = slot();
    fill(&mut slot, 0);
    let start = SystemClock.pair();
    let in_1970 = ClockPair { monotonic: start.monotonic, wall: kinora::WallTime::from_utc_ns(7) };
    (slot.meta.captured_at, slot.meta.captured_wall) = (start.monotonic, in_1970.wall);
    let _ = writer.append(&slot.frame(None), in_1970).unwrap();
    writer.tick(start).unwrap();
    writer.finish().unwrap();
    let mut reader = Reader::open(&path).unwrap();
    let info = reader.info();
    assert_eq!(info.first.map(|first| first.wall), Some(in_1970.wall));
    assert_eq!(info.first_utc, Some(start.wall));
    assert_eq!(info.clock_steps, 2);
}

/// Not a test by itself: what the other process of a test below does.
#[test]
fn child_records_to_a_file_that_is_cut_short() {
    let Some(path) = child_path() else { return };
    kinora::recording::guard_mapped_files().unwrap();
    let mut writer = create(&path, &settings()).unwrap();
    let mut slot = slot();
    let cut = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    for i in 0_u64..1000 {
        if i == 50 {
            cut.set_len(100_000).unwrap();
        }
        fill(&mut slot, i);
        if let Err(error) = writer.append(&slot.frame(None), SystemClock.pair()) {
            println!("failed {i}: {error}");
            assert!(writer.finish().is_err());
            return;
        }
    }
}

/// Not a test by itself, either.
#[test]
fn child_closes_a_file_that_is_cut_short() {
    let Some(path) = child_path() else { return };
    kinora::recording::guard_mapped_files().unwrap();
    let mut writer = create(&path, &settings()).unwrap();
    let mut slot = slot();
    for i in 0_u64..20 {
        fill(&mut slot, i);
        let _ = writer.append(&slot.frame(None), SystemClock.pair()).unwrap();
    }
    let cut = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    cut.set_len(20_000).unwrap();
    println!("finish: {:?}", writer.finish().map_err(|error| error.to_string()));
}

#[test]
fn a_file_that_is_cut_short_before_it_is_closed_is_an_error_and_is_not_called_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kinora");
    let output = child("child_closes_a_file_that_is_cut_short", &path, "").wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("finish: Err") && text.contains("cut short"), "{text}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 20_000, "what was cut off is not made up for with zeros");
}

#[test]
fn a_file_that_is_cut_short_while_it_is_written_is_an_error_and_no_signal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kinora");
    let output = child("child_records_to_a_file_that_is_cut_short", &path, "").wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = text.lines().find(|line| line.starts_with("failed")).unwrap_or_else(|| panic!("{text}"));
    assert!(failed.contains("cut short"), "{failed}");
    let mut reader = Reader::open(&path).unwrap();
    assert!(reader.len() >= 5, "what was not cut off is there");
    let _ = reader.read_frame(0).unwrap();
}
