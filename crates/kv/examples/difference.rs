//! What comparing replicas costs: `cargo run --release -p potluck-kv --example difference`.
//!
//! Two machines exchange their real messages without disks and network; bytes are those of the encoded
//! messages, and for each 188 bytes of headers, seal, IP and UDP. The records themselves, which a node pulls
//! once it has found that it lacks them, are not counted.

#[path = "../tests/difference/pair.rs"]
mod pair;

use std::io::{self, Write as _};
use std::time::Duration;

use pair::scattered;

/// Virtual time between two looks whether both hold the same.
const LOOK: Duration = Duration::from_secs(15);
/// Virtual time after which differences must be mended.
const MENDED_WITHIN: Duration = Duration::from_secs(900);
/// Virtual time for which two nodes in sync are watched.
const WATCHED: Duration = Duration::from_secs(1200);

fn main() -> io::Result<()> {
    let mut out = io::stdout();
    for differences in [1, 10, 100, 1_000, 10_000] {
        let mut pair = scattered(1_000_000, differences);
        let mut took = Duration::ZERO;
        while !pair.agree() && took < MENDED_WITHIN {
            pair.run(LOOK);
            took += LOOK;
        }
        let result = if pair.agree() { "found and mended" } else { "NOT mended" };
        writeln!(
            out,
            "1,000,000 records, {differences} scattered differences: {} bytes in {} messages, \
             {result} within {} s",
            pair.bytes,
            pair.messages,
            took.as_secs()
        )?;
    }
    for count in [10, 10_000_000] {
        let mut pair = scattered(count, 0);
        pair.run(WATCHED);
        let comparisons = pair.stats(0).comparisons + pair.stats(1).comparisons;
        writeln!(
            out,
            "{count} records each, in sync: {comparisons} comparisons in {} s, {} messages, {:.1} \
             bytes a second of both",
            WATCHED.as_secs(),
            pair.messages,
            pair.bytes as f64 / WATCHED.as_secs_f64()
        )?;
    }
    Ok(())
}
