//! Parameters of the table and of lookups.

use std::time::Duration;

use potluck_base::{Defences, Diversity};

use crate::lookup::PATHS_MAX;

/// Parameters of the DHT; [`Config::validate`] checks them against each other.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Contacts in a bucket, and the number of closest nodes that a lookup for nodes finds. 16, the
    /// largest that S/Kademlia recommends (8 to 16): larger buckets stay unfilled longer.
    pub k: usize,
    /// Requests in flight in one lookup. 3 as in the Kademlia paper; more are faster and cost traffic.
    pub alpha: usize,
    /// Nodes in the close group: at least three times the replication, so that every holder of a key
    /// knows all others. Each costs heartbeats.
    pub close_group_size: usize,
    /// Most contacts in the table. In practice about 16 for each of log2(n) buckets and the close group
    /// are used; the cap bounds memory in all cases.
    pub table_capacity: usize,
    /// Interval of the lookups of the node's own id and of one quiet bucket while any of the `k`
    /// nearest changes. While none changes, the interval grows up to ten times this.
    pub refresh_interval: Duration,
    /// Silence after which a member of the close group gets a heartbeat. A longer interval costs less
    /// traffic and notices failures later.
    pub heartbeat_interval: Duration,
    /// Silence after which another contact is checked. For a contact known for longer than this, the
    /// silence is as long as it has been known, up to five times this.
    pub contact_check_interval: Duration,
    /// Tries of a heartbeat before the contact counts as failed.
    pub heartbeat_tries: u8,
    /// Tries of a lookup's request. With two, 2 % loss makes 0.16 % of the requests fail, and 2 % of
    /// the lookups miss one of 16 live nodes.
    pub lookup_tries: u8,
    /// Disjoint paths of a read's lookup. S/Kademlia's figures at 20 % adversaries: 65 % of lookups succeed
    /// with 1, 86 % with 2, 98 % with 4, 99.9 % with 8. Each costs the requests of its first hops.
    pub read_paths: usize,
    /// Disjoint paths of a write's lookup, of a join and of the search for the close group.
    pub write_paths: usize,
    /// Disjoint paths of a lookup that repeats another, because a read found nothing or answers disagreed.
    pub doubt_paths: usize,
    /// Whether writes and doubted lookups ask for the second part of answers when some of the closest nodes
    /// failed, which finds those that the first part had no room for.
    pub second_parts: bool,
    /// Requests that one lookup may send. It bounds the cost of a lookup and its use for attacks.
    pub lookup_requests_max: usize,
    /// Time after which a lookup ends with the answers so far.
    pub lookup_deadline: Duration,
    /// Concurrent lookups; further ones are refused as busy.
    pub lookups_max: usize,
    /// First pause before an entry point is tried again.
    pub entry_backoff_min: Duration,
    /// Longest pause before an entry point is tried again. Entry points are never given up.
    pub entry_backoff_max: Duration,
    /// Interval at which changed contacts are saved for a warm restart.
    pub save_interval: Duration,
    /// Whether loopback and private addresses are acceptable: in `lab` networks.
    pub private_addresses: bool,
    /// Whether places in the table and in candidate lists are limited a subnet: in `open` networks.
    pub diversity: Diversity,
    /// Time since a contact was last heard after which it is not named in answers. A longer time names more
    /// nodes that are gone; a shorter one than the longest pause between two checks leaves living ones out.
    pub named_for: Duration,
    /// Whether this node serves no requests and must not be put into routing tables.
    pub client: bool,
    /// The defences that are on: all of them, except in tests that show what one is for.
    pub defences: Defences,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            k: 16,
            alpha: 3,
            close_group_size: 48,
            table_capacity: 1024,
            refresh_interval: Duration::from_secs(60),
            heartbeat_interval: Duration::from_secs(5),
            contact_check_interval: Duration::from_secs(120),
            heartbeat_tries: 3,
            lookup_tries: 3,
            read_paths: 2,
            write_paths: 4,
            doubt_paths: 8,
            second_parts: true,
            lookup_requests_max: 96,
            lookup_deadline: Duration::from_secs(5),
            lookups_max: 256,
            entry_backoff_min: Duration::from_secs(1),
            entry_backoff_max: Duration::from_secs(30),
            save_interval: Duration::from_secs(30),
            private_addresses: true,
            diversity: Diversity::Free,
            named_for: Duration::from_secs(1800),
            client: false,
            defences: Defences::default(),
        }
    }
}

/// The parameters that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// k is outside 2..=32.
    #[error("k must be 2 to 32")]
    K,
    /// A number of disjoint paths is outside 1..=8.
    #[error("read_paths, write_paths and doubt_paths must be 1 to 8")]
    Paths,
    /// alpha is outside 1..=k.
    #[error("alpha must be 1 to k")]
    Alpha,
    /// The table cannot hold the close group and one bucket.
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
        let paths = [self.read_paths, self.write_paths, self.doubt_paths];
        if paths.iter().any(|paths| !(1..=PATHS_MAX).contains(paths)) {
            return Err(ConfigError::Paths);
        }
        if self.table_capacity < self.k + self.close_group_size {
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
