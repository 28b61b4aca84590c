//! No node declares a healthy node dead: under loss, next to starved nodes and broken lines, and whatever a
//! hostile member sends.

use std::time::Duration;

use potluck_base::PublicKey;
use potluck_gossip::{Change, MemberState};
use potluck_node::Event;

use super::lies;
use crate::check::Check;
use crate::network::LinkFault;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::World;

pub(super) const MEMBERS_LOSSY: Scenario = Scenario {
    name: "members-lossy",
    about: "every tenth datagram is lost for an hour; no healthy node is taken for dead",
    nodes: 60,
    nodes_min: 8,
    minutes: 60,
    must_fail: false,
    play: play_lossy,
};

pub(super) const MEMBERS_STARVED: Scenario = Scenario {
    name: "members-starved",
    about: "one node gets no processor for 30 s, others in bursts; it takes nobody along",
    nodes: 60,
    nodes_min: 8,
    minutes: 5,
    must_fail: false,
    play: play_starved,
};

pub(super) const MEMBERS_BAD_LINES: Scenario = Scenario {
    name: "members-bad-lines",
    about: "1 % of the nodes lose 80 %, 1 % only hear or only speak; the others stay calm",
    nodes: 100,
    nodes_min: 20,
    minutes: 10,
    must_fail: false,
    play: play_bad_lines,
};

pub(super) const MEMBERS_FORGED: Scenario = Scenario {
    name: "members-forged",
    about: "a hostile member doubts, forges and replays; nobody is taken for dead, nothing grows",
    nodes: 30,
    nodes_min: 8,
    minutes: 2,
    must_fail: false,
    play: play_forged,
};

/// The state of `of` at `node`. `None` if `node` does not know it.
pub(super) fn state_of(world: &World, node: NodeIndex, of: NodeIndex) -> Option<MemberState> {
    let key = world.node(of).peer.contact.public_key;
    world.node(node).machine()?.members().state(&key)
}

/// Every time that a node declared another one dead although, according to `counts`, it must not.
pub(super) fn deaths(world: &World, counts: impl Fn(NodeIndex) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for node in world.all() {
        for (at, event) in world.member_events(node) {
            let Event::Member(event) = event else { continue };
            let Some(of) = world.find(&event.peer.id) else { continue };
            if event.change == Change::Died && counts(of) {
                wrong.push(format!("{node} buried {of} at {at:?}"));
            }
        }
    }
    wrong
}

/// The number of suspicions, and of refutations.
fn suspicions(run: &mut Run, world: &World) {
    let (mut raised, mut refuted) = (0, 0);
    for node in world.live() {
        if let Some(machine) = world.node(node).machine() {
            let stats = machine.members().stats();
            raised += stats.raised;
            refuted += stats.refuted;
        }
    }
    run.figure("suspicions raised", Value::count(raised as usize));
    run.figure("suspicions refuted", Value::count(refuted as usize));
}

fn play_lossy(run: &mut Run) -> World {
    let mut config = run.config();
    config.network.loss = 0.1;
    let mut world = World::new(config);
    run.form(&mut world);
    world.run_for(run.length());
    suspicions(run, &world);
    let wrong = deaths(&world, |_| true);
    run.check(Check::none_of("no healthy node is taken for dead", run.nodes, &wrong));
    world
}

fn play_starved(run: &mut Run) -> World {
    let mut world = World::new(run.config());
    let nodes = run.form(&mut world);
    world.run_for(STABILISATION);
    let (still, bursts) = (nodes[1], nodes[2]);
    world.stall(still, Duration::from_secs(30));
    let (stall, every) = (Duration::from_millis(900), Duration::from_secs(1));
    world.starve(bursts, stall, every, Duration::from_secs(30));
    world.run_for(run.length());
    suspicions(run, &world);
    let wrong = deaths(&world, |node| node != still && node != bursts);
    run.check(Check::none_of("no healthy node is taken for dead", run.nodes, &wrong));
    let mut lost = Vec::new();
    for starved in [still, bursts] {
        let believers = nodes.iter().filter(|node| **node != starved);
        let dead: Vec<_> = believers
            .filter(|node| state_of(&world, **node, starved) != Some(MemberState::Alive))
            .collect();
        if !dead.is_empty() {
            lost.push(format!("{} still miss {starved}", dead.len()));
        }
    }
    run.check(Check::none_of("who was starved is a member again", 2, &lost));
    world
}

