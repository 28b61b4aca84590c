//! The tree: who is on it, what it costs, and how much of it this node's publishers may use.

use bytes::Bytes;
use potluck_base::{Signature, UnixMillis};
use potluck_wire::{IdRun, SpreadAct, SpreadAnswer};

use super::net::{seconds, topic};
use super::script::{Asked, Desk, contact, identity};
use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);

fn pushed(prune: bool) -> SpreadAnswer {
    SpreadAnswer::Pushed { prune: u64::from(prune), busy: false }
}

fn message(publisher: u8, sequence: u64) -> SpreadAct {
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
    SpreadAct::Push { messages: vec![message.encode()] }
}

fn have(publisher: u8, first: u64) -> SpreadAct {
    let publisher = identity(publisher).public_key();
    SpreadAct::Have { runs: vec![IdRun { publisher, incarnation: 1, first, count: 1 }] }
}

/// A machine that checks no signatures.
fn befriended(mode: Mode, neighbours: u8) -> Desk {
    let mut desk = Desk::new(TopicsConfig { mode, verify: false, ..TopicsConfig::default() });
    desk.input(TopicsInput::Subscribe(topic()));
    assert!((1..=neighbours).all(|number| desk.befriend(number)));
    desk.asks();
    desk
}

/// The neighbours are measured to be near.
fn measure(desk: &mut Desk) {
    desk.publish(99, 10);
    for (ask, ..) in desk.asks() {
        desk.answer(ask, pushed(false));
    }
}

fn is_push(asked: &&Asked) -> bool {
    matches!(asked.2.act, SpreadAct::Push { .. })
}

/// Whom this node asked to push messages.
fn wanted(desk: &mut Desk) -> Vec<Contact> {
    let eager = |act: &SpreadAct| matches!(act, SpreadAct::Graft { eager: true, .. });
    let asks = desk.asks().into_iter().filter(|(.., spread)| eager(&spread.act));
    asks.map(|(_, to, _)| to).collect()
}

fn published(desk: &Desk) -> usize {
    desk.topics.stats().published as usize
}

#[test]
fn a_neighbour_that_has_most_messages_sooner_comes_on_the_tree() {
    let mut desk = befriended(Mode::Fleet, 3);
    measure(&mut desk);
    // The second and the third bring copies.
    desk.asked(1, message(9, 1));
    assert_eq!(desk.asked(2, message(9, 1)), pushed(true));
    assert_eq!(desk.asked(3, message(9, 1)), pushed(true));
    desk.pass(seconds(6));
    let mut switched = Vec::new();
    for publisher in 12..=52 {
        desk.asked(2, have(publisher, 1));
        desk.asked(3, have(publisher, 1));
        desk.pass(300 * MILLISECOND);
        desk.asks();
        desk.asked(1, message(publisher, 1));
        switched.push((desk.topics.stats().switched, wanted(&mut desk).len()));
    }
    assert_eq!(switched[3..5], [(0, 0), (1, 1)], "one of them, by the fifth message");
    assert_eq!(switched[37..39], [(1, 0), (2, 1)], "and the other after ten seconds");
}

/// The first message of a publisher's own tree.
const OWN: u64 = growth::OWN_TREE_FROM;

/// To whom a message goes that the first neighbour pushes.
fn passed_on(desk: &mut Desk, publisher: u8, sequence: u64) -> Vec<(SpreadAskId, Contact)> {
    let quiet = sequence == OWN;
    if quiet {
        desk.asked(1, message(publisher, sequence - 1));
        desk.pass(500 * MILLISECOND);
        desk.asks();
    }
    assert_eq!(desk.asked(1, message(publisher, sequence)), pushed(false));
    if quiet {
        desk.pass(79 * MILLISECOND);
        assert_eq!(desk.asks().iter().find(is_push), None, "it is held back");
        desk.pass(MILLISECOND);
    }
    let asks = desk.asks().into_iter().filter(|asked| is_push(&asked));
    asks.map(|(ask, to, _)| (ask, to)).collect()
}

/// The second and the third neighbour are not on the shared tree.
fn with_one_parent() -> Desk {
    let mut desk = befriended(Mode::Fleet, 3);
    measure(&mut desk);
    desk.asked(1, message(9, 1));
    assert_eq!(
        [2, 3].map(|number| desk.asked(number, message(9, 1))),
        [pushed(true), pushed(true)]
    );
    desk.asks();
    desk
}

