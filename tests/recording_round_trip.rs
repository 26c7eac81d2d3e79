//! What was appended is read again: every kind of record, at every page size, with and without the thread.

use std::path::Path;

use kinora::event::{Event, EventKind};
use kinora::frame::{PictureInfo, PixelFormat, Roi};
use kinora::recording::{Entry, Reader, SessionHeader, SyncPolicy, Writer, WriterSettings};
use kinora::slot::{Slot, SlotSizes};
use kinora::source::SourceInfo;
use kinora::timeline::Timeline;
use kinora::{Cause, ClockPair, Loss, ResultKind, Span, Timestamp, WallTime};

const SIZES: SlotSizes = SlotSizes { pixels: 48, jpeg: 30_000, side: 64, sensor: 100, scratch: 0 };

fn header() -> SessionHeader {
    let mut source = SourceInfo::new("virtual:seed=1");
    source.picture = Some(PictureInfo::packed(PixelFormat::Bgr888, 4, 4));
    source.labels.push("person").unwrap();
    SessionHeader::from_source(&source, pair(0), [3; 16])
}

/// Clocks 40 years apart, `ms` after the start.
fn pair(ms: i64) -> ClockPair {
    let monotonic = Timestamp::from_ns(1_000_000 * ms);
    ClockPair { monotonic, wall: WallTime::from_utc_ns(monotonic.as_ns() + 40 * 365 * 86_400 * 1_000_000_000) }
}

/// A frame that tells by its content which one it is; every fifth is headless, every seventh has pixels.
fn fill(slot: &mut Slot, i: u64) {
    slot.reset();
    slot.meta.sequence = 2 * i;
    slot.meta.captured_at = pair(33 * i as i64).monotonic;
    slot.meta.captured_wall = pair(33 * i as i64).wall;
    slot.meta.roi = Some(Roi { left: 0.25, top: 0.0, width: 0.5, height: 1.0 });
    slot.meta.frame_count = Some(i as i64 % 256);
    if i % 7 == 0 {
        slot.pixels_mut(PictureInfo::packed(PixelFormat::Bgr888, 4, 4)).unwrap().fill(i as u8);
    } else if i % 5 != 0 {
        let len = 100 + (i as usize * 997) % 29_000;
        slot.jpeg_mut()[..len].fill(i as u8);
        slot.set_jpeg(len, 640, 480);
    }
    slot.side_append(i as usize % 64).unwrap().1.fill(i as u8);
    slot.sensor_mut(i as usize % 100).unwrap().fill(!i as u8);
    slot.results.begin(ResultKind::Detections);
    for k in 0..i % 4 {
        slot.results.push_detection([i as f32, 0.1, 0.2, k as f32], 0.5, 0, Some(k as i64)).unwrap();
    }
}

fn write(path: &Path, settings: &WriterSettings, frames: u64) -> kinora::recording::WriteSummary {
    let mut writer = Writer::create(path, &header(), settings).unwrap();
    append(&mut writer, frames);
    writer.finish().unwrap()
}

fn append(writer: &mut Writer, frames: u64) {
    let mut slot = Slot::new(&SIZES);
    for i in 0..frames {
        fill(&mut slot, i);
        let appended = writer.append(&slot.frame(None), pair(33 * i as i64)).unwrap();
        assert_eq!(appended.frame, i);
    }
}

fn assert_holds(reader: &mut Reader, frames: u64) {
    assert_eq!(reader.len(), frames);
    let mut slot = Slot::new(&SIZES);
    for i in 0..frames {
        fill(&mut slot, i);
        let expected = slot.frame(None);
        assert_eq!(reader.captured_at(i), Some(expected.meta.captured_at));
        let frame = reader.read_frame(i).unwrap();
        assert_eq!((frame.meta, frame.results), (expected.meta, expected.results), "frame {i}");
        assert_eq!((frame.jpeg, frame.pixels), (expected.jpeg, expected.pixels), "frame {i}");
        assert_eq!((frame.side, frame.sensor), (expected.side, expected.sensor), "frame {i}");
        assert_eq!(frame.labels.and_then(|labels| labels.name(0)), Some("person"));
    }
    assert!(reader.read_frame(frames).is_err());
}

