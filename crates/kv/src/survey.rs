//! Asking the replicas of a key for what they hold: one lookup, the stores of this node, and a paged
//! fetch of each state that does not fit into an answer of the lookup.
//!
//! A read, a write and an inspection begin alike. They differ in the part of the record that they ask
//! for, and in the answers that are enough; the operation decides that after each event.

use std::collections::BTreeMap;

use potluck_base::{Instant, Key, NodeId, Peer};
use potluck_record::{
    Envelope, Place, State, StateDigest, StorageFailure, StorageOp, StorageReply,
};
use potluck_wire::{Loaded, RecordAnswer};

use crate::answer::{self, Part};
use crate::command::CommandId;
use crate::core::{Core, OpPurpose};
use crate::paged_fetch::PagedFetches;
use crate::storage;

/// Replicas that must hold a future-dated envelope before this node concludes that its own clock is
/// behind: honest replicas refuse such envelopes, and a single one may lie. A higher number
/// tolerates more liars and notices a wrong clock less often.
pub(crate) const FUTURE_DATED_QUORUM: u16 = 2;

/// The part of each answer that a survey keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The digest. A node that claims the digest of the merged state counts as holding that state;
    /// nothing is fetched from it.
    Digests,
    /// The whole state, because the states are compared. Every answer is read.
    States,
}

/// What a survey asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// The command that it belongs to.
    pub(crate) id: CommandId,
    pub(crate) key: Key,
    /// The reason of the lookup, for traces.
    pub(crate) why: &'static str,
    /// Nodes that the lookup finds beside those of the replica set.
    pub(crate) spare: usize,
    /// The stores of this node that are loaded.
    pub(crate) places: &'static [Place],
    pub(crate) keep: Keep,
}

/// An event of a survey.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SurveyEvent {
    /// A store of this node was loaded.
    Local(Place, StorageReply),
    /// A node answered the lookup.
    Found(Peer, RecordAnswer),
    /// A node answered a request for a page; `None` if it did not.
    Page(NodeId, Option<Loaded>),
    /// The lookup ended.
    LookupDone {
        /// The nodes that answered, closest first.
        closest: Vec<Peer>,
        /// Close nodes that were not waited for.
        late: Vec<Peer>,
    },
    /// The time limit is over: the answers so far have to do.
    Deadline,
}

/// What one store of this node holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Local {
    pub(crate) place: Place,
    pub(crate) envelopes: Result<Vec<Envelope>, StorageFailure>,
}

/// What one node holds.
#[derive(Debug, Clone)]
pub(crate) struct Answer<E> {
    pub(crate) peer: Peer,
    pub(crate) digest: StateDigest,
    /// With [`Keep::States`] only.
    pub(crate) state: Option<State<E>>,
}

/// One survey under way; `E` is the part of the record that it asks for.
#[derive(Debug, Clone)]
pub(crate) struct Survey<E> {
    id: CommandId,
    key: Key,
    keep: Keep,
    deadline: Instant,
    /// Whether the deadline is over, so that no store is waited for.
    expired: bool,
    local_waiting: usize,
    closest: Option<Vec<Peer>>,
    late: Vec<Peer>,
    fetches: PagedFetches,
    answers: BTreeMap<NodeId, Answer<E>>,
    state: State<E>,
    future_dated: u16,
    own_future_dated: bool,
}

impl<E: Part> Survey<E> {
    /// Begins a survey.
    pub(crate) fn start(core: &mut Core, now: Instant, asked: Question) -> Self {
        let Question { id, key, places, keep, .. } = asked;
        for place in places {
            let op = StorageOp::Load { key, place: *place };
            core.storage(op, OpPurpose::CommandLoad(id, *place));
        }
        core.lookup(&asked, E::WANT);
        Self {
            id,
            key,
            keep,
            deadline: now + core.read_timeout(),
            expired: false,
            local_waiting: places.len(),
            closest: None,
            late: Vec::new(),
            fetches: PagedFetches::new(id, key),
            answers: BTreeMap::new(),
            state: State::new(),
            future_dated: 0,
            own_future_dated: false,
        }
    }

    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The merged state of all answers.
    pub(crate) const fn state(&self) -> &State<E> {
        &self.state
    }

    /// The nodes that answered, with what each holds.
    pub(crate) const fn answers(&self) -> &BTreeMap<NodeId, Answer<E>> {
        &self.answers
    }

    /// Nodes that hold a future-dated envelope, by this node's clock.
    pub(crate) const fn future_dated(&self) -> u16 {
        self.future_dated
    }

