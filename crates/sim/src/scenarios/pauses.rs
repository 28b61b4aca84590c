//! A node that stops for a moment, as for an upgrade, says so: its neighbours make no copies of its records in
//! the meantime. The places of a node that does not return are filled after the time that a pause may take, and
//! those of one that crashes without notice at once.

use std::time::Duration;

use potluck_base::Key;
use potluck_node::Command;

use crate::check::Check;
use crate::check::bounds::stats;
use crate::check::durability::Durability;
use crate::check::replication::Census;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::Workload;
use crate::world::World;

pub(super) const PAUSES: Scenario = Scenario {
    name: "pauses",
    about: "a node says that it stops for a moment; no record is copied until it is back or overdue",
    nodes: 30,
    nodes_min: 12,
    minutes: 1,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 4;
/// The longest pause for which neighbours wait, as in the code of repair.
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// How long a node is gone that keeps its word.
const GONE: Duration = Duration::from_secs(90);
/// Longest time in which it tells its neighbours, as in the process: then it stops.
const TOLD: Duration = Duration::from_secs(1);
/// Time in which a loss without notice is noticed and repaired.
const REPAIRED: Duration = Duration::from_secs(90);

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(REPLICAS));
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 100);
    workload.fill(&mut world, 0..5 * run.nodes, 50);
    world.run_for(2 * STABILISATION);
    let keys: Vec<Key> = workload.history.keys().collect();
    let victims = most_loaded(&mut world, &nodes, &keys);
    let [crashed, short, late] = victims[..] else { unreachable!("there are three nodes") };

    world.crash(crashed);
    let before = pulled(&mut world);
    world.run_for(REPAIRED);
    let without = pulled(&mut world).saturating_sub(before);
    run.figure("records copied after a crash without notice", Value::Count(without));
    run.check(Check::new(
        "a crash without notice makes copies",
        without > 0,
        format!("{without} records"),
    ));
    world.restart(crashed);
    world.run_for(2 * STABILISATION);

    let copied = pause(&mut world, short, GONE);
    world.restart(short);
    world.run_for(STABILISATION);
    run.figure("records copied during a pause of 90 s", Value::Count(copied));
    run.check(Check::new("a pause makes no copies", copied == 0, format!("{copied} records")));

    let during = pause(&mut world, late, PAUSE_MAX - Duration::from_secs(5));
    world.run_for(REPAIRED);
    let overdue = Census::take(&mut world).replication(&keys, REPLICAS.into());
    run.check(Check::new(
        "the places of a node that is overdue are filled",
        overdue.filled == overdue.places,
        format!("{} of {}", overdue.filled, overdue.places),
    ));
    world.restart(late);
    world.run_for(2 * STABILISATION);
    run.figure("records copied before a pause is over", Value::Count(during));
    run.check(Check::new(
        "a pause that takes too long makes none at first",
        during == 0,
        format!("{during}"),
    ));
    world.run_for(2 * STABILISATION);
    let lost = Durability::of_disks(&mut world, &workload.history);
    run.check(lost.check("nothing is lost"));
    let replication = Census::take(&mut world).replication(&keys, REPLICAS.into());
    run.check(replication.check());
    world
}

/// The three nodes that hold the most of these records.
fn most_loaded(world: &mut World, nodes: &[NodeIndex], keys: &[Key]) -> Vec<NodeIndex> {
    let census = Census::take(world);
    let held =
        |node: &NodeIndex| keys.iter().filter(|key| census.holders(key).contains(node)).count();
    let mut order = nodes.to_vec();
    order.sort_by_key(|node| std::cmp::Reverse(held(node)));
    order.truncate(3);
    order
}

/// Records that the living pulled because they were offered.
fn pulled(world: &mut World) -> u64 {
    let all = stats(world);
    all.iter().map(|(_, stats)| stats.kv.keys_pulled).sum()
}

/// `node` says that it pauses and stops; gives the records copied by the others in `time`.
fn pause(world: &mut World, node: NodeIndex, time: Duration) -> u64 {
    world.ask(node, Command::Pause, TOLD);
    world.crash(node);
    let before = pulled(world);
    world.run_for(time);
    pulled(world).saturating_sub(before)
}
