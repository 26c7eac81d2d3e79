//! `kinora memory`: where the memory goes with given settings.

use kinora::Span;
use kinora::budget::{self, Region};
use kinora::clips::ClipSettings;
use kinora::frame::{PictureInfo, PixelFormat};
use kinora::replay::operator::ReplayLimits;
use kinora::source::SourceInfo;
use serde::Serialize;

use super::command::{EngineChoice, SourceChoice};
use super::end::{End, Failure};
use super::output::{Manner, Results};
use super::source;
use super::units::show_bytes;

/// The schema of `memory --json`; see docs/json.md.
#[derive(Serialize)]
struct MemoryJson {
    source: String,
    regions: Vec<RegionJson>,
    total_bytes: u64,
}

#[derive(Serialize)]
struct RegionJson {
    #[serde(flatten)]
    region: Region,
    total_bytes: u64,
}

/// What takes memory beside a recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Frames of a replay's window.
    pub replay_frames: Option<u32>,
    /// How long before an event clips can begin.
    pub clip_history: Option<Span>,
    /// Bytes promised to each frame of both.
    pub frame_bytes: Option<usize>,
}

/// The budget of recording this source, and what goes on beside it.
pub fn regions(info: &SourceInfo, engine: &EngineChoice, beside: &Beside) -> Result<Vec<Region>, Failure> {
    let settings = source::engine(engine);
    let mut regions = budget::recording(info, &settings)?;
    let frame_bytes = beside.frame_bytes;
    if let Some(capacity) = beside.replay_frames {
        let picture = info.picture.map_or((0, 0), |picture| (picture.width, picture.height));
        let limits = ReplayLimits { capacity, picture, frame_bytes, ..ReplayLimits::default() };
        regions.extend(budget::replay(&limits, engine.quality));
    }
    if beside.replay_frames.is_some() && beside.clip_history.is_some() {
        regions.push(budget::replay_tap(info, &settings)?);
    }
    if let Some(history) = beside.clip_history {
        let mut clips = ClipSettings { history, frame_bytes, ..ClipSettings::new("clips") };
        clips.frame_bytes = settings.clip_frame_bytes(&clips, info);
        regions.extend(budget::clips(info, &clips));
    }
    Ok(regions)
}

/// Prints the budget of recording this source.
pub fn run(choice: &SourceChoice, engine: &EngineChoice, beside: &Beside, manner: Manner) -> Result<End, Failure> {
    let info = info(choice)?;
    let regions = regions(&info, engine, beside)?;
    let total_bytes = budget::total(&regions);
    let mut results = Results::new();
    if manner.json {
        let row = |region: Region| RegionJson { total_bytes: region.total(), region };
        let source = info.name.to_string();
        results.json(&MemoryJson { source, regions: regions.into_iter().map(row).collect(), total_bytes })?;
    } else {
        results.line(format_args!(
            "{:<28} {:<10} {:>5} {:>8} {:>8}  why; when full",
            "region", "memory", "count", "each", "total"
        ))?;
        for row in &regions {
            let (memory, each, total) = (row.memory.name(), show_bytes(row.bytes_each), show_bytes(row.total()));
            let Region { region, count, why, when_full, .. } = row;
            results
                .line(format_args!("{region:<28} {memory:<10} {count:>5} {each:>8} {total:>8}  {why}; {when_full}"))?;
        }
        let all = show_bytes(total_bytes);
        results.line(format_args!("{:<28} {:<10} {:>5} {:>8} {all:>8}", "all but addresses", "", "", ""))?;
    }
    results.flush()?;
    Ok(End::Done)
}

/// What the source delivers; without any camera, what one of that size and rate would.
pub fn info(choice: &SourceChoice) -> Result<SourceInfo, Failure> {
    match source::open(choice) {
        Ok(capture) => Ok(capture.info().clone()),
        Err(Failure::Failed(_)) if choice.named == kinora::SourceChoice::Auto => Ok(assumed(choice)),
        Err(failure) => Err(failure),
    }
}

/// What a camera of that size and rate would deliver.
pub fn assumed(choice: &SourceChoice) -> SourceInfo {
    let mut info = SourceInfo::new("a camera");
    let (width, height) = choice.size.unwrap_or((640, 480));
    info.picture = Some(PictureInfo::packed(PixelFormat::Bgr888, width, height));
    info.frame_rate = choice.fps.unwrap_or((30, 1));
    info
}

/// Bytes that the system can give without swapping; `None` when it does not say.
pub fn available_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
