//! A single machine: its inputs and its outputs.

use bytes::Bytes;
use potluck_base::machine::{check_timer_contract, drain};
use potluck_wire::{DisconnectCause, InTopic, TopicRequest, TopicResponse};

use super::net::{network, seconds, topic};
use super::*;

/// A machine and invented nodes around it.
pub(super) struct Harness {
    pub(super) topics: Topics,
    pub(super) now: Instant,
    pub(super) outputs: Vec<TopicsOutput>,
}

pub(super) fn identity(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

pub(in crate::topics) fn contact(number: u8) -> Contact {
    let address = ([10, 0, 0, number], 4_000).into();
    Contact::new(identity(number).public_key(), address)
}

pub(super) type SentRequest = (TopicAskId, Contact, InTopic);

impl Harness {
    /// With six links in a topic.
    pub(super) fn new(config: TopicsConfig) -> Self {
        let rng = Rng::from_number(7);
        let config = TopicsConfig { topic: ViewSizes { active: 6, passive: 64 }, ..config };
        let topics = Topics::new(identity(0), network(), 1, contact(0), config, rng);
        Self { topics, now: Instant::ZERO, outputs: Vec::new() }
    }

    /// Subscribed to the tests' topic.
    pub(super) fn subscribed(mode: Mode) -> Self {
        let mut harness = Self::new(TopicsConfig { mode, ..TopicsConfig::default() });
        harness.input(TopicsInput::Subscribe(topic()));
        harness
    }

    pub(super) fn input(&mut self, input: TopicsInput) {
        self.topics.handle(self.now, input);
        assert_joined(&self.topics);
        self.outputs.extend(drain(&mut self.topics));
    }

    /// Lets time pass, and handles every deadline in it.
    pub(super) fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.topics.poll_timeout().filter(|due| due.at <= end) {
            self.now = due.at.max(self.now);
            self.input(TopicsInput::Timeout);
        }
        self.now = end;
    }

    /// The answer to a request of another node.
    pub(super) fn asked(&mut self, from: u8, body: TopicRequest) -> TopicResponse {
        self.asked_in(from, topic().id(), body)
    }

    pub(super) fn asked_in(
        &mut self,
        from: u8,
        topic: TopicId,
        body: TopicRequest,
    ) -> TopicResponse {
        let serve = TopicServeId(9);
        let request = InTopic { topic, body };
        self.input(TopicsInput::Asked { serve, from: contact(from), request });
        let is_answer = |output: &TopicsOutput| matches!(output, TopicsOutput::Answer { .. });
        let place = self.outputs.iter().position(is_answer).expect("an answer");
        match self.outputs.remove(place) {
            TopicsOutput::Answer { answer, .. } => answer,
            other => unreachable!("{other:?}"),
        }
    }

    /// Makes a link; true if it was accepted.
    pub(super) fn connect(&mut self, number: u8) -> bool {
        let body = TopicRequest::Neighbour { high_priority: true, age_ms: 600_000 };
        matches!(self.asked(number, body), TopicResponse::Accepted { .. })
    }

    pub(super) fn publish(&mut self, publish: u64, length: usize) {
        let payload = Bytes::from(vec![7; length]);
        let publish = PublishId(publish);
        self.input(TopicsInput::Publish { publish, topic: topic(), payload });
    }

    /// Takes the requests in the tests' topic out of the outputs.
    pub(super) fn asks(&mut self) -> Vec<SentRequest> {
        let (asks, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.outputs).into_iter().partition(|output| {
                matches!(output, TopicsOutput::Ask { request, .. } if request.topic == topic().id())
            });
        self.outputs = rest;
        asks.into_iter()
            .filter_map(|output| match output {
                TopicsOutput::Ask { ask, to, request, .. } => Some((ask, to, request)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn answer(&mut self, ask: TopicAskId, answer: TopicResponse) {
        self.input(TopicsInput::Answered { ask, answer, rtt: Duration::from_millis(20) });
    }

    pub(super) fn delivered(&self) -> usize {
        let is_message = |output: &&TopicsOutput| matches!(output, TopicsOutput::Deliver(_));
        self.outputs.iter().filter(is_message).count()
    }

    fn published(&self) -> usize {
        let is_one = |output: &&TopicsOutput| matches!(output, TopicsOutput::Published { .. });
        self.outputs.iter().filter(is_one).count()
    }

    fn refusals(&self) -> Vec<TopicRefusal> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                TopicsOutput::PublishRefused { why, .. }
                | TopicsOutput::SubscribeRefused { why, .. } => Some(*why),
                _ => None,
            })
            .collect()
    }

    fn downs(&self) -> DownCounts {
        self.topics.stats().neighbours_down
    }
}

fn is_push(asked: &&SentRequest) -> bool {
    matches!(asked.2.body, TopicRequest::Gossip { .. })
}

const PUSHED: TopicResponse = TopicResponse::GossipAck { prune: 0, busy: false };

#[test]
fn invalid_requests_are_refused_with_their_reason() {
    let config = TopicsConfig { topics_max: 3, ..TopicsConfig::default() };
    let mut harness = Harness::new(config);
    let name = |text: &str| TopicName::new(text).expect("a name");
    harness.input(TopicsInput::Subscribe(TopicName::system()));
    harness.input(TopicsInput::Subscribe(name("potluck/other")));
    let payload = Bytes::from_static(b"x");
    let publish = PublishId(1);
    harness.input(TopicsInput::Publish { publish, topic: TopicName::system(), payload });
    harness.publish(2, crate::message::PAYLOAD_BYTES_MAX + 1);
    for text in ["a", "b", "c"] {
        harness.input(TopicsInput::Subscribe(name(text)));
    }
    let reserved = TopicRefusal::Reserved;
    let (long, many) = (TopicRefusal::TooLong, TopicRefusal::TooManyTopics);
    assert_eq!(harness.refusals(), [reserved, reserved, reserved, long, many]);
    assert_eq!(harness.topics.subscriptions(), [name("a"), name("b")]);
}

#[test]
fn a_node_alone_publishes_to_itself_at_once_and_looks_for_others() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    harness.publish(1, 10);
    assert_eq!((harness.published(), harness.delivered()), (1, 1));
    let find = TopicsOutput::Find { topic: topic().id() };
    let announce = TopicsOutput::Announce { topic: topic().id() };
    assert!(harness.outputs.contains(&find) && harness.outputs.contains(&announce));
}

