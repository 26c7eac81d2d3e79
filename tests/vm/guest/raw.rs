//! What the IMX500 needs of a kernel, with vivid instead: raw Bayer pictures, and a metadata node beside the picture's.
//!
//! The streams are those of the `v4l` crate: kinora has no source for such a camera, but its parts are public.

use kinora::imx500::picture::{BayerOrder, Developer, Gains, Kernels, RawFormat, RawPacking};
use kinora::pairing::{Half, Paired, Pairing, Side};
use kinora::time::{Span, Timestamp};
use v4l::buffer::{Metadata, Type};
use v4l::io::mmap::Stream;
use v4l::io::traits::CaptureStream;
use v4l::video::Capture;
use v4l::{Device, FourCC};

use crate::{CAMERA, set};

const METADATA: &str = "/dev/video1";

/// The camera at 640x480 in this format, and bytes of a row.
fn camera(fourcc: &[u8; 4]) -> (Device, u32) {
    let device = Device::with_path(CAMERA).unwrap();
    let mut wish = device.format().unwrap();
    (wish.width, wish.height, wish.fourcc) = (640, 480, FourCC::new(fourcc));
    let format = device.set_format(&wish).unwrap();
    assert_eq!((format.width, format.height, format.fourcc), (640, 480, FourCC::new(fourcc)));
    (device, format.stride)
}

pub fn raw_bayer_in_each_order_is_developed_with_the_colours_of_the_bars() {
    let orders = [
        (b"RG10", BayerOrder::Rggb),
        (b"BA10", BayerOrder::Grbg),
        (b"GB10", BayerOrder::Gbrg),
        (b"BG10", BayerOrder::Bggr),
    ];
    for (fourcc, order) in orders {
        let (device, stride) = camera(fourcc);
        let raw = RawFormat { width: 640, height: 480, stride, packing: RawPacking::Low16, order };
        let mut developer = Box::new(Developer::new(raw, (320, 240), 0, Kernels::default()).unwrap());
        developer.set_gains(Gains { red: 256, blue: 256 });
        let mut rgb = vec![0; developer.info().bytes().unwrap()];
        let mut stream = Stream::with_buffers(&device, Type::VideoCapture, 4).unwrap();
        for _ in 0..5 {
            let (bytes, _) = stream.next().unwrap();
            developer.develop(bytes, &mut rgb).unwrap();
        }
        // Row 200: below vivid's text; columns inside the first three of eight bars: white, yellow, cyan.
        let [white, yellow, cyan] = [20, 60, 100].map(|column| {
            let at = 3 * (200 * 320 + column);
            [rgb[at], rgb[at + 1], rgb[at + 2]]
        });
        println!("{order:?}: white {white:?}, yellow {yellow:?}, cyan {cyan:?}");
        let bright = |value: u8| value > 180;
        assert!(white.iter().all(|&value| bright(value)), "{white:?}");
        assert!(bright(yellow[0]) && bright(yellow[1]) && yellow[2] < 60, "{yellow:?}");
        assert!(cyan[0] < 60 && bright(cyan[1]) && bright(cyan[2]), "{cyan:?}");
    }
}

fn half(seen: &Metadata) -> Half<u32> {
    let at = Timestamp::from_ns(seen.timestamp.sec * 1_000_000_000 + seen.timestamp.usec * 1000);
    Half { sequence: seen.sequence, at, token: seen.sequence }
}

pub fn pictures_and_metadata_of_two_nodes_are_paired_whatever_is_dropped() {
    let (device, _) = camera(b"YUYV");
    let metadata = Device::with_path(METADATA).unwrap();
    set("Percentage of Dropped Buffers", 30);
    let mut of_metadata = Stream::with_buffers(&metadata, Type::MetaCapture, 4).unwrap();
    let mut of_pictures = Stream::with_buffers(&device, Type::VideoCapture, 4).unwrap();
    let mut pairing = Pairing::new(2, Span::from_ms(40));
    let (mut pairs, mut alone) = (0, 0);
    for _ in 0..60 {
        for (side, stream) in [(Side::Metadata, &mut of_metadata), (Side::Image, &mut of_pictures)] {
            let (_, seen) = stream.next().unwrap();
            pairing.put(side, half(seen));
        }
        while let Some(paired) = pairing.next() {
            match paired {
                Paired::Both { image, metadata } => {
                    assert_eq!((image.sequence, image.at), (metadata.sequence, metadata.at));
                    pairs += 1;
                }
                Paired::Alone(..) => alone += 1,
                Paired::Late(..) => {}
            }
        }
    }
    set("Percentage of Dropped Buffers", 0);
    println!("{pairs} pairs, {alone} halves alone, of 60 buffers of each node");
    assert!(pairs >= 30, "{pairs} pairs, {alone} alone");
}
