//! The tree that a message belongs to: its publisher's own, or the shared one.

use potluck_base::PublicKey;
use potluck_wire::IdRange;

use crate::message::MessageId;

/// The first message of a publisher in a topic that uses its own tree. A flood costs one copy for
/// each link. We pay it only for publishers that have already sent this many messages. A guess.
pub(in crate::topics) const OWN_TREE_FROM: u64 = 8;

/// A broadcast tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tree {
    /// The tree of all publishers without their own.
    Shared,
    /// The tree of one publisher.
    Of(PublicKey),
}

impl Tree {
    /// The tree of a message; with `shared` always the shared one.
    pub(super) fn of(shared: bool, publisher: PublicKey, sequence: u64) -> Self {
        if shared || sequence < OWN_TREE_FROM { Self::Shared } else { Self::Of(publisher) }
    }

    /// A range that names this tree and contains no message. `id`: any message of the tree.
    pub(super) fn empty_range(self, id: &MessageId) -> Vec<IdRange> {
        let MessageId { publisher, incarnation, sequence } = *id;
        match self {
            Self::Shared => Vec::new(),
            Self::Of(_) => vec![IdRange { publisher, incarnation, first: sequence, count: 0 }],
        }
    }
}
