//! `kinora decode` against dumps in hardware layout, damaged ones, and fresh ones from the generator; `kinora network`
//! against real packages. Without the shared files, or numpy for the generator, the tests say so and pass.
#![cfg(feature = "cli")]

mod common;

#[path = "common/kinora.rs"]
mod command;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn dumps() -> Option<PathBuf> {
    common::shared("imx500/dumps")
}

fn networks() -> Option<PathBuf> {
    common::shared("imx500/networks")
}

/// Runs the command on a file; exit code, standard output, messages.
fn decode(file: &Path, layout: &Value, more: &[&str]) -> (i32, String, String) {
    let board = if layout["strided"] == true { "pi4" } else { "pi5" };
    let width = layout["width"].to_string();
    let file = file.to_str().unwrap();
    let mut arguments = vec!["decode", file, "--layout", board, "--width", &width, "--json"];
    arguments.extend(more);
    let output = command::run(&arguments);
    let messages = command::messages(&output);
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), messages)
}

/// Every key of the sidecar must be there with its value; sums of f64 depend on the order of adding.
fn assert_says(ours: &Value, expected: &Value, place: &str) {
    match expected {
        Value::Object(fields) => {
            for (key, value) in fields.iter().filter(|(key, _)| *key != "errors" && *key != "note") {
                let found = ours.get(key).unwrap_or_else(|| panic!("{place}: no {key}"));
                assert_says(found, value, &format!("{place}.{key}"));
            }
            if let Some(errors) = expected.get("errors") {
                assert_eq!(ours["errors"] == Value::Array(Vec::new()), errors == &Value::Array(Vec::new()), "{place}");
            }
        }
        Value::Array(items) => {
            assert_eq!(ours.as_array().map(Vec::len), Some(items.len()), "{place}");
            items.iter().enumerate().for_each(|(i, item)| assert_says(&ours[i], item, &format!("{place}[{i}]")));
        }
        Value::Number(number) if number.is_f64() => {
            let (a, b) = (number.as_f64().unwrap(), ours.as_f64().unwrap_or(f64::NAN));
            assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{place}: {a} expected, {b} found");
        }
        Value::String(file) if place.ends_with(".file") => assert!(ours.as_str().unwrap().ends_with(file), "{place}"),
        other => assert_eq!(ours, other, "{place}"),
    }
}

/// Decodes every `NAME.bin` with a sidecar in a folder, with the size told and with the size found; how many there were.
fn check_folder(folder: &Path) -> usize {
    let mut checked = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() != Some("json".as_ref()) || path.file_stem() == Some("malformed".as_ref()) {
            continue;
        }
        let sidecar: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let bin = path.with_extension("bin");
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let size = sidecar["frame_size"].to_string();
        for more in [&["--buffer-size", size.as_str()][..], &[]] {
            let (code, text, messages) = decode(&bin, &sidecar["layout"], more);
            assert_eq!(code, 0, "{name} {more:?}: {messages}");
            assert_says(&serde_json::from_str(&text).unwrap(), &sidecar, &name);
        }
        checked += 1;
    }
    checked
}

#[test]
fn every_dump_says_what_its_sidecar_says() {
    let Some(folder) = dumps() else { return };
    assert_eq!(check_folder(&folder), 20);
}

#[test]
fn a_package_gives_the_size_of_its_buffers() {
    let (Some(dumps), Some(networks)) = (dumps(), networks()) else { return };
    let package = networks.join("imx500_network_ssd_mobilenetv2_fpnlite_320x320_pp.rpk");
    let sidecar: Value = serde_json::from_slice(&std::fs::read(dumps.join("ssd_pi5_4056.json")).unwrap()).unwrap();
    let more = ["--network", package.to_str().unwrap()];
    let (code, text, messages) = decode(&dumps.join("ssd_pi5_4056.bin"), &sidecar["layout"], &more);
    assert_eq!(code, 0, "{messages}");
    assert_says(&serde_json::from_str(&text).unwrap(), &sidecar, "ssd_pi5_4056");
    // Another network's package: its size does not divide the file.
    let other = networks.join("imx500_network_mobilenet_v2.rpk");
    let (code, text, messages) =
        decode(&dumps.join("ssd_pi5_4056.bin"), &sidecar["layout"], &["--network", other.to_str().unwrap()]);
    assert_eq!((code, text.as_str()), (1, ""), "{messages}");
    assert!(messages.contains("--buffer-size"), "{messages}");
}

