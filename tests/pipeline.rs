//! The pipeline as its users see it: frames keep their order, every frame is delivered or accounted for, and nobody waits
//! for nothing.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kinora::clips::{ClipEvent, ClipSettings};
use kinora::prelude::*;
use kinora::source::SourceError;
use kinora::{Added, ClockPair, FrameSink, Loss, ManualClock, PictureFormat, Summary, WallTime};

/// Counts without a picture, as fast as it is asked; live or not; leaves some numbers out.
struct Counter {
    info: SourceInfo,
    next: u64,
    end: u64,
    gap_every: u64,
    pace: Duration,
    stopped: Arc<AtomicBool>,
}

impl Counter {
    fn new(live: bool, end: u64) -> Self {
        let mut info = SourceInfo::new("counter");
        info.live = live;
        Self { info, next: 0, end, gap_every: 0, pace: Duration::ZERO, stopped: Arc::default() }
    }
}

impl Source for Counter {
    fn describe(&self) -> &SourceInfo {
        &self.info
    }

    fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, _: Span) -> Result<Filled, SourceError> {
        if self.gap_every > 0 && self.next % self.gap_every == self.gap_every - 1 {
            self.next += 1;
        }
        if self.next >= self.end {
            return Ok(Filled::End);
        }
        if self.pace > Duration::ZERO {
            std::thread::sleep(self.pace);
        }
        slot.meta.sequence = self.next;
        slot.meta.captured_at = Timestamp::from_ns(self.next as i64 * 1_000_000);
        self.next += 1;
        Ok(Filled::Frame)
    }

    fn stop(&mut self) {
        self.stopped.store(true, Ordering::Release);
    }
}

/// What a [`Notebook`] saw.
#[derive(Default)]
struct Seen {
    sequences: Vec<u64>,
    losses: Vec<Loss>,
    jpegs: usize,
    bytes: Vec<u8>,
    events: Vec<String>,
    finished: bool,
}

/// A sink that remembers, and can be slow or full.
#[derive(Default)]
struct Notebook {
    seen: Arc<Mutex<Seen>>,
    pause: Duration,
    keeps_bytes: bool,
    full_after: Option<usize>,
}

impl FrameSink for Notebook {
    fn begin(&mut self, _: &SourceInfo, _: ClockPair) -> kinora::Result<()> {
        Ok(())
    }

    fn add(&mut self, frame: &Frame<'_>) -> kinora::Result<Added> {
        std::thread::sleep(self.pause);
        let mut seen = self.seen.lock().unwrap();
        if self.full_after == Some(seen.sequences.len()) {
            return Err(kinora::Error::Setting("the disk is full".into()));
        }
        seen.sequences.push(frame.meta.sequence);
        seen.jpegs += usize::from(frame.jpeg.is_some());
        if self.keeps_bytes {
            seen.bytes.extend(format!("{frame} {:?}", frame.meta).bytes());
            seen.bytes.extend(frame.jpeg.map_or(&[][..], |jpeg| jpeg.bytes));
        }
        Ok(Added::Kept)
    }

    fn loss(&mut self, loss: &Loss) -> kinora::Result<()> {
        self.seen.lock().unwrap().losses.push(*loss);
        Ok(())
    }

    fn event(&mut self, event: &kinora::event::Event) -> kinora::Result<()> {
        self.seen.lock().unwrap().events.push(event.text.to_string());
        Ok(())
    }

    fn finish(&mut self) -> kinora::Result<Summary> {
        let mut seen = self.seen.lock().unwrap();
        seen.finished = true;
        Ok(Summary { frames: seen.sequences.len() as u64, ..Summary::default() })
    }
}

fn wait_for_end(session: &mut Session) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !session.wait_within(Span::from_ms(100)) {
        assert!(Instant::now() < limit, "the session does not end: {session:?}");
    }
}

