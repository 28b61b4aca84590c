//! Topics: messages to subscribers.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use bytes::Bytes;
use potluck_gossip::{MessageId, TopicName};
use potluck_host::{Handle, Subscription};
use potluck_node::ask::{Ask as _, Publish, PublishCounted, Published};

use crate::Result;

/// The topics of the network, by way of one node. See [`Node::topics`](crate::Node::topics).
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

    /// Publishes a message to all subscribers of the topic, and waits until it is on its way.
    /// While the network is slower than its publishers that takes its time; nothing is dropped here.
    /// Messages of one publisher come in their order; what a subscriber misses it is told
    /// ([`Delivery::Lost`](crate::Delivery::Lost)).
    ///
    /// # Errors
    /// [`Error::Topic`] for a name that is none; [`Error::TopicRefused`] for a message over 64 KiB.
    pub async fn publish(
        &self,
        topic: impl Into<String>,
        message: impl Into<Bytes>,
    ) -> Result<MessageId> {
        self.hand_over(topic, message).await?.await
    }

    /// Publishes a message, and says how many neighbours took it: of the nodes that this one is linked to
    /// in the topic those that have said that they have it. With none the message has left this node
    /// nowhere yet; it goes to the first node of the topic that is found in the next ten minutes and was
    /// in the topic before.
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

    /// Hands a message over to be published without waiting until it is on its way: for many
    /// messages in a row. They are published in the order in which they were handed over. To await
    /// what this gives says whether and as what the message was published.
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

    /// Subscribes to a topic; await it to carry it out. What comes is a stream of
    /// [`Delivery`](crate::Delivery)s, which ends when the node stops. Dropping it unsubscribes.
    pub fn subscribe(&self, topic: impl Into<String>) -> SubscribeRequest {
        SubscribeRequest { handle: self.handle.clone(), topic: topic.into(), after: None }
    }
}

/// A message that is about to be published. Dropping it does not call it back.
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

/// A subscription that is being described. Nothing happens until it is awaited.
#[derive(Debug, Clone)]
#[must_use = "a subscription begins when it is awaited"]
pub struct SubscribeRequest {
    handle: Handle,
    topic: String,
    after: Option<MessageId>,
}

impl SubscribeRequest {
    /// Begin behind this message, with what the node still keeps from then; see
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
