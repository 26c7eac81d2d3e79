//! PoseNet: heat maps, short offsets and mid offsets on a coarse grid, to persons.
//!
//! The method is PersonLab's as the Coral decoder has it, which modlib and rpicam-apps carry: the best heat map peak that
//! belongs to no person yet is the root of a new one, and the other 16 keypoints are reached from it along the edges of the
//! skeleton by the mid offsets, each place being refined by the short offsets. Keypoints that coincide with those of a
//! better person do not count for the worse one.
//!
//! Both carry one error that is not here: the offsets of the edge left eye → nose are read from the channels of other
//! edges there (`edge_id > 16` where 16 is meant too), so that poses which are entered behind the nose differ a little.

use core::fmt;

use heapless::Vec;

use super::math::{heap_popped, heap_pushed, logit, sigmoid};
use super::{DecodeError, PostProcess, Target, shape, tensor};
use crate::imx500::NetworkDescription;
use crate::imx500::tensor::{OutputView, TensorView};
use crate::results::ResultKind;

/// Keypoints of a person: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right.
const KEYPOINTS: usize = 17;
const EDGES: usize = 16;
/// Cells of the grid; modlib's network has 31 × 23 = 713.
const CELLS_MAX: usize = 1024;
const CANDIDATES_MAX: usize = CELLS_MAX * KEYPOINTS;
/// Most persons of a frame; modlib stops at 10.
const POSES_MAX: usize = 32;
/// Roots that are followed in one frame. Only a heat map of noise has more that end below the threshold.
const ROOTS_MAX: usize = 64;
/// Input pixels from one cell to the next.
const STRIDE: f32 = 16.0;
const REFINEMENTS: usize = 5;
/// Limits that modlib sets to the values before it uses them.
const LOGIT_LIMIT: f32 = 10.0;
const SHORT_LIMIT: f32 = 10.0;
const MID_LIMITS: [f32; 2] = [-162.35, 191.49];

/// Parent and child of each edge.
const EDGE_ENDS: [(u8, u8); EDGES] = [
    (0, 1),
    (1, 3),
    (0, 2),
    (2, 4),
    (0, 5),
    (5, 7),
    (7, 9),
    (5, 11),
    (11, 13),
    (13, 15),
    (0, 6),
    (6, 8),
    (8, 10),
    (6, 12),
    (12, 14),
    (14, 16),
];

/// Decodes three tensors over one grid: heat maps `[h, w, 17]` (logits), short offsets `[h, w, 34]` and mid offsets
/// `[h, w, 64]` (input pixels). Holds its memory: about 110 KB.
#[derive(Clone)]
pub struct Posenet {
    /// Keypoints below this confidence are no roots, and persons below it are left out, `0.0..=1.0`. modlib has 0,
    /// rpicam-apps 0.5.
    pub threshold: f32,
    /// Most persons, `1..=32`.
    pub poses_max: usize,
    /// Two keypoints of the same kind nearer than this are one, in input pixels.
    pub nms_radius: f32,
    /// Logits, cell by cell and there keypoint by keypoint.
    logits: [f32; CANDIDATES_MAX],
    /// Indices into `logits`, a heap with the greatest first.
    queue: Vec<u16, CANDIDATES_MAX>,
    poses: Vec<Pose, POSES_MAX>,
}

#[derive(Clone, Copy)]
struct Pose {
    /// In cells, y and x.
    points: [[f32; 2]; KEYPOINTS],
    scores: [f32; KEYPOINTS],
    score: f32,
}

/// A keypoint on its way into a pose.
#[derive(Clone, Copy)]
struct Step {
    point: [f32; 2],
    keypoint: usize,
    logit: f32,
}

impl Posenet {
    /// modlib's settings: threshold 0, ten persons, ten pixels.
    pub const fn new() -> Self {
        Self {
            threshold: 0.0,
            poses_max: 10,
            nms_radius: 10.0,
            logits: [0.0; CANDIDATES_MAX],
            queue: Vec::new(),
            poses: Vec::new(),
        }
    }

