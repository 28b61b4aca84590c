//! The requests that make links: how many are in flight, and when the next one goes out.
//!
//! `HyParView`, "Active view management": a node that lost a link takes a random contact of its
//! passive view and sends it NEIGHBOR, with high priority if it has no other link. Where we differ:
//! several requests are in flight at once, more while a node is depleted, and a node that is
//! declined by several contacts in a row pauses.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::TopicRequest;

use super::super::asks::Purpose;
use super::super::scores::Scores;
use super::super::shared::Shared;
use super::core::Core;
use super::timer::OverlayTimer;

/// Link requests in flight before this node waits. A higher value fills the active view faster and
/// causes more surplus links.
const PARALLEL_MAX: usize = 4;
/// How long a link request may hold one of these slots. A lower value asks the next contact sooner.
const SLOT_TIME: Duration = Duration::from_millis(500);
/// Link requests under way in total, with those past their slot time. Bounds memory.
const ATTEMPTS_MAX: usize = 16;
/// Multiplier for both limits while a node is depleted: it has no link, or lost more than half
/// lately. With 90 % of the nodes dead, 66 attempts find a live one with probability 99.9 %.
const DEPLETED_FACTOR: usize = 4;
/// How long after the last loss a node counts as depleted.
const DEPLETED_FOR: Duration = Duration::from_secs(30);
/// Pause before a contact that declined is asked again.
const DECLINED_PAUSE: Duration = Duration::from_secs(30);
/// First pause after a round of declined requests; it doubles with each round.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause while this node has no healthy link.
const PAUSE_ALONE_MAX: Duration = Duration::from_secs(2);
/// Longest pause otherwise.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// A link request in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    at: Instant,
    pub(super) contact: Contact,
    /// The link is a surplus one, for rewiring.
    pub(super) surplus: bool,
}

/// The link requests of an overlay.
#[derive(Debug, Clone)]
pub(super) struct Promotion {
    attempts: BTreeMap<PublicKey, Attempt>,
    /// Before then no new attempt begins.
    from: Instant,
    declined_in_row: u32,
    /// Whether there was no link when links were requested last.
    alone: bool,
    /// When a neighbour fell silent last.
    lost_at: Option<Instant>,
}

impl Promotion {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            attempts: BTreeMap::new(),
            from: now,
            declined_in_row: 0,
            alone: true,
            lost_at: None,
        }
    }

    /// Link requests in flight.
    pub(super) fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Whether a link was requested from `peer`.
    pub(super) fn contains(&self, peer: &PublicKey) -> bool {
        self.attempts.contains_key(peer)
    }

    /// The request of a link from `peer` came to an end.
    pub(super) fn take(&mut self, peer: &PublicKey) -> Option<Attempt> {
        self.attempts.remove(peer)
    }

    /// A neighbour fell silent.
    pub(super) const fn note_lost(&mut self, now: Instant) {
        self.lost_at = Some(now);
    }

    /// A node accepted.
    pub(super) const fn on_accepted(&mut self) {
        self.declined_in_row = 0;
    }

    /// No new attempt begins before `until`.
    pub(super) const fn pause(&mut self, until: Instant) {
        self.from = until;
    }

    /// Whether a link to `peer` could be requested: there is none, none is requested, and the peer
    /// is not ignored.
    pub(super) fn is_free(
        &self,
        core: &Core,
        scores: &Scores,
        now: Instant,
        peer: &PublicKey,
    ) -> bool {
        !core.active.contains_key(peer) && !self.contains(peer) && !scores.ignores(now, peer)
    }

    /// Requests links while there are too few.
    pub(super) fn promote(&mut self, core: &mut Core, shared: &mut Shared) {
        let now = shared.now;
        self.notice_alone(core, now);
        let again = loop {
            let healthy = core.healthy();
            let fresh = self.attempts.values().filter(|attempt| now.since(attempt.at) < SLOT_TIME);
            let fresh: Vec<Instant> = fresh.map(|attempt| attempt.at).collect();
            let depleted = self.is_depleted(core, now, healthy);
            let factor = if depleted { DEPLETED_FACTOR } else { 1 };
            // Most contacts of a depleted node are gone as well.
            let enough = !depleted && healthy + fresh.len() >= core.sizes.active;
            let busy = self.attempts.len() >= ATTEMPTS_MAX * factor;
            if enough || busy || fresh.len() >= PARALLEL_MAX * factor {
                break fresh.iter().min().map(|at| *at + SLOT_TIME);
            }
            if now < self.from {
                let any = core.passive.len() > 0;
                break any.then_some(self.from);
            }
            let Some(contact) = self.candidate(core, shared) else {
                let free = |peer: &PublicKey| self.is_free(core, &shared.scores, now, peer);
                break core.passive.next_candidate(now, free);
            };
            self.attempt(core, now, contact, false);
        };
        core.timers.put(OverlayTimer::Promote, again);
    }

    /// A random contact of the passive view from which a link may be requested now.
    pub(super) fn candidate(&self, core: &Core, shared: &mut Shared) -> Option<Contact> {
        let (now, scores) = (shared.now, &shared.scores);
        let free = |peer: &PublicKey| self.is_free(core, scores, now, peer);
        core.passive.candidate(now, &mut shared.rng, free)
    }

    /// A node that loses its last link drops the pauses that it set while it had some.
    fn notice_alone(&mut self, core: &mut Core, now: Instant) {
        let alone = core.healthy() == 0;
        if alone && !self.alone {
            let soon = now + PAUSE_ALONE_MAX;
            self.from = self.from.min(soon);
            // Also peers that disconnected from this node: they accept a node that has no other
            // link.
            core.passive.cap_retries(soon);
        }
        self.alone = alone;
    }

    /// Whether this node has no healthy link, or lost most of its links lately.
    fn is_depleted(&self, core: &Core, now: Instant, healthy: usize) -> bool {
        let lately = self.lost_at.is_some_and(|at| now.since(at) < DEPLETED_FOR);
        healthy == 0 || (lately && healthy * 2 < core.sizes.active)
    }

    /// Requests a link from one node (NEIGHBOR in the paper).
    pub(super) fn attempt(
        &mut self,
        core: &mut Core,
        now: Instant,
        contact: Contact,
        surplus: bool,
    ) {
        let high_priority = core.healthy() == 0;
        let body = TopicRequest::Neighbour { high_priority, age_ms: core.age_ms(now) };
        self.attempts.insert(contact.public_key, Attempt { at: now, contact, surplus });
        core.ask(contact, Purpose::Link, body);
    }

    /// A node declined: it is asked again later, and after several declines in a row so are all
    /// others.
    pub(super) fn on_declined(&mut self, core: &mut Core, shared: &mut Shared, peer: &PublicKey) {
        let alone = core.healthy() == 0;
        let pause = if alone { PAUSE_ALONE_MAX } else { DECLINED_PAUSE };
        core.passive.retry_after(peer, shared.now + shared.rng.jitter(pause, 0.2));
        self.declined_in_row = self.declined_in_row.saturating_add(1);
        let rounds = self.declined_in_row / PARALLEL_MAX as u32;
        if rounds > 0 {
            let longest = if alone { PAUSE_ALONE_MAX } else { PAUSE_MAX };
            let pause = PAUSE_MIN.saturating_mul(1 << rounds.min(10)).min(longest);
            self.from = shared.now + shared.rng.jitter(pause, 0.2);
        }
    }
}
