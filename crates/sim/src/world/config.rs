//! Parameters of a world.

use std::time::Duration;

use potluck_base::{Defences, Difficulty, Diversity};

use crate::calls::CallConfig;
use crate::disk::DiskConfig;
use crate::network::NetworkConfig;

/// The parameters of a world. Everything that happens follows from these and from the requests to the world.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldConfig {
    /// The seed, which makes every run repeatable.
    pub seed: u64,
    /// The network between the nodes.
    pub network: NetworkConfig,
    /// Their disks.
    pub disk: DiskConfig,
    /// The time limits of calls.
    pub calls: CallConfig,
    /// The nodes' own parameters.
    pub node: potluck_node::Config,
    /// Largest error of wall clocks, either way.
    pub clock_skew: Duration,
    /// Whether nodes need a certificate of the world's authority, as in `invite` networks.
    pub invite: bool,
    /// The puzzles that nodes must solve, as in `open` networks.
    pub open: Option<Difficulty>,
    /// Revocations that a node keeps.
    pub revocations_max: usize,
    /// Datagrams that wait for a paused process. Further ones are lost, as in a socket's buffer.
    pub socket_queue: usize,
    /// Shards, each with its own thread. The trace of a run is the same with any number of them.
    pub shards: usize,
}

impl WorldConfig {
    /// The defaults: real parameters, good Internet connections, datagrams not sealed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            network: NetworkConfig::default(),
            disk: DiskConfig::default(),
            calls: CallConfig::default(),
            node: potluck_node::Config {
                link: potluck_link::LinkConfig { seal: false, ..Default::default() },
                dht: potluck_dht::Config::default(),
                kv: potluck_kv::Config::default(),
                swarm: potluck_swarm::Config::default(),
                ..Default::default()
            },
            clock_skew: Duration::from_millis(500),
            invite: false,
            open: None,
            revocations_max: potluck_link::REVOCATIONS_MAX,
            socket_queue: 512,
            shards: 1,
        }
    }

    /// Sets the number of shards, at least one.
    #[must_use]
    pub const fn sharded(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Sets the enabled defences against hostile members; by default all are.
    #[must_use]
    pub const fn defended(mut self, defences: Defences) -> Self {
        self.node.kv.defences = defences;
        self.node.swarm.defences = defences;
        self
    }

    /// Sets whether datagrams are sealed as in the real world. Without seals a run is several times faster.
    #[must_use]
    pub const fn sealed(mut self, seal: bool) -> Self {
        self.node.link.seal = seal;
        self
    }

    /// Requires certificates, as in an `invite` network.
    #[must_use]
    pub const fn invite(mut self) -> Self {
        self.invite = true;
        self
    }

    /// Requires puzzles of a few bits, which the nodes solve in real time, and uses the parameters of an
    /// `open` network. To be called after other changes of the nodes' parameters, which it narrows.
    ///
    /// # Panics
    /// Over 12 bits each, which would take minutes for a thousand nodes.
    #[must_use]
    pub fn open(mut self, difficulty: Difficulty) -> Self {
        let few = difficulty.static_bits().max(difficulty.dynamic_bits()) <= 12;
        assert!(few, "{difficulty} takes too long in a simulation");
        self.node = self.node.for_open();
        self.open = Some(difficulty);
        self
    }

    /// With few places a subnet, as in an `open` network, and each node in a /16 of its own. There are no
    /// puzzles, so that any node may join.
    #[must_use]
    pub const fn diverse(mut self) -> Self {
        self.node.dht.diversity = Diversity::Subnets;
        self
    }

    /// Sets the number of replicas of a record, and the size of close groups to match.
    #[must_use]
    pub const fn replication(mut self, replicas: u16) -> Self {
        self.node.kv.replication = replicas;
        self
    }

    /// Sets the most writers of a key, and entries of a context.
    #[must_use]
    pub const fn writers(mut self, writers: u16, context_entries: usize) -> Self {
        self.node.kv.writers_max = writers;
        self.node.kv.context_entries_max = context_entries;
        self
    }

    /// Sets the most writers of a counter, set or map.
    #[must_use]
    pub const fn shared_writers(mut self, writers: u16) -> Self {
        self.node.kv.shared_writers_max = writers;
        self
    }

    /// Sets the most revocations that a node keeps.
    #[must_use]
    pub const fn revocations(mut self, most: usize) -> Self {
        self.revocations_max = most;
        self
    }
}
