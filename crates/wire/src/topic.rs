//! Requests and answers between the nodes of a topic's overlay.
//!
//! Every request is answered, so that each hop is acknowledged: the first message that a failed
//! neighbour does not acknowledge shows the failure. A message carries its publisher's signature
//! over the bytes that are cached and forwarded.

use bytes::Bytes;
use minicbor::{Decode, Decoder, Encode, Encoder};
use potluck_base::{Contact, Identity, KeyError, NetworkId, PublicKey, Signature, UnixMillis};

use crate::codec::{cbor_bytes, fixed};
use crate::contact::{cbor_contact, cbor_contacts};
use crate::limits::{ID_RANGES_MAX, TOPIC_PAYLOAD_BYTES_MAX};
use crate::message::Contacts;

const MESSAGE_DOMAIN: &[u8] = b"potluck 2026 topic message";

/// The id of a topic on the wire: the first 16 bytes of a hash of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct TopicId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

/// A request to a node in one topic.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct InTopic {
    /// The topic.
    #[n(0)]
    pub topic: TopicId,
    /// The request.
    #[n(1)]
    pub body: TopicRequest,
}

/// A request in a topic (see [`InTopic`]).
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum TopicRequest {
    /// NEIGHBOR: requests a link. Answered by [`TopicResponse::Accepted`] or
    /// [`TopicResponse::Declined`].
    #[n(0)]
    Neighbour {
        /// The sender has no other link.
        #[n(0)]
        high_priority: bool,
        /// For how long the sender has been in the topic, in milliseconds: it wants no older
        /// messages.
        #[n(1)]
        age_ms: u64,
    },
    /// DISCONNECT: the sender drops the link.
    #[n(1)]
    Disconnect {
        /// The reason.
        #[n(0)]
        cause: DisconnectCause,
        /// Alternative contacts to ask for a link.
        #[cbor(n(1), with = "cbor_contacts")]
        others: Contacts,
    },
    /// FORWARDJOIN: relay this joiner, or where its hops end request a link from it.
    #[n(2)]
    ForwardJoin {
        /// The joiner.
        #[cbor(n(0), with = "cbor_contact")]
        joiner: Contact,
        /// Hops left.
        #[n(1)]
        hops: u8,
    },
    /// SHUFFLE: relay these contacts, or where the hops end reply to the origin.
    #[n(3)]
    Shuffle {
        /// The node that began the shuffle.
        #[cbor(n(0), with = "cbor_contact")]
        origin: Contact,
        /// Identifies the shuffle to its origin.
        #[n(1)]
        nonce: u64,
        /// Hops left.
        #[n(2)]
        hops: u8,
        /// The origin's contacts.
        #[cbor(n(3), with = "cbor_contacts")]
        contacts: Contacts,
    },
    /// The reply to a shuffle, sent to its origin.
    #[n(4)]
    ShuffleReply {
        /// The nonce of the shuffle.
        #[n(0)]
        nonce: u64,
        /// Contacts of the replying node.
        #[cbor(n(1), with = "cbor_contacts")]
        contacts: Contacts,
    },
    /// Asks whether the node is alive.
    #[n(5)]
    Probe,
    /// Eager push of messages. Answered by [`TopicResponse::GossipAck`].
    #[n(6)]
    Gossip {
        /// Encoded [`SignedMessage`]s.
        #[cbor(n(0), with = "cbor_bytes")]
        messages: Vec<Bytes>,
    },
    /// IHAVE: announces messages that the sender has.
    #[n(7)]
    IHave {
        /// Their ids.
        #[cbor(n(0), with = "cbor_id_ranges")]
        ranges: Vec<IdRange>,
    },
    /// GRAFT: asks for these messages. Answered by [`TopicResponse::GraftAck`].
    #[n(8)]
    Graft {
        /// Their ids; may be empty. An empty range names its publisher only.
        #[cbor(n(0), with = "cbor_id_ranges")]
        ranges: Vec<IdRange>,
        /// Also push future messages of the same publishers as soon as they arrive; without ranges,
        /// those of all publishers that share a tree.
        #[n(1)]
        eager: bool,
    },
}

/// Why a node drops a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum DisconnectCause {
    /// It leaves the topic.
    #[n(0)]
    Left,
    /// It has too many neighbours.
    #[n(1)]
    Room,
    /// The other node broke the rules.
    #[n(2)]
    Misbehaved,
}

