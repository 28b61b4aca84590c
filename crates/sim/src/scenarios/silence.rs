//! Nine of ten nodes crash at once. The surviving nodes keep receiving the messages of the other survivors.

use std::time::Duration;

use potluck_gossip::Mode;
use potluck_gossip::message::TopicName;

use super::publications::{Publications, largest_part};
use crate::batch::pick;
use crate::check::Check;
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::World;

pub(super) const SILENCE: Scenario = Scenario {
    name: "silence",
    about: "90 % of the nodes crash at once; the others go on hearing each other's messages",
    nodes: 200,
    nodes_min: 50,
    minutes: 1,
    must_fail: false,
    play: |run| play(run, Mode::Fleet),
};

pub(super) const SILENCE_OPEN: Scenario = Scenario {
    name: "silence-open",
    about: "the same where nobody knows all: most contacts of the survivors are gone as well",
    nodes: 300,
    nodes_min: 100,
    minutes: 1,
    must_fail: false,
    play: |run| play(run, Mode::Open),
};

/// Survivors that publish, each once a second.
const PUBLISHERS: usize = 5;
/// Seconds after the crash in which they publish.
const ROUNDS: usize = 20;
/// Time limit of a delivery.
const TIME: Duration = Duration::from_secs(10);
/// The share of survivors that must get each message.
const SHARE: f64 = 0.999;

fn play(run: &mut Run, mode: Mode) -> World {
    let mut world = World::new(run.config_in(mode));
    let mut nodes = run.form(&mut world);
    run.rng.shuffle(&mut nodes);
    let mut publications = Publications::new("silence");
    publications.subscribe(&mut world, &nodes, STABILISATION / 2);
    world.run_for(STABILISATION + run.length());
    for _ in 0..ROUNDS {
        publications.publish(&mut world, pick(&mut run.rng, &nodes));
        world.run_for(Duration::from_secs(1));
    }

    let (survivors, gone) = nodes.split_at(run.nodes.div_ceil(10));
    gone.iter().for_each(|node| world.crash(*node));
    let first = publications.len();
    for _ in 0..ROUNDS {
        for node in survivors.iter().take(PUBLISHERS) {
            publications.publish(&mut world, *node);
        }
        world.run_for(Duration::from_secs(1));
    }
    world.run_for(2 * TIME);
    publications.collect(&mut world);
    run.figure("survivors", Value::count(survivors.len()));
    let each = |rounds: std::ops::Range<usize>| {
        first + PUBLISHERS * rounds.start..first + PUBLISHERS * rounds.end
    };
    for (name, rounds) in [
        ("published at once: delivered within 10 s", 0..1),
        ("published in the next 4 s: delivered within 10 s", 1..5),
        ("published in the next 15 s: delivered within 10 s", 5..ROUNDS),
    ] {
        let reach = publications.reach(&world, each(rounds), survivors);
        let got = reach.within(TIME);
        run.figure(name, Value::share(got, reach.wanted));
        run.figure("and how long it took", Value::times(reach.times));
    }
    let reach = publications.reach(&world, each(0..ROUNDS), survivors);
    let (got, wanted) = (reach.within(TIME), reach.wanted);
    let rule = "99.9 % of the survivors get each message within 10 s";
    run.check(Check::share(rule, got, wanted, SHARE));
    run.check(publications.none_twice(&world, survivors));
    let missing = publications.missing(&world, each(0..ROUNDS), survivors);
    run.figure("survivors that lack any message", Value::count(missing.len()));
    settled(run, &mut world, &publications, survivors);
    world
}

/// The overlays are connected again.
fn settled(run: &mut Run, world: &mut World, publications: &Publications, of: &[NodeIndex]) {
    world.run_for(STABILISATION);
    let links = publications.links(world, of);
    run.figure("links of a survivor a minute later", Value::Number(links));
    for (name, part) in [
        ("the topic's overlay is one", publications.largest_part(world, of)),
        ("the overlay of all nodes is one", largest_part(world, of, &TopicName::system())),
    ] {
        run.check(Check::share(name, part, of.len(), SHARE));
    }
}
