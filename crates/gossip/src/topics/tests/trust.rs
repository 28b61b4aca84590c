//! Announcements and pushes of neighbours, and the score that they lose by false ones.

use bytes::Bytes;
use potluck_base::{Rate, Signature, UnixMillis};
use potluck_wire::{IdRange, MessageHead, TopicRequest, TopicResponse};

use super::asks::Purpose;
use super::harness::{Harness, SentRequest, contact, identity};
use super::net::{network, seconds, topic};
use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

fn signed(publisher: u8, sequence: u64) -> SignedMessage {
    let head = MessageHead {
        network: &network(),
        topic: topic().id(),
        incarnation: 1,
        sequence,
        at: UnixMillis(0),
    };
    SignedMessage::sign(&identity(publisher), &head, Bytes::from_static(b"hello"))
}

/// For machines that verify no signatures.
fn unsigned(publisher: u8, sequence: u64) -> SignedMessage {
    let signature = Signature::from_bytes([0; 64]);
    let payload = Bytes::from_static(b"hello");
    let publisher = identity(publisher).public_key();
    SignedMessage { publisher, incarnation: 1, sequence, at: UnixMillis(0), payload, signature }
}

fn push(messages: impl IntoIterator<Item = SignedMessage>) -> TopicRequest {
    let messages = messages.into_iter().map(|message| message.encode());
    TopicRequest::Gossip { messages: messages.collect() }
}

fn range(publisher: u8, first: u64, count: u32) -> IdRange {
    let publisher = identity(publisher).public_key();
    IdRange { publisher, incarnation: 1, first, count }
}

fn have(publisher: u8, first: u64, count: u32) -> TopicRequest {
    TopicRequest::IHave { ranges: vec![range(publisher, first, count)] }
}

fn connected(config: TopicsConfig, neighbours: u8) -> Harness {
    let mut harness = Harness::new(config);
    harness.input(TopicsInput::Subscribe(topic()));
    assert!((1..=neighbours).all(|number| harness.connect(number)));
    harness.asks();
    harness
}

fn config(mode: Mode, verify: bool) -> TopicsConfig {
    TopicsConfig { mode, verify, ..TopicsConfig::default() }
}

/// Neighbour 1 forwards two forgeries: one less than ends a link.
fn distrust(harness: &mut Harness) {
    let mut forged = signed(9, 77);
    forged.payload = Bytes::from_static(b"hellO");
    (0..2).for_each(|_| {
        harness.asked(1, push([forged.clone()]));
    });
    assert_eq!(harness.topics.stats().verify_failed, 2);
}

/// The neighbours that this node grafted messages from, and whether eagerly.
fn asked_for(harness: &mut Harness) -> Vec<(Contact, bool)> {
    let grafts = harness.asks().into_iter().filter_map(|(_, to, request)| match request.body {
        TopicRequest::Graft { ranges, eager } if !ranges.is_empty() => Some((to, eager)),
        _ => None,
    });
    grafts.collect()
}

/// The neighbours to which messages were pushed.
fn pushed_to(harness: &mut Harness) -> Vec<Contact> {
    let asks = harness.asks().into_iter();
    let pushes = asks.filter(|(.., request)| matches!(request.body, TopicRequest::Gossip { .. }));
    pushes.map(|(_, to, _)| to).collect()
}

#[test]
fn a_node_that_forged_twice_gets_no_messages_and_no_grafts() {
    let mut harness = connected(config(Mode::Fleet, true), 2);
    harness.asked(1, have(8, 1, 5));
    distrust(&mut harness);
    harness.asks();
    harness.publish(1, 10);
    assert_eq!(pushed_to(&mut harness), [contact(2)]);
    harness.advance(seconds(2));
    assert_eq!(asked_for(&mut harness), [], "messages that it announced before");
    // It grafts this node again, and keeps pushing.
    harness.asked(1, TopicRequest::Graft { ranges: Vec::new(), eager: true });
    harness.publish(2, 10);
    assert_eq!(pushed_to(&mut harness), [contact(2)]);
    let answer = harness.asked(1, push([signed(9, 1)]));
    assert_eq!(answer, TopicResponse::GossipAck { prune: u64::MAX, busy: false });
}

#[test]
fn announcements_of_a_distrusted_node_are_ignored_and_cost_it_the_link() {
    let mut harness = connected(config(Mode::Fleet, true), 2);
    distrust(&mut harness);
    harness.asked(1, have(8, 1, 100));
    assert_eq!(harness.topics.stats().promises, 0);
    (0..60).for_each(|_| {
        harness.asked(1, have(8, 1, 100));
    });
    assert_eq!(harness.topics.stats().neighbours_down.misbehaved, 1);
}

