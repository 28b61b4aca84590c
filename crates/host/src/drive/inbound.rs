//! Calls of peers that the node has not answered yet.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::Instant;
use potluck_node::InboundId;

/// Calls that wait for the node's answer; further ones are refused.
const WAITING_MAX: usize = 1024;
/// Time after which an unanswered call is dropped. By then the caller has given up (see the transport's
/// call timeout).
const WAIT_MAX: Duration = Duration::from_secs(15);

/// The responders of unanswered calls, oldest first.
#[derive(Debug)]
pub(super) struct Inbound<R> {
    waiting: BTreeMap<InboundId, (Instant, R)>,
    next: u64,
    refused: u64,
}

impl<R> Inbound<R> {
    pub(super) const fn new() -> Self {
        Self { waiting: BTreeMap::new(), next: 0, refused: 0 }
    }

    /// Adds a responder; returns it if there are too many.
    pub(super) fn add(&mut self, now: Instant, responder: R) -> Result<InboundId, R> {
        if self.waiting.len() >= WAITING_MAX {
            self.refused += 1;
            return Err(responder);
        }
        let id = InboundId(self.next);
        self.next += 1;
        self.waiting.insert(id, (now, responder));
        Ok(id)
    }

    /// Takes the responder of call `id`, if the call is still open.
    pub(super) fn take(&mut self, id: InboundId) -> Option<R> {
        self.waiting.remove(&id).map(|(_, responder)| responder)
    }

    /// Drops the calls that have waited too long.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.waiting.first_entry()
            && now.since(oldest.get().0) > WAIT_MAX
        {
            oldest.remove();
        }
    }

    /// The number of unanswered calls.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The number of refused calls since the start.
    pub(super) const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_over_the_limit_are_given_back_and_old_ones_make_room() {
        let mut inbound = Inbound::new();
        let start = Instant::ZERO;
        for n in 0..WAITING_MAX {
            assert!(inbound.add(start, n).is_ok());
        }
        assert_eq!(inbound.add(start, 9999), Err(9999));
        assert_eq!(inbound.refused(), 1);
        assert_eq!(inbound.take(InboundId(5)), Some(5));
        assert_eq!(inbound.take(InboundId(5)), None);
        let late = inbound.add(start + WAIT_MAX, 1).unwrap();
        inbound.expire(start + WAIT_MAX);
        assert_eq!(inbound.len(), WAITING_MAX);
        inbound.expire(start + WAIT_MAX + Duration::from_micros(1));
        assert_eq!(inbound.len(), 1);
        assert_eq!(inbound.take(late), Some(1));
    }
}
