//! Reading and writing modlib's lines allocates nothing once the first frames are through.
//!
//! The recordings lie in `../shared/recordings` (or `$KINORA_SHARED/recordings`); without them the test says so and passes,
//! except with `KINORA_REQUIRE_SHARED=1`.
#![cfg(feature = "modlib")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use jiff::tz::TimeZone;
use kinora::modlib::{Format, Import, Imported, LINE_BYTES_MAX, Writer};
use kinora::slot::{Slot, SlotSizes};

mod common;

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

#[test]
fn reading_and_writing_lines_allocates_nothing_after_the_first_round() {
    let Some(recordings) = common::shared("recordings") else { return };
    for name in
        ["people.json", "detections.json", "poses.json", "segments.json", "instance_segments.json", "anomaly.json"]
    {
        let once = std::fs::read(recordings.join(name)).unwrap();
        let lines = once.iter().filter(|&&byte| byte == b'\n').count();
        let text = once.repeat(3);
        let sizes = SlotSizes { jpeg: 1 << 20, side: 1 << 20, ..SlotSizes::default() };
        let mut slot = Slot::new(&sizes);
        let mut import = Import::new(&text[..], Format::Json, TimeZone::UTC, LINE_BYTES_MAX);
        let (mut writer, mut line) = (Writer::new(), Vec::with_capacity(1 << 20));
        let mut warm = 0;
        for frame in 0..3 * lines {
            if frame == 2 * lines {
                warm = ALLOCATIONS.with(Cell::get);
            }
            assert_eq!(import.next(&mut slot).unwrap(), Imported::Frame);
            line.clear();
            writer.write_line(&slot.frame(None), &mut line).unwrap();
        }
        assert_eq!(ALLOCATIONS.with(Cell::get) - warm, 0, "{name}");
    }
}
