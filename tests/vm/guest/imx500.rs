//! The command with an IMX500, as far as a kernel can tell: `tests/vm/fake_imx500` in both layouts.
//!
//! The module counts what it did not deliver, and to which node; every recording is held against that.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use kinora::imx500::decode::{DecodeError, PostProcess, Target};
use kinora::imx500::{Network, OutputView};
use kinora::source::{CameraOptions, PictureSource};
use kinora::{ResultKind, SourceOptions, open_source_with};
use serde_json::Value;

use crate::command::{self, json, kinora, messages, recording};
use crate::{fake, frames, scratch, shell};

/// A network and a dump of it, from `../shared`.
const NETWORK: &str = "/usr/share/imx500-models/imx500_network_ssd_mobilenetv2_fpnlite_320x320_pp.rpk";
const DUMP: &str = "/data/ssd_pi4_2028.bin";
/// Where the lines of the network begin in the dump, how many there are, and which one holds the number of detections.
const DUMP_LINES_AT: usize = 5088;
const LINE_BYTES: usize = 2560;
const LINES: usize = 2 + 121 + 5;
const COUNT_LINE: usize = 1 + 121 + 4;

/// Whether the files of `../shared` are here; without them a test is skipped, unless they are required.
fn have_network() -> bool {
    let have = Path::new(NETWORK).exists() && Path::new(DUMP).exists();
    assert!(have || std::env::var_os("KINORA_REQUIRE_SHARED").is_none(), "no files of ../shared in the guest");
    if !have {
        println!("skipped: needs the networks and dumps of ../shared");
    }
    have
}

/// A recording that was made, verified and read.
struct Recorded {
    code: Option<i32>,
    told: String,
    info: Value,
    frames: Vec<Value>,
    losses: Vec<Value>,
}

/// False when this test cannot run; else the module is at rest, and how much the machine carries is known.
pub fn ready() -> bool {
    if !have_network() {
        return false;
    }
    carried();
    fake::rest();
    true
}

/// Records with the network until `more` or `meanwhile` ends it.
fn record(name: &str, more: &[&str], meanwhile: impl FnOnce()) -> Recorded {
    let more = [&["--network", "ssd"], more].concat();
    let (code, told, info) = command::record(name, "imx500", &more, meanwhile);
    let output = kinora(&["cat", "--all", "--json", &recording(name)]);
    let text = String::from_utf8(output.stdout).unwrap();
    let (mut frames, mut losses) = (Vec::new(), Vec::new());
    for record in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        match record["record"].as_str().unwrap() {
            "frame" => frames.push(record),
            "loss" => losses.push(record),
            "damaged" => panic!("{record}"),
            _ => {}
        }
    }
    std::fs::remove_file(recording(name)).unwrap();
    Recorded { code, told, info, frames, losses }
}

/// What the input tensor takes less than the sensor's picture: tests that are not about pictures show it.
const LIGHT: [&str; 2] = ["--picture", "input-tensor"];

/// Records `frames` at a rate that this machine carries with such pictures.
fn record_calmly(name: &str, frames: u32, more: &[&str], meanwhile: impl FnOnce()) -> Recorded {
    let rate = (carried() * 0.6).floor().clamp(1.0, 15.0).to_string();
    let frames = frames.to_string();
    record(name, &[&["--frames", &frames, "--fps", &rate], more].concat(), meanwhile)
}

/// Frames a second of 30 that this machine carries, with the sensor's pictures.
fn carried() -> f64 {
    static CARRIED: OnceLock<f64> = OnceLock::new();
    *CARRIED.get_or_init(|| {
        fake::rest();
        let carried = record("trial", &["--frames", "30", "--fps", "30"], || {}).fps();
        println!("this machine carries {carried:.1} of 30 frames/s");
        fake::rest();
        carried
    })
}

impl Recorded {
    /// Numbers of the frames, which must go up.
    fn numbers(&self) -> Vec<u64> {
        let numbers: Vec<u64> = self.frames.iter().map(|frame| frame["sequence"].as_u64().unwrap()).collect();
        assert!(!numbers.is_empty(), "no frame: {}", self.told);
        assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
        numbers
    }

