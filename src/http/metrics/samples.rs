//! Which numbers there are, what they are called and what they mean.

use potluck::NodeStats;
use potluck_dht::Stats as DhtStats;
use potluck_kv::Stats as KvStats;
use potluck_link::LinkStats;
use potluck_swarm::Stats as SwarmStats;

use super::{HttpCounters, Number, Sample};

/// Samples of fields of one struct, named `<prefix>_<field>`.
macro_rules! counters {
    ($to:ident, $from:expr, $prefix:literal, $($field:ident: $help:literal,)+) => {
        $($to.push(Sample {
            name: concat!($prefix, "_", stringify!($field)),
            help: $help,
            number: Number::Counter($from.$field as u64),
        });)+
    };
}

macro_rules! gauges {
    ($to:ident, $from:expr, $prefix:literal, $($field:ident: $help:literal,)+) => {
        $($to.push(Sample {
            name: concat!($prefix, "_", stringify!($field)),
            help: $help,
            number: Number::Gauge($from.$field as f64),
        });)+
    };
}

mod gossip;

/// All numbers of a node.
pub(super) fn samples(stats: &NodeStats, http: &HttpCounters) -> Vec<Sample> {
    let mut all = Vec::with_capacity(256);
    process(&mut all, stats);
    link(&mut all, &stats.node.link);
    dropped(&mut all, &stats.node.link);
    dht(&mut all, &stats.node.dht);
    kv(&mut all, &stats.node.kv);
    files(&mut all, &stats.node.swarm);
    gossip::members(&mut all, &stats.node.gossip.members);
    gossip::topics(&mut all, &stats.node.gossip.topics, &stats.drive);
    gossip::search(&mut all, &stats.node.gossip.search);
    store(&mut all, stats);
    host(&mut all, stats);
    transport(&mut all, stats);
    if let Some(issued) = &stats.issued {
        gauges!(all, issued, "issued",
            tickets: "Tickets in the book, not expired",
            tickets_cancelled: "Of these, cancelled",
            certificates: "Certificates in the book",
        );
    }
    for (name, help, value) in [
        ("http_answers_good", "HTTP answers with a status below 400", http.good()),
        ("http_answers_refused", "HTTP answers with a status of 400 to 499", http.of_class(4)),
        ("http_answers_failed", "HTTP answers with a status from 500 on", http.of_class(5)),
    ] {
        all.push(Sample { name, help, number: Number::Counter(value) });
    }
    all
}

fn process(to: &mut Vec<Sample>, stats: &NodeStats) {
    let gauge = |name, help, value| Sample { name, help, number: Number::Gauge(value) };
    let drive = &stats.drive;
    to.extend([
        gauge("uptime_seconds", "Since the start", stats.uptime.as_secs_f64()),
        gauge(
            "memory_bytes",
            "Resident memory of the process",
            stats.memory_bytes.unwrap_or(0) as f64,
        ),
        gauge("loop_lag_seconds", "How late the last timer was handled", drive.lag.as_secs_f64()),
        gauge(
            "loop_lag_max_seconds",
            "The latest timer of the last minutes",
            drive.lag_max.as_secs_f64(),
        ),
    ]);
    counters!(to, stats.node, "node",
        busy: "Inputs refused because a bounded queue was full",
    );
}

fn link(to: &mut Vec<Sample>, link: &LinkStats) {
    gauges!(to, link, "link",
        sessions: "Peers with a session",
        requests_outstanding: "Requests under way",
        hellos_outstanding: "Greetings under way",
        limits: "Subnets and addresses whose rates are remembered",
        revocations: "Revocations kept",
        outputs_queued: "Outputs waiting to be fetched",
    );
    counters!(to, link, "link",
        sessions_evicted: "Sessions forgotten for lack of room",
        datagrams_in: "Datagrams received",
        bytes_in: "Bytes received",
        datagrams_out: "Datagrams sent",
        bytes_out: "Bytes sent",
        requests_started: "Requests begun",
        retransmissions: "Further tries of requests",
        requests_answered: "Requests answered",
        requests_failed: "Requests that ran out of tries",
        requests_redirected: "Requests resent with a cookie",
        requests_in: "Requests received",
        requests_in_unproven: "Requests received from addresses not proven",
        responses_out: "Responses sent",
        retries_out: "Demands for a cookie sent",
        hellos_answered: "Greetings answered",
        hellos_greeted: "Own greetings answered",
        hellos_failed: "Own greetings that ran out of tries",
        key_agreements: "Key agreements computed",
        cookies_refused: "Cookies that were forged or expired",
        certificates_checked: "Certificates whose signature was checked",
        introductions: "Certificates sent ahead of a request",
        enrolments_in: "Requests to enroll by a ticket",
    );
}

fn dropped(to: &mut Vec<Sample>, link: &LinkStats) {
    counters!(to, link, "link",
        dropped_malformed: "Dropped: no datagram of ours",
        dropped_version: "Dropped: another format version",
        dropped_other_network: "Dropped: another network",
        dropped_own_key: "Dropped: names our own key as sender",
        dropped_unmarked: "Dropped: of somebody who does not know the network",
        dropped_not_admitted: "Dropped: of nobody with a certificate that holds",
        dropped_stranger_rate: "Dropped: over a rate limit for strangers",
        dropped_caller_rate: "Dropped: over a rate limit for callers without session",
        dropped_peer_rate: "Dropped: over the rate limit of a peer",
        dropped_bad_key: "Dropped: unsafe sender key",
        dropped_unauthentic: "Dropped: broken seal",
        dropped_replayed: "Dropped: seen before",
        dropped_undecodable: "Dropped: no message inside",
        dropped_unsolicited: "Dropped: answers to nothing",
        dropped_over_budget: "Not sent: more than an unproven address may get",
        dropped_queue_full: "Dropped: no room for the output",
    );
}

