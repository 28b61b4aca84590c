//! The reports of nodes to their users, and their traffic, kept for the checks of a run.

use std::collections::{BTreeMap, VecDeque};

use potluck_base::words::{fit_all, words_of};
use potluck_base::{Instant, Peer};
use potluck_gossip::{Cause, Change as MemberChange, FoundFile, MemberEvent, Message};
use potluck_kv::Change;
use potluck_node::{Event, Input};
use potluck_wire::search::QueryId;

use crate::calls::Life;
use crate::sim_node::NodeIndex;
use crate::world::World;
use crate::world::shard::Local;

/// Messages kept for each node; older ones are dropped.
const MESSAGES_MAX: usize = 16_384;
/// Events about members kept for each node; older ones are dropped.
const EVENTS_MAX: usize = 16_384;
/// Changes of watched records kept for each node; older ones are dropped.
const CHANGES_MAX: usize = 16_384;
/// Bytes of the headers of IPv4 and UDP.
const HEADER_BYTES: u64 = 28;

/// The traffic of one node since the world began, without granules of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Datagrams handed to the network.
    pub datagrams_out: u64,
    /// Their bytes, with 28 of headers each.
    pub bytes_out: u64,
    /// Datagrams that reached the process.
    pub datagrams_in: u64,
    /// Their bytes, with 28 of headers each.
    pub bytes_in: u64,
    /// Bytes of calls and their answers sent, without the framing of a transport.
    pub call_bytes_out: u64,
    /// Bytes of calls and their answers received, without the framing of a transport.
    pub call_bytes_in: u64,
}

impl Traffic {
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.datagrams_out += 1;
        self.bytes_out += bytes as u64 + HEADER_BYTES;
    }

    pub(crate) fn came(&mut self, bytes: usize) {
        self.datagrams_in += 1;
        self.bytes_in += bytes as u64 + HEADER_BYTES;
    }

    /// The difference since `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: &Self) -> Self {
        Self {
            datagrams_out: self.datagrams_out - earlier.datagrams_out,
            bytes_out: self.bytes_out - earlier.bytes_out,
            datagrams_in: self.datagrams_in - earlier.datagrams_in,
            bytes_in: self.bytes_in - earlier.bytes_in,
            call_bytes_out: self.call_bytes_out - earlier.call_bytes_out,
            call_bytes_in: self.call_bytes_in - earlier.call_bytes_in,
        }
    }

    /// All bytes sent.
    #[must_use]
    pub const fn all_out(&self) -> u64 {
        self.bytes_out + self.call_bytes_out
    }

    /// All bytes received.
    #[must_use]
    pub const fn all_in(&self) -> u64 {
        self.bytes_in + self.call_bytes_in
    }
}

/// A report of a node, with the number of the peer that it is about. It is about ten times smaller than the
/// event, and worlds keep hundreds for each node.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Said {
    Member(u32, MemberChange),
    NeighbourUp(u32),
    NeighbourDown(u32, Cause),
    Isolated,
    Reunited,
    IdentityElsewhere,
    LastResort,
}

/// The peers in the reports of a shard's nodes, numbered.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    list: Vec<Peer>,
    numbers: BTreeMap<Peer, u32>,
}

impl Peers {
    fn number(&mut self, peer: &Peer) -> u32 {
        *self.numbers.entry(*peer).or_insert_with(|| {
            self.list.push(*peer);
            self.list.len() as u32 - 1
        })
    }

    /// The report for an event. `None` for events that no scenario reads.
    fn said(&mut self, event: &Event) -> Option<Said> {
        Some(match event {
            Event::Member(MemberEvent { peer, change }) => Said::Member(self.number(peer), *change),
            Event::NeighbourUp(peer) => Said::NeighbourUp(self.number(peer)),
            Event::NeighbourDown(peer, cause) => Said::NeighbourDown(self.number(peer), *cause),
            Event::Isolated => Said::Isolated,
            Event::Reunited => Said::Reunited,
            Event::IdentityElsewhere => Said::IdentityElsewhere,
            Event::LastResort => Said::LastResort,
            Event::Joined | Event::SiblingJoined(_) | Event::SiblingLeft(_) => return None,
        })
    }

    fn event(&self, said: Said) -> Event {
        let peer = |number: u32| self.list[number as usize];
        match said {
            Said::Member(of, change) => Event::Member(MemberEvent { peer: peer(of), change }),
            Said::NeighbourUp(of) => Event::NeighbourUp(peer(of)),
            Said::NeighbourDown(of, cause) => Event::NeighbourDown(peer(of), cause),
            Said::Isolated => Event::Isolated,
            Said::Reunited => Event::Reunited,
            Said::IdentityElsewhere => Event::IdentityElsewhere,
            Said::LastResort => Event::LastResort,
        }
    }
}

/// The newest entries, each with its time, and the number of all entries so far.
#[derive(Debug, Clone)]
pub(crate) struct Newest<T> {
    items: VecDeque<(Instant, T)>,
    max: usize,
    seen: u64,
}

