//! The types of `/v1/overview`: everything on the first screen of `status`, `top` and the dashboard.
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
    /// The traffic through the UDP port.
    pub(crate) traffic: Traffic,
    /// The last lookups.
    pub(crate) lookups: LookupFigures,
    /// Writes and reads of the last minutes.
    pub(crate) commands: CommandFigures,
    /// Records that this node holds as a replica.
    pub(crate) records: RecordFigures,
    /// Fetches in progress, then the last ones that ended; at most 16.
    pub(crate) transfers: Vec<Transfer>,
    /// The last events, newest first; at most ten.
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
    /// A word for programs; `potluck doctor --explain CODE` prints its meaning.
    pub(crate) code: String,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

/// This machine.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Machine {
    /// The node's id.
    pub(crate) node_id: String,
    /// Its label `host`, if it has one.
    pub(crate) name: String,
    /// The contact under which others reach it.
    pub(crate) contact: String,
    /// The program's version.
    pub(crate) version: String,
    /// Since the start.
    pub(crate) uptime_seconds: u64,
    /// What is known of a router in front of it; see `/v1/status`.
    pub(crate) reachability: String,
    /// Milliseconds by which the peers' clocks are ahead of this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clock_offset_ms: Option<i64>,
    /// Share of one core that the process used in the last seconds, in percent.
    pub(crate) cpu_percent: f64,
    /// Memory of the process.
    pub(crate) memory_bytes: u64,
    /// Memory that the process may use: the limit of its control group, or the machine's memory. 0: unknown.
    pub(crate) memory_limit_bytes: u64,
    /// Bytes of disk that the store takes.
    pub(crate) disk_bytes: u64,
    /// `[store] disk_bytes`. 0: no limit is set.
    pub(crate) disk_limit_bytes: u64,
    /// Free bytes on the disk of the data folder.
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
    /// Members that do not answer and have some time to refute that.
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

/// The traffic through the UDP port per second, over the last seconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Traffic {
    /// Bytes.
    pub(crate) bytes_per_second: InOut,
    /// Datagrams.
    pub(crate) messages_per_second: InOut,
    /// Bytes by purpose.
    pub(crate) purposes: Vec<Purpose>,
}

/// The bytes of one purpose.
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
    /// The number of lookups.
    pub(crate) count: usize,
    /// The median duration.
    pub(crate) p50_ms: f64,
    /// The 99th percentile of the durations.
    pub(crate) p99_ms: f64,
    /// Of them, those that found no node or ran out of time.
    pub(crate) failed: usize,
    /// The mean number of steps.
    pub(crate) hops_mean: f64,
    /// The most steps.
    pub(crate) hops_max: u8,
    /// Their requests.
    pub(crate) requests: usize,
    /// Requests without an answer.
    pub(crate) timeouts: usize,
    /// Lookups started per second, over the last seconds.
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
    /// Records of this node's own whose renewal is late.
    pub(crate) renewals_late: u64,
    /// Names whose replicas the last survey asked. The survey goes through all names in turn.
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
    /// The records that need attention, the worst first; at most 8.
    pub(crate) worst: Vec<RecordTrouble>,
}

/// A record that needs attention.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RecordTrouble {
    /// Its name.
    pub(crate) name: String,
    /// `underReplicated`, `conflicted` or `expiring`.
    pub(crate) state: String,
    /// The reason, in a sentence.
    pub(crate) why: String,
}

/// A fetch.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Transfer {
    /// Its number in `/v1/fetches`.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// `running`, `done`, `failed` or `cancelled`.
    pub(crate) state: String,
    /// Bytes that are there.
    pub(crate) bytes: u64,
    /// All bytes. 0: not known yet.
    pub(crate) bytes_total: u64,
    /// Bytes a second, over the last seconds.
    pub(crate) rate: f64,
    /// Nodes that have a part of it.
    pub(crate) sources: usize,
    /// Nodes that are sending a part now.
    pub(crate) active: usize,
    /// Seconds until it is complete at this rate; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eta_seconds: Option<u64>,
    /// What limits it: `none`, `beginning`, `noSource`, `waiting`, `oneSource`, `cap`, `network`, `disk`,
    /// `hashing` or, for one that failed, `failed`.
    pub(crate) bound: String,
    /// The same in a sentence.
    pub(crate) why: String,
}

/// An event.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Happening {
    /// When.
    pub(crate) at: String,
    /// How many seconds ago.
    pub(crate) seconds_ago: u64,
    /// `good`, `bad` or `plain`.
    pub(crate) tone: String,
    /// The event.
    pub(crate) what: String,
    /// The node that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
}

/// Series over time.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct History {
    /// Seconds between two points.
    pub(crate) step_seconds: u64,
    /// When the last point was.
    pub(crate) at: String,
    /// The series, all with the same number of points, oldest first.
    pub(crate) series: Vec<Series>,
}

/// One series.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Series {
    /// Its name.
    pub(crate) name: String,
    /// Its unit.
    pub(crate) unit: String,
    /// The points.
    pub(crate) points: Vec<f32>,
}
