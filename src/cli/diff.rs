//! `kinora diff A B`: what two versions of an algorithm saw.

use std::path::Path;

use kinora::diff::{DiffReport, DiffSettings, Difference, FrameDiff, RowChange, Side, compare_timelines};
use serde::Serialize;

use super::end::{End, Failure};
use super::open;
use super::output::{Manner, Results};

/// One object for each frame that differs; see docs/json.md.
#[derive(Serialize)]
#[serde(tag = "record", rename_all = "snake_case")]
enum DifferenceJson<'a> {
    Only { side: Side, sequence: u64 },
    Frame(&'a FrameDiff),
    Unreadable { side: Side, frame: u64, reason: String },
}

/// The last object.
#[derive(Serialize)]
struct SummaryJson<'a> {
    record: &'static str,
    a: String,
    b: String,
    equal: bool,
    #[serde(flatten)]
    report: &'a DiffReport,
}

/// Prints every difference, then the sums.
pub fn run(before: &Path, after: &Path, iou: f32, manner: Manner) -> Result<End, Failure> {
    let mut a = open::playback(before, manner)?.into_timeline();
    let mut b = open::playback(after, manner)?.into_timeline();
    let mut results = Results::new();
    let mut trouble = None;
    let settings = DiffSettings { iou_min: iou };
    let report = compare_timelines(&mut a, &mut b, &settings, |difference| {
        if trouble.is_none() {
            trouble = show(&difference, &mut results, manner).err();
        }
        Ok(())
    })?;
    if let Some(failure) = trouble {
        return Err(failure);
    }
    if manner.json {
        let (a, b) = (before.display().to_string(), after.display().to_string());
        results.json(&SummaryJson { record: "summary", a, b, equal: report.is_equal(), report: &report })?;
    } else {
        results.line(&report)?;
    }
    results.flush()?;
    Ok(if report.is_equal() { End::Done } else { End::Different })
}

fn show(difference: &Difference, results: &mut Results, manner: Manner) -> Result<(), Failure> {
    if manner.json {
        results.json(&match difference {
            Difference::Only(side, sequence) => DifferenceJson::Only { side: *side, sequence: *sequence },
            Difference::Results(diff) => DifferenceJson::Frame(diff),
            Difference::Unreadable(side, frame, error) => {
                DifferenceJson::Unreadable { side: *side, frame: *frame, reason: error.to_string() }
            }
        })?;
        return Ok(());
    }
    let which = |side: &Side| if *side == Side::A { "first" } else { "second" };
    match difference {
        Difference::Only(side, sequence) => results.line(format_args!("#{sequence} only in the {}", which(side)))?,
        Difference::Unreadable(side, frame, error) => {
            results.line(format_args!("frame {frame} of the {} cannot be read: {error}", which(side)))?;
        }
        Difference::Results(diff) => frame(diff, results)?,
    }
    Ok(())
}

fn frame(diff: &FrameDiff, results: &mut Results) -> Result<(), Failure> {
    let sequence = diff.sequence;
    if let Some((a, b)) = &diff.states {
        results.line(format_args!("#{sequence} {a} became {b}"))?;
    }
    if let Some((a, b)) = diff.best_class {
        results.line(format_args!("#{sequence} best class {a} became {b}"))?;
    }
    if let Some(plane) = &diff.plane {
        results.line(format_args!("#{sequence} {plane:?}"))?;
    }
    if let Some((a, b)) = diff.truncated {
        results.line(format_args!("#{sequence} rows beyond the limits: {a} became {b}"))?;
    }
    for row in &diff.rows {
        let name = |row: &kinora::diff::Row| match (&row.label, row.class_id) {
            (Some(label), _) => label.clone(),
            (None, Some(class)) => format!("class {class}"),
            (None, None) => "row".to_owned(),
        };
        match row {
            RowChange::Added(row) => results.line(format_args!("#{sequence} + {} {:.2}", name(row), row.confidence))?,
            RowChange::Lost(row) => results.line(format_args!("#{sequence} - {} {:.2}", name(row), row.confidence))?,
            RowChange::Changed(change) => {
                let mut words = Vec::new();
                if change.class_changed {
                    words.push(format!("became {}", name(&change.b)));
                }
                if change.moved {
                    words.push(change.iou.map_or("moved".into(), |iou| format!("moved (overlap {iou:.2})")));
                }
                if change.confidence_changed {
                    words.push(format!("confidence {:+.3}", change.confidence_delta));
                }
                if change.tracker_changed {
                    words.push("another track".into());
                }
                if change.detail_changed {
                    words.push("mask or scores differ".into());
                }
                results.line(format_args!("#{sequence} ~ {} {}", name(&change.a), words.join(", ")))?;
            }
        }
    }
    Ok(())
}
