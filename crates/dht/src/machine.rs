//! The DHT of one node: connects the table, lookups, probes and entry points.

mod candidates;
mod contacts;
mod searches;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{
    Contact, Deadline, Diversity, Instant, Key, Machine, NetworkId, NodeId, Peer, Rng, RoundTrip,
    is_dialable, is_private,
};
use potluck_wire::Want;

use crate::config::Config;
use crate::entry_points::{EntryPoint, EntryPoints, EntryView, LastResort, Origin};
use crate::event::{Input, Output, Purpose, QueryId};
use crate::lookup::LookupId;
use crate::lookups::Lookups;
use crate::named::Named;
use crate::probes::{Probe, Probes, Reason};
use crate::routing_table::{RoutingTable, TableView};
use crate::stats::Stats;
use crate::trace::{LookupOutcome, LookupTrace};
use crate::validate::Validator;
use candidates::Candidates;

/// Time of an answer that is assumed before the first one. A guess.
const ANSWER_TIME: Duration = Duration::from_millis(100);
/// Time after the start for which a node with contacts from before a restart expects other nodes.
/// After it, the node may act as the only one left.
pub const REMEMBERED_TIMEOUT: Duration = Duration::from_secs(30);
/// Contacts saved for a restart. Raising it lets a node find its network again after more of them
/// are gone.
const SAVED_MAX: usize = 128;
/// Silence of all nodes after which this node considers itself offline; see [`Dht::is_offline`].
const OFFLINE_AFTER: Duration = Duration::from_secs(10);
/// Consecutive failed checks after which a contact is dropped even if no other node is heard.
const FAILURES_MAX: u8 = 4;

/// The DHT of one node; see the crate.
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
    /// Smoothed answer time and its deviation, over all peers; they give the soft timeout.
    answer_time: RoundTrip,
    last_heard: Instant,
    joining: Joining,
    ever_joined: bool,
    /// Whether the failure detector watches the close group, so that it needs no heartbeats.
    watched: bool,
    refresh_at: Instant,
    /// The last pause between refreshes.
    refresh_pause: Duration,
    refresh_bucket: u8,
    /// Whether the last refresh looked up the node's own id, and not only a bucket.
    refresh_self: bool,
    save_at: Instant,
    unsaved: bool,
    candidates: Candidates,
    named: Named,
    validator: Validator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Joining {
    /// No other node is known.
    Alone,
    /// The node's own id is being looked up.
    Looking(LookupId),
    /// Done.
    Joined,
}

impl Dht {
    /// The DHT of `me` in `network`, without contacts.
    #[must_use]
    pub fn new(network: NetworkId, me: Contact, config: Config, mut rng: Rng) -> Self {
        let me = me.in_network(&network);
        let pauses = (config.entry_backoff_min, config.entry_backoff_max);
        let named = Named::new(config.defences.capped_contacts);
        let validator = Validator::new(config.defences.deep_buckets);
        let mut table =
            RoutingTable::new(me.id, config.k, config.close_group_size, config.table_capacity);
        table.limit_subnets(diversity(&config));
        Self {
            table,
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
            next_own_lookup: 0,
            answer_time: RoundTrip::assumed(ANSWER_TIME, ANSWER_TIME / 2),
            last_heard: Instant::ZERO,
            joining: Joining::Alone,
            ever_joined: false,
            watched: false,
            refresh_bucket: 0,
            refresh_self: false,
            unsaved: false,
            candidates: Candidates::new(),
            named,
            validator,
        }
    }

    /// This node.
    #[must_use]
    pub const fn me(&self) -> &Peer {
        &self.me
    }

    /// From now on the failure detector watches the close group: its members are checked as often as
    /// other contacts, and [`Input::Left`] reports those that are gone.
    pub const fn without_heartbeats(&mut self) {
        self.watched = true;
    }

