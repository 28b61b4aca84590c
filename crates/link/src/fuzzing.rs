//! For fuzz targets: sealed datagrams whose inside is any bytes.
//!
//! Mutated datagrams fail at the seal, so mutations of them test nothing behind it. This seals mutated
//! insides with the right keys.

use bytes::Bytes;
use potluck_base::{Identity, KeyError, NetworkId, PublicKey};

use crate::frame::{self, BOOT_BYTES, Draft, Inner, Kind, SEAL_TAG_BYTES, Serial};
use crate::keys::{KeyMaker, Keys};

/// The keys between two nodes, held by one of them.
#[derive(Debug)]
pub struct Sealer {
    tag: [u8; 8],
    sender: PublicKey,
    boot: [u8; BOOT_BYTES],
    counter: u64,
    keys: Keys,
}

impl Sealer {
    /// A sender of datagrams from `me` to `peer`. `boot` tells its datagrams from those of other senders
    /// with the same keys.
    ///
    /// # Errors
    /// [`KeyError`] if the peer's key is none.
    pub fn new(
        me: Identity,
        network: NetworkId,
        peer: &PublicKey,
        boot: [u8; 16],
    ) -> Result<Self, KeyError> {
        let sender = me.public_key();
        let keys = KeyMaker::new(me, network, true).agree(peer)?;
        Ok(Self { tag: network.tag(), sender, boot, counter: 0, keys })
    }

    /// A datagram whose seal encloses `inside` as it is.
    pub fn seal(&mut self, inside: &[u8]) -> Bytes {
        let message = Inner {
            kind: Kind::Request,
            request_id: 0,
            cookie: None,
            certificate: None,
            echo: None,
            message: &[],
        };
        let serial = Serial { boot: self.boot, counter: self.counter };
        self.counter += 1;
        let (tag, sender) = (self.tag, self.sender);
        let draft =
            Draft { tag, sender, serial, header_cookie: None, inner: message, bytes_min: 0 };
        let (mut bytes, body) = draft.write();
        bytes.truncate(body);
        bytes.extend_from_slice(inside);
        bytes.resize(bytes.len() + SEAL_TAG_BYTES, 0);
        self.keys.seal.seal(serial, &mut bytes, body);
        bytes.into()
    }

    /// The inside of a datagram that the peer sealed for this node.
    #[must_use]
    pub fn open(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let frame::Frame::Sealed(sealed) = frame::parse(datagram, &self.tag).ok()? else {
            return None;
        };
        let mut body = sealed.body.to_vec();
        self.keys.open.open(sealed.serial, sealed.header, &mut body).map(<[u8]>::to_vec)
    }
}
