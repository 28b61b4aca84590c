//! What others may try: floods, forgeries, replays, answers to questions they were not asked.

mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Admission, NetworkId, Rate, Rng};
use potluck_link::{LinkConfig, Output, RequestOptions};
use potluck_wire::{Request, Response};
use proptest::prelude::*;
use world::{Node, at, config, exchange, friend, network, options};

fn public_address(rng: &mut Rng) -> SocketAddr {
    let ip = if rng.chance(0.5) {
        let [a, b, c] = rng.bytes();
        IpAddr::from([9, a, b, c])
    } else {
        let mut octets: [u8; 16] = rng.bytes();
        octets[0] = 0x20;
        IpAddr::from(octets)
    };
    SocketAddr::new(ip, 1 + rng.below(60_000) as u16)
}

/// Anything a stranger can make without a key of ours: noise, headers with fresh keys, greetings.
fn forged(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = vec![0; rng.below(1_300) as usize];
    bytes.iter_mut().for_each(|byte| *byte = rng.next_u64() as u8);
    let kind = rng.below(5) as u8;
    if kind > 0 && bytes.len() >= 67 {
        bytes[..2].copy_from_slice(&[kind, 2]);
        bytes[2..10].copy_from_slice(&network().tag());
        bytes[world::FLAG_AT] &= 1;
    }
    bytes
}

#[test]
fn a_flood_never_gets_more_bytes_out_than_it_brings_in_and_leaves_nothing_behind() {
    let public = LinkConfig { limits_max: 512, ..LinkConfig::default() };
    let mut server = Node::new(2, public);
    let mut rng = Rng::from_number(7);
    // A few strangers know how to seal as well, and how to greet.
    let mut sealed = Vec::new();
    let mut greetings = Vec::new();
    for seed in 0..64 {
        let mut stranger = Node::new(1_000 + seed, config());
        let answer_bytes_max = rng.below(1_060) as usize;
        let asked = RequestOptions { tries: 1, answer_bytes_max, ..RequestOptions::default() };
        stranger.link.request(at(0), server.contact, &Request::Ping, asked).expect("room");
        sealed.push(stranger.sent_one());
        stranger.link.hello(at(0), server.address());
        greetings.push(stranger.sent_one());
    }
    let (mut bytes_in, mut bytes_out) = (0, 0);
    let mut answered: BTreeMap<u8, u32> = BTreeMap::new();
    for round in 0..100_000_u64 {
        let now = at(round / 20);
        let bytes = match rng.below(20) {
            0 => sealed[rng.below(64) as usize].to_vec(),
            1 => greetings[rng.below(64) as usize].to_vec(),
            _ => forged(&mut rng),
        };
        let answer = server.serve(now, public_address(&mut rng), &bytes);
        let out = answer.as_ref().map_or(0, Bytes::len);
        assert!(out <= bytes.len(), "{out} bytes for {}", bytes.len());
        (bytes_in, bytes_out) = (bytes_in + bytes.len(), bytes_out + out);
        if let Some(answer) = answer {
            *answered.entry(answer[0]).or_default() += 1;
        }
    }
    let stats = server.stats();
    assert!(bytes_out <= bytes_in);
    assert_eq!((stats.sessions, stats.sessions_evicted, stats.outputs_queued), (0, 0, 0));
    assert!(stats.limits <= 6 * 512, "{} limits", stats.limits);
    assert!(stats.key_agreements <= 2 * 1_000 * 6, "{stats:?}");
    // The flood reached every way there is to get an answer: SEALED, WELCOME and RETRY.
    assert_eq!(answered.keys().copied().collect::<Vec<_>>(), [1, 3, 4], "{answered:?}");
    let dropped = [stats.dropped_malformed, stats.dropped_bad_key, stats.dropped_unauthentic];
    assert!(dropped.iter().all(|count| *count > 100), "{stats:?}");
    assert!(stats.dropped_unmarked > 100, "{stats:?}");
}