/// Every number from 0 to `end` was delivered once or stands in a loss.
fn assert_all_accounted_for(delivered: &[u64], losses: &[Loss], end: u64) {
    let mut count = vec![0_u32; end as usize];
    for &sequence in delivered {
        count[sequence as usize] += 1;
    }
    assert!(delivered.windows(2).all(|pair| pair[0] < pair[1]), "frames are out of order");
    assert!(count.iter().all(|&n| n <= 1));
    let lost: u64 = losses.iter().map(|loss| loss.count).sum();
    assert_eq!(delivered.len() as u64 + lost, end, "{losses:?}");
    for loss in losses {
        let span = loss.first_sequence..=loss.last_sequence;
        let missing = span.filter(|&sequence| count[sequence as usize] == 0).count() as u64;
        assert!(missing >= loss.count, "{loss:?} counts frames that were delivered");
    }
}

#[test]
fn a_source_that_is_not_live_loses_nothing_however_slow_the_loop_is() {
    let mut stream = Capture::new(Counter::new(false, 300)).settings(Settings::tiny()).start().unwrap();
    let mut seen = Vec::new();
    while let Some(frame) = stream.next().unwrap() {
        seen.push(frame.meta.sequence);
        if seen.len() % 50 == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
    assert_eq!((stream.stats().frames, stream.stats().lost, stream.stats().skipped), (300, 0, 0));
    assert!(stream.is_ended() && stream.next().unwrap().is_none(), "the end stays the end");
}

#[test]
fn a_live_source_loses_frames_and_each_is_accounted_for() {
    let mut stream = Capture::new(Counter::new(true, 5_000)).settings(Settings::tiny()).start().unwrap();
    let (mut seen, mut losses) = (Vec::new(), Vec::new());
    while let Some(frame) = stream.next().unwrap() {
        losses.extend_from_slice(frame.losses);
        seen.push(frame.meta.sequence);
        std::thread::sleep(Duration::from_micros(200));
    }
    losses.extend_from_slice(stream.losses());
    assert_all_accounted_for(&seen, &losses, 5_000);
    assert!(stream.ledger().total(Cause::RingFull) > 0, "{:?}", stream.stats());
    assert_eq!(stream.stats().lost, stream.ledger().lost());
}

#[test]
fn the_latest_frame_is_fresh_and_skipped_frames_are_not_lost_ones() {
    let counter = Counter { pace: Duration::from_millis(1), ..Counter::new(true, 400) };
    // Slots for a machine that is busy: what they are too few for is lost, and that is another test's.
    let settings = Settings { slack: Span::from_s(10), ..Settings::tiny() };
    let mut stream = Capture::new(counter).settings(settings).start().unwrap();
    stream.policy(Policy::Latest);
    let mut seen = Vec::new();
    while let Some(frame) = stream.next().unwrap() {
        seen.push(frame.meta.sequence);
        std::thread::sleep(Duration::from_millis(10));
    }
    let stats = stream.stats();
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
    assert_eq!(*seen.last().unwrap(), 399, "the last frame is the newest one");
    assert_eq!((stats.frames + stats.skipped, stats.lost), (400, 0), "{stats}");
    assert!(stats.skipped > 100, "{stats}");
}

#[test]
fn the_policy_may_change_while_the_stream_runs() {
    let mut stream = Capture::new(Counter::new(false, 20_000)).settings(Settings::tiny()).start().unwrap();
    let mut newest = None;
    for round in 0..200 {
        stream.policy(if round % 2 == 0 { Policy::Latest } else { Policy::Every });
        for _ in 0..20 {
            let Some(frame) = stream.next().unwrap() else { break };
            assert!(newest < Some(frame.meta.sequence), "{newest:?} then {}", frame.meta.sequence);
            newest = Some(frame.meta.sequence);
        }
    }
    stream.policy(Policy::Every);
    while let Some(frame) = stream.next().unwrap() {
        newest = Some(frame.meta.sequence);
    }
    let stats = stream.stats();
    assert_eq!((newest, stats.frames + stats.skipped, stats.lost), (Some(19_999), 20_000, 0), "{stats}");
}

#[test]
fn gaps_in_the_sources_own_numbers_are_accounted_for_as_such() {
    let counter = Counter { gap_every: 10, ..Counter::new(false, 100) };
    let mut stream = Capture::new(counter).start().unwrap();
    let mut frames = 0;
    while let Some(frame) = stream.next().unwrap() {
        let missing: u64 = frame.losses.iter().map(|loss| loss.count).sum();
        assert_eq!(missing, u64::from(frame.meta.sequence % 10 == 0 && frame.meta.sequence > 0));
        frames += 1;
    }
    assert_eq!((frames, stream.ledger().total(Cause::SourceGap)), (90, 9));
}

#[test]
fn dropping_the_stream_stops_the_source() {
    let counter = Counter { pace: Duration::from_millis(1), ..Counter::new(true, u64::MAX) };
    let stopped = Arc::clone(&counter.stopped);
    let mut stream = Capture::new(counter).start().unwrap();
    assert!(stream.next().unwrap().is_some());
    assert!(!stopped.load(Ordering::Acquire));
    drop(stream);
    assert!(stopped.load(Ordering::Acquire));
}

#[test]
fn dropping_a_stream_that_was_not_read_for_long_ends_too() {
    // Nobody reads: each frame is a loss, until there is no room for another one on the way to the reader.
    let counter = Counter { pace: Duration::from_micros(100), ..Counter::new(true, u64::MAX) };
    let stopped = Arc::clone(&counter.stopped);
    let mut stream = Capture::new(counter).start().unwrap();
    assert!(stream.next().unwrap().is_some());
    std::thread::sleep(Duration::from_millis(500));
    let (dropped, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(stream);
        let _ = dropped.send(());
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Ok(()), "the drop waits for ever");
    assert!(stopped.load(Ordering::Acquire));
}

#[test]
fn a_source_that_fails_is_an_error_after_its_last_frame_and_stops() {
    struct Failing(Counter);
    impl Source for Failing {
        fn describe(&self) -> &SourceInfo {
            self.0.describe()
        }
        fn start(&mut self, now: ClockPair) -> Result<(), SourceError> {
            self.0.start(now)
        }
        fn fill(&mut self, slot: &mut Slot, wait: Span) -> Result<Filled, SourceError> {
            match self.0.next {
                3 => Err(SourceError::Gone("the camera".into())),
                _ => self.0.fill(slot, wait),
            }
        }
        fn stop(&mut self) {
            self.0.stop();
        }
    }
    let source = Failing(Counter::new(true, 10));
    let stopped = Arc::clone(&source.0.stopped);
    let mut stream = Capture::new(source).start().unwrap();
    let mut frames = 0;
    let error = loop {
        match stream.next() {
            Ok(Some(_)) => frames += 1,
            Ok(None) => panic!("the error was swallowed"),
            Err(error) => break error,
        }
    };
    assert_eq!((frames, error.to_string()), (3, "the camera went away".to_string()));
    assert!(stopped.load(Ordering::Acquire) && stream.next().unwrap().is_none());
}

#[test]
fn a_source_that_panics_is_an_error_and_not_a_hang() {
    struct Panicking(SourceInfo);
    impl Source for Panicking {
        fn describe(&self) -> &SourceInfo {
            &self.0
        }
        fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
            Ok(())
        }
        fn fill(&mut self, _: &mut Slot, _: Span) -> Result<Filled, SourceError> {
            panic!("out of film");
        }
    }
    let mut stream = Capture::new(Panicking(SourceInfo::new("bad"))).start().unwrap();
    let error = stream.next().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("out of film"), "{error}");
}

