//! Inputs and outputs of the topics machine.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, Instant, PublicKey, UnixMillis};
use potluck_wire::{InTopic, Revoked, TopicId, TopicResponse};

use crate::message::{Message, MessageId, TopicName};
use crate::view::{Cause, Mode};

/// Identifies a request of this node, for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicAskId(pub u64);

/// Identifies a request of another node, chosen by the caller of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicServeId(pub u64);

/// Identifies a publish, chosen by the publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublishId(pub u64);

/// Why a topic cannot be used. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicRefusal {
    /// Too many publishes wait; try again when one of them is done.
    #[error("too many messages wait to be published")]
    Busy,
    /// This node is in too many topics; leave one.
    #[error("too many topics")]
    TooManyTopics,
    /// The message is longer than [`crate::message::PAYLOAD_BYTES_MAX`].
    #[error("the message is longer than 65536 bytes")]
    TooLong,
    /// The clocks of the peers differ from this node's by more than five minutes, so no peer would
    /// accept the message.
    #[error("this node's clock is over five minutes off those of its peers; set the clock")]
    Clock,
    /// Another machine runs with this node's identity.
    #[error("another machine runs with this node's identity; this node publishes nothing any more")]
    Elsewhere,
    /// Names that begin with `potluck/` belong to the network itself.
    #[error("names that begin with potluck/ are reserved")]
    Reserved,
}

/// What can happen to topics.
#[derive(Debug, Clone, PartialEq)]
pub enum TopicsInput {
    /// Subscribes to a topic, from now on. Does nothing if this node is subscribed already.
    Subscribe(TopicName),
    /// Ends a subscription.
    Unsubscribe(TopicName),
    /// Publishes a message.
    Publish {
        /// Identifies the publish in the answer.
        publish: PublishId,
        /// The topic.
        topic: TopicName,
        /// The payload.
        payload: Bytes,
    },
    /// Publishes a message, and reports how many neighbours acknowledged it.
    PublishCounted {
        /// Identifies the publish in the answer.
        publish: PublishId,
        /// The topic.
        topic: TopicName,
        /// The payload.
        payload: Bytes,
    },
    /// Publishes a message of the network's own to all nodes, in [`crate::message::SYSTEM_TOPIC`].
    Broadcast {
        /// Identifies the publish in the answer.
        publish: PublishId,
        /// The payload.
        payload: Bytes,
    },
    /// A request of another node; answered by [`TopicsOutput::Answer`] before the machine is
    /// drained.
    Asked {
        /// Identifies the request in the answer.
        serve: TopicServeId,
        /// The requester, proved by the link.
        from: Contact,
        /// The request.
        request: InTopic,
    },
    /// A request was answered.
    Answered {
        /// The request.
        ask: TopicAskId,
        /// The answer.
        answer: TopicResponse,
        /// The round-trip time.
        rtt: Duration,
    },
    /// A request got no answer after all its tries, or an answer of the wrong kind.
    Failed(TopicAskId),
    /// A request could not be sent: this node is too busy. It says nothing about the other node.
    Unsent(TopicAskId),
    /// Nodes whose addresses are proven, for the system topic.
    Candidates(Vec<Contact>),
    /// A node in another partition of the overlay of all nodes: a surplus link to it is requested.
    Bridge(Contact),
    /// Nodes found in a topic.
    Found {
        /// The topic.
        topic: TopicId,
        /// The nodes found, with addresses to try.
        contacts: Vec<Contact>,
    },
    /// Nodes that may be in a topic.
    Suggested {
        /// The topic.
        topic: TopicId,
        /// The nodes, with addresses to try.
        contacts: Vec<Contact>,
    },
    /// A node did not answer the failure detector: it is checked, and replaced meanwhile.
    Silent(PublicKey),
    /// The failure detector suspects a node: its links are dropped and replaced at once.
    Unreachable(PublicKey),
    /// A node announced that it leaves.
    Left(PublicKey),
    /// The certificate that this node shows beside its messages.
    Certificate(Bytes),
    /// The record of a member holds this certificate.
    Member {
        /// The member.
        member: PublicKey,
        /// Signed bytes of its certificate.
        certificate: Bytes,
    },
    /// A member is out, or all that a ticket let in: their messages are dropped.
    Revoked(Revoked),
    /// This publisher's budget at this node is used up: its messages are dropped until then.
    OverBudget {
        /// The publisher.
        publisher: PublicKey,
        /// Until then.
        until: Instant,
    },
    /// The machine slept or its address changed: all links are checked.
    Resumed,
    /// The wall clock, corrected by the peers.
    WallClock(UnixMillis),
    /// How much of the network is known now.
    Mode(Mode),
    /// This node leaves: disconnects from all neighbours.
    Leave,
    /// The announced deadline came.
    Timeout,
}

/// What the topics machine asks its caller to do.
#[derive(Debug, Clone, PartialEq)]
pub enum TopicsOutput {
    /// Sends a request, in a datagram if it fits and in a call if not.
    Ask {
        /// Identifies the request in its answer.
        ask: TopicAskId,
        /// The node to ask.
        to: Contact,
        /// The request.
        request: InTopic,
        /// Number of tries.
        tries: u8,
    },
    /// The answer to [`TopicsInput::Asked`].
    Answer {
        /// The request.
        serve: TopicServeId,
        /// The answer.
        answer: TopicResponse,
    },
    /// Delivers a message of a subscribed topic; once for each message.
    Deliver(Message),
    /// Messages of one publisher are missing here and will not be delivered.
    Missed {
        /// The topic.
        topic: TopicName,
        /// How many messages are missing.
        missed: u64,
    },
    /// A counted publish has been sent and its acknowledgements were counted.
    Acknowledged {
        /// The publish.
        publish: PublishId,
        /// The message.
        message: MessageId,
        /// Neighbours that have acknowledged it so far.
        neighbours: usize,
    },
    /// A publish has been sent.
    Published {
        /// The publish.
        publish: PublishId,
        /// The message.
        message: MessageId,
    },
    /// Signatures of messages were checked: the peer, which published or pushed them, pays.
    Checked {
        /// The peer.
        peer: PublicKey,
        /// How many.
        signatures: u32,
        /// Whether one was bad.
        bad: bool,
    },
    /// A publish was refused.
    PublishRefused {
        /// The publish.
        publish: PublishId,
        /// The reason.
        why: TopicRefusal,
    },
    /// A subscription was refused.
    SubscribeRefused {
        /// The topic.
        topic: TopicName,
        /// The reason.
        why: TopicRefusal,
    },
    /// Announces in the DHT that this node is in the topic.
    Announce {
        /// The topic.
        topic: TopicId,
    },
    /// Searches for nodes in the topic, answered by [`TopicsInput::Found`]; for the system topic,
    /// searches for any nodes, answered by [`TopicsInput::Candidates`].
    Find {
        /// The topic.
        topic: TopicId,
    },
    /// A new link in the system topic.
    NeighbourUp(Contact),
    /// A link of the system topic was lost.
    NeighbourDown(Contact, Cause),
}
