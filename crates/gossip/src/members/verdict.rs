//! What this node thinks of a member, and how it changes its mind.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Instant, PublicKey, UnixMillis};
use potluck_wire::{
    Certificate, Claim, MemberRecord, MemberRequest, MemberResponse, Response, Revocation, Revoked,
};

use super::detect::{HURRY_SPREAD, HURRY_SPREAD_MAX, Why};
use super::suspicion::{CONFIRMATIONS, Suspicion};
use super::table::{Doubter, Member, State};
use super::{Errand, How, Members, Output, REVOKED_MAX, Verdict};
use crate::view::{Change, MemberEvent, Mode};

/// A doubt that is older says nothing about now.
const DOUBT_LIFE: Duration = Duration::from_secs(30);
/// Of all members of a fleet that find a doubt confirmed, about so many say so: enough for
/// [`CONFIRMATIONS`], and not as many messages as there are members.
const CONFIRMERS: f64 = 6.0;
/// In an open network whoever tells it tells it to so many of those it watches, closest to the
/// subject first: the siblings in the DHT and the neighbours are 56.
const TOLD: usize = 64;
/// Between two times that a member's traffic is noted as a sign that this node is not cut off.
const HEARD_PAUSE: Duration = Duration::from_secs(1);
/// A suspicion that could not be decided is looked at again after this.
const AGAIN: Duration = Duration::from_millis(500);
/// Alive for so long, a member's deaths are forgotten.
const FLAPS_KEEP: Duration = Duration::from_secs(600);
/// The shortest suspicion of a member is four times as long after each of its deaths, but never longer
/// than this for that reason: nobody changes between dead and alive more than about once a minute.
const RESTLESS_MAX: Duration = Duration::from_secs(32);
/// The same for one that was dead, is heard now and then, and answers nobody: each time that it is heard
/// it is shown as alive, and as suspect soon after.
const ONE_WAY: Duration = Duration::from_secs(90);

impl Members {
    /// Tells people and the other parts.
    fn tell(&mut self, contact: Contact, change: Change, verdict: Option<Verdict>) {
        let peer = contact.in_network(&self.network);
        self.outbox.push_back(Output::Event(MemberEvent { peer, change }));
        if let Some(verdict) = verdict {
            self.outbox.push_back(Output::Verdict(contact, verdict));
        }
    }

    /// Authenticated traffic of a member: whatever was thought, it lives.
    pub(super) fn on_heard(&mut self, now: Instant, contact: Contact) {
        let key = contact.public_key;
        let Some(member) = self.table.get_mut(&key) else { return };
        if now.since(member.heard) >= HEARD_PAUSE {
            self.isolation.on_heard(now, key);
        }
        member.heard = now;
        member.peer.contact.address = contact.address;
        match member.state {
            State::Alive => {
                if member.flaps > 0 && now.since(member.since) > FLAPS_KEEP {
                    member.flaps = 0;
                }
            }
            State::Suspect(_) => self.refuted(now, &key),
            State::Dead => {
                member.answered = false;
                self.stats.false_deaths += 1;
                self.revive(now, &key);
                // It is to say so itself, to all: they cannot take this node's word for it.
                self.probe_doubting(&key);
            }
            // A good-bye is final for its incarnation; a new one brings a new record.
            State::Left => {}
        }
    }

    fn probe_doubting(&mut self, key: &PublicKey) {
        let Some(member) = self.table.get(key) else { return };
        let (to, doubted) = (member.peer.contact, Some(member.vitals));
        let request = self.probe_of(doubted);
        self.ask(to, request, Errand::Tell, How::tries(2));
    }

    /// A suspect has been heard, or has spoken.
    pub(super) fn refuted(&mut self, now: Instant, key: &PublicKey) {
        let Some(contact) = self.table.get(key).map(|member| member.peer.contact) else { return };
        self.table.set_state(now, key, State::Alive);
        if let Some(member) = self.table.get_mut(key) {
            member.doubters.clear();
        }
        self.stats.refuted += 1;
        self.tell(contact, Change::Refuted, Some(Verdict::Here));
    }

