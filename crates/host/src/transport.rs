//! Calls and fetches between nodes, over QUIC on the shared UDP ports. A call is one request and one
//! answer; a fetch is one request and any number of frames.
//!
//! A [`Transport`] keeps a bounded pool of connections, one a peer, in which both sides prove their
//! node key; a call or a fetch is one bidirectional stream on it, and calls go first. The QUIC
//! library is an implementation detail: nothing of it shows here, so that another one can take its
//! place.
//!
//! On the wire a stream's first byte tells what it is: a call's request begins with its message's
//! version, a fetch's with [`FETCH_BYTE`], a stream of an application's protocol with [`PROTOCOL_BYTE`]. The frames of a fetch are a length (four bytes, big
//! endian) and that many bytes each; the end of the stream is the end of the fetch, a reset says why
//! there is none.
//!
//! What costs memory is bounded: connections, streams, handshakes, windows, queues, half-read
//! requests, unread answers and frames (see [`TransportConfig`] and the constants beside it). An
//! endpoint is made on the first call or the first packet that could begin a connection.
//!
//! **Invariants:** a request is sent only to the key it is meant for; an answer comes only from it;
//! a stream that breaks off is never taken for a complete message. A call or fetch that finds its
//! connection dead is made again on a fresh one, once: a request may arrive twice. Calls have
//! streams, windows and budgets that no number of fetches can use up.

mod accept;
mod admission_filter;
mod call;
mod config;
mod connection_budget;
mod counters;
mod endpoint;
mod error;
mod fetch;
mod handshake_limiter;
mod ignored;
mod incoming;
mod packet_filter;
mod paths;
mod pool;
mod port;
mod protocol;
mod reach;
mod serving;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use potluck_base::{Contact, Identity, NetworkId, PublicKey};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

pub use admission_filter::AdmissionFilter;
pub use config::{
    FETCH_BYTE, FETCH_REQUEST_BYTES_MAX, FETCH_WINDOW_BYTES_MAX, FRAME_BYTES_MAX,
    MESSAGE_BYTES_MAX, TransportConfig,
};
pub use counters::TransportStats;
pub use error::{CallError, FetchError, FetchRefusal};
pub use fetch::{FetchStream, Received};
pub use incoming::{IncomingCall, Responder};
pub use protocol::{
    PROTOCOL_BYTE, PROTOCOL_NAME_BYTES_MAX, PROTOCOLS_MAX, PeerReader, PeerStream, PeerWriter,
    ProtocolError, ProtocolHandler,
};
pub use serving::{FrameSender, IncomingFetch};

use crate::socket::{QuicSide, Segment, Sockets};
use config::permits;
use counters::Counters;
use endpoint::{EndpointState, LastingKeys, QuicConfigs};
use error::CloseCode;
use handshake_limiter::HandshakeLimiter;
use ignored::Ignored;
use incoming::Desk;
use packet_filter::{PacketClass, PacketFilter};
use paths::Paths;
use pool::Pool;
use tls::Tls;

/// How long closing may take to tell every peer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The calls and fetches of one node on its UDP ports. Cheap to clone; when the last clone is dropped, all
/// connections close.
#[derive(Debug, Clone)]
pub struct Transport {
    handle: Arc<Handle>,
}

/// The transport of a node that may have stopped. It keeps no port bound.
#[derive(Debug, Clone)]
pub(crate) struct WeakTransport {
    handle: Weak<Handle>,
}

impl WeakTransport {
    /// The transport, while the node runs.
    pub(crate) fn upgrade(&self) -> Option<Transport> {
        self.handle.upgrade().map(|handle| Transport { handle })
    }
}

/// Closes the transport with its last clone: the tasks inside hold the rest.
#[derive(Debug)]
struct Handle {
    inner: Arc<Inner>,
    requests: tokio::sync::Mutex<mpsc::Receiver<IncomingCall>>,
    fetches: tokio::sync::Mutex<mpsc::Receiver<IncomingFetch>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inner.shut();
    }
}

/// The state that the tasks of a transport share.
#[derive(Debug)]
struct Inner {
    config: TransportConfig,
    socket: Arc<Sockets>,
    quic: Arc<QuicSide>,
    packet_filter: PacketFilter,
    tls: Tls,
    keys: LastingKeys,
    quic_configs: QuicConfigs,
    paths: Paths,
    endpoint: Mutex<EndpointState>,
    pool: Arc<Pool>,
    limiter: Arc<HandshakeLimiter>,
    desk: Arc<Desk>,
    requests: Arc<Semaphore>,
    fetch_requests: Arc<Semaphore>,
    served: Arc<Semaphore>,
    protocols: protocol::Protocols,
    /// Streams of protocols that may be there at once.
    protocol_streams: Arc<Semaphore>,
    incoming: mpsc::Sender<IncomingCall>,
    incoming_fetches: mpsc::Sender<IncomingFetch>,
    closed: watch::Sender<bool>,
    /// In `invite` networks.
    filter: OnceLock<Arc<AdmissionFilter>>,
    ignored: Ignored,
}

