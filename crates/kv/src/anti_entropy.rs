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
use crate::repair::{Repair, successor};

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
        let next = last.and_then(|(key, _)| successor(key));
        self.from = next.unwrap_or(Key::from_bytes([0; 32]));
    }
}

#[cfg(test)]
mod tests {
    use potluck_base::{Admission, Contact, Identity, Machine as _, NetworkId, Peer};
    use potluck_record::{StateDigest, StorageOp, StorageReply};
    use potluck_wire::Request;

    use super::*;
    use crate::config::Config;
    use crate::machine::{Input, Kv, Output};

    fn peer(number: u8, network: &NetworkId) -> Peer {
        let public_key = Identity::from_seed([number; 32]).public_key();
        Contact::new(public_key, ([127, 0, 0, 1], 1).into()).in_network(network)
    }

    #[test]
    fn what_is_held_is_offered_to_its_set_though_nothing_has_changed() {
        let network = NetworkId::new("test", Admission::Lab, None);
        let (me, others) = (peer(1, &network), vec![peer(2, &network), peer(3, &network)]);
        let identity = Identity::from_seed([1; 32]);
        let mut kv = Kv::new(identity, network, me, true, Config::default());
        kv.handle(Instant::ZERO, Input::CloseGroup(others));
        let key = Key::from(me.id);
        let (mut rounds, mut offered) = (0, Vec::new());
        for _ in 0..100 {
            let Some(deadline) = kv.poll_timeout() else { break };
            kv.handle(deadline.at, Input::Timeout);
            while let Some(output) = kv.poll_output() {
                match output {
                    Output::Storage { id, op: StorageOp::Scan { limit: ROUND_KEYS, .. } } => {
                        rounds += 1;
                        let entries = vec![(key, StateDigest::EMPTY)];
                        let reply = StorageReply::Scanned { entries, more: false };
                        kv.handle(deadline.at, Input::Stored { id, reply });
                    }
                    Output::Storage { id, op: StorageOp::Scan { .. } } => {
                        // The repair after the change of the close group finds no keys.
                        let reply = StorageReply::Scanned { entries: Vec::new(), more: false };
                        kv.handle(deadline.at, Input::Stored { id, reply });
                    }
                    Output::Ask { to, request: Request::Offer { entries }, .. } => {
                        assert_eq!(entries[0].key, key);
                        offered.push(to.id);
                    }
                    _ => {}
                }
            }
            if offered.len() >= 2 {
                break;
            }
        }
        assert!(rounds >= 1 && offered.len() == 2 && offered[0] != offered[1], "{offered:?}");
    }
}
