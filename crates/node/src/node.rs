//! The node: wiring of link, dht, kv and swarm. It routes and translates; it decides nothing.

mod addresses;
mod admission;
mod calls;
mod commands;
mod files;
mod gossip;
mod requests;
mod time;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Deadline, Identity, Instant, Machine, NetworkId, Peer, Rng};
use potluck_dht::{Dht, LookupId, Purpose, QueryId};
use potluck_gossip::members;
use potluck_kv::{AskId, Kv, ServeId};
use potluck_link::{Link, ReplyTo, RequestOptions, RequestToken};
use potluck_record::CertificateHash;
use potluck_swarm::Swarm;
use potluck_wire::limits::MESSAGE_BYTES_MAX;
use potluck_wire::{Found, Refusal, Request, Response};

use crate::cached::Cached;
use crate::command::{CommandError, CommandId, Reply};
use crate::config::{Config, ConfigError};
use crate::input::{CallId, InboundId, Input};
use crate::output::{Event, Output};
pub use admission::EnrolmentId;

use crate::view::Stats;
use requests::InboundRequest;

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

/// Concurrent outgoing calls; further ones fail as busy. Raising it costs memory and connections.
const CALLS_MAX: usize = 512;
/// Lowest id of a lookup that a trace command started; lower ids are kv's, those from 2^63 on dht's
/// own.
const TRACES: u64 = 1 << 62;
/// Tries of a request that stores, offers or loads. Each further try survives more loss and delays the
/// failure.
const ASK_TRIES: u8 = 3;
/// Longest answer in bytes to a request whose answer carries no records.
const SHORT_ANSWER: usize = 96;

/// Probe intervals without any message after which a node considers itself cut off: while other members
/// exist, one of them probes this node about once an interval. Raising it notices isolation later.
const QUIET_INTERVALS: u32 = 10;

/// The part of the node that waits for the answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PendingRequest {
    Dht(QueryId, Option<LookupId>),
    Kv(AskId),
    Swarm(potluck_swarm::AskId),
    Members(members::AskId),
    Topics(potluck_gossip::topics::TopicAskId),
    Search(potluck_gossip::search::AskId),
    /// A ping that finds the address for a call: the call goes where the answer comes from.
    PathProbe(CallId),
    Ignored,
}

/// The path on which another node's request is answered: the one on which it came.
#[derive(Debug)]
enum ReplyPath {
    Datagram(ReplyTo),
    Call(InboundId),
}

