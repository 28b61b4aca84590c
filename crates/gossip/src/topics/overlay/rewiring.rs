//! How an overlay stays mixed: from time to time one link replaces another.
//!
//! A node whose places are all taken declines. A few nodes that linked to each other first would
//! stay a closed circle for ever, and so would the halves of a network that was split. So each node
//! requests a surplus link from time to time, and the node that grants it drops an established link
//! for it.
//!
//! Where we differ from `HyParView` (Leitão, Pereira, Rodrigues, 2007), where every joiner evicts a
//! random link: **joiners cost an established link once in [`REWIRE_INTERVAL`] at most**; further
//! joiners only displace each other. Links of this node's own choice, up to half, and the two
//! oldest are never evicted for a joiner. A link that no tree uses goes before one that carries
//! messages, and a link to the root of a tree goes last. A node whose removable links all carry
//! messages waits longer before it requests a surplus link; a node whose removable links all lead
//! to roots, or that is a root, waits longer before it grants one.

use std::time::Duration;

use potluck_base::{Contact, Instant, LruMap, PublicKey};
use potluck_wire::DisconnectCause;

use super::super::broadcast::flood::Tree;
use super::super::neighbour::Neighbour;
use super::super::shared::Shared;
use super::super::topic::Topic;
use crate::view::Cause;

/// Interval between two surplus links that a node requests, and between two that it grants. A lower
/// value mixes faster and breaks more trees.
const REWIRE_INTERVAL: Duration = Duration::from_secs(300);
/// The same interval while a node is new in a topic, as all nodes may be.
const REWIRE_INTERVAL_EARLY: Duration = Duration::from_secs(10);
/// For this long after it joined, a node counts as new.
const EARLY: Duration = Duration::from_secs(120);
/// Pause between two link requests to returned neighbours.
const RETURNED_PAUSE: Duration = Duration::from_secs(2);
/// Shortest pause before the first such request.
const RETURNED_PAUSE_MIN: Duration = Duration::from_millis(1);
/// Silent neighbours remembered, so that a link is requested when they return.
const LOST_MAX: usize = 32;
/// Rewiring waits this many times longer if every removable link carries tree traffic. A guess.
const REWIRE_COSTLY_FACTOR: u32 = 8;
/// This share of rewirings ignores tree cost, so that a peer cannot make its link permanent by
/// publishing. A guess.
const REWIRE_ANY_SHARE: f64 = 1.0 / 16.0;
/// The oldest links, which are never evicted.
const OLDEST_KEPT: usize = 2;

/// When links are replaced.
#[derive(Debug, Clone)]
pub(in crate::topics) struct Rewiring {
    /// When the next surplus link is requested.
    pub(in crate::topics) at: Instant,
    /// When a surplus link was requested last.
    asked: Instant,
    /// Before then no joiner costs an established link.
    from: Instant,
    /// A link was granted that costs an established one.
    granted: bool,
    /// This node made a surplus link of its own: any removable link may go for it.
    own: bool,
    /// Neighbours that fell silent, and in `returned` those of them that are back.
    lost: LruMap<PublicKey, ()>,
    returned: Vec<Contact>,
}

impl Rewiring {
    pub(in crate::topics) fn new(shared: &mut Shared) -> Self {
        Self {
            at: shared.now + shared.rng.jitter(REWIRE_INTERVAL_EARLY, 0.2),
            asked: shared.now,
            from: shared.now,
            granted: false,
            own: false,
            lost: LruMap::new(LOST_MAX),
            returned: Vec::new(),
        }
    }

    /// A neighbour fell silent.
    pub(in crate::topics) fn on_neighbour_lost(&mut self, peer: PublicKey) {
        self.lost.insert(peer, ());
    }
}

/// The number of trees that use a link, in either direction. Links with the lowest cost go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// Trees of which this node or the neighbour is the root.
    roots: usize,
    /// All trees.
    trees: usize,
}

impl Cost {
    const NONE: Self = Self { roots: 0, trees: 0 };
    const NO_ROOT: Self = Self { roots: 0, trees: usize::MAX };
}

