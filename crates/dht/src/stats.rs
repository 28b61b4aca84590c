//! Counters and gauges of the DHT.

use potluck_base::histogram::Histogram;

potluck_base::statistics! {
    /// Counters since the start and gauges of now.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Stats in "dht" {
        /// Lookups started.
        counter lookups_started: u64,
        /// Lookups that ended with the closest nodes found or enough for the asker.
        counter lookups_succeeded: u64,
        /// Lookups that ran out of nodes, requests or time.
        counter lookups_failed: u64,
        /// How long the lookups of commands took, whatever came of them.
        histogram(Seconds) lookup_times: Histogram as "lookup_seconds",
        /// Lookups refused because too many were under way.
        counter lookups_refused: u64,
        /// Requests of lookups sent.
        counter queries_sent: u64,
        /// Requests of lookups that got no answer.
        counter queries_timed_out: u64,
        /// Heartbeats and checks sent.
        counter probes_sent: u64,
        /// Heartbeats and checks that got no answer.
        counter probes_failed: u64,
        /// Addresses found on the local network that were asked who is there.
        counter candidates_asked: u64,
        /// Contacts dropped because they did not answer.
        counter contacts_dropped: u64,
        /// Contacts evicted because the table was full.
        counter contacts_evicted: u64,
        /// Contacts in answers that were refused for their address.
        counter contacts_refused: u64,
        /// Contacts in answers that were not asked: too many at one address or in one subnet, or at an
        /// address where no node answered a moment ago.
        counter contacts_capped: u64,
        /// Routing updates refused since their sender did not prove that it is at its address.
        counter updates_refused_unproven: u64,
        /// Routing updates refused since the node is nearer to this one than the size of the network lets
        /// expect.
        counter updates_refused_distance: u64,
        /// Routing updates refused since their sender made too many.
        counter updates_refused_rate: u64,
        /// Routing updates refused since nodes of the same subnet have all places that it may take.
        counter updates_refused_subnet: u64,
        /// Second parts of answers asked for.
        counter second_parts_asked: u64,
        /// Addresses where a contact that others named was silent.
        gauge addresses_silent: usize,
        /// Contacts in the table now.
        gauge contacts: usize,
        /// Most contacts the table may hold.
        gauge capacity: usize,
        /// Siblings now.
        gauge siblings: usize,
        /// Lookups under way now.
        gauge lookups_active: usize,
    }
}
