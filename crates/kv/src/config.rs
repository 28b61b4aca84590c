//! Parameters of record keeping.

use std::time::Duration;

use potluck_record::Space;
use potluck_record::limits::{
    CONTEXT_ENTRIES_MAX, LIFE_DEFAULT, VALUE_BYTES_MAX, WRITERS_MAX, writers_max,
};

/// See each field; [`Config::validate`] holds them together.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Replicas of a record (r). 16 since 30 % of the nodes gone at once then loses 0.3^16 of the
    /// records, 0.04 of ten million; 5 loses 24,300 of them.
    pub replication: u16,
    /// Siblings that the routing table keeps: within them replica sets are known without a lookup.
    pub siblings: usize,
    /// Replicas that must agree on a read (R), fewer if the network has fewer.
    pub read_quorum: u16,
    /// Replicas that must acknowledge a write (W); `None`: a majority of the replica set.
    pub write_quorum: Option<u16>,
    /// How long a record lives if the writer does not say.
    pub life_default: Duration,
    /// Longest life that replicas accept.
    pub life_max: Duration,
    /// Largest value accepted.
    pub value_bytes_max: usize,
    /// Writers of one key with values that nothing covers. A replica refuses a further one, with
    /// what is there. At most [`WRITERS_MAX`]; simulations draw less, so that it is reached.
    pub writers_max: u16,
    /// Entries of a context that this node signs; older ones give way to its floor. At most
    /// [`CONTEXT_ENTRIES_MAX`]; simulations draw less, so that it is reached.
    pub context_entries_max: usize,
    /// A write gives up after this.
    pub put_deadline: Duration,
    /// Commands under way at once; more are answered busy.
    pub commands_max: usize,
    /// Requests of others under way at once; more are refused as busy.
    pub requests_max: usize,
    /// How long a change of siblings settles before replicas are repaired. A guess: long enough to
    /// treat a burst of deaths as one, short beside the seconds that detection takes.
    pub repair_delay: Duration,
    /// Time between two rounds of anti-entropy.
    pub anti_entropy_interval: Duration,
    /// How often expired envelopes are swept.
    pub expire_interval: Duration,
    /// How long a leaving node waits for others to pull what it hands over.
    pub leave_deadline: Duration,
    /// Pushes of newer state to stale replicas after one read.
    pub read_repairs_max: usize,
}

impl Config {
    /// Most writers of a key of this space. Providers have a limit of their own.
    #[must_use]
    pub const fn writers_of(&self, space: Space) -> u16 {
        match space {
            Space::Provider => writers_max(space),
            _ => self.writers_max,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            replication: 16,
            siblings: 48,
            read_quorum: 3,
            write_quorum: None,
            life_default: LIFE_DEFAULT,
            life_max: LIFE_DEFAULT,
            value_bytes_max: VALUE_BYTES_MAX,
            writers_max: WRITERS_MAX,
            context_entries_max: CONTEXT_ENTRIES_MAX,
            put_deadline: Duration::from_secs(10),
            commands_max: 1024,
            requests_max: 4096,
            repair_delay: Duration::from_secs(1),
            anti_entropy_interval: Duration::from_secs(60),
            expire_interval: Duration::from_secs(60),
            leave_deadline: Duration::from_secs(5),
            read_repairs_max: 3,
        }
    }
}

/// Which parameters contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Replication is outside 1..=32.
    #[error("replication must be 1 to 32")]
    Replication,
    /// A quorum is zero or larger than the replication.
    #[error("quorums must be 1 to the replication")]
    Quorum,
    /// Rounds of anti-entropy closer than a second or farther than a day.
    #[error("anti_entropy_interval must be 1 s to 24 h")]
    AntiEntropy,
    /// The default life is longer than the longest.
    #[error("default_ttl must not be longer than the longest life of this network")]
    Life,
    /// Values over the format's limit.
    #[error("max_value_bytes must be at most {VALUE_BYTES_MAX}")]
    ValueBytes,
    /// Limits of a key over those of the format, or zero.
    #[error("a key has 1 to {WRITERS_MAX} writers, a context 1 to {CONTEXT_ENTRIES_MAX} entries")]
    Writers,
}

impl Config {
    /// Checks the parameters against each other.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let quorum = |quorum: u16| quorum >= 1 && quorum <= self.replication;
        if !(1..=32).contains(&self.replication) {
            return Err(ConfigError::Replication);
        }
        if self.read_quorum < 1 || !self.write_quorum.is_none_or(quorum) {
            return Err(ConfigError::Quorum);
        }
        let rounds = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
        if !rounds.contains(&self.anti_entropy_interval) {
            return Err(ConfigError::AntiEntropy);
        }
        if self.life_default > self.life_max {
            return Err(ConfigError::Life);
        }
        if self.value_bytes_max > VALUE_BYTES_MAX {
            return Err(ConfigError::ValueBytes);
        }
        let entries = 1..=CONTEXT_ENTRIES_MAX;
        if !(1..=WRITERS_MAX).contains(&self.writers_max)
            || !entries.contains(&self.context_entries_max)
        {
            return Err(ConfigError::Writers);
        }
        Ok(())
    }
}
