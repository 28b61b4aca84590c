//! The cost of dropping a link: the trees that use it.

/// The number of trees that use a link, in either direction. Links with the lowest cost go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// Trees of which this node or the neighbour is the root.
    pub(super) roots: usize,
    /// All trees.
    pub(super) trees: usize,
}

impl Cost {
    /// No tree uses the link.
    pub(super) const NONE: Self = Self { roots: 0, trees: 0 };
    /// The link leads to no root; any number of trees.
    pub(super) const NO_ROOT: Self = Self { roots: 0, trees: usize::MAX };
}