#[test]
fn the_eighth_message_of_a_publisher_goes_over_all_links_and_each_says_whether_it_stays() {
    let mut desk = with_one_parent();
    let asks = passed_on(&mut desk, 9, OWN);
    assert_eq!(asks.len(), 2);
    for (ask, to) in asks {
        desk.answer(ask, pushed(to != contact(2)));
    }
    let to = |asks: Vec<(SpreadAskId, Contact)>| asks.into_iter().map(|(_, to)| to).collect();
    let next: Vec<Contact> = to(passed_on(&mut desk, 9, OWN + 1));
    assert_eq!(next, [contact(2)]);
    let other: Vec<Contact> = to(passed_on(&mut desk, 8, OWN - 1));
    assert_eq!(other, [], "the shared tree is as it was");
}

#[test]
fn a_tree_grows_anew_with_the_64th_and_the_512th_message_and_none_between() {
    let mut desk = with_one_parent();
    let grows = |desk: &mut Desk, sequence| {
        desk.asked(1, message(9, sequence - 1));
        desk.pass(500 * MILLISECOND);
        desk.asks();
        desk.asked(1, message(9, sequence));
        desk.pass(80 * MILLISECOND);
        let pushes: Vec<Asked> = desk.asks().into_iter().filter(|asked| is_push(&asked)).collect();
        pushes.iter().for_each(|(ask, ..)| desk.answer(*ask, pushed(true)));
        pushes.len()
    };
    let sequences = [OWN, OWN + 2, 62, 64, 66, 80, 128, 510, 512, 514, 4_096];
    let pushes = sequences.map(|sequence| grows(&mut desk, sequence));
    assert_eq!(pushes, [2, 0, 0, 2, 0, 0, 0, 0, 2, 0, 2]);
}

#[test]
fn no_tree_grows_while_its_publisher_is_fast_and_what_follows_growth_stays_behind_it() {
    let sequences = |desk: &mut Desk, to: u8| -> Vec<u64> {
        let pushes = desk.asks().into_iter().filter(|asked| asked.1 == contact(to));
        let messages = pushes.flat_map(|(.., spread)| match spread.act {
            SpreadAct::Push { messages } => messages,
            _ => Vec::new(),
        });
        let read = |bytes: Bytes| SignedMessage::decode(&bytes).expect("a message").sequence;
        messages.map(read).collect()
    };
    let mut desk = with_one_parent();
    for sequence in 2..=OWN + 5 {
        desk.asked(1, message(9, sequence));
        desk.pass(10 * MILLISECOND);
    }
    assert_eq!(sequences(&mut desk, 2), []);
    // A burst behind the message that grows the tree.
    let mut desk = with_one_parent();
    desk.asked(1, message(9, OWN - 1));
    desk.pass(seconds(1));
    desk.asks();
    for sequence in OWN..=OWN + 5 {
        desk.asked(1, message(9, sequence));
    }
    assert_eq!(sequences(&mut desk, 2), []);
    desk.pass(80 * MILLISECOND);
    assert_eq!(sequences(&mut desk, 2), (OWN..=OWN + 5).collect::<Vec<_>>());
}

#[test]
fn a_link_is_pruned_of_one_publisher_and_keeps_the_others() {
    let mut desk = befriended(Mode::Fleet, 2);
    for publisher in [8, 9] {
        desk.asked(1, message(publisher, OWN));
    }
    desk.asked(2, message(8, OWN));
    desk.pass(80 * MILLISECOND);
    desk.asks();
    assert_eq!(passed_on(&mut desk, 8, OWN + 1), []);
    assert_eq!(passed_on(&mut desk, 9, OWN + 1).len(), 1);
    // Two publishers in one push: the bits say which of them is meant.
    let SpreadAct::Push { messages: one } = message(9, OWN + 1) else { panic!("no push") };
    let SpreadAct::Push { messages: two } = message(7, OWN + 1) else { panic!("no push") };
    let messages = [one, two].concat();
    assert_eq!(
        desk.asked(2, SpreadAct::Push { messages }),
        SpreadAnswer::Pushed { prune: 1, busy: false }
    );
}

