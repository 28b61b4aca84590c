//! The tree of one topic: messages are pushed along some links and named on all others.
//!
//! `PlumTree` (Leitão, Pereira, Rodrigues, 2007). Where we differ: every push has an answer, so a
//! dead link is noticed by its first message and a prune costs no message of its own; in open
//! networks a node lets two copies come, so that no single neighbour can make it deaf; a publisher
//! that goes on has a tree of its own (see `growth`); a link comes on a tree because its names were
//! measured to be here sooner, never because of a hop count that somebody claims; names are runs of
//! sequence numbers, 64 of them in the room of one.
//!
//! **Invariant:** nothing is delivered, kept or passed on before its publisher's signature held, and
//! nothing is checked that was seen.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, PublicKey};
use potluck_wire::{IdRun, PartCause, SignedMessage, SpreadAnswer};

use super::asks::World;
use super::events::SpreadServeId;
use super::growth::Tree;
use super::history::{KEPT_FOR, names, runs};
use super::neighbour::Neighbour;
use super::scores::{Fault, Verdict};
use super::seen::Noted;
use super::topic::Topic;
use crate::message::MessageId;
use crate::view::Cause;

/// A node waits at least so long for the tree before it asks for a message that was named: long
/// enough for a push that was lost on its way to be sent again, or each loss would put half a
/// subtree on the tree twice.
const NAMED_WAIT_MIN: Duration = Duration::from_millis(500);
/// And at most so long: a message may lag behind its name while much is under way.
const NAMED_WAIT_MAX: Duration = Duration::from_secs(1);
/// What a neighbour gets beyond a round trip to deliver what it was asked for.
const DELIVERY_SLACK: Duration = Duration::from_millis(200);
/// Names looked at in one request.
const NAMES_LOOKED_AT: usize = 8_192;
/// A name must have been here so much sooner than the message to count as such, and by two round
/// trips to who named it: a tree over few links is worth more than a few milliseconds.
const SOONER_MIN: Duration = Duration::from_millis(100);
/// A tree works if it brought something in this time.
const TREE_WORKS: Duration = Duration::from_millis(250);
/// How often it is changed nevertheless. A guess.
const GRAFT_ANYWAY: f64 = 0.125;
/// A neighbour is blamed for broken promises once in this time.
const BLAME_INTERVAL: Duration = Duration::from_secs(1);
/// A wrong signature costs as much as so many right ones.
const FORGERY_TOKENS: u32 = 20;

/// Messages that a push may be told of as surplus: as many bits as the answer has. Bundles are far
/// smaller.
const PRUNABLE: usize = u64::BITS as usize;
/// Messages older than the time for which they are repaired, and five minutes for clocks, are not
/// taken: so what a node has forgotten to have seen cannot be played to it again.
const STALE_AFTER: Duration = KEPT_FOR.saturating_add(Duration::from_secs(300));
/// Messages dated farther ahead are not taken: they could be played again for so much longer.
const AHEAD_MAX: Duration = Duration::from_secs(300);

/// What became of one message of a push.
enum Taken {
    /// It was new, and runs along this tree.
    New(Tree),
    /// It came by this many ways.
    Copy(Tree, usize),
    /// It was dropped.
    Dropped,
}

/// What a push brought of one tree.
#[derive(Default)]
struct Brought {
    fresh: usize,
    surplus: usize,
    /// The places of its messages in the push.
    places: u64,
}

