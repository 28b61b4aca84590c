//! Reading what is left of damaged rows: an iterator that goes on behind a stretch that the engine
//! cannot read.
//!
//! The engine refuses a block whose checksum is wrong, and an iterator that met one gives nothing more.
//! Where the next readable row is, is found by trying: keys are spread evenly, so a few dozen short reads
//! come within a block of it.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::backend::{BackendError, Ranges, RowIter};

/// The bytes of a row behind its tag that make its position: enough to tell any two rows apart.
const POSITION_BYTES: usize = 16;
/// The smallest step over an unreadable stretch, as a power of two of positions, and the factor by which
/// it grows. Smaller ones lose fewer readable rows beside the stretch and take more reads.
const STEP_FIRST: u32 = 40;
const STEP_GROWTH: usize = 4;
/// Halvings after the first readable position is found.
const HALVINGS: u32 = 48;

/// Rows that cannot be read one after the other. Some may be read alone: those that are in another part of
/// the engine than the page that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The first that may be in it.
    pub(crate) from: Vec<u8>,
    /// The first behind it.
    pub(crate) to: Vec<u8>,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Found {
    /// A row and its value.
    Row(Bytes, Bytes),
    /// A stretch that cannot be read was left out.
    Gap(Stretch),
}

/// The rows of one tag, ascending, over what cannot be read.
pub(crate) struct Salvage<'a, B> {
    backend: &'a B,
    rows: Option<RowIter<'a>>,
    /// Where to go on: behind the last row that was given.
    at: Vec<u8>,
    to: Vec<u8>,
}

impl<'a, B: Ranges> Salvage<'a, B> {
    /// The rows of `range`, which have one tag.
    pub(crate) fn over(backend: &'a B, range: RangeInclusive<Vec<u8>>) -> Self {
        let (at, to) = range.into_inner();
        Self { rows: Some(backend.rows(&at, &to)), backend, at, to }
    }

    /// Whether a row can be read at the first position from `position` on that has one.
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

    /// Goes on behind the stretch that begins at `at`; ends if all that follows is unreadable.
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
