//! What the fuzzers call: ordinary functions that take any bytes and panic when something does not hold. `cargo test` calls
//! the same functions on the committed corpora (`tests/fuzz_corpora.rs`), without a fuzzer.

pub mod control_line;
pub mod imx500_heads;
pub mod imx500_kept;
pub mod imx500_metadata;
pub mod imx500_package;
pub mod imx500_seeds;
pub mod json_line;
pub mod mjpeg;
pub mod pickle;
pub mod playback_commands;
pub mod recording_open;
pub mod recording_operations;
pub mod replay_commands;
pub mod samples;
pub mod trigger_rule;
