//! What the network said, drawn: each kind of result at the place and in the colours of modlib's `Annotator`.

use std::fmt::Write as _;

use crate::frame::{Frame, Roi};
use crate::results::{ResultKind, ResultState};
use crate::view::{Classification, Detection, Instance, OrientedBox, Pose, Rows, SegmentsView};

use super::canvas::{Canvas, Color};

/// Colours of the classes, by number: modlib's palette.
const PALETTE: [u32; 31] = [
    0xffcc14, 0xfdbc4f, 0xfaac89, 0xf89cc4, 0xdb748f, 0xbd4c59, 0xa02424, 0xbd3424, 0xdb4525, 0xf85525, 0xf9713b,
    0xf98d52, 0xfaa968, 0xf9ba7f, 0xf7cb95, 0xf6dcac, 0xb9c6a5, 0x7cb09f, 0x3f9998, 0x028391, 0x02627b, 0x014164,
    0x01204e, 0x031c3d, 0x06182d, 0x08141c, 0x20291f, 0x383f21, 0x505424, 0x8a7c1f, 0xc5a419,
];

/// Bones between the 17 keypoints of COCO.
const SKELETON: [(usize, usize); 12] =
    [(5, 6), (11, 12), (5, 7), (7, 9), (5, 11), (11, 13), (13, 15), (6, 8), (8, 10), (6, 12), (12, 14), (14, 16)];

/// Keypoints below this score are not drawn.
const KEYPOINT_SCORE_MIN: f32 = 0.5;

/// Pixels from the centre of a keypoint to its edge.
const KEYPOINT_RADIUS: i32 = 3;

fn color_of(class_id: i32) -> Color {
    Color::rgb(PALETTE[class_id.rem_euclid(PALETTE.len() as i32) as usize])
}

/// Draws every result of the frame whose confidence is above `threshold`, whatever its kind.
pub fn everything(canvas: &mut Canvas<'_>, frame: &Frame<'_>, threshold: f32) {
    let ResultState::Some(kind) = frame.results.state() else { return };
    match kind {
        ResultKind::Classifications => classes(canvas, frame.classifications().above(threshold).iter()),
        ResultKind::Detections => boxes(canvas, frame.detections().above(threshold).iter()),
        ResultKind::Poses => poses(canvas, frame.poses().above(threshold).iter()),
        ResultKind::InstanceSegments => instances(canvas, frame, frame.instances().above(threshold).iter()),
        ResultKind::OrientedBoxes => oriented_boxes(canvas, frame.oriented_boxes().above(threshold).iter()),
        ResultKind::Segments => segments(canvas, frame),
        ResultKind::Anomaly => heat_map(canvas, frame),
    }
}

/// Boxes with class and confidence.
pub fn boxes<'a>(canvas: &mut Canvas<'_>, rows: impl Iterator<Item = Detection<'a>>) {
    for row in rows {
        upright(canvas, row.in_picture(), row.class_id, row.label, row.confidence, row.tracker_id);
    }
}

/// Boxes that are turned by an angle.
pub fn oriented_boxes<'a>(canvas: &mut Canvas<'_>, rows: impl Iterator<Item = OrientedBox<'a>>) {
    for row in rows {
        let [cx, cy, w, h] = row.in_picture();
        let (width, height) = (canvas.width() as f32, canvas.height() as f32);
        let (sin, cos) = row.angle.sin_cos();
        // Turned in pixels: a fraction of the width is not as long as the same fraction of the height.
        let corner = |dx: f32, dy: f32| {
            let (x, y) = (dx * w * width, dy * h * height);
            canvas.corner_at([cx + (x * cos - y * sin) / width, cy + (x * sin + y * cos) / height])
        };
        let corners = [corner(-0.5, -0.5), corner(0.5, -0.5), corner(0.5, 0.5), corner(-0.5, 0.5)];
        let color = color_of(row.class_id);
        canvas.outline(&corners, 1, color);
        label(canvas, corners[0], color, row.class_id, row.label, row.confidence, row.tracker_id);
    }
}

