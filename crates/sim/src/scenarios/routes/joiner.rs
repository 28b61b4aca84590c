//! A victim joins an open network in which half of those that it meets collude, from addresses of one network.

use std::time::Duration;

use potluck_dht::EntryPoint;
use potluck_gossip::Mode;

use super::{Found, Members, enlist, random_keys, table};
use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::world::{HostileIndex, World};

pub(in crate::scenarios) const ROUTES_JOINER: Scenario = Scenario {
    name: "routes-joiner",
    about: "a victim joins while half of those it meets collude; it gets honest links and lookups",
    nodes: 60,
    nodes_min: 48,
    minutes: 10,
    must_fail: false,
    play,
};

/// Honest links of the victim, at least.
const LINKS: usize = 4;
/// Colluders in the victim's table, at most: the places of one small subnet.
const PLACES: usize = 10;
const LOOKUPS: usize = 200;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config_in(Mode::Open).diverse());
    let nodes = run.form(&mut world);
    let who: Vec<HostileIndex> = (0..run.nodes).map(|_| world.hostile()).collect();
    let colluders = enlist(&mut world, &who, &[]);
    let entries = (0..4).flat_map(|at| {
        [world.node(nodes[at * 3]).peer().contact, colluders[at].contact].map(EntryPoint::Contact)
    });
    let entries: Vec<EntryPoint> = entries.collect();
    let victim = world.spawn(entries);
    // They offer themselves to the victim, again and again.
    for _ in 0..run.minutes.max(1) * 2 {
        for index in &who {
            world.hostile_ask(*index, victim, &potluck_wire::Request::Ping);
        }
        world.run_for(Duration::from_secs(30));
    }
    let honest = world.peers(&world.live());
    let links = world.node(victim).machine().map(|machine| machine.topics().neighbours());
    let links = links.unwrap_or_default();
    let good = links
        .iter()
        .filter(|link| honest.iter().any(|peer| peer.contact.public_key == link.public_key))
        .count();
    run.figure("links of the victim", Value::count(links.len()));
    run.figure("of these, honest", Value::count(good));
    let detail = format!("{good} of {}", links.len());
    run.check(Check::new("the victim has four honest links", good >= LINKS, detail));
    let known = table(&world, victim);
    let inside = known.iter().filter(|peer| colluders.contains(peer)).count();
    run.figure("contacts of the victim", Value::count(known.len()));
    run.figure("of these, colluders", Value::count(inside));
    let detail = format!("{inside} of {}", known.len());
    run.check(Check::new(
        "one subnet has few places in the victim's table",
        inside <= PLACES,
        detail,
    ));
    let keys = random_keys(run, LOOKUPS);
    let found = Found::of(&mut world, run, &[victim], &keys, &Members { honest, colluders });
    found.show(run);
    run.check(found.check("lookups of the victim find the honest closest", 0.99));
    world
}
