//! Fuzzes the reader of modlib's pickles.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::pickle::check(bytes));
