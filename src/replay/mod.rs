//! Instant replay: the operator over the rolling window.

pub mod cadence;
#[cfg(feature = "std")]
pub mod control;
pub mod machine;
#[cfg(feature = "std")]
pub mod operator;
#[cfg(feature = "control")]
pub mod protocol;
#[cfg(feature = "std")]
mod recorded;
pub mod settings;
#[cfg(feature = "std")]
pub mod status;
#[cfg(feature = "std")]
mod store;
pub mod text;
#[cfg(feature = "std")]
pub mod window;
