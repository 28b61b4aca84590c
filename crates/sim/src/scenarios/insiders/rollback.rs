//! All replicas of a record turn, and go on showing what they held first: to those who read a newer version
//! before, this is never shown as if it were the newest.

use std::time::Duration;

use potluck_base::Instant;
use potluck_node::{Reply, WriteContext};

use super::record_name;
use crate::check::Check;
use crate::hostile::{Deed, Heard, Liar, Lie, Manners, Me, Replica};
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::{Workload, key};
use crate::world::World;

pub(in crate::scenarios) const ROLLBACK: Scenario = Scenario {
    name: "rollback",
    about: "all replicas of a record turn and show its first version; who read the second is told",
    nodes: 12,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 3;

/// Keeps and shows what an honest replica does, until it turns; then it shows what it held first.
#[derive(Debug)]
struct Turncoat {
    honest: Replica,
    stale: Liar,
    turns_at: Instant,
}

impl Manners for Turncoat {
    fn answer(&mut self, me: &Me<'_>, heard: &Heard<'_>) -> Deed {
        let (honest, stale) = (self.honest.answer(me, heard), self.stale.answer(me, heard));
        if me.now < self.turns_at { honest } else { stale }
    }
}

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(REPLICAS));
    let nodes = run.form(&mut world);
    let peers = world.peers(&nodes);
    let turns_at = world.now() + Duration::from_secs(60);
    let mut turned = Vec::new();
    while turned.len() < usize::from(REPLICAS) {
        let Some(identity) = world.grind(&key(0), &peers) else { break };
        let one = world.hostile_as(identity, None);
        let stale = Liar::new(Lie::Stale, 1).knows_name(key(0), &record_name(0));
        world.hostile_manners(one, Turncoat { honest: Replica::new(), stale, turns_at });
        turned.push(one);
    }
    world.hostile_joins(&turned);
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    let writer = nodes[1];
    for _ in 0..2 {
        workload.put(&mut world, writer, 0, WriteContext::Read);
        workload.finish(&mut world, STABILISATION);
    }
    let second = workload.history.writes()[1].clone();
    let acknowledged = second.version().is_some();
    run.check(Check::new("both puts are acknowledged", acknowledged, format!("{:?}", second.end)));
    let readers: Vec<_> = nodes.iter().copied().filter(|node| *node != writer).collect();
    let mut read = |world: &mut World, reader| {
        let outcome = workload.read_through(world, &[key(0)], &[reader], 1).pop().flatten();
        match outcome.and_then(|outcome| outcome.reply) {
            Some(Reply::Read(done)) => {
                let value = done.reading.values.first().map(|value| value.bytes.clone());
                Some((value == second.value, done.older))
            }
            _ => None,
        }
    };
    let mut blind = Vec::new();
    for reader in &readers {
        if read(&mut world, *reader) != Some((true, false)) {
            blind.push(format!("{reader} did not read the second version"));
        }
    }
    run.check(Check::none_of("all read the second version", readers.len(), &blind));
    // The writer's own copy would show it.
    world.crash(writer);
    let until_then = turns_at.since(world.now());
    world.run_for(until_then + Duration::from_secs(5));
    let mut silent = Vec::new();
    let (mut told, mut newest) = (0, 0);
    for reader in &readers {
        match read(&mut world, *reader) {
            Some((false, false)) => silent.push(format!("{reader} was shown the first version")),
            Some((false, true)) => told += 1,
            Some((true, _)) => newest += 1,
            None => {}
        }
    }
    run.figure("readers that were told", Value::count(told));
    run.figure("readers that found the second version", Value::count(newest));
    run.check(Check::none_of("none is shown an older version silently", readers.len(), &silent));
    let some = told + newest > 0;
    run.check(Check::new("those who read are answered", some, format!("{told} told")));
    world
}
