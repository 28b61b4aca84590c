//! How to reach a node: its public key, its salt and an address, written
//! `<public key hex>[.<salt hex>]@<ip>:<port>`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::{Key, NetworkId, NodeId, PublicKey, Salt};

/// Most addresses of one node in a ticket, a provider record, a member record or a WELCOME: two
/// address families, each on the local network and behind a router.
pub const ADDRESSES_MAX: usize = 4;

/// A node at one address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// The key that proves the node.
    pub public_key: PublicKey,
    /// What the network's authority added to the node's id; `None` where there is none, or where it
    /// is not known yet.
    pub salt: Option<Salt>,
    /// Where its UDP port is.
    pub address: SocketAddr,
}

impl Contact {
    /// The node with `public_key` at `address`, without a salt.
    #[must_use]
    pub const fn new(public_key: PublicKey, address: SocketAddr) -> Self {
        Self { public_key, salt: None, address }
    }

    /// This contact with its place in `network`.
    #[must_use]
    pub fn in_network(self, network: &NetworkId) -> Peer {
        Peer { id: NodeId::of(network, &self.public_key, self.salt), contact: self }
    }

    /// Whether `other` is the same key at the same address. A contact as it was heard of may lack
    /// the salt that the contact as it answered has.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        (self.public_key, self.address) == (other.public_key, other.address)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, key: &dyn fmt::Display) -> fmt::Result {
        key.fmt(f)?;
        if let Some(salt) = self.salt {
            write!(f, ".{salt}")?;
        }
        write!(f, "@{}", self.address)
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &self.public_key)
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &format_args!("{:?}", self.public_key))
    }
}

/// One way to a node: an address of its own, or a relay that passes datagrams on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The node's own UDP port, or the relay's where there is one.
    pub socket: SocketAddr,
    /// The relay's key. `None`: the address is the node's own.
    pub via: Option<PublicKey>,
}

impl From<SocketAddr> for Address {
    fn from(socket: SocketAddr) -> Self {
        Self { socket, via: None }
    }
}

/// A node with all its addresses: at most [`ADDRESSES_MAX`], the preferred one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The key that proves the node.
    pub public_key: PublicKey,
    /// As in [`Contact`].
    pub salt: Option<Salt>,
    /// Never empty in what was decoded.
    pub ways: Vec<Address>,
}

impl Addresses {
    /// The contacts at the node's own addresses, the preferred one first. Relays are left out.
    pub fn contacts(&self) -> impl Iterator<Item = Contact> + '_ {
        let own = self.ways.iter().filter(|way| way.via.is_none());
        own.map(|way| Contact { public_key: self.public_key, salt: self.salt, address: way.socket })
    }
}

impl From<Contact> for Addresses {
    fn from(contact: Contact) -> Self {
        let Contact { public_key, salt, address } = contact;
        Self { public_key, salt, ways: vec![address.into()] }
    }
}

/// Why a text is no contact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    /// There is no `@`.
    #[error("a contact is <public key hex>[.<salt hex>]@<ip>:<port>")]
    Form,
    /// The part before the `@` is no public key.
    #[error("the part before '@' must be 64 hexadecimal digits")]
    PublicKey,
    /// The part between `.` and `@` is no salt.
    #[error("the part between '.' and '@' must be 16 hexadecimal digits")]
    Salt,
    /// The part behind the `@` is no address.
    #[error("the part behind '@' must be <ip>:<port>")]
    Address,
}

impl FromStr for Contact {
    type Err = ContactError;

    fn from_str(text: &str) -> Result<Self, ContactError> {
        let (node, address) = text.split_once('@').ok_or(ContactError::Form)?;
        let (key, salt) = match node.split_once('.') {
            Some((key, salt)) => (key, Some(salt.parse().map_err(|_| ContactError::Salt)?)),
            None => (node, None),
        };
        Ok(Self {
            public_key: key.parse().map_err(|_| ContactError::PublicKey)?,
            salt,
            address: address.parse().map_err(|_| ContactError::Address)?,
        })
    }
}

/// A contact together with its [`NodeId`], which is a hash and therefore kept once computed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Where the node stands in the network.
    pub id: NodeId,
    /// How to reach it.
    pub contact: Contact,
}

impl Peer {
    /// The XOR distance from this node to `key`.
    #[must_use]
    pub fn distance(&self, key: &Key) -> crate::Distance {
        self.id.distance(key)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.id, self.contact.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_for_both_address_families() {
        let public_key = crate::Identity::from_seed([7; 32]).public_key();
        for address in ["127.0.0.1:12345", "[::1]:9"] {
            let plain = Contact::new(public_key, address.parse().expect("address"));
            let salted = Contact { salt: Some(Salt::from_bytes([0xab; 8])), ..plain };
            for contact in [plain, salted] {
                assert_eq!(contact.to_string().parse(), Ok(contact));
            }
            assert_eq!(salted.to_string(), format!("{public_key}.abababababababab@{address}"));
        }
    }

    #[test]
    fn each_wrong_part_is_named() {
        let key = "00".repeat(32);
        assert_eq!("127.0.0.1:1".parse::<Contact>(), Err(ContactError::Form));
        assert_eq!("xy@127.0.0.1:1".parse::<Contact>(), Err(ContactError::PublicKey));
        assert_eq!(format!("{key}@nowhere").parse::<Contact>(), Err(ContactError::Address));
        for salt in ["", "12", &"0".repeat(17), "000000000000000g"] {
            let text = format!("{key}.{salt}@127.0.0.1:1");
            assert_eq!(text.parse::<Contact>(), Err(ContactError::Salt));
        }
    }
}
