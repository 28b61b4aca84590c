//! Passes messages of topics from the core to the subscribers of this process.
//!
//! The core delivers each message once, for any number of subscriptions; here it goes into the queue of
//! each. A subscription is active from the core's answer on. The older messages that the core has kept
//! come with the answer, so no message is delivered twice and none is left out.
//!
//! **Invariants:** a queue has a limit; messages that did not fit, or were lost before, are reported to the
//! subscriber at the position where they are missing ([`Delivery::Lagged`], [`Delivery::Lost`]); the core
//! is subscribed to the topics that have a subscription here, and for one more minute after the last one
//! ended, so that a reader whose connection broke can continue after its last message.

mod queue;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use potluck_base::Instant;
use potluck_gossip::topics::TopicRefusal;
use potluck_gossip::{Message, MessageId, TopicName};
use potluck_node::{Command, Reply};
use tokio::sync::{Notify, oneshot};

use crate::stopped::Stopped;
use queue::Queue;

pub use queue::{Delivery, QUEUE_BYTES_MAX, QUEUE_MESSAGES_MAX};

/// Most subscriptions of one node; further ones are refused as busy. A guess, above what HTTP admits.
pub const SUBSCRIPTIONS_MAX: usize = 4096;

/// Time for which a topic without subscriptions here stays subscribed in the core, so that a reader can
/// come back. Raising it costs the traffic of topics without readers. A guess.
const LINGER: Duration = Duration::from_secs(60);
/// Topics that may stay subscribed without subscriptions here; beyond, the ones without subscriptions for
/// longest are unsubscribed. A quarter of the topics that the core may be in.
const LINGERING_MAX: usize = 16;

/// Messages handed over and not sent yet; further publishers wait. Below the limit of the core, so that
/// the core refuses none.
pub(crate) const PUBLISHES_MAX: usize = 192;

/// Why a subscription was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscribeError {
    /// This node has too many subscriptions; drop one.
    #[error("too many subscriptions")]
    TooMany,
    /// The node refuses the topic.
    #[error(transparent)]
    Refused(#[from] TopicRefusal),
    /// The node is busy, leaving or has a bug.
    #[error("the node cannot subscribe now")]
    Unable,
}

/// The messages of one topic, each once, from the subscription on. Dropping it ends it.
///
/// It does not keep its node running. When the node stops, it ends after the last message.
#[derive(Debug)]
pub struct Subscription {
    topic: TopicName,
    /// The older messages that the node had kept, oldest first.
    backlog: VecDeque<Message>,
    complete: bool,
    queue: Arc<Queue>,
    dropped: Arc<Notify>,
}

impl Subscription {
    /// The topic.
    #[must_use]
    pub const fn topic(&self) -> &TopicName {
        &self.topic
    }

    /// Whether it surely has all messages since the one that it continues after. True for a subscription
    /// that begins now.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The next message, or a report of missing ones; `None` when the node has stopped. Cancel safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        match self.backlog.pop_front() {
            Some(message) => Poll::Ready(Some(Delivery::Message(message))),
            None => self.queue.poll(context),
        }
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(context)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.abandon();
        self.dropped.notify_one();
    }
}

/// A message that was handed over to the node and is not sent yet.
#[derive(Debug)]
#[must_use = "whether it was published is known only when this is awaited"]
pub struct Publishing(pub(crate) oneshot::Receiver<Reply>);

impl Future for Publishing {
    type Output = Result<Reply, Stopped>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| Stopped)
    }
}

/// A request for a subscription.
#[derive(Debug)]
pub(crate) struct Subscribe {
    pub(crate) topic: TopicName,
    pub(crate) after: Option<MessageId>,
    pub(crate) reply: oneshot::Sender<Result<Subscription, SubscribeError>>,
}

/// A subscription that the core has not answered yet.
#[derive(Debug)]
pub(crate) struct Pending {
    subscription: Subscription,
    reply: oneshot::Sender<Result<Subscription, SubscribeError>>,
}

/// Counters of the subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) subscriptions: usize,
    pub(crate) delivered: u64,
    pub(crate) missed: u64,
}

#[derive(Debug, Default)]
struct Topic {
    queues: Vec<Arc<Queue>>,
    /// Whether the core is subscribed to it.
    subscribed: bool,
    /// When its last subscription ended.
    idle: Option<Instant>,
}

