//! What hostile neighbours try.

use bytes::Bytes;
use potluck_wire::{IdRun, SpreadAct, SpreadAnswer};

use potluck_base::UnixMillis;

use super::net::{network, seconds, topic};
use super::script::{Desk, contact, identity};
use super::*;

fn signed(publisher: u8, sequence: u64) -> SignedMessage {
    let payload = Bytes::from_static(b"hello");
    let context = (&network(), topic().id());
    SignedMessage::sign(&identity(publisher), context, (1, sequence), UnixMillis(0), payload)
}

fn push(messages: &[SignedMessage]) -> SpreadAct {
    SpreadAct::Push { messages: messages.iter().map(SignedMessage::encode).collect() }
}

fn run(publisher: u8, first: u64, count: u32) -> IdRun {
    let publisher = identity(publisher).public_key();
    IdRun { publisher, incarnation: 1, first, count }
}

#[test]
fn a_forger_is_heard_three_times_and_then_ignored() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    let mut forged = signed(9, 1);
    forged.payload = Bytes::from_static(b"hellO");
    for _ in 0..20 {
        desk.asked(1, push(&[forged.clone()]));
    }
    let stats = desk.topics.stats();
    assert_eq!((desk.delivered(), stats.verify_failed), (0, 3));
    assert_eq!((stats.neighbours_down.misbehaved, stats.history_messages), (1, 0));
    assert_eq!(desk.asked(1, push(&[signed(9, 1)])), SpreadAnswer::NotNeighbour);
    assert!(!desk.befriend(1));
    desk.pass(seconds(601));
    assert!(desk.befriend(1), "forgiven after ten minutes");
}

#[test]
fn a_forgery_does_not_take_the_place_of_the_message() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1) && desk.befriend(2));
    let mut forged = signed(9, 1);
    forged.payload = Bytes::from_static(b"hellO");
    desk.asked(1, push(&[forged]));
    desk.asked(2, push(&[signed(9, 1)]));
    assert_eq!(desk.delivered(), 1);
}

#[test]
fn a_message_of_another_topic_or_network_is_a_forgery() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    let elsewhere = TopicName::new("elsewhere").expect("a name").id();
    let other = NetworkId::new("other", potluck_base::Admission::Lab, None);
    let payload = Bytes::from_static(b"hello");
    for context in [(&network(), elsewhere), (&other, topic().id())] {
        let message =
            SignedMessage::sign(&identity(9), context, (1, 1), UnixMillis(0), payload.clone());
        desk.asked(1, push(&[message]));
    }
    assert_eq!((desk.delivered(), desk.topics.stats().verify_failed), (0, 2));
}

#[test]
fn a_replay_is_delivered_once_and_not_even_checked() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1) && desk.befriend(2));
    for _ in 0..50 {
        desk.asked(1, push(&[signed(9, 1)]));
        desk.asked(2, push(&[signed(9, 1)]));
    }
    let stats = desk.topics.stats();
    assert_eq!((desk.delivered(), stats.verified, stats.duplicates), (1, 1, 99));
}

#[test]
fn a_message_is_delivered_for_fifteen_minutes_and_not_after_that_nor_from_the_future() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    desk.pass(Duration::from_secs(16 * 60));
    assert!(desk.befriend(1));
    let wall = UnixMillis(1_700_000_000_000);
    desk.input(TopicsInput::WallClock(wall));
    let sent = dated;
    let (past, ahead) = (15 * 60_000, 5 * 60_000);
    for (sequence, at, delivered) in [
        (1, wall.0, 1),
        (2, wall.0 - past, 2),
        (3, wall.0 - past - 1, 2),
        (4, wall.0 + ahead + 1, 2),
    ] {
        desk.asked(1, push(&[sent(sequence, at)]));
        assert_eq!(desk.delivered(), delivered, "message {sequence}");
    }
    assert_eq!(desk.topics.stats().dropped_stale, 2);
}

fn dated(sequence: u64, at: u64) -> SignedMessage {
    let (context, payload) = ((&network(), topic().id()), Bytes::from_static(b"hello"));
    SignedMessage::sign(&identity(9), context, (1, sequence), UnixMillis(at), payload)
}

#[test]
fn a_new_subscriber_is_given_nothing_of_before_and_others_get_it_from_this_node() {
    let wall = UnixMillis(1_700_000_000_000);
    let mut desk = Desk::new(TopicsConfig { mode: Mode::Fleet, ..TopicsConfig::default() });
    desk.input(TopicsInput::WallClock(wall));
    desk.input(TopicsInput::Subscribe(topic()));
    assert!(desk.befriend(1) && desk.befriend(2));
    let minutes = |minutes: u64| wall.0 - minutes * 60_000;
    // A neighbour names eight messages and brings the newest first.
    desk.asked(1, SpreadAct::Have { runs: vec![run(9, 1, 8)] });
    desk.asked(1, push(&[dated(8, wall.0)]));
    assert_eq!(desk.delivered(), 0, "seven before it are promised");
    for sequence in 1..=7 {
        desk.asked(1, push(&[dated(sequence, minutes(12 - sequence))]));
    }
    let delivered: Vec<u64> = desk
        .outputs
        .iter()
        .filter_map(|output| match output {
            TopicsOutput::Deliver(message) => Some(message.id.sequence),
            _ => None,
        })
        .collect();
    let stats = desk.topics.stats();
    assert_eq!((delivered, stats.before_subscription, stats.missed), (vec![8], 7, 0));
    assert_eq!((stats.history_messages, stats.held), (8, 0), "it keeps them for others");
    desk.pass(Duration::from_secs(30));
    assert_eq!(desk.topics.stats().missed, 0);
}

