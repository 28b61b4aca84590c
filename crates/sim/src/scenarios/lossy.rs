//! A bad network: a tenth of the datagrams is lost, others are duplicated, reordered or delayed. Datagrams
//! are sealed.

use std::time::Duration;

use crate::check::Check;
use crate::check::durability::Durability;
use crate::check::routing::Routing;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::{Workload, reading};
use crate::world::World;

pub(super) const LOSSY: Scenario = Scenario {
    name: "lossy",
    about: "10 % of the datagrams lost, 5 % doubled, 20 % overtaken, links that clog; sealed",
    nodes: 50,
    nodes_min: 5,
    minutes: 2,
    must_fail: false,
    play,
};

fn play(run: &mut Run) -> World {
    let mut config = run.config().replication(8).sealed(true);
    config.network.loss = 0.1;
    config.network.duplicate = 0.05;
    config.network.reorder = 0.2;
    config.network.jitter = 0.5;
    config.network.clog = 0.0002;
    config.network.clog_time = Duration::from_secs(3);
    let mut world = World::new(config);
    run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 300);
    workload.fill(&mut world, 0..4 * run.nodes, 20);
    let asked = workload.history.writes().len();
    let written = workload.history.acknowledged().count();
    run.figure("writes acknowledged", Value::share(written, asked));
    run.figure("write time", Value::times(workload.put_times()));
    run.check(Check::share("writes succeed over a bad network", written, asked, 0.99));
    world.run_for(run.length());

    let keys: Vec<_> = workload.history.acknowledged().map(|write| write.key).collect();
    let outcomes = workload.read(&mut world, &keys, 20);
    let took = outcomes.iter().flatten().map(crate::world::Outcome::took).collect();
    run.figure("read time", Value::times(took));
    let unread: Vec<String> = workload
        .history
        .acknowledged()
        .zip(&outcomes)
        .filter(|(write, outcome)| {
            !reading(outcome.as_ref()).is_some_and(|read| workload.history.is_kept(write, read))
        })
        .map(|(write, _)| format!("{:?}", write.key))
        .collect();
    run.check(Check::none_of("records are read over a bad network", keys.len(), &unread));
    let durability = Durability::of_disks(&mut world, &workload.history);
    run.check(durability.check("nothing is lost over a bad network"));
    let routing = Routing::sample(&mut world, &mut run.rng, 100);
    run.figure("lookups exact", Value::share(routing.exact, routing.asked));
    // Three tries miss a node with 0.7 %, and one of sixteen nodes with 10 %.
    run.check(routing.check(0.75));
    // Loss alone must not make neighbours declare each other dead.
    world.set_network(|network| {
        network.loss = 0.02;
        network.clog = 0.0;
        network.reorder = 0.0;
    });
    world.run_for(STABILISATION);
    let routing = Routing::sample(&mut world, &mut run.rng, 100);
    run.check(Check { name: "lookups are exact when it calms down", ..routing.check(0.99) });
    world
}
