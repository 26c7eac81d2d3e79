//! Masks and heat maps as modlib packs them: base64 of gzip of the raw bytes.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode::RequireCanonical;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

use super::defect::Reason;

/// Standard base64 with padding. Like Python it ignores the bits that the last character has too many.
static BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true).with_decode_padding_mode(RequireCanonical),
);

/// Appends the base64 text of `bytes`.
pub(super) fn write_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // The room is exact, so this cannot fail.
    let written = BASE64.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
}

/// Bytes that `text` stands for if it is base64.
pub(super) fn base64_len(text: &[u8]) -> usize {
    let padding = text.iter().rev().take(2).take_while(|&&byte| byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// Decodes `text` into `out`, which has room for [`base64_len`] bytes. Returns how many were written.
pub(super) fn read_base64(key: &'static str, text: &[u8], out: &mut [u8]) -> Result<usize, Reason> {
    BASE64.decode_slice(text, out).map_err(|error| Reason::Base64 { key, why: error.to_string().into() })
}

/// Unpacks masks, again and again with the same memory.
#[derive(Debug)]
pub(super) struct Unpacker {
    inflate: Decompress,
    packed: Vec<u8>,
    at: usize,
    crc: Crc,
    ended: bool,
    key: &'static str,
}

const HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;

impl Unpacker {
    pub fn new() -> Self {
        Self { inflate: Decompress::new(false), packed: Vec::new(), at: 0, crc: Crc::new(), ended: true, key: "" }
    }

    /// Unpacks `text` into exactly `out`: never more than that, whatever the bytes say.
    pub fn unpack(&mut self, key: &'static str, text: &[u8], out: &mut [u8]) -> Result<(), Reason> {
        let expected = out.len();
        self.open(key, text)?;
        self.fill(out, expected)?;
        self.finish(expected)
    }

    /// Begins with another packed text, for those who unpack in pieces.
    pub fn open(&mut self, key: &'static str, text: &[u8]) -> Result<(), Reason> {
        self.key = key;
        // The decoder asks for room for whole groups of four characters.
        self.packed.resize(text.len().div_ceil(4) * 3, 0);
        let len = read_base64(key, text, &mut self.packed)?;
        self.packed.truncate(len);
        self.at = self.skip_header()?;
        self.inflate.reset(false);
        self.crc.reset();
        self.ended = false;
        Ok(())
    }

    /// The next `out.len()` bytes. `expected` is for the message: bytes in all.
    pub fn fill(&mut self, out: &mut [u8], expected: usize) -> Result<(), Reason> {
        let mut done = 0;
        while done < out.len() {
            let wrote = self.step(&mut out[done..])?;
            if wrote == 0 {
                return Err(Reason::Unpacked { key: self.key, found: "fewer", expected });
            }
            done += wrote;
        }
        self.crc.update(out);
        Ok(())
    }

    /// Checks that nothing is left and that the checksum holds.
    pub fn finish(&mut self, expected: usize) -> Result<(), Reason> {
        let key = self.key;
        if self.step(&mut [0])? != 0 {
            return Err(Reason::Unpacked { key, found: "more", expected });
        }
        let trailer = self.packed.get(self.at..).unwrap_or_default();
        let Ok(trailer) = <[u8; TRAILER_BYTES]>::try_from(trailer) else {
            return Err(Reason::Gzip { key, why: "it does not end with its checksum" });
        };
        let [c0, c1, c2, c3, l0, l1, l2, l3] = trailer;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.crc.sum() {
            return Err(Reason::Gzip { key, why: "its checksum is wrong" });
        }
        if u32::from_le_bytes([l0, l1, l2, l3]) != expected as u32 {
            return Err(Reason::Gzip { key, why: "its length field is wrong" });
        }
        Ok(())
    }

    /// Inflates into `out` once; 0 bytes means that the stream has ended or cannot go on.
    fn step(&mut self, out: &mut [u8]) -> Result<usize, Reason> {
        if self.ended {
            return Ok(0);
        }
        let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
        let input = &self.packed[self.at..];
        let status = self.inflate.decompress(input, out, FlushDecompress::None);
        self.at += (self.inflate.total_in() - before_in) as usize;
        match status {
            Ok(Status::StreamEnd) => self.ended = true,
            Ok(Status::Ok | Status::BufError) => {}
            Err(_) => return Err(Reason::Gzip { key: self.key, why: "its data is damaged" }),
        }
        Ok((self.inflate.total_out() - before_out) as usize)
    }

    /// Offset of the compressed data behind the header of RFC 1952.
    fn skip_header(&self) -> Result<usize, Reason> {
        let bad = |why| Err(Reason::Gzip { key: self.key, why });
        let Some((header, _)) = self.packed.split_at_checked(HEADER_BYTES) else {
            return bad("it is shorter than a header");
        };
        if header[..3] != [0x1F, 0x8B, 8] {
            return bad("it does not begin with 1F 8B 08");
        }
        // Python writes no name, comment, extra field or header checksum.
        if header[3] & !1 != 0 { bad("it has header fields that modlib does not write") } else { Ok(HEADER_BYTES) }
    }
}

/// Packs masks, again and again with the same memory.
#[derive(Debug)]
pub(super) struct Packer {
    deflate: Compress,
    packed: Vec<u8>,
}

impl Packer {
    pub fn new() -> Self {
        Self { deflate: Compress::new(Compression::default(), false), packed: Vec::new() }
    }

    /// Appends the packed text of `raw`. The same bytes always give the same text: the time in the header is 0.
    pub fn pack(&mut self, out: &mut Vec<u8>, raw: &[u8]) {
        self.packed.clear();
        self.packed.extend_from_slice(&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]);
        self.deflate.reset();
        loop {
            let taken = self.deflate.total_in() as usize;
            self.packed.reserve(raw.len() - taken + 64);
            // Compression into memory fails only when it is used wrongly.
            match self.deflate.compress_vec(&raw[taken..], &mut self.packed, FlushCompress::Finish) {
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) | Err(_) => break,
            }
        }
        let mut crc = Crc::new();
        crc.update(raw);
        self.packed.extend_from_slice(&crc.sum().to_le_bytes());
        self.packed.extend_from_slice(&(raw.len() as u32).to_le_bytes());
        write_base64(out, &self.packed);
    }
}

