//! How much two boxes overlap, and which box of one frame is which of another.

/// Intersection over union of two boxes `[x0, y0, x1, y1]`, `0.0..=1.0`. Boxes with the same bits overlap wholly, also
/// when they have no area or are not numbers.
pub fn iou(a: [f32; 4], b: [f32; 4]) -> f32 {
    if a.map(f32::to_bits) == b.map(f32::to_bits) {
        return 1.0;
    }
    let [a, b] = [a.map(f64::from), b.map(f64::from)];
    let side = |low: usize, high: usize| (a[high].min(b[high]) - a[low].max(b[low])).max(0.0);
    let area = |r: [f64; 4]| (r[2] - r[0]).max(0.0) * (r[3] - r[1]).max(0.0);
    ratio(side(0, 2) * side(1, 3), area(a), area(b))
}

/// Intersection over union of two boxes `[centre x, centre y, width, height]` turned by `angle` radians about their
/// centres. `aspect`: width of the picture divided by its height; angles are meant in square pixels.
pub fn oriented_iou(a: ([f32; 4], f32), b: ([f32; 4], f32), aspect: f64) -> f32 {
    if a.0.map(f32::to_bits) == b.0.map(f32::to_bits) && a.1.to_bits() == b.1.to_bits() {
        return 1.0;
    }
    let (p, q) = (corners(a, aspect), corners(b, aspect));
    let both = clip(&p, &q);
    ratio(polygon_area(&both), polygon_area(&p), polygon_area(&q))
}

fn ratio(intersection: f64, area_a: f64, area_b: f64) -> f32 {
    let union = area_a + area_b - intersection;
    // Not a number (from a box that is none) fails the comparison too.
    if union > 0.0 { (intersection / union).clamp(0.0, 1.0) as f32 } else { 0.0 }
}

type Point = [f64; 2];

/// Corners in order around the box, with the horizontal axis stretched to square pixels.
fn corners(([cx, cy, w, h], angle): ([f32; 4], f32), aspect: f64) -> Vec<Point> {
    let (cx, cy) = (f64::from(cx) * aspect, f64::from(cy));
    let (w, h) = (f64::from(w).abs() * aspect / 2.0, f64::from(h).abs() / 2.0);
    let (sin, cos) = f64::from(angle).sin_cos();
    [[-w, -h], [w, -h], [w, h], [-w, h]].map(|[x, y]| [cx + x * cos - y * sin, cy + x * sin + y * cos]).to_vec()
}

/// The part of `subject` inside the convex polygon `window` (Sutherland and Hodgman, 1974); at most eight corners.
fn clip(subject: &[Point], window: &[Point]) -> Vec<Point> {
    let mut inside = subject.to_vec();
    for (i, &from) in window.iter().enumerate() {
        let to = window[(i + 1) % window.len()];
        let side = |p: Point| (to[0] - from[0]) * (p[1] - from[1]) - (to[1] - from[1]) * (p[0] - from[0]);
        let input = std::mem::take(&mut inside);
        for (j, &p) in input.iter().enumerate() {
            let q = input[(j + 1) % input.len()];
            let (sp, sq) = (side(p), side(q));
            if sp >= 0.0 {
                inside.push(p);
            }
            if (sp >= 0.0) != (sq >= 0.0) {
                let t = sp / (sp - sq);
                inside.push([p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])]);
            }
        }
    }
    inside
}

fn polygon_area(points: &[Point]) -> f64 {
    let twice: f64 = (0..points.len())
        .map(|i| {
            let (p, q) = (points[i], points[(i + 1) % points.len()]);
            p[0] * q[1] - q[0] * p[1]
        })
        .sum();
    twice.abs() / 2.0
}

/// A row of the one frame that is a row of the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// Row of the first frame.
    pub a: usize,
    /// Row of the second.
    pub b: usize,
    /// How much they overlap.
    pub iou: f32,
    same_class: bool,
    confidence_distance: f32,
}

/// What [`pair_up`] asks about two rows.
pub struct Likeness {
    /// How much they overlap, `0.0..=1.0`.
    pub iou: f32,
    /// True when both are of one class.
    pub same_class: bool,
    /// Distance of their confidences.
    pub confidence_distance: f32,
}