    /// True for three tensors `[h, w, 17]`, `[h, w, 34]`, `[h, w, 64]` with at most 1,024 cells.
    pub fn fits(network: &NetworkDescription) -> bool {
        let sizes = |index| network.outputs.get(index).and_then(shape::<3>);
        match (sizes(0), sizes(1), sizes(2), network.outputs.len()) {
            (Some([h, w, KEYPOINTS]), Some(short), Some(mid), 3) => {
                h * w <= CELLS_MAX && short == [h, w, 2 * KEYPOINTS] && mid == [h, w, 4 * EDGES]
            }
            _ => false,
        }
    }

    /// Takes over the heat maps, and queues their peaks that reach `least`.
    fn find_peaks(&mut self, heat_maps: &TensorView<'_>, grid: Grid, least: f32) {
        let Grid { height, width } = grid;
        let mut values = heat_maps.values();
        for keypoint in 0..KEYPOINTS {
            for x in 0..width {
                for (y, value) in values.by_ref().take(height).enumerate() {
                    self.logits[(y * width + x) * KEYPOINTS + keypoint] = value.clamp(-LOGIT_LIMIT, LOGIT_LIMIT);
                }
            }
        }
        self.queue.clear();
        let logits = &self.logits;
        let less = |a: u16, b: u16| logits[usize::from(a)] < logits[usize::from(b)];
        for cell in 0..height * width {
            let (y, x) = (cell / width, cell % width);
            let (rows, columns) = (y.saturating_sub(1)..(y + 2).min(height), x.saturating_sub(1)..(x + 2).min(width));
            for candidate in cell * KEYPOINTS..(cell + 1) * KEYPOINTS {
                let (own, keypoint) = (logits[candidate], candidate % KEYPOINTS);
                let mut around = rows.clone().flat_map(|y| columns.clone().map(move |x| y * width + x));
                if own >= least && !around.any(|cell| logits[cell * KEYPOINTS + keypoint] > own) {
                    // The queue has room for every candidate.
                    let _ = self.queue.push(candidate as u16);
                    heap_pushed(&mut self.queue, less);
                }
            }
        }
    }

    /// The best peak that is left.
    fn next_peak(&mut self) -> Option<usize> {
        let logits = &self.logits;
        heap_popped(&mut self.queue, |a, b| logits[usize::from(a)] < logits[usize::from(b)]);
        self.queue.pop().map(usize::from)
    }

    /// Follows the edges from a root, the surest keypoint first, until all 17 are placed.
    fn grow(&self, root: [f32; 2], keypoint: usize, offsets: &Offsets<'_>) -> Pose {
        let less = |a: Step, b: Step| a.logit < b.logit;
        let mut pose = Pose { points: [[-1.0; 2]; KEYPOINTS], scores: [0.0; KEYPOINTS], score: 0.0 };
        let (mut placed, mut steps) = ([false; KEYPOINTS], Vec::<Step, { 2 * EDGES + 1 }>::new());
        let _ = steps.push(Step { point: root, keypoint, logit: self.sample_logit(offsets.grid, root, keypoint) });
        loop {
            heap_popped(&mut steps, less);
            let Some(step) = steps.pop() else { break };
            if core::mem::replace(&mut placed[step.keypoint], true) {
                continue;
            }
            pose.points[step.keypoint] = step.point;
            pose.scores[step.keypoint] = sigmoid(step.logit);
            // Forward dy, forward dx, backward dy, backward dx: 16 channels each.
            let forward = EDGE_ENDS.iter().enumerate().map(|(edge, &(parent, child))| (edge, parent, child));
            let backward =
                EDGE_ENDS.iter().enumerate().map(|(edge, &(parent, child))| (2 * EDGES + edge, child, parent));
            for (channel, _, next) in forward.chain(backward).filter(|&(_, from, _)| usize::from(from) == step.keypoint)
            {
                let next = usize::from(next);
                if !placed[next] {
                    let point = offsets.follow(step.point, channel, next);
                    // Each edge is followed at most once in each direction.
                    let logit = self.sample_logit(offsets.grid, point, next);
                    let _ = steps.push(Step { point, keypoint: next, logit });
                    heap_pushed(&mut steps, less);
                }
            }
        }
        pose.score = mean_of_sorted(pose.scores, |_| true);
        pose
    }

