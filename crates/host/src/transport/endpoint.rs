//! The QUIC endpoint: its configuration, and the shared UDP port as its socket.

use std::io;
use std::sync::{Arc, OnceLock};

use noq::VarInt;
use noq::crypto::{CryptoError, HmacKey};
use noq_proto::HashedConnectionIdGenerator;
use potluck_base::{Contact, PublicKey};

use super::config::{CONNECTION_WINDOW_BYTES, DATAGRAM_BYTES_MAX, FETCH_WINDOW_BYTES_MAX};
use super::packet_filter::QUIC_V1;
use super::port::SharedPort;
use super::reach::Reach;
use super::{Inner, TransportConfig, protocol};

/// Memory for packets of handshakes that wait to be taken.
const INCOMING_BUFFER_BYTES: u64 = 16 * 1024;

/// Keys that stay the same after a restart, so that peers of earlier connections get a stateless reset.
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
        let mut state = self.endpoint.lock();
        if let EndpointState::None = *state {
            let server = self.server_config();
            let endpoint = self.open_endpoint(server.clone()).ok()?;
            let servers = Reach::ALL.map(|reach| {
                let mut server = server.clone();
                server.transport_config(self.quic_configs.of(reach));
                Arc::new(server)
            });
            tokio::spawn(Arc::clone(self).accept(endpoint.clone(), servers));
            *state = EndpointState::Open(endpoint);
        }
        match &*state {
            EndpointState::Open(endpoint) => Some(endpoint.clone()),
            EndpointState::None | EndpointState::Closed => None,
        }
    }

    fn server_config(&self) -> noq::ServerConfig {
        let mut server = noq::ServerConfig::with_crypto(self.tls.server());
        server
            .transport_config(self.quic_configs.of(Reach::Internet))
            .max_incoming(self.config.handshakes)
            .incoming_buffer_size(INCOMING_BUFFER_BYTES)
            .incoming_buffer_size_total(INCOMING_BUFFER_BYTES * self.config.handshakes as u64)
            // A peer whose address changed dials again. Without migration it cannot redirect our traffic.
            .migration(false);
        server
    }

    fn open_endpoint(&self, server: noq::ServerConfig) -> io::Result<noq::Endpoint> {
        let keys = self.keys.clone();
        let mut endpoint = noq::EndpointConfig::new(Arc::new(ResetKey(keys.reset)));
        endpoint.grease_quic_bit(false).supported_versions(vec![QUIC_V1]).cid_generator(Arc::new(
            move || Box::new(HashedConnectionIdGenerator::from_key(keys.ids)),
        ));
        endpoint
            .max_udp_payload_size(DATAGRAM_BYTES_MAX)
            .expect("the constant is within QUIC's bounds");
        let socket = Box::new(SharedPort::new(Arc::clone(&self.socket), Arc::clone(&self.quic)));
        let runtime = Arc::new(noq::TokioRuntime);
        noq::Endpoint::new_with_abstract_socket(endpoint, Some(server), socket, runtime)
    }

    /// A client configuration that accepts only `peer`, and the cell that receives the key of another peer.
    pub(super) fn client_config(
        &self,
        peer: &Contact,
    ) -> (noq::ClientConfig, Arc<OnceLock<PublicKey>>) {
        let (crypto, other) = self.tls.client(peer.public_key);
        let mut config = noq::ClientConfig::new(crypto);
        config
            .transport_config(self.quic_configs.of(Reach::of(peer.address.ip())))
            .token_store(Arc::new(noq::NoneTokenStore));
        (config, other)
    }
}

/// Whether the endpoint exists.
#[derive(Debug)]
pub(super) enum EndpointState {
    /// It was not created yet.
    None,
    /// It is open.
    Open(noq::Endpoint),
    /// It was closed.
    Closed,
}

/// The QUIC configurations, one for each kind of distance between the peers.
#[derive(Debug)]
pub(super) struct QuicConfigs([Arc<noq::TransportConfig>; Reach::ALL.len()]);

impl QuicConfigs {
    pub(super) fn new(config: &TransportConfig) -> Self {
        Self(Reach::ALL.map(|reach| Arc::new(quic_config(config, reach))))
    }

    fn of(&self, reach: Reach) -> Arc<noq::TransportConfig> {
        Arc::clone(&self.0[reach as usize])
    }
}

fn quic_config(config: &TransportConfig, reach: Reach) -> noq::TransportConfig {
    let mut quic = noq::TransportConfig::default();
    let idle_ms = u32::try_from(config.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let streams = config.streams_per_connection.saturating_add(config.fetches_per_connection);
    let streams = streams.saturating_add(protocol::STREAMS_PER_PEER as u32);
    let mut discovery = noq::MtuDiscoveryConfig::default();
    discovery.upper_bound(reach.datagram_bytes().min(config.datagram_bytes));
    let mut congestion = noq::congestion::CubicConfig::default();
    if let Some(window) = reach.initial_window() {
        congestion.initial_window(window);
    }
    quic.max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(0u32.into())
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(VarInt::from_u32(idle_ms).into()))
        .keep_alive_interval(None)
        .stream_receive_window(config.fetch_window_bytes.min(FETCH_WINDOW_BYTES_MAX).into())
        // Both grow with the fetches under way, see `ConnectionBudget`.
        .receive_window(CONNECTION_WINDOW_BYTES.into())
        .send_window(CONNECTION_WINDOW_BYTES.into())
        // From 1200 bytes up, by probing.
        .initial_mtu(1200)
        .mtu_discovery_config(Some(discovery))
        .congestion_controller_factory(Arc::new(congestion))
        // The extensions we do not use: multipath, NAT traversal, address reports.
        .max_concurrent_multipath_paths(0)
        .max_remote_nat_traversal_addresses(0)
        .send_observed_address_reports(false)
        .receive_observed_address_reports(false);
    quic
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