#[test]
fn a_silent_neighbour_gets_no_grafts() {
    let mut harness = connected(config(Mode::Fleet, true), 2);
    harness.asked(1, have(8, 1, 5));
    harness.publish(1, 10);
    let asks = harness.asks();
    let is_push = |asked: &&SentRequest| {
        matches!(asked.2.body, TopicRequest::Gossip { .. }) && asked.1 == contact(1)
    };
    harness.input(TopicsInput::Failed(asks.iter().find(is_push).expect("a push").0));
    harness.advance(seconds(2));
    assert_eq!(asked_for(&mut harness), []);
}

#[test]
fn announced_ids_of_one_neighbour_are_bounded_at_once_and_by_rate() {
    let mut harness = connected(config(Mode::Open, true), 2);
    harness.asked(1, have(8, 1, 2_048));
    let stats = harness.topics.stats();
    assert_eq!((stats.promises, stats.names_refused, stats.rate_limited), (2_000, 48, 1));
    let mut harness = connected(config(Mode::Fleet, true), 2);
    harness.asked(1, have(8, 1, 3_000));
    let stats = harness.topics.stats();
    assert_eq!((stats.promises, stats.names_refused), (2_048, 3_000 - 2_048));
    // In a network of strangers the rate of strangers counts.
    let mut harness = connected(config(Mode::Fleet, true), 2);
    harness.input(TopicsInput::Mode(Mode::Open));
    harness.asked(1, have(8, 1, 2_048));
    assert_eq!(harness.topics.stats().promises, 2_000);
}

#[test]
fn the_ids_processed_in_one_request_are_bounded() {
    let mut harness = connected(config(Mode::Fleet, true), 2);
    let ranges = (1..=4).map(|publisher| range(publisher, 1, 8_192)).collect();
    harness.asked(1, TopicRequest::IHave { ranges });
    let stats = harness.topics.stats();
    assert_eq!((stats.promises as u64, stats.names_refused), (2_048, 8_192 - 2_048));
}

#[test]
fn missing_messages_are_bounded_over_all_topics() {
    let limited = TopicsConfig { missing_max: 100, ..config(Mode::Fleet, true) };
    let mut harness = connected(limited, 2);
    let system = TopicName::system().id();
    let high_priority = TopicRequest::Neighbour { high_priority: true, age_ms: 0 };
    harness.asked_in(1, system, high_priority);
    harness.asked(1, have(8, 1, 80));
    harness.asked_in(1, system, have(8, 1, 80));
    let stats = harness.topics.stats();
    assert_eq!((stats.promises, stats.names_refused), (100, 60));
}

#[test]
fn a_long_range_is_processed_from_the_first_unseen_message() {
    let mut harness = connected(config(Mode::Fleet, false), 2);
    for first in (1..=9_000).step_by(100) {
        harness.asked(1, push((first..first + 100).map(|sequence| unsigned(9, sequence))));
        harness.outputs.clear();
    }
    harness.asked(2, have(9, 1, 9_010));
    assert_eq!(harness.topics.stats().promises, 10);
}

#[test]
fn an_announced_message_is_grafted_after_half_a_second_to_a_second() {
    let mut harness = connected(config(Mode::Fleet, true), 2);
    harness.publish(1, 10);
    for (ask, ..) in harness.asks() {
        harness.answer(ask, TopicResponse::GossipAck { prune: 0, busy: false });
    }
    harness.asked(1, have(8, 1, 1));
    harness.advance(499 * MILLISECOND);
    assert_eq!(asked_for(&mut harness), []);
    harness.advance(2 * MILLISECOND);
    assert_eq!(asked_for(&mut harness).len(), 1);
    // However slow the neighbour is.
    let mut harness = connected(config(Mode::Fleet, true), 2);
    harness.publish(1, 10);
    let asks = harness.asks();
    let (ask, ..) = asks.iter().find(|asked| asked.1 == contact(1)).expect("a push");
    let answer = TopicResponse::GossipAck { prune: 0, busy: false };
    harness.input(TopicsInput::Answered { ask: *ask, answer, rtt: seconds(3) });
    harness.asked(1, have(8, 1, 1));
    harness.advance(999 * MILLISECOND);
    assert_eq!(asked_for(&mut harness), []);
    harness.advance(2 * MILLISECOND);
    assert_eq!(asked_for(&mut harness).len(), 1);
}

#[test]
fn a_moment_of_overload_costs_an_honest_neighbour_neither_its_link_nor_its_tree() {
    let mut harness = connected(config(Mode::Fleet, true), 2);
    for sequence in 1..=200 {
        harness.asked(1, have(8, 2 * sequence, 1));
        harness.advance(10 * MILLISECOND);
    }
    harness.advance(seconds(3));
    let stats = harness.topics.stats();
    assert_eq!((stats.promises, stats.neighbours_down), (0, DownCounts::default()));
    assert!(stats.broken_promises >= 200, "{}", stats.broken_promises);
    harness.asks();
    harness.publish(1, 10);
    assert_eq!(pushed_to(&mut harness).len(), 2, "both are still eager");
}

