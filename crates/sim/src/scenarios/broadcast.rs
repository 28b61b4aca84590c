//! Every node receives the messages of a few publishers: the cost, and the number of links on the way.

use std::time::Duration;

use potluck_gossip::Mode;
use potluck_gossip::topics::TopicsStats;

use super::publications::Publications;
use crate::batch::pick;
use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::World;

pub(super) const BROADCAST: Scenario = Scenario {
    name: "broadcast",
    about: "a fleet hears what a few say; surplus copies, links to the last, time",
    nodes: 100,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play: |run| play(run, Mode::Fleet, 0.1),
};

pub(super) const BROADCAST_OPEN: Scenario = Scenario {
    name: "broadcast-open",
    about: "the same among strangers, where everybody wants each message twice",
    nodes: 100,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play: |run| play(run, Mode::Open, 1.1),
};

/// The number of publishers.
const PUBLISHERS: usize = 5;
/// Messages of each publisher that form the trees: more than the eight after which it has its own.
const WARM_UP: usize = 10;
/// Time until the overlays of nodes that subscribed at the same time change as slowly as any other.
const SETTLED: Duration = Duration::from_secs(130);
/// Messages measured, in a minute.
const MESSAGES: usize = 60;
/// Links to the last receiver, at most: for 10,000 nodes with eight links each about twice the
/// logarithm to the base of seven.
const HOPS_MAX: u32 = 12;

fn play(run: &mut Run, mode: Mode, surplus_max: f64) -> World {
    let mut config = run.config_in(mode);
    // In networks with too many nodes for full lists, the trees are still those of a fleet.
    config.node.topics.parents = Some(if mode == Mode::Fleet { 1 } else { 2 });
    let mut world = World::new(config);
    let mut nodes = run.form(&mut world);
    run.rng.shuffle(&mut nodes);
    let mut publications = Publications::new("broadcast");
    publications.subscribe(&mut world, &nodes, STABILISATION / 2);
    world.run_for(SETTLED);
    run.figure("links of a subscriber", Value::Number(publications.links(&world, &nodes)));
    let part = publications.largest_part(&world, &nodes);
    let detail = format!("{part} of {} hang together", nodes.len());
    run.check(Check::new("the overlay of a topic is one", part == nodes.len(), detail));

    let publishers = nodes[..PUBLISHERS].to_vec();
    for by in publishers.iter().cycle().take(WARM_UP * PUBLISHERS) {
        publications.publish(&mut world, *by);
        world.run_for(Duration::from_millis(500));
    }
    let before = copies(&world, &nodes);
    publish(run, &mut world, &mut publications, &publishers, MESSAGES * run.minutes as usize);
    let after = copies(&world, &nodes);
    world.run_for(STABILISATION / 2);
    publications.collect(&mut world);

    let measured = WARM_UP * PUBLISHERS..publications.len();
    let reach = publications.reach(&world, measured.clone(), &nodes);
    run.figure("messages delivered", Value::share(reach.times.len(), reach.wanted));
    run.figure("publish until delivered", Value::times(reach.times));
    let missing = publications.missing(&world, 0..publications.len(), &nodes);
    run.check(Check::none_of("everybody gets every message", nodes.len(), &missing));
    run.check(publications.none_twice(&world, &nodes));

    let since = |of: fn(&TopicsStats) -> u64| of(&after) - of(&before);
    let (came, surplus) = (since(|s| s.payloads_received), since(|s| s.duplicates));
    run.figure("links put on the tree for speed", Value::Count(since(|s| s.switched)));
    run.figure("links taken off the tree", Value::Count(since(|s| s.prunes)));
    run.figure("requests for messages and for the tree", Value::Count(since(|s| s.grafts)));
    run.figure("messages that had to be asked for", Value::Count(since(|s| s.repaired)));
    let rate = surplus as f64 / came.saturating_sub(surplus).max(1) as f64;
    run.figure("surplus copies per delivered message", Value::Number(rate));
    let detail = format!("{rate:.3} of at most {surplus_max}");
    let few = came > surplus && rate <= surplus_max;
    run.check(Check::new("few copies are surplus", few, detail));

    let hops = publications.last_hops(&world, measured, &nodes);
    let mean = f64::from(hops.iter().sum::<u32>()) / hops.len().max(1) as f64;
    run.figure("links to the last receiver, mean", Value::Number(mean));
    let most = hops.iter().max().copied().unwrap_or(0);
    run.figure("links to the last receiver, most", Value::count(most as usize));
    let detail = format!("{mean:.1} on average, {most} at most");
    let shortest = publishers.iter().map(|by| publications.farthest(&world, &nodes, *by));
    let shortest: u32 = shortest.sum();
    let shortest = f64::from(shortest) / PUBLISHERS as f64;
    run.figure("links to whoever is farthest, at least", Value::Number(shortest));
    let near = !hops.is_empty() && mean <= f64::from(HOPS_MAX);
    run.check(Check::new("the last receiver is near", near, detail));
    world
}

/// Publishes one message a second, by one of the publishers each.
fn publish(
    run: &mut Run,
    world: &mut World,
    publications: &mut Publications,
    by: &[NodeIndex],
    count: usize,
) {
    for _ in 0..count {
        publications.publish(world, pick(&mut run.rng, by));
        world.run_for(Duration::from_secs(1));
    }
}

/// The counters of copies and of changes of trees, over all nodes.
fn copies(world: &World, nodes: &[NodeIndex]) -> TopicsStats {
    let machines = nodes.iter().filter_map(|node| world.node(*node).machine());
    machines.fold(TopicsStats::default(), |sum, machine| {
        let stats = machine.topics().stats();
        TopicsStats {
            payloads_received: sum.payloads_received + stats.payloads_received,
            duplicates: sum.duplicates + stats.duplicates,
            switched: sum.switched + stats.switched,
            prunes: sum.prunes + stats.prunes,
            grafts: sum.grafts + stats.grafts,
            repaired: sum.repaired + stats.repaired,
            ..sum
        }
    })
}
