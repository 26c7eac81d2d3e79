//! Comparing what two versions of an algorithm saw: frames matched by sequence, rows matched by overlap.
//!
//! Two results are *equal* when every row is bit for bit the same, in any order of rows; everything else is told apart
//! as added, lost, moved, another class, another confidence, another track. Boxes are compared as stored when both
//! frames mean the same region by them, else in picture coordinates.

mod frames;
pub mod overlap;
mod timelines;

use std::fmt;

use serde::Serialize;

pub use frames::compare;
pub use timelines::{DiffReport, Difference, Side, compare_timelines};

use crate::results::ResultState;

/// What counts as the same object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DiffSettings {
    /// Overlap (intersection over union) from which two boxes are one object, `0.0..=1.0`; default 0.5, as in PASCAL VOC.
    pub iou_min: f32,
}

impl Default for DiffSettings {
    fn default() -> Self {
        Self { iou_min: 0.5 }
    }
}

/// One row of a result, for showing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its number in the frame, from 0.
    pub index: usize,
    /// Its class, unless the kind has none.
    pub class_id: Option<i32>,
    /// Name of the class, if known.
    pub label: Option<String>,
    /// Its confidence.
    pub confidence: f32,
    /// `[x0, y0, x1, y1]` as fractions of the picture; for oriented boxes `[centre x, centre y, width, height]`.
    pub bbox: Option<[f32; 4]>,
    /// Radians, for oriented boxes.
    pub angle: Option<f32>,
    /// Its track.
    pub tracker_id: Option<i64>,
}

/// Two rows that are one object, and in what they differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// In the first recording.
    pub a: Row,
    /// In the second.
    pub b: Row,
    /// How much the boxes overlap; absent for classifications.
    pub iou: Option<f32>,
    /// True when box, angle or keypoints differ.
    pub moved: bool,
    /// True when the classes differ.
    pub class_changed: bool,
    /// `b - a`; zero when they are bit for bit the same, not a number when either is none.
    pub confidence_delta: f32,
    /// True when the confidences differ.
    pub confidence_changed: bool,
    /// True when the tracks differ.
    pub tracker_changed: bool,
    /// Poses: the largest distance that a keypoint moved, in fractions of the picture.
    pub keypoint_distance_max: Option<f32>,
    /// Instances: pixels in which masks of the same size differ; `None` when there are no masks or their sizes differ.
    pub mask_pixels_changed: Option<u64>,
    /// True when masks or keypoint scores differ.
    pub detail_changed: bool,
}

impl Change {
    /// True when the rows differ in nothing.
    pub const fn is_nothing(&self) -> bool {
        !(self.moved || self.class_changed || self.confidence_changed || self.tracker_changed || self.detail_changed)
    }
}

/// What happened to one row.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum RowChange {
    /// Only the second recording has it.
    Added(Row),
    /// Only the first recording has it.
    Lost(Row),
    /// Both have it, and it differs.
    Changed(Box<Change>),
}

/// How results without rows differ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum PlaneChange {
    /// The planes have different shapes, `[height, width]`.
    Shape {
        /// In the first recording.
        a: [u16; 2],
        /// In the second.
        b: [u16; 2],
    },
    /// Segmentation: pixels of another class.
    Segments {
        /// How many.
        pixels: u64,
        /// Of how many.
        of: u64,
    },
    /// Anomaly.
    Anomaly {
        /// `b - a` of the scores.
        score_delta: f64,
        /// Largest difference between two values of the heat maps.
        heat_max: f32,
    },
}

/// How the results of two frames with the same sequence number differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FrameDiff {
    /// Their sequence number.
    pub sequence: u64,
    /// State and kind of the results, when they are not alike: then nothing else is compared.
    pub states: Option<(String, String)>,
    /// Rows that are bit for bit the same.
    pub same: u64,
    /// The other rows: those of the first recording in their order, then the added ones.
    pub rows: Vec<RowChange>,
    /// Segmentations and anomalies.
    pub plane: Option<PlaneChange>,
    /// Classifications: the first class of each, when they differ.
    pub best_class: Option<(i32, i32)>,
    /// Rows beyond the limits, when their numbers differ.
    pub truncated: Option<(u32, u32)>,
}

impl FrameDiff {
    /// True when the results are the same.
    pub fn is_equal(&self) -> bool {
        self.states.is_none() && self.rows.is_empty() && self.plane.is_none() && self.truncated.is_none()
    }
}

fn state_text(state: ResultState) -> String {
    match state {
        ResultState::Absent => "no network".into(),
        ResultState::Unknown => "unknown".into(),
        ResultState::Empty(kind) => format!("{kind}, nothing found"),
        ResultState::Some(kind) => kind.to_string(),
    }
}

impl fmt::Display for Row {
    /// `person 0.83 [0.100 0.200 0.300 0.400] track 7`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.label, self.class_id) {
            (Some(label), _) => write!(f, "{label} ")?,
            (None, Some(class)) => write!(f, "class {class} ")?,
            (None, None) => write!(f, "row {} ", self.index)?,
        }
        write!(f, "{:.3}", self.confidence)?;
        if let Some([x0, y0, x1, y1]) = self.bbox {
            write!(f, " [{x0:.3} {y0:.3} {x1:.3} {y1:.3}]")?;
        }
        if let Some(angle) = self.angle {
            write!(f, " angle {angle:.3}")?;
        }
        if let Some(track) = self.tracker_id {
            write!(f, " track {track}")?;
        }
        Ok(())
    }
}

impl fmt::Display for RowChange {
    /// `+ row`, `- row`, or `~ row -> row` with what changed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self {
            Self::Added(row) => return write!(f, "+ {row}"),
            Self::Lost(row) => return write!(f, "- {row}"),
            Self::Changed(change) => change,
        };
        write!(f, "~ {} -> {}:", change.a, change.b)?;
        if let (true, Some(iou)) = (change.moved, change.iou) {
            write!(f, " moved (overlap {iou:.3})")?;
        }
        if let Some(distance) = change.keypoint_distance_max.filter(|&d| d > 0.0) {
            write!(f, " keypoints by up to {distance:.4}")?;
        }
        if change.class_changed {
            write!(f, " class")?;
        }
        if change.confidence_changed {
            write!(f, " confidence {:+.4}", change.confidence_delta)?;
        }
        if change.tracker_changed {
            write!(f, " track")?;
        }
        match change.mask_pixels_changed.filter(|&pixels| pixels > 0) {
            Some(pixels) => write!(f, " mask in {pixels} pixels"),
            None if change.detail_changed => write!(f, " details"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for FrameDiff {
    /// `#12: + row; - row`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}:", self.sequence)?;
        if let Some((a, b)) = &self.states {
            return write!(f, " {a} -> {b}");
        }
        for row in &self.rows {
            write!(f, "\n  {row}")?;
        }
        match self.plane {
            Some(PlaneChange::Shape { a, b }) => write!(f, " shape {a:?} -> {b:?}")?,
            Some(PlaneChange::Segments { pixels, of }) => write!(f, " {pixels} of {of} pixels of another class")?,
            Some(PlaneChange::Anomaly { score_delta, heat_max }) => {
                write!(f, " score {score_delta:+.4}, heat map by up to {heat_max:.4}")?;
            }
            None => {}
        }
        if let Some((a, b)) = self.best_class {
            write!(f, "\n  best class {a} -> {b}")?;
        }
        if let Some((a, b)) = self.truncated {
            write!(f, "\n  rows beyond the limits {a} -> {b}")?;
        }
        Ok(())
    }
}
