//! Attacks by hostile neighbours.

use bytes::Bytes;
use potluck_wire::{
    Announcement, IdRange, MessageHead, Revocation, Revoked, TopicRequest, TopicResponse,
};

use potluck_base::UnixMillis;

use super::harness::{Harness, contact, identity};
use super::net::{network, seconds, topic};
use super::*;

fn signed(publisher: u8, sequence: u64) -> SignedMessage {
    signed_for(&network(), topic().id(), publisher, sequence, UnixMillis(0))
}

/// A message with payload `hello` of the publisher's first incarnation.
fn signed_for(
    network: &NetworkId,
    topic: TopicId,
    publisher: u8,
    sequence: u64,
    at: UnixMillis,
) -> SignedMessage {
    let head = MessageHead { network, topic, incarnation: 1, sequence, at };
    SignedMessage::sign(&identity(publisher), &head, Bytes::from_static(b"hello"))
}

fn push(messages: &[SignedMessage]) -> TopicRequest {
    TopicRequest::Gossip { messages: messages.iter().map(SignedMessage::encode).collect() }
}

fn range(publisher: u8, first: u64, count: u32) -> IdRange {
    let publisher = identity(publisher).public_key();
    IdRange { publisher, incarnation: 1, first, count }
}

#[test]
fn a_forger_is_heard_three_times_and_then_ignored() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    let mut forged = signed(9, 1);
    forged.payload = Bytes::from_static(b"hellO");
    for _ in 0..20 {
        harness.asked(1, push(&[forged.clone()]));
    }
    let stats = harness.topics.stats();
    assert_eq!((harness.delivered(), stats.verify_failed), (0, 3));
    assert_eq!((stats.neighbours_down.misbehaved, stats.history_messages), (1, 0));
    assert_eq!(harness.asked(1, push(&[signed(9, 1)])), TopicResponse::NotNeighbour);
    assert!(!harness.connect(1));
    harness.advance(seconds(601));
    assert!(harness.connect(1), "forgiven after ten minutes");
}

#[test]
fn a_forgery_does_not_suppress_the_message() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1) && harness.connect(2));
    let mut forged = signed(9, 1);
    forged.payload = Bytes::from_static(b"hellO");
    harness.asked(1, push(&[forged]));
    harness.asked(2, push(&[signed(9, 1)]));
    assert_eq!(harness.delivered(), 1);
}

#[test]
fn a_message_of_another_topic_or_network_is_a_forgery() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    let elsewhere = TopicName::new("elsewhere").expect("a name").id();
    let other = NetworkId::new("other", potluck_base::Admission::Lab, None);
    for (network, topic) in [(&network(), elsewhere), (&other, topic().id())] {
        let message = signed_for(network, topic, 9, 1, UnixMillis(0));
        harness.asked(1, push(&[message]));
    }
    assert_eq!((harness.delivered(), harness.topics.stats().verify_failed), (0, 2));
}

#[test]
fn a_replay_is_delivered_once_and_not_even_checked() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1) && harness.connect(2));
    for _ in 0..50 {
        harness.asked(1, push(&[signed(9, 1)]));
        harness.asked(2, push(&[signed(9, 1)]));
    }
    let stats = harness.topics.stats();
    assert_eq!((harness.delivered(), stats.verified, stats.duplicates), (1, 1, 99));
}

#[test]
fn a_message_is_accepted_for_fifteen_minutes_and_not_from_the_future() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    harness.advance(Duration::from_secs(16 * 60));
    assert!(harness.connect(1));
    let wall = UnixMillis(1_700_000_000_000);
    harness.input(TopicsInput::WallClock(wall));
    let sent = dated;
    let (past, ahead) = (15 * 60_000, 5 * 60_000);
    for (sequence, at, delivered) in [
        (1, wall.0, 1),
        (2, wall.0 - past, 2),
        (3, wall.0 - past - 1, 2),
        (4, wall.0 + ahead + 1, 2),
    ] {
        harness.asked(1, push(&[sent(sequence, at)]));
        assert_eq!(harness.delivered(), delivered, "message {sequence}");
    }
    assert_eq!(harness.topics.stats().dropped_stale, 2);
}

