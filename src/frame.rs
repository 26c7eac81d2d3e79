//! What is known about one frame besides its bytes, and the view that lends a frame to a reader.

use core::fmt;

use crate::labels::Labels;
use crate::ledger::Loss;
use crate::limits::{SIDE_PIXELS_MAX, TIMESTAMP_TEXT_BYTES_MAX};
use crate::results::{ResultKind, ResultState, Results};
use crate::time::{Timestamp, WallTime};
use crate::view::{
    AnomalyView, ClassificationsView, DetectionsView, InstancesView, OrientedBoxesView, PosesView, SegmentsView,
};

/// How the bytes of a picture are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Three bytes a pixel: blue, green, red. OpenCV's order. V4L2 `BGR3`.
    Bgr888 = 1,
    /// Three bytes a pixel: red, green, blue. V4L2 `RGB3`.
    Rgb888 = 2,
    /// 4:2:2, two pixels in four bytes: Y0 U Y1 V. V4L2 `YUYV`.
    Yuyv = 3,
    /// 4:2:0: a plane of Y, then a plane of interleaved U V of half the height. V4L2 `NV12`.
    Nv12 = 4,
    /// 4:2:0: planes of Y, U, V; U and V have half the stride and half the height. V4L2 `YU12`.
    Yuv420 = 5,
    /// One byte a pixel. V4L2 `GREY`.
    Grey = 6,
    /// Raw Bayer, 10 bits packed: four pixels in five bytes. V4L2 `pRAA` and its flips.
    Raw10 = 7,
    /// A compressed JPEG picture.
    Jpeg = 8,
}

impl PixelFormat {
    /// The format of the number that files store, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Bgr888,
            2 => Self::Rgb888,
            3 => Self::Yuyv,
            4 => Self::Nv12,
            5 => Self::Yuv420,
            6 => Self::Grey,
            7 => Self::Raw10,
            8 => Self::Jpeg,
            _ => return None,
        })
    }

    /// The number that files store.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The name in messages and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bgr888 => "BGR888",
            Self::Rgb888 => "RGB888",
            Self::Yuyv => "YUYV",
            Self::Nv12 => "NV12",
            Self::Yuv420 => "YUV420",
            Self::Grey => "GREY",
            Self::Raw10 => "RAW10",
            Self::Jpeg => "JPEG",
        }
    }

    /// Smallest stride of a row of `width` pixels, in bytes; 0 for JPEG. Chroma rows of `YUV420` have half of it.
    pub const fn stride_min(self, width: u32) -> u32 {
        match self {
            Self::Bgr888 | Self::Rgb888 => width * 3,
            Self::Yuyv => width.next_multiple_of(2) * 2,
            Self::Nv12 | Self::Yuv420 => width.next_multiple_of(2),
            Self::Grey => width,
            Self::Raw10 => width.div_ceil(4) * 5,
            Self::Jpeg => 0,
        }
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Shape of an uncompressed (or, with stride 0, compressed) picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PictureInfo {
    /// Layout of the bytes.
    pub format: PixelFormat,
    /// Pixels in a row, `1..=SIDE_PIXELS_MAX`.
    pub width: u32,
    /// Rows, `1..=SIDE_PIXELS_MAX`.
    pub height: u32,
    /// Bytes from one row to the next (of the first plane); 0 for JPEG.
    pub stride: u32,
}

impl PictureInfo {
    /// A picture without padding between rows.
    pub const fn packed(format: PixelFormat, width: u32, height: u32) -> Self {
        Self { format, width, height, stride: format.stride_min(width) }
    }

    /// Bytes of an uncompressed picture of this shape, or `None` when the shape is out of its limits (or JPEG, whose
    /// size only its bytes tell).
    pub const fn bytes(self) -> Option<usize> {
        let Self { format, width, height, stride } = self;
        if width == 0 || height == 0 || width > SIDE_PIXELS_MAX || height > SIDE_PIXELS_MAX {
            return None;
        }
        if stride < format.stride_min(width) || stride as u64 > 8 * SIDE_PIXELS_MAX as u64 {
            return None;
        }
        let (stride, rows) = (stride as usize, height as usize);
        Some(match format {
            PixelFormat::Jpeg => return None,
            PixelFormat::Nv12 => stride * (rows + rows.div_ceil(2)),
            PixelFormat::Yuv420 => stride * rows + 2 * stride.div_ceil(2) * rows.div_ceil(2),
            _ => stride * rows,
        })
    }
}

/// What a picture shows, in modlib's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ImageType {
    /// The camera's picture. modlib `"VGA"`.
    Vga = 1,
    /// What the network saw. modlib `"input_tensor"`.
    InputTensor = 2,
    /// A picture from elsewhere. modlib `"source"`.
    Source = 3,
}

