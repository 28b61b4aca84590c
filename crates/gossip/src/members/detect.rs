//! Probing: one member in each interval, in rounds, and suspected members sooner.
//!
//! A member that does not answer two tries is tried once more while three helpers probe it as well.
//! Helpers return the subject's signature over a nonce, so they cannot claim falsely that it is
//! alive; if they claim falsely that it is not, this node's own tries have failed as well. A probe
//! caused by a suspect message has three tries and no helpers: its sender was one. A suspect is
//! rechecked with three tries again and again until its suspicion ends, since of many suspicions
//! some outlive one such probe: with 10 % loss, three round trips in a row fail once in 150 times.

use std::collections::BTreeSet;
use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::{MemberRequest, MemberResponse, RecordVersion, Response};

use super::Members;
use super::detector::{PROBING_MAX, ProbeReason};
use super::event::Output;
use super::isolation::{Isolation, Transition};
use super::outbox::{AskOptions, Purpose};
use super::table::LocalState;
use crate::view::Mode;

/// Tries before helpers are asked. A higher value suspects fewer healthy members and finds a crash
/// later.
const TRIES: u8 = 2;
/// Tries where no helpers are asked.
const TRIES_ALONE: u8 = 3;
/// Pause before the next priority probe of the same member. A lower value lets suspect messages
/// cause more probes.
pub(super) const PRIORITY_PROBE_PAUSE: Duration = Duration::from_secs(5);
/// Suspicion makes every member probe the suspect. Each one delays its probe by a random time up to
/// this for each member, so that a healthy suspect is not overloaded.
pub(super) const PRIORITY_SPREAD_PER_MEMBER: Duration = Duration::from_millis(1);
/// Longest such delay.
pub(super) const PRIORITY_SPREAD_MAX: Duration = Duration::from_secs(10);
/// In an open network, a member that this node starts to watch is probed within this time.
const SOON: Duration = PRIORITY_PROBE_PAUSE;
/// How long a member that is not watched any more stays listed after it was last heard from.
const UNWATCHED_KEEP: Duration = Duration::from_secs(300);
/// If this node handles its own timer later than this, it was starved and counts as unhealthy.
const LAG: Duration = Duration::from_millis(100);
/// Members that a node sends its record to directly after it stood still.
const DIRECT_RECORDS_MAX: usize = 64;
/// If it handles the timer later than this, it slept or was stopped, and the silence of others
/// meanwhile means nothing.
const SLEPT: Duration = Duration::from_secs(2);

impl Members {
    /// Notices that this node was late for its own timer: it was starved or asleep.
    pub(super) fn notice_lag(&mut self, now: Instant) {
        let late = now.since(self.detector.tick_at);
        if late <= LAG {
            return;
        }
        self.stats.lags += 1;
        self.detector.health.on_bad();
        // Counted once, whichever inputs come before the timer is handled.
        self.detector.tick_at = now;
        if late > SLEPT {
            self.on_disturbed(now);
            // Other members may have declared this node dead. It renews its record for all, and
            // sends it to many directly, since its broadcast links may be gone.
            if self.renew_record_if_allowed(now) && !self.own.is_client() {
                let record = self.own.signed.clone();
                for contact in self.sample(DIRECT_RECORDS_MAX) {
                    self.send_records(contact, vec![record.clone()]);
                }
            }
        }
    }

    /// The recent silence of others says nothing about them.
    pub(super) fn on_disturbed(&mut self, now: Instant) {
        self.detector.forget_all();
        self.apply_guard(now, |guard| guard.on_disturbed(now));
        let watched: Vec<PublicKey> = self.watched();
        let spread = self.config.interval;
        for key in watched.into_iter().take(PROBING_MAX / 2) {
            let pause = spread.mul_f64(self.rng.fraction());
            self.schedule_priority_probe(now, &key, pause);
        }
    }

    /// Runs the isolation guard and reports what it did.
    pub(super) fn apply_guard(
        &mut self,
        now: Instant,
        act: impl FnOnce(&mut Isolation) -> Option<Transition>,
    ) {
        match act(&mut self.detector.isolation) {
            None => {}
            Some(Transition::Isolated) => {
                self.stats.freezes += 1;
                self.outbox.push(Output::Isolated);
            }
            Some(Transition::Reunited) => {
                self.outbox.push(Output::Reunited);
                self.restart_suspicions(now);
                self.anti_entropy.soon(now);
            }
        }
    }

    /// The members that this node watches: all in a fleet, otherwise its neighbours and its close
    /// group.
    pub(super) fn watched(&self) -> Vec<PublicKey> {
        self.table
            .iter()
            .filter(|member| member.is_here())
            .map(|member| member.peer.contact.public_key)
            .filter(|key| self.watches(key))
            .collect()
    }

    /// Whether this node takes the member for alive and would notice its death.
    #[must_use]
    pub fn is_watching(&self, key: &PublicKey) -> bool {
        let alive = self.table.get(key).is_some_and(|member| member.state == LocalState::Alive);
        alive && self.watches(key)
    }

