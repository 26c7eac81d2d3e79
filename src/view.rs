//! Views of a frame's results: columns as slices, rows as small values, and selections that combine with `&`, `|`, `!`.
//!
//! ```
//! # use kinora::prelude::*;
//! # fn show(frame: &Frame<'_>) {
//! let seen = frame.detections().above(0.4) & frame.detections().label("person");
//! for d in seen.iter() {
//!     println!("{:?} {:.2}", d.bbox, d.confidence);
//! }
//! # }
//! ```
//!
//! Nothing here allocates. A view of a frame without results of its kind has no rows, so a filter never fails.

use core::fmt;
use core::ops::{BitAnd, BitOr, Not};

use crate::frame::{Frame, Roi};
use crate::labels::Labels;
use crate::limits::ROWS_MAX;
use crate::results::{MaskCrop, ResultKind, ResultState, Results};

const WORDS: usize = ROWS_MAX / 64;

static NOTHING: Results = Results::new();

/// One bit a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask([u64; WORDS]);

impl Mask {
    /// No row.
    pub const NONE: Self = Self([0; WORDS]);

    /// True when row `index` is selected.
    pub const fn has(&self, index: usize) -> bool {
        index < ROWS_MAX && self.0[index / 64] >> (index % 64) & 1 == 1
    }

    /// Selects row `index`.
    ///
    /// # Panics
    /// When `index` is not below `ROWS_MAX`.
    pub const fn set(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    /// Number of selected rows.
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn zip(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        Self(core::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

/// Rows with a confidence, and what can be asked of all of them.
pub trait Rows: Copy {
    /// One row, by value.
    type Row;

    /// Number of rows.
    fn len(&self) -> usize;

    /// Row `index`, or `None` at and after the end.
    fn get(&self, index: usize) -> Option<Self::Row>;

    /// The confidence column.
    fn confidences(&self) -> &[f32];

    /// The class column; empty for poses.
    fn class_ids(&self) -> &[i32];

    /// The names of the classes, if known.
    fn labels(&self) -> Option<&Labels>;

    /// The box of row `index` as `[x0, y0, x1, y1]`, fractions of the picture, if it has one.
    fn picture_box(&self, index: usize) -> Option<[f32; 4]>;

    /// True when there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Rows for which `keep(index)` holds.
    fn select(self, mut keep: impl FnMut(usize) -> bool) -> Selection<Self> {
        let mut mask = Mask::NONE;
        for index in 0..self.len().min(ROWS_MAX) {
            if keep(index) {
                mask.set(index);
            }
        }
        Selection { rows: self, mask }
    }

    /// All rows.
    fn all(self) -> Selection<Self> {
        self.select(|_| true)
    }

    /// Rows whose confidence is above `threshold`; NaN never is.
    fn above(self, threshold: f32) -> Selection<Self> {
        self.select(|i| self.confidences()[i] > threshold)
    }

    /// Rows of class `class_id`.
    fn class(self, class_id: i32) -> Selection<Self> {
        self.select(|i| self.class_ids().get(i) == Some(&class_id))
    }

    /// Rows whose class is called `name`; none when the labels are not known.
    fn label(self, name: &str) -> Selection<Self> {
        let Some(labels) = self.labels() else { return self.select(|_| false) };
        self.select(|i| self.class_ids().get(i).is_some_and(|&id| labels.name(id) == Some(name)))
    }

    /// Rows whose box lies wholly inside `region` (fractions of the picture, edges included).
    fn within(self, region: Roi) -> Selection<Self> {
        let (right, bottom) = (region.left + region.width, region.top + region.height);
        self.select(|i| {
            self.picture_box(i).is_some_and(|[x0, y0, x1, y1]| {
                f64::from(x0) >= region.left
                    && f64::from(y0) >= region.top
                    && f64::from(x1) <= right
                    && f64::from(y1) <= bottom
            })
        })
    }

    /// Rows for which `keep` holds.
    fn filter(self, mut keep: impl FnMut(Self::Row) -> bool) -> Selection<Self> {
        self.select(|i| self.get(i).is_some_and(&mut keep))
    }

    /// All rows, in order.
    fn iter(self) -> RowsIter<Self> {
        self.all().iter()
    }
}

/// Some rows of a view. Combine selections of the *same* view with `&`, `|` and `!`; the left one's rows are kept.
#[derive(Clone, Copy, Debug)]
pub struct Selection<V> {
    rows: V,
    mask: Mask,
}

impl<V: Rows> Selection<V> {
    /// The bits.
    pub const fn mask(&self) -> Mask {
        self.mask
    }

    /// Number of selected rows.
    pub fn count(&self) -> usize {
        self.mask.count()
    }

    /// True when no row is selected.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// The selected rows, in order.
    pub fn iter(&self) -> RowsIter<V> {
        RowsIter { rows: self.rows, mask: self.mask, next: 0 }
    }
}

impl<V: Rows> BitAnd for Selection<V> {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self { rows: self.rows, mask: self.mask.zip(other.mask, |a, b| a & b) }
    }
}

impl<V: Rows> BitOr for Selection<V> {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self { rows: self.rows, mask: self.mask.zip(other.mask, |a, b| a | b) }
    }
}

impl<V: Rows> Not for Selection<V> {
    type Output = Self;
    fn not(self) -> Self {
        let all = self.rows.all().mask;
        Self { rows: self.rows, mask: all.zip(self.mask, |a, b| a & !b) }
    }
}

impl<V: Rows> IntoIterator for Selection<V> {
    type Item = V::Row;
    type IntoIter = RowsIter<V>;
    fn into_iter(self) -> RowsIter<V> {
        self.iter()
    }
}

/// Iterator over selected rows.
#[derive(Clone, Debug)]
pub struct RowsIter<V> {
    rows: V,
    mask: Mask,
    next: usize,
}

impl<V: Rows> Iterator for RowsIter<V> {
    type Item = V::Row;

    fn next(&mut self) -> Option<V::Row> {
        while self.next < self.rows.len() {
            let index = self.next;
            self.next += 1;
            if self.mask.has(index) {
                return self.rows.get(index);
            }
        }
        None
    }
}

/// What every view of rows holds.
#[derive(Clone, Copy, Debug)]
struct Source<'a> {
    results: &'a Results,
    labels: Option<&'a Labels>,
    coordinates: Roi,
    side: &'a [u8],
}

impl<'a> Source<'a> {
    fn of(frame: &Frame<'a>, kind: ResultKind) -> Self {
        let is_kind = frame.results.state() == ResultState::Some(kind);
        let results = if is_kind { frame.results } else { &NOTHING };
        Self { results, labels: frame.labels, coordinates: frame.coordinates(), side: frame.side }
    }

