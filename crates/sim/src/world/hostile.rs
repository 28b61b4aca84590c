//! Members with a valid identity that do whatever a scenario says: what attacks from within are
//! made of.
//!
//! A hostile member speaks through a real [`Link`] from an address of its own, with a certificate of the
//! world's authority in an `invite` network, so its requests carry its own key and pass every check that
//! an honest node's would. It runs no other part of a node: it is in no table unless it asks to be, and
//! says only what the scenario builds and its [`Manners`] answer, in datagrams and calls alike. Its
//! link's promises hold (real tries, time-outs, cookies); what it got is kept, to be replayed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{BlobId, Contact, Identity, Instant, Key, Machine, NodeId, Peer, UnixMillis};
use potluck_link::{Gatekeeper, Link, LinkConfig, Output, ReplyTo, RequestError, RequestOptions};
use potluck_node::Input;
use potluck_record::CertificateHash;
use potluck_wire::limits::CALL_BYTES_MAX;
use potluck_wire::{
    Request, Response, Want, decode_request, decode_response, encode_request, encode_response,
};

use crate::calls::CallKey;
use crate::draws::Draws;
use crate::hostile::{Deed, Heard, Manners, Me, Service, pong};
use crate::lines::Sending;
use crate::queue::When;
use crate::sim_node::NodeIndex;
use crate::trace::Chain;
use crate::world::World;
use crate::world::deliver::{Datagram, Event};
use crate::world::open::Solves;
use crate::world::records::{Newest, Traffic};
use crate::world::shard::Local;
use crate::world::shared::Shared;

/// Requests and responses kept for each hostile member; older ones are dropped.
const KEPT_MAX: usize = 16_384;
/// As causes of events hostile members are numbered from here on, above all nodes.
const CAUSES: u32 = 1 << 31;

/// Which hostile member of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostileIndex(u32);

#[cfg(test)]
impl HostileIndex {
    pub(crate) const fn new(index: u32) -> Self {
        Self(index)
    }
}

/// Key pairs tried for one place: the nearest of 200 nodes is found by some 200.
const TRIES_MAX: usize = 100_000;
/// Bytes a second that its calls carry.
const CALL_RATE: u64 = 12_500_000;

/// What a hostile member did and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HostileStats {
    /// Requests begun in datagrams.
    pub asked: u64,
    /// Requests that its own link refused.
    pub unsent: u64,
    /// Calls made.
    pub called: u64,
    /// Requests that were answered, refusals included.
    pub answered: u64,
    /// Of these, refusals.
    pub refused: u64,
    /// Requests without an answer after all tries.
    pub failed: u64,
    /// Requests of others that came.
    pub came: u64,
    /// Datagrams and their bytes.
    pub traffic: Traffic,
}

/// A hostile member.
pub(crate) struct Hostile {
    identity: Identity,
    contact: Contact,
    link: Link,
    born: Instant,
    wake: Option<Instant>,
    manners: Box<dyn Manners>,
    /// Its certificate, in `invite` networks.
    certificate: Option<Bytes>,
    /// The members that it names in its answers.
    knows: Vec<Peer>,
    came: Newest<(Contact, Request)>,
    answers: Newest<(Contact, Response)>,
    stats: HostileStats,
    draws: Draws,
    /// Counts the events that it caused.
    caused: u64,
    /// The datagrams that came to it.
    pub(crate) chain: Chain,
}

/// Where the answer to a request of a node goes.
#[derive(Debug)]
pub(crate) enum Reply {
    Datagram(Box<ReplyTo>),
    Call(CallKey),
}

/// The request of a node's call to a hostile member.
#[derive(Debug)]
pub(crate) struct HostileCalled {
    pub(crate) index: HostileIndex,
    pub(crate) key: CallKey,
    pub(crate) from: Contact,
    pub(crate) bytes: Bytes,
}

/// Something of a hostile member is due.
#[derive(Debug)]
pub(crate) enum HostileEvent {
    /// Its link announced a deadline.
    Wake(HostileIndex),
    /// A node's call arrives.
    Called(Box<HostileCalled>),
    /// It gives an answer that it held back.
    Late(HostileIndex, Reply, Response),
    /// A node's answer to a call of its own arrives.
    Heard(HostileIndex, Contact, Bytes),
}

