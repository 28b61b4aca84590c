//! For fuzz targets: what reads rows and hash trees from a disk or from other nodes, fed with any bytes.

use std::fmt::Debug;
use std::ops::Range;

use bytes::Bytes;
use potluck_base::{Division, Key};
use potluck_record::Place;

use crate::backend::{Backend as _, Changes, Durability};
use crate::blobs;
use crate::ledger::Ledger;
use crate::quota::Share;
use crate::rows::{self, ExpiryEntry, Summary};
use crate::store::MemoryStore;

/// Told what was read: by which decoder, whether it was taken, and what came out.
pub type Say<'a> = dyn FnMut(&'static str, bool, &dyn Debug) + 'a;

/// Every decoder of a row of the record store and of the blob index.
///
/// # Panics
/// If a row that was read is written in another way.
pub fn rows(bytes: &[u8], say: &mut Say<'_>) {
    let ledger = Ledger::decode(bytes);
    say("ledger", ledger.is_some(), &ledger);
    if let Some(ledger) = ledger {
        assert_eq!(Ledger::decode(&ledger.encode()), Some(ledger));
    }
    let share = Share::decode(bytes);
    say("share", share.is_some(), &share);
    if let Some(share) = share {
        assert_eq!(share.encode(), bytes);
    }
    let expiry = ExpiryEntry::decode(bytes);
    say("expiry", expiry.is_some(), &expiry);
    if let Some(expiry) = expiry {
        assert_eq!(expiry.row(), bytes);
    }
    let summary = Summary::decode(bytes);
    say("summary", summary.is_some(), &summary);
    if let Some(summary) = summary {
        assert_eq!(summary.encode(), bytes);
    }
    say("keys", false, &(rows::summary_key(bytes), rows::own_key(bytes)));
    let key = Key::from_bytes([1; 32]);
    let row = rows::summary_row(&key);
    let envelope = rows::decode_envelope(&row, Place::Own, &Bytes::copy_from_slice(bytes));
    assert!(envelope.is_none(), "an envelope in a row of another kind");
    blobs::fuzzing::rows(bytes, say);
}

/// Puts `value` into the row number `row` of a store, counted around, as a disk does that spoils it, and
/// opens it again. Returns the store with the name of the row; `None` if it refuses to open.
///
/// # Panics
/// Never: a map in memory takes every row.
#[must_use]
pub fn with_spoiled_row(
    store: &MemoryStore,
    row: usize,
    value: Option<&[u8]>,
) -> Option<(MemoryStore, Vec<u8>)> {
    let mut backend = store.backend_copied();
    let all = backend.range(&[], &[0xff; 80]).filter_map(Result::ok).map(|(name, _)| name);
    let names: Vec<Bytes> = all.collect();
    let name = names.get(row % names.len().max(1))?.to_vec();
    let spoiled = Changes::from([(name.clone(), value.map(Bytes::copy_from_slice))]);
    backend.commit(spoiled, Durability::Synced).expect("a map in memory cannot fail");
    Some((MemoryStore::reopened(backend).ok()?, name))
}

/// The names of all rows.
///
/// # Panics
/// Never: a map in memory cannot fail.
#[must_use]
pub fn row_values(store: &MemoryStore) -> Vec<(Vec<u8>, Vec<u8>)> {
    let backend = store.backend_copied();
    let all = backend.range(&[], &[0xff; 80]).filter_map(Result::ok);
    all.map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
}

/// Takes a granule apart that a source sent for a blob of `size` bytes: only the right bytes pass.
///
/// # Panics
/// If bytes pass that are not those of the blob.
pub fn granule(blob: &[u8], granule: u32, encoded: &[u8], say: &mut Say<'_>) {
    let Some(division) = Division::of(blob.len() as u64).filter(|all| granule < all.count()) else {
        return;
    };
    let root = blake3::hash(blob);
    let bytes: Range<u64> = division.bytes(granule);
    match blobs::fuzzing::decoded(root, division.size(), &bytes, encoded) {
        None => say("granule", false, &"refused"),
        Some(groups) => {
            for (begin, group) in &groups {
                let begin = usize::try_from(*begin).expect("a small blob");
                assert_eq!(&blob[begin..begin + group.len()], *group, "other bytes passed");
            }
            say("granule", true, &groups.len());
        }
    }
}