impl Topic {
    /// Messages of a neighbour.
    pub(super) fn on_push(
        &mut self,
        world: &mut World<'_>,
        serve: SpreadServeId,
        from: &PublicKey,
        messages: &[Bytes],
    ) {
        let mut brought: BTreeMap<Tree, Brought> = BTreeMap::new();
        for (place, bytes) in messages.iter().enumerate() {
            if !self.active.contains_key(from) {
                break;
            }
            let (tree, surplus) = match self.take(world, from, bytes) {
                Taken::New(tree) => (tree, false),
                Taken::Copy(tree, ways) if ways > world.config.parents(world.mode) => (tree, true),
                Taken::Copy(..) | Taken::Dropped => continue,
            };
            let of = brought.entry(tree).or_default();
            of.fresh += usize::from(!surplus);
            of.surplus += usize::from(surplus);
            of.places |= if place < PRUNABLE { 1 << place } else { 0 };
        }
        let busy = self.is_busy(world);
        let answer = match self.active.get(from).map(|neighbour| neighbour.distrusted) {
            None => SpreadAnswer::NotNeighbour,
            Some(true) => SpreadAnswer::Pushed { prune: u64::MAX, busy },
            Some(false) => {
                brought.retain(|tree, of| {
                    let by_chance = of.surplus == 1 && self.growths.keeps(*tree, from);
                    of.surplus > of.fresh && !by_chance
                });
                brought.keys().for_each(|tree| self.prune(world, from, *tree));
                let prune = brought.values().fold(0, |places, of| places | of.places);
                SpreadAnswer::Pushed { prune, busy }
            }
        };
        world.answer(serve, answer);
    }

    /// A link brings what came on another one before: it is taken off the tree.
    fn prune(&mut self, world: &mut World<'_>, peer: &PublicKey, tree: Tree) {
        let Some(neighbour) = self.active.get_mut(peer) else { return };
        if !neighbour.branches.is_on(tree) {
            return;
        }
        neighbour.branches.set(world.now, tree, false);
        self.growths.pruned(tree, peer);
        world.stats.prunes += 1;
        if tree == Tree::Shared {
            self.keep_parents(world, Some(peer));
        }
    }

    fn take(&mut self, world: &mut World<'_>, from: &PublicKey, bytes: &Bytes) -> Taken {
        world.stats.payloads_received += 1;
        let Ok(message) = SignedMessage::decode(bytes) else {
            self.fault(world, *from, Fault::Forged);
            return Taken::Dropped;
        };
        let id = MessageId::from(&message);
        let tree = self.tree_of(id.publisher, id.sequence);
        if self.seen.contains(&id) {
            world.stats.duplicates += 1;
            self.growths.came_again(world.now, tree, id, from);
            let Some(kept) = self.history.get_mut(&id) else {
                return Taken::Copy(tree, usize::MAX);
            };
            let ways = kept.came_from(*from);
            // That this node was impatient is not the tree's fault.
            return if kept.repaired { Taken::Dropped } else { Taken::Copy(tree, ways) };
        }
        if !self.verify(world, from, &message) {
            return Taken::Dropped;
        }
        if is_stale(world, &message) {
            world.stats.dropped_stale += 1;
            self.promises.kept(&id);
            return Taken::Dropped;
        }
        let rate = world.limits().publisher.bucket();
        match self.seen.insert(world.now, &id, rate) {
            Noted::Seen => return Taken::Dropped,
            Noted::OverRate => {
                world.stats.dropped_over_rate += 1;
                self.promises.kept(&id);
                self.leave_out(world, id);
                return Taken::Dropped;
            }
            Noted::New => {}
        }
        let repaired = self.note_lateness(world, &id, from);
        self.spread(world, &message, bytes.clone(), Some(*from));
        if let Some(kept) = self.history.get_mut(&id) {
            kept.repaired = repaired;
        }
        Taken::New(tree)
    }

    fn verify(&mut self, world: &mut World<'_>, from: &PublicKey, message: &SignedMessage) -> bool {
        let Some(neighbour) = self.active.get_mut(from) else { return false };
        if !neighbour.signatures.take(world.now, 1) {
            world.stats.rate_limited += 1;
            self.fault(world, *from, Fault::OverRate);
            return false;
        }
        if !world.config.verify {
            return true;
        }
        world.stats.verified += 1;
        let holds = message.verify(&world.me.network, self.id).is_ok();
        if !holds {
            world.stats.verify_failed += 1;
            neighbour.signatures.take(world.now, FORGERY_TOKENS);
            self.fault(world, *from, Fault::Forged);
        }
        holds
    }

    /// Delivers, keeps and passes on a message that is new.
    pub(super) fn spread(
        &mut self,
        world: &mut World<'_>,
        message: &SignedMessage,
        bytes: Bytes,
        from: Option<PublicKey>,
    ) {
        let id = MessageId::from(message);
        self.history.keep(world.now, id, bytes.clone(), from);
        self.hand_out(world, id, message, from.is_none());
        let grows = self.grows_tree(world.now, &id);
        let held = from.is_some() && self.hold_back(world.now, id, grows);
        if !held {
            self.pass_on(world, id, &bytes, (from, grows));
        }
    }

