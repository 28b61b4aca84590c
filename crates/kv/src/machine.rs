//! The key-value store of one node: dispatches events to its operations.

mod requests;
mod stored;

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{Deadline, Identity, Instant, Key, Machine, NetworkId, Peer, PublicKey};
use potluck_record::{Envelope, Place, Reading, State, StorageOp, StorageReply};
use potluck_wire::{Loaded, Response};

use crate::carry_out::CarriedOut;
use crate::checks::Checks;
use crate::command::{Command, CommandError, CommandId, Held, Reply};
use crate::config::Config;
use crate::core::{AskPurpose, Core, OpPurpose, Progress};
use crate::difference::{Difference, Remedies};
use crate::event::{AskId, Input, LookupId, Output, Settings};
use crate::get::{Get, ReadPurpose};
use crate::inspect::{Inspect, version};
use crate::names::Listing;
use crate::pull::Pulls;
use crate::put::{PutOp, Step, Work};
use crate::refill::Refill;
use crate::renewal::Renewal;
use crate::repair::Repair;
use crate::serve::Serves;
use crate::shared_reads::{SharedRead, SharedReads};
use crate::stats::Stats;
use crate::storage;
use crate::surplus::Surplus;
use crate::survey::SurveyEvent;
use crate::teams::TeamReads;
use crate::timing::Timed;
use crate::turns::{Queued, Turns};
use crate::watch::Watches;
use crate::watch_holder::Holder;

mod teams;

#[derive(Debug, Clone)]
enum Operation {
    Get(Box<Get>),
    /// A read that waits for the end of an equal one, or shares one.
    SharedGet,
    Put(Box<PutOp>),
    Inspect(Box<Inspect>),
    Names(Box<Listing>),
    Local(Key),
}

impl Operation {
    fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Get(get) => Some(get.deadline()),
            Self::Put(put) => Some(put.deadline()),
            Self::Inspect(inspect) => Some(inspect.deadline()),
            Self::Local(_) | Self::SharedGet => None,
            Self::Names(listing) => Some(listing.deadline()),
        }
    }
}

/// The page in a response, if it is a page.
fn loaded(response: Option<Response>) -> Option<Loaded> {
    match response {
        Some(Response::Loaded(loaded)) => Some(loaded),
        Some(_) | None => None,
    }
}

/// What the loaded replica of a key shows.
fn held(core: &Core, now: Instant, key: &Key, reply: StorageReply) -> Held {
    let responsible = core.is_responsible(key);
    let equivocations = core.local.equivocations.of(key);
    let Ok(envelopes) = storage::envelopes(reply) else {
        return Held { responsible, equivocations, ..Held::default() };
    };
    let bytes = envelopes.iter().map(Envelope::encoded_len).sum();
    let state: State = envelopes.into_iter().collect();
    let reading = Reading::of(&state, core.wall(now));
    Held {
        present: !state.is_empty(),
        kind: state.iter().max_by_key(|e| e.head().dot()).map(|e| e.head().kind()),
        bytes,
        siblings: reading.values.len(),
        version: version(&state),
        expires: reading.values.iter().map(|value| value.expires).max(),
        responsible,
        equivocations,
    }
}

/// Envelopes dropped by one storage operation of a sweep. A larger batch occupies the disk longer.
const EXPIRE_BATCH: u32 = 2000;

/// The key-value store of one node; see the crate.
#[derive(Debug, Clone)]
pub struct Kv {
    core: Core,
    operations: BTreeMap<CommandId, Operation>,
    turns: Turns,
    shared_reads: SharedReads,
    team_reads: TeamReads,
    checks: Checks,
    serves: Serves,
    carried_out: CarriedOut,
    pulls: Pulls,
    repair: Repair,
    renewal: Renewal,
    refill: Refill,
    /// As of the last wake-up.
    republish_lag: std::time::Duration,
    watches: Watches,
    holder: Holder,
    difference: Difference,
    surplus: Surplus,
    expire_at: Instant,
    leave_by: Option<Instant>,
    /// `keys_served` of the statistics when this node began to leave.
    served_before: u64,
    left: bool,
}

