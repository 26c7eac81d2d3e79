//! Fuzzes the reader of network packages (.rpk).
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::imx500_package::check(bytes));
