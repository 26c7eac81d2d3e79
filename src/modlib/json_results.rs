//! The `detections` object of a line into the columns of a slot.

use heapless::Vec as Column;

use super::defect::{Defect, Reason};
use super::json_read::rate;
use super::masks::{Unpacker, window};
use super::tokens::Tokens;
use crate::frame::IntegerFields;
use crate::limits::{BOXES_MAX, KEYPOINTS_MAX, ROWS_MAX, SIDE_PLANE_BYTES_MAX};
use crate::results::{MaskCrop, ResultKind};
use crate::slot::Slot;

/// Reads the object at byte `start` of `line` as a result of `kind`.
pub(super) fn read(
    kind: ResultKind,
    line: &[u8],
    start: usize,
    slot: &mut Slot,
    unpacker: &mut Unpacker,
    canvas: &mut Vec<u8>,
) -> Result<(), Defect> {
    let mut json = Tokens::new(line, start);
    let mut found = Found::default();
    slot.results.begin(kind);
    let mut next = json.object("detections", Key::of)?;
    while let Some(key) = next {
        read_value(&mut json, key, &mut found, slot)?;
        next = json.next_key(Key::of)?;
    }
    let end = json.byte();
    if kind != ResultKind::Classifications && !found.compensated {
        return Err(Reason::Missing("_roi_compensated").at(end));
    }
    match kind {
        ResultKind::Segments => read_map(line, end, &found, "mask", 1, slot, unpacker),
        ResultKind::Anomaly => {
            found.score.ok_or_else(|| Reason::Missing("score").at(end))?;
            read_map(line, end, &found, "heatmap", 4, slot, unpacker)
        }
        _ => {
            check_columns(kind, &found, slot).map_err(|reason| reason.at(end))?;
            let kept = cut_to_limits(kind, &found, slot);
            if kind == ResultKind::InstanceSegments {
                Instances { line, found: &found, kept, unpacker, canvas }.read(end, slot)?;
            }
            slot.results.settle();
            Ok(())
        }
    }
}

/// How many rows each column had in the text (the slot holds at most its limits), and what is read later.
#[derive(Default)]
struct Found {
    confidence: Option<usize>,
    class_id: Option<usize>,
    bbox: Option<usize>,
    angle: Option<usize>,
    tracker_id: Option<usize>,
    keypoints: Option<usize>,
    keypoint_scores: Option<usize>,
    points: usize,
    scores: usize,
    n_detections: Option<i64>,
    shape: Column<u64, 3>,
    packed_at: Option<usize>,
    crops_at: Option<usize>,
    score: Option<f64>,
    compensated: bool,
}

#[derive(Clone, Copy)]
enum Key {
    Bbox,
    Confidence,
    ClassId,
    TrackerId,
    Angle,
    Keypoints,
    KeypointScores,
    NDetections,
    Packed,
    Shape,
    Crops,
    Score,
    Compensated,
    /// `n_segments` and `indices` among them: modlib computes them anew, and so does the writer.
    Other,
}

impl Key {
    fn of(name: &str) -> Self {
        match name {
            "bbox" => Self::Bbox,
            "confidence" => Self::Confidence,
            "class_id" => Self::ClassId,
            "tracker_id" => Self::TrackerId,
            "angle" => Self::Angle,
            "keypoints" => Self::Keypoints,
            "keypoint_scores" => Self::KeypointScores,
            "n_detections" => Self::NDetections,
            "mask" | "heatmap" => Self::Packed,
            "mask_shape" | "heatmap_shape" => Self::Shape,
            "mask_crops" => Self::Crops,
            "score" => Self::Score,
            "_roi_compensated" => Self::Compensated,
            _ => Self::Other,
        }
    }
}

