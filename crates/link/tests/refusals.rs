//! Rules of the link from both sides, where one mistaken comparison would let somebody in or keep
//! somebody out; and what its gauges say.

mod world;

use std::net::SocketAddr;

use bytes::Bytes;
use potluck_base::{Admission, Contact, Identity, NetworkId, Rng, UnixMillis};
use potluck_link::{Gatekeeper, Link, LinkConfig, Output};
use potluck_wire::{Certificate, Request, Response, Revocation, Revoked};
use world::{Node, at, config, identity, options};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const HOUR_MS: u64 = 3_600_000;

fn authority() -> Identity {
    Identity::from_seed([0xaa; 32])
}

fn invite() -> NetworkId {
    NetworkId::new("home", Admission::Invite, Some(&authority().public_key()))
}

/// A certificate of `by` for the node of `seed`, issued at `issued`.
fn certificate(seed: u64, by: &Identity, issued: UnixMillis) -> Bytes {
    let certificate = Certificate {
        subject: identity(seed).public_key(),
        labels: Vec::new(),
        serial: seed,
        issued,
        expires: UnixMillis(NOW.0 + HOUR_MS),
        ephemeral: false,
        salt: None,
        ticket: None,
    };
    certificate.sign(by, &invite()).expect("small")
}

/// The node of `seed` in its life number `life`, which shows `shown`.
fn node(seed: u64, life: u64, shown: Bytes) -> Node {
    let mut node = Node::in_network(seed, config(), invite());
    let gatekeeper = Gatekeeper::new(invite(), authority().public_key(), Some(shown), []);
    node.link =
        Link::new(identity(seed), invite(), config(), Rng::from_number(seed + 1_000 * life))
            .with_gatekeeper(gatekeeper);
    node.link.set_wall_clock(at(0), NOW);
    node
}

fn member(seed: u64) -> Node {
    node(seed, 0, certificate(seed, &authority(), NOW))
}

/// Pings until the answer has come, and carries everything both ways. Whether one came.
fn ping(now: u64, asker: &mut Node, server: &mut Node) -> bool {
    let token = asker.link.request(at(now), server.contact, &Request::Ping, options());
    let token = token.expect("room");
    for _ in 0..6 {
        for (_, bytes) in asker.sent() {
            server.link.handle_datagram(at(now), asker.address(), &bytes);
        }
        let mut back = server.sent();
        while let Some(Output::Incoming { reply_to, .. }) = server.told.pop() {
            server.link.respond(at(now), &reply_to, &Response::Pong).expect("budget");
            back.extend(server.sent());
        }
        for (_, bytes) in back {
            asker.link.handle_datagram(at(now + 5), server.address(), &bytes);
        }
    }
    asker.sent();
    let answered =
        |told: &Output| matches!(told, Output::Answered { token: of, .. } if *of == token);
    let came = asker.told.iter().any(answered);
    asker.told.clear();
    server.told.clear();
    came
}

/// Two members that remember each other's certificates.
fn acquainted() -> (Node, Node) {
    let (mut a, mut b) = (member(1), member(2));
    for round in 0..3 {
        assert!(ping(round * 20, &mut a, &mut b));
    }
    (a, b)
}

#[test]
fn the_memory_of_a_certificate_admits_nobody_who_shows_another() {
    let (_, mut b) = acquainted();
    let checked = b.stats().certificates_checked;
    // The same key comes back with a certificate that the authority never signed.
    let forged = certificate(1, &Identity::from_seed([0xbb; 32]), NOW);
    let mut a = node(1, 1, forged);
    assert!(!ping(1_000, &mut a, &mut b));
    assert!(b.stats().certificates_checked > checked, "it was looked at");
    assert!(b.stats().dropped_not_admitted > 0);
    // With one that holds it is heard again.
    let mut a = node(1, 2, certificate(1, &authority(), UnixMillis(NOW.0 + 1)));
    assert!(ping(2_000, &mut a, &mut b));
}

