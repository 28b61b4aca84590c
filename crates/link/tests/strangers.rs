//! How two nodes that know nothing of each other come to terms, and how they do again when one of
//! them has forgotten the other.

mod world;

use std::time::Duration;

use potluck_base::{Contact, PublicKey, Rate};
use potluck_link::{LinkConfig, Output, RequestError, RespondError};
use potluck_wire::limits::MESSAGE_BYTES_MAX;
use potluck_wire::{Request, Response};
use world::{FLAG_AT, Node, at, config, exchange, friend, large_answer, options};

#[test]
fn a_stranger_gets_a_full_answer_in_one_round_trip_within_the_bytes_it_sent() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    let token = a.ask(at(0), b.contact);
    let request = a.sent_one();
    let answer = b.serve(at(5), a.address(), &request).expect("an answer");
    assert!(answer.len() <= request.len(), "{} for {}", answer.len(), request.len());
    a.take(at(10), b.address(), &answer);
    a.assert_answered(token, b.contact, Duration::from_millis(10));
    assert_eq!(b.stats().sessions, 0, "a stranger leaves nothing behind");
}

#[test]
fn the_cookie_in_the_first_answer_proves_the_asker_from_then_on() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    let first = exchange(at(0), &mut a, &mut b);
    assert_eq!(first[0][FLAG_AT], 0, "no cookie yet");

    a.ask(at(20), b.contact);
    let second = a.sent_one();
    assert_eq!(second[FLAG_AT], 1, "the cookie stands in the clear header");
    b.link.handle_datagram(at(20), a.address(), &second);
    b.sent();
    let (reply_to, proven) = b.asked().expect("a request");
    assert!(proven);
    assert_eq!(b.stats().sessions, 1);
    b.link.respond(at(20), &reply_to, &Response::Pong).expect("a proven peer has no byte limit");
    let answer = b.sent_one();
    a.take(at(30), b.address(), &answer);

    a.ask(at(40), b.contact);
    let third = a.sent_one();
    assert_eq!(third[FLAG_AT], 0, "an answer without a cookie says that none is needed");
    assert_eq!(third.len(), 148, "and no padding");
    let answer = b.serve(at(40), a.address(), &third).expect("an answer");
    assert!(answer.len() > third.len());
}

#[test]
fn a_peer_that_answered_us_is_proven_without_a_cookie() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    exchange(at(0), &mut a, &mut b);
    b.ask(at(20), a.contact);
    let request = b.sent_one();
    a.link.handle_datagram(at(20), b.address(), &request);
    a.sent();
    assert!(a.asked().expect("a request").1);
}

#[test]
fn an_unproven_asker_never_gets_more_than_its_budget_and_the_attempt_is_counted() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    let short = potluck_link::RequestOptions {
        tries: 1,
        answer_bytes_max: 50,
        ..potluck_link::RequestOptions::default()
    };
    a.link.request(at(0), b.contact, &Request::Ping, short).expect("room");
    let request = a.sent_one();
    b.link.handle_datagram(at(0), a.address(), &request);
    b.sent();
    let Output::Incoming { reply_to, proven, budget, .. } = b.told_one() else {
        panic!("a request was expected");
    };
    assert_eq!((proven, budget), (false, 50));
    let refused = b.link.respond(at(0), &reply_to, &large_answer());
    assert_eq!(refused, Err(RespondError::TooLarge));
    assert_eq!((b.sent().len(), b.stats().dropped_over_budget), (0, 1));
    b.link.respond(at(0), &reply_to, &Response::Pong).expect("within the budget");
    assert!(b.sent_one().len() <= request.len());
}

#[test]
fn when_the_server_forgot_us_one_more_round_trip_heals_it() {
    let mut b = Node::new(2, config());
    let mut a = friend(1, &mut b);
    b.restart();
    // Unpadded, so the answer does not fit, and the refusal brings a cookie; the link resends.
    let datagrams = exchange(at(1_000), &mut a, &mut b);
    assert_eq!(datagrams.len(), 4, "request, refusal, request with cookie, answer");
    assert!(datagrams[1].len() <= datagrams[0].len());
    assert_eq!(datagrams[2][FLAG_AT], 1);
    assert_eq!(a.stats().retransmissions, 0, "no timeout was waited for");
    assert_eq!(exchange(at(2_000), &mut a, &mut b).len(), 2);
}

