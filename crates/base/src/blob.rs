//! Names and divisions of file content.
//!
//! A blob is any sequence of bytes, named by its BLAKE3 hash. It is verified in groups of
//! [`GROUP_BYTES`] and asked for in granules, whose size follows from the blob's size alone, so that
//! all nodes divide it alike. Neither is part of the blob's name.

use std::ops::Range;

use crate::granules::GranuleSet;
use crate::hex::hex_text;
use crate::id::{ID_BYTES, IdError};

/// Bytes verified at once: with 64 KiB the proof of a MiB takes 1.3 kB and the tree of a blob a
/// thousandth of its size; BLAKE3 hashes groups of this size at full speed.
pub const GROUP_BYTES: u64 = 64 * 1024;
/// Most bytes in a granule.
pub const GRANULE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most bytes in a blob: beyond, the granule sets of many blobs would take too much memory.
pub const BLOB_BYTES_MAX: u64 = 1 << 42;
/// Granules that a blob of middle size has at least: with this number, picking the rarest first loses
/// about a hundredth over the fluid bound.
const GRANULES_AIM: u64 = 1024;

/// The name of a blob: the BLAKE3 hash of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId([u8; ID_BYTES]);

impl BlobId {
    /// Wraps a hash.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// The hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }

    /// The name of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

hex_text!(BlobId, parse: IdError => IdError);

/// How a blob of some size is divided into granules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Division {
    size: u64,
    granule_bytes: u64,
}

impl Division {
    /// The division of a blob of `size` bytes, or `None` over [`BLOB_BYTES_MAX`].
    #[must_use]
    pub fn of(size: u64) -> Option<Self> {
        if size > BLOB_BYTES_MAX {
            return None;
        }
        let aim = (size / GRANULES_AIM).max(1);
        let granule_bytes = (1 << aim.ilog2()).clamp(GROUP_BYTES, GRANULE_BYTES_MAX);
        Some(Self { size, granule_bytes })
    }

    /// Bytes in the blob.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Bytes in a granule other than the last: a power of two, a multiple of [`GROUP_BYTES`].
    #[must_use]
    pub const fn granule_bytes(&self) -> u64 {
        self.granule_bytes
    }

    /// Granules in the blob; an empty blob has one, of no bytes.
    #[must_use]
    pub const fn count(&self) -> u32 {
        let count = self.size.div_ceil(self.granule_bytes) as u32;
        if count == 0 { 1 } else { count }
    }

    /// The bytes of a granule; empty behind the last.
    #[must_use]
    pub fn bytes(&self, granule: u32) -> Range<u64> {
        let begin = u64::from(granule).saturating_mul(self.granule_bytes).min(self.size);
        begin..begin.saturating_add(self.granule_bytes).min(self.size)
    }

    /// The granules that hold some of these bytes; at least the one where they begin.
    #[must_use]
    pub fn covering(&self, bytes: &Range<u64>) -> Range<u32> {
        let last = self.count() - 1;
        let index = |offset: u64| ((offset / self.granule_bytes) as u32).min(last);
        let begin = index(bytes.start.min(self.size));
        begin..index(bytes.end.clamp(bytes.start, self.size).saturating_sub(1)).max(begin) + 1
    }

    /// How many bytes the granules of a set hold.
    #[must_use]
    pub fn bytes_in(&self, set: &GranuleSet) -> u64 {
        let last = self.count() - 1;
        let whole = u64::from(set.count()) * self.granule_bytes;
        let short = self.granule_bytes - (self.bytes(last).end - self.bytes(last).start);
        if set.contains(last) { whole - short } else { whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn middle_sizes_have_one_to_two_thousand_granules() {
        for size in [64 << 20, (64 << 20) + 1, 100 << 20, 1 << 30, 8 << 30] {
            let division = Division::of(size).unwrap();
            assert!((1024..=2048).contains(&division.count()), "{division:?}");
        }
        assert_eq!(Division::of(0).unwrap().count(), 1);
        assert_eq!(Division::of(1).unwrap().count(), 1);
        assert_eq!(Division::of(GROUP_BYTES + 1).unwrap().count(), 2);
        assert_eq!(Division::of(1 << 40).unwrap().granule_bytes(), GRANULE_BYTES_MAX);
        assert_eq!(Division::of(BLOB_BYTES_MAX + 1), None);
    }

    #[test]
    fn ids_survive_their_text() {
        let id = BlobId::of(b"dish");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("12".parse::<BlobId>(), Err(IdError));
    }

    proptest! {
        #[test]
        fn granules_cover_a_blob_without_gap_or_overlap(size in 0_u64..1 << 34) {
            let division = Division::of(size).unwrap();
            let mut end = 0;
            let sample = [0, 1, division.count() / 2, division.count() - 1];
            for granule in 0..division.count().min(64) {
                prop_assert_eq!(division.bytes(granule).start, end);
                end = division.bytes(granule).end;
            }
            for granule in sample.into_iter().filter(|granule| *granule < division.count()) {
                let bytes = division.bytes(granule);
                prop_assert_eq!(division.covering(&bytes), granule..granule + 1);
            }
            prop_assert_eq!(division.bytes(division.count() - 1).end, size);
            prop_assert_eq!(division.covering(&(0..size)), 0..division.count());
            prop_assert_eq!(division.bytes_in(&GranuleSet::full(division.count())), size);
        }
    }
}
