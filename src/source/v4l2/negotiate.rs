//! Which format, size and rate to ask a camera for: a pure decision over what it offers.

use std::fmt;

use v4l::FourCC;

use crate::frame::PixelFormat;

/// Formats that we take, best first when size and rate are equal.
///
/// YUV first: it is compressed as it is. JPEG comes late: where the camera gives the same size and rate uncompressed, our
/// own encoder's quality setting holds. Cheap USB cameras do not, above 640×480; then size and rate decide for JPEG. GREY
/// is last, because it has no colour.
const PREFERENCE: [(PixelFormat, [u8; 4]); 8] = [
    (PixelFormat::Yuyv, *b"YUYV"),
    (PixelFormat::Nv12, *b"NV12"),
    (PixelFormat::Yuv420, *b"YU12"),
    (PixelFormat::Bgr888, *b"BGR3"),
    (PixelFormat::Rgb888, *b"RGB3"),
    (PixelFormat::Jpeg, *b"MJPG"),
    (PixelFormat::Jpeg, *b"JPEG"),
    (PixelFormat::Grey, *b"GREY"),
];

/// Our name for a V4L2 format, if we take it.
pub fn pixel_format(fourcc: FourCC) -> Option<PixelFormat> {
    PREFERENCE.iter().find(|(_, code)| *code == fourcc.repr).map(|&(format, _)| format)
}

/// The four characters, with what cannot be shown as `?`.
pub fn fourcc_text(fourcc: FourCC) -> String {
    fourcc.repr.iter().map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '?' }).collect()
}

/// Frames a second as a ratio.
pub type Rate = (u32, u32);

/// What the user wants.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// Frames a second.
    pub rate: Rate,
    /// Only this format, or any.
    pub format: Option<PixelFormat>,
}

/// Sizes that a camera offers in one format. Bounds are included; a step of 0 means 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// One size.
    One(u32, u32),
    /// All between two sizes: (lowest, highest, step) of width and of height.
    Range([u32; 3], [u32; 3]),
}

/// Rates that a camera offers in one format and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rates {
    /// One rate.
    One(Rate),
    /// All between two rates, the slower first.
    Range(Rate, Rate),
}

/// One format at the size nearest to the wish.
#[derive(Clone, Debug)]
pub struct Offer {
    /// V4L2's name of the format.
    pub fourcc: FourCC,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// What the camera says of its rates; empty when it says nothing.
    pub rates: Vec<Rates>,
}

/// No format that we take, or not the one that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoFormat {
    /// What the camera offers.
    pub offered: Vec<String>,
    /// What the user insisted on.
    pub wanted: Option<PixelFormat>,
}

impl fmt::Display for NoFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offered = if self.offered.is_empty() { "no format".into() } else { self.offered.join(", ") };
        match self.wanted {
            Some(wanted) => write!(f, "offers {offered}, not {wanted}; leave the format out to take what there is"),
            None => write!(f, "offers {offered}; this program takes YUYV, NV12, YU12, BGR3, RGB3, MJPG, JPEG and GREY"),
        }
    }
}

/// The size nearest to `wish`: the one whose width and height differ least in sum, the larger of two equally near.
pub fn nearest_size(sizes: &[Sizes], wish: (u32, u32)) -> Option<(u32, u32)> {
    let fitted = sizes.iter().map(|&sizes| match sizes {
        Sizes::One(width, height) => (width, height),
        Sizes::Range(width, height) => (fit(width, wish.0), fit(height, wish.1)),
    });
    fitted
        .filter(|&(width, height)| width > 0 && height > 0)
        .min_by_key(|&size| (size_error(size, wish), std::cmp::Reverse(u64::from(size.0) * u64::from(size.1))))
}

/// The value nearest to `wish` on the ladder from `low` in steps up to `high`.
fn fit([low, high, step]: [u32; 3], wish: u32) -> u32 {
    let (high, step) = (high.max(low), step.max(1));
    let above = u64::from(wish.clamp(low, high) - low);
    let rungs = (above + u64::from(step) / 2) / u64::from(step);
    let rungs = rungs.min(u64::from((high - low) / step));
    low + rungs as u32 * step
}

fn size_error(size: (u32, u32), wish: (u32, u32)) -> u64 {
    u64::from(size.0.abs_diff(wish.0)) + u64::from(size.1.abs_diff(wish.1))
}

/// The offer to take: nearest size first, then nearest rate, then our order of formats.
///
/// # Errors
/// [`NoFormat`] when nothing is left to choose from.
pub fn choose(offers: &[Offer], wish: &Wish) -> Result<Offer, NoFormat> {
    let rank = |offer: &Offer| PREFERENCE.iter().position(|(_, code)| *code == offer.fourcc.repr);
    let wanted = |offer: &&Offer| wish.format.is_none_or(|format| pixel_format(offer.fourcc) == Some(format));
    let usable = offers.iter().filter(wanted).filter_map(|offer| Some((offer, rank(offer)?)));
    let best = usable.min_by_key(|(offer, rank)| {
        (size_error((offer.width, offer.height), wish.size), rate_error(&offer.rates, wish.rate), *rank)
    });
    best.map(|(offer, _)| offer.clone()).ok_or_else(|| NoFormat {
        offered: offers.iter().map(|offer| fourcc_text(offer.fourcc)).collect(),
        wanted: wish.format,
    })
}

/// How far the nearest rate is from `wish`, in thousandths of a frame a second; 0 when the camera says nothing.
fn rate_error(rates: &[Rates], wish: Rate) -> u64 {
    let wish = milli(wish);
    let distance = |rates: &Rates| match *rates {
        Rates::One(rate) => milli(rate).abs_diff(wish),
        Rates::Range(slow, fast) => wish.abs_diff(wish.clamp(milli(slow), milli(fast).max(milli(slow)))),
    };
    rates.iter().map(distance).min().unwrap_or(0)
}

