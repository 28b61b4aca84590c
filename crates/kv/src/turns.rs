//! The order of this node's writes to one key.
//!
//! A write has the turn from the moment when it takes the writer's own envelope until the next one is
//! durable, so no two writes of this node issue the same dot.

use std::collections::{BTreeMap, VecDeque};

use potluck_base::Key;

use crate::command::CommandId;

/// Writes of this node to one key that are queued, the one with the turn included; further ones fail as
/// busy. A guess. Raising it costs memory, and the last of the queue may not get its turn in time.
const TURNS_MAX: usize = 64;

/// What became of a write that was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queued {
    /// It has the turn.
    Now,
    /// Other writes have the turn before it.
    Later,
    /// It was not queued: too many writes are.
    Full,
}

/// The writes queued per key: the first has the turn, the others wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turns {
    by_key: BTreeMap<Key, VecDeque<CommandId>>,
}

impl Turns {
    /// Queues a write for its turn.
    pub(crate) fn queue(&mut self, key: Key, id: CommandId) -> Queued {
        let queue = self.by_key.entry(key).or_default();
        if queue.len() >= TURNS_MAX {
            return Queued::Full;
        }
        queue.push_back(id);
        if queue.len() == 1 { Queued::Now } else { Queued::Later }
    }

    /// The last of the writes that wait for their turn.
    pub(crate) fn last_waiting(&self, key: &Key) -> Option<CommandId> {
        let queue = self.by_key.get(key)?;
        queue.back().copied().filter(|_| queue.len() > 1)
    }

    /// Takes a write off the queue. Returns the write whose turn begins by that.
    pub(crate) fn leave(&mut self, key: Key, id: CommandId) -> Option<CommandId> {
        let queue = self.by_key.get_mut(&key)?;
        let had_turn = queue.front() == Some(&id);
        queue.retain(|waiting| *waiting != id);
        let next = queue.front().copied();
        if next.is_none() {
            self.by_key.remove(&key);
        }
        next.filter(|_| had_turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key::from_bytes([1; 32]);

    #[test]
    fn the_next_write_has_the_turn_when_the_one_before_it_leaves() {
        let mut turns = Turns::default();
        assert_eq!(turns.queue(KEY, CommandId(1)), Queued::Now);
        assert_eq!(turns.last_waiting(&KEY), None, "it does not wait");
        assert_eq!(turns.queue(KEY, CommandId(2)), Queued::Later);
        assert_eq!(turns.queue(KEY, CommandId(3)), Queued::Later);
        assert_eq!(turns.last_waiting(&KEY), Some(CommandId(3)));
        assert_eq!(turns.leave(KEY, CommandId(2)), None, "the first one keeps the turn");
        assert_eq!(turns.leave(KEY, CommandId(2)), None, "it has left");
        assert_eq!(turns.leave(KEY, CommandId(1)), Some(CommandId(3)));
        assert_eq!(turns.leave(KEY, CommandId(3)), None);
        assert!(turns.by_key.is_empty(), "no key is kept without a write");
        assert_eq!(turns.queue(KEY, CommandId(4)), Queued::Now);
    }

    #[test]
    fn a_queue_has_64_writes_and_no_more() {
        let mut turns = Turns::default();
        for id in 1..=64 {
            assert_ne!(turns.queue(KEY, CommandId(id)), Queued::Full);
        }
        assert_eq!(turns.queue(KEY, CommandId(65)), Queued::Full);
        assert_eq!(turns.leave(KEY, CommandId(65)), None, "it was not queued");
        assert_eq!(turns.queue(Key::from_bytes([2; 32]), CommandId(66)), Queued::Now);
        assert_eq!(turns.leave(KEY, CommandId(1)), Some(CommandId(2)));
        assert_eq!(turns.queue(KEY, CommandId(67)), Queued::Later, "there is room again");
    }
}