fn play_bad_lines(run: &mut Run) -> World {
    let mut world = World::new(run.config());
    let nodes = run.form(&mut world);
    world.run_for(STABILISATION);
    let share = (run.nodes / 100).max(1);
    let faults = [LinkFault::Loss(0.8), LinkFault::Mute, LinkFault::Deaf];
    let mut sick = Vec::new();
    for (fault, chunk) in faults.iter().zip(nodes[1..].chunks(share)) {
        for node in chunk {
            world.link_fault(*node, Some(*fault));
            sick.push(*node);
        }
    }
    let began = world.now();
    world.run_for(run.length());
    suspicions(run, &world);
    let wrong = deaths(&world, |node| !sick.contains(&node));
    let by_sick = |line: &String| sick.iter().any(|node| line.starts_with(&format!("{node} ")));
    let wrong: Vec<String> = wrong.into_iter().filter(|line| !by_sick(line)).collect();
    run.check(Check::none_of("the views of the others are stable", run.nodes, &wrong));
    let mut restless = Vec::new();
    let minutes = world.now().since(began).as_secs_f64() / 60.0;
    for node in nodes.iter().filter(|node| !sick.contains(node)) {
        for of in &sick {
            let id = world.node(*of).peer.id;
            let changes = world.member_events(*node).filter(|(_, event)| {
                matches!(event, Event::Member(event) if event.peer.id == id
                    && matches!(event.change, Change::Died | Change::Returned))
            });
            let rate = changes.count() as f64 / minutes;
            if rate > 1.0 {
                restless.push(format!("{node} changed its mind of {of} {rate:.1} times a minute"));
            }
        }
    }
    run.check(Check::none_of("nobody oscillates more than once a minute", run.nodes, &restless));
    world
}

/// Forged messages a minute, over all nodes.
const FORGED_PER_MINUTE: usize = 20_000;

fn play_forged(run: &mut Run) -> World {
    let mut world = World::new(run.config());
    let nodes = run.form(&mut world);
    let liar = world.hostile();
    let keys: Vec<PublicKey> =
        nodes.iter().map(|node| world.node(*node).peer.contact.public_key).collect();
    let total = FORGED_PER_MINUTE * run.minutes as usize;
    let pause = run.length() / total as u32;
    let mut sent = 0usize;
    for round in 0..total {
        let to = nodes[run.rng.below(nodes.len() as u64) as usize];
        let subject = keys[run.rng.below(keys.len() as u64) as usize];
        let request = lies::lie(&mut run.rng, &world, liar, to, subject, round);
        sent += usize::from(world.hostile_ask(liar, to, &request));
        world.run_for(pause);
    }
    world.run_for(STABILISATION);
    suspicions(run, &world);
    run.figure("lies told", Value::count(sent));
    let wrong = deaths(&world, |_| true);
    run.check(Check::none_of("no lie makes anybody take a healthy node for dead", sent, &wrong));
    let most = nodes.iter().filter_map(|node| {
        let stats = world.node(*node).machine()?.members().stats();
        Some(stats.hurried.max(stats.rumours).max(stats.asks))
    });
    let most = most.max().unwrap_or(0);
    let linked = nodes.iter().filter(|node| lies::is_linked(&world, **node, liar)).count();
    run.figure("nodes still linked to the liar", Value::count(linked));
    // The scenario would prove little if no node had admitted the member.
    let noticed = nodes.iter().filter_map(|node| {
        let stats = world.node(*node).machine()?.topics().stats();
        Some((stats.verify_failed, stats.shuffles_refused, stats.neighbours_down.misbehaved))
    });
    let (forged, shuffles, dropped) =
        noticed.fold((0, 0, 0), |sum, of| (sum.0 + of.0, sum.1 + of.1, sum.2 + of.2));
    let detail = format!("{forged} forgeries, {shuffles} shuffles, {dropped} links to it dropped");
    let reached = forged > 0 && shuffles > 0 && dropped > 0;
    run.check(Check::new("its links heard its lies", reached, detail));
    let left = |node: &NodeIndex| {
        let gone = nodes.iter().filter(|of| **of != *node);
        let gone = gone.filter(|of| state_of(&world, *node, **of) != Some(MemberState::Alive));
        Some(gone.count()).filter(|gone| *gone > 0).map(|gone| format!("{node} misses {gone}"))
    };
    let left: Vec<String> = nodes.iter().filter_map(left).collect();
    run.check(Check::none_of("all are there for all", nodes.len(), &left));
    run.check(Check::new("queues stay short", most < 1100, format!("{most} at most")));
    world
}