#[test]
fn at_most_256_publishes_wait() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    (0..400).for_each(|number| harness.publish(number, 10));
    assert_eq!(harness.published(), 64, "as many as the first link has room for");
    assert_eq!(harness.refusals(), vec![TopicRefusal::Busy; 400 - 64 - 256]);
    assert_eq!(harness.topics.stats().publishes_waiting, 256);
    // The search found no other node.
    harness.input(TopicsInput::Found { topic: topic().id(), contacts: Vec::new() });
    assert_eq!((harness.published(), harness.topics.stats().publishes_waiting), (64 + 256, 0));
}

#[test]
fn publishers_wait_for_room_and_a_stalled_neighbour_is_not_waited_for() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    (0..200).for_each(|number| harness.publish(number, 900));
    let asks = harness.asks();
    let pushes = asks.iter().filter(is_push).count();
    let window = QueueLimits::default().window;
    assert_eq!(pushes, window, "a window of bundles");
    assert_eq!(harness.published(), window + 64, "and as many queued as there is room for");
    let (ask, ..) = *asks.iter().find(is_push).expect("a push");
    harness.answer(ask, PUSHED);
    assert_eq!(harness.published(), window + 65, "an answer makes room for one more");
    harness.advance(seconds(3));
    assert_eq!(harness.published(), 200, "no publisher waits for long");
    assert_eq!(harness.topics.stats().publishes_waiting, 0);
}

