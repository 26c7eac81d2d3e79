//! The results of two frames against each other, kind by kind.

use super::overlap::{Likeness, Pair, iou, oriented_iou, pair_up};
use super::{Change, DiffSettings, FrameDiff, PlaneChange, Row, RowChange, state_text};
use crate::frame::Frame;
use crate::results::{ResultKind, ResultState};
use crate::view::Rows;

/// Compares the results of `a` and `b`. Pictures and times are not looked at.
///
/// Cost: of each kind with boxes, the product of the numbers of rows.
pub fn compare(a: &Frame<'_>, b: &Frame<'_>, settings: &DiffSettings) -> FrameDiff {
    let mut diff = FrameDiff {
        sequence: a.meta.sequence,
        states: None,
        same: 0,
        rows: Vec::new(),
        plane: None,
        best_class: None,
        truncated: None,
    };
    let (states, kinds) = ((a.results.state(), b.results.state()), (kind_of(a), kind_of(b)));
    match kinds {
        (None, None) => {
            // An imported null may have been either of the other two: it differs from neither.
            let unknown = states.0 == ResultState::Unknown || states.1 == ResultState::Unknown;
            if !unknown && states.0 != states.1 {
                diff.states = Some((state_text(states.0), state_text(states.1)));
            }
            return diff;
        }
        (Some(x), Some(y)) if x != y => {
            diff.states = Some((state_text(states.0), state_text(states.1)));
            return diff;
        }
        _ => {}
    }
    if a.results.truncated != b.results.truncated {
        diff.truncated = Some((a.results.truncated, b.results.truncated));
    }
    // One side may be empty: its views then have no rows, and everything is added or lost.
    match kinds.0.or(kinds.1) {
        Some(ResultKind::Classifications) => classifications(a, b, &mut diff),
        Some(ResultKind::Detections) => boxes(a, b, &a.detections(), &b.detections(), settings, &mut diff),
        Some(ResultKind::InstanceSegments) => boxes(a, b, &a.instances(), &b.instances(), settings, &mut diff),
        Some(ResultKind::Poses) => boxes(a, b, &a.poses(), &b.poses(), settings, &mut diff),
        Some(ResultKind::OrientedBoxes) => {
            boxes(a, b, &a.oriented_boxes(), &b.oriented_boxes(), settings, &mut diff);
        }
        Some(ResultKind::Segments | ResultKind::Anomaly) if kinds.0 != kinds.1 => {
            diff.states = Some((state_text(states.0), state_text(states.1)));
        }
        Some(ResultKind::Segments) => segments(a, b, &mut diff),
        Some(ResultKind::Anomaly) => anomaly(a, b, &mut diff),
        None => {}
    }
    diff
}

/// The kind of a result that has something in it.
fn kind_of(frame: &Frame<'_>) -> Option<ResultKind> {
    match frame.results.state() {
        ResultState::Some(kind) => Some(kind),
        _ => None,
    }
}

/// Everything of one row that is compared, as bits where bits decide.
struct Compared<'a> {
    row: Row,
    /// As stored, for "is it the same".
    stored: Vec<u32>,
    /// In the picture, for the same question when the two frames mean different regions.
    placed: Vec<u32>,
    /// Scores of keypoints.
    details: Vec<u32>,
    points: Vec<[f32; 2]>,
    mask: Option<((u16, u16), &'a [u8])>,
    /// For overlaps: `[x0, y0, x1, y1]` in the picture.
    extent: Option<[f32; 4]>,
}

/// Views whose rows have a place in the picture.
trait Placed<'a>: Rows {
    fn compared(&self, index: usize) -> Option<Compared<'a>>;
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

macro_rules! boxed_row {
    ($row:ident, $index:ident, $angle:expr) => {
        Row {
            index: $index,
            class_id: Some($row.class_id),
            label: $row.label.map(str::to_owned),
            confidence: $row.confidence,
            bbox: Some($row.in_picture()),
            angle: $angle,
            tracker_id: $row.tracker_id,
        }
    };
}

impl<'a> Placed<'a> for crate::view::DetectionsView<'a> {
    fn compared(&self, index: usize) -> Option<Compared<'a>> {
        let row = self.get(index)?;
        Some(Compared {
            stored: bits(&row.bbox),
            placed: bits(&row.in_picture()),
            details: Vec::new(),
            points: Vec::new(),
            mask: None,
            extent: Some(row.in_picture()),
            row: boxed_row!(row, index, None),
        })
    }
}

