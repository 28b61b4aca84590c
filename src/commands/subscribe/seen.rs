//! Remembers the printed messages, so that none is printed twice.

use std::collections::{BTreeSet, VecDeque};

use potluck::MessageId;

/// Messages that are remembered: more than a node keeps for subscribers that reconnect. A guess.
const SEEN_MAX: usize = 65_536;

/// The last messages.
#[derive(Debug, Default)]
pub(super) struct Seen {
    set: BTreeSet<MessageId>,
    order: VecDeque<MessageId>,
}

impl Seen {
    /// Adds a message; returns whether it is new.
    pub(super) fn is_new(&mut self, id: &str) -> bool {
        // A message without a valid id cannot be recognised.
        let Ok(id) = id.parse::<MessageId>() else { return true };
        if !self.set.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::Identity;

    use super::*;

    #[test]
    fn a_message_is_new_once_and_memory_has_a_limit() {
        let publisher = Identity::from_seed([1; 32]).public_key();
        let id = |sequence| MessageId { publisher, incarnation: 1, sequence }.to_string();
        let mut seen = Seen::default();
        assert!(seen.is_new(&id(1)) && !seen.is_new(&id(1)));
        (2..=SEEN_MAX as u64 + 1).for_each(|sequence| assert!(seen.is_new(&id(sequence))));
        assert_eq!((seen.set.len(), seen.order.len()), (SEEN_MAX, SEEN_MAX));
        assert!(!seen.is_new(&id(2)), "still remembered");
        assert!(seen.is_new(&id(1)), "the oldest is forgotten");
    }
}
