//! Records with a short default life, in a network with churn: they live as long as the nodes that wrote them
//! run, end when those nodes are gone, and deleted records stay deleted.

use std::time::Duration;

use potluck_base::Key;
use potluck_node::WriteContext;

use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, key, reading};
use crate::world::World;

pub(super) const LIVES: Scenario = Scenario {
    name: "lives",
    about: "records of 30 s outlive many lives while their writers run, and end without them",
    nodes: 24,
    nodes_min: 12,
    minutes: 4,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 5;
/// The default life.
const LIFE: Duration = Duration::from_secs(30);
/// Lives for which records last at least, under churn.
const LIVES_MIN: u32 = 5;
/// Records of each sort that a node writes.
const EACH: usize = 4;
/// Time between two kills of nodes. A killed node starts again after the same time.
const CHURN: Duration = Duration::from_secs(8);
/// Reads in flight at once.
const READS: usize = 20;

/// The keys of a run, by their fate.
struct Keys {
    /// Their writers run to the end.
    stay: Vec<Key>,
    /// Their writers are killed for good.
    end: Vec<Key>,
    /// Another node deletes them.
    deleted: Vec<Key>,
}

fn play(run: &mut Run) -> World {
    let mut config = run.config().replication(REPLICAS);
    config.node.kv.life_default = LIFE;
    config.node.kv.expire_interval = Duration::from_secs(5);
    let mut world = World::new(config);
    let nodes = run.form(&mut world);
    world.run_for(STABILISATION);
    let (stay, rest) = nodes.split_at(nodes.len() / 3);
    let (go, churn) = rest.split_at(rest.len() / 2);
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    let keys = write(&mut world, &mut workload, stay, go);
    let lives = LIVES_MIN.max((run.length().as_secs() / LIFE.as_secs()) as u32);
    let (begun, end) = (world.now(), world.now() + LIFE * lives);
    for node in churn.iter().cycle() {
        if world.now() >= end {
            break;
        }
        world.crash(*node);
        world.run_for(CHURN);
        world.restart(*node);
    }
    // The last killed node joins again before anything is read.
    world.run_for(STABILISATION);
    run.figure(
        "lives under churn",
        Value::count((world.now().since(begun).as_secs() / LIFE.as_secs()) as usize),
    );
    judge(run, &mut world, &mut workload, &keys.stay, true, "all run: records live on");
    judge(run, &mut world, &mut workload, &keys.end, true, "all run: those of others too");
    judge(run, &mut world, &mut workload, &keys.deleted, false, "all run: deletes hold");
    go.iter().for_each(|node| world.crash(*node));
    world.run_for(LIFE * 2 + STABILISATION);
    judge(
        run,
        &mut world,
        &mut workload,
        &keys.stay,
        true,
        "writers gone: the other records live on",
    );
    judge(run, &mut world, &mut workload, &keys.end, false, "writers gone: their records end");
    judge(run, &mut world, &mut workload, &keys.deleted, false, "writers gone: deletes hold");
    let renewed: u64 = stay
        .iter()
        .filter_map(|node| world.node(*node).machine())
        .map(|node| node.stats().kv.rewrites_done)
        .sum();
    run.figure("renewals of the nodes that stay", Value::count(renewed as usize));
    world
}

/// Writes the records of each sort, and deletes those that are to be deleted.
fn write(world: &mut World, workload: &mut Workload, stay: &[NodeIndex], go: &[NodeIndex]) -> Keys {
    let mut number = 0;
    let mut keys = Keys { stay: Vec::new(), end: Vec::new(), deleted: Vec::new() };
    let mut deletes = Vec::new();
    for (index, node) in stay.iter().enumerate() {
        for _ in 0..EACH {
            workload.put(world, *node, number, WriteContext::Read);
            keys.stay.push(key(number));
            workload.put(world, *node, number + 1, WriteContext::Read);
            keys.deleted.push(key(number + 1));
            deletes.push((stay[(index + 1) % stay.len()], number + 1));
            number += 2;
        }
    }
    for node in go {
        for _ in 0..EACH {
            workload.put(world, *node, number, WriteContext::Read);
            keys.end.push(key(number));
            number += 1;
        }
    }
    workload.finish(world, Duration::from_secs(12));
    for (node, number) in deletes {
        workload.delete(world, node, number);
    }
    workload.finish(world, Duration::from_secs(12));
    keys
}

/// Reads the keys: all of them must have one value, or none.
fn judge(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    keys: &[Key],
    there: bool,
    name: &'static str,
) {
    let outcomes = workload.read(world, keys, READS);
    let wrong: Vec<String> = keys
        .iter()
        .zip(&outcomes)
        .filter_map(|(key, outcome)| {
            let values = reading(outcome.as_ref()).map(|reading| reading.values.len());
            (values != Some(usize::from(there))).then(|| format!("{key}: {values:?} values"))
        })
        .collect();
    run.check(Check::none_of(name, keys.len(), &wrong));
}
