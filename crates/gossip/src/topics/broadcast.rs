//! Broadcast over the links of one topic: trees, repair, and delivery in order.

pub(super) mod eager_trees;
pub(super) mod flood;
pub(super) mod message_cache;
pub(super) mod missing;
pub(super) mod order;
pub(super) mod parent;
pub(super) mod peer_queue;
mod plumtree;
pub(super) mod receipt;
pub(super) mod seen;
pub(super) mod subscription;
