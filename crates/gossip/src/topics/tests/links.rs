//! Which link requests are granted, which links are dropped, and which contacts are asked.

use potluck_wire::{DisconnectCause, InTopic, TopicRequest, TopicResponse};

use super::harness::{Harness, SentRequest, contact, identity};
use super::net::{seconds, topic};
use super::*;

fn low_priority() -> TopicRequest {
    TopicRequest::Neighbour { high_priority: false, age_ms: 600_000 }
}

fn is_accepted(answer: &TopicResponse) -> bool {
    matches!(answer, TopicResponse::Accepted { .. })
}

/// A node in a public subnet.
fn at(number: u8, ip: &str) -> Contact {
    let address = SocketAddr::new(ip.parse().expect("an address"), 4_000);
    Contact::new(identity(number).public_key(), address)
}

/// Whether this link request is granted.
fn grants(harness: &mut Harness, from: Contact, body: TopicRequest) -> bool {
    let request = InTopic { topic: topic().id(), body };
    harness.input(TopicsInput::Asked { serve: TopicServeId(9), from, request });
    let is_answer = |output: &TopicsOutput| matches!(output, TopicsOutput::Answer { .. });
    let place = harness.outputs.iter().position(is_answer).expect("an answer");
    match harness.outputs.remove(place) {
        TopicsOutput::Answer { answer, .. } => is_accepted(&answer),
        other => unreachable!("{other:?}"),
    }
}

fn found(harness: &mut Harness, contacts: Vec<Contact>) {
    harness.input(TopicsInput::Found { topic: topic().id(), contacts });
}

/// The link requests that this node sent.
fn attempts(harness: &mut Harness) -> Vec<SentRequest> {
    let mut asks = harness.asks();
    asks.retain(|(.., request)| matches!(request.body, TopicRequest::Neighbour { .. }));
    asks
}

/// The neighbours that this node disconnected to make room.
fn sent_away(harness: &mut Harness) -> Vec<Contact> {
    let room = |body: &TopicRequest| {
        matches!(body, TopicRequest::Disconnect { cause: DisconnectCause::Room, .. })
    };
    let asks = harness.asks().into_iter().filter(|(.., request)| room(&request.body));
    asks.map(|(_, to, _)| to).collect()
}

fn links(harness: &Harness) -> usize {
    harness.topics.neighbours_in(&topic()).len()
}

/// Contacts in the passive view of the tests' topic.
fn contacts(harness: &Harness) -> usize {
    let stats = harness.topics.stats();
    stats.passive - stats.system_passive
}

#[test]
fn half_of_the_active_view_is_reserved_for_this_nodes_own_choice() {
    for (known, granted) in [(0, 7), (20, 4)] {
        let mut harness = Harness::subscribed(Mode::Fleet);
        found(&mut harness, (100..100 + known).map(contact).collect());
        let accepted =
            (1..=12).filter(|number| grants(&mut harness, contact(*number), low_priority()));
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
            let mut harness = Harness::subscribed(mode);
            let mut number = 0;
            let granted = [first, second, third, elsewhere].map(|ip| {
                number += 1;
                grants(&mut harness, at(number, ip), low_priority())
            });
            assert_eq!(granted, expected, "{first} in {mode:?}");
        }
    }
}

#[test]
fn a_link_of_this_nodes_own_into_a_full_subnet_is_given_up() {
    let mut harness = Harness::subscribed(Mode::Open);
    found(&mut harness, vec![at(1, "9.9.9.1")]);
    let asked = attempts(&mut harness);
    assert!(grants(&mut harness, at(2, "9.9.9.2"), low_priority()));
    assert!(grants(&mut harness, at(3, "9.9.9.3"), low_priority()));
    harness.answer(asked[0].0, TopicResponse::Accepted { age_ms: 0 });
    assert_eq!(sent_away(&mut harness), [at(1, "9.9.9.1")]);
    assert_eq!(links(&harness), 2);
}

#[test]
fn a_link_of_this_nodes_own_beyond_all_places_is_given_up() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    found(&mut harness, vec![contact(50)]);
    let asked = attempts(&mut harness);
    assert!((1..=9).all(|number| harness.connect(number)));
    harness.answer(asked[0].0, TopicResponse::Accepted { age_ms: 0 });
    assert_eq!((sent_away(&mut harness), links(&harness)), (vec![contact(50)], 9));
}

#[test]
fn one_public_subnet_gets_two_places_among_the_contacts() {
    let mut harness = Harness::subscribed(Mode::Open);
    let subnet = (1..=30).map(|number| at(number, &format!("9.9.9.{number}"))).collect();
    found(&mut harness, subnet);
    assert_eq!(contacts(&harness), 2);
}