#[test]
fn frames_come_back_at_every_page_size_with_and_without_the_thread() {
    let directory = tempfile::tempdir().unwrap();
    for (helper, page_size, sync) in [
        (true, None, SyncPolicy::Every(Span::from_ms(100))),
        (false, Some(4 << 10), SyncPolicy::Every(Span::from_ms(100))),
        (false, Some(16 << 10), SyncPolicy::Never),
        (true, Some(64 << 10), SyncPolicy::Every(Span::from_ms(500))),
    ] {
        let path = directory.path().join(format!("{helper}{page_size:?}.kinora"));
        let settings = WriterSettings { sync, page_size, helper, growth_bytes: 1 << 20, ..WriterSettings::default() };
        let summary = write(&path, &settings.for_frames(30_000, 64, 100), 2500);
        assert_eq!(summary.frames, 2500);
        assert_eq!(summary.bytes, std::fs::metadata(&path).unwrap().len());
        let mut reader = Reader::open(&path).unwrap();
        assert!(reader.is_finalized());
        assert_eq!(reader.header(), &header());
        assert_holds(&mut reader, 2500);
    }
}

#[test]
fn results_alone_are_read_without_the_picture_and_masks_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kinora");
    let settings = WriterSettings { helper: false, ..WriterSettings::default() };
    write(&path, &settings.for_frames(30_000, 64, 100), 200);

    // A changed byte of the picture in every frame that has one.
    let reader = Reader::open(&path).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let mut slot = Slot::new(&SIZES);
    let mut damaged = Vec::new();
    for i in 0..200 {
        fill(&mut slot, i);
        if slot.frame(None).jpeg.is_some() {
            let (start, end) = (reader.frame_offset(i).unwrap(), reader.frame_offset(i + 1).unwrap_or(reader.end()));
            let record = &mut bytes[start as usize..end as usize];
            let picture = record.windows(64).position(|window| window.iter().all(|&byte| byte == i as u8));
            record[picture.expect("the picture is as it was filled")] ^= 1;
            damaged.push(i);
        }
    }
    assert!(damaged.len() > 100);
    std::fs::write(&path, bytes).unwrap();

    let mut reader = Reader::open(&path).unwrap();
    reader.results_only(true);
    let (mut passed_over, mut read_whole) = (0, 0);
    for i in 0..200 {
        fill(&mut slot, i);
        let expected = slot.frame(None);
        if expected.side.is_empty() || !damaged.contains(&i) {
            let frame = reader.read_frame(i).unwrap();
            assert_eq!((frame.meta, frame.results, frame.side), (expected.meta, expected.results, expected.side));
            assert_eq!((frame.jpeg, frame.pixels, frame.sensor), (None, None, &[][..]));
            passed_over += u32::from(damaged.contains(&i));
        } else {
            assert!(reader.read_frame(i).is_err(), "masks of frame {i} come from bytes that do not hold");
            read_whole += 1;
        }
    }
    assert!(passed_over > 0 && read_whole > 0);
    reader.results_only(false);
    for i in 0..200 {
        assert_eq!(reader.read_frame(i).is_ok(), !damaged.contains(&i), "frame {i}");
    }
}

#[test]
fn a_recording_that_was_never_closed_opens_with_every_frame() {
    let directory = tempfile::tempdir().unwrap();
    let settings = WriterSettings { growth_bytes: 1 << 20, helper: false, ..WriterSettings::default() };
    for frames in [0, 1, 3, 1023, 1024, 1025, 2100] {
        let path = directory.path().join(format!("{frames}.kinora"));
        let mut writer = Writer::create(&path, &header(), &settings.clone().for_frames(30_000, 64, 100)).unwrap();
        append(&mut writer, frames);
        let summary = writer.summary();
        drop(writer);
        let mut reader = Reader::open(&path).unwrap();
        assert!(!reader.is_finalized());
        assert_holds(&mut reader, frames);
        let info = reader.info();
        assert_eq!((info.frames, info.missing, info.detections), (frames, 0, summary.detections));
        assert_eq!(reader.end(), summary.bytes, "of {frames} frames");
    }
}

