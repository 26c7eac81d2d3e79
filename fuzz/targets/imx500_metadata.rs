//! Fuzzes the parser of an IMX500's metadata buffers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::imx500_metadata::check(bytes));
