//! A world of whole nodes: datagrams and calls arrive after a millisecond, stores answer at once.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::machine::drain;
use potluck_base::{Admission, Contact, Identity, Instant, Key, Machine, NetworkId, UnixMillis};
use potluck_dht::EntryPoint;
use potluck_record::{Envelope, Fingerprint, Place, State, StateDigest, StorageOp, StorageReply};

use crate::node::{Node, Start};
use crate::{CallId, Command, CommandId, Config, InboundId, Input, Output, Reply};

const DELAY: Duration = Duration::from_millis(1);
const EPOCH: UnixMillis = UnixMillis(1_800_000_000_000);

struct Seat {
    node: Node,
    contact: Contact,
    alive: bool,
    records: BTreeMap<(Place, Key), State<Envelope>>,
    replies: BTreeMap<CommandId, Reply>,
    files: Vec<potluck_swarm::Output>,
}

pub(super) struct Table {
    seats: Vec<Seat>,
    now: Instant,
    /// Inputs on their way, by arrival, to a seat.
    wire: VecDeque<(Instant, usize, Input)>,
    /// Calls answered by a seat go back to the caller.
    inbound: BTreeMap<InboundId, (usize, CallId)>,
    next: u64,
    pub(super) calls: u64,
    /// Places for writers of a counter, set or map.
    shared_writers: u16,
}

pub(super) fn network() -> NetworkId {
    NetworkId::new("test", Admission::Lab, None)
}

impl Table {
    /// `count` nodes that have all found each other.
    pub(super) fn joined(count: usize) -> Self {
        Self::joined_with(count, potluck_kv::Config::default().shared_writers_max)
    }

    /// The same where a counter, set or map has places for this many writers.
    pub(super) fn joined_with(count: usize, shared_writers: u16) -> Self {
        let mut table = Self {
            seats: Vec::new(),
            now: Instant::ZERO,
            wire: VecDeque::new(),
            inbound: BTreeMap::new(),
            next: 0,
            calls: 0,
            shared_writers,
        };
        for _ in 0..count {
            table.join();
        }
        table.run(Duration::from_secs(90));
        table
    }

    /// One more node, which enters through the first.
    pub(super) fn join(&mut self) -> usize {
        self.enter(false)
    }

    /// One more node that keeps nothing for others.
    pub(super) fn join_as_client(&mut self) -> usize {
        self.enter(true)
    }

    /// Puts an envelope into a node's store behind its back.
    pub(super) fn plant(&mut self, index: usize, envelope: Envelope) {
        let key = envelope.head().key();
        self.seats[index].records.entry((Place::Replica, key)).or_default().merge(envelope);
    }

    fn enter(&mut self, client: bool) -> usize {
        let index = self.seats.len();
        let identity = Identity::from_seed([index as u8 + 1; 32]);
        let address = SocketAddr::from(([10, 0, 0, index as u8 + 1], 4000));
        let contact = Contact::new(identity.public_key(), address);
        let mut config = Config {
            link: potluck_link::LinkConfig { lab: true, ..Default::default() },
            dht: potluck_dht::Config::default(),
            kv: potluck_kv::Config::default(),
            swarm: potluck_swarm::Config::default(),
            ..Config::default()
        };
        config.kv.replication = super::REPLICATION;
        config.kv.shared_writers_max = self.shared_writers;
        config.dht.client = client;
        let seed = [index as u8; 32];
        let start = Start {
            identity,
            network: network(),
            address,
            incarnation: 1,
            labels: Vec::new(),
            config,
            seed,
        };
        let node = Node::new(start).expect("a good configuration");
        let (records, replies) = (BTreeMap::new(), BTreeMap::new());
        self.seats.push(Seat { node, contact, alive: true, records, replies, files: Vec::new() });
        self.input(index, Input::WallClock { now: self.wall() });
        if index > 0 {
            let entry = EntryPoint::Contact(self.seats[0].contact);
            self.give(index, Command::Join(entry));
        }
        self.run(Duration::from_millis(100));
        index
    }

    pub(super) fn now(&self) -> Instant {
        self.now
    }

    pub(super) fn wall(&self) -> UnixMillis {
        EPOCH.plus(self.now.since(Instant::ZERO))
    }

    pub(super) fn contact(&self, index: usize) -> Contact {
        self.seats[index].contact
    }

    pub(super) fn node(&mut self, index: usize) -> &mut Node {
        &mut self.seats[index].node
    }

