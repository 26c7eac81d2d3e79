//! The virtual IMX500: the same scene through the bytes of a metadata node; recorded raw, and its results made again.
#![cfg(all(feature = "cli", feature = "jpeg"))]

mod common;

#[path = "common/kinora.rs"]
mod command;

use std::path::Path;

use kinora::imx500::decode::{DecodeError, PostName, PostProcess, Target};
use kinora::imx500::{Kept, Layout, Network, OutputView, Parser};
use kinora::recording::Reader;
use kinora::slot::{Slot, SlotSizes};
use kinora::source::virtual_scene::{SensorOptions, VirtualOptions, VirtualScene, VirtualSensor, built_in_network};
use kinora::source::{CameraOptions, Filled, PictureSource, Source};
use kinora::{Capture, Cause, ClockPair, ResultKind, ResultState, Span, open_source};
use serde_json::Value;

fn slot_for(source: &dyn Source) -> Box<Slot> {
    let info = source.describe();
    let pixels = info.picture.and_then(|picture| picture.bytes()).unwrap_or(0);
    let (side, sensor) = (info.side_bytes_max, info.sensor_bytes_max);
    Slot::new(&SlotSizes { pixels, side, sensor, ..SlotSizes::default() })
}

fn sensor(scene: VirtualOptions, options: SensorOptions, camera: &CameraOptions) -> VirtualSensor {
    let network = match &camera.network {
        Some(name) => Network::open_named(name).unwrap(),
        None => built_in_network(),
    };
    VirtualSensor::new("virtual", scene, options, camera, network).unwrap()
}

fn close(a: f32, b: f32, step: f32) -> bool {
    (a - b).abs() <= step
}

#[test]
fn what_the_sensor_sees_is_the_scene_quantised() {
    let scene_options = VirtualOptions { seed: 7, objects: 12, ..VirtualOptions::default() };
    for width in [2028, 4056] {
        for strided in [true, false] {
            let mut scene = VirtualScene::new("virtual", scene_options).unwrap();
            let options = SensorOptions { layout: Layout { width, strided }, ..SensorOptions::default() };
            let mut sensor = sensor(scene_options, options, &CameraOptions::default());
            let (mut a, mut b) = (slot_for(&scene), slot_for(&sensor));
            scene.start(ClockPair::default()).unwrap();
            sensor.start(ClockPair::default()).unwrap();
            for n in 0..300 {
                a.reset();
                b.reset();
                assert_eq!(scene.fill(&mut a, Span::ZERO).unwrap(), Filled::Frame);
                assert_eq!(sensor.fill(&mut b, Span::ZERO).unwrap(), Filled::Frame);
                assert_eq!((a.meta.sequence, a.meta.captured_at), (b.meta.sequence, b.meta.captured_at));
                assert_eq!(b.results.state(), ResultState::Some(ResultKind::Detections));
                assert_eq!((b.meta.new_detection, b.meta.frame_count), (true, Some(n % 255)));
                // Best first there, in the scene's order here.
                for i in 0..a.results.len() {
                    let same = |j: &usize| {
                        a.results.class_id[i] == b.results.class_id[*j]
                            && close(a.results.confidence[i], b.results.confidence[*j], 1.0 / 256.0)
                            && (0..4).all(|k| close(a.results.bbox[i][k], b.results.bbox[*j][k], 1.0 / 16_384.0))
                    };
                    assert!((0..b.results.len()).any(|j| same(&j)), "frame {n}: object {i} is not seen");
                }
                assert_eq!(a.results.len(), b.results.len());
            }
        }
    }
}

