//! After the start no thread of the engine allocates, path by path: paced playback with its commands, a file as the source of a
//! session, splits, clips and a replay beside a recording, frames that are lost, a camera that goes silent and comes back, a file
//! that is deleted. Counted for each thread by its name. What opens files (`kinora-files`, `kinora-clips`) allocates for a file
//! and nothing for a frame. One test alone in its program, so that no other test's threads are counted.
#![cfg(feature = "jpeg")]
#![allow(unsafe_code)] // A global allocator, and the kernel's name of a thread, cannot be had without.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use counting::Counting;
use kinora::clips::{ClipSettings, Overlap, RuleSettings};
use kinora::frame::PixelFormat;
use kinora::playback::Command;
use kinora::prelude::*;
use kinora::recording::room::{NoRoom, Room};
use kinora::recording::store::{PageStore, Pages, StoreError};
use kinora::recording::{FileStore, Geometry, SyncPolicy, WriterSettings};
use kinora::replay::machine;
use kinora::replay::operator::{ReplayLimits, ReplayOperator};
use kinora::replay::settings::ReplaySettings;
use kinora::source::SourceError;
use kinora::{ClockPair, Loss, PictureFormat, ReplayStream, SessionReport};

#[path = "common/counting.rs"]
mod counting;

/// Threads that may be counted at a time.
const THREADS_MAX: usize = 256;

struct Counted {
    /// The thread's name as the kernel has it: 15 bytes and a zero.
    name: [AtomicU64; 2],
    count: AtomicU64,
}

impl Counted {
    fn name(&self) -> [u8; 16] {
        let mut name = [0; 16];
        for (bytes, cell) in name.chunks_exact_mut(8).zip(&self.name) {
            bytes.copy_from_slice(&cell.load(Ordering::Relaxed).to_le_bytes());
        }
        name
    }
}

static ARMED: AtomicBool = AtomicBool::new(false);
static TAKEN: AtomicUsize = AtomicUsize::new(0);
static COUNTED: [Counted; THREADS_MAX] =
    [const { Counted { name: [const { AtomicU64::new(0) }; 2], count: AtomicU64::new(0) } }; THREADS_MAX];
static IS_FIRST_SEEN: AtomicBool = AtomicBool::new(false);
/// Where the first one came from in a thread that may not.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    /// This thread is no part of what is watched: the test itself.
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
    static PLACE: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn note() {
    if !ARMED.load(Ordering::Relaxed) || EXEMPT.try_with(Cell::get).unwrap_or(true) {
        return;
    }
    let Ok(place) = PLACE.try_with(Cell::get) else { return };
    let place = if place < THREADS_MAX { place } else { take_place() };
    let counted = &COUNTED[place];
    counted.count.fetch_add(1, Ordering::Relaxed);
    let name = counted.name();
    if !may_allocate(&shown(&name)) && !IS_FIRST_SEEN.swap(true, Ordering::Relaxed) {
        EXEMPT.with(|exempt| exempt.set(true));
        *FIRST.lock().unwrap() = Some(format!("{}:\n{}", shown(&name), std::backtrace::Backtrace::force_capture()));
        EXEMPT.with(|exempt| exempt.set(false));
    }
}

/// Without an allocation: the name is asked of the kernel.
fn take_place() -> usize {
    let place = TAKEN.fetch_add(1, Ordering::Relaxed).min(THREADS_MAX - 1);
    PLACE.with(|own| own.set(place));
    let mut name = [0_u8; 16];
    // SAFETY: the call writes at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    for (cell, bytes) in COUNTED[place].name.iter().zip(name.chunks_exact(8)) {
        cell.store(u64::from_le_bytes(bytes.try_into().expect("eight of them")), Ordering::Relaxed);
    }
    place
}

/// At most 15 characters, on the stack.
fn shown(name: &[u8; 16]) -> heapless::String<16> {
    name.iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
}

/// What makes, grows, closes and removes files, and the test harness.
fn may_allocate(thread: &str) -> bool {
    matches!(thread, "kinora-files" | "kinora-clips" | "kinora-pages" | "no_allocation_p")
}

#[global_allocator]
static COUNTING: Counting = Counting(note);

/// Does something under watch; what each thread allocated and freed. `is_own`: the calling thread is watched, too.
fn watched(is_own: bool, action: impl FnOnce()) -> BTreeMap<String, u64> {
    COUNTED.iter().for_each(|counted| counted.count.store(0, Ordering::Relaxed));
    IS_FIRST_SEEN.store(false, Ordering::Relaxed);
    EXEMPT.with(|exempt| exempt.set(!is_own));
    ARMED.store(true, Ordering::SeqCst);
    action();
    ARMED.store(false, Ordering::SeqCst);
    EXEMPT.with(|exempt| exempt.set(true));
    let mut counts = BTreeMap::new();
    for counted in COUNTED.iter().take(TAKEN.load(Ordering::SeqCst)) {
        *counts.entry(shown(&counted.name()).to_string()).or_default() += counted.count.load(Ordering::Relaxed);
    }
    counts
}

