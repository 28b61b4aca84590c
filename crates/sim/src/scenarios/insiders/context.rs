//! One member signs contexts that name invented writers, under its own key. All other members can still
//! write, merge and delete the record.

use potluck_node::WriteContext;
use potluck_record::limits::CONTEXT_ENTRIES_MAX;

use super::{SETTLE, record_name};
use crate::check::Check;
use crate::check::mergeable;
use crate::hostile::Replica;
use crate::hostile::forge::{Forger, Shape};
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::{Draft, Workload, key, reading};
use crate::world::World;

pub(in crate::scenarios) const INSIDER_CONTEXT: Scenario = Scenario {
    name: "insider-context",
    about: "a member's context names 127 writers that never were; all still merge and delete",
    nodes: 10,
    nodes_min: 6,
    minutes: 1,
    must_fail: false,
    play,
};

const RECORDS: usize = 6;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(4).invite());
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    for record in 0..RECORDS {
        for node in &nodes[..3] {
            workload.put(&mut world, *node, record, WriteContext::Blind);
        }
    }
    workload.finish(&mut world, STABILISATION);

    let evil = world.hostile();
    world.hostile_manners(evil, Replica::new());
    world.hostile_joins(&[evil]);
    let mut forger = Forger::new(run.rng.next_u64());
    for record in 0..RECORDS {
        let envelope = world.hostile_me(evil, |me| {
            let context = forger.invented_context(me, CONTEXT_ENTRIES_MAX - 1);
            let shape = Shape { bytes: 16, context, ahead_ms: 0 };
            forger.envelope(me, me.identity, &record_name(record), shape).encode()
        });
        for node in &nodes {
            world.hostile_store(evil, *node, vec![envelope.clone()]);
        }
    }
    world.run_for(SETTLE);
    run.check(mergeable::check(&mut world));

    let (mut broken, mut tried) = (Vec::new(), 0);
    for (round, node) in nodes.iter().take(2 * RECORDS).enumerate() {
        let record = round % RECORDS;
        let outcome =
            workload.read_through(&mut world, &[key(record)], &[*node], 1).pop().flatten();
        let Some(read) = reading(outcome.as_ref()) else {
            broken.push(format!("{node} cannot read record {record}"));
            continue;
        };
        // As a client does: the context is printed as text and parsed again.
        let Ok(context) = read.context.to_string().parse() else {
            broken.push(format!("the context of record {record} is refused as it was printed"));
            continue;
        };
        // A deleted record cannot be deleted again, so each record is deleted last.
        let value = (round < RECORDS).then(|| workload.fresh_value());
        let draft = Draft { kind: None, value, context: WriteContext::Given(context) };
        let index = workload.write(&mut world, *node, record, draft);
        workload.finish(&mut world, STABILISATION);
        tried += 1;
        let write = &workload.history.writes()[index];
        if write.version().is_none() {
            broken.push(format!("{node} cannot merge record {record}: {:?}", write.end));
        }
    }
    run.check(Check::none_of("every member merges and deletes", tried, &broken));
    world
}
