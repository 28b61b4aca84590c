//! Topics: messages to subscribers.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use bytes::Bytes;
use potluck_gossip::{MessageId, TopicName};
use potluck_host::{Handle, Subscription};
use potluck_node::ask::{Ask as _, Publish, PublishCounted, Published};

use crate::Result;

/// The topics of the network, accessed through one node. See [`Node::topics`](crate::Node::topics).
///
/// ```no_run
/// use potluck::{Delivery, Node};
///
/// # async fn example(node: Node) -> potluck::Result<()> {
/// let mut messages = node.topics().subscribe("builds/nightly").await?;
/// node.topics().publish("builds/nightly", "done").await?;
/// while let Some(delivery) = messages.next().await {
///     match delivery {
///         Delivery::Message(message) => println!("{}: {:?}", message.id, message.payload),
///         Delivery::Lagged { missed } | Delivery::Lost { missed } => {
///             eprintln!("{missed} messages were missed");
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Topics {
    handle: Handle,
}

impl Topics {
    pub(crate) const fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// Publishes a message to all subscribers of the topic, and waits until the node has accepted it. That
    /// takes longer while the links of the node are full; the node drops nothing. Messages of one publisher
    /// arrive in their order; a subscriber that misses messages is told
    /// ([`Delivery::Lost`](crate::Delivery::Lost)).
    ///
    /// # Errors
    /// [`Error::Topic`] for an invalid name; [`Error::TopicRefused`] for a message over 64 KiB.
    pub async fn publish(
        &self,
        topic: impl Into<String>,
        message: impl Into<Bytes>,
    ) -> Result<MessageId> {
        self.hand_over(topic, message).await?.await
    }

    /// Publishes a message and returns the number of this node's neighbours in the topic that have
    /// acknowledged it. At 0 the message has not left this node yet; it is sent to the first node of the
    /// topic that is found in the next ten minutes and was in the topic before.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn publish_counted(
        &self,
        topic: impl Into<String>,
        message: impl Into<Bytes>,
    ) -> Result<Published> {
        let topic = TopicName::new(topic)?;
        let reply = self.handle.publish_counted(topic, message.into()).await?.await?;
        Ok(PublishCounted::read(reply)?)
    }

    /// Queues a message for publication without waiting until the node accepts it: for many messages in a row.
    /// They are published in the order of the calls. Awaiting the result tells whether the message was
    /// published, and its id.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn hand_over(
        &self,
        topic: impl Into<String>,
        message: impl Into<Bytes>,
    ) -> Result<Publishing> {
        let topic = TopicName::new(topic)?;
        Ok(Publishing(self.handle.publish(topic, message.into()).await?))
    }

    /// Subscribes to a topic; await it to carry it out. The result is a stream of
    /// [`Delivery`](crate::Delivery)s, which ends when the node stops. Dropping it unsubscribes.
    pub fn subscribe(&self, topic: impl Into<String>) -> SubscribeRequest {
        SubscribeRequest { handle: self.handle.clone(), topic: topic.into(), after: None }
    }
}

/// A queued message. Dropping this does not cancel its publication.
#[derive(Debug)]
#[must_use = "whether it was published is known only when this is awaited"]
pub struct Publishing(potluck_host::Publishing);

impl Future for Publishing {
    type Output = Result<MessageId>;

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|reply| Ok(Publish::read(reply?)?))
    }
}

/// A subscription request. It is carried out when awaited.
#[derive(Debug, Clone)]
#[must_use = "a subscription begins when it is awaited"]
pub struct SubscribeRequest {
    handle: Handle,
    topic: String,
    after: Option<MessageId>,
}

impl SubscribeRequest {
    /// Begins after this message, with the messages that the node still keeps; see
    /// [`Subscription::is_complete`]. Default: begin now.
    pub const fn after(mut self, message: MessageId) -> Self {
        self.after = Some(message);
        self
    }
}

impl IntoFuture for SubscribeRequest {
    type Output = Result<Subscription>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let topic = TopicName::new(self.topic)?;
            let subscribed = self.handle.subscribe(topic, self.after).await?;
            Ok(subscribed?)
        })
    }
}