#[test]
fn a_neighbour_that_has_one_publishers_messages_sooner_comes_on_that_tree_alone() {
    let mut desk = with_one_parent();
    desk.asked(1, message(9, OWN));
    desk.pass(seconds(6));
    let mut grafts = Vec::new();
    for sequence in OWN + 1..=OWN + 5 {
        desk.asked(2, have(9, sequence));
        desk.pass(300 * MILLISECOND);
        desk.asks();
        desk.asked(1, message(9, sequence));
        grafts.extend(desk.asks().into_iter().filter_map(|(_, to, spread)| match spread.act {
            SpreadAct::Graft { runs, eager: true } => Some((to, runs)),
            _ => None,
        }));
    }
    let [(to, runs)] = &grafts[..] else { panic!("{grafts:?}") };
    assert_eq!((*to, runs.len(), runs[0].count), (contact(2), 1, 0));
    assert_eq!(runs[0].publisher, identity(9).public_key());
    // And the other end of such a request.
    let mut desk = with_one_parent();
    let graft = SpreadAct::Graft { runs: runs.clone(), eager: true };
    assert_eq!(desk.asked(2, graft), SpreadAnswer::Grafted { lacking: 0 });
    let to: Vec<Contact> = passed_on(&mut desk, 9, OWN + 9).into_iter().map(|(_, to)| to).collect();
    assert_eq!(to, [contact(2)]);
    assert_eq!(passed_on(&mut desk, 8, OWN + 9), []);
}

#[test]
fn a_child_that_has_a_message_from_below_and_keeps_its_parent_stays_on_the_tree() {
    for (keeps, stays) in [(true, vec![contact(2)]), (false, vec![])] {
        let mut desk = with_one_parent();
        for (ask, to) in passed_on(&mut desk, 9, OWN) {
            desk.answer(ask, pushed(to == contact(3)));
        }
        // What is pushed to the second is lost on its way; it has it of somebody else and passes it on.
        let pushes = passed_on(&mut desk, 9, OWN + 1);
        let [(ask, to)] = pushes[..] else { panic!("{pushes:?}") };
        assert_eq!(to, contact(2));
        assert_eq!(desk.asked(2, message(9, OWN + 1)), pushed(true));
        assert_eq!(passed_on(&mut desk, 9, OWN + 2), []);
        desk.answer(ask, pushed(!keeps));
        let to: Vec<Contact> =
            passed_on(&mut desk, 9, OWN + 3).into_iter().map(|of| of.1).collect();
        assert_eq!(to, stays);
    }
}

/// Bytes that are no message, until the neighbour is taken off all trees for them.
fn distrust(desk: &mut Desk, number: u8) {
    let garbage = SpreadAct::Push { messages: vec![Bytes::from_static(b"garbage")] };
    let off = SpreadAnswer::Pushed { prune: u64::MAX, busy: false };
    assert!((0..20).any(|_| desk.asked(number, garbage.clone()) == off));
}

#[test]
fn a_parent_that_is_distrusted_is_replaced_and_a_child_does_not_come_back_on_the_tree() {
    let mut desk = with_one_parent();
    let pushes = passed_on(&mut desk, 9, OWN);
    desk.asked(3, have(9, OWN));
    desk.asks();
    distrust(&mut desk, 1);
    // Another takes its place on the shared tree.
    assert_eq!(wanted(&mut desk), [contact(3), contact(2)]);
    // It has brought a copy itself, and says that this node's is welcome.
    desk.asked(2, message(9, OWN));
    distrust(&mut desk, 2);
    let (ask, _) = *pushes.iter().find(|(_, to)| *to == contact(2)).expect("one of them");
    desk.answer(ask, pushed(false));
    desk.asks();
    desk.asked(3, message(9, OWN + 1));
    assert_eq!(desk.asks().iter().filter(is_push).count(), 0);
}

