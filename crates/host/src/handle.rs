//! The handle of an application on a running node.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use potluck_base::{Addresses, Admission, Contact, Instant, Key, NodeId, PublicKey};
use potluck_gossip::{MessageId, TopicName};
use potluck_node::{Command, CommandError, Event, Reply};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::addresses::Whereabouts;
use crate::clock::Clock;
use crate::disk::StoreView;
use crate::drive::DriveStats;
use crate::files::{Files, FilesError};
use crate::folder::NetworkInfo;
use crate::membership::{IssuedStats, Membership, MembershipError};
use crate::request::{HandleEnds, Observation, Observe, Request};
use crate::socket::{PortStats, SocketBuffers};
use crate::stopped::Stopped;
use crate::topics::{PUBLISHES_MAX, Publishing, Subscribe, SubscribeError, Subscription};
use crate::transport::{
    PeerStream, ProtocolError, ProtocolHandler, Transport, TransportStats, WeakTransport,
};
use crate::watches::{Changes, WatchRequest};

/// Requests queued for the drive loop; further callers wait.
pub(crate) const REQUESTS_MAX: usize = 1024;
/// Events kept for a slow listener; beyond, it misses the oldest.
pub(crate) const EVENTS_MAX: usize = 1024;
/// Time limit of leaving, above the core's own limit.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(7);
/// Time for the notice that the node will be back.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Requests about the node's condition that are queued for the drive loop.
const LOOKS_MAX: usize = 64;
/// Age up to which a view of the store is reused, because a new one costs a look at every file.
const VIEW_AGE_MAX: Duration = Duration::from_secs(1);
/// Time to wait for a view of a store that is busy with the disk.
const VIEW_TIMEOUT: Duration = Duration::from_millis(500);

/// The constant facts about a running node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its key and the address under which others reach it.
    pub contact: Contact,
    /// Its place in the network.
    pub id: NodeId,
    /// The network it belongs to.
    pub network: NetworkInfo,
    /// Where it listens, with the port that the system chose.
    pub local_addresses: Vec<SocketAddr>,
    /// Its data folder; `None` if it keeps nothing on disk.
    pub folder: Option<PathBuf>,
    /// The identity that this start gave up for a new one, if it did.
    pub former: Option<FormerIdentity>,
}

impl NodeInfo {
    pub(crate) fn new(
        contact: Contact,
        network: &NetworkInfo,
        local_addresses: Vec<SocketAddr>,
        folder: Option<PathBuf>,
        former: Option<FormerIdentity>,
    ) -> Self {
        let id = contact.in_network(&network.id).id;
        Self { contact, id, network: network.clone(), local_addresses, folder, former }
    }
}

/// An identity that a node gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerIdentity {
    /// Own records of it that this node holds no longer as its own.
    pub records: u64,
    /// The file that keeps its key pair.
    pub kept_in: PathBuf,
}

/// A protocol that a node serves. Dropped, it is served no longer; streams that were opened go on.
#[derive(Debug)]
pub struct ServedProtocol {
    transport: WeakTransport,
    name: String,
    number: u64,
}

impl Drop for ServedProtocol {
    fn drop(&mut self) {
        if let Some(transport) = self.transport.upgrade() {
            transport.end_protocol(&self.name, self.number);
        }
    }
}

/// How leaving went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaveReport {
    /// Keys that other nodes took over.
    pub handed_over: u64,
    /// How long the hand-over took.
    pub took: Duration,
    /// Whether the hand-over came to its end. If not, the node stopped in the middle of it, and the
    /// others repair what is missing.
    pub finished: bool,
}

/// The statistics of the host around a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStats {
    /// The store.
    pub store: StoreView,
    /// Calls between nodes.
    pub transport: TransportStats,
    /// The UDP ports.
    pub socket: PortStats,
    /// The buffers that the system granted the UDP ports.
    pub socket_buffers: SocketBuffers,
    /// The drive loop.
    pub drive: DriveStats,
    /// The book of tickets and certificates, on nodes with the authority key.
    pub issued: Option<IssuedStats>,
    /// How long the node has been running.
    pub uptime: Duration,
}

