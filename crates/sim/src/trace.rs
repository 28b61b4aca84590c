//! The events of a run, as one hash and as a short log for people.
//!
//! Each node has a chain of hashes over the events that reached it, with their bytes; the hash of a run
//! covers all chains. The order of events at different nodes enters it by their times only, because that
//! order is not defined between shards; so the hash does not depend on the number of shards. Two runs with
//! the same hash were the same run; the same seed must give the same hash.

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

/// The events of one node, or those of the world itself, as a chain of hashes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    hash: [u8; 16],
    events: u64,
}

impl Chain {
    /// The number of events that it covers.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    /// Adds one event: time, kind and bytes.
    pub(crate) fn event(&mut self, at: Instant, kind: [u8; 4], bytes: &[u8]) {
        self.events += 1;
        let mut head = [0; 32];
        head[..16].copy_from_slice(&self.hash);
        head[16..24].copy_from_slice(&at.as_micros().to_le_bytes());
        head[24..28].copy_from_slice(&kind);
        head[28..].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        let mut hasher = blake3::Hasher::new();
        hasher.update(&head).update(bytes);
        self.hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    }
}

/// A notable event for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Note {
    pub(crate) at: Instant,
    /// The number of the node that it is about.
    pub(crate) node: usize,
    pub(crate) line: String,
    /// Whether a machine broke its contract.
    pub(crate) broken: bool,
}

/// The last notable events of a world.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(VecDeque<(Instant, String)>);

impl Log {
    pub(crate) fn push(&mut self, at: Instant, line: String) {
        if self.0.len() == LINES_MAX {
            self.0.pop_front();
        }
        self.0.push_back((at, line));
    }
}

/// The trace of a run so far.
#[derive(Debug, Clone)]
pub struct Trace<'a> {
    hash: TraceHash,
    events: u64,
    log: &'a Log,
}

impl<'a> Trace<'a> {
    /// The trace of these chains. Each chain is identified by its position.
    pub(crate) fn of<'b>(seed: u64, chains: impl Iterator<Item = &'b Chain>, log: &'a Log) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 simulation trace");
        hasher.update(&seed.to_le_bytes());
        let mut events = 0;
        for chain in chains {
            events += chain.events;
            hasher.update(&chain.hash).update(&chain.events.to_le_bytes());
        }
        Self { hash: TraceHash(*hasher.finalize().as_bytes()), events, log }
    }

    /// The hash of everything so far.
    #[must_use]
    pub const fn hash(&self) -> TraceHash {
        self.hash
    }

    /// The number of events that it covers.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// The last notable events, oldest first, one line each: the virtual time and a description.
    pub fn log(&self) -> impl Iterator<Item = String> + use<'a> {
        let Log(lines) = self.log;
        lines.iter().map(|(at, line)| format!("{at:?} {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_seed_node_order_and_bytes() {
        // Each event is a letter for the node at its position: upper case for the second node.
        let run = |seed, events: &[&str]| {
            let mut chains = [Chain::default(), Chain::default()];
            for bytes in events {
                let node = usize::from(bytes.starts_with(char::is_uppercase));
                chains[node].event(Instant::ZERO, *b"data", bytes.to_lowercase().as_bytes());
            }
            Trace::of(seed, chains.iter(), &Log::default()).hash()
        };
        let base = run(1, &["a", "b", "C"]);
        assert_eq!(base, run(1, &["C", "a", "b"]), "nodes are apart");
        assert_ne!(base, run(2, &["a", "b", "C"]));
        for other in [&["b", "a", "C"][..], &["ab", "C"], &["A", "B", "c"], &["a", "b"]] {
            assert_ne!(base, run(1, other), "{other:?}");
        }
    }

    #[test]
    fn the_log_keeps_the_last_lines_only() {
        let mut log = Log::default();
        (0..=LINES_MAX).for_each(|line| log.push(Instant::ZERO, line.to_string()));
        let trace = Trace::of(1, std::iter::empty(), &log);
        assert_eq!(trace.log().count(), LINES_MAX);
        assert_eq!(trace.log().last(), Some(format!("0.000000s {LINES_MAX}")));
    }
}
