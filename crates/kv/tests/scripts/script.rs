//! A script: what a node is given, and what it then does.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Instant, Key, Machine as _, Peer};
use potluck_kv::{
    AskId, Command, CommandId, Config, Delivery, Input, Kv, LookupId, Output, PeerRequest, Put,
    ServeId,
};
use potluck_record::{
    Envelope, Merged, OpId, Place, StateDigest, StorageFailure, StorageOp, StorageReply,
};
use potluck_wire::{
    Contacts, Loaded, RecordAnswer, Refusal, Request, Response, StoreOutcome, Want,
};

use crate::samples::{WALL, config, digest, identity, key, network, peer};
use crate::words::{
    change_text, place_of, place_text, reply_text, request_text, response_text, texts,
};

/// What the node is given in one step.
#[derive(Debug, Clone)]
pub(crate) enum Given {
    Put(u64, Put),
    Get(u64),
    /// A read for which this many replicas must agree.
    Strict(u64, u16),
    Inspect(u64),
    /// The disk has loaded these envelopes.
    Loads(Place, Vec<Envelope>),
    /// The same for the newest of several loads.
    LoadsLast(Place, Vec<Envelope>),
    /// The disk has loaded the envelope that the node signed last.
    LoadsSigned,
    /// The disk has carried out a merge.
    Merges(Place),
    /// The disk has failed at the oldest operation of this place.
    Fails(Place, StorageFailure),
    /// A merge had another outcome.
    Outcome(Place, StorageReply),
    /// A node answers the lookup with this record.
    Finds(u8, Vec<Envelope>),
    /// A node answers the lookup with the digest of a record that does not fit.
    Claims(u8, StateDigest),
    /// A node answers the lookup without a record.
    Unknowing(u8),
    /// The lookup ends with these nodes.
    Ends(Vec<u8>),
    /// The same without the answers of the second nodes, which were late.
    EndsWithout(Vec<u8>, Vec<u8>),
    /// The same for the newest of several lookups.
    EndsLast(Vec<u8>),
    /// The lookup is not started.
    Unlooked,
    /// A node has stored the envelopes.
    Stores(u8),
    /// A node refuses the envelopes, or the whole request.
    Refuses(u8, Refusal),
    RefusesAll(u8, Refusal),
    /// A node answers a request for a page.
    Page(u8, Loaded),
    /// A node answers a request.
    Answers(u8, Response),
    /// A node does not answer a request.
    Silent(u8),
    /// A node sends a request.
    Asked(u8, Request),
    /// The disk has scanned these keys.
    Scans(Vec<(Key, StateDigest)>),
    /// The same, and there are more.
    ScansMore(Vec<(Key, StateDigest)>),
    FailsToScan(StorageFailure),
    /// Time passes, counted from the beginning.
    Until(Duration),
    Other(Input),
}

/// One line of a script.
pub(crate) struct TestStep {
    pub(crate) desc: &'static str,
    pub(crate) input: Given,
    pub(crate) outputs: Vec<String>,
}

/// A line: what happens, what the node is given, and what it does.
pub(crate) fn step(desc: &'static str, input: Given, outputs: &[&str]) -> TestStep {
    TestStep { desc, input, outputs: outputs.iter().map(|&text| text.to_owned()).collect() }
}

/// A node, and the requests that it waits for.
pub(crate) struct Script {
    pub(crate) kv: Kv,
    start: Instant,
    now: Instant,
    lookups: BTreeMap<LookupId, Want>,
    storage: BTreeMap<OpId, StorageOp>,
    asks: BTreeMap<AskId, Peer>,
    signed: Vec<Envelope>,
    requests: u64,
    /// Signatures that were checked for others, in portions, and whether one was bad.
    pub(crate) bills: Vec<(u32, bool)>,
}

impl Script {
    /// A node that keeps no records for others, in a network of nine.
    pub(crate) fn client() -> Self {
        Self::with(false, config())
    }

    /// The node closest to the key, which keeps records for others.
    pub(crate) fn replica() -> Self {
        Self::with(true, config())
    }

    pub(crate) fn with(serves: bool, config: Config) -> Self {
        let kv = Kv::new(identity(0), network(), peer(0), serves, config);
        let start = Instant::ZERO + Duration::from_secs(1);
        let mut script = Self {
            kv,
            start,
            now: start,
            lookups: BTreeMap::new(),
            storage: BTreeMap::new(),
            asks: BTreeMap::new(),
            signed: Vec::new(),
            requests: 0,
            bills: Vec::new(),
        };
        script.kv.handle(start, Input::WallClock { now: WALL, offset: 0 });
        script.kv.handle(start, Input::Members(9));
        // The count of own records begins; it is not answered.
        script.kv.handle(start, Input::Timeout);
        while script.kv.poll_output().is_some() {}
        script
    }

    /// The envelopes that the node has signed.
    pub(crate) fn signed(&self) -> &[Envelope] {
        &self.signed
    }