impl ImageType {
    /// The type of the number that files store, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Vga,
            2 => Self::InputTensor,
            3 => Self::Source,
            _ => return None,
        })
    }

    /// modlib's text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vga => "VGA",
            Self::InputTensor => "input_tensor",
            Self::Source => "source",
        }
    }
}

/// Order of the colours in the array that the device held, in modlib's words. A JPEG always holds true colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ColorFormat {
    /// modlib `"RGB"`.
    Rgb = 1,
    /// modlib `"BGR"`.
    Bgr = 2,
}

impl ColorFormat {
    /// The format of the number that files store, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Rgb,
            2 => Self::Bgr,
            _ => return None,
        })
    }

    /// modlib's text.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rgb => "RGB",
            Self::Bgr => "BGR",
        }
    }
}

/// The part of the picture that the network saw, as fractions of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Roi {
    /// Left edge, `0.0..=1.0` in good data.
    pub left: f64,
    /// Top edge.
    pub top: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Roi {
    /// The whole picture.
    pub const FULL: Self = Self { left: 0.0, top: 0.0, width: 1.0, height: 1.0 };

    /// A point given relative to this region, as a fraction of the picture, clipped to it: modlib's
    /// `compensate_for_roi`.
    pub fn point_in_picture(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let x = self.left + f64::from(x) * self.width;
        let y = self.top + f64::from(y) * self.height;
        [x.clamp(0.0, 1.0) as f32, y.clamp(0.0, 1.0) as f32]
    }
}

/// Which numbers of a modlib line were written as integers (`0`, not `0.0`), so that export writes them so again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IntegerFields(pub u8);

impl IntegerFields {
    /// `fps` was an integer.
    pub const FPS: u8 = 1;
    /// `dps` was an integer.
    pub const DPS: u8 = 2;
    /// `roi.left` was an integer.
    pub const ROI_LEFT: u8 = 4;
    /// `roi.top` was an integer.
    pub const ROI_TOP: u8 = 8;
    /// `roi.width` was an integer.
    pub const ROI_WIDTH: u8 = 16;
    /// `roi.height` was an integer.
    pub const ROI_HEIGHT: u8 = 32;
    /// `detections.score` of an anomaly was an integer.
    pub const SCORE: u8 = 64;

    /// True when `field` (one of the constants) was an integer.
    pub const fn has(self, field: u8) -> bool {
        self.0 & field != 0
    }

    /// Marks `field` (one of the constants) as an integer.
    pub fn set(&mut self, field: u8) {
        self.0 |= field;
    }
}

