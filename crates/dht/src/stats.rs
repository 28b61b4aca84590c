//! Counters and gauges of the DHT.

/// Counters since the start and gauges of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Lookups started.
    pub lookups_started: u64,
    /// Lookups that ended with the closest nodes found or enough for the asker.
    pub lookups_succeeded: u64,
    /// Lookups that ran out of nodes, requests or time.
    pub lookups_failed: u64,
    /// Lookups refused because too many were under way.
    pub lookups_refused: u64,
    /// Requests of lookups sent.
    pub queries_sent: u64,
    /// Requests of lookups that got no answer.
    pub queries_timed_out: u64,
    /// Heartbeats and checks sent.
    pub probes_sent: u64,
    /// Heartbeats and checks that got no answer.
    pub probes_failed: u64,
    /// Contacts dropped because they did not answer.
    pub contacts_dropped: u64,
    /// Contacts evicted because the table was full.
    pub contacts_evicted: u64,
    /// Contacts in answers that were refused for their address.
    pub contacts_refused: u64,
    /// Contacts in the table now.
    pub contacts: usize,
    /// Most contacts the table may hold.
    pub capacity: usize,
    /// Siblings now.
    pub siblings: usize,
    /// Lookups under way now.
    pub lookups_active: usize,
}
