//! The open connections: a bounded number, one for each peer, found by key.
//!
//! A connection is used through a [`Lease`]. A connection without leases is idle; when a place is needed,
//! the least recently used idle connection is closed. Two connections to one peer exist only when both
//! sides dialed at the same time or one of them restarted. Then new calls go to the connection that both
//! sides prefer, and the other one closes with its last lease. All callers share the dial to one contact.

mod window;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use potluck_base::{Contact, PublicKey};
use tokio::sync::{Notify, Semaphore, watch};

use super::connection_budget::{ConnectionBudget, Limits};
use super::error::CloseCode;
use super::{CallError, TransportConfig};
pub(super) use window::Window;

/// Two connections to one peer that were established within this time count as a simultaneous dial.
const SIMULTANEOUS: Duration = Duration::from_secs(5);
/// Connections that one peer can have: a simultaneous dial makes two.
const CONNECTIONS_PER_PEER: usize = 2;
/// Dials under way for each place in the pool; further ones are refused.
const DIALS_PER_PLACE: usize = 4;

/// The result of a dial; `None` while it is under way.
pub(super) type DialResult = Option<Result<Arc<Lease>, CallError>>;

/// The connections of a node.
#[derive(Debug)]
pub(super) struct Pool {
    state: Mutex<State>,
    freed: Notify,
    places: usize,
    own: PublicKey,
    limits: Limits,
    /// Windows for fetches of ours, on all connections.
    windows: Arc<Semaphore>,
    /// The number of windows.
    windows_max: usize,
}

#[derive(Debug, Default)]
struct State {
    slots: BTreeMap<u64, Slot>,
    /// Places reserved for dials and handshakes.
    reserved: usize,
    next_id: u64,
    clock: u64,
    evicted: u64,
    dials: HashMap<Contact, watch::Receiver<DialResult>>,
}

#[derive(Debug)]
struct Slot {
    peer: PublicKey,
    connection: noq::Connection,
    initiator: PublicKey,
    established: Instant,
    leases: usize,
    used: u64,
    /// The connection is dead or displaced: it takes no new calls and closes with its last lease.
    retired: bool,
    connection_budget: Arc<ConnectionBudget>,
}

/// The result of [`Pool::find_or_dial`].
pub(super) enum Found {
    /// A connection to the peer.
    Open(Lease),
    /// A task is dialing.
    Dialing(watch::Receiver<DialResult>),
    /// The caller must dial and then call [`Pool::dialed`].
    Dial(watch::Sender<DialResult>, watch::Receiver<DialResult>),
    /// Too many dials are under way.
    Crowded,
}

impl Pool {
    pub(super) fn new(config: &TransportConfig, own: PublicKey) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            freed: Notify::new(),
            places: config.connections.max(1),
            own,
            limits: Limits::new(config),
            windows: Arc::new(Semaphore::new(config.fetches.max(1))),
            windows_max: config.fetches.max(1),
        })
    }

    /// A connection to `peer` that was established at `since` or later, or a dial to it.
    pub(super) fn find_or_dial(self: &Arc<Self>, peer: &Contact, since: Option<Instant>) -> Found {
        let mut state = self.state.lock();
        if let Some(id) = state.best(&peer.public_key, since)
            && let Some(lease) = self.lease_in(&mut state, id)
        {
            return Found::Open(lease);
        }
        if let Some(result) = state.dials.get(peer) {
            return Found::Dialing(result.clone());
        }
        if state.dials.len() >= self.places * DIALS_PER_PLACE {
            return Found::Crowded;
        }
        let (sender, receiver) = watch::channel(None);
        state.dials.insert(*peer, receiver.clone());
        Found::Dial(sender, receiver)
    }

    /// The dial to `peer` is over.
    pub(super) fn dialed(&self, peer: &Contact) {
        self.state.lock().dials.remove(peer);
    }

    /// Reserves a place for one more connection, if one is free or an idle connection can be closed.
    pub(super) fn reserve(self: &Arc<Self>) -> Option<Reservation> {
        let mut state = self.state.lock();
        let mut displaced = None;
        if state.slots.len() + state.reserved >= self.places {
            displaced = Some(state.evict(|_| true)?);
        }
        state.reserved += 1;
        drop(state);
        if let Some(connection) = displaced {
            connection.close(CloseCode::Evicted.into(), b"");
        }
        Some(Reservation { pool: Arc::clone(self) })
    }

    /// Waits for a place.
    pub(super) async fn reserve_soon(self: &Arc<Self>) -> Reservation {
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Register before the check, so that a place that becomes free in between is noticed.
            freed.as_mut().enable();
            if let Some(reservation) = self.reserve() {
                return reservation;
            }
            freed.await;
        }
    }

    /// Whether a new peer could get a place now.
    pub(super) fn has_room(&self) -> bool {
        let state = self.state.lock();
        state.slots.len() + state.reserved < self.places
            || state.slots.values().any(|slot| slot.leases == 0)
    }

    /// A lease on the connection `id`, unless it is closed.
    pub(super) fn lease(self: &Arc<Self>, id: u64) -> Option<Lease> {
        self.lease_in(&mut self.state.lock(), id)
    }

    /// The connection `id` takes no new calls any more.
    pub(super) fn retire(&self, id: u64) {
        if let Some(slot) = self.state.lock().slots.get_mut(&id) {
            slot.retired = true;
        }
    }

    /// The connection `id` is closed.
    pub(super) fn remove(&self, id: u64) {
        self.state.lock().slots.remove(&id);
        self.freed.notify_waiters();
    }

    /// Ends all connections with `peer`.
    pub(super) fn close_peer(&self, peer: &PublicKey) {
        let mut state = self.state.lock();
        let of_peer = state.slots.iter().filter(|(_, slot)| slot.peer == *peer);
        let ids: Vec<u64> = of_peer.map(|(id, _)| *id).collect();
        let closed: Vec<Slot> = ids.iter().filter_map(|id| state.slots.remove(id)).collect();
        drop(state);
        for slot in closed {
            slot.connection.close(CloseCode::NotAdmitted.into(), b"");
        }
        self.freed.notify_waiters();
    }

    pub(super) fn len(&self) -> usize {
        self.state.lock().slots.len()
    }

    /// Idle connections.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.state.lock().slots.values().filter(|slot| slot.leases == 0).count()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.state.lock().evicted
    }

    fn lease_in(self: &Arc<Self>, state: &mut State, id: u64) -> Option<Lease> {
        let slot = state.slots.get_mut(&id)?;
        slot.leases += 1;
        Some(Lease {
            pool: Arc::clone(self),
            id,
            established: slot.established,
            connection: slot.connection.clone(),
            connection_budget: Arc::clone(&slot.connection_budget),
        })
    }

    fn release(&self, id: u64) {
        let mut state = self.state.lock();
        state.clock += 1;
        let now = state.clock;
        let Some(slot) = state.slots.get_mut(&id) else { return };
        slot.leases -= 1;
        slot.used = now;
        if slot.leases > 0 {
            return;
        }
        let dry = if slot.retired { state.slots.remove(&id) } else { None };
        drop(state);
        if let Some(slot) = dry {
            slot.connection.close(CloseCode::Evicted.into(), b"");
        }
        self.freed.notify_waiters();
    }
}

