//! The network between the nodes: the properties of pairs of endpoints. [`crate::lines`] decides about each
//! datagram.
//!
//! Round-trip times are log-normal over the pairs of endpoints and constant for a pair, as measured between
//! hosts of the Internet; each datagram adds its own jitter. Partitions block pairs in one or both
//! directions.
//!
//! **Invariant:** it does not change while time passes, so all shards read it. Scenarios change it between
//! runs of the shards.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::draws::mix;
use crate::sim_node::NodeIndex;

/// The behaviour of the network.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// Half of the pairs of nodes have a shorter round trip than this.
    pub median_rtt: Duration,
    /// Standard deviation of the logarithm of a pair's round-trip time; 0: all pairs alike.
    pub rtt_spread: f64,
    /// A datagram takes up to this fraction longer than its pair's time.
    pub jitter: f64,
    /// Share of datagrams lost.
    pub loss: f64,
    /// Share of datagrams delivered twice.
    pub duplicate: f64,
    /// Share of datagrams delayed by up to two round trips, so that later ones overtake them.
    pub reorder: f64,
    /// Share of datagrams after which their direction clogs.
    pub clog: f64,
    /// The longest time for which a clog delays everything in its direction.
    pub clog_time: Duration,
}

impl Default for NetworkConfig {
    /// The Internet on a good day: 80 ms median, 1 % lost.
    fn default() -> Self {
        Self {
            median_rtt: Duration::from_millis(80),
            rtt_spread: 0.5,
            jitter: 0.1,
            loss: 0.01,
            duplicate: 0.0,
            reorder: 0.0,
            clog: 0.0,
            clog_time: Duration::from_secs(1),
        }
    }
}

/// The shortest round trip, as a share of the median. A shorter one, which one pair of 60,000 has with the
/// default spread, is raised to it. Half of it is the lookahead of the shards, so lowering it makes shards
/// wait for each other more often.
const RTT_LEAST: f64 = 0.125;

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Endpoint {
    Node(NodeIndex),
    Stranger(u32),
}

impl Endpoint {
    fn number(self) -> u64 {
        match self {
            Self::Node(node) => node.get() as u64,
            Self::Stranger(number) => (1 << 32) | u64::from(number),
        }
    }
}

/// The direction that a partition blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// Nothing passes between the groups.
    BothWays,
    /// Nothing passes from the first group to the second; the other way is open.
    FirstToSecond,
}

/// A fault of one node's own line, for datagrams. Calls are delayed by its loss, and fail if one direction is
/// cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LinkFault {
    /// This share of what it sends, and the same share of what is sent to it, is lost, in addition to the
    /// loss of the network.
    Loss(f64),
    /// What it sends is lost; it receives everything.
    Mute,
    /// What is sent to it is lost; others receive everything from it.
    Deaf,
}

/// Identifies a partition, to heal it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartitionId(u64);

#[derive(Debug, Clone)]
struct Partition {
    id: PartitionId,
    /// For each node: 0 in neither group, 1 in the first, 2 in the second.
    side: Vec<u8>,
    blocks: Blocks,
}

impl Partition {
    fn side(&self, end: Endpoint) -> u8 {
        match end {
            Endpoint::Node(node) => self.side.get(node.get()).copied().unwrap_or(0),
            Endpoint::Stranger(_) => 0,
        }
    }

