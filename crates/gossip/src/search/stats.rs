//! Gauges and counters of searches.

potluck_base::statistics! {
    /// Gauges of now and counters since the start.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Stats in "search" {
        /// Neighbours now.
        gauge links: usize,
        /// Neighbours whose filter is known now.
        gauge filters: usize,
        /// Quotas of present and former neighbours remembered now.
        gauge quotas: usize,
        /// Names that others can find here now.
        gauge names: usize,
        /// Searches that wait now for names looked up on disk.
        gauge looking: usize,
        /// Searches without a look-up of names on disk, since too many were under way.
        counter looks_dropped: u64,
        /// Own searches under way now.
        gauge searching: usize,
        /// Routes of searches now.
        gauge routes: usize,
        /// Ids of searches remembered now.
        gauge seen: usize,
        /// Hits that wait to be returned with others now.
        gauge waiting: usize,
        /// Requests without an answer so far.
        gauge asking: usize,
        /// Own searches begun.
        counter searches: u64,
        /// Own searches refused.
        counter searches_refused: u64,
        /// Own searches that found something at another node.
        counter searches_found: u64,
        /// Own searches that sent out walkers.
        counter searches_walked: u64,
        /// Searches sent to neighbours, own and relayed ones.
        counter queries_sent: u64,
        /// Walker messages sent to neighbours.
        counter walks_sent: u64,
        /// Filters sent.
        counter filters_sent: u64,
        /// Messages with hits sent.
        counter hits_sent: u64,
        /// Searches received, walkers included.
        counter queries_taken: u64,
        /// Searches received again and not relayed.
        counter duplicates: u64,
        /// Neighbours not asked because their filter lacks the words.
        counter spared: u64,
        /// Hits of others accepted.
        counter hits_taken: u64,
        /// Requests failed, or refused by others.
        counter failed: u64,
        /// Requests refused because the sender is over its quota.
        counter over_quota: u64,
        /// Searches not relayed because their sender's relay quota is used up.
        counter unpaid: u64,
        /// Searches not sent because this node's quota at the neighbour is used up.
        counter held_back: u64,
        /// Requests of nodes that are no neighbours.
        counter strangers: u64,
        /// Searches and hits that no honest node sends.
        counter malformed: u64,
        /// Hits from a neighbour that was not asked, or too late.
        counter stray_hits: u64,
        /// Hits received again or beyond their limit.
        counter surplus_hits: u64,
        /// Hits dropped for lack of room.
        counter hits_dropped: u64,
        /// Searches refused for lack of room.
        counter no_room: u64,
    }
}
