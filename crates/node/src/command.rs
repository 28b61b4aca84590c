//! What the application asks of a node, and what it gets back.

use std::time::Duration;

use potluck_base::{Key, Peer};
use potluck_dht::{EntryPoint, LookupTrace, TableView};
pub use potluck_kv::{CommandError, CommandId, Put, WriteContext};
use potluck_kv::{Held, ReadDone, ReplicaState, Written};

use crate::view::{Stats, StatusView};

/// A command. Every command is answered by exactly one [`Reply`] with its id.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Write or delete a record.
    Put(Put),
    /// Read a record.
    Get {
        /// Its key.
        key: Key,
        /// Replicas that must agree; `None`: as configured.
        quorum: Option<u16>,
    },
    /// Ask every replica of a key what it holds.
    Replicas {
        /// The key.
        key: Key,
    },
    /// What this node holds of a key.
    Local {
        /// The key.
        key: Key,
    },
    /// One lookup, hop by hop.
    Trace {
        /// The key.
        key: Key,
    },
    /// The last lookups.
    Lookups,
    /// The routing table.
    Table,
    /// How a fetch of a file stands.
    Fetch(potluck_swarm::FetchId),
    /// The node's condition.
    Status,
    /// All counters and gauges.
    Stats,
    /// Adds an entry point, to be tried for ever.
    Join(EntryPoint),
    /// Hands records over and says good-bye; answered when done. Later commands fail.
    Leave,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The write is durable at enough replicas.
    Written(Written),
    /// A write without context found siblings and wrote nothing.
    Conflict(ReadDone),
    /// The read; no value means absent or deleted.
    Read(ReadDone),
    /// The replicas of a key, closest first.
    Replicas(Vec<(Peer, ReplicaState)>),
    /// What this node holds.
    Local(Held),
    /// A lookup with the closest nodes that answered.
    Traced {
        /// The account.
        trace: LookupTrace,
        /// The closest, closest first.
        closest: Vec<Peer>,
    },
    /// The last lookups, newest last.
    Lookups(Vec<LookupTrace>),
    /// The routing table.
    Table(Box<TableView>),
    /// How a fetch of a file stands; `None` if there is none of this name.
    Fetch(Option<Box<potluck_swarm::FetchView>>),
    /// The node's condition.
    Status(StatusView),
    /// All counters and gauges.
    Stats(Box<Stats>),
    /// The entry point will be tried.
    Joining,
    /// The node has left.
    Left {
        /// Keys that other nodes took over.
        handed_over: u64,
        /// How long it took.
        took: Duration,
    },
    /// Not done.
    Failed(CommandError),
}