fn dated(sequence: u64, at: u64) -> SignedMessage {
    signed_for(&network(), topic().id(), 9, sequence, UnixMillis(at))
}

#[test]
fn a_new_subscriber_gets_no_earlier_messages_and_its_node_caches_them() {
    let wall = UnixMillis(1_700_000_000_000);
    let mut harness = Harness::new(TopicsConfig { mode: Mode::Fleet, ..TopicsConfig::default() });
    harness.input(TopicsInput::WallClock(wall));
    harness.input(TopicsInput::Subscribe(topic()));
    assert!(harness.connect(1) && harness.connect(2));
    let minutes = |minutes: u64| wall.0 - minutes * 60_000;
    // A neighbour announces eight messages and pushes the newest first.
    harness.asked(1, TopicRequest::IHave { ranges: vec![range(9, 1, 8)] });
    harness.asked(1, push(&[dated(8, wall.0)]));
    assert_eq!(harness.delivered(), 0, "seven before it are announced");
    for sequence in 1..=7 {
        harness.asked(1, push(&[dated(sequence, minutes(12 - sequence))]));
    }
    let delivered: Vec<u64> = harness
        .outputs
        .iter()
        .filter_map(|output| match output {
            TopicsOutput::Deliver(message) => Some(message.id.sequence),
            _ => None,
        })
        .collect();
    let stats = harness.topics.stats();
    assert_eq!((delivered, stats.before_subscription, stats.missed), (vec![8], 7, 0));
    assert_eq!((stats.history_messages, stats.held), (8, 0), "it caches them for others");
    harness.advance(Duration::from_secs(30));
    assert_eq!(harness.topics.stats().missed, 0);
}

#[test]
fn a_second_copy_is_pruned_in_fleets_and_a_third_one_among_strangers() {
    for (mode, prunes) in [(Mode::Fleet, [false, true, true]), (Mode::Open, [false, false, true])] {
        let mut harness = Harness::subscribed(mode);
        (1..=3).for_each(|number| assert!(harness.connect(number)));
        let pruned = [1, 2, 3].map(|number| harness.asked(number, push(&[signed(9, 1)])));
        let expected =
            prunes.map(|prune| TopicResponse::GossipAck { prune: u64::from(prune), busy: false });
        assert_eq!(pruned, expected, "{mode:?}");
        // A push repeated because its answer was lost is no second sender.
        assert_eq!(harness.asked(1, push(&[signed(9, 1)])), expected[0]);
    }
}

#[test]
fn strangers_push_nothing() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert_eq!(harness.asked(1, push(&[signed(9, 1)])), TopicResponse::NotNeighbour);
    let body = TopicRequest::IHave { ranges: vec![range(9, 1, 100)] };
    assert_eq!(harness.asked(1, body), TopicResponse::NotNeighbour);
    let elsewhere = TopicName::new("elsewhere").expect("a name").id();
    assert_eq!(harness.asked_in(1, elsewhere, TopicRequest::Probe), TopicResponse::NotNeighbour);
    let stats = harness.topics.stats();
    assert_eq!((stats.payloads_received, stats.promises, stats.strangers), (0, 0, 3));
}

#[test]
fn invented_ids_cost_bounded_memory_and_in_the_end_the_link() {
    let mut harness = Harness::subscribed(Mode::Open);
    assert!(harness.connect(1) && harness.connect(2));
    for round in 0..480_u64 {
        let names = |number: u64| range(9, round << 32 | number << 16, u32::MAX);
        let ranges = (1..100).map(names).collect();
        harness.asked(1, TopicRequest::IHave { ranges });
        let stats = harness.topics.stats();
        assert!(stats.promises <= 2_048 && stats.publishers == 0, "{stats:?}");
        harness.advance(Duration::from_millis(250));
        // Each is grafted, and none arrives.
        for (ask, ..) in harness.asks() {
            harness.answer(ask, TopicResponse::Ack);
        }
        harness.outputs.clear();
    }
    let stats = harness.topics.stats();
    assert_eq!((stats.neighbours_down.misbehaved, stats.promises), (1, 0));
    assert!(stats.broken_promises > 100 && stats.names_refused > 0);
    assert_eq!(harness.topics.neighbours_in(&topic()), [contact(2)]);
}

