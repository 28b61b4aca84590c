//! Asking the replicas of a key for what they hold: one lookup, the stores of this node, and a paged
//! fetch of each state that does not fit into an answer of the lookup.
//!
//! A read, a write and an inspection begin alike. They differ in the part of the record that they ask
//! for, and in the answers that are enough; the operation decides that after each event.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, Key, NodeId, Peer, UnixMillis};
use potluck_record::{
    CertificateHash, Envelope, HasHead, Place, State, StateDigest, StorageFailure, StorageOp,
    StorageReply,
};
use potluck_wire::{Loaded, RecordAnswer};

use crate::answer::{self, Part, ReplicaAnswer};
use crate::claims::Claimants;
use crate::command::CommandId;
use crate::core::{AskPurpose, Core, OpPurpose};
use crate::doors;
use crate::doubts::Doubt;
use crate::event::Delivery;
use crate::paged_fetch::{FetchedState, PagedFetches};
use crate::spread::{places, wide};
use crate::storage;

/// Fewest replicas that must hold a future-dated envelope before this node concludes that its own clock is
/// behind: honest replicas refuse such envelopes, and one may lie. Most of those that answered must hold one,
/// too.
const FUTURE_DATED_QUORUM: u16 = 2;

/// How far the clocks of nodes that are set differ, at most. What is dated further ahead, several nodes must
/// hold. Raising it lets one node date writes further ahead. A guess.
const CLOCK_DIFFERENCE: Duration = Duration::from_secs(10);

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
    /// Whether the answers of an earlier lookup are doubted, so that this one takes more paths.
    pub(crate) doubted: bool,
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

/// An answer whose writers' certificates were asked for.
#[derive(Debug, Clone)]
struct Awaiting {
    from: Peer,
    parts: Vec<Bytes>,
    hashes: Vec<CertificateHash>,
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
    /// Lookups under way.
    lookups: usize,
    /// The nodes that lookups found while others are under way.
    found: Vec<Peer>,
    closest: Option<Vec<Peer>>,
    late: Vec<Peer>,
    /// Whether it was looked up a second time, more widely.
    widened: bool,
    fetches: PagedFetches,
    answers: BTreeMap<NodeId, Answer<E>>,
    state: State<E>,
    /// Answers that wait for certificates of their writers, which were asked for.
    awaiting: BTreeMap<NodeId, Awaiting>,
    /// Envelopes of writers that were put out, with the first node that holds each.
    doubtful: BTreeMap<[u8; 32], NodeId>,
    /// Envelopes that reach ahead of this node's clock, with the nodes that hold each.
    ahead: BTreeMap<[u8; 32], Claimants>,
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
            lookups: 1,
            found: Vec::new(),
            closest: None,
            late: Vec::new(),
            widened: false,
            fetches: PagedFetches::new(id, key),
            answers: BTreeMap::new(),
            state: State::new(),
            awaiting: BTreeMap::new(),
            doubtful: BTreeMap::new(),
            ahead: BTreeMap::new(),
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

    /// Whether most nodes hold a future-dated envelope, by this node's clock, so that the clock is behind.
    pub(crate) fn shows_clock_behind(&self, core: &Core) -> bool {
        let answered = self.is_over().then_some(self.answers.len());
        self.future_dated >= core.clock_witnesses(answered, FUTURE_DATED_QUORUM)
    }

    /// Whether other nodes hold a future-dated envelope of this node's own.
    pub(crate) const fn own_future_dated(&self) -> bool {
        self.own_future_dated
    }

    /// Whether a state that nodes claim and that could not be fetched may matter beside `answers` that were
    /// read. A few such claims are outvoted: a write is acknowledged by most of the replicas, so some of those
    /// that were read would have it.
    pub(crate) fn is_unread(&self, core: &mut Core, answers: u16) -> bool {
        let unread = self.fetches.unread();
        if unread == 0 {
            return false;
        }
        let all = usize::from(answers) + unread;
        let outvoted = core.may_lie(unread) && unread * 2 < all;
        core.stats.claims_outvoted += if outvoted { unread as u64 } else { 0 };
        !outvoted
    }