impl World {
    /// Adds a hostile member at 198.19.x.y. It answers pings and says nothing by itself.
    ///
    /// # Panics
    /// If there are 65,536 of them.
    pub fn hostile(&mut self) -> HostileIndex {
        let (network, open) = (*self.network_id(), self.config().open);
        let identity = super::open::identity(&network, open, Solves::Both, &mut self.hostile_rng);
        self.hostile_as(identity, None)
    }

    /// A key pair whose id, without a salt, is nearer to `key` than that of any of `than`: what a member
    /// that chooses its key finds in some `than.len()` tries. `None` if 100,000 tries did not give one.
    pub fn grind(&mut self, key: &Key, than: &[Peer]) -> Option<Identity> {
        let target = NodeId::from_bytes(*key.as_bytes());
        let nearest = than.iter().map(|peer| peer.id.distance(key)).min();
        let network = *self.network_id();
        (0..TRIES_MAX).map(|_| Identity::from_seed(self.hostile_rng.bytes())).find(|identity| {
            let id = identity.public_key().node_id(&network);
            let near = id == target || nearest.is_none_or(|nearest| id.distance(key) < nearest);
            near && super::open::fits(&self.shared, identity)
        })
    }

    /// Adds a hostile member with this key pair. In an `invite` network it has a certificate, by `ticket`
    /// if one is given; in an `open` one a proof of its puzzles, which holds if its key solves the static one.
    ///
    /// # Panics
    /// If there are 65,536 of them.
    pub fn hostile_as(
        &mut self,
        identity: Identity,
        ticket: Option<potluck_base::PublicKey>,
    ) -> HostileIndex {
        let [high, low] = self.next_hostile().to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(198, 19, high, low), 4_000));
        self.hostile_at(identity, ticket, address)
    }

    /// The same at an address that shares its /16 with no other, 150.x.y.z and following.
    ///
    /// # Panics
    /// If there are 65,536 of them.
    pub fn hostile_everywhere(&mut self, identity: Identity) -> HostileIndex {
        let [high, low] = self.next_hostile().to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(150 + high % 40, low, 1, 1), 4_000));
        self.hostile_at(identity, None, address)
    }

    fn next_hostile(&self) -> u16 {
        let number = self.shards[0].hostiles.len();
        u16::try_from(number).expect("fewer hostiles than addresses")
    }

    fn hostile_at(
        &mut self,
        identity: Identity,
        ticket: Option<potluck_base::PublicKey>,
        address: SocketAddr,
    ) -> HostileIndex {
        let number = self.next_hostile();
        let config =
            LinkConfig { requests_max: 65_536, outputs_max: 65_536, ..self.config().node.link };
        let rng = self.hostile_rng.fork("link");
        let index = HostileIndex(number.into());
        self.shared_mut().hostiles.insert(address, index);
        let mut link = Link::new(identity.clone(), *self.network_id(), config, rng);
        let paper = super::admission::paper(&self.shared, self.wall_clock(), &identity, ticket);
        let certificate = paper.map(|(authority, certificate)| {
            let known = Some(certificate.clone());
            link.set_gatekeeper(Gatekeeper::new(*self.network_id(), authority, known, []));
            link.set_wall_clock(Instant::ZERO, self.wall_clock());
            certificate
        });
        let gate =
            super::open::hostile_door(&self.shared, self.wall_clock(), &identity.public_key());
        if let Some(gate) = gate {
            link.set_puzzle_gate(gate);
            link.set_wall_clock(Instant::ZERO, self.wall_clock());
        }
        let salt = link.gatekeeper().and_then(Gatekeeper::salt);
        let draws = Draws::new(self.config().seed, "hostile", number.into());
        self.shards[0].hostiles.push(Hostile {
            contact: Contact { salt, ..Contact::new(identity.public_key(), address) },
            link,
            identity,
            born: self.now,
            wake: None,
            manners: Box::new(pong),
            certificate,
            knows: Vec::new(),
            came: Newest::new(KEPT_MAX),
            answers: Newest::new(KEPT_MAX),
            stats: HostileStats::default(),
            draws,
            caused: 0,
            chain: Chain::default(),
        });
        index
    }

    /// Hostile members ask all nodes for the nodes next to themselves, as a node that joins does, until
    /// each is in the table of as many as have room for it. Afterwards they know all nodes and each other.
    pub fn hostile_joins(&mut self, who: &[HostileIndex]) {
        let mut all = self.peers(&self.live());
        all.extend(who.iter().map(|index| self.hostile_peer(*index)));
        for round in 0..3 {
            for index in who {
                self.shards[0].hostiles[index.0 as usize].knows.clone_from(&all);
                let target = Key::from_bytes(*self.hostile_peer(*index).id.as_bytes());
                let find =
                    Request::FindNode { target, count: 16, want: Want::Nothing, parts: None };
                for node in self.live() {
                    self.hostile_ask(*index, node, &find);
                }
            }
            self.run_for(Duration::from_secs(2 + 3 * round));
        }
    }

    /// Its id and how to reach it.
    #[must_use]
    pub fn hostile_peer(&self, index: HostileIndex) -> Peer {
        self.hostile_contact(index).in_network(self.network_id())
    }

    /// Its certificate; none outside of `invite` networks.
    #[must_use]
    pub fn hostile_certificate(&self, index: HostileIndex) -> Option<Bytes> {
        self.shards[0].hostiles[index.0 as usize].certificate.clone()
    }

    /// It sends a node these envelopes to be stored, in a call, with its certificate.
    pub fn hostile_store(&mut self, index: HostileIndex, to: NodeIndex, envelopes: Vec<Bytes>) {
        let certificates = self.hostile_certificate(index).into_iter().collect();
        self.hostile_call(index, to, &Request::Store { envelopes, certificates });
    }

    /// What its manners are told of it, for what a scenario makes up in its name.
    pub fn hostile_me<T>(&self, index: HostileIndex, make: impl FnOnce(&Me<'_>) -> T) -> T {
        let hostile = &self.shards[0].hostiles[index.0 as usize];
        make(&hostile.me(&self.shared.network_id, self.now))
    }

    /// How nodes reach a hostile member.
    #[must_use]
    pub fn hostile_contact(&self, index: HostileIndex) -> Contact {
        self.shards[0].hostiles[index.0 as usize].contact
    }

    /// Its key pair, to sign what it says.
    #[must_use]
    pub fn hostile_identity(&self, index: HostileIndex) -> &Identity {
        &self.shards[0].hostiles[index.0 as usize].identity
    }

    /// What it answers from now on.
    pub fn hostile_manners(&mut self, index: HostileIndex, manners: impl Manners + 'static) {
        self.shards[0].hostiles[index.0 as usize].manners = Box::new(manners);
    }

    /// What it did so far.
    #[must_use]
    pub fn hostile_stats(&self, index: HostileIndex) -> HostileStats {
        self.shards[0].hostiles[index.0 as usize].stats
    }

    /// Requests of nodes that came to it, oldest first, with their times; the last 16,384.
    pub fn hostile_came(
        &self,
        index: HostileIndex,
    ) -> impl Iterator<Item = &(Instant, (Contact, Request))> {
        self.shards[0].hostiles[index.0 as usize].came.iter()
    }

    /// What nodes answered it, oldest first, with the times; the last 16,384.
    pub fn hostile_answers(
        &self,
        index: HostileIndex,
    ) -> impl Iterator<Item = &(Instant, (Contact, Response))> {
        self.shards[0].hostiles[index.0 as usize].answers.iter()
    }

    /// It sends a node a request in a datagram, once. False if its own link had no room for it, or
    /// it fits in no datagram; both are counted as unsent.
    pub fn hostile_ask(&mut self, index: HostileIndex, to: NodeIndex, request: &Request) -> bool {
        let to = self.node(to).peer.contact;
        self.in_shard(0, |local| local.hostile_ask(index, to, request))
    }

    /// It sends a node a request of any size in a call. The answer is among
    /// [`hostile_answers`](Self::hostile_answers) when it has come.
    pub fn hostile_call(&mut self, index: HostileIndex, to: NodeIndex, request: &Request) {
        let bytes = encode_request(request);
        self.hostile_call_with(index, to, bytes);
    }

    /// The same with any bytes.
    pub fn hostile_call_with(&mut self, index: HostileIndex, to: NodeIndex, bytes: Bytes) {
        let hostile = &mut self.shards[0].hostiles[index.0 as usize];
        hostile.stats.called += 1;
        hostile.stats.traffic.call_bytes_out += bytes.len() as u64;
        let from = hostile.contact;
        self.at(to, |local| {
            let node = &mut local.shard.nodes[to];
            if node.papers.has_expelled(&from.public_key) || !node.is_up() {
                return;
            }
            let inbound = node.place.calls.hostile(index);
            local.shard.trace(to, b"hcal", &bytes);
            let (from, address) = (from.public_key, from.address);
            local.feed(to, Input::Called { from, address, inbound, bytes });
        });
    }
}

