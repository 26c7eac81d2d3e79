//! The session header: what is known before the first frame. It opens the file and is repeated in every index record.

use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::body::{PairBody, PictureBody};
use super::format::{Geometry, RecordError};
use crate::frame::PictureInfo;
use crate::labels::Labels;
use crate::limits::{LABEL_TEXT_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, POST_NAME_BYTES_MAX};
use crate::source::{SourceInfo, bounded};
use crate::time::ClockPair;

/// Schema of a session without a post-processing, and of one with: 2 has its name behind everything else.
const SCHEMAS: [u16; 2] = [1, 2];
const FIXED_BYTES: usize = 32;

/// Largest session section: fixed part, four names, numbers, labels with two bytes of length each.
pub const SESSION_BYTES_MAX: usize =
    FIXED_BYTES + 4 * (NAME_BYTES_MAX + 2) + 160 + LABEL_TEXT_BYTES_MAX + 3 * LABELS_MAX;

/// What is known before the first frame.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionHeader {
    /// Unique to the file; seeds its checksums. [`random_id`] makes one.
    pub id: [u8; 16],
    /// Id of the first file of a recording that is split; else the file's own.
    pub series: [u8; 16],
    /// Number of this file in its series, from 0.
    pub part: u32,
    /// How the user named the source.
    pub source: heapless::String<NAME_BYTES_MAX>,
    /// Shape of the pictures as the source delivers them; `None` when headless. Each frame says its own as well.
    pub picture: Option<PictureInfo>,
    /// Nominal frames a second as a ratio.
    pub frame_rate: (u32, u32),
    /// The network that runs, or empty.
    pub network: heapless::String<NAME_BYTES_MAX>,
    /// Name of the post-processing that made the results, or empty.
    pub post: heapless::String<POST_NAME_BYTES_MAX>,
    /// Names of its classes.
    pub labels: Labels,
    /// Both clocks at the start.
    pub clock: ClockPair,
    /// IANA name of the time zone that local times mean, or empty.
    pub time_zone: heapless::String<NAME_BYTES_MAX>,
    /// Program and version that wrote the file.
    pub writer: heapless::String<NAME_BYTES_MAX>,
}

/// 16 random bytes from the operating system.
///
/// # Errors
/// `/dev/urandom` cannot be read.
pub fn random_id() -> std::io::Result<[u8; 16]> {
    use std::io::Read;
    let mut id = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut id)?;
    Ok(id)
}

impl SessionHeader {
    /// The header of a recording of that source that begins at `clock`.
    pub fn from_source(source: &SourceInfo, clock: ClockPair, id: [u8; 16]) -> Self {
        Self {
            id,
            series: id,
            part: 0,
            source: source.name.clone(),
            picture: source.picture,
            frame_rate: source.frame_rate,
            network: source.network.clone(),
            post: source.post.clone(),
            labels: source.labels.clone(),
            clock: source.recorded_clock.unwrap_or(clock),
            time_zone: source.time_zone.clone(),
            writer: bounded(concat!("kinora ", env!("CARGO_PKG_VERSION"))),
        }
    }

    /// The header of a file whose session is lost (or was never written), with all its frames still there.
    pub fn unknown(id: [u8; 16]) -> Self {
        Self::from_source(&SourceInfo { frame_rate: (0, 1), ..SourceInfo::new("") }, ClockPair::default(), id)
    }

    /// The header of the next file of the same series.
    pub fn next_part(&self, clock: ClockPair, id: [u8; 16]) -> Self {
        Self { id, part: self.part.saturating_add(1), clock, ..self.clone() }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    schema: u16,
    source: &'a str,
    picture: Option<PictureBody>,
    rate_numerator: u32,
    rate_denominator: u32,
    network: &'a str,
    time_zone: &'a str,
    clock: PairBody,
    writer: &'a str,
    series: [u8; 16],
    part: u32,
    #[serde(serialize_with = "write_labels")]
    labels: &'a Labels,
}

#[derive(Deserialize)]
struct Read<'a> {
    schema: u16,
    source: &'a str,
    picture: Option<PictureBody>,
    rate_numerator: u32,
    rate_denominator: u32,
    network: &'a str,
    time_zone: &'a str,
    clock: PairBody,
    writer: &'a str,
    series: [u8; 16],
    part: u32,
    #[serde(deserialize_with = "read_labels")]
    labels: Labels,
}

fn write_labels<S: Serializer>(labels: &&Labels, serializer: S) -> Result<S::Ok, S::Error> {
    let mut sequence = serializer.serialize_seq(Some(labels.len()))?;
    for name in labels.iter() {
        sequence.serialize_element(name)?;
    }
    sequence.end()
}

