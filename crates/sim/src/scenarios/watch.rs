//! A record changes repeatedly while its holders are killed and the network splits. Each watcher reports
//! every change or that it missed some, no change twice and no old one, and soon the last value.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, Key};
use potluck_kv::Change;
use potluck_node::{Command, Put, Reply, WriteContext};
use potluck_record::Space;

use crate::batch::pick;
use crate::check::{Check, closest};
use crate::network::Blocks;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{key, name};
use crate::world::World;

pub(super) const WATCH: Scenario = Scenario {
    name: "watch",
    about: "a record changes while its holders are killed and the network splits; watchers miss nothing unsaid",
    nodes: 30,
    nodes_min: 16,
    minutes: 10,
    must_fail: false,
    play,
};

const REPLICAS: u16 = 8;
const WATCHERS: usize = 6;
/// Time between two changes. A slow write delays the next one.
const PAUSE: Duration = Duration::from_secs(2);
const KILL_INTERVAL: Duration = Duration::from_secs(30);
/// Time for which a killed holder is down.
const DOWN: Duration = Duration::from_secs(20);
const SPLIT: Duration = Duration::from_secs(20);
/// Longest time until each watcher reports a change, counted from the end of a split that it was in.
const LATEST: Duration = Duration::from_secs(20);
/// Longest time that a write may take to be answered.
const ANSWER: Duration = Duration::from_secs(15);

/// One write.
#[derive(Debug)]
struct Written {
    asked: Instant,
    /// When it was acknowledged, if it was.
    acknowledged: Option<Instant>,
}

/// The faults of a run.
#[derive(Debug, Default)]
struct Faults {
    kills: usize,
    split: Option<(Instant, Instant)>,
}

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(REPLICAS));
    let mut nodes = run.form(&mut world);
    run.rng.shuffle(&mut nodes);
    let watchers: Vec<NodeIndex> = nodes[..WATCHERS].to_vec();
    let writer = nodes[WATCHERS];
    let key = key(0);
    for watcher in &watchers {
        let reply = world.ask(*watcher, Command::Watch { key }, ANSWER);
        let watched = matches!(&reply, Some(Reply::Watching(_)));
        run.check(Check::new("a watch of an absent record begins", watched, format!("{reply:?}")));
    }
    let changes = 30 * run.minutes as usize;
    let (writes, faults) = change(run, &mut world, &nodes, writer, changes);
    world.run_for(LATEST);
    judge(run, &world, &watchers, &writes, &faults);
    let lookups =
        world.all().filter_map(|node| world.node(node).machine()).map(|node| node.stats().kv);
    let (reads, told) = lookups
        .fold((0, 0), |(reads, told), kv| (reads + kv.watch_reads, told + kv.watch_notifications));
    run.figure("reads of watches", Value::Count(reads));
    run.figure("notifications", Value::Count(told));
    for watcher in &watchers {
        world.ask(*watcher, Command::Unwatch { key }, ANSWER);
    }
    world.run_for(STABILISATION);
    let leases: usize = world
        .live()
        .iter()
        .filter_map(|node| world.node(*node).machine())
        .map(|node| node.stats().kv.watch_leases)
        .sum();
    let detail = format!("{leases} left");
    run.check(Check::new("ended watches leave no lease", leases == 0, detail));
    world
}

/// Writes repeatedly, kills the holders one after the other, and splits the network once.
fn change(
    run: &mut Run,
    world: &mut World,
    nodes: &[NodeIndex],
    writer: NodeIndex,
    changes: usize,
) -> (Vec<Written>, Faults) {
    let (mut writes, mut faults) = (Vec::new(), Faults::default());
    // The writer and half of the watchers are on one side.
    let side: Vec<NodeIndex> = nodes[WATCHERS / 2..WATCHERS / 2 + nodes.len() * 2 / 3].to_vec();
    let others: Vec<NodeIndex> =
        nodes.iter().filter(|node| !side.contains(node)).copied().collect();
    let mut next_kill = world.now() + KILL_INTERVAL;
    let mut down: Option<(NodeIndex, Instant)> = None;
    let mut split = None;
    for number in 0..changes {
        let asked = world.now();
        if number == changes / 2 {
            split = Some((world.partition(&side, &others, Blocks::BothWays), asked));
        }
        if let Some((partition, began)) = split.filter(|(_, began)| asked >= *began + SPLIT) {
            world.heal(partition);
            faults.split = Some((began, world.now()));
            split = None;
        }
        if let Some((node, _)) = down.filter(|(_, until)| *until <= asked) {
            world.restart(node);
            down = None;
        }
        if asked >= next_kill && down.is_none() {
            next_kill = asked + KILL_INTERVAL;
            if let Some(victim) = holder(run, world, &key(0), &nodes[..=WATCHERS]) {
                world.crash(victim);
                faults.kills += 1;
                down = Some((victim, asked + DOWN));
            }
        }
        let reply = world.ask(writer, put(number), ANSWER);
        let acknowledged = matches!(reply, Some(Reply::Written(_))).then(|| world.now());
        writes.push(Written { asked, acknowledged });
        world.run_to((asked + PAUSE).max(world.now()));
    }
    if let Some((partition, began)) = split {
        world.heal(partition);
        faults.split = Some((began, world.now()));
    }
    (writes, faults)
}

