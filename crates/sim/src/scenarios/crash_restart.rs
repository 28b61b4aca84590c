//! Nodes are killed at random moments during writes, and restart with their disks.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_node::WriteContext;

use crate::batch::pick;
use crate::check::durability::Durability;
use crate::check::replication::Census;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::torment::{Torment, Tormentor};
use crate::workload::{Workload, reading};
use crate::world::World;

pub(super) const CRASH_RESTART: Scenario = Scenario {
    name: "crash-restart",
    about: "nodes are killed at random moments of heavy writing and restarted; promises hold",
    nodes: 30,
    nodes_min: 10,
    minutes: 3,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 5;
/// Interval of the random faults. An odd value, so that crashes hit commits in all their stages.
const STRIKE: Duration = Duration::from_micros(37_013);

fn play(run: &mut Run) -> World {
    let mut config = run.config().replication(REPLICAS);
    config.disk.commit = Duration::from_millis(20);
    let mut world = World::new(config);
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    let mut torment = Torment::crashes(1.0 / 60.0, Duration::from_secs(40), run.nodes / 3);
    torment.pause = 1.0 / 120.0;
    torment.pause_time = Duration::from_secs(10);
    let mut tormentor = Tormentor::new(torment, run.rng.fork("torment"));
    let end = world.now() + run.length();
    let records = 20 * run.nodes as u64;
    while world.now() < end {
        let writer = pick(&mut run.rng, &world.live());
        let number = run.rng.below(records) as usize;
        let context = match run.rng.chance(0.3) {
            true => WriteContext::Blind,
            false => WriteContext::Read,
        };
        workload.put(&mut world, writer, number, context);
        tormentor.strike(&mut world, &nodes, STRIKE);
        world.run_for(STRIKE);
        workload.collect(&mut world);
    }
    tormentor.mend(&mut world);
    workload.finish(&mut world, Duration::from_secs(30));
    run.figure("crashes", Value::Count(tormentor.crashes));
    run.figure("writes asked for", Value::count(workload.history.writes().len()));
    run.figure("write time", Value::times(workload.put_times()));
    judge(run, &mut world, &mut workload);
    world
}

fn judge(run: &mut Run, world: &mut World, workload: &mut Workload) {
    let early = Durability::of_disks(world, &workload.history);
    run.figure("acknowledged writes", Value::count(early.acknowledged));
    run.check(early.check("acknowledged writes are on a living disk"));
    world.run_for(3 * STABILISATION);
    let late = Durability::of_disks(world, &workload.history);
    run.check(late.check("they still are after three intervals"));
    let keys = workload.history.promised();
    let replication = Census::take(world).replication(&keys, REPLICAS.into());
    run.check(replication.check());
    let outcomes = workload.read(world, &keys, 50);
    let readings: BTreeMap<_, _> = keys
        .iter()
        .zip(&outcomes)
        .map(|(key, outcome)| (*key, reading(outcome.as_ref()).cloned()))
        .collect();
    let seen = Durability::of_readings(world, &workload.history, &readings);
    run.check(seen.check("acknowledged writes can be read"));
}
