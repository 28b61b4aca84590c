//! One watched key: what was read of it, what was reported, and when it is read again.
//!
//! **Invariant:** what was read is a state that only grows, by the one merge rule; a report follows when
//! the values in it differ from those reported before. So nothing is reported twice, and no older value
//! follows a newer one, whatever replicas answer.

use std::time::Duration;

use potluck_base::{Instant, Key, Peer, Rng};
use potluck_record::{Context, Envelope, Kind, Reading, SignedHead, State, StateDigest};

use super::leases::{Known, Leases, Word};
use crate::change::{Change, Gap};
use crate::command::CommandId;
use crate::core::Core;

/// Doublings of the pause between reads that bring nothing new. A holder that lies causes no more
/// than a read in this many pauses.
const FRUITLESS_MAX: u8 = 5;
/// Pause before the first read without enough leases, and after a failed read. A guess: a lookup later the
/// dead holders are known.
const SOON: Duration = Duration::from_secs(3);
/// Fraction by which pauses vary.
const SPREAD: f64 = 0.33;
/// Pause before a read that no slot is free for.
pub(super) const SLOT_PAUSE: Duration = Duration::from_millis(500);

/// When the key is read.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    /// The read under way: whether it waits for all replicas.
    running: Option<bool>,
    /// The next read that waits for all replicas and finds the holders anew.
    look_at: Instant,
    /// No read because of a claim begins before.
    rest_until: Instant,
    /// Reads in a row that did not bring what a holder claimed.
    fruitless: u8,
    /// Whether too few leases are confirmed.
    polls: bool,
}

/// One watched key.
#[derive(Debug, Clone)]
pub(super) struct Watch {
    key: Key,
    /// Commands that wait for the first read.
    pub(super) waiting: Vec<CommandId>,
    seen: State,
    known: Known,
    shown: Option<Change>,
    pub(super) leases: Leases,
    /// What this node's own store said.
    own: Word,
    /// This node's own replica is being loaded; whether it has changed since.
    loading: Option<bool>,
    schedule: Schedule,
    /// Whether a change since the last report may have gone unnoticed.
    unsure: bool,
    /// Whether enough leases were confirmed at some time.
    was_covered: bool,
    /// When the first of the values reported expires.
    expires_at: Option<Instant>,
    /// Bytes of what was read.
    pub(super) bytes: usize,
}

impl Watch {
    /// A watch that is to be read at once.
    pub(super) fn new(now: Instant, key: Key, rng: Rng) -> Self {
        let schedule =
            Schedule { running: None, look_at: now, rest_until: now, fruitless: 0, polls: false };
        Self {
            key,
            waiting: Vec::new(),
            seen: State::new(),
            known: Known::default(),
            shown: None,
            leases: Leases::new(key, rng),
            own: Word::default(),
            loading: None,
            schedule,
            unsure: false,
            was_covered: false,
            expires_at: None,
            bytes: 0,
        }
    }

    /// The record as it was reported last; `None` before the first read.
    pub(super) fn present(&self) -> Option<Change> {
        self.shown.as_ref().map(|shown| Change { gap: Gap::None, ..shown.clone() })
    }

    /// The leases, with what their answers are compared to.
    pub(super) const fn leases_and_known(&mut self) -> (&mut Leases, &Known) {
        (&mut self.leases, &self.known)
    }

    /// Reads again soon, and finds the holders anew.
    pub(super) fn look_soon(&mut self, now: Instant, rng: &mut Rng) {
        self.schedule.look_at = self.schedule.look_at.min(now + rng.jitter(SOON / 2, SPREAD));
    }

    /// Takes envelopes in, and returns a report if the values differ from those reported.
    fn take(
        &mut self,
        core: &Core,
        now: Instant,
        envelopes: impl IntoIterator<Item = Envelope>,
    ) -> Option<Change> {
        for envelope in envelopes {
            self.seen.merge(envelope);
        }
        self.show(core, now)
    }

