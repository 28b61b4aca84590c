//! Identities: Ed25519 key pairs, signatures, and the Diffie-Hellman agreement behind sealed
//! datagrams.
//!
//! One key pair serves for both: the X25519 keys are the Ed25519 keys in Montgomery form (the
//! birational map of RFC 7748 section 4.1). Weak and torsioned public keys are refused, so that two
//! encodings of one peer never agree on the same secret.

use std::cmp::Ordering;
use std::fmt;

use ed25519_dalek::{Signer, SigningKey, Verifier, VerifyingKey};

use crate::hex::hex_text;
use crate::order::by_words;
use crate::{NetworkId, NodeId, signature_memo};

/// Bytes in a public key.
pub const PUBLIC_KEY_BYTES: usize = 32;
/// Bytes in a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Why a key or signature was not accepted. Nothing changed; drop what carried it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not 64 hexadecimal digits.
    #[error("a public key is 64 hexadecimal digits")]
    Text,
    /// The bytes are no point of the curve, or a weak or torsioned one.
    #[error("the public key is not a safe curve point")]
    Point,
    /// The signature does not belong to this message and key.
    #[error("the signature does not match")]
    Signature,
}

/// An Ed25519 public key in its 32-byte form. It is only checked to be a curve point when used.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; PUBLIC_KEY_BYTES]);

impl Ord for PublicKey {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        by_words(&self.0, &other.0)
    }
}

impl PartialOrd for PublicKey {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PublicKey {
    /// Wraps 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; PUBLIC_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.0
    }

    /// Where the owner of this key stands in `network` if it has no salt.
    #[must_use]
    pub fn node_id(&self, network: &NetworkId) -> NodeId {
        NodeId::of(network, self, None)
    }

    /// Checks a signature over `message` (RFC 8032 without cofactor; weak keys are refused, since a
    /// signature under one would hold for several messages).
    ///
    /// # Errors
    /// [`KeyError::Point`] if this is no curve point, [`KeyError::Signature`] if it does not match.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), KeyError> {
        signature_memo::remembered(self, message, signature, || self.check(message, signature))
    }

    /// [`PublicKey::verify`], computed in any case.
    pub(crate) fn check(&self, message: &[u8], signature: &Signature) -> Result<(), KeyError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| KeyError::Point)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        if key.is_weak() {
            return Err(KeyError::Point);
        }
        key.verify(message, &signature).map_err(|_| KeyError::Signature)
    }
}

hex_text!(PublicKey, parse: KeyError::Text => KeyError);

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; SIGNATURE_BYTES]);

impl Signature {
    /// Wraps 64 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SIGNATURE_BYTES]) -> Self {
        Self(bytes)
    }

    /// The 64 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// What two identities share and no other party knows: the input of a key derivation, never a key
/// itself.
pub struct SharedSecret(x25519_dalek::SharedSecret);

impl SharedSecret {
    /// The 32 bytes of the Diffie-Hellman result.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

/// A node's key pair. The secret never leaves this type but by [`Identity::seed`].
#[derive(Clone)]
pub struct Identity {
    signing: SigningKey,
    agreement: x25519_dalek::StaticSecret,
}

impl Identity {
    /// The key pair of a 32-byte secret seed. The shell draws the seed from the OS, the simulator
    /// from its own seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(&seed);
        let agreement = x25519_dalek::StaticSecret::from(signing.to_scalar_bytes());
        Self { signing, agreement }
    }

    /// The secret seed, to be kept in a file only its owner can read.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.signing.to_bytes()
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.signing.verifying_key().to_bytes())
    }

    /// Signs `message`; deterministic, so the same input gives the same bytes everywhere.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.signing.sign(message).to_bytes())
    }

    /// The secret shared with the owner of `peer` (X25519, static-static).
    ///
    /// # Errors
    /// [`KeyError::Point`] if `peer` is no curve point, or a weak or torsioned one.
    pub fn agree(&self, peer: &PublicKey) -> Result<SharedSecret, KeyError> {
        let key = VerifyingKey::from_bytes(&peer.0).map_err(|_| KeyError::Point)?;
        if key.is_weak() || !key.to_edwards().is_torsion_free() {
            return Err(KeyError::Point);
        }
        let point = x25519_dalek::PublicKey::from(key.to_montgomery().to_bytes());
        Ok(SharedSecret(self.agreement.diffie_hellman(&point)))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.public_key())
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    fn identity(number: u8) -> Identity {
        Identity::from_seed([number; 32])
    }

    #[test]
    fn both_ends_agree_on_one_secret_and_a_third_does_not() {
        let (a, b, c) = (identity(1), identity(2), identity(3));
        let ab = a.agree(&b.public_key()).expect("honest key");
        let ba = b.agree(&a.public_key()).expect("honest key");
        let cb = c.agree(&b.public_key()).expect("honest key");
        assert_eq!(ab.as_bytes(), ba.as_bytes());
        assert_ne!(ab.as_bytes(), cb.as_bytes());
    }

    #[test]
    fn weak_and_torsioned_keys_are_refused() {
        // The identity element and a point of order eight (RFC 8032 test material).
        let mut one = [0; 32];
        one[0] = 1;
        let order_eight =
            PublicKey::from_str("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
                .expect("hex");
        for weak in [PublicKey(one), order_eight] {
            assert_eq!(identity(1).agree(&weak).unwrap_err(), KeyError::Point);
        }
    }

    #[test]
    fn a_signature_holds_for_its_message_and_key_only() {
        let signature = identity(1).sign(b"dish");
        let key = identity(1).public_key();
        assert_eq!(key.verify(b"dish", &signature), Ok(()));
        assert_eq!(key.verify(b"fish", &signature), Err(KeyError::Signature));
        assert_eq!(identity(2).public_key().verify(b"dish", &signature), Err(KeyError::Signature));
    }

    #[test]
    fn nothing_is_signed_by_a_weak_key() {
        // Under the neutral element the all-neutral signature holds for every message.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut forged = [0; 64];
        forged[0] = 1;
        let result = PublicKey(neutral).verify(b"anything", &Signature(forged));
        assert_eq!(result, Err(KeyError::Point));
    }

    #[test]
    fn one_key_stands_elsewhere_in_another_network() {
        use crate::Admission;
        let key = identity(1).public_key();
        let here = NetworkId::new("a", Admission::Lab, None);
        let there = NetworkId::new("b", Admission::Lab, None);
        assert_ne!(key.node_id(&here), key.node_id(&there));
    }
}
