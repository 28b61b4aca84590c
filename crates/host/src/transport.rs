//! Calls between nodes: one request, one answer, over QUIC on the shared UDP port.
//!
//! A [`Transport`] keeps a bounded pool of connections, one a peer, in which both sides prove their
//! node key; a call is one bidirectional stream on it. The QUIC library is an implementation detail:
//! nothing of it shows here, so that another one can take its place.
//!
//! What costs memory is bounded: connections, streams, handshakes, windows, queues, half-read
//! requests, unread answers (see [`TransportConfig`] and the constants beside it). An endpoint is
//! made on the first call or the first packet that could begin a connection.
//!
//! **Invariants:** a request is sent only to the key it is meant for; an answer comes only from it;
//! a stream that breaks off is never taken for a complete message. A call that finds its connection
//! dead is made again on a fresh one, once: a request may arrive twice.

mod accept;
mod call;
mod config;
mod counters;
mod endpoint;
mod error;
mod gate;
mod incoming;
mod pool;
mod screen;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Identity, NetworkId};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

pub use config::{MESSAGE_BYTES_MAX, TransportConfig};
pub use counters::TransportStats;
pub use error::CallError;
pub use incoming::{IncomingCall, Responder};

use crate::socket::{PortSocket, QuicSide, Segment};
use counters::Counters;
use endpoint::{EndpointState, LastingKeys, quic_config};
use error::CloseCode;
use gate::Gate;
use incoming::{Desk, permits};
use pool::Pool;
use screen::{Look, Screen};
use tls::Tls;

/// How long closing may take to tell every peer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The calls of one node on one UDP port. Cheap to clone; when the last clone is dropped, all
/// connections close.
#[derive(Debug, Clone)]
pub struct Transport {
    handle: Arc<Handle>,
}

/// Closes the transport with its last clone: the tasks inside hold the rest.
#[derive(Debug)]
struct Handle {
    inner: Arc<Inner>,
    requests: tokio::sync::Mutex<mpsc::Receiver<IncomingCall>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.shut();
    }
}

/// What the tasks of a transport share.
#[derive(Debug)]
struct Inner {
    config: TransportConfig,
    socket: Arc<PortSocket>,
    quic: Arc<QuicSide>,
    screen: Screen,
    tls: Tls,
    keys: LastingKeys,
    quic_config: Arc<noq::TransportConfig>,
    endpoint: Mutex<EndpointState>,
    pool: Arc<Pool>,
    gate: Arc<Gate>,
    desk: Arc<Desk>,
    requests: Arc<Semaphore>,
    incoming: mpsc::Sender<IncomingCall>,
    closed: watch::Sender<bool>,
}

impl Transport {
    /// A transport for `identity` in `network` on `socket`. It does nothing until the first call
    /// or packet; whoever receives from the socket must give it the QUIC segments
    /// ([`Transport::on_quic`]).
    #[must_use]
    pub fn new(
        identity: &Identity,
        network: &NetworkId,
        socket: Arc<PortSocket>,
        config: TransportConfig,
    ) -> Self {
        let keys = LastingKeys::new(&identity.seed());
        let (incoming, requests) = mpsc::channel(config.incoming_queue.max(1));
        let desk = Desk {
            counters: Arc::new(Counters::default()),
            answers: Arc::new(Semaphore::new(permits(config::ANSWERS_BYTES) as usize)),
            timeout: config.call_timeout,
        };
        let inner = Inner {
            socket,
            quic: Arc::new(QuicSide::new(config.queue_bytes)),
            screen: Screen::new(keys.ids()),
            tls: Tls::new(identity, network),
            keys,
            quic_config: quic_config(&config),
            endpoint: Mutex::new(EndpointState::None),
            pool: Pool::new(config.connections, identity.public_key()),
            gate: Gate::new(config.handshakes, config.handshakes_per_source),
            desk: Arc::new(desk),
            requests: Arc::new(Semaphore::new(permits(config::REQUESTS_BYTES) as usize)),
            incoming,
            closed: watch::Sender::new(false),
            config,
        };
        let requests = tokio::sync::Mutex::new(requests);
        Self { handle: Arc::new(Handle { inner: Arc::new(inner), requests }) }
    }

