//! What does it cost to turn one metadata buffer into results?
//!
//! SSD: registers, KPI, both headers, apParams compared, four tensors of 100 boxes to results. PoseNet: three tensors to
//! poses, of a heat map with a few people and of one that is noise everywhere (the worst case: every value is a peak).
//! Segmentation: 320 × 320 classes to the mask. HigherHRNet and nanodet's raw head besides. Tensors are made with a seed; a
//! real scene has fewer peaks. Beside each: memcpy of the same output tensors. Not typical: one buffer again and again, so
//! that caches are warm.

mod common;
#[path = "../tests/common/tensors.rs"]
mod tensors;

use std::hint::black_box;
use std::time::Instant;

use common::{Bars, Samples, say, size};
use kinora::Results;
use kinora::imx500::decode::{PostName, PostProcess, PostSettings, Target};
use kinora::imx500::{BufferFacts, Encoder, Kpi, Layout, NetworkDescription, OutputView, Parser, Registers};
use tensors::{Random, lines, network, shape};

const SSD_BAR_US: f64 = 5.0;
const POSENET_BAR_US: f64 = 1_000.0;
const SEGMENT_BAR_US: f64 = 100.0;

fn main() {
    let mut bars = Bars::default();
    ssd(&mut bars);
    posenet(&mut bars);
    segment(&mut bars);
    others();
    bars.finish();
}

/// Times of `rounds` runs, each of `repeats` calls, for one call.
fn timed(repeats: u32, mut work: impl FnMut()) -> Samples {
    let rounds = size(3, 400);
    let samples = (0..rounds).map(|_| {
        let begun = Instant::now();
        for _ in 0..repeats {
            work();
        }
        begun.elapsed().as_nanos() as u64 / u64::from(repeats)
    });
    Samples::new(samples.collect())
}

fn judged(bars: &mut Bars, what: &str, samples: &Samples, bar_us: f64) {
    say(what, samples.line());
    bars.at_most(&format!("{what}, median in us"), samples.at(500) as f64 / 1e3, bar_us);
}

/// memcpy of as many bytes as the tensors have.
fn copied(what: &str, bytes: &[u8]) {
    let mut copy = vec![0; bytes.len()];
    let samples = timed(size(3, 200), || black_box(&mut copy).copy_from_slice(black_box(bytes)));
    say(&format!("{what}: memcpy of its {} bytes", bytes.len()), samples.line());
}

fn ssd(bars: &mut Bars) {
    let k = |k: i32| 2.0_f32.powi(k);
    let outputs =
        [shape(&[100, 4], 16, k(-15)), shape(&[100], -8, k(-8)), shape(&[100], 16, 1.0), shape(&[1], 16, 1.0)];
    let network = network("ssd", (320, 320), &outputs);
    let params = network.to_params().expect("it fits");
    let layout = Layout { width: 2028, strided: true };
    let encoder = Encoder::new(layout, &network, &params);
    let facts = BufferFacts {
        registers: Registers::USUAL,
        frame_count: 7,
        kpi: Kpi { dnn_runtime: 12_000, dsp_runtime: 2_000 },
    };
    let mut random = Random(1);
    let mut raw = |tensor, _| match tensor {
        0 => random.between(0, 0x8000),
        1 => random.between(0, 256),
        2 => random.between(0, 90),
        _ => 100,
    };
    let mut buffer = vec![0; encoder.buffer_bytes()];
    encoder.encode(&facts, Some(&vec![0; network.input.bytes()]), Some(&mut raw), &mut buffer);

    let mut parser = Parser::new(layout);
    parser.expect_input_lines(121);
    let mut post = PostName::OdBscn.make(PostSettings::default());
    let mut results = Box::new(Results::new());
    let mut frame = || {
        let registers = parser.registers(black_box(&buffer)).expect("registers");
        let inference = parser.inference(black_box(&buffer)).expect("an inference").expect("an inference");
        let output = inference.output.expect("an output");
        let target = Target { results: &mut results, side: &mut [] };
        post.decode(&output, target).expect("boxes");
        black_box((registers, inference.kpi));
    };
    frame();
    let samples = timed(size(3, 100), frame);
    assert_eq!(results.len(), 100);
    assert_eq!(parser.walks(), 1);
    judged(bars, "ssd: buffer to 100 boxes", &samples, SSD_BAR_US);
    copied("ssd", &vec![1; 400 * 2 + 100 + 100 * 2 + 2]);
}

