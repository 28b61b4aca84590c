//! The node: wiring of link, dht, kv and swarm. It routes and translates; it decides nothing.

mod addresses;
mod admission;
mod answers;
mod calls;
mod commands;
mod files;
mod gossip;
mod names;
mod pending;
mod prices;
mod providers;
mod records;
mod requests;
mod routing;
mod search;
mod settings;
mod time;
mod topics;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Deadline, Identity, Instant, Machine, NetworkId, Rng};
use potluck_dht::Dht;
use potluck_gossip::members;
use potluck_gossip::search::Input as Search;
use potluck_kv::Kv;
use potluck_link::Link;
use potluck_swarm::Swarm;

use crate::cached::Cached;
use crate::command::CommandId;
use crate::config::{Config, ConfigError};
use crate::input::Input;
use crate::output::Output;
use crate::price::Prices;
use crate::view::Stats;

/// The parameters, identity and randomness that a node starts with.
#[derive(Debug, Clone)]
pub struct Start {
    /// The node's key pair.
    pub identity: Identity,
    /// The network it belongs to.
    pub network: NetworkId,
    /// The address under which others reach it, as far as known.
    pub address: SocketAddr,
    /// Higher than any earlier incarnation of this identity; it orders the node's statements about
    /// itself.
    pub incarnation: u64,
    /// Its labels, in the order of their names.
    pub labels: Vec<(String, String)>,
    /// Its parameters.
    pub config: Config,
    /// Seed of all randomness: from the OS in the real world, from a number in the simulator.
    pub seed: [u8; 32],
}

/// Tries of a request that stores, offers or loads. Each further try survives more loss and delays the
/// failure.
const ASK_TRIES: u8 = 3;
/// Longest answer in bytes to a request whose answer carries no records.
const SHORT_ANSWER: usize = 96;

/// Probe intervals without any message after which a node considers itself cut off: while other members
/// exist, one of them probes this node about once an interval. Raising it notices isolation later.
const QUIET_INTERVALS: u32 = 10;

/// A node of the network, as one machine; see [`crate`].
#[derive(Debug)]
pub struct Node {
    network: NetworkId,
    link: Cached<Link>,
    dht: Cached<Dht>,
    kv: Cached<Kv>,
    swarm: Cached<Swarm>,
    gossip: gossip::Gossip,
    pending: pending::Pending,
    own: addresses::Own,
    admission: admission::AdmissionState,
    prices: Prices,
    leaving: Option<(CommandId, Instant)>,
    /// The command to pause, and the neighbours that have neither answered its notice nor failed to.
    pausing: Option<(CommandId, usize)>,
    serves_others: bool,
    /// The silence after which this node considers itself cut off.
    quiet_after: Duration,
    members: usize,
    /// Whether another machine runs with this node's identity.
    elsewhere: bool,
    settings: settings::InForce,
    /// Whether the peers' clocks differ from this node's by more than it may sign under.
    clock_off: bool,
    outbox: VecDeque<Output>,
}

impl Node {
    /// A node without contacts.
    ///
    /// # Errors
    /// If its parameters contradict each other.
    pub fn new(start: Start) -> Result<Self, ConfigError> {
        let Start { identity, network, address, incarnation, labels, mut config, seed } = start;
        config.validate()?;
        config.kv.close_group_size = config.dht.close_group_size;
        // One switch for all parts.
        config.dht.defences = config.kv.defences;
        config.topics.defences = config.kv.defences;
        let mut rng = Rng::from_seed(seed);
        let contact = Contact::new(identity.public_key(), address);
        let serves = !config.dht.client;
        let mut link = Link::new(identity.clone(), network, config.link, rng.fork("link"));
        let client = !serves;
        let own = gossip::Own {
            identity: identity.clone(),
            network,
            contact,
            incarnation,
            labels,
            client,
        };
        let settings = settings::InForce::new(&config);
        let quiet_after = config.members.interval * QUIET_INTERVALS;
        let gossip = gossip::Gossip::new(own, &config, &mut rng);
        let mut dht = Dht::new(network, contact, config.dht, rng.fork("dht"));
        dht.without_heartbeats();
        let prices = Prices::new(config.kv.defences.priced_peers);
        let kv = Kv::new(identity, network, *dht.me(), serves, config.kv);
        link.set_local_addresses(vec![address.into()]);
        let swarm = Swarm::new(contact.public_key, config.swarm, rng.fork("swarm"));
        Ok(Self {
            network,
            link: Cached::new(link),
            dht: Cached::new(dht),
            kv: Cached::new(kv),
            swarm: Cached::new(swarm),
            gossip,
            pending: pending::Pending::default(),
            own: addresses::Own::new(address),
            admission: admission::AdmissionState::default(),
            prices,
            leaving: None,
            pausing: None,
            serves_others: serves,
            quiet_after,
            members: 1,
            elsewhere: false,
            settings,
            clock_off: false,
            outbox: VecDeque::new(),
        })
    }

