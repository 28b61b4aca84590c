//! Malicious members: what one admitted identity, or a few, can do to the others, and that the others keep
//! working. Each file is an attack that once succeeded. `tests/defences.rs` names the defence against it and
//! runs it with the defence disabled.

mod bad_company;
mod contacts;
mod context;
mod cpu;
mod crowded;
mod drip;
mod eclipse;
mod full_rate;
mod hog;
mod misplaced;
mod near_liars;
mod news;
mod offer;
mod replayed;
mod rollback;
mod sybils;
mod writers;

use std::time::Duration;

use potluck_base::Key;
use potluck_node::WriteContext;

use crate::batch::pick;
use crate::check::Check;
use crate::scenario::{Run, STABILISATION};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, reading};
use crate::world::World;

pub(super) use bad_company::BAD_COMPANY;
pub(super) use contacts::CONTACTS;
pub(super) use context::INSIDER_CONTEXT;
pub(super) use cpu::INSIDER_CPU;
pub(super) use crowded::CROWDED_KEY;
pub(super) use drip::{DRIP, WRONG_SIZE};
pub(super) use eclipse::ECLIPSE;
pub(super) use full_rate::INSIDER_FULL_RATE;
pub(super) use hog::HOG;
pub(super) use misplaced::INSIDER_MISPLACED;
pub(super) use near_liars::NEAR_LIARS;
pub(super) use news::INSIDER_NEWS;
pub(super) use offer::INSIDER_OFFER;
pub(super) use replayed::REPLAYED_TOPIC;
pub(super) use rollback::ROLLBACK;
pub(super) use sybils::SYBIL_NEAR;
pub(super) use writers::INSIDER_WRITERS;

/// The failures in a series of operations.
#[derive(Debug, Default)]
struct Wrong {
    operations: usize,
    puts: Vec<String>,
    gets: Vec<String>,
}

impl Wrong {
    fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.puts.extend(other.puts);
        self.gets.extend(other.gets);
    }

    fn check(&self, run: &mut Run, names: [&'static str; 2]) {
        run.check(Check::none_of(names[0], self.operations / 2, &self.puts));
        run.check(Check::none_of(names[1], self.operations / 2, &self.gets));
    }
}

/// Writes these records one after the other, and reads each through another node. A write is right if it is
/// acknowledged, a read if it returns the last write and nothing else.
fn write_and_read(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    nodes: &[NodeIndex],
    records: impl IntoIterator<Item = usize>,
) -> Wrong {
    let mut wrong = Wrong::default();
    for record in records {
        let writer = pick(&mut run.rng, nodes);
        let index = workload.put(world, writer, record, WriteContext::Read);
        workload.finish(world, STABILISATION);
        let write = workload.history.writes()[index].clone();
        wrong.operations += 2;
        if write.version().is_none() {
            wrong.puts.push(format!("{writer} to record {record}: {:?}", write.end));
            continue;
        }
        let reader = pick(&mut run.rng, nodes);
        let outcome = workload.read_through(world, &[write.key], &[reader], 1).pop().flatten();
        let seen = reading(outcome.as_ref()).map(|read| {
            let values: Vec<_> = read.values.iter().map(|value| value.bytes.clone()).collect();
            values
        });
        if seen != Some(write.value.clone().into_iter().collect()) {
            let reply = outcome.map(|outcome| outcome.reply);
            let shown = seen.map(|values| values.len());
            wrong.gets.push(format!("{reader} saw {shown:?} values of record {record}: {reply:?}"));
        }
    }
    wrong
}

/// The names of records in a workload.
fn record_name(number: usize) -> String {
    crate::workload::name(number).as_str().to_owned()
}

/// The live nodes, closest to a key first.
fn by_distance(world: &World, key: &Key) -> Vec<NodeIndex> {
    let mut live = world.live();
    live.sort_by_key(|node| world.node(*node).peer().distance(key));
    live
}

/// Time for requests in calls to complete.
const SETTLE: Duration = Duration::from_secs(5);