#[test]
fn a_capture_starts_once_and_says_so() {
    let mut capture = Capture::new(Counter::new(false, 1));
    drop(capture.start().unwrap());
    assert_eq!(capture.start().unwrap_err().to_string(), "counter was started already; open it again");
}

#[test]
fn next_within_returns_when_its_time_is_over() {
    let counter = Counter { pace: Duration::from_millis(300), ..Counter::new(true, 2) };
    let mut stream = Capture::new(counter).start().unwrap();
    assert!(stream.next_within(Span::from_ms(1)).unwrap().is_none());
    assert!(!stream.is_ended());
    assert!(stream.next().unwrap().is_some());
}

#[test]
fn frames_keep_their_order_with_one_to_four_encoders() {
    let encoders: &[usize] = if cfg!(feature = "jpeg") { &[1, 2, 3, 4] } else { &[1] };
    for &encoders in encoders {
        let sink = Notebook::default();
        let seen = Arc::clone(&sink.seen);
        let format = if cfg!(feature = "jpeg") { PictureFormat::default() } else { PictureFormat::Raw };
        let capture = open_source("virtual:size=64x48,frames=200,paced=false").unwrap();
        let settings = Settings { format, ..Settings::tiny() };
        let builder = Session::builder().source(capture).recorder(sink).settings(settings);
        let mut session = builder.encoders(encoders).start().unwrap();
        wait_for_end(&mut session);
        let report = session.stop().unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.sequences, (0..200).collect::<Vec<_>>(), "{encoders} encoders");
        assert_eq!(seen.jpegs, if cfg!(feature = "jpeg") { 200 } else { 0 });
        assert_eq!((report.summary.frames, report.status.kept, report.status.lost()), (200, 200, 0));
        assert!(seen.finished && report.source_error.is_none() && report.sink_error.is_none());
    }
}

