//! Small committed recordings of every version of the format: they stay readable for ever, and today's writer still makes the same
//! bytes of version 1.
//!
//! `KINORA_WRITE_GOLDEN=1` writes the files anew; only a new version of the format is a reason for that.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use kinora::event::{Event, EventKind};
use kinora::frame::{ColorFormat, ImageType, PictureInfo, PixelFormat, Roi};
use kinora::recording::verify::verify_reader;
use kinora::recording::{Entry, Reader, SessionHeader, Writer, WriterSettings};
use kinora::results::MaskCrop;
use kinora::slot::{Slot, SlotSizes};
use kinora::source::{SourceInfo, bounded};
use kinora::{Cause, ClockPair, Loss, ResultKind, ResultState, Span, Timestamp, WallTime};

const SIZES: SlotSizes = SlotSizes { pixels: 64, jpeg: 64, side: 64, sensor: 64, scratch: 0 };

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn pair(ms: i64) -> ClockPair {
    let monotonic = Timestamp::from_ns(5_000_000_000 + 1_000_000 * ms);
    ClockPair { monotonic, wall: WallTime::from_utc_ns(1_700_000_000_000_000_000 + 1_000_000 * ms) }
}

fn header() -> SessionHeader {
    let mut source = SourceInfo::new("golden");
    source.picture = Some(PictureInfo::packed(PixelFormat::Bgr888, 4, 2));
    source.network = bounded("ssd");
    source.time_zone = bounded("Europe/Berlin");
    for label in ["person", "", "bicycle"] {
        source.labels.push(label).unwrap();
    }
    let id = *b"golden recording";
    SessionHeader { writer: bounded("golden"), ..SessionHeader::from_source(&source, pair(0), id) }
}

type Content = fn(&mut Writer, &mut Slot);

/// Name, content, closed.
const FILES: [(&str, Content, bool); 4] = [
    ("version_1-no_frames", |_, _| {}, true),
    ("version_1-every_result", every_result, true),
    ("version_1-every_record", every_record, true),
    ("version_1-unclosed", |writer, slot| every_result(writer, slot), false),
];

fn append(writer: &mut Writer, slot: &mut Slot, i: i64) {
    slot.meta.sequence = i as u64;
    (slot.meta.captured_at, slot.meta.captured_wall) = (pair(40 * i).monotonic, pair(40 * i).wall);
    let _ = writer.append(&slot.frame(None), pair(40 * i)).unwrap();
    slot.reset();
}

fn every_result(writer: &mut Writer, slot: &mut Slot) {
    append(writer, slot, 0);
    slot.results.reset(ResultState::Unknown);
    append(writer, slot, 1);
    slot.results.begin(ResultKind::Detections);
    append(writer, slot, 2);
    slot.results.begin(ResultKind::Detections);
    slot.results.push_detection([0.1, 0.2, f32::INFINITY, -0.0], 0.9, 2, Some(-1)).unwrap();
    slot.results.truncated = 3;
    append(writer, slot, 3);
    slot.results.begin(ResultKind::Classifications);
    slot.results.push_classification(0.75, 1).unwrap();
    append(writer, slot, 4);
    slot.results.begin(ResultKind::Poses);
    slot.results.push_pose(0.5, &[[0.1, 0.2], [0.3, 0.4]], &[0.5, 0.25], Some([0.0, 0.0, 1.0, 1.0]), Some(7)).unwrap();
    append(writer, slot, 5);
    slot.side_append(6).unwrap().1.copy_from_slice(&[0, 1, 1, 0, 1, 255]);
    slot.results.begin(ResultKind::Segments);
    slot.results.mask_shape = [2, 3];
    append(writer, slot, 6);
    slot.side_append(4).unwrap().1.copy_from_slice(&[1, 0, 0, 1]);
    slot.results.begin(ResultKind::InstanceSegments);
    slot.results.mask_shape = [20, 30];
    let crop = MaskCrop { offset: 0, width: 2, height: 2 };
    slot.results.push_instance([0.1, 0.1, 0.2, 0.2], crop, 0.5, 0, None).unwrap();
    append(writer, slot, 7);
    slot.side_append(4).unwrap().1.copy_from_slice(&1.5_f32.to_le_bytes());
    slot.results.begin(ResultKind::Anomaly);
    (slot.results.mask_shape, slot.results.score) = ([1, 1], 0.125);
    append(writer, slot, 8);
    slot.results.begin(ResultKind::OrientedBoxes);
    slot.results.push_oriented_box([0.5, 0.5, 0.25, 0.125], 1.5, 0.5, 1, None).unwrap();
    slot.results.roi_compensated = true;
    append(writer, slot, 9);
}

