//! A data folder is copied, and both machines run with one identity. No acknowledged write is superseded by a
//! write that had not read it. Both machines detect the conflict, report it and write nothing more. The other
//! nodes are not disturbed.

use std::time::Duration;

use potluck_node::{CommandError, Event, WriteContext};

use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, WriteEnd, reading};
use crate::world::World;

pub(super) const CLONE: Scenario = Scenario {
    name: "clone",
    about: "a copied data folder runs twice; nothing acknowledged is lost, and both say so",
    nodes: 12,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

/// Records that all nodes write.
const RECORDS: usize = 12;
/// Time within which both machines have detected it.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

fn play(run: &mut Run) -> World {
    // Each seed draws its limits, so that some seeds reach each of them.
    let replicas = 2 + run.rng.below(4) as u16;
    let others_write = 2 + run.rng.below(3) as usize;
    let apart = Duration::from_millis(run.rng.below(400));
    let mut world = World::new(run.config().replication(replicas));
    let nodes = run.form(&mut world);
    let original = nodes[1 + run.rng.below(nodes.len() as u64 - 1) as usize];
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    for record in 0..RECORDS {
        workload.put(&mut world, original, record, WriteContext::Read);
    }
    workload.finish(&mut world, STABILISATION);

    let copy = world.clone_node(original);
    let began = world.now();
    let joined = world.run_until(STABILISATION, |world| world.node(copy).has_joined());
    run.check(Check::new("the copy joins", joined, ""));
    let writers: Vec<NodeIndex> = nodes
        .iter()
        .copied()
        .filter(|node| *node != original)
        .take(others_write)
        .chain([original, copy])
        .collect();
    for round in 0..6 {
        for record in 0..RECORDS {
            for node in &writers {
                let context = if (round + record) % 3 == 0 {
                    WriteContext::Read
                } else {
                    WriteContext::Blind
                };
                workload.put(&mut world, *node, record, context);
                world.run_for(apart / 8);
            }
        }
        workload.finish(&mut world, STABILISATION);
    }
    let noticed = |world: &mut World| {
        [original, copy].iter().all(|node| {
            world.member_events(*node).any(|(_, event)| event == Event::IdentityElsewhere)
        })
    };
    let both = world.run_until(NOTICED_WITHIN, noticed);
    run.check(Check::new("both machines say that their identity runs twice", both, ""));
    run.figure("noticed within", Value::Time(world.now().since(began)));
    both_write_nothing(run, &mut world, &mut workload, &[original, copy]);
    others_go_on(run, &mut world, &mut workload, writers[0]);
    nothing_is_lost(run, &mut world, &mut workload, &nodes, original);
    world
}

/// After both machines detected it, each of their writes is refused with the reason.
fn both_write_nothing(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    twice: &[NodeIndex],
) {
    let began = workload.history.writes().len();
    for node in twice {
        workload.put(world, *node, 0, WriteContext::Blind);
    }
    workload.finish(world, STABILISATION);
    let asked = &workload.history.writes()[began..];
    let wrong: Vec<String> = asked
        .iter()
        .filter(|write| write.end != WriteEnd::Failed(Some(CommandError::LostOwn)))
        .map(|write| format!("{}: {:?}", write.node, write.end))
        .collect();
    run.check(Check::none_of("they write nothing any more", asked.len(), &wrong));
}

fn others_go_on(run: &mut Run, world: &mut World, workload: &mut Workload, other: NodeIndex) {
    let began = workload.history.writes().len();
    for record in RECORDS..2 * RECORDS {
        workload.put(world, other, record, WriteContext::Read);
    }
    workload.finish(world, STABILISATION);
    let asked = &workload.history.writes()[began..];
    let failed: Vec<String> = asked
        .iter()
        .filter(|write| write.version().is_none())
        .map(|write| format!("{}: {:?}", write.node, write.end))
        .collect();
    run.check(Check::none_of("the others write as before", asked.len(), &failed));
}

/// Each acknowledged write is current, a sibling, or superseded by one that had read it.
fn nothing_is_lost(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    nodes: &[NodeIndex],
    original: NodeIndex,
) {
    let readers: Vec<NodeIndex> = nodes.iter().copied().filter(|node| *node != original).collect();
    let keys = workload.history.promised();
    let outcomes = workload.read_through(world, &keys, &readers, 8);
    let (mut acknowledged, mut lost) = (0, Vec::new());
    for (key, outcome) in keys.iter().zip(&outcomes) {
        let Some(read) = reading(outcome.as_ref()) else {
            lost.push(format!("{key:?} could not be read"));
            continue;
        };
        for write in workload.history.of(key).filter(|write| write.version().is_some()) {
            acknowledged += 1;
            if !workload.history.is_kept(write, read) {
                lost.push(format!("{key:?} of {} at {:?}", write.node, write.asked));
            }
        }
    }
    run.figure("acknowledged", Value::Count(acknowledged as u64));
    let rule = "nothing acknowledged is superseded unread";
    run.check(Check::none_of(rule, acknowledged, &lost));
}
