//! What `--json` prints of records; `docs/json.md` is the schema.
//!
//! Everything of a frame stems from its own record and from nothing else (labels, which stand in the session header, are
//! in `info --json`), plus the record's offset. Instants of 64 bits are text, since JSON readers round such numbers.

use kinora::event::Event;
use kinora::frame::{Frame, Roi};
use kinora::ledger::Loss;
use kinora::results::{ResultKind, ResultState};
use kinora::view::Rows;
use kinora::{ClockPair, Timestamp, WallTime};
use serde::{Serialize, Serializer};

use super::units::show_utc;

/// An instant as text.
#[derive(Clone, Copy, Debug)]
pub struct Ns(pub i64);

impl Serialize for Ns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl From<Timestamp> for Ns {
    fn from(at: Timestamp) -> Self {
        Self(at.as_ns())
    }
}

impl From<WallTime> for Ns {
    fn from(wall: WallTime) -> Self {
        Self(wall.as_utc_ns())
    }
}

/// One frame, as `cat --json` and `play --print json` print it.
#[derive(Debug, Serialize)]
pub struct FrameJson<'a> {
    record: &'static str,
    offset: Option<u64>,
    sequence: u64,
    captured_ns: Ns,
    utc_ns: Ns,
    utc: String,
    utc_offset_s: i32,
    timestamp_text: Option<&'a str>,
    image_type: Option<&'static str>,
    width: Option<u32>,
    height: Option<u32>,
    channels: Option<u8>,
    color_format: Option<&'static str>,
    picture: Option<PictureJson>,
    roi: Option<RoiJson>,
    new_detection: bool,
    fps: f64,
    dps: f64,
    frame_count: Option<i64>,
    state: &'static str,
    kind: Option<&'static str>,
    roi_compensated: bool,
    truncated: u32,
    mask_shape: Option<[u16; 2]>,
    score: Option<f64>,
    classes: Option<Vec<u8>>,
    detections: Vec<RowJson>,
    side_bytes: usize,
    sensor_bytes: usize,
}

/// Shape and size of a stored picture.
#[derive(Debug, Serialize)]
struct PictureJson {
    format: &'static str,
    width: u32,
    height: u32,
    bytes: usize,
}

