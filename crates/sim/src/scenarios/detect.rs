//! Nodes crash one after the other. Measures how soon the nodes that watch them detect it, and what watching
//! costs.

use std::time::Duration;

use potluck_base::Instant;
use potluck_gossip::{Change, MemberState, Mode};
use potluck_node::Event;

use super::members::deaths;
use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::World;

pub(super) const DETECT: Scenario = Scenario {
    name: "detect",
    about: "nodes crash one by one; how soon who watched them knows, and nobody else dies",
    nodes: 100,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play: |run| play(run, Mode::Fleet),
};

pub(super) const DETECT_OPEN: Scenario = Scenario {
    name: "detect-open",
    about: "the same where nobody watches all: each its neighbours in overlay and DHT",
    nodes: 100,
    nodes_min: 60,
    minutes: 1,
    must_fail: false,
    play: |run| play(run, Mode::Open),
};

/// Nodes that crash, one after the other, for each minute of the run.
const VICTIMS: usize = 5;
/// One watcher in this number may have stopped watching before it detected the crash: two of 270 did with
/// 1,500 nodes, and two of 252 with 10,000.
const ONE_MAY_CEASE: usize = 50;
/// Time within which the others must detect it.
const PATIENCE: Duration = Duration::from_secs(90);

fn play(run: &mut Run, mode: Mode) -> World {
    let mut world = World::new(run.config_in(mode));
    let mut nodes = run.form(&mut world);
    world.run_for(STABILISATION);
    run.rng.shuffle(&mut nodes);
    let (mut all, mut first, mut spread) = (Vec::new(), Vec::new(), Vec::new());
    let (mut unaware, mut ceased, mut watched) = (Vec::new(), 0, 0);
    // At least one watcher must remain.
    let crashes = (VICTIMS * run.minutes as usize).min(nodes.len().saturating_sub(3)).max(1);
    let victims: Vec<NodeIndex> = nodes.iter().take(crashes).copied().collect();
    for victim in &victims {
        let watchers: Vec<NodeIndex> = nodes
            .iter()
            .filter(|node| *node != victim && world.node(**node).is_up())
            .filter(|node| watches(&world, **node, *victim))
            .copied()
            .collect();
        watched += watchers.len();
        let crashed = world.now();
        world.crash(*victim);
        // A node that found other neighbours or a closer close group before its turn watches those instead.
        let waits = |world: &World, node: NodeIndex| {
            heard_of(world, node, *victim, crashed).is_none()
                && (watches(world, node, *victim) || suspects(world, node, *victim))
        };
        world.run_until(PATIENCE, |world| !watchers.iter().any(|node| waits(world, *node)));
        let mut times: Vec<Duration> = watchers
            .iter()
            .filter_map(|node| heard_of(&world, *node, *victim, crashed))
            .map(|at| at.since(crashed))
            .collect();
        times.sort_unstable();
        let late = watchers.iter().filter(|node| waits(&world, **node)).count();
        ceased += watchers.len() - times.len() - late;
        if late > 0 {
            unaware.push(format!("{late} of {} do not know of {victim}", watchers.len()));
        }
        first.extend(times.first());
        spread.extend(times.get((times.len() * 99).div_ceil(100).saturating_sub(1)));
        all.extend(times);
        world.run_for(Duration::from_secs(5));
    }
    run.figure("who watched a node, for each", Value::Number(all.len() as f64 / crashes as f64));
    run.figure("who ceased to watch before it knew", Value::count(ceased));
    let detail = format!("{ceased} beside {} who know", all.len());
    let few = !all.is_empty() && ceased * ONE_MAY_CEASE <= all.len();
    run.check(Check::new("hardly anybody ceases to watch the dead", few, detail));
    run.figure("crash until each watcher knows", Value::times(all));
    run.figure("crash until the first knows", Value::times(first));
    run.figure("crash until 99 % know", Value::times(spread));
    run.check(Check::none_of("who watched a node knows that it died", watched, &unaware));
    let innocent = deaths(&world, |node| !victims.contains(&node));
    run.check(Check::none_of("nobody else is taken for dead", run.nodes, &innocent));
    world
}

fn watches(world: &World, node: NodeIndex, victim: NodeIndex) -> bool {
    let key = world.node(victim).peer.contact.public_key;
    world.node(node).machine().is_some_and(|machine| machine.members().is_watching(&key))
}

fn suspects(world: &World, node: NodeIndex, victim: NodeIndex) -> bool {
    let key = world.node(victim).peer.contact.public_key;
    let state = world.node(node).machine().and_then(|machine| machine.members().state(&key));
    state == Some(MemberState::Suspect)
}

/// When `node` declared `victim` dead, from `since` on.
fn heard_of(world: &World, node: NodeIndex, victim: NodeIndex, since: Instant) -> Option<Instant> {
    let id = world.node(victim).peer.id;
    world
        .member_events(node)
        .filter(|(at, _)| *at >= since)
        .find(|(_, event)| {
            matches!(event, Event::Member(event)
                if event.change == Change::Died && event.peer.id == id)
        })
        .map(|(at, _)| at)
}
