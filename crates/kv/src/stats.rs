//! Counters and gauges of record keeping.

/// Counters since the start and gauges of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Writes asked for.
    pub puts: u64,
    /// Writes that enough replicas acknowledged.
    pub puts_written: u64,
    /// Reads asked for.
    pub gets: u64,
    /// Reads that found a record.
    pub gets_found: u64,
    /// Reads that found the record absent.
    pub gets_absent: u64,
    /// Commands that failed.
    pub commands_failed: u64,
    /// Commands answered busy.
    pub commands_busy: u64,
    /// Writes that found siblings and wrote nothing.
    pub conflicts: u64,
    /// Envelopes of others made durable here.
    pub envelopes_taken: u64,
    /// Envelopes of others refused.
    pub envelopes_refused: u64,
    /// Signatures checked.
    pub signatures_checked: u64,
    /// Envelopes under this node's own key that this process did not sign.
    pub foreign_writes: u64,
    /// Own envelopes that all other replicas refused and this node took back.
    pub taken_back: u64,
    /// Answers of replicas that did not hold what they claimed.
    pub answers_bad: u64,
    /// Requests of others refused as busy.
    pub requests_busy: u64,
    /// Stale replicas that a read brought up to date.
    pub read_repairs: u64,
    /// Keys offered to nodes that newly belong to their replica sets.
    pub keys_offered: u64,
    /// Keys pulled because of an offer.
    pub keys_pulled: u64,
    /// Keys that others pulled from here.
    pub keys_served: u64,
    /// Expired envelopes dropped.
    pub expired: u64,
    /// Commands under way now.
    pub commands_active: usize,
    /// Requests of others under way now.
    pub requests_active: usize,
    /// Keys waiting to be offered now.
    pub offers_waiting: usize,
    /// Keys waiting to be pulled now.
    pub pulls_waiting: usize,
}
