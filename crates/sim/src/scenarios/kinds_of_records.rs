//! All sorts of records during crashes: deleted, with a time to live, with one owner, named by their content.
//! Deleted and expired records stay gone, and all others are there.

use std::collections::BTreeMap;
use std::time::Duration;

use potluck_base::{Key, PublicKey};
use potluck_node::WriteContext;
use potluck_record::Space;

use crate::batch::pick;
use crate::check::Check;
use crate::check::durability::Durability;
use crate::check::replication::Census;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::torment::{Torment, Tormentor};
use crate::workload::{Draft, PutPlace, Terms, Workload, Write, WriteEnd, reading};
use crate::world::World;

pub(super) const KINDS_OF_RECORDS: Scenario = Scenario {
    name: "kinds-of-records",
    about: "deletes, times to live, own and content records under crashes; the gone stay gone",
    nodes: 30,
    nodes_min: 12,
    minutes: 2,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 5;
/// Interval of the random faults.
const STRIKE: Duration = Duration::from_micros(37_013);
/// Records of each kind, for each node.
const RECORDS: usize = 2;

/// The fate of a record in this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    Deleted,
    Expires,
    Own,
    Content,
}

const FATES: [Fate; 5] = [Fate::Stays, Fate::Deleted, Fate::Expires, Fate::Own, Fate::Content];

fn fate(number: usize) -> Fate {
    FATES[number % FATES.len()]
}

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(REPLICAS));
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    let records = FATES.len() * RECORDS * run.nodes;
    // It expires after the crashes, and not before.
    let ttl = run.length() + 2 * STABILISATION;
    for number in 0..records {
        first_write(&mut world, &mut workload, &nodes, number, ttl);
        if number % 20 == 19 {
            workload.finish(&mut world, STABILISATION);
        }
    }
    workload.finish(&mut world, STABILISATION);
    let unwritten = unacknowledged(workload.history.writes());
    run.check(Check::none_of("a record of any kind is written", records, &unwritten));
    all_are_read(run, &mut world, &mut workload);

    change_under_crashes(run, &mut world, &mut workload, &nodes);
    world.run_for(3 * STABILISATION);
    let durability = Durability::of_disks(&mut world, &workload.history);
    run.figure("acknowledged writes", Value::count(durability.acknowledged));
    run.check(durability.check("acknowledged writes of any kind are kept"));
    judge_own_and_content(run, &mut world, &mut workload);
    deleted_stay_deleted(run, &mut world, &mut workload);
    // The last one has expired by now, and each node has swept its disk since.
    world.run_for(ttl);
    expired_are_gone(run, &mut world, &mut workload);
    deleted_stay_deleted(run, &mut world, &mut workload);
    world
}

/// The owner of an own record, which alone may write it.
fn owner(nodes: &[NodeIndex], number: usize) -> NodeIndex {
    nodes[number % nodes.len()]
}

/// Writes record `number` for the first time. A record that is to expire lives for `life`.
fn first_write(
    world: &mut World,
    workload: &mut Workload,
    nodes: &[NodeIndex],
    number: usize,
    life: Duration,
) {
    let (place, ttl) = match fate(number) {
        Fate::Stays | Fate::Deleted => (PutPlace::Commons, None),
        Fate::Expires => (PutPlace::Commons, Some(life)),
        Fate::Own => (PutPlace::Own, None),
        Fate::Content => (PutPlace::Content, None),
    };
    let value = Some(workload.fresh_value());
    let draft = Draft { kind: None, value, context: WriteContext::Read };
    workload.write_on(world, owner(nodes, number), number, Terms { place, ttl }, draft);
}

fn unacknowledged(writes: &[Write]) -> Vec<String> {
    let failed = writes.iter().filter(|write| write.version().is_none());
    failed.map(|write| format!("{:?} by {}: {:?}", write.key, write.node, write.end)).collect()
}

/// Before anything expired or was deleted, each record is read with its first value.
fn all_are_read(run: &mut Run, world: &mut World, workload: &mut Workload) {
    let written: Vec<_> =
        workload.history.acknowledged().map(|write| (write.key, write.value.clone())).collect();
    let keys: Vec<Key> = written.iter().map(|(key, _)| *key).collect();
    let outcomes = workload.read(world, &keys, 50);
    let mut wrong = Vec::new();
    for ((key, value), outcome) in written.iter().zip(&outcomes) {
        let seen = reading(outcome.as_ref()).map(|read| read.values.as_slice());
        if !matches!(seen, Some([only]) if Some(&only.bytes) == value.as_ref()) {
            wrong.push(format!("{key:?}: {seen:?}"));
        }
    }
    run.check(Check::none_of("a record of any kind is read", keys.len(), &wrong));
}

