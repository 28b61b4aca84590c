//! Membership: the failure detector and the member list.
//!
//! SWIM (Das, Gupta, Motivala 2002) probes one member in each interval, in shuffled rounds. A
//! member that does not answer is probed through others, and then suspected for a while, in which
//! it may refute. Lifeguard stretches these times while this node itself is unhealthy. Where we
//! differ, since any node may lie:
//!
//! - **No message from others evicts a member.** SWIM's "dead" messages do not exist. A suspect
//!   message makes this node probe sooner and shortens its own suspicion; each verdict follows from
//!   its own failed probes, the last of them right before it.
//! - Only the subject speaks for itself: records, refutations and leave messages are signed by it
//!   and ordered by its own record version. A suspect message about a version that the subject
//!   never signed is ignored.
//! - Updates travel over the broadcast tree, once to each member, and are not piggybacked tens of
//!   times; member lists are compared by digests, and sent whole only to newcomers.
//! - The isolation guard (see `isolation`): a node that hears no other node declares none dead.
//!
//! **Modes.** In a *fleet* every node knows and watches all members. In an *open* network it
//! watches its neighbours in the overlay and its close group in the DHT, and sends suspect messages
//! to the nodes that watch the same member.
//!
//! **Invariant:** tables, queues and everything that others can cause are bounded; see
//! [`MembersStats`].

mod anti_entropy;
mod config;
mod detect;
mod heal;
mod health;
mod indirect_probe;
mod isolation;
mod partition;
mod rates;
mod records;
mod serve;
mod stats;
mod suspicion;
mod table;
mod verdict;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{
    Contact, Deadline, Identity, Instant, LocalAddress, Machine, NetworkId, PublicKey, Rng,
    RoundTrip, UnixMillis,
};
use potluck_wire::{
    MemberRecord, MemberRequest, Reach, RecordVersion, Response, Revocation, Revoked, Software,
};

use crate::view::{MemberEvent, MemberView, MembersView, Mode};

pub use config::{MembersConfig, MembersConfigError, ModeChoice};
pub use stats::MembersStats;

use health::LocalHealth;
use isolation::Isolation;
use table::Table;

/// Identifies a request of this node, for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Identifies a request of another node, chosen by the caller of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServeId(pub u64);

/// What can happen to the machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Authenticated traffic from a proved address.
    Heard(Contact),
    /// A node answered a request of this node and thereby proved its address; it may be unknown.
    Proved(Contact),
    /// A request of another node.
    Asked {
        /// Identifies the request in the answer.
        serve: ServeId,
        /// The requester.
        from: Contact,
        /// The request.
        request: MemberRequest,
        /// Longest answer in bytes.
        budget: usize,
    },
    /// A request was answered.
    Answered {
        /// The request.
        ask: AskId,
        /// The answer.
        response: Response,
        /// The round-trip time, if it is known.
        rtt: Option<Duration>,
    },
    /// A request got no answer.
    Failed {
        /// The request.
        ask: AskId,
    },
    /// A request could not be sent: this node is too busy.
    Unsent {
        /// The request.
        ask: AskId,
    },
    /// A member published an announcement to all members.
    Announced {
        /// The publisher.
        from: PublicKey,
        /// An encoded [`potluck_wire::Announcement`].
        payload: Bytes,
    },
    /// The links of the overlay of all nodes.
    Neighbours(Vec<Contact>),
    /// The nodes closest to this one in the DHT.
    CloseGroup(Vec<Contact>),
    /// Another part of this node got no answer from a member: probe it soon.
    Unanswered(PublicKey),
    /// Estimated number of nodes in the network.
    NetworkSize(u64),
    /// The network's authority expelled a member, or all members that a ticket admitted.
    Revoked {
        /// The revocation.
        revocation: Revocation,
        /// Its signed bytes, to be passed on.
        bytes: Bytes,
        /// Whether to announce it to all members now; if not, only to new neighbours.
        spread: bool,
    },
    /// The certificate that this node's record carries.
    Certificate(Bytes),
    /// The wall clock.
    WallClock(UnixMillis),
    /// The machine slept and resumed.
    Resumed,
    /// The addresses at which others reach this node now.
    Addresses {
        /// At least one, the preferred one first.
        ways: Vec<SocketAddr>,
        /// The addresses of its interfaces, which tell which peers are near.
        local: Vec<LocalAddress>,
    },
    /// This node leaves.
    Leave,
    /// The announced deadline came.
    Timeout,
}