#[test]
fn a_remainder_is_an_error_with_its_offset() {
    let Some(folder) = dumps() else { return };
    let whole = std::fs::read(folder.join("sequence_slow_dnn_pi4.bin")).unwrap();
    let sidecar: Value =
        serde_json::from_slice(&std::fs::read(folder.join("sequence_slow_dnn_pi4.json")).unwrap()).unwrap();
    let size = sidecar["frame_size"].as_u64().unwrap();
    let place = tempfile::tempdir().unwrap();
    let cut = place.path().join("cut.bin");
    std::fs::write(&cut, &whole[..whole.len() - 1]).unwrap();
    let (code, text, messages) = decode(&cut, &sidecar["layout"], &[]);
    assert_eq!((code, text.as_str()), (1, ""), "{messages}");
    assert!(messages.contains(&format!("byte {}: {} bytes are left", 11 * size, size - 1)), "{messages}");
    std::fs::write(&cut, b"").unwrap();
    let (code, _, messages) = decode(&cut, &sidecar["layout"], &[]);
    assert!(code == 1 && messages.contains("empty"), "{messages}");
    // The first buffers are blank, as right after a start: a later header tells the size.
    let mut blank = whole[..2 * size as usize].to_vec();
    blank[5088..size as usize].fill(0);
    blank.extend_from_slice(&whole);
    blank[size as usize..][5088..size as usize].fill(0);
    std::fs::write(&cut, &blank).unwrap();
    let (code, text, messages) = decode(&cut, &sidecar["layout"], &[]);
    assert_eq!(code, 3, "{messages}");
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((told["frame_size"].as_u64(), told["frame_count"].as_u64()), (Some(size), Some(14)));
    assert!(told["frames"][0]["errors"][0]["reason"].as_str().unwrap().contains("blank"), "{}", told["frames"][0]);
    assert_eq!(told["frames"][1]["errors"][0]["offset"].as_u64(), Some(size + 5088 + 2560));
}

#[test]
fn what_has_no_size_is_told() {
    let (code, _, messages) = decode(Path::new("/dev/null"), &serde_json::json!({"width": 2028, "strided": true}), &[]);
    assert!(code == 1 && messages.contains("/dev/null is no ordinary file"), "{messages}");
}

