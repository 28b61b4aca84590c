//! Members among each other.

mod bounds;
mod town;

use std::time::Duration;

use potluck_base::Identity;
use potluck_wire::{Announcement, Claim, MemberResponse, Proof, Surroundings};

use super::*;
use crate::view::{Change, MemberState};
use town::Town;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn newcomers_learn_the_whole_list_and_all_learn_of_them() {
    let town = Town::of(40);
    for seat in &town.seats {
        let view = seat.members.view();
        assert_eq!(view.members.len(), 40);
        assert!(view.members.iter().all(|member| member.state == MemberState::Alive));
    }
    assert_eq!(town.count(Change::Suspected), 0);
}

#[test]
fn a_crash_is_known_to_all_within_seconds_and_nobody_else_is_suspected() {
    let mut town = Town::of(40);
    town.kill(7);
    let took = town
        .run_until(20 * SECOND, |town| town.who_think(7, MemberState::Dead) == 39)
        .expect("all know it");
    assert!(took < 6 * SECOND, "{took:?}");
    assert_eq!(town.count(Change::Suspected), 39);
    assert_eq!(town.count(Change::Died), 39);
}

#[test]
fn a_young_town_is_as_quick() {
    let mut town = Town::new(MembersConfig::default());
    for _ in 0..12 {
        town.add();
    }
    town.run(3 * SECOND);
    town.kill(7);
    let took = town.run_until(20 * SECOND, |town| town.who_think(7, MemberState::Dead) == 11);
    assert!(took.is_some_and(|took| took < 6 * SECOND), "{took:?}");
}

#[test]
fn lossy_links_evict_nobody() {
    let mut town = Town::of(40);
    town.loss = 0.1;
    town.run(600 * SECOND);
    assert_eq!(town.count(Change::Died), 0);
}

#[test]
fn a_good_bye_is_final_for_its_incarnation() {
    let mut town = Town::of(20);
    let stale = town.seats[3].members.my_record.clone();
    town.feed(3, Input::Leave);
    town.run(SECOND);
    town.kill(3);
    assert_eq!(town.who_think(3, MemberState::Left), 19);
    let again = Announcement { records: vec![stale], ..Announcement::default() };
    let from = town.key(5);
    town.feed(8, Input::Announced { from, payload: again.to_bytes() });
    town.run(30 * SECOND);
    assert_eq!(town.who_think(3, MemberState::Left), 19);
    town.restart(3, (1 << 20) + 1);
    town.run(5 * SECOND);
    assert_eq!(town.who_think(3, MemberState::Alive), 19);
}

#[test]
fn doubts_about_other_words_than_the_last_are_nothing() {
    let mut town = Town::of(10);
    let before = town.seats[4].members.me.vitals;
    let from = town.key(9);
    for (incarnation, beat) in [(0, 0), (before.incarnation, before.beat + 1), (u64::MAX, u32::MAX)]
    {
        let claim = Claim { subject: town.key(4), vitals: Vitals { incarnation, beat } };
        let payload = Announcement { claims: vec![claim], ..Announcement::default() }.to_bytes();
        for at in 0..10 {
            town.feed(at, Input::Announced { from, payload: payload.clone() });
        }
    }
    town.run(10 * SECOND);
    assert_eq!(town.seats[4].members.me.vitals, before, "nobody can push an incarnation");
    assert_eq!(town.count(Change::Suspected), 0);
}

#[test]
fn any_number_of_doubts_by_many_liars_evicts_nobody() {
    let mut town = Town::of(30);
    for round in 0..200 {
        let vitals = town.seats[4].members.me.vitals;
        let claim = Claim { subject: town.key(4), vitals };
        let payload = Announcement { claims: vec![claim], ..Announcement::default() }.to_bytes();
        for at in 0..30 {
            let from = Identity::from_seed([100 + (round % 20) as u8; 32]).public_key();
            town.feed(at, Input::Announced { from, payload: payload.clone() });
        }
        town.run(SECOND / 4);
    }
    assert_eq!(town.count(Change::Died), 0);
    assert_eq!(town.count(Change::Suspected), 0);
    let beat = town.seats[4].members.me.vitals.beat;
    assert!(beat < 70, "{beat} new words for 200 doubts in 50 seconds");
}

