//! A source that misbehaves by a seed, recorded: what the ledger says is what happened.
#![cfg(all(feature = "cli", feature = "jpeg"))]

#[path = "common/kinora.rs"]
mod command;

use std::path::Path;
use std::sync::Arc;

use kinora::recorder::Format;
use kinora::recording::Reader;
use kinora::source::Source;
use kinora::source::faults::{FaultCounts, FaultOptions, Faults};
use kinora::source::virtual_scene::{VirtualOptions, VirtualScene};
use kinora::{Capture, Cause, ClockPair, ManualClock, PictureFormat, Recorder, Session, SessionReport, Settings};
use serde_json::Value;

const FRAMES: u64 = 2000;

/// Records `FRAMES` frames of a small scene with these faults, as fast as it goes.
fn record(path: &Path, faults: &str) -> (Arc<FaultCounts>, SessionReport) {
    let scene = VirtualOptions { size: (32, 24), frames: Some(FRAMES), ..VirtualOptions::default() };
    let faults: FaultOptions = faults.parse().unwrap();
    let source = Faults::new(VirtualScene::new("virtual", scene).unwrap(), faults);
    let counts = source.counts();
    let clock = Arc::new(ManualClock::new(ClockPair::default()));
    let settings = Settings { format: PictureFormat::Raw, ..Settings::default() };
    let recorder = Recorder::builder()
        .file(path)
        .format(Format::Raw)
        .min_free(0)
        .clock(Arc::clone(&clock) as _)
        .source(source.describe())
        .create()
        .unwrap();
    let capture = Capture::new(source).clock(clock).settings(settings);
    let mut session = Session::builder().source(capture).recorder(recorder).start().unwrap();
    while !session.wait_within(kinora::Span::from_ms(100)) {}
    (counts, session.stop().unwrap())
}

/// Numbers in the file, in its order, and its ledger by cause.
fn account(path: &Path) -> (Vec<u64>, std::collections::BTreeMap<&'static str, u64>, u64) {
    let mut reader = Reader::open(path).unwrap();
    let mut halved = 0;
    let mut numbers = Vec::new();
    for index in 0..reader.frame_count() {
        let frame = reader.read_frame(index).unwrap();
        halved += u64::from(frame.pixels.unwrap().info.width == 16);
        numbers.push(frame.meta.sequence);
    }
    let mut ledger = std::collections::BTreeMap::new();
    for (_, loss) in reader.losses().unwrap() {
        *ledger.entry(loss.cause.name()).or_insert(0) += loss.count;
        // A loss names numbers that are not there, but for those that came twice.
        if loss.cause != Cause::Repeated {
            let there = (loss.first_sequence..=loss.last_sequence).filter(|n| numbers.contains(n)).count() as u64;
            assert!(loss.last_sequence - loss.first_sequence + 1 - there >= loss.count, "{loss:?}");
        }
    }
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "each frame once and in order");
    (numbers, ledger, halved)
}

#[test]
fn each_fault_is_in_the_ledger_with_its_cause_and_its_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(format!("{name}.kinora"));
    let said = |name: &str, faults: &str| {
        let (counts, report) = record(&path(name), &format!("seed=5,{faults}"));
        let (numbers, ledger, halved) = account(&path(name));
        assert_eq!(report.status.lost(), ledger.values().sum::<u64>(), "{name}");
        assert!(ledger.len() <= 1, "{name}: {ledger:?}");
        let lost = ledger.iter().filter(|(cause, _)| **cause != "repeated").map(|(_, count)| count).sum::<u64>();
        assert_eq!(numbers.len() as u64 + lost, FRAMES, "{name}: {ledger:?}");
        (counts, ledger.first_key_value().map(|(cause, count)| (*cause, *count)), halved)
    };
    let (counts, told, _) = said("drops", "drops=0.05");
    assert!(counts.drops() > 50);
    assert_eq!(told, Some(("source_gap", counts.drops())));
    let (counts, told, _) = said("duplicates", "duplicates=0.05");
    assert!(counts.duplicates() > 50);
    assert_eq!(told, Some(("repeated", counts.duplicates())));
    // A frame behind its successor is refused: it was missing when that one came.
    let (counts, told, _) = said("reorder", "reorder=0.05");
    assert!(counts.reordered() > 50);
    assert_eq!(told, Some(("source_gap", counts.reordered())));
    let (counts, told, _) = said("stalls", "stalls=0.01");
    assert!(counts.stalled() > 100);
    assert_eq!(told, Some(("source_stalled", counts.stalled())));
    let (counts, told, _) = said("corrupt", "corrupt=0.05");
    assert!(counts.corrupt() > 50);
    assert_eq!(told, Some(("corrupt", counts.corrupt())));
    let (counts, told, halved) = said("resize", "resize=0.05");
    assert!(counts.resized() > 50);
    assert_eq!((told, halved), (None, counts.resized()), "frames of another size are kept as what they are");
    assert_eq!(said("none", "").1, None);
}

