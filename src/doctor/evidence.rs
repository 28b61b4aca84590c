//! The input of the checks. Nothing here judges.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::{CommandFigures, ReasonView, Transfer};

/// All evidence. Unknown facts are `None`, and the checks that need them find nothing.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Evidence {
    /// The state of the running node; `None` while it is down.
    pub(crate) node: Option<NodeFacts>,
    /// Facts from the operating system.
    pub(crate) machine: Machine,
    /// The state of its data folder, if the node is down.
    pub(crate) folder: Option<Folder>,
}

/// A running node.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeFacts {
    pub(crate) uptime_seconds: u64,
    /// The reasons why its health is not `ok`, with the code of each.
    pub(crate) reasons: Vec<ReasonView>,
    pub(crate) members: MemberFacts,
    /// Contacts in the routing table, the most that it holds, and those that did not answer lately.
    pub(crate) contacts: usize,
    pub(crate) capacity: usize,
    pub(crate) failing: usize,
    /// Whether the router gives this node another port for each peer.
    pub(crate) mapping_varies: bool,
    pub(crate) clock_offset_ms: Option<i64>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) settings: Settings,
    pub(crate) records: RecordFacts,
    pub(crate) lookups: LookupFacts,
    pub(crate) load: Load,
    pub(crate) transfers: Vec<Transfer>,
    /// Shared files that changed since.
    pub(crate) changed_shares: usize,
    pub(crate) store: Store,
    pub(crate) certificate: Option<Certificate>,
}

/// The members, as the node judges them.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MemberFacts {
    pub(crate) alive: usize,
    pub(crate) suspect: usize,
    pub(crate) dead: usize,
    /// Members that do not answer now or died in the last minutes, with the seconds since.
    pub(crate) silent: Vec<Trouble>,
    /// Members that were suspected and heard again several times in the last minutes.
    pub(crate) flapping: Vec<Flap>,
    /// Members that joined, left or changed in the last minute.
    pub(crate) unsettled: usize,
    /// Members that were revoked in the last minutes.
    pub(crate) revoked: Vec<String>,
    /// Whether this node judges no member, since it hears too few.
    pub(crate) isolated: bool,
    /// 0: this node is on time; 8: so slow that it hardly judges others.
    pub(crate) slowness: u8,
    /// The newest versions of messages that living members speak, each with what people call them.
    pub(crate) versions: BTreeMap<u8, Vec<String>>,
}

/// A member that does not answer.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Trouble {
    /// Its name: its host label and the first digits of its id.
    pub(crate) who: String,
    pub(crate) address: String,
    /// `suspect` or `dead`.
    pub(crate) state: String,
    pub(crate) seconds: u64,
}

/// A member that repeatedly stops and resumes answering.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Flap {
    pub(crate) who: String,
    pub(crate) times: usize,
}

/// An entry point that a user configured.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) point: String,
    pub(crate) answered: bool,
    pub(crate) tries: u32,
    /// The report of a request to it just now, if it has not answered before.
    pub(crate) report: Option<String>,
    /// Whether it is a name that does not resolve.
    pub(crate) unresolved: bool,
}

/// The settings of the network and of this node.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    pub(crate) replication: u16,
    pub(crate) republish_seconds: Option<u64>,
    pub(crate) default_ttl_seconds: u64,
    pub(crate) gossip_interval_ms: u64,
    pub(crate) stabilisation_seconds: u64,
}

/// The records that this node holds, and the present answers of their replicas.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordFacts {
    pub(crate) held: u64,
    /// Names that were examined, and those with several values for longer than an application takes to merge.
    pub(crate) names: usize,
    pub(crate) conflicted: Vec<String>,
    /// Records whose replicas were asked; records with too few replicas were asked about twice.
    pub(crate) asked: Vec<Replicas>,
    pub(crate) renewals_late: u64,
    pub(crate) republish_lag_seconds: u64,
    pub(crate) expiring_7d: u64,
}

