//! Three in ten nodes die at once, and lookups begin before any of the others knows.

use crate::check::Check;
use crate::check::routing::Routing;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::world::World;

pub(in crate::scenarios) const ROUTES_DEAD: Scenario = Scenario {
    name: "routes-dead",
    about: "30 % die at once; lookups at once find all 16 closest that live",
    nodes: 100,
    nodes_min: 60,
    minutes: 1,
    must_fail: false,
    play,
};

/// Lookups, few enough that they teach tables little.
const LOOKUPS: usize = 40;

fn play(run: &mut Run) -> World {
    let (without, _) = one(run, false);
    let (with, world) = one(run, true);
    for (routing, parts) in [(&without, "first parts only"), (&with, "second parts, too")] {
        let share = Value::share(routing.exact, routing.asked);
        run.figure(format!("all 16 closest living found, {parts}"), share);
        let requests = routing.queries as f64 / routing.answered.max(1) as f64;
        run.figure(format!("requests a lookup, {parts}"), Value::Number(requests));
        run.figure(format!("lookup time, {parts}"), Value::times(routing.took.clone()));
    }
    run.check(Check { name: "lookups at once find all 16 closest that live", ..with.check(0.9) });
    world
}

fn one(run: &mut Run, second_parts: bool) -> (Routing, World) {
    let mut config = run.config();
    config.node.dht.second_parts = second_parts;
    let mut world = World::new(config);
    let mut nodes = run.form(&mut world);
    let mut rng = run.rng.fork("dead");
    rng.shuffle(&mut nodes);
    nodes.iter().take(run.nodes * 3 / 10).for_each(|node| world.crash(*node));
    let routing = Routing::sample(&mut world, &mut rng, LOOKUPS);
    (routing, world)
}