    fn label(&self, class_id: i32) -> Option<&'a str> {
        self.labels.and_then(|labels| labels.name(class_id))
    }

    fn tracker(&self, index: usize) -> Option<i64> {
        self.results.tracker_id.get(index).copied()
    }

    fn corners_in_picture(&self, [x0, y0, x1, y1]: [f32; 4]) -> [f32; 4] {
        let [x0, y0] = self.coordinates.point_in_picture([x0, y0]);
        let [x1, y1] = self.coordinates.point_in_picture([x1, y1]);
        [x0, y0, x1, y1]
    }

    fn write_label(&self, f: &mut fmt::Formatter<'_>, class_id: i32) -> fmt::Result {
        match self.label(class_id) {
            Some(name) => f.write_str(name),
            None => write!(f, "class {class_id}"),
        }
    }
}

macro_rules! columns {
    ($view:ident) => {
        impl<'a> $view<'a> {
            /// Confidence column.
            pub fn confidence(&self) -> &'a [f32] {
                &self.0.results.confidence
            }

            /// Class column, indices into the labels.
            pub fn class_id(&self) -> &'a [i32] {
                &self.0.results.class_id
            }
        }
    };
    ($view:ident, boxes) => {
        columns!($view);
        impl<'a> $view<'a> {
            /// Box column as stored.
            pub fn bbox(&self) -> &'a [[f32; 4]] {
                &self.0.results.bbox
            }

            /// Tracker column; empty when nothing tracks; -1 is "not tracked".
            pub fn tracker_id(&self) -> &'a [i64] {
                &self.0.results.tracker_id
            }
        }
    };
}

