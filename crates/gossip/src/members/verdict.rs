//! State changes of members: suspicion, refutation, death, leave and return.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::{
    MemberRecord, MemberRequest, MemberResponse, Response, Revocation, Revoked, SuspectMessage,
};

use super::Members;
use super::detect::{PRIORITY_SPREAD_MAX, PRIORITY_SPREAD_PER_MEMBER};
use super::detector::ProbeReason;
use super::event::{Output, Verdict};
use super::outbox::{AskOptions, Purpose};
use super::suspicion::{CONFIRMATIONS, Suspicion};
use super::table::{Confirmation, LocalState, Member};
use crate::view::{Change, MemberEvent, Mode};

/// Age up to which a confirmation counts.
const CONFIRMATION_LIFE: Duration = Duration::from_secs(30);
/// Expected number of members of a fleet that announce that they confirm a suspicion: enough for
/// [`CONFIRMATIONS`], and not one message for each member.
const CONFIRMERS: f64 = 6.0;
/// In an open network a suspect message goes to this many of the watched members, closest to the
/// subject first: close group and neighbours together are 56.
const SUSPECT_FANOUT: usize = 64;
/// Interval in which traffic of a member counts once as a sign that this node is not isolated.
const HEARD_PAUSE: Duration = Duration::from_secs(1);
/// Pause before a suspicion that could not be decided is tried again.
const VERDICT_RETRY: Duration = Duration::from_millis(500);
/// After this time alive, a member's deaths are forgotten.
const FLAPS_KEEP: Duration = Duration::from_secs(600);
/// The shortest suspicion of a member is four times as long after each of its deaths, but not
/// longer than this for that reason: no member changes between dead and alive more than about once
/// a minute.
const FLAPPING_SUSPICION_MAX: Duration = Duration::from_secs(32);
/// The same limit for a returned member that is heard from but answers no request: each time it
/// would be listed as alive, and as suspect soon after.
const ONE_WAY_SUSPICION: Duration = Duration::from_secs(90);

impl Members {
    /// Reports a change to the application and to the other parts of the node.
    fn tell(&mut self, contact: Contact, change: Change, verdict: Option<Verdict>) {
        let peer = contact.in_network(&self.own.network);
        self.outbox.push(Output::Event(MemberEvent { peer, change }));
        if let Some(verdict) = verdict {
            self.outbox.push(Output::Verdict(contact, verdict));
        }
    }

    /// Authenticated traffic of a member: it is alive, whatever was judged before.
    pub(super) fn on_heard(&mut self, now: Instant, contact: Contact) {
        let key = contact.public_key;
        let Some(member) = self.table.get_mut(&key) else { return };
        if now.since(member.heard) >= HEARD_PAUSE {
            self.detector.isolation.on_heard(now, key);
        }
        member.heard = now;
        member.peer.contact.address = contact.address;
        match member.state {
            LocalState::Alive => {
                if member.flaps > 0 && now.since(member.since) > FLAPS_KEEP {
                    member.flaps = 0;
                }
            }
            LocalState::Suspect(_) => self.refuted(now, &key),
            LocalState::Dead => {
                member.answered = false;
                self.stats.false_deaths += 1;
                self.revive(now, &key);
                // The member has to refute itself, to all: they cannot trust this node's statement.
                self.ping_suspected(&key);
            }
            // Leaving is final for an incarnation; a new one brings a new record.
            LocalState::Left => {}
        }
    }

    fn ping_suspected(&mut self, key: &PublicKey) {
        let Some(member) = self.table.get(key) else { return };
        let (to, suspected) = (member.peer.contact, Some(member.version));
        let request = self.probe_of(suspected);
        self.ask(to, request, Purpose::Notify, AskOptions::tries(2));
    }

    /// A suspect was heard from, or refuted.
    pub(super) fn refuted(&mut self, now: Instant, key: &PublicKey) {
        let Some(contact) = self.table.get(key).map(|member| member.peer.contact) else { return };
        self.table.set_state(now, key, LocalState::Alive);
        if let Some(member) = self.table.get_mut(key) {
            member.confirmations.clear();
        }
        self.stats.refuted += 1;
        self.tell(contact, Change::Refuted, Some(Verdict::Alive));
    }

