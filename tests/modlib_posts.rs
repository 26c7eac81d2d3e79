//! Our post-processings beside modlib's own on the same tensors: made up ones with a seed, and those of the dumps.
//!
//! Needs the Python environment of `scripts/modlib-venv`: tests that find none say so and pass, except with
//! `KINORA_REQUIRE_MODLIB=1`. The dumps lie in `../shared` (or `$KINORA_SHARED`); see `tests/common`.
//!
//! Where modlib errs, the tensors are made so that its error does not show, and a test of its own holds both: what is
//! right, and that modlib still differs.

mod common;
#[path = "common/python.rs"]
mod python;
#[path = "common/tensors.rs"]
mod tensors;

use std::path::Path;

use kinora::Results;
use kinora::imx500::decode::{PostName, PostProcess, PostSettings, Target};
use kinora::imx500::{Layout, NetworkDescription, OutputView, Parser};
use serde_json::{Value, json};
use tensors::{Random, Shape, lines, network, shape};

/// One frame, decoded by us, and what modlib needs to decode it.
struct Case {
    what: String,
    post: PostName,
    sizes: Vec<Vec<u16>>,
    values: Vec<f32>,
    results: Results,
    side: Vec<u8>,
}

impl Case {
    fn new(what: &str, post: PostName, output: &OutputView<'_>) -> Self {
        assert!(post.fits(output.network), "{what}: {post} takes {}", post.needs());
        // modlib ranks all classes.
        let top = matches!(post, PostName::Cls | PostName::ClsSoftmax).then_some(1000);
        let mut processor = post.make(PostSettings { top, ..PostSettings::default() });
        let mut results = Results::new();
        let mut side = vec![0; processor.side_bytes(output.network)];
        processor.decode(output, Target { results: &mut results, side: &mut side }).unwrap();
        assert!(results.is_consistent(side.len()), "{what}");
        let sizes = |t: &kinora::imx500::OutputTensor| t.dimensions.iter().map(|d| d.size).collect();
        Self {
            what: what.to_string(),
            post,
            sizes: output.network.outputs.iter().map(sizes).collect(),
            values: output.tensors().flat_map(|t| t.values().collect::<Vec<_>>()).collect(),
            results,
            side,
        }
    }

    /// From raw integers, over a network made by hand.
    fn made(
        what: &str,
        post: PostName,
        input: (usize, usize),
        outputs: &[Shape],
        raw: impl FnMut(usize, usize) -> i64,
    ) -> Self {
        let network = network("made", input, outputs);
        let bytes = lines(&network, raw);
        Self::new(what, post, &OutputView::over(&network, &bytes, 2560).unwrap())
    }
}

/// What modlib makes of the same tensors.
fn modlibs(python: &Path, cases: &[Case]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let (list, values) = (folder.path().join("cases.json"), folder.path().join("values"));
    let asked: Vec<Value> = cases.iter().map(|c| json!({ "post": c.post.name(), "tensors": c.sizes })).collect();
    std::fs::write(&list, serde_json::to_vec(&asked).unwrap()).unwrap();
    let bytes: Vec<u8> = cases.iter().flat_map(|c| &c.values).flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(&values, bytes).unwrap();
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modlib/posts.py");
    let said = python::run(python, &program, &[&list, &values]);
    serde_json::from_str(&said).unwrap()
}

/// All numbers of a nested list in order, as `f32`.
fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Number(number) => vec![number.as_f64().unwrap() as f32],
        _ => panic!("{value} is no number"),
    }
}

/// Both lists have the same length, and numbers differ by `tolerance` at most.
fn assert_near(what: &str, ours: impl IntoIterator<Item = f32>, theirs: &Value, tolerance: f32) {
    let (ours, theirs): (Vec<f32>, Vec<f32>) = (ours.into_iter().collect(), numbers(theirs));
    assert_eq!(ours.len(), theirs.len(), "{what}: number of values");
    for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        assert!((a - b).abs() <= tolerance, "{what}, value {i}: {a} ours, {b} modlib's");
    }
}