#[test]
fn losses_events_and_clock_steps_come_back_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kinora");
    let mut writer = Writer::create(&path, &header(), &WriterSettings::tiny()).unwrap();
    let loss = Loss::run(Cause::RingFull, 7, 3, Timestamp::from_ns(1), Timestamp::from_ns(2));
    let text = heapless::String::try_from("the gate opened").unwrap();
    let (at, wall) = (Timestamp::from_ns(5), WallTime::from_utc_ns(6));
    let event = Event { kind: EventKind::Bookmark, at, wall, text };
    writer.loss(&loss).unwrap();
    writer.event(&event).unwrap();
    let mut slot = Slot::new(&SIZES);
    fill(&mut slot, 0);
    let _ = writer.append(&slot.frame(None), pair(0)).unwrap();
    let mut stepped = pair(100);
    stepped.wall += Span::from_s(86_400);
    writer.tick(stepped).unwrap();
    writer.event(&event).unwrap();
    writer.finish().unwrap();

    let mut reader = Reader::open(&path).unwrap();
    assert_eq!(reader.losses().unwrap().into_iter().map(|(_, loss)| loss).collect::<Vec<_>>(), [loss]);
    assert_eq!(reader.events().unwrap().len(), 2);
    assert_eq!(reader.clocks().unwrap()[1].1.step_ns, 86_400_000_000_000);
    let info = reader.info();
    assert_eq!((info.dropped, info.events, info.clock_steps), (3, 2, 1));
    let day = Span::from_s(86_400);
    assert_eq!(info.first_utc, Some(pair(0).wall + day), "the time before the step is corrected");
    let mut kinds = Vec::new();
    let mut records = reader.records();
    while let Some(record) = records.next() {
        kinds.push(match record.entry {
            Entry::Session => 's',
            Entry::Frame { .. } => 'f',
            Entry::Loss(_) => 'l',
            Entry::Event(_) => 'e',
            Entry::Clock(_) => 'c',
            Entry::Index { .. } => 'i',
            Entry::Padding => 'p',
            Entry::Footer(_) => 'F',
            ref other => panic!("{other:?}"),
        });
    }
    assert_eq!(kinds.into_iter().collect::<String>(), "scplefceiF");
}

#[test]
fn a_second_recorder_on_the_same_name_is_refused_and_the_first_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.kinora");
    let mut writer = Writer::create(&path, &header(), &WriterSettings::tiny()).unwrap();
    let refused = Writer::create(&path, &header(), &WriterSettings::tiny()).unwrap_err();
    assert!(refused.to_string().contains("exists already"), "{refused}");
    append(&mut writer, 3);
    writer.finish().unwrap();
    assert_holds(&mut Reader::open(&path).unwrap(), 3);
}

#[test]
fn a_seek_touches_one_index_record_and_one_frame_record_however_long_the_recording() {
    let directory = tempfile::tempdir().unwrap();
    for frames in [1000, 20_000] {
        let path = directory.path().join(format!("{frames}.kinora"));
        let mut writer = Writer::create(&path, &header(), &WriterSettings::tiny()).unwrap();
        let mut slot = Slot::new(&SlotSizes::default());
        for i in 0..frames {
            slot.meta.captured_at = pair(i).monotonic;
            let _ = writer.append(&slot.frame(None), pair(i)).unwrap();
        }
        writer.finish().unwrap();
        let mut reader = Reader::open(&path).unwrap();
        for k in [0, 7, frames as u64 / 2, frames as u64 - 1] {
            let before = reader.touched();
            assert_eq!(reader.read_frame(k).unwrap().meta.captured_at, pair(k as i64).monotonic);
            let after = reader.touched();
            assert_eq!(after.index_records - before.index_records, 1);
            assert_eq!(after.frame_records - before.frame_records, 1);
            assert_eq!(reader.seek_time(pair(k as i64).monotonic), k);
            assert_eq!(reader.seek_time(pair(k as i64).monotonic + Span::from_ns(1)), k + 1);
        }
        assert_eq!(reader.seek_time(pair(-5).monotonic), 0);
    }
}
