//! The types of the HTTP API: the server writes them, the command line reads them.
//!
//! camelCase fields, ids in lower hex, times as RFC 3339, versions as decimal strings.

mod admission;
mod files;
mod gossip;
mod keys;
mod overview;
mod reload;
mod settings;
mod teams;
mod watch;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};
use utoipa::ToSchema;

pub(crate) use admission::{
    Cancelled, IS_TICKET, Invite, InviteEntry, InviteRequest, Invites, KeyRequest, NetworkView,
    RevokeRequest, Revoked,
};
pub(crate) use files::{
    FetchRequest, FetchedFile, FileEntry, Files, FolderFile, FolderFiles, Gc, GcEntry, Job,
    JobState, Jobs, Pin, ShareRequest, SharedFile, Shares, Skipped, Source, Unshared,
};
pub(crate) use keys::{NameEntry, Names};

pub(crate) use gossip::{
    FoundFile, GossipStats, InOut, Lagged, Member, MemberCounts, Members, Published,
    PublishedLines, Search, Suspicions, ViewSizes,
};
pub(crate) use overview::{
    CommandFigures, CommandTimes, Happening, HealthView, History, LookupFigures, Machine,
    NetworkCounts, Overview, Purpose, ReasonView, RecordFigures, RecordTrouble, Series, Traffic,
    Transfer,
};
pub(crate) use watch::WatchChange;

pub(crate) use reload::{ChangedKey, LogLevels, LogView, Reloaded};
pub(crate) use settings::{NetworkSettings, Setting, SettingRequest};
pub(crate) use teams::{EquivocationProof, Team, TeamRequest, TeamWriter};

/// The header with a record's version.
pub(crate) const VERSION_HEADER: &str = "x-potluck-version";
/// The header with the context that a write must carry to supersede the reading.
pub(crate) const CONTEXT_HEADER: &str = "x-potluck-context";
/// The header with a record's kind.
pub(crate) const KIND_HEADER: &str = "x-potluck-kind";
/// The header of an answer that is older than what the node read before: `true`.
pub(crate) const OLDER_HEADER: &str = "x-potluck-older";
/// The context of a write that supersedes nothing.
pub(crate) const BLIND: &str = "none";
/// The media type of errors.
pub(crate) const PROBLEM: &str = "application/problem+json";

/// A moment in text.
pub(crate) fn rfc3339(unix_ms: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(unix_ms)).unwrap_or(UNIX_EPOCH);
    // The formatter refuses years from 10000 on, which only a hostile clock can bring.
    let mut text = String::new();
    match std::fmt::write(&mut text, format_args!("{}", humantime::format_rfc3339_millis(at))) {
        Ok(()) => text,
        Err(_) => "9999-12-31T23:59:59.999Z".to_owned(),
    }
}

/// A write that enough replicas made durable.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    /// The name as it was given; `-` in space `content`.
    pub(crate) name: String,
    /// The key, the hash of space and name.
    pub(crate) key: String,
    /// The value's version.
    pub(crate) version: String,
    /// Replicas that acknowledged.
    pub(crate) acks: u16,
    /// Replicas that the record was sent to.
    pub(crate) wanted: u16,
    /// Members known to the node.
    pub(crate) members: usize,
    /// When the value expires.
    pub(crate) expires_at: String,
    /// The replicas that acknowledged.
    #[serde(default)]
    pub(crate) replicas: Vec<String>,
}

/// One of several values under one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sibling {
    /// The bytes.
    pub(crate) value_base64: String,
    /// Its version.
    pub(crate) version: String,
    /// The public key of the node that wrote it.
    pub(crate) writer: String,
    /// The id of that node.
    #[serde(default)]
    pub(crate) node: String,
    /// When it was written, by the writer's clock.
    pub(crate) at: String,
    /// Its kind: how concurrent values are read.
    pub(crate) kind: String,
    /// When it expires.
    #[serde(default)]
    pub(crate) expires_at: String,
}

/// All values under a name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Siblings {
    /// The context with which a write supersedes them all.
    pub(crate) context: String,
    /// The values, newest first.
    pub(crate) siblings: Vec<Sibling>,
}

/// An error (RFC 9457).
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ProblemBody {
    /// `urn:potluck:error:CODE`; `potluck doctor --explain CODE` says more.
    pub(crate) r#type: String,
    /// The status in words.
    pub(crate) title: String,
    /// The status.
    pub(crate) status: u16,
    /// What happened.
    pub(crate) detail: String,
    /// One word for programs.
    pub(crate) code: String,
    /// The exit code of the command line.
    pub(crate) exit: u8,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// Seconds after which the request may be repeated, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_seconds: Option<u64>,
    /// The context with which a write supersedes the present values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
    /// The values that have to be merged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) siblings: Option<Vec<Sibling>>,
    /// Replicas that acknowledged or answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) acks: Option<u16>,
    /// Replicas that had to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) needed: Option<u16>,
    /// Replicas that were asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wanted: Option<u16>,
    /// Members known to the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<usize>,
}

