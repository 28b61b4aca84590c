//! The world itself: what it promises to scenarios.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{BlobId, Rng};
use potluck_dht::EntryPoint;
use potluck_gossip::FoundFile;
use potluck_node::{Command, Reply, WriteContext};
use potluck_sim::hostile::{Deed, Heard, Me, Replica};
use potluck_sim::workload::{Workload, WriteEnd, key, reading};
use potluck_sim::{Blocks, LinkFault, NodeIndex, Traffic, World, WorldConfig};
use potluck_wire::{Request, Response};

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

#[test]
fn a_starved_process_answers_late_and_reports_no_pause() {
    let (mut world, nodes) = network(6);
    world.starve(nodes[4], Duration::from_millis(900), SECOND, 10 * SECOND);
    let id = world.command(nodes[4], Command::Status);
    world.run_for(Duration::from_millis(800));
    assert!(world.outcome(id).is_none(), "a starved process answers nothing");
    world.run_for(Duration::from_millis(150));
    assert!(world.outcome(id).is_some(), "and then in a burst");
    world.run_for(12 * SECOND);
    assert_eq!(contacts(&mut world, nodes[4]), 5);
    let quick = world.command(nodes[4], Command::Status);
    world.run_for(Duration::from_millis(1));
    assert!(world.outcome(quick).is_some(), "and no longer than it was to be");
    assert!(!world.trace().log().any(|line| line.contains("pauses")));
}

#[test]
fn a_node_that_moves_is_reached_at_its_new_address_only() {
    let (mut world, nodes) = network(6);
    let old = world.node(nodes[2]).peer().contact.address;
    let before = world.traffic(nodes[2]);
    let new = world.change_address(nodes[2]);
    assert_ne!(old, new);
    world.run_for(120 * SECOND);
    assert!(world.traffic(nodes[2]).since(&before).datagrams_in > 10);
    assert_eq!(world.node(nodes[2]).peer().contact.address, new);
    assert_eq!(world.find(&world.node(nodes[2]).peer().id), Some(nodes[2]));
    let lost = world.stranger_stats(old).received;
    world.ask(nodes[0], Command::Join(EntryPoint::Address(old)), SECOND);
    world.run_for(SECOND);
    assert!(world.stranger_stats(old).received > lost, "nobody is at the old address");
    assert_eq!(contacts(&mut world, nodes[2]), 5);
}

#[test]
fn traffic_is_counted_with_headers_and_adds_up() {
    let (mut world, nodes) = network(6);
    world.run_for(30 * SECOND);
    let all: Vec<_> = nodes.iter().map(|node| world.traffic(*node)).collect();
    let sent: u64 = all.iter().map(|traffic| traffic.datagrams_out).sum();
    let bytes: u64 = all.iter().map(|traffic| traffic.bytes_out).sum();
    let stats = world.stats();
    assert_eq!((sent, bytes), (stats.network.sent, stats.network.sent_bytes + 28 * sent));
    let came: u64 = all.iter().map(|traffic| traffic.datagrams_in).sum();
    assert_eq!(came, stats.delivered);
    assert_eq!(all[0].since(&all[0]), Traffic::default());
}

#[test]
fn a_hostile_member_is_answered_like_any_other_and_keeps_what_it_hears() {
    let (mut world, nodes) = network(6);
    let hostile = world.hostile();
    assert!(world.hostile_ask(hostile, nodes[0], &Request::Ping));
    world.run_for(SECOND);
    let stats = world.hostile_stats(hostile);
    assert_eq!((stats.asked, stats.answered, stats.failed), (1, 1, 0));
    let answers: Vec<_> = world.hostile_answers(hostile).collect();
    assert_eq!(answers[0].1, (world.node(nodes[0]).peer().contact, Response::Pong));
    // With its address proved by the cookie of that answer, it is checked like any other contact.
    world.hostile_ask(hostile, nodes[0], &Request::Ping);
    world.run_for(60 * SECOND);
    assert!(world.hostile_came(hostile).count() > 0);
    let (before, here) = (world.traffic(nodes[1]), world.hostile_contact(hostile));
    for _ in 0..1000 {
        world.hostile_ask(hostile, nodes[1], &Request::Ping);
    }
    world.hostile_call(hostile, nodes[1], &Request::Ping);
    world.run_for(10 * SECOND);
    assert!(world.traffic(nodes[1]).since(&before).datagrams_in >= 1000);
    assert_eq!(world.hostile_identity(hostile).public_key(), here.public_key);
    assert!(world.violations().is_empty(), "{:?}", world.violations());
}

