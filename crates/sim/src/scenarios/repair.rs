//! Three of ten nodes vanish at once. Measures how soon every record has all its replicas again, and how much
//! was transferred compared with what was missing.

use potluck_base::Key;

use crate::check::replication::Census;
use crate::check::{Check, bounds};
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::Workload;
use crate::world::World;

pub(super) const REPAIR: Scenario = Scenario {
    name: "repair",
    about: "30 % of the nodes vanish at once; what is moved to fill the replica sets again",
    nodes: 100,
    nodes_min: 30,
    minutes: 3,
    must_fail: false,
    play,
};

/// Records for each node.
const RECORDS: usize = 20;
const REPLICAS: u16 = 16;
/// Intervals in which every record must have its replicas again.
const INTERVALS: u64 = 3;
/// Records that may be pulled for each missing one.
const MOVED_MAX: f64 = 1.5;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(REPLICAS));
    let mut nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 200);
    workload.fill(&mut world, 0..RECORDS * run.nodes, 100);
    let keys: Vec<Key> = workload.history.keys().collect();
    world.run_for(2 * STABILISATION);
    let replicas = usize::from(REPLICAS);
    let before = Census::take(&mut world).replication(&keys, replicas);
    run.check(Check { name: "every record has its replicas before", ..before.check() });

    let quiet = Moved::during(&mut world, |world| world.run_for(STABILISATION));
    run.figure("records pulled in an interval before", Value::count(quiet.keys as usize));

    run.rng.shuffle(&mut nodes);
    nodes.iter().take(run.nodes * 3 / 10).for_each(|node| world.crash(*node));
    let after = Census::take(&mut world).replication(&keys, replicas);
    let missing = after.places - after.filled;
    run.check(Check::new("no record is lost", after.gone == 0, format!("{} lost", after.gone)));
    run.figure("copies that have to move", Value::count(missing));

    let mut full = None;
    let moved = Moved::during(&mut world, |world| {
        for interval in 1..=run.minutes.max(INTERVALS) {
            world.run_for(STABILISATION);
            let now = Census::take(world).replication(&keys, replicas);
            let name = format!("records with all replicas after {interval} intervals");
            run.figure(name, Value::share(now.full, now.records));
            if now.full == now.records && now.filled == now.places && full.is_none() {
                full = Some(interval);
            }
        }
    });
    let detail = format!("{full:?} intervals of at most {INTERVALS}");
    let soon = full.is_some_and(|interval| interval <= INTERVALS);
    run.check(Check::new("every record has all its replicas again", soon, detail));
    let ratio = moved.keys as f64 / missing.max(1) as f64;
    run.figure("records pulled", Value::count(moved.keys as usize));
    run.figure("for each copy that had to move", Value::Number(ratio));
    let detail = format!("{ratio:.2} for each, {MOVED_MAX} at most");
    let within = missing > 0 && (0.9..=MOVED_MAX).contains(&ratio);
    run.check(Check::new("little more is moved than has to", within, detail));
    run.figure("comparisons of replicas", Value::count(moved.comparisons as usize));
    run.figure("differences that comparisons found", Value::count(moved.differences as usize));
    let intervals = run.minutes.max(INTERVALS) as f64;
    let more = moved.bytes as f64 - quiet.bytes as f64 * 0.7 * intervals;
    run.figure("bytes sent beyond those of quiet intervals, for each copy", {
        Value::Number(more / missing.max(1) as f64)
    });
    world
}

/// The records that the live nodes have transferred.
struct Moved {
    keys: u64,
    comparisons: u64,
    differences: u64,
    bytes: u64,
}

impl Moved {
    fn during(world: &mut World, happens: impl FnOnce(&mut World)) -> Self {
        let live: Vec<NodeIndex> = world.live();
        let before = Self::until_now(world, &live);
        happens(world);
        let after = Self::until_now(world, &live);
        Self {
            keys: after.keys - before.keys,
            comparisons: after.comparisons - before.comparisons,
            differences: after.differences - before.differences,
            bytes: after.bytes - before.bytes,
        }
    }

    fn until_now(world: &mut World, live: &[NodeIndex]) -> Self {
        let bytes = live.iter().map(|node| world.traffic(*node).all_out()).sum();
        let mut moved = Self { keys: 0, comparisons: 0, differences: 0, bytes };
        for (_, stats) in bounds::stats(world) {
            moved.keys += stats.kv.keys_pulled;
            moved.comparisons += stats.kv.comparisons;
            moved.differences += stats.kv.differences_found;
        }
        moved
    }
}