macro_rules! rows {
    ($view:ident, $row:ident) => {
        fn len(&self) -> usize {
            self.0.results.len()
        }

        fn confidences(&self) -> &[f32] {
            &self.0.results.confidence
        }

        fn class_ids(&self) -> &[i32] {
            &self.0.results.class_id
        }

        fn labels(&self) -> Option<&Labels> {
            self.0.labels
        }
    };
}

/// Boxes of one frame.
#[derive(Clone, Copy, Debug)]
pub struct DetectionsView<'a>(Source<'a>);

columns!(DetectionsView, boxes);

/// One box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection<'a> {
    /// `[x0, y0, x1, y1]` as stored: fractions of the ROI, or of the picture once compensated.
    pub bbox: [f32; 4],
    /// Confidence as the network gave it.
    pub confidence: f32,
    /// Index into the labels.
    pub class_id: i32,
    /// Number of the track, if something tracks; -1 is "not tracked".
    pub tracker_id: Option<i64>,
    /// Name of the class, if known.
    pub label: Option<&'a str>,
    in_picture: [f32; 4],
}

impl Detection<'_> {
    /// `[x0, y0, x1, y1]` as fractions of the picture, clipped to it.
    pub const fn in_picture(&self) -> [f32; 4] {
        self.in_picture
    }
}

impl<'a> DetectionsView<'a> {
    pub(crate) fn of(frame: &Frame<'a>) -> Self {
        Self(Source::of(frame, ResultKind::Detections))
    }
}

impl<'a> Rows for DetectionsView<'a> {
    type Row = Detection<'a>;
    rows!(DetectionsView, Detection);

    fn get(&self, index: usize) -> Option<Detection<'a>> {
        let bbox = *self.0.results.bbox.get(index)?;
        let class_id = self.0.results.class_id[index];
        Some(Detection {
            bbox,
            confidence: self.0.results.confidence[index],
            class_id,
            tracker_id: self.0.tracker(index),
            label: self.0.label(class_id),
            in_picture: self.0.corners_in_picture(bbox),
        })
    }

    fn picture_box(&self, index: usize) -> Option<[f32; 4]> {
        self.0.results.bbox.get(index).map(|&bbox| self.0.corners_in_picture(bbox))
    }
}

/// Ranked classes of one frame.
#[derive(Clone, Copy, Debug)]
pub struct ClassificationsView<'a>(Source<'a>);

columns!(ClassificationsView);

/// One class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Classification<'a> {
    /// Confidence as the network gave it.
    pub confidence: f32,
    /// Index into the labels.
    pub class_id: i32,
    /// Name of the class, if known.
    pub label: Option<&'a str>,
}

impl<'a> ClassificationsView<'a> {
    pub(crate) fn of(frame: &Frame<'a>) -> Self {
        Self(Source::of(frame, ResultKind::Classifications))
    }
}

impl<'a> Rows for ClassificationsView<'a> {
    type Row = Classification<'a>;
    rows!(ClassificationsView, Classification);

    fn get(&self, index: usize) -> Option<Classification<'a>> {
        let class_id = *self.0.results.class_id.get(index)?;
        let confidence = self.0.results.confidence[index];
        Some(Classification { confidence, class_id, label: self.0.label(class_id) })
    }

    fn picture_box(&self, _: usize) -> Option<[f32; 4]> {
        None
    }
}

/// Persons of one frame.
#[derive(Clone, Copy, Debug)]
pub struct PosesView<'a>(Source<'a>);

/// One person.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pose<'a> {
    /// Confidence as the network gave it.
    pub confidence: f32,
    /// `[x, y]` of each keypoint as stored.
    pub keypoints: &'a [[f32; 2]],
    /// Score of each keypoint.
    pub scores: &'a [f32],
    /// `[x0, y0, x1, y1]` as stored, when the network gave one.
    pub bbox: Option<[f32; 4]>,
    /// Number of the track, if something tracks; -1 is "not tracked".
    pub tracker_id: Option<i64>,
    coordinates: Roi,
}

