//! Replaces sources that are too slow while other sources could send more.
//!
//! A source that sends one byte at long intervals is never silent. So its time for a granule is compared with
//! that of the other sources that have the requested granules: a source that is eight times slower loses its
//! requests and rests. A source that is the only one to have a granule is waited for as long as it sends
//! anything.

use std::cmp::Reverse;
use std::time::Duration;

use potluck_base::{Division, Instant, PublicKey};

use super::{Fetch, World};
use crate::source::Source;

/// How many times longer than the others a source may take for a granule. Raising it keeps slower sources,
/// and lets a source that sends almost nothing hold its requests longer.
const SLOWER: f64 = 8.0;
/// Factor of the time that a source gets for a granule if the only source that could replace it was too slow
/// more often. Raising it tries such sources again later.
const AGAIN: u32 = 4;

/// What the other sources could do with the requests of one source.
#[derive(Debug, Default)]
struct Others {
    /// The measured rate in bytes a second: the median of the sources, or the best idle source if it is
    /// faster.
    rate: Option<f64>,
    /// The lowest number of times that one of the idle sources without a granule so far was too slow.
    untried: Option<u32>,
}

impl Fetch {
    /// Replaces sources that are too slow for a granule, and records when to check again.
    pub(super) fn drop_slow(&mut self, world: &mut World<'_>) {
        self.look_at = None;
        let Some(division) = self.division().filter(|_| world.config.defences.paced_sources) else {
            return;
        };
        // The sources that sent nothing for longest come first. Each idle source replaces one.
        let mut active: Vec<(Instant, PublicKey)> = self
            .sources
            .iter()
            .filter(|(_, source)| !source.transfers.is_empty())
            .map(|(key, source)| (source.last(), *key))
            .collect();
        active.sort_unstable();
        let untried = |source: &&Source| source.is_untried(world.now);
        let mut untried = self.sources.values().filter(untried).count();
        for (_, key) in active {
            let Some(at) = self.late_at(world.now, &division, &key, untried > 0) else { continue };
            if at > world.now {
                self.look_at = Some(self.look_at.map_or(at, |look| look.min(at)));
                continue;
            }
            untried = untried.saturating_sub(1);
            if let Some(source) = self.sources.get_mut(&key) {
                source.on_slow(world.now, world.out);
                self.report.slow_sources += 1;
            }
        }
    }

    /// When a source is too slow, if others could send its granules.
    fn late_at(
        &self,
        now: Instant,
        division: &Division,
        key: &PublicKey,
        untried: bool,
    ) -> Option<Instant> {
        let source = self.sources.get(key)?;
        let soonest = source.last() + source.granule_time();
        if now < soonest {
            return Some(soonest);
        }
        let others = self.others(now, key, source);
        let need = others.rate.map(|rate| {
            let seconds = SLOWER * division.granule_bytes() as f64 / rate.max(1.0);
            source.granule_time().max(Duration::from_secs_f64(seconds.min(1e6)))
        });
        let own = source.pace.slow();
        let tried = others.untried.filter(|_| untried).map(|slow| match slow <= own {
            true => source.granule_time() * source.pace.patience(),
            // A source that was too slow itself is tried again only much later.
            false => source.granule_time() * AGAIN * (1 << slow.min(4)),
        });
        let times = [need, tried];
        Some(source.last() + times.into_iter().flatten().min()?)
    }

    fn others(&self, now: Instant, key: &PublicKey, slow: &Source) -> Others {
        let mut rates = Vec::new();
        let mut best_idle: Option<f64> = None;
        let mut untried: Option<u32> = None;
        for (other, source) in &self.sources {
            if other == key || source.banned || !self.could_give(source, slow) {
                continue;
            }
            if source.is_untried(now) {
                let slow = source.pace.slow();
                untried = Some(untried.map_or(slow, |least| least.min(slow)));
            }
            let idle = source.transfers.is_empty();
            // An old rate says nothing if the network is slow for all sources now.
            let recent = now < source.last() + source.granule_time();
            let Some(rate) = source.pace.rate().filter(|_| source.is_useful(now)) else { continue };
            if idle {
                best_idle = Some(best_idle.map_or(rate, |best| best.max(rate)));
            }
            if idle || recent {
                rates.push(rate);
            }
        }
        rates.sort_by(f64::total_cmp);
        let middle = rates.get(rates.len() / 2).copied();
        Others { rate: middle.into_iter().chain(best_idle).reduce(f64::max), untried }
    }

    /// Whether a source has some of the granules requested from another one. While no size is proven, a
    /// source that claims another size counts too.
    fn could_give(&self, source: &Source, slow: &Source) -> bool {
        let Some(have) = &source.have else { return false };
        if source.size != slow.size {
            return !self.proven && source.provable_size().is_some();
        }
        slow.waiting().any(|granule| have.contains(granule))
    }

    /// The order in which sources are asked for granules: sources that were too slow come last; then by the
    /// bytes that they sent; then by distance. Ties are broken by an order that differs for each fetch, so
    /// that no node can choose its rank.
    pub(super) fn rank(
        &self,
        key: &PublicKey,
        source: &Source,
    ) -> (u32, Reverse<u64>, Duration, u64) {
        let order = crate::pick::order(self.salt, key.as_bytes());
        (source.pace.slow(), Reverse(source.rate() as u64), source.round_trip(), order)
    }
}
