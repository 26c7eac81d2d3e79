//! After the start nothing allocates: a counting allocator watches every thread of the engine over 10,000 frames, drops, taps
//! and bookmarks included. One test alone in its program, so that no other test's threads are counted.
//!
//! It sees Rust's allocator. What libjpeg-turbo takes from malloc in the encoder threads stands in memory.md.

#![allow(unsafe_code)] // A global allocator cannot be written without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use kinora::prelude::*;
use kinora::source::{CameraOptions, PictureSource, RawMetadata};
use kinora::{Added, ClockPair, FrameSink, Loss, PictureFormat, SourceOptions, Summary, open_source_with};

struct Counting;

static ARMED: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static FREES: AtomicU64 = AtomicU64::new(0);
/// Where the first one came from.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    /// This thread is no part of what is watched: the test itself.
    static EXEMPT: Cell<bool> = const { Cell::new(false) };
}

fn note(counter: &AtomicU64) {
    if !ARMED.load(Ordering::Relaxed) || EXEMPT.try_with(Cell::get).unwrap_or(true) {
        return;
    }
    if counter.fetch_add(1, Ordering::Relaxed) == 0 {
        EXEMPT.with(|exempt| exempt.set(true));
        let thread = std::thread::current().name().unwrap_or("without a name").to_string();
        let place = std::backtrace::Backtrace::force_capture();
        *FIRST.lock().unwrap() = Some(format!("in the thread {thread}:\n{place}"));
        EXEMPT.with(|exempt| exempt.set(false));
    }
}

// SAFETY: every call goes on to the system's allocator with what it was given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(&ALLOCATIONS);
        // SAFETY: as this function's own contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(&FREES);
        // SAFETY: as this function's own contract; `System` gave the pointer.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(&ALLOCATIONS);
        // SAFETY: as this function's own contract; `System` gave the pointer.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Stalls now and then, so that the ring is full and frames are lost.
struct Stalling(u64);

impl FrameSink for Stalling {
    fn begin(&mut self, _: &SourceInfo, _: ClockPair) -> kinora::Result<()> {
        Ok(())
    }

    fn add(&mut self, _: &Frame<'_>) -> kinora::Result<Added> {
        self.0 += 1;
        if self.0 % 1_000 == 0 {
            std::thread::sleep(Duration::from_millis(60));
        }
        Ok(Added::Kept)
    }

    fn loss(&mut self, _: &Loss) -> kinora::Result<()> {
        Ok(())
    }

    fn event(&mut self, _: &kinora::event::Event) -> kinora::Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> kinora::Result<Summary> {
        Ok(Summary::default())
    }
}

const FRAMES: u64 = 10_000;

