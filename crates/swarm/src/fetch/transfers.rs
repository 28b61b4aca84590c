//! Requests granules: which ones, from which source, and a second time if a source is slow.

use std::collections::BTreeSet;

use potluck_base::{BlobId, Division, Instant, PublicKey};

use super::{Fetch, World};
use crate::command::{FetchId, Output, TransferId};
use crate::pick::{self, Choice};
use crate::source::{Source, Transfer, length};

/// Most streams from one source. Together they carry the bytes that may be in flight from it.
const TRANSFERS_MAX: usize = 16;
/// Most streams of a fetch. Beyond it a source gets a stream only if it has none.
const STREAMS_MAX: usize = 48;
/// Most bytes requested in one stream, except for a single longer granule, if the path to the source holds
/// more than half of it. The receive window of a stream has this fixed size, so on a long path the number of
/// streams follows from the bytes that the path holds (the rate of the source times its round trip).
const STREAM_BYTES: u64 = 2 * 1024 * 1024;
/// Most granules in one stream.
const GRANULES_MAX: usize = 512;
/// A granule is requested from a second source if that is expected to take less than this share of
/// the remaining time. A higher share sends more duplicates.
const HEDGE: f64 = 0.95;

impl Fetch {
    pub(super) fn ask_granules(&mut self, world: &mut World<'_>) {
        let Some(division) = self.division() else { return };
        if self.have.is_full() {
            return;
        }
        if !self.proven {
            return self.ask_last(world, &division);
        }
        let mut busy = self.sources.values().filter(|source| !source.transfers.is_empty()).count();
        for key in self.in_order(world, &division) {
            let Some(source) = self.sources.get(&key) else { continue };
            let fresh = source.transfers.is_empty();
            if fresh && busy >= world.config.active_max {
                continue;
            }
            if self.ask_one(world, &division, key) && fresh {
                busy += 1;
            }
        }
    }

    /// Sources with this division that can be asked now, the best first.
    pub(super) fn in_order(&self, world: &World<'_>, division: &Division) -> Vec<PublicKey> {
        let useful =
            |source: &Source| source.is_useful(world.now) && source.size == Some(division.size());
        let sources = self.sources.iter().filter(|(_, source)| useful(source));
        let mut keys: Vec<(&PublicKey, &Source)> = sources.collect();
        if world.config.defences.paced_sources {
            keys.sort_by_cached_key(|(key, source)| self.rank(key, source));
        } else {
            keys.sort_by_key(|(_, source)| std::cmp::Reverse(source.rate() as u64));
        }
        keys.into_iter().map(|(key, _)| *key).collect()
    }

    /// The best granules to request from a source next, besides those in flight.
    pub(super) fn choose(
        &mut self,
        division: &Division,
        key: PublicKey,
        under_way: &BTreeSet<u32>,
        count: usize,
    ) -> Vec<u32> {
        let availability = self.availability.get_or_insert_with(|| {
            let sets = self.sources.values().filter_map(|source| source.have.as_ref());
            pick::availability(division.count(), sets)
        });
        let theirs = self.sources.get(&key).and_then(|source| source.have.as_ref());
        let Some(theirs) = theirs else { return Vec::new() };
        let choice = Choice {
            have: &self.have,
            theirs,
            under_way,
            checking: &self.checking,
            availability,
            windows: &self.windows,
            salt: self.salt,
        };
        choice.best(count)
    }

    /// Requests granules from a source up to its depth. Returns whether any were requested.
    fn ask_one(&mut self, world: &mut World<'_>, division: &Division, key: PublicKey) -> bool {
        let Some(source) = self.sources.get(&key) else { return false };
        if source.have.is_none() {
            return false;
        }
        let depth = source.depth(division, world.config.outstanding_bytes_max);
        let outstanding = source.outstanding(division);
        let streams: usize = self.sources.values().map(|source| source.transfers.len()).sum();
        let free = match source.transfers.len() {
            0 => TRANSFERS_MAX.min(STREAMS_MAX.saturating_sub(streams).max(1)),
            own => TRANSFERS_MAX.saturating_sub(own).min(STREAMS_MAX.saturating_sub(streams)),
        };
        if outstanding > depth / 2 || free == 0 {
            return false;
        }
        let count = (depth - outstanding).div_ceil(division.granule_bytes()) as usize;
        let under_way: BTreeSet<u32> = self.sources.values().flat_map(Source::waiting).collect();
        let is_long = source.on_the_way() > STREAM_BYTES / 2;
        let in_stream = if is_long { in_stream(division) } else { GRANULES_MAX };
        let mut granules = self.choose(division, key, &under_way, count.min(in_stream * free));
        let idle = self.sources.get(&key).is_some_and(|source| source.transfers.is_empty());
        if granules.is_empty() && idle {
            granules.extend(self.hedge(world.now, division, key));
        }
        let Some(source) = self.sources.get_mut(&key).filter(|_| !granules.is_empty()) else {
            return false;
        };
        for granules in granules.chunks(in_stream) {
            let (fetch, blob, size) = (self.id, self.blob, division.size());
            send(world, source, Wanted { fetch, blob, size, granules: granules.to_vec() });
        }
        true
    }

    /// If all granules are in flight: the granule that this idle source would deliver sooner than the source
    /// it was requested from.
    fn hedge(&self, now: Instant, division: &Division, key: PublicKey) -> Option<u32> {
        let idle = self.sources.get(&key)?;
        let theirs = idle.have.as_ref()?;
        let rate = idle.rate().max(1.0);
        let copies = pick::copies(self.sources.values().flat_map(Source::waiting));
        let mut best: Option<(Instant, u32)> = None;
        for source in self.sources.values() {
            for granule in source.waiting() {
                let open = !self.have.contains(granule) && theirs.contains(granule);
                if !open || copies.get(&granule).is_none_or(|copies| *copies > 1) {
                    continue;
                }
                let mine = length(division, granule) as f64 / rate;
                let there = source.expected(now, division, granule).unwrap_or(source.stalls_at());
                let wins = mine < there.since(now).as_secs_f64() * HEDGE;
                if wins && best.is_none_or(|(latest, _)| there > latest) {
                    best = Some((there, granule));
                }
            }
        }
        best.map(|(_, granule)| granule)
    }
}

/// Most granules in one stream, at least one.
pub(super) fn in_stream(division: &Division) -> usize {
    (STREAM_BYTES / division.granule_bytes()).clamp(1, GRANULES_MAX as u64) as usize
}

/// Granules to request in one stream.
pub(super) struct Wanted {
    pub(super) fetch: FetchId,
    pub(super) blob: BlobId,
    /// The size of the blob in bytes.
    pub(super) size: u64,
    pub(super) granules: Vec<u32>,
}

pub(super) fn send(world: &mut World<'_>, source: &mut Source, wanted: Wanted) {
    let Wanted { fetch, blob, size, granules } = wanted;
    let transfer = TransferId(world.numbers.next());
    let waiting = granules.iter().copied().collect();
    source.asked(world.now, Transfer { id: transfer, waiting, started: world.now });
    world.out.push(Output::Transfer {
        transfer,
        fetch,
        from: source.contact,
        blob,
        size,
        granules,
    });
}
