//! The state that all parts of an overlay share: its two views, its timers and its outputs.

use std::collections::BTreeMap;

use potluck_base::{Contact, Instant, LruMap, PublicKey};
use potluck_wire::{DisconnectCause, TopicRequest, TopicResponse};

use super::super::asks::Purpose;
use super::super::config::ViewSizes;
use super::super::events::{TopicServeId, TopicsOutput};
use super::super::shared::{Shared, pick};
use super::link::Link;
use super::output::OverlayOutput;
use super::passive_view::PassiveView;
use super::timer::Timers;
use crate::view::Mode;

/// Alternative contacts given to a peer that is declined or disconnected.
pub(super) const ALTERNATIVES: usize = 4;
/// Links into one public subnet, in open networks. A lower value makes it harder to surround this
/// node from one subnet.
const PER_NETGROUP_MAX: usize = 2;
/// Disconnected peers remembered, so that neither side makes the link again for a while.
pub(super) const BACKOFF_MAX: usize = 256;
/// Unanswering contacts kept by a node without a healthy link. With none left it could never come
/// back.
const LAST_CONTACTS: usize = 16;

/// The state that all parts of an overlay share.
#[derive(Debug, Clone)]
pub(super) struct Core {
    /// Whether this is the overlay of all nodes.
    pub(super) system: bool,
    /// When this node entered the topic.
    pub(super) joined: Instant,
    pub(super) sizes: ViewSizes,
    /// The links, by peer.
    pub(super) active: BTreeMap<PublicKey, Link>,
    pub(super) passive: PassiveView,
    /// Peers that one side disconnected for room, and until when neither makes the link again.
    pub(super) backoff: LruMap<PublicKey, Instant>,
    pub(super) timers: Timers,
    /// What the topic does next, in this order.
    pub(super) out: Vec<OverlayOutput>,
}

impl Core {
    pub(super) fn new(shared: &mut Shared, system: bool) -> Self {
        let sizes = if system { shared.config.system } else { shared.config.topic };
        Self {
            system,
            joined: shared.now,
            sizes,
            active: BTreeMap::new(),
            passive: PassiveView::new(sizes.passive, shared.rng.bytes()),
            backoff: LruMap::new(BACKOFF_MAX),
            timers: Timers::default(),
            out: Vec::new(),
        }
    }

    /// How long this node has been in the topic.
    pub(super) fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.since(self.joined).as_millis()).unwrap_or(u64::MAX)
    }

    // --- the active view ---

    /// The number of healthy links.
    pub(super) fn healthy(&self) -> usize {
        self.active.values().filter(|link| link.is_healthy()).count()
    }

    /// Links that the other end requested.
    pub(super) fn inbound(&self) -> usize {
        self.active.values().filter(|link| !link.outbound).count()
    }

    /// Half of the active view is reserved for links of this node's own choice.
    pub(super) fn outbound_kept(&self) -> usize {
        self.sizes.active.div_ceil(2)
    }

    /// The most links there may be for a short time.
    pub(super) fn overflow_max(&self) -> usize {
        self.sizes.active + self.sizes.active.div_ceil(2)
    }

    /// A random healthy neighbour other than `except`.
    pub(super) fn random_neighbour(
        &self,
        shared: &mut Shared,
        except: Option<&PublicKey>,
    ) -> Option<PublicKey> {
        let other = |(peer, link): &(&PublicKey, &Link)| link.is_healthy() && Some(*peer) != except;
        pick(&mut shared.rng, self.active.iter().filter(other).map(|(peer, _)| peer).collect())
    }

    /// In open networks only few links go into one public subnet.
    pub(super) fn netgroup_has_room(&self, shared: &Shared, contact: &Contact) -> bool {
        if shared.mode == Mode::Fleet {
            return true;
        }
        let Some(group) = self.passive.netgroup(contact) else { return true };
        let same = |other: &&Link| self.passive.netgroup(&other.contact) == Some(group);
        self.active.values().filter(same).count() < PER_NETGROUP_MAX
    }

    // --- the passive view ---

    /// Adds a contact to the passive view (`addNodePassiveView` in the paper's algorithm 1).
    pub(super) fn learn(
        &mut self,
        shared: &mut Shared,
        contact: Contact,
        source: Option<PublicKey>,
    ) {
        let peer = contact.public_key;
        if self.active.contains_key(&peer) || !shared.welcomes(&peer) {
            return;
        }
        let netgroups = shared.mode == Mode::Open;
        self.passive.add(shared.now, contact, source, netgroups, &mut shared.rng);
        if let Some(until) = self.backoff.peek(&peer) {
            self.passive.retry_after(&peer, *until);
        }
    }

    /// A contact did not answer. A node without a healthy link keeps its last contacts, until
    /// `retry_at`: most likely the fault is its own, and without contacts it could never come back.
    pub(super) fn drop_contact(&mut self, peer: &PublicKey, retry_at: Instant) {
        if self.healthy() > 0 || self.passive.len() > LAST_CONTACTS {
            self.passive.remove(peer);
        } else {
            self.passive.retry_after(peer, retry_at);
        }
    }

    /// Contacts for a peer that has to look elsewhere.
    pub(super) fn alternatives(&self, shared: &mut Shared, except: &PublicKey) -> Vec<Contact> {
        let mut others: Vec<Contact> = self.active.values().map(|link| link.contact).collect();
        others.extend(self.passive.sample(&mut shared.rng, ALTERNATIVES));
        others.retain(|contact| contact.public_key != *except);
        shared.rng.shuffle(&mut others);
        others.truncate(ALTERNATIVES);
        others
    }

    /// Whether the member list tells which nodes exist and whether they are alive: in the system
    /// topic of a fleet.
    pub(super) fn is_of_members(&self, shared: &Shared) -> bool {
        self.system && shared.mode == Mode::Fleet
    }

    // --- outputs ---

    /// Sends a request.
    pub(super) fn ask(&mut self, to: Contact, purpose: Purpose, body: TopicRequest) {
        self.out.push(OverlayOutput::Ask { to, purpose, body });
    }

    /// Sends a request to a neighbour.
    pub(super) fn notify(&mut self, peer: &PublicKey, body: TopicRequest) {
        if let Some(to) = self.active.get(peer).map(|link| link.contact) {
            self.ask(to, Purpose::Notify, body);
        }
    }

    /// Answers a request.
    pub(super) fn answer(&mut self, serve: TopicServeId, answer: TopicResponse) {
        self.tell(TopicsOutput::Answer { serve, answer });
    }

    /// Passes an output on to the caller of this node's topics.
    pub(super) fn tell(&mut self, output: TopicsOutput) {
        self.out.push(OverlayOutput::Tell(output));
    }

    /// Sends a disconnect (DISCONNECT in the paper).
    pub(super) fn disconnect(
        &mut self,
        shared: &mut Shared,
        contact: Contact,
        cause: DisconnectCause,
    ) {
        let others = match cause {
            DisconnectCause::Misbehaved => Vec::new(),
            DisconnectCause::Left | DisconnectCause::Room => {
                self.alternatives(shared, &contact.public_key)
            }
        };
        let body = TopicRequest::Disconnect { cause, others };
        self.ask(contact, Purpose::NonNeighbour, body);
    }
}