#[test]
fn a_member_that_some_cannot_reach_is_proved_by_others() {
    let mut town = Town::of(20);
    // Seat 2 cannot reach seat 5, nor is it heard from there.
    town.cuts = vec![(2, 5), (5, 2)];
    town.run(300 * SECOND);
    assert_eq!(town.count(Change::Died), 0);
    assert!(town.seats[2].members.stats().probes_helped > 0);
}

#[test]
fn a_proof_holds_for_its_subject_asker_and_nonce_only() {
    let network = NetworkId::new("a", potluck_base::Admission::Lab, None);
    let (subject, asker) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let vitals = Vitals { incarnation: 3, beat: 4 };
    let proof = Proof::sign(&subject, &network, &asker.public_key(), 9, vitals);
    let holds = |subject: &Identity, asker: &Identity, nonce| {
        proof.verify(&subject.public_key(), &network, &asker.public_key(), nonce)
    };
    assert!(holds(&subject, &asker, 9));
    assert!(!holds(&subject, &asker, 10));
    assert!(!holds(&subject, &subject, 9));
    assert!(!holds(&asker, &asker, 9));
}

#[test]
fn a_node_that_stood_still_buries_nobody_and_comes_back() {
    let mut town = Town::of(30);
    town.pause(6);
    town.run(30 * SECOND);
    assert_eq!(town.who_think(6, MemberState::Dead), 29);
    let before = town.count(Change::Died);
    town.resume(6);
    let back = town.run_until(20 * SECOND, |town| town.who_think(6, MemberState::Alive) == 29);
    assert!(back.is_some_and(|took| took < 8 * SECOND), "{back:?}");
    town.run(60 * SECOND);
    assert_eq!(town.count(Change::Died), before, "it buried nobody");
    assert_eq!(town.who_think(6, MemberState::Alive), 29);
}

#[test]
fn a_node_without_a_network_buries_nobody() {
    let mut town = Town::of(20);
    town.cuts = (1..20).flat_map(|other| [(0, other), (other, 0)]).collect();
    town.run(600 * SECOND);
    let died = town.seats[0].events.iter().filter(|(_, event)| event.change == Change::Died);
    assert_eq!(died.count(), 0);
    assert!(town.seats[0].members.is_isolated());
    assert_eq!(town.who_think(0, MemberState::Dead), 19, "the others know that it is gone");
    town.cuts.clear();
    let healed = town.run_until(120 * SECOND, |town| {
        town.who_think(0, MemberState::Alive) == 19 && !town.seats[0].members.is_isolated()
    });
    assert!(healed.is_some(), "it comes back");
}

#[test]
fn a_mass_death_is_believed_all_the_same() {
    let mut town = Town::of(20);
    (0..16).for_each(|index| town.kill(index));
    let all = |town: &Town| (0..16).all(|dead| town.who_think(dead, MemberState::Dead) == 4);
    assert!(town.run_until(180 * SECOND, all).is_some());
    for live in 16..20 {
        assert_eq!(town.who_think(live, MemberState::Alive), 3);
    }
}

#[test]
fn a_split_of_days_heals_within_two_minutes() {
    let mut town = Town::of(14);
    town.split = Some(7);
    town.run(48 * 3600 * SECOND);
    assert_eq!(town.who_think(3, MemberState::Dead), 7);
    town.split = None;
    let whole = |town: &Town| (0..14).all(|index| town.who_think(index, MemberState::Alive) == 13);
    let took = town.run_until(600 * SECOND, whole).expect("it heals");
    assert!(took <= 120 * SECOND, "{took:?}");
}

#[test]
fn what_the_tree_misses_is_found_by_comparing_lists() {
    let mut town = Town::of(20);
    town.mute = true;
    let late = town.add();
    let known = town.run_until(600 * SECOND, |town| town.who_think(late, MemberState::Alive) == 20);
    assert!(known.is_some());
}

