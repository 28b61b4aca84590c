//! Search without structure: floods, rings and walks over random links, where a name has some holders; and a
//! broadcast over the buckets of a DHT.
//!
//! A share of the nodes is dead and still in the views of the others, as after churn.

use crate::draw::Stream;
use crate::implicit::{Kademlia, Ring};
use crate::sample::Sample;

/// The parameters of searches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Nodes.
    pub nodes: usize,
    /// Links that each node chooses. Other nodes choose it too.
    pub links: usize,
    /// The share of dead nodes.
    pub dead: f64,
    /// Nodes that have the searched name, dead ones included.
    pub holders: usize,
    /// Searches, each from another node and for another name.
    pub searches: u32,
    /// Milliseconds of one direction of a link.
    pub one_way: f64,
    /// The same seed gives the same searches.
    pub seed: u64,
}

/// A way to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A flood to all nodes within this number of hops.
    Flood(u32),
    /// Floods of 1, 2, 3 and more hops until a holder is found, up to this number.
    Ring(u32),
    /// Walkers, and the most steps of each.
    Walk(u32, u32),
}

/// The results of searches.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// Searches that found a living holder.
    pub hits: u64,
    /// Searches for which there was a live holder.
    pub possible: u64,
    /// Messages of a search.
    pub messages: Sample,
    /// Milliseconds until the answer of the first hit arrived.
    pub millis: Sample,
}

/// Runs searches over random links.
#[must_use]
pub fn search(setting: &Setting, way: Way) -> Found {
    let mut graph = Graph::new(setting);
    let mut found = Found::default();
    for _ in 0..setting.searches {
        graph.place();
        let asker = graph.living_node();
        let (messages, hops) = match way {
            Way::Flood(limit) => graph.flood(asker, limit),
            Way::Ring(limit) => graph.ring(asker, limit),
            Way::Walk(walkers, steps) => graph.walk(asker, walkers, steps),
        };
        found.messages.add(messages);
        found.possible += u64::from(graph.living_holders > 0);
        if let Some(hops) = hops {
            found.hits += 1;
            found.millis.add((f64::from(hops) * setting.one_way + setting.one_way) as u64);
        }
    }
    found
}

struct Graph {
    links: Vec<Vec<u32>>,
    dead: Vec<bool>,
    /// The last search in which a node was a holder, and the last in which it was reached.
    holds: Vec<u32>,
    met: Vec<u32>,
    search: u32,
    wave: u32,
    living_holders: usize,
    holders: usize,
    draws: Stream,
}

impl Graph {
    fn new(setting: &Setting) -> Self {
        let nodes = setting.nodes.max(2);
        let mut draws = Stream::new(setting.seed, 91);
        let mut links = vec![Vec::new(); nodes];
        for node in 0..nodes {
            for _ in 0..setting.links.div_ceil(2).max(1) {
                let other = (node + 1 + draws.below(nodes - 1)) % nodes;
                links[node].push(other as u32);
                links[other].push(node as u32);
            }
        }
        let dead = (0..nodes).map(|_| draws.unit() < setting.dead.min(0.95)).collect();
        Self {
            links,
            dead,
            holds: vec![0; nodes],
            met: vec![0; nodes],
            search: 0,
            wave: 0,
            living_holders: 0,
            holders: setting.holders.min(nodes),
            draws,
        }
    }

    /// Assigns holders to a name.
    fn place(&mut self) {
        self.search += 1;
        self.living_holders = 0;
        for _ in 0..self.holders {
            let mut node = self.draws.below(self.holds.len());
            while self.holds[node] == self.search {
                node = (node + 1) % self.holds.len();
            }
            self.holds[node] = self.search;
            self.living_holders += usize::from(!self.dead[node]);
        }
    }

    fn living_node(&mut self) -> usize {
        let mut node = self.draws.below(self.dead.len());
        // At most 95 of 100 nodes are dead.
        for _ in 0..self.dead.len() {
            if !self.dead[node] {
                break;
            }
            node = (node + 1) % self.dead.len();
        }
        node
    }

    /// Floods. Returns the messages, and the hops after which the first live holder was reached.
    fn flood(&mut self, asker: usize, limit: u32) -> (u64, Option<u32>) {
        self.wave += 1;
        self.met[asker] = self.wave;
        let (mut front, mut next) = (vec![asker as u32], Vec::new());
        let (mut messages, mut hit) = (0, None);
        for hop in 1..=limit {
            for node in front.drain(..) {
                let links = &self.links[node as usize];
                // A node does not send back to the node that it received the search from.
                messages += links.len() as u64 - u64::from(hop > 1);
                for other in links {
                    let other = *other as usize;
                    if self.met[other] == self.wave {
                        continue;
                    }
                    self.met[other] = self.wave;
                    if self.dead[other] {
                        continue;
                    }
                    if self.holds[other] == self.search && hit.is_none() {
                        hit = Some(hop);
                    }
                    next.push(other as u32);
                }
            }
            std::mem::swap(&mut front, &mut next);
            if front.is_empty() {
                break;
            }
        }
        (messages, hit)
    }