/// Nothing but what opens files allocated.
fn assert_none(what: &str, counts: &BTreeMap<String, u64>) {
    let first = FIRST.lock().unwrap().take().unwrap_or_default();
    println!("{what}: {counts:?}");
    for (thread, count) in counts {
        assert!(
            *count == 0 || may_allocate(thread),
            "{what}: {thread} allocated or freed {count} times; first {first}"
        );
    }
}

/// Ends the thread beside a check, also when the check fails: the scope waits for both.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits until `done` says so.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < limit, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A recording of 500 frames of the virtual scene, a thousandth of a second apart.
fn recording(folder: &Path) -> PathBuf {
    let path = folder.join("played.kinora");
    let recorder = Recorder::builder().file(&path).min_free(0).create().unwrap();
    let settings = Settings { frames_max: Some(500), ..Settings::default() };
    let source = open_source("virtual:size=64x48,fps=1000").unwrap().settings(settings);
    let mut session = Session::builder().source(source).recorder(recorder).start().unwrap();
    session.bookmark("in the middle").unwrap();
    while !session.wait_within(Span::from_ms(50)) {}
    let kept = session.stop().unwrap().summary.frames;
    assert!(kept > 100, "{kept} frames");
    path
}

fn paced_playback(path: &Path, is_decoded: bool) {
    let mut playback = Playback::open(path).unwrap().rate("8".parse().unwrap()).looped(true);
    if is_decoded {
        playback = playback.pixels(PixelFormat::Bgr888).unwrap();
    }
    let mut stream = playback.start().unwrap();
    let commands = [
        Command::TogglePause,
        Command::Resume,
        Command::SeekFrame(50),
        Command::Reverse,
        Command::Faster,
        Command::SeekTime(Span::from_ms(30)),
        Command::Reverse,
        Command::Slower,
        Command::AddBookmark,
        Command::PreviousBookmark,
        Command::NextBookmark,
        Command::SetRate("16".parse().unwrap()),
        Command::Home,
        Command::MarkIn,
        Command::SeekFrame(90),
        Command::MarkOut,
        Command::ClearMarks,
        Command::ToggleLoop,
        Command::ToggleLoop,
        Command::End,
    ];
    let mut shown = 0;
    let counts = watched(true, || {
        for round in 0..2_000_usize {
            if round % 20 == 10 {
                stream.command(commands[round / 20 % commands.len()]);
                // What stands still goes on.
                stream.command(Command::Resume);
            }
            shown += u64::from(stream.next().unwrap().is_some());
        }
    });
    assert!(shown > 1_500, "{shown} frames");
    assert_none(&format!("paced playback, decoded: {is_decoded}"), &counts);
}

/// The same frames as modlib's lines.
#[cfg(feature = "modlib")]
fn modlib_lines(path: &Path, folder: &Path) -> PathBuf {
    let lines = folder.join("played.json");
    let mut recorder = Recorder::builder().file(&lines).min_free(0).create().unwrap();
    let mut playback = Playback::open(path).unwrap().rate("max".parse().unwrap());
    let mut stream = playback.start().unwrap();
    while let Some(frame) = stream.next().unwrap() {
        recorder.add(&frame).unwrap();
    }
    recorder.finish().unwrap();
    lines
}

/// The file again and again, at its pace, recorded once more.
fn file_as_source(path: &Path, folder: &Path) {
    let source = Playback::open(path).unwrap().looped(true).into_source();
    let recorder = Recorder::builder().file(folder.join("again.kinora")).min_free(0).create().unwrap();
    let mut session = Session::builder().source(Capture::new(source)).recorder(recorder).start().unwrap();
    let mut tap = session.frames(Policy::Every);
    wait_for("the first frames", || session.status().kept > 50);
    let counts = watched(false, || {
        let end = session.status().kept + 2_000;
        while session.status().kept < end {
            tap.next_within(Span::from_ms(1)).unwrap();
            session.bookmark("now").ok();
        }
    });
    assert_none("a file as the source", &counts);
    finish(session, 2_000);
}

fn finish(session: Session, least: u64) -> SessionReport {
    let report = session.stop().unwrap();
    assert!(report.source_error.is_none() && report.sink_error.is_none(), "{report:?}");
    assert!(report.summary.frames >= least, "{report:?}");
    report
}

