//! Equal reads of one node share lookups, so that a popular record causes no storm of them.
//!
//! A node has at most [`READS_AT_ONCE`] reads of a key under way. Further ones wait until one of these
//! ends, and then share the next read. That read begins after all of them were asked for, so it returns
//! what a read of their own would have returned: sharing makes no answer older. For the same reason a
//! result is not kept for later reads: it could be older than a write that another node was told is
//! acknowledged.

use std::collections::BTreeMap;

use potluck_base::Key;

use crate::command::CommandId;

/// Reads of one key under way at once. More of them answer concurrent readers sooner and cost more
/// lookups when many read one key. A guess.
const READS_AT_ONCE: usize = 4;

/// What makes two reads equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SharedRead {
    pub(crate) key: Key,
    /// Replicas that must agree; `None`: the configured number.
    pub(crate) quorum: Option<u16>,
}

#[derive(Debug, Clone, Default)]
struct Reads {
    running: usize,
    waiting: Vec<CommandId>,
}

/// The reads under way and those that wait, by key. The limit of concurrent commands bounds both.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedReads {
    reads: BTreeMap<SharedRead, Reads>,
}

impl SharedReads {
    /// Whether the read begins now; else it waits and shares the next one.
    pub(crate) fn begins(&mut self, read: SharedRead, id: CommandId) -> bool {
        let reads = self.reads.entry(read).or_default();
        let begins = reads.running < READS_AT_ONCE;
        if begins {
            reads.running += 1;
        } else {
            reads.waiting.push(id);
        }
        begins
    }

    /// A read ended. Returns the commands that share the next one, which begins now; none if none waits.
    pub(crate) fn ended(&mut self, read: SharedRead) -> Vec<CommandId> {
        let Some(reads) = self.reads.get_mut(&read) else { return Vec::new() };
        let sharing = std::mem::take(&mut reads.waiting);
        if sharing.is_empty() {
            reads.running = reads.running.saturating_sub(1);
        }
        if reads.running == 0 {
            self.reads.remove(&read);
        }
        sharing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: SharedRead = SharedRead { key: Key::from_bytes([1; 32]), quorum: None };

    #[test]
    fn four_reads_run_and_the_others_share_the_next_one() {
        let mut reads = SharedReads::default();
        for id in 1..=4 {
            assert!(reads.begins(READ, CommandId(id)));
        }
        for id in 5..=7 {
            assert!(!reads.begins(READ, CommandId(id)));
        }
        let strict = SharedRead { quorum: Some(2), ..READ };
        assert!(reads.begins(strict, CommandId(8)), "another quorum is another read");
        assert_eq!(reads.ended(READ), [CommandId(5), CommandId(6), CommandId(7)]);
        assert!(!reads.begins(READ, CommandId(9)), "the shared read is the fourth");
        for _ in 0..4 {
            reads.ended(READ);
        }
        reads.ended(READ);
        reads.ended(strict);
        assert!(reads.reads.is_empty(), "no key is kept without a read");
    }
}