#[test]
fn who_got_a_new_certificate_introduces_itself_anew() {
    let (mut a, mut b) = acquainted();
    let until = Some(UnixMillis(NOW.0 + HOUR_MS));
    assert_eq!(a.link.introduced_until(&b.contact), until);
    for number in 1..3 {
        a.link.set_certificate(certificate(1, &authority(), UnixMillis(NOW.0 + number)));
        assert_eq!(a.link.introduced_until(&b.contact), None, "new certificate {number}");
        assert!(ping(number * 100, &mut a, &mut b));
        assert_eq!(a.link.introduced_until(&b.contact), until);
    }
}

#[test]
fn an_introduction_counts_at_its_address_and_for_its_peer_only() {
    let (a, b) = acquainted();
    let elsewhere = Contact { address: ([10, 9, 9, 9], 12345).into(), ..b.contact };
    assert_eq!(a.link.introduced_until(&elsewhere), None);
    let stranger = Contact { public_key: identity(7).public_key(), ..b.contact };
    assert_eq!(a.link.introduced_until(&stranger), None);
    assert_eq!(member(1).link.introduced_until(&b.contact), None, "they never met");
}

#[test]
fn an_address_that_is_not_proven_is_no_members_address() {
    let (mut a, mut b) = acquainted();
    let spoofed = SocketAddr::from(([10, 9, 9, 9], 12345));
    a.link.request(at(500), b.contact, &Request::Ping, options()).expect("room");
    let request = a.sent_one();
    b.link.handle_datagram(at(500), spoofed, &request);
    b.sent();
    let at_spoofed = |told: &Output| matches!(told, Output::Admitted { contact, .. } if contact.address == spoofed);
    assert!(!b.told.iter().any(at_spoofed), "{:?}", b.told);
}

#[test]
fn nothing_is_remembered_of_who_is_revoked() {
    let (a, mut b) = acquainted();
    assert_eq!(b.stats().sessions, 1);
    let revocation =
        Revocation { subject: Revoked::Member(a.key()), at: NOW }.sign(&authority(), &invite());
    assert_eq!(b.link.admit_revocation(&revocation), Ok(Some(Revoked::Member(a.key()))));
    assert_eq!((b.stats().sessions, b.stats().revocations), (0, 1));
}

#[test]
fn an_address_is_the_same_written_as_v4_or_mapped_into_v6() {
    let (mut a, b) = (Node::new(1, config()), Node::new(2, config()));
    let SocketAddr::V4(v4) = b.address() else { panic!("a v4 address") };
    let mapped = SocketAddr::from((v4.ip().to_ipv6_mapped(), v4.port()));
    let to = Contact { address: mapped, ..b.contact };
    a.link.request(at(0), to, &Request::Ping, options()).expect("room");
    let sent: Vec<SocketAddr> = a.sent().into_iter().map(|(to, _)| to).collect();
    assert_eq!(sent, [b.address()]);
}

#[test]
fn gauges_say_what_waits_and_what_is_remembered() {
    // In a lab private addresses have no rates.
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, LinkConfig::default()));
    let idle = a.stats();
    assert_eq!((idle.requests_outstanding, idle.outputs_queued, idle.limits), (0, 0, 0));
    let to = b.contact;
    a.link.request(at(0), to, &Request::Ping, options()).expect("room");
    assert_eq!((a.stats().requests_outstanding, a.stats().outputs_queued), (1, 1));
    let request = a.sent_one();
    assert_eq!((a.stats().requests_outstanding, a.stats().outputs_queued), (1, 0));
    b.link.handle_datagram(at(0), a.address(), &request);
    assert!(b.stats().limits > 0, "the rate of a stranger is remembered");
    b.sent();
    let (reply_to, _) = b.asked().expect("a request");
    b.link.respond(at(0), &reply_to, &Response::Pong).expect("budget");
    let answer = b.sent_one();
    a.link.handle_datagram(at(5), b.address(), &answer);
    a.sent();
    assert_eq!(a.stats().requests_outstanding, 0);
}
