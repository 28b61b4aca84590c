//! What happened, as one hash and as a short log for people.
//!
//! The hash runs over every event that reached a node, with its bytes. Two runs with the same hash
//! were the same run; the same seed must give the same hash.

use std::collections::VecDeque;
use std::fmt;

use potluck_base::Instant;

/// Lines of the log kept; older ones are dropped.
const LINES_MAX: usize = 512;

/// The hash of a run so far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceHash([u8; 32]);

impl fmt::Display for TraceHash {
    /// The first eight bytes: enough to compare by eye.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TraceHash({self})")
    }
}

/// The running hash and the log of one world.
#[derive(Debug, Clone)]
pub struct Trace {
    hasher: blake3::Hasher,
    events: u64,
    log: VecDeque<(Instant, String)>,
}

impl Trace {
    pub(crate) fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 simulation trace");
        hasher.update(&seed.to_le_bytes());
        Self { hasher, events: 0, log: VecDeque::new() }
    }

    /// Takes one event in: when, to whom, what, and its bytes.
    pub(crate) fn event(&mut self, at: Instant, node: usize, kind: &'static [u8; 4], bytes: &[u8]) {
        self.events += 1;
        let mut head = [0; 24];
        head[..8].copy_from_slice(&at.as_micros().to_le_bytes());
        head[8..12].copy_from_slice(kind);
        head[12..16].copy_from_slice(&(node as u32).to_le_bytes());
        head[16..].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(&head);
        self.hasher.update(bytes);
    }

    /// Notes something for people; it enters the hash as well.
    pub(crate) fn note(&mut self, at: Instant, line: String) {
        self.event(at, usize::MAX, b"note", line.as_bytes());
        if self.log.len() == LINES_MAX {
            self.log.pop_front();
        }
        self.log.push_back((at, line));
    }

    /// The hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> TraceHash {
        TraceHash(*self.hasher.finalize().as_bytes())
    }

    /// How many events it covers.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The last remarkable events, oldest first, one line each: virtual time and what happened.
    pub fn log(&self) -> impl Iterator<Item = String> {
        self.log.iter().map(|(at, line)| format!("{at:?} {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_seed_order_and_bytes() {
        let run = |seed, events: &[&[u8]]| {
            let mut trace = Trace::new(seed);
            for bytes in events {
                trace.event(Instant::ZERO, 1, b"data", bytes);
            }
            trace.hash()
        };
        let base = run(1, &[b"a", b"b"]);
        assert_eq!(base, run(1, &[b"a", b"b"]));
        for other in [run(2, &[b"a", b"b"]), run(1, &[b"b", b"a"]), run(1, &[b"ab"])] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn the_log_keeps_the_last_lines_only() {
        let mut trace = Trace::new(1);
        for line in 0..=LINES_MAX {
            trace.note(Instant::ZERO, line.to_string());
        }
        assert_eq!(trace.log().count(), LINES_MAX);
        assert_eq!(trace.log().last(), Some(format!("0.000000s {LINES_MAX}")));
    }
}
