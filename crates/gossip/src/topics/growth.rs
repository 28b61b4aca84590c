//! Which tree a message runs along: one of its publisher's own, or that of all others.
//!
//! `PlumTree` (Leitão, Pereira, Rodrigues, 2007) has one tree a topic, which the first publisher
//! shapes; for any other one the way to the last receiver is about twice as long. Here a publisher
//! that goes on gets a tree of its own: its message number [`OWN_TREE_FROM`] in a topic, and seldom
//! a later one, is pushed over every link, and each node keeps the link on which it came first. Each
//! node holds that message back for [`GROWTH_PAUSE`], which favours ways over few links: hops count
//! without anybody's word for them. What is published before, by more publishers than a link can keep
//! apart, or in the overlay of all nodes, where everybody says little, runs along the shared tree.
//!
//! **Invariant:** what a neighbour says about a tree changes only what that neighbour is sent.

use std::time::Duration;

use potluck_base::{Instant, PublicKey};

use super::asks::World;
use super::history::Kept;
use super::topic::Topic;
use crate::message::MessageId;

/// The first message of a publisher, in a topic, that runs along its own tree. It costs about as many
/// copies as a node has links, once; so many messages of before make that worth while. A guess.
pub(super) const OWN_TREE_FROM: u64 = 8;
/// It grows anew with a message whose number is so many times as high: meanwhile links came and went,
/// and what was repaired piece by piece is deeper than what grows at once. So the copies that this
/// costs are ever fewer of all: 5 of 64, of 512 and so on.
const GROWS_ANEW: u64 = 8;
/// What one link more costs where a tree grows. In random graphs of 10,000 nodes with six links and
/// delays as in the simulator, this makes 8 links to the last receiver of 11, where 7 are possible;
/// messages then reach the last 118 ms later than over the fastest ways, half of all 15 ms.
const GROWTH_PAUSE: Duration = Duration::from_millis(80);
/// A tree grows only if its publisher said nothing for so long before: what is still on its way along
/// the old tree would be overtaken.
const QUIET_BEFORE: Duration = Duration::from_millis(500);
/// Messages held back at once; more are passed on as they come.
const GROWING_MAX: usize = 64;

/// A message that is held back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    at: Instant,
    id: MessageId,
    /// Whether it goes over every link then.
    grows: bool,
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
    pub(super) fn grows_tree(&self, now: Instant, id: &MessageId) -> bool {
        let grows = std::iter::successors(Some(OWN_TREE_FROM), |last| last.checked_mul(GROWS_ANEW));
        let due = grows.take_while(|at| *at <= id.sequence).any(|at| at == id.sequence);
        let before = MessageId { sequence: id.sequence.saturating_sub(1), ..*id };
        let quiet = |kept: &Kept| now.since(kept.at) >= QUIET_BEFORE;
        !self.system && due && self.history.get(&before).is_some_and(quiet)
    }

    /// Holds a message back that grows a tree, and others of its publisher behind it. False if this
    /// one is to go on at once.
    pub(super) fn hold_back(&mut self, now: Instant, id: MessageId, grows: bool) -> bool {
        let before = self.growing.iter().rev().find(|held| held.id.publisher == id.publisher);
        let at = match before {
            Some(held) => held.at,
            None if grows => now + GROWTH_PAUSE,
            None => return false,
        };
        let fits = self.growing.len() < GROWING_MAX;
        if fits {
            let place = self.growing.partition_point(|held| held.at <= at);
            self.growing.insert(place, Held { at, id, grows });
        }
        fits
    }

    /// When one of them goes on.
    pub(super) fn grow_at(&self) -> Option<Instant> {
        self.growing.front().map(|held| held.at)
    }

    /// Passes on what was held back long enough.
    pub(super) fn grow_trees(&mut self, world: &mut World<'_>) {
        while let Some(Held { id, grows, .. }) =
            self.growing.pop_front_if(|held| held.at <= world.now)
        {
            let Some(kept) = self.history.get(&id) else { continue };
            let (bytes, from) = (kept.bytes.clone(), kept.source());
            self.pass_on(world, id, &bytes, (from, grows));
        }
    }
}
