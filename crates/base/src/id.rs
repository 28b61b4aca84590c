//! Points of the 256-bit identifier space and the XOR metric between them
//! (Maymounkov & Mazières, "Kademlia", 2002, section 2.1).
//!
//! Where we differ from the paper: 256 bits instead of 160, since SHA-1 is broken and BLAKE3 gives
//! 256 for the same price.

use std::fmt;

use crate::hex::hex_text;
use crate::{NetworkId, PublicKey};

/// Bytes in an identifier.
pub const ID_BYTES: usize = 32;
/// Bits in an identifier: the greatest number of k-buckets.
pub const ID_BITS: usize = ID_BYTES * 8;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an id is 64 hexadecimal digits")]
pub struct IdError;

macro_rules! point {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; ID_BYTES]);

        impl Ord for $name {
            #[inline]
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                $crate::order::by_words(&self.0, &other.0)
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// Wraps 32 bytes, most significant first.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes, most significant first.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
                &self.0
            }
        }

        hex_text!($name, parse: IdError => IdError);
    };
}

point! {
    /// Where a node stands: `BLAKE3("potluck id" || network id || public key || salt)`, see
    /// [`NodeId::of`].
    NodeId
}

point! {
    /// A point that a lookup can aim at: the hash of a record's space and name, or a node's place.
    Key
}

/// Bytes in a [`Salt`].
pub const SALT_BYTES: usize = 8;

/// What the authority of an `invite` network adds to a node's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Salt([u8; SALT_BYTES]);

/// Why a text is not a salt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a salt is 16 hexadecimal digits")]
pub struct SaltError;

impl Salt {
    /// Wraps 8 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SALT_BYTES]) -> Self {
        Self(bytes)
    }

    /// The 8 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SALT_BYTES] {
        &self.0
    }
}

hex_text!(Salt, parse: SaltError => SaltError);

impl From<NodeId> for Key {
    fn from(id: NodeId) -> Self {
        Self(id.0)
    }
}

impl NodeId {
    /// Where the owner of `key` stands in `network`. In `invite` networks the authority may add a
    /// salt, which is not known before it signed the certificate, so that no node chooses its
    /// place; without one nothing is hashed behind the key.
    #[must_use]
    pub fn of(network: &NetworkId, key: &PublicKey, salt: Option<Salt>) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"potluck id").update(network.as_bytes()).update(key.as_bytes());
        if let Some(salt) = salt {
            hasher.update(salt.as_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The XOR distance from this node to `key`.
    #[must_use]
    pub fn distance(&self, key: &Key) -> Distance {
        Distance::between(&self.0, &key.0)
    }
}

impl Key {
    /// The XOR distance between two keys.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Distance {
        Distance::between(&self.0, &other.0)
    }

    /// How many leading bits two keys share, 0 to 256.
    #[must_use]
    pub fn common_prefix(&self, other: &Self) -> u32 {
        self.distance(other).leading_zeros()
    }

    /// This key with every bit from `bits` on set to `fill`: the first or last key of a prefix.
    #[must_use]
    pub fn prefix_bound(&self, bits: u32, fill: bool) -> Self {
        let mut bytes = self.0;
        for (index, byte) in bytes.iter_mut().enumerate() {
            let kept = bits.saturating_sub(index as u32 * 8).min(8);
            let mask = if kept == 0 { 0 } else { 0xff_u8 << (8 - kept) };
            *byte = (*byte & mask) | if fill { !mask } else { 0 };
        }
        Self(bytes)
    }

    /// This key with bit `bit` (0 is the most significant) inverted.
    ///
    /// # Panics
    /// If `bit` is 256 or more.
    #[must_use]
    pub fn flip(&self, bit: u32) -> Self {
        let mut bytes = self.0;
        bytes[(bit / 8) as usize] ^= 0x80 >> (bit % 8);
        Self(bytes)
    }
}

/// The XOR of two points, ordered as an unsigned 256-bit number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance([u8; ID_BYTES]);