impl<T> Newest<T> {
    pub(crate) const fn new(max: usize) -> Self {
        Self { items: VecDeque::new(), max, seen: 0 }
    }

    pub(crate) fn push(&mut self, at: Instant, item: T) {
        if self.items.len() >= self.max {
            self.items.pop_front();
        }
        self.items.push_back((at, item));
        self.seen += 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Instant, T)> {
        self.items.iter()
    }

    pub(crate) const fn seen(&self) -> u64 {
        self.seen
    }
}

/// The reports of one node to its user.
#[derive(Debug)]
pub(crate) struct Told {
    messages: Newest<Message>,
    events: Newest<Said>,
    missed: u64,
    changes: Newest<Change>,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            messages: Newest::new(MESSAGES_MAX),
            events: Newest::new(EVENTS_MAX),
            missed: 0,
            changes: Newest::new(CHANGES_MAX),
        }
    }
}

impl Local<'_> {
    pub(crate) fn on_message(&mut self, node: NodeIndex, message: Message) {
        self.shard.trace(node, b"mesg", &message.payload);
        let now = self.shard.now;
        self.shard.nodes[node].told.messages.push(now, message);
    }

    pub(crate) fn on_missed(&mut self, node: NodeIndex, missed: u64) {
        self.shard.trace(node, b"miss", &missed.to_le_bytes());
        self.shard.nodes[node].told.missed += missed;
    }

    pub(crate) fn on_changed(&mut self, node: NodeIndex, change: Change) {
        self.shard.trace(node, b"chng", &change.digest.to_bytes());
        let now = self.shard.now;
        self.shard.nodes[node].told.changes.push(now, change);
    }

    pub(crate) fn on_member_event(&mut self, node: NodeIndex, event: Event) {
        self.shard.trace(node, b"memb", format!("{event:?}").as_bytes());
        let now = self.shard.now;
        if let Some(said) = self.shard.peers.said(&event) {
            self.shard.nodes[node].told.events.push(now, said);
        }
    }

    fn share_names(&mut self, node: NodeIndex, names: Vec<FoundFile>) {
        self.shard.nodes[node].shared_names.clone_from(&names);
        self.shard.trace(node, b"shrd", &(names.len() as u64).to_le_bytes());
        self.feed(node, shared_names(names));
    }

    /// Searches the names that a node shares, as its index on disk does.
    pub(crate) fn look_for_names(
        &mut self,
        life: Life,
        query: QueryId,
        words: &[String],
        max: usize,
    ) {
        let names = self.shard.nodes[life.0].shared_names.iter();
        let fits = |file: &&FoundFile| fit_all(words, &words_of(&file.name));
        let files = names.filter(fits).take(max).cloned().collect();
        self.feed(life.0, Input::NamesFound { query, files });
    }
}

impl World {
    /// The messages of topics that a node delivered to its subscribers, over all its lives, oldest first,
    /// with the times; the last 16,384.
    pub fn messages(&self, node: NodeIndex) -> impl Iterator<Item = &(Instant, Message)> {
        self.node(node).told.messages.iter()
    }

    /// The number of messages that a node reported to its subscribers as missed, over all its lives.
    #[must_use]
    pub fn messages_missed(&self, node: NodeIndex) -> u64 {
        self.node(node).told.missed
    }

    /// The changes of watched records that a node reported, over all its lives, oldest first, with the
    /// times; the last 16,384.
    pub fn changes(&self, node: NodeIndex) -> impl Iterator<Item = &(Instant, Change)> {
        self.node(node).told.changes.iter()
    }

    /// The number of all messages delivered.
    #[must_use]
    pub fn messages_seen(&self, node: NodeIndex) -> u64 {
        self.node(node).told.messages.seen()
    }

    /// The reports of a node about members, its neighbours and its own isolation ([`Event::Member`],
    /// `NeighbourUp`, `NeighbourDown`, `Isolated`, `Reunited`), over all its lives, oldest first, with the
    /// times; the last 16,384.
    pub fn member_events(&self, node: NodeIndex) -> impl Iterator<Item = (Instant, Event)> {
        let peers = &self.shards[self.shared.home(node)].peers;
        self.node(node).told.events.iter().map(|(at, said)| (*at, peers.event(*said)))
    }

    /// The number of all such events.
    #[must_use]
    pub fn member_events_seen(&self, node: NodeIndex) -> u64 {
        self.node(node).told.events.seen()
    }

    /// The traffic of a node since the world began. Use [`Traffic::since`] for differences.
    #[must_use]
    pub fn traffic(&self, node: NodeIndex) -> Traffic {
        self.node(node).place.traffic
    }

    /// A node shares these names from now on, also after a restart.
    pub fn share_names(&mut self, node: NodeIndex, names: Vec<FoundFile>) {
        self.at(node, |local| local.share_names(node, names));
    }
}

/// The input for a node's shared names. If there are too many, they stay on its disk.
pub(crate) fn shared_names(names: Vec<FoundFile>) -> Input {
    if names.len() > potluck_gossip::search::NAMES_MAX {
        Input::SharedNamesElsewhere(names.len())
    } else {
        Input::SharedNames(names)
    }
}
