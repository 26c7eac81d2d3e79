//! The metadata parser against dumps in hardware layout: every dump decodes to its expected values bit for bit, every
//! malformed buffer gives an error or the documented result.
//!
//! The dumps lie beside the checkout (`../shared/imx500/dumps`, or `KINORA_SHARED`); without them the tests say so and pass,
//! unless `KINORA_REQUIRE_SHARED=1`.

use std::path::{Path, PathBuf};

use kinora::imx500::decode::{Classify, Detect, PostProcess, Segment, Target};
use kinora::imx500::picture::Kernels;
use kinora::imx500::{
    Inference, InputTensor, InputView, Layout, LockStep, Normalisation, Parser, PlaneOrder, Step, TensorHeader,
};
use kinora::{ResultKind, ResultState, Results};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn dumps() -> Option<PathBuf> {
    let shared = std::env::var_os("KINORA_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")), PathBuf::from);
    let dumps = shared.join("imx500/dumps");
    if dumps.is_dir() {
        return Some(dumps);
    }
    assert!(std::env::var_os("KINORA_REQUIRE_SHARED").is_none(), "{} is not there", dumps.display());
    eprintln!("skipped: {} is not there", dumps.display());
    None
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn layout(sidecar: &Value) -> Layout {
    Layout {
        width: sidecar["layout"]["width"].as_u64().unwrap() as u32,
        strided: sidecar["layout"]["strided"].as_bool().unwrap(),
    }
}

fn header(h: &TensorHeader<'_>) -> Value {
    json!({
        "frame_valid": h.frame_valid, "frame_count": h.frame_count, "max_line_len": h.line_bytes,
        "ap_param_size": h.params.len(), "network_id": h.network_id, "tensor_type": h.tensor_type as u8,
        "reserved": h.reserved.iter().map(|b| format!("{b:02x}")).collect::<String>(), "line": h.line,
    })
}

fn planes(frame_count: u8, tensor: &InputTensor, bytes: &[u8]) -> Value {
    let last = &bytes[bytes.len().saturating_sub(8)..];
    json!({
        "frame_count": frame_count, "width": tensor.width, "height": tensor.height, "channels": tensor.channels,
        "bytes": bytes.len(), "first": &bytes[..bytes.len().min(8)], "last": last,
        "sum": bytes.iter().map(|&b| u64::from(b)).sum::<u64>(), "sha256_u8": digest(bytes),
    })
}

/// The RGB picture of an input tensor, from its lines and from its planes, with the loops of this processor and the plain ones,
/// beside the formula for each sample.
fn check_rgb(view: &InputView<'_>, planes: &[u8]) {
    let t = &view.tensor;
    let odd =
        Normalisation { order: PlaneOrder::Bgr, norm_val: [-100, 5, 77], div_val: [512, 1024, 700], signed: false };
    let plain = Normalisation::of_tensor(t);
    for normalisation in [plain, Normalisation { order: PlaneOrder::Bgr, ..plain }, odd] {
        let plane = |colour: usize| match (t.channels, normalisation.order) {
            (1, _) => 0,
            (_, PlaneOrder::Rgb) => colour,
            (_, PlaneOrder::Bgr) => 2 - colour,
        };
        let constants = |colour: usize| if normalisation.order == PlaneOrder::Bgr { 2 - colour } else { colour };
        let pixels = t.width * t.height;
        let expected: Vec<u8> = (0..3 * pixels)
            .map(|i| normalisation.picture_value(constants(i % 3), planes[plane(i % 3) * pixels + i / 3]))
            .collect();
        for kernels in [Kernels::PORTABLE, kinora::simd::kernels()] {
            let (mut of_lines, mut of_planes) = (vec![0; t.rgb_bytes()], vec![0; t.rgb_bytes()]);
            view.copy_rgb(&normalisation, &kernels, &mut of_lines);
            t.planes_to_rgb(planes, &normalisation, &kernels, &mut of_planes);
            assert!(of_lines == expected && of_planes == expected, "RGB of {t:?}, {normalisation:?}");
        }
    }
}

