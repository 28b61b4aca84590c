//! The DHT of one node: wiring of table, lookups, probes and entry points.

mod candidates;
mod contacts;
mod searches;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{
    Contact, Deadline, Instant, Key, Machine, NetworkId, NodeId, Peer, PublicKey, Rng,
};
use potluck_wire::Want;

use crate::config::Config;
use crate::entry_points::{EntryPoint, EntryPoints, EntryView, LastResort, Origin};
use crate::lookup::LookupId;
use crate::lookups::Lookups;
use crate::probes::{Probe, Probes, Reason};
use crate::routing_table::{RoutingTable, SiblingChange, TableView};
use crate::stats::Stats;
use crate::trace::{LookupOutcome, LookupTrace};
use candidates::Candidates;

/// Names a request to whoever carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u64);

/// What a request is to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing but an answer.
    Ping,
    /// Nodes close to a target, and perhaps the record there.
    Find {
        /// For this lookup.
        lookup: LookupId,
        /// The target.
        target: Key,
        /// Contacts wanted.
        count: u8,
        /// What is wanted of the record.
        want: Want,
    },
}

/// What can happen to the DHT.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A way into the network, to be tried for ever.
    Join(EntryPoint),
    /// Contacts of the last run.
    Remembered(Vec<Contact>),
    /// A DNS name, `name:port`, to be asked while all entry points are silent.
    LastResort(String),
    /// Start a lookup for nodes close to `target`.
    Lookup {
        /// Its name, chosen by the caller; ids from 2^63 on are the DHT's own.
        id: LookupId,
        /// What to aim at.
        target: Key,
        /// What to ask of the record there.
        want: Want,
        /// How many of the closest must answer.
        goal: usize,
        /// What it is for, for people.
        why: &'static str,
    },
    /// Whoever started this lookup has enough.
    Stop(LookupId),
    /// A request was answered.
    Answered {
        /// The request.
        query: QueryId,
        /// Who answered, proved by the link.
        from: Contact,
        /// The contacts in the answer.
        contacts: Vec<Contact>,
        /// How long the answer took.
        rtt: Duration,
    },
    /// A request got no answer after all its tries.
    Failed(QueryId),
    /// A request could not be sent: this node is too busy. Says nothing about the other node.
    Unsent(QueryId),
    /// Authenticated traffic that nobody here asked for.
    Heard(Contact),
    /// A node said that it leaves.
    Left(PublicKey),
    /// Somebody answered a hello at an address.
    Greeted {
        /// The address.
        address: SocketAddr,
        /// Who is there.
        contact: Contact,
    },
    /// Somebody may be at this address of the local network.
    Candidate(SocketAddr),
    /// A name was resolved; no address means that it does not resolve.
    Resolved {
        /// The name.
        name: String,
        /// Its addresses, in groups: the later ones are asked only if nobody of the earlier ones answers.
        addresses: Vec<Vec<SocketAddr>>,
    },
    /// A request by another part of the node to this peer got no answer: check it soon.
    Suspect(NodeId),
    /// The failure detector doubts it: leave it out of answers and lookups until it is heard.
    Doubted(NodeId),
    /// The machine slept, or its address changed: check everybody.
    Resumed,
    /// The announced deadline came.
    Timeout,
}

/// What the DHT wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Ask a node something.
    Query {
        /// To be named in the answer.
        query: QueryId,
        /// Whom.
        to: Contact,
        /// What.
        purpose: Purpose,
        /// How many times to try.
        tries: u8,
    },
    /// Ask who is at an address.
    Hello(SocketAddr),
    /// Ask who is at an address by one datagram: nobody but the local network named it.
    Ask(SocketAddr),
    /// Resolve a DNS name.
    Resolve(String),
    /// All entry points are silent: the last resort is used from now on, until one of them answers.
    LastResort,
    /// A lookup ended.
    Finished {
        /// Which.
        lookup: LookupId,
        /// The closest that answered, closest first; may be more than the goal.
        closest: Vec<Peer>,
        /// Its account.
        trace: LookupTrace,
    },
    /// A lookup was not started: too many are under way.
    Refused(LookupId),
    /// The sibling list changed.
    Siblings(SiblingChange),
    /// Contacts to remember for a warm restart.
    Save(Vec<Contact>),
    /// The network has been entered and the own neighbourhood looked up.
    Joined,
}