fn every_record(writer: &mut Writer, slot: &mut Slot) {
    slot.pixels_mut(PictureInfo::packed(PixelFormat::Bgr888, 4, 2)).unwrap().fill(0x55);
    slot.sensor_mut(33).unwrap().fill(0x77);
    slot.meta.roi = Some(Roi { left: 0.125, top: 0.0, width: 0.75, height: 1.0 });
    (slot.meta.width, slot.meta.height, slot.meta.channels) = (Some(4), Some(2), Some(3));
    (slot.meta.image_type, slot.meta.color_format) = (Some(ImageType::Vga), Some(ColorFormat::Bgr));
    (slot.meta.fps, slot.meta.dps, slot.meta.frame_count) = (29.97, 0.5, Some(255));
    slot.meta.timestamp_text.push_str("2026-07-01T12:00:00").unwrap();
    slot.meta.utc_offset_s = 7200;
    append(writer, slot, 0);
    writer.loss(&Loss::run(Cause::RingFull, 1, 2, pair(40).monotonic, pair(80).monotonic)).unwrap();
    slot.put_jpeg(&[0xFF, 0xD8, 0xFF, 0xD9], 4, 2).unwrap();
    append(writer, slot, 3);
    let text = heapless::String::try_from("grüße").unwrap();
    writer.event(&Event { kind: EventKind::Bookmark, at: pair(121).monotonic, wall: pair(121).wall, text }).unwrap();
    writer.sync().unwrap();
    let mut stepped = pair(140);
    stepped.wall += Span::from_s(3600);
    writer.tick(stepped).unwrap();
}

fn write(directory: &Path, name: &str, content: Content, close: bool) -> Vec<u8> {
    let path = directory.join(name);
    let mut writer = Writer::create(&path, &header(), &WriterSettings::tiny()).unwrap();
    let mut slot = Slot::new(&SIZES);
    content(&mut writer, &mut slot);
    let end = writer.bytes() as usize;
    // Dropped without it, a recording is unclosed.
    let closed = if close { writer.finish().is_ok() } else { true };
    assert!(closed);
    let mut bytes = std::fs::read(&path).unwrap();
    if !close {
        // The unused rest of the growth step is zeros; a few of them tell the story.
        bytes.truncate(end + 512);
    }
    bytes
}

/// Everything that a reader sees, as text.
fn tell(bytes: &[u8]) -> String {
    let mut reader = Reader::over(bytes).unwrap();
    // A field that came later says nothing in sessions that were written before.
    let mut text = format!("{:?}\n", reader.header()).replace(" post: \"\",", "");
    let mut records = reader.records();
    while let Some(record) = records.next() {
        write!(text, "{} +{} #{:?} ", record.offset, record.bytes, record.sequence).unwrap();
        match record.entry {
            Entry::Frame { ordinal, frame } => {
                writeln!(text, "frame {ordinal} {:?}", frame.meta).unwrap();
                writeln!(text, "  {:?}", frame.results).unwrap();
                writeln!(text, "  {:?} {:?} {:?} {:?}", frame.pixels, frame.jpeg, frame.side, frame.sensor).unwrap();
            }
            entry => writeln!(text, "{entry:?}").unwrap(),
        }
    }
    let report = verify_reader(&mut reader, |_, _| {});
    writeln!(text, "{report:?}").unwrap();
    text
}

#[test]
fn every_golden_file_says_what_it_said_when_it_was_written() {
    let fresh = std::env::var_os("KINORA_WRITE_GOLDEN").is_some();
    let directory = tempfile::tempdir().unwrap();
    for (name, content, close) in FILES {
        let (file, told) = (golden(&format!("{name}.kinora")), golden(&format!("{name}.txt")));
        if fresh {
            let bytes = write(directory.path(), name, content, close);
            std::fs::write(&told, tell(&bytes)).unwrap();
            std::fs::write(&file, &bytes).unwrap();
        }
        let bytes = std::fs::read(&file).unwrap();
        let expected = std::fs::read_to_string(&told).unwrap();
        let found = tell(&bytes);
        let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        assert!(found == expected, "{name} is read differently: {differs:#?}");
    }
}

#[test]
fn todays_writer_makes_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    for (name, content, close) in FILES {
        let bytes = write(directory.path(), &format!("{name}.again"), content, close);
        let expected = std::fs::read(golden(&format!("{name}.kinora"))).unwrap();
        let differs = bytes.iter().zip(&expected).position(|(a, b)| a != b);
        assert!(
            bytes == expected,
            "{name} differs from byte {differs:?} on ({} and {} bytes)",
            bytes.len(),
            expected.len()
        );
    }
}
