//! One member in five answers lookups with accomplices that are in no table, whose keys were chosen so that they
//! are nearer to the target than any honest node. A path that asks one such member sees accomplices only.

use super::{Found, Members, enlist, random_keys};
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::world::{HostileIndex, World};

pub(in crate::scenarios) const ROUTES_HIDDEN: Scenario = Scenario {
    name: "routes-hidden",
    about: "members name hidden accomplices next to each key; lookups reach the honest nodes there",
    nodes: 80,
    nodes_min: 40,
    minutes: 1,
    must_fail: false,
    play,
};

/// Keys with accomplices next to them, and how many each has.
const KEYS: usize = 12;
const HIDDEN: usize = 16;
/// Lookups of each key.
const LOOKUPS: usize = 10;

fn play(run: &mut Run) -> World {
    let mut config = run.config();
    // As a lookup that doubts an answer takes.
    config.node.dht.read_paths = config.node.dht.doubt_paths;
    let mut world = World::new(config);
    let nodes = run.form(&mut world);
    let honest = world.peers(&nodes);
    let keys = random_keys(run, KEYS);
    let mut hidden: Vec<HostileIndex> = Vec::new();
    for key in &keys {
        for _ in 0..HIDDEN {
            let Some(identity) = world.grind(key, &honest) else { continue };
            hidden.push(world.hostile_as(identity, None));
        }
    }
    run.figure("accomplices that are in no table", Value::count(hidden.len()));
    let who: Vec<HostileIndex> = (0..run.nodes / 8).map(|_| world.hostile()).collect();
    let colluders = enlist(&mut world, &who, &hidden);
    run.figure("members that name them", Value::count(who.len()));
    let asked: Vec<_> = keys.iter().copied().cycle().take(KEYS * LOOKUPS).collect();
    let found = Found::of(&mut world, run, &nodes, &asked, &Members { honest, colluders });
    found.show(run);
    run.check(found.check("lookups find all honest nodes next to the keys", 0.9));
    world
}
