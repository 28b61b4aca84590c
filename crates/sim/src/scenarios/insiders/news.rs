//! One member announces revocations that the authority did not sign.

use std::time::Duration;

use potluck_gossip::message::TopicName;
use potluck_wire::{InTopic, Request, TopicRequest};

use crate::check::Check;
use crate::hostile::Replica;
use crate::hostile::forge::Forger;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::{HostileIndex, World};

pub(in crate::scenarios) const INSIDER_NEWS: Scenario = Scenario {
    name: "insider-news",
    about: "a member announces 520 false revocations a message; nodes check few and pass on none",
    nodes: 16,
    nodes_min: 8,
    minutes: 1,
    must_fail: false,
    play,
};

/// False revocations in one announcement: as many as fit into a message.
const REVOCATIONS: usize = 520;
/// Announcements, one a second.
const MESSAGES: u32 = 20;
/// Nodes to which it has links.
const LINKS: usize = 2;
/// Signature checks a second that it may cause at a node, in addition to normal operation. Raising it lets an
/// attacker use more.
const CHECKS_PER_SECOND: u64 = 100;
/// Bytes that all other nodes may receive in calls meanwhile: less than two of the announcements.
const PASSED_ON_MAX: u64 = 100_000;

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(3).invite());
    let nodes = run.form(&mut world);
    let evil = world.hostile();
    world.hostile_manners(evil, Replica::new());
    world.hostile_joins(&[evil]);
    let mut forger = Forger::new(run.rng.next_u64());
    let calm = checks_in(&mut world, &nodes, |world| {
        world.run_for(Duration::from_secs(MESSAGES.into()));
    });
    let topic = TopicName::system();
    let came = bytes_of_calls(&world, &nodes[LINKS..]);
    let attacked = checks_in(&mut world, &nodes, |world| {
        for _ in 0..MESSAGES {
            link(world, evil, &nodes[..LINKS], &topic);
            world.run_for(Duration::from_millis(500));
            let push = world.hostile_me(evil, |me| {
                let payload = forger.garbage_revocations(me, REVOCATIONS);
                forger.message(me, me.identity, &topic, me.wall, payload)
            });
            for node in &nodes[..LINKS] {
                world.hostile_call(evil, *node, &push);
            }
            world.run_for(Duration::from_millis(500));
        }
    });
    let most = calm.iter().zip(&attacked).map(|(calm, hot)| hot.saturating_sub(*calm));
    let a_second = most.max().unwrap_or(0) / u64::from(MESSAGES);
    run.figure("signature checks a second more at the busiest node", Value::Count(a_second));
    let detail = format!("{a_second} a second more than in calm, {CHECKS_PER_SECOND} at most");
    let few = a_second <= CHECKS_PER_SECOND;
    run.check(Check::new("false announcements cost a node few checks", few, detail));
    let spread = bytes_of_calls(&world, &nodes[LINKS..]) - came;
    run.figure("bytes of announcements that its neighbours passed on", Value::Count(spread));
    let none = format!("{spread} bytes, {PASSED_ON_MAX} at most");
    run.check(Check::new("no false announcement is passed on", spread <= PASSED_ON_MAX, none));
    let stats = world.hostile_stats(evil);
    let heard = stats.answered > u64::from(MESSAGES);
    run.check(Check::new("the announcements reach nodes", heard, format!("{stats:?}")));
    world
}

/// Bytes that these nodes received in calls: announcements of this size do not fit into a datagram.
fn bytes_of_calls(world: &World, nodes: &[NodeIndex]) -> u64 {
    nodes.iter().map(|node| world.traffic(*node).call_bytes_in).sum()
}

/// The signature checks of each node during an action.
fn checks_in(world: &mut World, nodes: &[NodeIndex], act: impl FnOnce(&mut World)) -> Vec<u64> {
    let count = |world: &World| -> Vec<u64> {
        nodes.iter().map(|node| world.node(*node).signature_checks()).collect()
    };
    let before = count(world);
    act(world);
    count(world).iter().zip(before).map(|(after, before)| after - before).collect()
}

/// The malicious member asks nodes for a link in a topic.
pub(super) fn link(world: &mut World, who: HostileIndex, to: &[NodeIndex], topic: &TopicName) {
    for node in to {
        let body = TopicRequest::Neighbour { high_priority: true, age_ms: 600_000 };
        let request = Request::Topic(InTopic { topic: topic.id(), body });
        world.hostile_ask(who, *node, &request);
    }
}
