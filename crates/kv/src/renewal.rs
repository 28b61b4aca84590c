//! Renewal: this node signs its own records again before they end, for as long as it runs.
//!
//! A value whose writer named no lifetime is meant to stay: at half of its life the writer's node signs
//! the envelope again, with a later expiry and the same values under the same dots. A value with a
//! lifetime of its own ([`life::fixed`]) ends with it.
//!
//! This machine decides when which own record is due; the work itself is a write
//! ([`PutOp::rewrite`](crate::put::PutOp::rewrite)) that reads the current heads first, so a value that
//! another writer has superseded or deleted is not renewed. It goes over the own records in order of
//! keys, a page at a time: neighbouring keys follow each other, and memory does not grow with their
//! number. No position is saved: a record that was renewed is not due, so a node that restarts begins at the
//! first key and skips such a record at the price of reading its head.
//!
//! With a republish interval every own record is also stored again, unchanged, once in each interval.
//!
//! **Invariants:** at most [`REWRITES_MAX`] rewrites are under way and one page waits; rewrites are spread
//! over time, faster only as they fall behind.

pub(crate) mod census;
pub(crate) mod life;
pub(crate) mod renewed;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use potluck_base::{Deadline, Instant, Key, Rng, UnixMillis};
use potluck_record::{SignedHead, Space, StorageOp, StorageReply};

use crate::command::{CommandError, CommandId, Reply};
use crate::config::Config;
use crate::core::{Core, OpPurpose};
use census::Census;
use life::{Due, due};

/// Rewrites under way. Each is a lookup and a store at the replicas; raising it renews faster after a
/// long absence and loads the network more.
const REWRITES_MAX: usize = 4;
/// Own heads of one page. Raising it costs memory, up to 8 KiB a head.
const PAGE_HEADS: u32 = 128;
/// Pause between two pages, so that reading many own records leaves the disk to others.
const PAGE_PAUSE: Duration = Duration::from_millis(20);
/// Longest time between two rewrites: four a minute. Raising it spreads the work more.
const GAP_MAX: Duration = Duration::from_secs(15);
/// Shortest time between two rewrites, however late they are.
const GAP_MIN: Duration = Duration::from_millis(50);
/// Longest time between the beginnings of two passes.
const PASS_MAX: Duration = Duration::from_secs(30 * 60);
/// Longest delay of the first pass after the start, so that a node finds its place first.
const FIRST_MAX: Duration = Duration::from_secs(120);
/// Shortest pass and first delay.
const PASS_MIN: Duration = Duration::from_secs(1);
/// A pass takes this part of the default life, so a record is found soon after its half-life.
const PASS_PART: u32 = 50;
/// Between two rewrites lies this part of the default life.
const GAP_PART: u32 = 200;
/// A renewal that is later than this part of the default life is behind: it shows in the node's health.
pub(crate) const BEHIND_PART: u32 = 10;

/// Marks the commands of rewrites, whose replies do not go to the application.
const REWRITE: u64 = 1 << 62;

/// Whether a command is a rewrite of this machine.
pub(crate) const fn is_rewrite(id: CommandId) -> bool {
    id.0 & REWRITE != 0
}

/// What is done with one own record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Sign it again if it lives, or if it covers what lives longer, and store it.
    Renew,
    /// Store it again as it is.
    Republish,
}

/// An own record that is due.
#[derive(Debug, Clone)]
pub(crate) struct Rewrite {
    pub(crate) head: SignedHead,
    pub(crate) task: Task,
    /// For how long it had been due when its page was read.
    late: Duration,
    read: Instant,
}

/// The renewal of this node's own records; see the module.
#[derive(Debug, Clone)]
pub(crate) struct Renewal {
    census: Census,
    rng: Rng,
    from: Key,
    scanning: bool,
    queue: VecDeque<Rewrite>,
    under_way: BTreeSet<CommandId>,
    began: Instant,
    /// Whether this pass stores all records again.
    republishes: bool,
    /// When the last pass that does began.
    republished: Option<Instant>,
    next_page: Instant,
    next_rewrite: Instant,
}

/// The default life, or a part of it, within bounds.
fn part(config: &Config, divisor: u32, least: Duration, most: Duration) -> Duration {
    (config.life_default / divisor).clamp(least, most)
}

impl Renewal {
    pub(crate) fn new(core: &Core) -> Self {
        let mut rng = Rng::from_seed(*core.me.id.as_bytes()).fork("renewal");
        let first = part(&core.config, PASS_PART / 2, PASS_MIN, FIRST_MAX);
        let first = Instant::ZERO + rng.jitter(first, 0.5);
        Self {
            census: Census::new(),
            rng,
            from: Key::from_bytes([0; 32]),
            scanning: false,
            queue: VecDeque::new(),
            under_way: BTreeSet::new(),
            began: Instant::ZERO,
            republishes: false,
            republished: None,
            next_page: first,
            next_rewrite: first,
        }
    }

    /// What the own records come to.
    pub(crate) const fn census(&self) -> &Census {
        &self.census
    }

    /// The time by which the republication of all own records is behind its interval.
    pub(crate) fn republish_lag(&self, core: &Core, now: Instant) -> Duration {
        let Some(interval) = core.config.republish_interval else { return Duration::ZERO };
        let first = Instant::ZERO + FIRST_MAX;
        now.since(self.republished.unwrap_or(first).max(first)).saturating_sub(interval * 2)
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let page = self.may_read().then_some(self.next_page);
        let room = !self.queue.is_empty() && self.under_way.len() < REWRITES_MAX;
        Deadline::earliest([
            page.map(|at| Deadline::new(at, "own records")),
            room.then(|| Deadline::new(self.next_rewrite, "renew")),
            self.census.deadline(),
        ])
    }

