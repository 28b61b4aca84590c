//! The types of the HTTP API for members, topics and search.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One member.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    /// Its node id.
    pub(crate) id: String,
    /// Its UDP address.
    pub(crate) address: String,
    /// `alive`, `suspect`, `dead` or `left`, in this node's own judgement.
    pub(crate) state: String,
    /// Higher with every start of the member.
    pub(crate) incarnation: u64,
    /// Its labels, which its owner chose.
    pub(crate) labels: BTreeMap<String, String>,
    /// What it runs, as in `potluck 0.1.0`; absent while its record is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// The newest version of messages that it speaks; absent as `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) protocol: Option<u8>,
    /// The oldest version of messages that it speaks; absent as `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) protocol_min: Option<u8>,
    /// Whether it is the node that was asked.
    #[serde(rename = "self", default)]
    pub(crate) is_self: bool,
}

/// The members this node knows, itself included.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Members {
    /// `fleet`: all of the network; `open`: a bounded part of it.
    pub(crate) mode: String,
    /// In the order of their ids.
    pub(crate) members: Vec<Member>,
}

/// A published message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Published {
    /// Its topic.
    pub(crate) topic: String,
    /// Its id: `<publisher's public key>-<run of the publisher>-<number>`.
    pub(crate) id: String,
    /// Neighbours in the topic that acknowledged it. With 0 it has reached no node but
    /// subscribers at this node yet.
    pub(crate) neighbours: usize,
}

/// Published messages.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PublishedLines {
    /// Their topic.
    pub(crate) topic: String,
    /// Their number.
    pub(crate) messages: u64,
    /// From the first byte to the last acknowledgement.
    pub(crate) seconds: f64,
}

/// A notice of messages that are missing from a stream.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lagged {
    /// The number; null if it is unknown.
    pub(crate) missed: Option<u64>,
    /// Whether the node does not have them either: then reconnecting after the last message does not help.
    #[serde(default)]
    pub(crate) lost: bool,
}

/// A shared file that a search found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FoundFile {
    /// The link to fetch it by.
    pub(crate) link: String,
    /// The hash of its content.
    pub(crate) id: String,
    /// Its name, as its sharer named it.
    pub(crate) name: String,
    /// Bytes of all its files.
    pub(crate) bytes: u64,
    /// Whether it is a folder.
    pub(crate) folder: bool,
    /// The id of the node that has it.
    pub(crate) holder: String,
}

/// The result of a search.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Search {
    /// The words of the search.
    pub(crate) words: Vec<String>,
    /// The files; the same file once for each node that has it and whose answer arrived.
    pub(crate) results: Vec<FoundFile>,
    /// How many steps of the overlay the search went.
    pub(crate) rings: u8,
}

/// Received and sent amounts.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct InOut {
    /// Received.
    pub(crate) r#in: f64,
    /// Sent.
    pub(crate) out: f64,
}

/// Members by state.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub(crate) struct MemberCounts {
    /// They answer, or nothing is known against them; this node is one.
    pub(crate) alive: usize,
    /// They do not answer and have some time to refute that.
    pub(crate) suspect: usize,
    /// Dead members that are remembered.
    pub(crate) dead: usize,
    /// Members that left and are remembered.
    pub(crate) left: usize,
}

/// The overlay of all nodes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub(crate) struct ViewSizes {
    /// Links.
    pub(crate) active: usize,
    /// Contacts that are kept for the case that links break.
    pub(crate) passive: usize,
}

/// The results of suspicions, since the start.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub(crate) struct Suspicions {
    /// Members that did not answer.
    pub(crate) raised: u64,
    /// Members that were heard in time.
    pub(crate) refuted: u64,
    /// Members that were declared dead.
    pub(crate) confirmed: u64,
    /// Members that were declared dead and heard again in the same run.
    pub(crate) r#false: u64,
}

/// The state and counters of members and topics. Counters are since the start.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GossipStats {
    /// Interval between probes of a member.
    pub(crate) interval_ms: u64,
    /// Datagrams.
    pub(crate) messages_per_second: InOut,
    /// Their bytes.
    pub(crate) bytes_per_second: InOut,
    /// Copies of messages that came again.
    pub(crate) duplicates: u64,
    /// Received items that were recognised as known and not passed on: messages, searches, member messages.
    pub(crate) dedupe_hits: u64,
    /// Members by state.
    pub(crate) members: MemberCounts,
    /// The overlay of all nodes.
    pub(crate) views: ViewSizes,
    /// The results of suspicions.
    pub(crate) suspicions: Suspicions,
    /// The mean round trip of answered probes.
    pub(crate) probe_round_trip_ms: f64,
    /// Time from the first failed probe to the declaration, of the last death.
    pub(crate) last_detection_ms: f64,
    /// 0: this node is on time; 8: it is so slow that it hardly judges others.
    pub(crate) health_multiplier: u8,
    /// Whether no member is judged because this node itself seems to be cut off.
    pub(crate) isolated: bool,
    /// Topics this node is in, that of members included.
    pub(crate) topics: usize,
    /// Messages this node published.
    pub(crate) published: u64,
    /// New messages received.
    pub(crate) delivered: u64,
    /// Of these: requested because they were missing.
    pub(crate) repaired: u64,
    /// Messages that wait for neighbours now.
    pub(crate) queued_messages: usize,
    /// Subscriptions of this node's users now.
    pub(crate) subscriptions: usize,
    /// Messages that subscribers were too slow for.
    pub(crate) missed: u64,
    /// How late the latest timer of the last minutes was handled.
    pub(crate) loop_lag_max_ms: f64,
}
