//! Wall clocks go back, also over a restart. A node's later write is still the later one.

use std::time::Duration;

use bytes::Bytes;
use potluck_node::WriteContext;

use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::workload::{Workload, key, reading};
use crate::world::World;

pub(super) const CLOCK_BACK: Scenario = Scenario {
    name: "clock-back",
    about: "wall clocks go back by up to hours while nodes write; later writes stay later",
    nodes: 20,
    nodes_min: 5,
    minutes: 1,
    must_fail: false,
    play,
};

/// Writes of each node to its record.
const ROUNDS: usize = 6;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(5));
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    for round in 0..ROUNDS {
        for (number, node) in nodes.iter().enumerate() {
            workload.put(&mut world, *node, number, WriteContext::Read);
        }
        workload.finish(&mut world, STABILISATION);
        for node in &nodes {
            let by = Duration::from_secs(1 + run.rng.below(3600));
            world.clock_back(*node, by);
            if round % 2 == 1 {
                world.crash(*node);
                world.restart(*node);
            }
        }
        world.run_for(run.length() / ROUNDS as u32);
        world.run_until(STABILISATION, |world| world.have_joined(&nodes));
        // The settled clocks of a fleet: none may be more than minutes ahead of another.
        let latest = nodes.iter().map(|node| world.node(*node).clock_off_ms).min().unwrap_or(0);
        for node in &nodes {
            let ahead = world.node(*node).clock_off_ms - latest;
            world.clock_back(*node, Duration::from_millis(ahead.unsigned_abs()));
        }
    }
    let refused: Vec<String> = workload
        .history
        .writes()
        .iter()
        .filter(|write| write.version().is_none())
        .map(|write| format!("{} at {:?}: {:?}", write.node, write.asked, write.end))
        .collect();
    let asked = workload.history.writes().len();
    run.figure("writes acknowledged", Value::share(asked - refused.len(), asked));
    let last: Vec<Option<Bytes>> = (0..run.nodes)
        .map(|number| {
            let written = workload.history.of(&key(number)).filter(|w| w.version().is_some());
            written.last().and_then(|write| write.value.clone())
        })
        .collect();
    let keys: Vec<_> = (0..run.nodes).map(key).collect();
    let outcomes = workload.read(&mut world, &keys, 20);
    let wrong: Vec<String> = keys
        .iter()
        .zip(outcomes.iter().zip(&last))
        .filter_map(|(key, (outcome, last))| {
            let seen = reading(outcome.as_ref())?;
            let newest = seen.values.first().map(|value| &value.bytes);
            (newest != last.as_ref()).then(|| format!("{key:?}: {} values", seen.values.len()))
        })
        .collect();
    run.check(Check::none_of("the last write is the one that is read", keys.len(), &wrong));
    world
}