#[test]
fn when_the_client_forgot_the_server_it_is_a_stranger_for_one_request() {
    let mut b = Node::new(2, config());
    let mut a = friend(1, &mut b);
    a.restart();
    let first = exchange(at(1_000), &mut a, &mut b);
    assert!(first[1].len() <= first[0].len(), "a new boot id is not proven");
    assert_eq!(exchange(at(1_100), &mut a, &mut b)[0][FLAG_AT], 1);
    assert_eq!(exchange(at(1_200), &mut a, &mut b)[0].len(), 148);
    assert_eq!(b.stats().key_agreements, 2, "its keys were still there");
}

#[test]
fn a_cookie_lasts_a_minute_and_no_longer_than_two() {
    for (later, accepted) in [(59_000, true), (121_000, false)] {
        let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
        exchange(at(0), &mut a, &mut b);
        // Another client with the same keys and a cookie it keeps for as long as it likes.
        a.ask(at(20), b.contact);
        let with_cookie = a.sent_one();
        b.link.handle_datagram(at(later), a.address(), &with_cookie);
        b.sent();
        assert_eq!(b.asked().expect("a request").1, accepted, "after {later} ms");
        assert_eq!(b.stats().cookies_refused, u64::from(!accepted));
    }
}

#[test]
fn an_old_cookie_is_not_relied_on_the_request_is_padded_again() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    exchange(at(0), &mut a, &mut b);
    let datagrams = exchange(at(100_000), &mut a, &mut b);
    assert_eq!(datagrams.len(), 2, "one round trip");
    assert!(datagrams[0].len() > 148);
    assert_eq!(datagrams[0][FLAG_AT], 1, "it may still be good");
    let datagrams = exchange(at(400_000), &mut a, &mut b);
    assert_eq!((datagrams.len(), datagrams[0][FLAG_AT]), (2, 0), "now it cannot be");
}

#[test]
fn a_cookie_is_good_for_its_address_and_key_only() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    exchange(at(0), &mut a, &mut b);
    a.ask(at(20), b.contact);
    let with_cookie = a.sent_one();
    let elsewhere = Node::new(9, config()).address();
    b.link.handle_datagram(at(20), elsewhere, &with_cookie);
    b.sent();
    assert!(!b.asked().expect("a request").1);
    assert_eq!((b.stats().cookies_refused, b.stats().sessions), (1, 0));
}

#[test]
fn a_spent_agreement_budget_asks_for_a_cookie_and_the_request_succeeds_with_it() {
    let tight = LinkConfig { agreements: Rate::new(1, 1), ..config() };
    let mut b = Node::new(2, tight);
    let (mut first, mut a) = (Node::new(3, config()), Node::new(1, config()));
    exchange(at(0), &mut first, &mut b);

    let token = a.ask(at(1), b.contact);
    let request = a.sent_one();
    b.link.handle_datagram(at(1), a.address(), &request);
    let retry = b.sent_one();
    assert!(retry.len() < request.len() && b.told.is_empty());
    assert_eq!((b.stats().retries_out, b.stats().key_agreements), (1, 1));

    a.link.handle_datagram(at(11), b.address(), &retry);
    let again = a.sent_one();
    assert_eq!((again[FLAG_AT], a.stats().requests_redirected), (1, 1));
    let answer = b.serve(at(11), a.address(), &again).expect("an answer");
    a.take(at(21), b.address(), &answer);
    a.assert_answered(token, b.contact, Duration::from_millis(10));
    assert_eq!(a.stats().retransmissions, 0, "it was not counted as a try");

    a.take(at(22), b.address(), &retry);
    assert_eq!(a.stats().dropped_unsolicited, 1, "the request is over");
}