#[test]
fn a_clock_that_went_back_does_not_mute_a_node() {
    let mut town = Town::of(10);
    town.kill(2);
    town.run(20 * SECOND);
    town.restart(2, 5);
    let heard = town.run_until(30 * SECOND, |town| town.who_think(2, MemberState::Alive) == 9);
    assert!(heard.is_some());
    assert!(town.seats[2].members.me.vitals.incarnation > 1 << 20);
}

#[test]
fn who_comes_and_goes_is_believed_ever_more_slowly() {
    let mut town = Town::of(12);
    for _ in 0..20 {
        town.pause(3);
        town.run(25 * SECOND);
        town.resume(3);
        town.run(5 * SECOND);
    }
    // Ten minutes; without a pause it would have died twenty times.
    let deaths = town.seats[0].events.iter().filter(|(_, event)| {
        event.change == Change::Died && event.peer.contact == town.seats[3].contact
    });
    let deaths = deaths.count();
    assert!((2..=6).contains(&deaths), "{deaths}");
}

#[test]
fn who_is_back_is_alive_at_once_however_often_it_was_gone() {
    let mut town = Town::of(20);
    for round in 0..5 {
        for index in [3, 8] {
            town.pause(index);
        }
        let dead =
            |town: &Town| [3, 8].iter().all(|of| town.who_think(*of, MemberState::Dead) == 18);
        assert!(town.run_until(200 * SECOND, dead).is_some(), "round {round}");
        for index in [3, 8] {
            town.resume(index);
        }
        let back =
            |town: &Town| [3, 8].iter().all(|of| town.who_think(*of, MemberState::Alive) == 19);
        let took = town.run_until(60 * SECOND, back);
        assert!(took.is_some_and(|took| took <= 2 * SECOND), "round {round}: {took:?}");
        town.run(10 * SECOND);
    }
}

#[test]
fn who_restarts_again_and_again_is_alive_at_once() {
    let mut town = Town::of(12);
    for round in 1..=4 {
        town.kill(3);
        let dead = |town: &Town| town.who_think(3, MemberState::Dead) == 11;
        assert!(town.run_until(200 * SECOND, dead).is_some(), "round {round}");
        town.restart(3, (1 << 20) + round);
        let took = town.run_until(60 * SECOND, |town| town.who_think(3, MemberState::Alive) == 11);
        assert!(took.is_some_and(|took| took <= 2 * SECOND), "round {round}: {took:?}");
    }
    // After good-byes as well, whatever the tree carries.
    for round in 5..=8 {
        town.feed(3, Input::Leave);
        town.run(SECOND / 5);
        town.kill(3);
        town.run(SECOND);
        assert_eq!(town.who_think(3, MemberState::Left), 11, "round {round}");
        town.mute = true;
        town.restart(3, (1 << 20) + round);
        let took = town.run_until(60 * SECOND, |town| town.state(3, 0) == Some(MemberState::Alive));
        assert!(took.is_some_and(|took| took <= SECOND), "round {round}: {took:?}");
        town.mute = false;
        town.run(10 * SECOND);
    }
}

#[test]
fn a_younger_word_or_one_datagram_is_life_whatever_was_before() {
    for by_word in [true, false] {
        let mut town = Town::of(8);
        for _ in 0..3 {
            town.pause(3);
            let dead = |town: &Town| town.who_think(3, MemberState::Dead) == 7;
            assert!(town.run_until(200 * SECOND, dead).is_some());
            town.resume(3);
            town.run(10 * SECOND);
        }
        town.pause(3);
        let dead = |town: &Town| town.who_think(3, MemberState::Dead) == 7;
        assert!(town.run_until(200 * SECOND, dead).is_some());
        if by_word {
            let members = &town.seats[3].members;
            let mut younger = members.me.clone();
            younger.vitals = Vitals { incarnation: younger.vitals.incarnation + 1, beat: 0 };
            let records = vec![younger.sign(&members.identity, &members.network)];
            let payload = Announcement { records, ..Announcement::default() }.to_bytes();
            let from = town.key(5);
            town.feed(0, Input::Announced { from, payload });
        } else {
            let contact = town.seats[3].contact;
            town.feed(0, Input::Heard(contact));
        }
        assert_eq!(town.state(3, 0), Some(MemberState::Alive), "by its word: {by_word}");
        let events = &town.seats[0].events;
        assert_eq!(events.last().map(|(_, event)| event.change), Some(Change::Returned));
    }
}

