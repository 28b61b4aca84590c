//! Gauges and counters of the search.

potluck_base::statistics! {
    /// Gauges of now and counters since the start.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Stats in "search" {
        /// Neighbours now.
        gauge links: usize,
        /// Neighbours whose words are known now.
        gauge filters: usize,
        /// Quotas of neighbours of now and before that are remembered now.
        gauge quotas: usize,
        /// Names that others can find here now.
        gauge names: usize,
        /// Searches for which names are looked for on disk now.
        gauge looking: usize,
        /// Searches for which names on disk were not looked for, since too many were.
        counter looks_dropped: u64,
        /// Own searches under way now.
        gauge searching: usize,
        /// Routes of searches now.
        gauge routes: usize,
        /// Searches remembered now.
        gauge seen: usize,
        /// Hits that wait for others on their way back now.
        gauge waiting: usize,
        /// Requests without an answer now.
        gauge asking: usize,
        /// Own searches begun.
        counter searches: u64,
        /// Own searches refused.
        counter searches_refused: u64,
        /// Own searches that found something at another node.
        counter searches_found: u64,
        /// Own searches that sent out walkers.
        counter searches_walked: u64,
        /// Searches sent to neighbours, own and others'.
        counter queries_sent: u64,
        /// Walkers' messages sent to neighbours.
        counter walks_sent: u64,
        /// Filters sent.
        counter filters_sent: u64,
        /// Messages with hits sent.
        counter hits_sent: u64,
        /// Searches that came, walkers included.
        counter queries_taken: u64,
        /// Searches that came again, and went no farther.
        counter duplicates: u64,
        /// Neighbours spared because their filter has no such words.
        counter spared: u64,
        /// Hits of others taken.
        counter hits_taken: u64,
        /// Requests failed or refused by others.
        counter failed: u64,
        /// Requests refused because the asker is over its quota.
        counter over_quota: u64,
        /// Searches that went no farther because their sender's quota of that is used up.
        counter unpaid: u64,
        /// Searches not sent because the neighbour's quota is used up.
        counter held_back: u64,
        /// Requests of nodes that are no neighbours.
        counter strangers: u64,
        /// Searches and hits that are not as an honest node makes them.
        counter malformed: u64,
        /// Hits that nobody here asked that neighbour for, or too late.
        counter stray_hits: u64,
        /// Hits that came twice or were beyond their limit.
        counter surplus_hits: u64,
        /// Hits dropped for lack of room.
        counter hits_dropped: u64,
        /// Searches not taken for lack of room.
        counter no_room: u64,
    }
}
