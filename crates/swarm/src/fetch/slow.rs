//! Sources that are too slow for what is fetched: they are replaced while others could give more.
//!
//! A source that sends a byte now and then is never silent. What counts is how long it takes for a granule,
//! beside the others that have what it was asked for: a source that is eight times slower than they are gives
//! up what it was asked for and rests. A source that is the only one to have something is waited for as long
//! as it sends anything.

use std::cmp::Reverse;
use std::time::Duration;

use potluck_base::{Division, Instant, PublicKey};

use super::{Fetch, World};
use crate::source::Source;

/// How many times as long as the others a source may take for a granule. Raising it keeps slower sources,
/// and lets one that does nothing but drip hold what it was asked for longer.
const SLOWER: f64 = 8.0;
/// How many times as long as before a source gets for a granule when the only one that could replace it was
/// too slow more often. Raising it tries such sources again later.
const AGAIN: u32 = 4;

/// What the other sources would do with what one source was asked for.
#[derive(Debug, Default)]
struct Others {
    /// Bytes a second, as measured: that of the source in the middle, or of the best idle one.
    rate: Option<f64>,
    /// How often the one was too slow that was so least often, of those that have nothing to do and gave
    /// nothing so far.
    untried: Option<u32>,
}

impl Fetch {
    /// Replaces sources that are too slow for a granule, and notes when to look again.
    pub(super) fn drop_slow(&mut self, world: &mut World<'_>) {
        self.look_at = None;
        let Some(division) = self.division().filter(|_| world.config.defences.paced_sources) else {
            return;
        };
        // Those that gave nothing for longest come first; each idle source replaces one.
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

    /// When a source is too slow, if others could give what it was asked for.
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
            // What was too slow itself is tried again only much later.
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
            // What it gave long ago says nothing of a network that is slow for all now.
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

    /// Whether a source has something of what another one was asked for. While no size is proven, one that
    /// claims another size is worth a try as well.
    fn could_give(&self, source: &Source, slow: &Source) -> bool {
        let Some(have) = &source.have else { return false };
        if source.size != slow.size {
            return !self.proven && source.provable_size().is_some();
        }
        slow.waiting().any(|granule| have.contains(granule))
    }

    /// The order in which sources are asked for granules: those that were too slow last, then by what they
    /// gave, then the near ones. What is left is decided by an order that is another in each fetch, so that
    /// no node can choose its place.
    pub(super) fn rank(
        &self,
        key: &PublicKey,
        source: &Source,
    ) -> (u32, Reverse<u64>, Duration, u64) {
        let order = crate::pick::order(self.salt, key.as_bytes());
        (source.pace.slow(), Reverse(source.rate() as u64), source.round_trip(), order)
    }
}
