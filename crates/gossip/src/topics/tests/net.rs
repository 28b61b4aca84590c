//! A small network with latency, loss, retries and crashes; the same in every run.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use potluck_base::Admission;
use potluck_base::machine::drain;
use potluck_wire::{InTopic, Request, Response, TopicResponse, encode_request, encode_response};

use super::*;

pub(super) fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

pub(in crate::topics) fn topic() -> TopicName {
    TopicName::new("builds").expect("a name")
}

/// Bytes that the link puts around a message, with a cookie.
const SEAL_BYTES: usize = 111;
/// The shortest request of the link.
const ASKING_BYTES_MIN: usize = 128;
/// The headers of IPv4 and UDP.
const HEADER_BYTES: usize = 28;

enum Event {
    Request {
        from: PublicKey,
        to: PublicKey,
        ask: TopicAskId,
        request: InTopic,
    },
    Answer {
        to: PublicKey,
        ask: TopicAskId,
        answer: TopicResponse,
    },
    /// A try was not answered.
    Expire {
        node: PublicKey,
        ask: TopicAskId,
        tries: u8,
    },
    Input {
        node: PublicKey,
        input: TopicsInput,
    },
}

struct Flight {
    to: PublicKey,
    request: InTopic,
    sent: Instant,
}

pub(super) struct TestNode {
    pub(super) topics: Topics,
    pub(super) alive: bool,
    pub(super) messages: Vec<(Instant, Message)>,
    pub(super) published: Vec<(Instant, MessageId)>,
    /// The reported acknowledgements of each message.
    pub(super) taken: Vec<(Instant, MessageId, usize)>,
    pub(super) missed: u64,
    pub(super) refused: usize,
    pub(super) downs: Vec<Cause>,
    pub(super) contact: Contact,
    wake: Option<Instant>,
}