#[test]
fn a_changed_address_is_told_and_nobody_dies_of_it() {
    let mut town = Town::of(12);
    let address: SocketAddr = ([10, 9, 9, 9], 7).into();
    town.seats[4].contact.address = address;
    town.feed(4, Input::Addresses { ways: vec![address], local: vec![address.into()] });
    town.feed(4, Input::Resumed);
    town.run(60 * SECOND);
    assert_eq!(town.count(Change::Died), 0);
    for seat in (0..12).filter(|index| *index != 4) {
        let member =
            town.seats[seat].members.table.get(&town.key(4)).map(|m| m.peer.contact.address);
        assert_eq!(member, Some(address));
    }
}

#[test]
fn a_greedy_peer_is_told_to_come_later_and_nothing_grows() {
    let mut town = Town::of(5);
    let from = town.seats[1].contact;
    for number in 0..100_000u64 {
        let nonce = number;
        let asker = from.public_key;
        let request = MemberRequest::Prove { asker, nonce };
        let serve = ServeId(1 << 40 | number);
        let now = town.now;
        let members = &mut town.seats[0].members;
        members.handle(now, Input::Asked { serve, from, request, budget: 1000 });
        while members.poll_output().is_some() {}
    }
    let stats = town.seats[0].members.stats();
    assert!(stats.over_rate > 99_900, "{stats:?}");
    assert_eq!(stats.asks, town.seats[0].members.asks.len());
}

#[test]
fn whoever_doubts_everybody_all_the_time_is_not_heard_any_more() {
    let mut town = Town::of(12);
    let from = town.key(3);
    let before = town.seats[0].members.stats();
    for round in 0..2000 {
        let subject = town.key(4 + round % 8);
        let vitals = town.seats[4 + round % 8].members.me.vitals;
        let claims = vec![Claim { subject, vitals }];
        let payload = Announcement { claims, ..Announcement::default() }.to_bytes();
        town.feed(0, Input::Announced { from, payload });
    }
    let after = town.seats[0].members.stats();
    assert_eq!(after.doubts - before.doubts, 64);
    assert!(after.over_rate >= 1900, "{after:?}");
}

#[test]
fn whoever_publishes_bad_records_is_not_read_any_more() {
    let mut town = Town::of(5);
    let from = town.key(3);
    let mut bad = town.seats[4].members.my_record.to_vec();
    let last = bad.len() - 1;
    bad[last] ^= 1;
    // A younger word than the one that is known, so that the signature has to be looked at.
    let mut younger = town.seats[4].members.me.clone();
    younger.vitals.beat += 1;
    let forged = younger.sign(&Identity::from_seed([9; 32]), &town.seats[4].members.network);
    for _ in 0..100 {
        let records = vec![forged.clone(), bad.clone().into()];
        let payload = Announcement { records, ..Announcement::default() }.to_bytes();
        town.feed(0, Input::Announced { from, payload });
    }
    let stats = town.seats[0].members.stats();
    assert!((1..=11).contains(&stats.records_bad), "{stats:?}");
    assert_eq!(town.state(4, 0), Some(MemberState::Alive));
}

#[test]
fn an_open_node_forgets_whom_it_does_not_watch_any_more() {
    let config = MembersConfig { mode: ModeChoice::Open, ..MembersConfig::default() };
    let mut town = Town::new(config);
    for _ in 0..6 {
        town.add();
    }
    let contacts: Vec<_> = (1..6).map(|index| town.seats[index].contact).collect();
    town.feed(0, Input::Neighbours(contacts[..2].to_vec()));
    town.feed(0, Input::Siblings(contacts[2..].to_vec()));
    town.run(10 * SECOND);
    assert_eq!(town.seats[0].members.stats().alive, 5);
    town.feed(0, Input::Siblings(Vec::new()));
    town.cuts = (3..6).flat_map(|other| [(0, other), (other, 0)]).collect();
    town.run(400 * SECOND);
    let stats = town.seats[0].members.stats();
    assert_eq!((stats.alive, stats.dead), (2, 0));
}