#[test]
fn a_busy_neighbour_slows_publishers_and_cannot_stop_them() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    let mut published = Vec::new();
    for round in 0..200 {
        harness.publish(round, 900);
        for (ask, ..) in harness.asks().into_iter().filter(|asked| is_push(&asked)) {
            harness.answer(ask, TopicResponse::GossipAck { prune: 0, busy: true });
        }
        published.push(harness.published());
        harness.advance(Duration::from_millis(50));
    }
    assert!(published[90] <= 60, "{} in 4.5 s", published[90]);
    assert_eq!(harness.published(), 200, "after five seconds its reports do not count");
}

#[test]
fn a_silent_neighbour_is_replaced_at_once_and_only_then_dropped() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    (1..=6).for_each(|number| assert!(harness.connect(number)));
    harness.input(TopicsInput::Found { topic: topic().id(), contacts: vec![contact(50)] });
    assert!(harness.asks().iter().all(|(_, to, _)| *to != contact(50)), "there are enough links");
    harness.publish(1, 10);
    let pushes = harness.asks();
    let (ask, silent, _) = pushes.iter().find(is_push).expect("a push").clone();
    harness.input(TopicsInput::Failed(ask));
    let asks = harness.asks();
    let link = |asked: &&SentRequest| matches!(asked.2.body, TopicRequest::Neighbour { .. });
    assert_eq!(asks.iter().find(link).map(|asked| asked.1), Some(contact(50)));
    let check = asks.iter().find(|asked| asked.2.body == TopicRequest::Probe).expect("a check");
    assert_eq!((check.1, harness.downs().crashed), (silent, 0));
    harness.advance(seconds(1));
    let heard = (1..=6).find(|number| contact(*number) != silent).expect("another");
    harness.asked(heard, TopicRequest::Probe);
    harness.input(TopicsInput::Failed(check.0));
    assert_eq!(harness.downs().crashed, 1);
    assert!(!harness.topics.neighbours_in(&topic()).contains(&silent));
}

#[test]
fn a_silent_neighbour_that_answers_its_check_stays_and_is_told_what_it_missed() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    harness.publish(1, 10);
    let (ask, ..) = harness.asks().into_iter().find(|asked| is_push(&asked)).expect("a push");
    harness.input(TopicsInput::Failed(ask));
    let (check, ..) = harness.asks()[0].clone();
    harness.answer(check, TopicResponse::Ack);
    let have = |asked: &SentRequest| matches!(&asked.2.body, TopicRequest::IHave { ranges } if ranges.len() == 1);
    assert!(harness.asks().iter().any(have));
    assert_eq!(
        (harness.downs(), harness.topics.stats().active_doubted),
        (DownCounts::default(), 0)
    );
}

#[test]
fn an_unsent_push_is_sent_again_and_proves_nothing() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    harness.publish(1, 10);
    let (ask, _, first) = harness.asks().into_iter().find(|asked| is_push(&asked)).expect("a push");
    harness.input(TopicsInput::Unsent(ask));
    assert!(harness.asks().is_empty());
    harness.advance(Duration::from_millis(100));
    let again = harness.asks().into_iter().find(|asked| is_push(&asked)).expect("a push");
    assert_eq!((again.2, harness.topics.stats().active_doubted), (first, 0));
}

#[test]
fn the_oldest_links_outlive_any_number_of_joiners() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    let accepted: Vec<u8> = (1..=40).filter(|number| harness.connect(*number)).collect();
    // Nine at once, and one more for the first eviction.
    assert_eq!(accepted.len(), 10);
    harness.advance(seconds(11));
    assert!(harness.connect(41) && !harness.connect(42), "one eviction in ten seconds");
    harness.advance(seconds(60));
    let left = harness.topics.neighbours_in(&topic());
    assert!(left.contains(&contact(1)) && left.contains(&contact(2)), "{left:?}");
    assert_eq!(left.len(), 6);
}