fn read_value(json: &mut Tokens<'_>, key: Key, found: &mut Found, slot: &mut Slot) -> Result<(), Defect> {
    let results = &mut slot.results;
    match key {
        Key::Bbox => found.bbox = column(json, "bbox", &mut results.bbox, read_box)?,
        Key::Confidence => {
            found.confidence = column(json, "confidence", &mut results.confidence, |json| json.f32("confidence"))?;
        }
        Key::ClassId => {
            let allowed = "-2147483648..=2147483647";
            found.class_id =
                column(json, "class_id", &mut results.class_id, |json| json.small_int("class_id", allowed))?;
        }
        Key::TrackerId => {
            found.tracker_id = column(json, "tracker_id", &mut results.tracker_id, |json| json.int("tracker_id"))?;
        }
        Key::Angle => found.angle = column(json, "angle", &mut results.angle, |json| json.f32("angle"))?,
        Key::Keypoints => {
            (found.keypoints, found.points) = table(json, "keypoints", &mut results.keypoints, read_point)?;
        }
        Key::KeypointScores => {
            let scores = &mut results.keypoint_scores;
            (found.keypoint_scores, found.scores) =
                table(json, "keypoint_scores", scores, |json| json.f32("keypoint_scores"))?;
        }
        Key::NDetections => found.n_detections = Some(json.int("n_detections")?),
        Key::Packed => found.packed_at = Some(json.skip("mask")?),
        Key::Crops => found.crops_at = Some(json.skip("mask_crops")?),
        Key::Shape => {
            found.shape.clear();
            json.array("mask_shape", |json| {
                let side = json.small_int("mask_shape", "0 and above")?;
                found
                    .shape
                    .push(side)
                    .or_else(|_| json.fail(Reason::Length { key: "mask_shape", found: 4, expected: 2 }))
            })?;
        }
        Key::Score => {
            let integers = &mut slot.meta.integer_fields;
            results.score = rate(json, "score", IntegerFields::SCORE, integers)?;
            found.score = Some(results.score);
        }
        Key::Compensated => {
            results.roi_compensated = json.bool("_roi_compensated")?;
            found.compensated = true;
        }
        Key::Other => _ = json.skip("detections")?,
    }
    Ok(())
}

