//! Converts types of the core to those of the API.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};
use potluck_base::UnixMillis;
use potluck_dht::{LookupTrace, PeerView, QueryOutcome, QueryTrace, TableView};
use potluck_kv::Equivocation;
use potluck_node::view::StatusView;
use potluck_node::{AddressSource, OwnAddress};
use potluck_record::Context;

use crate::api::{self, Bucket, CloseNode, Lookup, Peer, Query, RoutingTable};

/// Milliseconds with three decimals.
pub(super) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

/// Seconds with three decimals.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

/// The wall clock.
pub(super) fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| since.as_millis() as u64))
}

pub(super) fn peer(view: &PeerView) -> Peer {
    Peer {
        id: view.peer.id.to_string(),
        address: view.peer.contact.address.to_string(),
        rtt_ms: view.rtt.map(millis),
        state: if view.failures == 0 { "alive" } else { "suspect" }.to_owned(),
        last_seen_seconds: seconds(view.last_heard),
        verified: true,
        sibling: view.in_close_group,
    }
}

pub(super) fn routing_table(node_id: String, table: &TableView) -> RoutingTable {
    let bucket = |(index, contacts, replacements): &(u8, usize, usize)| Bucket {
        index: *index,
        contacts: *contacts,
        replacements: *replacements,
    };
    let close = |view: &PeerView| CloseNode {
        id: view.peer.id.to_string(),
        address: view.peer.contact.address.to_string(),
        rtt_ms: view.rtt.map(millis),
        last_seen_seconds: seconds(view.last_heard),
        verified: true,
    };
    RoutingTable {
        node_id,
        size: table.size,
        capacity: table.capacity,
        network_size_estimate: table.network_size_estimate,
        buckets: table.buckets.iter().map(bucket).collect(),
        closest_nodes: table.contacts.iter().map(close).collect(),
    }
}

pub(super) fn lookup(name: Option<String>, trace: &LookupTrace) -> Lookup {
    Lookup {
        name,
        key: trace.target.to_string(),
        why: trace.why.to_owned(),
        started_seconds: trace.started.as_micros() as f64 / 1e6,
        took_ms: millis(trace.took),
        outcome: trace.outcome.as_str().to_owned(),
        hops: trace.hops,
        paths: trace.queries.iter().map(|query| query.path).max().map_or(0, |path| path + 1),
        cached: false,
        queries: trace.queries.iter().map(query).collect(),
        closest: trace.closest.iter().map(ToString::to_string).collect(),
    }
}

fn query(query: &QueryTrace) -> Query {
    let (outcome, news) = match query.outcome {
        QueryOutcome::Pending => ("pending", 0),
        QueryOutcome::Answered { news } => ("answered", news),
        QueryOutcome::TimedOut => ("timed out", 0),
    };
    Query {
        id: query.peer.id.to_string(),
        address: query.peer.contact.address.to_string(),
        path: query.path,
        hop: query.hop,
        after_ms: millis(query.after),
        took_ms: query.took.map(millis),
        outcome: outcome.to_owned(),
        news,
    }
}

/// The highest version of each writer.
pub(super) fn version(context: &Context) -> BTreeMap<String, String> {
    context.iter().map(|(writer, dot)| (writer.to_string(), dot.to_string())).collect()
}

/// The proof that a writer signed two envelopes with one dot.
pub(super) fn equivocation(proof: &Equivocation) -> api::EquivocationProof {
    let heads = [&proof.lower, &proof.higher];
    api::EquivocationProof {
        writer: proof.lower.writer().to_string(),
        dot: proof.lower.dot().to_string(),
        digests: heads.map(|head| HEXLOWER.encode(head.digest())).to_vec(),
        heads_base64: heads.map(|head| BASE64.encode(&head.encode())).to_vec(),
    }
}

/// An address that this node announces.
pub(super) fn own_address(own: &OwnAddress) -> api::OwnAddress {
    let source = match own.source {
        AddressSource::Advertised => "advertised",
        AddressSource::Observed => "observed",
        AddressSource::Interface => "interface",
    };
    let (address, source) = (own.socket.to_string(), source.to_owned());
    api::OwnAddress { address, source, witnesses: own.witnesses }
}

/// Whether a router between this node and the others lets packets in, as far as is known.
pub(super) fn reachability(view: &StatusView) -> &'static str {
    let seen = |source| view.addresses.iter().any(|own| own.source == source && own.witnesses > 0);
    if seen(AddressSource::Observed) {
        "mapped"
    } else if seen(AddressSource::Interface) {
        "unmapped"
    } else if view.mapping_varies {
        "varies"
    } else {
        "unknown"
    }
}
