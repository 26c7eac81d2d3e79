//! Two versions of an algorithm compared: what is the same is found the same, and every kind of difference by its name.
#![cfg(feature = "std")]

use kinora::diff::{
    Change, DiffReport, DiffSettings, Difference, FrameDiff, PlaneChange, RowChange, Side, compare, compare_timelines,
};
use kinora::frame::Roi;
use kinora::results::{MaskCrop, ResultKind, ResultState};
use kinora::slot::{Slot, SlotSizes};
use kinora::timeline::Timeline;
use kinora::{Error, Frame, Labels, Timestamp};

/// Frames in memory; frame `damaged` cannot be read.
struct Memory {
    slots: Vec<Box<Slot>>,
    damaged: Option<u64>,
}

impl Timeline for Memory {
    fn len(&self) -> u64 {
        self.slots.len() as u64
    }

    fn captured_at(&self, index: u64) -> Option<Timestamp> {
        self.slots.get(index as usize).map(|slot| slot.meta.captured_at)
    }

    fn seek_time(&self, at: Timestamp) -> u64 {
        self.slots.iter().take_while(|slot| slot.meta.captured_at < at).count() as u64
    }

    fn frame(&mut self, index: u64) -> kinora::Result<Frame<'_>> {
        if self.damaged == Some(index) {
            return Err(Error::Setting(format!("frame {index} is damaged")));
        }
        Ok(self.slots[index as usize].frame(None))
    }
}

fn slot(sequence: u64, fill: impl FnOnce(&mut Slot)) -> Box<Slot> {
    let mut slot = Slot::new(&SlotSizes { pixels: 0, jpeg: 64, side: 256, sensor: 0, scratch: 0 });
    slot.meta.sequence = sequence;
    (slot.meta.width, slot.meta.height) = (Some(640), Some(480));
    fill(&mut slot);
    slot
}

/// A frame with one box at `x`.
fn one_box(sequence: u64, x: f32, confidence: f32, class_id: i32) -> Box<Slot> {
    slot(sequence, |slot| {
        slot.results.begin(ResultKind::Detections);
        slot.results.push_detection([x, 0.1, x + 0.2, 0.5], confidence, class_id, None).unwrap();
    })
}

fn memory(slots: Vec<Box<Slot>>) -> Memory {
    Memory { slots, damaged: None }
}

fn report(a: &mut Memory, b: &mut Memory) -> (DiffReport, Vec<Difference>) {
    let mut found = Vec::new();
    let report = compare_timelines(a, b, &DiffSettings::default(), |difference| {
        found.push(difference);
        Ok(())
    });
    (report.unwrap(), found)
}

fn diff(a: &Slot, b: &Slot) -> FrameDiff {
    compare(&a.frame(None), &b.frame(None), &DiffSettings::default())
}

fn only_change(diff: &FrameDiff) -> &Change {
    match diff.rows.as_slice() {
        [RowChange::Changed(change)] => change,
        other => panic!("one change expected, found {other:?}"),
    }
}

#[test]
fn a_recording_equals_itself_whatever_the_order_of_the_rows() {
    let boxes = [[0.1, 0.1, 0.3, 0.3], [0.5, 0.5, 0.9, 0.9], [0.1, 0.1, 0.3, 0.3]];
    let filled = |order: [usize; 3]| {
        slot(4, |slot| {
            slot.results.begin(ResultKind::Detections);
            for i in order {
                slot.results.push_detection(boxes[i], 0.5 + i as f32 / 10.0, i as i32 % 2, Some(i as i64)).unwrap();
            }
        })
    };
    let mut nan = one_box(5, 0.2, f32::NAN, 0);
    nan.results.bbox[0][3] = f32::INFINITY;
    let mut a = memory(vec![filled([0, 1, 2]), nan]);
    let mut nan = one_box(5, 0.2, f32::NAN, 0);
    nan.results.bbox[0][3] = f32::INFINITY;
    let mut b = memory(vec![filled([2, 0, 1]), nan]);
    let (report, found) = report(&mut a, &mut b);
    assert!(report.is_equal(), "{report}");
    assert!(found.is_empty());
    assert_eq!((report.rows_same, report.frames_matched), (4, 2));
    assert!(report.to_string().starts_with("equal: 2 frames in both"));
}