/// What the sidecar says under `emitted`, from our parser.
fn emitted(inference: &Inference<'_>, step: Step, saved: &[u8]) -> Value {
    let (source, input) = match step {
        Step::Nothing | Step::WithoutInput => ("none", Value::Null),
        Step::WithCurrentInput => {
            let view = inference.input.unwrap();
            let mut bytes = vec![0; view.tensor.bytes()];
            view.copy_planes(&mut bytes);
            check_rgb(&view, &bytes);
            ("current", planes(inference.input_header.frame_count, &view.tensor, &bytes))
        }
        Step::WithSavedInput { frame_count, tensor } => {
            ("saved", planes(frame_count, &tensor, &saved[..tensor.bytes()]))
        }
    };
    let output = inference.output.map_or(Value::Null, |output| {
        let mut all = Vec::new();
        let tensors: Vec<Value> = output
            .tensors()
            .map(|t| {
                let values: Vec<f32> = t.values().collect();
                let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                all.extend_from_slice(&bytes);
                assert_eq!(t.value(t.len() - 1).to_bits(), values[values.len() - 1].to_bits());
                json!({
                    "name": t.tensor.name.as_str(),
                    "dims": t.tensor.dimensions.iter().map(|d| d.size).collect::<Vec<_>>(),
                    "serialization": t.tensor.dimensions.iter().map(|d| d.serialization).collect::<Vec<_>>(),
                    "bits": t.tensor.bits, "signed": t.tensor.signed, "shift": t.tensor.shift,
                    "scale": f64::from(t.tensor.scale), "first_dnn_line": t.first_line,
                    "raw_sum": t.raws().sum::<i64>(), "sha256_f32le": digest(&bytes),
                })
            })
            .collect();
        json!({
            "frame_count": inference.output_header.frame_count, "elements": all.len() / 4,
            "sha256_f32le": digest(&all), "tensors": tensors,
        })
    });
    json!({ "input_source": source, "input": input, "output": output })
}

