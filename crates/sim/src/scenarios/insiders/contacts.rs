//! One member answers lookups with invented nodes, all at the address of an uninvolved machine.

use std::time::Duration;

use potluck_base::Key;

use crate::check::Check;
use crate::hostile::Reflector;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, key};
use crate::world::World;

pub(in crate::scenarios) const CONTACTS: Scenario = Scenario {
    name: "contacts",
    about: "a member names nodes that never were at a bystander's address; it gets few bytes",
    nodes: 16,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

/// Reads of existing records, before and during the attack.
const READS: usize = 40;
/// The number of that machine among the outside addresses.
const BYSTANDER: u16 = 9;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(4));
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    workload.fill(&mut world, 0..READS, 10);
    let evil = world.hostile();
    world.hostile_manners(evil, crate::hostile::Replica::new());
    world.hostile_joins(&[evil]);
    let calm = read(&mut world, &mut workload, nodes[1]);

    let at = world.stranger(BYSTANDER);
    let seed = run.rng.next_u64();
    world.hostile_manners(evil, Reflector::new(at, seed));
    let (sent, got) = (world.hostile_stats(evil), world.stranger_stats(at));
    let hot = read(&mut world, &mut workload, nodes[1]);
    let spent = world.hostile_stats(evil).traffic.since(&sent.traffic).bytes_out;
    let bytes = world.stranger_stats(at).received_bytes - got.received_bytes;
    run.figure("bytes of the member's answers", Value::Count(spent));
    run.figure("bytes to the bystander", Value::Count(bytes));
    let asked = world.hostile_stats(evil).came - sent.came;
    run.check(Check::new("the member is asked", asked > 0, format!("{asked} requests")));
    let detail = format!("{bytes} bytes to the bystander for {spent} of answers");
    run.check(Check::new("nothing is amplified", bytes <= spent, detail));
    let half = |times: &[Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    };
    let (before, during) = (half(&calm), half(&hot));
    run.figure("get time before", Value::times(calm.clone()));
    run.figure("get time meanwhile", Value::times(hot.clone()));
    let all = hot.len() == READS && calm.len() == READS;
    let detail = format!("{before:?} before, {during:?} meanwhile, {} read", hot.len());
    run.check(Check::new(
        "gets take at most three times as long",
        all && during <= 3 * before,
        detail,
    ));
    world
}

/// Reads all records through one node, one after the other. Returns the time of each that was found.
fn read(world: &mut World, workload: &mut Workload, node: NodeIndex) -> Vec<Duration> {
    let keys: Vec<Key> = (0..READS).map(key).collect();
    let outcomes = workload.read_through(world, &keys, &[node], 1);
    let found = outcomes.into_iter().flatten().filter(|outcome| {
        crate::workload::reading(Some(outcome)).is_some_and(|read| !read.values.is_empty())
    });
    found.map(|outcome| outcome.took()).collect()
}
