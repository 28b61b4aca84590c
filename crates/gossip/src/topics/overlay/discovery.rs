//! The search for other nodes of the topic, beyond those that neighbours tell of.

use std::time::Duration;

use potluck_base::{Contact, Instant};

use super::super::shared::Shared;
use super::core::Core;
use super::output::OverlayOutput;
use super::timer::OverlayTimer;

/// Shortest pause between two searches for other nodes of the topic; each pause is twice the last.
const FIND_MIN: Duration = Duration::from_secs(2);
/// Longest pause between two searches while this node has no link in the topic.
const FIND_ALONE_MAX: Duration = Duration::from_secs(20);
/// Longest pause between two searches otherwise.
const FIND_MAX: Duration = Duration::from_secs(600);
/// With fewer contacts than this, the system topic searches for more nodes.
const SYSTEM_PASSIVE_FEW: usize = 16;

/// The searches for other nodes of a topic.
#[derive(Debug, Clone)]
pub(super) struct Discovery {
    pause: Duration,
    /// Whether a search has ended.
    searched: bool,
}

impl Discovery {
    /// Searches at once.
    pub(super) fn new(core: &mut Core, now: Instant) -> Self {
        core.timers.set(OverlayTimer::Find, now);
        Self { pause: FIND_MIN, searched: false }
    }

    /// Whether a search has ended.
    pub(super) const fn has_searched(&self) -> bool {
        self.searched
    }

    /// Too few links are left: brings the next search forward.
    pub(super) fn soon(&mut self, core: &mut Core, now: Instant) {
        self.pause = FIND_MIN;
        core.timers.set_by(OverlayTimer::Find, now + FIND_MIN);
    }

    pub(super) fn on_timer(&mut self, core: &mut Core, shared: &mut Shared) {
        let healthy = core.healthy();
        let short = healthy < core.sizes.active;
        let longest = if healthy == 0 { FIND_ALONE_MAX } else { FIND_MAX };
        let pause = if short { self.pause.min(longest) } else { FIND_MAX };
        self.pause = (pause * 2).min(longest);
        core.timers.set(OverlayTimer::Find, shared.now + shared.rng.jitter(pause, 0.2));
        // The system topic has other sources of contacts and searches only when these dry up.
        if !core.system || (short && core.passive.len() < SYSTEM_PASSIVE_FEW) {
            core.out.push(OverlayOutput::Find);
        }
    }

    /// A search ended.
    pub(super) fn on_found(
        &mut self,
        core: &mut Core,
        shared: &mut Shared,
        contacts: Vec<Contact>,
    ) {
        self.searched = true;
        for contact in contacts {
            core.learn(shared, contact, None);
        }
    }
}
