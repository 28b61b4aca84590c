//! Direction keys: one for each way between two nodes, from their shared secret.
//!
//! `HKDF-SHA256(ikm = X25519 static-static, info = domain || network id || sender || receiver)`.
//! There is no forward secrecy for control traffic; records are signed and file bytes have TLS.

use std::fmt;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use potluck_base::{Identity, KeyError, NetworkId, PublicKey};
use sha2::Sha256;

use crate::frame::{SEAL_TAG_BYTES, Serial};

const DOMAIN: &[u8] = b"potluck 2026 link direction key";

/// The key of one direction.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum SealKey {
    /// Nothing is encrypted and the tag is zero: for the simulator.
    Off,
    /// Encrypted with this key.
    On([u8; 32]),
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

impl SealKey {
    /// Encrypts what lies from `body` to the tag's place at the end, and writes the tag there.
    pub(crate) fn seal(&self, serial: Serial, datagram: &mut [u8], body: usize) {
        let Self::On(key) = self else { return };
        let (header, sealed) = datagram.split_at_mut(body);
        let (plain, tag) = sealed.split_at_mut(sealed.len() - SEAL_TAG_BYTES);
        let made = XChaCha20Poly1305::new(key.into())
            .encrypt_inout_detached(&XNonce::from(serial.to_bytes()), header, plain.into())
            .expect("a datagram is far shorter than the cipher's limit");
        tag.copy_from_slice(&made);
    }

    /// Decrypts `sealed` (ciphertext and tag) in place. Gives the plaintext, or `None` if the tag
    /// does not hold.
    pub(crate) fn open<'a>(
        &self,
        serial: Serial,
        header: &[u8],
        sealed: &'a mut [u8],
    ) -> Option<&'a [u8]> {
        let (body, tag) = sealed.split_last_chunk_mut::<SEAL_TAG_BYTES>()?;
        match self {
            Self::Off => (*tag == [0; SEAL_TAG_BYTES]).then_some(body),
            Self::On(key) => {
                let nonce = XNonce::from(serial.to_bytes());
                let tag = Tag::from(*tag);
                XChaCha20Poly1305::new(key.into())
                    .decrypt_inout_detached(&nonce, header, (&mut *body).into(), &tag)
                    .ok()?;
                Some(body)
            }
        }
    }
}

/// The keys of both directions between this node and a peer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Keys {
    /// From here to the peer.
    pub(crate) seal: SealKey,
    /// From the peer to here.
    pub(crate) open: SealKey,
}

/// What direction keys are made from.
#[derive(Debug)]
pub(crate) struct KeyMaker {
    identity: Identity,
    public_key: PublicKey,
    network: NetworkId,
    seal: bool,
}

impl KeyMaker {
    /// Keys for the node of `identity`; `seal` is false in the simulator.
    pub(crate) fn new(identity: Identity, network: NetworkId, seal: bool) -> Self {
        let public_key = identity.public_key();
        Self { identity, public_key, network, seal }
    }

    /// Who this node is.
    pub(crate) fn public_key(&self) -> PublicKey {
        self.public_key
    }