    /// Plays all steps, and compares what the node does after each.
    pub(crate) fn play(&mut self, steps: impl IntoIterator<Item = TestStep>) {
        for (number, step) in steps.into_iter().enumerate() {
            let did = self.give(step.input);
            assert_eq!(did, step.outputs, "step {}: {}", number + 1, step.desc);
        }
    }

    /// Gives the node one input, and returns what it does.
    pub(crate) fn give(&mut self, given: Given) -> Vec<String> {
        let input = self.input(given);
        self.kv.handle(self.now, input);
        let mut did = Vec::new();
        while let Some(output) = self.kv.poll_output() {
            // The renewal reads the own records beside every script; its own tests are in the crate.
            match output {
                Output::Storage {
                    op: StorageOp::ScanOwn { .. } | StorageOp::ScanCertificates { .. },
                    ..
                } => {}
                Output::Checked { signatures, bad, .. } => self.bills.push((signatures, bad)),
                output => did.push(self.told(output)),
            }
        }
        did
    }

    fn input(&mut self, given: Given) -> Input {
        let command = |id, command| Input::Command { id: CommandId(id), command };
        match given {
            Given::Put(id, put) => command(id, Command::Put(put)),
            Given::Get(id) => command(id, Command::Get { key: key(), quorum: None }),
            Given::Strict(id, quorum) => {
                command(id, Command::Get { key: key(), quorum: Some(quorum) })
            }
            Given::Inspect(id) => command(id, Command::Replicas { key: key() }),
            Given::Loads(place, envelopes) => {
                self.stored(place, StorageReply::Loaded { envelopes })
            }
            Given::LoadsLast(at, envelopes) => {
                let is_it =
                    |op: &StorageOp| matches!(op, StorageOp::Load { place, .. } if *place == at);
                let found = self.storage.iter().rev().find(|(_, op)| is_it(op)).map(|(id, _)| *id);
                let id = found.expect("a load");
                self.storage.remove(&id);
                Input::Stored { id, reply: StorageReply::Loaded { envelopes } }
            }
            Given::LoadsSigned => {
                let envelopes = self.signed.last().cloned().into_iter().collect();
                self.stored(Place::Own, StorageReply::Loaded { envelopes })
            }
            Given::Merges(place) => {
                let (outcome, digest) = (Merged::New, StateDigest::EMPTY);
                self.stored(place, StorageReply::Merged { outcome, digest })
            }
            Given::Fails(place, failure) => self.stored(place, StorageReply::Failed(failure)),
            Given::Outcome(place, reply) => self.stored(place, reply),
            Given::Finds(from, envelopes) => self.found(from, Some(&envelopes), None),
            Given::Claims(from, digest) => self.found(from, None, Some(digest)),
            Given::Unknowing(from) => self.found(from, None, None),
            Given::Ends(places) => ended(self.lookups.pop_first(), &places, &[]),
            Given::EndsWithout(places, late) => ended(self.lookups.pop_first(), &places, &late),
            Given::EndsLast(places) => ended(self.lookups.pop_last(), &places, &[]),
            Given::Unlooked => Input::LookupRefused(self.lookups.pop_first().expect("a lookup").0),
            Given::Stores(from) => self.outcome(from, StoreOutcome::Stored(StateDigest::EMPTY)),
            Given::Refuses(from, reason) => self.outcome(from, StoreOutcome::Refused(reason)),
            Given::RefusesAll(from, reason) => self.answer(from, Response::refused(reason)),
            Given::Page(from, page) => self.answer(from, Response::Loaded(page)),
            Given::Answers(from, response) => self.answer(from, response),
            Given::Silent(from) => Input::Failed { ask: self.ask(from) },
            Given::Asked(from, request) => {
                self.requests += 1;
                let request = PeerRequest {
                    from: peer(from),
                    request,
                    contacts: Contacts::default(),
                    proven: true,
                    budget: 1200,
                };
                Input::PeerRequest { serve: ServeId(self.requests), request }
            }
            Given::Scans(entries) => self.scanned(StorageReply::Scanned { entries, more: false }),
            Given::ScansMore(entries) => {
                self.scanned(StorageReply::Scanned { entries, more: true })
            }
            Given::FailsToScan(failure) => self.scanned(StorageReply::Failed(failure)),
            Given::Until(time) => {
                self.now = self.start + time;
                Input::Timeout
            }
            Given::Other(input) => input,
        }
    }

    fn oldest(&mut self, is_it: impl Fn(&StorageOp) -> bool) -> OpId {
        let found = self.storage.iter().find(|(_, op)| is_it(op)).map(|(id, _)| *id);
        let id = found.expect("an operation of the disk");
        self.storage.remove(&id);
        id
    }

    fn scanned(&mut self, reply: StorageReply) -> Input {
        let id = self.oldest(|op| matches!(op, StorageOp::Scan { .. }));
        Input::Stored { id, reply }
    }

