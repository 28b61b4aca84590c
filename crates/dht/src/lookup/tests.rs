mod paths;

use super::*;
use crate::testing::{closest, peers};

const LIMITS: Limits = Limits {
    goal: 8,
    alpha: 3,
    paths: 1,
    second_parts: false,
    diversity: Diversity::Free,
    requests_max: 64,
    abandon_after: None,
    deadline: Duration::from_secs(5),
};
const SOFT_TIMEOUT: Duration = Duration::from_millis(100);

fn lookup() -> Lookup {
    Lookup::new(Instant::ZERO, Key::from_bytes([0x42; 32]), "test", LIMITS)
}

fn ask_all(lookup: &mut Lookup, now: Instant) -> Vec<Peer> {
    std::iter::from_fn(|| lookup.next(now, SOFT_TIMEOUT)).map(|ask| ask.peer).collect()
}

#[test]
fn alpha_of_the_closest_are_asked_at_first() {
    let all = peers(1, 30);
    let mut lookup = lookup();
    lookup.seed(all.clone());
    let target = lookup.target();
    assert_eq!(ask_all(&mut lookup, Instant::ZERO), closest(&all, &target, 3));
}

#[test]
fn it_ends_when_the_closest_have_all_answered() {
    let all = peers(2, 300);
    let mut lookup = lookup();
    let target = lookup.target();
    lookup.seed(all[..5].to_vec());
    let mut now = Instant::ZERO;
    while lookup.finished(now, SOFT_TIMEOUT).is_none() {
        for peer in ask_all(&mut lookup, now) {
            // Every node knows the nodes closest to the target among a third of the network.
            let part: Vec<Peer> = all
                .iter()
                .filter(|p| (p.id.as_bytes()[9] ^ peer.id.as_bytes()[9]) % 3 == 0)
                .copied()
                .collect();
            now += Duration::from_millis(10);
            lookup.on_answer(now, &peer.id, closest(&part, &target, 8));
        }
    }
    assert_eq!(lookup.finished(now, SOFT_TIMEOUT), Some(LookupOutcome::Converged));
    let found: Vec<Peer> = lookup.answered().take(8).collect();
    assert_eq!(found, closest(&all, &target, 8));
    let trace = lookup.into_trace(now, LookupOutcome::Converged);
    assert!(trace.hops > 1 && trace.queries.len() < 40, "{} requests", trace.queries.len());
}

#[test]
fn an_overdue_answer_stops_counting_against_alpha() {
    let all = peers(3, 30);
    let mut lookup = lookup();
    lookup.seed(all);
    assert_eq!(ask_all(&mut lookup, Instant::ZERO).len(), 3);
    let soon = Instant::ZERO + SOFT_TIMEOUT / 2;
    assert!(ask_all(&mut lookup, soon).is_empty());
    assert_eq!(lookup.next_soft_timeout(soon, SOFT_TIMEOUT), Some(Instant::ZERO + SOFT_TIMEOUT));
    let late = Instant::ZERO + SOFT_TIMEOUT;
    assert_eq!(ask_all(&mut lookup, late).len(), 3);
}

#[test]
fn a_read_does_not_wait_for_the_last_try_to_the_dead() {
    let all = peers(6, 8);
    let limits = Limits { abandon_after: Some(4), ..LIMITS };
    let key = Key::from_bytes([0x42; 32]);
    let mut read = Lookup::new(Instant::ZERO, key, "test", limits);
    let mut write = Lookup::new(Instant::ZERO, key, "test", LIMITS);
    let dead = closest(&all, &key, 1)[0];
    for lookup in [&mut read, &mut write] {
        lookup.seed(all.clone());
        for step in 0..4 {
            let now = Instant::ZERO + SOFT_TIMEOUT * step;
            for peer in ask_all(lookup, now) {
                if peer != dead {
                    lookup.on_answer(now, &peer.id, []);
                }
            }
            assert_eq!(lookup.finished(now, SOFT_TIMEOUT), None);
        }
    }
    let given_up = Instant::ZERO + SOFT_TIMEOUT * 4;
    assert_eq!(read.next_soft_timeout(Instant::ZERO + SOFT_TIMEOUT, SOFT_TIMEOUT), Some(given_up));
    assert_eq!(read.finished(given_up, SOFT_TIMEOUT), Some(LookupOutcome::Converged));
    assert_eq!(read.late().collect::<Vec<_>>(), [dead], "the node that was not waited for");
    assert_eq!(read.answered().count(), 7);
    assert_eq!(write.finished(given_up, SOFT_TIMEOUT), None);
}

