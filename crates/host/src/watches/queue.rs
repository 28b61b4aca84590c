//! The queue of one watcher: the newest changes of its record. Where it is full, the oldest one gives way,
//! and the gap before the next one says so: a slow watcher always has the newest values.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use potluck_kv::Change;

/// Changes that wait for a watcher. Raising it takes memory; a slow watcher is told of more of them.
pub const WATCH_QUEUE_MAX: usize = 64;
/// Bytes of values that wait for a watcher. The newest change waits however large it is.
pub const WATCH_QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Change>,
    bytes: usize,
    /// The watch is active: set by the core's answer.
    open: bool,
    /// No more will come.
    closed: bool,
    /// The watcher is gone.
    abandoned: bool,
    waker: Option<Waker>,
}

/// The queue between the drive loop and one watcher.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<State>);

fn size(change: &Change) -> usize {
    change.reading.values.iter().map(|value| value.bytes.len()).sum()
}

impl Queue {
    /// Accepts changes from now on.
    pub(super) fn open(&self) {
        self.0.lock().open = true;
    }

    /// Adds a change. Returns how many older ones gave way to it; `None` if the watch is not active.
    pub(super) fn push(&self, mut change: Change) -> Option<usize> {
        let mut state = self.0.lock();
        if !state.open || state.abandoned {
            return None;
        }
        let bytes = size(&change);
        let mut gave_way = 0;
        while state.waiting.len() >= WATCH_QUEUE_MAX || state.bytes + bytes > WATCH_QUEUE_BYTES_MAX
        {
            let Some(oldest) = state.waiting.pop_front() else { break };
            gave_way += 1;
            state.bytes -= size(&oldest);
            let next = state.waiting.front_mut().unwrap_or(&mut change);
            next.gap = oldest.gap.then(next.gap);
        }
        state.bytes += bytes;
        state.waiting.push_back(change);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
        Some(gave_way)
    }

    /// Removes the oldest change.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Change>> {
        let mut state = self.0.lock();
        match state.waiting.pop_front() {
            Some(change) => {
                state.bytes -= size(&change);
                Poll::Ready(Some(change))
            }
            None if state.closed => Poll::Ready(None),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Accepts no more changes. The waiting ones can still be read.
    pub(super) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }

    /// The watcher is gone.
    pub(super) fn abandon(&self) {
        let mut state = self.0.lock();
        state.abandoned = true;
        state.waiting.clear();
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.0.lock().abandoned
    }
}
