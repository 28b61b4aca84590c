//! Peers that are ignored for a while, since several of their requests carried bad signatures.
//!
//! **Invariant:** at most [`IGNORED_MAX`] keys; the one unused for longest is forgotten, and the core
//! drops its requests all the same.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use potluck_base::{LruMap, PublicKey};

/// Peers that are remembered. Each proved its key, so only many members together can displace others.
const IGNORED_MAX: usize = 1024;

/// The ignored peers of a transport.
#[derive(Debug)]
pub(super) struct Ignored {
    until: Mutex<LruMap<PublicKey, Instant>>,
}

impl Ignored {
    pub(super) fn new() -> Self {
        Self { until: Mutex::new(LruMap::new(IGNORED_MAX)) }
    }

    /// Ignores the holder of this key from now on, for `time`.
    pub(super) fn add(&self, key: PublicKey, time: Duration) {
        self.until.lock().insert(key, Instant::now() + time);
    }

    /// Whether the holder of this key is ignored now.
    pub(super) fn contains(&self, key: &PublicKey) -> bool {
        let mut until = self.until.lock();
        let ignored = until.peek(key).map(|until| Instant::now() < *until);
        if ignored == Some(false) {
            until.remove(key);
        }
        ignored == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_ignored_for_its_time_only() {
        let (ignored, key) = (Ignored::new(), PublicKey::from_bytes([1; 32]));
        assert!(!ignored.contains(&key));
        ignored.add(key, Duration::from_secs(3600));
        assert!(ignored.contains(&key) && !ignored.contains(&PublicKey::from_bytes([2; 32])));
        ignored.add(key, Duration::ZERO);
        assert!(!ignored.contains(&key) && ignored.until.lock().is_empty());
    }
}
