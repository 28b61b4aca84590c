//! Simulates the published figures again: `cargo run --release -p potluck-scale --example validate`.
#![allow(clippy::print_stdout, reason = "an example prints what it found")]

use potluck_scale::studies::{OneByOne, validate};

fn main() {
    let report =
        validate::run(&validate::Options { seeds: (1..=5).collect(), quick: false }, &OneByOne);
    println!("{report}");
}
