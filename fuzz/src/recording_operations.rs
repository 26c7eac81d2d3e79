//! Random appends, losses, events, syncs, full disks, failed syncs and power cuts against a model: whatever the input asks
//! for, the recording holds exactly the frames that were appended, and after a power cut at least those that were durable.
//!
//! The first byte says how to sync and how much room there is; then come operations, one byte each, the byte behind it
//! being its argument. With 0xFF as the first byte the rest steers the library's own, longer exercise.

use std::cell::RefCell;
use std::rc::Rc;

use kinora::event::{Event, EventKind};
use kinora::recording::{AppendError, Reader, SyncPolicy, Writer, WriterSettings, exercise, geometry};
use kinora::slot::Slot;
use kinora::{Cause, Loss, Span, Timestamp};

use super::samples::{Image, MemoryStore, SIZES, clock, fill, header};

/// Operations of one input.
const OPERATIONS_MAX: usize = 120;

/// The model: what the recording must hold.
struct Model {
    writer: Option<Writer<MemoryStore>>,
    image: Rc<RefCell<Image>>,
    slot: Box<Slot>,
    /// Shape of each frame that was appended.
    shapes: Vec<u8>,
    events: u64,
    lost: u64,
    now_ms: i64,
}

/// # Panics
/// When the recording differs from the model.
pub fn check(input: &[u8]) {
    let Some((&mode, operations)) = input.split_first() else { return };
    if mode == 0xFF {
        return exercise::operations(&operations[..operations.len().min(OPERATIONS_MAX)]);
    }
    let mut model = Model::new(mode);
    for operation in operations.chunks_exact(2).take(OPERATIONS_MAX) {
        model.apply(operation[0], operation[1]);
        if model.writer.is_none() {
            break;
        }
    }
    model.end(operations.len() % 2 == 0);
}

impl Model {
    fn new(mode: u8) -> Self {
        let sync = match mode % 3 {
            0 => SyncPolicy::Never,
            1 => SyncPolicy::EveryFrame,
            _ => SyncPolicy::Every(Span::from_ms(100)),
        };
        let settings = WriterSettings { sync, ..WriterSettings::tiny() };
        let header = header();
        let geometry = geometry(&header, &settings).expect("the tiny settings are valid");
        let room = u64::from(mode / 3 % 8) * geometry.step_bytes;
        let (store, image) = MemoryStore::new(&geometry, room);
        let writer = Writer::with_store(store, geometry, &header, sync).expect("the first step holds a session");
        let slot = Slot::new(&SIZES);
        Self { writer: Some(writer), image, slot, shapes: Vec::new(), events: 0, lost: 0, now_ms: 0 }
    }

    fn apply(&mut self, operation: u8, argument: u8) {
        match operation % 8 {
            0..=2 => self.append(argument),
            3 => self.lose(argument),
            4 => self.mark(argument),
            5 => self.now_ms += i64::from(argument) * 20,
            6 => self.power_cut(u64::from(argument)),
            _ if argument % 16 == 0 => self.image.borrow_mut().sync_fails = true,
            _ => self.step_clock_or_sync(argument),
        }
    }

    fn append(&mut self, shape: u8) {
        let Some(writer) = &mut self.writer else { return };
        fill(&mut self.slot, self.shapes.len() as u64, shape);
        match writer.append(&self.slot.frame(None), clock(self.now_ms)) {
            Ok(appended) => {
                assert_eq!(appended.frame, self.shapes.len() as u64);
                self.shapes.push(shape);
            }
            Err(error) => {
                // A frame whose own sync failed is in the file, but not durable.
                if writer.frames() > self.shapes.len() as u64 {
                    self.shapes.push(shape);
                }
                self.refused(error);
            }
        }
    }

    fn lose(&mut self, argument: u8) {
        let Some(writer) = &mut self.writer else { return };
        let loss = Loss::one(Cause::RingFull, u64::from(argument), Timestamp::from_ns(7));
        match writer.loss(&loss) {
            Ok(_) => self.lost += 1,
            Err(error) => self.refused(error),
        }
    }

