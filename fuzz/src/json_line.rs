//! One line of a modlib JSON recording: any bytes give a frame or a refusal with its place, and what was read can be written,
//! read again, and is then the same.

use std::cell::RefCell;

use jiff::tz::TimeZone;
use kinora::modlib::{Reader, Writer};
use kinora::slot::{Slot, SlotSizes};

thread_local! {
    static SLOT: RefCell<Box<Slot>> = RefCell::new(Slot::new(&SIZES));
}

/// Small, so that too large is often tried.
const SIZES: SlotSizes = SlotSizes { pixels: 0, jpeg: 64 << 10, side: 256 << 10, sensor: 0, scratch: 0 };

/// # Panics
/// When a refusal points behind the line, or a frame does not survive being written and read.
pub fn check(line: &[u8]) {
    SLOT.with_borrow_mut(|slot| {
        let mut reader = Reader::new(TimeZone::UTC);
        if let Err(defect) = reader.read_line(line, slot) {
            assert!(defect.byte <= line.len(), "byte {} of a line of {}: {}", defect.byte, line.len(), defect.reason);
            assert!(!defect.reason.to_string().is_empty());
            assert!(slot.results.is_empty() && slot.frame(None).jpeg.is_none(), "a refused line left something behind");
            return;
        }
        let side_bytes = slot.frame(None).side.len();
        assert!(slot.results.is_consistent(side_bytes), "columns that do not fit: {:?}", slot.results);
        let first = written(slot);
        let read_again = Reader::new(TimeZone::UTC).read_line(&first, slot);
        if let Err(defect) = read_again {
            panic!("what was written cannot be read: {defect}\n{}", String::from_utf8_lossy(&first));
        }
        let second = written(slot);
        assert!(first == second, "{}\n{}", String::from_utf8_lossy(&first), String::from_utf8_lossy(&second));
    });
}

fn written(slot: &Slot) -> Vec<u8> {
    let mut line = Vec::new();
    Writer::new().write_line(&slot.frame(None), &mut line).expect("a frame that was read from a line has a line");
    line
}