#[test]
fn links_of_this_nodes_own_choice_are_not_evicted() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    let contacts = (1..=3).map(contact).collect();
    harness.input(TopicsInput::Found { topic: topic().id(), contacts });
    for (ask, ..) in harness.asks() {
        harness.answer(ask, TopicResponse::Accepted { age_ms: 0 });
    }
    for round in 0..20 {
        harness.connect(100 + round);
        harness.advance(seconds(11));
    }
    let left = harness.topics.neighbours_in(&topic());
    assert!((1..=3).all(|number| left.contains(&contact(number))), "{left:?}");
}

#[test]
fn an_evicted_peer_is_refused_for_a_minute_unless_it_has_no_other_link() {
    let low_priority = TopicRequest::Neighbour { high_priority: false, age_ms: 600_000 };
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1) && harness.connect(2));
    let body = TopicRequest::Disconnect { cause: DisconnectCause::Room, others: vec![contact(9)] };
    assert_eq!(harness.asked(1, body), TopicResponse::Ack);
    assert_eq!(harness.downs().evicted, 1);
    let declines = |answer| matches!(answer, TopicResponse::Declined { .. });
    assert!(declines(harness.asked(1, low_priority.clone())));
    assert!(harness.asks().iter().any(|(_, to, _)| *to == contact(9)), "it named another contact");
    harness.advance(seconds(55));
    assert!(declines(harness.asked(1, low_priority.clone())));
    assert!(harness.connect(1), "there is room, and it has no other link");
    let body = TopicRequest::Disconnect { cause: DisconnectCause::Room, others: Vec::new() };
    harness.asked(2, body);
    harness.advance(seconds(61));
    assert!(!declines(harness.asked(2, low_priority)));
    // No other peer is evicted for one that was evicted.
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!((1..=10).all(|number| harness.connect(number)));
    harness.advance(seconds(11));
    let away = (1..=10).find(|of| !harness.topics.neighbours_in(&topic()).contains(&contact(*of)));
    assert!(!harness.connect(away.expect("one had to go")) && harness.connect(11));
}

#[test]
fn a_neighbour_that_does_not_know_the_link_is_none() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    assert!(harness.connect(1));
    harness.publish(1, 10);
    let (ask, ..) = harness.asks().into_iter().find(|asked| is_push(&asked)).expect("a push");
    harness.answer(ask, TopicResponse::NotNeighbour);
    assert_eq!((harness.downs().forgotten, harness.topics.neighbours_in(&topic()).len()), (1, 0));
}

/// The number of messages pushed to one node.
fn pushed_to(asks: &[SentRequest], number: u8) -> usize {
    let to = asks.iter().filter(|(_, to, _)| *to == contact(number));
    to.map(|(.., request)| match &request.body {
        TopicRequest::Gossip { messages } => messages.len(),
        _ => 0,
    })
    .sum()
}

#[test]
fn a_neighbour_that_forgot_the_link_is_asked_for_a_new_one_and_gets_the_refused_messages() {
    for others in [0, 3] {
        let mut harness = Harness::subscribed(Mode::Fleet);
        (1..=1 + others).for_each(|number| assert!(harness.connect(number)));
        harness.asks();
        harness.publish(1, 10);
        harness.publish(2, 10);
        let asks = harness.asks();
        for (ask, ..) in asks.iter().filter(is_push) {
            harness.answer(*ask, TopicResponse::NotNeighbour);
        }
        let asks = harness.asks();
        let links = |asks: &[SentRequest]| -> Vec<TopicAskId> {
            let high_priority =
                |body: &TopicRequest| matches!(body, TopicRequest::Neighbour { .. });
            asks.iter().filter(|asked| high_priority(&asked.2.body)).map(|asked| asked.0).collect()
        };
        let asked = links(&asks);
        assert_eq!(asked.len(), 1 + usize::from(others), "each of them, at once");
        harness.answer(asked[0], TopicResponse::Accepted { age_ms: 600_000 });
        let asks = harness.asks();
        let pushed: usize = (1..=1 + others).map(|number| pushed_to(&asks, number)).sum();
        assert_eq!(pushed, 2, "unacknowledged messages go to the first neighbour");
        // A neighbour that still does not know the link is not asked again and again.
        for (ask, ..) in asks.iter().filter(is_push) {
            harness.answer(*ask, TopicResponse::NotNeighbour);
        }
        assert_eq!(links(&harness.asks()).len(), 0);
    }
}

