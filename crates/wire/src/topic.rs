//! Requests and answers between the nodes of a topic's overlay.
//!
//! Every request is answered, so that each hop is acknowledged: the first message that a failed
//! neighbour does not acknowledge shows the failure. See [`SignedMessage`](crate::SignedMessage) for
//! the messages that are pushed.

use bytes::Bytes;
use minicbor::{Decode, Decoder, Encode, Encoder};
use potluck_base::{Contact, PublicKey};

use crate::codec::{cbor_bytes, fixed};
use crate::contact::{cbor_contact, cbor_contacts};
use crate::limits::ID_RANGES_MAX;
use crate::message::Contacts;

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
        /// Encoded [`SignedMessage`](crate::SignedMessage)s.
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