impl<'a> Placed<'a> for crate::view::InstancesView<'a> {
    fn compared(&self, index: usize) -> Option<Compared<'a>> {
        let row = self.get(index)?;
        Some(Compared {
            stored: bits(&row.bbox),
            placed: bits(&row.in_picture()),
            details: Vec::new(),
            points: Vec::new(),
            mask: Some(((row.crop.width, row.crop.height), row.mask)),
            extent: Some(row.in_picture()),
            row: boxed_row!(row, index, None),
        })
    }
}

impl<'a> Placed<'a> for crate::view::OrientedBoxesView<'a> {
    fn compared(&self, index: usize) -> Option<Compared<'a>> {
        let row = self.get(index)?;
        let (mut stored, mut placed) = (bits(&row.bbox), bits(&row.in_picture()));
        stored.push(row.angle.to_bits());
        placed.push(row.angle.to_bits());
        Some(Compared {
            stored,
            placed,
            details: Vec::new(),
            points: Vec::new(),
            mask: None,
            extent: None,
            row: boxed_row!(row, index, Some(row.angle)),
        })
    }
}

impl<'a> Placed<'a> for crate::view::PosesView<'a> {
    fn compared(&self, index: usize) -> Option<Compared<'a>> {
        let row = self.get(index)?;
        let points: Vec<_> = (0..row.keypoints.len()).filter_map(|i| row.keypoint_in_picture(i)).collect();
        let mut stored = bits(row.keypoints.as_flattened());
        let mut placed = bits(points.as_flattened());
        stored.extend(row.bbox.iter().flatten().map(|v| v.to_bits()));
        placed.extend(self.picture_box(index).filter(|_| row.bbox.is_some()).iter().flatten().map(|v| v.to_bits()));
        Some(Compared {
            stored,
            placed,
            details: bits(row.scores),
            points,
            mask: None,
            extent: self.picture_box(index),
            row: Row {
                index,
                class_id: None,
                label: None,
                confidence: row.confidence,
                bbox: self.picture_box(index),
                angle: None,
                tracker_id: row.tracker_id,
            },
        })
    }
}

fn boxes<'a, V: Placed<'a>>(
    a: &Frame<'_>,
    b: &Frame<'_>,
    view_a: &V,
    view_b: &V,
    settings: &DiffSettings,
    diff: &mut FrameDiff,
) {
    let rows_a: Vec<_> = (0..view_a.len()).filter_map(|i| view_a.compared(i)).collect();
    let rows_b: Vec<_> = (0..view_b.len()).filter_map(|i| view_b.compared(i)).collect();
    let aspect = a.size().or(b.size()).map_or(1.0, |(w, h)| f64::from(w.max(1)) / f64::from(h.max(1)));
    let same_region = a.coordinates() == b.coordinates();
    let pairs = pair_up(rows_a.len(), rows_b.len(), settings.iou_min, |i, j| {
        let (x, y) = (&rows_a[i].row, &rows_b[j].row);
        Likeness {
            iou: overlap(&rows_a[i], &rows_b[j], aspect),
            same_class: x.class_id == y.class_id,
            confidence_distance: (x.confidence - y.confidence).abs(),
        }
    });
    let changes = pairs.iter().map(|pair| changed(&rows_a[pair.a], &rows_b[pair.b], Some(pair.iou), same_region));
    settle(diff, &pairs, changes.collect(), &rows_a, &rows_b);
}

fn overlap(a: &Compared<'_>, b: &Compared<'_>, aspect: f64) -> f32 {
    match (a.extent, b.extent, &a.row, &b.row) {
        (Some(x), Some(y), ..) => iou(x, y),
        (_, _, Row { bbox: Some(x), angle: Some(p), .. }, Row { bbox: Some(y), angle: Some(q), .. }) => {
            oriented_iou((*x, *p), (*y, *q), aspect)
        }
        // Persons without keypoints or a box are nowhere: only their number and confidences can be compared.
        (None, None, ..) => 1.0,
        _ => 0.0,
    }
}

fn changed(a: &Compared<'_>, b: &Compared<'_>, iou: Option<f32>, same_region: bool) -> Change {
    let moved = if same_region { a.stored != b.stored } else { a.placed != b.placed };
    let confidence_changed = a.row.confidence.to_bits() != b.row.confidence.to_bits();
    let mask_pixels_changed = match (a.mask, b.mask) {
        (Some((size_a, x)), Some((size_b, y))) if size_a == size_b => {
            Some(x.iter().zip(y).filter(|(p, q)| p != q).count() as u64)
        }
        _ => None,
    };
    let masks_differ = a.mask.map(|mask| mask.1) != b.mask.map(|mask| mask.1);
    Change {
        iou,
        moved,
        class_changed: a.row.class_id != b.row.class_id,
        confidence_delta: if confidence_changed { b.row.confidence - a.row.confidence } else { 0.0 },
        confidence_changed,
        tracker_changed: a.row.tracker_id != b.row.tracker_id,
        keypoint_distance_max: farthest(&a.points, &b.points),
        mask_pixels_changed,
        detail_changed: masks_differ || a.details != b.details,
        a: a.row.clone(),
        b: b.row.clone(),
    }
}

