//! What an overlay asks its topic to do.

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::TopicRequest;

use super::super::asks::Purpose;
use super::super::events::TopicsOutput;

/// What an overlay asks its topic to do. Outputs are carried out in their order, each before the
/// next one: what the layer above sends about a link goes between what the overlay sends.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::topics) enum OverlayOutput {
    /// Sends a request.
    Ask {
        /// The node to ask.
        to: Contact,
        /// Why.
        purpose: Purpose,
        /// The request.
        body: TopicRequest,
    },
    /// Passes an output on to the caller.
    Tell(TopicsOutput),
    /// Searches for other nodes of the topic.
    Find,
    /// A link was made (`NeighborUp`).
    LinkUp(NewLink),
    /// A link was lost (`NeighborDown`).
    LinkDown(PublicKey),
    /// A neighbour does not answer: it is replaced meanwhile, and checked.
    LinkSilent(PublicKey),
    /// A silent neighbour counts as working again.
    LinkBack {
        /// The neighbour.
        peer: PublicKey,
        /// Whether it answered; if not, the check could not be sent.
        answered: bool,
    },
    /// A neighbour's score is too low for eager links.
    LinkDistrusted(PublicKey),
}

/// A new link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::topics) struct NewLink {
    /// The neighbour.
    pub(in crate::topics) contact: Contact,
    /// Since when it has been in the topic.
    pub(in crate::topics) joined: Instant,
    /// Whether the link is beyond what is needed, made to mix the overlay.
    pub(in crate::topics) surplus: bool,
}