#[test]
fn links_beyond_the_limit_stay_for_half_a_minute() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!((1..=9).all(|number| harness.connect(number)));
    harness.advance(seconds(23));
    assert_eq!(links(&harness), 9);
    harness.advance(seconds(14));
    assert_eq!(links(&harness), 6);
}

#[test]
fn neither_end_makes_a_link_again_in_the_minute_after_one_made_room() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1) && harness.connect(2));
    let body = TopicRequest::Disconnect { cause: DisconnectCause::Room, others: Vec::new() };
    harness.asked(1, body.clone());
    harness.asks();
    harness.advance(seconds(59));
    assert!(attempts(&mut harness).is_empty() && !grants(&mut harness, contact(1), low_priority()));
    harness.advance(seconds(2));
    assert_eq!(attempts(&mut harness)[0].1, contact(1));
    // Without any other link it does so at once.
    harness.asked(2, body);
    harness.advance(seconds(3));
    assert!(attempts(&mut harness).iter().any(|asked| asked.1 == contact(2)));

    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!((1..=10).all(|number| harness.connect(number)));
    let away = sent_away(&mut harness);
    assert_eq!(away.len(), 1);
    harness.advance(seconds(59));
    assert!(!grants(&mut harness, away[0], low_priority()), "nor a peer that this node evicted");
    harness.advance(seconds(2));
    assert!(grants(&mut harness, away[0], low_priority()));
}

#[test]
fn a_disconnect_teaches_four_contacts_and_only_a_neighbours_does() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    let part = |first: u8| TopicRequest::Disconnect {
        cause: DisconnectCause::Left,
        others: (first..first + 20).map(contact).collect(),
    };
    assert_eq!(harness.asked(1, part(100)), TopicResponse::Ack);
    assert_eq!(contacts(&harness), 0, "a stranger's");
    let mut taught = Vec::new();
    for round in 0..3 {
        assert!(harness.connect(1));
        harness.asked(1, part(100 + 20 * round));
        taught.push(contacts(&harness));
    }
    assert_eq!(taught, [4, 8, 8], "no node fills more than eight places");
}

#[test]
fn a_declining_node_teaches_four_contacts_and_eight_at_most() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    found(&mut harness, vec![contact(1)]);
    let mut taught = Vec::new();
    for round in 0..3 {
        let asked = attempts(&mut harness);
        let (ask, ..) = asked.iter().find(|asked| asked.1 == contact(1)).expect("asked").clone();
        let others = (100 + 20 * round..120 + 20 * round).map(contact).collect();
        harness.answer(ask, TopicResponse::Declined { others });
        taught.push(contacts(&harness));
        harness.advance(seconds(40));
    }
    assert_eq!(taught, [5, 9, 9], "itself, and the contacts that it told");
}

#[test]
fn a_node_outside_the_topic_is_no_contact_for_it() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    found(&mut harness, vec![contact(1)]);
    let asked = attempts(&mut harness);
    harness.answer(asked[0].0, TopicResponse::NotNeighbour);
    assert_eq!(contacts(&harness), 0);
}

#[test]
fn one_search_teaches_32_contacts() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    found(&mut harness, (100..200).map(contact).collect());
    assert_eq!(contacts(&harness), 32);
}

#[test]
fn four_links_are_requested_at_once_sixteen_in_all_and_four_times_as_many_without_links() {
    for (neighbours, at_once, in_all) in [(1, 4, 16), (0, 16, 64)] {
        let mut harness = Harness::subscribed(Mode::Fleet);
        (1..=neighbours).for_each(|number| assert!(harness.connect(number)));
        found(&mut harness, (100..132).map(contact).collect());
        let asked = attempts(&mut harness).len();
        found(&mut harness, (132..164).map(contact).collect());
        assert_eq!((asked, attempts(&mut harness).len()), (at_once, 0));
        harness.advance(seconds(9));
        assert_eq!(at_once + attempts(&mut harness).len(), in_all);
    }
}

#[test]
fn after_four_refusals_in_a_row_there_is_a_pause() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    found(&mut harness, (100..132).map(contact).collect());
    for (ask, ..) in attempts(&mut harness) {
        harness.answer(ask, TopicResponse::Declined { others: Vec::new() });
    }
    assert_eq!(attempts(&mut harness).len(), 3, "until the fourth declined");
    harness.advance(seconds(3));
    assert!(!attempts(&mut harness).is_empty());
}