    /// Whether other nodes hold a future-dated envelope of this node's own.
    pub(crate) const fn own_future_dated(&self) -> bool {
        self.own_future_dated
    }

    /// Nodes that claimed a state which could not be fetched.
    pub(crate) const fn unread(&self) -> usize {
        self.fetches.unread()
    }

    /// Whether a store of this node is still being loaded.
    pub(crate) const fn is_loading(&self) -> bool {
        self.local_waiting > 0 && !self.expired
    }

    /// Whether a state that a node claims is still being fetched.
    pub(crate) fn is_fetching(&self) -> bool {
        self.fetches.is_waiting()
    }

    /// The closest nodes that answered, closest first; `None` while the lookup is under way.
    pub(crate) fn closest(&self) -> Option<&[Peer]> {
        self.closest.as_deref()
    }

    /// Close nodes that the lookup did not wait for, closest first.
    pub(crate) fn late(&self) -> &[Peer] {
        &self.late
    }

    /// Whether all answers have come.
    pub(crate) fn is_over(&self) -> bool {
        self.closest.is_some() && !self.is_loading() && !self.is_fetching()
    }

    /// The nodes that the lookup found, and this one if it `serves`, closest first.
    pub(crate) fn nearest(&self, core: &Core) -> Vec<Peer> {
        let mut nearest = self.closest.clone().unwrap_or_default();
        nearest.extend(core.serves.then_some(core.me));
        nearest.sort_by_key(|peer| peer.distance(&self.key));
        nearest.dedup();
        nearest
    }

    /// Ends the lookup, if it is under way: the operation has enough.
    pub(crate) fn stop(&self, core: &mut Core) {
        core.stop_lookup(self.id);
    }

    /// Takes an event. Returns what a store of this node holds, of which the operation decides whether
    /// it counts.
    #[must_use]
    pub(crate) fn on_event(
        &mut self,
        core: &mut Core,
        now: Instant,
        event: SurveyEvent,
    ) -> Option<Local> {
        match event {
            SurveyEvent::Local(place, reply) => {
                self.local_waiting = self.local_waiting.saturating_sub(1);
                return Some(Local { place, envelopes: storage::envelopes(reply) });
            }
            SurveyEvent::Found(from, record) => self.on_found(core, now, from, &record),
            SurveyEvent::Page(from, page) => self.on_page(core, now, from, page),
            SurveyEvent::LookupDone { closest, late } => {
                self.closest = Some(closest);
                self.late = late;
            }
            SurveyEvent::Deadline => {
                core.stop_lookup(self.id);
                self.fetches.abandon();
                self.expired = true;
                self.closest.get_or_insert_default();
            }
        }
        None
    }

    fn on_found(&mut self, core: &mut Core, now: Instant, from: Peer, record: &RecordAnswer) {
        let known = record.digest != StateDigest::EMPTY && record.digest == self.state.digest();
        let read = self.keep == Keep::States || record.complete && E::READS_KNOWN;
        if known && !read {
            let answer = Answer { peer: from, digest: record.digest, state: None };
            self.answers.insert(from.id, answer);
        } else if record.complete {
            let wall = core.wall(now);
            if let Some(held) = answer::read(core, wall, &self.key, &record.parts) {
                self.future_dated += u16::from(held.future_dated);
                self.own_future_dated |= held.own_future_dated;
                self.take(&[from], held.state);
            }
        } else {
            self.fetches.start(core, from, record.digest);
        }
    }

    fn on_page(&mut self, core: &mut Core, now: Instant, from: NodeId, page: Option<Loaded>) {
        let wall = core.wall(now);
        if let Some(fetched) = self.fetches.on_loaded(core, wall, from, page) {
            self.future_dated +=
                u16::from(fetched.held.future_dated) * fetched.holders.len() as u16;
            self.own_future_dated |= fetched.held.own_future_dated;
            let held = fetched.held.state.iter().cloned().map(E::of).collect();
            self.take(&fetched.holders, held);
        }
    }

    /// Takes the state that these nodes hold as their answer.
    pub(crate) fn take(&mut self, holders: &[Peer], held: State<E>) {
        let digest = held.digest();
        for peer in holders {
            let state = (self.keep == Keep::States).then(|| held.clone());
            self.answers.insert(peer.id, Answer { peer: *peer, digest, state });
        }
        self.merge(held.iter().cloned());
    }

    /// Takes envelopes that count as no node's answer.
    pub(crate) fn merge(&mut self, envelopes: impl IntoIterator<Item = E>) {
        for envelope in envelopes {
            self.state.merge(envelope);
        }
    }
}
