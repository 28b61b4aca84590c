//! The holder's side: answering requests of other nodes.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use potluck_base::{Instant, Key, Peer, PublicKey};
use potluck_record::limits::SHARE_BYTES_MAX;
use potluck_record::{
    CertificateHash, Envelope, MergeAs, Place, Prefix, SignedHead, Space, State, StateDigest,
    StorageOp, StorageReply, TeamId, TeamList,
};
use potluck_wire::{
    Compare, Contacts, Found, Level, Load, Loaded, OfferEntry, RecordAnswer, Refusal, Request,
    Response, StoreOutcome, Want,
};

use crate::admissible::{is_alive, is_future_dated};
use crate::core::{Core, OpPurpose};
use crate::difference::answer::Answering;
use crate::event::{PeerRequest, ServeId};
use crate::names_served::NamesServed;
use crate::storage;
use crate::teams::{Deferred, StoreAsk, Verdict};

/// Keys of one offer that are looked up concurrently, and most keys of one load request. Raising it
/// costs memory and answers large offers sooner.
const KEYS_AT_ONCE: usize = 64;
/// Bytes reserved for the framing of an answer.
const FRAME_BYTES: usize = 64;
/// Largest encoded contact, in bytes.
const CONTACT_BYTES: usize = 64;
/// Contacts that an answer keeps room for beside a record. More of them leave less room for the
/// record and speed up the rest of the lookup.
const CONTACTS_MIN: usize = 6;
/// Bytes that a signature and framing add to a head.
const HEAD_FRAME_BYTES: usize = 80;

/// Keys that this node will pull, and the node that offered them.
pub(crate) struct Wanted {
    pub(crate) from: Peer,
    pub(crate) keys: Vec<(Key, StateDigest)>,
}

#[derive(Debug, Clone)]
enum Serving {
    Find { contacts: Contacts, want: Want, budget: usize },
    Store { outcomes: Vec<Option<StoreOutcome>> },
    Offer(OfferCheck),
    Load(LoadRead),
    Compare(Box<Answering>),
}

#[derive(Debug, Clone)]
struct OfferCheck {
    from: Peer,
    entries: VecDeque<OfferEntry>,
    checking: BTreeMap<usize, OfferEntry>,
    wanted: Vec<(Key, StateDigest)>,
}

/// A load request under way. Keys are read one after another until the answer is full, so it never
/// holds more than one answer and one record in memory.
#[derive(Debug, Clone)]
struct LoadRead {
    keys: VecDeque<Key>,
    after: Option<[u8; 32]>,
    room: usize,
    loaded: Loaded,
}

/// The requests of other nodes that are being answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Serves {
    active: BTreeMap<ServeId, Serving>,
    names: NamesServed,
}

impl Serves {
    pub(crate) fn len(&self) -> usize {
        self.active.len() + self.names.len()
    }

    /// Begins to answer a request.
    pub(crate) fn start(&mut self, core: &mut Core, now: Instant, id: ServeId, asked: PeerRequest) {
        if self.active.len() >= core.config.requests_max {
            core.stats.requests_busy += 1;
            core.respond(id, Response::refused(Refusal::Busy));
            return;
        }
        match asked.request {
            Request::FindNode { target, want, .. } => {
                let op = StorageOp::Load { key: target, place: Place::Replica };
                core.storage(op, OpPurpose::Serve(id, 0));
                let PeerRequest { contacts, budget, .. } = asked;
                self.active.insert(id, Serving::Find { contacts, want, budget });
            }
            Request::Store { .. } | Request::Offer { .. } | Request::Apply(_) if !core.serves => {
                core.respond(id, Response::refused(Refusal::NotServing));
            }
            Request::Store { .. } | Request::Offer { .. } | Request::Apply(_) if !asked.proven => {
                core.respond(id, Response::refused(Refusal::Unproven));
            }
            Request::Store { envelopes, certificates } => {
                let sender = asked.from.contact.public_key;
                let ask = StoreAsk { serve: id, sender, parts: envelopes };
                self.begin_store(core, now, ask, &certificates);
            }
            Request::Offer { entries } => self.start_offer(core, id, asked.from, entries),
            Request::Load(load) => self.start_load(core, id, load, asked.budget),
            Request::Names(_) => self.names.start(core, now, id, asked),
            Request::Fingerprints(_) | Request::Changes(_) if !core.serves => {
                core.respond(id, Response::refused(Refusal::NotServing));
            }
            Request::Fingerprints(compare) if !may_compare(core, &asked.from, &compare) => {
                core.respond(id, Response::refused(Refusal::NotResponsible));
            }
            Request::Changes(_) if !core.close_group.contains(&asked.from.id) => {
                core.respond(id, Response::refused(Refusal::NotResponsible));
            }
            Request::Fingerprints(compare)
                if !core.local.indexed && compare.level != Level::Ids =>
            {
                core.respond(id, Response::refused(Refusal::Busy));
            }
            Request::Fingerprints(compare) => {
                let answering = Answering::start(core, id, compare, asked.budget);
                self.active.insert(id, Serving::Compare(Box::new(answering)));
            }
            Request::Changes(after) => {
                let wall = core.last_wall();
                let changes = core.local.feed.after(wall, &after, asked.budget);
                core.respond(id, Response::Changes(changes));
            }
            Request::Ping
            | Request::Leave { .. }
            | Request::Have { .. }
            | Request::Member(_)
            | Request::Topic(_)
            | Request::Search(_)
            | Request::Enroll(_)
            | Request::Apply(_)
            | Request::Watch(_) => {
                core.respond(id, Response::refused(Refusal::Unsupported));
            }
        }
    }