impl Topic {
    /// Marks a link as surplus: it is lazy, since the tree works without it. If it leads to another
    /// partition of the overlay, its announcements will show it.
    pub(in crate::topics) fn mark_surplus(&mut self, shared: &Shared, peer: &PublicKey, own: bool) {
        self.rewiring.own |= own;
        let pushed =
            self.active_view.iter().filter(|(of, link)| *of != peer && link.is_eager(Tree::Shared));
        let enough = pushed.count() >= shared.config.parents(shared.mode);
        if let Some(neighbour) = self.active_view.get_mut(peer).filter(|_| enough) {
            neighbour.eager_trees.prune(shared.now, Tree::Shared);
        }
    }

    /// Whether the link granted last is a surplus one.
    pub(in crate::topics) const fn has_granted(&self) -> bool {
        self.rewiring.granted
    }

    fn rewire_interval(&self, now: Instant) -> Duration {
        if now.since(self.joined) < EARLY { REWIRE_INTERVAL_EARLY } else { REWIRE_INTERVAL }
    }

    /// A node exists, perhaps again. If it was a neighbour, a link to it is requested soon.
    pub(in crate::topics) fn on_returned(&mut self, shared: &mut Shared, contact: Contact) {
        if self.rewiring.lost.remove(&contact.public_key).is_some() {
            self.bridge(shared, contact);
        }
    }

    /// Schedules the request of a surplus link to this node.
    pub(in crate::topics) fn bridge(&mut self, shared: &mut Shared, contact: Contact) {
        if self.rewiring.returned.len() < LOST_MAX {
            self.learn(shared, contact, None);
            self.rewiring.returned.push(contact);
            // A node without any link does not wait.
            let pause = if self.healthy() == 0 { 0.0 } else { shared.rng.fraction() };
            let soon = shared.now + RETURNED_PAUSE.mul_f64(pause).max(RETURNED_PAUSE_MIN);
            self.rewiring.at = self.rewiring.at.min(soon);
        }
    }

    /// Requests a surplus link, from a returned neighbour first.
    pub(in crate::topics) fn rewire(&mut self, shared: &mut Shared) {
        let returned = self.rewiring.returned.pop();
        let pause = if self.rewiring.returned.is_empty() {
            self.rewire_interval(shared.now)
        } else {
            RETURNED_PAUSE
        };
        self.rewiring.at = shared.now + shared.rng.jitter(pause, 0.2);
        let may_rewire = self.is_due(shared, self.rewiring.asked, (true, Cost::NONE));
        let Topic { active_view, attempts, .. } = self;
        let (now, scores) = (shared.now, &shared.scores);
        let free = |peer: &PublicKey| {
            !active_view.contains_key(peer)
                && !attempts.contains_key(peer)
                && !scores.ignores(now, peer)
        };
        let returned = returned.filter(|contact| free(&contact.public_key));
        let contact = match returned {
            None if may_rewire => self.passive_view.candidate(now, &mut shared.rng, free),
            returned => returned,
        };
        if let Some(contact) = contact {
            self.rewiring.asked = now;
            self.attempt(shared, contact, true);
        }
    }

    /// Whether to rewire now. Allowed since `since`; if every removable link costs more than
    /// `cost_max`, wait [`REWIRE_COSTLY_FACTOR`] times longer.
    fn is_due(&self, shared: &Shared, since: Instant, (own, cost_max): (bool, Cost)) -> bool {
        if shared.now < since {
            return false;
        }
        let links = self.removable(shared, own);
        let cheap = links.is_empty() || links.iter().any(|(cost, _)| *cost <= cost_max);
        let wait =
            self.rewire_interval(shared.now) * if cheap { 0 } else { REWIRE_COSTLY_FACTOR - 1 };
        since + wait <= shared.now
    }

    /// Whether a joiner may cost an established link.
    fn is_grant_due(&self, shared: &Shared) -> bool {
        self.is_due(shared, self.rewiring.from, (false, Cost::NO_ROOT))
    }

    /// Whether a link is granted that costs an established one; if so, it counts as granted.
    pub(in crate::topics) fn grants(&mut self, shared: &Shared) -> bool {
        let grants = self.active_view.len() < self.overflow_max() && self.is_grant_due(shared);
        if grants {
            self.rewiring.from = shared.now + self.rewire_interval(shared.now);
            self.rewiring.granted = true;
        }
        grants
    }