/// One post-processing over made tensors.
fn decoded(post: PostName, network: &NetworkDescription, bytes: &[u8]) -> (Samples, usize) {
    let mut processor = Box::new(post.make(PostSettings::default()));
    let mut results = Box::new(Results::new());
    let mut side = vec![0; processor.side_bytes(network)];
    let output = OutputView::over(network, bytes, 2560).expect("tensors");
    let samples = timed(size(1, 2), || {
        let target = Target { results: &mut results, side: &mut side };
        processor.decode(black_box(&output), target).expect("results");
    });
    (samples, results.len())
}

fn posenet(bars: &mut Bars) {
    let k = |k: i32| 2.0_f32.powi(k);
    let outputs = [shape(&[23, 31, 17], 8, k(-3)), shape(&[23, 31, 34], 8, k(-3)), shape(&[23, 31, 64], 8, k(1))];
    let network = network("posenet", (481, 353), &outputs);
    for (what, noise) in [("posenet: a few people", false), ("posenet: noise everywhere", true)] {
        let mut random = Random(2);
        let bytes = lines(&network, |tensor, _| match tensor {
            0 if noise => 0,
            0 => {
                if random.next() % 100 == 0 {
                    random.between(-10, 40)
                } else {
                    random.between(-80, -30)
                }
            }
            1 => random.between(-64, 64),
            _ => random.between(-16, 16),
        });
        let (samples, poses) = decoded(PostName::Posenet, &network, &bytes);
        assert_eq!(poses, 10);
        judged(bars, what, &samples, POSENET_BAR_US);
    }
    copied("posenet", &vec![1; 23 * 31 * (17 + 34 + 64)]);
}

fn segment(bars: &mut Bars) {
    let network = network("deeplab", (320, 320), &[shape(&[320, 320], 16, 1.0)]);
    let mut random = Random(3);
    let bytes = lines(&network, |_, _| random.between(0, 21));
    let (samples, _) = decoded(PostName::Segment, &network, &bytes);
    judged(bars, "segmentation 320x320", &samples, SEGMENT_BAR_US);
    copied("segmentation", &vec![1; 320 * 320 * 2]);
}

fn others() {
    let k = |k: i32| 2.0_f32.powi(k);
    let hrnet = network(
        "higherhrnet",
        (384, 288),
        &[shape(&[30, 17], 8, k(-4)), shape(&[30, 17], 32, 1.0), shape(&[30, 17], 8, k(-7))],
    );
    for (what, low) in [("higherhrnet: six people", -600), ("higherhrnet: every candidate counts", 60)] {
        let mut random = Random(4);
        let bytes = lines(&hrnet, |tensor, _| match tensor {
            0 => random.between(-128, 128),
            1 => random.between(0, 192 * 144),
            _ => random.between(low, 128).max(-128),
        });
        let (samples, persons) = decoded(PostName::HigherHrnet, &hrnet, &bytes);
        say(&format!("{what}, {persons} persons"), samples.line());
    }
    let nanodet = network("nanodet", (416, 416), &[shape(&[3598, 112], 8, k(-3))]);
    for (what, share) in [("nanodet: one anchor in a hundred", 100), ("nanodet: every anchor", 1)] {
        let mut random = Random(5);
        let bytes = lines(&nanodet, |_, i| match i {
            i if i >= 3598 * 80 => random.between(-30, 30),
            i if i < 3598 && random.next() % share == 0 => random.between(0, 40),
            _ => random.between(-100, -60),
        });
        let (samples, boxes) = decoded(PostName::Nanodet, &nanodet, &bytes);
        say(&format!("{what}, {boxes} boxes"), samples.line());
    }
}
