//! The one error that callers of the assembled library see. Each operation has its own; this one only collects them.

use crate::slot::TooBig;
use crate::source::SourceError;

/// Any failure of the library. The message names the thing, the place and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source cannot be used or cannot go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A picture cannot be compressed or decompressed.
    #[cfg(feature = "jpeg")]
    #[error(transparent)]
    Jpeg(#[from] crate::jpeg::JpegError),
    /// A frame is larger than the memory that was set aside for it.
    #[error(transparent)]
    TooBig(#[from] TooBig),
    /// A recording could not be begun.
    #[error(transparent)]
    Create(#[from] crate::recording::CreateError),
    /// A recording cannot be opened.
    #[error(transparent)]
    Open(#[from] crate::recording::OpenError),
    /// A frame or record cannot be read.
    #[error(transparent)]
    Read(#[from] crate::recording::ReadError),
    /// A recording cannot take a record.
    #[error(transparent)]
    Append(#[from] crate::recording::AppendError),
    /// A recording could not be closed.
    #[error(transparent)]
    Finish(#[from] crate::recording::FinishError),
    /// A recording could not be repaired or cut.
    #[error(transparent)]
    Copy(#[from] crate::recording::CopyError),
    /// A recording takes no more frames; what it has can be read.
    #[error(transparent)]
    Ended(#[from] crate::sink::Ended),
    /// A setting is out of its range or contradicts another.
    #[error("{0}")]
    Setting(String),
    /// The operating system refused.
    #[error("{doing}: {error}")]
    Io {
        /// What was tried, with the name of the thing.
        doing: String,
        /// The system's answer.
        #[source]
        error: std::io::Error,
    },
}

impl Error {
    /// What kind of refusal of the operating system it is, where it is one.
    pub fn io_kind(&self) -> Option<std::io::ErrorKind> {
        use crate::recording::CreateError;
        match self {
            Self::Io { error, .. }
            | Self::Source(SourceError::Io { error, .. })
            | Self::Create(CreateError::Io { error, .. }) => Some(error.kind()),
            Self::Create(CreateError::Exists { .. }) => Some(std::io::ErrorKind::AlreadyExists),
            _ => None,
        }
    }

    /// For `map_err`: what was tried, and the system's answer.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let doing = doing.into();
        move |error| Self::Io { doing, error }
    }
}

/// What the library's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;