/// An open town in which each has the neighbours that are listed for it.
fn open_town(neighbours: &[&[usize]]) -> Town {
    let config = MembersConfig { mode: ModeChoice::Open, ..MembersConfig::default() };
    let mut town = Town::new(config);
    for _ in neighbours {
        town.add();
    }
    for (index, of) in neighbours.iter().enumerate() {
        let contacts = of.iter().map(|other| town.seats[*other].contact).collect();
        town.feed(index, Input::Neighbours(contacts));
    }
    town
}

#[test]
fn helpers_are_those_that_the_subject_is_linked_to() {
    // The first watches the second and two that know nothing of it.
    let mut town = open_town(&[&[1, 3, 4], &[0, 2], &[1], &[0], &[0]]);
    town.run(30 * SECOND);
    town.cuts = vec![(0, 1), (1, 0)];
    town.run(60 * SECOND);
    assert_eq!(town.state(0, 1), Some(MemberState::Alive));
    let stats = town.seats[0].members.stats();
    assert!(stats.probes_helped > 3 && stats.confirmed == 0, "{stats:?}");
}

#[test]
fn whom_nobody_tells_hears_from_those_it_tells_that_they_know() {
    // The last watches all, and is known to nobody.
    let mut town = open_town(&[&[1, 2, 3], &[0, 2, 3], &[0, 1, 3], &[0, 1, 2], &[0, 1, 2, 3]]);
    town.run(30 * SECOND);
    town.kill(3);
    assert!(
        town.run_until(60 * SECOND, |town| town.who_think(3, MemberState::Dead) == 4).is_some()
    );
    let events = &town.seats[4].events;
    let at = |change| events.iter().find(|(_, event)| event.change == change).expect("there").0;
    assert!(town.seats[4].members.stats().doubts >= 3, "each of them shares it");
    let lasted = at(Change::Died).since(at(Change::Suspected));
    assert!(lasted < 2 * SECOND, "{lasted:?}, where a suspicion that nobody shares takes 6 s");
    assert_eq!(town.count(Change::Suspected), 4, "and nobody else is suspected");
}

/// Whom the first of the town names to those that probe it in turn, for so long, and how often; and
/// how many of them it names to the one to whom it names fewest.
fn named(town: &mut Town, time: Duration) -> (Vec<(PublicKey, usize)>, usize) {
    let contacts: Vec<Contact> = town.seats.iter().map(|seat| seat.contact).collect();
    let askers = 1..contacts.len();
    let (mut named, mut heard) = (BTreeMap::new(), BTreeSet::new());
    for (round, asker) in askers.clone().cycle().take(askers.len() * 6).enumerate() {
        town.run(time / (askers.len() * 6) as u32);
        let mine = Vitals { incarnation: 1, beat: 0 };
        let request = MemberRequest::Probe { mine, doubted: None, component: None };
        let serve = ServeId((1 << 40) + round as u64);
        let asked = Input::Asked { serve, from: contacts[asker], request, budget: 1000 };
        let members = &mut town.seats[0].members;
        members.handle(town.now, asked);
        let answer = std::iter::from_fn(|| members.poll_output()).find_map(|output| match output {
            Output::Answer { response: Response::Member(response), .. } => Some(response),
            _ => None,
        });
        let Some(MemberResponse::Alive { surroundings: Some(surroundings), .. }) = answer else {
            panic!("a probe is answered: {answer:?}");
        };
        for beside in surroundings.beside {
            assert_ne!(beside.public_key, contacts[asker].public_key, "it knows itself");
            *named.entry(beside.public_key).or_default() += 1;
            heard.insert((asker, beside.public_key));
        }
    }
    let of = |asker| heard.iter().filter(|(of, _)| *of == asker).count();
    (named.into_iter().collect(), askers.map(of).min().unwrap_or(0))
}

