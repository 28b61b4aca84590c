//! One member fills the provider records of a file with invented providers, signed by throw-away keys. The
//! file is found nevertheless.

use std::time::Duration;

use potluck_base::{BlobId, Contact};

use super::SETTLE;
use crate::check::Check;
use crate::hostile::Replica;
use crate::hostile::forge::Forger;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::world::World;

pub(in crate::scenarios) const ECLIPSE: Scenario = Scenario {
    name: "eclipse",
    about: "a member fills a file's list of sources with addresses where nothing is; it is found",
    nodes: 10,
    nodes_min: 6,
    minutes: 1,
    must_fail: false,
    play,
};

const SIZE: u64 = 4 * 1024 * 1024;
/// More providers than a record keeps.
const PROVIDERS: usize = 160;
const WITHIN: Duration = Duration::from_secs(10);

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(4).invite());
    let nodes = run.form(&mut world);
    let blob = BlobId::of(b"a file that someone hides");
    let evil = world.hostile();
    world.hostile_manners(evil, Replica::new());
    world.hostile_joins(&[evil]);
    let mut forger = Forger::new(run.rng.next_u64());
    let away = world.stranger(1);
    let mut strike = |world: &mut World| {
        let records: Vec<_> = world.hostile_me(evil, |me| {
            let one = |_| {
                let nobody = forger.throw_away();
                let contact = Contact::new(nobody.public_key(), away);
                forger.provider(me, &nobody, &blob, contact).encode()
            };
            (0..PROVIDERS).map(one).collect()
        });
        for node in &nodes {
            world.hostile_store(evil, *node, records.clone());
        }
        world.run_for(SETTLE);
    };
    strike(&mut world);
    world.share(nodes[1], blob, SIZE);
    world.run_for(SETTLE);
    strike(&mut world);
    let fetcher = nodes[4];
    world.fetch(fetcher, blob);
    world.run_until(run.length(), |world| world.fetched(fetcher, &blob).is_some());
    let end = world.fetched(fetcher, &blob).cloned();
    let held = world.held_bytes(fetcher, &blob);
    let took = end.as_ref().map(|end| end.times.1.since(end.times.0));
    run.figure("fetch took", Value::Time(took.unwrap_or(run.length())));
    let error = end.as_ref().and_then(|end| end.error);
    let right = end.is_some() && error.is_none() && held == SIZE;
    run.check(Check::new(
        "the file is found and arrives",
        right,
        format!("{held} bytes, {error:?}"),
    ));
    let soon = right && took.is_some_and(|took| took <= WITHIN);
    run.check(Check::new("it arrives within 10 s", soon, format!("{took:?}")));
    world
}
