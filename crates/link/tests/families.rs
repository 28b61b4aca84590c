//! A peer that comes by both address families is one peer: proofs, sessions and replay windows are not
//! those of a socket.

mod world;

use std::net::SocketAddr;

use potluck_base::{Contact, Instant, LocalAddress};
use potluck_link::Output;
use potluck_wire::Response;
use world::{Node, at, config, exchange, friend};

fn six(node: &Node) -> Contact {
    let [.., low] = *node.key().as_bytes();
    let address = SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(low)], 12345));
    Contact { address, ..node.contact }
}

/// One request over IPv6 and its answer; gives the request and whether its sender was proven.
fn ask_over_six(now: Instant, a: &mut Node, b: &mut Node) -> (Vec<u8>, bool) {
    let (from, to) = (six(a), six(b));
    a.ask(now, to);
    let request = a.sent_one().to_vec();
    b.link.handle_datagram(now, from.address, &request);
    b.sent();
    let (reply_to, proven) = b.asked().expect("a request");
    b.link.respond(now, &reply_to, &Response::Pong).expect("an answer fits");
    let mut sent = b.sent();
    assert_eq!((sent.len(), sent[0].0), (1, from.address), "answered in the same family");
    a.take(now, to.address, &sent.remove(0).1);
    assert!(matches!(a.told_one(), Output::Answered { .. }));
    (request, proven)
}

#[test]
fn an_address_is_proven_in_each_family_and_the_session_is_one() {
    let mut b = Node::new(2, config());
    let mut a = friend(1, &mut b);
    let sessions = b.stats().sessions;
    assert!(!ask_over_six(at(200), &mut a, &mut b).1, "that it receives there is not known yet");
    assert!(ask_over_six(at(220), &mut a, &mut b).1, "its cookie has shown it");
    assert_eq!(b.stats().sessions, sessions);
    // Its other address is proven still.
    a.ask(at(240), b.contact);
    let request = a.sent_one();
    b.link.handle_datagram(at(240), a.address(), &request);
    b.sent();
    assert!(b.asked().expect("a request").1);
}

#[test]
fn a_datagram_of_one_family_is_a_replay_in_the_other() {
    let mut b = Node::new(2, config());
    let mut a = friend(1, &mut b);
    ask_over_six(at(200), &mut a, &mut b);
    let (over_six, _) = ask_over_six(at(220), &mut a, &mut b);
    let over_four = exchange(at(240), &mut a, &mut b).remove(0);
    let before = b.stats().dropped_replayed;
    b.take(at(260), a.address(), &over_six);
    b.take(at(260), six(&a).address, &over_four);
    assert_eq!(b.stats().dropped_replayed, before + 2);
    assert!(b.told.is_empty());
}

#[test]
fn addresses_of_a_family_that_the_node_has_no_address_of_are_not_tried() {
    let (mut a, b) = (Node::new(1, config()), Node::new(2, config()));
    a.link.learn_ways(b.key(), [six(&b).address, b.address()]);
    let tried = |a: &Node| a.link.ways_to(at(0), &b.contact);
    assert!(tried(&a).contains(&six(&b).address), "nothing is known of this machine");
    let (four, own_six) = (LocalAddress::from(a.address()), six(&a).address.into());
    a.link.set_local_addresses(vec![four]);
    assert_eq!(tried(&a), [b.address()]);
    a.link.set_local_addresses(vec![four, own_six]);
    assert_eq!(tried(&a).len(), 2);
}
