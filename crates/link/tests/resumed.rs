//! Two machines that go on from one copy of a node's memory.

mod world;

use std::ops::Range;

use bytes::Bytes;
use potluck_base::Rng;
use potluck_link::Link;
use world::{Node, at, config, identity};

/// The boot id and the counter in a sealed datagram: its nonce.
const NONCE: Range<usize> = 42..66;

/// A node as it was when the copy was made.
fn copy() -> Node {
    let mut node = Node::new(1, config());
    node.link = Link::new(identity(1), world::network(), config(), Rng::from_number(7));
    node
}

fn sent_after(renewed: Option<[u8; 32]>, peer: &Node) -> (Node, Bytes) {
    let mut node = copy();
    if let Some(entropy) = renewed {
        node.link.renew_boot(entropy);
    }
    node.ask(at(0), peer.contact);
    let sent = node.sent_one();
    (node, sent)
}

#[test]
fn no_nonce_is_used_by_both_once_each_drew_a_boot_id_of_its_own() {
    let peer = Node::new(2, config());
    let nonce = |renewed| sent_after(renewed, &peer).1.slice(NONCE);
    assert_eq!(nonce(None), nonce(None), "what happens without");
    assert_ne!(nonce(Some([1; 32])), nonce(Some([2; 32])));
    assert_ne!(nonce(Some([1; 32]))[..16], nonce(None)[..16], "the boot id is new");
}

#[test]
fn who_knew_the_node_answers_it_under_its_new_boot_id() {
    let mut peer = Node::new(2, config());
    let (mut node, first) = sent_after(None, &peer);
    let answer = peer.serve(at(0), node.address(), &first).expect("an answer");
    node.take(at(5), peer.address(), &answer);
    node.link.renew_boot([3; 32]);
    node.ask(at(10), peer.contact);
    let second = node.sent_one();
    assert_ne!(second.slice(NONCE)[..16], first.slice(NONCE)[..16]);
    assert!(peer.serve(at(10), node.address(), &second).is_some());
}
