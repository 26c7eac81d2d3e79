//! A directory of recordings in real life: several recorders in one second, other time zones, a writer that was killed, a full
//! disk, a total size. What needs a disk of its own mounts a small tmpfs, and says so and skips where that is not allowed.
#![cfg(feature = "std")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use kinora::frame::{PictureInfo, PixelFormat};
use kinora::recorder::{Format, RecorderBuilder};
use kinora::recording::{Directory, Reader};
use kinora::slot::{Slot, SlotSizes};
use kinora::source::SourceInfo;
use kinora::timeline::Timeline;
use kinora::{Added, ClockPair, ManualClock, Recorder, Span, Timestamp, WallTime};

/// 02:30 summer time in Berlin on the night in which 02:30 comes twice.
const TWICE_S: i64 = 1_792_888_200;

/// Names the job of a child process; see [`child_process`].
const JOB: &str = "KINORA_TEST_JOB";

fn clock_at(utc_s: i64) -> Arc<ManualClock> {
    let (monotonic, wall) = (Timestamp::from_ns(1_000), WallTime::from_utc_ns(utc_s * 1_000_000_000));
    Arc::new(ManualClock::new(ClockPair { monotonic, wall }))
}

fn source() -> SourceInfo {
    let mut source = SourceInfo::new("test");
    source.picture = Some(PictureInfo::packed(PixelFormat::Grey, 160, 120));
    source
}

fn raw(directory: &Path) -> RecorderBuilder {
    Recorder::builder().directory(directory).format(Format::Raw).min_free(0).source(&source())
}

fn slot() -> Box<Slot> {
    let mut slot = Slot::new(&SlotSizes { pixels: 160 * 120, ..SlotSizes::default() });
    slot.pixels_mut(PictureInfo::packed(PixelFormat::Grey, 160, 120)).unwrap().fill(100);
    slot
}

/// Adds frames `from..to`; what became of the last one.
fn add(recorder: &mut Recorder, from: u64, to: u64) -> Added {
    let mut slot = slot();
    let mut last = Added::Kept;
    for n in from..to {
        slot.meta.sequence = n;
        slot.meta.captured_at = Timestamp::from_ns(33_000_000 * n as i64);
        last = recorder.add(&slot.frame(None)).unwrap();
    }
    last
}

/// Names in the directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let items = directory.read_dir().unwrap();
    let mut names: Vec<_> = items.map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Starts this test program again to do a job of [`child_process`].
fn child(job: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_process", "--nocapture"]).env(JOB, job).env("KINORA_TEST_DIRECTORY", directory);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

/// Waits for the child's line that begins with `word`; what follows it.
fn line_of(output: &mut BufReader<ChildStdout>, word: &str) -> String {
    for line in output.by_ref().lines() {
        let line = line.unwrap();
        // The test runner writes "test child_process ... " in front, without an end of line.
        if let Some((_, rest)) = line.split_once(word) {
            return rest.trim().to_owned();
        }
    }
    panic!("the child ended without a line {word:?}");
}

fn spawn(command: &mut Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

/// Not a test of its own: what the other tests start in processes of their own.
#[test]
fn child_process() {
    let Some(job) = std::env::var_os(JOB) else { return };
    let directory = PathBuf::from(std::env::var_os("KINORA_TEST_DIRECTORY").unwrap());
    match job.to_str().unwrap() {
        "record" => {
            // All start at the same word.
            std::io::stdin().read_line(&mut String::new()).unwrap();
            let mut recorder = raw(&directory).clock(clock_at(TWICE_S)).create().unwrap();
            assert_eq!(add(&mut recorder, 0, 20), Added::Kept);
            println!("PATH {}", recorder.finish().unwrap().paths[0].display());
        }
        "until killed" => {
            let mut recorder = raw(&directory).create().unwrap();
            assert_eq!(add(&mut recorder, 0, 50), Added::Kept);
            println!("ADDED {}", recorder.path().display());
            std::io::stdout().flush().unwrap();
            std::thread::park();
        }
        "within a file limit" => {
            use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
            let maximum = getrlimit(Resource::Fsize).maximum;
            setrlimit(Resource::Fsize, Rlimit { current: Some(3 << 20), maximum }).unwrap();
            let mut recorder = raw(&directory).create().unwrap();
            assert_eq!(add(&mut recorder, 0, 500), Added::Kept);
            println!("FRAMES {}", recorder.finish().unwrap().frames);
        }
        other => panic!("no job is called {other}"),
    }
}

#[test]
fn recorders_of_many_processes_in_the_same_second_get_names_of_their_own() {
    let top = tempfile::tempdir().unwrap();
    let mut children: Vec<_> = (0..6).map(|_| spawn(child("record", top.path()).env("TZ", "UTC0"))).collect();
    for (child, _) in &mut children {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let mut paths = BTreeSet::new();
    for (mut child, mut output) in children {
        paths.insert(line_of(&mut output, "PATH "));
        assert!(child.wait().unwrap().success());
    }
    let stem = "recording_2026-10-25_00-30-00";
    let mut expected = vec![format!("{stem}.kinora")];
    expected.extend((2..=6).map(|take| format!("{stem}_{take}.kinora")));
    assert_eq!(names(top.path()), expected);
    assert_eq!(paths.len(), 6);
    for path in paths {
        assert_eq!(Reader::open(&path).unwrap().len(), 20);
    }
}

#[test]
fn recorders_of_many_threads_in_the_same_second_get_names_of_their_own() {
    let top = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut recorder = raw(top.path()).clock(clock_at(TWICE_S)).create().unwrap();
                assert_eq!(add(&mut recorder, 0, 20), Added::Kept);
                recorder.finish().unwrap();
            });
        }
    });
    assert_eq!(names(top.path()).len(), 6);
}