    /// Asks `peer` and waits for its answer, at most for the call timeout. Dropping the future
    /// gives the call up. A connection to the peer's key is used wherever it leads to; only if
    /// there is none, or it is dead, the contact's address is dialed.
    ///
    /// # Errors
    /// [`CallError`], each kind of which says what the peer may have done and what to do.
    pub async fn call(&self, peer: &Contact, request: Bytes) -> Result<Bytes, CallError> {
        let inner = &self.handle.inner;
        inner.desk.counters.calls.count();
        let mut closed = inner.closed.subscribe();
        let closing = async {
            // Also when the sender is gone, which is the same.
            let _ = closed.wait_for(|closed| *closed).await;
        };
        let result = tokio::select! {
            biased;
            () = closing => Err(CallError::Closed),
            result = inner.call(peer, request) => result,
        };
        if result.is_err() {
            inner.desk.counters.failures.count();
        }
        result
    }

    /// The next request of a peer, or `None` once the transport is closed. Nothing is lost when
    /// the future is dropped.
    pub async fn next_incoming(&self) -> Option<IncomingCall> {
        let mut closed = self.handle.inner.closed.subscribe();
        let closing = async {
            let _ = closed.wait_for(|closed| *closed).await;
        };
        let next = async { self.handle.requests.lock().await.recv().await };
        tokio::select! {
            biased;
            () = closing => None,
            call = next => call,
        }
    }

    /// Takes QUIC datagrams that the socket received. Never waits; what cannot be used or kept is
    /// dropped and counted. Must be called in the tokio runtime.
    pub fn on_quic(&self, segment: &Segment<'_>) {
        let inner = &self.handle.inner;
        if inner.is_closed() {
            return;
        }
        let mut begin = 0;
        let mut end = 0;
        for datagram in segment.bytes.chunks(segment.stride.max(1)) {
            if inner.admits(datagram) {
                end += datagram.len();
            } else {
                inner.enqueue(segment, begin, end);
                end += datagram.len();
                begin = end;
            }
        }
        inner.enqueue(segment, begin, end);
    }

    /// What happened so far and what is open.
    #[must_use]
    pub fn stats(&self) -> TransportStats {
        let inner = &self.handle.inner;
        TransportStats {
            connections: inner.pool.len(),
            evicted: inner.pool.evicted(),
            queue_dropped: inner.quic.dropped(),
            ..inner.desk.counters.read()
        }
    }

    /// Ends all calls and connections and tells the peers, within a second. Every call from now on
    /// is [`CallError::Closed`]. The socket stays open.
    pub async fn close(&self) {
        if let Some(endpoint) = self.handle.inner.shut() {
            // Peers that do not hear it notice by themselves.
            let _ = timeout(CLOSE_TIMEOUT, endpoint.wait_all_draining()).await;
        }
    }
}

impl Inner {
    fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Whether a datagram is worth giving to the endpoint; the endpoint exists after a yes.
    fn admits(self: &Arc<Self>, datagram: &[u8]) -> bool {
        let look = self.screen.look(datagram);
        let exists = || matches!(*self.lock_endpoint(), EndpointState::Open(_));
        match look {
            Look::Malformed => self.desk.counters.malformed.count(),
            Look::Ordinary if !exists() => self.desk.counters.stray.count(),
            Look::Ordinary => return true,
            Look::Opening => return self.endpoint().is_some(),
        }
        false
    }

    fn enqueue(&self, segment: &Segment<'_>, begin: usize, end: usize) {
        if begin < end {
            let bytes = &segment.bytes[begin..end];
            self.quic.push(&Segment { bytes, stride: segment.stride.min(bytes.len()), ..*segment });
        }
    }

    /// Ends everything; gives the endpoint, if there is one, to wait for.
    fn shut(&self) -> Option<noq::Endpoint> {
        self.closed.send_replace(true);
        let state = std::mem::replace(&mut *self.lock_endpoint(), EndpointState::Closed);
        let EndpointState::Open(endpoint) = state else { return None };
        endpoint.close(CloseCode::Shutdown.into(), b"");
        Some(endpoint)
    }

    fn lock_endpoint(&self) -> MutexGuard<'_, EndpointState> {
        // No code under this lock can leave it half changed.
        self.endpoint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
