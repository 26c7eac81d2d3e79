//! One line of a modlib recording into a slot.

use jiff::tz::TimeZone;
use jiter::Peek;

use super::defect::{Defect, Reason, clipped};
use super::json_results;
use super::masks::{Unpacker, base64_len, read_base64};
use super::times::Times;
use super::tokens::Tokens;
use crate::frame::{ColorFormat, FrameMeta, ImageType, IntegerFields, Roi};
use crate::jpeg_header::JpegHeader;
use crate::limits::TIMESTAMP_TEXT_BYTES_MAX;
use crate::results::{ResultKind, ResultState};
use crate::slot::Slot;

/// Reads modlib lines of one recording, in order. Keeps its working memory, so that after the first frames nothing is
/// allocated, except for strings with escapes and for messages.
#[derive(Debug)]
pub struct Reader {
    times: Times,
    unpacker: Unpacker,
    canvas: Vec<u8>,
}

impl Reader {
    /// A reader for which naive timestamps are local times of `zone`.
    pub fn new(zone: TimeZone) -> Self {
        Self { times: Times::new(zone), unpacker: Unpacker::new(), canvas: Vec::new() }
    }

    /// Fills `slot` from `line` (with or without its line feed).
    ///
    /// `meta.sequence` counts the calls, broken lines included, from 0; `meta.captured_at` is the distance of the line's
    /// wall-clock time from the first good line's. Key order is free, unknown keys are ignored, of repeated keys the last
    /// counts. `image`, `detection_type`, `roi` and `frame_count` may be missing; a `roi` may be a list of four (modlib
    /// 1.0.0); instances may be dense (up to 1.4.0; what lies outside an instance's box is dropped then, as modlib 1.5.0's
    /// own constructor does). The JPEG is copied as it is; its size comes from its own header and may disagree
    /// with `width` and `height`. Numbers are rounded to float32 where the frame holds that. Rows above the limits are
    /// counted in `results.truncated`.
    ///
    /// Memory: a packed mask is unpacked no further than its shape says, and that is bounded by the slot.
    ///
    /// # Errors
    /// The first thing wrong and its byte in the line; the slot is then empty.
    pub fn read_line(&mut self, line: &[u8], slot: &mut Slot) -> Result<(), Defect> {
        slot.reset();
        slot.meta.sequence = self.times.take_sequence();
        let read = self.read(line, slot);
        if read.is_err() {
            slot.reset();
        }
        read
    }

    /// Counts a line that was not read.
    pub(super) fn skip_line(&mut self) {
        self.times.take_sequence();
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.times.next_sequence()
    }

    /// The next line is the last one once more.
    pub(super) fn step_back(&mut self) {
        self.times.give_back_sequence();
    }

    fn read(&mut self, line: &[u8], slot: &mut Slot) -> Result<(), Defect> {
        let mut head = Head::default();
        let mut json = Tokens::new(line, 0);
        let mut next = json.object("line", Key::of)?;
        while let Some(key) = next {
            head.seen |= 1 << key as u16;
            read_value(&mut json, key, &mut head, slot)?;
            next = json.next_key(Key::of)?;
        }
        json.finish()?;
        if let Some((_, missing)) = REQUIRED.iter().find(|(key, _)| head.seen & (1 << *key as u16) == 0) {
            return Err(Reason::Missing(missing).at(line.len()));
        }
        slot.results.reset(ResultState::Unknown);
        if let Some(kind) = head.kind {
            let start = head.results_at.ok_or_else(|| Reason::Missing("detections").at(line.len()))?;
            json_results::read(kind, line, start, slot, &mut self.unpacker, &mut self.canvas)?;
        }
        let (at, text) = head.timestamp;
        self.times.settle(&mut slot.meta, &text).map_err(|reason| reason.at(at))
    }
}

