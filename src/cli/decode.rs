//! `kinora decode`: metadata buffers of an IMX500 from a file, as JSON or in a line each.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use kinora::imx500::{
    self, Inference, InputTensor, Layout, LockStep, Network, ParseError, Parser, Registers, Step, TensorHeader,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::end::{End, Failure};
use super::output::{Manner, Results};

/// Largest buffer that a sensor can give: both line counts at the driver's limit.
pub const BUFFER_BYTES_MAX: u64 = (imx500::REGISTER_BYTES_MAX + imx500::LINE_BYTES * (2 + 2 * 2046)) as u64;

/// What is looked through for a header that tells the size of a buffer.
const LOOKED_THROUGH_BYTES: u64 = 4 * BUFFER_BYTES_MAX;

/// The command.
#[derive(Debug)]
pub struct Decode {
    pub file: PathBuf,
    pub layout: Layout,
    pub network: Option<String>,
    pub buffer_size: Option<u64>,
}

/// Prints every buffer of the file.
pub fn run(decode: &Decode, manner: Manner) -> Result<End, Failure> {
    let named = |error| Failure::io(decode.file.display().to_string())(error);
    let mut file = File::open(&decode.file).map_err(named)?;
    let about = file.metadata().map_err(named)?;
    if !about.is_file() && !about.is_dir() {
        let name = decode.file.display();
        return Err(Failure::Failed(format!(
            "{name} is no ordinary file, so its buffers cannot be counted; save it first"
        )));
    }
    let file_bytes = about.len();
    let network = decode.network.as_deref().map(Network::open_named).transpose();
    let network = network.map_err(|error| Failure::Failed(error.to_string()))?;
    let size = buffer_size(decode, network.as_ref(), &mut file, file_bytes)?;
    let count = file_bytes / size;
    if file_bytes % size != 0 {
        return Err(Failure::Failed(format!(
            "{}: byte {}: {} bytes are left, a buffer has {size}; give --buffer-size if that is wrong",
            decode.file.display(),
            count * size,
            file_bytes % size
        )));
    }
    let mut reader = Buffers::new(decode.layout, network.as_ref());
    let mut results = Results::new();
    if manner.json {
        results.bytes(head(decode, size, count).as_bytes())?;
    }
    let (mut buffer, mut damaged, mut whole) = (vec![0; size as usize], 0, Sha256::new());
    for n in 0..count {
        // Read one by one: a file may be larger than the memory.
        File::read_exact(&mut file, &mut buffer).map_err(named)?;
        let frame = reader.frame(&buffer, n * size);
        whole.update(&buffer);
        damaged += u64::from(frame["errors"].as_array().is_some_and(|errors| !errors.is_empty()));
        if manner.json {
            results.bytes(if n == 0 { b"" } else { b"," })?;
            results.bytes(frame.to_string().as_bytes())?;
        } else {
            results.line(format_args!("#{n} {}", line(&frame)))?;
        }
    }
    if manner.json {
        results.bytes(format!("],\"sha256\":\"{}\"}}\n", hex(&whole.finalize())).as_bytes())?;
    }
    results.flush()?;
    if damaged > 0 {
        manner.warn(format_args!(
            "{}: {damaged} of {count} buffers are damaged or not yet written",
            decode.file.display()
        ));
        return Ok(End::Lost);
    }
    Ok(End::Done)
}

