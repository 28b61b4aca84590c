//! Who is there: the failure detector and the list of members.
//!
//! SWIM (Das, Gupta, Motivala 2002) probes one member an interval in shuffled turns; who does not
//! answer is tried through others and then suspected for a while, in which it may refute. Lifeguard
//! stretches times while this node itself is doing badly. Where we differ, since anybody may lie:
//!
//! - **No message from others evicts anybody.** SWIM's "dead" messages do not exist. A doubt of
//!   others makes this node probe sooner and shortens a suspicion of its own; each verdict follows
//!   from its own failed probes, the last of them right before it.
//! - Only the subject speaks for itself: records, refutations and good-byes are signed by it and
//!   ordered by its own incarnation and beat. A doubt about a word that the subject never signed is
//!   nothing.
//! - Updates travel over the broadcast tree, once to each, not piggybacked tens of times; lists are
//!   compared by digests, never sent whole but to newcomers.
//! - The [isolation guard](isolation): a node that hears nobody buries nobody.
//!
//! **Modes.** In a *fleet* every node knows and watches all. In an *open* network it watches its
//! neighbours in the overlay and its siblings in the DHT, and tells a doubt to those who watch the
//! same member.
//!
//! **Invariant:** tables, queues and everything others can cause are bounded; see [`MembersStats`].

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
    UnixMillis,
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

/// Names a question to whoever carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// Names another node's question to whoever brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServeId(pub u64);

/// What can happen.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Authenticated traffic of a proved address.
    Heard(Contact),
    /// A node was proved by a question of this node's own and answered; it may be unknown.
    Proved(Contact),
    /// Another node asks.
    Asked {
        /// To be named in the answer.
        serve: ServeId,
        /// Who.
        from: Contact,
        /// What.
        request: MemberRequest,
        /// Longest answer in bytes.
        budget: usize,
    },
    /// A question was answered.
    Answered {
        /// Which.
        ask: AskId,
        /// With what.
        response: Response,
        /// How long it took, if it is known.
        rtt: Option<Duration>,
    },
    /// A question got no answer.
    Failed {
        /// Which.
        ask: AskId,
    },
    /// A question could not be sent: this node is too busy.
    Unsent {
        /// Which.
        ask: AskId,
    },
    /// Somebody told all members something.
    Announced {
        /// Who published it.
        from: PublicKey,
        /// An encoded [`potluck_wire::Announcement`].
        payload: Bytes,
    },
    /// The links of the overlay of all nodes are these.
    Neighbours(Vec<Contact>),
    /// The closest nodes in the DHT are these.
    CloseGroup(Vec<Contact>),
    /// Another part of the node got no answer from this one: probe it soon.
    Unanswered(PublicKey),
    /// About so many nodes are in the network.
    NetworkSize(u64),
    /// The network's authority has put a member out, or all that a ticket let in.
    Revoked {
        /// What is out.
        revocation: Revocation,
        /// Its signed bytes, to be passed on.
        bytes: Bytes,
        /// Whether it is to be told to all now; if not, only to new neighbours.
        spread: bool,
    },
    /// The certificate to be shown.
    Certificate(Bytes),
    /// The wall clock shows this.
    WallClock(UnixMillis),
    /// The machine slept.
    Resumed,
    /// Others reach this node here now.
    Addresses {
        /// At least one, the preferred one first.
        ways: Vec<SocketAddr>,
        /// Those of its interfaces, which say what is near.
        local: Vec<LocalAddress>,
    },
    /// Say good-bye.
    Leave,
    /// The announced deadline came.
    Timeout,
}

/// What this node thinks of a member now; the other parts act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is there (again).
    Alive,
    /// It does not answer.
    Suspect,
    /// It is dead.
    Dead,
    /// It has left.
    Left,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Ask a node.
    Ask {
        /// To be named in the answer.
        ask: AskId,
        /// Whom.
        to: Contact,
        /// What.
        request: MemberRequest,
        /// Tries.
        tries: u8,
        /// How long the other may take, on top of the way.
        patience: Duration,
        /// Whether the answer may be longer than a datagram, so that a call is needed.
        large: bool,
    },
    /// Answer a question.
    Answer {
        /// Which.
        serve: ServeId,
        /// With what.
        response: Response,
    },
    /// Tell all members: an encoded [`potluck_wire::Announcement`].
    Announce(Bytes),
    /// This node thinks otherwise of a member.
    Verdict(Contact, Verdict),
    /// It did not answer a probe's first tries; nothing is thought of it yet, but what waits for it
    /// may go another way.
    Silent(PublicKey),
    /// Something happened to a member.
    Event(MemberEvent),
    /// So many vanished at once that the fault must be here: nobody is judged, the network is to be
    /// entered anew.
    Isolated,
    /// Others are heard again.
    Reunited,
    /// Members that links of the overlay can be made to.
    Candidates(Vec<Contact>),
    /// The mode is this now.
    Mode(Mode),
    /// This one is in another part of the overlay: a link is to be made to it.
    Bridge(Contact),
    /// Somebody brought revocations along.
    Revocations(Vec<Bytes>),
    /// A record of this node's own key came that this run did not sign, and no earlier one: another
    /// machine runs with this identity.
    Elsewhere(RecordVersion),
}