#[test]
fn a_demand_for_a_cookie_is_followed_once_and_only_from_the_peer_that_was_asked() {
    let tight = LinkConfig { agreements: Rate::new(1, 1), ..config() };
    let mut b = Node::new(2, tight);
    exchange(at(0), &mut Node::new(3, config()), &mut b);
    let mut a = Node::new(1, config());
    a.ask(at(1), b.contact);
    let request = a.sent_one();
    b.link.handle_datagram(at(1), a.address(), &request);
    let retry = b.sent_one();

    a.take(at(2), Node::new(9, config()).address(), &retry);
    let mut other_boot = retry.to_vec();
    other_boot[10] ^= 1;
    a.take(at(2), b.address(), &other_boot);
    let mut other_counter = retry.to_vec();
    other_counter[33] ^= 1;
    a.take(at(2), b.address(), &other_counter);
    assert_eq!(a.stats().dropped_unsolicited, 3);

    a.link.handle_datagram(at(3), b.address(), &retry);
    a.sent_one();
    a.take(at(4), b.address(), &retry);
    assert_eq!((a.stats().dropped_unsolicited, a.stats().requests_redirected), (4, 1));
}

#[test]
fn a_greeting_finds_out_who_is_at_an_address_without_leaving_a_trace() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    a.link.hello(at(0), b.address());
    a.link.hello(at(0), b.address());
    let hello = a.sent_one();
    let welcome = b.serve(at(0), a.address(), &hello).expect("a welcome");
    assert!(welcome.len() <= hello.len());

    a.take(at(1), Node::new(9, config()).address(), &welcome);
    let mut other_nonce = welcome.to_vec();
    other_nonce[10] ^= 1;
    a.take(at(1), b.address(), &other_nonce);
    assert_eq!((a.stats().dropped_unsolicited, a.told.len()), (2, 0));

    a.take(at(2), b.address(), &welcome);
    let (address, contact) = (b.address(), b.contact);
    assert_eq!(a.told_one(), Output::Greeted { address, contact });
    assert_eq!((a.stats().hellos_outstanding, b.stats().sessions), (0, 0));
    assert_eq!((hello[0] & 0xc0, welcome[0] & 0xc0), (0, 0), "QUIC has these bits");
}

#[test]
fn an_address_that_anybody_may_have_made_up_is_greeted_by_one_datagram() {
    let mut a = Node::new(1, config());
    let b = Node::new(2, config());
    a.link.hello_once(at(0), b.address());
    a.link.hello_once(at(0), b.address());
    assert_eq!(a.sent_one().len(), 192);
    a.link.handle_timeout(at(60_000));
    assert!(a.sent().is_empty());
    assert_eq!(a.told_one(), Output::NoWelcome { address: b.address() });
    assert!(a.stats().hellos_outstanding == 0 && a.stats().hellos_failed == 1);
}

#[test]
fn a_greeting_shorter_than_it_must_be_is_not_answered() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    a.link.hello(at(0), b.address());
    let hello = a.sent_one();
    b.take(at(0), a.address(), &hello[..127]);
    assert_eq!(b.stats().dropped_malformed, 1);
}

#[test]
fn an_answer_arrives_also_when_the_address_is_written_as_mapped_ipv6() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    let token = a.ask(at(0), b.contact);
    let request = a.sent_one();
    let answer = b.serve(at(0), a.address(), &request).expect("an answer");
    let std::net::SocketAddr::V4(v4) = b.address() else { panic!("an IPv4 address") };
    a.take(at(10), (v4.ip().to_ipv6_mapped(), v4.port()).into(), &answer);
    a.assert_answered(token, b.contact, Duration::from_millis(10));
}

