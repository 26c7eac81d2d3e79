//! A modlib recording of pickles: any bytes give frames and refusals with their place, nothing is executed, and what was read
//! can be written as modlib's line.

use std::cell::RefCell;

use jiff::tz::TimeZone;
use kinora::modlib::{Format, Import, Imported, PickleReader, Writer};
use kinora::slot::{Slot, SlotSizes};

thread_local! {
    static SLOT: RefCell<Box<Slot>> = RefCell::new(Slot::new(&SIZES));
}

/// Small, so that too large is often tried.
const SIZES: SlotSizes = SlotSizes { pixels: 0, jpeg: 64 << 10, side: 256 << 10, sensor: 0, scratch: 0 };

/// # Panics
/// When a refusal points outside the bytes, or a frame cannot be written.
pub fn check(bytes: &[u8]) {
    SLOT.with_borrow_mut(|slot| {
        if let Err(defect) = PickleReader::new(TimeZone::UTC).read(bytes, slot) {
            assert!(defect.byte <= bytes.len(), "byte {} of {}: {}", defect.byte, bytes.len(), defect.reason);
            assert!(
                slot.results.is_empty() && slot.frame(None).jpeg.is_none(),
                "a refused pickle left something behind"
            );
        } else {
            written(slot);
        }
        let mut import = Import::new(bytes, Format::Pickle, TimeZone::UTC, 64 << 10);
        loop {
            match import.next(slot).expect("reading from memory cannot fail") {
                Imported::Frame => written(slot),
                Imported::Broken(broken) => assert!(broken.byte <= bytes.len() as u64, "{broken}"),
                Imported::End => break,
            }
        }
        assert!(import.line() <= bytes.len() as u64, "a pickle has at least one byte");
    });
}

fn written(slot: &Slot) {
    let frame = slot.frame(None);
    assert!(frame.results.is_consistent(frame.side.len()), "columns that do not fit: {:?}", frame.results);
    let mut line = Vec::new();
    Writer::new().write_line(&frame, &mut line).expect("a frame that was read can be written");
    assert!(line.is_ascii() && line.ends_with(b"}\n"));
}