impl Pose<'_> {
    /// `[x, y]` of keypoint `index` as fractions of the picture, clipped to it.
    pub fn keypoint_in_picture(&self, index: usize) -> Option<[f32; 2]> {
        self.keypoints.get(index).map(|&point| self.coordinates.point_in_picture(point))
    }

    /// The stored box, or the extent of the keypoints (modlib's rule when there is none); `None` without keypoints.
    pub fn extent(&self) -> Option<[f32; 4]> {
        self.bbox.or_else(|| {
            let mut points = self.keypoints.iter();
            let &[x, y] = points.next()?;
            Some(points.fold([x, y, x, y], |[x0, y0, x1, y1], &[x, y]| [x0.min(x), y0.min(y), x1.max(x), y1.max(y)]))
        })
    }
}

impl<'a> PosesView<'a> {
    pub(crate) fn of(frame: &Frame<'a>) -> Self {
        Self(Source::of(frame, ResultKind::Poses))
    }

    /// Confidence column.
    pub fn confidence(&self) -> &'a [f32] {
        &self.0.results.confidence
    }

    /// Box column as stored; empty when the network gave none.
    pub fn bbox(&self) -> &'a [[f32; 4]] {
        &self.0.results.bbox
    }

    /// Tracker column; empty when nothing tracks; -1 is "not tracked".
    pub fn tracker_id(&self) -> &'a [i64] {
        &self.0.results.tracker_id
    }

    /// Keypoints of all persons, `[x, y]`, `keypoints_per_pose` after each other.
    pub fn keypoints(&self) -> &'a [[f32; 2]] {
        &self.0.results.keypoints
    }

    /// Scores in the order of `keypoints`.
    pub fn keypoint_scores(&self) -> &'a [f32] {
        &self.0.results.keypoint_scores
    }

    /// Keypoints of each person.
    pub fn keypoints_per_pose(&self) -> usize {
        usize::from(self.0.results.keypoints_per_pose)
    }
}

impl<'a> Rows for PosesView<'a> {
    type Row = Pose<'a>;
    rows!(PosesView, Pose);

    fn get(&self, index: usize) -> Option<Pose<'a>> {
        let confidence = *self.0.results.confidence.get(index)?;
        let points = index * self.keypoints_per_pose()..(index + 1) * self.keypoints_per_pose();
        Some(Pose {
            confidence,
            keypoints: &self.0.results.keypoints[points.clone()],
            scores: &self.0.results.keypoint_scores[points],
            bbox: self.0.results.bbox.get(index).copied(),
            tracker_id: self.0.tracker(index),
            coordinates: self.0.coordinates,
        })
    }

    fn picture_box(&self, index: usize) -> Option<[f32; 4]> {
        Some(self.0.corners_in_picture(self.get(index)?.extent()?))
    }
}

/// Instances of one frame.
#[derive(Clone, Copy, Debug)]
pub struct InstancesView<'a>(Source<'a>);

columns!(InstancesView, boxes);

/// One instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Instance<'a> {
    /// `[x0, y0, x1, y1]` as stored.
    pub bbox: [f32; 4],
    /// Confidence as the network gave it.
    pub confidence: f32,
    /// Index into the labels.
    pub class_id: i32,
    /// Number of the track, if something tracks; -1 is "not tracked".
    pub tracker_id: Option<i64>,
    /// Name of the class, if known.
    pub label: Option<&'a str>,
    /// Size of the mask.
    pub crop: MaskCrop,
    /// `crop.width × crop.height` bytes of 0 or 1, row by row.
    pub mask: &'a [u8],
    in_picture: [f32; 4],
}

impl Instance<'_> {
    /// `[x0, y0, x1, y1]` as fractions of the picture, clipped to it.
    pub const fn in_picture(&self) -> [f32; 4] {
        self.in_picture
    }
}

impl<'a> InstancesView<'a> {
    pub(crate) fn of(frame: &Frame<'a>) -> Self {
        Self(Source::of(frame, ResultKind::InstanceSegments))
    }

    /// `[height, width]` of the canvas that the crops were cut from.
    pub fn mask_shape(&self) -> [u16; 2] {
        self.0.results.mask_shape
    }
}

impl<'a> Rows for InstancesView<'a> {
    type Row = Instance<'a>;
    rows!(InstancesView, Instance);