impl Local<'_> {
    fn hostile_ask(&mut self, index: HostileIndex, to: Contact, request: &Request) -> bool {
        let options = RequestOptions { tries: 1, ..RequestOptions::default() };
        let hostile = &mut self.shard.hostiles[index.0 as usize];
        let local = Instant::ZERO + self.shard.now.since(hostile.born);
        let begun = hostile.link.request(local, to, request, options);
        match begun {
            Ok(_) => hostile.stats.asked += 1,
            Err(RequestError::Busy | RequestError::TooLarge | RequestError::BadKey) => {
                hostile.stats.unsent += 1;
            }
        }
        self.settle_hostile(index);
        begun.is_ok()
    }

    pub(crate) fn hostile_datagram(
        &mut self,
        index: HostileIndex,
        from: SocketAddr,
        bytes: &Bytes,
    ) {
        let now = self.shard.now;
        let hostile = &mut self.shard.hostiles[index.0 as usize];
        hostile.chain.event(now, *b"host", bytes);
        hostile.stats.traffic.came(bytes.len());
        hostile.link.handle_datagram(Instant::ZERO + now.since(hostile.born), from, bytes);
        self.settle_hostile(index);
    }

    pub(crate) fn on_hostile(&mut self, event: HostileEvent) {
        match event {
            HostileEvent::Wake(index) => self.wake_hostile(index),
            HostileEvent::Called(called) => self.on_hostile_called(*called),
            HostileEvent::Late(index, reply, response) => {
                self.hostile_answer(index, reply, &response);
                self.settle_hostile(index);
            }
            HostileEvent::Heard(index, from, bytes) => self.on_hostile_heard(index, from, &bytes),
        }
    }

    fn wake_hostile(&mut self, index: HostileIndex) {
        let now = self.shard.now;
        let hostile = &mut self.shard.hostiles[index.0 as usize];
        if hostile.wake != Some(now) {
            return;
        }
        hostile.wake = None;
        hostile.link.handle_timeout(Instant::ZERO + now.since(hostile.born));
        self.settle_hostile(index);
    }

    /// Carries out what its link wants, and plans its next wake-up.
    fn settle_hostile(&mut self, index: HostileIndex) {
        let now = self.shard.now;
        let network = self.shared.network_id;
        let hostile = &mut self.shard.hostiles[index.0 as usize];
        let local = Instant::ZERO + now.since(hostile.born);
        if hostile.certificate.is_some() {
            hostile.link.set_wall_clock(local, Shared::wall_clock(now));
        }
        let (mut sent, mut deeds) = (Vec::new(), Vec::new());
        while let Some(output) = hostile.link.poll_output() {
            match output {
                Output::Transmit { to, bytes } => {
                    hostile.stats.traffic.sent(bytes.len());
                    sent.push((to, bytes));
                }
                Output::Incoming { from, reply_to, request, budget, .. } => {
                    let heard = Heard { from, request: &request, budget, in_call: false };
                    match hostile.deed(&network, now, &heard) {
                        Deed::Answer(response) => {
                            // One that is too long is not sent, and counted by the link.
                            let _ = hostile.link.respond(local, &reply_to, &response);
                        }
                        Deed::Late(by, response) => deeds.push((by, reply_to, response)),
                        Deed::Silence | Deed::Bytes(_) => {}
                    }
                    hostile.came.push(now, (from, request));
                }
                Output::Answered { from, response, .. } => hostile.heard(now, from, response),
                Output::Failed { .. } => hostile.stats.failed += 1,
                _ => {}
            }
        }
        if let Some(deadline) = hostile.link.poll_timeout() {
            let after = deadline.at.since(local).max(Duration::from_micros(1));
            if hostile.wake.is_none_or(|planned| now + after < planned || planned < now) {
                hostile.wake = Some(now + after);
                let when = hostile.caused(index, now + after);
                self.shard.queue.push(when, Event::Hostile(HostileEvent::Wake(index)));
            }
        }
        for (by, reply_to, response) in deeds {
            self.hostile_later(index, by, Reply::Datagram(Box::new(reply_to)), response);
        }
        for (to, bytes) in sent {
            self.hostile_transmit(index, to, bytes);
        }
    }

    /// A node calls a hostile member. Each call dials: the handshake takes a round trip.
    pub(crate) fn call_hostile(
        &mut self,
        key: CallKey,
        index: HostileIndex,
        to: Contact,
        bytes: Bytes,
    ) {
        let (now, caller) = (self.shard.now, key.caller.0);
        let config = &self.shared.config.calls;
        self.shard.nodes[caller].place.calls.begin_in_vain(key.call);
        self.shard.plan(caller, now + config.call_timeout, Event::CallTimeout(key));
        let from = self.shard.nodes[caller].peer.contact;
        let from = Contact { address: self.source(caller, to.address), ..from };
        let rtt = self.hostile_rtt(from.address, to.address);
        let when = self.shard.caused(caller, now + rtt + rtt / 2 + carried(bytes.len()));
        let called = HostileEvent::Called(Box::new(HostileCalled { index, key, from, bytes }));
        self.shard.post(0, when, Event::Hostile(called));
    }

    fn hostile_rtt(&self, one: SocketAddr, other: SocketAddr) -> Duration {
        self.shared.network.rtt(self.shared.endpoint(one), self.shared.endpoint(other))
    }

    fn on_hostile_called(&mut self, called: HostileCalled) {
        let HostileCalled { index, key, from, bytes } = called;
        let (now, network) = (self.shard.now, self.shared.network_id);
        let hostile = &mut self.shard.hostiles[index.0 as usize];
        hostile.chain.event(now, *b"hcld", &bytes);
        hostile.stats.traffic.call_bytes_in += bytes.len() as u64;
        let Ok(request) = decode_request(&bytes) else { return };
        let heard = Heard { from, request: &request, budget: CALL_BYTES_MAX, in_call: true };
        match hostile.deed(&network, now, &heard) {
            Deed::Silence => {}
            Deed::Answer(response) => self.hostile_answer(index, Reply::Call(key), &response),
            Deed::Late(by, response) => self.hostile_later(index, by, Reply::Call(key), response),
            Deed::Bytes(bytes) => self.hostile_call_answer(index, key, bytes),
        }
        self.shard.hostiles[index.0 as usize].came.push(now, (from, request));
    }

    fn hostile_later(&mut self, index: HostileIndex, by: Duration, reply: Reply, answer: Response) {
        let at = self.shard.now + by.max(Duration::from_micros(1));
        let when = self.shard.hostiles[index.0 as usize].caused(index, at);
        let late = HostileEvent::Late(index, reply, answer);
        self.shard.queue.push(when, Event::Hostile(late));
    }

    fn hostile_answer(&mut self, index: HostileIndex, reply: Reply, response: &Response) {
        match reply {
            Reply::Datagram(reply_to) => {
                let now = self.shard.now;
                let hostile = &mut self.shard.hostiles[index.0 as usize];
                let local = Instant::ZERO + now.since(hostile.born);
                let _ = hostile.link.respond(local, &reply_to, response);
            }
            Reply::Call(key) => self.hostile_call_answer(index, key, encode_response(response)),
        }
    }

    fn hostile_call_answer(&mut self, index: HostileIndex, key: CallKey, bytes: Bytes) {
        let now = self.shard.now;
        let hostile = &mut self.shard.hostiles[index.0 as usize];
        hostile.stats.traffic.call_bytes_out += bytes.len() as u64;
        let ends = (hostile.contact.address, key.caller.0.address());
        let at = now + self.hostile_rtt(ends.0, ends.1) / 2 + carried(bytes.len());
        let when = self.shard.hostiles[index.0 as usize].caused(index, at);
        let home = self.shared.home(key.caller.0);
        self.shard.post(home, when, Event::HostileAnswered { key, bytes });
    }

    /// The answer of a hostile member is at the node that called it.
    pub(crate) fn on_hostile_answered(&mut self, key: CallKey, bytes: Bytes) {
        let node = key.caller.0;
        if self.is_life(key.caller) && self.shard.nodes[node].place.calls.end(key.call) {
            self.shard.nodes[node].place.traffic.call_bytes_in += bytes.len() as u64;
            self.shard.trace(node, b"answ", &bytes);
            self.feed(node, Input::Answered { call: key.call, bytes });
        }
    }

    /// A node answers a call of a hostile member, and holds the answer back for a while.
    pub(crate) fn answer_hostile(
        &mut self,
        node: NodeIndex,
        index: HostileIndex,
        bytes: Bytes,
        held: Duration,
    ) {
        let now = self.shard.now;
        let contact = self.shard.nodes[node].peer.contact;
        let to = self.shared.hostiles.iter().find(|(_, other)| **other == index);
        let to = to.map_or(contact.address, |(address, _)| *address);
        let rtt = self.hostile_rtt(contact.address, to);
        self.shard.nodes[node].place.traffic.call_bytes_out += bytes.len() as u64;
        let when = self.shard.caused(node, now + held + rtt / 2 + carried(bytes.len()));
        let heard = HostileEvent::Heard(index, contact, bytes);
        self.shard.post(0, when, Event::Hostile(heard));
    }

    fn on_hostile_heard(&mut self, index: HostileIndex, from: Contact, bytes: &Bytes) {
        let now = self.shard.now;
        let hostile = &mut self.shard.hostiles[index.0 as usize];
        hostile.chain.event(now, *b"hans", bytes);
        hostile.stats.traffic.call_bytes_in += bytes.len() as u64;
        let Ok(response) = decode_response(bytes) else { return };
        hostile.heard(now, from, response);
    }

    /// How a hostile member serves a stream that a node opened to it.
    pub(crate) fn hostile_serves(&mut self, index: HostileIndex, blob: &BlobId) -> Service {
        let (now, network) = (self.shard.now, self.shared.network_id);
        let hostile = &mut self.shard.hostiles[index.0 as usize];
        let mut manners = std::mem::replace(&mut hostile.manners, Box::new(pong));
        let service = manners.serve(&hostile.me(&network, now), blob);
        hostile.manners = manners;
        service
    }

    fn hostile_transmit(&mut self, index: HostileIndex, to: SocketAddr, bytes: Bytes) {
        let now = self.shard.now;
        let hostile = &mut self.shard.hostiles[index.0 as usize];
        let from = hostile.contact.address;
        let ends = (self.shared.endpoint(from), self.shared.endpoint(to));
        let of = Sending { now, from: ends.0, to: ends.1, bytes: bytes.len() };
        let network = &self.shared.network;
        let arrivals = self.shard.lines.send(network, &mut hostile.draws, of);
        let recipient = self.shared.recipient(to);
        for delay in arrivals.into_iter().flatten() {
            let when = self.shard.hostiles[index.0 as usize].caused(index, now + delay);
            let datagram = Datagram { from, to, recipient, bytes: bytes.clone() };
            let shard = self.shared.receiving(recipient).unwrap_or(self.shard.number);
            self.shard.post(shard, when, Event::Datagram(datagram));
        }
    }
}

