//! Which tree a message runs along: one of its publisher's own, or that of all others.
//!
//! `PlumTree` (Leitão, Pereira, Rodrigues, 2007) has one tree a topic, which the first publisher
//! shapes; for any other one the way to the last receiver is about twice as long. Here a publisher
//! that goes on gets a tree of its own: its message number [`OWN_TREE_FROM`] in a topic, and seldom
//! a later one, is pushed over every link, and each node keeps the link on which it came first. Each
//! node holds that message back for [`FLOOD_DELAY`], which favours ways over few links: hops count
//! without anybody's word for them. What is published before, by more publishers than a link can keep
//! apart, or in the overlay of all nodes, where everybody says little, runs along the shared tree.
//!
//! **Invariant:** what a neighbour says about a tree changes only what that neighbour is sent.

use std::time::Duration;

use potluck_base::{Instant, PublicKey};

use super::message_cache::CachedMessage;
use super::shared::Shared;
use super::topic::Topic;
use crate::message::MessageId;

/// The first message of a publisher, in a topic, that runs along its own tree. It costs about as many
/// copies as a node has links, once; so many messages of before make that worth while. A guess.
pub(super) const OWN_TREE_FROM: u64 = 8;
/// It grows anew with a message whose number is so many times as high: meanwhile links came and went,
/// and what was repaired piece by piece is deeper than what grows at once. So the copies that this
/// costs are ever fewer of all: 5 of 64, of 512 and so on.
const FLOOD_AGAIN_FACTOR: u64 = 8;
/// What one link more costs where a tree grows. In random graphs of 10,000 nodes with six links and
/// delays as in the simulator, this makes 8 links to the last receiver of 11, where 7 are possible;
/// messages then reach the last 118 ms later than over the fastest ways, half of all 15 ms.
const FLOOD_DELAY: Duration = Duration::from_millis(80);
/// A tree grows only if its publisher said nothing for so long before: what is still on its way along
/// the old tree would be overtaken.
const FLOOD_QUIET: Duration = Duration::from_millis(500);
/// Messages held back at once; more are passed on as they come.
const DEFERRED_MAX: usize = 64;

/// A message that is held back.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeferredMessage {
    at: Instant,
    id: MessageId,
    /// Whether it goes over every link then.
    flood: bool,
}

/// A tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tree {
    /// Of all who have none of their own.
    Shared,
    /// Of one publisher.
    Of(PublicKey),
}

impl Tree {
    /// The tree that a message runs along; `shared` if all do so here.
    pub(super) fn of(shared: bool, publisher: PublicKey, sequence: u64) -> Self {
        if shared || sequence < OWN_TREE_FROM { Self::Shared } else { Self::Of(publisher) }
    }
}

impl Topic {
    /// The tree that a message runs along.
    pub(super) fn tree_of(&self, publisher: PublicKey, sequence: u64) -> Tree {
        Tree::of(self.system, publisher, sequence)
    }

    /// Whether a message goes over every link, so that its publisher's tree grows, or grows anew.
    pub(super) fn is_flood(&self, now: Instant, id: &MessageId) -> bool {
        let flood =
            std::iter::successors(Some(OWN_TREE_FROM), |last| last.checked_mul(FLOOD_AGAIN_FACTOR));
        let due = flood.take_while(|at| *at <= id.sequence).any(|at| at == id.sequence);
        let before = MessageId { sequence: id.sequence.saturating_sub(1), ..*id };
        let quiet = |cached: &CachedMessage| now.since(cached.at) >= FLOOD_QUIET;
        !self.system && due && self.cache.get(&before).is_some_and(quiet)
    }

    /// Holds a message back that grows a tree, and others of its publisher behind it. False if this
    /// one is to go on at once.
    pub(super) fn defer(&mut self, now: Instant, id: MessageId, flood: bool) -> bool {
        let before =
            self.deferred.iter().rev().find(|deferred| deferred.id.publisher == id.publisher);
        let at = match before {
            Some(deferred) => deferred.at,
            None if flood => now + FLOOD_DELAY,
            None => return false,
        };
        let fits = self.deferred.len() < DEFERRED_MAX;
        if fits {
            let place = self.deferred.partition_point(|deferred| deferred.at <= at);
            self.deferred.insert(place, DeferredMessage { at, id, flood });
        }
        fits
    }

    /// When one of them goes on.
    pub(super) fn deferred_until(&self) -> Option<Instant> {
        self.deferred.front().map(|deferred| deferred.at)
    }

    /// Passes on what was held back long enough.
    pub(super) fn forward_deferred(&mut self, shared: &mut Shared<'_>) {
        while let Some(DeferredMessage { id, flood, .. }) =
            self.deferred.pop_front_if(|deferred| deferred.at <= shared.now)
        {
            let Some(cached) = self.cache.get(&id) else { continue };
            let (bytes, from) = (cached.bytes.clone(), cached.source());
            self.forward(shared, id, &bytes, (from, flood));
        }
    }
}
