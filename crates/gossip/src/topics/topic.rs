//! One topic: its overlay, its trees, its seen messages, and its timers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use potluck_base::{Contact, Deadline, Instant, LruMap, PublicKey, RoundTrip};
use potluck_wire::{TopicId, TopicRequest};

use super::broadcast::flood::{DeferredMessage, Tree};
use super::broadcast::message_cache::{CACHE_LIFE, MessageCache, ranges};
use super::broadcast::missing::MissingMessages;
use super::broadcast::order::DeliveryOrder;
use super::broadcast::parent::Trees;
use super::broadcast::receipt::Receipt;
use super::broadcast::seen::Seen;
use super::broadcast::subscription::Subscription;
use super::config::ViewSizes;
use super::events::TopicsOutput;
use super::neighbour::{LivenessCheck, Neighbour};
use super::overlay::Attempt;
use super::overlay::passive_view::PassiveView;
use super::overlay::rewiring::Rewiring;
use super::overlay::shuffle::PendingShuffle;
use super::shared::{Purpose, Shared};
use super::stats::TopicsStats;
use crate::message::{MessageId, TopicName};
use crate::view::{Cause, Mode};

/// Interval between two shuffles. A lower value mixes passive views faster and costs more traffic.
const SHUFFLE_INTERVAL: Duration = Duration::from_secs(60);
/// Interval between two shuffles in the first two minutes in a topic.
const SHUFFLE_EARLY: Duration = Duration::from_secs(10);
/// For this long after it joined, a node shuffles at the early interval.
const EARLY: Duration = Duration::from_secs(120);
/// Interval between two probes of contacts in the passive view. With 128 contacts a full round
/// takes as long as a proof of life counts.
const PROBE_INTERVAL: Duration = Duration::from_secs(14);
/// A neighbour not heard from for this long may be silent. A lower value finds a crash sooner and
/// checks more neighbours for nothing.
const QUIET: Duration = Duration::from_secs(3);
/// The same limit while many peers fall silent.
const QUIET_AMONG_MANY: Duration = Duration::from_secs(1);
/// Interval between two checks of quiet neighbours, in all topics but the system topic.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// The same interval in the system topic, whose neighbours the failure detector probes as well.
const CHECK_INTERVAL_SYSTEM: Duration = Duration::from_secs(30);
/// Interval between two summaries to a random neighbour while anything is cached. A lower value
/// repairs sooner and costs more traffic.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(30);
/// Shortest pause between two searches for other nodes of the topic; each pause is twice the last.
const FIND_MIN: Duration = Duration::from_secs(2);
/// Longest pause between two searches while this node has no link in the topic.
const FIND_ALONE_MAX: Duration = Duration::from_secs(20);
/// Longest pause between two searches otherwise.
const FIND_MAX: Duration = Duration::from_secs(600);
/// With fewer contacts than this, the system topic searches for more nodes.
const SYSTEM_PASSIVE_FEW: usize = 16;
/// Id ranges that fit in a datagram.
const RANGES_DATAGRAM: usize = 16;
/// Id ranges in a summary for a new neighbour.
const RANGES_MAX: usize = 128;
/// Id ranges of the cache from which a summary is chosen. A higher value covers more publishers and
/// takes longer to compute.
const RANGES_CONSIDERED: usize = 2_048;
/// Disconnected peers remembered, so that neither side makes the link again for a while.
const BACKOFF_MAX: usize = 256;

const fn check_interval(system: bool) -> Duration {
    if system { CHECK_INTERVAL_SYSTEM } else { CHECK_INTERVAL }
}