#[test]
fn a_stalled_sink_costs_frames_of_a_live_source_and_each_is_accounted_for() {
    let sink = Notebook { pause: Duration::from_micros(500), ..Notebook::default() };
    let seen = Arc::clone(&sink.seen);
    let capture = Capture::new(Counter::new(true, 3_000)).settings(Settings::tiny());
    let mut session = Session::builder().source(capture).recorder(sink).start().unwrap();
    wait_for_end(&mut session);
    let report = session.stop().unwrap();
    let seen = seen.lock().unwrap();
    assert_all_accounted_for(&seen.sequences, &seen.losses, 3_000);
    assert!(report.status.lost_for(Cause::RingFull) > 0);
    assert_eq!(report.status.lost() + report.status.kept, 3_000);
    assert_eq!(report.status.captured, 3_000);
}

#[test]
fn a_tap_that_starts_with_the_session_has_its_first_frame() {
    for _ in 0..20 {
        let capture = Capture::new(Counter::new(false, 100));
        let builder = Session::builder().source(capture).recorder(Notebook::default());
        let (session, mut tap) = builder.start_with_frames().unwrap();
        assert_eq!(tap.next().unwrap().map(|frame| frame.meta.sequence), Some(0));
        drop(tap);
        assert_eq!(session.stop().unwrap().status.lost(), 0);
    }
    // Stepped by the caller on a manual clock.
    let clock = Arc::new(ManualClock::new(ClockPair::default()));
    let capture = Capture::new(Counter::new(false, 100)).clock(clock);
    let (mut session, mut tap) = Session::builder().source(capture).start_with_frames().unwrap();
    wait_for_end(&mut session);
    assert_eq!(tap.next_within(Span::ZERO).unwrap().map(|frame| frame.meta.sequence), Some(0));
}

#[test]
fn a_slow_tap_costs_no_footage() {
    let sink = Notebook::default();
    let seen = Arc::clone(&sink.seen);
    let counter = Counter { pace: Duration::from_micros(500), ..Counter::new(true, 600) };
    // Some 260 slots: a sink that waited for the tap would lose most of the other frames, one that is kept from its core does not.
    let settings = Settings { slack: Span::from_s(10), ..Settings::default() };
    let capture = Capture::new(counter).settings(settings);
    let session = Session::builder().source(capture).recorder(sink).start().unwrap();
    let mut every = session.frames(Policy::Every);
    let mut latest = session.frames(Policy::Latest);
    let mut newest = [None; 2];
    while let Some(frame) = every.next().unwrap() {
        assert!(newest[0] < Some(frame.meta.sequence));
        newest[0] = Some(frame.meta.sequence);
        std::thread::sleep(Duration::from_millis(4));
        if let Some(frame) = latest.next_within(Span::ZERO).unwrap() {
            assert!(newest[1] < Some(frame.meta.sequence));
            newest[1] = Some(frame.meta.sequence);
        }
    }
    assert_eq!(seen.lock().unwrap().sequences.len(), 600);
    assert!(every.stats().skipped > 0 && latest.stats().skipped > 0, "{every:?} {latest:?}");
    assert!(every.is_ended());
    let report = session.stop().unwrap();
    assert_eq!((report.status.kept, report.status.lost()), (600, 0));
}

