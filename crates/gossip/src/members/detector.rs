//! The state of the failure detector: its schedule of probes, and the health of this node itself.

use std::collections::{BTreeMap, BTreeSet};

use potluck_base::{Deadline, Instant, PublicKey, Rng, RoundTrip};

use super::config::MembersConfig;
use super::health::LocalHealth;
use super::isolation::Isolation;

/// Probes under way at once, priority probes included.
pub(super) const PROBING_MAX: usize = 64;
/// Members scheduled for a priority probe.
const PRIORITY_PROBES_MAX: usize = 1024;
/// Failed probes in a row after which many members may have crashed, so all quiet neighbours are
/// probed.
const FAILED_IN_ROW_MANY: u32 = 2;
/// Priority probes started in one probe interval; further ones wait for the next.
const PRIORITY_PROBES_PER_INTERVAL: usize = 40;

/// The reason for a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeReason {
    /// It is this member's turn in the round.
    Round,
    /// A suspect message reported it.
    Reported,
    /// It is suspected here: the loss may have been bad luck.
    Recheck,
    /// Its suspicion ends with this probe.
    Final,
    /// It is dead, and may have returned.
    Heal,
}

#[derive(Debug, Clone)]
pub(super) struct Probing {
    pub(super) reason: ProbeReason,
    pub(super) began: Instant,
    /// Outstanding answers of the indirect probe.
    pub(super) open: usize,
    /// Helpers that were asked, and in `silent` those that did not answer at all: if none did, this
    /// node may be unhealthy.
    pub(super) helpers: usize,
    pub(super) silent: usize,
}

/// The schedule of probes.
#[derive(Debug, Clone)]
pub(super) struct Detector {
    /// When the next member is probed.
    pub(super) tick_at: Instant,
    /// The order of probes, random, and the position in it.
    pub(super) round: Vec<PublicKey>,
    pub(super) cursor: usize,
    probing: BTreeMap<PublicKey, Probing>,
    /// Failed probes since the last successful one.
    failed_in_row: u32,
    priority_probes: BTreeSet<(Instant, PublicKey)>,
    /// Priority probes started in this interval.
    priority_spent: usize,
    /// Rechecks and ends of suspicions.
    suspicions: BTreeSet<(Instant, PublicKey)>,
    /// The health of this node, from the results of its probes.
    pub(super) health: LocalHealth,
    /// Whether this node itself seems isolated.
    pub(super) isolation: Isolation,
    /// Smoothed round-trip time of probes over all members.
    pub(super) rtt: RoundTrip,
    /// When dead members are tried again.
    heal_at: Instant,
}

impl Detector {
    pub(super) fn new(config: &MembersConfig, rng: &mut Rng) -> Self {
        Self {
            tick_at: Instant::ZERO + config.interval.mul_f64(rng.fraction()),
            round: Vec::new(),
            cursor: 0,
            probing: BTreeMap::new(),
            failed_in_row: 0,
            priority_probes: BTreeSet::new(),
            priority_spent: 0,
            suspicions: BTreeSet::new(),
            health: LocalHealth::default(),
            isolation: Isolation::default(),
            rtt: RoundTrip::default(),
            heal_at: Instant::ZERO,
        }
    }

    pub(super) fn probing(&self) -> usize {
        self.probing.len()
    }

    pub(super) fn priority_probes(&self) -> usize {
        self.priority_probes.len()
    }

    /// Ends the probe of this member without a result.
    pub(super) fn forget(&mut self, key: &PublicKey) {
        self.probing.remove(key);
    }

    pub(super) fn get_mut(&mut self, key: &PublicKey) -> Option<&mut Probing> {
        self.probing.get_mut(key)
    }

    pub(super) fn is_probing(&self, key: &PublicKey) -> bool {
        self.probing.contains_key(key)
    }

    /// Ends all probes without a result.
    pub(super) fn forget_all(&mut self) {
        self.probing.clear();
    }

    /// Whether another probe may begin.
    pub(super) fn has_room(&self) -> bool {
        self.probing.len() < PROBING_MAX
    }

    /// A probe of this member began.
    pub(super) fn begin(&mut self, now: Instant, key: PublicKey, reason: ProbeReason) {
        let probing = Probing { reason, began: now, open: 0, helpers: 0, silent: 0 };
        self.probing.insert(key, probing);
    }

    /// The probe of this member under way.
    pub(super) fn get(&self, key: &PublicKey) -> Option<&Probing> {
        self.probing.get(key)
    }

    /// The probe of this member failed. Returns the reason for the probe.
    pub(super) fn end_failed(&mut self, key: &PublicKey) -> Option<ProbeReason> {
        self.probing.remove(key).map(|probing| probing.reason)
    }