fn milli((frames, seconds): Rate) -> u64 {
    u64::from(frames) * 1_000 / u64::from(seconds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(fourcc: &[u8; 4], width: u32, height: u32, rates: &[Rate]) -> Offer {
        let rates = rates.iter().map(|&rate| Rates::One(rate)).collect();
        Offer { fourcc: FourCC::new(fourcc), width, height, rates }
    }

    fn chosen(offers: &[Offer], size: (u32, u32), rate: Rate, format: Option<PixelFormat>) -> String {
        choose(offers, &Wish { size, rate, format }).map_or_else(|no| no.to_string(), |offer| fourcc_text(offer.fourcc))
    }

    /// A common USB camera: uncompressed is slow when it is large.
    fn webcam(width: u32, height: u32, yuyv: Rate) -> Vec<Offer> {
        vec![offer(b"MJPG", width, height, &[(30, 1), (15, 1)]), offer(b"YUYV", width, height, &[yuyv])]
    }

    #[test]
    fn jpeg_is_taken_when_the_rate_needs_it_and_only_then() {
        assert_eq!(chosen(&webcam(640, 480, (30, 1)), (640, 480), (30, 1), None), "YUYV");
        assert_eq!(chosen(&webcam(1920, 1080, (5, 1)), (1920, 1080), (30, 1), None), "MJPG");
        assert_eq!(chosen(&webcam(1920, 1080, (5, 1)), (1920, 1080), (5, 1), None), "YUYV");
    }

    #[test]
    fn jpeg_is_taken_when_only_it_has_the_size() {
        let offers = [offer(b"YUYV", 640, 480, &[(30, 1)]), offer(b"MJPG", 1280, 720, &[(30, 1)])];
        assert_eq!(chosen(&offers, (1280, 720), (30, 1), None), "MJPG");
    }

    #[test]
    fn a_wanted_format_is_taken_or_the_message_lists_what_there_is() {
        let offers = webcam(640, 480, (30, 1));
        assert_eq!(chosen(&offers, (640, 480), (30, 1), Some(PixelFormat::Jpeg)), "MJPG");
        let refused = chosen(&offers, (640, 480), (30, 1), Some(PixelFormat::Nv12));
        assert_eq!(refused, "offers MJPG, YUYV, not NV12; leave the format out to take what there is");
    }

    #[test]
    fn formats_that_we_cannot_read_are_never_chosen() {
        let offers = [offer(b"pRAA", 640, 480, &[(30, 1)]), offer(b"H264", 640, 480, &[(30, 1)])];
        assert!(chosen(&offers, (640, 480), (30, 1), None).starts_with("offers pRAA, H264; this program takes YUYV"));
        assert_eq!(fourcc_text(FourCC::new(b"\0Y \xff")), "?Y??");
        assert_eq!(chosen(&[], (640, 480), (30, 1), None).find("offers no format;"), Some(0));
    }

    #[test]
    fn colour_is_preferred_to_grey_and_the_nearer_rate_to_both() {
        let offers = [offer(b"GREY", 640, 480, &[]), offer(b"RGB3", 640, 480, &[]), offer(b"BGR3", 640, 480, &[])];
        assert_eq!(chosen(&offers, (640, 480), (30, 1), None), "BGR3");
        let offers = [offer(b"RGB3", 640, 480, &[(30_000, 1_001)]), offer(b"GREY", 640, 480, &[(60, 1)])];
        assert_eq!(chosen(&offers, (640, 480), (60, 1), None), "GREY");
        assert_eq!(chosen(&offers, (640, 480), (30, 1), None), "RGB3");
    }

    #[test]
    fn the_nearest_size_is_found_in_lists_and_on_ladders() {
        let list = [Sizes::One(320, 240), Sizes::One(1280, 720), Sizes::One(640, 360)];
        assert_eq!(nearest_size(&list, (640, 480)), Some((640, 360)));
        assert_eq!(nearest_size(&list, (4096, 4096)), Some((1280, 720)));
        let ladder = [Sizes::Range([16, 1000, 16], [16, 600, 8])];
        assert_eq!(nearest_size(&ladder, (640, 480)), Some((640, 480)));
        assert_eq!(nearest_size(&ladder, (649, 1)), Some((656, 16)));
        assert_eq!(nearest_size(&ladder, (u32::MAX, u32::MAX)), Some((992, 600)));
        assert_eq!(nearest_size(&[], (640, 480)), None);
    }

    #[test]
    fn senseless_ladders_of_a_driver_do_no_harm() {
        let odd = [Sizes::Range([0, u32::MAX, 0], [9, 3, 7]), Sizes::One(0, 0)];
        assert_eq!(nearest_size(&odd, (640, 480)), Some((640, 9)));
        assert_eq!(nearest_size(&[Sizes::One(0, 480)], (640, 480)), None);
        assert_eq!(rate_error(&[Rates::One((1, 0)), Rates::Range((30, 1), (5, 1))], (30, 1)), 0);
    }

    #[test]
    fn a_rate_inside_a_range_is_no_error_and_outside_counts_to_the_nearer_end() {
        let rates = [Rates::Range((5, 1), (60, 1))];
        assert_eq!(rate_error(&rates, (30, 1)), 0);
        assert_eq!(rate_error(&rates, (90, 1)), 30_000);
        assert_eq!(rate_error(&rates, (1, 1)), 4_000);
    }
}
