//! Why a line or a pickle is not a frame, and at which byte.

use crate::jpeg_header::JpegHeaderError;
use crate::slot::TooBig;

/// A frame that could not be read: the byte (from the start of its line or pickle) and what is wrong there.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("byte {byte}: {reason}")]
pub struct Defect {
    /// Offset in the line or pickle, from 0.
    pub byte: usize,
    /// What is wrong.
    pub reason: Reason,
}

/// What can be wrong with a modlib frame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Not JSON, even with the bare words `NaN` and `Infinity` allowed.
    #[error("not JSON: {0}")]
    Syntax(Box<str>),
    /// The line or pickle is longer than the limit; it was skipped without being kept in memory.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// A line or a pickle.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The line ends without a line feed and is not JSON: the writer was cut off.
    #[error("the last line is torn: {0}")]
    Torn(Box<str>),
    /// A key that every modlib version writes is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value of the wrong type.
    #[error("{key} should be {expected}, found {found}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A number outside what the frame can hold exactly.
    #[error("{key} is outside {allowed}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// A word that modlib does not have.
    #[error("{key} is {found:?}, should be one of {known}")]
    UnknownWord {
        /// The key.
        key: &'static str,
        /// The word, cut after 64 bytes.
        found: Box<str>,
        /// What it may be.
        known: &'static str,
    },
    /// A column whose length does not fit the others.
    #[error("{key} has {found} entries, expected {expected}")]
    Length {
        /// The key.
        key: &'static str,
        /// Its entries.
        found: usize,
        /// Entries expected.
        expected: usize,
    },
    /// The shape of a mask or heat map that cannot be held.
    #[error("{key} is {height} x {width}: {why}")]
    Shape {
        /// The key.
        key: &'static str,
        /// Rows stated.
        height: u64,
        /// Columns stated.
        width: u64,
        /// Why not.
        why: &'static str,
    },
    /// Text that should be standard base64 and is not.
    #[error("{key} is not base64: {why}")]
    Base64 {
        /// The key.
        key: &'static str,
        /// What the decoder said.
        why: Box<str>,
    },
    /// Packed bytes that are not gzip, or damaged.
    #[error("{key} is not gzip: {why}")]
    Gzip {
        /// The key.
        key: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// A mask that unpacks to another size than its shape says.
    #[error("{key} unpacks to {found} bytes than the {expected} that its shape says")]
    Unpacked {
        /// The key.
        key: &'static str,
        /// `fewer` or `more`.
        found: &'static str,
        /// Bytes expected.
        expected: usize,
    },
    /// A box that says no crop: modlib takes the size of a mask from its box.
    #[error("bbox {0} is not a number, so its mask has no size")]
    NoCrop(usize),
    /// The `image` text is not a data URL.
    #[error("image is not a data URL (data:image/jpeg;base64,...)")]
    NotADataUrl,
    /// A picture of another kind than JPEG: it cannot be kept as it came.
    #[error("image is {0}, only JPEG pictures can be kept; re-encode it")]
    NotJpeg(&'static str),
    /// A JPEG that is cut or damaged in its headers.
    #[error("image: {0}")]
    Jpeg(JpegHeaderError),
    /// A timestamp that is not ISO 8601.
    #[error("timestamp {0:?} is not a date and time like 2025-06-14T10:32:07.419283")]
    Timestamp(Box<str>),
    /// The frame does not fit the slot that it was to be put into.
    #[error("{0}")]
    TooBig(TooBig),
    /// A pickle wants to call something that is not on the list of things that a modlib frame needs. Nothing was run.
    #[error("refused {module}.{name}: a modlib frame does not need it; nothing was executed")]
    Refused {
        /// Its module.
        module: Box<str>,
        /// Its name.
        name: Box<str>,
    },
    /// A pickle instruction that a modlib frame does not need.
    #[error("refused pickle instruction {0:#04x}: a modlib frame does not need it")]
    Opcode(u8),
    /// A pickle that is not well formed.
    #[error("damaged pickle: {0}")]
    Pickle(&'static str),
}

impl Reason {
    /// This reason at `byte`.
    pub(super) fn at(self, byte: usize) -> Defect {
        Defect { byte, reason: self }
    }
}

/// The first 64 characters of `text`, for a message.
pub(super) fn clipped(text: &str) -> Box<str> {
    text.chars().take(64).collect::<String>().into()
}