#[test]
fn a_datagram_of_another_network_is_nothing_here() {
    let elsewhere = NetworkId::new("potluck", Admission::Open, None);
    let mut a = Node::in_network(1, config(), elsewhere);
    let mut b = Node::new(2, config());
    a.ask(at(0), b.contact);
    let request = a.sent_one();
    b.take(at(0), a.address(), &request);
    // Also not if it only pretends to be of this one.
    let mut relabelled = request.to_vec();
    relabelled[2..10].copy_from_slice(&network().tag());
    b.take(at(0), a.address(), &relabelled);
    assert!(b.told.is_empty());
    assert_eq!((b.stats().dropped_other_network, b.stats().dropped_unauthentic), (1, 1));
}

#[test]
fn another_version_and_our_own_key_are_dropped() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    a.ask(at(0), b.contact);
    let request = a.sent_one();
    let mut newer = request.to_vec();
    newer[1] = 3;
    b.take(at(0), a.address(), &newer);
    a.take(at(0), b.address(), &request);
    assert_eq!((b.stats().dropped_version, a.stats().dropped_own_key), (1, 1));
    assert!(a.told.is_empty() && b.told.is_empty());
}

#[test]
fn a_replayed_datagram_of_a_proven_peer_is_dropped_wherever_it_comes_from() {
    let mut b = Node::new(2, config());
    let mut a = friend(1, &mut b);
    let elsewhere = Node::new(9, config()).address();
    let datagrams = exchange(at(100), &mut a, &mut b);
    for from in [a.address(), elsewhere] {
        b.take(at(101), from, &datagrams[0]);
        a.take(at(101), b.address(), &datagrams[1]);
    }
    assert!(a.told.is_empty() && b.told.is_empty());
    assert_eq!((a.stats().dropped_replayed, b.stats().dropped_replayed), (2, 2));
}

#[test]
fn a_replayed_datagram_of_a_stranger_gets_no_more_than_its_bytes_and_proves_nothing() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    a.ask(at(0), b.contact);
    let request = a.sent_one();
    let victim = Node::new(9, config()).address();
    for _ in 0..3 {
        let answer = b.serve(at(0), victim, &request).expect("an answer");
        assert!(answer.len() <= request.len());
    }
    assert_eq!(b.stats().sessions, 0);
}

#[test]
fn recordings_of_former_lives_do_not_push_out_the_present_one() {
    let mut b = Node::new(2, config());
    let mut a = friend(1, &mut b);
    let mut recorded = Vec::new();
    for life in 0..4 {
        a.restart();
        // A request that never arrived, and one that did.
        a.ask(at(life * 1_000), b.contact);
        recorded.push(a.sent_one());
        exchange(at(life * 1_000 + 1), &mut a, &mut b);
        exchange(at(life * 1_000 + 30), &mut a, &mut b);
        a.told.clear();
    }
    let present = exchange(at(9_000), &mut a, &mut b).swap_remove(0);
    // The life before the present one is still known: its late datagrams are welcome.
    for old in &recorded[..2] {
        b.link.handle_datagram(at(9_010), a.address(), old);
        b.sent();
        let (_, proven) = b.asked().expect("a request, as from any stranger");
        assert!(!proven, "a former life is nobody's proof");
    }
    b.take(at(9_020), a.address(), &present);
    assert!(b.told.is_empty(), "the present life's window is still there");
    assert_eq!(exchange(at(9_030), &mut a, &mut b)[0].len(), 148);
}

#[test]
fn an_answer_counts_only_from_the_key_and_address_that_were_asked() {
    // Unsealed, so that a third node can read the request id: the worst case.
    let open = LinkConfig { seal: false, ..config() };
    let (mut a, mut b, mut c) = (Node::new(1, open), Node::new(2, open), Node::new(3, open));
    let token = a.ask(at(0), b.contact);
    let request = a.sent_one();
    let by_other_key = c.serve(at(0), a.address(), &request).expect("an answer");
    let honest = b.serve(at(0), a.address(), &request).expect("an answer");
    a.take(at(1), c.address(), &by_other_key);
    a.take(at(2), b.address(), &by_other_key);
    a.take(at(3), c.address(), &honest);
    assert_eq!((a.told.len(), a.stats().dropped_unsolicited), (0, 3));
    assert_eq!(a.stats().sessions, 1, "only that of the peer that was asked");
    a.take(at(10), b.address(), &honest);
    a.assert_answered(token, b.contact, Duration::from_millis(10));
}

