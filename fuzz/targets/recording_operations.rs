//! Fuzzes the writer, against a model and a disk that loses power.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::recording_operations::check(bytes));