    /// Drops links beyond the limit.
    pub(in crate::topics) fn trim(&mut self, shared: &mut Shared) {
        while self.active_view.len() > self.sizes.active {
            let Some(victim) = self.victim(shared) else { break };
            self.unlink(shared, &victim, Cause::Replaced, Some(DisconnectCause::Room));
        }
        self.rewiring.granted = false;
        self.rewiring.own = false;
    }

    /// The cost of dropping a link: each tree through it loses a subtree, and a node near the root
    /// mostly finds another parent far from it.
    fn cost(&self, shared: &Shared, peer: &PublicKey, neighbour: &Neighbour) -> Cost {
        let me = &shared.me.contact.public_key;
        self.trees.recent(shared.now).fold(Cost::NONE, |cost, (tree, state)| {
            let (down, up) = (neighbour.is_eager(tree), state.has_parent(peer));
            let at_root = match &tree {
                Tree::Shared => false,
                Tree::Of(publisher) => (publisher == me && down) || (publisher == peer && up),
            };
            Cost {
                roots: cost.roots + usize::from(at_root),
                trees: cost.trees + usize::from(down || up),
            }
        })
    }

    /// The links that may be replaced: established ones that the other end chose; for a surplus
    /// link of this node's `own`, any established one if too many are its own choice.
    fn removable(&self, shared: &Shared, own: bool) -> Vec<(Cost, PublicKey)> {
        let links = self.by_age();
        let any = own && self.chose_too_many();
        let newcomers = links.len().saturating_sub(self.sizes.active);
        let established = OLDEST_KEPT..(links.len() - newcomers).max(OLDEST_KEPT);
        let links = links.get(established).unwrap_or_default().iter();
        links
            .filter(|(_, neighbour)| any || !neighbour.outbound)
            .map(|(peer, neighbour)| (self.cost(shared, peer, neighbour), *peer))
            .collect()
    }

    /// Whether more links are this node's own choice than are protected from eviction.
    fn chose_too_many(&self) -> bool {
        let chosen = self.active_view.values().filter(|neighbour| neighbour.outbound).count();
        chosen > self.outbound_kept()
    }

    fn by_age(&self) -> Vec<(PublicKey, &Neighbour)> {
        let links = self.active_view.iter().map(|(peer, neighbour)| (*peer, neighbour));
        let mut links: Vec<(PublicKey, &Neighbour)> = links.collect();
        links.sort_by_key(|(_, neighbour)| neighbour.number);
        links
    }

    /// The link to drop. If a replacement is due: a random one of the removable links with the
    /// lowest cost. Otherwise the youngest that the other end chose, or if too many are this node's
    /// own choice, the youngest of those.
    pub(in crate::topics) fn victim(&mut self, shared: &mut Shared) -> Option<PublicKey> {
        let own = std::mem::take(&mut self.rewiring.own);
        let granted = std::mem::take(&mut self.rewiring.granted);
        let mut candidates = self.removable(shared, own);
        if (own || granted || self.is_grant_due(shared)) && !candidates.is_empty() {
            if !own && !granted {
                self.rewiring.from = shared.now + self.rewire_interval(shared.now);
            }
            // A grant that was not needed for this node's own link is kept for its joiner.
            self.rewiring.granted = own && granted;
            let least = candidates.iter().map(|(cost, _)| *cost).min();
            if !shared.rng.chance(REWIRE_ANY_SHARE) {
                candidates.retain(|(cost, _)| Some(*cost) == least);
            }
            let place = shared.rng.below(candidates.len() as u64) as usize;
            return candidates.get(place).map(|(_, peer)| *peer);
        }
        let links = self.by_age();
        let unprotected = links.iter().skip(OLDEST_KEPT).rev();
        let (own, foreign): (Vec<_>, Vec<_>) =
            unprotected.partition(|(_, neighbour)| neighbour.outbound);
        let victim = foreign.first().or_else(|| own.first().filter(|_| self.chose_too_many()));
        victim.map(|(peer, _)| *peer)
    }
}
