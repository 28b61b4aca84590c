mod contacts;
mod dissemination;
mod harness;
mod hostile;
mod links;
mod net;
mod rewiring;
mod tree;
mod trust;

use super::*;

/// A publisher for the tests of single parts.
pub(super) fn publisher(seed: u8) -> PublicKey {
    Identity::from_seed([seed; 32]).public_key()
}

/// `number` seconds after the start.
pub(super) const fn second(number: u64) -> Instant {
    Instant::from_micros(number * 1_000_000)
}