#[test]
fn messages_that_are_late_together_count_once() {
    let mut desk = with_one_parent();
    passed_on(&mut desk, 9, OWN);
    desk.pass(seconds(6));
    let mut late = |sequences: std::ops::Range<u64>| {
        sequences.clone().for_each(|sequence| {
            desk.asked(2, have(9, sequence));
        });
        desk.pass(300 * MILLISECOND);
        desk.asks();
        sequences.for_each(|sequence| {
            desk.asked(1, message(9, sequence));
        });
        wanted(&mut desk)
    };
    assert_eq!(late(OWN + 1..OWN + 9), []);
    assert_eq!(late(OWN + 9..OWN + 17), []);
    assert_eq!(late(OWN + 17..OWN + 18), [contact(2)], "the third time in a row");
}

#[test]
fn the_tree_that_many_share_is_of_whoever_brought_the_last_message() {
    let mut desk = with_one_parent();
    desk.asked(1, message(8, 1));
    desk.asked(2, message(7, 1));
    desk.asked(3, have(7, 1));
    desk.asks();
    desk.input(TopicsInput::Unreachable(identity(2).public_key()));
    assert_eq!(wanted(&mut desk), [contact(3)]);
}

#[test]
fn a_parent_that_was_late_once_stays_on_the_tree() {
    let mut desk = with_one_parent();
    passed_on(&mut desk, 9, OWN);
    desk.asked(2, message(9, OWN + 1));
    assert_eq!(desk.asked(1, message(9, OWN + 1)), pushed(false));
    assert_eq!(desk.asked(3, message(9, OWN + 1)), pushed(true), "who is not the parent goes");
    desk.asked(1, message(9, OWN + 2));
    assert_eq!(desk.asked(2, message(9, OWN + 2)), pushed(true), "the other does not stay");
    // Late twice in a row.
    desk.asked(2, message(9, OWN + 3));
    desk.asked(2, message(9, OWN + 4));
    assert_eq!(desk.asked(1, message(9, OWN + 4)), pushed(true));
    // Of many in one push the more decide.
    let mut desk = with_one_parent();
    passed_on(&mut desk, 9, OWN);
    let messages = |from: u64, to: u64| {
        let one = |sequence| match message(9, sequence) {
            SpreadAct::Push { messages } => messages,
            other => panic!("no push: {other:?}"),
        };
        SpreadAct::Push { messages: (from..=to).flat_map(one).collect() }
    };
    desk.asked(2, messages(OWN + 1, OWN + 4));
    desk.asked(1, messages(OWN + 5, OWN + 6));
    let prune = SpreadAnswer::Pushed { prune: 0b111, busy: false };
    assert_eq!(desk.asked(1, messages(OWN + 2, OWN + 4)), prune);
    // Now it is no parent any more, and the next that brings something is.
    desk.asked(2, message(9, OWN + 7));
    desk.asked(3, message(9, OWN + 8));
    assert_eq!(desk.asked(2, message(9, OWN + 8)), pushed(false));
}

#[test]
fn who_named_a_message_takes_over_when_the_parent_goes() {
    let mut desk = with_one_parent();
    desk.asked(1, message(9, OWN));
    desk.asked(3, have(9, OWN));
    desk.asked(2, have(9, OWN));
    desk.asks();
    desk.input(TopicsInput::Unreachable(identity(1).public_key()));
    let grafts = desk.asks().into_iter().filter_map(|(_, to, spread)| match spread.act {
        SpreadAct::Graft { runs, eager: true } => runs.first().map(|run| (to, run.publisher)),
        _ => None,
    });
    assert_eq!(grafts.collect::<Vec<_>>(), [(contact(3), identity(9).public_key())]);
}

#[test]
fn when_two_peers_fall_silent_the_links_of_all_topics_are_looked_at() {
    let mut desk = befriended(Mode::Fleet, 3);
    desk.pass(seconds(2));
    desk.asks();
    let probed = |desk: &mut Desk| {
        desk.asks().iter().filter(|asked| asked.2.act == SpreadAct::Probe).count()
    };
    // Neither of them is in the topic.
    desk.input(TopicsInput::Silent(identity(50).public_key()));
    desk.input(TopicsInput::Silent(identity(50).public_key()));
    assert_eq!(probed(&mut desk), 0, "one of them");
    desk.input(TopicsInput::Silent(identity(51).public_key()));
    assert_eq!(probed(&mut desk), 3);
    desk.input(TopicsInput::Silent(identity(52).public_key()));
    assert_eq!(probed(&mut desk), 0, "they are being asked");
}