#[test]
fn one_flipped_bit_makes_a_datagram_worthless() {
    let mut b = Node::new(2, config());
    let mut a = friend(1, &mut b);
    // With a cookie in the header, so that there is one to flip.
    a.restart();
    exchange(at(100), &mut a, &mut b);
    let token = a.ask(at(200), b.contact);
    let request = a.sent_one();
    assert_eq!(request[world::FLAG_AT], 1);
    let flipped = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..request.len() * 8 {
        b.link.handle_datagram(at(200), a.address(), &flipped(&request, bit));
        assert!(b.sent().is_empty() && b.told.is_empty(), "bit {bit}");
    }
    let answer = b.serve(at(200), a.address(), &request).expect("untouched, it is good");
    for bit in 0..answer.len() * 8 {
        a.link.handle_datagram(at(205), b.address(), &flipped(&answer, bit));
        assert!(a.sent().is_empty() && a.told.is_empty(), "bit {bit}");
    }
    a.take(at(210), b.address(), &answer);
    a.assert_answered(token, b.contact, Duration::from_millis(10));
}

#[test]
fn a_proven_peer_has_its_own_rate_which_no_forger_can_spend() {
    let mut b = Node::new(2, LinkConfig { peer: Rate::new(10, 20), ..config() });
    let mut a = friend(1, &mut b);
    let (mut forger, mut requests) = (friend(3, &mut b), Vec::new());
    for _ in 0..30 {
        a.ask(at(1_000), b.contact);
        requests.push(a.sent_one());
        forger.ask(at(1_000), b.contact);
        let mut forgery = forger.sent_one().to_vec();
        forgery[10..42].copy_from_slice(a.key().as_bytes());
        b.take(at(1_000), a.address(), &forgery);
    }
    for request in &requests {
        b.link.handle_datagram(at(1_000), a.address(), request);
        b.sent();
    }
    assert_eq!((b.told.len(), b.stats().dropped_peer_rate), (20, 10));
    exchange(at(1_000), &mut forger, &mut b);
}

/// How many of 1,000 greetings from these addresses at one moment are answered.
fn answered(config: LinkConfig, address: impl Fn(u16) -> [u8; 4]) -> usize {
    let (mut server, mut greeter) = (Node::new(2, config), Node::new(1, config));
    greeter.link.hello(at(0), server.address());
    let hello = greeter.sent_one();
    (0..1_000)
        .filter(|index| server.serve(at(0), (address(*index), 1).into(), &hello).is_some())
        .count()
}

#[test]
fn strangers_are_limited_by_address_subnet_wide_subnet_and_in_all() {
    let rates = LinkConfig {
        global: Rate::new(1, 400),
        wide_subnet: Rate::new(1, 300),
        subnet: Rate::new(1, 200),
        address: Rate::new(1, 100),
        ..LinkConfig::default()
    };
    let spread = |index: u16| index.to_be_bytes();
    assert_eq!(answered(rates, |_| [9, 1, 1, 1]), 100);
    assert_eq!(answered(rates, |index| [9, 1, 1, spread(index)[1]]), 200);
    assert_eq!(answered(rates, |index| [9, 1, spread(index)[1], 1]), 300);
    assert_eq!(answered(rates, |index| [9, spread(index)[1], 1, 1]), 400);
    // Private addresses are exempt in a lab, but not from the limit in all.
    assert_eq!(answered(rates, |_| [127, 0, 0, 1]), 100);
    let lab = LinkConfig { lab: true, ..rates };
    assert_eq!(answered(lab, |_| [127, 0, 0, 1]), 400);
    assert_eq!(answered(lab, |_| [9, 1, 1, 1]), 100);
}

