//! Parameters of fetching and serving.

use std::time::Duration;

/// Parameters of fetching and serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Fetches under way at once; more are refused.
    pub fetches_max: usize,
    /// Blobs that are served.
    pub holdings_max: usize,
    /// Sources known to one fetch.
    pub sources_max: usize,
    /// Sources that one fetch asks for data at once: 8 to 16 neighbours are enough for a swarm to
    /// stay within a hundredth of the bound.
    pub active_max: usize,
    /// Most bytes asked of one source and not yet there: with half of them left when more is asked
    /// for, 1 Gbit/s at 130 ms.
    pub outstanding_bytes_max: u64,
    /// Fetch streams served at once; further ones wait.
    pub serves_max: usize,
    /// Fetch streams of one node, served or waiting.
    pub serves_per_peer: usize,
    /// Fetch streams that wait.
    pub queue_max: usize,
    /// How often a source that has only part of a blob is asked what it has by now. A guess: a
    /// granule takes 20 ms to 1 s on common links.
    pub have_interval: Duration,
    /// How often providers are looked up: the first pause, doubled up to 120 times of it. Short at first,
    /// since what was shared a moment ago is announced a moment later.
    pub find_interval: Duration,
    /// How long a fetch goes on without any source.
    pub patience: Duration,
    /// How often providers are announced anew: a third of the life of their records.
    pub announce_interval: Duration,
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
        }
    }
}
