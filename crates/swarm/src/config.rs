//! Parameters of fetching and serving.

use std::time::Duration;

use potluck_base::Defences;

/// Parameters of fetching and serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Concurrent fetches; further ones are refused.
    pub fetches_max: usize,
    /// Most blobs that are served. Raising it costs memory.
    pub holdings_max: usize,
    /// Most sources that one fetch knows.
    pub sources_max: usize,
    /// Sources that one fetch asks for data at once: 8 to 16 neighbours are enough for a swarm to
    /// stay within a hundredth of the bound.
    pub active_max: usize,
    /// Most bytes in flight from one source: more are requested when half of them are left, so this
    /// sustains 1 Gbit/s at a round trip of 130 ms.
    pub outstanding_bytes_max: u64,
    /// Concurrent fetch streams that are served; further ones wait. More of them share the upload rate.
    pub serves_max: usize,
    /// Fetch streams of one node, served or waiting.
    pub serves_per_peer: usize,
    /// Most fetch streams that wait; further ones are refused.
    pub queue_max: usize,
    /// Interval at which a source with part of a blob is asked for its granules. A guess: a
    /// granule takes 20 ms to 1 s on common links.
    pub have_interval: Duration,
    /// First pause between lookups of providers, doubled up to 120 times its length. It is short at
    /// first, because a blob that was just shared is announced a moment later.
    pub find_interval: Duration,
    /// Time for which a fetch continues without any source.
    pub patience: Duration,
    /// Interval at which providers are announced again: a third of the lifetime of their records.
    pub announce_interval: Duration,
    /// The enabled defences. All are enabled, except in tests that show the effect of one.
    pub defences: Defences,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            fetches_max: 256,
            holdings_max: 100_000,
            sources_max: 64,
            active_max: 16,
            outstanding_bytes_max: 32 * 1024 * 1024,
            serves_max: 64,
            serves_per_peer: 32,
            queue_max: 512,
            have_interval: Duration::from_millis(250),
            find_interval: Duration::from_millis(250),
            patience: Duration::from_secs(15),
            announce_interval: Duration::from_secs(20 * 60),
            defences: Defences::default(),
        }
    }
}
