//! Outputs of an overlay for its topic.

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::TopicRequest;

use super::super::asks::Purpose;
use super::super::events::TopicsOutput;

/// An output of an overlay for its topic. The topic carries outputs out in order and completes each before
/// the next one, so that messages of the broadcast about a link are sent between those of the overlay.
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
    /// Whether it is a surplus link, made to keep the overlay random.
    pub(in crate::topics) surplus: bool,
}