    fn start_offer(&mut self, core: &mut Core, id: ServeId, from: Peer, entries: Vec<OfferEntry>) {
        let entries = entries.into();
        let check = OfferCheck { from, entries, checking: BTreeMap::new(), wanted: Vec::new() };
        self.active.insert(id, Serving::Offer(check));
        self.check_offer(core, id);
    }

    /// Begins a store request. Certificates beside the envelopes are taken if the envelopes name them.
    fn begin_store(
        &mut self,
        core: &mut Core,
        now: Instant,
        ask: StoreAsk,
        certificates: &[Bytes],
    ) {
        if !certificates.is_empty() {
            let wanted = core.lacking::<Envelope>(&ask.parts);
            core.learn(certificates, wanted);
        }
        self.start_store(core, now, ask, ListAge::Recent);
    }

    /// Goes on with a store request after the list of its team was read, or could not be.
    pub(crate) fn store_in_team(&mut self, core: &mut Core, now: Instant, ask: StoreAsk) {
        self.start_store(core, now, ask, ListAge::Any);
    }

    fn start_store(&mut self, core: &mut Core, now: Instant, ask: StoreAsk, age: ListAge) {
        let mut outcomes = Vec::with_capacity(ask.parts.len());
        let mut merges = Vec::new();
        for (index, part) in ask.parts.iter().enumerate() {
            let let_in = admit(core, now, part, &ask.sender).map_err(Barred::Refused);
            let let_in = let_in.and_then(|(envelope, writers_max)| {
                admits(core, now, envelope.head(), age).map(|()| (envelope, writers_max))
            });
            match let_in {
                Ok((envelope, writers_max)) => {
                    merges.push((index, envelope, writers_max));
                    outcomes.push(None);
                }
                Err(Barred::Refused(reason)) => {
                    core.stats.envelopes_refused += 1;
                    outcomes.push(Some(StoreOutcome::Refused(reason)));
                }
                // Nothing was merged yet: all of it waits for the list.
                Err(Barred::Unread(team)) => {
                    return core.local.teams.defer(Deferred { ask, team });
                }
            }
        }
        let id = ask.serve;
        if merges.is_empty() {
            core.respond(
                id,
                Response::Stored { outcomes: outcomes.into_iter().flatten().collect() },
            );
            return;
        }
        self.active.insert(id, Serving::Store { outcomes });
        for (index, envelope, writers_max) in merges {
            let op = StorageOp::Merge {
                envelope,
                place: Place::Replica,
                how: MergeAs::Ingress { writers_max, now: core.wall(now) },
            };
            core.storage(op, OpPurpose::Serve(id, index));
        }
    }

    fn start_load(&mut self, core: &mut Core, id: ServeId, mut load: Load, budget: usize) {
        load.keys.truncate(KEYS_AT_ONCE);
        let Some(first) = load.keys.first().copied() else {
            let certificates = certificates(core, load.certificates, budget);
            core.respond(id, Response::Loaded(Loaded { certificates, ..Loaded::default() }));
            return;
        };
        let read = LoadRead {
            keys: load.keys.into(),
            after: load.after,
            room: budget.saturating_sub(FRAME_BYTES),
            loaded: Loaded::default(),
        };
        self.active.insert(id, Serving::Load(read));
        let op = StorageOp::Load { key: first, place: Place::Replica };
        core.storage(op, OpPurpose::Serve(id, 0));
    }

