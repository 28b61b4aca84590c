use bytes::Bytes;
use potluck_base::{PublicKey, UnixMillis};
use potluck_kv::Gap;
use potluck_record::{Dot, Kind, Reading, StateDigest, Value};

use super::*;

const KEY: Key = Key::from_bytes([1; 32]);

fn change(number: u64, bytes: usize) -> Change {
    let value = Value {
        folded: None,
        bytes: Bytes::from(vec![0; bytes]),
        writer: PublicKey::from_bytes([1; 32]),
        dot: Dot::from_raw(number),
        kind: Kind::Siblings,
        expires: UnixMillis(9),
    };
    let reading = Reading { values: vec![value], ..Reading::default() };
    Change { key: KEY, reading, digest: StateDigest::EMPTY, gap: Gap::None }
}

fn begin(watchers: &mut Watchers) -> oneshot::Receiver<Result<Changes, Reply>> {
    let (reply, answer) = oneshot::channel();
    let (command, pending) = watchers.begin(WatchRequest { key: KEY, reply }).expect("room");
    assert_eq!(command, Command::Watch { key: KEY });
    watchers.answered(pending, Reply::Watching(change(0, 1)));
    answer
}

async fn numbers(changes: &mut Changes) -> Vec<(u64, Gap)> {
    let mut all = Vec::new();
    while let Some(change) = changes.next().await {
        all.push((change.reading.values[0].dot.raw(), change.gap));
    }
    all
}

#[tokio::test]
async fn each_watcher_has_the_present_values_and_then_each_change() {
    let mut watchers = Watchers::default();
    let mut one = begin(&mut watchers).await.expect("an answer").expect("a watch");
    watchers.deliver(&change(1, 1));
    let mut two = begin(&mut watchers).await.expect("an answer").expect("a watch");
    watchers.deliver(&change(2, 1));
    assert_eq!((watchers.counts().watchers, watchers.counts().delivered), (2, 3));
    drop(watchers);
    let none = Gap::None;
    assert_eq!(numbers(&mut one).await, [(0, none), (1, none), (2, none)]);
    assert_eq!(numbers(&mut two).await, [(0, none), (2, none)]);
}

#[tokio::test]
async fn a_slow_watcher_has_the_newest_changes_and_a_gap() {
    let mut watchers = Watchers::default();
    let mut slow = begin(&mut watchers).await.expect("an answer").expect("a watch");
    let count = WATCH_QUEUE_MAX as u64 + 3;
    (1..=count).for_each(|number| watchers.deliver(&change(number, 1)));
    assert_eq!(watchers.counts().gave_way, 3);
    drop(watchers);
    let got = numbers(&mut slow).await;
    assert_eq!(got.len(), WATCH_QUEUE_MAX + 1);
    assert_eq!(got[1], (4, Gap::AtLeast(3)));
    assert_eq!(got.last(), Some(&(count, Gap::None)));
}

#[tokio::test]
async fn large_values_are_bounded_and_the_newest_always_fits() {
    let mut watchers = Watchers::default();
    let mut slow = begin(&mut watchers).await.expect("an answer").expect("a watch");
    watchers.deliver(&change(1, WATCH_QUEUE_BYTES_MAX / 2));
    watchers.deliver(&change(2, WATCH_QUEUE_BYTES_MAX / 2));
    watchers.deliver(&change(3, WATCH_QUEUE_BYTES_MAX + 1));
    drop(watchers);
    assert_eq!(numbers(&mut slow).await, [(0, Gap::None), (3, Gap::AtLeast(2))]);
}

#[tokio::test]
async fn a_key_without_watchers_is_watched_no_more() {
    let mut watchers = Watchers::default();
    let one = begin(&mut watchers).await.expect("an answer").expect("a watch");
    let two = begin(&mut watchers).await.expect("an answer").expect("a watch");
    drop(one);
    watchers.dropped().await;
    assert_eq!((watchers.sweep(), watchers.counts().watchers), (vec![], 1));
    drop(two);
    assert_eq!((watchers.sweep(), watchers.counts().watchers), (vec![KEY], 0));
    let mut three = begin(&mut watchers).await.expect("an answer").expect("a watch");
    watchers.end(&KEY);
    assert_eq!(numbers(&mut three).await, [(0, Gap::None)]);
    assert_eq!((watchers.sweep(), watchers.counts().watchers), (vec![], 0));
}

#[tokio::test]
async fn a_watch_that_the_core_refuses_leaves_nothing() {
    let mut watchers = Watchers::default();
    let (reply, answer) = oneshot::channel();
    let (_, pending) = watchers.begin(WatchRequest { key: KEY, reply }).expect("room");
    let refusal = Reply::Failed(CommandError::NotJoined);
    watchers.answered(pending, refusal.clone());
    assert_eq!(answer.await.expect("an answer").err(), Some(refusal));
    assert_eq!((watchers.sweep(), watchers.counts().watchers), (vec![KEY], 0));
}
