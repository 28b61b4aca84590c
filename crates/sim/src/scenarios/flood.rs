//! A hostile machine sends random bytes, replays and forgeries as fast as it can. Tables stay bounded,
//! nothing is amplified, and the service continues. Datagrams are sealed.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::Rng;
use potluck_node::WriteContext;

use crate::batch::pick;
use crate::check::{Check, bounds};
use crate::report::Value;
use crate::scenario::{Run, STABILISATION, Scenario};
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, reading};
use crate::world::{Seen, World};

pub(super) const FLOOD: Scenario = Scenario {
    name: "flood",
    about: "a hostile machine floods nodes with garbage, replays and forgeries; service goes on",
    nodes: 20,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

/// Hostile datagrams a second.
const RATE: u64 = 2_000;
const TICK: Duration = Duration::from_millis(50);

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(5).sealed(true));
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    world.tap(256);
    workload.fill(&mut world, 0..run.nodes, 20);
    let mut hostile = Hostile { rng: run.rng.fork("hostile"), victims: nodes[..4].to_vec() };
    let end = world.now() + run.length();
    let mut sent = 0_u64;
    while world.now() < end {
        for _ in 0..RATE / 20 {
            hostile.strike(&mut world);
            sent += 1;
        }
        // Through the victims, because their service must continue.
        let node = pick(&mut run.rng, &hostile.victims);
        workload.put(&mut world, node, sent as usize, WriteContext::Read);
        world.run_for(TICK);
        workload.collect(&mut world);
    }
    let stats = bounds::stats(&mut world);
    run.check(Check {
        name: "tables stay bounded under the flood",
        ..bounds::check(&world, &stats)
    });
    workload.finish(&mut world, STABILISATION);
    let asked = workload.history.writes().len();
    let written = workload.history.acknowledged().count();
    run.figure("hostile datagrams", Value::Count(sent));
    run.figure("writes acknowledged meanwhile", Value::share(written, asked));
    run.figure("write time", Value::times(workload.put_times()));
    run.check(Check::share("writes succeed under the flood", written, asked, 0.99));
    let keys: Vec<_> = workload.history.acknowledged().map(|write| write.key).collect();
    let outcomes = workload.read(&mut world, &keys, 50);
    let unread: Vec<String> = workload
        .history
        .acknowledged()
        .zip(&outcomes)
        .filter(|(write, outcome)| {
            !reading(outcome.as_ref()).is_some_and(|read| workload.history.is_kept(write, read))
        })
        .map(|(write, _)| format!("{:?}", write.key))
        .collect();
    run.check(Check::none_of("records are read after the flood", keys.len(), &unread));
    no_amplification(run, &world);
    world
}

fn no_amplification(run: &mut Run, world: &World) {
    let (mut bytes_in, mut bytes_out, mut senders, mut amplified) = (0, 0, 0, Vec::new());
    for number in 0..STRANGERS {
        let at = world.stranger(number);
        let stats = world.stranger_stats(at);
        senders += usize::from(stats.sent_bytes > 0);
        bytes_in += stats.sent_bytes;
        bytes_out += stats.received_bytes;
        if stats.received_bytes > stats.sent_bytes {
            amplified.push(format!(
                "{at} sent {} bytes and got {}",
                stats.sent_bytes, stats.received_bytes
            ));
        }
    }
    run.figure(
        "bytes back to the hostile machine",
        Value::Share { part: bytes_out, whole: bytes_in },
    );
    run.check(Check::none_of("nobody gets more bytes than it sent", senders, &amplified));
}

/// Addresses that the hostile machine uses.
const STRANGERS: u16 = 64;

struct Hostile {
    rng: Rng,
    victims: Vec<NodeIndex>,
}

impl Hostile {
    fn strike(&mut self, world: &mut World) {
        let from = world.stranger(self.rng.below(STRANGERS.into()) as u16);
        let victim = pick(&mut self.rng, &self.victims);
        let seen = match world.tapped().len() as u64 {
            0 => None,
            count => world.tapped().get(self.rng.below(count) as usize).cloned(),
        };
        match (self.rng.below(5), seen) {
            (0, _) | (_, None) => world.inject(from, victim, self.garbage()),
            (1, Some(seen)) => self.replay(world, from, &seen),
            (2, Some(seen)) => self.replay(world, seen.from, &seen),
            (3, Some(seen)) => {
                let forged = self.forge(&seen.bytes);
                self.send(world, from, &seen, forged);
            }
            (_, Some(seen)) => {
                let forged = self.forge(&seen.bytes);
                self.send(world, seen.from, &seen, forged);
            }
        }
    }

    fn garbage(&mut self) -> Bytes {
        let length = self.rng.below(1400) as usize;
        let mut bytes = Vec::with_capacity(length + 32);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.rng.bytes::<32>());
        }
        bytes.truncate(length);
        bytes.into()
    }

    fn replay(&mut self, world: &mut World, from: SocketAddr, seen: &Seen) {
        self.send(world, from, seen, seen.bytes.clone());
    }

    fn send(&mut self, world: &mut World, from: SocketAddr, seen: &Seen, bytes: Bytes) {
        let to = world.all().find(|node| world.node(*node).peer().contact.address == seen.to);
        if let Some(to) = to {
            world.inject(from, to, bytes);
        }
    }

    /// A genuine datagram with some bytes changed, mostly in its header, or cut short.
    fn forge(&mut self, genuine: &Bytes) -> Bytes {
        let mut bytes = genuine.to_vec();
        for _ in 0..=self.rng.below(8) {
            let reach = if self.rng.chance(0.7) { bytes.len().min(120) } else { bytes.len() };
            if let Some(byte) = bytes.get_mut(self.rng.below(reach as u64) as usize) {
                *byte = self.rng.next_u64() as u8;
            }
        }
        if self.rng.chance(0.2) {
            bytes.truncate(self.rng.below(bytes.len() as u64 + 1) as usize);
        }
        bytes.into()
    }
}
