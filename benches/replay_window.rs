//! What does it cost to store a JPEG into a full window, over copying its bytes, and does the window's length matter?
//!
//! One 30 KB JPEG with eight boxes goes again and again into a full window, so that each store evicts the oldest frame; beside
//! it the same bytes are copied into a ring of the same size. Both run in interleaved blocks on one thread, over memory that was
//! touched before, so caches and memory are equally cold for both. Times are those of small batches, since one copy is too short
//! for the clock. Not typical: nobody reads the window meanwhile. Allocations are counted by the program's own allocator.

#![allow(unsafe_code)] // A global allocator cannot be written without.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use common::{Bars, Samples, median, say, size};
use kinora::frame::{Frame, FrameMeta, JpegPicture};
use kinora::replay::window::{Window, WindowSettings};
use kinora::results::{ResultKind, Results};
use kinora::time::Timestamp;

/// Storing over copying, at the 99th percentile.
const RATIO_BAR: f64 = 3.0;
/// The long window over the short one, both beside a copy into a ring of their own size: a hundred times the frames may not cost
/// twice, since nothing is searched or moved.
const LENGTH_BAR: f64 = 2.0;
const JPEG_BYTES: usize = 30_000;
const FRAME_BYTES: usize = 32 << 10;
const BLOCKS: usize = 31;
/// Stores behind each time that is taken.
const BATCH: u64 = 8;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call goes on to the system's allocator with what it was given.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as this function's own contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as this function's own contract; `System` gave the pointer.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() {
    let mut bars = Bars::default();
    let long = size(1_000, 10_000);
    let short_ratio = store(&mut bars, 100);
    let long_ratio = store(&mut bars, long);
    bars.at_most(&format!("a window of {long} frames over one of 100"), long_ratio / short_ratio, LENGTH_BAR);
    bars.finish();
}

/// Median of the blocks' ratios of the 99th percentiles.
fn store(bars: &mut Bars, frames: u32) -> f64 {
    let batches = size(40, 1_000);
    let settings = WindowSettings { capacity: frames, reserve: 0, frame_bytes: FRAME_BYTES };
    let mut window = Window::new(settings);
    let mut ring = vec![1_u8; settings.arena_bytes()].into_boxed_slice();
    let jpeg = vec![0x5A_u8; JPEG_BYTES];
    let results = results();
    let mut meta = FrameMeta::new();
    let mut push = |window: &mut Window| {
        meta.sequence += 1;
        meta.captured_at = Timestamp::from_ns(meta.sequence as i64 * 33_333_333);
        let picture = Some(JpegPicture { width: 640, height: 480, bytes: &jpeg });
        let frame = Frame {
            meta: &meta,
            results: &results,
            pixels: None,
            jpeg: picture,
            side: &[],
            sensor: &[],
            labels: None,
            losses: &[],
        };
        window.push(&frame, frames).expect("a frame within the promise");
    };
    (0..2 * frames).for_each(|_| push(&mut window));
    assert_eq!(window.extent().len, frames, "full");
    let mut at = 0;
    let mut copy = |ring: &mut [u8]| {
        at = if at + JPEG_BYTES > ring.len() { 0 } else { at };
        ring[at..at + JPEG_BYTES].copy_from_slice(std::hint::black_box(&jpeg));
        at += JPEG_BYTES;
        std::hint::black_box(&mut *ring);
    };
    let (mut stores, mut copies, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut block = Vec::with_capacity(batches);
    let mut allocations = 0;
    for _ in 0..BLOCKS {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        time(&mut block, batches, || push(&mut window));
        allocations += ALLOCATIONS.load(Ordering::Relaxed) - before;
        let ours = Samples::new(block.clone());
        stores.append(&mut block);
        time(&mut block, batches, || copy(&mut ring));
        let bare = Samples::new(block.clone());
        copies.append(&mut block);
        block.reserve(batches);
        ratios.push(ours.at(990) as f64 / bare.at(990) as f64);
    }
    check(&mut window, &jpeg, frames);
    let (stores, copies) = (Samples::new(stores), Samples::new(copies));
    say(&format!("storing 30 KB into a full window of {frames}"), stores.line());
    say(&format!("copying 30 KB into a ring of {} MB", settings.arena_bytes() >> 20), copies.line());
    let ratio = median(ratios);
    bars.beside(common::us(stores.at(990)), format!("{} bare copy", common::us(copies.at(990))));
    bars.at_most(&format!("p99 of storing over copying, {frames} frames"), ratio, RATIO_BAR);
    bars.at_most(&format!("allocations while storing, {frames} frames"), allocations as f64, 0.0);
    ratio
}

/// Nanoseconds of one action, as means of small batches.
fn time(samples: &mut Vec<u64>, batches: usize, mut action: impl FnMut()) {
    for _ in 0..batches {
        let begun = Instant::now();
        (0..BATCH).for_each(|_| action());
        samples.push(begun.elapsed().as_nanos() as u64 / BATCH);
    }
}

fn results() -> Results {
    let mut results = Results::new();
    results.begin(ResultKind::Detections);
    for n in 0..8 {
        let edge = n as f32 / 10.0;
        results.push_detection([edge, edge, edge + 0.1, edge + 0.1], 0.9, n, None).expect("room for eight");
    }
    results
}

/// What was stored is there: newest and oldest frame, whole.
fn check(window: &mut Window, jpeg: &[u8], frames: u32) {
    let extent = window.extent();
    assert_eq!(extent.len, frames);
    for ordinal in [extent.oldest, extent.oldest + u64::from(frames) - 1] {
        let frame = window.frame(ordinal, None).expect("held");
        assert_eq!(frame.meta.sequence, ordinal + 1);
        assert_eq!((frame.jpeg.expect("a picture").bytes, frame.results.class_id.len()), (jpeg, 8));
    }
}
