//! The QUIC endpoint: its configuration, and the shared UDP port as its socket.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use noq::crypto::{CryptoError, HmacKey};
use noq::{AsyncUdpSocket, UdpSender, VarInt};
use noq_proto::HashedConnectionIdGenerator;
use noq_udp::{RecvMeta, Transmit};
use potluck_base::PublicKey;

use super::config::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};
use super::screen::QUIC_V1;
use super::{Inner, TransportConfig};
use crate::socket::{PortSocket, QuicSide, ecn_of_bits};

/// Buffers handed to the endpoint at once. It offers more, but each of them is 94 KB of memory once
/// it was touched.
const BUFFERS_AT_ONCE: usize = 8;
/// Memory for packets of handshakes that wait to be taken.
const INCOMING_BUFFER_BYTES: u64 = 16 * 1024;

/// Keys that must outlive a restart, so that a peer of the former life can be told that it is over.
#[derive(Clone)]
pub(super) struct LastingKeys {
    reset: [u8; 32],
    ids: u64,
}

impl LastingKeys {
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        let ids = blake3::derive_key("potluck 2026 quic connection ids", seed);
        let ids = u64::from_le_bytes(std::array::from_fn(|index| ids[index]));
        Self { reset: blake3::derive_key("potluck 2026 quic stateless reset", seed), ids }
    }

    pub(super) const fn ids(&self) -> u64 {
        self.ids
    }
}

impl std::fmt::Debug for LastingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LastingKeys(..)")
    }
}

/// Makes reset tokens (RFC 9000, 10.3.2).
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(data).finalize_xof().fill(signature_out);
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let expected = blake3::keyed_hash(&self.0, data);
        // Compared in constant time.
        if expected == *signature { Ok(()) } else { Err(CryptoError) }
    }
}

impl Inner {
    /// The endpoint, made on first use, since its buffers are large and many nodes never need one.
    /// `None` when the transport is closed. Must be called in the tokio runtime.
    pub(super) fn endpoint(self: &Arc<Self>) -> Option<noq::Endpoint> {
        let mut state = self.lock_endpoint();
        if let EndpointState::None = *state {
            let endpoint = self.open_endpoint().ok()?;
            tokio::spawn(Arc::clone(self).accept(endpoint.clone()));
            *state = EndpointState::Open(endpoint);
        }
        match &*state {
            EndpointState::Open(endpoint) => Some(endpoint.clone()),
            EndpointState::None | EndpointState::Closed => None,
        }
    }

    fn open_endpoint(&self) -> io::Result<noq::Endpoint> {
        let mut server = noq::ServerConfig::with_crypto(self.tls.server());
        server
            .transport_config(Arc::clone(&self.quic_config))
            .max_incoming(self.config.handshakes)
            .incoming_buffer_size(INCOMING_BUFFER_BYTES)
            .incoming_buffer_size_total(INCOMING_BUFFER_BYTES * self.config.handshakes as u64)
            // A peer whose address changed dials again: one way less to send us elsewhere.
            .migration(false);
        let keys = self.keys.clone();
        let mut endpoint = noq::EndpointConfig::new(Arc::new(ResetKey(keys.reset)));
        endpoint.grease_quic_bit(false).supported_versions(vec![QUIC_V1]).cid_generator(Arc::new(
            move || Box::new(HashedConnectionIdGenerator::from_key(keys.ids)),
        ));
        let socket = Box::new(SharedPort {
            socket: Arc::clone(&self.socket),
            received: Arc::clone(&self.quic),
        });
        let runtime = Arc::new(noq::TokioRuntime);
        noq::Endpoint::new_with_abstract_socket(endpoint, Some(server), socket, runtime)
    }

    /// A configuration that accepts `expected` only, and where to read which other key was shown.
    pub(super) fn client_config(
        &self,
        expected: PublicKey,
    ) -> (noq::ClientConfig, Arc<OnceLock<PublicKey>>) {
        let (crypto, other) = self.tls.client(expected);
        let mut config = noq::ClientConfig::new(crypto);
        config
            .transport_config(Arc::clone(&self.quic_config))
            .token_store(Arc::new(noq::NoneTokenStore));
        (config, other)
    }
}