    fn show(&mut self, core: &Core, now: Instant) -> Option<Change> {
        let wall = core.wall(now);
        if self.seen.iter().any(|envelope| envelope.head().expires() <= wall) {
            // As the holders do, so that their digests stay comparable.
            let alive = self.seen.iter().filter(|envelope| envelope.head().expires() > wall);
            self.seen = alive.cloned().collect();
        }
        self.bytes = self.seen.iter().map(Envelope::encoded_len).sum();
        let (key, digest) = (self.key, self.seen.digest());
        self.known.add(digest);
        let reading = Reading::of(&core.local.teams.readable(&self.seen), wall);
        let first_end = reading.values.iter().map(|value| value.expires).min();
        let left = first_end.map(|end| end.since(wall).max(Duration::from_millis(1)));
        self.expires_at = left.map(|left| now + left);
        let differs = self.shown.as_ref().is_none_or(|shown| !alike(&shown.reading, &reading));
        let gap = match &self.shown {
            Some(shown) if differs => self.gap(&digest, &shown.reading.context),
            Some(_) | None => Gap::None,
        };
        let change = Change { key, reading, digest, gap };
        self.shown = Some(change.clone());
        if !differs {
            return None;
        }
        self.known.report(digest);
        self.leases.report(&digest);
        self.own.report(&digest);
        self.unsure = self.schedule.polls;
        Some(change)
    }

    /// What the report of this state leaves out after a report with this context.
    ///
    /// The contexts of what was read tell it: one that covers a version which was neither reported nor
    /// covered before proves that there was one in between. Kinds whose writers do not supersede by contexts
    /// have the holders' counts alone.
    fn gap(&self, digest: &StateDigest, before: &Context) -> Gap {
        let counted = self.leases.missed(digest).max(self.own.missed(digest));
        let heads = || self.seen.iter().map(Envelope::head);
        let skips = |head: &SignedHead| {
            head.context().iter().any(|(writer, dot)| dot > before.dot_of(writer))
        };
        if heads().any(skips) {
            return Gap::AtLeast(counted.max(1));
        }
        let by_context = |head: &SignedHead| matches!(head.kind(), Kind::Siblings | Kind::Lww);
        match counted {
            _ if heads().all(by_context) => Gap::None,
            0 if self.unsure => Gap::Unknown,
            0 => Gap::None,
            missed => Gap::AtLeast(missed),
        }
    }

    /// A read has ended with this state and, if it waited for all replicas, these closest nodes.
    pub(super) fn on_read(
        &mut self,
        core: &mut Core,
        now: Instant,
        state: State,
        nearest: &[Peer],
        rng: &mut Rng,
    ) -> Option<Change> {
        let all = self.schedule.running.take().unwrap_or(true);
        let (before, was_claimed) = (self.seen.digest(), self.leases.has_news());
        let digest = state.digest();
        let change = self.take(core, now, state.iter().cloned());
        self.known.add(digest);
        self.leases.settle(&self.known, all);
        self.own.settle(&self.known);
        let in_vain = was_claimed && self.seen.digest() == before;
        let schedule = &mut self.schedule;
        schedule.fruitless = match in_vain {
            true => (schedule.fruitless + 1).min(FRUITLESS_MAX),
            false => 0,
        };
        schedule.rest_until = now + core.config.watch.pause * (1 << schedule.fruitless);
        if all {
            self.schedule.look_at = now + self.look_pause(core, rng);
            self.leases.refresh(core, now, nearest);
        }
        change
    }

    /// A read has failed. Returns whether the watch goes on: one that was never read does not.
    pub(super) fn on_read_failed(&mut self, now: Instant, rng: &mut Rng) -> bool {
        self.schedule.running = None;
        self.unsure = true;
        let schedule = &mut self.schedule;
        schedule.fruitless = (schedule.fruitless + 1).min(FRUITLESS_MAX);
        let pause = rng.jitter(SOON * (1 << (schedule.fruitless - 1)), SPREAD);
        self.schedule.rest_until = now + pause;
        self.schedule.look_at = self.schedule.look_at.max(now + pause);
        self.shown.is_some()
    }

    fn look_pause(&self, core: &Core, rng: &mut Rng) -> Duration {
        let config = &core.config.watch;
        if self.schedule.polls {
            let (least, most) = config.poll;
            least + most.saturating_sub(least).mul_f64(rng.fraction())
        } else {
            rng.jitter(config.lease, SPREAD)
        }
    }