#[test]
fn taps_come_and_go_while_the_session_runs() {
    let capture = open_source("virtual:size=64x48,format=none,fps=2000").unwrap();
    let session = Session::builder().source(capture).start().unwrap();
    for round in 0..20 {
        let policy = if round % 2 == 0 { Policy::Every } else { Policy::Latest };
        let mut tap = session.frames(policy);
        assert_eq!(tap.next().unwrap().unwrap().detections().len(), 5);
    }
    // Some of the closed ones may not have been given back yet.
    let granted = || loop {
        let mut tap = session.frames(Policy::Latest);
        if tap.next().is_ok() {
            return tap;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let mut taps: Vec<_> = (0..kinora::limits::TAPS_MAX).map(|_| granted()).collect();
    let mut one_too_many = session.frames(Policy::Every);
    let refused = one_too_many.next().unwrap_err().to_string();
    assert!(refused.contains("8 taps are in use"), "{refused}");
    assert!(one_too_many.next().unwrap().is_none() && one_too_many.is_ended(), "it says so once");
    assert!(taps[0].next().unwrap().is_some());
    session.stop().unwrap();
    let mut tap = taps.into_iter().next().unwrap();
    while tap.next().unwrap().is_some() {}
    assert!(tap.is_ended(), "a tap ends with its session");
}

#[test]
fn a_tap_with_more_slots_bears_a_longer_delay() {
    let clock = Arc::new(ManualClock::new(ClockPair::default()));
    let capture = open_source("virtual:size=64x48,format=none,frames=30").unwrap().clock(clock);
    let mut session = Session::builder().source(capture).start().unwrap();
    let (mut ahead, mut ordinary) = (session.frames_ahead(20), session.frames(Policy::Every));
    while !session.wait_within(Span::from_s(1)) {}
    let count =
        |tap: &mut kinora::Tap| std::iter::from_fn(|| tap.next_within(Span::ZERO).unwrap().map(drop)).count() as u64;
    for (tap, slots) in [(&mut ahead, 20), (&mut ordinary, 6)] {
        assert_eq!((count(tap), tap.stats().skipped), (slots, 30 - slots), "what finds no slot is counted");
    }
}

/// Frames of a file whose masks are larger than the file said: the slot grows with them.
struct Growing(SourceInfo, u64);

impl Source for Growing {
    fn describe(&self) -> &SourceInfo {
        &self.0
    }

    fn start(&mut self, _: ClockPair) -> Result<(), SourceError> {
        Ok(())
    }

    fn fill(&mut self, slot: &mut Slot, _: Span) -> Result<Filled, SourceError> {
        if self.1 == 6 {
            return Ok(Filled::End);
        }
        self.1 += 1;
        let mut own = Slot::new(&kinora::slot::SlotSizes { side: 100, ..Default::default() });
        own.meta.sequence = self.1;
        own.side_append(if self.1 % 2 == 0 { 100 } else { 10 }).unwrap().1.fill(7);
        slot.copy_growing(&own.frame(None)).unwrap();
        Ok(Filled::Frame)
    }
}

#[test]
fn a_frame_larger_than_the_slots_of_a_tap_is_skipped_there_and_none_comes_in_its_place() {
    for policy in [Policy::Every, Policy::Latest] {
        let mut info = SourceInfo::new("growing");
        (info.live, info.side_bytes_max) = (false, 10);
        let capture = Capture::new(Growing(info, 0)).clock(Arc::new(ManualClock::new(ClockPair::default())));
        let mut session = Session::builder().source(capture).start().unwrap();
        let mut tap = session.frames(policy);
        while !session.wait_within(Span::from_s(1)) {}
        let seen: Vec<_> =
            std::iter::from_fn(|| tap.next_within(Span::ZERO).unwrap().map(|frame| frame.meta.sequence)).collect();
        let expected: &[u64] = if policy == Policy::Every { &[1, 3, 5] } else { &[5] };
        assert_eq!((&seen[..], tap.stats().skipped), (expected, 6 - seen.len() as u64), "{policy:?}");
        assert_eq!(session.stop().unwrap().status.kept, 6);
    }
}

#[test]
fn a_tap_that_comes_after_the_end_ends_at_once() {
    let mut session = Session::builder().source(Capture::new(Counter::new(false, 5))).start().unwrap();
    wait_for_end(&mut session);
    for policy in [Policy::Every, Policy::Latest] {
        let mut tap = session.frames(policy);
        assert!(tap.next().unwrap().is_none() && tap.is_ended());
    }
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_session() {
    let sink = Notebook { full_after: Some(10), ..Notebook::default() };
    let seen = Arc::clone(&sink.seen);
    let capture = Capture::new(Counter::new(false, 50));
    let mut session = Session::builder().source(capture).recorder(sink).start().unwrap();
    wait_for_end(&mut session);
    assert!(session.status().sink_failed);
    let report = session.stop().unwrap();
    assert_eq!(report.sink_error.unwrap().to_string(), "the disk is full");
    assert_eq!((report.status.kept, report.status.lost_for(Cause::WriteFailed)), (10, 40));
    assert!(seen.lock().unwrap().finished);
}

#[test]
fn clips_are_saved_also_after_the_recording_beside_them_ended() {
    let directory = tempfile::tempdir().unwrap();
    let sink = Notebook { full_after: Some(10), ..Notebook::default() };
    let clock = Arc::new(ManualClock::new(ClockPair::default()));
    let capture = Capture::new(Counter::new(false, 200)).clock(clock);
    let clips = ClipSettings { min_free_bytes: 0, ..ClipSettings::new(directory.path()) };
    let mut session = Session::builder().source(capture).recorder(sink).clip_settings(clips).start().unwrap();
    session.wait_within(Span::from_s(1));
    assert!(session.status().sink_failed && !session.status().ended);
    session.trigger("late", Span::from_ms(5), Span::from_ms(5)).unwrap();
    while !session.wait_within(Span::from_s(1)) {}
    let control = session.take_clip_control().unwrap();
    assert_eq!(session.stop().unwrap().status.kept, 10);
    let events: Vec<_> = control.events().collect();
    assert!(matches!(events[..], [ClipEvent::Saved { frames: 11, lost: 0, .. }]), "{events:?}");
}

#[test]
fn a_bookmark_reaches_the_recorder() {
    let sink = Notebook::default();
    let seen = Arc::clone(&sink.seen);
    let capture = open_source("virtual:size=64x48,format=none,fps=1000").unwrap();
    let mut session = Session::builder().source(capture).recorder(sink).start().unwrap();
    session.bookmark("the red car").unwrap();
    session.stop().unwrap();
    assert_eq!(seen.lock().unwrap().events, ["the red car"]);
}

/// A whole session on a manual clock, as bytes.
fn stepped(source: &str) -> Vec<u8> {
    let start = ClockPair { monotonic: Timestamp::from_ns(5), wall: WallTime::from_utc_ns(1_000) };
    let sink = Notebook { keeps_bytes: true, ..Notebook::default() };
    let seen = Arc::clone(&sink.seen);
    let format = if cfg!(feature = "jpeg") { PictureFormat::default() } else { PictureFormat::Raw };
    let settings = Settings { frames_max: Some(150), format, ..Settings::default() };
    let capture = open_source(source).unwrap().clock(Arc::new(ManualClock::new(start))).settings(settings);
    let mut session = Session::builder().source(capture).recorder(sink).start().unwrap();
    wait_for_end(&mut session);
    let report = session.stop().unwrap();
    assert_eq!((report.status.kept, report.status.lost()), (150, 0));

    std::mem::take(&mut seen.lock().unwrap().bytes)
}

#[test]
fn two_runs_on_a_manual_clock_are_equal_byte_for_byte() {
    let before = Instant::now();
    for kind in ["detections", "poses", "segments", "instances", "anomaly", "obb", "classifications", "none"] {
        let source = format!("virtual:seed=3,size=64x48,kind={kind}");
        let first = stepped(&source);
        assert_eq!(first, stepped(&source), "{kind}");
        assert_ne!(first, stepped("virtual:seed=4,size=64x48"));
    }
    assert!(before.elapsed() < Duration::from_secs(60), "5 s of frames 24 times, without waiting");
}

#[test]
fn a_stream_on_a_manual_clock_runs_in_the_callers_thread() {
    let clock = Arc::new(ManualClock::new(ClockPair::default()));
    let mut stream = open_source("virtual:format=none").unwrap().clock(Arc::clone(&clock) as _).start().unwrap();
    for n in 0..90 {
        let frame = stream.next().unwrap().unwrap();
        assert_eq!(frame.meta.sequence, n);
        assert_eq!(frame.meta.captured_at, clock.now());
    }
    assert_eq!(clock.now(), Timestamp::from_ns(89 * 1_000_000_000 / 30));
}

#[test]
fn a_paced_source_is_held_until_each_frame_is_due() {
    let mut stream = open_source("virtual:format=none,fps=200,frames=40").unwrap().start().unwrap();
    let clock = kinora::SystemClock;
    let mut fps = 0.0;
    while let Some(frame) = stream.next().unwrap() {
        assert!(clock.now() >= frame.meta.captured_at, "a frame came before it was due");
        fps = frame.meta.fps;
    }
    assert_eq!(fps.round(), 200.0);
}

#[test]
fn limits_on_frames_and_duration_end_the_source() {
    let settings = Settings { frames_max: Some(7), ..Settings::default() };
    let mut stream = Capture::new(Counter::new(false, 100)).settings(settings).start().unwrap();
    while stream.next().unwrap().is_some() {}
    assert_eq!(stream.stats().frames, 7);
    // One frame a millisecond.
    let settings = Settings { duration_max: Some(Span::from_ms(25)), ..Settings::default() };
    let mut stream = Capture::new(Counter::new(false, 100)).settings(settings).start().unwrap();
    while stream.next().unwrap().is_some() {}
    assert_eq!(stream.stats().frames, 25);
}

#[test]
fn a_session_can_be_dropped_and_closes_its_recording() {
    let sink = Notebook::default();
    let seen = Arc::clone(&sink.seen);
    let capture = open_source("virtual:size=64x48,format=none").unwrap();
    let session = Session::builder().source(capture).recorder(sink).start().unwrap();
    drop(session);
    assert!(seen.lock().unwrap().finished);
    assert!(Session::builder().start().unwrap_err().to_string().contains("needs a source"));
}

#[test]
fn wishes_that_the_system_refuses_are_notes_and_the_stream_runs() {
    let counted = AtomicU64::new(0);
    let mut settings = Settings { lock_memory: true, ..Settings::default() };
    settings.capture_thread.cpus = vec![100_000];
    let mut stream = Capture::new(Counter::new(false, 5)).settings(settings).start().unwrap();
    assert!(stream.notes().iter().any(|note| note.contains("kinora-capture: core affinity")), "{:?}", stream.notes());
    while stream.next().unwrap().is_some() {
        counted.fetch_add(1, Ordering::Relaxed);
    }
    assert_eq!(counted.into_inner(), 5);
}

#[test]
fn the_first_program_of_the_documentation_records_every_frame() {
    fn program(source: &str, directory: &std::path::Path) -> kinora::Result<Summary> {
        let mut source = kinora::open_source(source)?;
        let mut recorder = Recorder::create(directory)?;
        let mut stream = source.start()?;
        let mut persons = 0;
        while let Some(frame) = stream.next()? {
            let _ = recorder.add(&frame)?;
            let seen = frame.detections().above(0.4) & frame.detections().label("person");
            persons += seen.iter().filter(|d| d.confidence > 0.4).count();
        }
        assert_eq!(persons, 2 * 25, "two of the five shapes are persons");
        recorder.finish()
    }
    let folder = tempfile::tempdir().unwrap();
    let format = if cfg!(feature = "jpeg") { "bgr" } else { "none" };
    let source = format!("virtual:seed=7,size=64x48,frames=25,paced=false,format={format}");
    let summary = program(&source, folder.path()).unwrap();
    assert_eq!((summary.frames, summary.detections, summary.dropped), (25, 125, 0));
    // What was recorded is a source again, at its own pace or, on a manual clock, at once.
    let path = summary.paths[0].to_str().unwrap();
    let clock = Arc::new(ManualClock::new(ClockPair::default()));
    let mut again = open_source(path).unwrap().clock(clock).start().unwrap();
    let mut frames = 0;
    while let Some(frame) = again.next().unwrap() {
        assert_eq!((frame.meta.sequence, frame.detections().len()), (frames, 5));
        frames += 1;
    }
    assert_eq!(frames, 25);
}