/// Own lookups have ids from here on.
const OWN_LOOKUPS: u64 = 1 << 63;
/// How long a node that knows others from its last run takes itself for one of many; then it may be
/// the only one left.
pub const REMEMBERED_PATIENCE: Duration = Duration::from_secs(30);
/// Contacts remembered for a restart.
const SAVED_MAX: usize = 128;
/// Without any traffic for so long a node takes itself for offline and drops nobody.
const OFFLINE_AFTER: Duration = Duration::from_secs(10);
/// Failed checks in a row after which a contact is dropped even if nobody else is heard.
const FAILURES_MAX: u8 = 4;

/// The DHT of one node. See the crate for what it does.
#[derive(Debug, Clone)]
pub struct Dht {
    network: NetworkId,
    me: Peer,
    config: Config,
    pub(crate) table: RoutingTable,
    lookups: Lookups,
    probes: Probes,
    entries: EntryPoints,
    rng: Rng,
    outbox: VecDeque<Output>,
    stats: Stats,
    next_query: u64,
    next_own_lookup: u64,
    /// Smoothed time of answers and its deviation, over all peers: what "overdue" means.
    answer_time: (Duration, Duration),
    last_heard: Instant,
    joining: Joining,
    ever_joined: bool,
    /// Whether somebody else watches the siblings, so that they need no heartbeats.
    watched: bool,
    refresh_at: Instant,
    /// The last pause between refreshes.
    refresh_pause: Duration,
    refresh_bucket: u8,
    /// Whether the own neighbourhood was looked up last, and not only a bucket.
    refresh_self: bool,
    save_at: Instant,
    unsaved: bool,
    candidates: Candidates,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joining {
    /// Nobody is known.
    Alone,
    /// The own neighbourhood is being looked up.
    Looking(LookupId),
    /// Done.
    Joined,
}

impl Dht {
    /// The DHT of `me` in `network`, knowing nobody.
    #[must_use]
    pub fn new(network: NetworkId, me: Contact, config: Config, mut rng: Rng) -> Self {
        let me = me.in_network(&network);
        let pauses = (config.entry_backoff_min, config.entry_backoff_max);
        Self {
            table: RoutingTable::new(me.id, config.k, config.siblings, config.table_capacity),
            entries: EntryPoints::new(pauses.0, pauses.1, rng.fork("entry points")),
            refresh_at: Instant::ZERO + rng.jitter(config.refresh_interval, 0.25),
            save_at: Instant::ZERO + config.save_interval,
            refresh_pause: config.refresh_interval / 2,
            network,
            me,
            config,
            lookups: Lookups::default(),
            probes: Probes::new(),
            rng,
            outbox: VecDeque::new(),
            stats: Stats::default(),
            next_query: 0,
            next_own_lookup: OWN_LOOKUPS,
            answer_time: (Duration::from_millis(100), Duration::from_millis(50)),
            last_heard: Instant::ZERO,
            joining: Joining::Alone,
            ever_joined: false,
            watched: false,
            refresh_bucket: 0,
            refresh_self: false,
            unsaved: false,
            candidates: Candidates::new(),
        }
    }

    /// This node.
    #[must_use]
    pub const fn me(&self) -> &Peer {
        &self.me
    }

    /// From now on somebody else watches the siblings: they are checked no oftener than other
    /// contacts, and [`Input::Left`] says who is gone.
    pub const fn without_heartbeats(&mut self) {
        self.watched = true;
    }

    /// Sets the address under which others reach this node.
    pub fn set_address(&mut self, address: SocketAddr) {
        self.me.contact.address = address;
    }

