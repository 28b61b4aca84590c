//! Eviction of blobs when the cache is over its quota.
//!
//! **Invariant:** a blob is removed only if it is neither pinned nor shared, no caller holds it, and its bytes
//! are in the store.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::MutexGuard;
use potluck_base::BlobId;

use super::BlobError;
use super::entry::{Entry, unix_ms};
use super::folder::journalled;
use super::index::{Class, DAMAGED, Noted, PARTIAL, USED};
use super::meta::Phase;
use super::store::BlobStore;

/// Time after which the bytes of an idle fetch may be removed. Raising it keeps more bytes of abandoned
/// fetches.
const PARTIAL_RESTS_MS: u64 = 7 * 24 * 60 * 60 * 1000;
/// Most blobs that one collection removes; the caller then begins another one.
const REMOVED_MAX: usize = 1024;
/// Most kept blobs in a report.
const KEPT_LISTED_MAX: usize = 1000;

/// Why a blob is kept or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcReason {
    /// Kept: pinned.
    Pinned,
    /// Kept: this node offers it.
    Shared,
    /// Kept: a caller holds it.
    InUse,
    /// Kept: its bytes are in files outside the store.
    Outside,
    /// Kept: its fetch was begun within a week.
    Fetching,
    /// Kept: the cache is within its quota.
    WithinQuota,
    /// Removed: the least recently used while the cache is over its quota.
    LeastRecentlyUsed,
    /// Removed: its bytes are damaged.
    Damaged,
}

impl fmt::Display for GcReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pinned => "pinned",
            Self::Shared => "shared",
            Self::InUse => "in use",
            Self::Outside => "refers to files outside",
            Self::Fetching => "being fetched",
            Self::WithinQuota => "within the quota",
            Self::LeastRecentlyUsed => "least recently used",
            Self::Damaged => "damaged",
        })
    }
}

/// The decision about one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcEntry {
    /// The blob.
    pub id: BlobId,
    /// Its bytes in the store.
    pub bytes: u64,
    /// The reason.
    pub reason: GcReason,
}

/// The result of a collection, or of a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcReport {
    /// Blobs that were removed; at most 1,024.
    pub removed: Vec<GcEntry>,
    /// The number of blobs that this collection removed.
    pub removed_count: u64,
    /// Kept blobs: the first thousand, in the order of their ids.
    pub kept: Vec<GcEntry>,
    /// The number of kept blobs.
    pub kept_count: u64,
    /// Bytes of the removed blobs.
    pub freed_bytes: u64,
    /// Kept bytes that count against the quota.
    pub cached_bytes: u64,
    /// Whether another collection is needed.
    pub more: bool,
}

/// A blob that may be removed.
struct Candidate {
    used_ms: u64,
    id: BlobId,
    bytes: u64,
    reason: GcReason,
}

impl BlobStore {
    /// If the cache is over its quota, removes the least recently used blobs until it is at nine tenths, at
    /// most 1,024 of them. A `dry_run` only reports them. Damaged blobs are always removed.
    ///
    /// # Errors
    /// The disk refused.
    pub fn gc(&self, dry_run: bool) -> Result<GcReport, BlobError> {
        let mut changes = self.changes();
        let memory = self.in_memory();
        // The index has the order of eviction.
        memory.iter().for_each(|entry| entry.save_use(1));
        let held: BTreeMap<BlobId, Arc<Entry>> = memory
            .into_iter()
            .filter(|entry| entry.unheld().is_none())
            .map(|entry| (entry.id, entry))
            .collect();
        let mut report = GcReport { cached_bytes: self.cached_bytes(&held)?, ..Default::default() };
        let quota = self.limits.cache_bytes;
        let over = report.cached_bytes > quota;
        for candidate in self.candidates(&held, over)? {
            let Candidate { id, bytes, reason, .. } = candidate;
            let damaged = reason == GcReason::Damaged;
            if !damaged && report.cached_bytes <= quota / 10 * 9 {
                continue;
            }
            if report.removed.len() >= REMOVED_MAX {
                report.more = true;
                break;
            }
            if !dry_run && !self.evict(&id, &mut changes)? {
                continue;
            }
            if !damaged {
                report.cached_bytes = report.cached_bytes.saturating_sub(bytes);
            }
            report.freed_bytes += bytes;
            report.removed.push(GcEntry { id, bytes, reason });
        }
        report.removed_count = report.removed.len() as u64;
        report.more |= over && report.cached_bytes > quota / 10 * 9 && !report.removed.is_empty();
        let gone = if dry_run { report.removed.len() as u64 } else { 0 };
        report.kept_count = self.index.counts().blobs().saturating_sub(gone);
        self.list_kept(&held, &mut report)?;
        Ok(report)
    }

