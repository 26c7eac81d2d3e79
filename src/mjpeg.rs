//! Motion JPEG as cameras send it: finds the picture in a buffer, its size, and whether its Huffman tables are missing.
//!
//! Cameras pad buffers behind the end marker, and many leave out the Huffman tables that never change (AVI's "MJPG").
//! Programs that read single JPEG files need them, so [`Mjpeg::write_to`] puts the standard tables of the JPEG
//! specification (ITU-T T.81, annex K.3) in. Nothing is decoded here: the entropy-coded bytes pass as they are.

use core::fmt;

/// Bytes of the standard tables, which [`Mjpeg::write_to`] may add.
pub const TABLES_BYTES: usize = TABLES.len();

/// A picture in a camera's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mjpeg<'a> {
    /// From SOI to EOI.
    pub bytes: &'a [u8],
    /// Pixels in a row, from the frame header.
    pub width: u32,
    /// Rows, from the frame header.
    pub height: u32,
    /// Where the tables go if they are missing: before the scan header.
    missing_tables_at: Option<usize>,
}

/// Why a buffer holds no whole picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MjpegError {
    /// The first bytes are not `ff d8`.
    NoStart,
    /// No `ff d9`: the picture is cut.
    NoEnd,
    /// No marker where one has to be.
    NotAMarker {
        /// Offset of the byte that should be `ff`.
        at: usize,
    },
    /// A segment claims more bytes than there are, or fewer than its own length field.
    BadLength {
        /// Offset of the segment's marker.
        at: usize,
    },
    /// The scan begins before any frame header.
    NoFrameHeader,
    /// Width or height is zero.
    NoSize,
}

impl fmt::Display for MjpegError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStart => f.write_str("no JPEG picture: the first bytes are not ff d8"),
            Self::NoEnd => f.write_str("the JPEG picture is cut: no ff d9"),
            Self::NotAMarker { at } => write!(f, "no JPEG marker at byte {at}"),
            Self::BadLength { at } => write!(f, "the JPEG segment at byte {at} does not fit the picture"),
            Self::NoFrameHeader => f.write_str("the JPEG picture has no frame header"),
            Self::NoSize => f.write_str("the JPEG picture is 0 pixels wide or high"),
        }
    }
}

impl core::error::Error for MjpegError {}

impl<'a> Mjpeg<'a> {
    /// Finds the picture in `buffer`: it starts there, and ends with the last end marker; what follows is padding.
    ///
    /// # Errors
    /// There is no whole picture; which part is missing, and where.
    pub fn find(buffer: &'a [u8]) -> Result<Self, MjpegError> {
        if !buffer.starts_with(&[0xff, 0xd8]) {
            return Err(MjpegError::NoStart);
        }
        let end = buffer.windows(2).rposition(|pair| pair == [0xff, 0xd9]).ok_or(MjpegError::NoEnd)?;
        Self::headers(&buffer[..end + 2])
    }

    /// Walks the segments up to the scan, each at least four bytes long: marker and length.
    fn headers(bytes: &'a [u8]) -> Result<Self, MjpegError> {
        let (mut size, mut tables, mut at) = (None, false, 2);
        loop {
            let &[mark, kind, ref rest @ ..] = &bytes[at..] else { return Err(MjpegError::NotAMarker { at }) };
            match (mark, kind) {
                // Any number of fill bytes may stand before a marker.
                (0xff, 0xff) => at += 1,
                (0xff, 0xda) => break,
                (0xff, 0x01..=0xfe) => {
                    let body = segment(rest).ok_or(MjpegError::BadLength { at })?;
                    match kind {
                        0xc4 => tables = true,
                        0xc0..=0xc3 => size = Some(frame_size(body).ok_or(MjpegError::BadLength { at })?),
                        _ => {}
                    }
                    at += 4 + body.len();
                }
                _ => return Err(MjpegError::NotAMarker { at }),
            }
        }
        let (width, height) = size.ok_or(MjpegError::NoFrameHeader)?;
        if width == 0 || height == 0 {
            return Err(MjpegError::NoSize);
        }
        Ok(Self { bytes, width, height, missing_tables_at: (!tables).then_some(at) })
    }

    /// Bytes that [`Mjpeg::write_to`] needs.
    pub fn written_len(&self) -> usize {
        self.bytes.len() + if self.missing_tables_at.is_some() { TABLES_BYTES } else { 0 }
    }

    /// Copies the picture to the front of `target`, with tables, and returns its length; `None` when it does not fit.
    pub fn write_to(&self, target: &mut [u8]) -> Option<usize> {
        let target = target.get_mut(..self.written_len())?;
        let (head, scan) = self.bytes.split_at(self.missing_tables_at.unwrap_or(0));
        target[..head.len()].copy_from_slice(head);
        let scan_at = target.len() - scan.len();
        if self.missing_tables_at.is_some() {
            target[head.len()..scan_at].copy_from_slice(&TABLES);
        }
        target[scan_at..].copy_from_slice(scan);
        Some(target.len())
    }
}

/// The body of the segment whose length field `bytes` starts with.
fn segment(bytes: &[u8]) -> Option<&[u8]> {
    let length = usize::from(u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]));
    bytes.get(2..length)
}

