//! Sony's own modlib judges our lines, and we read what it writes.
//!
//! Needs the Python environment of `scripts/modlib-venv`: tests that find none say so and pass, except with
//! `KINORA_REQUIRE_MODLIB=1`, which makes it and takes its absence for a failure. The recordings lie in `../shared`
//! (or `$KINORA_SHARED`); see `tests/common`.
#![cfg(feature = "modlib")]

mod common;
#[path = "common/modlib.rs"]
mod lines;
#[path = "common/python.rs"]
mod python;

use std::path::Path;

use jiff::tz::TimeZone;
use kinora::draw::{self, Canvas};
use kinora::frame::{PictureInfo, PixelFormat};
use kinora::modlib::{Format, Import, Imported, LINE_BYTES_MAX, Writer};
use kinora::results::{MaskCrop, ResultKind, ResultState};
use kinora::slot::Slot;
use lines::{SIZES, reader, round_trip};
use python::{python, run};

const FILES: [&str; 12] = [
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
    "edge_cases.json",
    "sony_tea_headless.json",
];

fn judge(python: &Path, action: &str, from: &Path, to: &Path) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modlib/judge.py");
    run(python, &program, &[Path::new(action), from, to]);
}

fn export(recording: &Path, to: &Path) {
    let text = std::fs::read(recording).unwrap();
    let exported: String = round_trip(&text, TimeZone::UTC).into_iter().map(Result::unwrap).collect();
    std::fs::write(to, exported).unwrap();
}

#[test]
fn modlib_reads_our_exports_and_finds_every_frame_unchanged() {
    let (Some(recordings), Some(python)) = (common::shared("recordings"), python()) else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in FILES {
        let exported = folder.path().join(name);
        export(&recordings.join(name), &exported);
        let original = recordings.join(name);
        let arguments = [&exported, Path::new("--same-as"), &original, Path::new("--exact-jpeg")];
        let said = run(&python, &recordings.join("check_with_modlib.py"), &arguments);
        let frames = std::fs::read_to_string(&original).unwrap().lines().count();
        assert!(said.contains(&format!("{frames} passed, 0 failed")), "{name}: {said}");
    }
}

/// Fills `slot` with a result of `kind`, as `seed` has it: up to five rows with masks, trackers and odd numbers.
fn made_up(kind: ResultKind, seed: u32, slot: &mut Slot) {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(kind.code().into());
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 24) as f32
    };
    slot.reset();
    slot.meta.new_detection = seed % 2 == 0;
    slot.meta.fps = f64::from(random()) * 30.0;
    slot.results.begin(kind);
    let rows = 1 + seed % 5;
    let tracked = seed % 3 == 0;
    for row in 0..rows {
        let (x, y, w, h) = (random() * 0.5, random() * 0.5, random() * 0.5, random() * 0.5);
        let (bbox, confidence) = ([x, y, x + w, y + h], random());
        let (class_id, tracker) = (row as i32 * 3, tracked.then_some(i64::from(row) - 1));
        let _ = match kind {
            ResultKind::Classifications => slot.results.push_classification(confidence, class_id),
            ResultKind::Detections => slot.results.push_detection(bbox, confidence, class_id, tracker),
            ResultKind::OrientedBoxes => {
                slot.results.push_oriented_box(bbox, random() * 3.0, confidence, class_id, tracker)
            }
            ResultKind::Poses => {
                let points: [[f32; 2]; 17] = std::array::from_fn(|_| [random(), random()]);
                let scores: [f32; 17] = std::array::from_fn(|_| random());
                slot.results.push_pose(confidence, &points, &scores, Some(bbox), tracker)
            }
            ResultKind::InstanceSegments => {
                slot.results.mask_shape = [48, 64];
                let side = |low: f32, high: f32, size: f64| {
                    let (low, high) = (f64::from(low) * size, f64::from(high) * size);
                    (high.ceil() - low.floor()).max(1.0) as u16
                };
                let (width, height) = (side(bbox[0], bbox[2], 64.0), side(bbox[1], bbox[3], 48.0));
                let (offset, mask) = slot.side_append(usize::from(width) * usize::from(height)).unwrap();
                mask.fill_with(|| u8::from(random() > 0.5));
                slot.results.push_instance(bbox, MaskCrop { offset, width, height }, confidence, class_id, tracker)
            }
            ResultKind::Segments | ResultKind::Anomaly => Ok(()),
        };
    }
    if kind == ResultKind::Segments {
        slot.results.mask_shape = [20, 30];
        slot.side_append(600).unwrap().1.fill_with(|| (random() * 256.0) as u8);
    }
    if kind == ResultKind::Anomaly {
        slot.results.mask_shape = [7, 9];
        slot.results.score = f64::from(random());
        for pixel in slot.side_append(63 * 4).unwrap().1.chunks_exact_mut(4) {
            pixel.copy_from_slice(&random().to_le_bytes());
        }
    }
}

