//! How an overlay stays mixed: now and then a link goes for another.
//!
//! Nodes whose places are all taken decline. A few that took each other's places first would be a
//! closed circle for ever, and so would the halves of a network that was split; so each node asks
//! for a link beyond need from time to time, and where it is asked an established link goes for it.
//!
//! Where we differ from `HyParView` (Leitão, Pereira, Rodrigues, 2007), where every joiner evicts
//! a random link: **a joiner costs an established link once in [`MIX_INTERVAL`] at most**; more
//! of them only displace each other. Links of this node's own choice, up to half, and the two that
//! are oldest go for no joiner; a link that no tree needs goes before one that messages run over,
//! and one to the root of a tree last of all. Who has no link to spare waits longer before it asks for
//! one beyond need, and whoever has only links to roots, or is one, before it grants one.

use std::time::Duration;

use potluck_base::{Contact, Instant, LruMap, PublicKey};
use potluck_wire::PartCause;

use super::asks::World;
use super::growth::Tree;
use super::neighbour::Neighbour;
use super::topic::Topic;
use crate::view::Cause;

/// Time between two links made beyond need, and between two that are granted...
const MIX_INTERVAL: Duration = Duration::from_secs(300);
/// ...and while a node is new in a topic, as all may be.
const MIX_EARLY: Duration = Duration::from_secs(10);
const EARLY: Duration = Duration::from_secs(120);
/// Pause between two attempts to link to neighbours that are back.
const BACK_PAUSE: Duration = Duration::from_secs(2);
/// The shortest before the first of them.
const BACK_PAUSE_MIN: Duration = Duration::from_millis(1);
/// Neighbours that fell silent and are asked again when they are back, remembered.
const LOST_MAX: usize = 32;
/// So many times as long where a part of a tree hangs on each of the links that could go. A guess.
const MIX_DEAR: u32 = 8;
/// Of the links that go so many do whatever it costs: nobody makes itself irremovable by publishing.
/// A guess.
const MIX_ANY: f64 = 1.0 / 16.0;
/// Links that were there longest and are never evicted.
const OLDEST_KEPT: usize = 2;

/// When links are swapped.
#[derive(Debug, Clone)]
pub(super) struct Mixing {
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
    back: Vec<Contact>,
}

impl Mixing {
    pub(super) fn new(world: &mut World<'_>) -> Self {
        Self {
            at: world.now + world.rng.jitter(MIX_EARLY, 0.2),
            asked: world.now,
            from: world.now,
            granted: false,
            own: false,
            lost: LruMap::new(LOST_MAX),
            back: Vec::new(),
        }
    }

