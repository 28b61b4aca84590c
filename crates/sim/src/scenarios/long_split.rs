//! A network is split into two halves for two days. After the split, members, topics and records are whole
//! again.

use std::time::Duration;

use potluck_base::Key;
use potluck_gossip::message::TopicName;
use potluck_gossip::{MemberState, Mode};
use potluck_node::WriteContext;

use super::members::state_of;
use super::publications::{Publications, largest_part};
use crate::batch::pick;
use crate::check::Check;
use crate::check::convergence::{readers_agree, replicas_agree};
use crate::network::Blocks;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::Workload;
use crate::world::World;

pub(super) const LONG_SPLIT: Scenario = Scenario {
    name: "long-split",
    about: "halves are apart for 48 h and write the same keys; 2 min after the heal all is one",
    nodes: 24,
    nodes_min: 12,
    minutes: 48 * 60,
    must_fail: false,
    play: |run| play(run, Mode::Fleet),
};

pub(super) const OPEN_SPLIT: Scenario = Scenario {
    name: "open-split",
    about: "the same for an hour in a network where nobody knows all",
    nodes: 60,
    nodes_min: 24,
    minutes: 60,
    must_fail: false,
    play: |run| play(run, Mode::Open),
};

const REPLICAS: u16 = 5;
/// Time within which the halves must merge.
const MERGE: Duration = Duration::from_secs(120);

fn play(run: &mut Run, mode: Mode) -> World {
    let mut world = World::new(run.config_in(mode).replication(REPLICAS));
    let mut nodes = run.form(&mut world);
    let mut publications = Publications::new("long split");
    publications.subscribe(&mut world, &nodes, STABILISATION / 6);
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    workload.fill(&mut world, 0..run.nodes, 50);
    world.run_for(STABILISATION);
    run.rng.shuffle(&mut nodes);
    let (left, right) = nodes.split_at(run.nodes / 2);

    let split = world.partition(left, right, Blocks::BothWays);
    world.run_for(run.length());
    write_on_both_sides(run, &mut world, &mut workload, left, right);
    world.heal(split);
    let healed = world.now();
    let mut took: [Option<Duration>; 3] = [None; 3];
    let system = TopicName::system();
    world.run_until(MERGE, |world| {
        let since = world.now().since(healed);
        // Once a second is enough.
        if since.subsec_nanos() != 0 {
            return false;
        }
        let merged = [
            mode == Mode::Open || know_each_other(world, &nodes),
            largest_part(world, &nodes, &system) == nodes.len(),
            publications.largest_part(world, &nodes) == nodes.len(),
        ];
        for (took, merged) in took.iter_mut().zip(merged) {
            *took = took.filter(|_| merged).or_else(|| merged.then_some(since));
        }
        false
    });
    let names = [
        "after the heal all know each other",
        "after the heal the overlay of all nodes is one",
        "after the heal the overlay of a topic is one",
    ];
    // If no node knows all members, the first list cannot be checked.
    let unknown = usize::from(mode == Mode::Open);
    for (name, took) in names.into_iter().zip(took).skip(unknown) {
        run.figure(name, took.map_or_else(|| Value::count(0), Value::Time));
        let detail = format!("{took:?} of at most {MERGE:?}");
        run.check(Check::new(name, took.is_some(), detail));
    }
    let keys: Vec<Key> = workload.history.keys().collect();
    run.check(replicas_agree(&mut world, &keys, REPLICAS.into()));
    let agree = readers_agree(&mut world, &mut run.rng, &keys, 3);
    run.check(agree);
    everybody_hears(run, &mut world, &mut publications, &nodes);
    world
}

fn know_each_other(world: &World, nodes: &[NodeIndex]) -> bool {
    let alive = |node, of| state_of(world, node, of) == Some(MemberState::Alive);
    nodes.iter().all(|node| nodes.iter().all(|of| of == node || alive(*node, *of)))
}

fn write_on_both_sides(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    left: &[NodeIndex],
    right: &[NodeIndex],
) {
    for number in 0..run.nodes {
        for side in [left, right] {
            workload.put(world, pick(&mut run.rng, side), number, WriteContext::Read);
        }
        world.run_for(Duration::from_millis(50));
        workload.collect(world);
    }
    workload.finish(world, STABILISATION);
}

/// Messages of one node in either half reach all nodes.
fn everybody_hears(
    run: &mut Run,
    world: &mut World,
    publications: &mut Publications,
    nodes: &[NodeIndex],
) {
    for node in [nodes[0], nodes[nodes.len() - 1]] {
        publications.publish(world, node);
    }
    world.run_for(Duration::from_secs(10));
    publications.collect(world);
    let missing = publications.missing(world, 0..publications.len(), nodes);
    run.check(Check::none_of("everybody gets what either half says", nodes.len(), &missing));
    run.check(publications.none_twice(world, nodes));
}