fn farthest(a: &[[f32; 2]], b: &[[f32; 2]]) -> Option<f32> {
    let distances = a.iter().zip(b).map(|(p, q)| (p[0] - q[0]).hypot(p[1] - q[1]));
    distances.reduce(f32::max)
}

/// Files changed pairs and what has no partner.
fn settle(diff: &mut FrameDiff, pairs: &[Pair], changes: Vec<Change>, a: &[Compared<'_>], b: &[Compared<'_>]) {
    let mut changes = pairs.iter().zip(changes).peekable();
    for (i, row) in a.iter().enumerate() {
        match changes.next_if(|(pair, _)| pair.a == i) {
            None => diff.rows.push(RowChange::Lost(row.row.clone())),
            Some((_, change)) if change.is_nothing() => diff.same += 1,
            Some((_, change)) => diff.rows.push(RowChange::Changed(Box::new(change))),
        }
    }
    let mut has_partner = vec![false; b.len()];
    pairs.iter().for_each(|pair| has_partner[pair.b] = true);
    let alone = b.iter().zip(has_partner).filter(|(_, partner)| !partner);
    diff.rows.extend(alone.map(|(row, _)| RowChange::Added(row.row.clone())));
}

/// Classes have no place: the partner of a row is the first free row of the same class.
fn classifications(a: &Frame<'_>, b: &Frame<'_>, diff: &mut FrameDiff) {
    let rows = |frame: &Frame<'_>| -> Vec<Compared<'static>> {
        let rows = frame.classifications().iter().enumerate();
        let compared = rows.map(|(index, row)| Compared {
            stored: Vec::new(),
            placed: Vec::new(),
            details: Vec::new(),
            points: Vec::new(),
            mask: None,
            extent: None,
            row: Row {
                index,
                class_id: Some(row.class_id),
                label: row.label.map(str::to_owned),
                confidence: row.confidence,
                bbox: None,
                angle: None,
                tracker_id: None,
            },
        });
        compared.collect()
    };
    let (rows_a, rows_b) = (rows(a), rows(b));
    let pairs = pair_up(rows_a.len(), rows_b.len(), 1.0, |i, j| {
        let (x, y) = (&rows_a[i].row, &rows_b[j].row);
        let same_class = x.class_id == y.class_id;
        let confidence_distance = (x.confidence - y.confidence).abs();
        Likeness { iou: f32::from(u8::from(same_class)), same_class, confidence_distance }
    });
    let changes = pairs.iter().map(|pair| changed(&rows_a[pair.a], &rows_b[pair.b], None, true));
    settle(diff, &pairs, changes.collect(), &rows_a, &rows_b);
    let best = |rows: &[Compared<'_>]| rows.first().and_then(|row| row.row.class_id);
    diff.best_class = best(&rows_a).zip(best(&rows_b)).filter(|(x, y)| x != y);
}

fn segments(a: &Frame<'_>, b: &Frame<'_>, diff: &mut FrameDiff) {
    let (Some(x), Some(y)) = (a.segments(), b.segments()) else { return };
    if a.results.mask_shape != b.results.mask_shape {
        diff.plane = Some(PlaneChange::Shape { a: a.results.mask_shape, b: b.results.mask_shape });
        return;
    }
    let pixels = x.mask.iter().zip(y.mask).filter(|(p, q)| p != q).count() as u64;
    diff.plane = (pixels > 0).then_some(PlaneChange::Segments { pixels, of: x.mask.len() as u64 });
}

fn anomaly(a: &Frame<'_>, b: &Frame<'_>, diff: &mut FrameDiff) {
    let (Some(x), Some(y)) = (a.anomaly(), b.anomaly()) else { return };
    if a.results.mask_shape != b.results.mask_shape {
        diff.plane = Some(PlaneChange::Shape { a: a.results.mask_shape, b: b.results.mask_shape });
        return;
    }
    let same = x.score.to_bits() == y.score.to_bits() && x.heat_map_bytes() == y.heat_map_bytes();
    let heat = x.heat_map().zip(y.heat_map()).map(|(p, q)| (p - q).abs());
    let heat_max = heat.fold(0.0, f32::max);
    diff.plane = (!same).then_some(PlaneChange::Anomaly { score_delta: y.score - x.score, heat_max });
}
