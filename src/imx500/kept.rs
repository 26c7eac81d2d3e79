//! One frame's metadata as a recording keeps it: 16 bytes that say what follows, then the sensor's own bytes.
//!
//! ```text
//! offset bytes name          type  meaning
//!      0     4 magic         bytes "IMX5"
//!      4     1 form          u8    1 full: the whole buffer; 2 results: without input tensor, PQ line and stale bytes
//!      5     1 flags         u8    bit 0: register lines are rounded up to 16 bytes (unicam)
//!      6     2 width         u16   of the sensor's mode, pixels
//!      8     4 buffer_bytes  u32   of the buffer as the sensor's node gave it
//!     12     2 output_line   u16   DNN line of the output header in that buffer; 0: not known
//!     14     2 –             u16   zero, ignored
//!     16     … bytes               form 1: the buffer; form 2: register lines, KPI line, input header's line,
//!                                  output header's line, and the output tensors' lines if the header says valid
//! ```
//!
//! Bytes are cut by position, never by what they hold, so that a damaged buffer stays as damaged as it was. In form 2 the
//! output header stands on DNN line 2, right behind the input header's line; [`Parser::kept`](super::Parser::kept) knows that.

use super::{LINE_BYTES, Layout, Malformed, ParseError, region};

/// Bytes in front of the sensor's own.
pub const KEPT_HEADER_BYTES: usize = 16;
const MAGIC: [u8; 4] = *b"IMX5";
const STRIDED: u8 = 1;

/// How much of a buffer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// All of it.
    Full,
    /// Registers, run times, headers, output tensors: what results are made of.
    Results,
}

impl Form {
    /// The DNN line that the output header is on in bytes of this form, when it is on `line` of the buffer.
    pub(super) const fn output_line(self, line: usize) -> usize {
        match self {
            Self::Full => line,
            Self::Results => 2,
        }
    }
}

/// A kept buffer, lent. Holding it proves that its header is plausible, not that the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept<'a> {
    /// Where the register lines end.
    pub layout: Layout,
    /// What of the buffer is there.
    pub form: Form,
    /// Bytes of the buffer as the sensor's node gave it.
    pub buffer_bytes: u32,
    /// DNN line of the output header in that buffer, if it was known.
    pub output_line: Option<u16>,
    /// The sensor's bytes.
    pub bytes: &'a [u8],
}

impl<'a> Kept<'a> {
    /// Reads what [`Cut::write`] wrote.
    ///
    /// # Errors
    /// [`Malformed::Kept`]: these are not bytes of this format. Offsets count from the start of `section`.
    pub fn parse(section: &'a [u8]) -> Result<Self, ParseError> {
        let h = region(section, 0, KEPT_HEADER_BYTES)?;
        let wrong = |offset| ParseError::new(offset, Malformed::Kept);
        if h[..4] != MAGIC {
            return Err(wrong(0));
        }
        let form = match h[4] {
            1 => Form::Full,
            2 => Form::Results,
            _ => return Err(wrong(4)),
        };
        let width = u32::from(u16::from_le_bytes([h[6], h[7]]));
        if !(16..=4096).contains(&width) {
            return Err(wrong(6));
        }
        let output_line = u16::from_le_bytes([h[12], h[13]]);
        Ok(Self {
            layout: Layout { width, strided: h[5] & STRIDED != 0 },
            form,
            buffer_bytes: u32::from_le_bytes([h[8], h[9], h[10], h[11]]),
            output_line: (output_line != 0).then_some(output_line),
            bytes: &section[KEPT_HEADER_BYTES..],
        })
    }

    /// The whole buffer, when all of it is there.
    pub const fn buffer(&self) -> Option<&'a [u8]> {
        match self.form {
            Form::Full => Some(self.bytes),
            Form::Results => None,
        }
    }
}

/// The parts of a buffer that are kept.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'a> {
    header: [u8; KEPT_HEADER_BYTES],
    parts: [&'a [u8]; 2],
}

impl<'a> Cut<'a> {
    /// Decides what of `buffer` to keep. `output`: DNN line of the output header and number of lines from there on that
    /// count (1 when the header says not valid); `None` when nobody knows, then form [`Form::Results`] ends with the input
    /// header's line.
    pub fn new(buffer: &'a [u8], layout: Layout, form: Form, output: Option<(usize, usize)>) -> Self {
        let upto = |end: usize| end.min(buffer.len());
        let dnn = upto(layout.dnn_offset());
        let has_dnn = buffer.len() - dnn >= 2 * LINE_BYTES;
        let parts = match (form, output) {
            (Form::Full, _) => [buffer, &[]],
            (Form::Results, _) if !has_dnn => [&buffer[..dnn], &[]],
            (Form::Results, None) => [&buffer[..upto(dnn + 2 * LINE_BYTES)], &[]],
            (Form::Results, Some((line, lines))) => {
                let start = dnn.saturating_add(line.saturating_mul(LINE_BYTES));
                let end = start.saturating_add(lines.saturating_mul(LINE_BYTES));
                [&buffer[..upto(dnn + 2 * LINE_BYTES)], &buffer[upto(start)..upto(end)]]
            }
        };
        let mut header = [0; KEPT_HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC);
        header[4] = if form == Form::Full { 1 } else { 2 };
        header[5] = if layout.strided { STRIDED } else { 0 };
        header[6..8].copy_from_slice(&(layout.width as u16).to_le_bytes());
        header[8..12].copy_from_slice(&(u32::try_from(buffer.len()).unwrap_or(u32::MAX)).to_le_bytes());
        let line = output.and_then(|(line, _)| u16::try_from(line).ok()).unwrap_or(0);
        header[12..14].copy_from_slice(&line.to_le_bytes());
        Self { header, parts }
    }

    /// Bytes that [`write`](Self::write) writes.
    pub const fn len(&self) -> usize {
        KEPT_HEADER_BYTES + self.parts[0].len() + self.parts[1].len()
    }

    /// Never true: there is always a header.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Copies header and parts into `target`.
    ///
    /// # Panics
    /// When `target` has not exactly [`len`](Self::len) bytes.
    pub fn write(&self, target: &mut [u8]) {
        let (header, rest) = target.split_at_mut(KEPT_HEADER_BYTES);
        let (first, second) = rest.split_at_mut(self.parts[0].len());
        header.copy_from_slice(&self.header);
        first.copy_from_slice(self.parts[0]);
        second.copy_from_slice(self.parts[1]);
    }
}

/// Largest kept section: of buffers of `buffer_bytes` whose output tensors take `output_lines` lines with their header.
pub const fn kept_bytes_max(form: Form, layout: Layout, buffer_bytes: usize, output_lines: u16) -> usize {
    let bytes = match form {
        Form::Full => buffer_bytes,
        Form::Results => layout.dnn_offset() + LINE_BYTES * (2 + output_lines as usize),
    };
    KEPT_HEADER_BYTES + bytes
}
