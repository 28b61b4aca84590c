//! Going over all keys held here after the number of replicas changed: each is offered as after a change
//! of its record, so the nodes that newly belong to its replica set pull it.
//!
//! The keys are scanned a page at a time, and a page waits while many offers do.

use std::time::Duration;

use potluck_base::{Deadline, Instant, Key};
use potluck_record::{StorageOp, StorageReply};

use crate::core::{Core, OpPurpose};
use crate::repair::{Repair, next_key};

/// Keys of one page. Raising it needs more memory at a time.
const PAGE_KEYS: u32 = 512;
/// Pause between two pages. Raising it fills the replica sets later and leaves more of the network to
/// others.
const PAUSE: Duration = Duration::from_millis(250);
/// Keys waiting to be offered at which the next page waits: below the number at which repair drops them.
const WAITING_MAX: usize = 4096;
/// The highest key.
const LAST: [u8; 32] = [0xff; 32];

/// The pass over all keys; see the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Refill {
    /// The next key, while a pass is under way.
    from: Option<Key>,
    scanning: bool,
    /// Whether the number changed again during the page that is being scanned.
    again: bool,
    next: Instant,
}

impl Refill {
    /// Begins a pass, from the first key.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.again = self.scanning;
        self.from = Some(Key::from_bytes([0; 32]));
        self.next = now;
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        (self.from.is_some() && !self.scanning).then(|| Deadline::new(self.next, "refill"))
    }

    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant, repair: &Repair) {
        let Some(from) = self.from.filter(|_| !self.scanning && now >= self.next) else { return };
        if !core.serves {
            self.from = None;
            return;
        }
        self.next = now + PAUSE;
        if repair.waiting() < WAITING_MAX {
            self.scanning = true;
            let op = StorageOp::Scan { from, to: Key::from_bytes(LAST), limit: PAGE_KEYS };
            core.storage(op, OpPurpose::RefillScan);
        }
    }

    /// Takes a page of keys.
    pub(crate) fn on_scanned(
        &mut self,
        core: &Core,
        now: Instant,
        repair: &mut Repair,
        reply: &StorageReply,
    ) {
        self.scanning = false;
        self.next = now + PAUSE;
        if std::mem::take(&mut self.again) {
            return;
        }
        // A store that failed is asked again.
        let StorageReply::Scanned { entries, more } = reply else { return };
        for (key, digest) in entries {
            repair.on_changed(core, now, *key, *digest);
        }
        self.from = entries.last().filter(|_| *more).and_then(|(last, _)| next_key(last));
    }
}