    fn blocks(&self, from: Endpoint, to: Endpoint) -> bool {
        match (self.side(from), self.side(to)) {
            (1, 2) => true,
            (2, 1) => self.blocks == Blocks::BothWays,
            _ => false,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Network {
    config: NetworkConfig,
    /// Determines the round-trip times of all pairs without storing them.
    geography: u64,
    partitions: Vec<Partition>,
    /// No datagram arrives earlier than this after it was sent.
    lookahead: Duration,
    /// Nodes with a fault of their line.
    faults: BTreeMap<Endpoint, LinkFault>,
    /// The additional loss from one end to another.
    pair_loss: BTreeMap<(Endpoint, Endpoint), f64>,
    next_partition: u64,
}

impl Network {
    pub(crate) fn new(config: NetworkConfig, geography: u64) -> Self {
        Self {
            lookahead: lookahead(&config),
            config,
            geography,
            partitions: Vec::new(),
            faults: BTreeMap::new(),
            pair_loss: BTreeMap::new(),
            next_partition: 0,
        }
    }

    pub(crate) const fn config(&self) -> &NetworkConfig {
        &self.config
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut NetworkConfig)) {
        change(&mut self.config);
        self.lookahead = lookahead(&self.config);
    }

    /// No datagram arrives earlier than this after it was sent.
    pub(crate) const fn lookahead(&self) -> Duration {
        self.lookahead
    }

    /// The share of datagrams from one end to the other that is lost, besides blocked ones.
    pub(crate) fn loss_between(&self, from: Endpoint, to: Endpoint) -> f64 {
        if self.faults.is_empty() && self.pair_loss.is_empty() {
            return self.config.loss;
        }
        let line = |end| match self.faults.get(&end) {
            Some(LinkFault::Loss(share)) => *share,
            Some(LinkFault::Mute | LinkFault::Deaf) | None => 0.0,
        };
        let pair = self.pair_loss.get(&(from, to)).copied().unwrap_or(0.0);
        let arrives = [self.config.loss, line(from), line(to), pair];
        1.0 - arrives.iter().map(|loss| 1.0 - loss).product::<f64>()
    }

    pub(crate) fn set_fault(&mut self, end: Endpoint, fault: Option<LinkFault>) {
        match fault {
            Some(fault) => self.faults.insert(end, fault),
            None => self.faults.remove(&end),
        };
    }

    pub(crate) fn set_pair_loss(&mut self, from: Endpoint, to: Endpoint, share: f64) {
        if share > 0.0 {
            self.pair_loss.insert((from, to), share);
        } else {
            self.pair_loss.remove(&(from, to));
        }
    }

    /// The round-trip time of a pair.
    pub(crate) fn rtt(&self, a: Endpoint, b: Endpoint) -> Duration {
        let (low, high) = (a.number().min(b.number()), a.number().max(b.number()));
        let pair = mix(self.geography ^ mix(low) ^ mix(high).rotate_left(32));
        let factor = (self.config.rtt_spread * normal(pair)).exp().max(RTT_LEAST);
        self.config.median_rtt.mul_f64(factor)
    }

    pub(crate) fn is_blocked(&self, from: Endpoint, to: Endpoint) -> bool {
        self.partitions.iter().any(|partition| partition.blocks(from, to))
            || !self.faults.is_empty()
                && (self.faults.get(&from) == Some(&LinkFault::Mute)
                    || self.faults.get(&to) == Some(&LinkFault::Deaf))
    }

    pub(crate) fn partition(
        &mut self,
        first: &[NodeIndex],
        second: &[NodeIndex],
        blocks: Blocks,
    ) -> PartitionId {
        let count = first.iter().chain(second).map(|node| node.get() + 1).max().unwrap_or(0);
        let mut side = vec![0; count];
        first.iter().for_each(|node| side[node.get()] = 1);
        second.iter().for_each(|node| side[node.get()] = 2);
        let id = PartitionId(self.next_partition);
        self.next_partition += 1;
        self.partitions.push(Partition { id, side, blocks });
        id
    }

    pub(crate) fn heal(&mut self, id: PartitionId) {
        self.partitions.retain(|partition| partition.id != id);
    }

    pub(crate) fn heal_all(&mut self) {
        self.partitions.clear();
    }
}

/// Half of the shortest round trip, in whole microseconds and at least one, as instants are.
fn lookahead(config: &NetworkConfig) -> Duration {
    let micros = config.median_rtt.mul_f64(RTT_LEAST / 2.0).as_micros() as u64;
    Duration::from_micros(micros.max(1))
}

/// A standard normal number made of one hash: the sum of twelve uniform ones minus six.
fn normal(hash: u64) -> f64 {
    let lanes = [hash, mix(hash), mix(hash ^ 1)];
    let sum: u64 =
        lanes.iter().flat_map(|word| (0..4).map(move |lane| (word >> (16 * lane)) & 0xffff)).sum();
    sum as f64 / 65_536.0 - 6.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Endpoint = Endpoint::Node(NodeIndex::new(0));
    const B: Endpoint = Endpoint::Node(NodeIndex::new(1));

    #[test]
    fn round_trips_are_log_normal_around_the_median_and_the_same_both_ways() {
        let network = Network::new(NetworkConfig::default(), 1);
        let mut rtts: Vec<Duration> = (0..4000)
            .map(|i| {
                let (a, b) = (Endpoint::Node(NodeIndex::new(i)), Endpoint::Stranger(i * 7));
                assert_eq!(network.rtt(a, b), network.rtt(b, a));
                network.rtt(a, b)
            })
            .collect();
        rtts.sort_unstable();
        let at = |share: f64| rtts[(4000.0 * share) as usize].as_secs_f64() * 1000.0;
        assert!((75.0..85.0).contains(&at(0.5)), "median {} ms", at(0.5));
        // exp(0.5 * 1.645) = 2.28
        assert!((165.0..200.0).contains(&at(0.95)), "95th percentile {} ms", at(0.95));
    }

    #[test]
    fn partitions_block_the_ways_they_name_until_healed() {
        let mut network = Network::new(NetworkConfig::default(), 1);
        let (a, b) = ([NodeIndex::new(0)], [NodeIndex::new(1)]);
        let id = network.partition(&a, &b, Blocks::FirstToSecond);
        assert!(network.is_blocked(A, B) && !network.is_blocked(B, A));
        let both = network.partition(&a, &b, Blocks::BothWays);
        assert!(network.is_blocked(A, B) && network.is_blocked(B, A));
        network.heal(both);
        assert!(!network.is_blocked(B, A));
        network.heal(id);
        assert!(!network.is_blocked(A, B));
        assert!(!network.is_blocked(Endpoint::Stranger(3), B));
    }
}
