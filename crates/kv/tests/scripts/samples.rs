//! The nodes, the key and the envelopes of the scripts.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Admission, Contact, Identity, Key, NetworkId, Peer, UnixMillis};
use potluck_kv::{Config, Put, WriteContext};
use potluck_record::{Context, Dot, Draft, Envelope, Kind, Name, Space, StateDigest};
use potluck_wire::{Loaded, Request};

use crate::words::texts;

/// What the wall clock of the node shows at the beginning.
pub(crate) const WALL: UnixMillis = UnixMillis(1_700_000_000_000);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

pub(crate) fn name() -> Name {
    Name::new("a").expect("a name")
}

pub(crate) fn key() -> Key {
    Space::Commons.key(&name()).expect("a key")
}

fn contact(identity: &Identity, number: u8) -> Peer {
    let address = ([10, 0, 0, number], 1).into();
    Contact::new(identity.public_key(), address).in_network(&network())
}

/// The identity at this place in the order of distance to the key; 0 is the node of the script.
pub(crate) fn identity(place: u8) -> Identity {
    let mut all: Vec<Identity> = (1..=9).map(|number| Identity::from_seed([number; 32])).collect();
    all.sort_by_key(|identity| contact(identity, 0).distance(&key()));
    all.swap_remove(usize::from(place))
}

pub(crate) fn peer(place: u8) -> Peer {
    contact(&identity(place), place)
}

pub(crate) fn dot(at: UnixMillis) -> Dot {
    Dot::next(Dot::ZERO, at)
}

pub(crate) fn ago(time: Duration) -> UnixMillis {
    UnixMillis(WALL.0 - time.as_millis() as u64)
}

/// An envelope with one value, dated a minute ago.
pub(crate) fn value(writer: u8, text: &'static str) -> Envelope {
    envelope(writer, text, |_| {})
}

pub(crate) fn envelope(
    writer: u8,
    text: &'static str,
    change: impl FnOnce(&mut Draft),
) -> Envelope {
    let (at, expires) = (dot(ago(MINUTE)), WALL.plus(60 * MINUTE));
    let mut draft = Draft {
        space: Space::Commons,
        name: Some(name()),
        kind: Kind::Siblings,
        values: vec![(at, expires, Bytes::from_static(text.as_bytes()))],
        dot: at,
        context: Context::new(),
        expires,
        certificate: None,
    };
    change(&mut draft);
    Envelope::sign(&identity(writer), &network(), draft).expect("a good envelope")
}

/// An envelope dated this long after the beginning.
pub(crate) fn dated(writer: u8, text: &'static str, ahead: Duration) -> Envelope {
    envelope(writer, text, |draft| {
        draft.dot = dot(WALL.plus(ahead));
        draft.values[0].0 = draft.dot;
    })
}

/// An envelope that supersedes these others.
pub(crate) fn superseding(writer: u8, text: &'static str, others: &[Envelope]) -> Envelope {
    envelope(writer, text, |draft| {
        draft.context = others.iter().map(|one| (one.head().writer(), one.head().dot())).collect();
        draft.dot = dot(ago(MINUTE / 2));
        draft.values[0].0 = draft.dot;
    })
}

pub(crate) fn put() -> Put {
    Put {
        space: Space::Commons,
        name: Some(name()),
        kind: None,
        value: Some(Bytes::from_static(b"new")),
        ttl: None,
        quorum: None,
        context: WriteContext::Read,
    }
}

pub(crate) fn blind(text: &'static str) -> Put {
    let value = Some(Bytes::from_static(text.as_bytes()));
    Put { value, context: WriteContext::Blind, ..put() }
}

pub(crate) fn digest(envelopes: &[Envelope]) -> StateDigest {
    envelopes.iter().fold(StateDigest::EMPTY, |sum, one| sum.with(one.head()))
}

/// The configuration of the scripts: three replicas, two of which are a majority.
pub(crate) fn config() -> Config {
    Config { replication: 3, read_quorum: 2, ..Config::default() }
}

/// The last page of a record, or one of several.
pub(crate) fn page(envelopes: &[Envelope], keys_done: u32) -> Loaded {
    let envelopes = envelopes.iter().map(Envelope::encode).collect();
    Loaded { envelopes, keys_done, ..Loaded::default() }
}

/// A value that two writers may hold.
pub(crate) fn old() -> Vec<Envelope> {
    vec![value(8, "old")]
}

/// [`old`] and an envelope that supersedes it, in the order of their writers.
pub(crate) fn new() -> Vec<Envelope> {
    let mut both = vec![value(8, "old"), superseding(7, "new", &old())];
    both.sort_by_key(|envelope| *envelope.head().writer().as_bytes());
    both
}

/// The values of [`new`], as a request to store both tells them.
pub(crate) fn new_texts() -> String {
    new().iter().map(texts).collect::<Vec<_>>().join(" and ")
}

/// A request to store these envelopes.
pub(crate) fn store(envelopes: &[Envelope]) -> Request {
    let envelopes = envelopes.iter().map(Envelope::encode).collect();
    Request::Store { envelopes, certificates: vec![] }
}