#[derive(Debug, Serialize)]
struct RoiJson {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

/// One row of a result. Which fields there are depends on the kind.
#[derive(Debug, Default, Serialize)]
struct RowJson {
    confidence: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    class_id: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracker_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bbox: Option<[f32; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bbox_stored: Option<[f32; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    angle: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keypoints: Option<Vec<[f32; 2]>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keypoint_scores: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask_size: Option<[u16; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mask_pixels: Option<usize>,
}

impl<'a> FrameJson<'a> {
    /// `offset`: where the frame's record begins in its file, if it comes from one.
    pub fn new(frame: &Frame<'a>, offset: Option<u64>) -> Self {
        let meta = frame.meta;
        let state = frame.results.state();
        let shape = match state {
            ResultState::Some(ResultKind::Segments | ResultKind::InstanceSegments | ResultKind::Anomaly) => {
                Some(frame.results.mask_shape)
            }
            _ => None,
        };
        Self {
            record: "frame",
            offset,
            sequence: meta.sequence,
            captured_ns: meta.captured_at.into(),
            utc_ns: meta.captured_wall.into(),
            utc: show_utc(meta.captured_wall),
            utc_offset_s: meta.utc_offset_s,
            timestamp_text: Some(meta.timestamp_text.as_str()).filter(|text| !text.is_empty()),
            image_type: meta.image_type.map(|kind| kind.name()),
            width: meta.width,
            height: meta.height,
            channels: meta.channels,
            color_format: meta.color_format.map(|format| format.name()),
            picture: picture(frame),
            roi: meta.roi.map(|Roi { left, top, width, height }| RoiJson { left, top, width, height }),
            new_detection: meta.new_detection,
            fps: meta.fps,
            dps: meta.dps,
            frame_count: meta.frame_count,
            state: match state {
                ResultState::Absent => "absent",
                ResultState::Unknown => "unknown",
                ResultState::Empty(_) => "empty",
                ResultState::Some(_) => "some",
            },
            kind: state.kind().map(|kind| kind.name()),
            roi_compensated: frame.results.roi_compensated,
            truncated: frame.results.truncated,
            mask_shape: shape,
            score: frame.anomaly().map(|anomaly| anomaly.score),
            classes: frame.segments().map(|segments| {
                let seen = segments.classes();
                (0..=255).filter(|&class| seen[usize::from(class)]).collect()
            }),
            detections: rows(frame),
            side_bytes: frame.side.len(),
            sensor_bytes: frame.sensor.len(),
        }
    }
}

fn picture(frame: &Frame<'_>) -> Option<PictureJson> {
    if let Some(jpeg) = frame.jpeg {
        let (width, height, bytes) = (jpeg.width, jpeg.height, jpeg.bytes.len());
        return Some(PictureJson { format: "JPEG", width, height, bytes });
    }
    let pixels = frame.pixels?;
    let (width, height, bytes) = (pixels.info.width, pixels.info.height, pixels.bytes.len());
    Some(PictureJson { format: pixels.info.format.name(), width, height, bytes })
}

fn rows(frame: &Frame<'_>) -> Vec<RowJson> {
    let ResultState::Some(kind) = frame.results.state() else { return Vec::new() };
    match kind {
        ResultKind::Classifications => frame
            .classifications()
            .iter()
            .map(|row| RowJson { confidence: row.confidence, class_id: Some(row.class_id), ..RowJson::default() })
            .collect(),
        ResultKind::Detections => frame
            .detections()
            .iter()
            .map(|row| RowJson {
                confidence: row.confidence,
                class_id: Some(row.class_id),
                tracker_id: row.tracker_id,
                bbox: Some(row.in_picture()),
                bbox_stored: Some(row.bbox),
                ..RowJson::default()
            })
            .collect(),
        ResultKind::OrientedBoxes => frame
            .oriented_boxes()
            .iter()
            .map(|row| RowJson {
                confidence: row.confidence,
                class_id: Some(row.class_id),
                tracker_id: row.tracker_id,
                bbox: Some(row.in_picture()),
                bbox_stored: Some(row.bbox),
                angle: Some(row.angle),
                ..RowJson::default()
            })
            .collect(),
        ResultKind::InstanceSegments => frame
            .instances()
            .iter()
            .map(|row| RowJson {
                confidence: row.confidence,
                class_id: Some(row.class_id),
                tracker_id: row.tracker_id,
                bbox: Some(row.in_picture()),
                bbox_stored: Some(row.bbox),
                mask_size: Some([row.crop.height, row.crop.width]),
                mask_pixels: Some(row.mask.iter().filter(|&&pixel| pixel != 0).count()),
                ..RowJson::default()
            })
            .collect(),
        ResultKind::Poses => poses(frame),
        ResultKind::Segments | ResultKind::Anomaly => Vec::new(),
    }
}

fn poses(frame: &Frame<'_>) -> Vec<RowJson> {
    let view = frame.poses();
    let row = |(index, pose): (usize, kinora::view::Pose<'_>)| RowJson {
        confidence: pose.confidence,
        tracker_id: pose.tracker_id,
        bbox: view.picture_box(index),
        bbox_stored: pose.bbox,
        keypoints: Some((0..pose.keypoints.len()).filter_map(|point| pose.keypoint_in_picture(point)).collect()),
        keypoint_scores: Some(pose.scores.to_vec()),
        ..RowJson::default()
    };
    view.iter().enumerate().map(row).collect()
}

/// Lost frames, as `cat --json --all` prints them.
#[derive(Debug, Serialize)]
pub struct LossJson {
    record: &'static str,
    offset: u64,
    cause: &'static str,
    first_sequence: u64,
    last_sequence: u64,
    count: u64,
    first_ns: Ns,
    last_ns: Ns,
}

impl LossJson {
    /// The loss whose record begins at `offset`.
    pub fn new(loss: &Loss, offset: u64) -> Self {
        Self {
            record: "loss",
            offset,
            cause: loss.cause.name(),
            first_sequence: loss.first_sequence,
            last_sequence: loss.last_sequence,
            count: loss.count,
            first_ns: loss.first_at.into(),
            last_ns: loss.last_at.into(),
        }
    }
}

/// A bookmark or another event.
#[derive(Debug, Serialize)]
pub struct EventJson<'a> {
    record: &'static str,
    offset: u64,
    kind: &'static str,
    at_ns: Ns,
    utc_ns: Ns,
    utc: String,
    text: &'a str,
}

impl<'a> EventJson<'a> {
    /// The event whose record begins at `offset`.
    pub fn new(event: &'a Event, offset: u64) -> Self {
        Self {
            record: "event",
            offset,
            kind: event.kind.name(),
            at_ns: event.at.into(),
            utc_ns: event.wall.into(),
            utc: show_utc(event.wall),
            text: &event.text,
        }
    }
}

/// Both clocks at one instant.
#[derive(Debug, Serialize)]
pub struct ClockJson {
    record: &'static str,
    offset: u64,
    monotonic_ns: Ns,
    utc_ns: Ns,
    utc: String,
    step_ns: Ns,
}

impl ClockJson {
    /// The pair whose record begins at `offset`; `step_ns`: how far the wall clock was set since the one before.
    pub fn new(pair: ClockPair, step_ns: i64, offset: u64) -> Self {
        Self {
            record: "clock",
            offset,
            monotonic_ns: pair.monotonic.into(),
            utc_ns: pair.wall.into(),
            utc: show_utc(pair.wall),
            step_ns: Ns(step_ns),
        }
    }
}
