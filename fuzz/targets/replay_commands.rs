//! Fuzzes the Replay operator with frames, commands and settings.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::replay_commands::check(bytes));
