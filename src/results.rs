//! What the network said about one frame, in fixed memory and in columns.
//!
//! All seven result types of modlib share one set of columns, so that a frame is built in place, cleared without
//! freeing, and filtered column by column. Which columns a kind uses stands at [`ResultKind`].

use core::fmt;

use heapless::Vec;

use crate::limits::{BOXES_MAX, KEYPOINTS_MAX, ROWS_MAX};

/// modlib's result types and the columns that they fill (n rows each).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ResultKind {
    /// `confidence`, `class_id`; best first as the network gave them.
    Classifications = 1,
    /// `bbox`, `confidence`, `class_id`, `tracker_id` or none of them.
    Detections = 2,
    /// `confidence`, `keypoints` and `keypoint_scores` (`keypoints_per_pose` each), `bbox` or none, `tracker_id` or none.
    Poses = 3,
    /// The mask in the side plane: one class number a pixel, 255 is background; `mask_shape`.
    Segments = 4,
    /// `bbox`, `confidence`, `class_id`, `crops` into the side plane, `mask_shape`, `tracker_id` or none.
    InstanceSegments = 5,
    /// `score`, the heat map in the side plane: one little-endian `f32` a pixel; `mask_shape`.
    Anomaly = 6,
    /// `bbox` (centre x, centre y, width, height), `angle`, `confidence`, `class_id`, `tracker_id` or none. modlib `OBB`.
    OrientedBoxes = 7,
}

impl ResultKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Classifications,
        Self::Detections,
        Self::Poses,
        Self::Segments,
        Self::InstanceSegments,
        Self::Anomaly,
        Self::OrientedBoxes,
    ];

    /// The kind of the number that files store, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        if code >= 1 && code <= 7 { Some(Self::ALL[code as usize - 1]) } else { None }
    }

    /// The number that files store.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// modlib's `detection_type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classifications => "Classifications",
            Self::Detections => "Detections",
            Self::Poses => "Poses",
            Self::Segments => "Segments",
            Self::InstanceSegments => "InstanceSegments",
            Self::Anomaly => "Anomaly",
            Self::OrientedBoxes => "OBB",
        }
    }
}

impl fmt::Display for ResultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whether there is a result, and of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ResultState {
    /// No network ran.
    #[default]
    Absent,
    /// An imported `null`: no network, or nothing found; modlib's JSON does not tell them apart.
    Unknown,
    /// A network of this kind ran and found nothing.
    Empty(ResultKind),
    /// A network of this kind ran; the columns hold what it found.
    Some(ResultKind),
}

impl ResultState {
    /// The kind, if one is known.
    pub const fn kind(self) -> Option<ResultKind> {
        match self {
            Self::Absent | Self::Unknown => None,
            Self::Empty(kind) | Self::Some(kind) => Some(kind),
        }
    }
}

/// Where the mask of one instance lies in the side plane: `width × height` bytes of 0 or 1, row by row, from `offset`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MaskCrop {
    /// First byte in the side plane.
    pub offset: u32,
    /// Pixels in a row of the crop.
    pub width: u16,
    /// Rows of the crop.
    pub height: u16,
}

/// A row did not fit its column: the frame has more results than the limits allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResultsFull {
    /// Most rows of that kind.
    pub limit: usize,
}

impl fmt::Display for ResultsFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {} results in one frame", self.limit)
    }
}

impl core::error::Error for ResultsFull {}

