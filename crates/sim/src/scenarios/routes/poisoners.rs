//! A share of all members answers lookups with each other, and drops what is to be stored.

use super::{Found, Members, collude, random_keys};
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::world::World;

pub(in crate::scenarios) const ROUTES_POISONED_20: Scenario = Scenario {
    name: "routes-poisoned-20",
    about: "20 % of all members answer lookups with each other; lookups find the honest closest",
    nodes: 80,
    nodes_min: 20,
    minutes: 1,
    must_fail: false,
    play: |run| play(run, 0.2, 0.995),
};

pub(in crate::scenarios) const ROUTES_POISONED_30: Scenario = Scenario {
    name: "routes-poisoned-30",
    about: "the same with 30 %",
    nodes: 70,
    nodes_min: 20,
    minutes: 1,
    must_fail: false,
    play: |run| play(run, 0.3, 0.98),
};

/// Lookups, at least.
const LOOKUPS: usize = 400;

fn play(run: &mut Run, share: f64, right: f64) -> World {
    let mut world = World::new(run.config());
    let nodes = run.form(&mut world);
    let honest = world.peers(&nodes);
    let keys = random_keys(run, LOOKUPS.max(run.nodes));
    let calm = Found::of(
        &mut world,
        run,
        &nodes,
        &keys,
        &Members { honest: honest.clone(), colluders: Vec::new() },
    );
    let requests = calm.requests as f64 / keys.len() as f64;
    run.figure("requests a lookup before", Value::Number(requests));
    run.figure("lookup time before", Value::times(calm.took.clone()));
    let count = (run.nodes as f64 * share / (1.0 - share)).round() as usize;
    let colluders = collude(&mut world, count);
    run.figure("colluders", Value::count(count));
    let keys = random_keys(run, keys.len());
    let found = Found::of(&mut world, run, &nodes, &keys, &Members { honest, colluders });
    found.show(run);
    run.check(found.check("lookups find all honest of the 16 closest", right));
    world
}