/// Reads a list into a column and counts its rows, also those that the column has no room for; `None` for a `null`.
fn column<T, const N: usize>(
    json: &mut Tokens<'_>,
    key: &'static str,
    column: &mut Column<T, N>,
    mut read: impl FnMut(&mut Tokens<'_>) -> Result<T, Defect>,
) -> Result<Option<usize>, Defect> {
    column.clear();
    if json.null(key)? {
        return Ok(None);
    }
    let mut rows = 0;
    json.array(key, |json| {
        let _ = column.push(read(json)?);
        rows += 1;
        Ok(())
    })?;
    Ok(Some(rows))
}

/// Reads a list of equally long lists; answers rows and entries of each.
fn table<T, const N: usize>(
    json: &mut Tokens<'_>,
    key: &'static str,
    column: &mut Column<T, N>,
    mut read: impl FnMut(&mut Tokens<'_>) -> Result<T, Defect>,
) -> Result<(Option<usize>, usize), Defect> {
    column.clear();
    let (mut rows, mut width) = (0, 0);
    json.array(key, |json| {
        let mut entries = 0;
        json.array(key, |json| {
            let _ = column.push(read(json)?);
            entries += 1;
            Ok(())
        })?;
        if rows == 0 {
            width = entries;
        } else if entries != width {
            return json.fail(Reason::Length { key, found: entries, expected: width });
        }
        rows += 1;
        Ok(())
    })?;
    Ok((Some(rows), width))
}

fn fixed<const N: usize>(json: &mut Tokens<'_>, key: &'static str) -> Result<[f32; N], Defect> {
    let mut values = [0.0; N];
    let mut found = 0;
    json.array(key, |json| {
        let value = json.f32(key)?;
        if let Some(place) = values.get_mut(found) {
            *place = value;
        }
        found += 1;
        Ok(())
    })?;
    if found == N { Ok(values) } else { json.fail(Reason::Length { key, found, expected: N }) }
}

fn read_box(json: &mut Tokens<'_>) -> Result<[f32; 4], Defect> {
    fixed(json, "bbox")
}

fn read_point(json: &mut Tokens<'_>) -> Result<[f32; 2], Defect> {
    fixed(json, "keypoints")
}

/// Checks that the columns of the text were equally long.
fn check_columns(kind: ResultKind, found: &Found, slot: &mut Slot) -> Result<(), Reason> {
    let rows = found.confidence.ok_or(Reason::Missing("confidence"))?;
    let fits = |key, column: Option<usize>| match column {
        None => Err(Reason::Missing(key)),
        Some(found) if found != rows => Err(Reason::Length { key, found, expected: rows }),
        Some(_) => Ok(()),
    };
    if kind == ResultKind::Poses {
        fits("keypoints", found.keypoints)?;
        fits("keypoint_scores", found.keypoint_scores)?;
        if found.bbox.is_some() {
            fits("bbox", found.bbox)?;
        }
        if found.n_detections.is_some_and(|n| n != rows as i64) {
            return Err(Reason::Length {
                key: "confidence",
                found: rows,
                expected: found.n_detections.unwrap_or(0) as usize,
            });
        }
        if found.points != found.scores {
            return Err(Reason::Length { key: "keypoint_scores", found: found.scores, expected: found.points });
        }
    } else {
        fits("class_id", found.class_id)?;
    }
    if matches!(kind, ResultKind::Detections | ResultKind::OrientedBoxes) {
        fits("bbox", found.bbox)?;
    }
    if kind == ResultKind::OrientedBoxes {
        fits("angle", found.angle)?;
    }
    // An empty list counts as none in modlib.
    if found.tracker_id.unwrap_or(0) > 0 {
        fits("tracker_id", found.tracker_id)?;
    }
    forget_foreign_columns(kind, slot);
    Ok(())
}

/// A line may hold columns that its kind does not have; as unknown keys they are ignored.
fn forget_foreign_columns(kind: ResultKind, slot: &mut Slot) {
    let results = &mut slot.results;
    let has_boxes = kind != ResultKind::Classifications;
    if !has_boxes {
        results.bbox.clear();
        results.tracker_id.clear();
        results.roi_compensated = false;
    }
    if kind != ResultKind::OrientedBoxes {
        results.angle.clear();
    }
    if kind == ResultKind::Poses {
        results.class_id.clear();
    } else {
        results.keypoints.clear();
        results.keypoint_scores.clear();
    }
    if kind != ResultKind::Anomaly {
        results.score = 0.0;
        slot.meta.integer_fields.0 &= !IntegerFields::SCORE;
    }
}

/// Shortens all columns to the rows that fit every limit, counts the others, and answers how many stay.
fn cut_to_limits(kind: ResultKind, found: &Found, slot: &mut Slot) -> usize {
    let results = &mut slot.results;
    let rows = found.confidence.unwrap_or(0);
    let limit = match kind {
        ResultKind::Classifications => ROWS_MAX,
        ResultKind::Poses => BOXES_MAX.min(KEYPOINTS_MAX / found.points.max(1)),
        _ => BOXES_MAX,
    };
    let kept = rows.min(limit);
    results.confidence.truncate(kept);
    results.class_id.truncate(kept);
    results.bbox.truncate(kept);
    results.angle.truncate(kept);
    results.tracker_id.truncate(kept);
    if kind == ResultKind::Poses && kept > 0 {
        results.keypoints_per_pose = found.points as u16;
    }
    results.keypoints.truncate(kept * found.points);
    results.keypoint_scores.truncate(kept * found.points);
    results.truncated = u32::try_from(rows - kept).unwrap_or(u32::MAX);
    kept
}

/// Reads the mask of `Segments` or the heat map of `Anomaly` into the side plane.
fn read_map(
    line: &[u8],
    end: usize,
    found: &Found,
    key: &'static str,
    bytes_per_pixel: usize,
    slot: &mut Slot,
    unpacker: &mut Unpacker,
) -> Result<(), Defect> {
    let at = found.packed_at.ok_or_else(|| Reason::Missing(key).at(end))?;
    let (height, width) = match found.shape[..] {
        // numpy's shape of nothing is [0].
        [0] => (0, 0),
        [height, width] => (height, width),
        _ => return Err(Reason::Length { key: "mask_shape", found: found.shape.len(), expected: 2 }.at(end)),
    };
    let pixels = checked_canvas(height, width).map_err(|reason| reason.at(end))?;
    forget_rows(slot);
    slot.results.mask_shape = [height as u16, width as u16];
    let (_, out) = slot.side_append(pixels * bytes_per_pixel).map_err(|full| Reason::TooBig(full).at(at))?;
    let mut json = Tokens::new(line, at);
    let (_, text) = json.string(key)?;
    unpacker.unpack(key, text.as_bytes(), out).map_err(|reason| reason.at(at))
}

fn forget_rows(slot: &mut Slot) {
    let results = &mut slot.results;
    let (state, compensated, score) = (results.state(), results.roi_compensated, results.score);
    results.reset(state);
    results.roi_compensated = compensated;
    results.score = score;
}

/// Pixels of a canvas that the frame can hold.
pub(super) fn checked_canvas(height: u64, width: u64) -> Result<usize, Reason> {
    let refuse = |why| Err(Reason::Shape { key: "mask_shape", height, width, why });
    if height > u64::from(u16::MAX) || width > u64::from(u16::MAX) {
        return refuse("a side is above 65535");
    }
    if height * width > SIDE_PLANE_BYTES_MAX as u64 {
        return refuse("more than 16 Mi pixels");
    }
    Ok((height * width) as usize)
}

/// The masks of instances, in crops (from modlib 1.5.0 on) or dense (before).
struct Instances<'a> {
    line: &'a [u8],
    found: &'a Found,
    kept: usize,
    unpacker: &'a mut Unpacker,
    canvas: &'a mut Vec<u8>,
}

impl Instances<'_> {
    fn read(self, end: usize, slot: &mut Slot) -> Result<(), Defect> {
        let rows = self.found.confidence.unwrap_or(0);
        match (self.found.crops_at, self.found.packed_at) {
            (Some(at), _) => {
                let [height, width] = self.found.shape[..] else {
                    let found = self.found.shape.len();
                    return Err(Reason::Length { key: "mask_shape", found, expected: 2 }.at(end));
                };
                if self.found.bbox != Some(rows) {
                    let found = self.found.bbox.unwrap_or(0);
                    return Err(Reason::Length { key: "bbox", found, expected: rows }.at(end));
                }
                checked_canvas(height, width).map_err(|reason| reason.at(end))?;
                slot.results.mask_shape = [height as u16, width as u16];
                self.crops(at, rows, slot)
            }
            (None, Some(at)) => self.dense(at, end, rows, slot),
            (None, None) => Err(Reason::Missing("mask_crops").at(end)),
        }
    }

    fn crops(self, at: usize, rows: usize, slot: &mut Slot) -> Result<(), Defect> {
        let Self { line, kept, unpacker, .. } = self;
        let [height, width] = slot.results.mask_shape.map(usize::from);
        let mut row = 0;
        let mut json = Tokens::new(line, at);
        json.array("mask_crops", |json| {
            let (at, text) = json.string("mask_crops")?;
            if row < kept {
                let bbox = slot.results.bbox[row];
                let crop = window(bbox, height, width).ok_or_else(|| Reason::NoCrop(row).at(at))?;
                let (offset, out) = slot.side_append(crop.pixels()).map_err(|full| Reason::TooBig(full).at(at))?;
                unpacker.unpack("mask_crops", text.as_bytes(), out).map_err(|reason| reason.at(at))?;
                let crop = MaskCrop { offset, width: crop.width as u16, height: crop.height as u16 };
                let _ = slot.results.crops.push(crop);
            }
            row += 1;
            Ok(())
        })?;
        if row == rows { Ok(()) } else { json.fail(Reason::Length { key: "mask_crops", found: row, expected: rows }) }
    }

    /// One canvas at a time is unpacked and cropped, so the dense stack never lies in memory as a whole.
    fn dense(self, at: usize, end: usize, rows: usize, slot: &mut Slot) -> Result<(), Defect> {
        let Self { line, found, kept, unpacker, canvas } = self;
        let (instances, height, width) = match found.shape[..] {
            [n, height, width] => (n, height, width),
            [0] => (0, 0, 0),
            _ => return Err(Reason::Length { key: "mask_shape", found: found.shape.len(), expected: 3 }.at(end)),
        };
        if instances != rows as u64 {
            return Err(Reason::Length { key: "mask_shape", found: instances as usize, expected: rows }.at(end));
        }
        let pixels = checked_canvas(height, width).map_err(|reason| reason.at(end))?;
        let (height, width) = (height as usize, width as usize);
        // modlib leaves instances without a set pixel out of boxes that it makes from the masks.
        let own_boxes = found.bbox == Some(rows);
        if !own_boxes {
            slot.results.bbox.clear();
        }
        slot.results.mask_shape = [height as u16, width as u16];
        canvas.resize(pixels, 0);
        let mut json = Tokens::new(line, at);
        let (_, text) = json.string("mask")?;
        let expected = rows * pixels;
        unpacker.open("mask", text.as_bytes()).map_err(|reason| reason.at(at))?;
        for row in 0..rows {
            unpacker.fill(canvas, expected).map_err(|reason| reason.at(at))?;
            if row < kept {
                if !own_boxes {
                    let _ = slot.results.bbox.push(extent(canvas, height, width));
                }
                put_crop(canvas, [height, width], row, slot).map_err(|reason| reason.at(at))?;
            }
        }
        unpacker.finish(expected).map_err(|reason| reason.at(at))
    }
}