/// The results of one frame. Columns are public for those who fill them; readers use the views
/// ([`Frame::detections`](crate::Frame::detections) and its siblings), which check nothing because
/// [`Results::is_consistent`] holds for every frame that the crate lends.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    state: ResultState,
    /// True once coordinates are relative to the picture instead of the ROI. modlib `_roi_compensated`.
    pub roi_compensated: bool,
    /// Boxes as the network gave them, bit-exact: `[x0, y0, x1, y1]`, or `[cx, cy, w, h]` for oriented boxes; fractions
    /// of the ROI, or of the picture once `roi_compensated`. Not forced into 0..1. Empty, or one a row.
    pub bbox: Vec<[f32; 4], BOXES_MAX>,
    /// One a row; may be NaN in imported recordings.
    pub confidence: Vec<f32, ROWS_MAX>,
    /// Index into the labels; empty for poses, else one a row.
    pub class_id: Vec<i32, ROWS_MAX>,
    /// Empty when nothing tracks, else one a row; -1 is "not tracked".
    pub tracker_id: Vec<i64, BOXES_MAX>,
    /// Oriented boxes: radians, one a row.
    pub angle: Vec<f32, BOXES_MAX>,
    /// Poses: points in each row.
    pub keypoints_per_pose: u16,
    /// Poses: `[x, y]`, row after row.
    pub keypoints: Vec<[f32; 2], KEYPOINTS_MAX>,
    /// Poses: one for each keypoint.
    pub keypoint_scores: Vec<f32, KEYPOINTS_MAX>,
    /// Instances: one mask a row.
    pub crops: Vec<MaskCrop, BOXES_MAX>,
    /// `[height, width]` of the segmentation mask, of the canvas of the instances, or of the heat map; `[0, 0]` if empty.
    pub mask_shape: [u16; 2],
    /// Anomaly score.
    pub score: f64,
    /// Rows that the source had and that exceeded the limits; they are not here. Counted, reported, stored.
    pub truncated: u32,
}

impl Default for Results {
    fn default() -> Self {
        Self::new()
    }
}

impl Results {
    /// No result; takes no memory beyond the value itself.
    pub const fn new() -> Self {
        Self {
            state: ResultState::Absent,
            roi_compensated: false,
            bbox: Vec::new(),
            confidence: Vec::new(),
            class_id: Vec::new(),
            tracker_id: Vec::new(),
            angle: Vec::new(),
            keypoints_per_pose: 0,
            keypoints: Vec::new(),
            keypoint_scores: Vec::new(),
            crops: Vec::new(),
            mask_shape: [0, 0],
            score: 0.0,
            truncated: 0,
        }
    }

    /// Whether there is a result.
    pub const fn state(&self) -> ResultState {
        self.state
    }

    /// Empties all columns and sets the state.
    pub fn reset(&mut self, state: ResultState) {
        self.state = state;
        self.roi_compensated = false;
        self.bbox.clear();
        self.confidence.clear();
        self.class_id.clear();
        self.tracker_id.clear();
        self.angle.clear();
        self.keypoints_per_pose = 0;
        self.keypoints.clear();
        self.keypoint_scores.clear();
        self.crops.clear();
        self.mask_shape = [0, 0];
        self.score = 0.0;
        self.truncated = 0;
    }

    /// Begins a result of `kind` with no rows yet.
    pub fn begin(&mut self, kind: ResultKind) {
        self.reset(match kind {
            ResultKind::Segments | ResultKind::Anomaly => ResultState::Some(kind),
            _ => ResultState::Empty(kind),
        });
    }

    /// Number of rows; 0 for segmentations and anomalies, which have none.
    pub fn len(&self) -> usize {
        self.confidence.len()
    }

    /// True when there are no rows.
    pub fn is_empty(&self) -> bool {
        self.confidence.is_empty()
    }

    /// Adds a box after [`begin`](Self::begin)`(Detections)`. Set `tracker_id` for all rows or for none.
    ///
    /// # Errors
    /// [`ResultsFull`] after `BOXES_MAX` rows; the row is counted in `truncated`.
    pub fn push_detection(
        &mut self,
        bbox: [f32; 4],
        confidence: f32,
        class_id: i32,
        tracker_id: Option<i64>,
    ) -> Result<(), ResultsFull> {
        self.room_for_box()?;
        let _ = self.bbox.push(bbox);
        let _ = self.confidence.push(confidence);
        let _ = self.class_id.push(class_id);
        if let Some(id) = tracker_id {
            let _ = self.tracker_id.push(id);
        }
        self.settle();
        Ok(())
    }

