//! Trees and encodings against the reference.

use bao_tree::io::outboard::PreOrderMemOutboard;
use bao_tree::io::round_up_to_chunks;
use bao_tree::io::sync::encode_ranges_validated;
use bao_tree::{BlockSize, ByteRanges};
use potluck_base::GROUP_BYTES;
use proptest::prelude::*;

use super::super::tree::{self, NODE_BYTES, Plan};
use super::{SIZES, bytes};

const BLOCKS: BlockSize = BlockSize::from_chunk_log(6);

/// Our nodes and root of some bytes, in parts of `part_groups`.
fn built(content: &[u8], part_groups: u64) -> (tree::Hash, Vec<u8>) {
    let size = content.len() as u64;
    let groups = tree::groups(size);
    let mut nodes = vec![0; tree::outboard_bytes(size) as usize];
    let mut put = |index: u64, node: &tree::Node| {
        nodes[index as usize * NODE_BYTES..][..NODE_BYTES].copy_from_slice(node);
        Ok(())
    };
    let mut hashes: Vec<_> = content
        .chunks(GROUP_BYTES as usize)
        .zip(0..)
        .map(|(group, number)| tree::hash_group(number * GROUP_BYTES, group, groups == 1))
        .collect();
    if hashes.is_empty() {
        hashes.push(tree::hash_group(0, &[], true));
    }
    let parts: Vec<_> = hashes
        .chunks(part_groups as usize)
        .zip(0..)
        .map(|(part, number)| {
            let first = tree::index_of(groups, number * part_groups, part_groups);
            let root = groups <= part_groups;
            tree::build(part, 1, first, root, &mut put).unwrap()
        })
        .collect();
    let root = tree::build(&parts, part_groups, 0, true, &mut put).unwrap();
    (root, nodes)
}

fn check(content: &[u8], part_groups: u64, groups: std::ops::Range<u64>) {
    let size = content.len() as u64;
    let reference = PreOrderMemOutboard::create(content, BLOCKS);
    let (root, nodes) = built(content, part_groups);
    assert_eq!(&root, reference.root.as_bytes());
    assert_eq!(nodes, reference.data);

    let end = (groups.end * GROUP_BYTES).min(size);
    let ranges = round_up_to_chunks(&ByteRanges::from(groups.start * GROUP_BYTES..end));
    let mut expected = Vec::new();
    encode_ranges_validated(content, &reference, &ranges, &mut expected).unwrap();
    let plan = Plan::of(size, &groups);
    let wanted: Vec<u8> = plan
        .node_runs()
        .into_iter()
        .flat_map(|run| &nodes[run.start as usize * NODE_BYTES..run.end as usize * NODE_BYTES])
        .copied()
        .collect();
    let read = |begin: u64, buffer: &mut [u8]| {
        buffer.copy_from_slice(&content[begin as usize..][..buffer.len()]);
        Ok(())
    };
    let mut ours = Vec::new();
    tree::encode(&root, &plan, &wanted, read, true, &mut ours).unwrap();
    assert!(ours == expected, "the encoding of {groups:?} of {size} bytes");

    let decoded = tree::decode(&root, &plan, &ours).unwrap();
    let data = decoded.groups.iter().flat_map(|(_, group)| *group).copied();
    assert!(data.eq(content[(groups.start * GROUP_BYTES) as usize..end as usize].iter().copied()));
    for (index, node) in decoded.nodes {
        assert_eq!(node[..], nodes[index as usize * NODE_BYTES..][..NODE_BYTES]);
    }
}

#[test]
fn trees_and_encodings_of_whole_blobs_are_those_of_the_reference() {
    for size in SIZES {
        let content = bytes(size, 1);
        check(&content, 1, 0..tree::groups(size as u64));
        check(&content, 8, 0..tree::groups(size as u64));
    }
}

#[test]
fn any_flipped_byte_or_other_length_is_refused() {
    let content = bytes(5 * GROUP_BYTES as usize + 7, 2);
    let (root, nodes) = built(&content, 1);
    let plan = Plan::of(content.len() as u64, &(4..6));
    let runs = plan.node_runs();
    let wanted: Vec<u8> = runs
        .into_iter()
        .flat_map(|run| &nodes[run.start as usize * NODE_BYTES..run.end as usize * NODE_BYTES])
        .copied()
        .collect();
    let read = |begin: u64, buffer: &mut [u8]| {
        buffer.copy_from_slice(&content[begin as usize..][..buffer.len()]);
        Ok(())
    };
    let mut encoded = Vec::new();
    tree::encode(&root, &plan, &wanted, read, true, &mut encoded).unwrap();
    assert!(tree::decode(&root, &plan, &encoded).is_some());
    let every =
        (0..encoded.len()).filter(|at| *at < 300 || at % 997 == 0 || at + 9 > encoded.len());
    for at in every {
        let mut bad = encoded.clone();
        bad[at] ^= 0x10;
        assert!(tree::decode(&root, &plan, &bad).is_none(), "byte {at}");
    }
    assert!(tree::decode(&root, &plan, &encoded[..encoded.len() - 1]).is_none());
    assert!(tree::decode(&root, &plan, &[encoded.as_slice(), &[0]].concat()).is_none());
    assert!(tree::decode(&root, &plan, &[]).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn trees_and_encodings_of_any_range_are_those_of_the_reference(
        size in 1_usize..3_000_000,
        part in 0_u32..5,
        a in 0_u64..46,
        b in 0_u64..46,
    ) {
        let groups = tree::groups(size as u64);
        let (a, b) = (a.min(b) % groups, a.max(b) % groups);
        check(&bytes(size, 3), 1 << part, a.min(b)..a.max(b) + 1);
    }
}
