//! The virtual world: many real node machines, divided into shards with an event queue each.
//!
//! The machines are those of the real program and exchange the bytes of the real protocol. Everything around
//! them is simulated from one seed: time, network, disks, calls, wall clocks, crashes.
//!
//! **Invariants:** the same seed and the same requests give the same run, event by event, with any number of
//! shards; virtual time never goes back; an event for a process that has died is dropped.

mod admission;
mod calls;
mod config;
mod deliver;
mod faults;
mod files;
mod hostile;
mod open;
mod outputs;
mod population;
mod prepared;
mod records;
mod routers;
mod shard;
mod shared;
mod strangers;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use potluck_base::{Admission, Instant, NetworkId, Peer, Rng, UnixMillis};
use potluck_node::{Command, CommandId, Input, Reply};

use crate::calls::CallStats;
use crate::lines::NetworkStats;
use crate::network::Network;
use crate::sim_node::{NodeIndex, SimNode};
use crate::trace::{Chain, Log, Trace};

pub(crate) use admission::Papers;
pub use config::WorldConfig;
pub(crate) use files::NodeFiles;
pub use files::{FetchEnd, Line};
pub use hostile::{HostileIndex, HostileStats};
pub use open::Solves;
pub(crate) use records::Told;
pub use records::Traffic;
pub use strangers::{Seen, StrangerStats};

use shard::{Local, Shard};
use shared::Shared;
use strangers::Outside;
use workers::Workers;

/// Interval in virtual time at which [`World::run_until`] checks its condition.
const LOOK: Duration = Duration::from_millis(10);
/// Violations kept for the report.
const VIOLATIONS_MAX: usize = 20;

/// The end of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The node that was asked.
    pub node: NodeIndex,
    /// The time of the request.
    pub asked: Instant,
    /// When it ended.
    pub ended: Instant,
    /// The answer; `None` if the node died before it gave one.
    pub reply: Option<Reply>,
}

impl Outcome {
    /// How long it took.
    #[must_use]
    pub const fn took(&self) -> Duration {
        self.ended.since(self.asked)
    }
}

/// Counters of a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorldStats {
    /// Datagrams.
    pub network: NetworkStats,
    /// Calls.
    pub calls: CallStats,
    /// Events that reached a node.
    pub events: u64,
    /// Datagrams that reached a process.
    pub delivered: u64,
    /// Datagrams that a paused process had no room for.
    pub overflowed: u64,
    /// Timeouts handled.
    pub timeouts: u64,
    /// Storage operations carried out.
    pub storage_ops: u64,
}

/// A virtual world.
pub struct World {
    shared: Arc<Shared>,
    now: Instant,
    shards: Vec<Shard>,
    workers: Option<Workers>,
    /// Nodes ever spawned.
    count: usize,
    hostile_rng: Rng,
    outside: Outside,
    /// The number of changes of addresses: no address is used twice.
    moves: u32,
    rng: Rng,
    /// The hash chain of the notes of scenarios.
    chain: Chain,
    log: Log,
    next_command: u64,
    violations: Vec<String>,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(config: WorldConfig) -> Self {
        let mut rng = Rng::from_number(config.seed);
        let name = format!("sim {}", config.seed);
        let authority = config.invite.then(|| admission::authority(config.seed));
        let network_id = match (&authority, config.open) {
            (Some(key), _) => NetworkId::new(&name, Admission::Invite, Some(&key.public_key())),
            (None, Some(difficulty)) => NetworkId::open(&name, difficulty),
            (None, None) => NetworkId::new(&name, Admission::Lab, None),
        };
        let shards = config.shards.max(1);
        Self {
            // Not forked from the world's own generator, so that the runs of recorded seeds do not change.
            hostile_rng: Rng::from_number(config.seed ^ 0x686f_7374_696c_6521),
            outside: Outside::new(config.seed),
            shared: Arc::new(Shared {
                network: Network::new(config.network.clone(), rng.fork("network").next_u64()),
                authority,
                network_id,
                config,
                directory: std::collections::BTreeMap::new(),
                routers: std::collections::BTreeMap::new(),
                hostiles: std::collections::BTreeMap::new(),
                shards,
            }),
            now: Instant::ZERO,
            shards: (0..shards).map(|number| Shard::new(number, shards)).collect(),
            workers: None,
            count: 0,
            moves: 0,
            rng,
            chain: Chain::default(),
            log: Log::default(),
            next_command: 0,
            violations: Vec::new(),
        }
    }

    /// The parameters.
    #[must_use]
    pub fn config(&self) -> &WorldConfig {
        &self.shared.config
    }

    /// The network that all nodes belong to.
    #[must_use]
    pub fn network_id(&self) -> &NetworkId {
        &self.shared.network_id
    }

    /// Virtual time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The time of an exact wall clock.
    #[must_use]
    pub fn wall_clock(&self) -> UnixMillis {
        Shared::wall_clock(self.now)
    }

    /// A generator for the code that drives this world, separate from the world's own.
    #[must_use]
    pub fn fork_rng(&mut self, label: &str) -> Rng {
        self.rng.fork(label)
    }

