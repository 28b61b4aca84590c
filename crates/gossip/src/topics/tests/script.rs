//! One machine: what goes in and what comes out.

use bytes::Bytes;
use potluck_base::machine::{check_timer_contract, drain};
use potluck_wire::{PartCause, Spread, SpreadAct, SpreadAnswer};

use super::net::{network, seconds, topic};
use super::*;

/// A machine and made-up nodes around it.
pub(super) struct Desk {
    pub(super) topics: Topics,
    pub(super) now: Instant,
    pub(super) outputs: Vec<TopicsOutput>,
}

pub(super) fn identity(number: u8) -> Identity {
    Identity::from_seed([number; 32])
}

pub(super) fn contact(number: u8) -> Contact {
    let address = ([10, 0, 0, number], 4_000).into();
    Contact::new(identity(number).public_key(), address)
}

pub(super) type Asked = (SpreadAskId, Contact, Spread);

impl Desk {
    /// With six links in a topic.
    pub(super) fn new(config: TopicsConfig) -> Self {
        let rng = Rng::from_number(7);
        let config = TopicsConfig { topic: ViewSizes { active: 6, passive: 64 }, ..config };
        let topics = Topics::new(identity(0), network(), 1, contact(0), config, rng);
        Self { topics, now: Instant::ZERO, outputs: Vec::new() }
    }

    /// Subscribed to the topic of the tests.
    pub(super) fn subscribed(mode: Mode) -> Self {
        let mut desk = Self::new(TopicsConfig { mode, ..TopicsConfig::default() });
        desk.input(TopicsInput::Subscribe(topic()));
        desk
    }

    pub(super) fn input(&mut self, input: TopicsInput) {
        self.topics.handle(self.now, input);
        self.outputs.extend(drain(&mut self.topics));
    }

    /// Lets time pass, with every deadline on it.
    pub(super) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.topics.poll_timeout().filter(|due| due.at <= end) {
            self.now = due.at.max(self.now);
            self.input(TopicsInput::Timeout);
        }
        self.now = end;
    }

    /// What another node is answered.
    pub(super) fn asked(&mut self, from: u8, act: SpreadAct) -> SpreadAnswer {
        self.asked_in(from, topic().id(), act)
    }

    pub(super) fn asked_in(&mut self, from: u8, topic: TopicId, act: SpreadAct) -> SpreadAnswer {
        let serve = SpreadServeId(9);
        let spread = Spread { topic, act };
        self.input(TopicsInput::Asked { serve, from: contact(from), spread });
        let is_answer = |output: &TopicsOutput| matches!(output, TopicsOutput::Answer { .. });
        let place = self.outputs.iter().position(is_answer).expect("an answer");
        match self.outputs.remove(place) {
            TopicsOutput::Answer { answer, .. } => answer,
            other => unreachable!("{other:?}"),
        }
    }

    /// Makes a link; true if it was accepted.
    pub(super) fn befriend(&mut self, number: u8) -> bool {
        let act = SpreadAct::Neighbour { urgent: true, age_ms: 600_000 };
        matches!(self.asked(number, act), SpreadAnswer::Accepted { .. })
    }

    pub(super) fn publish(&mut self, publish: u64, length: usize) {
        let payload = Bytes::from(vec![7; length]);
        let publish = PublishId(publish);
        self.input(TopicsInput::Publish { publish, topic: topic(), payload });
    }

    /// Takes the requests in the topic of the tests out of the outputs.
    pub(super) fn asks(&mut self) -> Vec<Asked> {
        let (asks, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.outputs).into_iter().partition(|output| {
                matches!(output, TopicsOutput::Ask { spread, .. } if spread.topic == topic().id())
            });
        self.outputs = rest;
        asks.into_iter()
            .filter_map(|output| match output {
                TopicsOutput::Ask { ask, to, spread, .. } => Some((ask, to, spread)),
                _ => None,
            })
            .collect()
    }

    pub(super) fn answer(&mut self, ask: SpreadAskId, answer: SpreadAnswer) {
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

fn is_push(asked: &&Asked) -> bool {
    matches!(asked.2.act, SpreadAct::Push { .. })
}

const PUSHED: SpreadAnswer = SpreadAnswer::Pushed { prune: 0, busy: false };

#[test]
fn what_may_not_be_is_refused_with_its_reason() {
    let config = TopicsConfig { topics_max: 3, ..TopicsConfig::default() };
    let mut desk = Desk::new(config);
    let name = |text: &str| TopicName::new(text).expect("a name");
    desk.input(TopicsInput::Subscribe(TopicName::system()));
    desk.input(TopicsInput::Subscribe(name("potluck/other")));
    let payload = Bytes::from_static(b"x");
    let publish = PublishId(1);
    desk.input(TopicsInput::Publish { publish, topic: TopicName::system(), payload });
    desk.publish(2, crate::message::PAYLOAD_BYTES_MAX + 1);
    for text in ["a", "b", "c"] {
        desk.input(TopicsInput::Subscribe(name(text)));
    }
    let reserved = TopicRefusal::Reserved;
    let (long, many) = (TopicRefusal::TooLong, TopicRefusal::TooManyTopics);
    assert_eq!(desk.refusals(), [reserved, reserved, reserved, long, many]);
    assert_eq!(desk.topics.subscriptions(), [name("a"), name("b")]);
}

#[test]
fn a_node_alone_publishes_to_itself_at_once_and_looks_for_others() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    desk.publish(1, 10);
    assert_eq!((desk.published(), desk.delivered()), (1, 1));
    let find = TopicsOutput::Find { topic: topic().id() };
    let announce = TopicsOutput::Announce { topic: topic().id() };
    assert!(desk.outputs.contains(&find) && desk.outputs.contains(&announce));
}

