//! What a network would say about the scene, in each of the seven kinds.

use super::objects::{CLASSES, Object, Place};
use super::{VirtualOptions, hash};
use crate::results::{MaskCrop, ResultKind, Results};
use crate::slot::{Slot, TooBig};

/// Keypoints of a person, as COCO has them.
const KEYPOINTS: usize = 17;

/// Where they lie in the box, in 64ths: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles.
const BODY: [[u32; 2]; KEYPOINTS] = [
    [32, 6],
    [35, 4],
    [29, 4],
    [39, 5],
    [25, 5],
    [44, 14],
    [20, 14],
    [50, 24],
    [14, 24],
    [52, 33],
    [12, 33],
    [40, 35],
    [24, 35],
    [41, 48],
    [23, 48],
    [42, 61],
    [22, 61],
];

/// Sides of the picture over those of the segmentation mask and of the heat map.
const COARSE: u32 = 8;

/// Bytes that the masks of one frame can take.
pub fn side_bytes_max(options: &VirtualOptions) -> usize {
    let (width, height) = (options.size.0 as usize, options.size.1 as usize);
    let coarse = options.size.0.div_ceil(COARSE) as usize * options.size.1.div_ceil(COARSE) as usize;
    match options.kind {
        Some(ResultKind::Segments) => coarse,
        Some(ResultKind::Anomaly) => 4 * coarse,
        Some(ResultKind::InstanceSegments) => width / 2 * (height / 2) * options.objects as usize,
        _ => 0,
    }
}

/// Puts the results of frame `n` into the slot.
pub fn write(options: &VirtualOptions, objects: &[Object], n: u64, slot: &mut Slot) -> Result<(), TooBig> {
    let Some(kind) = options.kind else { return Ok(()) };
    slot.results.begin(kind);
    match kind {
        ResultKind::Segments => return segments(options, objects, n, slot),
        ResultKind::Anomaly => return anomaly(options, objects, n, slot),
        ResultKind::Classifications => classifications(options, n, &mut slot.results),
        _ => {}
    }
    for object in objects {
        let place = object.place(n);
        let confidence = hundredths(object.confidence_percent);
        let bbox = corners(&place, options);
        let (class, track) = (object.class as i32, Some(object.track));
        // At most 64 objects: no column is ever full.
        let _ = match kind {
            ResultKind::Detections => slot.results.push_detection(bbox, confidence, class, track),
            ResultKind::Poses => pose(options, object, &place, &mut slot.results),
            ResultKind::OrientedBoxes => {
                let [x0, y0, x1, y1] = bbox;
                let centre = [(x0 + x1) / 2.0, (y0 + y1) / 2.0, x1 - x0, y1 - y0];
                // Hundredths of a radian, a slow turn.
                let angle = hundredths(((n + object.track as u64 * 40) % 314) as u32);
                slot.results.push_oriented_box(centre, angle, confidence, class, track)
            }
            ResultKind::InstanceSegments => {
                let crop = mask(options, object, &place, slot)?;
                slot.results.mask_shape = [(options.size.1 / 2) as u16, (options.size.0 / 2) as u16];
                slot.results.push_instance(bbox, crop, confidence, class, track)
            }
            _ => Ok(()),
        };
    }
    Ok(())
}

fn hundredths(value: u32) -> f32 {
    value as f32 / 100.0
}

fn fraction(value: u32, of: u32) -> f32 {
    value as f32 / of as f32
}

/// Pixels of `size` that the span from `low` to `high` (fractions) touches, at least one.
fn touched(low: f64, high: f64, size: u32) -> u32 {
    let size = f64::from(size);
    ((high * size).ceil().clamp(0.0, size) - (low * size).floor().clamp(0.0, size)).max(1.0) as u32
}

fn corners(place: &Place, options: &VirtualOptions) -> [f32; 4] {
    let (width, height) = options.size;
    [
        fraction(place.x, width),
        fraction(place.y, height),
        fraction(place.x + place.width, width),
        fraction(place.y + place.height, height),
    ]
}