/// The answers of the replicas of one record.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replicas {
    pub(crate) name: String,
    pub(crate) wanted: usize,
    pub(crate) equal: usize,
    pub(crate) behind: usize,
    pub(crate) concurrent: usize,
    pub(crate) missing: usize,
    pub(crate) silent: usize,
    pub(crate) values: u32,
    /// The first digits of the ids of replicas that differ, each with its state.
    pub(crate) others: Vec<String>,
    /// Whether a user asked about this one.
    pub(crate) named: bool,
    /// Whether enough replicas answered that there is no value.
    pub(crate) absent: bool,
}

/// Lookups: the last hundred, and one made for this report.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LookupFacts {
    pub(crate) count: usize,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) failed: usize,
    pub(crate) hops_mean: f64,
    pub(crate) hops_max: u8,
    pub(crate) requests: usize,
    pub(crate) timeouts: usize,
    /// Writes and reads of the last minutes.
    pub(crate) commands: CommandFigures,
    /// Requests and those without an answer, by step.
    pub(crate) steps: Vec<(usize, usize)>,
    /// The median round trip to the contacts.
    pub(crate) round_trip_ms: f64,
    /// Nodes in the network, as estimated.
    pub(crate) network_size: u64,
}

/// The current load of the node: figures per second.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Load {
    pub(crate) cpu_percent: f64,
    pub(crate) messages_in: f64,
    pub(crate) messages_out: f64,
    pub(crate) lookups: f64,
    /// Commands answered busy, and lookups refused because too many were in progress.
    pub(crate) refused: f64,
    /// Reads that shared the lookup of another one, or were refused with a time to retry.
    pub(crate) coalesced: f64,
    pub(crate) reads: f64,
    /// Messages of topics received, copies that were received again, and those dropped as over their rate.
    pub(crate) gossip: f64,
    pub(crate) duplicates: f64,
    pub(crate) over_rate: f64,
    /// Requests of the last minute, and repetitions of them.
    pub(crate) requests_minute: u64,
    pub(crate) retries_minute: u64,
    /// The delay of the latest timer of the last two minutes.
    pub(crate) loop_lag_ms: f64,
    /// Operations that wait for the disk.
    pub(crate) waiting_for_disk: usize,
}

/// The store.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Store {
    pub(crate) corrupt_rows: u64,
    pub(crate) quota_refused: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) disk_limit_bytes: u64,
}

/// The certificate of an `invite` network.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Certificate {
    pub(crate) seconds_left: i64,
    /// Whether this node signs its own certificate.
    pub(crate) is_issuer: bool,
    /// Why it does not get a new one.
    pub(crate) trouble: Option<String>,
}

/// Facts from the operating system.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    pub(crate) disk_free_bytes: Option<u64>,
    pub(crate) disk_total_bytes: Option<u64>,
    pub(crate) disk_pressure_percent: Option<f64>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) memory_limit_bytes: Option<u64>,
    /// `[store] memory_bytes`.
    pub(crate) memory_wanted_bytes: Option<u64>,
    pub(crate) descriptors_max: Option<u64>,
    pub(crate) descriptors_open: Option<u64>,
    pub(crate) socket: Option<Socket>,
}

/// The UDP port.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Socket {
    pub(crate) receive_buffer_bytes: u64,
    pub(crate) receive_buffer_limit: Option<u64>,
    /// Datagrams dropped because the receive buffer was full, since the start.
    pub(crate) drops: Option<u64>,
    pub(crate) send_failed: f64,
    pub(crate) send_full: f64,
}

/// The data folder of a node that does not answer.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Folder {
    /// The URL at which the node was expected.
    pub(crate) url: String,
    pub(crate) path: String,
    pub(crate) exists: bool,
    /// The folder cannot be read or written, and why.
    pub(crate) unusable: Option<String>,
    /// Whether a process holds its lock.
    pub(crate) locked: bool,
    /// The state letter of that process, where it was found, and its id.
    pub(crate) process: Option<(u32, char)>,
    /// The answer of a program at the URL that is no Potluck node.
    pub(crate) foreign: Option<String>,
    /// The UDP port of a node that another program uses.
    pub(crate) port_taken: Option<u16>,
    /// Seconds by which the clock is behind the last write in the folder.
    pub(crate) clock_behind_seconds: u64,
    /// The network's name, if the folder belongs to one.
    pub(crate) network: Option<String>,
    /// Names that do not resolve.
    pub(crate) unresolved: Vec<String>,
}
