//! Limits of the transport, with their defaults and reasons.

use std::time::Duration;

use crate::socket::QUIC_QUEUE_BYTES;

/// Longest request and longest answer in bytes.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// What a peer may send on one stream before we read: one whole message, so that no call waits for
/// window updates.
pub(super) const STREAM_WINDOW_BYTES: u32 = MESSAGE_BYTES_MAX as u32;
/// What a peer may send on all streams of a connection before we read, and what we keep of our own
/// unacknowledged bytes: four messages. With 64 connections that is at most 64 MiB each way, and
/// only if every peer is slow or hostile at once; it carries 10 MB/s at 100 ms.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;
/// Requests up to this length are read without asking the budget; 64 streams of it are 1 MiB a
/// connection.
pub(super) const SMALL_REQUEST_BYTES: usize = 16 * 1024;
/// Bytes of large requests that the node holds at once; further ones wait unread.
pub(super) const REQUESTS_BYTES: usize = 32 * 1024 * 1024;
/// The part of it that one connection may have.
pub(super) const CONNECTION_REQUESTS_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of answers that wait for slow peers; further ones are dropped.
pub(super) const ANSWERS_BYTES: usize = 64 * 1024 * 1024;

/// Limits of a [`Transport`](super::Transport).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportConfig {
    /// Open connections, dialed and accepted together. At the limit the idle one that was unused
    /// for longest is closed; if none is idle, strangers are refused and our own calls wait.
    pub connections: usize,
    /// Calls that a peer may have in flight on one connection; further ones wait at the peer.
    pub streams_per_connection: u32,
    /// How long a call may take from start to answer, dialing included. Also the longest time a
    /// peer may take to send a request or to fetch an answer.
    pub call_timeout: Duration,
    /// How long a handshake may take, on either side, and before it the wait for a free place.
    pub dial_timeout: Duration,
    /// A connection without any packet for this long is closed. Nothing keeps it alive.
    pub idle_timeout: Duration,
    /// When a connection that was used before shows no sign of life for this long after a request,
    /// it is given up and the call dials anew.
    pub silence: Duration,
    /// Unfinished handshakes of strangers at once. From half of it on, strangers must first prove
    /// their address (Retry).
    pub handshakes: usize,
    /// Unfinished handshakes for one source, an IPv4 address or an IPv6 /64.
    pub handshakes_per_source: usize,
    /// Requests that wait for [`Transport::next_incoming`](super::Transport::next_incoming);
    /// further ones are refused.
    pub incoming_queue: usize,
    /// Bytes of received QUIC packets that wait for the endpoint; further ones are dropped.
    pub queue_bytes: usize,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            connections: 64,
            streams_per_connection: 64,
            call_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            silence: Duration::from_secs(2),
            handshakes: 64,
            handshakes_per_source: 8,
            incoming_queue: 256,
            queue_bytes: QUIC_QUEUE_BYTES,
        }
    }
}
