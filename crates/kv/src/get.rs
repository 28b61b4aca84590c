//! One read: merge the states of replicas until enough of them agree, then repair the stale ones.
//!
//! Integrity comes from signatures, so one honest holder is enough for a genuine value; agreement
//! of R replicas buys freshness. A record counts as absent only if R of the r closest nodes said so
//! and no node claimed to hold envelopes that could not be fetched.

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{Deadline, Instant, Key, NodeId, Peer};
use potluck_record::limits::writers_max;
use potluck_record::{
    Envelope, MergeAs, Place, Reading, SignedHead, State, StateDigest, StorageOp, StorageReply,
};
use potluck_wire::{Loaded, RecordAnswer, Request, Want};

use crate::answer::{self, ReplicaAnswer};
use crate::command::{CommandError, CommandId, ReadDone, Reply};
use crate::core::{AskPurpose, Core, OpPurpose};
use crate::event::Delivery;
use crate::paged_fetch::PagedFetches;
use crate::storage;

/// Replicas that must hold a future-dated envelope before this node concludes that its own clock is
/// behind: honest replicas refuse such envelopes, and a single one may lie. A higher number
/// tolerates more liars and notices a wrong clock less often.
pub(crate) const FUTURE_DATED_QUORUM: u16 = 2;

/// Whether an operation continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    /// It waits for more.
    Waiting,
    /// It has been answered.
    Done,
}

/// The purpose of a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadPurpose {
    /// The application asked for it.
    Read,
    /// A write found siblings and returns them.
    Conflict,
}

/// One read under way.
#[derive(Debug, Clone)]
pub(crate) struct Get {
    id: CommandId,
    key: Key,
    quorum: Option<u16>,
    purpose: ReadPurpose,
    deadline: Instant,
    state: State<Envelope>,
    /// The nodes that answered, with the digest of what each holds.
    answers: BTreeMap<NodeId, (Peer, StateDigest)>,
    /// Nodes that hold a future-dated envelope, by this node's clock.
    future_dated: u16,
    closest: Option<Vec<Peer>>,
    local_waiting: u8,
    /// The head of this node's own envelope, as it was when the read began.
    own: Option<SignedHead>,
    fetches: PagedFetches,
}

impl Get {
    pub(crate) fn start(
        core: &mut Core,
        now: Instant,
        id: CommandId,
        asked: (Key, Option<u16>, ReadPurpose),
    ) -> Self {
        let (key, quorum, purpose) = asked;
        for place in [Place::Replica, Place::Own] {
            core.storage(StorageOp::Load { key, place }, OpPurpose::CommandLoad(id));
        }
        core.lookup(id, key, Want::Values, "get");
        Self {
            id,
            key,
            quorum,
            purpose,
            deadline: now + core.read_timeout(),
            state: State::new(),
            answers: BTreeMap::new(),
            future_dated: 0,
            closest: None,
            local_waiting: 2,
            own: None,
            fetches: PagedFetches::new(id, key),
        }
    }

    pub(crate) const fn deadline(&self) -> Deadline {
        Deadline::new(self.deadline, "get")
    }

    /// Takes what this node itself holds. The first answer is its replica; the second is its own
    /// envelope, which makes a node read its own writes.
    pub(crate) fn on_local(
        &mut self,
        core: &mut Core,
        now: Instant,
        reply: StorageReply,
    ) -> Progress {
        let is_replica = self.local_waiting == 2;
        self.local_waiting = self.local_waiting.saturating_sub(1);
        if let Ok(envelopes) = storage::envelopes(reply) {
            let held = ReplicaAnswer::local(envelopes);
            // A copy kept from a time when this node was a replica may be stale: it does not count.
            let counts = is_replica && core.is_responsible(&self.key);
            let holders = [core.me];
            if !is_replica {
                self.own = held.state.iter().next().map(|own| own.head().clone());
            }
            self.take(if counts { &holders } else { &[] }, &held.state);
        }
        self.settle(core, now)
    }