/// Made-up frames of all kinds, as slots.
fn made_up_frames() -> Vec<Box<Slot>> {
    let mut slots = Vec::new();
    for kind in ResultKind::ALL {
        for seed in 0..12 {
            let mut slot = Slot::new(&SIZES);
            made_up(kind, seed, &mut slot);
            assert!(slot.results.is_consistent(slot.frame(None).side.len()), "{kind} {seed}");
            slots.push(slot);
        }
    }
    slots
}

#[test]
fn modlib_writes_what_we_wrote_in_lines_and_pickles_and_we_read_it_back_equal() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours.json"), folder.path().join("theirs"));
    let frames = made_up_frames();
    let (mut text, mut writer) = (Vec::new(), Writer::new());
    for slot in &frames {
        writer.write_line(&slot.frame(None), &mut text).unwrap();
    }
    std::fs::write(&ours, &text).unwrap();
    for action in ["rewrite", "pickle"] {
        judge(&python, action, &ours, &theirs);
        let bytes = std::fs::read(&theirs).unwrap();
        let mut import = Import::new(&bytes[..], Format::of(&bytes), TimeZone::UTC, LINE_BYTES_MAX);
        let mut back = Slot::new(&SIZES);
        for slot in &frames {
            assert_eq!(import.next(&mut back).unwrap(), Imported::Frame);
            let (before, after) = (slot.frame(None), back.frame(None));
            assert_eq!(before.results, after.results, "{action}");
            assert_eq!(before.side, after.side, "{action}");
            assert_eq!((before.meta.fps, before.meta.new_detection), (after.meta.fps, after.meta.new_detection));
        }
        assert_eq!(import.next(&mut back).unwrap(), Imported::End);
    }
}

#[test]
fn modlibs_annotator_draws_an_exported_frame_where_ours_does() {
    let (Some(recordings), Some(python)) = (common::shared("recordings"), python()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (exported, drawn) = (folder.path().join("exported.json"), folder.path().join("drawn"));
    for name in [
        "people.json",
        "astronaut.json",
        "detections.json",
        "poses.json",
        "instance_segments.json",
        "segments.json",
        "obb.json",
    ] {
        export(&recordings.join(name), &exported);
        judge(&python, "draw", &exported, &drawn);
        let theirs = std::fs::read(&drawn).unwrap();
        let (size, theirs) = theirs.split_at(8);
        let width = u32::from_le_bytes(size[..4].try_into().unwrap());
        let height = u32::from_le_bytes(size[4..].try_into().unwrap());

        let mut slot = Slot::new(&SIZES);
        let text = std::fs::read(&exported).unwrap();
        reader().read_line(text.split_inclusive(|&byte| byte == b'\n').next().unwrap(), &mut slot).unwrap();
        let mut pixels = vec![0; (width * height * 3) as usize];
        let info = PictureInfo::packed(PixelFormat::Bgr888, width, height);
        draw::everything(&mut Canvas::new(info, &mut pixels).unwrap(), &slot.frame(None), 0.0);
        let ours: Vec<u8> = pixels.chunks_exact(3).map(|pixel| u8::from(pixel != [0, 0, 0])).collect();

        let share = covered(theirs, &ours, width as usize);
        assert!(share > 0.99, "{name}: only {share:.3} of what modlib draws is near what we draw");
        // Labels are text of another font; the other way round is asked only where there are none.
        if matches!(slot.results.state().kind(), Some(ResultKind::Poses | ResultKind::Segments)) {
            let share = covered(&ours, theirs, width as usize);
            assert!(share > 0.99, "{name}: only {share:.3} of what we draw is near what modlib draws");
        }
        assert_ne!(slot.results.state(), ResultState::Unknown);
    }
}

/// The share of the pixels set in `a` that have one set in `b` at most two pixels away.
fn covered(a: &[u8], b: &[u8], width: usize) -> f64 {
    let (mut set, mut near) = (0, 0);
    for at in (0..a.len()).filter(|&at| a[at] != 0) {
        let (x, y) = (at % width, at / width);
        let rows = y.saturating_sub(2)..(y + 3).min(b.len() / width);
        let found = rows.flat_map(|y| (x.saturating_sub(2)..(x + 3).min(width)).map(move |x| y * width + x));
        set += 1;
        near += u32::from(found.into_iter().any(|at| b[at] != 0));
    }
    assert!(set > 50, "only {set} pixels were drawn");
    f64::from(near) / f64::from(set)
}
