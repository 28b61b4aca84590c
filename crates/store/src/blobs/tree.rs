//! The hash tree of a blob over chunk groups of 64 KiB, as the `bao-tree` crate defines it.
//!
//! The encoding of some groups is the one of that crate, without the size in front: inner nodes (two child
//! hashes each) and groups in pre-order. Nodes are numbered in pre-order too, so the nodes below a node
//! follow it, and the nodes of a granule are contiguous.
//!
//! **Invariant:** [`decode`] returns slices of its input only if all hashes in it match up to the root.

use std::io;
use std::ops::Range;

use bao_tree::io::sync::{DecodeResponseIter, OutboardMut};
use bao_tree::io::{BaoContentItem, round_up_to_chunks, round_up_to_chunks_groups};
use bao_tree::iter::BaoChunk;
use bao_tree::{BaoTree, BlockSize, ByteRanges, ChunkRanges};
use blake3::Hash;
use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use potluck_base::GROUP_BYTES;

/// A node as it is stored and sent: the hashes of its two children.
pub(crate) type Node = [u8; NODE_BYTES];
/// Bytes of a node.
pub(crate) const NODE_BYTES: usize = 64;

/// The smallest blocks of the tree: chunk groups.
const GROUP: BlockSize = BlockSize::from_chunk_log(6);
const _: () = assert!(GROUP.bytes() as u64 == GROUP_BYTES, "a group is a block of the tree");

/// The tree over the groups of a blob.
pub(crate) fn of(size: u64) -> BaoTree {
    BaoTree::new(size, GROUP)
}

/// The groups that hold some bytes; at least the group at the first byte.
pub(crate) fn groups_of(bytes: &Range<u64>) -> ChunkRanges {
    let some = ByteRanges::from(bytes.start..bytes.end.max(bytes.start + 1));
    round_up_to_chunks_groups(round_up_to_chunks(&some), GROUP)
}

/// The contents of a verified encoding.
pub(crate) struct Decoded<'a> {
    /// Nodes with their numbers, ascending.
    pub(crate) nodes: Vec<(u64, &'a Node)>,
    /// Groups with their offsets in the blob, ascending, without gaps.
    pub(crate) groups: Vec<(u64, &'a [u8])>,
}

/// Decodes the encoding of some groups. `None` if a hash in it is wrong or bytes are left over.
pub(crate) fn decode<'a>(
    root: Hash,
    tree: BaoTree,
    groups: &ChunkRanges,
    encoded: &'a [u8],
) -> Option<Decoded<'a>> {
    let mut decoded = Decoded { nodes: Vec::new(), groups: Vec::new() };
    let mut rest = encoded;
    // Each item is a copy of the bytes at the start of `rest`, so the slices of `rest` are verified too.
    for item in DecodeResponseIter::new(root, tree, encoded, groups) {
        match item.ok()? {
            BaoContentItem::Parent(parent) => {
                let (node, after) = rest.split_first_chunk()?;
                decoded.nodes.push((tree.pre_order_offset(parent.node)?, node));
                rest = after;
            }
            BaoContentItem::Leaf(leaf) => {
                let (group, after) = rest.split_at_checked(leaf.data.len())?;
                decoded.groups.push((leaf.offset, group));
                rest = after;
            }
        }
    }
    rest.is_empty().then_some(decoded)
}

/// The length of the encoding of the groups that hold some bytes.
pub(crate) fn encoded_bytes(tree: BaoTree, bytes: &Range<u64>) -> usize {
    let groups = groups_of(bytes);
    let steps = tree.ranges_pre_order_chunks_iter_ref(&groups, 0);
    steps
        .map(|step| match step {
            BaoChunk::Parent { .. } => NODE_BYTES,
            BaoChunk::Leaf { size, .. } => size,
        })
        .sum()
}

/// The hash of a group. With `root`, the group is the whole blob.
pub(crate) fn hash_group(begin: u64, data: &[u8], root: bool) -> Hash {
    if root {
        return blake3::hash(data);
    }
    blake3::Hasher::new().set_input_offset(begin).update(data).finalize_non_root().into()
}

/// Builds a tree from the hashes of its blocks, and writes its nodes to `outboard`. Returns the hash of its
/// top node. With `root`, the tree is that of the whole blob.
pub(crate) fn build(
    tree: BaoTree,
    blocks: &[Hash],
    root: bool,
    mut outboard: impl OutboardMut,
) -> io::Result<Hash> {
    let mut blocks = blocks.iter();
    let mut done = Vec::new();
    for step in tree.post_order_chunks_iter() {
        let hash = match step {
            BaoChunk::Leaf { .. } => *blocks.next().expect("the caller has a hash for each block"),
            BaoChunk::Parent { node, is_root, .. } => {
                let right = done.pop().expect("children come before their parent");
                let left = done.pop().expect("children come before their parent");
                outboard.save(node, &(left, right))?;
                merge(&left, &right, root && is_root)
            }
        };
        done.push(hash);
    }
    Ok(done.pop().expect("a tree has at least one block"))
}

/// The hash of a node, and the hashes of its children. With `root`, the node is the top of the blob's tree.
pub(crate) fn hash_node(node: &Node, root: bool) -> (Hash, [Hash; 2]) {
    let mut halves = [[0; NODE_BYTES / 2]; 2];
    halves[0].copy_from_slice(&node[..NODE_BYTES / 2]);
    halves[1].copy_from_slice(&node[NODE_BYTES / 2..]);
    let [left, right] = halves.map(Hash::from_bytes);
    (merge(&left, &right, root), [left, right])
}

fn merge(left: &Hash, right: &Hash, root: bool) -> Hash {
    if root {
        merge_subtrees_root(left.as_bytes(), right.as_bytes(), Mode::Hash)
    } else {
        merge_subtrees_non_root(left.as_bytes(), right.as_bytes(), Mode::Hash).into()
    }
}

/// The number of the first of the nodes that cover only the given bytes, if there are such nodes. The bytes
/// are one block of a tree of the same size with larger blocks.
pub(crate) fn first_node(tree: BaoTree, bytes: &Range<u64>) -> Option<u64> {
    let groups = groups_of(bytes);
    let way: Vec<_> = tree
        .ranges_pre_order_chunks_iter_ref(&groups, 0)
        .filter_map(|step| match step {
            BaoChunk::Parent { node, .. } => Some(node),
            BaoChunk::Leaf { .. } => None,
        })
        .collect();
    let below = of(bytes.end - bytes.start).blocks() - 1;
    let first = way.get(way.len().checked_sub(below as usize)?)?;
    tree.pre_order_offset(*first)
}