    fn get(&self, index: usize) -> Option<Instance<'a>> {
        let bbox = *self.0.results.bbox.get(index)?;
        let crop = *self.0.results.crops.get(index)?;
        let class_id = self.0.results.class_id[index];
        let start = crop.offset as usize;
        let mask = self.0.side.get(start..start + usize::from(crop.width) * usize::from(crop.height))?;
        Some(Instance {
            bbox,
            confidence: self.0.results.confidence[index],
            class_id,
            tracker_id: self.0.tracker(index),
            label: self.0.label(class_id),
            crop,
            mask,
            in_picture: self.0.corners_in_picture(bbox),
        })
    }

    fn picture_box(&self, index: usize) -> Option<[f32; 4]> {
        self.0.results.bbox.get(index).map(|&bbox| self.0.corners_in_picture(bbox))
    }
}

/// Oriented boxes of one frame.
#[derive(Clone, Copy, Debug)]
pub struct OrientedBoxesView<'a>(Source<'a>);

columns!(OrientedBoxesView, boxes);

/// One oriented box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrientedBox<'a> {
    /// `[centre x, centre y, width, height]` as stored.
    pub bbox: [f32; 4],
    /// Radians.
    pub angle: f32,
    /// Confidence as the network gave it.
    pub confidence: f32,
    /// Index into the labels.
    pub class_id: i32,
    /// Number of the track, if something tracks; -1 is "not tracked".
    pub tracker_id: Option<i64>,
    /// Name of the class, if known.
    pub label: Option<&'a str>,
    in_picture: [f32; 4],
}

impl OrientedBox<'_> {
    /// `[centre x, centre y, width, height]` as fractions of the picture. Not clipped: clipping would turn the box.
    pub const fn in_picture(&self) -> [f32; 4] {
        self.in_picture
    }
}

impl<'a> OrientedBoxesView<'a> {
    pub(crate) fn of(frame: &Frame<'a>) -> Self {
        Self(Source::of(frame, ResultKind::OrientedBoxes))
    }

    /// Angle column, radians.
    pub fn angle(&self) -> &'a [f32] {
        &self.0.results.angle
    }

    fn centre_in_picture(&self, [cx, cy, w, h]: [f32; 4]) -> [f32; 4] {
        let roi = self.0.coordinates;
        [
            (roi.left + f64::from(cx) * roi.width) as f32,
            (roi.top + f64::from(cy) * roi.height) as f32,
            (f64::from(w) * roi.width) as f32,
            (f64::from(h) * roi.height) as f32,
        ]
    }
}

impl<'a> Rows for OrientedBoxesView<'a> {
    type Row = OrientedBox<'a>;
    rows!(OrientedBoxesView, OrientedBox);

    fn get(&self, index: usize) -> Option<OrientedBox<'a>> {
        let bbox = *self.0.results.bbox.get(index)?;
        let class_id = self.0.results.class_id[index];
        Some(OrientedBox {
            bbox,
            angle: *self.0.results.angle.get(index)?,
            confidence: self.0.results.confidence[index],
            class_id,
            tracker_id: self.0.tracker(index),
            label: self.0.label(class_id),
            in_picture: self.centre_in_picture(bbox),
        })
    }

    /// The circle around the box: whatever the angle, the box lies inside.
    fn picture_box(&self, index: usize) -> Option<[f32; 4]> {
        let [cx, cy, w, h] = self.centre_in_picture(*self.0.results.bbox.get(index)?);
        let squared = f64::from(w) * f64::from(w) + f64::from(h) * f64::from(h);
        let radius = (square_root(squared) / 2.0) as f32;
        Some([cx - radius, cy - radius, cx + radius, cy + radius])
    }
}

/// `core` has no square root; three Newton steps from an exponent-halved guess are exact to f32.
fn square_root(x: f64) -> f64 {
    if x.is_nan() || x <= 0.0 {
        return 0.0;
    }
    let mut root = f64::from_bits((x.to_bits() >> 1) + (1023 << 51));
    for _ in 0..4 {
        root = 0.5 * (root + x / root);
    }
    root
}

