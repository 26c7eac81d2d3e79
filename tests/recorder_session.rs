//! The recorder as the last station of a session: the same seed gives the same files, nothing is lost at the file borders,
//! and a stall does not keep the last frames from the disk.
#![cfg(feature = "std")]

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use kinora::prelude::*;
use kinora::recorder::{Format, RecorderBuilder};
use kinora::recording::{Reader, SyncPolicy};
use kinora::timeline::Timeline;
use kinora::{ClockPair, ManualClock, PictureFormat, Session, SessionReport, Settings, WallTime};

fn manual() -> Arc<dyn Clock> {
    let wall = WallTime::from_utc_ns(1_800_000_000_000_000_000);
    Arc::new(ManualClock::new(ClockPair { monotonic: Timestamp::from_ns(1_000_000_000), wall }))
}

fn raw() -> RecorderBuilder {
    Recorder::builder().format(Format::Raw).min_free(0)
}

fn run(source: &str, clock: Option<Arc<dyn Clock>>, recorder: RecorderBuilder) -> SessionReport {
    let settings = Settings { format: PictureFormat::Raw, ..Settings::default() };
    let mut capture = open_source(source).unwrap().settings(settings);
    let mut recorder = recorder;
    if let Some(clock) = clock {
        capture = capture.clock(clock.clone());
        recorder = recorder.clock(clock);
    }
    let mut session = Session::builder().source(capture).recorder(recorder.create().unwrap()).start().unwrap();
    while !session.wait_within(Span::from_ms(50)) {}
    session.stop().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_files_byte_for_byte() {
    let record = |directory: &Path| {
        let recorder = raw().file(directory.join("a.kinora")).split_size(1 << 20);
        let report = run("virtual:seed=7,size=160x120,frames=100", Some(manual()), recorder);
        assert_eq!((report.summary.frames, report.summary.dropped), (100, 0));
        assert!(report.summary.paths.len() > 3);
        report.summary.paths.iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(record(one.path()) == record(other.path()), "the files differ");
}

#[test]
fn a_session_splits_its_recording_without_losing_a_frame() {
    let top = tempfile::tempdir().unwrap();
    let recorder = raw().directory(top.path()).split_size(2 << 20);
    let report = run("virtual:seed=1,size=160x120,frames=300,paced=false", None, recorder);
    assert!(report.source_error.is_none() && report.sink_error.is_none(), "{report:?}");
    assert_eq!((report.summary.frames, report.summary.dropped), (300, 0));
    let mut sequences = Vec::new();
    for path in &report.summary.paths {
        let mut reader = Reader::open(path).unwrap();
        for i in 0..reader.len() {
            sequences.push(reader.frame(i).unwrap().meta.sequence);
        }
    }
    assert_eq!(sequences.len(), 300);
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0] + 1));
}

#[test]
fn a_stall_does_not_keep_the_last_frames_from_the_disk() {
    let top = tempfile::tempdir().unwrap();
    let path = top.path().join("a.kinora");
    let mut recorder = raw().file(&path).sync(SyncPolicy::Every(Span::from_ms(20))).create().unwrap();
    let mut slot = Slot::new(&kinora::slot::SlotSizes::default());
    slot.meta.captured_at = kinora::SystemClock.now();
    recorder.add(&slot.frame(None)).unwrap();
    // The durable count of the first page is a hint for followers: 8 bytes at 544, see docs/format.md.
    let file = std::fs::File::open(&path).unwrap();
    let durable = || {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, 544).unwrap();
        u64::from_le_bytes(bytes)
    };
    let patience = std::time::Instant::now();
    while durable() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        recorder.tick();
        assert!(patience.elapsed().as_secs() < 20, "the frame never became durable");
    }
}