#[test]
fn a_slow_network_gives_one_result_for_so_many_frames_and_of_the_frame_that_it_saw() {
    let scene_options = VirtualOptions { results_every: 3, ..VirtualOptions::default() };
    let camera = CameraOptions { picture: Some(PictureSource::InputTensor), ..CameraOptions::default() };
    let mut slow = sensor(scene_options, SensorOptions::default(), &camera);
    let mut fast = sensor(VirtualOptions::default(), SensorOptions::default(), &camera);
    let (mut a, mut b) = (slot_for(&slow), slot_for(&fast));
    slow.start(ClockPair::default()).unwrap();
    fast.start(ClockPair::default()).unwrap();
    let mut results = Vec::new();
    for n in 0..30_usize {
        a.reset();
        b.reset();
        assert_eq!(slow.fill(&mut a, Span::ZERO).unwrap(), Filled::Frame);
        assert_eq!(fast.fill(&mut b, Span::ZERO).unwrap(), Filled::Frame);
        results.push(b.results.clone());
        assert_eq!(a.meta.new_detection, n % 3 == 2, "frame {n}");
        match n {
            0 | 1 => assert_eq!(a.results.state(), ResultState::Absent),
            _ => assert_eq!(a.results, results[(n + 1) / 3 * 3 - 3], "frame {n}"),
        }
        // The picture comes when the network takes it, and again with its result.
        assert_eq!(a.frame(None).pixels.is_some(), n % 3 != 1, "frame {n}");
    }
}

