use bytes::Bytes;
use potluck_base::{Contact, Signature, UnixMillis};
use potluck_wire::TopicRequest;

use super::super::cost::Cost;
use super::super::events::{TopicServeId, TopicsOutput};
use super::super::scores::Penalty;
use super::super::tests::harness::contact;
use super::super::tests::net::topic;
use super::super::tests::{second, shared};
use super::*;
use crate::view::Mode;

fn key(number: u8) -> PublicKey {
    contact(number).public_key
}

/// A broadcast in a fleet over links to these nodes.
fn linked(shared: &mut Shared, numbers: impl IntoIterator<Item = u8>) -> Broadcast {
    shared.config.verify = false;
    let mut broadcast = Broadcast::new(shared, topic(), false);
    for number in numbers {
        broadcast.link_up(shared, contact(number), second(0), false);
    }
    shared.out.clear();
    broadcast
}

fn message(publisher: u8, sequence: u64) -> SignedMessage {
    let (publisher, signature) = (key(publisher), Signature::from_bytes([0; 64]));
    let (at, payload) = (UnixMillis(0), Bytes::from_static(b"text"));
    SignedMessage { publisher, incarnation: 1, sequence, at, payload, signature }
}

/// The requests that were sent, with their receivers.
fn sent(broadcast: &mut Broadcast, shared: &mut Shared) -> Vec<(Contact, TopicRequest)> {
    broadcast.pump(shared);
    let sent = shared.out.drain(..).filter_map(|output| match output {
        TopicsOutput::Ask { to, request, .. } => Some((to, request.body)),
        _ => None,
    });
    sent.collect()
}

#[test]
fn a_new_link_is_eager_and_a_surplus_one_lazy() {
    let mut shared = shared(Mode::Fleet);
    let mut broadcast = linked(&mut shared, [1]);
    broadcast.link_up(&mut shared, contact(2), second(0), true);
    let message = message(0, 1);
    broadcast.publish(&mut shared, &message, None);
    let messages = vec![message.encode()];
    let gossip = (contact(1), TopicRequest::Gossip { messages });
    assert_eq!(sent(&mut broadcast, &mut shared), [gossip]);
    shared.now = broadcast.due(BroadcastTimer::SendQueued).expect("an announcement waits");
    let [(to, TopicRequest::IHave { .. })] = sent(&mut broadcast, &mut shared)[..] else {
        panic!("an announcement");
    };
    assert_eq!(to, contact(2));
}

#[test]
fn a_lost_eager_link_is_replaced_by_grafting_a_lazy_one() {
    let mut shared = shared(Mode::Fleet);
    let mut broadcast = linked(&mut shared, [1]);
    broadcast.link_up(&mut shared, contact(2), second(0), true);
    broadcast.link_down(&mut shared, &key(1));
    let graft = TopicRequest::Graft { ranges: Vec::new(), eager: true };
    assert_eq!(sent(&mut broadcast, &mut shared), [(contact(2), graft)]);
    broadcast.link_down(&mut shared, &key(2));
    assert_eq!((sent(&mut broadcast, &mut shared), broadcast.is_alone()), (vec![], true));
}

#[test]
fn a_silent_neighbour_gets_nothing_until_it_answers_and_then_a_summary() {
    let mut shared = shared(Mode::Fleet);
    let mut broadcast = linked(&mut shared, [1]);
    broadcast.link_silent(&mut shared, &key(1));
    broadcast.publish(&mut shared, &message(0, 1), None);
    assert_eq!(sent(&mut broadcast, &mut shared), []);
    broadcast.link_back(&mut shared, &key(1), true);
    let [(to, TopicRequest::IHave { .. })] = &sent(&mut broadcast, &mut shared)[..] else {
        panic!("a summary");
    };
    assert_eq!(*to, contact(1));
}

#[test]
fn a_link_costs_the_trees_that_use_it() {
    let mut shared = shared(Mode::Fleet);
    let mut broadcast = linked(&mut shared, [1, 2]);
    let cost = |broadcast: &Broadcast, number| broadcast.cost(second(1), &key(0), &key(number));
    assert_eq!(cost(&broadcast, 1), Cost::NONE, "no tree carried a message");
    let bytes = message(1, OWN_TREE_FROM).encode();
    let from = key(1);
    let penalty = broadcast.on_gossip(&mut shared, TopicServeId(1), &from, &[bytes]);
    assert_eq!(penalty, Penalty::Tolerated);
    assert_eq!(cost(&broadcast, 1), Cost { roots: 1, trees: 1 }, "it leads to the root");
    assert_eq!(cost(&broadcast, 2), Cost { roots: 0, trees: 1 });
    broadcast.link_down(&mut shared, &key(1));
    assert_eq!(cost(&broadcast, 1), Cost::NONE);
}

#[test]
fn a_forger_is_distrusted_and_then_to_be_dropped() {
    let mut shared = shared(Mode::Fleet);
    let mut broadcast = linked(&mut shared, [1, 2]);
    let forged = [Bytes::from_static(b"no message")];
    let mut push =
        |shared: &mut Shared| broadcast.on_gossip(shared, TopicServeId(1), &key(1), &forged);
    let penalties = [(); 3].map(|()| push(&mut shared));
    assert_eq!(penalties, [Penalty::Tolerated, Penalty::Tolerated, Penalty::Ignored]);
    broadcast.publish(&mut shared, &message(0, 1), None);
    let to: Vec<Contact> = sent(&mut broadcast, &mut shared).into_iter().map(|of| of.0).collect();
    assert_eq!(to, [contact(2)]);
}