fn compare(case: &Case, modlib: &Value) {
    let Case { what, post, results, side, .. } = case;
    let column = |name: &str| format!("{what}: {name}");
    let classes = || results.class_id.iter().map(|&class| class as f32);
    match post {
        PostName::Cls | PostName::ClsSoftmax => {
            let tolerance = if *post == PostName::Cls { 0.0 } else { 1e-6 };
            assert_near(&column("confidence"), results.confidence.iter().copied(), &modlib["confidence"], tolerance);
            // numpy's sort leaves equal scores in any order: classes are compared as sets of equals.
            let confidence = numbers(&modlib["confidence"]);
            let keyed = |classes: Vec<f32>| {
                let mut pairs: Vec<_> =
                    confidence.iter().map(|c| c.to_bits()).zip(classes.iter().map(|&c| c as i32)).collect();
                pairs.sort_unstable();
                pairs
            };
            assert_eq!(keyed(classes().collect()), keyed(numbers(&modlib["class_id"])), "{what}");
        }
        PostName::Segment => {
            let (width, mask) = (usize::from(results.mask_shape[1]), numbers(&modlib["mask"]));
            for (i, (&ours, theirs)) in side.iter().zip(mask).enumerate() {
                assert_eq!(f32::from(ours), theirs, "{what}, pixel {}, {}", i % width, i / width);
            }
        }
        PostName::Anomaly => {
            let heat = side.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            assert_near(&column("heatmap"), heat, &modlib["heatmap"], 0.0);
            assert_near(&column("score"), [results.score as f32], &modlib["score"], 0.0);
        }
        PostName::Posenet | PostName::HigherHrnet => {
            assert_near(&column("confidence"), results.confidence.iter().copied(), &modlib["confidence"], 2e-6);
            assert_near(&column("keypoints"), results.keypoints.iter().copied().flatten(), &modlib["keypoints"], 2e-6);
            let scores = results.keypoint_scores.iter().copied();
            assert_near(&column("keypoint scores"), scores, &modlib["keypoint_scores"], 2e-6);
        }
        _ => {
            let exact = if *post == PostName::Nanodet { 2e-6 } else { 0.0 };
            assert_near(&column("confidence"), results.confidence.iter().copied(), &modlib["confidence"], exact);
            assert_near(&column("bbox"), results.bbox.iter().copied().flatten(), &modlib["bbox"], exact);
            assert_near(&column("class_id"), classes(), &modlib["class_id"], 0.0);
        }
    }
}

fn judge(cases: &[Case]) {
    let Some(python) = python::python() else { return };
    let answers = modlibs(&python, cases);
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(&answers) {
        compare(case, answer);
    }
    let rows: usize = cases.iter().map(|case| case.results.len() + case.side.len()).sum();
    assert!(rows > cases.len(), "only {rows} rows were compared");
}

const POW: fn(i32) -> f32 = |k| 2.0_f32.powi(k);

#[test]
fn classes_are_modlibs() {
    let mut random = Random(1);
    let mut cases = Vec::new();
    for round in 0..6 {
        let what = format!("round {round}");
        let high = [3, 256][round % 2];
        let raw = |_, _| random.between(0, high);
        cases.push(Case::made(&what, PostName::Cls, (224, 224), &[shape(&[1000], -8, POW(-8))], raw));
        let raw = |_, _| random.between(-128, 128);
        cases.push(Case::made(&what, PostName::ClsSoftmax, (224, 224), &[shape(&[1000], 8, POW(-3))], raw));
    }
    judge(&cases);
}

#[test]
fn boxes_are_modlibs() {
    let mut random = Random(2);
    let mut cases = Vec::new();
    for (post, bits) in [
        (PostName::OdBscn, -15),
        (PostName::OdBcsn, -15),
        (PostName::OdEfficientdetLite0, -6),
        (PostName::OdYoloUltralytics, -5),
    ] {
        let side = if post == PostName::OdYoloUltralytics { 640 } else { 320 };
        for (round, n) in [1_u16, 5, 100, 100, 300].into_iter().enumerate() {
            let mut outputs =
                [shape(&[n, 4], 16, POW(bits)), shape(&[n], -8, POW(-8)), shape(&[n], 16, 1.0), shape(&[1], 16, 1.0)];
            if post == PostName::OdBcsn {
                outputs.swap(1, 2);
            }
            // modlib takes classes as 16 bits without sign.
            let classes = if post == PostName::OdBcsn { 1 } else { 2 };
            let raw = |tensor, _| match tensor {
                0 => random.between(-0x8000, 0x8000),
                3 => random.between(0, i64::from(n) + 1),
                _ if tensor == classes => random.between(0, 90),
                _ => random.between(0, 256),
            };
            cases.push(Case::made(&format!("{post}, round {round}"), post, (side, side), &outputs, raw));
        }
    }
    judge(&cases);
}

