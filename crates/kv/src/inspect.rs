//! Asking every replica of a key what it holds, for people.

use std::collections::BTreeMap;

use potluck_base::{Deadline, Instant, Key, NodeId, Peer};
use potluck_record::{Context, HasHead, Place, SignedHead, State, StorageOp, StorageReply};
use potluck_wire::{Loaded, RecordAnswer, Want};

use crate::answer;
use crate::command::{CommandId, ReplicaState, Reply};
use crate::core::{Core, OpFor};
use crate::gather::{Gathering, heads_of};
use crate::get::Progress;

/// One question to all replicas under way.
#[derive(Debug, Clone)]
pub(crate) struct Inspect {
    id: CommandId,
    key: Key,
    held: BTreeMap<NodeId, State<SignedHead>>,
    closest: Option<Vec<Peer>>,
    local_waiting: bool,
    gathering: Gathering,
    deadline: Instant,
}

impl Inspect {
    pub(crate) fn start(core: &mut Core, now: Instant, id: CommandId, key: Key) -> Self {
        core.storage(StorageOp::Load { key, place: Place::Replica }, OpFor::CommandLoad(id));
        core.lookup(id, key, Want::Heads, "replicas");
        Self {
            id,
            key,
            held: BTreeMap::new(),
            closest: None,
            local_waiting: true,
            gathering: Gathering::new(id, key),
            deadline: now + core.read_patience(),
        }
    }

    pub(crate) const fn deadline(&self) -> Deadline {
        Deadline::new(self.deadline, "replicas")
    }

    /// Asking has taken long enough: show what has come.
    pub(crate) fn on_deadline(&mut self, core: &mut Core) -> Progress {
        core.stop_lookup(self.id);
        self.gathering.abandon();
        self.local_waiting = false;
        self.closest.get_or_insert_default();
        self.settle(core)
    }

    pub(crate) fn on_local(&mut self, core: &mut Core, reply: StorageReply) -> Progress {
        self.local_waiting = false;
        if let StorageReply::Loaded { envelopes } = reply {
            let held = envelopes.iter().map(|envelope| envelope.head().clone()).collect();
            self.held.insert(core.me.id, held);
        }
        self.settle(core)
    }

    pub(crate) fn on_found(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: Peer,
        record: &RecordAnswer,
    ) {
        let wall = core.wall(now);
        if !record.complete {
            self.gathering.start(core, from, record.digest);
        } else if let Some(held) = answer::heads(core, wall, &self.key, &record.parts) {
            self.held.insert(from.id, held.state);
        }
    }

    pub(crate) fn on_load(
        &mut self,
        core: &mut Core,
        now: Instant,
        from: NodeId,
        loaded: Option<Loaded>,
    ) -> Progress {
        let wall = core.wall(now);
        if let Some(gathered) = self.gathering.on_loaded(core, wall, from, loaded) {
            for holder in &gathered.holders {
                self.held.insert(holder.id, heads_of(&gathered.held.state).collect());
            }
        }
        self.settle(core)
    }

    pub(crate) fn on_lookup_done(&mut self, core: &mut Core, closest: Vec<Peer>) -> Progress {
        self.closest = Some(closest);
        self.settle(core)
    }

    fn settle(&mut self, core: &mut Core) -> Progress {
        let waiting = self.local_waiting || self.gathering.is_waiting();
        let Some(closest) = self.closest.clone().filter(|_| !waiting) else {
            return Progress::Waiting;
        };
        let mut nearest = closest;
        // Siblings that did not answer belong to the picture: they are the unreachable ones.
        for peer in core.replica_set(&self.key) {
            if !nearest.contains(&peer) {
                nearest.push(peer);
            }
        }
        nearest.sort_by_key(|peer| peer.distance(&self.key));
        nearest.truncate(core.replication());
        let mut merged = State::new();
        for head in self.held.values().flat_map(State::iter) {
            merged.merge(head.clone());
        }
        let states = nearest
            .into_iter()
            .map(|peer| {
                let state = self.held.get(&peer.id);
                (peer, state.map_or(ReplicaState::Unreachable, |held| compare(held, &merged)))
            })
            .collect();
        core.reply(self.id, Reply::Replicas(states));
        Progress::Done
    }
}

/// The highest dot per writer: the version of a state.
pub(crate) fn version<E: HasHead>(state: &State<E>) -> Context {
    state.iter().map(|e| (e.signed_head().writer(), e.signed_head().dot())).collect()
}

/// How one replica's state compares to all merged: behind if it lacks something; a replica that
/// has a newest envelope which others lack shows them as behind, itself as equal.
fn compare(held: &State<SignedHead>, merged: &State<SignedHead>) -> ReplicaState {
    if held.is_empty() && !merged.is_empty() {
        return ReplicaState::Missing;
    }
    if held.digest() == merged.digest() {
        return ReplicaState::Equal;
    }
    // What it holds is part of the merged state by construction, so it can only lack something;
    // it is concurrent with the others if it also has a live writer's newest that is not covered
    // by what it lacks.
    let lacking: Context = merged
        .iter()
        .filter(|head| held.of(&head.writer()).is_none_or(|own| own.dot() < head.dot()))
        .fold(Context::new(), |mut context, head| {
            context.join(head.context());
            context.cover(head.writer(), head.dot());
            context
        });
    let superseded = held.iter().all(|head| lacking.covers(&head.writer(), head.dot()));
    if superseded { ReplicaState::Behind } else { ReplicaState::Concurrent }
}