/// Everything about a frame but its bytes and its results: a superset of modlib's `Frame`.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameMeta {
    /// Number given by the source, counting also the frames that were lost.
    pub sequence: u64,
    /// Start of the capture on the monotonic clock. May go back in imported recordings; it is kept as it is.
    pub captured_at: Timestamp,
    /// The same instant on the wall clock, as it was set at that moment.
    pub captured_wall: WallTime,
    /// Local time minus UTC at that moment, in seconds.
    pub utc_offset_s: i32,
    /// A timestamp text that cannot be made again from `captured_wall` and `utc_offset_s`; else empty. What is made from them
    /// is local time as `YYYY-MM-DDTHH:MM:SS.ffffff`, so modlib's own form without a fraction (where it is zero) is kept here.
    pub timestamp_text: heapless::String<TIMESTAMP_TEXT_BYTES_MAX>,
    /// What the picture shows; modlib `image_type`.
    pub image_type: Option<ImageType>,
    /// Width that the device stated, in pixels; may disagree with the picture. modlib `width`.
    pub width: Option<u32>,
    /// Height that the device stated, in pixels. modlib `height`.
    pub height: Option<u32>,
    /// Channels that the device stated. modlib `channels`.
    pub channels: Option<u8>,
    /// Order of the colours in the device's memory. modlib `color_format`.
    pub color_format: Option<ColorFormat>,
    /// The part of the picture that the network saw. modlib `roi`.
    pub roi: Option<Roi>,
    /// False when the results repeat those of an earlier frame. modlib `new_detection`.
    pub new_detection: bool,
    /// Frames a second, running mean. modlib `fps`.
    pub fps: f64,
    /// Results a second, running mean. modlib `dps`.
    pub dps: f64,
    /// The sensor's own 8-bit counter or what the device gave in its place. modlib `frame_count`.
    pub frame_count: Option<i64>,
    /// Which of these numbers were integers in modlib's text.
    pub integer_fields: IntegerFields,
}

impl FrameMeta {
    /// Nothing known yet; `new_detection` is true, as modlib has it.
    pub const fn new() -> Self {
        Self {
            sequence: 0,
            captured_at: Timestamp::from_ns(0),
            captured_wall: WallTime::from_utc_ns(0),
            utc_offset_s: 0,
            timestamp_text: heapless::String::new(),
            image_type: None,
            width: None,
            height: None,
            channels: None,
            color_format: None,
            roi: None,
            new_detection: true,
            fps: 0.0,
            dps: 0.0,
            frame_count: None,
            integer_fields: IntegerFields(0),
        }
    }
}

impl Default for FrameMeta {
    fn default() -> Self {
        Self::new()
    }
}

/// An uncompressed picture, lent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pixels<'a> {
    /// Its shape; `bytes.len()` is `info.bytes()`.
    pub info: PictureInfo,
    /// Its bytes, first row first.
    pub bytes: &'a [u8],
}

/// A compressed picture, lent. `width` and `height` come from its own header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct JpegPicture<'a> {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// From SOI to EOI.
    pub bytes: &'a [u8],
}

/// One frame, lent by a stream, a player or a reader: references only, so it is cheap to copy and costs no frame copy.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Capture times, rates, region.
    pub meta: &'a FrameMeta,
    /// What the network said.
    pub results: &'a Results,
    /// Uncompressed picture, when one is at hand.
    pub pixels: Option<Pixels<'a>>,
    /// Compressed picture, when one is at hand. Both may be: the encoder leaves the pixels in place.
    pub jpeg: Option<JpegPicture<'a>>,
    /// Masks and heat maps, addressed by the results' mask ranges.
    pub side: &'a [u8],
    /// The sensor's own bytes, if they are kept.
    pub sensor: &'a [u8],
    /// Names of the classes, if known.
    pub labels: Option<&'a Labels>,
    /// Frames lost since the frame before this one, for whoever keeps the account (a recorder writes them before this
    /// frame). Each loss is lent with one frame only; empty in playback.
    pub losses: &'a [Loss],
}

