//! More nodes write one record than a record and a context have room for. Nodes that write in turn, each
//! after a read, succeed although their contexts need a floor, and the newest value is left. If all nodes
//! write blindly at once, some are refused; the others lose nothing. One write that has read all values
//! merges the record.

use std::time::Duration;

use potluck_node::WriteContext;

use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, Write, key, reading};
use crate::world::World;

pub(super) const TURNS: Scenario = Scenario {
    name: "turns",
    about: "more nodes write a record than it has room for: turns succeed, the rest is refused",
    nodes: 10,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

/// Records that nodes write in turn.
const RECORDS: usize = 3;
/// Rounds of turns.
const ROUNDS: usize = 2;

/// The number of values of a record for which the network has room.
#[derive(Clone, Copy)]
struct Room {
    /// Nodes that hold each record.
    replicas: u16,
    /// Most writers whose values one replica keeps of a record.
    writers_max: u16,
}

fn play(run: &mut Run) -> World {
    let replicas = 2 + run.rng.below(4) as u16;
    let writers_max = 2 + run.rng.below(3) as u16;
    let room = Room { replicas, writers_max };
    // One entry less than the number of writers, so that each record needs a floor.
    let entries = usize::from(writers_max) - 1;
    let config = run.config().replication(replicas).writers(writers_max, entries);
    let mut world = World::new(config);
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 32).recorded();
    take_turns(run, &mut world, &mut workload, &nodes);
    let settled = Duration::from_secs(5);
    world.run_for(settled);
    one_value_each(run, &mut world, &mut workload, &nodes, "turns leave the newest value");
    write_blindly(run, &mut world, &mut workload, &nodes, room);
    for record in 0..RECORDS {
        let merger = nodes[record % 2];
        let outcomes = workload.read_through(&mut world, &[key(record)], &[merger], 1);
        let read = reading(outcomes[0].as_ref()).map(|read| read.context.clone());
        let context = WriteContext::Given(read.unwrap_or_default());
        workload.put(&mut world, merger, record, context);
        workload.finish(&mut world, STABILISATION);
    }
    world.run_for(settled);
    let merged = "one write that has read all merges a record";
    one_value_each(run, &mut world, &mut workload, &nodes, merged);
    run.check(workload.judge(&mut world, &nodes[..3], replicas));
    world
}

/// Each node writes each record, one after the other, after a read.
fn take_turns(run: &mut Run, world: &mut World, workload: &mut Workload, nodes: &[NodeIndex]) {
    for _ in 0..ROUNDS {
        for node in nodes {
            for record in 0..RECORDS {
                workload.put(world, *node, record, WriteContext::Read);
            }
            workload.finish(world, STABILISATION);
        }
    }
    let asked = workload.history.writes();
    let failed: Vec<String> = asked
        .iter()
        .filter(|write| write.version().is_none())
        .map(|write| format!("{}: {:?}", write.node, write.end))
        .collect();
    run.check(Check::none_of("who has read may write", asked.len(), &failed));
}

/// All nodes write each record at once, without a read.
fn write_blindly(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    nodes: &[NodeIndex],
    room: Room,
) {
    let Room { replicas, writers_max } = room;
    let began = workload.history.writes().len();
    for record in 0..RECORDS {
        for node in nodes {
            workload.put(world, *node, record, WriteContext::Blind);
        }
    }
    workload.finish(world, STABILISATION);
    world.run_for(Duration::from_secs(5));
    let asked = &workload.history.writes()[began..];
    let refused = asked.iter().filter(|write| write.version().is_none()).count();
    run.figure("blind writes refused", Value::share(refused, asked.len()));
    let detail = format!("{refused} of {} refused, {writers_max} writers", asked.len());
    run.check(Check::new("a record has room for a few blind writers", refused > 0, detail));
    // Replicas that accepted different writers keep all of them when they compare, and if a store request is
    // slow, one more node than there are replicas gets it.
    let most = usize::from(writers_max) * (usize::from(replicas) + 1) + 1;
    let keys: Vec<_> = (0..RECORDS).map(key).collect();
    let outcomes = workload.read_through(world, &keys, nodes, 8);
    let mut wrong = Vec::new();
    for (record, outcome) in outcomes.iter().enumerate() {
        let values = reading(outcome.as_ref()).map(|read| read.values.len());
        if !values.is_some_and(|values| (1..=most).contains(&values)) {
            wrong.push(format!("record {record} has {values:?} values, {most} at most"));
        }
    }
    run.check(Check::none_of("a record stays within its room", RECORDS, &wrong));
}

fn one_value_each(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    nodes: &[NodeIndex],
    name: &'static str,
) {
    let keys: Vec<_> = (0..RECORDS).map(key).collect();
    let mut wrong = Vec::new();
    let mut contexts = 0;
    for node in nodes {
        let outcomes = workload.read_through(world, &keys, &[*node], 8);
        for (record, outcome) in outcomes.iter().enumerate() {
            let read = reading(outcome.as_ref());
            contexts = contexts.max(read.map_or(0, |read| read.context.len()));
            // Writes in turn follow one another. The last of them may have a smaller dot than one that it has
            // read, because dots follow the wall clock of their writer.
            let writes = workload.history.acknowledged().filter(|write| write.key == key(record));
            let last = writes.last();
            let values: Vec<_> = read.map_or(&[][..], |read| &read.values).iter().collect();
            let newest = last.and_then(Write::version);
            if values.len() != 1 || Some(values[0].dot) != newest {
                let dots: Vec<_> = values.iter().map(|value| value.dot).collect();
                wrong.push(format!("{node}: record {record} has {dots:?}, newest {newest:?}"));
            }
        }
    }
    run.figure("entries of the longest context", Value::Count(contexts as u64));
    run.check(Check::none_of(name, nodes.len() * RECORDS, &wrong));
}
