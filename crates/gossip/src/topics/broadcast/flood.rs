//! The floods that build the own trees of publishers.
//!
//! `PlumTree` (Leitão, Pereira, Rodrigues, 2007) has one tree for each topic, which the first
//! publisher shapes; for any other publisher the path to the last receiver is about twice as long.
//! Here a publisher that keeps publishing gets a tree of its own. Its message [`OWN_TREE_FROM`] in
//! a topic, and seldom a later one, is flooded on every link. Each node waits [`FLOOD_DELAY`]
//! before forwarding it, so the copy with the fewest hops arrives first, and keeps that link as its
//! parent. No node has to trust a hop count. The shared tree carries all other messages: earlier
//! ones, those of more publishers than a link can tell apart, and those of the system topic, in
//! which every node publishes little.
//!
//! **Invariant:** a neighbour's statement about a tree changes only what that neighbour is sent.

use std::collections::VecDeque;
use std::time::Duration;

use potluck_base::Instant;

use super::message_cache::{CachedMessage, MessageCache};
use super::tree::OWN_TREE_FROM;
use crate::message::MessageId;

/// A tree is built anew by a message whose sequence number is this many times as high, since links
/// came and went meanwhile and repairs made the tree deeper. So floods become an ever smaller share
/// of the messages: those with number 8, 64, 512 and so on.
const FLOOD_AGAIN_FACTOR: u64 = 8;
/// Delay of a flooded message at each hop. In random graphs of 10,000 nodes with six links and
/// delays as in the simulator, the last receiver is then 8 hops away instead of 11, where 7 are
/// possible; messages reach it 118 ms later than over the fastest paths, and half of all nodes 15
/// ms later. A higher value builds shallower trees and delays the flooded message more.
const FLOOD_DELAY: Duration = Duration::from_millis(80);
/// A tree is built only if its publisher was silent for this long before: the flood would overtake
/// messages still on their way along the old tree.
const FLOOD_QUIET: Duration = Duration::from_millis(500);
/// Deferred messages at once; further ones are forwarded as they arrive.
const DEFERRED_MAX: usize = 64;

/// A message whose forwarding is deferred.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeferredMessage {
    at: Instant,
    pub(super) id: MessageId,
    /// Whether it is a flood.
    pub(super) flood: bool,
}

/// Deferred floods and the messages behind them, in the order in which they are forwarded.
#[derive(Debug, Clone, Default)]
pub(super) struct DeferredMessages(VecDeque<DeferredMessage>);

/// Whether a message is flooded on every link, to build its publisher's tree or to build it anew.
pub(super) fn is_flood(cache: &MessageCache, now: Instant, id: &MessageId) -> bool {
    let flood =
        std::iter::successors(Some(OWN_TREE_FROM), |last| last.checked_mul(FLOOD_AGAIN_FACTOR));
    let due = flood.take_while(|at| *at <= id.sequence).any(|at| at == id.sequence);
    let before = MessageId { sequence: id.sequence.saturating_sub(1), ..*id };
    let quiet = |cached: &CachedMessage| now.since(cached.at) >= FLOOD_QUIET;
    due && cache.get(&before).is_some_and(quiet)
}

impl DeferredMessages {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Defers a flood, and the messages of its publisher behind it. Returns false if the message is
    /// to be forwarded at once.
    pub(super) fn defer(&mut self, now: Instant, id: MessageId, flood: bool) -> bool {
        let before = self.0.iter().rev().find(|deferred| deferred.id.publisher == id.publisher);
        let at = match before {
            Some(deferred) => deferred.at,
            None if flood => now + FLOOD_DELAY,
            None => return false,
        };
        let fits = self.0.len() < DEFERRED_MAX;
        if fits {
            let place = self.0.partition_point(|deferred| deferred.at <= at);
            self.0.insert(place, DeferredMessage { at, id, flood });
        }
        fits
    }

    /// When the next deferred message is forwarded.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.front().map(|deferred| deferred.at)
    }

    /// Takes a message that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<DeferredMessage> {
        self.0.pop_front_if(|deferred| deferred.at <= now)
    }
}