#[test]
fn a_hostile_member_is_called_and_calls_and_each_gets_the_answer() {
    let mut world = World::new(WorldConfig::new(2).replication(3).invite());
    let nodes = world.form(6, SECOND, 30 * SECOND).expect("all nodes join");
    world.run_for(10 * SECOND);
    // It holds large records: they can only be loaded and stored by calls.
    let hostile = world.hostile();
    world.hostile_manners(hostile, Replica::new());
    world.hostile_joins(&[hostile]);
    let mut workload = Workload::new(Rng::from_number(1), 20_000);
    workload.fill(&mut world, 0..12, 4);
    assert_eq!(workload.history.acknowledged().count(), 12);
    let stats = world.hostile_stats(hostile);
    assert!(stats.traffic.call_bytes_in > 20_000, "no record was stored there: {stats:?}");
    let stored = world.hostile_came(hostile).find_map(|(_, (_, request))| match request {
        Request::Store { envelopes, .. } => Some(envelopes.clone()),
        _ => None,
    });
    // What it was given it gives to others, and is told what became of it.
    let before = world.hostile_answers(hostile).count();
    world.hostile_store(hostile, nodes[0], stored.expect("a store"));
    world.run_for(SECOND);
    let answers: Vec<_> = world.hostile_answers(hostile).skip(before).collect();
    assert_eq!(answers.len(), 1);
    assert!(matches!(answers[0].1.1, Response::Stored { .. }), "{answers:?}");
    assert!(world.violations().is_empty(), "{:?}", world.violations());
}

#[test]
fn a_closure_is_a_manner_and_silence_a_time_out() {
    let (mut world, nodes) = network(6);
    let hostile = world.hostile();
    let mut left = 5;
    world.hostile_manners(hostile, move |_: &Me<'_>, heard: &Heard<'_>| match heard.request {
        Request::Ping if left > 0 => {
            left -= 1;
            Deed::Late(Duration::from_millis(20), Response::Pong)
        }
        _ => Deed::Silence,
    });
    world.hostile_joins(&[hostile]);
    world.run_for(60 * SECOND);
    let heard = world.hostile_stats(hostile).came;
    assert!(heard > 5, "it was asked {heard} times");
    let place = world.hostile_peer(hostile).id;
    world.run_for(180 * SECOND);
    for node in nodes {
        let machine = world.node(node).machine().expect("it runs");
        let nearest = machine.dht().closest(&place.into(), 1);
        assert!(nearest.first().is_none_or(|peer| peer.id != place), "it is silent and kept");
    }
}

#[test]
fn an_identity_can_be_found_for_a_place() {
    let (mut world, nodes) = network(12);
    let peers = world.peers(&nodes);
    let identity = world.grind(&key(7), &peers).expect("a few tries are enough");
    let hostile = world.hostile_as(identity, None);
    let nearest = peers.iter().map(|peer| peer.distance(&key(7))).min();
    assert!(Some(world.hostile_peer(hostile).distance(&key(7))) < nearest);
}

#[test]
fn an_unheard_node_is_dropped_and_comes_back() {
    let (mut world, nodes) = network(6);
    world.link_fault(nodes[5], Some(LinkFault::Mute));
    world.run_for(120 * SECOND);
    assert_eq!(contacts(&mut world, nodes[0]), 4);
    world.link_fault(nodes[5], None);
    world.run_for(60 * SECOND);
    assert_eq!(contacts(&mut world, nodes[0]), 5);
}

#[test]
fn a_shared_name_is_found_from_another_node() {
    let (mut world, nodes) = network(12);
    let name = "Holiday in Rome.jpg".to_owned();
    let file = FoundFile { name, root: BlobId::of(b"rome"), bytes: 5, folder: false, holder: None };
    world.share_names(nodes[7], vec![file.clone()]);
    world.run_for(60 * SECOND);
    let holder = Some(world.node(nodes[7]).peer().contact.public_key);
    let search = |world: &mut World, from| {
        let words = vec!["holi".to_owned(), "ROME".to_owned()];
        match world.ask(from, Command::Search { words }, 10 * SECOND) {
            Some(Reply::Found { files, .. }) => files,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(search(&mut world, nodes[2]), [FoundFile { holder, ..file.clone() }]);
    // Also after a restart of the holder, which shares it again.
    world.crash(nodes[7]);
    world.restart(nodes[7]);
    world.run_for(120 * SECOND);
    assert_eq!(search(&mut world, nodes[3]), [FoundFile { holder, ..file }]);
}
