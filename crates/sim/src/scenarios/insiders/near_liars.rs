//! Three of a record's sixteen replicas are members that chose ids next to its key and give false answers.

use super::{Wrong, record_name, write_and_read};
use crate::check::Check;
use crate::hostile::{Liar, Lie};
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::workload::{Workload, key};
use crate::world::World;

pub(in crate::scenarios) const NEAR_LIARS: Scenario = Scenario {
    name: "near-liars",
    about: "3 of 16 replicas lie (absent, stale, inflated, ahead); 1,000 reads and writes are right",
    nodes: 24,
    nodes_min: 20,
    minutes: 5,
    must_fail: false,
    play,
};

/// The false answers that the three give at the same time.
const ROUNDS: [[Lie; 3]; 5] = [
    [Lie::Absent, Lie::Stale, Lie::Inflated],
    [Lie::Absent, Lie::Absent, Lie::Absent],
    [Lie::Stale, Lie::Stale, Lie::Stale],
    [Lie::Inflated, Lie::Inflated, Lie::Inflated],
    [Lie::Ahead, Lie::Ahead, Lie::Ahead],
];
/// Writes, each with a read, in a round for each minute of the run.
const WRITES: usize = 20;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().invite());
    let nodes = run.form(&mut world);
    let peers = world.peers(&nodes);
    let mut liars = Vec::new();
    while liars.len() < ROUNDS[0].len() {
        let Some(identity) = world.grind(&key(0), &peers) else { break };
        liars.push(world.hostile_as(identity, None));
    }
    run.check(Check::new("three liars are next to the key", liars.len() == 3, ""));
    for (liar, lie) in liars.iter().zip(ROUNDS[0]) {
        world.hostile_manners(*liar, Liar::new(lie, 1).knows_name(key(0), &record_name(0)));
    }
    world.hostile_joins(&liars);
    let writes = WRITES * run.minutes as usize;
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    let mut all = Wrong::default();
    for (round, lies) in ROUNDS.into_iter().enumerate() {
        for (liar, lie) in liars.iter().zip(lies) {
            let seed = run.rng.next_u64();
            world.hostile_manners(*liar, Liar::new(lie, seed).knows_name(key(0), &record_name(0)));
        }
        let records = std::iter::repeat_n(0, writes);
        let wrong = write_and_read(run, &mut world, &mut workload, &nodes, records);
        let count = wrong.puts.len() + wrong.gets.len();
        let lies = format!("{lies:?}").to_lowercase();
        run.figure(format!("round {round}, wrong of {}: {lies}", 2 * writes), Value::count(count));
        all.add(wrong);
    }
    let heard: u64 = liars.iter().map(|liar| world.hostile_stats(*liar).came).sum();
    run.figure("requests that the liars answered", Value::Count(heard));
    run.check(Check::new("the liars are asked", heard > 100, format!("{heard} requests")));
    all.check(run, ["all puts are acknowledged", "all gets show the last put"]);
    world
}
