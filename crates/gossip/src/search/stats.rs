//! Gauges and counters of the search.

/// Gauges of now and counters since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Neighbours now, at most [`super::LINKS_MAX`].
    pub links: usize,
    /// Neighbours whose words are known now.
    pub filters: usize,
    /// Quotas of neighbours of now and before remembered, at most 64.
    pub quotas: usize,
    /// Names that others can find here now, at most [`super::NAMES_MAX`].
    pub names: usize,
    /// Own searches under way now, at most 16.
    pub searching: usize,
    /// Routes of searches now, at most [`super::ROUTES_MAX`].
    pub routes: usize,
    /// Searches remembered now, at most [`super::SEEN_MAX`].
    pub seen: usize,
    /// Hits that wait for others on their way back now, at most [`super::WAITING_MAX`].
    pub waiting: usize,
    /// Requests without an answer now, at most 4,096.
    pub asking: usize,
    /// Own searches begun.
    pub searches: u64,
    /// Own searches refused.
    pub searches_refused: u64,
    /// Own searches that found something at another node.
    pub searches_found: u64,
    /// Own searches that sent out walkers.
    pub searches_walked: u64,
    /// Searches sent to neighbours, own and others'.
    pub queries_sent: u64,
    /// Walkers' messages sent to neighbours.
    pub walks_sent: u64,
    /// Filters sent.
    pub filters_sent: u64,
    /// Messages with hits sent.
    pub hits_sent: u64,
    /// Searches that came, walkers included.
    pub queries_taken: u64,
    /// Searches that came again, and went no farther.
    pub duplicates: u64,
    /// Neighbours spared because their filter has no such words.
    pub spared: u64,
    /// Hits of others taken.
    pub hits_taken: u64,
    /// Requests failed or refused by others.
    pub failed: u64,
    /// Requests refused because the asker is over its quota.
    pub over_quota: u64,
    /// Searches that went no farther because their sender's quota of that is used up.
    pub unpaid: u64,
    /// Searches not sent because the neighbour's quota is used up.
    pub held_back: u64,
    /// Requests of nodes that are no neighbours.
    pub strangers: u64,
    /// Searches and hits that are not as an honest node makes them.
    pub malformed: u64,
    /// Hits that nobody here asked that neighbour for, or too late.
    pub stray_hits: u64,
    /// Hits that came twice or were beyond their limit.
    pub surplus_hits: u64,
    /// Hits dropped for lack of room.
    pub hits_dropped: u64,
    /// Searches not taken for lack of room.
    pub no_room: u64,
}