#[test]
fn unsolicited_shuffle_replies_teach_no_contacts() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    let before = harness.topics.stats().passive;
    for nonce in 0..100 {
        let contacts = (20..26).map(contact).collect();
        harness.asked(1, TopicRequest::ShuffleReply { nonce, contacts });
    }
    let stats = harness.topics.stats();
    assert_eq!((stats.passive, stats.neighbours_down.misbehaved), (before, 1));
    assert!(stats.shuffles_refused >= 25);
}

#[test]
fn many_shuffles_fill_eight_places_and_cause_few_requests() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    harness.asks();
    for round in 0..=255 {
        let contacts =
            (0..6).map(|number| contact((round / 6 * 6_u8).wrapping_add(number))).collect();
        let body = TopicRequest::Shuffle { origin: contact(round), nonce: 1, hops: 0, contacts };
        harness.asked(1, body);
        harness.asked(1, TopicRequest::ForwardJoin { joiner: contact(round), hops: 0 });
    }
    assert!(harness.topics.stats().passive <= 8, "{:?}", harness.topics.stats().passive);
    let relays = harness.asks().len();
    assert!(relays <= 60 + 16, "{relays} requests to strangers");
}

#[test]
fn a_publisher_over_its_rate_is_limited_and_the_relaying_neighbour_is_not_blamed() {
    let mut harness = Harness::subscribed(Mode::Open);
    assert!(harness.connect(1));
    for sequence in 1..=200 {
        harness.asked(1, push(&[signed(9, sequence)]));
    }
    let stats = harness.topics.stats();
    assert_eq!((harness.delivered(), stats.dropped_over_rate), (50, 150));
    assert_eq!(stats.neighbours_down, DownCounts::default());
    harness.advance(seconds(1));
    // Dropped messages are not waited for, and are counted.
    harness.asked(1, push(&[signed(9, 201)]));
    assert_eq!((harness.delivered(), harness.topics.stats().missed), (51, 150));
    // Other missing messages could still arrive.
    harness.asked(1, push(&[signed(9, 300)]));
    assert_eq!(harness.delivered(), 51);
    harness.advance(seconds(6));
    assert_eq!((harness.delivered(), harness.topics.stats().missed), (52, 150 + 98));
}

#[test]
fn a_request_for_everything_is_answered_within_limits() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    let ranges = (0..1_000).map(|number| range(9, number, u32::MAX)).collect();
    let answer = harness.asked(1, TopicRequest::Graft { ranges, eager: true });
    assert_eq!(answer, TopicResponse::GraftAck { lacking: 8_192 });
    assert_eq!(harness.topics.stats().queued_messages, 0);
}

#[test]
fn garbage_is_a_forgery() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    harness.asked(1, TopicRequest::Gossip { messages: vec![Bytes::from_static(b"garbage"); 9] });
    assert_eq!(harness.topics.stats().neighbours_down.misbehaved, 1);
}

/// A link in the system topic, over which announcements come.
fn in_system_topic(defended: bool) -> Harness {
    let mut config = TopicsConfig { mode: Mode::Fleet, ..TopicsConfig::default() };
    config.defences.checked_announcements = defended;
    config.defences.member_publishers = false;
    let mut harness = Harness::new(config);
    // The publishers of these tests are not members; only the contents of their messages are checked.
    harness.topics.require_certificates(identity(99).public_key(), None);
    let system = harness.topics.system();
    for from in [1, 2] {
        let body = TopicRequest::Neighbour { high_priority: true, age_ms: 600_000 };
        let answer = harness.asked_in(from, system, body);
        assert!(matches!(answer, TopicResponse::Accepted { .. }));
    }
    harness.outputs.clear();
    harness
}

fn announcement(publisher: u8, sequence: u64, revocations: usize) -> SignedMessage {
    let forged =
        Revocation { subject: Revoked::Member(identity(50).public_key()), at: UnixMillis(1) };
    let forged = forged.sign(&identity(8), &network());
    let announcement =
        Announcement { revocations: vec![forged; revocations], ..Announcement::default() };
    let (network, topic) = (network(), TopicName::system().id());
    let head =
        MessageHead { network: &network, topic, incarnation: 1, sequence, at: UnixMillis(0) };
    SignedMessage::sign(&identity(publisher), &head, announcement.to_bytes())
}

