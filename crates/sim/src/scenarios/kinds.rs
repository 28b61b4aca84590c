//! Many nodes change the same counters, sets and maps at once, also on both sides of a split and during
//! crashes. After the split each sum and each element is what the acknowledged operations give. With odd
//! seeds a record has places for few writers, so that replicas carry out operations for others.

use std::collections::BTreeSet;
use std::time::Duration;

use potluck_base::Key;
use potluck_node::{Apply, Command, Reply};
use potluck_record::{Folded, Operation, Space};

use crate::batch::Batch;
use crate::check::Check;
use crate::check::convergence::{readers_agree, replicas_agree};
use crate::network::Blocks;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{key, name, reading};
use crate::world::{Outcome, World};

pub(super) const KINDS: Scenario = Scenario {
    name: "kinds",
    about: "many nodes change counters, sets and maps, also in a split: sums and elements are exact",
    nodes: 24,
    nodes_min: 10,
    minutes: 1,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 4;
/// Places for writers with odd seeds.
const FEW_WRITERS: u16 = 4;
const COUNTERS: std::ops::Range<usize> = 0..2;
const SET: usize = 2;
const MAP: usize = 3;
const RECORDS: std::ops::Range<usize> = 0..4;
/// Operations in flight at once.
const IN_FLIGHT: usize = 16;

/// The expected results of a run.
#[derive(Debug, Default)]
struct Promised {
    /// Acknowledged increments of each counter.
    counted: [usize; 2],
    /// Increments with an unknown result: they may count.
    unclear: [usize; 2],
    /// Elements whose addition was acknowledged and that were not removed since.
    present: BTreeSet<String>,
    /// Elements whose removal was acknowledged and that were not added since.
    absent: BTreeSet<String>,
    asked: usize,
    acknowledged: usize,
}

fn play(run: &mut Run) -> World {
    let mut config = run.config().replication(REPLICAS);
    if run.seed % 2 == 1 {
        config = config.shared_writers(FEW_WRITERS);
    }
    let mut world = World::new(config);
    let mut nodes = run.form(&mut world);
    let mut promised = Promised::default();
    change(&mut world, &nodes, "before", &mut promised);
    world.run_for(STABILISATION);

    run.rng.shuffle(&mut nodes);
    let (left, right) = nodes.split_at(run.nodes / 2);
    let split = world.partition(left, right, Blocks::BothWays);
    world.run_for(run.length());
    change(&mut world, left, "left", &mut promised);
    change(&mut world, right, "right", &mut promised);
    remove_and_add(&mut world, left, right, &mut promised);
    world.crash(left[0]);
    world.crash(right[0]);
    world.run_for(Duration::from_secs(5));
    world.restart(left[0]);
    world.restart(right[0]);
    world.heal(split);
    world.run_for(3 * STABILISATION);
    change(&mut world, &nodes, "after", &mut promised);
    world.run_for(STABILISATION);

    let keys: Vec<Key> = RECORDS.map(key).collect();
    run.check(replicas_agree(&mut world, &keys, REPLICAS.into()));
    let agree = readers_agree(&mut world, &mut run.rng, &keys, 3);
    run.check(agree);
    run.figure("operations acknowledged", Value::share(promised.acknowledged, promised.asked));
    let carried: u64 = nodes.iter().map(|node| carried_out(&world, *node)).sum();
    run.figure("carried out for others", Value::count(carried as usize));
    let needed = run.seed % 2 == 1;
    let detail = format!("{carried} operations");
    run.check(Check::new("replicas carry out what has no place", !needed || carried > 0, detail));
    compare(run, &mut world, nodes[1], &promised);
    world
}

fn carried_out(world: &World, node: NodeIndex) -> u64 {
    world.node(node).machine().map_or(0, |node| node.stats().kv.operations_carried_out)
}

fn apply(record: usize, operation: Operation) -> Command {
    let (space, name) = (Space::Commons, name(record));
    Command::Apply(Apply { space, name, operation, quorum: None })
}

fn is_done(outcome: Option<&Outcome>) -> bool {
    matches!(outcome.and_then(|outcome| outcome.reply.as_ref()), Some(Reply::Written(_)))
}

fn all(world: &mut World, commands: &[(NodeIndex, Command)]) -> Vec<Option<Outcome>> {
    let batch = Batch { in_flight: IN_FLIGHT, bound: 5 * STABILISATION };
    batch.run(world, commands.len(), |_, index| commands[index].clone())
}

/// Each node counts once on each counter, adds an element of its own, and sets a field that all nodes set.
fn change(world: &mut World, nodes: &[NodeIndex], phase: &str, promised: &mut Promised) {
    let element = |node: &NodeIndex| format!("{phase} {node}");
    let mut commands = Vec::new();
    for node in nodes {
        for counter in COUNTERS {
            commands.push((*node, apply(counter, Operation::Count(1))));
        }
        commands.push((*node, apply(SET, Operation::AddElements(vec![element(node)]))));
        let value = element(node).into();
        commands.push((*node, apply(MAP, Operation::SetField { field: phase.to_owned(), value })));
    }
    let outcomes = all(world, &commands);
    promised.asked += commands.len();
    for (index, outcome) in outcomes.iter().enumerate() {
        let (node, which) = (&nodes[index / 4], index % 4);
        let done = is_done(outcome.as_ref());
        promised.acknowledged += usize::from(done);
        if COUNTERS.contains(&which) {
            promised.counted[which] += usize::from(done);
            promised.unclear[which] += usize::from(!done);
        } else if which == SET && done {
            promised.present.insert(element(node));
        }
    }
}

/// The left side removes elements that were added before the split; the right side adds every other one of
/// them again at the same time.
fn remove_and_add(
    world: &mut World,
    left: &[NodeIndex],
    right: &[NodeIndex],
    promised: &mut Promised,
) {
    let before: Vec<String> =
        promised.present.iter().filter(|it| it.starts_with("before")).take(8).cloned().collect();
    let gets: Vec<_> = (0..before.len())
        .map(|index| (left[index % left.len()], Command::Get { key: key(SET), quorum: None }))
        .collect();
    let read = all(world, &gets);
    // A removal covers what its node reads: the left side may have no replica from before the split.
    let seen: BTreeSet<String> = before
        .iter()
        .zip(&read)
        .filter(|(element, outcome)| has_element(outcome.as_ref(), element))
        .map(|(element, _)| element.clone())
        .collect();
    let mut commands = Vec::new();
    for (index, element) in before.iter().enumerate() {
        let removed = Operation::RemoveElements(vec![element.clone()]);
        commands.push((left[index % left.len()], apply(SET, removed)));
        if index % 2 == 0 {
            let added = Operation::AddElements(vec![element.clone()]);
            commands.push((right[index % right.len()], apply(SET, added)));
        }
    }
    let outcomes = all(world, &commands);
    promised.asked += commands.len();
    promised.acknowledged += outcomes.iter().filter(|it| is_done(it.as_ref())).count();
    let of = |command: &Command| match command {
        Command::Apply(Apply { operation: Operation::AddElements(it), .. }) => {
            (true, it[0].clone())
        }
        Command::Apply(Apply { operation: Operation::RemoveElements(it), .. }) => {
            (false, it[0].clone())
        }
        _ => (false, String::new()),
    };
    let mut added = BTreeSet::new();
    for ((_, command), outcome) in commands.iter().zip(&outcomes) {
        let (adds, element) = of(command);
        let done = is_done(outcome.as_ref());
        if adds && done {
            added.insert(element);
        } else if adds {
            // The element may be there or not.
            promised.absent.remove(&element);
        } else {
            promised.present.remove(&element);
            if done && seen.contains(&element) {
                promised.absent.insert(element);
            }
        }
    }
    promised.absent.retain(|element| !added.contains(element));
    promised.present.extend(added);
}

/// Whether the set that was read has this element.
fn has_element(outcome: Option<&Outcome>, element: &str) -> bool {
    let read = reading(outcome).and_then(|read| read.values.first());
    let folded = read.and_then(|value| value.folded.as_ref());
    matches!(folded, Some(Folded::Set(elements)) if elements.contains(element))
}

/// Compares the values that one node reads with the expected ones.
fn compare(run: &mut Run, world: &mut World, node: NodeIndex, promised: &Promised) {
    let gets: Vec<_> =
        RECORDS.map(|record| (node, Command::Get { key: key(record), quorum: None })).collect();
    let outcomes = all(world, &gets);
    let folded = |record: usize| {
        let read = reading(outcomes[record].as_ref())?;
        read.values.first()?.folded.clone().filter(|_| read.values.len() == 1)
    };
    let mut wrong = Vec::new();
    for counter in COUNTERS {
        let least = promised.counted[counter];
        let most = least + promised.unclear[counter];
        let exact = matches!(folded(counter), Some(Folded::Counter(sum))
            if (least as i128..=most as i128).contains(&sum));
        if !exact {
            wrong.push(format!("{:?} is not {least} to {most}", folded(counter)));
        }
    }
    run.check(Check::none_of("a counter is the sum of the increments", COUNTERS.len(), &wrong));
    let Some(Folded::Set(elements)) = folded(SET) else {
        run.check(Check::new("the set can be read", false, "it cannot"));
        return;
    };
    let mut wrong: Vec<String> = promised.present.difference(&elements).cloned().collect();
    run.check(Check::none_of("no added element is lost", promised.present.len(), &wrong));
    wrong = promised.absent.intersection(&elements).cloned().collect();
    run.check(Check::none_of("no removal is undone", promised.absent.len(), &wrong));
    let fields = match folded(MAP) {
        Some(Folded::Map(fields)) => fields.into_keys().collect(),
        Some(_) | None => Vec::new(),
    };
    let all = ["after", "before", "left", "right"];
    run.check(Check::new("each field has a value", fields == all, format!("{fields:?}")));
}
