//! One member stores records at a node that is not a replica of them.

use potluck_base::Key;
use potluck_record::{Place, Space};

use super::{SETTLE, write_and_read};
use crate::check::{Check, misplaced};
use crate::hostile::Replica;
use crate::hostile::forge::{Forger, Shape};
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::Workload;
use crate::world::World;

pub(in crate::scenarios) const INSIDER_MISPLACED: Scenario = Scenario {
    name: "insider-misplaced",
    about: "a member stores 240 records at one node; it keeps only those that it is near to",
    nodes: 30,
    nodes_min: 16,
    minutes: 1,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 2;
const RECORDS: usize = 240;
/// Rank up to which a node keeps what a writer stores: a few more than the replica set.
const NEAR: usize = 6;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(REPLICAS).invite());
    let nodes = run.form(&mut world);
    let evil = world.hostile();
    world.hostile_manners(evil, Replica::new());
    world.hostile_joins(&[evil]);
    // Until all nodes know each other, so that each knows which keys it is close to.
    world.run_for(STABILISATION);
    let victim = nodes[run.rng.below(nodes.len() as u64) as usize];
    let mut forger = Forger::new(run.rng.next_u64());
    let names: Vec<String> = (0..RECORDS).map(|number| format!("stuff {number}")).collect();
    let keys: Vec<Key> = names
        .iter()
        .filter_map(|name| Space::Commons.key(&potluck_record::Name::new(name.as_str()).ok()?))
        .collect();
    for some in names.chunks(20) {
        let envelopes = world.hostile_me(evil, |me| {
            let shape = || Shape { bytes: 4 * 1024, ..Shape::default() };
            let made = some.iter().map(|name| forger.envelope(me, me.identity, name, shape()));
            made.map(|envelope| envelope.encode()).collect()
        });
        world.hostile_store(evil, victim, envelopes);
    }
    world.run_for(SETTLE);
    let held = keys
        .iter()
        .filter(|key| !world.disk(victim).envelopes(key, Place::Replica).is_empty())
        .count();
    run.figure("of these, kept at the victim", Value::share(held, RECORDS));
    run.check(misplaced::check(&mut world, &keys, &[victim], NEAR));
    // The check would prove nothing if the node kept no records at all.
    run.check(Check::new("those near to it are kept", held > 0, format!("{held} kept")));
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    let wrong = write_and_read(run, &mut world, &mut workload, &nodes, 0..10);
    wrong.check(run, ["puts of the others are acknowledged", "gets show them"]);
    world
}
