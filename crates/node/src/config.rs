//! Parameters of a node: those of its parts, checked together.

use std::time::Duration;

use potluck_base::Diversity;
use potluck_gossip::members::ModeChoice;

/// The parameters of all parts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Config {
    /// Of the link.
    pub link: potluck_link::LinkConfig,
    /// Of the routing table and lookups.
    pub dht: potluck_dht::Config,
    /// Of record keeping.
    pub kv: potluck_kv::Config,
    /// Of fetching and serving files.
    pub swarm: potluck_swarm::Config,
    /// Of the failure detector and the list of members.
    pub members: potluck_gossip::members::MembersConfig,
    /// Of messages.
    pub topics: potluck_gossip::topics::TopicsConfig,
}

/// Which parameters contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Within the routing table and lookups.
    #[error(transparent)]
    Dht(#[from] potluck_dht::ConfigError),
    /// Within record keeping.
    #[error(transparent)]
    Kv(#[from] potluck_kv::ConfigError),
    /// Within the failure detector.
    #[error(transparent)]
    Members(#[from] potluck_gossip::members::MembersConfigError),
    /// Holders of a key could not know each other.
    #[error("[dht] siblings must be at least three times [kv] replication")]
    Siblings,
}

/// Longest life of a record in an `open` network: 30 days. What strangers store goes by itself if its writer
/// does not renew it. Raising it lets what was abandoned stay longer.
pub const OPEN_LIFE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Config {
    /// The same for an `open` network: no records in `commons`, no life over [`OPEN_LIFE_MAX`], no full list of
    /// members, which strangers could fill, and few places a subnet.
    #[must_use]
    pub fn for_open(mut self) -> Self {
        self.kv.commons = false;
        self.dht.diversity = Diversity::Subnets;
        self.kv.life_max = self.kv.life_max.min(OPEN_LIFE_MAX);
        self.kv.life_default = self.kv.life_default.min(OPEN_LIFE_MAX);
        if self.members.mode == ModeChoice::Auto {
            self.members.mode = ModeChoice::Open;
        }
        self
    }

    /// Checks the parameters against each other.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.dht.validate()?;
        self.kv.validate()?;
        self.members.validate()?;
        if self.dht.close_group_size < usize::from(self.kv.replication) * 3 {
            return Err(ConfigError::Siblings);
        }
        Ok(())
    }
}