/// Signatures that were checked for a peer, and how many of them were bad.
fn billed(harness: &Harness, number: u8) -> (u32, usize) {
    let mut sum = (0, 0);
    for output in &harness.outputs {
        if let TopicsOutput::Checked { peer, signatures, bad } = output
            && *peer == identity(number).public_key()
        {
            sum = (sum.0 + signatures, sum.1 + usize::from(*bad));
        }
    }
    sum
}

#[test]
fn a_forged_announcement_is_neither_delivered_nor_passed_on_and_both_pay() {
    let system = TopicName::system().id();
    for (revocations, checks) in [(520, 0), (8, 1)] {
        let mut harness = in_system_topic(true);
        harness.asked_in(1, system, push(&[announcement(9, 1, revocations)]));
        harness.advance(seconds(1));
        let passed_on = |harness: &Harness| {
            let asks = harness.outputs.iter().filter(|output| {
                matches!(output, TopicsOutput::Ask { request, .. }
                    if matches!(request.body, TopicRequest::Gossip { .. } | TopicRequest::IHave { .. }))
            });
            asks.count()
        };
        assert_eq!((harness.delivered(), passed_on(&harness)), (0, 0), "{revocations}");
        assert_eq!(harness.topics.stats().announcements_bad, 1);
        assert_eq!(billed(&harness, 1), (1 + checks, 1), "the one that pushed it");
        assert_eq!(billed(&harness, 9), (1 + checks, 1), "the one that published it");
        // The result without the defence.
        let mut harness = in_system_topic(false);
        harness.asked_in(1, system, push(&[announcement(9, 1, revocations)]));
        harness.advance(seconds(1));
        assert_eq!(harness.delivered(), 1);
        assert!(passed_on(&harness) > 0);
    }
}

#[test]
fn three_forged_announcements_end_a_link_and_a_good_one_is_passed_on() {
    let system = TopicName::system().id();
    let mut harness = in_system_topic(true);
    harness.asked_in(1, system, push(&[announcement(9, 1, 0)]));
    assert_eq!(harness.delivered(), 1);
    for sequence in 2..=20 {
        harness.asked_in(1, system, push(&[announcement(9, sequence, 1)]));
    }
    let stats = harness.topics.stats();
    assert_eq!((harness.delivered(), stats.announcements_bad), (1, 3));
    assert_eq!(stats.neighbours_down.misbehaved, 1);
}

#[test]
fn announcements_of_one_member_have_a_rate() {
    let system = TopicName::system().id();
    let delivered = |defended| {
        let mut harness = in_system_topic(defended);
        for sequence in 1..=1000 {
            harness.asked_in(1, system, push(&[announcement(9, sequence, 0)]));
        }
        harness.delivered()
    };
    assert_eq!((delivered(true), delivered(false)), (400, 1000));
}

#[test]
fn messages_of_a_publisher_over_its_budget_are_dropped_unchecked_for_a_while() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1) && harness.connect(2));
    let (publisher, until) = (identity(9).public_key(), harness.now + seconds(2));
    harness.input(TopicsInput::OverBudget { publisher, until });
    harness.asked(1, push(&[signed(9, 1), signed(7, 1)]));
    let stats = harness.topics.stats();
    assert_eq!((harness.delivered(), stats.verified, stats.dropped_over_budget), (1, 1, 1));
    // The neighbour announces it again, as all do, and it arrives.
    harness.advance(seconds(3));
    harness.asked(1, push(&[signed(9, 1)]));
    assert_eq!(harness.delivered(), 2);
}

/// The certificate of a member of the network of these tests.
fn certificate(subject: u8, by: u8) -> Bytes {
    let certificate = potluck_wire::Certificate {
        subject: identity(subject).public_key(),
        labels: Vec::new(),
        serial: 1,
        issued: UnixMillis(0),
        expires: UnixMillis(1_000_000),
        ephemeral: false,
        salt: None,
        ticket: Some(identity(77).public_key()),
    };
    certificate.sign(&identity(by), &network()).expect("small")
}

