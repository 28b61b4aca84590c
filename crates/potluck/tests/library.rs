//! What an application builds on: networks for its tests, names instead of links, streams.

mod common;

use std::pin::Pin;

use common::bounded;
use futures_core::Stream as _;
use potluck::testing::Network;
use potluck::{Error, Event, Read};
use tokio::io::AsyncReadExt as _;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_for_tests_survives_a_killed_node_and_takes_it_back() {
    let mut network = bounded(Network::local(4)).await.unwrap();
    let first = network.node(0).node_id();
    bounded(network.node(0).kv().put("greeting", "hello").into_future()).await.unwrap();
    network.kill(0).await.unwrap();
    assert!(matches!(network.kill(0).await, Err(Error::Stopped)));
    assert_eq!(network.nodes().count(), 3);
    let read = bounded(network.node(1).kv().get("greeting").into_future()).await.unwrap();
    assert!(matches!(&read, Read::Value(value) if value.text().unwrap() == "hello"), "{read:?}");
    let again = bounded(network.restart(0)).await.unwrap();
    assert_eq!(again.node_id(), first, "it has its identity again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_fetched_by_its_link_its_text_and_the_name_of_a_record() {
    let network = bounded(Network::local(3)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (path, bytes) = (folder.path().join("dish"), vec![7; 700_000]);
    std::fs::write(&path, &bytes).unwrap();
    let share = network.node(0).files().share(&path).as_record("dishes/latest");
    let shared = bounded(share.into_future()).await.unwrap();
    let text = shared.link.to_string();
    let files = network.node(1).files();
    for (number, fetch) in [files.fetch(&shared), files.fetch(&*text), files.fetch("dishes/latest")]
        .into_iter()
        .enumerate()
    {
        let to = folder.path().join(number.to_string());
        let got = bounded(fetch.to(&to).into_future()).await.unwrap();
        assert_eq!(std::fs::read(got.path).unwrap(), bytes);
    }
    let nothing = bounded(files.fetch("dishes/none").into_future()).await.unwrap_err();
    assert!(matches!(&nothing, Error::NoRecord(name) if name == "dishes/none"), "{nothing}");
    network.node(0).kv().put("dishes/odd", "soup").await.unwrap();
    let odd = bounded(files.fetch("dishes/odd").into_future()).await.unwrap_err();
    assert!(matches!(odd, Error::Link(_)), "{odd}");
    assert!(matches!(files.fetch("dishes/latest").start(), Err(Error::Link(_))));

    let mut read = Vec::new();
    let mut reader = bounded(network.node(2).files().read("dishes/latest")).await.unwrap();
    assert_eq!((reader.name(), reader.bytes()), ("dish", 700_000));
    bounded(reader.read_to_end(&mut read)).await.unwrap();
    assert_eq!(read, bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_a_stream_that_ends_with_the_node() {
    let mut network = bounded(Network::local(2)).await.unwrap();
    let mut events = network.node(1).events();
    network.kill(0).await.unwrap();
    let polled = bounded(std::future::poll_fn(|context| Pin::new(&mut events).poll_next(context)));
    assert!(polled.await.is_some());
    let dead = bounded(async {
        while let Some(event) = events.next().await {
            if matches!(&event, Event::Member(_)) {
                return true;
            }
        }
        false
    });
    assert!(dead.await, "the other learns of the death");
    network.kill(1).await.unwrap();
    bounded(async { while events.next().await.is_some() {} }).await;
    assert_eq!(events.next().await, None, "it has ended and stays so");
}
