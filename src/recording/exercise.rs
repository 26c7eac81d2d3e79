//! What the fuzzer does with bytes from outside, as ordinary functions, so that tests run them too.

use super::format::{INDEX_FRAMES_MAX, PAGE_SIZES};
use super::memory::MemoryStore;
use super::reader::Reader;
use super::settings::{SyncPolicy, WriterSettings, geometry};
use super::verify::verify_reader;
use super::writer::{AppendError, Writer};
use super::{SessionHeader, VerifyReport};
use crate::frame::{PictureInfo, PixelFormat};
use crate::results::ResultKind;
use crate::slot::{Slot, SlotSizes};
use crate::source::SourceInfo;
use crate::time::{ClockPair, Span, Timestamp, WallTime};
use crate::timeline::Timeline;

/// Opens bytes as a recording and reads everything in it in every way there is. `None`: they are no recording.
///
/// # Panics
/// When two ways of reading disagree.
pub fn open_bytes(bytes: &[u8]) -> Option<VerifyReport> {
    let mut reader = Reader::over(bytes).ok()?;
    let info = reader.info();
    let mut readable = 0;
    // A file can claim as many frames as it has room for headers: look at the ends and some between.
    let frames = reader.frame_count();
    let stride = (frames / 512).max(1);
    for index in (0..frames).step_by(stride as usize).chain(frames.checked_sub(1)) {
        assert!(reader.captured_at(index).is_some(), "frame {index} of {frames} has a time");
        readable += u64::from(reader.read_frame(index).is_ok());
    }
    assert!(reader.read_frame(frames).is_err());
    assert!(reader.captured_at(frames).is_none());
    for at in [i64::MIN, 0, i64::MAX] {
        assert!(reader.seek_time(Timestamp::from_ns(at)) <= frames);
    }
    let _ = (reader.events(), reader.losses(), reader.clocks());
    let report = verify_reader(&mut reader, |at, all| assert!(at <= all));
    assert!(info.frames <= frames);
    if report.is_intact() && stride == 1 && frames > 0 {
        assert_eq!(readable, frames + 1, "an intact recording lends every frame (the last was read twice)");
    }
    Some(report)
}

/// Bytes that steer a run of [`operations`].
struct Steering<'a>(&'a [u8]);

impl Steering<'_> {
    fn next(&mut self) -> Option<u64> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first.into())
    }

    fn word(&mut self) -> u64 {
        self.next().unwrap_or(0) * 256 + self.next().unwrap_or(0)
    }
}

/// Appends, syncs, closes and cuts the power as `steering` says, over a store that forgets what was not synced, and compares what can be
/// read afterwards with what was appended.
///
/// # Panics
/// When a durable frame is lost, or a frame comes back that was not appended.
pub fn operations(steering: &[u8]) {
    let mut steering = Steering(steering);
    let page = PAGE_SIZES[steering.word() as usize % 3] as usize;
    let settings =
        WriterSettings { page_size: Some(page), sync: SyncPolicy::Every(Span::from_ms(50)), ..WriterSettings::tiny() };
    let header = SessionHeader::from_source(&SourceInfo::new("exercise"), ClockPair::default(), [9; 16]);
    let geometry = geometry(&header, &settings).expect("these settings are in range");
    let mut store = MemoryStore::new(&geometry);
    store.capacity = 1_000_000 + steering.word() * 64;
    store.syncs_left = 1 + steering.word();
    let Ok(mut writer) = Writer::with_store(store, geometry, &header, settings.sync) else { return };
    let mut slot = Slot::new(&SlotSizes { pixels: 16_384, ..SlotSizes::default() });
    let (mut sizes, mut now) = (Vec::new(), ClockPair::default());
    let mut failed = false;
    while let Some(operation) = steering.next() {
        match operation % 8 {
            0 => failed |= writer.sync().is_err(),
            1 => {
                let step = Span::from_ms(steering.word() as i64);
                now.wall += step;
                failed |= matches!(writer.tick(now), Err(AppendError::Poisoned { .. }));
            }
            2 => {
                // Many at once, to get beyond an index record.
                let (size, frames) = (steering.word() % 64, INDEX_FRAMES_MAX as u64 / 4);
                failed |= append(&mut writer, &mut slot, &mut sizes, &mut now, size, frames);
            }
            _ => {
                let size = steering.word() % 16_384;
                failed |= append(&mut writer, &mut slot, &mut sizes, &mut now, size, 1);
            }
        }
        if failed {
            break;
        }
    }
    let durable = writer.durable_frames();
    let choice = steering.word() | 1;
    let image = writer.store().after_power_cut(|page| page.wrapping_mul(choice) % 3 != 0);
    compare(&image, &sizes, durable);
    compare(writer.store().live(), &sizes, if failed { 0 } else { sizes.len() as u64 });
}

/// Appends frames of `size` bytes; true when the writer failed for good.
fn append(
    writer: &mut Writer<MemoryStore>,
    slot: &mut Slot,
    sizes: &mut Vec<u64>,
    now: &mut ClockPair,
    size: u64,
    frames: u64,
) -> bool {
    for _ in 0..frames {
        let ordinal = sizes.len() as u64;
        now.monotonic += Span::from_ms(1);
        now.wall += Span::from_ms(1);
        fill(slot, ordinal, size, *now);
        match writer.append(&slot.frame(None), *now) {
            Ok(appended) => assert_eq!(appended.frame, ordinal),
            // The sync that was due with this frame failed: the frame is in doubt, and may be there.
            Err(AppendError::Poisoned { .. }) => {
                sizes.push(size);
                return true;
            }
            Err(_) => return false,
        }
        sizes.push(size);
    }
    false
}

fn fill(slot: &mut Slot, ordinal: u64, size: u64, now: ClockPair) {
    slot.reset();
    slot.meta.sequence = ordinal;
    slot.meta.captured_at = now.monotonic;
    slot.meta.captured_wall = WallTime::from_utc_ns(now.wall.as_utc_ns());
    if size > 0 {
        let info = PictureInfo::packed(PixelFormat::Grey, size as u32, 1);
        slot.pixels_mut(info).expect("the slot has room").fill(ordinal as u8);
    }
    slot.results.begin(ResultKind::Classifications);
    let _ = slot.results.push_classification(0.5, ordinal as i32);
}

/// Every frame that can be read is the one that was appended, and the first `durable` can be read.
fn compare(image: &[u8], sizes: &[u64], durable: u64) {
    let mut reader = Reader::over(image).expect("the front is durable before the first frame");
    let frames = reader.frame_count();
    assert!(frames <= sizes.len() as u64 && frames >= durable, "{frames} of {}, {durable} durable", sizes.len());
    for index in 0..frames {
        match reader.read_frame(index) {
            Ok(frame) => {
                let size = sizes[index as usize];
                assert_eq!((frame.meta.sequence, frame.classifications().class_id()), (index, &[index as i32][..]));
                let picture = frame.pixels.map_or(&[][..], |pixels| pixels.bytes);
                assert!(picture.len() as u64 == size && picture.iter().all(|&byte| byte == index as u8));
            }
            Err(error) => assert!(index >= durable, "frame {index} was durable: {error}"),
        }
    }
}