#[test]
fn names_are_in_the_zone_of_tz_and_the_hour_that_comes_twice_overwrites_nothing() {
    let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
    let top = tempfile::tempdir().unwrap();
    for (zone, name) in [
        ("UTC0", "recording_2026-10-25_00-30-00.kinora"),
        (berlin, "recording_2026-10-25_02-30-00.kinora"),
        ("EST5EDT,M3.2.0,M11.1.0", "recording_2026-10-24_20-30-00.kinora"),
        (berlin, "recording_2026-10-25_02-30-00_2.kinora"),
    ] {
        let (mut child, mut output) = spawn(child("record", top.path()).env("TZ", zone));
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
        let path = PathBuf::from(line_of(&mut output, "PATH "));
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), name, "TZ={zone}");
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_board_that_starts_in_1970_and_is_set_later_keeps_its_name_and_loses_nothing() {
    let top = tempfile::tempdir().unwrap();
    let clock = clock_at(30);
    let mut recorder = raw(top.path()).clock(clock.clone()).split_time(Span::from_s(1)).create().unwrap();
    assert_eq!(add(&mut recorder, 0, 20), Added::Kept);
    clock.step_wall(Span::from_s(TWICE_S));
    assert_eq!(add(&mut recorder, 20, 60), Added::Kept);
    let summary = recorder.finish().unwrap();
    assert_eq!((summary.frames, summary.paths.len()), (60, 2));
    let first = summary.paths[0].file_stem().unwrap().to_str().unwrap().to_owned();
    assert!(first.starts_with("recording_1970-01-01_") || first.starts_with("recording_1969-12-31_"), "{first}");
    assert_eq!(summary.paths[1].file_stem().unwrap().to_str().unwrap(), format!("{first}_0001"));
    assert_eq!(Reader::open(&summary.paths[0]).unwrap().info().clock_steps, 1);
}

#[test]
fn files_and_directories_are_closed_to_others() {
    let top = tempfile::tempdir().unwrap();
    let directory = top.path().join("new/recordings");
    let mut recorder = raw(&directory).create().unwrap();
    assert_eq!(add(&mut recorder, 0, 1), Added::Kept);
    let path = recorder.finish().unwrap().paths.remove(0);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path) & !0o640, 0, "{:o}", mode(&path));
    assert_eq!(mode(&directory) & !0o750, 0, "{:o}", mode(&directory));
    assert_eq!((mode(&path) & 0o600, mode(&directory) & 0o700), (0o600, 0o700));
}

