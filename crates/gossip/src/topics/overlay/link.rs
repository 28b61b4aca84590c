//! One link of an overlay.

use potluck_base::{Contact, Instant, Rate, TokenBucket};

use super::super::shared::Shared;

/// Forward joins and shuffles that one neighbour may send, its own and relayed ones.
const RELAYS: Rate = Rate::new(4, 40);

/// Why a neighbour is being checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::topics) enum LivenessCheck {
    /// A request to it failed: it is replaced meanwhile.
    Silent,
    /// This node resumed after a sleep: most likely the neighbour is alive.
    Resumed,
}

/// The request of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::topics) struct LinkRequest {
    /// The requester has no other link.
    pub(in crate::topics) high_priority: bool,
    /// For how long it has been in the topic, in milliseconds.
    pub(in crate::topics) age_ms: u64,
}

/// One link of an overlay.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) contact: Contact,
    /// Whether this node requested the link.
    pub(super) outbound: bool,
    /// The serial number of the link; lower is older.
    pub(super) number: u64,
    pub(super) check: Option<LivenessCheck>,
    pub(super) check_began: Instant,
    pub(super) heard_at: Instant,
    /// Whether a probe is in flight.
    pub(super) probing: bool,
    pub(super) relay_budget: TokenBucket,
}

impl Link {
    pub(super) fn new(shared: &Shared, contact: Contact, outbound: bool) -> Self {
        Self {
            contact,
            outbound,
            number: shared.stats.neighbours_up,
            check: None,
            check_began: Instant::ZERO,
            heard_at: shared.now,
            probing: false,
            relay_budget: RELAYS.bucket(),
        }
    }

    /// Whether the link counts as working.
    pub(super) fn is_healthy(&self) -> bool {
        self.check != Some(LivenessCheck::Silent)
    }
}
