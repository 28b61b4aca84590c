//! What `/v1/overview` says: everything on the first screen of `status`, `top` and the dashboard.
//!
//! Every field has a default, so that a viewer can read the answer of an older or newer node.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::gossip::InOut;

/// A node and its network at one moment. It is computed at most once a second and the same for all
/// viewers.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Overview {
    /// When it was computed.
    pub(crate) at: String,
    /// Whether the node can do its work.
    pub(crate) health: HealthView,
    /// This machine.
    pub(crate) machine: Machine,
    /// The network, as this node sees it.
    pub(crate) network: NetworkCounts,
    /// What goes over the UDP port.
    pub(crate) traffic: Traffic,
    /// The last lookups.
    pub(crate) lookups: LookupFigures,
    /// Writes and reads of the last minutes.
    pub(crate) commands: CommandFigures,
    /// Records that this node holds as a replica.
    pub(crate) records: RecordFigures,
    /// Fetches under way, then the last ones that ended; at most 16.
    pub(crate) transfers: Vec<Transfer>,
    /// The last things that happened, newest first; at most ten.
    pub(crate) events: Vec<Happening>,
}

/// Whether a node can do its work.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct HealthView {
    /// `ok`, `degraded` or `offline`.
    pub(crate) health: String,
    /// The same as one sentence, with what to do; equal in `status`, `top`, dashboard and `doctor`.
    pub(crate) sentence: String,
    /// Why not `ok`, the worst first.
    pub(crate) reasons: Vec<ReasonView>,
}

/// One reason of a health that is not `ok`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReasonView {
    /// One word for programs; `potluck doctor --explain CODE` tells more.
    pub(crate) code: String,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

/// This machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Machine {
    /// Where the node stands in the network.
    pub(crate) node_id: String,
    /// What its owner calls it: the label `host`, if it has one.
    pub(crate) name: String,
    /// How others reach it.
    pub(crate) contact: String,
    /// The program's version.
    pub(crate) version: String,
    /// Since the start.
    pub(crate) uptime_seconds: u64,
    /// What is known of a router before it; see `/v1/status`.
    pub(crate) reachability: String,
    /// By how many milliseconds the peers' clocks lie ahead of this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clock_offset_ms: Option<i64>,
    /// Share of one core that the process used in the last seconds, in percent.
    pub(crate) cpu_percent: f64,
    /// Memory of the process.
    pub(crate) memory_bytes: u64,
    /// What the process may take: the limit of its control group, or the machine's memory. 0: unknown.
    pub(crate) memory_limit_bytes: u64,
    /// Bytes of disk that the store takes.
    pub(crate) disk_bytes: u64,
    /// `[store] disk_bytes`. 0: no limit is set.
    pub(crate) disk_limit_bytes: u64,
    /// Bytes that the disk of the data folder still has.
    pub(crate) disk_free_bytes: u64,
    /// Files and folders here, and their bytes.
    pub(crate) files: u64,
    /// Bytes of them.
    pub(crate) file_bytes: u64,
    /// How late the latest timer of the last one to two minutes was.
    pub(crate) loop_lag_ms: f64,
}

/// The network, as one node sees it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct NetworkCounts {
    /// The network's name.
    pub(crate) name: String,
    /// Members that answer, this node included.
    pub(crate) alive: usize,
    /// Members that do not answer and have some time to be heard.
    pub(crate) suspect: usize,
    /// Dead members that are remembered.
    pub(crate) dead: usize,
    /// Members that left and are remembered.
    pub(crate) left: usize,
    /// Contacts in the routing table.
    pub(crate) peers: usize,
    /// Estimated nodes in the network, this one included.
    pub(crate) size_estimate: u64,
    /// Links of the overlay that carries messages.
    pub(crate) neighbours: usize,
}

/// What goes over the UDP port, a second, over the last seconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Traffic {
    /// Bytes.
    pub(crate) bytes_per_second: InOut,
    /// Datagrams.
    pub(crate) messages_per_second: InOut,
    /// Bytes by what they are for.
    pub(crate) purposes: Vec<Purpose>,
}

/// What bytes are for.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Purpose {
    /// `probe`, `lookup`, `record`, `repair`, `gossip`, `search`, `file`, `application` (protocols of
    /// applications) or `link` (greetings, certificates, and what was dropped unread).
    pub(crate) purpose: String,
    /// Received, bytes a second.
    pub(crate) r#in: f64,
    /// Sent, bytes a second.
    pub(crate) out: f64,
}