fn dht(to: &mut Vec<Sample>, dht: &DhtStats) {
    gauges!(to, dht, "dht",
        contacts: "Contacts in the routing table",
        capacity: "Most contacts the routing table may hold",
        siblings: "Closest nodes that are watched",
        lookups_active: "Lookups under way",
    );
    counters!(to, dht, "dht",
        lookups_started: "Lookups started",
        lookups_succeeded: "Lookups that found what they were for",
        lookups_failed: "Lookups that ran out of nodes, requests or time",
        lookups_refused: "Lookups refused because too many were under way",
        queries_sent: "Requests of lookups",
        queries_timed_out: "Requests of lookups without answer",
        probes_sent: "Heartbeats and checks",
        probes_failed: "Heartbeats and checks without answer",
        contacts_dropped: "Contacts dropped because they did not answer",
        contacts_evicted: "Contacts evicted because the table was full",
        contacts_refused: "Contacts in answers refused for their address",
    );
}

fn kv(to: &mut Vec<Sample>, kv: &KvStats) {
    gauges!(to, kv, "kv",
        commands_active: "Commands under way",
        requests_active: "Requests of others under way",
        offers_waiting: "Keys waiting to be offered",
        pulls_waiting: "Keys waiting to be pulled",
    );
    counters!(to, kv, "kv",
        puts: "Writes asked for",
        puts_written: "Writes that enough replicas acknowledged",
        gets: "Reads asked for",
        gets_found: "Reads that found a record",
        gets_absent: "Reads that found the record absent",
        commands_failed: "Commands that failed",
        commands_busy: "Commands answered busy",
        conflicts: "Writes that found siblings and wrote nothing",
        envelopes_taken: "Envelopes of others made durable",
        envelopes_refused: "Envelopes of others refused",
        signatures_checked: "Signatures checked",
        answers_bad: "Answers of replicas that did not hold what they claimed",
        requests_busy: "Requests of others refused as busy",
        read_repairs: "Stale replicas that a read brought up to date",
        keys_offered: "Keys offered to nodes that newly belong to their replicas",
        keys_pulled: "Keys pulled because of an offer",
        expired: "Expired envelopes dropped",
    );
}

fn files(to: &mut Vec<Sample>, swarm: &SwarmStats) {
    gauges!(to, swarm, "files",
        fetches: "Fetches under way",
        holdings: "Files and manifests offered whole",
        serving: "Streams sent to others now",
        waiting: "Streams of others that wait for their turn",
    );
    counters!(to, swarm, "files",
        completed: "Fetches completed",
        failed: "Fetches that failed",
        granules: "Granules that came and were verified",
        duplicate_bytes: "Bytes that came twice",
        corrupt_sources: "Sources that sent something that was not verified",
        refused: "Questions and streams of others refused",
    );
}

fn store(to: &mut Vec<Sample>, stats: &NodeStats) {
    let store = &stats.store.stats;
    gauges!(to, store, "store",
        records: "Keys held as a replica",
        internal_records: "Internal keys held as a replica",
        envelopes: "Envelopes held as a replica",
        own: "Envelopes of this node's own",
        record_bytes: "Bytes of all envelopes",
        row_bytes: "Bytes of all rows",
        disk_bytes: "Bytes of disk that the files take",
        memory_bytes: "Bytes of memory in cache and write buffers",
    );
    counters!(to, store, "store",
        corrupt_rows: "Damaged rows met",
        commits: "Commits",
        ops: "Operations",
    );
    to.push(Sample {
        name: "store_stopped",
        help: "1 if the store stopped after a disk error",
        number: Number::Gauge(f64::from(u8::from(stats.store.stopped.is_some()))),
    });
}

fn host(to: &mut Vec<Sample>, stats: &NodeStats) {
    counters!(to, stats.socket, "socket",
        received: "Buffers received",
        received_bytes: "Bytes received",
        sent: "Sends that the system took",
        sent_bytes: "Bytes sent",
        send_full: "Datagrams not sent because the system's buffer was full",
        send_failed: "Sends that failed for another reason",
    );
    gauges!(to, stats.drive, "loop",
        commands_active: "Commands without a reply yet",
        calls_active: "Calls of ours under way",
        inbound_active: "Calls of peers not answered yet",
        storage_kept_back: "Storage operations that wait for the disk",
    );
    counters!(to, stats.drive, "loop",
        inputs: "Inputs given to the core",
        datagrams: "Datagrams given to the core",
        receive_errors: "Errors of the socket when receiving",
        calls_refused: "Calls of ours that there was no room for",
        inbound_refused: "Calls of peers that there was no room for",
    );
}

fn transport(to: &mut Vec<Sample>, stats: &NodeStats) {
    gauges!(to, stats.transport, "calls",
        connections: "Open connections",
    );
    counters!(to, stats.transport, "calls",
        dialed: "Connections dialed",
        dials_failed: "Dials that failed",
        accepted: "Connections that peers dialed",
        refused: "Connections turned away",
        retried: "First packets asked to prove their address",
        evicted: "Idle connections closed to make room",
        calls: "Calls made",
        failures: "Calls without an answer",
        failovers: "Calls that had to dial again",
        incoming: "Requests of peers",
        incoming_refused: "Requests of peers refused",
        answers_lost: "Answers that could not be delivered",
        bytes_sent: "Bytes of requests and answers sent",
        bytes_received: "Bytes of requests and answers received",
        queue_dropped: "Datagrams dropped because a queue was full",
        malformed: "Datagrams that only looked like QUIC",
        strangers: "Datagrams from where nobody is who was admitted",
        stray: "Datagrams of no connection",
    );
}
