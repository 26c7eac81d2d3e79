//! modlib's result objects out of the values of a pickle, into the columns of a slot.

use heapless::Vec as Column;

use super::frame::{Values, wrong};
use super::machine::{Global, Machine, Value};
use super::numpy::{Array, Number};
use crate::frame::IntegerFields;
use crate::limits::{BOXES_MAX, KEYPOINTS_MAX, ROWS_MAX};
use crate::modlib::defect::Reason;
use crate::modlib::json_results::{checked_canvas, extent, put_crop};
use crate::modlib::masks::window;
use crate::results::{MaskCrop, ResultKind};
use crate::slot::Slot;

/// Reads `_detections`.
pub(super) fn read(machine: &Machine, pickle: &[u8], value: &Value, slot: &mut Slot) -> Result<(), Reason> {
    let class = match value {
        Value::Object(object) => machine.objects[*object].class,
        found => return Err(wrong("_detections", "a result", Some(found))),
    };
    let Global::Result(kind) = class else { return Err(wrong("_detections", "a result", Some(value))) };
    let source = Source { values: Values::of(machine, pickle, value, class)?, pickle };
    slot.results.begin(kind);
    if kind != ResultKind::Classifications {
        slot.results.roi_compensated = source.values.bool("_roi_compensated")?;
    }
    match kind {
        ResultKind::Segments => source.map("mask", 1, slot),
        ResultKind::Anomaly => {
            let score = source.values.number("score", IntegerFields::SCORE, &mut slot.meta.integer_fields)?;
            slot.results.score = score;
            source.map("heatmap", 4, slot)
        }
        _ => {
            source.rows(kind, slot)?;
            slot.results.settle();
            Ok(())
        }
    }
}

struct Source<'a> {
    values: Values<'a>,
    pickle: &'a [u8],
}

