//! Parameters of the record store.

use std::time::Duration;

use potluck_base::Defences;
use potluck_record::limits::{
    CONTEXT_ENTRIES_MAX, LIFE_DEFAULT, SHARED_WRITERS_MAX, VALUE_BYTES_MAX, WRITERS_MAX,
    writers_max,
};
use potluck_record::{Kind, Space};

/// The shortest default lifetime. Its half is the time in which a record is renewed.
pub const LIFE_MIN: Duration = Duration::from_secs(10);

use crate::change::WatchConfig;

/// Parameters of the record store; [`Config::validate`] checks them against each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Replicas of a record (r). More replicas survive more simultaneous failures and cost storage and
    /// traffic in proportion. With 16, losing 30 % of the nodes at once loses 0.3^16 of the records,
    /// 0.04 of ten million; with 5 it loses 24,300 of them.
    pub replication: u16,
    /// Nodes in the close group that the routing table keeps. A larger close group lets this node
    /// determine the replica sets of more keys without a lookup.
    pub close_group_size: usize,
    /// Replicas that must agree on a read (R), at most all members of the network. A higher quorum
    /// makes reads fresher and slower.
    pub read_quorum: u16,
    /// Replicas that must acknowledge a write (W); `None`: a majority of the replica set. A higher
    /// quorum makes writes more durable, and they fail when fewer replicas are reachable.
    pub write_quorum: Option<u16>,
    /// Lifetime of a record for which the writer gives none.
    pub life_default: Duration,
    /// Longest lifetime that replicas accept.
    pub life_max: Duration,
    /// Interval at which this node stores all its own records again at the closest nodes; `None`: only
    /// when they are renewed. A shorter interval brings records back sooner after many nodes vanished
    /// at once, and costs a lookup and a write a record each time.
    pub republish_interval: Option<Duration>,
    /// Largest value accepted, in bytes.
    pub value_bytes_max: usize,
    /// Writers of one key whose values no context covers. A replica refuses a further writer and
    /// returns the envelopes it holds. At most [`WRITERS_MAX`]; simulations draw smaller limits, so
    /// that the limit is reached.
    pub writers_max: u16,
    /// Writers of one counter, set or map. Beyond it the nodes closest to the key carry operations out
    /// for further ones. At most [`SHARED_WRITERS_MAX`]; simulations draw smaller limits.
    pub shared_writers_max: u16,
    /// Entries of a context that this node signs; the context's floor replaces older ones. At most
    /// [`CONTEXT_ENTRIES_MAX`]; simulations draw smaller limits, so that the limit is reached.
    pub context_entries_max: usize,
    /// Time after which a write fails. Half of it is the time limit of a read, and of the reading
    /// part of a write.
    pub put_deadline: Duration,
    /// Concurrent commands; further ones are answered busy. Raising it costs memory.
    pub commands_max: usize,
    /// Concurrent requests of other nodes; further ones are refused as busy. Raising it costs memory.
    pub requests_max: usize,
    /// Delay between a change of the close group and the repair of replicas. A guess: long enough to
    /// handle a burst of failures as one change, short beside the seconds that detection takes.
    pub repair_delay: Duration,
    /// Time between two comparisons with one node of the close group, give or take 30 %. A longer interval
    /// costs less traffic and finds missing replicas later.
    pub anti_entropy_interval: Duration,
    /// Time for which a node keeps a copy of a record that it is not a replica of any more. A longer time
    /// saves traffic when nodes come back, and takes room.
    pub surplus_after: Duration,
    /// Time between two sweeps of expired envelopes. A longer interval keeps them on disk longer.
    pub expire_interval: Duration,
    /// Time that a leaving node waits for others to pull the records it hands over.
    pub leave_deadline: Duration,
    /// Stale replicas that one read updates. Raising it costs traffic after reads of diverged replicas.
    pub read_repairs_max: usize,
    /// Whether records in the space `commons` are kept. Off in `open` networks, where each stranger could
    /// write under each name.
    pub commons: bool,
    /// Parameters of watches.
    pub watch: WatchConfig,
    /// The defences that are on: all of them, except in tests that show what one is for.
    pub defences: Defences,
}

