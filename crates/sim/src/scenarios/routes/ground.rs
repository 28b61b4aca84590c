//! Colluders with addresses everywhere choose keys so that each is nearer to a victim than any honest node.

use super::{Found, Members, enlist, random_keys, table};
use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::world::{HostileIndex, World};

pub(in crate::scenarios) const ROUTES_GROUND: Scenario = Scenario {
    name: "routes-ground",
    about: "40 keys are chosen to lie next to a victim; few of them get into its table",
    nodes: 90,
    nodes_min: 60,
    minutes: 1,
    must_fail: false,
    play,
};

const GROUND: usize = 40;
/// Ground ids among the victim's contacts, at most: a crowd beyond what chance gives is kept out.
const PLACES: usize = 12;
const LOOKUPS: usize = 100;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().diverse());
    let nodes = run.form(&mut world);
    let honest = world.peers(&nodes);
    let victim = nodes[0];
    let place = world.node(victim).peer().id.into();
    let others: Vec<_> = honest[1..].to_vec();
    let ground: Vec<HostileIndex> = (0..GROUND)
        .filter_map(|_| world.grind(&place, &others))
        .collect::<Vec<_>>()
        .into_iter()
        .map(|identity| world.hostile_everywhere(identity))
        .collect();
    let colluders = enlist(&mut world, &ground, &[]);
    let known = table(&world, victim);
    let inside = known.iter().filter(|peer| colluders.contains(peer)).count();
    run.figure("contacts of the victim", Value::count(known.len()));
    run.figure("of these, ground", Value::count(inside));
    let refused = world.node(victim).machine().map(|machine| machine.dht().stats());
    let refused = refused.map_or(0, |stats| stats.updates_refused_distance);
    run.figure("routing updates refused for their distance", Value::Count(refused));
    let detail = format!("{inside} of {}", colluders.len());
    run.check(Check::new("few ground ids are in the victim's table", inside <= PLACES, detail));
    let keys = random_keys(run, LOOKUPS);
    let found = Found::of(&mut world, run, &[victim], &keys, &Members { honest, colluders });
    found.show(run);
    run.check(found.check("lookups of the victim find the honest closest", 0.99));
    world
}
