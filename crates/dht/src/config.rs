//! Parameters of the table and of lookups.

use std::time::Duration;

/// See each field; [`Config::validate`] holds them together.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Contacts in a bucket, and how many closest nodes a lookup for nodes finds. 16 of the
    /// 8..16 that S/Kademlia recommends: larger buckets stay unfilled longer.
    pub k: usize,
    /// Requests in flight in one lookup. 3 as in the Kademlia paper.
    pub alpha: usize,
    /// Closest nodes kept as siblings: at least three times the replication, so that every holder
    /// of a key knows all others.
    pub siblings: usize,
    /// Most contacts in the table. About 16 for each of log2(n) buckets and 48 siblings are used
    /// in practice; the cap bounds memory whatever happens.
    pub table_capacity: usize,
    /// How often the own neighbourhood and one quiet bucket are looked up while any of the `k`
    /// nearest comes or goes; when none does, ever more seldom, down to a tenth of that.
    pub refresh_interval: Duration,
    /// A sibling that was silent for so long gets a heartbeat.
    pub heartbeat_interval: Duration,
    /// Another contact that was silent for so long is checked; one that has been known for longer,
    /// after as long as it has been known, up to five times this.
    pub contact_check_interval: Duration,
    /// Tries of a heartbeat before the contact counts as failed.
    pub heartbeat_tries: u8,
    /// Tries of a lookup's request. With two, 2 % loss makes 0.16 % of the requests fail, and 2 % of
    /// the lookups miss one of 16 live nodes.
    pub lookup_tries: u8,
    /// Requests one lookup may send; bounds its cost and what it can be abused for.
    pub lookup_requests_max: usize,
    /// A lookup ends after this with what it has.
    pub lookup_deadline: Duration,
    /// Lookups at the same time; more are refused as busy.
    pub lookups_max: usize,
    /// First pause before an entry point is tried again.
    pub entry_backoff_min: Duration,
    /// Longest pause before an entry point is tried again. They are tried for ever.
    pub entry_backoff_max: Duration,
    /// How often changed contacts are saved for a warm restart.
    pub save_interval: Duration,
    /// Whether loopback and private addresses are acceptable: in `lab` networks.
    pub private_addresses: bool,
    /// Whether this node serves nobody and is not to be put into tables.
    pub client: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            k: 16,
            alpha: 3,
            siblings: 48,
            table_capacity: 1024,
            refresh_interval: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(5),
            contact_check_interval: Duration::from_secs(120),
            heartbeat_tries: 3,
            lookup_tries: 3,
            lookup_requests_max: 96,
            lookup_deadline: Duration::from_secs(5),
            lookups_max: 256,
            entry_backoff_min: Duration::from_secs(1),
            entry_backoff_max: Duration::from_secs(30),
            save_interval: Duration::from_secs(30),
            private_addresses: true,
            client: false,
        }
    }
}

/// Which parameters contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// k is outside 2..=32.
    #[error("k must be 2 to 32")]
    K,
    /// alpha is outside 1..=k.
    #[error("alpha must be 1 to k")]
    Alpha,
    /// The table cannot hold the siblings and one bucket.
    #[error("table_capacity must be at least k + siblings")]
    TableCapacity,
    /// An interval is shorter than a second.
    #[error("intervals must be at least one second")]
    Interval,
}

impl Config {
    /// Checks the parameters against each other.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(2..=32).contains(&self.k) {
            return Err(ConfigError::K);
        }
        if !(1..=self.k).contains(&self.alpha) {
            return Err(ConfigError::Alpha);
        }
        if self.table_capacity < self.k + self.siblings {
            return Err(ConfigError::TableCapacity);
        }
        let shortest =
            self.refresh_interval.min(self.heartbeat_interval).min(self.contact_check_interval);
        if shortest < Duration::from_secs(1) {
            return Err(ConfigError::Interval);
        }
        Ok(())
    }
}