    /// Pushes a message over the links of its tree, or over all if that is to grow, and names it on
    /// the others.
    pub(super) fn pass_on(
        &mut self,
        world: &mut World<'_>,
        id: MessageId,
        bytes: &Bytes,
        (from, grows): (Option<PublicKey>, bool),
    ) {
        let tree = self.tree_of(id.publisher, id.sequence);
        self.growths.of(world.now, tree).used_at = Some(world.now);
        for (peer, neighbour) in &mut self.active {
            neighbour.branches.used(world.now, tree);
            if Some(*peer) == from {
                continue;
            }
            let lacks = || !self.history.get(&id).is_some_and(|kept| kept.is_from(peer));
            let tries = grows && neighbour.is_fit() && lacks();
            if tries && neighbour.branches.has_room(world.now, tree) {
                // Until it says that it has it from elsewhere: what follows comes behind.
                neighbour.branches.set(world.now, tree, true);
            }
            if neighbour.is_pushed(tree) {
                if neighbour.outbox.push(world.config, id, bytes.clone()) {
                    continue;
                }
                world.stats.dropped_full += 1;
            }
            if !neighbour.outbox.name(world.now, id) {
                world.stats.dropped_names += 1;
            }
        }
    }

    /// A message has come: notes which neighbours had it sooner than the tree brought it, and says
    /// whether this node had asked for it.
    fn note_lateness(&mut self, world: &mut World<'_>, id: &MessageId, from: &PublicKey) -> bool {
        let tree = self.tree_of(id.publisher, id.sequence);
        let promise = self.promises.kept(id);
        let (heard, sources, asked) = promise.unwrap_or((world.now, Vec::new(), false));
        if !sources.is_empty() {
            self.lag.get_or_insert_default().sample(world.now.since(heard));
        }
        if asked {
            world.stats.repaired += 1;
        } else {
            let grows = self.grows_tree(world.now, id);
            let named_by = sources.first().copied();
            self.growths.came(world.now, tree, (*id, *from), (named_by, grows));
        }
        let growth = self.growths.of(world.now, tree);
        if tree != Tree::Shared && !growth.may_note(world.now) {
            return asked;
        }
        let mut switch = None;
        for (peer, neighbour) in &mut self.active {
            let margin = SOONER_MIN.max(neighbour.rtt.smoothed() * 2);
            let sooner = !asked && sources.contains(peer) && world.now.since(heard) > margin;
            if neighbour.branches.note_late(world.now, tree, sooner) && neighbour.is_fit() {
                switch = Some(*peer);
            }
        }
        if let Some(peer) = switch.filter(|peer| peer != from)
            && self.growths.of(world.now, tree).may_switch(world.now)
        {
            world.stats.switched += 1;
            if let Some(neighbour) = self.active.get_mut(&peer) {
                neighbour.branches.switched(world.now, tree);
            }
            self.graft(world, &peer, nothing_of(tree, id), Some(tree));
        }
        asked
    }

    /// Whether queues fill up here. What neighbours say of theirs is not passed on: it would go
    /// round for ever.
    fn is_busy(&self, world: &World<'_>) -> bool {
        self.active.values().filter(|neighbour| neighbour.is_healthy()).any(|neighbour| {
            neighbour.outbox.len() > world.config.queue_messages / 4
                || neighbour.outbox.bytes() > world.config.queue_bytes / 4
        })
    }

    // --- names ---

