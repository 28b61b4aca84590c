//! Overlays stay mixed, and join again.

use std::collections::BTreeSet;

use bytes::Bytes;
use potluck_base::{Signature, UnixMillis};
use potluck_wire::{DisconnectCause, TopicRequest, TopicResponse};

use super::harness::{Harness, contact, identity};
use super::net::{TestNet, seconds, topic};
use super::*;

/// The sizes of the connected components of the topic's overlay.
fn parts(net: &TestNet) -> Vec<usize> {
    let mut left: BTreeSet<PublicKey> = net.keys.iter().copied().collect();
    let mut sizes = Vec::new();
    while let Some(first) = left.pop_first() {
        let (mut size, mut reached) = (0, vec![first]);
        while let Some(node) = reached.pop() {
            size += 1;
            let links = net.nodes[&node].topics.neighbours_in(&topic());
            let next = links.into_iter().map(|contact| contact.public_key);
            reached.extend(next.filter(|peer| left.remove(peer)));
        }
        sizes.push(size);
    }
    sizes
}

#[test]
fn closed_circles_of_full_nodes_open_up() {
    for seed in 1..4 {
        let config = TopicsConfig { verify: false, ..TopicsConfig::default() };
        let mut net = TestNet::new(28, config, seed);
        net.blind = true;
        let contacts: Vec<Contact> = net.keys.iter().map(|key| net.nodes[key].contact).collect();
        for key in net.keys.clone() {
            net.input(&key, TopicsInput::Subscribe(topic()));
        }
        // Four circles of seven, each of which knows only itself, have all the links they want.
        for circle in contacts.chunks(7) {
            for of in circle {
                let found = TopicsInput::Found { topic: topic().id(), contacts: circle.to_vec() };
                net.input(&of.public_key, found);
            }
        }
        net.run(seconds(200));
        assert_eq!(parts(&net), [7, 7, 7, 7]);
        // Now one node of each hears of one in the next.
        for pair in contacts.chunks(7).collect::<Vec<_>>().windows(2) {
            let found = TopicsInput::Found { topic: topic().id(), contacts: vec![pair[1][0]] };
            net.input(&pair[0][0].public_key, found);
        }
        net.run(seconds(900));
        assert_eq!(parts(&net), [28], "seed {seed}");
    }
}

#[test]
fn a_returned_neighbour_is_asked_for_a_link() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!((1..=7).all(|number| harness.connect(number)));
    harness.input(TopicsInput::Unreachable(contact(1).public_key));
    harness.advance(seconds(200));
    harness.asks();
    harness.input(TopicsInput::Candidates(vec![contact(1), contact(50)]));
    harness.advance(seconds(3));
    let links = harness.asks().into_iter().filter(|(.., request)| {
        matches!(request.body, TopicRequest::Neighbour { high_priority: false, .. })
    });
    let asked: Vec<Contact> = links.map(|(_, to, _)| to).collect();
    assert_eq!(asked, [contact(1)]);
}

#[test]
fn joiners_cost_one_established_link_in_five_minutes() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!((1..=6).all(|number| harness.connect(number)));
    harness.advance(seconds(130));
    let established = |harness: &Harness| {
        let left = harness.topics.neighbours_in(&topic());
        left.iter().filter(|link| (1..=6).any(|number| contact(number) == **link)).count()
    };
    assert_eq!(established(&harness), 6);
    for round in 0..12 {
        let low_priority = TopicRequest::Neighbour { high_priority: false, age_ms: 0 };
        let answer = harness.asked(60 + round, low_priority);
        assert!(round > 0 || matches!(answer, TopicResponse::Accepted { .. }));
        harness.connect(100 + 2 * round);
        harness.connect(101 + 2 * round);
        harness.advance(seconds(20));
    }
    assert_eq!(established(&harness), 5);
}

#[test]
fn a_link_that_no_tree_uses_is_dropped_for_a_joiner() {
    for unneeded in 3..=6 {
        let mut harness = Harness::subscribed(Mode::Fleet);
        assert!((1..=6).all(|number| harness.connect(number)));
        harness.advance(seconds(130));
        harness.publish(1, 10);
        for (ask, to, request) in harness.asks() {
            let prune = u64::from(to == contact(unneeded));
            if matches!(request.body, TopicRequest::Gossip { .. }) {
                harness.answer(ask, TopicResponse::GossipAck { prune, busy: false });
            }
        }
        assert_eq!(goes_for_a_joiner(&mut harness), [unneeded]);
    }
}

/// Acknowledges every push without a prune and makes the first link beyond the limit: returns the
/// neighbours that are dropped for it.
fn goes_for_a_joiner(harness: &mut Harness) -> Vec<u8> {
    for (ask, _, request) in harness.asks() {
        if matches!(request.body, TopicRequest::Gossip { .. }) {
            harness.answer(ask, TopicResponse::GossipAck { prune: 0, busy: false });
        }
    }
    let low_priority = TopicRequest::Neighbour { high_priority: false, age_ms: 0 };
    assert!(matches!(harness.asked(60, low_priority), TopicResponse::Accepted { .. }));
    (100..103).for_each(|number| assert!(harness.connect(number)));
    harness.advance(seconds(20));
    let left = harness.topics.neighbours_in(&topic());
    (1..=6).filter(|number| !left.contains(&contact(*number))).collect()
}