    fn lost_by(&self, cause: &str) -> BTreeSet<u64> {
        self.lost(|of| of == cause)
    }

    fn lost(&self, wanted: impl Fn(&str) -> bool) -> BTreeSet<u64> {
        let mut numbers = BTreeSet::new();
        for loss in self.losses.iter().filter(|loss| wanted(loss["cause"].as_str().unwrap())) {
            let [first, last, count] =
                ["first_sequence", "last_sequence", "count"].map(|field| loss[field].as_u64().unwrap());
            assert_eq!(last - first + 1, count, "an entry that was not merged: {loss}");
            for number in first..=last {
                assert!(numbers.insert(number), "{number} is lost twice: {:?}", self.losses);
            }
        }
        numbers
    }

    /// Frames and losses make every number exactly once, and the losses are those that the module knows of or causes of
    /// our own. For recordings of one stream.
    fn assert_accounted(&self) {
        let numbers = self.numbers();
        let (first, last) = (numbers[0], numbers[numbers.len() - 1]);
        let is_half = |cause: &str| cause == "metadata_lost" || cause == "picture_lost";
        let whole = self.lost(|cause| !is_half(cause));
        let kept: BTreeSet<u64> = numbers.into_iter().collect();
        for number in first..=last {
            assert!(
                kept.contains(&number) != whole.contains(&number),
                "frame {number}: {:?} {}",
                self.losses,
                self.told
            );
        }
        let module = fake::skipped();
        let within = |numbers: &BTreeSet<u64>| numbers.range(first..=last).copied().collect::<BTreeSet<_>>();
        let (image, metadata) = (within(&module.image), within(&module.metadata));
        let (no_picture, no_metadata) = (within(&self.lost_by("picture_lost")), within(&self.lost_by("metadata_lost")));
        let gone: BTreeSet<u64> = image.intersection(&metadata).copied().collect();
        let beyond = |of: &BTreeSet<u64>, known: &BTreeSet<u64>| of.difference(known).copied().collect::<Vec<u64>>();
        let silent = beyond(&gone, &whole);
        assert!(silent.is_empty(), "left out by the module, and not told: {silent:?} {}", self.told);
        let gaps = within(&self.lost_by("source_gap"));
        let untrue = beyond(&gaps, &gone);
        assert!(untrue.is_empty(), "told as gaps, and not left out: {untrue:?} {}", self.told);
        let alone = |half: &BTreeSet<u64>, other: &BTreeSet<u64>| {
            half.difference(other).filter(|number| kept.contains(number)).copied().collect::<BTreeSet<_>>()
        };
        assert_eq!(alone(&metadata, &image), no_metadata, "frames without metadata; {}", self.told);
        assert_eq!(alone(&image, &metadata), no_picture, "frames without picture; {:?} {}", self.losses, self.told);
    }

    fn fps(&self) -> f64 {
        self.info["fps_mean"].as_f64().unwrap()
    }

    /// Rows of results that are new with their frame; `None` when the frame has no new result.
    fn new_rows(&self) -> Vec<Option<usize>> {
        let rows = |frame: &Value| {
            let is_new = frame["new_detection"] == true && frame["state"] != "absent";
            is_new.then(|| frame["detections"].as_array().unwrap().len())
        };
        self.frames.iter().map(rows).collect()
    }
}

pub fn the_camera_is_found_and_named() {
    let layout = fake::layout();
    let found = json(&["devices", "--json"]);
    let cameras = found["cameras"].as_array().unwrap();
    let camera = cameras.iter().find(|camera| camera["source"] == "imx500:0").unwrap_or_else(|| panic!("{found}"));
    assert!(camera["name"].as_str().unwrap().starts_with("imx500 "), "{found}");
    assert_eq!(camera["receiver"], *layout, "{found}");
}