    /// A neighbour names messages that it has.
    pub(super) fn on_have(&mut self, world: &mut World<'_>, from: &PublicKey, named: &[IdRun]) {
        let Some(neighbour) = self.active.get_mut(from) else { return };
        if neighbour.distrusted {
            // It goes on promising.
            return self.fault(world, *from, Fault::OverRate);
        }
        let usual = self.lag.map_or(Duration::ZERO, |lag| lag.p95() * 2);
        let wait = NAMED_WAIT_MIN.max(neighbour.rtt.p95() * 2).max(usual).min(NAMED_WAIT_MAX);
        let limits = (world.promises_room, world.config.promises_per_peer);
        let (mut looked_at, mut refused) = (0, 0_u64);
        for run in named {
            let floor = self.seen.floor(&run.publisher, run.incarnation).saturating_add(1);
            for id in names(run, floor.max(1), NAMES_LOOKED_AT - looked_at) {
                looked_at += 1;
                if self.seen.contains(&id) {
                    if let Some(kept) = self.history.get_mut(&id) {
                        kept.has(*from);
                        let tree = Tree::of(self.system, id.publisher, id.sequence);
                        if let Some(growth) = self.growths.known(tree) {
                            growth.named(&id, *from);
                        }
                    }
                } else if !neighbour.names.take(world.now, 1)
                    || !self.promises.hear(world.now, id, *from, wait, limits)
                {
                    refused += 1;
                }
            }
        }
        if refused > 0 {
            world.stats.names_refused += refused;
            world.stats.rate_limited += 1;
        }
    }

    /// Asks for what was named and did not come.
    pub(super) fn ask_for_promised(&mut self, world: &mut World<'_>) {
        let wait = |peer: &PublicKey| {
            let neighbour = self.active.get(peer).filter(|neighbour| neighbour.is_fit())?;
            Some(NAMED_WAIT_MIN.max(neighbour.rtt.p95() * 6 / 5 + DELIVERY_SLACK))
        };
        let flows_until = |id: &MessageId| {
            let tree = Tree::of(self.system, id.publisher, id.sequence);
            self.growths.known(tree)?.flows_until(id)
        };
        let due = self.promises.take_due(world.now, usize::MAX, wait, flows_until);
        let mut asked: BTreeMap<(PublicKey, Tree), Vec<MessageId>> = BTreeMap::new();
        let mut broken: BTreeMap<PublicKey, u64> = BTreeMap::new();
        for due in due {
            if let Some(peer) = due.ask {
                let tree = self.tree_of(due.id.publisher, due.id.sequence);
                asked.entry((peer, tree)).or_default().push(due.id);
            }
            if let Some(peer) = due.broken {
                *broken.entry(peer).or_default() += 1;
            }
        }
        for ((peer, tree), mut ids) in asked {
            ids.sort_unstable();
            // While a tree works, what it lost is fetched without changing it, mostly: the shared
            // one may still be broken for some publishers.
            let fresh_at = self.growths.known(tree).map_or(Instant::ZERO, |growth| growth.fresh_at);
            let works = world.now.since(fresh_at) < TREE_WORKS;
            let eager = !works || world.rng.chance(GRAFT_ANYWAY);
            self.graft(world, &peer, runs(ids, usize::MAX), eager.then_some(tree));
        }
        for (peer, count) in broken {
            world.stats.broken_promises += count;
            // Once in a while only, or a moment of overload would cost an honest node its name.
            let neighbour = self.active.get_mut(&peer);
            let blamed = neighbour.filter(|neighbour| neighbour.blame_from <= world.now);
            if let Some(neighbour) = blamed {
                neighbour.blame_from = world.now + BLAME_INTERVAL;
                self.fault(world, peer, Fault::BrokenPromise);
            }
        }
    }

    /// A neighbour wants messages.
    pub(super) fn on_graft(
        &mut self,
        world: &mut World<'_>,
        serve: SpreadServeId,
        from: &PublicKey,
        named: &[IdRun],
        eager: bool,
    ) {
        let mut trees: Vec<Tree> =
            named.iter().map(|run| self.tree_of(run.publisher, run.first)).collect();
        if trees.is_empty() {
            trees.push(Tree::Shared);
        }
        let Some(neighbour) = self.active.get_mut(from) else { return };
        if eager && !neighbour.distrusted {
            trees.iter().for_each(|tree| neighbour.branches.set(world.now, *tree, true));
        }
        let (mut looked_at, mut lacking) = (0, 0);
        for run in named {
            for id in names(run, 1, NAMES_LOOKED_AT - looked_at) {
                looked_at += 1;
                let found = self.history.get(&id).map(|kept| kept.bytes.clone());
                let goes = found.is_some_and(|bytes| {
                    neighbour.repairs.take(world.now, 1)
                        && neighbour.outbox.repair(world.config, id, bytes)
                });
                lacking += u32::from(!goes);
            }
        }
        world.answer(serve, SpreadAnswer::Grafted { lacking });
    }