impl Transport {
    /// The same, without keeping a port bound.
    pub(crate) fn downgrade(&self) -> WeakTransport {
        WeakTransport { handle: Arc::downgrade(&self.handle) }
    }

    /// A transport for `identity` in `network` on `socket`. It does nothing until the first call
    /// or packet; the receive loop of the socket must give it the QUIC segments
    /// ([`Transport::on_quic`]).
    #[must_use]
    pub fn new(
        identity: &Identity,
        network: &NetworkId,
        socket: Arc<Sockets>,
        config: TransportConfig,
    ) -> Self {
        let keys = LastingKeys::new(&identity.seed());
        let (incoming, requests) = mpsc::channel(config.incoming_queue.max(1));
        let (incoming_fetches, fetches) = mpsc::channel(config.incoming_queue.max(1));
        let budget = |bytes| Arc::new(Semaphore::new(permits(bytes) as usize));
        let desk = Desk {
            counters: Arc::new(Counters::default()),
            answers: budget(config::ANSWERS_BYTES),
            timeout: config.call_timeout,
        };
        let inner = Inner {
            socket,
            quic: Arc::new(QuicSide::new(config.queue_bytes)),
            packet_filter: PacketFilter::new(keys.ids()),
            tls: Tls::new(identity, network),
            keys,
            quic_configs: QuicConfigs::new(&config),
            paths: Paths::new(),
            endpoint: Mutex::new(EndpointState::None),
            pool: Pool::new(&config, identity.public_key()),
            limiter: HandshakeLimiter::new(config.handshakes, config.handshakes_per_source),
            desk: Arc::new(desk),
            requests: budget(config::REQUESTS_BYTES),
            fetch_requests: budget(config::FETCH_REQUESTS_BYTES),
            served: Arc::new(Semaphore::new(config.fetches_served)),
            protocols: protocol::Protocols::default(),
            protocol_streams: Arc::new(Semaphore::new(protocol::STREAMS_MAX)),
            incoming,
            incoming_fetches,
            closed: watch::Sender::new(false),
            filter: OnceLock::new(),
            ignored: Ignored::new(),
            config,
        };
        let requests = tokio::sync::Mutex::new(requests);
        let fetches = tokio::sync::Mutex::new(fetches);
        Self { handle: Arc::new(Handle { inner: Arc::new(inner), requests, fetches }) }
    }

    /// Sets the admission filter: from now on only packets and connections of admitted peers are accepted.
    /// For a new transport; a second filter is ignored.
    pub fn set_door(&self, filter: &Arc<AdmissionFilter>) {
        let inner = &self.handle.inner;
        filter.guard(Arc::downgrade(inner));
        let _ = inner.filter.set(Arc::clone(filter));
    }

    /// Ends all connections with `peer` and accepts none from it for `time`. Its datagrams are the core's
    /// matter.
    pub fn ignore(&self, peer: PublicKey, time: Duration) {
        let inner = &self.handle.inner;
        inner.ignored.add(peer, time);
        inner.pool.close_peer(&peer);
    }

    /// `peer` may be at these addresses, too, the preferred one first: where it has to be dialed, they
    /// are tried as well, see [`Transport::call`]. Only its key says whether it is there.
    pub fn learn(&self, peer: PublicKey, ways: &[SocketAddr]) {
        self.handle.inner.paths.learn(peer, ways.iter().copied());
    }

