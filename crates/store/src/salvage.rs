//! Reads the rows of a damaged engine: an iterator that skips ranges that the engine cannot read.
//!
//! The engine refuses a block with a wrong checksum, and its iterator ends at such a block. The next readable
//! row is found by trying positions: keys are distributed evenly, so a few dozen short reads find a position
//! within a block of it.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::backend::{BackendError, Ranges, RowIter};

/// The bytes after the tag of a row that make up its position; enough to distinguish any two rows.
const POSITION_BYTES: usize = 16;
/// The first step over an unreadable range, as a power of two of positions, and the growth of the exponent.
/// Smaller values lose fewer readable rows next to the range and need more reads.
const STEP_FIRST: u32 = 40;
const STEP_GROWTH: usize = 4;
/// Steps of the binary search after the first readable position is found. Raising it loses fewer readable
/// rows and needs more reads.
const HALVINGS: u32 = 48;

/// A range of rows that the iterator could not read. Single rows in it may be readable: those that are in
/// another part of the engine than the damaged page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The first row that may be in the range.
    pub(crate) from: Vec<u8>,
    /// The first row after the range.
    pub(crate) to: Vec<u8>,
}

/// The next item of the iterator.
#[derive(Debug)]
pub(crate) enum Found {
    /// A row and its value.
    Row(Bytes, Bytes),
    /// A range that could not be read was skipped.
    Gap(Stretch),
}

/// The readable rows of one tag, ascending.
pub(crate) struct Salvage<'a, B> {
    backend: &'a B,
    rows: Option<RowIter<'a>>,
    /// The position to continue from, after the last row that was returned.
    at: Vec<u8>,
    to: Vec<u8>,
}

impl<'a, B: Ranges> Salvage<'a, B> {
    /// The rows of `range`, which have one tag.
    pub(crate) fn over(backend: &'a B, range: RangeInclusive<Vec<u8>>) -> Self {
        let (at, to) = range.into_inner();
        Self { rows: Some(backend.rows(&at, &to)), backend, at, to }
    }

    /// Whether the first row at or after `position` can be read.
    fn readable(&self, position: u128) -> Result<bool, BackendError> {
        match self.backend.rows(&self.row(position), &self.to).next() {
            None | Some(Ok(_)) => Ok(true),
            Some(Err(BackendError::Corrupt(_))) => Ok(false),
            Some(Err(broken)) => Err(broken),
        }
    }

    fn row(&self, position: u128) -> Vec<u8> {
        let tag = self.at.first().copied().unwrap_or_default();
        [&[tag], position.to_be_bytes().as_slice()].concat()
    }

    /// Skips the unreadable range that begins at `at`. Ends the iterator if all later rows are unreadable.
    fn skip(&mut self) -> Result<Stretch, BackendError> {
        let mut bytes = [0; POSITION_BYTES];
        for (to, from) in bytes.iter_mut().zip(self.at.iter().skip(1)) {
            *to = *from;
        }
        let mut unreadable = u128::from_be_bytes(bytes);
        let mut readable = None;
        for power in (STEP_FIRST..u128::BITS).step_by(STEP_GROWTH) {
            let Some(next) = unreadable.checked_add(1 << power) else { break };
            if self.readable(next)? {
                readable = Some(next);
                break;
            }
            unreadable = next;
        }
        self.rows = None;
        let from = self.at.clone();
        let Some(mut readable) = readable else {
            let mut to = self.to.clone();
            to.push(0);
            return Ok(Stretch { from, to });
        };
        for _ in 0..HALVINGS {
            let middle = unreadable + (readable - unreadable) / 2;
            if self.readable(middle)? {
                readable = middle;
            } else {
                unreadable = middle;
            }
        }
        self.at = self.row(readable);
        self.rows = Some(self.backend.rows(&self.at, &self.to));
        Ok(Stretch { from, to: self.at.clone() })
    }
}

impl<B: Ranges> Iterator for Salvage<'_, B> {
    type Item = Result<Found, BackendError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.rows.as_mut()?.next() {
            None => None,
            Some(Ok((row, value))) => {
                self.at.clear();
                self.at.extend_from_slice(&row);
                self.at.push(0);
                Some(Ok(Found::Row(row, value)))
            }
            Some(Err(BackendError::Corrupt(_))) => Some(self.skip().map(Found::Gap)),
            Some(Err(broken)) => Some(Err(broken)),
        }
    }
}
