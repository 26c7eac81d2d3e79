//! Fuzzes the text of trigger rules.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kinora_fuzz::trigger_rule::check(bytes));