/// A running node. Cheap to clone; when the last clone is dropped, the node stops at once.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    info: NodeInfo,
    clock: Clock,
    whereabouts: Whereabouts,
    requests: mpsc::Sender<Request>,
    /// Requests that change nothing and need no disk: accepted also while the disk has no room.
    looks: mpsc::Sender<Request>,
    /// Permits of messages that are handed over and not sent yet.
    publishes: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    done: watch::Receiver<bool>,
    /// Never read; the receivers of listeners are made from it.
    events: broadcast::Receiver<Event>,
    files: Option<Files>,
    membership: Option<Membership>,
    /// Weak, so that the port is free once the node has stopped.
    transport: WeakTransport,
    /// The last statistics of the book of tickets, for when the disk is too busy to give them.
    issued: Mutex<Option<IssuedStats>>,
    /// The last view of the store, for when it is too busy to give one.
    store: Mutex<LastView>,
}

/// A view of the store, and its time.
#[derive(Debug, Default)]
struct LastView {
    view: StoreView,
    at: Option<Instant>,
}

/// Whether a command changes nothing and reads nothing from the disk. These are questions about the
/// condition of the node, which it answers also while its disk is stuck.
const fn is_look(command: &Command) -> bool {
    matches!(
        command,
        Command::Status | Command::Stats | Command::Members | Command::Table | Command::Lookups
    )
}

impl Handle {
    /// `parts` builds the files and the membership from the request sender.
    pub(crate) fn new(
        info: NodeInfo,
        clock: Clock,
        whereabouts: Whereabouts,
        transport: WeakTransport,
        parts: impl FnOnce(mpsc::Sender<Request>) -> (Option<Files>, Option<Membership>),
    ) -> (Self, HandleEnds) {
        let (requests, requests_end) = mpsc::channel(REQUESTS_MAX);
        let (looks, looks_end) = mpsc::channel(LOOKS_MAX);
        let (events_end, events) = broadcast::channel(EVENTS_MAX);
        let (stop, stop_end) = watch::channel(false);
        let (done_end, done) = watch::channel(false);
        let (files, membership) = parts(requests.clone());
        let (issued, store) = (Mutex::default(), Mutex::default());
        let publishes = Arc::new(Semaphore::new(PUBLISHES_MAX));
        let shared = Shared {
            info,
            clock,
            whereabouts,
            requests,
            looks,
            publishes,
            stop,
            done,
            events,
            files,
            membership,
            transport,
            issued,
            store,
        };
        let ends = HandleEnds {
            requests: requests_end,
            looks: looks_end,
            events: events_end,
            stop: stop_end,
            done: done_end,
        };
        (Self { shared: Arc::new(shared) }, ends)
    }

    /// Serves a protocol of the application until the result is dropped: `handler` is given each stream that
    /// a peer opens under that name. A handler that holds a clone of this handle keeps the node running.
    ///
    /// # Errors
    /// [`ProtocolError`]: the name is none, it is served already, or there are too many.
    pub fn serve_protocol(
        &self,
        name: &str,
        handler: ProtocolHandler,
    ) -> Result<ServedProtocol, ProtocolError> {
        let number = self.transport()?.serve_protocol(name, handler)?;
        let transport = self.shared.transport.clone();
        Ok(ServedProtocol { transport, name: name.to_owned(), number })
    }

    /// Opens a stream of a protocol to `peer`.
    ///
    /// # Errors
    /// [`ProtocolError`]
    pub async fn open_protocol(
        &self,
        peer: &Contact,
        name: &str,
    ) -> Result<PeerStream, ProtocolError> {
        self.transport()?.open_protocol(peer, name).await
    }

    fn transport(&self) -> Result<Transport, ProtocolError> {
        self.shared.transport.upgrade().ok_or(ProtocolError::Stopped)
    }

    /// The constant facts about the node.
    #[must_use]
    pub fn info(&self) -> &NodeInfo {
        &self.shared.info
    }

    /// The node at the preferred one of the addresses that it announces now.
    #[must_use]
    pub fn contact(&self) -> Contact {
        self.shared.whereabouts.contact()
    }

