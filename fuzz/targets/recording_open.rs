//! Fuzzes everything that reads a recording.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::recording_open::check(bytes));
