//! How to reach a node: its public key and an address, written `<public key hex>@<ip>:<port>`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use crate::{Key, NetworkId, NodeId, PublicKey};

/// A node as others name it: who it says it is and where.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// The key that proves the node.
    pub public_key: PublicKey,
    /// Where its UDP port is.
    pub address: SocketAddr,
}

impl Contact {
    /// This contact with its place in `network`.
    #[must_use]
    pub fn in_network(self, network: &NetworkId) -> Peer {
        Peer { id: self.public_key.node_id(network), contact: self }
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.public_key, self.address)
    }
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.public_key, self.address)
    }
}

/// Why a text is no contact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContactError {
    /// There is no `@`.
    #[error("a contact is <public key hex>@<ip>:<port>")]
    Form,
    /// The part before the `@` is no public key.
    #[error("the part before '@' must be 64 hexadecimal digits")]
    PublicKey,
    /// The part behind the `@` is no address.
    #[error("the part behind '@' must be <ip>:<port>")]
    Address,
}

impl FromStr for Contact {
    type Err = ContactError;

    fn from_str(text: &str) -> Result<Self, ContactError> {
        let (key, address) = text.split_once('@').ok_or(ContactError::Form)?;
        Ok(Self {
            public_key: key.parse().map_err(|_| ContactError::PublicKey)?,
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
        for address in ["127.0.0.1:12345", "[::1]:9"] {
            let contact = Contact {
                public_key: crate::Identity::from_seed([7; 32]).public_key(),
                address: address.parse().expect("address"),
            };
            assert_eq!(contact.to_string().parse(), Ok(contact));
        }
    }

    #[test]
    fn each_wrong_part_is_named() {
        let key = "00".repeat(32);
        assert_eq!("127.0.0.1:1".parse::<Contact>(), Err(ContactError::Form));
        assert_eq!("xy@127.0.0.1:1".parse::<Contact>(), Err(ContactError::PublicKey));
        assert_eq!(format!("{key}@nowhere").parse::<Contact>(), Err(ContactError::Address));
    }
}