    /// Sets the address under which others reach this node.
    pub fn set_address(&mut self, address: SocketAddr) {
        self.me.contact.address = address;
    }

    /// The contacts closest to `target` that this node has proved.
    #[must_use]
    pub fn closest(&self, target: &Key, count: usize) -> Vec<Peer> {
        self.table.closest_responsive(target, count)
    }

    /// Of these, the ones that this node heard of late, for an answer to `asker`. To name others would make
    /// askers send datagrams at machines that are long gone.
    #[must_use]
    pub fn named(&self, now: Instant, target: &Key, count: usize, asker: &NodeId) -> Vec<Peer> {
        let since = Instant::ZERO + now.since(Instant::ZERO + self.config.named_for);
        let mut closest = self.table.closest_heard(target, count + 1, since);
        closest.retain(|peer| peer.id != *asker);
        closest.truncate(count);
        closest
    }

    /// The close group, closest first.
    pub fn close_group(&self) -> impl Iterator<Item = &Peer> {
        self.table.close_group()
    }

    /// Members known, this node included.
    #[must_use]
    pub fn members_known(&self) -> usize {
        self.table.len() + 1
    }

    /// Contacts in a bucket, and the number of closest nodes that a lookup for nodes finds.
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

    /// Whether other nodes must exist: an entry point was configured, or, for
    /// [`REMEMBERED_TIMEOUT`] after the start, contacts from before the restart are known.
    #[must_use]
    pub fn expects_others(&self, now: Instant) -> bool {
        let waits = now.since(Instant::ZERO) < REMEMBERED_TIMEOUT;
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

    /// Whether this node has not proved that a contact is at its address.
    #[must_use]
    pub fn is_only_named(&self, contact: &Contact) -> bool {
        let id = contact.in_network(&self.network).id;
        self.config.defences.capped_contacts && self.contact(&id).as_ref() != Some(contact)
    }

    /// The configured entry points, with the result of trying each.
    #[must_use]
    pub fn entry_points(&self) -> Vec<EntryView> {
        self.entries.configured(&self.network, &self.table)
    }

    /// The DNS names that are asked while all entry points are silent.
    #[must_use]
    pub fn last_resort(&self) -> LastResort {
        self.entries.last_resort()
    }

    /// The number of contacts from before the restart.
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
            siblings: self.table.close_group().count(),
            contacts_evicted: self.table.evicted(),
            lookups_active: self.lookups.len(),
            addresses_silent: self.named.len(),
            ..self.stats
        }
    }

    /// The table, for diagnosis.
    #[must_use]
    pub fn table_view(&self, now: Instant) -> TableView {
        self.table.view(now)
    }

    /// The last lookups that a command requested, oldest first.
    pub fn traces(&self) -> impl Iterator<Item = &LookupTrace> {
        self.lookups.traces()
    }

    /// The age from which a request is overdue: the smoothed answer time plus four deviations, as
    /// in the retransmission timer of RFC 6298, between 10 ms and 1 s.
    fn soft_timeout(&self) -> Duration {
        let usual = self.answer_time.with_deviations(4).unwrap_or(ANSWER_TIME);
        usual.clamp(Duration::from_millis(10), Duration::from_secs(1))
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
        let allowed = self.config.private_addresses || !is_private(address.ip());
        is_dialable(&address) && allowed
    }
}

/// Whether places are limited a subnet.
fn diversity(config: &Config) -> Diversity {
    if config.defences.subnet_limits { config.diversity } else { Diversity::Free }
}

struct LookupRequest {
    target: Key,
    want: Want,
    goal: usize,
    why: &'static str,
    waits: bool,
    doubt: bool,
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
            Input::Lookup { id, target, want, goal, why, waits, doubt } => {
                self.start_lookup(now, id, LookupRequest { target, want, goal, why, waits, doubt });
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
            Input::Unanswered(id) => self.suspect(now, &id),
            Input::Suspected(id) => {
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
