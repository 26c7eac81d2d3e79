//! Fuzzes the player's commands over recordings of any times.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::playback_commands::check(bytes));