#[test]
fn a_recorder_trims_what_a_killed_one_left_and_every_frame_is_still_there() {
    let top = tempfile::tempdir().unwrap();
    let (mut killed, mut output) = spawn(&mut child("until killed", top.path()));
    let path = PathBuf::from(line_of(&mut output, "ADDED "));
    let while_alive = path.metadata().unwrap().len();
    Directory::open(top.path()).unwrap().trim_abandoned().unwrap();
    assert_eq!(path.metadata().unwrap().len(), while_alive, "its writer lives");
    killed.kill().unwrap();
    killed.wait().unwrap();

    let mut recorder = raw(top.path()).create().unwrap();
    let trimmed = path.metadata().unwrap().len();
    assert!(while_alive >= 64 << 20 && trimmed < 2 << 20, "{while_alive} -> {trimmed}");
    let mut reader = Reader::open(&path).unwrap();
    assert!(!reader.is_finalized());
    assert_eq!(reader.len(), 50);
    for n in 0..50 {
        assert_eq!(reader.frame(n).unwrap().meta.sequence, n);
    }
    assert_eq!(add(&mut recorder, 0, 1), Added::Kept);
    let own = recorder.finish().unwrap().paths.remove(0);
    assert_eq!(Directory::open(top.path()).unwrap().newest().unwrap(), Some(own));
}

#[test]
fn a_total_size_holds_and_only_the_oldest_closed_recordings_of_ours_go() {
    let top = tempfile::tempdir().unwrap();
    std::fs::write(top.path().join("notes.txt"), vec![1; 3 << 20]).unwrap();
    std::fs::write(top.path().join("theirs.kinora"), vec![1; 3 << 20]).unwrap();
    let keep = 24 << 20;
    let mut recorder = raw(top.path()).clock(clock_at(0)).keep_size(keep).split_size(2 << 20).create().unwrap();
    for n in (0..3_000).step_by(50) {
        assert_eq!(add(&mut recorder, n, n + 50), Added::Kept);
        let used: u64 = names(top.path())
            .iter()
            .filter(|name| name.starts_with("recording_"))
            .map(|name| top.path().join(name).metadata().unwrap().len())
            .sum();
        assert!(used <= keep, "{used} bytes after {n} frames");
    }
    let summary = recorder.finish().unwrap();
    assert_eq!(summary.frames, 3_000);
    assert!(summary.removed >= 10, "{summary}");
    let left = names(top.path());
    assert!(left.contains(&"notes.txt".into()) && left.contains(&"theirs.kinora".into()));
    // What is left is the end of the recording, without a hole.
    let left = summary.paths;
    assert!(left.len() >= 5 && left.iter().all(|path| path.exists()));
    let mut first = Reader::open(&left[0]).unwrap();
    let frames: u64 = left.iter().map(|path| Reader::open(path).unwrap().len()).sum();
    assert_eq!(first.frame(0).unwrap().meta.sequence + frames, 3_000);
}

#[test]
fn a_closed_file_is_let_go_of_however_fast_files_follow_each_other() {
    let top = tempfile::tempdir().unwrap();
    let mut recorder = raw(top.path()).split_size(1 << 20).split_time(Span::from_ms(60)).create().unwrap();
    assert_eq!(add(&mut recorder, 0, 200), Added::Kept);
    let summary = recorder.finish().unwrap();
    assert_eq!((summary.paths.len(), summary.frames), (100, 200));
    for path in &summary.paths {
        let file = std::fs::File::open(path).unwrap();
        assert!(kinora::recording::hold::hold(&file).unwrap(), "{} is still held", path.display());
    }
}

#[test]
fn two_recorders_share_a_directory_with_a_total_size_and_neither_loses_what_it_writes() {
    let top = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut recorder = raw(top.path()).keep_size(96 << 20).split_size(4 << 20).create().unwrap();
                assert_eq!(add(&mut recorder, 0, 4_000), Added::Kept);
                let summary = recorder.finish().unwrap();
                assert_eq!((summary.frames, summary.dropped), (4_000, 0));
                let last = summary.paths.last().unwrap();
                assert!(Reader::open(last).unwrap().is_finalized(), "the newest part is never removed");
            });
        }
    });
    let used: u64 = names(top.path()).iter().map(|name| top.path().join(name).metadata().unwrap().len()).sum();
    assert!(used <= 96 << 20, "{used}");
}