    fn sample_logit(&self, grid: Grid, point: [f32; 2], keypoint: usize) -> f32 {
        grid.sample(point, |y, x| self.logits[(y * grid.width + x) * KEYPOINTS + keypoint])
    }

    /// Scores again without the keypoints that coincide with those of better persons. `order` has the best first.
    fn rescore(&mut self, order: &[usize], radius_squared: f32) {
        for (rank, &index) in order.iter().enumerate() {
            let pose = self.poses[index];
            let hidden: [bool; KEYPOINTS] = core::array::from_fn(|k| {
                let better = order[..rank].iter().map(|&better| self.poses[better].points[k]);
                better.into_iter().any(|point| distance_squared(pose.points[k], point) <= radius_squared)
            });
            self.poses[index].score = mean_of_sorted(pose.scores, |k| !hidden[k]);
        }
    }

    /// Indices of the persons, best first; equal ones in the order in which they were found.
    fn order(&self) -> Vec<usize, POSES_MAX> {
        let mut order: Vec<usize, POSES_MAX> = Vec::new();
        for (index, pose) in self.poses.iter().enumerate() {
            let place = order.partition_point(|&other| self.poses[other].score >= pose.score);
            let _ = order.insert(place, index);
        }
        order
    }
}

impl Default for Posenet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Posenet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Posenet");
        shown.field("threshold", &self.threshold).field("poses_max", &self.poses_max);
        shown.field("nms_radius", &self.nms_radius).finish_non_exhaustive()
    }
}

impl PostProcess for Posenet {
    /// Keypoints are fractions of the input tensor. Persons come best first.
    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        target.results.begin(ResultKind::Poses);
        let heat_maps = tensor(output, 0, None)?;
        let wrong = DecodeError::Shape { index: 0, elements: heat_maps.len() };
        let Some([height, width, KEYPOINTS]) = shape::<3>(heat_maps.tensor).filter(|s| s[0] * s[1] <= CELLS_MAX) else {
            return Err(wrong);
        };
        let grid = Grid { height, width };
        let short = tensor(output, 1, Some(height * width * 2 * KEYPOINTS))?;
        let mid = tensor(output, 2, Some(height * width * 4 * EDGES))?;
        let offsets = Offsets { grid, short, mid };
        let radius = self.nms_radius / STRIDE;
        let radius_squared = radius * radius;

        self.find_peaks(&heat_maps, grid, logit(f64::from(self.threshold) + 1e-6));
        self.poses.clear();
        let poses_max = self.poses_max.clamp(1, POSES_MAX);
        let mut roots = 0;
        while self.poses.len() < poses_max && roots < ROOTS_MAX {
            let Some(candidate) = self.next_peak() else { break };
            let (cell, keypoint) = (candidate / KEYPOINTS, candidate % KEYPOINTS);
            let root = offsets.refine([(cell / width) as f32, (cell % width) as f32], keypoint);
            let mut points = self.poses.iter().map(|pose| pose.points[keypoint]);
            if points.any(|point| distance_squared(root, point) <= radius_squared) {
                continue;
            }
            roots += 1;
            let pose = self.grow(root, keypoint, &offsets);
            if pose.score >= self.threshold {
                // Fewer than `POSES_MAX` so far.
                let _ = self.poses.push(pose);
            }
        }

        self.rescore(&self.order(), radius_squared);
        let (input_width, input_height) = (output.network.input.width as f64, output.network.input.height as f64);
        for &index in &self.order() {
            let pose = &self.poses[index];
            if pose.score < self.threshold {
                break;
            }
            let fraction = |cells: f32, size: f64| (f64::from(cells * STRIDE) / size) as f32;
            let points = pose.points.map(|[y, x]| [fraction(x, input_width), fraction(y, input_height)]);
            let _ = target.results.push_pose(pose.score, &points, &pose.scores, None, None);
        }
        Ok(())
    }
}

