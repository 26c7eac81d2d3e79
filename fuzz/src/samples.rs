//! Small recordings with contents that tell which frame they are, and the memory that stands in for a disk under them.

use std::cell::RefCell;
use std::rc::Rc;

use kinora::frame::{PictureInfo, PixelFormat};
use kinora::recording::format::Front;
use kinora::recording::store::{PageStore, StoreCounts, StoreError};
use kinora::recording::{Geometry, SessionHeader};
use kinora::slot::{Slot, SlotSizes};
use kinora::source::SourceInfo;
use kinora::{ClockPair, ResultKind, Timestamp, WallTime};
use zerocopy::IntoBytes;

/// Planes of the slots that [`fill`] fills.
pub const SIZES: SlotSizes = SlotSizes { pixels: 48, jpeg: 8 << 10, side: 64, sensor: 256, scratch: 0 };

/// The header of every sample.
pub fn header() -> SessionHeader {
    let mut source = SourceInfo::new("fuzz");
    source.picture = Some(PictureInfo::packed(PixelFormat::Jpeg, 640, 480));
    source.labels.push("person").expect("room for one");
    SessionHeader::from_source(&source, clock(0), [0x4B; 16])
}

/// Both clocks so many milliseconds after the start.
pub fn clock(ms: i64) -> ClockPair {
    let monotonic = Timestamp::from_ns(ms * 1_000_000);
    ClockPair { monotonic, wall: WallTime::from_utc_ns(1_700_000_000_000_000_000 + monotonic.as_ns()) }
}

/// Fills the slot with frame number `index` of a recording; `shape` decides what it has and how much of it.
pub fn fill(slot: &mut Slot, index: u64, shape: u8) {
    slot.reset();
    slot.meta.sequence = index;
    slot.meta.captured_at = clock(33 * index as i64).monotonic;
    slot.meta.captured_wall = clock(33 * index as i64).wall;
    let mark = index as u8 ^ shape;
    match shape % 4 {
        0 => {}
        1 => slot.pixels_mut(PictureInfo::packed(PixelFormat::Bgr888, 4, 4)).expect("room").fill(mark),
        _ => {
            let bytes = 4 + usize::from(shape) * 31;
            slot.jpeg_mut()[..bytes].fill(mark);
            slot.set_jpeg(bytes, 640, 480);
        }
    }
    slot.side_append(usize::from(shape) % 64).expect("room").1.fill(mark);
    slot.sensor_mut(usize::from(shape)).expect("room").fill(!mark);
    slot.results.begin(ResultKind::Detections);
    for row in 0..shape % 5 {
        slot.results.push_detection([0.1, 0.2, 0.3, f32::from(row)], 0.5, 0, None).expect("room");
    }
}

/// What a disk under a recording holds, and what would be left of it after a power cut.
#[derive(Debug, Default)]
pub struct Image {
    /// As running programs see it.
    pub live: Vec<u8>,
    /// As completed syncs left it.
    pub durable: Vec<u8>,
    /// Bytes that may still be allocated.
    pub room: u64,
    /// The next sync fails, and so do all after it.
    pub sync_fails: bool,
    synced: u64,
    asked: u64,
    counts: StoreCounts,
}

/// A page store in memory, whose image others can look at and spoil.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    image: Rc<RefCell<Image>>,
    step: u64,
    /// What [`PageStore::area`] lent last, put into the image at the next call of anything.
    area: (usize, Vec<u8>),
}

impl MemoryStore {
    /// A store with its first step allocated and the front in it, durable; and the image under it.
    pub fn new(geometry: &Geometry, room: u64) -> (Self, Rc<RefCell<Image>>) {
        let step = geometry.step_bytes;
        let mut live = vec![0; step as usize];
        live[..size_of::<Front>()].copy_from_slice(Front::new(geometry).as_bytes());
        let image = Image { durable: live.clone(), live, room, ..Image::default() };
        let image = Rc::new(RefCell::new(image));
        (Self { image: image.clone(), step, area: (0, Vec::new()) }, image)
    }

    /// Puts back what was lent.
    fn settle(&mut self) {
        let (at, bytes) = &mut self.area;
        self.image.borrow_mut().live[*at..*at + bytes.len()].copy_from_slice(bytes);
        bytes.clear();
    }

    fn sync(&mut self) -> Result<u64, StoreError> {
        self.settle();
        let mut image = self.image.borrow_mut();
        let image = &mut *image;
        if image.sync_fails && image.asked > image.synced {
            return Err(StoreError::Sync { errno: 5 });
        }
        if image.asked > image.synced {
            let range = image.synced as usize..image.asked as usize;
            image.durable[range.clone()].copy_from_slice(&image.live[range]);
            image.synced = image.asked;
            image.counts.syncs += 1;
        }
        Ok(image.synced)
    }
}

impl PageStore for MemoryStore {
    fn reach(&mut self, end: u64) -> Result<(), StoreError> {
        self.settle();
        let mut image = self.image.borrow_mut();
        while (image.live.len() as u64) < end {
            if image.room < self.step {
                return Err(StoreError::NoSpace);
            }
            image.room -= self.step;
            let grown = image.live.len() + self.step as usize;
            image.live.resize(grown, 0);
            image.durable.resize(grown, 0);
        }
        Ok(())
    }

    fn area(&mut self, offset: u64, len: usize) -> &mut [u8] {
        self.settle();
        let image = self.image.borrow();
        assert!(offset >= image.synced, "byte {offset} is written again after a sync up to {}", image.synced);
        let start = offset as usize;
        self.area = (start, image.live[start..start + len].to_vec());
        &mut self.area.1
    }

    fn publish(&mut self, committed: u64, frames: u64, durable: u64) {
        self.settle();
        let mut image = self.image.borrow_mut();
        for (at, hint) in [(512, committed), (536, frames), (544, durable)] {
            image.live[at..at + 8].copy_from_slice(&hint.to_le_bytes());
        }
    }

    fn sync_start(&mut self, end: u64) {
        self.settle();
        self.image.borrow_mut().asked = end;
    }

    fn sync_wait(&mut self, end: u64) -> Result<(), StoreError> {
        self.sync_start(end);
        self.sync().map(drop)
    }

    fn synced(&mut self) -> Result<u64, StoreError> {
        self.sync()
    }

    fn close(&mut self, end: u64) -> Result<(), StoreError> {
        self.sync_start(end);
        self.sync()?;
        self.image.borrow_mut().live.truncate(end as usize);
        self.image.borrow_mut().durable.truncate(end as usize);
        Ok(())
    }

    fn counts(&self) -> StoreCounts {
        self.image.borrow().counts
    }
}
