//! What a forged datagram costs: `cargo run --release -p potluck-link --example reject`.
//!
//! A link in an `invite` network, as most are, is given datagrams that it must not take, one kind at a
//! time, from 4,096 different ones. The figure is user time of the process, as the kernel counts it, a
//! datagram; receiving it from the socket is not in it.
#![allow(clippy::print_stdout, reason = "telling figures is what it is for")]

use std::net::SocketAddr;

use bytes::Bytes;
use potluck_base::{Admission, Contact, Identity, Instant, Machine, NetworkId, Rng, UnixMillis};
use potluck_link::{Gatekeeper, Link, LinkConfig, LinkStats, Output, RequestOptions};
use potluck_wire::{Certificate, Request, Response};

/// Datagrams of each kind.
const VARIANTS: usize = 4096;
/// User time, in clock ticks of a hundredth of a second, for which each kind is measured.
const TICKS: u64 = 100;
/// When all of it happens, so that no rate recovers.
const NOW: Instant = Instant::from_micros(1_000_000);
const WALL: UnixMillis = UnixMillis(1_800_000_000_000);
/// The largest datagram.
const LONGEST: usize = 1200;

fn authority() -> Identity {
    Identity::from_seed([99; 32])
}

fn network() -> NetworkId {
    NetworkId::new("bench", Admission::Invite, Some(&authority().public_key()))
}

fn link(seed: u8) -> (Link, Contact) {
    let identity = Identity::from_seed([seed; 32]);
    let certificate = Certificate {
        subject: identity.public_key(),
        issued: WALL,
        expires: UnixMillis(WALL.0 + 3_600_000),
        labels: Vec::new(),
        serial: seed.into(),
        ephemeral: false,
        ticket: None,
        salt: None,
    };
    let certificate = certificate.sign(&authority(), &network()).expect("small");
    let address = SocketAddr::from(([10, 0, 0, seed], 12345));
    let contact = Contact::new(identity.public_key(), address);
    let config = LinkConfig::default();
    let mut link = Link::new(identity, network(), config, Rng::from_number(seed.into()));
    let authority = authority().public_key();
    link.set_gatekeeper(Gatekeeper::new(network(), authority, Some(certificate), []));
    link.set_wall_clock(Instant::ZERO, WALL);
    (link, contact)
}

fn transmitted(link: &mut Link) -> Option<Bytes> {
    std::iter::from_fn(|| link.poll_output()).find_map(|output| match output {
        Output::Transmit { bytes, .. } => Some(bytes),
        _ => None,
    })
}

/// User time of this process, in clock ticks.
fn user_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields = stat.rsplit(')').next().expect("the name is in brackets");
    fields.split_whitespace().nth(11).and_then(|ticks| ticks.parse().ok()).expect("user time")
}

/// A request of `peer` as it would send it now.
fn request(peer: &mut Link, now: Instant, to: Contact) -> Vec<u8> {
    let options = RequestOptions { tries: 1, ..RequestOptions::default() };
    peer.request(now, to, &Request::Ping, options).expect("room");
    let sent = transmitted(peer).expect("a datagram").to_vec();
    peer.give_up(now, &to.public_key);
    peer.handle_timeout(now);
    while peer.poll_output().is_some() {}
    sent
}

fn main() {
    let (mut target, target_is) = link(1);
    let (mut peer, peer_is) = link(2);
    let now = NOW;
    introduce(&mut peer, peer_is, &mut target, target_is);
    assert!(target.is_admitted(&peer_is.public_key), "{:?}", target.stats());
    println!("{:<66} {:>9} dropped as", "kind", "user ns");
    for (name, from, datagrams) in kinds(&mut peer, peer_is, target_is, now) {
        let before = target.stats();
        // Uses up the burst of what is limited by rate.
        datagrams.iter().for_each(|bytes| target.handle_datagram(now, from, bytes));
        while target.poll_output().is_some() {}
        let (start, mut count) = (user_ticks(), 0_u64);
        let spent = loop {
            for bytes in &datagrams {
                target.handle_datagram(now, from, bytes);
            }
            count += datagrams.len() as u64;
            let spent = user_ticks() - start;
            if spent >= TICKS {
                break spent;
            }
        };
        assert!(target.poll_output().is_none(), "{name}: it was answered");
        let nanos = spent as f64 * 10_000_000.0 / count as f64;
        println!("{name:<66} {nanos:>9.0} {}", why(&before, &target.stats()));
    }
}