    /// A dead one, or one that left, is back.
    pub(super) fn revive(&mut self, now: Instant, key: &PublicKey) {
        if !self.table.has_room() {
            self.stats.records_refused += 1;
            return;
        }
        let Some(contact) = self.table.get(key).map(|member| member.peer.contact) else { return };
        self.table.set_state(now, key, State::Alive);
        if let Some(member) = self.table.get_mut(key) {
            member.doubters.clear();
            member.heard = now;
        }
        self.stats.returned += 1;
        self.tell(contact, Change::Returned, Some(Verdict::Here));
        self.outbox.push_back(Output::Candidates(vec![contact]));
        // Where one was lost, others may have been.
        self.comparing.soon_with(now, contact);
    }

    /// The shortest suspicion of a member: by its distance, and longer for who comes and goes.
    fn patience(&self, member: &Member) -> Duration {
        // Of a member that was never probed from here, what the others are like has to do.
        let typical = self.typical.is_some_and(|typical| typical < self.config.near);
        let near = member.near.unwrap_or(typical);
        let shortest = if near { self.config.suspicion_near } else { self.config.suspicion_far };
        let restless = shortest * (1 << u32::from(2 * member.flaps.min(3)));
        let restless = match member.answered || member.flaps == 0 {
            true => restless.min(RESTLESS_MAX.max(shortest)),
            false => ONE_WAY.max(shortest),
        };
        self.health.stretch(restless)
    }

    /// A member could not be reached. `first` if no doubt of others led to the probe.
    pub(super) fn suspect(&mut self, now: Instant, key: &PublicKey, first: bool) {
        if self.isolation.is_up() {
            return;
        }
        let Some(member) = self.table.get(key).filter(|member| member.state == State::Alive) else {
            return;
        };
        let (contact, vitals) = (member.peer.contact, member.vitals);
        let others = self.table.counts()[0].saturating_sub(1);
        let min = self.patience(member);
        let factor = self.config.suspicion_factor;
        let mut suspicion = Suspicion::new(now, min, factor, others);
        let doubters: Vec<PublicKey> = member
            .doubters
            .iter()
            .filter(|doubter| now.since(doubter.at) < DOUBT_LIFE)
            .map(|doubter| doubter.who)
            .collect();
        let doubted = doubters.len();
        for doubter in doubters {
            suspicion.confirm(doubter);
        }
        self.detector.expect_verdict(suspicion.ends(), *key);
        self.detector.expect_verdict(suspicion.looks().0, *key);
        self.table.set_state(now, key, State::Suspect(Box::new(suspicion)));
        self.stats.raised += 1;
        self.tell(contact, Change::Suspected, Some(Verdict::Doubted));
        let claim = Claim { subject: *key, vitals };
        let chance = CONFIRMERS / (others.max(1) as f64);
        if doubted < CONFIRMATIONS && (first || self.rng.chance(chance)) {
            self.spread_doubt(claim);
        }
        if self.mode == Mode::Open {
            // Of those linked to it each watcher knows a few, which others cannot find.
            let named = self.table.get(key).map(|member| member.beside.clone());
            self.tell_doubt(claim, named.unwrap_or_default());
        }
    }

    fn spread_doubt(&mut self, claim: Claim) {
        if self.mode == Mode::Fleet {
            return self.rumours.add_claim(claim);
        }
        // Those closest to it watch it as their sibling.
        let subject = match self.table.get(&claim.subject) {
            Some(member) => member.peer.id,
            None => claim.subject.node_id(&self.network),
        };
        let mut watchers: Vec<_> = self
            .table
            .iter()
            .filter(|member| member.state == State::Alive)
            .map(|member| member.peer)
            .collect();
        watchers.sort_by_key(|peer| peer.id.distance(&subject.into()));
        let told = watchers.into_iter().take(TOLD).map(|peer| peer.contact).collect();
        self.tell_doubt(claim, told);
    }