    /// The contacts closest to `target` that this node has proved, for an answer to `asker`.
    #[must_use]
    pub fn closest(&self, target: &Key, count: usize, asker: Option<&NodeId>) -> Vec<Peer> {
        let mut closest = self.table.closest_responsive(target, count + 1);
        closest.retain(|peer| Some(&peer.id) != asker);
        closest.truncate(count);
        closest
    }

    /// The siblings, closest first.
    pub fn siblings(&self) -> impl Iterator<Item = &Peer> {
        self.table.siblings()
    }

    /// Members known, this node included.
    #[must_use]
    pub fn members_known(&self) -> usize {
        self.table.len() + 1
    }

    /// Contacts in a bucket, and how many closest nodes a lookup for nodes finds.
    #[must_use]
    pub const fn k(&self) -> usize {
        self.config.k
    }

    /// Estimated nodes in the network, this one included.
    #[must_use]
    pub fn network_size_estimate(&self) -> u64 {
        self.table.network_size_estimate()
    }

    /// Whether `id` failed to answer lately.
    #[must_use]
    pub fn is_suspect(&self, id: &NodeId) -> bool {
        self.table.entry(id).is_some_and(|entry| entry.failures > 0)
    }

    /// Whether the network has been entered.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.joining == Joining::Joined
    }

    /// Whether it had been entered at any time since the start.
    #[must_use]
    pub const fn has_joined(&self) -> bool {
        self.ever_joined
    }

    /// Whether there must be others: an entry point that a user named, or, for a while after the
    /// start, contacts of the last run.
    #[must_use]
    pub fn expects_others(&self, now: Instant) -> bool {
        let waits = now.since(Instant::ZERO) < REMEMBERED_PATIENCE;
        self.entries.any_configured() || (waits && self.entries.any())
    }

    /// Whether there is an entry point that a user named: without one, a node alone is complete.
    #[must_use]
    pub fn has_entry_points(&self) -> bool {
        self.entries.any_configured()
    }

    /// Where the node `id` is, if it is in the table.
    #[must_use]
    pub fn contact(&self, id: &NodeId) -> Option<Contact> {
        self.table.entry(id).map(|entry| entry.peer.contact)
    }

    /// The entry points that a user named, and what became of them.
    #[must_use]
    pub fn entry_points(&self) -> Vec<EntryView> {
        self.entries.configured(&self.network, &self.table)
    }

    /// The DNS names that are asked while all entry points are silent.
    #[must_use]
    pub fn last_resort(&self) -> LastResort {
        self.entries.last_resort()
    }

    /// How many contacts of the last run there are.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.entries.remembered()
    }

    /// For how long no other node has been heard.
    #[must_use]
    pub fn silence(&self, now: Instant) -> Duration {
        now.since(self.last_heard)
    }

    /// Whether this node seems to be cut off: it knows others and hears none.
    #[must_use]
    pub fn is_offline(&self, now: Instant) -> bool {
        let quiet = OFFLINE_AFTER.max(self.config.heartbeat_interval * 3);
        !self.table.is_empty() && now.since(self.last_heard) > quiet
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            contacts: self.table.len(),
            capacity: self.config.table_capacity,
            siblings: self.table.siblings().count(),
            contacts_evicted: self.table.evicted(),
            lookups_active: self.lookups.len(),
            ..self.stats
        }
    }

    /// The table as shown to people.
    #[must_use]
    pub fn table_view(&self, now: Instant) -> TableView {
        self.table.view(now)
    }

    /// The last lookups that somebody asked for, oldest first.
    pub fn traces(&self) -> impl Iterator<Item = &LookupTrace> {
        self.lookups.traces()
    }

    /// After how long a request is overdue: the smoothed answer time plus four deviations, as
    /// retransmission timers have it (RFC 6298), within 10 ms and 1 s.
    fn patience(&self) -> Duration {
        let (smoothed, deviation) = self.answer_time;
        (smoothed + deviation * 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }

    fn note_answer_time(&mut self, rtt: Duration) {
        let (smoothed, deviation) = self.answer_time;
        let error = smoothed.abs_diff(rtt);
        self.answer_time = ((smoothed * 7 + rtt) / 8, (deviation * 3 + error) / 4);
    }

    fn query_id(&mut self) -> QueryId {
        self.next_query += 1;
        QueryId(self.next_query)
    }

    fn ping(&mut self, now: Instant, peer: Peer, reason: Reason) {
        let query = self.query_id();
        self.probes.sent(query, Probe { peer, reason, sent: now });
        self.stats.probes_sent += 1;
        let tries = self.config.heartbeat_tries;
        self.outbox.push_back(Output::Query {
            query,
            to: peer.contact,
            purpose: Purpose::Ping,
            tries,
        });
    }

    fn is_acceptable(&self, contact: &Contact) -> bool {
        self.is_usable(contact.address)
    }

    fn is_usable(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        let usable = address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast();
        let private = match ip {
            std::net::IpAddr::V4(ip) => {
                ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_broadcast()
            }
            std::net::IpAddr::V6(ip) => {
                ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()
            }
        };
        usable && (self.config.private_addresses || !private)
    }
}

