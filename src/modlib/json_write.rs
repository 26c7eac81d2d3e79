//! A frame as one line of a modlib recording.

use std::fmt::Write;

use super::float::{write_f32, write_f64, write_i64};
use super::masks::{Packer, write_base64};
use super::stamp::{self, Stamp};
use crate::frame::{Frame, FrameMeta, IntegerFields, Roi};
use crate::results::{ResultKind, ResultState, Results};

/// Why a frame has no modlib line. Nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The frame has pixels and no JPEG: modlib's lines hold JPEG.
    #[error("frame {sequence} has pixels only; compress it to JPEG before writing a modlib line")]
    NotCompressed {
        /// The frame's number.
        sequence: u64,
    },
    /// The columns of its results do not fit together.
    #[error("frame {sequence} has results that do not fit together")]
    Inconsistent {
        /// The frame's number.
        sequence: u64,
    },
}

/// Writes modlib lines. Keeps its working memory: once warmed it allocates nothing but what the caller's buffer needs.
#[derive(Debug)]
pub struct Writer {
    packer: Packer,
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

impl Writer {
    /// A writer.
    pub fn new() -> Self {
        Self { packer: Packer::new() }
    }

    /// Appends `frame` to `out` as modlib 1.5.0's `JsonCodec` writes it: ASCII, one line, LF at its end.
    ///
    /// JPEG bytes are copied. No network, an unknown result and an empty one become `null`, except for `Segments` and
    /// `Anomaly`, which are always written. Poses without boxes get the extent of their keypoints. Masks are packed with time 0
    /// in their gzip header, so the same frame always gives the same line. A time without a text of its own is written with
    /// six digits; nanoseconds are cut off.
    ///
    /// # Errors
    /// The frame cannot be written; `out` is then as it was.
    pub fn write_line(&mut self, frame: &Frame<'_>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let sequence = frame.meta.sequence;
        if frame.jpeg.is_none() && frame.pixels.is_some() {
            return Err(WriteError::NotCompressed { sequence });
        }
        if !frame.results.is_consistent(frame.side.len()) {
            return Err(WriteError::Inconsistent { sequence });
        }
        out.extend_from_slice(b"{\"timestamp\": ");
        write_timestamp(out, frame.meta);
        write_picture(out, frame);
        self.write_results(out, frame);
        write_tail(out, frame.meta);
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    fn write_results(&mut self, out: &mut Vec<u8>, frame: &Frame<'_>) {
        out.extend_from_slice(b", \"detections\": ");
        let ResultState::Some(kind) = frame.results.state() else {
            out.extend_from_slice(b"null, \"detection_type\": null");
            return;
        };
        match kind {
            ResultKind::Classifications => write_classifications(out, frame.results),
            ResultKind::Detections => write_detections(out, frame.results),
            ResultKind::Poses => write_poses(out, frame.results),
            ResultKind::Segments => self.write_segments(out, frame),
            ResultKind::InstanceSegments => self.write_instances(out, frame),
            ResultKind::Anomaly => self.write_anomaly(out, frame),
            ResultKind::OrientedBoxes => write_oriented(out, frame.results),
        }
        out.extend_from_slice(b", \"detection_type\": ");
        write_string(out, kind.name());
    }

    fn write_segments(&mut self, out: &mut Vec<u8>, frame: &Frame<'_>) {
        let results = frame.results;
        let mask = &frame.side[..pixels(results)];
        let mut seen = [false; 255];
        for &class in mask {
            // 255 is background.
            if let Some(entry) = seen.get_mut(usize::from(class)) {
                *entry = true;
            }
        }
        let found = || (0..255_i64).filter(|&class| seen[class as usize]);
        out.extend_from_slice(b"{\"n_segments\": ");
        write_i64(out, found().count() as i64);
        write_key(out, "indices");
        write_list(out, found(), write_i64);
        write_key(out, "mask");
        self.write_packed(out, mask);
        write_key(out, "mask_shape");
        write_shape(out, results.mask_shape);
        write_compensated(out, results);
    }

    fn write_instances(&mut self, out: &mut Vec<u8>, frame: &Frame<'_>) {
        let results = frame.results;
        out.extend_from_slice(b"{\"n_segments\": ");
        write_i64(out, results.len() as i64);
        write_key(out, "mask_shape");
        write_list(out, results.mask_shape.into_iter().map(i64::from), write_i64);
        write_key(out, "mask_crops");
        write_list(out, results.crops.iter(), |out, crop| {
            let start = crop.offset as usize;
            let end = start + usize::from(crop.width) * usize::from(crop.height);
            self.write_packed(out, &frame.side[start..end]);
        });
        write_key(out, "bbox");
        write_boxes(out, results);
        write_confidence(out, results);
        write_class_id(out, results);
        write_tracker_id(out, results);
        write_compensated(out, results);
    }

    fn write_anomaly(&mut self, out: &mut Vec<u8>, frame: &Frame<'_>) {
        let results = frame.results;
        out.extend_from_slice(b"{\"score\": ");
        write_number(out, results.score, frame.meta.integer_fields.has(IntegerFields::SCORE));
        write_key(out, "heatmap");
        self.write_packed(out, &frame.side[..pixels(results) * 4]);
        write_key(out, "heatmap_shape");
        write_shape(out, results.mask_shape);
        write_compensated(out, results);
    }

    fn write_packed(&mut self, out: &mut Vec<u8>, raw: &[u8]) {
        out.push(b'"');
        self.packer.pack(out, raw);
        out.push(b'"');
    }
}

fn pixels(results: &Results) -> usize {
    let [height, width] = results.mask_shape.map(usize::from);
    height * width
}

fn write_timestamp(out: &mut Vec<u8>, meta: &FrameMeta) {
    if meta.timestamp_text.is_empty() {
        let stamp = Stamp { wall: meta.captured_wall, utc_offset_s: meta.utc_offset_s };
        write_string(out, &stamp::text(stamp));
    } else {
        write_string(out, &meta.timestamp_text);
    }
}

fn write_picture(out: &mut Vec<u8>, frame: &Frame<'_>) {
    let meta = frame.meta;
    write_key(out, "image");
    match frame.jpeg {
        Some(jpeg) => {
            out.extend_from_slice(b"\"data:image/jpeg;base64,");
            write_base64(out, jpeg.bytes);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    write_key(out, "image_type");
    write_optional(out, meta.image_type, |out, kind| write_string(out, kind.name()));
    write_key(out, "width");
    write_optional(out, meta.width, |out, width| write_i64(out, width.into()));
    write_key(out, "height");
    write_optional(out, meta.height, |out, height| write_i64(out, height.into()));
    write_key(out, "channels");
    write_optional(out, meta.channels, |out, channels| write_i64(out, channels.into()));
}

fn write_tail(out: &mut Vec<u8>, meta: &FrameMeta) {
    let integers = meta.integer_fields;
    write_key(out, "new_detection");
    write_bool(out, meta.new_detection);
    write_key(out, "fps");
    write_number(out, meta.fps, integers.has(IntegerFields::FPS));
    write_key(out, "dps");
    write_number(out, meta.dps, integers.has(IntegerFields::DPS));
    write_key(out, "color_format");
    write_optional(out, meta.color_format, |out, format| write_string(out, format.name()));
    write_key(out, "roi");
    write_optional(out, meta.roi, |out, roi| write_roi(out, roi, integers));
    write_key(out, "frame_count");
    write_optional(out, meta.frame_count, write_i64);
}

fn write_roi(out: &mut Vec<u8>, roi: Roi, integers: IntegerFields) {
    out.extend_from_slice(b"{\"left\": ");
    write_number(out, roi.left, integers.has(IntegerFields::ROI_LEFT));
    write_key(out, "top");
    write_number(out, roi.top, integers.has(IntegerFields::ROI_TOP));
    write_key(out, "width");
    write_number(out, roi.width, integers.has(IntegerFields::ROI_WIDTH));
    write_key(out, "height");
    write_number(out, roi.height, integers.has(IntegerFields::ROI_HEIGHT));
    out.push(b'}');
}

fn write_classifications(out: &mut Vec<u8>, results: &Results) {
    out.extend_from_slice(b"{\"confidence\": ");
    write_list(out, results.confidence.iter().copied(), write_f32);
    write_class_id(out, results);
    out.push(b'}');
}

fn write_detections(out: &mut Vec<u8>, results: &Results) {
    out.extend_from_slice(b"{\"bbox\": ");
    write_boxes(out, results);
    write_confidence(out, results);
    write_class_id(out, results);
    write_tracker_id(out, results);
    write_compensated(out, results);
}

fn write_oriented(out: &mut Vec<u8>, results: &Results) {
    out.extend_from_slice(b"{\"bbox\": ");
    write_boxes(out, results);
    write_confidence(out, results);
    write_class_id(out, results);
    write_key(out, "angle");
    write_list(out, results.angle.iter().copied(), write_f32);
    write_tracker_id(out, results);
    write_compensated(out, results);
}

fn write_poses(out: &mut Vec<u8>, results: &Results) {
    let points = usize::from(results.keypoints_per_pose);
    let pose = |row: usize| row * points..(row + 1) * points;
    out.extend_from_slice(b"{\"n_detections\": ");
    write_i64(out, results.len() as i64);
    write_confidence(out, results);
    write_key(out, "keypoints");
    write_list(out, 0..results.len(), |out, row| {
        write_list(out, &results.keypoints[pose(row)], |out, point| write_list(out, point.iter().copied(), write_f32));
    });
    write_key(out, "keypoint_scores");
    write_list(out, 0..results.len(), |out, row| {
        write_list(out, results.keypoint_scores[pose(row)].iter().copied(), write_f32);
    });
    write_key(out, "bbox");
    if results.bbox.is_empty() {
        write_list(out, 0..results.len(), |out, row| {
            write_list(out, keypoint_extent(&results.keypoints[pose(row)]), write_f32);
        });
    } else {
        write_boxes(out, results);
    }
    write_tracker_id(out, results);
    write_compensated(out, results);
}

/// The box around the keypoints of one pose; NaN where a coordinate is NaN, as numpy's minimum and maximum have it, and
/// zeros without keypoints.
fn keypoint_extent(points: &[[f32; 2]]) -> [f32; 4] {
    let Some((&[x, y], others)) = points.split_first() else { return [0.0; 4] };
    let low = |a: f32, b: f32| if b.is_nan() || b < a { b } else { a };
    let high = |a: f32, b: f32| if b.is_nan() || b > a { b } else { a };
    others.iter().fold([x, y, x, y], |[x0, y0, x1, y1], &[x, y]| [low(x0, x), low(y0, y), high(x1, x), high(y1, y)])
}

fn write_boxes(out: &mut Vec<u8>, results: &Results) {
    write_list(out, &results.bbox, |out, bbox| write_list(out, bbox.iter().copied(), write_f32));
}

fn write_confidence(out: &mut Vec<u8>, results: &Results) {
    write_key(out, "confidence");
    write_list(out, results.confidence.iter().copied(), write_f32);
}

fn write_class_id(out: &mut Vec<u8>, results: &Results) {
    write_key(out, "class_id");
    write_list(out, results.class_id.iter().map(|&id| i64::from(id)), write_i64);
}

fn write_tracker_id(out: &mut Vec<u8>, results: &Results) {
    write_key(out, "tracker_id");
    if results.tracker_id.is_empty() {
        out.extend_from_slice(b"null");
    } else {
        write_list(out, results.tracker_id.iter().copied(), write_i64);
    }
}

/// Every result but `Classifications` ends with this.
fn write_compensated(out: &mut Vec<u8>, results: &Results) {
    write_key(out, "_roi_compensated");
    write_bool(out, results.roi_compensated);
    out.push(b'}');
}

/// `[h, w]`, or numpy's `[0]` for nothing.
fn write_shape(out: &mut Vec<u8>, shape: [u16; 2]) {
    let sides = if shape == [0, 0] { &shape[..1] } else { &shape[..] };
    write_list(out, sides.iter().map(|&side| i64::from(side)), write_i64);
}

fn write_key(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b", \"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\": ");
}

fn write_list<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        write(out, item);
    }
    out.push(b']');
}

fn write_optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        Some(value) => write(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn write_number(out: &mut Vec<u8>, value: f64, is_integer: bool) {
    // A value that was set after the mark may be no integer any more.
    if is_integer && value.trunc() == value && value.abs() < 9.2e18 {
        write_i64(out, value as i64);
    } else {
        write_f64(out, value);
    }
}

fn write_bool(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

/// A JSON string in ASCII; other characters as `\uXXXX` of UTF-16, as Python's `ensure_ascii` has it.
fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            ' '..='~' => out.push(character as u8),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let mut escape = heapless::String::<6>::new();
                    let _ = write!(escape, "\\u{unit:04x}");
                    out.extend_from_slice(escape.as_bytes());
                }
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_python_escapes_them() {
        let mut out = Vec::new();
        write_string(&mut out, "a\"\\\n\u{7f}ä€😀\u{1}");
        // json.dumps('a"\\\n\x7fä€😀\x01') of Python 3.11.
        assert_eq!(String::from_utf8(out).unwrap(), r#""a\"\\\n\u007f\u00e4\u20ac\ud83d\ude00\u0001""#);
    }

    #[test]
    fn the_extent_of_keypoints_is_nan_where_one_is() {
        assert_eq!(keypoint_extent(&[[0.5, 0.2], [0.1, 0.9]]), [0.1, 0.2, 0.5, 0.9]);
        let [x0, y0, x1, y1] = keypoint_extent(&[[0.5, 0.2], [f32::NAN, 0.9], [0.3, 0.1]]);
        assert!(x0.is_nan() && x1.is_nan());
        assert_eq!((y0, y1), (0.1, 0.9));
        assert_eq!(keypoint_extent(&[]), [0.0; 4]);
    }
}
