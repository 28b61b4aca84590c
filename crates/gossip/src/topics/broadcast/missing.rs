//! Messages that neighbours announced and this node lacks: when to graft each, and from which
//! neighbour.
//!
//! Most of them arrive by themselves over the tree, so a node waits before it asks. A neighbour
//! that does not deliver what it announced loses score. **Invariant:** announcements cost a bounded
//! number of entries, each for a bounded time (in other programs invented ids filled the memory).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_base::{Instant, PublicKey};

use crate::message::MessageId;

/// Neighbours remembered for one message.
const SOURCES_MAX: usize = 4;
/// An announced message is grafted after this time at the latest, although the tree may still
/// deliver it.
const FLOW_MAX: Duration = Duration::from_secs(5);
/// Grafts for one message.
const TRIES_MAX: u8 = 3;

#[derive(Debug, Clone)]
struct Missing {
    heard: Instant,
    sources: Vec<PublicKey>,
    /// The neighbour asked last.
    asked: Option<PublicKey>,
    tries: u8,
    due: Instant,
}

/// How many missing messages there may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Messages of this topic.
    pub(super) room: usize,
    /// Messages that one peer announced.
    pub(super) per_peer: usize,
}

/// A message that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// The message.
    pub(super) id: MessageId,
    /// The neighbour to ask; `None` if none is left.
    pub(super) ask: Option<PublicKey>,
    /// The neighbour that was asked before and did not deliver.
    pub(super) unanswered: Option<PublicKey>,
}

/// The missing messages of one topic.
#[derive(Debug, Clone, Default)]
pub(super) struct MissingMessages {
    open: BTreeMap<MessageId, Missing>,
    due: BTreeSet<(Instant, MessageId)>,
    by_peer: BTreeMap<PublicKey, usize>,
}

impl MissingMessages {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// `peer` announces a message that this node lacks. False if there is no room.
    pub(super) fn on_ihave(
        &mut self,
        now: Instant,
        id: MessageId,
        peer: PublicKey,
        wait: Duration,
        limits: Limits,
    ) -> bool {
        let count = self.by_peer.get(&peer).copied().unwrap_or(0);
        if let Some(missing) = self.open.get_mut(&id) {
            if missing.sources.contains(&peer) {
                return true;
            }
            if missing.sources.len() >= SOURCES_MAX || count >= limits.per_peer {
                // Enough other neighbours have it.
                return true;
            }
            missing.sources.push(peer);
        } else {
            if self.open.len() >= limits.room || count >= limits.per_peer {
                return false;
            }
            let due = now + wait;
            let missing = Missing { heard: now, sources: vec![peer], asked: None, tries: 0, due };
            self.due.insert((due, id));
            self.open.insert(id, missing);
        }
        *self.by_peer.entry(peer).or_default() += 1;
        true
    }

    /// The first announced message of this incarnation of a publisher.
    pub(super) fn first_of(&self, publisher: &PublicKey, incarnation: u64) -> Option<u64> {
        let (publisher, sequence) = (*publisher, 0);
        let from = MessageId { publisher, incarnation, sequence };
        let (id, _) = self.open.range(from..).next()?;
        let same = (id.publisher, id.incarnation) == (publisher, incarnation);
        same.then_some(id.sequence)
    }

    /// A message arrived: when it was first announced, by which neighbours, and whether it was
    /// grafted.
    pub(super) fn on_received(
        &mut self,
        id: &MessageId,
    ) -> Option<(Instant, Vec<PublicKey>, bool)> {
        let missing = self.remove(id)?;
        Some((missing.heard, missing.sources, missing.tries > 0))
    }

    fn remove(&mut self, id: &MessageId) -> Option<Missing> {
        let missing = self.open.remove(id)?;
        self.due.remove(&(missing.due, *id));
        missing.sources.iter().for_each(|peer| self.release(peer));
        Some(missing)
    }