fn pose(
    options: &VirtualOptions,
    object: &Object,
    place: &Place,
    results: &mut Results,
) -> Result<(), crate::results::ResultsFull> {
    let (width, height) = options.size;
    let points = BODY.map(|[x, y]| {
        [fraction(64 * place.x + x * place.width, 64 * width), fraction(64 * place.y + y * place.height, 64 * height)]
    });
    let scores = [hundredths(object.confidence_percent); KEYPOINTS];
    let bbox = Some(corners(place, options));
    results.push_pose(hundredths(object.confidence_percent), &points, &scores, bbox, Some(object.track))
}

fn classifications(options: &VirtualOptions, n: u64, results: &mut Results) {
    // One class wins for 90 frames; the rest share what is left, in the order of their numbers.
    let best = hash(options.seed, n / 90) as usize % CLASSES.len();
    let _ = results.push_classification(hundredths(70), best as i32);
    for (rank, class) in (0..CLASSES.len()).filter(|&class| class != best).enumerate() {
        let _ = results.push_classification(hundredths([16, 9, 5][rank]), class as i32);
    }
}

/// The instance's mask at half the picture's size, on every pixel of it that the box touches: as modlib cuts masks, so that
/// the size follows from the box.
fn mask(options: &VirtualOptions, object: &Object, place: &Place, slot: &mut Slot) -> Result<MaskCrop, TooBig> {
    let [x0, y0, x1, y1] = corners(place, options).map(f64::from);
    let (width, height) = (touched(x0, x1, options.size.0 / 2), touched(y0, y1, options.size.1 / 2));
    let (offset, bytes) = slot.side_append((width * height) as usize)?;
    for (row, line) in bytes.chunks_exact_mut(width as usize).enumerate() {
        let (from, to) = place.run((2 * row as u32).min(place.height - 1), object.is_round());
        line.fill(0);
        line[from.min(width) as usize..to.min(width) as usize].fill(1);
    }
    Ok(MaskCrop { offset, width: width as u16, height: height as u16 })
}

/// One byte for 8 × 8 pixels: the class of the object there, 255 where there is none.
fn segments(options: &VirtualOptions, objects: &[Object], n: u64, slot: &mut Slot) -> Result<(), TooBig> {
    let (width, height) = (options.size.0.div_ceil(COARSE), options.size.1.div_ceil(COARSE));
    let (_, bytes) = slot.side_append((width * height) as usize)?;
    bytes.fill(255);
    for object in objects {
        let place = object.place(n);
        for y in place.y / COARSE..(place.y + place.height).div_ceil(COARSE) {
            let line = &mut bytes[(y * width) as usize..][..width as usize];
            line[(place.x / COARSE) as usize..(place.x + place.width).div_ceil(COARSE) as usize]
                .fill(object.class as u8);
        }
    }
    slot.results.mask_shape = [height as u16, width as u16];
    Ok(())
}

/// One number for 8 × 8 pixels, `0.0..=1.0`: warm where the first object is.
fn anomaly(options: &VirtualOptions, objects: &[Object], n: u64, slot: &mut Slot) -> Result<(), TooBig> {
    let (width, height) = (options.size.0.div_ceil(COARSE), options.size.1.div_ceil(COARSE));
    let (_, bytes) = slot.side_append(4 * (width * height) as usize)?;
    let place = objects.first().map(|object| object.place(n));
    for (index, value) in bytes.chunks_exact_mut(4).enumerate() {
        let (x, y) = (index as u32 % width * COARSE, index as u32 / width * COARSE);
        let is_warm = place.is_some_and(|p| (p.x..p.x + p.width).contains(&x) && (p.y..p.y + p.height).contains(&y));
        value.copy_from_slice(&hundredths(if is_warm { 88 } else { 4 }).to_le_bytes());
    }
    slot.results.mask_shape = [height as u16, width as u16];
    slot.results.score = f64::from(objects.first().map_or(4, |object| object.confidence_percent)) / 100.0;
    Ok(())
}
