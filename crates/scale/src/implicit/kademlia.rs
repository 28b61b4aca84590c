//! Kademlia (Maymounkov and Mazieres, IPTPS 2002) with computed tables.

use super::ring::Ring;
use crate::draw::{below, mix2};

const BUCKETS: u64 = 3;
/// Requests after which a lookup is given up. It bounds the work if nearly all nodes are dead.
const REQUESTS_MAX: u32 = 512;

/// The parameters of the overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kademlia {
    /// Contacts in a bucket, and the number of closest nodes that a lookup finds.
    pub k: usize,
    /// Requests in flight at once.
    pub alpha: usize,
    /// The closest nodes that a node knows besides its buckets.
    pub close_group: usize,
    /// Contacts in an answer.
    pub answer: usize,
}

impl Default for Kademlia {
    /// The parameters of the product.
    fn default() -> Self {
        Self { k: 16, alpha: 3, close_group: 48, answer: 16 }
    }
}

/// The result of a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lookup {
    /// The hops after which the closest live node was first named; `None` if it was not found.
    pub hops: Option<u32>,
    /// Requests sent.
    pub requests: u32,
    /// Requests to dead nodes.
    pub timeouts: u32,
    /// Consecutive rounds of `alpha` requests.
    pub rounds: u32,
    /// The hops after which the last of the `k` closest was first named.
    pub depth: u32,
    /// Whether all of the `k` closest live nodes were found.
    pub all_found: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Answered,
    Dead,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    distance: u64,
    node: u32,
    depth: u32,
    state: State,
}

impl Kademlia {
    /// Adds the contacts of `node` in the bucket of ids that first differ from its own at bit `bucket`: all
    /// that exist, or `k` random ones.
    pub(crate) fn bucket(&self, ring: &Ring, node: usize, bucket: u32, found: &mut Vec<u32>) {
        let id = ring.id(node);
        let range = ring.range(id ^ (1 << (63 - bucket)), bucket + 1);
        if range.len() <= self.k {
            found.extend(range.map(|other| other as u32));
            return;
        }
        let draws = mix2(mix2(ring.seed(), BUCKETS), id ^ (u64::from(bucket) << 56));
        let first = found.len();
        let mut draw = 0;
        while found.len() < first + self.k {
            let other = (range.start + below(mix2(draws, draw), range.len())) as u32;
            if !found[first..].contains(&other) {
                found.push(other);
            }
            draw += 1;
        }
    }

    /// The number of contacts in a node's buckets.
    #[must_use]
    pub fn table_size(&self, ring: &Ring, node: usize) -> usize {
        let mut found = Vec::new();
        for bucket in 0..63 {
            self.bucket(ring, node, bucket, &mut found);
            if ring.range(ring.id(node), bucket + 1).len() <= 1 {
                break;
            }
        }
        found.len()
    }

    /// The contacts of `node` closest to `target`.
    pub(super) fn answer(&self, ring: &Ring, node: usize, target: u64, found: &mut Vec<u32>) {
        found.clear();
        let id = ring.id(node);
        let bucket = (id ^ target).leading_zeros().min(62);
        let group = ring.range(id, bucket).len();
        if group <= 4 * self.close_group {
            // The target is in the region of the close group, which is used besides the buckets.
            found.extend(ring.closest(id, self.close_group + 1));
        }
        self.bucket(ring, node, bucket, found);
        // Contacts farther than the bucket of the target: first all deeper buckets, which are as close to the
        // target as the node itself, then the buckets before it.
        let mut deeper = bucket + 1;
        while found.len() < 2 * self.answer && deeper < 63 {
            if ring.range(id, deeper).len() <= 1 {
                break;
            }
            self.bucket(ring, node, deeper, found);
            deeper += 1;
        }
        let mut farther = bucket;
        while found.len() < self.answer && farther > 0 {
            farther -= 1;
            self.bucket(ring, node, farther, found);
        }
        found.sort_unstable_by_key(|other| ring.id(*other as usize) ^ target);
        found.dedup();
        found.retain(|other| *other as usize != node);
        found.truncate(self.answer);
    }

