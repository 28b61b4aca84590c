//! The virtual world: many real node machines, one event queue, one clock.
//!
//! The machines are those of the real program and exchange the bytes of the real wire. Everything
//! around them is made up here, from one seed: time, network, disks, calls, wall clocks, crashes.
//!
//! **Invariants:** the same seed and the same requests give the same run, event by event; virtual
//! time never goes back; an event for a process that has died is dropped.

mod admission;
mod config;
mod deliver;
mod faults;
mod files;
mod hostile;
mod outputs;
mod population;
mod records;
mod routers;
mod strangers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{Admission, Identity, Instant, NetworkId, Peer, Rng, UnixMillis};
use potluck_node::{Command, CommandId, Reply};

use crate::calls::{CallStats, Calls};
use crate::network::{Network, NetworkStats};
use crate::queue::EventQueue;
use crate::sim_node::{NodeIndex, SimNode};
use crate::trace::Trace;

pub(crate) use admission::Papers;
pub use config::WorldConfig;
pub(crate) use files::NodeFiles;
pub use files::{FetchEnd, Line};
pub use hostile::{HostileIndex, HostileStats, Manners};
pub(crate) use records::Told;
pub use records::Traffic;
pub use strangers::{Seen, StrangerStats};

use deliver::Event;
use strangers::{Strangers, Tap};

/// What an exact wall clock shows at the start of every world: 15 January 2027.
const EPOCH: UnixMillis = UnixMillis(1_800_000_000_000);
/// How often [`World::run_until`] looks at its condition, in virtual time.
const LOOK: Duration = Duration::from_millis(10);
/// Broken promises kept for the report.
const VIOLATIONS_MAX: usize = 20;

/// How a command ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Who was asked.
    pub node: NodeIndex,
    /// When.
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

