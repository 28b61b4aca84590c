//! One read: merge what replicas hold until enough of them agree, then bring the stale up to date.
//!
//! Integrity comes from signatures, so one honest holder is enough for a genuine value; agreement
//! of R replicas buys freshness. A record counts as absent only if R of the r closest said so and
//! nobody claimed to hold something that could not be read.

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{Deadline, Instant, Key, NodeId, Peer};
use potluck_record::limits::writers_max;
use potluck_record::{
    Envelope, MergeAs, Place, Reading, SignedHead, State, StateDigest, StorageOp, StorageReply,
};
use potluck_wire::{Loaded, RecordAnswer, Request, Want};

use crate::answer::{self, Held};
use crate::command::{CommandError, CommandId, ReadDone, Reply};
use crate::core::{AskFor, Core, OpFor, Way};
use crate::gather::Gathering;

/// Replicas that hold something dated ahead before this node takes its own clock for wrong: honest
/// ones refuse such envelopes, and one alone may lie.
pub(crate) const CLOCK_WITNESSES: u16 = 2;

/// Whether an operation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Progress {
    /// It waits for more.
    Waiting,
    /// It has been answered.
    Done,
}

/// What the read is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To be returned.
    Read,
    /// To show the siblings that a write ran into.
    Conflict,
}

/// One read under way.
#[derive(Debug, Clone)]
pub(crate) struct Get {
    id: CommandId,
    key: Key,
    quorum: Option<u16>,
    purpose: Purpose,
    deadline: Instant,
    state: State<Envelope>,
    /// Who said what it holds, by digest.
    answers: BTreeMap<NodeId, (Peer, StateDigest)>,
    /// Nodes that hold something dated ahead of this node's clock.
    ahead: u16,
    closest: Option<Vec<Peer>>,
    local_waiting: u8,
    /// The head of this node's own envelope, as it was when the read began.
    own: Option<SignedHead>,
    gathering: Gathering,
}

impl Get {
    pub(crate) fn start(
        core: &mut Core,
        now: Instant,
        id: CommandId,
        asked: (Key, Option<u16>, Purpose),
    ) -> Self {
        let (key, quorum, purpose) = asked;
        for place in [Place::Replica, Place::Own] {
            core.storage(StorageOp::Load { key, place }, OpFor::CommandLoad(id));
        }
        core.lookup(id, key, Want::Values, "get");
        Self {
            id,
            key,
            quorum,
            purpose,
            deadline: now + core.read_patience(),
            state: State::new(),
            answers: BTreeMap::new(),
            ahead: 0,
            closest: None,
            local_waiting: 2,
            own: None,
            gathering: Gathering::new(id, key),
        }
    }

    pub(crate) const fn deadline(&self) -> Deadline {
        Deadline::new(self.deadline, "get")
    }

    /// What this node holds itself. The first answer is its replica, the second its own envelope,
    /// which makes a node read its own writes.
    pub(crate) fn on_local(
        &mut self,
        core: &mut Core,
        now: Instant,
        reply: StorageReply,
    ) -> Progress {
        let is_replica = self.local_waiting == 2;
        self.local_waiting = self.local_waiting.saturating_sub(1);
        if let StorageReply::Loaded { envelopes } = reply {
            let held = Held::local(envelopes);
            // A copy that is left over from when this node was a replica says nothing of now.
            let counts = is_replica && core.is_responsible(&self.key);
            let holders = [core.me];
            if !is_replica {
                self.own = held.state.iter().next().map(|own| own.head().clone());
            }
            self.take(if counts { &holders } else { &[] }, &held.state);
        }
        self.settle(core, now)
    }

    /// What a node on the way said.
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
                self.ahead += u16::from(held.ahead);
                self.take(&[from], &held.state);
            }
        } else {
            self.gathering.start(core, from, record.digest);
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
        if let Some(gathered) = self.gathering.on_loaded(core, wall, from, loaded) {
            self.ahead += u16::from(gathered.held.ahead) * gathered.holders.len() as u16;
            self.take(&gathered.holders, &gathered.held.state);
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

    /// Reading has taken long enough: decide with what has come.
    pub(crate) fn on_deadline(&mut self, core: &mut Core, now: Instant) -> Progress {
        core.stop_lookup(self.id);
        self.gathering.abandon();
        self.local_waiting = 0;
        self.closest.get_or_insert_default();
        self.settle(core, now)
    }

    /// Nodes that hold all that was read, among the r closest of those that answered.
    fn agreeing(&self, core: &Core) -> u16 {
        let digest = self.state.digest();
        let mut answers: Vec<&(Peer, StateDigest)> = self.answers.values().collect();
        answers.sort_by_key(|(peer, _)| peer.distance(&self.key));
        let nearest = answers.iter().take(core.replication());
        nearest.filter(|(_, held)| *held == digest).count() as u16
    }

    /// Answers of the r closest: only they are where a write goes.
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
        if self.ahead >= CLOCK_WITNESSES {
            core.stop_lookup(self.id);
            core.reply(self.id, Reply::Failed(CommandError::Clock));
            return Progress::Done;
        }
        let needed = self.quorum.unwrap_or_else(|| core.read_quorum());
        // Whoever claims to hold something else may hold what was acknowledged last.
        if self.gathering.is_waiting() {
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
            None => !self.state.is_empty() || absent >= needed && self.gathering.unread() == 0,
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
            Purpose::Read => Reply::Read(done),
            Purpose::Conflict => Reply::Conflict(done),
        };
        core.reply(self.id, reply);
        self.repair(core);
    }

    /// Sends the merged state to replicas that turned out to lack some of it.
    fn repair(&self, core: &mut Core) {
        let digest = self.state.digest();
        if self.state.is_empty() {
            return;
        }
        // Without the whole lookup only nodes that hold some of the record are known replicas.
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
                core.ask(peer, request, Way::Fitting, AskFor::ReadRepair);
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
                core.storage(op, OpFor::Pulled(self.key, None));
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

/// Most bytes of envelopes in one store: what a call carries, with room for framing.
const STORE_BYTES_MAX: usize = potluck_wire::limits::CALL_BYTES_MAX - 1024;