    fn release(&mut self, peer: &PublicKey) {
        if let Some(count) = self.by_peer.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(peer);
            }
        }
    }

    /// Takes the messages that are due. `wait`: the time that a neighbour gets to deliver, `None`
    /// for one that is not to be asked; `flows_until`: how long the tree is still expected to
    /// deliver a message.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
        max: usize,
        wait: impl Fn(&PublicKey) -> Option<Duration>,
        mut flows_until: impl FnMut(&MessageId) -> Option<Instant>,
    ) -> Vec<Due> {
        let mut taken = Vec::new();
        while let Some((at, id)) = self.due.first().copied()
            && at <= now
            && taken.len() < max
        {
            self.due.pop_first();
            let Some(missing) = self.open.get_mut(&id) else { continue };
            let flows = if missing.tries == 0 { flows_until(&id) } else { None };
            let until = flows.map(|until| until.min(missing.heard + FLOW_MAX));
            if let Some(until) = until.filter(|until| *until > now) {
                missing.due = until;
                self.due.insert((until, id));
                continue;
            }
            let unanswered = missing.asked.take();
            // The sources are asked in turn, from the one after the last.
            let start = unanswered
                .and_then(|last| missing.sources.iter().position(|peer| *peer == last))
                .map_or(0, |place| place + 1);
            let next = missing.sources.iter().cycle().skip(start).take(missing.sources.len());
            let found = next.filter_map(|peer| Some((*peer, wait(peer)?))).next();
            match found.filter(|_| missing.tries < TRIES_MAX) {
                Some((peer, wait)) => {
                    missing.asked = Some(peer);
                    missing.tries += 1;
                    missing.due = now + wait.max(Duration::from_millis(1));
                    self.due.insert((missing.due, id));
                    taken.push(Due { id, ask: Some(peer), unanswered });
                }
                None => {
                    missing.due = at;
                    self.remove(&id);
                    taken.push(Due { id, ask: None, unanswered });
                }
            }
        }
        taken
    }

    /// `peer` is no neighbour any more.
    pub(super) fn remove_peer(&mut self, peer: &PublicKey) {
        if self.by_peer.remove(peer).is_none() {
            return;
        }
        let mut empty = Vec::new();
        for (id, missing) in &mut self.open {
            missing.sources.retain(|source| source != peer);
            if missing.asked == Some(*peer) {
                missing.asked = None;
            }
            if missing.sources.is_empty() {
                empty.push(*id);
            }
        }
        for id in empty {
            self.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::Identity;

    const WAIT: Duration = Duration::from_millis(200);

    fn peer(seed: u8) -> PublicKey {
        Identity::from_seed([seed; 32]).public_key()
    }

    fn id(sequence: u64) -> MessageId {
        MessageId { publisher: peer(9), incarnation: 1, sequence }
    }

    const fn limits(room: usize, per_peer: usize) -> Limits {
        Limits { room, per_peer }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    #[test]
    fn a_message_is_grafted_from_its_sources_in_turn_and_three_times_at_most() {
        let mut missing = MissingMessages::default();
        assert!(missing.on_ihave(at(0), id(1), peer(1), WAIT, limits(9, 9)));
        assert!(missing.on_ihave(at(1), id(1), peer(2), WAIT, limits(9, 9)));
        assert_eq!(missing.take_due(at(199), 9, |_| Some(WAIT), |_| None), []);
        let mut asked = Vec::new();
        while let Some(next) = missing.next() {
            let due = missing.take_due(next, 9, |_| Some(WAIT), |_| None);
            asked.extend(due.iter().map(|due| (due.ask, due.unanswered)));
        }
        let [one, two] = [Some(peer(1)), Some(peer(2))];
        assert_eq!(asked, [(one, None), (two, one), (one, two), (None, one)]);
        assert_eq!((missing.len(), missing.by_peer.len()), (0, 0));
    }

    #[test]
    fn a_message_the_tree_still_delivers_is_grafted_only_after_five_seconds() {
        let mut missing = MissingMessages::default();
        missing.on_ihave(at(0), id(1), peer(1), WAIT, limits(9, 9));
        missing.on_ihave(at(0), id(2), peer(1), WAIT, limits(9, 9));
        // The tree delivers one message every 300 ms, and after a second it is past the first one.
        let mut asked = Vec::new();
        while let Some(next) = missing.next() {
            let brought = at(next.since(Instant::ZERO).as_millis() as u64 / 300 * 300);
            let flows = |id: &MessageId| {
                let before = id.sequence == 2 || next < at(1_000);
                before.then(|| brought + Duration::from_millis(500))
            };
            let due = missing.take_due(next, 9, |_| Some(WAIT), flows);
            asked.extend(
                due.iter().filter(|due| due.unanswered.is_none()).map(|due| (due.id, next)),
            );
        }
        assert_eq!(asked, [(id(1), at(1_100)), (id(2), at(5_000))]);
    }

    #[test]
    fn a_message_that_arrived_is_not_grafted() {
        let mut missing = MissingMessages::default();
        missing.on_ihave(at(0), id(1), peer(1), WAIT, limits(9, 9));
        assert_eq!(missing.on_received(&id(1)), Some((at(0), vec![peer(1)], false)));
        assert_eq!((missing.next(), missing.on_received(&id(1))), (None, None));
    }

    #[test]
    fn invented_ids_are_bounded_in_all_and_of_one_neighbour() {
        let mut missing = MissingMessages::default();
        let heard = (1..100)
            .filter(|number| missing.on_ihave(at(0), id(*number), peer(1), WAIT, limits(50, 20)))
            .count();
        assert_eq!((heard, missing.len()), (20, 20));
        for number in 100..200 {
            missing.on_ihave(at(0), id(number), peer((number % 50) as u8), WAIT, limits(50, 20));
        }
        assert_eq!(missing.len(), 50);
    }

    #[test]
    fn a_lost_neighbour_takes_its_announcements_along() {
        let mut missing = MissingMessages::default();
        missing.on_ihave(at(0), id(1), peer(1), WAIT, limits(9, 9));
        missing.on_ihave(at(0), id(2), peer(1), WAIT, limits(9, 9));
        missing.on_ihave(at(0), id(2), peer(2), WAIT, limits(9, 9));
        missing.remove_peer(&peer(1));
        assert_eq!((missing.len(), missing.due.len(), missing.by_peer.len()), (1, 1, 1));
        let due = missing.take_due(at(200), 9, |_| Some(WAIT), |_| None);
        assert_eq!(due, [Due { id: id(2), ask: Some(peer(2)), unanswered: None }]);
    }
}
