//! The Sony IMX500's metadata buffer: from the bytes of one buffer to registers, headers and tensor views.
//!
//! ```text
//! byte 0          2 × stride     + 2560           + 2560 × (I + 1)                        end
//!  ┌──────────────┬─────────────┬────────────────┬───────────────┬────────────────┬─────┬───────┐
//!  │ 2 register   │ KPI, line 0 │ input header   │ output header │ output tensors │ PQ  │ stale │
//!  │ lines        │             │ and body       │ line I + 1    │                │     │ bytes │
//!  └──────────────┴─────────────┴────────────────┴───────────────┴────────────────┴─────┴───────┘
//! ```
//!
//! The sensor describes its tensors in a small FlatBuffer (`apParams`) that stands in every header. It is walked once for
//! each network and compared byte by byte afterwards; the line of the output header is computed from it, never searched.
//! Nothing here allocates, and no byte is read before the last byte of its region was checked.
//!
//! Layout: the sensor driver and both CSI receivers of the Raspberry Pi's kernel, libcamera's parser, and captures of a
//! real sensor agree on it.

pub mod decode;
#[cfg(feature = "std")]
mod deployment;
mod describe;
mod encode;
mod flat;
mod header;
mod intrinsics;
mod json;
mod kept;
mod network;
mod package;
mod parser;
pub mod picture;
mod registers;
mod stream;
mod tensor;
mod window;

#[cfg(feature = "std")]
pub use deployment::Network;
pub use describe::DescriptionTooLarge;
pub use encode::{BufferFacts, Encoder, RawElements};
pub use header::{TensorHeader, TensorType};
pub use intrinsics::{BadIntrinsics, Intrinsics, IntrinsicsError, Task};
pub use kept::{Cut, Form, KEPT_HEADER_BYTES, Kept, kept_bytes_max};
pub use network::{Dimension, InputTensor, NetworkDescription, OutputTensor};
pub use package::{BadPackage, Normalisation, Package, PackageError, PlaneOrder};
pub use parser::{Inference, Kpi, LockStep, Parser, Step};
#[cfg(feature = "v4l2")]
pub(crate) use registers::PIXEL_CLOCK_HZ;
pub use registers::Registers;
pub use stream::buffer_bytes;
pub use tensor::{InputView, OutputView, TensorView};
pub use window::InferenceWindow;

use core::fmt;

/// Bytes from one DNN line to the next.
pub const LINE_BYTES: usize = 2560;

/// What the driver adds to a buffer for the register lines: those of the full resolution, whatever the mode.
pub const REGISTER_BYTES_MAX: usize = 10_144;

/// Where the register lines end and the DNN lines begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Width of the sensor's mode: 2028 or 4056.
    pub width: u32,
    /// True where the receiver rounds lines up to 16 bytes: unicam (Pi 4, Zero 2 W). False on rp1-cfe (Pi 5).
    pub strided: bool,
}

impl Layout {
    /// Bytes from one register line to the next: RAW10, four pixels in five bytes.
    pub const fn register_stride(self) -> usize {
        let packed = self.width as usize * 10 / 8;
        if self.strided { packed.next_multiple_of(16) } else { packed }
    }

    /// First byte of DNN line 0.
    pub const fn dnn_offset(self) -> usize {
        2 * self.register_stride()
    }
}

/// Why a buffer, or one part of it, cannot be used, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Byte of the buffer where the trouble is.
    pub offset: usize,
    /// What it is.
    pub kind: Malformed,
}

