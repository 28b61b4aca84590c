//! The tree of one topic: messages are pushed along some links and named on all others.
//!
//! `PlumTree` (Leitão, Pereira, Rodrigues, 2007). Where we differ: every push has an answer, so a
//! dead link is noticed by its first message and a prune costs no message of its own; in open
//! networks a node lets two copies come, so that no single neighbour can make it deaf; a link comes
//! on the tree because its names were measured to be here sooner, never because of a hop count that
//! somebody claims; names are runs of sequence numbers, 64 of them in the room of one.
//!
//! **Invariant:** nothing is delivered, kept or passed on before its publisher's signature held, and
//! nothing is checked that was seen.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, PublicKey};
use potluck_wire::{IdRun, PartCause, SignedMessage, SpreadAnswer};

use super::asks::World;
use super::config::parents;
use super::events::{SpreadServeId, TopicsOutput};
use super::history::{names, runs};
use super::scores::{Fault, Verdict};
use super::seen::Noted;
use super::topic::Topic;
use crate::message::{Message, MessageId};
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
/// A name must have been here so much sooner than the message to count as such.
const SOONER_MIN: Duration = Duration::from_millis(50);
/// The tree is changed for speed at most once in this time after a link was made or lost, and in
/// twice the time after each change: with several publishers another link is the fastest for each,
/// and every change costs surplus copies.
pub(super) const SWITCH_INTERVAL: Duration = Duration::from_secs(5);
const SWITCH_INTERVAL_MAX: Duration = Duration::from_secs(160);
/// The tree works if it brought something in this time.
const TREE_WORKS: Duration = Duration::from_millis(250);
/// How often it is changed nevertheless. A guess.
const GRAFT_ANYWAY: f64 = 0.125;
/// A neighbour is blamed for broken promises once in this time.
const BLAME_INTERVAL: Duration = Duration::from_secs(1);
/// A wrong signature costs as much as so many right ones.
const FORGERY_TOKENS: u32 = 20;

