//! Which links are granted, which go, and who is asked for one.

use potluck_wire::{PartCause, Spread, SpreadAct, SpreadAnswer};

use super::net::{seconds, topic};
use super::script::{Asked, Desk, contact, identity};
use super::*;

fn polite() -> SpreadAct {
    SpreadAct::Neighbour { urgent: false, age_ms: 600_000 }
}

fn is_accepted(answer: &SpreadAnswer) -> bool {
    matches!(answer, SpreadAnswer::Accepted { .. })
}

/// A node in a public subnet.
fn at(number: u8, ip: &str) -> Contact {
    let address = SocketAddr::new(ip.parse().expect("an address"), 4_000);
    Contact::new(identity(number).public_key(), address)
}

/// Whether a link that is asked for so is granted.
fn grants(desk: &mut Desk, from: Contact, act: SpreadAct) -> bool {
    let spread = Spread { topic: topic().id(), act };
    desk.input(TopicsInput::Asked { serve: SpreadServeId(9), from, spread });
    let is_answer = |output: &TopicsOutput| matches!(output, TopicsOutput::Answer { .. });
    let place = desk.outputs.iter().position(is_answer).expect("an answer");
    match desk.outputs.remove(place) {
        TopicsOutput::Answer { answer, .. } => is_accepted(&answer),
        other => unreachable!("{other:?}"),
    }
}

fn found(desk: &mut Desk, contacts: Vec<Contact>) {
    desk.input(TopicsInput::Found { topic: topic().id(), contacts });
}

/// The requests for links of this node's own.
fn attempts(desk: &mut Desk) -> Vec<Asked> {
    let mut asks = desk.asks();
    asks.retain(|(.., spread)| matches!(spread.act, SpreadAct::Neighbour { .. }));
    asks
}

/// Whom this node sent away to make room.
fn sent_away(desk: &mut Desk) -> Vec<Contact> {
    let room = |act: &SpreadAct| matches!(act, SpreadAct::Part { cause: PartCause::Room, .. });
    let asks = desk.asks().into_iter().filter(|(.., spread)| room(&spread.act));
    asks.map(|(_, to, _)| to).collect()
}

fn links(desk: &Desk) -> usize {
    desk.topics.neighbours_in(&topic()).len()
}

/// Contacts of the topic of the tests.
fn contacts(desk: &Desk) -> usize {
    let stats = desk.topics.stats();
    stats.passive - stats.system_passive
}

#[test]
fn half_of_the_places_are_kept_for_links_of_this_nodes_own_choice() {
    for (known, granted) in [(0, 7), (20, 4)] {
        let mut desk = Desk::subscribed(Mode::Fleet);
        found(&mut desk, (100..100 + known).map(contact).collect());
        let accepted = (1..=12).filter(|number| grants(&mut desk, contact(*number), polite()));
        // The last one costs a link, once in a while.
        assert_eq!(accepted.count(), granted, "with {known} contacts");
    }
}

#[test]
fn two_links_at_most_go_into_one_public_subnet() {
    let subnets = [
        ("9.9.9.1", "9.9.9.2", "9.9.9.3", "9.9.8.1"),
        ("2001:db8:1::1", "2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:2::1"),
    ];
    for (first, second, third, elsewhere) in subnets {
        for (mode, expected) in [(Mode::Open, [true, true, false, true]), (Mode::Fleet, [true; 4])]
        {
            let mut desk = Desk::subscribed(mode);
            let mut number = 0;
            let granted = [first, second, third, elsewhere].map(|ip| {
                number += 1;
                grants(&mut desk, at(number, ip), polite())
            });
            assert_eq!(granted, expected, "{first} in {mode:?}");
        }
    }
}

#[test]
fn a_link_of_this_nodes_own_into_a_full_subnet_is_given_up() {
    let mut desk = Desk::subscribed(Mode::Open);
    found(&mut desk, vec![at(1, "9.9.9.1")]);
    let asked = attempts(&mut desk);
    assert!(grants(&mut desk, at(2, "9.9.9.2"), polite()));
    assert!(grants(&mut desk, at(3, "9.9.9.3"), polite()));
    desk.answer(asked[0].0, SpreadAnswer::Accepted { age_ms: 0 });
    assert_eq!(sent_away(&mut desk), [at(1, "9.9.9.1")]);
    assert_eq!(links(&desk), 2);
}

#[test]
fn a_link_of_this_nodes_own_beyond_all_places_is_given_up() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    found(&mut desk, vec![contact(50)]);
    let asked = attempts(&mut desk);
    assert!((1..=9).all(|number| desk.befriend(number)));
    desk.answer(asked[0].0, SpreadAnswer::Accepted { age_ms: 0 });
    assert_eq!((sent_away(&mut desk), links(&desk)), (vec![contact(50)], 9));
}

