//! Files behind routers: each node behind a home router or a full-cone NAT learns its observed address,
//! announces its file there, and public nodes and nodes behind other routers fetch from it. Then the routers
//! restart, and each file is found at its new address.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::BlobId;
use potluck_dht::EntryPoint;
use potluck_node::{AddressSource, Command, Reply};

use crate::check::Check;
use crate::nat::NatKind;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::World;

pub(super) const NAT: Scenario = Scenario {
    name: "nat",
    about: "files behind routers are fetched by public nodes and from behind other routers",
    nodes: 12,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

const SIZE: u64 = 1 << 20;
/// Time within which a node has learnt and announced its address.
const SETTLED: Duration = Duration::from_secs(30);
/// Longest time of a fetch.
const FETCHED: Duration = Duration::from_secs(30);

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(3));
    let public = run.form(&mut world);
    let entries: Vec<EntryPoint> = public
        .iter()
        .take(3)
        .map(|node| EntryPoint::Contact(world.node(*node).peer().contact))
        .collect();
    let kinds = [NatKind::HOME, NatKind::OPEN, NatKind::HOME, NatKind::OPEN];
    let behind: Vec<NodeIndex> =
        kinds.into_iter().map(|kind| world.spawn_behind(kind, entries.clone())).collect();
    let strict = world.spawn_behind(NatKind::STRICT, entries);
    for node in &behind {
        world.share(*node, file(*node, 0), SIZE);
    }
    world.run_for(SETTLED);
    let first = observed(&mut world, &behind);
    round(run, &mut world, &behind, &public, 0);

    behind.iter().for_each(|node| world.restart_router(*node));
    let restarted = world.now();
    let moved = |world: &mut World| {
        let now = observed(world, &behind);
        now.iter().zip(&first).all(|(new, old)| new.is_some() && new != old)
    };
    world.run_until(SETTLED * 2, moved);
    run.figure("time until the new addresses are known", Value::Time(world.now().since(restarted)));
    for node in &behind {
        world.share(*node, file(*node, 1), SIZE);
    }
    world.run_for(SETTLED);
    let second = observed(&mut world, &behind);
    round(run, &mut world, &behind, &public, 1);

    let missing = |found: &[Option<SocketAddr>]| found.iter().filter(|it| it.is_none()).count();
    let changed = first.iter().zip(&second).filter(|(old, new)| old != new).count();
    let told = format!(
        "{} and {} of {} without an address, {changed} with a new one",
        missing(&first),
        missing(&second),
        behind.len()
    );
    let all = missing(&first) + missing(&second) == 0 && changed == behind.len();
    run.check(Check::new("nodes behind routers learn their addresses, also new ones", all, told));
    let strict = observed(&mut world, &[strict]);
    let none = strict[0].is_none();
    let told = format!("{:?}", strict[0]);
    run.check(Check::new("a node with a port for each peer tells no address", none, told));
    world
}

fn file(node: NodeIndex, round: u8) -> BlobId {
    BlobId::of(&[node.get() as u8, round, b'n'])
}

/// The observed addresses of these nodes, according to themselves.
fn observed(world: &mut World, nodes: &[NodeIndex]) -> Vec<Option<SocketAddr>> {
    let mut found = Vec::new();
    for node in nodes {
        let reply = world.ask(*node, Command::Status, Duration::from_secs(1));
        let Some(Reply::Status(status)) = reply else {
            found.push(None);
            continue;
        };
        let seen = status.addresses.iter().find(|own| own.source == AddressSource::Observed);
        found.push(seen.map(|own| own.socket));
    }
    found
}

/// Each file is fetched by a public node and by a node behind another router.
fn round(run: &mut Run, world: &mut World, behind: &[NodeIndex], public: &[NodeIndex], number: u8) {
    let mut fetches = Vec::new();
    for (index, node) in behind.iter().enumerate() {
        let blob = file(*node, number);
        let fetchers = [public[index % public.len()], behind[(index + 1) % behind.len()]];
        for fetcher in fetchers {
            world.fetch(fetcher, blob);
            fetches.push((fetcher, blob));
        }
    }
    let done =
        |world: &mut World| fetches.iter().all(|(node, blob)| world.fetched(*node, blob).is_some());
    world.run_until(FETCHED, done);
    let mut missing = Vec::new();
    let mut times = Vec::new();
    for (node, blob) in &fetches {
        match world.fetched(*node, blob) {
            Some(end) if end.error.is_none() && world.held_bytes(*node, blob) == SIZE => {
                times.push(end.times.1.since(end.times.0));
            }
            other => missing.push(format!("{node}: {other:?}")),
        }
    }
    let (figure, check) = match number {
        0 => ("fetch time", "files behind routers arrive"),
        _ => ("fetch time after the routers started anew", "and after the routers started anew"),
    };
    run.figure(figure, Value::times(times));
    run.check(Check::none_of(check, fetches.len(), &missing));
}
