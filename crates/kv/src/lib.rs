//! The record store: placement, quorums, read repair, repair of replica sets, hand-over.
//!
//! The r nodes closest to a key keep its record. A write is one lookup, whose answers carry the
//! heads of the existing envelopes, and one round of store requests; it is acknowledged when enough
//! replicas have made it durable. A read merges the states of replicas until enough agree. When the
//! close group changes, holders offer digests to the nodes that newly belong to a replica set, and
//! those pull.
//!
//! The machine follows DeCandia et al., "Dynamo" (2007), in an open network: replicas are not trusted,
//! so the actors of version vectors are writers with signing keys and every answer is checked. There is
//! no hinted hand-off beside Kademlia's own, where the next closest node stores instead.
//!
//! **Invariants:** only durable writes are acknowledged; only envelopes with a verified signature are
//! merged; commands, requests, offers and pulls under way are bounded.

// What others send reaches this code: it must not stop the node (docs/security.md, "Panics").
#![cfg_attr(
    not(test),
    deny(clippy::panic, clippy::unreachable, clippy::get_unwrap, clippy::string_slice,)
)]
// A wildcard arm would drop a new variant of an event or a reply without a word.
#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

mod admissible;
mod answer;
mod apply;
mod carry_out;
mod change;
mod checks;
mod claims;
pub mod command;
pub mod config;
mod core;
mod delegate;
mod difference;
mod doors;
mod doubts;
mod equivocation;
pub mod event;
mod get;
mod inspect;
pub mod machine;
mod membership;
pub mod names;
mod names_served;
mod own_values;
mod paged_fetch;
pub mod placement;
mod pull;
mod pull_budget;
mod put;
mod refill;
mod renewal;
mod repair;
mod round;
mod seen;
mod serve;
mod shared_reads;
mod spread;
pub mod stamps;
pub mod stats;
mod storage;
mod successor;
mod surplus;
mod survey;
mod teams;
mod timing;
mod turns;
mod values;
mod watch;
mod watch_holder;

pub use change::{Change, Gap, WatchConfig};
pub use command::{
    Apply, Command, CommandError, CommandId, Held, ListNames, NamesListed, Put, ReadDone,
    ReplicaState, Reply, WriteContext, Written,
};
pub use config::{Config, ConfigError, LIFE_MIN};
pub use equivocation::Equivocation;
pub use event::{
    AskId, Delivery, ForeignWrite, Input, LookupId, Output, PeerRequest, ServeId, Settings,
};
pub use machine::Kv;
pub use stats::Stats;