fn taken(harness: &Harness) -> Vec<usize> {
    let of = |output: &TopicsOutput| match output {
        TopicsOutput::Acknowledged { neighbours, .. } => Some(*neighbours),
        _ => None,
    };
    harness.outputs.iter().filter_map(of).collect()
}

fn publish_counted(harness: &mut Harness) {
    let (publish, payload) = (PublishId(1), Bytes::from_static(b"counted"));
    harness.input(TopicsInput::PublishCounted { publish, topic: topic(), payload });
}

#[test]
fn a_first_message_is_delivered_at_once_and_counted_when_all_were_asked() {
    let found = |contacts| TopicsInput::Found { topic: topic().id(), contacts };
    // No other node is in the topic.
    let mut harness = Harness::subscribed(Mode::Fleet);
    publish_counted(&mut harness);
    assert_eq!((harness.delivered(), taken(&harness)), (1, vec![]), "others are looked for");
    harness.input(found(Vec::new()));
    assert_eq!(taken(&harness), [0]);
    publish_counted(&mut harness);
    assert_eq!((harness.delivered(), taken(&harness)), (2, vec![0, 0]));
    // There is one, and it is found only now.
    let mut harness = Harness::new(TopicsConfig { mode: Mode::Fleet, ..TopicsConfig::default() });
    publish_counted(&mut harness);
    harness.input(found(vec![contact(1), contact(2)]));
    assert_eq!(taken(&harness), []);
    let accepted = TopicResponse::Accepted { age_ms: 600_000 };
    let mut pushes: Vec<SentRequest> = Vec::new();
    for (ask, ..) in harness.asks() {
        harness.answer(ask, accepted.clone());
        pushes.extend(harness.asks().into_iter().filter(|asked| is_push(&asked)));
        if pushes.len() == 1 {
            harness.answer(pushes[0].0, PUSHED);
            assert_eq!(taken(&harness), [], "another contact is asked for a link");
        }
    }
    assert_eq!(
        (pushes.len(), taken(&harness)),
        (2, vec![]),
        "the other neighbour may get it as well"
    );
    harness.answer(pushes[1].0, PUSHED);
    assert_eq!(taken(&harness), [2]);
    // An unanswering neighbour is not waited for.
    publish_counted(&mut harness);
    let pushes: Vec<SentRequest> =
        harness.asks().into_iter().filter(|asked| is_push(&asked)).collect();
    harness.answer(pushes[0].0, PUSHED);
    harness.advance(Duration::from_millis(900));
    assert_eq!(taken(&harness), [2]);
    harness.advance(Duration::from_millis(100));
    assert_eq!(taken(&harness), [2, 1]);
    harness.input(TopicsInput::Leave);
    assert_eq!(taken(&harness), [2, 1]);
}

#[test]
fn an_unacknowledged_message_keeps_its_publisher_in_the_topic_while_it_may_be_isolated() {
    for isolated in [false, true] {
        let mut harness =
            Harness::new(TopicsConfig { mode: Mode::Fleet, ..TopicsConfig::default() });
        harness.publish(1, 10);
        let contacts = if isolated { vec![contact(1)] } else { Vec::new() };
        harness.input(TopicsInput::Found { topic: topic().id(), contacts });
        for _ in 0..300 {
            harness.advance(seconds(1));
            for (ask, ..) in harness.asks() {
                harness.input(TopicsInput::Failed(ask));
            }
        }
        assert_eq!(harness.topics.stats().topics, 1 + usize::from(isolated));
        if !isolated {
            continue;
        }
        assert!(harness.connect(1));
        assert_eq!(pushed_to(&harness.asks(), 1), 1);
        // And for ten minutes at most.
        harness.advance(seconds(700));
        assert_eq!(harness.topics.stats().topics, 1);
    }
}