/// All subscriptions, for the drive loop.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    topics: BTreeMap<TopicName, Topic>,
    subscriptions: usize,
    dropped: Arc<Notify>,
    delivered: u64,
    missed: u64,
}

impl Topics {
    /// Begins a subscription. Returns the command for the core, and the value for
    /// [`answered`](Self::answered). `None` if there are too many: the request was refused.
    pub(crate) fn begin(&mut self, request: Subscribe) -> Option<(Command, Pending)> {
        let Subscribe { topic, after, reply } = request;
        if self.subscriptions >= SUBSCRIPTIONS_MAX {
            let _ = reply.send(Err(SubscribeError::TooMany));
            return None;
        }
        let queue = Arc::new(Queue::default());
        self.subscriptions += 1;
        self.topics.entry(topic.clone()).or_default().queues.push(Arc::clone(&queue));
        let subscription = Subscription {
            topic: topic.clone(),
            backlog: VecDeque::new(),
            complete: true,
            queue,
            dropped: Arc::clone(&self.dropped),
        };
        Some((Command::Subscribe { topic, after }, Pending { subscription, reply }))
    }

    /// The core has answered.
    pub(crate) fn answered(&mut self, pending: Pending, reply: Reply) {
        let Pending { mut subscription, reply: to } = pending;
        let answer = match reply {
            Reply::Subscribed { backlog, complete } => {
                if let Some(topic) = self.topics.get_mut(&subscription.topic) {
                    topic.subscribed = true;
                }
                subscription.queue.open();
                subscription.backlog = backlog.into();
                subscription.complete = complete;
                Ok(subscription)
            }
            Reply::TopicRefused(refusal) => Err(refusal.into()),
            other => {
                tracing::debug!(?other, "no subscription");
                Err(SubscribeError::Unable)
            }
        };
        // Dropped with the answer if the caller is gone.
        let _ = to.send(answer);
    }

    /// Hands a message to every subscription of its topic.
    pub(crate) fn deliver(&mut self, message: &Message) {
        let Some(topic) = self.topics.get(&message.topic) else { return };
        for queue in &topic.queues {
            match queue.push(message) {
                queue::Pushed::Taken => self.delivered += 1,
                queue::Pushed::Missed => self.missed += 1,
                queue::Pushed::Closed => {}
            }
        }
    }

    /// Tells every subscription of a topic how many messages are lost.
    pub(crate) fn lose(&mut self, topic: &TopicName, missed: u64) {
        let Some(topic) = self.topics.get(topic) else { return };
        for queue in &topic.queues {
            if queue.lose(missed) {
                self.missed += missed;
            }
        }
    }

    /// Completes when a subscription was dropped.
    pub(crate) async fn dropped(&self) {
        self.dropped.notified().await;
    }

    /// Removes dropped subscriptions, and returns the topics to unsubscribe from. Must be called after a
    /// drop, and on each tick.
    pub(crate) fn sweep(&mut self, now: Instant) -> Vec<TopicName> {
        let mut idle = Vec::new();
        self.subscriptions = 0;
        self.topics.retain(|name, topic| {
            topic.queues.retain(|queue| !queue.is_abandoned());
            self.subscriptions += topic.queues.len();
            if !topic.queues.is_empty() {
                topic.idle = None;
            } else if topic.subscribed {
                idle.push((*topic.idle.get_or_insert(now), name.clone()));
            }
            topic.subscribed || !topic.queues.is_empty()
        });
        idle.sort();
        let surplus = idle.len().saturating_sub(LINGERING_MAX);
        let is_over = |index: usize, since: Instant| index < surplus || now.since(since) >= LINGER;
        let over = idle.into_iter().enumerate().filter(|(index, it)| is_over(*index, it.0));
        let gone: Vec<TopicName> = over.map(|(_, (_, name))| name).collect();
        for name in &gone {
            self.topics.remove(name);
        }
        gone
    }

    pub(crate) const fn counts(&self) -> Counts {
        let Self { subscriptions, delivered, missed, .. } = self;
        Counts { subscriptions: *subscriptions, delivered: *delivered, missed: *missed }
    }
}

/// When the node stops, its subscriptions end.
impl Drop for Topics {
    fn drop(&mut self) {
        self.topics.values().flat_map(|topic| &topic.queues).for_each(|queue| queue.close());
    }
}
