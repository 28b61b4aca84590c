//! Connections that peers open.

use std::sync::Arc;

use tokio::time::timeout;

use super::error::CloseCode;
use super::handshake_limiter::{HandshakeVerdict, Ticket};
use super::incoming::Caller;
use super::reach::Reach;
use super::{Inner, tls};
use crate::socket::canonical;

/// The server configurations, one for each kind of distance of the peer.
pub(super) type Servers = [Arc<noq::ServerConfig>; Reach::ALL.len()];

impl Inner {
    /// Takes first packets until the endpoint closes.
    pub(super) async fn accept(self: Arc<Self>, endpoint: noq::Endpoint, servers: Servers) {
        while let Some(incoming) = endpoint.accept().await {
            let source = canonical(incoming.remote_address()).ip();
            match self.limiter.admit(source, incoming.remote_address_validated()) {
                HandshakeVerdict::Begin(ticket) if self.pool.has_room() => {
                    let server = Arc::clone(&servers[Reach::of(source) as usize]);
                    tokio::spawn(Arc::clone(&self).handshake(incoming, server, ticket));
                }
                HandshakeVerdict::Retry => {
                    self.desk.counters.retried.count();
                    // Cannot fail: a packet with a token is proven and never gets this decision.
                    let _ = incoming.retry();
                }
                HandshakeVerdict::Begin(_) | HandshakeVerdict::Refuse => {
                    self.desk.counters.refused.count();
                    incoming.refuse();
                }
            }
        }
    }

    async fn handshake(
        self: Arc<Self>,
        incoming: noq::Incoming,
        server: Arc<noq::ServerConfig>,
        ticket: Ticket,
    ) {
        let address = canonical(incoming.remote_address());
        let handshake = async { incoming.accept_with(server)?.await };
        let Ok(Ok(connection)) = timeout(self.config.dial_timeout, handshake).await else {
            self.desk.counters.refused.count();
            return;
        };
        drop(ticket);
        let Some(key) = tls::peer_key(&connection) else {
            self.desk.counters.refused.count();
            connection.close(CloseCode::NoKey.into(), b"");
            return;
        };
        if !self.lets_in(&key) {
            self.desk.counters.refused.count();
            connection.close(CloseCode::NotAdmitted.into(), b"");
            return;
        }
        let Some(place) = self.pool.reserve() else {
            self.desk.counters.refused.count();
            connection.close(CloseCode::Full.into(), b"");
            return;
        };
        self.desk.counters.accepted.count();
        let lease = place.fill(key, connection.clone(), false);
        let id = lease.id();
        drop(lease);
        self.serve(connection, id, Caller { key, address }).await;
    }
}