#[test]
fn verdicts_and_leaves_end_links_in_all_topics() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    let high_priority = TopicRequest::Neighbour { high_priority: true, age_ms: 0 };
    for number in 1..=2 {
        assert!(harness.connect(number));
        harness.asked_in(number, TopicName::system().id(), high_priority.clone());
    }
    harness.input(TopicsInput::Unreachable(contact(1).public_key));
    harness.input(TopicsInput::Left(contact(2).public_key));
    assert_eq!((harness.downs().crashed, harness.downs().left), (2, 2));
    for event in [
        TopicsOutput::NeighbourUp(contact(1)),
        TopicsOutput::NeighbourDown(contact(1), Cause::Crashed),
        TopicsOutput::NeighbourDown(contact(2), Cause::Left),
    ] {
        assert_eq!(
            harness.outputs.iter().filter(|output| **output == event).count(),
            1,
            "{event:?}"
        );
    }
    assert!(harness.topics.neighbours().is_empty());
}

#[test]
fn after_a_sleep_silent_neighbours_are_not_taken_for_crashed() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    (1..=4).for_each(|number| assert!(harness.connect(number)));
    harness.asks();
    harness.input(TopicsInput::Resumed);
    let checks = harness.asks();
    assert_eq!(checks.len(), 4);
    harness.answer(checks[0].0, TopicResponse::Ack);
    checks[1..].iter().for_each(|(ask, ..)| harness.input(TopicsInput::Failed(*ask)));
    let downs = harness.downs();
    assert_eq!((downs.local_suspend, downs.crashed), (3, 0));
    assert_eq!(harness.topics.neighbours_in(&topic()).len(), 1);
}

#[test]
fn a_reader_that_comes_back_gets_the_cached_messages() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    harness.advance(seconds(6));
    (0..3).for_each(|number| harness.publish(number, 10));
    let ids: Vec<MessageId> = harness
        .outputs
        .iter()
        .filter_map(|output| match output {
            TopicsOutput::Published { message, .. } => Some(*message),
            _ => None,
        })
        .collect();
    let backlog = |after| {
        let (messages, complete) = harness.topics.backlog(&topic(), after);
        (messages.iter().map(|message| message.id.sequence).collect::<Vec<_>>(), complete)
    };
    assert_eq!(backlog(Some(ids[0])), (vec![2, 3], true));
    assert_eq!(backlog(None), (vec![], true));
    assert_eq!(backlog(Some(MessageId { sequence: 99, ..ids[0] })), (vec![1, 2, 3], false));
}

#[test]
fn sixteen_mebibytes_are_cached_and_no_more() {
    let mut harness = Harness::subscribed(Mode::Fleet);
    harness.advance(seconds(6));
    for number in 0..300 {
        harness.publish(number, crate::message::PAYLOAD_BYTES_MAX);
        harness.outputs.clear();
    }
    let stats = harness.topics.stats();
    assert!(stats.history_bytes <= 16 << 20 && stats.history_messages >= 250, "{stats:?}");
}

#[test]
fn every_deadline_is_kept_and_nothing_happens_before_it() {
    let mut harness = Harness::subscribed(Mode::Open);
    for number in 1..=4 {
        assert!(harness.connect(number));
    }
    harness.input(TopicsInput::Candidates((10..30).map(contact).collect()));
    let contacts = (30..50).map(contact).collect();
    harness.input(TopicsInput::Found { topic: topic().id(), contacts });
    (0..100).for_each(|number| harness.publish(number, 400));
    for _ in 0..2_000 {
        let Some((at, _)) =
            check_timer_contract(&mut harness.topics, harness.now, || TopicsInput::Timeout)
        else {
            break;
        };
        harness.now = at;
    }
    assert!(harness.now > Instant::ZERO + seconds(600), "{:?}", harness.now);
}
