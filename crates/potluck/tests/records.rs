//! Records by way of real nodes on loopback.

mod common;

use bytes::Bytes;
use common::{bounded, network, node};
use potluck::{CommandError, Error, Kind, Name, Node, Read, Space};

async fn texts(node: &Node, name: &str) -> Vec<String> {
    let mut texts: Vec<String> = match bounded(node.kv().get(name).into_future()).await {
        Ok(Read::Value(value)) => vec![value.text().expect("text").to_owned()],
        Ok(Read::Siblings(all)) => all.iter().map(|v| v.text().expect("text").to_owned()).collect(),
        Ok(Read::Absent) => Vec::new(),
        Err(error) => panic!("{error}"),
    };
    texts.sort();
    texts
}

async fn put(node: &Node, name: &str, text: &str) {
    let written =
        bounded(node.kv().put(name, text.to_owned()).into_future()).await.expect("written");
    assert!(written.acks >= 1);
}

#[tokio::test]
async fn what_one_node_puts_another_gets() {
    let nodes = network(2).await;
    let written = bounded(nodes[0].kv().put("config/greeting", "hello").into_future()).await;
    let written = written.unwrap();
    assert_eq!((written.acks, written.wanted, written.members), (2, 2, 2));
    let read = bounded(nodes[1].kv().get("config/greeting").into_future()).await.unwrap();
    let Read::Value(value) = read else { panic!("{read:?}") };
    assert_eq!(value.text().unwrap(), "hello");
    assert_eq!(value.version(), written.version);
    assert_eq!(value.writer(), nodes[0].public_key());
    assert_eq!(value.kind(), Kind::Siblings);
    assert_eq!(texts(&nodes[1], "nothing here").await, [""; 0]);
}

#[tokio::test]
async fn a_write_with_a_context_supersedes_what_was_read_and_nothing_else() {
    let nodes = network(2).await;
    put(&nodes[0], "a", "one").await;
    let read = nodes[1].kv().get("a").await.unwrap().value().unwrap();
    // Written after that read, so the context does not cover it.
    put(&nodes[0], "a", "two").await;
    nodes[1].kv().put("a", "three").context(read.context()).await.unwrap();
    assert_eq!(texts(&nodes[0], "a").await, ["three", "two"]);
    let reading = nodes[0].kv().get("a").reading().await.unwrap();
    nodes[1].kv().put("a", "all").context(reading.context).await.unwrap();
    assert_eq!(texts(&nodes[0], "a").await, ["all"]);
}

#[tokio::test]
async fn a_deletion_that_covers_nothing_deletes_nothing_and_says_so() {
    let nodes = network(1).await;
    put(&nodes[0], "a", "one").await;
    let stale = nodes[0].kv().get("a").await.unwrap().value().unwrap().context();
    put(&nodes[0], "a", "two").await;
    let refused = nodes[0].kv().delete("a").context(stale.clone()).await;
    assert!(matches!(&refused, Err(Error::Conflict(values)) if values.len() == 1), "{refused:?}");
    let refused = nodes[0].kv().delete("a").blind().await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert_eq!(texts(&nodes[0], "a").await, ["two"]);
    let read = nodes[0].kv().get("a").await.unwrap().value().unwrap();
    nodes[0].kv().delete("a").context(read.context()).await.unwrap();
    assert_eq!(texts(&nodes[0], "a").await, [""; 0]);
    let gone = nodes[0].kv().delete("a").context(stale).await;
    assert!(matches!(gone, Err(Error::Command(CommandError::Absent))), "{gone:?}");
}

#[tokio::test]
async fn siblings_are_kept_refuse_a_plain_write_and_are_merged() {
    let nodes = network(2).await;
    nodes[0].kv().put("a", "left").blind().await.unwrap();
    nodes[1].kv().put("a", "right").blind().await.unwrap();
    assert_eq!(texts(&nodes[0], "a").await, ["left", "right"]);
    let refused = nodes[0].kv().put("a", "third").await.unwrap_err();
    let Error::Conflict(siblings) = refused else { panic!("{refused}") };
    assert_eq!(siblings.len(), 2);
    assert_eq!(texts(&nodes[1], "a").await, ["left", "right"], "nothing was written");
    nodes[1].kv().put("a", siblings[0].bytes()).context(siblings.context()).await.unwrap();
    assert_eq!(texts(&nodes[0], "a").await, [siblings[0].text().unwrap()]);
}

