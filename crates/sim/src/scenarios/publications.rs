//! Messages published in a run: whom each reached, when, and over how many links.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, PublicKey};
use potluck_gossip::message::{MessageId, TopicName};
use potluck_node::{Command, CommandId, Reply};

use crate::sim_node::NodeIndex;
use crate::world::World;

/// Bytes of a message: what a chat line or a reading of a sensor takes.
const PAYLOAD_BYTES: usize = 100;

/// One message.
#[derive(Debug)]
struct Publication {
    by: NodeIndex,
    at: Instant,
    command: CommandId,
    message: Option<MessageId>,
}

/// All messages that a scenario published in one topic.
#[derive(Debug)]
pub(super) struct Publications {
    topic: TopicName,
    all: Vec<Publication>,
}

/// Whom some messages reached.
#[derive(Debug)]
pub(super) struct Reach {
    /// Copies that were to be delivered: messages times nodes.
    pub(super) wanted: usize,
    /// How long each took that was.
    pub(super) times: Vec<Duration>,
}

impl Reach {
    /// How many were delivered within `time`.
    pub(super) fn within(&self, time: Duration) -> usize {
        self.times.iter().filter(|took| **took <= time).count()
    }
}

impl Publications {
    /// None yet, in a topic of the scenario's own.
    pub(super) fn new(name: &str) -> Self {
        let topic = TopicName::new(name).expect("a scenario names its topic well");
        Self { topic, all: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    /// All of these nodes subscribe, one after the other within `time`.
    pub(super) fn subscribe(&self, world: &mut World, nodes: &[NodeIndex], time: Duration) {
        let pause = time / nodes.len().max(1) as u32;
        for node in nodes {
            let topic = self.topic.clone();
            world.command(*node, Command::Subscribe { topic, after: None });
            world.run_for(pause);
        }
    }

    /// `node` publishes a message.
    pub(super) fn publish(&mut self, world: &mut World, node: NodeIndex) {
        let mut payload = vec![0; PAYLOAD_BYTES];
        payload[..8].copy_from_slice(&(self.all.len() as u64).to_le_bytes());
        let command = Command::Publish { topic: self.topic.clone(), payload: Bytes::from(payload) };
        let at = world.now();
        let command = world.command(node, command);
        self.all.push(Publication { by: node, at, command, message: None });
    }

    /// Looks which messages are on their way now. Says how many are not.
    pub(super) fn collect(&mut self, world: &mut World) -> usize {
        for publication in &mut self.all {
            let reply = world.outcome(publication.command).and_then(|outcome| outcome.reply);
            if let Some(Reply::Published(message)) = reply {
                publication.message = Some(message);
            }
        }
        self.all.iter().filter(|publication| publication.message.is_none()).count()
    }

    /// Whom the messages of this range reached of `nodes`, their publishers included.
    pub(super) fn reach(&self, world: &World, of: Range<usize>, nodes: &[NodeIndex]) -> Reach {
        let some = &self.all[of];
        let published: BTreeMap<MessageId, Instant> = some
            .iter()
            .filter_map(|publication| Some((publication.message?, publication.at)))
            .collect();
        let mut times = Vec::new();
        for node in nodes {
            for (at, message) in world.messages(*node) {
                times.extend(published.get(&message.id).map(|published| at.since(*published)));
            }
        }
        Reach { wanted: some.len() * nodes.len(), times }
    }

    /// Which of `nodes` lack a message of this range, and how many they lack.
    pub(super) fn missing(
        &self,
        world: &World,
        of: Range<usize>,
        nodes: &[NodeIndex],
    ) -> Vec<String> {
        let count = of.len();
        let missing = |node: &NodeIndex| {
            let got = self.reach(world, of.clone(), &[*node]).times.len();
            (got < count).then(|| format!("{node} lacks {}", count - got))
        };
        nodes.iter().filter_map(missing).collect()
    }

    /// How many links the messages of this range took to their farthest receiver, one number each.
    /// Followed back from each node to whom its first copy came from.
    pub(super) fn last_hops(
        &self,
        world: &World,
        of: Range<usize>,
        nodes: &[NodeIndex],
    ) -> Vec<u32> {
        let by_key: BTreeMap<PublicKey, NodeIndex> =
            nodes.iter().map(|node| (world.node(*node).peer.contact.public_key, *node)).collect();
        let mut farthest = Vec::new();
        for publication in &self.all[of] {
            let Some(message) = publication.message else { continue };
            let source = |node: &NodeIndex| {
                let topics = world.node(*node).machine()?.topics();
                by_key.get(&topics.source_of(&self.topic, &message)?).copied()
            };
            let mut depths = BTreeMap::from([(publication.by, 0_u32)]);
            for node in nodes {
                let mut way = vec![*node];
                while let Some(last) = way.last().copied().filter(|last| !depths.contains_key(last))
                {
                    match source(&last).filter(|from| !way.contains(from)) {
                        Some(from) => way.push(from),
                        None => break,
                    }
                }
                let Some(mut depth) = way.pop().and_then(|root| depths.get(&root).copied()) else {
                    continue;
                };
                for node in way.into_iter().rev() {
                    depth += 1;
                    depths.insert(node, depth);
                }
            }
            farthest.extend(depths.values().max());
        }
        farthest
    }

    /// Over how many links of the overlay of `nodes` the one is that is farthest from `from`.
    pub(super) fn farthest(&self, world: &World, nodes: &[NodeIndex], from: NodeIndex) -> u32 {
        let by_key: BTreeMap<PublicKey, NodeIndex> =
            nodes.iter().map(|node| (world.node(*node).peer.contact.public_key, *node)).collect();
        let (mut seen, mut last, mut depth) = (BTreeSet::from([from]), vec![from], 0);
        loop {
            let linked = last.iter().flat_map(|node| neighbours(world, *node, &self.topic));
            let linked = linked.filter_map(|peer| by_key.get(&peer).copied());
            last = linked.filter(|node| seen.insert(*node)).collect();
            if last.is_empty() {
                return depth;
            }
            depth += 1;
        }
    }

    /// Links of this topic that each of `nodes` has, on average.
    pub(super) fn links(&self, world: &World, nodes: &[NodeIndex]) -> f64 {
        let links: usize =
            nodes.iter().map(|node| neighbours(world, *node, &self.topic).len()).sum();
        links as f64 / nodes.len().max(1) as f64
    }

    /// How many of `nodes` hang together in the largest part of this topic's overlay.
    pub(super) fn largest_part(&self, world: &World, nodes: &[NodeIndex]) -> usize {
        largest_part(world, nodes, &self.topic)
    }
}

fn neighbours(world: &World, node: NodeIndex, topic: &TopicName) -> Vec<PublicKey> {
    let machine = world.node(node).machine();
    let contacts = machine.map(|machine| machine.topics().neighbours_in(topic));
    contacts.into_iter().flatten().map(|contact| contact.public_key).collect()
}

/// How many of `nodes` hang together in the largest part of a topic's overlay.
pub(super) fn largest_part(world: &World, nodes: &[NodeIndex], topic: &TopicName) -> usize {
    let links: BTreeMap<PublicKey, Vec<PublicKey>> = nodes
        .iter()
        .map(|node| (world.node(*node).peer.contact.public_key, neighbours(world, *node, topic)))
        .collect();
    let mut left: BTreeSet<PublicKey> = links.keys().copied().collect();
    let mut largest = 0;
    while let Some(first) = left.pop_first() {
        let (mut size, mut reached) = (0, vec![first]);
        while let Some(node) = reached.pop() {
            size += 1;
            let next = links.get(&node).into_iter().flatten();
            reached.extend(next.copied().filter(|peer| left.remove(peer)));
        }
        largest = largest.max(size);
    }
    largest
}