#[test]
fn a_flood_of_strangers_does_not_lock_out_who_has_a_cookie_or_is_asked() {
    let rates = LinkConfig { global: Rate::new(1, 10), ..config() };
    let mut b = Node::new(2, rates);
    let mut a = Node::new(1, config());
    exchange(at(0), &mut a, &mut b);
    let mut friend = friend(3, &mut b);
    let mut greeter = Node::new(4, config());
    greeter.link.hello(at(0), b.address());
    let hello = greeter.sent_one();
    let refused = (0..20).filter(|_| b.serve(at(50), greeter.address(), &hello).is_none()).count();
    assert!(refused >= 10, "the strangers' limit is used up");
    exchange(at(60), &mut a, &mut b);
    exchange(at(60), &mut friend, &mut b);
    let mut other = Node::new(5, config());
    exchange(at(60), &mut b, &mut other);
}

#[test]
fn sessions_are_bounded_and_whose_was_forgotten_is_served_again() {
    let mut b = Node::new(2, LinkConfig { sessions_max: 8, ..config() });
    let mut friends: Vec<_> = (100..120).map(|seed| friend(seed, &mut b)).collect();
    assert_eq!((b.stats().sessions, b.stats().sessions_evicted), (8, 12));
    for friend in &mut friends {
        exchange(at(1_000), friend, &mut b);
    }
    assert_eq!(b.stats().sessions, 8);
}

#[test]
fn an_answer_to_a_peer_whose_session_was_forgotten_meanwhile_still_arrives() {
    let mut b = Node::new(2, LinkConfig { sessions_max: 1, ..config() });
    let mut a = friend(1, &mut b);
    a.ask(at(100), b.contact);
    let request = a.sent_one();
    b.link.handle_datagram(at(100), a.address(), &request);
    b.sent();
    let (reply_to, _) = b.asked().expect("a request");
    friend(3, &mut b);
    b.link.respond(at(110), &reply_to, &Response::Pong).expect("budget");
    let answer = b.sent_one();
    a.take(at(120), b.address(), &answer);
    assert!(matches!(a.told_one(), Output::Answered { .. }));
}

/// Bytes that get past the first checks more often than noise would.
fn nearly_datagrams() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    (0..6_u8, bytes).prop_map(|(kind, mut bytes)| {
        if kind > 0 && bytes.len() > 100 {
            bytes[..2].copy_from_slice(&[kind, 2]);
            bytes[2..10].copy_from_slice(&network().tag());
            // Half of them without cookie, and with the zero tag that passes unsealed.
            bytes[world::FLAG_AT] &= 1;
            let tag = bytes.len() - 16;
            bytes[tag..].fill(0);
            // A plausible inside: request or response, no cookie, a short message of our version.
            let inner = world::FLAG_AT + 1 + 16 * usize::from(bytes[world::FLAG_AT]);
            if bytes.len() > inner + 40 {
                bytes[inner] = 1 + (bytes[inner] & 1);
                bytes[inner + 9] = 0;
                bytes[inner + 10] = 0;
                bytes[inner + 11] &= 15;
                bytes[inner + 12] = 1;
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_never_amplify(
        seal in any::<bool>(),
        datagrams in prop::collection::vec((nearly_datagrams(), 0..3_u8), 1..40),
    ) {
        let mut node = Node::new(2, LinkConfig { seal, ..config() });
        let asked = Node::new(1, config()).contact;
        node.link.request(at(0), asked, &Request::Ping, options()).expect("room");
        node.link.hello(at(0), asked.address);
        node.sent();
        for (step, (bytes, from)) in datagrams.into_iter().enumerate() {
            let from = if from == 0 { asked.address } else { ([9, 9, 9, from], 7).into() };
            let answer = node.serve(at(step as u64), from, &bytes);
            prop_assert!(answer.map_or(0, |answer| answer.len()) <= bytes.len());
            let news = |told: &Output| !matches!(told, Output::Incoming { .. });
            prop_assert!(!node.told.iter().any(news), "told {:?}", node.told);
            if seal {
                prop_assert!(node.told.is_empty());
            }
        }
    }
}
