//! The network splits, and both halves keep writing the same keys. After it heals, all replicas converge and
//! keep the values of both sides.

use std::time::Duration;

use potluck_base::Key;
use potluck_node::WriteContext;

use crate::batch::pick;
use crate::check::Check;
use crate::check::convergence::{readers_agree, replicas_agree};
use crate::network::Blocks;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, key, reading};
use crate::world::World;

pub(super) const PARTITION: Scenario = Scenario {
    name: "partition",
    about: "both halves of a split network write the same keys; after healing all agree on both",
    nodes: 60,
    nodes_min: 10,
    minutes: 2,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 8;
/// Nodes through which every record is read at the end.
const READERS: usize = 3;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(REPLICAS));
    let mut nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 64).recorded();
    let records = run.nodes;
    workload.fill(&mut world, 0..records, 50);
    run.rng.shuffle(&mut nodes);
    let (left, right) = nodes.split_at(run.nodes / 2);

    let split = world.partition(left, right, Blocks::BothWays);
    let fault = disturbed(&mut workload, &world, left);
    world.run_for(run.length());
    let began = workload.history.writes().len();
    for number in 0..records {
        for side in [left, right] {
            let node = pick(&mut run.rng, side);
            workload.put(&mut world, node, number, WriteContext::Read);
        }
        world.run_for(Duration::from_millis(50));
        workload.collect(&mut world);
    }
    workload.finish(&mut world, STABILISATION);
    let during = &workload.history.writes()[began..];
    let written = during.iter().filter(|write| write.version().is_some()).count();
    run.figure("writes acknowledged while split", Value::share(written, during.len()));
    let failed: Vec<String> = during
        .iter()
        .filter(|write| write.version().is_none())
        .map(|write| format!("{}: {:?}", write.node, write.end))
        .collect();
    run.check(Check::none_of("both halves go on writing", during.len(), &failed));

    world.heal(split);
    mended(&mut workload, &world, fault);
    world.run_for(3 * STABILISATION);
    let keys: Vec<Key> = workload.history.keys().collect();
    run.check(replicas_agree(&mut world, &keys, REPLICAS.into()));
    let agree = readers_agree(&mut world, &mut run.rng, &keys, 3);
    run.check(agree);
    both_sides_kept(run, &mut world, &mut workload, &keys);
    merge_all(run, &mut world, &mut workload, &nodes);
    one_way(run, &mut world, &mut workload, &nodes);
    run.check(workload.judge(&mut world, &nodes[..READERS], REPLICAS));
    world
}

/// Records in the history that these nodes are cut off from the others.
fn disturbed(workload: &mut Workload, world: &World, nodes: &[NodeIndex]) -> Option<usize> {
    workload.tape.as_mut().map(|tape| tape.fault("split", nodes, world.now()))
}

fn mended(workload: &mut Workload, world: &World, fault: Option<usize>) {
    if let (Some(tape), Some(fault)) = (&mut workload.tape, fault) {
        tape.mended(fault, world.now());
    }
}

/// The values of both halves are there as siblings.
fn both_sides_kept(run: &mut Run, world: &mut World, workload: &mut Workload, keys: &[Key]) {
    let outcomes = workload.read(world, keys, 50);
    let (mut siblings, mut broken) = (0, Vec::new());
    for (key, outcome) in keys.iter().zip(&outcomes) {
        let Some(reading) = reading(outcome.as_ref()) else {
            broken.push(format!("{key:?} cannot be read"));
            continue;
        };
        siblings += usize::from(reading.values.len() == 2);
        for write in workload.history.of(key) {
            if !workload.history.is_kept(write, reading) {
                broken.push(format!("{key:?}: the value of {} is gone", write.node));
            }
        }
    }
    run.figure("keys with both sides' values", Value::share(siblings, keys.len()));
    run.check(Check::none_of("both sides' values are kept", keys.len(), &broken));
    run.check(Check::share("conflicts are detected", siblings, keys.len(), 1.0));
}

/// A client merges each conflict by writing with the context it read; one value is left.
fn merge_all(run: &mut Run, world: &mut World, workload: &mut Workload, nodes: &[NodeIndex]) {
    let keys: Vec<Key> = (0..run.nodes).map(key).collect();
    let outcomes = workload.read(world, &keys, 50);
    for (number, outcome) in outcomes.iter().enumerate() {
        if let Some(reading) = reading(outcome.as_ref()) {
            let context = WriteContext::Given(reading.context.clone());
            workload.put(world, pick(&mut run.rng, nodes), number, context);
        }
    }
    workload.finish(world, STABILISATION);
    world.run_for(Duration::from_secs(5));
    let outcomes = workload.read(world, &keys, 50);
    let unmerged: Vec<String> = keys
        .iter()
        .zip(&outcomes)
        .filter_map(|(key, outcome)| {
            let values = reading(outcome.as_ref()).map(|reading| reading.values.len());
            (values != Some(1)).then(|| format!("{key:?} has {values:?} values"))
        })
        .collect();
    run.check(Check::none_of("a merge leaves one value", keys.len(), &unmerged));
}

/// One half can send to the other but receives nothing from it. After it heals, no effect remains.
fn one_way(run: &mut Run, world: &mut World, workload: &mut Workload, nodes: &[NodeIndex]) {
    let (left, right) = nodes.split_at(run.nodes / 3);
    let split = world.partition(left, right, Blocks::FirstToSecond);
    let fault = disturbed(workload, world, left);
    world.run_for(STABILISATION);
    let from = run.nodes;
    for number in from..from + run.nodes {
        workload.put(world, pick(&mut run.rng, nodes), number, WriteContext::Blind);
    }
    workload.finish(world, STABILISATION);
    world.heal(split);
    mended(workload, world, fault);
    world.run_for(3 * STABILISATION);
    let written: Vec<Key> = (from..from + run.nodes).map(key).collect();
    let mut keys = workload.history.promised();
    keys.retain(|key| written.contains(key));
    run.figure("writes acknowledged in a one-way split", Value::share(keys.len(), run.nodes));
    let check = replicas_agree(world, &keys, REPLICAS.into());
    run.check(Check { name: "all replicas agree after a one-way split", ..check });
}
