//! Fuzzes what a camera calls a JPEG picture.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::mjpeg::check(bytes));
