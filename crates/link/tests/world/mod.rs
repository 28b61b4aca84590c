//! A made-up network for scripts: links with addresses, and datagrams carried by hand.
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::machine::drain;
use potluck_base::{Admission, Contact, Identity, Instant, NetworkId, PublicKey, Rng};
use potluck_link::{Link, LinkConfig, LinkStats, Output, ReplyTo, RequestOptions, RequestToken};
use potluck_wire::{Found, Refusal, Request, Response};

/// What a request of the scripts promises to take as an answer.
pub(crate) const ANSWER_MAX: usize = 700;
/// Where the clear header's cookie flag stands.
pub(crate) const FLAG_AT: usize = 66;

pub(crate) fn at(millis: u64) -> Instant {
    // Not at the start of time, so that nothing rests on that.
    Instant::from_micros(5_000_000_000 + millis * 1_000)
}

pub(crate) fn network() -> NetworkId {
    NetworkId::new("potluck", Admission::Lab, None)
}

pub(crate) fn config() -> LinkConfig {
    LinkConfig { lab: true, ..LinkConfig::default() }
}

pub(crate) fn options() -> RequestOptions {
    RequestOptions { tries: 2, answer_bytes_max: ANSWER_MAX, ..RequestOptions::default() }
}

pub(crate) fn identity(seed: u64) -> Identity {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Identity::from_seed(bytes)
}

/// A link with what it has said so far.
pub(crate) struct Node {
    pub(crate) link: Link,
    pub(crate) contact: Contact,
    /// Everything but datagrams.
    pub(crate) told: Vec<Output>,
    config: LinkConfig,
    seed: u64,
    lives: u64,
}

impl Node {
    pub(crate) fn new(seed: u64, config: LinkConfig) -> Self {
        Self::in_network(seed, config, network())
    }

    pub(crate) fn in_network(seed: u64, config: LinkConfig, network: NetworkId) -> Self {
        let identity = identity(seed);
        let [.., third, fourth] = seed.to_be_bytes();
        let address = SocketAddr::from(([10, 0, third, fourth], 12345));
        let contact = Contact::new(identity.public_key(), address);
        let link = Link::new(identity, network, config, Rng::from_number(seed));
        Self { link, contact, told: Vec::new(), config, seed, lives: 1 }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.contact.address
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.contact.public_key
    }

    pub(crate) fn stats(&self) -> LinkStats {
        self.link.stats()
    }

    /// Forgets everything but who it is.
    pub(crate) fn restart(&mut self) {
        let rng = Rng::from_number(self.seed + 1_000_000 * self.lives);
        self.lives += 1;
        self.link = Link::new(identity(self.seed), network(), self.config, rng);
        self.told.clear();
    }

    /// The datagrams it wants sent; the rest is noted.
    pub(crate) fn sent(&mut self) -> Vec<(SocketAddr, Bytes)> {
        let mut datagrams = Vec::new();
        for output in drain(&mut self.link) {
            match output {
                Output::Transmit { to, bytes } => datagrams.push((to, bytes)),
                other => self.told.push(other),
            }
        }
        datagrams
    }

    /// The one datagram it wants sent.
    pub(crate) fn sent_one(&mut self) -> Bytes {
        let mut sent = self.sent();
        assert_eq!(sent.len(), 1, "datagrams: {sent:?}, told: {:?}", self.told);
        sent.remove(0).1
    }

    pub(crate) fn ask(&mut self, now: Instant, to: Contact) -> RequestToken {
        self.link.request(now, to, &Request::Ping, options()).expect("room for a request")
    }

    /// Takes a datagram in and notes what comes of it; nothing may be sent.
    pub(crate) fn take(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.link.handle_datagram(now, from, bytes);
        let sent = self.sent();
        assert!(sent.is_empty(), "sent {sent:?}");
    }

    /// Takes a datagram in and answers the request in it, as well as may be. Gives the answer.
    pub(crate) fn serve(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Option<Bytes> {
        self.link.handle_datagram(now, from, bytes);
        let mut sent = self.sent();
        if let Some((reply_to, _)) = self.asked() {
            let refused = Response::refused(Refusal::Unproven);
            if self.link.respond(now, &reply_to, &large_answer()).is_err() {
                self.link.respond(now, &reply_to, &refused).expect("a refusal always fits");
            }
            sent.extend(self.sent());
        }
        assert!(sent.len() <= 1, "more than one datagram for one: {sent:?}");
        sent.pop().map(|(to, bytes)| {
            assert_eq!(to, from, "an answer goes where the question came from");
            bytes
        })
    }

    /// The last request that was handed on, and whether its sender was proven.
    pub(crate) fn asked(&mut self) -> Option<(ReplyTo, bool)> {
        match self.told.pop()? {
            Output::Incoming { reply_to, proven, .. } => Some((reply_to, proven)),
            other => panic!("a request was expected, not {other:?}"),
        }
    }

    /// The one thing it told.
    pub(crate) fn told_one(&mut self) -> Output {
        assert_eq!(self.told.len(), 1, "told: {:?}", self.told);
        self.told.remove(0)
    }

    pub(crate) fn assert_answered(&mut self, token: RequestToken, by: Contact, rtt: Duration) {
        let told = self.told_one();
        let Output::Answered { seen_at, .. } = told else { panic!("an answer, not {told:?}") };
        assert!(seen_at.is_some(), "each answer says where its question came from");
        let (from, response) = (by, large_answer());
        assert_eq!(told, Output::Answered { token, from, response, rtt, seen_at });
    }
}

/// An answer of nearly [`ANSWER_MAX`] bytes.
pub(crate) fn large_answer() -> Response {
    let contact = |index: u8| {
        Contact::new(PublicKey::from_bytes([index; 32]), SocketAddr::from(([10, 1, 1, index], 1)))
    };
    Response::Found(Found { contacts: (0..15).map(contact).collect(), ..Found::default() })
}

/// One request of `asker` to `server`, answered ten milliseconds later. Gives its datagrams.
pub(crate) fn exchange(now: Instant, asker: &mut Node, server: &mut Node) -> Vec<Bytes> {
    let token = asker.ask(now, server.contact);
    let then = now + Duration::from_millis(10);
    let mut datagrams = vec![asker.sent_one()];
    for _ in 0..3 {
        let request = datagrams.last().expect("there is a request").clone();
        let answer = server.serve(now, asker.address(), &request).expect("an answer");
        asker.link.handle_datagram(then, server.address(), &answer);
        datagrams.push(answer);
        let again = asker.sent();
        if again.is_empty() {
            break;
        }
        datagrams.extend(again.into_iter().map(|(_, bytes)| bytes));
    }
    match asker.told_one() {
        Output::Answered { token: answered, response, .. } => {
            assert_eq!((answered, response), (token, large_answer()));
        }
        other => panic!("an answer was expected, not {other:?}"),
    }
    datagrams
}

/// A node that `server` takes as proven, and that knows it.
pub(crate) fn friend(seed: u64, server: &mut Node) -> Node {
    let mut friend = Node::new(seed, config());
    for round in 0..2 {
        exchange(at(round * 20), &mut friend, server);
    }
    friend
}
