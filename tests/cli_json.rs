//! Every `--json` output against the tables of docs/json.md: no field may be missing here or there.
#![cfg(all(feature = "cli", feature = "jpeg"))]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The fields that a section's tables list.
fn documented(section: &str) -> BTreeSet<String> {
    let text = include_str!("../docs/json.md");
    let start =
        text.find(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("docs/json.md has a section {section}"));
    let body = &text[start + 4..];
    let body = &body[..body.find("\n## ").unwrap_or(body.len())];
    let rows = body.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect()
}

fn fields(value: &Value) -> BTreeSet<String> {
    value.as_object().unwrap_or_else(|| panic!("an object: {value}")).keys().cloned().collect()
}

fn assert_matches(section: &str, value: &Value) {
    assert_eq!(fields(value), documented(section), "fields of `{section}`");
}

/// Runs the command in `folder`; the objects that it printed.
fn run(folder: &Path, line: &str) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_kinora")).args(line.split(' ')).current_dir(folder).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "`kinora {line}` printed nothing; {errors}");
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// A folder with `a.kinora`, 12 frames of the virtual scene, and `b.kinora`, the first ten of them.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let line = "record --json --clock manual --source virtual:seed=3,size=64x48 --frames 12 --out a.kinora";
    let printed = run(folder.path(), line);
    assert_matches("record", &printed[0]);
    assert_eq!(printed[0]["frames"], 12);
    assert_matches("copy", &run(folder.path(), "cut a.kinora --from 0 --to 9 -o b.kinora --json")[0]);
    folder
}

#[test]
fn frames_have_the_documented_fields_from_whatever_command() {
    let folder = folder();
    for line in
        ["cat a.kinora --json", "tail a.kinora --from-start --json", "play a.kinora --print json --clock manual"]
    {
        let printed = run(folder.path(), line);
        let frames: Vec<_> = printed.iter().filter(|value| value["record"] == "frame").collect();
        assert_eq!(frames.len(), 12, "{line}");
        assert_matches("frame", frames[0]);
        let rows = documented("row");
        for row in frames.iter().flat_map(|frame| frame["detections"].as_array().unwrap()) {
            assert!(fields(row).is_subset(&rows), "{row}");
        }
        assert!(frames[3]["offset"].as_u64().unwrap() > frames[2]["offset"].as_u64().unwrap(), "{line}");
    }
}

#[test]
fn every_kind_of_row_has_only_documented_fields() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = BTreeSet::new();
    for kind in ["detections", "classifications", "poses", "segments", "instances", "anomaly", "obb"] {
        let line = format!(
            "record --json --clock manual --source virtual:seed=3,size=64x48,kind={kind} --frames 3 --out {kind}.kinora"
        );
        run(folder.path(), &line);
        for frame in run(folder.path(), &format!("cat {kind}.kinora --json")) {
            assert_matches("frame", &frame);
            seen.extend(frame["detections"].as_array().unwrap().iter().flat_map(fields));
        }
    }
    assert!(seen.is_subset(&documented("row")), "{seen:?}");
    for field in ["keypoints", "angle", "mask_size", "bbox", "class_id"] {
        assert!(seen.contains(field), "no row had {field}: {seen:?}");
    }
}

#[test]
fn instants_are_text_in_frames_and_numbers_in_info() {
    let folder = folder();
    let frame = &run(folder.path(), "cat a.kinora --json")[0];
    let utc_ns: i64 = frame["utc_ns"].as_str().unwrap().parse().unwrap();
    assert!(frame["captured_ns"].is_string() && frame["utc"].as_str().unwrap().ends_with('Z'));
    let info = &run(folder.path(), "info a.kinora --json")[0];
    assert_eq!(info["first_utc_ns"].as_i64(), Some(utc_ns));
    for field in
        ["frames", "detections", "dropped", "duration_ns", "width", "height", "bytes", "fps_mean", "clock_steps"]
    {
        assert!(info[field].is_number(), "{field}: {}", info[field]);
    }
    assert_eq!((info["finalized"].as_bool(), info["pixel_format"].as_str()), (Some(true), Some("JPEG")));
}

#[test]
fn reports_have_the_documented_fields() {
    let folder = folder();
    let folder = folder.path();
    assert_matches("info", &run(folder, "info a.kinora --json")[0]);
    assert_matches("verify", &run(folder, "verify a.kinora --json")[0]);
    assert_matches("copy", &run(folder, "repair a.kinora -o mended.kinora --json")[0]);
    assert_matches("export", &run(folder, "export a.kinora --to json -o a.json --json")[0]);
    assert_matches("import", &run(folder, "import a.json -o again.kinora --json")[0]);
    assert_matches("memory", &run(folder, "memory --source virtual --json")[0]);
    assert_matches("settings", &run(folder, "record --print-config --json")[0]);
    let played = run(folder, "play a.kinora --clock manual --print none --json");
    assert_matches("play", &played[0]);
    assert_eq!((played.len(), played[0]["delivered"].as_u64()), (1, Some(12)));
}