/// Deletes, overwrites and adds records while nodes crash and restart.
fn change_under_crashes(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    nodes: &[NodeIndex],
) {
    let torment = Torment::crashes(1.0 / 60.0, Duration::from_secs(20), run.nodes / 4);
    let mut tormentor = Tormentor::new(torment, run.rng.fork("torment"));
    let records = FATES.len() * RECORDS * run.nodes;
    let end = world.now() + run.length();
    let mut content = records;
    while world.now() < end {
        let number = run.rng.below(records as u64) as usize;
        let value = Some(workload.fresh_value());
        let draft = Draft { kind: None, value, context: WriteContext::Read };
        match fate(number) {
            Fate::Stays => {
                let node = pick(&mut run.rng, &world.live());
                workload.write(world, node, number, draft);
            }
            Fate::Deleted => {
                let node = pick(&mut run.rng, &world.live());
                workload.delete(world, node, number);
            }
            // Its life was set once; a later write would extend it.
            Fate::Expires => {}
            Fate::Own => {
                let terms = Terms { place: PutPlace::Own, ttl: None };
                workload.write_on(world, owner(nodes, number), number, terms, draft);
            }
            Fate::Content => {
                let terms = Terms { place: PutPlace::Content, ttl: None };
                let node = pick(&mut run.rng, &world.live());
                workload.write_on(world, node, content, terms, draft);
                content += 1;
            }
        }
        tormentor.strike(world, nodes, STRIKE);
        world.run_for(STRIKE);
        workload.collect(world);
    }
    tormentor.mend(world);
    workload.finish(world, Duration::from_secs(30));
    run.figure("crashes", Value::Count(tormentor.crashes));
    run.figure("writes and deletes asked for", Value::count(workload.history.writes().len()));
}

/// An own record has only values of its owner, and content has the bytes that determine its key.
fn judge_own_and_content(run: &mut Run, world: &mut World, workload: &mut Workload) {
    let mut written: BTreeMap<Key, Option<PublicKey>> = BTreeMap::new();
    for write in workload.history.acknowledged() {
        match write.terms.place {
            PutPlace::Commons => {}
            PutPlace::Own => drop(written.insert(write.key, Some(write.writer))),
            PutPlace::Content => drop(written.insert(write.key, None)),
        }
    }
    let keys: Vec<Key> = written.keys().copied().collect();
    let outcomes = workload.read(world, &keys, 50);
    let (mut own, mut contents) = ((0, Vec::new()), (0, Vec::new()));
    for ((key, owner), outcome) in written.iter().zip(&outcomes) {
        let seen = reading(outcome.as_ref()).map(|read| read.values.as_slice());
        match owner {
            Some(owner) => {
                own.0 += 1;
                let right = |value: &potluck_record::Value| value.writer == *owner;
                if !seen.is_some_and(|seen| !seen.is_empty() && seen.iter().all(right)) {
                    own.1.push(format!("{key:?}: {seen:?}"));
                }
            }
            None => {
                contents.0 += 1;
                let right = matches!(seen, Some([one]) if Space::content_key(&one.bytes) == *key);
                if !right {
                    contents.1.push(format!("{key:?}: {seen:?}"));
                }
            }
        }
    }
    run.check(Check::none_of("an own record is its owner's", own.0, &own.1));
    run.check(Check::none_of("content is what its key says", contents.0, &contents.1));
}

/// A record that was certainly deleted, and not written again, is read as absent.
fn deleted_stay_deleted(run: &mut Run, world: &mut World, workload: &mut Workload) {
    let keys: Vec<Key> = workload
        .history
        .keys()
        .filter(|key| {
            let deleted = |write: &Write| write.value.is_none();
            let sure = |write: &Write| matches!(write.end, WriteEnd::Acknowledged { .. });
            let mut writes = workload.history.of(key).skip(1).peekable();
            writes.peek().is_some() && {
                let writes: Vec<&Write> = writes.collect();
                writes.iter().all(|write| deleted(write)) && writes.iter().any(|write| sure(write))
            }
        })
        .collect();
    let outcomes = workload.read(world, &keys, 50);
    let back: Vec<String> = keys
        .iter()
        .zip(&outcomes)
        .filter_map(|(key, outcome)| {
            let seen = reading(outcome.as_ref()).map(|read| read.values.len());
            (seen != Some(0)).then(|| format!("{key:?} has {seen:?} values"))
        })
        .collect();
    run.check(Check::none_of("what was deleted stays deleted", keys.len(), &back));
}

/// A record that has expired by every clock is read as absent, and no disk keeps it.
fn expired_are_gone(run: &mut Run, world: &mut World, workload: &mut Workload) {
    let now = world.now();
    let over = workload.history.acknowledged().filter(|write| write.must_have_expired(now));
    let keys: Vec<Key> = over.map(|write| write.key).collect();
    let outcomes = workload.read(world, &keys, 50);
    let census = Census::take(world);
    let mut there = Vec::new();
    for (key, outcome) in keys.iter().zip(&outcomes) {
        let seen = reading(outcome.as_ref()).map(|read| read.values.len());
        let holders = census.holders(key);
        if seen != Some(0) || !holders.is_empty() {
            there.push(format!("{key:?}: {seen:?} values read, held by {holders:?}"));
        }
    }
    run.check(Check::none_of("what is over is gone from readers and disks", keys.len(), &there));
}
