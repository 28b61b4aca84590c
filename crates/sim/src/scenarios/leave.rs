//! Half of the nodes leave, one after the other. No record is lost, even with few replicas.

use std::time::Duration;

use potluck_base::Key;
use potluck_node::Reply;

use crate::check::Check;
use crate::check::durability::Durability;
use crate::check::replication::Census;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::Workload;
use crate::world::World;

pub(super) const LEAVE: Scenario = Scenario {
    name: "leave",
    about: "half of the nodes leave in order; they hand over and nothing is lost",
    nodes: 60,
    nodes_min: 10,
    minutes: 2,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 3;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(REPLICAS));
    let mut nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 100);
    workload.fill(&mut world, 0..5 * run.nodes, 50);
    world.run_for(STABILISATION / 2);

    run.rng.shuffle(&mut nodes);
    let leavers: Vec<_> = nodes[..run.nodes / 2].to_vec();
    let pause = run.length() / leavers.len().max(1) as u32;
    let (mut took, mut handed, mut stuck) = (Vec::new(), 0, Vec::new());
    for leaver in &leavers {
        let id = world.leave(*leaver);
        world.run_for(pause.max(Duration::from_secs(1)));
        world.run_until(Duration::from_secs(20), |world| !world.node(*leaver).is_up());
        match world.outcome(id).and_then(|outcome| outcome.reply) {
            Some(Reply::Left { handed_over, took: time }) => {
                handed += handed_over;
                took.push(time);
            }
            other => stuck.push(format!("{leaver}: {other:?}")),
        }
    }
    run.check(Check::none_of("every leaver is let go", leavers.len(), &stuck));
    run.figure("leaving took", Value::times(took));
    run.figure("keys handed over", Value::Count(handed));

    let lost = Durability::of_disks(&mut world, &workload.history);
    let kept = lost.acknowledged - lost.lost.len() - lost.lost_unprotected;
    let rule = "nothing is lost when nodes leave in order";
    run.check(Check::share(rule, kept, lost.acknowledged, 1.0));
    world.run_for(3 * STABILISATION);
    let keys: Vec<Key> = workload.history.keys().collect();
    let replication = Census::take(&mut world).replication(&keys, REPLICAS.into());
    run.check(replication.check());
    world
}