#[test]
fn one_public_subnet_gets_two_places_among_the_contacts() {
    let mut desk = Desk::subscribed(Mode::Open);
    let subnet = (1..=30).map(|number| at(number, &format!("9.9.9.{number}"))).collect();
    found(&mut desk, subnet);
    assert_eq!(contacts(&desk), 2);
}

#[test]
fn links_beyond_the_limit_stay_for_half_a_minute() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!((1..=9).all(|number| desk.befriend(number)));
    desk.pass(seconds(23));
    assert_eq!(links(&desk), 9);
    desk.pass(seconds(14));
    assert_eq!(links(&desk), 6);
}

#[test]
fn neither_end_makes_a_link_again_in_the_minute_after_one_made_room() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1) && desk.befriend(2));
    let act = SpreadAct::Part { cause: PartCause::Room, others: Vec::new() };
    desk.asked(1, act.clone());
    desk.asks();
    desk.pass(seconds(59));
    assert!(attempts(&mut desk).is_empty() && !grants(&mut desk, contact(1), polite()));
    desk.pass(seconds(2));
    assert_eq!(attempts(&mut desk)[0].1, contact(1));
    // Without any other link it does so at once.
    desk.asked(2, act);
    desk.pass(seconds(3));
    assert!(attempts(&mut desk).iter().any(|asked| asked.1 == contact(2)));

    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!((1..=10).all(|number| desk.befriend(number)));
    let away = sent_away(&mut desk);
    assert_eq!(away.len(), 1);
    desk.pass(seconds(59));
    assert!(!grants(&mut desk, away[0], polite()), "nor whom this node sent away");
    desk.pass(seconds(2));
    assert!(grants(&mut desk, away[0], polite()));
}

#[test]
fn a_good_bye_teaches_four_contacts_and_only_a_neighbours_does() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    let part = |first: u8| SpreadAct::Part {
        cause: PartCause::Left,
        others: (first..first + 20).map(contact).collect(),
    };
    assert_eq!(desk.asked(1, part(100)), SpreadAnswer::Taken);
    assert_eq!(contacts(&desk), 0, "a stranger's");
    let mut taught = Vec::new();
    for round in 0..3 {
        assert!(desk.befriend(1));
        desk.asked(1, part(100 + 20 * round));
        taught.push(contacts(&desk));
    }
    assert_eq!(taught, [4, 8, 8], "nobody fills more than eight places");
}

#[test]
fn who_declines_teaches_four_contacts_and_eight_at_most() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    found(&mut desk, vec![contact(1)]);
    let mut taught = Vec::new();
    for round in 0..3 {
        let asked = attempts(&mut desk);
        let (ask, ..) = asked.iter().find(|asked| asked.1 == contact(1)).expect("asked").clone();
        let others = (100 + 20 * round..120 + 20 * round).map(contact).collect();
        desk.answer(ask, SpreadAnswer::Declined { others });
        taught.push(contacts(&desk));
        desk.pass(seconds(40));
    }
    assert_eq!(taught, [5, 9, 9], "itself, and what it told");
}

#[test]
fn who_is_not_in_the_topic_is_no_contact_for_it() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    found(&mut desk, vec![contact(1)]);
    let asked = attempts(&mut desk);
    desk.answer(asked[0].0, SpreadAnswer::NotNeighbour);
    assert_eq!(contacts(&desk), 0);
}

#[test]
fn one_search_teaches_32_contacts() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    found(&mut desk, (100..200).map(contact).collect());
    assert_eq!(contacts(&desk), 32);
}

#[test]
fn four_are_asked_at_once_sixteen_in_all_and_four_times_as_many_by_a_node_alone() {
    for (neighbours, at_once, in_all) in [(1, 4, 16), (0, 16, 64)] {
        let mut desk = Desk::subscribed(Mode::Fleet);
        (1..=neighbours).for_each(|number| assert!(desk.befriend(number)));
        found(&mut desk, (100..132).map(contact).collect());
        let asked = attempts(&mut desk).len();
        found(&mut desk, (132..164).map(contact).collect());
        assert_eq!((asked, attempts(&mut desk).len()), (at_once, 0));
        desk.pass(seconds(9));
        assert_eq!(at_once + attempts(&mut desk).len(), in_all);
    }
}

#[test]
fn after_four_refusals_in_a_row_there_is_a_pause() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    found(&mut desk, (100..132).map(contact).collect());
    for (ask, ..) in attempts(&mut desk) {
        desk.answer(ask, SpreadAnswer::Declined { others: Vec::new() });
    }
    assert_eq!(attempts(&mut desk).len(), 3, "until the fourth");
    desk.pass(seconds(3));
    assert!(!attempts(&mut desk).is_empty());
}