    /// The state of this node's own replica has changed. Returns whether it is to be loaded.
    pub(super) fn on_own_changed(&mut self, digest: StateDigest) -> bool {
        self.own.hear_own(digest, &self.known);
        if self.known.contains(&digest) {
            return false;
        }
        let load = self.loading.is_none();
        self.loading = Some(!load);
        load
    }

    /// This node's own replica was loaded. Returns a report, and whether it is to be loaded again.
    pub(super) fn on_own_loaded(
        &mut self,
        core: &Core,
        now: Instant,
        envelopes: Vec<Envelope>,
    ) -> (Option<Change>, bool) {
        let again = self.loading.take() == Some(true);
        if again {
            self.loading = Some(false);
        }
        if self.shown.is_none() {
            // The first read is under way.
            for envelope in envelopes {
                self.seen.merge(envelope);
            }
            return (None, again);
        }
        let loaded: State = envelopes.iter().cloned().collect();
        let change = self.take(core, now, envelopes);
        self.known.add(loaded.digest());
        self.leases.settle(&self.known, false);
        self.own.settle(&self.known);
        (change, again)
    }

    /// Does what is due apart from reading. Returns a report if a value has expired.
    pub(super) fn on_due(
        &mut self,
        core: &mut Core,
        now: Instant,
        rng: &mut Rng,
    ) -> Option<Change> {
        self.leases.renew(core, now);
        let expired = self.expires_at.is_some_and(|at| at <= now);
        let change = if expired { self.show(core, now) } else { None };
        self.review(core, now, rng);
        change
    }

    /// Looks whether enough leases are confirmed.
    fn review(&mut self, core: &Core, now: Instant, rng: &mut Rng) {
        if self.shown.is_none() {
            return;
        }
        let covered = self.leases.is_covered(core, now);
        self.was_covered |= covered;
        if !covered && !self.schedule.polls {
            // The first leases are still being asked for.
            self.unsure |= self.was_covered;
            self.schedule.polls = true;
            let soon = now + rng.jitter(SOON, SPREAD);
            self.schedule.look_at = self.schedule.look_at.min(soon);
        } else if covered && self.schedule.polls {
            self.schedule.polls = false;
            self.schedule.look_at = now + self.look_pause(core, rng);
        }
    }

    /// Whether fewer than half of the leases are confirmed, so that the key is read time and again.
    pub(super) const fn polls(&self) -> bool {
        self.schedule.polls
    }

    /// When the next read is due; `None` while one is under way.
    fn read_at(&self) -> Option<Instant> {
        if self.schedule.running.is_some() {
            return None;
        }
        let claim = self.leases.has_news().then_some(self.schedule.rest_until);
        Some(claim.map_or(self.schedule.look_at, |at| at.min(self.schedule.look_at)))
    }

    /// Begins the read that is due, if one is. Returns whether it waits for all replicas: a look does, and
    /// one after a read that did not bring what a holder claims.
    pub(super) fn begin_read(&mut self, now: Instant) -> Option<bool> {
        if self.read_at().is_none_or(|at| at > now) {
            return None;
        }
        let all = self.schedule.look_at <= now || self.schedule.fruitless > 0;
        self.schedule.running = Some(all);
        Some(all)
    }

    /// The read that was due cannot begin yet.
    pub(super) fn postpone_read(&mut self, now: Instant) {
        self.schedule.running = None;
        self.schedule.rest_until = self.schedule.rest_until.max(now + SLOT_PAUSE);
        self.schedule.look_at = self.schedule.look_at.max(now + SLOT_PAUSE);
    }

    /// The next time at which something is due.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let times = [self.read_at(), self.leases.deadline(now), self.expires_at];
        times.into_iter().flatten().min()
    }
}

/// Whether two readings have the same values.
fn alike(one: &Reading, other: &Reading) -> bool {
    one.values.len() == other.values.len()
        && one.values.iter().zip(&other.values).all(|(one, other)| {
            (one.writer, one.dot, one.kind, &one.bytes)
                == (other.writer, other.dot, other.kind, &other.bytes)
        })
}
