//! Saving clips under load: what it costs the thread that has the frames, and what a disk that cannot follow costs the clip.
//!
//! The machine's own noise loses frames too, so each rate is run twice, with and without saving, and saving may not lose more.
//! Times are reported, never asserted.
#![cfg(feature = "std")]

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kinora::clips::{ClipEvent, ClipSettings, ClipSink};
use kinora::event::Event;
use kinora::frame::{Frame, FrameMeta, JpegPicture, PictureInfo, PixelFormat};
use kinora::prelude::*;
use kinora::recording::Reader;
use kinora::results::Results;
use kinora::timeline::Timeline;
use kinora::{Added, ClockPair, FrameSink, Loss, PictureFormat, Summary, WallTime};

/// Counts frames.
#[derive(Default)]
struct Counter(u64);

impl FrameSink for Counter {
    fn begin(&mut self, _: &SourceInfo, _: ClockPair) -> kinora::Result<()> {
        Ok(())
    }
    fn add(&mut self, _: &Frame<'_>) -> kinora::Result<Added> {
        self.0 += 1;
        Ok(Added::Kept)
    }
    fn loss(&mut self, _: &Loss) -> kinora::Result<()> {
        Ok(())
    }
    fn event(&mut self, _: &Event) -> kinora::Result<()> {
        Ok(())
    }
    fn finish(&mut self) -> kinora::Result<Summary> {
        Ok(Summary { frames: self.0, ..Summary::default() })
    }
}

/// One look at the calling thread's account with the scheduler.
#[derive(Clone, Copy, Default)]
struct ThreadTimes {
    /// On a processor, in ns.
    ran: u64,
    /// Ready to run while others had the processors, in ns.
    waited: u64,
    /// Pages that it had to be given.
    faults: u64,
}

impl ThreadTimes {
    /// Zeros where the kernel does not tell.
    fn now() -> Self {
        let words = |path: &str, skip: &str| -> Vec<u64> {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let rest = text.rsplit(skip).next().unwrap_or_default();
            rest.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect()
        };
        let schedule = words("/proc/thread-self/schedstat", ")");
        // Behind the name: state, ppid, pgrp, session, tty, tpgid, flags, minor faults.
        let stat = words("/proc/thread-self/stat", ")");
        let at = |words: &[u64], i: usize| words.get(i).copied().unwrap_or(0);
        Self { ran: at(&schedule, 0), waited: at(&schedule, 1), faults: at(&stat, 7) }
    }
}

/// The longest time that a sink held the frames' thread, and what the thread did in it.
#[derive(Clone, Copy, Default)]
struct Longest {
    elapsed: Duration,
    ran: Duration,
    waited: Duration,
    faults: u64,
}

impl std::fmt::Display for Longest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { elapsed, ran, waited, faults } = self;
        write!(f, "{elapsed:?} (ran {ran:?}, waited for a processor {waited:?}, {faults} page faults)")
    }
}

/// Measures how long another sink holds the frames' thread.
struct Stopwatch<S> {
    sink: S,
    longest: Arc<Mutex<Longest>>,
}

impl<S: FrameSink> FrameSink for Stopwatch<S> {
    fn begin(&mut self, source: &SourceInfo, now: ClockPair) -> kinora::Result<()> {
        self.sink.begin(source, now)
    }
    fn add(&mut self, frame: &Frame<'_>) -> kinora::Result<Added> {
        let before = ThreadTimes::now();
        let begun = Instant::now();
        let added = self.sink.add(frame);
        let elapsed = begun.elapsed();
        let after = ThreadTimes::now();
        let mut longest = self.longest.lock().expect("nobody panics with it");
        if elapsed > longest.elapsed {
            let (ran, waited) = (after.ran - before.ran, after.waited - before.waited);
            let [ran, waited] = [ran, waited].map(Duration::from_nanos);
            *longest = Longest { elapsed, ran, waited, faults: after.faults - before.faults };
        }
        added
    }
    fn loss(&mut self, loss: &Loss) -> kinora::Result<()> {
        self.sink.loss(loss)
    }
    fn event(&mut self, event: &Event) -> kinora::Result<()> {
        self.sink.event(event)
    }
    fn finish(&mut self) -> kinora::Result<Summary> {
        self.sink.finish()
    }
    fn idle(&mut self) {
        self.sink.idle();
    }
}

