//! `kinora devices`: the cameras of this machine, what they can, who has them, and what is missing.

use kinora::source::Holder;
use kinora::source::devices::{Camera, Control, Mode, survey};
use serde::Serialize;

use super::end::{End, Failure};
use super::output::{Manner, Results};

/// The schema of `devices --json`; see docs/json.md.
#[derive(Serialize)]
struct DevicesJson {
    cameras: Vec<CameraJson>,
    unusable: Vec<UnusableJson>,
    missing: Vec<String>,
}

#[derive(Serialize)]
struct CameraJson {
    source: String,
    name: String,
    receiver: Option<&'static str>,
    nodes: Vec<NodeJson>,
    modes: Vec<ModeJson>,
    controls: Vec<ControlJson>,
    held_by: Vec<HolderJson>,
}

#[derive(Serialize)]
struct NodeJson {
    role: &'static str,
    path: String,
}

#[derive(Serialize)]
struct ModeJson {
    format: String,
    taken: bool,
    sizes: Vec<[u32; 2]>,
    rate_max: Option<[u32; 2]>,
}

#[derive(Serialize)]
struct ControlJson {
    id: u32,
    name: String,
    minimum: i64,
    maximum: i64,
    default: i64,
    elements: u32,
}

#[derive(Serialize)]
struct HolderJson {
    process: u32,
    name: String,
}

#[derive(Serialize)]
struct UnusableJson {
    path: String,
    name: String,
    why: String,
}

/// Looks, and tells.
pub fn run(manner: Manner) -> Result<End, Failure> {
    let survey = survey();
    let mut results = Results::new();
    if manner.json {
        let unusable = survey.unusable.into_iter().map(|node| UnusableJson {
            path: node.path.display().to_string(),
            name: node.name,
            why: node.why.to_string(),
        });
        results.json(&DevicesJson {
            cameras: survey.cameras.into_iter().map(camera_json).collect(),
            unusable: unusable.collect(),
            missing: survey.missing.iter().map(ToString::to_string).collect(),
        })?;
        results.flush()?;
        return Ok(End::Done);
    }
    for camera in &survey.cameras {
        show(camera, &mut results)?;
    }
    for node in &survey.unusable {
        let name = if node.name.is_empty() { String::new() } else { format!(" ({})", node.name) };
        results.line(format_args!("{}{name}: not usable: {}", node.path.display(), node.why))?;
    }
    for missing in &survey.missing {
        results.line(format_args!("missing: {missing}"))?;
    }
    if survey.cameras.is_empty() {
        results.line("no camera can be used; `kinora record --source virtual` records a moving scene without one")?;
    }
    results.flush()?;
    Ok(End::Done)
}

fn camera_json(camera: Camera) -> CameraJson {
    let mode = |mode: Mode| ModeJson {
        format: mode.format,
        taken: mode.is_taken,
        sizes: mode.sizes.into_iter().map(|(width, height)| [width, height]).collect(),
        rate_max: mode.rate_max.map(|(frames, seconds)| [frames, seconds]),
    };
    let control = |control: Control| ControlJson {
        id: control.id,
        name: control.name,
        minimum: control.minimum,
        maximum: control.maximum,
        default: control.default,
        elements: control.elements,
    };
    CameraJson {
        source: camera.source,
        name: camera.name,
        receiver: camera.receiver,
        nodes: camera
            .nodes
            .into_iter()
            .map(|(role, path)| NodeJson { role, path: path.display().to_string() })
            .collect(),
        modes: camera.modes.into_iter().map(mode).collect(),
        controls: camera.controls.into_iter().map(control).collect(),
        held_by: camera.holders.into_iter().map(|Holder { process, name }| HolderJson { process, name }).collect(),
    }
}

fn show(camera: &Camera, results: &mut Results) -> std::io::Result<()> {
    let behind = camera.receiver.map(|receiver| format!(" behind {receiver}")).unwrap_or_default();
    results.line(format_args!("{}: {}{behind}", camera.source, camera.name))?;
    let nodes: Vec<_> = camera.nodes.iter().map(|(role, path)| format!("{} ({role})", path.display())).collect();
    results.line(format_args!("  nodes     {}", nodes.join(", ")))?;
    for (i, mode) in camera.modes.iter().enumerate() {
        let head = if i == 0 { "modes" } else { "" };
        results.line(format_args!("  {head:<9} {}", mode_line(mode)))?;
    }
    let names: Vec<_> = camera.controls.iter().map(control_text).collect();
    if !names.is_empty() {
        results.line(format_args!("  controls  {}", names.join(", ")))?;
    }
    let holders: Vec<_> =
        camera.holders.iter().map(|holder| format!("{} (process {})", holder.name, holder.process)).collect();
    if !holders.is_empty() {
        results.line(format_args!("  held by   {}", holders.join(", ")))?;
    }
    Ok(())
}

fn mode_line(mode: &Mode) -> String {
    /// Sizes of one format that are listed; some cameras have dozens.
    const SIZES_MAX: usize = 8;
    let mut sizes: Vec<_> =
        mode.sizes.iter().take(SIZES_MAX).map(|(width, height)| format!("{width}x{height}")).collect();
    if mode.sizes.len() > SIZES_MAX {
        sizes.push(format!("{} more", mode.sizes.len() - SIZES_MAX));
    }
    let rate = mode.rate_max.map(|(frames, seconds)| f64::from(frames) / f64::from(seconds.max(1)));
    let rate = rate.map(|rate| format!(" up to {rate:.2} frames/s")).unwrap_or_default();
    let taken = if mode.is_taken { "" } else { " (not taken)" };
    format!("{} {}{rate}{taken}", mode.format, sizes.join(" "))
}

fn control_text(control: &Control) -> String {
    format!("{} {}..{}", control.name, control.minimum, control.maximum)
}
