//! What this node gave once and gives no longer, and the names of what it gives.
//!
//! **Invariant:** both are bounded: what was lost longest ago is forgotten, names beyond the bound are not
//! taken.

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{BlobId, GranuleSet, LruMap};
use potluck_wire::Hint;

use crate::command::{Gone, HINTS_MAX};

/// Blobs that are remembered as lost, wholly or in part.
const LOST_MAX: usize = 4096;

/// What was lost, and why.
#[derive(Debug)]
pub(crate) struct Lost {
    blobs: LruMap<BlobId, (Gone, Option<GranuleSet>)>,
}

impl Default for Lost {
    fn default() -> Self {
        Self { blobs: LruMap::new(LOST_MAX) }
    }
}

impl Lost {
    pub(crate) fn insert(&mut self, blob: BlobId, granules: Option<GranuleSet>, why: Gone) {
        self.blobs.insert(blob, (why, granules));
    }

    pub(crate) fn forget(&mut self, blob: &BlobId) {
        self.blobs.remove(blob);
    }

    /// Why a blob is not given any more at all.
    pub(crate) fn wholly(&mut self, blob: &BlobId) -> Option<Gone> {
        let (why, granules) = self.blobs.get_mut(blob)?;
        granules.is_none().then_some(*why)
    }

    /// The granules that are left of a blob, a bit each, and why the others are not.
    pub(crate) fn left(&mut self, blob: &BlobId) -> Option<(Gone, Bytes)> {
        let (why, granules) = self.blobs.get_mut(blob)?;
        let lost = granules.as_ref()?;
        let mut left = GranuleSet::full(lost.length());
        for granule in lost.iter() {
            left.remove(granule);
        }
        Some((*why, left.to_bytes()))
    }
}

/// The names of what this node gives.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    blobs: BTreeMap<BlobId, Hint>,
}

impl Hints {
    pub(crate) fn insert(&mut self, blob: BlobId, hint: Hint) {
        if self.blobs.len() < HINTS_MAX || self.blobs.contains_key(&blob) {
            self.blobs.insert(blob, hint);
        }
    }

    pub(crate) fn remove(&mut self, blob: &BlobId) {
        self.blobs.remove(blob);
    }

    pub(crate) fn of(&self, blob: &BlobId) -> Option<Hint> {
        self.blobs.get(blob).cloned()
    }
}

/// Most bytes of a hint in an answer.
pub(crate) fn hint_bytes(hint: Option<&Hint>) -> usize {
    let name = |hint: &Hint| hint.name.as_ref().map_or(0, String::len);
    hint.map_or(0, |hint| name(hint) + 24)
}
