//! What a link counts.

use potluck_wire::Traffic;

potluck_base::statistics! {
    /// Counters since the start, and gauges of the tables. Whatever is dropped is counted here under
    /// its cause and nowhere else.
    #[derive(Debug, Clone, Default, PartialEq, Eq)]
    pub struct LinkStats in "link" {
        /// Peers with a session.
        gauge sessions: usize,
        /// Sessions forgotten for lack of room.
        counter sessions_evicted: u64,
        /// Requests under way.
        gauge requests_outstanding: usize,
        /// Greetings under way.
        gauge hellos_outstanding: usize,
        /// Subnets and addresses whose rates are remembered.
        gauge limits: usize,
        /// Revocations kept.
        gauge revocations: usize,
        /// Outputs waiting to be fetched.
        gauge outputs_queued: usize,

        /// Datagrams received, whatever became of them.
        counter datagrams_in: u64,
        /// Bytes received.
        counter(Bytes) bytes_in: u64,
        /// Datagrams handed out for sending.
        counter datagrams_out: u64,
        /// Bytes handed out for sending.
        counter(Bytes) bytes_out: u64,
        /// The same bytes by what they are for.
        parts traffic: Traffic,

        /// Requests begun.
        counter requests_started: u64,
        /// Further tries of requests after a timeout.
        counter retransmissions: u64,
        /// Further addresses of peers tried, since those before gave no answer within a moment.
        counter ways_raced: u64,
        /// Peers of which further addresses are known.
        gauge paths: usize,
        /// Requests answered.
        counter requests_answered: u64,
        /// Requests that ran out of tries.
        counter requests_failed: u64,
        /// Requests resent at once with a cookie, since the peer wanted our address proven.
        counter requests_redirected: u64,
        /// Requests resent at once in an older version, since the peer did not know the newest one.
        counter requests_lowered: u64,
        /// Requests received and handed on.
        counter requests_in: u64,
        /// Requests received from addresses not proven.
        counter requests_in_unproven: u64,
        /// Requests of a version or number that is not known here, answered as not supported.
        counter requests_unsupported: u64,
        /// Responses sent.
        counter responses_out: u64,
        /// Demands for a cookie sent, since the budget for unproven key agreements was spent.
        counter retries_out: u64,
        /// Greetings answered.
        counter hellos_answered: u64,
        /// Own greetings answered.
        counter hellos_greeted: u64,
        /// Own greetings that ran out of tries.
        counter hellos_failed: u64,
        /// Key agreements computed.
        counter key_agreements: u64,
        /// Cookies that were forged, expired or of a former life of this node.
        counter cookies_refused: u64,

        /// Dropped: no datagram of ours, or longer than any.
        counter dropped_malformed: u64,
        /// Dropped: of another format version.
        counter dropped_version: u64,
        /// Dropped: of another network.
        counter dropped_other_network: u64,
        /// Dropped: names our own key as its sender.
        counter dropped_own_key: u64,
        /// Certificates whose signature was checked.
        counter certificates_checked: u64,
        /// Proofs of puzzles that were checked and hold.
        counter puzzles_checked: u64,
        /// Proofs of puzzles that are wrong, of another key, or of an epoch not accepted now.
        counter puzzles_refused: u64,
        /// Proofs of puzzles that were not judged, since the budget of their senders was spent.
        counter puzzles_deferred: u64,
        /// Certificates sent ahead of a request that they did not fit beside.
        counter introductions: u64,
        /// Short datagrams sent ahead of a request to an address that only other nodes named.
        counter addresses_probed: u64,
        /// Requests to enroll by a ticket that may hold, handed on.
        counter enrolments_in: u64,

        /// Dropped: without the mark of who knows the network.
        counter dropped_unmarked: u64,
        /// Dropped: sealed well, but its sender has no valid certificate.
        counter dropped_not_admitted: u64,
        /// Dropped: over a rate limit for strangers.
        counter dropped_stranger_rate: u64,
        /// Dropped: over a rate limit for senders with a cookie but no session.
        counter dropped_caller_rate: u64,
        /// Dropped: over the rate limit of a proven peer.
        counter dropped_peer_rate: u64,
        /// Dropped: the sender's key is no safe curve point.
        counter dropped_bad_key: u64,
        /// Dropped: the seal does not hold.
        counter dropped_unauthentic: u64,
        /// Dropped: seen before, or too old to tell.
        counter dropped_replayed: u64,
        /// Dropped: sealed well, but the inside is no message.
        counter dropped_undecodable: u64,
        /// Dropped: an answer, demand or welcome that matches nothing asked.
        counter dropped_unsolicited: u64,
        /// Not sent: responses longer than an unproven address may get, or than a datagram.
        counter dropped_over_budget: u64,
        /// Dropped: outputs for which there was no room.
        counter dropped_queue_full: u64,
    }
}
