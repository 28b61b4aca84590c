//! Asking every replica of a key what it holds, for diagnosis.

use std::collections::BTreeMap;

use potluck_base::{Deadline, Instant, Key, NodeId, Peer};
use potluck_record::{Context, HasHead, Place, SignedHead, State, StorageOp, StorageReply};
use potluck_wire::{Loaded, RecordAnswer, Want};

use crate::answer;
use crate::command::{CommandId, ReplicaState, Reply};
use crate::core::{Core, OpPurpose};
use crate::get::Progress;
use crate::paged_fetch::{PagedFetches, heads_of};
use crate::storage;

/// One question to all replicas under way.
#[derive(Debug, Clone)]
pub(crate) struct Inspect {
    id: CommandId,
    key: Key,
    held: BTreeMap<NodeId, State<SignedHead>>,
    closest: Option<Vec<Peer>>,
    local_waiting: bool,
    fetches: PagedFetches,
    deadline: Instant,
}

impl Inspect {
    pub(crate) fn start(core: &mut Core, now: Instant, id: CommandId, key: Key) -> Self {
        core.storage(StorageOp::Load { key, place: Place::Replica }, OpPurpose::CommandLoad(id));
        core.lookup(id, key, Want::Heads, "replicas");
        Self {
            id,
            key,
            held: BTreeMap::new(),
            closest: None,
            local_waiting: true,
            fetches: PagedFetches::new(id, key),
            deadline: now + core.read_timeout(),
        }
    }

    pub(crate) const fn deadline(&self) -> Deadline {
        Deadline::new(self.deadline, "replicas")
    }

    /// The deadline is over: replies with the answers so far.
    pub(crate) fn on_deadline(&mut self, core: &mut Core) -> Progress {
        core.stop_lookup(self.id);
        self.fetches.abandon();
        self.local_waiting = false;
        self.closest.get_or_insert_default();
        self.settle(core)
    }

    pub(crate) fn on_local(&mut self, core: &mut Core, reply: StorageReply) -> Progress {
        self.local_waiting = false;
        if let Ok(envelopes) = storage::envelopes(reply) {
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
            self.fetches.start(core, from, record.digest);
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
        if let Some(fetched) = self.fetches.on_loaded(core, wall, from, loaded) {
            for holder in &fetched.holders {
                self.held.insert(holder.id, heads_of(&fetched.held.state).collect());
            }
        }
        self.settle(core)
    }

    pub(crate) fn on_lookup_done(&mut self, core: &mut Core, closest: Vec<Peer>) -> Progress {
        self.closest = Some(closest);
        self.settle(core)
    }

    fn settle(&mut self, core: &mut Core) -> Progress {
        let waiting = self.local_waiting || self.fetches.is_waiting();
        let Some(closest) = self.closest.clone().filter(|_| !waiting) else {
            return Progress::Waiting;
        };
        let mut nearest = closest;
        // Nodes of the replica set that did not answer are shown as unreachable.
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

/// How one replica's state compares to the merged state. If one replica has an envelope that the others
/// lack, it is equal and the others are behind.
fn compare(held: &State<SignedHead>, merged: &State<SignedHead>) -> ReplicaState {
    if held.is_empty() && !merged.is_empty() {
        return ReplicaState::Missing;
    }
    if held.digest() == merged.digest() {
        return ReplicaState::Equal;
    }
    // Its state is part of the merged state by construction, so a difference means that it lacks
    // envelopes. It is concurrent if the envelopes it lacks do not cover all that it holds.
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
