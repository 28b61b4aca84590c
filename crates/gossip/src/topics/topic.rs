//! One topic: connects its overlay and its broadcast, which do not use each other.
//!
//! The crossings, all in this file:
//!
//! | from | to | what |
//! |---|---|---|
//! | overlay | broadcast | a link was made or lost ([`Topic::join`]) |
//! | overlay | broadcast | a neighbour is silent, is back, or lost its trust ([`Topic::join`]) |
//! | answers | both | a neighbour gave a sign of life, after this round-trip time ([`Topic::heard`]) |
//! | requests | both | the address of a neighbour ([`Topic::on_request`]) |
//! | broadcast | overlay | a neighbour is to be ignored: its link is dropped ([`Topic::judge`]) |
//! | broadcast | overlay | the cost of dropping a link for the trees ([`Topic::on_overlay_timer`]) |
//! | overlay | broadcast | whether further links may still be found ([`Topic::settle`]) |
//! | overlay | publisher | whether there is a link, and since when ([`Topic::has_unacked`], `publish`) |

use std::time::Duration;

use potluck_base::{Contact, Deadline, Instant, PublicKey};
use potluck_wire::TopicId;

use super::broadcast::{Broadcast, BroadcastTimer};
use super::events::{TopicServeId, TopicsOutput};
use super::overlay::{LinkRequest, NewLink, Overlay, OverlayOutput, OverlayTimer};
use super::publisher::Publisher;
use super::scores::Penalty;
use super::shared::Shared;
use super::stats::TopicsStats;
use super::timer::Timer;
use crate::message::{MessageId, TopicName};
use crate::view::Cause;

/// One topic.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    /// Whether this is the system topic, the overlay of all nodes.
    pub(super) system: bool,
    pub(super) overlay: Overlay,
    pub(super) broadcast: Broadcast,
    pub(super) publisher: Publisher,
    announce_at: Option<Instant>,
    /// The next deadline, kept so that an idle topic costs nothing.
    pub(super) wake: Option<Deadline>,
}

impl Topic {
    pub(super) fn new(shared: &mut Shared, name: TopicName, next_sequence: u64) -> Self {
        let system = name.is_reserved();
        Self {
            system,
            overlay: Overlay::new(shared, system),
            broadcast: Broadcast::new(shared, name, system),
            publisher: Publisher::new(shared.now, next_sequence),
            announce_at: None,
            wake: None,
        }
    }

    pub(super) const fn id(&self) -> TopicId {
        self.broadcast.topic()
    }

    /// Adds the gauges of this topic to those of the node.
    pub(super) fn gauge(&self, stats: &mut TopicsStats) {
        self.overlay.gauge(stats);
        self.broadcast.gauge(stats);
    }

    pub(super) fn subscribe(&mut self, shared: &Shared) {
        if self.broadcast.subscribe(shared) {
            self.announce_at = Some(shared.now);
        }
    }

