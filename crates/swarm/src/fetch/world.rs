//! The state that all fetches of a node share while one of them runs.

use potluck_base::{Instant, PublicKey};

use crate::command::Output;
use crate::config::Config;
use crate::shunned::Shunned;

/// Ids of transfers and questions, over all fetches.
#[derive(Debug, Default)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// The next unused number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// The inputs of a fetch besides its own state: the time, the configuration, and the list of outputs.
pub(crate) struct World<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    pub(crate) me: PublicKey,
    pub(crate) numbers: &'a mut Numbers,
    pub(crate) shunned: &'a mut Shunned,
    pub(crate) out: &'a mut Vec<Output>,
}
