//! Members with a valid identity that do whatever a scenario says: what attacks from within are
//! made of.
//!
//! A hostile member speaks through a real [`Link`] from an address of its own, so its requests
//! carry its own key and pass every check that an honest node's would. It runs no other part of a
//! node: it is in no table unless it asks to be, and says only what the scenario builds. Its
//! link's promises hold (real tries, time-outs, cookies); what it got is kept, to be replayed.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Identity, Instant, Machine};
use potluck_link::{Link, LinkConfig, Output, RequestError, RequestOptions};
use potluck_node::Input;
use potluck_wire::{Request, Response, encode_request};

use crate::draws::Draws;
use crate::lines::Sending;
use crate::queue::When;
use crate::sim_node::NodeIndex;
use crate::trace::Chain;
use crate::world::World;
use crate::world::deliver::{Datagram, Event};
use crate::world::records::{Newest, Traffic};
use crate::world::shard::Local;

/// Requests and responses kept for each hostile member; older ones are dropped.
const KEPT_MAX: usize = 16_384;
/// As causes of events hostile members are numbered from here on, above all nodes.
const CAUSES: u32 = 1 << 31;

/// Which hostile member of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostileIndex(u32);

/// What a hostile member answers; `None`: nothing.
pub type Manners = fn(from: &Contact, request: &Request) -> Option<Response>;

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
    manners: Manners,
    came: Newest<(Contact, Request)>,
    answers: Newest<(Contact, Response)>,
    stats: HostileStats,
    draws: Draws,
    /// Counts the events that it caused.
    caused: u64,
    /// The datagrams that came to it.
    pub(crate) chain: Chain,
}

/// Answers pings, so that it may be taken for a node, and nothing else.
fn pong(_: &Contact, request: &Request) -> Option<Response> {
    matches!(request, Request::Ping).then_some(Response::Pong)
}

impl World {
    /// Adds a hostile member at 198.19.x.y. It answers pings and says nothing by itself.
    ///
    /// # Panics
    /// If there are 65,536 of them.
    pub fn hostile(&mut self) -> HostileIndex {
        let number = self.shards[0].hostiles.len();
        let number = u16::try_from(number).expect("fewer hostiles than addresses");
        let [high, low] = number.to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(198, 19, high, low), 4_000));
        let identity = Identity::from_seed(self.hostile_rng.bytes());
        let config =
            LinkConfig { requests_max: 65_536, outputs_max: 65_536, ..self.config().node.link };
        let rng = self.hostile_rng.fork("link");
        let index = HostileIndex(number.into());
        self.shared_mut().hostiles.insert(address, index);
        let link = Link::new(identity.clone(), *self.network_id(), config, rng);
        let draws = Draws::new(self.config().seed, "hostile", number.into());
        self.shards[0].hostiles.push(Hostile {
            contact: Contact::new(identity.public_key(), address),
            link,
            identity,
            born: self.now,
            wake: None,
            manners: pong,
            came: Newest::new(KEPT_MAX),
            answers: Newest::new(KEPT_MAX),
            stats: HostileStats::default(),
            draws,
            caused: 0,
            chain: Chain::default(),
        });
        index
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
    pub fn hostile_manners(&mut self, index: HostileIndex, manners: Manners) {
        self.shards[0].hostiles[index.0 as usize].manners = manners;
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

    /// It sends a node a request of any size in a call. The answer goes to no node.
    pub fn hostile_call(&mut self, index: HostileIndex, to: NodeIndex, request: &Request) {
        let hostile = &mut self.shards[0].hostiles[index.0 as usize];
        hostile.stats.called += 1;
        let (from, address) = (hostile.contact.public_key, hostile.contact.address);
        let bytes = encode_request(request);
        self.at(to, |local| {
            let inbound = local.shard.nodes[to].place.calls.foreign();
            local.shard.trace(to, b"hcal", &bytes);
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

    pub(crate) fn wake_hostile(&mut self, index: HostileIndex) {
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
        let hostile = &mut self.shard.hostiles[index.0 as usize];
        let local = Instant::ZERO + now.since(hostile.born);
        let mut sent = Vec::new();
        while let Some(output) = hostile.link.poll_output() {
            match output {
                Output::Transmit { to, bytes } => {
                    hostile.stats.traffic.sent(bytes.len());
                    sent.push((to, bytes));
                }
                Output::Incoming { from, reply_to, request, .. } => {
                    hostile.stats.came += 1;
                    if let Some(response) = (hostile.manners)(&from, &request) {
                        // One that is too long is not sent, and counted by the link.
                        let _ = hostile.link.respond(local, &reply_to, &response);
                    }
                    hostile.came.push(now, (from, request));
                }
                Output::Answered { from, response, .. } => {
                    hostile.stats.answered += 1;
                    let refused = matches!(response, Response::Refused { .. });
                    hostile.stats.refused += u64::from(refused);
                    hostile.answers.push(now, (from, response));
                }
                Output::Failed { .. } => hostile.stats.failed += 1,
                _ => {}
            }
        }
        if let Some(deadline) = hostile.link.poll_timeout() {
            let after = deadline.at.since(local).max(Duration::from_micros(1));
            if hostile.wake.is_none_or(|planned| now + after < planned || planned < now) {
                hostile.wake = Some(now + after);
                let when = hostile.caused(index, now + after);
                self.shard.queue.push(when, Event::WakeHostile(index));
            }
        }
        for (to, bytes) in sent {
            self.hostile_transmit(index, to, bytes);
        }
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

impl Hostile {
    fn caused(&mut self, index: HostileIndex, at: Instant) -> When {
        self.caused += 1;
        When { at, cause: CAUSES + index.0, number: self.caused }
    }
}