    /// All nodes that were ever spawned.
    pub fn all(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.count as u32).map(NodeIndex::new)
    }

    /// The nodes whose process runs.
    #[must_use]
    pub fn live(&self) -> Vec<NodeIndex> {
        self.all().filter(|index| self.node(*index).is_up()).collect()
    }

    /// One node.
    #[must_use]
    pub fn node(&self, index: NodeIndex) -> &SimNode {
        &self.shards[self.shared.home(index)].nodes[index]
    }

    /// The disk of a node, to read what is really stored.
    pub fn disk(&mut self, index: NodeIndex) -> &mut crate::disk::Disk {
        &mut self.shard_of(index).nodes[index].disk
    }

    /// The nodes with their ids.
    #[must_use]
    pub fn peers(&self, of: &[NodeIndex]) -> Vec<Peer> {
        of.iter().map(|index| self.node(*index).peer).collect()
    }

    /// The node with this id.
    #[must_use]
    pub fn find(&self, id: &potluck_base::NodeId) -> Option<NodeIndex> {
        self.all().find(|index| self.node(*index).peer.id == *id)
    }

    /// The trace so far.
    #[must_use]
    pub fn trace(&self) -> Trace<'_> {
        let nodes = self.all().map(|node| &self.node(node).chain);
        let hostiles = self.shards[0].hostiles.iter().map(|hostile| &hostile.chain);
        let chains = [&self.chain].into_iter().chain(nodes).chain(hostiles);
        Trace::of(self.config().seed, chains, &self.log)
    }

    /// Adds a line to the log of the trace.
    pub fn note(&mut self, line: impl Into<String>) {
        let line = line.into();
        self.chain.event(self.now, *b"note", line.as_bytes());
        self.log.push(self.now, line);
    }

    /// Violated contracts of machines: a timer that does not advance, a command that was answered twice.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> WorldStats {
        let mut sum = WorldStats { events: self.trace().events(), ..WorldStats::default() };
        for shard in &self.shards {
            sum.network.add(&shard.lines.stats);
            sum.calls.add(&shard.counts.calls);
            sum.delivered += shard.counts.delivered;
            sum.overflowed += shard.counts.overflowed;
            sum.timeouts += shard.counts.timeouts;
            sum.storage_ops += shard.counts.storage_ops;
        }
        sum
    }

    /// Gives a command to a node. Its [`Outcome`] follows later; at once if the node is down.
    pub fn command(&mut self, node: NodeIndex, command: Command) -> CommandId {
        let id = CommandId(self.next_command);
        self.next_command += 1;
        self.at(node, |local| {
            local.shard.commands.pending.insert(id, (node, local.shard.now));
            if local.shard.nodes[node].is_up() {
                local.shard.trace(node, b"cmnd", format!("{command:?}").as_bytes());
                local.feed(node, Input::Command { id, command });
            } else {
                local.end_command(node, id, None);
            }
        });
        id
    }

    /// Takes the outcome of a command. `None` if it has not ended.
    pub fn outcome(&mut self, id: CommandId) -> Option<Outcome> {
        self.shards.iter_mut().find_map(|shard| shard.commands.outcomes.remove(&id))
    }

    /// The number of commands without an answer.
    #[must_use]
    pub fn commands_pending(&self) -> usize {
        self.shards.iter().map(|shard| shard.commands.pending.len()).sum()
    }

    /// Gives a command to a node and runs until it is answered, at most for `bound`.
    pub fn ask(&mut self, node: NodeIndex, command: Command, bound: Duration) -> Option<Reply> {
        let id = self.command(node, command);
        let ended = |world: &Self| {
            world.shards.iter().any(|shard| shard.commands.outcomes.contains_key(&id))
        };
        self.run_until(bound, |world| ended(world));
        self.outcome(id).and_then(|outcome| outcome.reply)
    }

    /// Runs until `end`.
    pub fn run_to(&mut self, end: Instant) {
        if self.shards.len() == 1 {
            let local = &mut Local { shared: &self.shared, shard: &mut self.shards[0] };
            while local.step_before(end + Duration::from_micros(1)) {}
        } else {
            let count = self.shards.len();
            let workers = self.workers.get_or_insert_with(|| Workers::new(count));
            workers.run(&self.shared, &mut self.shards, self.now..end);
        }
        self.now = self.now.max(end);
        self.settle();
    }

    /// Runs for a time.
    pub fn run_for(&mut self, time: Duration) {
        self.run_to(self.now + time);
    }

    /// Runs until `done` returns true, which is checked every 10 ms, at most for `bound`. Returns whether it
    /// did.
    pub fn run_until(&mut self, bound: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + bound;
        loop {
            if done(self) {
                return true;
            }
            if self.now >= end {
                return false;
            }
            self.run_to(end.min(self.now + LOOK));
        }
    }

    /// Events in the queues.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shards.iter().map(|shard| shard.queue.len()).sum()
    }

    /// Runs code at a node, between two events.
    fn at<T>(&mut self, node: NodeIndex, act: impl FnOnce(&mut Local<'_>) -> T) -> T {
        self.in_shard(self.shared.home(node), act)
    }

    fn in_shard<T>(&mut self, number: usize, act: impl FnOnce(&mut Local<'_>) -> T) -> T {
        let shard = &mut self.shards[number];
        shard.now = self.now;
        let done = act(&mut Local { shared: &self.shared, shard });
        self.settle();
        done
    }

    fn shard_of(&mut self, node: NodeIndex) -> &mut Shard {
        &mut self.shards[self.shared.home(node)]
    }

    fn shared_mut(&mut self) -> &mut Shared {
        Arc::get_mut(&mut self.shared).expect("no other thread runs between two runs")
    }

    /// Delivers events between shards, and adds their notes to the log.
    fn settle(&mut self) {
        let mut notes = Vec::new();
        for number in 0..self.shards.len() {
            for post in std::mem::take(&mut self.shards[number].posts) {
                self.shards[post.to].queue.push(post.when, post.event);
            }
            notes.append(&mut self.shards[number].notes);
        }
        notes.sort_by_key(|note| (note.at, note.node));
        for note in notes {
            if !note.broken {
                self.log.push(note.at, note.line);
                continue;
            }
            self.log.push(note.at, format!("broken promise: {}", note.line));
            if self.violations.len() < VIOLATIONS_MAX {
                self.violations.push(note.line);
            }
        }
    }
}