#[test]
fn damaged_metadata_costs_the_results_of_its_frame_and_stands_in_the_account() {
    let options = SensorOptions { damaged_every: 4, ..SensorOptions::default() };
    for (picture, cause) in [(PictureSource::Bayer, Cause::MetadataLost), (PictureSource::None, Cause::Corrupt)] {
        let camera = CameraOptions { picture: Some(picture), ..CameraOptions::default() };
        let mut source = sensor(VirtualOptions::default(), options.clone(), &camera);
        let mut slot = slot_for(&source);
        source.start(ClockPair::default()).unwrap();
        let (mut lost, mut frames, mut without) = (Vec::new(), Vec::new(), 0);
        while frames.len() < 200 {
            slot.reset();
            match source.fill(&mut slot, Span::ZERO).unwrap() {
                Filled::Frame => {
                    frames.push(slot.meta.sequence);
                    without += u64::from(!slot.meta.new_detection);
                }
                Filled::Lost(loss) => {
                    assert_eq!((loss.cause, loss.count), (cause, 1));
                    lost.push(loss.first_sequence);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(lost.len() > 20, "{lost:?}");
        assert!(source.damaged() == lost.len() as u64 || source.damaged() == lost.len() as u64 + 1);
        let kept = picture == PictureSource::Bayer;
        assert_eq!(without, if kept { lost.len() as u64 } else { 0 });
        assert!(lost.iter().all(|n| frames.contains(n) == kept), "a lost number came or did not come");
    }
}

#[test]
fn an_inference_window_is_cut_out_and_its_boxes_are_of_it() {
    let window = [1014, 760, 2028, 1520];
    let camera = CameraOptions { inference_window: Some(window), ..CameraOptions::default() };
    let options = VirtualOptions { objects: 20, ..VirtualOptions::default() };
    let mut source = sensor(options, SensorOptions::default(), &camera);
    let mut slot = slot_for(&source);
    source.start(ClockPair::default()).unwrap();
    assert_eq!(source.fill(&mut slot, Span::ZERO).unwrap(), Filled::Frame);
    let roi = slot.meta.roi.unwrap();
    assert_eq!([roi.left, roi.top, roi.width, roi.height], [0.25, 0.25, 0.5, 0.5]);
    let mut scene = VirtualScene::new("virtual", options).unwrap();
    let mut whole = slot_for(&scene);
    scene.start(ClockPair::default()).unwrap();
    assert_eq!(scene.fill(&mut whole, Span::ZERO).unwrap(), Filled::Frame);
    let inside = whole.results.bbox.iter().filter(|b| b[0] < 0.75 && b[2] > 0.25 && b[1] < 0.75 && b[3] > 0.25).count();
    assert_eq!(slot.results.len(), inside);
    assert!(inside > 0 && inside < whole.results.len());
}

/// Runs the command in `folder`; exit code, standard output, messages.
fn run(folder: &Path, line: &str) -> (i32, String, String) {
    let mut command = command::kinora(&line.split(' ').collect::<Vec<_>>());
    if let Some(networks) = common::shared("imx500/networks") {
        command.env("KINORA_NETWORKS", networks);
    }
    let output = command.current_dir(folder).output().unwrap();
    let (text, messages) = (String::from_utf8_lossy(&output.stdout).into_owned(), command::messages(&output));
    (output.status.code().unwrap(), text, messages)
}

fn done(folder: &Path, line: &str) -> String {
    let (code, text, messages) = run(folder, line);
    assert_eq!(code, 0, "kinora {line}: {messages}");
    text
}

const SENSOR: &str = "--json --clock manual --source virtual:imx500,seed=7,layout=pi5 --frames 40";

#[test]
fn raw_metadata_makes_the_same_results_again_and_other_ones_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (how, name) in [("=results", "results"), ("=full", "full"), ("", "plain")] {
        done(folder, &format!("record {SENSOR} --size 160x120 --raw-metadata{how} --out {name}.kinora"));
        done(folder, &format!("redetect {name}.kinora -o {name}2.kinora --json"));
        // Not one row, picture or time differs.
        let compared = done(folder, &format!("diff {name}.kinora {name}2.kinora --json"));
        let summary: Value = serde_json::from_str(compared.lines().last().unwrap()).unwrap();
        assert_eq!((summary["frames_matched"].as_u64(), summary["pictures_different"].as_u64()), (Some(40), Some(0)));
        // And what was made again can be made again.
        done(folder, &format!("redetect {name}2.kinora -o {name}3.kinora"));
        done(folder, &format!("diff {name}.kinora {name}3.kinora"));
    }
    // Without a value the results are kept.
    assert_eq!(done(folder, "cat plain.kinora --json"), done(folder, "cat results.kinora --json"));
    let mut reader = Reader::open(folder.join("results.kinora")).unwrap();
    assert_eq!((reader.header().network.as_str(), reader.header().post.as_str()), ("virtual", "od_bscn"));
    let kept = reader.read_frame(5).unwrap();
    let section = Kept::parse(kept.sensor).unwrap();
    assert_eq!(section.layout, Layout { width: 2028, strided: false });
    assert!(section.bytes.len() < section.buffer_bytes as usize / 5, "{} bytes", section.bytes.len());
    assert!(Parser::new(section.layout).kept(&section).unwrap().unwrap().output.is_some());
    let mut reader = Reader::open(folder.join("full.kinora")).unwrap();
    let full = reader.read_frame(5).unwrap();
    let section = Kept::parse(full.sensor).unwrap();
    assert_eq!(section.buffer().map(<[u8]>::len), Some(section.buffer_bytes as usize));

    let told = done(folder, "redetect results.kinora --threshold 0.8 -o sure.kinora --json");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (told["frames"].as_u64(), told["results"].as_u64(), &told["post"]),
        (Some(40), Some(40), &"od_bscn".into())
    );
    let mut sure = Reader::open(folder.join("sure.kinora")).unwrap();
    for index in 0..40 {
        assert!(sure.read_frame(index).unwrap().results.confidence.iter().all(|&c| c >= 0.8), "frame {index}");
    }
    done(folder, "redetect results.kinora --top 1 -o best.kinora -q");
    let mut best = Reader::open(folder.join("best.kinora")).unwrap();
    for index in 0..40 {
        assert!(best.read_frame(index).unwrap().results.len() <= 1, "frame {index}");
    }
    let all: Value = serde_json::from_str(&done(folder, "info results.kinora --json")).unwrap();
    assert!(told["detections"].as_u64().unwrap() < all["detections"].as_u64().unwrap());
    assert_eq!(all["labels"], serde_json::json!(["person", "car", "bicycle", "dog"]));

    // Boxes read with the coordinates exchanged: other results.
    let (code, ..) = run(folder, "redetect results.kinora --post od_yolo_ultralytics -o other.kinora -q");
    assert_eq!(code, 0);
    assert_eq!(run(folder, "diff results.kinora other.kinora -q").0, 1);
}

#[test]
fn a_recording_with_raw_metadata_is_a_camera() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    done(folder, &format!("record {SENSOR} --size 160x120 --raw-metadata --out raw.kinora -q"));
    // As `redetect` makes them, but through the engine; sensor bytes go along.
    done(folder, "record --clock manual --source raw.kinora --threshold 0.8 --out live.kinora -q");
    done(folder, "redetect raw.kinora --threshold 0.8 -o offline.kinora -q");
    done(folder, "diff live.kinora offline.kinora -q");
    done(folder, "redetect live.kinora --threshold 0 -o again.kinora -q");
    done(folder, "diff raw.kinora again.kinora -q");
    // Without a word about results they are those of the recording, and a plain recording ignores such words.
    done(folder, "record --clock manual --source raw.kinora --out plain.kinora -q");
    done(folder, "diff raw.kinora plain.kinora -q");
    done(folder, "record --clock manual --source virtual:seed=1,size=64x48 --frames 3 --out scene.kinora -q");
    let line = "record --clock manual --source scene.kinora --threshold 0.9 --top 3 --out same.kinora";
    let (code, _, messages) = run(folder, line);
    assert!(code == 0 && messages.contains("does not heed --threshold, --top: "), "{messages}");
    done(folder, "diff scene.kinora same.kinora -q");
    let (code, _, messages) =
        run(folder, "record --clock manual --source scene.kinora --raw-metadata --out none.kinora");
    assert!(code == 0 && messages.contains("no metadata of an IMX500"), "{messages}");
}

