//! One ticket for several machines: their keys are chosen so that they are the whole replica set of a record,
//! and they answer that there is no such record.

use potluck_base::Identity;
use potluck_node::WriteContext;

use crate::check::Check;
use crate::hostile::{Liar, Lie};
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::{Workload, key, reading};
use crate::world::World;

pub(in crate::scenarios) const SYBIL_NEAR: Scenario = Scenario {
    name: "sybil-near",
    about: "three members of one ticket sit next to a key and hide its record; it stays readable",
    nodes: 12,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 3;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(REPLICAS).invite());
    let nodes = run.form(&mut world);
    let peers = world.peers(&nodes);
    let ticket = Identity::from_seed(run.rng.bytes()).public_key();
    let mut sybils = Vec::new();
    while sybils.len() < usize::from(REPLICAS) {
        let Some(identity) = world.grind(&key(0), &peers) else { break };
        let sybil = world.hostile_as(identity, Some(ticket));
        world.hostile_manners(sybil, Liar::new(Lie::Absent, 1));
        sybils.push(sybil);
    }
    world.hostile_joins(&sybils);
    let nearest = peers.iter().map(|peer| peer.distance(&key(0))).min();
    let closer = sybils
        .iter()
        .filter(|sybil| Some(world.hostile_peer(**sybil).distance(&key(0))) < nearest)
        .count();
    run.figure("sybils closer to the key than any other node", Value::count(closer));
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    let writer = nodes[1];
    workload.put(&mut world, writer, 0, WriteContext::Read);
    workload.finish(&mut world, STABILISATION);
    let write = workload.history.writes()[0].clone();
    let acknowledged = write.version().is_some();
    run.check(Check::new("the put is acknowledged", acknowledged, format!("{:?}", write.end)));
    world.crash(writer);
    let readers: Vec<_> = nodes.iter().copied().filter(|node| *node != writer).collect();
    let mut hidden = Vec::new();
    for reader in &readers {
        let outcome = workload.read_through(&mut world, &[key(0)], &[*reader], 1).pop().flatten();
        let seen = reading(outcome.as_ref()).is_some_and(|read| !read.values.is_empty());
        if !seen {
            let answers = reading(outcome.as_ref()).map(|read| read.values.len());
            hidden.push(format!("{reader} read {answers:?} values"));
        }
    }
    run.check(Check::none_of("all others read it without its writer", readers.len(), &hidden));
    world
}