    /// A member that was dead or had left is back.
    pub(super) fn revive(&mut self, now: Instant, key: &PublicKey) {
        if !self.table.has_room() {
            self.stats.records_refused += 1;
            return;
        }
        let Some(contact) = self.table.get(key).map(|member| member.peer.contact) else { return };
        self.table.set_state(now, key, LocalState::Alive);
        if let Some(member) = self.table.get_mut(key) {
            member.confirmations.clear();
            member.heard = now;
        }
        self.stats.returned += 1;
        self.tell(contact, Change::Returned, Some(Verdict::Alive));
        self.outbox.push(Output::Candidates(vec![contact]));
        // If one member was lost, others may have been.
        self.anti_entropy.soon_with(now, contact);
    }

    /// The shortest suspicion of a member: by its round-trip time, and longer for a flapping one.
    fn suspicion_min(&self, member: &Member) -> Duration {
        // For a member that this node never probed, the mean of the others counts.
        let mean_rtt = self.detector.rtt.smoothed().is_some_and(|rtt| rtt < self.config.near);
        let near = member.near.unwrap_or(mean_rtt);
        let shortest = if near { self.config.suspicion_near } else { self.config.suspicion_far };
        let flapping = shortest * (1 << u32::from(2 * member.flaps.min(3)));
        let flapping = match member.answered || member.flaps == 0 {
            true => flapping.min(FLAPPING_SUSPICION_MAX.max(shortest)),
            false => ONE_WAY_SUSPICION.max(shortest),
        };
        self.detector.health.stretch(flapping)
    }

    /// A member could not be reached. `first`: no suspect message led to the probe.
    pub(super) fn suspect(&mut self, now: Instant, key: &PublicKey, first: bool) {
        if self.detector.isolation.is_isolated() {
            return;
        }
        let Some(member) = self.table.get(key).filter(|member| member.state == LocalState::Alive)
        else {
            return;
        };
        let (contact, version) = (member.peer.contact, member.version);
        let others = self.table.counts()[0].saturating_sub(1);
        let min = self.suspicion_min(member);
        let factor = self.config.suspicion_factor;
        let mut suspicion = Suspicion::new(now, min, factor, others);
        let confirmations: Vec<PublicKey> = member
            .confirmations
            .iter()
            .filter(|confirmation| now.since(confirmation.at) < CONFIRMATION_LIFE)
            .map(|confirmation| confirmation.from)
            .collect();
        let confirmed = confirmations.len();
        for confirmation in confirmations {
            suspicion.confirm(confirmation);
        }
        self.detector.expect_verdict(suspicion.ends(), *key);
        self.detector.expect_verdict(suspicion.rechecks().0, *key);
        self.table.set_state(now, key, LocalState::Suspect(Box::new(suspicion)));
        self.stats.raised += 1;
        self.tell(contact, Change::Suspected, Some(Verdict::Suspect));
        let suspect = SuspectMessage { subject: *key, version };
        let chance = CONFIRMERS / (others.max(1) as f64);
        if confirmed < CONFIRMATIONS && (first || self.rng.chance(chance)) {
            self.spread_suspect(suspect);
        }
        if self.mode == Mode::Open {
            // Each prober knows different neighbours of the suspect; send the suspicion to the ones
            // we know, so that one of them can refute.
            let named = self.table.get(key).map(|member| member.helper_hints.clone());
            self.send_suspect(suspect, named.unwrap_or_default());
        }
    }

