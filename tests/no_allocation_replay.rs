//! Once they are made, the Replay operator, the clip saver and the triggers allocate nothing on the thread that has the frames: a
//! counting allocator watches that thread through recording, replays, commands, rules, clips and frames that are too big.
//!
//! It sees Rust's allocator. The clip thread may allocate: it opens files.
#![cfg(feature = "std")]

use std::cell::Cell;

use counting::Counting;
use kinora::clips::{ClipEvent, ClipSettings, ClipSink, Overlap, RuleSettings};
use kinora::event::Event;
use kinora::frame::{Frame, FrameMeta, JpegPicture, PictureInfo, PixelFormat, Pixels};
use kinora::replay::control::{Request, RequestError};
use kinora::replay::machine::Command;
use kinora::replay::operator::{ReplayLimits, ReplayOperator};
use kinora::replay::settings::{ReplayPacing, ReplaySettings, Setting};
use kinora::results::{ResultKind, Results};
use kinora::source::SourceInfo;
use kinora::{Added, ClockPair, FrameSink, Loss, Span, Speed, Summary, WallTime};

#[path = "common/counting.rs"]
mod counting;

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

fn note() {
    if IS_WATCHED.try_with(Cell::get).unwrap_or(false) {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    }
}

#[global_allocator]
static COUNTING: Counting = Counting(note);

/// Does something with this thread under watch; how often it allocated or freed.
fn watched(action: impl FnOnce()) -> u64 {
    let before = COUNT.get();
    IS_WATCHED.set(true);
    action();
    IS_WATCHED.set(false);
    COUNT.get() - before
}

const JPEG: &[u8] = include_bytes!("data/grey_1x1.jpg");
const SIDE: u32 = 64;

/// Frames 10 ms apart, in memory of their own.
struct Frames {
    meta: FrameMeta,
    results: Box<Results>,
    jpeg: Vec<u8>,
    pixels: Vec<u8>,
}

impl Frames {
    fn new() -> Self {
        let pixels = (0..SIDE * SIDE * 3).map(|n| (n * 31 % 256) as u8).collect();
        Self { meta: FrameMeta::new(), results: Box::default(), jpeg: JPEG.to_vec(), pixels }
    }

    /// The next frame; every 50 frames, for 25 of them, with a person.
    fn next(&mut self, has_pixels: bool) -> Frame<'_> {
        let (sequence, step) = (self.meta.sequence + 1, Span::from_ms(10));
        self.meta.sequence = sequence;
        self.meta.captured_at += step;
        self.meta.captured_wall =
            WallTime::from_utc_ns(1_749_897_127_000_000_000) + Span::from_ms(10 * sequence as i64);
        self.results.begin(ResultKind::Detections);
        if sequence % 50 < 25 {
            self.results.push_detection([0.1, 0.1, 0.2, 0.2], 0.9, 0, None).expect("room for one");
        }
        let info = PictureInfo::packed(PixelFormat::Bgr888, SIDE, SIDE);
        Frame {
            meta: &self.meta,
            results: &self.results,
            pixels: has_pixels.then_some(Pixels { info, bytes: &self.pixels }),
            jpeg: (!has_pixels).then_some(JpegPicture { width: 1, height: 1, bytes: &self.jpeg }),
            side: &[],
            sensor: &[],
            labels: None,
            losses: &[],
        }
    }
}

#[test]
fn the_watch_sees_an_allocation() {
    assert!(watched(|| drop(std::hint::black_box(vec![1; 100]))) >= 2);
}