/// The state of the node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// The node's id, its position in the network.
    pub(crate) node_id: String,
    /// The contact under which others reach it.
    pub(crate) contact: String,
    /// The UDP addresses that it listens on, with the ports that the system chose.
    #[serde(default)]
    pub(crate) listening: Vec<String>,
    /// All addresses that it announces to others, the preferred one first.
    #[serde(default)]
    pub(crate) addresses: Vec<OwnAddress>,
    /// What other nodes see of a router between this node and them: `unmapped` (they see it at the address of
    /// an interface; a firewall may still block unknown nodes), `mapped` (a router gives it one address for
    /// all), `varies` (a router gives it another port for each peer, so that no address can be announced),
    /// `unknown`.
    #[serde(default)]
    pub(crate) reachability: String,
    /// The network's name.
    pub(crate) network: String,
    /// Who may come in: invite, open or lab.
    #[serde(default)]
    pub(crate) admission: String,
    /// The bits of the puzzles of an `open` network.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) difficulty: Option<String>,
    /// The program's version.
    pub(crate) version: String,
    /// Since the start.
    pub(crate) uptime_seconds: u64,
    /// Keys of the configuration that were changed since the start and wait for a restart.
    #[serde(default)]
    pub(crate) restart_needed: Vec<String>,
    /// `ok`, `degraded` or `offline`.
    pub(crate) health: String,
    /// The same in a sentence, with what to do; equal in `top`, the dashboard and `doctor`.
    #[serde(default)]
    pub(crate) sentence: String,
    /// Why the node is not `ok`, one sentence each with what to do, the worst first.
    pub(crate) reasons: Vec<String>,
    /// For each of these a word for programs.
    #[serde(default)]
    pub(crate) reason_codes: Vec<String>,
    /// Milliseconds by which the clocks of the peers are ahead of this node's, the median of the peers that
    /// reported; negative if this node's is ahead. Absent before any peer reported.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) clock_offset_ms: Option<i64>,
    /// Contacts in the routing table.
    pub(crate) peers: usize,
    /// Estimated nodes in the network, this one included.
    pub(crate) network_size_estimate: u64,
    /// Keys held as a replica.
    pub(crate) records: u64,
    /// Their bytes.
    pub(crate) record_bytes: u64,
    /// Blobs held.
    pub(crate) blobs: u64,
    /// Their bytes.
    pub(crate) blob_bytes: u64,
    /// Whether more files are shared than can be announced at once, so that most are found by asking this
    /// node.
    #[serde(default)]
    pub(crate) announced_in_turn: bool,
    /// Memory of the process.
    pub(crate) memory_bytes: u64,
    /// Records written by this node that end within seven days, because their writer gave them that lifetime
    /// or they could not be renewed.
    #[serde(rename = "recordsExpiring7d", default)]
    pub(crate) records_expiring_7d: u64,
}

/// An address that this node announces.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OwnAddress {
    /// IP address and UDP port.
    pub(crate) address: String,
    /// Its origin: `advertised` by the node's owner, `observed` by peers, or of an `interface`.
    pub(crate) source: String,
    /// The number of subnets from which peers see this node there; 0 if too few do, or all are in its own
    /// network.
    pub(crate) witnesses: usize,
}

/// A node that this one talks to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Peer {
    /// Its node id.
    pub(crate) id: String,
    /// Its UDP address.
    pub(crate) address: String,
    /// The last round-trip time.
    pub(crate) rtt_ms: Option<f64>,
    /// `alive`, or `suspect` after requests without answer.
    pub(crate) state: String,
    /// How long ago it was heard.
    pub(crate) last_seen_seconds: f64,
    /// Whether it proved its key at its address; contacts in the table always did.
    pub(crate) verified: bool,
    /// Whether it is one of the closest nodes, whose liveness this node watches.
    pub(crate) sibling: bool,
}

/// The nodes that this one talks to.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Peers {
    /// Closest first.
    pub(crate) peers: Vec<Peer>,
}

/// One request of a lookup.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Query {
    /// The id of the node that was asked.
    pub(crate) id: String,
    /// Its address.
    pub(crate) address: String,
    /// The number of the path.
    pub(crate) path: u8,
    /// Number of answers that led to this node: 1 if it was in the routing table.
    pub(crate) hop: u8,
    /// Time after the lookup's start.
    pub(crate) after_ms: f64,
    /// How long the answer took; null if there was none.
    pub(crate) took_ms: Option<f64>,
    /// `answered`, `timed out` or `pending` when the lookup ended.
    pub(crate) outcome: String,
    /// Contacts in the answer that were new.
    pub(crate) news: usize,
}

