//! Trees and encodings: their format, and a comparison with those that `bao-tree` makes from bytes in memory.

use bao_tree::BlockSize;
use bao_tree::io::outboard::PreOrderMemOutboard;
use bao_tree::io::sync::encode_ranges_validated;
use potluck_base::GROUP_BYTES;
use proptest::prelude::*;

use super::super::tree::{self, NODE_BYTES};
use super::*;

const BLOCKS: BlockSize = BlockSize::from_chunk_log(6);

/// Sizes, and the first half of a hash over the nodes and all encodings of a blob of that size, as the first
/// version of this code wrote them without `bao-tree`. Another value means that the format changed.
const FORMAT: [(usize, &str); 13] = [
    (0, "af1349b9f5f9a1a6a0404dea36dcc949"),
    (1, "9bdb8e8631e0f596221a8e5e8b1be6a3"),
    (1023, "4a84491a034be0d8cc723517a0b443a6"),
    (1024, "42e2e2d2b9a381777faabb57fac27df5"),
    (1025, "ca6ea01de903850530bc885254db9c6c"),
    (65535, "50a2dcc61255582eef61af25b0ce1916"),
    (65536, "b821a92b9c2e4d67a9052ac191628706"),
    (65537, "6e14169c3d7bdd767038d3808f8e45ef"),
    (131_072, "69adf254be2542b3e754390a65063d27"),
    (131_073, "16b1cd4081bebefef72d91baf08c4868"),
    (MIB + 3, "8afe0e74491a0dc666d9584c28959c62"),
    (5 * MIB, "d4e3e4edf70a12496705f4a42fbb064a"),
    (13 * MIB + 7, "dfb8e603d786c2b864952269697de08a"),
];

fn outboard(folder: &Path, blob: &Blob) -> Vec<u8> {
    std::fs::read(blob_folder(folder, blob.id()).join("outboard")).unwrap_or_default()
}

#[test]
fn nodes_on_disk_and_encodings_on_the_wire_are_what_they_always_were() {
    for (size, expected) in FORMAT {
        let folder = tempfile::tempdir().unwrap();
        let (_store, blob) = seeded(folder.path(), &bytes(size, 1));
        let mut all = outboard(folder.path(), &blob);
        for granule in 0..blob.division().count() {
            blob.encode(granule, &mut all).unwrap();
        }
        assert_eq!(blake3::hash(&all).to_hex()[..32], *expected, "{size} bytes");
    }
}

/// Compares the nodes that an import wrote, the encoding of a range, and the bytes decoded from it, with
/// those of `bao-tree`.
fn check(content: &[u8], wanted: std::ops::Range<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let (_store, blob) = seeded(folder.path(), content);
    let reference = PreOrderMemOutboard::create(content, BLOCKS);
    assert_eq!(blob.id().as_bytes(), reference.root.as_bytes());
    assert!(outboard(folder.path(), &blob) == reference.data, "nodes of {} bytes", content.len());

    let groups = tree::groups_of(&wanted);
    let mut expected = Vec::new();
    encode_ranges_validated(content, &reference, &groups, &mut expected).unwrap();
    let (mut encoded, mut seen) = (Vec::new(), Vec::new());
    blob.verify(&wanted, Some(&mut seen), &mut encoded).unwrap();
    assert!(encoded == expected, "the encoding of {wanted:?} of {} bytes", content.len());

    let begin = wanted.start / GROUP_BYTES * GROUP_BYTES;
    let end = wanted.end.next_multiple_of(GROUP_BYTES).min(content.len() as u64);
    let inside = &content[begin as usize..end as usize];
    assert!(seen == inside, "the groups of {wanted:?}");
    let decoded = tree::decode(reference.root, reference.tree, &groups, &encoded).unwrap();
    let mut next = begin;
    for (at, group) in &decoded.groups {
        assert_eq!(*at, next);
        assert!(*group == &content[next as usize..][..group.len()], "the group at {at}");
        next += group.len() as u64;
    }
    assert_eq!(next, end);
    assert!(decoded.nodes.is_sorted_by(|(a, _), (b, _)| a < b));
    for (index, node) in decoded.nodes {
        assert_eq!(node[..], reference.data[index as usize * NODE_BYTES..][..NODE_BYTES]);
    }
}

#[test]
fn trees_and_encodings_of_whole_blobs_are_those_of_bytes_in_memory() {
    for size in SIZES {
        check(&bytes(size, 1), 0..size as u64);
    }
}

#[test]
fn any_flipped_byte_or_other_length_is_refused() {
    let content = bytes(5 * GROUP_BYTES as usize + 7, 2);
    let reference = PreOrderMemOutboard::create(&content, BLOCKS);
    let groups = tree::groups_of(&(4 * GROUP_BYTES..content.len() as u64));
    let mut encoded = Vec::new();
    encode_ranges_validated(content.as_slice(), &reference, &groups, &mut encoded).unwrap();
    let right =
        |bytes: &[u8]| tree::decode(reference.root, reference.tree, &groups, bytes).is_some();
    assert!(right(&encoded));
    let every =
        (0..encoded.len()).filter(|at| *at < 300 || at % 997 == 0 || at + 9 > encoded.len());
    for at in every {
        let mut bad = encoded.clone();
        bad[at] ^= 0x10;
        assert!(!right(&bad), "byte {at}");
    }
    assert!(!right(&encoded[..encoded.len() - 1]));
    assert!(!right(&[encoded.as_slice(), &[0]].concat()));
    assert!(!right(&[]));
}

/// The number of the node below which a span begins, found by descending from the root.
fn walk_down(size: u64, begin: u64, span_bytes: u64) -> u64 {
    let (mut start, mut bytes, mut index) = (0, size, 0);
    while bytes > span_bytes {
        let left = bytes.next_power_of_two() / 2;
        index += 1;
        if begin < start + left {
            bytes = left;
        } else {
            index += left / GROUP_BYTES - 1;
            (start, bytes) = (start + left, bytes - left);
        }
    }
    index
}

proptest! {
    #[test]
    fn the_nodes_of_a_span_lie_where_the_way_down_from_the_root_ends(
        size in 1_u64..=1 << 42,
        at in any::<prop::sample::Index>(),
    ) {
        let span_bytes = 4 * MIB as u64;
        let begin = at.index(size as usize) as u64 / span_bytes * span_bytes;
        let span = begin..(begin + span_bytes).min(size);
        let expected = (span.end - span.start > GROUP_BYTES)
            .then(|| walk_down(size, begin, span_bytes));
        prop_assert_eq!(tree::first_node(tree::of(size), &span), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn trees_and_encodings_of_any_range_are_those_of_bytes_in_memory(
        size in 1_usize..14_000_000,
        a in any::<prop::sample::Index>(),
        b in any::<prop::sample::Index>(),
    ) {
        let (a, b) = (a.index(size) as u64, b.index(size) as u64);
        check(&bytes(size, 3), a.min(b)..a.max(b) + 1);
    }
}