#[test]
fn the_doctor_tells_every_check_and_a_remedy_for_each_warning() {
    let folder = folder();
    let line = "doctor --source virtual --out . --wake-time 50ms --card-tbw 60 --json";
    let told = &run(folder.path(), line)[0];
    assert_matches("doctor", told);
    let findings = told["findings"].as_array().unwrap();
    let mut checks = BTreeSet::new();
    for finding in findings {
        assert_matches("finding", finding);
        checks.insert(finding["check"].as_str().unwrap());
        assert_eq!(finding["remedy"].is_string(), finding["state"] == "warning", "{finding}");
    }
    let warnings = findings.iter().filter(|finding| finding["state"] == "warning").count();
    assert_eq!(told["warnings"].as_u64(), Some(warnings as u64));
    let expected = "kernel, governor, processors, memory, memory lock, real-time, timer slack, wake-up, disk speed, disk room, card wear, \
                    camera, IMX500";
    assert_eq!(checks, expected.split(", ").collect());
    let figures = |check: &str| &findings.iter().find(|finding| finding["check"] == check).unwrap()["figures"];
    let wake = figures("wake-up");
    assert!(wake["p50_ns"].as_u64() <= wake["p99_ns"].as_u64() && wake["p99_ns"].as_u64() <= wake["max_ns"].as_u64());
    assert!(wake["max_ns"].as_u64() > Some(0), "{wake}");
    assert!(figures("disk speed")["write_bytes_per_s"].as_u64() > Some(0));
    let status = Command::new(env!("CARGO_BIN_EXE_kinora")).args(line.split(' ')).current_dir(folder.path()).output();
    assert!(matches!(status.unwrap().status.code(), Some(0 | 3)));
    assert!(std::fs::read_dir(folder.path()).unwrap().count() == 2, "what was written to measure is gone");
}

#[test]
fn the_doctor_looks_at_a_machine_whose_camera_or_disk_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let found = |line: &str, check: &str| {
        let told = run(folder.path(), &format!("doctor --wake-time 10ms --json {line}")).swap_remove(0);
        let findings = told["findings"].as_array().unwrap().iter();
        let found: Vec<_> = findings.filter(|finding| finding["check"] == check).cloned().collect();
        found.into_iter().next().unwrap_or_else(|| panic!("{check}: {told}"))
    };
    let needed = |line: &str| found(line, "memory")["figures"]["needed_bytes"].as_u64().unwrap();
    let recording = needed("--source virtual");
    let window = needed("--source virtual --replay-frames 900");
    assert!(window > recording + 900 * 90_000, "a window of 900 frames is in what is needed: {recording}, {window}");
    assert!(needed("--source virtual --replay-frames 900 --clip-history 10s") > window);
    let processors = found("--source virtual --cpus 0,1000", "processors");
    assert_eq!((&processors["state"], &processors["remedy"]), (&"warning".into(), &"--cpus 0".into()), "{processors}");
    let source = found("--source v4l2:/dev/video4711", "source");
    assert_eq!(source["state"], "warning");
    assert!(source["found"].as_str().unwrap().contains("/dev/video4711"), "{source}");
    assert!(found("--source nowhere.kinora", "source")["found"].as_str().unwrap().contains("nowhere.kinora"));
    std::fs::write(folder.path().join("file"), "x").unwrap();
    let speed = found("--source virtual --out file/below", "disk speed");
    assert!(speed["state"] == "warning" && speed["found"] == "file is no directory", "{speed}");
    // The rate is that of the newest recording of the directory.
    run(
        folder.path(),
        "record --json --clock manual --source virtual:size=64x48 --fps 10 --frames 30 --out recordings",
    );
    let measured = found("--source virtual --out recordings", "disk speed");
    assert!(measured["found"].as_str().unwrap().contains("as in recordings"), "{measured}");
    let (needed, wear) =
        (measured["figures"]["needed_bytes_per_s"].as_u64().unwrap(), "--card-tbw 1TB --out recordings");
    let days = found(&format!("--source virtual {wear}"), "card wear")["figures"]["days"].as_u64().unwrap();
    assert_eq!(days, 1_000_000_000_000 / (needed * 86_400));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let told = &run(folder.path(), "man pages --json")[0];
    assert_matches("man", told);
    for name in ["kinora", "kinora-record", "kinora-doctor", "kinora-ctl-trigger"] {
        let page = std::fs::read_to_string(folder.path().join(format!("pages/{name}.1"))).expect(name);
        assert!(page.contains(".TH") && page.contains("Exit codes") != name.contains("trigger"), "{name}: {page}");
    }
}

