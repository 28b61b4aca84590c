//! What one peer can make a node do.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::machine::drain;
use potluck_base::{Contact, Identity, Instant};
use potluck_record::{Context, Dot, Draft, Envelope};
use potluck_wire::{OfferEntry, Refusal, Request, Response, decode_response, encode_request};

use super::*;
use crate::{InboundId, Input, Output};

const START: Instant = Instant::from_micros(1_000_000);
const WALL: UnixMillis = UnixMillis(1_800_000_000_000);

/// A node, and a peer that calls it.
struct Called {
    node: Node,
    now: Instant,
    from: Contact,
    calls: u64,
}

/// What became of a call.
#[derive(Debug, PartialEq)]
enum Fate {
    Answered(Response),
    Refused(Duration),
    /// Nothing yet.
    Open,
}

impl Called {
    fn new(defended: bool) -> Self {
        let address = |last| SocketAddr::from(([10, 0, 0, last], 4000));
        let identity = Identity::from_seed([1; 32]);
        let mut config = Config::default();
        config.link.lab = true;
        config.kv.defences.priced_peers = defended;
        let start = Start {
            identity,
            network: table::network(),
            address: address(1),
            incarnation: 1,
            labels: Vec::new(),
            config,
            seed: [1; 32],
        };
        let mut node = Node::new(start).expect("a good configuration");
        node.handle(START, Input::WallClock { now: WALL });
        drop(drain(&mut node));
        let from = Contact::new(Identity::from_seed([2; 32]).public_key(), address(2));
        Self { node, now: START, from, calls: 0 }
    }

    /// Calls the node; gives the fate of the call and the peers that are ignored from now on.
    fn call(&mut self, request: &Request) -> (Fate, usize) {
        self.calls += 1;
        let inbound = InboundId(self.calls);
        let Contact { public_key: from, address, .. } = self.from;
        let bytes = encode_request(request);
        self.node.handle(self.now, Input::Called { from, address, inbound, bytes });
        let (mut fate, mut ignored) = (Fate::Open, 0);
        for output in drain(&mut self.node) {
            match output {
                Output::AnswerCall { bytes, .. } => {
                    fate = Fate::Answered(decode_response(&bytes).expect("a response"));
                }
                Output::RefuseCall { bytes, after, .. } => {
                    let response = decode_response(&bytes).expect("a response");
                    assert_eq!(response.refusal(), Some(Refusal::Busy));
                    fate = Fate::Refused(after);
                }
                Output::Ignore { public_key, .. } => {
                    assert_eq!(public_key, from);
                    ignored += 1;
                }
                _ => {}
            }
        }
        (fate, ignored)
    }

    fn signatures(&self) -> u64 {
        self.node.stats().kv.signatures_checked
    }
}

/// A store request with this many different envelopes whose signatures are another's.
fn forged(count: usize) -> Request {
    let writer = Identity::from_seed([3; 32]);
    let expires = WALL.plus(Duration::from_secs(3600));
    let dot = Dot::next(Dot::ZERO, WALL);
    let signed = |text: String| {
        let draft = Draft {
            space: Space::Commons,
            name: Some(name("blocked")),
            kind: Kind::Siblings,
            values: vec![(dot, expires, Bytes::from(text))],
            dot,
            context: Context::new(),
            expires,
            certificate: None,
        };
        Envelope::sign(&writer, &table::network(), draft).expect("a good envelope")
    };
    let other = *signed("other".to_owned()).head().signature().as_bytes();
    let envelopes = (0..count).map(|number| {
        let envelope = signed(number.to_string());
        let mut bytes = envelope.encode().to_vec();
        let signature = envelope.head().signature().as_bytes();
        let at = bytes.windows(64).position(|window| window == signature);
        let at = at.expect("the signature");
        bytes[at..at + 64].copy_from_slice(&other);
        Bytes::from(bytes)
    });
    Request::Store { envelopes: envelopes.collect(), certificates: Vec::new() }
}

#[test]
fn three_requests_with_bad_signatures_end_the_hearing() {
    let attack = forged(200);
    let mut called = Called::new(true);
    let ignored: usize = (0..16).map(|_| called.call(&attack).1).sum();
    assert_eq!((called.signatures(), ignored), (3, 1), "of 16 calls");
    // Not even a ping of it is answered now, and another node is.
    assert_eq!(called.call(&Request::Ping).0, Fate::Refused(Duration::ZERO));
    let other = Contact { public_key: Identity::from_seed([4; 32]).public_key(), ..called.from };
    let liar = std::mem::replace(&mut called.from, other);
    assert_eq!(called.call(&Request::Ping).0, Fate::Answered(Response::Pong));
    // After a minute it is heard again.
    (called.now, called.from) = (called.now + Duration::from_secs(61), liar);
    assert_eq!(called.call(&Request::Ping).0, Fate::Answered(Response::Pong));
    let stats = called.node.stats().price;
    assert_eq!((stats.bad_requests, stats.peers_ignored, stats.dropped_ignored), (3, 1, 14));
    // The same calls without the defence.
    let mut called = Called::new(false);
    (0..16).for_each(|_| drop(called.call(&attack)));
    assert_eq!(called.signatures(), 16 * 200);
}

#[test]
fn a_peer_that_calls_without_end_is_refused_and_held_back() {
    let offer = |number: u8| {
        let key = potluck_base::Key::from_bytes([number; 32]);
        let digest = potluck_record::StateDigest::EMPTY;
        Request::Offer { entries: vec![OfferEntry { key, digest }; 4096] }
    };
    let mut called = Called::new(true);
    let fates: Vec<Fate> = (0..100).map(|number| called.call(&offer(number)).0).collect();
    let served = fates.iter().filter(|fate| !matches!(fate, Fate::Refused(_))).count();
    assert!((15..30).contains(&served), "{served} of 100");
    let Some(Fate::Refused(after)) = fates.last() else { panic!("{fates:?}") };
    assert!(*after >= Duration::from_millis(50), "{after:?}");
    assert_eq!(called.node.stats().price.over_budget, 100 - served as u64);
    // It pays off its debt, and is served again.
    called.now += Duration::from_secs(5);
    assert_eq!(called.call(&Request::Ping).0, Fate::Answered(Response::Pong));
    let mut called = Called::new(false);
    let fates = (0..100).map(|number| called.call(&offer(number)).0);
    assert_eq!(fates.filter(|fate| matches!(fate, Fate::Refused(_))).count(), 0);
}
