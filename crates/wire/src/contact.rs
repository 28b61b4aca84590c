//! Contacts and addresses as CBOR.
//!
//! A contact is `[key, address]` or `[key, address, salt]`; further elements are skipped. A node with several
//! addresses is `[key, salt or null, [* way]]`. A way is an address or `[address, via]`, where `via` is the
//! key of a relay. An address is the IPv4 or IPv6 address followed by the port, in 6 or 18 bytes.

use std::net::{IpAddr, SocketAddr};

use minicbor::data::Type;
use minicbor::encode::Write;
use minicbor::{Decoder, Encoder};
use potluck_base::{ADDRESSES_MAX, Address, Addresses, PublicKey, Salt};

use crate::codec::{Written, elements, fixed};

type Wrong = minicbor::decode::Error;

/// The bytes of an address: the IP address, then the port, big-endian.
#[must_use]
pub fn socket_bytes(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    match address.ip() {
        IpAddr::V4(ip) => [&ip.octets()[..], &port].concat(),
        IpAddr::V6(ip) => [&ip.octets()[..], &port].concat(),
    }
}

/// Decodes the result of [`socket_bytes`]. `None` if the length is neither that of IPv4 nor that of IPv6.
#[must_use]
pub fn socket_of(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

fn socket(d: &mut Decoder<'_>) -> Result<SocketAddr, Wrong> {
    socket_of(d.bytes()?).ok_or_else(|| Wrong::message("address"))
}

fn salt_or_null(d: &mut Decoder<'_>) -> Result<Option<Salt>, Wrong> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    fixed(d).map(|bytes| Some(Salt::from_bytes(bytes)))
}

fn write_salt<W: Write>(salt: Option<Salt>, e: &mut Encoder<W>) -> Written<W> {
    match salt {
        Some(salt) => e.bytes(salt.as_bytes())?,
        None => e.null()?,
    };
    Ok(())
}

pub(crate) mod cbor_salt {
    //! A salt or null, as a field of a map.
    use super::{Decoder, Encoder, Salt, Write, Written, Wrong};

    pub(crate) fn encode<C, W: Write>(
        salt: &Option<Salt>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        super::write_salt(*salt, e)
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Option<Salt>, Wrong> {
        super::salt_or_null(d)
    }

    pub(crate) fn nil() -> Option<Option<Salt>> {
        Some(None)
    }

    pub(crate) fn is_nil(salt: &Option<Salt>) -> bool {
        salt.is_none()
    }
}

pub(crate) mod cbor_contact {
    //! One contact.
    use super::{Decoder, Encoder, Write, Written, Wrong};
    use potluck_base::Contact;

    pub(crate) fn encode<C, W: Write>(
        contact: &Contact,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        super::cbor_contacts::one(contact, e)
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Contact, Wrong> {
        super::cbor_contacts::contact(d)
    }
}

pub(crate) mod cbor_contacts {
    //! Contacts as an array.
    use super::{
        Decoder, Encoder, PublicKey, Write, Written, Wrong, elements, fixed, salt_or_null, socket,
        socket_bytes, write_salt,
    };
    use crate::limits::CONTACTS_MAX;
    use potluck_base::Contact;

    /// Elements after the salt that a later version may add.
    const RESERVED_MAX: u64 = 4;

    pub(crate) fn encode<C, W: Write>(
        contacts: &[Contact],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(contacts.len() as u64)?;
        contacts.iter().try_for_each(|contact| one(contact, e))
    }

    pub(crate) fn one<W: Write>(contact: &Contact, e: &mut Encoder<W>) -> Written<W> {
        e.array(if contact.salt.is_some() { 3 } else { 2 })?;
        e.bytes(contact.public_key.as_bytes())?.bytes(&socket_bytes(contact.address))?;
        match contact.salt {
            Some(salt) => write_salt(Some(salt), e),
            None => Ok(()),
        }
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Contact>, Wrong> {
        elements(d, CONTACTS_MAX, contact)
    }

    pub(crate) fn contact(d: &mut Decoder<'_>) -> Result<Contact, Wrong> {
        let length = d.array()?.filter(|length| (2..=3 + RESERVED_MAX).contains(length));
        let length = length.ok_or_else(|| Wrong::message("contact"))?;
        let public_key = PublicKey::from_bytes(fixed(d)?);
        let address = socket(d)?;
        let salt = if length > 2 { salt_or_null(d)? } else { None };
        for _ in 3..length {
            d.skip()?;
        }
        Ok(Contact { public_key, salt, address })
    }
}

pub(crate) mod cbor_ways {
    //! The addresses of one node: one to [`ADDRESSES_MAX`].
    use super::{
        ADDRESSES_MAX, Address, Decoder, Encoder, PublicKey, Type, Write, Written, Wrong, elements,
        fixed, socket, socket_bytes,
    };

    pub(crate) fn encode<C, W: Write>(
        ways: &[Address],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(ways.len() as u64)?;
        for way in ways {
            if let Some(relay) = way.via {
                e.array(2)?.bytes(&socket_bytes(way.socket))?.bytes(relay.as_bytes())?;
            } else {
                e.bytes(&socket_bytes(way.socket))?;
            }
        }
        Ok(())
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<Address>, Wrong> {
        let ways = elements(d, ADDRESSES_MAX, way)?;
        if ways.is_empty() { Err(Wrong::message("no address")) } else { Ok(ways) }
    }

    fn way(d: &mut Decoder<'_>) -> Result<Address, Wrong> {
        if d.datatype()? != Type::Array {
            return Ok(socket(d)?.into());
        }
        if d.array()? != Some(2) {
            return Err(Wrong::message("address"));
        }
        Ok(Address { socket: socket(d)?, via: Some(PublicKey::from_bytes(fixed(d)?)) })
    }
}

pub(crate) mod cbor_addresses {
    //! A node with all its addresses.
    use super::{
        Addresses, Decoder, Encoder, PublicKey, Write, Written, Wrong, cbor_ways, fixed,
        salt_or_null, write_salt,
    };

    pub(crate) fn encode<C, W: Write>(
        node: &Addresses,
        e: &mut Encoder<W>,
        c: &mut C,
    ) -> Written<W> {
        e.array(3)?.bytes(node.public_key.as_bytes())?;
        write_salt(node.salt, e)?;
        cbor_ways::encode(&node.ways, e, c)
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, c: &mut C) -> Result<Addresses, Wrong> {
        if d.array()? != Some(3) {
            return Err(Wrong::message("node with addresses"));
        }
        let public_key = PublicKey::from_bytes(fixed(d)?);
        let salt = salt_or_null(d)?;
        Ok(Addresses { public_key, salt, ways: cbor_ways::decode(d, c)? })
    }
}

pub(crate) mod cbor_entry_points {
    //! The nodes in a ticket.
    use super::{Addresses, Decoder, Encoder, Write, Written, Wrong, cbor_addresses, elements};
    use crate::limits::TICKET_CONTACTS_MAX;

    pub(crate) fn encode<C, W: Write>(
        nodes: &[Addresses],
        e: &mut Encoder<W>,
        c: &mut C,
    ) -> Written<W> {
        e.array(nodes.len() as u64)?;
        nodes.iter().try_for_each(|node| cbor_addresses::encode(node, e, c))
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, c: &mut C) -> Result<Vec<Addresses>, Wrong> {
        elements(d, TICKET_CONTACTS_MAX, |d| cbor_addresses::decode(d, c))
    }
}
