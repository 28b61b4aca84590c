//! A cluster of members in virtual time, with a simple model of the link and the broadcast tree.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Admission, Contact, Identity, Instant, Machine, NetworkId, PublicKey, Rng};
use potluck_wire::Response;

use super::super::*;
use crate::view::{Change, MemberEvent, MemberState};

const LATENCY: Duration = Duration::from_millis(10);
const TRY: Duration = Duration::from_millis(60);

#[derive(Debug, Clone)]
enum Post {
    Feed(usize, u32, Box<Input>),
    Wake(usize, u32),
    /// The announcement of one node, at another one.
    Heard(usize, usize, Bytes),
}

pub(super) struct TestNode {
    pub(super) members: Members,
    pub(super) contact: Contact,
    pub(super) up: bool,
    life: u32,
    pub(super) events: Vec<(Instant, MemberEvent)>,
    pub(super) verdicts: Vec<(Instant, Contact, Verdict)>,
    asked: BTreeMap<ServeId, (usize, u32, AskId)>,
    next_serve: u64,
    wake_at: Option<Instant>,
}

/// The cluster.
pub(super) struct Cluster {
    pub(super) now: Instant,
    pub(super) nodes: Vec<TestNode>,
    pub(super) loss: f64,
    /// Nothing passes from the first node to the second one.
    pub(super) cuts: Vec<(usize, usize)>,
    /// The first node on the other side of a split.
    pub(super) split: Option<usize>,
    /// Whether all announcements are lost.
    pub(super) mute: bool,
    network: NetworkId,
    config: MembersConfig,
    posts: BinaryHeap<Reverse<(Instant, u64)>>,
    letters: BTreeMap<u64, Post>,
    next_post: u64,
    rng: Rng,
}

impl Cluster {
    pub(super) fn new(config: MembersConfig) -> Self {
        Self {
            now: Instant::ZERO,
            nodes: Vec::new(),
            loss: 0.0,
            cuts: Vec::new(),
            split: None,
            mute: false,
            network: NetworkId::new("town", Admission::Lab, None),
            config,
            posts: BinaryHeap::new(),
            letters: BTreeMap::new(),
            next_post: 0,
            rng: Rng::from_number(7),
        }
    }

    /// A cluster of `count` nodes that know each other.
    pub(super) fn of(count: usize) -> Self {
        let mut cluster = Self::new(MembersConfig::default());
        for _ in 0..count {
            cluster.add();
        }
        cluster.run(Duration::from_secs(20));
        cluster
    }

    pub(super) fn add(&mut self) -> usize {
        let index = self.nodes.len();
        let node = self.node(index, 1 << 20, 0);
        self.nodes.push(node);
        self.carry_out(index);
        if index > 0 {
            let first = self.nodes[0].contact;
            self.feed(index, Input::Proved(first));
            self.feed(index, Input::Neighbours(vec![first]));
        }
        index
    }

