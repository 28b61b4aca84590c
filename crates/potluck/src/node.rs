//! A running node.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use potluck_base::{Contact, NodeId, PublicKey};
use potluck_gossip::MembersView;
use potluck_host::socket::{Families, PortStats, SocketBuffers};
use potluck_host::transport::TransportStats;
use potluck_host::{
    DriveStats, EntryReport, FormerIdentity, Handle, HostStats, InviteTerms, IssuedStats,
    LeaveReport, Membership, NetworkInfo, StoreView,
};
use potluck_node::ask::{self, Ask};
use potluck_node::settings::{SettingChange, SettingsView};
use potluck_node::view::{Stats, StatusView};
use potluck_wire::Ticket;
use potluck_wire::puzzle::OpenInvitation;
use tokio::sync::Mutex;

use crate::health::{Facts, StoreState, Verdict, judge};
use crate::{Builder, Error, Events, Files, Kv, Result, Teams, Topics};

/// How often it is checked whether a node is ready while there are no events.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// A running node. Cheap to clone; when the last clone is dropped, the node stops at once, as if its machine
/// had been switched off. Use [`leave`](Self::leave) to hand its records over first.
#[derive(Debug, Clone)]
pub struct Node {
    handle: Handle,
    /// Locked while the list of a team is read and written back, so that no change is lost.
    list_changes: Arc<Mutex<()>>,
}

/// The state of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The node's view of the network.
    pub view: StatusView,
    /// Whether the node can do its work.
    pub health: Verdict,
    /// The state of its store.
    pub store: StoreView,
    /// Statistics of calls between nodes.
    pub transport: TransportStats,
    /// Time since the start.
    pub uptime: Duration,
    /// Bytes of memory resident for the whole process, where the system tells.
    pub memory_bytes: Option<u64>,
}

potluck_base::statistics! {
    /// All counters and gauges of a node.
    #[derive(Debug, Clone, PartialEq)]
    pub struct NodeStats in "node" {
        /// Of its core: link, routing and records.
        group node: Stats,
        /// Of its store.
        group store: StoreView,
        /// Of calls between nodes.
        group transport: TransportStats,
        /// Of its UDP port.
        group socket: PortStats,
        /// What the system granted the UDP port as buffers.
        group socket_buffers: SocketBuffers,
        /// Of its drive loop: how late it is, what waits.
        group drive: DriveStats,
        /// Of the book of tickets and certificates, where the authority key is.
        group issued: Option<IssuedStats>,
        /// How long it has been running.
        gauge(Seconds) uptime: Duration as "uptime_seconds",
        /// Bytes of memory resident for the whole process, where the system tells.
        gauge(Bytes) memory_bytes: Option<u64> as "memory_bytes",
    }
}