/// A recording that splits many times a second, clips by rule and by hand, and a replay on a thread of its own.
fn splits_clips_and_replay(folder: &Path) {
    let directory = folder.join("all");
    let recorder = Recorder::builder().directory(&directory).split_time(Span::from_ms(150)).min_free(0);
    let rule =
        RuleSettings { rule: "person>0.1 cooldown 200ms".into(), pre: Span::from_ms(50), post: Span::from_ms(50) };
    let clips = ClipSettings {
        history: Span::from_s(1),
        overlap: Overlap::Separate,
        rules: vec![rule],
        min_free_bytes: 0,
        ..ClipSettings::new(folder.join("clips"))
    };
    let source = open_source("virtual:size=64x48,fps=500").unwrap();
    let session = Session::builder().source(source).recorder(recorder.create().unwrap()).clip_settings(clips);
    let mut session = session.start().unwrap();
    let limits = ReplayLimits { picture: (64, 48), ..ReplayLimits::default() };
    let settings = ReplaySettings { autostart_recording: true, ..ReplaySettings::default() };
    let operator = ReplayOperator::with_limits(settings, limits).unwrap();
    let mut replay = ReplayStream::new(session.frames(Policy::Every), operator);
    let control = replay.control();
    let (stop, shown) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let body = || {
            while !stop.load(Ordering::Relaxed) {
                let is_there = replay.next_within(Span::from_ms(5)).unwrap().is_some();
                shown.fetch_add(u64::from(is_there), Ordering::Relaxed);
            }
        };
        std::thread::Builder::new().name("replay".into()).spawn_scoped(scope, body).unwrap();
        let _end = End(&stop);
        wait_for("the first frames", || shown.load(Ordering::Relaxed) > 50);
        let mut bookmarks = 0;
        let counts = watched(false, || {
            // A machine that is slower than the camera gets more rounds.
            let limit = Instant::now() + Duration::from_secs(120);
            for round in 0.. {
                let shown = shown.load(Ordering::Relaxed);
                if (round >= 30 && bookmarks >= 16 && shown > 200) || Instant::now() > limit {
                    break;
                }
                let command =
                    if round % 2 == 0 { machine::Command::StartPlayback } else { machine::Command::StartRecording };
                let _ = control.request(kinora::replay::control::Request::Command(command));
                let _ = session.trigger("by hand", Span::from_ms(30), Span::from_ms(30));
                // On a busy machine 16 may wait already, which is an answer, too.
                bookmarks += u32::from(session.bookmark("now").is_ok());
                std::thread::sleep(Duration::from_millis(50));
                while control.answer().is_some() {}
                let _ = control.events().count();
            }
        });
        assert_none("splits, clips and a replay", &counts);
        assert!(bookmarks >= 16, "{bookmarks} bookmarks");
    });
    assert!(shown.load(Ordering::Relaxed) > 200, "{shown:?} frames of the replay");
    let files = finish(session, 200).summary.paths.len();
    let clips = std::fs::read_dir(folder.join("clips")).unwrap().count();
    assert!(files >= 5 && clips >= 3, "{files} files, {clips} clips");
}

/// A camera of which some frames are broken or too big, which goes silent until it is started again.
struct Troubled {
    info: SourceInfo,
    next: u64,
    starts: u64,
}

impl Source for Troubled {
    fn describe(&self) -> &SourceInfo {
        &self.info
    }

    fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
        self.starts += 1;
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError> {
        std::thread::sleep(Duration::from_millis(1));
        let now = kinora::SystemClock.pair();
        if self.starts == 1 && self.next >= 600 {
            std::thread::sleep(Duration::from_nanos(wait.as_ns().max(0) as u64));
            return Ok(Filled::Nothing);
        }
        self.next += 1;
        let lost = |cause| Ok(Filled::Lost(Loss::one(cause, self.next, now.monotonic)));
        match self.next % 50 {
            7 => return lost(Cause::Corrupt),
            8 => return lost(Cause::TooBig),
            // Sequence numbers that are never seen.
            9 => self.next += 3,
            _ => {}
        }
        slot.meta.sequence = self.next;
        (slot.meta.captured_at, slot.meta.captured_wall) = (now.monotonic, now.wall);
        Ok(Filled::Frame)
    }
}

fn errors_that_end_nothing(folder: &Path) {
    let directory = folder.join("troubled");
    let mut info = SourceInfo::new("troubled");
    (info.frame_rate, info.watched) = ((500, 1), true);
    let recorder = Recorder::builder().directory(&directory).min_free(0).sync(SyncPolicy::Every(Span::from_ms(20)));
    let source = Capture::new(Troubled { info, next: 0, starts: 0 });
    let session = Session::builder().source(source).recorder(recorder.create().unwrap()).start().unwrap();
    wait_for("the first frames", || session.status().kept > 50);
    let counts = watched(false, || {
        wait_for("frames", || session.status().kept > 150);
        // Noticed with the next sync: the recording goes on in a new file.
        let entries = std::fs::read_dir(&directory).unwrap().flatten().map(|entry| entry.path());
        let file = entries.filter(|path| path.extension().is_some_and(|e| e == "kinora")).max().unwrap();
        std::fs::remove_file(file).unwrap();
        // Silent from frame 600 on, for the watchdog's patience and its first pause.
        wait_for("a camera that is well again", || session.status().captured > 1_200);
    });
    assert_none("errors that end nothing", &counts);
    let report = session.stop().unwrap();
    let lost = report.status.lost_for(Cause::Corrupt).min(report.status.lost_for(Cause::TooBig));
    assert!(lost >= 10, "{report:?}");
    assert_eq!(report.summary.paths.len(), 2, "{report:?}");
}

