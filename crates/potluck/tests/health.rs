//! What a node says of itself, with real sockets and disks.

mod common;

use common::{bounded, network, node, node_in, until};
use potluck::{Health, InviteTerms, Node, Verdict};

async fn health(node: &Node) -> Verdict {
    node.health().await.expect("it runs")
}

/// Waits until a node says this, worst first.
async fn says(node: &Node, health: Health, codes: &[&str]) {
    until(async || {
        let verdict = node.health().await.expect("it runs");
        let said: Vec<&str> = verdict.reasons.iter().map(|reason| reason.code).collect();
        (verdict.health == health && said == codes).then_some(())
    })
    .await;
}

#[tokio::test]
async fn whoever_hears_nobody_any_more_says_so_with_and_without_entry_points_until_it_hears_one() {
    for gone in [0, 1] {
        let mut nodes = network(2).await;
        let (gone, left) = (nodes.remove(gone), nodes.remove(0));
        assert_eq!(health(&left).await.health, Health::Ok);
        gone.stop().await.unwrap();
        says(&left, Health::Offline, &["network.cut-off"]).await;
        assert_eq!(left.status().await.unwrap().health.health, Health::Offline);
        let _again = node().entry(left.contact()).start().await.unwrap();
        says(&left, Health::Ok, &[]).await;
    }
}

#[tokio::test]
async fn a_node_whose_only_peer_said_good_bye_is_well_alone() {
    let mut nodes = network(2).await;
    bounded(nodes.remove(1).leave()).await.unwrap();
    let left = &nodes[0];
    until(async || (left.status().await.unwrap().view.peers == 0).then_some(())).await;
    assert_eq!(health(left).await.health, Health::Ok);
    bounded(left.ready()).await.unwrap();
}

#[tokio::test]
async fn a_restart_with_no_peer_up_waits_and_is_ready_alone_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let other = node().start().await.unwrap();
    let mut config = potluck::Config::default();
    config.dht.save_interval = std::time::Duration::from_millis(100);
    let builder = || node_in(folder.path()).config(config.clone());
    let first = builder().entry(other.contact()).start().await.unwrap();
    let (peers, key) = (folder.path().join("peers"), other.public_key().to_string());
    until(async || {
        let text = std::fs::read_to_string(&peers).unwrap_or_default();
        text.contains(&key).then_some(())
    })
    .await;
    first.stop().await.unwrap();
    other.stop().await.unwrap();
    let again = builder().start().await.unwrap();
    says(&again, Health::Offline, &["network.waiting"]).await;
    // Nothing happens but that time passes.
    bounded(again.ready()).await.unwrap();
    says(&again, Health::Degraded, &["network.alone"]).await;
}

#[tokio::test]
async fn who_is_put_out_hears_it_from_the_one_that_does_it() {
    let loopback = ([127, 0, 0, 1], 0).into();
    let fresh = || Node::builder().in_memory().listen(loopback);
    let first = bounded(fresh().network("home").start()).await.unwrap();
    let ticket = first.invite(InviteTerms::default()).await.unwrap();
    let second = bounded(fresh().ticket(ticket).start()).await.unwrap();
    bounded(second.ready()).await.unwrap();
    until(async || (first.status().await.unwrap().view.peers == 1).then_some(())).await;
    bounded(first.revoke(&second.public_key().to_string())).await.unwrap();
    says(&second, Health::Offline, &["member.revoked"]).await;
    assert_eq!(health(&first).await.health, Health::Ok, "it is alone by its own will");
}

#[tokio::test]
async fn a_store_without_room_is_told_and_the_node_is_ready_all_the_same() {
    let node = node().store_disk_bytes(100_000).start().await.unwrap();
    let mut written = 0;
    while node.kv().put(format!("k{written}"), vec![7; 10_000]).await.is_ok() {
        written += 1;
        assert!(written < 100, "it has no limit");
    }
    says(&node, Health::Degraded, &["store.full"]).await;
    bounded(node.ready()).await.unwrap();
    for key in 0..written {
        node.kv().delete(format!("k{key}")).await.unwrap();
    }
    says(&node, Health::Ok, &[]).await;
}

#[tokio::test]
async fn an_entry_point_that_does_not_answer_is_told_with_what_came_back() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let node = node().entry(at).entry("no-such-name.invalid:7").start().await.unwrap();
    says(&node, Health::Offline, &["network.entry"]).await;
    let said: Vec<String> =
        node.silent_entry_points().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2);
    assert!(said[0].starts_with(&format!("{at} listens and does not answer")), "{}", said[0]);
    assert!(said[1].starts_with("no-such-name.invalid:7 does not resolve"), "{}", said[1]);
}

#[tokio::test]
async fn a_member_whose_way_in_is_gone_is_ready_alone_in_time_too() {
    let folder = tempfile::tempdir().unwrap();
    let loopback = ([127, 0, 0, 1], 0).into();
    let first = bounded(Node::builder().in_memory().listen(loopback).network("home").start());
    let first = first.await.unwrap();
    let ticket = first.invite(InviteTerms::default()).await.unwrap();
    let member = || Node::builder().data_dir(folder.path()).listen(loopback).sync(false);
    let second = bounded(member().ticket(ticket).start()).await.unwrap();
    bounded(second.ready()).await.unwrap();
    first.stop().await.unwrap();
    second.stop().await.unwrap();
    let again = bounded(member().start()).await.unwrap();
    says(&again, Health::Offline, &["network.waiting"]).await;
    bounded(again.ready()).await.unwrap();
    says(&again, Health::Degraded, &["network.alone"]).await;
}
