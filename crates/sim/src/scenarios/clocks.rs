//! Wall clocks that are ahead, behind, drift and jump both ways, by minutes and by hours. A node with a wrong
//! clock learns that from its peers' answers. It reads what others wrote, and it writes or reports that its
//! clock is wrong. When the clocks are right again, no node is excluded from a record.

use std::time::Duration;

use potluck_node::WriteContext;

use super::clock_back::says_that_the_clock_is_off;
use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, key, reading};
use crate::world::World;

pub(super) const CLOCKS: Scenario = Scenario {
    name: "clocks",
    about: "clocks run ahead, behind, drift and jump; no node is locked out of a record",
    nodes: 12,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

/// Records of each node with a wrong clock.
const RECORDS: usize = 3;
/// The accuracy of a measured offset, besides half of a round trip.
const KNOWN_TO_MS: u64 = 2_000;

fn play(run: &mut Run) -> World {
    let replicas = 2 + run.rng.below(4) as u16;
    let mut world = World::new(run.config().replication(replicas));
    let nodes = run.form(&mut world);
    // A minority, because a majority of wrong peers would make a node distrust its right clock.
    let wrong_count = 1 + run.rng.below(nodes.len() as u64 / 4) as usize;
    let (right, wrong) = nodes.split_at(nodes.len() - wrong_count);
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    write_all(&mut world, &mut workload, wrong, WriteContext::Read);
    for round in 0..4 {
        let shifts: Vec<(Duration, bool)> = wrong.iter().map(|_| shift(run, round)).collect();
        for (node, (by, ahead)) in wrong.iter().zip(&shifts) {
            set(&mut world, *node, *by, *ahead);
        }
        // At once, before a peer has reported the offset, and later.
        let began = workload.history.writes().len();
        write_all(&mut world, &mut workload, wrong, WriteContext::Blind);
        world.run_for(run.length() / 4);
        write_all(&mut world, &mut workload, wrong, WriteContext::Read);
        honest(run, &workload, began);
        offsets_are_known(run, &world, wrong);
        all_read(run, &mut world, &mut workload, Clocks { right, wrong });
        for (node, (by, ahead)) in wrong.iter().zip(&shifts) {
            set(&mut world, *node, *by, !ahead);
        }
        world.run_for(Duration::from_secs(5));
        all_write(run, &mut world, &mut workload, wrong);
    }
    world
}

/// By seconds, by minutes, by an hour and by days, ahead or behind.
fn shift(run: &mut Run, round: u32) -> (Duration, bool) {
    let most = [90, 600, 7_200, 400_000][round as usize % 4];
    (Duration::from_secs(1 + run.rng.below(most)), run.rng.chance(0.5))
}

fn set(world: &mut World, node: NodeIndex, by: Duration, ahead: bool) {
    if ahead {
        world.clock_forward(node, by);
    } else {
        world.clock_back(node, by);
    }
}

fn write_all(
    world: &mut World,
    workload: &mut Workload,
    nodes: &[NodeIndex],
    context: WriteContext,
) {
    for node in nodes {
        for record in 0..RECORDS {
            workload.put(world, *node, node.get() * RECORDS + record, context.clone());
        }
    }
    workload.finish(world, STABILISATION);
}

/// A write under a wrong clock is acknowledged, or fails for that reason. A write that found unmerged
/// siblings does not concern the clock.
fn honest(run: &mut Run, workload: &Workload, began: usize) {
    let asked = &workload.history.writes()[began..];
    let dishonest: Vec<String> = asked
        .iter()
        .filter(|write| {
            write.version().is_none()
                && write.end != crate::workload::WriteEnd::Failed(None)
                && !says_that_the_clock_is_off(&write.end)
        })
        .map(|write| format!("{} at {:?}: {:?}", write.node, write.asked, write.end))
        .collect();
    let rule = "it writes, or says that its clock is off";
    run.check(Check::none_of(rule, asked.len(), &dishonest));
}

fn offsets_are_known(run: &mut Run, world: &World, wrong: &[NodeIndex]) {
    let mut unknown = Vec::new();
    for node in wrong {
        let shows = world.node(*node).wall_clock(world.wall_clock()).0 as i64;
        let off = world.wall_clock().0 as i64 - shows;
        let said = world.clock_offset(*node).map(|offset| offset.millis);
        if said.is_none_or(|said| said.abs_diff(off) > KNOWN_TO_MS) {
            unknown.push(format!("{node} is off by {off} ms and knows {said:?}"));
        }
    }
    run.check(Check::none_of("a node knows how far its clock is off", wrong.len(), &unknown));
}

/// The nodes of a run by their clocks.
#[derive(Clone, Copy)]
struct Clocks<'a> {
    /// Nodes whose clocks are right.
    right: &'a [NodeIndex],
    /// Nodes whose clocks are ahead or behind.
    wrong: &'a [NodeIndex],
}

/// Nodes with wrong clocks read what nodes with right ones wrote, and the other way round.
fn all_read(run: &mut Run, world: &mut World, workload: &mut Workload, clocks: Clocks<'_>) {
    let Clocks { right, wrong } = clocks;
    let number = 1_000 + workload.history.writes().len();
    for (index, node) in right.iter().enumerate() {
        workload.put(world, *node, number + index, WriteContext::Read);
    }
    workload.finish(world, STABILISATION);
    let keys: Vec<_> = (0..right.len()).map(|index| key(number + index)).collect();
    let mut unread = Vec::new();
    for readers in [right, wrong] {
        let outcomes = workload.read_through(world, &keys, readers, 8);
        for (key, outcome) in keys.iter().zip(&outcomes) {
            let read = reading(outcome.as_ref());
            if read.is_none_or(|read| read.values.len() != 1) {
                unread.push(format!("{key:?}: {:?}", outcome.as_ref().map(|o| &o.reply)));
            }
        }
    }
    let rule = "what a right clock wrote is read under every clock";
    run.check(Check::none_of(rule, 2 * keys.len(), &unread));
}

/// The clocks are right again: every node writes its own records.
fn all_write(run: &mut Run, world: &mut World, workload: &mut Workload, wrong: &[NodeIndex]) {
    let began = workload.history.writes().len();
    for node in wrong {
        for record in 0..RECORDS {
            let number = node.get() * RECORDS + record;
            // Blind writes under the wrong clock may have left siblings.
            let outcome = workload.read_through(world, &[key(number)], &[*node], 1).pop().flatten();
            let context = reading(outcome.as_ref()).map(|read| read.context.clone());
            let context = context.map_or(WriteContext::Read, WriteContext::Given);
            workload.put(world, *node, number, context);
        }
    }
    workload.finish(world, STABILISATION);
    let asked = &workload.history.writes()[began..];
    let failed: Vec<String> = asked
        .iter()
        .filter(|write| write.version().is_none())
        .map(|write| format!("{} at {:?}: {:?}", write.node, write.asked, write.end))
        .collect();
    run.figure(
        "writes with a right clock again",
        Value::share(asked.len() - failed.len(), asked.len()),
    );
    let rule = "a node whose clock is right again writes its own records";
    run.check(Check::none_of(rule, asked.len(), &failed));
}