/// How long a call of this many bytes takes.
const fn carried(bytes: usize) -> Duration {
    Duration::from_micros(bytes as u64 * 1_000_000 / CALL_RATE)
}

impl Hostile {
    fn me<'a>(&'a self, network: &'a potluck_base::NetworkId, now: Instant) -> Me<'a> {
        let wall: UnixMillis = Shared::wall_clock(now);
        Me {
            identity: &self.identity,
            contact: self.contact,
            network,
            certificate: self.certificate.as_deref().map(CertificateHash::of),
            now,
            wall,
            knows: &self.knows,
        }
    }

    /// What it does with a request.
    fn deed(&mut self, network: &potluck_base::NetworkId, now: Instant, heard: &Heard<'_>) -> Deed {
        self.stats.came += 1;
        // Out of its place, since it is shown all the rest.
        let mut manners = std::mem::replace(&mut self.manners, Box::new(pong));
        let deed = manners.answer(&self.me(network, now), heard);
        self.manners = manners;
        deed
    }

    fn heard(&mut self, now: Instant, from: Contact, response: Response) {
        self.stats.answered += 1;
        let refused = matches!(response, Response::Refused { .. });
        self.stats.refused += u64::from(refused);
        self.answers.push(now, (from, response));
    }

    fn caused(&mut self, index: HostileIndex, at: Instant) -> When {
        self.caused += 1;
        When { at, cause: CAUSES + index.0, number: self.caused }
    }
}
