//! The lookups under way: starting them, feeding them answers, ending them.

use std::time::Duration;

use potluck_base::{Contact, Instant, Key, NodeId, Peer};
use potluck_wire::Want;

use super::{Answer, Dht, Joining, LookupRequest, Output, Purpose, diversity};
use crate::event::QueryId;
use crate::lookup::{Ask, Limits, Lookup, LookupId, LookupOwner};
use crate::lookups::Running;
use crate::probes::Reason;
use crate::trace::LookupOutcome;

/// Age, in soft timeouts, from which a request no longer delays the end of a read's lookup. A
/// guess: long enough for a second try over a slow link, and much shorter than the three tries to a
/// dead node. A read takes its values from the nodes that answered. Raising it makes reads wait longer
/// for a silent node.
const READ_ABANDON_AFTER: u32 = 4;

/// The same for the lookup of a write, which stores at the late nodes too ([`Lookup::late`]), so that it
/// misses nothing by not waiting. A guess: long enough for a second try. Each late node costs a copy at a
/// farther one; raising it makes fewer of these copies and slower writes.
const WRITE_ABANDON_AFTER: u32 = 3;

/// The age, in soft timeouts, from which a lookup for this part of the record may end without an answer.
/// Reads ask for values, writes for heads.
const fn abandon_after(want: Want) -> u32 {
    match want {
        Want::Nothing | Want::Heads => WRITE_ABANDON_AFTER,
        Want::Values => READ_ABANDON_AFTER,
    }
}

impl Dht {
    pub(super) fn start_lookup(&mut self, now: Instant, id: LookupId, asked: LookupRequest) {
        if self.lookups.len() >= self.config.lookups_max || self.lookups.contains(id) {
            self.stats.lookups_refused += 1;
            if id.is_requested() {
                self.outbox.push_back(Output::Refused(id));
            }
            if self.joining == Joining::Looking(id) {
                // The next contact that is verified starts the lookup again.
                self.joining = Joining::Alone;
            }
            return;
        }
        self.stats.lookups_started += 1;
        let paths = self.paths(id, &asked);
        // More paths than a write's may each be led astray.
        let more = paths.saturating_sub(self.config.write_paths) * asked.goal / 2;
        let limits = Limits {
            goal: asked.goal.max(1),
            alpha: self.config.alpha,
            paths,
            second_parts: self.config.second_parts && (asked.doubt || asked.want == Want::Heads),
            diversity: diversity(&self.config),
            requests_max: self.config.lookup_requests_max + more,
            abandon_after: (!asked.waits).then_some(abandon_after(asked.want)),
            deadline: self.config.lookup_deadline,
        };
        let mut lookup = Lookup::new(now, asked.target, asked.why, limits);
        let seeds = limits.goal + self.config.k;
        lookup.seed(self.table.closest_responsive(&asked.target, seeds));
        let count = u8::try_from(self.config.k.min(asked.goal.max(8))).unwrap_or(u8::MAX);
        let asked_for = id.is_requested();
        let wake = lookup.deadline();
        self.lookups.insert(id, Running { lookup, want: asked.want, count, wake, asked_for });
        self.drive_lookup(now, id);
    }

    /// How many disjoint paths a lookup takes.
    fn paths(&self, id: LookupId, asked: &LookupRequest) -> usize {
        let is_join = self.joining == Joining::Looking(id);
        let writes = id.owner == LookupOwner::Records && asked.want == Want::Heads;
        match (asked.doubt, is_join || writes) {
            _ if !self.config.defences.disjoint_paths => 1,
            (true, _) => self.config.doubt_paths,
            (false, true) => self.config.write_paths,
            (false, false) => self.config.read_paths,
        }
    }

    pub(super) fn own_lookup(&mut self, now: Instant, target: Key, why: &'static str) -> LookupId {
        self.next_own_lookup += 1;
        let id = LookupId::table(self.next_own_lookup);
        let goal = self.config.k;
        // The table must know the closest nodes for certain.
        let (want, waits, doubt) = (Want::Nothing, true, false);
        self.start_lookup(now, id, LookupRequest { target, want, goal, why, waits, doubt });
        id
    }

    /// Sends the requests that a lookup may send now, and ends the lookup when it is over.
    pub(super) fn drive_lookup(&mut self, now: Instant, id: LookupId) {
        let soft_timeout = self.soft_timeout();
        loop {
            let Some(running) = self.lookups.get_mut(id) else { return };
            if let Some(outcome) = running.lookup.finished(now, soft_timeout) {
                self.finish_lookup(now, id, outcome);
                return;
            }
            let Some(Ask { peer, second }) = running.lookup.next(now, soft_timeout) else {
                let end = running.lookup.deadline();
                let overdue = running.lookup.next_soft_timeout(now, soft_timeout);
                running.wake = overdue.map_or(end, |overdue| overdue.min(end));
                return;
            };
            let purpose = Purpose::Find {
                lookup: id,
                target: running.lookup.target(),
                count: running.count,
                want: if second { Want::Nothing } else { running.want },
                second,
            };
            self.stats.second_parts_asked += u64::from(second);
            let query = self.query_id();
            self.lookups.sent(query, id, peer);
            self.stats.queries_sent += 1;
            let tries = self.config.lookup_tries;
            self.outbox.push_back(Output::Query { query, to: peer.contact, purpose, tries });
        }
    }