    fn tell_doubt(&mut self, claim: Claim, to: Vec<Contact>) {
        for contact in to {
            let request = MemberRequest::Doubt { claims: vec![claim] };
            self.ask(contact, request, Errand::Doubt(contact.public_key), How::tries(2));
        }
    }

    /// Whoever was told of a doubt shares it. Where not all who watch a member know each other, the
    /// last to come to it in its turn hears so that the others know.
    pub(super) fn on_shared(&mut self, now: Instant, from: PublicKey, response: Response) {
        if let Response::Member(MemberResponse::Shared { claims }) = response {
            for claim in claims {
                self.on_doubt(now, from, claim);
            }
        }
    }

    /// Somebody says that it could not reach a member.
    pub(super) fn on_doubt(&mut self, now: Instant, from: PublicKey, claim: Claim) {
        if !self.rates.doubts(now, &from) {
            self.stats.over_rate += 1;
            return;
        }
        if claim.subject == self.me.contact.public_key {
            return self.on_doubted_myself(now, claim);
        }
        let spread = (HURRY_SPREAD * self.table.here() as u32).min(HURRY_SPREAD_MAX);
        let pause = spread.mul_f64(self.rng.fraction());
        let Some(member) = self.table.get_mut(&claim.subject) else { return };
        if from == claim.subject || claim.vitals != member.vitals {
            self.stats.doubts_dropped += 1;
            return;
        }
        self.stats.doubts += 1;
        member.doubters.retain(|doubter| doubter.who != from && now.since(doubter.at) < DOUBT_LIFE);
        if member.doubters.len() < CONFIRMATIONS {
            member.doubters.push(Doubter { who: from, at: now });
        }
        if let State::Suspect(suspicion) = &mut member.state {
            if suspicion.confirm(from) {
                let ends = suspicion.ends();
                self.detector.expect_verdict(ends, claim.subject);
            }
        } else if member.is_here() {
            self.hurry(now, &claim.subject, pause);
        }
    }

    /// A look at a suspect found nothing.
    pub(super) fn look_again(&mut self, now: Instant, key: &PublicKey) {
        self.detector.forget(key);
        let Some(Member { state: State::Suspect(suspicion), .. }) = self.table.get(key) else {
            return;
        };
        let next = now + suspicion.looks().1;
        if next < suspicion.ends() {
            self.detector.expect_verdict(next, *key);
        }
    }

    /// Suspects to be looked at, and suspicions whose end has come, by the clock; each is decided by
    /// one more probe.
    pub(super) fn on_suspicions_due(&mut self, now: Instant) {
        while let Some(key) = self.detector.pop_verdict(now) {
            let Some(member) = self.table.get(&key) else { continue };
            let State::Suspect(suspicion) = &member.state else { continue };
            // An entry of a suspicion that was begun anew or shortened costs one look at most.
            let why = if suspicion.ends() > now { Why::Look } else { Why::Verdict };
            match (self.isolation.is_up(), why) {
                (false, _) => self.probe(now, &key, why),
                (true, Why::Verdict) => self.postpone(now, &key),
                (true, _) => {}
            }
        }
    }

    /// The verdict on a suspect has to wait.
    pub(super) fn postpone(&mut self, now: Instant, key: &PublicKey) {
        let member = self.table.get(key);
        if member.is_some_and(|member| matches!(member.state, State::Suspect(_))) {
            self.detector.expect_verdict(now + AGAIN, *key);
        }
    }

    /// After this node was cut off, what it did not hear meanwhile proves nothing.
    pub(super) fn restart_suspicions(&mut self, now: Instant) {
        let suspects: Vec<PublicKey> = self
            .table
            .iter()
            .filter(|member| matches!(member.state, State::Suspect(_)))
            .map(|member| member.peer.contact.public_key)
            .collect();
        for key in suspects {
            if let Some(Member { state: State::Suspect(suspicion), .. }) = self.table.get_mut(&key)
            {
                suspicion.restart(now);
                let ends = suspicion.ends();
                self.detector.expect_verdict(ends, key);
            }
        }
    }

