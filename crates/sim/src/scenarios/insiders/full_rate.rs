//! One member sends as much as it can of every kind at once: datagrams, calls, offers and messages.

use std::time::Duration;

use bytes::Bytes;
use potluck_base::Key;
use potluck_gossip::message::TopicName;
use potluck_record::StateDigest;
use potluck_wire::{OfferEntry, Request, Want};

use super::news::link;
use crate::check::{Check, bounds};
use crate::hostile::Replica;
use crate::hostile::forge::Forger;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::scenarios::members::deaths;
use crate::sim_node::NodeIndex;
use crate::workload::{Workload, key, reading};
use crate::world::{HostileIndex, World};

pub(in crate::scenarios) const INSIDER_FULL_RATE: Scenario = Scenario {
    name: "insider-full-rate",
    about: "a member sends all it can in every way at once; the others' reads go on, none is suspected",
    nodes: 12,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

/// Records that are read, and reads before and during the attack.
const RECORDS: usize = 20;
const READS: usize = 200;
/// Ticks of the attack per second, and what it sends to each victim in one tick.
const TICKS: u32 = 20;
const DATAGRAMS: usize = 40;
/// Nodes that it attacks; the reads go through them.
const VICTIMS: usize = 3;
/// Most signature checks a second that it may cause at a node: 25 ms of processor time. Raising it lets an
/// attacker use more.
const CHECKS_PER_SECOND: u64 = 1_000;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(4).invite());
    let nodes = run.form(&mut world);
    let mut workload = Workload::new(run.rng.fork("workload"), 64);
    workload.fill(&mut world, 0..RECORDS, 10);
    let victims = nodes[1..=VICTIMS].to_vec();
    let evil = world.hostile();
    world.hostile_manners(evil, Replica::new());
    world.hostile_joins(&[evil]);
    let calm = reads(&mut world, &victims, |_| {});

    let before: Vec<u64> = checks(&world, &victims);
    let began = world.now();
    let mut storm = Storm::new(run.rng.next_u64(), &world, evil);
    let hot = reads(&mut world, &victims, |world| storm.strike(world, evil, &victims));
    let seconds = world.now().since(began).as_secs().max(1);
    let most = checks(&world, &victims).iter().zip(before).map(|(now, then)| now - then).max();
    let a_second = most.unwrap_or(0) / seconds;
    run.figure("requests of the member", Value::Count(storm.sent));
    run.figure("signature checks a second at the busiest node", Value::Count(a_second));
    run.figure("get time in calm", Value::times(calm.clone()));
    run.figure("get time meanwhile", Value::times(hot.clone()));
    let slowest = |times: &[Duration]| times.iter().max().copied().unwrap_or_default();
    let right = format!("{} in calm, {} meanwhile, of {READS}", calm.len(), hot.len());
    let all = calm.len() == READS && hot.len() == READS;
    run.check(Check::new("all gets show the record", all, right));
    let detail = format!("{:?} in calm, {:?} meanwhile", slowest(&calm), slowest(&hot));
    let quick = slowest(&hot) <= 10 * slowest(&calm);
    run.check(Check::new("the slowest get takes at most ten times as long", quick, detail));
    let few = format!("{a_second} a second, {CHECKS_PER_SECOND} at most");
    run.check(Check::new("a member costs few checks", a_second <= CHECKS_PER_SECOND, few));
    let wrong = deaths(&world, |_| true);
    run.check(Check::none_of("no honest node is taken for dead", nodes.len(), &wrong));
    let stats = bounds::stats(&mut world);
    run.check(Check { name: "tables stay bounded meanwhile", ..bounds::check(&world, &stats) });
    world
}

fn checks(world: &World, nodes: &[NodeIndex]) -> Vec<u64> {
    nodes.iter().map(|node| world.node(*node).signature_checks()).collect()
}

/// Reads through these nodes, one after the other, with a background action. Returns the time of each right
/// read.
fn reads(
    world: &mut World,
    nodes: &[NodeIndex],
    mut meanwhile: impl FnMut(&mut World),
) -> Vec<Duration> {
    let mut times = Vec::new();
    for number in 0..READS {
        let (node, key) = (nodes[number % nodes.len()], key(number % RECORDS));
        let id = world.command(node, potluck_node::Command::Get { key, quorum: None });
        let end = world.now() + Duration::from_secs(10);
        let outcome = loop {
            meanwhile(world);
            world.run_for(Duration::from_secs(1) / TICKS);
            match world.outcome(id) {
                None if world.now() < end => {}
                outcome => break outcome,
            }
        };
        let right = reading(outcome.as_ref()).is_some_and(|read| read.values.len() == 1);
        times.extend(outcome.filter(|_| right).map(|outcome| outcome.took()));
    }
    times
}

/// The traffic of the malicious member.
struct Storm {
    forger: Forger,
    junk: Vec<Bytes>,
    topic: TopicName,
    ticks: u64,
    sent: u64,
}

impl Storm {
    fn new(seed: u64, world: &World, evil: HostileIndex) -> Self {
        let mut forger = Forger::new(seed);
        let junk = world.hostile_me(evil, |me| {
            (0..200).map(|number| forger.unsigned(me, &format!("junk {number}"))).collect()
        });
        Self { forger, junk, topic: TopicName::system(), ticks: 0, sent: 0 }
    }

    fn strike(&mut self, world: &mut World, evil: HostileIndex, victims: &[NodeIndex]) {
        self.ticks += 1;
        if self.ticks % 20 == 1 {
            link(world, evil, victims, &self.topic);
        }
        let target = Key::from_bytes(*blake3::hash(&self.ticks.to_le_bytes()).as_bytes());
        let find = Request::FindNode { target, count: 16, want: Want::Values, parts: None };
        let message = world.hostile_me(evil, |me| {
            let payload = self.forger.garbage_revocations(me, 200);
            self.forger.message(me, me.identity, &self.topic, me.wall, payload)
        });
        let mut digest = [7; 16];
        digest[..8].copy_from_slice(&self.ticks.to_le_bytes());
        let entry = OfferEntry { key: target, digest: StateDigest::from_bytes(digest) };
        for victim in victims {
            for _ in 0..DATAGRAMS {
                self.sent += u64::from(world.hostile_ask(evil, *victim, &find));
            }
            world.hostile_store(evil, *victim, self.junk.clone());
            world.hostile_call(evil, *victim, &message);
            world.hostile_call(evil, *victim, &Request::Offer { entries: vec![entry] });
            self.sent += 3;
        }
    }
}