    /// Tells a node something of files.
    pub(super) fn tell(&mut self, index: usize, input: potluck_swarm::Input) {
        self.input(index, Input::Swarm(input));
    }

    /// A node is told that it is reached at this address, beside its own.
    pub(super) fn advertise(&mut self, index: usize, address: SocketAddr) {
        let local = vec![self.seats[index].contact.address.into()];
        self.input(index, Input::AddressesChanged { advertised: vec![address], local });
    }

    /// A node gets another address, and is told.
    pub(super) fn move_to(&mut self, index: usize, address: SocketAddr) {
        self.seats[index].contact.address = address;
        let (advertised, local) = (Vec::new(), vec![address.into()]);
        self.input(index, Input::AddressesChanged { advertised, local });
    }

    /// What a node wants done with files, since this was asked last.
    pub(super) fn files(&mut self, index: usize) -> Vec<potluck_swarm::Output> {
        std::mem::take(&mut self.seats[index].files)
    }

    pub(super) fn kill(&mut self, index: usize) {
        self.seats[index].alive = false;
    }

    /// Living nodes that hold a replica of `key`.
    pub(super) fn holders(&self, key: &Key) -> Vec<usize> {
        self.living()
            .filter(|(_, seat)| seat.records.contains_key(&(Place::Replica, *key)))
            .map(|(index, _)| index)
            .collect()
    }

    /// Living nodes that should hold a replica of `key`.
    pub(super) fn replica_set(&self, key: &Key) -> Vec<usize> {
        let mut all: Vec<_> = self
            .living()
            .map(|(index, seat)| (seat.contact.in_network(&network()).distance(key), index))
            .collect();
        all.sort();
        all.iter().take(usize::from(super::REPLICATION)).map(|(_, index)| *index).collect()
    }

    fn living(&self) -> impl Iterator<Item = (usize, &Seat)> {
        self.seats.iter().enumerate().filter(|(_, seat)| seat.alive)
    }

    pub(super) fn command(&mut self, index: usize, command: Command) -> Reply {
        let id = self.give(index, command);
        self.await_reply(index, id)
    }

    pub(super) fn give(&mut self, index: usize, command: Command) -> CommandId {
        self.next += 1;
        let id = CommandId(self.next);
        self.input(index, Input::Command { id, command });
        id
    }