pub(super) struct TestNet {
    pub(super) now: Instant,
    pub(super) nodes: BTreeMap<PublicKey, TestNode>,
    pub(super) keys: Vec<PublicKey>,
    pub(super) loss: f64,
    /// Nodes that reach no other one and that no other one reaches.
    pub(super) cut: BTreeSet<PublicKey>,
    /// Whether searches find no nodes of a topic.
    pub(super) blind: bool,
    /// Bytes of all datagrams sent.
    pub(super) bytes: usize,
    rng: Rng,
    events: BTreeMap<(Instant, u64), Event>,
    wakes: BTreeSet<(Instant, PublicKey)>,
    next: u64,
    flights: BTreeMap<(PublicKey, TopicAskId), Flight>,
    directory: BTreeMap<TopicId, Vec<Contact>>,
    /// Nodes whose processes stand still, and their events meanwhile.
    still: BTreeMap<PublicKey, Vec<Event>>,
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl TestNet {
    pub(super) fn new(count: usize, config: TopicsConfig, seed: u64) -> Self {
        let mut rng = Rng::from_number(seed);
        let mut nodes = BTreeMap::new();
        let mut keys = Vec::new();
        for number in 0..count {
            let identity = Identity::from_seed(rng.bytes());
            let address = ([10, 0, (number >> 8) as u8, number as u8], 4_000).into();
            let contact = Contact::new(identity.public_key(), address);
            let fork = rng.fork("node");
            let topics = Topics::new(identity, network(), 1, contact, config, fork);
            let test_node = TestNode {
                topics,
                alive: true,
                messages: Vec::new(),
                published: Vec::new(),
                taken: Vec::new(),
                missed: 0,
                refused: 0,
                downs: Vec::new(),
                contact,
                wake: None,
            };
            keys.push(contact.public_key);
            nodes.insert(contact.public_key, test_node);
        }
        let mut net = Self {
            now: Instant::ZERO,
            nodes,
            keys,
            loss: 0.0,
            cut: BTreeSet::new(),
            blind: false,
            bytes: 0,
            rng,
            events: BTreeMap::new(),
            wakes: BTreeSet::new(),
            next: 0,
            flights: BTreeMap::new(),
            directory: BTreeMap::new(),
            still: BTreeMap::new(),
        };
        net.keys.clone().iter().for_each(|key| net.after(key));
        net
    }

    /// All nodes join, one every ten milliseconds, each knowing the one before; then 30 s pass.
    pub(super) fn gathered(count: usize, config: TopicsConfig, seed: u64) -> Self {
        let mut net = Self::new(count, config, seed);
        let keys = net.keys.clone();
        for pair in keys.windows(2) {
            let before = net.nodes[&pair[0]].contact;
            net.input(&pair[1], TopicsInput::Candidates(vec![before]));
            net.run(Duration::from_millis(10));
        }
        net.run(seconds(30));
        net
    }

    /// The same, and all nodes subscribe.
    pub(super) fn subscribed(count: usize, config: TopicsConfig, seed: u64) -> Self {
        let mut net = Self::gathered(count, config, seed);
        for key in net.keys.clone() {
            net.input(&key, TopicsInput::Subscribe(topic()));
            net.run(Duration::from_millis(10));
        }
        net.run(seconds(60));
        net
    }

    pub(super) fn input(&mut self, node: &PublicKey, input: TopicsInput) {
        let now = self.now;
        if let Some(test_node) = self.nodes.get_mut(node).filter(|test_node| test_node.alive) {
            test_node.topics.handle(now, input);
            self.after(node);
        }
    }

    pub(super) fn publish(&mut self, node: &PublicKey, payload: &'static [u8]) {
        self.next += 1;
        let publish = PublishId(self.next);
        let payload = Bytes::from_static(payload);
        self.input(node, TopicsInput::Publish { publish, topic: topic(), payload });
    }

    fn at(&mut self, delay: Duration, event: Event) {
        self.next += 1;
        self.events.insert((self.now + delay, self.next), event);
    }

    fn leg(&mut self, from: &PublicKey, to: &PublicKey) -> Option<Duration> {
        let cut = self.cut.contains(from) || self.cut.contains(to);
        let lost = self.rng.chance(self.loss) || cut;
        let delay = Duration::from_micros(5_000 + self.rng.below(35_000));
        (!lost).then_some(delay)
    }

    fn after(&mut self, node: &PublicKey) {
        let Some(test_node) = self.nodes.get_mut(node) else { return };
        let outputs = drain(&mut test_node.topics);
        let wake = test_node.topics.poll_timeout().map(|deadline| deadline.at);
        if wake != test_node.wake {
            test_node.wake.map(|at| self.wakes.remove(&(at, *node)));
            wake.map(|at| self.wakes.insert((at, *node)));
            test_node.wake = wake;
        }
        for output in outputs {
            self.carry_out(*node, output);
        }
    }

    fn carry_out(&mut self, node: PublicKey, output: TopicsOutput) {
        let now = self.now;
        let test_node = self.nodes.get_mut(&node).expect("a node of the net");
        match output {
            TopicsOutput::Ask { ask, to, request, tries } => {
                let flight = Flight { to: to.public_key, request, sent: now };
                self.flights.insert((node, ask), flight);
                self.transmit(node, ask, tries);
            }
            TopicsOutput::Answer { .. } => unreachable!("no request was made"),
            TopicsOutput::Deliver(message) => test_node.messages.push((now, message)),
            TopicsOutput::Published { message, .. } => test_node.published.push((now, message)),
            TopicsOutput::Acknowledged { message, neighbours, .. } => {
                test_node.taken.push((now, message, neighbours));
            }
            TopicsOutput::Missed { missed, .. } => test_node.missed += missed,
            TopicsOutput::PublishRefused { .. } => test_node.refused += 1,
            TopicsOutput::SubscribeRefused { .. } => {}
            TopicsOutput::Announce { topic } => {
                let contact = test_node.contact;
                self.directory.entry(topic).or_default().push(contact);
            }
            TopicsOutput::Find { topic } => {
                let system = topic == TopicName::system().id();
                let mut contacts: Vec<Contact> = if system {
                    self.nodes.values().map(|test_node| test_node.contact).collect()
                } else {
                    self.directory.get(&topic).cloned().unwrap_or_default()
                };
                self.rng.shuffle(&mut contacts);
                contacts.truncate(if self.blind { 0 } else { 8 });
                let input = if system {
                    TopicsInput::Candidates(contacts)
                } else {
                    TopicsInput::Found { topic, contacts }
                };
                self.at(Duration::from_millis(50), Event::Input { node, input });
            }
            TopicsOutput::Checked { .. } | TopicsOutput::NeighbourUp(_) => {}
            TopicsOutput::NeighbourDown(_, cause) => test_node.downs.push(cause),
        }
    }

    /// One try of a request; 400 ms is what the link gives an unknown peer.
    fn transmit(&mut self, from: PublicKey, ask: TopicAskId, tries: u8) {
        let Some(flight) = self.flights.get(&(from, ask)) else { return };
        let (to, request) = (flight.to, flight.request.clone());
        let length = encode_request(&Request::Topic(request.clone())).len();
        self.bytes += (length + SEAL_BYTES).max(ASKING_BYTES_MIN) + HEADER_BYTES;
        if let Some(delay) = self.leg(&from, &to) {
            self.at(delay, Event::Request { from, to, ask, request });
        }
        let tries = tries - 1;
        self.at(Duration::from_millis(400), Event::Expire { node: from, ask, tries });
    }

    /// The process of a node stands still for a while, and then goes on without being told.
    pub(super) fn stand_still(
        &mut self,
        node: &PublicKey,
        time: Duration,
        meanwhile: impl FnOnce(&mut Self),
    ) {
        let end = self.now + time;
        self.still.insert(*node, Vec::new());
        meanwhile(self);
        self.run(end.since(self.now));
        for event in self.still.remove(node).unwrap_or_default() {
            self.on_event(event);
        }
        self.wakes.insert((self.now, *node));
    }

    fn on_event(&mut self, event: Event) {
        let of = match &event {
            Event::Request { to, .. } | Event::Answer { to, .. } => to,
            Event::Expire { node, .. } | Event::Input { node, .. } => node,
        };
        if let Some(waiting) = self.still.get_mut(of) {
            return waiting.push(event);
        }
        match event {
            Event::Request { from, to, ask, request } => {
                let (now, contact) = (self.now, self.nodes[&from].contact);
                let Some(test_node) = self.nodes.get_mut(&to).filter(|test_node| test_node.alive)
                else {
                    return;
                };
                let serve = TopicServeId(1);
                test_node.topics.handle(now, TopicsInput::Asked { serve, from: contact, request });
                assert_joined(&test_node.topics);
                let is_answer =
                    |output: &TopicsOutput| matches!(output, TopicsOutput::Answer { .. });
                let place =
                    test_node.topics.shared.out.iter().position(is_answer).expect("an answer");
                let Some(TopicsOutput::Answer { answer, .. }) =
                    test_node.topics.shared.out.remove(place)
                else {
                    return;
                };
                let length = encode_response(&Response::Topic(answer.clone())).len();
                self.bytes += length + SEAL_BYTES + HEADER_BYTES;
                if let Some(delay) = self.leg(&to, &from) {
                    self.at(delay, Event::Answer { to: from, ask, answer });
                }
                self.after(&to);
            }
            Event::Answer { to, ask, answer } => {
                let Some(flight) = self.flights.remove(&(to, ask)) else { return };
                let rtt = self.now.since(flight.sent);
                self.input(&to, TopicsInput::Answered { ask, answer, rtt });
            }
            Event::Expire { node, ask, tries } => {
                if !self.flights.contains_key(&(node, ask)) {
                } else if tries > 0 {
                    self.transmit(node, ask, tries);
                } else {
                    self.flights.remove(&(node, ask));
                    self.input(&node, TopicsInput::Failed(ask));
                }
            }
            Event::Input { node, input } => self.input(&node, input),
        }
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let wake = self.wakes.first().map(|(at, _)| *at);
            let Some(next) = [event, wake].into_iter().flatten().min().filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(next);
            if event == Some(next) {
                let (_, event) = self.events.pop_first().expect("just seen");
                self.on_event(event);
            } else if let Some((_, node)) = self.wakes.pop_first() {
                self.wake(&node);
            }
        }
        self.now = end;
    }