impl Node {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle, list_changes: Arc::default() }
    }

    /// Describes a node to start.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The records of the network.
    #[must_use]
    pub fn kv(&self) -> Kv {
        Kv::new(self.clone())
    }

    /// The teams of the network.
    #[must_use]
    pub fn teams(&self) -> Teams {
        Teams::new(self.clone())
    }

    pub(crate) fn list_changes(&self) -> &Mutex<()> {
        &self.list_changes
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The files of this node.
    #[must_use]
    pub fn files(&self) -> Files {
        Files::new(self.clone())
    }

    /// The topics of the network.
    #[must_use]
    pub fn topics(&self) -> Topics {
        Topics::new(self.handle.clone())
    }

    /// The members that this node knows, itself included, and the state of each.
    ///
    /// # Errors
    /// [`Error::Stopped`]
    pub async fn members(&self) -> Result<MembersView> {
        self.ask(ask::Members {}).await
    }

    /// Searches the network for shared files whose names contain all these words: one to eight words of at
    /// most 32 letters. A word of three letters or more also matches longer words that begin with it.
    ///
    /// # Errors
    /// [`Error::SearchRefused`] for invalid words, or for more than one search in five seconds (five at
    /// once).
    pub async fn search(
        &self,
        words: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<ask::SearchResult> {
        let words = words.into_iter().map(Into::into).collect();
        self.ask(ask::Search { words }).await
    }

    /// Sends a command and waits for its reply; the other methods of this crate use it. A command waits while
    /// too many others are in progress.
    ///
    /// # Errors
    /// [`Error::Stopped`], or why the command was not carried out.
    pub async fn ask<A: Ask>(&self, ask: A) -> Result<A::Reply> {
        Ok(A::read(self.handle.command(ask.into()).await?)?)
    }

    /// The node's public key and the address under which others reach it.
    #[must_use]
    pub fn contact(&self) -> Contact {
        self.handle.contact()
    }

    /// The node's id, its position in the network.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.handle.info().id
    }

    /// The public key that authenticates the node and signs its records.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.contact().public_key
    }

    /// The identity that the node replaced at its start, if [`new_identity`](crate::Builder::new_identity)
    /// was set and there was one.
    #[must_use]
    pub fn former_identity(&self) -> Option<&FormerIdentity> {
        self.handle.info().former.as_ref()
    }

    /// The network it belongs to.
    #[must_use]
    pub fn network(&self) -> &NetworkInfo {
        &self.handle.info().network
    }

    /// The listen addresses, with the port that the system chose.
    #[must_use]
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.handle.info().local_addresses
    }

    /// Its data folder; an empty path if it keeps everything in memory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.handle.data_dir()
    }

    /// The state of the node.
    ///
    /// # Errors
    /// [`Error::Stopped`]
    pub async fn status(&self) -> Result<Status> {
        let view = self.view().await?;
        let HostStats { store, transport, uptime, .. } = self.handle.stats().await?;
        let memory_bytes = potluck_host::resident_bytes();
        let health = judge(&self.facts(&view, &store));
        Ok(Status { view, health, store, transport, uptime, memory_bytes })
    }

    /// All counters and gauges.
    ///
    /// # Errors
    /// [`Error::Stopped`]
    pub async fn stats(&self) -> Result<NodeStats> {
        let node = self.ask(ask::Stats {}).await?;
        let HostStats { store, transport, socket, socket_buffers, drive, issued, uptime } =
            self.handle.stats().await?;
        let memory_bytes = potluck_host::resident_bytes();
        Ok(NodeStats {
            node,
            store,
            transport,
            socket,
            socket_buffers,
            drive,
            issued,
            uptime,
            memory_bytes,
        })
    }

    /// The node's view of the network: cheaper than [`status`](Self::status).
    ///
    /// # Errors
    /// [`Error::Stopped`]
    pub async fn view(&self) -> Result<StatusView> {
        self.ask(ask::Status {}).await
    }

    /// Whether the node can do its work, and if not, why and what to do: cheaper than
    /// [`status`](Self::status).
    ///
    /// # Errors
    /// [`Error::Stopped`]
    pub async fn health(&self) -> Result<Verdict> {
        let view = self.view().await?;
        let store = self.handle.store().await?;
        Ok(judge(&self.facts(&view, &store)))
    }

    /// The reports of the configured entry points that have not answered: a wrong port, a name that does not
    /// resolve, or no answer. Takes up to some seconds.
    ///
    /// # Errors
    /// [`Error::Stopped`]
    pub async fn silent_entry_points(&self) -> Result<Vec<EntryReport>> {
        let view = self.view().await?;
        let silent = view.entry_points.into_iter().filter(|point| !point.answered);
        let points: Vec<_> = silent.map(|point| point.point).collect();
        Ok(potluck_host::knock(&points, Families::of(self.local_addresses())).await)
    }

    /// The facts that [`judge`] reads.
    fn facts(&self, view: &StatusView, store: &StoreView) -> Facts {
        let membership = self.handle.membership().ok();
        let silent = view.silent_for.is_some();
        let awaited = || view.entry_points.iter().filter(|point| point.awaited);
        let known = view.members;
        Facts {
            uptime: self.handle.uptime(),
            joined: view.joined,
            peers: if silent { 0 } else { view.peers },
            peers_before: if view.joined { known } else { known.max(view.remembered) },
            alone_for: view.silent_for,
            entry_points: awaited().count(),
            entry_points_tried: awaited().filter(|point| point.tries > 0).count(),
            entry_points_answered: awaited().filter(|point| point.answered).count(),
            fallback: if view.last_resort.in_use { view.last_resort.points.len() } else { 0 },
            fallback_answered: view.last_resort.points.iter().filter(|it| it.answered).count(),
            invite: membership.is_some(),
            own_trouble: view.own_trouble,
            stamps_needed: view.stamps_needed,
            renewal_trouble: membership.and_then(Membership::trouble),
            store: match &store.stopped {
                Some(why) => StoreState::Stopped(why.clone()),
                None if store.healing => StoreState::Healing,
                None if store.full => StoreState::Full,
                None => StoreState::Ok,
            },
            clock_offset_ms: view.clock_offset_ms,
            identity_elsewhere: view.identity_elsewhere,
            renewals_late: view.renewals_late,
            republish_lag: view.republish_lag,
            leaving: view.leaving,
        }
    }

    /// The events of the node and of the members and neighbours it knows, from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.handle.events())
    }

    /// Waits until the node can be used: it has joined its network, or there is none to join, or the nodes it
    /// knew in the last run have not answered for half a minute, so that it may be the only one left. Entry
    /// points are retried without end, so this may never return: put a timeout around it.
    ///
    /// # Errors
    /// [`Error::Stopped`]
    pub async fn ready(&self) -> Result<()> {
        // Subscribed first, so that no event between the check and the wait is missed.
        let mut events = self.events();
        loop {
            if self.health().await?.is_ready() {
                return Ok(());
            }
            // The passing of time and free room on the disk also make a node ready, and neither is an event.
            let next = tokio::time::timeout(LOOK_AGAIN, events.next()).await;
            if let Ok(None) = next {
                return Err(Error::Stopped);
            }
        }
    }

    /// Makes a ticket that admits others to this `invite` network. Needs the authority key, which the node
    /// that made the network has.
    ///
    /// # Errors
    /// [`Error::Membership`]
    pub async fn invite(&self, terms: InviteTerms) -> Result<Ticket> {
        Ok(self.membership()?.invite(terms).await?)
    }

    /// Revokes the member whose node id or public key is, or begins with, `who` (at least 8 digits). Needs
    /// the authority key. Returns the public key of the revoked member.
    ///
    /// # Errors
    /// [`Error::Membership`]
    pub async fn revoke(&self, who: &str) -> Result<PublicKey> {
        Ok(self.handle.revoke(who).await?)
    }

    /// Cancels the ticket whose id ([`TicketView::id`](crate::TicketView::id)) is, or begins with, `ticket`
    /// (at least 8 digits). It admits no further node; nodes that it admitted before stay. Needs the
    /// authority key, on the node that made the ticket. Returns the ticket's whole id.
    ///
    /// # Errors
    /// [`Error::Membership`]. After
    /// [`MembershipError::Revocation`](crate::MembershipError::Revocation) the ticket is cancelled on
    /// this node, but other nodes that hold the authority key were not told.
    pub async fn cancel_ticket(&self, ticket: &str) -> Result<PublicKey> {
        Ok(self.handle.cancel_ticket(ticket).await?)
    }

    /// The node's membership of an `invite` network: tickets, certificate, authority key.
    ///
    /// # Errors
    /// [`Error::Membership`] if the network admits every node.
    pub fn membership(&self) -> Result<&Membership> {
        Ok(self.handle.membership()?)
    }

    /// What a machine needs to enter the `open` network of this node: its name and difficulty, and this node's
    /// addresses. `None` in other networks. No secret.
    #[must_use]
    pub fn open_invitation(&self) -> Option<OpenInvitation> {
        let network = self.network();
        let difficulty = network.difficulty?;
        let entry_points = vec![self.handle.addresses()];
        Some(OpenInvitation { network: network.name.clone(), difficulty, entry_points })
    }

    /// The settings of the network, and the values that this node uses.
    ///
    /// # Errors
    /// [`Error::Stopped`]
    pub async fn network_settings(&self) -> Result<SettingsView> {
        self.ask(ask::Settings {}).await
    }

    /// Changes one setting of the whole network: every member applies it within seconds, and members that are
    /// away when they are back. Needs the authority key. Returns the settings then in force.
    ///
    /// # Errors
    /// [`Error::Membership`] if this node has no authority key, or the setting contradicts another one.
    pub async fn set_network(&self, change: SettingChange) -> Result<SettingsView> {
        Ok(self.handle.set_network(change).await?)
    }

    /// Hands the node's records to others, leaves the network and stops. Takes some seconds at most.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it had stopped before.
    pub async fn leave(&self) -> Result<()> {
        self.hand_over().await.map(|_| ())
    }

    /// As [`leave`](Self::leave), with a report of the records that others took over.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it had stopped before.
    pub async fn hand_over(&self) -> Result<LeaveReport> {
        Ok(self.handle.leave().await?)
    }

    /// Stops without a hand-over, for a node that will be back soon: the nodes around it are told, and make
    /// no replicas in its place for two minutes. When this returns, the store is closed and the port free.
    ///
    /// # Errors
    /// None in this version; a node that has stopped before does no harm.
    pub async fn pause(&self) -> Result<()> {
        self.handle.pause().await;
        Ok(())
    }

    /// Stops at once, without a hand-over and without telling others. When this returns, the store is closed
    /// and the port free.
    ///
    /// # Errors
    /// None in this version; a node that has stopped before does no harm.
    pub async fn stop(&self) -> Result<()> {
        self.handle.stop().await;
        Ok(())
    }

    /// Waits until the node has stopped, for any reason.
    pub async fn stopped(&self) {
        self.handle.wait_until_stopped().await;
    }
}