/// This node's judgement of a member, on which the other parts of the node act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is alive, or alive again.
    Alive,
    /// It does not answer.
    Suspect,
    /// It is dead.
    Dead,
    /// It has left.
    Left,
}

/// What the machine asks its caller to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Sends a request.
    Ask {
        /// Identifies the request in its answer.
        ask: AskId,
        /// The node to ask.
        to: Contact,
        /// The request.
        request: MemberRequest,
        /// Number of tries.
        tries: u8,
        /// Time that the other node may take, beyond the round trip.
        patience: Duration,
        /// Whether the answer may be longer than a datagram, so that a call is needed.
        large: bool,
    },
    /// Answers a request.
    Answer {
        /// The request.
        serve: ServeId,
        /// The answer.
        response: Response,
    },
    /// Announces to all members: an encoded [`potluck_wire::Announcement`].
    Announce(Bytes),
    /// This node's judgement of a member changed.
    Verdict(Contact, Verdict),
    /// A member did not answer the first tries of a probe. It is not suspected yet, but messages
    /// queued for it may take another path.
    Silent(PublicKey),
    /// A change of a member, for the application.
    Event(MemberEvent),
    /// Half of the probed members vanished at once, so this node must be isolated: it judges no member, and
    /// joins the network again.
    Isolated,
    /// Other nodes are heard from again.
    Reunited,
    /// Members to which overlay links can be made.
    Candidates(Vec<Contact>),
    /// The mode changed.
    Mode(Mode),
    /// A node in another partition of the overlay: a link to it is to be made.
    Bridge(Contact),
    /// Revocations received from another node.
    Revocations(Vec<Bytes>),
    /// A record with this node's own key arrived that neither this incarnation nor an earlier one
    /// signed: another machine runs with this identity.
    Elsewhere(RecordVersion),
}

/// The parameters of a new [`Members`].
#[derive(Debug, Clone)]
pub struct MembersStart {
    /// This node's keys.
    pub identity: Identity,
    /// The network.
    pub network: NetworkId,
    /// This node's key and address.
    pub contact: Contact,
    /// Higher than that of every earlier start.
    pub incarnation: u64,
    /// The labels that the owner gave this node.
    pub labels: Vec<(String, String)>,
    /// Whether this node is a client only: then it is neither listed nor probed by others.
    pub client: bool,
}

/// Requests under way at once. A higher value lets a node probe and reconcile more in parallel.
const ASKS_MAX: usize = 256;
/// The build that this node names in its record: at most 32 bytes.
const BUILD: &str = concat!("potluck ", env!("CARGO_PKG_VERSION"));
/// Revocations remembered: as many as the link's gatekeeper keeps.
const REVOKED_MAX: usize = 4096;

/// The purpose of a request.
#[derive(Debug, Clone, PartialEq)]
enum Purpose {
    /// The first tries of a probe.
    Probe(PublicKey),
    /// A further try, while helpers probe as well.
    Reprobe(PublicKey),
    /// A ping-req: a helper probes the subject for this node.
    PingReq { subject: PublicKey, nonce: u64 },
    /// This node probes a member for another node.
    Prove { serve: ServeId },
    /// A page of the member list, after this key.
    Page(Contact, PublicKey),
    /// A comparison of digests; `whole` allows an answer longer than a datagram.
    Compare { with: Contact, whole: bool },
    /// Records that differ.
    Load(Contact),
    /// A suspect message; the answer tells whether the receiver suspects the member as well.
    Suspect(PublicKey),
    /// The answer does not matter.
    Notify,
}