    /// The keys shared with `peer`. Costs a key agreement.
    pub(crate) fn agree(&self, peer: &PublicKey) -> Result<Keys, KeyError> {
        if !self.seal {
            return Ok(Keys { seal: SealKey::Off, open: SealKey::Off });
        }
        let secret = self.identity.agree(peer)?;
        let derivation = Hkdf::<Sha256>::new(None, secret.as_bytes());
        let direction = |sender: &PublicKey, receiver: &PublicKey| {
            let mut key = [0; 32];
            let info = [DOMAIN, self.network.as_bytes(), sender.as_bytes(), receiver.as_bytes()];
            derivation
                .expand_multi_info(&info, &mut key)
                .expect("32 bytes are within what HKDF-SHA256 can give");
            SealKey::On(key)
        };
        let own = self.public_key();
        Ok(Keys { seal: direction(&own, peer), open: direction(peer, &own) })
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::Admission;

    use super::*;

    const SERIAL: Serial = Serial { boot: [1; 16], counter: 2 };
    const HEADER: usize = 10;

    fn maker(seed: u8, network: &str) -> KeyMaker {
        let network = NetworkId::new(network, Admission::Lab, None);
        KeyMaker::new(Identity::from_seed([seed; 32]), network, true)
    }

    /// Seals with one key and opens with another.
    fn passes(seal: SealKey, open: SealKey) -> bool {
        let mut bytes = b"the headerthe message".to_vec();
        bytes.resize(bytes.len() + SEAL_TAG_BYTES, 0);
        seal.seal(SERIAL, &mut bytes, HEADER);
        let (header, body) = bytes.split_at_mut(HEADER);
        open.open(SERIAL, header, body) == Some(b"the message")
    }

    #[test]
    fn both_ends_derive_the_same_two_keys_and_nobody_else_does() {
        let (a, b, c) = (maker(1, "x"), maker(2, "x"), maker(3, "x"));
        let at_a = a.agree(&b.public_key()).expect("an honest key");
        let at_b = b.agree(&a.public_key()).expect("an honest key");
        let at_c = c.agree(&a.public_key()).expect("an honest key");
        assert!(passes(at_a.seal, at_b.open) && passes(at_b.seal, at_a.open));
        assert!(!passes(at_a.seal, at_a.open), "one key for each direction");
        assert!(!passes(at_a.seal, at_c.open) && !passes(at_c.seal, at_b.open));
    }

    #[test]
    fn the_same_two_nodes_have_other_keys_in_another_network() {
        let here = maker(1, "x").agree(&maker(2, "x").public_key()).expect("an honest key");
        let there = maker(2, "y").agree(&maker(1, "y").public_key()).expect("an honest key");
        assert!(!passes(here.seal, there.open));
    }

    #[test]
    fn unsealed_datagrams_keep_their_bytes_and_a_zero_tag() {
        assert!(passes(SealKey::Off, SealKey::Off));
        let mut forged = [0; 40];
        forged[39] = 1;
        assert_eq!(SealKey::Off.open(SERIAL, &[], &mut forged), None);
    }

    #[test]
    fn keys_are_not_shown() {
        assert_eq!(format!("{:?}", SealKey::On([7; 32])), "SealKey(..)");
    }

    /// The test vector of docs/protocol.md: a change here is a new version of datagrams.
    #[test]
    fn a_sealed_datagram_is_as_the_published_vector_says() {
        use crate::frame::{Draft, Echo, Inner, Kind, parse_inner};
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let network = NetworkId::new("vector", Admission::Lab, None);
        let (asker, answerer) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
        let keys = KeyMaker::new(answerer.clone(), network, true)
            .agree(&asker.public_key())
            .expect("a good key");
        let echo = Echo {
            asker: "192.0.2.1:12345".parse().expect("address"),
            clock: potluck_base::UnixMillis(1_700_000_000_000),
        };
        let inner = Inner {
            kind: Kind::Response,
            request_id: 0x0102_0304_0506_0708,
            cookie: Some([4; 16]),
            certificate: None,
            echo: Some(echo),
            message: &[2, 0x82, 0, 0x80],
        };
        let draft = Draft {
            tag: network.tag(),
            sender: answerer.public_key(),
            serial: Serial { boot: [3; 16], counter: 5 },
            header_cookie: None,
            inner,
            bytes_min: 0,
        };
        let (mut bytes, body) = draft.write();
        keys.seal.seal(draft.serial, &mut bytes, body);
        let page = include_str!("../../../docs/protocol.md");
        let parts = [network.as_bytes().as_slice(), &bytes[..body], &bytes[body..]].map(hex);
        let missing: Vec<&String> = parts.iter().filter(|part| !page.contains(*part)).collect();
        assert!(missing.is_empty(), "not in docs/protocol.md: {missing:#?}");
        let opened =
            KeyMaker::new(asker, network, true).agree(&answerer.public_key()).expect("a good key");
        let (header, sealed) = bytes.split_at_mut(body);
        let plain = opened.open.open(draft.serial, header, sealed).expect("it holds");
        assert_eq!(parse_inner(plain), Some(inner));
    }
}
