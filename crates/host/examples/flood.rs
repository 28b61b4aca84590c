//! One member that does as much as it can: `cargo run -p potluck-host --example flood -- MODE SECONDS
//! NETWORK CONTACT...`.
//!
//! It speaks as a node of a `lab` network, so that a measurement needs no ticket, and answers nothing.
//! MODE is one of `bad` (calls with 1,024 badly signed envelopes), `offers` (calls with 4,096 offered
//! keys), `loads` (calls for 64 keys), `datagrams` (lookups in datagrams), `topics` (calls with signed
//! messages of the system topic), `all` of these, or `forged` (100,000 datagrams a second that no node made:
//! half with the key of a stranger, half with a changed byte). CONTACT is a node, `<public key>@<address>`. It prints what it
//! sent and what became of it.
#![allow(clippy::print_stdout, reason = "telling figures is what it is for")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant as Clock, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use potluck_base::{
    Admission, Contact, Identity, Instant, Key, Machine, NetworkId, Rng, UnixMillis,
};
use potluck_host::socket::{DatagramKind, ReceiveBatch, Sockets};
use potluck_host::transport::{Transport, TransportConfig};
use potluck_link::{Link, LinkConfig, Output, RequestOptions};
use potluck_record::{Context, Dot, Draft, Envelope, Kind, Name, Space, StateDigest};
use potluck_wire::{
    Announcement, InTopic, Load, MessageHead, OfferEntry, Request, Response, SignedMessage,
    TopicId, TopicRequest, Want, decode_response, encode_request,
};

/// Calls under way to each node.
const PARALLEL: usize = 16;

/// What was sent, and what became of it.
#[derive(Default)]
struct Tally {
    counts: Mutex<BTreeMap<String, u64>>,
    datagrams: AtomicU64,
    answers: AtomicU64,
}

impl Tally {
    fn count(&self, what: impl Into<String>) {
        *self.counts.lock().entry(what.into()).or_default() += 1;
    }
}

struct Attacker {
    identity: Identity,
    network: NetworkId,
    transport: Transport,
    socket: Arc<Sockets>,
    targets: Vec<Contact>,
    tally: Tally,
    end: Clock,
}

fn wall() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| args.next().unwrap_or_else(|| panic!("{what} is missing"));
    let (mode, seconds, name) = (next("MODE"), next("SECONDS"), next("NETWORK"));
    let targets: Vec<Contact> = args.map(|text| text.parse().expect("a contact")).collect();
    let seconds: u64 = seconds.parse().expect("seconds");
    let mut rng = Rng::from_seed(potluck_host::random_secret().expect("randomness"));
    let identity = Identity::from_seed(rng.bytes());
    let network = NetworkId::new(&name, Admission::Lab, None);
    let anywhere: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let socket = Arc::new(Sockets::bind(&[anywhere]).expect("a port"));
    let config = TransportConfig::default();
    let transport = Transport::new(&identity, &network, Arc::clone(&socket), config);
    let (tally, end) = (Tally::default(), Clock::now() + Duration::from_secs(3600));
    let mut attacker = Attacker { identity, network, transport, socket, targets, tally, end };
    let (all, kinds) = (mode == "all", calls(&attacker));
    attacker.end = Clock::now() + Duration::from_secs(seconds);
    let attacker = Arc::new(attacker);
    let mut tasks = tokio::task::JoinSet::new();
    if mode == "forged" {
        let (attacker, rng) = (Arc::clone(&attacker), rng.fork("forged"));
        tasks.spawn(async move {
            let _ = tokio::task::spawn_blocking(move || forged(&attacker, rng)).await;
        });
    }
    tasks.spawn(datagrams(Arc::clone(&attacker), rng.fork("link"), all || mode == "datagrams"));
    for (kind, requests) in kinds.into_iter().filter(|(kind, _)| all || mode == *kind) {
        let requests: Arc<[Bytes]> = requests.into();
        for target in &attacker.targets {
            for lane in 0..PARALLEL {
                let (attacker, requests) = (Arc::clone(&attacker), Arc::clone(&requests));
                tasks.spawn(call(attacker, kind, *target, requests, lane));
            }
        }
    }
    tasks.join_all().await;
    let rate = |count: u64| count as f64 / seconds as f64;
    for (what, count) in attacker.tally.counts.lock().iter() {
        println!("{what}: {count} ({:.0}/s)", rate(*count));
    }
    let sent = attacker.tally.datagrams.load(Ordering::Relaxed);
    let answers = attacker.tally.answers.load(Ordering::Relaxed);
    println!("datagrams: {sent} ({:.0}/s), {answers} received", rate(sent));
}

