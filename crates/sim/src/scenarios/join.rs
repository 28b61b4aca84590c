//! Nodes form a network; lookups from every node find the nodes that are really closest.

use crate::check::bounds;
use crate::check::routing::Routing;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::world::World;

pub(super) const JOIN: Scenario = Scenario {
    name: "join",
    about: "nodes form a network over lossy links; lookups find the true closest in few hops",
    nodes: 200,
    nodes_min: 2,
    minutes: 2,
    must_fail: false,
    play,
};

fn play(run: &mut Run) -> World {
    let mut config = run.config().sealed(run.nodes <= 60);
    config.network.loss = 0.02;
    let mut world = World::new(config);
    run.form(&mut world);
    world.run_for(run.length().saturating_sub(STABILISATION / 6));
    let samples = (5 * run.nodes).clamp(100, 1000);
    let routing = Routing::sample(&mut world, &mut run.rng, samples);
    run.figure("lookups that found the true closest", Value::share(routing.exact, routing.asked));
    run.figure("of the true closest, found", Value::share(routing.found, routing.there));
    run.figure("hops, median", Value::count(routing.median_hops().into()));
    let hops: usize = routing.hops.iter().map(|hops| usize::from(*hops)).sum();
    run.figure("hops, mean", Value::Number(per(hops, routing.hops.len())));
    run.figure("requests per lookup", Value::Number(per(routing.queries, routing.answered)));
    run.figure("lookup time", Value::times(routing.took.clone()));
    run.check(routing.check(0.99));
    run.check(routing.check_hops(4));
    let contacts: Vec<usize> =
        bounds::stats(&mut world).iter().map(|(_, stats)| stats.dht.contacts).collect();
    run.figure("contacts per table", Value::Number(per(contacts.iter().sum(), contacts.len())));
    run.figure("largest table", Value::count(contacts.iter().max().copied().unwrap_or(0)));
    world
}

fn per(sum: usize, of: usize) -> f64 {
    sum as f64 / of.max(1) as f64
}
