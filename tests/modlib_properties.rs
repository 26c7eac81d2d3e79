//! Random frames of all seven kinds through modlib's lines and back.
#![cfg(feature = "modlib")]

use kinora::frame::{ColorFormat, ImageType, IntegerFields, Roi};
use kinora::limits::{BOXES_MAX, ROWS_MAX};
use kinora::modlib::{Reader, Writer};
use kinora::results::{MaskCrop, ResultKind, ResultState};
use kinora::slot::{Slot, SlotSizes};
use kinora::time::WallTime;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const SIZES: SlotSizes = SlotSizes { pixels: 0, jpeg: 64, side: 1 << 20, sensor: 0, scratch: 0 };

/// The smallest bytes that have the frame of a JPEG picture, with a byte of data that differs.
fn jpeg(data: u8) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0, 3, 0, 5, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 2];
    bytes.extend([data, 0xFF, 0xD9]);
    bytes
}

/// Any bits at all: NaN, infinities, subnormals.
fn any_f32() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits)
}

fn any_box() -> impl Strategy<Value = [f32; 4]> {
    [any_f32(), any_f32(), any_f32(), any_f32()]
}

#[derive(Clone, Debug)]
struct Row {
    bbox: [f32; 4],
    confidence: f32,
    class_id: i32,
    tracker_id: i64,
    angle: f32,
    /// Corners of an instance on its canvas, in 1/16 pixel, so that crops have every kind of edge.
    corners: [u16; 4],
    seed: u8,
}

fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    let row = (any_box(), any_f32(), any::<i32>(), any::<i64>(), any_f32(), any::<[u16; 4]>(), any::<u8>());
    let row = row.prop_map(|(bbox, confidence, class_id, tracker_id, angle, corners, seed)| Row {
        bbox,
        confidence,
        class_id,
        tracker_id,
        angle,
        corners,
        seed,
    });
    vec(row, 0..most)
}

fn any_rows() -> impl Strategy<Value = Vec<Row>> {
    // The full number of rows now and then.
    prop_oneof![20 => rows(8), 1 => rows(ROWS_MAX + 1)]
}

const CANVAS: [u16; 2] = [24, 40];

fn fill_results(slot: &mut Slot, kind: ResultKind, rows: &[Row], tracked: bool, points: &[[f32; 3]]) {
    slot.results.begin(kind);
    slot.results.roi_compensated = tracked && kind != ResultKind::Classifications;
    for row in rows {
        let tracker = tracked.then_some(row.tracker_id);
        let Row { bbox, confidence, class_id, .. } = *row;
        let _ = match kind {
            ResultKind::Classifications => slot.results.push_classification(confidence, class_id),
            ResultKind::Detections => slot.results.push_detection(bbox, confidence, class_id, tracker),
            ResultKind::OrientedBoxes => slot.results.push_oriented_box(bbox, row.angle, confidence, class_id, tracker),
            ResultKind::Poses => {
                let keypoints: Vec<[f32; 2]> = points.iter().map(|&[x, y, _]| [x, y]).collect();
                let scores: Vec<f32> = points.iter().map(|&[.., score]| score).collect();
                slot.results.push_pose(confidence, &keypoints, &scores, Some(bbox), tracker)
            }
            ResultKind::InstanceSegments => push_instance(slot, row, tracker),
            ResultKind::Segments | ResultKind::Anomaly => Ok(()),
        };
    }
    // Rows that did not fit do not come back: lines hold what the frame holds.
    slot.results.truncated = 0;
    if matches!(kind, ResultKind::Segments | ResultKind::Anomaly) {
        let bytes = if kind == ResultKind::Anomaly { 4 } else { 1 };
        slot.results.mask_shape = CANVAS;
        let plane = slot.side_append(usize::from(CANVAS[0]) * usize::from(CANVAS[1]) * bytes).unwrap().1;
        plane.iter_mut().zip(0_u32..).for_each(|(byte, at)| *byte = (at * 7 + rows.len() as u32) as u8);
    }
    if kind == ResultKind::Anomaly {
        slot.results.score = rows.first().map_or(0.5, |row| f64::from(row.confidence));
    }
}