/// Calls one node without end.
async fn call(
    attacker: Arc<Attacker>,
    kind: &'static str,
    target: Contact,
    requests: Arc<[Bytes]>,
    lane: usize,
) {
    let mut number = lane;
    while Clock::now() < attacker.end {
        number += 1;
        if kind == "topics" && number % 64 == lane % 64 {
            let _ = attacker.transport.call(&target, neighbour()).await;
        }
        let request = requests[number % requests.len()].clone();
        let called = attacker.transport.call(&target, request);
        let left = attacker.end.saturating_duration_since(Clock::now());
        match tokio::time::timeout(left, called).await {
            Ok(Ok(answer)) => match decode_response(&answer) {
                Ok(Response::Refused { reason, .. }) => {
                    attacker.tally.count(format!("{kind}: refused, {reason}"));
                }
                Ok(_) => attacker.tally.count(format!("{kind}: answered")),
                Err(_) => attacker.tally.count(format!("{kind}: unreadable")),
            },
            Ok(Err(_)) => {
                attacker.tally.count(format!("{kind}: failed"));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(_) => {}
        }
    }
}

fn neighbour() -> Bytes {
    let body = TopicRequest::Neighbour { high_priority: true, age_ms: 600_000 };
    encode_request(&Request::Topic(InTopic { topic: system(), body }))
}

fn system() -> TopicId {
    potluck_gossip::TopicName::system().id()
}

/// The requests of each kind that are called with.
fn calls(attacker: &Attacker) -> Vec<(&'static str, Vec<Bytes>)> {
    let key = |number: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        Key::from_bytes(bytes)
    };
    let offer = |number: u64| {
        let digest = StateDigest::EMPTY;
        let entries = (0..4096).map(|index| OfferEntry { key: key(number * 4096 + index), digest });
        encode_request(&Request::Offer { entries: entries.collect() })
    };
    let load = |number: u64| {
        let keys = (0..64).map(|index| key(number * 64 + index)).collect();
        encode_request(&Request::Load(Load { keys, after: None, certificates: Vec::new() }))
    };
    let payload = Announcement::default().to_bytes();
    let message = |sequence: u64| {
        let head = MessageHead {
            network: &attacker.network,
            topic: system(),
            incarnation: 1,
            sequence,
            at: wall(),
        };
        SignedMessage::sign(&attacker.identity, &head, payload.clone()).encode()
    };
    let push = |number: u64| {
        let messages = (0..256).map(|index| message(number * 256 + index + 1)).collect();
        let body = TopicRequest::Gossip { messages };
        encode_request(&Request::Topic(InTopic { topic: system(), body }))
    };
    vec![
        ("bad", (0..4).map(|number| badly_signed(attacker, number)).collect()),
        ("offers", (0..16).map(offer).collect()),
        ("loads", (0..64).map(load).collect()),
        ("topics", (0..256).map(push).collect()),
    ]
}

/// A store request of 1,024 envelopes with well-formed signatures of something else.
fn badly_signed(attacker: &Attacker, number: u64) -> Bytes {
    let now = wall();
    let dot = Dot::next(Dot::ZERO, now);
    let expires = now.plus(Duration::from_secs(3600));
    let sign = |text: String| {
        let draft = Draft {
            space: Space::Commons,
            name: Some(Name::new(format!("flood/{number}")).expect("a name")),
            kind: Kind::Siblings,
            values: vec![(dot, expires, Bytes::from(text))],
            dot,
            context: Context::new(),
            expires,
            certificate: None,
        };
        Envelope::sign(&attacker.identity, &attacker.network, draft).expect("a good envelope")
    };
    let other = *sign("other".to_owned()).head().signature().as_bytes();
    let envelopes = (0..1024).map(|index| {
        let envelope = sign(index.to_string());
        let mut bytes = envelope.encode().to_vec();
        let signature = envelope.head().signature().as_bytes();
        let at = bytes.windows(64).position(|window| window == signature);
        bytes[at.expect("the signature")..][..64].copy_from_slice(&other);
        Bytes::from(bytes)
    });
    encode_request(&Request::Store { envelopes: envelopes.collect(), certificates: Vec::new() })
}