/// One topic. Its behaviour is spread over the files of this folder: `overlay` makes and drops
/// links, `shuffle` exchanges contacts, `tree` forwards messages.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) id: TopicId,
    pub(super) name: TopicName,
    /// Whether this is the system topic, the overlay of all nodes.
    pub(super) system: bool,
    pub(super) subscribed: bool,
    /// When this node subscribed last.
    pub(super) subscription: Subscription,
    /// Until then this node stays in the topic as a publisher.
    pub(super) publishing_until: Option<Instant>,
    pub(super) joined: Instant,
    pub(super) next_sequence: u64,
    /// Until then this node's publish rate is used up.
    pub(super) publish_from: Instant,
    pub(super) sizes: ViewSizes,
    pub(super) active_view: BTreeMap<PublicKey, Neighbour>,
    pub(super) passive_view: PassiveView,
    pub(super) attempts: BTreeMap<PublicKey, Attempt>,
    pub(super) backoff: LruMap<PublicKey, Instant>,
    /// Neighbours that no longer knew the link, and when this node asked each for a new one.
    pub(super) forgotten: LruMap<PublicKey, Instant>,
    /// Before then no joiner evicts a neighbour.
    pub(super) evictions_from: Instant,
    pub(super) declined_in_row: u32,
    /// Before then no new attempt begins.
    pub(super) attempts_from: Instant,
    /// Whether there was no link when links were requested last.
    pub(super) alone: bool,
    pub(super) promote_at: Option<Instant>,
    pub(super) trim_at: Option<Instant>,
    /// This node's own messages that no neighbour has acknowledged yet.
    pub(super) unacked: BTreeSet<MessageId>,
    /// Publishes whose acknowledgements are counted.
    pub(super) receipts: VecDeque<Receipt>,
    /// Messages that wait for their turn to be delivered to this node's subscribers.
    pub(super) delivery_order: DeliveryOrder,
    /// When a neighbour fell silent last.
    pub(super) lost_at: Option<Instant>,
    pub(super) rewiring: Rewiring,
    pub(super) pending_shuffle: Option<PendingShuffle>,
    pub(super) seen: Seen,
    pub(super) cache: MessageCache,
    pub(super) missing: MissingMessages,
    pub(super) trees: Trees,
    /// Deferred floods and the messages behind them, in the order in which they are forwarded.
    pub(super) deferred: VecDeque<DeferredMessage>,
    /// How far messages on the trees lag behind their announcements.
    pub(super) lag: RoundTrip,
    /// A neighbour fell silent and no node at all was heard from since.
    isolated: bool,
    shuffle_at: Instant,
    probe_at: Instant,
    check_at: Instant,
    summary_at: Instant,
    announce_at: Option<Instant>,
    find_at: Instant,
    find_pause: Duration,
    /// Whether a search for other nodes of the topic has ended.
    pub(super) searched: bool,
    /// The next deadline, kept so that an idle topic costs nothing.
    pub(super) wake: Option<Deadline>,
}

impl Topic {
    pub(super) fn new(shared: &mut Shared, name: TopicName, next_sequence: u64) -> Self {
        let (now, system) = (shared.now, name.is_reserved());
        let sizes = if system { shared.config.system } else { shared.config.topic };
        Self {
            id: name.id(),
            name,
            system,
            subscribed: system,
            subscription: Subscription::new(shared.now, shared.wall()),
            publishing_until: None,
            joined: now,
            next_sequence,
            publish_from: now,
            sizes,
            active_view: BTreeMap::new(),
            passive_view: PassiveView::new(sizes.passive, shared.rng.bytes()),
            attempts: BTreeMap::new(),
            backoff: LruMap::new(BACKOFF_MAX),
            forgotten: LruMap::new(BACKOFF_MAX),
            evictions_from: now,
            declined_in_row: 0,
            attempts_from: now,
            alone: true,
            promote_at: None,
            trim_at: None,
            unacked: BTreeSet::new(),
            receipts: VecDeque::new(),
            delivery_order: DeliveryOrder::default(),
            lost_at: None,
            rewiring: Rewiring::new(shared),
            pending_shuffle: None,
            seen: Seen::new(shared.config.publishers_max),
            cache: MessageCache::default(),
            missing: MissingMessages::default(),
            trees: Trees::new(now),
            deferred: VecDeque::new(),
            lag: RoundTrip::default(),
            isolated: false,
            shuffle_at: now + shared.rng.jitter(SHUFFLE_EARLY, 0.2),
            probe_at: now + shared.rng.jitter(PROBE_INTERVAL, 0.2),
            check_at: now + shared.rng.jitter(check_interval(system), 0.2),
            summary_at: now + shared.rng.jitter(SUMMARY_INTERVAL, 0.2),
            announce_at: None,
            find_at: now,
            find_pause: FIND_MIN,
            searched: false,
            wake: None,
        }
    }