#[test]
fn the_operator_allocates_nothing_once_it_is_made() {
    let settings = ReplaySettings { autostart_recording: true, ..ReplaySettings::default() };
    let limits = ReplayLimits { picture: (SIDE, SIDE), frame_bytes: Some(20_000), ..ReplayLimits::default() };
    let mut operator = ReplayOperator::with_limits(settings, limits).expect("in range");
    let control = operator.control();
    let mut frames = Frames::new();
    let too_big = vec![0; 30_000];
    let requests = [
        Request::Command(Command::StartPlayback),
        Request::Set(Setting::PlaybackSpeed(Speed::new(1, 3).expect("a speed"))),
        Request::Command(Command::MarkIn),
        Request::Command(Command::Pause),
        Request::Command(Command::Resume),
        Request::Command(Command::Stop),
        Request::Set(Setting::Pacing(ReplayPacing::Recorded)),
        Request::Set(Setting::MaxFramesInMemory(50)),
        Request::Set(Setting::MaxFramesInMemory(0)),
        Request::Command(Command::StartPlayback),
        Request::Command(Command::StartRecording),
        Request::Set(Setting::JpegQuality(40)),
        Request::Command(Command::Reset),
        Request::Command(Command::ResumeRecording),
    ];
    let (mut answers, mut events, mut refused) = (0, 0, 0);
    let allocations = watched(|| {
        for round in 0..2_000_usize {
            if round % 100 == 7 {
                match control.request(requests[round / 100 % requests.len()]) {
                    Ok(_) => {}
                    Err(RequestError::OutOfRange(_)) => refused += 1,
                    Err(other) => panic!("{other}"),
                }
            }
            // Pixels are compressed where this build can, and stored as they are where it cannot.
            let mut frame = frames.next(round % 5 == 0);
            if round % 97 == 0 {
                frame.pixels = None;
                frame.jpeg = Some(JpegPicture { width: 1, height: 1, bytes: &too_big });
            }
            let now = frame.meta.captured_at;
            std::hint::black_box(operator.process(frame, now));
            std::hint::black_box(operator.tick(now));
            answers += usize::from(control.answer().is_some());
            events += control.events().count();
            std::hint::black_box(control.status());
        }
    });
    let status = operator.status();
    println!("{status:?}");
    assert!(answers >= 15 && events > 10 && refused > 0, "{answers} answers, {events} events, {refused} refused");
    assert!(status.stored > 200 && status.too_big > 2, "{status:?}");
    assert_eq!(allocations, 0);
}

/// Takes everything.
struct Everything;

impl FrameSink for Everything {
    fn begin(&mut self, _: &SourceInfo, _: ClockPair) -> kinora::Result<()> {
        Ok(())
    }
    fn add(&mut self, _: &Frame<'_>) -> kinora::Result<Added> {
        Ok(Added::Kept)
    }
    fn loss(&mut self, _: &Loss) -> kinora::Result<()> {
        Ok(())
    }
    fn event(&mut self, _: &Event) -> kinora::Result<()> {
        Ok(())
    }
    fn finish(&mut self) -> kinora::Result<Summary> {
        Ok(Summary::default())
    }
}

#[test]
fn the_clip_saver_and_its_rules_allocate_nothing_on_the_frames_thread() {
    let directory = tempfile::tempdir().expect("a directory");
    let rule = |rule: &str| RuleSettings { rule: rule.into(), pre: Span::from_ms(100), post: Span::from_ms(50) };
    let settings = ClipSettings {
        history: Span::from_s(1),
        min_free_bytes: 0,
        overlap: Overlap::Separate,
        frame_bytes: Some(2_000),
        rules: vec![rule("person>0.6 for 50ms cooldown 2s"), rule("2x #0")],
        ..ClipSettings::new(directory.path())
    };
    let (mut sink, control) = ClipSink::new(Box::new(Everything), settings).expect("a clip saver");
    let mut info = SourceInfo::new("test");
    info.frame_rate = (100, 1);
    info.picture = Some(PictureInfo { format: PixelFormat::Jpeg, width: 1, height: 1, stride: 0 });
    info.jpeg_bytes_max = 2_000;
    info.labels.push("person").expect("one label fits");
    sink.begin(&info, ClockPair::default()).expect("begun");
    let mut frames = Frames::new();
    let mut allocations = 0;
    for round in 0..2_000 {
        allocations += watched(|| {
            if round % 300 == 150 {
                control.trigger("by hand", Span::from_ms(200), Span::from_ms(200)).expect("room");
                control.save("all of it").expect("room");
            }
            assert_eq!(sink.add(&frames.next(false)).expect("added"), Added::Kept);
        });
        // The clip thread has its turn; nothing is watched meanwhile.
        std::thread::sleep(std::time::Duration::from_micros(if round % 100 == 99 { 30_000 } else { 100 }));
    }
    sink.finish().expect("finished");
    let saved = control.events().filter(|event| matches!(event, ClipEvent::Saved { .. })).count();
    println!("{saved} clips");
    assert!(saved > 10, "{saved} clips");
    assert_eq!(allocations, 0);
}
