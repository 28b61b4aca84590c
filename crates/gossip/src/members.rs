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

mod acks;
mod anti_entropy;
mod broadcast_queue;
mod compare;
mod config;
mod detect;
mod detector;
mod event;
mod heal;
mod health;
mod hints;
mod in_force;
mod indirect_probe;
mod isolation;
mod outbox;
mod own_record;
mod partition;
mod rates;
mod records;
mod revocations;
mod serve;
mod stats;
mod suspicion;
mod table;
mod verdict;
mod watched;

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Deadline, Instant, Machine, PublicKey, Rng, UnixMillis};
use potluck_wire::{MemberRequest, Response};

use crate::view::{MemberView, MembersView, Mode};

pub use config::{MembersConfig, MembersConfigError, MembersStart, ModeChoice};
pub use stats::MembersStats;

use anti_entropy::AntiEntropy;
use broadcast_queue::BroadcastQueue;
use detector::Detector;
pub use event::{AskId, Input, Output, ServeId, Verdict};
use hints::Hints;
use in_force::InForce;
use outbox::{AskOptions, Outbox, Purpose};
use own_record::OwnRecord;
use rates::Rates;
use revocations::Revocations;
use table::Table;
use watched::Watched;

/// The members machine. See the module.
#[derive(Debug)]
pub struct Members {
    config: MembersConfig,
    mode: Mode,
    own: OwnRecord,
    table: Table,
    watched: Watched,
    revocations: Revocations,
    in_force: InForce,
    rates: Rates,
    detector: Detector,
    broadcasts: BroadcastQueue,
    anti_entropy: AntiEntropy,
    hints: Hints,
    /// The wall clock; `None` before it was reported.
    wall: Option<UnixMillis>,
    rng: Rng,
    outbox: Outbox,
    stats: MembersStats,
}

impl Members {
    /// A node that knows no other node.
    #[must_use]
    pub fn new(start: MembersStart, config: MembersConfig, mut rng: Rng) -> Self {
        let mode = match config.mode {
            ModeChoice::Open => Mode::Open,
            ModeChoice::Auto | ModeChoice::Fleet => Mode::Fleet,
        };
        let here_max = if mode == Mode::Fleet { config.fleet_max } else { config.open_max };
        let mut detector = Detector::new(&config, &mut rng);
        let anti_entropy = AntiEntropy::new(&config, &mut rng);
        detector.heal_next(Instant::ZERO + rng.jitter(config.heal_interval, 0.5));
        Self {
            mode,
            own: OwnRecord::new(start),
            table: Table::new(here_max, config.gone_max),
            watched: Watched::default(),
            revocations: Revocations::default(),
            in_force: InForce::default(),
            rates: Rates::default(),
            detector,
            broadcasts: BroadcastQueue::default(),
            anti_entropy,
            hints: Hints::default(),
            wall: None,
            config,
            rng,
            outbox: Outbox::default(),
            stats: MembersStats::default(),
        }
    }

    /// Requires that records carry a certificate of `authority`, as this node's does.
    pub fn require_certificates(&mut self, authority: PublicKey, own: Option<Bytes>) {
        self.revocations.require(authority);
        self.own.start_with(own);
    }

    /// How much of the network this node knows.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether verdicts are frozen because this node itself seems isolated.
    #[must_use]
    pub const fn is_isolated(&self) -> bool {
        self.detector.isolation.is_isolated()
    }

    /// The members, this node included, in the order of their ids.
    #[must_use]
    pub fn view(&self) -> MembersView {
        let mut members: Vec<MemberView> = self.table.iter().map(records::view_of).collect();
        members.extend(self.own.view());
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
            asks: self.outbox.asks(),
            probing: self.detector.probing(),
            hurried: self.detector.priority_probes(),
            rumours: self.broadcasts.len(),
            watchers: self.hints.probers.len(),
            rates: self.rates.len(),
            revoked: self.revocations.len(),
            health: self.detector.health.get(),
            isolated: self.detector.isolation.is_isolated(),
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
        let ask = self.outbox.ask(to, request, purpose, options);
        self.stats.asks_refused += u64::from(ask.is_none());
        ask
    }

    fn on_answered(&mut self, now: Instant, ask: AskId, response: Response, rtt: Option<Duration>) {
        let Some(purpose) = self.outbox.take(ask) else { return };
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
        let Some(purpose) = self.outbox.take(ask) else { return };
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
        let Some(purpose) = self.outbox.take(ask) else { return };
        self.stats.asks_refused += 1;
        match purpose {
            Purpose::Probe(subject)
            | Purpose::Reprobe(subject)
            | Purpose::PingReq { subject, .. } => {
                self.detector.health.on_bad();
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
        self.tell_settings_due(now);
        self.announce_due(now);
        self.compare_due(now);
        if now >= self.detector.heal_at() {
            self.heal(now);
        }
        self.apply_guard(now, |guard| guard.judge(now));
    }

    /// The links of the overlay of all nodes changed.
    fn on_neighbours(&mut self, now: Instant, contacts: Vec<Contact>) {
        let first = self.watched.neighbours().is_empty() && !contacts.is_empty();
        for contact in &contacts {
            if !self.watched.is_neighbour(&contact.public_key) {
                self.send_revocations(*contact);
                self.send_settings(*contact);
            }
        }
        let before = self.watched.set_neighbours(&contacts);
        if first && !self.own.known {
            // Only now is there a neighbour that forwards this node's record.
            self.announce_own_record(now);
        }
        self.watch(now, contacts, &before);
    }

    /// The nodes closest to this one changed.
    fn on_close_group(&mut self, now: Instant, contacts: Vec<Contact>) {
        let before = self.watched.set_close_group(&contacts);
        self.watch(now, contacts, &before);
    }

    /// Chooses the mode by the estimated size of the network.
    fn on_network_size(&mut self, size: u64) {
        if self.config.mode != ModeChoice::Auto {
            return;
        }
        let max = self.config.fleet_max as u64;
        let mode = match self.mode {
            Mode::Fleet if size > max => Mode::Open,
            Mode::Open if size < max * 2 / 3 => Mode::Fleet,
            Mode::Fleet | Mode::Open => return,
        };
        self.mode = mode;
        let fleet = mode == Mode::Fleet;
        let room = if fleet { self.config.fleet_max } else { self.config.open_max };
        self.table.set_room(room);
        self.outbox.push(Output::Mode(mode));
    }

    /// This node's record carries this certificate from now on.
    fn on_certificate(&mut self, now: Instant, certificate: Bytes) {
        self.own.set_certificate(certificate);
        self.renew_record(now);
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
            Input::Settings { sequence, bytes, interval, spread } => {
                self.config.interval = interval;
                self.on_settings(now, sequence, bytes, spread);
            }
            Input::Timeout => self.on_timeout(now),
            Input::Resumed => self.on_disturbed(now),
            Input::Addresses { ways, local } => {
                self.own.set_local(local);
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
        self.outbox.pop()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        Deadline::earliest([
            self.detector.deadline(),
            self.broadcasts.deadline(),
            self.anti_entropy.deadline(),
            Some(Deadline::new(self.detector.heal_at(), "heal")),
            self.in_force.deadline(),
        ])
    }
}

#[cfg(test)]
mod tests;
