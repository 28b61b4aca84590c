//! A lone holder of a team's records: it reads the list from its own store before it takes an envelope,
//! whatever the writer's node checks.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{
    Admission, Contact, Identity, Instant, Key, Machine as _, NetworkId, Peer, UnixMillis,
};
use potluck_kv::{Config, Input, Kv, Output, PeerRequest, ServeId};
use potluck_record::{
    Context, Dot, Draft, Envelope, Kind, Name, Place, Space, State, StorageOp, StorageReply,
    TeamId, TeamList,
};
use potluck_wire::{Contacts, Refusal, Request, Response, StoreOutcome};

const WALL: UnixMillis = UnixMillis(1_700_000_000_000);

fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

fn peer(seed: u8) -> Peer {
    let address = SocketAddr::from(([10, 0, 0, seed], 1));
    Contact::new(identity(seed).public_key(), address).in_network(&network())
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// What the node of `seed` signs as its `age`-th envelope.
fn signed(seed: u8, space: Space, text: &str, age: u64, value: Vec<u8>) -> Envelope {
    let dot = Dot::next(Dot::ZERO, UnixMillis(WALL.0 + age));
    let expires = WALL.plus(Duration::from_secs(3600));
    let draft = Draft {
        space,
        name: Some(name(text)),
        kind: Kind::Lww,
        values: vec![(dot, expires, Bytes::from(value))],
        dot,
        context: [(identity(seed).public_key(), Dot::from_raw(dot.raw() - 1))]
            .into_iter()
            .collect::<Context>(),
        expires,
        certificate: None,
    };
    Envelope::sign(&identity(seed), &network(), draft).expect("a good draft")
}

const OWNER: u8 = 2;

fn list(epoch: u64, writers: &[u8]) -> TeamList {
    let writers = writers.iter().map(|seed| identity(*seed).public_key()).collect();
    TeamList { owner: identity(OWNER).public_key(), name: name("crew"), epoch, writers }
}

fn signed_list(epoch: u64, writers: &[u8]) -> Envelope {
    let list = list(epoch, writers);
    signed(OWNER, Space::Writers(list.owner), "crew", epoch, list.encode())
}

fn team() -> TeamId {
    list(1, &[]).id()
}

fn value(seed: u8, age: u64) -> Envelope {
    signed(seed, Space::Team(team()), "a", age, vec![seed])
}

struct Holder {
    kv: Kv,
    now: Instant,
    records: BTreeMap<(Place, Key), State>,
    serves: u64,
}

impl Holder {
    fn new() -> Self {
        let config = Config { replication: 3, ..Config::default() };
        let mut kv = Kv::new(identity(1), network(), peer(1), true, config);
        kv.handle(Instant::ZERO, Input::WallClock { now: WALL, offset: 0 });
        Self { kv, now: Instant::ZERO, records: BTreeMap::new(), serves: 0 }
    }

    fn later(&mut self, span: Duration) {
        self.now += span;
    }

    /// Asks the holder to store an envelope, as the writer's node does.
    fn store(&mut self, envelope: &Envelope) -> StoreOutcome {
        self.serves += 1;
        let serve = ServeId(self.serves);
        let request = PeerRequest {
            from: peer(9),
            proven: true,
            request: Request::Store {
                envelopes: vec![envelope.encode()],
                certificates: Vec::new(),
            },
            contacts: Contacts::default(),
            budget: 1000,
        };
        let mut inputs = vec![Input::PeerRequest { serve, request }];
        let mut outcome = None;
        while let Some(input) = inputs.pop() {
            self.kv.handle(self.now, input);
            while let Some(output) = self.kv.poll_output() {
                match output {
                    Output::Storage { id, op } => {
                        let reply = self.carry_out(op);
                        inputs.push(Input::Stored { id, reply });
                    }
                    Output::Lookup { id, .. } => {
                        let (closest, late) = (Vec::new(), Vec::new());
                        inputs.push(Input::LookupDone { lookup: id, closest, late });
                    }
                    Output::Respond { response: Response::Stored { outcomes }, .. } => {
                        outcome = outcomes.first().copied();
                    }
                    _ => {}
                }
            }
        }
        outcome.expect("an answer")
    }

    fn carry_out(&mut self, op: StorageOp) -> StorageReply {
        match op {
            StorageOp::Merge { envelope, place, .. } => {
                let state = self.records.entry((place, envelope.head().key())).or_default();
                let outcome = state.merge(envelope);
                StorageReply::Merged { outcome, digest: state.digest() }
            }
            StorageOp::Load { key, place } => {
                let state = self.records.get(&(place, key));
                let envelopes = state.map(|state| state.iter().cloned().collect());
                StorageReply::Loaded { envelopes: envelopes.unwrap_or_default() }
            }
            _ => StorageReply::Removed,
        }
    }
}

fn is_stored(outcome: StoreOutcome) -> bool {
    matches!(outcome, StoreOutcome::Stored(_))
}

const REFUSED: StoreOutcome = StoreOutcome::Refused(Refusal::NotWriter);

#[test]
fn a_holder_takes_envelopes_of_writers_on_the_list_only() {
    let mut holder = Holder::new();
    let unknown = holder.store(&value(3, 1));
    assert_eq!(unknown, StoreOutcome::Refused(Refusal::Busy), "there is no list to go by");
    assert!(is_stored(holder.store(&signed_list(1, &[3]))));
    holder.later(Duration::from_secs(1));
    assert!(is_stored(holder.store(&value(3, 1))));
    assert!(is_stored(holder.store(&value(OWNER, 1))));
    assert_eq!(holder.store(&value(4, 1)), REFUSED);
}

#[test]
fn a_holder_of_the_list_refuses_a_removed_writer_at_once_and_forever() {
    let mut holder = Holder::new();
    assert!(is_stored(holder.store(&signed_list(1, &[3]))));
    assert!(is_stored(holder.store(&value(3, 1))));
    assert!(is_stored(holder.store(&signed_list(2, &[]))));
    assert_eq!(holder.store(&value(3, 2)), REFUSED);
    // The removed writer brings the old list along.
    assert!(!is_stored(holder.store(&signed_list(1, &[3]))));
    holder.later(Duration::from_secs(60));
    assert_eq!(holder.store(&value(3, 3)), REFUSED);
}

#[test]
fn a_record_under_the_key_of_a_list_has_to_be_a_list() {
    let mut holder = Holder::new();
    let owner = identity(OWNER).public_key();
    let other = signed(OWNER, Space::Writers(owner), "crew", 1, b"no list".to_vec());
    assert_eq!(holder.store(&other), StoreOutcome::Refused(Refusal::BadEnvelope));
}
