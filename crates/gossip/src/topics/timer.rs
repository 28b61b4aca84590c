//! The timers of a topic.

use super::broadcast::BroadcastTimer;
use super::overlay::OverlayTimer;

/// A timer of a topic: of its overlay, of its broadcast, or its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// Of the overlay.
    Overlay(OverlayTimer),
    /// Of the broadcast.
    Broadcast(BroadcastTimer),
    /// Announce in the DHT that this node is in the topic.
    Announce,
    /// Leave the topic, some time after the last publish.
    Leave,
}

impl Timer {
    /// All timers, in the order in which those that are due are handled.
    pub(super) const ALL: [Self; 15] = [
        Self::Overlay(OverlayTimer::Shuffle),
        Self::Overlay(OverlayTimer::ProbeContact),
        Self::Overlay(OverlayTimer::CheckNeighbour),
        Self::Broadcast(BroadcastTimer::Summary),
        Self::Overlay(OverlayTimer::Rewire),
        Self::Overlay(OverlayTimer::Trim),
        Self::Announce,
        Self::Overlay(OverlayTimer::Find),
        Self::Overlay(OverlayTimer::Promote),
        Self::Broadcast(BroadcastTimer::ForwardDeferred),
        Self::Broadcast(BroadcastTimer::GraftMissing),
        Self::Broadcast(BroadcastTimer::SendQueued),
        Self::Broadcast(BroadcastTimer::CheckOrder),
        Self::Broadcast(BroadcastTimer::ReportAcks),
        Self::Leave,
    ];

    /// The reason in a deadline.
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Overlay(OverlayTimer::Shuffle) => "shuffle",
            Self::Overlay(OverlayTimer::ProbeContact) => "probe a contact",
            Self::Overlay(OverlayTimer::CheckNeighbour) => "check a neighbour",
            Self::Overlay(OverlayTimer::Rewire) => "a link beyond need",
            Self::Overlay(OverlayTimer::Trim) => "drop links beyond the limit",
            Self::Overlay(OverlayTimer::Find) => "find others of a topic",
            Self::Overlay(OverlayTimer::Promote) => "make a link",
            Self::Broadcast(BroadcastTimer::Summary) => "compare with a neighbour",
            Self::Broadcast(BroadcastTimer::ForwardDeferred) => "grow a tree",
            Self::Broadcast(BroadcastTimer::GraftMissing) => "ask for what was promised",
            Self::Broadcast(BroadcastTimer::SendQueued) => "names of messages",
            Self::Broadcast(BroadcastTimer::CheckOrder) => "messages that are missing",
            Self::Broadcast(BroadcastTimer::ReportAcks) => "count the takers",
            Self::Announce => "announce a topic",
            Self::Leave => "leave a topic",
        }
    }
}
