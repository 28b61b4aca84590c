//! Tries, timeouts and round-trip times.

mod world;

use std::time::Duration;

use potluck_base::Machine;
use potluck_base::machine::check_timer_contract;
use potluck_link::{Input, LinkConfig, Output, RequestOptions};
use potluck_wire::{Request, Response};
use world::{Node, at, config, exchange, friend, options};

fn deadline_ms(node: &Node, since: u64) -> u64 {
    let deadline = node.link.poll_timeout().expect("a timer is armed");
    deadline.at.since(at(since)).as_millis() as u64
}

#[test]
fn an_unknown_peer_gets_400_ms_then_800_then_the_request_fails() {
    let mut a = Node::new(1, config());
    let to = Node::new(2, config()).contact;
    let token = a.ask(at(0), to);
    a.sent_one();
    assert_eq!(deadline_ms(&a, 0), 400);
    a.link.handle_timeout(at(400));
    a.sent_one();
    assert_eq!(deadline_ms(&a, 400), 800);
    a.link.handle_timeout(at(1_200));
    assert!(a.sent().is_empty());
    assert_eq!(a.told_one(), Output::Failed { token, to });
    assert_eq!(a.link.poll_timeout(), None);
    assert_eq!((a.stats().requests_outstanding, a.stats().requests_failed), (0, 1));
}

#[test]
fn each_try_is_another_datagram_and_an_answer_to_any_of_them_counts() {
    for answered in [0, 1] {
        let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
        let token = a.ask(at(0), b.contact);
        let mut tries = vec![a.sent_one()];
        a.link.handle_timeout(at(400));
        tries.push(a.sent_one());
        let mut answers = Vec::new();
        for request in &tries {
            b.link.handle_datagram(at(450), a.address(), request);
            b.sent();
            let (reply_to, _) = b.asked().expect("a request");
            b.link.respond(at(450), &reply_to, &Response::Pong).expect("budget");
            answers.push(b.sent_one());
        }
        a.take(at(500), b.address(), &answers[answered]);
        let rtt = Duration::from_millis([500, 100][answered]);
        let response = Response::Pong;
        let told = a.told_one();
        let Output::Answered { seen_at, .. } = told else { panic!("an answer, not {told:?}") };
        let expected = Output::Answered { token, from: b.contact, response, rtt, seen_at };
        assert_eq!(told, expected);
        // The other one comes too late and says nothing new.
        a.take(at(510), b.address(), &answers[1 - answered]);
        assert_eq!((a.told.len(), a.stats().dropped_unsolicited), (0, 1));
        assert_eq!(a.link.poll_timeout(), None);
    }
}

#[test]
fn timeouts_follow_the_round_trip_times_of_the_peer_within_their_bounds() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    assert_eq!(a.link.rtt(&b.key()), None);
    exchange(at(0), &mut a, &mut b);
    assert_eq!(a.link.rtt(&b.key()), Some(Duration::from_millis(10)));
    a.ask(at(100), b.contact);
    // First sample (RFC 6298): 10 ms + 4 * 5 ms, which the lower bound lifts.
    assert_eq!(deadline_ms(&a, 100), 50);

    let mut c = Node::new(3, config());
    let mut slow = Node::new(4, config());
    c.ask(at(0), slow.contact);
    let request = c.sent_one();
    let answer = slow.serve(at(0), c.address(), &request).expect("an answer");
    c.take(at(300), slow.address(), &answer);
    c.told.clear();
    c.ask(at(1_000), slow.contact);
    c.sent_one();
    assert_eq!(deadline_ms(&c, 1_000), 900, "300 ms + 4 * 150 ms");
    c.link.handle_timeout(at(1_900));
    c.sent_one();
    assert_eq!(deadline_ms(&c, 1_900), 1_800, "doubled");
}