    /// Up to `count` random living members.
    #[must_use]
    pub fn sample(&mut self, count: usize) -> Vec<Contact> {
        let alive = self.table.iter().filter(|member| member.state == LocalState::Alive);
        let mut contacts: Vec<Contact> = alive.map(|member| member.peer.contact).collect();
        self.rng.shuffle(&mut contacts);
        contacts.truncate(count);
        contacts
    }

    /// Drops members that this node no longer watches; otherwise they would stay listed as alive for ever. In
    /// a fleet all members are watched.
    pub(super) fn forget_unwatched(&mut self, now: Instant) {
        if self.mode == Mode::Fleet {
            return;
        }
        let stale: Vec<PublicKey> = self
            .table
            .iter()
            .filter(|member| member.is_here() && now.since(member.heard) > UNWATCHED_KEEP)
            .map(|member| member.peer.contact.public_key)
            .filter(|key| !self.watches(key))
            .collect();
        for key in stale {
            self.detector.forget(&key);
            self.table.remove(&key);
        }
    }

    /// Starts to watch these members; those not in `before` are new, and some may be unknown so
    /// far.
    pub(super) fn watch(
        &mut self,
        now: Instant,
        contacts: Vec<Contact>,
        before: &BTreeSet<PublicKey>,
    ) {
        for contact in contacts {
            let key = contact.public_key;
            if self.table.get(&key).is_none() {
                self.on_proven(now, contact);
            }
            if !before.contains(&key) {
                self.probe_soon(now, &key);
            }
        }
    }

    /// In an open network only a probe tells a member that this node watches it, and this node
    /// which other nodes do. Without it neither would receive the other's suspect messages before
    /// its turn in the round.
    pub(super) fn probe_soon(&mut self, now: Instant, key: &PublicKey) {
        if self.mode == Mode::Open {
            let pause = SOON.mul_f64(self.rng.fraction());
            self.schedule_priority_probe(now, key, pause);
        }
    }

    /// Starts the probes that are due.
    pub(super) fn probe_due(&mut self, now: Instant) {
        if now >= self.detector.tick_at {
            let pause = self.detector.health.stretch(self.config.interval);
            let next = now + self.rng.jitter(pause, 0.2);
            self.detector.begin_interval(next);
            if let Some(key) = self.next_in_turn(now) {
                self.probe(now, &key, ProbeReason::Round);
            }
        }
        while let Some(key) = self.detector.pop_priority_probe(now) {
            let Some(member) = self.table.get(&key) else { continue };
            let reason = match (member.is_here(), member.confirmations.is_empty()) {
                (false, _) => ProbeReason::Heal,
                // The suspicion was this node's own: no other node has tried yet.
                (true, true) => ProbeReason::Round,
                (true, false) => ProbeReason::Reported,
            };
            self.probe(now, &key, reason);
        }
    }

    /// The next member to probe. Each one is probed once in a round. SWIM (section 4.3) shuffles
    /// again for each round, so it reaches every member only within two; here known members keep
    /// their places and newcomers get a random one. A member that was just heard from is skipped.
    fn next_in_turn(&mut self, now: Instant) -> Option<PublicKey> {
        let mut looked = 0;
        loop {
            if self.detector.cursor >= self.detector.round.len() {
                self.next_round();
            }
            let key = *self.detector.round.get(self.detector.cursor)?;
            self.detector.cursor += 1;
            looked += 1;
            let watched = self.watches(&key);
            let member = self.table.get(&key).filter(|member| watched && member.is_here());
            let fresh = member.is_some_and(|member| {
                member.state == LocalState::Alive && now.since(member.heard) < self.config.interval
            });
            if member.is_some() && !fresh && !self.detector.is_probing(&key) {
                return Some(key);
            }
            self.stats.probes_spared += u64::from(fresh);
            if looked > self.detector.round.len() || looked > 64 {
                return None;
            }
        }
    }

    /// Begins the next round.
    pub(super) fn next_round(&mut self) {
        let watched: BTreeSet<PublicKey> = self.watched().into_iter().collect();
        self.detector.begin_round(&watched, &mut self.rng);
    }

    /// Schedules a probe in `pause`, unless the member was probed with priority a moment ago.
    pub(super) fn schedule_priority_probe(
        &mut self,
        now: Instant,
        key: &PublicKey,
        pause: Duration,
    ) {
        let full = self.detector.is_full();
        let Some(member) = self.table.get_mut(key) else { return };
        let lately = member.priority_probe_at > Instant::ZERO
            && now.since(member.priority_probe_at) < PRIORITY_PROBE_PAUSE;
        if full || lately || self.detector.is_probing(key) {
            return;
        }
        member.priority_probe_at = now;
        self.detector.schedule(now + pause, *key);
    }

