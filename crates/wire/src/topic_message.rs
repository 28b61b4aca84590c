//! The messages of topics. A message carries its publisher's signature over the bytes that are cached
//! and forwarded.

use bytes::Bytes;
use minicbor::{Decoder, Encoder};
use potluck_base::{Identity, KeyError, NetworkId, PublicKey, Signature, UnixMillis};

use crate::codec::fixed;
use crate::limits::{CERTIFICATE_BYTES_MAX, TOPIC_PAYLOAD_BYTES_MAX};
use crate::topic::TopicId;

const MESSAGE_DOMAIN: &[u8] = b"potluck 2026 topic message";

/// A message with its publisher's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedMessage {
    /// The publisher.
    pub publisher: PublicKey,
    /// The incarnation of the publisher.
    pub incarnation: u64,
    /// Sequence number within this incarnation, from 1.
    pub sequence: u64,
    /// When it was published, by the publisher's clock as corrected by its peers.
    pub at: UnixMillis,
    /// The payload, at most [`TOPIC_PAYLOAD_BYTES_MAX`].
    pub payload: Bytes,
    /// See [`SignedMessage::verify`].
    pub signature: Signature,
}

/// The data that a publisher signs besides its public key and the payload (see [`SignedMessage::sign`]).
#[derive(Debug, Clone, Copy)]
pub struct MessageHead<'a> {
    /// The network of the topic. It is signed and not sent.
    pub network: &'a NetworkId,
    /// The topic. It is signed and not sent.
    pub topic: TopicId,
    /// The incarnation of the publisher.
    pub incarnation: u64,
    /// Sequence number within this incarnation, from 1.
    pub sequence: u64,
    /// When the message is published, in milliseconds since the Unix epoch by the publisher's clock
    /// as corrected by its peers.
    pub at: UnixMillis,
}

/// The bytes are not a signed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a signed message")]
pub struct SignedMessageError;

impl SignedMessage {
    /// Signs a message with this head.
    #[must_use]
    pub fn sign(identity: &Identity, head: &MessageHead<'_>, payload: Bytes) -> Self {
        let mut message = Self {
            publisher: identity.public_key(),
            incarnation: head.incarnation,
            sequence: head.sequence,
            at: head.at,
            payload,
            signature: Signature::from_bytes([0; 64]),
        };
        message.signature = identity.sign(&message.signed_bytes(head.network, head.topic));
        message
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`KeyError`] if the publisher did not sign this in this topic of this network.
    pub fn verify(&self, network: &NetworkId, topic: TopicId) -> Result<(), KeyError> {
        self.publisher.verify(&self.signed_bytes(network, topic), &self.signature)
    }

    /// The signed bytes. All parts except the payload have a fixed length, so no two messages have the same
    /// signed bytes.
    fn signed_bytes(&self, network: &NetworkId, topic: TopicId) -> Vec<u8> {
        [
            MESSAGE_DOMAIN,
            network.as_bytes(),
            &topic.0,
            self.publisher.as_bytes(),
            &self.incarnation.to_be_bytes(),
            &self.sequence.to_be_bytes(),
            &self.at.0.to_be_bytes(),
            &self.payload,
        ]
        .concat()
    }