impl Kv {
    /// The store of `me`, which keeps records for others if it `serves`.
    #[must_use]
    pub fn new(
        identity: Identity,
        network: NetworkId,
        me: Peer,
        serves: bool,
        config: Config,
    ) -> Self {
        let expire_at = Instant::ZERO + config.expire_interval;
        let core = Core::new(identity, network, me, serves, config);
        Self {
            renewal: Renewal::new(&core),
            refill: Refill::default(),
            difference: Difference::new(&core),
            surplus: Surplus::new(&core),
            core,
            operations: BTreeMap::new(),
            turns: Turns::default(),
            shared_reads: SharedReads::default(),
            team_reads: TeamReads::default(),
            checks: Checks::default(),
            serves: Serves::default(),
            carried_out: CarriedOut::default(),
            pulls: Pulls::default(),
            repair: Repair::new(me),
            republish_lag: std::time::Duration::ZERO,
            watches: Watches::new(&me.id),
            holder: Holder::default(),
            expire_at,
            leave_by: None,
            served_before: 0,
            left: false,
        }
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            commands_active: self.commands(),
            requests_active: self.serves.len() + self.checks.len(),
            operations_remembered: self.carried_out.len(),
            offers_waiting: self.repair.waiting(),
            pulls_waiting: self.pulls.waiting(),
            expiring_7d: self.renewal.census().expiring(),
            renewals_late: self.renewal.census().late(),
            republish_lag_seconds: self.republish_lag.as_secs(),
            watches: self.watches.len(),
            watches_bytes: self.watches.bytes(),
            watches_polling: self.watches.polling(),
            watch_leases: self.holder.len(),
            certificates: self.core.membership.len(),
            comparisons_active: self.difference.active(),
            changes_remembered: self.core.local.feed.len(),
            stamps_needed: usize::from(self.core.local.stamps.were_needed()),
            versions_seen: self.core.local.seen.len(),
            ..self.core.stats
        }
    }

    /// Commands under way, those that were merged into others included.
    fn commands(&self) -> usize {
        self.operations.len() + self.core.merged_commands() + self.team_reads.writes()
    }

    fn on_command(&mut self, now: Instant, id: CommandId, command: Command) {
        if self.leave_by.is_some() {
            self.core.reply(id, Reply::Failed(CommandError::Leaving));
            return;
        }
        if self.commands() >= self.core.config.commands_max {
            self.core.reply(id, Reply::Failed(CommandError::Busy));
            return;
        }
        let core = &mut self.core;
        let operation = match command {
            Command::Put(put) => {
                core.stats.puts += 1;
                core.timing.begin(id, Timed::Put);
                return self.start_write(now, id, Work::Put(put));
            }
            Command::Apply(apply) => {
                core.stats.operations += 1;
                core.timing.begin(id, Timed::Put);
                return self.start_write(now, id, Work::Apply { apply, may_delegate: true });
            }
            Command::Get { key, quorum } => {
                core.stats.gets += 1;
                core.timing.begin(id, Timed::Get);
                if self.shared_reads.begins(SharedRead { key, quorum }, id) {
                    Operation::Get(Box::new(Get::start(
                        core,
                        now,
                        id,
                        key,
                        ReadPurpose::Read(quorum),
                    )))
                } else {
                    core.stats.gets_shared += 1;
                    Operation::SharedGet
                }
            }
            Command::Replicas { key } => {
                Operation::Inspect(Box::new(Inspect::start(core, now, id, key)))
            }
            Command::Names(list) => match Listing::start(core, now, id, list) {
                Some(listing) => Operation::Names(Box::new(listing)),
                None => return,
            },
            Command::Local { key } => {
                let op = StorageOp::Load { key, place: Place::Replica };
                core.storage(op, OpPurpose::CommandLoad(id, Place::Replica));
                Operation::Local(key)
            }
            Command::Watch { key } => return self.watches.watch(core, now, id, key),
            Command::Unwatch { key } => return self.watches.unwatch(core, id, key),
        };
        self.operations.insert(id, operation);
    }

    fn begin_write(&mut self, now: Instant, id: CommandId, work: Work) {
        match PutOp::start(&mut self.core, now, id, work) {
            Ok(put) => drop(self.operations.insert(id, Operation::Put(Box::new(put)))),
            Err(error) => self.core.reply(id, Reply::Failed(error)),
        }
    }

    /// Passes an event of a survey to the operation that made it.
    fn on_survey(&mut self, now: Instant, id: CommandId, event: SurveyEvent) {
        let core = &mut self.core;
        let progress = match self.operations.get_mut(&id) {
            Some(Operation::Get(get)) => get.on_event(core, now, event),
            Some(Operation::Inspect(inspect)) => inspect.on_event(core, now, event),
            Some(Operation::Put(_)) => {
                return self.with_put(now, id, |put, core| put.on_event(core, now, event));
            }
            Some(Operation::Local(key)) => {
                let SurveyEvent::Local(_, reply) = event else { return };
                let held = held(core, now, key, reply);
                core.reply(id, Reply::Local(held));
                Progress::Done
            }
            Some(Operation::SharedGet | Operation::Names(_)) | None => return,
        };
        if progress == Progress::Done {
            self.end_operation(now, id);
        }
    }

    /// Removes an operation that is no write. If it was a read that others wait to share, the next one
    /// begins.
    fn end_operation(&mut self, now: Instant, id: CommandId) {
        let Some(Operation::Get(get)) = self.operations.remove(&id) else { return };
        for sharing in get.sharing() {
            self.operations.remove(sharing);
        }
        let Some(read) = get.shared_read() else {
            if let Some((key, read)) = get.into_watched() {
                self.watches.on_read(&mut self.core, now, key, read);
            }
            return;
        };
        let mut sharing = self.shared_reads.ended(read).into_iter();
        if let Some(first) = sharing.next() {
            let purpose = ReadPurpose::Read(read.quorum);
            let get = Get::start(&mut self.core, now, first, read.key, purpose);
            self.operations
                .insert(first, Operation::Get(Box::new(get.shared_by(sharing.collect()))));
        }
    }

    /// Passes an event to one listing of names.
    fn with_names(
        &mut self,
        id: CommandId,
        feed: impl FnOnce(&mut Listing, &mut Core) -> Progress,
    ) {
        let Some(Operation::Names(listing)) = self.operations.get_mut(&id) else { return };
        if feed(listing, &mut self.core) == Progress::Done {
            self.operations.remove(&id);
        }
    }

    /// Passes an event to one write, and does what the write then requests.
    fn with_put(
        &mut self,
        now: Instant,
        id: CommandId,
        feed: impl FnOnce(&mut PutOp, &mut Core) -> Step,
    ) {
        let Some(Operation::Put(put)) = self.operations.get_mut(&id) else { return };
        let key = put.key();
        match feed(put, &mut self.core) {
            Step::Wait => {}
            Step::Turn if self.merge_increment(key, id) => {}
            Step::Turn => match self.turns.queue(key, id) {
                Queued::Now => self.begin_turn(now, id),
                Queued::Later => {}
                Queued::Full => {
                    self.operations.remove(&id);
                    self.core.reply(id, Reply::Failed(CommandError::Busy));
                }
            },
            Step::TurnOver => self.end_turn(now, key, id),
            Step::Conflict => {
                let get = Get::start(&mut self.core, now, id, key, ReadPurpose::Conflict);
                self.operations.insert(id, Operation::Get(Box::new(get)));
            }
            Step::Done => {
                self.operations.remove(&id);
                self.end_turn(now, key, id);
            }
        }
    }

    /// Merges an increment into the last one that waits for its turn, so that a counter which is busy has
    /// one write under way and one that waits. Returns whether it did.
    fn merge_increment(&mut self, key: Key, id: CommandId) -> bool {
        let Some(last) = self.turns.last_waiting(&key).filter(|last| *last != id) else {
            return false;
        };
        let Some(Operation::Put(other)) = self.operations.remove(&id) else { return false };
        let absorbed = match self.operations.get_mut(&last) {
            Some(Operation::Put(waiting)) => waiting.absorb(&other),
            Some(_) | None => false,
        };
        if absorbed {
            self.core.merge_command(id, last);
        } else {
            self.operations.insert(id, Operation::Put(other));
        }
        absorbed
    }

    fn begin_turn(&mut self, now: Instant, id: CommandId) {
        self.with_put(now, id, |put, core| put.take_turn(core, now));
    }

    /// Takes a write off the queue of its key, and begins the next turn if the write had it. The write
    /// may have changed this node's own envelope, or taken it back.
    fn end_turn(&mut self, now: Instant, key: Key, id: CommandId) {
        for operation in self.operations.values_mut() {
            if let Operation::Put(put) = operation
                && put.key() == key
            {
                put.forget_own();
            }
        }
        if let Some(next) = self.turns.leave(key, id) {
            self.begin_turn(now, next);
        }
    }

    fn on_answer(&mut self, now: Instant, ask: AskId, response: Option<Response>) {
        let Some(purpose) = self.core.take_ask(ask) else { return };
        match purpose {
            AskPurpose::PutStore(id, from) => {
                self.with_put(now, id, |put, core| {
                    put.on_stored(core, now, from, response.as_ref())
                });
            }
            AskPurpose::Load(id, from) => {
                self.on_survey(now, id, SurveyEvent::Page(from, loaded(response)));
            }
            AskPurpose::Names(id, from) => {
                self.with_names(id, |listing, core| listing.on_answer(core, from, response));
            }
            AskPurpose::Apply(id, from) => {
                self.with_put(now, id, |put, core| put.on_applied(core, from, response.as_ref()));
            }
            AskPurpose::ReadRepair => {}
            AskPurpose::Offer(offer) => {
                let wanted = match response {
                    Some(Response::Offered { wanted }) => Some(wanted),
                    Some(_) | None => None,
                };
                self.repair.on_offered(&mut self.core, now, offer, wanted);
            }
            AskPurpose::Pull(from) => {
                self.pulls.on_loaded(&mut self.core, now, from, loaded(response));
            }
            AskPurpose::Lease(lease) => {
                self.watches.on_lease(&mut self.core, now, lease, response);
            }
            AskPurpose::LeaseEnd => {}
            AskPurpose::Notify(lease) => {
                self.holder.on_told(&mut self.core, now, lease, response.as_ref());
            }
            AskPurpose::Surplus(asked) => {
                let compared = match response {
                    Some(Response::Fingerprints(compared)) => Some(compared),
                    Some(_) | None => None,
                };
                let repair = &mut self.repair;
                self.surplus.on_answer(&mut self.core, now, asked, compared, repair);
            }
            AskPurpose::Difference(number) => {
                let remedies = Remedies { repair: &mut self.repair, pulls: &mut self.pulls };
                self.difference.on_answer(&mut self.core, now, number, response, remedies);
            }
        }
    }

    fn on_close_group(&mut self, now: Instant, peers: Vec<Peer>) {
        let before = std::mem::take(&mut self.core.close_group);
        self.core.regroup(peers);
        for peer in self.core.close_group.minus(&before) {
            self.watches.on_peer_near(&mut self.core, now, &peer);
        }
        self.holder.on_close_group(&self.core, now);
        self.repair.on_change(&self.core, now);
        self.difference.on_close_group(&self.core, now);
    }

    /// A member's certificate is known, perhaps this node's own.
    fn on_member(&mut self, member: PublicKey, certificate: Bytes, own: bool) {
        if own {
            self.core.membership.set_own(certificate.clone());
        }
        self.core.membership.hear_of(member, certificate);
        self.core.learn_origin(&member);
    }

    fn on_settings(&mut self, now: Instant, settings: Settings) {
        let Settings { replication, life_default, republish_interval } = settings;
        let config = &mut self.core.config;
        if config.replication != replication {
            config.replication = replication;
            self.refill.begin(now);
        }
        if (config.life_default, config.republish_interval) != (life_default, republish_interval) {
            (config.life_default, config.republish_interval) = (life_default, republish_interval);
            self.renewal.on_settings(now);
        }
    }

    fn leave(&mut self, now: Instant) {
        if self.leave_by.is_some() {
            return;
        }
        self.leave_by = Some(now + self.core.config.leave_deadline);
        self.served_before = self.core.stats.keys_served;
        self.holder.leave(&mut self.core);
        if self.core.serves {
            self.repair.leave(&mut self.core, now);
        }
        self.check_left(now);
    }

    /// Ends the hand-over when all records were offered and pulled, or the time is over.
    fn check_left(&mut self, now: Instant) {
        let Some(by) = self.leave_by else { return };
        let pulled = self.core.stats.keys_served - self.served_before;
        let done = self.repair.is_quiet() && pulled >= self.repair.promised;
        if !self.left && (done || now >= by) {
            self.left = true;
            let keys = self.repair.promised.min(pulled);
            self.core.outbox.push_back(Output::HandedOver { keys });
        }
    }

    fn sweep(&mut self, now: Instant) {
        let op = StorageOp::Expire { now: self.core.wall(now), limit: EXPIRE_BATCH };
        self.core.storage(op, OpPurpose::Expire);
    }

    fn on_timeout(&mut self, now: Instant) {
        let late: Vec<CommandId> = self
            .operations
            .iter()
            .filter(|(_, operation)| operation.deadline().is_some_and(|due| due.at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.on_late(now, id);
        }
        if let Some((serve, asked)) = self.checks.on_timeout(&mut self.core, now) {
            self.serves.start(&mut self.core, now, serve, asked);
        }
        self.repair.on_timeout(&mut self.core, now);
        self.refill.on_timeout(&mut self.core, now, &self.repair);
        self.renew(now);
        self.watches.on_timeout(&mut self.core, now);
        self.holder.on_timeout(&mut self.core, now);
        let remedies = Remedies { repair: &mut self.repair, pulls: &mut self.pulls };
        self.difference.on_timeout(&mut self.core, now, remedies);
        self.surplus.on_timeout(&mut self.core, now, &self.repair);
        if now >= self.expire_at {
            self.expire_at = now + self.core.config.expire_interval;
            self.holder.sweep(now);
            self.sweep(now);
        }
    }

    /// A lookup of an operation was not started: too many are under way. If there are others of it, it goes on.
    fn on_lookup_refused(&mut self, now: Instant, lookup: LookupId) {
        let Some((id, others_may_do)) = self.core.refused_lookup(lookup) else { return };
        if others_may_do {
            let (closest, late) = (Vec::new(), Vec::new());
            return self.on_survey(now, id, SurveyEvent::LookupDone { closest, late });
        }
        match self.operations.get_mut(&id) {
            Some(Operation::Get(get)) => get.fail(&mut self.core, CommandError::Busy),
            Some(_) | None => self.core.reply(id, Reply::Failed(CommandError::Busy)),
        }
        self.end_operation(now, id);
    }

    /// Starts the rewrites of the renewal that are due, unless this node leaves or is busy for the
    /// application.
    fn renew(&mut self, now: Instant) {
        self.republish_lag = self.renewal.republish_lag(&self.core, now);
        if self.leave_by.is_some() || !self.core.has_wall() {
            return;
        }
        while let Some((id, rewrite)) = self.renewal.on_timeout(&mut self.core, now) {
            let room = self.operations.len() < self.core.config.commands_max / 2;
            let begun = match room {
                true => PutOp::rewrite(&mut self.core, now, id, &rewrite),
                false => Err(CommandError::Busy),
            };
            match begun {
                Ok(put) => drop(self.operations.insert(id, Operation::Put(Box::new(put)))),
                Err(error) => self.core.reply(id, Reply::Failed(error)),
            }
        }
    }

    /// The deadline of an operation is over.
    fn on_late(&mut self, now: Instant, id: CommandId) {
        match self.operations.get_mut(&id) {
            Some(Operation::Get(_) | Operation::Inspect(_)) => {
                self.on_survey(now, id, SurveyEvent::Deadline);
            }
            Some(Operation::Put(put)) if put.only_reads_too_long(now) => {
                self.on_survey(now, id, SurveyEvent::Deadline);
            }
            Some(Operation::Put(put)) if !put.is_late(now) => put.on_timeout(&mut self.core, now),
            Some(Operation::Put(put)) => {
                put.on_deadline(&mut self.core);
                let key = put.key();
                self.operations.remove(&id);
                self.end_turn(now, key, id);
            }
            Some(Operation::Names(_)) => self.with_names(id, Listing::on_deadline),
            Some(Operation::Local(_) | Operation::SharedGet) | None => {}
        }
    }
}

