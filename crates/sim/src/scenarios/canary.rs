//! A power failure of all nodes. With honest disks every acknowledged write is there after it. With disks
//! that report false syncs some are lost, and the check must find that.

use std::time::Duration;

use potluck_node::WriteContext;

use crate::batch::pick;
use crate::check::Check;
use crate::check::durability::Durability;
use crate::disk::DiskFault;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::Workload;
use crate::world::World;

pub(super) const POWER_CUT: Scenario = Scenario {
    name: "power-cut",
    about: "all nodes lose power at once in the middle of writing and come back with their disks",
    nodes: 30,
    nodes_min: 5,
    minutes: 1,
    must_fail: false,
    play: |run| play(run, None),
};

pub(super) const CANARY: Scenario = Scenario {
    name: "canary",
    about: "the same with disks that lie about syncing: the durability check must fail",
    nodes: 30,
    nodes_min: 5,
    minutes: 1,
    must_fail: true,
    play: |run| play(run, Some(DiskFault::LyingSync)),
};

fn play(run: &mut Run, fault: Option<DiskFault>) -> World {
    let mut world = World::new(run.config().replication(5));
    let nodes = run.form(&mut world);
    nodes.iter().for_each(|node| world.disk_fault(*node, fault));
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    let end = world.now() + run.length();
    while world.now() < end {
        let number = workload.history.writes().len();
        let node = pick(&mut run.rng, &nodes);
        workload.put(&mut world, node, number, WriteContext::Read);
        world.run_for(Duration::from_micros(41_017));
        workload.collect(&mut world);
    }
    nodes.iter().for_each(|node| world.crash(*node));
    workload.collect(&mut world);
    world.run_for(Duration::from_secs(5));
    nodes.iter().for_each(|node| world.restart(*node));
    let back = world.run_until(STABILISATION, |world| world.have_joined(&nodes));
    run.check(Check::new("all nodes find each other again", back, "within a minute"));
    world.run_for(Duration::from_secs(10));
    let durability = Durability::of_disks(&mut world, &workload.history);
    run.figure("acknowledged writes", Value::count(durability.acknowledged));
    run.check(durability.check(DURABLE));
    world
}

/// The rule that the canary must break.
pub(super) const DURABLE: &str = "acknowledged writes survive a power cut";
