//! What goes into the machine of topics and what comes out.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Contact, PublicKey, UnixMillis};
use potluck_wire::{InTopic, TopicId, TopicResponse};

use crate::message::{Message, MessageId, TopicName};
use crate::view::{Cause, Mode};

/// Names a request to whoever carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicAskId(pub u64);

/// Names a request of another node, chosen by whoever took it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicServeId(pub u64);

/// Names a publish, chosen by the publisher.
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
    /// The clocks of the peers differ from this node's by more than five minutes: nobody would take
    /// the message.
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
    /// Messages of this topic are wanted from now on, those published before not. Again: nothing.
    Subscribe(TopicName),
    /// They are not wanted any more.
    Unsubscribe(TopicName),
    /// Publish a message.
    Publish {
        /// Its name in the answer.
        publish: PublishId,
        /// The topic.
        topic: TopicName,
        /// What it says.
        payload: Bytes,
    },
    /// Publish a message, and say how many neighbours took it.
    PublishCounted {
        /// Its name in the answer.
        publish: PublishId,
        /// The topic.
        topic: TopicName,
        /// What it says.
        payload: Bytes,
    },
    /// Publish a message of the network's own to all nodes, in [`crate::message::SYSTEM_TOPIC`].
    Broadcast {
        /// Its name in the answer.
        publish: PublishId,
        /// What it says.
        payload: Bytes,
    },
    /// Another node asks; answered by [`TopicsOutput::Answer`] before the machine is drained.
    Asked {
        /// The request.
        serve: TopicServeId,
        /// Who asks, proved by the link.
        from: Contact,
        /// What.
        request: InTopic,
    },
    /// A request was answered.
    Answered {
        /// The request.
        ask: TopicAskId,
        /// The answer.
        answer: TopicResponse,
        /// How long it took.
        rtt: Duration,
    },
    /// A request got no answer after all its tries, or one that is none.
    Failed(TopicAskId),
    /// A request could not be sent: this node is too busy. Says nothing about the other node.
    Unsent(TopicAskId),
    /// Nodes whose addresses are proven, for the overlay of all nodes.
    Candidates(Vec<Contact>),
    /// A node of another part of the overlay of all nodes: a link to it is made beyond need.
    Bridge(Contact),
    /// Nodes that are said to be in a topic.
    Found {
        /// The topic.
        topic: TopicId,
        /// They.
        contacts: Vec<Contact>,
    },
    /// Nodes that may be in a topic.
    Suggested {
        /// The topic.
        topic: TopicId,
        /// They.
        contacts: Vec<Contact>,
    },
    /// A node did not answer the failure detector: it is checked, and others take its place meanwhile.
    Silent(PublicKey),
    /// The failure detector doubts a node: it is replaced at once.
    Unreachable(PublicKey),
    /// A node said good-bye.
    Left(PublicKey),
    /// The machine slept or its address changed: all links are checked.
    Resumed,
    /// The wall clock shows this, as the peers correct it.
    WallClock(UnixMillis),
    /// How much of the network is known now.
    Mode(Mode),
    /// This node leaves: good-bye to all neighbours.
    Leave,
    /// The announced deadline came.
    Timeout,
}

/// What topics want done.
#[derive(Debug, Clone, PartialEq)]
pub enum TopicsOutput {
    /// Ask a node something, in a datagram if it fits and in a call if not.
    Ask {
        /// To be named in the answer.
        ask: TopicAskId,
        /// Whom.
        to: Contact,
        /// What.
        request: InTopic,
        /// How many times to try.
        tries: u8,
    },
    /// The answer to [`TopicsInput::Asked`].
    Answer {
        /// The request.
        serve: TopicServeId,
        /// The answer.
        answer: TopicResponse,
    },
    /// A message of a topic that is subscribed to, once.
    Deliver(Message),
    /// So many messages of one publisher are missing here and will not be delivered.
    Missed {
        /// The topic.
        topic: TopicName,
        /// How many.
        missed: u64,
    },
    /// A message is on its way, that was to be counted.
    Acknowledged {
        /// The publish.
        publish: PublishId,
        /// The message.
        message: MessageId,
        /// Neighbours that have said so far that they have it.
        neighbours: usize,
    },
    /// A message is on its way.
    Published {
        /// The publish.
        publish: PublishId,
        /// The message.
        message: MessageId,
    },
    /// A message will not be published.
    PublishRefused {
        /// The publish.
        publish: PublishId,
        /// Why.
        why: TopicRefusal,
    },
    /// A subscription was not made.
    SubscribeRefused {
        /// The topic.
        topic: TopicName,
        /// Why.
        why: TopicRefusal,
    },
    /// Say where others look that this node is in the topic.
    Announce {
        /// The topic.
        topic: TopicId,
    },
    /// Look for nodes that are in the topic, answered by [`TopicsInput::Found`]; for the system's
    /// topic, look for any nodes, answered by [`TopicsInput::Candidates`].
    Find {
        /// The topic.
        topic: TopicId,
    },
    /// A new link in the overlay of all nodes.
    NeighbourUp(Contact),
    /// A link of the overlay of all nodes is gone.
    NeighbourDown(Contact, Cause),
}