    /// Reads the next page when it is due, and returns the rewrite that is, with its command.
    pub(crate) fn on_timeout(
        &mut self,
        core: &mut Core,
        now: Instant,
    ) -> Option<(CommandId, Rewrite)> {
        self.census.on_timeout(core, now);
        if self.may_read() && now >= self.next_page {
            self.scanning = true;
            if self.from == Key::from_bytes([0; 32]) {
                self.begin_pass(&core.config, now);
            }
            let op = StorageOp::ScanOwn { from: self.from, limit: PAGE_HEADS };
            core.storage(op, OpPurpose::RenewalScan);
        }
        if now < self.next_rewrite || self.under_way.len() >= REWRITES_MAX {
            return None;
        }
        let rewrite = self.queue.pop_front()?;
        let gap = self.gap(&core.config, rewrite.late + now.since(rewrite.read));
        self.next_rewrite = now + self.rng.jitter(gap, 0.3);
        if self.queue.is_empty() {
            self.next_page = self.next_page.max(now + PAGE_PAUSE);
        }
        let id = CommandId(REWRITE | core.fresh_id());
        self.under_way.insert(id);
        Some((id, rewrite))
    }

    /// Whether the next page may be read. A new pass waits for the rewrites of the last one, which would
    /// be due again.
    fn may_read(&self) -> bool {
        let begins = self.from == Key::from_bytes([0; 32]);
        self.queue.is_empty() && !self.scanning && (!begins || self.under_way.is_empty())
    }

    /// The pass begins at the first key. It stores all records again if the last one that did so began
    /// an interval ago.
    fn begin_pass(&mut self, config: &Config, now: Instant) {
        self.began = now;
        let since = self.republished.map(|began| now.since(began));
        self.republishes = config
            .republish_interval
            .is_some_and(|interval| since.is_none_or(|since| since >= interval));
        if self.republishes {
            self.republished = Some(now);
        }
    }

    /// The pause after a rewrite: shorter the later it was, so that the work is spread as long as
    /// there is time.
    fn gap(&self, config: &Config, late: Duration) -> Duration {
        let calm = part(config, GAP_PART, GAP_MIN, GAP_MAX);
        let behind = config.life_default / BEHIND_PART;
        let left = 1.0 - (late.as_secs_f64() / behind.as_secs_f64().max(0.001)).min(1.0);
        let gap = calm.mul_f64(left).max(GAP_MIN);
        match config.republish_interval {
            // All own records within half of the interval.
            Some(interval) if self.republishes => {
                let records = u32::try_from(self.census.records()).unwrap_or(u32::MAX).max(1);
                gap.min((interval / 2 / records).max(Duration::from_millis(1)))
            }
            Some(_) | None => gap,
        }
    }

    /// Takes a page of own heads.
    pub(crate) fn on_page(&mut self, core: &Core, now: Instant, reply: StorageReply) {
        self.scanning = false;
        let StorageReply::OwnHeads { heads, next } = reply else {
            self.next_page = now + PASS_MIN;
            return;
        };
        let wall = core.wall(now);
        let due = heads.into_iter().filter_map(|head| {
            let (task, late) = task(&core.config, &head, wall, self.republishes)?;
            Some(Rewrite { head, task, late, read: now })
        });
        self.queue.extend(due);
        match next {
            Some(next) => {
                self.from = next;
                self.next_page = now + PAGE_PAUSE;
            }
            None => {
                self.from = Key::from_bytes([0; 32]);
                let pass = part(&core.config, PASS_PART, PASS_MIN, PASS_MAX);
                let pass = core.config.republish_interval.map_or(pass, |it| pass.min(it / 8));
                let pause = self.rng.jitter(pass, 0.2);
                self.next_page = (self.began + pause).max(now + PAGE_PAUSE);
            }
        }
    }

    pub(crate) fn on_census_page(&mut self, core: &Core, now: Instant, reply: &StorageReply) {
        self.census.on_page(&core.config, now, core.wall(now), reply);
    }

    /// An own record was written: its end may count among those that come soon.
    pub(crate) fn on_written(&mut self, now: Instant) {
        self.census.soon(now);
    }

    /// The settings changed: what is due may be due earlier.
    pub(crate) fn on_settings(&mut self, now: Instant) {
        self.next_page = self.next_page.min(now + PASS_MIN);
        self.next_rewrite = self.next_rewrite.min(now + PASS_MIN);
        self.census.soon(now);
    }

    /// A rewrite ended. Failed ones are due again in the next pass.
    pub(crate) fn on_reply(&mut self, core: &mut Core, id: CommandId, reply: &Reply) {
        self.under_way.remove(&id);
        match reply {
            Reply::Written(_) => core.stats.rewrites_done += 1,
            // It has ended, or is superseded or deleted.
            Reply::Failed(CommandError::Absent) => {}
            Reply::Failed(_)
            | Reply::Conflict(_)
            | Reply::Read(_)
            | Reply::Replicas(_)
            | Reply::Local(_)
            | Reply::Names(_)
            | Reply::Watching(_)
            | Reply::Unwatched => core.stats.rewrites_failed += 1,
        }
    }
}

/// What is to be done with an own record now, and for how long it has been due.
fn task(
    config: &Config,
    head: &SignedHead,
    wall: UnixMillis,
    republishes: bool,
) -> Option<(Task, Duration)> {
    if head.space() == Space::Provider || head.expires() <= wall {
        return None;
    }
    match due(config, head, wall) {
        Due::Late(late) => Some((Task::Renew, late)),
        Due::Check => Some((Task::Renew, Duration::ZERO)),
        Due::No => republishes.then_some((Task::Republish, Duration::ZERO)),
    }
}

#[cfg(test)]
mod tests;
