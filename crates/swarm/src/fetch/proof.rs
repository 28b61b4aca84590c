//! The size of what is fetched: what sources claim, and the granule that proves it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_base::{Contact, Division, GranuleSet, Instant};

use super::transfers::{Wanted, in_stream, send};
use super::{Fetch, Place, World};
use crate::command::{FULL_SOURCES_MAX, Output};
use crate::source::Source;

/// Time that the first granule may take before it is requested from one more source. See
/// [`PROOFS_MAX`]. Until it is here nothing else can be asked for, so silent sources must not be
/// waited for in turn.
const PROOF_PAUSE: Duration = Duration::from_millis(500);
/// Most sources from which the first granule is requested concurrently.
const PROOFS_MAX: usize = 4;

impl Fetch {
    /// The size that most of the sources claim that could prove it.
    pub(super) fn claimed_size(&self) -> Option<u64> {
        if let Some(size) = self.size_said {
            let told = self.sources.values().any(|source| source.size == Some(size));
            return self.size_said.filter(|_| told && !self.refused.contains(&size));
        }
        let mut claims: BTreeMap<u64, usize> = BTreeMap::new();
        for source in self.sources.values() {
            if let Some(size) = source.provable_size().filter(|size| !self.refused.contains(size)) {
                *claims.entry(size).or_default() += 1;
            }
        }
        claims.into_iter().max_by_key(|(_, count)| *count).map(|(size, _)| size)
    }

    /// Sources that have all of it, the nearest first.
    pub(super) fn full_sources(&self) -> Vec<Contact> {
        let Some(size) = self.division().map(|division| division.size()) else { return Vec::new() };
        let full = |source: &&Source| {
            let whole = source.have.as_ref().is_some_and(GranuleSet::is_full);
            whole && source.is_hopeful() && source.size == Some(size)
        };
        let mut full: Vec<&Source> = self.sources.values().filter(full).collect();
        full.sort_by_key(|source| source.round_trip());
        full.into_iter().take(FULL_SOURCES_MAX).map(|source| source.contact).collect()
    }

    pub(super) fn open(&mut self, world: &mut World<'_>) {
        if let Place::Open(division) = self.place
            && !self.proven
            && !self.sources.values().any(|one| one.provable_size() == Some(division.size()))
            && self.claimed_size().is_some()
        {
            // No source is left to prove this size, and another source claims a different one.
            self.place = Place::None;
        }
        if self.place == Place::None
            && let Some(size) = self.claimed_size()
        {
            self.place = Place::Asked(size);
            self.checking = GranuleSet::default();
            let hint = self.hint(Some(size));
            world.out.push(Output::Open { fetch: self.id, blob: self.blob, size, hint });
        }
    }

    /// When the granule that proves the size is asked of one more source, as the asked sources say
    /// nothing; `None` if no source was asked.
    pub(super) fn asks_proof_at(&self) -> Option<Instant> {
        let asked = self.sources.values().flat_map(|source| &source.transfers);
        asked.map(|transfer| transfer.started + PROOF_PAUSE).max()
    }

    /// Asks for the granule that proves the size, and in the same stream, after it, for what a source
    /// has under way at first: so the way to it does not stand empty until the proof is here.
    pub(super) fn ask_last(&mut self, world: &mut World<'_>, division: &Division) {
        let asked = self.sources.values().filter(|source| !source.transfers.is_empty()).count();
        if asked >= PROOFS_MAX || self.asks_proof_at().is_some_and(|at| world.now < at) {
            return;
        }
        let last = division.count() - 1;
        if self.checking.contains(last) {
            return;
        }
        let candidate = self.sources.iter().find(|(_, source)| {
            source.is_useful(world.now)
                && source.transfers.is_empty()
                && source.size == Some(division.size())
                && source.have.as_ref().is_some_and(|have| have.contains(last))
        });
        let Some((&key, source)) = candidate else { return };
        let depth = source.depth(division, world.config.outstanding_bytes_max);
        let count = (depth / division.granule_bytes()) as usize;
        let count = count.min(in_stream(division) - 1);
        let mut granules = vec![last];
        let mut under_way: BTreeSet<u32> =
            self.sources.values().flat_map(Source::waiting).collect();
        under_way.insert(last);
        granules.extend(self.choose(division, key, &under_way, count));
        if let Some(source) = self.sources.get_mut(&key) {
            let (fetch, blob, size) = (self.id, self.blob, division.size());
            send(world, source, Wanted { fetch, blob, size, granules });
        }
    }
}
