use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Admission, Identity, Key, NetworkId, UnixMillis};
use potluck_record::{Context, Dot, Draft, Envelope, Kind, MergeAs, Merged, Name, Place, Space};
use potluck_store::{DiskStore, MemoryStore, StoreConfig, SyncMode};
use tokio::time::timeout;

use super::*;

/// Far longer than anything here takes; a test that waits for it has failed.
const BOUND: Duration = Duration::from_secs(60);
/// More operations than the thread and the queues take while the answers are not read.
const MANY: u64 = (QUEUE_OPS + BATCH_OPS * (QUEUE_REPLIES + 2) + 100) as u64;

fn network() -> NetworkId {
    NetworkId::new("disk tests", Admission::Lab, None)
}

fn envelope(name: u64) -> Envelope {
    let draft = Draft {
        space: Space::Commons,
        name: Some(Name::new(name.to_string()).unwrap()),
        kind: Kind::Siblings,
        values: vec![(Dot::from_raw(1), UnixMillis(1_000), Bytes::from_static(b"value"))],
        dot: Dot::from_raw(1),
        context: Context::new(),
        expires: UnixMillis(1_000),
        certificate: None,
    };
    Envelope::sign(&Identity::from_seed([1; 32]), &network(), draft).unwrap()
}

fn merge(name: u64) -> StorageOp {
    StorageOp::Merge { envelope: envelope(name), place: Place::Replica, how: MergeAs::Repair }
}

fn load(name: u64) -> StorageOp {
    StorageOp::Load { key: key(name), place: Place::Replica }
}

fn remove(name: u64) -> StorageOp {
    StorageOp::Remove { key: key(name), place: Place::Replica }
}

fn key(name: u64) -> Key {
    Space::Commons.key(&Name::new(name.to_string()).unwrap()).unwrap()
}

async fn answers(disk: &mut Disk, count: usize) -> Replies {
    let mut answers = Vec::new();
    while answers.len() < count {
        answers.extend(timeout(BOUND, disk.replies()).await.expect("in time"));
    }
    assert_eq!(answers.len(), count);
    answers
}

impl Disk {
    /// A disk with two records that carries nothing out any more and has no room, for as long as
    /// the second lives.
    pub(crate) fn standing_still() -> (Self, impl Sized) {
        let mut store = MemoryStore::in_memory();
        store.apply(&[merge(1), merge(2)]);
        let (work, queue) = mpsc::channel(1);
        let (answers, replies) = mpsc::channel(1);
        let (end, ended) = oneshot::channel();
        let owner = Owner::new(store);
        let board = Arc::clone(&owner.board);
        let mut disk = Self {
            work,
            replies,
            kept_back: VecDeque::new(),
            done: VecDeque::new(),
            unanswered: 0,
            owner: Arc::new(Mutex::new(owner)),
            board,
            in_memory: false,
            ended,
        };
        disk.submit(OpId(1), merge(1));
        disk.submit(OpId(2), merge(2));
        (disk, (queue, answers, end))
    }
}

#[tokio::test]
async fn operations_are_carried_out_in_order_and_answered_by_name() {
    let mut disk = Disk::start(MemoryStore::in_memory()).unwrap();
    for (id, op) in [load(1), merge(1), load(1), merge(1)].into_iter().enumerate() {
        disk.submit(OpId(id as u64 + 10), op);
    }
    let answers = answers(&mut disk, 4).await;
    let ids: Vec<_> = answers.iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, [10, 11, 12, 13]);
    let found = |index: usize| match &answers[index].1 {
        StorageReply::Loaded { envelopes } => envelopes.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!((found(0), found(2)), (0, 1));
    let merged = |index: usize| match &answers[index].1 {
        StorageReply::Merged { outcome, .. } => *outcome,
        other => panic!("{other:?}"),
    };
    assert_eq!((merged(1), merged(3)), (Merged::New, Merged::Equal));
    disk.close().await;
}

#[tokio::test]
async fn what_finds_no_room_is_kept_back_and_answered_in_order() {
    let mut disk = Disk::start(MemoryStore::in_memory()).unwrap();
    // A change in front, behind which reads have to wait.
    disk.submit(OpId(0), remove(0));
    for id in 1..MANY {
        disk.submit(OpId(id), load(id));
    }
    assert!(disk.is_full() && disk.kept_back() > 0);
    let ids: Vec<_> = answers(&mut disk, MANY as usize).await.iter().map(|(id, _)| id.0).collect();
    assert_eq!(ids, (0..MANY).collect::<Vec<_>>());
    assert!(!disk.is_full());
}