    /// Adds an oriented box `[cx, cy, w, h]` after [`begin`](Self::begin)`(OrientedBoxes)`.
    ///
    /// # Errors
    /// As [`push_detection`](Self::push_detection).
    pub fn push_oriented_box(
        &mut self,
        bbox: [f32; 4],
        angle: f32,
        confidence: f32,
        class_id: i32,
        tracker_id: Option<i64>,
    ) -> Result<(), ResultsFull> {
        self.push_detection(bbox, confidence, class_id, tracker_id)?;
        let _ = self.angle.push(angle);
        Ok(())
    }

    /// Adds an instance whose mask already lies in the side plane, after [`begin`](Self::begin)`(InstanceSegments)`.
    ///
    /// # Errors
    /// As [`push_detection`](Self::push_detection).
    pub fn push_instance(
        &mut self,
        bbox: [f32; 4],
        crop: MaskCrop,
        confidence: f32,
        class_id: i32,
        tracker_id: Option<i64>,
    ) -> Result<(), ResultsFull> {
        self.push_detection(bbox, confidence, class_id, tracker_id)?;
        let _ = self.crops.push(crop);
        Ok(())
    }

    /// Adds a class after [`begin`](Self::begin)`(Classifications)`.
    ///
    /// # Errors
    /// [`ResultsFull`] after `ROWS_MAX` rows; the row is counted in `truncated`.
    pub fn push_classification(&mut self, confidence: f32, class_id: i32) -> Result<(), ResultsFull> {
        if self.confidence.is_full() {
            return Err(self.full(ROWS_MAX));
        }
        let _ = self.confidence.push(confidence);
        let _ = self.class_id.push(class_id);
        self.settle();
        Ok(())
    }

    /// Adds a person after [`begin`](Self::begin)`(Poses)`. All persons of a frame have the same number of keypoints, and
    /// either all or none a box, and all or none a tracker.
    ///
    /// # Errors
    /// [`ResultsFull`] after `BOXES_MAX` rows or `KEYPOINTS_MAX` keypoints; the row is counted in `truncated`.
    ///
    /// # Panics
    /// When `keypoints` and `scores` differ in length, or from the first person's.
    pub fn push_pose(
        &mut self,
        confidence: f32,
        keypoints: &[[f32; 2]],
        scores: &[f32],
        bbox: Option<[f32; 4]>,
        tracker_id: Option<i64>,
    ) -> Result<(), ResultsFull> {
        assert_eq!(keypoints.len(), scores.len(), "one score a keypoint");
        let first = self.confidence.is_empty();
        assert!(first || keypoints.len() == usize::from(self.keypoints_per_pose), "poses of one frame are alike");
        self.room_for_box()?;
        if KEYPOINTS_MAX - self.keypoints.len() < keypoints.len() {
            return Err(self.full(KEYPOINTS_MAX / keypoints.len().max(1)));
        }
        self.keypoints_per_pose = keypoints.len() as u16;
        let _ = self.keypoints.extend_from_slice(keypoints);
        let _ = self.keypoint_scores.extend_from_slice(scores);
        let _ = self.confidence.push(confidence);
        if let Some(bbox) = bbox {
            let _ = self.bbox.push(bbox);
        }
        if let Some(id) = tracker_id {
            let _ = self.tracker_id.push(id);
        }
        self.settle();
        Ok(())
    }

    /// Sets the state from what the columns hold, after they were filled directly.
    pub fn settle(&mut self) {
        if let ResultState::Empty(kind) | ResultState::Some(kind) = self.state {
            let rows = !self.confidence.is_empty() || matches!(kind, ResultKind::Segments | ResultKind::Anomaly);
            self.state = if rows { ResultState::Some(kind) } else { ResultState::Empty(kind) };
        }
    }

