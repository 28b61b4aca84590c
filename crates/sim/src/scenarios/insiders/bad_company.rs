//! One in five members is malicious, each in another way. The others read and write as before.

use std::time::Duration;

use super::{record_name, write_and_read};
use crate::check::Check;
use crate::hostile::{
    Delayer, Dropper, Equivocator, FreeRider, Inflator, Liar, Lie, Manners, Replayer, Replica,
};
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::scenarios::members::deaths;
use crate::workload::{Workload, key};
use crate::world::World;

pub(in crate::scenarios) const BAD_COMPANY: Scenario = Scenario {
    name: "bad-company",
    about: "one in five members drops, delays, replays, equivocates, inflates, lies or gives nothing",
    nodes: 30,
    nodes_min: 24,
    minutes: 1,
    must_fail: false,
    play,
};

const RECORDS: usize = 30;

/// The behaviour of malicious member number `number`, and its name.
fn manners(number: usize, seed: u64) -> (&'static str, Box<dyn Manners>) {
    let replica = Replica::new;
    let late = Duration::from_millis(1_500);
    match number % 8 {
        0 => ("dropper", Box::new(Dropper::new(replica(), 0.7, seed))),
        1 => ("delayer", Box::new(Delayer::new(replica(), late))),
        2 => ("replayer", Box::new(Replayer::new(replica()))),
        3 => ("equivocator", Box::new(Equivocator::new(key(0), &record_name(0)))),
        4 => ("inflator", Box::new(Inflator::new(replica(), 1 << 50, seed))),
        5 => ("free rider", Box::new(FreeRider::new(replica()))),
        6 => ("hollow liar", Box::new(Liar::new(Lie::Hollow, seed))),
        _ => ("absent liar", Box::new(Liar::new(Lie::Absent, seed))),
    }
}

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(8));
    let nodes = run.form(&mut world);
    let mut deviants = Vec::new();
    for number in 0..run.nodes / 4 {
        let deviant = world.hostile();
        let (name, manners) = manners(number, run.rng.next_u64());
        world.hostile_manners(deviant, manners);
        deviants.push((name, deviant));
    }
    let who: Vec<_> = deviants.iter().map(|(_, deviant)| *deviant).collect();
    world.hostile_joins(&who);
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    // The equivocator's own record is left out, because any of its versions there is right.
    let records = (1..=RECORDS).chain(1..=RECORDS);
    let wrong = write_and_read(run, &mut world, &mut workload, &nodes, records);
    run.figure("writes took", Value::times(workload.put_times()));
    let mut unasked = Vec::new();
    for (name, deviant) in &deviants {
        let stats = world.hostile_stats(*deviant);
        if stats.came == 0 {
            unasked.push(format!("the {name} was never asked"));
        }
    }
    run.check(Check::none_of("each deviant is asked", deviants.len(), &unasked));
    wrong.check(run, ["all puts are acknowledged", "all gets show the last put"]);
    run.check(Check::none_of(
        "no honest node is taken for dead",
        nodes.len(),
        &deaths(&world, |_| true),
    ));
    world
}
