//! What goes when there is too much, and why the rest stays.
//!
//! **Invariant:** only bytes go that nobody asked to keep, that nobody holds, and that lie in the
//! store.

use std::fmt;

use potluck_base::BlobId;

use super::BlobError;
use super::entry::{Entry, unix_ms};
use super::meta::Phase;
use super::store::BlobStore;

/// How long a fetch may rest before its bytes count as left behind.
const PARTIAL_RESTS_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Why a blob stays or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcReason {
    /// Stays: pinned.
    Pinned,
    /// Stays: this node offers it.
    Shared,
    /// Stays: somebody holds it.
    InUse,
    /// Stays: its bytes lie in files outside, which are not the store's.
    Outside,
    /// Stays: its fetch was begun within a week.
    Fetching,
    /// Stays: there is room.
    WithinQuota,
    /// Goes: the least recently used of too many.
    LeastRecentlyUsed,
    /// Goes: its bytes are damaged.
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

/// What became of one blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GcEntry {
    /// The blob.
    pub id: BlobId,
    /// Its bytes in the store.
    pub bytes: u64,
    /// Why.
    pub reason: GcReason,
}

/// What a collection did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GcReport {
    /// Blobs that went, or would go.
    pub removed: Vec<GcEntry>,
    /// Blobs that stay.
    pub kept: Vec<GcEntry>,
    /// Bytes of the removed ones.
    pub freed_bytes: u64,
    /// Bytes that count against the quota and stay.
    pub cached_bytes: u64,
}

impl BlobStore {
    /// If the cache is over its quota, removes the least recently used blobs until it is at nine
    /// tenths; only says so on a `dry_run`. Damaged blobs go in any case.
    ///
    /// # Errors
    /// The disk refused.
    pub fn gc(&self, dry_run: bool) -> Result<GcReport, BlobError> {
        let mut changes = self.changes();
        let mut entries: Vec<_> = self.index().values().cloned().collect();
        entries.sort_by_key(|entry| (entry.used_ms(), entry.id));
        let mut report = GcReport::default();
        let mut evictable = Vec::new();
        for entry in entries {
            let bytes = inside_bytes(&entry);
            match reason(&entry) {
                None => {
                    report.cached_bytes += bytes;
                    evictable.push((entry, bytes, GcReason::LeastRecentlyUsed));
                }
                Some(GcReason::Damaged) => evictable.push((entry, bytes, GcReason::Damaged)),
                Some(reason) => report.kept.push(GcEntry { id: entry.id, bytes, reason }),
            }
        }
        let quota = self.limits.cache_bytes;
        let over = report.cached_bytes > quota;
        for (entry, bytes, mut reason) in evictable {
            let damaged = reason == GcReason::Damaged;
            let goes = damaged || over && report.cached_bytes > quota / 10 * 9;
            let mut kept = (!goes).then_some(GcReason::WithinQuota);
            if goes && !dry_run {
                match self.take_out(&entry, &mut changes) {
                    Err(BlobError::InUse) => kept = Some(GcReason::InUse),
                    taken => taken?,
                }
            }
            if let Some(stays) = kept {
                reason = stays;
                report.kept.push(GcEntry { id: entry.id, bytes, reason });
                continue;
            }
            if !damaged {
                report.cached_bytes -= bytes;
            }
            report.freed_bytes += bytes;
            report.removed.push(GcEntry { id: entry.id, bytes, reason });
        }
        Ok(report)
    }
}

/// Bytes that a blob has in the store.
fn inside_bytes(entry: &Entry) -> u64 {
    let meta = entry.meta();
    match meta.phase {
        _ if meta.outside.is_some() => 0,
        Phase::Partial => entry.have_bytes.load(std::sync::atomic::Ordering::Relaxed),
        _ => entry.size,
    }
}

/// Why a blob stays or goes whatever the quota; `None` if the quota decides.
fn reason(entry: &Entry) -> Option<GcReason> {
    let meta = entry.meta();
    let rests = unix_ms().saturating_sub(entry.used_ms()) >= PARTIAL_RESTS_MS;
    if entry.unheld().is_none() {
        Some(GcReason::InUse)
    } else if meta.pinned {
        Some(GcReason::Pinned)
    } else if meta.shared {
        Some(GcReason::Shared)
    } else if meta.outside.is_some() {
        Some(GcReason::Outside)
    } else if meta.phase == Phase::Changed {
        Some(GcReason::Damaged)
    } else if meta.phase == Phase::Partial && !rests {
        Some(GcReason::Fetching)
    } else {
        None
    }
}