    /// Adds the gauges of this topic to those of the node.
    pub(super) fn gauge(&self, stats: &mut TopicsStats) {
        if self.system {
            stats.system_active = self.active_view.len();
            stats.system_passive = self.passive_view.len();
        }
        stats.active += self.active_view.len();
        stats.passive += self.passive_view.len();
        stats.history_messages += self.cache.len();
        stats.history_bytes += self.cache.bytes();
        stats.promises += self.missing.len();
        stats.publishers += self.seen.publishers();
        stats.growing += self.deferred.len();
        stats.held += self.delivery_order.held();
        stats.untaken += self.unacked.len();
        for neighbour in self.active_view.values() {
            stats.branches += neighbour.eager_trees.len();
            stats.active_outbound += usize::from(neighbour.outbound);
            stats.active_eager += usize::from(neighbour.is_eager(Tree::Shared));
            stats.active_doubted += usize::from(neighbour.check.is_some());
            stats.queued_messages += neighbour.queue.len();
            stats.queued_bytes += neighbour.queue.bytes();
        }
    }

    /// How long this node has been in the topic.
    pub(super) fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.since(self.joined).as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn subscribe(&mut self, shared: &Shared) {
        if !self.subscribed {
            self.subscribed = true;
            self.subscription = Subscription::new(shared.now, shared.wall());
            self.announce_at = Some(shared.now);
            self.delivery_order = DeliveryOrder::default();
        }
    }