    /// Asks `peer` and waits for its answer, at most for the call timeout. Dropping the future
    /// gives the call up. A connection to the peer's key is used wherever it leads to; only if
    /// there is none, or it is dead, it is dialed: where it was reached last, at the contact's address,
    /// and at the others that are known, 250 ms one after the other. A request must not begin with
    /// [`FETCH_BYTE`].
    ///
    /// # Errors
    /// [`CallError`], each kind of which says what the peer may have done and what to do.
    pub async fn call(&self, peer: &Contact, request: Bytes) -> Result<Bytes, CallError> {
        let inner = &self.handle.inner;
        inner.desk.counters.calls.count();
        let result = tokio::select! {
            biased;
            () = inner.closing() => Err(CallError::Closed),
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
        let next = async { self.handle.requests.lock().await.recv().await };
        tokio::select! {
            biased;
            () = self.handle.inner.closing() => None,
            call = next => call,
        }
    }

    /// Asks `peer` for frames. Comes back when the request is on its way, and on an old connection
    /// when the peer is known to live; takes at most the call timeout. A connection is found or
    /// made as for [`Transport::call`].
    ///
    /// # Errors
    /// [`CallError`] if there is no connection or no room on it, and
    /// [`CallError::TooLarge`] if the request is longer than [`FETCH_REQUEST_BYTES_MAX`]. What
    /// happens later is a [`FetchError`] of the stream.
    pub async fn fetch(&self, peer: &Contact, request: Bytes) -> Result<FetchStream, CallError> {
        let inner = &self.handle.inner;
        let result = tokio::select! {
            biased;
            () = inner.closing() => Err(CallError::Closed),
            result = inner.fetch(peer, request) => result,
        };
        match &result {
            Ok(_) => inner.desk.counters.fetches.count(),
            Err(_) => inner.desk.counters.fetches_failed.count(),
        }
        result
    }

    /// The next fetch of a peer, or `None` once the transport is closed. Nothing is lost when the
    /// future is dropped.
    pub async fn next_incoming_fetch(&self) -> Option<IncomingFetch> {
        let next = async { self.handle.fetches.lock().await.recv().await };
        tokio::select! {
            biased;
            () = self.handle.inner.closing() => None,
            fetch = next => fetch,
        }
    }

    /// Serves a protocol of the application: `handler` is given each stream that a peer opens under that name,
    /// until [`Transport::end_protocol`] with the number that this gives.
    ///
    /// # Errors
    /// [`ProtocolError`]: the name is none, it is served already, or there are too many.
    pub fn serve_protocol(
        &self,
        name: &str,
        handler: ProtocolHandler,
    ) -> Result<u64, ProtocolError> {
        self.handle.inner.protocols.add(name, handler)
    }

    /// Serves a protocol no longer. Streams that were opened go on.
    pub fn end_protocol(&self, name: &str, number: u64) {
        self.handle.inner.protocols.remove(name, number);
    }

    /// Opens a stream of a protocol to `peer`, which has to serve it. A connection is found or made as for
    /// [`Transport::call`].
    ///
    /// # Errors
    /// [`ProtocolError`]
    pub async fn open_protocol(
        &self,
        peer: &Contact,
        name: &str,
    ) -> Result<PeerStream, ProtocolError> {
        let inner = &self.handle.inner;
        tokio::select! {
            biased;
            () = inner.closing() => Err(CallError::Closed.into()),
            opened = inner.open_protocol(peer, name) => opened,
        }
    }

    /// Caps what the node sends and how fast it reads what it fetches, see
    /// [`Sockets::set_rates`].
    pub fn set_rates(&self, upload: Option<u64>, download: Option<u64>) {
        self.handle.inner.socket.set_rates(upload, download);
    }

    /// Takes QUIC datagrams that the socket received. Never waits; what cannot be used or kept is
    /// dropped and counted. Must be called in the tokio runtime.
    pub fn on_quic(&self, segment: &Segment<'_>) {
        let inner = &self.handle.inner;
        if inner.is_closed() {
            return;
        }
        if inner.filter.get().is_some_and(|filter| !filter.knows_address(segment.from)) {
            inner.desk.counters.strangers.add(segment.datagrams());
            return;
        }
        inner.socket.note(segment);
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

    /// The statistics.
    #[must_use]
    pub fn stats(&self) -> TransportStats {
        let inner = &self.handle.inner;
        TransportStats {
            connections: inner.pool.len(),
            fetch_window_bytes: inner.pool.windows_granted()
                * inner.config.fetch_window_bytes as usize,
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

    /// Ends when the transport is closed.
    async fn closing(&self) {
        // Also when the sender is gone, which is the same.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Whether the holder of this key may use a connection now.
    fn lets_in(&self, key: &PublicKey) -> bool {
        !self.ignored.contains(key) && self.filter.get().is_none_or(|filter| filter.admits(key))
    }

    /// Whether a datagram is worth giving to the endpoint; the endpoint exists after a yes.
    fn admits(self: &Arc<Self>, datagram: &[u8]) -> bool {
        let look = self.packet_filter.classify(datagram);
        let exists = || matches!(*self.endpoint.lock(), EndpointState::Open(_));
        match look {
            PacketClass::Malformed => self.desk.counters.malformed.count(),
            PacketClass::Ordinary if !exists() => self.desk.counters.stray.count(),
            PacketClass::Ordinary => return true,
            PacketClass::Opening => return self.endpoint().is_some(),
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
        // A handler may hold what holds this transport.
        self.protocols.clear();
        let state = std::mem::replace(&mut *self.endpoint.lock(), EndpointState::Closed);
        let EndpointState::Open(endpoint) = state else { return None };
        endpoint.close(CloseCode::Shutdown.into(), b"");
        Some(endpoint)
    }
}
