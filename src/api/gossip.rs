//! What the HTTP API says about members, topics and search.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One member.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Member {
    /// Where it stands in the network.
    pub(crate) id: String,
    /// Its UDP address.
    pub(crate) address: String,
    /// `alive`, `suspect`, `dead` or `left`, in this node's own judgement.
    pub(crate) state: String,
    /// Higher with every start of the member.
    pub(crate) incarnation: u64,
    /// What its owner calls it.
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

/// A message that is on its way.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Published {
    /// Its topic.
    pub(crate) topic: String,
    /// Its name: `<publisher's public key>-<run of the publisher>-<number>`.
    pub(crate) id: String,
    /// Neighbours in the topic that acknowledged it. With 0 it has reached no node but
    /// subscribers at this node yet.
    pub(crate) neighbours: usize,
}

/// Messages that are on their way.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PublishedLines {
    /// Their topic.
    pub(crate) topic: String,
    /// How many.
    pub(crate) messages: u64,
    /// From the first byte to the last acknowledgement.
    pub(crate) seconds: f64,
}

/// Word of messages that are missing from a stream.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Lagged {
    /// The number; null if it is unknown.
    pub(crate) missed: Option<u64>,
    /// Whether the node does not have them either: to come back behind the last message does not help.
    #[serde(default)]
    pub(crate) lost: bool,
}

/// A shared file that a search found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FoundFile {
    /// What to fetch it by.
    pub(crate) link: String,
    /// The hash of its content.
    pub(crate) id: String,
    /// What its sharer calls it.
    pub(crate) name: String,
    /// Bytes of all its files.
    pub(crate) bytes: u64,
    /// Whether it is a folder.
    pub(crate) folder: bool,
    /// Where the node that has it stands in the network.
    pub(crate) holder: String,
}

/// What a search found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Search {
    /// The words that were looked for.
    pub(crate) words: Vec<String>,
    /// What was found; the same file once for each node that has it and was heard.
    pub(crate) results: Vec<FoundFile>,
    /// How many steps of the overlay the search went.
    pub(crate) rings: u8,
}

/// What came and what went.
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
    /// Heard, or nothing speaks against them; this node is one.
    pub(crate) alive: usize,
    /// They do not answer and have some time to be heard.
    pub(crate) suspect: usize,
    /// Dead ones that are remembered.
    pub(crate) dead: usize,
    /// Ones that left and are remembered.
    pub(crate) left: usize,
}

/// The overlay of all nodes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub(crate) struct ViewSizes {
    /// Links.
    pub(crate) active: usize,
    /// Contacts kept for when links break.
    pub(crate) passive: usize,
}

/// What became of suspicions, since the start.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub(crate) struct Suspicions {
    /// Members that did not answer.
    pub(crate) raised: u64,
    /// They were heard in time.
    pub(crate) refuted: u64,
    /// They were taken for dead.
    pub(crate) confirmed: u64,
    /// They were taken for dead and heard again in the same run.
    pub(crate) r#false: u64,
}

/// What members and topics do. Counters are since the start.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GossipStats {
    /// How often a member is asked whether it is there.
    pub(crate) interval_ms: u64,
    /// Datagrams.
    pub(crate) messages_per_second: InOut,
    /// Their bytes.
    pub(crate) bytes_per_second: InOut,
    /// Copies of messages that came again.
    pub(crate) duplicates: u64,
    /// All that was recognised as known and went no farther: messages, searches, words of members.
    pub(crate) dedupe_hits: u64,
    /// Members by state.
    pub(crate) members: MemberCounts,
    /// The overlay of all nodes.
    pub(crate) views: ViewSizes,
    /// What became of suspicions.
    pub(crate) suspicions: Suspicions,
    /// The mean round trip of answered probes.
    pub(crate) probe_round_trip_ms: f64,
    /// From the first failed probe to the verdict, of the last death.
    pub(crate) last_detection_ms: f64,
    /// 0: this node is well; 8: it is so slow that it hardly judges others.
    pub(crate) health_multiplier: u8,
    /// Whether there are no verdicts because the fault seems to be here.
    pub(crate) isolated: bool,
    /// Topics this node is in, that of members included.
    pub(crate) topics: usize,
    /// Messages this node published.
    pub(crate) published: u64,
    /// Messages that came and were new.
    pub(crate) delivered: u64,
    /// Of these: asked for because they were missing.
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
