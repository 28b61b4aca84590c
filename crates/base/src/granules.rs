//! Which granules of a blob a node has: a bitmap of fixed length.

use std::ops::Range;

use bytes::Bytes;

/// A set of granules of one blob.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GranuleSet {
    /// Granules of the blob.
    length: u32,
    /// How many are in the set.
    count: u32,
    words: Vec<u64>,
}

impl GranuleSet {
    /// None of `length` granules.
    #[must_use]
    pub fn empty(length: u32) -> Self {
        Self { length, count: 0, words: vec![0; length.div_ceil(64) as usize] }
    }

    /// All of `length` granules.
    #[must_use]
    pub fn full(length: u32) -> Self {
        let mut set = Self::empty(length);
        set.insert_range(0..length);
        set
    }

    /// Granules of the blob, in the set or not.
    #[must_use]
    pub const fn length(&self) -> u32 {
        self.length
    }

    /// How many are in the set.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether none is in the set.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether all are in the set.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.count == self.length
    }

    /// Whether `granule` is in the set; none behind the last is.
    #[must_use]
    pub fn contains(&self, granule: u32) -> bool {
        self.words.get(granule as usize / 64).is_some_and(|word| word >> (granule % 64) & 1 == 1)
    }

    /// Adds a granule. Returns whether it was missing; one behind the last changes nothing.
    pub fn insert(&mut self, granule: u32) -> bool {
        if granule >= self.length || self.contains(granule) {
            return false;
        }
        self.words[granule as usize / 64] |= 1 << (granule % 64);
        self.count += 1;
        true
    }

    /// Adds granules.
    pub fn insert_range(&mut self, granules: Range<u32>) {
        for granule in granules {
            self.insert(granule);
        }
    }

    /// Removes a granule. Returns whether it was there.
    pub fn remove(&mut self, granule: u32) -> bool {
        if !self.contains(granule) {
            return false;
        }
        self.words[granule as usize / 64] &= !(1 << (granule % 64));
        self.count -= 1;
        true
    }

    /// The granules in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(index as u32 * 64 + bit)
            })
        })
    }

    /// The granules that are not in the set, ascending.
    pub fn missing(&self) -> impl Iterator<Item = u32> {
        (0..self.length).filter(|granule| !self.contains(*granule))
    }

    /// Whether `other` has a granule that this set lacks.
    #[must_use]
    pub fn lacks_any_of(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(mine, theirs)| theirs & !mine != 0)
    }

    /// The set as bytes: bit 0 of the first byte is granule 0; as many bytes as it takes.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Bytes::from(bytes).slice(..self.length.div_ceil(8) as usize)
    }

    /// Reads a set of `length` granules. `None` if the bytes are too many or too few, or name
    /// granules behind the last.
    #[must_use]
    pub fn from_bytes(length: u32, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != length.div_ceil(8) as usize {
            return None;
        }
        let mut set = Self::empty(length);
        for (index, byte) in bytes.iter().enumerate() {
            for bit in (0..8).filter(|bit| byte >> bit & 1 == 1) {
                if !set.insert(index as u32 * 8 + bit) {
                    return None;
                }
            }
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_inserted_is_there_until_it_is_removed() {
        let mut set = GranuleSet::empty(130);
        assert!(set.insert(129) && !set.insert(129) && !set.insert(130));
        assert!(set.contains(129) && !set.contains(128) && !set.contains(1000));
        assert_eq!((set.count(), set.iter().collect::<Vec<_>>()), (1, vec![129]));
        assert!(set.remove(129) && !set.remove(129) && set.is_empty());
        set.insert_range(0..130);
        assert!(set.is_full() && set.missing().next().is_none());
    }

    #[test]
    fn bytes_of_another_length_are_refused() {
        assert_eq!(GranuleSet::from_bytes(9, &[0xff]), None);
        assert_eq!(GranuleSet::from_bytes(9, &[0xff, 0x03]), None);
        assert!(GranuleSet::from_bytes(9, &[0xff, 0x01]).unwrap().is_full());
    }

    proptest! {
        #[test]
        fn a_set_survives_its_bytes(
            length in 1_u32..700,
            granules in proptest::collection::vec(0_u32..700, 0..100),
        ) {
            let mut set = GranuleSet::empty(length);
            granules.iter().for_each(|granule| { set.insert(*granule); });
            let read = GranuleSet::from_bytes(length, &set.to_bytes());
            prop_assert_eq!(read.as_ref(), Some(&set));
            prop_assert_eq!(set.iter().count(), set.count() as usize);
            prop_assert_eq!(set.missing().count() as u32, length - set.count());
            let full = GranuleSet::full(length);
            prop_assert_eq!(set.lacks_any_of(&full), !set.is_full());
            prop_assert!(!full.lacks_any_of(&set));
        }
    }
}
