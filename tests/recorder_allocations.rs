//! After its first frame the recorder allocates nothing on the thread that adds: splits, losses and events included.
#![cfg(feature = "std")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use kinora::event::{Event, EventKind};
use kinora::frame::{PictureInfo, PixelFormat};
use kinora::recorder::Format;
use kinora::recording::SyncPolicy;
use kinora::results::ResultKind;
use kinora::slot::{Slot, SlotSizes};
use kinora::source::SourceInfo;
use kinora::{Added, Cause, Clock, ClockPair, Frame, Loss, Recorder, Span, SystemClock, Timestamp, WallTime};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting for each thread.
struct Counting;

// SAFETY: everything is handed on to the system's allocator unchanged; the count is a plain thread-local number.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises about `layout` are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn ten_thousand_frames_through_many_splits_allocate_nothing() {
    let top = tempfile::tempdir().unwrap();
    let start = ClockPair { monotonic: Timestamp::from_ns(1), wall: WallTime::from_utc_ns(1_800_000_000_000_000_000) };
    let mut source = SourceInfo::new("test");
    source.picture = Some(PictureInfo::packed(PixelFormat::Bgr888, 64, 48));
    source.recorded_clock = Some(start);
    // `jpeg` is a feature; pixels of the same shape go through the encoder where it is there.
    let format = if cfg!(feature = "jpeg") { Format::Jpeg } else { Format::Raw };
    let mut recorder = Recorder::builder()
        .directory(top.path())
        .format(format)
        .min_free(0)
        .split_size(4 << 20)
        .split_time(Span::from_s(60))
        .source(&source)
        .create()
        .unwrap();
    let mut slot = Slot::new(&SlotSizes { pixels: 64 * 48 * 3, ..SlotSizes::default() });
    slot.pixels_mut(PictureInfo::packed(PixelFormat::Bgr888, 64, 48)).unwrap().fill(90);
    slot.results.begin(ResultKind::Detections);
    for i in 0..50 {
        slot.results.push_detection([0.1, 0.2, 0.3, 0.4], 0.5, i, Some(i.into())).unwrap();
    }
    let event = Event { kind: EventKind::Note, at: start.monotonic, wall: start.wall, text: "x".try_into().unwrap() };
    let mut before = 0;
    for n in 0..10_000_u64 {
        slot.meta.sequence = n;
        slot.meta.captured_at = start.monotonic + Span::from_ms(33 * n as i64);
        slot.meta.captured_wall = start.wall_of(slot.meta.captured_at);
        let losses = [Loss::one(Cause::RingFull, n, slot.meta.captured_at)];
        let losses = if n % 10 == 0 { &losses[..] } else { &[] };
        let added = recorder.add(&Frame { losses, ..slot.frame(None) });
        assert!(matches!(added, Ok(Added::Kept)), "frame {n}: {added:?}");
        if n % 100 == 0 {
            recorder.event(&event).unwrap();
        }
        if n == 0 {
            before = allocations();
        }
    }
    let after = allocations();
    let summary = recorder.finish().unwrap();
    assert!(summary.paths.len() >= 6, "{summary}");
    assert_eq!((summary.frames, summary.dropped), (10_000, 1_000));
    assert_eq!(after - before, 0, "allocations after the first frame");
}

/// Finds the file that is being written, and deletes it.
fn delete_newest(folder: &std::path::Path) {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let newest = entries.filter(|path| path.extension().is_some_and(|e| e == "kinora")).max().unwrap();
    std::fs::remove_file(newest).unwrap();
}

#[test]
fn a_file_that_fails_and_the_next_one_cost_the_adding_thread_no_allocation() {
    let top = tempfile::tempdir().unwrap();
    let mut recorder = Recorder::builder()
        .directory(top.path())
        .min_free(0)
        .sync(SyncPolicy::Every(Span::from_ms(5)))
        .source(&SourceInfo::new("test"))
        .create()
        .unwrap();
    let mut slot = Slot::new(&SlotSizes::default());
    let (mut spent, mut kept) = (0, 0);
    for n in 0..900_u64 {
        if n == 300 || n == 600 {
            // A sync fails without a fault of the disk when the file has no name any more.
            delete_newest(top.path());
        }
        slot.meta.sequence = n;
        slot.meta.captured_at = SystemClock.now();
        let before = allocations();
        let added = recorder.add(&slot.frame(None));
        spent += allocations() - before;
        kept += u64::from(matches!(added, Ok(Added::Kept)));
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    let summary = recorder.finish().unwrap();
    assert_eq!((summary.paths.len(), kept), (3, 900), "{summary}");
    assert!(summary.failure.as_ref().is_some_and(|why| why.contains("deleted")), "{summary}");
    assert_eq!(spent, 0, "allocations of the adding thread");
}
