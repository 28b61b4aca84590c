//! `cargo +nightly fuzz run --fuzz-dir fuzz/cargo-fuzz share`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| potluck_fuzz::libfuzzer::feed("share", input));