/// A node of the network, as one machine; see [`crate`].
#[derive(Debug)]
pub struct Node {
    network: NetworkId,
    link: Cached<Link>,
    dht: Cached<Dht>,
    kv: Cached<Kv>,
    swarm: Cached<Swarm>,
    files: files::Pending,
    gossip: gossip::Gossip,
    requests: BTreeMap<RequestToken, PendingRequest>,
    calls: BTreeMap<CallId, (PendingRequest, Contact)>,
    /// The calls whose address is still being probed.
    calls_without_path: BTreeMap<CallId, (Contact, Bytes)>,
    own: addresses::Own,
    serves: BTreeMap<ServeId, ReplyPath>,
    traces: BTreeMap<LookupId, CommandId>,
    admission: admission::AdmissionState,
    leaving: Option<(CommandId, Instant)>,
    serves_others: bool,
    /// The silence after which this node considers itself cut off.
    quiet_after: Duration,
    next_id: u64,
    members: usize,
    /// Whether another machine runs with this node's identity.
    elsewhere: bool,
    /// Whether the peers' clocks differ from this node's by more than it may sign under.
    clock_off: bool,
    busy: u64,
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
        let mut rng = Rng::from_seed(seed);
        let contact = Contact::new(identity.public_key(), address);
        let serves = !config.dht.client;
        let mut link = Link::new(identity.clone(), network, config.link, rng.fork("link"));
        let client = !serves;
        let who = gossip::Who {
            identity: identity.clone(),
            network,
            contact,
            incarnation,
            labels,
            client,
        };
        let quiet_after = config.members.interval * QUIET_INTERVALS;
        let gossip = gossip::Gossip::new(who, &config, &mut rng);
        let mut dht = Dht::new(network, contact, config.dht, rng.fork("dht"));
        dht.without_heartbeats();
        let kv = Kv::new(identity, network, *dht.me(), serves, config.kv);
        link.set_local_addresses(vec![address.into()]);
        let swarm = Swarm::new(contact.public_key, config.swarm, rng.fork("swarm"));
        Ok(Self {
            network,
            link: Cached::new(link),
            dht: Cached::new(dht),
            kv: Cached::new(kv),
            swarm: Cached::new(swarm),
            files: files::Pending::default(),
            gossip,
            requests: BTreeMap::new(),
            calls: BTreeMap::new(),
            calls_without_path: BTreeMap::new(),
            own: addresses::Own::new(address),
            serves: BTreeMap::new(),
            traces: BTreeMap::new(),
            admission: admission::AdmissionState::default(),
            leaving: None,
            serves_others: serves,
            quiet_after,
            next_id: 0,
            members: 1,
            elsewhere: false,
            clock_off: false,
            busy: 0,
            outbox: VecDeque::new(),
        })
    }

    /// A control datagram came in; as `Input::Datagram`, without a copy of the bytes.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.link.handle_datagram(now, from, bytes);
        self.pump(now);
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
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

    /// Members that can keep records, as far as this node knows.
    fn members_known(&self) -> usize {
        self.dht.members_known() - usize::from(!self.serves_others)
    }

    // --- link ---

    fn on_link(&mut self, now: Instant, output: potluck_link::Output) {
        use potluck_link::Output as Link;
        match output {
            Link::Transmit { to, bytes } => self.outbox.push_back(Output::Transmit { to, bytes }),
            Link::Incoming { from, reply_to, request, proven, budget } => {
                // Who only enrolls is no member yet.
                if proven && !matches!(request, Request::Enroll(_)) {
                    self.hear(now, from);
                }
                let inbound = InboundRequest {
                    from,
                    proven,
                    budget,
                    reply_path: ReplyPath::Datagram(reply_to),
                };
                self.on_request(now, inbound, request);
            }
            Link::Answered { token, from, response, rtt, seen_at: _ } => {
                if self.on_admission_answered(now, token, from, &response) {
                    return;
                }
                let Some(pending) = self.requests.remove(&token) else { return };
                match pending {
                    PendingRequest::Dht(query, lookup) => {
                        self.on_found(now, Answer { query, lookup, from, response, rtt });
                    }
                    PendingRequest::Kv(ask) => {
                        self.hear(now, from);
                        self.kv.handle(now, potluck_kv::Input::Answered { ask, response });
                    }
                    PendingRequest::Swarm(ask) => {
                        self.hear(now, from);
                        let round_trip = self.round_trip(now, token);
                        self.on_have_answered(now, ask, response, round_trip);
                    }
                    pending @ (PendingRequest::Members(_)
                    | PendingRequest::Topics(_)
                    | PendingRequest::Search(_)) => {
                        self.hear(now, from);
                        self.on_gossip_answered(now, pending, Some(response), Some(rtt));
                    }
                    PendingRequest::PathProbe(call) => {
                        self.hear(now, from);
                        self.on_path_probe(call, Some(from));
                    }
                    PendingRequest::Ignored => {}
                }
            }
            Link::Failed { token, to } => {
                if self.on_admission_failed(token) {
                    return;
                }
                self.round_trip(now, token);
                let Some(pending) = self.requests.remove(&token) else { return };
                self.on_failed(now, pending, &to);
            }
            Link::Greeted { address, contact } => {
                self.dht.handle(now, potluck_dht::Input::Greeted { address, contact });
            }
            Link::NoWelcome { .. } => {}
            Link::Admitted { contact, until } => self.on_admitted(contact, until),
        }
    }

    fn on_failed(&mut self, now: Instant, pending: PendingRequest, to: &Contact) {
        match pending {
            PendingRequest::Dht(query, _) => {
                self.dht.handle(now, potluck_dht::Input::Failed(query));
            }
            PendingRequest::Kv(ask) => {
                let id = to.in_network(&self.network).id;
                self.dht.handle(now, potluck_dht::Input::Unanswered(id));
                self.gossip.members.handle(now, unanswered(to));
                self.kv.handle(now, potluck_kv::Input::Failed { ask });
            }
            PendingRequest::Swarm(ask) => {
                let id = to.in_network(&self.network).id;
                self.dht.handle(now, potluck_dht::Input::Unanswered(id));
                self.gossip.members.handle(now, unanswered(to));
                self.swarm.handle(now, potluck_swarm::Input::AskFailed { ask });
            }
            PendingRequest::Topics(_) => {
                self.gossip.members.handle(now, unanswered(to));
                self.on_gossip_answered(now, pending, None, None);
            }
            PendingRequest::Members(_) | PendingRequest::Search(_) => {
                self.on_gossip_answered(now, pending, None, None);
            }
            PendingRequest::PathProbe(call) => self.on_path_probe(call, None),
            PendingRequest::Ignored => {}
        }
    }

    /// A node answered a lookup or ping. What it says of the record goes to kv first, which may
    /// have enough and stop the lookup before it asks on.
    fn on_found(&mut self, now: Instant, answer: Answer) {
        let Answer { query, lookup, from, response, rtt } = answer;
        let (contacts, record) = match response {
            Response::Found(Found { contacts, record, .. }) => (contacts, record),
            // A node that serves no requests must not enter routing tables and replica sets.
            Response::Refused { reason: Refusal::NotServing, .. } => {
                return self.dht.handle(now, potluck_dht::Input::Failed(query));
            }
            _ => (Vec::new(), None),
        };
        if let Some(lookup) = lookup.filter(|lookup| lookup.0 < TRACES) {
            let lookup = potluck_kv::LookupId(lookup.0);
            let from = from.in_network(&self.network);
            self.kv.handle(now, potluck_kv::Input::Found { lookup, from, record });
            while let Some(output) = self.kv.poll_output() {
                self.on_kv(now, output);
            }
        }
        self.gossip.members.handle(now, members::Input::Proved(from));
        self.dht.handle(now, potluck_dht::Input::Answered { query, from, contacts, rtt });
    }

    // --- dht ---

    /// Something about the ways into the network.
    fn on_way_in(&mut self, now: Instant, input: Input) {
        use potluck_dht::Input as Dht;
        let input = match input {
            Input::Resolved { name, addresses } => Dht::Resolved { name, addresses },
            Input::Candidate { address } => Dht::Candidate(address),
            Input::LastResort { name } => Dht::LastResort(name),
            Input::Remembered { contacts } => return self.on_remembered(now, contacts),
            _ => return,
        };
        self.dht.handle(now, input);
    }

    fn on_dht(&mut self, now: Instant, output: potluck_dht::Output) {
        use potluck_dht::Output as Dht;
        match output {
            Dht::Query { query, to, purpose, tries } => self.query(now, query, to, purpose, tries),
            Dht::Hello(address) => self.link.hello(now, address),
            Dht::Ask(address) => self.link.hello_once(now, address),
            Dht::Resolve(name) => self.outbox.push_back(Output::Resolve { name }),
            Dht::LastResort => self.outbox.push_back(Output::Event(Event::LastResort)),
            Dht::Finished { lookup, closest, trace } => {
                if lookup.0 < TRACES {
                    let lookup = potluck_kv::LookupId(lookup.0);
                    self.kv.handle(now, potluck_kv::Input::LookupDone { lookup, closest });
                } else if let Some(id) = self.traces.remove(&lookup) {
                    self.reply(id, Reply::Traced { trace, closest });
                }
            }
            Dht::Refused(lookup) => {
                if lookup.0 < TRACES {
                    let lookup = potluck_kv::LookupId(lookup.0);
                    self.kv.handle(now, potluck_kv::Input::LookupRefused(lookup));
                } else if let Some(id) = self.traces.remove(&lookup) {
                    self.reply(id, Reply::Failed(CommandError::Busy));
                }
            }
            Dht::CloseGroup(change) => {
                let close_group: Vec<Peer> = self.dht.close_group().copied().collect();
                let contacts = close_group.iter().map(|peer| peer.contact).collect();
                self.gossip.members.handle(now, members::Input::CloseGroup(contacts));
                self.kv.handle(now, potluck_kv::Input::CloseGroup(close_group));
                let joined = change.joined.into_iter().map(Event::SiblingJoined);
                let left = change.left.into_iter().map(Event::SiblingLeft);
                self.outbox.extend(joined.chain(left).map(Output::Event));
            }
            Dht::Save(contacts) => {
                let contacts = self.remember(contacts);
                self.outbox.push_back(Output::SaveContacts { contacts });
            }
            Dht::Joined => self.outbox.push_back(Output::Event(Event::Joined)),
        }
    }

    fn query(&mut self, now: Instant, query: QueryId, to: Contact, purpose: Purpose, tries: u8) {
        let (request, lookup, answer_bytes_max) = match purpose {
            Purpose::Ping => (Request::Ping, None, SHORT_ANSWER),
            Purpose::Find { lookup, target, count, want } => {
                let request = Request::FindNode { target, count, want, parts: None };
                (request, Some(lookup), MESSAGE_BYTES_MAX)
            }
        };
        let options = RequestOptions { tries, answer_bytes_max, ..RequestOptions::default() };
        match self.link.request(now, to, &request, options) {
            Ok(token) => {
                self.requests.insert(token, PendingRequest::Dht(query, lookup));
            }
            Err(potluck_link::RequestError::BadKey) => {
                self.dht.handle(now, potluck_dht::Input::Failed(query));
            }
            Err(_) => {
                self.busy += 1;
                self.dht.handle(now, potluck_dht::Input::Unsent(query));
            }
        }
    }

    // --- kv ---

    fn on_kv(&mut self, now: Instant, output: potluck_kv::Output) {
        use potluck_kv::Output as Kv;
        match output {
            Kv::Foreign(_) => self.on_elsewhere(now),
            Kv::Lookup { id, target, want, goal, why } => {
                let id = LookupId(id.0);
                self.dht.handle(now, potluck_dht::Input::Lookup { id, target, want, goal, why });
            }
            Kv::StopLookup(id) => {
                self.dht.handle(now, potluck_dht::Input::Stop(LookupId(id.0)));
            }
            Kv::Ask { id, to, request, delivery } => {
                self.ask(now, id, to.contact, &request, delivery);
            }
            Kv::Storage { id, op } => self.outbox.push_back(Output::Storage { id, op }),
            Kv::Respond { serve, response } => {
                if let Some(reply_path) = self.serves.remove(&serve) {
                    self.answer(now, reply_path, &response);
                }
            }
            Kv::Reply { id, reply } => {
                if !self.on_own_reply(now, id, &reply) && !self.on_topic_reply(now, id, &reply) {
                    self.reply(id, reply.into());
                }
            }
            Kv::HandedOver { keys } => self.on_handed_over(now, keys),
        }
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
            busy: self.busy,
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

/// A node that gave no answer, for the failure detector.
const fn unanswered(to: &Contact) -> members::Input {
    members::Input::Unanswered(to.public_key)
}

struct Answer {
    query: QueryId,
    lookup: Option<LookupId>,
    from: Contact,
    response: Response,
    rtt: Duration,
}

impl Machine for Node {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Datagram { from, bytes } => self.link.handle_datagram(now, from, &bytes),
            Input::Timeout => {
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
                let name = CertificateHash::of(&certificate);
                self.kv.handle(now, potluck_kv::Input::Certificate(name));
                self.gossip.members.handle(now, members::Input::Certificate(certificate));
            }
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
            input @ (Input::SharedNames(_)
            | Input::SharedNamesElsewhere(_)
            | Input::NamesFound { .. }) => self.on_names(now, input),
            Input::Swarm(input) => self.swarm.handle(now, input),
            input @ (Input::Resolved { .. }
            | Input::Candidate { .. }
            | Input::LastResort { .. }
            | Input::Remembered { .. }) => self.on_way_in(now, input),
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