#[test]
fn no_timeout_is_longer_than_three_seconds_and_there_are_at_most_eight_tries() {
    let mut a = Node::new(1, config());
    let to = Node::new(2, config()).contact;
    let many = RequestOptions { tries: 255, ..options() };
    a.link.request(at(0), to, &Request::Ping, many).expect("room");
    let (mut now, mut waits) = (at(0), Vec::new());
    while let Some(deadline) = a.link.poll_timeout() {
        waits.push(deadline.at.since(now).as_millis());
        now = deadline.at;
        a.link.handle_timeout(now);
    }
    assert_eq!(waits, [400, 800, 1_600, 3_000, 3_000, 3_000, 3_000, 3_000]);
    assert_eq!(a.sent().len(), 8);
}

#[test]
fn a_try_after_silence_is_padded_since_the_peer_may_have_forgotten_us() {
    let mut b = Node::new(2, config());
    let mut a = friend(1, &mut b);
    let token = a.ask(at(1_000), b.contact);
    assert_eq!(a.sent_one().len(), 148, "lost");
    b.restart();
    a.link.handle_timeout(at(1_050));
    let request = a.sent_one();
    let answer = b.serve(at(1_060), a.address(), &request).expect("an answer");
    a.take(at(1_070), b.address(), &answer);
    a.assert_answered(token, b.contact, Duration::from_millis(20));
}

#[test]
fn a_greeting_is_tried_three_times() {
    let mut a = Node::new(1, config());
    let address = Node::new(2, config()).address();
    a.link.hello(at(0), address);
    let mut hellos = a.sent();
    let mut now = at(0);
    while let Some(deadline) = a.link.poll_timeout() {
        now = deadline.at;
        a.link.handle_timeout(now);
        hellos.extend(a.sent());
    }
    assert_eq!(hellos.len(), 3);
    assert_eq!(now, at(400 + 800 + 1_600));
    assert_eq!(a.told_one(), Output::NoWelcome { address });
}

#[test]
fn more_than_64_greetings_at_once_are_turned_away_not_forgotten() {
    let mut a = Node::new(1, config());
    for seed in 0..70 {
        a.link.hello(at(0), Node::new(100 + seed, config()).address());
    }
    assert_eq!(a.sent().len(), 64);
    assert_eq!((a.told.len(), a.stats().hellos_outstanding), (6, 64));
    assert!(a.told.iter().all(|told| matches!(told, Output::NoWelcome { .. })));
}

#[test]
fn the_timer_contract_holds_until_nothing_is_left_to_wait_for() {
    let mut a = Node::new(1, config());
    let others: Vec<_> = (10..20).map(|seed| Node::new(seed, config())).collect();
    for (index, other) in others.iter().enumerate() {
        let now = at(index as u64 * 37);
        if index % 3 == 0 {
            a.link.hello(now, other.address());
        }
        let tries = RequestOptions { tries: 1 + index as u8 % 4, ..options() };
        a.link.request(now, other.contact, &Request::Ping, tries).expect("room");
    }
    a.sent();
    let (mut now, mut ended) = (at(333), 0);
    while let Some((then, did)) = check_timer_contract(&mut a.link, now, || Input::Timeout) {
        now = then;
        let transmit = |output: &&Output| matches!(output, Output::Transmit { .. });
        ended += did.len() - did.iter().filter(transmit).count();
    }
    assert_eq!(ended, 10 + 4);
}

#[test]
fn full_outputs_turn_requests_away_and_never_lose_what_was_promised() {
    let small = LinkConfig { outputs_max: 4, requests_max: 8, ..config() };
    let mut a = Node::new(1, small);
    let to = Node::new(2, config()).contact;
    let begun = (0..10).filter(|_| a.link.request(at(0), to, &Request::Ping, options()).is_ok());
    assert_eq!(begun.count(), 4, "each has a datagram in the queue");
    // Nobody fetches anything: further tries are lost, the failures are not.
    a.link.handle_timeout(at(400));
    a.link.handle_timeout(at(1_200));
    assert_eq!(a.stats().dropped_queue_full, 4);
    assert_eq!((a.sent().len(), a.told.len()), (4, 4));
    assert!(a.told.iter().all(|told| matches!(told, Output::Failed { .. })));
}