/// What happened in a world, in numbers.
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
    config: WorldConfig,
    /// In `invite` networks.
    authority: Option<Identity>,
    network_id: NetworkId,
    now: Instant,
    queue: EventQueue<Event>,
    nodes: Vec<SimNode>,
    directory: BTreeMap<SocketAddr, NodeIndex>,
    routers: routers::Routers,
    network: Network,
    calls: Calls,
    pipes: files::Pipes,
    strangers: Strangers,
    tap: Tap,
    hostiles: Vec<hostile::Hostile>,
    hostile_addresses: BTreeMap<SocketAddr, HostileIndex>,
    hostile_rng: Rng,
    /// Times that a node changed its address: no address is used twice.
    moves: u32,
    rng: Rng,
    disk_rng: Rng,
    trace: Trace,
    pending: BTreeMap<CommandId, (NodeIndex, Instant)>,
    outcomes: BTreeMap<CommandId, Outcome>,
    next_command: u64,
    outbox: Vec<potluck_node::Output>,
    violations: Vec<String>,
    stats: WorldStats,
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(config: WorldConfig) -> Self {
        let mut rng = Rng::from_number(config.seed);
        let name = format!("sim {}", config.seed);
        let authority = config.invite.then(|| admission::authority(config.seed));
        let network_id = match &authority {
            Some(key) => NetworkId::new(&name, Admission::Invite, Some(&key.public_key())),
            None => NetworkId::new(&name, Admission::Lab, None),
        };
        Self {
            network: Network::new(config.network.clone(), rng.fork("network")),
            calls: Calls::new(config.calls.clone(), rng.fork("calls")),
            pipes: files::Pipes::default(),
            disk_rng: rng.fork("disks"),
            trace: Trace::new(config.seed),
            tap: Tap::new(rng.fork("tap")),
            // Not forked from the world's own generator, whose numbers recorded seeds stand for.
            hostile_rng: Rng::from_number(config.seed ^ 0x686f_7374_696c_6521),
            hostiles: Vec::new(),
            hostile_addresses: BTreeMap::new(),
            moves: 0,
            config,
            authority,
            network_id,
            now: Instant::ZERO,
            queue: EventQueue::new(),
            nodes: Vec::new(),
            directory: BTreeMap::new(),
            routers: routers::Routers::default(),
            strangers: Strangers::default(),
            rng,
            pending: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            next_command: 0,
            outbox: Vec::new(),
            violations: Vec::new(),
            stats: WorldStats::default(),
        }
    }

    /// The parameters.
    #[must_use]
    pub const fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// The network that all nodes belong to.
    #[must_use]
    pub const fn network_id(&self) -> &NetworkId {
        &self.network_id
    }

    /// Virtual time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// What an exact wall clock shows.
    #[must_use]
    pub fn wall_clock(&self) -> UnixMillis {
        EPOCH.plus(self.now.since(Instant::ZERO))
    }

    /// A generator for the code that drives this world, apart from the world's own.
    #[must_use]
    pub fn fork_rng(&mut self, label: &str) -> Rng {
        self.rng.fork(label)
    }

    /// All nodes that were ever spawned.
    pub fn all(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.nodes.len() as u32).map(NodeIndex::new)
    }

    /// The nodes whose process runs.
    #[must_use]
    pub fn live(&self) -> Vec<NodeIndex> {
        self.all().filter(|index| self.nodes[index.get()].is_up()).collect()
    }

    /// One node.
    #[must_use]
    pub fn node(&self, index: NodeIndex) -> &SimNode {
        &self.nodes[index.get()]
    }

    /// One node's disk, to look at what is really there.
    pub fn disk(&mut self, index: NodeIndex) -> &mut crate::disk::Disk {
        &mut self.nodes[index.get()].disk
    }

    /// Who the nodes are, with their ids.
    #[must_use]
    pub fn peers(&self, of: &[NodeIndex]) -> Vec<Peer> {
        of.iter().map(|index| self.nodes[index.get()].peer).collect()
    }

    /// The node with this id.
    #[must_use]
    pub fn find(&self, id: &potluck_base::NodeId) -> Option<NodeIndex> {
        self.all().find(|index| self.nodes[index.get()].peer.id == *id)
    }

    /// The trace so far.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Writes a line into the trace's log.
    pub fn note(&mut self, line: impl Into<String>) {
        self.trace.note(self.now, line.into());
    }

    /// Promises that a machine broke: a timer that does not move, a command answered twice.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    pub(crate) fn violated(&mut self, line: String) {
        self.trace.note(self.now, format!("broken promise: {line}"));
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(line);
        }
    }

    /// Numbers.
    #[must_use]
    pub const fn stats(&self) -> WorldStats {
        WorldStats {
            network: self.network.stats,
            calls: self.calls.stats,
            events: self.trace.events(),
            ..self.stats
        }
    }

    /// Gives a node a command. Its [`Outcome`] comes later; at once if the node is down.
    pub fn command(&mut self, node: NodeIndex, command: Command) -> CommandId {
        let id = CommandId(self.next_command);
        self.next_command += 1;
        self.pending.insert(id, (node, self.now));
        if self.nodes[node.get()].is_up() {
            self.trace.event(self.now, node.get(), b"cmnd", format!("{command:?}").as_bytes());
            self.feed(node, potluck_node::Input::Command { id, command });
        } else {
            self.end_command(id, None);
        }
        id
    }

    /// Takes the outcome of a command, if it has ended.
    pub fn outcome(&mut self, id: CommandId) -> Option<Outcome> {
        self.outcomes.remove(&id)
    }

    /// How many commands wait for their answer.
    #[must_use]
    pub fn commands_pending(&self) -> usize {
        self.pending.len()
    }

    /// Gives a node a command and runs until it is answered, at most for `bound`.
    pub fn ask(&mut self, node: NodeIndex, command: Command, bound: Duration) -> Option<Reply> {
        let id = self.command(node, command);
        self.run_until(bound, |world| world.outcomes.contains_key(&id));
        self.outcome(id).and_then(|outcome| outcome.reply)
    }

    fn end_command(&mut self, id: CommandId, reply: Option<Reply>) {
        let Some((node, asked)) = self.pending.remove(&id) else {
            self.violated(format!("a second answer to command {}: {reply:?}", id.0));
            return;
        };
        let said = reply.as_ref().map(|reply| format!("{reply:?}")).unwrap_or_default();
        self.trace.event(self.now, node.get(), b"rply", said.as_bytes());
        self.outcomes.insert(id, Outcome { node, asked, ended: self.now, reply });
    }

    /// Lets time pass until `end`.
    pub fn run_to(&mut self, end: Instant) {
        while self.queue.next_at().is_some_and(|at| at <= end) {
            if let Some((at, event)) = self.queue.pop() {
                self.now = self.now.max(at);
                self.deliver(event);
            }
        }
        self.now = self.now.max(end);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        self.run_to(self.now + time);
    }

    /// Lets time pass until `done`, looked at every 10 ms, at most for `bound`. Says whether it is.
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

    /// Events that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }
}
