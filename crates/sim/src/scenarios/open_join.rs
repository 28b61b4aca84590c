//! An `open` network: nodes that solve its puzzles join and write, nodes that solve only one of them are
//! in no table and get no answer. Then the epoch changes, with clocks that are minutes apart: no node
//! falls out, and all show the solution of the new epoch.

use std::time::Duration;

use potluck_base::puzzle::{EPOCH_MS, OVERLAP_MS, RENEW_AHEAD_MS};
use potluck_base::{Difficulty, NodeId, PuzzleEpoch};
use potluck_dht::EntryPoint;
use potluck_node::WriteContext;

use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Draft, PutPlace, Terms, Workload, reading};
use crate::world::{Solves, World};

pub(super) const OPEN_JOIN: Scenario = Scenario {
    name: "open-join",
    about: "puzzles let nodes into an open network; without a solution a node is in no table",
    nodes: 16,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

/// Clocks differ by up to this, either way.
const SKEW: Duration = Duration::from_secs(4 * 60);
/// Nodes that solve one puzzle only, of each sort.
const UNSOLVED: usize = 3;
/// Time for which they try to get in.
const TRYING: Duration = Duration::from_secs(30);

fn play(run: &mut Run) -> World {
    let difficulty = Difficulty::new(6, 10).expect("within the limits");
    let mut config = run.config().replication(2 + run.rng.below(4) as u16).open(difficulty);
    config.clock_skew = SKEW;
    let mut world = World::new(config);
    let honest = run.form(&mut world);
    let entries = honest.iter().take(3).map(|node| world.node(*node).peer().contact);
    let entries: Vec<EntryPoint> = entries.map(EntryPoint::Contact).collect();
    let sorts = [Solves::Static, Solves::Dynamic];
    let unsolved: Vec<NodeIndex> = (0..2 * UNSOLVED)
        .map(|number| world.spawn_solving(sorts[number % 2], entries.clone()))
        .collect();
    world.run_for(TRYING);
    check_tables(run, &world, &honest, &unsolved);
    let answered: u64 = unsolved.iter().filter_map(|node| answers(&world, *node)).sum();
    run.check(Check::new("without a solution there is no answer", answered == 0, ""));

    let mut workload = Workload::new(run.rng.fork("workload"), 32);
    check_records(run, &mut world, &mut workload, &honest);
    change_epoch(run, &mut world, &honest);
    check_tables(run, &world, &honest, &unsolved);
    check_records(run, &mut world, &mut workload, &honest);
    world
}

/// Requests of a node that were answered.
fn answers(world: &World, node: NodeIndex) -> Option<u64> {
    Some(world.node(node).machine()?.stats().link.requests_answered)
}

/// Whether a node has the node of this id in its routing table.
fn lists(world: &World, node: NodeIndex, id: NodeId) -> bool {
    let Some(machine) = world.node(node).machine() else { return false };
    machine.dht().closest(&id.into(), 1).first().is_some_and(|peer| peer.id == id)
}

/// All honest nodes are in tables, and none of the others is.
fn check_tables(run: &mut Run, world: &World, honest: &[NodeIndex], unsolved: &[NodeIndex]) {
    let in_tables = |of: &NodeIndex| {
        let id = world.node(*of).peer().id;
        honest.iter().filter(|node| *node != of && lists(world, **node, id)).count()
    };
    let few: Vec<String> = honest
        .iter()
        .filter(|node| in_tables(node) < honest.len() / 2)
        .map(|node| format!("{node} is in {} tables", in_tables(node)))
        .collect();
    run.check(Check::none_of("who solves both is in most tables", honest.len(), &few));
    let bad: Vec<String> = unsolved
        .iter()
        .filter(|node| in_tables(node) > 0)
        .map(|node| format!("{node} is in {} tables", in_tables(node)))
        .collect();
    run.check(Check::none_of(
        "a node that solves one puzzle only is in no table",
        unsolved.len(),
        &bad,
    ));
}

/// Each node writes in its own space, and others read it.
fn check_records(run: &mut Run, world: &mut World, workload: &mut Workload, nodes: &[NodeIndex]) {
    let first = workload.history.writes().len();
    for node in nodes {
        let number = workload.history.writes().len();
        let value = Some(workload.fresh_value());
        let terms = Terms { place: PutPlace::Own, ..Terms::default() };
        let draft = Draft { kind: None, value, context: WriteContext::Read };
        workload.write_on(world, *node, number, terms, draft);
    }
    workload.finish(world, STABILISATION);
    let writes = &workload.history.writes()[first..];
    let failed: Vec<String> = writes
        .iter()
        .filter(|write| write.version().is_none())
        .map(|write| format!("{}: {:?}", write.node, write.end))
        .collect();
    let keys: Vec<_> = writes.iter().map(|write| write.key).collect();
    run.check(Check::none_of("records in own are written", nodes.len(), &failed));
    let outcomes = workload.read_through(world, &keys, nodes, 8);
    let lost: Vec<String> = keys
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| reading(outcome.as_ref()).is_none_or(|read| read.values.is_empty()))
        .map(|(key, outcome)| format!("{key:?}: {:?}", outcome.as_ref().map(|o| &o.reply)))
        .collect();
    run.check(Check::none_of("and read through other nodes", keys.len(), &lost));
}

/// The clocks go on to the end of the epoch, and over it, in steps that honest nodes live through: each time
/// all have a solution that is accepted by all, and none lost its place.
fn change_epoch(run: &mut Run, world: &mut World, nodes: &[NodeIndex]) {
    let now = world.wall_clock();
    let epoch = PuzzleEpoch::at(now);
    let end = (epoch.0 + 1) * EPOCH_MS - now.0;
    let minute = 60_000;
    // Around the time of the renewal, the change itself, and the end of the overlap.
    let stops = [end - RENEW_AHEAD_MS, end, end + OVERLAP_MS];
    let mut passed = 0;
    for stop in stops {
        for target in [stop - minute, stop + 6 * minute] {
            let by = Duration::from_millis(target - passed);
            passed = target;
            nodes.iter().for_each(|node| world.clock_forward(*node, by));
            world.run_for(Duration::from_secs(20));
            let out: Vec<String> = nodes
                .iter()
                .filter(|node| !world.node(**node).has_joined() || silent(world, **node))
                .map(ToString::to_string)
                .collect();
            run.check(Check::none_of("no node falls out", nodes.len(), &out));
        }
    }
    let renewed = nodes.iter().filter(|node| {
        let machine = world.node(**node).machine();
        machine.and_then(potluck_node::Node::puzzle_epoch) == Some(PuzzleEpoch(epoch.0 + 1))
    });
    let renewed = renewed.count();
    run.check(Check::new("all have the next epoch's solution", renewed == nodes.len(), ""));
    let refused: u64 = nodes
        .iter()
        .filter_map(|node| Some(world.node(*node).machine()?.stats()))
        .map(|stats| stats.link.puzzles_refused)
        .sum();
    run.figure(
        "wrong solutions refused",
        Value::count(usize::try_from(refused).unwrap_or(usize::MAX)),
    );
}

/// Whether a node hears no other.
fn silent(world: &World, node: NodeIndex) -> bool {
    let Some(machine) = world.node(node).machine() else { return true };
    let peers = machine.dht().members_known();
    peers < 2
}