#[test]
fn while_the_shared_tree_works_few_of_the_lost_messages_change_it() {
    let mut harness = connected(config(Mode::Fleet, false), 2);
    let mut eager = Vec::new();
    // No publisher sends enough for a tree of its own.
    let mut others = (20..150).flat_map(|of| (1..8).map(move |sequence| unsigned(of, sequence)));
    for round in 1..=80 {
        harness.asked(2, have(150 + round, 1, 1));
        for _ in 0..11 {
            harness.advance(100 * MILLISECOND);
            eager.extend(asked_for(&mut harness).into_iter().map(|(_, eager)| eager));
            harness.asked(1, push(others.next()));
        }
        harness.asked(2, push([unsigned(150 + round, 1)]));
    }
    let changes = eager.iter().filter(|eager| **eager).count();
    assert!(eager.len() >= 80 && (1..=25).contains(&changes), "{changes} of {}", eager.len());
    // When it delivers nothing, it is changed at once.
    harness.advance(seconds(1));
    harness.asked(2, have(8, 1, 1));
    harness.advance(seconds(1));
    assert_eq!(asked_for(&mut harness)[0], (contact(2), true));
}

#[test]
fn a_message_over_its_publishers_rate_is_not_asked_for() {
    let mut harness = connected(config(Mode::Open, false), 2);
    harness.asked(1, push((1..=50).map(|sequence| unsigned(9, sequence))));
    harness.asked(2, have(9, 51, 1));
    assert_eq!(harness.topics.stats().promises, 1);
    harness.asked(1, push([unsigned(9, 51)]));
    let stats = harness.topics.stats();
    assert_eq!((stats.promises, stats.dropped_over_rate), (0, 1));
}

#[test]
fn known_publishers_are_held_to_the_rate_of_strangers_when_the_mode_changes() {
    let mut harness = connected(config(Mode::Fleet, false), 2);
    harness.asked(1, push([unsigned(9, 1)]));
    harness.input(TopicsInput::Mode(Mode::Open));
    harness.asked(1, push((2..=101).map(|sequence| unsigned(9, sequence))));
    assert_eq!(harness.delivered(), 51);
}

#[test]
fn signature_checks_of_a_neighbour_are_limited_and_a_forgery_costs_twenty_more() {
    let signatures = Rate::new(1, 60);
    let open = PeerLimits { signatures, ..TopicsConfig::default().open };
    for (forgeries, delivered) in [(0, 50), (1, 39), (2, 18)] {
        let limited = TopicsConfig { open, ..config(Mode::Open, true) };
        let mut harness = connected(limited, 2);
        let mut forged = signed(9, 77);
        forged.payload = Bytes::from_static(b"hellO");
        (0..forgeries).for_each(|_| {
            harness.asked(1, push([forged.clone()]));
        });
        for publisher in [7, 8] {
            harness.asked(1, push((1..=25).map(|sequence| signed(publisher, sequence))));
        }
        assert_eq!(harness.delivered(), delivered, "after {forgeries}");
        assert_eq!(harness.topics.stats().rate_limited, 50 - delivered as u64);
    }
}

#[test]
fn strangers_that_misbehave_are_remembered_up_to_a_limit() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    for number in 0..1_500_u16 {
        let mut seed = [1; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        let public_key = Identity::from_seed(seed).public_key();
        let from = Contact { public_key, ..contact(1) };
        let body = TopicRequest::ShuffleReply { nonce: 1, contacts: Vec::new() };
        let request = potluck_wire::InTopic { topic: topic().id(), body };
        harness.input(TopicsInput::Asked { serve: TopicServeId(1), from, request });
    }
    assert_eq!(harness.topics.stats().scores, 1_024);
}

#[test]
fn under_load_requests_go_to_neighbours_only() {
    let mut harness = Harness::subscribed(Mode::Open);
    let shared = &mut harness.topics.shared;
    let mut ask = |purpose| shared.ask(topic().id(), contact(1), purpose, TopicRequest::Probe);
    assert!((0..8_192).all(|_| ask(Purpose::NonNeighbour)));
    assert!(!ask(Purpose::NonNeighbour) && !ask(Purpose::Probe));
    assert!(ask(Purpose::Notify) && ask(Purpose::Gossip(Vec::new())));
    let stats = harness.topics.stats();
    assert_eq!((stats.asks, stats.rate_limited), (8_194, 2));
}
