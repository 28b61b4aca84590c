//! What a link counts.

/// Counters since the start, and gauges of the tables. Whatever is dropped is counted here under
/// its cause and nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Gauge: peers with a session.
    pub sessions: usize,
    /// Sessions forgotten for lack of room.
    pub sessions_evicted: u64,
    /// Gauge: requests under way.
    pub requests_outstanding: usize,
    /// Gauge: greetings under way.
    pub hellos_outstanding: usize,
    /// Gauge: subnets and addresses whose rates are remembered.
    pub limits: usize,
    /// Gauge: revocations kept.
    pub revocations: usize,
    /// Gauge: outputs waiting to be fetched.
    pub outputs_queued: usize,

    /// Datagrams received, whatever became of them.
    pub datagrams_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Datagrams handed out for sending.
    pub datagrams_out: u64,
    /// Bytes handed out for sending.
    pub bytes_out: u64,

    /// Requests begun.
    pub requests_started: u64,
    /// Further tries of requests after a timeout.
    pub retransmissions: u64,
    /// Requests answered.
    pub requests_answered: u64,
    /// Requests that ran out of tries.
    pub requests_failed: u64,
    /// Requests resent at once with a cookie, since the peer wanted our address proven.
    pub requests_redirected: u64,
    /// Requests received and handed on.
    pub requests_in: u64,
    /// Of these, from addresses not proven.
    pub requests_in_unproven: u64,
    /// Requests of a version or number that is not known here, answered as not supported.
    pub requests_unsupported: u64,
    /// Responses sent.
    pub responses_out: u64,
    /// Demands for a cookie sent, since the budget for unproven key agreements was spent.
    pub retries_out: u64,
    /// Greetings answered.
    pub hellos_answered: u64,
    /// Own greetings answered.
    pub hellos_greeted: u64,
    /// Own greetings that ran out of tries.
    pub hellos_failed: u64,
    /// Key agreements computed.
    pub key_agreements: u64,
    /// Cookies in headers that were forged, expired or of a former life of this node. The datagrams
    /// were treated as if they carried none.
    pub cookies_refused: u64,

    /// Dropped: no datagram of ours, or longer than any.
    pub dropped_malformed: u64,
    /// Dropped: of another format version.
    pub dropped_version: u64,
    /// Dropped: of another network.
    pub dropped_other_network: u64,
    /// Dropped: names our own key as its sender.
    pub dropped_own_key: u64,
    /// Certificates whose signature was checked.
    pub certificates_checked: u64,
    /// Certificates sent ahead of a request that they did not fit beside.
    pub introductions: u64,
    /// Requests to enroll by a ticket that may hold, handed on.
    pub enrolments_in: u64,

    /// Dropped: without the mark of who knows the network.
    pub dropped_unmarked: u64,
    /// Dropped: sealed well, but of nobody with a certificate that holds.
    pub dropped_not_admitted: u64,
    /// Dropped: over a rate limit for strangers.
    pub dropped_stranger_rate: u64,
    /// Dropped: over a rate limit for senders with a cookie but no session.
    pub dropped_caller_rate: u64,
    /// Dropped: over the rate limit of a proven peer.
    pub dropped_peer_rate: u64,
    /// Dropped: the sender's key is no safe curve point.
    pub dropped_bad_key: u64,
    /// Dropped: the seal does not hold.
    pub dropped_unauthentic: u64,
    /// Dropped: seen before, or too old to tell.
    pub dropped_replayed: u64,
    /// Dropped: sealed well, but the inside is no message.
    pub dropped_undecodable: u64,
    /// Dropped: an answer, demand or welcome that matches nothing asked.
    pub dropped_unsolicited: u64,
    /// Not sent: responses longer than an unproven address may get, or than a datagram.
    pub dropped_over_budget: u64,
    /// Dropped: outputs for which there was no room.
    pub dropped_queue_full: u64,
}