    fn spread_suspect(&mut self, suspect: SuspectMessage) {
        if self.mode == Mode::Fleet {
            return self.broadcasts.add_suspect(suspect);
        }
        // The nodes closest to it watch it as a member of their close group.
        let subject = match self.table.get(&suspect.subject) {
            Some(member) => member.peer.id,
            None => suspect.subject.node_id(&self.own.network),
        };
        let mut watchers: Vec<_> = self
            .table
            .iter()
            .filter(|member| member.state == LocalState::Alive)
            .map(|member| member.peer)
            .collect();
        watchers.sort_by_key(|peer| peer.id.distance(&subject.into()));
        let told = watchers.into_iter().take(SUSPECT_FANOUT).map(|peer| peer.contact).collect();
        self.send_suspect(suspect, told);
    }

    fn send_suspect(&mut self, suspect: SuspectMessage, to: Vec<Contact>) {
        for contact in to {
            let request = MemberRequest::Suspect { suspects: vec![suspect] };
            self.ask(contact, request, Purpose::Suspect(contact.public_key), AskOptions::tries(2));
        }
    }

    /// The receiver of a suspect message confirms it. Where the nodes that watch a member do not
    /// all know each other, the last one to probe it learns so that the others suspect it.
    pub(super) fn on_confirmed(&mut self, now: Instant, from: PublicKey, response: Response) {
        if let Response::Member(MemberResponse::Confirmed { suspects }) = response {
            for suspect in suspects {
                self.on_suspect(now, from, suspect);
            }
        }
    }

    /// Another member states that it could not reach a member.
    pub(super) fn on_suspect(&mut self, now: Instant, from: PublicKey, suspect: SuspectMessage) {
        if !self.rates.takes_suspect(now, &from) {
            self.stats.over_rate += 1;
            return;
        }
        if suspect.subject == self.own.key() {
            return self.on_suspected_self(now, suspect);
        }
        let spread =
            (PRIORITY_SPREAD_PER_MEMBER * self.table.here() as u32).min(PRIORITY_SPREAD_MAX);
        let pause = spread.mul_f64(self.rng.fraction());
        let Some(member) = self.table.get_mut(&suspect.subject) else { return };
        if from == suspect.subject || suspect.version != member.version {
            self.stats.doubts_dropped += 1;
            return;
        }
        self.stats.doubts += 1;
        member.confirmations.retain(|confirmation| {
            confirmation.from != from && now.since(confirmation.at) < CONFIRMATION_LIFE
        });
        if member.confirmations.len() < CONFIRMATIONS {
            member.confirmations.push(Confirmation { from, at: now });
        }
        if let LocalState::Suspect(suspicion) = &mut member.state {
            if suspicion.confirm(from) {
                let ends = suspicion.ends();
                self.detector.expect_verdict(ends, suspect.subject);
            }
        } else if member.is_here() {
            self.schedule_priority_probe(now, &suspect.subject, pause);
        }
    }

    /// A recheck of a suspect failed: schedules the next one.
    pub(super) fn recheck_later(&mut self, now: Instant, key: &PublicKey) {
        self.detector.forget(key);
        let Some(Member { state: LocalState::Suspect(suspicion), .. }) = self.table.get(key) else {
            return;
        };
        let next = now + suspicion.rechecks().1;
        if next < suspicion.ends() {
            self.detector.expect_verdict(next, *key);
        }
    }

    /// Rechecks suspects, and decides suspicions whose end has come, each by one more probe.
    pub(super) fn on_suspicions_due(&mut self, now: Instant) {
        while let Some(key) = self.detector.pop_verdict(now) {
            let Some(member) = self.table.get(&key) else { continue };
            let LocalState::Suspect(suspicion) = &member.state else { continue };
            // The entry of a suspicion that was restarted or shortened costs one recheck at most.
            let reason =
                if suspicion.ends() > now { ProbeReason::Recheck } else { ProbeReason::Final };
            match (self.detector.isolation.is_isolated(), reason) {
                (false, _) => self.probe(now, &key, reason),
                (true, ProbeReason::Final) => self.postpone(now, &key),
                (true, _) => {}
            }
        }
    }

    /// Postpones the verdict on a suspect.
    pub(super) fn postpone(&mut self, now: Instant, key: &PublicKey) {
        let member = self.table.get(key);
        if member.is_some_and(|member| matches!(member.state, LocalState::Suspect(_))) {
            self.detector.expect_verdict(now + VERDICT_RETRY, *key);
        }
    }

