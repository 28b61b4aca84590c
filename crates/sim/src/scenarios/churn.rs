//! Nodes join and leave all the time while others write and read.

use std::time::Duration;

use potluck_base::Key;
use potluck_node::{CommandError, Reply, WriteContext};

use crate::batch::pick;
use crate::check::Check;
use crate::check::durability::Durability;
use crate::check::replication::Census;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::{Workload, key, reading};
use crate::world::World;

pub(super) const CHURN: Scenario = Scenario {
    name: "churn",
    about: "every node is replaced within ten minutes on average, half of them without a good-bye",
    nodes: 100,
    nodes_min: 20,
    minutes: 5,
    must_fail: false,
    play,
};

/// Average time that a node stays. It is much shorter than the hours that were measured for private machines.
const STAY: Duration = Duration::from_secs(600);

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(8));
    run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 100);
    let records = 3 * run.nodes;
    workload.fill(&mut world, 0..records, 50);

    let (mut reads, mut good_reads, mut departures) = (0, 0, 0);
    let mut missed = Vec::new();
    let end = world.now() + run.length();
    while world.now() < end {
        let chance = run.nodes as f64 / STAY.as_secs_f64();
        if run.rng.chance(chance) {
            let leaver = pick(&mut run.rng, &world.live());
            match run.rng.chance(0.5) {
                true => world.crash(leaver),
                false => {
                    world.leave(leaver);
                }
            }
            world.grow(1, Duration::ZERO);
            departures += 1;
        }
        let asker = pick(&mut run.rng, &world.live());
        let number = run.rng.below(records as u64) as usize;
        workload.put(&mut world, asker, number, WriteContext::Read);
        let keys: Vec<Key> = (0..5).map(|_| key(run.rng.below(records as u64) as usize)).collect();
        let before: Vec<bool> = keys.iter().map(|key| is_written(&workload, key)).collect();
        let outcomes = workload.read(&mut world, &keys, 5);
        for (outcome, written) in outcomes.iter().zip(before) {
            // A reader that dies or leaves gets no answer, and that is no failure.
            let answer = outcome.as_ref().and_then(|outcome| outcome.reply.as_ref());
            // A reader that has not joined yet returns an error instead of a guess.
            let was_up = answer != Some(&Reply::Failed(CommandError::Leaving))
                && answer != Some(&Reply::Failed(CommandError::NotJoined));
            if answer.is_some() && was_up && written {
                reads += 1;
                let found = reading(outcome.as_ref()).is_some_and(|read| !read.values.is_empty());
                good_reads += usize::from(found);
                if !found {
                    missed.push(format!("{answer:?}"));
                }
            }
        }
        world.run_for(Duration::from_secs(1));
        workload.collect(&mut world);
    }
    workload.finish(&mut world, Duration::from_secs(30));
    run.figure("nodes that went and came", Value::count(departures));
    run.figure("reads that found the record", Value::share(good_reads, reads));
    run.check(Check::none_of("reads find their records", reads, &missed));
    settle(run, &mut world, &workload);
    world
}

fn is_written(workload: &Workload, key: &Key) -> bool {
    workload.history.of(key).any(|write| write.version().is_some())
}

fn settle(run: &mut Run, world: &mut World, workload: &Workload) {
    world.run_for(3 * STABILISATION);
    let durability = Durability::of_disks(world, &workload.history);
    run.figure("acknowledged writes", Value::count(durability.acknowledged));
    run.figure("of these, lost with all who held them", Value::count(durability.lost_unprotected));
    run.check(durability.check("an acknowledged write with a living holder is kept"));
    let keys = workload.history.promised();
    let census = Census::take(world).replication(&keys, 8);
    run.figure("replicas per record", Value::Number(census.replicas as f64 / keys.len() as f64));
    run.check(census.check());
}
