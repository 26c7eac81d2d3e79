//! A rule bound to a network's labels, and when it fires.

use core::fmt;

use super::rule::{Class, Rule};
use crate::frame::Frame;
use crate::labels::Labels;
use crate::limits::NAME_BYTES_MAX;
use crate::results::{ResultKind, ResultState};
use crate::time::{Span, Timestamp};
use crate::view::Rows;

/// Names that an error suggests.
const SUGGESTIONS: usize = 3;
/// Longest label that is compared letter by letter for a suggestion.
const COMPARED_MAX: usize = 32;

/// The network has no class of this label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownLabel {
    /// What the rule says.
    pub label: heapless::String<NAME_BYTES_MAX>,
    /// Labels that look alike, the nearest first.
    pub near: heapless::Vec<heapless::String<NAME_BYTES_MAX>, SUGGESTIONS>,
    /// How many labels there are.
    pub known: usize,
}

impl fmt::Display for UnknownLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known {
            0 => return write!(f, "no label {:?}: the network's labels are not known, use #number", self.label),
            n => write!(f, "no label {:?} among the network's {n}", self.label)?,
        }
        for (i, name) in self.near.iter().enumerate() {
            write!(f, "{}{name:?}", if i == 0 { "; did you mean " } else { ", " })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownLabel {}

/// Watches frames and fires. Fires once for each time that its condition comes to hold; with a cool-down it fires again
/// after each cool-down for as long as the condition lasts.
#[derive(Clone, Debug)]
pub struct Trigger {
    rule: Rule,
    class_id: Option<i32>,
    held_since: Option<Timestamp>,
    fired_in_this_run: bool,
    fired_at: Option<Timestamp>,
}

impl Trigger {
    /// Binds a rule to the labels of the network.
    ///
    /// # Errors
    /// The rule names a label that is not among them; labels that look alike are suggested.
    #[expect(clippy::result_large_err, reason = "once at the start; the suggestions need no allocation")]
    pub fn new(rule: Rule, labels: Option<&Labels>) -> Result<Self, UnknownLabel> {
        let class_id = match &rule.class {
            Class::Any => None,
            Class::Number(number) => Some(*number),
            Class::Label(label) => {
                let position = labels.and_then(|labels| labels.iter().position(|name| name == label.as_str()));
                Some(position.ok_or_else(|| unknown(label, labels))? as i32)
            }
        };
        Ok(Self { rule, class_id, held_since: None, fired_in_this_run: false, fired_at: None })
    }

    /// The rule.
    pub const fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Takes a frame into account; true when the trigger fires on it. Frames whose results are a repeat
    /// (`new_detection` false) prolong the condition but never start or end it. Time is capture time.
    pub fn step(&mut self, frame: &Frame<'_>) -> bool {
        let at = frame.meta.captured_at;
        if frame.meta.new_detection {
            if self.holds(frame) {
                self.held_since.get_or_insert(at);
            } else {
                self.held_since = None;
                self.fired_in_this_run = false;
            }
        }
        let Some(since) = self.held_since else { return false };
        let cool = self.fired_at.is_none_or(|fired| at - fired >= self.rule.cooldown);
        let again = self.rule.cooldown > Span::ZERO;
        if at - since < self.rule.hold || !cool || self.fired_in_this_run && !again {
            return false;
        }
        self.fired_in_this_run = true;
        self.fired_at = Some(at);
        true
    }

    fn holds(&self, frame: &Frame<'_>) -> bool {
        let kind = match frame.results.state() {
            ResultState::Some(kind) => kind,
            _ => return false,
        };
        let count = match kind {
            ResultKind::Detections => self.count(frame.detections()),
            ResultKind::InstanceSegments => self.count(frame.instances()),
            ResultKind::OrientedBoxes => self.count(frame.oriented_boxes()),
            ResultKind::Poses => self.count(frame.poses()),
            ResultKind::Classifications => self.count(frame.classifications()),
            ResultKind::Segments | ResultKind::Anomaly => 0,
        };
        count >= self.rule.count
    }

    fn count(&self, rows: impl Rows) -> usize {
        let of_class = |i: usize| self.class_id.is_none() || rows.class_ids().get(i).copied() == self.class_id;
        let in_region = |i: usize| match self.rule.region {
            None => true,
            Some(region) => rows.picture_box(i).is_some_and(|bbox| region.holds_centre(bbox)),
        };
        let confidences = rows.confidences();
        (0..rows.len()).filter(|&i| confidences[i] > self.rule.confidence && of_class(i) && in_region(i)).count()
    }
}

fn unknown(label: &heapless::String<NAME_BYTES_MAX>, labels: Option<&Labels>) -> UnknownLabel {
    let mut nearest: heapless::Vec<(usize, &str), SUGGESTIONS> = heapless::Vec::new();
    let names = labels.into_iter().flat_map(Labels::iter);
    for name in names.filter(|name| !name.is_empty()) {
        let contained = name.contains(label.as_str()) || label.contains(name);
        let distance = if contained { 1 } else { distance(label, name) };
        if distance > 1 + label.len() / 3 {
            continue;
        }
        let place = nearest.iter().position(|&(other, _)| distance < other).unwrap_or(nearest.len());
        if place < SUGGESTIONS {
            nearest.truncate(SUGGESTIONS - 1);
            let _ = nearest.insert(place, (distance, name));
        }
    }
    UnknownLabel {
        label: label.clone(),
        near: nearest.iter().filter_map(|(_, name)| (*name).try_into().ok()).collect(),
        known: labels.map_or(0, Labels::len),
    }
}

/// Edits (letters changed, added, left out) between two names, small and capital letters alike; a large number for long ones.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() > COMPARED_MAX || b.len() > COMPARED_MAX {
        return usize::MAX;
    }
    let mut row: [usize; COMPARED_MAX + 1] = core::array::from_fn(|i| i);
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use crate::frame::FrameMeta;
    use crate::results::Results;

    fn labels() -> Labels {
        let mut labels = Labels::new();
        for name in ["person", "bicycle", "car", "traffic light"] {
            labels.push(name).unwrap();
        }
        labels
    }

    fn trigger(rule: &str) -> Trigger {
        Trigger::new(Rule::parse(rule).unwrap(), Some(&labels())).unwrap()
    }

    /// One frame at `ms` with boxes of `(class, confidence, centre x)`.
    fn step(trigger: &mut Trigger, ms: i64, new_detection: bool, boxes: &[(i32, f32, f32)]) -> bool {
        let meta = FrameMeta { captured_at: Timestamp::from_ns(ms * 1_000_000), new_detection, ..FrameMeta::new() };
        let mut results = Results::new();
        results.begin(ResultKind::Detections);
        for &(class, confidence, x) in boxes {
            results.push_detection([x - 0.05, 0.4, x + 0.05, 0.6], confidence, class, None).unwrap();
        }
        let frame = Frame {
            meta: &meta,
            results: &results,
            pixels: None,
            jpeg: None,
            side: &[],
            sensor: &[],
            labels: None,
            losses: &[],
        };
        trigger.step(&frame)
    }

    #[test]
    fn a_condition_fires_once_when_it_comes_to_hold() {
        let mut t = trigger("person>0.6");
        let fired: [bool; 5] = [
            step(&mut t, 0, true, &[(0, 0.5, 0.5), (2, 0.9, 0.5)]),
            step(&mut t, 33, true, &[(0, 0.7, 0.5)]),
            step(&mut t, 66, true, &[(0, 0.7, 0.5)]),
            step(&mut t, 99, true, &[]),
            step(&mut t, 132, true, &[(0, 0.7, 0.5)]),
        ];
        assert_eq!(fired, [false, true, false, false, true]);
    }

    #[test]
    fn count_region_and_class_all_matter() {
        let mut t = trigger("2x #2>0.5 in 0,0,0.5,1");
        assert!(!step(&mut t, 0, true, &[(2, 0.9, 0.2), (2, 0.9, 0.8)]));
        assert!(!step(&mut t, 1, true, &[(2, 0.9, 0.2), (0, 0.9, 0.3)]));
        assert!(step(&mut t, 2, true, &[(2, 0.9, 0.2), (2, 0.9, 0.5)]));
        assert!(step(&mut trigger("*"), 0, true, &[(3, 0.1, 0.9)]));
    }

    #[test]
    fn repeated_results_prolong_a_condition_but_never_start_or_end_one() {
        let mut t = trigger("person for 100ms");
        assert!(!step(&mut t, 0, false, &[(0, 0.9, 0.5)]), "a repeat starts nothing");
        assert!(!step(&mut t, 200, false, &[(0, 0.9, 0.5)]));
        assert!(!step(&mut t, 300, true, &[(0, 0.9, 0.5)]));
        assert!(!step(&mut t, 399, false, &[(0, 0.9, 0.5)]));
        assert!(step(&mut t, 400, false, &[(0, 0.9, 0.5)]), "it held for 100 ms of capture time");
    }

    #[test]
    fn a_cool_down_spaces_firings_and_repeats_them_while_the_condition_lasts() {
        let mut t = trigger("person cooldown 1s");
        let mut fired = std::vec::Vec::new();
        for ms in (0..3500).step_by(100) {
            let gap = ms == 1200;
            if step(&mut t, ms, true, if gap { &[] } else { &[(0, 0.9, 0.5)] }) {
                fired.push(ms);
            }
        }
        assert_eq!(fired, [0, 1000, 2000, 3000]);
    }

    #[test]
    fn an_unknown_label_is_refused_with_labels_that_look_alike() {
        let unknown = |rule| Trigger::new(Rule::parse(rule).unwrap(), Some(&labels())).unwrap_err();
        assert_eq!(unknown("persn").near.as_slice(), ["person"]);
        assert_eq!(unknown("light").near.as_slice(), ["traffic light"]);
        assert_eq!(std::format!("{}", unknown("elephant")), "no label \"elephant\" among the network's 4");
        assert!(Trigger::new(Rule::parse("dog").unwrap(), None).is_err());
    }
}
