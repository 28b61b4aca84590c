//! One topic: its overlay, its tree, what was seen, and its timers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use potluck_base::{Contact, Deadline, Instant, LruMap, PublicKey};
use potluck_wire::{SpreadAct, TopicId};

use super::asks::{Purpose, World};
use super::config::ViewSizes;
use super::events::TopicsOutput;
use super::growth::{Held, Tree};
use super::history::{History, KEPT_FOR, runs};
use super::mixing::Mixing;
use super::neighbour::{Doubt, Neighbour, RoundTrip};
use super::order::Orders;
use super::overlay::Attempt;
use super::parent::Growths;
use super::passive::Passive;
use super::promises::Promises;
use super::receipt::Receipt;
use super::seen::Seen;
use super::shuffle::Exchange;
use super::stats::TopicsStats;
use super::subscription::Subscription;
use crate::message::{MessageId, TopicName};
use crate::view::{Cause, Mode};

/// Time between two shuffles...
const SHUFFLE_INTERVAL: Duration = Duration::from_secs(60);
/// ...and in the first two minutes.
const SHUFFLE_EARLY: Duration = Duration::from_secs(10);
const EARLY: Duration = Duration::from_secs(120);
/// Time between two probes of contacts of the passive view: a round takes as long as an answer
/// counts.
const PROBE_INTERVAL: Duration = Duration::from_secs(14);
/// A neighbour that was not heard for so long may be silent.
const QUIET: Duration = Duration::from_secs(3);
/// The same when many fell silent.
const QUIET_AMONG_MANY: Duration = Duration::from_secs(1);
/// Time between two questions to quiet neighbours whether they are there. Neighbours of the overlay
/// of all nodes are watched by the failure detector besides.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
const CHECK_INTERVAL_SYSTEM: Duration = Duration::from_secs(30);
/// Time between two comparisons with a neighbour, as long as there is anything to compare.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(30);
/// Pauses between searches for others of the topic: the shortest, the longest without any link,
/// and the longest.
const FIND_MIN: Duration = Duration::from_secs(2);
const FIND_ALONE_MAX: Duration = Duration::from_secs(20);
const FIND_MAX: Duration = Duration::from_secs(600);
/// Below so many contacts the overlay of all nodes asks for more.
const SYSTEM_PASSIVE_FEW: usize = 16;
/// Runs of names that fit in a datagram, and most in one request.
const RUNS_DATAGRAM: usize = 16;
const RUNS_MAX: usize = 128;
/// Runs of the history that a summary is chosen from.
const RUNS_LOOKED_AT: usize = 2_048;
/// Peers that parted and are not linked to again for a while, remembered.
const BACKOFF_MAX: usize = 256;

const fn check_interval(system: bool) -> Duration {
    if system { CHECK_INTERVAL_SYSTEM } else { CHECK_INTERVAL }
}

/// One topic. What it does is spread over the files of this folder: `overlay` makes and drops
/// links, `shuffle` spreads contacts, `tree` carries messages.
#[derive(Debug, Clone)]
pub(super) struct Topic {
    pub(super) id: TopicId,
    pub(super) name: TopicName,
    /// Whether this is the overlay of all nodes.
    pub(super) system: bool,
    pub(super) subscribed: bool,
    /// When this node subscribed last.
    pub(super) subscription: Subscription,
    /// This node stays in the topic until then to publish.
    pub(super) publishing_until: Option<Instant>,
    pub(super) joined: Instant,
    pub(super) next_sequence: u64,
    /// The rate of publishers is used up until then.
    pub(super) publish_from: Instant,
    pub(super) sizes: ViewSizes,
    pub(super) active: BTreeMap<PublicKey, Neighbour>,
    pub(super) passive: Passive,
    pub(super) attempts: BTreeMap<PublicKey, Attempt>,
    pub(super) backoff: LruMap<PublicKey, Instant>,
    /// Neighbours that knew nothing of the link, and when they were asked for a new one for that.
    pub(super) forgotten: LruMap<PublicKey, Instant>,
    /// No joiner evicts anybody before then.
    pub(super) evictions_from: Instant,
    pub(super) declined_in_row: u32,
    /// No new attempt before then.
    pub(super) attempts_from: Instant,
    /// Whether there was no link when links were asked for last.
    pub(super) alone: bool,
    pub(super) promote_at: Option<Instant>,
    pub(super) trim_at: Option<Instant>,
    /// This node's own messages that no neighbour has taken yet.
    pub(super) untaken: BTreeSet<MessageId>,
    /// Publishes whose takers are counted.
    pub(super) receipts: VecDeque<Receipt>,
    /// What waits for its turn at this node's subscribers.
    pub(super) orders: Orders,
    /// When a neighbour fell silent last.
    pub(super) lost_at: Option<Instant>,
    pub(super) mixing: Mixing,
    pub(super) exchange: Option<Exchange>,
    pub(super) seen: Seen,
    pub(super) history: History,
    pub(super) promises: Promises,
    pub(super) growths: Growths,
    /// Messages that grow a tree and are held back, in the order in which they go on.
    pub(super) growing: VecDeque<Held>,
    /// How far messages on the trees are behind their names.
    pub(super) lag: Option<RoundTrip>,
    /// A neighbour fell silent and nobody at all was heard since.
    cut_off: bool,
    shuffle_at: Instant,
    probe_at: Instant,
    check_at: Instant,
    summary_at: Instant,
    announce_at: Option<Instant>,
    find_at: Instant,
    find_pause: Duration,
    /// Whether a search for others has ended.
    pub(super) searched: bool,
    /// The next deadline, kept so that idle topics cost nothing.
    pub(super) wake: Option<Deadline>,
}