    /// A neighbour fell silent.
    pub(super) fn lost(&mut self, peer: PublicKey) {
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
    pub(super) fn beyond_need(&mut self, world: &World<'_>, peer: &PublicKey, own: bool) {
        self.mixing.own |= own;
        let pushed =
            self.active.iter().filter(|(of, link)| *of != peer && link.is_pushed(Tree::Shared));
        let enough = pushed.count() >= world.config.parents(world.mode);
        if let Some(neighbour) = self.active.get_mut(peer).filter(|_| enough) {
            neighbour.branches.set(world.now, Tree::Shared, false);
        }
    }

    /// Whether the link that was granted last is one beyond need.
    pub(super) const fn has_granted(&self) -> bool {
        self.mixing.granted
    }

    fn mix_interval(&self, now: Instant) -> Duration {
        if now.since(self.joined) < EARLY { MIX_EARLY } else { MIX_INTERVAL }
    }

    /// A node is there, perhaps again. If it was a neighbour, it is asked for a link soon.
    pub(super) fn on_back(&mut self, world: &mut World<'_>, contact: Contact) {
        if self.mixing.lost.remove(&contact.public_key).is_some() {
            self.bridge(world, contact);
        }
    }

    /// A link to this node is asked for soon, beyond need.
    pub(super) fn bridge(&mut self, world: &mut World<'_>, contact: Contact) {
        if self.mixing.back.len() < LOST_MAX {
            self.learn(world, contact, None);
            self.mixing.back.push(contact);
            // Whoever has no link at all does not wait.
            let pause = if self.healthy() == 0 { 0.0 } else { world.rng.fraction() };
            let soon = world.now + BACK_PAUSE.mul_f64(pause).max(BACK_PAUSE_MIN);
            self.mixing.at = self.mixing.at.min(soon);
        }
    }

    /// Asks for a link beyond need: a neighbour that is back before all others.
    pub(super) fn mix(&mut self, world: &mut World<'_>) {
        let back = self.mixing.back.pop();
        let pause =
            if self.mixing.back.is_empty() { self.mix_interval(world.now) } else { BACK_PAUSE };
        self.mixing.at = world.now + world.rng.jitter(pause, 0.2);
        let mixes = self.is_due(world, self.mixing.asked, (true, Cost::NONE));
        let Topic { active, attempts, .. } = self;
        let (now, scores) = (world.now, &*world.scores);
        let free = |peer: &PublicKey| {
            !active.contains_key(peer) && !attempts.contains_key(peer) && !scores.ignores(now, peer)
        };
        let back = back.filter(|contact| free(&contact.public_key));
        let contact = match back {
            None if mixes => self.passive.candidate(now, world.rng, free),
            back => back,
        };
        if let Some(contact) = contact {
            self.mixing.asked = now;
            self.attempt(world, contact, true);
        }
    }

    /// Whether a link may be swapped that could have been from `since` on: at once if one costs no
    /// more than this, or there is none to lose, else later.
    fn is_due(&self, world: &World<'_>, since: Instant, (own, cost_max): (bool, Cost)) -> bool {
        if world.now < since {
            return false;
        }
        let links = self.swappable(world, own);
        let cheap = links.is_empty() || links.iter().any(|(cost, _)| *cost <= cost_max);
        let wait = self.mix_interval(world.now) * if cheap { 0 } else { MIX_DEAR - 1 };
        since + wait <= world.now
    }

    /// Whether a joiner may cost an established link.
    fn is_grant_due(&self, world: &World<'_>) -> bool {
        self.is_due(world, self.mixing.from, (false, Cost::NO_ROOT))
    }

    /// Whether a link is granted that costs an established one.
    pub(super) fn grants(&mut self, world: &World<'_>) -> bool {
        let grants = self.active.len() < self.overflow_max() && self.is_grant_due(world);
        if grants {
            self.mixing.from = world.now + self.mix_interval(world.now);
            self.mixing.granted = true;
        }
        grants
    }

    /// Drops links beyond the limit.
    pub(super) fn trim(&mut self, world: &mut World<'_>) {
        while self.active.len() > self.sizes.active {
            let Some(victim) = self.victim(world) else { break };
            self.unlink(world, &victim, Cause::Replaced, Some(PartCause::Room));
        }
        self.mixing.granted = false;
        self.mixing.own = false;
    }

    /// What it costs to drop a link. Without it so many parts of trees hang in the air, and who is
    /// near the root mostly finds another parent that is far from it.
    fn cost(&self, world: &World<'_>, peer: &PublicKey, neighbour: &Neighbour) -> Cost {
        let me = &world.me.contact.public_key;
        self.growths.trees(world.now).fold(Cost::NONE, |cost, (tree, growth)| {
            let (down, up) = (neighbour.is_pushed(tree), growth.is_of(peer));
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
    fn swappable(&self, world: &World<'_>, own: bool) -> Vec<(Cost, PublicKey)> {
        let links = self.by_age();
        let any = own && self.chose_too_many();
        let newcomers = links.len().saturating_sub(self.sizes.active);
        let established = OLDEST_KEPT..(links.len() - newcomers).max(OLDEST_KEPT);
        let links = links.get(established).unwrap_or_default().iter();
        links
            .filter(|(_, neighbour)| any || !neighbour.outbound)
            .map(|(peer, neighbour)| (self.cost(world, peer, neighbour), *peer))
            .collect()
    }

    /// Whether more links are this node's own choice than no joiner may evict.
    fn chose_too_many(&self) -> bool {
        let chosen = self.active.values().filter(|neighbour| neighbour.outbound).count();
        chosen > self.outbound_kept()
    }

    fn by_age(&self) -> Vec<(PublicKey, &Neighbour)> {
        let links = self.active.iter().map(|(peer, neighbour)| (*peer, neighbour));
        let mut links: Vec<(PublicKey, &Neighbour)> = links.collect();
        links.sort_by_key(|(_, neighbour)| neighbour.number);
        links
    }

    /// Who makes room: one by chance of those that may go and cost least, if that is due; else the
    /// youngest that somebody else chose, or if too many were this node's own choice, the youngest of
    /// those.
    pub(super) fn victim(&mut self, world: &mut World<'_>) -> Option<PublicKey> {
        let own = std::mem::take(&mut self.mixing.own);
        let granted = std::mem::take(&mut self.mixing.granted);
        let mut candidates = self.swappable(world, own);
        if (own || granted || self.is_grant_due(world)) && !candidates.is_empty() {
            if !own && !granted {
                self.mixing.from = world.now + self.mix_interval(world.now);
            }
            // A grant that this node's own link did not need is kept for its joiner.
            self.mixing.granted = own && granted;
            let least = candidates.iter().map(|(cost, _)| *cost).min();
            if !world.rng.chance(MIX_ANY) {
                candidates.retain(|(cost, _)| Some(*cost) == least);
            }
            let place = world.rng.below(candidates.len() as u64) as usize;
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
