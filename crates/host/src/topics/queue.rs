//! The queue of one subscription, limited in messages and bytes, with a mark where messages are missing.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use potluck_gossip::Message;

/// Messages that wait in a subscription. A guess: some seconds of the fastest publisher.
pub const QUEUE_MESSAGES_MAX: usize = 16_384;
/// Bytes of messages that wait in a subscription. With messages over 1 KiB this limit is reached first. A
/// guess.
pub const QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One item of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A message.
    Message(Message),
    /// Messages were dropped because the subscriber was too slow and its queue was full. A new
    /// subscription after the last received message brings those of them that the node still keeps.
    Lagged {
        /// The number of dropped messages.
        missed: u64,
    },
    /// Messages did not reach this node, and no node that it reaches has them any more.
    Lost {
        /// The number of lost messages.
        missed: u64,
    },
}

/// The result of adding a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It will be delivered.
    Taken,
    /// The queue is full; a mark will be delivered in its place.
    Missed,
    /// The subscription is not active.
    Closed,
}

#[derive(Debug, Default)]
struct State {
    /// A mark for missing messages stands at most between two messages.
    waiting: VecDeque<Delivery>,
    messages: usize,
    bytes: usize,
    /// The subscription is active: set by the core's answer.
    open: bool,
    /// No more will come.
    closed: bool,
    /// The reader is gone.
    abandoned: bool,
    waker: Option<Waker>,
}

/// The queue between the drive loop and one subscriber.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<State>);

impl Queue {
    /// Accepts messages from now on.
    pub(super) fn open(&self) {
        self.0.lock().open = true;
    }

    /// Adds a message, or a mark that it is missing.
    pub(super) fn push(&self, message: &Message) -> Pushed {
        let mut state = self.0.lock();
        if !state.open || state.abandoned {
            return Pushed::Closed;
        }
        let bytes = message.payload.len();
        let full = state.messages >= QUEUE_MESSAGES_MAX || state.bytes + bytes > QUEUE_BYTES_MAX;
        if full {
            // Missing messages in one place share a mark. It says `Lagged`, since a new subscription brings
            // a part of them.
            let before = match state.waiting.back() {
                Some(Delivery::Lagged { missed } | Delivery::Lost { missed }) => *missed,
                _ => 0,
            };
            if before > 0 {
                state.waiting.pop_back();
            }
            state.waiting.push_back(Delivery::Lagged { missed: before.saturating_add(1) });
        } else {
            state.messages += 1;
            state.bytes += bytes;
            state.waiting.push_back(Delivery::Message(message.clone()));
        }
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        if full { Pushed::Missed } else { Pushed::Taken }
    }

    /// Adds a mark for lost messages. False if the subscription is not active.
    pub(super) fn lose(&self, lost: u64) -> bool {
        let mut state = self.0.lock();
        if !state.open || state.abandoned {
            return false;
        }
        match state.waiting.back_mut() {
            Some(Delivery::Lagged { missed } | Delivery::Lost { missed }) => {
                *missed = missed.saturating_add(lost);
            }
            _ => state.waiting.push_back(Delivery::Lost { missed: lost }),
        }
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        true
    }

    /// Removes the oldest item.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let mut state = self.0.lock();
        match state.waiting.pop_front() {
            Some(delivery) => {
                if let Delivery::Message(message) = &delivery {
                    state.messages -= 1;
                    state.bytes -= message.payload.len();
                }
                Poll::Ready(Some(delivery))
            }
            None if state.closed => Poll::Ready(None),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Accepts no more items. The waiting ones can still be read.
    pub(super) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The reader is gone.
    pub(super) fn abandon(&self) {
        let mut state = self.0.lock();
        state.abandoned = true;
        state.waiting.clear();
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.0.lock().abandoned
    }
}
