//! What a node reads from its disk.

use std::fmt::Debug;
use std::sync::OnceLock;

use potluck_record::{Envelope, MergeAs, Place, StorageOp, StorageReply};
use potluck_store::blobs::{BlobStore, Keep};
use potluck_store::{MemoryStore, fuzzing};

use super::recovery::LIMITS;
use crate::outcome::Seen;
use crate::samples;
use crate::script::Script;
use crate::target::Feed;

/// Tells `seen` of what decoders in other crates say.
pub(super) fn saying(seen: &mut Seen) -> impl FnMut(&'static str, bool, &dyn Debug) {
    move |what, accepted, value| {
        if accepted {
            seen.accept(what, &value);
        } else {
            seen.note(what, &value);
        }
    }
}

/// Rows of the record store and of the index of blobs.
pub(super) fn rows(bytes: &[u8], seen: &mut Seen) {
    let seen = &mut *seen;
    let mut said = Seen::default();
    seen.measured(|| fuzzing::rows(bytes, &mut saying(&mut said)));
    seen.take(said);
}

fn filled() -> (MemoryStore, Vec<Envelope>) {
    let mut store = MemoryStore::in_memory();
    let envelopes = samples::envelopes_of_names();
    let ops: Vec<StorageOp> = envelopes
        .iter()
        .flat_map(|envelope| {
            [Place::Replica, Place::Own].map(|place| StorageOp::Merge {
                envelope: envelope.clone(),
                place,
                how: MergeAs::Repair,
            })
        })
        .collect();
    assert!(store.apply(&ops).iter().all(|reply| matches!(reply, StorageReply::Merged { .. })));
    (store, envelopes)
}

/// Samples for [`rows`] and [`spoiled`].
pub(super) fn row_samples() -> Vec<Vec<u8>> {
    let rows = fuzzing::row_values(&filled().0);
    rows.into_iter().flat_map(|(name, value)| [name, value]).collect()
}

/// One row of a store holds something else than was written, or is gone: the store opens again or refuses
/// to, and each record whose own rows are untouched is there.
pub(super) fn spoiled() -> Box<Feed> {
    let (store, envelopes) = filled();
    Box::new(move |bytes, seen| {
        let Some((number, value)) = bytes.split_first_chunk::<2>() else { return };
        let value = (!value.is_empty()).then_some(value);
        let row = usize::from(u16::from_be_bytes(*number));
        let Some((mut opened, name)) = fuzzing::with_spoiled_row(&store, row, value) else {
            seen.note("refused", &row);
            return;
        };
        seen.note("row", &name.first().map(|tag| char::from(*tag)));
        for envelope in &envelopes {
            for place in [Place::Replica, Place::Own] {
                let key = envelope.head().key();
                let held = opened.apply(&[StorageOp::Load { key, place }]);
                let whole = matches!(&held[..], [StorageReply::Loaded { envelopes }] if envelopes.contains(envelope));
                // A row of it has its key in its name.
                let touched = name.windows(32).any(|part| part == key.as_bytes());
                assert!(whole || touched, "{place:?} is lost by row {name:?}: {held:?}");
                seen.note("held", &(whole, touched));
                if whole {
                    seen.accept("held", &place);
                }
            }
        }
        let scan = StorageOp::Scan { from: key(0), to: key(0xff), limit: 100 };
        for op in [
            scan,
            StorageOp::Index { limit: 10 },
            StorageOp::Fingerprint { from: key(0), to: key(0xff) },
        ] {
            let reply = opened.apply(&[op]);
            seen.note("op", &reply.first().map(std::mem::discriminant));
        }
    })
}

fn key(byte: u8) -> potluck_base::Key {
    potluck_base::Key::from_bytes([byte; 32])
}

/// Samples for [`spoiled`]: each row as it is, and gone.
pub(super) fn spoiled_samples() -> Vec<Vec<u8>> {
    let rows = fuzzing::row_values(&filled().0);
    rows.into_iter()
        .enumerate()
        .flat_map(|(number, (_, value))| {
            let number = (number as u16).to_be_bytes();
            [number.to_vec(), [&number[..], &value].concat()]
        })
        .collect()
}

/// Bytes of the blobs whose granules are fed: of three groups, and of less than one.
const BLOB_BYTES: [usize; 2] = [150_000, 3000];

/// A blob and its encoding, as a source sends it.
fn blobs() -> &'static [(Vec<u8>, Vec<u8>); 2] {
    static BLOBS: OnceLock<[(Vec<u8>, Vec<u8>); 2]> = OnceLock::new();
    BLOBS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = BlobStore::open(folder.path(), LIMITS).expect("a new store");
        BLOB_BYTES.map(|bytes| {
            let blob: Vec<u8> = (0..bytes as u32).map(|at| (at / 977) as u8).collect();
            let id = store.add_bytes(&blob, "blob", Keep::Pinned).expect("room for a small blob");
            let mut encoded = Vec::new();
            let held = store.get(&id).expect("an index").expect("it was added");
            held.encode(0, &mut encoded).expect("it is whole");
            (blob, encoded)
        })
    })
}

/// The encoding of a granule with its hashes, which a source sends: the right one with some edits, or any
/// bytes.
pub(super) fn granule(bytes: &[u8], seen: &mut Seen) {
    let mut script = Script::new(bytes);
    let mode = script.byte();
    let (blob, right) = &blobs()[usize::from(mode & 1)];
    let mut encoded = if mode & 2 == 0 { right.clone() } else { script.rest().to_vec() };
    while !script.is_over() {
        let at = usize::from(script.short()) << 8 | usize::from(script.byte());
        let at = if script.byte() < 128 { at % 300 } else { at } % encoded.len().max(1);
        match script.byte() % 4 {
            0 => encoded.truncate(at),
            1 => encoded.insert(at, script.byte()),
            2 => encoded.extend_from_slice(script.bytes()),
            _ => {
                if let Some(byte) = encoded.get_mut(at) {
                    *byte ^= script.byte();
                }
            }
        }
    }
    seen.count("length", encoded.len() as u64);
    seen.note("mode", &(mode & 3 == 0, encoded == *right));
    let mut said = Seen::default();
    let number = u32::from(mode >> 4 & 1);
    seen.measured(|| fuzzing::granule(blob, number, &encoded, &mut saying(&mut said)));
    seen.take(said);
}

/// Samples for [`granule`].
pub(super) fn granule_samples() -> Vec<Vec<u8>> {
    let [(_, large), (_, small)] = blobs();
    let any = [&[3][..], small].concat();
    let first = [&[2][..], &large[..2000]].concat();
    vec![any, first, vec![0], vec![1], vec![0, 0, 0, 9, 1, 3, 8], vec![1, 0, 0, 9, 200, 0]]
}

/// Texts in a data folder.
pub(super) fn folder(bytes: &[u8], seen: &mut Seen) {
    let text = String::from_utf8_lossy(bytes);
    potluck_host::fuzzing::texts(&text, &mut saying(seen));
}