/// Seconds before and after the trigger: together ten when `KINORA_CLIP_SECONDS=10` is set, else short.
fn reach() -> Span {
    let seconds = std::env::var("KINORA_CLIP_SECONDS").ok().and_then(|text| text.parse::<i64>().ok());
    Span::from_ns(seconds.unwrap_or(2) * 1_000_000_000 / 2)
}

/// What one run lost, and the longest time in `ClipSink::add`.
struct Outcome {
    lost: u64,
    longest: Longest,
    clip: Option<(u64, u64)>,
}

/// Captures for the time of a clip, saving one or not.
fn capture(frame_rate: u32, save: bool) -> Outcome {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let settings = ClipSettings { history: reach(), min_free_bytes: 0, ..ClipSettings::new(directory.path()) };
    let (sink, control) = ClipSink::new(Box::new(Counter::default()), settings).expect("a clip saver");
    let longest = Arc::new(Mutex::new(Longest::default()));
    let sink = Stopwatch { sink, longest: Arc::clone(&longest) };
    let format = if cfg!(feature = "jpeg") { PictureFormat::default() } else { PictureFormat::Raw };
    let source = open_source(&format!("virtual:size=160x120,fps={frame_rate}")).expect("a source");
    let settings = Settings { format, slack: Span::from_ms(500), ..Settings::default() };
    let session = Session::builder().source(source).settings(settings).recorder(sink).start().expect("a session");
    let clip_frames = 2 * reach().as_ns() as u64 * u64::from(frame_rate) / 1_000_000_000;
    wait_for(&session, clip_frames / 2 + u64::from(frame_rate) / 4);
    let before = session.status().lost();
    *longest.lock().expect("nobody panics with it") = Longest::default();
    if save {
        control.trigger("load", reach(), reach()).expect("taken");
    }
    wait_for(&session, clip_frames + u64::from(frame_rate) / 2);
    let (lost, longest) = (session.status().lost() - before, *longest.lock().expect("nobody panics with it"));
    drop(session.stop().expect("a report"));
    let mut clips = control.events().map(|event| match event {
        ClipEvent::Saved { path, frames, lost, .. } => {
            let mut reader = Reader::open(&path).expect("a recording");
            let sequences: Vec<u64> = (0..reader.len()).map(|i| reader.frame(i).unwrap().meta.sequence).collect();
            assert_eq!(sequences.len() as u64, frames);
            assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "in order");
            (frames, lost)
        }
        other => panic!("{other:?}"),
    });
    let clip = clips.next();
    assert_eq!(clips.next(), None, "one clip at most");
    Outcome { lost, longest, clip }
}