    /// True when the columns fit together and every mask lies inside a side plane of `side_bytes` bytes. Whoever fills
    /// columns from outside bytes asks this before the frame is lent.
    pub fn is_consistent(&self, side_bytes: usize) -> bool {
        let n = self.confidence.len();
        let column = |len: usize| len == n;
        let optional = |len: usize| len == 0 || len == n;
        let no_rows = n == 0 && self.bbox.is_empty() && self.class_id.is_empty();
        let mask_pixels = usize::from(self.mask_shape[0]) * usize::from(self.mask_shape[1]);
        let (kind, some) = match self.state {
            ResultState::Absent | ResultState::Unknown => return no_rows,
            ResultState::Empty(kind) => (kind, false),
            ResultState::Some(kind) => (kind, true),
        };
        if !optional(self.tracker_id.len()) {
            return false;
        }
        match kind {
            ResultKind::Segments => some && no_rows && mask_pixels <= side_bytes,
            ResultKind::Anomaly => some && no_rows && mask_pixels * 4 <= side_bytes,
            _ if some == (n == 0) => false,
            ResultKind::Classifications => column(self.class_id.len()) && self.bbox.is_empty(),
            ResultKind::Detections => column(self.class_id.len()) && column(self.bbox.len()),
            ResultKind::OrientedBoxes => {
                column(self.class_id.len()) && column(self.bbox.len()) && column(self.angle.len())
            }
            ResultKind::Poses => {
                let points = n * usize::from(self.keypoints_per_pose);
                optional(self.bbox.len())
                    && self.class_id.is_empty()
                    && self.keypoints.len() == points
                    && self.keypoint_scores.len() == points
            }
            ResultKind::InstanceSegments => {
                column(self.class_id.len())
                    && column(self.bbox.len())
                    && column(self.crops.len())
                    && self.crops.iter().all(|crop| {
                        let pixels = usize::from(crop.width) * usize::from(crop.height);
                        crop.offset as usize + pixels <= side_bytes
                    })
            }
        }
    }

    fn room_for_box(&mut self) -> Result<(), ResultsFull> {
        if self.confidence.len() < BOXES_MAX { Ok(()) } else { Err(self.full(BOXES_MAX)) }
    }

    fn full(&mut self, limit: usize) -> ResultsFull {
        self.truncated = self.truncated.saturating_add(1);
        ResultsFull { limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_begun_result_is_empty_until_it_has_a_row() {
        let mut results = Results::new();
        assert_eq!(results.state(), ResultState::Absent);
        results.begin(ResultKind::Detections);
        assert_eq!(results.state(), ResultState::Empty(ResultKind::Detections));
        results.push_detection([0.0; 4], 0.5, 1, None).unwrap();
        assert_eq!(results.state(), ResultState::Some(ResultKind::Detections));
        assert!(results.is_consistent(0));
    }

    #[test]
    fn a_row_too_many_is_refused_and_counted() {
        let mut results = Results::new();
        results.begin(ResultKind::Detections);
        for _ in 0..BOXES_MAX {
            results.push_detection([0.0; 4], 0.5, 1, Some(-1)).unwrap();
        }
        let full = results.push_detection([0.0; 4], 0.5, 1, Some(-1));
        assert_eq!(full, Err(ResultsFull { limit: BOXES_MAX }));
        assert_eq!((results.len(), results.truncated), (BOXES_MAX, 1));
        assert!(results.is_consistent(0));
    }

    #[test]
    fn keypoints_have_a_limit_of_their_own() {
        let mut results = Results::new();
        results.begin(ResultKind::Poses);
        let (points, scores) = ([[0.5; 2]; 133], [0.5; 133]);
        let fitting = KEYPOINTS_MAX / 133;
        for _ in 0..fitting {
            results.push_pose(0.9, &points, &scores, None, None).unwrap();
        }
        assert_eq!(results.push_pose(0.9, &points, &scores, None, None), Err(ResultsFull { limit: fitting }));
        assert!(results.is_consistent(0));
    }

    #[test]
    fn columns_that_do_not_fit_together_are_noticed() {
        let mut results = Results::new();
        results.begin(ResultKind::InstanceSegments);
        let crop = MaskCrop { offset: 4, width: 3, height: 2 };
        results.push_instance([0.0; 4], crop, 0.5, 0, None).unwrap();
        assert!(results.is_consistent(10));
        assert!(!results.is_consistent(9), "the mask ends outside the side plane");
        results.class_id.clear();
        assert!(!results.is_consistent(10));
    }
}
