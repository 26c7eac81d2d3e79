//! Numbers of the sensor's controls and formats, from `linux/v4l2-controls.h`, `linux/media-bus-format.h` and `imx500.c` of
//! the Raspberry Pi's kernel.

use crate::imx500::picture::{BayerOrder, RawPacking};
use crate::media::Receiver;

/// Inference window: left, top, width, height in pixels of the full resolution, each at most 4032.
pub const INFERENCE_WINDOW: u32 = 0x0098_2900;
/// File descriptor of a network package.
pub const NETWORK_FD: u32 = 0x0098_2901;
/// Exposure, in lines.
pub const EXPOSURE: u32 = 0x0098_0911;
/// Mirrors left to right.
pub const HFLIP: u32 = 0x0098_0914;
/// Turns upside down.
pub const VFLIP: u32 = 0x0098_0915;
/// Lines between two pictures.
pub const VBLANK: u32 = 0x009E_0901;
/// Code of the analogue gain.
pub const ANALOGUE_GAIN: u32 = 0x009E_0903;
/// White balance of the network's picture: B, Gb, Gr, R.
pub const NOTIFY_GAINS: u32 = 0x009E_0909;

/// What travels over the metadata pad (`MEDIA_BUS_FMT_SENSOR_DATA`).
pub const SENSOR_DATA: u32 = 0x7002;
/// V4L2's name of it.
pub const METADATA_FORMAT: [u8; 4] = *b"SENS";

/// `MEDIA_BUS_FMT_S*10_1X10` of an order.
pub const fn bus_code(order: BayerOrder) -> u32 {
    match order {
        BayerOrder::Rggb => 0x300F,
        BayerOrder::Grbg => 0x300A,
        BayerOrder::Gbrg => 0x300E,
        BayerOrder::Bggr => 0x3007,
    }
}

/// Formats of the picture's node, the best first: packed is five eighths of unpacked.
pub const fn pixel_formats(receiver: Receiver, order: BayerOrder) -> [([u8; 4], RawPacking); 2] {
    let (packed, low, high) = match order {
        BayerOrder::Rggb => (*b"pRAA", *b"RG10", *b"RG16"),
        BayerOrder::Grbg => (*b"pgAA", *b"BA10", *b"GR16"),
        BayerOrder::Gbrg => (*b"pGAA", *b"GB10", *b"GB16"),
        BayerOrder::Bggr => (*b"pBAA", *b"BG10", *b"BYR2"),
    };
    let unpacked = match receiver {
        Receiver::Unicam => (low, RawPacking::Low16),
        Receiver::Rp1Cfe => (high, RawPacking::High16),
    };
    [(packed, RawPacking::Packed), unpacked]
}
