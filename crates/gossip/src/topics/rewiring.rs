//! How an overlay stays mixed: now and then a link goes for another.
//!
//! Nodes whose places are all taken decline. A few that took each other's places first would be a
//! closed circle for ever, and so would the halves of a network that was split; so each node asks
//! for a link beyond need from time to time, and where it is asked an established link goes for it.
//!
//! Where we differ from `HyParView` (Leitão, Pereira, Rodrigues, 2007), where every joiner evicts
//! a random link: **a joiner costs an established link once in [`REWIRE_INTERVAL`] at most**; more
//! of them only displace each other. Links of this node's own choice, up to half, and the two that
//! are oldest go for no joiner; a link that no tree needs goes before one that messages run over,
//! and one to the root of a tree last of all. Who has no link to spare waits longer before it asks for
//! one beyond need, and whoever has only links to roots, or is one, before it grants one.

use std::time::Duration;

use potluck_base::{Contact, Instant, LruMap, PublicKey};
use potluck_wire::DisconnectCause;

use super::flood::Tree;
use super::neighbour::Neighbour;
use super::shared::Shared;
use super::topic::Topic;
use crate::view::Cause;

/// Time between two links made beyond need, and between two that are granted...
const REWIRE_INTERVAL: Duration = Duration::from_secs(300);
/// ...and while a node is new in a topic, as all may be.
const REWIRE_INTERVAL_EARLY: Duration = Duration::from_secs(10);
const EARLY: Duration = Duration::from_secs(120);
/// Pause between two attempts to link to neighbours that are back.
const RETURNED_PAUSE: Duration = Duration::from_secs(2);
/// The shortest before the first of them.
const RETURNED_PAUSE_MIN: Duration = Duration::from_millis(1);
/// Neighbours that fell silent and are asked again when they are back, remembered.
const LOST_MAX: usize = 32;
/// So many times as long where a part of a tree hangs on each of the links that could go. A guess.
const REWIRE_COSTLY_FACTOR: u32 = 8;
/// Of the links that go so many do whatever it costs: nobody makes itself irremovable by publishing.
/// A guess.
const REWIRE_ANY_SHARE: f64 = 1.0 / 16.0;
/// Links that were there longest and are never evicted.
const OLDEST_KEPT: usize = 2;

/// When links are swapped.
#[derive(Debug, Clone)]
pub(super) struct Rewiring {
    /// The next link beyond need.
    pub(super) at: Instant,
    /// When a link beyond need was asked for last.
    asked: Instant,
    /// No joiner costs an established link before then.
    from: Instant,
    /// A link was granted that costs an established one.
    granted: bool,
    /// This node made a link beyond need: any may go for it.
    own: bool,
    /// Neighbours that fell silent, and those of them that are back.
    lost: LruMap<PublicKey, ()>,
    returned: Vec<Contact>,
}

impl Rewiring {
    pub(super) fn new(shared: &mut Shared<'_>) -> Self {
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
    pub(super) fn on_neighbour_lost(&mut self, peer: PublicKey) {
        self.lost.insert(peer, ());
    }
}

/// On which trees a link is, in either direction: the order in which links go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// Those of which this node or the neighbour is the root.
    roots: usize,
    /// All.
    trees: usize,
}

impl Cost {
    const NONE: Self = Self { roots: 0, trees: 0 };
    const NO_ROOT: Self = Self { roots: 0, trees: usize::MAX };
}

impl Topic {
    /// This link is one beyond need. The tree works without it; if it leads to another part of the
    /// overlay, the names on it will tell.
    pub(super) fn mark_surplus(&mut self, shared: &Shared<'_>, peer: &PublicKey, own: bool) {
        self.rewiring.own |= own;
        let pushed =
            self.active_view.iter().filter(|(of, link)| *of != peer && link.is_eager(Tree::Shared));
        let enough = pushed.count() >= shared.config.parents(shared.mode);
        if let Some(neighbour) = self.active_view.get_mut(peer).filter(|_| enough) {
            neighbour.eager_trees.prune(shared.now, Tree::Shared);
        }
    }

    /// Whether the link that was granted last is one beyond need.
    pub(super) const fn has_granted(&self) -> bool {
        self.rewiring.granted
    }

    fn rewire_interval(&self, now: Instant) -> Duration {
        if now.since(self.joined) < EARLY { REWIRE_INTERVAL_EARLY } else { REWIRE_INTERVAL }
    }

