//! A count of this node's own records: how many end soon, and how many should have been renewed.
//!
//! It reads all own heads a page at a time, at the start, after own writes and in intervals. The figures
//! are those of the last complete count.

use std::time::Duration;

use potluck_base::{Deadline, Instant, Key, UnixMillis};
use potluck_record::{SignedHead, Space, StorageOp, StorageReply};

use super::life::{due, is_renewable};
use crate::config::Config;
use crate::core::{Core, OpPurpose};

/// Records that end within this time are told.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);
/// Own heads of one page.
const PAGE_HEADS: u32 = 256;
/// Delay of a count after an own write, and of the first one: writes of that time are counted together.
const DELAY: Duration = Duration::from_secs(1);
/// Time between two counts without writes. Raising it shows records that come near their end later.
const INTERVAL: Duration = Duration::from_secs(60);
/// A count that took long is not repeated before this multiple of its time.
const REST: u32 = 20;

/// Figures of one count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Figures {
    records: u64,
    expiring: u64,
    late: u64,
}

/// The count; see the module.
#[derive(Debug, Clone)]
pub(crate) struct Census {
    at: Instant,
    /// Not before this, however many writes there are.
    rested: Instant,
    scanning: bool,
    from: Key,
    began: Instant,
    counting: Figures,
    last: Figures,
}

impl Census {
    pub(super) fn new() -> Self {
        Self {
            at: Instant::ZERO + DELAY,
            rested: Instant::ZERO,
            scanning: false,
            from: Key::from_bytes([0; 32]),
            began: Instant::ZERO,
            counting: Figures::default(),
            last: Figures::default(),
        }
    }

    /// Own records that end within seven days and are not renewed.
    pub(crate) const fn expiring(&self) -> u64 {
        self.last.expiring
    }

    /// Own records whose renewal is behind.
    pub(crate) const fn late(&self) -> u64 {
        self.last.late
    }

    /// Own records.
    pub(crate) const fn records(&self) -> u64 {
        self.last.records
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        (!self.scanning).then(|| Deadline::new(self.at, "own records"))
    }

    /// Counts soon.
    pub(super) fn soon(&mut self, now: Instant) {
        let soon = (now + DELAY).max(self.rested);
        if self.scanning || self.from != Key::from_bytes([0; 32]) {
            // The count under way may be past that key.
            self.rested = self.rested.max(soon);
        } else {
            self.at = self.at.min(soon);
        }
    }

    pub(super) fn on_timeout(&mut self, core: &mut Core, now: Instant) {
        if self.scanning || now < self.at {
            return;
        }
        if self.from == Key::from_bytes([0; 32]) {
            (self.began, self.counting) = (now, Figures::default());
        }
        self.scanning = true;
        let op = StorageOp::ScanOwn { from: self.from, limit: PAGE_HEADS };
        core.storage(op, OpPurpose::CensusScan);
    }

    pub(super) fn on_page(
        &mut self,
        config: &Config,
        now: Instant,
        wall: UnixMillis,
        reply: &StorageReply,
    ) {
        self.scanning = false;
        let StorageReply::OwnHeads { heads, next } = reply else {
            // The store has stopped: nothing is known anew.
            self.from = Key::from_bytes([0; 32]);
            self.at = now + INTERVAL;
            return;
        };
        heads.iter().for_each(|head| self.counting.add(config, head, wall));
        self.from = next.unwrap_or(Key::from_bytes([0; 32]));
        if next.is_some() {
            self.at = now;
            return;
        }
        self.last = self.counting;
        let again = self.rested > now;
        self.rested = now + DELAY.max(now.since(self.began) * REST);
        self.at = if again { self.rested } else { (now + INTERVAL).max(self.rested) };
    }
}

impl Figures {
    fn add(&mut self, config: &Config, head: &SignedHead, wall: UnixMillis) {
        if head.space() == Space::Provider || head.expires() <= wall {
            return;
        }
        self.records += 1;
        let late = due(config, head, wall).is_behind(config);
        self.late += u64::from(late);
        let ends = head.values().iter().any(|value| {
            let soon = value.expires() > wall && value.expires() <= wall.plus(SOON);
            soon && (late || !is_renewable(value))
        });
        self.expiring += u64::from(ends);
    }
}