/// Whether the endpoint exists.
#[derive(Debug)]
pub(super) enum EndpointState {
    /// Not yet.
    None,
    /// It does.
    Open(noq::Endpoint),
    /// Not any more.
    Closed,
}

/// What both sides of every connection keep to.
pub(super) fn quic_config(config: &TransportConfig) -> Arc<noq::TransportConfig> {
    let mut quic = noq::TransportConfig::default();
    let idle_ms = u32::try_from(config.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    quic.max_concurrent_bidi_streams(config.streams_per_connection.into())
        .max_concurrent_uni_streams(0u32.into())
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(VarInt::from_u32(idle_ms).into()))
        .keep_alive_interval(None)
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(CONNECTION_WINDOW_BYTES.into())
        // From 1200 bytes up, by probing.
        .initial_mtu(1200)
        .mtu_discovery_config(Some(noq::MtuDiscoveryConfig::default()))
        // The extensions we do not use: multipath, NAT traversal, address reports.
        .max_concurrent_multipath_paths(0)
        .max_remote_nat_traversal_addresses(0)
        .send_observed_address_reports(false)
        .receive_observed_address_reports(false);
    Arc::new(quic)
}

/// The shared port as the endpoint sees it: packets come out of the queue that the drive task
/// fills, and go out through the socket.
#[derive(Debug)]
struct SharedPort {
    socket: Arc<PortSocket>,
    received: Arc<QuicSide>,
}

impl AsyncUdpSocket for SharedPort {
    fn create_sender(&self) -> Pin<Box<dyn UdpSender>> {
        Box::pin(Sender { socket: Arc::clone(&self.socket), writable: None })
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut filled = 0;
        for (buffer, meta) in bufs.iter_mut().zip(meta).take(BUFFERS_AT_ONCE) {
            let datagrams = if filled == 0 {
                ready!(self.received.poll_pop(cx, buffer.len()))
            } else if let Some(datagrams) = self.received.pop(buffer.len()) {
                datagrams
            } else {
                break;
            };
            buffer[..datagrams.bytes.len()].copy_from_slice(&datagrams.bytes);
            *meta = RecvMeta::default();
            meta.addr = datagrams.from;
            meta.len = datagrams.bytes.len();
            meta.stride = datagrams.stride;
            meta.ecn = datagrams.ecn.and_then(ecn_of_bits);
            meta.dst_ip = datagrams.local;
            filled += 1;
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.socket.local_addr())
    }

    fn max_receive_segments(&self) -> NonZeroUsize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Sends for one connection, and waits for room on its own account.
struct Sender {
    socket: Arc<PortSocket>,
    writable: Option<Writable>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("waiting", &self.writable.is_some()).finish_non_exhaustive()
    }
}

impl UdpSender for Sender {
    fn poll_send(
        mut self: Pin<&mut Self>,
        transmit: &Transmit<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(writable) = &mut self.writable {
                let result = ready!(writable.as_mut().poll(cx));
                self.writable = None;
                result?;
            }
            match self.socket.try_transmit(transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let socket = Arc::clone(&self.socket);
                    self.writable = Some(Box::pin(async move { socket.writable().await }));
                }
                // Anything else is a loss like any other, and counted by the socket.
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }

    fn max_transmit_segments(&self) -> NonZeroUsize {
        self.socket.max_send_segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_token_is_the_same_after_a_restart_and_differs_by_connection_and_node() {
        let token = |seed: u8, id: &[u8]| {
            let mut token = [0; 32];
            ResetKey(LastingKeys::new(&[seed; 32]).reset).sign(id, &mut token);
            token
        };
        assert_eq!(token(1, b"id"), token(1, b"id"));
        assert_ne!(token(1, b"id"), token(1, b"other"));
        assert_ne!(token(1, b"id"), token(2, b"id"));
        let key = ResetKey(LastingKeys::new(&[1; 32]).reset);
        assert!(key.verify(b"id", &token(1, b"id")).is_ok());
        assert!(key.verify(b"id", &token(1, b"other")).is_err());
        assert!(key.verify(b"id", b"short").is_err());
    }
}