#[test]
fn a_copy_by_a_second_way_prunes_it_in_fleets_and_by_a_third_among_strangers() {
    for (mode, prunes) in [(Mode::Fleet, [false, true, true]), (Mode::Open, [false, false, true])] {
        let mut desk = Desk::subscribed(mode);
        (1..=3).for_each(|number| assert!(desk.befriend(number)));
        let pruned = [1, 2, 3].map(|number| desk.asked(number, push(&[signed(9, 1)])));
        let expected =
            prunes.map(|prune| SpreadAnswer::Pushed { prune: u64::from(prune), busy: false });
        assert_eq!(pruned, expected, "{mode:?}");
        // A try that is repeated because its answer was lost is no second way.
        assert_eq!(desk.asked(1, push(&[signed(9, 1)])), expected[0]);
    }
}

#[test]
fn strangers_push_nothing() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert_eq!(desk.asked(1, push(&[signed(9, 1)])), SpreadAnswer::NotNeighbour);
    let act = SpreadAct::Have { runs: vec![run(9, 1, 100)] };
    assert_eq!(desk.asked(1, act), SpreadAnswer::NotNeighbour);
    let elsewhere = TopicName::new("elsewhere").expect("a name").id();
    assert_eq!(desk.asked_in(1, elsewhere, SpreadAct::Probe), SpreadAnswer::NotNeighbour);
    let stats = desk.topics.stats();
    assert_eq!((stats.payloads_received, stats.promises, stats.strangers), (0, 0, 3));
}

#[test]
fn invented_names_cost_a_bounded_memory_and_in_the_end_the_link() {
    let mut desk = Desk::subscribed(Mode::Open);
    assert!(desk.befriend(1) && desk.befriend(2));
    for round in 0..480_u64 {
        let names = |number: u64| run(9, round << 32 | number << 16, u32::MAX);
        let runs = (1..100).map(names).collect();
        desk.asked(1, SpreadAct::Have { runs });
        let stats = desk.topics.stats();
        assert!(stats.promises <= 2_048 && stats.publishers == 0, "{stats:?}");
        desk.pass(Duration::from_millis(250));
        // Each is asked for, and nothing comes.
        for (ask, ..) in desk.asks() {
            desk.answer(ask, SpreadAnswer::Taken);
        }
        desk.outputs.clear();
    }
    let stats = desk.topics.stats();
    assert_eq!((stats.neighbours_down.misbehaved, stats.promises), (1, 0));
    assert!(stats.broken_promises > 100 && stats.names_refused > 0);
    assert_eq!(desk.topics.neighbours_in(&topic()), [contact(2)]);
}

#[test]
fn shuffles_that_nobody_asked_for_teach_nothing() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    let before = desk.topics.stats().passive;
    for nonce in 0..100 {
        let contacts = (20..26).map(contact).collect();
        desk.asked(1, SpreadAct::Shuffled { nonce, contacts });
    }
    let stats = desk.topics.stats();
    assert_eq!((stats.passive, stats.neighbours_down.misbehaved), (before, 1));
    assert!(stats.shuffles_refused >= 25);
}

#[test]
fn a_flood_of_shuffles_fills_eight_places_and_sends_few_errands() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    desk.asks();
    for round in 0..=255 {
        let contacts =
            (0..6).map(|number| contact((round / 6 * 6_u8).wrapping_add(number))).collect();
        let act = SpreadAct::Shuffle { origin: contact(round), nonce: 1, hops: 0, contacts };
        desk.asked(1, act);
        desk.asked(1, SpreadAct::Walk { joiner: contact(round), hops: 0 });
    }
    assert!(desk.topics.stats().passive <= 8, "{:?}", desk.topics.stats().passive);
    let errands = desk.asks().len();
    assert!(errands <= 60 + 16, "{errands} requests to strangers");
}

#[test]
fn a_publisher_over_its_rate_is_cut_and_the_messenger_is_not_blamed() {
    let mut desk = Desk::subscribed(Mode::Open);
    assert!(desk.befriend(1));
    for sequence in 1..=200 {
        desk.asked(1, push(&[signed(9, sequence)]));
    }
    let stats = desk.topics.stats();
    assert_eq!((desk.delivered(), stats.dropped_over_rate), (50, 150));
    assert_eq!(stats.neighbours_down, DownCounts::default());
    desk.pass(seconds(1));
    // What was left out is not waited for, and counted.
    desk.asked(1, push(&[signed(9, 201)]));
    assert_eq!((desk.delivered(), desk.topics.stats().missed), (51, 150));
    // What is missing besides could still come.
    desk.asked(1, push(&[signed(9, 300)]));
    assert_eq!(desk.delivered(), 51);
    desk.pass(seconds(6));
    assert_eq!((desk.delivered(), desk.topics.stats().missed), (52, 150 + 98));
}

#[test]
fn a_request_for_everything_is_answered_within_limits() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    let runs = (0..1_000).map(|number| run(9, number, u32::MAX)).collect();
    let answer = desk.asked(1, SpreadAct::Graft { runs, eager: true });
    assert_eq!(answer, SpreadAnswer::Grafted { lacking: 8_192 });
    assert_eq!(desk.topics.stats().queued_messages, 0);
}

#[test]
fn garbage_is_a_forgery() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    desk.asked(1, SpreadAct::Push { messages: vec![Bytes::from_static(b"garbage"); 9] });
    assert_eq!(desk.topics.stats().neighbours_down.misbehaved, 1);
}
