//! Two recordings against each other: which frame is which, and the sums.

use std::fmt;

use serde::Serialize;

use super::{DiffSettings, FrameDiff, RowChange, compare};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::timeline::Timeline;

/// One of the two recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

/// Something that is not the same in both.
#[derive(Debug)]
pub enum Difference {
    /// A frame that only one of them has.
    Only(Side, u64),
    /// Frames of the same sequence number with other results.
    Results(Box<FrameDiff>),
    /// A frame that cannot be read and therefore not be compared: which recording, which frame from 0, and why.
    Unreadable(Side, u64, Error),
}

/// The sums of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DiffReport {
    /// Frames of the first recording.
    pub frames_a: u64,
    /// Frames of the second.
    pub frames_b: u64,
    /// Frames that both have.
    pub frames_matched: u64,
    /// Of these, those whose results differ.
    pub frames_different: u64,
    /// Frames that only the first has.
    pub frames_only_a: u64,
    /// Frames that only the second has.
    pub frames_only_b: u64,
    /// Frames of either that could not be read.
    pub frames_unreadable: u64,
    /// Rows that are bit for bit the same.
    pub rows_same: u64,
    /// Rows that only the second has.
    pub rows_added: u64,
    /// Rows that only the first has.
    pub rows_lost: u64,
    /// Rows whose box, angle or keypoints differ.
    pub rows_moved: u64,
    /// Rows of another class.
    pub rows_class_changed: u64,
    /// Rows of another confidence.
    pub rows_confidence_changed: u64,
    /// Rows of another track.
    pub rows_tracker_changed: u64,
    /// Mean of `b - a` over the rows of another confidence; 0 when there are none.
    pub confidence_delta_mean: f64,
    /// Largest size of `b - a`.
    pub confidence_delta_max: f64,
    /// Mean overlap of the rows that moved; 1 when none did.
    pub moved_iou_mean: f64,
    /// Matched frames whose stored pictures differ. Told, but no difference of results.
    pub pictures_different: u64,
    /// Matched frames whose capture times differ. Told, but no difference of results.
    pub times_different: u64,
}

impl DiffReport {
    /// True when both have the same frames with the same results (`kinora diff` then exits with 0). Pictures and times do
    /// not decide: what is compared is what the algorithms saw.
    pub const fn is_equal(&self) -> bool {
        self.frames_different == 0 && self.frames_only_a == 0 && self.frames_only_b == 0 && self.frames_unreadable == 0
    }

    fn add(&mut self, diff: &FrameDiff) {
        self.frames_different += u64::from(!diff.is_equal());
        self.rows_same += diff.same;
        for row in &diff.rows {
            let change = match row {
                RowChange::Added(_) => {
                    self.rows_added += 1;
                    continue;
                }
                RowChange::Lost(_) => {
                    self.rows_lost += 1;
                    continue;
                }
                RowChange::Changed(change) => change,
            };
            self.rows_class_changed += u64::from(change.class_changed);
            self.rows_tracker_changed += u64::from(change.tracker_changed);
            if change.moved {
                self.rows_moved += 1;
                running_mean(&mut self.moved_iou_mean, self.rows_moved, f64::from(change.iou.unwrap_or(1.0)));
            }
            if change.confidence_changed {
                self.rows_confidence_changed += 1;
                let delta = f64::from(change.confidence_delta);
                // Not a number on either side: counted, but it would spoil the mean.
                if delta.is_finite() {
                    running_mean(&mut self.confidence_delta_mean, self.rows_confidence_changed, delta);
                    self.confidence_delta_max = self.confidence_delta_max.max(delta.abs());
                }
            }
        }
    }
}

fn running_mean(mean: &mut f64, count: u64, value: f64) {
    *mean += (value - *mean) / count as f64;
}

