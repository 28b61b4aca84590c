//! The hash tree of a blob without its data. A complete blob serves its nodes in pages. A fetching node takes
//! the pages from the top down, so each node is compared with its hash in the node above it.
//!
//! **Invariant:** a node is written, and the hash of a chunk group returned, only after all nodes above it
//! were verified up to the root.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use blake3::Hash;
use potluck_base::GROUP_BYTES;

use super::blob::Blob;
use super::meta::Phase;
use super::tree::{self, NODE_BYTES, Node};
use super::{ReadError, WriteError, files};

/// Most nodes in a page.
pub const NODES_MAX: u32 = 4096;

impl Blob {
    /// The number of nodes of its tree.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        (tree::of(self.division.size()).outboard_size() / NODE_BYTES as u64) as u32
    }

    /// Nodes of its tree, in pre-order. They are not verified again since the blob became complete; the
    /// receiver verifies them.
    ///
    /// # Errors
    /// [`ReadError::Missing`] if the blob is not complete, if the range is empty or out of bounds, or if it
    /// has more than [`NODES_MAX`] nodes; the disk refused.
    pub fn read_nodes(&self, nodes: Range<u32>) -> Result<Vec<u8>, ReadError> {
        let asked = nodes.start < nodes.end && nodes.end <= self.nodes();
        if !asked || nodes.end - nodes.start > NODES_MAX || !self.is_complete() {
            return Err(ReadError::Missing);
        }
        let outboard = self.outboard.as_ref().ok_or(ReadError::Missing)?;
        let mut bytes = vec![0; (nodes.end - nodes.start) as usize * NODE_BYTES];
        let offset = u64::from(nodes.start) * NODE_BYTES as u64;
        files::read_at(outboard, &mut bytes, offset).map_err(ReadError::Io)?;
        Ok(bytes)
    }
}

/// A subtree that was not read yet.
#[derive(Debug, Clone)]
struct Part {
    /// The number of its top node, if it has more than one group.
    node: u32,
    /// Its groups.
    groups: Range<u32>,
    /// The hash of its top node.
    hash: Hash,
}

impl Part {
    fn bytes(&self) -> Range<u64> {
        u64::from(self.groups.start) * GROUP_BYTES..u64::from(self.groups.end) * GROUP_BYTES
    }
}

/// The hash tree of a partial blob, taken page by page. Memory holds only the open subtrees on the way down
/// and the hashes of one page.
#[derive(Debug)]
pub struct Outline {
    blob: Arc<Blob>,
    /// The subtrees that are still open. The next one is at the end.
    open: Vec<Part>,
    /// Groups with a known hash that was not returned yet, ascending.
    known: VecDeque<(u32, Hash)>,
}

impl Outline {
    /// Starts at the root.
    #[must_use]
    pub fn new(blob: Arc<Blob>) -> Self {
        let groups = blob.division.size().div_ceil(GROUP_BYTES).max(1) as u32;
        let hash = Hash::from_bytes(*blob.entry.id.as_bytes());
        let top = Part { node: 0, groups: 0..groups, hash };
        Self { blob, open: vec![top], known: VecDeque::new() }
    }

    /// The length of the answer to a request for these nodes.
    #[must_use]
    pub fn bytes_of(nodes: &Range<u32>) -> usize {
        nodes.len() * NODE_BYTES
    }

    /// Skips subtrees without bytes that `wants` selects, and returns the nodes that are needed next. `None`
    /// when the hashes of all wanted groups are known.
    pub fn next(&mut self, wants: &dyn Fn(&Range<u64>) -> bool) -> Option<Range<u32>> {
        while let Some(part) = self.open.pop() {
            if !wants(&part.bytes()) {
                continue;
            }
            if part.groups.len() > 1 {
                let first = part.node;
                self.open.push(part);
                return Some(first..first.saturating_add(NODES_MAX).min(self.blob.nodes()));
            }
            self.known.push_back((part.groups.start, part.hash));
        }
        None
    }