/// Every key that we produce must have the expected value; the sidecar may hold more (sums in f64, first values).
fn assert_contains(expected: &Value, ours: &Value, place: &str) {
    match ours {
        Value::Object(fields) => {
            for (key, value) in fields {
                assert_contains(&expected[key], value, &format!("{place}.{key}"));
            }
        }
        Value::Array(items) => {
            assert_eq!(expected.as_array().map(Vec::len), Some(items.len()), "{place}");
            for (i, item) in items.iter().enumerate() {
                assert_contains(&expected[i], item, &format!("{place}[{i}]"));
            }
        }
        Value::Number(number) if number.is_f64() => {
            let (a, b) = (expected.as_f64().unwrap_or(f64::NAN), number.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{place}: {a} expected, {b} found");
        }
        other => assert_eq!(expected, other, "{place}"),
    }
}

/// Decodes all buffers of one dump and compares them with its sidecar; returns how many there were.
fn check_dump(sidecar_path: &Path) -> usize {
    let sidecar: Value = serde_json::from_slice(&std::fs::read(sidecar_path).unwrap()).unwrap();
    let bytes = std::fs::read(sidecar_path.with_extension("bin")).unwrap();
    let size = sidecar["frame_size"].as_u64().unwrap() as usize;
    let mut parser = Parser::new(layout(&sidecar));
    let (mut lock_step, mut saved) = (LockStep::new(), vec![0; 1 << 21]);
    let frames = sidecar["frames"].as_array().unwrap();
    for (n, (buffer, expected)) in bytes.chunks(size).zip(frames).enumerate() {
        let place = format!("{} frame {n}", sidecar_path.file_stem().unwrap().to_string_lossy());
        let registers = parser.registers(buffer).map_or(Value::Null, |r| {
            json!({
                "exposure_lines": r.exposure_lines, "gain_code": r.gain_code, "frame_length": r.frame_length_lines,
                "line_length": r.line_length_clocks, "temperature_raw": r.temperature_raw,
                "temperature_c": r.temperature_c(), "line_time_ns": r.line_time_ns(), "exposure_us": r.exposure_us(),
                "analogue_gain": r.analogue_gain(),
            })
        });
        assert_contains(&expected["registers"], &registers, &format!("{place} registers"));
        match parser.inference(buffer).unwrap_or_else(|e| panic!("{place}: {e}")) {
            None => assert_eq!(expected["dnn"], Value::Null, "{place}"),
            Some(inference) => {
                let dnn = json!({
                    "input_header": header(&inference.input_header),
                    "output_header": header(&inference.output_header),
                    "kpi": { "dnn_runtime": inference.kpi.dnn_runtime, "dsp_runtime": inference.kpi.dsp_runtime },
                });
                assert_contains(&expected["dnn"], &dnn, &format!("{place} dnn"));
                let step = lock_step.step(&inference, &mut saved);
                assert_contains(&expected["emitted"], &emitted(&inference, step, &saved), &format!("{place} emitted"));
            }
        }
    }
    frames.len()
}

#[test]
fn every_dump_decodes_to_its_expected_values() {
    let Some(folder) = dumps() else { return };
    let mut frames_checked = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some("json".as_ref()) && path.file_stem() != Some("malformed".as_ref()) {
            frames_checked += check_dump(&path);
        }
    }
    assert!(frames_checked >= 30, "only {frames_checked} frames were there to check");
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn malformed_cases(folder: &Path) -> (Layout, Vec<(Value, Vec<u8>)>) {
    let file: Value = serde_json::from_slice(&std::fs::read(folder.join("malformed.json")).unwrap()).unwrap();
    let base = std::fs::read(folder.join("malformed_base_pi4.bin")).unwrap();
    let cases = file["cases"].as_array().unwrap().iter().map(|case| {
        let mut buffer = base.clone();
        for edit in case["edits"].as_array().unwrap() {
            let (at, times) = (edit[0].as_u64().unwrap() as usize, edit[2].as_u64().unwrap() as usize);
            let bytes = unhex(edit[1].as_str().unwrap()).repeat(times);
            buffer[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        if let Some(cut) = case["cut"].as_u64() {
            buffer.truncate(cut as usize);
        }
        (case.clone(), buffer)
    });
    (layout(&file), cases.collect())
}

#[test]
fn every_malformed_buffer_gives_an_error_or_the_documented_result() {
    let Some(folder) = dumps() else { return };
    let (layout, cases) = malformed_cases(&folder);
    assert_eq!(cases.len(), 107);
    for (case, buffer) in &cases {
        let name = &case["name"];
        let mut parser = Parser::new(layout);
        assert_eq!(parser.registers(buffer).is_ok(), case["registers_ok"].as_bool().unwrap(), "{name} registers");
        let inference = parser.inference(buffer);
        if let Err(error) = &inference {
            assert!(error.offset <= buffer.len(), "{name}: {error}");
        }
        assert_eq!(inference.is_err(), case["inference_error"].as_bool().unwrap(), "{name}: {inference:?}");
        let emits = matches!(&inference, Ok(Some(Inference { output: Some(_), .. })));
        assert_eq!(emits, case["emits"].as_bool().unwrap(), "{name}");
    }
}

#[test]
fn a_parser_that_knows_the_network_survives_every_malformed_buffer_and_reads_the_good_one_after_it() {
    let Some(folder) = dumps() else { return };
    let (layout, cases) = malformed_cases(&folder);
    let good = std::fs::read(folder.join("malformed_base_pi4.bin")).unwrap();
    let mut parser = Parser::new(layout);
    for (case, buffer) in &cases {
        assert!(parser.inference(&good).unwrap().unwrap().output.is_some());
        let emits = matches!(parser.inference(buffer), Ok(Some(Inference { output: Some(_), .. })));
        assert_eq!(emits, case["emits"].as_bool().unwrap(), "{}", case["name"]);
    }
}

#[test]
fn an_unchanged_network_is_walked_once_and_a_wrong_package_is_noticed() {
    let Some(folder) = dumps() else { return };
    let bytes = std::fs::read(folder.join("ssd_pi4_2028.bin")).unwrap();
    let mut parser = Parser::new(Layout { width: 2028, strided: true });
    parser.expect_input_lines(121);
    for _ in 0..100 {
        assert!(parser.inference(&bytes).unwrap().is_some());
    }
    assert_eq!(parser.walks(), 1);
    let mut wrong = Parser::new(Layout { width: 2028, strided: true });
    wrong.expect_input_lines(120);
    assert!(wrong.inference(&bytes).is_err());
}

#[test]
fn any_cut_of_a_buffer_is_survived() {
    let Some(folder) = dumps() else { return };
    let bytes = std::fs::read(folder.join("malformed_base_pi4.bin")).unwrap();
    let layout = Layout { width: 2028, strided: true };
    for cut in 0..bytes.len() {
        let mut parser = Parser::new(layout);
        assert_eq!(parser.registers(&bytes[..cut]).is_ok(), cut >= layout.dnn_offset(), "cut at {cut}");
        if let Ok(Some(Inference { output: Some(output), .. })) = parser.inference(&bytes[..cut]) {
            assert!(output.tensors().all(|t| t.raws().count() == t.len()), "cut at {cut}");
        }
    }
}

fn decode(name: &str, post: &mut dyn PostProcess, results: &mut Results, side: &mut [u8]) {
    let folder = dumps().unwrap();
    let sidecar: Value = serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap();
    let bytes = std::fs::read(folder.join(format!("{name}.bin"))).unwrap();
    let mut parser = Parser::new(layout(&sidecar));
    let inference = parser.inference(&bytes).unwrap().unwrap();
    post.decode(&inference.output.unwrap(), Target { results, side }).unwrap();
}

#[test]
fn detections_come_out_in_picture_order_and_above_the_threshold() {
    if dumps().is_none() {
        return;
    }
    let mut results = Results::new();
    decode("ssd_pi4_2028", &mut Detect::default(), &mut results, &mut []);
    assert_eq!(results.state(), ResultState::Some(ResultKind::Detections));
    assert_eq!(results.confidence.as_slice(), [0.910_156_25, 0.71875, 0.53125, 0.351_562_5]);
    // The tensor's first coordinate is y0: 0.1 for the first box, slightly negative for the last.
    assert!((results.bbox[0][1] - 0.1).abs() < 1e-4 && results.bbox[3][1] < 0.0);
    assert!(results.is_consistent(0));

    let strict = &mut Detect { threshold: 0.6, boxes_max: 1, ..Detect::default() };
    decode("ssd_pi4_2028", strict, &mut results, &mut []);
    assert_eq!(results.confidence.as_slice(), [0.910_156_25]);
}

#[test]
fn the_best_classes_come_first_and_probabilities_sum_to_one() {
    if dumps().is_none() {
        return;
    }
    let mut results = Results::new();
    decode("mobilenet_v2_pi4_4056", &mut Classify::default(), &mut results, &mut []);
    assert_eq!(results.len(), 5);
    assert!(results.confidence.windows(2).all(|pair| pair[0] >= pair[1]));
    decode(
        "mobilenet_v2_pi4_4056",
        &mut Classify { softmax: true, top: 100, ..Classify::default() },
        &mut results,
        &mut [],
    );
    let sum: f32 = results.confidence.iter().sum();
    assert!(results.len() == 100 && sum > 0.0 && sum < 1.0, "100 of 1000 classes sum to {sum}");
}

#[test]
fn a_mask_that_arrives_column_by_column_is_turned() {
    let Some(folder) = dumps() else { return };
    let (mut results, mut side) = (Results::new(), vec![0; 320 * 320]);
    decode("deeplabv3plus_pi4_2028", &mut Segment, &mut results, &mut side);
    assert_eq!((results.mask_shape, results.is_consistent(side.len())), ([320, 320], true));
    let bytes = std::fs::read(folder.join("deeplabv3plus_pi4_2028.bin")).unwrap();
    let mut parser = Parser::new(Layout { width: 2028, strided: true });
    let tensor = parser.inference(&bytes).unwrap().unwrap().output.unwrap().get(0).unwrap();
    for (x, y) in [(0, 0), (1, 0), (0, 1), (319, 0), (0, 319), (123, 45), (319, 319)] {
        let class = tensor.raw(y + 320 * x);
        let expected = if (1..=254).contains(&class) { class as u8 } else { 255 };
        assert_eq!(side[y * 320 + x], expected, "{x}, {y}");
    }
}