/// As told, else by the package, else by the first valid header, else the file is one buffer.
fn buffer_size(decode: &Decode, network: Option<&Network>, file: &mut File, bytes: u64) -> Result<u64, Failure> {
    let failed = |why: String| Failure::Failed(format!("{}: {why}", decode.file.display()));
    if bytes == 0 {
        return Err(failed("byte 0: the file is empty".into()));
    }
    if let Some(size) = decode.buffer_size.or(network.map(|network| network.buffer_bytes() as u64)) {
        return Ok(size);
    }
    let mut start = Vec::new();
    file.take(LOOKED_THROUGH_BYTES).read_to_end(&mut start).map_err(|error| failed(error.to_string()))?;
    std::io::Seek::rewind(file).map_err(|error| failed(error.to_string()))?;
    match imx500::buffer_bytes(&start, decode.layout) {
        Some(size) => Ok(size as u64),
        None if bytes <= BUFFER_BYTES_MAX => Ok(bytes),
        None => Err(failed("no valid input header tells the size of a buffer; give --buffer-size or --network".into())),
    }
}

/// Everything before the frames, without the closing brackets.
fn head(decode: &Decode, size: u64, count: u64) -> String {
    let layout = decode.layout;
    let head = json!({
        "file": decode.file.display().to_string(),
        "layout": { "width": layout.width, "bits": 10, "strided": layout.strided },
        "register_stride": layout.register_stride(),
        "dnn_offset": layout.dnn_offset(),
        "frame_size": size,
        "frame_count": count,
    });
    let mut text = head.to_string();
    text.pop();
    text.push_str(",\"frames\":[");
    text
}

/// One buffer after the other, with what is remembered between them.
struct Buffers {
    parser: Parser,
    lock_step: LockStep,
    saved: Vec<u8>,
}

impl Buffers {
    fn new(layout: Layout, network: Option<&Network>) -> Self {
        let parser = network.map_or_else(|| Parser::new(layout), |network| network.parser(layout));
        // The largest input tensor that the parser lets pass.
        Self { parser, lock_step: LockStep::new(), saved: vec![0; 1280 * 960 * 4] }
    }

    /// One buffer that begins at `offset` of the file. Registers and inference fail apart.
    fn frame(&mut self, buffer: &[u8], offset: u64) -> Value {
        let mut errors = Vec::new();
        let mut failed = |part: &str, error: ParseError| {
            errors.push(json!({
                "part": part, "offset": offset + error.offset as u64, "reason": error.to_string(),
            }));
            Value::Null
        };
        let registers = self.parser.registers(buffer);
        let registers = registers.map_or_else(|error| failed("registers", error), |r| registers_json(&r));
        let (mut dnn, mut emitted) = (Value::Null, Value::Null);
        match self.parser.inference(buffer) {
            Ok(None) => {}
            Ok(Some(inference)) => {
                dnn = json!({
                    "input_header": header_json(&inference.input_header),
                    "output_header": header_json(&inference.output_header),
                    "kpi": { "dnn_runtime": inference.kpi.dnn_runtime, "dsp_runtime": inference.kpi.dsp_runtime },
                });
                let step = self.lock_step.step(&inference, &mut self.saved);
                emitted = emitted_json(&inference, step, &self.saved);
            }
            Err(error) => {
                failed("dnn", error);
            }
        }
        json!({ "offset": offset, "registers": registers, "dnn": dnn, "emitted": emitted, "errors": errors })
    }
}

fn registers_json(r: &Registers) -> Value {
    json!({
        "exposure_lines": r.exposure_lines, "gain_code": r.gain_code, "frame_length": r.frame_length_lines,
        "line_length": r.line_length_clocks, "temperature_raw": r.temperature_raw,
        "temperature_c": r.temperature_c(), "line_time_ns": r.line_time_ns(), "exposure_us": r.exposure_us(),
        "analogue_gain": r.analogue_gain(),
    })
}

fn header_json(h: &TensorHeader<'_>) -> Value {
    json!({
        "frame_valid": h.frame_valid, "frame_count": h.frame_count, "max_line_len": h.line_bytes,
        "ap_param_size": h.params.len(), "network_id": h.network_id, "tensor_type": h.tensor_type as u8,
        "reserved": hex(&h.reserved), "line": h.line,
    })
}

