//! Results on disk: a fixed header and one array a column, so that reading is one pass of copies.

use super::format::RecordError;
use crate::limits::{BOXES_MAX, KEYPOINTS_MAX, ROWS_MAX};
use crate::results::{MaskCrop, ResultKind, ResultState, Results};

const HEADER_BYTES: usize = 40;
const SCHEMA: u16 = 1;

/// Largest results section.
pub const COLUMNS_BYTES_MAX: usize =
    HEADER_BYTES + BOXES_MAX * (8 + 16 + 4 + 8) + ROWS_MAX * (4 + 4) + KEYPOINTS_MAX * (8 + 4);

const WRONG: RecordError = RecordError::Body { what: "results" };

/// Writes the results into `out` and returns the length; 0 when there is no result at all.
///
/// # Panics
/// When `out` is shorter than [`COLUMNS_BYTES_MAX`].
pub fn write(results: &Results, out: &mut [u8]) -> usize {
    let (state, kind) = match results.state() {
        ResultState::Absent => return 0,
        ResultState::Unknown => (1, 0),
        ResultState::Empty(kind) => (2, kind.code()),
        ResultState::Some(kind) => (3, kind.code()),
    };
    let r = results;
    out[0..2].copy_from_slice(&SCHEMA.to_le_bytes());
    out[2..6].copy_from_slice(&[state, kind, u8::from(r.roi_compensated), 0]);
    let rows = [
        r.tracker_id.len(),
        r.bbox.len(),
        r.confidence.len(),
        r.class_id.len(),
        r.angle.len(),
        r.keypoints.len(),
        r.keypoint_scores.len(),
        r.crops.len(),
    ];
    out[6..8].copy_from_slice(&r.keypoints_per_pose.to_le_bytes());
    for (out, rows) in out[8..24].chunks_exact_mut(2).zip(rows) {
        out.copy_from_slice(&(rows as u16).to_le_bytes());
    }
    out[24..26].copy_from_slice(&r.mask_shape[0].to_le_bytes());
    out[26..28].copy_from_slice(&r.mask_shape[1].to_le_bytes());
    out[28..32].copy_from_slice(&r.truncated.to_le_bytes());
    out[32..40].copy_from_slice(&r.score.to_le_bytes());
    let mut at = HEADER_BYTES;
    at = put(out, at, &r.tracker_id, |v| v.to_le_bytes());
    at = put(out, at, r.bbox.as_flattened(), |v| v.to_le_bytes());
    at = put(out, at, &r.confidence, |v| v.to_le_bytes());
    at = put(out, at, &r.class_id, |v| v.to_le_bytes());
    at = put(out, at, &r.angle, |v| v.to_le_bytes());
    at = put(out, at, r.keypoints.as_flattened(), |v| v.to_le_bytes());
    at = put(out, at, &r.keypoint_scores, |v| v.to_le_bytes());
    put(out, at, &r.crops, |crop| {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&crop.offset.to_le_bytes());
        bytes[4..6].copy_from_slice(&crop.width.to_le_bytes());
        bytes[6..].copy_from_slice(&crop.height.to_le_bytes());
        bytes
    })
}

fn put<T: Copy, const N: usize>(out: &mut [u8], at: usize, column: &[T], bytes: impl Fn(T) -> [u8; N]) -> usize {
    let end = at + column.len() * N;
    for (out, &value) in out[at..end].chunks_exact_mut(N).zip(column) {
        out.copy_from_slice(&bytes(value));
    }
    end
}

/// Number of rows of a results section, unchecked beyond its checksum.
pub fn rows(bytes: &[u8]) -> u64 {
    bytes.get(12..14).map_or(0, |rows| u16::from_le_bytes([rows[0], rows[1]]).into())
}

/// Reads results; `bytes` empty: no result at all. `side_bytes`: length of the frame's side section.
///
/// # Errors
/// [`RecordError::Body`] when the columns are longer than the section or the limits, or contradict each other; `results` is
/// then empty.
pub fn read(bytes: &[u8], side_bytes: usize, results: &mut Results) -> Result<(), RecordError> {
    results.reset(ResultState::Absent);
    if bytes.is_empty() {
        return Ok(());
    }
    let read = fill(bytes, results);
    if read.is_none() || !results.is_consistent(side_bytes) {
        results.reset(ResultState::Absent);
        return Err(WRONG);
    }
    Ok(())
}