/// Sends datagrams that look like a lookup of this node, but cannot be opened: 100 in each millisecond.
fn forged(attacker: &Attacker, mut rng: Rng) {
    let config = LinkConfig { lab: true, ..LinkConfig::default() };
    let mut link = Link::new(attacker.identity.clone(), attacker.network, config, rng.fork("link"));
    let now = Instant::from_micros(1);
    let request = Request::FindNode {
        target: Key::from_bytes([1; 32]),
        count: 16,
        want: Want::Values,
        parts: None,
    };
    let mut real = Vec::new();
    for to in &attacker.targets {
        let _ = link.request(now, *to, &request, RequestOptions::default());
    }
    while let Some(output) = link.poll_output() {
        if let Output::Transmit { to, bytes } = output {
            real.push((to, bytes.to_vec()));
        }
    }
    let key = attacker.identity.public_key();
    let start = Clock::now();
    let mut sent = 0_u64;
    while Clock::now() < attacker.end {
        let due = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX) * 100;
        while sent < due {
            sent += 1;
            let (to, bytes) = &real[sent as usize % attacker.targets.len()];
            let mut copy = bytes.clone();
            let at = copy.windows(32).position(|window| window == key.as_bytes());
            match at.filter(|_| sent.is_multiple_of(2)) {
                Some(at) => copy[at..at + 32].copy_from_slice(&rng.bytes::<32>()),
                None => *copy.last_mut().expect("a datagram") ^= 1 + (sent as u8 >> 1),
            }
            let _ = attacker.socket.try_send(*to, &copy);
        }
        attacker.tally.datagrams.store(sent, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Receives what comes, and with `floods` sends lookups in datagrams as fast as the socket takes them.
async fn datagrams(attacker: Arc<Attacker>, rng: Rng, floods: bool) {
    let config = LinkConfig { lab: true, ..LinkConfig::default() };
    let mut link = Link::new(attacker.identity.clone(), attacker.network, config, rng);
    let start = Clock::now();
    let now =
        || Instant::from_micros(1 + u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX));
    let mut batch = ReceiveBatch::new();
    let mut number = 0_u64;
    while Clock::now() < attacker.end {
        let pause = if floods { Duration::ZERO } else { Duration::from_millis(50) };
        if let Ok(Ok(())) = tokio::time::timeout(pause, attacker.socket.recv(&mut batch)).await {
            for segment in batch.segments() {
                match segment.kind {
                    DatagramKind::Control => {
                        attacker.tally.answers.fetch_add(1, Ordering::Relaxed);
                        link.handle_datagram(now(), segment.from, segment.bytes);
                    }
                    DatagramKind::Quic => attacker.transport.on_quic(&segment),
                }
            }
        }
        for _ in 0..if floods { 64 } else { 0 } {
            number += 1;
            let to = attacker.targets[number as usize % attacker.targets.len()];
            let target = Key::from_bytes([number as u8; 32]);
            let request = Request::FindNode { target, count: 16, want: Want::Values, parts: None };
            let options = RequestOptions { tries: 1, ..RequestOptions::default() };
            if link.request(now(), to, &request, options).is_err() {
                attacker.targets.iter().for_each(|to| link.give_up(now(), &to.public_key));
            }
        }
        link.handle_timeout(now());
        while let Some(output) = link.poll_output() {
            if let Output::Transmit { to, bytes } = output {
                let _ = attacker.socket.try_send(to, &bytes);
                attacker.tally.datagrams.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
