//! The thread that owns a node's records, and the way to it.
//!
//! Operations wait in a bounded queue. The thread takes all that wait (up to a limit), lets the
//! store carry them out with one commit, and sends the answers back in one message. It never waits
//! for company: while one batch is synced the next one gathers.
//!
//! **Invariants:** operations are carried out in the order given; none is lost: what the queue has
//! no room for is kept back, and [`Disk::is_full`] tells the drive loop to take nothing new in
//! until there is room.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use potluck_record::{OpId, StorageFailure, StorageOp, StorageReply};
use potluck_store::{Backend, RecordStore, StoreStats};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// Operations in one batch.
const BATCH_OPS: usize = 512;
/// Operations that wait for the thread.
const QUEUE_OPS: usize = 1024;
/// Batches of answers that wait for the drive loop. When it is full the disk waits, not the loop.
const QUEUE_REPLIES: usize = 4;

/// Answers to a batch.
pub(crate) type Replies = Vec<(OpId, StorageReply)>;

/// A store as shown to people and collectors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreView {
    /// What it holds and has done.
    pub stats: StoreStats,
    /// Why it stopped after a disk error, if it did.
    pub stopped: Option<String>,
}

/// What the thread is asked to do.
#[derive(Debug)]
enum Work {
    Op(OpId, StorageOp),
    View(oneshot::Sender<StoreView>),
}

/// The drive loop's end.
#[derive(Debug)]
pub(crate) struct Disk {
    work: mpsc::Sender<Work>,
    replies: mpsc::Receiver<Replies>,
    /// Operations that found the queue full, oldest first.
    kept_back: VecDeque<Work>,
    /// Answers for a thread that is gone.
    failed: Replies,
    ended: oneshot::Receiver<()>,
}

impl Disk {
    /// Starts the thread of `store`.
    pub(crate) fn start<B: Backend + 'static>(store: RecordStore<B>) -> io::Result<Self> {
        let (work, queue) = mpsc::channel(QUEUE_OPS);
        let (answers, replies) = mpsc::channel(QUEUE_REPLIES);
        let (end, ended) = oneshot::channel();
        std::thread::Builder::new().name("potluck-store".to_owned()).spawn(move || {
            Thread { store, broken: false, replies: answers }.run(queue);
            // Nobody may be waiting for it.
            let _ = end.send(());
        })?;
        Ok(Self { work, replies, kept_back: VecDeque::new(), failed: Vec::new(), ended })
    }

    /// Hands an operation over, or keeps it back until there is room.
    pub(crate) fn submit(&mut self, id: OpId, op: StorageOp) {
        let work = Work::Op(id, op);
        if !self.kept_back.is_empty() {
            self.kept_back.push_back(work);
            return;
        }
        match self.work.try_send(work) {
            Ok(()) => {}
            Err(TrySendError::Full(work)) => self.kept_back.push_back(work),
            Err(TrySendError::Closed(_)) => self.failed.push(failed(id)),
        }
    }

    /// Whether operations had to be kept back.
    pub(crate) fn is_full(&self) -> bool {
        !self.kept_back.is_empty()
    }

    /// How many operations are kept back.
    pub(crate) fn kept_back(&self) -> usize {
        self.kept_back.len()
    }

    /// Asks for a view of the store; dropped if there is no room for questions.
    pub(crate) fn view(&self, answer: oneshot::Sender<StoreView>) {
        if !self.is_full() {
            let _ = self.work.try_send(Work::View(answer));
        }
    }

    /// The next answers; none when it only made room. Nothing is lost when the future is dropped.
    pub(crate) async fn replies(&mut self) -> Replies {
        if !self.failed.is_empty() {
            return std::mem::take(&mut self.failed);
        }
        tokio::select! {
            replies = self.replies.recv() => match replies {
                Some(replies) => replies,
                // The thread is gone: whatever is asked from now on fails at once.
                None => std::future::pending().await,
            },
            room = self.work.reserve(), if !self.kept_back.is_empty() => {
                match (room, self.kept_back.pop_front()) {
                    (Ok(room), Some(work)) => room.send(work),
                    (Err(_), Some(Work::Op(id, _))) => self.failed.push(failed(id)),
                    (_, _) => {}
                }
                Vec::new()
            }
        }
    }

    /// Carries out what was asked for so far and closes the store.
    pub(crate) async fn close(self) {
        let Self { work, replies, kept_back, ended, .. } = self;
        // From here on nobody reads the answers, and the thread does not wait for that.
        drop(replies);
        for op in kept_back {
            if work.send(op).await.is_err() {
                break;
            }
        }
        drop(work);
        let _ = ended.await;
    }
}

