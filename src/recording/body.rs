//! Postcard bodies: what a record says besides its bytes. Each begins with a schema number and only ever grows at its end.

use serde::{Deserialize, Serialize};

use super::format::RecordError;
use crate::event::{Event, EventKind};
use crate::frame::{ColorFormat, FrameMeta, ImageType, IntegerFields, PictureInfo, PixelFormat, Roi};
use crate::ledger::{Cause, Loss};
use crate::time::{ClockPair, Timestamp, WallTime};

/// Newest schema of every body.
const SCHEMA: u16 = 1;

/// Largest frame body: varints of 64 bits take up to 10 bytes, text up to 64.
pub const FRAME_BODY_BYTES_MAX: usize = 320;

/// Shape of the picture as stored.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct PictureBody {
    format: u8,
    width: u32,
    height: u32,
    stride: u32,
}

impl PictureBody {
    /// As stored.
    pub fn new(info: PictureInfo) -> Self {
        Self { format: info.format.code(), width: info.width, height: info.height, stride: info.stride }
    }

    /// As used; `None` when the format is unknown.
    pub fn info(self) -> Option<PictureInfo> {
        let Self { format, width, height, stride } = self;
        Some(PictureInfo { format: PixelFormat::from_code(format)?, width, height, stride })
    }
}

#[derive(Serialize, Deserialize)]
struct RoiBody {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

#[derive(Serialize, Deserialize)]
struct FrameBody<'a> {
    schema: u16,
    sequence: u64,
    captured_at: i64,
    captured_wall: i64,
    utc_offset_s: i32,
    timestamp_text: &'a str,
    image_type: u8,
    color_format: u8,
    width: Option<u32>,
    height: Option<u32>,
    channels: Option<u8>,
    roi: Option<RoiBody>,
    new_detection: bool,
    fps: f64,
    dps: f64,
    frame_count: Option<i64>,
    integer_fields: u8,
    picture: Option<PictureBody>,
}

/// Writes the body of a frame into `out` and returns its length.
///
/// # Panics
/// When `out` is shorter than [`FRAME_BODY_BYTES_MAX`].
pub fn write_frame(meta: &FrameMeta, picture: Option<PictureInfo>, out: &mut [u8]) -> usize {
    let roi = meta.roi.map(|r| RoiBody { left: r.left, top: r.top, width: r.width, height: r.height });
    let body = FrameBody {
        schema: SCHEMA,
        sequence: meta.sequence,
        captured_at: meta.captured_at.as_ns(),
        captured_wall: meta.captured_wall.as_utc_ns(),
        utc_offset_s: meta.utc_offset_s,
        timestamp_text: &meta.timestamp_text,
        image_type: meta.image_type.map_or(0, |t| t as u8),
        color_format: meta.color_format.map_or(0, |c| c as u8),
        width: meta.width,
        height: meta.height,
        channels: meta.channels,
        roi,
        new_detection: meta.new_detection,
        fps: meta.fps,
        dps: meta.dps,
        frame_count: meta.frame_count,
        integer_fields: meta.integer_fields.0,
        picture: picture.map(PictureBody::new),
    };
    write(&body, out)
}

/// Reads the body of a frame into `meta` and returns the shape of its picture.
///
/// # Errors
/// [`RecordError::Body`].
pub fn read_frame(bytes: &[u8], meta: &mut FrameMeta) -> Result<Option<PictureInfo>, RecordError> {
    let wrong = RecordError::Body { what: "frame body" };
    let (body, _) = postcard::take_from_bytes::<FrameBody>(bytes).map_err(|_| wrong)?;
    meta.sequence = body.sequence;
    meta.captured_at = Timestamp::from_ns(body.captured_at);
    meta.captured_wall = WallTime::from_utc_ns(body.captured_wall);
    meta.utc_offset_s = body.utc_offset_s;
    meta.timestamp_text.clear();
    meta.timestamp_text.push_str(body.timestamp_text).map_err(|()| wrong)?;
    meta.image_type = ImageType::from_code(body.image_type);
    meta.color_format = ColorFormat::from_code(body.color_format);
    meta.width = body.width;
    meta.height = body.height;
    meta.channels = body.channels;
    meta.roi = body.roi.map(|r| Roi { left: r.left, top: r.top, width: r.width, height: r.height });
    meta.new_detection = body.new_detection;
    meta.fps = body.fps;
    meta.dps = body.dps;
    meta.frame_count = body.frame_count;
    meta.integer_fields = IntegerFields(body.integer_fields);
    match body.picture {
        None => Ok(None),
        Some(picture) => picture.info().map(Some).ok_or(RecordError::Body { what: "picture format" }),
    }
}

#[derive(Serialize, Deserialize)]
struct LossBody {
    schema: u16,
    cause: u8,
    first_sequence: u64,
    last_sequence: u64,
    count: u64,
    first_at: i64,
    last_at: i64,
    previous: u64,
}