    /// Whether this node has neither a subscription nor a publisher here any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        !self.broadcast.is_subscribed() && self.publisher.is_over(now)
    }

    /// Whether this node stays in the topic because it has unacknowledged messages and may be
    /// isolated from the other nodes.
    pub(super) fn has_unacked(&mut self, now: Instant) -> bool {
        self.broadcast.has_unacked(now)
            && self.overlay.healthy() == 0
            && self.overlay.has_contacts()
    }

    // --- timers ---

    /// Carries out everything that follows from the last change.
    pub(super) fn settle(&mut self, shared: &mut Shared) {
        self.overlay.promote(shared);
        self.join(shared);
        self.broadcast.pump(shared);
        let searching = !self.overlay.has_searched();
        self.broadcast.report_acks(shared, searching);
        let deadline = |timer: Timer| Some(Deadline::new(self.due(timer)?, timer.why()));
        self.wake = Deadline::earliest(Timer::ALL.map(deadline));
    }

    /// When a timer is due.
    fn due(&self, timer: Timer) -> Option<Instant> {
        match timer {
            Timer::Overlay(timer) => self.overlay.due(timer),
            Timer::Broadcast(timer) => self.broadcast.due(timer),
            Timer::Announce => self.announce_at,
            Timer::Leave => self.publisher.until.filter(|_| !self.broadcast.is_subscribed()),
        }
    }

    /// Handles all timers that are due.
    pub(super) fn on_timeout(&mut self, shared: &mut Shared) {
        for timer in Timer::ALL {
            if self.due(timer).is_some_and(|at| at <= shared.now) {
                self.on_timer(shared, timer);
            }
        }
    }

    fn on_timer(&mut self, shared: &mut Shared, timer: Timer) {
        match timer {
            Timer::Overlay(timer) => self.on_overlay_timer(shared, timer),
            Timer::Broadcast(BroadcastTimer::Summary) => self.broadcast.on_summary_timer(shared),
            Timer::Broadcast(BroadcastTimer::ForwardDeferred) => {
                self.broadcast.forward_deferred(shared);
            }
            Timer::Broadcast(BroadcastTimer::GraftMissing) => {
                for (peer, count) in self.broadcast.graft_missing(shared) {
                    let penalty = self.broadcast.blame(shared, peer, count);
                    self.judge(shared, &peer, penalty);
                }
            }
            Timer::Broadcast(BroadcastTimer::CheckOrder) => self.broadcast.on_order_timer(shared),
            Timer::Announce => {
                let pause = shared.rng.jitter(shared.config.announce_interval, 0.2);
                let subscribed = self.broadcast.is_subscribed();
                self.announce_at = subscribed.then_some(shared.now + pause);
                if subscribed {
                    shared.out.push_back(TopicsOutput::Announce { topic: self.id() });
                }
            }
            // Queues are sent and acknowledgements reported when the topic settles; a topic that is
            // over is left after that.
            Timer::Broadcast(BroadcastTimer::SendQueued | BroadcastTimer::ReportAcks)
            | Timer::Leave => {}
        }
    }

    /// Dropping a link changes the trees, and so the cost of the next one: the overlay drops one link
    /// at a time.
    fn on_overlay_timer(&mut self, shared: &mut Shared, timer: OverlayTimer) {
        while self.overlay.due(timer).is_some_and(|at| at <= shared.now) {
            let (now, me) = (shared.now, shared.me.contact.public_key);
            let Self { overlay, broadcast, .. } = self;
            overlay.on_timer(shared, timer, &|peer| broadcast.cost(now, &me, peer));
            self.join(shared);
        }
    }

    // --- crossings ---

    /// Carries out the outputs of the overlay, in order.
    pub(super) fn join(&mut self, shared: &mut Shared) {
        for output in self.overlay.take_outputs() {
            match output {
                OverlayOutput::Ask { to, purpose, body } => {
                    shared.ask(self.id(), to, purpose, body);
                }
                OverlayOutput::Tell(output) => shared.out.push_back(output),
                OverlayOutput::Find => {
                    shared.out.push_back(TopicsOutput::Find { topic: self.id() });
                }
                OverlayOutput::LinkUp(NewLink { contact, joined, surplus }) => {
                    self.broadcast.link_up(shared, contact, joined, surplus);
                }
                OverlayOutput::LinkDown(peer) => self.broadcast.link_down(shared, &peer),
                OverlayOutput::LinkSilent(peer) => self.broadcast.link_silent(shared, &peer),
                OverlayOutput::LinkBack { peer, answered } => {
                    self.broadcast.link_back(shared, &peer, answered);
                }
                OverlayOutput::LinkDistrusted(peer) => {
                    self.broadcast.link_distrusted(shared, &peer);
                }
            }
        }
    }

    /// The broadcast found that a neighbour broke a rule. If the neighbour is to be ignored, the overlay
    /// drops the link to it. Returns whether it did.
    pub(super) fn judge(
        &mut self,
        shared: &mut Shared,
        peer: &PublicKey,
        penalty: Penalty,
    ) -> bool {
        let ignored = match penalty {
            Penalty::Ignored => true,
            Penalty::Tolerated | Penalty::Pruned => false,
        };
        if ignored {
            self.overlay.ban(shared, peer);
            self.join(shared);
        }
        ignored
    }

    /// A neighbour sent a request, from this address. False if there is no link to it.
    pub(super) fn on_request(&mut self, now: Instant, from: Contact) -> bool {
        let linked = self.overlay.on_request(now, from);
        if linked {
            self.broadcast.on_request(from);
        }
        linked
    }

    /// A node requests a link.
    pub(super) fn on_link_request(
        &mut self,
        shared: &mut Shared,
        serve: TopicServeId,
        from: Contact,
        request: LinkRequest,
    ) {
        let (now, me) = (shared.now, shared.me.contact.public_key);
        let Self { overlay, broadcast, .. } = self;
        if overlay.is_linked(&from.public_key) {
            broadcast.on_request(from);
        }
        overlay.on_neighbour(shared, serve, from, request, &|peer| broadcast.cost(now, &me, peer));
        self.join(shared);
    }

    /// A neighbour gave a sign of life.
    pub(super) fn heard(&mut self, shared: &mut Shared, peer: &PublicKey, rtt: Duration) {
        self.broadcast.on_round_trip(peer, rtt);
        self.overlay.on_heard(shared.now, peer);
        self.join(shared);
    }

    /// A neighbour did not answer.
    pub(super) fn on_silent(&mut self, shared: &mut Shared, peer: &PublicKey) {
        self.overlay.on_silent(shared.now, peer);
        self.join(shared);
    }

    /// Many peers fell silent.
    pub(super) fn check_quiet(&mut self, shared: &mut Shared) {
        self.overlay.check_quiet(shared.now);
        self.join(shared);
    }

    /// A node is gone.
    pub(super) fn drop_peer(&mut self, shared: &mut Shared, peer: &PublicKey, cause: Cause) {
        self.overlay.drop_peer(shared, peer, cause);
        self.join(shared);
    }

    /// This node slept or stood still.
    pub(super) fn on_resumed(&mut self, shared: &mut Shared) {
        self.overlay.on_resumed(shared.now);
        self.broadcast.on_standstill(shared.now);
        self.join(shared);
    }

    /// A reader has the message `after`.
    pub(super) fn expect_after(&mut self, shared: &Shared, after: &MessageId) {
        self.broadcast.expect_after(shared, after);
    }

    /// Disconnects from all neighbours.
    pub(super) fn leave(&mut self, shared: &mut Shared) {
        self.broadcast.end_acks(shared);
        self.overlay.leave(shared);
        self.join(shared);
    }
}
