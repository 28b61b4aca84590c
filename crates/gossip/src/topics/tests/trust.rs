//! What neighbours name, promise and push, and what they lose by it.

use bytes::Bytes;
use potluck_base::{Signature, UnixMillis};
use potluck_wire::{IdRun, SpreadAct, SpreadAnswer};

use super::asks::Purpose;
use super::net::{network, seconds, topic};
use super::script::{Asked, Desk, contact, identity};
use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

fn signed(publisher: u8, sequence: u64) -> SignedMessage {
    let payload = Bytes::from_static(b"hello");
    let context = (&network(), topic().id());
    SignedMessage::sign(&identity(publisher), context, (1, sequence), UnixMillis(0), payload)
}

/// For machines that check no signatures.
fn unsigned(publisher: u8, sequence: u64) -> SignedMessage {
    let signature = Signature::from_bytes([0; 64]);
    let payload = Bytes::from_static(b"hello");
    let publisher = identity(publisher).public_key();
    SignedMessage { publisher, incarnation: 1, sequence, at: UnixMillis(0), payload, signature }
}

fn push(messages: impl IntoIterator<Item = SignedMessage>) -> SpreadAct {
    let messages = messages.into_iter().map(|message| message.encode());
    SpreadAct::Push { messages: messages.collect() }
}

fn run(publisher: u8, first: u64, count: u32) -> IdRun {
    let publisher = identity(publisher).public_key();
    IdRun { publisher, incarnation: 1, first, count }
}

fn have(publisher: u8, first: u64, count: u32) -> SpreadAct {
    SpreadAct::Have { runs: vec![run(publisher, first, count)] }
}

fn befriended(config: TopicsConfig, neighbours: u8) -> Desk {
    let mut desk = Desk::new(config);
    desk.input(TopicsInput::Subscribe(topic()));
    assert!((1..=neighbours).all(|number| desk.befriend(number)));
    desk.asks();
    desk
}

fn config(mode: Mode, verify: bool) -> TopicsConfig {
    TopicsConfig { mode, verify, ..TopicsConfig::default() }
}

/// Neighbour 1 passes on two forgeries: one less than what ends a link.
fn distrust(desk: &mut Desk) {
    let mut forged = signed(9, 77);
    forged.payload = Bytes::from_static(b"hellO");
    (0..2).for_each(|_| {
        desk.asked(1, push([forged.clone()]));
    });
    assert_eq!(desk.topics.stats().verify_failed, 2);
}

/// Whom this node asked for named messages, and whether on the tree.
fn asked_for(desk: &mut Desk) -> Vec<(Contact, bool)> {
    let grafts = desk.asks().into_iter().filter_map(|(_, to, spread)| match spread.act {
        SpreadAct::Graft { runs, eager } if !runs.is_empty() => Some((to, eager)),
        _ => None,
    });
    grafts.collect()
}

/// To whom messages were pushed.
fn pushed_to(desk: &mut Desk) -> Vec<Contact> {
    let asks = desk.asks().into_iter();
    let pushes = asks.filter(|(.., spread)| matches!(spread.act, SpreadAct::Push { .. }));
    pushes.map(|(_, to, _)| to).collect()
}

#[test]
fn whoever_forged_twice_gets_no_messages_and_is_asked_for_none() {
    let mut desk = befriended(config(Mode::Fleet, true), 2);
    desk.asked(1, have(8, 1, 5));
    distrust(&mut desk);
    desk.asks();
    desk.publish(1, 10);
    assert_eq!(pushed_to(&mut desk), [contact(2)]);
    desk.pass(seconds(2));
    assert_eq!(asked_for(&mut desk), [], "what it promised before");
    // It wants to be on the tree again, and pushes on.
    desk.asked(1, SpreadAct::Graft { runs: Vec::new(), eager: true });
    desk.publish(2, 10);
    assert_eq!(pushed_to(&mut desk), [contact(2)]);
    let answer = desk.asked(1, push([signed(9, 1)]));
    assert_eq!(answer, SpreadAnswer::Pushed { prune: u64::MAX, busy: false });
}

#[test]
fn promises_of_whoever_is_distrusted_are_not_heard_and_cost_it_the_link() {
    let mut desk = befriended(config(Mode::Fleet, true), 2);
    distrust(&mut desk);
    desk.asked(1, have(8, 1, 100));
    assert_eq!(desk.topics.stats().promises, 0);
    (0..60).for_each(|_| {
        desk.asked(1, have(8, 1, 100));
    });
    assert_eq!(desk.topics.stats().neighbours_down.misbehaved, 1);
}