#[test]
fn modlib_still_trusts_the_number_of_boxes() {
    let Some(python) = python::python() else { return };
    let outputs = [shape(&[9, 4], 16, POW(-15)), shape(&[9], -8, POW(-8)), shape(&[9], 16, 1.0), shape(&[1], 16, 1.0)];
    let raw = |tensor, i: usize| if tensor == 3 { -4 } else { i as i64 };
    let case = Case::made("number -4", PostName::OdBscn, (320, 320), &outputs, raw);
    assert_eq!(case.results.len(), 0);
    let modlib = numbers(&modlibs(&python, &[case])[0]["confidence"]);
    assert_eq!(modlib.len(), 5, "modlib mended its slice");
}

#[test]
fn masks_and_heat_maps_are_modlibs() {
    let mut random = Random(3);
    let mut cases = Vec::new();
    for (height, width) in [(1, 1), (24, 16), (17, 33), (32, 48)] {
        let what = format!("{height}x{width}");
        for (bits, high) in [(16, 255), (-8, 255), (-16, 255), (32, 21)] {
            let outputs = [shape(&[height, width], bits, 1.0)];
            let raw = |_, _| random.between(0, high);
            cases.push(Case::made(&format!("{what}, {bits} bits"), PostName::Segment, (320, 320), &outputs, raw));
        }
        let outputs = [shape(&[height, width, 2], 16, POW(-9))];
        let raw = |_, _| random.between(-0x8000, 0x8000);
        if height > 1 {
            cases.push(Case::made(&what, PostName::Anomaly, (320, 320), &outputs, raw));
        }
    }
    judge(&cases);
}

fn posenet_shapes() -> [Shape; 3] {
    [shape(&[23, 31, 17], 8, POW(-3)), shape(&[23, 31, 34], 8, POW(-3)), shape(&[23, 31, 64], 8, POW(1))]
}

/// Heat maps with a few peaks over noise, offsets that point anywhere. Channels 16, 32 and 48 of the mid offsets are alike, so
/// that modlib's reading of the wrong ones for the edge left eye → nose does not show.
fn posenet_tensors(seed: u64, peaks: i64) -> [Vec<i64>; 3] {
    let mut random = Random(seed);
    let cells = 23 * 31;
    let mut heat: Vec<i64> = (0..cells * 17).map(|_| random.between(-100, -20)).collect();
    for _ in 0..peaks {
        let at = random.between(0, heat.len() as i64) as usize;
        heat[at] = random.between(0, 120);
    }
    let short = (0..cells * 34).map(|_| random.between(-128, 128)).collect();
    let mut mid: Vec<i64> = (0..cells * 64).map(|_| random.between(-128, 128)).collect();
    for channel in [32, 48] {
        mid.copy_within(16 * cells..17 * cells, channel * cells);
    }
    [heat, short, mid]
}

#[test]
fn posenet_finds_modlibs_poses() {
    let mut cases = Vec::new();
    for (round, peaks) in [0, 1, 3, 20, 200, 5000].into_iter().cycle().take(18).enumerate() {
        let tensors = posenet_tensors(round as u64, peaks);
        let raw = |tensor: usize, i: usize| tensors[tensor][i];
        cases.push(Case::made(&format!("round {round}"), PostName::Posenet, (481, 353), &posenet_shapes(), raw));
    }
    judge(&cases);
}