fn fill(bytes: &[u8], r: &mut Results) -> Option<()> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let rows = |column: usize| usize::from(u16_at(8 + 2 * column));
    if u16_at(0) == 0 {
        return None;
    }
    let kind = ResultKind::from_code(header[3]);
    r.reset(match header[2] {
        0 => ResultState::Absent,
        1 => ResultState::Unknown,
        2 => ResultState::Empty(kind?),
        3 => ResultState::Some(kind?),
        _ => return None,
    });
    r.roi_compensated = header[4] & 1 != 0;
    r.keypoints_per_pose = u16_at(6);
    r.mask_shape = [u16_at(24), u16_at(26)];
    r.truncated = u32::from_le_bytes(*header[28..].first_chunk()?);
    r.score = f64::from_le_bytes(*header[32..].first_chunk()?);
    let mut rest = &bytes[HEADER_BYTES..];
    take(&mut rest, rows(0), &mut r.tracker_id, i64::from_le_bytes)?;
    take(&mut rest, rows(1), &mut r.bbox, |b: [u8; 16]| [0, 4, 8, 12].map(|i| f32_at(&b, i)))?;
    take(&mut rest, rows(2), &mut r.confidence, f32::from_le_bytes)?;
    take(&mut rest, rows(3), &mut r.class_id, i32::from_le_bytes)?;
    take(&mut rest, rows(4), &mut r.angle, f32::from_le_bytes)?;
    take(&mut rest, rows(5), &mut r.keypoints, |b: [u8; 8]| [0, 4].map(|i| f32_at(&b, i)))?;
    take(&mut rest, rows(6), &mut r.keypoint_scores, f32::from_le_bytes)?;
    take(&mut rest, rows(7), &mut r.crops, |b: [u8; 8]| MaskCrop {
        offset: u32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        width: u16::from_le_bytes([b[4], b[5]]),
        height: u16::from_le_bytes([b[6], b[7]]),
    })
}

fn f32_at(bytes: &[u8], at: usize) -> f32 {
    f32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Moves `rows` values of `N` bytes each from `rest` into `column`.
fn take<T, const N: usize, const CAPACITY: usize>(
    rest: &mut &[u8],
    rows: usize,
    column: &mut heapless::Vec<T, CAPACITY>,
    value: impl Fn([u8; N]) -> T,
) -> Option<()> {
    let bytes = rest.get(..rows * N).filter(|_| rows <= CAPACITY)?;
    *rest = &rest[rows * N..];
    for bytes in bytes.chunks_exact(N) {
        let _ = column.push(value(*bytes.first_chunk()?));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(results: &Results, side_bytes: usize) -> Results {
        let mut bytes = vec![0; COLUMNS_BYTES_MAX];
        let len = write(results, &mut bytes);
        let mut back = Results::new();
        read(&bytes[..len], side_bytes, &mut back).unwrap();
        for cut in 1..len {
            assert!(read(&bytes[..cut], side_bytes, &mut Results::new()).is_err(), "cut at {cut} of {len}");
        }
        back
    }

    #[test]
    fn each_state_comes_back() {
        for state in [ResultState::Absent, ResultState::Unknown, ResultState::Empty(ResultKind::Poses)] {
            let mut results = Results::new();
            results.reset(state);
            assert_eq!(round_trip(&results, 0).state(), state);
        }
    }

    #[test]
    fn boxes_come_back_bit_by_bit() {
        let mut results = Results::new();
        results.begin(ResultKind::Detections);
        results.roi_compensated = true;
        results.push_detection([f32::NAN, -0.0, f32::INFINITY, 1e-45], f32::NAN, -3, Some(-1)).unwrap();
        let back = round_trip(&results, 0);
        let bits = |r: &Results| r.bbox[0].map(f32::to_bits);
        assert_eq!(bits(&back), bits(&results));
        assert_eq!((back.class_id[0], back.tracker_id[0], back.roi_compensated), (-3, -1, true));
    }

    #[test]
    fn instances_poses_and_oriented_boxes_come_back() {
        let mut results = Results::new();
        results.begin(ResultKind::InstanceSegments);
        results.mask_shape = [4, 5];
        results.push_instance([0.5; 4], MaskCrop { offset: 1, width: 3, height: 2 }, 0.5, 1, None).unwrap();
        assert_eq!(round_trip(&results, 7), results);
        results.begin(ResultKind::Poses);
        results.push_pose(0.9, &[[0.1, 0.2]; 17], &[0.5; 17], None, Some(4)).unwrap();
        assert_eq!(round_trip(&results, 0), results);
        results.begin(ResultKind::OrientedBoxes);
        results.push_oriented_box([0.5; 4], 1.5, 0.5, 1, None).unwrap();
        assert_eq!(round_trip(&results, 0), results);
        results.begin(ResultKind::Anomaly);
        (results.mask_shape, results.score) = ([2, 2], 0.75);
        assert_eq!(round_trip(&results, 16), results);
    }

    #[test]
    fn a_mask_outside_its_side_section_is_refused() {
        let mut results = Results::new();
        results.begin(ResultKind::Segments);
        results.mask_shape = [4, 4];
        let mut bytes = vec![0; COLUMNS_BYTES_MAX];
        let len = write(&results, &mut bytes);
        assert!(read(&bytes[..len], 16, &mut results).is_ok());
        assert_eq!(read(&bytes[..len], 15, &mut results), Err(WRONG));
        assert_eq!(results.state(), ResultState::Absent);
    }

    #[test]
    fn more_rows_than_the_limit_are_refused() {
        let mut bytes = vec![0; 2 * COLUMNS_BYTES_MAX];
        bytes[..4].copy_from_slice(&[1, 0, 3, 2]);
        bytes[8..10].copy_from_slice(&(BOXES_MAX as u16 + 1).to_le_bytes());
        assert_eq!(read(&bytes, 0, &mut Results::new()), Err(WRONG));
    }
}