#[test]
fn frames_are_matched_by_sequence_and_not_by_place() {
    let mut a = memory(vec![one_box(1, 0.1, 0.9, 0), one_box(2, 0.2, 0.9, 0), one_box(4, 0.4, 0.9, 0)]);
    let mut b = memory(vec![one_box(2, 0.2, 0.9, 0), one_box(3, 0.3, 0.9, 0), one_box(4, 0.4, 0.9, 0)]);
    let (report, found) = report(&mut a, &mut b);
    assert_eq!((report.frames_matched, report.frames_only_a, report.frames_only_b), (2, 1, 1));
    assert_eq!(report.frames_different, 0);
    assert!(!report.is_equal());
    assert!(matches!(found[..], [Difference::Only(Side::A, 1), Difference::Only(Side::B, 3)]), "{found:?}");
}

#[test]
fn a_sequence_number_that_comes_again_is_matched_with_its_own_turn() {
    let looped = || memory(vec![one_box(1, 0.1, 0.9, 0), one_box(2, 0.2, 0.9, 0), one_box(1, 0.3, 0.9, 0)]);
    let (same, _) = report(&mut looped(), &mut looped());
    assert!(same.is_equal());
    let mut shorter = memory(vec![one_box(1, 0.1, 0.9, 0), one_box(2, 0.2, 0.9, 0)]);
    let (report, found) = report(&mut looped(), &mut shorter);
    assert_eq!(report.frames_only_a, 1);
    assert!(matches!(found[..], [Difference::Only(Side::A, 1)]));
}

#[test]
fn a_moved_box_is_no_lost_box_until_it_overlaps_too_little() {
    let moved = diff(&one_box(1, 0.10, 0.9, 0), &one_box(1, 0.12, 0.9, 0));
    let change = only_change(&moved);
    assert!(change.moved && !change.class_changed && !change.confidence_changed);
    assert!((change.iou.unwrap() - 0.18 / 0.22).abs() < 1e-5);
    let far = diff(&one_box(1, 0.1, 0.9, 0), &one_box(1, 0.25, 0.9, 0));
    assert!(matches!(far.rows[..], [RowChange::Lost(_), RowChange::Added(_)]), "{far}");
    let loose = DiffSettings { iou_min: 0.1 };
    let near = compare(&one_box(1, 0.1, 0.9, 0).frame(None), &one_box(1, 0.25, 0.9, 0).frame(None), &loose);
    assert_eq!(near.rows.len(), 1);
}

#[test]
fn class_confidence_and_track_changes_are_told_apart() {
    let mut b = one_box(1, 0.1, 0.75, 3);
    b.results.tracker_id.push(7).unwrap();
    let all = diff(&one_box(1, 0.1, 0.5, 2), &b);
    let change = only_change(&all);
    assert!(!change.moved && change.class_changed && change.confidence_changed && change.tracker_changed);
    assert_eq!(change.confidence_delta, 0.25);

    let (mut a, mut b) = (memory(vec![one_box(1, 0.1, 0.5, 2)]), memory(vec![b]));
    let (report, _) = report(&mut a, &mut b);
    assert_eq!((report.rows_class_changed, report.rows_tracker_changed, report.rows_moved), (1, 1, 0));
    assert_eq!((report.confidence_delta_mean, report.confidence_delta_max), (0.25, 0.25));
}

#[test]
fn labels_of_the_recording_name_the_rows() {
    let mut labels = Labels::new();
    labels.push("person").unwrap();
    let a = one_box(1, 0.1, 0.5, 0);
    let empty = slot(1, |slot| slot.results.begin(ResultKind::Detections));
    let diff = compare(&a.frame(Some(&labels)), &empty.frame(Some(&labels)), &DiffSettings::default());
    assert_eq!(diff.to_string(), "#1:\n  - person 0.500 [0.100 0.100 0.300 0.500]");
}