#[test]
fn all_faults_together_leave_no_frame_unaccounted_for() {
    let folder = tempfile::tempdir().unwrap();
    for seed in 1..=8 {
        let path = folder.path().join(format!("{seed}.kinora"));
        let faults =
            format!("seed={seed},drops=0.03,duplicates=0.03,reorder=0.03,stalls=0.005,corrupt=0.03,resize=0.03");
        let (counts, report) = record(&path, &faults);
        let (numbers, ledger, halved) = account(&path);
        let of = |cause: &str| ledger.get(cause).copied().unwrap_or(0);
        assert_eq!(of("source_stalled"), counts.stalled(), "seed {seed}");
        assert_eq!(of("corrupt"), counts.corrupt(), "seed {seed}");
        // A frame that is swallowed at the very end or beginning has no neighbour that would tell.
        let losses = Reader::open(&path).unwrap().losses().unwrap();
        let last_lost = losses.iter().map(|(_, loss)| loss.last_sequence).max().unwrap();
        let first_lost = losses.iter().map(|(_, loss)| loss.first_sequence).min().unwrap();
        let untold = FRAMES - 1 - last_lost.max(*numbers.last().unwrap()) + first_lost.min(numbers[0]);
        assert!(untold <= 3, "seed {seed}: {untold} frames at the ends");
        assert_eq!(of("source_gap") + untold, counts.drops() + counts.reordered(), "seed {seed}");
        assert_eq!(of("repeated"), counts.duplicates(), "seed {seed}");
        assert!(halved <= counts.resized(), "some of them were refused for being late");
        assert_eq!(report.summary.frames, numbers.len() as u64);
        let verified = command::run(&["verify", path.to_str().unwrap()]);
        assert_eq!(verified.status.code(), Some(0), "seed {seed}: {}", command::messages(&verified));
    }
}

#[test]
fn the_command_says_what_was_lost_and_its_account_is_the_recordings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.kinora");
    let record = |faults: &str, source: &str, out: &str| {
        let line = format!(
            "record --json --clock manual --source {source} --size 64x48 --frames 400 --faults {faults} --out {out}"
        );
        command::json(&line.split(' ').collect::<Vec<_>>())
    };
    let out = path.to_str().unwrap();
    let (code, told) = record("drops=0.02,stalls=0.01,corrupt=0.02,seed=3", "virtual:seed=3", out);
    assert_eq!(code, Some(3));
    let (_, info) = command::json(&["info", "--json", out]);
    assert_eq!((&told["frames"], &told["dropped"]), (&info["frames"], &info["dropped"]));
    let by_cause: u64 = told["dropped_by_cause"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    assert_eq!(Some(by_cause), info["dropped"].as_u64());
    let (code, verified) = command::json(&["verify", "--json", out]);
    assert_eq!((code, verified["frames_ok"].as_u64()), (Some(0), info["frames"].as_u64()));

    // Damaged metadata of a virtual IMX500: every frame is there, its results are not.
    let sensor = folder.path().join("sensor.kinora");
    let (code, told) = record("corrupt=0.1,seed=3", "virtual:imx500,seed=3", sensor.to_str().unwrap());
    assert_eq!((code, told["frames"].as_u64()), (Some(3), Some(400)));
    let lost = told["dropped_by_cause"]["metadata_lost"].as_u64().unwrap();
    let mut reader = Reader::open(&sensor).unwrap();
    let repeated = (0..400).filter(|&index| !reader.read_frame(index).unwrap().meta.new_detection).count() as u64;
    assert!(lost > 10 && lost == repeated, "{lost} lost, {repeated} repeated");

    for wrong in ["drops=2", "drips=0.1", "drops"] {
        let line = format!("record --source virtual --faults {wrong}");
        let output = command::run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(command::messages(&output).contains("duplicates, reorder"), "{}", command::messages(&output));
    }
}