    /// Looks up the nodes closest to `target` from `asker`. `truth` are the closest live nodes.
    #[must_use]
    pub fn lookup(&self, ring: &Ring, asker: usize, target: u64, truth: &[u32]) -> Lookup {
        let mut list: Vec<Entry> = Vec::with_capacity(128);
        let (mut found, mut asked) = (Vec::with_capacity(256), Vec::with_capacity(self.alpha));
        self.answer(ring, asker, target, &mut found);
        insert(ring, &mut list, &found, 1, Asked { asker, target });
        let mut lookup =
            Lookup { hops: None, requests: 0, timeouts: 0, rounds: 0, depth: 0, all_found: false };
        while lookup.requests < REQUESTS_MAX {
            asked.clear();
            let closest = list.iter().filter(|entry| entry.state != State::Dead).take(self.k);
            let new = closest.filter(|entry| entry.state == State::New);
            asked.extend(new.take(self.alpha).map(|entry| (entry.node, entry.depth)));
            if asked.is_empty() {
                break;
            }
            lookup.rounds += 1;
            for (node, depth) in &asked {
                lookup.requests += 1;
                let dead = ring.is_dead(*node as usize);
                let state = if dead { State::Dead } else { State::Answered };
                list.iter_mut().filter(|entry| entry.node == *node).for_each(|it| it.state = state);
                if dead {
                    lookup.timeouts += 1;
                    continue;
                }
                if truth.first() == Some(node) {
                    lookup.hops = Some(*depth);
                }
                self.answer(ring, *node as usize, target, &mut found);
                insert(ring, &mut list, &found, depth + 1, Asked { asker, target });
            }
        }
        let answered = list.iter().filter(|entry| entry.state == State::Answered);
        let answered: Vec<&Entry> = answered.take(truth.len()).collect();
        lookup.depth = answered.iter().map(|entry| entry.depth).max().unwrap_or(0);
        lookup.all_found = answered.iter().map(|entry| &entry.node).eq(truth);
        lookup
    }
}

/// The parameters of a lookup.
#[derive(Clone, Copy)]
struct Asked {
    asker: usize,
    target: u64,
}

/// Merges contacts, which are sorted by distance, into the sorted list.
fn insert(ring: &Ring, list: &mut Vec<Entry>, found: &[u32], depth: u32, asked: Asked) {
    for node in found {
        if *node as usize == asked.asker {
            continue;
        }
        let distance = ring.id(*node as usize) ^ asked.target;
        let at = list.partition_point(|entry| entry.distance < distance);
        if list.get(at).is_none_or(|entry| entry.node != *node) {
            list.insert(at, Entry { distance, node: *node, depth, state: State::New });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_small_network_each_lookup_finds_all_closest() {
        let ring = Ring::new(200, 0.0, 1);
        let overlay = Kademlia::default();
        for target in (0..50).map(|n| mix2(9, n)) {
            let truth = ring.closest_living(target, overlay.k, 3);
            let lookup = overlay.lookup(&ring, 3, target, &truth);
            assert!(lookup.all_found && lookup.hops.is_some(), "{lookup:?}");
            assert!(lookup.requests >= 16 && lookup.timeouts == 0);
        }
    }

    #[test]
    fn a_table_holds_each_other_node_of_a_tiny_network() {
        let ring = Ring::new(12, 0.0, 1);
        assert!((0..12).all(|node| Kademlia::default().table_size(&ring, node) == 11));
    }

    #[test]
    fn where_all_are_dead_a_lookup_ends() {
        let ring = Ring::new(2000, 0.99, 1);
        let overlay = Kademlia::default();
        let truth = ring.closest_living(5, overlay.k, 0);
        let lookup = overlay.lookup(&ring, 0, 5, &truth);
        assert!(lookup.requests <= REQUESTS_MAX + 3 && lookup.timeouts > 0);
    }
}
