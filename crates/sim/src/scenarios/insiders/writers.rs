//! One member takes all places of a record's writers with throw-away keys.

use potluck_base::Key;
use potluck_record::Place;

use super::{SETTLE, record_name, write_and_read};
use crate::check::Check;
use crate::hostile::Replica;
use crate::hostile::forge::Forger;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::workload::{Workload, key};
use crate::world::World;

pub(in crate::scenarios) const INSIDER_WRITERS: Scenario = Scenario {
    name: "insider-writers",
    about: "a member signs with 32 throw-away keys a record; others still write to it",
    nodes: 10,
    nodes_min: 6,
    minutes: 1,
    must_fail: false,
    play,
};

/// Writers for which a record has room.
const THROW_AWAY: usize = 32;
/// Records that are attacked. Every other one has an honest writer before.
const RECORDS: usize = 6;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(4).invite());
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    let before = write_and_read(run, &mut world, &mut workload, &nodes, (0..RECORDS).step_by(2));
    before.check(run, ["puts before are acknowledged", "gets before show them"]);

    let evil = world.hostile();
    world.hostile_manners(evil, Replica::new());
    world.hostile_joins(&[evil]);
    let mut forger = Forger::new(run.rng.next_u64());
    for record in 0..RECORDS {
        let envelopes: Vec<_> = world.hostile_me(evil, |me| {
            let made = (0..THROW_AWAY).map(|_| forger.stranger(me, &record_name(record), 16));
            made.map(|envelope| envelope.encode()).collect()
        });
        for node in &nodes {
            world.hostile_store(evil, *node, envelopes.clone());
        }
    }
    world.run_for(SETTLE);
    let members: Vec<_> =
        nodes.iter().map(|node| world.node(*node).peer().contact.public_key).collect();
    let keys: Vec<Key> = (0..RECORDS).map(key).collect();
    let mut strangers = 0;
    for node in &nodes {
        for key in &keys {
            let held = world.disk(*node).envelopes(key, Place::Replica);
            let foreign = held.iter().filter(|held| !members.contains(&held.head().writer()));
            strangers += foreign.count();
        }
    }
    run.figure("envelopes of throw-away keys that are kept", Value::count(strangers));
    let kept = format!("{strangers} kept");
    run.check(Check::new("no envelope of a throw-away key is kept", strangers == 0, kept));
    let twice = (0..RECORDS).chain(0..RECORDS);
    let wrong = write_and_read(run, &mut world, &mut workload, &nodes, twice);
    wrong.check(run, ["puts of the others are acknowledged", "gets show the last put"]);
    world
}
