//! What is known about JPEG pictures without the library that makes them: how they are wanted, and what their markers say.
//! Cheap enough for every frame, core only.
//!
//! [`JpegHeader::read`] walks the segments from SOI to the first scan and looks for EOI at the end. It proves that the bytes
//! have the frame of a JPEG picture of a size within our limits; whether the entropy-coded data inside is sound only a
//! decoder can tell.
//!
//! Source: ITU-T T.81, annex B.

use core::fmt;

use crate::limits::SIDE_PIXELS_MAX;

/// How coarse the colours are beside the brightness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subsampling {
    /// One colour for 2 × 2 pixels: what cameras and video do.
    #[default]
    S420,
    /// One colour for 2 × 1 pixels.
    S422,
    /// One colour a pixel. YUYV has only one for 2 × 1 and NV12 and YUV420 only one for 2 × 2; they stay at that.
    S444,
}

/// How pictures are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JpegOptions {
    /// `1..=100`, libjpeg's scale. Default 80: about 30 KB for a street at 640 × 480.
    pub quality: u8,
    /// Default 4:2:0.
    pub subsampling: Subsampling,
}

impl Default for JpegOptions {
    fn default() -> Self {
        Self { quality: 80, subsampling: Subsampling::S420 }
    }
}

/// Size and kind of a JPEG picture, from its own markers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JpegHeader {
    /// Pixels in a row, `1..=SIDE_PIXELS_MAX`.
    pub width: u32,
    /// Rows, `1..=SIDE_PIXELS_MAX`.
    pub height: u32,
    /// Colour components: 1 (grey), 3 or 4.
    pub components: u8,
    /// Bytes from SOI to EOI, both included. Cameras pad what they send after EOI with zeros; those are beyond it.
    pub bytes: usize,
    /// Where Huffman tables have to be put in (before the first scan), if the picture needs some and has none: cameras
    /// leave them out, because they are always the same.
    pub tables_missing_at: Option<usize>,
}

/// Why bytes are not a JPEG picture that can be used, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JpegHeaderError {
    /// The first two bytes are not SOI.
    NoStart {
        /// What stands there (zeros beyond the end).
        found: [u8; 2],
    },
    /// The bytes end without EOI: the picture is torn.
    NoEnd {
        /// How many bytes there are.
        length: usize,
    },
    /// A segment does not lie wholly inside the bytes, or no marker stands where one must.
    BadSegment {
        /// Where.
        offset: usize,
    },
    /// A coding process that no decoder here knows (hierarchical, differential), or a strange number of components.
    Unsupported {
        /// Where.
        offset: usize,
        /// The marker's second byte.
        marker: u8,
    },
    /// A side is zero or above the limit.
    BadSize {
        /// Pixels in a row as claimed.
        width: u32,
        /// Rows as claimed.
        height: u32,
    },
}

impl fmt::Display for JpegHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoStart { found: [a, b] } => {
                write!(f, "not a JPEG picture: it begins with {a:#04x} {b:#04x}, not 0xff 0xd8")
            }
            Self::NoEnd { length } => write!(f, "JPEG picture of {length} bytes is torn: no end marker"),
            Self::BadSegment { offset } => write!(f, "JPEG picture has a bad segment at byte {offset}"),
            Self::Unsupported { offset, marker } => {
                write!(f, "JPEG picture of an unsupported kind (marker 0xff {marker:#04x} at byte {offset})")
            }
            Self::BadSize { width, height } => {
                write!(f, "JPEG picture claims {width}x{height}; both must be 1..={SIDE_PIXELS_MAX}")
            }
        }
    }
}

impl core::error::Error for JpegHeaderError {}

const START: u8 = 0xd8;
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
/// DHT.
const TABLES: u8 = 0xc4;
/// The first of the frame kinds that are coded without Huffman tables.
const ARITHMETIC: u8 = 0xc9;

impl JpegHeader {
    /// Reads the markers of `bytes`, which are to be one picture, perhaps followed by padding of zeros.
    ///
    /// Cost: a look at each segment before the first scan (some ten) and at the padding; nothing is copied.
    ///
    /// # Errors
    /// The bytes are torn, not JPEG, or of a size or kind that is refused.
    pub fn read(bytes: &[u8]) -> Result<Self, JpegHeaderError> {
        if !bytes.starts_with(&[0xff, START]) {
            let at = |index: usize| bytes.get(index).copied().unwrap_or(0);
            return Err(JpegHeaderError::NoStart { found: [at(0), at(1)] });
        }
        let length = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        if length < 4 || bytes[length - 2..length] != [0xff, END] {
            return Err(JpegHeaderError::NoEnd { length: bytes.len() });
        }
        let mut header = None;
        let mut has_tables = false;
        let mut offset = 2;
        let scan_at = loop {
            let at = offset;
            let (marker, body) = segment(&bytes[..length], &mut offset)?;
            match marker {
                SCAN => break at,
                TABLES => has_tables = true,
                _ if is_frame(marker) => {
                    header = Some((frame(marker, body, offset - body.len() - 4)?, marker >= ARITHMETIC));
                }
                _ => {}
            }
        };
        let (frame, arithmetic) = header.ok_or(JpegHeaderError::BadSegment { offset })?;
        let (width, height, components) = frame;
        let tables_missing_at = (!has_tables && !arithmetic).then_some(scan_at);
        Ok(Self { width, height, components, bytes: length, tables_missing_at })
    }
}

