//! Instant replay: the operator over the rolling window.

pub mod machine;
pub mod settings;
pub mod text;