/// Mean over 17 of the scores that count, added from the greatest on: `f32` sums depend on the order.
fn mean_of_sorted(scores: [f32; KEYPOINTS], counts: impl Fn(usize) -> bool) -> f32 {
    let mut sorted: [usize; KEYPOINTS] = core::array::from_fn(|k| k);
    sorted.sort_unstable_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    sorted.iter().filter(|&&k| counts(k)).fold(0.0, |sum, &k| sum + scores[k]) / KEYPOINTS as f32
}

fn distance_squared(a: [f32; 2], b: [f32; 2]) -> f32 {
    let (dy, dx) = (b[0] - a[0], b[1] - a[1]);
    dy * dy + dx * dx
}

/// The grid that all three tensors lie over.
#[derive(Clone, Copy)]
struct Grid {
    height: usize,
    width: usize,
}

impl Grid {
    /// A place moved by an offset, kept inside.
    fn moved(self, [y, x]: [f32; 2], [dy, dx]: [f32; 2]) -> [f32; 2] {
        [(y + dy).clamp(0.0, self.height as f32 - 1.0), (x + dx).clamp(0.0, self.width as f32 - 1.0)]
    }

    /// Between the four cells around `point`, which lies inside the grid.
    fn sample(self, [y, x]: [f32; 2], value: impl Fn(usize, usize) -> f32) -> f32 {
        let ends = |at: f32, size: usize| {
            let floor = (at as usize).min(size - 1);
            let part = at - floor as f32;
            (floor, (floor + usize::from(part > 0.0)).min(size - 1), part)
        };
        let ((y0, y1, dy), (x0, x1, dx)) = (ends(y, self.height), ends(x, self.width));
        let top = (1.0 - dx) * value(y0, x0) + dx * value(y0, x1);
        let bottom = (1.0 - dx) * value(y1, x0) + dx * value(y1, x1);
        (1.0 - dy) * top + dy * bottom
    }
}

/// Both tensors of offsets, in cells.
struct Offsets<'a> {
    grid: Grid,
    short: TensorView<'a>,
    mid: TensorView<'a>,
}

impl Offsets<'_> {
    fn index(&self, y: usize, x: usize, channel: usize) -> usize {
        y + self.grid.height * (x + self.grid.width * channel)
    }

    fn short(&self, y: usize, x: usize, channel: usize) -> f32 {
        self.short.value(self.index(y, x, channel)).clamp(-SHORT_LIMIT, SHORT_LIMIT) / STRIDE
    }

    fn mid(&self, y: usize, x: usize, channel: usize) -> f32 {
        self.mid.value(self.index(y, x, channel)).clamp(MID_LIMITS[0], MID_LIMITS[1]) / STRIDE
    }

    /// A peak's cell moved by its own short offset.
    fn refine(&self, [y, x]: [f32; 2], keypoint: usize) -> [f32; 2] {
        let (row, column) = (y as usize, x as usize);
        let offset = [keypoint, KEYPOINTS + keypoint].map(|channel| self.short(row, column, channel));
        self.grid.moved([y, x], offset)
    }

    /// Along the edge whose dy is in mid channel `channel` to keypoint `next`, then refined.
    fn follow(&self, from: [f32; 2], channel: usize, next: usize) -> [f32; 2] {
        let mid = [channel, channel + EDGES].map(|c| self.grid.sample(from, |y, x| self.mid(y, x, c)));
        let mut point = self.grid.moved(from, mid);
        for _ in 0..REFINEMENTS {
            let channels = [next, KEYPOINTS + next];
            let short = channels.map(|c| self.grid.sample(point, |y, x| self.short(y, x, c)));
            point = self.grid.moved(point, short);
        }
        point
    }
}