#[tokio::test]
async fn what_is_deleted_is_absent_and_deleting_nothing_says_so() {
    let nodes = network(2).await;
    put(&nodes[0], "a", "x").await;
    nodes[1].kv().delete("a").await.unwrap();
    assert_eq!(texts(&nodes[0], "a").await, [""; 0]);
    let reading = nodes[0].kv().get("a").reading().await.unwrap();
    assert!(!reading.context.is_empty(), "the deletion has a context");
    let nothing = nodes[0].kv().delete("never written").await.unwrap_err();
    assert!(matches!(nothing, Error::Command(CommandError::Absent)), "{nothing}");
    put(&nodes[0], "a", "again").await;
    assert_eq!(texts(&nodes[1], "a").await, ["again"]);
}

#[tokio::test]
async fn spaces_are_apart_and_content_is_read_by_its_key() {
    let nodes = network(2).await;
    let own = Space::Own(nodes[0].public_key());
    nodes[0].kv().put("a", "mine").space(own).await.unwrap();
    assert_eq!(texts(&nodes[1], "a").await, [""; 0]);
    let read = nodes[1].kv().get("a").space(own).await.unwrap();
    assert_eq!(read.value().unwrap().text().unwrap(), "mine");

    let written = nodes[0].kv().put("-", "dish").space(Space::Content).await.unwrap();
    assert_eq!(written.key, Space::content_key(b"dish"));
    let key = written.key.to_string();
    let read = nodes[1].kv().get(key).space(Space::Content).await.unwrap();
    assert_eq!(read.value().unwrap().bytes(), Bytes::from_static(b"dish"));
    let no_key = nodes[1].kv().get("dish").space(Space::Content).await.unwrap_err();
    assert!(matches!(no_key, Error::ContentKey(_)), "{no_key}");
}

#[tokio::test]
async fn large_values_travel_by_call() {
    let nodes = network(2).await;
    let large = Bytes::from(vec![7; 60_000]);
    bounded(nodes[0].kv().put("large", large.clone()).into_future()).await.unwrap();
    let stats = nodes[0].stats().await.unwrap();
    assert!(stats.transport.calls > 0, "{:?}", stats.transport);
    let read = bounded(nodes[1].kv().get("large").into_future()).await.unwrap();
    assert_eq!(read.value().unwrap().bytes(), large);
    let too_large = nodes[0].kv().put("large", vec![0; 65 * 1024]).await.unwrap_err();
    assert!(matches!(too_large, Error::Command(CommandError::Draft(_))), "{too_large}");
}

#[tokio::test]
async fn a_lone_node_works_and_bad_names_are_refused() {
    let node = node().start().await.unwrap();
    bounded(node.ready()).await.unwrap();
    put(&node, "a", "alone").await;
    assert_eq!(texts(&node, "a").await, ["alone"]);
    let empty = node.kv().put("", "x").await.unwrap_err();
    assert!(matches!(empty, Error::Name(_)), "{empty}");
    let long = node.kv().get("x".repeat(513)).await.unwrap_err();
    assert!(long.to_string().contains("512"), "{long}");
    assert!(Name::new("x".repeat(512)).is_ok());
    let strict = node.kv().put("a", "x").quorum(2).await.unwrap_err();
    assert!(matches!(strict, Error::Command(CommandError::TooFewAcks { .. })), "{strict}");
}

#[tokio::test]
async fn status_and_stats_tell_what_happened() {
    let nodes = network(2).await;
    put(&nodes[0], "a", "x").await;
    let status = nodes[1].status().await.unwrap();
    assert_eq!((status.view.contact, status.view.peers), (nodes[1].contact(), 1));
    assert!(status.health.is_ready());
    assert_eq!((status.store.stats.records, status.store.stopped), (1, None));
    let stats = nodes[0].stats().await.unwrap();
    assert_eq!(stats.node.kv.puts_written, 1);
    assert!(stats.drive.datagrams > 0 && stats.socket.sent > 0, "{stats:?}");
    assert!(stats.socket_buffers.receive_bytes > 0);
}

#[tokio::test]
async fn every_future_can_move_between_threads() {
    fn sent<T: Send>(future: T) -> T {
        future
    }
    let node = sent(node().start()).await.unwrap();
    sent(node.ready()).await.unwrap();
    sent(node.kv().put("a", "x").into_future()).await.unwrap();
    sent(node.kv().get("a").into_future()).await.unwrap();
    sent(node.kv().get("a").reading()).await.unwrap();
    sent(node.kv().delete("a").into_future()).await.unwrap();
    sent(node.status()).await.unwrap();
    sent(node.stats()).await.unwrap();
    let mut events = node.events();
    drop(sent(events.next()));
    sent(node.leave()).await.unwrap();
    sent(node.stop()).await.unwrap();
}
