//! A shard: some of the nodes of a world, with an event queue.
//!
//! **Invariant:** an event changes only state of its shard and reads the shared state. Events for other
//! shards are posted, at least the lookahead of the network later.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use potluck_base::Instant;
use potluck_node::{CommandId, Output};

use crate::calls::CallStats;
use crate::lines::Lines;
use crate::queue::{EventQueue, When};
use crate::sim_node::{NodeIndex, SimNode};
use crate::trace::Note;
use crate::world::Outcome;
use crate::world::deliver::Event;
use crate::world::files::Pipes;
use crate::world::hostile::Hostile;
use crate::world::records::Peers;
use crate::world::shared::Shared;
use crate::world::strangers::{Strangers, Tap};

/// Nodes of a shard by their number in the world: every n-th one.
pub(crate) struct Nodes {
    shards: usize,
    list: Vec<SimNode>,
}

impl Nodes {
    pub(crate) fn push(&mut self, node: SimNode) {
        self.list.push(node);
    }
}

impl Index<NodeIndex> for Nodes {
    type Output = SimNode;

    fn index(&self, node: NodeIndex) -> &SimNode {
        &self.list[node.get() / self.shards]
    }
}

impl IndexMut<NodeIndex> for Nodes {
    fn index_mut(&mut self, node: NodeIndex) -> &mut SimNode {
        &mut self.list[node.get() / self.shards]
    }
}

/// An event for another shard.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) to: usize,
    pub(crate) when: When,
    pub(crate) event: Event,
}

/// The commands of the nodes of one shard.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    /// The asked node and the time of each command.
    pub(crate) pending: BTreeMap<CommandId, (NodeIndex, Instant)>,
    pub(crate) outcomes: BTreeMap<CommandId, Outcome>,
}

/// Counters of one shard.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) calls: CallStats,
    pub(crate) delivered: u64,
    pub(crate) overflowed: u64,
    pub(crate) timeouts: u64,
    pub(crate) storage_ops: u64,
}

/// A shard. See the module.
pub(crate) struct Shard {
    pub(crate) number: usize,
    pub(crate) now: Instant,
    pub(crate) queue: EventQueue<Event>,
    pub(crate) nodes: Nodes,
    pub(crate) lines: Lines,
    pub(crate) strangers: Strangers,
    pub(crate) tap: Tap,
    /// The hostile members. All of them are in the first shard.
    pub(crate) hostiles: Vec<Hostile>,
    /// Streams of files; only in worlds of one shard.
    pub(crate) pipes: Pipes,
    /// The peers in reports of its nodes.
    pub(crate) peers: Peers,
    pub(crate) commands: Commands,
    pub(crate) outbox: Vec<Output>,
    pub(crate) posts: Vec<Post>,
    pub(crate) notes: Vec<Note>,
    pub(crate) counts: Counts,
}

impl Shard {
    pub(crate) fn new(number: usize, shards: usize) -> Self {
        Self {
            number,
            now: Instant::ZERO,
            queue: EventQueue::new(),
            nodes: Nodes { shards, list: Vec::new() },
            lines: Lines::default(),
            strangers: Strangers::default(),
            tap: Tap::default(),
            hostiles: Vec::new(),
            pipes: Pipes::default(),
            peers: Peers::default(),
            commands: Commands::default(),
            outbox: Vec::new(),
            posts: Vec::new(),
            notes: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Adds an event at a node to the trace.
    pub(crate) fn trace(&mut self, node: NodeIndex, kind: &'static [u8; 4], bytes: &[u8]) {
        self.nodes[node].chain.event(self.now, *kind, bytes);
    }

    /// Adds a note about a node to the log; it enters the trace too.
    pub(crate) fn note(&mut self, node: NodeIndex, line: String) {
        self.take_note(node, line, false);
    }

    /// Records that a machine violated its contract.
    pub(crate) fn violated(&mut self, node: NodeIndex, line: String) {
        self.take_note(node, line, true);
    }

    fn take_note(&mut self, node: NodeIndex, line: String, broken: bool) {
        self.trace(node, b"note", line.as_bytes());
        self.notes.push(Note { at: self.now, node: node.get(), line, broken });
    }

    /// Plans an event that affects `node` and nothing outside this shard.
    pub(crate) fn plan(&mut self, node: NodeIndex, at: Instant, event: Event) {
        let when = self.caused(node, at);
        self.queue.push(when, event);
    }

    /// The rank of one more event that `node` causes.
    pub(crate) fn caused(&mut self, node: NodeIndex, at: Instant) -> When {
        let caused = &mut self.nodes[node].caused;
        *caused += 1;
        When { at, cause: node.get() as u32, number: *caused }
    }

    /// Puts an event into the queue of the shard `to`.
    pub(crate) fn post(&mut self, to: usize, when: When, event: Event) {
        if to == self.number {
            self.queue.push(when, event);
        } else {
            self.posts.push(Post { to, when, event });
        }
    }
}

/// A running shard, with the state that all shards read.
pub(crate) struct Local<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) shard: &'a mut Shard,
}

impl Local<'_> {
    /// Handles the next event if it is due before `bound`. Returns whether there was one.
    pub(crate) fn step_before(&mut self, bound: Instant) -> bool {
        if self.shard.queue.next_at().is_none_or(|at| at >= bound) {
            return false;
        }
        if let Some((at, event)) = self.shard.queue.pop() {
            self.shard.now = self.shard.now.max(at);
            self.deliver(event);
        }
        true
    }
}