    /// Takes the result of the storage operation for part `index` of a request. At the end of an offer,
    /// returns the keys to pull.
    pub(crate) fn on_stored(
        &mut self,
        core: &mut Core,
        id: ServeId,
        index: usize,
        reply: StorageReply,
    ) -> Option<Wanted> {
        let Some(serving) = self.active.get_mut(&id) else {
            self.names.on_stored(core, id, reply);
            return None;
        };
        match serving {
            Serving::Find { contacts, want, budget } => {
                let found = find_answer(std::mem::take(contacts), *want, *budget, reply);
                self.active.remove(&id);
                core.respond(id, Response::Found(found));
                None
            }
            Serving::Store { outcomes } => {
                let outcome = storage::outcome(&reply);
                let refused = matches!(outcome, StoreOutcome::Refused(_));
                core.stats.envelopes_taken += u64::from(!refused);
                core.stats.envelopes_refused += u64::from(refused);
                if let Some(slot) = outcomes.get_mut(index) {
                    *slot = Some(outcome);
                }
                if outcomes.iter().all(Option::is_some) {
                    let outcomes = outcomes.iter().flatten().copied().collect();
                    self.active.remove(&id);
                    core.respond(id, Response::Stored { outcomes });
                }
                None
            }
            Serving::Offer(check) => {
                if let Some(entry) = check.checking.remove(&index) {
                    let held = if let StorageReply::Scanned { entries, .. } = reply {
                        entries.first().map_or(StateDigest::EMPTY, |(_, digest)| *digest)
                    } else {
                        // The store failed, so the key could not be stored either: do not pull it.
                        entry.digest
                    };
                    if held != entry.digest && core.is_near(&entry.key) {
                        check.wanted.push((entry.key, entry.digest));
                    }
                }
                self.check_offer(core, id)
            }
            Serving::Compare(answering) => {
                if let Some(response) = answering.on_stored(core, id, index, reply) {
                    self.active.remove(&id);
                    core.respond(id, response);
                }
                None
            }
            Serving::Load(read) => {
                let envelopes = storage::envelopes(reply).unwrap_or_default();
                if let Some(next) = read.take(&envelopes) {
                    let op = StorageOp::Load { key: next, place: Place::Replica };
                    core.storage(op, OpPurpose::Serve(id, 0));
                } else {
                    let loaded = std::mem::take(&mut read.loaded);
                    core.stats.keys_served += u64::from(loaded.keys_done);
                    self.active.remove(&id);
                    core.respond(id, Response::Loaded(loaded));
                }
                None
            }
        }
    }

    /// Looks up the next keys of an offer. At its end, answers it and returns the keys to pull.
    fn check_offer(&mut self, core: &mut Core, id: ServeId) -> Option<Wanted> {
        let Some(Serving::Offer(check)) = self.active.get_mut(&id) else { return None };
        while check.checking.len() < KEYS_AT_ONCE
            && let Some(entry) = check.entries.pop_front()
        {
            let index = check.entries.len();
            let (from, to) = (entry.key, entry.key);
            check.checking.insert(index, entry);
            core.storage(StorageOp::Scan { from, to, limit: 1 }, OpPurpose::Serve(id, index));
        }
        if !check.checking.is_empty() {
            return None;
        }
        let (from, keys) = (check.from, std::mem::take(&mut check.wanted));
        self.active.remove(&id);
        core.respond(id, Response::Offered { wanted: keys.len() as u32 });
        Some(Wanted { from, keys })
    }
}

/// Certificates that were asked for, as many as an answer of this size carries.
fn certificates(core: &Core, hashes: Vec<CertificateHash>, budget: usize) -> Vec<Bytes> {
    let mut room = budget.saturating_sub(FRAME_BYTES);
    let fits = |bytes: &Bytes| {
        let fits = bytes.len() + 3 <= room;
        room = room.saturating_sub(bytes.len() + 3);
        fits
    };
    core.certificates(hashes).into_iter().take_while(fits).collect()
}

/// Whether a node may compare: it belongs to the close group, so that it holds the same keys, or it names
/// the keys itself.
fn may_compare(core: &Core, from: &Peer, compare: &Compare) -> bool {
    let names_keys = compare.level == Level::Ids
        && compare.prefixes.iter().all(|range| range.length() == Prefix::LENGTH_MAX);
    names_keys || core.close_group.contains(&from.id)
}

/// How old the list of a team may be that lets a writer in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListAge {
    /// It was read a moment ago, or is read now.
    Recent,
    /// It was to be read: what is known has to do.
    Any,
}

/// Why an envelope of a team is not merged.
enum Barred {
    Refused(Refusal),
    /// The list of the team has to be read first.
    Unread(TeamId),
}

/// Whether the writer of a head may write in its space; beyond what the head itself shows.
fn admits(core: &Core, now: Instant, head: &SignedHead, age: ListAge) -> Result<(), Barred> {
    let Space::Team(team) = head.space() else { return Ok(()) };
    let (lists, writer) = (&core.local.teams, head.writer());
    let verdict = match age {
        ListAge::Recent => lists.verdict(now, &team, &writer),
        ListAge::Any => lists.last_word(&team, &writer),
    };
    match (verdict, age) {
        (Verdict::Admitted, _) => Ok(()),
        (Verdict::NotOnList, _) => Err(Barred::Refused(Refusal::NotWriter)),
        (Verdict::Unknown, ListAge::Recent) => Err(Barred::Unread(team)),
        (Verdict::Unknown, ListAge::Any) => Err(Barred::Refused(Refusal::Busy)),
    }
}