    /// Checks the timer contract on every wake-up of every test.
    fn wake(&mut self, node: &PublicKey) {
        let now = self.now;
        let Some(test_node) = self.nodes.get_mut(node) else { return };
        test_node.wake = None;
        if !test_node.alive || self.still.contains_key(node) {
            return;
        }
        let due = test_node.topics.poll_timeout();
        test_node.topics.handle(now, TopicsInput::Timeout);
        let next = test_node.topics.poll_timeout();
        assert!(next.is_none_or(|next| next.at > now), "at {now:?} {due:?} then {next:?}");
        self.after(node);
    }

    pub(super) fn kill(&mut self, nodes: &[PublicKey]) {
        for node in nodes {
            self.nodes.get_mut(node).expect("a node of the net").alive = false;
        }
    }

    pub(super) fn living(&self) -> Vec<PublicKey> {
        self.keys.iter().copied().filter(|key| self.nodes[key].alive).collect()
    }

    /// The sum of a counter over all living nodes.
    pub(super) fn sum(&self, number: impl Fn(&TopicsStats) -> u64) -> u64 {
        let living = self.nodes.values().filter(|test_node| test_node.alive);
        living.map(|test_node| number(&test_node.topics.stats())).sum()
    }

    /// Asserts that no node got a message behind a later one of its publisher.
    pub(super) fn assert_order(&self) {
        for test_node in self.nodes.values() {
            let mut last: BTreeMap<PublicKey, MessageId> = BTreeMap::new();
            for (_, message) in &test_node.messages {
                let before = last.insert(message.id.publisher, message.id);
                assert!(before < Some(message.id), "{} came behind {before:?}", message.id);
            }
        }
    }

    /// How many living nodes got each message of `ids` exactly once.
    pub(super) fn complete(&self, ids: &[MessageId]) -> usize {
        let wanted: BTreeSet<&MessageId> = ids.iter().collect();
        self.nodes
            .values()
            .filter(|test_node| test_node.alive)
            .filter(|test_node| {
                let got: Vec<&MessageId> =
                    test_node.messages.iter().map(|(_, message)| &message.id).collect();
                let once: BTreeSet<&MessageId> = got.iter().copied().collect();
                assert_eq!(once.len(), got.len(), "a message came twice");
                once.is_superset(&wanted)
            })
            .count()
    }

    pub(super) fn ids(&self) -> Vec<MessageId> {
        self.nodes.values().flat_map(|test_node| &test_node.published).map(|(_, id)| *id).collect()
    }
}