/// Width and height out of a frame header: precision (1 byte), height (2), width (2), components.
fn frame_size(body: &[u8]) -> Option<(u32, u32)> {
    let &[_, h1, h0, w1, w0, ..] = body else { return None };
    Some((u32::from(u16::from_be_bytes([w1, w0])), u32::from(u16::from_be_bytes([h1, h0]))))
}

/// One DHT segment with the four tables of T.81, K.3.
#[rustfmt::skip]
const TABLES: [u8; 420] = [
    0xff, 0xc4, 0x01, 0xa2,
    // luminance DC
    0x00, 0x00, 0x01, 0x05, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
    // luminance AC
    0x10, 0x00, 0x02, 0x01, 0x03, 0x03, 0x02, 0x04, 0x03, 0x05, 0x05, 0x04, 0x04, 0x00, 0x00, 0x01, 0x7d,
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3,
    0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
    // chrominance DC
    0x01, 0x00, 0x03, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
    // chrominance AC
    0x11, 0x00, 0x02, 0x01, 0x02, 0x04, 0x04, 0x03, 0x04, 0x07, 0x05, 0x04, 0x04, 0x00, 0x01, 0x02, 0x77,
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1,
    0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a,
    0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba,
    0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;
    use std::vec::Vec;

    const FRAME: [u8; 19] = [0xff, 0xc0, 0, 17, 8, 1, 224, 2, 128, 3, 1, 0x21, 0, 2, 0x11, 1, 3, 0x11, 1];
    const SCAN: [u8; 8] = [0xff, 0xda, 0, 2, 0x12, 0x34, 0xff, 0xd9];

    fn picture(parts: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8];
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    #[test]
    fn padding_behind_the_end_marker_is_left_out() {
        let mut bytes = picture(&[&FRAME, &TABLES, &SCAN]);
        let whole = bytes.len();
        bytes.extend_from_slice(&[0; 100]);
        let found = Mjpeg::find(&bytes).unwrap();
        assert_eq!((found.bytes.len(), found.written_len(), found.width, found.height), (whole, whole, 640, 480));
        let mut copy = vec![0; whole];
        assert_eq!(found.write_to(&mut copy), Some(whole));
        assert_eq!(copy, bytes[..whole]);
        assert_eq!(found.write_to(&mut copy[..whole - 1]), None);
    }

    #[test]
    fn missing_tables_are_put_in_before_the_scan() {
        let bytes = picture(&[&FRAME, &SCAN]);
        let found = Mjpeg::find(&bytes).unwrap();
        let mut copy = vec![0; found.written_len()];
        found.write_to(&mut copy).unwrap();
        assert_eq!(copy, picture(&[&FRAME, &TABLES, &SCAN]));
        let length = usize::from(u16::from_be_bytes([TABLES[2], TABLES[3]]));
        assert_eq!(length + 2, TABLES.len(), "the segment's own length field");
    }

    #[cfg(feature = "jpeg")]
    #[test]
    fn the_tables_are_those_that_libjpeg_writes_and_a_picture_without_them_decodes_the_same() {
        let pixels: Vec<u8> = (0..64 * 48 * 3).map(|i| (i * i % 251) as u8).collect();
        let image = turbojpeg::Image {
            pixels: &pixels[..],
            width: 64,
            pitch: 192,
            height: 48,
            format: turbojpeg::PixelFormat::RGB,
        };
        let whole = turbojpeg::compress(image, 80, turbojpeg::Subsamp::Sub2x2).unwrap().to_vec();
        let without = without_tables(&whole);
        assert!(without.len() < whole.len());
        let found = Mjpeg::find(&without).unwrap();
        let mut restored = vec![0; found.written_len()];
        found.write_to(&mut restored).unwrap();
        let decode = |bytes: &[u8]| turbojpeg::decompress(bytes, turbojpeg::PixelFormat::RGB).unwrap().pixels;
        assert_eq!(decode(&restored), decode(&whole));
    }

    #[cfg(feature = "jpeg")]
    fn without_tables(bytes: &[u8]) -> Vec<u8> {
        let (mut kept, mut at) = (vec![0xff, 0xd8], 2);
        while bytes[at + 1] != 0xda {
            let end = at + 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            if bytes[at + 1] != 0xc4 {
                kept.extend_from_slice(&bytes[at..end]);
            }
            at = end;
        }
        kept.extend_from_slice(&bytes[at..]);
        kept
    }

    #[test]
    fn every_cut_of_a_picture_and_every_changed_byte_is_refused_or_still_inside_the_buffer() {
        let bytes = picture(&[&FRAME, &TABLES, &SCAN]);
        for end in 0..bytes.len() {
            assert!(Mjpeg::find(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x5a;
            if let Ok(found) = Mjpeg::find(&changed) {
                assert!(found.bytes.len() <= changed.len() && found.width > 0 && found.height > 0);
            }
        }
        assert_eq!(Mjpeg::find(&picture(&[&SCAN])), Err(MjpegError::NoFrameHeader));
        assert_eq!(Mjpeg::find(&picture(&[&[0x12, 0x34], &SCAN])), Err(MjpegError::NotAMarker { at: 2 }));
        assert_eq!(Mjpeg::find(&[0xff, 0xd8, 0xff, 0xe0, 0, 1, 0xff, 0xd9]), Err(MjpegError::BadLength { at: 2 }));
    }
}