    /// Starts a probe.
    pub(super) fn probe(&mut self, now: Instant, key: &PublicKey, reason: ProbeReason) {
        let Some(member) = self.table.get(key) else { return };
        if !self.detector.has_room() {
            return self.postpone(now, key);
        }
        let suspected = (member.state != LocalState::Alive).then_some(member.version);
        let to = member.peer.contact;
        if let Some(running) = self.detector.get_mut(key) {
            // A probe in flight decides the suspicion when it fails.
            if reason == ProbeReason::Final {
                running.reason = reason;
            }
            return;
        }
        let alone = matches!(reason, ProbeReason::Reported | ProbeReason::Recheck);
        let tries = if alone { TRIES_ALONE } else { TRIES };
        let request = self.probe_of(suspected);
        if self.ask(to, request, Purpose::Probe(*key), AskOptions::tries(tries)).is_none() {
            return self.postpone(now, key);
        }
        self.stats.probes += 1;
        self.detector.begin(now, *key, reason);
    }

    /// The ping of a probe.
    pub(super) fn probe_of(&mut self, suspected: Option<RecordVersion>) -> MemberRequest {
        MemberRequest::Ping { mine: self.own.version(), suspected, partition: self.partition() }
    }

    /// The first tries failed.
    pub(super) fn on_probe_failed(&mut self, now: Instant, key: &PublicKey) {
        let Some(probing) = self.detector.get(key).cloned() else { return };
        let heard = self.table.get(key).map_or(Instant::ZERO, |member| member.heard);
        if heard > probing.began {
            self.detector.forget(key);
            return self.postpone(now, key);
        }
        if !matches!(probing.reason, ProbeReason::Heal | ProbeReason::Recheck) {
            self.detector.note_failed();
            self.outbox.push(Output::Silent(*key));
            self.check_neighbours(now, key);
        }
        let reached_indirectly =
            self.table.get(key).is_some_and(|member| member.reached_indirectly);
        match probing.reason {
            ProbeReason::Heal => self.detector.forget(key),
            ProbeReason::Recheck => self.recheck_later(now, key),
            ProbeReason::Round if !self.detector.isolation.is_isolated() => {
                self.start_indirect_probe(now, key);
            }
            ProbeReason::Reported | ProbeReason::Final if reached_indirectly => {
                self.start_indirect_probe(now, key);
            }
            ProbeReason::Round | ProbeReason::Reported | ProbeReason::Final => {
                self.on_unreached(now, key);
            }
        }
    }

    /// Neither this node nor a helper reached the member.
    pub(super) fn on_unreached(&mut self, now: Instant, key: &PublicKey) {
        let reason = self.detector.end_failed(key);
        self.stats.probes_failed += 1;
        self.apply_guard(now, |guard| guard.on_result(now, *key, false));
        if reason == Some(ProbeReason::Final) {
            self.declare_dead(now, key);
        } else {
            self.suspect(now, key, reason == Some(ProbeReason::Round));
        }
    }

    /// A neighbour is silent, or several members in a row are: many may have crashed, and messages
    /// are queued for them.
    fn check_neighbours(&mut self, now: Instant, silent: &PublicKey) {
        if !self.watched.is_neighbour(silent) && !self.detector.may_many_be_gone() {
            return;
        }
        let others: Vec<PublicKey> =
            self.watched.neighbours().iter().filter(|key| *key != silent).copied().collect();
        for key in others {
            let quiet = self
                .table
                .get(&key)
                .is_some_and(|member| now.since(member.heard) > self.config.interval);
            if quiet {
                let pause = self.config.interval.mul_f64(self.rng.fraction() / 4.0);
                self.schedule_priority_probe(now, &key, pause);
            }
        }
    }

    /// A probe was answered.
    pub(super) fn on_probe_answered(
        &mut self,
        now: Instant,
        key: &PublicKey,
        response: Response,
        rtt: Option<Duration>,
    ) {
        if let Some(rtt) = rtt {
            self.stats.round_trips += rtt;
            self.detector.rtt.sample(rtt);
            if let Some(member) = self.table.get_mut(key) {
                member.near = Some(rtt < self.config.near);
                member.reached_indirectly = false;
            }
        }
        self.stats.probes_answered += 1;
        self.detector.health.on_good();
        if let Some(member) = self.table.get_mut(key) {
            member.answered = true;
        }
        self.on_life(now, key);
        if let Response::Member(MemberResponse::Ack { mine, hints }) = response {
            self.on_version(now, key, mine);
            if let Some(hints) = hints {
                self.on_hints(now, key, hints);
            }
        }
    }

    /// The member answered, directly or through a helper.
    pub(super) fn on_life(&mut self, now: Instant, key: &PublicKey) {
        self.detector.forget(key);
        self.detector.note_answered();
        self.apply_guard(now, |guard| guard.on_result(now, *key, true));
        let contact = self.table.get(key).map(|member| member.peer.contact);
        if let Some(contact) = contact {
            self.on_heard(now, contact);
        }
    }
}
