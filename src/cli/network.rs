//! `kinora network`: what a network package holds, or which ones are there.

use kinora::imx500::{Form, Layout, Network, OutputTensor, PlaneOrder, kept_bytes_max};
use kinora::networks;
use serde::Serialize;

use super::end::{End, Failure};
use super::output::{Manner, Results};
use super::units::show_bytes;

/// The schema of `network NAME --json`; see docs/json.md.
#[derive(Serialize)]
struct NetworkJson<'a> {
    file: Option<String>,
    name: &'a str,
    graph: &'a str,
    task: Option<&'static str>,
    rate: Option<[u32; 2]>,
    post: Option<&'static str>,
    no_post: Option<String>,
    labels: Vec<&'a str>,
    input: InputJson,
    outputs: Vec<OutputJson<'a>>,
    normalisation: NormalisationJson,
    input_lines: u16,
    output_lines: u16,
    memory: MemoryJson,
}

#[derive(Serialize)]
struct InputJson {
    width: usize,
    height: usize,
    channels: usize,
    order: &'static str,
    signed: bool,
    shift: u16,
    scale: f32,
    bytes: usize,
    wire_bytes: usize,
}

#[derive(Serialize)]
struct OutputJson<'a> {
    name: &'a str,
    dims: Vec<u16>,
    bits: u8,
    signed: bool,
    shift: u16,
    scale: f32,
    bytes: usize,
}

#[derive(Serialize)]
struct NormalisationJson {
    norm_val: [i16; 3],
    div_val: [u16; 3],
    offset: Option<u8>,
}

#[derive(Serialize)]
struct MemoryJson {
    buffer_bytes: usize,
    input_bytes: usize,
    output_bytes: usize,
    side_bytes: usize,
    post_bytes: usize,
    raw_results_bytes: usize,
    raw_full_bytes: usize,
}

/// The schema of `network --json`; see docs/json.md.
#[derive(Serialize)]
struct ListJson {
    networks: Vec<ListedJson>,
    looked_in: Vec<String>,
}

#[derive(Serialize)]
struct ListedJson {
    name: String,
    file: String,
    task: Option<&'static str>,
    error: Option<String>,
}

/// Prints one network, or those that are there.
pub fn run(name: Option<&str>, manner: Manner) -> Result<End, Failure> {
    match name {
        Some(name) => {
            let network = Network::open_named(name).map_err(|error| Failure::Failed(error.to_string()))?;
            show(&network, manner)
        }
        None => list(manner),
    }
}

fn list(manner: Manner) -> Result<End, Failure> {
    let looked_in: Vec<String> = networks::search_folders().iter().map(|folder| folder.display().to_string()).collect();
    let found: Vec<_> = networks::installed().into_iter().map(|path| (Network::open(&path), path)).collect();
    if found.is_empty() {
        return Err(Failure::Failed(format!(
            "no network packages in {}; sudo apt install imx500-all, or name a FILE.rpk",
            looked_in.join(", ")
        )));
    }
    let damaged = found.iter().filter(|(network, _)| network.is_err()).count();
    let mut results = Results::new();
    let rows = found.iter().map(|(network, path)| ListedJson {
        name: networks::name_of(path),
        file: path.display().to_string(),
        task: network.as_ref().ok().and_then(|network| network.intrinsics().task).map(|task| task.name()),
        error: network.as_ref().err().map(ToString::to_string),
    });
    if manner.json {
        results.json(&ListJson { networks: rows.collect(), looked_in })?;
    } else {
        for row in rows {
            let what = row.error.as_deref().or(row.task).unwrap_or("task not stated");
            results.line(format_args!("{:<40} {what}", row.name))?;
        }
    }
    results.flush()?;
    Ok(if damaged > 0 { End::Lost } else { End::Done })
}

fn show(network: &Network, manner: Manner) -> Result<End, Failure> {
    let mut results = Results::new();
    if manner.json {
        results.json(&json(network))?;
    } else {
        print(network, &mut results)?;
    }
    Ok(results.flush().map(|()| End::Done)?)
}

fn json(network: &Network) -> NetworkJson<'_> {
    let (intrinsics, description) = (network.intrinsics(), network.description());
    let normalisation = network.normalisation();
    let input = &description.input;
    NetworkJson {
        file: network.path().map(|path| path.display().to_string()),
        name: network.name(),
        graph: &description.name,
        task: intrinsics.task.map(|task| task.name()),
        rate: intrinsics.inference_rate.map(|(n, d)| [n, d]),
        post: network.post_name(),
        no_post: network.no_post().map(ToString::to_string),
        labels: network.labels().iter().collect(),
        input: InputJson {
            width: input.width,
            height: input.height,
            channels: input.channels,
            order: order(normalisation.order),
            signed: input.signed,
            shift: input.shift,
            scale: input.scale,
            bytes: input.bytes(),
            wire_bytes: input.wire_bytes(),
        },
        outputs: description.outputs.iter().map(output).collect(),
        normalisation: NormalisationJson {
            norm_val: normalisation.norm_val,
            div_val: normalisation.div_val,
            offset: normalisation.offset(),
        },
        input_lines: network.input_lines(),
        output_lines: network.output_lines(),
        memory: memory(network),
    }
}

