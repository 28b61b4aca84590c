//! Counters, sets and maps by way of the library.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use common::{bounded, network, node};
use potluck::{CommandError, Error, Node, Read};
use potluck_record::Kind;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_count_add_and_set_at_once_and_read_the_same() {
    let nodes = network(4).await;
    let mut tasks = tokio::task::JoinSet::new();
    for (number, node) in nodes.iter().enumerate() {
        for turn in 0..25 {
            let kv = node.kv();
            tasks.spawn(async move {
                kv.counter("visits").add(2).await?;
                if turn < 5 {
                    kv.set("colors").add(format!("{number} {turn}")).await?;
                    kv.map("hosts").set(format!("h{turn}"), format!("{number}")).await?;
                }
                Ok::<(), Error>(())
            });
        }
    }
    while let Some(done) = bounded(tasks.join_next()).await {
        done.unwrap().unwrap();
    }
    let kv = nodes[3].kv();
    assert_eq!(kv.counter("visits").value().await.unwrap(), 200);
    assert_eq!(kv.set("colors").elements().await.unwrap().len(), 20);
    let fields = kv.map("hosts").entries().await.unwrap();
    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["h0", "h1", "h2", "h3", "h4"]);
    kv.set("colors").remove("0 0").await.unwrap();
    kv.map("hosts").unset("h0").await.unwrap();
    assert!(!nodes[0].kv().set("colors").elements().await.unwrap().contains("0 0"));
    assert!(!nodes[0].kv().map("hosts").entries().await.unwrap().contains_key("h0"));
    let Read::Value(value) = kv.get("visits").await.unwrap() else { panic!("one value") };
    assert_eq!(
        (value.counter(), value.kind(), value.text().unwrap()),
        (Some(200), Kind::Counter, "200")
    );
    assert_eq!((value.elements(), value.entries()), (None, None));
}

#[tokio::test]
async fn nothing_counted_is_zero_and_another_kind_is_named() {
    let nodes = network(2).await;
    let kv = nodes[0].kv();
    assert_eq!(kv.counter("a").value().await.unwrap(), 0);
    assert_eq!(kv.set("a").elements().await.unwrap(), BTreeSet::new());
    assert_eq!(kv.map("a").entries().await.unwrap(), BTreeMap::new());
    kv.put("a", "text").await.unwrap();
    let (there, asked) = (Kind::Siblings, Kind::Counter);
    let other = CommandError::OtherKind { there, asked };
    for error in [kv.counter("a").value().await.err(), kv.counter("a").add(1).await.err()] {
        let Some(Error::Command(error)) = error else { panic!("{error:?}") };
        assert_eq!(error, other);
    }
    assert_eq!(
        other.to_string(),
        "a value that was put is kept under this name; delete it first to make a counter of it"
    );
}

/// A measurement: `cargo test -p potluck --release --test kinds -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes"]
async fn three_hundred_nodes_count_once_each() {
    const NODES: usize = 300;
    let mut nodes: Vec<Node> = vec![node().start().await.unwrap()];
    while nodes.len() < NODES {
        // Each knows its place before the next one comes.
        let entry = nodes[nodes.len() / 2].contact();
        let next = node().entry(entry).start().await.unwrap();
        bounded(next.ready()).await.unwrap();
        nodes.push(next);
    }
    let began = Instant::now();
    let mut failed = Vec::new();
    for (number, node) in nodes.iter().enumerate() {
        if let Err(error) = bounded(node.kv().counter("c").add(1).into_future()).await {
            failed.push(format!("{number}: {error}"));
        }
    }
    let mut carried = 0;
    for node in &nodes {
        carried += node.stats().await.unwrap().node.kv.operations_carried_out;
    }
    let sum = bounded(nodes[7].kv().counter("c").value()).await.unwrap();
    println!("{NODES} nodes: {sum}, {carried} by replicas, {:?}, {failed:?}", began.elapsed());
    assert_eq!((sum, failed), (NODES as i128, vec![]));
    assert!(carried > 0);
}