/// Classes of the pixels of one frame.
#[derive(Clone, Copy, Debug)]
pub struct SegmentsView<'a> {
    /// Rows of the mask.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// `height × width` class numbers, row by row; 255 is background.
    pub mask: &'a [u8],
}

impl<'a> SegmentsView<'a> {
    /// The class number of the background.
    pub const BACKGROUND: u8 = 255;

    pub(crate) fn of(frame: &Frame<'a>) -> Option<Self> {
        if frame.results.state() != ResultState::Some(ResultKind::Segments) {
            return None;
        }
        let [height, width] = frame.results.mask_shape.map(usize::from);
        Some(Self { height, width, mask: frame.side.get(..height * width)? })
    }

    /// True for each class number that occurs and is not background: modlib's `indices`.
    pub fn classes(&self) -> [bool; 256] {
        let mut seen = [false; 256];
        for &class in self.mask {
            seen[usize::from(class)] = true;
        }
        seen[usize::from(Self::BACKGROUND)] = false;
        seen
    }
}

/// Score and heat map of one frame.
#[derive(Clone, Copy, Debug)]
pub struct AnomalyView<'a> {
    /// The score.
    pub score: f64,
    /// Rows of the heat map.
    pub height: usize,
    /// Values in a row.
    pub width: usize,
    heat_map: &'a [u8],
}

impl<'a> AnomalyView<'a> {
    pub(crate) fn of(frame: &Frame<'a>) -> Option<Self> {
        if frame.results.state() != ResultState::Some(ResultKind::Anomaly) {
            return None;
        }
        let [height, width] = frame.results.mask_shape.map(usize::from);
        let heat_map = frame.side.get(..height * width * 4)?;
        Some(Self { score: frame.results.score, height, width, heat_map })
    }

    /// `height × width` values, row by row, as little-endian `f32`.
    pub const fn heat_map_bytes(&self) -> &'a [u8] {
        self.heat_map
    }

    /// `height × width` values, row by row.
    pub fn heat_map(&self) -> impl Iterator<Item = f32> + 'a {
        self.heat_map.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }
}

/// Rows that one line of text shows; the others are counted.
const ROWS_SHOWN: usize = 8;

macro_rules! one_line {
    ($view:ident, $what:literal, |$f:ident, $source:ident, $row:ident| $body:block) => {
        impl fmt::Display for $view<'_> {
            /// One line: how many, then the first few.
            fn fmt(&self, $f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!($f, "{} {}", self.len(), $what)?;
                let $source = &self.0;
                let _ = $source;
                for (index, $row) in Rows::iter(*self).take(ROWS_SHOWN).enumerate() {
                    $f.write_str(if index == 0 { ": " } else { ", " })?;
                    $body?;
                }
                match self.len().saturating_sub(ROWS_SHOWN) {
                    0 => Ok(()),
                    more => write!($f, ", {more} more"),
                }
            }
        }
    };
}

one_line!(DetectionsView, "detections", |f, source, d| {
    source.write_label(f, d.class_id)?;
    write_box(f, d.confidence, d.in_picture())
});
one_line!(ClassificationsView, "classes", |f, source, c| {
    source.write_label(f, c.class_id)?;
    write!(f, " {:.2}", c.confidence)
});
one_line!(PosesView, "poses", |f, _source, p| { write!(f, "{:.2}", p.confidence) });
one_line!(InstancesView, "instances", |f, source, i| {
    source.write_label(f, i.class_id)?;
    write_box(f, i.confidence, i.in_picture())
});
one_line!(OrientedBoxesView, "oriented boxes", |f, source, o| {
    source.write_label(f, o.class_id)?;
    write_box(f, o.confidence, o.in_picture())?;
    write!(f, " angle {:.2}", o.angle)
});