    fn mark(&mut self, argument: u8) {
        let Some(writer) = &mut self.writer else { return };
        let pair = clock(self.now_ms);
        let mut text = heapless::String::new();
        let _ = text.push(char::from(argument));
        let event = Event { kind: EventKind::Bookmark, at: pair.monotonic, wall: pair.wall, text };
        match writer.event(&event) {
            Ok(_) => self.events += 1,
            Err(error) => self.refused(error),
        }
    }

    fn step_clock_or_sync(&mut self, argument: u8) {
        let Some(writer) = &mut self.writer else { return };
        let mut pair = clock(self.now_ms);
        if argument % 2 == 0 {
            pair.wall = kinora::WallTime::from_utc_ns(pair.wall.as_utc_ns() + i64::from(argument) * 1_000_000);
        }
        let done = if argument % 3 == 0 { writer.sync() } else { writer.tick(pair) };
        if let Err(error) = done {
            self.refused(error);
        }
    }

    /// A refusal must have a reason, and after a failed sync nothing is taken any more.
    fn refused(&mut self, error: AppendError) {
        match error {
            AppendError::Full { .. } => assert!(self.image.borrow().room < 1 << 30),
            AppendError::Poisoned { .. } => {
                assert!(self.image.borrow().sync_fails, "poisoned without a failure: {error}");
                let Some(writer) = &mut self.writer else { return };
                fill(&mut self.slot, 0, 0);
                assert!(writer.append(&self.slot.frame(None), clock(self.now_ms)).is_err(), "a failed writer went on");
            }
            other => panic!("{other}"),
        }
    }

    /// What the disk would hold now: of each page the newest or the last synced state, as `seed` decides.
    fn power_cut(&mut self, seed: u64) {
        let Some(writer) = &mut self.writer else { return };
        let durable = writer.durable_frames();
        let image = self.image.borrow();
        let mut left = image.durable.clone();
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for (page, live) in left.chunks_mut(4096).zip(image.live.chunks(4096)) {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if random >> 63 == 0 {
                page.copy_from_slice(live);
            }
        }
        let mut reader = Reader::over(&left[..]).expect("a recording opens after every power cut");
        assert!(reader.frame_count() >= durable, "{} frames of {durable} durable ones", reader.frame_count());
        let shapes = &self.shapes;
        for index in 0..reader.frame_count() {
            let frame = reader.read_frame(index);
            assert!(frame.is_ok() || index >= durable, "frame {index} of {durable} durable ones: {:?}", frame.err());
            if let Ok(frame) = frame {
                assert_is(&mut self.slot, &frame, index, shapes);
            }
        }
    }

    /// Closes or drops the writer and reads everything back.
    fn end(mut self, close: bool) {
        let Some(mut writer) = self.writer.take() else { return };
        let durable = writer.durable_frames();
        let closed = if close { writer.finish().is_ok() } else { false };
        let image = self.image.borrow();
        assert!(closed || !close || image.sync_fails, "closing failed without a reason");
        let mut reader = Reader::over(&image.live[..]).expect("what was written opens");
        assert_eq!(reader.is_finalized(), closed);
        assert_eq!(reader.frame_count(), self.shapes.len() as u64, "of which {durable} durable");
        for index in 0..reader.frame_count() {
            let frame = reader.read_frame(index).expect("an undamaged frame");
            assert_is(&mut self.slot, &frame, index, &self.shapes);
        }
        assert_eq!(reader.events().expect("undamaged").len() as u64, self.events);
        assert_eq!(reader.losses().expect("undamaged").len() as u64, self.lost);
        let info = reader.info();
        assert_eq!(
            (info.frames, info.missing, info.events, info.losses),
            (self.shapes.len() as u64, 0, self.events, self.lost)
        );
    }
}

/// # Panics
/// When it is not the frame that was appended as number `index`.
fn assert_is(slot: &mut Slot, frame: &kinora::Frame<'_>, index: u64, shapes: &[u8]) {
    let shape = *shapes.get(index as usize).unwrap_or_else(|| panic!("frame {index} was never appended"));
    fill(slot, index, shape);
    let expected = slot.frame(None);
    assert_eq!((frame.meta, frame.results), (expected.meta, expected.results), "frame {index}");
    assert_eq!((frame.pixels, frame.jpeg), (expected.pixels, expected.jpeg), "frame {index}");
    assert_eq!((frame.side, frame.sensor), (expected.side, expected.sensor), "frame {index}");
}
