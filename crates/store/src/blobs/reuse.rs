//! Bytes that are on this machine already, taken for a blob: guessed by the caller, and kept only if their
//! hash is the one that the blob's tree has at that place.
//!
//! **Invariant:** the written bytes are the hashed ones, from one buffer: a program that changes the file that
//! the bytes came from changes nothing here.

use blake3::Hash;
use potluck_base::GROUP_BYTES;

use super::WriteError;
use super::blob::Blob;
use super::place::Piece;
use super::tree::{self, Decoded};

/// Some bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Which segment.
    pub segment: usize,
    /// Where they begin in it.
    pub offset: u64,
}

impl Part {
    const fn of(piece: &Piece) -> Self {
        Self { segment: piece.segment, offset: piece.offset }
    }
}

/// A source of guesses of what bytes may be in a blob.
pub trait Guess {
    /// Fills `buffer` with what may be the bytes of a part, by the guess of this number or, if there are
    /// fewer, by the last one. `false` if there is none.
    fn guess(&mut self, number: usize, part: Part, buffer: &mut [u8]) -> bool;

    /// How many guesses there are for a part.
    fn guesses(&self, part: Part) -> usize;
}

impl Blob {
    /// Fills a granule with guessed bytes, if those of all its groups have these hashes. Returns whether
    /// it did; not for one that is there. Others may have it after the next [`Blob::commit`].
    ///
    /// # Errors
    /// The disk refused.
    pub fn reuse(
        &self,
        granule: u32,
        hashes: &[Hash],
        guess: &mut dyn Guess,
    ) -> Result<bool, WriteError> {
        let bytes = self.division.bytes(granule);
        if granule >= self.division.count() || self.has(granule) {
            return Ok(false);
        }
        let mut buffer = vec![0; (bytes.end - bytes.start) as usize];
        let only = self.division.size() <= GROUP_BYTES;
        let mut begin = bytes.start;
        for (group, hash) in buffer.chunks_mut(GROUP_BYTES as usize).zip(hashes) {
            let end = begin + group.len() as u64;
            let parts = self.segments().pieces(begin..end).collect::<Vec<_>>();
            let parts = parts.iter().map(Part::of);
            let guesses = parts.map(|part| guess.guesses(part)).max().unwrap_or(0);
            let right = (0..guesses).any(|number| {
                self.guess_group(number, begin, group, guess)
                    && tree::hash_group(begin, group, only) == *hash
            });
            if !right {
                return Ok(false);
            }
            begin += group.len() as u64;
        }
        if begin != bytes.end || bytes.is_empty() {
            return Ok(false);
        }
        let at = |(number, group)| (bytes.start + number as u64 * GROUP_BYTES, group);
        let groups = buffer.chunks(GROUP_BYTES as usize).enumerate().map(at).collect();
        // Its nodes were written when they were compared.
        self.keep(granule, &bytes, &Decoded { nodes: Vec::new(), groups })
    }

    fn guess_group(
        &self,
        number: usize,
        begin: u64,
        group: &mut [u8],
        guess: &mut dyn Guess,
    ) -> bool {
        let segments = self.segments();
        let mut rest = group;
        segments.pieces(begin..begin + rest.len() as u64).all(|piece| {
            let length = (piece.range.end - piece.range.start) as usize;
            let (part, after) = std::mem::take(&mut rest).split_at_mut(length);
            rest = after;
            guess.guess(number, Part::of(&piece), part)
        })
    }

    /// Whether its bytes lie in just these files, in this order. Those without bytes count as well.
    #[must_use]
    pub fn is_made_of<'a>(&self, mut paths: impl Iterator<Item = &'a std::path::Path>) -> bool {
        let segments = self.segments();
        let same = (0..segments.len())
            .all(|number| paths.next().is_some_and(|path| path == segments.path(number)));
        same && paths.next().is_none()
    }

    /// The segments that a granule lies in, without those that have no bytes.
    #[must_use]
    pub fn segments_of(&self, granule: u32) -> Vec<usize> {
        let bytes = self.division.bytes(granule);
        self.segments().pieces(bytes).map(|piece| piece.segment).collect()
    }
}