#[test]
fn modlib_still_reads_other_channels_for_the_edge_from_left_eye_to_nose() {
    let Some(python) = python::python() else { return };
    // One certain left eye; the nose is eight pixels to the right of it, says channel 48 (backward dx of edge 0).
    let cells = 23 * 31;
    let (x, y) = (10, 7);
    let place = y + 23 * x;
    let raw = |tensor, i| match (tensor, i) {
        (0, i) if i == cells + place => 80,
        (0, _) => -80,
        (2, i) if i == 48 * cells + place => 4,
        (2, i) if i == 16 * cells + place => -10,
        _ => 0,
    };
    let case = Case::made("left eye", PostName::Posenet, (481, 353), &posenet_shapes(), raw);
    let nose = case.results.keypoints[0];
    assert_eq!(nose, [(168.0 / 481.0_f64) as f32, (112.0 / 353.0_f64) as f32], "ours is the published rule");
    let modlib = numbers(&modlibs(&python, &[case])[0]["keypoints"]);
    assert!((modlib[1] - nose[1]).abs() > 0.02, "modlib mended its edge: {} and {}", modlib[1], nose[1]);
}

fn higherhrnet_shapes() -> [Shape; 3] {
    [shape(&[30, 17], 16, POW(-8)), shape(&[30, 17], 32, 1.0), shape(&[30, 17], 8, POW(-7))]
}

#[test]
fn higherhrnet_finds_modlibs_persons() {
    let mut cases = Vec::new();
    for round in 0..24 {
        let mut random = Random(100 + round);
        let persons = 1 + round as i64 % 8;
        // Tags near the persons' own, no two alike: modlib would take two persons with one tag for one.
        let mut used = std::collections::BTreeSet::new();
        let mut tags = Vec::new();
        for _ in 0..30 * 17 {
            let tag = loop {
                let tag = random.between(0, persons) * 350 + random.between(-170, 170);
                if used.insert(tag) || used.len() > 330 * persons as usize {
                    break tag;
                }
            };
            tags.push(tag);
        }
        let mut scores: Vec<i64> = (0..30 * 17).map(|_| random.between(-60, 128)).collect();
        // As many good candidates as distinct tags allow, the best first as the sensor has them.
        for joint in scores.chunks_exact_mut(30) {
            joint.sort_unstable_by(|a, b| b.cmp(a));
            for score in joint.iter_mut().skip(persons as usize + 2) {
                *score = (*score).min(20);
            }
        }
        let raw = |tensor, i: usize| match tensor {
            0 => tags[i],
            // A column and whole rows only: modlib's row has the column's fraction.
            1 => random.between(0, 144) * 192,
            _ => scores[i],
        };
        cases.push(Case::made(
            &format!("round {round}"),
            PostName::HigherHrnet,
            (384, 288),
            &higherhrnet_shapes(),
            raw,
        ));
    }
    judge(&cases);
}

#[test]
fn modlib_still_puts_joints_up_to_a_row_too_low_and_merges_persons_with_one_tag() {
    let Some(python) = python::python() else { return };
    let raw = |tensor, i| match (tensor, i) {
        // Two noses with the same tag in row 34, columns 78 and 150.
        (1, 0) => 34 * 192 + 78,
        (1, 1) => 34 * 192 + 150,
        (2, 0) => 90,
        (2, 1) => 80,
        _ => 0,
    };
    let case = Case::made("two noses", PostName::HigherHrnet, (384, 288), &higherhrnet_shapes(), raw);
    assert_eq!(case.results.len(), 2);
    assert_eq!(case.results.keypoints[0], [78.0 / 192.0, 34.0 / 144.0]);
    assert_eq!(case.results.keypoints[17], [150.0 / 192.0, 34.0 / 144.0]);
    let modlib = &modlibs(&python, &[case])[0];
    let keypoints = numbers(&modlib["keypoints"]);
    assert_eq!(keypoints.len(), 34, "modlib mended its keys");
    assert!((keypoints[1] - (34.0 + 150.0 / 192.0) / 144.0).abs() < 1e-5, "modlib mended its rows: {}", keypoints[1]);
}

#[test]
fn nanodets_boxes_are_those_of_the_published_rule_under_modlibs_suppression() {
    let mut cases = Vec::new();
    for (round, good) in [1, 30, 400].into_iter().enumerate() {
        let mut random = Random(200 + round as u64);
        let mut head = vec![-20_000; 3598 * 112];
        for cell in &mut head[3598 * 80..] {
            *cell = random.between(-8_000, 8_000);
        }
        let mut logits = std::collections::BTreeSet::new();
        while logits.len() < good {
            // No two scores alike, for their order decides: 16 bits.
            logits.insert(random.between(-5, 20_000));
        }
        for logit in logits {
            let at = random.between(0, 3598 * 4) as usize;
            head[at] = logit;
        }
        let outputs = [shape(&[3598, 112], 16, POW(-11))];
        let raw = |_, i: usize| head[i];
        cases.push(Case::made(&format!("round {round}"), PostName::Nanodet, (416, 416), &outputs, raw));
    }
    judge(&cases);
}