#[test]
fn at_most_256_publishes_wait() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    (0..400).for_each(|number| desk.publish(number, 10));
    assert_eq!(desk.published(), 64, "as many as the first link has room for");
    assert_eq!(desk.refusals(), vec![TopicRefusal::Busy; 400 - 64 - 256]);
    assert_eq!(desk.topics.stats().publishes_waiting, 256);
    // Nobody is there.
    desk.input(TopicsInput::Found { topic: topic().id(), contacts: Vec::new() });
    assert_eq!((desk.published(), desk.topics.stats().publishes_waiting), (64 + 256, 0));
}

#[test]
fn publishers_wait_for_room_and_a_stalled_neighbour_is_not_waited_for() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    (0..200).for_each(|number| desk.publish(number, 900));
    let asks = desk.asks();
    let pushes = asks.iter().filter(is_push).count();
    let window = TopicsConfig::default().window;
    assert_eq!(pushes, window, "a window of bundles");
    assert_eq!(desk.published(), window + 64, "and as many waiting as are room");
    let (ask, ..) = *asks.iter().find(is_push).expect("a push");
    desk.answer(ask, PUSHED);
    assert_eq!(desk.published(), window + 65, "an answer makes room for one more");
    desk.pass(seconds(3));
    assert_eq!(desk.published(), 200, "nobody waits for long");
    assert_eq!(desk.topics.stats().publishes_waiting, 0);
}

#[test]
fn a_busy_neighbour_slows_publishers_and_cannot_stop_them() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    let mut published = Vec::new();
    for round in 0..200 {
        desk.publish(round, 900);
        for (ask, ..) in desk.asks().into_iter().filter(|asked| is_push(&asked)) {
            desk.answer(ask, SpreadAnswer::Pushed { prune: 0, busy: true });
        }
        published.push(desk.published());
        desk.pass(Duration::from_millis(50));
    }
    assert!(published[90] <= 60, "{} in 4.5 s", published[90]);
    assert_eq!(desk.published(), 200, "after five seconds it is not believed");
}

#[test]
fn a_silent_neighbour_is_replaced_at_once_and_only_then_dropped() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    (1..=6).for_each(|number| assert!(desk.befriend(number)));
    desk.input(TopicsInput::Found { topic: topic().id(), contacts: vec![contact(50)] });
    assert!(desk.asks().iter().all(|(_, to, _)| *to != contact(50)), "there are enough links");
    desk.publish(1, 10);
    let pushes = desk.asks();
    let (ask, silent, _) = pushes.iter().find(is_push).expect("a push").clone();
    desk.input(TopicsInput::Failed(ask));
    let asks = desk.asks();
    let link = |asked: &&Asked| matches!(asked.2.act, SpreadAct::Neighbour { .. });
    assert_eq!(asks.iter().find(link).map(|asked| asked.1), Some(contact(50)));
    let check = asks.iter().find(|asked| asked.2.act == SpreadAct::Probe).expect("a check");
    assert_eq!((check.1, desk.downs().crashed), (silent, 0));
    desk.pass(seconds(1));
    let heard = (1..=6).find(|number| contact(*number) != silent).expect("another");
    desk.asked(heard, SpreadAct::Probe);
    desk.input(TopicsInput::Failed(check.0));
    assert_eq!(desk.downs().crashed, 1);
    assert!(!desk.topics.neighbours_in(&topic()).contains(&silent));
}