/// Cuts the crop of row `row` out of its canvas into the side plane.
pub(super) fn put_crop(canvas: &[u8], [height, width]: [usize; 2], row: usize, slot: &mut Slot) -> Result<(), Reason> {
    let crop = window(slot.results.bbox[row], height, width).ok_or(Reason::NoCrop(row))?;
    let (offset, out) = slot.side_append(crop.pixels()).map_err(Reason::TooBig)?;
    for (y, line) in out.chunks_exact_mut(crop.width.max(1)).enumerate() {
        let from = (crop.top + y) * width + crop.left;
        line.copy_from_slice(&canvas[from..from + crop.width]);
    }
    let crop = MaskCrop { offset, width: crop.width as u16, height: crop.height as u16 };
    let _ = slot.results.crops.push(crop);
    Ok(())
}

/// The box around the set pixels of a canvas, as fractions; all zero without one, as modlib has it.
pub(super) fn extent(canvas: &[u8], height: usize, width: usize) -> [f32; 4] {
    let (mut left, mut top, mut right, mut bottom) = (width, height, 0, 0);
    for (y, line) in canvas.chunks_exact(width.max(1)).enumerate() {
        let Some(first) = line.iter().position(|&pixel| pixel != 0) else { continue };
        let last = line.iter().rposition(|&pixel| pixel != 0).unwrap_or(first);
        (left, right) = (left.min(first), right.max(last + 1));
        (top, bottom) = (top.min(y), y + 1);
    }
    if right == 0 {
        return [0.0; 4];
    }
    let share = |pixel: usize, size: usize| (pixel as f64 / size as f64) as f32;
    [share(left, width), share(top, height), share(right, width), share(bottom, height)]
}