    /// Each wave waits for the answers of the one before, for the time of both directions.
    fn ring(&mut self, asker: usize, limit: u32) -> (u64, Option<u32>) {
        let (mut messages, mut waited) = (0, 0);
        for hops in 1..=limit {
            let (sent, hit) = self.flood(asker, hops);
            messages += sent;
            if let Some(hop) = hit {
                return (messages, Some(waited + hop));
            }
            waited += 2 * hops;
        }
        (messages, None)
    }

    /// Walkers move at the same time. A step to a dead node is lost and repeated.
    fn walk(&mut self, asker: usize, walkers: u32, steps: u32) -> (u64, Option<u32>) {
        let mut at = vec![asker; walkers as usize];
        let mut messages = 0;
        for step in 1..=steps {
            let mut hit = false;
            for walker in &mut at {
                let links = &self.links[*walker];
                messages += 1;
                let other = links[self.draws.below(links.len())] as usize;
                if self.dead[other] {
                    continue;
                }
                *walker = other;
                hit |= self.holds[other] == self.search;
            }
            if hit {
                return (messages, Some(step));
            }
        }
        (messages, None)
    }
}

/// A broadcast over the buckets of a DHT (El-Ansary et al., IPTPS 2003): each node passes the ids of a bucket
/// on to one contact in it, so each node gets the message once. A dead contact costs a message, and the next
/// one of the bucket is used. Returns messages, the share of live nodes reached, and the greatest depth.
#[must_use]
pub fn broadcast(nodes: usize, dead: f64, seed: u64) -> (u64, f64, u32) {
    let ring = Ring::new(nodes, dead, seed);
    let overlay = Kademlia::default();
    let first = (0..ring.len()).find(|node| !ring.is_dead(*node)).unwrap_or(0);
    let (mut messages, mut reached, mut most) = (0, 1u64, 0);
    let mut open = vec![(first as u32, 0u32, 0u32)];
    let mut contacts = Vec::new();
    while let Some((node, from_bucket, depth)) = open.pop() {
        most = most.max(depth);
        for bucket in from_bucket..63 {
            if ring.range(ring.id(node as usize), bucket).len() <= 1 {
                break;
            }
            contacts.clear();
            overlay.bucket(&ring, node as usize, bucket, &mut contacts);
            for contact in &contacts {
                messages += 1;
                if !ring.is_dead(*contact as usize) {
                    reached += 1;
                    open.push((*contact, bucket + 1, depth + 1));
                    break;
                }
            }
        }
    }
    let living = (0..ring.len()).filter(|node| !ring.is_dead(*node)).count();
    (messages, reached as f64 / living.max(1) as f64, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(holders: usize, dead: f64) -> Setting {
        Setting { nodes: 2000, links: 8, dead, holders, searches: 100, one_way: 50.0, seed: 1 }
    }

    #[test]
    fn a_flood_finds_what_many_have_and_misses_what_is_far() {
        let many = search(&setting(100, 0.0), Way::Flood(3));
        let one = search(&setting(1, 0.0), Way::Flood(2));
        assert!(many.hits == 100 && one.hits < 20, "{} {}", many.hits, one.hits);
        let all = search(&setting(1, 0.0), Way::Flood(20));
        assert_eq!(all.hits, 100);
        assert!(all.messages.mean() > 2000.0 && all.messages.mean() < 20_000.0);
    }

    #[test]
    fn rings_and_walks_are_cheap_for_what_many_have() {
        let ring = search(&setting(200, 0.1), Way::Ring(7));
        let walk = search(&setting(200, 0.1), Way::Walk(16, 200));
        let flood = search(&setting(200, 0.1), Way::Flood(7));
        assert!(ring.hits == 100 && walk.hits == 100 && flood.hits == 100);
        assert!(ring.messages.mean() < flood.messages.mean() / 10.0);
        assert!(walk.messages.mean() < flood.messages.mean() / 10.0);
        let rare = search(&setting(1, 0.3), Way::Walk(4, 20));
        assert!(rare.hits < 40 && rare.possible < 100, "{rare:?}");
    }

    #[test]
    fn a_broadcast_over_buckets_reaches_each_node_once() {
        let (messages, reached, depth) = broadcast(3000, 0.0, 1);
        assert_eq!((messages, reached.to_bits()), (2999, 1.0f64.to_bits()));
        assert!((6..=20).contains(&depth), "{depth}");
        let (more, reached, _) = broadcast(3000, 0.3, 1);
        assert!(reached > 0.9 && more > 2100, "{reached} {more}");
    }
}
