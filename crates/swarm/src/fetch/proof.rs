//! The size of the blob: the claims of sources, and the granule that proves one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_base::{Contact, Division, GranuleSet, Instant};

use super::transfers::{Wanted, in_stream, send};
use super::{Fetch, Place, World};
use crate::command::{FULL_SOURCES_MAX, Output};
use crate::source::Source;

/// Time that the first granule may take before it is requested from one more source, see [`PROOFS_MAX`]. No
/// other granule can be requested before it is stored, so silent sources must not be waited for one after the
/// other. Raising it makes fetches with silent sources start later.
const PROOF_PAUSE: Duration = Duration::from_millis(500);
/// Most sources from which the first granule is requested concurrently.
const PROOFS_MAX: usize = 4;
/// Sources from which the first granule is requested at once, so that no single node decides when a fetch
/// starts. Raising it sends more duplicates.
const PROOFS_AT_ONCE: usize = 2;
/// Time that the only granule of a small blob may take before it is requested from a second source. Two
/// requests at once would transfer the whole blob twice.
const SMALL_PAUSE: Duration = Duration::from_millis(100);

impl Fetch {
    /// The size that most of the sources claim that could prove it, without the sources that were asked for
    /// the proof and were too slow.
    pub(super) fn claimed_size(&self) -> Option<u64> {
        if let Some(size) = self.size_said {
            let told = self.sources.values().any(|source| source.size == Some(size));
            return self.size_said.filter(|_| told && !self.refused.contains(&size));
        }
        let claim = |source: &Source| {
            let size = source.provable_size().filter(|size| !self.refused.contains(size));
            size.map(|size| (source.pace.slow(), size))
        };
        let least = self.sources.values().filter_map(claim).map(|(slow, _)| slow).min()?;
        let mut claims: BTreeMap<u64, usize> = BTreeMap::new();
        for (slow, size) in self.sources.values().filter_map(claim) {
            *claims.entry(size).or_default() += usize::from(slow == least);
        }
        claims.into_iter().max_by_key(|(_, count)| *count).map(|(size, _)| size)
    }

    /// Sources that have the complete blob, the nearest first.
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
            && !self.sources.values().any(|one| self.is_proving(one, division.size()))
            && self.claimed_size().is_some_and(|size| size != division.size())
        {
            // No source is left that can prove this size, or all of them were too slow, and another source
            // claims a different size.
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

    /// Whether a source may prove this size: it was asked for the proof, or it can be asked and was not too
    /// slow.
    fn is_proving(&self, source: &Source, size: u64) -> bool {
        let asked = !source.transfers.is_empty() && source.size == Some(size);
        asked || (source.provable_size() == Some(size) && source.pace.slow() == 0)
    }

    /// The number of sources that were asked for the granule that proves the size.
    fn proving(&self) -> usize {
        self.sources.values().filter(|source| !source.transfers.is_empty()).count()
    }

    /// When the proving granule is requested from one more source because the asked sources are silent.
    /// `None` if no source was asked.
    pub(super) fn asks_proof_at(&self) -> Option<Instant> {
        let asked = self.sources.values().flat_map(|source| &source.transfers);
        let small = self.division().is_some_and(|division| division.count() == 1);
        let pause = match self.proving() {
            1 if small => SMALL_PAUSE,
            _ => PROOF_PAUSE,
        };
        asked.map(|transfer| transfer.started + pause).max()
    }

    /// Whether the proving granule is requested from one more source now.
    fn is_proof_due(&self, world: &World<'_>, division: &Division) -> bool {
        let at_once = match division.count() {
            1 => 1,
            _ if world.config.defences.paced_sources => PROOFS_AT_ONCE,
            _ => 1,
        };
        let proving = self.proving();
        let due = || self.asks_proof_at().is_none_or(|at| world.now >= at);
        proving < PROOFS_MAX && (proving < at_once || due())
    }

    /// Requests the proving granule, and after it in the same stream as many granules as a source has in
    /// flight at first, so that the path is not idle until the proof arrives.
    pub(super) fn ask_last(&mut self, world: &mut World<'_>, division: &Division) {
        while self.is_proof_due(world, division) && self.ask_last_of_one(world, division) {}
    }

    /// Requests it from the best source that has the last granule. Returns whether there is one.
    fn ask_last_of_one(&mut self, world: &mut World<'_>, division: &Division) -> bool {
        let last = division.count() - 1;
        if self.checking.contains(last) {
            return false;
        }
        let candidate = self.in_order(world, division).into_iter().find_map(|key| {
            let source = self.sources.get(&key).filter(|source| source.transfers.is_empty())?;
            let has_last = source.have.as_ref().is_some_and(|have| have.contains(last));
            has_last.then_some((key, source))
        });
        let Some((key, source)) = candidate else { return false };
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
        true
    }
}