    /// A push was answered.
    pub(super) fn on_pushed(
        &mut self,
        world: &mut World<'_>,
        peer: &PublicKey,
        ids: &[MessageId],
        answer: &SpreadAnswer,
    ) {
        let now = world.now;
        let Some(neighbour) = self.active.get_mut(peer) else { return };
        neighbour.outbox.answered(now);
        let SpreadAnswer::Pushed { prune, busy } = *answer else { return };
        self.note_taken(peer, ids);
        let Some(neighbour) = self.active.get_mut(peer) else { return };
        neighbour.note_busy(now, busy);
        for (place, id) in ids.iter().enumerate().take(PRUNABLE) {
            let tree = self.tree_of(id.publisher, id.sequence);
            let Some(neighbour) = self.active.get_mut(peer) else { return };
            let branches = &mut neighbour.branches;
            if prune >> place & 1 == 0 {
                // Its copy, for which it was taken off the tree, crossed this one, and it takes this
                // node for its parent all the same.
                let crossed = || self.history.get(id).is_some_and(|kept| kept.is_brought_by(peer));
                let may = !neighbour.distrusted && tree != Tree::Shared;
                if may && !branches.is_on(tree) && crossed() {
                    branches.set(now, tree, true);
                }
                continue;
            }
            if !branches.is_on(tree) {
                continue;
            }
            branches.set(now, tree, false);
            match tree {
                Tree::Shared => self.keep_parents(world, Some(peer)),
                Tree::Of(publisher) if publisher == world.me.contact.public_key => {
                    self.keep_child(now, tree, Some(peer));
                }
                Tree::Of(_) => {}
            }
        }
    }

    /// Names messages again that a neighbour may not have got.
    pub(super) fn name_again(&mut self, now: Instant, peer: &PublicKey, ids: Vec<MessageId>) {
        if let Some(neighbour) = self.active.get_mut(peer) {
            for id in ids {
                neighbour.outbox.name(now, id);
            }
        }
    }

    /// A neighbour brings nothing any more: where it was the parent, another takes over before
    /// anything is missed.
    pub(super) fn replace_parent(&mut self, world: &mut World<'_>, lost: &PublicKey) {
        for (tree, next, id) in self.growths.lost(lost) {
            let fit = self.active.get(&next).is_some_and(Neighbour::is_fit);
            if fit {
                self.graft(world, &next, nothing_of(tree, &id), Some(tree));
            }
        }
    }

    // --- trust ---

    /// A node did something wrong.
    pub(super) fn fault(&mut self, world: &mut World<'_>, peer: PublicKey, fault: Fault) {
        match world.scores.fault(world.now, peer, fault) {
            Verdict::Tolerated => {}
            Verdict::Pruned => {
                if let Some(neighbour) = self.active.get_mut(&peer) {
                    neighbour.branches.clear();
                    neighbour.distrusted = true;
                    self.replace_parent(world, &peer);
                    self.keep_parents(world, None);
                }
            }
            Verdict::Ignored => {
                self.unlink(world, &peer, Cause::Misbehaved, Some(PartCause::Misbehaved));
                self.passive.remove(&peer);
            }
        }
    }
}

/// A run that names a tree, and no message.
fn nothing_of(tree: Tree, id: &MessageId) -> Vec<IdRun> {
    let MessageId { publisher, incarnation, sequence } = *id;
    match tree {
        Tree::Shared => Vec::new(),
        Tree::Of(_) => vec![IdRun { publisher, incarnation, first: sequence, count: 0 }],
    }
}

/// Whether a message is too old to be told from one that was seen and forgotten, or dated ahead.
fn is_stale(world: &World<'_>, message: &SignedMessage) -> bool {
    world
        .wall
        .is_some_and(|now| message.at.plus(STALE_AFTER) < now || message.at > now.plus(AHEAD_MAX))
}