#[test]
fn the_same_place_in_the_picture_is_the_same_whatever_region_it_is_given_in() {
    let a = slot(1, |slot| {
        slot.meta.roi = Some(Roi { left: 0.25, top: 0.0, width: 0.5, height: 1.0 });
        slot.results.begin(ResultKind::Detections);
        slot.results.push_detection([0.5, 0.25, 1.0, 0.5], 0.5, 0, None).unwrap();
    });
    let b = slot(1, |slot| {
        slot.results.begin(ResultKind::Detections);
        slot.results.push_detection([0.5, 0.25, 0.75, 0.5], 0.5, 0, None).unwrap();
    });
    assert!(diff(&a, &b).is_equal());
}

#[test]
fn an_imported_null_differs_from_neither_no_network_nor_nothing_found_but_these_two_do() {
    let with = |state| slot(1, |slot| slot.results.reset(state));
    let empty = ResultState::Empty(ResultKind::Poses);
    assert!(diff(&with(ResultState::Unknown), &with(empty)).is_equal());
    assert!(diff(&with(ResultState::Absent), &with(ResultState::Unknown)).is_equal());
    let differs = diff(&with(ResultState::Absent), &with(empty));
    assert_eq!(differs.states, Some(("no network".into(), "Poses, nothing found".into())));
    let kinds = diff(&one_box(1, 0.1, 0.5, 0), &slot(1, |slot| slot.results.begin(ResultKind::Segments)));
    assert!(!kinds.is_equal() && kinds.rows.is_empty());
}

#[test]
fn classes_are_matched_by_number_and_the_best_is_named() {
    let ranked = |rows: &[(f32, i32)]| {
        slot(1, |slot| {
            slot.results.begin(ResultKind::Classifications);
            for &(confidence, class_id) in rows {
                slot.results.push_classification(confidence, class_id).unwrap();
            }
        })
    };
    let changed = diff(&ranked(&[(0.6, 1), (0.3, 2), (0.1, 3)]), &ranked(&[(0.5, 2), (0.4, 1), (0.05, 9)]));
    assert_eq!(changed.best_class, Some((1, 2)));
    let kinds: Vec<_> = changed.rows.iter().map(std::mem::discriminant).collect();
    assert_eq!((kinds.len(), changed.same), (4, 0), "{changed}");
    assert!(matches!(&changed.rows[2], RowChange::Lost(row) if row.class_id == Some(3)));
    assert!(matches!(&changed.rows[3], RowChange::Added(row) if row.class_id == Some(9)));
}

#[test]
fn persons_tell_how_far_their_keypoints_moved() {
    let person = |x: f32, score: f32| {
        slot(1, |slot| {
            slot.results.begin(ResultKind::Poses);
            let points = [[0.1, 0.1], [x, 0.5], [0.4, 0.9]];
            slot.results.push_pose(0.9, &points, &[0.5, score, 0.5], None, None).unwrap();
        })
    };
    let moved = diff(&person(0.2, 0.5), &person(0.25, 0.5));
    let change = only_change(&moved);
    assert!(change.moved && (change.keypoint_distance_max.unwrap() - 0.05).abs() < 1e-6);
    let scores = diff(&person(0.2, 0.5), &person(0.2, 0.6));
    let change = only_change(&scores);
    assert!(!change.moved && change.detail_changed);
}

#[test]
fn instances_tell_how_many_pixels_of_the_mask_changed() {
    let instance = |mask: [u8; 6]| {
        slot(1, |slot| {
            slot.results.begin(ResultKind::InstanceSegments);
            let (offset, bytes) = slot.side_append(6).unwrap();
            bytes.copy_from_slice(&mask);
            let crop = MaskCrop { offset, width: 3, height: 2 };
            slot.results.push_instance([0.1, 0.1, 0.4, 0.3], crop, 0.5, 0, None).unwrap();
        })
    };
    assert!(diff(&instance([1; 6]), &instance([1; 6])).is_equal());
    let changed = diff(&instance([1; 6]), &instance([1, 0, 1, 1, 0, 1]));
    assert_eq!(only_change(&changed).mask_pixels_changed, Some(2));
}