    /// The first tries of a probe failed.
    pub(super) const fn note_failed(&mut self) {
        self.failed_in_row += 1;
    }

    /// A member answered.
    pub(super) const fn note_answered(&mut self) {
        self.failed_in_row = 0;
    }

    /// Whether [`FAILED_IN_ROW_MANY`] probes or more failed in a row, as they do when many members crash.
    pub(super) const fn may_many_be_gone(&self) -> bool {
        self.failed_in_row >= FAILED_IN_ROW_MANY
    }

    /// Starts the next interval.
    pub(super) const fn begin_interval(&mut self, next: Instant) {
        self.tick_at = next;
        self.priority_spent = 0;
    }

    /// Whether no further member can be scheduled for a priority probe.
    pub(super) fn is_full(&self) -> bool {
        self.priority_probes.len() >= PRIORITY_PROBES_MAX
    }

    /// Schedules a priority probe.
    pub(super) fn schedule(&mut self, at: Instant, key: PublicKey) {
        self.priority_probes.insert((at, key));
    }

    /// The next member whose priority probe is due, within the budget of this interval.
    pub(super) fn pop_priority_probe(&mut self, now: Instant) -> Option<PublicKey> {
        let (at, key) = *self.priority_probes.first()?;
        if at > now || self.priority_spent >= PRIORITY_PROBES_PER_INTERVAL {
            return None;
        }
        self.priority_probes.pop_first();
        self.priority_spent += 1;
        Some(key)
    }

    /// Begins the next round: `watched` are the members in it. Known members keep their places and
    /// newcomers get a random one.
    pub(super) fn begin_round(&mut self, watched: &BTreeSet<PublicKey>, rng: &mut Rng) {
        let mut round = std::mem::take(&mut self.round);
        let known: BTreeSet<PublicKey> = round.iter().copied().collect();
        let mut newcomers: Vec<PublicKey> = watched.difference(&known).copied().collect();
        round.retain(|key| watched.contains(key));
        rng.shuffle(&mut newcomers);
        self.round = mixed_in(round, newcomers, rng);
        self.cursor = 0;
    }

    /// When dead members are tried again.
    pub(super) const fn heal_at(&self) -> Instant {
        self.heal_at
    }

    /// Dead members are tried again at `at`.
    pub(super) const fn heal_next(&mut self, at: Instant) {
        self.heal_at = at;
    }

    /// Dead members are tried again at `at` at the latest.
    pub(super) fn heal_by(&mut self, at: Instant) {
        self.heal_at = self.heal_at.min(at);
    }

    #[cfg(test)]
    pub(super) fn round(&self) -> &[PublicKey] {
        &self.round
    }

    #[cfg(test)]
    pub(super) fn is_rechecking(&self, key: &PublicKey) -> bool {
        self.probing.get(key).is_some_and(|probing| probing.reason == ProbeReason::Recheck)
    }

    /// Ends a probe caused by a suspect message: the subject refuted it meanwhile.
    pub(super) fn forget_reported(&mut self, key: &PublicKey) {
        if self.probing.get(key).is_some_and(|probing| probing.reason == ProbeReason::Reported) {
            self.probing.remove(key);
        }
    }

    /// Schedules a recheck, or the end of a suspicion.
    pub(super) fn expect_verdict(&mut self, at: Instant, key: PublicKey) {
        self.suspicions.insert((at, key));
    }

    /// The next suspicion whose recheck or end is due.
    pub(super) fn pop_verdict(&mut self, now: Instant) -> Option<PublicKey> {
        let first = *self.suspicions.first()?;
        if first.0 > now {
            return None;
        }
        self.suspicions.pop_first();
        Some(first.1)
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        // A priority probe beyond the budget waits for the next tick.
        let spent = self.priority_spent >= PRIORITY_PROBES_PER_INTERVAL;
        let priority_probes = self.priority_probes.first().filter(|_| !spent).map(|(at, _)| *at);
        Deadline::earliest([
            Some(Deadline::new(self.tick_at, "probe")),
            priority_probes.map(|at| Deadline::new(at, "doubt")),
            self.suspicions.first().map(|(at, _)| Deadline::new(*at, "suspicion")),
        ])
    }
}

/// `order` with each of the `newcomers` at a random place.
fn mixed_in(order: Vec<PublicKey>, newcomers: Vec<PublicKey>, rng: &mut Rng) -> Vec<PublicKey> {
    let mut mixed = Vec::with_capacity(order.len() + newcomers.len());
    let (mut old, mut new) = (order.into_iter(), newcomers.into_iter());
    while old.len() + new.len() > 0 {
        let takes_new = rng.below((old.len() + new.len()) as u64) < new.len() as u64;
        mixed.extend(if takes_new { new.next() } else { old.next() });
    }
    mixed
}
