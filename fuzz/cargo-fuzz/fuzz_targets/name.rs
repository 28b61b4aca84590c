//! `cargo +nightly fuzz run --fuzz-dir fuzz/cargo-fuzz name`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| potluck_fuzz::libfuzzer::feed("name", input));
