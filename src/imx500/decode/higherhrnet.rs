//! HigherHRNet with the best candidates chosen on the sensor: joints with tags, to persons (associative embedding).
//!
//! Joint after joint, candidates are assigned to the persons found so far by how near their tags are to the persons' mean
//! tags; who fits nobody begins a new person. As modlib does it, but for two errors there: persons are kept under their
//! tags' values, so that two with the same tag overwrite each other, and a candidate's row is `index / 192` with its
//! fraction, so that it lies up to one row too low. Here persons are kept by number and rows are whole.

use core::fmt;

use heapless::Vec;

use super::assignment::{Assignment, SIDE_MAX};
use super::math::round_half_even;
use super::{DecodeError, PostProcess, Target, shape, tensor};
use crate::imx500::NetworkDescription;
use crate::imx500::tensor::{OutputView, TensorView};
use crate::results::ResultKind;

const JOINTS: usize = 17;
/// Candidates of one joint, and persons that a candidate may be assigned to.
const CANDIDATES_MAX: usize = SIDE_MAX;
const PERSONS_MAX: usize = CANDIDATES_MAX * JOINTS;
/// Head, shoulders and hips come before the limbs.
const JOINT_ORDER: [usize; JOINTS] = [0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16];
/// A candidate that is farther from its person's mean tag begins a new one.
const TAG_DISTANCE_MAX: f32 = 1.0;
/// Fills up the columns when there are more candidates than persons.
const NOBODY_COST: f64 = 1e10;

/// Decodes three tensors `[n, 17]`, n ≤ 30: tags, places (row × map width + column, in a map of half the input's size) and
/// scores. Holds its memory: about 60 KB.
#[derive(Clone)]
pub struct HigherHrnet {
    /// Candidates must have more than this score, `0.0..=1.0`; modlib has 0.3.
    pub candidate_threshold: f32,
    /// Persons below this score (the mean of its joints', absent ones count 0) are left out, `0.0..=1.0`.
    pub threshold: f32,
    /// Most persons; the best are kept.
    pub poses_max: usize,
    persons: Vec<Person, PERSONS_MAX>,
    assignment: Assignment,
}

#[derive(Clone, Copy, Default)]
struct Person {
    /// Which candidate each joint is, plus one; 0 is none.
    joints: [u8; JOINTS],
    tag_sum: f32,
    tags: u16,
    score: f32,
}

#[derive(Clone, Copy)]
struct Candidate {
    index: u8,
    tag: f32,
    score: f32,
}

impl HigherHrnet {
    /// modlib's settings.
    pub const fn new() -> Self {
        Self {
            candidate_threshold: 0.3,
            threshold: 0.0,
            poses_max: usize::MAX,
            persons: Vec::new(),
            assignment: Assignment::new(),
        }
    }

    /// True for three tensors `[n, 17]` with n ≤ 30.
    pub fn fits(network: &NetworkDescription) -> bool {
        let sizes = |index| network.outputs.get(index).and_then(shape::<2>);
        match (sizes(0), network.outputs.len()) {
            (Some(size @ [1..=CANDIDATES_MAX, JOINTS]), 3) => sizes(1) == Some(size) && sizes(2) == Some(size),
            _ => false,
        }
    }

    /// Gives the candidates of one joint to persons.
    fn assign(&mut self, joint: usize, candidates: &[Candidate]) {
        // Persons beyond the thirtieth are not looked at, as in modlib.
        let known = self.persons.len().min(CANDIDATES_MAX);
        let means: Vec<f32, CANDIDATES_MAX> =
            self.persons.iter().take(known).map(|person| person.tag_sum / f32::from(person.tags)).collect();
        let distance = |row: usize, column: usize| (candidates[row].tag - means[column]).abs();
        // Missing rows cost nothing.
        self.assignment.solve(if known == 0 { 0 } else { known.max(candidates.len()) }, |row, column| match () {
            () if row >= candidates.len() => 0.0,
            () if column >= known => NOBODY_COST,
            () => round_half_even(distance(row, column).into()) * 100.0 - f64::from(candidates[row].score),
        });
        for (row, candidate) in candidates.iter().enumerate() {
            let near = |&column: &usize| column < known && distance(row, column) < TAG_DISTANCE_MAX;
            let column = if known == 0 { None } else { self.assignment.column(row).filter(near) };
            let person = match column {
                Some(column) => &mut self.persons[column],
                None => {
                    // Each candidate begins at most one person.
                    let _ = self.persons.push(Person::default());
                    let last = self.persons.len() - 1;
                    &mut self.persons[last]
                }
            };
            person.joints[joint] = candidate.index + 1;
            person.tag_sum += candidate.tag;
            person.tags += 1;
        }
    }