#[test]
fn a_doubted_neighbour_that_answers_stays_and_hears_what_it_missed() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    desk.publish(1, 10);
    let (ask, ..) = desk.asks().into_iter().find(|asked| is_push(&asked)).expect("a push");
    desk.input(TopicsInput::Failed(ask));
    let (check, ..) = desk.asks()[0].clone();
    desk.answer(check, SpreadAnswer::Taken);
    let have = |asked: &Asked| matches!(&asked.2.act, SpreadAct::Have { runs } if runs.len() == 1);
    assert!(desk.asks().iter().any(have));
    assert_eq!((desk.downs(), desk.topics.stats().active_doubted), (DownCounts::default(), 0));
}

#[test]
fn an_unsent_push_is_sent_again_and_proves_nothing() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    desk.publish(1, 10);
    let (ask, _, first) = desk.asks().into_iter().find(|asked| is_push(&asked)).expect("a push");
    desk.input(TopicsInput::Unsent(ask));
    assert!(desk.asks().is_empty());
    desk.pass(Duration::from_millis(100));
    let again = desk.asks().into_iter().find(|asked| is_push(&asked)).expect("a push");
    assert_eq!((again.2, desk.topics.stats().active_doubted), (first, 0));
}

#[test]
fn the_oldest_links_outlive_any_number_of_joiners() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    let accepted: Vec<u8> = (1..=40).filter(|number| desk.befriend(*number)).collect();
    // Nine at once, and one more for the first eviction.
    assert_eq!(accepted.len(), 10);
    desk.pass(seconds(11));
    assert!(desk.befriend(41) && !desk.befriend(42), "one eviction in ten seconds");
    desk.pass(seconds(60));
    let left = desk.topics.neighbours_in(&topic());
    assert!(left.contains(&contact(1)) && left.contains(&contact(2)), "{left:?}");
    assert_eq!(left.len(), 6);
}

#[test]
fn links_of_this_nodes_own_choice_are_not_evicted() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    let contacts = (1..=3).map(contact).collect();
    desk.input(TopicsInput::Found { topic: topic().id(), contacts });
    for (ask, ..) in desk.asks() {
        desk.answer(ask, SpreadAnswer::Accepted { age_ms: 0 });
    }
    for round in 0..20 {
        desk.befriend(100 + round);
        desk.pass(seconds(11));
    }
    let left = desk.topics.neighbours_in(&topic());
    assert!((1..=3).all(|number| left.contains(&contact(number))), "{left:?}");
}

#[test]
fn who_was_sent_away_stays_away_for_a_minute_unless_it_has_no_other_link() {
    let polite = SpreadAct::Neighbour { urgent: false, age_ms: 600_000 };
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1) && desk.befriend(2));
    let act = SpreadAct::Part { cause: PartCause::Room, others: vec![contact(9)] };
    assert_eq!(desk.asked(1, act), SpreadAnswer::Taken);
    assert_eq!(desk.downs().evicted, 1);
    let declines = |answer| matches!(answer, SpreadAnswer::Declined { .. });
    assert!(declines(desk.asked(1, polite.clone())));
    assert!(desk.asks().iter().any(|(_, to, _)| *to == contact(9)), "it named another");
    desk.pass(seconds(55));
    assert!(declines(desk.asked(1, polite.clone())));
    assert!(desk.befriend(1), "there is room, and it has nobody else");
    let act = SpreadAct::Part { cause: PartCause::Room, others: Vec::new() };
    desk.asked(2, act);
    desk.pass(seconds(61));
    assert!(!declines(desk.asked(2, polite)));
    // For one that was sent away nobody else has to go.
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!((1..=10).all(|number| desk.befriend(number)));
    desk.pass(seconds(11));
    let away = (1..=10).find(|of| !desk.topics.neighbours_in(&topic()).contains(&contact(*of)));
    assert!(!desk.befriend(away.expect("one had to go")) && desk.befriend(11));
}

#[test]
fn a_neighbour_that_knows_nothing_of_the_link_is_none() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    assert!(desk.befriend(1));
    desk.publish(1, 10);
    let (ask, ..) = desk.asks().into_iter().find(|asked| is_push(&asked)).expect("a push");
    desk.answer(ask, SpreadAnswer::NotNeighbour);
    assert_eq!((desk.downs().forgotten, desk.topics.neighbours_in(&topic()).len()), (1, 0));
}

/// The contents of the pushes to one node.
fn pushed_to(asks: &[Asked], number: u8) -> usize {
    let to = asks.iter().filter(|(_, to, _)| *to == contact(number));
    to.map(|(.., spread)| match &spread.act {
        SpreadAct::Push { messages } => messages.len(),
        _ => 0,
    })
    .sum()
}