/// The members machine. See the module.
#[derive(Debug)]
pub struct Members {
    identity: Identity,
    network: NetworkId,
    authority: Option<PublicKey>,
    revoked: BTreeMap<Revoked, (UnixMillis, Bytes)>,
    config: MembersConfig,
    me: MemberRecord,
    my_record: Bytes,
    table: Table,
    mode: Mode,
    rng: Rng,
    health: LocalHealth,
    isolation: Isolation,
    detector: detect::Detector,
    broadcasts: records::BroadcastQueue,
    anti_entropy: anti_entropy::AntiEntropy,
    partitions: partition::Partitions,
    neighbours: BTreeSet<PublicKey>,
    close_group: BTreeSet<PublicKey>,
    probers: indirect_probe::Probers,
    rates: rates::Rates,
    local: Vec<LocalAddress>,
    asks: BTreeMap<AskId, Purpose>,
    next_ask: u64,
    heal_at: Instant,
    wall: Option<UnixMillis>,
    /// Smoothed round-trip time of probes over all members; `None` before the first answer.
    probe_rtt: RoundTrip,
    leaving: bool,
    outbox: VecDeque<Output>,
    stats: MembersStats,
}

impl Members {
    /// A node that knows no other node.
    #[must_use]
    pub fn new(start: MembersStart, config: MembersConfig, mut rng: Rng) -> Self {
        let MembersStart { identity, network, contact, incarnation, labels, .. } = start;
        let me = MemberRecord {
            contact,
            version: RecordVersion { incarnation, revision: 0 },
            left: false,
            client: start.client,
            labels,
            certificate: None,
            more: Vec::new(),
            software: Software { build: BUILD.to_owned(), ..Software::default() },
            reach: Reach::Unknown,
            settings: 0,
        };
        let my_record = me.sign(&identity, &network);
        let mode = match config.mode {
            ModeChoice::Open => Mode::Open,
            ModeChoice::Auto | ModeChoice::Fleet => Mode::Fleet,
        };
        let here_max = if mode == Mode::Fleet { config.fleet_max } else { config.open_max };
        Self {
            table: Table::new(here_max, config.gone_max),
            detector: detect::Detector::new(&config, &mut rng),
            broadcasts: records::BroadcastQueue::default(),
            anti_entropy: anti_entropy::AntiEntropy::new(&config, &mut rng),
            partitions: partition::Partitions::default(),
            heal_at: Instant::ZERO + rng.jitter(config.heal_interval, 0.5),
            identity,
            network,
            authority: None,
            revoked: BTreeMap::new(),
            config,
            me,
            my_record,
            mode,
            rng,
            health: LocalHealth::default(),
            isolation: Isolation::default(),
            neighbours: BTreeSet::new(),
            close_group: BTreeSet::new(),
            probers: indirect_probe::Probers::default(),
            rates: rates::Rates::default(),
            local: vec![contact.address.into()],
            asks: BTreeMap::new(),
            next_ask: 0,
            wall: None,
            probe_rtt: RoundTrip::default(),
            leaving: false,
            outbox: VecDeque::new(),
            stats: MembersStats::default(),
        }
    }

    /// Requires that records carry a certificate of `authority`, as this node's does.
    pub fn require_certificates(&mut self, authority: PublicKey, own: Option<Bytes>) {
        self.authority = Some(authority);
        self.me.certificate = own;
        self.my_record = self.me.sign(&self.identity, &self.network);
    }

    /// How much of the network this node knows.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether verdicts are frozen because this node itself seems isolated.
    #[must_use]
    pub const fn is_isolated(&self) -> bool {
        self.isolation.is_isolated()
    }