#[test]
fn turned_boxes_are_one_object_while_they_overlap() {
    let turned = |angle: f32| {
        slot(1, |slot| {
            slot.results.begin(ResultKind::OrientedBoxes);
            slot.results.push_oriented_box([0.5, 0.5, 0.2, 0.2], angle, 0.5, 0, None).unwrap();
        })
    };
    assert!(diff(&turned(0.3), &turned(0.3)).is_equal());
    let changed = diff(&turned(0.0), &turned(0.1));
    let change = only_change(&changed);
    assert!(change.moved && change.iou.unwrap() > 0.8);
}

#[test]
fn planes_are_compared_pixel_by_pixel() {
    let segments = |mask: [u8; 4]| {
        slot(1, |slot| {
            slot.results.begin(ResultKind::Segments);
            slot.results.mask_shape = [2, 2];
            slot.side_append(4).unwrap().1.copy_from_slice(&mask);
        })
    };
    assert!(diff(&segments([1, 2, 3, 255]), &segments([1, 2, 3, 255])).is_equal());
    let changed = diff(&segments([1, 2, 3, 255]), &segments([1, 2, 255, 3]));
    assert_eq!(changed.plane, Some(PlaneChange::Segments { pixels: 2, of: 4 }));

    let anomaly = |score: f64, heat: [f32; 2]| {
        slot(1, |slot| {
            slot.results.begin(ResultKind::Anomaly);
            slot.results.score = score;
            slot.results.mask_shape = [1, 2];
            let bytes = slot.side_append(8).unwrap().1;
            bytes[..4].copy_from_slice(&heat[0].to_le_bytes());
            bytes[4..].copy_from_slice(&heat[1].to_le_bytes());
        })
    };
    assert!(diff(&anomaly(0.5, [0.1, 0.2]), &anomaly(0.5, [0.1, 0.2])).is_equal());
    let changed = diff(&anomaly(0.5, [0.25, 0.5]), &anomaly(0.75, [0.25, 0.25]));
    assert_eq!(changed.plane, Some(PlaneChange::Anomaly { score_delta: 0.25, heat_max: 0.25 }));
}

#[test]
fn other_pictures_and_times_are_told_but_decide_nothing() {
    let mut b = one_box(1, 0.1, 0.5, 0);
    b.put_jpeg(&[1, 2, 3], 8, 8).unwrap();
    b.meta.captured_at = Timestamp::from_ns(5);
    let (report, found) = report(&mut memory(vec![one_box(1, 0.1, 0.5, 0)]), &mut memory(vec![b]));
    assert!(report.is_equal() && found.is_empty());
    assert_eq!((report.pictures_different, report.times_different), (1, 1));
}

#[test]
fn a_frame_that_cannot_be_read_is_a_difference_and_the_others_are_still_compared() {
    let mut a = memory((0..3).map(|i| one_box(i, 0.1, 0.5, 0)).collect());
    a.damaged = Some(1);
    let mut b = memory((0..3).map(|i| one_box(i, 0.1, 0.5, 0)).collect());
    let (report, found) = report(&mut a, &mut b);
    assert_eq!((report.frames_matched, report.frames_unreadable, report.frames_only_b), (2, 1, 1));
    assert!(!report.is_equal());
    assert!(matches!(found[0], Difference::Unreadable(Side::A, 1, _)));
}

#[test]
fn three_hundred_boxes_that_all_overlap_are_paired_without_loss() {
    let crowd = |shift: f32| {
        slot(1, |slot| {
            slot.results.begin(ResultKind::Detections);
            for i in 0..300 {
                let x = i as f32 * 1e-4 + shift;
                slot.results.push_detection([x, 0.1, x + 0.5, 0.6], 0.5, 0, None).unwrap();
            }
        })
    };
    let moved = diff(&crowd(0.0), &crowd(1e-5));
    assert_eq!(moved.rows.len(), 300);
    assert!(moved.rows.iter().all(|row| matches!(row, RowChange::Changed(change) if change.moved)));
}