    fn stored(&mut self, at: Place, reply: StorageReply) -> Input {
        let loads = matches!(reply, StorageReply::Loaded { .. });
        let merges = matches!(reply, StorageReply::Merged { .. } | StorageReply::TooManyWriters);
        let id = self.oldest(|op| match op {
            StorageOp::Load { place, .. } => *place == at && !merges,
            StorageOp::Merge { place, .. } => *place == at && !loads,
            _ => false,
        });
        Input::Stored { id, reply }
    }

    fn found(
        &mut self,
        from: u8,
        envelopes: Option<&[Envelope]>,
        claimed: Option<StateDigest>,
    ) -> Input {
        let (lookup, want) = self.lookups.first_key_value().expect("a lookup");
        let parts = envelopes.unwrap_or_default().iter().map(|envelope| match want {
            Want::Values => envelope.encode(),
            _ => envelope.head().encode(),
        });
        let complete = envelopes.is_some();
        let digest = claimed.or(envelopes.map(digest));
        let record = digest.map(|digest| RecordAnswer { digest, parts: parts.collect(), complete });
        Input::Found { lookup: *lookup, from: peer(from), record }
    }

    fn ask(&mut self, from: u8) -> AskId {
        let found = self.asks.iter().find(|(_, to)| to.id == peer(from).id).map(|(id, _)| *id);
        let id = found.expect("a request to that node");
        self.asks.remove(&id);
        id
    }

    fn answer(&mut self, from: u8, response: Response) -> Input {
        Input::Answered { ask: self.ask(from), response }
    }

    fn outcome(&mut self, from: u8, outcome: StoreOutcome) -> Input {
        self.answer(from, Response::Stored { outcomes: vec![outcome] })
    }

    /// Keeps the ids of an output, and tells it in words.
    fn told(&mut self, output: Output) -> String {
        match output {
            Output::Lookup { id, want, goal, why, .. } => {
                self.lookups.insert(id, want);
                format!("look up {goal} for {why}")
            }
            Output::StopLookup(id) => {
                self.lookups.remove(&id);
                "stop looking".to_owned()
            }
            Output::Ask { id, to, request, delivery } => {
                self.asks.insert(id, to);
                let verb = if delivery == Delivery::Call { "call" } else { "ask" };
                format!("{verb} {} {}", place_of(&to), request_text(&request))
            }
            Output::Storage { id, op } => {
                let text = self.storage_text(&op);
                self.storage.insert(id, op);
                text
            }
            Output::Checked { .. } => unreachable!("noted by the caller"),
            Output::Respond { response, .. } => format!("respond {}", response_text(&response)),
            Output::Reply { id, reply } => format!("reply {}: {}", id.0, reply_text(&reply)),
            Output::Foreign(_) => "foreign write".to_owned(),
            Output::Changed(change) => format!("report {}", change_text(&change)),
            Output::WatchEnded(_) => "end the watch".to_owned(),
            Output::HandedOver { keys } => format!("handed {keys} over"),
        }
    }

    fn storage_text(&mut self, op: &StorageOp) -> String {
        match op {
            StorageOp::Load { place, .. } => format!("load {}", place_text(*place)),
            StorageOp::Merge { envelope, place, .. } => {
                if *place == Place::Own {
                    self.signed.push(envelope.clone());
                }
                format!("merge {}: {}", place_text(*place), texts(envelope))
            }
            StorageOp::TakeBack { place, previous, .. } => {
                let previous = previous.as_ref().map_or("nothing".to_owned(), |it| texts(it));
                format!("take back {} for {previous}", place_text(*place))
            }
            StorageOp::Scan { .. } => "scan".to_owned(),
            StorageOp::ScanOwn { .. } => "scan own".to_owned(),
            StorageOp::Expire { .. } => "expire".to_owned(),
            StorageOp::ScanCertificates { .. } => "scan certificates".to_owned(),
            StorageOp::KeepCertificates { keep, drop } => {
                format!("keep {} certificates, drop {}", keep.len(), drop.len())
            }
            StorageOp::Names { query, .. } => {
                format!("names of {:?} behind {:?}", query.prefix, query.after)
            }
            StorageOp::Index { .. } => "index".to_owned(),
            StorageOp::Fingerprints { prefixes } => format!("sum up {}", prefixes.len()),
            StorageOp::Entries { prefixes, .. } => format!("list {}", prefixes.len()),
            StorageOp::Fingerprint { .. } | StorageOp::Remove { .. } | StorageOp::Drop { .. } => {
                format!("{op:?}")
            }
        }
    }
}

fn ended(lookup: Option<(LookupId, Want)>, places: &[u8], late: &[u8]) -> Input {
    let (lookup, _) = lookup.expect("a lookup");
    let peers = |places: &[u8]| places.iter().map(|place| peer(*place)).collect();
    Input::LookupDone { lookup, closest: peers(places), late: peers(late) }
}
