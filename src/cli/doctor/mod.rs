//! `kinora doctor`: looks over the machine before a long recording; each finding says what to do about it.

#[cfg(feature = "v4l2")]
mod cameras;
mod disk;
mod machine;
mod wake;

use std::collections::BTreeMap;
use std::path::PathBuf;

use kinora::Span;
use kinora::budget::{self, Memory};
use serde::Serialize;

use super::command::{EngineChoice, SourceChoice};
use super::end::{End, Failure};
use super::memory::{self, Beside};
use super::output::{Manner, Results};

/// What `kinora doctor` was asked for, checked.
#[derive(Debug)]
pub struct Doctor {
    pub source: SourceChoice,
    pub engine: EngineChoice,
    /// What takes memory beside the recording.
    pub beside: Beside,
    /// Where recordings would go.
    pub out: PathBuf,
    pub keep_size: Option<u64>,
    pub min_free: u64,
    /// Bytes that the card may be written with in its life, as its maker states them.
    pub card_bytes: Option<u64>,
    /// How long wake-ups are measured.
    pub wake_time: Span,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Recording works, but not as well or not as long as it could.
    Warning,
    /// Worth knowing; nothing to do.
    Note,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub state: State,
    /// What is there.
    pub found: String,
    /// What to do about it; none when all is well.
    pub remedy: Option<String>,
    /// What was measured, by names that end in their unit.
    pub figures: BTreeMap<&'static str, u64>,
}

impl Finding {
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, state: State::Ok, found: found.into(), remedy: None, figures: BTreeMap::new() }
    }

    pub fn note(check: &'static str, found: impl Into<String>) -> Self {
        Self { state: State::Note, ..Self::ok(check, found) }
    }

    pub fn warning(check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Warning, remedy: Some(remedy.into()), ..Self::ok(check, found) }
    }

    /// A warning if `wrong`, else all is well.
    pub fn when(wrong: bool, check: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        if wrong { Self::warning(check, found, remedy) } else { Self::ok(check, found) }
    }

    pub fn figure(mut self, name: &'static str, value: u64) -> Self {
        self.figures.insert(name, value);
        self
    }
}

/// The schema of `doctor --json`; see docs/json.md.
#[derive(Serialize)]
struct DoctorJson {
    findings: Vec<Finding>,
    warnings: usize,
}

/// Real-time priority that is asked for where `--rt` names none: what the service of contrib/ takes.
const RT_PRIORITY: u8 = 40;

/// A source that is there but cannot be recorded from; its words name the remedy where there is one.
fn unopened(failure: &Failure) -> Finding {
    let found = match failure {
        Failure::Failed(why) | Failure::Usage(why) => why.as_str(),
        Failure::ReaderGone => "its other end went away",
    };
    Finding::warning("source", found, "mend that, or name another: `kinora devices` lists the cameras")
}

#[cfg(not(feature = "v4l2"))]
mod cameras {
    use super::Finding;

    pub fn look(_: &kinora::SourceChoice) -> Vec<Finding> {
        vec![Finding::note("camera", "this build knows no cameras; build it with the feature `v4l2`")]
    }
}

/// Looks at everything, and tells it.
pub fn run(doctor: &Doctor, manner: Manner) -> Result<End, Failure> {
    let priority = doctor.engine.rt_priority.unwrap_or(RT_PRIORITY);
    // A source that cannot be opened is a finding, not the end: memory and rate are then those of the settings.
    let (info, refused) = match memory::info(&doctor.source) {
        Ok(info) => (info, None),
        Err(failure) => (memory::assumed(&doctor.source), Some(unopened(&failure))),
    };
    let regions = memory::regions(&info, &doctor.engine, &doctor.beside)?;
    let own: u64 = regions.iter().filter(|row| row.memory == Memory::Own).map(|row| row.total()).sum();
    let mut findings = vec![
        machine::kernel(),
        machine::governor(),
        machine::processors(&doctor.engine.cpus),
        machine::memory(budget::total(&regions)),
        machine::locked_memory(own),
        machine::real_time(priority),
        machine::timer_slack(),
        wake::measure(doctor.wake_time, priority, info.frame_time()),
    ];
    findings.extend(disk::look(doctor, &info));
    findings.extend(refused);
    findings.extend(cameras::look(&doctor.source.named));
    let warnings = findings.iter().filter(|finding| finding.state == State::Warning).count();
    let mut results = Results::new();
    if manner.json {
        results.json(&DoctorJson { findings, warnings })?;
    } else {
        for finding in &findings {
            let mark = match finding.state {
                State::Ok => "ok",
                State::Warning => "WARN",
                State::Note => "-",
            };
            results.line(format_args!("{mark:<5} {:<14} {}", finding.check, finding.found))?;
            for line in finding.remedy.iter().flat_map(|remedy| remedy.lines()) {
                results.line(format_args!("{:<20} {line}", ""))?;
            }
        }
        match warnings {
            0 => results.line("nothing to mend")?,
            1 => results.line("1 warning")?,
            _ => results.line(format_args!("{warnings} warnings"))?,
        }
    }
    results.flush()?;
    Ok(if warnings > 0 { End::Lost } else { End::Done })
}