/// Waits until `frames` were captured.
fn wait_for(session: &Session, frames: u64) {
    let limit = Instant::now() + Duration::from_secs(120);
    while session.status().captured < frames {
        assert!(Instant::now() < limit, "{session:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs a session over 10,000 frames with two taps and says how many frames were lost.
fn watch(what: &str, sink: impl FrameSink + 'static, frame_rate: u32) -> u64 {
    let format = if cfg!(feature = "jpeg") { PictureFormat::default() } else { PictureFormat::Raw };
    let settings = Settings { format, encoders: 2, ..Settings::tiny() };
    let source = open_source(&format!("virtual:size=64x48,fps={frame_rate}")).unwrap();
    let builder = Session::builder().source(source).settings(settings).recorder(sink);
    let mut session = builder.start().unwrap();
    let mut taps = [Policy::Every, Policy::Latest].map(|policy| session.frames(policy));
    wait_for(&session, 100);
    let begun = session.status().captured;
    ARMED.store(true, Ordering::SeqCst);
    for round in 0..100 {
        for tap in &mut taps {
            tap.next_within(Span::from_ms(1)).unwrap();
        }
        if round % 10 == 0 {
            session.bookmark("a moment").unwrap();
        }
    }
    wait_for(&session, begun + FRAMES);
    ARMED.store(false, Ordering::SeqCst);
    let report = session.stop().unwrap();
    let (allocations, frees) = (ALLOCATIONS.swap(0, Ordering::SeqCst), FREES.swap(0, Ordering::SeqCst));
    println!("{what}: {allocations} allocations, {frees} frees; {:?}", report.status);
    let first = FIRST.lock().unwrap().take().unwrap_or_default();
    assert_eq!((allocations, frees), (0, 0), "{what}: the first one {first}");
    assert!(report.status.kept > FRAMES / 10, "{:?}", report.status);
    report.status.lost()
}

#[test]
fn no_engine_thread_allocates_over_ten_thousand_frames_drops_included() {
    EXEMPT.with(|exempt| exempt.set(true));
    ARMED.store(true, Ordering::SeqCst);
    std::thread::spawn(|| drop(std::hint::black_box(vec![1; 100]))).join().unwrap();
    ARMED.store(false, Ordering::SeqCst);
    assert!(ALLOCATIONS.swap(0, Ordering::SeqCst) > 0 && FREES.swap(0, Ordering::SeqCst) > 0, "nothing is counted");
    assert!(FIRST.lock().unwrap().take().is_some());

    let lost = watch("a sink that stalls", Stalling(0), 5_000);
    assert!(lost > 0, "the stalls cost no frame, so nothing was shown about drops");

    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::create(folder.path()).unwrap();
    watch("a recorder", recorder, 2_000);

    // A stream, read by a thread that is watched as well.
    let mut stream = open_source("virtual:size=64x48,fps=5000").unwrap().start().unwrap();
    while stream.stats().frames < 100 {
        stream.next().unwrap();
    }
    ARMED.store(true, Ordering::SeqCst);
    EXEMPT.with(|exempt| exempt.set(false));
    while stream.stats().frames < 100 + FRAMES {
        let frame = stream.next().unwrap().unwrap();
        let seen = frame.detections().above(0.6) & frame.detections().label("person");
        assert!(seen.count() <= 5);
    }
    ARMED.store(false, Ordering::SeqCst);
    EXEMPT.with(|exempt| exempt.set(true));
    let first = FIRST.lock().unwrap().take().unwrap_or_default();
    assert_eq!(ALLOCATIONS.load(Ordering::SeqCst) + FREES.load(Ordering::SeqCst), 0, "a stream: the first one {first}");
    drop(stream);

    // The virtual IMX500: buffers made, parsed, turned into results and pictures, and kept; with faults.
    let camera = CameraOptions {
        picture: Some(PictureSource::InputTensor),
        raw_metadata: Some(RawMetadata::Results),
        ..CameraOptions::default()
    };
    let faults = "seed=4,drops=0.02,duplicates=0.02,reorder=0.02,stalls=0.005,corrupt=0.02".parse().unwrap();
    let options = SourceOptions { camera, faults: Some(faults), ..SourceOptions::default() };
    let sensor = "virtual:imx500,size=64x48,paced=false,every=2";
    let mut stream = open_source_with(sensor, &options).unwrap().start().unwrap();
    while stream.stats().frames < 20 {
        stream.next().unwrap();
    }
    ARMED.store(true, Ordering::SeqCst);
    EXEMPT.with(|exempt| exempt.set(false));
    let (mut results, mut kept) = (0, 0);
    while stream.stats().frames < 420 {
        let frame = stream.next().unwrap().unwrap();
        results += frame.results.len();
        kept += usize::from(!frame.sensor.is_empty());
    }
    ARMED.store(false, Ordering::SeqCst);
    EXEMPT.with(|exempt| exempt.set(true));
    assert!(results > 400 && kept >= 400, "{results} results, {kept} frames with raw metadata");
    let first = FIRST.lock().unwrap().take().unwrap_or_default();
    assert_eq!(ALLOCATIONS.load(Ordering::SeqCst) + FREES.load(Ordering::SeqCst), 0, "the sensor: first one {first}");
}