#[tokio::test]
async fn closing_carries_out_all_that_was_asked_for_and_frees_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig {
        sync: SyncMode::Buffered,
        memory_bytes: 1024 * 1024,
        reserve_bytes: 0,
        ..StoreConfig::new(network())
    };
    let mut disk = Disk::start(DiskStore::open(folder.path(), &config).unwrap()).unwrap();
    disk.submit(OpId(0), remove(0));
    for id in 1..MANY - 3 {
        disk.submit(OpId(id), load(id));
    }
    for id in MANY - 3..MANY {
        disk.submit(OpId(id), merge(id));
    }
    assert!(disk.is_full(), "the merges wait behind the queue");
    timeout(BOUND, disk.close()).await.expect("in time");
    let store = DiskStore::open(folder.path(), &config).unwrap();
    assert_eq!(store.stats().records, 3);
}

#[tokio::test]
async fn a_view_shows_what_the_store_holds() {
    let mut disk = Disk::start(MemoryStore::in_memory()).unwrap();
    disk.submit(OpId(1), merge(1));
    let (answer, view) = oneshot::channel();
    disk.view(answer);
    let view = timeout(BOUND, view).await.expect("in time").unwrap();
    assert_eq!((view.stats.records, view.stopped), (1, None));
    answers(&mut disk, 1).await;
}

#[tokio::test]
async fn a_store_at_work_shows_what_its_last_batch_left_and_never_zeros() {
    let mut store = MemoryStore::in_memory();
    store.apply(&[merge(1), merge(2)]);
    let held = store.stats();
    let mut disk = Disk::start(store).unwrap();
    // Nobody has asked the thread for anything yet.
    assert_eq!(disk.last_view(), StoreView { stats: held, ..StoreView::default() });
    disk.submit(OpId(1), merge(3));
    answers(&mut disk, 1).await;
    let after = disk.last_view().stats;
    assert_eq!((after.records, after.envelopes, after.ops), (3, 3, held.ops + 1));
    assert_eq!(after.memory_bytes, held.memory_bytes, "looked at when somebody asks for a view");
    let (answer, view) = oneshot::channel();
    disk.view(answer);
    let view = timeout(BOUND, view).await.expect("in time").unwrap();
    assert!(view.stats.memory_bytes > held.memory_bytes);
    assert_eq!(disk.last_view(), view);
}

#[test]
fn a_store_that_ended_in_a_bug_shows_what_it_held() {
    let mut store = MemoryStore::in_memory();
    store.apply(&[merge(1), merge(2)]);
    let mut owner = Owner::new(store);
    owner.broken = true;
    let view = owner.view();
    assert_eq!((view.stats.records, view.stopped.is_some()), (2, true));
}

#[tokio::test]
async fn a_read_does_not_overtake_a_change_and_needs_no_thread_when_none_waits() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { sync: SyncMode::Buffered, ..StoreConfig::new(network()) };
    let mut disk = Disk::start(DiskStore::open(folder.path(), &config).unwrap()).unwrap();
    disk.submit(OpId(1), load(1));
    assert!(matches!(disk.pop_done(), Some((OpId(1), StorageReply::Loaded { .. }))));
    disk.submit(OpId(2), merge(1));
    disk.submit(OpId(3), load(1));
    assert_eq!(disk.pop_done(), None);
    let answers = answers(&mut disk, 2).await;
    let StorageReply::Loaded { envelopes } = &answers[1].1 else { panic!("{answers:?}") };
    assert_eq!(envelopes.len(), 1);
}

#[tokio::test]
async fn without_its_thread_every_operation_fails_instead_of_waiting() {
    let (work, queue) = mpsc::channel(1);
    let (_answers, replies) = mpsc::channel(1);
    let (_end, ended) = oneshot::channel();
    let owner = Owner::new(MemoryStore::in_memory());
    let board = Arc::clone(&owner.board);
    let mut disk = Disk {
        work,
        replies,
        kept_back: VecDeque::new(),
        done: VecDeque::new(),
        unanswered: 0,
        owner: Arc::new(Mutex::new(owner)),
        board,
        in_memory: false,
        ended,
    };
    disk.submit(OpId(1), merge(1));
    disk.submit(OpId(2), load(2));
    assert!(disk.is_full());
    drop(queue);
    disk.submit(OpId(3), load(3));
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(timeout(BOUND, disk.replies()).await.expect("in time"));
    }
    assert_eq!(seen, [failed(OpId(2)), failed(OpId(3))]);
}