#[test]
fn what_cannot_be_redetected_says_why_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    done(folder, "record --clock manual --source virtual:seed=3,size=64x48 --frames 3 --out plain.kinora -q");
    let (code, _, messages) = run(folder, "redetect plain.kinora -o x.kinora");
    assert!(code == 1 && messages.contains("--raw-metadata"), "{messages}");
    done(folder, &format!("record {SENSOR} --picture none --raw-metadata --out raw.kinora -q"));
    let (code, _, messages) = run(folder, "redetect raw.kinora --post segment -o x.kinora");
    assert!(code == 1 && messages.contains("segment takes one tensor"), "{messages}");
    let (code, _, messages) = run(folder, "redetect raw.kinora --post dogs -o x.kinora");
    assert!(code == 1 && messages.contains("od_bscn"), "{messages}");
    let (code, _, messages) = run(folder, "redetect raw.kinora -o raw.kinora");
    assert!(code == 1 && messages.contains("exists"), "{messages}");
    assert!(!folder.join("x.kinora").exists());
    assert_eq!(run(folder, "redetect raw.kinora --threshold 3 -o x.kinora").0, 2);
    assert_eq!(run(folder, "redetect raw.kinora").0, 2);
    if common::shared("imx500/networks").is_some() {
        // Another network's package: every buffer is refused, and the command says so.
        let (code, text, messages) = run(folder, "redetect raw.kinora --network ssd -o ssd.kinora --json");
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((code, told["broken"].as_u64(), told["results"].as_u64()), (3, Some(40), Some(0)), "{messages}");
        let (code, _, messages) =
            run(folder, "record --clock manual --source raw.kinora --network ssd --out live.kinora");
        assert!(code == 3 && messages.contains("cannot be read with network ssd"), "{messages}");
    }
}

#[test]
fn runs_under_the_manual_clock_are_equal_and_pictures_are_as_asked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for picture in ["bayer", "input-tensor", "none"] {
        for name in ["a", "b"] {
            let out = format!("{picture}-{name}.kinora");
            done(folder, &format!("record {SENSOR} --picture {picture} --raw-metadata=full --out {out}"));
        }
        let text = |name: &str| done(folder, &format!("cat {picture}-{name}.kinora --json"));
        assert_eq!(text("a"), text("b"), "{picture}");
        let mut one = Reader::open(folder.join(format!("{picture}-a.kinora"))).unwrap();
        let mut two = Reader::open(folder.join(format!("{picture}-b.kinora"))).unwrap();
        for index in 0..40 {
            let (x, y) = (one.read_frame(index).unwrap(), two.read_frame(index).unwrap());
            assert_eq!((x.jpeg, x.sensor, x.results), (y.jpeg, y.sensor, y.results), "{picture} frame {index}");
        }
        let first: Value = serde_json::from_str(text("a").lines().next().unwrap()).unwrap();
        let expected = match picture {
            "bayer" => (Value::from("VGA"), Value::from(640)),
            "input-tensor" => (Value::from("input_tensor"), Value::from(320)),
            _ => (Value::Null, Value::Null),
        };
        assert_eq!((first["image_type"].clone(), first["picture"]["width"].clone()), expected);
    }
}