#[test]
fn a_request_is_refused_at_once_when_it_cannot_be_made() {
    let mut a = Node::new(1, config());
    let to = Node::new(2, config()).contact;
    let own = a.contact;
    let mut identity_point = [0; 32];
    identity_point[0] = 1;
    let weak = Contact { public_key: PublicKey::from_bytes(identity_point), ..to };
    for contact in [own, weak] {
        let refused = a.link.request(at(0), contact, &Request::Ping, options());
        assert_eq!(refused, Err(RequestError::BadKey));
    }
    let envelopes = vec![vec![0; MESSAGE_BYTES_MAX].into()];
    let refused =
        a.link.request(at(0), to, &Request::Store { envelopes, certificates: vec![] }, options());
    assert_eq!(refused, Err(RequestError::TooLarge));

    let mut full = Node::new(3, LinkConfig { requests_max: 1, ..config() });
    full.ask(at(0), to);
    let refused = full.link.request(at(0), to, &Request::Ping, options());
    assert_eq!(refused, Err(RequestError::Busy));
    assert_eq!((a.sent().len(), full.sent().len()), (0, 1));
}

#[test]
fn the_longest_messages_fit_in_a_datagram_with_both_cookies() {
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    exchange(at(0), &mut a, &mut b);
    let mut length = MESSAGE_BYTES_MAX;
    let request = loop {
        let request =
            Request::Store { envelopes: vec![vec![0; length].into()], certificates: vec![] };
        if potluck_wire::encode_request(&request).len() <= MESSAGE_BYTES_MAX {
            break request;
        }
        length -= 1;
    };
    assert_eq!(potluck_wire::encode_request(&request).len(), MESSAGE_BYTES_MAX);
    a.link.request(at(20), b.contact, &request, options()).expect("it fits");
    let datagram = a.sent_one();
    assert!(datagram.len() <= 1200 && datagram[FLAG_AT] == 1);
    b.link.handle_datagram(at(20), a.address(), &datagram);
    b.sent();
    assert!(matches!(b.told_one(), Output::Incoming { request: taken, .. } if taken == request));
}

#[test]
fn an_address_that_only_others_named_gets_a_short_datagram_first() {
    let long = potluck_link::RequestOptions { answer_bytes_max: MESSAGE_BYTES_MAX, ..options() };
    let named = potluck_link::RequestOptions { named: true, ..long };
    let bytes_to_a_bystander = |options| {
        let (mut a, b) = (Node::new(1, config()), Node::new(2, config()));
        a.link.request(at(0), b.contact, &Request::Ping, options).expect("room");
        let mut bytes = 0;
        for second in 0..30 {
            a.link.handle_timeout(at(second * 1000));
            bytes += a.sent().iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
        }
        bytes
    };
    let (padded, short) = (bytes_to_a_bystander(long), bytes_to_a_bystander(named));
    assert!(padded > 2 * 1100 && short == 2 * 148, "two tries: {padded}, {short}");
    // A node that is there answers it, and gets the request with the cookie of that answer.
    let (mut a, mut b) = (Node::new(1, config()), Node::new(2, config()));
    let token = a.link.request(at(0), b.contact, &Request::Ping, named).expect("room");
    let ping = a.sent_one();
    b.link.handle_datagram(at(5), a.address(), &ping);
    assert_eq!(b.sent().len(), 0);
    let (reply_to, proven) = b.asked().expect("a ping");
    assert!(!proven);
    b.link.respond(at(5), &reply_to, &Response::Pong).expect("it fits");
    let pong = b.sent_one();
    assert!(pong.len() <= ping.len());
    a.link.handle_datagram(at(10), b.address(), &pong);
    let request = a.sent_one();
    assert_eq!(request[FLAG_AT], 1);
    let answer = b.serve(at(15), a.address(), &request).expect("an answer");
    a.take(at(20), b.address(), &answer);
    a.assert_answered(token, b.contact, Duration::from_millis(10));
    assert_eq!((a.stats().addresses_probed, a.stats().introductions), (1, 0));
    // From then on it is an address like any other.
    a.link.request(at(30), b.contact, &Request::Ping, named).expect("room");
    a.sent_one();
    assert_eq!(a.stats().addresses_probed, 1);
}
