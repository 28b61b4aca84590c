//! Keeping records: placement, quorum, read repair, repair of replica sets, hand-over.

pub mod command;
pub mod config;
pub mod placement;
pub mod stats;

pub use command::{
    Command, CommandError, CommandId, Held, Put, ReadDone, Reply, ReplicaState, WriteContext,
    Written,
};
pub use config::{Config, ConfigError};
pub use stats::Stats;