    /// Verifies and stores the nodes that [`Outline::next`] requested.
    ///
    /// # Errors
    /// [`WriteError::Corrupt`] at the first node that does not match the hash above it; the nodes before it
    /// are right and are kept. The disk refused.
    pub fn take(
        &mut self,
        first: u32,
        nodes: &[u8],
        wants: &dyn Fn(&Range<u64>) -> bool,
    ) -> Result<(), WriteError> {
        let (nodes, rest) = nodes.as_chunks::<NODE_BYTES>();
        if !rest.is_empty() || nodes.len() > NODES_MAX as usize {
            return Err(WriteError::Corrupt);
        }
        let mut run = Run::default();
        let taken = self.take_all(first, nodes, wants, &mut run);
        run.write(&self.blob)?;
        taken
    }

    fn take_all(
        &mut self,
        first: u32,
        nodes: &[Node],
        wants: &dyn Fn(&Range<u64>) -> bool,
        run: &mut Run,
    ) -> Result<(), WriteError> {
        while let Some(part) = self.open.pop() {
            if !wants(&part.bytes()) {
                continue;
            }
            if part.groups.len() == 1 {
                self.known.push_back((part.groups.start, part.hash));
                continue;
            }
            let node = part.node.checked_sub(first).and_then(|at| nodes.get(at as usize));
            let Some(node) = node else {
                // This node is in the next page.
                self.open.push(part);
                break;
            };
            let (hash, [left, right]) = tree::hash_node(node, part.node == 0);
            if hash != part.hash {
                self.open.push(part);
                return Err(WriteError::Corrupt);
            }
            run.add(&self.blob, part.node, node)?;
            let Part { node, groups, .. } = part;
            // The left half of a tree is the largest power of two of groups that leaves at least one for the
            // right half.
            let half = groups.len().next_power_of_two() as u32 / 2;
            let middle = groups.start + half;
            self.open.push(Part { node: node + half, groups: middle..groups.end, hash: right });
            self.open.push(Part { node: node + 1, groups: groups.start..middle, hash: left });
        }
        Ok(())
    }

    /// The next granule whose groups all have a known hash, with these hashes. Granules with unwanted groups
    /// are left out.
    pub fn granule(&mut self) -> Option<(u32, Vec<Hash>)> {
        let per_granule = (self.blob.division.granule_bytes() / GROUP_BYTES) as u32;
        loop {
            let granule = self.known.front()?.0 / per_granule;
            let bytes = self.blob.division.bytes(granule);
            let groups = (bytes.end - bytes.start).div_ceil(GROUP_BYTES).max(1) as usize;
            let here = self.known.iter().take_while(|(group, _)| group / per_granule == granule);
            let here = here.count();
            if here == groups {
                return Some((granule, self.known.drain(..here).map(|(_, hash)| hash).collect()));
            }
            if here == self.known.len() {
                return None;
            }
            // Groups of this granule were skipped.
            self.known.drain(..here);
        }
    }
}

/// Contiguous nodes that are written with one call.
#[derive(Debug, Default)]
struct Run {
    first: u32,
    bytes: Vec<u8>,
}

impl Run {
    fn add(&mut self, blob: &Blob, number: u32, node: &Node) -> Result<(), WriteError> {
        if self.first + (self.bytes.len() / NODE_BYTES) as u32 != number {
            self.write(blob)?;
            self.first = number;
        }
        self.bytes.extend_from_slice(node);
        Ok(())
    }

    fn write(&mut self, blob: &Blob) -> Result<(), WriteError> {
        if let Some(outboard) = &blob.outboard
            && blob.progress.lock().phase == Phase::Partial
        {
            files::write_at(outboard, &self.bytes, u64::from(self.first) * NODE_BYTES as u64)?;
        }
        self.bytes.clear();
        Ok(())
    }
}