/// Pairs rows that overlap by at least `iou_min` (and at all), each at most once: rows of one class before rows of two,
/// larger overlaps first, then the nearer confidence, then the order of the rows. The result is in the order of `a`.
///
/// Cost: `rows_a × rows_b` overlaps and a sort of those that reach `iou_min`.
pub fn pair_up(rows_a: usize, rows_b: usize, iou_min: f32, likeness: impl Fn(usize, usize) -> Likeness) -> Vec<Pair> {
    let mut possible = Vec::new();
    for a in 0..rows_a {
        for b in 0..rows_b {
            let Likeness { iou, same_class, confidence_distance } = likeness(a, b);
            if iou > 0.0 && iou >= iou_min {
                possible.push(Pair { a, b, iou, same_class, confidence_distance });
            }
        }
    }
    possible.sort_by(|x, y| {
        (y.same_class.cmp(&x.same_class))
            .then(y.iou.total_cmp(&x.iou))
            .then(x.confidence_distance.total_cmp(&y.confidence_distance))
            .then((x.a, x.b).cmp(&(y.a, y.b)))
    });
    let (mut taken_a, mut taken_b) = (vec![false; rows_a], vec![false; rows_b]);
    possible.retain(|pair| {
        let free = !taken_a[pair.a] && !taken_b[pair.b];
        if free {
            (taken_a[pair.a], taken_b[pair.b]) = (true, true);
        }
        free
    });
    possible.sort_by_key(|pair| pair.a);
    possible
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f32, b: f32) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn boxes_overlap_by_their_shared_part() {
        assert!(close(iou([0.0, 0.0, 0.5, 1.0], [0.25, 0.0, 0.75, 1.0]), 1.0 / 3.0));
        assert_eq!(iou([0.0, 0.0, 0.2, 0.2], [0.2, 0.2, 0.4, 0.4]), 0.0);
        assert_eq!(iou([0.3; 4], [0.3; 4]), 1.0, "the same box, without area");
        assert_eq!(iou([f32::NAN; 4], [f32::NAN; 4]), 1.0);
        assert_eq!(iou([f32::NAN; 4], [0.0, 0.0, 1.0, 1.0]), 0.0);
        assert_eq!(iou([0.0, 0.0, f32::INFINITY, 1.0], [0.0, 0.0, 1.0, 1.0]), 0.0);
    }

    #[test]
    fn turned_boxes_overlap_in_square_pixels() {
        let square = [0.5, 0.5, 0.2, 0.2];
        // A square and the same turned by 45 degrees share a regular octagon: 2 (√2 - 1) of its area.
        let octagon = 2.0 * (2.0_f64.sqrt() - 1.0);
        let expected = (octagon / (2.0 - octagon)) as f32;
        assert!(close(oriented_iou((square, 0.0), (square, std::f32::consts::FRAC_PI_4), 1.0), expected));
        assert!(close(oriented_iou((square, 0.0), (square, std::f32::consts::FRAC_PI_2), 1.0), 1.0));
        // In a picture twice as wide as high, the same fractions are a rectangle: a quarter turn leaves a third.
        assert!(close(oriented_iou((square, 0.0), (square, std::f32::consts::FRAC_PI_2), 2.0), 1.0 / 3.0));
        assert_eq!(oriented_iou((square, f32::NAN), (square, 0.0), 1.0), 0.0);
    }

    #[test]
    fn each_row_is_paired_once_and_the_own_class_comes_first() {
        let iou = [[0.9, 0.6], [0.95, 0.7]];
        let same = [[true, true], [false, true]];
        let pairs =
            pair_up(2, 2, 0.5, |a, b| Likeness { iou: iou[a][b], same_class: same[a][b], confidence_distance: 0.0 });
        assert_eq!(pairs.iter().map(|p| (p.a, p.b)).collect::<Vec<_>>(), [(0, 0), (1, 1)]);
    }

    #[test]
    fn identical_boxes_are_told_apart_by_confidence() {
        let (a, b) = ([0.5_f32, 0.9], [0.9_f32, 0.5]);
        let pairs = pair_up(2, 2, 0.5, |i, j| Likeness {
            iou: 1.0,
            same_class: true,
            confidence_distance: (a[i] - b[j]).abs(),
        });
        assert_eq!(pairs.iter().map(|p| (p.a, p.b)).collect::<Vec<_>>(), [(0, 1), (1, 0)]);
    }
}