#[test]
fn the_dead_are_passed_over() {
    let all = peers(4, 20);
    let mut lookup = lookup();
    lookup.seed(all.clone());
    let target = lookup.target();
    let sorted = closest(&all, &target, 20);
    while lookup.finished(Instant::ZERO, SOFT_TIMEOUT).is_none() {
        for peer in ask_all(&mut lookup, Instant::ZERO) {
            let rank = sorted.iter().position(|other| *other == peer).expect("known");
            if rank % 2 == 0 {
                lookup.on_failure(Instant::ZERO, &peer.id);
            } else {
                lookup.on_answer(Instant::ZERO, &peer.id, []);
            }
        }
    }
    let found: Vec<Peer> = lookup.answered().collect();
    let odd: Vec<Peer> = sorted.iter().skip(1).step_by(2).take(8).copied().collect();
    assert_eq!(found, odd);
}

#[test]
fn fewer_than_wanted_are_enough_if_there_are_no_more_and_nobody_is_too_few() {
    let mut lookup = lookup();
    assert_eq!(lookup.finished(Instant::ZERO, SOFT_TIMEOUT), Some(LookupOutcome::Exhausted));
    lookup.seed(peers(5, 2));
    assert_eq!(lookup.finished(Instant::ZERO, SOFT_TIMEOUT), None);
    for peer in ask_all(&mut lookup, Instant::ZERO) {
        lookup.on_answer(Instant::ZERO, &peer.id, []);
    }
    assert_eq!(lookup.finished(Instant::ZERO, SOFT_TIMEOUT), Some(LookupOutcome::Converged));
}

#[test]
fn requests_and_time_are_bounded_whatever_answers_say() {
    let liars = peers(6, 2000);
    let mut lookup = lookup();
    let target = lookup.target();
    // Each answer names closer nodes than all before: a lookup that believed them would never end.
    let mut farthest_first = closest(&liars, &target, 2000);
    farthest_first.reverse();
    lookup.seed(farthest_first[..3].to_vec());
    let mut known = 3;
    let mut requests = 0;
    while lookup.finished(Instant::ZERO, SOFT_TIMEOUT).is_none() {
        for peer in ask_all(&mut lookup, Instant::ZERO) {
            requests += 1;
            let news = farthest_first[known..(known + 8).min(2000)].to_vec();
            known += 8;
            lookup.on_answer(Instant::ZERO, &peer.id, news);
        }
    }
    assert_eq!(lookup.finished(Instant::ZERO, SOFT_TIMEOUT), Some(LookupOutcome::OutOfBudget));
    assert_eq!(requests, LIMITS.requests_max);
    assert!(lookup.shortlist.len() <= shortlist_max(1));
    let mut slow = Lookup::new(Instant::ZERO, target, "test", LIMITS);
    slow.seed(liars);
    assert_eq!(
        slow.finished(Instant::ZERO + LIMITS.deadline, SOFT_TIMEOUT),
        Some(LookupOutcome::OutOfBudget)
    );
}

#[test]
fn an_answer_from_nobody_that_was_asked_changes_nothing() {
    let mut lookup = lookup();
    let all = peers(7, 10);
    lookup.seed(all[..2].to_vec());
    lookup.on_answer(Instant::ZERO, &all[5].id, all[6..].to_vec());
    assert_eq!(lookup.shortlist.len(), 2);
}

#[test]
fn a_node_named_at_two_addresses_is_asked_at_the_second_when_the_first_fails() {
    let all = peers(8, 2);
    let elsewhere = |peer: Peer| {
        let address = ([203, 0, 113, 9], 4000).into();
        let contact = potluck_base::Contact { address, ..peer.contact };
        Peer { contact, ..peer }
    };
    let mut lookup = lookup();
    lookup.seed([all[0], all[1]]);
    let now = Instant::ZERO;
    ask_all(&mut lookup, now);
    lookup.seed([elsewhere(all[0]), elsewhere(all[1])]);
    lookup.on_failure(now, &all[0].id);
    assert_eq!(ask_all(&mut lookup, now), [elsewhere(all[0])]);
    // Who has answered is where it was asked, whatever others say later.
    lookup.on_answer(now, &all[1].id, [elsewhere(all[1])]);
    assert!(lookup.answered().any(|peer| peer == all[1]));
    lookup.on_failure(now, &all[0].id);
    assert_eq!(ask_all(&mut lookup, now), [], "nowhere is left");
}

#[test]
fn the_shortlist_holds_its_most_and_drops_the_farthest() {
    let all = peers(9, shortlist_max(1) + 40);
    let mut lookup = lookup();
    let target = lookup.target();
    for count in
        [shortlist_max(1) - 1, shortlist_max(1), shortlist_max(1) + 1, shortlist_max(1) + 40]
    {
        lookup.seed(all[..count].to_vec());
        assert_eq!(lookup.shortlist.len(), count.min(shortlist_max(1)), "{count} were named");
    }
    let kept: Vec<Peer> = lookup.shortlist.values().map(|candidate| candidate.peer).collect();
    assert_eq!(kept, closest(&all, &target, shortlist_max(1)));
}
