//! Fuzzes the lines of JSON that steer a replay.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::control_line::check(bytes));