impl Distance {
    /// No distance at all.
    pub const ZERO: Self = Self([0; ID_BYTES]);
    /// Farther than any two points can be apart, but one.
    pub const MAX: Self = Self([0xff; ID_BYTES]);

    fn between(left: &[u8; ID_BYTES], right: &[u8; ID_BYTES]) -> Self {
        Self(std::array::from_fn(|index| left[index] ^ right[index]))
    }

    /// Leading zero bits, 0 to 256.
    #[must_use]
    pub fn leading_zeros(&self) -> u32 {
        let mut zeros = 0;
        for byte in self.0 {
            zeros += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        zeros
    }

    /// The distance as a fraction of the whole space, 0 to 1, good to 53 bits.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        let mut head = [0; 8];
        head.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(head) as f64 / 2f64.powi(64)
    }
}

impl fmt::Debug for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distance(2^{})", ID_BITS as u32 - self.leading_zeros())
    }
}

/// Which k-bucket a distance belongs to: the number of leading bits shared with the table's owner,
/// 0 (half of the space) to 255. Distance zero, the owner itself, has none, by construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketIndex(u8);

impl BucketIndex {
    /// The bucket of `distance`, or `None` for the owner itself.
    #[must_use]
    pub fn of(distance: &Distance) -> Option<Self> {
        u8::try_from(distance.leading_zeros()).ok().map(Self)
    }

    /// The index as a number, 0 to 255.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Key> {
        any::<[u8; 32]>().prop_map(Key::from_bytes)
    }

    proptest! {
        #[test]
        fn distance_is_a_metric_with_one_point_per_distance(a in key(), b in key(), c in key()) {
            prop_assert_eq!(a.distance(&a), Distance::ZERO);
            prop_assert_eq!(a.distance(&b), b.distance(&a));
            prop_assert_eq!(a.distance(&b) == Distance::ZERO, a == b);
            // The triangle inequality for XOR, in the leading 64 bits.
            prop_assert!(
                a.distance(&c).fraction() <= a.distance(&b).fraction() + b.distance(&c).fraction()
            );
            // Unidirectional: equal distances from one point mean the same point.
            prop_assert_eq!(a.distance(&b) == a.distance(&c), b == c);
        }

        #[test]
        fn text_form_round_trips(a in key()) {
            prop_assert_eq!(a.to_string().parse::<Key>(), Ok(a));
        }

        #[test]
        fn prefix_bounds_enclose_the_prefix(a in key(), b in key(), bits in 0u32..=256) {
            let (low, high) = (a.prefix_bound(bits, false), a.prefix_bound(bits, true));
            prop_assert!(low <= a && a <= high);
            prop_assert_eq!(low <= b && b <= high, a.common_prefix(&b) >= bits);
        }

        #[test]
        fn flipping_a_bit_shares_exactly_the_bits_before_it(a in key(), bit in 0u32..256) {
            prop_assert_eq!(a.common_prefix(&a.flip(bit)), bit);
        }
    }

    #[test]
    fn the_owner_has_no_bucket() {
        assert_eq!(BucketIndex::of(&Distance::ZERO), None);
        assert_eq!(BucketIndex::of(&Distance::MAX).map(BucketIndex::get), Some(0));
    }

    #[test]
    fn a_salt_moves_a_node_and_its_absence_does_not() {
        let key = crate::Identity::from_seed([1; 32]).public_key();
        let network = NetworkId::new("a", crate::Admission::Lab, None);
        let place = |salt: Option<u8>| {
            NodeId::of(&network, &key, salt.map(|byte| Salt::from_bytes([byte; SALT_BYTES])))
        };
        assert_eq!(place(None), key.node_id(&network));
        assert_ne!(place(None), place(Some(0)));
        assert_ne!(place(Some(0)), place(Some(1)));
    }

    #[test]
    fn text_that_is_no_id_is_refused() {
        assert_eq!("abc".parse::<Key>(), Err(IdError));
        assert_eq!("zz".repeat(32).parse::<Key>(), Err(IdError));
    }
}