    pub(super) fn await_reply(&mut self, index: usize, id: CommandId) -> Reply {
        let end = self.now + Duration::from_secs(20);
        while self.now < end {
            if let Some(reply) = self.seats[index].replies.remove(&id) {
                return reply;
            }
            self.step(end);
        }
        panic!("no reply within 20 s of virtual time");
    }

    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.step(end);
        }
    }

    /// The next thing that happens, at `end` at the latest.
    fn step(&mut self, end: Instant) {
        let arrival = self.wire.front().map(|(at, _, _)| *at);
        let timer = self
            .seats
            .iter()
            .enumerate()
            .filter(|(_, seat)| seat.alive)
            .filter_map(|(index, seat)| Some((seat.node.poll_timeout()?.at, index)))
            .min();
        match (arrival, timer) {
            (Some(at), timer) if at <= end && timer.is_none_or(|(due, _)| at <= due) => {
                self.now = self.now.max(at);
                if let Some((_, index, input)) = self.wire.pop_front() {
                    self.input(index, input);
                }
            }
            (_, Some((due, index))) if due <= end => {
                self.now = self.now.max(due);
                self.input(index, Input::Timeout);
            }
            _ => self.now = end,
        }
    }

    fn input(&mut self, index: usize, input: Input) {
        if !self.seats[index].alive && !matches!(input, Input::Command { .. }) {
            return;
        }
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let now = self.now;
            self.seats[index].node.handle(now, input);
            for output in drain(&mut self.seats[index].node) {
                inputs.extend(self.carry_out(index, output));
            }
        }
    }

    /// Carries an output out; what it answers at once comes back.
    fn carry_out(&mut self, index: usize, output: Output) -> Option<Input> {
        let arrival = self.now + DELAY;
        match output {
            Output::Transmit { to, bytes } => {
                assert!(bytes.len() <= potluck_wire::limits::DATAGRAM_BYTES_MAX);
                let from = self.seats[index].contact.address;
                if let Some(to) = self.seat_at(to) {
                    self.wire.push_back((arrival, to, Input::Datagram { from, bytes }));
                }
            }
            Output::Storage { id, op } => {
                let reply = apply(&mut self.seats[index].records, op);
                return Some(Input::Stored { id, reply });
            }
            Output::Call { id, to, bytes } => self.call(index, id, to, bytes),
            Output::AnswerCall { inbound, bytes } | Output::RefuseCall { inbound, bytes, .. } => {
                if let Some((caller, call)) = self.inbound.remove(&inbound) {
                    self.wire.push_back((arrival, caller, Input::Answered { call, bytes }));
                }
            }
            Output::Reply { id, reply } => {
                self.seats[index].replies.insert(id, reply);
            }
            Output::Swarm(output) => self.seats[index].files.push(output),
            Output::LookForNames { .. } => unreachable!("the node is told all names"),
            Output::Ignore { .. }
            | Output::Resolve { .. }
            | Output::SaveContacts { .. }
            | Output::Addresses { .. }
            | Output::Admitted { .. }
            | Output::Expelled { .. }
            | Output::Enroll { .. }
            | Output::Renewed { .. }
            | Output::SaveRevocations { .. }
            | Output::SaveSettings { .. }
            | Output::Message(_)
            | Output::Missed { .. }
            | Output::Changed(_)
            | Output::WatchEnded(_)
            | Output::Event(_) => {}
        }
        None
    }

    fn call(&mut self, index: usize, call: CallId, to: Contact, bytes: Bytes) {
        self.calls += 1;
        let arrival = self.now + DELAY;
        let from = self.seats[index].contact;
        match self.seat_at(to.address).filter(|to| self.seats[*to].alive) {
            Some(to) => {
                self.next += 1;
                let inbound = InboundId(self.next);
                self.inbound.insert(inbound, (index, call));
                let Contact { public_key: from, address, .. } = from;
                self.wire.push_back((arrival, to, Input::Called { from, address, inbound, bytes }));
            }
            None => self.wire.push_back((arrival, index, Input::CallFailed { call })),
        }
    }

    fn seat_at(&self, address: SocketAddr) -> Option<usize> {
        self.seats.iter().position(|seat| seat.contact.address == address)
    }
}

/// The storage operations on a map.
fn apply(records: &mut BTreeMap<(Place, Key), State<Envelope>>, op: StorageOp) -> StorageReply {
    match op {
        StorageOp::Merge { envelope, place, .. } => {
            let state = records.entry((place, envelope.head().key())).or_default();
            let outcome = state.merge(envelope);
            StorageReply::Merged { outcome, digest: state.digest() }
        }
        StorageOp::Load { key, place } => {
            let state = records.get(&(place, key));
            let envelopes = state.map(|state| state.iter().cloned().collect()).unwrap_or_default();
            StorageReply::Loaded { envelopes }
        }
        StorageOp::Scan { from, to, limit } => {
            let all: Vec<(Key, StateDigest)> = records
                .range((Place::Replica, from)..=(Place::Replica, to))
                .map(|((_, key), state)| (*key, state.digest()))
                .collect();
            let more = all.len() > limit as usize;
            let entries = all.into_iter().take(limit as usize).collect();
            StorageReply::Scanned { entries, more }
        }
        StorageOp::ScanOwn { .. } => StorageReply::OwnHeads { heads: Vec::new(), next: None },
        StorageOp::KeepCertificates { .. } | StorageOp::ScanCertificates { .. } => {
            StorageReply::Certificates { certificates: Vec::new(), next: None }
        }
        StorageOp::Expire { .. } => StorageReply::Expired { dropped: 0, more: false },
        StorageOp::TakeBack { key, envelope, previous, place, .. } => {
            let state = records.entry((place, key)).or_default();
            let others = state.iter().filter(|held| held.head().id() != envelope).cloned();
            *state = others.chain(previous.map(|previous| *previous)).collect();
            StorageReply::Removed
        }
        StorageOp::Index { .. } => StorageReply::Indexed { more: false },
        StorageOp::Fingerprints { prefixes } => {
            StorageReply::Fingerprints(vec![Fingerprint::default(); prefixes.len()])
        }
        StorageOp::Entries { .. } => StorageReply::Scanned { entries: Vec::new(), more: false },
        StorageOp::Fingerprint { .. }
        | StorageOp::Names { .. }
        | StorageOp::Remove { .. }
        | StorageOp::Drop { .. } => StorageReply::Removed,
    }
}