    pub(super) fn finish_lookup(&mut self, now: Instant, id: LookupId, outcome: LookupOutcome) {
        let Some((running, trace)) = self.lookups.finish(now, id, outcome) else { return };
        match outcome {
            LookupOutcome::Converged | LookupOutcome::Satisfied => {
                self.stats.lookups_succeeded += 1;
            }
            LookupOutcome::Exhausted | LookupOutcome::OutOfBudget => self.stats.lookups_failed += 1,
        }
        if running.asked_for {
            // One that asked no other node says nothing about the network.
            if !trace.queries.is_empty() {
                self.stats.lookup_times.note(trace.took);
            }
            let closest = running.lookup.answered().collect();
            let late = running.lookup.late().collect();
            self.outbox.push_back(Output::Finished { lookup: id, closest, late, trace });
        }
        if self.joining == Joining::Looking(id) {
            if self.table.is_empty() {
                self.joining = Joining::Alone;
            } else {
                self.joining = Joining::Joined;
                self.ever_joined = true;
                self.refresh_at = now + Duration::from_secs(1);
                self.outbox.push_back(Output::Joined);
            }
        }
    }

    pub(super) fn on_answered(&mut self, now: Instant, answer: Answer) {
        let Answer { query, from, contacts, rtt } = answer;
        self.answer_time.sample(rtt);
        let peer = from.in_network(&self.network);
        if let Some(probe) = self.probes.take(query) {
            if probe.reason == Reason::Entry {
                self.entries.learned(probe.peer.contact.address, from);
            }
            self.admit(now, peer, Some(rtt));
            self.prove_waiting(now);
            return;
        }
        let Some((id, asked)) = self.lookups.query(query) else {
            self.admit(now, peer, Some(rtt));
            return;
        };
        if !self.validator.is_proven_sender(&asked.contact.public_key, &from.public_key) {
            self.stats.updates_refused_unproven += 1;
            return self.on_failed(now, query);
        }
        self.lookups.take_query(query);
        self.admit(now, peer, Some(rtt));
        let news = self.offered(now, id, &peer, contacts);
        let suspects: Vec<NodeId> =
            news.iter().map(|peer| peer.id).filter(|id| self.is_suspect(id)).collect();
        if let Some(running) = self.lookups.get_mut(id) {
            running.lookup.on_answer(now, &asked.id, news);
            // A node that recently failed to answer this node is not asked again because others
            // name it.
            for suspect in suspects {
                running.lookup.on_failure(now, &suspect);
            }
            self.drive_lookup(now, id);
        }
    }

    /// The contacts of an answer by `sender` that the lookup may ask.
    fn offered(
        &mut self,
        now: Instant,
        id: LookupId,
        sender: &Peer,
        contacts: Vec<Contact>,
    ) -> Vec<Peer> {
        let offered = contacts.len();
        let count = self.lookups.get_mut(id).map_or(0, |running| usize::from(running.count));
        let news: Vec<Peer> = contacts
            .into_iter()
            .take(count)
            .filter(|contact| self.is_acceptable(contact))
            .map(|contact| contact.in_network(&self.network))
            .filter(|news| news.id != self.me.id)
            .collect();
        let named = news.len();
        let is_proved =
            |peer: &Peer| self.table.entry(&peer.id).is_some_and(|entry| entry.peer == *peer);
        let mut news = self.named.admit(now, news, is_proved);
        self.stats.contacts_capped += (named - news.len()) as u64;
        self.stats.contacts_refused += (offered - named) as u64;
        let unknown = news.iter().filter(|peer| !is_proved(peer)).count();
        let mut allowed = self.validator.take_rate(now, &sender.id, unknown);
        self.stats.updates_refused_rate += (unknown - allowed) as u64;
        if allowed < unknown {
            let table = &self.table;
            news.retain(|peer| {
                let proved = table.entry(&peer.id).is_some_and(|entry| entry.peer == *peer);
                proved || allowed.checked_sub(1).map(|left| allowed = left).is_some()
            });
        }
        news
    }

    pub(super) fn on_failed(&mut self, now: Instant, query: QueryId) {
        if let Some(probe) = self.probes.take(query) {
            self.stats.probes_failed += 1;
            match probe.reason {
                Reason::Check => self.on_silence(now, &probe),
                Reason::Proof => self.stats.updates_refused_unproven += 1,
                Reason::Entry => {}
            }
            self.prove_waiting(now);
            return;
        }
        let Some((id, peer)) = self.lookups.take_query(query) else { return };
        self.stats.queries_timed_out += 1;
        if let Some(running) = self.lookups.get_mut(id) {
            running.lookup.on_failure(now, &peer.id);
        }
        // A failure at an address that others reported says nothing about the contact in the table.
        if self.table.entry(&peer.id).is_some_and(|entry| entry.peer == peer) {
            self.suspect(now, &peer.id);
        } else {
            self.named.on_silence(now, peer.contact.address);
        }
        self.drive_lookup(now, id);
    }

    /// A request could not be sent. The lookup goes on without it; the contact is checked later.
    pub(super) fn on_unsent(&mut self, now: Instant, query: QueryId) {
        if let Some(probe) = self.probes.take(query) {
            self.table.check_at(&probe.peer.id, now + Duration::from_secs(1));
        } else if let Some((id, peer)) = self.lookups.take_query(query) {
            if let Some(running) = self.lookups.get_mut(id) {
                running.lookup.on_failure(now, &peer.id);
            }
            self.drive_lookup(now, id);
        }
    }
}
