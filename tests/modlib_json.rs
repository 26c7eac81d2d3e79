//! modlib's JSON lines in and out: what real modlib wrote comes back equal.
//!
//! The recordings lie in `../shared/recordings` (or `$KINORA_SHARED/recordings`); tests that need them say so and pass without
//! them, except with `KINORA_REQUIRE_SHARED=1`.
#![cfg(feature = "modlib")]

#[path = "common/mod.rs"]
mod common;
#[path = "common/modlib.rs"]
mod lines;

use jiff::tz::TimeZone;
use kinora::limits::{BOXES_MAX, KEYPOINTS_MAX};
use kinora::modlib::{Reason, WriteError, Writer};
use kinora::results::{ResultKind, ResultState};
use kinora::slot::{Slot, SlotSizes};
use lines::{SIZES, comparable, reader, round_trip, rounded};

const FILES: [&str; 10] = [
    "people.json",
    "cars.json",
    "astronaut.json",
    "classifications.json",
    "detections.json",
    "poses.json",
    "segments.json",
    "instance_segments.json",
    "anomaly.json",
    "obb.json",
];

fn shared(name: &str) -> Option<Vec<u8>> {
    let path = common::shared("recordings")?.join(name);
    Some(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

#[test]
fn every_recording_of_real_modlib_comes_back_equal_line_by_line() {
    for name in FILES.into_iter().chain(["edge_cases.json"]) {
        let Some(text) = shared(name) else { return };
        let back = round_trip(&text, TimeZone::UTC);
        let text = std::str::from_utf8(&text).unwrap();
        assert_eq!(back.len(), text.lines().count());
        for (number, (before, after)) in text.lines().zip(back).enumerate() {
            let after = after.unwrap_or_else(|defect| panic!("{name} line {}: {defect}", number + 1));
            assert!(after.ends_with("}\n") && after.is_ascii());
            assert_eq!(comparable(before), comparable(&after), "{name} line {}", number + 1);
        }
    }
}

#[test]
fn lines_without_masks_come_back_as_the_same_text() {
    for name in ["people.json", "cars.json", "astronaut.json", "classifications.json", "detections.json", "poses.json"]
    {
        let Some(text) = shared(name) else { return };
        let back = round_trip(&text, TimeZone::UTC);
        let back: String = back.into_iter().map(Result::unwrap).collect();
        let differs = back.bytes().zip(&text).position(|(a, &b)| a != b);
        let around =
            |text: &[u8]| differs.map(|at| String::from_utf8_lossy(&text[at.saturating_sub(40)..at + 40]).into_owned());
        assert_eq!(around(back.as_bytes()), around(&text), "{name} differs in text");
        assert_eq!(back.len(), text.len(), "{name} differs in length");
    }
}

#[test]
fn sonys_own_recording_comes_back_with_its_doubles_rounded_to_float32() {
    let Some(text) = shared("sony_tea_headless.json") else { return };
    let back = round_trip(&text, TimeZone::UTC);
    let text = std::str::from_utf8(&text).unwrap();
    assert_eq!(back.len(), 170);
    for (before, after) in text.lines().zip(back) {
        assert_eq!(rounded(comparable(before)), rounded(comparable(&after.unwrap())));
    }
}

#[test]
fn timestamps_come_back_as_the_same_text_under_any_zone() {
    let Some(text) = shared("edge_cases.json") else { return };
    let first = round_trip(&text, TimeZone::UTC);
    for name in ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"] {
        assert_eq!(first, round_trip(&text, TimeZone::get(name).unwrap()), "{name}");
    }
}

#[test]
fn what_the_frame_holds_is_what_the_line_says() {
    let Some(text) = shared("people.json") else { return };
    let mut slot = Slot::new(&SIZES);
    let mut reader = reader();
    let mut lines = text.split(|&byte| byte == b'\n');
    reader.read_line(lines.next().unwrap(), &mut slot).unwrap();
    let frame = slot.frame(None);
    assert_eq!((frame.meta.sequence, frame.meta.captured_at.as_ns()), (0, 0));
    assert_eq!(frame.meta.captured_wall.as_utc_ns(), 1_749_897_127_419_283_000);
    assert_eq!(frame.meta.frame_count, Some(230));
    assert_eq!(frame.jpeg.map(|jpeg| (jpeg.width, jpeg.height)), Some((640, 480)));
    assert_eq!(frame.detections().confidence()[0], 0.999_149_56);
    assert_eq!(frame.meta.roi.unwrap().left, 0.125_246_548_323_471_37);
    assert!(frame.meta.timestamp_text.is_empty());
    reader.read_line(lines.next().unwrap(), &mut slot).unwrap();
    assert_eq!((slot.meta.sequence, slot.meta.captured_at.as_ns()), (1, 100_255_000));
}

#[test]
fn the_odd_lines_are_kept_as_they_are() {
    let Some(text) = shared("edge_cases.json") else { return };
    let mut slot = Slot::new(&SIZES);
    let mut reader = reader();
    for (number, line) in (1..).zip(text.split_inclusive(|&byte| byte == b'\n')) {
        reader.read_line(line, &mut slot).unwrap();
        let frame = slot.frame(None);
        match number {
            2 => assert_eq!(frame.results.state(), ResultState::Unknown),
            5 => assert!(frame.is_headless() && frame.meta.width.is_none()),
            6 => assert_eq!(frame.results.state(), ResultState::Some(ResultKind::Segments)),
            8 => assert!(frame.detections().confidence()[0].is_nan()),
            9 => assert_eq!(frame.detections().bbox()[0][2], f32::INFINITY),
            11 => assert_eq!(frame.detections().bbox().len(), 300),
            13 => assert_eq!((frame.meta.width, frame.size()), (Some(160), Some((161, 121)))),
            14 => assert_eq!(frame.meta.captured_at.as_ns(), -500_000),
            _ => assert!(frame.jpeg.is_some()),
        }
    }
}

/// A line with everything in order; tests replace parts of it.
const LINE: &str = concat!(
    r#"{"timestamp": "2025-06-14T10:33:00.250000", "image": null, "image_type": "VGA", "width": 160, "height": 120, "#,
    r#""channels": 3, "detections": {"bbox": [[0.1, 0.2, 0.3, 0.4]], "confidence": [0.5], "class_id": [7], "#,
    r#""tracker_id": null, "_roi_compensated": false}, "detection_type": "Detections", "new_detection": true, "#,
    r#""fps": 10.0, "dps": 10.0, "color_format": "BGR", "roi": null, "frame_count": 1}"#,
);

fn refusal(line: &[u8]) -> (usize, Reason) {
    let mut slot = Slot::new(&SIZES);
    let defect = reader().read_line(line, &mut slot).expect_err("must be refused");
    assert_eq!(slot.results.state(), ResultState::Absent, "a refused line leaves an empty slot");
    assert!(slot.frame(None).is_headless());
    (defect.byte, defect.reason)
}

#[test]
fn a_line_cut_at_any_byte_is_refused_with_its_byte() {
    let mut slot = Slot::new(&SIZES);
    reader().read_line(LINE.as_bytes(), &mut slot).unwrap();
    for len in 0..LINE.len() {
        let (byte, _) = refusal(&LINE.as_bytes()[..len]);
        assert!(byte <= len);
    }
}

#[test]
fn hostile_lines_are_refused_and_say_why() {
    let with = |old: &str, new: &str| {
        let line = LINE.replacen(old, new, 1);
        assert_ne!(line, LINE, "{old} is not in the line");
        line
    };
    let table = [
        ("zero bytes after a power cut", "\0\0\0\0".into(), "not JSON"),
        ("byte order mark", format!("\u{feff}{LINE}"), "not JSON"),
        ("two objects", format!("{LINE}{LINE}"), "not JSON"),
        ("a list", "[]".into(), "line should be an object"),
        ("a key missing", with(r#""fps": 10.0, "#, ""), "fps is missing"),
        ("half a result", with(r#""class_id": [7], "#, ""), "class_id is missing"),
        ("no compensation flag", with(r#"null, "_roi_compensated": false"#, "null"), "_roi_compensated is missing"),
        ("columns of two lengths", with("[0.5]", "[0.5, 0.6]"), "class_id has 1 entries, expected 2"),
        ("a box of three", with("[0.1, 0.2, 0.3, 0.4]", "[0.1, 0.2, 0.3]"), "bbox has 3 entries"),
        ("trackers that do not fit", with(r#""tracker_id": null"#, r#""tracker_id": [1, 2]"#), "tracker_id has 2"),
        ("a class above i32", with("[7]", "[2147483648]"), "class_id is outside"),
        ("a class with a fraction", with("[7]", "[7.5]"), "class_id should be an integer"),
        ("a number above i64", with(r#""frame_count": 1"#, r#""frame_count": 9223372036854775808"#), "64-bit"),
        ("a negative width", with("160", "-1"), "width is outside"),
        ("a float that float32 lacks", with("0.1,", "1e300,"), "bbox is outside float32"),
        ("an integer that no double holds", with("\"fps\": 10.0", "\"fps\": 9007199254740993"), "fps is outside"),
        ("text for a number", with("\"fps\": 10.0", "\"fps\": \"10\""), "fps should be a number"),
        ("null for a flag", with("\"new_detection\": true", "\"new_detection\": null"), "new_detection should be"),
        ("an unknown type", with("\"Detections\"", "\"Faces\""), "detection_type is \"Faces\""),
        ("results that are null", with("{\"bbox\"", "null, \"x\": {\"bbox\""), "detections is missing"),
        ("an unknown picture", with("\"VGA\"", "\"XGA\""), "image_type is \"XGA\""),
        ("not a time", with("2025-06-14T10:33:00.250000", "yesterday"), "timestamp \"yesterday\""),
        ("a time of a kilobyte", with("2025", &"2".repeat(1000)), "timestamp"),
        ("half a region", with("\"roi\": null", "\"roi\": {\"left\": 0}"), "left, top, width or height"),
        ("a region of five", with("\"roi\": null", "\"roi\": [0, 0, 1, 1, 2]"), "roi has 5 entries"),
        ("no data URL", with("\"image\": null", "\"image\": \"photo.jpg\""), "not a data URL"),
        ("not base64", with("\"image\": null", "\"image\": \"data:image/jpeg;base64,/9j!\""), "image is not base64"),
        ("a PNG", with("\"image\": null", "\"image\": \"data:image/png;base64,iVBORw0KGgo=\""), "a PNG picture"),
        ("a cut JPEG", with("\"image\": null", "\"image\": \"data:image/jpeg;base64,/9j/4AAQ\""), "no end marker"),
        ("deep nesting", with("\"fps\"", &format!("\"x\": {}, \"fps\"", "[".repeat(100_000))), "recursion"),
        ("invalid UTF-8 comes as bytes below", with("160", "\u{fffd}"), "not JSON"),
    ];
    for (name, line, message) in table {
        let (byte, reason) = refusal(line.as_bytes());
        assert!(reason.to_string().contains(message), "{name}: {reason}");
        assert!(byte <= line.len(), "{name}");
    }
    let mut bytes = LINE.as_bytes().to_vec();
    bytes[20] = 0xFF;
    assert!(matches!(refusal(&bytes), (20..=21, Reason::Syntax(_))), "{:?}", refusal(&bytes));
}

#[test]
fn masks_that_lie_about_their_size_are_refused() {
    let mask = |shape: &str, packed: &str| {
        let results = format!(
            r#"{{"n_segments": 0, "indices": [], "mask": "{packed}", "mask_shape": {shape}, "_roi_compensated": false}}"#
        );
        let start = LINE.find("{\"bbox\"").unwrap();
        let end = LINE.find(", \"detection_type\"").unwrap();
        format!("{}{results}{}", &LINE[..start], &LINE[end..]).replace("\"Detections\"", "\"Segments\"")
    };
    // gzip of the bytes 1, 0, 1.
    let packed = "H4sIAAAAAAACA2NkYAQAs4OEiQMAAAA=";
    let mut slot = Slot::new(&SIZES);
    reader().read_line(mask("[1, 3]", packed).as_bytes(), &mut slot).unwrap();
    assert_eq!(slot.frame(None).side, [1, 0, 1]);
    let table = [
        ("[1, 4]", packed, "fewer"),
        ("[1, 2]", packed, "more"),
        ("[65536, 1]", packed, "above 65535"),
        ("[60000, 60000]", packed, "16 Mi"),
        ("[-1, 3]", packed, "outside 0 and above"),
        ("[3]", packed, "1 entries, expected 2"),
        ("[1, 3]", "AAAA", "not gzip"),
        ("[1, 3]", "H4sI", "not gzip"),
        ("[4096, 4096]", packed, "side plane"),
    ];
    for (shape, packed, message) in table {
        let (_, reason) = refusal(mask(shape, packed).as_bytes());
        assert!(reason.to_string().contains(message), "{shape}: {reason}");
    }
}

#[test]
fn a_picture_that_does_not_fit_its_slot_is_too_big_and_says_both_sizes() {
    let Some(text) = shared("people.json") else { return };
    let line = text.split(|&byte| byte == b'\n').next().unwrap();
    let mut slot = Slot::new(&SlotSizes { jpeg: 1_000, ..SIZES });
    let Err(defect) = reader().read_line(line, &mut slot) else { panic!("must not fit") };
    let Reason::TooBig(too_big) = defect.reason else { panic!("{defect}") };
    assert_eq!(too_big.capacity, 1_000);
    assert!(too_big.needed > 100_000 && slot.frame(None).is_headless());
}

#[test]
fn rows_above_the_limits_are_counted() {
    let rows = |n: usize, one: &str| format!("[{}]", vec![one; n].join(", "));
    let n = BOXES_MAX + 5;
    let line = LINE
        .replace("[[0.1, 0.2, 0.3, 0.4]]", &rows(n, "[0.1, 0.2, 0.3, 0.4]"))
        .replace("[0.5]", &rows(n, "0.5"))
        .replace("[7]", &rows(n, "7"))
        .replace("\"tracker_id\": null", &format!("\"tracker_id\": {}", rows(n, "1")));
    let mut slot = Slot::new(&SIZES);
    reader().read_line(line.as_bytes(), &mut slot).unwrap();
    assert_eq!((slot.results.len(), slot.results.truncated), (BOXES_MAX, 5));
    assert!(slot.results.is_consistent(0));

    let points = rows(133, "[0.5, 0.5]");
    let start = LINE.find("{\"bbox\"").unwrap();
    let end = LINE.find(", \"detection_type\"").unwrap();
    let poses = format!(
        r#"{{"n_detections": 20, "confidence": {}, "keypoints": {}, "keypoint_scores": {}, "bbox": null, "tracker_id": null, "_roi_compensated": false}}"#,
        rows(20, "0.5"),
        rows(20, &points),
        rows(20, &rows(133, "0.5")),
    );
    let line = format!("{}{poses}{}", &LINE[..start], &LINE[end..]).replace("\"Detections\"", "\"Poses\"");
    reader().read_line(line.as_bytes(), &mut slot).unwrap();
    let fitting = KEYPOINTS_MAX / 133;
    assert_eq!((slot.results.len(), slot.results.truncated), (fitting, 20 - fitting as u32));
    assert!(slot.results.is_consistent(0));
}

#[test]
fn older_versions_are_read_as_far_as_they_can_be() {
    let mut slot = Slot::new(&SIZES);
    let line = LINE.replace(", \"frame_count\": 1", "").replace("\"roi\": null", "\"roi\": [0.25, 0, 0.5, 1.0]");
    reader().read_line(line.as_bytes(), &mut slot).unwrap();
    let roi = slot.meta.roi.unwrap();
    assert_eq!((roi.left, roi.width, slot.meta.frame_count), (0.25, 0.5, None));
    let mut out = Vec::new();
    Writer::new().write_line(&slot.frame(None), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(r#""roi": {"left": 0.25, "top": 0, "width": 0.5, "height": 1.0}, "frame_count": null}"#));
}

#[test]
fn dense_instances_of_old_versions_become_the_crops_of_new_ones() {
    let read = |name: &str| {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/json_line").join(name);
        let mut slot = Slot::new(&SIZES);
        reader().read_line(&std::fs::read(path).unwrap(), &mut slot).unwrap();
        assert!(slot.results.is_consistent(slot.frame(None).side.len()), "{name}");
        slot
    };
    // The same masks: 1.4.0 wrote them whole, 1.5.0 cropped; boxes come from the masks in both.
    let (new, old) = (read("instance_segments.json"), read("instance_segments_dense_no_boxes.json"));
    assert_eq!((&new.results, new.frame(None).side), (&old.results, old.frame(None).side));
    // With boxes of its own the crop is the box's; the first box has room around its mask.
    let own = read("instance_segments_dense.json");
    assert_eq!(own.results.bbox[0], [0.1, 0.1, 0.5, 0.5]);
    let crop = own.results.crops[0];
    assert_eq!((crop.width, crop.height), (8, 7));
    let set = |slot: &Slot| slot.frame(None).side.iter().filter(|&&pixel| pixel == 1).count();
    assert_eq!(set(&own), set(&new));
    // modlib gave no box to the instance without a pixel; here it has one of no size, and the other keeps its own.
    let hollow = read("instance_segments_dense_no_pixels.json");
    assert_eq!((hollow.results.bbox[0], hollow.results.bbox[1]), ([0.0; 4], new.results.bbox[1]));
}

#[test]
fn key_order_unknown_keys_and_repeated_keys_do_not_matter() {
    let line = concat!(
        r#"{"frame_count": 1, "roi": {}, "color_format": null, "dps": 1, "fps": 2, "new_detection": false, "x": [{"y": [1]}], "#,
        r#""detections": {"_roi_compensated": true, "extra": {}, "tracker_id": [], "class_id": [7.0], "confidence": [NaN], "#,
        r#""bbox": [[-Infinity, 0, 1e2, 4]]}, "detection_type": "Detections", "channels": null, "height": 5, "height": 6, "#,
        r#""width": null, "image_type": null, "timestamp": "2025-06-14 10:33:00"}"#,
    );
    let mut slot = Slot::new(&SIZES);
    reader().read_line(line.as_bytes(), &mut slot).unwrap();
    assert_eq!((slot.meta.height, slot.meta.fps), (Some(6), 2.0));
    assert_eq!(slot.results.bbox[0], [f32::NEG_INFINITY, 0.0, 100.0, 4.0]);
    assert!(slot.results.tracker_id.is_empty() && slot.results.roi_compensated);
    assert_eq!(slot.meta.timestamp_text, "2025-06-14 10:33:00");
}

#[test]
fn a_frame_with_pixels_only_is_not_written_and_says_what_to_do() {
    use kinora::frame::{PictureInfo, PixelFormat};
    let mut slot = Slot::new(&SlotSizes { pixels: 64, ..SIZES });
    slot.pixels_mut(PictureInfo::packed(PixelFormat::Grey, 8, 8)).unwrap();
    slot.meta.sequence = 5;
    let mut out = b"kept".to_vec();
    let refused = Writer::new().write_line(&slot.frame(None), &mut out);
    assert_eq!(refused, Err(WriteError::NotCompressed { sequence: 5 }));
    assert_eq!(out, b"kept");
}