impl<'a> Frame<'a> {
    /// The boxes; an empty view when the frame has no results or results of another kind.
    pub fn detections(&self) -> DetectionsView<'a> {
        DetectionsView::of(self)
    }

    /// The ranked classes; else an empty view.
    pub fn classifications(&self) -> ClassificationsView<'a> {
        ClassificationsView::of(self)
    }

    /// The persons and their keypoints; else an empty view.
    pub fn poses(&self) -> PosesView<'a> {
        PosesView::of(self)
    }

    /// The instances and their masks; else an empty view.
    pub fn instances(&self) -> InstancesView<'a> {
        InstancesView::of(self)
    }

    /// The oriented boxes; else an empty view.
    pub fn oriented_boxes(&self) -> OrientedBoxesView<'a> {
        OrientedBoxesView::of(self)
    }

    /// The class of each pixel, if this frame has a segmentation.
    pub fn segments(&self) -> Option<SegmentsView<'a>> {
        SegmentsView::of(self)
    }

    /// Score and heat map, if this frame has an anomaly result.
    pub fn anomaly(&self) -> Option<AnomalyView<'a>> {
        AnomalyView::of(self)
    }

    /// True when there is no picture at all.
    pub fn is_headless(&self) -> bool {
        self.pixels.is_none() && self.jpeg.is_none()
    }

    /// Width and height of the picture at hand, else those that the device stated.
    pub fn size(&self) -> Option<(u32, u32)> {
        match (self.pixels, self.jpeg) {
            (Some(p), _) => Some((p.info.width, p.info.height)),
            (None, Some(j)) => Some((j.width, j.height)),
            (None, None) => self.meta.width.zip(self.meta.height),
        }
    }

    /// The region that stored coordinates are relative to: the whole picture once they are compensated, or when the
    /// picture is what the network saw (then the region is one of another, larger picture).
    pub(crate) fn coordinates(&self) -> Roi {
        match self.meta.roi {
            Some(roi) if !self.results.roi_compensated && self.meta.image_type != Some(ImageType::InputTensor) => roi,
            _ => Roi::FULL,
        }
    }
}

impl fmt::Display for Frame<'_> {
    /// One line: sequence, size, and what was seen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.meta.sequence)?;
        if let Some((w, h)) = self.size() {
            write!(f, " {w}x{h}")?;
        }
        if self.is_headless() {
            write!(f, " headless")?;
        }
        write!(f, " ")?;
        match self.results.state() {
            ResultState::Absent => write!(f, "no network"),
            ResultState::Unknown => write!(f, "result unknown"),
            ResultState::Empty(kind) => write!(f, "{kind}: nothing"),
            ResultState::Some(kind) => match kind {
                ResultKind::Classifications => write!(f, "{}", self.classifications()),
                ResultKind::Detections => write!(f, "{}", self.detections()),
                ResultKind::Poses => write!(f, "{}", self.poses()),
                ResultKind::InstanceSegments => write!(f, "{}", self.instances()),
                ResultKind::OrientedBoxes => write!(f, "{}", self.oriented_boxes()),
                ResultKind::Segments => write!(f, "segments of {:?}", self.results.mask_shape),
                ResultKind::Anomaly => write!(f, "anomaly {:.3}", self.results.score),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picture_bytes_follow_the_v4l2_layouts() {
        let bytes = |format, w, h| PictureInfo::packed(format, w, h).bytes();
        assert_eq!(bytes(PixelFormat::Bgr888, 640, 480), Some(921_600));
        assert_eq!(bytes(PixelFormat::Yuyv, 640, 480), Some(614_400));
        assert_eq!(bytes(PixelFormat::Nv12, 640, 480), Some(460_800));
        assert_eq!(bytes(PixelFormat::Yuv420, 641, 481), Some(642 * 481 + 2 * 321 * 241));
        assert_eq!(bytes(PixelFormat::Raw10, 2028, 1520), Some(2535 * 1520));
        assert_eq!(bytes(PixelFormat::Grey, 0, 480), None);
        assert_eq!(bytes(PixelFormat::Grey, SIDE_PIXELS_MAX + 1, 1), None);
    }

    #[test]
    fn codes_on_disk_return_the_same_format() {
        for code in 0..=255 {
            if let Some(format) = PixelFormat::from_code(code) {
                assert_eq!(format.code(), code);
            }
        }
        assert_eq!(PixelFormat::from_code(0), None);
    }

    #[test]
    fn a_region_maps_points_and_clips_them() {
        let roi = Roi { left: 0.25, top: 0.0, width: 0.5, height: 1.0 };
        assert_eq!(roi.point_in_picture([0.5, 0.5]), [0.5, 0.5]);
        assert_eq!(roi.point_in_picture([2.0, -1.0]), [1.0, 0.0]);
    }
}
