//! Bits flip on disks without an error. No reader gets a wrong byte, no record with an intact copy is lost,
//! the service continues, and a replica that reads its damaged row gets an intact one.

use potluck_base::Key;
use potluck_node::Command;
use potluck_record::Place;

use crate::batch::{Batch, pick};
use crate::check::replication::Census;
use crate::check::{Check, bounds};
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::{Workload, reading};
use crate::world::World;

pub(super) const CORRUPT_ROWS: Scenario = Scenario {
    name: "corrupt-rows",
    about: "rows go bad on the disks of two replicas of each record; readers get the right bytes",
    nodes: 30,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 5;
/// Intervals of anti-entropy in which a replica has compared with all holders of what it lost.
const ROUNDS: u32 = 10;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(REPLICAS));
    run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    workload.fill(&mut world, 0..3 * run.nodes, 20);
    world.run_for(STABILISATION);
    let keys = workload.history.promised();
    let census = Census::take(&mut world);
    let mut damaged = 0;
    let mut places = Vec::new();
    for key in &keys {
        // Other holders need not have it, and no node restores it there. The closest two offer what they
        // hold; if both lost a record, it stays at the others until neighbours change.
        let mut set = census.replica_set(key, REPLICAS.into());
        set.retain(|node| census.holders(key).contains(node));
        let (closest, others) = set.split_at(set.len().min(2));
        for node in [closest, others].into_iter().filter(|some| !some.is_empty()) {
            let node = pick(&mut run.rng, node);
            damaged += world.damage(node, key, Place::Replica);
            places.push((node, *key));
        }
    }
    run.figure("rows that went bad", Value::count(damaged));
    all_are_right(run, &mut world, &mut workload, &keys, "records are read at once");
    // A read asks as many replicas as it needs. This asks all, so that each reads its damaged row.
    let live = world.live();
    let batch = Batch { in_flight: 20, bound: STABILISATION };
    let rng = &mut run.rng;
    batch.run(&mut world, keys.len(), |_, index| {
        (pick(rng, &live), Command::Replicas { key: keys[index] })
    });
    world.run_for(run.length().max(ROUNDS * STABILISATION));
    all_are_right(run, &mut world, &mut workload, &keys, "and minutes later");

    let nodes = world.live();
    let found: u64 = nodes.iter().map(|node| world.disk(*node).stats().corrupt_rows).sum();
    run.figure("damaged rows met by nodes", Value::Count(found));
    let met = format!("{found} of {damaged}");
    run.check(Check::new("damaged rows are noticed", found > 0 && damaged > 0, met));
    let mended = places
        .iter()
        .filter(|(node, key)| !world.disk(*node).envelopes(key, Place::Replica).is_empty());
    let mended = mended.count();
    run.check(Check::share("damaged replicas are whole again", mended, places.len(), 1.0));
    let stats = bounds::stats(&mut world);
    run.check(Check { name: "tables stay bounded meanwhile", ..bounds::check(&world, &stats) });
    world
}

/// Each record is read through a random node with its acknowledged value.
fn all_are_right(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    keys: &[Key],
    rule: &'static str,
) {
    let outcomes = workload.read(world, keys, 20);
    let mut wrong = Vec::new();
    for (key, outcome) in keys.iter().zip(&outcomes) {
        let values: Vec<_> = workload.history.of(key).map(|write| write.value.clone()).collect();
        let seen = reading(outcome.as_ref()).map(|read| read.values.as_slice());
        let right = |bytes: &bytes::Bytes| values.iter().flatten().any(|value| value == bytes);
        if !matches!(seen, Some([only]) if right(&only.bytes)) {
            let answer = outcome.as_ref().and_then(|outcome| outcome.reply.as_ref());
            wrong.push(format!("{key:?}: {answer:?}"));
        }
    }
    run.check(Check::none_of(rule, keys.len(), &wrong));
}