#[test]
fn a_neighbour_that_took_this_node_for_gone_is_asked_for_a_link_at_once_and_gets_what_it_refused() {
    for others in [0, 3] {
        let mut desk = Desk::subscribed(Mode::Fleet);
        (1..=1 + others).for_each(|number| assert!(desk.befriend(number)));
        desk.asks();
        desk.publish(1, 10);
        desk.publish(2, 10);
        let asks = desk.asks();
        for (ask, ..) in asks.iter().filter(is_push) {
            desk.answer(*ask, SpreadAnswer::NotNeighbour);
        }
        let asks = desk.asks();
        let links = |asks: &[Asked]| -> Vec<SpreadAskId> {
            let urgent = |act: &SpreadAct| matches!(act, SpreadAct::Neighbour { .. });
            asks.iter().filter(|asked| urgent(&asked.2.act)).map(|asked| asked.0).collect()
        };
        let asked = links(&asks);
        assert_eq!(asked.len(), 1 + usize::from(others), "each of them, at once");
        desk.answer(asked[0], SpreadAnswer::Accepted { age_ms: 600_000 });
        let asks = desk.asks();
        let pushed: usize = (1..=1 + others).map(|number| pushed_to(&asks, number)).sum();
        assert_eq!(pushed, 2, "what nobody has taken goes to the first one");
        // One that goes on to know nothing is not asked again and again.
        for (ask, ..) in asks.iter().filter(is_push) {
            desk.answer(*ask, SpreadAnswer::NotNeighbour);
        }
        assert_eq!(links(&desk.asks()).len(), 0);
    }
}

fn taken(desk: &Desk) -> Vec<usize> {
    let of = |output: &TopicsOutput| match output {
        TopicsOutput::Taken { neighbours, .. } => Some(*neighbours),
        _ => None,
    };
    desk.outputs.iter().filter_map(of).collect()
}

fn publish_counted(desk: &mut Desk) {
    let (publish, payload) = (PublishId(1), Bytes::from_static(b"counted"));
    desk.input(TopicsInput::PublishCounted { publish, topic: topic(), payload });
}

#[test]
fn a_first_message_is_delivered_at_once_and_counted_when_all_were_asked() {
    let found = |contacts| TopicsInput::Found { topic: topic().id(), contacts };
    // Nobody else is in the topic.
    let mut desk = Desk::subscribed(Mode::Fleet);
    publish_counted(&mut desk);
    assert_eq!((desk.delivered(), taken(&desk)), (1, vec![]), "others are looked for");
    desk.input(found(Vec::new()));
    assert_eq!(taken(&desk), [0]);
    publish_counted(&mut desk);
    assert_eq!((desk.delivered(), taken(&desk)), (2, vec![0, 0]));
    // Somebody is, and is found only now.
    let mut desk = Desk::new(TopicsConfig { mode: Mode::Fleet, ..TopicsConfig::default() });
    publish_counted(&mut desk);
    desk.input(found(vec![contact(1), contact(2)]));
    assert_eq!(taken(&desk), []);
    let accepted = SpreadAnswer::Accepted { age_ms: 600_000 };
    let mut pushes: Vec<Asked> = Vec::new();
    for (ask, ..) in desk.asks() {
        desk.answer(ask, accepted.clone());
        pushes.extend(desk.asks().into_iter().filter(|asked| is_push(&asked)));
        if pushes.len() == 1 {
            desk.answer(pushes[0].0, PUSHED);
            assert_eq!(taken(&desk), [], "another is asked for a link");
        }
    }
    assert_eq!((pushes.len(), taken(&desk)), (2, vec![]), "the other may take it as well");
    desk.answer(pushes[1].0, PUSHED);
    assert_eq!(taken(&desk), [2]);
    // One that does not answer is not waited for.
    publish_counted(&mut desk);
    let pushes: Vec<Asked> = desk.asks().into_iter().filter(|asked| is_push(&asked)).collect();
    desk.answer(pushes[0].0, PUSHED);
    desk.pass(Duration::from_millis(900));
    assert_eq!(taken(&desk), [2]);
    desk.pass(Duration::from_millis(100));
    assert_eq!(taken(&desk), [2, 1]);
    desk.input(TopicsInput::Leave);
    assert_eq!(taken(&desk), [2, 1]);
}

