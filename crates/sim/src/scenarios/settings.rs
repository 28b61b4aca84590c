//! The authority changes the number of replicas of a running network while some of its nodes are down. All
//! nodes use the setting, also those that return, and each record gets its additional replicas.

use std::time::Duration;

use potluck_base::Key;
use potluck_node::settings::SettingsView;
use potluck_node::{Command, Reply, WriteContext};
use potluck_wire::NetworkSettings;

use crate::batch::Batch;
use crate::check::Check;
use crate::check::replication::Census;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, key};
use crate::world::World;

pub(super) const SETTINGS: Scenario = Scenario {
    name: "settings",
    about: "replication is set from 3 to 6 on a running network; nodes that were away follow",
    nodes: 24,
    nodes_min: 12,
    minutes: 2,
    must_fail: false,
    play,
};

const BEFORE: u16 = 3;
const AFTER: u8 = 6;
/// One node in this number is down when the settings are signed.
const ONE_DOWN_IN: usize = 6;
/// Longest time until the live nodes use the settings.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);
/// Longest time until each record has its additional replicas.
const FILLED_WITHIN: Duration = Duration::from_secs(60);
/// Records for each node.
const EACH: usize = 5;

fn play(run: &mut Run) -> World {
    let mut config = run.config().invite().replication(BEFORE);
    // Late enough that no round of anti-entropy takes part.
    config.node.kv.anti_entropy_interval = Duration::from_secs(24 * 3600);
    let mut world = World::new(config);
    let nodes = run.form(&mut world);
    world.run_for(STABILISATION);
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    let records = nodes.len() * EACH;
    for number in 0..records {
        workload.put(&mut world, nodes[number % nodes.len()], number, WriteContext::Read);
    }
    workload.finish(&mut world, Duration::from_secs(12));
    let (down, up) = nodes.split_at(nodes.len() / ONE_DOWN_IN);
    down.iter().for_each(|node| world.crash(*node));
    world.run_for(STABILISATION);
    let settings = NetworkSettings {
        sequence: 1,
        replication: Some(AFTER),
        gossip_interval_ms: Some(2_000),
        ..NetworkSettings::default()
    };
    world.set_settings(up[0], &settings);
    world.run_for(KNOWN_WITHIN);
    let views = views(&mut world, up);
    run.check(in_force("the living nodes go by the settings within 5 s", &views, up.len()));
    let keys: Vec<Key> = (0..records).map(key).collect();
    let (begun, wanted) = (world.now(), usize::from(AFTER));
    let full = |world: &mut World| Census::take(world).replication(&keys, wanted).check().passed;
    while !full(&mut world) && world.now() < begun + FILLED_WITHIN {
        world.run_for(Duration::from_secs(1));
    }
    run.figure("time to fill", Value::times(vec![world.now().since(begun)]));
    run.check(Census::take(&mut world).replication(&keys, wanted).check());
    down.iter().for_each(|node| world.restart(*node));
    world.run_for(FILLED_WITHIN);
    let back = self::views(&mut world, down);
    run.check(in_force("so do nodes that were away", &back, down.len()));
    // A restarted process reads them from its disk.
    world.crash(up[1]);
    world.restart(up[1]);
    world.run_for(Duration::from_millis(50));
    let again = self::views(&mut world, &up[1..2]);
    run.check(in_force("and one that starts again, at once", &again, 1));
    world.run_for(FILLED_WITHIN);
    let counted = self::views(&mut world, &nodes);
    let seen: Vec<String> = counted
        .iter()
        .filter(|view| view.running != nodes.len() || view.members != nodes.len())
        .map(|view| format!("{} of {} members", view.running, view.members))
        .collect();
    run.check(Check::none_of("each sees that all do", nodes.len(), &seen));
    world
}

/// The settings in force at these nodes.
fn views(world: &mut World, nodes: &[NodeIndex]) -> Vec<SettingsView> {
    let batch = Batch { in_flight: nodes.len(), bound: Duration::from_secs(10) };
    let outcomes = batch.run(world, nodes.len(), |_, index| (nodes[index], Command::Settings));
    let views = outcomes.into_iter().flatten().filter_map(|outcome| match outcome.reply {
        Some(Reply::Settings(view)) => Some(*view),
        _ => None,
    });
    views.collect()
}

fn in_force(name: &'static str, views: &[SettingsView], of: usize) -> Check {
    let right = |view: &&SettingsView| {
        view.network.sequence == 1
            && view.effective.replication == u16::from(AFTER)
            && view.effective.gossip_interval == Duration::from_secs(2)
    };
    let count = views.iter().filter(right).count();
    Check::new(name, count == of && of > 0, format!("{count} of {of}"))
}
