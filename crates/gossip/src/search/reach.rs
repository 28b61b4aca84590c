//! How far a search goes: in rings, and with walkers.

use potluck_wire::search::HITS_MAX;

use super::links::LinkId;

/// Most own files in the answer to a search.
pub(super) const HITS: usize = HITS_MAX;
/// Hits after which a search goes no farther. A higher value finds more and costs more messages.
pub(super) const ENOUGH: usize = 8;

/// A ring of a search, from a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ring {
    /// The number of the ring, from 1.
    pub(super) number: u8,
    /// Hops left.
    pub(super) hops: u8,
}

/// Walkers at this node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walkers {
    pub(super) count: u8,
    /// Hops each may still take from here.
    pub(super) steps: u8,
    /// The neighbour that sent them.
    pub(super) from: Option<LinkId>,
}