impl Topic {
    pub(super) fn new(world: &mut World<'_>, name: TopicName, next_sequence: u64) -> Self {
        let (now, system) = (world.now, name.is_reserved());
        let sizes = if system { world.config.system } else { world.config.topic };
        Self {
            id: name.id(),
            name,
            system,
            subscribed: system,
            subscription: Subscription::new(world.now, world.wall),
            publishing_until: None,
            joined: now,
            next_sequence,
            publish_from: now,
            sizes,
            active: BTreeMap::new(),
            passive: Passive::new(sizes.passive, world.rng.bytes()),
            attempts: BTreeMap::new(),
            backoff: LruMap::new(BACKOFF_MAX),
            forgotten: LruMap::new(BACKOFF_MAX),
            evictions_from: now,
            declined_in_row: 0,
            attempts_from: now,
            alone: true,
            promote_at: None,
            trim_at: None,
            untaken: BTreeSet::new(),
            receipts: VecDeque::new(),
            orders: Orders::default(),
            lost_at: None,
            mixing: Mixing::new(world),
            exchange: None,
            seen: Seen::new(world.config.publishers_max),
            history: History::default(),
            promises: Promises::default(),
            growths: Growths::new(now),
            growing: VecDeque::new(),
            lag: None,
            cut_off: false,
            shuffle_at: now + world.rng.jitter(SHUFFLE_EARLY, 0.2),
            probe_at: now + world.rng.jitter(PROBE_INTERVAL, 0.2),
            check_at: now + world.rng.jitter(check_interval(system), 0.2),
            summary_at: now + world.rng.jitter(SUMMARY_INTERVAL, 0.2),
            announce_at: None,
            find_at: now,
            find_pause: FIND_MIN,
            searched: false,
            wake: None,
        }
    }

    /// Adds what there is here to the gauges of the node.
    pub(super) fn gauge(&self, stats: &mut TopicsStats) {
        if self.system {
            stats.system_active = self.active.len();
            stats.system_passive = self.passive.len();
        }
        stats.active += self.active.len();
        stats.passive += self.passive.len();
        stats.history_messages += self.history.len();
        stats.history_bytes += self.history.bytes();
        stats.promises += self.promises.len();
        stats.publishers += self.seen.publishers();
        stats.growing += self.growing.len();
        stats.held += self.orders.held();
        stats.untaken += self.untaken.len();
        for neighbour in self.active.values() {
            stats.branches += neighbour.branches.len();
            stats.active_outbound += usize::from(neighbour.outbound);
            stats.active_eager += usize::from(neighbour.is_pushed(Tree::Shared));
            stats.active_doubted += usize::from(neighbour.doubt.is_some());
            stats.queued_messages += neighbour.outbox.len();
            stats.queued_bytes += neighbour.outbox.bytes();
        }
    }

