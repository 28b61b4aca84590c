//! Sources that drip: they claim to have a whole file and send 250 bytes a second of it, so they are never
//! silent. Their keys come before all others in the order of keys. Other nodes fetch the file from them and
//! from two honest sources.

use std::time::Duration;

use potluck_base::{BlobId, Defences};

use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::{Line, World, WorldConfig};

pub(super) const SLOW_SOURCES: Scenario = Scenario {
    name: "slow-sources",
    about: "most nodes that share a file drip; fetches of it take hardly longer",
    nodes: 24,
    nodes_min: 16,
    minutes: 2,
    must_fail: false,
    play,
};

const SIZE: u64 = 20_000_000;
/// Uplink of each node, in bytes a second: 80 Mbit/s.
const UP: f64 = 10_000_000.0;
/// Uplink of a source that drips, in bytes a second.
const DRIP: f64 = 250.0;
/// Nodes that fetch.
const FETCHERS: usize = 3;
/// Additional time that a fetch may take with many sources that drip: the time in which two batches of them
/// are detected.
const FOUND_OUT: Duration = Duration::from_secs(5);

fn play(run: &mut Run) -> World {
    let all_on = Defences::default();
    let (control, _) = fetch(run, 0, all_on);
    let (one, _) = fetch(run, 1, all_on);
    let many_drip = run.nodes - FETCHERS - 6;
    let (many, world) = fetch(run, many_drip, all_on);
    let (undefended, _) = fetch(run, many_drip, Defences { paced_sources: false, ..all_on });
    let bound = run.length();
    let name = |what: &str| format!("time of the last fetch, {what}");
    for (what, time) in [("none drips", control), ("one drips", one), ("most drip", many)] {
        run.figure(name(what), Value::Time(time.unwrap_or(bound)));
    }
    let longer = |time: Option<Duration>, most: Duration| time.is_some_and(|time| time <= most);
    let usual = control.unwrap_or(bound);
    run.check(Check::new(
        "beside one node that drips a fetch takes at most twice as long",
        longer(one, usual * 2),
        format!("{one:?} beside {control:?}"),
    ));
    run.check(Check::new(
        "beside many nodes that drip a fetch takes some seconds more",
        longer(many, usual * 2 + FOUND_OUT),
        format!("{many:?} beside {control:?}"),
    ));
    run.check(Check::new(
        "where only silence ends a stream, the same nodes hold a fetch for more than five times as long",
        undefended.is_none_or(|time| time > usual * 5),
        format!("{undefended:?} beside {control:?}"),
    ));
    world
}

/// The time of the last fetch, if all of them end within the length of the run.
fn fetch(run: &mut Run, drips: usize, defences: Defences) -> (Option<Duration>, World) {
    let mut config: WorldConfig = run.config();
    config.node.swarm.defences = defences;
    let mut world = World::new(config);
    let mut nodes = run.form(&mut world);
    nodes.sort_by_key(|node| world.node(*node).peer().contact.public_key);
    let line = Line { up: UP, down: 4.0 * UP, ..Line::default() };
    nodes.iter().for_each(|node| world.set_line(*node, line));
    let blob = BlobId::of(b"a dish of 20 MB");
    let (rest, fetchers) = nodes.split_at(nodes.len() - FETCHERS);
    let (rest, honest) = rest.split_at(rest.len() - 2);
    honest.iter().for_each(|node| world.share(*node, blob, SIZE));
    for node in &rest[..drips] {
        world.set_line(*node, Line { up: DRIP, ..line });
        world.share(*node, blob, SIZE);
    }
    world.run_for(Duration::from_secs(10));
    fetchers.iter().for_each(|node| world.fetch(*node, blob));
    let all = |world: &mut World| fetchers.iter().all(|node| world.fetched(*node, &blob).is_some());
    world.run_until(run.length(), all);
    let time = |node: &NodeIndex| {
        let end = world.fetched(*node, &blob).filter(|end| end.error.is_none())?;
        Some(end.times.1.since(end.times.0))
    };
    let times: Option<Vec<Duration>> = fetchers.iter().map(time).collect();
    (times.and_then(|times| times.into_iter().max()), world)
}