/// The last lookups: at most a hundred.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LookupFigures {
    /// How many the figures are of.
    pub(crate) count: usize,
    /// Half of them took no longer.
    pub(crate) p50_ms: f64,
    /// All but one in a hundred took no longer.
    pub(crate) p99_ms: f64,
    /// Of them, those that found no node or ran out of time.
    pub(crate) failed: usize,
    /// The mean number of steps.
    pub(crate) hops_mean: f64,
    /// The most steps.
    pub(crate) hops_max: u8,
    /// Their requests.
    pub(crate) requests: usize,
    /// Of these, the ones without an answer.
    pub(crate) timeouts: usize,
    /// Begun a second, over the last seconds.
    pub(crate) per_second: f64,
}

/// How long writes and reads took that began at this node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CommandFigures {
    /// The last seconds that the figures are of, 300 at most.
    pub(crate) span_seconds: u64,
    /// Writes and operations.
    pub(crate) puts: CommandTimes,
    /// Reads.
    pub(crate) gets: CommandTimes,
}

/// How long commands took: upper bounds, each at most twice the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CommandTimes {
    /// How many ended.
    pub(crate) count: u64,
    /// Half of them took no longer.
    pub(crate) p50_ms: f64,
    /// All but one in a hundred took no longer.
    pub(crate) p99_ms: f64,
}

/// Records that a node holds as a replica.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RecordFigures {
    /// Keys held.
    pub(crate) held: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Replicas that a record should have, no more than there are members.
    pub(crate) wanted: u16,
    /// Records of this node's own that end within seven days and are not renewed.
    #[serde(rename = "expiring7d")]
    pub(crate) expiring_7d: u64,
    /// Records of this node's own whose renewal is behind.
    pub(crate) renewals_late: u64,
    /// Names that the last survey asked the replicas of. The survey goes on through all names.
    pub(crate) surveyed: usize,
    /// Names that this node holds, as far as they were counted.
    pub(crate) names: usize,
    /// Of the surveyed ones, those with fewer replicas than wanted.
    pub(crate) under_replicated: usize,
    /// Names here with more than one value.
    pub(crate) conflicted: usize,
    /// Names here that end within a day.
    pub(crate) expiring_1d: usize,
    /// How long ago the survey was; absent: there was none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) surveyed_seconds_ago: Option<u64>,
    /// Some of those that need something done, the worst first; at most 8.
    pub(crate) worst: Vec<RecordTrouble>,
}

/// A record that needs something done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RecordTrouble {
    /// Its name.
    pub(crate) name: String,
    /// `underReplicated`, `conflicted` or `expiring`.
    pub(crate) state: String,
    /// What is known of it, in a sentence.
    pub(crate) why: String,
}

/// A fetch.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Transfer {
    /// What it is asked for by in `/v1/fetches`.
    pub(crate) id: String,
    /// What it is called.
    pub(crate) name: String,
    /// `running`, `done`, `failed` or `cancelled`.
    pub(crate) state: String,
    /// Bytes that are there.
    pub(crate) bytes: u64,
    /// All bytes. 0: not known yet.
    pub(crate) bytes_total: u64,
    /// Bytes a second, over the last seconds.
    pub(crate) rate: f64,
    /// Nodes that have something of it.
    pub(crate) sources: usize,
    /// Nodes that send something now.
    pub(crate) active: usize,
    /// Until it is done at this rate; absent while that cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eta_seconds: Option<u64>,
    /// What bounds it: `none`, `beginning`, `noSource`, `waiting`, `oneSource`, `cap`, `network`, `disk`, `hashing`
    /// or, for one that failed, `failed`.
    pub(crate) bound: String,
    /// The same in a sentence.
    pub(crate) why: String,
}

/// Something that happened.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Happening {
    /// When.
    pub(crate) at: String,
    /// How many seconds ago.
    pub(crate) seconds_ago: u64,
    /// `good`, `bad` or `plain`.
    pub(crate) tone: String,
    /// What.
    pub(crate) what: String,
    /// The node that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
}

/// Series over time.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct History {
    /// Between two points.
    pub(crate) step_seconds: u64,
    /// When the last point was.
    pub(crate) at: String,
    /// The series, each with equally many points, oldest first.
    pub(crate) series: Vec<Series>,
}

/// One series.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Series {
    /// Its name.
    pub(crate) name: String,
    /// In what it is given.
    pub(crate) unit: String,
    /// The points.
    pub(crate) points: Vec<f32>,
}