    /// Takes the answer of a node that the lookup asked.
    pub(crate) fn on_found(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: Peer,
        record: &RecordAnswer,
    ) -> Progress {
        let known = record.digest != StateDigest::EMPTY && record.digest == self.state.digest();
        if known {
            self.answers.insert(from.id, (from, record.digest));
        } else if record.complete {
            let wall = core.wall(now);
            if let Some(held) = answer::envelopes(core, wall, &self.key, &record.parts) {
                self.future_dated += u16::from(held.future_dated);
                self.take(&[from], &held.state);
            }
        } else {
            self.fetches.start(core, from, record.digest);
        }
        self.settle(core, now)
    }

    fn take(&mut self, holders: &[Peer], held: &State<Envelope>) {
        for holder in holders {
            self.answers.insert(holder.id, (*holder, held.digest()));
        }
        for envelope in held.iter() {
            self.state.merge(envelope.clone());
        }
    }

    /// A page of what a replica holds, or `None` if it could not be fetched.
    pub(crate) fn on_load(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: NodeId,
        loaded: Option<Loaded>,
    ) -> Progress {
        let wall = core.wall(now);
        if let Some(fetched) = self.fetches.on_loaded(core, wall, from, loaded) {
            self.future_dated +=
                u16::from(fetched.held.future_dated) * fetched.holders.len() as u16;
            self.take(&fetched.holders, &fetched.held.state);
        }
        self.settle(core, now)
    }

    pub(crate) fn on_lookup_done(
        &mut self,
        core: &mut Core,
        now: Instant,
        closest: Vec<Peer>,
    ) -> Progress {
        self.closest = Some(closest);
        self.settle(core, now)
    }

    /// The read deadline is over: decides with the answers so far.
    pub(crate) fn on_deadline(&mut self, core: &mut Core, now: Instant) -> Progress {
        core.stop_lookup(self.id);
        self.fetches.abandon();
        self.local_waiting = 0;
        self.closest.get_or_insert_default();
        self.settle(core, now)
    }

    /// Nodes that hold exactly the merged state, among the r closest of those that answered.
    fn agreeing(&self, core: &Core) -> u16 {
        let digest = self.state.digest();
        let mut answers: Vec<&(Peer, StateDigest)> = self.answers.values().collect();
        answers.sort_by_key(|(peer, _)| peer.distance(&self.key));
        let nearest = answers.iter().take(core.replication());
        nearest.filter(|(_, held)| *held == digest).count() as u16
    }

    /// Digests of the r closest nodes: writes go to these only.
    fn nearest_answers(&self, core: &Core) -> Vec<StateDigest> {
        let mut nearest: Vec<Peer> = self.closest.clone().unwrap_or_default();
        nearest.extend(core.serves.then_some(core.me));
        nearest.sort_by_key(|peer| peer.distance(&self.key));
        nearest
            .iter()
            .take(core.replication())
            .filter_map(|peer| self.answers.get(&peer.id).map(|(_, held)| *held))
            .collect()
    }

    fn settle(&mut self, core: &mut Core, now: Instant) -> Progress {
        if self.local_waiting > 0 {
            return Progress::Waiting;
        }
        if self.future_dated >= FUTURE_DATED_QUORUM {
            core.stop_lookup(self.id);
            core.reply(self.id, Reply::Failed(CommandError::Clock));
            return Progress::Done;
        }
        let needed = self.quorum.unwrap_or_else(|| core.read_quorum());
        // A replica that claims another state may hold the last acknowledged write.
        if self.fetches.is_waiting() {
            return Progress::Waiting;
        }
        if !self.state.is_empty() && self.agreeing(core) >= needed {
            self.finish(core, now);
            return Progress::Done;
        }
        if self.closest.is_none() {
            return Progress::Waiting;
        }
        let nearest = self.nearest_answers(core);
        let absent = nearest.iter().filter(|held| **held == StateDigest::EMPTY).count() as u16;
        let enough = match self.quorum {
            Some(strict) => nearest.len() as u16 >= strict,
            None => !self.state.is_empty() || absent >= needed && self.fetches.unread() == 0,
        };
        if enough {
            self.finish(core, now);
        } else {
            let error = CommandError::TooFewAnswers { answers: nearest.len() as u16, needed };
            core.reply(self.id, Reply::Failed(error));
        }
        Progress::Done
    }