#[test]
fn a_file_that_may_not_grow_is_followed_by_another() {
    let top = tempfile::tempdir().unwrap();
    let (mut child, mut output) = spawn(&mut child("within a file limit", top.path()));
    assert_eq!(line_of(&mut output, "FRAMES "), "500");
    assert!(child.wait().unwrap().success());
    let files = names(top.path());
    assert!(files.len() >= 4, "{files:?}");
    let frames: u64 = files.iter().map(|name| Reader::open(top.path().join(name)).unwrap().len()).sum();
    assert_eq!(frames, 500);
}

/// A disk of its own, of so many MiB.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(mib: u32) -> Option<Self> {
        let top = tempfile::tempdir().unwrap();
        let options = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(top.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(top));
        }
        eprintln!("skipped: mounting a tmpfs is not allowed here");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn free(&self) -> u64 {
        Directory::open(self.path()).unwrap().free_bytes().unwrap().unwrap()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// Records until it ends and checks that everything until then is there. The message of the end.
fn record_to_the_end(recorder: &mut Recorder) -> String {
    let mut frames = 0;
    let ended = loop {
        match add(recorder, frames, frames + 1) {
            Added::Kept => frames += 1,
            Added::Ended(ended) => break ended,
            Added::Lost(cause) => panic!("frame {frames} was lost: {cause}"),
        }
        assert!(frames < 100_000, "the disk never gets full");
    };
    assert_eq!(ended.frames, frames);
    assert_eq!(add(recorder, frames, frames + 10), Added::Ended(ended), "and stays ended");
    let summary = recorder.finish().unwrap();
    assert_eq!((summary.frames, summary.dropped, summary.ended), (frames, 11, Some(ended)));
    let last = summary.paths.last().unwrap();
    let mut reader = Reader::open(last).unwrap();
    assert!(reader.is_finalized(), "closed cleanly");
    let in_last = reader.len();
    assert_eq!(reader.frame(in_last - 1).unwrap().meta.sequence, frames - 1);
    ended.to_string()
}

#[test]
fn a_full_disk_ends_the_recording_cleanly() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let message = record_to_the_end(&mut raw(disk.path()).create().unwrap());
    assert!(message.contains("no space left"), "{message}");
    assert!(disk.free() < 2 << 20, "{} bytes were left unused", disk.free());
}

#[test]
fn the_floor_of_free_space_ends_the_recording_cleanly_and_is_kept() {
    let Some(disk) = SmallDisk::mount(40) else { return };
    let floor = 16 << 20;
    let message = record_to_the_end(&mut raw(disk.path()).min_free(floor).create().unwrap());
    assert!(message.contains("--min-free"), "{message}");
    assert!(disk.free() >= floor, "{}", disk.free());
    assert!(disk.free() < floor + (3 << 20), "{} bytes were left unused", disk.free());
}

#[test]
fn for_the_floor_the_oldest_recordings_go_when_a_total_size_is_set() {
    let Some(disk) = SmallDisk::mount(64) else { return };
    let floor = 16 << 20;
    let mut recorder =
        raw(disk.path()).min_free(floor).keep_size(1 << 30).split_size(4 << 20).clock(clock_at(0)).create().unwrap();
    for n in (0..6_000).step_by(100) {
        assert_eq!(add(&mut recorder, n, n + 100), Added::Kept);
        assert!(disk.free() >= floor, "{} after {n} frames", disk.free());
    }
    let summary = recorder.finish().unwrap();
    assert!(summary.removed > 5, "{summary}");
    assert!(summary.to_string().contains("were removed to make room"));
}

#[test]
fn a_disk_below_its_floor_from_the_start_is_an_error_that_names_the_remedy() {
    let Some(disk) = SmallDisk::mount(8) else { return };
    let error = raw(disk.path()).min_free(100_000_000).create().err().unwrap().to_string();
    assert!(error.contains("--min-free"), "{error}");
    assert!(names(disk.path()).is_empty());
}

#[test]
fn a_full_disk_at_a_split_ends_the_recording_cleanly_too() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let message = record_to_the_end(&mut raw(disk.path()).split_size(2 << 20).create().unwrap());
    assert!(message.contains("no space left"), "{message}");
}