fn write_box(f: &mut fmt::Formatter<'_>, confidence: f32, [a, b, c, d]: [f32; 4]) -> fmt::Result {
    write!(f, " {confidence:.2} [{a:.3} {b:.3} {c:.3} {d:.3}]")
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;
    use std::vec::Vec;

    use super::*;
    use crate::frame::FrameMeta;

    fn lend<'a>(meta: &'a FrameMeta, results: &'a Results, labels: &'a Labels) -> Frame<'a> {
        Frame { meta, results, pixels: None, jpeg: None, side: &[], sensor: &[], labels: Some(labels), losses: &[] }
    }

    fn street() -> (FrameMeta, Results, Labels) {
        let mut labels = Labels::new();
        labels.push("person").unwrap();
        labels.push("car").unwrap();
        let mut results = Results::new();
        results.begin(ResultKind::Detections);
        results.push_detection([0.0, 0.0, 0.2, 0.2], 0.9, 0, None).unwrap();
        results.push_detection([0.5, 0.5, 0.9, 0.9], 0.3, 0, None).unwrap();
        results.push_detection([0.6, 0.6, 0.8, 0.8], 0.7, 1, None).unwrap();
        results.push_detection([0.1, 0.1, 0.2, 0.2], f32::NAN, 1, None).unwrap();
        (FrameMeta::new(), results, labels)
    }

    fn indices(mask: Mask) -> Vec<usize> {
        (0..ROWS_MAX).filter(|&i| mask.has(i)).collect()
    }

    #[test]
    fn selections_combine() {
        let (meta, results, labels) = street();
        let frame = lend(&meta, &results, &labels);
        let d = frame.detections();
        assert_eq!(indices((d.above(0.4) & d.label("person")).mask()), [0]);
        assert_eq!(indices((d.above(0.4) | d.class(1)).mask()), [0, 2, 3]);
        assert_eq!(indices((!d.above(0.4)).mask()), [1, 3], "NaN is above nothing; rows past the end stay out");
        assert_eq!((!d.above(0.4)).count(), 2);
        assert_eq!(d.filter(|d| d.label == Some("car")).iter().count(), 2);
        assert_eq!(d.label("dog").count(), 0);
    }

    #[test]
    fn regions_are_in_picture_coordinates_whatever_the_roi() {
        let (mut meta, mut results, labels) = street();
        meta.roi = Some(Roi { left: 0.5, top: 0.0, width: 0.5, height: 1.0 });
        let right_half = Roi { left: 0.5, top: 0.0, width: 0.5, height: 1.0 };
        assert_eq!(lend(&meta, &results, &labels).detections().within(right_half).count(), 4);
        results.roi_compensated = true;
        assert_eq!(indices(lend(&meta, &results, &labels).detections().within(right_half).mask()), [1, 2]);
    }

    #[test]
    fn a_frame_without_results_gives_empty_views() {
        let (meta, mut results, labels) = street();
        for state in [ResultState::Absent, ResultState::Unknown, ResultState::Empty(ResultKind::Detections)] {
            results.reset(state);
            let frame = lend(&meta, &results, &labels);
            assert!(frame.detections().above(0.4).is_empty());
            assert!(frame.poses().is_empty() && frame.instances().is_empty() && frame.oriented_boxes().is_empty());
            assert!(frame.segments().is_none() && frame.anomaly().is_none());
        }
    }

    #[test]
    fn poses_filter_by_the_extent_of_their_keypoints() {
        let mut results = Results::new();
        results.begin(ResultKind::Poses);
        results.push_pose(0.9, &[[0.1, 0.2], [0.3, 0.1]], &[1.0, 1.0], None, None).unwrap();
        let (meta, labels) = (FrameMeta::new(), Labels::new());
        let frame = lend(&meta, &results, &labels);
        assert_eq!(frame.poses().get(0).unwrap().extent(), Some([0.1, 0.1, 0.3, 0.2]));
        assert_eq!(frame.poses().within(Roi { left: 0.0, top: 0.0, width: 0.4, height: 0.4 }).count(), 1);
        assert_eq!(frame.poses().class(0).count(), 0);
    }

    #[test]
    fn a_view_prints_one_line() {
        let (meta, results, labels) = street();
        let text = lend(&meta, &results, &labels).detections().to_string();
        assert!(text.starts_with("4 detections: person 0.90 [0.000 0.000 0.200 0.200], person 0.30"), "{text}");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn the_square_root_is_good_to_f32() {
        for x in [0.0, 1e-12, 0.25, 2.0, 1e6] {
            assert!((square_root(x) - x.sqrt()).abs() <= 1e-9 * x.sqrt(), "{x}");
        }
    }
}