impl State {
    /// The connection to `peer` that new calls should take.
    fn best(&self, peer: &PublicKey, since: Option<Instant>) -> Option<u64> {
        self.slots
            .iter()
            .filter(|(_, slot)| slot.peer == *peer && slot.serves(since))
            .reduce(|one, other| if other.1.is_preferred_to(one.1) { other } else { one })
            .map(|(id, _)| *id)
    }

    fn surplus(&mut self, peer: &PublicKey) -> Option<noq::Connection> {
        let mut of_peer = self.slots.iter().filter(|(_, slot)| slot.peer == *peer);
        let (&oldest, _) = of_peer.next()?;
        if of_peer.count() < CONNECTIONS_PER_PEER {
            return None;
        }
        self.slots.remove(&oldest).map(|slot| slot.connection)
    }

    /// Removes the least recently used of the idle connections that `may_go`.
    fn evict(&mut self, may_go: impl Fn(&Slot) -> bool) -> Option<noq::Connection> {
        let idle = self.slots.iter().filter(|(_, slot)| slot.leases == 0 && may_go(slot));
        let (&id, _) = idle.min_by_key(|(_, slot)| slot.used)?;
        self.evicted += 1;
        self.slots.remove(&id).map(|slot| slot.connection)
    }
}

impl Slot {
    fn serves(&self, since: Option<Instant>) -> bool {
        !self.retired
            && since.is_none_or(|since| self.established >= since)
            && self.connection.close_reason().is_none()
    }

    /// Of two simultaneous connections both sides prefer the one that the smaller key dialed. Otherwise
    /// the newer one is preferred, since the peer may have lost the older one.
    fn is_preferred_to(&self, other: &Self) -> bool {
        let newer = self.established > other.established;
        let (early, late) = if newer { (other, self) } else { (self, other) };
        let apart = late.established.duration_since(early.established);
        if apart < SIMULTANEOUS && self.initiator != other.initiator {
            self.initiator < other.initiator
        } else {
            newer
        }
    }
}

/// A place that is reserved for a connection.
#[derive(Debug)]
pub(super) struct Reservation {
    pool: Arc<Pool>,
}

impl Reservation {
    /// Adds the connection to the pool and returns the first lease on it. If the peer has too many
    /// connections, the oldest is closed: it is dead, or the peer opens connections to exhaust the pool.
    pub(super) fn fill(self, peer: PublicKey, connection: noq::Connection, dialed: bool) -> Lease {
        let pool = Arc::clone(&self.pool);
        let mut state = pool.state.lock();
        state.next_id += 1;
        state.clock += 1;
        let (id, used, established) = (state.next_id, state.clock, Instant::now());
        let connection_budget = ConnectionBudget::new(connection.clone(), &pool.limits);
        let slot = Slot {
            peer,
            connection: connection.clone(),
            initiator: if dialed { pool.own } else { peer },
            established,
            leases: 1,
            used,
            retired: false,
            connection_budget: Arc::clone(&connection_budget),
        };
        state.slots.insert(id, slot);
        let surplus = state.surplus(&peer);
        drop(state);
        if let Some(surplus) = surplus {
            surplus.close(CloseCode::Evicted.into(), b"");
        }
        Lease { pool, id, established, connection, connection_budget }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pool.state.lock().reserved -= 1;
        self.pool.freed.notify_waiters();
    }
}

/// The right to use a connection. A connection with a lease is not idle.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Arc<Pool>,
    id: u64,
    established: Instant,
    connection: noq::Connection,
    connection_budget: Arc<ConnectionBudget>,
}

impl Lease {
    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    pub(super) const fn connection(&self) -> &noq::Connection {
        &self.connection
    }

    /// The budget of the connection.
    pub(super) const fn connection_budget(&self) -> &Arc<ConnectionBudget> {
        &self.connection_budget
    }

    /// When the handshake was done.
    pub(super) const fn established(&self) -> Instant {
        self.established
    }

    /// One more lease on the same connection, unless it has left the pool.
    pub(super) fn again(&self) -> Option<Self> {
        self.pool.lease(self.id)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pool.release(self.id);
    }
}