#[test]
fn all_who_watch_a_member_are_named_in_turn_those_it_does_not_watch_too() {
    // The first watches three of them, and the other three watch it.
    let mut town = open_town(&[&[1, 2, 3], &[], &[], &[], &[], &[], &[]]);
    let (counts, fewest) = named(&mut town, 66 * SECOND);
    let all: Vec<PublicKey> = counts.iter().map(|(key, _)| *key).collect();
    let mut wanted: Vec<PublicKey> = (1..7).map(|index| town.key(index)).collect();
    wanted.sort_unstable();
    assert_eq!(all, wanted);
    assert!(counts.iter().all(|(_, count)| (4..=8).contains(count)), "{counts:?}");
    assert!(fewest >= 2, "one hears of {fewest} in six answers");
    assert_eq!(town.seats[0].members.stats().watchers, 6);
    // Where more watch it than it watches, those it watches have half of the places.
    let mut town = open_town(&[&[1], &[], &[], &[], &[], &[], &[]]);
    let (counts, _) = named(&mut town, 66 * SECOND);
    let of_watched = counts.iter().find(|(key, _)| *key == town.key(1)).map(|(_, count)| *count);
    assert!(of_watched.is_some_and(|count| (14..=22).contains(&count)), "{counts:?}");
}

#[test]
fn who_watched_a_member_long_ago_is_not_named_and_those_remembered_are_bounded() {
    let mut town = open_town(&[&[1, 2], &[], &[], &[]]);
    assert!(named(&mut town, 66 * SECOND).0.iter().any(|(key, _)| *key == town.key(3)));
    town.run(130 * SECOND);
    let (now, third) = (town.now, town.seats[2].contact);
    let asker = town.seats[1].contact;
    let members = &mut town.seats[0].members;
    let names: Vec<Surroundings> = (0..20)
        .filter_map(|round| members.surroundings(now + 10 * round * SECOND, asker))
        .collect();
    assert!(names.iter().all(|of| of.beside == [third]), "{names:?}");
    assert_eq!(members.surroundings(now, asker).map(|of| of.beside), Some(vec![]), "not so soon");
    for seed in 50..200 {
        let public_key = Identity::from_seed([seed; 32]).public_key();
        let members = &mut town.seats[0].members;
        members.surroundings(now, Contact { public_key, ..asker });
    }
    assert_eq!(town.seats[0].members.stats().watchers, 128);
}

#[test]
fn only_who_doubts_the_same_word_shares_a_doubt() {
    let mut town = open_town(&[&[1, 2], &[0, 2], &[0, 1]]);
    town.run(10 * SECOND);
    town.kill(2);
    assert!(
        town.run_until(60 * SECOND, |town| town.who_think(2, MemberState::Dead) == 2).is_some()
    );
    let (from, subject) = (town.seats[1].contact, town.key(2));
    let vitals = town.seats[2].members.me.vitals;
    let younger = Vitals { beat: vitals.beat + 1, ..vitals };
    let (same, other) = (Claim { subject, vitals }, Claim { subject, vitals: younger });
    let alive = Claim { subject: from.public_key, vitals: town.seats[1].members.me.vitals };
    let request = MemberRequest::Doubt { claims: vec![other, alive, same] };
    let asked = Input::Asked { serve: ServeId(1 << 40), from, request, budget: 1000 };
    let members = &mut town.seats[0].members;
    members.handle(town.now, asked);
    let answer = std::iter::from_fn(|| members.poll_output())
        .find(|output| matches!(output, Output::Answer { .. }));
    let response = Response::Member(MemberResponse::Shared { claims: vec![same] });
    assert_eq!(answer, Some(Output::Answer { serve: ServeId(1 << 40), response }));
}

#[test]
fn two_parts_of_an_open_network_that_meet_elsewhere_are_bridged() {
    let mut town = open_town(&[&[1], &[0], &[3], &[2]]);
    let third = town.seats[2].contact;
    let wall = UnixMillis(7 * 3_600_000);
    for index in 0..4 {
        town.feed(index, Input::WallClock(wall));
    }
    town.run(300 * SECOND);
    assert!(town.seats.iter().all(|seat| seat.members.stats().bridges == 0), "nobody met anybody");
    town.feed(0, Input::Siblings(vec![third]));
    town.run(600 * SECOND);
    let bridges: Vec<u64> = town.seats.iter().map(|seat| seat.members.stats().bridges).collect();
    assert!(bridges[0] == 1 && bridges[2] == 1, "both ends, one in ten minutes: {bridges:?}");
    assert!(bridges[1] + bridges[3] == 0, "{bridges:?}");
    // The link is there: all agree on one part.
    let (first, second) = (town.seats[0].contact, town.seats[1].contact);
    town.feed(0, Input::Neighbours(vec![second, third]));
    town.feed(2, Input::Neighbours(vec![town.seats[3].contact, first]));
    town.run(300 * SECOND);
    let mut parts = Vec::new();
    for seat in &mut town.seats {
        parts.push(seat.members.component());
    }
    assert!(parts[0].is_some() && parts.iter().all(|part| *part == parts[0]), "{parts:?}");
}

