//! The world itself: what it promises to whoever tells stories in it.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::Rng;
use potluck_node::{Command, Reply, WriteContext};
use potluck_sim::workload::{Workload, WriteEnd, key, reading};
use potluck_sim::{Blocks, NodeIndex, World, WorldConfig};

const SECOND: Duration = Duration::from_secs(1);

fn network(count: usize) -> (World, Vec<NodeIndex>) {
    let mut config = WorldConfig::new(1).replication(3);
    config.network.loss = 0.0;
    let mut world = World::new(config);
    let nodes = world.form(count, SECOND, 30 * SECOND).expect("all nodes join");
    world.run_for(10 * SECOND);
    (world, nodes)
}

fn contacts(world: &mut World, node: NodeIndex) -> usize {
    match world.ask(node, Command::Status, SECOND) {
        Some(Reply::Status(status)) => status.peers,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_dead_node_answers_nothing_and_forgets_its_commands() {
    let (mut world, nodes) = network(6);
    let under_way = world.command(nodes[3], Command::Get { key: key(1), quorum: None });
    world.crash(nodes[3]);
    assert_eq!(world.outcome(under_way).map(|outcome| outcome.reply), Some(None));
    let later = world.command(nodes[3], Command::Status);
    assert_eq!(world.outcome(later).map(|outcome| outcome.reply), Some(None));
    assert_eq!(world.live().len(), 5);
    world.run_for(60 * SECOND);
    assert_eq!(contacts(&mut world, nodes[0]), 4);
}

#[test]
fn a_restarted_node_finds_back_and_has_what_its_disk_kept() {
    let (mut world, nodes) = network(6);
    let mut workload = Workload::new(Rng::from_number(1), 32);
    workload.fill(&mut world, 0..20, 5);
    assert_eq!(workload.history.acknowledged().count(), 20);
    let before = world.disk(nodes[2]).keys();
    assert!(!before.is_empty());
    world.crash(nodes[2]);
    assert_eq!(world.disk(nodes[2]).keys(), before);
    world.run_for(SECOND);
    world.restart(nodes[2]);
    assert!(world.run_until(30 * SECOND, |world| world.have_joined(&nodes)));
    assert_eq!(world.age(nodes[2]).map(|age| age < 30 * SECOND), Some(true));
}

#[test]
fn a_paused_node_goes_on_where_it_stood() {
    let (mut world, nodes) = network(6);
    world.pause(nodes[4], 3 * SECOND);
    let id = world.command(nodes[4], Command::Status);
    world.run_for(2 * SECOND);
    assert!(world.outcome(id).is_none(), "a paused process answers nothing");
    world.run_for(2 * SECOND);
    assert!(matches!(world.outcome(id).and_then(|o| o.reply), Some(Reply::Status(_))));
    assert_eq!(contacts(&mut world, nodes[4]), 5);
}

#[test]
fn an_isolated_node_comes_back_when_the_partition_heals() {
    let (mut world, nodes) = network(6);
    let cut = world.isolate(nodes[5]);
    world.run_for(120 * SECOND);
    assert_eq!(contacts(&mut world, nodes[0]), 4);
    world.heal(cut);
    world.run_for(60 * SECOND);
    assert_eq!(contacts(&mut world, nodes[0]), 5);
    assert_eq!(contacts(&mut world, nodes[5]), 5);
}

#[test]
fn a_write_by_a_node_that_cannot_be_heard_is_not_acknowledged() {
    let (mut world, nodes) = network(8);
    let others: Vec<NodeIndex> = nodes[1..].to_vec();
    world.partition(&nodes[..1], &others, Blocks::FirstToSecond);
    let mut workload = Workload::new(Rng::from_number(1), 32);
    workload.put(&mut world, nodes[0], 1, WriteContext::Blind);
    assert!(workload.finish(&mut world, 30 * SECOND), "every command is answered");
    assert!(matches!(workload.history.writes()[0].end, WriteEnd::Failed(_)));
}

#[test]
fn values_too_large_for_datagrams_travel_by_calls() {
    let (mut world, nodes) = network(8);
    let mut workload = Workload::new(Rng::from_number(1), 60_000);
    workload.put(&mut world, nodes[1], 1, WriteContext::Read);
    workload.finish(&mut world, 30 * SECOND);
    assert!(world.stats().calls.made > 0);
    let outcomes = workload.read(&mut world, &[key(1)], 1);
    let seen = reading(outcomes[0].as_ref()).expect("it can be read");
    assert_eq!(seen.values.len(), 1);
    assert_eq!(Some(&seen.values[0].bytes), workload.history.writes()[0].value.as_ref());
}

#[test]
fn strangers_are_counted_and_garbage_is_dropped() {
    let (mut world, nodes) = network(4);
    let at = world.stranger(7);
    for _ in 0..100 {
        world.inject(at, nodes[0], Bytes::from_static(&[0x55; 100]));
    }
    world.run_for(SECOND);
    let stats = world.stranger_stats(at);
    assert_eq!((stats.sent, stats.sent_bytes, stats.received), (100, 10_000, 0));
}

#[test]
fn the_log_tells_what_happened_and_when() {
    let (mut world, nodes) = network(4);
    world.crash(nodes[1]);
    world.restart(nodes[1]);
    let log: Vec<String> = world.trace().log().collect();
    assert!(log.iter().any(|line| line.ends_with("node 1 crashes")), "{log:?}");
    assert!(log.last().is_some_and(|line| line.ends_with("node 1 restarts")), "{log:?}");
}
