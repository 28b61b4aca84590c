//! Topics and messages as applications see them.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use potluck_base::PublicKey;
use potluck_wire::{SignedMessage, TopicId};

/// Longest name of a topic in bytes.
pub const TOPIC_NAME_BYTES_MAX: usize = 128;
/// Longest message in bytes. Up to about 800 it travels in datagrams, above in calls.
pub const PAYLOAD_BYTES_MAX: usize = potluck_wire::limits::TOPIC_PAYLOAD_BYTES_MAX;
/// The system topic, whose overlay contains all nodes.
pub const SYSTEM_TOPIC: &str = "potluck/members";
/// The prefix of the names of the network's own topics.
const RESERVED: &str = "potluck/";

/// The name of a topic: 1 to 128 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(String);

/// A text that is not the name of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a topic's name is 1 to 128 bytes without control characters")]
pub struct TopicError;

impl TopicName {
    /// The name `text`.
    ///
    /// # Errors
    /// [`TopicError`]
    pub fn new(text: impl Into<String>) -> Result<Self, TopicError> {
        let text = text.into();
        let good =
            (1..=TOPIC_NAME_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        if good { Ok(Self(text)) } else { Err(TopicError) }
    }

    /// The system topic, which every node is in; its overlay contains all nodes.
    #[must_use]
    pub fn system() -> Self {
        Self(SYSTEM_TOPIC.to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is one of the network's own topics, which applications may not use.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED)
    }

    /// The topic's id on the wire.
    #[must_use]
    pub fn id(&self) -> TopicId {
        let hash = blake3::derive_key("potluck 2026 topic", self.0.as_bytes());
        TopicId(std::array::from_fn(|index| hash[index]))
    }
}

impl FromStr for TopicName {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a message in its topic. Written `<publisher's public key
/// hex>-<incarnation>-<sequence>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// The publisher.
    pub publisher: PublicKey,
    /// The incarnation of the publisher; higher with every start.
    pub incarnation: u64,
    /// Sequence number within this incarnation, from 1.
    pub sequence: u64,
}

impl From<&SignedMessage> for MessageId {
    fn from(message: &SignedMessage) -> Self {
        let SignedMessage { publisher, incarnation, sequence, .. } = *message;
        Self { publisher, incarnation, sequence }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.publisher, self.incarnation, self.sequence)
    }
}

impl FromStr for MessageId {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or(TopicError);
        let id = Self {
            publisher: part()?.parse().map_err(|_| TopicError)?,
            incarnation: part()?.parse().map_err(|_| TopicError)?,
            sequence: part()?.parse().map_err(|_| TopicError)?,
        };
        if parts.next().is_none() { Ok(id) } else { Err(TopicError) }
    }
}

/// A message as a subscriber gets it: once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: TopicName,
    /// Its id.
    pub id: MessageId,
    /// Its payload.
    pub payload: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_survives_its_text() {
        let publisher = potluck_base::Identity::from_seed([1; 32]).public_key();
        let id = MessageId { publisher, incarnation: 7, sequence: 9 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(format!("{id}-1").parse::<MessageId>(), Err(TopicError));
        assert_eq!("x-1-2".parse::<MessageId>(), Err(TopicError));
    }

    #[test]
    fn reserved_names_are_recognised_and_ids_differ() {
        let topic = TopicName::new("builds").expect("a name");
        assert!(TopicName::system().is_reserved() && !topic.is_reserved());
        assert_ne!(TopicName::system().id(), topic.id());
    }

    #[test]
    fn a_topic_name_fits_on_a_line() {
        assert!(TopicName::new("builds/nightly").is_ok());
        for bad in ["", "a\nb", &"x".repeat(129)] {
            assert_eq!(TopicName::new(bad), Err(TopicError), "{bad:?}");
        }
    }
}
