//! Forward joins and shuffles: the contacts that they bring, and their limits.

use potluck_wire::{TopicRequest, TopicResponse};

use super::harness::{Harness, SentRequest, contact};
use super::net::seconds;
use super::*;

/// Contacts in the passive view of the tests' topic.
fn contacts(harness: &Harness) -> usize {
    let stats = harness.topics.stats();
    stats.passive - stats.system_passive
}

/// A node of a fleet with this many neighbours, numbered from 1.
fn connected(neighbours: u8) -> Harness {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!((1..=neighbours).all(|number| harness.connect(number)));
    harness.asks();
    harness
}

fn shuffle(origin: u8, hops: u8, told: u8) -> TopicRequest {
    let contacts = (200..200 + told).map(contact).collect();
    TopicRequest::Shuffle { origin: contact(origin), nonce: 1, hops, contacts }
}

fn shuffle_replies(asks: &[SentRequest]) -> usize {
    let is_one = |asked: &&SentRequest| matches!(asked.2.body, TopicRequest::ShuffleReply { .. });
    asks.iter().filter(is_one).count()
}

/// The nonce of this node's next shuffle.
fn own_shuffle(harness: &mut Harness) -> u64 {
    harness.asks();
    for _ in 0..100 {
        harness.advance(seconds(1));
        for (.., request) in harness.asks() {
            if let TopicRequest::Shuffle { nonce, .. } = request.body {
                return nonce;
            }
        }
    }
    panic!("no shuffle");
}

#[test]
fn one_neighbour_has_forty_requests_relayed_at_once_and_four_a_second() {
    let mut harness = connected(2);
    let mut sent = Vec::new();
    for pause in [0, 0, 1] {
        harness.advance(seconds(pause));
        harness.asks();
        for round in 0..30 {
            harness.asked(1, shuffle(50 + round, 6, 0));
            harness.asked(1, TopicRequest::ForwardJoin { joiner: contact(100 + round), hops: 6 });
        }
        let relay = |asked: &&SentRequest| match &asked.2.body {
            TopicRequest::Shuffle { origin, .. } => *origin != contact(0),
            TopicRequest::ForwardJoin { .. } | TopicRequest::Neighbour { .. } => true,
            _ => false,
        };
        sent.push(harness.asks().iter().filter(relay).count());
    }
    assert_eq!(sent, [40, 0, 4]);
    assert_eq!(harness.topics.stats().shuffles_refused, 20 + 60 + 56);
}

#[test]
fn all_neighbours_together_make_this_node_ask_sixty_strangers_at_once_and_twenty_a_second() {
    let mut harness = connected(6);
    let mut asked = Vec::new();
    for pause in [0, 1] {
        harness.advance(seconds(pause));
        harness.asks();
        for neighbour in 1..=6 {
            (0..40).for_each(|round| {
                harness.asked(neighbour, shuffle(50 + round, 0, 0));
            });
        }
        asked.push(shuffle_replies(&harness.asks()));
    }
    assert_eq!(asked, [60, 20]);
}

#[test]
fn forward_joins_cause_no_link_requests_beyond_the_relay_budget() {
    let mut harness = connected(3);
    // The relay budget of this second is used up.
    for neighbour in 1..=2 {
        (0..30).for_each(|_| {
            harness.asked(neighbour, shuffle(3, 0, 0));
        });
    }
    let (walk, before) =
        (TopicRequest::ForwardJoin { joiner: contact(100), hops: 0 }, contacts(&harness));
    harness.asked(3, walk.clone());
    assert_eq!(
        contacts(&harness),
        before + 1,
        "added to the passive view instead of being asked at once"
    );
    let mut harness = connected(3);
    harness.asked(3, walk);
    let is_link = |asked: &SentRequest| matches!(asked.2.body, TopicRequest::Neighbour { .. });
    assert!(harness.asks().iter().any(is_link));
    assert_eq!(contacts(&harness), 0, "asked at once");
}

#[test]
fn no_forward_join_and_no_shuffle_takes_more_than_six_hops() {
    let mut harness = connected(6);
    harness.asked(1, shuffle(50, 255, 0));
    harness.asked(1, TopicRequest::ForwardJoin { joiner: contact(60), hops: 255 });
    let mut hops_left = Vec::new();
    for (.., request) in harness.asks() {
        match request.body {
            TopicRequest::Shuffle { hops, .. } | TopicRequest::ForwardJoin { hops, .. } => {
                hops_left.push(hops);
            }
            _ => {}
        }
    }
    assert_eq!(hops_left, [5, 5]);
}

#[test]
fn a_shuffle_goes_on_with_six_contacts() {
    let mut harness = connected(6);
    harness.asked(1, shuffle(50, 3, 20));
    let told = harness.asks().into_iter().find_map(|(.., request)| match request.body {
        TopicRequest::Shuffle { contacts, .. } => Some(contacts.len()),
        _ => None,
    });
    assert_eq!(told, Some(6));
}

#[test]
fn one_shuffle_teaches_six_contacts_and_its_origin() {
    let mut harness = connected(6);
    harness.asked(1, shuffle(50, 0, 20));
    assert_eq!(contacts(&harness), 7);
    harness.asked(1, shuffle(51, 0, 20));
    assert_eq!(contacts(&harness), 8, "and one neighbour eight");
    let nonce = own_shuffle(&mut harness);
    let contacts_told = (220..240).map(contact).collect();
    harness.asked(2, TopicRequest::ShuffleReply { nonce, contacts: contacts_told });
    // Neighbours are no contacts.
    assert_eq!(contacts(&harness), 8 + 6);
}

#[test]
fn a_shuffle_reply_is_accepted_once_and_for_half_a_minute() {
    let answer =
        |nonce, told: u8| TopicRequest::ShuffleReply { nonce, contacts: vec![contact(told)] };
    let mut harness = connected(6);
    let nonce = own_shuffle(&mut harness);
    assert_eq!(harness.asked(50, answer(nonce + 1, 201)), TopicResponse::Ack);
    assert_eq!((contacts(&harness), harness.topics.stats().shuffles_refused), (0, 1));
    harness.asked(50, answer(nonce, 202));
    assert_eq!((contacts(&harness), harness.topics.stats().shuffles_refused), (2, 1));
    harness.asked(51, answer(nonce, 203));
    assert_eq!((contacts(&harness), harness.topics.stats().shuffles_refused), (2, 2));

    // Later shuffles are a minute apart.
    let mut harness = connected(6);
    harness.advance(seconds(140));
    let nonce = own_shuffle(&mut harness);
    harness.advance(seconds(31));
    harness.asked(50, answer(nonce, 202));
    assert_eq!((contacts(&harness), harness.topics.stats().shuffles_refused), (0, 1));
}
