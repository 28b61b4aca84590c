//! Parameters of a node: those of its parts, checked together.

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

impl Config {
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
