//! The header of a tensor: 12 bytes and the apParams after them, all on one line.

use super::{LINE_BYTES, Malformed, ParseError, region};

const HEADER_BYTES: usize = 12;

/// Which tensor a header speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TensorType {
    /// The picture that the network saw.
    Input,
    /// What it made of it.
    Output,
}

/// One header, plausible by itself. Holding it proves that its apParams lie inside the buffer, not that they are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorHeader<'a> {
    /// 0: this tensor is not valid; else it is.
    pub frame_valid: u8,
    /// The sensor's frame counter: 0..=254, then 0 again; 255 in software standby.
    pub frame_count: u8,
    /// Useful bytes of each line, `1..=2560`.
    pub line_bytes: u16,
    /// Input or output.
    pub tensor_type: TensorType,
    /// Which network of apParams runs.
    pub network_id: u16,
    /// Undocumented; not zero in real data.
    pub reserved: [u8; 3],
    /// DNN line that the header is on; the tensor's body begins on the next.
    pub line: usize,
    /// The FlatBuffer that describes the tensors, padded to 16 bytes.
    pub params: &'a [u8],
}

impl<'a> TensorHeader<'a> {
    /// Reads the header on DNN line `line`; `dnn` begins with line 0.
    pub(super) fn parse(dnn: &'a [u8], line: usize, expected: TensorType) -> Result<Self, ParseError> {
        let start = line * LINE_BYTES;
        let h = region(dnn, start, HEADER_BYTES)?;
        let error = |offset: usize, kind| Err(ParseError::new(start + offset, kind));
        if h.iter().all(|&b| b == 0) {
            return error(0, Malformed::BlankHeader);
        }
        let u16_at = |i: usize| u16::from_le_bytes([h[i], h[i + 1]]);
        let (line_bytes, params_bytes, network_id) = (u16_at(2), u16_at(4), u16_at(6));
        let tensor_type = match h[8] {
            0 => TensorType::Input,
            1 => TensorType::Output,
            other => return error(8, Malformed::TensorType(other)),
        };
        if tensor_type != expected {
            return error(8, Malformed::TensorType(h[8]));
        }
        if line_bytes == 0 || usize::from(line_bytes) > LINE_BYTES {
            return error(2, Malformed::LineLength(line_bytes));
        }
        if params_bytes < 8 || usize::from(params_bytes) > LINE_BYTES - HEADER_BYTES {
            return error(4, Malformed::ParamsSize(params_bytes));
        }
        Ok(Self {
            frame_valid: h[0],
            frame_count: h[1],
            line_bytes,
            tensor_type,
            network_id,
            reserved: [h[9], h[10], h[11]],
            line,
            params: region(dnn, start + HEADER_BYTES, usize::from(params_bytes))?,
        })
    }

    /// True when the sensor says that the tensor behind this header is good.
    pub const fn is_valid(&self) -> bool {
        self.frame_valid != 0
    }

    /// First DNN line of the tensor.
    pub const fn body_line(&self) -> usize {
        self.line + 1
    }

    /// True when both headers speak of the same frame and network.
    pub(super) fn matches(&self, other: &Self) -> bool {
        self.frame_count == other.frame_count
            && self.line_bytes == other.line_bytes
            && self.params.len() == other.params.len()
            && self.network_id == other.network_id
    }

    /// Offset of the apParams in the DNN part, for errors.
    pub(super) const fn params_offset(&self) -> usize {
        self.line * LINE_BYTES + HEADER_BYTES
    }
}
