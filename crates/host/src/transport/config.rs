//! Limits of the transport, with their defaults and reasons.

use std::time::Duration;

use crate::socket::QUIC_QUEUE_BYTES;

/// Longest request and longest answer in bytes.
pub const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Longest request of a fetch in bytes.
pub const FETCH_REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Longest frame of a fetch in bytes: the largest granule and its proof.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024 + 64 * 1024;

/// Largest [`TransportConfig::fetch_window_bytes`]. The QUIC library keeps each received packet of a
/// stream apart until it is read, and closes the whole connection when that makes 2048 pieces: a
/// reader that stands still for a moment must never let it come so far. The shortest packets, 1200
/// bytes, hold no less than 968 bytes of a stream where they count as one piece.
pub const FETCH_WINDOW_BYTES_MAX: u32 = 2048 * 960;

/// Longest datagram that we receive and send: four of them fill what one system call carries.
pub(super) const DATAGRAM_BYTES_MAX: u16 = 16_368;

/// The first byte of a fetch's request, by which its stream is told from a call's.
pub const FETCH_BYTE: u8 = b'F';

/// What a peer may send in calls on a connection before we read, and what we keep of our own
/// unacknowledged bytes: four messages. With 64 connections that is at most 64 MiB each way, and
/// only if every peer is slow or hostile at once; it carries 10 MB/s at 100 ms. Fetches come on top
/// of it ([`TransportConfig::fetch_window_bytes`]).
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 4 * MESSAGE_BYTES_MAX as u32;
/// Requests up to this length are read without asking the budget; 128 streams of it are 2 MiB a
/// connection.
pub(super) const SMALL_REQUEST_BYTES: usize = 16 * 1024;
/// Bytes of large requests that the node holds at once; further ones wait unread.
pub(super) const REQUESTS_BYTES: usize = 32 * 1024 * 1024;
/// The part of it that one connection may have.
pub(super) const CONNECTION_REQUESTS_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of large requests for fetches that the node holds at once.
pub(super) const FETCH_REQUESTS_BYTES: usize = 4 * 1024 * 1024;
/// The part of it that one connection may have.
pub(super) const CONNECTION_FETCH_REQUESTS_BYTES: usize = 512 * 1024;
/// Bytes of answers that wait for slow peers; further ones are dropped.
pub(super) const ANSWERS_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that one permit of a byte budget stands for. Raising it makes the budgets coarser.
const PERMIT_BYTES: usize = 1024;

/// The permits of a byte budget that `bytes` bytes take.
pub(super) const fn permits(bytes: usize) -> u32 {
    bytes.div_ceil(PERMIT_BYTES) as u32
}

/// Limits of a [`Transport`](super::Transport).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportConfig {
    /// Open connections, dialed and accepted together. At the limit the idle one that was unused
    /// for longest is closed; if none is idle, strangers are refused and our own calls wait.
    pub connections: usize,
    /// Calls that a peer may have in flight on one connection; further ones wait.
    pub streams_per_connection: u32,
    /// Fetches that may be in flight on one connection in each direction, apart from the calls: our
    /// own further ones wait, those of the peer are refused.
    pub fetches_per_connection: u32,
    /// Fetches of ours at once, on all connections; further ones wait. Each of them may have
    /// [`TransportConfig::fetch_window_bytes`] waiting unread.
    pub fetches: usize,
    /// Fetches of peers that are served at once; further ones are refused. Each of them may have
    /// [`TransportConfig::fetch_window_bytes`] waiting for acknowledgement.
    pub fetches_served: usize,
    /// What the other side of a fetch may send before this one reads, on top of what calls have: a
    /// stalled fetch never holds a call up. At most [`FETCH_WINDOW_BYTES_MAX`], the default: it
    /// carries 19 MB/s at 100 ms on one stream. What may come from one peer follows the rate and the
    /// round trip of the way to it by the number of its fetches at once, each of which adds a window
    /// to its connection; [`TransportConfig::fetches`] bounds their sum. With 64 fetches that is at
    /// most 137 MiB in and 120 MiB out, and only if all are stalled at once.
    pub fetch_window_bytes: u32,
    /// Longest datagrams that are tried; how long they get is found by probing. More than 1452 is
    /// tried in private networks only, more than 8952 on loopback only.
    pub datagram_bytes: u16,
    /// A fetch on which no byte arrives for this long while one is waited for is given up.
    pub fetch_silence: Duration,
    /// A fetch of a peer that takes nothing for this long is given up. A peer with a low cap takes
    /// an eighth of the window at a time.
    pub fetch_stall: Duration,
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
    /// further ones are refused. Fetches that wait for
    /// [`Transport::next_incoming_fetch`](super::Transport::next_incoming_fetch) have a queue of
    /// their own of the same length.
    pub incoming_queue: usize,
    /// Bytes of received QUIC packets that wait for the endpoint; further ones are dropped.
    pub queue_bytes: usize,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            connections: 64,
            streams_per_connection: 64,
            fetches_per_connection: 64,
            fetches: 64,
            fetches_served: 64,
            fetch_window_bytes: FETCH_WINDOW_BYTES_MAX,
            datagram_bytes: DATAGRAM_BYTES_MAX,
            fetch_silence: Duration::from_secs(10),
            fetch_stall: Duration::from_secs(60),
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