/// What a [`Members`] starts with.
#[derive(Debug, Clone)]
pub struct MembersStart {
    /// This node's keys.
    pub identity: Identity,
    /// The network.
    pub network: NetworkId,
    /// Key and address.
    pub contact: Contact,
    /// Higher than in any earlier run.
    pub incarnation: u64,
    /// What the owner calls this node.
    pub labels: Vec<(String, String)>,
    /// Whether it serves nobody: then it is neither listed nor probed by others.
    pub client: bool,
}

/// Most questions under way at once.
const ASKS_MAX: usize = 256;
/// What this node says that it runs: at most 32 bytes.
const BUILD: &str = concat!("potluck ", env!("CARGO_PKG_VERSION"));
/// Revocations remembered: as many as the link's gatekeeper keeps.
const REVOKED_MAX: usize = 4096;

/// What a question is for.
#[derive(Debug, Clone, PartialEq)]
enum Purpose {
    /// A probe, first tries.
    Probe(PublicKey),
    /// The same, once more, while others try it too.
    Reprobe(PublicKey),
    /// Somebody tries it for this node.
    PingReq { subject: PublicKey, nonce: u64 },
    /// This node tries it for somebody.
    Prove { serve: ServeId },
    /// All records behind a key.
    Page(Contact, PublicKey),
    /// Where lists differ; in full or as much as fits in a datagram.
    Compare { with: Contact, whole: bool },
    /// Records that differ.
    Load(Contact),
    /// Whether this one could not reach a suspect either.
    Suspect(PublicKey),
    /// Nothing depends on the answer.
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
    /// Smoothed round trip of probes, over all members; none before the first was answered.
    mean_rtt: Option<Duration>,
    leaving: bool,
    outbox: VecDeque<Output>,
    stats: MembersStats,
}

impl Members {
    /// A node that knows nobody.
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
            mean_rtt: None,
            leaving: false,
            outbox: VecDeque::new(),
            stats: MembersStats::default(),
        }
    }

    /// From now on records must carry a certificate of `authority`, as this node's does.
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

    /// Whether verdicts are frozen because this node itself seems to be cut off.
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

    /// What this node thinks of the member with this key, if it knows it.
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
            Purpose::Page(with, after) => self.on_page(now, (with, after), response),
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

    /// A question that was never sent says nothing about anybody.
    fn on_unsent(&mut self, now: Instant, ask: AskId) {
        let Some(purpose) = self.asks.remove(&ask) else { return };
        self.stats.asks_refused += 1;
        match purpose {
            Purpose::Probe(subject)
            | Purpose::Reprobe(subject)
            | Purpose::PingReq { subject, .. } => {
                self.health.on_bad();
                self.detector.forget(&subject);
                // A suspicion whose end came is looked at again.
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

    /// What concerns this node itself.
    fn on_own(&mut self, now: Instant, input: Input) {
        match input {
            Input::Resumed => self.on_disturbed(now),
            Input::Addresses { ways, local } => {
                self.local = local;
                self.on_addresses(now, &ways);
            }
            Input::Certificate(certificate) => {
                self.me.certificate = Some(certificate);
                self.renew_record(now);
            }
            Input::WallClock(wall) => self.wall = Some(wall),
            Input::NetworkSize(size) => self.on_network_size(size),
            Input::Leave => self.leave(now),
            _ => {}
        }
    }
}

/// How to ask.
#[derive(Debug, Clone, Copy)]
struct AskOptions {
    tries: u8,
    patience: Duration,
    large: bool,
}

impl AskOptions {
    /// So many tries, at once, in datagrams.
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
            Input::Neighbours(contacts) => {
                let first = self.neighbours.is_empty() && !contacts.is_empty();
                for contact in &contacts {
                    if !self.neighbours.contains(&contact.public_key) {
                        self.send_revocations(*contact);
                    }
                }
                let neighbours = contacts.iter().map(|contact| contact.public_key).collect();
                let before = std::mem::replace(&mut self.neighbours, neighbours);
                if first {
                    // Only now is there anybody to pass this node's word on.
                    self.announce_own_record(now);
                }
                self.watch(now, contacts, &before);
            }
            Input::CloseGroup(contacts) => {
                let close_group = contacts.iter().map(|contact| contact.public_key).collect();
                let before = std::mem::replace(&mut self.close_group, close_group);
                self.watch(now, contacts, &before);
            }
            Input::Unanswered(key) => self.schedule_priority_probe(now, &key, Duration::ZERO),
            Input::Revoked { revocation, bytes, spread } => {
                self.on_revoked(now, revocation, bytes, spread);
            }
            Input::Timeout => self.on_timeout(now),
            own => self.on_own(now, own),
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
