//! What a watch reports.

use std::time::Duration;

use potluck_base::Key;
use potluck_record::{Reading, StateDigest};

/// A record that is watched, as it is from now on.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The key.
    pub key: Key,
    /// The values and their context; no value means absent or deleted.
    pub reading: Reading,
    /// Fingerprint of the state.
    pub digest: StateDigest,
    /// Whether the record had other states between this one and the one reported before.
    pub gap: Gap,
}

/// The states of a record that a watch did not report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gap {
    /// None, as far as the holders know.
    #[default]
    None,
    /// At least this number: they followed each other faster than they were read.
    AtLeast(u64),
    /// Perhaps some: the watch was without enough leases for a time.
    Unknown,
}

impl Gap {
    /// Whether states may be missing.
    #[must_use]
    pub const fn is_gap(self) -> bool {
        !matches!(self, Self::None)
    }

    /// The number of missing states, 0 for none; `None` if it is unknown.
    #[must_use]
    pub const fn missed(self) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::AtLeast(missed) => Some(missed),
            Self::Unknown => None,
        }
    }

    /// This gap and a later one, with a change between them that is left out.
    #[must_use]
    pub const fn then(self, later: Self) -> Self {
        match (self.missed(), later.missed()) {
            (Some(one), Some(other)) => Self::AtLeast(one.saturating_add(other).saturating_add(1)),
            (None, _) | (_, None) => Self::Unknown,
        }
    }
}

/// Parameters of watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchConfig {
    /// Keys that this node watches. Raising it costs memory and a few requests a key and lease.
    pub keys_max: usize,
    /// Bytes of the watched records together; a watch that exceeds them ends.
    pub bytes_max: usize,
    /// Holders that are asked for a lease, at most the replicas of a record. Raising it notices a change
    /// also when more holders fail at once, and costs a notification more a change.
    pub leases: usize,
    /// How long a lease lasts. Each is renewed at half of it. A longer lease costs less traffic and is
    /// missed for longer where a holder restarts unnoticed.
    pub lease: Duration,
    /// Between two reads while fewer than half of the leases are confirmed: a random time between the two.
    pub poll: (Duration, Duration),
    /// Shortest time between two reads of a key, and between two notifications of a lease. Changes in
    /// between are reported as one.
    pub pause: Duration,
    /// Leases that this node grants. Raising it costs memory.
    pub granted_max: usize,
    /// Leases that it grants to one peer, so that one peer cannot take all.
    pub granted_to_peer_max: usize,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            keys_max: 1024,
            bytes_max: 64 << 20,
            leases: 5,
            lease: Duration::from_secs(300),
            poll: (Duration::from_secs(15), Duration::from_secs(60)),
            pause: Duration::from_millis(200),
            granted_max: 4096,
            granted_to_peer_max: 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_add_up_and_an_unknown_one_stays_unknown() {
        assert_eq!(Gap::None.then(Gap::None), Gap::AtLeast(1));
        assert_eq!(Gap::AtLeast(2).then(Gap::AtLeast(3)), Gap::AtLeast(6));
        for (one, other) in [(Gap::Unknown, Gap::None), (Gap::AtLeast(1), Gap::Unknown)] {
            assert_eq!(one.then(other), Gap::Unknown);
        }
        let missed = [Gap::None, Gap::AtLeast(4), Gap::Unknown].map(Gap::missed);
        assert_eq!(missed, [Some(0), Some(4), None]);
        assert_eq!([Gap::None, Gap::Unknown].map(Gap::is_gap), [false, true]);
    }
}
