//! Messages published in a run: the nodes that each reached, the times, and the numbers of links.
//!
//! **Invariant:** a message counts once for a node, however often the node delivers it to its subscribers. A
//! second delivery is a separate fault, which [`Publications::none_twice`] finds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, PublicKey};
use potluck_gossip::message::{MessageId, TopicName};
use potluck_node::{Command, CommandId, Reply};

use crate::check::Check;
use crate::sim_node::NodeIndex;
use crate::world::World;

/// Bytes of a message: the size of a chat line or a sensor reading.
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

/// The nodes that some messages reached.
#[derive(Debug)]
pub(super) struct Reach {
    /// Expected deliveries: messages times nodes.
    pub(super) wanted: usize,
    /// The time of each first delivery of a message at a node.
    pub(super) times: Vec<Duration>,
}

impl Reach {
    /// The number of deliveries within `time`.
    pub(super) fn within(&self, time: Duration) -> usize {
        self.times.iter().filter(|took| **took <= time).count()
    }
}

impl Publications {
    /// No messages yet, in a topic of the scenario.
    pub(super) fn new(name: &str) -> Self {
        let topic = TopicName::new(name).expect("a scenario names its topic well");
        Self { topic, all: Vec::new() }
    }

    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    /// Subscribes all of these nodes, one after the other within `time`.
    pub(super) fn subscribe(&self, world: &mut World, nodes: &[NodeIndex], time: Duration) {
        let pause = time / nodes.len().max(1) as u32;
        for node in nodes {
            let topic = self.topic.clone();
            world.command(*node, Command::Subscribe { topic, after: None });
            world.run_for(pause);
        }
    }

    /// Lets `node` publish a message.
    pub(super) fn publish(&mut self, world: &mut World, node: NodeIndex) {
        let mut payload = vec![0; PAYLOAD_BYTES];
        payload[..8].copy_from_slice(&(self.all.len() as u64).to_le_bytes());
        let command = Command::Publish { topic: self.topic.clone(), payload: Bytes::from(payload) };
        let at = world.now();
        let command = world.command(node, command);
        self.all.push(Publication { by: node, at, command, message: None });
    }

    /// Records which messages are published by now. Returns the number that are not.
    pub(super) fn collect(&mut self, world: &mut World) -> usize {
        for publication in &mut self.all {
            let reply = world.outcome(publication.command).and_then(|outcome| outcome.reply);
            if let Some(Reply::Published(message)) = reply {
                publication.message = Some(message);
            }
        }
        self.all.iter().filter(|publication| publication.message.is_none()).count()
    }

    /// The nodes that the messages of this range reached among `nodes`, including their publishers.
    pub(super) fn reach(&self, world: &World, of: Range<usize>, nodes: &[NodeIndex]) -> Reach {
        let some = &self.all[of];
        let published: BTreeMap<MessageId, Instant> = some
            .iter()
            .filter_map(|publication| Some((publication.message?, publication.at)))
            .collect();
        let came = nodes
            .iter()
            .flat_map(|node| world.messages(*node).map(|(at, message)| (*node, *at, message.id)));
        Reach { wanted: some.len() * nodes.len(), times: first_times(&published, came) }
    }

    /// The check that no node delivers a message of this topic to its subscribers twice.
    pub(super) fn none_twice(&self, world: &World, nodes: &[NodeIndex]) -> Check {
        let ours: BTreeSet<MessageId> =
            self.all.iter().filter_map(|publication| publication.message).collect();
        let came = nodes.iter().flat_map(|node| {
            let of_ours = world.messages(*node).filter(|(_, message)| ours.contains(&message.id));
            of_ours.map(|(_, message)| (*node, message.id))
        });
        let (first, again) = firsts_and_repeats(came);
        Check::none_of("no message is delivered twice", first, &again)
    }

    /// The nodes that lack a message of this range, with the number of lacking messages.
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

    /// The number of links to the farthest receiver, for each message of this range. It follows the sources
    /// of the first copies back to the publisher.
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

    /// The number of overlay links from `from` to the farthest of `nodes`.
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

    /// The number of `nodes` in the largest connected part of this topic's overlay.
    pub(super) fn largest_part(&self, world: &World, nodes: &[NodeIndex]) -> usize {
        largest_part(world, nodes, &self.topic)
    }
}

/// The time of the first delivery of each published message at each node.
fn first_times(
    published: &BTreeMap<MessageId, Instant>,
    came: impl Iterator<Item = (NodeIndex, Instant, MessageId)>,
) -> Vec<Duration> {
    let mut seen = BTreeSet::new();
    came.filter_map(|(node, at, id)| {
        let published = published.get(&id)?;
        seen.insert((node, id)).then(|| at.since(*published))
    })
    .collect()
}

/// The number of first deliveries, and a line for each repeated one.
fn firsts_and_repeats(came: impl Iterator<Item = (NodeIndex, MessageId)>) -> (usize, Vec<String>) {
    let mut seen = BTreeSet::new();
    let again = came.filter(|delivery| !seen.insert(*delivery));
    let again = again.map(|(node, id)| format!("{node} got {id:?} again")).collect();
    (seen.len(), again)
}

fn neighbours(world: &World, node: NodeIndex, topic: &TopicName) -> Vec<PublicKey> {
    let machine = world.node(node).machine();
    let contacts = machine.map(|machine| machine.topics().neighbours_in(topic));
    contacts.into_iter().flatten().map(|contact| contact.public_key).collect()
}

/// The number of `nodes` in the largest connected part of a topic's overlay.
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

#[cfg(test)]
mod tests {
    use potluck_base::Identity;

    use super::*;

    fn id(sequence: u64) -> MessageId {
        let publisher = Identity::from_seed([1; 32]).public_key();
        MessageId { publisher, incarnation: 1, sequence }
    }

    #[test]
    fn a_message_that_came_twice_makes_up_for_none_that_is_lost() {
        let (a, b) = (NodeIndex::new(0), NodeIndex::new(1));
        let at = Instant::from_micros;
        let published = BTreeMap::from([(id(1), at(100)), (id(2), at(200))]);
        let came = [(a, at(130), id(1)), (a, at(500), id(1)), (a, at(600), id(9))];
        let took = first_times(&published, came.into_iter());
        assert_eq!(took, [Duration::from_micros(30)], "the first time counts, and nothing else");
        let came = [(a, at(130), id(1)), (b, at(140), id(1)), (b, at(260), id(2))];
        assert_eq!(first_times(&published, came.into_iter()).len(), 3);
    }

    #[test]
    fn a_second_delivery_at_a_node_is_told() {
        let (a, b) = (NodeIndex::new(0), NodeIndex::new(1));
        let came = [(a, id(1)), (b, id(1)), (b, id(2))];
        assert_eq!(firsts_and_repeats(came.into_iter()), (3, Vec::new()));
        let came = [(a, id(1)), (b, id(2)), (a, id(1))];
        let (first, again) = firsts_and_repeats(came.into_iter());
        assert_eq!((first, again.len()), (2, 1));
        assert!(again[0].starts_with(&format!("{a} got")), "{again:?}");
    }
}