    /// The merged state without heads that few nodes hold and that reach ahead of this node's clock, by their
    /// dots or what they cover: a write that continues from such a head would be dated ahead, too, and in the
    /// end be refused.
    pub(crate) fn believed(&self, core: &mut Core) -> Cow<'_, State<E>> {
        let least = core.believed_from(self.answers.len(), 1);
        let few = |one: &E| {
            let holders = self.ahead.get(one.signed_head().digest());
            holders.is_some_and(|holders| holders.len() < least)
        };
        let outvoted = self.state.iter().filter(|one| few(one)).count();
        if outvoted == 0 {
            return Cow::Borrowed(&self.state);
        }
        core.stats.claims_outvoted += outvoted as u64;
        Cow::Owned(self.state.iter().filter(|one| !few(one)).cloned().collect())
    }

    /// Whether a store of this node is still being loaded.
    pub(crate) const fn is_loading(&self) -> bool {
        self.local_waiting > 0 && !self.expired
    }

    /// Whether a state that a node claims is still being fetched.
    pub(crate) fn is_fetching(&self) -> bool {
        self.fetches.is_waiting() || !self.awaiting.is_empty()
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

    /// Looks the key up again, more widely, if there is time and it was not done before. What came so far
    /// is kept. Returns whether it does.
    pub(crate) fn widen(&mut self, core: &mut Core, doubt: Doubt) -> bool {
        if self.expired || std::mem::replace(&mut self.widened, true) {
            return false;
        }
        core.stop_lookup(self.id);
        core.stats.lookups_widened += 1;
        core.stats.density_alarms += u64::from(doubt == Doubt::Crowded);
        self.found = self.closest.take().unwrap_or_default();
        let (id, key, keep, why) = (self.id, self.key, self.keep, doubt.why());
        let beside = core.beside(&key, doubt);
        self.lookups = beside.len();
        for target in beside {
            core.lookup_beside(id, target, why);
        }
        if self.lookups == 0 {
            self.lookups = 1;
            // The same nodes answer again.
            self.future_dated = 0;
            let spare = places(core.replication()) - core.replication();
            let doubted = true;
            core.lookup(&Question { id, key, why, doubted, spare, places: &[], keep }, E::WANT);
        }
        true
    }

    /// A lookup ended. After the last of several, the nodes among the closest that were not asked for the
    /// record are.
    fn on_looked_up(&mut self, core: &mut Core, closest: Vec<Peer>, late: Vec<Peer>) {
        self.found.extend(closest);
        self.late.extend(late);
        self.lookups = self.lookups.saturating_sub(1);
        if self.lookups > 0 {
            return;
        }
        let mut found = std::mem::take(&mut self.found);
        found.sort_by_key(|peer| peer.distance(&self.key));
        found.dedup_by_key(|peer| peer.id);
        if self.widened {
            for peer in found.iter().take(wide(core.replication())) {
                let asked = self.answers.contains_key(&peer.id)
                    || self.awaiting.contains_key(&peer.id)
                    || peer.id == core.me.id;
                if !asked {
                    self.fetches.ask_first(core, *peer);
                }
            }
        }
        self.closest = Some(found);
    }

    /// Whether a node claims to hold something of the record, although nothing of it was read.
    pub(crate) fn is_disputed(&self) -> bool {
        let claims = |answer: &Answer<E>| answer.digest != StateDigest::EMPTY;
        self.state.is_empty() && (self.fetches.unread() > 0 || self.answers.values().any(claims))
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
            SurveyEvent::LookupDone { closest, late } => self.on_looked_up(core, closest, late),
            SurveyEvent::Deadline => {
                core.stop_lookup(self.id);
                self.fetches.abandon();
                for (_, awaiting) in std::mem::take(&mut self.awaiting) {
                    self.read(core, now, &awaiting);
                }
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
            let hashes = core.lacking::<E>(&record.parts);
            let awaiting = Awaiting { from, parts: record.parts.clone(), hashes };
            if awaiting.hashes.is_empty() {
                return self.read(core, now, &awaiting);
            }
            let purpose = AskPurpose::Load(self.id, from.id);
            core.ask(from, doors::ask_for(awaiting.hashes.clone()), Delivery::Fitting, purpose);
            self.awaiting.insert(from.id, awaiting);
        } else {
            self.fetches.start(core, from, record.digest);
        }
    }

    /// Reads a complete answer.
    fn read(&mut self, core: &mut Core, now: Instant, answer: &Awaiting) {
        let wall = core.wall(now);
        if let Some(held) = answer::read(core, wall, &self.key, &answer.parts) {
            self.future_dated += u16::from(held.future_dated);
            self.own_future_dated |= held.own_future_dated;
            self.take_answer(wall, &[answer.from], held);
        }
    }

    fn on_page(&mut self, core: &mut Core, now: Instant, from: NodeId, page: Option<Loaded>) {
        if let Some(answer) = self.awaiting.remove(&from) {
            let certificates = page.unwrap_or_default().certificates;
            core.learn(&certificates, answer.hashes.iter().copied());
            return self.read(core, now, &answer);
        }
        let wall = core.wall(now);
        if let Some(FetchedState { holders, held }) = self.fetches.on_loaded(core, wall, from, page)
        {
            self.future_dated += u16::from(held.future_dated) * holders.len() as u16;
            self.own_future_dated |= held.own_future_dated;
            let ReplicaAnswer { state, doubtful, future_dated, own_future_dated } = held;
            let state = state.iter().cloned().map(E::of).collect();
            let doubtful = doubtful.into_iter().map(E::of).collect();
            let held = ReplicaAnswer { state, doubtful, future_dated, own_future_dated };
            self.take_answer(wall, &holders, held);
        }
    }

    /// Takes what these nodes hold. An envelope of a writer that was put out counts if two of the nodes that
    /// were asked hold it.
    fn take_answer(&mut self, wall: UnixMillis, holders: &[Peer], held: ReplicaAnswer<E>) {
        let digest = held.digest();
        let latest = wall.plus(CLOCK_DIFFERENCE);
        for head in held.state.iter().map(HasHead::signed_head) {
            if head.dot().max(head.context().highest()).millis() > latest {
                let claimants = self.ahead.entry(*head.digest()).or_default();
                holders.iter().for_each(|holder| claimants.add(holder.id));
            }
        }
        for envelope in held.doubtful {
            let name = *envelope.signed_head().digest();
            for holder in holders {
                if *self.doubtful.entry(name).or_insert(holder.id) != holder.id {
                    self.state.merge(envelope.clone());
                }
            }
        }
        self.take(holders, held.state);
        for peer in holders {
            if let Some(answer) = self.answers.get_mut(&peer.id) {
                answer.digest = digest;
            }
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