    /// The last probe failed as well.
    pub(super) fn bury(&mut self, now: Instant, key: &PublicKey) {
        let Some(member) = self.table.get_mut(key) else { return };
        let State::Suspect(suspicion) = &member.state else { return };
        if suspicion.ends() > now || self.isolation.is_up() {
            return self.postpone(now, key);
        }
        self.stats.last_detection = now.since(suspicion.began());
        member.flaps = member.flaps.saturating_add(1);
        let (contact, vitals) = (member.peer.contact, member.vitals);
        self.table.set_state(now, key, State::Dead);
        self.heal_soon(now);
        self.stats.confirmed += 1;
        self.tell(contact, Change::Died, Some(Verdict::Dead));
        // In a fleet all have heard of it. Elsewhere who watches it is not known to all who do.
        let others = self.table.counts()[0].max(1) as f64;
        if self.mode == Mode::Open && self.rng.chance(CONFIRMERS / others) {
            self.spread_doubt(Claim { subject: *key, vitals });
        }
    }

    /// It said good-bye, and signed it.
    pub(super) fn on_left(&mut self, now: Instant, key: &PublicKey) {
        let Some(member) = self.table.get(key).filter(|member| member.is_here()) else { return };
        let contact = member.peer.contact;
        self.detector.forget(key);
        self.table.set_state(now, key, State::Left);
        self.tell(contact, Change::Left, Some(Verdict::Left));
    }

    /// Remembers a revocation, and drops what it needs room for: those that are over, since all that
    /// they make void has expired by itself, then the oldest one, whose end is nearest.
    fn keep_revocation(&mut self, subject: Revoked, at: UnixMillis, bytes: Bytes) {
        self.prune_revoked();
        if self.revoked.contains_key(&subject) {
            return;
        }
        if self.revoked.len() >= REVOKED_MAX {
            let oldest =
                self.revoked.iter().min_by_key(|(_, (at, _))| *at).map(|(subject, _)| *subject);
            oldest.map(|oldest| self.revoked.remove(&oldest));
            self.stats.revocations_dropped += 1;
        }
        self.revoked.insert(subject, (at, bytes));
    }

    /// Drops revocations that are over.
    pub(super) fn prune_revoked(&mut self) {
        let Some(now) = self.wall else { return };
        self.revoked
            .retain(|subject, (at, _)| !Revocation { subject: *subject, at: *at }.is_over(now));
    }

    /// The network's authority has put a member out, or all that a ticket let in.
    pub(super) fn on_revoked(
        &mut self,
        now: Instant,
        Revocation { subject, at }: Revocation,
        bytes: Bytes,
        spread: bool,
    ) {
        if spread {
            self.rumours.add_revocation(bytes.clone());
        }
        self.keep_revocation(subject, at, bytes);
        match subject {
            Revoked::Member(key) => self.put_out(now, &key),
            Revoked::Ticket(ticket) => {
                for key in self.let_in_by(&ticket) {
                    self.put_out(now, &key);
                }
            }
        }
    }

    /// The known members that a ticket let in, as their records' certificates say.
    #[must_use]
    pub fn let_in_by(&self, ticket: &PublicKey) -> Vec<PublicKey> {
        let Some(authority) = &self.authority else { return Vec::new() };
        let by_it = |member: &&Member| {
            let record = MemberRecord::read(&member.record).ok();
            let certificate = record.and_then(|record| record.certificate);
            certificate
                .and_then(|bytes| Certificate::read(&bytes, authority, &self.network).ok())
                .is_some_and(|certificate| certificate.ticket == Some(*ticket))
        };
        let members = self.table.iter().filter(by_it);
        members.map(|member| member.peer.contact.public_key).collect()
    }

    fn put_out(&mut self, now: Instant, key: &PublicKey) {
        self.rumours.forget(key);
        let Some(contact) = self.table.get(key).map(|member| member.peer.contact) else { return };
        self.detector.forget(key);
        self.table.set_state(now, key, State::Left);
        self.table.remove(key);
        self.tell(contact, Change::Revoked, Some(Verdict::Left));
    }
}
