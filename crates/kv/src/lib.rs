//! Keeping records: placement, quorum, read repair, repair of replica sets, hand-over.
//!
//! A record is kept by the r nodes closest to its key. A write is one lookup, whose answers carry
//! what is there, and one round of stores; it is acknowledged when enough replicas have made it
//! durable. A read merges what replicas hold until enough agree. When neighbours come and go,
//! holders offer digests to the nodes that newly belong to a replica set, and those pull.
//!
//! The machine after DeCandia et al., "Dynamo" (2007), in an open network: replicas are strangers,
//! so actors are writers with signing keys and every answer is checked; there is no hinted
//! hand-off beside Kademlia's own, where the next closest node stores instead.
//!
//! **Invariants:** nothing is acknowledged that is not durable; nothing is merged whose signature
//! was not checked; commands, requests, offers and pulls under way are bounded.

mod answer;
mod anti_entropy;
pub mod command;
pub mod config;
mod core;
mod gather;
mod get;
mod inspect;
pub mod machine;
pub mod placement;
mod pull;
mod put;
mod repair;
mod serve;
pub mod stats;

pub use command::{
    Command, CommandError, CommandId, Held, Put, ReadDone, ReplicaState, Reply, WriteContext,
    Written,
};
pub use config::{Config, ConfigError};
pub use core::{ForeignWrite, Way};
pub use machine::{AskId, Input, Kv, LookupId, Output, ServeId};
pub use serve::Asked;
pub use stats::Stats;
