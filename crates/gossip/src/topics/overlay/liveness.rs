//! Checks whether neighbours are alive, and determines why one was lost.
//!
//! `HyParView` takes a broken TCP connection for a failed neighbour. Here every request has an
//! answer: a neighbour that leaves one unanswered is replaced at once, and checked by a probe before
//! its link is dropped.

use std::time::Duration;

use potluck_base::{Instant, PublicKey};
use potluck_wire::TopicRequest;

use super::super::asks::Purpose;
use super::super::shared::Shared;
use super::core::Core;
use super::link::{Link, LivenessCheck};
use super::output::OverlayOutput;
use super::timer::OverlayTimer;
use crate::view::Cause;

/// A neighbour not heard from for this long may be silent. A lower value finds a crash sooner and
/// checks more neighbours for nothing.
const QUIET: Duration = Duration::from_secs(3);
/// The same limit while many peers fall silent.
const QUIET_AMONG_MANY: Duration = Duration::from_secs(1);
/// Interval between two checks of quiet neighbours, in all topics but the system topic.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The same interval in the system topic, whose neighbours the failure detector probes as well.
const CHECK_INTERVAL_SYSTEM: Duration = Duration::from_secs(30);

const fn check_interval(system: bool) -> Duration {
    if system { CHECK_INTERVAL_SYSTEM } else { CHECK_INTERVAL }
}

/// The checks of an overlay's neighbours.
#[derive(Debug, Clone, Default)]
pub(super) struct Liveness {
    /// A neighbour fell silent and no node at all was heard from since.
    isolated: bool,
}

impl Liveness {
    /// Sets the next check.
    pub(super) fn schedule(core: &mut Core, shared: &mut Shared) {
        let at = shared.now + shared.rng.jitter(check_interval(core.system), 0.2);
        core.timers.set(OverlayTimer::CheckNeighbour, at);
    }

    /// Checks the neighbour that was silent for the longest time.
    pub(super) fn on_timer(core: &mut Core, shared: &mut Shared) {
        Self::schedule(core, shared);
        check_idle(core, shared.now, QUIET, 1);
    }

    /// Many peers fell silent: checks every neighbour that was not heard from just now.
    pub(super) fn check_quiet(core: &mut Core, now: Instant) {
        check_idle(core, now, QUIET_AMONG_MANY, usize::MAX);
    }

    /// A neighbour gave a sign of life.
    pub(super) fn on_heard(&mut self, core: &mut Core, now: Instant, peer: &PublicKey) {
        let Some(link) = core.active.get_mut(peer) else { return };
        self.isolated = false;
        link.heard_at = now;
        link.probing = false;
        if link.check.take() == Some(LivenessCheck::Silent) {
            core.out.push(OverlayOutput::LinkBack { peer: *peer, answered: true });
        }
    }

    /// Checks a neighbour; one that did not answer is replaced meanwhile. False if it is being
    /// checked already.
    pub(super) fn begin_check(
        core: &mut Core,
        now: Instant,
        peer: &PublicKey,
        check: LivenessCheck,
    ) -> bool {
        let Some(link) = core.active.get_mut(peer) else { return false };
        if link.check.is_some() {
            return false;
        }
        link.check = Some(check);
        link.check_began = now;
        let contact = link.contact;
        if check == LivenessCheck::Silent {
            // If one neighbour is gone, others may be.
            check_idle(core, now, QUIET, usize::MAX);
            core.out.push(OverlayOutput::LinkSilent(*peer));
        }
        core.ask(contact, Purpose::Check, TopicRequest::Probe);
        true
    }

    /// The check of a neighbour could not be sent, so its state is unknown.
    pub(super) fn on_check_unsent(core: &mut Core, peer: &PublicKey) {
        let Some(link) = core.active.get_mut(peer) else { return };
        if link.check.take() == Some(LivenessCheck::Silent) {
            core.out.push(OverlayOutput::LinkBack { peer: *peer, answered: false });
        }
    }

    /// The cause of the loss of a neighbour that does not answer. While no other node is heard from
    /// either, this node takes itself for isolated.
    pub(super) fn loss_cause(&mut self, core: &Core, shared: &Shared, peer: &PublicKey) -> Cause {
        let since = core.active.get(peer).map(|link| link.check_began);
        let none_heard = since.is_some_and(|since| shared.last_heard <= since);
        self.isolated |= none_heard && core.active.len() > 1;
        let own_fault = self.isolated || shared.now < shared.isolated_until;
        if own_fault { Cause::LocalSuspend } else { Cause::Crashed }
    }
}

/// Checks up to `max` neighbours that were silent for `quiet`, the longest silent ones first.
fn check_idle(core: &mut Core, now: Instant, quiet: Duration, max: usize) {
    let idle = |link: &&mut Link| {
        now.since(link.heard_at) >= quiet && !link.probing && link.check.is_none()
    };
    let mut idle: Vec<&mut Link> = core.active.values_mut().filter(idle).collect();
    idle.sort_by_key(|link| link.heard_at);
    for link in idle.into_iter().take(max) {
        link.probing = true;
        let (to, purpose, body) = (link.contact, Purpose::Notify, TopicRequest::Probe);
        core.out.push(OverlayOutput::Ask { to, purpose, body });
    }
}