#[test]
fn a_difference_ends_with_a_summary() {
    let folder = folder();
    let printed = run(folder.path(), "diff a.kinora b.kinora --json");
    let (summary, differences) = printed.split_last().unwrap();
    assert_matches("summary", summary);
    assert_eq!((summary["equal"].as_bool(), summary["frames_only_a"].as_u64()), (Some(false), Some(2)));
    assert!(differences.iter().all(|difference| difference["record"] == "only" && difference["side"] == "a"));
}

#[test]
fn all_records_have_the_documented_fields() {
    let folder = folder();
    let printed = run(folder.path(), "cat a.kinora --json --all");
    let clock = printed.iter().find(|value| value["record"] == "clock").expect("a recording begins with its clocks");
    assert_matches("clock", clock);
    // A byte of the fifth frame's picture.
    let at = printed.iter().filter(|value| value["record"] == "frame").nth(4).unwrap()["offset"].as_u64().unwrap();
    let path = folder.path().join("a.kinora");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at as usize + 700] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let printed = run(folder.path(), "cat a.kinora --json --all");
    let damaged = printed.iter().find(|value| value["record"] == "damaged").expect("the damage is told");
    assert_matches("damaged", damaged);
    let report = &run(folder.path(), "verify a.kinora --json")[0];
    assert_eq!((report["frames_ok"].as_u64(), report["damaged_count"].as_u64()), (Some(11), Some(1)));
    assert_eq!(report["damaged"][0]["offset"].as_u64(), Some(at));
}

#[test]
fn losses_and_events_have_the_documented_fields() {
    use kinora::event::{Event, EventKind};
    use kinora::frame::FrameMeta;
    use kinora::{Cause, ClockPair, Frame, Loss, Recorder, Results, Timestamp, WallTime};
    let folder = tempfile::tempdir().unwrap();
    let clock = ClockPair { monotonic: Timestamp::from_ns(5), wall: WallTime::from_utc_ns(1_000) };
    let mut source = kinora::source::SourceInfo::new("test");
    source.recorded_clock = Some(clock);
    let mut recorder = Recorder::builder().file(folder.path().join("a.kinora")).source(&source).create().unwrap();
    let (meta, results) = (FrameMeta::new(), Results::new());
    let losses = [Loss::one(Cause::RingFull, 0, Timestamp::from_ns(1))];
    let frame = Frame {
        meta: &meta,
        results: &results,
        pixels: None,
        jpeg: None,
        side: &[],
        sensor: &[],
        labels: None,
        losses: &losses,
    };
    recorder.add(&frame).unwrap();
    let text = "goal".try_into().unwrap();
    recorder.event(&Event { kind: EventKind::Bookmark, at: clock.monotonic, wall: clock.wall, text }).unwrap();
    recorder.finish().unwrap();
    let printed = run(folder.path(), "cat a.kinora --json --all");
    for (record, section) in [("loss", "loss"), ("event", "event"), ("frame", "frame")] {
        let value = printed.iter().find(|value| value["record"] == record).unwrap_or_else(|| panic!("a {record}"));
        assert_matches(section, value);
    }
}

#[test]
fn buffers_and_networks_have_the_documented_fields() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(dumps) = common::shared("imx500/dumps") {
        let file = dumps.join("sequence_slow_dnn_pi4.bin");
        let decoded = &run(folder.path(), &format!("decode {} --layout pi4 --width 2028 --json", file.display()))[0];
        assert_matches("decode", decoded);
        assert_matches("decoded buffer", &decoded["frames"][0]);
    }
    let line = "record --json --clock manual --source virtual:imx500 --frames 2 --raw-metadata --out raw.kinora";
    assert_matches("record", &run(folder.path(), line)[0]);
    assert_matches("redetect", &run(folder.path(), "redetect raw.kinora -o again.kinora --json")[0]);
    if let Some(networks) = common::shared("imx500/networks") {
        let file = networks.join("imx500_network_posenet.rpk");
        assert_matches("network", &run(folder.path(), &format!("network {} --json", file.display()))[0]);
    }
}

#[cfg(feature = "v4l2")]
#[test]
fn devices_have_the_documented_fields_with_and_without_a_camera() {
    let folder = tempfile::tempdir().unwrap();
    let printed = run(folder.path(), "devices --json");
    assert_matches("devices", &printed[0]);
    for camera in printed[0]["cameras"].as_array().unwrap() {
        assert_matches("camera", camera);
    }
}