impl Machine for Kv {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input) {
        self.carried_out.begin(now);
        self.core.timing.at(now);
        match input {
            Input::Command { id, command } => self.on_command(now, id, command),
            Input::Found { lookup, from, record } => {
                if let Some(record) = record
                    && let Some(id) = self.core.lookup_command(lookup)
                {
                    self.on_survey(now, id, SurveyEvent::Found(from, record));
                }
            }
            Input::LookupRefused(lookup) => self.on_lookup_refused(now, lookup),
            Input::LookupDone { lookup, closest, late } => {
                if let Some(id) = self.core.end_lookup(lookup) {
                    self.on_survey(now, id, SurveyEvent::LookupDone { closest, late });
                }
            }
            Input::Answered { ask, response } => self.on_answer(now, ask, Some(response)),
            Input::Failed { ask } => self.on_answer(now, ask, None),
            Input::Stored { id, reply } => self.on_stored(now, id, reply),
            Input::PeerRequest { serve, request } => self.on_peer_request(now, serve, request),
            Input::CloseGroup(peers) => self.on_close_group(now, peers),
            Input::PeerUp(peer) => self.watches.on_peer_up(&mut self.core, now, &peer),
            Input::PeerDown(id) => self.watches.on_peer_down(&mut self.core, now, id),
            Input::Members(members) => self.core.members = members,
            Input::WallClock { now: wall, offset } => {
                self.core.set_wall(now, wall, offset);
                self.core.local.stamps.look(now);
            }
            Input::Authority(authority) => {
                self.core.membership.require(authority);
                self.core.scan_certificates(None);
            }
            Input::Certificate(bytes) => {
                self.on_member(self.core.identity.public_key(), bytes, true);
            }
            Input::MemberCertificate { member, certificate } => {
                self.on_member(member, certificate, false);
            }
            Input::Shown { member, ticket } => {
                self.core.membership.show(member, ticket);
                self.core.learn_origin(&member);
            }
            Input::Revoked(subject) => {
                self.core.membership.revoke(subject);
                self.core.local.seen.clear();
            }
            Input::Settings(settings) => self.on_settings(now, settings),
            Input::Elsewhere => self.core.set_elsewhere(),
            Input::Pauses { node, time } => self.repair.on_pauses(&self.core, now, node, time),
            Input::Leave => self.leave(now),
            Input::Timeout => self.on_timeout(now),
        }
        while let Some((id, reply)) = self.core.rewrites_replied.pop_front() {
            self.renewal.on_reply(&mut self.core, id, &reply);
        }
        while let Some((id, reply)) = self.core.internal_replies.pop_front() {
            if !self.on_team_read(now, id, &reply) {
                self.carried_out.on_reply(&mut self.core, id, &reply);
            }
        }
        self.read_teams(now);
        self.read_doubted(now);
        let reads = self.watches.take_started();
        self.operations
            .extend(reads.into_iter().map(|(id, get)| (id, Operation::Get(Box::new(get)))));
        self.check_left(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.core.outbox.pop_front()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let operation = self
            .operations
            .values()
            .filter_map(Operation::deadline)
            .min_by_key(|deadline| deadline.at);
        Deadline::earliest([
            operation,
            self.checks.next().map(|at| Deadline::new(at, "checks")),
            self.repair.deadline(),
            self.refill.deadline(),
            self.renewal.deadline().filter(|_| self.leave_by.is_none() && self.core.has_wall()),
            self.watches.deadline(),
            self.holder.deadline(),
            self.difference.deadline(&self.core),
            self.surplus.deadline(&self.core),
            Some(Deadline::new(self.expire_at, "expire")),
            self.leave_by.filter(|_| !self.left).map(|at| Deadline::new(at, "leave")),
        ])
    }
}
