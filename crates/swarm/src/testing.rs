//! Nodes for tests.

use std::net::SocketAddr;

use potluck_base::{Contact, PublicKey};

/// A node that exists in tests only.
pub(crate) fn contact(number: u16) -> Contact {
    let mut key = [7; 32];
    key[..2].copy_from_slice(&number.to_be_bytes());
    let address = SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 7));
    Contact::new(PublicKey::from_bytes(key), address)
}