/// Keypoints and, where there are 17 of COCO, the bones between them.
pub fn poses<'a>(canvas: &mut Canvas<'_>, rows: impl Iterator<Item = Pose<'a>>) {
    for pose in rows {
        let point = |canvas: &Canvas<'_>, index: usize| {
            let visible = *pose.scores.get(index)? >= KEYPOINT_SCORE_MIN;
            pose.keypoint_in_picture(index).filter(|_| visible).map(|place| canvas.pixel_at(place))
        };
        for index in 0..pose.keypoints.len() {
            if let Some(place) = point(canvas, index) {
                canvas.disc(place, KEYPOINT_RADIUS, Color::GREEN);
            }
        }
        let bones: &[_] = if pose.keypoints.len() == 17 { &SKELETON } else { &[] };
        for &(a, b) in bones {
            if let Some((from, to)) = point(canvas, a).zip(point(canvas, b)) {
                canvas.line(from, to, 2, Color::YELLOW);
            }
        }
    }
}

/// Masks of instances as a tint, and their boxes.
pub fn instances<'a>(canvas: &mut Canvas<'_>, frame: &Frame<'_>, rows: impl Iterator<Item = Instance<'a>>) {
    let region = frame.coordinates();
    let [height, width] = frame.instances().mask_shape();
    for row in rows {
        // The crop's place on its canvas follows from its box: modlib's rule (`_bbox_to_slices`).
        let corner = |value: f32, side: u16| (f64::from(value) * f64::from(side)).floor().clamp(0.0, f64::from(side));
        let (left, top) = (corner(row.bbox[0], width) as usize, corner(row.bbox[1], height) as usize);
        let (crop_width, crop_height) = (usize::from(row.crop.width), usize::from(row.crop.height));
        let color = color_of(row.class_id);
        each_pixel(canvas, region, usize::from(width), usize::from(height), |canvas, x, y, column, line| {
            let Some((column, line)) = column.checked_sub(left).zip(line.checked_sub(top)) else { return };
            if column < crop_width && line < crop_height && row.mask[line * crop_width + column] != 0 {
                canvas.tint(x, y, color);
            }
        });
        upright(canvas, row.in_picture(), row.class_id, row.label, row.confidence, row.tracker_id);
    }
}

/// The class of each pixel as a tint.
pub fn segments(canvas: &mut Canvas<'_>, frame: &Frame<'_>) {
    let Some(view) = frame.segments() else { return };
    each_pixel(canvas, frame.coordinates(), view.width, view.height, |canvas, x, y, column, line| {
        let class = view.mask[line * view.width + column];
        if class != SegmentsView::BACKGROUND {
            canvas.tint(x, y, color_of(i32::from(class)));
        }
    });
}

/// The heat map of an anomaly as a tint from blue (none) to red (its largest value), and the score.
pub fn heat_map(canvas: &mut Canvas<'_>, frame: &Frame<'_>) {
    let Some(view) = frame.anomaly() else { return };
    let largest = view.heat_map().fold(0.0_f32, f32::max);
    let values = view.heat_map_bytes();
    each_pixel(canvas, frame.coordinates(), view.width, view.height, |canvas, x, y, column, line| {
        let at = 4 * (line * view.width + column);
        let Some(bytes) = values[at..].first_chunk() else { return };
        let heat = (f32::from_le_bytes(*bytes) / largest * 255.0).clamp(0.0, 255.0) as u8;
        canvas.tint(x, y, Color { r: heat, g: 0, b: 255 - heat });
    });
    let bottom = canvas.height() - Canvas::text_height(1);
    let mut text = heapless::String::<32>::new();
    let _ = write!(text, "anomaly {:.3}", view.score);
    canvas.text((0, bottom), &text, 1, Color::WHITE, Color::BLACK);
}

/// Ranked classes as lines of text in the lower left corner, at most five.
pub fn classes<'a>(canvas: &mut Canvas<'_>, rows: impl Iterator<Item = Classification<'a>>) {
    let mut lines = heapless::Vec::<Classification<'a>, 5>::new();
    // The five best; the others do not fit.
    lines.extend(rows.take(5));
    let mut top = canvas.height() - lines.len() as i32 * Canvas::text_height(1);
    for row in &lines {
        let color = color_of(row.class_id);
        label_at(canvas, (0, top), color, row.class_id, row.label, row.confidence, None);
        top += Canvas::text_height(1);
    }
}

