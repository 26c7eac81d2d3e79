//! Fuzzes the parser of metadata that a recording keeps.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::imx500_kept::check(bytes));