#[test]
fn a_message_that_nobody_took_keeps_its_publisher_in_the_topic_while_it_may_be_cut_off() {
    for cut_off in [false, true] {
        let mut desk = Desk::new(TopicsConfig { mode: Mode::Fleet, ..TopicsConfig::default() });
        desk.publish(1, 10);
        let contacts = if cut_off { vec![contact(1)] } else { Vec::new() };
        desk.input(TopicsInput::Found { topic: topic().id(), contacts });
        for _ in 0..300 {
            desk.pass(seconds(1));
            for (ask, ..) in desk.asks() {
                desk.input(TopicsInput::Failed(ask));
            }
        }
        assert_eq!(desk.topics.stats().topics, 1 + usize::from(cut_off));
        if !cut_off {
            continue;
        }
        assert!(desk.befriend(1));
        assert_eq!(pushed_to(&desk.asks(), 1), 1);
        // And for ten minutes at most.
        desk.pass(seconds(700));
        assert_eq!(desk.topics.stats().topics, 1);
    }
}

#[test]
fn the_failure_detector_and_good_byes_end_links_everywhere() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    let urgent = SpreadAct::Neighbour { urgent: true, age_ms: 0 };
    for number in 1..=2 {
        assert!(desk.befriend(number));
        desk.asked_in(number, TopicName::system().id(), urgent.clone());
    }
    desk.input(TopicsInput::Unreachable(contact(1).public_key));
    desk.input(TopicsInput::Left(contact(2).public_key));
    assert_eq!((desk.downs().crashed, desk.downs().left), (2, 2));
    for event in [
        TopicsOutput::NeighbourUp(contact(1)),
        TopicsOutput::NeighbourDown(contact(1), Cause::Crashed),
        TopicsOutput::NeighbourDown(contact(2), Cause::Left),
    ] {
        assert_eq!(desk.outputs.iter().filter(|output| **output == event).count(), 1, "{event:?}");
    }
    assert!(desk.topics.neighbours().is_empty());
}

#[test]
fn after_a_sleep_silence_is_this_nodes_own_fault() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    (1..=4).for_each(|number| assert!(desk.befriend(number)));
    desk.asks();
    desk.input(TopicsInput::Resumed);
    let checks = desk.asks();
    assert_eq!(checks.len(), 4);
    desk.answer(checks[0].0, SpreadAnswer::Taken);
    checks[1..].iter().for_each(|(ask, ..)| desk.input(TopicsInput::Failed(*ask)));
    let downs = desk.downs();
    assert_eq!((downs.local_suspend, downs.crashed), (3, 0));
    assert_eq!(desk.topics.neighbours_in(&topic()).len(), 1);
}

#[test]
fn a_reader_that_comes_back_gets_what_is_kept() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    desk.pass(seconds(6));
    (0..3).for_each(|number| desk.publish(number, 10));
    let ids: Vec<MessageId> = desk
        .outputs
        .iter()
        .filter_map(|output| match output {
            TopicsOutput::Published { message, .. } => Some(*message),
            _ => None,
        })
        .collect();
    let backlog = |after| {
        let (messages, complete) = desk.topics.backlog(&topic(), after);
        (messages.iter().map(|message| message.id.sequence).collect::<Vec<_>>(), complete)
    };
    assert_eq!(backlog(Some(ids[0])), (vec![2, 3], true));
    assert_eq!(backlog(None), (vec![], true));
    assert_eq!(backlog(Some(MessageId { sequence: 99, ..ids[0] })), (vec![1, 2, 3], false));
}

#[test]
fn sixteen_mebibytes_are_kept_and_no_more() {
    let mut desk = Desk::subscribed(Mode::Fleet);
    desk.pass(seconds(6));
    for number in 0..300 {
        desk.publish(number, crate::message::PAYLOAD_BYTES_MAX);
        desk.outputs.clear();
    }
    let stats = desk.topics.stats();
    assert!(stats.history_bytes <= 16 << 20 && stats.history_messages >= 250, "{stats:?}");
}

#[test]
fn every_deadline_is_kept_and_nothing_happens_before_it() {
    let mut desk = Desk::subscribed(Mode::Open);
    for number in 1..=4 {
        assert!(desk.befriend(number));
    }
    desk.input(TopicsInput::Candidates((10..30).map(contact).collect()));
    let contacts = (30..50).map(contact).collect();
    desk.input(TopicsInput::Found { topic: topic().id(), contacts });
    (0..100).for_each(|number| desk.publish(number, 400));
    for _ in 0..2_000 {
        let Some((at, _)) =
            check_timer_contract(&mut desk.topics, desk.now, || TopicsInput::Timeout)
        else {
            break;
        };
        desk.now = at;
    }
    assert!(desk.now > Instant::ZERO + seconds(600), "{:?}", desk.now);
}