/// Writes a loss; `previous`: offset of the loss record before it.
pub fn write_loss(loss: &Loss, previous: u64, out: &mut [u8]) -> usize {
    let body = LossBody {
        schema: SCHEMA,
        cause: loss.cause.code(),
        first_sequence: loss.first_sequence,
        last_sequence: loss.last_sequence,
        count: loss.count,
        first_at: loss.first_at.as_ns(),
        last_at: loss.last_at.as_ns(),
        previous,
    };
    write(&body, out)
}

/// Reads a loss and the offset of the one before it.
///
/// # Errors
/// [`RecordError::Body`].
pub fn read_loss(bytes: &[u8]) -> Result<(Loss, u64), RecordError> {
    let wrong = RecordError::Body { what: "loss" };
    let (body, _) = postcard::take_from_bytes::<LossBody>(bytes).map_err(|_| wrong)?;
    let loss = Loss {
        cause: Cause::from_code(body.cause).ok_or(wrong)?,
        first_sequence: body.first_sequence,
        last_sequence: body.last_sequence,
        count: body.count,
        first_at: Timestamp::from_ns(body.first_at),
        last_at: Timestamp::from_ns(body.last_at),
    };
    Ok((loss, body.previous))
}

#[derive(Serialize, Deserialize)]
struct EventBody<'a> {
    schema: u16,
    kind: u8,
    at: i64,
    wall: i64,
    text: &'a str,
    previous: u64,
}

/// Writes an event; `previous`: offset of the event record before it.
pub fn write_event(event: &Event, previous: u64, out: &mut [u8]) -> usize {
    let Event { kind, at, wall, text } = event;
    let (at, wall) = (at.as_ns(), wall.as_utc_ns());
    write(&EventBody { schema: SCHEMA, kind: kind.code(), at, wall, text, previous }, out)
}

/// Reads an event and the offset of the one before it.
///
/// # Errors
/// [`RecordError::Body`].
pub fn read_event(bytes: &[u8]) -> Result<(Event, u64), RecordError> {
    let wrong = RecordError::Body { what: "event" };
    let (body, _) = postcard::take_from_bytes::<EventBody>(bytes).map_err(|_| wrong)?;
    let event = Event {
        kind: EventKind::from_code(body.kind).ok_or(wrong)?,
        at: Timestamp::from_ns(body.at),
        wall: WallTime::from_utc_ns(body.wall),
        text: heapless::String::try_from(body.text).map_err(|()| wrong)?,
    };
    Ok((event, body.previous))
}

/// Both clocks at one instant, as stored.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct PairBody {
    monotonic: i64,
    wall: i64,
}

impl PairBody {
    /// As stored.
    pub fn new(pair: ClockPair) -> Self {
        Self { monotonic: pair.monotonic.as_ns(), wall: pair.wall.as_utc_ns() }
    }

    /// As used.
    pub fn pair(self) -> ClockPair {
        ClockPair { monotonic: Timestamp::from_ns(self.monotonic), wall: WallTime::from_utc_ns(self.wall) }
    }
}

#[derive(Serialize, Deserialize)]
struct ClockBody {
    schema: u16,
    pair: PairBody,
    step: i64,
    previous: u64,
}

/// Both clocks, and how far they moved apart since the last time they were written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockNote {
    /// Both clocks at one instant.
    pub pair: ClockPair,
    /// How far wall minus monotonic moved since the previous clock record, in nanoseconds; 0 in the first.
    pub step_ns: i64,
}

/// Writes a clock record; `previous`: offset of the clock record before it.
pub fn write_clock(note: &ClockNote, previous: u64, out: &mut [u8]) -> usize {
    write(&ClockBody { schema: SCHEMA, pair: PairBody::new(note.pair), step: note.step_ns, previous }, out)
}

/// Reads a clock record and the offset of the one before it.
///
/// # Errors
/// [`RecordError::Body`].
pub fn read_clock(bytes: &[u8]) -> Result<(ClockNote, u64), RecordError> {
    let wrong = RecordError::Body { what: "clock" };
    let (body, _) = postcard::take_from_bytes::<ClockBody>(bytes).map_err(|_| wrong)?;
    Ok((ClockNote { pair: body.pair.pair(), step_ns: body.step }, body.previous))
}

