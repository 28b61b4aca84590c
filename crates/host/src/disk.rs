//! The thread that owns a node's record store, and its queue.
//!
//! Operations wait in a bounded queue. The thread takes all waiting ones (up to a limit), has the store
//! carry them out with one commit, and sends the answers back in one message. It does not delay a batch
//! to fill it: the next batch gathers while one is synced.
//!
//! A small read that finds the thread idle runs at once in the thread of the caller: most requests to a
//! replica are reads of one key, and two task switches cost several times the read
//! (docs/measurements.md). All operations on a store in memory run at once, since they never block.
//!
//! **Invariants:** operations are carried out in the order given; none is lost: operations that the queue
//! has no room for are held back, and while there are any, [`Disk::is_full`] stops the drive loop from
//! taking new inputs.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use potluck_record::{OpId, StorageFailure, StorageOp, StorageReply};
use potluck_store::{Backend, MemoryStore, RecordStore, StoreStats};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// Operations in one batch. Raising it lengthens the longest wait for an answer.
const BATCH_OPS: usize = 512;
/// Operations that wait for the thread.
const QUEUE_OPS: usize = 1024;
/// Batches of answers that wait for the drive loop. When the queue is full, the disk thread waits.
const QUEUE_REPLIES: usize = 4;

/// Answers to a batch.
pub(crate) type Replies = Vec<(OpId, StorageReply)>;

potluck_base::statistics! {
    /// A store as shown to people and collectors.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct StoreView in "store" {
        /// What it holds and has done.
        group stats: StoreStats,
        /// Why the store stopped after a disk error; as a number 1 if it did.
        gauge(Flag) stopped: Option<String>,
        /// Whether there is no room for more.
        gauge(Flag) full: bool,
        /// Whether the store is being written anew after damage on the disk.
        gauge(Flag) healing: bool,
    }
}

/// A request to the thread.
#[derive(Debug)]
enum Work {
    Op(OpId, StorageOp),
    View(oneshot::Sender<StoreView>),
}

/// The queue to the thread, for the drive loop.
pub(crate) struct Disk {
    work: mpsc::Sender<Work>,
    replies: mpsc::Receiver<Replies>,
    /// Operations that found the queue full, oldest first.
    kept_back: VecDeque<Work>,
    /// Answers that are available: of reads that ran at once, and of operations after the thread ended.
    done: VecDeque<(OpId, StorageReply)>,
    /// Operations that the thread has and has not answered.
    unanswered: usize,
    owner: Arc<dyn Shortcut>,
    board: Arc<Board>,
    /// Whether all operations may run at once.
    in_memory: bool,
    ended: oneshot::Receiver<()>,
}

/// Access to the store without the thread.
trait Shortcut: Send + Sync {
    /// Carries an operation out unless the thread is at work.
    fn try_apply(&self, op: &StorageOp) -> Option<StorageReply>;
}

/// The last view of the store, which the thread updates after each batch, so that statistics need not wait
/// for the disk. **Invariant:** it is the state after some batch; it never shows an empty store that has
/// records.
#[derive(Debug)]
struct Board(Mutex<StoreView>);

impl Board {
    fn read(&self) -> StoreView {
        self.0.lock().clone()
    }

    fn change(&self, change: impl FnOnce(&mut StoreView)) {
        change(&mut self.0.lock());
    }
}