fn push_instance(slot: &mut Slot, row: &Row, tracker: Option<i64>) -> Result<(), kinora::results::ResultsFull> {
    let [height, width] = CANVAS;
    slot.results.mask_shape = CANVAS;
    let (a, b) = (row.corners[0] % (width * 16), row.corners[1] % (width * 16));
    let (c, d) = (row.corners[2] % (height * 16), row.corners[3] % (height * 16));
    let (left, right, top, bottom) = (a.min(b), a.max(b), c.min(d), c.max(d));
    let share = |at: u16, side: u16| f32::from(at) / 16.0 / f32::from(side);
    let bbox = [share(left, width), share(top, height), share(right, width), share(bottom, height)];
    // modlib's rule, here in the shortest words.
    let crop = |low: f32, high: f32, side: u16| {
        let (low, high) = (f64::from(low) * f64::from(side), f64::from(high) * f64::from(side));
        (high.ceil() - low.floor()).max(1.0) as u16
    };
    let (columns, lines) = (crop(bbox[0], bbox[2], width), crop(bbox[1], bbox[3], height));
    if slot.results.len() == BOXES_MAX {
        return slot.results.push_instance(bbox, MaskCrop::default(), row.confidence, row.class_id, tracker);
    }
    let (offset, mask) = slot.side_append(usize::from(columns) * usize::from(lines)).unwrap();
    mask.iter_mut().zip(0_u8..=255).for_each(|(byte, at)| *byte = (at ^ row.seed) & 1);
    let crop = MaskCrop { offset, width: columns, height: lines };
    slot.results.push_instance(bbox, crop, row.confidence, row.class_id, tracker)
}

fn fill_meta(slot: &mut Slot, [a, b, c]: [u64; 3], picture: Option<u8>) {
    let meta = &mut slot.meta;
    // 1700 to 2250, whole microseconds, offsets of every real zone.
    meta.captured_wall = WallTime::from_utc_ns(((a % 17_000_000_000_000_000) as i64 - 8_500_000_000_000_000) * 1_000);
    meta.utc_offset_s = (b % 93_600) as i32 - 46_800;
    meta.image_type =
        [None, Some(ImageType::Vga), Some(ImageType::InputTensor), Some(ImageType::Source)][(c % 4) as usize];
    meta.color_format = [None, Some(ColorFormat::Rgb), Some(ColorFormat::Bgr)][(c % 3) as usize];
    meta.width = (c % 5 > 0).then_some(b as u32);
    meta.height = (c % 7 > 0).then_some(a as u32);
    meta.channels = (c % 11 > 0).then_some(a as u8);
    meta.new_detection = c % 2 == 0;
    meta.fps = f64::from_bits(a ^ b);
    meta.dps = (b % 1000) as f64;
    meta.integer_fields.set(IntegerFields::DPS);
    meta.frame_count = (c % 13 > 0).then_some(b as i64);
    meta.roi = (c % 17 > 0).then(|| Roi { left: f64::from_bits(c), top: 0.0, width: 1e-7, height: 1e16 });
    if let Some(data) = picture {
        slot.put_jpeg(&jpeg(data), 5, 3).unwrap();
    }
}

/// Everything of a frame that a line holds, as text in which NaN equals NaN.
fn shown(slot: &Slot) -> String {
    let frame = slot.frame(None);
    let meta = frame.meta;
    let stamp = (meta.captured_wall.as_utc_ns() + i64::from(meta.utc_offset_s) * 1_000_000_000, &meta.timestamp_text);
    let picture = (meta.image_type, meta.color_format, meta.width, meta.height, meta.channels, frame.jpeg);
    let rates = (meta.fps, meta.dps, meta.frame_count, meta.new_detection, meta.roi, meta.integer_fields);
    format!("{stamp:?} {picture:?} {rates:?} {:?} {:?}", frame.results, frame.side)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_random_frame_comes_back_equal(
        kind in select(&ResultKind::ALL[..]),
        rows in any_rows(),
        tracked in any::<bool>(),
        points in vec([any_f32(), any_f32(), any_f32()], 0..20),
        numbers in any::<[u64; 3]>(),
        picture in any::<Option<u8>>(),
    ) {
        let (mut before, mut after) = (Slot::new(&SIZES), Slot::new(&SIZES));
        before.reset();
        fill_meta(&mut before, numbers, picture);
        fill_results(&mut before, kind, &rows, tracked, &points);
        prop_assert!(before.results.is_consistent(before.frame(None).side.len()));
        let mut line = Vec::new();
        Writer::new().write_line(&before.frame(None), &mut line).unwrap();
        prop_assert!(line.is_ascii());
        let read = Reader::new(jiff::tz::TimeZone::UTC).read_line(&line, &mut after);
        prop_assert!(read.is_ok(), "{read:?}");
        if let ResultState::Empty(_) = before.results.state() {
            before.results.reset(ResultState::Unknown);
            prop_assert_eq!(after.results.state(), ResultState::Unknown);
        }
        prop_assert_eq!(shown(&before), shown(&after));
        let mut again = Vec::new();
        Writer::new().write_line(&after.frame(None), &mut again).unwrap();
        prop_assert!(line == again, "the text changed");
    }
}
