//! A machine sleeps for ten minutes and wakes up at another address. It declares no node dead, no node
//! declares it dead again, and its operations work within seconds.

use std::time::Duration;

use potluck_base::Instant;
use potluck_gossip::Change;
use potluck_node::{Event, WriteContext};

use super::publications::Publications;
use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, reading};
use crate::world::World;

pub(super) const SLEEP: Scenario = Scenario {
    name: "sleep",
    about: "machines sleep for 10 min and wake elsewhere; no false verdict, traffic back in 5 s",
    nodes: 60,
    nodes_min: 12,
    minutes: 10,
    must_fail: false,
    play,
};

/// Time within which everything works again.
const BACK: Duration = Duration::from_secs(5);

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(5));
    let mut nodes = run.form(&mut world);
    let mut publications = Publications::new("sleep");
    publications.subscribe(&mut world, &nodes, STABILISATION / 6);
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    workload.fill(&mut world, 0..run.nodes, 50);
    world.run_for(2 * STABILISATION);
    run.rng.shuffle(&mut nodes);
    let (sleepers, awake) = nodes.split_at((run.nodes / 30).max(1));

    sleepers.iter().for_each(|node| world.pause(*node, run.length()));
    world.run_for(run.length() + Duration::from_millis(1));
    let woke = world.now();
    sleepers.iter().for_each(|node| {
        world.change_address(*node);
    });
    // Each sleeper publishes and reads at once, and a node that was awake publishes.
    let first = publications.len();
    for node in sleepers {
        publications.publish(&mut world, *node);
    }
    publications.publish(&mut world, awake[0]);
    let keys: Vec<_> = workload.history.promised().into_iter().take(sleepers.len()).collect();
    let reads: Vec<_> = keys
        .iter()
        .zip(sleepers)
        .map(|(key, node)| {
            let command = potluck_node::Command::Get { key: *key, quorum: None };
            world.command(*node, command)
        })
        .collect();
    world.run_for(BACK);
    publications.collect(&mut world);
    let read = reads
        .into_iter()
        .filter(|read| {
            let outcome = world.outcome(*read);
            reading(outcome.as_ref()).is_some_and(|reading| !reading.values.is_empty())
        })
        .count();
    run.check(Check::share("a sleeper reads within 5 s", read, sleepers.len(), 1.0));
    let reach = publications.reach(&world, first..publications.len(), &nodes);
    let (got, wanted) = (reach.within(BACK), reach.wanted);
    run.figure("delivered within 5 s of waking", Value::share(got, wanted));
    run.figure("and how long it took", Value::times(reach.times));
    let missing = publications.missing(&world, first..publications.len(), &nodes);
    run.check(Check::none_of("messages of and to a sleeper arrive in 5 s", wanted, &missing));
    run.check(publications.none_twice(&world, &nodes));

    // Written by the sleeper at its new address, and read by the others.
    let number = workload.history.writes().len();
    workload.put(&mut world, sleepers[0], number, WriteContext::Read);
    world.run_for(STABILISATION);
    workload.finish(&mut world, STABILISATION);
    let (by, of) = verdicts(&world, woke, sleepers);
    run.check(Check::none_of("a sleeper takes no healthy node for dead", sleepers.len(), &by));
    run.check(Check::none_of("nobody takes who woke for dead", awake.len(), &of));
    world
}

/// Deaths reported from `since` on: by the sleepers, and of the sleepers by others.
fn verdicts(world: &World, since: Instant, sleepers: &[NodeIndex]) -> (Vec<String>, Vec<String>) {
    let (mut by, mut of) = (Vec::new(), Vec::new());
    for node in world.live() {
        for (at, event) in world.member_events(node).filter(|(at, _)| *at >= since) {
            let Event::Member(event) = event else { continue };
            let subject = world.find(&event.peer.id);
            let Some(subject) = subject.filter(|_| event.change == Change::Died) else { continue };
            let line = format!("{node} buried {subject} {:?} after", at.since(since));
            if sleepers.contains(&node) && !sleepers.contains(&subject) {
                by.push(line);
            } else if sleepers.contains(&subject) {
                of.push(line);
            }
        }
    }
    (by, of)
}