fn wait_for(session: &Session, frames: u64) {
    let limit = Instant::now() + Duration::from_secs(120);
    while session.status().captured < frames {
        assert!(Instant::now() < limit, "{session:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn saving_a_clip_while_capturing_costs_no_frame() {
    for frame_rate in [30, 120] {
        // Noise of the machine comes and goes; a loss that saving causes comes every time.
        let mut saving = capture(frame_rate, true);
        for _ in 0..3 {
            let plain = capture(frame_rate, false);
            let (frames, lost_of_clip) = saving.clip.expect("a clip");
            println!(
                "{frame_rate} fps: a clip of {frames} frames, {lost_of_clip} of them lost; longest in ClipSink::add {}; \
                 not saving {}; frames lost {}, not saving {}",
                saving.longest, plain.longest, saving.lost, plain.lost
            );
            assert!(plain.clip.is_none());
            if saving.lost <= plain.lost && lost_of_clip == 0 {
                break;
            }
            saving = capture(frame_rate, true);
        }
        let (frames, lost_of_clip) = saving.clip.expect("a clip");
        assert_eq!((saving.lost, lost_of_clip), (0, 0), "{frame_rate} fps");
        let wanted = 2 * reach().as_ns() as u64 * u64::from(frame_rate) / 1_000_000_000;
        assert!(frames.abs_diff(wanted) <= 2, "{frames} frames, {wanted} were asked for");
    }
}

/// A disk of its own, of so many MiB.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(mib: u32) -> Option<Self> {
        let top = tempfile::tempdir().expect("a directory");
        let options = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(top.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(top));
        }
        eprintln!("skipped: mounting a tmpfs is not allowed here");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

const JPEG: &[u8] = include_bytes!("data/grey_1x1.jpg");
const BYTES_EACH: usize = 100_000;

/// The small picture with comments in it, of `BYTES_EACH` bytes: what is behind the end marker would not be stored.
fn large_jpeg() -> Vec<u8> {
    let (front, rest) = JPEG.split_at(2);
    let mut missing = BYTES_EACH - JPEG.len();
    let mut jpeg = front.to_vec();
    while missing > 0 {
        let segment = if missing > 65_000 { 65_000 } else { missing };
        jpeg.extend([0xFF, 0xFE]);
        jpeg.extend((segment as u16 - 2).to_be_bytes());
        jpeg.resize(jpeg.len() + segment - 4, 7);
        missing -= segment;
    }
    jpeg.extend(rest);
    assert_eq!(jpeg.len(), BYTES_EACH);
    jpeg
}

/// A clip saver that is fed frames of 100 KB as fast as the test likes, 100 a second by their stamps.
struct Feed {
    sink: ClipSink,
    jpeg: Vec<u8>,
    next: u64,
}

impl Feed {
    fn new(sink: ClipSink) -> Self {
        let mut feed = Self { sink, jpeg: large_jpeg(), next: 0 };
        let mut info = SourceInfo::new("test");
        info.frame_rate = (100, 1);
        info.picture = Some(PictureInfo { format: PixelFormat::Jpeg, width: 1, height: 1, stride: 0 });
        info.jpeg_bytes_max = BYTES_EACH;
        feed.sink.begin(&info, ClockPair::default()).expect("begun");
        feed
    }

    fn run(&mut self, frames: u64, pause: Duration) {
        let results = Results::new();
        for _ in 0..frames {
            let at = Span::from_ms(10 * self.next as i64);
            let meta = FrameMeta {
                sequence: self.next,
                captured_at: Timestamp::from_ns(0) + at,
                captured_wall: WallTime::from_utc_ns(1_749_897_127_000_000_000) + at,
                ..FrameMeta::new()
            };
            let jpeg = Some(JpegPicture { width: 1, height: 1, bytes: &self.jpeg });
            let frame = Frame {
                meta: &meta,
                results: &results,
                pixels: None,
                jpeg,
                side: &[],
                sensor: &[],
                labels: None,
                losses: &[],
            };
            assert_eq!(self.sink.add(&frame).expect("added"), Added::Kept, "nothing is lost for the recorder");
            self.next += 1;
            std::thread::sleep(pause);
        }
    }

    fn finish(mut self) {
        assert_eq!(self.sink.finish().expect("finished").frames, self.next, "the recorder beside got every frame");
    }
}

fn settings(directory: &Path) -> ClipSettings {
    let frame_bytes = Some(BYTES_EACH + 4096);
    ClipSettings { history: Span::from_s(2), min_free_bytes: 0, frame_bytes, ..ClipSettings::new(directory) }
}

#[test]
fn a_disk_that_gets_full_ends_the_clip_and_costs_the_history_nothing() {
    let Some(disk) = SmallDisk::mount(12) else { return };
    let (sink, control) = ClipSink::new(Box::new(Counter::default()), settings(disk.0.path())).expect("a clip saver");
    let mut feed = Feed::new(sink);
    feed.run(200, Duration::ZERO);
    // 400 frames of 100 KB are 40 MB.
    control.trigger("too long", Span::from_s(2), Span::from_s(2)).expect("taken");
    feed.run(300, Duration::from_millis(1));
    let mut events: Vec<ClipEvent> = control.events().collect();
    for file in std::fs::read_dir(disk.0.path()).expect("a directory").flatten() {
        std::fs::remove_file(file.path()).expect("removed");
    }
    // The history is whole: the last half second, saved to a disk that has room again, holds every frame.
    control.save_last("after", Span::from_ms(500)).expect("taken");
    feed.run(60, Duration::from_millis(1));
    let next = feed.next;
    feed.finish();
    events.extend(control.events());
    println!("{events:?}");
    match &events[0] {
        ClipEvent::Failed { label, reason } => {
            assert_eq!(label, "too long");
            assert!(reason.contains("space"), "{reason}");
        }
        ClipEvent::Saved { label, frames, lost, .. } => {
            assert_eq!(label, "too long");
            assert!(*frames < 401 && *lost > 0, "{frames} frames, and it says that {lost} are missing");
        }
        other => panic!("{other:?}"),
    }
    let ClipEvent::Saved { path, label, lost: 0, .. } = &events[1] else { panic!("{events:?}") };
    assert_eq!(label, "after");
    let mut reader = Reader::open(path).expect("a recording");
    let sequences: Vec<u64> = (0..reader.len()).map(|i| reader.frame(i).unwrap().meta.sequence).collect();
    assert_eq!(sequences, (next - 60 - 50..=next - 60).collect::<Vec<_>>());
}

#[test]
fn a_clip_thread_that_cannot_follow_ends_the_clip_short_and_says_by_how_many_frames() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let reserve = Span::from_ms(100);
    let settings = ClipSettings { reserve, ..settings(directory.path()) };
    let (sink, control) = ClipSink::new(Box::new(Counter::default()), settings).expect("a clip saver");
    let mut feed = Feed::new(sink);
    feed.run(210, Duration::ZERO);
    control.trigger("fast", Span::from_s(2), Span::from_s(8)).expect("taken");
    // 10 GB/s by the clock of the wall: no disk follows, and the reserve holds 11 frames.
    feed.run(1_000, Duration::ZERO);
    feed.finish();
    let events: Vec<ClipEvent> = control.events().collect();
    println!("{events:?}");
    let [ClipEvent::Saved { path, frames, lost, .. }] = &events[..] else { panic!("{events:?}") };
    let mut reader = Reader::open(path).expect("what there is can be played");
    assert_eq!(reader.len(), *frames);
    let sequences: Vec<u64> = (0..*frames).map(|i| reader.frame(i).unwrap().meta.sequence).collect();
    assert_eq!(sequences, (10..10 + frames).collect::<Vec<_>>(), "whole up to its end");
    assert!(*lost > 0 || *frames == 1001, "{lost} lost of {frames}");
}

