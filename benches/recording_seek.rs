//! What does it cost to find a frame in a recording, and to open one that was never closed?
//!
//! First: seek to a random frame, check its record's checksums, decode its ten boxes. The page cache is warm and the
//! recordings are headless, so that the cost is that of looking, not of bytes; 1,000 and 1,000,000 frames must touch the
//! same number of records. By time the search adds a logarithm; it is shown beside. Second: open a recording of 100,000
//! frames of 30 KB whose writer died, page cache warm. Not typical: a cold cache, where the medium decides.

mod common;

use std::path::{Path, PathBuf};
use std::time::Instant;

use common::{Bars, Samples, folder, say, size, us};
use kinora::frame::{Frame, FrameMeta, JpegPicture};
use kinora::recording::{Reader, SessionHeader, SyncPolicy, Writer, WriterSettings, random_id};
use kinora::results::{ResultKind, Results};
use kinora::source::SourceInfo;
use kinora::timeline::Timeline;
use kinora::{Clock, Span, SystemClock, Timestamp};

const FRAME_NS: i64 = 33_333_333;
const BOXES: usize = 10;
const SEEK_BAR_US: f64 = 2.0;
const OPEN_BAR_MS: f64 = 20.0;

fn main() {
    let mut bars = Bars::default();
    let folder = folder();
    let few = seeks(&mut bars, folder.path(), 1_000);
    let many = seeks(&mut bars, folder.path(), size(20_000, 1_000_000));
    assert_eq!(few, many, "records touched by a seek must not depend on the length of the recording");
    opening(&mut bars, folder.path());
    bars.finish();
}

/// Writes `frames` frames with ten boxes and `jpeg_bytes` of picture (0: headless). Closed, or left as a crash leaves it.
fn recording(folder: &Path, frames: u64, jpeg_bytes: usize, close: bool) -> PathBuf {
    let path = folder.join(format!("{frames}_{jpeg_bytes}.kinora"));
    let header =
        SessionHeader::from_source(&SourceInfo::new("bench"), SystemClock.pair(), random_id().expect("random"));
    let settings = WriterSettings { sync: SyncPolicy::Never, ..WriterSettings::default() };
    let mut writer = Writer::create(&path, &header, &settings).expect("a recording");
    let picture: Vec<u8> = (0..jpeg_bytes).map(|i| ((i * 31) >> 3) as u8).collect();
    let (mut meta, mut results) = (FrameMeta::new(), Results::new());
    results.begin(ResultKind::Detections);
    for i in 0..BOXES {
        let left = i as f32 / 20.0;
        results.push_detection([left, 0.1, left + 0.2, 0.6], 0.9, i as i32, None).expect("room for ten");
    }
    for index in 0..frames {
        meta.sequence = index;
        meta.captured_at = Timestamp::from_ns(index as i64 * FRAME_NS);
        let jpeg = (jpeg_bytes > 0).then_some(JpegPicture { bytes: &picture, width: 640, height: 480 });
        let (meta, results) = (&meta, &results);
        let frame = Frame { meta, results, pixels: None, jpeg, side: &[], sensor: &[], labels: None, losses: &[] };
        let _ = writer.append(&frame, SystemClock.pair()).expect("appended");
    }
    match close {
        true => assert_eq!(writer.finish().expect("closed").frames, frames),
        false => drop(writer),
    }
    path
}

/// A fixed walk over all numbers below `end`, in no order.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0) * u128::from(end)) >> 64) as u64
    }
}

/// Times random seeks and returns the records that one touched.
fn seeks(bars: &mut Bars, folder: &Path, frames: u64) -> (u64, u64) {
    let path = recording(folder, frames, 0, true);
    let mut reader = Reader::open(&path).expect("opened");
    assert_eq!(reader.len(), frames);
    // Every page once, so that the cache is warm.
    let mut rows = 0;
    for index in 0..frames {
        rows += reader.frame(index).expect("intact").detections().bbox().len() as u64;
    }
    assert_eq!(rows, BOXES as u64 * frames);

    let seeks = size(2_000, 200_000);
    let mut random = Random(7);
    let mut measure = |by_time: bool| {
        let (mut samples, mut checksum) = (Vec::with_capacity(seeks), 0.0);
        for _ in 0..seeks {
            let index = random.below(frames);
            let started = Instant::now();
            let index = if by_time { reader.seek_time(Timestamp::from_ns(index as i64 * FRAME_NS)) } else { index };
            let frame = reader.frame(index).expect("intact");
            let boxes = frame.detections();
            checksum += boxes.bbox().iter().zip(boxes.confidence()).map(|(bbox, c)| bbox[0] * c).sum::<f32>();
            samples.push(started.elapsed().as_nanos() as u64);
            assert_eq!((frame.meta.sequence, boxes.bbox().len()), (index, BOXES));
        }
        assert!(checksum > 0.0);
        Samples::new(samples)
    };
    println!("recording_seek: {seeks} random seeks in {frames} headless frames with {BOXES} boxes, page cache warm");
    let by_number = measure(false);
    say("by number: seek, check, decode", by_number.line());
    let by_time = measure(true);
    say("by time: search, seek, check, decode", by_time.line());
    say("the clock itself (two reads)", clock_cost());
    bars.at_most(&format!("seek in {frames} frames, p50, µs"), by_number.at(500) as f64 / 1e3, SEEK_BAR_US);

    let before = reader.touched();
    for _ in 0..seeks {
        reader.frame(random.below(frames)).expect("intact");
    }
    let after = reader.touched();
    let (index, frame) = (after.index_records - before.index_records, after.frame_records - before.frame_records);
    assert_eq!((index % seeks as u64, frame % seeks as u64), (0, 0), "every seek touches as many records");
    say("records touched by a seek (index, frame)", format!("{}, {}", index / seeks as u64, frame / seeks as u64));
    (index / seeks as u64, frame / seeks as u64)
}

/// What the measurement itself costs.
fn clock_cost() -> String {
    let mut samples = Vec::new();
    for _ in 0..10_000 {
        let started = Instant::now();
        samples.push(started.elapsed().as_nanos() as u64);
    }
    us(Samples::new(samples).at(500))
}

fn opening(bars: &mut Bars, folder: &Path) {
    let frames = size(2_000, 100_000);
    let path = recording(folder, frames, 30_000, false);
    // What the writer wrote is in the page cache as far as memory goes; one opening brings back what opening needs.
    let mut reader = Reader::open(&path).expect("opened");
    assert_eq!((reader.len(), reader.is_finalized()), (frames, false));
    let bytes = reader.info().used_bytes;
    let last = reader.frame(frames - 1).expect("intact");
    assert_eq!(last.meta.sequence, frames - 1);
    let mut samples = Vec::new();
    for _ in 0..size(5, 50) {
        let started = Instant::now();
        let reader = Reader::open(&path).expect("opened");
        samples.push(started.elapsed().as_nanos() as u64);
        assert_eq!(reader.len(), frames);
    }
    println!(
        "opening an unclosed recording of {frames} frames of 30 KB ({:.2} GB), page cache warm",
        bytes as f64 / 1e9
    );
    let samples = Samples::new(samples);
    say("open", format!("p50 {}, max {}", Span::from_ns(samples.at(500) as i64), Span::from_ns(samples.max() as i64)));
    bars.at_most("opening, p50, ms", samples.at(500) as f64 / 1e6, OPEN_BAR_MS);
}
