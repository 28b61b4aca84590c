//! Broadcast trees: which links are eager, what they cost, and how much of them this node's
//! publishers may use.

use bytes::Bytes;
use potluck_base::{Signature, UnixMillis};
use potluck_wire::{IdRange, TopicRequest, TopicResponse};

use super::harness::{Harness, SentRequest, contact, identity};
use super::net::{seconds, topic};
use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

fn pushed(prune: bool) -> TopicResponse {
    TopicResponse::GossipAck { prune: u64::from(prune), busy: false }
}

fn message(publisher: u8, sequence: u64) -> TopicRequest {
    let signature = Signature::from_bytes([0; 64]);
    let payload = Bytes::from_static(b"hello");
    let publisher = identity(publisher).public_key();
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

fn have(publisher: u8, first: u64) -> TopicRequest {
    let publisher = identity(publisher).public_key();
    TopicRequest::IHave { ranges: vec![IdRange { publisher, incarnation: 1, first, count: 1 }] }
}

/// A machine that verifies no signatures.
fn connected(mode: Mode, neighbours: u8) -> Harness {
    let mut harness = Harness::new(TopicsConfig { mode, verify: false, ..TopicsConfig::default() });
    harness.input(TopicsInput::Subscribe(topic()));
    assert!((1..=neighbours).all(|number| harness.connect(number)));
    harness.asks();
    harness
}

/// The round trips of the neighbours are measured as short.
fn measure(harness: &mut Harness) {
    harness.publish(99, 10);
    for (ask, ..) in harness.asks() {
        harness.answer(ask, pushed(false));
    }
}

fn is_push(asked: &&SentRequest) -> bool {
    matches!(asked.2.body, TopicRequest::Gossip { .. })
}

/// The neighbours that this node grafted.
fn wanted(harness: &mut Harness) -> Vec<Contact> {
    let eager = |body: &TopicRequest| matches!(body, TopicRequest::Graft { eager: true, .. });
    let asks = harness.asks().into_iter().filter(|(.., request)| eager(&request.body));
    asks.map(|(_, to, _)| to).collect()
}

fn published(harness: &Harness) -> usize {
    harness.topics.stats().published as usize
}

#[test]
fn a_neighbour_with_most_messages_sooner_becomes_eager() {
    let mut harness = connected(Mode::Fleet, 3);
    measure(&mut harness);
    // The second and the third deliver duplicates.
    harness.asked(1, message(9, 1));
    assert_eq!(harness.asked(2, message(9, 1)), pushed(true));
    assert_eq!(harness.asked(3, message(9, 1)), pushed(true));
    harness.advance(seconds(6));
    let mut switched = Vec::new();
    for publisher in 12..=52 {
        harness.asked(2, have(publisher, 1));
        harness.asked(3, have(publisher, 1));
        harness.advance(300 * MILLISECOND);
        harness.asks();
        harness.asked(1, message(publisher, 1));
        switched.push((harness.topics.stats().switched, wanted(&mut harness).len()));
    }
    assert_eq!(switched[3..5], [(0, 0), (1, 1)], "one of them, by the fifth message");
    assert_eq!(switched[37..39], [(1, 0), (2, 1)], "and the other after ten seconds");
}

/// The first message of a publisher's own tree.
const OWN: u64 = broadcast::OWN_TREE_FROM;

/// The neighbours to which a message goes that the first neighbour pushes.
fn forwarded(harness: &mut Harness, publisher: u8, sequence: u64) -> Vec<(TopicAskId, Contact)> {
    let quiet = sequence == OWN;
    if quiet {
        harness.asked(1, message(publisher, sequence - 1));
        harness.advance(500 * MILLISECOND);
        harness.asks();
    }
    assert_eq!(harness.asked(1, message(publisher, sequence)), pushed(false));
    if quiet {
        harness.advance(79 * MILLISECOND);
        assert_eq!(harness.asks().iter().find(is_push), None, "it is deferred");
        harness.advance(MILLISECOND);
    }
    let asks = harness.asks().into_iter().filter(|asked| is_push(&asked));
    asks.map(|(ask, to, _)| (ask, to)).collect()
}

/// The second and the third neighbour are lazy on the shared tree.
fn with_one_parent() -> Harness {
    let mut harness = connected(Mode::Fleet, 3);
    measure(&mut harness);
    harness.asked(1, message(9, 1));
    assert_eq!(
        [2, 3].map(|number| harness.asked(number, message(9, 1))),
        [pushed(true), pushed(true)]
    );
    harness.asks();
    harness
}

#[test]
fn the_eighth_message_of_a_publisher_is_flooded_and_each_answer_keeps_or_prunes_the_link() {
    let mut harness = with_one_parent();
    let asks = forwarded(&mut harness, 9, OWN);
    assert_eq!(asks.len(), 2);
    for (ask, to) in asks {
        harness.answer(ask, pushed(to != contact(2)));
    }
    let to = |asks: Vec<(TopicAskId, Contact)>| asks.into_iter().map(|(_, to)| to).collect();
    let next: Vec<Contact> = to(forwarded(&mut harness, 9, OWN + 1));
    assert_eq!(next, [contact(2)]);
    let other: Vec<Contact> = to(forwarded(&mut harness, 8, OWN - 1));
    assert_eq!(other, [], "the shared tree is as it was");
}

#[test]
fn only_the_64th_and_the_512th_message_are_flooded_again() {
    let mut harness = with_one_parent();
    let grows = |harness: &mut Harness, sequence| {
        harness.asked(1, message(9, sequence - 1));
        harness.advance(500 * MILLISECOND);
        harness.asks();
        harness.asked(1, message(9, sequence));
        harness.advance(80 * MILLISECOND);
        let pushes: Vec<SentRequest> =
            harness.asks().into_iter().filter(|asked| is_push(&asked)).collect();
        pushes.iter().for_each(|(ask, ..)| harness.answer(*ask, pushed(true)));
        pushes.len()
    };
    let sequences = [OWN, OWN + 2, 62, 64, 66, 80, 128, 510, 512, 514, 4_096];
    let pushes = sequences.map(|sequence| grows(&mut harness, sequence));
    assert_eq!(pushes, [2, 0, 0, 2, 0, 0, 0, 0, 2, 0, 2]);
}

#[test]
fn a_fast_publisher_floods_nothing_and_messages_behind_a_flood_are_deferred() {
    let sequences = |harness: &mut Harness, to: u8| -> Vec<u64> {
        let pushes = harness.asks().into_iter().filter(|asked| asked.1 == contact(to));
        let messages = pushes.flat_map(|(.., request)| match request.body {
            TopicRequest::Gossip { messages } => messages,
            _ => Vec::new(),
        });
        let read = |bytes: Bytes| SignedMessage::decode(&bytes).expect("a message").sequence;
        messages.map(read).collect()
    };
    let mut harness = with_one_parent();
    for sequence in 2..=OWN + 5 {
        harness.asked(1, message(9, sequence));
        harness.advance(10 * MILLISECOND);
    }
    assert_eq!(sequences(&mut harness, 2), []);
    // A burst behind the flood.
    let mut harness = with_one_parent();
    harness.asked(1, message(9, OWN - 1));
    harness.advance(seconds(1));
    harness.asks();
    for sequence in OWN..=OWN + 5 {
        harness.asked(1, message(9, sequence));
    }
    assert_eq!(sequences(&mut harness, 2), []);
    harness.advance(80 * MILLISECOND);
    assert_eq!(sequences(&mut harness, 2), (OWN..=OWN + 5).collect::<Vec<_>>());
}

#[test]
fn a_link_is_pruned_for_one_publisher_and_stays_eager_for_the_others() {
    let mut harness = connected(Mode::Fleet, 2);
    for publisher in [8, 9] {
        harness.asked(1, message(publisher, OWN));
    }
    harness.asked(2, message(8, OWN));
    harness.advance(80 * MILLISECOND);
    harness.asks();
    assert_eq!(forwarded(&mut harness, 8, OWN + 1), []);
    assert_eq!(forwarded(&mut harness, 9, OWN + 1).len(), 1);
    // Two publishers in one push: the bits tell which of them is pruned.
    let TopicRequest::Gossip { messages: one } = message(9, OWN + 1) else { panic!("no push") };
    let TopicRequest::Gossip { messages: two } = message(7, OWN + 1) else { panic!("no push") };
    let messages = [one, two].concat();
    assert_eq!(
        harness.asked(2, TopicRequest::Gossip { messages }),
        TopicResponse::GossipAck { prune: 1, busy: false }
    );
}

#[test]
fn a_neighbour_with_one_publishers_messages_sooner_becomes_eager_on_that_tree_only() {
    let mut harness = with_one_parent();
    harness.asked(1, message(9, OWN));
    harness.advance(seconds(6));
    let mut grafts = Vec::new();
    for sequence in OWN + 1..=OWN + 5 {
        harness.asked(2, have(9, sequence));
        harness.advance(300 * MILLISECOND);
        harness.asks();
        harness.asked(1, message(9, sequence));
        grafts.extend(harness.asks().into_iter().filter_map(
            |(_, to, request)| match request.body {
                TopicRequest::Graft { ranges, eager: true } => Some((to, ranges)),
                _ => None,
            },
        ));
    }
    let [(to, ranges)] = &grafts[..] else { panic!("{grafts:?}") };
    assert_eq!((*to, ranges.len(), ranges[0].count), (contact(2), 1, 0));
    assert_eq!(ranges[0].publisher, identity(9).public_key());
    // And the receiver of such a graft.
    let mut harness = with_one_parent();
    let graft = TopicRequest::Graft { ranges: ranges.clone(), eager: true };
    assert_eq!(harness.asked(2, graft), TopicResponse::GraftAck { lacking: 0 });
    let to: Vec<Contact> =
        forwarded(&mut harness, 9, OWN + 9).into_iter().map(|(_, to)| to).collect();
    assert_eq!(to, [contact(2)]);
    assert_eq!(forwarded(&mut harness, 8, OWN + 9), []);
}

#[test]
fn a_child_whose_push_crossed_ours_and_that_keeps_its_parent_stays_eager() {
    for (keeps, stays) in [(true, vec![contact(2)]), (false, vec![])] {
        let mut harness = with_one_parent();
        for (ask, to) in forwarded(&mut harness, 9, OWN) {
            harness.answer(ask, pushed(to == contact(3)));
        }
        // The push to the second is lost on its way; it gets the message from another node and
        // pushes it here.
        let pushes = forwarded(&mut harness, 9, OWN + 1);
        let [(ask, to)] = pushes[..] else { panic!("{pushes:?}") };
        assert_eq!(to, contact(2));
        assert_eq!(harness.asked(2, message(9, OWN + 1)), pushed(true));
        assert_eq!(forwarded(&mut harness, 9, OWN + 2), []);
        harness.answer(ask, pushed(!keeps));
        let to: Vec<Contact> =
            forwarded(&mut harness, 9, OWN + 3).into_iter().map(|of| of.1).collect();
        assert_eq!(to, stays);
    }
}

/// Pushes invalid bytes until the neighbour is pruned from all trees for them.
fn distrust(harness: &mut Harness, number: u8) {
    let garbage = TopicRequest::Gossip { messages: vec![Bytes::from_static(b"garbage")] };
    let off = TopicResponse::GossipAck { prune: u64::MAX, busy: false };
    assert!((0..20).any(|_| harness.asked(number, garbage.clone()) == off));
}

#[test]
fn a_distrusted_parent_is_replaced_and_a_distrusted_child_stays_lazy() {
    let mut harness = with_one_parent();
    let pushes = forwarded(&mut harness, 9, OWN);
    harness.asked(3, have(9, OWN));
    harness.asks();
    distrust(&mut harness, 1);
    // Another takes its place on the shared tree.
    assert_eq!(wanted(&mut harness), [contact(3), contact(2)]);
    // It has delivered a copy itself, and accepts this node's.
    harness.asked(2, message(9, OWN));
    distrust(&mut harness, 2);
    let (ask, _) = *pushes.iter().find(|(_, to)| *to == contact(2)).expect("one of them");
    harness.answer(ask, pushed(false));
    harness.asks();
    harness.asked(3, message(9, OWN + 1));
    assert_eq!(harness.asks().iter().filter(is_push).count(), 0);
}

#[test]
fn messages_that_are_late_together_count_once() {
    let mut harness = with_one_parent();
    forwarded(&mut harness, 9, OWN);
    harness.advance(seconds(6));
    let mut late = |sequences: std::ops::Range<u64>| {
        sequences.clone().for_each(|sequence| {
            harness.asked(2, have(9, sequence));
        });
        harness.advance(300 * MILLISECOND);
        harness.asks();
        sequences.for_each(|sequence| {
            harness.asked(1, message(9, sequence));
        });
        wanted(&mut harness)
    };
    assert_eq!(late(OWN + 1..OWN + 9), []);
    assert_eq!(late(OWN + 9..OWN + 17), []);
    assert_eq!(late(OWN + 17..OWN + 18), [contact(2)], "the third time in a row");
}

#[test]
fn the_parent_on_the_shared_tree_is_the_sender_of_the_last_message() {
    let mut harness = with_one_parent();
    harness.asked(1, message(8, 1));
    harness.asked(2, message(7, 1));
    harness.asked(3, have(7, 1));
    harness.asks();
    harness.input(TopicsInput::Unreachable(identity(2).public_key()));
    assert_eq!(wanted(&mut harness), [contact(3)]);
}

#[test]
fn a_parent_that_was_late_once_stays_eager() {
    let mut harness = with_one_parent();
    forwarded(&mut harness, 9, OWN);
    harness.asked(2, message(9, OWN + 1));
    assert_eq!(harness.asked(1, message(9, OWN + 1)), pushed(false));
    assert_eq!(
        harness.asked(3, message(9, OWN + 1)),
        pushed(true),
        "a peer that is not the parent is pruned"
    );
    harness.asked(1, message(9, OWN + 2));
    assert_eq!(harness.asked(2, message(9, OWN + 2)), pushed(true), "the other peer is pruned");
    // Late twice in a row.
    harness.asked(2, message(9, OWN + 3));
    harness.asked(2, message(9, OWN + 4));
    assert_eq!(harness.asked(1, message(9, OWN + 4)), pushed(true));
    // Of several messages in one push the majority decides.
    let mut harness = with_one_parent();
    forwarded(&mut harness, 9, OWN);
    let messages = |from: u64, to: u64| {
        let one = |sequence| match message(9, sequence) {
            TopicRequest::Gossip { messages } => messages,
            other => panic!("no push: {other:?}"),
        };
        TopicRequest::Gossip { messages: (from..=to).flat_map(one).collect() }
    };
    harness.asked(2, messages(OWN + 1, OWN + 4));
    harness.asked(1, messages(OWN + 5, OWN + 6));
    let prune = TopicResponse::GossipAck { prune: 0b111, busy: false };
    assert_eq!(harness.asked(1, messages(OWN + 2, OWN + 4)), prune);
    // Now it is no parent any more, and the next that delivers a message is.
    harness.asked(2, message(9, OWN + 7));
    harness.asked(3, message(9, OWN + 8));
    assert_eq!(harness.asked(2, message(9, OWN + 8)), pushed(false));
}

#[test]
fn the_backup_parent_takes_over_when_the_parent_is_lost() {
    let mut harness = with_one_parent();
    harness.asked(1, message(9, OWN));
    harness.asked(3, have(9, OWN));
    harness.asked(2, have(9, OWN));
    harness.asks();
    harness.input(TopicsInput::Unreachable(identity(1).public_key()));
    let grafts = harness.asks().into_iter().filter_map(|(_, to, request)| match request.body {
        TopicRequest::Graft { ranges, eager: true } => {
            ranges.first().map(|run| (to, run.publisher))
        }
        _ => None,
    });
    assert_eq!(grafts.collect::<Vec<_>>(), [(contact(3), identity(9).public_key())]);
}

#[test]
fn when_two_peers_fall_silent_the_links_of_all_topics_are_checked() {
    let mut harness = connected(Mode::Fleet, 3);
    harness.advance(seconds(2));
    harness.asks();
    let probed = |harness: &mut Harness| {
        harness.asks().iter().filter(|asked| asked.2.body == TopicRequest::Probe).count()
    };
    // Neither of them is in the topic.
    harness.input(TopicsInput::Silent(identity(50).public_key()));
    harness.input(TopicsInput::Silent(identity(50).public_key()));
    assert_eq!(probed(&mut harness), 0, "one of them");
    harness.input(TopicsInput::Silent(identity(51).public_key()));
    assert_eq!(probed(&mut harness), 3);
    harness.input(TopicsInput::Silent(identity(52).public_key()));
    assert_eq!(probed(&mut harness), 0, "they are being checked");
}

#[test]
fn a_publisher_whose_own_tree_is_pruned_by_all_keeps_an_eager_link() {
    let mut harness = connected(Mode::Fleet, 3);
    for round in 1..=OWN + 9 {
        harness.publish(round, 10);
        let asks: Vec<SentRequest> =
            harness.asks().into_iter().filter(|asked| is_push(&asked)).collect();
        assert!(!asks.is_empty(), "round {round}");
        asks.iter().for_each(|(ask, ..)| harness.answer(*ask, pushed(true)));
    }
}

#[test]
fn a_publisher_that_loses_the_one_link_of_its_tree_pushes_over_another() {
    for lose in [TopicsInput::Left, TopicsInput::Unreachable] {
        let mut harness = connected(Mode::Fleet, 4);
        let pushed_to = |harness: &mut Harness, round| {
            harness.publish(round, 10);
            let asks = harness.asks().into_iter().filter(|asked| is_push(&asked));
            let asks: Vec<(TopicAskId, Contact)> = asks.map(|(ask, to, _)| (ask, to)).collect();
            for (ask, to) in &asks {
                // The first accepts the messages of the publisher's tree, the second all others.
                let child = if round < OWN { contact(2) } else { contact(1) };
                harness.answer(*ask, pushed(*to != child));
            }
            asks.into_iter().map(|(_, to)| to).collect::<Vec<_>>()
        };
        for round in 1..OWN {
            pushed_to(&mut harness, round);
        }
        harness.advance(seconds(1));
        harness.asks();
        pushed_to(&mut harness, OWN);
        assert_eq!(pushed_to(&mut harness, OWN + 1), [contact(1)]);
        harness.input(lose(contact(1).public_key));
        harness.asks();
        assert_eq!(pushed_to(&mut harness, OWN + 2).len(), 1);
    }
}

#[test]
fn duplicates_of_a_grafted_message_prune_no_link() {
    let mut harness = connected(Mode::Fleet, 2);
    harness.asked(2, have(9, 1));
    harness.advance(seconds(1));
    assert_eq!(harness.asked(2, message(9, 1)), pushed(false));
    assert_eq!(harness.topics.stats().repaired, 1);
    assert_eq!(harness.asked(1, message(9, 1)), pushed(false), "a copy of a grafted message");
}

#[test]
fn a_node_that_prunes_its_last_eager_link_grafts_another() {
    let mut harness = connected(Mode::Fleet, 2);
    harness.asked(1, message(9, 1));
    assert_eq!(harness.asked(2, message(9, 1)), pushed(true));
    harness.asked(2, message(9, 2));
    harness.asks();
    assert_eq!(harness.asked(1, message(9, 2)), pushed(true));
    assert_eq!(wanted(&mut harness), [contact(2)]);
}

#[test]
fn a_publisher_that_is_pruned_by_all_keeps_an_eager_link() {
    let mut harness = connected(Mode::Fleet, 3);
    for round in 1..=9 {
        harness.publish(round, 10);
        let asks: Vec<SentRequest> =
            harness.asks().into_iter().filter(|asked| is_push(&asked)).collect();
        assert!(!asks.is_empty(), "round {round}");
        asks.iter().for_each(|(ask, ..)| harness.answer(*ask, pushed(true)));
    }
    assert_eq!(harness.topics.stats().active_eager, 1);
}

#[test]
fn a_node_with_full_queues_reports_it() {
    let queue = QueueLimits { messages: 40, window: 1, ..QueueLimits::default() };
    let config = TopicsConfig { verify: false, queue, ..TopicsConfig::default() };
    let mut harness = Harness::new(TopicsConfig { mode: Mode::Fleet, ..config });
    harness.input(TopicsInput::Subscribe(topic()));
    assert!(harness.connect(1) && harness.connect(2));
    let busy: Vec<bool> = (1..=30)
        .map(|sequence| harness.asked(1, message(9, sequence)))
        .map(|answer| matches!(answer, TopicResponse::GossipAck { busy: true, .. }))
        .collect();
    // One is in flight, and a quarter of the queue may wait.
    assert_eq!(busy.iter().position(|busy| *busy), Some(11));
}

#[test]
fn this_nodes_own_publishers_stay_within_four_fifths_of_what_strangers_allow() {
    let mut harness = connected(Mode::Open, 1);
    let answer_all = |harness: &mut Harness| {
        while let Some((ask, ..)) = harness.asks().iter().find(is_push).cloned() {
            harness.answer(ask, pushed(false));
        }
    };
    (0..200).for_each(|number| harness.publish(number, 10));
    answer_all(&mut harness);
    assert_eq!(published(&harness), 41);
    for _ in 0..100 {
        harness.advance(100 * MILLISECOND);
        answer_all(&mut harness);
    }
    assert!((135..=145).contains(&published(&harness)), "{} in ten seconds", published(&harness));
}

#[test]
fn a_neighbour_may_graft_eight_thousand_messages_at_once() {
    let mut harness = connected(Mode::Fleet, 1);
    for number in 0..100 {
        harness.publish(number, 10);
        for (ask, ..) in harness.asks() {
            harness.answer(ask, pushed(false));
        }
    }
    let publisher = identity(0).public_key();
    let ranges = vec![IdRange { publisher, incarnation: 1, first: 1, count: 100 }];
    let mut lacked = 0;
    for _ in 0..100 {
        let body = TopicRequest::Graft { ranges: ranges.clone(), eager: false };
        let TopicResponse::GraftAck { lacking } = harness.asked(1, body) else {
            panic!("no graft")
        };
        lacked += lacking;
        while let Some(asked) = Some(harness.asks()).filter(|asks| !asks.is_empty()) {
            asked.iter().for_each(|(ask, ..)| harness.answer(*ask, pushed(false)));
        }
        harness.outputs.clear();
    }
    assert_eq!(lacked, 2_000);
}

#[test]
fn an_idle_topic_keeps_its_messages_for_ten_minutes_too() {
    let mut harness = connected(Mode::Fleet, 1);
    harness.publish(1, 10);
    harness.advance(seconds(590));
    assert_eq!(harness.topics.stats().history_messages, 1);
    harness.advance(seconds(60));
    assert_eq!(
        (harness.topics.stats().history_messages, harness.topics.stats().history_bytes),
        (0, 0)
    );
}

#[test]
fn the_topic_that_caches_most_makes_room() {
    let config = TopicsConfig { cache_bytes: 16_384, verify: false, ..TopicsConfig::default() };
    let mut harness = Harness::new(TopicsConfig { mode: Mode::Fleet, ..config });
    let quiet = TopicName::new("quiet").expect("a name");
    for name in [topic(), quiet.clone()] {
        harness.input(TopicsInput::Subscribe(name));
    }
    harness.advance(seconds(6));
    let (publish, payload) = (PublishId(1), Bytes::from_static(b"kept"));
    harness.input(TopicsInput::Publish { publish, topic: quiet.clone(), payload });
    (2..50).for_each(|number| harness.publish(number, 1_000));
    let nothing = MessageId { publisher: identity(0).public_key(), incarnation: 1, sequence: 0 };
    assert_eq!(harness.topics.backlog(&quiet, Some(nothing)).0.len(), 1);
    assert!(harness.topics.stats().history_bytes <= 16_384);
}

#[test]
fn no_sequence_is_used_twice_however_many_topics_were_left() {
    let mut harness = Harness::new(TopicsConfig { verify: false, ..TopicsConfig::default() });
    let publish = |harness: &mut Harness, number: u64| {
        let topic = TopicName::new(format!("topic {number}")).expect("a name");
        let (publish, payload) = (PublishId(number), Bytes::from_static(b"x"));
        harness.input(TopicsInput::Publish { publish, topic, payload });
    };
    (0..3).for_each(|_| publish(&mut harness, 0));
    harness.advance(seconds(70));
    for first in (1..=1_030).step_by(60) {
        (first..first + 60).for_each(|number| publish(&mut harness, number));
        harness.advance(seconds(70));
        harness.outputs.clear();
    }
    assert_eq!(harness.topics.stats().topics, 1);
    harness.outputs.clear();
    publish(&mut harness, 0);
    harness.advance(seconds(6));
    let sequence = harness.outputs.iter().find_map(|output| match output {
        TopicsOutput::Published { message, .. } => Some(message.sequence),
        _ => None,
    });
    assert!(sequence >= Some(4), "{sequence:?}");
}