#[test]
fn real_packages_see_the_scene() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    if common::shared("imx500/networks").is_none() {
        return;
    }
    for (network, kind, post) in [
        ("ssd", "Detections", "od_bscn"),
        ("mobilenet_v2", "Classifications", "cls"),
        ("deeplab", "Segments", "segment"),
    ] {
        let line = format!(
            "record --json --clock manual --source virtual:seed=2 --network {network} --raw-metadata --frames 5 --out {network}.kinora"
        );
        done(folder, &line);
        let mut reader = Reader::open(folder.join(format!("{network}.kinora"))).unwrap();
        assert_eq!(reader.header().post, post);
        let frame = reader.read_frame(4).unwrap();
        assert_eq!(frame.results.state().kind().map(|kind| kind.name()), Some(kind));
        match network {
            "ssd" => {
                assert!(frame.results.class_id.contains(&0), "a person: {frame}");
                assert_eq!(frame.sensor.len(), 23_024);
            }
            "mobilenet_v2" => assert!((frame.results.confidence[0] - 0.7).abs() < 0.01, "{frame}"),
            _ => assert!(frame.segments().unwrap().mask.iter().any(|&class| class != 255)),
        }
        // Without the package, from the recording alone.
        done(folder, &format!("redetect {network}.kinora -o {network}2.kinora -q"));
        done(folder, &format!("diff {network}.kinora {network}2.kinora -q"));
    }
    // No decoder, or none asked for: raw metadata is recorded all the same.
    done(
        folder,
        "record --json --clock manual --source virtual:seed=2 --network inputtensor --raw-metadata --frames 3 --out it.kinora",
    );
    let mut reader = Reader::open(folder.join("it.kinora")).unwrap();
    let frame = reader.read_frame(2).unwrap();
    assert_eq!((frame.results.state(), Kept::parse(frame.sensor).is_ok()), (ResultState::Absent, true));
}

#[test]
fn words_that_mean_nothing_to_the_sensor_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (line, word) in [
        ("record --source virtual:imx500,kind=poses", "--network"),
        ("record --source virtual:layout=pi6", "pi4 or pi5"),
        ("record --source virtual:width=640", "2028 or 4056"),
    ] {
        let (code, _, messages) = run(folder.path(), line);
        assert!(code == 2 && messages.contains(word), "{line}: {messages}");
    }
}

#[test]
fn the_networks_rate_is_the_default_and_a_faster_one_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    if common::shared("imx500/networks").is_none() {
        return;
    }
    for (rate, frame_rate, is_warned) in
        [("", [26, 1], false), (" --fps 31", [31, 1], false), (" --fps 32", [32, 1], true), (",fps=30", [30, 1], false)]
    {
        let out = format!("{}.kinora", frame_rate[0]);
        let line = format!("record --clock manual --source virtual:imx500,frames=3{rate} --network ssd --out {out}");
        let (code, _, messages) = run(folder.path(), &line);
        assert_eq!((code, messages.contains("26.0 results a second")), (0, is_warned), "{line}: {messages}");
        let info: Value = serde_json::from_str(&done(folder.path(), &format!("info {out} --json"))).unwrap();
        assert_eq!(info["frame_rate"], serde_json::json!(frame_rate));
    }
}

#[test]
fn a_network_of_which_nothing_is_made_is_told_unless_its_bytes_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    if common::shared("imx500/networks").is_none() {
        return;
    }
    for (more, is_told) in [("", true), (" --post none", false), (" --raw-metadata", false)] {
        let out = format!("{}.kinora", more.len());
        let line =
            format!("record --clock manual --source virtual:frames=2 --network inputtensoronly{more} --out {out}");
        let (code, _, messages) = run(folder.path(), &line);
        assert_eq!((code, messages.contains("frames have no results: ")), (0, is_told), "{line}: {messages}");
    }
}

#[test]
fn optics_that_the_virtual_sensor_has_not_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let line = "record --clock manual --source virtual:imx500,frames=3 --hflip --gain 2 --threshold 0.5 --out a.kinora";
    let (code, _, messages) = run(folder.path(), line);
    assert!(code == 0 && messages.contains("does not heed --hflip, --gain: "), "{messages}");
}