struct Asked {
    target: Key,
    want: Want,
    goal: usize,
    why: &'static str,
}

struct Answer {
    query: QueryId,
    from: Contact,
    contacts: Vec<Contact>,
    rtt: Duration,
}

impl Machine for Dht {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Join(point) => {
                self.entries.add(now, point, Origin::Named);
                self.entries.drop_self(&self.me.contact.public_key, Some(self.me.contact.address));
            }
            Input::LastResort(name) => {
                self.entries.add(now, EntryPoint::Name(name), Origin::LastResort);
            }
            Input::Remembered(contacts) => {
                for contact in contacts.into_iter().take(SAVED_MAX) {
                    if contact.public_key != self.me.contact.public_key {
                        let point = EntryPoint::Contact(contact);
                        self.entries.add(now, point, Origin::Remembered);
                    }
                }
            }
            Input::Lookup { id, target, want, goal, why } => {
                self.start_lookup(now, id, Asked { target, want, goal, why });
            }
            Input::Stop(id) => self.finish_lookup(now, id, LookupOutcome::Satisfied),
            Input::Answered { query, from, contacts, rtt } => {
                self.on_answered(now, Answer { query, from, contacts, rtt });
            }
            Input::Failed(query) => self.on_failed(now, query),
            Input::Unsent(query) => self.on_unsent(now, query),
            Input::Heard(contact) => self.on_heard(now, contact),
            Input::Left(key) => {
                let id = key.node_id(&self.network);
                if self.table.entry(&id).is_some() {
                    self.drop_contact(now, &id);
                }
            }
            Input::Greeted { address, contact } => {
                self.entries.learned(address, contact);
                if !self.is_known_elsewhere(address, &contact) {
                    self.enter(now, contact);
                }
            }
            Input::Candidate(address) => self.on_candidate(now, address),
            Input::Resolved { name, addresses } => {
                let first = self.entries.resolved(now, &name, addresses);
                self.greet(first);
            }
            Input::Suspect(id) => self.suspect(now, &id),
            Input::Doubted(id) => {
                if let Some(entry) = self.table.entry_mut(&id) {
                    entry.failures = entry.failures.max(1);
                }
            }
            Input::Resumed => self.on_resumed(now),
            Input::Timeout => self.on_timeout(now),
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let check = self.table.next_check();
        Deadline::earliest([
            self.entries.deadline(),
            check.map(|at| Deadline::new(at, "contact check")),
            self.lookups.deadline(),
            Some(Deadline::new(self.refresh_at, "refresh")),
            Some(Deadline::new(self.save_at, "save contacts")),
        ])
    }
}

#[cfg(test)]
mod tests;