impl<'a> Source<'a> {
    fn array(&self, key: &'static str) -> Result<&'a Array, Reason> {
        match self.values.optional(key) {
            Some(Value::Array(array)) => self.built(*array),
            found => Err(wrong(key, "an array", found)),
        }
    }

    fn optional_array(&self, key: &'static str) -> Result<Option<&'a Array>, Reason> {
        self.values.optional(key).map(|_| self.array(key)).transpose()
    }

    fn built(&self, array: usize) -> Result<&'a Array, Reason> {
        self.values.machine.arrays[array].as_ref().ok_or(Reason::Pickle("an array has no elements"))
    }

    /// Confidence, classes, boxes and what else the kind has, as many rows as the limits allow; the others are counted.
    fn rows(&self, kind: ResultKind, slot: &mut Slot) -> Result<(), Reason> {
        let confidence = self.array("confidence")?;
        let rows = confidence.len();
        let mut points = 0;
        let mut limit = if kind == ResultKind::Classifications { ROWS_MAX } else { BOXES_MAX };
        if kind == ResultKind::Poses && rows > 0 {
            points = self.array("keypoint_scores")?.len() / rows;
            limit = limit.min(KEYPOINTS_MAX / points.max(1));
        }
        let kept = rows.min(limit);
        self.column("confidence", confidence, rows, kept, &mut slot.results.confidence)?;
        match kind {
            ResultKind::Poses => self.poses(rows, kept, points, slot)?,
            _ => self.classes(rows, kept, slot)?,
        }
        match kind {
            ResultKind::Detections | ResultKind::OrientedBoxes => self.boxes(self.array("bbox")?, rows, kept, slot)?,
            ResultKind::InstanceSegments => self.instances(rows, kept, slot)?,
            _ => {}
        }
        if kind == ResultKind::OrientedBoxes {
            self.column("angle", self.array("angle")?, rows, kept, &mut slot.results.angle)?;
        }
        if kind != ResultKind::Classifications {
            self.trackers(rows, kept, slot)?;
        }
        slot.results.truncated = u32::try_from(rows - kept).unwrap_or(u32::MAX);
        Ok(())
    }

    fn column<const N: usize>(
        &self,
        key: &'static str,
        array: &Array,
        rows: usize,
        kept: usize,
        out: &mut Column<f32, N>,
    ) -> Result<(), Reason> {
        expect(key, array.len(), rows)?;
        for index in 0..kept {
            let _ = out.push(self.f32(key, array, index)?);
        }
        Ok(())
    }

    fn classes(&self, rows: usize, kept: usize, slot: &mut Slot) -> Result<(), Reason> {
        let array = self.array("class_id")?;
        expect("class_id", array.len(), rows)?;
        for index in 0..kept {
            let id = self.int("class_id", array, index)?;
            let out_of_range = |_| Reason::OutOfRange { key: "class_id", allowed: "-2147483648..=2147483647" };
            let _ = slot.results.class_id.push(i32::try_from(id).map_err(out_of_range)?);
        }
        Ok(())
    }

    fn boxes(&self, array: &Array, rows: usize, kept: usize, slot: &mut Slot) -> Result<(), Reason> {
        expect("bbox", array.len(), 4 * rows)?;
        for row in 0..kept {
            let mut bbox = [0.0; 4];
            for (side, place) in bbox.iter_mut().enumerate() {
                *place = self.f32("bbox", array, 4 * row + side)?;
            }
            let _ = slot.results.bbox.push(bbox);
        }
        Ok(())
    }

    fn trackers(&self, rows: usize, kept: usize, slot: &mut Slot) -> Result<(), Reason> {
        let Some(array) = self.optional_array("tracker_id")? else { return Ok(()) };
        if array.len() != rows {
            return Ok(());
        }
        for index in 0..kept {
            let _ = slot.results.tracker_id.push(self.int("tracker_id", array, index)?);
        }
        Ok(())
    }

    fn poses(&self, rows: usize, kept: usize, points: usize, slot: &mut Slot) -> Result<(), Reason> {
        if rows == 0 {
            return Ok(());
        }
        let (keypoints, scores) = (self.array("keypoints")?, self.array("keypoint_scores")?);
        expect("keypoint_scores", scores.len(), rows * points)?;
        expect("keypoints", keypoints.len(), 2 * rows * points)?;
        if let Some(boxes) = self.optional_array("_bbox")? {
            self.boxes(boxes, rows, kept, slot)?;
        }
        let results = &mut slot.results;
        // Without a row that fits there are no points, however many a row would have.
        results.keypoints_per_pose = if kept > 0 { points as u16 } else { 0 };
        for index in 0..kept * points {
            let x = self.f32("keypoints", keypoints, 2 * index)?;
            let y = self.f32("keypoints", keypoints, 2 * index + 1)?;
            let _ = results.keypoints.push([x, y]);
            let _ = results.keypoint_scores.push(self.f32("keypoint_scores", scores, index)?);
        }
        Ok(())
    }

    fn instances(&self, rows: usize, kept: usize, slot: &mut Slot) -> Result<(), Reason> {
        match self.values.optional("_mask_crops") {
            Some(Value::List(crops)) => {
                let crops = &self.values.machine.lists[*crops];
                expect("_mask_crops", crops.len(), rows)?;
                slot.results.mask_shape = self.canvas()?;
                if rows > 0 {
                    self.boxes(self.array("_bbox")?, rows, kept, slot)?;
                }
                crops[..kept].iter().enumerate().try_for_each(|(row, crop)| self.crop(row, crop, slot))
            }
            // Up to modlib 1.4.0.
            _ => self.dense(rows, kept, slot),
        }
    }

    fn canvas(&self) -> Result<[u16; 2], Reason> {
        let sides = match self.values.optional("mask_shape") {
            Some(Value::Tuple(sides) | Value::List(sides)) => &self.values.machine.lists[*sides][..],
            found => return Err(wrong("mask_shape", "two numbers", found)),
        };
        let [Value::Int(height), Value::Int(width)] = sides else {
            return Err(Reason::Length { key: "mask_shape", found: sides.len(), expected: 2 });
        };
        let side = |side: i64| u64::try_from(side).unwrap_or(u64::MAX);
        checked_canvas(side(*height), side(*width))?;
        Ok([*height as u16, *width as u16])
    }

    fn crop(&self, row: usize, crop: &Value, slot: &mut Slot) -> Result<(), Reason> {
        let Value::Array(array) = crop else { return Err(wrong("_mask_crops", "an array", Some(crop))) };
        let array = self.built(*array)?;
        let [height, width] = slot.results.mask_shape.map(usize::from);
        let place = window(slot.results.bbox[row], height, width).ok_or(Reason::NoCrop(row))?;
        if array.shape[..] != [place.height, place.width] {
            return Err(Reason::Length { key: "_mask_crops", found: array.len(), expected: place.pixels() });
        }
        let offset = self.put("_mask_crops", array, 1, slot)?;
        let crop = MaskCrop { offset, width: place.width as u16, height: place.height as u16 };
        let _ = slot.results.crops.push(crop);
        Ok(())
    }

    fn dense(&self, rows: usize, kept: usize, slot: &mut Slot) -> Result<(), Reason> {
        let mask = self.array("mask")?;
        if rows == 0 {
            return Ok(());
        }
        let [instances, height, width] = mask.shape[..] else {
            return Err(Reason::Length { key: "mask", found: mask.shape.len(), expected: 3 });
        };
        expect("mask", instances, rows)?;
        let pixels = checked_canvas(height as u64, width as u64)?;
        slot.results.mask_shape = [height as u16, width as u16];
        let bytes = mask.bytes(self.pickle).filter(|_| mask.dtype.is_byte()).ok_or(NOT_BYTES)?;
        let boxes = self.optional_array("_bbox")?.filter(|boxes| boxes.len() == 4 * rows);
        if let Some(boxes) = boxes {
            self.boxes(boxes, rows, kept, slot)?;
        }
        for row in 0..kept {
            let canvas = &bytes[row * pixels..(row + 1) * pixels];
            if boxes.is_none() {
                let _ = slot.results.bbox.push(extent(canvas, height, width));
            }
            put_crop(canvas, [height, width], row, slot)?;
        }
        Ok(())
    }

    /// A mask or heat map into the side plane.
    fn map(&self, key: &'static str, bytes_per_pixel: usize, slot: &mut Slot) -> Result<(), Reason> {
        let array = self.array(key)?;
        let (height, width) = match array.shape[..] {
            [0] => (0, 0),
            [height, width] => (height, width),
            _ => return Err(Reason::Length { key, found: array.shape.len(), expected: 2 }),
        };
        checked_canvas(height as u64, width as u64)?;
        slot.results.mask_shape = [height as u16, width as u16];
        self.put(key, array, bytes_per_pixel, slot)?;
        Ok(())
    }

    /// Copies an array into the side plane, row by row: bytes as they are, anything wider as float32.
    fn put(&self, key: &'static str, array: &Array, width: usize, slot: &mut Slot) -> Result<u32, Reason> {
        let (offset, out) = slot.side_append(array.len() * width).map_err(Reason::TooBig)?;
        if width == 4 {
            for (index, place) in out.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&self.f32(key, array, index)?.to_le_bytes());
            }
        } else if !array.dtype.is_byte() {
            return Err(NOT_BYTES);
        } else if let Some(bytes) = array.bytes(self.pickle) {
            out.copy_from_slice(bytes);
        } else {
            for (index, place) in out.iter_mut().enumerate() {
                *place = self.int(key, array, index)? as u8;
            }
        }
        Ok(offset)
    }

    fn f32(&self, key: &'static str, array: &Array, index: usize) -> Result<f32, Reason> {
        let value = match array.number(self.pickle, index)? {
            Number::Float(value) => value,
            Number::Int(value) => value as f64,
        };
        let narrow = value as f32;
        if narrow.is_infinite() && value.is_finite() {
            return Err(Reason::OutOfRange { key, allowed: "float32" });
        }
        Ok(narrow)
    }

    fn int(&self, key: &'static str, array: &Array, index: usize) -> Result<i64, Reason> {
        match array.number(self.pickle, index)? {
            Number::Int(value) => Ok(value),
            Number::Float(value) if value.trunc() == value && value.abs() < 9e15 => Ok(value as i64),
            Number::Float(_) => Err(Reason::WrongType { key, expected: "an integer", found: "a fraction" }),
        }
    }
}

const NOT_BYTES: Reason = Reason::Pickle("a mask has elements of more than one byte");

fn expect(key: &'static str, found: usize, expected: usize) -> Result<(), Reason> {
    if found == expected { Ok(()) } else { Err(Reason::Length { key, found, expected }) }
}
