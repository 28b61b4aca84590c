//! One member stores ten times its share of all disks, so that they are full. The records of other members
//! stay and find room.

use std::time::Duration;

use potluck_base::Key;

use super::write_and_read;
use crate::check::Check;
use crate::hostile::Replica;
use crate::hostile::forge::{Forger, Shape};
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::workload::{Workload, key, reading};
use crate::world::World;

pub(in crate::scenarios) const HOG: Scenario = Scenario {
    name: "hog",
    about: "a member stores ten times its share of the disks; the others' records find room",
    nodes: 12,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 3;
/// The size of each disk.
const DISK_BYTES: u64 = 2 * 1024 * 1024;
/// Bytes of the value of one record of the malicious member.
const RECORD_BYTES: usize = 60 * 1024;
/// Bytes of the value of a record of the others.
const OTHERS_BYTES: usize = 24 * 1024;

fn play(run: &mut Run) -> World {
    let mut config = run.config().replication(REPLICAS).invite();
    config.disk.bytes = Some(DISK_BYTES);
    let mut world = World::new(config);
    let nodes = run.form(&mut world);
    let hog = world.hostile();
    world.hostile_manners(hog, Replica::new());
    world.hostile_joins(&[hog]);
    let members = nodes.len() as u64 + 1;
    let share = DISK_BYTES * nodes.len() as u64 / members;
    let records = (10 * share / u64::from(REPLICAS)) as usize / RECORD_BYTES;
    // The others use a quarter of their shares before, so that the malicious member's records fill most
    // disks.
    let mut workload = Workload::new(run.rng.fork("workload"), OTHERS_BYTES);
    let others = share * nodes.len() as u64 / 4 / u64::from(REPLICAS);
    let earlier = others as usize / OTHERS_BYTES;
    workload.fill(&mut world, 0..earlier, 10);
    let mut forger = Forger::new(run.rng.next_u64());
    for number in 0..records {
        let name = format!("hoard {number}");
        let envelope = world.hostile_me(hog, |me| {
            let shape = Shape { bytes: RECORD_BYTES, ..Shape::default() };
            forger.envelope(me, me.identity, &name, shape)
        });
        let key = envelope.head().key();
        for node in super::by_distance(&world, &key).into_iter().take(REPLICAS.into()) {
            world.hostile_store(hog, node, vec![envelope.encode()]);
        }
        world.run_for(Duration::from_millis(50));
    }
    let bytes = records * RECORD_BYTES * usize::from(REPLICAS);
    run.figure("bytes that the hog stored, of its share", Value::share(bytes, share as usize));
    let full = nodes
        .iter()
        .filter(|node| world.node(**node).disk.stats().row_bytes * 10 >= DISK_BYTES * 8)
        .count();
    run.figure("disks that are full", Value::share(full, nodes.len()));
    let many = full >= nodes.len() / 3;
    run.check(Check::new("disks are full", many, format!("{full} of {}", nodes.len())));
    let wrong = write_and_read(run, &mut world, &mut workload, &nodes, earlier..earlier + 60);
    wrong.check(run, ["all puts of the others are acknowledged", "all gets show them"]);
    let keys: Vec<Key> = (0..earlier).map(key).collect();
    let outcomes = workload.read_through(&mut world, &keys, &nodes, 20);
    let gone: Vec<String> = keys
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| reading(outcome.as_ref()).is_none_or(|read| read.values.is_empty()))
        .map(|(key, _)| format!("{key:?} is gone"))
        .collect();
    run.check(Check::none_of("what the others stored before is read", earlier, &gone));
    world
}