    /// The bytes that are cached and forwarded.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(128 + self.payload.len());
        Encoder::new(&mut out)
            .array(6)
            .and_then(|e| e.bytes(self.publisher.as_bytes()))
            .and_then(|e| e.u64(self.incarnation))
            .and_then(|e| e.u64(self.sequence))
            .and_then(|e| e.u64(self.at.0))
            .and_then(|e| e.bytes(&self.payload))
            .and_then(|e| e.bytes(self.signature.as_bytes()))
            .expect("writing to memory cannot fail");
        out.into()
    }

    /// The bytes that are cached and forwarded, with the publisher's certificate. The publisher's signature
    /// does not cover the certificate, which has a signature of its own.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "what is encoded here begins with the head of an array"
    )]
    pub fn encode_shown(&self, certificate: &[u8]) -> Bytes {
        let plain = self.encode();
        let mut out = Vec::with_capacity(plain.len() + certificate.len() + 3);
        // An array of seven instead of six.
        out.push(plain[0] + 1);
        out.extend_from_slice(&plain[1..]);
        Encoder::new(&mut out).bytes(certificate).expect("writing to memory cannot fail");
        out.into()
    }

    /// The certificate in the bytes of a message, as a slice of them, if there is one.
    #[must_use]
    pub fn shown_in(bytes: &Bytes) -> Option<Bytes> {
        Self::parts(bytes).ok()?.1
    }

    /// Decodes a message without checking the signature. The payload is a slice of `bytes`.
    ///
    /// # Errors
    /// [`SignedMessageError`] if the bytes are not a message within the limits.
    pub fn decode(bytes: &Bytes) -> Result<Self, SignedMessageError> {
        Self::parts(bytes).map(|(message, _)| message).map_err(|_| SignedMessageError)
    }

    fn parts(bytes: &Bytes) -> Result<(Self, Option<Bytes>), minicbor::decode::Error> {
        let wrong = || minicbor::decode::Error::message("message");
        let mut d = Decoder::new(bytes);
        let shows = match d.array()? {
            Some(6) => false,
            Some(7) => true,
            _ => return Err(wrong()),
        };
        let publisher = PublicKey::from_bytes(fixed(&mut d)?);
        let (incarnation, sequence) = (d.u64()?, d.u64()?);
        let at = UnixMillis(d.u64()?);
        let payload = d.bytes()?;
        if payload.len() > TOPIC_PAYLOAD_BYTES_MAX || sequence == 0 {
            return Err(wrong());
        }
        let payload = bytes.slice_ref(payload);
        let signature = Signature::from_bytes(fixed(&mut d)?);
        let certificate = if shows { Some(d.bytes()?) } else { None };
        let too_long = certificate.is_some_and(|shown| shown.len() > CERTIFICATE_BYTES_MAX);
        if d.position() != bytes.len() || too_long {
            return Err(wrong());
        }
        let certificate = certificate.map(|shown| bytes.slice_ref(shown));
        let message = Self { publisher, incarnation, sequence, at, payload, signature };
        Ok((message, certificate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::Admission;

    fn signed() -> (NetworkId, TopicId, SignedMessage) {
        let network = NetworkId::new("test", Admission::Lab, None);
        let topic = TopicId([7; 16]);
        let identity = Identity::from_seed([1; 32]);
        let head = MessageHead {
            network: &network,
            topic,
            incarnation: 5,
            sequence: 9,
            at: UnixMillis(7),
        };
        let message = SignedMessage::sign(&identity, &head, Bytes::from_static(b"hello"));
        (network, topic, message)
    }

    #[test]
    fn a_signed_message_survives_its_bytes_and_verifies() {
        let (network, topic, message) = signed();
        let read = SignedMessage::decode(&message.encode()).expect("a message");
        assert_eq!(read, message);
        assert_eq!(read.verify(&network, topic), Ok(()));
    }

    #[test]
    fn a_certificate_is_shown_beside_a_message_within_its_limit() {
        let (network, topic, message) = signed();
        for length in [0, 1, 200, CERTIFICATE_BYTES_MAX] {
            let bytes = message.encode_shown(&vec![7; length]);
            let read = SignedMessage::decode(&bytes).expect("a message");
            assert_eq!((&read, read.verify(&network, topic)), (&message, Ok(())));
            assert_eq!(SignedMessage::shown_in(&bytes), Some(Bytes::from(vec![7; length])));
            let cut = bytes.slice(..bytes.len() - 1);
            assert!(
                SignedMessage::decode(&cut).is_err() && SignedMessage::shown_in(&cut).is_none()
            );
        }
        assert_eq!(SignedMessage::shown_in(&message.encode()), None);
        let longer = message.encode_shown(&[7; CERTIFICATE_BYTES_MAX + 1]);
        assert!(SignedMessage::decode(&longer).is_err());
    }

    #[test]
    fn another_topic_network_sequence_time_or_payload_breaks_the_signature() {
        let (network, topic, message) = signed();
        let other = NetworkId::new("other", Admission::Lab, None);
        assert!(message.verify(&other, topic).is_err());
        assert!(message.verify(&network, TopicId([8; 16])).is_err());
        let payload = Bytes::from_static(b"hellO");
        let changed = [
            SignedMessage { sequence: 10, ..message.clone() },
            SignedMessage { incarnation: 6, ..message.clone() },
            SignedMessage { at: UnixMillis(8), ..message.clone() },
            SignedMessage { payload, ..message },
        ];
        assert!(changed.iter().all(|message| message.verify(&network, topic).is_err()));
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        let (_, _, message) = signed();
        let whole = message.encode();
        assert!((0..whole.len()).all(|end| SignedMessage::decode(&whole.slice(..end)).is_err()));
        let longer = Bytes::from([&whole[..], &[0]].concat());
        let zero = SignedMessage { sequence: 0, ..message.clone() }.encode();
        let payload = Bytes::from(vec![0; TOPIC_PAYLOAD_BYTES_MAX + 1]);
        let huge = SignedMessage { payload, ..message }.encode();
        for bad in [longer, zero, huge] {
            assert_eq!(SignedMessage::decode(&bad), Err(SignedMessageError));
        }
    }
}
