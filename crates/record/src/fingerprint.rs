//! Fingerprints of ranges of keys: two replicas use them to find out whether they hold the same records, and
//! where they differ, without listing the records.
//!
//! A range is all keys with one [`Prefix`]. Its [`Fingerprint`] is the number of its keys and the sum of
//! their digests, so a store can update it from the one key that changes. Nodes send a hash of the
//! fingerprint under the key of one session ([`SessionKey`]). The hash can be short, because two ranges whose
//! short hashes are equal by chance have different hashes in the next session.

use potluck_base::Key;

use crate::StateDigest;

/// Bytes of the hash of a child range or of an entry. Two different ones have equal hashes in one session
/// with probability 2^-40; the next session uses another key. Raising it makes comparisons longer.
pub const SHORT_BYTES: usize = 5;
/// Bytes of the hash of a whole region or bucket.
pub const LONG_BYTES: usize = 8;
/// Children of a range: the next four bits of the key.
pub const CHILDREN: usize = 16;

/// The first bits of a key. It names the range of all keys that begin with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The bits, the first one in the highest place; zero after `length`.
    bits: u64,
    length: u8,
}

impl Prefix {
    /// The range of all keys.
    pub const ALL: Self = Self { bits: 0, length: 0 };
    /// Most bits of a prefix. Ten million keys of one node share at most about 10 + 23 bits; more would need
    /// a broken hash function.
    pub const LENGTH_MAX: u8 = 60;

    /// The first `length` bits of `key`, at most [`Self::LENGTH_MAX`].
    #[must_use]
    pub fn of(key: &Key, length: u8) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&key.as_bytes()[..8]);
        Self::from_bits(u64::from_be_bytes(first), length)
    }

    /// The first `length` bits of a number whose highest bit is the first.
    #[must_use]
    pub const fn from_bits(bits: u64, length: u8) -> Self {
        let length = if length > Self::LENGTH_MAX { Self::LENGTH_MAX } else { length };
        let mask = if length == 0 { 0 } else { u64::MAX << (64 - length) };
        Self { bits: bits & mask, length }
    }

    /// The number of bits.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// The first 64 bits of its first key.
    #[must_use]
    pub const fn first_bits(self) -> u64 {
        self.bits
    }

    /// The first 64 bits of its last key.
    #[must_use]
    pub const fn last_bits(self) -> u64 {
        if self.length == 0 { u64::MAX } else { self.bits | (u64::MAX >> self.length) }
    }

    /// The first key that begins with it.
    #[must_use]
    pub fn first(self) -> Key {
        filled(self.first_bits(), 0)
    }

    /// The last key that begins with it.
    #[must_use]
    pub fn last(self) -> Key {
        filled(self.last_bits(), 0xff)
    }

    /// Whether `key` begins with it.
    #[must_use]
    pub fn contains(self, key: &Key) -> bool {
        Self::of(key, self.length) == self
    }

    /// The prefix with one more bit; the same prefix if it has the most already.
    #[must_use]
    pub const fn half(self, bit: bool) -> Self {
        if self.length >= Self::LENGTH_MAX {
            return self;
        }
        let added = if bit { 1 << (63 - self.length) } else { 0 };
        Self { bits: self.bits | added, length: self.length + 1 }
    }

    /// Its children, ascending; none if they would be longer than [`Self::LENGTH_MAX`].
    pub fn children(self) -> impl Iterator<Item = Self> {
        let length = self.length + 4;
        let count = if length <= Self::LENGTH_MAX { CHILDREN as u64 } else { 0 };
        (0..count).map(move |index| Self {
            bits: self.bits | index.checked_shl(64 - u32::from(length)).unwrap_or(0),
            length,
        })
    }

    /// The number that represents it in messages: a one, followed by its bits.
    #[must_use]
    pub const fn code(self) -> u64 {
        let bits = if self.length == 0 { 0 } else { self.bits >> (64 - self.length) };
        (1 << self.length) | bits
    }

    /// The prefix of a number from [`code`](Self::code). `None` if the number is invalid.
    #[must_use]
    pub const fn from_code(code: u64) -> Option<Self> {
        let Some(length) = code.checked_ilog2() else { return None };
        let length = length as u8;
        if length > Self::LENGTH_MAX {
            return None;
        }
        let bits = if length == 0 { 0 } else { (code ^ (1 << length)) << (64 - length) };
        Some(Self { bits, length })
    }

    /// Whether these ranges ascend and do not overlap.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "windows of two have two")]
    pub fn are_ascending(prefixes: &[Self]) -> bool {
        prefixes.windows(2).all(|pair| pair[0].last_bits() < pair[1].first_bits())
    }
}

fn filled(bits: u64, fill: u8) -> Key {
    let mut bytes = [fill; 32];
    bytes[..8].copy_from_slice(&bits.to_be_bytes());
    Key::from_bytes(bytes)
}

/// The number of keys in a range, and the sum of their digests modulo 2^128.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint {
    /// The number of keys.
    pub keys: u64,
    /// The sum of their digests.
    pub sum: StateDigest,
}

impl Fingerprint {
    /// This fingerprint with one more key.
    #[must_use]
    pub fn with(self, digest: StateDigest) -> Self {
        Self { keys: self.keys.saturating_add(1), sum: self.sum.plus(digest) }
    }

    /// The fingerprint of two ranges that share no key.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { keys: self.keys.saturating_add(other.keys), sum: self.sum.plus(other.sum) }
    }
}

/// The key of one comparison of two nodes. Every hash in the comparison is computed under this key, so hashes
/// that were learned or crafted before do not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey(pub [u8; 16]);