/// A live holder of the key that is none of these.
fn holder(run: &mut Run, world: &World, key: &Key, spared: &[NodeIndex]) -> Option<NodeIndex> {
    let peers = world.peers(&world.live());
    let holders = closest(&peers, key, REPLICAS.into());
    let found: Vec<NodeIndex> = holders
        .iter()
        .filter_map(|peer| world.find(&peer.id))
        .filter(|node| !spared.contains(node))
        .collect();
    (!found.is_empty()).then(|| pick(&mut run.rng, &found))
}

fn put(number: usize) -> Command {
    Command::Put(Put {
        space: Space::Commons,
        name: Some(name(0)),
        kind: None,
        value: Some(Bytes::from(number.to_string())),
        ttl: None,
        quorum: None,
        context: WriteContext::Read,
    })
}

/// The number that a change shows, if it shows one value.
fn number(change: &Change) -> Option<usize> {
    match &change.reading.values[..] {
        [value] => std::str::from_utf8(&value.bytes).ok()?.parse().ok(),
        _ => None,
    }
}

fn judge(
    run: &mut Run,
    world: &World,
    watchers: &[NodeIndex],
    writes: &[Written],
    faults: &Faults,
) {
    let acknowledged = writes.iter().filter(|write| write.acknowledged.is_some()).count();
    run.figure("changes acknowledged", Value::share(acknowledged, writes.len()));
    run.figure("holders killed", Value::count(faults.kills));
    let last = writes.iter().rposition(|write| write.acknowledged.is_some()).unwrap_or(0);
    let (mut twice, mut late, mut unsaid, mut wrong) = (vec![], vec![], vec![], vec![]);
    let (mut delays, mut reports, mut gaps) = (Vec::new(), 0, 0);
    for watcher in watchers {
        let shown: Vec<(Instant, Option<usize>, bool)> = world
            .changes(*watcher)
            .map(|(at, change)| (*at, number(change), change.gap.is_gap()))
            .collect();
        reports += shown.len();
        gaps += shown.iter().filter(|(_, _, gap)| *gap).count();
        wrong.extend(
            shown.iter().filter(|it| it.1.is_none()).map(|it| format!("{watcher}: {it:?}")),
        );
        let mut before = None;
        for (at, number, gap) in &shown {
            let from = before.map_or(0, |before: usize| before + 1);
            let Some(number) = *number else { continue };
            if number < from {
                twice.push(format!("{watcher} at {at:?}: {number} after {before:?}"));
                continue;
            }
            let skipped =
                writes[from..number].iter().filter(|it| it.acknowledged.is_some()).count();
            if skipped > 0 && !gap {
                unsaid.push(format!("{watcher} at {at:?}: {number} after {before:?}"));
            }
            before = Some(number);
        }
        for (index, write) in writes.iter().enumerate() {
            let Some(acknowledged) = write.acknowledged else { continue };
            let seen = shown.iter().find(|it| it.1.is_some_and(|number| number >= index));
            let healed =
                faults.split.filter(|(from, to)| acknowledged >= *from && write.asked < *to);
            let due = healed.map_or(write.asked, |(_, to)| to.max(write.asked));
            match seen {
                Some((at, ..)) => delays.push(at.since(due)),
                None => late.push(format!("{watcher} never showed {index}")),
            }
            if let Some((at, ..)) = seen.filter(|(at, ..)| at.since(due) > LATEST) {
                late.push(format!("{watcher} showed {index} after {:?}", at.since(due)));
            }
        }
        if before.is_none_or(|before| before < last) {
            late.push(format!("{watcher} shows {before:?}, not {last}"));
        }
    }
    delays.sort_unstable();
    let median = delays.get(delays.len() / 2).copied().unwrap_or(Duration::MAX);
    run.figure("reports", Value::count(reports));
    run.figure("reports with a gap", Value::count(gaps));
    run.figure("from write to report", Value::times(delays));
    run.check(Check::none_of("each watcher shows each change within 20 s", reports, &late));
    run.check(Check::none_of("nothing is shown twice, and nothing old", reports, &twice));
    run.check(Check::none_of("what is missed is said", reports, &unsaid));
    run.check(Check::none_of("one value is shown", reports, &wrong));
    let detail = format!("{median:?}");
    run.check(Check::new("half within 2 s", median <= Duration::from_secs(2), detail));
}