#[test]
fn who_hears_nobody_keeps_sixteen_silent_contacts_and_asks_them_again() {
    for (neighbours, kept) in [(0, 16), (1, 0)] {
        let mut desk = Desk::subscribed(Mode::Fleet);
        (1..=neighbours).for_each(|number| assert!(desk.befriend(number)));
        found(&mut desk, (100..132).map(contact).collect());
        let mut failed = 0;
        for _ in 0..100 {
            for (ask, ..) in attempts(&mut desk) {
                desk.input(TopicsInput::Failed(ask));
                failed += 1;
            }
        }
        assert_eq!((failed, contacts(&desk)), (32, kept));
        desk.pass(seconds(4));
        assert_eq!(attempts(&mut desk).len(), 0, "not before five seconds");
        desk.pass(seconds(2));
        assert_eq!(attempts(&mut desk).len(), kept);
    }
}

#[test]
fn an_urgent_joiner_is_sent_on_three_walks_and_a_polite_one_on_none() {
    for (urgent, walks) in [(true, 3), (false, 0)] {
        let mut desk = Desk::subscribed(Mode::Fleet);
        assert!(desk.befriend(1) && desk.befriend(2));
        desk.asks();
        let act = SpreadAct::Neighbour { urgent, age_ms: 0 };
        assert!(grants(&mut desk, contact(3), act));
        let walk = SpreadAct::Walk { joiner: contact(3), hops: 6 };
        let asks = desk.asks();
        let sent = asks.iter().filter(|(_, to, spread)| spread.act == walk && *to != contact(3));
        assert_eq!(sent.count(), walks);
    }
}

#[test]
fn whoever_is_ignored_is_neither_learned_nor_asked() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!((1..=6).all(|number| desk.befriend(number)));
    found(&mut desk, vec![contact(50)]);
    assert_eq!(contacts(&desk), 1);
    // In another topic it answers what nobody asked.
    for nonce in 0..25 {
        let act = SpreadAct::Shuffled { nonce, contacts: Vec::new() };
        desk.asked_in(50, TopicName::system().id(), act);
    }
    desk.asks();
    (1..=4).for_each(|number| desk.input(TopicsInput::Unreachable(contact(number).public_key)));
    desk.pass(seconds(30));
    assert!(attempts(&mut desk).is_empty());
    desk.input(TopicsInput::Unreachable(contact(50).public_key));
    found(&mut desk, vec![contact(50), contact(51)]);
    assert_eq!(contacts(&desk), 1, "only the other");
    desk.pass(seconds(601));
    found(&mut desk, vec![contact(50)]);
    assert_eq!(contacts(&desk), 2, "forgiven after ten minutes");
}

#[test]
fn an_answer_makes_no_link_with_whoever_is_ignored_since() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    found(&mut desk, vec![contact(50)]);
    let asked = attempts(&mut desk);
    for nonce in 0..25 {
        desk.asked(50, SpreadAct::Shuffled { nonce, contacts: Vec::new() });
    }
    desk.answer(asked[0].0, SpreadAnswer::Accepted { age_ms: 0 });
    assert_eq!((links(&desk), contacts(&desk)), (0, 0));
}

#[test]
fn a_check_that_failed_drops_nobody_who_was_heard_meanwhile() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    desk.asks();
    (1..=3).for_each(|number| desk.publish(number, 900));
    let pushes = desk.asks();
    let answer = SpreadAnswer::Pushed { prune: 0, busy: false };
    desk.input(TopicsInput::Failed(pushes[0].0));
    let check = desk.asks()[0].0;
    desk.answer(pushes[1].0, answer);
    desk.input(TopicsInput::Failed(check));
    assert_eq!((links(&desk), desk.topics.stats().active_doubted), (1, 0));
    // Nor is anybody doubted for a check that was not sent.
    desk.asks();
    desk.input(TopicsInput::Failed(pushes[2].0));
    assert_eq!(desk.topics.stats().active_doubted, 1);
    let check = desk.asks()[0].0;
    desk.input(TopicsInput::Unsent(check));
    assert_eq!((links(&desk), desk.topics.stats().active_doubted), (1, 0));
}

#[test]
fn whoever_loses_the_last_link_waits_for_nobody_that_declined_before() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    found(&mut desk, (2..=9).map(contact).collect());
    let mut asked = 0;
    for _ in 0..40 {
        for (ask, ..) in attempts(&mut desk) {
            asked += 1;
            desk.answer(ask, SpreadAnswer::Declined { others: Vec::new() });
        }
        desk.pass(seconds(1));
    }
    assert!(asked >= 8, "all have declined: {asked}");
    desk.input(TopicsInput::Unreachable(contact(1).public_key));
    assert!(attempts(&mut desk).is_empty(), "it does not ask in a loop");
    desk.pass(seconds(2));
    let again = attempts(&mut desk);
    assert!(again.len() >= 7, "{} of those that declined", again.len());
}
