//! This node as a publisher, and its publishes that wait.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::Instant;
use potluck_wire::TopicId;

use super::events::PublishId;

/// How long a node stays in a topic after it published there.
const LINGER: Duration = Duration::from_secs(60);
/// Pause after the publish rate of this node is used up.
const RATE_PAUSE: Duration = Duration::from_millis(100);
/// Topics that this node left and whose next sequence number it remembers. Beyond this number they
/// share one base, which only leaves a gap in the sequence.
const SEQUENCES_MAX: usize = 1_024;

/// A queued publish.
#[derive(Debug, Clone)]
pub(super) struct QueuedPublish {
    pub(super) publish: PublishId,
    pub(super) topic: TopicId,
    pub(super) payload: Bytes,
    /// Whether acknowledgements are counted.
    pub(super) counted: bool,
}

/// All queued publishes.
#[derive(Debug, Clone, Default)]
pub(super) struct Publishes {
    pub(super) waiting: VecDeque<QueuedPublish>,
    /// When to look again.
    pub(super) retry_at: Option<Instant>,
}

/// This node as a publisher in one topic.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    next_sequence: u64,
    /// Until then this node's publish rate is used up.
    from: Instant,
    /// Until then this node stays in the topic as a publisher.
    pub(super) until: Option<Instant>,
}

impl Publisher {
    pub(super) const fn new(now: Instant, next_sequence: u64) -> Self {
        Self { next_sequence, from: now, until: None }
    }

    /// The sequence number of the next message.
    pub(super) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Takes the sequence number of a message.
    pub(super) const fn take_sequence(&mut self) -> u64 {
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    /// The publish rate of this node is used up for now.
    pub(super) fn pause(&mut self, now: Instant) {
        self.from = now + RATE_PAUSE;
    }

    /// Until when the publish rate of this node is used up.
    pub(super) fn paused_until(&self, now: Instant) -> Option<Instant> {
        Some(self.from).filter(|from| now < *from)
    }

    /// Whether this node need not stay in the topic as a publisher.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// This node stays in the topic for some time.
    pub(super) fn linger(&mut self, now: Instant) {
        self.until = Some(now + LINGER);
    }
}

/// The sequence numbers of topics that this node left, so that none is used twice.
#[derive(Debug)]
pub(super) struct Sequences {
    /// The next sequence number in each topic that this node left.
    left: BTreeMap<TopicId, u64>,
    /// The lowest next sequence number in every topic that is not in `left`.
    base: u64,
}

impl Default for Sequences {
    fn default() -> Self {
        Self { left: BTreeMap::new(), base: 1 }
    }
}

impl Sequences {
    /// The next sequence number in a topic that this node enters.
    pub(super) fn take(&mut self, topic: &TopicId) -> u64 {
        self.left.remove(topic).unwrap_or(self.base)
    }

    /// This node leaves a topic in which `next` would have been the next sequence number.
    pub(super) fn note(&mut self, topic: TopicId, next: u64) {
        if self.left.len() >= SEQUENCES_MAX {
            // A gap in the sequence is harmless; a reused number is not.
            let highest = self.left.values().max().copied().unwrap_or(1);
            self.base = self.base.max(highest);
            self.left.clear();
        }
        if next > self.base {
            self.left.insert(topic, next);
        }
    }
}
