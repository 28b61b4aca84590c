//! Wall clocks go back, also across a restart. By minutes: a node's later write still supersedes its earlier
//! one. By hours: writes are refused with that reason, nothing is lost, and all works when the clock is right
//! again.

use std::time::Duration;

use bytes::Bytes;
use potluck_node::{CommandError, WriteContext};

use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, WriteEnd, key, reading};
use crate::world::World;

pub(super) const CLOCK_BACK: Scenario = Scenario {
    name: "clock-back",
    about: "the clocks of some nodes go back while they write; later writes stay later",
    nodes: 24,
    nodes_min: 12,
    minutes: 1,
    must_fail: false,
    play,
};

/// Writes of each node with a wrong clock to each of its records while its clock goes back in small steps.
const ROUNDS: u32 = 6;
/// All small steps together stay below the tolerance of replicas.
const STEP_SECONDS: u64 = 40;
/// Records of each node with a wrong clock.
const RECORDS: usize = 3;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(5));
    let nodes = run.form(&mut world);
    // The clocks of the other nodes stay right, because they judge whether a dot is ahead.
    let (others, drifters) = nodes.split_at(nodes.len() - run.nodes / 6);
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    for round in 0..ROUNDS {
        write_all(&mut world, &mut workload, drifters);
        for node in drifters {
            let by = Duration::from_secs(1 + run.rng.below(STEP_SECONDS));
            world.clock_back(*node, by);
            if round % 2 == 1 {
                world.crash(*node);
                world.restart(*node);
            }
        }
        world.run_for(run.length() / ROUNDS);
        world.run_until(STABILISATION, |world| world.have_joined(&nodes));
    }
    all_acknowledged(run, &workload, 0, "a node whose clock went back by minutes can write");

    let hours = Duration::from_secs(3 * 3600);
    drifters.iter().for_each(|node| world.clock_back(*node, hours));
    world.run_for(Duration::from_secs(2));
    let began = workload.history.writes().len();
    write_all(&mut world, &mut workload, drifters);
    let dishonest: Vec<String> = workload.history.writes()[began..]
        .iter()
        .filter(|write| write.version().is_none() && !says_that_the_clock_is_off(&write.end))
        .map(|write| format!("{} at {:?}: {:?}", write.node, write.asked, write.end))
        .collect();
    let asked = workload.history.writes().len() - began;
    run.check(Check::none_of(
        "by hours: it writes or says that its clock is off",
        asked,
        &dishonest,
    ));
    last_write_wins(run, &mut world, &mut workload, others);

    drifters.iter().for_each(|node| world.clock_forward(*node, hours));
    world.run_for(Duration::from_secs(2));
    let began = workload.history.writes().len();
    write_all(&mut world, &mut workload, drifters);
    all_acknowledged(run, &workload, began, "a node whose clock is right again can write");
    last_write_wins(run, &mut world, &mut workload, others);
    world
}

/// Whether a write failed because of the clock, which its user can correct.
pub(super) fn says_that_the_clock_is_off(end: &WriteEnd) -> bool {
    matches!(
        end,
        WriteEnd::Failed(Some(
            CommandError::Clock | CommandError::ClockAhead | CommandError::ClockOff(_)
        ))
    )
}

/// Every node with a wrong clock writes each of its records once.
fn write_all(world: &mut World, workload: &mut Workload, drifters: &[NodeIndex]) {
    for (index, node) in drifters.iter().enumerate() {
        for record in 0..RECORDS {
            workload.put(world, *node, index * RECORDS + record, WriteContext::Read);
        }
    }
    workload.finish(world, STABILISATION);
}

fn all_acknowledged(run: &mut Run, workload: &Workload, from: usize, rule: &'static str) {
    let asked = &workload.history.writes()[from..];
    let failed: Vec<String> = asked
        .iter()
        .filter(|write| write.version().is_none())
        .map(|write| format!("{} at {:?}: {:?}", write.node, write.asked, write.end))
        .collect();
    run.figure("writes acknowledged", Value::share(asked.len() - failed.len(), asked.len()));
    run.check(Check::none_of(rule, asked.len(), &failed));
}

/// Readers with a right clock read the last write.
fn last_write_wins(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    readers: &[NodeIndex],
) {
    let records = run.nodes / 6 * RECORDS;
    let keys: Vec<_> = (0..records).map(key).collect();
    let outcomes = workload.read_through(world, &keys, readers, 20);
    let mut wrong = Vec::new();
    for (key, outcome) in keys.iter().zip(&outcomes) {
        // A write that was not acknowledged may have won too, but no write before the last acknowledged one.
        let mut allowed: Vec<Option<&Bytes>> = Vec::new();
        for write in workload.history.of(key) {
            if write.version().is_some() {
                allowed.clear();
            }
            allowed.push(write.value.as_ref());
        }
        let seen = reading(outcome.as_ref()).map(|read| read.values.as_slice());
        let right = matches!(seen, Some([only]) if allowed.contains(&Some(&only.bytes)));
        if !right {
            wrong.push(format!("{key:?}: {:?} values", seen.map(<[_]>::len)));
        }
    }
    run.check(Check::none_of("the last write is the one that is read", records, &wrong));
}
