//! Instant replay: the operator over the rolling window.

pub mod machine;
pub mod settings;
#[cfg(feature = "std")]
pub mod status;
pub mod text;
#[cfg(feature = "std")]
pub mod window;
