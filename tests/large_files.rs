//! Numbers beyond 32 bits: frame numbers, what a gap in them costs, and, on demand, files beyond 4 GiB and of ten million frames.
//!
//! The large ones take minutes and 5 GB of disk: `scripts/test large_files`, or
//! `KINORA_LONG=1 cargo test --test large_files -- --nocapture --test-threads 1`.
#![cfg(feature = "std")]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use kinora::prelude::*;
use kinora::recorder::Format;
use kinora::recording::{Reader, SessionHeader, SyncPolicy, Writer, WriterSettings, cut, verify};
use kinora::slot::SlotSizes;
use kinora::source::SourceError;
use kinora::timeline::Timeline;
use kinora::{Added, ClockPair, Loss, ManualClock, WallTime};

const START: ClockPair =
    ClockPair { monotonic: Timestamp::from_ns(1_000), wall: WallTime::from_utc_ns(1_800_000_000_000_000_000) };

/// On the disk that holds the build, removed with the value.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn sequence_numbers_beyond_32_bits_and_up_to_the_last_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.kinora");
    let clock = Arc::new(ManualClock::new(START));
    let recorder = Recorder::builder().file(&path).format(Format::Raw).min_free(0).clock(clock.clone());
    let mut recorder = recorder.create().unwrap();
    let around = |n: u64| n - 3..n + 3;
    let numbers: Vec<u64> =
        [around(1 << 31), around(1 << 32), around(1 << 53), around(1 << 63)].into_iter().flatten().collect();
    let numbers = [&numbers[..], &[u64::MAX - 1, u64::MAX]].concat();
    let mut slot = Slot::new(&SlotSizes::default());
    for &number in &numbers {
        clock.advance(Span::from_ms(10));
        slot.meta.sequence = number;
        slot.meta.captured_at = clock.now();
        slot.meta.captured_wall = clock.pair().wall;
        let loss = Loss::one(Cause::RingFull, number, clock.now());
        assert!(matches!(recorder.add(&Frame { losses: &[loss], ..slot.frame(None) }), Ok(Added::Kept)));
    }
    recorder.finish().unwrap();
    let mut reader = Reader::open(&path).unwrap();
    let read: Vec<u64> = (0..reader.len()).map(|n| reader.frame(n).unwrap().meta.sequence).collect();
    assert_eq!(read, numbers);
    let lost: Vec<u64> = reader.losses().unwrap().iter().map(|(_, loss)| loss.first_sequence).collect();
    assert_eq!(lost, numbers);
    assert_eq!(reader.info().dropped, numbers.len() as u64);
    assert!(verify(&path, |_, _| {}).unwrap().is_intact());
}

/// Headless frames with these numbers.
struct Numbers {
    info: SourceInfo,
    numbers: Vec<u64>,
}

impl Source for Numbers {
    fn describe(&self) -> &SourceInfo {
        &self.info
    }

    fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
        self.numbers.reverse();
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, _: Span) -> Result<Filled, SourceError> {
        let Some(number) = self.numbers.pop() else { return Ok(Filled::End) };
        slot.meta.sequence = number;
        slot.meta.captured_at = kinora::SystemClock.now();
        Ok(Filled::Frame)
    }
}

#[test]
fn a_gap_of_more_than_32_bits_is_lost_frames_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gap.kinora");
    let numbers = vec![(1 << 32) - 2, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 34) + 1, (1 << 34) + 2];
    let mut info = SourceInfo::new("numbers");
    info.live = false;
    let recorder = Recorder::builder().file(&path).min_free(0).create().unwrap();
    let source = Capture::new(Numbers { info, numbers: numbers.clone() });
    let mut session = Session::builder().source(source).recorder(recorder).start().unwrap();
    while !session.wait_within(Span::from_ms(50)) {}
    let report = session.stop().unwrap();
    let gap = (1_u64 << 34) - (1 << 32) - 1;
    assert_eq!((report.status.captured, report.status.kept, report.status.lost()), (6, 6, gap), "{report:?}");
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!((reader.info().frames, reader.info().dropped), (6, gap));
    assert_eq!(reader.frame(5).unwrap().meta.sequence, (1 << 34) + 2);
    let losses = reader.losses().unwrap();
    assert_eq!(
        losses.iter().map(|(_, loss)| (loss.first_sequence, loss.count)).collect::<Vec<_>>(),
        [((1 << 32) + 2, gap)]
    );
}

