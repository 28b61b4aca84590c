//! The budget of one connection: the concurrent streams and request bytes of either side, and the
//! flow-control windows, which grow with the fetches on it.
//!
//! Calls have a fixed window of their own. Every outgoing fetch adds the window of a whole stream to what
//! the peer may send on the connection, so that fetches that are not read can never use up the window of
//! calls. The library announces read bytes to the peer only when they are an eighth of the whole window,
//! so the window is larger by that share. QUIC cannot take credit back, so a connection keeps as many
//! windows as it ever had fetches at once, and returns them to the node's budget when it closes. If the
//! budget is used up, an idle connection that holds a part of it is closed.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::config::{
    CONNECTION_FETCH_REQUESTS_BYTES, CONNECTION_REQUESTS_BYTES, CONNECTION_WINDOW_BYTES, permits,
};
use super::{TransportConfig, protocol};

/// The limits of each connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    calls: usize,
    fetches: usize,
    fetch_window_bytes: u64,
}

impl Limits {
    pub(super) fn new(config: &TransportConfig) -> Self {
        Self {
            calls: config.streams_per_connection as usize,
            fetches: config.fetches_per_connection as usize,
            fetch_window_bytes: config.fetch_window_bytes.into(),
        }
    }
}

/// The budget of one connection, and its use.
#[derive(Debug)]
pub(super) struct ConnectionBudget {
    connection: noq::Connection,
    fetch_window_bytes: u64,
    windows: Mutex<Windows>,
    /// Calls of the peer under way.
    pub(super) calls: Arc<Semaphore>,
    /// Bytes of the peer's large requests that are in memory.
    pub(super) requests: Arc<Semaphore>,
    /// Fetches of the peer under way.
    pub(super) served: Arc<Semaphore>,
    /// Bytes of the peer's large fetch requests that are in memory.
    pub(super) fetch_requests: Arc<Semaphore>,
    /// Fetches of ours under way.
    pub(super) fetches: Arc<Semaphore>,
    /// Streams of protocols that the peer opened.
    pub(super) protocols: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Windows {
    /// Fetches of ours under way.
    receiving: usize,
    /// What was granted for them: the most that there were at once.
    granted: Vec<OwnedSemaphorePermit>,
    /// Fetches of the peer under way.
    sending: usize,
}

impl ConnectionBudget {
    pub(super) fn new(connection: noq::Connection, limits: &Limits) -> Arc<Self> {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits));
        Arc::new(Self {
            connection,
            fetch_window_bytes: limits.fetch_window_bytes,
            windows: Mutex::default(),
            calls: semaphore(limits.calls),
            requests: semaphore(permits(CONNECTION_REQUESTS_BYTES) as usize),
            served: semaphore(limits.fetches),
            fetch_requests: semaphore(permits(CONNECTION_FETCH_REQUESTS_BYTES) as usize),
            fetches: semaphore(limits.fetches),
            protocols: protocol::budget(),
        })
    }

    /// Takes a window that was granted before, if one is free.
    pub(super) fn reuse(&self) -> bool {
        let mut windows = self.windows.lock();
        let free = windows.receiving < windows.granted.len();
        windows.receiving += usize::from(free);
        free
    }

    /// Takes one more window.
    pub(super) fn grow(&self, permit: OwnedSemaphorePermit) {
        let mut windows = self.windows.lock();
        windows.receiving += 1;
        windows.granted.push(permit);
        let bytes = self.window_bytes(windows.granted.len()) * 8 / 7;
        // Far below the most that QUIC can count.
        self.connection
            .set_receive_window(noq::VarInt::from_u64(bytes).unwrap_or(noq::VarInt::MAX));
    }

    /// A window is free again.
    pub(super) fn give_back(&self) {
        self.windows.lock().receiving -= 1;
    }

    /// Whether any window was granted.
    pub(super) fn has_grown(&self) -> bool {
        !self.windows.lock().granted.is_empty()
    }

    /// Makes room for the unacknowledged frames of one more fetch of the peer, while the answer
    /// lives.
    pub(super) fn sending(self: &Arc<Self>) -> Sending {
        self.send_to(1);
        Sending(Arc::clone(self))
    }

    fn send_to(&self, change: isize) {
        let mut windows = self.windows.lock();
        windows.sending = windows.sending.saturating_add_signed(change);
        self.connection.set_send_window(self.window_bytes(windows.sending));
    }

    fn window_bytes(&self, fetches: usize) -> u64 {
        u64::from(CONNECTION_WINDOW_BYTES) + self.fetch_window_bytes * fetches as u64
    }
}

/// Room for the frames of one fetch of the peer.
#[derive(Debug)]
pub(super) struct Sending(Arc<ConnectionBudget>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.send_to(-1);
    }
}
