//! Anti-entropy: rounds over all keys held here find the differences that every other mechanism missed.
//!
//! Repair acts on changes of the close group and of records. A change that was not acted upon,
//! because both ends were cut off, full or gone at that moment, is found here. Each round takes the
//! next keys in order. It offers those of which this node is the closest or second closest replica,
//! or which it holds without belonging to the replica set, to the whole replica set. A replica with
//! another digest pulls the record, and offers it back if it then holds more, as after any offer.
//!
//! Where we differ from Dynamo and Cassandra, which compare hash trees of whole ranges: a round
//! costs the same whatever the store holds, and a store of ten million keys is gone over once in
//! weeks instead of being read from end to end each minute.

use potluck_base::{Deadline, Instant, Key};
use potluck_record::{StorageOp, StorageReply};

use crate::core::{Core, OpPurpose};
use crate::repair::{Repair, next_key};

/// Keys of one round. More keys find differences sooner and cost more traffic: this node offers two
/// of r keys, with the defaults 16 keys of 128 to 15 others, 11 kB a round.
const ROUND_KEYS: u32 = 128;
/// The highest key.
const LAST: [u8; 32] = [0xff; 32];

/// The position of the rounds.
#[derive(Debug, Clone)]
pub(crate) struct AntiEntropy {
    next: Instant,
    from: Key,
    scanning: bool,
}

impl AntiEntropy {
    /// The first round of a node is delayed by a fraction of the interval that depends on its id,
    /// so that nodes do not run their rounds at the same time.
    pub(crate) fn new(core: &Core) -> Self {
        let bytes = core.me.id.as_bytes();
        let place = f64::from(u16::from_be_bytes([bytes[0], bytes[1]])) / f64::from(u16::MAX);
        let next = Instant::ZERO + core.config.anti_entropy_interval.mul_f64(0.5 + place);
        Self { next, from: Key::from_bytes([0; 32]), scanning: false }
    }

    pub(crate) fn deadline(&self) -> Deadline {
        Deadline::new(self.next, "anti-entropy")
    }

    /// Begins a round, unless a repair is under way or this node keeps no records for others.
    pub(crate) fn on_timeout(&mut self, core: &mut Core, now: Instant, repair: &Repair) {
        if self.next > now {
            return;
        }
        self.next = now + core.config.anti_entropy_interval;
        if core.serves && !self.scanning && repair.is_quiet() {
            self.scanning = true;
            let (from, to) = (self.from, Key::from_bytes(LAST));
            core.storage(StorageOp::Scan { from, to, limit: ROUND_KEYS }, OpPurpose::RoundScan);
        }
    }

    /// Takes the keys of this round.
    pub(crate) fn on_scanned(
        &mut self,
        core: &Core,
        now: Instant,
        repair: &mut Repair,
        reply: &StorageReply,
    ) {
        self.scanning = false;
        let StorageReply::Scanned { entries, more } = reply else { return };
        for (key, digest) in entries {
            repair.on_changed(core, now, *key, *digest);
        }
        let last = entries.last().filter(|_| *more);
        let next = last.and_then(|(key, _)| next_key(key));
        self.from = next.unwrap_or(Key::from_bytes([0; 32]));
    }
}
