//! What walks and shuffles teach, and what they may cost.

use potluck_wire::{SpreadAct, SpreadAnswer};

use super::net::seconds;
use super::script::{Asked, Desk, contact};
use super::*;

/// Contacts of the topic of the tests.
fn contacts(desk: &Desk) -> usize {
    let stats = desk.topics.stats();
    stats.passive - stats.system_passive
}

/// A node of a fleet with so many neighbours, which are its first.
fn befriended(neighbours: u8) -> Desk {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!((1..=neighbours).all(|number| desk.befriend(number)));
    desk.asks();
    desk
}

fn shuffle(origin: u8, hops: u8, told: u8) -> SpreadAct {
    let contacts = (200..200 + told).map(contact).collect();
    SpreadAct::Shuffle { origin: contact(origin), nonce: 1, hops, contacts }
}

fn exchanges(asks: &[Asked]) -> usize {
    let is_one = |asked: &&Asked| matches!(asked.2.act, SpreadAct::Shuffled { .. });
    asks.iter().filter(is_one).count()
}

/// The nonce of this node's next shuffle.
fn own_shuffle(desk: &mut Desk) -> u64 {
    desk.asks();
    for _ in 0..100 {
        desk.pass(seconds(1));
        for (.., spread) in desk.asks() {
            if let SpreadAct::Shuffle { nonce, .. } = spread.act {
                return nonce;
            }
        }
    }
    panic!("no shuffle");
}

#[test]
fn one_neighbour_sends_forty_errands_at_once_and_four_a_second() {
    let mut desk = befriended(2);
    let mut sent = Vec::new();
    for pause in [0, 0, 1] {
        desk.pass(seconds(pause));
        desk.asks();
        for round in 0..30 {
            desk.asked(1, shuffle(50 + round, 6, 0));
            desk.asked(1, SpreadAct::Walk { joiner: contact(100 + round), hops: 6 });
        }
        let errand = |asked: &&Asked| match &asked.2.act {
            SpreadAct::Shuffle { origin, .. } => *origin != contact(0),
            SpreadAct::Walk { .. } | SpreadAct::Neighbour { .. } => true,
            _ => false,
        };
        sent.push(desk.asks().iter().filter(errand).count());
    }
    assert_eq!(sent, [40, 0, 4]);
    assert_eq!(desk.topics.stats().shuffles_refused, 20 + 60 + 56);
}

#[test]
fn all_neighbours_together_make_this_node_ask_sixty_strangers_at_once_and_twenty_a_second() {
    let mut desk = befriended(6);
    let mut asked = Vec::new();
    for pause in [0, 1] {
        desk.pass(seconds(pause));
        desk.asks();
        for neighbour in 1..=6 {
            (0..40).for_each(|round| {
                desk.asked(neighbour, shuffle(50 + round, 0, 0));
            });
        }
        asked.push(exchanges(&desk.asks()));
    }
    assert_eq!(asked, [60, 20]);
}

#[test]
fn walks_make_no_more_requests_for_links_than_that() {
    let mut desk = befriended(3);
    // The errands of this second are used up.
    for neighbour in 1..=2 {
        (0..30).for_each(|_| {
            desk.asked(neighbour, shuffle(3, 0, 0));
        });
    }
    let (walk, before) = (SpreadAct::Walk { joiner: contact(100), hops: 0 }, contacts(&desk));
    desk.asked(3, walk.clone());
    assert_eq!(contacts(&desk), before + 1, "noted in place of being asked at once");
    let mut desk = befriended(3);
    desk.asked(3, walk);
    let is_link = |asked: &Asked| matches!(asked.2.act, SpreadAct::Neighbour { .. });
    assert!(desk.asks().iter().any(is_link));
    assert_eq!(contacts(&desk), 0, "asked at once");
}

#[test]
fn no_walk_and_no_shuffle_goes_farther_than_six_links() {
    let mut desk = befriended(6);
    desk.asked(1, shuffle(50, 255, 0));
    desk.asked(1, SpreadAct::Walk { joiner: contact(60), hops: 255 });
    let mut hops_left = Vec::new();
    for (.., spread) in desk.asks() {
        match spread.act {
            SpreadAct::Shuffle { hops, .. } | SpreadAct::Walk { hops, .. } => hops_left.push(hops),
            _ => {}
        }
    }
    assert_eq!(hops_left, [5, 5]);
}

#[test]
fn a_shuffle_goes_on_with_six_contacts() {
    let mut desk = befriended(6);
    desk.asked(1, shuffle(50, 3, 20));
    let told = desk.asks().into_iter().find_map(|(.., spread)| match spread.act {
        SpreadAct::Shuffle { contacts, .. } => Some(contacts.len()),
        _ => None,
    });
    assert_eq!(told, Some(6));
}

#[test]
fn one_shuffle_teaches_six_contacts_and_its_origin() {
    let mut desk = befriended(6);
    desk.asked(1, shuffle(50, 0, 20));
    assert_eq!(contacts(&desk), 7);
    desk.asked(1, shuffle(51, 0, 20));
    assert_eq!(contacts(&desk), 8, "and one neighbour eight");
    let nonce = own_shuffle(&mut desk);
    let contacts_told = (220..240).map(contact).collect();
    desk.asked(2, SpreadAct::Shuffled { nonce, contacts: contacts_told });
    // Neighbours are no contacts.
    assert_eq!(contacts(&desk), 8 + 6);
}

#[test]
fn an_answer_to_a_shuffle_is_taken_once_and_for_half_a_minute() {
    let answer = |nonce, told: u8| SpreadAct::Shuffled { nonce, contacts: vec![contact(told)] };
    let mut desk = befriended(6);
    let nonce = own_shuffle(&mut desk);
    assert_eq!(desk.asked(50, answer(nonce + 1, 201)), SpreadAnswer::Taken);
    assert_eq!((contacts(&desk), desk.topics.stats().shuffles_refused), (0, 1));
    desk.asked(50, answer(nonce, 202));
    assert_eq!((contacts(&desk), desk.topics.stats().shuffles_refused), (2, 1));
    desk.asked(51, answer(nonce, 203));
    assert_eq!((contacts(&desk), desk.topics.stats().shuffles_refused), (2, 2));

    // Later shuffles are a minute apart.
    let mut desk = befriended(6);
    desk.pass(seconds(140));
    let nonce = own_shuffle(&mut desk);
    desk.pass(seconds(31));
    desk.asked(50, answer(nonce, 202));
    assert_eq!((contacts(&desk), desk.topics.stats().shuffles_refused), (0, 1));
}
