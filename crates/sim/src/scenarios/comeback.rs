//! Processes stand still until all others declare them dead, continue, and do so again a little later; other
//! processes are killed and started again as often. All nodes show a returned node as alive at once, and no
//! other node is ever declared dead.

use std::time::Duration;

use potluck_base::Instant;
use potluck_gossip::MemberState;

use super::members::{deaths, state_of};
use crate::check::Check;
use crate::check::history::faults::Effect;
use crate::check::history::members::MemberRules;
use crate::chronicle::Chronicle;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::World;

pub(super) const COMEBACK: Scenario = Scenario {
    name: "comeback",
    about: "nodes stand still or restart, twice in ten minutes; who is back is alive to all in 2 s",
    nodes: 64,
    nodes_min: 16,
    minutes: 4,
    must_fail: false,
    play,
};

/// One node in this number stands still, and one is killed.
const ONE_IN: usize = 8;
/// The number of rounds.
const ROUNDS: usize = 2;
/// The time that a node is absent: longer than a suspicion that all share.
const GONE: Duration = Duration::from_secs(45);
/// Time between two nodes that become absent.
const APART: Duration = Duration::from_secs(3);
/// Longest time until all show a returned node as alive.
const BACK: Duration = Duration::from_secs(2);
/// The same time for a node that starts again, which has to find the others first.
const STARTED: Duration = Duration::from_secs(4);
/// Interval at which all lists are recorded.
const LOOK: Duration = Duration::from_secs(1);
/// The rules for lists, with the time limits of this scenario.
const RULES: MemberRules = MemberRules { alive_within: STARTED, dead_within: GONE };

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config());
    let mut nodes = run.form(&mut world);
    world.run_for(STABILISATION);
    run.rng.shuffle(&mut nodes);
    let count = (nodes.len() / ONE_IN).max(1);
    let (still, rest) = nodes.split_at(count);
    let killed = &rest[..count];
    let pause = run.length() / (2 * ROUNDS) as u32;
    for (what, of, bound) in [("stood still", still, BACK), ("restarted", killed, STARTED)] {
        let others: Vec<NodeIndex> =
            nodes.iter().filter(|node| !of.contains(node)).copied().collect();
        let plan =
            Round { nodes: &nodes, absent: of, others: &others, kill: what == "restarted", bound };
        let mut found = Found::default();
        for _ in 0..ROUNDS {
            round(&mut world, &plan, &mut found);
            watch(&mut world, &nodes, pause.saturating_sub(GONE), &mut found.chronicle);
        }
        let all = of.len() * ROUNDS;
        let wanted = all * others.len();
        run.figure(format!("{what}: taken for dead meanwhile"), Value::share(found.dead, wanted));
        run.figure(format!("{what}: alive again to all"), Value::times(found.took));
        let name = match what {
            "restarted" => "who was started again is alive to all within 4 s",
            _ => "who goes on is alive to all within 2 s",
        };
        run.check(Check::none_of(name, all, &found.late));
        let (detail, enough) =
            (format!("{} of {wanted}", found.dead), found.dead * 10 >= wanted * 9);
        run.check(Check::new("the others had noticed", enough, detail));
        let lists = found.chronicle.judge_members(&RULES);
        run.check(lists.check("the history of all lists keeps the rules of members"));
    }
    let gone: Vec<NodeIndex> = still.iter().chain(killed).copied().collect();
    let innocent = deaths(&world, |node| !gone.contains(&node));
    run.check(Check::none_of("nobody else is taken for dead", run.nodes, &innocent));
    world
}

/// The plan of a round.
struct Round<'a> {
    /// All nodes of the run.
    nodes: &'a [NodeIndex],
    /// The nodes that are absent for some time, one after the other.
    absent: &'a [NodeIndex],
    /// All other nodes.
    others: &'a [NodeIndex],
    /// Whether the absent nodes are killed and started again; otherwise they stand still.
    kill: bool,
    /// Longest time until all other nodes show a node that is back as alive.
    bound: Duration,
}

/// The results of the rounds.
#[derive(Default)]
struct Found {
    /// The number of nodes that had declared a node dead when it came back, over all rounds.
    dead: usize,
    /// The time until the last of them showed it as alive.
    took: Vec<Duration>,
    /// The returns that took too long.
    late: Vec<String>,
    /// All lists, sampled once a second.
    chronicle: Chronicle,
}

/// Runs for a time, and records all lists.
fn watch(world: &mut World, nodes: &[NodeIndex], time: Duration, chronicle: &mut Chronicle) {
    let end = world.now() + time;
    while world.now() < end {
        world.run_for(LOOK.min(end.since(world.now())));
        chronicle.look(world, nodes);
    }
}

/// Runs one round.
fn round(world: &mut World, plan: &Round<'_>, found: &mut Found) {
    let Round { nodes, absent, others, kill, bound } = *plan;
    let mut back: Vec<(Instant, NodeIndex)> = Vec::new();
    for node in absent {
        match kill {
            true => world.crash(*node),
            false => world.stall(*node, GONE),
        }
        let (now, effect) = (world.now(), if kill { Effect::Down } else { Effect::Late });
        found.chronicle.fault(effect, &[*node], now..now + GONE);
        back.push((now + GONE, *node));
        watch(world, nodes, APART, &mut found.chronicle);
    }
    for (at, node) in back {
        let rest = at.since(world.now()).saturating_sub(Duration::from_millis(1));
        watch(world, nodes, rest, &mut found.chronicle);
        found.dead += who_show(world, others, node, MemberState::Dead);
        world.run_for(at.since(world.now()));
        if kill {
            world.restart(node);
        }
        let alive = |world: &World| who_show(world, others, node, MemberState::Alive);
        let all = world.run_until(bound, |world| alive(world) == others.len());
        found.took.push(world.now().since(at));
        if !all {
            let lacking = others.len() - alive(world);
            found.late.push(format!("{lacking} do not show {node} as alive after {bound:?}"));
        }
    }
}

/// The number of observers that show a node in this state.
fn who_show(world: &World, observers: &[NodeIndex], of: NodeIndex, as_what: MemberState) -> usize {
    observers.iter().filter(|node| state_of(world, **node, of) == Some(as_what)).count()
}