/// What can be wrong with a metadata buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// A region of `needed` bytes leaves the buffer.
    Cut {
        /// Bytes of the region.
        needed: usize,
    },
    /// A register line does not begin with 0x0A.
    RegisterLineStart,
    /// Every fifth byte of a register line is 0x55, this one is not.
    RegisterDummy,
    /// A register tag that does not exist, or half an end tag.
    RegisterTag(u8),
    /// A register that everybody needs is not in the lines.
    RegisterMissing(u16),
    /// The header's bytes are all zero: the sensor has not written it yet. Normal after a start.
    BlankHeader,
    /// Tensor type other than the one that belongs here.
    TensorType(u8),
    /// Useful bytes of a line out of `1..=2560`, or not a multiple of an element.
    LineLength(u16),
    /// Bytes of apParams out of `8..=2548`.
    ParamsSize(u16),
    /// The output header's count, sizes or network differ from the input header's.
    HeadersDiffer,
    /// An offset, vtable or count of the FlatBuffer leaves it.
    FlatBuffer,
    /// More networks, tensors or dimensions than any package has.
    TooMany,
    /// The header names a network that apParams describe never or twice.
    NetworkId(u16),
    /// Number of input or output tensors.
    TensorCount(usize),
    /// Dimensions that contradict themselves, are empty, or too large.
    Dimensions,
    /// Element of other than 8, 16, 32 bits, or neither signed nor unsigned.
    ElementType,
    /// Scale is not finite.
    Scale,
    /// Input picture wider than 1280, higher than 960, or not of 1, 3 or 4 channels.
    InputSize,
    /// The line of the output header is not known: no valid input header was seen yet.
    OutputLineUnknown,
    /// Two ways to compute the output header's line disagree.
    OutputLine {
        /// From the package's registers.
        package: u16,
        /// From the input tensor's size.
        computed: u16,
    },
    /// The bytes of a frame in a recording are not metadata of this sensor.
    Kept,
}

impl ParseError {
    const fn new(offset: usize, kind: Malformed) -> Self {
        Self { offset, kind }
    }

    /// The same error in a buffer in which this one begins at `base`.
    const fn at(self, base: usize) -> Self {
        Self { offset: self.offset + base, kind: self.kind }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata byte {}: ", self.offset)?;
        match self.kind {
            Malformed::Cut { needed } => write!(f, "{needed} bytes leave the buffer"),
            Malformed::RegisterLineStart => write!(f, "register line does not begin with 0x0a"),
            Malformed::RegisterDummy => write!(f, "register line has no 0x55 in a fifth byte"),
            Malformed::RegisterTag(tag) => write!(f, "illegal register tag {tag:#04x}"),
            Malformed::RegisterMissing(address) => write!(f, "register {address:#06x} is missing"),
            Malformed::BlankHeader => write!(f, "the tensor header is blank"),
            Malformed::TensorType(found) => write!(f, "tensor type {found} does not belong here"),
            Malformed::LineLength(found) => write!(f, "{found} useful bytes in a line of {LINE_BYTES}"),
            Malformed::ParamsSize(found) => write!(f, "{found} bytes of apParams do not fit into a header line"),
            Malformed::HeadersDiffer => write!(f, "output header does not match the input header"),
            Malformed::FlatBuffer => write!(f, "apParams point outside themselves"),
            Malformed::TooMany => write!(f, "apParams hold more networks, tensors or dimensions than any package"),
            Malformed::NetworkId(id) => write!(f, "network {id} is not described exactly once"),
            Malformed::TensorCount(count) => write!(f, "{count} tensors"),
            Malformed::Dimensions => write!(f, "the dimensions of a tensor contradict themselves"),
            Malformed::ElementType => write!(f, "element type of a tensor"),
            Malformed::Scale => write!(f, "scale of a tensor is not finite"),
            Malformed::InputSize => write!(f, "input tensor is no picture of at most 1280x960x4"),
            Malformed::OutputLineUnknown => write!(f, "no valid input header yet, the output's place is unknown"),
            Malformed::OutputLine { package, computed } => {
                write!(f, "output header on line {package} by the package, on {computed} by the input tensor")
            }
            Malformed::Kept => write!(f, "these are no kept bytes of an IMX500"),
        }
    }
}

impl core::error::Error for ParseError {}

/// `bytes[start..start + len]`, or an error at the last byte that is there.
fn region(bytes: &[u8], start: usize, len: usize) -> Result<&[u8], ParseError> {
    let end = start.checked_add(len);
    let cut = ParseError::new(start.min(bytes.len()), Malformed::Cut { needed: len });
    end.and_then(|end| bytes.get(start..end)).ok_or(cut)
}
