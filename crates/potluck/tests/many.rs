//! Many nodes in one process.

mod common;

use common::{bounded, network};
use potluck::Read;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_nodes_in_one_process_share_what_each_of_them_writes() {
    let nodes = network(8).await;
    for (number, node) in nodes.iter().enumerate() {
        let written = bounded(node.kv().put(format!("from {number}"), "x").into_future()).await;
        assert!(written.unwrap().acks > 4, "a majority");
    }
    for (number, node) in nodes.iter().rev().enumerate() {
        let read = bounded(node.kv().get(format!("from {number}")).into_future()).await;
        assert!(matches!(read, Ok(Read::Value(_))), "{read:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_outlive_the_nodes_that_wrote_them() {
    let mut nodes = network(6).await;
    for number in 0..10 {
        bounded(nodes[0].kv().put(format!("k{number}"), "x").into_future()).await.unwrap();
    }
    // As if their machines had been switched off.
    nodes.remove(0).stop().await.unwrap();
    drop(nodes.remove(0));
    for number in 0..10 {
        let read = bounded(nodes[3].kv().get(format!("k{number}")).into_future()).await;
        assert!(matches!(read, Ok(Read::Value(_))), "k{number}: {read:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn very_many_commands_at_once_are_all_answered() {
    let nodes = network(3).await;
    let mut puts = tokio::task::JoinSet::new();
    for number in 0..500 {
        let put = nodes[number % 3].kv().put(format!("k{number}"), "x");
        puts.spawn(async move { put.await.is_ok() });
    }
    let mut written = 0;
    while let Some(done) = bounded(puts.join_next()).await {
        written += usize::from(done.unwrap());
    }
    assert_eq!(written, 500);
    let drive = nodes[0].stats().await.unwrap().drive;
    assert_eq!((drive.commands_active, drive.storage_kept_back), (0, 0));
}