/// A post-processing of one's own: how many boxes a detector says it found, as a class of that number.
struct Crowd;

impl PostProcess for Crowd {
    fn decode(&mut self, output: &OutputView<'_>, target: Target<'_>) -> Result<(), DecodeError> {
        let count = output.tensors().nth(3).ok_or(DecodeError::TensorMissing { index: 3 })?;
        let found = count.values().next().ok_or(DecodeError::Shape { index: 3, elements: 0 })?;
        target.results.begin(ResultKind::Classifications);
        let _ = target.results.push_classification(1.0, found as i32);
        Ok(())
    }
}

const CROWDED: &str = "virtual:imx500,size=64x48,paced=false,objects=9,seed=5";

/// For each of the first `frames` frames, what the results are and the classes or the number of boxes in them.
fn said(mut capture: Capture, frames: usize) -> Vec<(ResultState, Vec<i32>)> {
    let mut stream = capture.start().unwrap();
    let mut said = Vec::new();
    while said.len() < frames {
        let frame = stream.next().unwrap().unwrap();
        let state = frame.results.state();
        let numbers = match state {
            ResultState::Some(ResultKind::Detections) => vec![frame.results.len() as i32],
            _ => frame.results.class_id.to_vec(),
        };
        said.push((state, numbers));
    }
    said
}

#[test]
fn a_post_processing_of_ones_own_is_deployed_and_its_results_are_in_the_stream() {
    let mut networks: Vec<Box<dyn Fn() -> Network>> = vec![Box::new(built_in_network)];
    if let Some(packages) = common::shared("imx500/networks") {
        let ssd = packages.join("imx500_network_ssd_mobilenetv2_fpnlite_320x320_pp.rpk");
        networks.push(Box::new(move || Network::open(&ssd).unwrap()));
    }
    for network in networks {
        let name = network().name().to_owned();
        let deployed = |network| {
            let capture = open_source(CROWDED).unwrap().deploy(network).unwrap();
            assert_eq!(capture.info().network.as_str(), name);
            (capture.info().post.to_string(), said(capture, 40))
        };
        let ((post, boxes), (own, counts)) = (deployed(network()), deployed(network().post_process(Crowd)));
        assert!(!post.is_empty() && own == "own", "{name}: {post:?} {own:?}");
        let kinds = [ResultKind::Detections, ResultKind::Classifications].map(ResultState::Some);
        for (n, (built_in, own)) in boxes.iter().zip(&counts).enumerate() {
            assert_eq!([built_in.0, own.0], kinds, "{name}, frame {n}");
            assert_eq!(built_in.1, own.1, "{name}, frame {n}");
        }
        assert!(boxes.iter().any(|(_, count)| count[0] > 3), "{name}: {boxes:?}");
    }
}

#[test]
fn what_cannot_be_deployed_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("my.rpk");
    let text = Network::open(&missing).unwrap_err().to_string();
    assert!(text.contains("my.rpk"), "{text}");
    std::fs::write(&missing, b"no package at all").unwrap();
    let text = Network::open(&missing).unwrap_err().to_string();
    assert!(text.contains("my.rpk"), "{text}");

    // A post-processing that takes other tensors than the network has.
    let text = built_in_network().post(PostName::Posenet).unwrap_err().to_string();
    assert!(text.contains("posenet"), "{text}");

    // Sources that run no network; what they are called and what runs one is told.
    let text = open_source("virtual").unwrap().deploy(built_in_network()).unwrap_err().to_string();
    assert!(text.contains("virtual runs no network (virtual)") && text.contains("imx500"), "{text}");

    // Tensors that the post-processing cannot use: frames come, without results.
    if let Some(packages) = common::shared("imx500/networks") {
        let posenet = Network::open(packages.join("imx500_network_posenet.rpk")).unwrap();
        let capture = open_source(CROWDED).unwrap().deploy(posenet.post_process(Crowd)).unwrap();
        let said = said(capture, 10);
        assert!(said.iter().all(|frame| *frame == (ResultState::Absent, Vec::new())), "{said:?}");
    }
}
