//! Counters and gauges of record keeping.

use potluck_base::histogram::Histogram;

potluck_base::statistics! {
    /// Counters since the start and gauges of now.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Stats in "kv" {
        /// Writes asked for.
        counter puts: u64,
        /// Writes that enough replicas acknowledged.
        counter puts_written: u64,
        /// Operations on counters, sets and maps asked for.
        counter operations: u64,
        /// Operations that a replica was asked to carry out, for lack of room for a writer.
        counter operations_delegated: u64,
        /// Increments that were signed together with another one that waited for the same counter.
        counter operations_merged: u64,
        /// Operations that this node carried out for others.
        counter operations_carried_out: u64,
        /// Reads asked for.
        counter gets: u64,
        /// Reads that found a record.
        counter gets_found: u64,
        /// Reads that found the record absent.
        counter gets_absent: u64,
        /// How long writes and operations took, failed ones included.
        histogram(Seconds) put_times: Histogram as "kv_put_seconds",
        /// How long reads took, failed ones included.
        histogram(Seconds) get_times: Histogram as "kv_get_seconds",
        /// Reads that waited for equal ones and shared the next.
        counter gets_shared: u64,
        /// Lookups that were repeated more widely, because something spoke against what the first one found.
        counter lookups_widened: u64,
        /// Times that the nodes closest to a key lay nearer to it than chance explains.
        counter density_alarms: u64,
        /// Reads whose answer is older than what this node read before.
        counter gets_older: u64,
        /// Commands that failed.
        counter commands_failed: u64,
        /// Commands answered busy.
        counter commands_busy: u64,
        /// Writes that found siblings and wrote nothing.
        counter conflicts: u64,
        /// Envelopes of others made durable here.
        counter envelopes_taken: u64,
        /// Envelopes of others refused.
        counter envelopes_refused: u64,
        /// Envelopes refused because this node is not near their key.
        counter refused_not_near: u64,
        /// Envelopes refused because their writer is no member.
        counter refused_not_member: u64,
        /// Envelopes refused because another node than their writer sent them.
        counter refused_not_sender: u64,
        /// Envelopes refused because their writer was put out of the network.
        counter refused_revoked: u64,
        /// Records of which a source sent more than it may, and not what it had offered.
        counter pulls_over_budget: u64,
        /// Times that a source of pulls was given up because it sent too much that it had not offered.
        counter pull_sources_given_up: u64,
        /// Answers that other answers did not confirm, so that nothing was concluded from them.
        counter claims_outvoted: u64,
        /// Envelopes refused because their context names writers that this node knows nothing of.
        counter contexts_refused: u64,
        /// Signatures checked.
        counter signatures_checked: u64,
        /// Pairs of envelopes that one writer signed with one dot.
        counter equivocations: u64,
        /// Lists of the writers of teams that were read.
        counter team_lists_read: u64,
        /// Envelopes under this node's own key that this process did not sign.
        counter foreign_writes: u64,
        /// Own envelopes that all other replicas refused and this node took back.
        counter taken_back: u64,
        /// Answers of replicas that did not hold what they claimed.
        counter answers_bad: u64,
        /// Requests of others refused as busy.
        counter requests_busy: u64,
        /// Whether stores of strangers need a work stamp now: 1 if so.
        gauge stamps_needed: usize,
        /// Stores of strangers refused for lack of a work stamp.
        counter stamps_demanded: u64,
        /// Work stamps of others that were checked.
        counter stamps_checked: u64,
        /// Work stamps of others that do not hold.
        counter stamps_refused: u64,
        /// Work stamps made because others demanded them.
        counter stamps_made: u64,
        /// Stale replicas that a read brought up to date.
        counter read_repairs: u64,
        /// Store requests to a farther node because a closer one was slow.
        counter stores_hedged: u64,
        /// Keys offered to nodes that newly belong to their replica sets.
        counter keys_offered: u64,
        /// Keys pulled because of an offer.
        counter keys_pulled: u64,
        /// Requests to other replicas for a key whose row here was found damaged.
        counter heals_asked: u64,
        /// Keys that others pulled from here.
        counter keys_served: u64,
        /// Own records signed again or stored again before they ended.
        counter rewrites_done: u64,
        /// Own records that could not be renewed or stored again; each is tried again.
        counter rewrites_failed: u64,
        /// Pages of names given to others.
        counter names_served: u64,
        /// Requests of others for names refused as busy.
        counter names_busy: u64,
        /// Comparisons with other replicas begun.
        counter comparisons: u64,
        /// Comparisons in which both held the same.
        counter comparisons_equal: u64,
        /// Comparisons in which something differed.
        counter comparisons_differing: u64,
        /// Comparisons that the other replica did not answer, or not to the end.
        counter comparisons_failed: u64,
        /// Fingerprints of ranges compared after a difference had shown.
        counter fingerprints_compared: u64,
        /// Keys found to be held in another state by another replica.
        counter differences_found: u64,
        /// Changes read from the order of changes of another replica.
        counter changes_read: u64,
        /// Times that another replica did not know any more what had changed.
        counter feeds_lost: u64,
        /// Copies beyond this node's duty dropped, after all replicas had shown the same state.
        counter surplus_dropped: u64,
        /// Expired envelopes dropped.
        counter expired: u64,
        /// Operations of others whose outcome is remembered now.
        gauge operations_remembered: usize,
        /// Changes of watched keys that were reported.
        counter watch_changes: u64,
        /// Reads because of a watch.
        counter watch_reads: u64,
        /// Notifications sent to the watchers of other nodes.
        counter watch_notifications: u64,
        /// Leases of others dropped because their watchers did not answer.
        counter watch_leases_dropped: u64,
        /// Keys that this node watches now.
        gauge watches: usize,
        /// Bytes of the records that this node watches now.
        gauge watches_bytes: usize,
        /// Keys that this node watches with too few leases, so that it polls.
        gauge watches_polling: usize,
        /// Leases that other nodes have here now.
        gauge watch_leases: usize,
        /// Commands under way now.
        gauge commands_active: usize,
        /// Requests of others under way now.
        gauge requests_active: usize,
        /// Keys waiting to be offered now.
        gauge offers_waiting: usize,
        /// Keys waiting to be pulled now.
        gauge pulls_waiting: usize,
        /// Own records that end within seven days and are not renewed.
        gauge expiring_7d: u64,
        /// Own records whose half-life passed a tenth of the default life ago without a renewal.
        gauge renewals_late: u64,
        /// Seconds by which storing all own records again is behind the republish interval.
        gauge republish_lag_seconds: u64,
        /// Comparisons with other replicas under way now.
        gauge comparisons_active: usize,
        /// Certificates of writers that this node has now.
        gauge certificates: usize,
        /// Changed keys that this node remembers for others now.
        gauge changes_remembered: usize,
        /// Keys of which this node remembers the newest version that it read.
        gauge versions_seen: usize,
    }
}