pub fn frames_at_a_rate_that_this_machine_carries_lose_none() {
    if !ready() {
        return;
    }
    let count = frames(300, 40);
    let mut rate = (carried() * 0.6).floor().clamp(1.0, 30.0);
    loop {
        fake::rest();
        let recorded = record("whole", &["--frames", &count.to_string(), "--fps", &rate.to_string()], || {});
        recorded.assert_accounted();
        // What `redetect` goes by without the package.
        let of_network = ["network", "post"].map(|field| recorded.info[field].as_str().unwrap());
        assert!(of_network[0].starts_with("ssd") && of_network[1] == "od_bscn", "{}", recorded.info);
        println!("at {rate}: {count} frames at {:.2} frames/s, {} lost", recorded.fps(), recorded.losses.len());
        if recorded.losses.is_empty() {
            assert_eq!((recorded.code, recorded.frames.len()), (Some(0), count as usize), "{}", recorded.told);
            return;
        }
        assert!(rate > 1.0, "{count} frames lose some even at {rate} frames/s: {}", recorded.told);
        rate = (rate * 0.5).floor().max(1.0);
    }
}

pub fn at_30_frames_a_second_every_loss_is_in_the_ledger() {
    if !ready() {
        return;
    }
    let recorded = record("fast", &["--frames", "60", "--fps", "30"], || {});
    recorded.assert_accounted();
    let numbers = recorded.numbers();
    println!("at 30 frames/s: 60 of {} frames kept, the others in the ledger", numbers[59] - numbers[0] + 1);
}

/// Lines of four frames with 0, 1, 2 and 3 detections.
fn lines_of_four_frames() -> Vec<u8> {
    let dump = std::fs::read(DUMP).unwrap();
    let one = &dump[DUMP_LINES_AT..][..LINES * LINE_BYTES];
    let mut lines = Vec::new();
    for detections in 0..4 {
        let at = lines.len() + COUNT_LINE * LINE_BYTES;
        lines.extend_from_slice(one);
        assert_eq!(lines[at], 4, "the number of detections in the dump");
        lines[at] = detections;
    }
    lines
}

pub fn results_belong_to_their_frames() {
    if !ready() {
        return;
    }
    fake::put_in(&lines_of_four_frames());
    let recorded = record_calmly("results", frames(40, 24), &[&LIGHT[..], &["--threshold", "0.1"]].concat(), || {});
    recorded.assert_accounted();
    let half = recorded.lost_by("metadata_lost");
    let mut compared = 0;
    for (number, rows) in recorded.numbers().into_iter().zip(recorded.new_rows()) {
        if !half.contains(&number) {
            assert_eq!(rows, Some(number as usize % 4), "frame {number}");
            compared += 1;
        }
    }
    assert!(compared >= frames(20, 12), "{compared} frames had their metadata");
}

pub fn a_slow_network_gives_a_result_in_one_of_three_frames() {
    if !ready() {
        return;
    }
    fake::put_in(&lines_of_four_frames());
    fake::set("slow_network", 3);
    let recorded = record_calmly("slow", frames(30, 18), &[&LIGHT[..], &["--threshold", "0.1"]].concat(), || {});
    recorded.assert_accounted();
    let half = recorded.lost_by("metadata_lost");
    for (number, rows) in recorded.numbers().into_iter().zip(recorded.new_rows()) {
        let expected = (number % 3 == 2 && !half.contains(&number)).then_some(number as usize % 4);
        assert_eq!(rows, expected, "frame {number}");
    }
}

pub fn a_dead_network_is_told_and_pictures_go_on() {
    if !ready() {
        return;
    }
    fake::set("dead_network", 1);
    let recorded = record_calmly("dead", 15, &[], || {});
    recorded.assert_accounted();
    assert_eq!(recorded.frames.len(), 15);
    assert!(recorded.new_rows().iter().all(Option::is_none), "{:?}", recorded.frames[0]);
}

pub fn missing_metadata_is_in_the_ledger_and_pictures_are_kept() {
    if !ready() {
        return;
    }
    fake::set("drop_metadata_every", 5);
    let recorded = record_calmly("halves", frames(30, 20), &[], || {});
    recorded.assert_accounted();
    let lost = recorded.lost_by("metadata_lost");
    assert!(lost.len() >= frames(5, 3) as usize, "{lost:?}: {}", recorded.told);
    assert!(recorded.frames.iter().all(|frame| frame["picture"].is_object()));
}

