//! Fuzzes the reader and writer of modlib's JSON lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::json_line::check(bytes));