/// Checks whether an envelope that another node sends may be merged; returns it, and most writers of its key.
fn admit(
    core: &mut Core,
    now: Instant,
    part: &Bytes,
    sender: &PublicKey,
) -> Result<(Envelope, u16), Refusal> {
    let envelope = Envelope::decode(part).map_err(|_| Refusal::BadEnvelope)?;
    let head = envelope.head();
    if !core.config.keeps_space(head.space()) {
        return Err(Refusal::NoCommons);
    }
    is_in_time(core, now, head)?;
    is_of_its_kind(&envelope)?;
    if !core.keeps(&head.key()) {
        core.stats.refused_not_near += 1;
        return Err(Refusal::NotResponsible);
    }
    let writers_max = core.admit_writer(now, head, sender)?;
    if !core.is_genuine(head) {
        return Err(Refusal::BadEnvelope);
    }
    Ok((envelope, writers_max))
}

/// Whether the life and the dots of an envelope are those of a record of now.
fn is_in_time(core: &Core, now: Instant, head: &SignedHead) -> Result<(), Refusal> {
    let wall = core.wall(now);
    if is_future_dated(head, wall) {
        return Err(Refusal::Ahead);
    }
    if !is_alive(&core.config, head, wall) {
        return Err(Refusal::Life);
    }
    Ok(())
}

/// Whether an envelope has what its kind and space allow.
fn is_of_its_kind(envelope: &Envelope) -> Result<(), Refusal> {
    let head = envelope.head();
    // What one writer may keep is a limit of ingress: the record that has more is merged all the same.
    let is_share = head.kind().is_shared();
    if is_share && (head.values().len() > 1 || head.payload_len() > SHARE_BYTES_MAX) {
        return Err(Refusal::BadEnvelope);
    }
    let is_list = matches!(head.space(), Space::Writers(_));
    if is_list && !head.is_tombstone() && TeamList::of(envelope).is_none() {
        return Err(Refusal::BadEnvelope);
    }
    Ok(())
}

/// The answer to a lookup: the record if it fits beside [`CONTACTS_MIN`] contacts, then contacts. The
/// record has priority because a holder is already close to the target.
fn find_answer(mut contacts: Contacts, want: Want, budget: usize, reply: StorageReply) -> Found {
    let Ok(envelopes) = storage::envelopes(reply) else {
        return Found { contacts, ..Found::default() };
    };
    let digest = envelopes.iter().cloned().collect::<State>().digest();
    let size: usize = match want {
        Want::Nothing => 0,
        Want::Heads => envelopes.iter().map(|e| e.head().bytes().len() + HEAD_FRAME_BYTES).sum(),
        Want::Values => envelopes.iter().map(|e| e.encoded_len() + 3).sum(),
    };
    let room = budget.saturating_sub(FRAME_BYTES);
    let fewest = contacts.len().min(CONTACTS_MIN) * CONTACT_BYTES;
    let complete = size + fewest <= room;
    let left = if complete { room - size } else { room };
    contacts.truncate(left / CONTACT_BYTES);
    if complete && want == Want::Values && !envelopes.is_empty() {
        // A reader that finds holders needs few more; a writer needs them all.
        contacts.truncate(CONTACTS_MIN);
    }
    let parts = match want {
        _ if !complete => Vec::new(),
        Want::Nothing => Vec::new(),
        Want::Heads => envelopes.iter().map(|envelope| envelope.head().encode()).collect(),
        Want::Values => envelopes.iter().map(Envelope::encode).collect(),
    };
    let record = Some(RecordAnswer { digest, parts, complete });
    Found { contacts, record, part: None }
}

impl LoadRead {
    /// Adds the record of the next key to the answer: all of it if it fits; else, for the first
    /// key, the envelopes that fit. Returns the next key to read, if the answer has room left.
    fn take(&mut self, envelopes: &[Envelope]) -> Option<Key> {
        let first = self.loaded.keys_done == 0;
        let after = self.after.filter(|_| first);
        let parts: Vec<&Envelope> = envelopes
            .iter()
            .filter(|e| after.is_none_or(|after| *e.head().writer().as_bytes() > after))
            .collect();
        let size: usize = parts.iter().map(|part| part.encoded_len() + 5).sum();
        let whole = size <= self.room;
        if !whole && !first {
            return None;
        }
        for part in parts {
            let size = part.encoded_len() + 5;
            if size > self.room {
                break;
            }
            self.room -= size;
            self.loaded.envelopes.push(part.encode());
        }
        self.keys.pop_front();
        if !whole {
            return None;
        }
        self.loaded.keys_done += 1;
        self.keys.front().copied()
    }
}