pub fn missing_pictures_are_in_the_ledger_and_results_are_kept() {
    if !ready() {
        return;
    }
    fake::set("drop_image_every", 5);
    let recorded = record_calmly("others", frames(30, 20), &[], || {});
    recorded.assert_accounted();
    let lost = recorded.lost_by("picture_lost");
    assert!(lost.len() >= frames(5, 3) as usize, "{lost:?}: {}", recorded.told);
    for (number, frame) in recorded.numbers().iter().zip(&recorded.frames) {
        assert_eq!(frame["picture"].is_null(), lost.contains(number), "{frame}");
    }
}

pub fn a_camera_that_hangs_is_started_again_after_a_failed_start_and_the_pause_is_accounted_for() {
    if !ready() {
        return;
    }
    fake::set("hang_after", 20);
    let recorded = record_calmly("hangs", 35, &LIGHT, || {
        fake::wait_for("frames", 5);
        fake::set("i2c_errors", 1);
    });
    let stats = fake::stats();
    assert_eq!((stats["hangs"], stats["streams"]), (1, 2), "{stats:?}");
    assert_eq!(recorded.frames.len(), 35);
    assert!(!recorded.lost_by("source_stalled").is_empty(), "{:?}", recorded.losses);
    // Numbers go on after the pause: every one is a frame or lost.
    let numbers = recorded.numbers();
    let halves = |cause: &str| cause != "metadata_lost" && cause != "picture_lost";
    let missing = numbers[34] - numbers[0] + 1 - 35;
    assert_eq!(missing, recorded.lost(halves).range(numbers[0]..numbers[34]).count() as u64, "{:?}", recorded.losses);
    // The network was set again, or there were no results after the pause.
    assert!(recorded.new_rows()[34].is_some(), "{}", recorded.told);
}

pub fn a_start_that_the_chip_refuses_is_told() {
    if !ready() {
        return;
    }
    fake::set("i2c_errors", 1000);
    let refused = recording("refused");
    let output = kinora(&["record", "--source", "imx500", "--network", "ssd", "--frames", "5", "--out", &refused]);
    let told = messages(&output);
    println!("{told}");
    assert!(output.status.code() == Some(1) && told.contains("the sensor does not answer"), "{told}");
    assert_eq!(json(&["verify", "--json", &refused])["damaged_count"], 0);
    std::fs::remove_file(refused).unwrap();
    fake::rest();
    std::fs::rename("/lib/firmware/imx500_loader.fpk", "/lib/firmware/away").unwrap();
    let output =
        kinora(&["record", "--source", "imx500", "--network", "ssd", "--frames", "5", "--out", &recording("bare")]);
    std::fs::rename("/lib/firmware/away", "/lib/firmware/imx500_loader.fpk").unwrap();
    let told = messages(&output);
    assert!(output.status.code() == Some(1) && told.contains("apt install imx500-all"), "{told}");
}

pub fn an_unplugged_camera_ends_the_recording_and_the_file_is_intact() {
    if !ready() {
        return;
    }
    let recorded = record_calmly("gone", 1_000_000, &LIGHT, || {
        fake::wait_for("frames", 20);
        fake::unplug();
    });
    assert!(matches!(recorded.code, Some(1 | 3)), "{:?}: {}", recorded.code, recorded.told);
    assert!(recorded.told.contains("went away"), "{}", recorded.told);
    recorded.assert_accounted();
    fake::rest();
    assert_eq!(record_calmly("back", 5, &LIGHT, || {}).frames.len(), 5);
}

pub fn links_are_left_as_they_were_found() {
    if !ready() {
        return;
    }
    let before = fake::links();
    let mut during = String::new();
    record_calmly("links", 10, &LIGHT, || {
        fake::wait_for("frames", 2);
        during = fake::links();
    });
    assert_eq!(fake::links(), before);
    // The module is loaded with the links of another program, which would have held the start back.
    assert_eq!(during == before, fake::layout() == "unicam", "{before}{during}");
}

/// How many boxes the network says it found, as a class of that number.
struct Crowd;

impl PostProcess for Crowd {
    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        let count = output.tensors().nth(3).ok_or(DecodeError::TensorMissing { index: 3 })?;
        target.results.begin(ResultKind::Classifications);
        for found in count.values() {
            let _ = target.results.push_classification(1.0, found as i32);
        }
        Ok(())
    }
}

