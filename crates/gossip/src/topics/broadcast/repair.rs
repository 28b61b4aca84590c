//! Repair of the trees (algorithm 2 of `PlumTree`): announcements, and grafts of messages that did not
//! arrive.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Instant, PublicKey};
use potluck_wire::{IdRange, TopicResponse};

use super::super::events::TopicServeId;
use super::super::scores::{Fault, Penalty};
use super::super::shared::Shared;
use super::Broadcast;
use super::message_cache::{ids_in, ranges};
use super::missing::Limits;
use super::tree::Tree;
use crate::message::MessageId;

/// A node waits at least this long for the tree before it grafts an announced message. That is long
/// enough to retransmit a lost push; with a lower value each loss would make half a subtree eager
/// twice.
const GRAFT_WAIT_MIN: Duration = Duration::from_millis(500);
/// The longest such wait. A message may lag behind its announcement while much traffic is under
/// way; a higher value repairs later.
const GRAFT_WAIT_MAX: Duration = Duration::from_secs(1);
/// Time that a neighbour gets beyond a round trip to deliver a grafted message.
const DELIVERY_SLACK: Duration = Duration::from_millis(200);
/// Message ids processed in one request. Bounds the work that one request can cause.
const IDS_PER_REQUEST_MAX: usize = 8_192;
/// A tree works if it delivered a new message within this time.
const TREE_WORKS: Duration = Duration::from_millis(250);
/// Probability of making the announcing link eager although the tree works. A guess.
const GRAFT_ANYWAY: f64 = 0.125;
/// A neighbour is charged for unanswered grafts once in this time. A lower value punishes
/// overloaded neighbours more.
const BLAME_INTERVAL: Duration = Duration::from_secs(1);

impl Broadcast {
    /// A neighbour announces messages that it has (algorithm 2, receipt of IHAVE).
    pub(in crate::topics) fn on_ihave(
        &mut self,
        shared: &mut Shared,
        from: &PublicKey,
        ranges: &[IdRange],
    ) -> Penalty {
        let Some(neighbour) = self.peers.get_mut(from) else { return Penalty::Tolerated };
        if neighbour.distrusted {
            // A distrusted neighbour keeps announcing.
            return self.fault(shared, *from, Fault::OverRate);
        }
        let usual = self.lag.with_deviations(2).unwrap_or_default() * 2;
        let wait =
            GRAFT_WAIT_MIN.max(neighbour.round_trip_p95() * 2).max(usual).min(GRAFT_WAIT_MAX);
        let (room, per_peer) = (shared.missing_room(), shared.config.missing_per_peer);
        let limits = Limits { room, per_peer };
        let (mut looked_at, mut refused) = (0, 0_u64);
        for range in ranges {
            let floor = self.seen.floor(&range.publisher, range.incarnation).saturating_add(1);
            for id in ids_in(range, floor.max(1), IDS_PER_REQUEST_MAX - looked_at) {
                looked_at += 1;
                if self.seen.contains(&id) {
                    if let Some(cached) = self.cache.get_mut(&id) {
                        cached.add_holder(*from);
                        let tree = Tree::of(self.system, id.publisher, id.sequence);
                        if let Some(state) = self.trees.known(tree) {
                            state.on_ihave(&id, *from);
                        }
                    }
                } else if !neighbour.ihave_ids.take(shared.now, 1)
                    || !self.missing.on_ihave(shared.now, id, *from, wait, limits)
                {
                    refused += 1;
                }
            }
        }
        if refused > 0 {
            shared.stats.names_refused += refused;
            shared.stats.rate_limited += 1;
        }
        Penalty::Tolerated
    }

    /// Grafts messages that were announced and did not arrive (algorithm 2, the timer). Returns how
    /// many grafts each neighbour left unanswered.
    pub(in crate::topics) fn graft_missing(
        &mut self,
        shared: &mut Shared,
    ) -> BTreeMap<PublicKey, u64> {
        let wait = |peer: &PublicKey| {
            let neighbour = self.peers.get(peer).filter(|neighbour| neighbour.may_be_eager())?;
            Some(GRAFT_WAIT_MIN.max(neighbour.round_trip_p95() * 6 / 5 + DELIVERY_SLACK))
        };
        let flows_until = |id: &MessageId| {
            let tree = Tree::of(self.system, id.publisher, id.sequence);
            self.trees.known(tree)?.flows_until(id)
        };
        let due = self.missing.take_due(shared.now, usize::MAX, wait, flows_until);
        let mut asked: BTreeMap<(PublicKey, Tree), Vec<MessageId>> = BTreeMap::new();
        let mut unanswered: BTreeMap<PublicKey, u64> = BTreeMap::new();
        for due in due {
            if let Some(peer) = due.ask {
                let tree = self.tree_of(due.id.publisher, due.id.sequence);
                asked.entry((peer, tree)).or_default().push(due.id);
            }
            if let Some(peer) = due.unanswered {
                *unanswered.entry(peer).or_default() += 1;
            }
        }
        for ((peer, tree), mut ids) in asked {
            ids.sort_unstable();
            // While a tree works, a lost message is mostly fetched without changing the tree; the
            // shared one may still be broken for some publishers.
            let fresh_at = self.trees.known(tree).map_or(Instant::ZERO, |state| state.fresh_at);
            let works = shared.now.since(fresh_at) < TREE_WORKS;
            let eager = !works || shared.rng.chance(GRAFT_ANYWAY);
            self.graft(shared, &peer, ranges(ids, usize::MAX), eager.then_some(tree));
        }
        unanswered
    }

    /// A neighbour left this many grafts unanswered.
    pub(in crate::topics) fn blame(
        &mut self,
        shared: &mut Shared,
        peer: PublicKey,
        count: u64,
    ) -> Penalty {
        shared.stats.broken_promises += count;
        // At most once in the interval, or a moment of overload would cost an honest neighbour its
        // score.
        let neighbour = self.peers.get_mut(&peer);
        let blamed = neighbour.filter(|neighbour| neighbour.blame_from <= shared.now);
        let Some(neighbour) = blamed else { return Penalty::Tolerated };
        neighbour.blame_from = shared.now + BLAME_INTERVAL;
        self.fault(shared, peer, Fault::GraftUnanswered)
    }

    /// A neighbour asks for messages (algorithm 2, receipt of GRAFT).
    pub(in crate::topics) fn on_graft(
        &mut self,
        shared: &mut Shared,
        serve: TopicServeId,
        from: &PublicKey,
        ranges: &[IdRange],
        eager: bool,
    ) {
        let mut trees: Vec<Tree> =
            ranges.iter().map(|range| self.tree_of(range.publisher, range.first)).collect();
        if trees.is_empty() {
            trees.push(Tree::Shared);
        }
        let Some(neighbour) = self.peers.get_mut(from) else { return };
        if eager && !neighbour.distrusted {
            trees.iter().for_each(|tree| neighbour.eager_trees.graft(shared.now, *tree));
        }
        let (mut looked_at, mut lacking) = (0, 0);
        for range in ranges {
            for id in ids_in(range, 1, IDS_PER_REQUEST_MAX - looked_at) {
                looked_at += 1;
                let found = self.cache.get(&id).map(|cached| cached.bytes.clone());
                let goes = found.is_some_and(|bytes| {
                    neighbour.repairs.take(shared.now, 1)
                        && neighbour.queue.push_repair(&shared.config.queue, id, bytes)
                });
                lacking += u32::from(!goes);
            }
        }
        shared.answer(serve, TopicResponse::GraftAck { lacking });
    }
}