/// The part of an instance's canvas that its crop covers: first row and column, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub top: usize,
    pub left: usize,
    pub height: usize,
    pub width: usize,
}

impl Window {
    pub const fn pixels(&self) -> usize {
        self.height * self.width
    }
}

/// The crop that modlib derives from a box on a canvas of `height` x `width`: floor and ceiling of the edges, clamped to
/// the canvas, at least one pixel where the canvas has one left. `None` when an edge is not a number. Source:
/// `InstanceSegments._bbox_to_slices` of modlib 1.5.0; the box is float32, the products are double.
pub(super) fn window([x0, y0, x1, y1]: [f32; 4], height: usize, width: usize) -> Option<Window> {
    let side = |low: f32, high: f32, size: usize| {
        let (low, high) = (f64::from(low) * size as f64, f64::from(high) * size as f64);
        if low.is_nan() || high.is_nan() {
            return None;
        }
        // A cast from float to integer saturates, so infinities clamp like numpy's.
        let first = (low.floor().max(0.0) as usize).min(size);
        let mut end = (high.ceil().max(0.0) as usize).min(size);
        if end <= first {
            end = (first + 1).min(size);
        }
        Some((first, end - first))
    };
    let (left, columns) = side(x0, x1, width)?;
    let (top, rows) = side(y0, y1, height)?;
    Some(Window { top, left, height: rows, width: columns })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(raw: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        Packer::new().pack(&mut text, raw);
        text
    }

    #[test]
    fn packed_bytes_come_back_and_packing_is_deterministic() {
        let raw: Vec<u8> = (0..10_000_u32).map(|i| ((i * i) >> 5) as u8).collect();
        let mut packer = Packer::new();
        let mut unpacker = Unpacker::new();
        for len in [0, 1, 2, 3, 255, 10_000] {
            let mut text = Vec::new();
            packer.pack(&mut text, &raw[..len]);
            assert_eq!(text, packed(&raw[..len]));
            let mut out = vec![7; len];
            unpacker.unpack("mask", &text, &mut out).unwrap();
            assert_eq!(out, raw[..len]);
        }
    }

    #[test]
    fn pythons_own_packing_is_read() {
        // base64.b64encode(gzip.compress(bytes([1, 0, 1]), mtime=0)) of Python 3.11.
        let mut out = [9; 3];
        Unpacker::new().unpack("mask", b"H4sIAAAAAAACA2NkYAQAs4OEiQMAAAA=", &mut out).unwrap();
        assert_eq!(out, [1, 0, 1]);
    }

    #[test]
    fn a_bomb_is_unpacked_no_further_than_its_shape_says() {
        let text = packed(&vec![0; 8 << 20]);
        let mut out = [0; 16];
        let more = Unpacker::new().unpack("mask", &text, &mut out);
        assert_eq!(more, Err(Reason::Unpacked { key: "mask", found: "more", expected: 16 }));
        let fewer = Unpacker::new().unpack("mask", &packed(&[1; 15]), &mut out);
        assert_eq!(fewer, Err(Reason::Unpacked { key: "mask", found: "fewer", expected: 16 }));
    }

    #[test]
    fn every_flipped_byte_of_a_packed_mask_is_noticed_or_harmless() {
        let raw: Vec<u8> = (0..200).map(|i| (i % 7) as u8).collect();
        let text = packed(&raw);
        let mut unpacker = Unpacker::new();
        for at in 0..text.len() {
            for flip in 1..=255 {
                let mut text = text.clone();
                text[at] ^= flip;
                let mut out = vec![0; raw.len()];
                if unpacker.unpack("mask", &text, &mut out).is_ok() {
                    assert_eq!(out, raw, "byte {at} ^ {flip}");
                }
            }
        }
    }

    #[test]
    fn crops_are_cut_as_modlib_cuts_them() {
        // Left: box and canvas; right: what modlib 1.5.0's _bbox_to_slices answers, as (top, left, height, width).
        let table = [
            ([0.1, 0.2, 0.3, 0.4], (10, 20), (2, 2, 3, 5)),
            ([0.0, 0.0, 1.0, 1.0], (10, 20), (0, 0, 10, 20)),
            ([0.5, 0.5, 0.5, 0.5], (10, 20), (5, 10, 1, 1)),
            ([1.0, 1.0, 1.0, 1.0], (10, 20), (10, 20, 0, 0)),
            ([-1.0, -0.5, f32::INFINITY, 2.0], (10, 20), (0, 0, 10, 20)),
        ];
        for (bbox, (height, width), (top, left, rows, columns)) in table {
            let expected = Window { top, left, height: rows, width: columns };
            assert_eq!(window(bbox, height, width), Some(expected), "{bbox:?}");
        }
        assert_eq!(window([f32::NAN, 0.0, 1.0, 1.0], 10, 20), None);
    }
}