/// A disk that takes 2 MB a second, and frames of 100 KB that come a hundred a second: five times what it takes.
#[test]
fn a_slow_disk_makes_a_clip_late_or_short_which_it_says_and_the_window_loses_nothing() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let settings = ClipSettings {
        reserve: Span::from_ms(500),
        write_rate: Some(2_000_000),
        overlap: kinora::clips::Overlap::Separate,
        ..settings(directory.path())
    };
    let (sink, control) = ClipSink::new(Box::new(Counter::default()), settings).expect("a clip saver");
    let mut feed = Feed::new(sink);
    feed.run(200, Duration::ZERO);
    // 11 frames take the disk half a second, and wait for it in history and reserve. 401 are more than those hold.
    control.trigger("late", Span::from_ms(100), Span::ZERO).expect("taken");
    control.trigger("short", Span::from_s(2), Span::from_s(2)).expect("taken");
    // Faster than the stamps say: the disk has no chance to follow.
    feed.run(500, Duration::from_millis(4));
    // Everything else goes on as if no clip had been asked for: the last half second is whole.
    control.trigger("after", Span::from_ms(500), Span::ZERO).expect("taken");
    feed.run(60, Duration::from_millis(4));
    let next = feed.next;
    feed.finish();
    let events: Vec<ClipEvent> = control.events().collect();
    println!("{events:?}");
    let clip = |name: &str| {
        let found = events.iter().find_map(|event| match event {
            ClipEvent::Saved { path, label, frames, lost, .. } if label == name => Some((path, *frames, *lost)),
            _ => None,
        });
        let (path, frames, lost) = found.unwrap_or_else(|| panic!("{name} among {events:?}"));
        let mut reader = Reader::open(path).expect("a recording");
        let sequences: Vec<u64> = (0..reader.len()).map(|i| reader.frame(i).unwrap().meta.sequence).collect();
        assert_eq!(sequences.len() as u64, frames);
        assert!(sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{name} is whole up to its end");
        (sequences, lost)
    };
    assert_eq!(clip("late"), ((190..=200).collect(), 0), "late, and whole");
    let (sequences, lost) = clip("short");
    assert!(sequences.len() < 401 && lost > 0, "{} frames, and it says that {lost} are missing", sequences.len());
    assert!(sequences.len() as u64 + lost <= 401, "no more are missing than were asked for");
    assert_eq!(sequences[0], 0, "it begins where it should");
    assert_eq!(clip("after"), ((next - 60 - 50..=next - 60).collect(), 0));
}
