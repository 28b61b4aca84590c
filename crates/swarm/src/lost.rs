//! The blobs that this node served earlier and no longer serves, and the names of the blobs that it serves.
//!
//! **Invariant:** both are bounded: the oldest lost blob is forgotten first, and names beyond the limit are
//! not stored.

use std::collections::BTreeMap;

use bytes::Bytes;
use potluck_base::{BlobId, GranuleSet, LruMap};
use potluck_wire::Hint;

use crate::command::{Gone, HINTS_MAX};

/// Blobs that are remembered as lost, completely or in part.
const LOST_MAX: usize = 4096;

/// The lost granules, and the reason.
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

    /// Why a blob is no longer served at all.
    pub(crate) fn wholly(&mut self, blob: &BlobId) -> Option<Gone> {
        let (why, granules) = self.blobs.get_mut(blob)?;
        granules.is_none().then_some(*why)
    }

    /// The granules of a blob that are left, a bit each, and the reason why the others are lost.
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

/// The names of the blobs that this node serves.
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
