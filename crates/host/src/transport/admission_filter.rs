//! The admission filter of an `invite` network: the peers that the core has admitted, at the addresses
//! that they proved by datagrams.
//!
//! A QUIC packet from any other address is dropped before the QUIC library sees it, so a stranger
//! gets no byte of an answer. The peer's key is checked after the handshake and again at every
//! stream. Before this node dials, it introduces itself to the peer by datagrams.
//!
//! **Invariant:** at most [`ADMITTED_MAX`] peers are remembered; the core reports a forgotten peer
//! again when it hears it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use parking_lot::Mutex;
use potluck_base::{Contact, LruMap, PublicKey, UnixMillis};
use potluck_node::{Command, Reply};
use tokio::sync::{mpsc, oneshot};

use super::Inner;
use crate::request::Request;
use crate::socket::canonical;

/// Most admitted peers that are remembered: twice the sessions of a link, so that the link forgets
/// a peer first. Raising it costs memory.
const ADMITTED_MAX: usize = 8192;
/// Most addresses of one peer: one of each family.
const ADDRESSES: usize = 2;

/// An admitted peer.
#[derive(Debug)]
struct AdmittedPeer {
    addresses: Vec<SocketAddr>,
    until: UnixMillis,
}

#[derive(Debug)]
struct AdmittedPeers {
    by_key: LruMap<PublicKey, AdmittedPeer>,
    /// The number of peers at each address; more than one only if a peer took over another one's
    /// address.
    by_address: HashMap<SocketAddr, usize>,
}

impl AdmittedPeers {
    fn forget(&mut self, key: &PublicKey) {
        if let Some(admitted) = self.by_key.remove(key) {
            self.leave(&admitted);
        }
    }

    fn leave(&mut self, admitted: &AdmittedPeer) {
        for address in &admitted.addresses {
            if let Some(count) = self.by_address.get_mut(address) {
                *count -= 1;
                if *count == 0 {
                    self.by_address.remove(address);
                }
            }
        }
    }
}

/// The admission filter of a transport.
#[derive(Debug)]
pub struct AdmissionFilter {
    admitted_peers: Mutex<AdmittedPeers>,
    transport: Mutex<Weak<Inner>>,
    /// To the core, for introductions.
    requests: mpsc::Sender<Request>,
}

impl AdmissionFilter {
    /// A filter without admitted peers. `requests` leads to the drive loop.
    pub(crate) fn new(requests: mpsc::Sender<Request>) -> Arc<Self> {
        let admitted_peers =
            AdmittedPeers { by_key: LruMap::new(ADMITTED_MAX), by_address: HashMap::new() };
        let transport = Mutex::new(Weak::new());
        Arc::new(Self { admitted_peers: Mutex::new(admitted_peers), transport, requests })
    }

    /// Sets the transport whose connections end when a peer is expelled.
    pub(super) fn guard(&self, transport: Weak<Inner>) {
        *self.transport.lock() = transport;
    }

    /// Records that this peer is admitted and proved this address.
    pub(crate) fn admit(&self, peer: Contact, until: UnixMillis) {
        let mut admitted_peers = self.admitted_peers.lock();
        let known = admitted_peers.by_key.remove(&peer.public_key);
        let mut addresses = vec![peer.address];
        if let Some(known) = known {
            let others = known.addresses.iter().filter(|address| **address != peer.address);
            addresses.extend(others.take(ADDRESSES - 1));
            admitted_peers.leave(&known);
        }
        for address in &addresses {
            *admitted_peers.by_address.entry(*address).or_default() += 1;
        }
        let out = admitted_peers.by_key.insert(peer.public_key, AdmittedPeer { addresses, until });
        if let Some((_, out)) = out {
            admitted_peers.leave(&out);
        }
    }

    /// Records that this peer is no longer admitted, and ends its connections.
    pub(crate) fn expel(&self, key: &PublicKey) {
        self.admitted_peers.lock().forget(key);
        let transport = self.transport.lock().upgrade();
        if let Some(transport) = transport {
            transport.pool.close_peer(key);
        }
    }

    /// Whether an admitted peer has this address.
    pub(super) fn knows_address(&self, address: SocketAddr) -> bool {
        self.admitted_peers.lock().by_address.contains_key(&canonical(address))
    }

    /// Whether the holder of this key is admitted now.
    pub(super) fn admits(&self, key: &PublicKey) -> bool {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let mut admitted_peers = self.admitted_peers.lock();
        admitted_peers.by_key.get_mut(key).is_some_and(|admitted| now < admitted.until.0)
    }

    /// Introduces this node to `peer`, so that both admit each other; false if `peer` does not answer.
    pub(super) async fn introduce(&self, peer: &Contact) -> bool {
        let (reply, answer) = oneshot::channel();
        let request = Request::Command { command: Command::Introduce(*peer), reply };
        if self.requests.send(request).await.is_err() {
            return false;
        }
        matches!(answer.await, Ok(Reply::Introduced(true)))
    }

    /// The numbers of admitted peers and of their addresses.
    #[cfg(test)]
    fn len(&self) -> (usize, usize) {
        let admitted_peers = self.admitted_peers.lock();
        (admitted_peers.by_key.len(), admitted_peers.by_address.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: UnixMillis = UnixMillis(u64::MAX);

    fn contact(number: u32, port: u16) -> Contact {
        let mut bytes = [1; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        let address = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], port));
        Contact::new(PublicKey::from_bytes(bytes), address)
    }

    fn filter() -> Arc<AdmissionFilter> {
        AdmissionFilter::new(mpsc::channel(1).0)
    }

    #[test]
    fn an_expelled_or_expired_peer_is_not_admitted() {
        let filter = filter();
        let (a, b) = (contact(1, 7), contact(2, 7));
        filter.admit(a, LATER);
        filter.admit(b, UnixMillis(5));
        assert!(filter.admits(&a.public_key) && filter.knows_address(a.address));
        assert!(!filter.admits(&b.public_key), "expired");
        assert!(!filter.knows_address(contact(1, 8).address), "another port");
        filter.expel(&a.public_key);
        assert!(!filter.admits(&a.public_key) && !filter.knows_address(a.address));
    }

    #[test]
    fn the_last_addresses_of_a_peer_are_remembered_and_others_forgotten() {
        let filter = filter();
        for port in 1..=5 {
            filter.admit(contact(1, port), LATER);
            filter.admit(contact(1, port), LATER);
        }
        assert_eq!(filter.len(), (1, ADDRESSES));
        assert!(filter.knows_address(contact(1, 5).address));
        assert!(filter.knows_address(contact(1, 4).address));
        assert!(!filter.knows_address(contact(1, 3).address));
    }

    #[test]
    fn two_peers_at_one_address_do_not_put_each_other_out() {
        let filter = filter();
        let (a, b) = (contact(1, 7), Contact { address: contact(1, 7).address, ..contact(2, 7) });
        filter.admit(a, LATER);
        filter.admit(b, LATER);
        filter.expel(&a.public_key);
        assert!(filter.knows_address(b.address));
        filter.expel(&b.public_key);
        assert!(!filter.knows_address(b.address));
    }

    #[test]
    fn the_number_of_admitted_peers_is_bounded() {
        let filter = filter();
        for number in 0..(ADMITTED_MAX as u32 + 100) {
            filter.admit(contact(number, 7), LATER);
        }
        assert_eq!(filter.len(), (ADMITTED_MAX, ADMITTED_MAX));
    }
}