/// A subscriber in an `invite` network, with a link.
fn subscriber(defended: bool) -> Harness {
    let mut config = TopicsConfig { mode: Mode::Fleet, ..TopicsConfig::default() };
    config.defences.member_publishers = defended;
    let mut harness = Harness::new(config);
    harness.topics.require_certificates(identity(99).public_key(), Some(certificate(0, 99)));
    harness.input(TopicsInput::Subscribe(topic()));
    assert!(harness.connect(1) && harness.connect(2));
    harness
}

fn push_shown(message: &SignedMessage, certificate: &[u8]) -> TopicRequest {
    TopicRequest::Gossip { messages: vec![message.encode_shown(certificate)] }
}

#[test]
fn messages_of_keys_that_are_no_members_are_not_delivered() {
    let mut harness = subscriber(true);
    for publisher in 3..=40 {
        harness.asked(1, push(&[signed(publisher, 1)]));
    }
    let stats = harness.topics.stats();
    assert_eq!((harness.delivered(), stats.verified, stats.unproven), (0, 0, 38));
    assert_eq!(stats.neighbours_down.misbehaved, 0, "a neighbour may have known them");
    // Without the defence all of them are.
    let mut harness = subscriber(false);
    for publisher in 3..=40 {
        harness.asked(1, push(&[signed(publisher, 1)]));
    }
    assert_eq!(harness.delivered(), 38);
}

#[test]
fn a_member_shows_its_certificate_once_and_what_came_before_waited_for_it() {
    let mut harness = subscriber(true);
    harness.asked(1, push(&[signed(9, 2)]));
    assert_eq!(harness.delivered(), 0);
    harness.asked(2, push_shown(&signed(9, 1), &certificate(9, 99)));
    assert_eq!(harness.delivered(), 2);
    harness.asked(1, push(&[signed(9, 3)]));
    assert_eq!((harness.delivered(), harness.topics.stats().unproven), (3, 0));
}

#[test]
fn a_certificate_of_another_or_of_no_authority_is_its_pushers_fault() {
    for shown in [certificate(8, 99), certificate(9, 98), Bytes::from_static(b"certificate")] {
        let mut harness = subscriber(true);
        for sequence in 1..=3 {
            harness.asked(1, push_shown(&signed(9, sequence), &shown));
        }
        let stats = harness.topics.stats();
        assert_eq!((harness.delivered(), stats.dropped_not_member), (0, 3));
        assert_eq!(stats.neighbours_down.misbehaved, 1);
    }
}

#[test]
fn a_member_that_is_out_publishes_nothing_any_more() {
    let ticket = Revoked::Ticket(identity(77).public_key());
    for out in [Revoked::Member(identity(9).public_key()), ticket] {
        let mut harness = subscriber(true);
        harness.asked(1, push_shown(&signed(9, 1), &certificate(9, 99)));
        harness.input(TopicsInput::Revoked(out));
        harness.asked(1, push_shown(&signed(9, 2), &certificate(9, 99)));
        harness.asked(1, push(&[signed(9, 3)]));
        let stats = harness.topics.stats();
        assert_eq!((harness.delivered(), stats.dropped_not_member), (1, 2), "{out:?}");
    }
    // So does one whose certificate has expired.
    let mut harness = subscriber(true);
    harness.input(TopicsInput::WallClock(UnixMillis(1_000_000)));
    let message = signed_for(&network(), topic().id(), 9, 1, UnixMillis(1_000_000));
    harness.asked(1, push_shown(&message, &certificate(9, 99)));
    assert_eq!((harness.delivered(), harness.topics.stats().dropped_not_member), (0, 1));
}

#[test]
fn this_node_shows_its_certificate_once_a_second() {
    let mut harness = subscriber(true);
    for number in 0..30 {
        harness.publish(number, 10);
        harness.advance(Duration::from_millis(100));
        for (ask, ..) in harness.asks() {
            harness.answer(ask, TopicResponse::GossipAck { prune: 0, busy: false });
        }
    }
    let cached = harness.topics.topics[&topic().id()].broadcast.shown();
    assert_eq!(cached, (3, 30));
}
