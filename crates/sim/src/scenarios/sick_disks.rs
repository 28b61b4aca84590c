//! Some disks are full and some have stopped. The other nodes take over, and no node acknowledges a write
//! that it does not have.

use std::time::Duration;

use potluck_node::WriteContext;

use crate::batch::pick;
use crate::check::Check;
use crate::check::durability::Durability;
use crate::disk::DiskFault;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::{Workload, reading};
use crate::world::World;

pub(super) const SICK_DISKS: Scenario = Scenario {
    name: "sick-disks",
    about: "a sixth of the disks is full and a sixth has stopped; the rest keeps the service up",
    nodes: 30,
    nodes_min: 12,
    minutes: 1,
    must_fail: false,
    play,
};

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(5));
    let mut nodes = run.form(&mut world);
    run.rng.shuffle(&mut nodes);
    let sixth = run.nodes / 6;
    let (sick, healthy) = nodes.split_at(2 * sixth);
    for (index, node) in sick.iter().enumerate() {
        let fault = if index < sixth { DiskFault::Full } else { DiskFault::Stopped };
        world.disk_fault(*node, Some(fault));
    }
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    let end = world.now() + run.length();
    while world.now() < end {
        let number = workload.history.writes().len();
        let node = pick(&mut run.rng, healthy);
        workload.put(&mut world, node, number, WriteContext::Read);
        world.run_for(Duration::from_millis(100));
        workload.collect(&mut world);
    }
    workload.finish(&mut world, Duration::from_secs(30));
    let asked = workload.history.writes().len();
    let written = workload.history.acknowledged().count();
    run.figure("writes acknowledged", Value::share(written, asked));
    run.check(Check::share("writes succeed beside sick disks", written, asked, 0.99));
    let liars: Vec<String> = workload
        .history
        .acknowledged()
        .filter_map(|write| write.holders().iter().find(|node| sick.contains(node)))
        .map(ToString::to_string)
        .collect();
    run.check(Check::none_of("sick disks acknowledge nothing", written, &liars));

    let keys: Vec<_> = workload.history.acknowledged().map(|write| write.key).collect();
    let outcomes = workload.read(&mut world, &keys, 50);
    let unread: Vec<String> = workload
        .history
        .acknowledged()
        .zip(&outcomes)
        .filter(|(write, outcome)| {
            !reading(outcome.as_ref()).is_some_and(|read| workload.history.is_kept(write, read))
        })
        .map(|(write, outcome)| format!("{:?}: {outcome:?}", write.key))
        .collect();
    run.check(Check::none_of("records are read beside sick disks", keys.len(), &unread));

    for node in sick {
        world.crash(*node);
        world.disk_fault(*node, None);
        world.restart(*node);
    }
    world.run_for(3 * STABILISATION);
    let durability = Durability::of_disks(&mut world, &workload.history);
    run.check(durability.check("nothing is lost when the disks are well again"));
    world
}
