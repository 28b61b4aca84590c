//! One node shares a file and many fetch it at once. Some nodes are bad sources: a slow one, one with false
//! granules, one that dies, and one that accepts streams and sends nothing.

use std::time::Duration;

use potluck_base::BlobId;

use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::{Line, World};

pub(super) const FILES: Scenario = Scenario {
    name: "files",
    about: "a third of the nodes fetch one file at once; some are slow, lie, die or say nothing",
    nodes: 48,
    nodes_min: 24,
    minutes: 5,
    must_fail: false,
    play,
};

pub(super) const FILES_CLEAN: Scenario = Scenario {
    name: "files-clean",
    about: "a third of the nodes fetch one file at once over equal lines",
    nodes: 48,
    nodes_min: 24,
    minutes: 5,
    must_fail: false,
    play: play_clean,
};

const SIZE: u64 = 64 << 20;
/// Uplink of each node, in bytes a second: 16 Mbit/s.
const UP: f64 = 2_000_000.0;

fn play(run: &mut Run) -> World {
    fetch(run, true)
}

fn play_clean(run: &mut Run) -> World {
    fetch(run, false)
}

fn fetch(run: &mut Run, bad_company: bool) -> World {
    let mut world = World::new(run.config());
    let nodes = run.form(&mut world);
    let line = Line { up: UP, down: 4.0 * UP, ..Line::default() };
    nodes.iter().for_each(|node| world.set_line(*node, line));
    let blob = BlobId::of(b"a dish of 64 MiB");
    let (sharer, fetchers) = (nodes[0], nodes[4..4 + run.nodes / 3].to_vec());
    world.share(sharer, blob, SIZE);
    let (liar, mute, slow, mortal) = (nodes[1], nodes[2], fetchers[0], fetchers[1]);
    if bad_company {
        world.set_line(liar, Line { false_every: Some(20), ..line });
        world.share(liar, blob, SIZE);
        world.set_line(mute, Line { mute: true, ..line });
        world.share(mute, blob, SIZE);
        world.set_line(slow, Line { up: UP / 20.0, ..line });
    }
    world.run_for(Duration::from_secs(5));
    fetchers.iter().for_each(|node| world.fetch(*node, blob));
    if bad_company {
        world.run_for(Duration::from_secs(15));
        world.crash(mortal);
    }
    let honest: Vec<NodeIndex> =
        fetchers.iter().copied().filter(|node| !bad_company || *node != mortal).collect();
    let all = |world: &mut World| honest.iter().all(|node| world.fetched(*node, &blob).is_some());
    world.run_until(run.length(), all);
    report(run, &world, &honest, &blob, bad_company, liar);
    world
}

fn report(
    run: &mut Run,
    world: &World,
    fetchers: &[NodeIndex],
    blob: &BlobId,
    bad_company: bool,
    liar: NodeIndex,
) {
    let (mut times, mut twice, mut missing, mut believed) = (Vec::new(), 0, Vec::new(), 0);
    let lies = world.node(liar).peer().contact;
    for node in fetchers {
        match world.fetched(*node, blob) {
            Some(end) if end.error.is_none() && world.held_bytes(*node, blob) == SIZE => {
                times.push(end.times.1.since(end.times.0));
                twice += end.report.duplicate_bytes;
                let from_liar = end.report.sources.iter().find(|(contact, _)| *contact == lies);
                believed += from_liar.map_or(0, |(_, bytes)| *bytes);
            }
            other => missing.push(format!("{node}: {other:?}")),
        }
    }
    run.check(Check::none_of(
        "every fetcher that lives has the whole file",
        fetchers.len(),
        &missing,
    ));
    // One sender at the start, and all uplinks together later (Kumar and Ross 2006).
    let count = fetchers.len() as f64;
    let bound = (SIZE as f64 / UP).max(count * SIZE as f64 / ((count + 1.0) * UP));
    let last = times.iter().max().copied().unwrap_or_default().as_secs_f64();
    let share = twice as f64 / (SIZE as f64 * count);
    run.figure("fetch time", Value::times(times));
    run.figure("shortest possible time of the last", Value::Time(Duration::from_secs_f64(bound)));
    run.figure("share of that in the time of the last", Value::Number(bound / last.max(0.001)));
    run.figure("bytes that came twice, of all", Value::Number(share));
    run.figure("bytes from the liar", Value::Count(believed));
    let (least, most) = if bad_company { (0.5, 0.05) } else { (0.8, 0.02) };
    let fast = Check::new(
        "the last has it in good time",
        bound / last.max(0.001) >= least,
        format!("{bound:.1} s possible, {last:.1} s taken"),
    );
    run.check(fast);
    let few = format!("{:.2} % came twice", share * 100.0);
    run.check(Check::new("few bytes come twice", share <= most, few));
}
