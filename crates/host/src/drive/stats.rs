//! The statistics of the drive loop.

use std::time::Duration;

potluck_base::statistics! {
    /// The drive loop as shown to collectors: counters since the start, gauges of now.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct DriveStats in "loop" {
        /// How late the last timer was handled.
        gauge(Seconds) lag: Duration as "loop_lag_seconds",
        /// How late the latest timer of the last one to two minutes was handled.
        gauge(Seconds) lag_max: Duration as "loop_lag_max_seconds",
        /// Inputs given to the core.
        counter inputs: u64,
        /// Datagrams given to the core.
        counter datagrams: u64,
        /// Errors of the socket when receiving.
        counter receive_errors: u64,
        /// Commands without a reply yet.
        gauge commands_active: usize,
        /// Calls of ours under way.
        gauge calls_active: usize,
        /// Calls of ours that there was no room for.
        counter calls_refused: u64,
        /// Calls of peers that the core has not answered yet.
        gauge inbound_active: usize,
        /// Calls of peers that there was no room for.
        counter inbound_refused: u64,
        /// Datagrams of strangers that wait until those of peers are handled.
        gauge strangers_waiting: usize,
        /// Datagrams of strangers that waited.
        counter strangers_deferred: u64,
        /// Datagrams of strangers that there was no room for.
        counter strangers_dropped: u64,
        /// Storage operations that the disk has no room for now.
        gauge storage_kept_back: usize,
        /// Subscriptions of topics.
        gauge subscriptions: usize as "topics_subscriptions",
        /// Messages put into the queues of subscriptions.
        counter messages_delivered: u64 as "topics_messages_delivered",
        /// Messages that had no room in the queue of a subscription.
        counter messages_missed: u64 as "topics_messages_missed",
        /// Watchers of records at this node.
        gauge watchers: usize as "kv_watchers",
        /// Changes put into the queues of watchers.
        counter changes_delivered: u64 as "kv_watch_changes_delivered",
        /// Changes that gave way to newer ones in the queue of a watcher.
        counter changes_gave_way: u64 as "kv_watch_changes_gave_way",
    }
}