    fn finish(&mut self, core: &mut Core, now: Instant) {
        core.stop_lookup(self.id);
        let me = core.identity.public_key();
        if let Some(head) = self.state.of(&me).map(Envelope::head) {
            core.watch_own(core.wall(now), head, self.own.as_ref());
        }
        let reading = Reading::of(&self.state, core.wall(now));
        if reading.values.is_empty() {
            core.stats.gets_absent += 1;
        } else {
            core.stats.gets_found += 1;
        }
        let done = ReadDone {
            key: self.key,
            reading,
            digest: self.state.digest(),
            answers: self.answers.len() as u16,
        };
        let reply = match self.purpose {
            ReadPurpose::Read => Reply::Read(done),
            ReadPurpose::Conflict => Reply::Conflict(done),
        };
        core.reply(self.id, reply);
        self.repair(core);
    }

    /// Read repair: sends the merged state to replicas that lack part of it.
    fn repair(&self, core: &mut Core) {
        let digest = self.state.digest();
        if self.state.is_empty() {
            return;
        }
        // If the lookup did not finish, only nodes that hold part of the record are known replicas.
        let converged: Vec<NodeId> =
            self.closest.iter().flatten().take(core.replication()).map(|peer| peer.id).collect();
        let stale: Vec<Peer> = self
            .answers
            .values()
            .filter(|(peer, held)| {
                *held != digest
                    && (*held != StateDigest::EMPTY || converged.contains(&peer.id))
                    && peer.id != core.me.id
            })
            .map(|(peer, _)| *peer)
            .take(core.config.read_repairs_max)
            .collect();
        for peer in stale {
            core.stats.read_repairs += 1;
            for request in stores(&self.state) {
                core.ask(peer, request, Delivery::Fitting, AskPurpose::ReadRepair);
            }
        }
        let lacks = self.answers.get(&core.me.id).is_some_and(|(_, held)| *held != digest);
        if lacks && core.is_responsible(&self.key) {
            for envelope in self.state.iter() {
                let op = StorageOp::Merge {
                    envelope: envelope.clone(),
                    place: Place::Replica,
                    how: MergeAs::Repair,
                };
                core.storage(op, OpPurpose::Pulled(self.key, None));
            }
        }
    }
}

/// A request to store encoded envelopes.
pub(crate) const fn store(envelopes: Vec<Bytes>) -> Request {
    Request::Store { envelopes, certificates: Vec::new() }
}

/// A state as requests to store it, each within the size of a call.
fn stores(state: &State<Envelope>) -> Vec<Request> {
    let mut requests = Vec::new();
    let (mut envelopes, mut size) = (Vec::new(), 0);
    let most = state.iter().next().map_or(0, |first| writers_max(first.head().space()));
    for envelope in state.iter().take(usize::from(most)) {
        let bytes = envelope.encode();
        if size + bytes.len() > STORE_BYTES_MAX && !envelopes.is_empty() {
            requests.push(store(std::mem::take(&mut envelopes)));
            size = 0;
        }
        size += bytes.len() + 5;
        envelopes.push(bytes);
    }
    requests.extend((!envelopes.is_empty()).then(|| store(envelopes)));
    requests
}

/// Most bytes of envelopes in one store request: the size limit of a call, less room for framing.
const STORE_BYTES_MAX: usize = potluck_wire::limits::CALL_BYTES_MAX - 1024;
