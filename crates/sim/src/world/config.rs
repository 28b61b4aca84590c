//! Parameters of a world.

use std::time::Duration;

use potluck_base::{Defences, Difficulty, Diversity};

use crate::calls::CallConfig;
use crate::disk::DiskConfig;
use crate::network::NetworkConfig;

/// See each field. Everything that happens follows from these and from what the world is told.
#[derive(Debug, Clone, PartialEq)]
pub struct WorldConfig {
    /// Makes every run repeatable.
    pub seed: u64,
    /// The network between the nodes.
    pub network: NetworkConfig,
    /// Their disks.
    pub disk: DiskConfig,
    /// Large requests.
    pub calls: CallConfig,
    /// The nodes' own parameters.
    pub node: potluck_node::Config,
    /// Wall clocks are off by up to this, either way.
    pub clock_skew: Duration,
    /// Whether nodes need a certificate of the world's authority, as in `invite` networks.
    pub invite: bool,
    /// The puzzles that nodes must solve, as in `open` networks.
    pub open: Option<Difficulty>,
    /// Revocations that a node keeps.
    pub revocations_max: usize,
    /// Datagrams that wait for a paused process; more are lost, as in a socket's buffer.
    pub socket_queue: usize,
    /// Shards with a thread each. The trace of a run is the same with any number of them.
    pub shards: usize,
}

impl WorldConfig {
    /// The defaults: real parameters, the Internet on a good day, datagrams not sealed.
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

    /// With this number of shards, at least one.
    #[must_use]
    pub const fn sharded(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// With these defences against hostile members; all are on by default.
    #[must_use]
    pub const fn defended(mut self, defences: Defences) -> Self {
        self.node.kv.defences = defences;
        self.node.swarm.defences = defences;
        self
    }

    /// With datagrams sealed as in the real world, or not, which is several times faster.
    #[must_use]
    pub const fn sealed(mut self, seal: bool) -> Self {
        self.node.link.seal = seal;
        self
    }

    /// With certificates, as in an `invite` network.
    #[must_use]
    pub const fn invite(mut self) -> Self {
        self.invite = true;
        self
    }

    /// With puzzles and the parameters of an `open` network. A few bits each: the nodes solve them in real
    /// time. After other changes to the nodes' parameters, which it narrows.
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

    /// With this many replicas of a record, and siblings to suit.
    #[must_use]
    pub const fn replication(mut self, replicas: u16) -> Self {
        self.node.kv.replication = replicas;
        self
    }

    /// With this many writers of a key and entries of a context.
    #[must_use]
    pub const fn writers(mut self, writers: u16, context_entries: usize) -> Self {
        self.node.kv.writers_max = writers;
        self.node.kv.context_entries_max = context_entries;
        self
    }

    /// With this many writers of a counter, set or map.
    #[must_use]
    pub const fn shared_writers(mut self, writers: u16) -> Self {
        self.node.kv.shared_writers_max = writers;
        self
    }

    /// With this many revocations that a node keeps.
    #[must_use]
    pub const fn revocations(mut self, most: usize) -> Self {
        self.revocations_max = most;
        self
    }
}