    /// Whether this node has neither a subscription nor a publisher here any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        !self.subscribed && self.publishing_until.is_none_or(|until| until <= now)
    }

    /// The number of healthy links.
    pub(super) fn healthy(&self) -> usize {
        self.active_view.values().filter(|neighbour| neighbour.is_healthy()).count()
    }

    /// Too few links are left: brings the next search forward.
    pub(super) fn find_soon(&mut self, now: Instant) {
        self.find_pause = FIND_MIN;
        self.find_at = self.find_at.min(now + FIND_MIN);
    }

    pub(super) fn on_found(&mut self, shared: &mut Shared, contacts: Vec<Contact>) {
        self.searched = true;
        for contact in contacts {
            self.learn(shared, contact, None);
        }
    }

    /// Carries out everything that follows from the last change.
    pub(super) fn settle(&mut self, shared: &mut Shared) {
        self.promote(shared);
        self.pump(shared);
        self.answer_receipts(shared);
        self.wake = self.deadline();
    }

    fn deadline(&self) -> Option<Deadline> {
        let at = |at: Instant, why| Some(Deadline::new(at, why));
        let healthy = self.active_view.values().filter(|neighbour| neighbour.is_healthy());
        let queues = healthy.filter_map(|neighbour| neighbour.queue.wake()).min();
        let leave = self.publishing_until.filter(|_| !self.subscribed);
        Deadline::earliest([
            at(self.shuffle_at, "shuffle"),
            at(self.probe_at, "probe a contact"),
            at(self.check_at, "check a neighbour"),
            at(self.summary_at, "compare with a neighbour"),
            at(self.rewiring.at, "a link beyond need"),
            at(self.find_at, "find others of a topic"),
            self.announce_at.map(|at| Deadline::new(at, "announce a topic")),
            self.trim_at.map(|at| Deadline::new(at, "drop links beyond the limit")),
            self.promote_at.map(|at| Deadline::new(at, "make a link")),
            self.missing.next().map(|at| Deadline::new(at, "ask for what was promised")),
            self.deferred_until().map(|at| Deadline::new(at, "grow a tree")),
            queues.map(|at| Deadline::new(at, "names of messages")),
            self.delivery_order.next().map(|at| Deadline::new(at, "messages that are missing")),
            self.receipts.front().map(|receipt| Deadline::new(receipt.until, "count the takers")),
            leave.map(|at| Deadline::new(at, "leave a topic")),
        ])
    }

    pub(super) fn on_timeout(&mut self, shared: &mut Shared) {
        let now = shared.now;
        if self.shuffle_at <= now {
            let early = now.since(self.joined) < EARLY;
            let pause = if early { SHUFFLE_EARLY } else { SHUFFLE_INTERVAL };
            self.shuffle_at = now + shared.rng.jitter(pause, 0.2);
            if !self.is_of_members(shared) {
                self.begin_shuffle(shared);
            }
        }
        if self.probe_at <= now {
            self.probe_at = now + shared.rng.jitter(PROBE_INTERVAL, 0.2);
            let contact = self.passive_view.stalest().filter(|_| !self.is_of_members(shared));
            if let Some(contact) = contact {
                shared.ask(self.id, contact, Purpose::Probe, TopicRequest::Probe);
            }
        }
        if self.check_at <= now {
            self.check_at = now + shared.rng.jitter(check_interval(self.system), 0.2);
            self.check_idle(shared, QUIET, 1);
        }
        if self.summary_at <= now {
            self.summary_at = now + shared.rng.jitter(SUMMARY_INTERVAL, 0.2);
            self.cache.expire(now);
            self.keep_parents(shared, None);
            if let Some(peer) = self.random_neighbour(shared, None) {
                self.summarise_to(shared, &peer, false);
            }
        }
        if self.rewiring.at <= now {
            self.rewire(shared);
        }
        if self.trim_at.is_some_and(|at| at <= now) {
            self.trim_at = None;
            self.trim(shared);
        }
        self.search(shared);
        self.forward_deferred(shared);
        self.graft_missing(shared);
        self.check_order(shared);
    }

    /// Whether the member list tells which nodes exist and whether they are alive: in the system
    /// topic of a fleet.
    fn is_of_members(&self, shared: &Shared) -> bool {
        self.system && shared.mode == Mode::Fleet
    }

    fn search(&mut self, shared: &mut Shared) {
        let now = shared.now;
        if self.announce_at.is_some_and(|at| at <= now) {
            let pause = shared.rng.jitter(shared.config.announce_interval, 0.2);
            self.announce_at = self.subscribed.then_some(now + pause);
            if self.subscribed {
                shared.out.push_back(TopicsOutput::Announce { topic: self.id });
            }
        }
        if self.find_at > now {
            return;
        }
        let short = self.healthy() < self.sizes.active;
        let longest = if self.healthy() == 0 { FIND_ALONE_MAX } else { FIND_MAX };
        let pause = if short { self.find_pause.min(longest) } else { FIND_MAX };
        self.find_pause = (pause * 2).min(longest);
        self.find_at = now + shared.rng.jitter(pause, 0.2);
        // The system topic has other sources of contacts and searches only when these dry up.
        if !self.system || (short && self.passive_view.len() < SYSTEM_PASSIVE_FEW) {
            shared.out.push_back(TopicsOutput::Find { topic: self.id });
        }
    }

    /// A random healthy neighbour other than `except`.
    pub(super) fn random_neighbour(
        &self,
        shared: &mut Shared,
        except: Option<&PublicKey>,
    ) -> Option<PublicKey> {
        let healthy: Vec<&PublicKey> = self
            .active_view
            .iter()
            .filter(|(peer, neighbour)| neighbour.is_healthy() && Some(*peer) != except)
            .map(|(peer, _)| peer)
            .collect();
        healthy.get(shared.rng.below(healthy.len() as u64) as usize).map(|peer| **peer)
    }

    /// Announces to a neighbour the messages of the last ten minutes that came since it joined the
    /// topic. A new neighbour may lack any of them, an old one hardly any.
    pub(super) fn summarise_to(&mut self, shared: &mut Shared, peer: &PublicKey, new: bool) {
        let Some(neighbour) = self.active_view.get(peer) else { return };
        let since = neighbour.joined.max(shared.now - CACHE_LIFE);
        let contact = neighbour.contact;
        let most = if new { RANGES_MAX } else { RANGES_DATAGRAM };
        let mut ranges = self.cache.ranges_since(since, RANGES_CONSIDERED);
        if ranges.len() > most {
            // If not all ranges fit, a random part is chosen each time.
            let start = shared.rng.below((ranges.len() - most) as u64 + 1) as usize;
            ranges = ranges.split_off(start);
            ranges.truncate(most);
        }
        while !ranges.is_empty() {
            let rest = ranges.split_off(ranges.len().min(RANGES_DATAGRAM));
            shared.ask(self.id, contact, Purpose::Notify, TopicRequest::IHave { ranges });
            ranges = rest;
        }
    }

    /// Sends queued messages and announcements, as far as the windows allow.
    fn pump(&mut self, shared: &mut Shared) {
        let (now, id, cache) = (shared.now, self.id, &self.cache);
        for (peer, neighbour) in &mut self.active_view {
            if !neighbour.is_healthy() {
                continue;
            }
            let has = |id: &_| cache.get(id).is_some_and(|cached| cached.is_known_to(peer));
            while let Some((ids, messages)) = neighbour.queue.bundle(&shared.config, now, has) {
                shared.stats.payloads_sent += ids.len() as u64;
                let body = TopicRequest::Gossip { messages };
                shared.ask(id, neighbour.contact, Purpose::Gossip(ids), body);
            }
            let Some(mut ids) = neighbour.queue.take_lazy(now) else { continue };
            ids.retain(|id| !has(id));
            let mut ranges = ranges(ids.iter().copied(), usize::MAX);
            if ranges.is_empty() {
                neighbour.queue.ihave_in_flight = false;
                continue;
            }
            while !ranges.is_empty() {
                let rest = ranges.split_off(ranges.len().min(RANGES_DATAGRAM));
                // The acknowledgement of the last IHAVE allows the next one.
                let purpose = if rest.is_empty() {
                    Purpose::IHave(std::mem::take(&mut ids))
                } else {
                    Purpose::Notify
                };
                let body = TopicRequest::IHave { ranges };
                shared.ask(id, neighbour.contact, purpose, body);
                ranges = rest;
            }
        }
    }

    /// A neighbour gave a sign of life.
    pub(super) fn heard(&mut self, shared: &mut Shared, peer: &PublicKey, rtt: Duration) {
        let Some(neighbour) = self.active_view.get_mut(peer) else { return };
        neighbour.rtt.sample(rtt);
        self.isolated = false;
        neighbour.heard_at = shared.now;
        neighbour.probing = false;
        if neighbour.check.take() == Some(LivenessCheck::Silent) {
            // It is told now of the messages that it missed meanwhile.
            self.summarise_to(shared, peer, true);
        }
    }

    /// A neighbour did not answer: it is replaced, and checked once more.
    pub(super) fn begin_check(
        &mut self,
        shared: &mut Shared,
        peer: &PublicKey,
        check: LivenessCheck,
    ) {
        let Some(neighbour) = self.active_view.get_mut(peer) else { return };
        if neighbour.check.is_some() {
            return;
        }
        neighbour.check = Some(check);
        neighbour.check_began = shared.now;
        let contact = neighbour.contact;
        if check == LivenessCheck::Silent {
            neighbour.queue.make_lazy(shared.now);
            self.lost_at = Some(shared.now);
            // If one neighbour is gone, others may be.
            self.check_idle(shared, QUIET, usize::MAX);
            self.replace_parent(shared, peer);
            self.keep_parents(shared, None);
        }
        shared.ask(self.id, contact, Purpose::Check, TopicRequest::Probe);
    }

    /// Many peers fell silent: checks every neighbour that was not heard from just now.
    pub(super) fn check_quiet(&mut self, shared: &mut Shared) {
        self.check_idle(shared, QUIET_AMONG_MANY, usize::MAX);
    }

    /// Checks up to `max` neighbours that were silent for `quiet`, the longest silent ones first.
    fn check_idle(&mut self, shared: &mut Shared, quiet: Duration, max: usize) {
        let (id, now) = (self.id, shared.now);
        let idle = |neighbour: &&mut Neighbour| {
            let quiet = now.since(neighbour.heard_at) >= quiet;
            quiet && !neighbour.probing && neighbour.check.is_none()
        };
        let mut idle: Vec<&mut Neighbour> = self.active_view.values_mut().filter(idle).collect();
        idle.sort_by_key(|neighbour| neighbour.heard_at);
        for neighbour in idle.into_iter().take(max) {
            neighbour.probing = true;
            shared.ask(id, neighbour.contact, Purpose::Notify, TopicRequest::Probe);
        }
    }

    /// Keeps enough eager links on the shared tree, by grafting those with the lowest round trip.
    pub(super) fn keep_parents(&mut self, shared: &mut Shared, except: Option<&PublicKey>) {
        let pushed = self.active_view.values().filter(|neighbour| neighbour.is_eager(Tree::Shared));
        for _ in pushed.count()..shared.config.parents(shared.mode) {
            let Some(peer) = self.fastest_beside(Tree::Shared, except) else { return };
            self.graft(shared, &peer, Vec::new(), Some(Tree::Shared));
        }
    }

    /// A publisher keeps at least one eager link on its tree, even if all neighbours pruned it or
    /// the eager ones left. Announcements alone are not enough: no node waits for their
    /// acknowledgement, and receivers bound how many they remember.
    pub(super) fn keep_child(&mut self, now: Instant, tree: Tree, except: Option<&PublicKey>) {
        if self.active_view.values().any(|neighbour| neighbour.is_eager(tree)) {
            return;
        }
        let fastest = self.fastest_beside(tree, except);
        if let Some(neighbour) = fastest.and_then(|peer| self.active_view.get_mut(&peer)) {
            neighbour.eager_trees.graft(now, tree);
        }
    }

    /// The lazy link with the lowest round trip that may be eager on this tree.
    fn fastest_beside(&self, tree: Tree, except: Option<&PublicKey>) -> Option<PublicKey> {
        let beside = self.active_view.iter().filter(|(peer, neighbour)| {
            Some(*peer) != except
                && neighbour.may_be_eager()
                && !neighbour.eager_trees.is_eager(tree)
        });
        let fastest = beside.min_by_key(|(_, neighbour)| neighbour.round_trip());
        fastest.map(|(peer, _)| *peer)
    }

    /// The cause of the loss of a neighbour that does not answer. While no other node is heard from
    /// either, this node takes itself for isolated.
    pub(super) fn loss_cause(&mut self, shared: &Shared, peer: &PublicKey) -> Cause {
        let since = self.active_view.get(peer).map(|neighbour| neighbour.check_began);
        let none_heard = since.is_some_and(|since| shared.last_heard <= since);
        self.isolated |= none_heard && self.active_view.len() > 1;
        let own_fault = self.isolated || shared.now < shared.isolated_until;
        if own_fault { Cause::LocalSuspend } else { Cause::Crashed }
    }

    /// Asks a neighbour to push the messages in `ranges`, and with `tree`, the tree of these
    /// messages, its future messages too.
    pub(super) fn graft(
        &mut self,
        shared: &mut Shared,
        peer: &PublicKey,
        mut ranges: Vec<potluck_wire::IdRange>,
        tree: Option<Tree>,
    ) {
        let Some(neighbour) = self.active_view.get_mut(peer) else { return };
        if let Some(tree) = tree {
            neighbour.eager_trees.graft(shared.now, tree);
        }
        let (contact, eager) = (neighbour.contact, tree.is_some());
        loop {
            let rest = ranges.split_off(ranges.len().min(RANGES_DATAGRAM));
            shared.stats.grafts += 1;
            shared.ask(self.id, contact, Purpose::Notify, TopicRequest::Graft { ranges, eager });
            ranges = rest;
            if ranges.is_empty() {
                return;
            }
        }
    }
}