impl Disk {
    /// Starts the thread of a store on disk.
    pub(crate) fn start<B: Backend + 'static>(store: RecordStore<B>) -> io::Result<Self> {
        Self::start_as(store, false)
    }

    /// Starts the thread of a store in memory.
    pub(crate) fn start_in_memory(store: MemoryStore) -> io::Result<Self> {
        Self::start_as(store, true)
    }

    fn start_as<B: Backend + 'static>(store: RecordStore<B>, in_memory: bool) -> io::Result<Self> {
        let (work, queue) = mpsc::channel(QUEUE_OPS);
        let (answers, replies) = mpsc::channel(QUEUE_REPLIES);
        let (end, ended) = oneshot::channel();
        let owner = Owner::new(store);
        let board = Arc::clone(&owner.board);
        let owner = Arc::new(Mutex::new(owner));
        let thread = Thread { owner: Arc::clone(&owner), replies: answers };
        std::thread::Builder::new().name("potluck-store".to_owned()).spawn(move || {
            thread.run(queue);
            // The receiver may be gone.
            let _ = end.send(());
        })?;
        Ok(Self {
            work,
            replies,
            kept_back: VecDeque::new(),
            done: VecDeque::new(),
            unanswered: 0,
            owner,
            board,
            in_memory,
            ended,
        })
    }

    /// The state of the store after the last batch, with the file sizes of the last
    /// [`view`](Self::view). Does not wait for the disk.
    pub(crate) fn last_view(&self) -> StoreView {
        self.board.read()
    }

    /// Carries an operation out at once if that is cheap; else queues it, or holds it back until the queue
    /// has room.
    pub(crate) fn submit(&mut self, id: OpId, op: StorageOp) {
        if self.unanswered == 0
            && (self.in_memory || is_small_read(&op))
            && let Some(reply) = self.owner.try_apply(&op)
        {
            self.done.push_back((id, reply));
            return;
        }
        self.unanswered += 1;
        let work = Work::Op(id, op);
        if !self.kept_back.is_empty() {
            self.kept_back.push_back(work);
            return;
        }
        match self.work.try_send(work) {
            Ok(()) => {}
            Err(TrySendError::Full(work)) => self.kept_back.push_back(work),
            Err(TrySendError::Closed(_)) => {
                self.unanswered -= 1;
                self.done.push_back(failed(id));
            }
        }
    }

    /// The next available answer.
    pub(crate) fn pop_done(&mut self) -> Option<(OpId, StorageReply)> {
        self.done.pop_front()
    }

    /// Whether operations are held back.
    pub(crate) fn is_full(&self) -> bool {
        !self.kept_back.is_empty()
    }

    /// The number of operations that are held back.
    pub(crate) fn kept_back(&self) -> usize {
        self.kept_back.len()
    }

    /// Requests a view of the store. The request is dropped if the queue is full.
    pub(crate) fn view(&self, answer: oneshot::Sender<StoreView>) {
        if !self.is_full() {
            let _ = self.work.try_send(Work::View(answer));
        }
    }

    /// The next answers; none if the queue only got room. Cancel safe.
    pub(crate) async fn replies(&mut self) -> Replies {
        if !self.done.is_empty() {
            return self.done.drain(..).collect();
        }
        tokio::select! {
            replies = self.replies.recv() => match replies {
                Some(replies) => {
                    self.unanswered -= replies.len();
                    replies
                }
                // The thread has ended: operations fail at once from now on.
                None => std::future::pending().await,
            },
            room = self.work.reserve(), if !self.kept_back.is_empty() => {
                match (room, self.kept_back.pop_front()) {
                    (Ok(room), Some(work)) => room.send(work),
                    (Err(_), Some(Work::Op(id, _))) => {
                        self.unanswered -= 1;
                        self.done.push_back(failed(id));
                    }
                    (_, _) => {}
                }
                Vec::new()
            }
        }
    }

    /// Carries out the queued operations and closes the store.
    pub(crate) async fn close(self) {
        let Self { work, replies, kept_back, owner, ended, .. } = self;
        // The answers are not read from here on, and the thread does not wait for that.
        drop(replies);
        // The thread closes the store, so this handle must be dropped before.
        drop(owner);
        for op in kept_back {
            if work.send(op).await.is_err() {
                break;
            }
        }
        drop(work);
        let _ = ended.await;
    }
}

/// The thread.
struct Thread<B> {
    owner: Arc<Mutex<Owner<B>>>,
    replies: mpsc::Sender<Replies>,
}

/// The store, owned by the thread that works on it.
struct Owner<B> {
    store: RecordStore<B>,
    board: Arc<Board>,
    /// Whether the store panicked, after which its answers cannot be trusted.
    broken: bool,
}

impl<B: Backend> Shortcut for Mutex<Owner<B>> {
    fn try_apply(&self, op: &StorageOp) -> Option<StorageReply> {
        let mut owner = self.try_lock()?;
        owner.apply(std::slice::from_ref(op)).pop()
    }
}

impl<B: Backend> Thread<B> {
    /// Runs until all senders are gone, then closes the store.
    fn run(self, mut queue: mpsc::Receiver<Work>) {
        let mut waiting = Vec::new();
        while queue.blocking_recv_many(&mut waiting, BATCH_OPS) > 0 {
            self.batch(&mut waiting);
        }
        let mut owner = self.owner.lock();
        if !owner.broken && owner.store.stopped().is_none() {
            owner.store.sync();
        }
    }