/// The answer to a [`TopicRequest`].
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub enum TopicResponse {
    /// Acknowledged, with nothing to add.
    #[n(0)]
    Ack,
    /// The link is made.
    #[n(1)]
    Accepted {
        /// For how long the answering node has been in the topic, in milliseconds.
        #[n(0)]
        age_ms: u64,
    },
    /// There is no room for a link.
    #[n(2)]
    Declined {
        /// Alternative contacts that may have room.
        #[cbor(n(0), with = "cbor_contacts")]
        others: Contacts,
    },
    /// The pushed messages were received.
    #[n(3)]
    GossipAck {
        /// Bit i, counted from the lowest, is about the i-th message of the push. If it is set,
        /// that message was a duplicate: from now on only announce the messages of its publisher's
        /// tree.
        #[n(0)]
        prune: u64,
        /// The answering node's own queues fill up.
        #[n(1)]
        busy: bool,
    },
    /// The grafted messages that are cached will follow.
    #[n(4)]
    GraftAck {
        /// How many are not cached.
        #[n(0)]
        lacking: u32,
    },
    /// The requesting node is no neighbour here.
    #[n(5)]
    NotNeighbour,
}

/// Consecutive messages of one publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IdRange {
    /// The publisher.
    pub publisher: PublicKey,
    /// The incarnation of the publisher.
    pub incarnation: u64,
    /// The first sequence number.
    pub first: u64,
    /// The number of messages.
    pub count: u32,
}

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

/// Bytes that are no signed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a signed message")]
pub struct SignedMessageError;

impl SignedMessage {
    /// Signs a message for `topic` in `network`.
    #[must_use]
    pub fn sign(
        identity: &Identity,
        (network, topic): (&NetworkId, TopicId),
        (incarnation, sequence): (u64, u64),
        at: UnixMillis,
        payload: Bytes,
    ) -> Self {
        let mut message = Self {
            publisher: identity.public_key(),
            incarnation,
            sequence,
            at,
            payload,
            signature: Signature::from_bytes([0; 64]),
        };
        message.signature = identity.sign(&message.signed_bytes(network, topic));
        message
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`KeyError`] if the publisher did not sign this in this topic of this network.
    pub fn verify(&self, network: &NetworkId, topic: TopicId) -> Result<(), KeyError> {
        self.publisher.verify(&self.signed_bytes(network, topic), &self.signature)
    }

    /// All parts but the payload have a fixed length, so that no two messages sign the same bytes.
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

    /// Reads a message. The signature is not checked; the payload is a view of `bytes`.
    ///
    /// # Errors
    /// [`SignedMessageError`] if the bytes are no message within the limits.
    pub fn decode(bytes: &Bytes) -> Result<Self, SignedMessageError> {
        Self::parts(bytes).map_err(|_| SignedMessageError)
    }

    fn parts(bytes: &Bytes) -> Result<Self, minicbor::decode::Error> {
        let wrong = || minicbor::decode::Error::message("message");
        let mut d = Decoder::new(bytes);
        if d.array()? != Some(6) {
            return Err(wrong());
        }
        let publisher = PublicKey::from_bytes(fixed(&mut d)?);
        let (incarnation, sequence) = (d.u64()?, d.u64()?);
        let at = UnixMillis(d.u64()?);
        let payload = d.bytes()?;
        if payload.len() > TOPIC_PAYLOAD_BYTES_MAX || sequence == 0 {
            return Err(wrong());
        }
        let payload = bytes.slice_ref(payload);
        let signature = Signature::from_bytes(fixed(&mut d)?);
        if d.position() != bytes.len() {
            return Err(wrong());
        }
        Ok(Self { publisher, incarnation, sequence, at, payload, signature })
    }
}

mod cbor_id_ranges {
    //! Id ranges as an array of arrays of four.
    use super::{Decoder, Encoder, ID_RANGES_MAX, IdRange, PublicKey, fixed};
    use crate::codec::{Written, elements};
    use minicbor::encode::Write;

    pub(super) fn encode<C, W: Write>(
        ranges: &[IdRange],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Written<W> {
        e.array(ranges.len() as u64)?;
        for range in ranges {
            e.array(4)?.bytes(range.publisher.as_bytes())?;
            e.u64(range.incarnation)?.u64(range.first)?.u32(range.count)?;
        }
        Ok(())
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Vec<IdRange>, minicbor::decode::Error> {
        elements(d, ID_RANGES_MAX, |d| {
            if d.array()? != Some(4) {
                return Err(minicbor::decode::Error::message("run"));
            }
            let publisher = PublicKey::from_bytes(fixed(d)?);
            Ok(IdRange { publisher, incarnation: d.u64()?, first: d.u64()?, count: d.u32()? })
        })
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
        let payload = Bytes::from_static(b"hello");
        (
            network,
            topic,
            SignedMessage::sign(&identity, (&network, topic), (5, 9), UnixMillis(7), payload),
        )
    }

    #[test]
    fn a_signed_message_survives_its_bytes_and_verifies() {
        let (network, topic, message) = signed();
        let read = SignedMessage::decode(&message.encode()).expect("a message");
        assert_eq!(read, message);
        assert_eq!(read.verify(&network, topic), Ok(()));
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