#[test]
fn every_malformed_buffer_gives_an_error_with_its_offset_or_the_documented_result() {
    let Some(folder) = dumps() else { return };
    let file: Value = serde_json::from_slice(&std::fs::read(folder.join("malformed.json")).unwrap()).unwrap();
    let base = std::fs::read(folder.join("malformed_base_pi4.bin")).unwrap();
    let place = tempfile::tempdir().unwrap();
    let bin = place.path().join("case.bin");
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 107);
    for case in cases {
        let mut buffer = base.clone();
        for edit in case["edits"].as_array().unwrap() {
            let (at, times) = (edit[0].as_u64().unwrap() as usize, edit[2].as_u64().unwrap() as usize);
            let bytes = unhex(edit[1].as_str().unwrap()).repeat(times);
            buffer[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        buffer.truncate(case["cut"].as_u64().map_or(usize::MAX, |cut| cut as usize));
        std::fs::write(&bin, &buffer).unwrap();
        let (code, text, messages) = decode(&bin, &file["layout"], &["--buffer-size", &buffer.len().to_string()]);
        let name = &case["name"];
        let told: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}; {messages}"));
        let frame = &told["frames"][0];
        let failed = |part: &str| frame["errors"].as_array().unwrap().iter().any(|error| error["part"] == part);
        assert_eq!(!failed("registers"), case["registers_ok"].as_bool().unwrap(), "{name}");
        assert_eq!(failed("dnn"), case["inference_error"].as_bool().unwrap(), "{name}");
        assert_eq!(frame["emitted"]["output"].is_object(), case["emits"].as_bool().unwrap(), "{name}");
        assert_eq!(code, if failed("registers") || failed("dnn") { 3 } else { 0 }, "{name}");
        for error in frame["errors"].as_array().unwrap() {
            assert!(error["offset"].as_u64().unwrap() <= buffer.len() as u64, "{name}: {error}");
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// A Python that has numpy: the tests' own environment, else the system's.
fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let environments = [
        std::env::var_os("KINORA_VENV").map(PathBuf::from),
        std::env::var_os("CARGO_TARGET_DIR").map(|target| Path::new(&target).join("modlib-venv")),
        Some(root.join("target/modlib-venv")),
    ];
    let pythons = environments.into_iter().flatten().map(|place| place.join("bin/python"));
    pythons.chain([PathBuf::from("python3")]).find(|python| {
        Command::new(python).args(["-c", "import numpy"]).output().is_ok_and(|output| output.status.success())
    })
}

/// Dumps that nobody has seen: every description in every layout with other seeds, and networks made at random.
const FRESH: &str = r#"
import json, pathlib, random, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import gen_dump as g
out, dice = pathlib.Path(sys.argv[2]), random.Random(int(sys.argv[3]))
layouts = [g.PI4, g.PI5, g.PI4_FULL, g.PI5_FULL]
def write(name, layout, frames):
    data, size = b"".join(frames), len(frames[0])
    (out / f"{name}.bin").write_bytes(data)
    side = {"file": f"{name}.bin", "layout": layout, "register_stride": g.register_stride(**layout),
            "dnn_offset": 2 * g.register_stride(**layout), "frame_size": size, "frame_count": len(frames),
            "frames": g.expected(data, size, layout)}
    (out / f"{name}.json").write_text(json.dumps(side))
for path in sorted((pathlib.Path(sys.argv[1]) / "networks/apparams").glob("*.bin")):
    layout = dice.choice(layouts)
    write(path.stem, layout, [g.frame(layout, path.read_bytes(), dice.randrange(1 << 30), dice.randrange(255))])
for n in range(12):
    outs = []
    for i in range(dice.randint(1, 4)):
        sizes = [dice.randint(1, 40) for _ in range(dice.randint(1, 3))]
        order = list(range(len(sizes))); dice.shuffle(order)
        outs.append(g.out(i, sizes, dice.choice([8, 16, 32]), dice.randint(0, 1), dice.choice([0, 0, 3, 200]),
                          dice.choice([1.0, 0.5, 2 ** -7, 0.3]), order))
    net = g.write_apparams([g.synthetic(outs, width=dice.randint(8, 200), height=dice.randint(8, 90),
                                        channels=dice.choice([1, 3, 4]), pads=(dice.randint(0, 31), dice.randint(0, 1)))])
    layout, valid = dice.choice(layouts), [(1, 0), (0, 1), (1, 1), (0, 0), (0, 1)]
    write(f"random{n}", layout, [g.frame(layout, net, dice.randrange(1 << 30), (40 + k) % 255, in_valid=a, out_valid=b,
          max_line=dice.choice([1920, 2560]) if k < 0 else 2560) for k, (a, b) in enumerate(valid)])
"#;

#[test]
fn dumps_that_nobody_has_seen_decode_to_what_the_generator_expects() {
    let Some(folder) = common::shared("imx500") else { return };
    let Some(python) = python() else {
        eprintln!("skipped: no python with numpy; scripts/modlib-venv makes one");
        return;
    };
    let seed = std::env::var("KINORA_TEST_SEED").unwrap_or_else(|_| "20261121".into());
    let place = tempfile::tempdir().unwrap();
    let made = Command::new(python).args(["-c", FRESH]).arg(&folder).arg(place.path()).arg(&seed).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(check_folder(place.path()), 25, "seed {seed}");
}

#[test]
fn networks_are_listed_found_by_the_start_of_their_name_and_described() {
    let Some(folder) = networks() else { return };
    let run = |arguments: &[&str]| {
        let mut command = command::kinora(arguments);
        command.env("KINORA_NETWORKS", &folder).env("HOME", "/nonexistent");
        let output = command.output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout.clone()).unwrap(), command::messages(&output))
    };
    let (code, text, _) = run(&["network", "--json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, list["networks"].as_array().unwrap().len()), (0, 5), "{list}");
    let (code, text, _) = run(&["network"]);
    assert!(code == 0 && text.contains("posenet") && text.contains("pose estimation"), "{text}");
    let (code, text, _) = run(&["network", "ssd", "--json"]);
    let ssd: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &ssd["task"], &ssd["post"]), (0, &"object detection".into(), &"od_bscn".into()));
    assert_eq!((&ssd["rate"], ssd["labels"].as_array().unwrap().len()), (&serde_json::json!([26, 1]), 90));
    assert_eq!(
        (&ssd["memory"]["buffer_bytes"], &ssd["memory"]["raw_results_bytes"]),
        (&337_824.into(), &23_024.into())
    );
    let (code, text, _) = run(&["network", "ssd"]);
    assert!(code == 0 && text.contains("26 results/s") && text.contains("320x320x3 RGB"), "{text}");
    let (code, text, messages) = run(&["network", ""]);
    assert_eq!((code, text.as_str()), (1, ""));
    assert!(messages.contains("deeplabv3plus, inputtensoronly, mobilenet_v2, posenet, ssd"), "{messages}");
    let (_, text, _) = run(&["network", "posenet"]);
    assert!(text.contains("  labels      none\n"), "{text}");
    let (_, text, _) = run(&["network", "mobilenet"]);
    assert!(text.contains("1000: \"1:tench, Tinca tinca\", \"2:goldfish, Carassius auratus\", "), "{text}");
    let (code, _, messages) = run(&["network", "yolo"]);
    assert!(code == 1 && messages.contains("sudo apt install imx500-all"), "{messages}");
}

#[test]
fn without_any_package_the_list_names_the_remedy() {
    let place = tempfile::tempdir().unwrap();
    let mut command = command::kinora(&["network"]);
    let output = command.env("KINORA_NETWORKS", place.path()).env("HOME", place.path()).output().unwrap();
    if Path::new("/usr/share/imx500-models").is_dir() {
        eprintln!("skipped: this machine has packages of its own");
        return;
    }
    assert_eq!(output.status.code(), Some(1));
    assert!(command::messages(&output).contains("sudo apt install imx500-all"), "{}", command::messages(&output));
}
