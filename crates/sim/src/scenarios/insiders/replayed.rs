//! One member records a message and replays it: at once, after a flood of messages by throw-away keys that
//! make nodes forget it, and to a restarted node.

use std::time::Duration;

use bytes::Bytes;
use potluck_gossip::message::TopicName;
use potluck_node::Command;
use potluck_wire::{InTopic, Request, TopicRequest};

use super::news::link;
use crate::check::Check;
use crate::hostile::Replica;
use crate::hostile::forge::Forger;
use crate::report::Value;
use crate::scenario::{Run, Scenario};
use crate::sim_node::NodeIndex;
use crate::world::{HostileIndex, World};

pub(in crate::scenarios) const REPLAYED_TOPIC: Scenario = Scenario {
    name: "replayed-topic",
    about: "a member plays an old message again and floods its topic; it arrives once, no flood does",
    nodes: 10,
    nodes_min: 6,
    minutes: 1,
    must_fail: false,
    play,
};

/// Throw-away publishers: more than a node remembers.
const PUBLISHERS: usize = 5_000;
/// Their messages in one push.
const BUNDLE: usize = 50;
/// Older than the messages that nodes repair, plus the allowed difference of clocks.
const OLD: Duration = Duration::from_secs(16 * 60);
const PAYLOAD: &[u8] = b"open the gate";

struct Replay {
    evil: HostileIndex,
    topic: TopicName,
    recorded: Vec<Bytes>,
}

impl Replay {
    /// Replays the recorded messages to each node.
    fn again(&self, world: &mut World, nodes: &[NodeIndex]) {
        link(world, self.evil, nodes, &self.topic);
        world.run_for(Duration::from_secs(1));
        let messages = self.recorded.clone();
        let body = TopicRequest::Gossip { messages };
        let push = Request::Topic(InTopic { topic: self.topic.id(), body });
        for node in nodes {
            world.hostile_call(self.evil, *node, &push);
        }
        world.run_for(Duration::from_secs(5));
    }
}

fn play(run: &mut Run) -> World {
    let mut world = World::new(run.config().replication(3).invite());
    let nodes = run.form(&mut world);
    let topic = TopicName::new("gates").expect("a good name");
    for node in &nodes {
        world.command(*node, Command::Subscribe { topic: topic.clone(), after: None });
    }
    world.run_for(Duration::from_secs(20));
    let evil = world.hostile();
    world.hostile_manners(evil, Replica::new());
    world.hostile_joins(&[evil]);
    link(&mut world, evil, &nodes, &topic);
    world.run_for(Duration::from_secs(2));
    let payload = Bytes::from_static(PAYLOAD);
    world.command(nodes[0], Command::Publish { topic: topic.clone(), payload });
    world.run_for(Duration::from_secs(5));
    let recorded = recorded(&world, evil, &topic);
    let heard = format!("{} recorded", recorded.len());
    run.check(Check::new("it hears the message", !recorded.is_empty(), heard));
    let replay = Replay { evil, topic, recorded };

    replay.again(&mut world, &nodes);
    once(run, &world, &nodes, "played again at once, a message arrives once");
    let victims = &nodes[1..2];
    flood(run, &mut world, &replay, victims);
    replay.again(&mut world, victims);
    once(run, &world, &nodes, "played again after a flood, it arrives once");
    let noise: usize = nodes.iter().map(|node| others(&world, *node)).sum();
    run.figure("messages of throw-away keys that were delivered", Value::count(noise));
    let none = format!("{noise} delivered");
    run.check(Check::new("no message of a throw-away key is delivered", noise == 0, none));
    restarted(run, &mut world, &nodes, &replay);
    world
}

/// A restarted node, which has forgotten all messages, does not accept an old message.
fn restarted(run: &mut Run, world: &mut World, nodes: &[NodeIndex], replay: &Replay) {
    world.run_for(OLD);
    let fresh = nodes[2];
    world.crash(fresh);
    world.restart(fresh);
    world.run_for(Duration::from_secs(10));
    let before = delivered(world, fresh);
    let subscribe = Command::Subscribe { topic: replay.topic.clone(), after: None };
    world.command(fresh, subscribe);
    world.run_for(Duration::from_secs(20));
    replay.again(world, &[fresh]);
    let again = delivered(world, fresh) - before;
    let detail = format!("{again} delivered");
    run.check(Check::new("an old message reaches no node that restarted", again == 0, detail));
}

/// The messages of a topic that nodes pushed to it.
fn recorded(world: &World, evil: HostileIndex, topic: &TopicName) -> Vec<Bytes> {
    let mut all = Vec::new();
    for (_, (_, request)) in world.hostile_came(evil) {
        if let Request::Topic(InTopic { topic: of, body: TopicRequest::Gossip { messages } }) =
            request
            && *of == topic.id()
        {
            all.extend(messages.iter().cloned());
        }
    }
    all.sort();
    all.dedup();
    all
}

fn flood(run: &mut Run, world: &mut World, replay: &Replay, victims: &[NodeIndex]) {
    let mut forger = Forger::new(run.rng.next_u64());
    for number in 0..PUBLISHERS / BUNDLE {
        if number % 20 == 0 {
            link(world, replay.evil, victims, &replay.topic);
            world.run_for(Duration::from_secs(1));
        }
        let messages = world.hostile_me(replay.evil, |me| {
            let one = |_| {
                let publisher = forger.throw_away();
                let payload = Bytes::from_static(b"noise");
                forger.message(me, &publisher, &replay.topic, me.wall, payload)
            };
            (0..BUNDLE).map(one).flat_map(messages_of).collect()
        });
        let body = TopicRequest::Gossip { messages };
        let push = Request::Topic(InTopic { topic: replay.topic.id(), body });
        for victim in victims {
            world.hostile_call(replay.evil, *victim, &push);
        }
        world.run_for(Duration::from_millis(100));
    }
    world.run_for(Duration::from_secs(5));
}

fn messages_of(push: Request) -> Vec<Bytes> {
    match push {
        Request::Topic(InTopic { body: TopicRequest::Gossip { messages }, .. }) => messages,
        _ => Vec::new(),
    }
}

fn delivered(world: &World, node: NodeIndex) -> usize {
    world.messages(node).filter(|(_, message)| message.payload == PAYLOAD).count()
}

fn others(world: &World, node: NodeIndex) -> usize {
    world.messages(node).filter(|(_, message)| message.payload != PAYLOAD).count()
}

fn once(run: &mut Run, world: &World, nodes: &[NodeIndex], rule: &'static str) {
    let wrong: Vec<String> = nodes
        .iter()
        .map(|node| (node, delivered(world, *node)))
        .filter(|(_, times)| *times != 1)
        .map(|(node, times)| format!("{node} got it {times} times"))
        .collect();
    run.check(Check::none_of(rule, nodes.len(), &wrong));
}