impl Config {
    /// Whether records of this space are kept in this network.
    #[must_use]
    pub const fn keeps_space(&self, space: Space) -> bool {
        match space {
            Space::Commons => self.commons,
            Space::Content
            | Space::Own(_)
            | Space::Provider
            | Space::Team(_)
            | Space::Writers(_) => true,
        }
    }

    /// Most writers of a key of this space and kind. Providers have a limit of their own.
    #[must_use]
    pub const fn writers_of(&self, space: Space, kind: Kind) -> u16 {
        match space {
            Space::Provider => writers_max(space, kind),
            Space::Content
            | Space::Own(_)
            | Space::Commons
            | Space::Team(_)
            | Space::Writers(_) => {
                if kind.is_shared() {
                    self.shared_writers_max
                } else {
                    self.writers_max
                }
            }
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            replication: 16,
            close_group_size: 48,
            read_quorum: 3,
            write_quorum: None,
            life_default: LIFE_DEFAULT,
            life_max: LIFE_DEFAULT,
            republish_interval: None,
            value_bytes_max: VALUE_BYTES_MAX,
            writers_max: WRITERS_MAX,
            shared_writers_max: SHARED_WRITERS_MAX,
            context_entries_max: CONTEXT_ENTRIES_MAX,
            put_deadline: Duration::from_secs(10),
            commands_max: 1024,
            requests_max: 4096,
            repair_delay: Duration::from_secs(1),
            anti_entropy_interval: Duration::from_secs(60),
            surplus_after: Duration::from_secs(24 * 3600),
            expire_interval: Duration::from_secs(60),
            leave_deadline: Duration::from_secs(5),
            read_repairs_max: 3,
            commons: true,
            watch: WatchConfig::default(),
            defences: Defences::default(),
        }
    }
}

