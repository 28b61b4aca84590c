//! The events of a node, as a stream.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use potluck_host as host;
use potluck_node::Event;

type Next = Pin<Box<dyn Future<Output = (Option<Event>, host::Events)> + Send>>;

/// The events of a node from the call of [`Node::events`](crate::Node::events) on, as a stream; dropping it
/// unsubscribes.
pub struct Events {
    /// Waits for the next event and gives the receiver back with it; `None` once the node has stopped.
    next: Option<Next>,
    missed: u64,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("missed", &self.missed).finish_non_exhaustive()
    }
}

fn next_of(mut events: host::Events) -> Next {
    Box::pin(async move { (events.next().await, events) })
}

impl Events {
    pub(crate) fn new(events: host::Events) -> Self {
        Self { next: Some(next_of(events)), missed: 0 }
    }

    /// The next event; `None` when the node has stopped. A slow reader misses the oldest events. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The number of events missed before the last one returned.
    #[must_use]
    pub const fn missed(&self) -> u64 {
        self.missed
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        let Some(next) = &mut self.next else { return Poll::Ready(None) };
        let (event, events) = std::task::ready!(next.as_mut().poll(context));
        self.missed = events.missed();
        self.next = event.is_some().then(|| next_of(events));
        Poll::Ready(event)
    }
}