    /// Removes a blob; false if a caller holds it.
    fn evict(&self, id: &BlobId, changes: &mut MutexGuard<'_, u64>) -> Result<bool, BlobError> {
        let entry = match self.find(id) {
            Ok(Some(entry)) => entry,
            // A blob with metadata that cannot be read is not touched.
            Ok(None) | Err(BlobError::Damaged) => return Ok(false),
            Err(error) => return Err(error),
        };
        match self.take_out(&entry, changes) {
            Err(BlobError::InUse) => Ok(false),
            taken => taken.map(|()| true),
        }
    }

    /// Bytes that count against the quota.
    fn cached_bytes(&self, held: &BTreeMap<BlobId, Arc<Entry>>) -> Result<u64, BlobError> {
        let (_, mut bytes) = self.index.counts().of(Class::Cached);
        for entry in held.values() {
            let noted = entry.noted();
            if noted.class() == Class::Cached {
                bytes = bytes.saturating_sub(noted.meta.size);
            }
        }
        for resting in self.resting() {
            let (_, id) = resting?;
            if !held.contains_key(&id) {
                bytes += self.partial_bytes(&id)?.unwrap_or(0);
            }
        }
        Ok(bytes)
    }

    /// The partial blobs with an idle fetch, the longest idle first.
    fn resting(&self) -> impl Iterator<Item = Result<(u64, BlobId), BlobError>> + '_ {
        let before = unix_ms().saturating_sub(PARTIAL_RESTS_MS);
        self.index.by_use(PARTIAL).take_while(move |found| match found {
            Ok((used_ms, _)) => *used_ms <= before,
            Err(_) => true,
        })
    }

    /// The bytes of a partial blob that may be removed; `None` if it is kept.
    fn partial_bytes(&self, id: &BlobId) -> Result<Option<u64>, BlobError> {
        let Some(noted) = self.index.noted(id)? else { return Ok(None) };
        if noted.class() != Class::Partial {
            return Ok(None);
        }
        let folder = self.folder().join(id.to_string());
        Ok(Some(journalled(&folder, &noted.meta).unwrap_or(0)))
    }

    /// The blobs that may be removed, in this order; a few more than one collection removes.
    fn candidates(
        &self,
        held: &BTreeMap<BlobId, Arc<Entry>>,
        over: bool,
    ) -> Result<Vec<Candidate>, BlobError> {
        let mut candidates = Vec::new();
        let mut add = |used_ms, id, bytes, reason| {
            candidates.push(Candidate { used_ms, id, bytes, reason });
        };
        let free = |found: &Result<(u64, BlobId), BlobError>| match found {
            Ok((_, id)) => !held.contains_key(id),
            Err(_) => true,
        };
        let size = |id: &BlobId| {
            let noted = self.index.noted(id)?;
            Ok::<_, BlobError>(noted.map_or(0, |noted| noted.meta.size))
        };
        for found in self.index.by_use(DAMAGED).filter(free).take(REMOVED_MAX + 1) {
            let (used_ms, id) = found?;
            add(used_ms, id, size(&id)?, GcReason::Damaged);
        }
        if over {
            for found in self.index.by_use(USED).filter(free).take(REMOVED_MAX + 1) {
                let (used_ms, id) = found?;
                add(used_ms, id, size(&id)?, GcReason::LeastRecentlyUsed);
            }
            for found in self.resting().filter(free).take(REMOVED_MAX + 1) {
                let (used_ms, id) = found?;
                if let Some(bytes) = self.partial_bytes(&id)? {
                    add(used_ms, id, bytes, GcReason::LeastRecentlyUsed);
                }
            }
        }
        candidates.sort_by_key(|candidate| (candidate.used_ms, candidate.id));
        Ok(candidates)
    }

    /// Reports the first kept blobs.
    fn list_kept(
        &self,
        held: &BTreeMap<BlobId, Arc<Entry>>,
        report: &mut GcReport,
    ) -> Result<(), BlobError> {
        for noted in self.index.page(None) {
            if report.kept.len() >= KEPT_LISTED_MAX {
                break;
            }
            let noted = noted?;
            let id = noted.meta.id;
            if report.removed.iter().any(|removed| removed.id == id) {
                continue;
            }
            let reason =
                if held.contains_key(&id) { GcReason::InUse } else { stays_because(&noted) };
            let folder = self.folder().join(id.to_string());
            let bytes = match noted.meta.phase {
                _ if noted.meta.outside.is_some() => 0,
                Phase::Partial => journalled(&folder, &noted.meta).unwrap_or(0),
                _ => noted.meta.size,
            };
            report.kept.push(GcEntry { id, bytes, reason });
        }
        Ok(())
    }
}

/// Why a blob that no caller holds was kept.
fn stays_because(noted: &Noted) -> GcReason {
    let rests = unix_ms().saturating_sub(noted.used_ms) >= PARTIAL_RESTS_MS;
    match noted.class() {
        Class::Pinned => GcReason::Pinned,
        Class::Shared => GcReason::Shared,
        Class::Outside => GcReason::Outside,
        Class::Damaged => GcReason::Damaged,
        Class::Partial if !rests => GcReason::Fetching,
        Class::Partial | Class::Cached => GcReason::WithinQuota,
    }
}