    /// After this node was isolated, the silence of others meanwhile proves nothing.
    pub(super) fn restart_suspicions(&mut self, now: Instant) {
        let suspects: Vec<PublicKey> = self
            .table
            .iter()
            .filter(|member| matches!(member.state, LocalState::Suspect(_)))
            .map(|member| member.peer.contact.public_key)
            .collect();
        for key in suspects {
            if let Some(Member { state: LocalState::Suspect(suspicion), .. }) =
                self.table.get_mut(&key)
            {
                suspicion.restart(now);
                let ends = suspicion.ends();
                self.detector.expect_verdict(ends, key);
            }
        }
    }

    /// The last probe failed as well.
    pub(super) fn declare_dead(&mut self, now: Instant, key: &PublicKey) {
        let Some(member) = self.table.get_mut(key) else { return };
        let LocalState::Suspect(suspicion) = &member.state else { return };
        if suspicion.ends() > now || self.detector.isolation.is_isolated() {
            return self.postpone(now, key);
        }
        self.stats.last_detection = now.since(suspicion.began());
        member.flaps = member.flaps.saturating_add(1);
        let (contact, version) = (member.peer.contact, member.version);
        self.table.set_state(now, key, LocalState::Dead);
        self.heal_soon(now);
        self.stats.confirmed += 1;
        self.tell(contact, Change::Died, Some(Verdict::Dead));
        // In a fleet all members have heard of it. In an open network the nodes that watch it do
        // not all know each other.
        let others = self.table.counts()[0].max(1) as f64;
        if self.mode == Mode::Open && self.rng.chance(CONFIRMERS / others) {
            self.spread_suspect(SuspectMessage { subject: *key, version });
        }
    }

    /// It left, and signed that.
    pub(super) fn on_left(&mut self, now: Instant, key: &PublicKey) {
        let Some(member) = self.table.get(key).filter(|member| member.is_here()) else { return };
        let contact = member.peer.contact;
        self.detector.forget(key);
        self.table.set_state(now, key, LocalState::Left);
        self.tell(contact, Change::Left, Some(Verdict::Left));
    }

    /// The network's authority expelled a member, or all members that a ticket admitted.
    pub(super) fn on_revoked(
        &mut self,
        now: Instant,
        Revocation { subject, at }: Revocation,
        bytes: Bytes,
        spread: bool,
    ) {
        if spread {
            self.broadcasts.add_revocation(bytes.clone());
        }
        let dropped = self.revocations.add(self.wall, Revocation { subject, at }, bytes);
        self.stats.revocations_dropped += u64::from(dropped);
        match subject {
            Revoked::Member(key) => self.expel(now, &key),
            Revoked::Ticket(ticket) => {
                for key in self.admitted_by(&ticket) {
                    self.expel(now, &key);
                }
            }
        }
    }

    /// The known members that a ticket admitted, by the certificates in their records.
    #[must_use]
    pub fn admitted_by(&self, ticket: &PublicKey) -> Vec<PublicKey> {
        let network = &self.own.network;
        let by_it = |member: &&Member| {
            let record = MemberRecord::read(&member.record).ok();
            record.is_some_and(|record| self.revocations.admitted_by(&record, ticket, network))
        };
        let members = self.table.iter().filter(by_it);
        members.map(|member| member.peer.contact.public_key).collect()
    }

    /// The certificate in the record of a known member.
    #[must_use]
    pub fn certificate_of(&self, member: &PublicKey) -> Option<Bytes> {
        MemberRecord::read(&self.table.get(member)?.record).ok()?.certificate
    }

    fn expel(&mut self, now: Instant, key: &PublicKey) {
        self.broadcasts.forget(key);
        let Some(contact) = self.table.get(key).map(|member| member.peer.contact) else { return };
        self.detector.forget(key);
        self.table.set_state(now, key, LocalState::Left);
        self.table.remove(key);
        self.tell(contact, Change::Revoked, Some(Verdict::Left));
    }
}
