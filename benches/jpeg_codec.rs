//! What does our JPEG code cost above bare libjpeg-turbo?
//!
//! A frame of the virtual scene, 640 × 480, quality 80, 4:2:0, handle and buffers used again on both sides, in
//! interleaved rounds. The bare side is what a caller of the `turbojpeg` crate would write. Not typical: one picture again
//! and again, so that caches are warm; noise makes it about as large as a street scene (25 KB).

mod common;

use std::time::Instant;

use common::{Bars, Samples, median, say, size};
use kinora::frame::{PixelFormat, Pixels};
use kinora::jpeg::{Decoder, Encoder, JpegOptions, jpeg_bytes_max, scratch_bytes};

const RATIO_BAR: f64 = 1.10;
const WIDTH: usize = 640;
const HEIGHT: usize = 480;

fn main() {
    let mut bars = Bars::default();
    codec(&mut bars);
    for format in ["yuyv", "nv12", "yuv420", "grey", "rgb"] {
        other_format(format);
    }
    bars.finish();
}

/// The first frame of the scene.
fn with_frame(format: &str, work: impl FnOnce(Pixels<'_>)) {
    let mut capture = kinora::open_source(&format!("virtual:paced=false,frames=1,format={format}")).expect("a source");
    let mut stream = capture.start().expect("a stream");
    let frame = stream.next().expect("a frame").expect("a frame");
    work(frame.pixels.expect("a picture"));
}

fn timed(work: impl FnOnce()) -> u64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_nanos() as u64
}

/// One line for each side, and the median of the ratios of neighbours against the bar.
fn compare(bars: &mut Bars, what: &str, mut ours: impl FnMut(), mut bare: impl FnMut()) {
    let rounds = size(5, 1_000);
    let (mut our_ns, mut bare_ns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // Each side goes first every other time.
        let (a, b) = if round % 2 == 0 {
            let a = timed(&mut ours);
            (a, timed(&mut bare))
        } else {
            let b = timed(&mut bare);
            (timed(&mut ours), b)
        };
        ratios.push(a as f64 / b as f64);
        our_ns.push(a);
        bare_ns.push(b);
    }
    let (ours, bare) = (Samples::new(our_ns), Samples::new(bare_ns));
    say(&format!("{what}, ours"), ours.line());
    say(&format!("{what}, bare turbojpeg"), bare.line());
    bars.beside(common::us(ours.at(500)), format!("{} bare turbojpeg", common::us(bare.at(500))));
    bars.at_most(&format!("{what} over bare turbojpeg"), median(ratios), RATIO_BAR);
}

fn codec(bars: &mut Bars) {
    let options = JpegOptions::default();
    with_frame("bgr", |pixels| {
        let bound = jpeg_bytes_max(pixels.info, &options);
        let (mut our_jpeg, mut bare_jpeg) = (vec![0; bound], vec![0; bound]);
        let mut encoder = Encoder::new(&options).expect("an encoder");
        let mut compressor = turbojpeg::Compressor::new().expect("a compressor");
        compressor.set_quality(80).expect("a quality");
        compressor.set_subsamp(turbojpeg::Subsamp::Sub2x2).expect("a subsampling");
        let bare_image = turbojpeg::Image {
            pixels: pixels.bytes,
            width: WIDTH,
            pitch: 3 * WIDTH,
            height: HEIGHT,
            format: turbojpeg::PixelFormat::BGR,
        };
        let (mut our_len, mut bare_len) = (0, 0);
        let ours = || our_len = encoder.encode(pixels, &mut our_jpeg, &mut []).expect("a JPEG");
        let bare = || bare_len = compressor.compress_to_slice(bare_image, &mut bare_jpeg).expect("a JPEG");
        compare(bars, "encode 640x480 BGR", ours, bare);
        assert_eq!(our_jpeg[..our_len], bare_jpeg[..bare_len], "both make the same picture");
        say("bytes", our_len);

        let jpeg = &our_jpeg[..our_len];
        let (mut our_pixels, mut bare_pixels) = (vec![0; pixels.bytes.len()], vec![0; pixels.bytes.len()]);
        let mut decoder = Decoder::new().expect("a decoder");
        let mut decompressor = turbojpeg::Decompressor::new().expect("a decompressor");
        let ours = || {
            decoder.decode(jpeg, PixelFormat::Bgr888, &mut our_pixels).expect("a picture");
        };
        let bare = || {
            let header = decompressor.read_header(jpeg).expect("a header");
            let (width, height) = (header.width, header.height);
            let pixels = &mut bare_pixels[..];
            let format = turbojpeg::PixelFormat::BGR;
            let image = turbojpeg::Image { pixels, width, pitch: 3 * width, height, format };
            decompressor.decompress(jpeg, image).expect("a picture");
        };
        compare(bars, "decode 640x480 to BGR", ours, bare);
        assert_eq!(our_pixels, bare_pixels, "both see the same picture");
    });
}

fn other_format(format: &str) {
    let options = JpegOptions::default();
    with_frame(format, |pixels| {
        let mut jpeg = vec![0; jpeg_bytes_max(pixels.info, &options)];
        let mut scratch = vec![0; scratch_bytes(pixels.info, &options)];
        let mut encoder = Encoder::new(&options).expect("an encoder");
        let samples = (0..size(5, 500))
            .map(|_| timed(|| assert!(encoder.encode(pixels, &mut jpeg, &mut scratch).expect("a JPEG") > 1_000)));
        say(&format!("encode 640x480 {format}"), Samples::new(samples.collect()).line());
    });
}
