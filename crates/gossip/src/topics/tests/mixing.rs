//! Overlays stay mixed, and come together again.

use std::collections::BTreeSet;

use potluck_wire::{SpreadAct, SpreadAnswer};

use super::net::{Net, seconds, topic};
use super::script::{Desk, contact};
use super::*;

/// The sizes of the parts of the topic's overlay.
fn parts(net: &Net) -> Vec<usize> {
    let mut left: BTreeSet<PublicKey> = net.keys.iter().copied().collect();
    let mut sizes = Vec::new();
    while let Some(first) = left.pop_first() {
        let (mut size, mut reached) = (0, vec![first]);
        while let Some(node) = reached.pop() {
            size += 1;
            let links = net.seats[&node].topics.neighbours_in(&topic());
            let next = links.into_iter().map(|contact| contact.public_key);
            reached.extend(next.filter(|peer| left.remove(peer)));
        }
        sizes.push(size);
    }
    sizes
}

#[test]
fn circles_that_filled_each_others_places_open_up() {
    for seed in 1..4 {
        let config = TopicsConfig { verify: false, ..TopicsConfig::default() };
        let mut net = Net::new(28, config, seed);
        net.blind = true;
        let contacts: Vec<Contact> = net.keys.iter().map(|key| net.seats[key].contact).collect();
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
        // Now one of each hears of one in the next.
        for pair in contacts.chunks(7).collect::<Vec<_>>().windows(2) {
            let found = TopicsInput::Found { topic: topic().id(), contacts: vec![pair[1][0]] };
            net.input(&pair[0][0].public_key, found);
        }
        net.run(seconds(900));
        assert_eq!(parts(&net), [28], "seed {seed}");
    }
}

#[test]
fn a_lost_neighbour_that_is_back_is_asked_for_a_link() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!((1..=7).all(|number| desk.befriend(number)));
    desk.input(TopicsInput::Unreachable(contact(1).public_key));
    desk.pass(seconds(200));
    desk.asks();
    desk.input(TopicsInput::Candidates(vec![contact(1), contact(50)]));
    desk.pass(seconds(3));
    let links = desk
        .asks()
        .into_iter()
        .filter(|(.., spread)| matches!(spread.act, SpreadAct::Neighbour { urgent: false, .. }));
    let asked: Vec<Contact> = links.map(|(_, to, _)| to).collect();
    assert_eq!(asked, [contact(1)]);
}

#[test]
fn joiners_cost_one_established_link_in_five_minutes() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!((1..=6).all(|number| desk.befriend(number)));
    desk.pass(seconds(130));
    let established = |desk: &Desk| {
        let left = desk.topics.neighbours_in(&topic());
        left.iter().filter(|link| (1..=6).any(|number| contact(number) == **link)).count()
    };
    assert_eq!(established(&desk), 6);
    for round in 0..12 {
        let polite = SpreadAct::Neighbour { urgent: false, age_ms: 0 };
        let answer = desk.asked(60 + round, polite);
        assert!(round > 0 || matches!(answer, SpreadAnswer::Accepted { .. }));
        desk.befriend(100 + 2 * round);
        desk.befriend(101 + 2 * round);
        desk.pass(seconds(20));
    }
    assert_eq!(established(&desk), 5);
}

#[test]
fn a_link_that_no_tree_needs_goes_for_a_joiner() {
    for unneeded in 3..=6 {
        let mut desk = Desk::subscribed(Mode::Fleet);
        assert!((1..=6).all(|number| desk.befriend(number)));
        desk.pass(seconds(130));
        desk.publish(1, 10);
        for (ask, to, spread) in desk.asks() {
            let prune = u64::from(to == contact(unneeded));
            if matches!(spread.act, SpreadAct::Push { .. }) {
                desk.answer(ask, SpreadAnswer::Pushed { prune, busy: false });
            }
        }
        let polite = SpreadAct::Neighbour { urgent: false, age_ms: 0 };
        assert!(matches!(desk.asked(60, polite), SpreadAnswer::Accepted { .. }));
        (100..103).for_each(|number| assert!(desk.befriend(number)));
        desk.pass(seconds(20));
        let left = desk.topics.neighbours_in(&topic());
        let gone: Vec<u8> = (1..=6).filter(|number| !left.contains(&contact(*number))).collect();
        assert_eq!(gone, [unneeded]);
    }
}

#[test]
fn who_wants_nothing_sends_150_bytes_a_second_at_most() {
    let mut net = Net::gathered(60, TopicsConfig::default(), 1);
    net.run(seconds(180));
    let before = net.bytes;
    net.run(seconds(600));
    let rate = (net.bytes - before) / 60 / 600;
    assert!((20..=150).contains(&rate), "{rate} bytes a second");
}