/// A finished lookup.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lookup {
    /// The name looked up, if it was asked for by name.
    pub(crate) name: Option<String>,
    /// The key that was looked up.
    pub(crate) key: String,
    /// Its purpose.
    pub(crate) why: String,
    /// When it began, in seconds after the node's start.
    pub(crate) started_seconds: f64,
    /// How long it took.
    pub(crate) took_ms: f64,
    /// How it ended.
    pub(crate) outcome: String,
    /// The longest chain of answers that led to one of the closest nodes; 0 if no node was asked.
    pub(crate) hops: u8,
    /// Disjoint paths.
    pub(crate) paths: u8,
    /// Whether a cache spared requests; lookups have none yet.
    pub(crate) cached: bool,
    /// Every request, in order.
    pub(crate) queries: Vec<Query>,
    /// Ids of the closest that answered, closest first.
    pub(crate) closest: Vec<String>,
}

/// The last lookups.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lookups {
    /// Newest last.
    pub(crate) lookups: Vec<Lookup>,
}

/// One bucket of the routing table.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bucket {
    /// Leading bits that its contacts share with this node.
    pub(crate) index: u8,
    /// Contacts.
    pub(crate) contacts: usize,
    /// Nodes that wait for a place.
    pub(crate) replacements: usize,
}

/// A contact of the routing table.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CloseNode {
    /// Its node id.
    pub(crate) id: String,
    /// Its UDP address.
    pub(crate) address: String,
    /// The last round-trip time.
    pub(crate) rtt_ms: Option<f64>,
    /// How long ago it was heard.
    pub(crate) last_seen_seconds: f64,
    /// Whether it proved its key at its address.
    pub(crate) verified: bool,
}

/// The routing table.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RoutingTable {
    /// The node's id.
    pub(crate) node_id: String,
    /// Contacts.
    pub(crate) size: usize,
    /// Most contacts it may hold.
    pub(crate) capacity: usize,
    /// Estimated nodes in the network, this one included.
    pub(crate) network_size_estimate: u64,
    /// The buckets that hold contacts.
    pub(crate) buckets: Vec<Bucket>,
    /// The contacts, closest first.
    pub(crate) closest_nodes: Vec<CloseNode>,
}

/// The state of a key on one replica.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replica {
    /// Its node id.
    pub(crate) id: String,
    /// Its UDP address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) address: Option<String>,
    /// `equal`, `behind`, `ahead`, `concurrent`, `missing` or `unreachable`.
    pub(crate) state: String,
}

/// The replicas of a record, and the state of this node's own copy.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Data {
    /// The name, if it was asked for by name.
    pub(crate) name: Option<String>,
    /// The key.
    pub(crate) key: String,
    /// Whether this node holds anything.
    pub(crate) present: bool,
    /// Kind of the newest envelope.
    pub(crate) kind: Option<String>,
    /// Bytes of all envelopes.
    pub(crate) bytes: usize,
    /// Live values.
    pub(crate) siblings: usize,
    /// Per writer, the highest version.
    pub(crate) version: BTreeMap<String, String>,
    /// Seconds until the last value expires.
    pub(crate) expires_in_seconds: Option<u64>,
    /// Whether this node is one of the closest it knows.
    pub(crate) responsible: bool,
    /// The replicas, closest first.
    pub(crate) replicas: Vec<Replica>,
}

/// The version of a record on this node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    /// The name, if it was asked for by name.
    pub(crate) name: Option<String>,
    /// The key.
    pub(crate) key: String,
    /// Per writer, the highest version; empty if nothing is held.
    pub(crate) version: BTreeMap<String, String>,
    /// Live values.
    pub(crate) siblings: usize,
    /// Proofs that a writer signed two envelopes with one dot, found by this node.
    #[serde(default)]
    pub(crate) equivocations: Vec<EquivocationProof>,
    /// The replicas, closest first, if asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) replicas: Option<Vec<Replica>>,
}

/// Entry points to be tried.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct JoinRequest {
    /// Contacts, `ip:port` or `name:port`.
    pub(crate) entry: Vec<String>,
}

/// Entry points, which are retried without end.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Joining {
    /// The given entry points.
    pub(crate) entry: Vec<String>,
    /// Those that did not answer within some seconds, each with a report.
    #[serde(default)]
    pub(crate) silent: Vec<String>,
}

/// How a node left.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Left {
    /// Keys that other nodes took over.
    pub(crate) handed_over: u64,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// Whether the node can be used.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ready {
    /// Always true; otherwise the answer is a problem.
    pub(crate) ready: bool,
    /// Restrictions, one sentence each.
    pub(crate) reasons: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_whatever_the_clock_says() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert!(rfc3339(u64::MAX).ends_with('Z'));
    }
}