/// The peer becomes one that the target knows at its address.
fn introduce(peer: &mut Link, peer_is: Contact, target: &mut Link, target_is: Contact) {
    let now = NOW;
    for _ in 0..3 {
        let asked = request_kept(peer, now, target_is);
        target.handle_datagram(now, peer_is.address, &asked);
        let outputs: Vec<Output> = std::iter::from_fn(|| target.poll_output()).collect();
        for output in outputs {
            if let Output::Incoming { reply_to, .. } = output {
                target.respond(now, &reply_to, &Response::Pong).expect("budget");
            }
        }
        while let Some(answer) = transmitted(target) {
            peer.handle_datagram(now, target_is.address, &answer);
        }
        while peer.poll_output().is_some() {}
    }
}

/// Datagrams that the target must not take: what they are, and where they come from.
fn kinds(
    peer: &mut Link,
    peer_is: Contact,
    target_is: Contact,
    now: Instant,
) -> Vec<(&'static str, SocketAddr, Vec<Vec<u8>>)> {
    let mut rng = Rng::from_number(7);
    let mut junk = |first: &[u8]| {
        let mut bytes: Vec<u8> = (0..LONGEST).map(|_| rng.next_u64() as u8).collect();
        bytes[..first.len()].copy_from_slice(first);
        bytes
    };
    let hello = {
        let (mut asker, _) = link(3);
        asker.hello(now, target_is.address);
        transmitted(&mut asker).expect("a greeting").to_vec()
    };
    let unmarked_hello = |number: usize| {
        let mut bytes = hello.clone();
        bytes[10..18].copy_from_slice(&(number as u64).to_be_bytes());
        bytes
    };
    let sealed: Vec<Vec<u8>> = (0..VARIANTS).map(|_| request(peer, now, target_is)).collect();
    let spoilt = |bytes: &Vec<u8>| {
        let mut bytes = bytes.clone();
        bytes.resize(LONGEST, 0);
        bytes[LONGEST - 1] ^= 1;
        bytes
    };
    let stranger = Identity::from_seed([8; 32]).public_key();
    let unmarked = |bytes: &Vec<u8>| {
        let mut bytes = spoilt(bytes);
        // Another sender, whose boot id this is not.
        bytes[10..42].copy_from_slice(stranger.as_bytes());
        bytes
    };
    let (mut outsider, _) = link(4);
    let strangers = (0..VARIANTS).map(|_| request(&mut outsider, now, target_is)).collect();
    let anywhere = SocketAddr::from(([9, 9, 9, 9], 9));
    let random = (0..VARIANTS).map(|_| junk(&[])).collect();
    let initial = (0..VARIANTS).map(|_| junk(&[0xc3, 0, 0, 0, 1])).collect();
    vec![
        ("junk, 1,200 bytes", anywhere, random),
        ("QUIC initial, as `link` sees it (the shell sorts it out before)", anywhere, initial),
        (
            "SEALED without the mark of the network, 1,200 bytes",
            anywhere,
            sealed.iter().map(unmarked).collect(),
        ),
        (
            "HELLO without the mark of the network",
            anywhere,
            (0..VARIANTS).map(unmarked_hello).collect(),
        ),
        ("SEALED with the mark, no session, over the rate of its address", anywhere, strangers),
        ("HELLO with its mark, over the rate of its address", anywhere, vec![hello; VARIANTS]),
        (
            "key, address and life of a proven peer, a bad seal, 1,200 bytes",
            peer_is.address,
            sealed.iter().map(spoilt).collect(),
        ),
    ]
}

/// As [`request`], and the asker goes on waiting for the answer.
fn request_kept(peer: &mut Link, now: Instant, to: Contact) -> Bytes {
    let options = RequestOptions { tries: 1, ..RequestOptions::default() };
    peer.request(now, to, &Request::Ping, options).expect("room");
    transmitted(peer).expect("a datagram")
}

/// The counter that grew most.
fn why(before: &LinkStats, after: &LinkStats) -> &'static str {
    let causes = |stats: &LinkStats| {
        [
            ("malformed", stats.dropped_malformed),
            ("version", stats.dropped_version),
            ("other network", stats.dropped_other_network),
            ("unmarked", stats.dropped_unmarked),
            ("stranger rate", stats.dropped_stranger_rate),
            ("unauthentic", stats.dropped_unauthentic),
            ("peer rate", stats.dropped_peer_rate),
        ]
    };
    let grown = causes(before).into_iter().zip(causes(after));
    let most = grown.max_by_key(|((_, before), (_, after))| after - before);
    most.map_or("?", |((name, _), _)| name)
}
