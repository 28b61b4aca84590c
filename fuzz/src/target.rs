//! What a target is.

use crate::mutate::Form;
use crate::outcome::Seen;

/// One decoder or machine under attack.
pub struct Target {
    /// Its name on the command line, and of its folder in the corpus.
    pub name: &'static str,
    /// What its inputs are made of.
    pub form: Form,
    /// Well-formed inputs to begin with.
    pub samples: fn() -> Vec<Vec<u8>>,
    /// Memory that its measured steps may allocate.
    pub memory: Memory,
    /// Makes what is fed.
    pub start: fn() -> Box<Feed>,
}

/// Feeds one input. It panics if the input breaks a rule.
pub type Feed = dyn FnMut(&[u8], &mut Seen);

/// Memory that the measured steps of a target may have allocated at once.
#[derive(Debug, Clone, Copy)]
pub enum Memory {
    /// Not measured: the target is a machine with memory of its own.
    Own,
    /// This for each byte of input, and this beside.
    Limited {
        /// Bytes for each byte of input.
        for_byte: u64,
        /// Bytes for any input.
        beside: u64,
    },
}