impl SessionKey {
    fn hasher(&self) -> blake3::Hasher {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&self.0);
        key[16..].copy_from_slice(b"potluck compare1");
        blake3::Hasher::new_keyed(&key)
    }

    /// The hash of a child range.
    #[must_use]
    pub fn short(&self, fingerprint: &Fingerprint) -> [u8; SHORT_BYTES] {
        self.of_fingerprint(fingerprint)
    }

    /// The hash of a whole region.
    #[must_use]
    pub fn long(&self, fingerprint: &Fingerprint) -> [u8; LONG_BYTES] {
        self.of_fingerprint(fingerprint)
    }

    fn of_fingerprint<const N: usize>(&self, fingerprint: &Fingerprint) -> [u8; N] {
        let mut hasher = self.hasher();
        hasher.update(&fingerprint.keys.to_be_bytes()).update(&fingerprint.sum.to_bytes());
        first_bytes(&hasher)
    }

    /// The id of a key with one state.
    #[must_use]
    pub fn entry(&self, key: &Key, digest: &StateDigest) -> [u8; SHORT_BYTES] {
        let mut hasher = self.hasher();
        hasher.update(key.as_bytes()).update(&digest.to_bytes());
        first_bytes(&hasher)
    }

    /// The hash of a list of keys and their states. It does not use sums, so it also shows a range whose
    /// digests were crafted to have the sum of another range.
    #[must_use]
    pub fn bucket(&self, entries: &[(Key, StateDigest)]) -> [u8; LONG_BYTES] {
        let mut hasher = self.hasher();
        hasher.update(b"bucket");
        for (key, digest) in entries {
            hasher.update(key.as_bytes()).update(&digest.to_bytes());
        }
        first_bytes(&hasher)
    }
}

#[expect(clippy::indexing_slicing, reason = "an array shorter than the hash")]
fn first_bytes<const N: usize>(hasher: &blake3::Hasher) -> [u8; N] {
    let hash = hasher.finalize();
    std::array::from_fn(|index| hash.as_bytes()[index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix() -> impl Strategy<Value = Prefix> {
        (any::<u64>(), 0..=Prefix::LENGTH_MAX)
            .prop_map(|(bits, length)| Prefix::from_bits(bits, length))
    }

    proptest! {
        #[test]
        fn codes_round_trip_and_no_two_prefixes_share_one(one in prefix(), other in prefix()) {
            prop_assert_eq!(Prefix::from_code(one.code()), Some(one));
            prop_assert_eq!(one.code() == other.code(), one == other);
        }

        #[test]
        fn the_children_of_a_range_are_the_range(one in prefix(), key in any::<[u8; 32]>()) {
            let children: Vec<Prefix> = one.children().collect();
            prop_assert!(Prefix::are_ascending(&children));
            if let (Some(first), Some(last)) = (children.first(), children.last()) {
                prop_assert_eq!(first.first_bits(), one.first_bits());
                prop_assert_eq!(last.last_bits(), one.last_bits());
                let key = Key::from_bytes(key);
                let holding = children.iter().filter(|child| child.contains(&key)).count();
                prop_assert_eq!(holding, usize::from(one.contains(&key)));
            } else {
                prop_assert!(one.length() + 4 > Prefix::LENGTH_MAX);
            }
        }

        #[test]
        fn a_key_is_in_a_range_if_it_lies_between_its_ends(one in prefix(), key in any::<[u8; 32]>()) {
            let key = Key::from_bytes(key);
            prop_assert_eq!(one.contains(&key), one.first() <= key && key <= one.last());
            prop_assert!(one.contains(&one.first()) && one.contains(&one.last()));
        }
    }

    #[test]
    fn no_code_stands_for_a_prefix_that_is_too_long_or_none_at_all() {
        assert_eq!(Prefix::from_code(0), None);
        assert_eq!(Prefix::from_code(1), Some(Prefix::ALL));
        assert_eq!(Prefix::from_code(1 << 61), None);
        assert_eq!(Prefix::from_code(u64::MAX), None);
    }

    #[test]
    fn ranges_that_overlap_do_not_ascend() {
        let [one, two] = [false, true].map(|bit| Prefix::ALL.half(bit));
        assert!(Prefix::are_ascending(&[one, two]));
        assert!(!Prefix::are_ascending(&[two, one]));
        assert!(!Prefix::are_ascending(&[one, one.half(true)]));
        assert!(Prefix::are_ascending(&[]));
    }

    #[test]
    fn another_session_has_other_hashes_and_a_sum_does_not_hide_in_a_bucket() {
        let [one, two] = [[1; 16], [2; 16]].map(SessionKey);
        let digest = |number: u128| StateDigest::from_bytes(number.to_be_bytes());
        let [a, b] = [[1; 32], [2; 32]].map(Key::from_bytes);
        let (left, right) = ([(a, digest(5)), (b, digest(7))], [(a, digest(4)), (b, digest(8))]);
        let sum = |entries: &[(Key, StateDigest)]| {
            entries.iter().fold(Fingerprint::default(), |sum, (_, digest)| sum.with(*digest))
        };
        assert_eq!(sum(&left), sum(&right), "the digests were made to add up");
        assert_ne!(one.bucket(&left), one.bucket(&right));
        assert_ne!(one.bucket(&left), two.bucket(&left));
        assert_ne!(one.short(&sum(&left)), two.short(&sum(&left)));
        assert_ne!(one.entry(&a, &digest(5)), one.entry(&a, &digest(6)));
    }
}