/// Frames and results a second, in the upper left corner, as modlib shows them.
pub fn rates(canvas: &mut Canvas<'_>, fps: f64, dps: f64) {
    let scale = (canvas.height() / 240).max(1);
    let mut text = heapless::String::<64>::new();
    let _ = write!(text, "FPS {fps:.1}  DPS {dps:.1}");
    canvas.text((0, 0), &text, scale, Color::WHITE, Color::BLACK);
}

fn upright(
    canvas: &mut Canvas<'_>,
    [x0, y0, x1, y1]: [f32; 4],
    class_id: i32,
    name: Option<&str>,
    confidence: f32,
    tracker_id: Option<i64>,
) {
    let ((left, top), (right, bottom)) = (canvas.corner_at([x0, y0]), canvas.corner_at([x1, y1]));
    let color = color_of(class_id);
    canvas.outline(&[(left, top), (right, top), (right, bottom), (left, bottom)], 1, color);
    label(canvas, (left, top), color, class_id, name, confidence, tracker_id);
}

/// A label just inside the corner of a box, as modlib has it.
fn label(
    canvas: &mut Canvas<'_>,
    (left, top): (i32, i32),
    color: Color,
    class_id: i32,
    name: Option<&str>,
    confidence: f32,
    tracker_id: Option<i64>,
) {
    label_at(canvas, (left.max(0), top.max(0)), color, class_id, name, confidence, tracker_id);
}

fn label_at(
    canvas: &mut Canvas<'_>,
    at: (i32, i32),
    color: Color,
    class_id: i32,
    name: Option<&str>,
    confidence: f32,
    tracker_id: Option<i64>,
) {
    let mut text = heapless::String::<64>::new();
    // A name that is longer than the text has room is left out by itself; the number is not.
    let _ = match name {
        Some(name) if name.len() <= 40 => write!(text, "{name}"),
        _ => write!(text, "{class_id}"),
    };
    let _ = write!(text, " {confidence:.2}");
    if let Some(id) = tracker_id.filter(|&id| id >= 0) {
        let _ = write!(text, " #{id}");
    }
    canvas.text(at, &text, 1, color.contrast(), color);
}

