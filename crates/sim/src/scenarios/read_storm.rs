//! Many clients read one record while its holders die. Each read is answered, and the death of a holder does
//! not make the clients send more and more requests.

use std::time::Duration;

use potluck_base::Key;
use potluck_node::{Command, CommandId, WriteContext};

use crate::check::Check;
use crate::check::bounds::stats;
use crate::check::replication::Census;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, key, reading};
use crate::world::{Outcome, World};

pub(super) const READ_STORM: Scenario = Scenario {
    name: "read-storm",
    about: "1,000 clients read one record while its closest holder dies; writes go on as well",
    nodes: 200,
    nodes_min: 20,
    minutes: 1,
    must_fail: false,
    play,
};

/// Reads of one round.
const READS: usize = 1_000;
/// The time in which the clients of one round begin to read.
const ROUND: Duration = Duration::from_secs(5);
/// Steps in which they begin.
const STEPS: usize = 100;
/// Writes of one round, to records that the dead node held.
const WRITES: usize = 100;
/// Reads of one node at once, which share lookups.
const AT_ONCE: usize = 500;
/// Most requests per read, relative to a calm round.
const MOST: f64 = 2.0;

/// One round of reads.
struct Round {
    answered: usize,
    took: Vec<Duration>,
    /// Requests of lookups, including repeated tries, divided by the reads.
    requests: f64,
}

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config());
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 200);
    workload.fill(&mut world, 0..WRITES, 50);
    world.run_for(STABILISATION);
    let popular = key(0);

    let calm = read(run, &mut world, &nodes, popular, None);
    let holders = Census::take(&mut world).replica_set(&popular, 1);
    let after = read(run, &mut world, &nodes, popular, holders.first().copied());
    for (name, round) in [("calm", &calm), ("while the closest holder dies", &after)] {
        run.figure(format!("{name}: reads answered"), Value::share(round.answered, READS));
        run.figure(format!("{name}: time"), Value::times(round.took.clone()));
        run.figure(format!("{name}: requests a read"), Value::Number(round.requests));
        run.check(Check::share("each read is answered", round.answered, READS, 1.0));
    }
    let factor = after.requests / calm.requests;
    run.figure("requests a read beside the calm round", Value::Number(factor));
    let rule = "a death makes readers send at most twice as much";
    run.check(Check::new(rule, factor <= MOST, format!("{factor:.2} times")));
    read_at_once(run, &mut world, &nodes, popular);
    write(run, &mut world, &mut workload, popular);
    world
}

/// Requests of lookups, including repeated tries, that these nodes have sent for any cause.
fn requests(world: &mut World, of: &[NodeIndex]) -> u64 {
    stats(world)
        .iter()
        .filter(|(node, _)| of.contains(node))
        .map(|(_, stats)| stats.dht.queries_sent + stats.link.retransmissions)
        .sum()
}

/// Reads through random nodes, spread over the round. The holder dies after a fifth of it.
fn read(
    run: &mut Run,
    world: &mut World,
    nodes: &[NodeIndex],
    key: Key,
    victim: Option<NodeIndex>,
) -> Round {
    let clients: Vec<NodeIndex> = nodes
        .iter()
        .copied()
        .filter(|node| Some(*node) != victim && world.node(*node).is_up())
        .collect();
    let before = requests(world, &clients);
    let mut asked = Vec::new();
    for step in 0..STEPS {
        if let Some(victim) = victim.filter(|_| step == STEPS / 5) {
            world.crash(victim);
        }
        for _ in 0..READS / STEPS {
            let node = clients[run.rng.below(clients.len() as u64) as usize];
            asked.push(world.command(node, Command::Get { key, quorum: None }));
        }
        world.run_for(ROUND / STEPS as u32);
    }
    let outcomes = outcomes(world, &asked);
    let sent = requests(world, &clients) - before;
    let answered = outcomes.iter().filter(|outcome| is_found(outcome.as_ref())).count();
    Round {
        answered,
        took: outcomes.iter().flatten().map(Outcome::took).collect(),
        requests: sent as f64 / READS as f64,
    }
}

fn outcomes(world: &mut World, asked: &[CommandId]) -> Vec<Option<Outcome>> {
    let pending = |world: &mut World| world.commands_pending() == 0;
    world.run_until(Duration::from_secs(30), pending);
    asked.iter().map(|id| world.outcome(*id)).collect()
}

fn is_found(outcome: Option<&Outcome>) -> bool {
    reading(outcome).is_some_and(|reading| !reading.values.is_empty())
}

/// Many clients of one node read at once: they share lookups.
fn read_at_once(run: &mut Run, world: &mut World, nodes: &[NodeIndex], key: Key) {
    let live: Vec<NodeIndex> =
        nodes.iter().copied().filter(|node| world.node(*node).is_up()).collect();
    let node = live[run.rng.below(live.len() as u64) as usize];
    let before = requests(world, &[node]);
    let asked: Vec<CommandId> =
        (0..AT_ONCE).map(|_| world.command(node, Command::Get { key, quorum: None })).collect();
    let outcomes = outcomes(world, &asked);
    let sent = requests(world, &[node]) - before;
    let answered = outcomes.iter().filter(|outcome| is_found(outcome.as_ref())).count();
    run.figure("500 reads of one node at once: requests", Value::Number(sent as f64));
    run.check(Check::share("reads of one node at once are answered", answered, AT_ONCE, 1.0));
}

/// Writes, in calm and while one replica has just died and another one is slow.
fn write(run: &mut Run, world: &mut World, workload: &mut Workload, popular: Key) {
    let replicas: Vec<NodeIndex> = Census::take(world)
        .replica_set(&popular, 3)
        .into_iter()
        .filter(|node| world.node(*node).is_up())
        .collect();
    let [dead, slow, ..] = replicas[..] else { return };
    let writers: Vec<NodeIndex> =
        world.live().into_iter().filter(|node| *node != dead && *node != slow).collect();
    write_all(run, world, workload, &writers, "writes: calm");
    world.crash(dead);
    world.pause(slow, Duration::from_secs(2));
    write_all(run, world, workload, &writers, "writes: one replica is dead and one is slow");
}

fn write_all(
    run: &mut Run,
    world: &mut World,
    workload: &mut Workload,
    writers: &[NodeIndex],
    name: &'static str,
) {
    let before = workload.put_times().len();
    for number in 0..WRITES {
        let node = writers[run.rng.below(writers.len() as u64) as usize];
        workload.put(world, node, number, WriteContext::Read);
        world.run_for(Duration::from_millis(10));
    }
    workload.finish(world, Duration::from_secs(30));
    let times = workload.put_times().split_off(before);
    run.check(Check::share("each write is acknowledged", times.len(), WRITES, 1.0));
    run.figure(name, Value::times(times));
}