/// Sums over all records before the one that holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows of all results.
    pub detections: u64,
    /// Frames lost, all causes.
    pub lost: u64,
    /// Loss records.
    pub losses: u64,
    /// Event records.
    pub events: u64,
    /// Clock records whose step is not zero.
    pub clock_steps: u64,
    /// Offset of the newest loss record; 0 when none.
    pub newest_loss: u64,
    /// Offset of the newest event record; 0 when none.
    pub newest_event: u64,
    /// Offset of the newest clock record; 0 when none.
    pub newest_clock: u64,
    /// The newest clock record's pair.
    pub clock: ClockPair,
    /// Capture times of the first frame, monotonic and wall.
    pub first: Option<ClockPair>,
    /// Capture time of the newest frame.
    pub last_captured_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct TotalsBody {
    schema: u16,
    detections: u64,
    lost: u64,
    losses: u64,
    events: u64,
    clock_steps: u64,
    newest_loss: u64,
    newest_event: u64,
    newest_clock: u64,
    clock: PairBody,
    first: Option<PairBody>,
    last_captured_at: i64,
}

/// Writes the sums.
pub fn write_totals(t: &Totals, out: &mut [u8]) -> usize {
    let body = TotalsBody {
        schema: SCHEMA,
        detections: t.detections,
        lost: t.lost,
        losses: t.losses,
        events: t.events,
        clock_steps: t.clock_steps,
        newest_loss: t.newest_loss,
        newest_event: t.newest_event,
        newest_clock: t.newest_clock,
        clock: PairBody::new(t.clock),
        first: t.first.map(PairBody::new),
        last_captured_at: t.last_captured_at.as_ns(),
    };
    write(&body, out)
}

/// Reads the sums.
///
/// # Errors
/// [`RecordError::Body`].
pub fn read_totals(bytes: &[u8]) -> Result<Totals, RecordError> {
    let wrong = RecordError::Body { what: "totals" };
    let (body, _) = postcard::take_from_bytes::<TotalsBody>(bytes).map_err(|_| wrong)?;
    Ok(Totals {
        detections: body.detections,
        lost: body.lost,
        losses: body.losses,
        events: body.events,
        clock_steps: body.clock_steps,
        newest_loss: body.newest_loss,
        newest_event: body.newest_event,
        newest_clock: body.newest_clock,
        clock: body.clock.pair(),
        first: body.first.map(PairBody::pair),
        last_captured_at: Timestamp::from_ns(body.last_captured_at),
    })
}

fn write(body: &impl Serialize, out: &mut [u8]) -> usize {
    // Every body is bounded by its types, and its caller's buffer by the bound.
    postcard::to_slice(body, out).expect("a body fits the buffer that was made for its bound").len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_frame_body_fits_its_bound() {
        let mut meta = FrameMeta::new();
        (meta.sequence, meta.utc_offset_s) = (u64::MAX, i32::MIN);
        (meta.captured_at, meta.captured_wall) = (Timestamp::from_ns(i64::MIN), WallTime::from_utc_ns(i64::MIN));
        meta.timestamp_text.push_str(&"x".repeat(64)).unwrap();
        (meta.width, meta.height, meta.channels) = (Some(u32::MAX), Some(u32::MAX), Some(255));
        (meta.roi, meta.frame_count) = (Some(Roi::FULL), Some(i64::MIN));
        let picture = PictureInfo { format: PixelFormat::Jpeg, width: u32::MAX, height: u32::MAX, stride: u32::MAX };
        let mut bytes = [0; FRAME_BODY_BYTES_MAX];
        let len = write_frame(&meta, Some(picture), &mut bytes);
        let mut back = FrameMeta::new();
        assert_eq!(read_frame(&bytes[..len], &mut back), Ok(Some(picture)));
        assert_eq!(back, meta);
    }

    #[test]
    fn bytes_after_a_body_are_ignored_and_missing_ones_are_an_error() {
        let mut bytes = [0xAA; 400];
        let loss = Loss::run(Cause::RingFull, 7, 3, Timestamp::from_ns(-5), Timestamp::from_ns(9));
        let len = write_loss(&loss, 4096, &mut bytes);
        assert_eq!(read_loss(&bytes), Ok((loss, 4096)));
        for cut in 0..len {
            assert_eq!(read_loss(&bytes[..cut]), Err(RecordError::Body { what: "loss" }), "cut at {cut}");
        }
    }

    #[test]
    fn events_clocks_and_totals_come_back() {
        let mut bytes = [0; 512];
        let text = heapless::String::try_from("gate opened").unwrap();
        let (at, wall) = (Timestamp::from_ns(1), WallTime::from_utc_ns(-2));
        let event = Event { kind: EventKind::Bookmark, at, wall, text };
        write_event(&event, 64, &mut bytes);
        assert_eq!(read_event(&bytes), Ok((event, 64)));
        let note = ClockNote { pair: ClockPair { monotonic: at, wall }, step_ns: i64::MIN };
        write_clock(&note, 0, &mut bytes);
        assert_eq!(read_clock(&bytes), Ok((note, 0)));
        let totals = Totals { detections: 9, first: Some(note.pair), clock: note.pair, ..Totals::default() };
        write_totals(&totals, &mut bytes);
        assert_eq!(read_totals(&bytes), Ok(totals));
    }
}