/// The parameters that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Replication is outside 1..=32.
    #[error("replication must be 1 to 32")]
    Replication,
    /// A quorum is zero or larger than the replication.
    #[error("quorums must be 1 to the replication")]
    Quorum,
    /// The interval of anti-entropy is shorter than a second or longer than a day.
    #[error("anti_entropy_interval must be 1 s to 24 h")]
    AntiEntropy,
    /// The default lifetime is longer than the longest allowed one.
    #[error("default_ttl must not be longer than the longest life of this network")]
    Life,
    /// Records would end between two times that they are stored again.
    #[error(
        "the republish interval is over a third of the life, so records would be lost: {} s is over a \
         third of {} s", .interval.as_secs(), .life.as_secs()
    )]
    Republish {
        /// The interval.
        interval: Duration,
        /// The default life.
        life: Duration,
    },
    /// The republish interval is shorter than a second.
    #[error("the republish interval must be 1 s or more")]
    RepublishOften,
    /// The default lifetime is so short that its records cannot be renewed in time.
    #[error("default_ttl must be 10 s or more")]
    LifeShort,
    /// The value limit is over the format's limit.
    #[error("max_value_bytes must be at most {VALUE_BYTES_MAX}")]
    ValueBytes,
    /// The limits of writers or context entries are zero or over those of the format.
    #[error(
        "a key has 1 to {WRITERS_MAX} writers, a counter, set or map 1 to {SHARED_WRITERS_MAX}, a \
         context 1 to {CONTEXT_ENTRIES_MAX} entries"
    )]
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
        if self.life_default < LIFE_MIN {
            return Err(ConfigError::LifeShort);
        }
        if let Some(interval) = self.republish_interval {
            if interval < Duration::from_secs(1) {
                return Err(ConfigError::RepublishOften);
            }
            if interval > self.life_default / 3 {
                return Err(ConfigError::Republish { interval, life: self.life_default });
            }
        }
        if self.value_bytes_max > VALUE_BYTES_MAX {
            return Err(ConfigError::ValueBytes);
        }
        let entries = 1..=CONTEXT_ENTRIES_MAX;
        if !(1..=WRITERS_MAX).contains(&self.writers_max)
            || !(1..=SHARED_WRITERS_MAX).contains(&self.shared_writers_max)
            || !entries.contains(&self.context_entries_max)
        {
            return Err(ConfigError::Writers);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: fn(&mut Config)) -> Option<ConfigError> {
        let mut config = Config::default();
        change(&mut config);
        config.validate().err()
    }

    #[test]
    fn each_parameter_is_valid_up_to_its_limits() {
        assert_eq!(check(|_| {}), None);
        for (valid, beyond, error) in [
            (
                (|it| it.replication = 32) as fn(&mut Config),
                (|it| it.replication = 33) as fn(&mut Config),
                ConfigError::Replication,
            ),
            (|it| it.replication = 1, |it| it.replication = 0, ConfigError::Replication),
            (|it| it.read_quorum = 1, |it| it.read_quorum = 0, ConfigError::Quorum),
            (|it| it.write_quorum = Some(1), |it| it.write_quorum = Some(0), ConfigError::Quorum),
            (|it| it.write_quorum = Some(16), |it| it.write_quorum = Some(17), ConfigError::Quorum),
            (
                |it| it.anti_entropy_interval = Duration::from_secs(1),
                |it| it.anti_entropy_interval = Duration::from_millis(999),
                ConfigError::AntiEntropy,
            ),
            (
                |it| it.anti_entropy_interval = Duration::from_secs(24 * 3600),
                |it| it.anti_entropy_interval = Duration::from_secs(24 * 3600 + 1),
                ConfigError::AntiEntropy,
            ),
            (
                |it| it.life_default = it.life_max,
                |it| it.life_default = it.life_max + Duration::from_millis(1),
                ConfigError::Life,
            ),
            (
                |it| it.value_bytes_max = VALUE_BYTES_MAX,
                |it| it.value_bytes_max = VALUE_BYTES_MAX + 1,
                ConfigError::ValueBytes,
            ),
            (
                |it| it.life_default = LIFE_MIN,
                |it| it.life_default = LIFE_MIN - Duration::from_millis(1),
                ConfigError::LifeShort,
            ),
            (
                |it| it.republish_interval = Some(Duration::from_secs(1)),
                |it| it.republish_interval = Some(Duration::from_millis(999)),
                ConfigError::RepublishOften,
            ),
            (
                |it| it.republish_interval = Some(it.life_default / 3),
                |it| {
                    it.life_default = Duration::from_secs(300);
                    it.republish_interval = Some(Duration::from_secs(600));
                },
                ConfigError::Republish {
                    interval: Duration::from_secs(600),
                    life: Duration::from_secs(300),
                },
            ),
        ] {
            assert_eq!(check(valid), None, "up to the limit of: {error}");
            assert_eq!(check(beyond), Some(error));
        }
    }

    #[test]
    fn the_limits_of_writers_and_contexts_are_those_of_the_format() {
        for (valid, beyond) in [
            (
                (|it| it.writers_max = 1) as fn(&mut Config),
                (|it| it.writers_max = 0) as fn(&mut Config),
            ),
            (|it| it.writers_max = WRITERS_MAX, |it| it.writers_max = WRITERS_MAX + 1),
            (
                |it| it.shared_writers_max = SHARED_WRITERS_MAX,
                |it| it.shared_writers_max = SHARED_WRITERS_MAX + 1,
            ),
            (|it| it.shared_writers_max = 1, |it| it.shared_writers_max = 0),
            (|it| it.context_entries_max = 1, |it| it.context_entries_max = 0),
            (
                |it| it.context_entries_max = CONTEXT_ENTRIES_MAX,
                |it| it.context_entries_max = CONTEXT_ENTRIES_MAX + 1,
            ),
        ] {
            assert_eq!(check(valid), None);
            assert_eq!(check(beyond), Some(ConfigError::Writers));
        }
    }

    #[test]
    fn a_key_of_providers_has_a_limit_of_writers_of_its_own() {
        let config = Config { writers_max: 2, ..Config::default() };
        assert_eq!(config.writers_of(Space::Commons, Kind::Siblings), 2);
        assert_eq!(config.writers_of(Space::Commons, Kind::Counter), SHARED_WRITERS_MAX);
        let providers = writers_max(Space::Provider, Kind::PerWriter);
        assert_eq!(config.writers_of(Space::Provider, Kind::PerWriter), providers);
    }
}
