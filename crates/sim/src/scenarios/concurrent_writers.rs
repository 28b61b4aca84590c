//! Several clients write the same key at the same moment, through one node and through several. No
//! acknowledged write is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::Key;
use potluck_node::WriteContext;
use potluck_record::Kind;

use crate::batch::pick;
use crate::check::Check;
use crate::check::convergence::{readers_agree, replicas_agree};
use crate::check::durability::Durability;
use crate::check::effort::Effort;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::{Draft, Workload, key, reading};
use crate::world::World;

pub(super) const CONCURRENT_WRITERS: Scenario = Scenario {
    name: "concurrent-writers",
    about: "clients of one node and of several write the same keys at once; nothing is lost",
    nodes: 30,
    nodes_min: 6,
    minutes: 1,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 5;
/// Writes to one key at once: two through one node, two through others.
const WRITERS: usize = 4;
/// Signature checks of all nodes for one write or read, including all background work: each of the five
/// replicas checks the envelope of a write, and readers check envelopes that they see for the first time.
/// Raising it hides that an operation became more expensive.
const CHECKS_MAX: f64 = 8.0;
/// Nodes through which every record is read at the end.
const READERS: usize = 3;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(REPLICAS));
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 48).recorded();
    let records = 2 * run.nodes;
    let effort = Effort::begin(&world);
    for number in 0..records {
        let shared = pick(&mut run.rng, &nodes);
        let others = [pick(&mut run.rng, &nodes), pick(&mut run.rng, &nodes)];
        // One third of the writes is blind, one third reads first, and one third is last writer wins.
        let (kind, context) = match number % 3 {
            0 => (None, WriteContext::Blind),
            1 => (None, WriteContext::Read),
            _ => (Some(Kind::Lww), WriteContext::Read),
        };
        for node in [shared, shared, others[0], others[1]] {
            let draft =
                Draft { kind, value: Some(workload.fresh_value()), context: context.clone() };
            workload.write(&mut world, node, number, draft);
        }
        world.run_for(Duration::from_millis(200));
        workload.collect(&mut world);
        // Records that were just written, through other nodes, while writes continue.
        let recent: Vec<Key> = (number.saturating_sub(3)..=number).map(key).collect();
        workload.read(&mut world, &recent, recent.len());
    }
    workload.finish(&mut world, STABILISATION);
    // Each record is written four times and read four times.
    run.check(effort.check(&world, 8 * records, CHECKS_MAX));
    let failed: Vec<String> = workload
        .history
        .writes()
        .iter()
        .filter(|write| write.version().is_none() && write.context == WriteContext::Blind)
        .map(|write| format!("{}: {:?}", write.node, write.end))
        .collect();
    run.check(Check::none_of("blind writes are acknowledged", records / 3 * WRITERS, &failed));
    let written = workload.history.acknowledged().count();
    run.figure("writes acknowledged", Value::share(written, workload.history.writes().len()));
    world.run_for(run.length());

    let keys: Vec<Key> = (0..records).map(key).collect();
    run.check(replicas_agree(&mut world, &keys, REPLICAS.into()));
    let agree = readers_agree(&mut world, &mut run.rng, &keys, 3);
    run.check(agree);
    let outcomes = workload.read(&mut world, &keys, 50);
    let readings: BTreeMap<_, _> = (0..records)
        .filter(|number| number % 3 != 2)
        .map(|number| (key(number), reading(outcomes[number].as_ref()).cloned()))
        .collect();
    let seen = Durability::of_readings(&mut world, &workload.history, &readings);
    run.check(seen.check("no acknowledged value is lost"));
    let several: Vec<String> = (0..records)
        .filter(|number| number % 3 == 2)
        .filter_map(|number| {
            let values = reading(outcomes[number].as_ref()).map(|read| read.values.len());
            (values != Some(1)).then(|| format!("{:?} has {values:?} values", key(number)))
        })
        .collect();
    run.check(Check::none_of("where the last one wins there is one", records / 3, &several));
    run.check(workload.judge(&mut world, &nodes[..READERS], REPLICAS));
    world
}
