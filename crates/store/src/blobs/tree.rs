//! The hash tree of a blob over groups of 64 KiB: its shape, verified encodings, and how it is built.
//!
//! An encoding of a range of groups is what the Bao format and the `bao-tree` crate write for it,
//! without the size in front: inner nodes (the two child hashes) and groups in pre-order. Nodes are
//! numbered in pre-order too, so that the nodes below any node follow it, and a granule's lie together.
//!
//! **Invariant:** [`decode`] gives out slices of its input, [`encode`] bytes, only if all their hashes
//! lead up to the root.

use std::io;
use std::ops::Range;

use blake3::hazmat::{HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use potluck_base::GROUP_BYTES;

/// A hash in the tree.
pub(crate) type Hash = [u8; 32];
/// A node as it is stored and sent: the hashes of its two children.
pub(crate) type Node = [u8; NODE_BYTES];
/// Bytes of a node.
pub(crate) const NODE_BYTES: usize = 64;

/// Groups in a blob: at least one.
pub(crate) const fn groups(size: u64) -> u64 {
    let groups = size.div_ceil(GROUP_BYTES);
    if groups == 0 { 1 } else { groups }
}

/// Bytes of all nodes.
pub(crate) const fn outboard_bytes(size: u64) -> u64 {
    (groups(size) - 1) * NODE_BYTES as u64
}

/// The groups that hold some of these bytes; at least the one where they begin.
pub(crate) fn groups_of(bytes: &Range<u64>) -> Range<u64> {
    let begin = bytes.start / GROUP_BYTES;
    begin..bytes.end.div_ceil(GROUP_BYTES).max(begin + 1)
}

/// How many of `count` parts are below the left child: a power of two.
const fn left_of(count: u64) -> u64 {
    count.div_ceil(2).next_power_of_two()
}

/// One step through a part of the tree.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    /// A node, and below which of its children the walk goes on.
    Node { index: u64, left: bool, right: bool, root: bool },
    /// A group of the blob.
    Group { begin: u64, bytes: usize, root: bool },
}

/// The way through the tree that reaches some of its groups.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Copy)]
struct Subtree {
    first: u64,
    count: u64,
    index: u64,
    root: bool,
}

impl Plan {
    /// The plan for `wanted` groups of a blob of `size` bytes.
    pub(crate) fn of(size: u64, wanted: &Range<u64>) -> Self {
        let mut plan = Self { steps: Vec::new() };
        let whole = Subtree { first: 0, count: groups(size), index: 0, root: true };
        plan.descend(size, wanted, whole);
        plan
    }

    fn descend(&mut self, size: u64, wanted: &Range<u64>, tree: Subtree) {
        if tree.count == 1 {
            let begin = tree.first * GROUP_BYTES;
            let bytes = GROUP_BYTES.min(size.saturating_sub(begin)) as usize;
            self.steps.push(Step::Group { begin, bytes, root: tree.root });
            return;
        }
        let below = left_of(tree.count);
        let middle = tree.first + below;
        let left = wanted.start < middle && wanted.end > tree.first;
        let right = wanted.end > middle && wanted.start < tree.first + tree.count;
        self.steps.push(Step::Node { index: tree.index, left, right, root: tree.root });
        if left {
            let child =
                Subtree { first: tree.first, count: below, index: tree.index + 1, root: false };
            self.descend(size, wanted, child);
        }
        if right {
            let count = tree.count - below;
            let child = Subtree { first: middle, count, index: tree.index + below, root: false };
            self.descend(size, wanted, child);
        }
    }

    /// The nodes of the plan as runs of following indices.
    pub(crate) fn node_runs(&self) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for step in &self.steps {
            let Step::Node { index, .. } = *step else { continue };
            match runs.last_mut() {
                Some(run) if run.end == index => run.end += 1,
                _ => runs.push(index..index + 1),
            }
        }
        runs
    }
}

/// The hashes that are still to be met, from the root on.
struct Expected(Vec<Hash>);

impl Expected {
    fn node(&mut self, node: &Node, left: bool, right: bool, root: bool) -> bool {
        let (a, b) = halves(node);
        if self.0.pop() != Some(merge(&a, &b, root)) {
            return false;
        }
        if right {
            self.0.push(b);
        }
        if left {
            self.0.push(a);
        }
        true
    }

    fn group(&mut self, begin: u64, data: &[u8], root: bool) -> bool {
        self.0.pop() == Some(hash_group(begin, data, root))
    }
}

