//! A peer with several addresses: which are tried, in which order, and what a dead one costs.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Contact, Machine};
use potluck_link::Output;
use potluck_wire::Response;
use world::{Node, at, config, exchange};

fn socket(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Runs the asker's timers until it has been answered by `peer`, which is reached at `alive` only. Gives
/// how long that took, and each address that was tried.
fn reach(asker: &mut Node, peer: &mut Node, to: Contact) -> (Option<Duration>, Vec<SocketAddr>) {
    let alive = peer.address();
    let token = asker.ask(at(0), to);
    let (mut now, mut tried) = (at(0), Vec::new());
    loop {
        for (way, bytes) in asker.sent() {
            tried.push(way);
            if way != alive {
                continue;
            }
            peer.link.handle_datagram(now, asker.address(), &bytes);
            peer.sent();
            let Some((reply_to, _)) = peer.asked() else { continue };
            peer.link.respond(now, &reply_to, &Response::Pong).expect("budget");
            let answer = peer.sent_one();
            asker.take(now, alive, &answer);
        }
        if let Some(told) = asker.told.pop() {
            match told {
                Output::Answered { token: answered, from, .. } if answered == token => {
                    assert_eq!(from.address, alive);
                    return (Some(now.since(at(0))), tried);
                }
                Output::Failed { token: failed, to: asked } if failed == token => {
                    assert_eq!(asked, to);
                    return (None, tried);
                }
                other => panic!("{other:?}"),
            }
        }
        now = asker.link.poll_timeout().expect("a timer").at;
        asker.link.handle_timeout(now);
    }
}

#[test]
fn a_dead_address_before_the_right_one_costs_a_tenth_of_a_second() {
    for dead in [1_u64, 2, 3] {
        let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
        let wrong = (0..dead).map(|n| socket(&format!("10.1.2.{}:7", 3 + n)));
        let ways: Vec<SocketAddr> = wrong.chain([b.address()]).collect();
        let to = Contact { address: ways[0], ..b.contact };
        a.link.learn_ways(b.key(), ways.clone());
        let (took, tried) = reach(&mut a, &mut b, to);
        assert_eq!(took, Some(Duration::from_millis(100 * dead)));
        assert_eq!(tried, ways);
        assert_eq!(a.stats().ways_raced, dead);
        assert_eq!(a.stats().requests_outstanding, 0);
        // From now on it is asked where it answered.
        assert_eq!(a.link.seen_at(at(500), &b.key()), Some(b.address()));
        let token = a.ask(at(500), to);
        assert_eq!(a.sent().iter().map(|(way, _)| *way).collect::<Vec<_>>(), [b.address()]);
        assert!(a.link.poll_timeout().is_some(), "{token:?} waits");
    }
}

#[test]
fn the_own_network_is_tried_first_and_loopback_and_useless_addresses_never() {
    let (mut a, b) = (Node::new(1, config()), Node::new(2, config()));
    let own = socket("192.168.1.5:12345");
    a.link.set_local_addresses(vec![potluck_base::LocalAddress { socket: own, prefix_bits: 24 }]);
    let ways = ["203.0.113.9:500", "127.0.0.1:7", "192.168.1.7:12345", "9.9.9.9:0"].map(socket);
    a.link.learn_ways(b.key(), ways);
    let to = Contact { address: ways[0], ..b.contact };
    assert_eq!(a.link.ways_to(at(0), &to), [ways[2], ways[0]]);
    // What the caller names is tried in any case.
    let to = Contact { address: ways[1], ..b.contact };
    assert_eq!(a.link.ways_to(at(0), &to), [ways[2], ways[0], ways[1]]);
}

#[test]
fn where_a_peer_was_heard_a_moment_ago_comes_first_and_only_for_a_moment() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    exchange(at(0), &mut a, &mut b);
    let seen = b.address();
    let to = Contact { address: socket("10.7.7.7:7"), ..b.contact };
    assert_eq!(a.link.ways_to(at(24_000), &to), [seen, to.address]);
    assert_eq!(a.link.ways_to(at(30_000), &to), [to.address], "a router may have closed it");
}

#[test]
fn of_a_peer_that_is_nowhere_each_address_gets_one_datagram_a_try() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    let ways: Vec<SocketAddr> = (1..9).map(|n| socket(&format!("10.1.2.{n}:7"))).collect();
    a.link.learn_ways(b.key(), ways.clone());
    let to = Contact { address: ways[0], ..b.contact };
    let (took, tried) = reach(&mut a, &mut b, to);
    // Six addresses are remembered, two tries.
    assert_eq!((took, tried.len()), (None, 12));
    assert_eq!((a.stats().requests_outstanding, a.link.poll_timeout()), (0, None));
    assert_eq!(a.stats().requests_failed, 1);
}

#[test]
fn an_answer_from_an_address_that_was_not_asked_is_not_taken() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    a.link.learn_ways(b.key(), [socket("10.1.2.3:7")]);
    a.ask(at(0), b.contact);
    let request = a.sent_one();
    b.link.handle_datagram(at(1), a.address(), &request);
    b.sent();
    let (reply_to, _) = b.asked().expect("a request");
    b.link.respond(at(1), &reply_to, &Response::Pong).expect("budget");
    let answer = b.sent_one();
    a.take(at(1), socket("10.9.9.9:7"), &answer);
    assert!(a.told.is_empty());
    assert_eq!(a.stats().dropped_unsolicited, 1);
    a.take(at(1), b.address(), &answer);
    assert_eq!(a.told.len(), 1);
}

#[test]
fn peers_whose_addresses_are_remembered_are_bounded() {
    let mut a = Node::new(1, config());
    for number in 0..3_000_u32 {
        let mut key = [7; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        a.link.learn_ways(potluck_base::PublicKey::from_bytes(key), [socket("10.1.2.3:7")]);
    }
    assert_eq!(a.stats().paths, 1_024);
}