#[test]
fn a_publisher_whose_own_tree_is_pruned_by_all_pushes_to_somebody() {
    let mut desk = befriended(Mode::Fleet, 3);
    for round in 1..=OWN + 9 {
        desk.publish(round, 10);
        let asks: Vec<Asked> = desk.asks().into_iter().filter(|asked| is_push(&asked)).collect();
        assert!(!asks.is_empty(), "round {round}");
        asks.iter().for_each(|(ask, ..)| desk.answer(*ask, pushed(true)));
    }
}

#[test]
fn a_publisher_that_loses_the_one_link_of_its_tree_pushes_over_another() {
    for lose in [TopicsInput::Left, TopicsInput::Unreachable] {
        let mut desk = befriended(Mode::Fleet, 4);
        let pushed_to = |desk: &mut Desk, round| {
            desk.publish(round, 10);
            let asks = desk.asks().into_iter().filter(|asked| is_push(&asked));
            let asks: Vec<(SpreadAskId, Contact)> = asks.map(|(ask, to, _)| (ask, to)).collect();
            for (ask, to) in &asks {
                // The first takes what runs along the publisher's tree, the second all the rest.
                let child = if round < OWN { contact(2) } else { contact(1) };
                desk.answer(*ask, pushed(*to != child));
            }
            asks.into_iter().map(|(_, to)| to).collect::<Vec<_>>()
        };
        for round in 1..OWN {
            pushed_to(&mut desk, round);
        }
        desk.pass(seconds(1));
        desk.asks();
        pushed_to(&mut desk, OWN);
        assert_eq!(pushed_to(&mut desk, OWN + 1), [contact(1)]);
        desk.input(lose(contact(1).public_key));
        desk.asks();
        assert_eq!(pushed_to(&mut desk, OWN + 2).len(), 1);
    }
}

#[test]
fn that_this_node_was_impatient_is_not_the_trees_fault() {
    let mut desk = befriended(Mode::Fleet, 2);
    desk.asked(2, have(9, 1));
    desk.pass(seconds(1));
    assert_eq!(desk.asked(2, message(9, 1)), pushed(false));
    assert_eq!(desk.topics.stats().repaired, 1);
    assert_eq!(desk.asked(1, message(9, 1)), pushed(false), "a copy of what was asked for");
}

#[test]
fn whoever_prunes_the_last_link_of_the_tree_takes_another() {
    let mut desk = befriended(Mode::Fleet, 2);
    desk.asked(1, message(9, 1));
    assert_eq!(desk.asked(2, message(9, 1)), pushed(true));
    desk.asked(2, message(9, 2));
    desk.asks();
    assert_eq!(desk.asked(1, message(9, 2)), pushed(true));
    assert_eq!(wanted(&mut desk), [contact(2)]);
}

#[test]
fn a_publisher_that_is_pruned_by_all_pushes_to_somebody() {
    let mut desk = befriended(Mode::Fleet, 3);
    for round in 1..=9 {
        desk.publish(round, 10);
        let asks: Vec<Asked> = desk.asks().into_iter().filter(|asked| is_push(&asked)).collect();
        assert!(!asks.is_empty(), "round {round}");
        asks.iter().for_each(|(ask, ..)| desk.answer(*ask, pushed(true)));
    }
    assert_eq!(desk.topics.stats().active_eager, 1);
}

#[test]
fn a_node_whose_queues_fill_up_says_so() {
    let config = TopicsConfig { verify: false, queue_messages: 40, ..TopicsConfig::default() };
    let mut desk = Desk::new(TopicsConfig { mode: Mode::Fleet, window: 1, ..config });
    desk.input(TopicsInput::Subscribe(topic()));
    assert!(desk.befriend(1) && desk.befriend(2));
    let busy: Vec<bool> = (1..=30)
        .map(|sequence| desk.asked(1, message(9, sequence)))
        .map(|answer| matches!(answer, SpreadAnswer::Pushed { busy: true, .. }))
        .collect();
    // One is on its way, and a quarter of the queue may wait.
    assert_eq!(busy.iter().position(|busy| *busy), Some(11));
}

