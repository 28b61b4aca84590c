//! One read: merge what replicas hold until enough of them agree, then bring the stale up to date.
//!
//! Integrity comes from signatures, so one honest holder is enough for a genuine value; agreement
//! of R replicas buys freshness. A record counts as absent only if R of the closest said so.

use std::collections::BTreeMap;

use potluck_base::{Instant, Key, NodeId, Peer};
use potluck_record::{Envelope, Place, Reading, State, StateDigest, StorageOp, StorageReply};
use potluck_wire::{Load, RecordAnswer, Request, Want};

use crate::answer;
use crate::command::{CommandError, CommandId, ReadDone, Reply};
use crate::core::{AskFor, Core, OpFor, Way};

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
    state: State<Envelope>,
    /// Who said what it holds, by digest.
    answers: BTreeMap<NodeId, (Peer, StateDigest)>,
    closest: Option<Vec<Peer>>,
    local_waiting: u8,
    loads_waiting: u8,
}

impl Get {
    pub(crate) fn start(
        core: &mut Core,
        id: CommandId,
        key: Key,
        quorum: Option<u16>,
        purpose: Purpose,
    ) -> Self {
        for place in [Place::Replica, Place::Own] {
            core.storage(StorageOp::Load { key, place }, OpFor::CommandLoad(id));
        }
        core.lookup(id, key, Want::Values, "get");
        Self {
            id,
            key,
            quorum,
            purpose,
            state: State::new(),
            answers: BTreeMap::new(),
            closest: None,
            local_waiting: 2,
            loads_waiting: 0,
        }
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
        self.local_waiting -= 1;
        if let StorageReply::Loaded { envelopes } = reply {
            let held: State = envelopes.iter().cloned().collect();
            if is_replica && (!held.is_empty() || core.is_responsible(&self.key)) {
                self.answers.insert(core.me.id, (core.me, held.digest()));
            }
            for envelope in envelopes {
                self.state.merge(envelope);
            }
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
            if let Some(held) = answer::envelopes(core, &self.key, &record.parts) {
                self.take(from, &held);
            }
        } else {
            self.loads_waiting += 1;
            let load = Load { keys: vec![self.key], after: None };
            core.ask(from, Request::Load(load), Way::Call, AskFor::Load(self.id, from));
        }
        self.settle(core, now)
    }

    fn take(&mut self, from: Peer, held: &State<Envelope>) {
        self.answers.insert(from.id, (from, held.digest()));
        for envelope in held.iter() {
            self.state.merge(envelope.clone());
        }
    }

    /// The whole of what a replica holds, or `None` if it could not be fetched.
    pub(crate) fn on_load(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: Peer,
        envelopes: Option<&[bytes::Bytes]>,
    ) -> Progress {
        self.loads_waiting -= 1;
        if let Some(held) = envelopes.and_then(|parts| answer::envelopes(core, &self.key, parts)) {
            self.take(from, &held);
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

    fn agreeing(&self) -> u16 {
        let digest = self.state.digest();
        self.answers.values().filter(|(_, held)| *held == digest).count() as u16
    }

    /// Answers that count for absence: those of the r closest.
    fn absent(&self, core: &Core) -> u16 {
        let Some(closest) = &self.closest else { return 0 };
        let mut nearest: Vec<Peer> = closest.clone();
        nearest.extend(core.serves.then_some(core.me));
        nearest.sort_by_key(|peer| peer.distance(&self.key));
        nearest
            .iter()
            .take(core.replication())
            .filter(|peer| {
                self.answers.get(&peer.id).is_some_and(|(_, held)| *held == StateDigest::EMPTY)
            })
            .count() as u16
    }

    fn settle(&mut self, core: &mut Core, now: Instant) -> Progress {
        if self.local_waiting > 0 {
            return Progress::Waiting;
        }
        let usual = core.config.read_quorum.min(core.members as u16);
        let needed = self.quorum.unwrap_or(usual);
        if !self.state.is_empty() && self.agreeing() >= needed {
            self.finish(core, now);
            return Progress::Done;
        }
        if self.closest.is_none() || self.loads_waiting > 0 {
            return Progress::Waiting;
        }
        let answers = self.answers.len() as u16;
        let enough = match self.quorum {
            Some(strict) => answers >= strict,
            None => !self.state.is_empty() || self.absent(core) >= needed,
        };
        if enough {
            self.finish(core, now);
        } else {
            let error = CommandError::TooFewAnswers { answers, needed };
            core.reply(self.id, Reply::Failed(error));
        }
        Progress::Done
    }

    fn finish(&mut self, core: &mut Core, now: Instant) {
        core.stop_lookup(self.id);
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
            for envelope in self.state.iter() {
                let request = Request::Store { envelopes: vec![envelope.encode()] };
                core.ask(peer, request, Way::Fitting, AskFor::ReadRepair);
            }
        }
        let lacks = self.answers.get(&core.me.id).is_some_and(|(_, held)| *held != digest);
        if lacks && core.is_responsible(&self.key) {
            for envelope in self.state.iter() {
                let op = StorageOp::Merge {
                    envelope: envelope.clone(),
                    place: Place::Replica,
                    writers_max: None,
                };
                core.storage(op, OpFor::Pulled(self.key));
            }
        }
    }
}