/// A message of this publisher.
fn message_of(publisher: u8, sequence: u64) -> TopicRequest {
    let signature = Signature::from_bytes([0; 64]);
    let publisher = identity(publisher).public_key();
    let payload = Bytes::from_static(b"hello");
    let message = SignedMessage {
        publisher,
        incarnation: 1,
        sequence,
        at: UnixMillis(0),
        payload,
        signature,
    };
    TopicRequest::Gossip { messages: vec![message.encode()] }
}

#[test]
fn of_links_used_by_as_many_trees_the_one_to_a_root_stays() {
    for root in 3..=6 {
        let config = TopicsConfig { mode: Mode::Fleet, verify: false, ..TopicsConfig::default() };
        let mut harness = Harness::new(config);
        harness.input(TopicsInput::Subscribe(topic()));
        assert!((1..=6).all(|number| harness.connect(number)));
        harness.advance(seconds(130));
        for sequence in 7..=8 {
            harness.asked(root, message_of(root, sequence));
            harness.advance(seconds(1));
        }
        let gone = goes_for_a_joiner(&mut harness);
        assert!(gone.len() == 1 && gone[0] != root, "{gone:?} of the tree of {root}");
    }
}

/// The node that publishes in a topic.
#[derive(Clone, Copy)]
enum Publishes {
    Nobody,
    ThisNode,
    Other,
}

/// How many links were granted that cost an established one, and how many surplus links were
/// requested, in 80 rounds of 401 s.
fn swapped(publishes: Publishes) -> (usize, usize) {
    let config = TopicsConfig { mode: Mode::Fleet, verify: false, ..TopicsConfig::default() };
    let mut harness = Harness::new(config);
    harness.input(TopicsInput::Subscribe(topic()));
    assert!((1..=6).all(|number| harness.connect(number)));
    let contacts = (150..=210).map(contact).collect();
    harness.input(TopicsInput::Found { topic: topic().id(), contacts });
    let publish = |harness: &mut Harness, number: u64| match publishes {
        Publishes::Nobody => {}
        Publishes::ThisNode => harness.publish(number, 10),
        Publishes::Other => {
            harness.asked(1, message_of(9, number));
        }
    };
    // Every neighbour answers, accepts all pushes, and has no room for a link. Returns how many
    // links were requested.
    let answer = |harness: &mut Harness| {
        let mut links = 0;
        for (ask, _, request) in harness.asks() {
            let answer = match request.body {
                TopicRequest::Neighbour { high_priority, .. } => {
                    links += usize::from(!high_priority);
                    TopicResponse::Declined { others: Vec::new() }
                }
                TopicRequest::Gossip { .. } => TopicResponse::GossipAck { prune: 0, busy: false },
                _ => TopicResponse::Ack,
            };
            harness.answer(ask, answer);
        }
        links
    };
    let rounds = |harness: &mut Harness, from: u64, to: u64, pause: u64| {
        let (mut granted, mut asked) = (0, 0);
        for round in from..to {
            publish(harness, round);
            harness.advance(seconds(1));
            asked += answer(harness);
            let low_priority = TopicRequest::Neighbour { high_priority: false, age_ms: 0 };
            if pause > 300 {
                let reply = harness.asked(60 + round as u8, low_priority);
                granted += usize::from(matches!(reply, TopicResponse::Accepted { .. }));
                // A link that is lazy on every tree could be spared.
                let part =
                    TopicRequest::Disconnect { cause: DisconnectCause::Left, others: Vec::new() };
                harness.asked(60 + round as u8, part);
            }
            harness.advance(seconds(pause));
            asked += answer(harness);
        }
        (granted, asked)
    };
    rounds(&mut harness, 1, 9, 20);
    rounds(&mut harness, 9, 89, 400)
}

#[test]
fn rewiring_waits_eight_times_as_long_without_a_cheap_link_and_at_a_root() {
    let (granted, asked) = swapped(Publishes::Nobody);
    assert!(granted == 80 && asked > 90, "{granted} granted, {asked} asked");
    let (granted, asked) = swapped(Publishes::ThisNode);
    assert!((13..=14).contains(&granted) && (12..=14).contains(&asked), "{granted}, {asked}");
    let (granted, asked) = swapped(Publishes::Other);
    assert!(granted == 80 && (12..=14).contains(&asked), "{granted}, {asked}");
}

#[test]
fn an_idle_node_sends_150_bytes_a_second_at_most() {
    let mut net = TestNet::gathered(60, TopicsConfig::default(), 1);
    net.run(seconds(180));
    let before = net.bytes;
    net.run(seconds(600));
    let rate = (net.bytes - before) / 60 / 600;
    assert!((20..=150).contains(&rate), "{rate} bytes a second");
}
