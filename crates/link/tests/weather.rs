//! Several links over a network that loses, repeats and reorders datagrams, sealed and unsealed.

mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Instant, Machine, Rng};
use potluck_link::{Link, LinkConfig, Output, RequestToken};
use potluck_wire::{Refusal, Request, Response};
use world::{Node, at, config, large_answer, options};

const NODES: u64 = 5;
const REQUESTS: u64 = 400;

struct Weather {
    nodes: Vec<Node>,
    /// Datagrams on their way, by arrival.
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Bytes)>,
    launched: u64,
    rng: Rng,
    /// Everything that happened, without what encryption changes.
    trace: String,
    /// Requests under way, by node and token; true once ended.
    open: BTreeMap<(usize, RequestToken), bool>,
    answered: usize,
}

impl Weather {
    fn new(seed: u64, seal: bool) -> Self {
        let config = LinkConfig { seal, ..config() };
        Self {
            nodes: (1..=NODES).map(|seed| Node::new(seed, config)).collect(),
            flying: BTreeMap::new(),
            launched: 0,
            rng: Rng::from_number(seed),
            trace: String::new(),
            open: BTreeMap::new(),
            answered: 0,
        }
    }

    /// One in ten is lost, one in ten comes twice, and each takes its own time.
    fn launch(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, bytes: &Bytes) {
        writeln!(self.trace, "{now:?} {from} > {to} {} {}", bytes[0], bytes.len()).expect("memory");
        let copies = match self.rng.below(10) {
            0 => 0,
            1 => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let arrival = now + Duration::from_micros(1_000 + self.rng.below(120_000));
            self.launched += 1;
            self.flying.insert((arrival, self.launched), (from, to, bytes.clone()));
        }
    }

    fn settle(&mut self, now: Instant, index: usize) {
        loop {
            let sent = self.nodes[index].sent();
            let told = std::mem::take(&mut self.nodes[index].told);
            if sent.is_empty() && told.is_empty() {
                return;
            }
            let from = self.nodes[index].address();
            for (to, bytes) in &sent {
                self.launch(now, from, *to, bytes);
            }
            for output in told {
                writeln!(self.trace, "{now:?} {index} {output:?}").expect("memory");
                self.on_told(now, index, output);
            }
        }
    }

    fn on_told(&mut self, now: Instant, index: usize, output: Output) {
        match output {
            Output::Incoming { reply_to, .. } => {
                let link = &mut self.nodes[index].link;
                let refused = Response::refused(Refusal::Unproven);
                if link.respond(now, &reply_to, &large_answer()).is_err() {
                    link.respond(now, &reply_to, &refused).expect("a refusal always fits");
                }
            }
            Output::Answered { token, response, .. } => {
                assert!([large_answer(), Response::refused(Refusal::Unproven)].contains(&response));
                self.answered += usize::from(response == large_answer());
                self.end(index, token);
            }
            Output::Failed { token, .. } => self.end(index, token),
            other => panic!("nobody greeted, yet {other:?}"),
        }
    }

    fn end(&mut self, index: usize, token: RequestToken) {
        let ended = self.open.get_mut(&(index, token)).expect("a request that was begun");
        assert!(!std::mem::replace(ended, true), "ended twice");
    }

    fn ask(&mut self, now: Instant) {
        let (from, to) = (self.rng.below(NODES) as usize, self.rng.below(NODES) as usize);
        if from == to {
            return;
        }
        let to: Contact = self.nodes[to].contact;
        let link: &mut Link = &mut self.nodes[from].link;
        let token = link.request(now, to, &Request::Ping, options()).expect("room");
        self.open.insert((from, token), false);
        self.settle(now, from);
    }

    /// Carries datagrams and wakes links until nothing is left to happen before `end`.
    fn run(&mut self, end: Instant) {
        loop {
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let wake = (0..self.nodes.len())
                .filter_map(|index| Some((self.nodes[index].link.poll_timeout()?.at, index)))
                .min();
            let next = arrival.into_iter().chain(wake.map(|(at, _)| at)).min();
            let Some(now) = next.filter(|now| *now < end) else { return };
            if arrival == Some(now) {
                let Some((_, (from, to, bytes))) = self.flying.pop_first() else { return };
                let index = self.nodes.iter().position(|node| node.address() == to);
                let index = index.expect("an address of this world");
                self.nodes[index].link.handle_datagram(now, from, &bytes);
                self.settle(now, index);
            } else if let Some((_, index)) = wake {
                self.nodes[index].link.handle_timeout(now);
                self.settle(now, index);
            }
        }
    }

    fn play(mut self) -> Self {
        for step in 0..REQUESTS {
            let now = at(step * 40);
            self.run(now);
            self.ask(now);
            if step % 100 == 50 {
                let index = self.rng.below(NODES) as usize;
                self.nodes[index].restart();
                // Tokens begin anew; those of the former life are settled.
                self.open.retain(|(node, _), _| *node != index);
            }
        }
        self.run(at(10_000_000));
        self
    }
}

#[test]
fn every_request_ends_once_and_most_are_answered_in_bad_weather() {
    for seed in 0..8 {
        let weather = Weather::new(seed, true).play();
        assert!(weather.open.values().all(|ended| *ended), "seed {seed}: not all ended");
        // Both ways and both tries lost: 0.19^2 of the requests, plus what restarts cost.
        assert!(weather.answered > REQUESTS as usize * 6 / 10, "seed {seed}: {}", weather.answered);
        assert!(weather.nodes.iter().all(|node| node.stats().requests_outstanding == 0));
    }
}

#[test]
fn unsealed_links_behave_exactly_like_sealed_ones() {
    let sealed = Weather::new(3, true).play();
    let unsealed = Weather::new(3, false).play();
    assert!(sealed.trace.len() > 100_000, "something happened");
    assert!(sealed.trace == unsealed.trace, "the traces differ");
    for (one, other) in sealed.nodes.iter().zip(&unsealed.nodes) {
        assert_eq!(one.stats(), other.stats());
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_one_another() {
    assert!(Weather::new(4, false).play().trace == Weather::new(4, false).play().trace);
    assert!(Weather::new(4, false).play().trace != Weather::new(5, false).play().trace);
}