/// What is known only when the whole line was seen.
#[derive(Default)]
struct Head {
    seen: u16,
    timestamp: (usize, heapless::String<TIMESTAMP_TEXT_BYTES_MAX>),
    kind: Option<ResultKind>,
    results_at: Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Key {
    Timestamp,
    Image,
    ImageType,
    Width,
    Height,
    Channels,
    Detections,
    DetectionType,
    NewDetection,
    Fps,
    Dps,
    ColorFormat,
    Roi,
    FrameCount,
    Unknown,
}

/// Keys without which modlib raises `KeyError`.
const REQUIRED: [(Key, &str); 9] = [
    (Key::Timestamp, "timestamp"),
    (Key::ImageType, "image_type"),
    (Key::Width, "width"),
    (Key::Height, "height"),
    (Key::Channels, "channels"),
    (Key::NewDetection, "new_detection"),
    (Key::Fps, "fps"),
    (Key::Dps, "dps"),
    (Key::ColorFormat, "color_format"),
];

impl Key {
    fn of(name: &str) -> Self {
        match name {
            "timestamp" => Self::Timestamp,
            "image" => Self::Image,
            "image_type" => Self::ImageType,
            "width" => Self::Width,
            "height" => Self::Height,
            "channels" => Self::Channels,
            "detections" => Self::Detections,
            "detection_type" => Self::DetectionType,
            "new_detection" => Self::NewDetection,
            "fps" => Self::Fps,
            "dps" => Self::Dps,
            "color_format" => Self::ColorFormat,
            "roi" => Self::Roi,
            "frame_count" => Self::FrameCount,
            _ => Self::Unknown,
        }
    }
}

fn read_value(json: &mut Tokens<'_>, key: Key, head: &mut Head, slot: &mut Slot) -> Result<(), Defect> {
    let meta = &mut slot.meta;
    match key {
        Key::Timestamp => {
            let (at, text) = json.string("timestamp")?;
            let kept = heapless::String::try_from(text).map_err(|()| Reason::Timestamp(clipped(text)).at(at))?;
            head.timestamp = (at, kept);
        }
        Key::Image => read_image(json, slot)?,
        Key::ImageType => meta.image_type = word(json, "image_type", IMAGE_TYPES, image_type)?,
        Key::ColorFormat => meta.color_format = word(json, "color_format", COLOR_FORMATS, color_format)?,
        Key::DetectionType => head.kind = word(json, "detection_type", KINDS, result_kind)?,
        Key::Width => meta.width = optional(json, "width", |json| json.small_int("width", "0..=4294967295"))?,
        Key::Height => meta.height = optional(json, "height", |json| json.small_int("height", "0..=4294967295"))?,
        Key::Channels => meta.channels = optional(json, "channels", |json| json.small_int("channels", "0..=255"))?,
        Key::FrameCount => meta.frame_count = optional(json, "frame_count", |json| json.int("frame_count"))?,
        Key::NewDetection => meta.new_detection = json.bool("new_detection")?,
        Key::Fps => meta.fps = rate(json, "fps", IntegerFields::FPS, &mut meta.integer_fields)?,
        Key::Dps => meta.dps = rate(json, "dps", IntegerFields::DPS, &mut meta.integer_fields)?,
        Key::Roi => read_roi(json, meta)?,
        Key::Detections => {
            let is_null = json.peek("detections")? == Peek::Null;
            let start = json.skip("detections")?;
            head.results_at = (!is_null).then_some(start);
        }
        Key::Unknown => {
            json.skip("line")?;
        }
    }
    Ok(())
}

fn optional<T>(
    json: &mut Tokens<'_>,
    key: &'static str,
    read: impl FnOnce(&mut Tokens<'_>) -> Result<T, Defect>,
) -> Result<Option<T>, Defect> {
    if json.null(key)? { Ok(None) } else { read(json).map(Some) }
}

pub(super) const IMAGE_TYPES: &str = "VGA, input_tensor, source";
pub(super) const COLOR_FORMATS: &str = "RGB, BGR";
const KINDS: &str = "Classifications, Detections, Poses, Segments, InstanceSegments, Anomaly, OBB";

pub(super) fn image_type(name: &str) -> Option<ImageType> {
    [ImageType::Vga, ImageType::InputTensor, ImageType::Source].into_iter().find(|known| known.name() == name)
}

pub(super) fn color_format(name: &str) -> Option<ColorFormat> {
    [ColorFormat::Rgb, ColorFormat::Bgr].into_iter().find(|known| known.name() == name)
}

fn result_kind(name: &str) -> Option<ResultKind> {
    ResultKind::ALL.into_iter().find(|known| known.name() == name)
}

fn word<T>(
    json: &mut Tokens<'_>,
    key: &'static str,
    known: &'static str,
    find: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Defect> {
    optional(json, key, |json| {
        let (at, text) = json.string(key)?;
        find(text).ok_or_else(|| Reason::UnknownWord { key, found: clipped(text), known }.at(at))
    })
}

/// A number that remembers whether it was an integer.
pub(super) fn rate(
    json: &mut Tokens<'_>,
    key: &'static str,
    field: u8,
    integers: &mut IntegerFields,
) -> Result<f64, Defect> {
    let number = json.number(key)?;
    integers.0 &= !field;
    if number.is_integer {
        integers.set(field);
    }
    Ok(number.value)
}

/// Keys of a region with the marks of their integers, in the order of modlib 1.0.0's list.
pub(super) const ROI_KEYS: [(&str, u8); 4] = [
    ("left", IntegerFields::ROI_LEFT),
    ("top", IntegerFields::ROI_TOP),
    ("width", IntegerFields::ROI_WIDTH),
    ("height", IntegerFields::ROI_HEIGHT),
];

fn read_roi(json: &mut Tokens<'_>, meta: &mut FrameMeta) -> Result<(), Defect> {
    let mut found = [None; 4];
    let integers = &mut meta.integer_fields;
    if json.null("roi")? {
        meta.roi = None;
        return Ok(());
    }
    if json.peek("roi")? == Peek::Array {
        let mut at = 0;
        json.array("roi", |json| {
            let Some((_, field)) = ROI_KEYS.get(at) else {
                return json.fail(Reason::Length { key: "roi", found: at + 1, expected: 4 });
            };
            found[at] = Some(rate(json, "roi", *field, integers)?);
            at += 1;
            Ok(())
        })?;
    } else {
        let side = |name: &str| ROI_KEYS.iter().position(|(key, _)| *key == name);
        let mut next = json.object("roi", side)?;
        while let Some(known) = next {
            match known {
                Some(at) => found[at] = Some(rate(json, "roi", ROI_KEYS[at].1, integers)?),
                None => _ = json.skip("roi")?,
            }
            next = json.next_key(side)?;
        }
    }
    // An empty one is none in Python's sense, and so modlib takes it.
    meta.roi = match found {
        [None, None, None, None] => None,
        [Some(left), Some(top), Some(width), Some(height)] => Some(Roi { left, top, width, height }),
        _ => return json.fail(Reason::Missing("left, top, width or height of roi")),
    };
    Ok(())
}

fn read_image(json: &mut Tokens<'_>, slot: &mut Slot) -> Result<(), Defect> {
    slot.clear_picture();
    if json.null("image")? {
        return Ok(());
    }
    let (at, text) = json.string("image")?;
    let (in_text, put) = put_image(text, slot);
    // The quote before the text is one byte.
    put.map_err(|reason| reason.at(at + 1 + in_text))
}

/// Decodes a data URL into the slot. Also answers where in the text its base64 begins, for the error's place.
pub(super) fn put_image(text: &str, slot: &mut Slot) -> (usize, Result<(), Reason>) {
    let Some(comma) = text.find(',').filter(|_| text.starts_with("data:")) else {
        return (0, Err(Reason::NotADataUrl));
    };
    (comma + 1, put_base64(&text.as_bytes()[comma + 1..], slot))
}

fn put_base64(text: &[u8], slot: &mut Slot) -> Result<(), Reason> {
    let needed = base64_len(text);
    let capacity = slot.jpeg_mut().len();
    if needed > capacity {
        let too_big = crate::slot::TooBig { plane: "JPEG", needed, capacity };
        return Err(Reason::TooBig(too_big));
    }
    let len = read_base64("image", text, slot.jpeg_mut())?;
    let bytes = &slot.jpeg_mut()[..len];
    if let Some(kind) = other_kind(bytes) {
        return Err(Reason::NotJpeg(kind));
    }
    let header = JpegHeader::read(bytes).map_err(Reason::Jpeg)?;
    slot.set_jpeg(len, header.width, header.height);
    Ok(())
}

/// Pictures that modlib's decoder knows too, by their first bytes.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 5] = [
        (b"\x89PNG", "a PNG picture"),
        (b"BM", "a BMP picture"),
        (b"GIF8", "a GIF picture"),
        (b"RIFF", "a WebP picture"),
        (b"II*\0", "a TIFF picture"),
    ];
    KINDS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, kind)| *kind)
}
