//! The hash tree of a blob over groups of 64 KiB, as the `bao-tree` crate has it.
//!
//! An encoding of some groups is what that crate writes for them, without the size in front: inner
//! nodes (the two child hashes) and groups in pre-order. Nodes are numbered in pre-order too, so that
//! the nodes below any node follow it, and a granule's lie together.
//!
//! **Invariant:** [`decode`] gives out slices of its input only if all hashes in it lead up to the root.

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

/// The smallest blocks of the tree: groups.
const GROUP: BlockSize = BlockSize::from_chunk_log(6);
const _: () = assert!(GROUP.bytes() as u64 == GROUP_BYTES, "a group is a block of the tree");

/// The tree over the groups of a blob.
pub(crate) fn of(size: u64) -> BaoTree {
    BaoTree::new(size, GROUP)
}

/// The groups that hold some bytes; at least the one where they begin.
pub(crate) fn groups_of(bytes: &Range<u64>) -> ChunkRanges {
    let some = ByteRanges::from(bytes.start..bytes.end.max(bytes.start + 1));
    round_up_to_chunks_groups(round_up_to_chunks(&some), GROUP)
}

/// What a verified encoding holds.
pub(crate) struct Decoded<'a> {
    /// Nodes and their numbers, ascending.
    pub(crate) nodes: Vec<(u64, &'a Node)>,
    /// Groups and where they begin in the blob, ascending, without gaps.
    pub(crate) groups: Vec<(u64, &'a [u8])>,
}

/// Takes the encoding of some groups apart. `None` unless every hash in it is right and nothing is left
/// over.
pub(crate) fn decode<'a>(
    root: Hash,
    tree: BaoTree,
    groups: &ChunkRanges,
    encoded: &'a [u8],
) -> Option<Decoded<'a>> {
    let mut decoded = Decoded { nodes: Vec::new(), groups: Vec::new() };
    let mut rest = encoded;
    // What an item holds is a copy of what `rest` begins with, so that the slices are as right as it.
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

/// Bytes in the encoding of the groups that hold some bytes.
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

/// The hash of a group; of the whole blob if it has no other.
pub(crate) fn hash_group(begin: u64, data: &[u8], root: bool) -> Hash {
    if root {
        return blake3::hash(data);
    }
    blake3::Hasher::new().set_input_offset(begin).update(data).finalize_non_root().into()
}

/// Builds a tree from the hashes of its blocks, where `root` says whether it is that of a whole blob.
/// Hands its nodes to `outboard`, and returns the hash of the top.
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

/// The hash of a node; of the whole blob if it is the top.
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

/// The number of the first of the nodes that have nothing but some bytes below them, if they have any.
/// The bytes are those of a block of the tree with the same size and larger blocks.
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
