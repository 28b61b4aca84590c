//! Identities whose keys were chosen so that they are the closest to a record's key, more of them than the
//! record has replicas. They name each other only, acknowledge what they are given, and say that there is no
//! such record.

use potluck_node::WriteContext;

use super::record_name;
use crate::check::Check;
use crate::check::bounds::stats;
use crate::hostile::{Colluder, Liar, Lie};
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::{Workload, key, reading};
use crate::world::{HostileIndex, World};

pub(in crate::scenarios) const CROWDED_KEY: Scenario = Scenario {
    name: "crowded-key",
    about: "20 ids chosen to sit closest to a key hide its record and name each other; it stays readable",
    nodes: 100,
    nodes_min: 48,
    minutes: 2,
    must_fail: false,
    play,
};

/// Chosen ids: more than the 16 replicas of a record.
const SYBILS: usize = 20;
/// Writes and reads in each minute of the run.
const ROUNDS: usize = 60;
/// Of 100 operations, those that must be right.
const RIGHT: usize = 99;

/// The chosen ids, which are all closer to the key of record 0 than any node, with their manners.
fn sybils(run: &mut Run, world: &mut World) -> Vec<HostileIndex> {
    let peers = world.peers(&world.live());
    let mut sybils = Vec::new();
    while sybils.len() < SYBILS {
        let Some(identity) = world.grind(&key(0), &peers) else { break };
        sybils.push(world.hostile_as(identity, None));
    }
    let friends: Vec<_> = sybils.iter().map(|sybil| world.hostile_peer(*sybil)).collect();
    for sybil in &sybils {
        let liar = Liar::new(Lie::Absent, run.rng.next_u64()).knows_name(key(0), &record_name(0));
        world.hostile_manners(*sybil, Colluder::new(liar, friends.clone()));
    }
    run.check(Check::new("all of them are closest to the key", sybils.len() == SYBILS, ""));
    world.hostile_joins(&sybils);
    sybils
}

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config());
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    let mut wrong = Vec::new();
    // One write before they come, and then more.
    workload.put(&mut world, nodes[0], 0, WriteContext::Read);
    workload.finish(&mut world, STABILISATION);
    let mut last = workload.history.writes()[0].clone();
    let sybils = sybils(run, &mut world);
    let count = ROUNDS * run.minutes as usize;
    let (mut puts, mut hidden, mut refused) = (0, 0, 0);
    for round in 0..count {
        if round % 10 == 9 {
            puts += 1;
            let writer = nodes[(round * 7) % nodes.len()];
            let index = workload.put(&mut world, writer, 0, WriteContext::Read);
            workload.finish(&mut world, STABILISATION);
            let write = workload.history.writes()[index].clone();
            if write.version().is_none() {
                refused += 1;
                continue;
            }
            last = write;
        }
        let reader = nodes[(round * 13 + 1) % nodes.len()];
        let outcome = workload.read_through(&mut world, &[key(0)], &[reader], 1).pop().flatten();
        let seen: Option<Vec<_>> = reading(outcome.as_ref())
            .map(|read| read.values.iter().map(|value| value.bytes.clone()).collect());
        if seen
            .as_ref()
            .is_none_or(|seen| Some(seen) != last.value.clone().map(|v| vec![v]).as_ref())
        {
            hidden += 1;
            wrong.push(format!("{reader} read {:?} values", seen.map(|seen| seen.len())));
        }
    }
    let asked: u64 = sybils.iter().map(|sybil| world.hostile_stats(*sybil).came).sum();
    run.figure("reads that show the last write", Value::share(count - hidden - refused, count));
    run.figure("requests to the chosen ids", Value::Count(asked));
    let alarms = stats(&mut world).iter().map(|(_, stats)| stats.kv.density_alarms).sum();
    run.figure("density alarms", Value::Count(alarms));
    run.check(Check::new("the chosen ids are asked", asked > count as u64, format!("{asked}")));
    run.check(Check::new(
        "all puts are acknowledged",
        refused == 0,
        format!("{refused} of {puts}"),
    ));
    let right = (count - hidden - refused) * 100 >= count * RIGHT;
    let detail = format!(
        "{hidden} of {count}: {}",
        wrong.into_iter().take(3).collect::<Vec<_>>().join("; ")
    );
    run.check(Check::new("99 % of the reads show the last write", right, detail));
    world
}
