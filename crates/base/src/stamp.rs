//! Work stamps: a small proof of work for one store, which a node of an `open` network demands of
//! strangers while they store much.
//!
//! A stamp holds for one record, one writer's node, one holder and about an hour, so it cannot be made
//! once for many records or nodes, and work for one holder is worth nothing at the next.

use crate::{Key, NodeId, PublicKey, UnixMillis};

/// Leading zero bits of a stamp: some two milliseconds to make, under a microsecond to check. Each further
/// bit doubles what a store costs a flooder and an honest writer alike.
pub const STAMP_BITS: u32 = 14;
/// Numbers that are tried at most: 16 times the mean, so one search in nine million gives up.
const TRIES_MAX: u64 = 16 << STAMP_BITS;
const HOUR_MS: u64 = 60 * 60 * 1000;

/// What a stamp is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StampedStore {
    /// The node that is to keep the record.
    pub holder: NodeId,
    /// The node that sends it.
    pub sender: PublicKey,
    /// The record.
    pub key: Key,
}

impl StampedStore {
    /// The hour of a time, which a stamp names.
    #[must_use]
    pub const fn hour(now: UnixMillis) -> u64 {
        now.0 / HOUR_MS
    }

    /// A number that makes a stamp in `hour`: some 16,384 hashes. `None` if the search gave up.
    #[must_use]
    pub fn make(&self, hour: u64) -> Option<u64> {
        let key = self.work_key(hour);
        (0..TRIES_MAX).find(|number| fits(&key, *number))
    }

    /// Whether `number` makes a stamp in `hour`, and `hour` is that of `now` or the one before or after:
    /// clocks differ.
    #[must_use]
    pub fn holds(&self, now: UnixMillis, hour: u64, number: u64) -> bool {
        hour.abs_diff(Self::hour(now)) <= 1 && fits(&self.work_key(hour), number)
    }

    fn work_key(&self, hour: u64) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("potluck 2026 work stamp");
        hasher.update(self.holder.as_bytes());
        hasher.update(self.sender.as_bytes());
        hasher.update(self.key.as_bytes());
        hasher.update(&hour.to_be_bytes());
        *hasher.finalize().as_bytes()
    }
}

fn fits(key: &[u8; 32], number: u64) -> bool {
    let hash = blake3::keyed_hash(key, &number.to_be_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_be_bytes([a, b, c, d]).leading_zeros() >= STAMP_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(byte: u8) -> StampedStore {
        StampedStore {
            holder: NodeId::from_bytes([1; 32]),
            sender: PublicKey::from_bytes([2; 32]),
            key: Key::from_bytes([byte; 32]),
        }
    }

    #[test]
    fn a_stamp_holds_for_one_store_and_about_an_hour() {
        let hour = 500_000;
        let number = store(3).make(hour).expect("found");
        let now = UnixMillis(hour * HOUR_MS + 7);
        assert_eq!(StampedStore::hour(now), hour);
        assert!(store(3).holds(now, hour, number));
        assert!(!store(4).holds(now, hour, number), "another record");
        let elsewhere = StampedStore { holder: NodeId::from_bytes([9; 32]), ..store(3) };
        let of_other = StampedStore { sender: PublicKey::from_bytes([9; 32]), ..store(3) };
        assert!(!elsewhere.holds(now, hour, number) && !of_other.holds(now, hour, number));
        for (away, holds) in [(1, true), (2, false)] {
            let later = UnixMillis(now.0 + away * HOUR_MS);
            let earlier = UnixMillis(now.0 - away * HOUR_MS);
            assert_eq!(store(3).holds(later, hour, number), holds);
            assert_eq!(store(3).holds(earlier, hour, number), holds);
        }
    }

    #[test]
    fn the_stamp_is_frozen() {
        assert_eq!(store(3).make(500_000), Some(3123));
    }
}