    /// The node with all addresses that it announces now, the preferred one first.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.shared.whereabouts.node()
    }

    /// The node's data folder; an empty path if it stores nothing on disk.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.shared.info.folder.as_deref().unwrap_or(Path::new(""))
    }

    /// The node's files.
    ///
    /// # Errors
    /// [`FilesError::NoFolder`] if it keeps everything in memory.
    pub fn files(&self) -> Result<&Files, FilesError> {
        self.shared.files.as_ref().ok_or(FilesError::NoFolder)
    }

    /// The node's membership: tickets, certificates, the authority key.
    ///
    /// # Errors
    /// [`MembershipError::NotInvite`] if the network admits every node, [`MembershipError::IsOpen`] in an
    /// `open` one.
    pub fn membership(&self) -> Result<&Membership, MembershipError> {
        let not_here = match self.shared.info.network.admission {
            Admission::Open => MembershipError::IsOpen,
            Admission::Invite | Admission::Lab => MembershipError::NotInvite,
        };
        self.shared.membership.as_ref().ok_or(not_here)
    }

    /// Revokes the member whose node id or public key is, or begins with, `who`. Needs the authority key.
    /// Returns the public key of the member.
    ///
    /// # Errors
    /// [`MembershipError`]
    pub async fn revoke(&self, who: &str) -> Result<PublicKey, MembershipError> {
        // The member list and the routing table each may have nodes that the other one lacks.
        let mut known: Vec<PublicKey> = Vec::new();
        if let Ok(Reply::Members(view)) = self.command(Command::Members).await {
            known.extend(view.members.iter().map(|member| member.peer.contact.public_key));
        }
        if let Ok(Reply::Table(table)) = self.command(Command::Table).await {
            known.extend(table.contacts.iter().map(|view| view.peer.contact.public_key));
        }
        let (subject, revocation) = self.membership()?.revocation(who, known).await?;
        match self.command(Command::Revoke(revocation)).await {
            Ok(Reply::Revoked(revoked)) => revoked.map(drop)?,
            _ => return Err(MembershipError::Stopped),
        }
        // The member list is what other nodes learn, so success is reported only when it is updated.
        match self.command(Command::Members).await {
            Ok(Reply::Members(view)) => {
                let listed = view.members.iter().any(|member| {
                    member.peer.contact.public_key == subject && member.state.is_here()
                });
                if listed { Err(MembershipError::StillIn) } else { Ok(subject) }
            }
            _ => Err(MembershipError::Stopped),
        }
    }

    /// Cancels the ticket whose id is, or begins with, `ticket`. It admits no node any more, and the members
    /// that it admitted are revoked. Needs the authority key. Returns the ticket's public key.
    ///
    /// # Errors
    /// [`MembershipError`]. After [`MembershipError::Revocation`] the ticket is cancelled on this
    /// node, but other nodes that hold the authority key do not know it.
    pub async fn cancel_ticket(&self, ticket: &str) -> Result<PublicKey, MembershipError> {
        let (key, revocation) = self.membership()?.cancellation(ticket).await?;
        match self.command(Command::Revoke(revocation)).await {
            Ok(Reply::Revoked(told)) => Ok(told.map(|_| key)?),
            _ => Err(MembershipError::Stopped),
        }
    }

    /// Gives a command and waits for its reply. If the future is dropped, the command may or may
    /// not be carried out.
    ///
    /// # Errors
    /// [`Stopped`]
    pub async fn command(&self, command: Command) -> Result<Reply, Stopped> {
        let (reply, answer) = oneshot::channel();
        let way = if is_look(&command) { &self.shared.looks } else { &self.shared.requests };
        let request = Request::Command { command, reply };
        way.send(request).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Subscribes to the messages of a topic from now on and, with `after`, also to those after that
    /// message that the node still keeps.
    ///
    /// # Errors
    /// [`Stopped`]; the inner error says why the node does not subscribe.
    pub async fn subscribe(
        &self,
        topic: TopicName,
        after: Option<MessageId>,
    ) -> Result<Result<Subscription, SubscribeError>, Stopped> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Subscribe(Subscribe { topic, after, reply });
        self.shared.requests.send(request).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Watches a record: its present values, then those after each change.
    ///
    /// # Errors
    /// [`Stopped`]; the inner error is the reply that says why the node does not watch it.
    pub async fn watch(&self, key: Key) -> Result<Result<Changes, Reply>, Stopped> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Watch(WatchRequest { key, reply });
        self.shared.requests.send(request).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Hands a message over for publication, and waits while too many messages are pending. The returned
    /// future completes when the message was sent. Messages are published in the order in which they are
    /// handed over, even if the caller does not wait in between.
    ///
    /// # Errors
    /// [`Stopped`]
    pub async fn publish(&self, topic: TopicName, payload: Bytes) -> Result<Publishing, Stopped> {
        self.hand_over(topic, payload, false).await
    }

    /// As [`publish`](Self::publish), but the returned future completes when it is known how many
    /// neighbours took the message, or after a second.
    ///
    /// # Errors
    /// [`Stopped`]
    pub async fn publish_counted(
        &self,
        topic: TopicName,
        payload: Bytes,
    ) -> Result<Publishing, Stopped> {
        self.hand_over(topic, payload, true).await
    }

    async fn hand_over(
        &self,
        topic: TopicName,
        payload: Bytes,
        counted: bool,
    ) -> Result<Publishing, Stopped> {
        // The semaphore is fair, so the order of the messages is kept. It is never closed.
        let place = Arc::clone(&self.shared.publishes).acquire_owned().await;
        let place = place.map_err(|_| Stopped)?;
        let (reply, answer) = oneshot::channel();
        let request = Request::Publish { topic, payload, counted, reply, place };
        self.shared.requests.send(request).await.map_err(|_| Stopped)?;
        Ok(Publishing(answer))
    }

    /// The statistics of the host. While the disk is slow, those of the store are from its last batch, and
    /// the file sizes from the last time they were read.
    ///
    /// # Errors
    /// [`Stopped`]
    pub async fn stats(&self) -> Result<HostStats, Stopped> {
        let (store, store_answer) = oneshot::channel();
        let (rest, rest_answer) = oneshot::channel();
        let request = Request::Observe(Observe { store, rest });
        self.shared.looks.send(request).await.map_err(|_| Stopped)?;
        let Observation { store, transport, socket, socket_buffers, drive } =
            rest_answer.await.map_err(|_| Stopped)?;
        // A busy disk thread does not read the file sizes now: use those of the last batch.
        let fresh = timeout(VIEW_TIMEOUT, store_answer).await;
        let store = fresh.ok().and_then(Result::ok).unwrap_or(store);
        {
            let mut last = self.shared.store.lock();
            *last = LastView { view: store.clone(), at: Some(self.shared.clock.now()) };
        }
        let issued = match &self.shared.membership {
            Some(membership) => timeout(VIEW_TIMEOUT, membership.issued()).await,
            None => Ok(Err(MembershipError::NotInvite)),
        };
        let issued = {
            let mut last = self.shared.issued.lock();
            *last = issued.ok().and_then(Result::ok).or(*last);
            *last
        };
        let uptime = self.shared.clock.uptime();
        Ok(HostStats { store, transport, socket, socket_buffers, drive, issued, uptime })
    }

    /// The store, at most a second old, or older while the disk is slow.
    ///
    /// # Errors
    /// [`Stopped`]
    pub async fn store(&self) -> Result<StoreView, Stopped> {
        {
            let last = self.shared.store.lock();
            let now = self.shared.clock.now();
            if last.at.is_some_and(|at| now.since(at) < VIEW_AGE_MAX) {
                return Ok(last.view.clone());
            }
        }
        Ok(self.stats().await?.store)
    }

    /// How long the node has been running.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.shared.clock.uptime()
    }

    /// Events from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events { receiver: self.shared.events.resubscribe(), missed: 0 }
    }

    /// Hands over the node's records, announces that it leaves, and stops.
    ///
    /// # Errors
    /// [`Stopped`] if the node had stopped before.
    pub async fn leave(&self) -> Result<LeaveReport, Stopped> {
        let start = self.shared.clock.now();
        let leaving = async {
            match self.command(Command::Leave).await {
                Ok(Reply::Failed(CommandError::Leaving)) => {
                    // An earlier call of `leave` stops the node when it is done.
                    self.wait_until_stopped().await;
                    Err(Stopped)
                }
                reply => reply,
            }
        };
        let reply = timeout(LEAVE_TIMEOUT, leaving).await;
        self.stop().await;
        match reply {
            Ok(Ok(Reply::Left { handed_over, took })) => {
                Ok(LeaveReport { handed_over, took, finished: true })
            }
            Ok(Err(Stopped)) => Err(Stopped),
            Ok(Ok(_)) | Err(_) => {
                let took = self.shared.clock.now().since(start);
                Ok(LeaveReport { handed_over: 0, took, finished: false })
            }
        }
    }

    /// Tells the close group that the node will be back soon, so that it makes no replicas in the node's place
    /// for two minutes, and stops without a hand-over.
    pub async fn pause(&self) {
        // Nothing depends on the notice: without it repair begins when the node is found dead.
        let _ = timeout(PAUSE_TIMEOUT, self.command(Command::Pause)).await;
        self.stop().await;
    }

    /// Stops the node at once, without a hand-over, and waits until its store is closed and its port free.
    /// Has no effect on a node that has stopped.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        self.wait_until_stopped().await;
    }

    /// Waits until the node has stopped.
    pub async fn wait_until_stopped(&self) {
        // An error means that the drive loop has ended.
        let _ = self.shared.done.clone().wait_for(|done| *done).await;
    }
}

/// The events of a node from the call of [`Handle::events`] on.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
    missed: u64,
}

impl Events {
    /// The next event; `None` when the node has stopped. A slow listener misses the oldest events. Cancel
    /// safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => self.missed += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The number of missed events.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }
}
