//! Keeps an overlay random: from time to time one link replaces another.
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

use super::super::cost::Cost;
use super::super::shared::Shared;
use super::core::Core;
use super::link::Link;
use super::promotion::Promotion;
use super::timer::OverlayTimer;

/// The cost of dropping the link to a peer, according to the broadcast trees.
pub(in crate::topics) type LinkCost<'a> = &'a dyn Fn(&PublicKey) -> Cost;

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
pub(super) struct Rewiring {
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

/// The question whether rewiring is due.
struct Due {
    /// The earliest time.
    since: Instant,
    /// Whether it is for a surplus link of this node's own.
    own: bool,
    /// What a removable link may cost at most.
    cost_max: Cost,
}

impl Rewiring {
    pub(super) fn new(core: &mut Core, shared: &mut Shared) -> Self {
        let first = shared.now + shared.rng.jitter(REWIRE_INTERVAL_EARLY, 0.2);
        core.timers.set(OverlayTimer::Rewire, first);
        Self {
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

    /// This node made a surplus link of its own.
    pub(super) const fn note_own(&mut self) {
        self.own = true;
    }

    /// Whether the link granted last is a surplus one.
    pub(super) const fn has_granted(&self) -> bool {
        self.granted
    }

    /// A node exists, perhaps again. If it was a neighbour, a link to it is requested soon.
    pub(super) fn on_returned(&mut self, core: &mut Core, shared: &mut Shared, contact: Contact) {
        if self.lost.remove(&contact.public_key).is_some() {
            self.bridge(core, shared, contact);
        }
    }

    /// Schedules the request of a surplus link to this node.
    pub(super) fn bridge(&mut self, core: &mut Core, shared: &mut Shared, contact: Contact) {
        if self.returned.len() < LOST_MAX {
            core.learn(shared, contact, None);
            self.returned.push(contact);
            // A node without any link does not wait.
            let pause = if core.healthy() == 0 { 0.0 } else { shared.rng.fraction() };
            let soon = shared.now + RETURNED_PAUSE.mul_f64(pause).max(RETURNED_PAUSE_MIN);
            core.timers.set_by(OverlayTimer::Rewire, soon);
        }
    }

    /// Requests a surplus link, from a returned neighbour first.
    pub(super) fn rewire(
        &mut self,
        core: &mut Core,
        promotion: &mut Promotion,
        shared: &mut Shared,
        cost: LinkCost<'_>,
    ) {
        let now = shared.now;
        let returned = self.returned.pop();
        let pause = if self.returned.is_empty() { interval(core, now) } else { RETURNED_PAUSE };
        core.timers.set(OverlayTimer::Rewire, now + shared.rng.jitter(pause, 0.2));
        let due = Due { since: self.asked, own: true, cost_max: Cost::NONE };
        let may_rewire = due.is_now(core, now, cost);
        let free = |of: &Contact| promotion.is_free(core, &shared.scores, now, &of.public_key);
        let contact = match returned.filter(free) {
            None if may_rewire => promotion.candidate(core, shared),
            returned => returned,
        };
        if let Some(contact) = contact {
            self.asked = now;
            promotion.attempt(core, now, contact, true);
        }
    }

    /// Whether a joiner may cost an established link.
    fn is_grant_due(&self, core: &Core, now: Instant, cost: LinkCost<'_>) -> bool {
        let due = Due { since: self.from, own: false, cost_max: Cost::NO_ROOT };
        due.is_now(core, now, cost)
    }

    /// Whether a link is granted that costs an established one; if so, it counts as granted.
    pub(super) fn grants(&mut self, core: &Core, now: Instant, cost: LinkCost<'_>) -> bool {
        let grants = core.active.len() < core.overflow_max() && self.is_grant_due(core, now, cost);
        if grants {
            self.from = now + interval(core, now);
            self.granted = true;
        }
        grants
    }

    /// The links beyond the limit were dropped.
    pub(super) const fn on_trimmed(&mut self) {
        self.granted = false;
        self.own = false;
    }

    /// The link to drop. If a replacement is due: a random one of the removable links with the
    /// lowest cost. Otherwise the youngest that the other end chose, or if too many are this node's
    /// own choice, the youngest of those.
    pub(super) fn victim(
        &mut self,
        core: &Core,
        shared: &mut Shared,
        cost: LinkCost<'_>,
    ) -> Option<PublicKey> {
        let now = shared.now;
        let own = std::mem::take(&mut self.own);
        let granted = std::mem::take(&mut self.granted);
        let mut candidates = removable(core, own, cost);
        if (own || granted || self.is_grant_due(core, now, cost)) && !candidates.is_empty() {
            if !own && !granted {
                self.from = now + interval(core, now);
            }
            // A grant that was not needed for this node's own link is kept for its joiner.
            self.granted = own && granted;
            let least = candidates.iter().map(|(cost, _)| *cost).min();
            if !shared.rng.chance(REWIRE_ANY_SHARE) {
                candidates.retain(|(cost, _)| Some(*cost) == least);
            }
            let place = shared.rng.below(candidates.len() as u64) as usize;
            return candidates.get(place).map(|(_, peer)| *peer);
        }
        let links = by_age(core);
        let unprotected = links.iter().skip(OLDEST_KEPT).rev();
        let (own, foreign): (Vec<_>, Vec<_>) = unprotected.partition(|(_, link)| link.outbound);
        let victim = foreign.first().or_else(|| own.first().filter(|_| chose_too_many(core)));
        victim.map(|(peer, _)| *peer)
    }
}

impl Due {
    /// Whether to rewire now. Allowed since `since`; if every removable link costs more than
    /// `cost_max`, wait [`REWIRE_COSTLY_FACTOR`] times longer.
    fn is_now(&self, core: &Core, now: Instant, cost: LinkCost<'_>) -> bool {
        if now < self.since {
            return false;
        }
        let links = removable(core, self.own, cost);
        let cheap = links.is_empty() || links.iter().any(|(cost, _)| *cost <= self.cost_max);
        let wait = interval(core, now) * if cheap { 0 } else { REWIRE_COSTLY_FACTOR - 1 };
        self.since + wait <= now
    }
}

fn interval(core: &Core, now: Instant) -> Duration {
    if now.since(core.joined) < EARLY { REWIRE_INTERVAL_EARLY } else { REWIRE_INTERVAL }
}

/// The links that may be replaced: established ones that the other end chose; for a surplus link of
/// this node's `own`, any established one if too many are its own choice.
fn removable(core: &Core, own: bool, cost: LinkCost<'_>) -> Vec<(Cost, PublicKey)> {
    let links = by_age(core);
    let any = own && chose_too_many(core);
    let newcomers = links.len().saturating_sub(core.sizes.active);
    let established = OLDEST_KEPT..(links.len() - newcomers).max(OLDEST_KEPT);
    let links = links.get(established).unwrap_or_default().iter();
    let removable = links.filter(|(_, link)| any || !link.outbound);
    removable.map(|(peer, _)| (cost(peer), *peer)).collect()
}

/// Whether more links are this node's own choice than are protected from eviction.
fn chose_too_many(core: &Core) -> bool {
    core.active.len() - core.inbound() > core.outbound_kept()
}

fn by_age(core: &Core) -> Vec<(PublicKey, &Link)> {
    let mut links: Vec<(PublicKey, &Link)> =
        core.active.iter().map(|(peer, link)| (*peer, link)).collect();
    links.sort_by_key(|(_, link)| link.number);
    links
}