/// Calls `visit(canvas, x, y, column, line)` for each pixel of the picture inside `region`, with the cell of a grid of
/// `width × height` over that region which it falls on.
fn each_pixel(
    canvas: &mut Canvas<'_>,
    region: Roi,
    width: usize,
    height: usize,
    mut visit: impl FnMut(&mut Canvas<'_>, i32, i32, usize, usize),
) {
    if width == 0 || height == 0 {
        return;
    }
    for y in 0..canvas.height() {
        let line = cell(y, canvas.height(), region.top, region.height, height);
        let Some(line) = line else { continue };
        for x in 0..canvas.width() {
            if let Some(column) = cell(x, canvas.width(), region.left, region.width, width) {
                visit(canvas, x, y, column, line);
            }
        }
    }
}

/// Which of `cells` over `start..start + extent` (fractions) the middle of pixel `pixel` of `pixels` falls on.
fn cell(pixel: i32, pixels: i32, start: f64, extent: f64, cells: usize) -> Option<usize> {
    let fraction = ((f64::from(pixel) + 0.5) / f64::from(pixels) - start) / extent;
    (0.0..1.0).contains(&fraction).then(|| ((fraction * cells as f64) as usize).min(cells - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{FrameMeta, ImageType, PictureInfo, PixelFormat};
    use crate::results::Results;

    const WIDTH: i32 = 200;
    const HEIGHT: i32 = 100;

    /// The pixels that changed when the frame's results were drawn on black.
    fn changed(meta: &FrameMeta, results: &Results, side: &[u8]) -> Vec<(i32, i32)> {
        let info = PictureInfo::packed(PixelFormat::Bgr888, WIDTH as u32, HEIGHT as u32);
        let mut bytes = vec![0; info.bytes().unwrap()];
        let mut canvas = Canvas::new(info, &mut bytes).unwrap();
        let frame = Frame { meta, results, pixels: None, jpeg: None, side, sensor: &[], labels: None, losses: &[] };
        everything(&mut canvas, &frame, 0.4);
        let all = (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| (x, y)));
        all.filter(|&(x, y)| canvas.get(x, y) != Some(Color::BLACK)).collect()
    }

    fn detection(bbox: [f32; 4]) -> Results {
        let mut results = Results::new();
        results.begin(ResultKind::Detections);
        results.push_detection(bbox, 0.9, 2, None).unwrap();
        results
    }

    #[test]
    fn a_box_is_drawn_where_it_lies_in_the_picture() {
        let pixels = changed(&FrameMeta::new(), &detection([0.25, 0.5, 0.75, 0.9]), &[]);
        for corner in [(50, 50), (150, 50), (50, 90), (150, 90)] {
            assert!(pixels.contains(&corner), "{corner:?}");
        }
        assert!(pixels.iter().all(|&(x, y)| (50..=150).contains(&x) && (50..=90).contains(&y)));
        assert!(!pixels.contains(&(120, 80)), "the inside stays free");
    }

    #[test]
    fn the_region_of_the_network_is_mapped_unless_the_picture_is_what_it_saw() {
        let mut meta = FrameMeta::new();
        meta.roi = Some(Roi { left: 0.5, top: 0.0, width: 0.5, height: 1.0 });
        let results = detection([0.0, 0.5, 1.0, 0.9]);
        assert!(changed(&meta, &results, &[]).iter().all(|&(x, _)| x >= 100));
        meta.image_type = Some(ImageType::InputTensor);
        assert!(changed(&meta, &results, &[]).contains(&(0, 50)));
    }

    #[test]
    fn what_is_below_the_threshold_or_no_result_is_not_drawn() {
        let mut results = detection([0.1, 0.1, 0.9, 0.9]);
        results.confidence[0] = 0.3;
        assert!(changed(&FrameMeta::new(), &results, &[]).is_empty());
        assert!(changed(&FrameMeta::new(), &Results::new(), &[]).is_empty());
    }

    #[test]
    fn keypoints_below_their_score_are_not_drawn() {
        let mut results = Results::new();
        results.begin(ResultKind::Poses);
        results.push_pose(0.9, &[[0.5, 0.5], [0.1, 0.1]], &[0.9, 0.2], None, None).unwrap();
        let pixels = changed(&FrameMeta::new(), &results, &[]);
        assert!(pixels.contains(&(100, 50)) && pixels.contains(&(103, 50)));
        assert!(pixels.iter().all(|&(x, _)| x > 90));
    }

    #[test]
    fn a_mask_tints_its_cells_only() {
        let mut results = Results::new();
        results.begin(ResultKind::Segments);
        results.mask_shape = [1, 2];
        let pixels = changed(&FrameMeta::new(), &results, &[255, 3]);
        assert_eq!(pixels.len(), (WIDTH / 2 * HEIGHT) as usize);
        assert!(pixels.iter().all(|&(x, _)| x >= 100));
    }

    #[test]
    fn a_turned_box_is_turned_in_pixels() {
        let mut results = Results::new();
        results.begin(ResultKind::OrientedBoxes);
        // 100 × 10 pixels, turned by a right angle: 10 × 100.
        results.push_oriented_box([0.5, 0.5, 0.5, 0.1], std::f32::consts::FRAC_PI_2, 0.9, 0, None).unwrap();
        let pixels = changed(&FrameMeta::new(), &results, &[]);
        assert!(pixels.contains(&(105, 99)) && pixels.contains(&(95, 50)), "{:?}", &pixels[..10]);
    }

    #[test]
    fn numbers_that_are_none_and_boxes_that_are_huge_do_no_harm() {
        for value in [f32::NAN, f32::INFINITY, -1e30, 1e30] {
            let mut results = Results::new();
            results.begin(ResultKind::OrientedBoxes);
            results.push_oriented_box([value; 4], value, 0.9, -7, None).unwrap();
            changed(&FrameMeta::new(), &results, &[]);
            changed(&FrameMeta::new(), &detection([value; 4]), &[]);
        }
    }
}