#[test]
fn a_silent_neighbour_is_not_asked_for_what_it_promised() {
    let mut desk = befriended(config(Mode::Fleet, true), 2);
    desk.asked(1, have(8, 1, 5));
    desk.publish(1, 10);
    let asks = desk.asks();
    let is_push =
        |asked: &&Asked| matches!(asked.2.act, SpreadAct::Push { .. }) && asked.1 == contact(1);
    desk.input(TopicsInput::Failed(asks.iter().find(is_push).expect("a push").0));
    desk.pass(seconds(2));
    assert_eq!(asked_for(&mut desk), []);
}

#[test]
fn names_of_one_neighbour_are_bounded_at_once_and_by_rate() {
    let mut desk = befriended(config(Mode::Open, true), 2);
    desk.asked(1, have(8, 1, 2_048));
    let stats = desk.topics.stats();
    assert_eq!((stats.promises, stats.names_refused, stats.rate_limited), (2_000, 48, 1));
    let mut desk = befriended(config(Mode::Fleet, true), 2);
    desk.asked(1, have(8, 1, 3_000));
    let stats = desk.topics.stats();
    assert_eq!((stats.promises, stats.names_refused), (2_048, 3_000 - 2_048));
    // When it becomes a network of strangers, theirs is the rate.
    let mut desk = befriended(config(Mode::Fleet, true), 2);
    desk.input(TopicsInput::Mode(Mode::Open));
    desk.asked(1, have(8, 1, 2_048));
    assert_eq!(desk.topics.stats().promises, 2_000);
}

#[test]
fn so_many_names_of_one_request_are_looked_at_and_no_more() {
    let mut desk = befriended(config(Mode::Fleet, true), 2);
    let runs = (1..=4).map(|publisher| run(publisher, 1, 8_192)).collect();
    desk.asked(1, SpreadAct::Have { runs });
    let stats = desk.topics.stats();
    assert_eq!((stats.promises as u64, stats.names_refused), (2_048, 8_192 - 2_048));
}

#[test]
fn promises_are_bounded_over_all_topics() {
    let limited = TopicsConfig { promises_max: 100, ..config(Mode::Fleet, true) };
    let mut desk = befriended(limited, 2);
    let system = TopicName::system().id();
    let urgent = SpreadAct::Neighbour { urgent: true, age_ms: 0 };
    desk.asked_in(1, system, urgent);
    desk.asked(1, have(8, 1, 80));
    desk.asked_in(1, system, have(8, 1, 80));
    let stats = desk.topics.stats();
    assert_eq!((stats.promises, stats.names_refused), (100, 60));
}

#[test]
fn a_long_run_of_names_is_looked_at_from_what_is_not_seen() {
    let mut desk = befriended(config(Mode::Fleet, false), 2);
    for first in (1..=9_000).step_by(100) {
        desk.asked(1, push((first..first + 100).map(|sequence| unsigned(9, sequence))));
        desk.outputs.clear();
    }
    desk.asked(2, have(9, 1, 9_010));
    assert_eq!(desk.topics.stats().promises, 10);
}

#[test]
fn a_named_message_is_waited_for_half_a_second_and_never_longer_than_a_whole_one() {
    let mut desk = befriended(config(Mode::Fleet, true), 2);
    desk.publish(1, 10);
    for (ask, ..) in desk.asks() {
        desk.answer(ask, SpreadAnswer::Pushed { prune: 0, busy: false });
    }
    desk.asked(1, have(8, 1, 1));
    desk.pass(499 * MILLISECOND);
    assert_eq!(asked_for(&mut desk), []);
    desk.pass(2 * MILLISECOND);
    assert_eq!(asked_for(&mut desk).len(), 1);
    // However slow the neighbour is.
    let mut desk = befriended(config(Mode::Fleet, true), 2);
    desk.publish(1, 10);
    let asks = desk.asks();
    let (ask, ..) = asks.iter().find(|asked| asked.1 == contact(1)).expect("a push");
    let answer = SpreadAnswer::Pushed { prune: 0, busy: false };
    desk.input(TopicsInput::Answered { ask: *ask, answer, rtt: seconds(3) });
    desk.asked(1, have(8, 1, 1));
    desk.pass(999 * MILLISECOND);
    assert_eq!(asked_for(&mut desk), []);
    desk.pass(2 * MILLISECOND);
    assert_eq!(asked_for(&mut desk).len(), 1);
}

#[test]
fn a_moment_of_overload_costs_an_honest_neighbour_neither_its_link_nor_its_place() {
    let mut desk = befriended(config(Mode::Fleet, true), 2);
    for sequence in 1..=200 {
        desk.asked(1, have(8, 2 * sequence, 1));
        desk.pass(10 * MILLISECOND);
    }
    desk.pass(seconds(3));
    let stats = desk.topics.stats();
    assert_eq!((stats.promises, stats.neighbours_down), (0, DownCounts::default()));
    assert!(stats.broken_promises >= 200, "{}", stats.broken_promises);
    desk.asks();
    desk.publish(1, 10);
    assert_eq!(pushed_to(&mut desk).len(), 2, "both are still on the tree");
}

