//! Malicious members among the sources of a file: some send a few bytes at long intervals, some claim a false
//! size, and one sends false bytes.

use std::time::Duration;

use potluck_base::{BlobId, Identity};

use super::SETTLE;
use crate::check::Check;
use crate::hostile::forge::Forger;
use crate::hostile::{Corrupt, Drip, Inflator, Manners, Replica};
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::world::World;

pub(in crate::scenarios) const DRIP: Scenario = Scenario {
    name: "drip",
    about: "six sources of a file drip beside two honest ones; it arrives in seconds",
    nodes: 10,
    nodes_min: 6,
    minutes: 2,
    must_fail: false,
    play: play_drip,
};

pub(in crate::scenarios) const WRONG_SIZE: Scenario = Scenario {
    name: "wrong-size",
    about: "sources claim other sizes of a file or send false bytes; it arrives in seconds",
    nodes: 10,
    nodes_min: 6,
    minutes: 2,
    must_fail: false,
    play: play_size,
};

/// The size of the file.
const SIZE: u64 = 20 * 1024 * 1024;
/// Malicious sources: more than a fetch asks at once before it knows the size.
const EVILS: usize = 6;
/// Time limit of the fetch. Without an attack it takes two seconds; each source that drips may cost two more
/// before it is replaced.
const WITHIN: Duration = Duration::from_secs(15);

fn play_drip(run: &mut Run) -> World {
    play(run, |_| Box::new(Drip::new(SIZE)))
}

fn play_size(run: &mut Run) -> World {
    let manners = |number| -> Box<dyn Manners> {
        match number % 4 {
            0 => Box::new(Corrupt::new(SIZE)),
            1 => Box::new(Inflator::new(Replica::new(), 1 << 50, 1)),
            2 => Box::new(Inflator::new(Replica::new(), SIZE + 1, 2)),
            _ => Box::new(Inflator::new(Replica::new(), 1, 3)),
        }
    };
    play(run, manners)
}

/// A file with two honest sources and six malicious ones, whose keys come first in every order.
fn play(run: &mut Run, manners: impl Fn(usize) -> Box<dyn Manners>) -> World {
    let mut world = World::new(run.config().replication(4).invite());
    let nodes = run.form(&mut world);
    let blob = BlobId::of(b"a file of twenty megabytes");
    let mut evils = Vec::new();
    for number in 0..EVILS {
        let first = (0..).map(|_| Identity::from_seed(run.rng.bytes()));
        let first = first.into_iter().find(|it| it.public_key().as_bytes()[0] < 4);
        let evil = world.hostile_as(first.expect("one key of 64 begins with little"), None);
        world.hostile_manners(evil, manners(number));
        evils.push(evil);
    }
    world.hostile_joins(&evils);
    world.share(nodes[1], blob, SIZE);
    world.share(nodes[2], blob, SIZE);
    world.run_for(SETTLE);
    let mut forger = Forger::new(run.rng.next_u64());
    for evil in &evils {
        let record = world
            .hostile_me(*evil, |me| forger.provider(me, me.identity, &blob, me.contact).encode());
        for node in &nodes {
            world.hostile_store(*evil, *node, vec![record.clone()]);
        }
    }
    world.run_for(SETTLE);
    let fetcher = nodes[4];
    let began = world.now();
    world.fetch(fetcher, blob);
    world.run_until(run.length(), |world| world.fetched(fetcher, &blob).is_some());
    let held = world.held_bytes(fetcher, &blob);
    let end = world.fetched(fetcher, &blob).cloned();
    let took = end.as_ref().map_or(world.now().since(began), |end| end.times.1.since(end.times.0));
    run.figure("fetch took, or was given up after", Value::Time(took));
    run.figure("bytes that arrived", Value::share(held as usize, SIZE as usize));
    let error = end.as_ref().and_then(|end| end.error);
    let right = end.is_some() && error.is_none() && held == SIZE;
    run.check(Check::new("the whole file arrives", right, format!("{held} bytes, {error:?}")));
    run.check(Check::new("it arrives within 15 s", right && took <= WITHIN, format!("{took:?}")));
    let asked: u64 = evils.iter().map(|evil| world.hostile_stats(*evil).came).sum();
    run.check(Check::new("the hostile sources are asked", asked > 0, format!("{asked} requests")));
    world
}