// What takes minutes.

fn is_asked_for(bytes: &str) -> bool {
    let is_asked = std::env::var_os("KINORA_LONG").is_some_and(|value| value == "1");
    if !is_asked {
        eprintln!("skipped: it takes minutes and {bytes} of disk; KINORA_LONG=1 runs it");
    }
    is_asked
}

/// The process's own memory, in kB.
fn own_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Says how long a step took and what the process has then, of so much that it may have.
struct Steps {
    begun: Instant,
    most_kb: u64,
}

impl Steps {
    /// `more_kb`: what readers, writers and slots of the test may take.
    fn new(more_kb: u64) -> Self {
        Self { begun: Instant::now(), most_kb: own_kb() + more_kb }
    }

    fn done(&mut self, what: &str) {
        let kb = own_kb();
        println!("{what}: {:.1} s, {kb} kB of its own, at most {}", self.begun.elapsed().as_secs_f64(), self.most_kb);
        assert!(kb < self.most_kb, "{what}: {kb} kB");
        self.begun = Instant::now();
    }
}

const SIZE: (u32, u32) = (1920, 1080);
/// Each a little over 6 MB: 100 MB beyond 4 GiB in all.
const PICTURES: u64 = 707;

/// Frame `n`: every byte of the picture follows from it.
fn picture(slot: &mut Slot, n: u64) {
    slot.meta.sequence = n;
    slot.meta.captured_at = START.monotonic + Span::from_ms(33 * n as i64);
    slot.meta.captured_wall = START.wall_of(slot.meta.captured_at);
    let info = kinora::frame::PictureInfo::packed(kinora::frame::PixelFormat::Bgr888, SIZE.0, SIZE.1);
    let pixels = slot.pixels_mut(info).unwrap();
    pixels.fill(n as u8);
    for row in pixels.chunks_mut(4096) {
        row[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    }
}

fn assert_picture(reader: &mut Reader, slot: &mut Slot, index: u64, n: u64) {
    picture(slot, n);
    let (frame, right) = (reader.read_frame(index).unwrap(), slot.frame(None));
    assert!(frame.pixels == right.pixels && frame.meta.sequence == n, "frame {n} is wrong");
}

#[test]
fn a_recording_beyond_4_gib_is_written_read_sought_verified_and_cut() {
    if !is_asked_for("4.4 GB") {
        return;
    }
    const BOUNDARY: u64 = 1 << 32;
    let folder = folder();
    let path = folder.path().join("large.kinora");
    let bytes = SIZE.0 as usize * SIZE.1 as usize * 3;
    // Steps that 4 GiB is no multiple of, so that a record lies across it.
    let settings = WriterSettings { sync: SyncPolicy::Never, growth_bytes: 99 << 20, ..WriterSettings::default() };
    let settings = settings.for_frames(bytes, 0, 0);
    let header = SessionHeader::from_source(&SourceInfo::new("large"), START, [4; 16]);
    let mut slot = Slot::new(&SlotSizes { pixels: bytes, ..SlotSizes::default() });
    // Three readers that live at the same time have a record each.
    let mut steps = Steps::new(32 << 10);
    let mut writer = Writer::create(&path, &header, &settings).unwrap();
    for n in 0..PICTURES {
        picture(&mut slot, n);
        let now = ClockPair { monotonic: slot.meta.captured_at, wall: slot.meta.captured_wall };
        let _ = writer.append(&slot.frame(None), now).unwrap();
    }
    steps.done("written");
    // Not closed yet: found again by the steps of the file.
    let mut reader = Reader::open(&path).unwrap();
    assert_eq!((reader.frame_count(), reader.is_finalized()), (PICTURES, false));
    assert_picture(&mut reader, &mut slot, PICTURES - 1, PICTURES - 1);
    steps.done("opened while it is written");
    assert_eq!(writer.finish().unwrap().frames, PICTURES);
    steps.done("closed");
    check_large(&path, &mut slot, true);
    steps.done("read and sought");
    let report = verify(&path, |_, _| {}).unwrap();
    assert!(report.is_intact() && report.frames_ok == PICTURES && report.bytes > BOUNDARY, "{report:?}");
    steps.done("verified");
    // Three frames around the boundary, into a file of their own.
    let across = across(&mut Reader::open(&path).unwrap());
    let small = folder.path().join("small.kinora");
    cut(&path, &small, (across - 1, across + 1), |_| ControlFlow::Continue(())).unwrap();
    let mut reader = Reader::open(&small).unwrap();
    assert_eq!(reader.frame_count(), 3);
    (0..3).for_each(|index| assert_picture(&mut reader, &mut slot, index, across - 1 + index));
    // As after a crash.
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(std::fs::metadata(&path).unwrap().len() - 1).unwrap();
    check_large(&path, &mut slot, false);
    steps.done("cut, and opened without its end");
}

/// The frame whose record lies across 4 GiB.
fn across(reader: &mut Reader) -> u64 {
    let after = (0..PICTURES).find(|&n| reader.frame_offset(n).unwrap() >= 1 << 32).unwrap();
    let start = reader.frame_offset(after - 1).unwrap();
    assert!(start < 1 << 32 && start + 6_000_000 > 1 << 32, "no record lies across 4 GiB: {start}");
    after - 1
}

fn check_large(path: &Path, slot: &mut Slot, is_closed: bool) {
    let mut reader = Reader::open(path).unwrap();
    assert_eq!((reader.frame_count(), reader.is_finalized()), (PICTURES, is_closed));
    let across = across(&mut reader);
    for n in [0, 1, across - 1, across, across + 1, PICTURES - 1, across, 7] {
        assert_picture(&mut reader, slot, n, n);
    }
    for n in 0..PICTURES {
        let at = START.monotonic + Span::from_ms(33 * n as i64);
        assert_eq!(reader.seek_time(at), n);
        assert_eq!(reader.captured_at(n), Some(at));
    }
}

const MANY: u64 = 10_000_000;

#[test]
fn ten_million_headless_frames_are_recorded_sought_and_verified_in_bounded_memory() {
    if !is_asked_for("3 GB") {
        return;
    }
    let folder = folder();
    let path = folder.path().join("many.kinora");
    let clock = Arc::new(ManualClock::new(START));
    let recorder = Recorder::builder().file(&path).format(Format::Raw).min_free(0).sync(SyncPolicy::Never);
    let mut recorder = recorder.clock(clock.clone()).create().unwrap();
    let mut slot = Slot::new(&SlotSizes::default());
    let mut steps = Steps::new(16 << 10);
    let at = |n: u64| START.monotonic + Span::from_us(1 + 100 * n as i64);
    for n in 0..MANY {
        slot.meta.sequence = n;
        slot.meta.captured_at = at(n);
        slot.meta.captured_wall = START.wall_of(slot.meta.captured_at);
        clock.advance(at(n) - clock.now());
        assert!(matches!(recorder.add(&slot.frame(None)), Ok(Added::Kept)), "frame {n}");
    }
    steps.done("recorded");
    let summary = recorder.finish().unwrap();
    assert_eq!(summary.frames, MANY);
    steps.done("closed");
    println!("{} bytes", std::fs::metadata(&path).unwrap().len());
    for is_closed in [true, false] {
        let mut reader = Reader::open(&path).unwrap();
        assert_eq!((reader.frame_count(), reader.is_finalized()), (MANY, is_closed));
        steps.done("opened");
        let mut n = 1_u64;
        for _ in 0..10_000 {
            n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let index = (n >> 20) % MANY;
            assert_eq!(reader.seek_time(at(index)), index);
            assert_eq!(reader.seek_time(at(index) + Span::from_ns(1)), index + 1);
            assert_eq!(reader.read_frame(index).unwrap().meta.sequence, index);
        }
        steps.done("10,000 times sought");
        if is_closed {
            let report = verify(&path, |_, _| {}).unwrap();
            assert!(report.is_intact() && report.frames_ok == MANY, "{report:?}");
            steps.done("verified");
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_len(std::fs::metadata(&path).unwrap().len() - 1).unwrap();
        }
    }
}