    /// A node is there, perhaps again. If it was a neighbour, it is asked for a link soon.
    pub(super) fn on_returned(&mut self, shared: &mut Shared<'_>, contact: Contact) {
        if self.rewiring.lost.remove(&contact.public_key).is_some() {
            self.bridge(shared, contact);
        }
    }

    /// A link to this node is asked for soon, beyond need.
    pub(super) fn bridge(&mut self, shared: &mut Shared<'_>, contact: Contact) {
        if self.rewiring.returned.len() < LOST_MAX {
            self.learn(shared, contact, None);
            self.rewiring.returned.push(contact);
            // Whoever has no link at all does not wait.
            let pause = if self.healthy() == 0 { 0.0 } else { shared.rng.fraction() };
            let soon = shared.now + RETURNED_PAUSE.mul_f64(pause).max(RETURNED_PAUSE_MIN);
            self.rewiring.at = self.rewiring.at.min(soon);
        }
    }

    /// Asks for a link beyond need: a neighbour that is back before all others.
    pub(super) fn rewire(&mut self, shared: &mut Shared<'_>) {
        let returned = self.rewiring.returned.pop();
        let pause = if self.rewiring.returned.is_empty() {
            self.rewire_interval(shared.now)
        } else {
            RETURNED_PAUSE
        };
        self.rewiring.at = shared.now + shared.rng.jitter(pause, 0.2);
        let may_rewire = self.is_due(shared, self.rewiring.asked, (true, Cost::NONE));
        let Topic { active_view, attempts, .. } = self;
        let (now, scores) = (shared.now, &*shared.scores);
        let free = |peer: &PublicKey| {
            !active_view.contains_key(peer)
                && !attempts.contains_key(peer)
                && !scores.ignores(now, peer)
        };
        let returned = returned.filter(|contact| free(&contact.public_key));
        let contact = match returned {
            None if may_rewire => self.passive_view.candidate(now, shared.rng, free),
            returned => returned,
        };
        if let Some(contact) = contact {
            self.rewiring.asked = now;
            self.attempt(shared, contact, true);
        }
    }

    /// Whether a link may be swapped that could have been from `since` on: at once if one costs no
    /// more than this, or there is none to lose, else later.
    fn is_due(&self, shared: &Shared<'_>, since: Instant, (own, cost_max): (bool, Cost)) -> bool {
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
    fn is_grant_due(&self, shared: &Shared<'_>) -> bool {
        self.is_due(shared, self.rewiring.from, (false, Cost::NO_ROOT))
    }

    /// Whether a link is granted that costs an established one.
    pub(super) fn grants(&mut self, shared: &Shared<'_>) -> bool {
        let grants = self.active_view.len() < self.overflow_max() && self.is_grant_due(shared);
        if grants {
            self.rewiring.from = shared.now + self.rewire_interval(shared.now);
            self.rewiring.granted = true;
        }
        grants
    }

    /// Drops links beyond the limit.
    pub(super) fn trim(&mut self, shared: &mut Shared<'_>) {
        while self.active_view.len() > self.sizes.active {
            let Some(victim) = self.victim(shared) else { break };
            self.unlink(shared, &victim, Cause::Replaced, Some(DisconnectCause::Room));
        }
        self.rewiring.granted = false;
        self.rewiring.own = false;
    }

    /// What it costs to drop a link. Without it so many parts of trees hang in the air, and who is
    /// near the root mostly finds another parent that is far from it.
    fn cost(&self, shared: &Shared<'_>, peer: &PublicKey, neighbour: &Neighbour) -> Cost {
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

    /// The links that may go for another: established ones that somebody else chose, and if it is a
    /// link of this node's `own`, too many of which it has, any.
    fn removable(&self, shared: &Shared<'_>, own: bool) -> Vec<(Cost, PublicKey)> {
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

    /// Whether more links are this node's own choice than no joiner may evict.
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

    /// Who makes room: one by chance of those that may go and cost least, if that is due; else the
    /// youngest that somebody else chose, or if too many were this node's own choice, the youngest of
    /// those.
    pub(super) fn victim(&mut self, shared: &mut Shared<'_>) -> Option<PublicKey> {
        let own = std::mem::take(&mut self.rewiring.own);
        let granted = std::mem::take(&mut self.rewiring.granted);
        let mut candidates = self.removable(shared, own);
        if (own || granted || self.is_grant_due(shared)) && !candidates.is_empty() {
            if !own && !granted {
                self.rewiring.from = shared.now + self.rewire_interval(shared.now);
            }
            // A grant that this node's own link did not need is kept for its joiner.
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