    fn node(&mut self, index: usize, incarnation: u64, life: u32) -> TestNode {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(index as u64 + 1).to_be_bytes());
        let identity = Identity::from_seed(seed);
        let address = ([10, 0, (index / 250) as u8, (index % 250) as u8 + 1], 7).into();
        let contact = Contact::new(identity.public_key(), address);
        let start = MembersStart {
            identity,
            network: self.network,
            contact,
            incarnation,
            labels: vec![("rack".to_owned(), index.to_string())],
            client: false,
        };
        let rng = Rng::from_number(index as u64 + 1000 * u64::from(life));
        TestNode {
            members: Members::new(start, self.config.clone(), rng),
            contact,
            up: true,
            life,
            events: Vec::new(),
            verdicts: Vec::new(),
            asked: BTreeMap::new(),
            next_serve: 0,
            wake_at: None,
        }
    }

    /// The process ends without leaving.
    pub(super) fn kill(&mut self, index: usize) {
        self.nodes[index].up = false;
        self.nodes[index].life += 1;
    }

    /// The process starts again.
    pub(super) fn restart(&mut self, index: usize, incarnation: u64) {
        let life = self.nodes[index].life + 1;
        let mut node = self.node(index, incarnation, life);
        std::mem::swap(&mut node.events, &mut self.nodes[index].events);
        self.nodes[index] = node;
        self.carry_out(index);
        let other = self.nodes[usize::from(index == 0)].contact;
        self.feed(index, Input::Proved(other));
        self.feed(index, Input::Neighbours(vec![other]));
    }

    /// The process stands still: it handles nothing until it resumes.
    pub(super) fn pause(&mut self, index: usize) {
        self.nodes[index].up = false;
    }

    /// The process resumes, and notices only by the clock.
    pub(super) fn resume(&mut self, index: usize) {
        self.nodes[index].up = true;
        // The timer that was due meanwhile was not handled.
        self.nodes[index].wake_at = None;
        // Its requests have timed out meanwhile: the link reports that before anything else.
        let asks: Vec<AskId> = self.nodes[index].members.outbox.open();
        for ask in asks {
            self.feed(index, Input::Failed { ask });
        }
        self.feed(index, Input::Timeout);
    }

    pub(super) fn key(&self, index: usize) -> PublicKey {
        self.nodes[index].contact.public_key
    }

    pub(super) fn state(&self, of: usize, at: usize) -> Option<MemberState> {
        self.nodes[at].members.state(&self.key(of))
    }

    /// How many other nodes judge a node to be in this state.
    pub(super) fn who_think(&self, of: usize, state: MemberState) -> usize {
        let others = (0..self.nodes.len()).filter(|at| *at != of && self.nodes[*at].up);
        others.filter(|at| self.state(of, *at) == Some(state)).count()
    }

    pub(super) fn count(&self, change: Change) -> usize {
        let events = self.nodes.iter().flat_map(|node| &node.events);
        events.filter(|(_, event)| event.change == change).count()
    }

    fn post(&mut self, at: Instant, post: Post) {
        self.next_post += 1;
        self.posts.push(Reverse((at, self.next_post)));
        self.letters.insert(self.next_post, post);
    }

    fn passes(&mut self, from: usize, to: usize) -> bool {
        let cut = self.cuts.contains(&(from, to));
        let split = self.split.is_some_and(|border| (from < border) != (to < border));
        !cut && !split && !self.rng.chance(self.loss)
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((at, id))) = self.posts.peek().copied() {
            if at > end {
                break;
            }
            self.posts.pop();
            self.now = self.now.max(at);
            if let Some(post) = self.letters.remove(&id) {
                self.deliver(post);
            }
        }
        self.now = end;
    }

    /// Runs until `done`; returns the time that took.
    pub(super) fn run_until(
        &mut self,
        bound: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        while self.now.since(start) < bound {
            if done(self) {
                return Some(self.now.since(start));
            }
            self.run(Duration::from_millis(50));
        }
        None
    }

    fn deliver(&mut self, post: Post) {
        match post {
            Post::Feed(to, life, input) => {
                if self.nodes[to].life == life && self.nodes[to].up {
                    self.feed(to, *input);
                }
            }
            Post::Wake(to, life) => {
                let node = &mut self.nodes[to];
                if node.life == life && node.up && node.wake_at.is_some_and(|at| at <= self.now) {
                    node.wake_at = None;
                    self.feed(to, Input::Timeout);
                }
            }
            Post::Heard(to, from, payload) => {
                if self.nodes[to].up {
                    let from = self.key(from);
                    self.feed(to, Input::Announced { from, payload });
                }
            }
        }
    }

    pub(super) fn feed(&mut self, index: usize, input: Input) {
        self.nodes[index].members.handle(self.now, input);
        self.carry_out(index);
    }

    fn carry_out(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].members.poll_output() {
            match output {
                Output::Ask { ask, to, request, tries, patience, large } => {
                    let options = AskOptions { tries, patience, large };
                    self.carry_ask(index, ask, to, request, options);
                }
                Output::Answer { serve, response } => self.carry_answer(index, serve, response),
                Output::Announce(payload) => self.carry_announcement(index, &payload),
                Output::Event(event) => self.nodes[index].events.push((self.now, event)),
                Output::Verdict(contact, verdict) => {
                    self.nodes[index].verdicts.push((self.now, contact, verdict));
                }
                Output::Settings(bytes) => self.on_settings(index, bytes),
                _ => {}
            }
        }
        let deadline = self.nodes[index].members.poll_timeout().expect("there is always one").at;
        let node = &mut self.nodes[index];
        if node.wake_at.is_none_or(|at| deadline < at) {
            node.wake_at = Some(deadline);
            let life = node.life;
            self.post(deadline.max(self.now), Post::Wake(index, life));
        }
    }

    /// Takes the part of the node: accepts settings if their first byte, the sequence, is higher.
    fn on_settings(&mut self, index: usize, bytes: Bytes) {
        let sequence = u64::from(bytes.first().copied().unwrap_or_default());
        if self.nodes[index].members.own.record.settings < sequence {
            let interval = Duration::from_secs(1);
            let input = Input::Settings { sequence, bytes, interval, spread: false };
            self.nodes[index].members.handle(self.now, input);
        }
    }

    fn carry_ask(
        &mut self,
        from: usize,
        ask: AskId,
        to: Contact,
        request: MemberRequest,
        options: AskOptions,
    ) {
        let life = self.nodes[from].life;
        let target = self.nodes.iter().position(|node| node.contact == to);
        let mut patience = Duration::ZERO;
        for attempt in 0..options.tries {
            let sent = self.now + patience;
            if let Some(to) = target
                && self.nodes[to].up
                && self.passes(from, to)
            {
                let node = &mut self.nodes[to];
                node.next_serve += 1;
                let serve = ServeId(node.next_serve);
                node.asked.insert(serve, (from, life, ask));
                let budget = if options.large { 256 * 1024 } else { 1060 };
                let contact = self.nodes[from].contact;
                let to_life = self.nodes[to].life;
                let input = Input::Asked { serve, from: contact, request: request.clone(), budget };
                self.post(sent + LATENCY, Post::Feed(to, to_life, Box::new(Input::Heard(contact))));
                self.post(sent + LATENCY, Post::Feed(to, to_life, Box::new(input)));
            }
            patience += TRY * (1 << attempt) + options.patience;
        }
        let failed = Box::new(Input::Failed { ask });
        self.post(self.now + patience, Post::Feed(from, life, failed));
    }

    fn carry_answer(&mut self, from: usize, serve: ServeId, response: Response) {
        let Some((to, life, ask)) = self.nodes[from].asked.remove(&serve) else { return };
        if !self.passes(from, to) {
            return;
        }
        let contact = self.nodes[from].contact;
        let rtt = Some(LATENCY * 2);
        let heard = Post::Feed(to, life, Box::new(Input::Heard(contact)));
        self.post(self.now + LATENCY, heard);
        let answered = Input::Answered { ask, response, rtt };
        self.post(self.now + LATENCY, Post::Feed(to, life, Box::new(answered)));
    }

    fn carry_announcement(&mut self, from: usize, payload: &Bytes) {
        for to in 0..self.nodes.len() {
            let split = self.split.is_some_and(|border| (from < border) != (to < border));
            let cut = split || self.cuts.contains(&(from, to));
            if to != from && self.nodes[to].up && !cut && !self.mute {
                self.post(self.now + LATENCY * 3, Post::Heard(to, from, payload.clone()));
            }
        }
    }
}
