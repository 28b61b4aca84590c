//! A search of this node's own.

use potluck_base::Instant;

use crate::view::FoundFile;

/// A search under way.
#[derive(Debug, Clone)]
pub(super) struct OwnSearch {
    pub(super) id: u64,
    pub(super) began: Instant,
    /// The ring that was asked last; 0 before the first.
    pub(super) ring: u8,
    pub(super) deadline: Instant,
    /// This node's own files that match.
    pub(super) own: Vec<FoundFile>,
    /// A look-up of further own files is under way.
    pub(super) looking: bool,
    /// The search would end but for this look-up.
    pub(super) waits: bool,
    pub(super) found: Vec<FoundFile>,
}