/// The output of a dump's first buffer with one.
fn dump(name: &str, work: impl FnOnce(&OutputView<'_>)) {
    let Some(folder) = common::shared("imx500/dumps") else { return };
    let sidecar: Value = serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap();
    let bytes = std::fs::read(folder.join(format!("{name}.bin"))).unwrap();
    let width = sidecar["layout"]["width"].as_u64().unwrap() as u32;
    let mut parser = Parser::new(Layout { width, strided: sidecar["layout"]["strided"].as_bool().unwrap() });
    let inference = parser.inference(&bytes).unwrap().unwrap();
    work(&inference.output.unwrap());
}

#[test]
fn the_dumps_tensors_give_modlibs_results() {
    let mut cases = Vec::new();
    for (name, post) in [
        ("ssd_pi4_2028", PostName::OdBscn),
        ("ssd_pi5_2028", PostName::OdBscn),
        ("ssd_pi5_4056", PostName::OdBscn),
        ("mobilenet_v2_pi4_4056", PostName::Cls),
        ("deeplabv3plus_pi4_2028", PostName::Segment),
    ] {
        dump(name, |output| cases.push(Case::new(name, post, output)));
    }
    if !cases.is_empty() {
        judge(&cases);
    }
}

#[test]
fn the_posenet_dump_gives_modlibs_poses_but_for_its_edge() {
    let mut cases = Vec::new();
    dump("posenet_pi5_2028", |output| {
        let network: &NetworkDescription = output.network;
        let cells = 23 * 31;
        let tensors: Vec<_> = output.tensors().collect();
        // The same tensors with the channels alike that modlib takes for one another.
        let raw = |tensor: usize, i: usize| match (tensor, i / cells) {
            (2, 32 | 48) => tensors[2].raw(16 * cells + i % cells),
            _ => tensors[tensor].raw(i),
        };
        let bytes = lines(network, raw);
        let view = OutputView::over(network, &bytes, 2560).unwrap();
        cases.push(Case::new("posenet", PostName::Posenet, &view));
    });
    if !cases.is_empty() {
        judge(&cases);
    }
}

#[test]
fn the_captured_person_has_modlibs_joints_in_whole_rows() {
    let Some(python) = python::python() else { return };
    let mut cases = Vec::new();
    dump("higherhrnet_captured_pi4", |output| cases.push(Case::new("captured", PostName::HigherHrnet, output)));
    let Some(case) = cases.first() else { return };
    let results = &case.results;
    // Head and arms as a person reads them from the tensors: nose, eyes, ears, shoulders, elbows, wrists.
    let expected = [
        [78, 34],
        [81, 33],
        [76, 32],
        [86, 35],
        [72, 37],
        [94, 53],
        [67, 53],
        [107, 70],
        [53, 73],
        [119, 64],
        [33, 74],
    ];
    for (joint, [x, y]) in expected.into_iter().enumerate() {
        let point = [(f64::from(x) / 192.0) as f32, (f64::from(y) / 144.0) as f32];
        assert_eq!(results.keypoints[joint], point, "joint {joint}");
    }
    // The frame has three candidates with the first person's tag for the nose: modlib keeps the last of them and loses the
    // second person that begins there. All else is alike.
    let modlib = &modlibs(&python, &cases)[0];
    assert_eq!((results.len(), numbers(&modlib["confidence"]).len()), (3, 2), "modlib mended its keys");
    assert_near("scores", results.keypoint_scores[..17].iter().copied(), &modlib["keypoint_scores"][0], 0.0);
    let theirs = numbers(&modlib["keypoints"][0]);
    for (i, (ours, theirs)) in results.keypoints.iter().zip(theirs.chunks_exact(2)).enumerate().skip(1) {
        assert!((ours[0] - theirs[0]).abs() < 1e-6, "joint {i}");
        let below = (theirs[1] - ours[1]) * 144.0;
        assert!((-1e-4..1.0).contains(&below), "joint {i}: modlib's is {below} rows below ours");
    }
}