/// What became of one message of a push.
enum Taken {
    /// It was new.
    New,
    /// It came by this many ways.
    Copy(usize),
    /// It was dropped.
    Dropped,
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
        let (mut fresh, mut surplus) = (0, 0);
        for bytes in messages {
            if !self.active.contains_key(from) {
                break;
            }
            match self.take(world, from, bytes) {
                Taken::New => fresh += 1,
                Taken::Copy(ways) if ways > parents(world.mode) => surplus += 1,
                Taken::Copy(_) | Taken::Dropped => {}
            }
        }
        let busy = self.is_busy(world);
        let answer = match self.active.get_mut(from) {
            None => SpreadAnswer::NotNeighbour,
            Some(neighbour) => {
                let prune = neighbour.distrusted || surplus > fresh;
                if prune && neighbour.eager {
                    neighbour.eager = false;
                    world.stats.prunes += 1;
                    self.keep_parents(world, Some(from));
                }
                SpreadAnswer::Pushed { prune, busy }
            }
        };
        world.answer(serve, answer);
    }

    fn take(&mut self, world: &mut World<'_>, from: &PublicKey, bytes: &Bytes) -> Taken {
        world.stats.payloads_received += 1;
        let Ok(message) = SignedMessage::decode(bytes) else {
            self.fault(world, *from, Fault::Forged);
            return Taken::Dropped;
        };
        let id = MessageId::from(&message);
        if self.seen.contains(&id) {
            world.stats.duplicates += 1;
            let Some(kept) = self.history.get_mut(&id) else { return Taken::Copy(usize::MAX) };
            let ways = kept.came_from(*from);
            // That this node was impatient is not the tree's fault.
            return if kept.repaired { Taken::Dropped } else { Taken::Copy(ways) };
        }
        if !self.verify(world, from, &message) {
            return Taken::Dropped;
        }
        let rate = world.limits().publisher.bucket();
        match self.seen.insert(world.now, &id, rate) {
            Noted::Seen => return Taken::Dropped,
            Noted::OverRate => {
                world.stats.dropped_over_rate += 1;
                self.promises.kept(&id);
                return Taken::Dropped;
            }
            Noted::New => {}
        }
        let repaired = self.note_lateness(world, &id, from);
        self.spread(world, id, bytes.clone(), message.payload, Some(*from));
        if let Some(kept) = self.history.get_mut(&id) {
            kept.repaired = repaired;
        }
        Taken::New
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
        id: MessageId,
        bytes: Bytes,
        payload: Bytes,
        from: Option<PublicKey>,
    ) {
        if self.subscribed {
            world.stats.delivered += 1;
            let message = Message { topic: self.name.clone(), id, payload };
            world.out.push_back(TopicsOutput::Deliver(message));
        }
        self.history.keep(world.now, id, bytes.clone(), from);
        for (peer, neighbour) in &mut self.active {
            if Some(*peer) == from {
                continue;
            }
            if neighbour.is_pushed() {
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
        let promise = self.promises.kept(id);
        let (heard, sources, asked) = promise.unwrap_or((world.now, Vec::new(), false));
        if asked {
            world.stats.repaired += 1;
        } else {
            self.fresh_at = world.now;
        }
        if !sources.is_empty() {
            self.lag.get_or_insert_default().sample(world.now.since(heard));
        }
        let mut switch = None;
        for (peer, neighbour) in &mut self.active {
            let margin = SOONER_MIN.max(neighbour.rtt.smoothed());
            let sooner = !asked && sources.contains(peer) && world.now.since(heard) > margin;
            if neighbour.note_late(sooner) && neighbour.is_healthy() && !neighbour.distrusted {
                switch = Some(*peer);
            }
        }
        if let Some(peer) = switch.filter(|peer| peer != from)
            && world.now.since(self.switched_at) >= self.switch_pause
        {
            self.switched_at = world.now;
            self.switch_pause = (self.switch_pause * 2).min(SWITCH_INTERVAL_MAX);
            world.stats.switched += 1;
            if let Some(neighbour) = self.active.get_mut(&peer) {
                neighbour.switched();
            }
            self.graft(world, &peer, Vec::new(), true);
        }
        asked
    }

    /// Whether queues fill up here. What neighbours say of theirs is not passed on: it would go
    /// round for ever.
    fn is_busy(&self, world: &World<'_>) -> bool {
        self.active.values().filter(|neighbour| neighbour.is_pushed()).any(|neighbour| {
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
        let active = &self.active;
        let due = self.promises.take_due(world.now, usize::MAX, |peer| {
            let neighbour = active.get(peer)?;
            let fit = neighbour.is_healthy() && !neighbour.distrusted;
            fit.then(|| NAMED_WAIT_MIN.max(neighbour.rtt.p95() * 6 / 5 + DELIVERY_SLACK))
        });
        let mut asked: BTreeMap<PublicKey, Vec<MessageId>> = BTreeMap::new();
        let mut broken: BTreeMap<PublicKey, u64> = BTreeMap::new();
        for due in due {
            if let Some(peer) = due.ask {
                asked.entry(peer).or_default().push(due.id);
            }
            if let Some(peer) = due.broken {
                *broken.entry(peer).or_default() += 1;
            }
        }
        for (peer, mut ids) in asked {
            ids.sort_unstable();
            // While the tree works, what it lost is fetched without changing it, mostly: it may
            // still be broken for some publishers.
            let works = world.now.since(self.fresh_at) < TREE_WORKS;
            let eager = !works || world.rng.chance(GRAFT_ANYWAY);
            self.graft(world, &peer, runs(ids, usize::MAX), eager);
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
        let Some(neighbour) = self.active.get_mut(from) else { return };
        neighbour.eager |= eager && !neighbour.distrusted;
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
        answer: &SpreadAnswer,
    ) {
        let Some(neighbour) = self.active.get_mut(peer) else { return };
        neighbour.outbox.answered(world.now);
        if let SpreadAnswer::Pushed { prune, busy } = answer {
            neighbour.note_busy(world.now, *busy);
            if *prune && neighbour.eager {
                neighbour.eager = false;
                // Who publishes must push to somebody.
                self.keep_parents(world, Some(peer));
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

    // --- trust ---

    /// A node did something wrong.
    pub(super) fn fault(&mut self, world: &mut World<'_>, peer: PublicKey, fault: Fault) {
        match world.scores.fault(world.now, peer, fault) {
            Verdict::Tolerated => {}
            Verdict::Pruned => {
                if let Some(neighbour) = self.active.get_mut(&peer) {
                    neighbour.eager = false;
                    neighbour.distrusted = true;
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