/// Files on a disk that has room for so many bytes.
struct Small(u64);

impl Room for Small {
    fn grant(&mut self, wanted: u64, least: u64) -> Result<u64, NoRoom> {
        let granted = wanted.min(self.0);
        self.0 -= granted;
        let refusal = NoRoom::Total { used: 0, limit: granted, needed: least };
        if granted < least { Err(refusal) } else { Ok(granted) }
    }
}

impl Pages for Small {
    fn create(&self, path: &Path, geometry: &Geometry) -> Result<Box<dyn PageStore + Send>, StoreError> {
        let store = FileStore::create(path, geometry, &WriterSettings::default(), Box::new(Self(self.0)));
        store.map(|store| Box::new(store) as _).map_err(|_| StoreError::NoSpace)
    }
}

/// The session goes on without its recorder, and counts what that costs.
fn disk_full(folder: &Path) {
    let recorder =
        Recorder::builder().file(folder.join("full.kinora")).format(kinora::recorder::Format::Raw).min_free(0);
    let recorder = recorder.pages(Arc::new(Small(70 << 20))).create().unwrap();
    let settings = Settings { format: PictureFormat::Raw, ..Settings::default() };
    let source = open_source("virtual:size=640x480,fps=200").unwrap().settings(settings);
    let session = Session::builder().source(source).recorder(recorder).start().unwrap();
    wait_for("the first frames", || session.status().kept > 3);
    let counts = watched(false, || {
        wait_for("a full disk", || session.status().sink_failed);
        let end = session.status().captured + 200;
        wait_for("frames without a recorder", || session.status().captured > end);
    });
    assert_none("a full disk", &counts);
    let report = session.stop().unwrap();
    assert!(report.status.lost_for(Cause::WriteFailed) >= 100, "{report:?}");
}

/// What the clip thread allocates depends on its files, not on the frames in them.
fn clips_cost_by_file(folder: &Path) {
    let cost = |frames: i64| {
        let settings = ClipSettings {
            history: Span::from_s(4),
            overlap: Overlap::Separate,
            min_free_bytes: 0,
            ..ClipSettings::new(folder.join(format!("clips_of_{frames}")))
        };
        let source = open_source("virtual:size=64x48,fps=200").unwrap();
        let session = Session::builder().source(source).clip_settings(settings).start().unwrap();
        wait_for("a history", || session.status().captured > 500);
        let saved = || {
            session.clip_control().unwrap().events().filter(|e| matches!(e, kinora::ClipEvent::Saved { .. })).count()
        };
        let clip = || {
            session.trigger("by hand", Span::from_ms(5 * frames), Span::ZERO).unwrap();
            wait_for("a clip", || saved() > 0);
        };
        // The first makes what is made once.
        clip();
        let counts = watched(false, || (0..4).for_each(|_| clip()));
        assert_none(&format!("4 clips of {frames} frames"), &counts);
        session.stop().unwrap();
        counts.get("kinora-clips").copied().unwrap_or(0)
    };
    let (short, long) = (cost(20), cost(400));
    // 1,520 frames more.
    assert!(short > 0 && long.abs_diff(short) < 100, "{short} for clips of 20 frames, {long} for clips of 400");
}

#[test]
fn no_path_of_the_engine_allocates_on_a_thread_that_has_frames() {
    EXEMPT.with(|exempt| exempt.set(true));
    let seen = watched(true, || drop(std::hint::black_box(vec![1; 100])));
    assert_eq!(seen.get("no_path_of_the_"), Some(&2), "nothing is counted: {seen:?}");
    let _ = FIRST.lock().unwrap().take();
    let folder = tempfile::tempdir().unwrap();
    let path = recording(folder.path());
    paced_playback(&path, false);
    paced_playback(&path, true);
    #[cfg(feature = "modlib")]
    paced_playback(&modlib_lines(&path, folder.path()), false);
    file_as_source(&path, folder.path());
    disk_full(folder.path());
    splits_clips_and_replay(folder.path());
    errors_that_end_nothing(folder.path());
    clips_cost_by_file(folder.path());
}