/// What comes out of this buffer: the picture and the tensors that belong together.
fn emitted_json(inference: &Inference<'_>, step: Step, saved: &[u8]) -> Value {
    let (source, input) = match step {
        Step::Nothing | Step::WithoutInput => ("none", Value::Null),
        Step::WithCurrentInput => {
            let planes = inference.input.map(|view| {
                let mut bytes = vec![0; view.tensor.bytes()];
                view.copy_planes(&mut bytes);
                planes_json(inference.input_header.frame_count, &view.tensor, &bytes)
            });
            ("current", planes.unwrap_or_default())
        }
        Step::WithSavedInput { frame_count, tensor } => {
            ("saved", planes_json(frame_count, &tensor, &saved[..tensor.bytes()]))
        }
    };
    json!({ "input_source": source, "input": input, "output": output_json(inference) })
}

fn planes_json(frame_count: u8, tensor: &InputTensor, bytes: &[u8]) -> Value {
    json!({
        "frame_count": frame_count, "width": tensor.width, "height": tensor.height, "channels": tensor.channels,
        "bytes": bytes.len(), "first": &bytes[..bytes.len().min(8)], "last": &bytes[bytes.len().saturating_sub(8)..],
        "sum": bytes.iter().map(|&b| u64::from(b)).sum::<u64>(), "sha256_u8": hex(&Sha256::digest(bytes)),
    })
}

fn output_json(inference: &Inference<'_>) -> Value {
    let Some(output) = inference.output else { return Value::Null };
    let (mut all, mut elements) = (Sha256::new(), 0);
    let mut tensors = Vec::new();
    for view in output.tensors() {
        let values: Vec<f32> = view.values().collect();
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        all.update(&bytes);
        elements += values.len();
        let some = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
        let tensor = view.tensor;
        tensors.push(json!({
            "name": tensor.name.as_str(),
            "dims": tensor.dimensions.iter().map(|d| d.size).collect::<Vec<_>>(),
            "serialization": tensor.dimensions.iter().map(|d| d.serialization).collect::<Vec<_>>(),
            "bits": tensor.bits, "signed": tensor.signed, "shift": tensor.shift, "scale": f64::from(tensor.scale),
            "first_dnn_line": view.first_line, "first": some(&values[..values.len().min(8)]),
            "last": some(&values[values.len().saturating_sub(8)..]), "raw_sum": view.raws().sum::<i64>(),
            "sum_f64": values.iter().map(|&v| f64::from(v)).sum::<f64>(), "sha256_f32le": hex(&Sha256::digest(&bytes)),
        }));
    }
    json!({
        "frame_count": inference.output_header.frame_count, "elements": elements,
        "sha256_f32le": hex(&all.finalize()), "tensors": tensors,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same in one line for people.
fn line(frame: &Value) -> String {
    let mut text = match &frame["registers"] {
        Value::Null => "no registers".to_owned(),
        r => format!(
            "exposure {:.0} us, gain {}, {} °C",
            r["exposure_us"].as_f64().unwrap_or_default(),
            r["analogue_gain"].as_f64().map_or_else(|| "-".to_owned(), |gain| format!("{gain:.2}")),
            r["temperature_c"]
        ),
    };
    if frame["dnn"].is_object() {
        let emitted = &frame["emitted"];
        text.push_str(&format!(", frame {}", frame["dnn"]["output_header"]["frame_count"]));
        match &emitted["output"] {
            Value::Null => text.push_str(", no new result"),
            output => {
                let tensors = output["tensors"].as_array().map_or(0, Vec::len);
                let input = emitted["input_source"].as_str().unwrap_or("none");
                text.push_str(&format!(", {} values in {tensors} tensors, input {input}", output["elements"]));
            }
        }
    }
    for error in frame["errors"].as_array().into_iter().flatten() {
        text.push_str(&format!(
            ", {}: {}",
            error["part"].as_str().unwrap_or(""),
            error["reason"].as_str().unwrap_or("")
        ));
    }
    text
}