    fn batch(&self, waiting: &mut Vec<Work>) {
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
        // Reads before the first change need not wait for its sync.
        let reads = ops.iter().take_while(|op| is_read(op)).count();
        self.answer(&ids[..reads], &ops[..reads]);
        self.answer(&ids[reads..], &ops[reads..]);
        for answer in views {
            let view = self.owner.lock().view();
            // The receiver may be gone.
            let _ = answer.send(view);
        }
    }

    fn answer(&self, ids: &[OpId], ops: &[StorageOp]) {
        if ops.is_empty() {
            return;
        }
        let replies = self.owner.lock().apply(ops);
        // No receiver: the node is stopping.
        let _ = self.replies.blocking_send(ids.iter().copied().zip(replies).collect());
    }
}

impl<B: Backend> Owner<B> {
    fn new(store: RecordStore<B>) -> Self {
        let stopped = store.stopped().map(str::to_owned);
        let (full, healing) = (store.is_full(), store.is_healing());
        let view = StoreView { stats: store.stats(), stopped, full, healing };
        Self { store, board: Arc::new(Board(Mutex::new(view))), broken: false }
    }

    fn apply(&mut self, ops: &[StorageOp]) -> Vec<StorageReply> {
        let was_stopped = self.stopped().is_some();
        let was_healing = self.store.is_healing();
        let stopped = || vec![StorageReply::Failed(StorageFailure::Stopped); ops.len()];
        if self.broken {
            return stopped();
        }
        // A store that panicked is not used again.
        let replies = catch_unwind(AssertUnwindSafe(|| self.store.apply(ops)));
        let replies = replies.unwrap_or_else(|_| {
            self.broken = true;
            stopped()
        });
        if !was_stopped && let Some(reason) = self.stopped() {
            tracing::error!(
                code = "store.stopped",
                reason,
                "the store stopped: nothing is acknowledged until a restart"
            );
        }
        if !self.broken && was_healing != self.store.is_healing() {
            if was_healing {
                tracing::info!(
                    code = "store.healed",
                    "the store is whole again; other nodes have copies of what was lost"
                );
            } else {
                tracing::warn!(
                    code = "store.damaged",
                    "damage on the disk: the store writes its rows anew without it"
                );
            }
        }
        self.show(RecordStore::counted);
        replies
    }

    /// Why the store accepts no more operations, if so. Called for every operation, so it must not read file
    /// sizes.
    fn stopped(&self) -> Option<&str> {
        if self.broken { Some("the store ended in a bug") } else { self.store.stopped() }
    }

    /// Reads the size of every file.
    fn view(&self) -> StoreView {
        self.show(|store, _| store.stats());
        self.board.read()
    }

    /// Publishes the current view. After a panic the last view stays.
    fn show(&self, look: impl FnOnce(&RecordStore<B>, &StoreStats) -> StoreStats) {
        self.board.change(|view| {
            if !self.broken {
                view.stats = look(&self.store, &view.stats);
            }
            view.full = !self.broken && self.store.is_full();
            view.healing = !self.broken && self.store.is_healing();
            if view.stopped.is_none() {
                view.stopped = self.stopped().map(str::to_owned);
            }
        });
    }
}

/// The answer to an operation after the thread has ended.
fn failed(id: OpId) -> (OpId, StorageReply) {
    (id, StorageReply::Failed(StorageFailure::Stopped))
}

/// Whether an operation changes nothing.
fn is_read(op: &StorageOp) -> bool {
    match op {
        StorageOp::Load { .. }
        | StorageOp::Scan { .. }
        | StorageOp::ScanOwn { .. }
        | StorageOp::ScanCertificates { .. }
        | StorageOp::Names { .. }
        | StorageOp::Fingerprint { .. }
        | StorageOp::Fingerprints { .. }
        | StorageOp::Entries { .. }
        | StorageOp::Index { .. } => true,
        StorageOp::Merge { .. }
        | StorageOp::KeepCertificates { .. }
        | StorageOp::Drop { .. }
        | StorageOp::TakeBack { .. }
        | StorageOp::Expire { .. }
        | StorageOp::Remove { .. } => false,
    }
}

/// Whether an operation reads one key.
fn is_small_read(op: &StorageOp) -> bool {
    matches!(op, StorageOp::Load { .. } | StorageOp::Scan { limit: 0..=1, .. })
}

#[cfg(test)]
mod tests;