    /// The score that the worst of the best `poses_max` persons has, and how many of those with just this score belong
    /// to them.
    fn cut(&self) -> (f32, usize) {
        let limit = self.poses_max.max(1);
        if self.persons.len() <= limit {
            return (f32::NEG_INFINITY, usize::MAX);
        }
        let mut scores: Vec<f32, PERSONS_MAX> = self.persons.iter().map(|person| person.score).collect();
        scores.sort_unstable_by(|a, b| b.total_cmp(a));
        let worst = scores[limit - 1];
        (worst, scores[..limit].iter().filter(|&&score| score == worst).count())
    }
}

impl Default for HigherHrnet {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HigherHrnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("HigherHrnet");
        shown.field("candidate_threshold", &self.candidate_threshold).field("threshold", &self.threshold);
        shown.field("poses_max", &self.poses_max).finish_non_exhaustive()
    }
}

/// The three tensors, and the map that places lie in.
struct Tensors<'a> {
    tags: TensorView<'a>,
    places: TensorView<'a>,
    scores: TensorView<'a>,
    count: usize,
    map: [i64; 2],
}

impl Tensors<'_> {
    /// Candidates of one joint that count, in the order of the wire: the best first.
    fn candidates(&self, joint: usize, threshold: f32) -> Vec<Candidate, CANDIDATES_MAX> {
        let all = (0..self.count).map(|i| {
            let at = joint * self.count + i;
            Candidate { index: i as u8, tag: self.tags.value(at), score: self.scores.value(at) }
        });
        let place = |index: u8| self.places.raw(joint * self.count + usize::from(index));
        let inside = |index: u8| (0..self.map[0] * self.map[1]).contains(&place(index));
        let good = |c: &Candidate| c.score > threshold && c.score.is_finite() && c.tag.is_finite() && inside(c.index);
        all.filter(good).collect()
    }

    /// Point and score of a person's joint; an absent one is at 0, 0 with score 0.
    fn point(&self, joint: usize, candidate: u8) -> ([f32; 2], f32) {
        let Some(index) = candidate.checked_sub(1) else { return ([0.0; 2], 0.0) };
        let at = joint * self.count + usize::from(index);
        let place = self.places.raw(at);
        let fraction = |cells: i64, size: i64| (cells as f64 / size as f64) as f32;
        let point = [fraction(place % self.map[0], self.map[0]), fraction(place / self.map[0], self.map[1])];
        (point, self.scores.value(at))
    }
}

impl PostProcess for HigherHrnet {
    /// Keypoints are fractions of the input tensor. Persons come in the order in which they were begun.
    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        target.results.begin(ResultKind::Poses);
        let tags = tensor(output, 0, None)?;
        let Some([count @ 1..=CANDIDATES_MAX, JOINTS]) = shape::<2>(tags.tensor) else {
            return Err(DecodeError::Shape { index: 0, elements: tags.len() });
        };
        let places = tensor(output, 1, Some(tags.len()))?;
        let scores = tensor(output, 2, Some(tags.len()))?;
        let input = &output.network.input;
        let map = [input.width.div_ceil(2) as i64, input.height.div_ceil(2) as i64];
        let tensors = Tensors { tags, places, scores, count, map };

        self.persons.clear();
        for joint in JOINT_ORDER {
            let candidates = tensors.candidates(joint, self.candidate_threshold);
            if !candidates.is_empty() {
                self.assign(joint, &candidates);
            }
        }
        for person in &mut self.persons {
            let sum: f32 = person.joints.iter().enumerate().map(|(j, &c)| tensors.point(j, c).1).sum();
            person.score = sum / JOINTS as f32;
        }
        let (worst, mut at_worst) = self.cut();
        for person in &self.persons {
            if person.score < self.threshold || person.score < worst {
                continue;
            }
            if person.score == worst {
                let Some(left) = at_worst.checked_sub(1) else { continue };
                at_worst = left;
            }
            let joints: [([f32; 2], f32); JOINTS] = core::array::from_fn(|j| tensors.point(j, person.joints[j]));
            // A person too many is counted in the results.
            let _ = target.results.push_pose(person.score, &joints.map(|j| j.0), &joints.map(|j| j.1), None, None);
        }
        Ok(())
    }
}
