//! A small network: 3,000 nodes with 8 neighbours each, 40 to 80 ms apart.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::machine::drain;
use potluck_base::{BlobId, Contact, Instant, Machine, PublicKey, Rng};
use potluck_wire::{SearchRequest, encode_request};

use crate::search::{AskId, Input, Output, Search, ServeId};
use crate::view::FoundFile;

pub(super) fn key(number: usize) -> PublicKey {
    PublicKey::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

pub(super) fn contact(number: usize) -> Contact {
    let address = ([10, 0, (number >> 8) as u8, number as u8], 4000).into();
    Contact::new(key(number), address)
}

pub(super) fn file(name: &str) -> FoundFile {
    let root = BlobId::of(name.as_bytes());
    FoundFile { name: name.to_owned(), root, bytes: 1000, folder: false, holder: None }
}

enum Event {
    Wake,
    Request { from: usize, ask: AskId, request: SearchRequest },
    Reply { ask: AskId, taken: bool },
}

/// An [`Output::Found`] or [`Output::Refused`] with its time.
pub(super) type Ended = (usize, Instant, Output);

pub(super) struct Network {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Search>,
    numbers: BTreeMap<PublicKey, usize>,
    events: BTreeMap<(Instant, u64), (usize, Event)>,
    wakes: Vec<Instant>,
    serves: BTreeMap<(usize, ServeId), (usize, AskId)>,
    next: u64,
    rng: Rng,
    /// Queries and walker messages sent.
    pub(super) searches: u64,
    /// Messages with hits.
    pub(super) hits: u64,
    pub(super) bytes_max: usize,
    pub(super) ended: Vec<Ended>,
}

impl Network {
    /// `count` nodes with `degree` neighbours each: random rings through all of them.
    pub(super) fn new(seed: u64, count: usize, degree: usize) -> Self {
        let mut rng = Rng::from_number(seed);
        let mut neighbours = vec![Vec::new(); count];
        for _ in 0..degree / 2 {
            let mut circle: Vec<usize> = (0..count).collect();
            rng.shuffle(&mut circle);
            for place in 0..count {
                let (one, other) = (circle[place], circle[(place + 1) % count]);
                if !neighbours[one].contains(&other) && one != other {
                    neighbours[one].push(other);
                    neighbours[other].push(one);
                }
            }
        }
        let nodes = (0..count).map(|n| Search::new(key(n), rng.fork(&n.to_string()))).collect();
        let mut network = Self {
            now: Instant::from_micros(1),
            nodes,
            numbers: (0..count).map(|number| (key(number), number)).collect(),
            events: BTreeMap::new(),
            wakes: vec![Instant::FAR_FUTURE; count],
            serves: BTreeMap::new(),
            next: 0,
            rng,
            searches: 0,
            hits: 0,
            bytes_max: 0,
            ended: Vec::new(),
        };
        for (number, links) in neighbours.into_iter().enumerate() {
            let contacts = links.into_iter().map(contact).collect();
            network.input(number, Input::Neighbours(contacts));
        }
        network
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        self.nodes[node].handle(self.now, input);
        for output in drain(&mut self.nodes[node]) {
            self.output(node, output);
        }
        if let Some(deadline) = self.nodes[node].poll_timeout()
            && deadline.at < self.wakes[node]
        {
            self.wakes[node] = deadline.at;
            self.schedule(deadline.at, node, Event::Wake);
        }
    }

    fn output(&mut self, node: usize, output: Output) {
        let arrives = self.now + Duration::from_micros(40_000 + self.rng.below(40_000));
        match output {
            Output::Ask { ask, to, request } => {
                let wire = potluck_wire::Request::Search(request.clone());
                self.bytes_max = self.bytes_max.max(encode_request(&wire).len());
                match request {
                    SearchRequest::Query { .. } | SearchRequest::Walk { .. } => self.searches += 1,
                    SearchRequest::Hits { .. } => self.hits += 1,
                    SearchRequest::Keywords { .. } => {}
                }
                let to = self.numbers[&to.public_key];
                self.schedule(arrives, to, Event::Request { from: node, ask, request });
            }
            Output::Answer { serve, taken } => {
                let (to, ask) = self.serves.remove(&(node, serve)).expect("answered once");
                self.schedule(arrives, to, Event::Reply { ask, taken });
            }
            Output::Look { .. } => unreachable!("the machine has all names"),
            Output::Found { .. } | Output::Refused { .. } => {
                self.ended.push((node, self.now, output));
            }
        }
    }

    fn schedule(&mut self, at: Instant, node: usize, event: Event) {
        self.next += 1;
        self.events.insert((at, self.next), (node, event));
    }

    /// Lets `duration` pass.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= end) {
            let ((at, _), (node, event)) = entry.remove_entry();
            self.now = at;
            let input = match event {
                Event::Wake => {
                    self.wakes[node] = Instant::FAR_FUTURE;
                    Input::Timeout
                }
                Event::Request { from, ask, request } => {
                    self.next += 1;
                    let serve = ServeId(self.next);
                    self.serves.insert((node, serve), (from, ask));
                    Input::Asked { serve, from: contact(from), request }
                }
                Event::Reply { ask, taken: true } => Input::Answered { ask },
                Event::Reply { ask, taken: false } => Input::Failed { ask },
            };
            self.input(node, input);
        }
        self.now = end;
    }

    /// Runs a search; returns the files found, the rings, the time and the messages it cost.
    pub(super) fn search(
        &mut self,
        node: usize,
        words: &str,
    ) -> (Vec<FoundFile>, u8, Duration, u64) {
        let (start, before) = (self.now, self.searches);
        self.input(node, Input::Search { id: 7, words: vec![words.to_owned()] });
        self.run(Duration::from_secs(10));
        assert!(self.serves.is_empty(), "a request without an answer");
        match self.ended.pop().expect("every search ends") {
            (at, when, Output::Found { id: 7, files, rings }) if at == node => {
                (files, rings, when.since(start), self.searches - before)
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A word with a prefix of its own.
fn rare(number: usize) -> String {
    blake3::hash(&number.to_le_bytes()).to_hex()[..10].to_owned()
}

#[test]
fn one_holder_in_three_thousand_is_found_within_three_seconds() {
    let (mut found, mut walked, mut messages, mut most) = (0, 0, 0, 0);
    let mut slowest = Duration::ZERO;
    for seed in 0..4 {
        let mut network = Network::new(seed, 3000, 8);
        for number in 0..3000 {
            let names = [
                format!("{}.tar", rare(number)),
                format!("photo {} of the sea.jpg", number % 50),
                format!("report-{}.pdf", number % 70),
            ];
            network.input(number, Input::Names(names.iter().map(|name| file(name)).collect()));
        }
        network.run(Duration::from_secs(30));
        let mut rng = Rng::from_number(1000 + seed);
        for _ in 0..25 {
            let (asker, holder) = (rng.below(3000) as usize, rng.below(3000) as usize);
            let (files, rings, took, cost) = network.search(asker, &rare(holder));
            assert!(took <= Duration::from_secs(3), "{took:?}");
            let right = files.iter().any(|file| {
                let by = file.holder.unwrap_or(key(asker));
                by == key(holder) && file.name == format!("{}.tar", rare(holder))
            });
            assert_eq!(files.len(), usize::from(right));
            found += usize::from(right);
            walked += usize::from(rings == 5);
            (messages, most) = (messages + cost, most.max(cost));
            slowest = slowest.max(took);
        }
        assert!(network.bytes_max <= potluck_wire::limits::MESSAGE_BYTES_MAX);
    }
    println!(
        "{found} of 100 found, {walked} by walkers; {} messages a search, {most} at most; \
         slowest {slowest:?}",
        messages / 100
    );
    assert!(found >= 95, "{found} of 100 found");
    assert!(most <= 2400, "{most} messages for one search");
}