pub fn a_post_processing_of_ones_own_is_deployed_and_its_results_are_of_their_frames() {
    if !ready() {
        return;
    }
    fake::put_in(&lines_of_four_frames());
    // The network of the options gives way to the deployed one.
    let camera = CameraOptions {
        network: Some("ssd".into()),
        picture: Some(PictureSource::InputTensor),
        ..CameraOptions::default()
    };
    let options = SourceOptions { camera, frame_rate: Some((5, 1)), ..SourceOptions::default() };
    let network = Network::open(Path::new(NETWORK)).unwrap().post_process(Crowd);
    let mut stream = open_source_with("imx500", &options).unwrap().deploy(network).unwrap().start().unwrap();
    let mut compared = 0;
    for _ in 0..40 {
        let frame = stream.next().unwrap().unwrap();
        if frame.meta.new_detection {
            let number = (frame.meta.sequence % 4) as i32;
            assert_eq!(frame.results.class_id[..], [number], "frame {}", frame.meta.sequence);
            compared += 1;
        }
    }
    assert!(compared >= 20, "{compared} frames had their metadata");
    drop(stream);
    // A package that is gone when the sensor starts is told by its name.
    let name = scratch("gone.rpk");
    std::fs::copy(NETWORK, &name).unwrap();
    let network = Network::open(&name).unwrap();
    std::fs::remove_file(&name).unwrap();
    let started = open_source_with("imx500", &options).unwrap().deploy(network).unwrap().start();
    let text = started.and_then(|mut stream| stream.next().map(|frame| frame.is_some())).unwrap_err().to_string();
    assert!(text.contains("gone.rpk"), "{text}");
}

pub fn a_stop_during_the_upload_is_answered_at_once_and_leaves_the_camera_as_it_was() {
    if !ready() {
        return;
    }
    let before = fake::links();
    let (file, socket) = (recording("early"), scratch("early.socket").display().to_string());
    // The other layout's test may have left one.
    let _ = std::fs::remove_file(&file);
    let camera = ["--source", "imx500", "--network", "ssd"];
    let commands = [("record", ["--out", &file]), ("replay", ["--control", &socket])];
    for (name, more) in commands {
        // Each of the three uploads; the stop comes during the second one, after the first line about it.
        fake::rest();
        fake::set("upload_ms", 8000);
        let arguments = [&[name][..], &camera, &more].concat();
        let started = command::command(&arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
        fake::wait_for_upload();
        std::thread::sleep(std::time::Duration::from_secs(5));
        shell(&format!("kill -TERM {}", started.id()));
        let output = started.wait_with_output().unwrap();
        let told = messages(&output);
        println!("{told}");
        assert_eq!(output.status.code(), Some(0), "{told}");
        assert!(told.contains("cannot break that off"), "{name}: {told}");
        assert!(told.matches("uploading").count() >= 2, "{name} shows no progress: {told}");
        assert_eq!(fake::links(), before, "{name}");
    }
    assert_eq!(json(&["verify", "--json", &file])["damaged_count"], 0);
    std::fs::remove_file(&file).unwrap();
    fake::rest();
    assert_eq!(record_calmly("after", 5, &LIGHT, || {}).frames.len(), 5);
}

/// Exposure in lines times gain.
fn light_taken() -> f64 {
    let now = fake::stats();
    now["exposure_lines"] as f64 * 1024.0 / (1024.0 - now["gain_code"] as f64)
}

pub fn exposure_follows_the_light_and_settles() {
    if !ready() {
        return;
    }
    let settled = |name: &str, light: u32| {
        fake::rest();
        fake::set("light_permille", light);
        let mut taken = Vec::new();
        record_calmly(name, 60, &[], || {
            for frames in [30, 40, 50] {
                fake::wait_for("frames", frames);
                taken.push(light_taken());
            }
        });
        println!("light {light}: exposure x gain {taken:?}");
        assert!(taken.iter().all(|one| (one / taken[0] - 1.0).abs() < 0.1), "not settled: {taken:?}");
        taken[0]
    };
    let (bright, dim) = (settled("bright", 1000), settled("dim", 125));
    // Three stops less light: eight times the exposure, were the response linear up to white.
    assert!((5.0..12.0).contains(&(dim / bright)), "{bright} {dim}");
}
