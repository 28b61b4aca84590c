//! Passes changes of watched records from the core to the watchers of this process.
//!
//! The core watches a key once, for any number of watchers; here each report goes into the queue of each.
//! A watcher is active from the core's answer on, which carries the present values, so none is missing.
//!
//! **Invariants:** a queue has a limit, and the newest change always fits; the core watches the keys that
//! have a watcher here and no others.

mod queue;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use potluck_base::Key;
use potluck_kv::{Change, CommandError};
use potluck_node::{Command, Reply};
use tokio::sync::{Notify, oneshot};

use queue::Queue;

pub use queue::{WATCH_QUEUE_BYTES_MAX, WATCH_QUEUE_MAX};

/// Most watchers of one node; further ones are refused. A guess, above what HTTP admits.
pub const WATCHERS_MAX: usize = 4096;

/// The values of one record: first the present ones, then those after each change. Dropping it ends the
/// watch.
///
/// It does not keep its node running. It ends when the node stops, and when the watched records of the
/// node take more memory than they may.
#[derive(Debug)]
pub struct Changes {
    key: Key,
    present: Option<Change>,
    queue: Arc<Queue>,
    dropped: Arc<Notify>,
}

impl Changes {
    /// The key of the record.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The next change, the first time the present values; `None` at the end. Cancel safe.
    pub async fn next(&mut self) -> Option<Change> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Change>> {
        match self.present.take() {
            Some(present) => Poll::Ready(Some(present)),
            None => self.queue.poll(context),
        }
    }
}

impl Stream for Changes {
    type Item = Change;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(context)
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.queue.abandon();
        self.dropped.notify_one();
    }
}

/// A request to watch a record.
#[derive(Debug)]
pub(crate) struct WatchRequest {
    pub(crate) key: Key,
    pub(crate) reply: oneshot::Sender<Result<Changes, Reply>>,
}

/// A watcher that the core has not answered yet.
#[derive(Debug)]
pub(crate) struct PendingWatch {
    changes: Changes,
    reply: oneshot::Sender<Result<Changes, Reply>>,
}

/// Counters of the watchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WatchCounts {
    pub(crate) watchers: usize,
    pub(crate) delivered: u64,
    pub(crate) gave_way: u64,
}

/// All watchers, for the drive loop.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    queues: BTreeMap<Key, Vec<Arc<Queue>>>,
    dropped: Arc<Notify>,
    counts: WatchCounts,
}

impl Watchers {
    /// Begins to watch. Returns the command for the core, and the value for
    /// [`answered`](Self::answered). `None` if there are too many: the request was refused.
    pub(crate) fn begin(&mut self, request: WatchRequest) -> Option<(Command, PendingWatch)> {
        let WatchRequest { key, reply } = request;
        if self.counts.watchers >= WATCHERS_MAX {
            let _ = reply.send(Err(Reply::Failed(CommandError::TooManyWatches)));
            return None;
        }
        let queue = Arc::new(Queue::default());
        self.counts.watchers += 1;
        self.queues.entry(key).or_default().push(Arc::clone(&queue));
        let dropped = Arc::clone(&self.dropped);
        let changes = Changes { key, present: None, queue, dropped };
        Some((Command::Watch { key }, PendingWatch { changes, reply }))
    }

    /// The core has answered.
    pub(crate) fn answered(&mut self, pending: PendingWatch, reply: Reply) {
        let PendingWatch { mut changes, reply: to } = pending;
        let answer = if let Reply::Watching(present) = reply {
            changes.queue.open();
            changes.present = Some(present);
            Ok(changes)
        } else {
            Err(reply)
        };
        // Dropped with the answer if the caller is gone.
        let _ = to.send(answer);
    }

    /// Hands a change to every watcher of its record.
    pub(crate) fn deliver(&mut self, change: &Change) {
        let Some(queues) = self.queues.get(&change.key) else { return };
        for queue in queues {
            if let Some(gave_way) = queue.push(change.clone()) {
                self.counts.delivered += 1;
                self.counts.gave_way += gave_way as u64;
            }
        }
    }

    /// The core watches a record no more.
    pub(crate) fn end(&mut self, key: &Key) {
        if let Some(queues) = self.queues.remove(key) {
            self.counts.watchers -= queues.len();
            queues.iter().for_each(|queue| queue.close());
        }
    }

    /// Completes when a watcher was dropped.
    pub(crate) async fn dropped(&self) {
        self.dropped.notified().await;
    }

    /// Removes dropped watchers, and returns the keys that have none left. Must be called after a drop, and
    /// on each tick.
    pub(crate) fn sweep(&mut self) -> Vec<Key> {
        let mut left = Vec::new();
        let mut watchers = 0;
        self.queues.retain(|key, queues| {
            queues.retain(|queue| !queue.is_abandoned());
            watchers += queues.len();
            if queues.is_empty() {
                left.push(*key);
            }
            !queues.is_empty()
        });
        self.counts.watchers = watchers;
        left
    }

    pub(crate) const fn counts(&self) -> WatchCounts {
        self.counts
    }
}

/// When the node stops, its watches end.
impl Drop for Watchers {
    fn drop(&mut self) {
        self.queues.values().flatten().for_each(|queue| queue.close());
    }
}