#[test]
fn a_node_without_links_keeps_sixteen_silent_contacts_and_asks_them_again() {
    for (neighbours, cached) in [(0, 16), (1, 0)] {
        let mut harness = Harness::subscribed(Mode::Fleet);
        (1..=neighbours).for_each(|number| assert!(harness.connect(number)));
        found(&mut harness, (100..132).map(contact).collect());
        let mut failed = 0;
        for _ in 0..100 {
            for (ask, ..) in attempts(&mut harness) {
                harness.input(TopicsInput::Failed(ask));
                failed += 1;
            }
        }
        assert_eq!((failed, contacts(&harness)), (32, cached));
        harness.advance(seconds(4));
        assert_eq!(attempts(&mut harness).len(), 0, "not before five seconds");
        harness.advance(seconds(2));
        assert_eq!(attempts(&mut harness).len(), cached);
    }
}

#[test]
fn a_high_priority_joiner_causes_three_forward_joins_and_another_one_none() {
    for (high_priority, walks) in [(true, 3), (false, 0)] {
        let mut harness = Harness::subscribed(Mode::Fleet);
        assert!(harness.connect(1) && harness.connect(2));
        harness.asks();
        let body = TopicRequest::Neighbour { high_priority, age_ms: 0 };
        assert!(grants(&mut harness, contact(3), body));
        let walk = TopicRequest::ForwardJoin { joiner: contact(3), hops: 6 };
        let asks = harness.asks();
        let sent = asks.iter().filter(|(_, to, request)| request.body == walk && *to != contact(3));
        assert_eq!(sent.count(), walks);
    }
}

#[test]
fn an_ignored_node_is_neither_learned_nor_asked() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!((1..=6).all(|number| harness.connect(number)));
    found(&mut harness, vec![contact(50)]);
    assert_eq!(contacts(&harness), 1);
    // In another topic it sends unsolicited shuffle replies.
    for nonce in 0..25 {
        let body = TopicRequest::ShuffleReply { nonce, contacts: Vec::new() };
        harness.asked_in(50, TopicName::system().id(), body);
    }
    harness.asks();
    (1..=4).for_each(|number| harness.input(TopicsInput::Unreachable(contact(number).public_key)));
    harness.advance(seconds(30));
    assert!(attempts(&mut harness).is_empty());
    harness.input(TopicsInput::Unreachable(contact(50).public_key));
    found(&mut harness, vec![contact(50), contact(51)]);
    assert_eq!(contacts(&harness), 1, "only the other node");
    harness.advance(seconds(601));
    found(&mut harness, vec![contact(50)]);
    assert_eq!(contacts(&harness), 2, "forgiven after ten minutes");
}

#[test]
fn an_answer_makes_no_link_with_a_node_ignored_since() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    found(&mut harness, vec![contact(50)]);
    let asked = attempts(&mut harness);
    for nonce in 0..25 {
        harness.asked(50, TopicRequest::ShuffleReply { nonce, contacts: Vec::new() });
    }
    harness.answer(asked[0].0, TopicResponse::Accepted { age_ms: 0 });
    assert_eq!((links(&harness), contacts(&harness)), (0, 0));
}

#[test]
fn a_failed_check_drops_no_neighbour_heard_from_meanwhile() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    harness.asks();
    (1..=3).for_each(|number| harness.publish(number, 900));
    let pushes = harness.asks();
    let answer = TopicResponse::GossipAck { prune: 0, busy: false };
    harness.input(TopicsInput::Failed(pushes[0].0));
    let check = harness.asks()[0].0;
    harness.answer(pushes[1].0, answer);
    harness.input(TopicsInput::Failed(check));
    assert_eq!((links(&harness), harness.topics.stats().active_doubted), (1, 0));
    // Nor is a neighbour checked for a probe that was not sent.
    harness.asks();
    harness.input(TopicsInput::Failed(pushes[2].0));
    assert_eq!(harness.topics.stats().active_doubted, 1);
    let check = harness.asks()[0].0;
    harness.input(TopicsInput::Unsent(check));
    assert_eq!((links(&harness), harness.topics.stats().active_doubted), (1, 0));
}

#[test]
fn a_node_without_links_asks_contacts_that_declined_before() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    found(&mut harness, (2..=9).map(contact).collect());
    let mut asked = 0;
    for _ in 0..40 {
        for (ask, ..) in attempts(&mut harness) {
            asked += 1;
            harness.answer(ask, TopicResponse::Declined { others: Vec::new() });
        }
        harness.advance(seconds(1));
    }
    assert!(asked >= 8, "all have declined: {asked}");
    harness.input(TopicsInput::Unreachable(contact(1).public_key));
    assert!(attempts(&mut harness).is_empty(), "it does not ask in a loop");
    harness.advance(seconds(2));
    let again = attempts(&mut harness);
    assert!(again.len() >= 7, "{} of those that declined", again.len());
}
