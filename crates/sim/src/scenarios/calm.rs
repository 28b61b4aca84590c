//! Nothing is wrong: what a read and a write cost then. No defence may make them dearer.

use potluck_node::WriteContext;

use crate::check::Check;
use crate::check::bounds::stats;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, key, reading};
use crate::world::World;

pub(super) const CALM: Scenario = Scenario {
    name: "calm",
    about: "what a read and a write cost while nothing is wrong",
    nodes: 80,
    nodes_min: 20,
    minutes: 1,
    must_fail: false,
    play,
};

/// Records that are written and read in each minute of the run.
const RECORDS: usize = 100;

/// Requests of all lookups so far, and lookups that were repeated more widely.
fn asked(world: &mut World) -> (u64, u64) {
    let all = stats(world);
    let queries = all.iter().map(|(_, stats)| stats.dht.queries_sent).sum();
    (queries, all.iter().map(|(_, stats)| stats.kv.lookups_widened).sum())
}

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config());
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    let count = RECORDS * run.minutes as usize;
    let at = |number: usize, step: usize| -> NodeIndex { nodes[number * step % nodes.len()] };
    let begin = asked(&mut world);
    for number in 0..count {
        workload.put(&mut world, at(number, 7), number, WriteContext::Read);
        workload.finish(&mut world, STABILISATION);
    }
    let written = asked(&mut world);
    let mut wrong = Vec::new();
    for number in 0..count {
        let reader = at(number, 13);
        let found = workload.read_through(&mut world, &[key(number)], &[reader], 1);
        let values = found.first().and_then(|one| reading(one.as_ref())).map(|it| it.values.len());
        if values != Some(1) {
            wrong.push(format!("{reader} read {values:?} values of record {number}"));
        }
    }
    let read = asked(&mut world);
    for (name, before, after) in [("a put", begin, written), ("a get", written, read)] {
        let each = (after.0 - before.0) as f64 / count as f64;
        run.figure(format!("requests of the lookup of {name}"), Value::Number(each));
    }
    let widened = read.1 - begin.1;
    run.figure("lookups that were repeated", Value::Count(widened));
    run.check(Check::none_of("all gets show what was put", count, &wrong));
    let few = widened * 100 <= 2 * count as u64;
    run.check(Check::new("few lookups are repeated", few, format!("{widened} of {}", 2 * count)));
    world
}