/// What a verified encoding holds.
pub(crate) struct Decoded<'a> {
    /// Nodes and their numbers, ascending.
    pub(crate) nodes: Vec<(u64, &'a Node)>,
    /// Groups and where they begin in the blob, ascending, without gaps.
    pub(crate) groups: Vec<(u64, &'a [u8])>,
}

/// Takes an encoding apart. `None` unless every hash in it is right and nothing is left over.
pub(crate) fn decode<'a>(root: &Hash, plan: &Plan, mut encoded: &'a [u8]) -> Option<Decoded<'a>> {
    let mut expected = Expected(vec![*root]);
    let mut decoded = Decoded { nodes: Vec::new(), groups: Vec::new() };
    for step in &plan.steps {
        match *step {
            Step::Node { index, left, right, root } => {
                let (node, rest) = encoded.split_first_chunk::<NODE_BYTES>()?;
                encoded = rest;
                expected.node(node, left, right, root).then_some(())?;
                decoded.nodes.push((index, node));
            }
            Step::Group { begin, bytes, root } => {
                let (data, rest) = encoded.split_at_checked(bytes)?;
                encoded = rest;
                expected.group(begin, data, root).then_some(())?;
                decoded.groups.push((begin, data));
            }
        }
    }
    encoded.is_empty().then_some(decoded)
}

/// Why an encoding was not made.
#[derive(Debug)]
pub(crate) enum EncodeError {
    /// The bytes or nodes are not those that the root names.
    Mismatch,
    /// They could not be read.
    Io(io::Error),
}

/// Appends to `out` what a plan meets: groups as `read` gives them, and `nodes` (those of the plan in
/// its order) if `with_nodes`. What was appended before an error must not be used.
pub(crate) fn encode(
    root: &Hash,
    plan: &Plan,
    mut nodes: &[u8],
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>,
    with_nodes: bool,
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let mut expected = Expected(vec![*root]);
    for step in &plan.steps {
        let met = match *step {
            Step::Node { left, right, root, .. } => {
                let (node, rest) =
                    nodes.split_first_chunk::<NODE_BYTES>().ok_or(EncodeError::Mismatch)?;
                nodes = rest;
                if with_nodes {
                    out.extend_from_slice(node);
                }
                expected.node(node, left, right, root)
            }
            Step::Group { begin, bytes, root } => {
                let length = out.len();
                out.resize(length + bytes, 0);
                read(begin, &mut out[length..]).map_err(EncodeError::Io)?;
                expected.group(begin, &out[length..], root)
            }
        };
        if !met {
            return Err(EncodeError::Mismatch);
        }
    }
    Ok(())
}

/// The hash of a group; of the whole blob if it has no other.
pub(crate) fn hash_group(begin: u64, data: &[u8], root: bool) -> Hash {
    if root {
        return *blake3::hash(data).as_bytes();
    }
    blake3::Hasher::new().set_input_offset(begin).update(data).finalize_non_root()
}

fn halves(node: &Node) -> (Hash, Hash) {
    let (mut left, mut right) = ([0; 32], [0; 32]);
    left.copy_from_slice(&node[..32]);
    right.copy_from_slice(&node[32..]);
    (left, right)
}

fn merge(left: &Hash, right: &Hash, root: bool) -> Hash {
    if root {
        *merge_subtrees_root(left, right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(left, right, Mode::Hash)
    }
}

/// Builds the tree over the `parts` of a blob from their hashes, where each but the last has
/// `part_groups` groups (a power of two). Hands each node above the parts to `save` with its number,
/// and returns the hash of the top.
pub(crate) fn build(
    parts: &[Hash],
    part_groups: u64,
    index: u64,
    root: bool,
    save: &mut impl FnMut(u64, &Node) -> io::Result<()>,
) -> io::Result<Hash> {
    if let [only] = parts {
        return Ok(*only);
    }
    let below = left_of(parts.len() as u64);
    let (left, right) = parts.split_at(below as usize);
    let left = build(left, part_groups, index + 1, false, save)?;
    let right = build(right, part_groups, index + below * part_groups, false, save)?;
    let mut node = [0; NODE_BYTES];
    node[..32].copy_from_slice(&left);
    node[32..].copy_from_slice(&right);
    save(index, &node)?;
    Ok(merge(&left, &right, root))
}

/// The number of the first node below which the part that begins at group `first` lies, if a blob of
/// `groups` groups is cut in parts of `part_groups` (a power of two).
pub(crate) fn index_of(groups: u64, first: u64, part_groups: u64) -> u64 {
    let (mut begin, mut count, mut index) = (0, groups, 0);
    while count > part_groups {
        let below = left_of(count);
        if first < begin + below {
            count = below;
            index += 1;
        } else {
            begin += below;
            count -= below;
            index += below;
        }
    }
    index
}
