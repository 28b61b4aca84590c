//! Requests to the drive loop, from handles of the node and from tasks beside the loop.

use std::net::SocketAddr;

use bytes::Bytes;
use potluck_gossip::{FoundFile, TopicName};
use potluck_node::{Command, Event, Reply};
use potluck_wire::search::QueryId;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};

use crate::disk::StoreView;
use crate::drive::DriveStats;
use crate::socket::{PortStats, SocketBuffers};
use crate::topics::Subscribe;
use crate::transport::TransportStats;
use crate::watches::WatchRequest;

/// One request to the drive loop.
#[derive(Debug)]
pub(crate) enum Request {
    /// A command for the core.
    Command { command: Command, reply: oneshot::Sender<Reply> },
    /// Statistics.
    Observe(Observe),
    /// An input about admission for the core.
    Admission(potluck_node::Input),
    /// An input about files for the core.
    Files(potluck_swarm::Input),
    /// A node of this network may be at this address of the local network.
    Found(SocketAddr),
    /// The names of the shared files.
    SharedNames(SharedNames),
    /// The result of a search that the core requested from the disk.
    NamesFound {
        /// The search.
        query: QueryId,
        /// The files that match.
        files: Vec<FoundFile>,
    },
    /// A message to publish.
    Publish {
        topic: TopicName,
        payload: Bytes,
        /// Whether the reply waits for the number of neighbours that took the message.
        counted: bool,
        reply: oneshot::Sender<Reply>,
        /// Given back with the reply.
        place: OwnedSemaphorePermit,
    },
    /// A subscription to a topic.
    Subscribe(Subscribe),
    /// A watch of a record.
    Watch(WatchRequest),
}

/// The ends of a handle's channels that the drive loop holds.
pub(crate) struct HandleEnds {
    pub(crate) requests: mpsc::Receiver<Request>,
    /// Requests about the condition of the node, which are answered also while the disk is stuck.
    pub(crate) looks: mpsc::Receiver<Request>,
    pub(crate) events: broadcast::Sender<Event>,
    /// The node stops when this becomes true or all senders are gone.
    pub(crate) stop: watch::Receiver<bool>,
    /// Becomes true when the node has stopped and all is closed.
    pub(crate) done: watch::Sender<bool>,
}

/// The reply channels of a request for statistics.
#[derive(Debug)]
pub(crate) struct Observe {
    /// The disk thread answers here, which takes long while it is busy.
    pub(crate) store: oneshot::Sender<StoreView>,
    /// The drive loop answers here at once.
    pub(crate) rest: oneshot::Sender<Observation>,
}

/// The statistics that the drive loop can give without waiting.
#[derive(Debug)]
pub(crate) struct Observation {
    /// The store after the disk's last batch.
    pub(crate) store: StoreView,
    pub(crate) transport: TransportStats,
    pub(crate) socket: PortStats,
    pub(crate) socket_buffers: SocketBuffers,
    pub(crate) drive: DriveStats,
}

/// The names of the shared files, as far as the core keeps them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SharedNames {
    /// All names.
    All(Vec<FoundFile>),
    /// The number of names. They are too many for the core and stay on disk.
    Elsewhere(usize),
}
