//! Who is let in, in an `invite` network: peers that the core has admitted, at the addresses that
//! they proved by datagrams.
//!
//! A QUIC packet from anywhere else is dropped before the QUIC library sees it, so a stranger gets
//! no byte of an answer. After the handshake the peer's key must be one of those, and again at every
//! stream. Before this node dials, it makes sure by datagrams that the peer knows it.
//!
//! **Invariant:** not more than a fixed number of peers is remembered; who is forgotten is told again
//! by the core when it is heard.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use potluck_base::{Contact, LruMap, PublicKey, UnixMillis};
use potluck_node::{Command, Reply};
use tokio::sync::{mpsc, oneshot};

use super::Inner;
use crate::handle::Request;
use crate::socket::canonical;

/// Most peers remembered: twice the sessions of a link, so that none is forgotten here first.
const GUESTS_MAX: usize = 8192;
/// Addresses of one peer: one of each family.
const ADDRESSES: usize = 2;

/// A peer that was let in.
#[derive(Debug)]
struct Guest {
    addresses: Vec<SocketAddr>,
    until: UnixMillis,
}

#[derive(Debug)]
struct Guests {
    by_key: LruMap<PublicKey, Guest>,
    /// How many peers are at each address; more than one only where one took over from another.
    by_address: HashMap<SocketAddr, usize>,
}

impl Guests {
    fn forget(&mut self, key: &PublicKey) {
        if let Some(guest) = self.by_key.remove(key) {
            self.leave(&guest);
        }
    }

    fn leave(&mut self, guest: &Guest) {
        for address in &guest.addresses {
            if let Some(count) = self.by_address.get_mut(address) {
                *count -= 1;
                if *count == 0 {
                    self.by_address.remove(address);
                }
            }
        }
    }
}

/// The door of a transport.
#[derive(Debug)]
pub struct Door {
    guests: Mutex<Guests>,
    transport: Mutex<Weak<Inner>>,
    /// To the core, for introductions.
    requests: mpsc::Sender<Request>,
}

impl Door {
    /// A door behind which nobody is yet. `requests` leads to the drive loop.
    pub(crate) fn new(requests: mpsc::Sender<Request>) -> Arc<Self> {
        let guests = Guests { by_key: LruMap::new(GUESTS_MAX), by_address: HashMap::new() };
        let transport = Mutex::new(Weak::new());
        Arc::new(Self { guests: Mutex::new(guests), transport, requests })
    }

    /// Which transport's connections end when somebody is put out.
    pub(super) fn guard(&self, transport: Weak<Inner>) {
        *self.transport.lock().unwrap_or_else(PoisonError::into_inner) = transport;
    }

    /// This peer is admitted, and surely at this address.
    pub(crate) fn admit(&self, peer: Contact, until: UnixMillis) {
        let mut guests = self.lock();
        let known = guests.by_key.remove(&peer.public_key);
        let mut addresses = vec![peer.address];
        if let Some(known) = known {
            let others = known.addresses.iter().filter(|address| **address != peer.address);
            addresses.extend(others.take(ADDRESSES - 1));
            guests.leave(&known);
        }
        for address in &addresses {
            *guests.by_address.entry(*address).or_default() += 1;
        }
        let out = guests.by_key.insert(peer.public_key, Guest { addresses, until });
        if let Some((_, out)) = out {
            guests.leave(&out);
        }
    }

    /// This peer is admitted no more: its connections end.
    pub(crate) fn expel(&self, key: &PublicKey) {
        self.lock().forget(key);
        let transport = self.transport.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(transport) = transport {
            transport.pool.close_peer(key);
        }
    }

    /// Whether somebody who was let in is at this address.
    pub(super) fn knows_address(&self, address: SocketAddr) -> bool {
        self.lock().by_address.contains_key(&canonical(address))
    }

    /// Whether the holder of this key is admitted now.
    pub(super) fn admits(&self, key: &PublicKey) -> bool {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let mut guests = self.lock();
        guests.by_key.get_mut(key).is_some_and(|guest| now < guest.until.0)
    }

    /// Makes sure that `peer` is admitted here and knows us; false if it does not answer.
    pub(super) async fn introduce(&self, peer: &Contact) -> bool {
        let (reply, answer) = oneshot::channel();
        let request = Request::Command { command: Command::Introduce(*peer), reply };
        if self.requests.send(request).await.is_err() {
            return false;
        }
        matches!(answer.await, Ok(Reply::Introduced(true)))
    }

    /// How many peers are let in.
    #[cfg(test)]
    fn len(&self) -> (usize, usize) {
        let guests = self.lock();
        (guests.by_key.len(), guests.by_address.len())
    }

    fn lock(&self) -> MutexGuard<'_, Guests> {
        // No code under this lock can leave it half changed.
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn door() -> Arc<Door> {
        Door::new(mpsc::channel(1).0)
    }

    #[test]
    fn who_is_expelled_or_expired_is_not_let_in() {
        let door = door();
        let (a, b) = (contact(1, 7), contact(2, 7));
        door.admit(a, LATER);
        door.admit(b, UnixMillis(5));
        assert!(door.admits(&a.public_key) && door.knows_address(a.address));
        assert!(!door.admits(&b.public_key), "expired");
        assert!(!door.knows_address(contact(1, 8).address), "another port");
        door.expel(&a.public_key);
        assert!(!door.admits(&a.public_key) && !door.knows_address(a.address));
    }

    #[test]
    fn the_last_addresses_of_a_peer_are_remembered_and_others_forgotten() {
        let door = door();
        for port in 1..=5 {
            door.admit(contact(1, port), LATER);
            door.admit(contact(1, port), LATER);
        }
        assert_eq!(door.len(), (1, ADDRESSES));
        assert!(door.knows_address(contact(1, 5).address));
        assert!(door.knows_address(contact(1, 4).address));
        assert!(!door.knows_address(contact(1, 3).address));
    }

    #[test]
    fn two_peers_at_one_address_do_not_put_each_other_out() {
        let door = door();
        let (a, b) = (contact(1, 7), Contact { address: contact(1, 7).address, ..contact(2, 7) });
        door.admit(a, LATER);
        door.admit(b, LATER);
        door.expel(&a.public_key);
        assert!(door.knows_address(b.address));
        door.expel(&b.public_key);
        assert!(!door.knows_address(b.address));
    }

    #[test]
    fn the_number_of_guests_is_bounded() {
        let door = door();
        for number in 0..(GUESTS_MAX as u32 + 100) {
            door.admit(contact(number, 7), LATER);
        }
        assert_eq!(door.len(), (GUESTS_MAX, GUESTS_MAX));
    }
}