    /// The members, this node included, in the order of their ids.
    #[must_use]
    pub fn view(&self) -> MembersView {
        let mut members: Vec<MemberView> = self.table.iter().map(records::view_of).collect();
        if !self.me.client {
            members.push(MemberView {
                peer: self.me.contact.in_network(&self.network),
                state: crate::view::MemberState::Alive,
                incarnation: self.me.version.incarnation,
                labels: self.me.labels.clone(),
            });
        }
        members.sort_by_key(|member| member.peer.id);
        MembersView { mode: self.mode, members }
    }

    /// This node's judgement of the member with this key, if it knows it.
    #[must_use]
    pub fn state(&self, key: &PublicKey) -> Option<crate::view::MemberState> {
        self.table.get(key).map(|member| member.state.shown())
    }

    /// The signed record of the member with this key, if it is known.
    #[must_use]
    pub fn record(&self, key: &PublicKey) -> Option<Bytes> {
        self.table.get(key).map(|member| member.record.clone())
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> MembersStats {
        let [alive, suspect, dead, left] = self.table.counts();
        MembersStats {
            alive,
            suspect,
            dead,
            left,
            asks: self.asks.len(),
            probing: self.detector.probing(),
            hurried: self.detector.priority_probes(),
            rumours: self.broadcasts.len(),
            watchers: self.probers.len(),
            rates: self.rates.len(),
            revoked: self.revoked.len(),
            health: self.health.get(),
            isolated: self.isolation.is_isolated(),
            ..self.stats.clone()
        }
    }

    fn ask(
        &mut self,
        to: Contact,
        request: MemberRequest,
        purpose: Purpose,
        options: AskOptions,
    ) -> Option<AskId> {
        if self.asks.len() >= ASKS_MAX {
            self.stats.asks_refused += 1;
            return None;
        }
        let ask = AskId(self.next_ask);
        self.next_ask += 1;
        self.asks.insert(ask, purpose);
        let AskOptions { tries, patience, large } = options;
        self.outbox.push_back(Output::Ask { ask, to, request, tries, patience, large });
        Some(ask)
    }

    fn on_answered(&mut self, now: Instant, ask: AskId, response: Response, rtt: Option<Duration>) {
        let Some(purpose) = self.asks.remove(&ask) else { return };
        match purpose {
            Purpose::Probe(subject) | Purpose::Reprobe(subject) => {
                self.on_probe_answered(now, &subject, response, rtt);
            }
            Purpose::PingReq { subject, nonce } => {
                self.on_ping_req_answered(now, &subject, nonce, Some(&response));
            }
            Purpose::Prove { serve } => self.on_proved(serve, Some(response)),
            Purpose::Page(with, after) => self.on_page(now, with, after, response),
            Purpose::Compare { with, whole } => self.on_compared(now, with, whole, response),
            Purpose::Load(with) => self.on_loaded(now, &with.public_key, response),
            Purpose::Suspect(from) => self.on_confirmed(now, from, response),
            Purpose::Notify => {}
        }
    }

    fn on_failed(&mut self, now: Instant, ask: AskId) {
        let Some(purpose) = self.asks.remove(&ask) else { return };
        match purpose {
            Purpose::Probe(subject) => self.on_probe_failed(now, &subject),
            Purpose::Reprobe(subject) => self.on_indirect_probe_end(now, &subject),
            Purpose::PingReq { subject, nonce } => {
                self.on_ping_req_answered(now, &subject, nonce, None);
            }
            Purpose::Prove { serve } => self.on_proved(serve, None),
            Purpose::Page(with, _) | Purpose::Compare { with, .. } | Purpose::Load(with) => {
                self.anti_entropy.ended();
                self.schedule_priority_probe(now, &with.public_key, Duration::ZERO);
            }
            Purpose::Suspect(_) | Purpose::Notify => {}
        }
    }

    /// A request that was never sent says nothing about any node.
    fn on_unsent(&mut self, now: Instant, ask: AskId) {
        let Some(purpose) = self.asks.remove(&ask) else { return };
        self.stats.asks_refused += 1;
        match purpose {
            Purpose::Probe(subject)
            | Purpose::Reprobe(subject)
            | Purpose::PingReq { subject, .. } => {
                self.health.on_bad();
                self.detector.forget(&subject);
                // A suspicion whose end has come is rechecked.
                self.postpone(now, &subject);
            }
            Purpose::Prove { serve } => self.on_proved(serve, None),
            Purpose::Page(..) | Purpose::Compare { .. } | Purpose::Load(_) => {
                self.anti_entropy.ended();
            }
            Purpose::Suspect(_) | Purpose::Notify => {}
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        self.on_suspicions_due(now);
        self.probe_due(now);
        self.announce_due(now);
        self.compare_due(now);
        if now >= self.heal_at {
            self.heal(now);
        }
        self.apply_guard(now, |guard| guard.judge(now));
    }

    /// The links of the overlay of all nodes changed.
    fn on_neighbours(&mut self, now: Instant, contacts: Vec<Contact>) {
        let first = self.neighbours.is_empty() && !contacts.is_empty();
        for contact in &contacts {
            if !self.neighbours.contains(&contact.public_key) {
                self.send_revocations(*contact);
            }
        }
        let neighbours = contacts.iter().map(|contact| contact.public_key).collect();
        let before = std::mem::replace(&mut self.neighbours, neighbours);
        if first {
            // Only now is there a neighbour that forwards this node's record.
            self.announce_own_record(now);
        }
        self.watch(now, contacts, &before);
    }

    /// The nodes closest to this one changed.
    fn on_close_group(&mut self, now: Instant, contacts: Vec<Contact>) {
        let close_group = contacts.iter().map(|contact| contact.public_key).collect();
        let before = std::mem::replace(&mut self.close_group, close_group);
        self.watch(now, contacts, &before);
    }

    /// This node's record carries this certificate from now on.
    fn on_certificate(&mut self, now: Instant, certificate: Bytes) {
        self.me.certificate = Some(certificate);
        self.renew_record(now);
    }
}

/// How to send a request.
#[derive(Debug, Clone, Copy)]
struct AskOptions {
    tries: u8,
    patience: Duration,
    large: bool,
}

impl AskOptions {
    /// This number of tries, without extra time, in datagrams.
    const fn tries(tries: u8) -> Self {
        Self { tries, patience: Duration::ZERO, large: false }
    }
}

impl Machine for Members {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input) {
        self.notice_lag(now);
        match input {
            Input::Heard(contact) => self.on_heard(now, contact),
            Input::Proved(contact) => self.on_proven(now, contact),
            Input::Asked { serve, from, request, budget } => {
                self.on_asked(now, serve, from, request, budget);
            }
            Input::Answered { ask, response, rtt } => self.on_answered(now, ask, response, rtt),
            Input::Failed { ask } => self.on_failed(now, ask),
            Input::Unsent { ask } => self.on_unsent(now, ask),
            Input::Announced { from, payload } => self.on_announced(now, from, &payload),
            Input::Neighbours(contacts) => self.on_neighbours(now, contacts),
            Input::CloseGroup(contacts) => self.on_close_group(now, contacts),
            Input::Unanswered(key) => self.schedule_priority_probe(now, &key, Duration::ZERO),
            Input::Revoked { revocation, bytes, spread } => {
                self.on_revoked(now, revocation, bytes, spread);
            }
            Input::Timeout => self.on_timeout(now),
            Input::Resumed => self.on_disturbed(now),
            Input::Addresses { ways, local } => {
                self.local = local;
                self.on_addresses(now, &ways);
            }
            Input::Certificate(certificate) => self.on_certificate(now, certificate),
            Input::WallClock(wall) => self.wall = Some(wall),
            Input::NetworkSize(size) => self.on_network_size(size),
            Input::Leave => self.leave(now),
        }
        self.begin_paging();
        self.arm_broadcasts(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        Deadline::earliest([
            self.detector.deadline(),
            self.broadcasts.deadline(),
            self.anti_entropy.deadline(),
            Some(Deadline::new(self.heal_at, "heal")),
        ])
    }
}

#[cfg(test)]
mod tests;
