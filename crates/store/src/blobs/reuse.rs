//! Fills a blob with bytes from this machine. The caller guesses the bytes; they are kept only if their hash
//! equals the hash in the blob's tree.
//!
//! **Invariant:** the written bytes are the hashed bytes, from one buffer, so a program that changes the
//! source file meanwhile has no effect.

use blake3::Hash;
use potluck_base::GROUP_BYTES;

use super::WriteError;
use super::blob::Blob;
use super::place::Piece;
use super::tree::{self, Decoded};

/// Some bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The number of the segment.
    pub segment: usize,
    /// The offset in the segment.
    pub offset: u64,
}

impl Part {
    const fn of(piece: &Piece) -> Self {
        Self { segment: piece.segment, offset: piece.offset }
    }
}

/// A source of guesses for the bytes of a blob.
pub trait Guess {
    /// Fills `buffer` with the guess of this number for a part. If there are fewer guesses, uses the last
    /// one. Returns `false` if there is none.
    fn guess(&mut self, number: usize, part: Part, buffer: &mut [u8]) -> bool;

    /// The number of guesses for a part.
    fn guesses(&self, part: Part) -> usize;
}

impl Blob {
    /// Fills a granule with guessed bytes if the hashes of all its groups match. Returns whether it did;
    /// `false` if the granule is stored already. The granule is durable after the next [`Blob::commit`].
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
        // The nodes were written when they were verified.
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

    /// Whether the bytes of the blob are in exactly these files, in this order. Files without bytes count
    /// too.
    #[must_use]
    pub fn is_made_of<'a>(&self, mut paths: impl Iterator<Item = &'a std::path::Path>) -> bool {
        let segments = self.segments();
        let same = (0..segments.len())
            .all(|number| paths.next().is_some_and(|path| path == segments.path(number)));
        same && paths.next().is_none()
    }

    /// The segments that hold a granule, without those that have no bytes.
    #[must_use]
    pub fn segments_of(&self, granule: u32) -> Vec<usize> {
        let bytes = self.division.bytes(granule);
        self.segments().pieces(bytes).map(|piece| piece.segment).collect()
    }
}
