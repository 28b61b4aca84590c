//! The choice of the granules to request from a source next: those that a reader waits for, then the rarest.
//!
//! Granules that are equally rare are taken in runs whose order differs on each node. So nodes that fetch at
//! the same time soon have different parts to exchange, and disks still read contiguous ranges.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use potluck_base::GranuleSet;

/// Granules in a run. Raising it makes reads longer, and nodes have fewer different parts.
const RUN: u32 = 8;

/// The input of the choice.
#[derive(Debug)]
pub(crate) struct Choice<'a> {
    /// Stored granules.
    pub(crate) have: &'a GranuleSet,
    /// Granules of the source.
    pub(crate) theirs: &'a GranuleSet,
    /// Granules in flight.
    pub(crate) under_way: &'a BTreeSet<u32>,
    /// Granules that may be on this machine already.
    pub(crate) checking: &'a GranuleSet,
    /// The number of sources of each granule.
    pub(crate) availability: &'a [u16],
    /// The ranges that readers wait for.
    pub(crate) windows: &'a [Range<u32>],
    /// Determines the order of runs of this fetch.
    pub(crate) salt: u64,
}

impl Choice<'_> {
    /// At most `count` granules, the best first.
    pub(crate) fn best(&self, count: usize) -> Vec<u32> {
        let mut open: Vec<(u8, u16, u64, u32)> = self
            .theirs
            .iter()
            .filter(|granule| {
                let here = self.have.contains(*granule) || self.checking.contains(*granule);
                !here && !self.under_way.contains(granule)
            })
            .map(|granule| self.rank(granule))
            .collect();
        if open.len() > count && count > 0 {
            open.select_nth_unstable(count - 1);
        }
        open.truncate(count);
        open.sort_unstable();
        open.into_iter().map(|(.., granule)| granule).collect()
    }

    fn rank(&self, granule: u32) -> (u8, u16, u64, u32) {
        if self.windows.iter().any(|window| window.contains(&granule)) {
            return (0, 0, 0, granule);
        }
        let rarity = self.availability.get(granule as usize).copied().unwrap_or(0);
        (1, rarity, scramble(self.salt ^ u64::from(granule / RUN)), granule)
    }
}

/// The rank of a node in the order of this fetch.
pub(crate) fn order(salt: u64, key: &[u8; 32]) -> u64 {
    let (words, _) = key.as_chunks::<8>();
    words.iter().fold(salt, |order, word| scramble(order ^ u64::from_le_bytes(*word)))
}

/// A number that looks random (the finaliser of SplitMix64).
const fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The number of `sets` that have each of `length` granules.
pub(crate) fn availability<'a>(
    length: u32,
    sets: impl Iterator<Item = &'a GranuleSet>,
) -> Vec<u16> {
    let mut counts = vec![0_u16; length as usize];
    for set in sets {
        for granule in set.iter() {
            if let Some(count) = counts.get_mut(granule as usize) {
                *count = count.saturating_add(1);
            }
        }
    }
    counts
}

/// How often each granule is in flight.
pub(crate) fn copies(waiting: impl Iterator<Item = u32>) -> BTreeMap<u32, u8> {
    let mut copies = BTreeMap::new();
    for granule in waiting {
        *copies.entry(granule).or_insert(0_u8) += 1;
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(length: u32, granules: &[u32]) -> GranuleSet {
        let mut set = GranuleSet::empty(length);
        granules.iter().for_each(|granule| {
            set.insert(*granule);
        });
        set
    }

    #[test]
    fn readers_come_first_then_the_rarest() {
        let full = GranuleSet::full(100);
        let rare = set(100, &[40]);
        let mut counts = availability(100, [&full, &full].into_iter());
        counts[40] = 1;
        assert_eq!(availability(100, [&full, &rare].into_iter())[40], 2);
        let (have, under_way) = (set(100, &[70]), BTreeSet::from([71]));
        let choice = Choice {
            have: &have,
            theirs: &full,
            under_way: &under_way,
            checking: &GranuleSet::default(),
            availability: &counts,
            windows: std::slice::from_ref(&(70..74)),
            salt: 7,
        };
        let best = choice.best(3);
        assert_eq!(best, [72, 73, 40]);
        assert_eq!(choice.best(1000).len(), 98);
        assert!(choice.best(0).is_empty());
    }

    #[test]
    fn nodes_take_runs_in_different_orders() {
        let (full, none) = (GranuleSet::full(1024), GranuleSet::empty(1024));
        let counts = availability(1024, std::iter::once(&full));
        let first = |salt| {
            let under_way = BTreeSet::new();
            let choice = Choice {
                have: &none,
                theirs: &full,
                under_way: &under_way,
                checking: &GranuleSet::default(),
                availability: &counts,
                windows: &[],
                salt,
            };
            choice.best(8)
        };
        let firsts: BTreeSet<u32> = (0..32).map(|salt| first(salt)[0]).collect();
        assert!(firsts.len() > 24, "{firsts:?}");
        let run = first(1);
        assert_eq!(run, (run[0]..run[0] + 8).collect::<Vec<_>>());
    }
}