fn read_labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Labels, D::Error> {
    struct Names;
    impl<'de> serde::de::Visitor<'de> for Names {
        type Value = Labels;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("names of classes")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut names: A) -> Result<Labels, A::Error> {
            let mut labels = Labels::new();
            while let Some(name) = names.next_element::<&str>()? {
                labels.push(name).map_err(serde::de::Error::custom)?;
            }
            Ok(labels)
        }
    }
    deserializer.deserialize_seq(Names)
}

/// The session section, made once.
pub fn encode(header: &SessionHeader, geometry: &Geometry) -> Box<[u8]> {
    let mut bytes = vec![0; SESSION_BYTES_MAX];
    bytes[..16].copy_from_slice(&geometry.id);
    bytes[16..24].copy_from_slice(&geometry.step_bytes.to_le_bytes());
    bytes[24..28].copy_from_slice(&geometry.page_bytes.to_le_bytes());
    bytes[28..32].copy_from_slice(&geometry.record_bytes_max.to_le_bytes());
    let body = Written {
        schema: SCHEMAS[usize::from(!header.post.is_empty())],
        source: &header.source,
        picture: header.picture.map(PictureBody::new),
        rate_numerator: header.frame_rate.0,
        rate_denominator: header.frame_rate.1,
        network: &header.network,
        time_zone: &header.time_zone,
        clock: PairBody::new(header.clock),
        writer: &header.writer,
        series: header.series,
        part: header.part,
        labels: &header.labels,
    };
    const BOUNDED: &str = "SESSION_BYTES_MAX bounds every field";
    let mut end = FIXED_BYTES + postcard::to_slice(&body, &mut bytes[FIXED_BYTES..]).expect(BOUNDED).len();
    if !header.post.is_empty() {
        end += postcard::to_slice(header.post.as_str(), &mut bytes[end..]).expect(BOUNDED).len();
    }
    bytes.truncate(end);
    bytes.into_boxed_slice()
}

/// The geometry in a session section, unchecked but for its ranges.
pub fn geometry(bytes: &[u8]) -> Option<Geometry> {
    let fixed: &[u8; FIXED_BYTES] = bytes.first_chunk()?;
    let geometry = Geometry {
        id: *fixed.first_chunk()?,
        step_bytes: u64::from_le_bytes(*fixed[16..].first_chunk()?),
        page_bytes: u32::from_le_bytes(*fixed[24..].first_chunk()?),
        record_bytes_max: u32::from_le_bytes(*fixed[28..].first_chunk()?),
    };
    geometry.is_valid().then_some(geometry)
}

/// Reads a session section.
///
/// # Errors
/// [`RecordError::Body`].
pub fn decode(bytes: &[u8]) -> Result<SessionHeader, RecordError> {
    let wrong = RecordError::Body { what: "session header" };
    let id = *bytes.first_chunk().ok_or(wrong)?;
    let body = bytes.get(FIXED_BYTES..).ok_or(wrong)?;
    let (read, rest) = postcard::take_from_bytes::<Read>(body).map_err(|_| wrong)?;
    let post = match read.schema {
        0 | 1 => "",
        _ => postcard::take_from_bytes::<&str>(rest).map_err(|_| wrong)?.0,
    };
    let picture = match read.picture {
        None => None,
        Some(picture) => Some(picture.info().ok_or(wrong)?),
    };
    Ok(SessionHeader {
        id,
        series: read.series,
        part: read.part,
        source: bounded(read.source),
        picture,
        frame_rate: (read.rate_numerator, read.rate_denominator),
        network: bounded(read.network),
        post: bounded(post),
        labels: read.labels,
        clock: read.clock.pair(),
        time_zone: bounded(read.time_zone),
        writer: bounded(read.writer),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    fn largest() -> SessionHeader {
        let mut source = SourceInfo::new(&"s".repeat(NAME_BYTES_MAX));
        source.picture = Some(PictureInfo::packed(PixelFormat::Bgr888, 640, 480));
        source.network = bounded(&"n".repeat(NAME_BYTES_MAX));
        source.time_zone = bounded(&"z".repeat(NAME_BYTES_MAX));
        source.post = bounded(&"p".repeat(POST_NAME_BYTES_MAX));
        for _ in 0..LABELS_MAX {
            source.labels.push(&"l".repeat(LABEL_TEXT_BYTES_MAX / LABELS_MAX)).unwrap();
        }
        SessionHeader::from_source(&source, ClockPair::default(), [7; 16])
    }

    #[test]
    fn the_largest_session_comes_back() {
        let header = largest();
        let geometry = Geometry { id: header.id, step_bytes: 1 << 20, page_bytes: 4096, record_bytes_max: 1 << 18 };
        let bytes = encode(&header, &geometry);
        assert_eq!(decode(&bytes), Ok(header));
        assert_eq!(super::geometry(&bytes), Some(geometry));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn two_random_ids_differ() {
        assert_ne!(random_id().unwrap(), random_id().unwrap());
    }
}