#[test]
fn the_timer_contract_holds() {
    let mut town = Town::of(8);
    town.kill(3);
    for _ in 0..200 {
        let members = &mut town.seats[0].members;
        let deadline = members.poll_timeout().expect("there is always one");
        members.handle(deadline.at, Input::Timeout);
        while members.poll_output().is_some() {}
        let next = members.poll_timeout().expect("there is always one");
        assert!(next.at > deadline.at, "{deadline:?} {next:?}");
    }
}

#[test]
fn very_lossy_links_raise_few_suspicions_and_evict_nobody() {
    let mut town = Town::of(40);
    town.loss = 0.3;
    town.run(600 * SECOND);
    assert_eq!(town.count(Change::Died), 0);
    // Whoever probes because of a doubt that the subject has answered meanwhile drops the probe: else
    // there are four times as many.
    assert!(town.count(Change::Suspected) < 1_500, "{}", town.count(Change::Suspected));
}

#[test]
fn a_suspect_is_probed_again_before_its_suspicion_ends() {
    let mut town = Town::of(2);
    town.kill(1);
    let suspected =
        town.run_until(20 * SECOND, |town| town.who_think(1, MemberState::Suspect) == 1);
    assert!(suspected.is_some());
    let looked = town
        .run_until(20 * SECOND, |town| town.seats[0].members.detector.is_looking_at(&town.key(1)));
    assert!(looked.is_some());
    assert_eq!(town.who_think(1, MemberState::Suspect), 1, "before its end");
}

#[test]
fn whom_an_open_node_watches_from_now_on_is_probed_within_five_seconds() {
    for known in [true, false] {
        let config = MembersConfig { mode: ModeChoice::Open, ..MembersConfig::default() };
        let mut town = Town::new(config);
        for _ in 0..62 {
            town.add();
        }
        let contacts: Vec<Contact> = town.seats.iter().map(|seat| seat.contact).collect();
        town.feed(0, Input::Siblings(contacts[1..61].to_vec()));
        if known {
            town.feed(0, Input::Neighbours(contacts[61..].to_vec()));
            town.run(20 * SECOND);
            town.feed(0, Input::Neighbours(Vec::new()));
        }
        town.run(20 * SECOND);
        let probed = |town: &Town| town.seats[61].members.stats().watchers;
        let before = town.seats[61].members.stats().asked;
        assert_eq!(probed(&town), usize::from(known));
        town.feed(0, Input::Siblings(contacts[1..].to_vec()));
        town.run(6 * SECOND);
        let asked = town.seats[61].members.stats().asked - before;
        assert_eq!((probed(&town), asked >= 1), (1, true), "of 61 turns six have come");
    }
}

#[test]
fn those_known_keep_their_turn_and_newcomers_get_one() {
    let mut town = Town::of(20);
    let next_round = |town: &mut Town| {
        town.seats[0].members.next_round();
        town.seats[0].members.detector.round().to_vec()
    };
    let first = next_round(&mut town);
    assert_eq!((first.len(), next_round(&mut town)), (19, first.clone()));
    let left = town.key(5);
    town.feed(5, Input::Leave);
    let late = town.add();
    town.run(10 * SECOND);
    let second = next_round(&mut town);
    let stayed = |keys: &[PublicKey], but| keys.iter().copied().filter(|key| *key != but).collect();
    let (before, after): (Vec<_>, Vec<_>) = (stayed(&first, left), stayed(&second, town.key(late)));
    assert_eq!(before, after);
    assert!(second.contains(&town.key(late)));
}
