//! Who is alive; messages for everybody who wants them; search.
//!
//! Three machines that `node` drives beside each other: `Topics` (an overlay of few links per
//! topic, trees over it), `Members` (failure detection, the list of members, healing of splits) and
//! `Search` (an expanding ring over the overlay of all nodes).
//!
//! **Invariant: nobody's word kills anybody.** A claim of others only makes this node probe sooner;
//! every verdict ends in its own failed probe, every refutation is the subject's own signature.

pub mod members;
pub mod message;
pub mod search;
pub mod topics;
pub mod view;

pub use message::{Message, MessageId, TopicError, TopicName};
pub use search::Search;
pub use topics::{
    DownCounts, PeerLimits, PublishId, RateLimit, TopicAskId, TopicRefusal, TopicServeId, Topics,
    TopicsConfig, TopicsInput, TopicsOutput, TopicsStats, ViewSizes,
};
pub use view::{Cause, Change, FoundFile, MemberEvent, MemberState, MemberView, MembersView, Mode};
