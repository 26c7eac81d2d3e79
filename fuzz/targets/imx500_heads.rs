//! Fuzzes the post-processings of an IMX500's tensors.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::imx500_heads::check(bytes));