/// Compares two recordings frame by frame and hands each difference to `visit`, in the order of the sequence numbers.
///
/// Frames are matched by sequence number; where a number occurs again (a loop, recordings joined), the first belongs to
/// the first, the second to the second. Reads every frame twice; memory: 16 bytes for each frame.
///
/// # Errors
/// Only what `visit` returns. Frames that cannot be read are differences.
pub fn compare_timelines<A: Timeline + ?Sized, B: Timeline + ?Sized>(
    a: &mut A,
    b: &mut B,
    settings: &DiffSettings,
    mut visit: impl FnMut(Difference) -> Result<()>,
) -> Result<DiffReport> {
    let mut report = DiffReport { moved_iou_mean: 1.0, ..DiffReport::default() };
    let numbers_a = numbers(a, Side::A, &mut report, &mut visit)?;
    let numbers_b = numbers(b, Side::B, &mut report, &mut visit)?;
    (report.frames_a, report.frames_b) = (a.len(), b.len());
    let (mut i, mut j) = (numbers_a.iter().peekable(), numbers_b.iter().peekable());
    loop {
        let order = match (i.peek(), j.peek()) {
            (None, None) => return Ok(report),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(x), Some(y)) => x.0.cmp(&y.0),
        };
        let x = if order.is_le() { i.next() } else { None };
        let y = if order.is_ge() { j.next() } else { None };
        match (x, y) {
            (Some(&(_, index_a)), Some(&(_, index_b))) => {
                matched((a, index_a), (b, index_b), settings, &mut report, &mut visit)?;
            }
            (Some(&(sequence, _)), None) => {
                report.frames_only_a += 1;
                visit(Difference::Only(Side::A, sequence))?;
            }
            (None, Some(&(sequence, _))) => {
                report.frames_only_b += 1;
                visit(Difference::Only(Side::B, sequence))?;
            }
            (None, None) => {}
        }
    }
}

/// Sequence number and place of each readable frame, by number.
fn numbers<T: Timeline + ?Sized>(
    timeline: &mut T,
    side: Side,
    report: &mut DiffReport,
    visit: &mut impl FnMut(Difference) -> Result<()>,
) -> Result<Vec<(u64, u64)>> {
    let mut numbers = Vec::new();
    for index in 0..timeline.len() {
        match timeline.frame(index) {
            Ok(frame) => numbers.push((frame.meta.sequence, index)),
            Err(error) => {
                report.frames_unreadable += 1;
                visit(Difference::Unreadable(side, index, error))?;
            }
        }
    }
    // Stable: what has the same number stays in its order.
    numbers.sort_by_key(|&(sequence, _)| sequence);
    Ok(numbers)
}

fn matched<A: Timeline + ?Sized, B: Timeline + ?Sized>(
    (a, index_a): (&mut A, u64),
    (b, index_b): (&mut B, u64),
    settings: &DiffSettings,
    report: &mut DiffReport,
    visit: &mut impl FnMut(Difference) -> Result<()>,
) -> Result<()> {
    let (frame_a, frame_b) = match (a.frame(index_a), b.frame(index_b)) {
        (Ok(frame_a), Ok(frame_b)) => (frame_a, frame_b),
        // Readable a moment ago: the file is being changed.
        (Err(error), _) => {
            report.frames_unreadable += 1;
            return visit(Difference::Unreadable(Side::A, index_a, error));
        }
        (_, Err(error)) => {
            report.frames_unreadable += 1;
            return visit(Difference::Unreadable(Side::B, index_b, error));
        }
    };
    report.frames_matched += 1;
    report.pictures_different += u64::from(!same_picture(&frame_a, &frame_b));
    report.times_different += u64::from(frame_a.meta.captured_at != frame_b.meta.captured_at);
    let diff = compare(&frame_a, &frame_b, settings);
    report.add(&diff);
    if diff.is_equal() { Ok(()) } else { visit(Difference::Results(Box::new(diff))) }
}

fn same_picture(a: &Frame<'_>, b: &Frame<'_>) -> bool {
    a.pixels == b.pixels && a.jpeg == b.jpeg
}

impl fmt::Display for DiffReport {
    /// A few lines with every sum that is not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames_a, frames_b, frames_matched, frames_different, .. } = self;
        let verdict = if self.is_equal() { "equal" } else { "different" };
        writeln!(
            f,
            "{verdict}: {frames_matched} frames in both (of {frames_a} and {frames_b}), {frames_different} differ"
        )?;
        let sums = [
            (self.frames_only_a, "frames only in the first"),
            (self.frames_only_b, "frames only in the second"),
            (self.frames_unreadable, "frames cannot be read"),
            (self.rows_added, "rows added"),
            (self.rows_lost, "rows lost"),
            (self.rows_moved, "rows moved"),
            (self.rows_class_changed, "rows of another class"),
            (self.rows_confidence_changed, "rows of another confidence"),
            (self.rows_tracker_changed, "rows of another track"),
            (self.pictures_different, "pictures differ"),
            (self.times_different, "capture times differ"),
        ];
        for (count, what) in sums.into_iter().filter(|&(count, _)| count > 0) {
            writeln!(f, "  {count} {what}")?;
        }
        write!(f, "  {} rows the same", self.rows_same)?;
        if self.rows_moved > 0 {
            write!(f, "; moved ones overlap by {:.3} on average", self.moved_iou_mean)?;
        }
        if self.rows_confidence_changed > 0 {
            let (mean, max) = (self.confidence_delta_mean, self.confidence_delta_max);
            write!(f, "; confidence {mean:+.4} on average, {max:.4} at most")?;
        }
        Ok(())
    }
}
