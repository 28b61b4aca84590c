//! The second part of an answer to a lookup is asked for.

use std::net::SocketAddr;

use potluck_base::machine::drain;
use potluck_base::{Contact, Identity, Instant, Key, Peer};
use potluck_wire::limits::SECOND_PART;
use potluck_wire::{Found, Part, Request, Response, Want, decode_response, encode_request};

use super::*;
use crate::{InboundId, Input, Output};

#[test]
fn the_second_part_goes_on_where_the_first_ends_and_has_no_record() {
    let contact = |number: u8| {
        let address = SocketAddr::from(([10, 0, 0, number], 4000));
        Contact::new(Identity::from_seed([number; 32]).public_key(), address)
    };
    let now = Instant::from_micros(1_000_000);
    let identity = Identity::from_seed([1; 32]);
    let start = Start {
        identity,
        network: table::network(),
        address: contact(1).address,
        incarnation: 1,
        labels: Vec::new(),
        config: Config::default(),
        seed: [1; 32],
    };
    let mut node = Node::new(start).expect("a good configuration");
    let others: Vec<Contact> = (2..42).map(contact).collect();
    node.acquaint(now, &others, &[]);
    drop(drain(&mut node));
    let target = Key::from_bytes([7; 32]);
    let mut calls = 0;
    let mut part = |want, parts| {
        calls += 1;
        let bytes = encode_request(&Request::FindNode { target, count: 16, want, parts });
        let Contact { public_key: from, address, .. } = contact(50);
        let inbound = InboundId(calls);
        node.handle(now, Input::Called { from, address, inbound, bytes });
        let answers = drain(&mut node).into_iter().find_map(|output| match output {
            Output::AnswerCall { bytes, .. } => Some(bytes),
            _ => None,
        });
        match decode_response(&answers.expect("an answer")) {
            Ok(Response::Found(found)) => found,
            other => panic!("{other:?}"),
        }
    };
    let mut nearest: Vec<Peer> =
        others.iter().map(|contact| contact.in_network(&table::network())).collect();
    nearest.sort_by_key(|peer| peer.distance(&target));
    let nearest: Vec<Contact> = nearest.iter().map(|peer| peer.contact).collect();
    let first = part(Want::Nothing, None);
    assert_eq!((first.contacts, first.part), (nearest[..16].to_vec(), None));
    let Found { contacts, record, part } = part(Want::Heads, Some(SECOND_PART));
    assert_eq!(contacts, nearest[16..32]);
    assert_eq!((record, part), (None, Some(Part { index: 1, of: 2 })));
}