/// The thread's end.
struct Thread<B> {
    store: RecordStore<B>,
    /// Whether it panicked, after which nothing it says can be believed.
    broken: bool,
    replies: mpsc::Sender<Replies>,
}

impl<B: Backend> Thread<B> {
    /// Works until nobody can ask any more, then closes the store.
    fn run(mut self, mut queue: mpsc::Receiver<Work>) {
        let mut waiting = Vec::new();
        while queue.blocking_recv_many(&mut waiting, BATCH_OPS) > 0 {
            self.batch(&mut waiting);
        }
        if !self.broken && self.store.stopped().is_none() {
            self.store.sync();
        }
    }

    fn batch(&mut self, waiting: &mut Vec<Work>) {
        let mut ids = Vec::with_capacity(waiting.len());
        let mut ops = Vec::with_capacity(waiting.len());
        let mut views = Vec::new();
        for work in waiting.drain(..) {
            match work {
                Work::Op(id, op) => {
                    ids.push(id);
                    ops.push(op);
                }
                Work::View(answer) => views.push(answer),
            }
        }
        // Reads in front of the first change need not wait for its sync.
        let reads = ops.iter().take_while(|op| is_read(op)).count();
        self.answer(&ids[..reads], &ops[..reads]);
        self.answer(&ids[reads..], &ops[reads..]);
        for answer in views {
            // Whoever asked may have lost interest.
            let _ = answer.send(self.view());
        }
    }

    fn answer(&mut self, ids: &[OpId], ops: &[StorageOp]) {
        if ops.is_empty() {
            return;
        }
        let replies = self.apply(ops);
        // No receiver: the node is stopping.
        let _ = self.replies.blocking_send(ids.iter().copied().zip(replies).collect());
    }

    fn apply(&mut self, ops: &[StorageOp]) -> Vec<StorageReply> {
        let was_stopped = self.broken || self.store.stopped().is_some();
        let stopped = || vec![StorageReply::Failed(StorageFailure::Stopped); ops.len()];
        if self.broken {
            return stopped();
        }
        // A store that panicked is never asked again.
        let replies = catch_unwind(AssertUnwindSafe(|| self.store.apply(ops)));
        let replies = replies.unwrap_or_else(|_| {
            self.broken = true;
            stopped()
        });
        if !was_stopped && let Some(reason) = self.view().stopped {
            tracing::error!(reason, "the store stopped: nothing is acknowledged until a restart");
        }
        replies
    }

    fn view(&self) -> StoreView {
        if self.broken {
            let stopped = Some("the store ended in a bug".to_owned());
            return StoreView { stats: StoreStats::default(), stopped };
        }
        StoreView { stats: self.store.stats(), stopped: self.store.stopped().map(str::to_owned) }
    }
}

/// The answer to an operation that nobody can carry out any more.
fn failed(id: OpId) -> (OpId, StorageReply) {
    (id, StorageReply::Failed(StorageFailure::Stopped))
}

/// Whether an operation changes nothing.
fn is_read(op: &StorageOp) -> bool {
    match op {
        StorageOp::Load { .. } | StorageOp::Scan { .. } | StorageOp::Fingerprint { .. } => true,
        StorageOp::Merge { .. } | StorageOp::Expire { .. } | StorageOp::Remove { .. } => false,
    }
}

#[cfg(test)]
mod tests;
