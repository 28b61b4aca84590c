//! Membership, topics and search.
//!
//! Three machines that `node` drives side by side: `Topics` (an overlay of few links for each
//! topic, and broadcast trees over it), `Members` (failure detection, the member list, healing of
//! splits) and `Search` (an expanding ring over the overlay of all nodes).
//!
//! **Invariant: no message from others evicts a member.** A suspect message only makes this node
//! probe sooner; every verdict follows from its own failed probe, every refutation is signed by the
//! subject.

// What others send reaches this code: it must not stop the node (docs/security.md, "Panics").
#![cfg_attr(not(test), deny(clippy::panic, clippy::unreachable, clippy::get_unwrap))]
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod announcement;
pub mod members;
pub mod message;
pub mod search;
pub mod topics;
pub mod view;

pub use message::{Message, MessageId, TopicError, TopicName};
pub use search::Search;
pub use topics::{
    DownCounts, PeerLimits, PublishId, QueueLimits, TopicAskId, TopicRefusal, TopicServeId, Topics,
    TopicsConfig, TopicsInput, TopicsOutput, TopicsStats, ViewSizes,
};
pub use view::{Cause, Change, FoundFile, MemberEvent, MemberState, MemberView, MembersView, Mode};