#[test]
fn this_nodes_own_publishers_stay_within_four_fifths_of_what_strangers_allow() {
    let mut desk = befriended(Mode::Open, 1);
    let answer_all = |desk: &mut Desk| {
        while let Some((ask, ..)) = desk.asks().iter().find(is_push).cloned() {
            desk.answer(ask, pushed(false));
        }
    };
    (0..200).for_each(|number| desk.publish(number, 10));
    answer_all(&mut desk);
    assert_eq!(published(&desk), 41);
    for _ in 0..100 {
        desk.pass(100 * MILLISECOND);
        answer_all(&mut desk);
    }
    assert!((135..=145).contains(&published(&desk)), "{} in ten seconds", published(&desk));
}

#[test]
fn a_neighbour_may_ask_for_eight_thousand_messages_at_once() {
    let mut desk = befriended(Mode::Fleet, 1);
    for number in 0..100 {
        desk.publish(number, 10);
        for (ask, ..) in desk.asks() {
            desk.answer(ask, pushed(false));
        }
    }
    let publisher = identity(0).public_key();
    let runs = vec![IdRun { publisher, incarnation: 1, first: 1, count: 100 }];
    let mut lacked = 0;
    for _ in 0..100 {
        let act = SpreadAct::Graft { runs: runs.clone(), eager: false };
        let SpreadAnswer::Grafted { lacking } = desk.asked(1, act) else { panic!("no graft") };
        lacked += lacking;
        while let Some(asked) = Some(desk.asks()).filter(|asks| !asks.is_empty()) {
            asked.iter().for_each(|(ask, ..)| desk.answer(*ask, pushed(false)));
        }
        desk.outputs.clear();
    }
    assert_eq!(lacked, 2_000);
}

#[test]
fn an_idle_topic_keeps_its_messages_for_ten_minutes_too() {
    let mut desk = befriended(Mode::Fleet, 1);
    desk.publish(1, 10);
    desk.pass(seconds(590));
    assert_eq!(desk.topics.stats().history_messages, 1);
    desk.pass(seconds(60));
    assert_eq!((desk.topics.stats().history_messages, desk.topics.stats().history_bytes), (0, 0));
}

#[test]
fn the_topic_that_keeps_most_makes_room() {
    let config = TopicsConfig { history_bytes: 16_384, verify: false, ..TopicsConfig::default() };
    let mut desk = Desk::new(TopicsConfig { mode: Mode::Fleet, ..config });
    let quiet = TopicName::new("quiet").expect("a name");
    for name in [topic(), quiet.clone()] {
        desk.input(TopicsInput::Subscribe(name));
    }
    desk.pass(seconds(6));
    let (publish, payload) = (PublishId(1), Bytes::from_static(b"kept"));
    desk.input(TopicsInput::Publish { publish, topic: quiet.clone(), payload });
    (2..50).for_each(|number| desk.publish(number, 1_000));
    let nothing = MessageId { publisher: identity(0).public_key(), incarnation: 1, sequence: 0 };
    assert_eq!(desk.topics.backlog(&quiet, Some(nothing)).0.len(), 1);
    assert!(desk.topics.stats().history_bytes <= 16_384);
}

#[test]
fn no_sequence_is_used_twice_however_many_topics_were_left() {
    let mut desk = Desk::new(TopicsConfig { verify: false, ..TopicsConfig::default() });
    let publish = |desk: &mut Desk, number: u64| {
        let topic = TopicName::new(format!("topic {number}")).expect("a name");
        let (publish, payload) = (PublishId(number), Bytes::from_static(b"x"));
        desk.input(TopicsInput::Publish { publish, topic, payload });
    };
    (0..3).for_each(|_| publish(&mut desk, 0));
    desk.pass(seconds(70));
    for first in (1..=1_030).step_by(60) {
        (first..first + 60).for_each(|number| publish(&mut desk, number));
        desk.pass(seconds(70));
        desk.outputs.clear();
    }
    assert_eq!(desk.topics.stats().topics, 1);
    desk.outputs.clear();
    publish(&mut desk, 0);
    desk.pass(seconds(6));
    let sequence = desk.outputs.iter().find_map(|output| match output {
        TopicsOutput::Published { message, .. } => Some(message.sequence),
        _ => None,
    });
    assert!(sequence >= Some(4), "{sequence:?}");
}