/// The marker at `offset` and the bytes of its segment; `offset` moves behind it.
fn segment<'a>(bytes: &'a [u8], offset: &mut usize) -> Result<(u8, &'a [u8]), JpegHeaderError> {
    let bad = JpegHeaderError::BadSegment { offset: *offset };
    if bytes.get(*offset) != Some(&0xff) {
        return Err(bad);
    }
    // Any number of 0xff may fill the room before a marker (B.1.1.2).
    let fill = bytes[*offset..].iter().take_while(|&&byte| byte == 0xff).count();
    let at = *offset + fill;
    let marker = *bytes.get(at).ok_or(bad)?;
    // Markers without a segment (RSTn, SOI, EOI, TEM) have no place before the first scan.
    if matches!(marker, 0x00 | 0x01 | 0xd0..=END) {
        return Err(bad);
    }
    let length = bytes.get(at + 1..at + 3).map(|two| usize::from(u16::from_be_bytes([two[0], two[1]]))).ok_or(bad)?;
    let body = bytes.get(at + 3..at + 1 + length.max(2)).filter(|_| length >= 2).ok_or(bad)?;
    *offset = at + 1 + length;
    Ok((marker, body))
}

/// SOFn: all of 0xc0..=0xcf but DHT, JPG and DAC.
const fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

fn frame(marker: u8, body: &[u8], offset: usize) -> Result<(u32, u32, u8), JpegHeaderError> {
    let [_precision, h0, h1, w0, w1, components, ..] = *body else {
        return Err(JpegHeaderError::BadSegment { offset });
    };
    let (width, height) = (u16::from_be_bytes([w0, w1]).into(), u16::from_be_bytes([h0, h1]).into());
    if !matches!(marker, 0xc0..=0xc2 | 0xc9 | 0xca) || !matches!(components, 1 | 3 | 4) {
        return Err(JpegHeaderError::Unsupported { offset, marker });
    }
    let good = 1..=SIDE_PIXELS_MAX;
    if !good.contains(&width) || !good.contains(&height) {
        return Err(JpegHeaderError::BadSize { width, height });
    }
    Ok((width, height, components))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SOI, APP0 of 4 bytes, SOF0, SOS, two bytes of data, EOI.
    const TINY: [u8; 31] = [
        0xff, 0xd8, 0xff, 0xe0, 0, 6, 1, 2, 3, 4, 0xff, 0xc0, 0, 9, 8, 1, 224, 2, 128, 1, 0, 0xff, 0xda, 0, 2, 5, 6,
        0xff, 0xd9, 0, 0,
    ];

    #[test]
    fn size_and_length_come_from_the_markers_and_padding_is_left_out() {
        let header = JpegHeader::read(&TINY).unwrap();
        assert_eq!(
            header,
            JpegHeader { width: 640, height: 480, components: 1, bytes: 29, tables_missing_at: Some(21) }
        );
        assert_eq!(JpegHeader::read(&TINY[..29]), Ok(header));
    }

    #[test]
    fn every_cut_is_refused_without_a_panic() {
        for end in 0..29 {
            assert!(JpegHeader::read(&TINY[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn every_changed_byte_gives_an_answer_within_the_limits() {
        for at in 0..29 {
            for value in 0..=255 {
                let mut bytes = TINY;
                bytes[at] = value;
                if let Ok(header) = JpegHeader::read(&bytes) {
                    assert!(header.width <= SIDE_PIXELS_MAX && header.height <= SIDE_PIXELS_MAX);
                    assert!(header.bytes <= bytes.len());
                }
            }
        }
    }

    #[test]
    fn a_picture_of_65535_by_65535_is_refused_with_its_size() {
        let mut bytes = TINY;
        bytes[15..19].fill(0xff);
        assert_eq!(JpegHeader::read(&bytes), Err(JpegHeaderError::BadSize { width: 65_535, height: 65_535 }));
        bytes[15..19].fill(0);
        assert_eq!(JpegHeader::read(&bytes), Err(JpegHeaderError::BadSize { width: 0, height: 0 }));
    }

    #[test]
    fn bytes_that_are_not_jpeg_say_what_they_begin_with() {
        assert_eq!(JpegHeader::read(b"PNG"), Err(JpegHeaderError::NoStart { found: *b"PN" }));
        assert_eq!(JpegHeader::read(&[]), Err(JpegHeaderError::NoStart { found: [0, 0] }));
        assert_eq!(JpegHeader::read(&TINY[..27]), Err(JpegHeaderError::NoEnd { length: 27 }));
    }
}
