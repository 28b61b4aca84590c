//! Counters, sets and maps by way of the library.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{bounded, network};
use potluck::{CommandError, Error, Read};
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