const fn order(order: PlaneOrder) -> &'static str {
    match order {
        PlaneOrder::Rgb => "RGB",
        PlaneOrder::Bgr => "BGR",
    }
}

fn output(tensor: &OutputTensor) -> OutputJson<'_> {
    OutputJson {
        name: &tensor.name,
        dims: tensor.dimensions.iter().map(|dimension| dimension.size).collect(),
        bits: tensor.bits,
        signed: tensor.signed,
        shift: tensor.shift,
        scale: tensor.scale,
        bytes: tensor.elements() * tensor.element_bytes(),
    }
}

/// The binned mode with unicam's strides: the largest of the usual ones.
const USUAL: Layout = Layout { width: 2028, strided: true };

fn memory(network: &Network) -> MemoryJson {
    let description = network.description();
    let kept = |form| kept_bytes_max(form, USUAL, network.buffer_bytes(), network.output_lines());
    MemoryJson {
        buffer_bytes: network.buffer_bytes(),
        input_bytes: description.input.bytes(),
        output_bytes: description.outputs.iter().map(|t| t.elements() * t.element_bytes()).sum(),
        side_bytes: network.side_bytes(),
        post_bytes: network.post_bytes(),
        raw_results_bytes: kept(Form::Results),
        raw_full_bytes: kept(Form::Full),
    }
}

fn print(network: &Network, results: &mut Results) -> Result<(), Failure> {
    let json = json(network);
    results.line(format_args!("{} ({})", json.name, json.graph))?;
    if let Some(file) = &json.file {
        results.line(format_args!("  file        {file}"))?;
    }
    results.line(format_args!("  task        {}", json.task.unwrap_or("not stated")))?;
    match json.rate {
        Some([n, d]) => {
            results.line(format_args!("  rate        {} results/s at most", f64::from(n) / f64::from(d)))?
        }
        None => results.line("  rate        not stated")?,
    }
    match (json.post, &json.no_post) {
        (Some(post), _) => results.line(format_args!("  post        {post}"))?,
        (None, Some(why)) => results.line(format_args!("  post        none: {why}"))?,
        (None, None) => results.line("  post        none")?,
    }
    // Quoted: names of ImageNet have commas of their own.
    let names: Vec<String> = json.labels.iter().take(5).map(|name| format!("\"{name}\"")).collect();
    match (json.labels.len(), names.join(", ")) {
        (0, _) => results.line("  labels      none")?,
        (count, names) if count > 5 => results.line(format_args!("  labels      {count}: {names}, …"))?,
        (count, names) => results.line(format_args!("  labels      {count}: {names}"))?,
    }
    let i = &json.input;
    let (sign, bytes) = (if i.signed { 'i' } else { 'u' }, show_bytes(i.bytes as u64));
    results.line(format_args!(
        "  input       {}x{}x{} {}, {sign}8, scale {}, {bytes}, {} lines",
        i.width, i.height, i.channels, i.order, i.scale, json.input_lines
    ))?;
    let n = &json.normalisation;
    match n.offset {
        Some(offset) => results.line(format_args!("  picture     sample + {offset}, modulo 256"))?,
        None => results.line(format_args!("  picture     norm_val {:?}, div_val {:?}", n.norm_val, n.div_val))?,
    }
    for t in &json.outputs {
        let dims: Vec<String> = t.dims.iter().map(u16::to_string).collect();
        let (sign, bytes) = (if t.signed { 'i' } else { 'u' }, show_bytes(t.bytes as u64));
        results.line(format_args!(
            "  output      {:<20} {}, {sign}{}, shift {}, scale {}, {bytes}",
            t.name,
            dims.join("x"),
            t.bits,
            t.shift,
            t.scale
        ))?;
    }
    let m = &json.memory;
    results.line(format_args!(
        "  memory      {} each metadata buffer, {} lines",
        show_bytes(m.buffer_bytes as u64),
        2 + u32::from(json.input_lines) + u32::from(json.output_lines)
    ))?;
    results.line(format_args!(
        "              {} masks and {} raw results (or {} raw, full) each frame slot, {} post-processing",
        show_bytes(m.side_bytes as u64),
        show_bytes(m.raw_results_bytes as u64),
        show_bytes(m.raw_full_bytes as u64),
        show_bytes(m.post_bytes as u64)
    ))?;
    Ok(())
}
