//! The counts of one writer.

use bytes::Bytes;
use minicbor::{Decode, Encode};

/// The counts of one writer up and down. Its total is exact, and so is the sum over any possible number of
/// writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Counted {
    #[n(0)]
    up: u64,
    #[n(1)]
    down: u64,
}

impl Counted {
    /// The count up minus the count down.
    #[must_use]
    pub fn total(self) -> i128 {
        i128::from(self.up) - i128::from(self.down)
    }

    /// This count plus `by`. `None` if one of the two sums would exceed 2^64 - 1.
    #[must_use]
    pub fn plus(self, by: i64) -> Option<Self> {
        let Self { up, down } = self;
        if by < 0 {
            Some(Self { up, down: down.checked_add(by.unsigned_abs())? })
        } else {
            Some(Self { up: up.checked_add(by.unsigned_abs())?, down })
        }
    }
}

pub(super) fn encode(counted: &Counted) -> Bytes {
    minicbor::to_vec(counted).expect("writing to memory cannot fail").into()
}

pub(super) fn decode(bytes: &[u8]) -> Option<Counted> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let counted = decoder.decode().ok()?;
    (decoder.position() == bytes.len()).then_some(counted)
}