    /// A control datagram came in; as `Input::Datagram`, without a copy of the bytes.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.link.handle_datagram(now, from, bytes);
        self.pump(now);
    }

    /// Carries outputs of the parts to where they belong until none is left.
    fn pump(&mut self, now: Instant) {
        loop {
            if let Some(output) = self.kv.poll_output() {
                self.on_kv(now, output);
            } else if let Some(output) = self.dht.poll_output() {
                self.on_dht(now, output);
            } else if let Some(output) = self.link.poll_output() {
                self.on_link(now, output);
            } else if let Some(output) = self.swarm.poll_output() {
                self.on_swarm(now, output);
            } else if self.pump_gossip(now) {
            } else if self.members != self.members_known() {
                self.members = self.members_known();
                self.link.set_network_size(self.dht.members_known());
                self.kv.handle(now, potluck_kv::Input::Members(self.members));
            } else if self.link.take_observed_changed() {
                self.review_addresses(now);
            } else {
                return;
            }
        }
    }

    /// Each part whose deadline has come handles it, and its outputs reach the other parts before the
    /// next part is looked at.
    fn on_timeout(&mut self, now: Instant) {
        if self.link.is_due(now) {
            self.link.handle_timeout(now);
            self.pump(now);
        }
        if self.dht.is_due(now) {
            self.dht.handle(now, potluck_dht::Input::Timeout);
            self.pump(now);
        }
        if self.kv.is_due(now) {
            self.kv.handle(now, potluck_kv::Input::Timeout);
            self.pump(now);
        }
        if self.swarm.is_due(now) {
            self.swarm.handle(now, potluck_swarm::Input::Timeout);
            self.pump(now);
        }
        self.on_gossip_timeout(now);
    }

    /// Members that can keep records, as far as this node knows.
    fn members_known(&self) -> usize {
        self.dht.members_known() - usize::from(!self.serves_others)
    }

    /// Lets this node know other nodes as after a join: `contacts` as if they had answered, and the
    /// records of members. For simulations that are not about joining.
    pub fn acquaint(&mut self, now: Instant, contacts: &[Contact], records: &[Bytes]) {
        self.gossip.members.acquaint(now, records);
        self.dht.acquaint(now, contacts);
        self.pump(now);
    }

    /// Whether the network has been entered, or there is none to enter.
    #[must_use]
    pub fn is_ready(&self, now: Instant) -> bool {
        self.dht.is_joined() || !self.dht.expects_others(now)
    }

    /// All counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            link: self.link.stats(),
            dht: self.dht.stats(),
            kv: self.kv.stats(),
            swarm: self.swarm.stats(),
            gossip: self.gossip.stats(),
            price: self.prices.stats(),
            busy: self.pending.busy(),
        }
    }

    /// The members, for checkers.
    #[must_use]
    pub fn members(&self) -> &members::Members {
        &self.gossip.members
    }

    /// Topics and their overlays, for checkers.
    #[must_use]
    pub fn topics(&self) -> &potluck_gossip::Topics {
        &self.gossip.topics
    }

    /// The table and lookups, for checkers.
    #[must_use]
    pub fn dht(&self) -> &Dht {
        &self.dht
    }
}

impl Machine for Node {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Datagram { from, bytes } => self.link.handle_datagram(now, from, &bytes),
            Input::Timeout => self.on_timeout(now),
            Input::Command { id, command } => self.on_command(now, id, command),
            Input::Stored { id, reply } => {
                self.kv.handle(now, potluck_kv::Input::Stored { id, reply });
            }
            Input::Answered { call, bytes } => self.on_call_answered(now, call, Some(&bytes)),
            Input::CallFailed { call } => self.on_call_answered(now, call, None),
            Input::Called { from, address, inbound, bytes } => {
                let from = Contact::new(from, address);
                self.on_called(now, from, inbound, &bytes);
            }
            Input::Enrolled { id, result } => self.on_enrolled(now, id, result),
            Input::Renew { contacts } => self.on_renew(now, &contacts),
            Input::Certificate { certificate } => {
                self.link.set_certificate(certificate.clone());
                let shown = potluck_gossip::TopicsInput::Certificate(certificate.clone());
                self.gossip.topics.handle(now, shown);
                self.kv.handle(now, potluck_kv::Input::Certificate(certificate.clone()));
                self.gossip.members.handle(now, members::Input::Certificate(certificate));
            }
            Input::PuzzleSolved { proof } => self.link.set_certificate(proof),
            Input::WallClock { now: wall } => {
                self.link.set_wall_clock(now, wall);
                self.tell_time(now, wall);
                self.tell_size(now);
                self.review_addresses(now);
            }
            Input::Resumed { entropy, .. } => {
                self.link.renew_boot(entropy);
                self.link.doubt_clock_offset(now);
                self.on_slept(now);
                self.dht.handle(now, potluck_dht::Input::Resumed);
            }
            Input::AddressesChanged { advertised, local } => {
                self.on_addresses(now, advertised, local);
            }
            Input::SharedNames(names) => {
                self.gossip.search.handle(now, Search::Names(names));
            }
            Input::SharedNamesElsewhere(count) => {
                self.gossip.search.handle(now, Search::NamesElsewhere(count));
            }
            Input::NamesFound { query, files } => {
                self.gossip.search.handle(now, Search::Looked { query, files });
            }
            Input::Swarm(input) => self.swarm.handle(now, input),
            Input::Resolved { name, addresses } => {
                self.dht.handle(now, potluck_dht::Input::Resolved { name, addresses });
            }
            Input::Candidate { address } => {
                self.dht.handle(now, potluck_dht::Input::Candidate(address));
            }
            Input::LastResort { name } => {
                self.dht.handle(now, potluck_dht::Input::LastResort(name));
            }
            Input::Remembered { contacts } => self.on_remembered(now, contacts),
        }
        self.pump(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        Deadline::earliest([
            self.link.poll_timeout(),
            self.dht.poll_timeout(),
            self.kv.poll_timeout(),
            self.swarm.poll_timeout(),
            self.gossip.poll_timeout(),
        ])
    }
}

#[cfg(test)]
mod tests;