    /// How long this node has been in the topic.
    pub(super) fn age_ms(&self, now: Instant) -> u64 {
        u64::try_from(now.since(self.joined).as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn subscribe(&mut self, world: &World<'_>) {
        if !self.subscribed {
            self.subscribed = true;
            self.subscription = Subscription::new(world.now, world.wall);
            self.announce_at = Some(world.now);
            self.orders = Orders::default();
        }
    }

    /// Whether this node has nothing to do here any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        !self.subscribed && self.publishing_until.is_none_or(|until| until <= now)
    }

    /// Links that carry something.
    pub(super) fn healthy(&self) -> usize {
        self.active.values().filter(|neighbour| neighbour.is_healthy()).count()
    }

    /// Looks for others soon, since too few are left.
    pub(super) fn find_soon(&mut self, now: Instant) {
        self.find_pause = FIND_MIN;
        self.find_at = self.find_at.min(now + FIND_MIN);
    }

    pub(super) fn on_found(&mut self, world: &mut World<'_>, contacts: Vec<Contact>) {
        self.searched = true;
        for contact in contacts {
            self.learn(world, contact, None);
        }
    }

    /// Everything that follows from what just happened.
    pub(super) fn settle(&mut self, world: &mut World<'_>) {
        self.promote(world);
        self.pump(world);
        self.answer_receipts(world);
        self.wake = self.deadline();
    }

    fn deadline(&self) -> Option<Deadline> {
        let at = |at: Instant, why| Some(Deadline::new(at, why));
        let healthy = self.active.values().filter(|neighbour| neighbour.is_healthy());
        let outboxes = healthy.filter_map(|neighbour| neighbour.outbox.wake()).min();
        let leave = self.publishing_until.filter(|_| !self.subscribed);
        Deadline::earliest([
            at(self.shuffle_at, "shuffle"),
            at(self.probe_at, "probe a contact"),
            at(self.check_at, "check a neighbour"),
            at(self.summary_at, "compare with a neighbour"),
            at(self.mixing.at, "a link beyond need"),
            at(self.find_at, "find others of a topic"),
            self.announce_at.map(|at| Deadline::new(at, "announce a topic")),
            self.trim_at.map(|at| Deadline::new(at, "drop links beyond the limit")),
            self.promote_at.map(|at| Deadline::new(at, "make a link")),
            self.promises.next().map(|at| Deadline::new(at, "ask for what was promised")),
            self.grow_at().map(|at| Deadline::new(at, "grow a tree")),
            outboxes.map(|at| Deadline::new(at, "names of messages")),
            self.orders.next().map(|at| Deadline::new(at, "messages that are missing")),
            self.receipts.front().map(|receipt| Deadline::new(receipt.until, "count the takers")),
            leave.map(|at| Deadline::new(at, "leave a topic")),
        ])
    }

    pub(super) fn on_timeout(&mut self, world: &mut World<'_>) {
        let now = world.now;
        if self.shuffle_at <= now {
            let early = now.since(self.joined) < EARLY;
            let pause = if early { SHUFFLE_EARLY } else { SHUFFLE_INTERVAL };
            self.shuffle_at = now + world.rng.jitter(pause, 0.2);
            if !self.is_of_members(world) {
                self.begin_shuffle(world);
            }
        }
        if self.probe_at <= now {
            self.probe_at = now + world.rng.jitter(PROBE_INTERVAL, 0.2);
            let contact = self.passive.stalest().filter(|_| !self.is_of_members(world));
            if let Some(contact) = contact {
                world.ask(self.id, contact, Purpose::Probe, SpreadAct::Probe);
            }
        }
        if self.check_at <= now {
            self.check_at = now + world.rng.jitter(check_interval(self.system), 0.2);
            self.check_idle(world, QUIET, 1);
        }
        if self.summary_at <= now {
            self.summary_at = now + world.rng.jitter(SUMMARY_INTERVAL, 0.2);
            self.history.expire(now);
            self.keep_parents(world, None);
            if let Some(peer) = self.random_neighbour(world, None) {
                self.summarise_to(world, &peer, false);
            }
        }
        if self.mixing.at <= now {
            self.mix(world);
        }
        if self.trim_at.is_some_and(|at| at <= now) {
            self.trim_at = None;
            self.trim(world);
        }
        self.search(world);
        self.grow_trees(world);
        self.ask_for_promised(world);
        self.keep_order(world);
    }

    /// Whether the list of members tells who is there, and whether they live: in the overlay of
    /// all nodes of a fleet.
    fn is_of_members(&self, world: &World<'_>) -> bool {
        self.system && world.mode == Mode::Fleet
    }

    fn search(&mut self, world: &mut World<'_>) {
        let now = world.now;
        if self.announce_at.is_some_and(|at| at <= now) {
            let pause = world.rng.jitter(world.config.announce_interval, 0.2);
            self.announce_at = self.subscribed.then_some(now + pause);
            if self.subscribed {
                world.out.push_back(TopicsOutput::Announce { topic: self.id });
            }
        }
        if self.find_at > now {
            return;
        }
        let short = self.healthy() < self.sizes.active;
        let longest = if self.healthy() == 0 { FIND_ALONE_MAX } else { FIND_MAX };
        let pause = if short { self.find_pause.min(longest) } else { FIND_MAX };
        self.find_pause = (pause * 2).min(longest);
        self.find_at = now + world.rng.jitter(pause, 0.2);
        // The overlay of all nodes has other sources; only when they dry up does it ask.
        if !self.system || (short && self.passive.len() < SYSTEM_PASSIVE_FEW) {
            world.out.push_back(TopicsOutput::Find { topic: self.id });
        }
    }

    /// A healthy neighbour at random, but not `except`.
    pub(super) fn random_neighbour(
        &self,
        world: &mut World<'_>,
        except: Option<&PublicKey>,
    ) -> Option<PublicKey> {
        let healthy: Vec<&PublicKey> = self
            .active
            .iter()
            .filter(|(peer, neighbour)| neighbour.is_healthy() && Some(*peer) != except)
            .map(|(peer, _)| peer)
            .collect();
        healthy.get(world.rng.below(healthy.len() as u64) as usize).map(|peer| **peer)
    }

    /// Tells a neighbour what came since it is in the topic, of the last ten minutes.
    /// A new neighbour may lack anything, another one hardly something.
    pub(super) fn summarise_to(&mut self, world: &mut World<'_>, peer: &PublicKey, new: bool) {
        let Some(neighbour) = self.active.get(peer) else { return };
        let since = neighbour.joined.max(world.now - KEPT_FOR);
        let contact = neighbour.contact;
        let most = if new { RUNS_MAX } else { RUNS_DATAGRAM };
        let mut runs = self.history.runs_since(since, RUNS_LOOKED_AT);
        if runs.len() > most {
            // Other ones each time, if not all fit.
            let start = world.rng.below((runs.len() - most) as u64 + 1) as usize;
            runs = runs.split_off(start);
            runs.truncate(most);
        }
        while !runs.is_empty() {
            let rest = runs.split_off(runs.len().min(RUNS_DATAGRAM));
            world.ask(self.id, contact, Purpose::Tell, SpreadAct::Have { runs });
            runs = rest;
        }
    }

    /// Sends what waits, as far as the windows allow.
    fn pump(&mut self, world: &mut World<'_>) {
        let (now, id, history) = (world.now, self.id, &self.history);
        for (peer, neighbour) in &mut self.active {
            if !neighbour.is_healthy() {
                continue;
            }
            let has = |id: &_| history.get(id).is_some_and(|kept| kept.is_from(peer));
            while let Some((ids, messages)) = neighbour.outbox.bundle(world.config, now, has) {
                world.stats.payloads_sent += ids.len() as u64;
                let act = SpreadAct::Push { messages };
                world.ask(id, neighbour.contact, Purpose::Push(ids), act);
            }
            let Some(mut names) = neighbour.outbox.take_names(now) else { continue };
            names.retain(|id| !has(id));
            let mut runs = runs(names.iter().copied(), usize::MAX);
            if runs.is_empty() {
                neighbour.outbox.naming = false;
                continue;
            }
            while !runs.is_empty() {
                let rest = runs.split_off(runs.len().min(RUNS_DATAGRAM));
                // The last one says when the next names may go.
                let purpose = if rest.is_empty() {
                    Purpose::Have(std::mem::take(&mut names))
                } else {
                    Purpose::Tell
                };
                let act = SpreadAct::Have { runs };
                world.ask(id, neighbour.contact, purpose, act);
                runs = rest;
            }
        }
    }

    /// The neighbour gave a sign of life.
    pub(super) fn heard(&mut self, world: &mut World<'_>, peer: &PublicKey, rtt: Duration) {
        let Some(neighbour) = self.active.get_mut(peer) else { return };
        neighbour.rtt.sample(rtt);
        self.cut_off = false;
        neighbour.heard_at = world.now;
        neighbour.checking = false;
        if neighbour.doubt.take() == Some(Doubt::Silent) {
            // What it missed meanwhile, it hears of now.
            self.summarise_to(world, peer, true);
        }
    }

    /// A neighbour did not answer: others take its place, and it is checked once more.
    pub(super) fn doubt(&mut self, world: &mut World<'_>, peer: &PublicKey, doubt: Doubt) {
        let Some(neighbour) = self.active.get_mut(peer) else { return };
        if neighbour.doubt.is_some() {
            return;
        }
        neighbour.doubt = Some(doubt);
        neighbour.doubted_at = world.now;
        let contact = neighbour.contact;
        if doubt == Doubt::Silent {
            neighbour.outbox.give_up(world.now);
            self.lost_at = Some(world.now);
            // Where one is gone, others may be.
            self.check_idle(world, QUIET, usize::MAX);
            self.replace_parent(world, peer);
            self.keep_parents(world, None);
        }
        world.ask(self.id, contact, Purpose::Check, SpreadAct::Probe);
    }

    /// Many fell silent: whoever was not heard just now is asked whether it is there.
    pub(super) fn check_quiet(&mut self, world: &mut World<'_>) {
        self.check_idle(world, QUIET_AMONG_MANY, usize::MAX);
    }

    /// Asks up to `max` neighbours that were not heard for `quiet` whether they are there, those
    /// first that were not heard for longest.
    fn check_idle(&mut self, world: &mut World<'_>, quiet: Duration, max: usize) {
        let (id, now) = (self.id, world.now);
        let idle = |neighbour: &&mut Neighbour| {
            let quiet = now.since(neighbour.heard_at) >= quiet;
            quiet && !neighbour.checking && neighbour.doubt.is_none()
        };
        let mut idle: Vec<&mut Neighbour> = self.active.values_mut().filter(idle).collect();
        idle.sort_by_key(|neighbour| neighbour.heard_at);
        for neighbour in idle.into_iter().take(max) {
            neighbour.checking = true;
            world.ask(id, neighbour.contact, Purpose::Tell, SpreadAct::Probe);
        }
    }

    /// Keeps enough links on the shared tree: chosen are those that answer fastest.
    pub(super) fn keep_parents(&mut self, world: &mut World<'_>, except: Option<&PublicKey>) {
        let pushed = self.active.values().filter(|neighbour| neighbour.is_pushed(Tree::Shared));
        for _ in pushed.count()..world.config.parents(world.mode) {
            let Some(peer) = self.fastest_beside(Tree::Shared, except) else { return };
            self.graft(world, &peer, Vec::new(), Some(Tree::Shared));
        }
    }

    /// Who publishes must push to somebody, whatever its neighbours say and whoever of them goes: names
    /// alone nobody waits for, and whoever hears too many at once remembers only some.
    pub(super) fn keep_child(&mut self, now: Instant, tree: Tree, except: Option<&PublicKey>) {
        if self.active.values().any(|neighbour| neighbour.is_pushed(tree)) {
            return;
        }
        let fastest = self.fastest_beside(tree, except);
        if let Some(neighbour) = fastest.and_then(|peer| self.active.get_mut(&peer)) {
            neighbour.branches.set(now, tree, true);
        }
    }

    /// Of the links that are not on a tree and may be, the one that answers fastest.
    fn fastest_beside(&self, tree: Tree, except: Option<&PublicKey>) -> Option<PublicKey> {
        let beside = self.active.iter().filter(|(peer, neighbour)| {
            Some(*peer) != except && neighbour.is_fit() && !neighbour.branches.is_on(tree)
        });
        let fastest = beside.min_by_key(|(_, neighbour)| neighbour.rtt.smoothed());
        fastest.map(|(peer, _)| *peer)
    }

    /// What to call the loss of a neighbour that does not answer: as long as nobody else is heard
    /// either, the fault is taken to be this node's own.
    pub(super) fn silence(&mut self, world: &World<'_>, peer: &PublicKey) -> Cause {
        let since = self.active.get(peer).map(|neighbour| neighbour.doubted_at);
        let nobody = since.is_some_and(|since| world.last_heard <= since);
        self.cut_off |= nobody && self.active.len() > 1;
        let own_fault = self.cut_off || world.now < world.suspended_until;
        if own_fault { Cause::LocalSuspend } else { Cause::Crashed }
    }

    /// Asks a neighbour to push messages; those to come of `tree`, which is that of the runs, too.
    pub(super) fn graft(
        &mut self,
        world: &mut World<'_>,
        peer: &PublicKey,
        mut runs: Vec<potluck_wire::IdRun>,
        tree: Option<Tree>,
    ) {
        let Some(neighbour) = self.active.get_mut(peer) else { return };
        if let Some(tree) = tree {
            neighbour.branches.set(world.now, tree, true);
        }
        let (contact, eager) = (neighbour.contact, tree.is_some());
        loop {
            let rest = runs.split_off(runs.len().min(RUNS_DATAGRAM));
            world.stats.grafts += 1;
            world.ask(self.id, contact, Purpose::Tell, SpreadAct::Graft { runs, eager });
            runs = rest;
            if runs.is_empty() {
                return;
            }
        }
    }
}