#[test]
fn while_the_shared_tree_works_few_of_the_lost_messages_change_it() {
    let mut desk = befriended(config(Mode::Fleet, false), 2);
    let mut eager = Vec::new();
    // Nobody says enough for a tree of its own.
    let mut others = (20..150).flat_map(|of| (1..8).map(move |sequence| unsigned(of, sequence)));
    for round in 1..=80 {
        desk.asked(2, have(150 + round, 1, 1));
        for _ in 0..11 {
            desk.pass(100 * MILLISECOND);
            eager.extend(asked_for(&mut desk).into_iter().map(|(_, eager)| eager));
            desk.asked(1, push(others.next()));
        }
        desk.asked(2, push([unsigned(150 + round, 1)]));
    }
    let changes = eager.iter().filter(|eager| **eager).count();
    assert!(eager.len() >= 80 && (1..=25).contains(&changes), "{changes} of {}", eager.len());
    // When it brings nothing, it is changed at once.
    desk.pass(seconds(1));
    desk.asked(2, have(8, 1, 1));
    desk.pass(seconds(1));
    assert_eq!(asked_for(&mut desk)[0], (contact(2), true));
}

#[test]
fn a_message_over_its_publishers_rate_is_not_asked_for() {
    let mut desk = befriended(config(Mode::Open, false), 2);
    desk.asked(1, push((1..=50).map(|sequence| unsigned(9, sequence))));
    desk.asked(2, have(9, 51, 1));
    assert_eq!(desk.topics.stats().promises, 1);
    desk.asked(1, push([unsigned(9, 51)]));
    let stats = desk.topics.stats();
    assert_eq!((stats.promises, stats.dropped_over_rate), (0, 1));
}

#[test]
fn publishers_known_before_are_held_to_the_rate_of_strangers_when_it_becomes_theirs() {
    let mut desk = befriended(config(Mode::Fleet, false), 2);
    desk.asked(1, push([unsigned(9, 1)]));
    desk.input(TopicsInput::Mode(Mode::Open));
    desk.asked(1, push((2..=101).map(|sequence| unsigned(9, sequence))));
    assert_eq!(desk.delivered(), 51);
}

#[test]
fn a_neighbour_has_a_rate_of_signatures_and_a_forgery_takes_twenty_more_of_it() {
    let signatures = RateLimit { per_second: 1, burst: 60 };
    let open = PeerLimits { signatures, ..TopicsConfig::default().open };
    for (forgeries, delivered) in [(0, 50), (1, 39), (2, 18)] {
        let limited = TopicsConfig { open, ..config(Mode::Open, true) };
        let mut desk = befriended(limited, 2);
        let mut forged = signed(9, 77);
        forged.payload = Bytes::from_static(b"hellO");
        (0..forgeries).for_each(|_| {
            desk.asked(1, push([forged.clone()]));
        });
        for publisher in [7, 8] {
            desk.asked(1, push((1..=25).map(|sequence| signed(publisher, sequence))));
        }
        assert_eq!(desk.delivered(), delivered, "after {forgeries}");
        assert_eq!(desk.topics.stats().rate_limited, 50 - delivered as u64);
    }
}

#[test]
fn strangers_that_misbehave_are_remembered_up_to_a_limit() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    for number in 0..1_500_u16 {
        let mut seed = [1; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        let public_key = Identity::from_seed(seed).public_key();
        let from = Contact { public_key, ..contact(1) };
        let act = SpreadAct::Shuffled { nonce: 1, contacts: Vec::new() };
        let spread = potluck_wire::Spread { topic: topic().id(), act };
        desk.input(TopicsInput::Asked { serve: SpreadServeId(1), from, spread });
    }
    assert_eq!(desk.topics.stats().scores, 1_024);
}

#[test]
fn nobody_new_is_asked_while_too_much_is_under_way_and_neighbours_are() {
    let mut desk = Desk::subscribed(Mode::Open);
    let (_, mut world) = desk.topics.world(&topic().id());
    let mut ask = |purpose| world.ask(topic().id(), contact(1), purpose, SpreadAct::Probe);
    assert!((0..8_192).all(|_| ask(Purpose::Stranger)));
    assert!(!ask(Purpose::Stranger) && !ask(Purpose::Probe));
    assert!(ask(Purpose::Tell) && ask(Purpose::Push(Vec::new())));
    let stats = desk.topics.stats();
    assert_eq!((stats.asks, stats.rate_limited), (8_194, 2));
}
