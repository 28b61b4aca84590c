//! Thirty of a hundred nodes vanish at once. Records with a surviving holder stay readable, and soon all have
//! their replicas again.

use potluck_base::Key;

use crate::check::Check;
use crate::check::replication::Census;
use crate::check::routing::Routing;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::{Workload, reading};
use crate::world::World;

pub(super) const MASS_FAILURE: Scenario = Scenario {
    name: "mass-failure",
    about: "30 % of the nodes vanish at once; records stay readable and get their replicas back",
    nodes: 200,
    nodes_min: 20,
    minutes: 3,
    must_fail: false,
    play: |run| play(run, 16),
};

pub(super) const MASS_FAILURE_R3: Scenario = Scenario {
    name: "mass-failure-r3",
    about: "the same with three replicas: some records are lost, about 0.3 to the third",
    nodes: 200,
    nodes_min: 20,
    minutes: 3,
    must_fail: false,
    play: |run| play(run, 3),
};

/// Records for each node.
const RECORDS: usize = 10;

fn play(run: &mut Run, r: u16) -> World {
    let mut config = run.config().replication(r);
    config.network.loss = 0.02;
    let mut world = World::new(config);
    let mut nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 200);
    workload.fill(&mut world, 0..RECORDS * run.nodes, 100);
    let keys: Vec<Key> = workload.history.keys().collect();
    let written = workload.history.acknowledged().count();
    run.check(Check::share("every write is acknowledged", written, keys.len(), 1.0));
    run.figure("write time", Value::times(workload.put_times()));
    world.run_for(STABILISATION / 2);
    let replicas = usize::from(r);
    let before = Census::take(&mut world);
    run.figure("largest share of one node", Value::Number(before.largest_share(&keys)));
    run.check(before.replication(&keys, replicas).check());

    run.rng.shuffle(&mut nodes);
    nodes.iter().take(run.nodes * 3 / 10).for_each(|node| world.crash(*node));
    let (alive, gone): (Vec<Key>, Vec<Key>) = keys
        .iter()
        .partition(|key| before.holders(key).iter().any(|node| world.node(*node).is_up()));
    run.figure("records lost with all their holders", Value::share(gone.len(), keys.len()));
    run.figure("expected share lost, 0.3^r", Value::Number(0.3_f64.powi(i32::from(r))));
    read_all(run, &mut world, &mut workload, &alive, "read at once");

    for interval in 1..=run.minutes.max(3) {
        world.run_for(STABILISATION);
        let replication = Census::take(&mut world).replication(&alive, replicas);
        let name = format!("records with all replicas after {interval} intervals");
        run.figure(name, Value::share(replication.full, replication.records));
        if interval == 3 {
            let check = replication.check();
            run.check(Check { name: "all replicas are back after three intervals", ..check });
        }
    }
    read_all(run, &mut world, &mut workload, &alive, "read in the end");
    let routing = Routing::sample(&mut world, &mut run.rng, 100);
    run.figure("lookups exact in the end", Value::share(routing.exact, routing.asked));
    run.check(routing.check(0.99));
    world
}

fn read_all(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    keys: &[Key],
    when: &'static str,
) {
    let outcomes = workload.read(world, keys, 200);
    let mut unread = Vec::new();
    let mut took = Vec::new();
    for (key, outcome) in keys.iter().zip(&outcomes) {
        let kept = reading(outcome.as_ref()).is_some_and(|reading| {
            workload.history.of(key).all(|write| workload.history.is_kept(write, reading))
        });
        took.extend(outcome.as_ref().map(crate::world::Outcome::took));
        if !kept {
            let reply = outcome.as_ref().and_then(|outcome| outcome.reply.as_ref());
            unread.push(format!("{key:?}: {reply:?}"));
        }
    }
    run.figure(when, Value::share(keys.len() - unread.len(), keys.len()));
    run.figure(format!("{when}: time"), Value::times(took));
    run.check(Check::none_of("what has a surviving holder is readable", keys.len(), &unread));
}
