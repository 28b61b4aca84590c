//! All ids in order, with an index over their first bits.

use crate::draw::{mix2, unit};

const IDS: u64 = 1;
const DEATHS: u64 = 2;
/// Bits of the index: it has an entry for about two nodes, at most 64 MB.
const DIRECTORY_BITS_MAX: u32 = 24;

/// The nodes of a network by their position in the order of ids.
#[derive(Debug)]
pub struct Ring {
    ids: Vec<u64>,
    /// The position of the first id with each prefix.
    directory: Vec<u32>,
    bits: u32,
    seed: u64,
    /// A node is dead if its draw is at most this.
    dead_up_to: u64,
}

impl Ring {
    /// Creates `nodes` ids, a share `dead` of which belong to dead nodes.
    #[must_use]
    pub fn new(nodes: usize, dead: f64, seed: u64) -> Self {
        let mut ids: Vec<u64> = (0..nodes as u64).map(|n| mix2(mix2(seed, IDS), n)).collect();
        ids.sort_unstable();
        ids.dedup();
        let bits = ids.len().max(2).ilog2().saturating_sub(1).clamp(1, DIRECTORY_BITS_MAX);
        let mut directory = Vec::with_capacity((1 << bits) + 1);
        let mut at = 0;
        for prefix in 0..1u64 << bits {
            while ids.get(at).is_some_and(|id| id >> (64 - bits) < prefix) {
                at += 1;
            }
            directory.push(at as u32);
        }
        directory.push(ids.len() as u32);
        let dead_up_to = (dead.clamp(0.0, 0.99) * (1u64 << 53) as f64) as u64;
        Self { ids, directory, bits, seed, dead_up_to }
    }

    /// The number of nodes, dead ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no nodes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id of a node.
    #[must_use]
    pub fn id(&self, node: usize) -> u64 {
        self.ids[node]
    }

    /// The seed of this network.
    pub(super) const fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether a node is dead. Its contacts have not detected it yet.
    #[must_use]
    pub fn is_dead(&self, node: usize) -> bool {
        let draw = mix2(mix2(self.seed, DEATHS), self.ids[node]);
        debug_assert!((0.0..1.0).contains(&unit(draw)));
        draw >> 11 < self.dead_up_to
    }

    /// The first node with an id of at least `id`; [`len`](Self::len) if there is none.
    #[must_use]
    pub fn lower(&self, id: u64) -> usize {
        let slot = (id >> (64 - self.bits)) as usize;
        let (from, to) = (self.directory[slot] as usize, self.directory[slot + 1] as usize);
        from + self.ids[from..to].partition_point(|other| *other < id)
    }

    /// The node that is responsible for `id` on a circle: the first one at or after it.
    pub(super) fn successor(&self, id: u64) -> usize {
        self.lower(id) % self.ids.len()
    }

    /// The nodes whose ids begin with the first `bits` of `id`.
    #[must_use]
    pub fn range(&self, id: u64, bits: u32) -> std::ops::Range<usize> {
        if bits == 0 {
            return 0..self.ids.len();
        }
        let width = 64 - bits.min(64);
        let low = id >> width << width;
        let from = self.lower(low);
        match low.checked_add(1 << width) {
            Some(high) => from..self.lower(high),
            None => from..self.ids.len(),
        }
    }

    /// The `count` nodes closest to `target` by XOR, closest first; fewer if there are fewer.
    #[must_use]
    pub fn closest(&self, target: u64, count: usize) -> Vec<u32> {
        // A prefix of this length has about `count` nodes. The search starts with it.
        let guess = (self.ids.len() / count.max(1)).max(1).ilog2().saturating_add(1).min(63);
        let mut bits = guess;
        let mut range = self.range(target, bits);
        while range.len() < count && bits > 0 {
            bits -= 1;
            range = self.range(target, bits);
        }
        let mut nodes: Vec<u32> = range.map(|node| node as u32).collect();
        let distance = |node: &u32| self.ids[*node as usize] ^ target;
        if nodes.len() > count && count > 0 {
            nodes.select_nth_unstable_by_key(count - 1, distance);
            nodes.truncate(count);
        }
        nodes.sort_unstable_by_key(distance);
        nodes
    }

    /// The `count` closest live nodes, without `asker`.
    #[must_use]
    pub fn closest_living(&self, target: u64, count: usize, asker: usize) -> Vec<u32> {
        let mut want = count + 1;
        loop {
            let mut nodes = self.closest(target, want);
            let all = nodes.len() < want;
            nodes.retain(|node| *node as usize != asker && !self.is_dead(*node as usize));
            if nodes.len() >= count || all {
                nodes.truncate(count);
                return nodes;
            }
            want += want / 2 + count;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_directory_finds_what_a_scan_finds(nodes in 2usize..500, target: u64, bits in 0u32..20, count in 1usize..40, seed: u64) {
            let ring = Ring::new(nodes, 0.0, seed);
            let scan: Vec<usize> = (0..ring.len())
                .filter(|node| bits == 0 || (ring.id(*node) ^ target) >> (64 - bits) == 0)
                .collect();
            prop_assert_eq!(ring.range(target, bits).collect::<Vec<_>>(), scan);
            let mut all: Vec<u32> = (0..ring.len() as u32).collect();
            all.sort_by_key(|node| ring.id(*node as usize) ^ target);
            all.truncate(count);
            prop_assert_eq!(ring.closest(target, count), all);
        }
    }

    #[test]
    fn the_share_of_dead_nodes_is_as_asked() {
        let ring = Ring::new(20_000, 0.3, 5);
        let dead = (0..ring.len()).filter(|node| ring.is_dead(*node)).count();
        assert!((5_700..6_300).contains(&dead), "{dead}");
        let living = ring.closest_living(7, 16, 3);
        assert!(living.len() == 16 && living.iter().all(|node| !ring.is_dead(*node as usize)));
        let none = Ring::new(100, 0.0, 5);
        assert!((0..100).all(|node| !none.is_dead(node)));
        assert_eq!(none.closest_living(7, 200, 3).len(), 99, "all but the asker");
    }
}
