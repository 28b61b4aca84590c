//! The order of 32-byte names, compared by words.
//!
//! Sorted maps of keys and identifiers are searched several times a datagram. Two different names differ in
//! their first eight bytes nearly always, and comparing these as one number needs no call of `memcmp`.

use std::cmp::Ordering;

/// Compares two names as their bytes are ordered, the first byte first.
#[inline]
pub(crate) fn by_words(one: &[u8; 32], other: &[u8; 32]) -> Ordering {
    let first = |bytes: &[u8; 32]| bytes.first_chunk().map_or(0, |word| u64::from_be_bytes(*word));
    first(one).cmp(&first(other)).then_with(|| one[8..].cmp(&other[8..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_are_ordered_as_their_bytes(mut one: [u8; 32], other: [u8; 32], equal in 0_usize..=32) {
            one[..equal].copy_from_slice(&other[..equal]);
            prop_assert_eq!(by_words(&one, &other), one.cmp(&other));
        }
    }
}
