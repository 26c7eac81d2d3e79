//! What does a picture of the IMX500 cost: raw Bayer to RGB with exposure statistics, and the input tensor to RGB?
//!
//! One core, one picture after the other from a fixed set larger than the first caches, as buffers of a camera are; noise in
//! all samples, so that no table entry is favoured. Beside each: the same bytes copied. Not typical: nothing else runs on
//! the core. Raw figures count input pixels; tensor figures count bytes in.

mod common;

use std::hint::black_box;
use std::time::Instant;

use common::{Bars, Samples, say, size};
use kinora::imx500::picture::{
    BLACK_LEVEL, BayerOrder, ColourMatrix, Developer, Gains, Kernels, RawFormat, RawPacking, SIZES,
};
use kinora::simd;

const RAW_BAR: f64 = 2_500.0;
const TENSOR_BAR: f64 = 6.0;
const BUFFERS: usize = 4;

fn main() {
    let mut bars = Bars::default();
    raw_to_rgb(&mut bars);
    tensor_to_rgb(&mut bars);
    bars.finish();
}

fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Nanoseconds of `work(i)` for i = 0, 1, 2, …
fn time(rounds: usize, mut work: impl FnMut(usize)) -> Samples {
    let mut samples = Vec::new();
    for i in 0..rounds {
        let begun = Instant::now();
        work(i);
        samples.push(begun.elapsed().as_nanos() as u64);
    }
    Samples::new(samples)
}

fn raw_to_rgb(bars: &mut Bars) {
    let rounds = size(3, 400);
    for (packing, stride) in [(RawPacking::Packed, 2544), (RawPacking::Low16, 4064)] {
        let format = RawFormat { width: 2028, height: 1520, stride, packing, order: BayerOrder::Rggb };
        let buffers: Vec<Vec<u8>> = (0..BUFFERS).map(|_| noise(stride as usize * 1520)).collect();
        let pixels = f64::from(format.width * format.height);
        let mut copy = vec![0; buffers[0].len()];
        let copied = time(rounds, |i| black_box(&mut copy).copy_from_slice(&buffers[i % BUFFERS]));
        say(&format!("{packing:?}: copy of the raw picture"), copied.line());
        for out in SIZES {
            for (who, kernels, matrix) in [
                ("", simd::kernels(), None),
                (", with a matrix", simd::kernels(), Some(ColourMatrix::for_gains(Gains::DAYLIGHT))),
                (", plain loops", Kernels::PORTABLE, None),
            ] {
                let mut developer = Developer::new(format, out, BLACK_LEVEL, kernels).expect("a size of the sensor");
                let mut plain =
                    Developer::new(format, out, BLACK_LEVEL, Kernels::PORTABLE).expect("a size of the sensor");
                developer.set_matrix(matrix);
                plain.set_matrix(matrix);
                let (mut rgb, mut expected) =
                    (vec![0; (out.0 * out.1 * 3) as usize], vec![0; (out.0 * out.1 * 3) as usize]);
                let seen = developer.develop(&buffers[0], &mut rgb);
                assert_eq!(seen, plain.develop(&buffers[0], &mut expected));
                assert!(rgb == expected, "the loops of this processor give another picture");
                let taken = time(rounds, |i| {
                    black_box(developer.develop(&buffers[i % BUFFERS], black_box(&mut rgb))).expect("a picture");
                });
                let rate = pixels / taken.at(500) as f64 * 1e3;
                let what = format!("{packing:?} to {}x{}{who}", out.0, out.1);
                say(&what, format!("{rate:.0} Mpixel/s, {}", taken.line()));
                if packing == RawPacking::Packed && out == SIZES[0] && who.is_empty() {
                    bars.at_least("RAW10 2028x1520 to 1014x760, Mpixel/s", rate, RAW_BAR);
                }
            }
        }
    }
}

fn tensor_to_rgb(bars: &mut Bars) {
    let rounds = size(20, 20_000);
    const PIXELS: usize = 320 * 320;
    let buffers: Vec<Vec<u8>> = (0..BUFFERS).map(|_| noise(3 * PIXELS)).collect();
    let mut rgb = vec![0; 3 * PIXELS];
    let copied = time(rounds, |i| black_box(&mut rgb).copy_from_slice(&buffers[i % BUFFERS]));
    let rate = |samples: &Samples| (3 * PIXELS) as f64 / samples.at(500) as f64;
    say("copy of an input tensor of 320x320", format!("{:.1} GB/s, {}", rate(&copied), copied.line()));
    for (who, kernels) in [("loops of this processor", simd::kernels()), ("plain loops", Kernels::PORTABLE)] {
        let planes = |i: usize| {
            let (red, rest) = buffers[i % BUFFERS].split_at(PIXELS);
            let (green, blue) = rest.split_at(PIXELS);
            [red, green, blue]
        };
        (kernels.weave)(planes(0), 128, &mut rgb);
        for (i, pixel) in rgb.chunks(3).enumerate() {
            assert_eq!(pixel, planes(0).map(|plane| plane[i].wrapping_add(128)), "pixel {i}");
        }
        let taken = time(rounds, |i| (kernels.weave)(black_box(planes(i)), 128, black_box(&mut rgb)));
        say(&format!("input tensor to RGB, {who}"), format!("{:.1} GB/s, {}", rate(&taken), taken.line()));
        bars.at_least(&format!("input tensor 320x320 to RGB, {who}, GB/s"), rate(&taken), TENSOR_BAR);
    }
}
